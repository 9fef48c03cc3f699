/* Exchanges that wait, and who may resume them: exactly one of the answer they
 * wait for, the timer, and the end of the server. The lock decides; an exchange
 * that is not parked any more is left alone.
 *
 * Most have their connection suspended. That costs four system calls (out of the
 * epoll set, a read that finds nothing, into it again, ..), more than all else
 * about a small write. Writes are soon done, so up to a number of them for each
 * worker are held instead: the library, not given an answer, asks again in each
 * of its rounds, and is told to wait (see also workers.c). */
#ifndef YZMA_HTTP_PARKING_H
#define YZMA_HTTP_PARKING_H

#include "clock.h"

#include <pthread.h>
#include <stdatomic.h>

struct exchange;
struct http;

enum parked_for {
    PARKED_NOT,
    PARKED_FOR_CLOCK,
    PARKED_FOR_WRITE,
    PARKED_FOR_IMPORT, /* a write of a body that is still coming */
    PARKED_FOR_NODE,
    PARKED_FOR_REPLICAS,
    PARKED_FOR_FEED
};

struct parking {
    pthread_mutex_t lock;
    struct exchange *first;
    bool closed;
    atomic_size_t clock_waiters, replica_waiters;
};

void parking_init(struct parking *p);
void parking_done(struct parking *p);

/* To be called by the connection's worker, before whatever may resume it is
 * asked for. At wake_at_ms it is resumed with timed_out set. False,
 * and nothing happened, when the server is ending. */
bool parking_park(struct exchange *x, enum parked_for what, uint64_t wake_at_ms);

/* Resumes x if it is still parked, after `fill` (may be NULL) has handed it the
 * result; false when it is not, and the result is the caller's to drop. What is
 * resumed goes on when its worker runs next: workers_wake, once for all of them,
 * must follow. The functions below call it themselves. */
bool parking_resume(struct exchange *x, void (*fill)(struct exchange *x, void *result), void *result);

/* For the worker: true when x is parked, and has only been asked again. */
bool parking_holds(struct exchange *x);
/* For the worker: the connection is gone. */
void parking_leave(struct exchange *x);

/* Resumes those that wait for a clock that this one covers. */
void parking_clock_rose(struct http *http, const struct clock *clock);

/* Resumes those that wait for replicas and for which `enough` says so. */
void parking_replicas_reported(struct http *http, bool (*enough)(const struct exchange *x));

/* Resumes those whose time has come; the earliest time of the others, or
 * UINT64_MAX. */
uint64_t parking_expire(struct http *http, uint64_t now_ms);

/* Resumes all as if their time had come, and lets nobody in any more. */
void parking_close(struct http *http);

#endif
