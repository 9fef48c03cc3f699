/* The frame of replication: events in, handed to the file whose subject they
 * are. See sync.h for the idea. */
#include "check.h"
#include "mem.h"
#include "sync_state.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- making ------------------------------------------------------------------------ */

static void read_peer(void *ctx, struct bytes name, struct bytes value)
{
    struct sync *s = ctx;
    (void)name;
    if (peer_decode(&s->peers, value) != OK)
        s->count.notes_damaged++; /* replaced at its next hello */
}

static void read_told(void *ctx, struct bytes name, struct bytes value)
{
    struct sync *s = ctx;
    (void)name;
    if (told_decode(&s->peers, value) != OK)
        s->count.notes_damaged++;
}

static void read_retired(void *ctx, struct bytes name, struct bytes value)
{
    (void)name;
    retire_read_note(ctx, value);
}

static void read_quarantined(void *ctx, const struct dot *dot)
{
    struct origin *origin = relay_origin(ctx, &dot->replica);
    origin->held = true;
}

static enum err read_hand(struct sync *s, struct snapshot *snapshot)
{
    struct bytes value;
    enum err err = snapshot_note(snapshot, PAUSED_NOTE, &value);
    s->held_by_hand = err == OK;
    twin_read(snapshot, &s->id, &s->twin);
    s->known_kept = s->twin.known;
    if (err == OK || err == ERR_NOT_FOUND)
        err = snapshot_notes(snapshot, RETIRED_NOTE, read_retired, s);
    if (err == OK)
        err = snapshot_quarantine(snapshot, read_quarantined, s);
    return err;
}

static enum err read_identity(struct sync *s, struct snapshot *snapshot)
{
    struct identity identity = {0};
    enum err err = snapshot_identity(snapshot, &identity);
    if (err != OK)
        return err;
    s->id = identity.id;
    s->starts = identity.starts;
    size_t skip = identity.predecessor_count > PREDECESSORS_MAX
                      ? identity.predecessor_count - PREDECESSORS_MAX
                      : 0;
    s->predecessor_count = identity.predecessor_count - skip;
    for (size_t i = 0; i < s->predecessor_count; i++)
        s->predecessors[i] = identity.predecessors[skip + i];
    identity_done(&identity);
    return OK;
}

enum err sync_read_identity(struct sync *s)
{
    struct snapshot *snapshot;
    enum err err = snapshot_open(s->store, &snapshot);
    if (err == OK) {
        err = read_identity(s, snapshot);
        snapshot_close(snapshot);
    }
    return err;
}

bool sync_is_own_id(const struct sync *s, const struct replica_id *id)
{
    for (size_t k = 0; k < s->predecessor_count; k++)
        if (replica_id_equal(id, &s->predecessors[k]))
            return true;
    return replica_id_equal(id, &s->id);
}

/* Our own ids are nobody's peer, and nobody waits for former ones. */
static void drop_own_ids(struct sync *s)
{
    for (size_t i = 0; i < s->peers.count; i++) {
        struct peer *peer = s->peers.list[i];
        if (sync_is_own_id(s, &peer->id)) {
            peer->left = true;
            peer->ingress[0] = 0;
        }
    }
}

enum err sync_look(struct sync *s)
{
    struct snapshot *snapshot;
    enum err err = snapshot_open(s->store, &snapshot);
    if (err != OK)
        return err;
    err = snapshot_clock(snapshot, &s->clock, &s->floor);
    if (err == OK)
        err = snapshot_walk(snapshot, &s->walk);
    snapshot_close(snapshot);
    return err;
}

