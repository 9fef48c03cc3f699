/* Applying: a frozen generation goes into the inner engine in key order, a chunk a
 * transaction. Small transactions need few of the pages that copy on write takes, and
 * let others at the disk in between; the order makes neighbours share pages. */
#include "check.h"
#include "cursor.h"
#include "log_engine_state.h"
#include "mem.h"

#include <stdlib.h>

enum {
    /* Entries at a time. Each dirties a page, and copy on write the pages above it: in
     * a large tree twice as many for a short chunk as for a long one. But for a long
     * one's sync others at the disk wait, some 20 ms for a thousand entries. So chunks
     * are short while the applier keeps up, and grow while it does not. */
    CHUNK_CALM = 256,
    CHUNK_BEHIND = 128 * CHUNK_CALM,
    CHUNK_BYTES = 16 << 20,
    /* So few entries at a time are what is left to try when room is short: they may
     * use what the inner engine keeps back. */
    CHUNK_SMALL = 16,
    /* However slow the disk: not so few that the reserve is touched, nor so few bytes
     * that a long value is all. */
    CHUNK_LEAST = 2 * CHUNK_SMALL,
    CHUNK_BYTES_LEAST = 256 << 10,
    /* A chunk twice as long is then still quick. */
    CHUNK_QUICK_MS = LOG_CHUNK_SLOW_MS / 4,
};

static const char mark_key[] = "log";

/* ---- the mark ------------------------------------------------------------------ */

enum err log_mark_load(struct engine *inner, struct log_mark *ret)
{
    struct engine_txn *txn;
    struct bytes value;
    enum err err = inner->ops->read_begin(inner, &txn);
    if (err != OK)
        return err;
    err = inner->ops->get(txn, TABLE_FRONT, bytes_str(mark_key), &value);
    if (err == OK) {
        struct cursor in = cursor_of(value);
        struct bytes id = cursor_bytes(&in, LOG_ID_SIZE);
        uint64_t sequence = cursor_u64(&in), applying = cursor_u64(&in);
        if (cursor_finish(&in) == OK) {
            *ret = (struct log_mark){.present = true, .sequence = sequence, .applying = applying};
            memcpy(ret->id, id.data, LOG_ID_SIZE);
        } else {
            err = ERR_DAMAGED;
        }
    } else if (err == ERR_NOT_FOUND) {
        *ret = (struct log_mark){0};
        err = OK;
    }
    inner->ops->end(txn);
    return err;
}

enum err log_mark_put(struct engine *inner, struct engine_txn *txn, const struct log_mark *mark)
{
    struct buf value;
    buf_init(&value, LOG_ID_SIZE + 16);
    buf_put(&value, mark->id, LOG_ID_SIZE);
    buf_put_u64(&value, mark->sequence);
    buf_put_u64(&value, mark->applying);
    enum err err = value.err;
    if (err == OK)
        err = inner->ops->put(txn, TABLE_FRONT, bytes_str(mark_key), buf_bytes(&value));
    buf_done(&value);
    return err;
}

/* ---- generations ---------------------------------------------------------------- */

/* An entry takes some 170 bytes of a generation: ten bits for each, and at least
 * what fits a page. */
static size_t filter_bits_for(uint64_t generation_bytes)
{
    size_t bits = 1 << 15;
    while (bits < generation_bytes / 16)
        bits *= 2;
    return bits;
}

struct generation *generation_new(uint64_t bytes)
{
    struct generation *generation = mem_new(sizeof *generation);
    generation->table = memtable_new(filter_bits_for(bytes));
    generation->refs = 1;
    return generation;
}

struct generation *generation_unref_locked(struct generation *generation)
{
    return generation && --generation->refs == 0 ? generation : NULL;
}

void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    memtable_free(generation->table);
    free(generation);
}

bool logged_freeze_locked(struct logged *logged)
{
    if (logged->frozen || logged->inserting || !logged->active->last)
        return false;
    logged->frozen = logged->active;
    logged->active = generation_new(logged->memory_max / 2);
    return true;
}

bool log_engine_freeze(struct engine *engine)
{
    struct logged *logged = logged_of(engine);
    pthread_mutex_lock(&logged->lock);
    bool frozen = logged_freeze_locked(logged);
    pthread_mutex_unlock(&logged->lock);
    return frozen;
}

/* Shares of the whole are compared: entries applied, bytes filled. */
bool logged_behind_locked(const struct logged *logged)
{
    if (!logged->frozen)
        return false;
    uint64_t filled = memtable_bytes(logged->active->table), most = logged->memory_max / 2;
    return (double)filled * (double)memtable_entries(logged->frozen->table) >
           (double)logged->applied_entries * (double)most;
}

/* From the middle of the active generation on. */
static bool is_half_full_locked(const struct logged *logged)
{
    return memtable_bytes(logged->active->table) > logged->memory_max / 4;
}

