/* API.RequestTimeout as a bound on a whole request, and the end of parked waits:
 * one thread that looks at all connections a few times a second.
 *
 * The library's own timeout starts anew with every byte, so a client that sends
 * one byte a second would stay for ever. Here each connection has a time until
 * which what it is doing must be done: sending its request, reading its answer,
 * or being idle between two. After it the socket is shut down under the library,
 * which then lets go of the connection. A parked connection has none: it does not
 * depend on the client, and parking.h bounds it. */
#ifndef YZMA_HTTP_DEADLINES_H
#define YZMA_HTTP_DEADLINES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define DEADLINE_NEVER UINT64_MAX

struct http;

struct watch {
    int fd;
    atomic_uint_fast64_t until_ms;
    atomic_bool idle; /* between requests: to be cut then is no failure */
    struct watch *prev, *next;
};

struct deadlines {
    struct http *http;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct watch *first;
    atomic_uint_fast64_t next_look_ms; /* 0: it is about to look; changed under the lock only */
    bool ending;
};

uint64_t deadlines_now_ms(void); /* monotonic, to a few milliseconds */

void deadlines_start(struct deadlines *d, struct http *http);
void deadlines_stop(struct deadlines *d); /* ends the thread; watches may stay */
void deadlines_done(struct deadlines *d); /* after the last watch has gone */

struct watch *deadlines_add(struct deadlines *d, int fd, uint64_t until_ms);
/* Before the library closes the descriptor: nothing is shut down after it. */
void deadlines_remove(struct deadlines *d, struct watch *watch);

static inline void watch_until(struct watch *watch, uint64_t until_ms, bool idle)
{
    atomic_store_explicit(&watch->idle, idle, memory_order_relaxed);
    atomic_store_explicit(&watch->until_ms, until_ms, memory_order_relaxed);
}

/* A parked wait ends at this time: looks then, if it would not by itself. */
void deadlines_hurry(struct deadlines *d, uint64_t at_ms);
void deadlines_cut_all(struct deadlines *d);

#endif
