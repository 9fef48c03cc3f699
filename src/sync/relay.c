/* Whose rows come from whom, seen from the receiver.
 *
 * A replica's rows come from their own replica. When some peer's clock for it is
 * above ours and not a byte of it has arrived for 2 s, one peer that is ahead is
 * asked for them (WANT), and another one if that does not deliver either. */
#include "mem.h"
#include "sync_state.h"
#include "weaken.h"

enum { VAIN_MAX = 4 }; /* the replica itself is asked each 32 s at last */

static struct origin *find(const struct sync *s, const struct replica_id *id)
{
    for (size_t i = 0; i < s->origin_count; i++)
        if (replica_id_equal(&s->origins[i].id, id))
            return &s->origins[i];
    return NULL;
}

/* Bounded by the replicas that clocks may name (CLOCK_REPLICAS_MAX), and by
 * what peers send as origins: past the bound the newest shares the last place. */
struct origin *relay_origin(struct sync *s, const struct replica_id *id)
{
    struct origin *origin = find(s, id);
    if (origin)
        return origin;
    if (s->origin_count == 2 * CLOCK_REPLICAS_MAX)
        s->origin_count--;
    if (s->origin_count == s->origin_room) {
        s->origin_room = s->origin_room ? s->origin_room * 2 : 8;
        s->origins = mem_grow(s->origins, s->origin_room * sizeof *s->origins);
    }
    origin = &s->origins[s->origin_count++];
    *origin = (struct origin){.id = *id};
    return origin;
}

static void not_in_vain(struct origin *origin)
{
    origin->vain = 0;
    origin->itself_at_ms = 0;
}

void relay_moved(struct sync *s, const struct replica_id *id, uint64_t now_ms)
{
    struct origin *origin = relay_origin(s, id);
    origin->moved_ms = now_ms;
    not_in_vain(origin);
}

void relay_retry(struct sync *s, const struct replica_id *id, const struct replica_id *peer, uint64_t at_ms)
{
    if (replica_id_is_zero(id))
        return; /* rows ahead: offered again with the next set */
    struct origin *origin = relay_origin(s, id);
    if (origin->retry_at_ms == 0 || at_ms > origin->retry_at_ms) {
        origin->retry_at_ms = at_ms;
        origin->retry_peer = *peer;
    }
}

/* However many more rows come behind the gap: each is no reason to wait longer. */
void relay_gap(struct sync *s, const struct replica_id *id, const struct replica_id *peer, uint64_t now_ms)
{
    if (relay_origin(s, id)->retry_at_ms == 0)
        relay_retry(s, id, peer, now_ms + THINK_MS);
}

/* The best clock that a peer in reach has for a replica. */
static uint64_t best_of(const struct sync *s, const struct replica_id *id)
{
    uint64_t best = 0;
    for (size_t i = 0; i < s->link_count; i++) {
        const struct link *link = s->links[i];
        uint64_t n = link->state == LINK_UP ? clock_get(&link->peer->clock, id) : 0;
        if (n > best)
            best = n;
    }
    return best;
}

bool relay_lacking(const struct sync *s)
{
    for (size_t i = 0; i < s->link_count; i++)
        if (s->links[i]->state == LINK_UP && !clock_covers(&s->clock, &s->links[i]->peer->clock))
            return true;
    return false;
}

static struct link *link_of(const struct sync *s, const struct replica_id *peer_id)
{
    struct peer *peer = peers_find(&s->peers, peer_id);
    return peer && peer->link && peer->link->state == LINK_UP ? peer->link : NULL;
}

static void end_relay(struct sync *s, struct sync_time time, struct origin *origin, struct effects *out)
{
    struct link *link = origin->relayed ? link_of(s, &origin->relay) : NULL;
    origin->relayed = false;
    if (!link)
        return;
    struct buf frame;
    buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
    frame_put_unwant(&frame, &origin->id);
    sync_link_send(s, link, time.now_ms, &frame, out);
}

/* Is a part of a frame under way from the one that should send it? A long value
 * on a slow line takes more than our patience. */
static bool bytes_arrive(const struct sync *s, const struct origin *origin, uint64_t now_ms)
{
    const struct replica_id *from = origin->relayed ? &origin->relay : &origin->id;
    const struct link *link = link_of(s, from);
    return link && (link->works > 0 || link->waiting || link->paused ||
                    (link->in.len > 0 && now_ms < link->heard_ms + RELAY_PATIENCE_MS));
}

static bool can_relay(const struct sync *s, const struct link *link, const struct origin *origin,
                      uint64_t now_ms)
{
    const struct peer *peer = link->peer;
    if (link->state != LINK_UP || link->unproven || peer->walking || replica_id_equal(&peer->id, &origin->id))
        return false;
    if (now_ms < origin->avoid_until_ms && replica_id_equal(&peer->id, &origin->avoid))
        return false;
    return (clock_covers(&s->clock, &peer->floor) || WEAKENED(FLOOR)) &&
           clock_get(&peer->clock, &origin->id) > clock_get(&s->clock, &origin->id);
}

/* The replica itself, connected and ahead. What it sent once and was not taken here (no room, then a
 * relay that has gone since) counts as sent there: it is asked for. */
static struct link *itself(const struct sync *s, const struct origin *origin)
{
    struct link *link = link_of(s, &origin->id);
    bool has_more = link && !link->unproven && !link->peer->walking &&
                    clock_covers(&s->clock, &link->peer->floor) &&
                    clock_get(&link->peer->clock, &origin->id) > clock_get(&s->clock, &origin->id);
    return has_more ? link : NULL;
}

