/* What replicas have shown of themselves, told to others.
 *
 * A store that was put back over its own file is known only by its past: the starts and
 * the counter that it had shown. Who never met it would take dots for new that were used
 * before. So each node tells on every link, first of all, what it knows of all others, and
 * again what changes: such a pair (starts, told) is true whoever hears of it, at any time,
 * as it says only what that replica once was. A replica that is met for the first time, and
 * has started more than once, waits until all members have told what they know, and all whom
 * those expect back; that some have told of it already is no reason not to, as others may
 * know more. For PROVE_MAX_MS at most, as nobody else may be there at all (docs/RELIABILITY.md
 * has what that leaves open).
 *
 * Two pairs of one id of which neither follows on the other come from two stores that both
 * count on. Who has taken nothing of what differs goes over to the other pair, where its
 * teller has; whoever comes with the first one is refused then, and takes a new id. */
#include "sync_state.h"
#include "weaken.h"

#include <stdlib.h>

enum {
    PROVE_MIN_MS = 250,  /* members are heard of, and dialled */
    PROVE_MAX_MS = 5000, /* some gossip, dials, and a frame; nothing else special about it */
};

/* ---- telling ---------------------------------------------------------------------------- */

static bool is_worth_telling(const struct sync *s, const struct link *link, const struct peer *peer)
{
    return peer->has_starts && peer != link->peer && !sync_is_own_id(s, &peer->id);
}

static void put_past(const struct sync *s, struct sync_time time, const struct peer *peer, struct buf *out)
{
    const struct past past = {.id = peer->id,
                              .starts = peer->starts,
                              .told = peer->told,
                              .awaited = peer_expected(peer, time.wall_ms, s->config.forget_after_ms),
                              .departed = peer->departed};
    past_encode(&past, out);
}

/* One frame, of the first `count` in the list that are worth telling. Returns how many were looked at. */
static size_t tell(struct sync *s, struct sync_time time, struct link *link, const struct peer *const *list,
                   size_t count, struct effects *out)
{
    struct buf frame;
    size_t at = 0;
    buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
    size_t begun = frame_begin(&frame, FRAME_PAST);
    buf_put_varint(&frame, count);
    for (; count; at++)
        if (is_worth_telling(s, link, list[at])) {
            put_past(s, time, list[at], &frame);
            count--;
        }
    frame_end(&frame, begun);
    sync_link_send(s, link, time.now_ms, &frame, out);
    return at;
}

/* The last frame is not a full one: who has told can be seen. */
void past_tell(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    const struct peer *const *list = (const struct peer *const *)s->peers.list;
    size_t left = 0, count;
    if (link->protocol < 4)
        return;
    for (size_t i = 0; i < s->peers.count; i++)
        left += is_worth_telling(s, link, list[i]);
    do {
        count = left < PASTS_MAX ? left : PASTS_MAX;
        list += tell(s, time, link, list, count, out);
        left -= count;
    } while (count == PASTS_MAX);
}

/* What one has shown goes on rising, and a store that knows of it may be lost. */
void past_tell_again(struct sync *s, struct sync_time time, struct effects *out)
{
    for (size_t i = 0; i < s->link_count; i++) {
        struct link *link = s->links[s->past_turn++ % s->link_count];
        if (link->state != LINK_UP || link->protocol < 4 || link->queued >= SEND_QUEUE_HIGH)
            continue; /* what it does not read would pile up */
        past_tell(s, time, link, out);
        return;
    }
}

void past_tell_of(struct sync *s, struct sync_time time, const struct peer *peer, struct effects *out)
{
    for (size_t i = 0; i < s->link_count; i++) {
        struct link *link = s->links[i];
        if (link->state == LINK_UP && link->protocol >= 4 && is_worth_telling(s, link, peer))
            (void)tell(s, time, link, &peer, 1, out);
    }
}

/* ---- hearing ----------------------------------------------------------------------------- */

/* Its counter stood at least here then. */
static uint64_t reached(const struct starts *starts, uint64_t told)
{
    uint64_t start = starts->count ? starts->entries[starts->count - 1].counter : 0;
    return start > told ? start : told;
}

static void set_departed(struct sync *s, struct peer *peer, bool departed, struct effects *out)
{
    if (peer->departed == departed)
        return;
    peer->departed = departed;
    s->reports++;
    if (departed && !peer->left)
        effects_notice(out, NOTICE_INFO, "event=peer_left node=%s next=\"does not expect it back\"",
                       peer->name);
}

static void learn(struct sync *s, struct sync_time time, struct peer *peer, const struct past *past,
                  struct effects *out)
{
    peer->hearsay |= !peer->has_starts;
    peer->has_starts = true;
    peer->starts = past->starts;
    peer->told = past->told;
    peer->told_kept = 0;
    peer->differs = false;
    set_departed(s, peer, past->departed, out);
    s->count.pasts_heard++;
    sync_save_peer(s, peer, out);
    past_tell_of(s, time, peer, out);
}

static bool have_above(const struct sync *s, const struct replica_id *id, uint64_t fork)
{
    struct snapshot *snapshot;
    uint64_t highest = clock_get(&s->clock, id);
    if (snapshot_open(s->store, &snapshot) != OK)
        return true;
    if (snapshot_highest(snapshot, id, &highest) != OK)
        highest = UINT64_MAX;
    snapshot_close(snapshot);
    return highest > fork;
}

