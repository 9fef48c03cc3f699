/* What the store keeps within bounds: deleted keys cost nothing, expired versions go,
 * what cannot be read is put aside, dead ids end, replicas and versions have a most. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "keys.h"
#include "storekit.h"

static struct clock clock_of(struct dot dot)
{
    struct clock clock = {0};
    clock_raise(&clock, &dot);
    return clock;
}

static void send_all(struct store *from, struct store *to, unsigned origin)
{
    struct replica_id id = kit_id(origin);
    assert_int_equal(kit_send(from, to, &id, 1000, true), OK);
}

static enum err put_expiring(struct store *store, const char *key, uint64_t expires_ms, bool add)
{
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write = (struct write_work){
        .key = bytes_str(key), .value = bytes_str("1"), .expires_ms = expires_ms, .add = add};
    return kit_do(store, work);
}

static bool expire(struct store *store, uint64_t before_ms)
{
    struct store_work *work = store_work_new(WORK_EXPIRE);
    work->expire.before_ms = before_ms;
    assert_int_equal(kit_run(store, work), OK);
    bool more = work->expire.more;
    store_work_free(work);
    return more;
}

static struct store_counters counters_of(struct store *store)
{
    struct store_counters counters;
    store_counters(store, &counters);
    return counters;
}

static uint64_t next_expiry(struct store *store)
{
    struct snapshot *snapshot;
    uint64_t ms = 0;
    assert_int_equal(snapshot_open(store, &snapshot), OK);
    enum err err = snapshot_next_expiry(snapshot, &ms);
    snapshot_close(snapshot);
    assert_true(err == OK || err == ERR_NOT_FOUND);
    return ms;
}

/* ---- space ------------------------------------------------------------------------ */

/* Entries and bytes of all tables, but for the vectors (a few bytes per replica). */
static uint64_t entries_of(struct engine *engine)
{
    struct engine_usage usage;
    engine->ops->usage(engine, &usage);
    return usage.entries[TABLE_RECORDS] + usage.entries[TABLE_ROWS] + usage.entries[TABLE_META];
}

static uint64_t bytes_of_tables(struct engine *engine)
{
    struct engine_usage usage;
    engine->ops->usage(engine, &usage);
    uint64_t bytes = 0;
    for (size_t i = 0; i < TABLES; i++)
        bytes += usage.table_bytes[i];
    return bytes;
}

/* Once everyone has the deletes and history has passed, a deleted key occupies nothing:
 * the tables hold what they held before the first of a thousand keys, to the byte.
 * (Before it, one key is put and deleted, so that the clock has its entry.) */
static void a_deleted_key_occupies_nothing(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *s = kit_store_on(engine, 1);
    assert_int_equal(kit_put(s, "first", "1", NULL, NULL), OK);
    assert_int_equal(kit_delete(s, "first", NULL, NULL), OK);
    struct clock all = clock_of(kit_dot(1, 2));
    assert_int_equal(kit_prune(s, &all), OK);
    uint64_t entries = entries_of(engine), bytes = bytes_of_tables(engine);
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < 1000; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%d", i);
            assert_int_equal(put_expiring(s, key, i % 2 ? 3000000 + (uint64_t)i : 0, false), OK);
        }
        assert_true(entries_of(engine) >= entries + 2500); /* records, rows, expiries */
        for (int i = 0; i < 1000; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%d", i);
            assert_int_equal(kit_delete(s, key, NULL, NULL), OK);
        }
        all.entries[0].counter = kit_clock(s, 1);
        assert_int_equal(kit_prune(s, &all), OK);
        assert_int_equal(entries_of(engine), entries);
        assert_int_equal(bytes_of_tables(engine), bytes);
    }
    clock_done(&all);
    store_close(s);
}

/* ---- expiry ----------------------------------------------------------------------- */

