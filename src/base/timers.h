/* Deadlines in a binary heap. A timer lives inside its owner, which finds itself
 * again by the timer's kind (container_of); setting, moving and cancelling cost
 * O(log n), looking at the first nothing. */
#ifndef YZMA_BASE_TIMERS_H
#define YZMA_BASE_TIMERS_H

#include "bytes.h"

struct timer {
    uint64_t at;
    size_t place;  /* in the heap, from 1; 0 when not set */
    unsigned kind; /* the owner's, never looked at here */
};

struct timers {
    struct timer **heap;
    size_t count, room;
};

void timers_done(struct timers *t); /* the timers themselves belong to their owners */
/* Sets the timer, or moves it when it is set already. */
void timers_set(struct timers *t, struct timer *timer, uint64_t at);
void timers_cancel(struct timers *t, struct timer *timer); /* one not set: nothing happens */
struct timer *timers_first(const struct timers *t);        /* NULL when none is set */
uint64_t timers_deadline(const struct timers *t);          /* UINT64_MAX when none is set */

static inline bool timer_is_set(const struct timer *timer)
{
    return timer->place != 0;
}

#define container_of(member_pointer, type, member) ((type *)((char *)(member_pointer)-offsetof(type, member)))

#endif
