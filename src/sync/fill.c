/* Walks: being filled in key order, and filling others.
 *
 * The receiver decides. It walks when a peer has what it lacks, its clock is not
 * at or above that peer's floor, and no peer in reach that can serve a delta is
 * still raising its clock; from the peer with the highest clock. It asks for one
 * piece after another and stores each; the store keeps how far it came, so that
 * neither a restart nor another source begins anew. A source only answers: each
 * piece is a fresh snapshot, and it refuses when its clock does not cover those
 * of the pieces before. */
#include "check.h"
#include "sync_state.h"

#include <stdlib.h>

static const struct chunk_limits limits = {.entries = CHUNK_ENTRIES, .bytes = CHUNK_BYTES};

/* ---- when, and from whom --------------------------------------------------------- */

static bool can_serve_delta(const struct sync *s, const struct link *link)
{
    return link->state == LINK_UP && !link->peer->walking && clock_covers(&s->clock, &link->peer->floor);
}

static bool has_what_we_lack(const struct sync *s, const struct link *link)
{
    return link->state == LINK_UP && !clock_covers(&s->clock, &link->peer->clock);
}

/* A store that knows no operation but its own is filled faster by a walk than by
 * all the rows there ever were. */
static bool is_blank(const struct clock *clock, const struct replica_id *id, const struct clock *source)
{
    for (size_t i = 0; i < clock->count; i++)
        if (!replica_id_equal(&clock->entries[i].replica, id))
            return false;
    return clock_sum(source) > WALK_WORTH;
}

/* Whoever would walk from us as we would from it: the smaller id walks first. */
static bool must_give_way(const struct sync *s, const struct link *link)
{
    const struct peer *peer = link->peer;
    bool mutual = !clock_covers(&peer->clock, &s->clock) &&
                  (!clock_covers(&peer->clock, &s->floor) || is_blank(&peer->clock, &peer->id, &s->clock));
    return mutual && replica_id_compare(&s->id, &peer->id) > 0;
}

static struct link *source_to_begin_with(const struct sync *s, struct sync_time time)
{
    struct link *best = NULL;
    bool delta_moves = false;
    for (size_t i = 0; i < s->link_count; i++) {
        struct link *link = s->links[i];
        if (!has_what_we_lack(s, link) || link->peer->walking)
            continue;
        if (can_serve_delta(s, link) && !is_blank(&s->clock, &s->id, &link->peer->clock)) {
            delta_moves = true;
            continue;
        }
        if (!must_give_way(s, link) &&
            (!best || clock_sum(&link->peer->clock) > clock_sum(&best->peer->clock)))
            best = link;
    }
    if (delta_moves && time.now_ms < s->progress_ms + WALK_PATIENCE_MS)
        return NULL;
    if (delta_moves && time.now_ms < s->lacking_ms + WALK_PATIENCE_MS)
        return NULL;
    return best;
}

/* *ret_later: there is a source that will do, after a while. */
static struct link *source_to_go_on_with(const struct sync *s, uint64_t now_ms, bool *ret_later)
{
    struct link *best = NULL;
    *ret_later = false;
    for (size_t i = 0; i < s->link_count; i++) {
        struct link *link = s->links[i];
        if (link->state != LINK_UP || link->peer->walking || !clock_covers(&link->peer->clock, &s->walk.last))
            continue;
        if (now_ms < link->no_walk_until_ms) {
            *ret_later = true;
            continue;
        }
        if (link->stream == s->walk_stream)
            return link; /* the one we had */
        if (!best || clock_sum(&link->peer->clock) > clock_sum(&best->peer->clock))
            best = link;
    }
    return best;
}

static bool all_walk_and_we_are_last(const struct sync *s)
{
    size_t up = 0;
    for (size_t i = 0; i < s->link_count; i++) {
        const struct link *link = s->links[i];
        if (link->state != LINK_UP)
            continue;
        up++;
        if (!link->peer->walking || replica_id_compare(&s->id, &link->peer->id) < 0)
            return false;
    }
    return up > 0;
}

/* ---- receiving ---------------------------------------------------------------------- */

static void start(struct sync *s, struct link *link, const char *why, struct effects *out)
{
    struct store_work *work = store_work_new(WORK_WALK_START);
    s->walk_stream = link->stream;
    s->walk_storing = true;
    s->count.walks_started++;
    effects_notice(out, NOTICE_INFO, "event=walk_started source=%s reason=%s", link->peer->name, why);
    sync_submit(s, work,
                (struct pending){.kind = PENDING_WALK, .stream = link->stream, .peer = link->peer->id}, out);
}

