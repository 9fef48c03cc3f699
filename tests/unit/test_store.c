/* store: writes, rows, walks, pruning, notes and identity over the memory
 * engine. tests/prop/test_world.c holds the rules together against an oracle. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "keys.h"
#include "storekit.h"

#include <stdlib.h>

static struct clock clock_of(struct dot dot)
{
    struct clock c = {0};
    clock_raise(&c, &dot);
    return c;
}

static void send_all(struct store *from, struct store *to, unsigned origin)
{
    struct replica_id id = kit_id(origin);
    assert_int_equal(kit_send(from, to, &id, 1000, true), OK);
}

/* ---- writing ----------------------------------------------------------------- */

/* A put is one operation: a version, a row, the clock; a second one replaces the first. */
static void a_put_replaces_what_the_node_holds(void **state)
{
    struct store *s = kit_store(1);
    struct dot dot;

    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "a", "2", NULL, &dot), OK);

    assert_string_equal(kit_value(s, "a"), "2");
    assert_int_equal(kit_versions(s, "a"), 1);
    assert_int_equal(dot.counter, 2);
    assert_int_equal(kit_clock(s, 1), 2);
    assert_int_equal(kit_rows(s), 2);
    store_close(s);
}

/* A delete that removes nothing is no operation. */
static void deleting_nothing_writes_nothing(void **state)
{
    struct store *s = kit_store(1);
    struct dot dot;

    assert_int_equal(kit_delete(s, "a", NULL, &dot), OK);

    assert_int_equal(dot.counter, 0);
    assert_int_equal(kit_clock(s, 1), 0);
    assert_int_equal(kit_rows(s), 0);
    store_close(s);
}

/* An add stands beside what is there; a token removes exactly what it saw. */
static void a_token_removes_what_it_saw(void **state)
{
    struct store *s = kit_store(1);
    struct dot first;
    struct token token = {0};
    assert_int_equal(kit_put(s, "a", "1", NULL, &first), OK);
    assert_int_equal(kit_add(s, "a", "2", NULL), OK);
    token_of_write(&token, bytes_str("a"), &first);

    assert_int_equal(kit_put(s, "a", "3", &token, NULL), OK);

    assert_int_equal(kit_versions(s, "a"), 2);
    assert_string_equal(kit_value(s, "a"), "3");
    assert_int_equal(kit_put(s, "b", "3", &token, NULL), ERR_WRONGKEY);
    token_done(&token);
    store_close(s);
}

/* A write waits for what its token has seen. */
static void a_token_from_the_future_is_behind(void **state)
{
    struct store *s = kit_store(1);
    struct token token = {0};
    struct dot other = kit_dot(2, 1);
    token_of_write(&token, bytes_str("a"), &other);

    assert_int_equal(kit_put(s, "a", "1", &token, NULL), ERR_BEHIND);
    assert_int_equal(kit_clock(s, 1), 0);
    token_done(&token);
    store_close(s);
}

/* The token of a key that is gone asks for the floor: what contexts forgot lies
 * below it, and a node that lacks the delete may not act on that read. */
static void a_token_of_nothing_asks_for_the_floor(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2);
    assert_int_equal(kit_put(a, "k", "1", NULL, NULL), OK);
    send_all(a, b, 1);
    assert_int_equal(kit_delete(a, "k", NULL, NULL), OK);
    struct clock all = clock_of(kit_dot(1, 2)), floor = {0};
    assert_int_equal(kit_prune(a, &all), OK);
    struct snapshot *snapshot;
    struct record record = {0};
    struct token token = {0};
    assert_int_equal(snapshot_open(a, &snapshot), OK);
    assert_int_equal(snapshot_record(snapshot, bytes_str("k"), &record), ERR_NOT_FOUND);
    assert_int_equal(snapshot_clock(snapshot, NULL, &floor), OK);
    token_of_read(&token, bytes_str("k"), &record, &floor);
    snapshot_close(snapshot);

    assert_int_equal(kit_put(b, "k", "2", &token, NULL), ERR_BEHIND);
    assert_int_equal(kit_walk(b, a), OK);
    assert_int_equal(kit_put(b, "k", "2", &token, NULL), OK);
    assert_int_equal(kit_versions(b, "k"), 1);
    token_done(&token), clock_done(&all), clock_done(&floor), record_done(&record);
    store_close(a), store_close(b);
}

