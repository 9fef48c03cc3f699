#include "exchange.h"

#include "import.h"
#include "mem.h"
#include "notice.h"
#include "spaces.h"
#include "utf8.h"
#include "watch.h"

#include <stdlib.h>

enum { MIB = 1 << 20 };

/* Cleared but for the memory of its buffers. */
static struct exchange *exchange_new(struct worker *worker)
{
    struct exchange *x = worker->spare;
    if (x) {
        worker->spare = x->next_spare;
        worker->spare_count--;
    } else {
        x = mem_new(sizeof *x);
        buf_init(&x->refusal, CONNECTION_MEMORY);
        buf_init(&x->token_out, TOKEN_HEADER_MAX);
        buf_init(&x->answer, SIZE_MAX);
    }
    struct buf body = x->body, refusal = x->refusal, answer = x->answer, token_out = x->token_out;
    memset(x, 0, offsetof(struct exchange, target));
    x->body = body, x->refusal = refusal, x->answer = answer, x->token_out = token_out;
    x->condition = (struct condition){0};
    x->type[0] = '\0';
    x->head.etag[0] = x->head.body_type[0] = x->head.value_type[0] = x->head.value_size[0] =
        x->head.expires[0] = '\0';
    x->head.varies = x->head.is_raw = false;
    x->http = worker->http;
    x->worker = worker;
    atomic_init(&x->refs, 1);
    x->outcome = MHD_YES;
    return x;
}

/* What only this request had. */
static void empty(struct exchange *x)
{
    struct http *http = x->http;
    if (x->body_reserved)
        atomic_fetch_sub(&http->body_bytes, x->body_reserved);
    token_done(&x->token);
    node_reply_free(x->reply);
    watch_poll_free(x->poll);
    import_free(x->import);
    free(x->query);
    free(x->failed_key);
    if (x->listing)
        listing_done(x->listing);
    free(x->listing);
    if (x->spaces)
        spaces_done(x->spaces);
    free(x->spaces);
    atomic_fetch_sub(&http->exchanges, 1);
}

static void destroy(struct exchange *x)
{
    buf_done(&x->body);
    buf_done(&x->refusal);
    buf_done(&x->answer);
    buf_done(&x->token_out);
    free(x);
}

void exchange_unref(struct exchange *x)
{
    if (atomic_fetch_sub(&x->refs, 1) > 1)
        return;
    empty(x);
    destroy(x);
}

static void keep_small(struct buf *buf)
{
    if (buf->cap > SPARE_BYTES_MAX)
        buf_done(buf);
    else
        buf_reset(buf);
}

/* The same, on its worker: it may serve the next request. */
static void exchange_unref_here(struct exchange *x)
{
    struct worker *worker = x->worker;
    if (atomic_fetch_sub(&x->refs, 1) > 1)
        return;
    empty(x);
    if (worker->spare_count == SPARE_MAX) {
        destroy(x);
        return;
    }
    keep_small(&x->body);
    keep_small(&x->refusal);
    keep_small(&x->answer);
    keep_small(&x->token_out);
    x->next_spare = worker->spare;
    worker->spare = x;
    worker->spare_count++;
}

void exchange_free_spare(struct worker *worker)
{
    while (worker->spare) {
        struct exchange *x = worker->spare;
        worker->spare = x->next_spare;
        destroy(x);
    }
    worker->spare_count = 0;
}

void *exchange_on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct worker *worker = cls;
    struct http *http = worker->http;
    struct exchange *x = exchange_new(worker);
    x->connection = connection;
    x->watch = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    x->begun_ms = deadlines_now_ms();
    target_parse(bytes_str(uri), &x->target);
    if (x->target.query.len)
        x->query = mem_text_of(x->target.query); /* the library decodes in place after this */
    params_init(&x->params);
    watch_until(x->watch, x->begun_ms + http->options.request_timeout_ms, false);
    atomic_fetch_add(&http->exchanges, 1);
    atomic_fetch_add(&http->in_flight, 1);
    count(http, COUNT_REQUESTS);
    return x;
}

