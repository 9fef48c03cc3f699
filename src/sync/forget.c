/* Forgetting: raising the floor.
 *
 * Any floor up to the own clock is safe; a peer below it is filled by a walk. It
 * is cheap only at or below the watermark, so that is where it stays, and beyond
 * the history that watchers were promised; past Server.HistoryMax it rises in any
 * case, by a part of the rows at a time. */
#include "sync_state.h"

/* Nothing special about this value: rows are small, and a late prune costs disk. */
enum { PRUNE_MS = 10000 };

/* A thousand records a second: some milliseconds of the committer's, and a million keys in
 * a quarter of an hour. */
enum { SWEEP_MS = 1000 };

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

/* Who of those expected back holds forgetting open, and since when: what is old enough
 * they do not have. */
static void look_at_holders(struct sync *s, struct sync_time time, const struct clock *old)
{
    for (size_t i = 0; i < s->peers.count; i++) {
        struct peer *peer = s->peers.list[i];
        bool holds = old && peer_expected(peer, time.wall_ms, s->config.forget_after_ms) &&
                     !clock_covers(&peer->clock, old);
        if (!holds)
            peer->holding_wall_ms = 0;
        else if (!peer->holding_wall_ms)
            peer->holding_wall_ms = peer->link || !peer->heard_wall_ms ? time.wall_ms : peer->heard_wall_ms;
    }
}

/* ---- room ------------------------------------------------------------------------------ */

uint64_t sync_space_used(const struct engine_usage *usage)
{
    uint64_t used = usage->pending_bytes;
    for (size_t i = 0; i < TABLES; i++)
        used += usage->table_bytes[i];
    return used;
}

bool sync_space_is_low(const struct engine_usage *usage, bool was_low)
{
    /* a tenth of the limit, or so much of the disk; a little more until it is well again */
    enum { DISK_LOW = 256 << 20, BACK_PERCENT = 12, LOW_PERCENT = 10 };
    uint64_t used = sync_space_used(usage), percent = was_low ? BACK_PERCENT : LOW_PERCENT;
    uint64_t left = usage->bytes_max > used ? usage->bytes_max - used : 0;
    if (usage->bytes_max && left < usage->bytes_max / 100 * percent)
        return true;
    return usage->disk_known && usage->disk_free_bytes < (uint64_t)DISK_LOW / LOW_PERCENT * percent;
}

/* Before puts are refused: a line in the log, and one when there is room again. */
void forget_look_at_space(struct sync *s, struct sync_time time, struct effects *out)
{
    struct engine_usage usage;
    if (!s->space_changed || time.now_ms < s->space_at_ms)
        return;
    s->space_changed = false;
    s->space_at_ms = time.now_ms + SPACE_MS;
    store_usage(s->store, &usage);
    bool low = sync_space_is_low(&usage, s->low_space);
    s->count.low_space += low && !s->low_space;
    if (low && !s->low_space)
        effects_notice(
            out, NOTICE_WARN,
            "event=low_space used_bytes=%llu bytes_max=%llu disk_free_bytes=%llu next=\"when it is "
            "full puts get 503; reads and deletes go on\"",
            (unsigned long long)sync_space_used(&usage), (unsigned long long)usage.bytes_max,
            (unsigned long long)usage.disk_free_bytes);
    else if (!low && s->low_space)
        effects_notice(out, NOTICE_INFO, "event=enough_space used_bytes=%llu",
                       (unsigned long long)sync_space_used(&usage));
    s->low_space = low;
    s->space_changed = low; /* room comes back without a commit, as the log is applied */
}

/* The floor that is due now; false when the present one is. */
static bool target(struct sync *s, struct sync_time time, struct clock *ret)
{
    struct engine_usage usage;
    const struct clock *old = history_older_than(&s->history, time.now_ms, s->config.history_ms);
    peers_look_at_wall(&s->peers, time.now_ms, time.wall_ms, s->config.forget_after_ms);
    if (old) {
        peers_watermark(&s->peers, &s->clock, time.wall_ms, s->config.forget_after_ms, ret);
        clock_meet(ret, old);
    }
    look_at_holders(s, time, old);
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
    expire_look(s, time, out);
    struct clock floor = {0};
    s->prune_at_ms = time.now_ms +
                     (s->config.history_ms < PRUNE_MS ? s->config.history_ms / 2 + 100 : PRUNE_MS);
    if (target(s, time, &floor) || s->rows_below_floor)
        prune_to(s, &floor, out); /* also removes what a walk left below the floor that it raised,
                                     and goes on with a sweep */
    s->rows_below_floor = false;
    clock_done(&floor);
}

void forget_stored(struct sync *s, struct sync_time time, const struct store_work *work, struct effects *out)
{
    bool sweeps = work->err == OK && work->prune.sweeps;
    s->pruning = false;
    s->rows_below_floor |= work->err != OK || sweeps;
    if (work->err == OK && work->prune.more)
        prune_to(s, &work->prune.floor, out);
    else
        s->prune_at_ms = time.now_ms + (sweeps ? SWEEP_MS : PRUNE_MS);
}
