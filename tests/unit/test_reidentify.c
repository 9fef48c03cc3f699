/* store: a new replica id where much is forgotten, or damaged. (The plain cases are in
 * test_store.c; tests/prop/test_world.c holds them against an oracle.) */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "keys.h"
#include "mem.h"
#include "storekit.h"

static void send_all(struct store *from, struct store *to, unsigned origin)
{
    struct replica_id id = kit_id(origin);
    assert_int_equal(kit_send(from, to, &id, 1000, true), OK);
}

static void prune(struct store *s, unsigned replica, uint64_t counter)
{
    struct clock floor = {0};
    clock_raise(&floor, &(struct dot){kit_id(replica), counter});
    assert_int_equal(kit_prune(s, &floor), OK);
    clock_done(&floor);
}

static enum err reidentify(struct store *s, unsigned old_id, unsigned new_id, uint64_t fork)
{
    struct store_work *work = store_work_new(WORK_REIDENTIFY);
    work->reidentify.old_id = kit_id(old_id);
    work->reidentify.new_id = kit_id(new_id);
    work->reidentify.fork = fork;
    work->reidentify.parted = UINT64_MAX;
    return kit_do(s, work);
}

static void spoil(struct engine *engine, enum table table, struct bytes key)
{
    struct engine_txn *txn;
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, table, key, bytes_str("?")), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
}

static void spoil_row(struct engine *engine, unsigned replica, uint64_t counter)
{
    uint8_t key[ROW_KEY_SIZE];
    spoil(engine, TABLE_ROWS, row_key(&(struct dot){kit_id(replica), counter}, key));
}

/* The key of a row; "" where there is none. */
static const char *key_of_row(struct store *s, unsigned replica, uint64_t counter)
{
    static char text[KEY_MAX + 1];
    struct snapshot *snapshot;
    struct row_scan *scan;
    struct row row;
    struct dot dot = {kit_id(replica), counter};
    text[0] = 0;
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    assert_int_equal(row_scan_open(snapshot, &(struct dot){dot.replica, counter - 1}, &scan), OK);
    if (row_scan_next(scan, &row) == OK && dot_compare(&row.dot, &dot) == 0) {
        memcpy(text, row.key.data, row.key.len);
        text[row.key.len] = 0;
    }
    row_scan_close(scan);
    snapshot_close(snapshot);
    return text;
}

/* What a peer's record makes of ours once nobody else is waited for. */
static size_t repair(struct store *s, struct store *from, const char *key)
{
    struct store_work *work = store_work_new(WORK_REPAIR);
    struct snapshot *snapshot;
    struct bytes bytes = {0};
    assert_int_equal(snapshot_open(from, &snapshot), OK);
    assert_int_equal(snapshot_clock(snapshot, &work->repair.source_clock, &work->repair.source_floor), OK);
    (void)!snapshot_record_bytes(snapshot, bytes_str(key), &bytes);
    work->repair.key_len = strlen(key);
    memcpy(work->repair.key, key, work->repair.key_len);
    buf_init(&work->repair.record, bytes.len);
    buf_put_bytes(&work->repair.record, bytes);
    snapshot_close(snapshot);
    clock_copy(&work->repair.others, &work->repair.source_clock);
    work->repair.settle = true;
    assert_int_equal(kit_run(s, work), OK);
    assert_true(work->repair.changed);
    size_t lost = work->repair.lost;
    store_work_free(work);
    return lost;
}

/* ---- what is forgotten -------------------------------------------------------------- */

/* Sends all that was found early, as a link does. */
struct ahead {
    struct store_work *work;
    struct snapshot *from;
};

static void ahead_row(void *ctx, const struct row *row)
{
    struct ahead *ahead = ctx;
    kit_add_row(ahead->work, ahead->from, row);
}

static void send_ahead(struct store *from, struct store *to)
{
    struct ahead ahead = {kit_rows_work(WORK_AHEAD), NULL};
    assert_int_equal(snapshot_open(from, &ahead.from), OK);
    assert_int_equal(snapshot_rows_ahead(ahead.from, 100, ahead_row, &ahead), OK);
    snapshot_close(ahead.from);
    assert_int_equal(kit_do(to, ahead.work), OK);
}