/* At MaxVersions a further sibling is refused; a delete is not. */
static void versions_are_bounded(void **state)
{
    struct store *s = kit_store(1);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(kit_add(s, "a", "v", NULL), OK);

    assert_int_equal(kit_add(s, "a", "v", NULL), ERR_CONFLICT);
    assert_int_equal(kit_versions(s, "a"), 64);
    assert_int_equal(kit_delete(s, "a", NULL, NULL), OK);
    assert_int_equal(kit_versions(s, "a"), 0);
    store_close(s);
}

/* Keys of no byte and of more than 480 are refused. */
static void key_lengths_are_bounded(void **state)
{
    struct store *s = kit_store(1);
    char key[KEY_MAX + 2];
    memset(key, 'k', sizeof key);

    key[KEY_MAX + 1] = 0;
    assert_int_equal(kit_put(s, key, "1", NULL, NULL), ERR_TOO_LARGE);
    key[KEY_MAX] = 0;
    assert_int_equal(kit_put(s, key, "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "", "1", NULL, NULL), ERR_MALFORMED);
    store_close(s);
}

/* A snapshot keeps showing the moment it began in. */
static void a_snapshot_does_not_see_later_writes(void **state)
{
    struct store *s = kit_store(1);
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    struct snapshot *before;
    assert_int_equal(snapshot_open(s, &before), OK);

    assert_int_equal(kit_put(s, "a", "2", NULL, NULL), OK);

    struct record record = {0};
    assert_int_equal(snapshot_record(before, bytes_str("a"), &record), OK);
    assert_true(bytes_equal(record.versions[0].value, bytes_str("1")));
    record_done(&record);
    snapshot_close(before);
    assert_string_equal(kit_value(s, "a"), "2");
    store_close(s);
}

/* ---- rows -------------------------------------------------------------------- */

/* Rows carry operations from store to store, deletes too. */
static void rows_bring_what_was_missed(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2);
    assert_int_equal(kit_put(a, "x", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(a, "y", "2", NULL, NULL), OK);
    send_all(a, b, 1);
    assert_string_equal(kit_value(b, "x"), "1");
    assert_int_equal(kit_delete(b, "x", NULL, NULL), OK);

    send_all(b, a, 2);

    assert_string_equal(kit_value(a, "x"), "");
    assert_string_equal(kit_value(a, "y"), "2");
    assert_int_equal(kit_clock(a, 2), 1);
    store_close(a), store_close(b);
}

/* Work of one row of replica 1 with a record of ours, changed by the test. */
static struct store_work *one_row(struct store *from, uint64_t counter)
{
    struct store_work *work = kit_rows_work(WORK_ROWS);
    struct snapshot *snapshot;
    struct row_scan *scan;
    struct row row;
    struct dot after = kit_dot(1, counter - 1);
    assert_int_equal(snapshot_open(from, &snapshot), OK);
    assert_int_equal(row_scan_open(snapshot, &after, &scan), OK);
    assert_int_equal(row_scan_next(scan, &row), OK);
    kit_add_row(work, snapshot, &row);
    work->rows.origin = kit_id(1);
    work->rows.from = counter - 1;
    work->rows.to = counter;
    row_scan_close(scan);
    snapshot_close(snapshot);
    return work;
}

/* A row above a gap is refused: the clock may not claim what is missing. */
static void a_gap_is_refused(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2);
    assert_int_equal(kit_put(a, "x", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(a, "y", "2", NULL, NULL), OK);

    assert_int_equal(kit_do(b, one_row(a, 2)), ERR_BEHIND);
    struct store_work *work = one_row(a, 2);
    work->rows.from = 0;
    assert_int_equal(kit_do(b, work), ERR_MALFORMED);
    assert_int_equal(kit_clock(b, 1), 0);
    assert_int_equal(kit_do(b, one_row(a, 1)), OK);
    assert_int_equal(kit_do(b, one_row(a, 2)), OK);
    assert_int_equal(kit_clock(b, 1), 2);
    store_close(a), store_close(b);
}

/* A record that does not include its row stops there. */
static void a_bad_record_stops_the_rows(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2);
    assert_int_equal(kit_put(a, "x", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(a, "y", "2", NULL, NULL), OK);
    struct store_work *work = one_row(a, 1);
    work->rows.entries[0].record = bytes_of(NULL, 0);
    assert_int_equal(kit_do(b, work), ERR_MALFORMED);
    assert_int_equal(kit_clock(b, 1), 0);
    assert_int_equal(kit_keys(b), 0);

    assert_int_equal(kit_do(b, one_row(a, 1)), OK);
    work = one_row(a, 1);
    work->rows.entries[0].dot.counter = 2;
    work->rows.from = 1, work->rows.to = 2;
    assert_int_equal(kit_do(b, work), ERR_MALFORMED);
    assert_int_equal(kit_clock(b, 1), 1);
    store_close(a), store_close(b);
}

/* An operation found early in a record is offered as a row ahead. */
static void early_finds_are_rows_ahead(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2), *c = kit_store(3);
    assert_int_equal(kit_put(a, "x", "1", NULL, NULL), OK);
    send_all(a, b, 1);
    assert_int_equal(kit_put(b, "x", "2", NULL, NULL), OK);
    send_all(b, c, 2);

    assert_int_equal(kit_clock(c, 1), 0);
    assert_int_equal(kit_rows(c), 2);
    assert_string_equal(kit_value(c, "x"), "2");
    send_all(a, c, 1);
    assert_int_equal(kit_clock(c, 1), 1);
    assert_int_equal(kit_rows(c), 2);
    assert_string_equal(kit_value(c, "x"), "2");
    store_close(a), store_close(b), store_close(c);
}

/* Who knows operations of ours that we do not is not believed: a new id comes first. */
static void news_of_ourselves_is_refused(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2), *restored = kit_store(1);
    assert_int_equal(kit_put(a, "x", "1", NULL, NULL), OK);
    send_all(a, b, 1);
    assert_int_equal(kit_put(b, "x", "2", NULL, NULL), OK);
    struct replica_id two = kit_id(2);

    assert_int_equal(kit_send(b, restored, &two, 10, true), ERR_REFUSED);
    assert_int_equal(kit_clock(restored, 2), 0);
    store_close(a), store_close(b), store_close(restored);
}