enum err sync_new(const struct sync_config *config, struct store *store, uint64_t now_ms, struct sync **ret)
{
    struct sync *s = mem_new(sizeof *s);
    struct snapshot *snapshot;
    *s = (struct sync){.config = *config,
                       .store = store,
                       .rng = config->rng,
                       .started_ms = now_ms,
                       .alone_since_ms = now_ms,
                       .space_changed = true,
                       .twin = {UINT64_MAX, UINT64_MAX, 0},
                       .rows_below_floor = true};
    s->squeeze = squeeze_new(config->compression);
    snprintf(s->name, sizeof s->name, "%s", config->name);
    snprintf(s->label, sizeof s->label, "%s", config->label);
    snprintf(s->ingress, sizeof s->ingress, "%s", config->ingress);
    enum err err = snapshot_open(store, &snapshot);
    if (err == OK) {
        err = read_identity(s, snapshot);
        if (err == OK)
            err = snapshot_notes(snapshot, PEER_NOTE, read_peer, s);
        if (err == OK)
            err = snapshot_notes(snapshot, TOLD_NOTE, read_told, s);
        if (err == OK)
            err = read_hand(s, snapshot);
        snapshot_close(snapshot);
    }
    if (err == OK)
        err = sync_look(s);
    if (err != OK) {
        sync_free(s);
        return err;
    }
    drop_own_ids(s);
    s->notes_at_ms = now_ms + PEER_NOTE_MS;
    s->ahead_at_ms = now_ms + AHEAD_MS;
    s->digesting.at_ms = now_ms + DIGEST_REST_MS;
    s->walk_open = sync_walking(s);
    *ret = s;
    return OK;
}

void sync_free(struct sync *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->link_count; i++)
        link_free(s->links[i]);
    free(s->links);
    peers_done(&s->peers);
    history_done(&s->history);
    repairs_done(&s->repairs);
    clock_done(&s->clock);
    clock_done(&s->floor);
    walk_state_done(&s->walk);
    free(s->origins);
    retire_done(s);
    free(s->pending);
    cache_clear(&s->cache);
    squeeze_free(s->squeeze);
    free(s->events);
    free(s);
}

const struct replica_id *sync_id(const struct sync *s)
{
    return &s->id;
}

size_t sync_reported(const struct sync *s, uint64_t wall_ms, uint64_t counters[])
{
    size_t count = 0;
    for (size_t i = 0; i < s->peers.count && !sync_has_left(s); i++)
        if (peer_expected(s->peers.list[i], wall_ms, s->config.forget_after_ms))
            counters[count++] = clock_get(&s->peers.list[i]->clock, &s->id);
    return count;
}

uint64_t sync_reports(const struct sync *s)
{
    return s->reports;
}

void sync_rename(struct sync *s, const char *name)
{
    snprintf(s->name, sizeof s->name, "%s", name);
}

/* ---- work and notes ------------------------------------------------------------------ */

uint64_t sync_submit(struct sync *s, struct store_work *work, struct pending pending, struct effects *out)
{
    pending.ticket = s->config.new_ticket(s->config.ctx);
    if (s->pending_count == s->pending_room) {
        s->pending_room = s->pending_room ? s->pending_room * 2 : 8;
        s->pending = mem_grow(s->pending, s->pending_room * sizeof *s->pending);
    }
    s->pending[s->pending_count++] = pending;
    struct effect *effect = effects_add(out, EFFECT_STORE);
    effect->ticket = pending.ticket;
    effect->work = work;
    return pending.ticket;
}

static const char *note_name(char out[NOTE_NAME_MAX], const char *prefix, const struct replica_id *id)
{
    char uuid[REPLICA_ID_TEXT];
    snprintf(out, NOTE_NAME_MAX, "%s%s", prefix, replica_id_text(id, uuid));
    return out;
}

/* Keeps what is known of a peer, and its member name for readers of versions. */
uint64_t sync_save_peer(struct sync *s, const struct peer *peer, struct effects *out)
{
    struct store_work *work = store_work_new(WORK_NOTES);
    char name[NOTE_NAME_MAX];
    struct buf value;
    buf_init(&value, FRAME_FIRST_MAX);
    peer_encode(peer, &value);
    store_work_add_note(work, note_name(name, PEER_NOTE, &peer->id), buf_bytes(&value));
    if (peer->name[0])
        store_work_add_note(work, note_name(name, PEER_NAME_NOTE, &peer->id), bytes_str(peer->name));
    buf_done(&value);
    return sync_submit(s, work, (struct pending){.kind = PENDING_NOTES}, out);
}