/* Dropped at its time and not before, and when history has passed it costs nothing. */
static void an_expired_version_goes(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *s = kit_store_on(engine, 1);
    assert_int_equal(put_expiring(s, "k", 2000000, false), OK);
    assert_int_equal(put_expiring(s, "later", 2000001, false), OK);
    assert_int_equal(kit_put(s, "never", "1", NULL, NULL), OK);
    assert_int_equal(next_expiry(s), 2000000);

    assert_false(expire(s, 1999999));
    assert_int_equal(kit_versions(s, "k"), 1);
    assert_false(expire(s, 2000000));
    assert_int_equal(kit_versions(s, "k"), 0);
    assert_int_equal(kit_versions(s, "later"), 1);
    assert_int_equal(kit_versions(s, "never"), 1);
    assert_int_equal(counters_of(s).versions_expired, 1);
    assert_int_equal(next_expiry(s), 2000001);

    struct clock all = clock_of(kit_dot(1, 3));
    assert_int_equal(kit_keys(s), 3);
    assert_int_equal(kit_prune(s, &all), OK);
    assert_int_equal(kit_keys(s), 2);
    assert_int_equal(kit_clock(s, 1), 3); /* it made no operation */
    clock_done(&all);
    store_close(s);
}

/* A write that replaces an expiring version takes its time along. */
static void the_index_follows_the_versions(void **state)
{
    struct store *s = kit_store(1);
    assert_int_equal(put_expiring(s, "k", 2000000, false), OK);
    assert_int_equal(put_expiring(s, "k", 2500000, false), OK);
    assert_int_equal(next_expiry(s), 2500000);
    assert_int_equal(put_expiring(s, "k", 2500000, true), OK); /* two of one time share an entry */
    assert_int_equal(kit_versions(s, "k"), 2);
    assert_int_equal(kit_put(s, "k", "2", NULL, NULL), OK);
    assert_int_equal(next_expiry(s), 0);
    assert_false(expire(s, 9000000));
    assert_int_equal(kit_versions(s, "k"), 1);
    store_close(s);
}

/* What one store has dropped, another that has not does not bring back: neither by a
 * record, nor by a walk, also when the context is forgotten. */
static void a_dropped_version_does_not_come_back(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2);
    assert_int_equal(put_expiring(a, "k", 2000000, false), OK);
    send_all(a, b, 1);
    assert_int_equal(next_expiry(b), 2000000); /* merged versions are in the index too */
    assert_false(expire(b, 2000000));
    struct clock all = clock_of(kit_dot(1, 1));
    assert_int_equal(kit_prune(b, &all), OK);
    assert_int_equal(kit_keys(b), 0);

    assert_int_equal(kit_add(a, "k", "2", NULL), OK); /* its record has the old version beside it */
    send_all(a, b, 1);
    assert_int_equal(kit_versions(a, "k"), 2);
    assert_int_equal(kit_versions(b, "k"), 1);
    assert_int_equal(kit_walk(b, a), OK);
    assert_int_equal(kit_versions(b, "k"), 1);
    clock_done(&all);
    store_close(a), store_close(b);
}

static void dropping_is_bounded(void **state)
{
    struct store *s = kit_store(1);
    for (int i = 0; i < 1200; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(put_expiring(s, key, 2000000, false), OK);
    }
    assert_true(expire(s, 2000000));
    assert_int_equal(counters_of(s).versions_expired, 500);
    assert_true(expire(s, 2000000));
    assert_false(expire(s, 2000000));
    assert_int_equal(counters_of(s).versions_expired, 1200);
    store_close(s);
}

/* ---- quarantine ---------------------------------------------------------------------- */

/* The rows (from, to] of replica 1, as `from_store` has them. */
static struct store_work *rows_of(struct store *from_store, uint64_t from, uint64_t to)
{
    struct store_work *work = kit_rows_work(WORK_ROWS);
    struct snapshot *snapshot;
    struct row_scan *scan;
    struct row row;
    struct dot after = kit_dot(1, from);
    assert_int_equal(snapshot_open(from_store, &snapshot), OK);
    assert_int_equal(row_scan_open(snapshot, &after, &scan), OK);
    for (uint64_t n = from; n < to; n++) {
        assert_int_equal(row_scan_next(scan, &row), OK);
        kit_add_row(work, snapshot, &row);
    }
    work->rows.origin = kit_id(1);
    work->rows.from = from;
    work->rows.to = to;
    row_scan_close(scan);
    snapshot_close(snapshot);
    return work;
}

