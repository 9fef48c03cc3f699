/* The writer: what a transaction changes gathers in an overlay, which its own reads
 * see first. Commit writes the overlay as one frame, and puts it into the active
 * generation when the frame is durable. */
#include "check.h"
#include "cursor.h"
#include "log_engine_state.h"

#include <stdlib.h>

enum {
    /* Of what the overlay may hold a frame must be made; a transaction of the store
     * stays far below (one value, or TXN_BYTES_MAX and one). */
    OVERLAY_MAX = LOG_BODY_MAX / 2,
    PROMISE_STEP = 4 << 20, /* room that is asked for ahead: asking takes a system call */
    PACE_MS = 20,           /* a commit is slowed by at most so much */
    ROOM_WAIT_MS = 200,     /* in slices: what was looked at before the wait may be old */
    PATIENCE_MS = 5000,     /* of a writer: without a chunk tried, or for room in the log */
    PAGE = 4096,
    LONG_VALUE = 1500, /* longer ones may fill pages of their own */
    FRAME_KEPT_MAX = 4 << 20,
};

/* What the inner engine may need for an entry, when pages are half full; what stays
 * small is always let through, so that a store opens on a full disk. */
static uint64_t cost_of(enum table table, struct bytes key, struct bytes value)
{
    if (table == TABLE_META || table == TABLE_CLOCKS)
        return 0;
    uint64_t cost = 2 * (key.len + value.len + 32);
    return value.len > LONG_VALUE ? cost + PAGE : cost;
}

/* ---- begin ---------------------------------------------------------------------- */

/* True when both generations are full. A full one with the other free is frozen. */
static bool is_full(struct logged *logged, bool *ret_frozen, enum err *ret_stuck)
{
    pthread_mutex_lock(&logged->lock);
    bool full = logged->active->last && memtable_bytes(logged->active->table) >= logged->memory_max / 2;
    *ret_frozen = full && logged_freeze_locked(logged);
    *ret_stuck = logged->stuck;
    pthread_mutex_unlock(&logged->lock);
    return full && !*ret_frozen;
}

static void count(struct logged *logged, uint64_t *counter)
{
    pthread_mutex_lock(&logged->lock);
    (*counter)++;
    pthread_mutex_unlock(&logged->lock);
}

/* While both generations are full nothing is taken. Where the inner engine is full,
 * waiting helps nobody: puts are refused, and what makes room may go on for a while. */
static enum err wait_for_room(struct logged *logged)
{
    enum err stuck, err = OK;
    bool frozen, waited = false;
    uint64_t left_ms = PATIENCE_MS;
    while (err == OK && is_full(logged, &frozen, &stuck) && stuck != ERR_FULL) {
        if (!waited)
            count(logged, &logged->count.waits);
        waited = true;
        if (stuck != OK)
            err = stuck;
        else if (logged->wait)
            err = logged->wait(logged->listener, ROOM_WAIT_MS, &left_ms);
        else
            err = logged_apply_what_fits(logged);
        if (err == OK)
            left_ms = PATIENCE_MS;
        else if (err == ERR_BUSY && left_ms)
            err = OK;
    }
    if (err == OK && frozen && logged->on_work)
        logged->on_work(logged->listener);
    if (err != OK)
        count(logged, &logged->count.given_up);
    return err == ERR_FULL ? OK : err;
}

/* Writers that fill a generation faster than the one before it is applied would have
 * to stop in the end, for long. So from the middle on they wait for a chunk now and
 * then. */
static void keep_pace(struct logged *logged)
{
    pthread_mutex_lock(&logged->lock);
    bool slow = logged->wait && logged_far_behind_locked(logged);
    pthread_mutex_unlock(&logged->lock);
    if (!slow)
        return;
    count(logged, &logged->count.slowed);
    uint64_t left_ms = PACE_MS;
    (void)!logged->wait(logged->listener, PACE_MS, &left_ms);
}

static void overlay_clear(struct writer *writer)
{
    memtable_clear(writer->overlay);
    writer->entries = writer->bytes = 0;
    writer->records = 0;
    writer->cost = 0;
    writer->seen.len = 0;
    writer->in_reserve = false;
}

