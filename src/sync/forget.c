/* Forgetting: raising the floor.
 *
 * Any floor up to the own clock is safe; a peer below it is filled by a walk. It
 * is cheap only at or below the watermark, so that is where it stays, and beyond
 * the history that watchers were promised; past Server.HistoryMax it rises in any
 * case, the oldest sample first. */
#include "sync_state.h"

/* Nothing special about this value: rows are small, and a late prune costs disk. */
enum { PRUNE_MS = 10000 };

static void prune_to(struct sync *s, const struct clock *floor, struct effects *out)
{
    struct store_work *work = store_work_new(WORK_PRUNE);
    clock_copy(&work->prune.floor, floor);
    s->pruning = true;
    sync_submit(s, work, (struct pending){.kind = PENDING_PRUNE}, out);
}

/* The floor that is due now; false when the present one is. */
static bool target(struct sync *s, struct sync_time time, struct clock *ret)
{
    struct engine_usage usage;
    const struct clock *old = history_older_than(&s->history, time.now_ms, s->config.history_ms);
    if (old) {
        peers_watermark(&s->peers, &s->clock, time.wall_ms, s->config.forget_after_ms, ret);
        clock_meet(ret, old);
    }
    clock_join(ret, &s->floor);
    store_usage(s->store, &usage);
    if (usage.table_bytes[TABLE_ROWS] > s->config.history_max_bytes) {
        const struct clock *next = history_next_above(&s->history, ret);
        if (next)
            clock_join(ret, next);
    }
    return !clock_covers(&s->floor, ret);
}

void forget_tick(struct sync *s, struct sync_time time, struct effects *out)
{
    history_sample(&s->history, time.now_ms, s->config.history_ms, &s->clock);
    if (s->pruning || sync_walking(s) || time.now_ms < s->prune_at_ms)
        return;
    struct clock floor = {0};
    s->prune_at_ms = time.now_ms +
                     (s->config.history_ms < PRUNE_MS ? s->config.history_ms / 2 + 100 : PRUNE_MS);
    if (target(s, time, &floor) || s->rows_below_floor)
        prune_to(s, &floor, out); /* also removes what a walk left below the floor that it raised */
    s->rows_below_floor = false;
    clock_done(&floor);
}

void forget_stored(struct sync *s, struct sync_time time, const struct store_work *work, struct effects *out)
{
    s->pruning = false;
    s->rows_below_floor = work->err != OK;
    if (work->err == OK && work->prune.more)
        prune_to(s, &work->prune.floor, out);
    else
        s->prune_at_ms = time.now_ms + PRUNE_MS;
}
