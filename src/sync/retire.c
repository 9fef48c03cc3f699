/* Ending dead replica ids, by hand.
 *
 * A replica that is gone for good may leave operations that nobody has whole: some
 * were found early, in records, and counters between them are missing. No clock can
 * pass such a gap; what stands above it costs space for ever. An operator who knows
 * that the replica will not come back retires its id.
 *
 *   known       the id is in this node's list, kept in the store, and told to every
 *               peer: whoever hears of it first goes on telling
 *   compared    each tells what it holds of the id (struct retire_view). What one has
 *               and another lacks travels as ever: rows by relays, early ones as AHEAD
 *   raised      once all who are expected back hold the same, each raises its clock
 *               for the id to the highest counter, and its floor with it (store/retire.c)
 *
 * Where counters are missing the clock then claims what is not here, and nobody could tell
 * it from that of one who has it all: between these two there would be no difference to
 * send, and none to walk for. So for that all are waited for who may have the rest, or raise
 * on something else, however long they have been away, until an operator lets go of them;
 * and nobody raises as long as one who is here waits for somebody, as a newcomer does not
 * know who there was.
 *
 * Who raises first tells on which view, and whoever holds just that raises on its word.
 * One that took something of the id meanwhile, from a node that nobody expected, does
 * not: the floor of the others makes it walk, and what only it had is lost with the
 * id, on all nodes alike. A store that finds its own id retired takes a new one and puts
 * its operations above the base again. */
#include "json_out.h"
#include "mem.h"
#include "sync_state.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    RETIRE_LOOK_MS = 1000,
    RETIRE_WAIT_MS = 10000, /* a floor raised for an id is waited for, before a walk, so long */
};

struct retired *retire_find(const struct sync *s, const struct replica_id *id)
{
    for (size_t i = 0; i < s->retired_count; i++)
        if (replica_id_equal(&s->retired[i].id, id))
            return &s->retired[i];
    return NULL;
}

static struct retired *add(struct sync *s, const struct replica_id *id)
{
    struct retired *retired = retire_find(s, id);
    if (retired || s->retired_count == RETIRED_MAX)
        return retired;
    s->retired = mem_grow(s->retired, (s->retired_count + 1) * sizeof *s->retired);
    retired = &s->retired[s->retired_count++];
    *retired = (struct retired){.id = *id};
    return retired;
}

/* ---- the note ---------------------------------------------------------------------- */

static uint64_t save(struct sync *s, const struct retired *retired, struct effects *out)
{
    struct store_work *work = store_work_new(WORK_NOTES);
    char name[NOTE_NAME_MAX], uuid[REPLICA_ID_TEXT];
    struct buf value;
    snprintf(name, sizeof name, RETIRED_NOTE "%s", replica_id_text(&retired->id, uuid));
    buf_init(&value, 64 + 10 * RETIRED_KNOWN_MAX);
    retired_encode(retired, &value);
    counters_encode(retired->known, retired->known_count, &value);
    store_work_add_note(work, name, buf_bytes(&value));
    buf_done(&value);
    return sync_submit(s, work, (struct pending){.kind = PENDING_NOTES}, out);
}

void retire_read_note(struct sync *s, struct bytes value)
{
    struct cursor in = cursor_of(value);
    struct retired read = retired_decode(&in), *retired;
    uint64_t known[RETIRED_KNOWN_MAX];
    read.known_count = counters_decode(&in, known);
    if (cursor_finish(&in) != OK || !(retired = add(s, &read.id))) {
        s->count.notes_damaged++;
        return;
    }
    *retired = read;
    retired->waits = !read.raised; /* until that is looked at */
    if (read.known_count)
        retired->known = mem_copy(known, read.known_count * sizeof *known);
}

/* ---- telling ------------------------------------------------------------------------- */

void retire_tell(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    if (link->state != LINK_UP || link->protocol < 3 || !s->retired_count)
        return;
    struct buf frame;
    buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
    frame_put_retired(&frame, s->retired, s->retired_count);
    sync_link_send(s, link, time.now_ms, &frame, out);
}

static void tell_all(struct sync *s, struct sync_time time, struct effects *out)
{
    for (size_t i = 0; i < s->link_count; i++)
        retire_tell(s, time, s->links[i], out);
}

/* Nobody waits for it any more. */
static void expect_no_more(struct sync *s, const struct replica_id *id, struct effects *out)
{
    struct peer *peer = peers_find(&s->peers, id);
    if (!peer || peer->forgotten)
        return;
    peer->forgotten = true;
    sync_save_peer(s, peer, out);
}