/* The first byte of its record says a format that nobody knows. */
static void spoil(struct store_work *work, size_t entry)
{
    *(uint8_t *)work->rows.entries[entry].record.data = 99;
}

static bool run_rows(struct store *to, struct store_work *work)
{
    assert_int_equal(kit_run(to, work), OK);
    bool held = work->rows.held;
    store_work_free(work);
    return held;
}

/* A record that cannot be read is kept, the clock stands below it, and what comes behind
 * it is read all the same; once it comes readable, all is as if nothing had been. */
static void what_cannot_be_read_is_kept(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *a = kit_store(1), *b = kit_store_on(engine, 2);
    uint64_t empty = entries_of(engine);
    for (int i = 0; i < 4; i++)
        assert_int_equal(kit_put(a, (char[]){'k', (char)('1' + i), 0}, "1", NULL, NULL), OK);
    struct store_work *work = rows_of(a, 0, 3);
    spoil(work, 1);
    assert_true(run_rows(b, work));
    assert_int_equal(kit_clock(b, 1), 1);
    assert_string_equal(kit_value(b, "k1"), "1");
    assert_string_equal(kit_value(b, "k2"), "");
    assert_string_equal(kit_value(b, "k3"), "1");
    assert_int_equal(counters_of(b).quarantined, 1);
    assert_true(counters_of(b).quarantined_bytes > 30);

    assert_true(run_rows(b, rows_of(a, 3, 4))); /* a gap that is known is none */
    assert_string_equal(kit_value(b, "k4"), "1");
    assert_int_equal(kit_clock(b, 1), 1);

    work = rows_of(a, 1, 4);
    spoil(work, 0);
    assert_true(run_rows(b, work)); /* again: kept once */
    assert_int_equal(counters_of(b).quarantined, 1);

    assert_false(run_rows(b, rows_of(a, 1, 4)));
    assert_int_equal(kit_clock(b, 1), 4);
    assert_string_equal(kit_value(b, "k2"), "1");
    assert_int_equal(counters_of(b).quarantined, 0);
    assert_int_equal(counters_of(b).quarantined_bytes, 0);
    assert_int_equal(entries_of(engine), empty + 8); /* records and rows */
    store_close(a), store_close(b);
}

/* Where nothing is in quarantine a gap is one. */
static void a_gap_without_quarantine_is_refused(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2);
    for (int i = 0; i < 4; i++)
        assert_int_equal(kit_put(a, (char[]){'k', (char)('1' + i), 0}, "1", NULL, NULL), OK);
    struct store_work *work = rows_of(a, 1, 2);
    spoil(work, 0);
    assert_int_equal(kit_do(b, work), ERR_BEHIND);
    assert_int_equal(counters_of(b).quarantined, 0);
    store_close(a), store_close(b);
}

/* As a later program finds it: the same bytes, and now it can read them. */
static void become_readable(struct engine *engine)
{
    struct engine_txn *txn;
    struct engine_cursor *cursor;
    struct bytes key, value;
    uint8_t name[600], copy[600];
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->cursor_open(txn, TABLE_META, &cursor), OK);
    assert_int_equal(engine->ops->cursor_seek(cursor, bytes_str("quarantine/"), &key, &value), OK);
    assert_true(bytes_starts_with(key, bytes_str("quarantine/")) && value.len < sizeof copy);
    memcpy(name, key.data, key.len);
    memcpy(copy, value.data, value.len);
    size_t name_len = key.len, len = value.len;
    engine->ops->cursor_close(cursor);
    size_t at = 1 + 1 + copy[1]; /* kind, the key's length, the key */
    assert_int_equal(copy[at], 99);
    copy[at] = 1;
    assert_int_equal(engine->ops->put(txn, TABLE_META, bytes_of(name, name_len), bytes_of(copy, len)), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
}

