/* store: tags and conditions, expiry and touching, batches, and reading backwards. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "storekit.h"

#include <stdio.h>
#include <stdlib.h>

enum { NOW_MS = 1000000 }; /* the kit's wall time */

static uint64_t tag_of(struct store *s, const char *key, uint64_t now_ms)
{
    struct snapshot *snapshot;
    struct record record = {0};
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    (void)!snapshot_record(snapshot, bytes_str(key), &record);
    uint64_t tag = record_tag(&record, now_ms);
    record_done(&record);
    snapshot_close(snapshot);
    return tag;
}

static struct write_work write_of(const char *key, const char *value)
{
    return (struct write_work){.key = bytes_str(key),
                               .value = value ? bytes_str(value) : bytes_of(NULL, 0),
                               .remove = value == NULL};
}

/* Runs one write; *write has the results. */
static enum err run(struct store *s, struct write_work *write)
{
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write = *write;
    enum err err = kit_run(s, work);
    *write = work->write;
    store_work_free(work);
    return err;
}

static enum err put_if(struct store *s, const char *key, const struct condition *condition, uint64_t *ret_tag)
{
    struct write_work write = write_of(key, "new");
    write.condition = condition;
    enum err err = run(s, &write);
    if (ret_tag)
        *ret_tag = write.tag;
    return err;
}

static struct condition match(uint64_t tag)
{
    return (struct condition){.match = {.present = true, .count = 1, .tags = {tag}}};
}

/* ---- tags --------------------------------------------------------------------- */

/* Equal versions give equal tags wherever they are; another set another one. */
static void a_tag_is_of_the_versions_alone(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2);
    struct replica_id first = kit_id(1);
    assert_int_equal(tag_of(a, "k", NOW_MS), 0);
    assert_int_equal(kit_put(a, "k", "1", NULL, NULL), OK);
    uint64_t one = tag_of(a, "k", NOW_MS);
    assert_int_equal(kit_send(a, b, &first, 100, true), OK);
    assert_true(one != 0 && one == tag_of(b, "k", NOW_MS));
    assert_int_equal(kit_add(a, "k", "1", NULL), OK);
    uint64_t two = tag_of(a, "k", NOW_MS);
    assert_true(two != one && two != 0);
    assert_int_equal(kit_put(a, "k", "1", NULL, NULL), OK);
    assert_true(tag_of(a, "k", NOW_MS) != two && tag_of(a, "k", NOW_MS) != one);
    assert_int_equal(kit_delete(a, "k", NULL, NULL), OK);
    assert_int_equal(tag_of(a, "k", NOW_MS), 0);
    store_close(a), store_close(b);
}

/* Counters side by side, replicas side by side: no two tags alike. */
static void near_dots_have_other_tags(void **state)
{
    enum { MANY = 4000 };
    uint64_t *tags = malloc(2 * MANY * sizeof *tags);
    assert_non_null(tags);
    for (unsigned i = 0; i < 2 * MANY; i++) {
        struct record r = {0};
        struct version v = {.dot = kit_dot(1 + i % 2, 1 + i / 2)};
        record_add(&r, &v);
        tags[i] = record_tag(&r, 0);
        record_done(&r);
        for (unsigned k = 0; k < i; k++)
            assert_true(tags[k] != tags[i]);
    }
    free(tags);
}

/* What has expired does not count: the tag changes without an operation. */
static void an_expired_version_leaves_the_tag(void **state)
{
    struct store *s = kit_store(1);
    struct write_work write = write_of("k", "brief");
    write.expires_ms = NOW_MS + 500;
    assert_int_equal(run(s, &write), OK);
    assert_true(write.tag != 0);
    assert_true(tag_of(s, "k", NOW_MS + 499) == write.tag);
    assert_int_equal(tag_of(s, "k", NOW_MS + 500), 0);
    store_close(s);
}

/* ---- conditions ---------------------------------------------------------------- */

/* Only the present tag matches, and a refusal changes nothing and tells it. */
static void a_write_may_ask_for_a_tag(void **state)
{
    struct store *s = kit_store(1);
    assert_int_equal(kit_put(s, "k", "1", NULL, NULL), OK);
    uint64_t old = tag_of(s, "k", NOW_MS), told;
    struct condition condition = match(old);

    assert_int_equal(put_if(s, "k", &condition, &told), OK);
    assert_true(told == tag_of(s, "k", NOW_MS) && told != old);
    assert_int_equal(put_if(s, "k", &condition, &told), ERR_UNMET);
    assert_true(told == tag_of(s, "k", NOW_MS));
    assert_int_equal(kit_clock(s, 1), 2);
    condition = match(0); /* no tag is 0: it is not "absent" */
    assert_int_equal(put_if(s, "none", &condition, NULL), ERR_UNMET);
    store_close(s);
}

