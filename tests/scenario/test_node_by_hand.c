/* Whole nodes in virtual time: what an operator may do by hand (forget, pause, retire),
 * and what time does (expiry). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "stories.h"
#include "twin.h"

enum { HOUR = 3600000 };

static struct world *cluster(const struct world_options *options, int n)
{
    return cluster_after(options, n, FORMED_MS);
}

static const char *uuid_of(struct world *w, int i, char text[REPLICA_ID_TEXT])
{
    struct replica_id id;
    world_replica_id(w, i, &id);
    return replica_id_text(&id, text);
}

static enum err ask(struct world *w, int i, enum node_request request, const char *name)
{
    enum err err;
    (void)world_request(w, i, request, name, &err, 5000);
    return err;
}

static bool status_has(struct world *w, int i, const char *part)
{
    enum err err;
    return strstr(world_request(w, i, NODE_REQUEST_STATUS, NULL, &err, 1000), part) != NULL;
}

static uint64_t clock_of(struct world *w, int i, const struct replica_id *id)
{
    struct snapshot *snapshot;
    struct clock clock = {0};
    assert_int_equal(snapshot_open(world_store(w, i), &snapshot), OK);
    assert_int_equal(snapshot_clock(snapshot, &clock, NULL), OK);
    uint64_t counter = clock_get(&clock, id);
    clock_done(&clock);
    snapshot_close(snapshot);
    return counter;
}

/* ---- ids ---------------------------------------------------------------------------- */

static void do_work(struct store *store, struct store_work *work)
{
    assert_int_equal(store_run(store, 0, work), OK);
    store_work_free(work);
}

/* As a walk from one that knows so many brings them. */
static void learn_replicas(struct world *w, int i, unsigned count)
{
    static const enum work_kind kinds[] = {WORK_WALK_START, WORK_WALK_PIECE, WORK_WALK_ROWS};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct store_work *work = store_work_new(kinds[k]);
        work->rows.serial = 1;
        work->rows.last = true;
        for (unsigned n = 0; n < count && k > 0; n++) {
            struct dot dot = {.replica.b = {0xFF, (uint8_t)(n >> 8), (uint8_t)n}, .counter = 1};
            clock_raise(&work->rows.source_clock, &dot);
        }
        do_work(world_store(w, i), work);
    }
}

/* Ids are for ever: long before there may be no more of them an operator is told. */
static void many_ids_are_told_of(void **state)
{
    for (unsigned others = 254; others <= 255; others++) {
        struct world *w = world_new(&(struct world_options){.seed = 50});
        world_start_alone(w, 0);
        world_run(w, 1000);
        assert_int_equal(world_put(w, 0, "k", "1"), OK);
        learn_replicas(w, 0, others);
        assert_int_equal(world_put(w, 0, "k", "2"), OK);
        world_run(w, 20000);
        assert_true(status_has(w, 0, others == 254 ? "\"Replicas\":255" : "\"Replicas\":256"));
        assert_int_equal(world_noticed_by(w, 0, "event=many_replicas count=256 max=1024"), others == 255);
        world_free(w);
    }
}

/* ---- forget ------------------------------------------------------------------------ */

/* Who holds forgetting open is shown; let go of by hand, on one node, all forget. What it
 * wrote alone is there when it comes back, and what was deleted is not. */