/* Finds or adds. A full table gives up the peer that was not heard of for the
 * longest time, of those that are not expected back; NULL when all are. */
struct peer *sync_peer(struct sync *s, struct sync_time time, const struct replica_id *id,
                       struct effects *out)
{
    struct peer *peer = peers_get(&s->peers, id);
    if (peer)
        return peer;
    struct replica_id gone;
    if (!peers_drop_one(&s->peers, time.wall_ms, s->config.forget_after_ms, &gone))
        return NULL;
    struct store_work *work = store_work_new(WORK_NOTES);
    char name[NOTE_NAME_MAX];
    store_work_add_note(work, note_name(name, PEER_NOTE, &gone), bytes_of(NULL, 0));
    store_work_add_note(work, note_name(name, TOLD_NOTE, &gone), bytes_of(NULL, 0));
    sync_submit(s, work, (struct pending){.kind = PENDING_NOTES}, out);
    return peers_get(&s->peers, id);
}

void sync_push_event(struct sync *s, const struct sync_event *event)
{
    if (s->event_count == EVENTS_MAX) {
        memmove(s->events, s->events + 1, (EVENTS_MAX - 1) * sizeof *s->events);
        s->event_count--;
    }
    if (s->event_count == s->event_room) {
        s->event_room = s->event_room ? s->event_room * 2 : 4;
        s->events = mem_grow(s->events, s->event_room * sizeof *s->events);
    }
    s->events[s->event_count++] = *event;
}

bool sync_next_event(struct sync *s, struct sync_event *ret)
{
    if (s->event_count == 0)
        return false;
    *ret = s->events[0];
    memmove(s->events, s->events + 1, --s->event_count * sizeof *s->events);
    return true;
}

/* ---- a new id ------------------------------------------------------------------------- */

void sync_reidentify(struct sync *s, struct store_work *work, struct effects *out)
{
    struct reidentify_work *to = &work->reidentify;
    uint8_t random[REPLICA_ID_SIZE];
    if (s->reidentifying) {
        store_work_free(work);
        return;
    }
    for (size_t i = 0; i < sizeof random; i++)
        random[i] = (uint8_t)rng_next(&s->rng);
    to->old_id = s->id;
    to->new_id = replica_id_of_random(random);
    to->told = s->twin.known;
    to->start_random = rng_next(&s->rng);
    to->ends_note = TWIN_NOTE;
    s->reidentifying = true;
    sync_submit(s, work, (struct pending){.kind = PENDING_REIDENTIFY}, out);
}

static void reidentified(struct sync *s, struct sync_time time, const struct store_work *work,
                         struct effects *out)
{
    s->reidentifying = false;
    if (work->err != OK) { /* met again at the next hello */
        effects_notice(
            out, NOTICE_ERROR, "event=reidentify_failed reason=%s next=%s", err_text(work->err),
            work->err == ERR_DAMAGED || work->err == ERR_CHECKSUM
                ? "yzma doctor, with the node stopped, names what cannot be read; without its store "
                  "its peers fill it again"
                : "at the next connection again");
        return;
    }
    (void)sync_read_identity(s);
    (void)sync_look(s);
    cache_clear(&s->cache);
    drop_own_ids(s);
    s->rows_below_floor = true; /* perhaps: it may have risen over a damaged one */
    s->count.reidentified++;
    s->twin = (struct twin){UINT64_MAX, UINT64_MAX, 0}; /* of the former id */
    s->known_kept = 0;
    while (s->link_count)
        sync_link_end(s, time, s->links[s->link_count - 1], NULL, out);
    sync_push_event(s, &(struct sync_event){.kind = SYNC_REIDENTIFIED});
}

/* ---- membership ------------------------------------------------------------------------- */

