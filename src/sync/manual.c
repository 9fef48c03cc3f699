/* What an operator may do by hand: stop the applying of remote writes and let it go
 * on; let go of a replica that holds forgetting open. (Ending an id: retire.c.) */
#include "sync_state.h"

/* ---- pause ---------------------------------------------------------------------------- */

uint64_t sync_pause(struct sync *s, struct sync_time time, bool on, struct effects *out)
{
    struct store_work *work = store_work_new(WORK_NOTES);
    store_work_add_note(work, PAUSED_NOTE, on ? bytes_str("1") : bytes_of(NULL, 0));
    if (on != s->held_by_hand)
        effects_notice(out, NOTICE_WARN, "event=%s next=%s", on ? "paused" : "resumed",
                       on ? "remote writes wait until POST /cluster/resume, also over restarts"
                          : "remote writes are applied again");
    s->held_by_hand = on;
    uint64_t ticket = sync_submit(s, work, (struct pending){.kind = PENDING_NOTES}, out);
    if (!on) {
        s->think_at_ms = s->walk_heard_ms = time.now_ms;
        intake_pump(s, time, out);
    }
    return ticket;
}

bool sync_is_paused(const struct sync *s)
{
    return s->held_by_hand;
}

/* ---- forget ---------------------------------------------------------------------------- */

/* By its id, or by the member name under which it was last heard of. */
bool sync_find_replica(const struct sync *s, const char *text, struct replica_id *ret)
{
    if (replica_id_parse(bytes_str(text), ret) == OK)
        return true;
    for (size_t i = 0; i < s->peers.count; i++) {
        if (s->peers.list[i]->name[0] && strcmp(s->peers.list[i]->name, text) == 0) {
            *ret = s->peers.list[i]->id;
            return true;
        }
    }
    return false;
}

static uint64_t let_go(struct sync *s, struct sync_time time, struct peer *peer, const char *by,
                       struct effects *out)
{
    char uuid[REPLICA_ID_TEXT];
    peer->forgotten = true;
    s->prune_at_ms = time.now_ms;
    effects_notice(
        out, NOTICE_WARN,
        "event=replica_forgotten node=%s by=%s next=\"is not expected back; its return is a walk\"",
        peer->name[0] ? peer->name : replica_id_text(&peer->id, uuid), by);
    return sync_save_peer(s, peer, out);
}

enum err sync_forget(struct sync *s, struct sync_time time, const struct replica_id *id, const char **ret_why,
                     uint64_t *ret_ticket, struct effects *out)
{
    struct peer *peer = peers_find(&s->peers, id);
    *ret_ticket = 0;
    if (!peer || replica_id_equal(id, &s->id)) {
        *ret_why = "no such replica is known here";
        return ERR_NOT_FOUND;
    }
    if (peer->link) {
        *ret_why = "that replica is connected: what it lacks is on its way";
        return ERR_CONFLICT;
    }
    *ret_ticket = let_go(s, time, peer, "operator", out);
    for (size_t i = 0; i < s->link_count; i++) {
        struct buf frame;
        if (s->links[i]->state != LINK_UP || s->links[i]->protocol < 3)
            continue;
        buf_init(&frame, FRAME_HEADER + REPLICA_ID_SIZE);
        frame_put_forget(&frame, id);
        sync_link_send(s, s->links[i], time.now_ms, &frame, out);
    }
    return OK;
}

bool manual_take_forget(struct sync *s, struct sync_time time, const struct link *link, struct bytes body,
                        struct effects *out)
{
    struct replica_id id;
    if (frame_get_forget(body, &id) != OK)
        return false;
    struct peer *peer = peers_find(&s->peers, &id);
    if (peer && !peer->link && !peer->forgotten && !replica_id_equal(&id, &s->id))
        (void)let_go(s, time, peer, link->peer->name, out);
    return true;
}
