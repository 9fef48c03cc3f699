/* What comes in on a link that is up, and what the committer made of it. */
#include "check.h"
#include "sync_state.h"

#include <stdlib.h>

/* ---- frames ------------------------------------------------------------------------ */

static bool malformed(struct sync *s, struct sync_time time, struct link *link, const char *what,
                      struct effects *out)
{
    struct peer *peer = link->peer;
    s->count.frames_malformed++;
    effects_notice(out, NOTICE_WARN,
                   "event=frame_malformed node=%s frame=%s next=\"no link with it for 10 s\"", peer->name,
                   what);
    sync_link_end(s, time, link, "sent a malformed frame", out);
    peer->shunned_until_ms = peer->dial_at_ms = time.now_ms + SHUN_MS;
    return false;
}

/* Only so much of a link waits here; the rest waits in the peer's store. */
void receive_pause_if_full(struct link *link, struct effects *out)
{
    if (intake_is_full(link) && !link->paused) {
        link->paused = true;
        effects_add(out, EFFECT_STREAM_PAUSE)->stream = link->stream;
    }
}

static bool take_rows(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                      struct effects *out)
{
    struct store_work *work;
    enum err err = frame_get_rows(frame, &work, NULL);
    if (err == ERR_NOMEM) { /* ours, not theirs: they are asked again */
        if (frame->type == FRAME_ROWS && frame->body.len >= REPLICA_ID_SIZE) {
            struct cursor in = cursor_of(frame->body);
            struct replica_id origin = replica_id_decode(&in);
            relay_retry(s, &origin, &link->peer->id, time.now_ms + RETRY_MS);
        }
        return true;
    }
    if (err != OK)
        return malformed(s, time, link, frame->type == FRAME_ROWS ? "rows" : "ahead", out);
    bool rows = frame->type == FRAME_ROWS;
    if (sync_walking(s) || s->walk_works || s->reidentifying ||
        (rows && replica_id_equal(&work->rows.origin, &s->id))) {
        s->count.rows_skipped += work->rows.count; /* they are asked for when the walk is over */
        store_work_free(work);
        return true;
    }
    if (rows) {
        s->count.rows_received += work->rows.count;
        link->peer->rows_in += work->rows.count;
        relay_moved(s, &work->rows.origin, time.now_ms);
        if (replica_id_equal(&work->rows.origin, &link->peer->id) && work->rows.to > link->peer->told)
            link->peer->told = work->rows.to;
    } else {
        s->count.ahead_received += work->rows.count;
    }
    intake_take(link, work, 0);
    return true;
}

static bool knows_more_of_us(struct sync *s, const struct peer *peer)
{
    uint64_t theirs = clock_get(&peer->clock, &s->id);
    if (theirs <= clock_get(&s->clock, &s->id))
        return false;
    (void)sync_look(s); /* they may have been faster than the news of our own commit */
    return theirs > clock_get(&s->clock, &s->id);
}

static bool take_clock(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                       struct effects *out)
{
    uint8_t flags;
    struct peer *peer = link->peer;
    if (frame_get_clock(frame->body, &peer->clock, &peer->floor, &flags) != OK)
        return malformed(s, time, link, "clock", out);
    s->reports++;
    if (knows_more_of_us(s, peer)) {
        /* An older state of itself, this store: the hello decides (greet.c). */
        sync_link_end(s, time, link, "knows operations of ours that we do not", out);
        return false;
    }
    uint64_t own = clock_get(&peer->clock, &peer->id), ours = clock_get(&peer->clock, &s->id);
    if (own > peer->told)
        peer->told = own;
    if (ours > s->twin.known)
        s->twin.known = ours;
    bool was_walking = peer->walking;
    peer->walking = flags & SYNC_WALKING;
    if (was_walking && !peer->walking)
        clock_copy(&link->sent, &peer->clock); /* what it was sent while it walked it did not take */
    send_pump(s, time, link, out);
    return true;
}

static bool take_want(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                      struct effects *out)
{
    struct replica_id origin;
    uint64_t from;
    if (frame_get_want(frame->body, &origin, &from) != OK)
        return malformed(s, time, link, "want", out);
    if (!replica_id_equal(&origin, &s->id) && !link_want(link, &origin))
        return true;
    if (replica_id_equal(&origin, &s->id))
        link->ahead_digest = 0; /* and what was found early, again: it may not have been stored */
    clock_set(&link->sent, &origin, from);
    send_pump(s, time, link, out);
    return true;
}

static bool take_unwant(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                        struct effects *out)
{
    struct replica_id origin;
    if (frame_get_unwant(frame->body, &origin) != OK)
        return malformed(s, time, link, "unwant", out);
    link_unwant(link, &origin);
    return true;
}

enum traffic receive_traffic_of(enum frame_type type)
{
    switch (type) {
    case FRAME_ROWS:
    case FRAME_AHEAD:
        return TRAFFIC_DELTA;
    case FRAME_WALK_PIECE:
    case FRAME_WALK_ROWS:
        return TRAFFIC_WALK;
    default:
        return TRAFFIC_OTHER;
    }
}

