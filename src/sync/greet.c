/* How links come to be: dialling, hellos, refusals.
 *
 * Both sides may dial; each sends its hello as soon as the stream stands. Where
 * two connections of one pair come up, both sides keep the one that the smaller
 * replica id dialled. A hello that tells of another past than the one remembered
 * (a start list that does not extend it, or a lower counter) is a copy or an old
 * state of that replica: it is refused with what is remembered, and takes a new
 * id. */
#include "check.h"
#include "mem.h"
#include "sync_state.h"

#include <stdio.h>

/* ---- dialling ------------------------------------------------------------------- */

void greet_backoff(struct sync *s, struct peer *peer, uint64_t now_ms)
{
    uint64_t delay = DIAL_DELAY_MIN_MS;
    for (unsigned i = 0; i < peer->dial_failures && delay < DIAL_DELAY_MAX_MS; i++)
        delay *= 2;
    if (delay > DIAL_DELAY_MAX_MS)
        delay = DIAL_DELAY_MAX_MS;
    peer->dial_failures++;
    peer->dial_at_ms = now_ms + delay + rng_below(&s->rng, delay / 2 + 1);
}

static bool wants_link(const struct sync *s, const struct peer *peer)
{
    return !s->left && !s->stopping && !s->reidentifying && !peer->link && !peer->dialing &&
           !peer_has_left(peer) && peer->ingress[0] && !s->config.blocked(s->config.ctx, peer->name);
}

static void open_stream(struct link *link, const char *ingress, struct effects *out)
{
    struct effect *open = effects_add(out, EFFECT_STREAM_OPEN);
    open->stream = link->stream;
    open->stream_kind = STREAM_SYNC;
    struct buf target;
    buf_init(&target, INGRESS_MAX + 1);
    buf_put(&target, ingress, strlen(ingress) + 1);
    open->target = (char *)target.data; /* handed over */
}

void greet_dial_due(struct sync *s, struct sync_time time, struct effects *out)
{
    for (size_t i = 0; i < s->peers.count; i++) {
        struct peer *peer = s->peers.list[i];
        if (!wants_link(s, peer) || time.now_ms < peer->dial_at_ms)
            continue;
        struct link *link = sync_link_new(s, s->config.new_stream(s->config.ctx), true, time.now_ms);
        if (!link) { /* the table is full */
            peer->dial_at_ms = time.now_ms + DIAL_DELAY_MAX_MS;
            continue;
        }
        link->peer = peer;
        peer->dialing = 1;
        open_stream(link, peer->ingress, out);
    }
}

void sync_meet_twin(struct sync *s, struct sync_time time, const char *ingress, struct effects *out)
{
    enum { TWIN_MS = 60000 };
    if (s->left || s->stopping || s->reidentifying || time.now_ms < s->twin_at_ms)
        return;
    struct link *link = sync_link_new(s, s->config.new_stream(s->config.ctx), true, time.now_ms);
    if (!link)
        return;
    s->twin_at_ms = time.now_ms + TWIN_MS;
    open_stream(link, ingress, out);
}

uint64_t greet_deadline(const struct sync *s)
{
    uint64_t deadline = UINT64_MAX;
    for (size_t i = 0; i < s->peers.count; i++) {
        const struct peer *peer = s->peers.list[i];
        if (wants_link(s, peer) && peer->dial_at_ms < deadline)
            deadline = peer->dial_at_ms;
    }
    return deadline;
}

/* ---- hello ------------------------------------------------------------------------ */

static uint16_t highest_protocol(const struct sync *s)
{
    return s->config.protocol_max ? s->config.protocol_max : SYNC_PROTOCOL;
}

void greet_opened(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    struct hello hello = {
        .protocol_min = SYNC_PROTOCOL_MIN,
        .protocol_max = highest_protocol(s),
        .id = s->id,
        .gossip = s->config.gossip,
        .starts = s->starts,
        .clock = s->clock, /* borrowed */
        .floor = s->floor,
        .flags = sync_walking(s) ? SYNC_WALKING : 0,
        .predecessor_count = s->predecessor_count,
    };
    memcpy(hello.name, s->name, sizeof hello.name);
    memcpy(hello.label, s->label, sizeof hello.label);
    memcpy(hello.ingress, s->ingress, sizeof hello.ingress);
    memcpy(hello.predecessors, s->predecessors, sizeof hello.predecessors);
    struct buf frame;
    buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
    frame_put_hello(&frame, &hello);
    link_move(link, LINK_HELLO, time.now_ms);
    link->hello_ms = time.now_ms;
    clock_copy(&link->reported, &s->clock);
    clock_copy(&link->reported_floor, &s->floor);
    link->reported_flags = hello.flags;
    link->reported_ms = time.now_ms;
    sync_link_send(s, link, time.now_ms, &frame, out);
}