/* ---- walks ------------------------------------------------------------------- */

/* A walk brings records, clock and rows; what was deleted meanwhile goes, what only we wrote stays. */
static void a_walk_makes_the_receiver_equal(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(kit_put(a, (char[]){'k', (char)('0' + i), 0}, "1", NULL, NULL), OK);
    send_all(a, b, 1);
    assert_int_equal(kit_put(b, "own", "2", NULL, NULL), OK);
    assert_int_equal(kit_delete(a, "k3", NULL, NULL), OK);
    struct clock all = clock_of(kit_dot(1, 11));
    assert_int_equal(kit_prune(a, &all), OK);
    struct replica_id one = kit_id(1);
    assert_int_equal(kit_send(a, b, &one, 10, true), ERR_FLOOR);

    assert_int_equal(kit_walk(b, a), OK);

    assert_string_equal(kit_value(b, "k3"), "");
    assert_string_equal(kit_value(b, "k4"), "1");
    assert_string_equal(kit_value(b, "own"), "2");
    assert_int_equal(kit_clock(b, 1), 11);
    assert_int_equal(kit_floor(b, 1), 11);
    assert_int_equal(kit_rows(b), 1);
    clock_done(&all);
    store_close(a), store_close(b);
}

/* While it walks, a store takes no rows; puts it takes, but nothing that depends on a key it cannot know. */
static void a_walking_store_hides_what_it_has_not_reached(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2);
    assert_int_equal(kit_put(a, "a", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(a, "m", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(a, "z", "1", NULL, NULL), OK);
    assert_int_equal(kit_walk_start(b), OK);
    assert_int_equal(kit_walk_piece(b, a, 2), OK);

    struct replica_id one = kit_id(1);
    assert_int_equal(kit_send(a, b, &one, 10, true), ERR_WALKING);
    assert_int_equal(kit_put(b, "b", "2", NULL, NULL), OK);
    assert_int_equal(kit_put(b, "m", "2", NULL, NULL), OK);
    assert_int_equal(kit_put(b, "n", "2", NULL, NULL), OK);
    assert_string_equal(kit_value(b, "n"), "2");
    assert_int_equal(kit_delete(b, "z", NULL, NULL), ERR_WALKING);
    struct store_work *absent = store_work_new(WORK_WRITE);
    const struct condition none = {.none_match = {.present = true, .any = true}};
    absent->write = (struct write_work){.key = bytes_str("z"), .value = bytes_str("2"), .condition = &none};
    assert_int_equal(kit_do(b, absent), ERR_WALKING);
    while (kit_walking(b))
        assert_int_equal(kit_walk_piece(b, a, 2), OK);
    assert_string_equal(kit_value(b, "n"), "2");
    assert_int_equal(kit_delete(b, "z", NULL, NULL), OK);
    assert_int_equal(kit_clock(b, 1), 3);
    store_close(a), store_close(b);
}

/* A piece of another walk, or from another place, or of an older source, is refused. */
static void pieces_must_fit(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2), *old = kit_store(3);
    assert_int_equal(kit_put(a, "a", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(a, "b", "1", NULL, NULL), OK);
    assert_int_equal(kit_walk_start(b), OK);
    assert_int_equal(kit_walk_piece(b, a, 1), OK);

    assert_int_equal(kit_walk_piece(b, old, 1), ERR_REFUSED);
    struct store_work *work = kit_rows_work(WORK_WALK_PIECE);
    work->rows.serial = 1;
    work->rows.last = true;
    clock_raise(&work->rows.source_clock, &(struct dot){kit_id(1), 2});
    assert_int_equal(kit_do(b, work), ERR_REFUSED);
    assert_true(kit_walking(b));
    assert_int_equal(kit_walk_start(b), OK);
    while (kit_walking(b))
        assert_int_equal(kit_walk_piece(b, a, 1), OK);
    assert_int_equal(kit_clock(b, 1), 2);
    store_close(a), store_close(b), store_close(old);
}

/* The floor that a walk ends with is never above the clock that it ends with:
 * the first piece's source had seen less than the last one's has forgotten. */
static void a_walk_does_not_forget_what_it_does_not_claim(void **state)
{
    struct store *a = kit_store(1), *early = kit_store(3), *b = kit_store(2);
    assert_int_equal(kit_put(a, "a", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(a, "b", "1", NULL, NULL), OK);
    send_all(a, early, 1);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(kit_put(a, "a", "2", NULL, NULL), OK);
    struct clock floor = clock_of(kit_dot(1, 5));
    assert_int_equal(kit_prune(a, &floor), OK);
    assert_int_equal(kit_walk_start(b), OK);
    assert_int_equal(kit_walk_piece(b, early, 1), OK);

    while (kit_walking(b))
        assert_int_equal(kit_walk_piece(b, a, 5), OK);

    assert_int_equal(kit_clock(b, 1), 2);
    assert_int_equal(kit_floor(b, 1), 2);
    clock_done(&floor);
    store_close(a), store_close(early), store_close(b);
}

/* Rows of another peer are refused during a walk: a key walked already would
 * take a version whose deletion only the source knew, by a context forgotten. */
static void a_walking_store_takes_no_rows(void **state)
{
    struct store *a = kit_store(1), *source = kit_store(2), *b = kit_store(3);
    assert_int_equal(kit_put(a, "a", "1", NULL, NULL), OK);
    send_all(a, source, 1);
    assert_int_equal(kit_delete(source, "a", NULL, NULL), OK);
    assert_int_equal(kit_put(source, "z", "1", NULL, NULL), OK);
    struct clock floor = {0};
    clock_raise(&floor, &(struct dot){kit_id(1), 1}), clock_raise(&floor, &(struct dot){kit_id(2), 2});
    assert_int_equal(kit_prune(source, &floor), OK);
    assert_int_equal(kit_walk_start(b), OK);
    assert_int_equal(kit_walk_piece(b, source, 1), OK);

    struct replica_id one = kit_id(1);
    assert_int_equal(kit_send(a, b, &one, 10, true), ERR_WALKING);
    while (kit_walking(b))
        assert_int_equal(kit_walk_piece(b, source, 5), OK);

    assert_int_equal(kit_versions(b, "a"), 0);
    assert_int_equal(kit_clock(b, 2), 2);
    clock_done(&floor);
    store_close(a), store_close(source), store_close(b);
}

/* A clock takes no more replicas than decoding takes: a walk that brings too many is refused. */
static void replicas_are_bounded(void **state)
{
    struct store *s = kit_store(9000);
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    for (unsigned replicas = CLOCK_REPLICAS_MAX - 1; replicas <= CLOCK_REPLICAS_MAX; replicas++) {
        assert_int_equal(kit_walk_start(s), OK);
        struct store_work *work = kit_rows_work(WORK_WALK_PIECE);
        work->rows.serial = replicas - CLOCK_REPLICAS_MAX + 2;
        work->rows.last = true;
        for (unsigned i = 0; i < replicas; i++)
            clock_raise(&work->rows.source_clock, &(struct dot){kit_id(i), 1});
        assert_int_equal(kit_do(s, work), replicas < CLOCK_REPLICAS_MAX ? OK : ERR_TOO_LARGE);
    }
    store_close(s);
}

/* ---- pruning ----------------------------------------------------------------- */

/* Below the floor a deleted key occupies nothing. */
static void a_pruned_delete_costs_nothing(void **state)
{
    struct store *s = kit_store(1);
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    assert_int_equal(kit_delete(s, "a", NULL, NULL), OK);
    assert_int_equal(kit_keys(s), 1);
    struct clock floor = clock_of(kit_dot(1, 1));
    assert_int_equal(kit_prune(s, &floor), OK);
    assert_int_equal(kit_keys(s), 1);

    clock_raise(&floor, &(struct dot){kit_id(1), 99});
    assert_int_equal(kit_prune(s, &floor), OK);

    assert_int_equal(kit_keys(s), 0);
    assert_int_equal(kit_rows(s), 0);
    assert_int_equal(kit_floor(s, 1), 2);
    clock_done(&floor);
    store_close(s);
}

/* A pruning stops at a transaction's limit and says so. */
static void pruning_is_bounded(void **state)
{
    struct store *s = kit_store(1);
    for (unsigned i = 0; i < 1500; i++)
        assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    struct store_work *work = store_work_new(WORK_PRUNE);
    work->prune.floor = clock_of(kit_dot(1, 1500));

    assert_int_equal(kit_run(s, work), OK);
    assert_true(work->prune.more);
    assert_int_equal(kit_floor(s, 1), 1000);
    assert_int_equal(kit_run(s, work), OK);
    assert_false(work->prune.more);
    assert_int_equal(kit_floor(s, 1), 1500);
    store_work_free(work);
    store_close(s);
}

/* ---- identity ------------------------------------------------------------------ */

static struct identity identity_of(struct store *s)
{
    struct snapshot *snapshot;
    struct identity identity = {0};
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    assert_int_equal(snapshot_identity(snapshot, &identity), OK);
    snapshot_close(snapshot);
    return identity;
}

static enum err open_with(struct engine *engine, unsigned fresh, const char *file, bool log_lost,
                          struct store **ret, bool *moved)
{
    struct store_options options = {.fresh_id = kit_id(fresh),
                                    .file_identity = bytes_str(file),
                                    .log_lost = log_lost,
                                    .versions_max = 64};
    struct buf why;
    buf_init(&why, 1000);
    enum err err = store_open(engine, &options, ret, moved, &why);
    assert_true(err == OK || why.len > 0);
    buf_done(&why);
    return err;
}

static enum err open_as(struct engine *engine, unsigned fresh, const char *file, struct store **ret,
                        bool *moved)
{
    return open_with(engine, fresh, file, false, ret, moved);
}

/* Its newest operations are gone, and their dots were used: it must not wait for a peer to tell. */
static void a_store_without_its_log_takes_a_new_id(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *s;
    bool moved;
    assert_int_equal(open_as(engine, 1, "inode 7", &s, &moved), OK);
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    struct engine *same = engine_mem_clone(engine);
    store_close(s);

    assert_int_equal(open_with(same, 2, "inode 7", true, &s, &moved), OK);

    struct identity identity = identity_of(s);
    assert_true(moved);
    assert_true(replica_id_equal(&identity.id, &(struct replica_id){.b = {0, 2, 1}}));
    assert_int_equal(identity.predecessor_count, 1);
    assert_string_equal(kit_value(s, "a"), "1");
    identity_done(&identity);
    store_close(s);
}

/* A reopened store keeps its id and lists one start more; in another file it takes a new id. */
static void a_copied_file_takes_a_new_id(void **state)
{
    struct engine *first = engine_mem_new();
    struct store *s;
    bool moved;
    assert_int_equal(open_as(first, 1, "inode 7", &s, &moved), OK);
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    struct engine *same = engine_mem_clone(first), *copied = engine_mem_clone(first);
    store_close(s);

    assert_int_equal(open_as(same, 2, "inode 7", &s, &moved), OK);
    struct identity identity = identity_of(s);
    assert_false(moved);
    assert_true(replica_id_equal(&identity.id, &(struct replica_id){.b = {0, 1, 1}}));
    assert_int_equal(identity.starts.total, 2);
    assert_int_equal(identity.starts.entries[1].counter, 1);
    identity_done(&identity);
    store_close(s);

    assert_int_equal(open_as(copied, 2, "inode 8", &s, &moved), OK);
    identity = identity_of(s);
    assert_true(moved);
    assert_true(replica_id_equal(&identity.id, &(struct replica_id){.b = {0, 2, 1}}));
    assert_int_equal(identity.predecessor_count, 1);
    assert_int_equal(identity.starts.total, 1);
    assert_string_equal(kit_value(s, "a"), "1");
    identity_done(&identity);
    store_close(s);
}

/* A life that begins without a restart stands in the start list like one that begins with it. */
static void a_life_begins_within_a_process(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store_work *work = store_work_new(WORK_START);
    struct store *s;
    bool moved;
    assert_int_equal(open_as(engine, 1, "inode 7", &s, &moved), OK);
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    work->start.random = 99;
    assert_int_equal(kit_do(s, work), OK);
    struct engine *later = engine_mem_clone(engine);
    store_close(s);
    assert_int_equal(open_as(later, 2, "inode 7", &s, &moved), OK);
    struct identity identity = identity_of(s);
    assert_int_equal(identity.starts.total, 3);
    assert_int_equal(identity.starts.entries[1].counter, 1);
    assert_int_equal(identity.starts.entries[1].random, 99);
    identity_done(&identity);
    store_close(s);
}

/* A newer format is refused and nothing is written. */
static void a_newer_format_is_left_alone(void **state)
{
    struct engine *engine = engine_mem_new();
    struct engine_txn *txn;
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_META, bytes_str("format"), bytes_of("\0\0\0\3", 4)), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
    struct store *s;
    bool moved;
    uint64_t calls = engine_mem_calls(engine);
    struct engine *probe = engine_mem_clone(engine);

    assert_int_equal(open_as(engine, 1, "", &s, &moved), ERR_VERSION);
    assert_int_equal(open_as(probe, 1, "", &s, &moved), ERR_VERSION);
    assert_true(calls > 0);
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

/* Above the fork, versions get dots of the new id, and deletes are made again. */
static void operations_above_the_fork_are_put_again(void **state)
{
    struct store *s = kit_store(1), *peer = kit_store(9);
    assert_int_equal(kit_put(s, "kept", "1", NULL, NULL), OK);    /* 1 */
    assert_int_equal(kit_put(s, "gone", "1", NULL, NULL), OK);    /* 2 */
    assert_int_equal(kit_put(s, "changed", "1", NULL, NULL), OK); /* 3: the fork */
    send_all(s, peer, 1);
    assert_int_equal(kit_delete(s, "gone", NULL, NULL), OK);      /* 4 */
    assert_int_equal(kit_put(s, "changed", "2", NULL, NULL), OK); /* 5 */
    assert_int_equal(kit_put(s, "new", "1", NULL, NULL), OK);     /* 6 */
    assert_int_equal(kit_add(s, "new", "2", NULL), OK);           /* 7 */

    assert_int_equal(reidentify(s, 2, 3, 3), ERR_REFUSED);
    assert_int_equal(reidentify(s, 1, 2, 3), OK);

    assert_int_equal(kit_clock(s, 1), 3);
    assert_int_equal(kit_clock(s, 2), 4);
    assert_int_equal(kit_rows(s), 3 + 4);
    send_all(s, peer, 2);
    assert_string_equal(kit_value(peer, "kept"), "1");
    assert_string_equal(kit_value(peer, "gone"), "");
    assert_string_equal(kit_value(peer, "changed"), "2");
    assert_int_equal(kit_versions(peer, "changed"), 1);
    assert_int_equal(kit_versions(peer, "new"), 2);
    struct identity identity = identity_of(s);
    assert_int_equal(identity.predecessor_count, 1);
    identity_done(&identity);
    struct clock all = {0};
    clock_raise(&all, &(struct dot){kit_id(1), 3}), clock_raise(&all, &(struct dot){kit_id(2), 4});
    assert_int_equal(kit_prune(s, &all), OK);
    assert_int_equal(kit_keys(s), 3);
    clock_done(&all);
    store_close(s), store_close(peer);
}

/* Also where the rows above the fork are gone already. */
static void a_fork_below_the_floor_is_found_in_the_records(void **state)
{
    struct store *s = kit_store(1);
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "b", "1", NULL, NULL), OK);
    struct clock all = clock_of(kit_dot(1, 2));
    assert_int_equal(kit_prune(s, &all), OK);

    assert_int_equal(reidentify(s, 1, 2, 1), OK);

    assert_int_equal(kit_clock(s, 2), 2); /* the first has no row: for what may be forgotten whole */
    assert_int_equal(kit_floor(s, 2), 1);
    assert_int_equal(kit_rows(s), 1);
    assert_int_equal(kit_floor(s, 1), 1);
    assert_string_equal(kit_value(s, "b"), "1");
    clock_done(&all);
    store_close(s);
}

