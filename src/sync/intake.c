/* What came in on a link waits here for its turn at the committer.
 *
 * A frame may hold thousands of records, more than a client's write should wait
 * for. So it is not the sender that decides how much is stored at once but this
 * side: a frame is cut into slices, each a work of its own that the store takes
 * for a smaller frame of the same kind, and pace.h says how large and when. Per
 * link the order is kept; links take turns. Frames of a moment's writes are not
 * cut and wait for nothing but what came before them. */
#include "check.h"
#include "mem.h"
#include "sync_state.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the queue ------------------------------------------------------------------------ */

static void free_waiting(struct waiting *waiting)
{
    store_work_free(waiting->work);
    free(waiting);
}

/* Takes the one at *at out of the link's queue; the caller frees it. */
static struct waiting *unlink_at(struct link *link, struct waiting **at)
{
    struct waiting *waiting = *at;
    *at = waiting->next;
    if (link->waiting_end == &waiting->next)
        link->waiting_end = at;
    link->waiting_count--;
    link->waiting_bytes -= waiting->bytes;
    return waiting;
}

void intake_clear(struct link *link)
{
    while (link->waiting)
        free_waiting(unlink_at(link, &link->waiting));
}

void intake_drop_rows(struct link *link, const struct replica_id *origin)
{
    for (struct waiting **at = &link->waiting; *at;) {
        if ((*at)->work->kind == WORK_ROWS && replica_id_equal(&(*at)->work->rows.origin, origin))
            free_waiting(unlink_at(link, at));
        else
            at = &(*at)->next;
    }
}

void intake_drop_walk(struct link *link)
{
    for (struct waiting **at = &link->waiting; *at;) {
        if ((*at)->run)
            free_waiting(unlink_at(link, at));
        else
            at = &(*at)->next;
    }
}

void intake_take(struct link *link, struct store_work *work, uint64_t run)
{
    struct waiting *waiting = mem_new(sizeof *waiting);
    *waiting = (struct waiting){.work = work, .bytes = work->rows.payload.len, .run = run};
    *link->waiting_end = waiting;
    link->waiting_end = &waiting->next;
    link->waiting_count++;
    link->waiting_bytes += waiting->bytes;
}

bool intake_is_full(const struct link *link)
{
    return link->waiting_count + link->works >= INTAKE_FRAMES_MAX || link->waiting_bytes >= INTAKE_BYTES_MAX;
}

bool intake_has_room(const struct link *link)
{
    return link->waiting_count + link->works < INTAKE_FRAMES_MAX / 2 &&
           link->waiting_bytes < INTAKE_BYTES_MAX / 2;
}

/* ---- slices ----------------------------------------------------------------------------- */

static bool is_bulk(const struct waiting *waiting)
{
    return waiting->run || waiting->work->rows.count > LIVE_ENTRIES_MAX || waiting->bytes > LIVE_BYTES_MAX;
}

static struct bytes end_of(const struct work_entry *entry)
{
    return entry->record.len ? entry->record : entry->key;
}

/* How many entries from `given` on make one slice: one at least, and all that are
 * left where cutting is not possible. */
static size_t slice_count(const struct waiting *waiting, size_t entries_max, size_t bytes_max)
{
    const struct rows_work *rows = &waiting->work->rows;
    size_t left = rows->count - waiting->given, count = 0, bytes = 0;
    bool in_order = waiting->work->kind != WORK_ROWS || rows->to - rows->from == rows->count;
    if (waiting->work->kind == WORK_AHEAD || !in_order) /* what is out of order the store shall see whole */
        return left;
    while (count < left && count < entries_max && bytes < bytes_max) {
        const struct work_entry *entry = &rows->entries[waiting->given + count++];
        bytes += entry->key.len + entry->record.len;
    }
    return count;
}

static void set_key(uint8_t to[KEY_MAX], size_t *to_len, struct bytes key)
{
    memcpy(to, key.data, key.len);
    *to_len = key.len;
}

/* A work of `count` entries from `given` on, with bytes of its own. NULL: no memory. */
static struct store_work *cut(const struct waiting *waiting, size_t count)
{
    const struct rows_work *from = &waiting->work->rows;
    size_t begin = waiting->given, end = begin + count;
    struct store_work *work = store_work_new(waiting->work->kind);
    struct rows_work *to = &work->rows;
    const uint8_t *first = from->entries[begin].key.data;
    struct bytes tail = end_of(&from->entries[end - 1]);
    size_t size = (size_t)(tail.data + tail.len - first);
    buf_init(&to->payload, size);
    buf_reserve(&to->payload, size);
    buf_put(&to->payload, first, size);
    if (to->payload.err != OK) {
        store_work_free(work);
        return NULL;
    }
    to->entries = mem_copy(&from->entries[begin], count * sizeof *to->entries);
    to->count = count;
    for (size_t i = 0; i < count; i++) {
        struct work_entry *entry = &to->entries[i];
        entry->key.data = to->payload.data + (entry->key.data - first);
        if (entry->record.len)
            entry->record.data = to->payload.data + (entry->record.data - first);
    }
    bool last = end == from->count;
    to->origin = from->origin;
    to->from = from->from + begin;
    to->to = last ? from->to : from->from + end;
    to->serial = from->serial;
    to->last = from->last && last;
    if (work->kind == WORK_WALK_PIECE) {
        set_key(to->after, &to->after_len,
                begin ? from->entries[begin - 1].key : bytes_of(from->after, from->after_len));
        set_key(to->through, &to->through_len,
                last ? bytes_of(from->through, from->through_len) : from->entries[end - 1].key);
    }
    to->row_after = begin ? from->entries[begin - 1].dot : from->row_after;
    clock_copy(&to->source_clock, &from->source_clock);
    clock_copy(&to->source_floor, &from->source_floor);
    return work;
}