/* It outlives a restart as it came, and a program that can read it applies it. */
static void the_quarantine_is_tried_again(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *a = kit_store(1), *b = kit_store_on(engine, 2);
    assert_int_equal(kit_put(a, "k1", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(a, "k2", "2", NULL, NULL), OK);
    struct store_work *work = rows_of(a, 0, 2);
    spoil(work, 0);
    assert_true(run_rows(b, work));
    assert_int_equal(kit_do(b, store_work_new(WORK_QUARANTINE)), OK);
    assert_int_equal(kit_clock(b, 1), 0);
    assert_int_equal(counters_of(b).quarantined, 1);

    become_readable(engine);
    assert_int_equal(kit_do(b, store_work_new(WORK_QUARANTINE)), OK);
    assert_int_equal(kit_clock(b, 1), 1);
    assert_string_equal(kit_value(b, "k1"), "1");
    assert_int_equal(counters_of(b).quarantined, 0);
    assert_false(run_rows(b, rows_of(a, 1, 2)));
    assert_int_equal(kit_clock(b, 1), 2);
    store_close(a), store_close(b);
}

/* A full quarantine takes nothing more, and the clock stays below. */
static void the_quarantine_is_bounded(void **state)
{
    struct store_options options = {
        .fresh_id = kit_id(2), .skew_max_ms = 60000, .versions_max = 64, .quarantine_max = 100};
    struct store *a = kit_store(1), *b;
    struct buf why;
    bool reidentified;
    buf_init(&why, 100);
    assert_int_equal(store_open(engine_mem_new(), &options, &b, &reidentified, &why), OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(kit_put(a, (char[]){'k', (char)('1' + i), 0}, "1", NULL, NULL), OK);
    struct store_work *work = rows_of(a, 0, 4);
    spoil(work, 1), spoil(work, 2);
    assert_int_equal(kit_do(b, work), ERR_VERSION);
    assert_int_equal(kit_clock(b, 1), 1);
    assert_int_equal(counters_of(b).quarantined, 1);
    assert_true(counters_of(b).quarantined_bytes <= 100);
    buf_done(&why);
    store_close(a), store_close(b);
}

/* A walk takes nothing that cannot be read, and nothing behind it. */
static void a_walk_stops_at_what_cannot_be_read(void **state)
{
    struct store *b = kit_store(2);
    struct clock clock = clock_of(kit_dot(1, 1));
    assert_int_equal(kit_walk_start(b), OK);
    struct store_work *work = kit_rows_work(WORK_WALK_PIECE);
    kit_add_entry(work, NULL, bytes_str("k"), bytes_str("\x63 rubbish"));
    work->rows.serial = 1;
    work->rows.last = true;
    clock_copy(&work->rows.source_clock, &clock);
    assert_int_equal(kit_do(b, work), ERR_MALFORMED);
    assert_true(kit_walking(b));
    assert_int_equal(kit_clock(b, 1), 0);
    clock_done(&clock);
    store_close(b);
}

/* ---- retired ids ------------------------------------------------------------------------ */

static struct retire_view view_of(struct store *store, unsigned replica)
{
    struct snapshot *snapshot;
    struct retire_view view = {0};
    struct replica_id id = kit_id(replica);
    assert_int_equal(snapshot_open(store, &snapshot), OK);
    assert_int_equal(snapshot_retire_view(snapshot, &id, &view), OK);
    snapshot_close(snapshot);
    return view;
}

static enum err retire(struct store *store, unsigned replica, struct retire_view view)
{
    struct store_work *work = store_work_new(WORK_RETIRE);
    work->retire.id = kit_id(replica);
    work->retire.view = view;
    return kit_do(store, work);
}

/* b and c hold the third operation of replica 1, found early; the second nobody has. */
static void stranded_on(struct engine **ret_engine, struct store **ret_b, struct store **ret_c)
{
    *ret_engine = engine_mem_new();
    struct store *a = kit_store(1), *b = kit_store_on(*ret_engine, 2), *c = kit_store(3);
    assert_int_equal(kit_put(a, "x", "1", NULL, NULL), OK);
    send_all(a, b, 1);
    send_all(a, c, 1);
    assert_int_equal(kit_put(a, "lost", "2", NULL, NULL), OK);
    assert_int_equal(kit_put(a, "x", "3", NULL, NULL), OK);
    struct store_work *work = rows_of(a, 2, 3);
    work->kind = WORK_AHEAD;
    assert_int_equal(kit_do(b, work), OK);
    work = rows_of(a, 2, 3);
    work->kind = WORK_AHEAD;
    assert_int_equal(kit_do(c, work), OK);
    store_close(a);
    *ret_b = b;
    *ret_c = c;
}

static void stranded(struct store **ret_b, struct store **ret_c)
{
    struct engine *engine;
    stranded_on(&engine, ret_b, ret_c);
}

/* The clock and the floor rise over the gap, and what is deleted then costs nothing. */
static void a_retired_id_ends(void **state)
{
    struct store *b, *c;
    stranded(&b, &c);
    struct retire_view view = view_of(b, 1), other = view_of(c, 1);
    assert_true(retire_view_equal(&view, &other));
    assert_int_equal(view.base, 1);
    assert_int_equal(view.top, 3);
    assert_int_equal(retire(b, 1, view), OK);
    assert_int_equal(kit_clock(b, 1), 3);
    assert_int_equal(kit_floor(b, 1), 3);
    assert_string_equal(kit_value(b, "x"), "3");
    struct replica_id one = kit_id(1);
    assert_int_equal(kit_send(b, c, &one, 10, true), ERR_FLOOR); /* until it has raised it too: a walk */
    assert_int_equal(retire(c, 1, view), OK);
    assert_int_equal(kit_delete(b, "x", NULL, NULL), OK);
    send_all(b, c, 2);
    assert_string_equal(kit_value(c, "x"), "");
    struct clock all = clock_of(kit_dot(2, 1));
    assert_int_equal(kit_prune(b, &all), OK);
    assert_int_equal(kit_keys(b), 0);
    assert_int_equal(kit_rows(b), 0);
    clock_done(&all);
    store_close(b), store_close(c);
}

/* Of something that came meanwhile nobody else knows: the clock does not rise over it. */
static void a_view_that_is_old_raises_nothing(void **state)
{
    struct store *b, *c;
    stranded(&b, &c);
    struct retire_view view = view_of(b, 1);
    view.digest ^= 1;
    assert_int_equal(retire(b, 1, view), ERR_CONFLICT);
    view = view_of(b, 1);
    view.top = 2;
    assert_int_equal(retire(b, 1, view), ERR_CONFLICT);
    assert_int_equal(kit_clock(b, 1), 1);
    view = view_of(b, 2);
    assert_int_equal(retire(b, 2, view), ERR_REFUSED); /* its own id */
    view = view_of(b, 1);
    assert_int_equal(kit_walk_start(b), OK);
    assert_int_equal(retire(b, 1, view), ERR_WALKING);
    store_close(b), store_close(c);
}

/* Of a row found early that cannot be read the view cannot be told: it is made again. */
static void a_damaged_early_row_is_made_again(void **state)
{
    struct store *b, *c;
    struct engine *engine;
    stranded_on(&engine, &b, &c);
    struct retire_view whole = view_of(b, 1);
    struct snapshot *snapshot;
    struct retire_view view = {0};
    struct replica_id one = kit_id(1);
    uint8_t key[ROW_KEY_SIZE];
    struct engine_txn *txn;
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_ROWS, row_key(&(struct dot){one, 3}, key), bytes_str("?")),
                     OK);
    assert_int_equal(engine->ops->commit(txn), OK);
    assert_int_equal(snapshot_open(b, &snapshot), OK);
    assert_int_equal(snapshot_retire_view(snapshot, &one, &view), ERR_DAMAGED);
    snapshot_close(snapshot);

    assert_int_equal(retire(b, 1, whole), ERR_CONFLICT); /* first it is mended */
    assert_int_equal(kit_clock(b, 1), 1);
    view = view_of(b, 1);
    assert_true(retire_view_equal(&view, &whole));
    assert_int_equal(retire(b, 1, view), OK);
    assert_int_equal(kit_clock(b, 1), 3);
    store_close(b), store_close(c);
}