enum err logged_write_begin(struct engine *engine, struct engine_txn **ret)
{
    struct logged *logged = logged_of(engine);
    struct writer *writer = &logged->writer;
    CHECK(!writer->open);
    keep_pace(logged);
    enum err err = wait_for_room(logged);
    if (err != OK)
        return err;
    overlay_clear(writer);
    writer->txn = (struct logged_txn){.engine = logged, .writes = true};
    writer->txn.layers.tables[0] = writer->overlay;
    writer->txn.layers.count = 1;
    err = logged_pin(logged, &writer->txn);
    if (err != OK)
        return err;
    pthread_mutex_lock(&logged->lock);
    uint64_t pending = logged->active->cost + (logged->frozen ? logged->frozen->cost : 0);
    writer->room = logged->promised > pending ? logged->promised - pending : 0;
    writer->stuck = logged->stuck == ERR_FULL;
    writer->active_bytes = logged->active->last ? memtable_bytes(logged->active->table) : 0;
    pthread_mutex_unlock(&logged->lock);
    writer->open = true;
    *ret = (struct engine_txn *)&writer->txn;
    return OK;
}

void logged_undo(struct logged_txn *txn)
{
    struct writer *writer = &txn->engine->writer;
    CHECK(writer->open);
    logged_unpin(txn);
    overlay_clear(writer);
    writer->open = false;
}

void logged_use_reserve(struct engine_txn *face, bool on)
{
    struct logged_txn *txn = logged_txn_of(face);
    CHECK(txn->writes);
    txn->engine->writer.in_reserve = on;
}

/* ---- changes -------------------------------------------------------------------- */

static enum err ask_for_room(struct logged *logged, struct writer *writer)
{
    struct engine *inner = logged->inner;
    pthread_mutex_lock(&logged->lock);
    uint64_t pending = logged->active->cost + (logged->frozen ? logged->frozen->cost : 0);
    uint64_t released = logged->released;
    pthread_mutex_unlock(&logged->lock);
    uint64_t need = pending + writer->cost;
    if (!inner->ops->promise) {
        writer->room = UINT64_MAX;
        return OK;
    }
    uint64_t promised = need + PROMISE_STEP;
    enum err err = inner->ops->promise(inner, promised);
    if (err == ERR_FULL)
        err = inner->ops->promise(inner, promised = need);
    if (err != OK)
        return err;
    pthread_mutex_lock(&logged->lock);
    logged->promised = promised - (logged->released - released); /* applied meanwhile */
    pthread_mutex_unlock(&logged->lock);
    writer->room = promised - pending;
    return OK;
}

/* Room for what makes room is not asked for, but the table's bound holds. (At twice
 * the bound nothing at all is taken: see change.) */
static enum err check_room(struct logged *logged, struct writer *writer, size_t bytes)
{
    if (writer->bytes + bytes > OVERLAY_MAX)
        return ERR_TOO_LARGE;
    if (writer->in_reserve)
        return writer->active_bytes > logged->memory_max ? ERR_FULL : OK;
    if (writer->stuck)
        return ERR_FULL;
    return writer->cost > writer->room ? ask_for_room(logged, writer) : OK;
}

static enum err change(struct logged_txn *txn, unsigned space, struct bytes key, struct bytes value)
{
    struct writer *writer = &txn->engine->writer;
    if (writer->active_bytes / 2 > txn->engine->memory_max)
        return ERR_FULL; /* the inner engine is, and has been for long */
    enum err err = memtable_reserve(writer->overlay, 1, key.len + value.len);
    if (err == OK)
        err = memtable_insert(writer->overlay, txn->layers.sequence, space, key, value);
    if (err != OK)
        return err;
    writer->entries++;
    writer->bytes += key.len + value.len;
    return OK;
}

/* Whether the key has a record, from the last look if that was at this key. */
static enum err is_present(struct logged_txn *txn, enum table table, struct bytes key, bool *ret)
{
    struct last_seen *seen = &txn->engine->writer.seen;
    if (seen->len && bytes_equal(bytes_of(seen->key, seen->len), key)) {
        *ret = seen->present;
        return OK;
    }
    struct bytes value;
    enum err err = logged_get((struct engine_txn *)txn, table, key, &value);
    *ret = err == OK;
    return err == ERR_NOT_FOUND ? OK : err;
}

