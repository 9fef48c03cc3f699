/* Stores for tests; see the header. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "storekit.h"

#include "mem.h"

#include <stdlib.h>

enum { WALL_MS = 1000000, SKEW_MS = 60000, VERSIONS_MAX = 64 };

struct replica_id kit_id(unsigned n)
{
    return (struct replica_id){.b = {(uint8_t)(n >> 8), (uint8_t)n, 1}};
}

struct dot kit_dot(unsigned replica, uint64_t counter)
{
    return (struct dot){.replica = kit_id(replica), .counter = counter};
}

struct store *kit_store_on(struct engine *engine, unsigned n)
{
    struct store_options options = {.fresh_id = kit_id(n),
                                    .start_random = n,
                                    .wall_ms = WALL_MS,
                                    .skew_max_ms = SKEW_MS,
                                    .versions_max = VERSIONS_MAX};
    struct store *store = NULL;
    struct buf why;
    bool reidentified;
    buf_init(&why, 1000);
    assert_int_equal(store_open(engine, &options, &store, &reidentified, &why), OK);
    buf_done(&why);
    return store;
}

struct store *kit_store(unsigned n)
{
    return kit_store_on(engine_mem_new(), n);
}

enum err kit_run(struct store *store, struct store_work *work)
{
    return store_run(store, WALL_MS, work);
}

enum err kit_do(struct store *store, struct store_work *work)
{
    enum err err = kit_run(store, work);
    store_work_free(work);
    return err;
}

static enum err write(struct store *store, struct write_work write, struct dot *ret_dot)
{
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write = write;
    enum err err = kit_run(store, work);
    if (err == OK && ret_dot)
        *ret_dot = work->write.dot;
    store_work_free(work);
    return err;
}

enum err kit_put(struct store *store, const char *key, const char *value, const struct token *token,
                 struct dot *ret_dot)
{
    return write(store, (struct write_work){.key = bytes_str(key), .value = bytes_str(value), .token = token},
                 ret_dot);
}

enum err kit_add(struct store *store, const char *key, const char *value, struct dot *ret_dot)
{
    return write(store, (struct write_work){.key = bytes_str(key), .value = bytes_str(value), .add = true},
                 ret_dot);
}

enum err kit_delete(struct store *store, const char *key, const struct token *token, struct dot *ret_dot)
{
    return write(store, (struct write_work){.key = bytes_str(key), .remove = true, .token = token}, ret_dot);
}

static struct snapshot *snapshot_of(struct store *store)
{
    struct snapshot *snapshot = NULL;
    assert_int_equal(snapshot_open(store, &snapshot), OK);
    return snapshot;
}

const char *kit_value(struct store *store, const char *key)
{
    static char value[1000];
    struct snapshot *snapshot = snapshot_of(store);
    struct record record = {0};
    enum err err = snapshot_record(snapshot, bytes_str(key), &record);
    const struct version *version = record_surfaced(&record, WALL_MS);
    strcpy(value, err == OK || err == ERR_NOT_FOUND ? "" : "!");
    if (version) {
        assert_true(version->value.len < sizeof value);
        memcpy(value, version->value.data, version->value.len);
        value[version->value.len] = 0;
    }
    record_done(&record);
    snapshot_close(snapshot);
    return value;
}

size_t kit_versions(struct store *store, const char *key)
{
    struct snapshot *snapshot = snapshot_of(store);
    struct record record = {0};
    enum err err = snapshot_record(snapshot, bytes_str(key), &record);
    assert_true(err == OK || err == ERR_NOT_FOUND);
    size_t count = record.count;
    record_done(&record);
    snapshot_close(snapshot);
    return count;
}

static uint64_t vector_entry(struct store *store, unsigned replica, bool floor)
{
    struct snapshot *snapshot = snapshot_of(store);
    struct clock vector = {0};
    struct replica_id id = kit_id(replica);
    assert_int_equal(snapshot_clock(snapshot, floor ? NULL : &vector, floor ? &vector : NULL), OK);
    uint64_t counter = clock_get(&vector, &id);
    clock_done(&vector);
    snapshot_close(snapshot);
    return counter;
}

uint64_t kit_clock(struct store *store, unsigned replica)
{
    return vector_entry(store, replica, false);
}

uint64_t kit_floor(struct store *store, unsigned replica)
{
    return vector_entry(store, replica, true);
}

size_t kit_rows(struct store *store)
{
    struct snapshot *snapshot = snapshot_of(store);
    struct row_scan *scan = NULL;
    struct row row;
    size_t count = 0;
    assert_int_equal(row_scan_open(snapshot, &(struct dot){0}, &scan), OK);
    while (row_scan_next(scan, &row) == OK)
        count++;
    row_scan_close(scan);
    snapshot_close(snapshot);
    return count;
}

uint64_t kit_keys(struct store *store)
{
    struct snapshot *snapshot = snapshot_of(store);
    uint64_t count = snapshot_key_count(snapshot);
    snapshot_close(snapshot);
    return count;
}

/* ---- sending ---------------------------------------------------------------- */