/* ---- versions and replicas ---------------------------------------------------------------- */

/* A key with as many versions as there may be says so once. */
static void a_refused_write_is_news_once(void **state)
{
    struct store_options options = {.fresh_id = kit_id(1), .skew_max_ms = 60000, .versions_max = 2};
    struct store *s;
    struct buf why;
    bool reidentified;
    buf_init(&why, 100);
    assert_int_equal(store_open(engine_mem_new(), &options, &s, &reidentified, &why), OK);
    static const char *const keys[] = {"one", "two"};
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(kit_add(s, keys[k], "1", NULL), OK);
        assert_int_equal(kit_add(s, keys[k], "2", NULL), OK);
        for (int turn = 0; turn < 3; turn++) {
            struct store_work *work = store_work_new(WORK_WRITE);
            work->write = (struct write_work){
                .key = bytes_str(keys[k]), .value = bytes_str("3"), .add = true};
            assert_int_equal(kit_run(s, work), ERR_CONFLICT);
            assert_int_equal(work->write.first_refusal, turn == 0);
            store_work_free(work);
        }
    }
    assert_int_equal(counters_of(s).conflicts_refused, 6);
    assert_int_equal(kit_put(s, "one", "resolved", NULL, NULL), OK);
    assert_int_equal(kit_versions(s, "one"), 1);
    assert_int_equal(kit_add(s, "one", "again", NULL), OK);
    buf_done(&why);
    store_close(s);
}

