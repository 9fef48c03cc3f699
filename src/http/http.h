/* The HTTP edge: GNU libmicrohttpd in front, the store and the node behind.
 *
 * Worker threads, each with an epoll of its own (workers.h), parse requests and
 * call us. Reads are answered at once from a snapshot. Writes, cluster calls and
 * reads that wait for a token are parked (parking.h): what they wait for is asked
 * of the backend, and whoever has the answer lets them go on. No worker ever
 * waits.
 *
 * This folder knows neither the committer nor the event loop: what it needs of
 * them is struct http_backend.
 *
 *   http_start .. http_serve (connections wait until then) .. http_quiesce (no new
 *   connections) .. http_stop (what is in flight is answered, all connections closed)
 *   .. http_free (once each done() that the backend owes has returned) */
#ifndef YZMA_HTTP_HTTP_H
#define YZMA_HTTP_HTTP_H

#include "effect.h"
#include "listener.h"
#include "node_request.h"
#include "store.h"

/* What a backup asks for: the head, or the next piece behind a key or a row. */
struct backup_ask {
    enum { BACKUP_HEAD, BACKUP_RECORDS, BACKUP_ROWS } part;
    struct bytes after;
    struct dot row_after;
};

struct http_backend {
    void *ctx;
    struct store *store;
    /* Hands a write to the committer. On OK work->done is called exactly once,
     * from any thread, also when everything is shutting down (ERR_CLOSED), and
     * frees the work. With work->more set it wakes nobody: another must follow. On an error (ERR_BUSY: the
     * queue is full; ERR_CLOSED) done is not called and the work stays the caller's. */
    enum err (*submit)(void *ctx, struct store_work *work);
    /* Asks the node. The names are borrowed for the call. On OK done is called
     * exactly once, from any thread, and owns the reply. */
    enum err (*request)(void *ctx, enum node_request request, const char *const *names, size_t name_count,
                        void (*done)(void *done_ctx, struct node_reply *reply), void *done_ctx);
    uint64_t (*wall_ms)(void *ctx); /* since 1970 */
    /* Appends that part, read from a snapshot of its own. ERR_WALKING, ERR_DAMAGED. */
    enum err (*backup)(void *ctx, const struct backup_ask *ask, struct buf *out);
    /* How many replicas are known, this one with them, and how many of them have an
     * operation of this one durably, as last reported: at least one where it is. */
    void (*replicas)(void *ctx, const struct dot *dot, unsigned *ret_known, unsigned *ret_having);
    void (*log)(void *ctx, enum notice_level level, const char *line);
};

struct http_options {
    const char *bind; /* "host:port"; port 0 takes a free one */
    /* NULL, or what listener_open gave for bind before, so that a port in use shows
     * before anything else is touched. The descriptor is taken, also on failure. */
    const struct listener *listener;
    unsigned threads; /* 0: one per core */
    unsigned connections_max;
    uint64_t value_max;  /* bytes of a body */
    uint64_t bodies_max; /* bytes of all bodies in flight */
    uint64_t request_timeout_ms;
    unsigned watchers_max;       /* streams and waiting polls; 0: none */
    uint64_t watch_heartbeat_ms; /* of a stream in which nothing happens; 0: 15 s */
    uint64_t watch_lag_max;      /* operations that a blocked stream may fall behind by; 0: any */
    uint64_t slow_request_ms;    /* 0: none is logged */
    bool siblings;               /* Server.Conflict */
    const char *const *allowed_origins;
    size_t allowed_origin_count;
};

struct http;

/* Copies the options and the backend. On an error `why` says in one line what
 * could not be done: "cannot listen on 127.0.0.1:8080: Address already in use". */
enum err http_start(const struct http_options *options, const struct http_backend *backend, struct http **ret,
                    struct buf *why) MUST_USE;
/* From here on requests are answered, and the backend is called. Who tells http_on_commit
 * must know of it before, or what is committed meanwhile wakes nobody. */
void http_serve(struct http *http);

/* "127.0.0.1:8080": what it listens on, with the real port. */
const char *http_address(const struct http *http);
uint16_t http_port(const struct http *http);

/* To be called after each commit: requests that wait for the clock look again. */
void http_on_commit(struct http *http);

/* .. and after peers have reported: writes that wait for them look again. Any thread. */
void http_on_replicas(struct http *http);

/* Takes no more connections; keep-alive ones are closed with their next answer. */
void http_quiesce(struct http *http);
/* Waits until every request in flight is answered, at most deadline_ms, then
 * answers the parked ones with 503 and closes all connections. Calls
 * http_quiesce if nobody did. */
void http_stop(struct http *http, uint64_t deadline_ms);
void http_free(struct http *http); /* after http_stop; takes NULL */

/* Names like api_requests, for the status page; from any thread. */
void http_counters(const struct http *http, void (*each)(void *each_ctx, const char *name, uint64_t value),
                   void *each_ctx);

#endif
