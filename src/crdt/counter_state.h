/* Counters inside: what reading (counter.c) and changing them (counter_change.c) share. */
#ifndef YZMA_CRDT_COUNTER_STATE_H
#define YZMA_CRDT_COUNTER_STATE_H

#include "counter.h"

/* Joins one state. ERR_TOO_LARGE (COUNTER_SESSIONS_MAX). */
enum err counter_put(struct counter_view *c, const struct counter_state *state) MUST_USE;
counter_sum counter_total(const struct counter_view *c);
/* Within COUNTER_SUM_BITS. */
bool counter_sum_fits(counter_sum sum);

#endif
