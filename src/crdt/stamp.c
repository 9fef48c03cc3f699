/* The hybrid logical clock. The only subtle part is what a stamp from the far
 * future may do: it is answered (a later put of the same key must win over it),
 * but never becomes our own time. */
#include "stamp.h"

static uint64_t limit(uint64_t wall_ms, uint64_t skew_max_ms)
{
    uint64_t ms = wall_ms + skew_max_ms;
    return ms < wall_ms || ms >= (UINT64_MAX >> 16) ? UINT64_MAX : stamp_of_ms(ms + 1) - 1;
}

static uint64_t later(uint64_t stamp)
{
    return stamp == UINT64_MAX ? stamp : stamp + 1;
}

uint64_t stamp_next(struct stamp_clock *clock, uint64_t wall_ms, uint64_t skew_max_ms, uint64_t above)
{
    uint64_t wall = stamp_of_ms(wall_ms), highest = limit(wall_ms, skew_max_ms);
    uint64_t ours = clock->last > highest ? wall : later(clock->last);
    if (ours < wall)
        ours = wall;
    uint64_t stamp = above >= ours ? later(above) : ours;
    clock->last = stamp > highest ? ours : stamp;
    return stamp;
}

bool stamp_adopt(struct stamp_clock *clock, uint64_t wall_ms, uint64_t skew_max_ms, uint64_t stamp)
{
    if (stamp > limit(wall_ms, skew_max_ms))
        return false;
    if (stamp > clock->last)
        clock->last = stamp;
    return true;
}
