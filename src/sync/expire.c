/* When expired versions may be dropped, and the clocks of the peers.
 *
 * An expired version is hidden at once by whoever reads; it is dropped from the store
 * Peering.ClockSkewMax later (store/expire.c). A wall clock that runs ahead would drop
 * what has not expired, for good: so a node whose clock differs from the median of its
 * peers' by more than that, or that has peers and has not heard their clocks since its
 * start, or knows of none yet and has just started, hides and does not drop. Peers tell their wall clock
 * (TIME); what that is worth is told in wall.h. */
#include "sync_state.h"

#include <stdlib.h>

enum {
    TIME_QUEUED_MAX = 256 << 10, /* behind more it would come late: the next look finds less */
    NOBODY_MS = 60000,           /* who knows of no peer may be about to meet one: a restored store, say */
};

void expire_tell(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    if (link->state != LINK_UP || link->protocol < 3 || link->queued >= TIME_QUEUED_MAX ||
        (link->time_told_ms && time.now_ms < link->time_told_ms + WALL_TELL_MS))
        return;
    struct buf frame;
    buf_init(&frame, FRAME_HEADER + 8);
    frame_put_time(&frame, time.wall_ms);
    link->time_told_ms = time.now_ms ? time.now_ms : 1;
    sync_link_send(s, link, time.now_ms, &frame, out);
}

/* Of each peer alone: of the median nobody could say whose clock it is that is wrong. */
static void compare_clocks(const struct sync *s, struct sync_time time, struct peer *peer,
                           struct effects *out)
{
    enum wall_verdict verdict = wall_judge(&peer->wall, time.now_ms, time.wall_ms,
                                           s->config.clock_skew_max_ms);
    if (verdict == WALL_UNKNOWN || (verdict == WALL_DIFFERS) == peer->clock_differs)
        return;
    long long ahead = wall_ahead(&peer->wall, time.now_ms, time.wall_ms);
    peer->clock_differs = verdict == WALL_DIFFERS;
    if (peer->clock_differs)
        effects_notice(
            out, NOTICE_WARN,
            "event=clock_differs node=%s ahead_ms=%lld next=\"see to the clock that is wrong: its "
            "node's writes look newer, or older, than they are, and values end too early or too late\"",
            peer->name, ahead);
    else
        effects_notice(out, NOTICE_INFO, "event=clock_agrees node=%s ahead_ms=%lld", peer->name, ahead);
}

bool expire_take_time(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                      struct effects *out)
{
    uint64_t wall_ms;
    if (frame_get_time(body, &wall_ms) != OK)
        return false;
    if (!link->time_heard)
        wall_link(&link->peer->wall, time.now_ms - link->hello_ms, s->config.clock_skew_max_ms);
    link->time_heard = true;
    wall_told(&link->peer->wall, time.now_ms, wall_ms);
    compare_clocks(s, time, link->peer, out);
    return true;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool is_gone(const struct peer *peer)
{
    return peer_has_left(peer) || peer->forgotten;
}

/* Nobody is there who could contradict what one told that is gone: perhaps it was its clock that was
 * wrong, and a monotonic clock may have stood still with the whole machine. */
static bool is_told_too_long_ago(const struct sync *s, struct sync_time time, const struct peer *peer)
{
    return is_gone(peer) && time.now_ms - peer->wall.began_ms > s->config.forget_after_ms;
}

/* Of those that are expected back, or of all others. */
static size_t known_skews(const struct sync *s, struct sync_time time, bool expected, int64_t into[PEERS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < s->peers.count; i++) {
        const struct peer *peer = s->peers.list[i];
        if (peer_expected(peer, time.wall_ms, s->config.forget_after_ms) == expected &&
            !is_told_too_long_ago(s, time, peer) &&
            wall_judge(&peer->wall, time.now_ms, time.wall_ms, s->config.clock_skew_max_ms) != WALL_UNKNOWN)
            into[count++] = wall_ahead(&peer->wall, time.now_ms, time.wall_ms);
    }
    return count;
}

bool expire_skew(const struct sync *s, struct sync_time time, int64_t *ret_ms)
{
    int64_t skews[PEERS_MAX];
    size_t count = known_skews(s, time, true, skews);
    if (!count) /* what the last ones told when they went is better than nothing */
        count = known_skews(s, time, false, skews);
    if (!count)
        return false;
    qsort(skews, count, sizeof *skews, compare);
    *ret_ms = count % 2 ? skews[count / 2] : skews[count / 2 - 1] / 2 + skews[count / 2] / 2;
    return true;
}

bool expire_may_drop(const struct sync *s, struct sync_time time)
{
    int64_t skew = 0, most = (int64_t)s->config.clock_skew_max_ms;
    if (expire_skew(s, time, &skew))
        return skew >= -most && skew <= most;
    for (size_t i = 0; i < s->peers.count; i++) /* nobody has told: is there anybody? */
        if (!is_gone(s->peers.list[i]))
            return false;
    return time.now_ms >= s->alone_since_ms + NOBODY_MS;
}

void expire_look(struct sync *s, struct sync_time time, struct effects *out)
{
    struct snapshot *snapshot;
    uint64_t first = UINT64_MAX;
    if (s->expiring || sync_walking(s) || time.wall_ms <= s->config.clock_skew_max_ms)
        return;
    uint64_t before_ms = time.wall_ms - s->config.clock_skew_max_ms;
    if (snapshot_open(s->store, &snapshot) != OK)
        return;
    enum err err = snapshot_next_expiry(snapshot, &first);
    snapshot_close(snapshot);
    if (err != OK || first > before_ms)
        return;
    if (!expire_may_drop(s, time)) {
        s->count.expiries_withheld++;
        return;
    }
    struct store_work *work = store_work_new(WORK_EXPIRE);
    work->expire.before_ms = before_ms;
    s->expiring = true;
    sync_submit(s, work, (struct pending){.kind = PENDING_EXPIRE}, out);
}

void expire_stored(struct sync *s, struct sync_time time, const struct store_work *work, struct effects *out)
{
    s->expiring = false;
    if (work->err == OK && work->expire.more)
        expire_look(s, time, out);
}
