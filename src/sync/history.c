#include "history.h"

#include <string.h>

void history_done(struct history *history)
{
    for (size_t i = 0; i < history->count; i++)
        clock_done(&history->samples[i].clock);
    history->count = 0;
}

void history_sample(struct history *history, uint64_t now_ms, uint64_t span_ms, const struct clock *clock)
{
    uint64_t step = (span_ms + HISTORY_SAMPLES - 1) / HISTORY_SAMPLES;
    if (history->count && now_ms < history->samples[history->count - 1].at_ms + step)
        return;
    if (history->count == HISTORY_SAMPLES + 1) { /* the oldest is older than the span by now */
        clock_done(&history->samples[0].clock);
        memmove(&history->samples[0], &history->samples[1], HISTORY_SAMPLES * sizeof history->samples[0]);
        history->count--;
    }
    history->samples[history->count].at_ms = now_ms;
    history->samples[history->count].clock = (struct clock){0};
    clock_copy(&history->samples[history->count].clock, clock);
    history->count++;
}

const struct clock *history_older_than(const struct history *history, uint64_t now_ms, uint64_t span_ms)
{
    const struct clock *found = NULL;
    for (size_t i = 0; i < history->count && history->samples[i].at_ms + span_ms <= now_ms; i++)
        found = &history->samples[i].clock;
    return found;
}