void logged_see(struct writer *writer, struct bytes key, bool present)
{
    if (key.len > sizeof writer->seen.key)
        return;
    writer->seen.len = key.len;
    writer->seen.present = present;
    memcpy(writer->seen.key, key.data, key.len);
}

static enum err put_or_del(struct logged_txn *txn, enum table table, struct bytes key, struct bytes value)
{
    struct writer *writer = &txn->engine->writer;
    bool present = false;
    enum err err = table == TABLE_RECORDS ? is_present(txn, table, key, &present) : OK;
    if (err == OK)
        err = change(txn, mem_entries_of(table), key, value);
    if (err == OK && table == TABLE_RECORDS) {
        writer->records += (value.data ? 1 : 0) - (present ? 1 : 0);
        logged_see(writer, key, value.data != NULL);
    }
    return err;
}

enum err logged_put(struct engine_txn *face, enum table table, struct bytes key, struct bytes value)
{
    struct logged_txn *txn = logged_txn_of(face);
    struct writer *writer = &txn->engine->writer;
    CHECK(txn->writes && key.len >= 1 && key.len <= sizeof writer->seen.key);
    uint64_t cost = cost_of(table, key, value);
    writer->cost += cost;
    enum err err = cost ? check_room(txn->engine, writer, key.len + value.len) : OK;
    if (err != OK)
        return err;
    return put_or_del(txn, table, key, value.data ? value : bytes_of("", 0));
}

enum err logged_del(struct engine_txn *face, enum table table, struct bytes key)
{
    struct logged_txn *txn = logged_txn_of(face);
    CHECK(txn->writes && key.len >= 1 && key.len <= sizeof txn->engine->writer.seen.key);
    return put_or_del(txn, table, key, bytes_of(NULL, 0));
}

/* One by one, where a range does not say it (see below). */
static enum err del_each(struct logged_txn *txn, enum table table, struct bytes from, struct bytes below,
                         bool overlay_only)
{
    struct engine_cursor *cursor = NULL;
    struct bytes key, value;
    uint8_t room[511 + 1];
    enum err err = OK;
    if (!overlay_only)
        err = logged_cursor_open((struct engine_txn *)txn, table, &cursor);
    while (err == OK) {
        if (overlay_only) {
            const struct mem_node *node = memtable_seek(txn->engine->writer.overlay, mem_entries_of(table),
                                                        from);
            err = node ? OK : ERR_NOT_FOUND;
            if (node)
                key = mem_node_key(node);
        } else {
            err = logged_cursor_seek(cursor, from, &key, &value);
        }
        if (err != OK || bytes_compare(key, below) >= 0)
            break;
        CHECK(key.len < sizeof room);
        memcpy(room, key.data, key.len);
        room[key.len] = 0; /* the first key above */
        err = put_or_del(txn, table, bytes_of(room, key.len), bytes_of(NULL, 0));
        from = bytes_of(room, key.len + 1);
    }
    if (cursor)
        logged_cursor_close(cursor);
    return err == ERR_NOT_FOUND ? OK : err;
}

/* The newest range of the prefix in any layer. */
static bool has_longer_range(const struct layers *layers, enum table table, struct bytes prefix,
                             struct bytes below)
{
    struct mem_version range;
    for (size_t i = 0; i < layers->count; i++)
        if (memtable_get(layers->tables[i], mem_ranges_of(table), prefix, layers->sequence, &range) &&
            bytes_compare(range.value, below) > 0)
            return true;
    return false;
}

/* A range hides what is older than its commit. Of its own transaction it goes over
 * each entry: what is put later in it stands again. A newer range takes the place of
 * the one before, so a shorter one, which nobody needs, is done entry by entry. */
enum err logged_del_below(struct engine_txn *face, enum table table, struct bytes prefix, struct bytes below)
{
    struct logged_txn *txn = logged_txn_of(face);
    CHECK(txn->writes && table != TABLE_RECORDS && prefix.len == RANGE_PREFIX &&
          bytes_starts_with(below, prefix));
    bool one_by_one = has_longer_range(&txn->layers, table, prefix, below);
    enum err err = del_each(txn, table, prefix, below, !one_by_one);
    if (err == OK && !one_by_one)
        err = change(txn, mem_ranges_of(table), prefix, below);
    return err;
}