/* ---- notes, damage, faults ------------------------------------------------------ */

static void count_note(void *ctx, struct bytes name, struct bytes value)
{
    assert_true(bytes_starts_with(name, bytes_str("member/")));
    (*(size_t *)ctx)++;
}

/* Notes are kept by name and listed by prefix. */
static void notes_are_kept(void **state)
{
    struct store *s = kit_store(1);
    struct store_work *work = store_work_new(WORK_NOTES);
    const char *const names[] = {"member/a", "member/b", "left"};
    work->notes.list = calloc(3, sizeof *work->notes.list);
    work->notes.count = 3;
    for (size_t i = 0; i < 3; i++) {
        strcpy(work->notes.list[i].name, names[i]);
        buf_init(&work->notes.list[i].value, 100);
        buf_put_text(&work->notes.list[i].value, "v");
    }
    assert_int_equal(kit_run(s, work), OK);
    work->notes.list[0].remove = true;
    work->notes.count = 1;
    assert_int_equal(kit_run(s, work), OK);
    work->notes.count = 3;
    store_work_free(work);

    struct snapshot *snapshot;
    struct bytes value;
    size_t count = 0;
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    assert_int_equal(snapshot_note(snapshot, "left", &value), OK);
    assert_int_equal(snapshot_note(snapshot, "member/a", &value), ERR_NOT_FOUND);
    assert_int_equal(snapshot_notes(snapshot, "member/", count_note, &count), OK);
    assert_int_equal(count, 1);
    snapshot_close(snapshot);
    store_close(s);
}