/* c holds what s made again under a new id; its context for "k" covers an operation of the
 * old id, the second, which was of another key. */
struct renewed {
    struct store *s, *b, *c;
};

static struct renewed renewed(const char *second)
{
    struct renewed r = {kit_store(1), kit_store(2), kit_store(4)};
    assert_int_equal(kit_put(r.s, "first", "1", NULL, NULL), OK); /* 1 */
    assert_int_equal(kit_put(r.s, second, "2", NULL, NULL), OK);  /* 2: the fork */
    assert_int_equal(kit_put(r.b, "k", "1", NULL, NULL), OK);
    send_all(r.b, r.s, 2);
    send_all(r.b, r.c, 2);
    send_all(r.s, r.c, 1);
    prune(r.s, 1, 2);
    assert_int_equal(kit_delete(r.s, "k", NULL, NULL), OK); /* 3: nobody else has it */
    assert_int_equal(reidentify(r.s, 1, 3, 2), OK);
    send_all(r.s, r.c, 3);
    assert_string_equal(kit_value(r.c, "k"), "");
    return r;
}

static void close_all(struct renewed r)
{
    store_close(r.s), store_close(r.b), store_close(r.c);
}

/* Who has not got to the operation takes the entry for a row found early; the true row takes
 * its place, and nothing of either key is lost. */
static void a_row_that_never_was_gives_way(void **state)
{
    struct renewed r = renewed("second");
    struct store *d = kit_store(5);
    send_all(r.c, d, 3); /* before any of the old id */
    assert_string_equal(key_of_row(d, 1, 2), "k");
    send_all(r.c, d, 1);
    assert_string_equal(key_of_row(d, 1, 2), "second");
    assert_int_equal(kit_clock(d, 1), 2);
    assert_string_equal(kit_value(d, "second"), "2");
    assert_string_equal(kit_value(d, "k"), "");
    store_close(d);
    close_all(r);
}

/* By a walk too. */
static void a_walk_brings_the_true_row(void **state)
{
    struct renewed r = renewed("second");
    struct store *d = kit_store(5), *e = kit_store(6);
    send_all(r.c, d, 3);
    assert_int_equal(kit_walk(d, r.c), OK);
    assert_string_equal(key_of_row(d, 1, 2), "second");
    send_all(d, e, 1);
    assert_int_equal(kit_clock(e, 1), 2);
    assert_string_equal(kit_value(e, "second"), "2");
    store_close(d), store_close(e);
    close_all(r);
}

/* Where only early rows are left of both: the true one is offered on, whichever came first, and
 * all nodes end with the same. */
static void the_true_row_is_offered_on(void **state)
{
    for (int second_first = 0; second_first < 2; second_first++) {
        struct renewed r = renewed("second");
        struct store *d = kit_store(5), *e = kit_store(6);
        struct store_work *work = kit_rows_work(WORK_AHEAD);
        struct snapshot *snapshot;
        struct row row = {.dot = {kit_id(1), 2}, .kind = ROW_PUT, .key = bytes_str("second")};
        if (!second_first)
            send_all(r.c, d, 3);
        assert_int_equal(snapshot_open(r.s, &snapshot), OK);
        kit_add_row(work, snapshot, &row);
        snapshot_close(snapshot);
        assert_int_equal(kit_do(d, work), OK);
        if (second_first)
            send_all(r.c, d, 3);
        assert_string_equal(key_of_row(d, 1, 2), "second");
        send_all(r.c, e, 3);
        assert_string_equal(key_of_row(e, 1, 2), "k");
        send_ahead(e, d);
        send_ahead(d, e);
        assert_string_equal(key_of_row(d, 1, 2), "second");
        assert_string_equal(key_of_row(e, 1, 2), "second");
        assert_string_equal(kit_value(e, "second"), "2");
        store_close(d), store_close(e);
        close_all(r);
    }
}

/* What an operation above the fork removed is removed by the one that takes its place: so
 * the old id stays in the context, though nobody knows by which counter. */