static void log_slow(struct exchange *x, uint64_t took_ms)
{
    static const char *const verbs[] = {[VERB_GET] = "GET", [VERB_HEAD] = "HEAD",     [VERB_POST] = "POST",
                                        [VERB_PUT] = "PUT", [VERB_DELETE] = "DELETE", [VERB_OTHER] = "other"};
    static const char *const routes[ROUTES] = {[ROUTE_NONE] = "unknown",
                                               [ROUTE_KEYS] = "/keys",
                                               [ROUTE_KEY] = "/keys/",
                                               [ROUTE_COUNTERS] = "/counters",
                                               [ROUTE_COUNTER] = "/counters/",
                                               [ROUTE_SETS] = "/sets",
                                               [ROUTE_SET] = "/sets/",
                                               [ROUTE_CONFLICTS] = "/conflicts",
                                               [ROUTE_BATCH] = "/batch",
                                               [ROUTE_IMPORT] = "/import",
                                               [ROUTE_EXPORT] = "/export",
                                               [ROUTE_WATCH] = "/watch",
                                               [ROUTE_JOIN] = "/cluster/join",
                                               [ROUTE_LEAVE] = "/cluster/leave",
                                               [ROUTE_MEMBERS] = "/cluster/members",
                                               [ROUTE_STATUS] = "/cluster/status",
                                               [ROUTE_CLUSTER_KEYS] = "/cluster/keys",
                                               [ROUTE_KEYS_INSTALL] = "/cluster/keys/install",
                                               [ROUTE_KEYS_USE] = "/cluster/keys/use",
                                               [ROUTE_KEYS_REMOVE] = "/cluster/keys/remove",
                                               [ROUTE_FORGET] = "/cluster/forget",
                                               [ROUTE_RETIRE] = "/cluster/retire",
                                               [ROUTE_PAUSE] = "/cluster/pause",
                                               [ROUTE_RESUME] = "/cluster/resume",
                                               [ROUTE_BACKUP] = "/cluster/backup",
                                               [ROUTE_DIGEST] = "/cluster/digest",
                                               [ROUTE_HEALTH] = "/health",
                                               [ROUTE_READY] = "/ready"};
    struct buf line;
    buf_init(&line, NOTICE_LINE_MAX);
    buf_put_format(&line, "event=slow_request method=%s path=%s", verbs[x->verb], routes[x->target.route]);
    if (x->target.name_length) {
        buf_put_text(&line, " key=");
        notice_value(&line, target_name(&x->target));
    }
    buf_put_format(&line, " status=%u ms=%llu", x->status, (unsigned long long)took_ms);
    buf_put_u8(&line, '\0');
    if (line.err == OK)
        x->http->backend.log(x->http->backend.ctx, NOTICE_WARN, (const char *)line.data);
    buf_done(&line);
}

void exchange_on_completed(void *cls, struct MHD_Connection *connection, void **context,
                           enum MHD_RequestTerminationCode code)
{
    struct exchange *x = *context;
    if (!x)
        return;
    *context = NULL;
    struct http *http = x->http;
    parking_leave(x);
    x->worker->progressed = true;
    uint64_t now_ms = deadlines_now_ms(), took_ms = now_ms - x->begun_ms;
    enum route route = x->target.route;
    bool waits = route == ROUTE_WATCH || route == ROUTE_IMPORT || route == ROUTE_EXPORT; /* for its client */
    if (http->options.slow_request_ms && took_ms >= http->options.slow_request_ms && !waits) {
        count(http, COUNT_SLOW);
        log_slow(x, took_ms);
    }
    watch_until(x->watch, now_ms + KEEP_ALIVE_MS, true);
    atomic_fetch_sub(&http->in_flight, 1);
    exchange_unref_here(x);
}

bool exchange_reserve_body(struct exchange *x, uint64_t n)
{
    struct http *http = x->http;
    if (atomic_fetch_add(&http->body_bytes, n) + n > http->options.bodies_max) {
        atomic_fetch_sub(&http->body_bytes, n);
        return false;
    }
    x->body_reserved += n;
    return true;
}

static void refuse_body(struct exchange *x, unsigned status, const char *reason)
{
    count(x->http, COUNT_BODIES_REFUSED);
    x->refused_status = status;
    buf_put_text(&x->refusal, reason);
    x->keep_body = false;
    buf_done(&x->body);
    atomic_fetch_sub(&x->http->body_bytes, x->body_reserved);
    x->body_reserved = 0;
}

static bool takes_many(const struct exchange *x)
{
    return x->target.route == ROUTE_BATCH || x->target.route == ROUTE_SET;
}

static const char *too_large(const struct exchange *x)
{
    return takes_many(x)                                ? "body is larger than a batch may be (64 MiB)"
           : x->body_limit < x->http->options.value_max ? "body is larger than this call takes (64 KiB)"
                                                        : "body is larger than allowed (API.MaxValueBytes)";
}

static const char no_room[] = "too many request bodies at once (API.MaxBodiesInFlight)";

static void answer_refusal(struct exchange *x)
{
    answer_error_data(x, x->refused_status, buf_bytes(&x->refusal), bytes_of(NULL, 0));
}

/* Answers before the body is read; the connection cannot be used after it. */
static enum MHD_Result answer_and_close(struct exchange *x)
{
    x->close = true;
    answer_refusal(x);
    return x->outcome;
}

