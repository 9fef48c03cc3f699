/* Leaving for good, and coming back.
 *
 * Who leaves says so on its links (LEFT), and ends them. Those that were away at that moment
 * hear it from the others, with what goes round of its past (past.c): that it left *while these
 * were its starts*. That is true whoever hears of it, at any time, as a return begins with a start
 * of its own, as a restart does: no link is made or accepted before that is durable. So who
 * knows of the later start knows that an older tale is over, and no clock is asked.
 *
 * What is safe does not depend on it, only who is waited for. */
#include "sync_state.h"

void sync_leave(struct sync *s, struct sync_time time, struct effects *out)
{
    s->left = true;
    s->returning = false;
    s->reports++;
    while (s->link_count) {
        struct link *link = s->links[s->link_count - 1];
        if (link->state == LINK_UP) {
            struct buf frame;
            buf_init(&frame, FRAME_HEADER);
            frame_put_empty(&frame, FRAME_LEFT);
            sync_link_send(s, link, time.now_ms, &frame, out);
        }
        sync_link_end(s, time, link, NULL, out);
    }
    if (sync_walking(s) && !s->walk_works)
        fill_stop(s, out);
}

bool leave_take(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    struct peer *peer = link->peer;
    if (peer->starts.total != link->life) { /* of another life than the one that is known by now */
        sync_link_end(s, time, link, "left for good, and is back", out);
        return false;
    }
    peer->departed = true;
    peer->member = false; /* membership will say so, too */
    s->reports++;
    effects_notice(out, NOTICE_INFO, "event=peer_left node=%s next=\"does not expect it back\"", peer->name);
    sync_save_peer(s, peer, out);
    sync_link_end(s, time, link, "left for good", out);
    past_tell_of(s, time, peer, out);
    return false;
}

/* ---- coming back ----------------------------------------------------------------------- */

static void begin(struct sync *s, struct effects *out)
{
    struct store_work *work = store_work_new(WORK_START);
    work->start.random = rng_next(&s->rng);
    s->starting = true;
    sync_submit(s, work, (struct pending){.kind = PENDING_START}, out);
}

void sync_return(struct sync *s, struct sync_time time, struct effects *out)
{
    s->returning = true;
    s->return_waits_for = OK;
    s->reports++;
    s->return_at_ms = time.now_ms;
    if (!s->starting)
        begin(s, out);
}

void leave_stored(struct sync *s, struct sync_time time, const struct store_work *work, struct effects *out)
{
    enum err err = work->err == OK ? sync_read_identity(s) : work->err;
    s->starting = false;
    if (!s->returning)
        return; /* it has left again */
    if (err != OK) {
        s->return_at_ms = time.now_ms + RETRY_MS;
        if (err != s->return_waits_for)
            effects_notice(out, NOTICE_WARN, "event=return_waits reason=%s next=\"tries again each second\"",
                           err_text(err));
        s->return_waits_for = err;
        return;
    }
    s->returning = s->left = false;
    s->reports++;
    for (size_t i = 0; i < s->peers.count; i++)
        s->peers.list[i]->dial_at_ms = time.now_ms;
}

void leave_tick(struct sync *s, struct sync_time time, struct effects *out)
{
    if (s->returning && !s->starting && time.now_ms >= s->return_at_ms)
        begin(s, out);
}

uint64_t leave_deadline(const struct sync *s)
{
    return s->returning && !s->starting ? s->return_at_ms : UINT64_MAX;
}
