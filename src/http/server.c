/* The daemon around it all: start, stop, connections, counters. */
#include "exchange.h"

#include "check.h"
#include "listener.h"
#include "mem.h"
#include "watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How long parked requests get to be answered with 503 at the end. */
enum { LAST_ANSWERS_MS = 300 };

static void copy_options(struct http *http, const struct http_options *options)
{
    http->options = *options;
    if (!http->options.threads) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        http->options.threads = cores > 0 ? (unsigned)cores : 1;
    }
    char **origins = mem_new(options->allowed_origin_count * sizeof *origins);
    for (size_t i = 0; i < options->allowed_origin_count; i++)
        origins[i] = mem_text(options->allowed_origins[i]);
    http->options.allowed_origins = (const char *const *)origins;
    http->options.bind = NULL; /* see address */
    http->options.listener = NULL;
}

static char *real_address(const char *bind, uint16_t port)
{
    char text[320];
    const char *colon = strrchr(bind, ':');
    snprintf(text, sizeof text, "%.*s:%u", (int)(colon - bind), bind, port);
    return mem_text(text);
}

static void free_all(struct http *http)
{
    for (size_t i = 0; i < http->options.allowed_origin_count; i++)
        free((char *)http->options.allowed_origins[i]);
    free((char **)http->options.allowed_origins);
    free(http->address);
    workers_free(http);
    parking_done(&http->parking);
    watch_feed_free(http);
    free(http);
}

enum err http_start(const struct http_options *options, const struct http_backend *backend, struct http **ret,
                    struct buf *why)
{
    struct listener listener;
    enum err err = OK;
    if (options->listener)
        listener = *options->listener;
    else
        err = listener_open(options->bind, &listener, why);
    if (err != OK)
        return err;
    struct http *http = mem_new(sizeof *http);
    copy_options(http, options);
    http->backend = *backend;
    http->port = listener.port;
    http->address = real_address(options->bind, listener.port);
    parking_init(&http->parking);
    err = workers_prepare(http, listener.fd);
    close(listener.fd); /* each worker has its own */
    if (err == OK) {
        deadlines_start(&http->deadlines, http);
        watch_feed_start(http);
        *ret = http;
        return OK;
    }
    buf_put_format(why, "cannot serve on %s: the HTTP library does not start", http->address);
    free_all(http);
    return err;
}

void http_serve(struct http *http)
{
    workers_start(http);
}

const char *http_address(const struct http *http)
{
    return http->address;
}

uint16_t http_port(const struct http *http)
{
    return http->port;
}

void http_quiesce(struct http *http)
{
    /* From here on everybody is turned away as soon as accepted. Not by
     * MHD_quiesce_daemon: it takes the listening socket out of a worker's epoll set
     * while the worker may do the same, and aborts the process when it was first
     * (0.9.75). */
    atomic_store(&http->quiesced, true);
}

/* Until nothing is in flight, or the time is up. */
static void drain(struct http *http, uint64_t at_most_ms)
{
    /* Nothing special about this value; it only happens once. */
    const struct timespec step = {.tv_nsec = 2000000};
    uint64_t end_ms = deadlines_now_ms() + at_most_ms;
    while (atomic_load(&http->in_flight) > 0 && deadlines_now_ms() < end_ms)
        nanosleep(&step, NULL);
}

void http_stop(struct http *http, uint64_t deadline_ms)
{
    /* The library aborts when it is stopped with a suspended connection, and
     * drops answers on their way: so first all answers, then it. */
    http_quiesce(http);
    watch_feed_stop(http);
    drain(http, deadline_ms);
    parking_close(http);
    drain(http, LAST_ANSWERS_MS);
    deadlines_cut_all(&http->deadlines);
    workers_stop(http);
    deadlines_stop(&http->deadlines);
    deadlines_done(&http->deadlines);
}

void http_free(struct http *http)
{
    if (!http)
        return;
    CHECK(atomic_load(&http->exchanges) == 0); /* the backend still owes a done() */
    free_all(http);
}

void http_counters(const struct http *http, void (*each)(void *each_ctx, const char *name, uint64_t value),
                   void *each_ctx)
{
    static const char *const names[COUNTERS] = {
        [COUNT_REQUESTS] = "api_requests",
        [COUNT_2XX] = "api_answers_2xx",
        [COUNT_4XX] = "api_answers_4xx",
        [COUNT_5XX] = "api_answers_5xx",
        [COUNT_CONNECTIONS] = "api_connections",
        [COUNT_BODIES_REFUSED] = "api_bodies_refused",
        [COUNT_ORIGINS_REFUSED] = "api_origins_refused",
        [COUNT_TIMEOUTS] = "api_timeouts",
        [COUNT_WAITS] = "api_waits",
        [COUNT_WAITS_EXPIRED] = "api_waits_expired",
        [COUNT_WRITES_UNCONFIRMED] = "api_writes_unconfirmed",
        [COUNT_TOKENS_LEFT_OUT] = "api_tokens_left_out",
        [COUNT_DAMAGED_READS] = "api_damaged_reads",
        [COUNT_SLOW] = "api_slow_requests",
        [COUNT_CONDITIONS_UNMET] = "api_conditions_unmet",
        [COUNT_REPLICAS_SHORT] = "api_replicas_short",
        [COUNT_STREAMS_BROKEN] = "api_streams_broken",
        [COUNT_WATCHES] = "api_watches",
        [COUNT_WATCH_EVENTS] = "api_watch_events",
        [COUNT_WATCHES_DROPPED] = "api_watches_dropped",
        [COUNT_WATCHES_REFUSED] = "api_watches_refused",
        [COUNT_CURSORS_GONE] = "api_cursors_gone",
        [COUNT_IMPORT_LINES] = "api_import_lines",
        [COUNT_IMPORT_LINES_REFUSED] = "api_import_lines_refused",
        [COUNT_IMPORT_BATCHES] = "api_import_batches",
        [COUNT_SPACES_MALFORMED] = "api_spaces_malformed",
    };
    for (size_t i = 0; i < COUNTERS; i++)
        each(each_ctx, names[i], atomic_load_explicit(&http->counters[i], memory_order_relaxed));
    each(each_ctx, "api_in_flight", atomic_load(&http->in_flight));
    each(each_ctx, "api_watchers", watch_feed_open(http));
    each(each_ctx, "api_body_bytes", atomic_load(&http->body_bytes));
}