/* Merges are never cut: what peers hold beside each other is kept. */
static void merges_are_not_cut(void **state)
{
    struct store_options options = {.fresh_id = kit_id(9), .skew_max_ms = 60000, .versions_max = 2};
    struct store *s;
    struct buf why;
    bool reidentified;
    buf_init(&why, 100);
    assert_int_equal(store_open(engine_mem_new(), &options, &s, &reidentified, &why), OK);
    for (unsigned i = 1; i <= 5; i++) {
        struct store *peer = kit_store(i);
        assert_int_equal(kit_put(peer, "k", "1", NULL, NULL), OK);
        send_all(peer, s, i);
        store_close(peer);
    }
    assert_int_equal(kit_versions(s, "k"), 5);
    assert_int_equal(kit_add(s, "k", "6", NULL), ERR_CONFLICT);
    buf_done(&why);
    store_close(s);
}

/* A store that knows as many replicas as there may be, and has none of its own operations,
 * refuses its first: nobody could read its clock. It goes on as a copy. */
static void the_own_id_may_be_one_too_many(void **state)
{
    struct store *s = kit_store(2000);
    for (unsigned i = 0; i < CLOCK_REPLICAS_MAX; i++) {
        struct replica_id id = kit_id(i + 1);
        struct store_work *work = kit_rows_work(WORK_ROWS);
        char name[16];
        snprintf(name, sizeof name, "k%u", i);
        struct row row = {.dot = {.replica = id, .counter = 1}, .kind = ROW_DELETE, .key = bytes_str(name)};
        struct record record = {0};
        struct buf bytes;
        clock_raise(&record.context, &row.dot);
        buf_init(&bytes, 1000);
        record_encode(row.key, &record, &bytes);
        kit_add_entry(work, &row, row.key, buf_bytes(&bytes));
        work->rows.origin = id;
        work->rows.to = 1;
        assert_int_equal(kit_do(s, work), OK);
        buf_done(&bytes);
        record_done(&record);
    }
    assert_int_equal(kit_put(s, "mine", "1", NULL, NULL), ERR_REFUSED);
    assert_int_equal(kit_clock(s, 2000), 0);
    assert_int_equal(counters_of(s).replicas_refused, 1);
    assert_int_equal(kit_clock(s, 1), 1); /* and none is dropped */
    store_close(s);
}