enum { PAYLOAD_MAX = 64 << 10 };

struct store_work *kit_rows_work(enum work_kind kind)
{
    struct store_work *work = store_work_new(kind);
    /* All of it at once, so that it never moves and entries may borrow meanwhile. */
    buf_init(&work->rows.payload, PAYLOAD_MAX);
    assert_non_null(buf_extend(&work->rows.payload, PAYLOAD_MAX));
    buf_reset(&work->rows.payload);
    return work;
}

static struct bytes keep(struct buf *payload, struct bytes bytes)
{
    uint8_t *room = buf_extend(payload, bytes.len);
    assert_non_null(room);
    if (bytes.len)
        memcpy(room, bytes.data, bytes.len);
    return bytes_of(room, bytes.len);
}

void kit_add_entry(struct store_work *work, const struct row *row, struct bytes key, struct bytes record)
{
    struct rows_work *rows = &work->rows;
    rows->entries = mem_grow(rows->entries, (rows->count + 1) * sizeof *rows->entries);
    struct work_entry entry = {.key = keep(&rows->payload, key)};
    entry.record = keep(&rows->payload, record);
    if (row) {
        entry.dot = row->dot;
        entry.kind = row->kind;
    }
    rows->entries[rows->count++] = entry;
}

/* The bytes under a key as the source holds them, none when another entry of
 * this work brings them. */
static struct bytes record_bytes(struct snapshot *from, const struct rows_work *rows, struct bytes key)
{
    for (size_t i = 0; i < rows->count; i++)
        if (bytes_equal(rows->entries[i].key, key) && rows->entries[i].record.len)
            return bytes_of(NULL, 0);
    struct scan *scan = NULL;
    struct bytes found, record;
    assert_int_equal(scan_open(from, key, &scan), OK);
    if (scan_next(scan, &found, &record) != OK || !bytes_equal(found, key))
        record = bytes_of(NULL, 0); /* a weakened rule: who is sent the row will say so */
    scan_close(scan);
    return record;
}

void kit_add_row(struct store_work *work, struct snapshot *from, const struct row *row)
{
    kit_add_entry(work, row, row->key, record_bytes(from, &work->rows, row->key));
}

enum err kit_send(struct store *from, struct store *to, const struct replica_id *origin, size_t max,
                  bool check_floor)
{
    struct snapshot *source = snapshot_of(from), *target = snapshot_of(to);
    struct clock clock = {0}, floor = {0}, theirs = {0};
    struct store_work *work = kit_rows_work(WORK_ROWS);
    struct row_scan *scan = NULL;
    struct row row;
    assert_int_equal(snapshot_clock(source, &clock, &floor), OK);
    assert_int_equal(snapshot_clock(target, &theirs, NULL), OK);
    snapshot_close(target);

    struct dot at = {.replica = *origin, .counter = clock_get(&theirs, origin)};
    uint64_t top = clock_get(&clock, origin);
    work->rows.origin = *origin;
    work->rows.from = work->rows.to = at.counter;
    bool safe = !check_floor || clock_covers(&theirs, &floor);
    assert_int_equal(row_scan_open(source, &at, &scan), OK);
    while (safe && work->rows.count < max && work->rows.to < top && row_scan_next(scan, &row) == OK &&
           replica_id_equal(&row.dot.replica, origin)) {
        if (row.dot.counter != work->rows.to + 1)
            break; /* only where the floor is not looked at: rows are gone */
        kit_add_row(work, source, &row);
        work->rows.to = row.dot.counter;
    }
    row_scan_close(scan);
    snapshot_close(source);
    clock_done(&clock), clock_done(&floor), clock_done(&theirs);
    if (!safe || work->rows.count == 0) {
        store_work_free(work);
        return safe ? OK : ERR_FLOOR;
    }
    return kit_do(to, work);
}