static void what_was_removed_stays_removed(void **state)
{
    struct store *s = kit_store(1), *b = kit_store(2);
    assert_int_equal(kit_put(s, "k", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "other", "1", NULL, NULL), OK); /* 2: the fork */
    send_all(s, b, 1);
    prune(s, 1, 2);
    assert_int_equal(kit_put(s, "k", "2", NULL, NULL), OK); /* 3: nobody else has it */

    assert_int_equal(reidentify(s, 1, 3, 2), OK);

    send_all(s, b, 3);
    assert_string_equal(kit_value(b, "k"), "2");
    assert_int_equal(kit_versions(b, "k"), 1);
    store_close(s), store_close(b);
}

/* Entries of this sort in TABLE_META. */
static size_t count_rests(struct engine *engine)
{
    struct engine_txn *txn;
    struct engine_cursor *cursor;
    struct bytes key, value, prefix = bytes_str(META_REST_PREFIX);
    size_t count = 0;
    assert_int_equal(engine->ops->read_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->cursor_open(txn, TABLE_META, &cursor), OK);
    enum err err = engine->ops->cursor_seek(cursor, prefix, &key, &value);
    for (; err == OK && bytes_starts_with(key, prefix); count++)
        err = engine->ops->cursor_next(cursor, &key, &value);
    engine->ops->cursor_close(cursor);
    engine->ops->end(txn);
    return count;
}

static size_t count_records(struct store *s)
{
    struct snapshot *snapshot;
    struct scan *scan;
    struct bytes key, value;
    size_t count = 0;
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    assert_int_equal(scan_open(snapshot, bytes_of(NULL, 0), &scan), OK);
    while (scan_next(scan, &key, &value) == OK)
        count++;
    scan_close(scan);
    snapshot_close(snapshot);
    return count;
}

static void forget_first(struct store *s)
{
    prune(s, 2, 1);
    prune(s, 3, 1);
    assert_int_equal(count_records(s), 3); /* "k" waits for the floor of the old id */
}

/* With the last row of the old id, and its note with it. */
static void assert_rest_goes(struct store *d, struct engine *engine)
{
    prune(d, 1, 2);
    assert_int_equal(count_records(d), 2);
    assert_int_equal(count_rests(engine), 0);
}

/* The context of a deleted key names an operation of another one, whose row is the last to
 * go: nothing of the deleted key stays for that. */
static void a_rest_goes_without_a_row_of_its_own(void **state)
{
    struct renewed r = renewed("second");
    struct engine *engine = engine_mem_new();
    struct store *d = kit_store_on(engine, 5);
    send_all(r.c, d, 1);
    send_all(r.c, d, 2);
    send_all(r.c, d, 3);
    forget_first(d);
    assert_int_equal(count_rests(engine), 1);
    prune(d, 1, 1);
    assert_int_equal(count_records(d), 3); /* not yet */
    assert_rest_goes(d, engine);
    store_close(d);
    close_all(r);
}

/* The same where its row was there for a while, found early, until the true one came. */
static void a_rest_goes_whose_row_gave_way(void **state)
{
    struct renewed r = renewed("second");
    struct engine *engine = engine_mem_new();
    struct store *d = kit_store_on(engine, 5);
    send_all(r.c, d, 2);
    send_all(r.c, d, 3);
    assert_string_equal(key_of_row(d, 1, 2), "k");
    prune(d, 2, 1);
    prune(d, 3, 1);
    send_all(r.c, d, 1);
    assert_string_equal(key_of_row(d, 1, 2), "second");
    assert_int_equal(count_records(d), 3);
    assert_rest_goes(d, engine);
    store_close(d);
    close_all(r);
}