/* Two stores have counted on under this id. */
static void meet_difference(struct sync *s, struct sync_time time, const struct link *link, struct peer *peer,
                            const struct past *past, struct effects *out)
{
    char uuid[REPLICA_ID_TEXT];
    uint64_t told = peer->told;
    uint64_t fork = starts_fork(&peer->starts, &past->starts, reached(&peer->starts, told));
    bool unproven = peer->link && peer->link->unproven;
    bool theirs = clock_get(&link->peer->clock, &peer->id) > fork;
    if (!unproven && have_above(s, &peer->id, fork)) { /* else it is not from the one that is here */
        if (!theirs)
            return; /* they go over to ours */
        if (peer->differs)
            return;
        peer->differs = true;
        s->count.pasts_differ++;
        effects_notice(
            out, NOTICE_ERROR,
            "event=pasts_differ replica=%s by=%s fork=%llu next=\"two stores were written to under "
            "one id, and both are known: compare the nodes (yzma doctor)\"",
            replica_id_text(&peer->id, uuid), link->peer->name, (unsigned long long)fork);
        return;
    }
    if (!unproven && !theirs && !starts_older(&past->starts, &peer->starts))
        return;
    learn(s, time, peer, past, out);
    if (peer->link)
        greet_refuse_past(s, time, peer, told, out);
}

/* More of a life that is known. */
static void learn_more(struct sync *s, struct sync_time time, struct peer *peer, const struct past *past,
                       struct effects *out)
{
    bool more = past->told > peer->told, left = past->departed && !peer->departed;
    peer->told = more ? past->told : peer->told;
    if (left)
        set_departed(s, peer, true, out);
    if (left || (more && !peer->link))
        sync_save_peer(s, peer, out);
    if (left)
        past_tell_of(s, time, peer, out);
}

static void hear(struct sync *s, struct sync_time time, const struct link *link, const struct past *past,
                 struct effects *out)
{
    if (sync_is_own_id(s, &past->id) || replica_id_equal(&past->id, &link->peer->id))
        return; /* these two speak for themselves */
    struct peer *peer = peers_find(&s->peers, &past->id);
    if (!peer && (peer = peers_get(&s->peers, &past->id)) != NULL)
        peer->left = true; /* nobody waits for it here, until it is met or is a member */
    if (!peer)
        return;
    peer->awaited = past->awaited && !peer->link;
    uint64_t theirs = reached(&past->starts, past->told), ours = reached(&peer->starts, peer->told);
    if (!peer->has_starts && !(peer->link && peer->link->unproven))
        learn(s, time, peer, past, out);
    else if (starts_same(&past->starts, &peer->starts))
        learn_more(s, time, peer, past, out);
    else if (starts_follow(&past->starts, theirs, &peer->starts, peer->told))
        learn(s, time, peer, past, out);
    else if (!starts_follow(&peer->starts, ours, &past->starts, past->told))
        meet_difference(s, time, link, peer, past, out);
}

bool past_take(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
               struct effects *out)
{
    struct past *list = NULL;
    size_t count = 0;
    if (link->protocol < 4 || frame_get_past(body, &list, &count) != OK)
        return false;
    link->past_told |= count < PASTS_MAX; /* others follow on a full frame */
    for (size_t i = 0; i < count && !WEAKENED(PAST); i++)
        hear(s, time, link, &list[i], out);
    free(list);
    return true;
}

/* ---- proving ------------------------------------------------------------------------------- */

/* A store that has started once only cannot have been put back: its next start would be
 * the second. */
bool past_is_asked_for(const struct peer *peer, const struct hello *hello)
{
    return (!peer->has_starts || peer->hearsay) && hello->starts.total > 1 && !WEAKENED(PAST);
}

/* From its first meeting on. One that was broken off, and is long over, asked nobody who is
 * asked now. */
void past_ask(struct peer *peer, uint64_t now_ms)
{
    if (!peer->met_ms || now_ms >= peer->met_ms + PROVE_MAX_MS)
        peer->met_ms = now_ms ? now_ms : 1;
}

/* Is there anybody, besides the one in question, who should be here and was not heard? */
static bool is_anybody_left(const struct sync *s, const struct peer *in_question)
{
    for (size_t i = 0; i < s->peers.count; i++) {
        const struct peer *peer = s->peers.list[i];
        bool heard = peer->link && (peer->link->protocol < 4 || peer->link->past_told);
        bool expected = peer->awaited || (peer->member && !peer->left);
        if (peer != in_question && expected && !heard && !s->config.blocked(s->config.ctx, peer->name))
            return true;
    }
    return false;
}

static uint64_t proven_at(const struct sync *s, const struct peer *peer)
{
    return peer->met_ms + (is_anybody_left(s, peer) ? PROVE_MAX_MS : PROVE_MIN_MS);
}

void past_tick(struct sync *s, struct sync_time time, struct effects *out)
{
    for (size_t i = 0; i < s->link_count; i++) {
        struct link *link = s->links[i];
        if (!link->unproven || time.now_ms < proven_at(s, link->peer))
            continue;
        link->unproven = false;
        link->peer->has_starts = true;
        link->peer->hearsay = false;
        link->peer->met_ms = 0;
        s->think_at_ms = time.now_ms;
        sync_save_peer(s, link->peer, out);
        past_tell_of(s, time, link->peer, out);
    }
}

uint64_t past_deadline(const struct sync *s, uint64_t now_ms)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < s->link_count; i++) {
        uint64_t at = s->links[i]->unproven ? proven_at(s, s->links[i]->peer) : UINT64_MAX;
        next = at < next ? at : next;
    }
    return next > now_ms ? next : now_ms;
}