/* What was found early of it: before the rows go. */
static void note_known(struct sync *s, struct retired *retired)
{
    struct snapshot *snapshot;
    uint64_t known[RETIRED_KNOWN_MAX];
    size_t count = 0;
    if (snapshot_open(s->store, &snapshot) != OK)
        return;
    if (snapshot_early(snapshot, &retired->id, known, RETIRED_KNOWN_MAX, &count) == OK) {
        free(retired->known);
        retired->known = count ? mem_copy(known, count * sizeof *known) : NULL;
        retired->known_count = count;
    }
    snapshot_close(snapshot);
}

/* What is held of it before anybody's fill lifts our clock: should one do that, this is what we know. */
static void note_view(struct sync *s, struct retired *retired)
{
    struct snapshot *snapshot;
    if (snapshot_open(s->store, &snapshot) != OK)
        return;
    (void)!snapshot_retire_view(snapshot, &retired->id, &retired->view);
    snapshot_close(snapshot);
    note_known(s, retired);
}

static struct retired *begin(struct sync *s, struct sync_time time, const struct replica_id *id,
                             struct effects *out)
{
    char uuid[REPLICA_ID_TEXT];
    struct retired *retired = add(s, id);
    if (!retired)
        return NULL;
    expect_no_more(s, id, out);
    note_view(s, retired);
    s->retire_at_ms = time.now_ms;
    s->ahead_at_ms = time.now_ms; /* what was found early of it is looked at now */
    effects_notice(out, NOTICE_WARN,
                   "event=replica_retired replica=%s next=\"its clock is raised once all nodes that are not "
                   "forgotten hold the same of it\"",
                   replica_id_text(id, uuid));
    return retired;
}

enum err sync_retire(struct sync *s, struct sync_time time, const struct replica_id *id, const char **ret_why,
                     uint64_t *ret_ticket, struct effects *out)
{
    const struct peer *peer = peers_find(&s->peers, id);
    *ret_ticket = 0;
    if (replica_id_equal(id, &s->id)) {
        *ret_why = "that is this node's own replica id (a stopped node takes a new one by: yzma reidentify)";
        return ERR_CONFLICT;
    }
    if (peer && peer->link) {
        *ret_why = "that replica is connected: it lives";
        return ERR_CONFLICT;
    }
    if (!peer && !clock_get(&s->clock, id) && !retire_find(s, id)) {
        struct snapshot *snapshot;
        uint64_t highest = 0;
        if (snapshot_open(s->store, &snapshot) == OK) {
            (void)!snapshot_highest(snapshot, id, &highest);
            snapshot_close(snapshot);
        }
        if (!highest) {
            *ret_why = "no such replica is known here";
            return ERR_NOT_FOUND;
        }
    }
    if (retire_find(s, id))
        return OK;
    struct retired *retired = begin(s, time, id, out);
    if (!retired) {
        *ret_why = "as many ids are retired as there may be";
        return ERR_TOO_LARGE;
    }
    *ret_ticket = save(s, retired, out);
    tell_all(s, time, out);
    return OK;
}

/* ---- hearing ------------------------------------------------------------------------- */

bool retire_take(struct sync *s, struct sync_time time, struct link *link, struct bytes body, bool *ret_gone,
                 struct effects *out)
{
    struct retired *list;
    size_t count;
    bool news = false;
    if (frame_get_retired(body, &list, &count) != OK)
        return false;
    free(link->retired); /* entries own nothing: what is known early is not told */
    link->retired = list;
    link->retired_count = count;
    s->retire_at_ms = time.now_ms;
    for (size_t i = 0; i < count; i++) {
        if (replica_id_equal(&list[i].id, &s->id)) {
            /* its refusal of our next hello says what it knows */
            *ret_gone = true;
            sync_link_end(s, time, link, "has our replica id retired", out);
            return true;
        }
        if (retire_find(s, &list[i].id))
            continue;
        struct retired *retired = begin(s, time, &list[i].id, out);
        if (!retired)
            continue;
        (void)save(s, retired, out);
        news = true;
    }
    if (news)
        tell_all(s, time, out);
    return true;
}

static const struct retired *told_by(const struct link *link, const struct replica_id *id)
{
    for (size_t i = 0; i < link->retired_count; i++)
        if (replica_id_equal(&link->retired[i].id, id))
            return &link->retired[i];
    return NULL;
}

/* ---- raising ------------------------------------------------------------------------- */

