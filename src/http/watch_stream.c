#include "watch.h"

#include "check.h"
#include "mem.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct stream *stream_new(int fd, unsigned variant, const struct watch_range *range,
                          struct feed_cursor *cursor, uint64_t now_ms)
{
    struct stream *s = mem_new(sizeof *s + range->prefix.len);
    s->fd = fd;
    s->variant = variant;
    s->range = *range;
    s->range.prefix.data = s->prefix;
    if (range->prefix.len)
        memcpy(s->prefix, range->prefix.data, range->prefix.len);
    s->state = STREAM_BLOCKED;
    s->sent_ms = s->blocked_ms = now_ms;
    s->cursor = mem_copy(cursor, sizeof *cursor);
    *cursor = (struct feed_cursor){0};
    buf_init(&s->out, SIZE_MAX);
    watch_put_head(&s->out, variant);
    stream_note(s, "heartbeat", NULL, s->cursor);
    return s;
}

static void drop_cursor(struct stream *s)
{
    feed_cursor_done(s->cursor);
    free(s->cursor);
    s->cursor = NULL;
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    close(s->fd);
    drop_cursor(s);
    buf_done(&s->out);
    free(s);
}

void stream_note(struct stream *s, const char *kind, const char *reason, const struct feed_cursor *cursor)
{
    struct buf text;
    buf_init(&text, FEED_CURSOR_TEXT_MAX);
    if (cursor)
        feed_cursor_encode(cursor, &text);
    if (text.err == OK)
        watch_put_note(&s->out, s->variant, kind, reason, buf_bytes(&text));
    buf_done(&text);
}

/* How much the socket took; false when the client has gone. */
static bool send_some(struct stream *s, struct bytes bytes, size_t *ret_sent)
{
    size_t sent = 0;
    while (sent < bytes.len) {
        ssize_t n = send(s->fd, bytes.data + sent, bytes.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return false;
        if (n < 0)
            break;
        sent += (size_t)n;
    }
    *ret_sent = sent;
    return true;
}

bool stream_flush(struct stream *s, uint64_t now_ms)
{
    size_t sent;
    if (s->out.err != OK)
        return false; /* no memory for what it should be told */
    if (s->out.len == 0)
        return true;
    if (!send_some(s, bytes_of(s->out.data + s->out_at, s->out.len - s->out_at), &sent))
        return false;
    if (sent)
        s->sent_ms = s->blocked_ms = now_ms;
    s->out_at += sent;
    if (s->out_at == s->out.len) {
        buf_done(&s->out);
        s->out_at = 0;
    }
    return true;
}

/* ---- at the head ----------------------------------------------------------------------- */

static bool wants(const struct stream *s, const struct watch_batch *b, size_t i)
{
    return watch_batch_wants(b, i, &s->range);
}

static size_t begin_of(const struct stream *s, const struct watch_batch *b, size_t i)
{
    return i ? b->events[i - 1].ends[s->variant] : 0;
}

static bool reads_itself(const struct stream *s, const struct watch_batch *b, size_t i)
{
    return b->events[i].large && s->variant & WATCH_VALUES;
}

/* From here on it has a place of its own, behind the first n events. */
static void leave_head(struct stream *s, const struct watch_batch *b, size_t n)
{
    s->cursor = mem_new(sizeof *s->cursor);
    s->continues = true;
    watch_batch_cursor(b, n, s->cursor);
}

/* Events from..to in one go. Where the socket stops in the middle of one, the rest of
 * that one stays; sets *ret_all. */
static bool send_run(struct stream *s, const struct watch_batch *b, size_t from, size_t to, bool *ret_all)
{
    const struct buf *text = &b->texts[s->variant];
    size_t begin = begin_of(s, b, from), end = begin_of(s, b, to), sent;
    if (!send_some(s, bytes_of(text->data + begin, end - begin), &sent))
        return false;
    *ret_all = sent == end - begin;
    if (*ret_all)
        return true;
    size_t stop = begin + sent, i = from;
    while (b->events[i].ends[s->variant] <= stop)
        i++;
    bool broken = begin_of(s, b, i) < stop;
    leave_head(s, b, broken ? i + 1 : i);
    if (broken)
        buf_put(&s->out, text->data + stop, b->events[i].ends[s->variant] - stop);
    return true;
}

bool stream_give(struct stream *s, const struct watch_batch *b, uint64_t now_ms, uint64_t *ret_events)
{
    CHECK(!s->cursor && s->out.len == 0);
    bool all = true;
    uint64_t events = 0;
    for (size_t i = 0; i < b->count && all;) {
        if (!wants(s, b, i)) {
            i++;
            continue;
        }
        if (reads_itself(s, b, i)) {
            leave_head(s, b, i);
            break;
        }
        size_t from = i;
        while (i < b->count && wants(s, b, i) && !reads_itself(s, b, i))
            i++;
        if (!send_run(s, b, from, i, &all))
            return false;
        events += i - from;
    }
    if (events)
        s->sent_ms = s->blocked_ms = now_ms;
    *ret_events += events;
    return true;
}

/* ---- behind it --------------------------------------------------------------------------- */

struct own {
    struct stream *stream;
    struct snapshot *snapshot;
    struct buf text;
    uint64_t events;
};

static void take(void *ctx, const struct feed_event *event, const struct feed_cursor *cursor)
{
    struct own *own = ctx;
    buf_reset(&own->text);
    feed_cursor_encode(cursor, &own->text);
    if (own->text.err != OK)
        own->stream->out.err = own->text.err;
    watch_put_event(&own->stream->out, own->stream->variant, own->snapshot, event, buf_bytes(&own->text));
    own->events++;
}

enum err stream_step(struct stream *s, struct snapshot *snapshot, uint64_t wall_ms, enum feed_end *ret_end,
                     uint64_t *ret_events)
{
    struct own own = {.stream = s, .snapshot = snapshot};
    struct feed_reader reader = {.prefix = s->range.prefix,
                                 .exact = s->range.exact,
                                 .spaces = s->range.spaces,
                                 .wall_ms = wall_ms,
                                 .continues = s->continues,
                                 .rows_max = WATCH_STEP_ROWS,
                                 .bytes_max = WATCH_STEP_BYTES,
                                 .each = take,
                                 .ctx = &own};
    buf_init(&own.text, FEED_CURSOR_TEXT_MAX);
    enum err err = feed_step(snapshot, &reader, s->cursor, ret_end);
    buf_done(&own.text);
    *ret_events += own.events;
    if (err == OK && (*ret_end == FEED_MORE || *ret_end == FEED_AT_HEAD)) {
        s->continues = true;
        s->told_behind = false;
    }
    return err;
}
