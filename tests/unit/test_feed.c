/* feed: what a step shows, and when it shows nothing. tests/prop/test_watch.c holds
 * the rules together in random worlds. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "feed.h"
#include "keys.h"
#include "storekit.h"

#include <stdio.h>
#include <string.h>

/* What was shown, as "+key=value", "-key", "?key" and "." for the end of a listing. */
struct shown {
    char text[2000];
    struct buf cursor; /* with the last event */
};

static void on_event(void *ctx, const struct feed_event *event, const struct feed_cursor *cursor)
{
    static const char marks[] = {[FEED_PUT] = '+', [FEED_DELETE] = '-', [FEED_DAMAGED] = '?'};
    struct shown *shown = ctx;
    size_t at = strlen(shown->text);
    if (event->kind == FEED_LISTED)
        snprintf(shown->text + at, sizeof shown->text - at, " .");
    else
        snprintf(shown->text + at, sizeof shown->text - at, " %c%.*s", marks[event->kind],
                 (int)event->key.len, (const char *)event->key.data);
    at = strlen(shown->text);
    if (event->version)
        snprintf(shown->text + at, sizeof shown->text - at, "=%.*s", (int)event->version->value.len,
                 (const char *)event->version->value.data);
    buf_reset(&shown->cursor);
    feed_cursor_encode(cursor, &shown->cursor);
}

static struct shown nothing_shown(void)
{
    struct shown shown = {0};
    buf_init(&shown.cursor, FEED_CURSOR_TEXT_MAX);
    return shown;
}

static enum feed_end step_as(struct store *s, struct feed_cursor *cursor, struct shown *shown,
                             struct feed_reader reader)
{
    struct snapshot *snapshot = NULL;
    enum feed_end end = FEED_MORE;
    shown->text[0] = '\0';
    reader.each = on_event;
    reader.ctx = shown;
    if (!reader.rows_max)
        reader.rows_max = 100;
    if (!reader.bytes_max)
        reader.bytes_max = SIZE_MAX;
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    assert_int_equal(feed_step(snapshot, &reader, cursor, &end), OK);
    snapshot_close(snapshot);
    return end;
}

static enum feed_end step(struct store *s, struct feed_cursor *cursor, struct shown *shown)
{
    return step_as(s, cursor, shown, (struct feed_reader){0});
}

static struct feed_cursor now(struct store *s)
{
    struct snapshot *snapshot = NULL;
    struct feed_cursor cursor = {0};
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    assert_int_equal(feed_now(snapshot, &cursor), OK);
    snapshot_close(snapshot);
    return cursor;
}

static void done(struct store *s, struct feed_cursor *cursor, struct shown *shown)
{
    feed_cursor_done(cursor);
    buf_done(&shown->cursor);
    store_close(s);
}

