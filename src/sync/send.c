/* The one way to send: read from the store what the peer lacks.
 *
 * A link remembers per replica how far it was sent. Feeding it means: open a
 * snapshot, check there that the peer's clock is at or above our floor, read the
 * next chunk of rows above what was sent, close it, send. It goes on until the
 * link's queue is full or nothing is left; a drained queue or a commit begins
 * again. A peer that reads slowly just lags. What was read for one link a moment
 * ago another link at the same place is sent as it is (cache.h). */
#include "sync_state.h"
#include "weaken.h"

static const struct chunk_limits limits = {.entries = CHUNK_ENTRIES, .bytes = CHUNK_BYTES},
                                 old_limits = {.entries = OLD_CHUNK_ENTRIES, .bytes = OLD_CHUNK_BYTES};

/* Who sends whose rows to whom: everyone its own to all, another's to those that
 * asked for them. The one place to change for a tree in large clusters. */
static bool sends(const struct sync *s, const struct link *link, const struct replica_id *origin)
{
    return replica_id_equal(origin, &s->id) || link_wants(link, origin);
}

/* From where on a peer lacks a replica's rows. */
static uint64_t sent_of(const struct link *link, const struct replica_id *origin)
{
    uint64_t sent = clock_get(&link->sent, origin), theirs = clock_get(&link->peer->clock, origin);
    return theirs > sent ? theirs : sent; /* it may have come another way */
}

static void count_sent(struct sync *s, struct link *link, const struct replica_id *origin, uint64_t from,
                       uint64_t to)
{
    clock_set(&link->sent, origin, to);
    s->count.rows_sent += to - from;
    link->peer->rows_out += to - from;
}

/* What another link has been sent a moment ago, from where this one stands. */
static bool send_cached(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    for (size_t i = 0; i < s->clock.count && s->cache.count && link->protocol >= 2; i++) {
        const struct replica_id *origin = &s->clock.entries[i].replica;
        uint64_t from = sent_of(link, origin);
        if (from >= s->clock.entries[i].counter || !sends(s, link, origin))
            continue;
        struct cached *cached = cache_find(&s->cache, time.now_ms, origin, from, &link->peer->clock);
        if (!cached)
            continue;
        link->held = false;
        count_sent(s, link, origin, from, cached->to);
        sync_link_send_cached(s, link, time.now_ms, cached, out);
        return true;
    }
    return false;
}

static bool has_company(const struct sync *s, const struct link *link)
{
    for (size_t i = 0; i < s->link_count; i++)
        if (s->links[i] != link && s->links[i]->state == LINK_UP && !s->links[i]->peer->walking)
            return true;
    return false;
}

/* One chunk for the first replica that has something for this peer. Returns
 * whether one was sent. */
static bool send_chunk(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    struct snapshot *snapshot;
    struct clock clock = {0}, floor = {0};
    struct buf frame;
    bool sent = false;

    if (snapshot_open(s->store, &snapshot) != OK)
        return false;
    buf_init(&frame, FRAME_HEADER + FRAME_MAX);
    if (snapshot_clock(snapshot, &clock, &floor) != OK)
        goto out;
    bool held = !clock_covers(&link->peer->clock, &floor) && !WEAKENED(FLOOR);
    if (held && !link->held)
        s->count.floor_held++;
    link->held = held;
    for (size_t i = 0; i < clock.count && !held && !sent; i++) {
        const struct replica_id *origin = &clock.entries[i].replica;
        uint64_t from = sent_of(link, origin), to, bad_row;
        bool own = replica_id_equal(origin, &s->id);
        if (!sends(s, link, origin) || (own && time.now_ms < link->damaged_until_ms) ||
            from >= clock.entries[i].counter)
            continue;
        if (from < clock_get(&floor, origin))
            continue; /* asked from below our floor: its next report says better, or it walks */
        enum err err = chunk_rows(snapshot, origin, from, clock.entries[i].counter,
                                  link->protocol >= 2 ? &limits : &old_limits, &frame, &to, &bad_row);
        if (err != OK) {
            s->count.chunks_damaged++;
            if (own)
                link->damaged_until_ms = time.now_ms + DAMAGE_RETRY_MS;
            else
                link_unwant(link, origin); /* its patience ends, and it asks somebody else */
            effects_notice(out, NOTICE_ERROR, "event=delta_aborted node=%s reason=%s next=%s",
                           link->peer->name, err_text(err),
                           own ? "tries again in 30 s" : "another node may send them");
            if (bad_row) /* who lacks it is filled in key order, or by another node */
                forget_row(s, &(struct dot){*origin, bad_row}, out);
            buf_reset(&frame);
            continue;
        }
        count_sent(s, link, origin, from, to);
        if (link->protocol >= 2 && has_company(s, link))
            cache_put(&s->cache, time.now_ms, origin, from, to, &floor, buf_bytes(&frame));
        sent = true;
    }
out:
    snapshot_close(snapshot);
    if (sent)
        sync_link_send_bulk(s, link, time.now_ms, TRAFFIC_DELTA, &frame, out);
    buf_done(&frame);
    clock_done(&clock);
    clock_done(&floor);
    return sent;
}

/* Cheap test before a snapshot is opened. */
static bool may_have_something(const struct sync *s, const struct link *link)
{
    if (link->held)
        return true; /* the peer's clock may have risen to our floor */
    for (size_t i = 0; i < s->clock.count; i++) {
        const struct dot *own = &s->clock.entries[i];
        if (sends(s, link, &own->replica) && own->counter > clock_get(&link->sent, &own->replica) &&
            own->counter > clock_get(&link->peer->clock, &own->replica))
            return true;
    }
    return false;
}