static void one_that_holds_forgetting_is_let_go(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 51, .history_ms = 2000}, 3);
    char uuid[REPLICA_ID_TEXT];
    uuid_of(w, 2, uuid);
    assert_int_equal(world_put(w, 0, "gone", "1"), OK);
    assert_int_equal(world_put(w, 0, "stays", "1"), OK);
    assert_agree_within(w, 5000);
    assert_int_equal(ask(w, 0, NODE_REQUEST_FORGET, uuid), ERR_CONFLICT); /* it is connected */
    assert_int_equal(ask(w, 0, NODE_REQUEST_FORGET, "nobody"), ERR_NOT_FOUND);
    world_cut(w, 0, 2, true);
    world_cut(w, 1, 2, true);
    assert_int_equal(world_put(w, 2, "alone", "2"), OK);
    assert_int_equal(world_delete(w, 0, "gone"), OK);
    world_run(w, 60000);
    assert_true(world_rows(w, 0) > 0 && world_records(w, 0) == 2);
    char holds[120];
    snprintf(holds, sizeof holds, "\"HoldsForgetting\":[{\"Peer\":\"n2-%s\"", uuid);
    assert_true(status_has(w, 0, holds));
    assert_true(status_has(w, 1, holds));

    assert_int_equal(ask(w, 0, NODE_REQUEST_FORGET, uuid), OK);
    world_run(w, 30000);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(world_rows(w, i), 0);
        assert_int_equal(world_records(w, i), 1);
        assert_true(status_has(w, i, "\"HoldsForgetting\":[]"));
        assert_true(status_has(w, i, "\"State\":\"forgotten\""));
    }
    world_kill(w, 1); /* it is kept over a restart */
    world_start_alone(w, 1);
    world_run(w, 5000);
    assert_true(status_has(w, 1, "\"State\":\"forgotten\""));
    world_cut(w, 0, 2, false);
    world_cut(w, 1, 2, false);
    assert_agree_within(w, 60000);
    assert_int_equal(world_counter(w, 2, "walks_finished"), 1);
    for (int i = 0; i < 3; i++) {
        assert_null(world_get(w, i, "gone"));
        assert_string_equal(world_get(w, i, "alone"), "2");
    }
    assert_false(status_has(w, 0, "\"State\":\"forgotten\""));
    world_free(w);
}

/* ---- pause -------------------------------------------------------------------------- */

/* Remote writes wait, its own reach the others; links live on, a restart changes nothing,
 * and it says that it is not ready. */
static void a_paused_node_applies_nothing(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 52}, 2);
    enum err err;
    assert_int_equal(ask(w, 1, NODE_REQUEST_PAUSE, NULL), OK);
    assert_int_equal(world_put(w, 0, "k", "1"), OK);
    assert_int_equal(world_put(w, 1, "own", "2"), OK);
    uint64_t lost = world_counter(w, 0, "sync_links_lost");
    world_run(w, 60000);
    assert_null(world_get(w, 1, "k"));
    assert_string_equal(world_get(w, 0, "own"), "2");
    assert_int_equal(world_counter(w, 0, "sync_links_lost"), lost);
    const char *ready = world_request(w, 1, NODE_REQUEST_READY, NULL, &err, 1000);
    assert_int_equal(err, ERR_WALKING);
    assert_non_null(strstr(ready, "paused"));
    assert_true(status_has(w, 1, "\"Paused\":true"));

    world_kill(w, 1);
    world_start_alone(w, 1);
    world_run(w, 20000);
    assert_null(world_get(w, 1, "k"));
    assert_int_equal(ask(w, 1, NODE_REQUEST_RESUME, NULL), OK);
    assert_agree_within(w, 3000);
    assert_string_equal(world_get(w, 1, "k"), "1");
    assert_true(status_has(w, 1, "\"Paused\":false"));
    world_free(w);
}

/* Nor in the place of a record that cannot be read: with it would come what was written since. */
static void a_paused_node_repairs_nothing(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 58}, 2);
    assert_int_equal(world_put(w, 0, "k", "1"), OK);
    assert_agree_within(w, 3000);
    assert_int_equal(ask(w, 1, NODE_REQUEST_PAUSE, NULL), OK);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    world_damage(w, 1, "k");
    assert_null(world_get(w, 1, "k")); /* from here on it is known */
    world_run(w, 120000);
    assert_null(world_get(w, 1, "k"));
    assert_true(world_noticed_by(w, 1, "event=record_damaged key=k"));

    assert_int_equal(ask(w, 1, NODE_REQUEST_RESUME, NULL), OK);
    world_run(w, 60000);
    assert_string_equal(world_get(w, 1, "k"), "2");
    assert_agree_within(w, 3000);
    world_free(w);
}

