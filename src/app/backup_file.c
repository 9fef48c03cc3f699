#include "backup_file.h"

#include "crc.h"

static const uint8_t magic[8] = {'Y', 'Z', 'M', 'A', 'B', 'K', 'U', 'P'};

void backup_put_head(struct buf *out, const struct replica_id *id)
{
    size_t start = out->len;
    buf_put(out, magic, sizeof magic);
    buf_put_u32(out, BACKUP_FORMAT);
    replica_id_encode(id, out);
    if (out->err == OK)
        buf_put_u32(out, crc32c(0, bytes_of(out->data + start, out->len - start)));
}

enum err backup_get_head(struct bytes head, struct replica_id *ret_id)
{
    struct cursor in = cursor_of(head);
    struct bytes start = cursor_bytes(&in, sizeof magic);
    uint32_t format = cursor_u32(&in);
    struct replica_id id = replica_id_decode(&in);
    uint32_t crc = cursor_u32(&in);
    if (in.err != OK || !bytes_equal(start, bytes_of(magic, sizeof magic)))
        return ERR_MALFORMED;
    if (format != BACKUP_FORMAT)
        return ERR_VERSION;
    if (crc32c(0, bytes_of(head.data, BACKUP_HEAD_SIZE - 4)) != crc)
        return ERR_CHECKSUM;
    *ret_id = id;
    return OK;
}

void backup_begin(struct backup_place *place)
{
    *place = (struct backup_place){.at = {.phase = WALK_RECORDS}};
}

static bool follows(const struct walk_place *at, const struct store_work *work)
{
    const struct rows_work *rows = &work->rows;
    if (at->phase == WALK_RECORDS)
        return work->kind == WORK_WALK_PIECE &&
               bytes_equal(bytes_of(rows->after, rows->after_len), bytes_of(at->after, at->after_len)) &&
               (rows->last || rows->count > 0);
    return work->kind == WORK_WALK_ROWS && dot_compare(&rows->row_after, &at->row_after) == 0 &&
           (rows->last || rows->count > 0);
}

static void move_on(struct backup_place *place, const struct store_work *work)
{
    const struct rows_work *rows = &work->rows;
    struct walk_place *at = &place->at;
    if (work->kind == WORK_WALK_PIECE) {
        place->records += rows->count;
        memcpy(at->after, rows->through, at->after_len = rows->through_len);
        if (rows->last)
            *at = (struct walk_place){.phase = WALK_ROWS};
    } else {
        if (rows->count)
            at->row_after = rows->entries[rows->count - 1].dot;
        if (rows->last)
            at->phase = WALK_NONE;
    }
}

enum err backup_next(struct backup_place *place, struct bytes input, size_t *ret_size,
                     struct store_work **ret)
{
    struct frame frame;
    struct store_work *work;
    size_t size;
    enum err err = frame_read(input, FRAME_MAX, &frame, &size);
    if (err != OK)
        return err;
    if (frame.packed || (frame.type != FRAME_WALK_PIECE && frame.type != FRAME_WALK_ROWS))
        return ERR_MALFORMED;
    err = frame_get_rows(&frame, &work, NULL);
    if (err != OK)
        return err;
    if (!follows(&place->at, work)) {
        store_work_free(work);
        return ERR_MALFORMED;
    }
    move_on(place, work);
    *ret_size = size;
    *ret = work;
    return OK;
}
