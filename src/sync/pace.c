#include "pace.h"

#include "check.h"

void pace_local_write(struct pace *p, uint64_t now_ms)
{
    p->busy_until_ms = now_ms + PACE_BUSY_MS;
}

bool pace_is_busy(const struct pace *p, uint64_t now_ms)
{
    return now_ms < p->busy_until_ms;
}

bool pace_may(const struct pace *p, uint64_t now_ms, size_t *ret_entries, size_t *ret_bytes)
{
    if (!pace_is_busy(p, now_ms)) {
        *ret_entries = PACE_ENTRIES_MAX;
        *ret_bytes = PACE_BYTES_MAX;
        return p->out < PACE_OUT_MAX;
    }
    *ret_entries = p->entries ? p->entries : PACE_ENTRIES_FIRST;
    *ret_bytes = *ret_entries * PACE_ENTRY_BYTES < PACE_BYTES_MAX ? *ret_entries * PACE_ENTRY_BYTES
                                                                  : PACE_BYTES_MAX;
    return p->out == 0 && now_ms >= p->rest_until_ms;
}

void pace_gave(struct pace *p)
{
    p->out++;
}

/* What the commit itself takes is learned from the smallest slices. */
static void learn_base(struct pace *p, size_t entries, uint64_t took_ms)
{
    if (entries > PACE_ENTRIES_MIN)
        return;
    if (p->base_ms == 0 || took_ms < p->base_ms)
        p->base_ms = (size_t)took_ms;
    else
        p->base_ms += (size_t)(took_ms - p->base_ms) / 4;
}

void pace_stored(struct pace *p, uint64_t now_ms, size_t entries, uint64_t took_ms)
{
    CHECK(p->out > 0);
    p->out--;
    if (!pace_is_busy(p, now_ms))
        return;
    if (p->entries == 0)
        p->entries = PACE_ENTRIES_FIRST;
    learn_base(p, entries, took_ms);
    /* where a lone commit takes longer than the target, twice that is aimed at */
    size_t target = 2 * p->base_ms > PACE_TARGET_MS ? 2 * p->base_ms : PACE_TARGET_MS;
    if (took_ms > target) {
        size_t fits = entries * target / (size_t)took_ms;
        p->entries = fits > p->entries / 2 ? fits : p->entries / 2;
    } else if (took_ms < target * 3 / 4 && entries >= p->entries / 2) {
        p->entries += p->entries / 2;
    }
    if (p->entries < PACE_ENTRIES_MIN)
        p->entries = PACE_ENTRIES_MIN;
    if (p->entries > PACE_ENTRIES_MAX)
        p->entries = PACE_ENTRIES_MAX;
    uint64_t rest = took_ms < 1 ? 1 : took_ms > PACE_REST_MAX_MS ? PACE_REST_MAX_MS : took_ms;
    p->rest_until_ms = now_ms + rest;
}

uint64_t pace_deadline(const struct pace *p, uint64_t now_ms)
{
    if (!pace_is_busy(p, now_ms) || p->out > 0)
        return UINT64_MAX; /* the next one that comes back changes it */
    return p->rest_until_ms > now_ms ? p->rest_until_ms : now_ms;
}