/* Less often each time: where it cannot send them, as a record of its own is damaged, it knows
 * that it is lacking, and goes on once that is mended. */
static void ask_itself(struct sync *s, struct sync_time time, struct origin *origin, struct link *link,
                       struct effects *out)
{
    send_want(s, time, link, &origin->id, out);
    origin->itself_at_ms = time.now_ms + ((uint64_t)RELAY_PATIENCE_MS << origin->vain);
    origin->vain += origin->vain < VAIN_MAX;
}

static void ask_relay(struct sync *s, struct sync_time time, struct origin *origin, struct effects *out)
{
    struct link *best = NULL;
    if (origin->relayed) { /* it did not deliver */
        origin->avoid = origin->relay;
        origin->avoid_until_ms = time.now_ms + RELAY_AVOID_MS;
        end_relay(s, time, origin, out);
    }
    for (size_t i = 0; i < s->link_count; i++) {
        struct link *link = s->links[i];
        if (can_relay(s, link, origin, time.now_ms) &&
            (!best ||
             clock_get(&link->peer->clock, &origin->id) > clock_get(&best->peer->clock, &origin->id)))
            best = link;
    }
    origin->moved_ms = time.now_ms; /* patience begins anew, also when nobody can */
    if (!best) {
        if (time.now_ms >= origin->itself_at_ms && (best = itself(s, origin)))
            ask_itself(s, time, origin, best, out);
        return;
    }
    origin->relayed = true;
    origin->relay = best->peer->id;
    s->count.relays_asked++;
    send_want(s, time, best, &origin->id, out);
}

static void think_of(struct sync *s, struct sync_time time, struct origin *origin, struct effects *out)
{
    struct link *retry = NULL;
    bool retries = origin->retry_at_ms && time.now_ms >= origin->retry_at_ms;
    if (origin->held && time.now_ms < origin->held_until_ms && !retries)
        return;
    if (retries) {
        origin->retry_at_ms = 0;
        /* only of the one that is to send them: two would send everything twice */
        const struct replica_id *from = origin->relayed ? &origin->relay : &origin->id;
        retry = replica_id_equal(from, &origin->retry_peer) ? link_of(s, from) : NULL;
        if (retry)
            send_want(s, time, retry, &origin->id, out);
    }
    if (replica_id_equal(&origin->id, &s->id) ||
        best_of(s, &origin->id) <= clock_get(&s->clock, &origin->id)) {
        origin->lacking_since_ms = 0;
        not_in_vain(origin);
        return;
    }
    if (origin->lacking_since_ms == 0)
        origin->lacking_since_ms = time.now_ms ? time.now_ms : 1;
    uint64_t since = origin->moved_ms > origin->lacking_since_ms ? origin->moved_ms
                                                                 : origin->lacking_since_ms;
    if (origin->retry_at_ms)
        return; /* ours to be mended first: another peer would send what is refused again */
    if (!retry && time.now_ms >= since + RELAY_PATIENCE_MS && !bytes_arrive(s, origin, time.now_ms))
        ask_relay(s, time, origin, out);
}

void relay_held(struct sync *s, struct sync_time time, const struct replica_id *id, bool held,
                const struct link *link, struct effects *out)
{
    struct origin *origin = relay_origin(s, id);
    char uuid[REPLICA_ID_TEXT];
    if (held && !origin->held)
        effects_notice(
            out, NOTICE_ERROR,
            "event=record_quarantined replica=%s by=%s counter=%llu next=\"it is kept as it came; the "
            "clock stands below it until a program or a peer has it readable\"",
            replica_id_text(id, uuid), link && link->peer ? link->peer->name : "gone",
            (unsigned long long)clock_get(&s->clock, id) + 1);
    origin->held_until_ms = held ? time.now_ms + HELD_RETRY_MS : 0;
    origin->held = held;
}

static void release(void *ctx, const struct dot *dot)
{
    struct origin *origin = relay_origin(ctx, &dot->replica);
    origin->held = true;
}

void relay_released(struct sync *s, struct effects *out)
{
    struct snapshot *snapshot;
    size_t before = 0, after = 0;
    for (size_t i = 0; i < s->origin_count; i++) {
        before += s->origins[i].held;
        s->origins[i].held = false;
    }
    if (snapshot_open(s->store, &snapshot) != OK)
        return;
    (void)!snapshot_quarantine(snapshot, release, s);
    snapshot_close(snapshot);
    for (size_t i = 0; i < s->origin_count; i++)
        after += s->origins[i].held;
    effects_notice(out, NOTICE_INFO, "event=quarantine_tried replicas=%zu left=%zu", before, after);
}

void relay_think(struct sync *s, struct sync_time time, struct effects *out)
{
    if (sync_walking(s) || s->held_by_hand)
        return;
    for (size_t i = 0; i < s->link_count; i++) /* every replica that a peer's clock names */
        for (size_t k = 0; s->links[i]->state == LINK_UP && k < s->links[i]->peer->clock.count; k++) {
            const struct dot *theirs = &s->links[i]->peer->clock.entries[k];
            if (theirs->counter > clock_get(&s->clock, &theirs->replica))
                relay_origin(s, &theirs->replica);
        }
    for (size_t i = 0; i < s->origin_count; i++)
        think_of(s, time, &s->origins[i], out);
}

/* The replica itself is here: its relay has served. */
void relay_link_up(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    struct origin *origin = find(s, &link->peer->id);
    if (!origin)
        return;
    not_in_vain(origin);
    end_relay(s, time, origin, out);
}