static bool refuse(struct sync *s, struct sync_time time, struct link *link, const struct refusal *refusal,
                   struct effects *out)
{
    struct buf frame;
    buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
    frame_put_refuse(&frame, refusal);
    sync_link_send(s, link, time.now_ms, &frame, out);
    s->count.links_refused++;
    sync_link_end(s, time, link, refusal->text, out);
    return false;
}

static bool refuse_text(struct sync *s, struct sync_time time, struct link *link, enum refuse_reason reason,
                        const char *text, const struct hello *hello, struct effects *out)
{
    struct refusal refusal = {.reason = reason};
    snprintf(refusal.text, sizeof refusal.text, "%s", text);
    effects_notice(out, reason == REFUSE_SELF ? NOTICE_ERROR : NOTICE_WARN,
                   "event=link_refused node=%s reason=%s", hello->name, text);
    return refuse(s, time, link, &refusal, out);
}

/* Is this another past than the one we know? Besides what it told us itself, no
 * counter of it may be known here, from wherever, that it has not reached: but a hello
 * that lay about while we or the network stood still, alone or with others, may be older
 * than what came round by third nodes. So for some seconds it is only hung up on, and says
 * the next one. (Told of a fork it would find one: we know of operations of its new life,
 * and of no start that they come after.) */
enum verdict { PAST_SAME, PAST_DOUBTED, PAST_OVERTAKEN, PAST_FORK };
enum {
    DOUBT_MS = 3000,       /* time for a few dials; nothing else special about these values */
    DOUBT_MS_MAX = 120000, /* a doubt this old was about others */
};
static enum verdict look_at_past(struct sync *s, struct sync_time time, const struct hello *hello,
                                 struct peer *peer, uint64_t *ret_known)
{
    struct snapshot *snapshot;
    uint64_t now = clock_get(&hello->clock, &hello->id), highest = clock_get(&s->clock, &hello->id);
    if (snapshot_open(s->store, &snapshot) == OK) {
        (void)!snapshot_highest(snapshot, &hello->id, &highest);
        snapshot_close(snapshot);
    }
    *ret_known = highest > now ? highest : peer->told;
    bool differs = peer->has_starts && !starts_follow(&hello->starts, now, &peer->starts, peer->told);
    if (!differs && highest <= now) {
        peer->doubted_ms = 0;
        return PAST_SAME;
    }
    if (peer->has_starts && starts_same(&hello->starts, &peer->starts))
        return PAST_OVERTAKEN;
    if (differs)
        return PAST_FORK;
    if (!peer->doubted_ms || time.now_ms - peer->doubted_ms > DOUBT_MS_MAX)
        peer->doubted_ms = time.now_ms;
    return time.now_ms - peer->doubted_ms > DOUBT_MS ? PAST_FORK : PAST_DOUBTED;
}

/* It must not use its dots again. Within one life of its process it is likely a hello that
 * was overtaken by rows on another link of the pair: it will see that, and dial again. */
static bool refuse_fork(struct sync *s, struct sync_time time, struct link *link, const char *name,
                        uint64_t told, const struct peer *peer, bool overtaken, uint64_t known,
                        struct effects *out)
{
    struct refusal refusal = {.reason = REFUSE_FORK};
    snprintf(refusal.text, sizeof refusal.text, "this replica id has another past here: take a new id");
    if (peer->has_starts)
        refusal.starts = peer->starts;
    refusal.counter = known;
    if (overtaken)
        s->count.hellos_overtaken++;
    else
        s->count.forks_met++;
    effects_notice(out, overtaken ? NOTICE_INFO : NOTICE_WARN,
                   "event=%s node=%s known_counter=%llu told_counter=%llu next=%s",
                   overtaken ? "hello_overtaken" : "fork_met", name, (unsigned long long)refusal.counter,
                   (unsigned long long)told,
                   overtaken ? "it looks at its own, and dials again" : "it takes a new id");
    return refuse(s, time, link, &refusal, out);
}

void greet_refuse_past(struct sync *s, struct sync_time time, struct peer *peer, uint64_t told,
                       struct effects *out)
{
    (void)refuse_fork(s, time, peer->link, peer->name, told, peer, false, peer->told, out);
}

/* We have dialled ourselves: an id that was at our address before us, such as that of the store
 * that was here until its disk failed. Until there is news of it nobody else answers there. */
