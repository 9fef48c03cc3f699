#include "link.h"

#include "check.h"
#include "mem.h"
#include "sync_state.h"

#include <stdio.h>
#include <stdlib.h>

static const bool moves[LINK_STATES][LINK_STATES] = {
    [LINK_DIALING] = {[LINK_HELLO] = true},
    [LINK_HELLO] = {[LINK_UP] = true},
};

void link_move(struct link *link, enum link_state state, uint64_t now_ms)
{
    CHECK(moves[link->state][state]);
    link->state = state;
    link->state_ms = now_ms;
}

bool link_wants(const struct link *link, const struct replica_id *origin)
{
    for (size_t i = 0; i < link->wanted_count; i++)
        if (replica_id_equal(&link->wanted[i], origin))
            return true;
    return false;
}

bool link_want(struct link *link, const struct replica_id *origin)
{
    if (link_wants(link, origin))
        return true;
    if (link->wanted_count == CLOCK_REPLICAS_MAX)
        return false;
    link->wanted = mem_grow(link->wanted, (link->wanted_count + 1) * sizeof *link->wanted);
    link->wanted[link->wanted_count++] = *origin;
    return true;
}

void link_unwant(struct link *link, const struct replica_id *origin)
{
    for (size_t i = 0; i < link->wanted_count; i++) {
        if (replica_id_equal(&link->wanted[i], origin)) {
            link->wanted[i] = link->wanted[--link->wanted_count];
            return;
        }
    }
}

void link_free(struct link *link)
{
    if (!link)
        return;
    buf_done(&link->in);
    buf_done(&link->walk_ask);
    clock_done(&link->sent);
    clock_done(&link->reported);
    clock_done(&link->reported_floor);
    clock_done(&link->target);
    free(link->wanted);
    free(link);
}

/* ---- the table of links -------------------------------------------------------- */

struct link *sync_link_new(struct sync *s, uint64_t stream, bool dialed, uint64_t now_ms)
{
    if (s->link_count == LINKS_MAX)
        return NULL;
    if (s->link_count == s->link_room) {
        s->link_room = s->link_room ? s->link_room * 2 : 8;
        s->links = mem_grow(s->links, s->link_room * sizeof *s->links);
    }
    struct link *link = mem_new(sizeof *link);
    *link = (struct link){.stream = stream, .state = LINK_DIALING, .dialed = dialed};
    link->state_ms = link->heard_ms = link->spoke_ms = now_ms;
    buf_init(&link->in, FRAME_HEADER + FRAME_FIRST_MAX);
    buf_init(&link->walk_ask, FRAME_FIRST_MAX);
    s->links[s->link_count++] = link;
    return link;
}

struct link *sync_link_find(const struct sync *s, uint64_t stream)
{
    for (size_t i = 0; i < s->link_count; i++)
        if (s->links[i]->stream == stream)
            return s->links[i];
    return NULL;
}

/* Off the table and off its peer. */
static void forget_link(struct sync *s, struct sync_time time, struct link *link, const char *why,
                        struct effects *out)
{
    struct peer *peer = link->peer;
    for (size_t i = 0; i < s->link_count; i++) {
        if (s->links[i] == link) {
            s->links[i] = s->links[--s->link_count];
            break;
        }
    }
    fill_link_gone(s, link->stream, time.now_ms);
    if (peer) {
        if (why)
            snprintf(peer->error, sizeof peer->error, "%s", why);
        if (peer->link == link) {
            peer->link = NULL;
            s->alone_since_ms = time.now_ms;
            peer->heard_wall_ms = time.wall_ms;
            sync_save_peer(s, peer, out); /* what it told last is what its next hello is held to */
            peer->dial_at_ms = time.now_ms + DIAL_DELAY_MIN_MS;
        } else if (link->dialed && link->state != LINK_UP) {
            peer->dialing = 0;
            greet_backoff(s, peer, time.now_ms);
        }
    }
    link_free(link);
}

void sync_link_end(struct sync *s, struct sync_time time, struct link *link, const char *why,
                   struct effects *out)
{
    effects_stream_close(out, link->stream);
    forget_link(s, time, link, why, out);
}

void sync_link_lost(struct sync *s, struct sync_time time, struct link *link, const char *why,
                    struct effects *out)
{
    if (s->stopping) {
        /* the links end with us */
    } else if (link->state == LINK_UP && link->peer->link == link) {
        s->count.links_lost++;
        effects_notice(out, NOTICE_WARN, "event=link_lost node=%s reason=%s next=\"dials again\"",
                       link->peer->name, why);
    } else if (link->dialed && link->peer && link->peer->dial_failures == 0) {
        effects_notice(out, NOTICE_INFO, "event=link_failed node=%s at=%s reason=%s next=\"tries again\"",
                       link->peer->name, link->peer->ingress, why);
    }
    forget_link(s, time, link, why, out);
}

void sync_link_send(struct sync *s, struct link *link, uint64_t now_ms, struct buf *frames,
                    struct effects *out)
{
    if (frames->err != OK) { /* no memory: the peer's cursor simply lags */
        buf_done(frames);
        return;
    }
    s->count.bytes_out += frames->len;
    if (link->peer)
        link->peer->bytes_out += frames->len;
    link->queued += frames->len;
    link->spoke_ms = now_ms;
    effects_stream_send(out, link->stream, frames);
}