/* The same where the rows went while the key had a version, which then expired. */
static void a_rest_goes_that_expired(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *s = kit_store(1), *b = kit_store_on(engine, 2);
    struct store_work *work = store_work_new(WORK_WRITE);
    assert_int_equal(kit_put(s, "other", "1", NULL, NULL), OK); /* 1: the fork */
    send_all(s, b, 1);
    prune(s, 1, 1);
    work->write.key = bytes_str("k");
    work->write.value = bytes_str("2");
    work->write.expires_ms = 2000000;
    assert_int_equal(kit_do(s, work), OK); /* 2: nobody else has it */
    assert_int_equal(reidentify(s, 1, 3, 1), OK);
    send_all(s, b, 3);
    assert_string_equal(kit_value(b, "k"), "2");
    prune(b, 3, 1);
    work = store_work_new(WORK_EXPIRE);
    work->expire.before_ms = 2000000;
    assert_int_equal(kit_do(b, work), OK);
    assert_int_equal(count_records(b), 2);
    assert_int_equal(count_rests(engine), 1);
    prune(b, 1, 1);
    assert_int_equal(count_records(b), 1);
    assert_int_equal(count_rests(engine), 0);
    store_close(s), store_close(b);
}

/* A delete above the fork that is forgotten whole leaves no record and no row to make again:
 * who has what it removed, and gets a delta, would bring it back. */
static void what_a_forgotten_delete_removed_stays_removed(void **state)
{
    struct store *s = kit_store(1), *b = kit_store(2), *c = kit_store(4);
    struct replica_id old = kit_id(1), renewed = kit_id(3);
    assert_int_equal(kit_put(b, "k", "1", NULL, NULL), OK);
    send_all(b, s, 2);
    send_all(b, c, 2);
    assert_int_equal(kit_delete(s, "k", NULL, NULL), OK);       /* 1: nobody else has it */
    assert_int_equal(kit_put(s, "other", "1", NULL, NULL), OK); /* 2 */
    prune(s, 1, 2);
    prune(s, 2, 1);

    assert_int_equal(reidentify(s, 1, 3, 0), OK);

    assert_int_equal(kit_clock(s, 1), 0);
    assert_int_equal(kit_send(s, b, &old, 1000, true), ERR_FLOOR);
    assert_int_equal(kit_send(s, b, &renewed, 1000, true), ERR_FLOOR);
    assert_int_equal(kit_walk(b, s), OK);
    assert_string_equal(kit_value(b, "k"), "");
    assert_string_equal(kit_value(b, "other"), "1");
    assert_int_equal(kit_send(b, c, &renewed, 1000, true), ERR_FLOOR); /* handed on like any floor */
    assert_int_equal(kit_walk(c, b), OK);
    assert_string_equal(kit_value(c, "k"), "");
    store_close(s), store_close(b), store_close(c);
}

/* ---- what others have ---------------------------------------------------------------- */

/* A put of s stands above the fork, and b has removed it; c has it, and not the removal. */
static struct renewed removed_by_another(bool forgotten)
{
    struct renewed r = {kit_store(1), kit_store(2), kit_store(4)};
    assert_int_equal(kit_put(r.s, "k", "1", NULL, NULL), OK); /* 1 */
    send_all(r.s, r.b, 1);
    send_all(r.s, r.c, 1);
    assert_int_equal(kit_delete(r.b, "k", NULL, NULL), OK);
    send_all(r.b, r.s, 2);
    assert_int_equal(kit_put(r.s, "alone", "2", NULL, NULL), OK); /* 2: nobody else has it */
    if (forgotten) {
        prune(r.s, 1, 1);
        prune(r.s, 2, 1);
    }
    return r;
}

static void what_another_removed_stays_removed(void **state)
{
    for (int forgotten = 0; forgotten < 2; forgotten++) {
        struct renewed r = removed_by_another(forgotten);

        assert_int_equal(reidentify(r.s, 1, 3, 0), OK);

        assert_int_equal(kit_clock(r.s, 1), 1); /* b has acted on it */
        send_all(r.c, r.s, 1);
        assert_string_equal(kit_value(r.s, "k"), "");
        assert_string_equal(kit_value(r.s, "alone"), "2");
        if (forgotten)
            assert_int_equal(kit_walk(r.c, r.s), OK);
        send_all(r.s, r.c, 3);
        send_all(r.s, r.c, 2);
        assert_string_equal(kit_value(r.c, "k"), "");
        assert_string_equal(kit_value(r.c, "alone"), "2");
        assert_int_equal(kit_versions(r.c, "alone"), 1);
        close_all(r);
    }
}

