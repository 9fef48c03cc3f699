/* Latencies in microseconds, 64 steps to each power of two, so within 1.6 %. */
#ifndef YZMA_CLIENT_HISTOGRAM_H
#define YZMA_CLIENT_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEP_BITS = 6, HISTOGRAM_STEPS = 1 << HISTOGRAM_STEP_BITS };

/* Zeroed memory is an empty one. */
struct histogram {
    uint64_t counts[64 * HISTOGRAM_STEPS], total, max_us;
};

void histogram_add(struct histogram *h, uint64_t us);

/* The latency that the given share (0 to 1) of all did not exceed. */
uint64_t histogram_at(const struct histogram *h, double share);

/* Prints {"p50": .., "p90": .., "p99": .., "p99.9": .., "max": ..} to stdout. */
void histogram_print(const struct histogram *h);

#endif