void sync_member(struct sync *s, struct sync_time time, const struct replica_id *id, const char *name,
                 const char *ingress, bool alive, struct effects *out)
{
    if (sync_is_own_id(s, id)) /* a former one may still be a member, until it is found dead */
        return;
    bool known = peers_find(&s->peers, id) != NULL;
    struct peer *peer = known || alive ? sync_peer(s, time, id, out) : NULL;
    if (!peer)
        return;
    peer->member = alive;
    s->reports += peer->departed; /* it counts as long as it is a member */
    if (!alive)
        return;
    peer->heard_wall_ms = time.wall_ms;
    snprintf(peer->name, sizeof peer->name, "%s", name);
    if (strcmp(peer->ingress, ingress) != 0 || !peer->link) {
        snprintf(peer->ingress, sizeof peer->ingress, "%s", ingress);
        peer->dial_failures = 0; /* news: worth trying at once */
        if (!peer->dialing)
            peer->dial_at_ms = time.now_ms;
    }
    bool back = peer->left && !sync_has_left(s); /* its hello says so; or it was known by hearsay alone */
    if (back)
        peer->left = false;
    if (!known || back) /* from now on it is waited for, after a restart, too */
        sync_save_peer(s, peer, out);
}

void sync_no_members(struct sync *s)
{
    for (size_t i = 0; i < s->peers.count; i++)
        s->peers.list[i]->member = false;
}

void sync_blocks_changed(struct sync *s, struct sync_time time, struct effects *out)
{
    for (size_t i = s->link_count; i-- > 0;) {
        struct link *link = s->links[i];
        if (link->peer && s->config.blocked(s->config.ctx, link->peer->name))
            sync_link_end(s, time, link, "blocked by Peering.Block", out);
    }
}

void sync_stop(struct sync *s)
{
    s->stopping = true;
}

/* ---- streams ----------------------------------------------------------------------------- */

void sync_stream_accepted(struct sync *s, struct sync_time time, uint64_t stream, struct effects *out)
{
    size_t unknown = 0;
    for (size_t i = 0; i < s->link_count; i++)
        unknown += !s->links[i]->dialed && s->links[i]->state == LINK_HELLO;
    bool full = unknown >= LINKS_UNKNOWN_MAX;
    struct link *link = full || s->left ? NULL : sync_link_new(s, stream, false, time.now_ms);
    if (!link) {
        s->count.links_over_limit += !s->left;
        effects_stream_close(out, stream);
        return;
    }
    greet_opened(s, time, link, out);
}

bool sync_stream_opened(struct sync *s, struct sync_time time, uint64_t stream, struct effects *out)
{
    struct link *link = sync_link_find(s, stream);
    if (!link)
        return false;
    CHECK(link->state == LINK_DIALING);
    greet_opened(s, time, link, out);
    return true;
}

/* The stream is of no further use. A peer that sent what is not a frame would send
 * it again. */
static void end_unreadable(struct sync *s, struct sync_time time, struct link *link, enum err err,
                           const char *why, struct effects *out)
{
    struct peer *peer = link->peer;
    uint64_t stream = link->stream;
    sync_link_lost(s, time, link, err == ERR_NOMEM ? "no memory for a frame" : why, out);
    effects_stream_close(out, stream);
    if (peer && err != ERR_NOMEM)
        peer->shunned_until_ms = peer->dial_at_ms = time.now_ms + SHUN_MS;
}

/* A whole frame, packed or not. False when the link is gone. */
static bool take_frame(struct sync *s, struct sync_time time, struct link *link, struct frame *frame,
                       size_t wire, struct effects *out)
{
    enum traffic traffic = receive_traffic_of(frame->type);
    struct buf body = {0};
    size_t raw = wire;
    if (frame->packed) {
        bool may = link->state == LINK_UP && link->protocol >= 2 && traffic != TRAFFIC_OTHER;
        enum err err = may ? squeeze_unpack(s->squeeze, frame->body, &body) : ERR_MALFORMED;
        if (err != OK) {
            s->count.frames_unpackable++;
            end_unreadable(s, time, link, err, "a packed frame that cannot be unpacked", out);
            return false;
        }
        s->count.frames_unpacked++;
        frame->body = buf_bytes(&body);
        frame->owned = &body;
        raw = FRAME_HEADER + body.len;
    }
    traffic_add(&s->count.in, traffic, wire, raw);
    if (link->peer)
        traffic_add(&link->peer->in, traffic, wire, raw);
    bool alive = receive_frame(s, time, link, frame, wire, out);
    buf_done(&body);
    return alive;
}