static void ask(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    struct walk_ask ask = {
        .serial = s->walk.serial,
        .phase = s->walk.phase,
        .after = bytes_of(s->walk.after, s->walk.after_len),
        .row_after = s->walk.row_after,
        .last = s->walk.last, /* borrowed */
    };
    struct buf frame;
    buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
    frame_put_walk_ask(&frame, &ask);
    if (s->walk_stream != link->stream)
        effects_notice(out, NOTICE_INFO, "event=walk_goes_on source=%s keys_done=%llu", link->peer->name,
                       (unsigned long long)s->walk.keys_done);
    s->walk_stream = link->stream;
    s->walk_asked_ms = time.now_ms;
    s->walk_source_ms = 0;
    sync_link_send(s, link, time.now_ms, &frame, out);
}

void fill_stop(struct sync *s, struct effects *out)
{
    struct store_work *work = store_work_new(WORK_WALK_STOP);
    work->rows.serial = s->walk.serial;
    s->walk_storing = true;
    sync_submit(s, work, (struct pending){.kind = PENDING_WALK}, out);
}

/* No more from this source for a while: another one, if there is one. */
static void avoid_source(struct sync *s, struct sync_time time, uint64_t for_ms)
{
    struct link *link = sync_link_find(s, s->walk_stream);
    if (link)
        link->no_walk_until_ms = time.now_ms + for_ms;
    s->walk_asked_ms = 0;
    s->walk_stream = 0;
}

/* Has the source that was asked had its time? */
static bool give_up_source(struct sync *s, struct sync_time time, struct effects *out)
{
    struct link *link = sync_link_find(s, s->walk_stream);
    CHECK(link); /* fill_link_gone */
    uint64_t since = link->in.len && link->heard_ms > s->walk_asked_ms ? link->heard_ms : s->walk_asked_ms;
    if (time.now_ms < since + WALK_ANSWER_MS)
        return false;
    effects_notice(out, NOTICE_WARN, "event=walk_source_silent source=%s next=\"asks another\"",
                   link->peer->name);
    avoid_source(s, time, DAMAGE_RETRY_MS);
    return true;
}

void fill_think(struct sync *s, struct sync_time time, struct effects *out)
{
    if (s->walk_storing || s->reidentifying)
        return;
    if (s->left) { /* nobody will fill us: what is here is served */
        if (sync_walking(s))
            fill_stop(s, out);
        return;
    }
    if (!sync_walking(s)) {
        struct link *link = s->lacking_ms ? source_to_begin_with(s, time) : NULL;
        if (link)
            start(s, link,
                  is_blank(&s->clock, &s->id, &link->peer->clock) ? "new here"
                                                                  : "history is gone at the source",
                  out);
        return;
    }
    if (s->walk_asked_ms && !give_up_source(s, time, out))
        return; /* an answer, or the link's end, will come */
    bool later;
    struct link *link = source_to_go_on_with(s, time.now_ms, &later);
    if (link) {
        ask(s, time, link, out);
        return;
    }
    if (later) { /* to start over would lead to the same place */
        s->walk_source_ms = 0;
        return;
    }
    if (s->walk_source_ms == 0)
        s->walk_source_ms = time.now_ms;
    if (time.now_ms < s->walk_source_ms + WALK_SOURCE_PATIENCE_MS)
        return;
    if (all_walk_and_we_are_last(s)) { /* each waits for the other: one has to be a source again */
        effects_notice(out, NOTICE_WARN,
                       "event=walk_stopped reason=\"all peers in reach are being filled too\"");
        fill_stop(s, out);
        return;
    }
    for (size_t i = 0; i < s->link_count; i++) { /* nobody left who has seen what the pieces had seen */
        struct link *other = s->links[i];
        if (other->state == LINK_UP && !other->peer->walking) {
            s->count.walks_restarted++;
            s->walk_source_ms = 0;
            start(s, other, "no source has seen what the walk has seen", out);
            return;
        }
    }
}

/* False when the frame is malformed. */
bool fill_piece(struct sync *s, struct link *link, const struct frame *frame, struct effects *out)
{
    struct store_work *work;
    uint64_t keys_total = 0;
    enum err err = frame_get_rows(frame, &work, &keys_total);
    if (err == ERR_NOMEM) {
        s->walk_asked_ms = 0; /* asked again at the next thought */
        return true;
    }
    if (err != OK)
        return false;
    if (!sync_walking(s) || s->walk_storing || link->stream != s->walk_stream || s->walk_asked_ms == 0 ||
        work->rows.serial != s->walk.serial) {
        s->count.rows_skipped += work->rows.count;
        store_work_free(work);
        return true;
    }
    if (frame->type == FRAME_WALK_PIECE)
        s->walk_keys_total = keys_total;
    s->count.pieces_received++;
    s->walk_asked_ms = 0;
    s->walk_storing = true;
    link->peer->rows_in += work->rows.count;
    sync_submit(s, work, (struct pending){.kind = PENDING_WALK, .peer = link->peer->id}, out);
    return true;
}

