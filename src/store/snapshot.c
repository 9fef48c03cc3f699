/* Reading: each snapshot is one read transaction of the engine, and everything
 * comes from it, so that records, rows, clock and walk are of one moment. */
#include "check.h"
#include "mem.h"
#include "txn.h"

#include <stdlib.h>

struct snapshot {
    struct store *store;
    struct engine *engine;
    struct engine_txn *txn;
    uint64_t floor_epoch; /* before it began */
};

enum err snapshot_open(struct store *store, struct snapshot **ret)
{
    struct engine_txn *txn;
    uint64_t floor_epoch = store->floor_epoch;
    enum err err = store->engine->ops->read_begin(store->engine, &txn);
    if (err != OK)
        return err;
    struct snapshot *snapshot = mem_new(sizeof *snapshot);
    *snapshot = (struct snapshot){
        .store = store, .engine = store->engine, .txn = txn, .floor_epoch = floor_epoch};
    *ret = snapshot;
    return OK;
}

void snapshot_close(struct snapshot *snapshot)
{
    if (!snapshot)
        return;
    snapshot->engine->ops->end(snapshot->txn);
    free(snapshot);
}

enum err snapshot_record(struct snapshot *snapshot, struct bytes key, struct record *ret)
{
    record_clear(ret);
    struct bytes bytes;
    enum err err = snapshot->engine->ops->get(snapshot->txn, TABLE_RECORDS, key, &bytes);
    if (err != OK)
        return err;
    if (record_decode(key, bytes, ret) == OK)
        return OK;
    snapshot_met_damage(snapshot, key, NULL);
    return ERR_DAMAGED;
}

void snapshot_met_damage(struct snapshot *snapshot, struct bytes key, const struct dot *proof)
{
    snapshot->store->records_damaged++;
    store_note_damage(snapshot->store, key, proof);
}

enum err snapshot_record_bytes(struct snapshot *snapshot, struct bytes key, struct bytes *ret)
{
    return snapshot->engine->ops->get(snapshot->txn, TABLE_RECORDS, key, ret);
}

enum err snapshot_highest(struct snapshot *snapshot, const struct replica_id *id, uint64_t *ret)
{
    const struct engine_ops *ops = snapshot->engine->ops;
    struct engine_cursor *cursor;
    struct clock clock = {0};
    struct dot last;
    uint8_t above[ROW_KEY_SIZE];
    struct bytes key, value;
    enum err err = clocks_load(snapshot->engine, snapshot->txn, &clock, NULL);
    uint64_t highest = clock_get(&clock, id);
    clock_done(&clock);
    if (err == OK)
        err = ops->cursor_open(snapshot->txn, TABLE_ROWS, &cursor);
    if (err != OK)
        return err;
    err = ops->cursor_before(cursor, row_key(&(struct dot){*id, UINT64_MAX}, above), &key, &value);
    if (err == OK)
        err = row_key_decode(key, &last);
    if (err == OK && replica_id_equal(&last.replica, id) && last.counter > highest)
        highest = last.counter;
    ops->cursor_close(cursor);
    if (err != OK && err != ERR_NOT_FOUND)
        return err;
    *ret = highest;
    return OK;
}

enum err snapshot_clock(struct snapshot *snapshot, struct clock *ret_clock, struct clock *ret_floor)
{
    return clocks_load(snapshot->engine, snapshot->txn, ret_clock, ret_floor);
}

/* Between an even epoch before one snapshot began and the same epoch after another
 * did, no commit that raises the floor has become visible: both show the same one. */
enum err snapshot_floor(struct snapshot *snapshot, struct floor_cache *cache)
{
    uint64_t epoch = snapshot->store->floor_epoch;
    if (cache->valid && cache->epoch == epoch)
        return OK;
    cache->valid = false;
    enum err err = snapshot_clock(snapshot, NULL, &cache->floor);
    if (err != OK)
        return err;
    cache->valid = snapshot->floor_epoch == epoch && epoch % 2 == 0;
    cache->epoch = epoch;
    return OK;
}

