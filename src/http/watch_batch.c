/* What is new, read once for all streams at the head, and written once in each form that
 * one of them has asked for. */
#include "check.h"
#include "mem.h"
#include "watch.h"

#include <stdlib.h>

struct filling {
    struct watch_batch *batch;
    struct snapshot *snapshot;
    const size_t *wanted;
};

void watch_batch_init(struct watch_batch *b)
{
    *b = (struct watch_batch){.events = mem_new((FEED_ROWS_MAX + 1) * sizeof *b->events)};
    buf_init(&b->keys, SIZE_MAX);
    for (size_t i = 0; i < WATCH_VARIANTS; i++)
        buf_init(&b->texts[i], SIZE_MAX);
}

void watch_batch_done(struct watch_batch *b)
{
    free(b->events);
    buf_done(&b->keys);
    for (size_t i = 0; i < WATCH_VARIANTS; i++)
        buf_done(&b->texts[i]);
    feed_cursor_done(&b->start);
}

static struct bytes part(const struct watch_batch *b, size_t at, size_t length)
{
    return bytes_of(b->keys.data + at, length);
}

static void take(void *ctx, const struct feed_event *event, const struct feed_cursor *cursor)
{
    struct filling *f = ctx;
    struct watch_batch *b = f->batch;
    CHECK(b->count <= FEED_ROWS_MAX);
    struct batch_event *e = &b->events[b->count++];
    *e = (struct batch_event){
        .key_at = b->keys.len, .key_length = event->key.len, .space = event->name.space};
    buf_put_bytes(&b->keys, event->key);
    e->cursor_at = b->keys.len;
    feed_cursor_encode(cursor, &b->keys);
    e->cursor_length = b->keys.len - e->cursor_at;
    e->large = event->version && !event->has_number && event->version->value.len > WATCH_SHARED_VALUE_MAX;
    b->has_large |= e->large;
    for (unsigned v = 0; v < WATCH_VARIANTS; v++) {
        if (f->wanted[v] && !(e->large && v & WATCH_VALUES))
            watch_put_event(&b->texts[v], v, f->snapshot, event, part(b, e->cursor_at, e->cursor_length));
        e->ends[v] = b->texts[v].len;
    }
}

enum err watch_batch_read(struct watch_batch *b, struct snapshot *snapshot, uint64_t wall_ms, bool continues,
                          const size_t wanted[WATCH_VARIANTS], unsigned spaces, struct feed_cursor *head,
                          enum feed_end *ret_end)
{
    struct filling filling = {.batch = b, .snapshot = snapshot, .wanted = wanted};
    struct feed_reader reader = {.spaces = spaces,
                                 .wall_ms = wall_ms,
                                 .continues = continues,
                                 .rows_max = FEED_ROWS_MAX,
                                 .bytes_max = WATCH_BATCH_BYTES,
                                 .each = take,
                                 .ctx = &filling};
    b->count = 0;
    b->has_large = false;
    buf_reset(&b->keys);
    for (size_t i = 0; i < WATCH_VARIANTS; i++)
        buf_reset(&b->texts[i]);
    feed_cursor_copy(&b->start, head);
    enum err err = feed_step(snapshot, &reader, head, ret_end);
    for (size_t i = 0; i < WATCH_VARIANTS && err == OK; i++)
        err = b->texts[i].err;
    if (err == OK)
        err = b->keys.err;
    if (err != OK)
        feed_cursor_copy(head, &b->start); /* nobody is given any of it */
    return err;
}

bool watch_batch_wants(const struct watch_batch *b, size_t i, const struct watch_range *range)
{
    const struct batch_event *e = &b->events[i];
    return range->spaces >> e->space & 1 && (!range->exact || e->key_length == range->prefix.len) &&
           bytes_starts_with(part(b, e->key_at, e->key_length), range->prefix);
}

bool watch_batch_touches(const struct watch_batch *b, const struct watch_range *range)
{
    for (size_t i = 0; i < b->count; i++)
        if (watch_batch_wants(b, i, range))
            return true;
    return false;
}

void watch_batch_cursor(const struct watch_batch *b, size_t n, struct feed_cursor *ret)
{
    if (n == 0) {
        feed_cursor_copy(ret, &b->start);
        return;
    }
    const struct batch_event *e = &b->events[n - 1];
    CHECK(feed_cursor_decode(part(b, e->cursor_at, e->cursor_length), ret) == OK);
}