/* More than may wait in memory waits at the sender. */
static void a_paused_node_takes_no_more_than_its_memory(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 53}, 2);
    assert_int_equal(ask(w, 1, NODE_REQUEST_PAUSE, NULL), OK);
    char value[60000];
    memset(value, '1', sizeof value - 1);
    value[sizeof value - 1] = 0;
    for (int i = 0; i < 600; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_put(w, 0, key, value), OK);
        if (i % 20 == 0)
            world_run(w, 10);
    }
    world_run(w, 60000);
    assert_true(world_counter(w, 1, "Waiting") < 30u << 20);
    assert_int_equal(world_counter(w, 1, "sync_links_lost"), 0);
    assert_int_equal(ask(w, 1, NODE_REQUEST_RESUME, NULL), OK);
    assert_agree_within(w, 60000);
    world_free(w);
}

/* ---- retire ------------------------------------------------------------------------- */

/* Nodes 0 and 3 know of node 2's second operation by node 1's record alone; nodes 1 and 2
 * are gone, and with them the first. */
static struct world *stranded_until(uint64_t seed, uint64_t forget_after_ms)
{
    struct world_options options = {.seed = seed, .history_ms = 2000, .forget_after_ms = forget_after_ms};
    struct world *w = cluster(&options, 4);
    assert_int_equal(world_put(w, 2, "before", "0"), OK);
    assert_agree_within(w, 5000);
    world_run(w, 20000); /* rows and contexts are gone */
    world_cut(w, 0, 2, true);
    world_cut(w, 3, 2, true);
    assert_int_equal(world_put(w, 2, "lost", "1"), OK);
    assert_int_equal(world_put(w, 2, "x", "2"), OK);
    world_run(w, 20);
    assert_string_equal(world_get(w, 1, "x"), "2");
    assert_int_equal(world_put(w, 1, "x", "3"), OK);
    world_run(w, 10);
    assert_string_equal(world_get(w, 0, "x"), "3");
    assert_string_equal(world_get(w, 3, "x"), "3");
    assert_null(world_get(w, 0, "lost"));
    world_kill(w, 1);
    world_kill(w, 2);
    world_run(w, 30000);
    return w;
}

static struct world *stranded(uint64_t seed)
{
    return stranded_until(seed, 72 * (uint64_t)HOUR);
}

static void assert_retired(struct world *w, const struct replica_id *id)
{
    world_run(w, 30000);
    for (int i = 0; i < 4; i += 3) {
        assert_int_equal(clock_of(w, i, id), 3);
        assert_int_equal(world_counter(w, i, "walks_started"), 0); /* nobody had to be filled for it */
        assert_true(status_has(w, i, "\"Done\":true,\"Whole\":1,\"Highest\":3,\"WaitsFor\":\"\""));
    }
}

/* What nobody has whole costs space until the id is retired; then all raise the clock
 * over it, told at one node. The replica comes back under a new id: what it alone had is
 * there, what the others had seen and deleted is not. */