void send_pump(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    if (link->state != LINK_UP || link->peer->walking || sync_walking(s) || time.now_ms < link->rows_at_ms)
        return;
    while (link->queued < SEND_QUEUE_HIGH && may_have_something(s, link))
        if (!send_cached(s, time, link, out) && !send_chunk(s, time, link, out))
            return;
}

void send_pump_all(struct sync *s, struct sync_time time, struct effects *out)
{
    for (size_t i = 0; i < s->link_count; i++)
        send_pump(s, time, s->links[i], out);
}

/* A peer that does not read is told nothing new: reports would pile up. */
static bool reads(const struct link *link)
{
    return link->queued < SEND_QUEUE_HIGH;
}

uint64_t send_report_deadline(const struct sync *s, const struct link *link)
{
    bool changed = !clock_equal(&s->clock, &link->reported) || !clock_equal(&s->floor, &link->reported_floor);
    uint64_t report = link->reported_ms + REPORT_MS, heartbeat = link->spoke_ms + HEARTBEAT_MS;
    if (!reads(link))
        return UINT64_MAX;
    return changed && report < heartbeat ? report : heartbeat;
}

/* Tells the peer what is durable here when that has changed, at most every
 * REPORT_MS, and something every HEARTBEAT_MS. */
void send_report(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    uint8_t flags = sync_walking(s) ? SYNC_WALKING : 0;
    struct buf frame;
    if (link->state != LINK_UP || !reads(link))
        return;
    bool changed = flags != link->reported_flags || !clock_equal(&s->clock, &link->reported) ||
                   !clock_equal(&s->floor, &link->reported_floor);
    if (changed && (time.now_ms >= link->reported_ms + REPORT_MS || flags != link->reported_flags)) {
        buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
        frame_put_clock(&frame, &s->clock, &s->floor, flags);
        clock_copy(&link->reported, &s->clock);
        clock_copy(&link->reported_floor, &s->floor);
        link->reported_flags = flags;
        link->reported_ms = time.now_ms;
        sync_link_send(s, link, time.now_ms, &frame, out);
    } else if (time.now_ms >= link->spoke_ms + HEARTBEAT_MS) {
        buf_init(&frame, FRAME_HEADER);
        frame_put_empty(&frame, FRAME_HEARTBEAT);
        sync_link_send(s, link, time.now_ms, &frame, out);
    }
}

void send_want(struct sync *s, struct sync_time time, struct link *link, const struct replica_id *origin,
               struct effects *out)
{
    struct buf frame;
    buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
    frame_put_want(&frame, origin, clock_get(&s->clock, origin));
    sync_link_send(s, link, time.now_ms, &frame, out);
}

/* ---- what was found early ------------------------------------------------------------ */

/* Rows above our own clock were found early, in other replicas' records. As a
 * rule their own replica delivers them in a moment; those that stay, of a replica
 * that may be gone, are offered to every peer once, however many they are: a
 * frame at a time, as its link has room. */

/* Which there are, in pieces; and whether these are those that were there the last time. */
static bool look_ahead(struct sync *s, struct snapshot *snapshot)
{
    struct ahead *ahead = &s->ahead;
    bool more;
    if (chunk_look_ahead(snapshot, &ahead->after, OLD_CHUNK_ENTRIES, &ahead->digest, &more) != OK)
        return false;
    if (more)
        return true;
    ahead->stays = ahead->digest == ahead->before ? ahead->digest : 0;
    ahead->before = ahead->digest;
    ahead->digest = 0;
    ahead->after = (struct dot){0};
    return false;
}

/* True: there is more for this link. */
static bool offer_ahead(struct sync *s, struct sync_time time, struct snapshot *snapshot, struct link *link,
                        struct effects *out)
{
    struct buf frame;
    bool more = false;
    if (link->ahead_digest != s->ahead.stays) { /* from the first on */
        link->ahead_digest = s->ahead.stays;
        link->ahead_after = (struct dot){0};
        link->ahead_offered = false;
    }
    if (link->ahead_offered || link->state != LINK_UP || link->peer->walking || !reads(link) ||
        !clock_covers(&link->peer->clock, &s->floor))
        return false;
    if (link->queued >= SEND_QUEUE_LOW)
        return true;
    buf_init(&frame, FRAME_HEADER + FRAME_MAX);
    if (chunk_ahead(snapshot, &link->ahead_after, &old_limits, &frame, &more) == OK) {
        link->ahead_offered = !more;
        if (frame.len)
            sync_link_send_bulk(s, link, time.now_ms, TRAFFIC_DELTA, &frame, out);
    }
    buf_done(&frame);
    return more;
}

/* What a peer offered and was not stored here no clock tells it of. */
static void want_ahead_again(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    if (!link->ahead_again_ms || time.now_ms < link->ahead_again_ms || link->state != LINK_UP)
        return;
    link->ahead_again_ms = 0;
    send_want(s, time, link, &link->peer->id, out);
}

void send_ahead(struct sync *s, struct sync_time time, struct effects *out)
{
    struct snapshot *snapshot;
    if (sync_walking(s)) /* all is wanted again at its end */
        return;
    for (size_t i = 0; i < s->link_count; i++)
        want_ahead_again(s, time, s->links[i], out);
    if (snapshot_open(s->store, &snapshot) != OK)
        return;
    bool more = look_ahead(s, snapshot);
    for (size_t i = 0; i < s->link_count && s->ahead.stays; i++)
        more |= offer_ahead(s, time, snapshot, s->links[i], out);
    snapshot_close(snapshot);
    if (more)
        s->ahead_at_ms = time.now_ms + THINK_MS;
}