static uint64_t body_limit(const struct exchange *x)
{
    uint64_t value_max = x->http->options.value_max;
    if (takes_many(x))
        return BATCH_BODY_MAX;
    if (x->handler && x->handler->body == BODY_LINES)
        return UINT64_MAX / 2;
    return x->target.route != ROUTE_KEY && value_max > JOIN_BODY_MAX ? JOIN_BODY_MAX : value_max;
}

/* Of any length, so that one who sends in vain hears of it at once. */
static enum MHD_Result begin_lines(struct exchange *x)
{
    if (!x->refused_status && !import_begin(x))
        refuse_body(x, MHD_HTTP_SERVICE_UNAVAILABLE, no_room);
    return x->refused_status ? answer_and_close(x) : MHD_YES;
}

static enum MHD_Result first_call(struct exchange *x, const char *method)
{
    head_read(x, method);
    if (x->bad_head) {
        x->close = true;
        answer_error(x, MHD_HTTP_BAD_REQUEST, "%s", x->bad_head);
        return x->outcome;
    }
    x->body_limit = body_limit(x);
    if (x->handler && x->handler->body == BODY_LINES)
        return begin_lines(x);
    x->keep_body = x->handler && x->handler->body != BODY_IGNORED && !x->refused_status;
    x->body.max = x->body_limit;
    if (x->content_length > x->body_limit) {
        if (!x->refused_status)
            refuse_body(x, MHD_HTTP_CONTENT_TOO_LARGE, too_large(x));
        return answer_and_close(x);
    }
    if (x->keep_body && x->lengths && !exchange_reserve_body(x, x->content_length)) {
        refuse_body(x, MHD_HTTP_SERVICE_UNAVAILABLE, no_room);
        return answer_and_close(x);
    }
    if (x->keep_body) {
        json_check_init(&x->check);
        buf_reserve(&x->body, x->content_length); /* each piece is copied once, to where it stays */
    }
    return MHD_YES;
}

static void keep_piece(struct exchange *x, const char *data, size_t size)
{
    if (x->body_seen > x->body_limit) {
        refuse_body(x, MHD_HTTP_CONTENT_TOO_LARGE, too_large(x));
        return;
    }
    if (!x->lengths && !exchange_reserve_body(x, size)) {
        refuse_body(x, MHD_HTTP_SERVICE_UNAVAILABLE, no_room);
        return;
    }
    buf_put(&x->body, data, size);
    if (x->body.err != OK) {
        refuse_body(x, MHD_HTTP_SERVICE_UNAVAILABLE, err_text(x->body.err));
        return;
    }
    /* Told at the end: that a body is too large comes before what is wrong in it. */
    if (x->body_is_json)
        (void)!json_check_feed(&x->check, bytes_of(data, size));
}

static enum MHD_Result body_call(struct exchange *x, const char *data, size_t size)
{
    x->body_seen += size;
    watch_until(x->watch, x->begun_ms + x->http->options.request_timeout_ms + x->body_seen / MIB * 1000,
                false);
    if (x->keep_body)
        keep_piece(x, data, size);
    /* A refused body is drained, so that the answer reaches the client and the
     * connection stays usable; but not for ever. */
    return x->body_seen > 2 * x->body_limit ? MHD_NO : MHD_YES;
}

static void answer_bad_json(struct exchange *x)
{
    const struct json_error *error = &x->check.error;
    struct text_position at = text_position(buf_bytes(&x->body), error->offset);
    answer_error(x, MHD_HTTP_BAD_REQUEST, "body is not JSON: %s at line %zu, column %zu", error->reason,
                 at.line, at.column);
}

/* The last byte has arrived, or the exchange was parked and goes on. */
static enum MHD_Result last_call(struct exchange *x)
{
    watch_until(x->watch, DEADLINE_NEVER, false); /* from here on it is up to us */
    if (x->refused_status) {
        answer_refusal(x);
        return x->outcome;
    }
    if (x->keep_body && x->body_is_json && json_check_end(&x->check) != OK) {
        answer_bad_json(x);
        return x->outcome;
    }
    x->keep_body = false; /* it is whole, and judged */
    x->handler->run(x);
    return x->outcome;
}

enum MHD_Result exchange_on_call(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data, size_t *size,
                                 void **context)
{
    struct exchange *x = *context;
    if (parking_holds(x))
        return MHD_YES;
    x->worker->progressed = true;
    if (!x->head_done) {
        x->head_done = true;
        x->is_http10 = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
        return first_call(x, method);
    }
    if (*size > 0) {
        size_t piece = *size;
        *size = x->import ? import_feed(x, data, piece) : 0;
        return x->import ? MHD_YES : body_call(x, data, piece);
    }
    return last_call(x);
}