static void a_dead_id_is_retired(void **state)
{
    struct world *w = stranded(54);
    struct replica_id one, two, now;
    char uuid[REPLICA_ID_TEXT], other[REPLICA_ID_TEXT];
    /* the ids of stores that are down, as the others know them */
    struct snapshot *snapshot;
    struct clock clock = {0};
    struct replica_id zero, three;
    world_replica_id(w, 0, &zero);
    world_replica_id(w, 3, &three);
    assert_int_equal(snapshot_open(world_store(w, 0), &snapshot), OK);
    assert_int_equal(snapshot_clock(snapshot, &clock, NULL), OK);
    snapshot_close(snapshot);
    assert_int_equal(clock.count, 2); /* 1 put once, 2 put once before */
    bool first_is_two = clock.entries[0].counter == 1 && world_rows(w, 0) > 0;
    (void)first_is_two;
    two = one = clock.entries[0].replica;
    for (size_t i = 0; i < clock.count; i++) {
        uint64_t highest = 0;
        assert_int_equal(snapshot_open(world_store(w, 0), &snapshot), OK);
        assert_int_equal(snapshot_highest(snapshot, &clock.entries[i].replica, &highest), OK);
        snapshot_close(snapshot);
        if (highest == 3)
            two = clock.entries[i].replica;
        else
            one = clock.entries[i].replica;
    }
    clock_done(&clock);
    replica_id_text(&two, uuid);
    replica_id_text(&one, other);

    assert_int_equal(ask(w, 0, NODE_REQUEST_FORGET, uuid), OK);
    assert_int_equal(ask(w, 0, NODE_REQUEST_FORGET, other), OK);
    assert_int_equal(world_delete(w, 0, "x"), OK);
    world_run(w, 60000);
    assert_int_equal(clock_of(w, 0, &two), 1);
    assert_int_equal(world_records(w, 0), 2); /* before, and what is left of x */

    assert_int_equal(ask(w, 0, NODE_REQUEST_RETIRE, "nobody"), ERR_NOT_FOUND);
    assert_int_equal(ask(w, 0, NODE_REQUEST_RETIRE, uuid_of(w, 0, other)), ERR_CONFLICT);
    assert_int_equal(ask(w, 0, NODE_REQUEST_RETIRE, uuid_of(w, 3, other)), ERR_CONFLICT);
    assert_int_equal(ask(w, 0, NODE_REQUEST_RETIRE, uuid), OK);
    assert_retired(w, &two);
    for (int i = 0; i < 4; i += 3) {
        assert_int_equal(world_records(w, i), 1);
        assert_int_equal(world_rows(w, i), 0);
    }

    world_cut(w, 0, 2, false);
    world_cut(w, 3, 2, false);
    world_start_alone(w, 2);
    world_run(w, 60000);
    assert_agree_within(w, 60000);
    world_replica_id(w, 2, &now);
    assert_false(replica_id_equal(&now, &two));
    for (int i = 0; i < 4; i++) {
        if (i == 1)
            continue;
        assert_string_equal(world_get(w, i, "lost"), "1");
        assert_null(world_get(w, i, "x"));
        assert_string_equal(world_get(w, i, "before"), "0");
    }
    world_free(w);
}

/* The id of which node 0 knows an operation by this number. */
static struct replica_id id_with(struct world *w, uint64_t counter)
{
    struct snapshot *snapshot;
    struct clock clock = {0};
    struct replica_id id = {0};
    assert_int_equal(snapshot_open(world_store(w, 0), &snapshot), OK);
    assert_int_equal(snapshot_clock(snapshot, &clock, NULL), OK);
    for (size_t i = 0; i < clock.count; i++) {
        uint64_t highest = 0;
        assert_int_equal(snapshot_highest(snapshot, &clock.entries[i].replica, &highest), OK);
        if (highest == counter)
            id = clock.entries[i].replica;
    }
    clock_done(&clock);
    snapshot_close(snapshot);
    assert_false(replica_id_is_zero(&id));
    return id;
}

/* A row found early that cannot be read is made again: the id ends all the same. */
static void a_damaged_row_does_not_hold_it_up(void **state)
{
    struct world *w = stranded(59);
    struct replica_id one = id_with(w, 1), two = id_with(w, 3);
    char uuid[REPLICA_ID_TEXT], other[REPLICA_ID_TEXT];
    uint8_t row[REPLICA_ID_SIZE + 8] = {0};
    struct engine *engine = world_engine(w, 0);
    struct engine_txn *txn;
    memcpy(row, two.b, REPLICA_ID_SIZE);
    row[sizeof row - 1] = 3;
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_ROWS, bytes_of(row, sizeof row), bytes_str("?")), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
    replica_id_text(&two, uuid);
    replica_id_text(&one, other);
    assert_int_equal(ask(w, 0, NODE_REQUEST_FORGET, uuid), OK);
    assert_int_equal(ask(w, 0, NODE_REQUEST_FORGET, other), OK);
    assert_int_equal(ask(w, 0, NODE_REQUEST_RETIRE, uuid), OK);
    assert_retired(w, &two);
    assert_true(world_noticed_by(w, 0, "event=retired_rows_damaged"));
    assert_string_equal(world_get(w, 0, "x"), "3");
    world_free(w);
}