/* ---- commit ---------------------------------------------------------------------- */

static void put_in_frame(struct buf *frame, unsigned space, struct bytes key, struct bytes value)
{
    if (space >= TABLES)
        log_frame_del_below(frame, (enum table)(space - TABLES), key, value);
    else if (value.data)
        log_frame_put(frame, (enum table)space, key, value);
    else
        log_frame_del(frame, (enum table)space, key);
}

/* The newest version of each entry, ranges first: what a replay does in this order
 * leaves what the transaction left. */
static uint32_t make_frame(const struct memtable *overlay, uint64_t sequence, struct buf *frame)
{
    uint32_t entries = 0;
    buf_reset(frame);
    log_frame_begin(frame);
    for (unsigned i = 0; i < MEM_SPACES; i++) {
        unsigned space = (i + TABLES) % MEM_SPACES;
        const struct mem_node *node = memtable_seek(overlay, space, bytes_of("", 0));
        for (; node; node = mem_node_next(node), entries++) {
            struct mem_version version = {0};
            CHECK(mem_node_at(node, sequence, &version));
            put_in_frame(frame, space, mem_node_key(node), version.value);
        }
    }
    return entries;
}

static enum err insert_overlay(const struct memtable *overlay, uint64_t at, struct memtable *table,
                               uint64_t sequence)
{
    enum err err = OK;
    for (unsigned space = 0; space < MEM_SPACES; space++) {
        const struct mem_node *node = memtable_seek(overlay, space, bytes_of("", 0));
        for (; node && err == OK; node = mem_node_next(node)) {
            struct mem_version version = {0};
            CHECK(mem_node_at(node, at, &version));
            err = memtable_insert(table, sequence, space, mem_node_key(node), version.value);
        }
    }
    return err;
}

static struct generation *begin_insert(struct logged *logged)
{
    pthread_mutex_lock(&logged->lock);
    logged->inserting = true;
    logged->writer.trims = logged->count.trims;
    struct generation *active = logged->active;
    pthread_mutex_unlock(&logged->lock);
    return active;
}

/* Makes the commit visible, and freezes what is full. Who applies is told of that, and
 * when the log wants another segment: laid out by the writer it would cost a commit some
 * ten times its time. */
static void end_insert(struct logged *logged, uint64_t sequence)
{
    const struct writer *writer = &logged->writer;
    pthread_mutex_lock(&logged->lock);
    struct generation *active = logged->active;
    logged->inserting = false;
    bool frozen = false;
    if (sequence) {
        active->last = logged->sequence = sequence;
        active->records += writer->records;
        active->cost += writer->cost;
        frozen = memtable_bytes(active->table) >= logged->memory_max / 2 && logged_freeze_locked(logged);
    }
    pthread_mutex_unlock(&logged->lock);
    bool moved_on = log_moved_on(logged->log);
    if ((frozen || moved_on) && logged->on_work)
        logged->on_work(logged->listener);
}

static enum err write_and_insert(struct logged *logged, struct writer *writer, uint64_t at)
{
    struct generation *active = begin_insert(logged);
    uint64_t sequence = log_sequence(logged->log) + 1;
    uint32_t entries = make_frame(writer->overlay, at, &writer->frame);
    enum err err = writer->frame.err;
    if (err == OK) /* before the frame is durable: then nothing may fail any more */
        err = memtable_reserve(active->table, writer->entries, writer->bytes);
    if (err == OK)
        err = log_append(logged->log, &writer->frame, entries);
    if (err == OK)
        CHECK(insert_overlay(writer->overlay, at, active->table, sequence) == OK);
    end_insert(logged, err == OK ? sequence : 0);
    return err;
}

/* What a writer sees who waits for segments of the log to become free. */
struct outlook {
    bool may;       /* they still may: what is in memory is being applied */
    uint64_t trims; /* times that the log has given up what was applied */
    enum err stuck;
};