/* ---- room ------------------------------------------------------------------------- */

/* An engine without room: it puts nothing but from its reserve. */
static struct engine_ops full_ops;
static const struct engine_ops *roomy_ops;
static bool is_full, in_reserve;

static void use_reserve(struct engine_txn *txn, bool on)
{
    (void)txn;
    in_reserve = on;
}

static enum err put_if_room(struct engine_txn *txn, enum table table, struct bytes key, struct bytes value)
{
    if (is_full && !in_reserve)
        return ERR_FULL;
    return roomy_ops->put(txn, table, key, value);
}

/* What a peer deletes goes where its puts do not: alone. Behind a put it waits, and so it
 * does with a key that was put again since. */
static void deletes_of_a_peer_need_no_room(void **state)
{
    struct store *from = kit_store(1);
    struct engine *engine = engine_mem_new();
    roomy_ops = engine->ops;
    full_ops = *roomy_ops;
    full_ops.use_reserve = use_reserve;
    full_ops.put = put_if_room;
    engine->ops = &full_ops;
    struct store *to = kit_store_on(engine, 2);
    struct replica_id id = kit_id(1);
    struct dot dot;
    for (int i = 0; i < 3; i++)
        assert_int_equal(kit_put(from, i == 0 ? "a" : i == 1 ? "b" : "c", "1", NULL, &dot), OK);
    assert_int_equal(kit_send(from, to, &id, 10, true), OK);
    is_full = true;
    assert_int_equal(kit_delete(from, "a", NULL, &dot), OK);
    assert_int_equal(kit_delete(from, "b", NULL, &dot), OK);
    assert_int_equal(kit_send(from, to, &id, 10, true), OK);
    assert_int_equal(kit_clock(to, 1), 5);
    assert_string_equal(kit_value(to, "a"), "");
    assert_string_equal(kit_value(to, "c"), "1");

    assert_int_equal(kit_delete(from, "c", NULL, &dot), OK);
    assert_int_equal(kit_put(from, "c", "2", NULL, &dot), OK);
    assert_int_equal(kit_send(from, to, &id, 1, true), ERR_FULL); /* the delete's row brings the put */
    assert_int_equal(kit_clock(to, 1), 5);
    struct store_work *note = store_work_new(WORK_NOTES); /* of what it has told of itself, say */
    store_work_add_note(note, "n", bytes_str("1"));
    assert_int_equal(kit_do(to, note), OK);
    is_full = false;
    assert_int_equal(kit_send(from, to, &id, 10, true), OK);
    assert_string_equal(kit_value(to, "c"), "2");
    store_close(to);
    store_close(from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deleted_key_occupies_nothing),
        cmocka_unit_test(an_expired_version_goes),
        cmocka_unit_test(the_index_follows_the_versions),
        cmocka_unit_test(a_dropped_version_does_not_come_back),
        cmocka_unit_test(dropping_is_bounded),
        cmocka_unit_test(what_cannot_be_read_is_kept),
        cmocka_unit_test(a_gap_without_quarantine_is_refused),
        cmocka_unit_test(the_quarantine_is_tried_again),
        cmocka_unit_test(the_quarantine_is_bounded),
        cmocka_unit_test(a_walk_stops_at_what_cannot_be_read),
        cmocka_unit_test(a_retired_id_ends),
        cmocka_unit_test(a_view_that_is_old_raises_nothing),
        cmocka_unit_test(a_damaged_early_row_is_made_again),
        cmocka_unit_test(a_refused_write_is_news_once),
        cmocka_unit_test(merges_are_not_cut),
        cmocka_unit_test(the_own_id_may_be_one_too_many),
        cmocka_unit_test(deletes_of_a_peer_need_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
