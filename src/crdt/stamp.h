/* Hybrid logical time stamps (Kulkarni et al., "Logical Physical Clocks", 2014)
 * in 64 bits: 48 of milliseconds since 1970, 16 of counter; an overflow of the
 * counter runs into the next millisecond. Stamps only decide between concurrent
 * versions: dots carry causality. */
#ifndef YZMA_CRDT_STAMP_H
#define YZMA_CRDT_STAMP_H

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t stamp_of_ms(uint64_t wall_ms)
{
    return wall_ms << 16;
}

static inline uint64_t stamp_ms(uint64_t stamp)
{
    return stamp >> 16;
}

struct stamp_clock {
    uint64_t last; /* the highest stamp given out or adopted */
};

/* A stamp later than every one adopted or given out, than `above` (the stamps
 * among the key's versions here), and not before wall_ms. A clock that stands
 * more than skew_max_ms above the wall is first set back to the wall. */
uint64_t stamp_next(struct stamp_clock *clock, uint64_t wall_ms, uint64_t skew_max_ms, uint64_t above);

/* Takes a remote stamp over; false, and nothing changes, when it lies more than
 * skew_max_ms ahead of the wall (the caller counts it; the version is kept). */
bool stamp_adopt(struct stamp_clock *clock, uint64_t wall_ms, uint64_t skew_max_ms, uint64_t stamp);

#endif
