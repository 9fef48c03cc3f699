#include "deadlines.h"

#include "check.h"
#include "exchange.h"
#include "mem.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

/* How late a slow connection may be cut; nothing special about this value. */
enum { LOOK_EVERY_MS = 250 };

/* The coarse clock lags behind the one that waits are measured by: after this
 * much more it shows the time waited for. */
enum { COARSE_MS = 5 };

uint64_t deadlines_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void cut(struct watch *watch)
{
    atomic_store_explicit(&watch->until_ms, DEADLINE_NEVER, memory_order_relaxed);
    shutdown(watch->fd, SHUT_RDWR);
}

static void cut_the_late(struct deadlines *d, uint64_t now_ms)
{
    for (struct watch *w = d->first; w; w = w->next) {
        if (atomic_load_explicit(&w->until_ms, memory_order_relaxed) > now_ms)
            continue;
        /* First: once it is cut, its worker may find it idle at any moment. */
        if (!atomic_load_explicit(&w->idle, memory_order_relaxed))
            count(d->http, COUNT_TIMEOUTS);
        cut(w);
    }
}

static void sleep_until(struct deadlines *d, uint64_t at_ms)
{
    d->next_look_ms = at_ms;
    if (at_ms == DEADLINE_NEVER) {
        pthread_cond_wait(&d->changed, &d->lock);
        return;
    }
    at_ms += COARSE_MS;
    struct timespec t = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000};
    pthread_cond_timedwait(&d->changed, &d->lock, &t);
}

static void *look_around(void *ctx)
{
    struct deadlines *d = ctx;
    pthread_mutex_lock(&d->lock);
    while (!d->ending) {
        uint64_t now_ms = deadlines_now_ms();
        cut_the_late(d, now_ms);
        /* Never both locks: a worker that parks holds the parking lock first. */
        d->next_look_ms = 0;
        pthread_mutex_unlock(&d->lock);
        uint64_t next_ms = parking_expire(d->http, now_ms);
        pthread_mutex_lock(&d->lock);
        if (d->first && next_ms > now_ms + LOOK_EVERY_MS)
            next_ms = now_ms + LOOK_EVERY_MS;
        if (!d->ending && d->next_look_ms == 0)
            sleep_until(d, next_ms);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

void deadlines_start(struct deadlines *d, struct http *http)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    d->http = http;
    d->first = NULL;
    d->next_look_ms = 0;
    d->ending = false;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    CHECK(pthread_create(&d->thread, NULL, look_around, d) == 0);
}

void deadlines_stop(struct deadlines *d)
{
    pthread_mutex_lock(&d->lock);
    d->ending = true;
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
}

void deadlines_done(struct deadlines *d)
{
    CHECK(!d->first);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
}

struct watch *deadlines_add(struct deadlines *d, int fd, uint64_t until_ms)
{
    struct watch *watch = mem_new(sizeof *watch);
    watch->fd = fd;
    atomic_init(&watch->until_ms, until_ms);
    atomic_init(&watch->idle, false);
    pthread_mutex_lock(&d->lock);
    watch->next = d->first;
    if (d->first)
        d->first->prev = watch;
    else
        pthread_cond_signal(&d->changed); /* it slept without a time */
    d->first = watch;
    pthread_mutex_unlock(&d->lock);
    return watch;
}

void deadlines_remove(struct deadlines *d, struct watch *watch)
{
    pthread_mutex_lock(&d->lock);
    if (watch->prev)
        watch->prev->next = watch->next;
    else
        d->first = watch->next;
    if (watch->next)
        watch->next->prev = watch->prev;
    pthread_mutex_unlock(&d->lock);
    free(watch);
}

void deadlines_hurry(struct deadlines *d, uint64_t at_ms)
{
    /* A thread that will look by then finds what was parked before this call; each
     * write asks, and most find it so without the lock. */
    uint64_t next_look_ms = atomic_load(&d->next_look_ms);
    if (next_look_ms != 0 && next_look_ms <= at_ms)
        return;
    pthread_mutex_lock(&d->lock);
    if (at_ms < d->next_look_ms || d->next_look_ms == 0) {
        d->next_look_ms = 1; /* any time but 0: it has not slept yet, and will not */
        pthread_cond_signal(&d->changed);
    }
    pthread_mutex_unlock(&d->lock);
}

void deadlines_cut_all(struct deadlines *d)
{
    pthread_mutex_lock(&d->lock);
    for (struct watch *w = d->first; w; w = w->next)
        cut(w);
    pthread_mutex_unlock(&d->lock);
}
