#include "chunk.h"

#include "check.h"
#include "crc.h"
#include "mem.h"

#include <stdlib.h>

/* ---- which keys a chunk has brought already ------------------------------------ */

struct key_set {
    struct bytes *slots; /* borrowed from the snapshot; a zero length is free */
    size_t room, count;
};

static void key_set_init(struct key_set *set)
{
    *set = (struct key_set){.room = 64};
    set->slots = mem_new(set->room * sizeof *set->slots);
}

static void key_set_done(struct key_set *set)
{
    free(set->slots);
}

static struct bytes *key_set_slot(const struct key_set *set, struct bytes key)
{
    size_t i = crc32c(0, key) & (set->room - 1);
    while (set->slots[i].len && !bytes_equal(set->slots[i], key))
        i = (i + 1) & (set->room - 1);
    return &set->slots[i];
}

/* True when the key was not in it yet. */
static bool key_set_add(struct key_set *set, struct bytes key)
{
    struct bytes *slot = key_set_slot(set, key);
    if (slot->len)
        return false;
    *slot = key;
    if (++set->count * 2 > set->room) {
        struct key_set larger = {.room = set->room * 2, .count = set->count};
        larger.slots = mem_new(larger.room * sizeof *larger.slots);
        for (size_t i = 0; i < set->room; i++)
            if (set->slots[i].len)
                *key_set_slot(&larger, set->slots[i]) = set->slots[i];
        free(set->slots);
        *set = larger;
    }
    return true;
}

/* ---- entries --------------------------------------------------------------------- */

/* One frame in the making: entries are counted, and the count put in its place. */
struct chunk {
    struct buf *out;
    size_t begun, count_at;
    size_t entries, record_bytes;
    const struct chunk_limits *limits;
    struct snapshot *snapshot;
    struct record scratch;
    struct key_set keys;
    enum err err;
};

static void chunk_init(struct chunk *c, struct snapshot *snapshot, const struct chunk_limits *limits,
                       struct buf *out, enum frame_type type)
{
    *c = (struct chunk){.out = out, .begun = frame_begin(out, type), .limits = limits, .snapshot = snapshot};
    key_set_init(&c->keys);
}

static void chunk_count_here(struct chunk *c)
{
    c->count_at = c->out->len;
    buf_put_u32(c->out, 0);
}

static bool chunk_full(const struct chunk *c)
{
    return c->entries >= c->limits->entries || c->record_bytes >= c->limits->bytes;
}

static void chunk_met_damage(struct chunk *c, struct bytes key, const struct dot *row)
{
    snapshot_met_damage(c->snapshot, key, row);
    c->err = ERR_DAMAGED;
}

/* Verifies before it copies: what is damaged here must not travel. A record includes
 * the operation of its row, unless there is none (NULL). */
static void chunk_put_record(struct chunk *c, struct bytes key, struct bytes record, const struct dot *row)
{
    enum err err = record_decode(key, record, &c->scratch);
    if (err != OK || (row && !clock_covers_dot(&c->scratch.context, row))) {
        chunk_met_damage(c, key, err == OK ? row : NULL);
        return;
    }
    buf_put_blob(c->out, record);
    c->record_bytes += record.len;
}

/* The present record of the row's key, unless an entry before brought it. */
static void chunk_put_record_of(struct chunk *c, struct bytes key, const struct dot *row)
{
    if (!key_set_add(&c->keys, key)) {
        buf_put_blob(c->out, bytes_of(NULL, 0));
        return;
    }
    struct bytes record;
    enum err err = snapshot_record_bytes(c->snapshot, key, &record);
    if (err == OK)
        chunk_put_record(c, key, record, row);
    else if (err == ERR_NOT_FOUND) /* a row above the floor whose record is not there */
        chunk_met_damage(c, key, row);
    else
        c->err = err;
}

static enum err chunk_finish(struct chunk *c)
{
    record_done(&c->scratch);
    key_set_done(&c->keys);
    if (c->err == OK)
        c->err = c->out->err;
    if (c->err != OK)
        return c->err;
    buf_patch_u32(c->out, c->count_at, (uint32_t)c->entries);
    frame_end(c->out, c->begun);
    return OK;
}

/* ---- delta -------------------------------------------------------------------------- */