/* A reader from the present on is shown what comes, in order, each key's last state. */
static void changes_are_shown_in_order(void **state)
{
    struct store *s = kit_store(1);
    struct shown shown = nothing_shown();
    assert_int_equal(kit_put(s, "before", "0", NULL, NULL), OK);
    struct feed_cursor cursor = now(s);
    assert_int_equal(kit_put(s, "b", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "a", "2", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "b", "3", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "c", "4", NULL, NULL), OK);
    assert_int_equal(kit_delete(s, "c", NULL, NULL), OK);

    assert_int_equal(step(s, &cursor, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, " +a=2 +b=3 -c");

    assert_int_equal(step(s, &cursor, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, "");
    done(s, &cursor, &shown);
}

/* The cursor with an event leads to what comes after it, and to nothing before. */
static void a_cursor_goes_on_where_it_was_given(void **state)
{
    struct store *s = kit_store(1);
    struct shown shown = nothing_shown();
    struct feed_cursor cursor = now(s), back = {0};
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "b", "2", NULL, NULL), OK);
    assert_int_equal(step_as(s, &cursor, &shown, (struct feed_reader){.rows_max = 1}), FEED_MORE);
    assert_string_equal(shown.text, " +a=1");

    assert_int_equal(feed_cursor_decode(buf_bytes(&shown.cursor), &back), OK);
    assert_int_equal(step(s, &back, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, " +b=2");
    feed_cursor_done(&back);
    done(s, &cursor, &shown);
}

/* A step ends with the value that passes its limit, so that one is always shown. */
static void the_limit_of_bytes_lets_one_value_pass(void **state)
{
    struct store *s = kit_store(1);
    struct shown shown = nothing_shown();
    struct feed_cursor cursor = now(s);
    assert_int_equal(kit_put(s, "a", "11111", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "b", "22222", NULL, NULL), OK);
    struct feed_reader reader = {.bytes_max = 3};

    assert_int_equal(step_as(s, &cursor, &shown, reader), FEED_MORE);
    assert_string_equal(shown.text, " +a=11111");
    assert_int_equal(step_as(s, &cursor, &shown, reader), FEED_AT_HEAD);
    assert_string_equal(shown.text, " +b=22222");
    done(s, &cursor, &shown);
}

/* Keys without the prefix are passed, and the cursor with them. */
static void only_the_prefix_is_shown(void **state)
{
    struct store *s = kit_store(1);
    struct shown shown = nothing_shown();
    struct feed_cursor cursor = now(s);
    assert_int_equal(kit_put(s, "x/1", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "y/1", "2", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "x", "3", NULL, NULL), OK);

    assert_int_equal(step_as(s, &cursor, &shown, (struct feed_reader){.prefix = bytes_str("x/")}),
                     FEED_AT_HEAD);
    assert_string_equal(shown.text, " +x/1=1");
    struct replica_id id = kit_id(1);
    assert_int_equal(clock_get(&cursor.low, &id), 3);
    done(s, &cursor, &shown);
}

/* Of concurrent versions the one that a read shows is shown; deleting one leaves the other. */
static void the_surfaced_version_is_shown(void **state)
{
    struct store *s = kit_store(1);
    struct shown shown = nothing_shown();
    struct feed_cursor cursor = now(s);
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    assert_int_equal(kit_add(s, "a", "2", NULL), OK);

    assert_int_equal(step(s, &cursor, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, " +a=2");
    done(s, &cursor, &shown);
}

/* What has expired is told as deleted. */
static void an_expired_value_is_shown_as_deleted(void **state)
{
    struct store *s = kit_store(1);
    struct shown shown = nothing_shown();
    struct feed_cursor cursor = now(s), again = {0};
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write = (struct write_work){.key = bytes_str("a"), .value = bytes_str("1"), .expires_ms = 5000};
    assert_int_equal(kit_do(s, work), OK);
    feed_cursor_copy(&again, &cursor);

    assert_int_equal(step_as(s, &cursor, &shown, (struct feed_reader){.wall_ms = 4999}), FEED_AT_HEAD);
    assert_string_equal(shown.text, " +a=1");
    assert_int_equal(step_as(s, &again, &shown, (struct feed_reader){.wall_ms = 5000}), FEED_AT_HEAD);
    assert_string_equal(shown.text, " -a");
    feed_cursor_done(&again);
    done(s, &cursor, &shown);
}

/* ---- listings ---------------------------------------------------------------------------- */

static struct feed_cursor from_the_first_key(struct store *s)
{
    struct snapshot *snapshot = NULL;
    struct feed_cursor cursor = {0};
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    assert_int_equal(feed_anew(snapshot, &cursor), OK);
    snapshot_close(snapshot);
    return cursor;
}

/* All keys in order, then the end of the listing, then what changes. */
static void a_listing_is_in_order_and_ends(void **state)
{
    struct store *s = kit_store(1);
    struct shown shown = nothing_shown();
    assert_int_equal(kit_put(s, "b", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "a", "2", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "gone", "3", NULL, NULL), OK);
    assert_int_equal(kit_delete(s, "gone", NULL, NULL), OK);
    struct feed_cursor cursor = from_the_first_key(s);

    assert_int_equal(step(s, &cursor, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, " +a=2 +b=1 .");
    assert_int_equal(kit_put(s, "c", "4", NULL, NULL), OK);
    assert_int_equal(step(s, &cursor, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, " +c=4");
    done(s, &cursor, &shown);
}

/* Changes of keys already listed are shown on the way; of the others the listing will tell. */
static void a_listing_follows_what_changes_behind_it(void **state)
{
    struct store *s = kit_store(1);
    struct shown shown = nothing_shown();
    for (const char *key = "abcd"; *key; key++)
        assert_int_equal(kit_put(s, (char[]){*key, '\0'}, "1", NULL, NULL), OK);
    struct feed_cursor cursor = from_the_first_key(s), back = {0};
    struct feed_reader two = {.rows_max = 2};
    assert_int_equal(step_as(s, &cursor, &shown, two), FEED_MORE);
    assert_string_equal(shown.text, " +a=1 +b=1");

    assert_int_equal(kit_put(s, "d", "2", NULL, NULL), OK);
    assert_int_equal(kit_delete(s, "a", NULL, NULL), OK);
    /* and from the cursor that stood with the last event, as another connection would */
    assert_int_equal(feed_cursor_decode(buf_bytes(&shown.cursor), &back), OK);
    assert_int_equal(step_as(s, &back, &shown, two), FEED_MORE);
    assert_string_equal(shown.text, " -a +c=1 +d=2");
    assert_int_equal(step_as(s, &back, &shown, two), FEED_AT_HEAD);
    assert_string_equal(shown.text, " .");
    feed_cursor_done(&back);
    done(s, &cursor, &shown);
}

/* However much changes, each step of a listing lists something. */
static void a_listing_goes_on_under_writes(void **state)
{
    struct store *s = kit_store(1);
    struct shown shown = nothing_shown();
    for (char key = 'a'; key <= 'f'; key++)
        assert_int_equal(kit_put(s, (char[]){key, '\0'}, "1", NULL, NULL), OK);
    struct feed_cursor cursor = from_the_first_key(s);
    bool ended = false;
    for (int turn = 0; turn < 7 && !ended; turn++) {
        for (int n = 0; n < 3; n++)
            assert_int_equal(kit_put(s, "a", "2", NULL, NULL), OK);
        step_as(s, &cursor, &shown, (struct feed_reader){.rows_max = 1});
        ended = strchr(shown.text, '.');
    }
    assert_true(ended);
    done(s, &cursor, &shown);
}

/* ---- when nothing is shown ------------------------------------------------------------------ */

/* A node that has not seen what was shown elsewhere waits until it has. */
static void a_node_behind_the_cursor_shows_nothing(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2);
    struct shown shown = nothing_shown();
    struct feed_cursor cursor = now(a);
    struct replica_id id = kit_id(1);
    assert_int_equal(kit_put(a, "k", "1", NULL, NULL), OK);
    assert_int_equal(step(a, &cursor, &shown), FEED_AT_HEAD);
    assert_int_equal(kit_put(b, "l", "2", NULL, NULL), OK);

    assert_int_equal(step(b, &cursor, &shown), FEED_BEHIND);
    assert_string_equal(shown.text, "");
    assert_int_equal(kit_send(a, b, &id, 10, true), OK);
    assert_int_equal(step(b, &cursor, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, " +l=2");
    store_close(b);
    done(a, &cursor, &shown);
}

/* What a state shown includes beyond the clock (found early in a peer's record) binds too. */
static void what_was_found_early_binds_the_cursor(void **state)
{
    struct store *a = kit_store(1), *b = kit_store(2), *c = kit_store(3);
    struct shown shown = nothing_shown();
    struct replica_id one = kit_id(1), two = kit_id(2);
    struct feed_cursor cursor = now(c);
    assert_int_equal(kit_put(a, "k", "1", NULL, NULL), OK);
    assert_int_equal(kit_send(a, b, &one, 10, true), OK);
    assert_int_equal(kit_put(b, "k", "2", NULL, NULL), OK);
    /* c has a's row, with b's record, and of b nothing else */
    assert_int_equal(kit_send(b, c, &one, 10, true), OK);
    assert_int_equal(step(c, &cursor, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, " +k=2");

    assert_int_equal(step(a, &cursor, &shown), FEED_BEHIND);
    assert_int_equal(step_as(c, &cursor, &shown, (struct feed_reader){.continues = true}), FEED_AT_HEAD);
    assert_int_equal(step(c, &cursor, &shown), FEED_BEHIND);
    assert_int_equal(kit_send(b, c, &two, 10, true), OK);
    assert_int_equal(step(c, &cursor, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, " +k=2");
    store_close(a), store_close(b);
    done(c, &cursor, &shown);
}

/* A node that is being filled shows nothing. */
static void a_walking_node_shows_nothing(void **state)
{
    struct store *s = kit_store(1);
    struct shown shown = nothing_shown();
    struct feed_cursor cursor = now(s);
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    assert_int_equal(kit_walk_start(s), OK);

    assert_int_equal(step_as(s, &cursor, &shown, (struct feed_reader){.continues = true}), FEED_WALKING);
    assert_string_equal(shown.text, "");
    done(s, &cursor, &shown);
}

/* Rows pruned above the cursor: nothing is shown, and a listing is what helps. */
static void a_cursor_older_than_history_is_gone(void **state)
{
    struct store *s = kit_store(1);
    struct shown shown = nothing_shown();
    struct feed_cursor cursor = now(s);
    struct clock floor = {0};
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "a", "2", NULL, NULL), OK);
    clock_raise(&floor, &(struct dot){.replica = kit_id(1), .counter = 1});
    assert_int_equal(kit_prune(s, &floor), OK);

    assert_int_equal(step(s, &cursor, &shown), FEED_GONE);
    assert_string_equal(shown.text, "");
    struct snapshot *snapshot = NULL;
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    assert_int_equal(feed_anew(snapshot, &cursor), OK);
    snapshot_close(snapshot);
    assert_int_equal(step(s, &cursor, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, " +a=2 .");
    clock_done(&floor);
    done(s, &cursor, &shown);
}

/* A reader that followed a store which then took a new identity has to list again:
 * the old id's counters mean something else now. */
static void a_new_identity_ends_a_reader(void **state)
{
    struct store *s = kit_store(1);
    struct shown shown = nothing_shown();
    struct feed_cursor cursor = now(s);
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    assert_int_equal(step(s, &cursor, &shown), FEED_AT_HEAD);
    struct store_work *work = store_work_new(WORK_REIDENTIFY);
    work->reidentify.old_id = kit_id(1);
    work->reidentify.new_id = kit_id(9);
    assert_int_equal(kit_do(s, work), OK);

    assert_int_equal(step_as(s, &cursor, &shown, (struct feed_reader){.continues = true}), FEED_GONE);
    struct snapshot *snapshot = NULL;
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    assert_int_equal(feed_anew(snapshot, &cursor), OK);
    snapshot_close(snapshot);
    assert_int_equal(step(s, &cursor, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, " +a=1 .");
    done(s, &cursor, &shown);
}

/* A record that cannot be read is told as that, and what follows is shown. */
static void a_damaged_record_is_told(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *s = kit_store_on(engine, 1);
    struct shown shown = nothing_shown();
    struct feed_cursor cursor = now(s), listing = from_the_first_key(s);
    struct engine_txn *txn = NULL;
    assert_int_equal(kit_put(s, "a", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "b", "2", NULL, NULL), OK);
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_RECORDS, bytes_str("a"), bytes_str("no record")), OK);
    assert_int_equal(engine->ops->commit(txn), OK);

    assert_int_equal(step(s, &cursor, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, " ?a +b=2");
    assert_int_equal(step(s, &listing, &shown), FEED_AT_HEAD);
    assert_string_equal(shown.text, " ?a +b=2 .");
    feed_cursor_done(&listing);
    done(s, &cursor, &shown);
}

/* A row that is missing above the floor is history that is gone. */
static void a_missing_row_is_history_gone(void **state)
{
    struct engine *engine = engine_mem_new();
    struct store *s = kit_store_on(engine, 1);
    struct shown shown = nothing_shown();
    struct feed_cursor cursor = now(s);
    struct engine_txn *txn = NULL;
    struct dot dot;
    uint8_t key[ROW_KEY_SIZE];
    assert_int_equal(kit_put(s, "a", "1", NULL, &dot), OK);
    assert_int_equal(kit_put(s, "b", "2", NULL, NULL), OK);
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->del(txn, TABLE_ROWS, row_key(&dot, key)), OK);
    assert_int_equal(engine->ops->commit(txn), OK);

    assert_int_equal(step(s, &cursor, &shown), FEED_GONE);
    assert_string_equal(shown.text, "");
    done(s, &cursor, &shown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_shown_in_order),
        cmocka_unit_test(a_cursor_goes_on_where_it_was_given),
        cmocka_unit_test(the_limit_of_bytes_lets_one_value_pass),
        cmocka_unit_test(only_the_prefix_is_shown),
        cmocka_unit_test(the_surfaced_version_is_shown),
        cmocka_unit_test(an_expired_value_is_shown_as_deleted),
        cmocka_unit_test(a_listing_is_in_order_and_ends),
        cmocka_unit_test(a_listing_follows_what_changes_behind_it),
        cmocka_unit_test(a_listing_goes_on_under_writes),
        cmocka_unit_test(a_node_behind_the_cursor_shows_nothing),
        cmocka_unit_test(what_was_found_early_binds_the_cursor),
        cmocka_unit_test(a_walking_node_shows_nothing),
        cmocka_unit_test(a_cursor_older_than_history_is_gone),
        cmocka_unit_test(a_new_identity_ends_a_reader),
        cmocka_unit_test(a_damaged_record_is_told),
        cmocka_unit_test(a_missing_row_is_history_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
