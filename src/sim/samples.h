/* A pile of numbers and what is asked of it. */
#ifndef YZMA_SIM_SAMPLES_H
#define YZMA_SIM_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct samples {
    uint64_t *list;
    size_t count, room;
    bool sorted;
};

void samples_done(struct samples *s);
void samples_add(struct samples *s, uint64_t value);
/* The smallest value that so many of 100,000 samples do not pass (50,000: the
 * median). UINT64_MAX when there are none. */
uint64_t samples_at(struct samples *s, uint64_t per_100000);
double samples_mean(const struct samples *s); /* 0 when there are none */

#endif