static void meet_self(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    if (link->peer) {
        effects_notice(
            out, NOTICE_INFO,
            "event=own_address node=%s at=%s next=\"this node has its address now: it is not dialled "
            "there any more\"",
            link->peer->name, link->peer->ingress);
        link->peer->ingress[0] = 0;
    }
    sync_link_end(s, time, link, "this node has its address now", out);
}

/* It has been given up here; it goes on under a new id, and puts again what is not
 * known whole. */
static bool refuse_retired(struct sync *s, struct sync_time time, struct link *link,
                           const struct hello *hello, struct effects *out)
{
    struct refusal refusal = {.reason = hello->protocol_max >= 3 ? REFUSE_RETIRED : REFUSE_PROTOCOL};
    retire_refusal(s, time, retire_find(s, &hello->id), &refusal, out);
    snprintf(refusal.text, sizeof refusal.text,
             "this replica id was retired: take a new id (yzma reidentify)");
    effects_notice(out, NOTICE_WARN, "event=retired_met node=%s next=\"it takes a new id\"", hello->name);
    return refuse(s, time, link, &refusal, out);
}

/* Of two links of one pair: does the new one stay? */
static bool newer_stays(const struct sync *s, const struct link *old, const struct link *link,
                        const struct hello *hello)
{
    if (old->life != hello->starts.total)
        return true; /* the peer has started anew: the old link is of its former life */
    if (old->dialed == link->dialed)
        return true; /* dialled twice by one side: it has given the old one up */
    bool we_are_smaller = replica_id_compare(&s->id, &hello->id) < 0;
    return link->dialed == we_are_smaller;
}

/* An address has one owner: the last to prove it. */
static void own_address(struct sync *s, const struct peer *peer, const char *ingress)
{
    for (size_t i = 0; i < s->peers.count; i++)
        if (s->peers.list[i] != peer && strcmp(s->peers.list[i]->ingress, ingress) == 0)
            s->peers.list[i]->ingress[0] = 0;
}

static bool is_any_up(const struct sync *s)
{
    for (size_t i = 0; i < s->link_count; i++)
        if (s->links[i]->state == LINK_UP)
            return true;
    return false;
}

/* Another replica than the one that was dialled answers at that address now. */
static void answered_by(struct sync *s, struct sync_time time, struct link *link, const struct peer *peer)
{
    link->peer->dialing = 0;
    if (link->peer != peer)
        greet_backoff(s, link->peer, time.now_ms);
}

static void take_hello(struct sync *s, struct sync_time time, struct link *link, struct hello *hello,
                       struct peer *peer, bool replaces, struct effects *out)
{
    if (link->dialed && link->peer)
        answered_by(s, time, link, peer);
    own_address(s, peer, hello->ingress);
    link->peer = peer;
    link->in.max = FRAME_HEADER + FRAME_MAX;
    if (!replaces && !is_any_up(s))
        repair_met_somebody(s, time.now_ms);
    link->protocol = hello->protocol_max < highest_protocol(s) ? hello->protocol_max : highest_protocol(s);
    link_move(link, LINK_UP, time.now_ms);
    memcpy(peer->name, hello->name, sizeof peer->name);
    memcpy(peer->ingress, hello->ingress, sizeof peer->ingress);
    link->life = hello->starts.total;
    bool anew = !peer->has_starts || !starts_same(&hello->starts, &peer->starts);
    link->unproven = past_is_asked_for(peer, hello);
    if (link->unproven)
        past_ask(peer, time.now_ms);
    /* Who has left comes back with a new start: else this lay about since before. Programs before
     * protocol 4 make no start of it. */
    peer->departed &= starts_same(&hello->starts, &peer->starts) && hello->protocol_max >= 4;
    peer->left = peer->forgotten = false;
    peer->has_starts |= !link->unproven;
    peer->hearsay &= link->unproven;
    peer->awaited = false;
    peer->starts = hello->starts;
    peer->told = clock_get(&hello->clock, &hello->id);
    if (anew && !link->unproven)
        past_tell_of(s, time, peer, out);
    peer->walking = hello->flags & SYNC_WALKING;
    peer->heard_wall_ms = time.wall_ms;
    peer->dial_failures = 0;
    peer->error[0] = 0;
    peer->link = link;
    peer->in = peer->out = (struct traffic_count){0};
    peer->up_ms = time.now_ms;
    clock_copy(&peer->clock, &hello->clock);
    s->reports++;
    clock_copy(&peer->floor, &hello->floor);
    clock_copy(&link->sent, &hello->clock);
    clock_copy(&link->target, &hello->clock);
    progress_link_up(s, link);
    if (fill_is_expected(s, peer))
        link->rows_at_ms = time.now_ms + WALK_EXPECTED_MS;
    else if (link->dialed != (replica_id_compare(&s->id, &peer->id) < 0))
        link->rows_at_ms = time.now_ms + BETTER_LINK_MS;
    for (size_t i = 0; i < hello->predecessor_count; i++) {
        struct peer *former = peers_find(&s->peers, &hello->predecessors[i]);
        if (former && !former->left && !former->link) { /* nobody waits for an id that was given up */
            former->left = true;
            sync_save_peer(s, former, out);
        }
    }
    sync_save_peer(s, peer, out);
    struct sync_event event = {.kind = SYNC_READDRESS, .addr = hello->gossip};
    memcpy(event.name, hello->name, sizeof event.name);
    sync_push_event(s, &event);
    effects_notice(out, NOTICE_INFO, "event=link_up node=%s dialed_by=%s", peer->name,
                   link->dialed ? "us" : "them");
}