/* A record that fails its check is never written over. */
static void a_damaged_record_is_refused(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *s = kit_store_on(engine, 1);
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    struct engine_txn *txn;
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_RECORDS, bytes_str("a"), bytes_str("\x01garbage")), OK);
    assert_int_equal(engine->ops->commit(txn), OK);

    assert_int_equal(kit_put(s, "a", "2", NULL, NULL), ERR_DAMAGED);
    assert_int_equal(kit_delete(s, "a", NULL, NULL), ERR_DAMAGED);
    assert_string_equal(kit_value(s, "a"), "!");
    struct store_counters counters;
    store_counters(s, &counters);
    assert_int_equal(counters.records_damaged, 3);
    assert_int_equal(kit_put(s, "b", "2", NULL, NULL), OK);
    store_close(s);
}

/* Whichever call of the engine fails, all of the write happened or nothing, and the next one works. */
static void a_failed_call_undoes_all(void **state)
{
    for (uint64_t nth = 1;; nth++) {
        struct engine *engine = engine_mem_new();
        struct store *s = kit_store_on(engine, 1);
        assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);

        engine_mem_fail(engine, nth, ERR_FULL);
        enum err err = kit_put(s, "a", "2", NULL, NULL);
        engine_mem_fail(engine, 0, OK);

        assert_string_equal(kit_value(s, "a"), err == OK ? "2" : "1");
        assert_int_equal(kit_clock(s, 1), err == OK ? 2 : 1);
        struct dot dot;
        assert_int_equal(kit_put(s, "a", "3", NULL, &dot), OK);
        assert_int_equal(dot.counter, err == OK ? 3 : 2);
        store_close(s);
        if (err == OK) {
            assert_true(nth > 3);
            return;
        }
        assert_int_equal(err, ERR_FULL);
    }
}