/* As long as one that is expected back has not told what it holds, nobody raises. */
static void retiring_waits_for_the_expected(void **state)
{
    struct world *w = stranded(55);
    enum err err;
    struct replica_id two = {0};
    char uuid[REPLICA_ID_TEXT];
    const char *status = world_request(w, 0, NODE_REQUEST_STATUS, NULL, &err, 1000);
    const char *at = strstr(status, "\"Peer\":\"n2-");
    assert_non_null(at);
    snprintf(uuid, sizeof uuid, "%s", at + strlen("\"Peer\":\"n2-"));
    assert_int_equal(replica_id_parse(bytes_str(uuid), &two), OK);
    assert_int_equal(ask(w, 0, NODE_REQUEST_RETIRE, uuid), OK);
    world_run(w, 60000);
    assert_int_equal(clock_of(w, 0, &two), 1); /* node 1 is away, and expected */
    assert_true(status_has(w, 0, "\"WaitsFor\":\"n1-"));

    world_start_alone(w, 1); /* which has all of it */
    world_run(w, 60000);
    assert_agree_within(w, 10000);
    for (int i = 0; i < 4; i++) {
        if (i == 2)
            continue;
        assert_int_equal(clock_of(w, i, &two), 3);
        assert_string_equal(world_get(w, i, "lost"), "1"); /* nothing is given up that somebody has */
        assert_int_equal(world_counter(w, i, "walks_started"), 0);
    }
    world_free(w);
}

/* Retired where less was known of it, and back where all is: that node was told that it is done, and says
 * what it knows itself all the same. Nothing is put again that others have replaced. */
static void who_was_told_knows_what_it_has(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 62, .history_ms = 2000}, 3);
    struct replica_id zero, two;
    char uuid[REPLICA_ID_TEXT];
    world_replica_id(w, 0, &zero);
    world_replica_id(w, 2, &two);
    assert_int_equal(world_put(w, 0, "a", "1"), OK);
    world_run(w, 10000); /* forgotten */
    world_cut(w, 0, 1, true);
    world_cut(w, 1, 2, true);
    assert_int_equal(world_put(w, 0, "k", "1"), OK);
    world_run(w, 1000);
    world_cut(w, 0, 2, true);
    assert_int_equal(world_put(w, 2, "k", "2"), OK);
    world_run(w, 1000);
    assert_string_equal(world_get(w, 0, "k"), "1");
    world_kill(w, 0);
    world_cut(w, 0, 2, false);
    world_run(w, 20000); /* node 1 sees that their links are dead */
    assert_int_equal(ask(w, 1, NODE_REQUEST_FORGET, replica_id_text(&two, uuid)), OK);
    assert_int_equal(ask(w, 1, NODE_REQUEST_RETIRE, replica_id_text(&zero, uuid)), OK);
    world_run(w, 1000);
    assert_true(world_noticed_by(w, 1, "event=retired_clock_raised"));
    world_cut(w, 1, 2, false);
    world_run(w, 10000);
    assert_true(world_noticed_by(w, 2, "event=replica_retired"));
    world_start_alone(w, 0);
    world_run(w, 10000);
    assert_true(world_noticed_by(w, 0, "event=reidentified"));
    world_cut(w, 0, 1, false);
    assert_agree_within(w, 20000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(world_versions(w, i, "k"), 1);
        assert_string_equal(world_get(w, i, "k"), "2");
    }
    world_free(w);
}

/* Over what is missing nobody raises either as long as one is away, however long, that may
 * have it, and was not let go: its clock would be the same as those of who has it all. Nor
 * does a newcomer, who does not know who there was. */