static struct outlook look_out(struct logged *logged)
{
    pthread_mutex_lock(&logged->lock);
    logged_freeze_locked(logged);
    struct outlook out = {
        .may = logged->frozen || logged->trimming, .trims = logged->count.trims, .stuck = logged->stuck};
    pthread_mutex_unlock(&logged->lock);
    return out;
}

/* The disk has no room for another segment of the log, or too many were left after
 * failures (log.h). Those that the inner engine has all of are used again or go, so the
 * commit waits for that as long as it may come, and is tried again when it has. */
static enum err write_when_log_has_room(struct logged *logged, uint64_t at, enum err err)
{
    struct writer *writer = &logged->writer;
    uint64_t left_ms = PATIENCE_MS;
    while ((err == ERR_FULL || err == ERR_BUSY) && left_ms) {
        struct outlook out = look_out(logged);
        if (out.trims != writer->trims) {
            err = write_and_insert(logged, writer, at);
        } else if (!out.may || out.stuck != OK) {
            break; /* nothing will come of it */
        } else if (logged->wait) {
            (void)!logged->wait(logged->listener, ROOM_WAIT_MS, &left_ms);
        } else if (logged_apply_what_fits(logged) != OK) {
            break;
        }
    }
    return err;
}

static enum err stands(struct engine *inner)
{
    return inner->ops->stands ? inner->ops->stands(inner) : OK;
}

enum err logged_commit(struct engine_txn *face)
{
    struct logged_txn *txn = logged_txn_of(face);
    struct logged *logged = txn->engine;
    struct writer *writer = &logged->writer;
    CHECK(txn->writes && writer->open);
    uint64_t at = txn->layers.sequence;
    logged_unpin(txn); /* no snapshot is held while the disk works */
    enum err err = writer->entries ? stands(logged->inner) : OK;
    if (err == OK && writer->entries)
        err = write_and_insert(logged, writer, at);
    if (err == ERR_FULL || err == ERR_BUSY)
        err = write_when_log_has_room(logged, at, err);
    overlay_clear(writer);
    if (writer->frame.cap > FRAME_KEPT_MAX)
        buf_done(&writer->frame);
    writer->open = false;
    return err;
}

void logged_writer_done(struct writer *writer)
{
    CHECK(!writer->open);
    memtable_free(writer->overlay);
    buf_done(&writer->frame);
}

/* ---- replay ----------------------------------------------------------------------- */

static enum err replay_entries(struct generation *generation, const struct log_frame *frame,
                               uint64_t *operations)
{
    struct memtable *table = generation->table;
    struct cursor body = cursor_of(frame->body);
    for (uint32_t i = 0; i < frame->entries; i++) {
        struct log_entry entry;
        log_entry_read(&body, &entry);
        if (body.err != OK)
            return ERR_MALFORMED;
        unsigned space = entry.kind == LOG_DEL_BELOW ? mem_ranges_of(entry.table)
                                                     : mem_entries_of(entry.table);
        struct bytes value = entry.kind == LOG_DEL ? bytes_of(NULL, 0) : entry.value;
        enum err err = memtable_reserve(table, 1, entry.key.len + entry.value.len);
        if (err == OK)
            err = memtable_insert(table, frame->sequence, space, entry.key, value);
        if (err != OK)
            return err;
        if (entry.kind == LOG_PUT)
            generation->cost += cost_of(entry.table, entry.key, entry.value);
        *operations += entry.table == TABLE_ROWS && entry.kind == LOG_PUT;
    }
    return cursor_finish(&body) == OK ? OK : ERR_MALFORMED;
}

static bool replay_is_full(const struct logged *logged)
{
    return logged->active->last && memtable_bytes(logged->active->table) >= logged->memory_max / 2;
}

/* A log longer than the memory table's bound (it was larger once) is applied as it
 * comes. */
enum err logged_replay(void *ctx, const struct log_frame *frame)
{
    struct logged *logged = ctx;
    enum err err = OK;
    while (err == OK && replay_is_full(logged)) {
        log_engine_freeze(&logged->face);
        if (replay_is_full(logged))
            err = logged_apply_what_fits(logged);
    }
    if (err != OK)
        return err;
    logged->active->replayed = true;
    err = replay_entries(logged->active, frame, &logged->replayed);
    if (err == OK)
        logged->active->last = logged->sequence = frame->sequence;
    return err;
}
