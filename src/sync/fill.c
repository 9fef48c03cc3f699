/* Walks: being filled in key order.
 *
 * The receiver decides. It walks when a peer has what it lacks, its clock is not
 * at or above that peer's floor, and no peer in reach that can serve a delta is
 * still raising its clock; from the peer with the highest clock.
 *
 * One question opens a run: the source streams pieces from there on, a few ahead of
 * what is stored, and each one that is stored lets it send one more. (A source of
 * protocol 1 answers with one piece, and is asked again.) The store takes pieces in
 * order only, and keeps how far it came, so that neither a restart nor another
 * source begins anew. Whatever goes wrong ends the run: what of it is still under
 * way is thrown away, and once the committer has given back what it holds of it,
 * a new question goes out from where the store stands. */
#include "check.h"
#include "sync_state.h"
#include "weaken.h"

#include <stdlib.h>

/* ---- when, and from whom --------------------------------------------------------- */

static bool can_serve_delta(const struct sync *s, const struct link *link)
{
    return link->state == LINK_UP && !link->peer->walking &&
           (clock_covers(&s->clock, &link->peer->floor) || WEAKENED(FLOOR));
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

bool fill_is_expected(const struct sync *s, const struct peer *peer)
{
    return is_blank(&peer->clock, &peer->id, &s->clock);
}

/* Whoever would walk from us as we would from it: the smaller id walks first. */
static bool must_give_way(const struct sync *s, const struct link *link)
{
    const struct peer *peer = link->peer;
    bool mutual = !clock_covers(&peer->clock, &s->clock) &&
                  (!clock_covers(&peer->clock, &s->floor) || is_blank(&peer->clock, &peer->id, &s->clock));
    return mutual && replica_id_compare(&s->id, &peer->id) > 0;
}

static struct link *source_to_begin_with(struct sync *s, struct sync_time time)
{
    struct link *best = NULL;
    bool delta_moves = false;
    for (size_t i = 0; i < s->link_count; i++) {
        struct link *link = s->links[i];
        if (!has_what_we_lack(s, link) || link->peer->walking || link->unproven)
            continue;
        if (can_serve_delta(s, link) && !is_blank(&s->clock, &s->id, &link->peer->clock)) {
            delta_moves = true;
            continue;
        }
        if (retire_explains(s, link, time.now_ms))
            continue;
        if (time.now_ms < link->no_walk_until_ms) /* others cannot give us what only it has */
            continue;
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
        if (link->state != LINK_UP || link->peer->walking || link->unproven ||
            !clock_covers(&link->peer->clock, &s->walk.last))
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

/* All others have left for good, or were let go, or have been away for long: whoever of them
 * comes back begins a walk anew, where one is needed. */
static bool nobody_will_come(const struct sync *s, struct sync_time time)
{
    for (size_t i = 0; i < s->peers.count; i++)
        if (peer_expected(s->peers.list[i], time.wall_ms, s->config.forget_after_ms))
            return false;
    return true;
}

/* ---- asking ------------------------------------------------------------------------- */

static void submit(struct sync *s, struct store_work *work, struct pending pending, struct effects *out)
{
    pending.kind = PENDING_WALK;
    s->walk_works++;
    sync_submit(s, work, pending, out);
}

static void start(struct sync *s, struct link *link, const char *why, struct effects *out)
{
    s->walk_stream = link->stream;
    s->count.walks_started++;
    s->progress.on = false;
    for (size_t i = 0; i < s->link_count; i++) /* rows would only be refused */
        intake_clear(s->links[i]);
    effects_notice(out, NOTICE_INFO, "event=walk_started source=%s reason=%s", link->peer->name, why);
    submit(s, store_work_new(WORK_WALK_START),
           (struct pending){.stream = link->stream, .peer = link->peer->id}, out);
}

static void ask(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    struct walk_ask ask = {
        .run = ++s->walk_last_run,
        .place = {.phase = s->walk.phase, .after_len = s->walk.after_len, .row_after = s->walk.row_after},
        .last = s->walk.last, /* borrowed */
        .ahead = link->protocol >= 2 ? WALK_AHEAD : 1,
    };
    struct buf frame;
    memcpy(ask.place.after, s->walk.after, s->walk.after_len);
    buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
    frame_put_walk_ask(&frame, &ask);
    if (s->walk_stream != link->stream)
        effects_notice(out, NOTICE_INFO, "event=walk_goes_on source=%s keys_done=%llu", link->peer->name,
                       (unsigned long long)s->walk.keys_done);
    s->walk_stream = link->stream;
    s->walk_run = ask.run;
    s->walk_ahead = ask.ahead;
    s->walk_refused = false;
    s->walk_heard_ms = time.now_ms;
    s->walk_source_ms = 0;
    progress_start(s, time.now_ms);
    sync_link_send(s, link, time.now_ms, &frame, out);
}

/* A piece has been stored: the source may send another one. */
static void ask_more(struct sync *s, struct sync_time time, struct effects *out)
{
    struct link *link = sync_link_find(s, s->walk_stream);
    CHECK(link); /* fill_link_gone */
    if (link->protocol < 2) {
        s->walk_run = 0; /* the next thought asks */
        return;
    }
    struct buf frame;
    buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
    frame_put_walk_more(&frame, s->walk_run, 1);
    s->walk_ahead++;
    sync_link_send(s, link, time.now_ms, &frame, out);
}

void fill_stop(struct sync *s, struct effects *out)
{
    struct store_work *work = store_work_new(WORK_WALK_STOP);
    work->rows.serial = s->walk.serial;
    submit(s, work, (struct pending){0}, out);
}

/* What is under way of it is for nobody any more. */
static void end_run(struct sync *s)
{
    struct link *link = sync_link_find(s, s->walk_stream);
    if (link)
        intake_drop_walk(link);
    s->walk_run = 0;
    s->walk_ahead = 0;
    s->walk_refused = false;
}

/* No more from this source for a while: another one, if there is one. */
static void avoid_source(struct sync *s, struct sync_time time, uint64_t for_ms)
{
    struct link *link = sync_link_find(s, s->walk_stream);
    if (link)
        link->no_walk_until_ms = time.now_ms + for_ms;
    end_run(s);
    s->walk_stream = 0;
}

/* Has the source that was asked had its time? */
static bool give_up_source(struct sync *s, struct sync_time time, struct effects *out)
{
    struct link *link = sync_link_find(s, s->walk_stream);
    CHECK(link);                                          /* fill_link_gone */
    if (s->walk_works || link->waiting || link->paused) { /* it is we who are slow */
        s->walk_heard_ms = time.now_ms;
        return false;
    }
    if (s->walk_refused) { /* and all that came before is stored */
        end_run(s);
        s->walk_stream = 0;
        return true;
    }
    uint64_t since = link->in.len && link->heard_ms > s->walk_heard_ms ? link->heard_ms : s->walk_heard_ms;
    if (time.now_ms < since + WALK_ANSWER_MS)
        return false;
    effects_notice(out, NOTICE_WARN, "event=walk_source_silent source=%s next=\"asks another\"",
                   link->peer->name);
    avoid_source(s, time, DAMAGE_RETRY_MS);
    return true;
}

void fill_think(struct sync *s, struct sync_time time, struct effects *out)
{
    if (s->reidentifying || s->held_by_hand)
        return;
    if (s->left) { /* nobody will fill us: what is here is served */
        if (sync_walking(s) && !s->walk_works)
            fill_stop(s, out);
        return;
    }
    if (s->walk_run) {
        if (!give_up_source(s, time, out)) {
            progress_tell(s, time.now_ms, out);
            return; /* an answer, or the link's end, will come */
        }
    }
    if (s->walk_works || time.now_ms < s->walk_retry_ms)
        return;
    if (!sync_walking(s)) {
        if (s->retiring)
            return; /* our own floor is about to rise with the others' */
        struct link *link = s->lacking_ms ? source_to_begin_with(s, time) : NULL;
        if (link)
            start(s, link,
                  is_blank(&s->clock, &s->id, &link->peer->clock) ? "new here"
                                                                  : "history is gone at the source",
                  out);
        return;
    }
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
    if (time.now_ms >= s->walk_source_ms + WALK_ANSWER_MS &&
        nobody_will_come(s, time)) { /* what is here is served, and history goes on */
        effects_notice(out, NOTICE_WARN,
                       "event=walk_stopped reason=\"nobody is left who could go on with it\"");
        fill_stop(s, out);
        return;
    }
    for (size_t i = 0; i < s->link_count; i++) { /* nobody left who has seen what the pieces had seen */
        struct link *other = s->links[i];
        if (other->state == LINK_UP && !other->peer->walking && !other->unproven) {
            s->count.walks_restarted++;
            s->walk_source_ms = 0;
            start(s, other, "no source has seen what the walk has seen", out);
            return;
        }
    }
}

/* ---- receiving ---------------------------------------------------------------------- */

/* False when the frame is malformed. */
bool fill_piece(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                size_t wire)
{
    struct store_work *work;
    uint64_t keys_total = 0;
    enum err err = frame_get_rows(frame, &work, &keys_total);
    if (err == ERR_NOMEM) {
        if (link->stream == s->walk_stream)
            end_run(s); /* asked again at the next thought */
        return true;
    }
    if (err != OK)
        return false;
    if (!s->walk_run || link->stream != s->walk_stream || work->rows.serial != s->walk_run ||
        s->walk_ahead == 0) { /* of an earlier run, or more than was asked for */
        s->count.rows_skipped += work->rows.count;
        store_work_free(work);
        return true;
    }
    if (frame->type == FRAME_WALK_PIECE)
        s->walk_keys_total = keys_total;
    uint64_t own = clock_get(&work->rows.source_clock, &link->peer->id);
    if (own > link->peer->told) /* it may be faster than its reports */
        link->peer->told = own;
    s->count.pieces_received++;
    s->walk_ahead--;
    s->walk_heard_ms = time.now_ms;
    work->rows.serial = s->walk.serial;
    link->peer->rows_in += work->rows.count;
    progress_piece(s, time.now_ms, work, wire);
    intake_take(link, work, s->walk_run);
    return true;
}

void fill_refused(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                  struct effects *out)
{
    uint64_t run;
    struct bytes text;
    if (frame_get_walk_refused(body, &run, &text) != OK || run != s->walk_run || !s->walk_run ||
        link->stream != s->walk_stream)
        return;
    effects_notice(out, NOTICE_INFO, "event=walk_refused source=%s reason=%.*s next=\"asks again\"",
                   link->peer->name, (int)(text.len > 100 ? 100 : text.len), (const char *)text.data);
    link->no_walk_until_ms = time.now_ms + WALK_SOURCE_PATIENCE_MS;
    search_for_walk(s); /* what would stand in its way here is found meanwhile */
    s->walk_refused = true;
    s->walk_ahead = 0;
    s->think_at_ms = time.now_ms;
}

static void take_rows_again(struct sync *s, struct sync_time time, struct effects *out)
{
    end_run(s);
    s->walk_stream = 0;
    /* Peers stopped sending while we walked: from our new clock on, please. */
    for (size_t i = 0; i < s->link_count; i++) {
        if (s->links[i]->state != LINK_UP)
            continue;
        send_report(s, time, s->links[i], out);
        send_want(s, time, s->links[i], &s->links[i]->peer->id, out);
    }
}

static void not_stored(struct sync *s, struct sync_time time, const struct store_work *work,
                       struct effects *out)
{
    s->count.store_refused++;
    effects_notice(out, NOTICE_WARN, "event=walk_piece_refused reason=%s next=\"asks again\"",
                   err_text(work->err));
    bool again = work->err == ERR_MALFORMED || work->err == ERR_DAMAGED || work->err == ERR_REFUSED ||
                 work->err == ERR_TOO_LARGE; /* it would be refused as it was */
    if (again && sync_walking(s))
        avoid_source(s, time, DAMAGE_RETRY_MS);
    end_run(s);
    (void)sync_look(s); /* a part of the piece may have been taken */
    uint64_t delay = RETRY_MS << (s->walk_refusals < 3 ? s->walk_refusals : 3);
    s->walk_refusals++;
    s->walk_retry_ms = time.now_ms + (delay < HOLD_MAX_MS ? delay : HOLD_MAX_MS);
}

/* A piece with many keys of ours in between may not fit one transaction: the walk
 * then stands before its end. */
static bool is_incomplete(const struct sync *s, const struct store_work *work)
{
    const struct rows_work *rows = &work->rows;
    return work->kind == WORK_WALK_PIECE && s->walk.phase == WALK_RECORDS &&
           (rows->last || bytes_compare(bytes_of(s->walk.after, s->walk.after_len),
                                        bytes_of(rows->through, rows->through_len)) < 0);
}

static void finished(struct sync *s, struct sync_time time, const struct store_work *work,
                     struct effects *out)
{
    bool whole = work->kind == WORK_WALK_ROWS;
    if (whole) {
        s->count.walks_finished++;
        s->rows_below_floor = true;
    }
    progress_end(s, time.now_ms, whole ? "walk_finished" : "walk_ended", out);
    take_rows_again(s, time, out);
}

void fill_stored(struct sync *s, struct sync_time time, const struct pending *pending,
                 const struct store_work *work, struct effects *out)
{
    bool was_walking = s->walk_open;
    if (!pending->taken) {
        CHECK(s->walk_works > 0);
        s->walk_works--;
    } else if (pending->run != s->walk_run) { /* behind one that was not stored, or ended with its link */
        (void)sync_look(s);
        if (work->err == OK)
            s->progress_ms = time.now_ms;
        if (was_walking && !sync_walking(s))
            finished(s, time, work, out);
        s->walk_open = sync_walking(s);
        fill_think(s, time, out);
        return;
    }
    if (work->err != OK && work->err != ERR_CLOSED) {
        not_stored(s, time, work, out);
        return;
    }
    s->progress_ms = time.now_ms;
    s->walk_refusals = 0;
    if (sync_look(s) != OK)
        return;
    s->walk_open = sync_walking(s);
    if (sync_walking(s))
        s->progress.keys = s->walk.keys_done;
    if (!was_walking && sync_walking(s)) /* peers need not send what would be refused */
        for (size_t i = 0; i < s->link_count; i++)
            send_report(s, time, s->links[i], out);
    if (was_walking && !sync_walking(s))
        finished(s, time, work, out);
    else if (pending->taken && is_incomplete(s, work))
        end_run(s);
    else if (pending->final && s->walk_run && !s->walk_refused)
        ask_more(s, time, out);
    fill_think(s, time, out);
}

void fill_link_gone(struct sync *s, uint64_t stream, uint64_t now_ms)
{
    if (s->walk_stream == stream) {
        end_run(s);
        s->walk_stream = 0;
        s->think_at_ms = now_ms;
    }
}
