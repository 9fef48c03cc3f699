/* Walks: being filled in key order, and filling others.
 *
 * The receiver decides. It walks when a peer has what it lacks, its clock is not
 * at or above that peer's floor, and no peer in reach that can serve a delta is
 * still raising its clock; from the peer with the highest clock. It asks for one
 * piece after another and stores each; the store keeps how far it came, so that
 * neither a restart nor another source begins anew. A source only answers: each
 * piece is a fresh snapshot, and it refuses when its clock does not cover those
 * of the pieces before. */
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

static struct link *source_to_go_on_with(const struct sync *s)
{
    struct link *best = NULL;
    for (size_t i = 0; i < s->link_count; i++) {
        struct link *link = s->links[i];
        if (link->state != LINK_UP || link->peer->walking || !clock_covers(&link->peer->clock, &s->walk.last))
            continue;
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

void fill_think(struct sync *s, struct sync_time time, struct effects *out)
{
    if (s->walk_storing || s->reidentifying || s->left)
        return;
    if (!sync_walking(s)) {
        struct link *link = s->lacking_ms ? source_to_begin_with(s, time) : NULL;
        if (link)
            start(s, link,
                  is_blank(&s->clock, &s->id, &link->peer->clock) ? "new here"
                                                                  : "history is gone at the source",
                  out);
        return;
    }
    if (s->walk_asked_ms)
        return; /* an answer, or the link's end, will come */
    struct link *link = source_to_go_on_with(s);
    if (link) {
        ask(s, time, link, out);
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
bool fill_piece(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                struct effects *out)
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
    (void)time;
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
    s->walk_asked_ms = 0;
    s->walk_stream = 0;
    (void)time;
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

void fill_serve(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                struct effects *out)
{
    struct walk_ask ask = {0};
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
