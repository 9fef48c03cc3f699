#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "log_rig.h"

#include "cursor.h"

#include <stdlib.h>

void rig_init(struct log_rig *rig, uint64_t segment_bytes)
{
    *rig = (struct log_rig){.sim = disk_sim_new(1), .segment_bytes = segment_bytes};
    buf_init(&rig->why, 1024);
}

static void forget_replayed(struct log_rig *rig)
{
    for (size_t i = 0; i < rig->count; i++)
        buf_done(&rig->values[i]);
    rig->count = 0;
}

void rig_done(struct log_rig *rig)
{
    rig_close(rig);
    forget_replayed(rig);
    buf_done(&rig->why);
    disk_sim_free(rig->sim);
}

static enum err on_frame(void *ctx, const struct log_frame *frame)
{
    struct log_rig *rig = ctx;
    struct cursor body = cursor_of(frame->body);
    struct log_entry entry;
    log_entry_read(&body, &entry);
    if (cursor_finish(&body) != OK)
        return ERR_MALFORMED;
    assert_int_equal(frame->entries, 1);
    assert_true(rig->count < RIG_FRAMES_MAX);
    struct buf *value = &rig->values[rig->count];
    buf_init(value, SIZE_MAX);
    buf_put_bytes(value, entry.value);
    rig->sequences[rig->count++] = frame->sequence;
    return OK;
}

static enum err refuse_to_remove(struct disk *disk, const char *name)
{
    return ERR_IO;
}

static struct disk *mount(const struct log_rig *rig)
{
    static struct disk_ops ops;
    struct disk *disk = disk_sim_mount(rig->sim);
    if (rig->keeps_names) {
        ops = *disk->ops;
        ops.remove = refuse_to_remove;
        disk->ops = &ops;
    }
    return disk;
}

enum err rig_open(struct log_rig *rig)
{
    struct log_options options = {.disk = mount(rig),
                                  .where = "log",
                                  .random = disk_sim_calls(rig->sim) + 1,
                                  .segment_bytes = rig->segment_bytes};
    memset(options.fresh_id, 7, LOG_ID_SIZE);
    assert_null(rig->log);
    forget_replayed(rig);
    buf_reset(&rig->why);
    enum err err = log_open(&options, &rig->mark, on_frame, rig, &rig->log, &rig->found, &rig->why);
    if (err == OK && (!rig->mark.present || rig->found.lost)) {
        rig->mark.present = true;
        log_id(rig->log, rig->mark.id);
        rig->mark.sequence = log_sequence(rig->log);
    }
    return err;
}

void rig_open_ok(struct log_rig *rig)
{
    enum err err = rig_open(rig);
    if (err != OK)
        print_message("%.*s\n", (int)rig->why.len, (const char *)rig->why.data);
    assert_int_equal(err, OK);
}

void rig_close(struct log_rig *rig)
{
    log_close(rig->log);
    rig->log = NULL;
}

void rig_kill(struct log_rig *rig)
{
    rig_close(rig);
    disk_sim_kill(rig->sim);
}

void rig_crash(struct log_rig *rig)
{
    rig_close(rig);
    disk_sim_crash(rig->sim);
}

enum err rig_append(struct log_rig *rig, struct bytes value)
{
    struct buf frame;
    buf_init(&frame, SIZE_MAX);
    log_frame_begin(&frame);
    log_frame_put(&frame, TABLE_RECORDS, bytes_str("k"), value);
    enum err err = log_append(rig->log, &frame, 1);
    buf_done(&frame);
    return err;
}

void rig_append_ok(struct log_rig *rig, const char *text)
{
    assert_int_equal(rig_append(rig, bytes_str(text)), OK);
}

void rig_append_long(struct log_rig *rig, const char *text, size_t len)
{
    uint8_t *value = malloc(len);
    assert_non_null(value);
    memset(value, '.', len);
    memcpy(value, text, strlen(text));
    assert_int_equal(rig_append(rig, bytes_of(value, len)), OK);
    free(value);
}

const char *rig_replayed(const struct log_rig *rig)
{
    static char text[4096];
    size_t len = 0;
    for (size_t i = 0; i < rig->count; i++) {
        const struct buf *value = &rig->values[i];
        if (i)
            text[len++] = ' ';
        for (size_t j = 0; j < value->len && value->data[j] != '.' && len < sizeof text - 2; j++)
            text[len++] = (char)value->data[j];
    }
    text[len] = 0;
    return text;
}

struct names {
    char at[32][DISK_NAME_MAX];
    size_t count;
};

static void add_name(void *ctx, const char *name)
{
    struct names *names = ctx;
    assert_true(names->count < 32);
    memcpy(names->at[names->count++], name, strlen(name) + 1);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

const char *rig_names(struct log_rig *rig)
{
    static char text[32 * (DISK_NAME_MAX + 1)];
    struct names names = {0};
    struct disk *disk = disk_sim_mount(rig->sim);
    assert_int_equal(disk->ops->list(disk, add_name, &names), OK);
    disk->ops->free(disk);
    qsort(names.at, names.count, sizeof names.at[0], by_text);
    text[0] = 0;
    for (size_t i = 0; i < names.count; i++)
        strcat(strcat(text, i ? " " : ""), names.at[i]);
    return text;
}

void rig_clone(struct log_rig *to, const struct log_rig *from)
{
    *to = (struct log_rig){
        .sim = disk_sim_clone(from->sim), .mark = from->mark, .segment_bytes = from->segment_bytes};
    buf_init(&to->why, 1024);
}