/* The same for opening: it works or says why, and takes the engine either way. */
static void a_failed_open_says_why(void **state)
{
    for (uint64_t nth = 1;; nth++) {
        struct engine *engine = engine_mem_new();
        struct store *s = NULL;
        bool moved;
        engine_mem_fail(engine, nth, ERR_IO);
        enum err err = open_as(engine, 1, "file", &s, &moved);
        if (err == OK) {
            assert_true(nth > 5);
            store_close(s);
            return;
        }
        assert_int_equal(err, ERR_IO);
    }
}

/* A reader that keeps the floor sees it rise with the snapshot that shows it, and an
 * older snapshot does not spoil what it keeps. */
static void a_kept_floor_is_the_snapshots(void **state)
{
    struct store *s = kit_store(1);
    struct replica_id id = kit_id(1);
    struct floor_cache cache = {0};
    struct snapshot *old, *new;
    struct clock floor = {0};
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "a", "2", NULL, NULL), OK);
    assert_int_equal(snapshot_open(s, &old), OK);
    assert_int_equal(snapshot_floor(old, &cache), OK);
    assert_int_equal(clock_get(&cache.floor, &id), 0);
    assert_true(cache.valid);

    clock_set(&floor, &id, 1);
    assert_int_equal(kit_prune(s, &floor), OK);
    assert_int_equal(snapshot_open(s, &new), OK);
    assert_int_equal(snapshot_floor(new, &cache), OK);
    assert_int_equal(clock_get(&cache.floor, &id), 1);
    assert_int_equal(snapshot_floor(old, &cache), OK); /* kept: higher, which a token may be */
    assert_true(cache.valid);

    snapshot_close(old);
    snapshot_close(new);
    clock_done(&cache.floor);
    clock_done(&floor);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put_replaces_what_the_node_holds),
        cmocka_unit_test(deleting_nothing_writes_nothing),
        cmocka_unit_test(a_token_removes_what_it_saw),
        cmocka_unit_test(a_token_from_the_future_is_behind),
        cmocka_unit_test(a_token_of_nothing_asks_for_the_floor),
        cmocka_unit_test(versions_are_bounded),
        cmocka_unit_test(key_lengths_are_bounded),
        cmocka_unit_test(a_snapshot_does_not_see_later_writes),
        cmocka_unit_test(rows_bring_what_was_missed),
        cmocka_unit_test(a_gap_is_refused),
        cmocka_unit_test(a_bad_record_stops_the_rows),
        cmocka_unit_test(early_finds_are_rows_ahead),
        cmocka_unit_test(news_of_ourselves_is_refused),
        cmocka_unit_test(a_walk_makes_the_receiver_equal),
        cmocka_unit_test(a_walking_store_hides_what_it_has_not_reached),
        cmocka_unit_test(pieces_must_fit),
        cmocka_unit_test(a_walk_does_not_forget_what_it_does_not_claim),
        cmocka_unit_test(a_walking_store_takes_no_rows),
        cmocka_unit_test(replicas_are_bounded),
        cmocka_unit_test(a_pruned_delete_costs_nothing),
        cmocka_unit_test(pruning_is_bounded),
        cmocka_unit_test(a_copied_file_takes_a_new_id),
        cmocka_unit_test(a_store_without_its_log_takes_a_new_id),
        cmocka_unit_test(a_life_begins_within_a_process),
        cmocka_unit_test(a_newer_format_is_left_alone),
        cmocka_unit_test(operations_above_the_fork_are_put_again),
        cmocka_unit_test(a_fork_below_the_floor_is_found_in_the_records),
        cmocka_unit_test(notes_are_kept),
        cmocka_unit_test(a_damaged_record_is_refused),
        cmocka_unit_test(a_failed_call_undoes_all),
        cmocka_unit_test(a_failed_open_says_why),
        cmocka_unit_test(a_kept_floor_is_the_snapshots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