/* Known over a restart, and of the present id alone. */
static void what_others_have_is_kept(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *s = kit_store_on(engine, 1), *b = kit_store(2);
    assert_int_equal(kit_put(s, "k", "1", NULL, NULL), OK);
    send_all(s, b, 1);
    assert_int_equal(kit_delete(b, "k", NULL, NULL), OK);
    send_all(b, s, 2);
    struct engine *copy = engine_mem_clone(engine);
    store_close(s);
    s = kit_store_on(copy, 1);

    assert_int_equal(reidentify(s, 1, 3, 0), OK);
    assert_int_equal(kit_clock(s, 1), 1);
    assert_int_equal(kit_clock(s, 3), 0); /* and is not put again */
    assert_int_equal(kit_put(s, "other", "1", NULL, NULL), OK);
    assert_int_equal(reidentify(s, 3, 5, 0), OK);
    assert_int_equal(kit_clock(s, 3), 0); /* nobody has sent anything since */
    store_close(s), store_close(b);
}

/* It is of the present id alone, also where another program has changed that one. */
static void what_was_kept_for_another_id_is_passed(void **state)
{
    struct renewed r = {NULL, kit_store(2), NULL};
    struct engine *engine = engine_mem_new(), *other = engine_mem_new();
    struct engine_txn *from, *to;
    struct bytes identity;
    r.s = kit_store_on(engine, 1), r.c = kit_store_on(other, 9);
    assert_int_equal(kit_put(r.s, "k", "1", NULL, NULL), OK);
    send_all(r.s, r.b, 1);
    assert_int_equal(kit_delete(r.b, "k", NULL, NULL), OK);
    send_all(r.b, r.s, 2);
    struct engine *copy = engine_mem_clone(engine);
    assert_int_equal(other->ops->read_begin(other, &from), OK);
    assert_int_equal(other->ops->get(from, TABLE_META, bytes_str(META_IDENTITY), &identity), OK);
    assert_int_equal(copy->ops->write_begin(copy, &to), OK);
    assert_int_equal(copy->ops->put(to, TABLE_META, bytes_str(META_IDENTITY), identity), OK);
    assert_int_equal(copy->ops->commit(to), OK);
    other->ops->end(from);
    store_close(r.s);
    r.s = kit_store_on(copy, 9);

    assert_int_equal(reidentify(r.s, 9, 3, 0), OK);

    assert_int_equal(kit_clock(r.s, 9), 0); /* it has done nothing */
    close_all(r);
}

/* A peer has told that it has our put: that one stands, and so the delete stays one of it. */
static void what_a_peer_has_told_is_claimed(void **state)
{
    for (int told = 0; told < 3; told++) {
        struct renewed r = {kit_store(1), kit_store(2), kit_store(4)};
        assert_int_equal(kit_put(r.s, "k", "1", NULL, NULL), OK); /* 1 */
        send_all(r.s, r.b, 1);
        assert_int_equal(kit_delete(r.s, "k", NULL, NULL), OK); /* 2: nobody else has it */
        struct store_work *work = store_work_new(WORK_REIDENTIFY);
        work->reidentify.old_id = kit_id(1);
        work->reidentify.new_id = kit_id(3);
        work->reidentify.parted = UINT64_MAX;
        work->reidentify.told = told == 2 ? 9 : (uint64_t)told; /* more than there is: all there is */

        assert_int_equal(kit_do(r.s, work), OK);

        assert_int_equal(kit_clock(r.s, 1), told);
        assert_int_equal(kit_clock(r.s, 3), told < 2); /* nor is it put again */
        send_all(r.b, r.s, 1);
        assert_string_equal(kit_value(r.s, "k"), told ? "" : "1");
        send_all(r.s, r.b, told < 2 ? 3 : 1);
        assert_string_equal(kit_value(r.b, "k"), told ? "" : "1");
        close_all(r);
    }
}

