/* A peer's wall clock, by what it tells (wall.h). No message is sent here and none is read. */
#include "wall.h"

#include "check.h"

/* A peer may tell any number: sums of these stay numbers. */
static int64_t bounded(uint64_t ms)
{
    return ms < INT64_MAX / 8 ? (int64_t)ms : INT64_MAX / 8;
}

void wall_link(struct wall *wall, uint64_t round_trip_ms, uint64_t skew_max_ms)
{
    wall->late_ms_max = round_trip_ms;
    if (round_trip_ms <= skew_max_ms / 2)
        wall->periods = 0;
}

void wall_told(struct wall *wall, uint64_t now_ms, uint64_t told_ms)
{
    int64_t least = bounded(told_ms) - bounded(now_ms);
    if (!wall->periods || now_ms - wall->began_ms >= WALL_PERIOD_MS) {
        wall->least[1] = wall->least[0];
        wall->least[0] = least;
        wall->began_ms = now_ms;
        wall->periods = wall->periods ? 2 : 1;
    } else if (wall->least[0] < least) {
        wall->least[0] = least;
    }
}

int64_t wall_ahead(const struct wall *wall, uint64_t now_ms, uint64_t wall_ms)
{
    CHECK(wall->periods);
    int64_t least = wall->least[0];
    if (wall->periods == 2 && wall->least[1] > least)
        least = wall->least[1];
    return least + bounded(now_ms) - bounded(wall_ms);
}

enum wall_verdict wall_judge(const struct wall *wall, uint64_t now_ms, uint64_t wall_ms, uint64_t skew_max_ms)
{
    if (!wall->periods)
        return WALL_UNKNOWN;
    int64_t ahead = wall_ahead(wall, now_ms, wall_ms), most = bounded(skew_max_ms);
    if (ahead > most || ahead + bounded(wall->late_ms_max) < -most)
        return WALL_DIFFERS;
    return ahead >= -most ? WALL_AGREES : WALL_UNKNOWN;
}