bool log_engine_crowded(struct engine *engine)
{
    struct logged *logged = logged_of(engine);
    pthread_mutex_lock(&logged->lock);
    bool crowded = is_half_full_locked(logged) && logged->stuck == OK && logged_behind_locked(logged);
    pthread_mutex_unlock(&logged->lock);
    return crowded;
}

/* Bulk keeps to logged_behind_locked's line. Clients' writes have half of what is left of
 * the frozen generation beyond it, which is nothing at its end: so they need not stop. */
bool logged_far_behind_locked(const struct logged *logged)
{
    if (!logged->frozen || logged->stuck != OK || !is_half_full_locked(logged))
        return false;
    uint64_t filled = memtable_bytes(logged->active->table), most = logged->memory_max / 2;
    size_t entries = memtable_entries(logged->frozen->table);
    return 2 * (double)filled * (double)entries > (double)(entries + logged->applied_entries) * (double)most;
}

bool log_engine_behind(struct engine *engine)
{
    struct logged *logged = logged_of(engine);
    pthread_mutex_lock(&logged->lock);
    bool behind = logged_behind_locked(logged);
    pthread_mutex_unlock(&logged->lock);
    return behind;
}

/* The inner engine has all of it. */
static void drop_frozen(struct logged *logged)
{
    pthread_mutex_lock(&logged->lock);
    struct generation *done = logged->frozen;
    uint64_t last = done->last, cost = done->cost;
    logged->promised -= cost < logged->promised ? cost : logged->promised;
    logged->released += cost;
    logged->count.applied++;
    logged->frozen = NULL;
    logged->trimming = true;
    logged->applied_entries = 0;
    done = generation_unref_locked(done);
    pthread_mutex_unlock(&logged->lock);
    if (logged->on_applied)
        logged->on_applied(logged->listener);
    generation_free(done);
    logged->place = (struct place){0};
    logged->marked = last;
    if (logged->log)
        log_trim(logged->log, last);
    pthread_mutex_lock(&logged->lock);
    logged->trimming = false;
    logged->count.trims++;
    pthread_mutex_unlock(&logged->lock);
}

/* ---- a chunk -------------------------------------------------------------------- */

/* Ranges come before entries: an entry that is newer than the range stands again. */
static unsigned space_of_step(unsigned step)
{
    return (step + TABLES) % MEM_SPACES;
}

/* The first node at the place or after it; moves the place on over empty spaces. */
static const struct mem_node *node_at(const struct memtable *table, struct place *place)
{
    for (; place->step < MEM_SPACES; *place = (struct place){.step = place->step + 1}) {
        struct bytes after = bytes_of(place->after, place->after_len);
        const struct mem_node *node = memtable_seek(table, space_of_step(place->step), after);
        if (node && after.len && bytes_equal(mem_node_key(node), after))
            node = mem_node_next(node);
        if (node)
            return node;
    }
    return NULL;
}

static enum err apply_node(struct engine *inner, struct engine_txn *txn, const struct memtable *table,
                           unsigned space, const struct mem_node *node, size_t *bytes)
{
    struct mem_version version = {0};
    struct bytes key = mem_node_key(node);
    uint64_t range;
    CHECK(mem_node_at(node, UINT64_MAX, &version));
    *bytes += key.len + version.value.len;
    if (space >= TABLES)
        return inner->ops->del_below(txn, (enum table)(space - TABLES), key, version.value);
    bool gone = memtable_has(table, mem_ranges_of((enum table)space)) &&
                memtable_range(table, (enum table)space, key, UINT64_MAX, &range, NULL) &&
                range > version.sequence;
    return gone || !version.value.data ? inner->ops->del(txn, (enum table)space, key)
                                       : inner->ops->put(txn, (enum table)space, key, version.value);
}

/* As many entries as a chunk has, from the place on; the mark behind the last one. */
static enum err fill_chunk(struct logged *logged, struct engine_txn *txn, const struct generation *frozen,
                           struct place *place, struct chunk_size *ret_size, bool *ret_end)
{
    struct engine *inner = logged->inner;
    size_t most_bytes = logged->most.bytes;
    bool first = place->step == 0 && place->after_len == 0;
    const struct mem_node *node = node_at(frozen->table, place);
    size_t entries = 0, bytes = 0;
    enum err err = OK;
    while (node && err == OK && entries < logged->chunk && bytes < most_bytes) {
        err = apply_node(inner, txn, frozen->table, space_of_step(place->step), node, &bytes);
        struct bytes key = mem_node_key(node);
        CHECK(key.len <= sizeof place->after);
        memcpy(place->after, key.data, place->after_len = key.len);
        entries++;
        node = mem_node_next(node);
        if (!node) {
            *place = (struct place){.step = place->step + 1};
            node = node_at(frozen->table, place);
        }
    }
    *ret_size = (struct chunk_size){entries, bytes};
    *ret_end = !node;
    if (err != OK || (node && !first))
        return err;
    struct log_mark mark = {.present = true, .sequence = frozen->last};
    if (node) /* clocks are among the first entries, and speak for what is still to come */
        mark.sequence = logged->marked, mark.applying = frozen->last;
    memcpy(mark.id, logged->log_id, LOG_ID_SIZE);
    return log_mark_put(inner, txn, &mark);
}