static void retiring_waits_for_who_may_have_the_rest(void **state)
{
    struct world *w = stranded_until(60, 20000);
    struct replica_id two = id_with(w, 3);
    char uuid[REPLICA_ID_TEXT];
    world_run(w, 60000); /* nobody that is away is expected back */
    assert_int_equal(ask(w, 0, NODE_REQUEST_RETIRE, replica_id_text(&two, uuid)), OK);
    world_run(w, 5000);
    world_start(w, 4, (int[]){0}, 1);
    world_run(w, 30000);
    assert_string_equal(world_get(w, 4, "x"), "3");
    for (int i = 0; i <= 4; i += i == 0 ? 3 : 1)
        assert_int_equal(clock_of(w, i, &two), 1);
    assert_true(status_has(w, 0, "\"WaitsFor\":\"n1-"));

    world_start_alone(w, 1); /* which has all of it */
    world_run(w, 30000);
    assert_agree_within(w, 10000);
    for (int i = 0; i <= 4; i++) {
        if (i == 2)
            continue;
        assert_int_equal(clock_of(w, i, &two), 3);
        assert_string_equal(world_get(w, i, "lost"), "1");
        assert_true(status_has(w, i, "\"Done\":true"));
    }
    world_free(w);
}

/* ---- expiry -------------------------------------------------------------------------- */

/* Dropped by each a minute after its time, without a message; one whose clock runs an hour
 * ahead of the others' hides it and drops nothing. Both sides say of the other that its clock
 * differs, and when that is over. */
static void expired_versions_are_dropped_by_sane_clocks(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 56, .history_ms = 2000});
    world_clock_offset(w, 2, HOUR);
    world_start_alone(w, 0);
    for (int i = 1; i < 4; i++)
        world_start(w, i, (int[]){0}, 1);
    world_run(w, 3000);
    assert_false(world_noticed(w, "event=clock_agrees"));
    for (int i = 0; i < 4; i++)
        assert_true(world_noticed_by(w, i, "event=clock_differs"));
    assert_true(world_noticed_by(w, 0, "ahead_ms=3"));
    assert_true(world_noticed_by(w, 2, "ahead_ms=-3"));
    assert_int_equal(world_put_expiring(w, 0, "short", "1", 30000), OK);
    assert_int_equal(world_put_expiring(w, 0, "long", "1", 100000), OK);
    world_run(w, 80000); /* 30 s, and a minute, less a little */
    for (int i = 0; i < 4; i++)
        assert_int_equal(world_versions(w, i, "short"), 1);
    assert_null(world_get(w, 2, "long")); /* hidden, by its clock */
    assert_int_equal(world_versions(w, 2, "long"), 1);
    assert_true(status_has(w, 2, "\"DropsExpired\":false"));
    assert_true(status_has(w, 0, "\"DropsExpired\":true"));
    world_run(w, 30000);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(world_versions(w, i, "short"), i == 2);
        assert_int_equal(world_versions(w, i, "long"), 1);
    }
    assert_true(world_counter(w, 2, "sync_expiries_withheld") > 0);
    world_clock_offset(w, 2, 0); /* set right: it drops what is due, and keeps what is not */
    world_run(w, 20000);
    assert_int_equal(world_versions(w, 2, "short"), 0);
    assert_int_equal(world_versions(w, 2, "long"), 1);
    world_run(w, 120000);
    for (int i = 0; i < 4; i++) {
        assert_true(world_noticed_by(w, i, "event=clock_agrees"));
        assert_int_equal(world_records(w, i), 0);
        assert_int_equal(world_rows(w, i), 0);
    }
    world_free(w);
}