static void copy_key(uint8_t to[KEY_MAX], size_t *to_len, struct bytes key)
{
    if (key.len)
        memcpy(to, key.data, key.len);
    *to_len = key.len;
}

enum err kit_walk_start(struct store *to)
{
    return kit_do(to, store_work_new(WORK_WALK_START));
}

static void piece_of_records(struct store_work *work, struct snapshot *source, size_t max)
{
    struct bytes after = bytes_of(work->rows.after, work->rows.after_len), key, record;
    struct scan *scan = NULL;
    assert_int_equal(scan_open(source, after, &scan), OK);
    enum err err = OK;
    while (work->rows.count < max && (err = scan_next(scan, &key, &record)) == OK)
        if (bytes_compare(key, after) > 0)
            kit_add_entry(work, NULL, key, record);
    work->rows.last = err == ERR_NOT_FOUND;
    if (work->rows.count)
        copy_key(work->rows.through, &work->rows.through_len, work->rows.entries[work->rows.count - 1].key);
    scan_close(scan);
}

static void piece_of_rows(struct store_work *work, struct snapshot *source, size_t max)
{
    struct row_scan *scan = NULL;
    struct row row;
    assert_int_equal(row_scan_open(source, &work->rows.row_after, &scan), OK);
    enum err err = OK;
    while (work->rows.count < max && (err = row_scan_next(scan, &row)) == OK)
        kit_add_entry(work, &row, row.key, bytes_of(NULL, 0));
    work->rows.last = err == ERR_NOT_FOUND;
    row_scan_close(scan);
}

enum err kit_walk_piece(struct store *to, struct store *from, size_t max)
{
    struct walk_state walk = {0};
    struct snapshot *target = snapshot_of(to), *source = snapshot_of(from);
    assert_int_equal(snapshot_walk(target, &walk), OK);
    snapshot_close(target);
    assert_true(walk.phase != WALK_NONE);

    struct store_work *work = kit_rows_work(walk.phase == WALK_RECORDS ? WORK_WALK_PIECE : WORK_WALK_ROWS);
    work->rows.serial = walk.serial;
    copy_key(work->rows.after, &work->rows.after_len, bytes_of(walk.after, walk.after_len));
    work->rows.row_after = walk.row_after;
    assert_int_equal(snapshot_clock(source, &work->rows.source_clock, &work->rows.source_floor), OK);
    if (walk.phase == WALK_RECORDS)
        piece_of_records(work, source, max);
    else
        piece_of_rows(work, source, max);
    walk_state_done(&walk);
    snapshot_close(source);
    return kit_do(to, work);
}

bool kit_walking(struct store *store)
{
    struct snapshot *snapshot = snapshot_of(store);
    struct walk_state walk = {0};
    assert_int_equal(snapshot_walk(snapshot, &walk), OK);
    bool walking = walk.phase != WALK_NONE;
    walk_state_done(&walk);
    snapshot_close(snapshot);
    return walking;
}

enum err kit_walk(struct store *to, struct store *from)
{
    enum err err = kit_walk_start(to);
    while (err == OK && kit_walking(to))
        err = kit_walk_piece(to, from, 3);
    return err;
}

enum err kit_prune(struct store *store, const struct clock *floor)
{
    bool more = true;
    enum err err = OK;
    while (more && err == OK) {
        struct store_work *work = store_work_new(WORK_PRUNE);
        clock_copy(&work->prune.floor, floor);
        err = kit_run(store, work);
        more = work->prune.more;
        store_work_free(work);
    }
    return err;
}