enum err snapshot_identity(struct snapshot *snapshot, struct identity *ret)
{
    return identity_load(snapshot->engine, snapshot->txn, ret);
}

enum err snapshot_walk(struct snapshot *snapshot, struct walk_state *ret)
{
    return walk_load(snapshot->engine, snapshot->txn, ret);
}

enum err snapshot_next_expiry(struct snapshot *snapshot, uint64_t *ret_ms)
{
    return expire_first(snapshot->engine, snapshot->txn, ret_ms);
}

enum err snapshot_quarantine(struct snapshot *snapshot, void (*each)(void *ctx, const struct dot *dot),
                             void *ctx)
{
    return snapshot_quarantine_of(snapshot->engine, snapshot->txn, each, ctx);
}

uint64_t snapshot_key_count(struct snapshot *snapshot)
{
    struct engine_usage usage;
    snapshot->engine->ops->usage(snapshot->engine, &usage);
    return usage.entries[TABLE_RECORDS];
}

/* ---- scans ------------------------------------------------------------------ */

/* A cursor that has not been moved yet knows where to begin. */
struct scan {
    struct engine *engine;
    struct engine_cursor *cursor;
    bool started;
    struct buf from;
};

static enum err scan_start(struct snapshot *snapshot, enum table table, struct bytes from, struct scan **ret)
{
    struct engine_cursor *cursor;
    enum err err = snapshot->engine->ops->cursor_open(snapshot->txn, table, &cursor);
    if (err != OK)
        return err;
    struct scan *scan = mem_new(sizeof *scan);
    *scan = (struct scan){.engine = snapshot->engine, .cursor = cursor};
    buf_init(&scan->from, KEY_MAX + 1);
    buf_put_bytes(&scan->from, from);
    if (scan->from.err != OK) { /* longer than any key */
        err = scan->from.err;
        scan_close(scan);
        return err;
    }
    *ret = scan;
    return OK;
}

enum err scan_open(struct snapshot *snapshot, struct bytes from, struct scan **ret)
{
    return scan_start(snapshot, TABLE_RECORDS, from, ret);
}

enum err scan_next(struct scan *scan, struct bytes *ret_key, struct bytes *ret_record)
{
    const struct engine_ops *ops = scan->engine->ops;
    bool first = !scan->started;
    scan->started = true;
    return first ? ops->cursor_seek(scan->cursor, buf_bytes(&scan->from), ret_key, ret_record)
                 : ops->cursor_next(scan->cursor, ret_key, ret_record);
}

enum err scan_seek(struct scan *scan, struct bytes key, struct bytes *ret_key, struct bytes *ret_record)
{
    scan->started = true;
    return scan->engine->ops->cursor_seek(scan->cursor, key, ret_key, ret_record);
}

enum err scan_before(struct scan *scan, struct bytes below, struct bytes *ret_key, struct bytes *ret_record)
{
    /* Copied: the engines may move what they gave out before. */
    buf_reset(&scan->from);
    buf_put_bytes(&scan->from, below);
    scan->started = true;
    if (scan->from.err != OK)
        return scan->from.err;
    return scan->engine->ops->cursor_before(scan->cursor, buf_bytes(&scan->from), ret_key, ret_record);
}

void scan_close(struct scan *scan)
{
    if (!scan)
        return;
    scan->engine->ops->cursor_close(scan->cursor);
    buf_done(&scan->from);
    free(scan);
}

struct row_scan {
    struct scan *scan; /* NULL when `after` was the last dot of all */
};

enum err row_scan_open(struct snapshot *snapshot, const struct dot *after, struct row_scan **ret)
{
    struct dot from = *after;
    struct scan *scan = NULL;
    if (dot_after(&from)) {
        uint8_t key[ROW_KEY_SIZE];
        enum err err = scan_start(snapshot, TABLE_ROWS, row_key(&from, key), &scan);
        if (err != OK)
            return err;
    }
    struct row_scan *rows = mem_new(sizeof *rows);
    rows->scan = scan;
    *ret = rows;
    return OK;
}