/* A node that has peers and has not heard their clocks since its start drops nothing. */
static void a_lonely_clock_is_not_believed(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 57, .history_ms = 2000}, 2);
    assert_int_equal(world_put_expiring(w, 0, "k", "1", 10000), OK);
    assert_agree_within(w, 5000);
    world_kill(w, 1);
    world_kill(w, 0);
    world_clock_offset(w, 0, HOUR);
    world_start_alone(w, 0);
    world_run(w, 120000);
    assert_int_equal(world_versions(w, 0, "k"), 1);
    world_free(w);

    w = cluster(&(struct world_options){.seed = 58, .history_ms = 2000}, 1); /* nobody to ask */
    assert_int_equal(world_put_expiring(w, 0, "k", "1", 10000), OK);
    world_run(w, 120000);
    assert_int_equal(world_versions(w, 0, "k"), 0);
    world_free(w);
}

/* ---- two under one id ------------------------------------------------------------------ */

static struct twin twin_of(struct world *w, int node)
{
    struct snapshot *snapshot;
    struct replica_id id;
    struct twin twin;
    world_replica_id(w, node, &id);
    assert_int_equal(snapshot_open(world_store(w, node), &snapshot), OK);
    twin_read(snapshot, &id, &twin);
    snapshot_close(snapshot);
    return twin;
}

/* Node 5 runs on a copy of node 0's store; they have not met. */
static struct world *copied(uint64_t seed)
{
    struct world *w = world_new(&(struct world_options){.seed = seed});
    world_start_alone(w, 0);
    world_run(w, 1000);
    assert_int_equal(world_put(w, 0, "common", "1"), OK);
    world_save(w, 0);
    world_copy(w, 0, 5);
    world_start_alone(w, 5);
    return w;
}

/* A copy that has not written is told apart from one that has. */
static void a_silent_twin_has_not_parted(void **state)
{
    enum err err;
    struct world *w = copied(60);
    assert_int_equal(world_put(w, 0, "first", "1"), OK);
    (void)world_request(w, 5, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 11000);
    world_run(w, 20000);
    assert_int_equal(twin_of(w, 0).fork, 1);
    assert_int_equal(twin_of(w, 0).parted, UINT64_MAX);
    assert_int_equal(twin_of(w, 5).fork, 1);
    assert_int_equal(twin_of(w, 5).parted, 1);
    world_kill(w, 0);
    world_start_alone(w, 0);
    assert_int_equal(twin_of(w, 0).fork, 1); /* it is in the store */
    assert_int_equal(twin_of(w, 0).parted, UINT64_MAX);
    world_free(w);
}

/* A copy met somebody first, who knows of nothing that it wrote: the original takes the new id. What
 * a peer has of it is its own, and what it deletes of that stays deleted. */
static void what_a_peer_has_stays_deleted(void **state)
{
    for (int restarted = 0; restarted < 2; restarted++) {
        struct world *w = cluster_after(&(struct world_options){.seed = 61}, 2, FORMED_MS);
        struct replica_id before, after;
        enum err err;
        assert_int_equal(world_put(w, 0, "common", "1"), OK);
        world_run(w, 2000);
        world_save(w, 0);
        world_copy(w, 0, 5);
        world_cut(w, 1, 5, true);
        world_cut(w, 0, 5, true);
        assert_int_equal(world_put(w, 0, "k", "1"), OK);
        world_run(w, restarted ? 61000 : 2000);
        assert_non_null(world_get(w, 1, "k"));
        world_cut(w, 0, 1, true);
        assert_int_equal(world_delete(w, 0, "k"), OK);
        world_start_alone(w, 3);
        world_cut(w, 0, 3, true);
        world_cut(w, 1, 3, true);
        world_start(w, 5, (int[]){3}, 1);
        world_run(w, 15000); /* others are asked for its past, in vain */
        assert_non_null(world_get(w, 3, "common"));
        world_kill(w, 5);
        if (restarted) {
            world_kill(w, 0);
            world_start_alone(w, 0);
        }
        assert_int_equal(twin_of(w, 0).known, restarted ? 2 : 0); /* not kept yet, else */
        world_replica_id(w, 0, &before);
        world_cut(w, 0, 3, false);
        (void)world_request(w, 0, NODE_REQUEST_JOIN, "10.0.0.4:7946", &err, 11000);
        world_run(w, 5000);
        world_replica_id(w, 0, &after);
        assert_false(replica_id_equal(&before, &after));
        world_cut(w, 0, 1, false);
        world_cut(w, 1, 3, false);
        (void)world_request(w, 0, NODE_REQUEST_JOIN, "10.0.0.2:7946", &err, 11000);
        assert_agree_within(w, 60000);
        assert_null(world_get(w, 0, "k"));
        assert_null(world_get(w, 1, "k"));
        world_free(w);
    }
}