/* "*" is any version: present for one, absent for the other. */
static void a_write_may_ask_for_presence_or_absence(void **state)
{
    struct store *s = kit_store(1);
    struct condition present = {.match = {.present = true, .any = true}};
    struct condition absent = {.none_match = {.present = true, .any = true}};
    struct condition other = {.none_match = {.present = true, .count = 2}};
    assert_int_equal(put_if(s, "k", &present, NULL), ERR_UNMET);
    assert_int_equal(put_if(s, "k", &absent, NULL), OK);
    assert_int_equal(put_if(s, "k", &absent, NULL), ERR_UNMET);
    assert_int_equal(put_if(s, "k", &present, NULL), OK);
    other.none_match.tags[1] = tag_of(s, "k", NOW_MS);
    assert_int_equal(put_if(s, "k", &other, NULL), ERR_UNMET);
    other.none_match.tags[1]++;
    assert_int_equal(put_if(s, "k", &other, NULL), OK);

    /* An expired version is absent. */
    struct write_work brief = write_of("e", "1");
    brief.expires_ms = NOW_MS; /* by the time it is written */
    assert_int_equal(run(s, &brief), OK);
    assert_int_equal(put_if(s, "e", &present, NULL), ERR_UNMET);
    assert_int_equal(put_if(s, "e", &absent, NULL), OK);
    assert_int_equal(kit_versions(s, "e"), 1);
    store_close(s);
}

static void a_delete_has_conditions_too(void **state)
{
    struct store *s = kit_store(1);
    assert_int_equal(kit_put(s, "k", "1", NULL, NULL), OK);
    struct condition condition = match(tag_of(s, "k", NOW_MS) + 1);
    struct write_work write = write_of("k", NULL);
    write.condition = &condition;
    assert_int_equal(run(s, &write), ERR_UNMET);
    condition = match(tag_of(s, "k", NOW_MS));
    assert_int_equal(run(s, &write), OK);
    assert_int_equal(write.tag, 0);
    store_close(s);
}

/* ---- touching ------------------------------------------------------------------ */

/* The surfaced value again, with its type and another end; its siblings stay. */
static void a_touch_moves_the_end(void **state)
{
    struct store *s = kit_store(1);
    struct write_work put = write_of("k", "value"), touch = {.key = bytes_str("k"), .touch = true};
    assert_int_equal(run(s, &touch), ERR_NOT_FOUND);
    assert_int_equal(kit_put(s, "k", "beside", NULL, NULL), OK);
    put.type = bytes_str("text/plain");
    put.expires_ms = NOW_MS + 100;
    put.add = true;
    assert_int_equal(run(s, &put), OK);
    touch.expires_ms = NOW_MS + 5000;
    assert_int_equal(run(s, &touch), OK);

    struct snapshot *snapshot;
    struct record record = {0};
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    assert_int_equal(snapshot_record(snapshot, bytes_str("k"), &record), OK);
    assert_int_equal(record.count, 2);
    const struct version *v = record_surfaced(&record, NOW_MS + 4999);
    assert_true(bytes_equal(v->value, bytes_str("value")) && bytes_equal(v->type, bytes_str("text/plain")));
    assert_int_equal(v->expires_ms, NOW_MS + 5000);
    assert_true(bytes_equal(record_surfaced(&record, NOW_MS + 5000)->value, bytes_str("beside")));
    record_done(&record);
    snapshot_close(snapshot);
    assert_int_equal(kit_clock(s, 1), 3);
    store_close(s);
}

/* With a token it is of what that has seen: who keeps his own value alive must not set an
 * end to the one that has replaced it. */