/* Of an id that was retired others know the put, and not the delete behind it. */
static void what_others_know_of_a_retired_id_stays_removed(void **state)
{
    struct renewed r = {kit_store(1), kit_store(2), kit_store(4)};
    assert_int_equal(kit_put(r.s, "before", "1", NULL, NULL), OK); /* 1: the fork */
    assert_int_equal(kit_put(r.s, "gap", "1", NULL, NULL), OK);    /* 2 */
    assert_int_equal(kit_put(r.s, "k", "1", NULL, NULL), OK);      /* 3 */
    send_all(r.s, r.b, 1);
    assert_int_equal(kit_delete(r.s, "k", NULL, NULL), OK); /* 4: nobody else has it */
    struct store_work *work = store_work_new(WORK_REIDENTIFY);
    const uint64_t known = 3;
    work->reidentify.old_id = kit_id(1);
    work->reidentify.new_id = kit_id(3);
    work->reidentify.fork = 1;
    work->reidentify.parted = UINT64_MAX;
    work->reidentify.retired = true;
    work->reidentify.known = mem_copy(&known, sizeof known);
    work->reidentify.known_count = 1;

    assert_int_equal(kit_do(r.s, work), OK);

    assert_int_equal(kit_clock(r.s, 1), 3);
    send_all(r.b, r.s, 1);
    assert_string_equal(kit_value(r.s, "k"), "");
    send_all(r.s, r.b, 3);
    assert_string_equal(kit_value(r.b, "k"), "");
    assert_string_equal(kit_value(r.b, "gap"), "1");
    assert_int_equal(kit_versions(r.b, "gap"), 1);
    close_all(r);
}

/* The record that takes the place of a damaged one reflects it, though its clock does not. */
static void what_a_repair_brings_is_known(void **state)
{
    struct engine *engine = engine_mem_new();
    struct renewed r = {kit_store_on(engine, 1), kit_store(2), kit_store(4)};
    assert_int_equal(kit_put(r.s, "k", "1", NULL, NULL), OK);
    send_all(r.s, r.b, 1);
    assert_int_equal(kit_delete(r.b, "k", NULL, NULL), OK);
    send_all(r.b, r.c, 2); /* and finds the put early */
    assert_int_equal(kit_clock(r.c, 1), 0);
    spoil(engine, TABLE_RECORDS, bytes_str("k"));
    assert_int_equal(repair(r.s, r.c, "k"), 0);

    assert_int_equal(reidentify(r.s, 1, 3, 0), OK);

    assert_int_equal(kit_clock(r.s, 1), 1);
    close_all(r);
}

/* Others have written above the fork: what they have there may be another's, and is taken. */
static void nothing_is_claimed_where_others_have_written(void **state)
{
    struct renewed r = removed_by_another(false);
    struct store *twin = kit_store(1);
    assert_int_equal(kit_put(twin, "other", "1", NULL, NULL), OK); /* 1, too */
    struct store_work *work = store_work_new(WORK_REIDENTIFY);
    work->reidentify.old_id = kit_id(1);
    work->reidentify.new_id = kit_id(3);
    work->reidentify.fork = work->reidentify.parted = 0;

    assert_int_equal(kit_do(r.s, work), OK);

    assert_int_equal(kit_clock(r.s, 1), 0);
    send_all(twin, r.s, 1);
    assert_string_equal(kit_value(r.s, "other"), "1");
    assert_string_equal(kit_value(r.s, "alone"), "2");
    store_close(twin);
    close_all(r);
}

/* ---- what is damaged ------------------------------------------------------------------- */

/* A record that cannot be read is left to its repair, and tells then that it was the only one. */
static void a_damaged_record_is_left_to_its_repair(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *s = kit_store_on(engine, 1), *b = kit_store(2);
    assert_int_equal(kit_put(s, "k", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "gone", "1", NULL, NULL), OK); /* 2: the fork */
    send_all(s, b, 1);
    assert_int_equal(kit_put(s, "k", "2", NULL, NULL), OK);
    assert_int_equal(kit_delete(s, "gone", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "kept", "5", NULL, NULL), OK);
    spoil(engine, TABLE_RECORDS, bytes_str("k"));
    spoil(engine, TABLE_RECORDS, bytes_str("gone"));

    assert_int_equal(reidentify(s, 1, 3, 2), OK);

    assert_int_equal(kit_clock(s, 1), 2);
    assert_string_equal(kit_value(s, "kept"), "5");
    assert_int_equal(repair(s, b, "k"), 1);
    assert_int_equal(repair(s, b, "gone"), 1);
    assert_string_equal(kit_value(s, "k"), "1");
    assert_string_equal(kit_value(s, "gone"), ""); /* a delete is not undone */
    send_all(s, b, 3);
    assert_string_equal(kit_value(b, "k"), "1");
    assert_string_equal(kit_value(b, "gone"), "");
    assert_string_equal(kit_value(b, "kept"), "5");
    store_close(s), store_close(b);
}

