/* GET /watch: what is asked for, whether this node can serve it, and to whom it goes. */
#include "watch.h"

#include "exchange.h"
#include "media.h"

#include <fcntl.h>
#include <stdlib.h>

/* The cursor's text, or NULL: a browser that reconnects sends the last id it saw, and its
 * URL is still the first one. */
static enum err read_cursor(struct exchange *x, struct feed_cursor *cursor, bool *ret_given)
{
    const char *last = x->last_event_id;
    struct bytes raw = last && *last ? bytes_str(last) : x->params.since;
    *ret_given = (last && *last) || x->params.given & PARAM_SINCE;
    if (!*ret_given)
        return OK;
    if (bytes_equal(raw, bytes_str("0"))) {
        cursor->phase = FEED_LIST_BEGIN;
        return OK;
    }
    struct buf text;
    buf_init(&text, FEED_CURSOR_TEXT_MAX);
    uint8_t *room = raw.len ? buf_extend(&text, raw.len) : NULL;
    enum err err = room ? percent_decode(raw, false, room, raw.len, &text.len) : ERR_MALFORMED;
    if (err == OK)
        err = feed_cursor_decode(buf_bytes(&text), cursor);
    buf_done(&text);
    return err;
}

void answer_gone(struct exchange *x, struct snapshot *snapshot, struct feed_cursor *cursor)
{
    struct buf text, data;
    enum err err = feed_anew(snapshot, cursor);
    if (err != OK) {
        answer_store_error(x, err);
        return;
    }
    buf_init(&text, FEED_CURSOR_TEXT_MAX);
    buf_init(&data, 2 * FEED_CURSOR_TEXT_MAX);
    feed_cursor_encode(cursor, &text);
    struct json_out j = json_out_to(&data);
    json_object(&j);
    json_field_string(&j, "Cursor", buf_bytes(&text));
    json_object_end(&j);
    count(x->http, COUNT_CURSORS_GONE);
    answer_error_data(x, MHD_HTTP_GONE,
                      bytes_str("the cursor is older than this node's history: watch from Data.Cursor, which "
                                "begins with a listing"),
                      buf_bytes(&data));
    buf_done(&text);
    buf_done(&data);
}

/* The place to begin at; true when the request has been answered instead. */
static bool find_begin(struct exchange *x, bool given, struct feed_cursor *cursor)
{
    struct snapshot *snapshot;
    enum feed_end end = FEED_MORE;
    bool answered = true;
    enum err err = snapshot_open(x->http->backend.store, &snapshot);
    if (err == OK) {
        err = given ? feed_judge(snapshot, &(struct feed_reader){0}, cursor, &end)
                    : feed_now(snapshot, cursor);
        if (err == OK && end == FEED_GONE)
            answer_gone(x, snapshot, cursor);
        else
            answered = err != OK;
        snapshot_close(snapshot);
    }
    if (err != OK)
        answer_store_error(x, err);
    return answered;
}

struct watch_range watch_range_of(const struct params *params)
{
    return (struct watch_range){
        .spaces = params_spaces(params), .exact = params->exact, .prefix = param_bytes(&params->prefix)};
}

static unsigned variant_of(const struct exchange *x)
{
    unsigned variant = x->is_http10 ? 0 : WATCH_CHUNKED;
    if (x->accept && media_accepted(x->accept, "text/event-stream", false))
        variant |= WATCH_SSE;
    if (!(x->params.given & PARAM_VALUES) || x->params.values)
        variant |= WATCH_VALUES;
    return variant;
}

/* The connection becomes a stream (see watch.h): the library is told to let it go. */
static void take_over(struct exchange *x, struct feed_cursor *cursor)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(x->connection,
                                                                   MHD_CONNECTION_INFO_CONNECTION_FD);
    int fd = fcntl(info->connect_fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        watch_feed_leave(x->http);
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "no file descriptor is left");
        return;
    }
    struct watch_range range = watch_range_of(&x->params);
    struct stream *stream = stream_new(fd, variant_of(x), &range, cursor, deadlines_now_ms());
    x->status = MHD_HTTP_OK;
    x->outcome = MHD_NO;
    count(x->http, COUNT_2XX);
    watch_feed_add(x->http, stream);
}

void watch_get(struct exchange *x)
{
    struct feed_cursor cursor = {0};
    bool given;
    if (x->poll) {
        watch_poll_run(x, &cursor);
        return;
    }
    if (waiting_for_clock(x))
        return;
    if (read_cursor(x, &cursor, &given) != OK) {
        answer_error(x, MHD_HTTP_BAD_REQUEST, "since, or Last-Event-ID, is no cursor");
        return;
    }
    if (!feed_cursor_serves(&cursor, param_bytes(&x->params.prefix))) {
        answer_error(
            x, MHD_HTTP_BAD_REQUEST,
            "since, or Last-Event-ID, stands in the listing of another \"prefix\", \"key\" or \"space\"");
        feed_cursor_done(&cursor);
        return;
    }
    if (find_begin(x, given, &cursor)) {
        feed_cursor_done(&cursor);
        return;
    }
    if (!watch_feed_enter(x->http)) {
        count(x->http, COUNT_WATCHES_REFUSED);
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "too many watchers at once (API.MaxWatchers)");
    } else {
        count(x->http, COUNT_WATCHES);
        if (x->params.given & PARAM_POLL)
            watch_poll_run(x, &cursor);
        else
            take_over(x, &cursor);
    }
    feed_cursor_done(&cursor);
}
