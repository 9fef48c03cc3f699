#include "watch_pace.h"

void watch_pace_begin(struct watch_pace *pace, uint64_t at_ms)
{
    *pace = (struct watch_pace){.begun_ms = at_ms};
}

void watch_pace_sent(struct watch_pace *pace, uint64_t at_ms, uint64_t spent_us)
{
    uint64_t spent_ms = spent_us / 1000;
    uint64_t rest_ms = WATCH_REST_MAX_MS;
    if (spent_ms < WATCH_REST_MAX_MS) /* else the product may be too large */
        rest_ms = spent_ms * (100 - WATCH_SEND_PERCENT) / WATCH_SEND_PERCENT;
    pace->rest_until_ms = at_ms + (rest_ms < WATCH_REST_MAX_MS ? rest_ms : WATCH_REST_MAX_MS);
}

uint64_t watch_pace_next(const struct watch_pace *pace, bool behind, bool others)
{
    if (behind)
        return pace->begun_ms;
    uint64_t next = pace->begun_ms + (others ? 0 : WATCH_PAUSE_MS);
    return next > pace->rest_until_ms ? next : pace->rest_until_ms;
}
