/* Long polls: an answer at once when there is something, else when something comes, else
 * an empty one at the end of the time. Each reads the store itself; what wakes it is the
 * feed, which knows the keys that changed. */
#include "check.h"
#include "envelope.h"
#include "exchange.h"
#include "mem.h"
#include "watch.h"

#include <stdlib.h>

enum {
    POLL_ROWS = 1000,     /* looked at in one step; */
    POLL_BYTES = 1 << 20, /* of values in an answer, one value at least; */
    POLL_STEPS_MAX = 10,  /* before an answer, without events if there were none: */
                          /* a worker is not kept longer. Nothing special about these */
};

struct filling {
    struct json_out json;
    struct snapshot *snapshot;
    bool values;
    size_t events;
};

static void take(void *ctx, const struct feed_event *event, const struct feed_cursor *cursor)
{
    struct filling *f = ctx;
    watch_event_json(&f->json, f->snapshot, event, f->values, false, bytes_of(NULL, 0));
    f->events++;
}

/* What stands in x->answer are the events. */
static void answer_events(struct exchange *x, struct filling *filling)
{
    struct buf text;
    buf_init(&text, FEED_CURSOR_TEXT_MAX);
    feed_cursor_encode(&x->poll->cursor, &text);
    json_array_end(&filling->json);
    json_field_string(&filling->json, "Cursor", buf_bytes(&text));
    json_object_end(&filling->json);
    envelope_close(&x->answer);
    if (text.err != OK)
        x->answer.err = text.err;
    buf_done(&text);
    atomic_fetch_add(&x->http->counters[COUNT_WATCH_EVENTS], filling->events);
    answer_written(x, MHD_HTTP_OK);
}

static void begin_events(struct exchange *x, struct filling *filling)
{
    bool all = !(x->params.given & PARAM_VALUES);
    buf_reset(&x->answer);
    envelope_open(&x->answer);
    *filling = (struct filling){.json = json_out_to(&x->answer), .values = all || x->params.values};
    json_object(&filling->json);
    json_name(&filling->json, "Events");
    json_array(&filling->json);
}

/* Steps until there is something to tell, or nothing more to read. GONE answers. */
static enum err read_on(struct exchange *x, struct filling *filling, enum feed_end *ret_end,
                        bool *ret_answered)
{
    struct watch_poll *p = x->poll;
    struct watch_range range = watch_range_of(&x->params);
    enum err err = OK;
    *ret_end = FEED_MORE;
    for (size_t n = 0; n < POLL_STEPS_MAX && err == OK && *ret_end == FEED_MORE && !filling->events; n++) {
        struct feed_reader reader = {.prefix = range.prefix,
                                     .exact = range.exact,
                                     .spaces = range.spaces,
                                     .wall_ms = x->http->backend.wall_ms(x->http->backend.ctx),
                                     .continues = p->continues,
                                     .rows_max = POLL_ROWS,
                                     .bytes_max = POLL_BYTES,
                                     .each = take,
                                     .ctx = filling};
        err = snapshot_open(x->http->backend.store, &filling->snapshot);
        if (err != OK)
            break;
        err = feed_step(filling->snapshot, &reader, &p->cursor, ret_end);
        if (err == OK && *ret_end == FEED_GONE) {
            answer_gone(x, filling->snapshot, &p->cursor);
            *ret_answered = true;
        }
        snapshot_close(filling->snapshot);
        p->continues |= err == OK && (*ret_end == FEED_MORE || *ret_end == FEED_AT_HEAD);
    }
    return err;
}

static void wait_more(struct exchange *x)
{
    x->poll->fd = MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    if (!parking_park(x, PARKED_FOR_FEED, x->poll->until_ms)) {
        answer_store_error(x, ERR_CLOSED);
        return;
    }
    watch_feed_list(x->http, x->poll);
}

static void go_on(struct exchange *x)
{
    struct watch_poll *p = x->poll;
    struct filling filling;
    enum feed_end end;
    bool answered = false;
    begin_events(x, &filling);
    enum err err = read_on(x, &filling, &end, &answered);
    if (answered)
        return;
    if (err != OK) {
        answer_store_error(x, err);
        return;
    }
    p->behind = end == FEED_BEHIND    ? "this node has not seen all that the cursor stands for"
                : end == FEED_WALKING ? "this node is being filled"
                                      : NULL;
    bool over = x->timed_out || deadlines_now_ms() >= p->until_ms || atomic_load(&x->http->quiesced);
    if (filling.events || end == FEED_MORE || (over && !p->behind))
        answer_events(x, &filling);
    else if (over)
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "%s", p->behind);
    else
        wait_more(x);
}

void watch_poll_run(struct exchange *x, struct feed_cursor *cursor)
{
    if (x->poll) {
        watch_feed_unlist(x->http, x->poll);
        if (x->poll->hung_up) {
            x->outcome = MHD_NO;
            return;
        }
    } else {
        x->poll = mem_new(sizeof *x->poll);
        x->poll->x = x;
        x->poll->cursor = *cursor;
        x->poll->until_ms = deadlines_now_ms() + x->params.poll_ms;
        *cursor = (struct feed_cursor){0};
    }
    go_on(x);
}

void watch_poll_free(struct watch_poll *poll)
{
    if (!poll)
        return;
    struct http *http = poll->x->http;
    watch_feed_unlist(http, poll);
    feed_cursor_done(&poll->cursor);
    free(poll);
    watch_feed_leave(http);
}
