/* The threads that serve: each runs a daemon of the library's of its own, with an
 * epoll set of its own, over the one listening socket, so that a connection
 * belongs to one thread for its life.
 *
 * The threads are ours and not the library's (its "external polling"). Its own
 * pool would be woken by a write to an event descriptor for each connection that
 * is resumed, in the middle of a group of writes just committed, and thrice the
 * system calls and switches that the group needs. Here resuming only marks, and
 * workers_wake wakes each worker that has something marked, once. */
#ifndef YZMA_HTTP_WORKERS_H
#define YZMA_HTTP_WORKERS_H

#include "store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct http;
struct MHD_Daemon;

struct worker {
    struct http *http;
    struct MHD_Daemon *daemon;
    pthread_t thread;
    int wake_fd;         /* an eventfd beside the daemon's epoll set */
    atomic_bool resumed; /* connections, since it was last woken */
    atomic_bool awake;   /* it will look at all that was marked before this was set */
    atomic_bool ending;
    /* The thread's own: */
    struct reading {
        struct record record;
        struct floor_cache floor;
        struct token token;
    } reading;              /* kept between requests, so that none allocates */
    struct exchange *spare; /* by their next_spare */
    unsigned spare_count;
    unsigned held;        /* exchanges that wait without being suspended (parking.h) */
    unsigned connections; /* after its last run */
    bool again;           /* the library is to run once more before anything is waited for */
    bool progressed;      /* some exchange took a step in this round of the library's */
};

/* Fills http->workers, one for each of http->options.threads. Each has its own copy
 * of the listening descriptor; fd stays the caller's. On failure nothing is left. */
enum err workers_prepare(struct http *http, int fd) MUST_USE;
void workers_start(struct http *http);
/* Ends the threads, then closes all connections: none may be parked. */
void workers_stop(struct http *http);
void workers_free(struct http *http); /* after workers_stop, or when there are none */

/* Any thread, after resuming connections: see above. */
void workers_wake(struct http *http);

#endif