static void a_touch_with_a_token_is_of_what_was_seen(void **state)
{
    struct store *s = kit_store(1);
    struct token token = {0};
    struct write_work mine = write_of("k", "mine"), beside = write_of("k", "beside"),
                      next = write_of("k", "next"),
                      touch = {
                          .key = bytes_str("k"), .touch = true, .token = &token, .expires_ms = NOW_MS + 9};
    assert_int_equal(run(s, &mine), OK);
    token_of_write(&token, bytes_str("k"), &mine.dot);
    beside.add = true;
    assert_int_equal(run(s, &beside), OK);
    assert_int_equal(run(s, &touch), OK); /* mine, though the later one is shown */
    uint64_t tag = tag_of(s, "k", NOW_MS + 9);
    assert_int_equal(run(s, &touch), ERR_UNMET); /* it has seen what it touched, not what came of it */
    token_of_write(&token, bytes_str("k"), &touch.dot);
    assert_int_equal(run(s, &touch), OK);
    assert_true(tag == tag_of(s, "k", NOW_MS + 9)); /* of the one beside it alone */

    assert_int_equal(run(s, &next), OK);
    tag = tag_of(s, "k", NOW_MS);
    assert_int_equal(run(s, &touch), ERR_UNMET);
    assert_true(tag == tag_of(s, "k", NOW_MS + 9));
    assert_int_equal(kit_delete(s, "k", NULL, NULL), OK);
    assert_int_equal(run(s, &touch), ERR_NOT_FOUND);
    token_done(&token);
    store_close(s);
}

/* ---- batches ------------------------------------------------------------------- */

static struct store_work *batch_of(const char *const *keys, size_t count, const char *value)
{
    struct store_work *work = store_work_new(WORK_BATCH);
    for (size_t i = 0; i < count; i++)
        *store_work_add_write(work) = write_of(keys[i], value);
    return work;
}

/* One transaction, consecutive counters. */
static void a_batch_is_done_whole(void **state)
{
    static const char *const keys[] = {"a", "b", "c", "d"};
    struct store *s = kit_store(1);
    struct store_work *work = batch_of(keys, 3, "1");
    assert_int_equal(kit_run(s, work), OK);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(work->batch.writes[i].dot.counter, i + 1);
    assert_int_equal(work->batch.last.counter, 3);
    assert_int_equal(work->batch.failed, 3);
    store_work_free(work);

    work = batch_of(keys, 4, NULL);
    assert_int_equal(kit_run(s, work), OK);
    assert_int_equal(work->batch.deleted, 3);
    assert_int_equal(work->batch.last.counter, 6);
    store_work_free(work);
    assert_string_equal(kit_value(s, "b"), "");
    assert_int_equal(kit_rows(s), 6);
    store_close(s);
}

/* Whatever refuses one refuses all, wherever it stands, and the first is named. */
static void a_batch_is_refused_whole(void **state)
{
    static const char *const keys[] = {"a", "b", "c", "d", "e"};
    struct store *s = kit_store(1);
    struct condition present = {.match = {.present = true, .any = true}};
    for (size_t bad = 0; bad < 5; bad++) {
        struct store_work *work = batch_of(keys, 5, "1");
        work->batch.writes[bad].condition = &present;
        work->batch.writes[4].condition = &present;
        assert_int_equal(kit_run(s, work), ERR_UNMET);
        assert_int_equal(work->batch.failed, bad);
        store_work_free(work);
        assert_int_equal(kit_clock(s, 1), 0);
        assert_int_equal(kit_keys(s), 0);
        assert_int_equal(kit_rows(s), 0);
    }
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(kit_add(s, "full", "v", NULL), OK);
    struct store_work *work = batch_of(keys, 2, "1");
    *store_work_add_write(work) = write_of("full", "one more");
    work->batch.writes[2].add = true;
    assert_int_equal(kit_run(s, work), ERR_CONFLICT);
    assert_int_equal(work->batch.failed, 2);
    store_work_free(work);
    assert_int_equal(kit_keys(s), 1);
    store_close(s);
}

/* A batch that is refused leaves alone who shares its transaction. */
static void a_refused_batch_disturbs_nobody(void **state)
{
    static const char *const keys[] = {"a", "b"};
    struct store *s = kit_store(1);
    struct condition present = {.match = {.present = true, .any = true}};
    struct store_work *batch = batch_of(keys, 2, "1"), *write = store_work_new(WORK_WRITE);
    struct store_txn *txn;
    batch->batch.writes[1].condition = &present;
    write->write = write_of("c", "1");
    assert_int_equal(store_begin(s, NOW_MS, &txn), OK);
    assert_int_equal(store_do(txn, batch), OK);
    assert_int_equal(store_do(txn, write), OK);
    assert_int_equal(store_commit(txn), OK);
    assert_int_equal(batch->err, ERR_UNMET);
    assert_string_equal(kit_value(s, "c"), "1");
    assert_int_equal(kit_keys(s), 1);
    store_work_free(batch), store_work_free(write);
    store_close(s);
}

/* What ended since the transaction began is not there for those who come late, and the
 * time does not go back. */