/* A peer's record, in the place of a damaged one or to make both the same: with what others have
 * written since. While that is not applied here it is passed over, and comes again. */
static bool brings_record(const struct frame *frame)
{
    return frame->type == FRAME_RECORD || frame->type == FRAME_DIVERGED;
}

/* Frames of damaged and differing records, which protocol 3 has. */
static bool take_repair(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                        struct effects *out)
{
    if (link->protocol < 3)
        return false;
    if (s->held_by_hand && brings_record(frame))
        return true;
    switch (frame->type) {
    case FRAME_RECORD_ASK:
        return repair_asked(s, time, link, frame->body, out);
    case FRAME_RECORD:
        return repair_answered(s, time, link, frame, out);
    case FRAME_DIGEST_ASK:
        return digest_asked(s, time, link, frame->body, out);
    case FRAME_DIGEST:
        return digest_answered(s, time, link, frame->body, out);
    default:
        return digest_diverged(s, time, link, frame, out);
    }
}

/* False when the link is gone. */
bool receive_frame(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                   size_t wire, struct effects *out)
{
    if (link->state != LINK_UP) {
        if (frame->type == FRAME_HELLO && link->state == LINK_HELLO) {
            if (!greet_hello(s, time, link, frame->body, out))
                return false;
            past_tell(s, time, link, out); /* before anything of theirs */
            relay_link_up(s, time, link, out);
            retire_tell(s, time, link, out);
            expire_tell(s, time, link, out);
            s->think_at_ms =
                time.now_ms; /* a blank store walks rather than takes all rows: before they come */
            send_pump(s, time, link, out);
            return true;
        }
        if (frame->type == FRAME_REFUSE)
            return greet_refused(s, time, link, frame->body, out);
        s->count.frames_malformed++;
        sync_link_end(s, time, link, "spoke before its hello", out);
        return false;
    }
    switch (frame->type) {
    case FRAME_REFUSE:
        return greet_refused(s, time, link, frame->body, out);
    case FRAME_CLOCK:
        return take_clock(s, time, link, frame, out);
    case FRAME_HEARTBEAT:
        return true;
    case FRAME_ROWS:
    case FRAME_AHEAD:
        return take_rows(s, time, link, frame, out);
    case FRAME_WANT:
        return take_want(s, time, link, frame, out);
    case FRAME_UNWANT:
        return take_unwant(s, time, link, frame, out);
    case FRAME_WALK_ASK:
        serve_ask(s, time, link, frame->body, out);
        return true;
    case FRAME_WALK_MORE:
        serve_more(s, time, link, frame->body, out);
        return true;
    case FRAME_WALK_PIECE:
    case FRAME_WALK_ROWS:
        return fill_piece(s, time, link, frame, wire) || malformed(s, time, link, "walk piece", out);
    case FRAME_WALK_REFUSED:
        fill_refused(s, time, link, frame->body, out);
        return true;
    case FRAME_LEFT:
        return leave_take(s, time, link, out);
    case FRAME_RETIRED: {
        bool gone = false;
        if (!retire_take(s, time, link, frame->body, &gone, out))
            return malformed(s, time, link, "retired", out);
        return !gone;
    }
    case FRAME_PAST:
        return past_take(s, time, link, frame->body, out) || malformed(s, time, link, "past", out);
    case FRAME_TIME:
        return expire_take_time(s, time, link, frame->body, out) || malformed(s, time, link, "time", out);
    case FRAME_FORGET:
        return manual_take_forget(s, time, link, frame->body, out) || malformed(s, time, link, "forget", out);
    case FRAME_RECORD_ASK:
    case FRAME_RECORD:
    case FRAME_DIGEST_ASK:
    case FRAME_DIGEST:
    case FRAME_DIVERGED:
        return take_repair(s, time, link, frame, out) || malformed(s, time, link, "repair", out);
    case FRAME_HELLO:
    case FRAME_TYPES:
        break;
    }
    return malformed(s, time, link, "second hello", out);
}

/* ---- what became of it ---------------------------------------------------------------- */

/* Reads on, unless there is still a reason not to. */
bool receive_resume(struct sync_time time, struct link *link, struct effects *out)
{
    if (!link->paused || !intake_has_room(link) || time.now_ms < link->hold_until_ms)
        return false;
    link->paused = false;
    link->hold_until_ms = 0;
    link->heard_ms = time.now_ms; /* the silence was ours */
    effects_add(out, EFFECT_STREAM_RESUME)->stream = link->stream;
    return true;
}

/* The store has no room or no time: the rows stay at the peer, which is read no
 * more until it is worth asking again; longer each time. */
