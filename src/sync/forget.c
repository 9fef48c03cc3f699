/* Forgetting: raising the floor.
 *
 * Any floor up to the own clock is safe; a peer below it is filled by a walk. It
 * is cheap only at or below the watermark, so that is where it stays, and beyond
 * the history that watchers were promised; past Server.HistoryMax it rises in any
 * case, by a part of the rows at a time. */
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

/* Too much history: of each replica's rows the oldest eighth. Which replica's are
 * the oldest is not known; the next look, ten seconds later, takes more. */
static void raise_a_part(const struct clock *clock, struct clock *floor)
{
    for (size_t i = 0; i < clock->count; i++) {
        struct dot dot = clock->entries[i];
        uint64_t low = clock_get(floor, &dot.replica);
        if (dot.counter <= low)
            continue;
        dot.counter = low + (dot.counter - low + 7) / 8;
        clock_raise(floor, &dot);
    }
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
    if (usage.table_bytes[TABLE_ROWS] > s->config.history_max_bytes)
        raise_a_part(&s->clock, ret);
    return !clock_covers(&s->floor, ret);
}

void forget_row(struct sync *s, const struct dot *dot, struct effects *out)
{
    struct clock floor = {0};
    if (s->pruning || sync_walking(s))
        return; /* it will be met again */
    s->count.rows_given_up++;
    clock_copy(&floor, &s->floor);
    clock_raise(&floor, dot);
    prune_to(s, &floor, out);
    clock_done(&floor);
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