void fill_refused(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                  struct effects *out)
{
    uint64_t serial;
    struct bytes text;
    if (frame_get_walk_refused(body, &serial, &text) != OK || serial != s->walk.serial ||
        link->stream != s->walk_stream || s->walk_asked_ms == 0)
        return;
    effects_notice(out, NOTICE_INFO, "event=walk_refused source=%s reason=%.*s next=\"asks again\"",
                   link->peer->name, (int)(text.len > 100 ? 100 : text.len), (const char *)text.data);
    avoid_source(s, time, WALK_SOURCE_PATIENCE_MS);
}

static void take_rows_again(struct sync *s, struct sync_time time, struct effects *out)
{
    s->walk_stream = 0;
    /* Peers stopped sending while we walked: from our new clock on, please. */
    for (size_t i = 0; i < s->link_count; i++) {
        if (s->links[i]->state != LINK_UP)
            continue;
        send_report(s, time, s->links[i], out);
        send_want(s, time, s->links[i], &s->links[i]->peer->id, out);
    }
}

void fill_stored(struct sync *s, struct sync_time time, const struct store_work *work, struct effects *out)
{
    bool was_walking = sync_walking(s);
    s->walk_storing = false;
    s->walk_asked_ms = 0;
    if (work->err != OK && work->err != ERR_CLOSED) {
        s->count.store_refused++;
        effects_notice(out, NOTICE_WARN, "event=walk_piece_refused reason=%s next=\"asks again\"",
                       err_text(work->err));
        bool again = work->err == ERR_MALFORMED || work->err == ERR_DAMAGED || work->err == ERR_REFUSED ||
                     work->err == ERR_TOO_LARGE; /* it would be refused as it was */
        if (again && was_walking)
            avoid_source(s, time, DAMAGE_RETRY_MS);
        (void)sync_look(s); /* a part of the piece may have been taken */
        s->think_at_ms = time.now_ms + RETRY_MS;
        return;
    }
    s->progress_ms = time.now_ms;
    if (sync_look(s) != OK)
        return;
    if (!was_walking && sync_walking(s)) /* peers need not send what would be refused */
        for (size_t i = 0; i < s->link_count; i++)
            send_report(s, time, s->links[i], out);
    if (was_walking && !sync_walking(s)) {
        if (work->kind == WORK_WALK_ROWS) {
            s->count.walks_finished++;
            s->rows_below_floor = true;
            effects_notice(out, NOTICE_INFO, "event=walk_finished");
        }
        take_rows_again(s, time, out);
    }
    fill_think(s, time, out);
}

void fill_link_gone(struct sync *s, uint64_t stream, uint64_t now_ms)
{
    if (s->walk_stream == stream) {
        s->walk_stream = 0;
        s->walk_asked_ms = 0;
        s->think_at_ms = now_ms;
    }
}

/* ---- serving ---------------------------------------------------------------------------- */

static void answer(struct sync *s, struct sync_time time, struct link *link, const struct walk_ask *ask,
                   struct effects *out)
{
    struct snapshot *snapshot;
    struct clock clock = {0};
    struct buf frame;
    const char *refusal = NULL;
    buf_init(&frame, FRAME_HEADER + FRAME_MAX);
    if (snapshot_open(s->store, &snapshot) != OK) {
        refusal = "the store cannot be read";
    } else {
        if (snapshot_clock(snapshot, &clock, NULL) != OK)
            refusal = "the store cannot be read";
        else if (!clock_covers(&clock, &ask->last))
            refusal = "has not seen what the pieces before had seen";
        else if (chunk_walk(snapshot, ask, &limits, &frame) != OK)
            refusal = "met a record or row that it cannot read";
        snapshot_close(snapshot);
    }
    if (refusal) {
        buf_reset(&frame);
        frame_put_walk_refused(&frame, ask->serial, refusal);
    } else {
        s->count.pieces_sent++;
    }
    sync_link_send(s, link, time.now_ms, &frame, out);
    clock_done(&clock);
}

void fill_serve_waiting(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    struct buf ask = link->walk_ask;
    if (ask.len == 0 || link->state != LINK_UP)
        return;
    buf_init(&link->walk_ask, FRAME_FIRST_MAX);
    fill_serve(s, time, link, buf_bytes(&ask), out);
    buf_done(&ask);
}

void fill_serve(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                struct effects *out)
{
    struct walk_ask ask = {0};
    if (link->queued >= SEND_QUEUE_HIGH) { /* one question waits; who asks without reading gets no memory */
        buf_reset(&link->walk_ask);
        buf_put_bytes(&link->walk_ask, body);
        return;
    }
    if (frame_get_walk_ask(body, &ask) != OK) {
        s->count.frames_malformed++;
        return;
    }
    if (sync_walking(s)) {
        struct buf frame;
        buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
        frame_put_walk_refused(&frame, ask.serial, "is being filled itself");
        sync_link_send(s, link, time.now_ms, &frame, out);
    } else {
        answer(s, time, link, &ask, out);
    }
    clock_done(&ask.last);
}