static void who_comes_late_is_judged_at_its_own_time(void **state)
{
    struct store *s = kit_store(1);
    struct condition absent = {.none_match = {.present = true, .any = true}};
    struct store_work *ends = store_work_new(WORK_WRITE), *late = store_work_new(WORK_WRITE);
    struct store_txn *txn;
    ends->write = write_of("k", "1");
    ends->write.expires_ms = NOW_MS + 1;
    late->write = write_of("k", "2");
    late->write.condition = &absent;
    assert_int_equal(store_begin(s, NOW_MS, &txn), OK);
    assert_int_equal(store_do(txn, ends), OK);
    assert_int_equal(store_do(txn, late), OK);
    assert_int_equal(late->err, ERR_UNMET);
    store_move_on(txn, NOW_MS + 1);
    store_move_on(txn, NOW_MS);
    assert_int_equal(store_do(txn, late), OK);
    assert_int_equal(late->err, OK);
    assert_true(late->write.stamp >= stamp_of_ms(NOW_MS + 1));
    assert_int_equal(store_commit(txn), OK);
    assert_string_equal(kit_value(s, "k"), "2");
    store_work_free(ends), store_work_free(late);
    store_close(s);
}

/* What shows only while writing (here a key that is there twice) undoes all of it. */
static void a_batch_that_fails_half_way_is_undone(void **state)
{
    static const char *const keys[] = {"a", "b", "a"};
    struct store *s = kit_store(1);
    struct condition absent = {.none_match = {.present = true, .any = true}};
    struct store_work *batch = batch_of(keys, 3, "1");
    for (size_t i = 0; i < 3; i++)
        batch->batch.writes[i].condition = &absent;
    assert_int_equal(kit_run(s, batch), ERR_UNMET);
    assert_int_equal(batch->batch.failed, 2);
    assert_int_equal(kit_keys(s), 0);
    assert_int_equal(kit_clock(s, 1), 0);
    store_work_free(batch);
    store_close(s);
}

/* It weighs what its writes weigh, so that a group stays within its limits. */
static void a_batch_has_a_weight(void **state)
{
    static const char *const keys[] = {"aa", "bb"};
    struct store_work *work = batch_of(keys, 2, "123");
    work->batch.writes[1].weight = 1000;
    size_t records, bytes;
    store_work_cost(work, &records, &bytes);
    assert_int_equal(records, 2);
    assert_int_equal(bytes, 1010);
    store_work_free(work);
}

/* ---- reading backwards ----------------------------------------------------------- */

static void records_are_read_backwards(void **state)
{
    struct store *s = kit_store(1);
    struct snapshot *snapshot;
    struct scan *scan;
    struct bytes key = bytes_str("c\xff"), record;
    static const char *const keys[] = {"a", "b", "b/1", "c"};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(kit_put(s, keys[i], "1", NULL, NULL), OK);
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    assert_int_equal(scan_open(snapshot, bytes_str("b"), &scan), OK);
    for (size_t i = 4; i-- > 0;) {
        assert_int_equal(scan_before(scan, key, &key, &record), OK);
        assert_true(bytes_equal(key, bytes_str(keys[i])));
    }
    assert_int_equal(scan_before(scan, key, &key, &record), ERR_NOT_FOUND);
    assert_int_equal(scan_seek(scan, bytes_str("b0"), &key, &record), OK);
    assert_true(bytes_equal(key, bytes_str("c")));
    assert_int_equal(scan_next(scan, &key, &record), ERR_NOT_FOUND);
    scan_close(scan);
    snapshot_close(snapshot);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tag_is_of_the_versions_alone),
        cmocka_unit_test(near_dots_have_other_tags),
        cmocka_unit_test(an_expired_version_leaves_the_tag),
        cmocka_unit_test(a_write_may_ask_for_a_tag),
        cmocka_unit_test(a_write_may_ask_for_presence_or_absence),
        cmocka_unit_test(a_delete_has_conditions_too),
        cmocka_unit_test(a_touch_moves_the_end),
        cmocka_unit_test(a_touch_with_a_token_is_of_what_was_seen),
        cmocka_unit_test(a_batch_is_done_whole),
        cmocka_unit_test(a_batch_is_refused_whole),
        cmocka_unit_test(a_refused_batch_disturbs_nobody),
        cmocka_unit_test(who_comes_late_is_judged_at_its_own_time),
        cmocka_unit_test(a_batch_that_fails_half_way_is_undone),
        cmocka_unit_test(a_batch_has_a_weight),
        cmocka_unit_test(records_are_read_backwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
