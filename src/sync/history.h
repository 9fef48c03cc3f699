/* How old are the rows? Rows carry no times; instead the own clock is sampled
 * now and then, and rows at or below a sample's clock are at least that old. The
 * samples live in memory: after a restart history counts from then, which only
 * keeps rows longer. */
#ifndef YZMA_SYNC_HISTORY_H
#define YZMA_SYNC_HISTORY_H

#include "clock.h"

/* A promise of an hour is kept to within an hour / HISTORY_SAMPLES. */
enum { HISTORY_SAMPLES = 32 };

struct history {
    struct {
        uint64_t at_ms;
        struct clock clock;
    } samples[HISTORY_SAMPLES + 1]; /* oldest first */
    size_t count;
};

void history_done(struct history *history);
/* Takes a sample when the last one is old enough for this span. */
void history_sample(struct history *history, uint64_t now_ms, uint64_t span_ms, const struct clock *clock);
/* The newest sample that is at least span_ms old; NULL when there is none. */
const struct clock *history_older_than(const struct history *history, uint64_t now_ms, uint64_t span_ms);
#endif