static bool has_gap(const struct retire_view *view)
{
    return view->top > view->base;
}

static bool is_waited_for(const struct sync *s, struct sync_time time, const struct retired *retired,
                          const struct peer *peer)
{
    if (replica_id_equal(&peer->id, &retired->id))
        return false;
    return has_gap(&retired->view) ? !peer->left && !peer->forgotten
                                   : peer_expected(peer, time.wall_ms, s->config.forget_after_ms);
}

/* One that is waited for and not known to hold the same; NULL: all do. */
static const struct peer *differs(const struct sync *s, struct sync_time time, const struct retired *retired)
{
    for (size_t i = 0; i < s->peers.count; i++) {
        const struct peer *peer = s->peers.list[i];
        if (!is_waited_for(s, time, retired, peer))
            continue;
        const struct retired *told = peer->link ? told_by(peer->link, &retired->id) : NULL;
        if (!told || peer->walking || !told->viewed || !retire_view_equal(&told->view, &retired->view))
            return peer;
    }
    return NULL;
}

/* The name of who raising waits for; NULL: nobody. */
static const char *waits_for(const struct sync *s, struct sync_time time, const struct retired *retired)
{
    const struct peer *peer = differs(s, time, retired);
    if (peer)
        return peer->name;
    for (size_t i = 0; i < s->link_count && has_gap(&retired->view); i++) {
        const struct link *link = s->links[i];
        const struct retired *told = link->state == LINK_UP ? told_by(link, &retired->id) : NULL;
        if (told && told->waits && !told->raised)
            return link->peer->name;
    }
    return NULL;
}

/* A peer that has raised on just what we hold has asked all others already. */
static bool raised_by_a_peer(const struct sync *s, const struct retired *retired)
{
    for (size_t i = 0; i < s->link_count; i++) {
        const struct retired *told = s->links[i]->state == LINK_UP ? told_by(s->links[i], &retired->id)
                                                                   : NULL;
        if (told && told->raised && retire_view_equal(&told->view, &retired->view))
            return true;
    }
    return false;
}

/* Who has raised it and filled us meanwhile, or had no more than we have; NULL: nobody. */
static const struct retired *passed_by(const struct sync *s, const struct retired *retired)
{
    for (size_t i = 0; i < s->link_count; i++) {
        const struct retired *told = s->links[i]->state == LINK_UP ? told_by(s->links[i], &retired->id)
                                                                   : NULL;
        if (told && told->raised && clock_get(&s->clock, &retired->id) >= told->view.top &&
            clock_get(&s->floor, &retired->id) >= told->view.top)
            return told;
    }
    return NULL;
}

/* It is known whole as far as it was when this was heard of, or as the other knew it. */
static void pass(struct sync *s, struct retired *retired, const struct retired *by, struct effects *out)
{
    if (by->view.base > retired->view.base)
        retired->view.base = by->view.base;
    if (by->view.top > retired->view.top)
        retired->view.top = by->view.top;
    retired->raised = true;
    (void)save(s, retired, out);
}

static enum err look(struct sync *s, struct sync_time time, struct retired *retired, bool *ret_news)
{
    struct snapshot *snapshot;
    struct retire_view view;
    enum err err = snapshot_open(s->store, &snapshot);
    if (err != OK)
        return err;
    err = snapshot_retire_view(snapshot, &retired->id, &view);
    snapshot_close(snapshot);
    if (err == OK && !(retired->viewed && retire_view_equal(&view, &retired->view))) {
        retired->view = view;
        retired->viewed = true;
        *ret_news = true;
    }
    bool waits = has_gap(&retired->view) && differs(s, time, retired);
    *ret_news |= waits != retired->waits;
    retired->waits = waits;
    return err;
}

void retire_refusal(struct sync *s, struct sync_time time, struct retired *retired, struct refusal *ret,
                    struct effects *out)
{
    const struct retired *by = retired->raised ? NULL : passed_by(s, retired);
    if (by) {
        pass(s, retired, by, out);
    } else if (!retired->raised) {
        (void)!look(s, time, retired, &retired->untold); /* the others are told with the next look */
        note_known(s, retired);
    }
    ret->counter = retired->view.base;
    ret->known_count = retired->known_count;
    for (size_t i = 0; i < retired->known_count; i++)
        ret->known[i] = retired->known[i];
}

void retire_done(struct sync *s)
{
    for (size_t i = 0; i < s->retired_count; i++)
        free(s->retired[i].known);
    free(s->retired);
}

