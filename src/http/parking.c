#include "exchange.h"

/* Each round of a worker asks all that it holds, at a tenth of a microsecond or
 * so: beyond this many that costs more than suspending. */
enum { HELD_MAX = 256 };

void parking_init(struct parking *p)
{
    pthread_mutex_init(&p->lock, NULL);
    p->first = NULL;
    p->closed = false;
    atomic_init(&p->clock_waiters, 0);
    atomic_init(&p->replica_waiters, 0);
}

void parking_done(struct parking *p)
{
    pthread_mutex_destroy(&p->lock);
}

bool parking_park(struct exchange *x, enum parked_for what, uint64_t wake_at_ms)
{
    struct parking *p = &x->http->parking;
    pthread_mutex_lock(&p->lock);
    if (p->closed) {
        pthread_mutex_unlock(&p->lock);
        return false;
    }
    x->held = what == PARKED_FOR_WRITE && x->worker->held < HELD_MAX;
    if (x->held)
        x->worker->held++;
    else
        MHD_suspend_connection(x->connection);
    atomic_store(&x->parked_for, what);
    x->wake_at_ms = wake_at_ms;
    x->timed_out = false;
    x->parked_prev = NULL;
    x->parked_next = p->first;
    if (p->first)
        p->first->parked_prev = x;
    p->first = x;
    if (what == PARKED_FOR_CLOCK)
        atomic_fetch_add(&p->clock_waiters, 1);
    if (what == PARKED_FOR_REPLICAS)
        atomic_fetch_add(&p->replica_waiters, 1);
    pthread_mutex_unlock(&p->lock);
    deadlines_hurry(&x->http->deadlines, wake_at_ms);
    return true;
}

static void unlink_parked(struct parking *p, struct exchange *x)
{
    if (x->parked_prev)
        x->parked_prev->parked_next = x->parked_next;
    else
        p->first = x->parked_next;
    if (x->parked_next)
        x->parked_next->parked_prev = x->parked_prev;
    if (x->parked_for == PARKED_FOR_CLOCK)
        atomic_fetch_sub(&p->clock_waiters, 1);
    if (x->parked_for == PARKED_FOR_REPLICAS)
        atomic_fetch_sub(&p->replica_waiters, 1);
}

static void resume(struct parking *p, struct exchange *x)
{
    struct worker *worker = x->worker;
    unlink_parked(p, x);
    bool held = x->held;
    struct MHD_Connection *connection = x->connection;
    atomic_store(&x->parked_for, PARKED_NOT); /* a held one is its worker's again */
    if (!held)
        MHD_resume_connection(connection);
    atomic_store(&worker->resumed, true);
}

bool parking_holds(struct exchange *x)
{
    if (atomic_load(&x->parked_for) != PARKED_NOT)
        return true;
    if (x->held) {
        x->held = false;
        x->worker->held--;
    }
    return false;
}

void parking_leave(struct exchange *x)
{
    if (!parking_holds(x))
        return; /* it is the worker that parks, so nobody does now */
    struct parking *p = &x->http->parking;
    pthread_mutex_lock(&p->lock);
    if (x->parked_for != PARKED_NOT) {
        unlink_parked(p, x);
        atomic_store(&x->parked_for, PARKED_NOT);
    }
    pthread_mutex_unlock(&p->lock);
    (void)parking_holds(x);
}

bool parking_resume(struct exchange *x, void (*fill)(struct exchange *x, void *result), void *result)
{
    struct parking *p = &x->http->parking;
    pthread_mutex_lock(&p->lock);
    bool parked = x->parked_for != PARKED_NOT;
    if (parked) {
        if (fill)
            fill(x, result);
        resume(p, x);
    }
    pthread_mutex_unlock(&p->lock);
    return parked;
}

void parking_clock_rose(struct http *http, const struct clock *clock)
{
    struct parking *p = &http->parking;
    pthread_mutex_lock(&p->lock);
    for (struct exchange *x = p->first, *next; x; x = next) {
        next = x->parked_next;
        if (x->parked_for == PARKED_FOR_CLOCK && clock_covers(clock, &x->token.after))
            resume(p, x);
    }
    pthread_mutex_unlock(&p->lock);
    workers_wake(http);
}

void parking_replicas_reported(struct http *http, bool (*enough)(const struct exchange *x))
{
    struct parking *p = &http->parking;
    pthread_mutex_lock(&p->lock);
    for (struct exchange *x = p->first, *next; x; x = next) {
        next = x->parked_next;
        if (x->parked_for == PARKED_FOR_REPLICAS && enough(x))
            resume(p, x);
    }
    pthread_mutex_unlock(&p->lock);
    workers_wake(http);
}

uint64_t parking_expire(struct http *http, uint64_t now_ms)
{
    struct parking *p = &http->parking;
    uint64_t earliest = UINT64_MAX;
    pthread_mutex_lock(&p->lock);
    for (struct exchange *x = p->first, *next; x; x = next) {
        next = x->parked_next;
        if (x->wake_at_ms <= now_ms) {
            x->timed_out = true;
            resume(p, x);
        } else if (x->wake_at_ms < earliest) {
            earliest = x->wake_at_ms;
        }
    }
    pthread_mutex_unlock(&p->lock);
    workers_wake(http);
    return earliest;
}

void parking_close(struct http *http)
{
    struct parking *p = &http->parking;
    pthread_mutex_lock(&p->lock);
    p->closed = true;
    pthread_mutex_unlock(&p->lock);
    parking_expire(http, UINT64_MAX);
}