/* Whole frames are read where they lie, as long as there is room for what they
 * unpack to; what is left of the input is kept. The limit on the input is raised
 * when a frame in it has made the link UP. False when the link is gone. */
static bool read_frames(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    size_t used = 0;
    while (!intake_is_full(link)) {
        struct frame frame;
        size_t size = 0;
        bool up = link->state == LINK_UP;
        enum err err = link->in.err;
        if (err == OK)
            err = frame_read(bytes_of(link->in.data + used, link->in.len - used),
                             up ? FRAME_MAX : FRAME_FIRST_MAX, &frame, &size);
        if (err == ERR_TRUNCATED)
            break;
        if (err != OK) {
            uint64_t *count = err == ERR_CHECKSUM    ? &s->count.frames_checksum
                              : err == ERR_TOO_LARGE ? &s->count.frames_oversized
                                                     : &s->count.frames_malformed;
            (*count)++;
            end_unreadable(s, time, link, err, "not a frame", out);
            return false;
        }
        if (!take_frame(s, time, link, &frame, size, out))
            return false;
        used += size;
        if (intake_is_full(link))
            intake_pump(s, time, out); /* at the committer it counts for less */
    }
    buf_consume(&link->in, used);
    intake_pump(s, time, out);
    receive_pause_if_full(link, out);
    return true;
}

bool sync_read_on(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    return !receive_resume(time, link, out) || link->in.len == 0 || read_frames(s, time, link, out);
}

bool sync_stream_data(struct sync *s, struct sync_time time, uint64_t stream, struct bytes data,
                      struct effects *out)
{
    struct link *link = sync_link_find(s, stream);
    if (!link)
        return false;
    if (link->peer)
        link->peer->bytes_in += data.len;
    link->heard_ms = time.now_ms;
    buf_put_bytes(&link->in, data);
    (void)read_frames(s, time, link, out);
    return true;
}

bool sync_stream_drained(struct sync *s, struct sync_time time, uint64_t stream, size_t queued,
                         struct effects *out)
{
    struct link *link = sync_link_find(s, stream);
    if (!link)
        return false;
    link->queued = queued;
    if (queued <= SEND_QUEUE_LOW) {
        serve_pump(s, time, link, out);
        send_pump(s, time, link, out);
    }
    return true;
}

bool sync_stream_closed(struct sync *s, struct sync_time time, uint64_t stream, const char *why,
                        struct effects *out)
{
    struct link *link = sync_link_find(s, stream);
    if (!link)
        return false;
    sync_link_lost(s, time, link, why, out);
    return true;
}

/* ---- the store -------------------------------------------------------------------------- */

bool sync_stored(struct sync *s, struct sync_time time, uint64_t ticket, const struct store_work *work,
                 struct effects *out)
{
    for (size_t i = 0; i < s->pending_count; i++) {
        if (s->pending[i].ticket != ticket)
            continue;
        struct pending pending = s->pending[i];
        s->pending[i] = s->pending[--s->pending_count];
        if (pending.kind == PENDING_REIDENTIFY)
            reidentified(s, time, work, out);
        else if (pending.kind == PENDING_START)
            leave_stored(s, time, work, out);
        else
            receive_stored(s, time, &pending, work, out);
        return true;
    }
    return false;
}

void sync_store_changed(struct sync *s, struct sync_time time, struct effects *out)
{
    uint64_t own = clock_get(&s->clock, &s->id);
    s->space_changed = true;
    if (sync_look(s) != OK)
        return;
    if (clock_get(&s->clock, &s->id) > own)
        pace_local_write(&s->pace, time.now_ms);
    send_pump_all(s, time, out);
}

/* ---- time ---------------------------------------------------------------------------------- */