static void raise_it(struct sync *s, struct retired *retired, struct effects *out)
{
    note_known(s, retired);
    struct store_work *work = store_work_new(WORK_RETIRE);
    work->retire.id = retired->id;
    work->retire.view = retired->view;
    s->retiring = true;
    sync_submit(s, work, (struct pending){.kind = PENDING_RETIRE}, out);
}

/* A row of it cannot be read: the same work makes it again, and raises nothing. */
static void mend_rows(struct sync *s, const struct retired *retired, struct effects *out)
{
    char uuid[REPLICA_ID_TEXT];
    effects_notice(out, NOTICE_WARN,
                   "event=retired_rows_damaged replica=%s next=\"made again from the records\"",
                   replica_id_text(&retired->id, uuid));
    struct store_work *work = store_work_new(WORK_RETIRE);
    work->retire.id = retired->id;
    s->retiring = true;
    sync_submit(s, work, (struct pending){.kind = PENDING_RETIRE}, out);
}

void retire_tick(struct sync *s, struct sync_time time, struct effects *out)
{
    if (time.now_ms < s->retire_at_ms || s->retiring || s->left || sync_walking(s) || s->walk_works)
        return;
    bool news = false, open = false;
    for (size_t i = 0; i < s->retired_count && !s->retiring; i++) {
        struct retired *retired = &s->retired[i];
        if (retired->raised)
            continue;
        const struct retired *by = passed_by(s, retired);
        if (by) {
            pass(s, retired, by, out);
            continue;
        }
        open = true;
        news |= retired->untold;
        retired->untold = false;
        enum err err = look(s, time, retired, &news);
        if (err == ERR_DAMAGED)
            mend_rows(s, retired, out);
        else if (err != OK)
            continue;
        else if (raised_by_a_peer(s, retired) || !waits_for(s, time, retired))
            raise_it(s, retired, out);
    }
    if (news)
        tell_all(s, time, out);
    s->retire_at_ms = open ? time.now_ms + RETIRE_LOOK_MS : UINT64_MAX;
}

void retire_stored(struct sync *s, struct sync_time time, const struct store_work *work, struct effects *out)
{
    char uuid[REPLICA_ID_TEXT];
    struct retired *retired = retire_find(s, &work->retire.id);
    s->retiring = false;
    s->retire_at_ms = time.now_ms + (work->err == OK || work->err == ERR_CONFLICT ? 0 : RETRY_MS);
    if (!retired || work->err != OK)
        return;
    retired->raised = true;
    s->rows_below_floor = true;
    s->prune_at_ms = time.now_ms;
    s->count.replicas_retired++;
    effects_notice(out, NOTICE_WARN, "event=retired_clock_raised replica=%s from=%llu to=%llu",
                   replica_id_text(&retired->id, uuid), (unsigned long long)retired->view.base,
                   (unsigned long long)retired->view.top);
    (void)save(s, retired, out);
    tell_all(s, time, out); /* before the clock that this explains */
}

bool retire_explains(const struct sync *s, const struct link *link, uint64_t now_ms)
{
    const struct clock *floor = &link->peer->floor;
    bool any = false;
    for (size_t i = 0; i < floor->count; i++) {
        if (clock_covers_dot(&s->clock, &floor->entries[i]))
            continue;
        const struct retired *retired = retire_find(s, &floor->entries[i].replica);
        if (!retired || retired->raised)
            return false;
        struct retired *seen = retire_find(s, &retired->id);
        if (!seen->floor_seen_ms)
            seen->floor_seen_ms = now_ms ? now_ms : 1;
        if (now_ms >= seen->floor_seen_ms + RETIRE_WAIT_MS)
            return false;
        any = true;
    }
    return any;
}

/* ---- for operators --------------------------------------------------------------------- */

void retire_report(const struct sync *s, struct sync_time time, struct json_out *out)
{
    char uuid[REPLICA_ID_TEXT];
    json_name(out, "Retired");
    json_array(out);
    for (size_t i = 0; i < s->retired_count; i++) {
        const struct retired *retired = &s->retired[i];
        const char *name = retired->raised ? NULL : waits_for(s, time, retired);
        json_object(out);
        json_field_text(out, "Replica", replica_id_text(&retired->id, uuid));
        json_field_bool(out, "Done", retired->raised);
        json_field_number(out, "Whole", retired->view.base);
        json_field_number(out, "Highest", retired->view.top);
        json_field_text(out, "WaitsFor", name ? name : "");
        json_object_end(out);
    }
    json_array_end(out);
}