static void hold(struct sync *s, struct sync_time time, struct link *link, const struct pending *pending,
                 struct effects *out)
{
    uint64_t delay = RETRY_MS;
    for (unsigned i = 0; link && i < link->refusals && delay < HOLD_MAX_MS; i++)
        delay *= 2;
    if (delay > HOLD_MAX_MS)
        delay = HOLD_MAX_MS;
    relay_retry(s, &pending->origin, &pending->peer, time.now_ms + delay);
    if (!link || time.now_ms < link->hold_until_ms)
        return; /* a chunk that was on its way when the first was refused */
    link->refusals++;
    link->hold_until_ms = time.now_ms + delay;
    if (!link->paused)
        effects_add(out, EFFECT_STREAM_PAUSE)->stream = link->stream;
    link->paused = true;
}

static void rows_stored(struct sync *s, struct sync_time time, const struct pending *pending,
                        const struct store_work *work, struct effects *out)
{
    struct link *link = sync_link_find(s, pending->stream);
    if (link && work->err != OK)
        intake_drop_rows(link, &pending->origin); /* they would leave a gap, or be refused too */
    if (link && work->err != OK && work->kind == WORK_AHEAD)
        link->ahead_again_ms = time.now_ms + DAMAGE_RETRY_MS;
    switch (work->err) {
    case OK:
        if (link)
            link->refusals = 0;
        s->progress_ms = time.now_ms;
        if (work->kind == WORK_ROWS)
            relay_moved(s, &pending->origin, time.now_ms);
        if (work->kind == WORK_ROWS)
            relay_held(s, time, &pending->origin, work->rows.held, link, out);
        return;
    case ERR_VERSION: /* nothing more of it can be kept: it stays with the peer */
        s->count.quarantine_full++;
        effects_notice(out, NOTICE_ERROR,
                       "event=quarantine_full node=%s next=\"no link with it for 10 s; a newer program may "
                       "read its records, or Peering.QuarantineMax be raised\"",
                       link && link->peer ? link->peer->name : "gone");
        if (link && link->state == LINK_UP) {
            struct peer *peer = link->peer;
            sync_link_end(s, time, link, "sends records that cannot be read here, and the quarantine is full",
                          out);
            peer->shunned_until_ms = peer->dial_at_ms = time.now_ms + SHUN_MS;
        }
        return;
    case ERR_WALKING: /* asked again when the walk is over */
    case ERR_CLOSED:
        return;
    case ERR_MALFORMED: /* whole frames and records, but not in order: a bug at the peer, or damage */
        s->count.frames_malformed++;
        effects_notice(out, NOTICE_ERROR, "event=rows_malformed node=%s next=\"tries again in 30 s\"",
                       link && link->peer ? link->peer->name : "gone");
        relay_retry(s, &pending->origin, &pending->peer, time.now_ms + DAMAGE_RETRY_MS);
        return;
    case ERR_REFUSED: /* the rows know operations of ours that we do not: the next hello decides */
        if (link && link->state == LINK_UP)
            sync_link_end(s, time, link, "knows operations of ours that we do not", out);
        return;
    case ERR_BEHIND: /* a chunk before it was not taken: from our clock again */
        relay_gap(s, &pending->origin, &pending->peer, time.now_ms);
        return;
    case ERR_DAMAGED:
    case ERR_TOO_LARGE: /* more replicas or versions than there may be: soon asked again it is no less */
        effects_notice(out, NOTICE_ERROR,
                       "event=rows_refused reason=%s next=\"rows behind it wait; tries again in 30 s\"",
                       err_text(work->err));
        relay_retry(s, &pending->origin, &pending->peer, time.now_ms + DAMAGE_RETRY_MS);
        return;
    default: /* no room, no time: the rows are still there at the peer */
        s->count.store_refused++;
        hold(s, time, link, pending, out);
        return;
    }
}

void receive_stored(struct sync *s, struct sync_time time, const struct pending *pending,
                    const struct store_work *work, struct effects *out)
{
    if (pending->taken)
        intake_stored(s, time, pending);
    switch (pending->kind) {
    case PENDING_ROWS:
        rows_stored(s, time, pending, work, out);
        break;
    case PENDING_WALK:
        fill_stored(s, time, pending, work, out);
        break;
    case PENDING_PRUNE:
        forget_stored(s, time, work, out);
        break;
    case PENDING_EXPIRE:
        expire_stored(s, time, work, out);
        break;
    case PENDING_RETIRE:
        retire_stored(s, time, work, out);
        break;
    case PENDING_QUARANTINE:
        if (sync_look(s) == OK)
            relay_released(s, out);
        break;
    case PENDING_NOTES:
        if (work->err == OK)
            break;
        s->count.store_refused++; /* written again with the next change or minute */
        s->known_kept = 0;
        for (size_t i = 0; i < s->peers.count; i++)
            s->peers.list[i]->told_kept = 0;
        break;
    case PENDING_REPAIR:
        repair_stored(s, time, pending, work, out);
        break;
    case PENDING_MEND:
        digest_stored(s, pending, work, out);
        break;
    case PENDING_REIDENTIFY:
    case PENDING_START:
        break; /* sync.c */
    }
    if (!pending->taken)
        return;
    intake_pump(s, time, out);
    struct link *link = sync_link_find(s, pending->stream);
    if (link)
        (void)sync_read_on(s, time, link, out);
}