/* Why this replica gets no link for a while, or NULL: what its last one ended for. */
static const char *shunned_for(const struct sync *s, const struct replica_id *id, uint64_t now_ms)
{
    const struct peer *peer = peers_find(&s->peers, id);
    if (!peer || now_ms >= peer->shunned_until_ms)
        return NULL;
    return peer->error[0] ? peer->error : "sent a malformed frame a moment ago";
}

bool greet_hello(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                 struct effects *out)
{
    struct hello hello = {0};
    const char *shunned;
    bool up = false;
    if (frame_get_hello(body, &hello) != OK) {
        s->count.frames_malformed++;
        sync_link_end(s, time, link, "malformed hello", out);
        return false;
    }
    if (hello.protocol_min > highest_protocol(s) || hello.protocol_max < SYNC_PROTOCOL_MIN) {
        refuse_text(s, time, link, REFUSE_PROTOCOL, "no replication protocol version in common", &hello, out);
    } else if (strcmp(hello.label, s->label) != 0) {
        refuse_text(s, time, link, REFUSE_LABEL, "another cluster label", &hello, out);
    } else if (s->left) {
        refuse_text(s, time, link, REFUSE_LEFT, "this node has left its cluster", &hello, out);
    } else if (s->config.blocked(s->config.ctx, hello.name)) {
        refuse_text(s, time, link, REFUSE_BLOCKED, "blocked by Peering.Block", &hello, out);
    } else if (retire_find(s, &hello.id)) {
        refuse_retired(s, time, link, &hello, out);
    } else if ((shunned = shunned_for(s, &hello.id, time.now_ms)) != NULL) {
        refuse_text(s, time, link, REFUSE_SHUNNED, shunned, &hello, out);
    } else if (replica_id_equal(&hello.id, &s->id) && starts_same(&hello.starts, &s->starts)) {
        meet_self(s, time, link, out);
    } else if (replica_id_equal(&hello.id, &s->id)) {
        twin_met(s, &hello, out);
        refuse_text(s, time, link, REFUSE_SELF,
                    "this is the receiver's own replica id: a copy of its store (stop it and run: yzma "
                    "reidentify)",
                    &hello, out);
    } else {
        struct peer *peer = sync_peer(s, time, &hello.id, out);
        struct link *old = peer ? peer->link : NULL;
        uint64_t known = 0;
        enum verdict past = peer ? look_at_past(s, time, &hello, peer, &known) : PAST_SAME;
        if (!peer) {
            refuse_text(s, time, link, REFUSE_PROTOCOL, "too many replicas are known here", &hello, out);
        } else if (past == PAST_DOUBTED) {
            s->count.hellos_overtaken++;
            sync_link_end(s, time, link, "claims less than is known of it: perhaps an old hello", out);
        } else if (past != PAST_SAME) {
            refuse_fork(s, time, link, hello.name, clock_get(&hello.clock, &hello.id), peer,
                        past == PAST_OVERTAKEN, known, out);
        } else if (old && !newer_stays(s, old, link, &hello)) {
            struct refusal refusal = {.reason = REFUSE_DUPLICATE,
                                      .text = "another connection of this pair stays"};
            if (link->dialed && link->peer) {
                answered_by(s, time, link, peer);
                own_address(s, peer, hello.ingress);
                link->peer = NULL; /* no failure of that peer's */
            }
            refuse(s, time, link, &refusal, out);
        } else {
            if (old) {
                peer->link = NULL;
                old->peer = NULL;
                sync_link_end(s, time, old, NULL, out);
            }
            take_hello(s, time, link, &hello, peer, old != NULL, out);
            up = true;
        }
    }
    hello_done(&hello);
    return up;
}

/* ---- being refused ------------------------------------------------------------------- */