static void tick_links(struct sync *s, struct sync_time time, struct effects *out)
{
    for (size_t i = s->link_count; i-- > 0;) {
        if (i >= s->link_count)
            continue; /* what one was read has ended others */
        struct link *link = s->links[i];
        if (link->state != LINK_UP && time.now_ms >= link->state_ms + HELLO_TIMEOUT_MS) {
            s->count.hellos_late++;
            uint64_t stream = link->stream;
            sync_link_lost(s, time, link, "no hello in time", out);
            effects_stream_close(out, stream);
        } else if (link->state == LINK_UP && time.now_ms >= link->heard_ms + SILENCE_MAX_MS &&
                   !link->paused) {
            uint64_t stream = link->stream;
            sync_link_lost(s, time, link, "silent for 15 s", out);
            effects_stream_close(out, stream);
        } else if (link->state == LINK_UP) {
            progress_look_at(s, time.now_ms, link, out);
            link->peer->heard_wall_ms = time.wall_ms;
            if (!sync_read_on(s, time, link, out))
                continue;
            expire_tell(s, time, link, out);
            send_report(s, time, link, out);
            send_pump(s, time, link, out);
        }
    }
}

static void think(struct sync *s, struct sync_time time, struct effects *out)
{
    if (!relay_lacking(s))
        s->lacking_ms = 0;
    else if (s->lacking_ms == 0)
        s->lacking_ms = time.now_ms ? time.now_ms : 1;
    relay_think(s, time, out);
    fill_think(s, time, out);
    s->think_at_ms = time.now_ms + THINK_MS;
}

/* Ids are for ever: a cluster that makes many is told before there is no room. */
static void count_replicas(struct sync *s, struct effects *out)
{
    size_t step = s->clock.count / REPLICAS_WARN * REPLICAS_WARN;
    if (step > s->replicas_told)
        effects_notice(out, NOTICE_WARN,
                       "event=many_replicas count=%zu max=%d next=\"a store that loses or copies its file "
                       "takes a new id; at the most, rows of further ones are refused\"",
                       s->clock.count, CLOCK_REPLICAS_MAX);
    s->replicas_told = step;
}

/* A later program may read what was put aside. */
static void try_quarantine(struct sync *s, struct effects *out)
{
    struct store_counters store;
    s->quarantine_looked = true;
    store_counters(s->store, &store);
    if (store.quarantined)
        sync_submit(s, store_work_new(WORK_QUARANTINE), (struct pending){.kind = PENDING_QUARANTINE}, out);
}

