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
    intake_clear(link);
    clock_done(&link->serving.last);
    clock_done(&link->sent);
    clock_done(&link->reported);
    clock_done(&link->reported_floor);
    clock_done(&link->target);
    clock_done(&link->goal);
    free(link->wanted);
    free(link->retired);
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
    link->waiting_end = &link->waiting;
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

/* ---- sending on one ---------------------------------------------------------------- */

static void send_counted(struct sync *s, struct link *link, uint64_t now_ms, struct buf *frame, size_t raw,
                         enum traffic traffic, struct effects *out)
{
    if (frame->err != OK) { /* no memory: the peer's cursor simply lags */
        buf_done(frame);
        return;
    }
    traffic_add(&s->count.out, traffic, frame->len, raw);
    if (link->peer) {
        link->peer->bytes_out += frame->len;
        traffic_add(&link->peer->out, traffic, frame->len, raw);
    }
    link->queued += frame->len;
    link->spoke_ms = now_ms;
    effects_stream_send(out, link->stream, frame);
}

void sync_link_send(struct sync *s, struct link *link, uint64_t now_ms, struct buf *frame,
                    struct effects *out)
{
    send_counted(s, link, now_ms, frame, frame->len, TRAFFIC_OTHER, out);
}

static bool tries_to_squeeze(const struct sync *s, struct link *link, enum traffic traffic, size_t bytes)
{
    size_t least = traffic == TRAFFIC_WALK ? SQUEEZE_WALK_MIN : SQUEEZE_DELTA_MIN;
    return link->protocol >= 2 && squeeze_is_on(s->squeeze) && bytes >= least && bytes <= SQUEEZE_MAX &&
           !(s->config.compression == SQUEEZE_AUTO && dull_skips(&link->dull, bytes));
}

static void told_whether_it_shrank(struct sync *s, struct link *link, bool shrank)
{
    dull_tell(&link->dull, shrank);
    if (shrank)
        s->count.frames_packed++;
    else
        s->count.frames_dull++;
}

void sync_link_send_bulk(struct sync *s, struct link *link, uint64_t now_ms, enum traffic traffic,
                         struct buf *frame, struct effects *out)
{
    struct buf packed;
    size_t raw = frame->len;
    if (frame->err == OK && tries_to_squeeze(s, link, traffic, raw)) {
        buf_init(&packed, raw + FRAME_HEADER);
        bool shrank = squeeze_frame(s->squeeze, buf_bytes(frame), &packed);
        told_whether_it_shrank(s, link, shrank);
        if (shrank) {
            buf_done(frame);
            *frame = packed;
        } else {
            buf_done(&packed);
        }
    }
    send_counted(s, link, now_ms, frame, raw, traffic, out);
}

void sync_link_send_cached(struct sync *s, struct link *link, uint64_t now_ms, struct cached *cached,
                           struct effects *out)
{
    struct bytes raw = buf_bytes(&cached->frame), sent = raw;
    if (tries_to_squeeze(s, link, TRAFFIC_DELTA, raw.len)) {
        struct bytes packed = cache_packed(&s->cache, cached, s->squeeze);
        told_whether_it_shrank(s, link, packed.len > 0);
        if (packed.len)
            sent = packed;
    }
    struct buf copy;
    buf_init(&copy, sent.len);
    buf_reserve(&copy, sent.len);
    buf_put_bytes(&copy, sent);
    send_counted(s, link, now_ms, &copy, raw.len, TRAFFIC_DELTA, out);
}