/* A row below the fork that cannot be read is given up, one above it is looked for. */
static void damaged_rows_are_passed(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *s = kit_store_on(engine, 1), *b = kit_store(2), *c = kit_store(4);
    for (int i = 0; i < 4; i++) { /* 4: the fork */
        char key[] = {(char)('a' + i), 0};
        assert_int_equal(kit_put(s, key, "1", NULL, NULL), OK);
    }
    send_all(s, b, 1);
    assert_int_equal(kit_put(s, "b", "2", NULL, NULL), OK); /* 5 */
    assert_int_equal(kit_put(s, "a", "2", NULL, NULL), OK);
    spoil_row(engine, 1, 2);
    spoil_row(engine, 1, 5);

    assert_int_equal(reidentify(s, 1, 3, 4), OK);

    assert_int_equal(kit_floor(s, 1), 2);
    send_all(s, b, 3);
    prune(s, 1, 2); /* what is dead goes */
    assert_int_equal(kit_walk(c, s), OK);
    struct store *const all[] = {s, b, c};
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(kit_value(all[i], "a"), "2");
        assert_string_equal(kit_value(all[i], "b"), "2");
        assert_string_equal(kit_value(all[i], "c"), "1");
        assert_int_equal(kit_versions(all[i], "b"), 1);
    }
    store_close(s), store_close(b), store_close(c);
}

static bool has_note(struct store *s)
{
    struct snapshot *snapshot;
    struct bytes value;
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    enum err err = snapshot_note(snapshot, "twin", &value);
    snapshot_close(snapshot);
    return err == OK;
}

/* What was noted about the old id goes in the same transaction, and stays where that is refused. */
static void a_note_about_the_old_id_goes_with_it(void **state)
{
    struct store *s = kit_store(1);
    struct store_work *work = store_work_new(WORK_NOTES);
    store_work_add_note(work, "twin", bytes_str("5"));
    assert_int_equal(kit_do(s, work), OK);
    for (unsigned old_id = 9; old_id != 0; old_id = old_id == 9 ? 1 : 0) {
        work = store_work_new(WORK_REIDENTIFY);
        work->reidentify.old_id = kit_id(old_id);
        work->reidentify.new_id = kit_id(2);
        work->reidentify.fork = UINT64_MAX;
        work->reidentify.parted = UINT64_MAX;
        work->reidentify.ends_note = "twin";
        assert_int_equal(kit_do(s, work), old_id == 9 ? ERR_REFUSED : OK);
        assert_int_equal(has_note(s), old_id == 9);
    }
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_note_about_the_old_id_goes_with_it),
        cmocka_unit_test(a_row_that_never_was_gives_way),
        cmocka_unit_test(a_walk_brings_the_true_row),
        cmocka_unit_test(the_true_row_is_offered_on),
        cmocka_unit_test(what_was_removed_stays_removed),
        cmocka_unit_test(a_rest_goes_without_a_row_of_its_own),
        cmocka_unit_test(a_rest_goes_whose_row_gave_way),
        cmocka_unit_test(a_rest_goes_that_expired),
        cmocka_unit_test(what_a_forgotten_delete_removed_stays_removed),
        cmocka_unit_test(what_another_removed_stays_removed),
        cmocka_unit_test(what_others_have_is_kept),
        cmocka_unit_test(what_was_kept_for_another_id_is_passed),
        cmocka_unit_test(what_a_peer_has_told_is_claimed),
        cmocka_unit_test(what_others_know_of_a_retired_id_stays_removed),
        cmocka_unit_test(what_a_repair_brings_is_known),
        cmocka_unit_test(nothing_is_claimed_where_others_have_written),
        cmocka_unit_test(a_damaged_record_is_left_to_its_repair),
        cmocka_unit_test(damaged_rows_are_passed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
