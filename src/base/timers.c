#include "timers.h"

#include "check.h"
#include "mem.h"

#include <stdlib.h>

void timers_done(struct timers *t)
{
    free(t->heap);
    *t = (struct timers){0};
}

static void put(struct timers *t, size_t place, struct timer *timer)
{
    t->heap[place - 1] = timer;
    timer->place = place;
}

static void rise(struct timers *t, struct timer *timer)
{
    size_t place = timer->place;
    while (place > 1 && t->heap[place / 2 - 1]->at > timer->at) {
        put(t, place, t->heap[place / 2 - 1]);
        place /= 2;
    }
    put(t, place, timer);
}

static void sink(struct timers *t, struct timer *timer)
{
    size_t place = timer->place;
    for (;;) {
        size_t child = place * 2;
        if (child > t->count)
            break;
        if (child < t->count && t->heap[child]->at < t->heap[child - 1]->at)
            child++;
        if (t->heap[child - 1]->at >= timer->at)
            break;
        put(t, place, t->heap[child - 1]);
        place = child;
    }
    put(t, place, timer);
}

void timers_set(struct timers *t, struct timer *timer, uint64_t at)
{
    timer->at = at;
    if (!timer->place) {
        if (t->count == t->room) {
            t->room = t->room ? t->room * 2 : 16;
            t->heap = mem_grow(t->heap, t->room * sizeof *t->heap);
        }
        put(t, ++t->count, timer);
    }
    rise(t, timer);
    sink(t, timer);
}

void timers_cancel(struct timers *t, struct timer *timer)
{
    if (!timer->place)
        return;
    CHECK(timer->place <= t->count && t->heap[timer->place - 1] == timer);
    struct timer *last = t->heap[t->count - 1];
    t->count--;
    if (last != timer) {
        put(t, timer->place, last);
        rise(t, last);
        sink(t, last);
    }
    timer->place = 0;
}

struct timer *timers_first(const struct timers *t)
{
    return t->count ? t->heap[0] : NULL;
}

uint64_t timers_deadline(const struct timers *t)
{
    return t->count ? t->heap[0]->at : UINT64_MAX;
}