/* Asking at once again will not help. The peer, where its hello came before the refusal, so that
 * this would count as a link that was lost; else NULL. */
static struct peer *not_at_once(const struct link *link)
{
    struct peer *peer = link->peer;
    if (peer && peer->dial_failures < 6)
        peer->dial_failures = 6; /* 100 ms doubled six times */
    return peer && peer->link == link ? peer : NULL;
}

static const char *peer_name(const struct link *link)
{
    return link->peer ? link->peer->name : "unknown";
}

/* Our past is another than the one that is known there. */
static void end_as_fork(struct sync *s, struct sync_time time, struct link *link,
                        const struct refusal *refusal, struct effects *out)
{
    uint64_t own = clock_get(&s->clock, &s->id);
    uint64_t fork = starts_fork(&s->starts, &refusal->starts, own);
    effects_notice(out, NOTICE_ERROR,
                   "event=fork by=%s own_counter=%llu known_counter=%llu fork=%llu next=\"takes a "
                   "new replica id\"",
                   peer_name(link), (unsigned long long)own, (unsigned long long)refusal->counter,
                   (unsigned long long)fork);
    /* What it knows above the fork may be another's, and is, where it has more than others have
     * told; if it knows of nothing there, what others have there is ours. */
    uint64_t theirs = link->peer ? clock_get(&link->peer->clock, &s->id) : 0;
    bool parted = refusal->counter > fork || (theirs > fork && theirs > s->twin.known);
    sync_link_end(s, time, link, refusal->text, out);
    struct store_work *work = store_work_new(WORK_REIDENTIFY);
    work->reidentify.fork = fork;
    work->reidentify.parted = parted ? fork : s->twin.parted;
    sync_reidentify(s, work, out);
}

static void end_as_retired(struct sync *s, struct sync_time time, struct link *link,
                           const struct refusal *refusal, struct effects *out)
{
    effects_notice(out, NOTICE_ERROR,
                   "event=retired by=%s own_counter=%llu known_counter=%llu next=\"takes a new replica id\"",
                   peer_name(link), (unsigned long long)clock_get(&s->clock, &s->id),
                   (unsigned long long)refusal->counter);
    sync_link_end(s, time, link, refusal->text, out);
    struct store_work *work = store_work_new(WORK_REIDENTIFY);
    work->reidentify.fork = refusal->counter;
    work->reidentify.parted = s->twin.parted;
    work->reidentify.retired = true;
    if (refusal->known_count)
        work->reidentify.known = mem_copy(refusal->known, refusal->known_count * sizeof *refusal->known);
    work->reidentify.known_count = refusal->known_count;
    sync_reidentify(s, work, out);
}

bool greet_refused(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                   struct effects *out)
{
    struct refusal refusal;
    if (frame_get_refuse(body, &refusal) != OK) {
        s->count.frames_malformed++;
        sync_link_end(s, time, link, "malformed refusal", out);
        return false;
    }
    /* What peers hold of ours they may have been sent before the news of its commit came
     * here: the store is asked. To take a new id for that would put again, under new dots,
     * what others have removed meanwhile. */
    if (refusal.reason == REFUSE_FORK && sync_look(s) != OK) {
        sync_link_end(s, time, link, "the store cannot be read", out);
        return false;
    }
    uint64_t own = clock_get(&s->clock, &s->id);
    struct peer *patient = NULL;
    if (refusal.reason == REFUSE_FORK) {
        /* Both may cross with rows that are under way on another link: only a
         * past that still differs now is one. */
        if (!starts_follow(&s->starts, own, &refusal.starts, refusal.counter)) {
            end_as_fork(s, time, link, &refusal, out);
            return false;
        }
    } else if (refusal.reason == REFUSE_RETIRED) {
        end_as_retired(s, time, link, &refusal, out);
        return false;
    } else if (refusal.reason != REFUSE_DUPLICATE) {
        effects_notice(out, NOTICE_WARN, "event=link_refused_by node=%s reason=%s next=\"tries again\"",
                       peer_name(link), refusal.text);
        patient = not_at_once(link);
    }
    if (refusal.reason == REFUSE_DUPLICATE && link->peer && link->peer->link != link) {
        link->peer->dialing = 0;
        if (!link->peer->link) /* what it holds for our connection is dead here: it will notice */
            greet_backoff(s, link->peer, time.now_ms);
        link->peer = NULL;
    }
    sync_link_end(s, time, link, refusal.reason == REFUSE_DUPLICATE ? NULL : refusal.text, out);
    if (patient)
        greet_backoff(s, patient, time.now_ms);
    return false;
}