static uint64_t inner_records(struct engine *inner)
{
    struct engine_usage usage;
    inner->ops->usage(inner, &usage);
    return usage.entries[TABLE_RECORDS];
}

static void count_chunk(struct logged *logged, struct chunk_size size, uint64_t more_records, enum err err)
{
    pthread_mutex_lock(&logged->lock);
    if (err != ERR_FULL || logged->chunk <= CHUNK_SMALL)
        logged->stuck = err; /* else a smaller chunk may do */
    logged->last = size;
    if (err == OK) {
        logged->applied_entries += size.entries;
        logged->count.applied_entries += size.entries;
        if (!logged->frozen->replayed)
            logged->frozen->records -= (int64_t)more_records;
        size_t most = !logged->brief && logged_behind_locked(logged) ? CHUNK_BEHIND : CHUNK_CALM;
        if (most > logged->most.entries)
            most = logged->most.entries;
        logged->chunk = logged->chunk < most / 2 ? logged->chunk * 2 : most;
    } else {
        logged->count.apply_failures++;
        logged->chunk = logged->chunk > 4 ? logged->chunk / 4 : 1;
    }
    pthread_mutex_unlock(&logged->lock);
}

void logged_init_chunks(struct logged *logged)
{
    logged->chunk = 1; /* grows with success */
    logged->most = (struct chunk_size){CHUNK_BEHIND, CHUNK_BYTES};
}

static size_t half_of(size_t n, size_t least)
{
    return n / 2 > least ? n / 2 : least;
}

static size_t twice(size_t n, size_t most)
{
    return n < most / 2 ? n * 2 : most;
}

void log_engine_took(struct engine *engine, uint64_t ms)
{
    struct logged *logged = logged_of(engine);
    pthread_mutex_lock(&logged->lock);
    struct chunk_size *most = &logged->most;
    if (ms >= LOG_CHUNK_SLOW_MS) {
        most->entries = half_of(logged->last.entries, CHUNK_LEAST);
        most->bytes = half_of(logged->last.bytes, CHUNK_BYTES_LEAST);
    } else if (ms < CHUNK_QUICK_MS) {
        most->entries = twice(most->entries, CHUNK_BEHIND);
        most->bytes = twice(most->bytes, CHUNK_BYTES);
    }
    if (logged->chunk > most->entries)
        logged->chunk = most->entries;
    pthread_mutex_unlock(&logged->lock);
}

void log_engine_be_brief(struct engine *engine)
{
    struct logged *logged = logged_of(engine);
    pthread_mutex_lock(&logged->lock);
    logged->brief = true;
    if (logged->chunk > CHUNK_CALM)
        logged->chunk = CHUNK_CALM;
    pthread_mutex_unlock(&logged->lock);
}

static enum err apply_chunk(struct logged *logged, const struct generation *frozen, bool *ret_end)
{
    struct engine *inner = logged->inner;
    struct engine_txn *txn;
    struct place place = logged->place;
    struct chunk_size size = {0};
    uint64_t records = 0;
    /* The first call, for it mends what must be before anybody can read. */
    enum err err = inner->ops->write_begin(inner, &txn);
    if (err == OK) {
        records = inner_records(inner);
        if (inner->ops->use_reserve)
            inner->ops->use_reserve(txn, logged->chunk <= CHUNK_SMALL);
        err = fill_chunk(logged, txn, frozen, &place, &size, ret_end);
        if (err == OK)
            err = inner->ops->commit(txn);
        else
            inner->ops->end(txn);
    }
    count_chunk(logged, size, err == OK ? inner_records(inner) - records : 0, err);
    if (err == OK)
        logged->place = place;
    return err;
}

enum err log_engine_apply(struct engine *engine)
{
    struct logged *logged = logged_of(engine);
    pthread_mutex_lock(&logged->lock);
    const struct generation *frozen = logged->frozen; /* stays: only we drop it */
    pthread_mutex_unlock(&logged->lock);
    if (!frozen)
        return ERR_NOT_FOUND;
    bool end = false;
    atomic_store(&logged->applying_to, frozen->last);
    enum err err = apply_chunk(logged, frozen, &end);
    if (err == OK && end)
        drop_frozen(logged);
    return err;
}

enum err logged_apply_what_fits(struct logged *logged)
{
    enum err err;
    size_t tried;
    do {
        tried = logged->chunk;
        err = log_engine_apply(&logged->face);
    } while (err == ERR_FULL && tried > 1);
    return err;
}

/* By the writer's thread, with no applier beside it. */
enum err logged_flush(struct engine *engine)
{
    struct logged *logged = logged_of(engine);
    enum err err = OK;
    while (err == OK) {
        log_engine_freeze(engine);
        if (!logged->frozen)
            return OK;
        err = logged_apply_what_fits(logged);
    }
    return err;
}
