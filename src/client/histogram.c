#include "histogram.h"

#include <stddef.h>
#include <stdio.h>

enum { STEPS = HISTOGRAM_STEPS, BUCKETS = 64 * STEPS };

static size_t bucket_of(uint64_t us)
{
    if (us < STEPS)
        return us;
    unsigned shift = 63 - (unsigned)__builtin_clzll(us) - HISTOGRAM_STEP_BITS;
    return (size_t)(shift + 1) * STEPS + ((us >> shift) - STEPS);
}

static uint64_t bucket_low(size_t bucket)
{
    return bucket < STEPS ? bucket : (STEPS + bucket % STEPS) << (bucket / STEPS - 1);
}

void histogram_add(struct histogram *h, uint64_t us)
{
    h->counts[bucket_of(us)]++;
    h->total++;
    if (us > h->max_us)
        h->max_us = us;
}

uint64_t histogram_at(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)((double)h->total * share), seen = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        if ((seen += h->counts[i]) > wanted)
            return bucket_low(i);
    return h->max_us;
}

void histogram_print(const struct histogram *h)
{
    printf("{\"p50\": %llu, \"p90\": %llu, \"p99\": %llu, \"p99.9\": %llu, \"max\": %llu}",
           (unsigned long long)histogram_at(h, 0.5), (unsigned long long)histogram_at(h, 0.9),
           (unsigned long long)histogram_at(h, 0.99), (unsigned long long)histogram_at(h, 0.999),
           (unsigned long long)h->max_us);
}