enum err row_scan_next(struct row_scan *scan, struct row *ret)
{
    struct bytes key, value;
    enum err err = scan->scan ? scan_next(scan->scan, &key, &value) : ERR_NOT_FOUND;
    if (err != OK)
        return err;
    err = row_decode(key, value, ret);
    if (err != OK && row_key_decode(key, &ret->dot) != OK)
        ret->dot = (struct dot){0};
    return err;
}

void row_scan_close(struct row_scan *scan)
{
    if (!scan)
        return;
    scan_close(scan->scan);
    free(scan);
}

/* Replica by replica: what the clock covers is jumped over, not read; nor is a row that
 * cannot be: its operation comes again. */
enum err snapshot_rows_ahead(struct snapshot *snapshot, size_t max,
                             void (*each)(void *ctx, const struct row *row), void *ctx)
{
    return snapshot_rows_ahead_after(snapshot, &(struct dot){0}, max, each, ctx);
}

enum err snapshot_rows_ahead_after(struct snapshot *snapshot, const struct dot *after, size_t max,
                                   void (*each)(void *ctx, const struct row *row), void *ctx)
{
    const struct engine_ops *ops = snapshot->engine->ops;
    struct clock clock = {0};
    struct engine_cursor *cursor = NULL;
    enum err err = snapshot_clock(snapshot, &clock, NULL);
    if (err == OK)
        err = ops->cursor_open(snapshot->txn, TABLE_ROWS, &cursor);
    struct dot from = *after;
    for (bool more = dot_after(&from); err == OK && more && max > 0;) {
        uint8_t at[ROW_KEY_SIZE];
        struct bytes key, value;
        struct row row;
        err = ops->cursor_seek(cursor, row_key(&from, at), &key, &value);
        if (err == OK)
            err = row_key_decode(key, &from);
        if (err != OK)
            break;
        if (clock_covers_dot(&clock, &from)) {
            from.counter = clock_get(&clock, &from.replica);
        } else if (row_decode(key, value, &row) == OK) {
            each(ctx, &row);
            max--;
        }
        more = dot_after(&from);
    }
    if (cursor)
        ops->cursor_close(cursor);
    clock_done(&clock);
    return err == ERR_NOT_FOUND ? OK : err;
}

/* ---- notes ------------------------------------------------------------------- */

static enum err note_key(const char *name, struct buf *key)
{
    buf_init(key, sizeof META_NOTE_PREFIX + NOTE_NAME_MAX);
    buf_put_text(key, META_NOTE_PREFIX);
    buf_put_text(key, name);
    return key->err == ERR_TOO_LARGE ? ERR_NOT_FOUND : key->err;
}

enum err snapshot_note(struct snapshot *snapshot, const char *name, struct bytes *ret)
{
    struct buf key;
    enum err err = note_key(name, &key);
    if (err == OK)
        err = snapshot->engine->ops->get(snapshot->txn, TABLE_META, buf_bytes(&key), ret);
    buf_done(&key);
    return err;
}

enum err snapshot_notes(struct snapshot *snapshot, const char *prefix,
                        void (*each)(void *ctx, struct bytes name, struct bytes value), void *ctx)
{
    struct buf from;
    struct scan *scan = NULL;
    enum err err = note_key(prefix, &from);
    if (err == OK)
        err = scan_start(snapshot, TABLE_META, buf_bytes(&from), &scan);
    while (err == OK) {
        struct bytes key, value;
        err = scan_next(scan, &key, &value);
        if (err != OK || !bytes_starts_with(key, buf_bytes(&from)))
            break;
        size_t skip = sizeof META_NOTE_PREFIX - 1;
        each(ctx, bytes_of(key.data + skip, key.len - skip), value);
    }
    scan_close(scan);
    buf_done(&from);
    return err == ERR_NOT_FOUND ? OK : err;
}