/* What a peer has shown of its own operations is what its next hello is held to. It is
 * kept before any of them is stored: else a crash could leave them here, and no memory
 * of who told of them, and an old state of that peer would pass for a later one. */
static void keep_told(struct sync *s, struct peer *peer, struct effects *out)
{
    char name[NOTE_NAME_MAX], uuid[REPLICA_ID_TEXT];
    struct buf value;
    if (peer->told <= peer->told_kept)
        return;
    struct store_work *work = store_work_new(WORK_NOTES);
    snprintf(name, sizeof name, TOLD_NOTE "%s", replica_id_text(&peer->id, uuid));
    buf_init(&value, REPLICA_ID_SIZE + 24);
    told_encode(peer, &value);
    store_work_add_note(work, name, buf_bytes(&value));
    buf_done(&value);
    peer->told_kept = peer->told;
    sync_submit(s, work, (struct pending){.kind = PENDING_NOTES}, out);
}

/* The first of the link's queue, or a slice of it, goes to the committer. */
static void give(struct sync *s, struct sync_time time, struct link *link, size_t count, bool bulk,
                 struct effects *out)
{
    struct waiting *waiting = link->waiting;
    struct store_work *work;
    bool final = waiting->given + count == waiting->work->rows.count;
    uint64_t run = waiting->run;
    if (final && waiting->given == 0) {
        work = waiting->work;
        waiting->work = NULL;
    } else {
        work = cut(waiting, count);
        if (!work) {
            s->pace.rest_until_ms = time.now_ms + RETRY_MS;
            return;
        }
        s->count.slices++;
    }
    waiting->given += count;
    if (final)
        free_waiting(unlink_at(link, &link->waiting));
    struct pending pending = {.kind = run ? PENDING_WALK : PENDING_ROWS,
                              .stream = link->stream,
                              .peer = link->peer->id,
                              .taken = true,
                              .bulk = bulk,
                              .final = final,
                              .entries = count,
                              .given_ms = time.now_ms,
                              .run = run};
    if (work->kind == WORK_ROWS)
        pending.origin = work->rows.origin;
    link->works++;
    if (run)
        s->walk_works++;
    if (bulk)
        pace_gave(&s->pace);
    if (run || (work->kind == WORK_ROWS && replica_id_equal(&work->rows.origin, &link->peer->id)))
        keep_told(s, link->peer, out);
    sync_submit(s, work, pending, out);
}

/* One work of this link, if it may have its turn now. */
static bool give_one(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    size_t entries, bytes;
    if (!link->waiting || link->unproven || link->state != LINK_UP || link->works >= INTAKE_FRAMES_MAX)
        return false;
    bool bulk = is_bulk(link->waiting);
    if (!bulk) {
        give(s, time, link, link->waiting->work->rows.count, false, out);
        return true;
    }
    if (!pace_may(&s->pace, time.now_ms, &entries, &bytes))
        return false;
    size_t given = link->waiting->given, count = slice_count(link->waiting, entries, bytes);
    struct waiting *waiting = link->waiting;
    give(s, time, link, count, true, out);
    return link->waiting != waiting || waiting->given != given;
}

void intake_pump(struct sync *s, struct sync_time time, struct effects *out)
{
    for (bool more = !s->held_by_hand; more;) {
        more = false;
        for (size_t i = 0; i < s->link_count; i++)
            more |= give_one(s, time, s->links[s->intake_turn++ % s->link_count], out);
    }
}

void intake_stored(struct sync *s, struct sync_time time, const struct pending *pending)
{
    struct link *link = sync_link_find(s, pending->stream);
    if (pending->bulk)
        pace_stored(&s->pace, time.now_ms, pending->entries, time.now_ms - pending->given_ms);
    if (pending->run) {
        CHECK(s->walk_works > 0);
        s->walk_works--;
    }
    if (link) {
        CHECK(link->works > 0);
        link->works--;
    }
}

uint64_t intake_deadline(const struct sync *s, uint64_t now_ms)
{
    for (size_t i = 0; i < s->link_count && !s->held_by_hand; i++)
        if (s->links[i]->waiting && !s->links[i]->unproven)
            return pace_deadline(&s->pace, now_ms);
    return UINT64_MAX;
}
