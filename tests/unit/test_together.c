/* store: parts that were made one by one, met together: conditions and batches with
 * damaged records and with the quarantine, digests with what has expired. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "storekit.h"

enum { SOON_MS = 1000500, LATER_MS = 2000000 }; /* the kit's wall time is before both */

static void damage(struct engine *engine, const char *key)
{
    struct engine_txn *txn;
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_RECORDS, bytes_str(key), bytes_str("rubbish")), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
}

static enum err write(struct store *s, struct write_work write)
{
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write = write;
    return kit_do(s, work);
}

/* ---- damaged records ----------------------------------------------------------------- */

/* Nobody knows what is there: no condition holds of it, not even that there is nothing. */
static void no_condition_is_judged_on_a_damaged_record(void **state)
{
    static const struct condition conditions[] = {
        {.none_match = {.present = true, .any = true}},
        {.match = {.present = true, .any = true}},
        {.match = {.present = true, .count = 1, .tags = {1}}},
        {.none_match = {.present = true, .count = 1, .tags = {1}}},
    };
    struct engine *engine = engine_mem_new();
    struct store *s = kit_store_on(engine, 1);
    assert_int_equal(kit_put(s, "k", "1", NULL, NULL), OK);
    damage(engine, "k");
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++)
        for (int remove = 0; remove < 2; remove++)
            assert_int_equal(write(s, (struct write_work){.key = bytes_str("k"),
                                                          .value = bytes_str("2"),
                                                          .remove = remove,
                                                          .condition = &conditions[i]}),
                             ERR_DAMAGED);
    assert_int_equal(
        write(s, (struct write_work){.key = bytes_str("k"), .touch = true, .expires_ms = LATER_MS}),
        ERR_DAMAGED);
    assert_int_equal(kit_clock(s, 1), 1);
    store_close(s);
}

/* Nothing of the batch is done, and it says which one could not be. */
static void a_batch_with_a_damaged_record_is_refused_whole(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *s = kit_store_on(engine, 1);
    assert_int_equal(kit_put(s, "k", "1", NULL, NULL), OK);
    damage(engine, "k");
    struct store_work *work = store_work_new(WORK_BATCH);
    *store_work_add_write(work) = (struct write_work){.key = bytes_str("a"), .value = bytes_str("1")};
    *store_work_add_write(work) = (struct write_work){.key = bytes_str("k"), .value = bytes_str("2")};
    assert_int_equal(kit_run(s, work), ERR_DAMAGED);
    assert_int_equal(work->batch.failed, 1);
    assert_string_equal(kit_value(s, "a"), "");
    assert_int_equal(kit_clock(s, 1), 1);
    store_work_free(work);
    store_close(s);
}

/* ---- the quarantine --------------------------------------------------------------------- */

static struct store_work *rows_of_one(struct store *from, const char *key, bool spoiled)
{
    struct snapshot *snapshot;
    struct store_work *work = kit_rows_work(WORK_ROWS);
    struct row row = {.dot = kit_dot(1, 1), .kind = ROW_PUT, .key = bytes_str(key)};
    assert_int_equal(snapshot_open(from, &snapshot), OK);
    kit_add_row(work, snapshot, &row);
    snapshot_close(snapshot);
    work->rows.origin = kit_id(1);
    work->rows.to = 1;
    if (spoiled) /* a format that nobody knows */
        *(uint8_t *)work->rows.entries[0].record.data = 99;
    return work;
}

/* What is put aside is no part of its key: writes go on beside it, and once it can be read it
 * stands beside what they wrote, which had not seen it. */
static void a_key_in_quarantine_is_written_to(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2);
    struct store_counters counters;
    assert_int_equal(kit_put(a, "k", "theirs", NULL, NULL), OK);
    assert_int_equal(kit_do(b, rows_of_one(a, "k", true)), OK);
    struct store_work *work = store_work_new(WORK_BATCH);
    *store_work_add_write(work) = (struct write_work){.key = bytes_str("k"), .value = bytes_str("ours")};
    *store_work_add_write(work) = (struct write_work){.key = bytes_str("other"), .value = bytes_str("1")};
    assert_int_equal(kit_do(b, work), OK);
    assert_string_equal(kit_value(b, "k"), "ours");
    assert_int_equal(kit_clock(b, 1), 0);

    assert_int_equal(kit_do(b, rows_of_one(a, "k", false)), OK);
    store_counters(b, &counters);
    assert_int_equal(counters.quarantined, 0);
    assert_int_equal(kit_versions(b, "k"), 2);
    struct replica_id id = kit_id(2);
    assert_int_equal(kit_send(b, a, &id, 10, true), OK);
    assert_int_equal(kit_versions(a, "k"), 2);
    store_close(a), store_close(b);
}

/* ---- digests ------------------------------------------------------------------------------ */

static struct range_digest digest(struct store *s, uint64_t expired_ms)
{
    struct snapshot *snapshot;
    struct range_digest digest = {0};
    uint8_t through[KEY_MAX];
    size_t length;
    bool end;
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    assert_int_equal(snapshot_digest(snapshot, bytes_of(NULL, 0), bytes_of(NULL, 0),
                                     &(struct digest_limits){1000, 1 << 20, expired_ms}, &digest, through,
                                     &length, &end, NULL, NULL),
                     OK);
    assert_true(end);
    snapshot_close(snapshot);
    return digest;
}

static bool same(struct range_digest a, struct range_digest b)
{
    return a.keys == b.keys && a.hash == b.hash;
}

/* One has dropped what has expired and the other has not yet: that is no difference. Kept for
 * longer it is another version, and counts on both. */
static void what_has_expired_is_no_difference(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2);
    struct replica_id id = kit_id(1);
    const struct write_work soon = {.key = bytes_str("k"), .value = bytes_str("1"), .expires_ms = SOON_MS};
    const struct write_work add = {
        .key = bytes_str("both"), .value = bytes_str("1"), .expires_ms = SOON_MS, .add = true};
    assert_int_equal(write(a, soon), OK);
    assert_int_equal(kit_add(a, "both", "stays", NULL), OK);
    assert_int_equal(write(a, add), OK);
    assert_int_equal(write(a, (struct write_work){.key = bytes_str("touched"),
                                                  .value = bytes_str("1"),
                                                  .expires_ms = SOON_MS}),
                     OK);
    assert_int_equal(
        write(a, (struct write_work){.key = bytes_str("touched"), .touch = true, .expires_ms = LATER_MS + 1}),
        OK);
    assert_int_equal(kit_send(a, b, &id, 100, true), OK);
    struct store_work *work = store_work_new(WORK_EXPIRE);
    work->expire.before_ms = SOON_MS;
    assert_int_equal(kit_do(a, work), OK);

    assert_false(same(digest(a, 0), digest(b, 0))); /* so it can be told */
    assert_true(same(digest(a, SOON_MS), digest(b, SOON_MS)));
    assert_int_equal(digest(b, SOON_MS).keys, 2);
    assert_true(same(digest(a, LATER_MS), digest(b, LATER_MS)));
    assert_int_equal(digest(b, LATER_MS).keys, 2);
    store_close(a), store_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_condition_is_judged_on_a_damaged_record),
        cmocka_unit_test(a_batch_with_a_damaged_record_is_refused_whole),
        cmocka_unit_test(a_key_in_quarantine_is_written_to),
        cmocka_unit_test(what_has_expired_is_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