void sync_tick(struct sync *s, struct sync_time time, struct effects *out)
{
    if (!s->quarantine_looked)
        try_quarantine(s, out);
    count_replicas(s, out);
    forget_look_at_space(s, time, out);
    leave_tick(s, time, out);
    retire_tick(s, time, out);
    tick_links(s, time, out);
    past_tick(s, time, out);
    intake_pump(s, time, out);
    cache_expire(&s->cache, time.now_ms);
    if (!s->left)
        greet_dial_due(s, time, out);
    if (time.now_ms >= s->think_at_ms)
        think(s, time, out);
    repair_tick(s, time, out);
    search_tick(s, time.now_ms);
    digest_tick(s, time, out);
    if (time.now_ms >= s->ahead_at_ms) {
        s->ahead_at_ms = time.now_ms + AHEAD_MS;
        send_ahead(s, time, out);
    }
    if (time.now_ms >= s->notes_at_ms) {
        s->notes_at_ms = time.now_ms + PEER_NOTE_MS;
        for (size_t i = 0; i < s->peers.count; i++)
            if (s->peers.list[i]->link)
                sync_save_peer(s, s->peers.list[i], out);
        twin_keep_known(s, out);
        past_tell_again(s, time, out);
    }
    forget_tick(s, time, out);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t sync_deadline(const struct sync *s, uint64_t now_ms)
{
    uint64_t next = earlier(s->notes_at_ms, s->left ? UINT64_MAX : greet_deadline(s));
    bool think_soon = sync_walking(s);
    for (size_t i = 0; i < s->link_count; i++) {
        const struct link *link = s->links[i];
        if (link->state != LINK_UP) {
            next = earlier(next, link->state_ms + HELLO_TIMEOUT_MS);
            continue;
        }
        if (!link->paused)
            next = earlier(next, link->heard_ms + SILENCE_MAX_MS);
        if (link->hold_until_ms && intake_has_room(link))
            next = earlier(next, link->hold_until_ms);
        if (link->rows_at_ms > now_ms)
            next = earlier(next, link->rows_at_ms);
        next = earlier(next, send_report_deadline(s, link));
        think_soon |= !clock_covers(&s->clock, &link->peer->clock);
    }
    for (size_t i = 0; i < s->origin_count; i++)
        think_soon |= s->origins[i].retry_at_ms != 0;
    if (!s->quarantine_looked)
        next = now_ms;
    if (s->space_changed)
        next = earlier(next, s->space_at_ms);
    if (s->retired_count && !s->retiring && !s->left && !sync_walking(s) && !s->walk_works)
        next = earlier(next, s->retire_at_ms);
    if (think_soon)
        next = earlier(next, s->think_at_ms);
    next = earlier(next, intake_deadline(s, now_ms));
    next = earlier(next, earlier(past_deadline(s, now_ms), leave_deadline(s)));
    if (s->link_count)
        next = earlier(next, s->ahead_at_ms);
    next = earlier(next, earlier(search_deadline(s), earlier(repair_deadline(s), digest_deadline(s))));
    return earlier(next, s->pruning || sync_walking(s) ? UINT64_MAX : s->prune_at_ms);
}

/* ---- for operators ---------------------------------------------------------------------------- */

/* For a delta operations are told in place of keys. */
static void delta_readiness(const struct sync *s, uint64_t now_ms, const struct link *link,
                            struct sync_readiness *ret)
{
    const struct peer *peer = link->peer;
    uint64_t lacking = progress_lag(&link->target, &s->clock), ms = now_ms - peer->up_ms;
    ret->keys_total = link->lacked_here;
    ret->keys_done = link->lacked_here > lacking ? link->lacked_here - lacking : 0;
    ret->bytes = peer->in.delta;
    ret->percent = link->lacked_here ? ret->keys_done * 100 / link->lacked_here : 0;
    ret->keys_per_s = ret->keys_done * 1000 / (ms ? ms : 1);
    ret->bytes_per_s = ret->bytes * 1000 / (ms ? ms : 1);
}

void sync_readiness(const struct sync *s, uint64_t now_ms, struct sync_readiness *ret)
{
    /* nobody in reach for so long: what there is, is served */
    enum { ALONE_MS = 5000 };
    size_t up = 0;
    *ret = (struct sync_readiness){.ready = true, .reason = "", .peer = ""};
    for (size_t i = 0; i < s->link_count; i++) {
        const struct link *link = s->links[i];
        if (link->state != LINK_UP)
            continue;
        up++;
        if (!link->caught_up && !clock_covers(&s->clock, &link->target)) {
            ret->ready = false;
            ret->reason = "catching up with what was missed";
            ret->peer = link->peer->name;
            delta_readiness(s, now_ms, link, ret);
        }
    }
    if (sync_walking(s)) {
        struct link *source = sync_link_find(s, s->walk_stream);
        ret->ready = false;
        ret->reason = "being filled in key order";
        ret->peer = source && source->peer ? source->peer->name : "";
        struct rates rates = progress_rates(s, now_ms);
        ret->keys_done = s->walk.keys_done;
        ret->keys_total = s->walk_keys_total;
        ret->bytes = s->progress.bytes;
        ret->percent = rates.percent;
        ret->keys_per_s = rates.keys_per_s;
        ret->bytes_per_s = rates.bytes_per_s;
    }
    if (s->held_by_hand) {
        ret->ready = false;
        ret->reason = "paused by an operator: remote writes are not applied";
    }
    if (up == 0 && !s->left && !s->held_by_hand) {
        bool expects = false;
        for (size_t i = 0; i < s->peers.count; i++)
            expects |= !peer_has_left(s->peers.list[i]);
        bool alone_long = now_ms >= s->alone_since_ms + ALONE_MS;
        if (alone_long) {
            ret->ready = true;
            ret->reason = "";
        } else if (expects) {
            ret->ready = false;
            ret->reason = "looking for peers";
        }
    }
}