enum err chunk_rows(struct snapshot *snapshot, const struct replica_id *origin, uint64_t from,
                    uint64_t through, const struct chunk_limits *limits, struct buf *out, uint64_t *ret_to,
                    uint64_t *ret_bad_row)
{
    CHECK(from < through);
    struct chunk c;
    struct row_scan *scan;
    uint64_t last = from;
    enum err err = row_scan_open(snapshot, &(struct dot){*origin, from}, &scan);
    if (err != OK)
        return err;
    *ret_bad_row = 0;
    chunk_init(&c, snapshot, limits, out, FRAME_ROWS);
    replica_id_encode(origin, out);
    buf_put_varint(out, from);
    chunk_count_here(&c);
    while (c.err == OK && last < through && !chunk_full(&c)) {
        struct row row;
        err = row_scan_next(scan, &row);
        /* the clock says that it is there: every counter above the floor has its row */
        if (err == ERR_NOT_FOUND ||
            (err == OK && (!replica_id_equal(&row.dot.replica, origin) || row.dot.counter != last + 1)))
            err = ERR_DAMAGED;
        if (err != OK) {
            *ret_bad_row = err == ERR_DAMAGED ? last + 1 : 0;
            c.err = err;
            break;
        }
        buf_put_varint(out, row.dot.counter - last);
        buf_put_u8(out, (uint8_t)row.kind);
        buf_put_blob(out, row.key);
        chunk_put_record_of(&c, row.key, &row.dot);
        last = row.dot.counter;
        c.entries++;
    }
    row_scan_close(scan);
    buf_put_varint(out, last);
    err = chunk_finish(&c);
    if (err == OK)
        *ret_to = last;
    return err;
}

struct ahead {
    struct chunk *chunk;
    struct dot last;
    bool more;
};

static void put_ahead(void *ctx, const struct row *row)
{
    struct ahead *ahead = ctx;
    struct chunk *c = ahead->chunk;
    ahead->more |= chunk_full(c);
    if (c->err != OK || ahead->more)
        return;
    dot_encode(&row->dot, c->out);
    buf_put_u8(c->out, (uint8_t)row->kind);
    buf_put_blob(c->out, row->key);
    chunk_put_record_of(c, row->key, &row->dot);
    c->entries++;
    ahead->last = row->dot;
}

enum err chunk_ahead(struct snapshot *snapshot, struct dot *after, const struct chunk_limits *limits,
                     struct buf *out, bool *ret_more)
{
    struct chunk c;
    struct ahead ahead = {.chunk = &c, .last = *after};
    size_t before = out->len;
    chunk_init(&c, snapshot, limits, out, FRAME_AHEAD);
    chunk_count_here(&c);
    enum err err = snapshot_rows_ahead_after(snapshot, after, limits->entries + 1, put_ahead, &ahead);
    if (c.err == OK)
        c.err = err;
    err = chunk_finish(&c);
    if (err == OK && c.entries == 0)
        out->len = before;
    if (err == OK) {
        *after = ahead.last;
        *ret_more = ahead.more;
    }
    return err;
}

struct look_ahead {
    struct dot last;
    uint64_t digest;
    size_t count;
};

static void look_at_ahead(void *ctx, const struct row *row)
{
    struct look_ahead *look = ctx;
    uint32_t hash = crc32c((uint32_t)row->dot.counter, bytes_of(row->dot.replica.b, REPLICA_ID_SIZE));
    look->digest = look->digest * 0x100000001b3u + hash + 1; /* FNV-like: order matters, 0 stays "none" */
    look->last = row->dot;
    look->count++;
}

enum err chunk_look_ahead(struct snapshot *snapshot, struct dot *after, size_t max, uint64_t *digest,
                          bool *ret_more)
{
    struct look_ahead look = {.last = *after, .digest = *digest};
    enum err err = snapshot_rows_ahead_after(snapshot, after, max, look_at_ahead, &look);
    if (err != OK)
        return err;
    *after = look.last;
    *digest = look.digest;
    *ret_more = look.count == max;
    return OK;
}

/* ---- walk --------------------------------------------------------------------------- */

static void put_snapshot_clocks(struct chunk *c)
{
    struct clock clock = {0}, floor = {0};
    enum err err = snapshot_clock(c->snapshot, &clock, &floor);
    if (err == OK) {
        clock_encode(&clock, c->out);
        clock_encode(&floor, c->out);
    } else {
        c->err = err;
    }
    clock_done(&clock);
    clock_done(&floor);
}