/* Two nodes run on copies of one store and meet each other alone: both refuse, both say
 * so and name the remedy, and the fork that the remedy needs is kept. */
static void twins_refuse_each_other(void **state)
{
    struct world *w = copied(59);
    world_run(w, 1000);
    assert_int_equal(world_put(w, 0, "first", "1"), OK);
    assert_int_equal(world_put(w, 5, "second", "2"), OK);
    enum err err;
    (void)world_request(w, 5, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 11000);
    world_run(w, 20000);
    assert_true(world_noticed(w, "event=duplicate_replica"));
    assert_true(world_noticed(w, "run there: yzma reidentify"));
    for (int i = 0; i < 6; i += 5) {
        struct twin twin = twin_of(w, i);
        assert_true(world_counter(w, i, "sync_twins_met") > 0);
        assert_int_equal(twin.fork, 1);   /* what both have is common */
        assert_int_equal(twin.parted, 1); /* and both have gone on */
    }
    assert_null(world_get(w, 0, "second"));
    assert_null(world_get(w, 5, "first"));
    world_free(w);
}

/* One that is paused until it reads no more is sent nothing more, not by the clock either. */
static void who_does_not_read_is_told_nothing(void **state)
{
    enum { VALUE = 256 << 10, PUTS = 100 };
    enum err err;
    char *value = malloc(VALUE + 1), key[16];
    struct world *w = world_new(&(struct world_options){.seed = 31, .uncompressed = true});
    memset(value, 'v', VALUE);
    value[VALUE] = 0;
    world_start_alone(w, 0);
    for (int i = 1; i < 3; i++)
        world_start(w, i, (int[]){0}, 1);
    world_run(w, 3000);
    world_request(w, 1, NODE_REQUEST_PAUSE, NULL, &err, 1000);
    for (int k = 0; k < PUTS; k++) {
        snprintf(key, sizeof key, "k%d", k);
        assert_int_equal(world_put(w, 0, key, value), OK);
        world_run(w, 20);
    }
    world_run(w, 60000);
    uint64_t before = world_bytes_sent(w, 0, 1);
    world_run(w, 600000);
    assert_int_equal(world_bytes_sent(w, 0, 1), before);
    world_request(w, 1, NODE_REQUEST_RESUME, NULL, &err, 1000);
    assert_true(world_until(w, world_agrees, NULL, 20000));
    free(value);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_ids_are_told_of),
        cmocka_unit_test(one_that_holds_forgetting_is_let_go),
        cmocka_unit_test(a_paused_node_applies_nothing),
        cmocka_unit_test(a_paused_node_repairs_nothing),
        cmocka_unit_test(a_paused_node_takes_no_more_than_its_memory),
        cmocka_unit_test(a_dead_id_is_retired),
        cmocka_unit_test(a_damaged_row_does_not_hold_it_up),
        cmocka_unit_test(retiring_waits_for_the_expected),
        cmocka_unit_test(who_was_told_knows_what_it_has),
        cmocka_unit_test(retiring_waits_for_who_may_have_the_rest),
        cmocka_unit_test(expired_versions_are_dropped_by_sane_clocks),
        cmocka_unit_test(a_lonely_clock_is_not_believed),
        cmocka_unit_test(who_does_not_read_is_told_nothing),
        cmocka_unit_test(twins_refuse_each_other),
        cmocka_unit_test(a_silent_twin_has_not_parted),
        cmocka_unit_test(what_a_peer_has_stays_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