static enum err walk_piece(struct snapshot *snapshot, uint64_t run, struct walk_place *place,
                           const struct chunk_limits *limits, struct buf *out)
{
    struct chunk c;
    struct scan *scan;
    struct bytes after = bytes_of(place->after, place->after_len);
    struct walk_place through = {.phase = WALK_RECORDS};
    enum err err = scan_open(snapshot, after, &scan);
    if (err != OK)
        return err;
    chunk_init(&c, snapshot, limits, out, FRAME_WALK_PIECE);
    buf_put_varint(out, run);
    buf_put_blob(out, after);
    buf_put_varint(out, snapshot_key_count(snapshot));
    put_snapshot_clocks(&c);
    chunk_count_here(&c);
    while (c.err == OK && !chunk_full(&c)) {
        struct bytes key, record;
        err = scan_next(scan, &key, &record);
        if (err == ERR_NOT_FOUND) {
            through.phase = WALK_ROWS;
            break;
        }
        if (err != OK) {
            c.err = err;
            break;
        }
        if (bytes_equal(key, after))
            continue; /* the scan begins at it; the piece after it */
        CHECK(key.len <= sizeof through.after);
        buf_put_blob(out, key);
        chunk_put_record(&c, key, record, NULL);
        memcpy(through.after, key.data, through.after_len = key.len);
        c.entries++;
    }
    scan_close(scan);
    buf_put_blob(out, bytes_of(through.after, through.after_len));
    buf_put_u8(out, through.phase == WALK_ROWS);
    err = chunk_finish(&c);
    if (err == OK)
        *place = through;
    return err;
}

/* A row that cannot be read: one that the clock covers ends the piece. */
static enum err look_at_bad_row(struct snapshot *snapshot, const struct dot *dot, struct dot *ret_bad_row)
{
    struct clock clock = {0};
    enum err err = dot->counter ? snapshot_clock(snapshot, &clock, NULL) : ERR_DAMAGED;
    if (err == OK && clock_covers_dot(&clock, dot)) {
        *ret_bad_row = *dot;
        err = ERR_DAMAGED;
    }
    clock_done(&clock);
    return err;
}

static enum err walk_rows(struct snapshot *snapshot, uint64_t run, struct walk_place *place,
                          const struct chunk_limits *limits, struct buf *out, struct dot *ret_bad_row)
{
    struct chunk c;
    struct row_scan *scan;
    struct walk_place through = {.phase = WALK_ROWS, .row_after = place->row_after};
    enum err err = row_scan_open(snapshot, &place->row_after, &scan);
    if (err != OK)
        return err;
    chunk_init(&c, snapshot, limits, out, FRAME_WALK_ROWS);
    buf_put_varint(out, run);
    dot_encode(&place->row_after, out);
    put_snapshot_clocks(&c);
    chunk_count_here(&c);
    while (c.err == OK && !chunk_full(&c)) {
        struct row row;
        err = row_scan_next(scan, &row);
        if (err == ERR_NOT_FOUND) {
            through.phase = WALK_NONE;
            break;
        }
        if (err == ERR_DAMAGED && look_at_bad_row(snapshot, &row.dot, ret_bad_row) == OK) {
            through.row_after = row.dot;
            continue;
        }
        if (err != OK) {
            c.err = err;
            break;
        }
        dot_encode(&row.dot, out);
        buf_put_u8(out, (uint8_t)row.kind);
        buf_put_blob(out, row.key);
        through.row_after = row.dot;
        c.entries++;
    }
    row_scan_close(scan);
    buf_put_u8(out, through.phase == WALK_NONE);
    err = chunk_finish(&c);
    if (err == OK)
        *place = through;
    return err;
}

enum err chunk_walk(struct snapshot *snapshot, uint64_t run, struct walk_place *place,
                    const struct chunk_limits *limits, struct buf *out, struct dot *ret_bad_row)
{
    *ret_bad_row = (struct dot){0};
    return place->phase == WALK_RECORDS ? walk_piece(snapshot, run, place, limits, out)
                                        : walk_rows(snapshot, run, place, limits, out, ret_bad_row);
}
