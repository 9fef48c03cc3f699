/* Whole nodes in virtual time, where a disk has lost or changed something: damaged
 * records are fetched from peers, and what differs is found and mended. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "engine.h"
#include "stories.h"

/* sync_state.h's, which tests cannot include */
enum { SETTLE_MS = 60000, REST_MS = 60000, PIECE_MS = 5000, PIECE_KEYS = 4096 };

static struct world *cluster(uint64_t seed, int count)
{
    return cluster_after(&(struct world_options){.seed = seed}, count, FORMED_MS);
}

static void put_all(struct world *w, int node, const char *key, const char *value)
{
    assert_int_equal(world_put(w, node, key, value), OK);
    assert_true(world_until(w, world_agrees, NULL, 20000));
}

static void cut_off(struct world *w, int node, int count, bool cut)
{
    for (int i = 0; i < count; i++)
        if (i != node)
            world_cut(w, node, i, cut);
}

struct expected {
    int node;
    const char *key, *value;
};

static bool reads(struct world *w, const void *arg)
{
    const struct expected *e = arg;
    const char *value = world_get(w, e->node, e->key);
    return e->value ? value && strcmp(value, e->value) == 0 : !value;
}

static void remove_entry(struct world *w, int node, enum table table, struct bytes key)
{
    struct engine *engine = world_engine(w, node);
    struct engine_txn *txn;
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->del(txn, table, key), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
}

/* ---- repair ------------------------------------------------------------------------- */

static void a_damaged_record_is_fetched_from_a_peer(void **state)
{
    struct world *w = cluster(51, 3);
    put_all(w, 0, "k", "1");
    put_all(w, 1, "other", "2");
    for (int node = 0; node < 3; node++) { /* also where it was written */
        world_damage(w, node, "k");
        assert_null(world_get(w, node, "k")); /* the read finds it */
        assert_true(world_until(w, reads, &(struct expected){node, "k", "1"}, 10000));
        assert_int_equal(world_counter(w, node, "records_repaired"), 1);
        assert_int_equal(world_counter(w, node, "operations_lost"), 0);
    }
    assert_true(world_until(w, world_agrees, NULL, 10000));
    world_free(w);
}

/* What is damaged is neither sent nor merged: what comes is stored behind the repair. */
static void a_write_elsewhere_waits_for_the_repair(void **state)
{
    struct world *w = cluster(52, 2);
    put_all(w, 0, "k", "1");
    world_damage(w, 1, "k");
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_true(world_until(w, reads, &(struct expected){1, "k", "2"}, 20000));
    assert_int_equal(world_counter(w, 1, "records_repaired"), 1);
    assert_true(world_until(w, world_agrees, NULL, 10000));
    world_free(w);
}

static void with_two_damaged_the_third_helps(void **state)
{
    struct world *w = cluster(53, 3);
    put_all(w, 0, "k", "1");
    world_damage(w, 0, "k");
    world_damage(w, 1, "k");
    assert_null(world_get(w, 0, "k"));
    assert_null(world_get(w, 1, "k"));
    assert_true(world_until(w, reads, &(struct expected){0, "k", "1"}, 60000));
    assert_true(world_until(w, reads, &(struct expected){1, "k", "1"}, 60000));
    world_free(w);
}

/* A deleted key's record: nothing comes back with the repair. */
static void a_repaired_delete_stays_one(void **state)
{
    struct world *w = cluster(54, 2);
    put_all(w, 0, "k", "1");
    assert_int_equal(world_delete(w, 0, "k"), OK);
    assert_true(world_until(w, world_agrees, NULL, 10000));
    world_damage(w, 1, "k");
    assert_null(world_get(w, 1, "k"));
    world_run(w, 10000);
    assert_int_equal(world_counter(w, 1, "records_repaired"), 1);
    assert_int_equal(world_records(w, 1), world_records(w, 0));
    assert_null(world_get(w, 0, "k"));
    assert_null(world_get(w, 1, "k"));
    world_free(w);
}

/* An operation that nobody else has is waited for, and then given up: what was there
 * before it stands, and what was written after it goes on. */
static void what_nobody_has_is_given_up_after_a_minute(void **state)
{
    struct world *w = cluster(55, 3);
    put_all(w, 1, "k", "1");
    cut_off(w, 0, 3, true);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_int_equal(world_put(w, 0, "later", "3"), OK);
    world_damage(w, 0, "k");
    assert_null(world_get(w, 0, "k"));
    world_run(w, 20000);
    cut_off(w, 0, 3, false);
    world_run(w, SETTLE_MS - 25000);
    assert_null(world_get(w, 0, "k"));
    assert_null(world_get(w, 1, "later")); /* never past what it cannot read */
    assert_true(world_until(w, reads, &(struct expected){0, "k", "1"}, 60000));
    assert_true(world_until(w, reads, &(struct expected){1, "later", "3"}, 40000));
    assert_int_equal(world_counter(w, 0, "operations_lost"), 1);
    assert_true(world_until(w, world_agrees, NULL, 10000));
    world_free(w);
}

/* A delete that is lost is still one: it was acknowledged, and is not undone. */
static void a_lost_delete_is_not_undone(void **state)
{
    struct world *w = cluster(56, 3);
    put_all(w, 1, "k", "1");
    cut_off(w, 0, 3, true);
    assert_int_equal(world_delete(w, 0, "k"), OK);
    world_damage(w, 0, "k");
    assert_null(world_get(w, 0, "k"));
    cut_off(w, 0, 3, false);
    assert_true(world_until(w, reads, &(struct expected){1, "k", NULL}, 120000));
    assert_true(world_until(w, world_agrees, NULL, 40000));
    for (int node = 0; node < 3; node++)
        assert_null(world_get(w, node, "k"));
    assert_int_equal(world_counter(w, 0, "operations_lost"), 1);
    world_free(w);
}

/* Somebody who is away may have it: then nothing is given up before it is back. */
static void an_absent_peer_that_has_it_is_waited_for(void **state)
{
    struct world *w = cluster(57, 3);
    put_all(w, 1, "k", "1");
    world_kill(w, 2);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_true(world_until(w, reads, &(struct expected){1, "k", "2"}, 10000));
    world_run(w, 2000); /* it has said so */
    world_kill(w, 1);
    world_damage(w, 0, "k");
    assert_null(world_get(w, 0, "k"));
    world_start_alone(w, 2);
    world_run(w, 4 * SETTLE_MS);
    assert_null(world_get(w, 0, "k"));
    assert_true(world_noticed_by(w, 0, "event=record_waits key=k for=n1"));
    world_start_alone(w, 1);
    for (int node = 0; node < 3; node++)
        assert_true(world_until(w, reads, &(struct expected){node, "k", "2"}, 60000));
    assert_int_equal(world_counter(w, 0, "operations_lost"), 0);
    world_free(w);
}

static bool before_k_and_after(struct world *w, int node)
{
    return world_get(w, node, "before") && world_get(w, node, "k") && world_get(w, node, "after");
}

static bool has_them(struct world *w, const void *arg)
{
    return before_k_and_after(w, *(const int *)arg);
}

static void put_three(struct world *w)
{
    assert_int_equal(world_put(w, 0, "before", "1"), OK);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_int_equal(world_put(w, 0, "after", "3"), OK);
}

/* As if the first row of `from` had come with a record under k that could not be read. */
static void put_aside(struct world *w, int node, int from)
{
    struct engine *engine = world_engine(w, node);
    struct engine_txn *txn;
    struct replica_id id;
    struct buf name, value;
    world_replica_id(w, from, &id);
    buf_init(&name, 100), buf_init(&value, 100);
    buf_put_bytes(&name, bytes_str("quarantine/"));
    replica_id_encode(&id, &name);
    buf_put_u64(&name, 1);
    buf_put_u8(&value, ROW_PUT);
    buf_put_blob(&value, bytes_str("k"));
    buf_put_bytes(&value, bytes_str("?"));
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_META, buf_bytes(&name), buf_bytes(&value)), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
    buf_done(&name), buf_done(&value);
}

/* A row that was put aside comes again, and finds our own record damaged; a row behind it is
 * taken as found early. Once mended, it is asked for at once, and not five minutes later, as
 * one that cannot be read is (seed 30001801 of whole nodes, clang). */
static void what_was_put_aside_waits_for_the_repair_alone(void **state)
{
    struct world *w = cluster(65, 3);
    put_all(w, 1, "k", "1");
    put_aside(w, 1, 0);
    world_kill(w, 1);
    world_start_alone(w, 1);
    world_run(w, 5000);
    world_cut(w, 1, 2, true);
    world_damage(w, 1, "k");
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    world_run(w, 1);
    world_damage(w, 0, "k"); /* so that it can send the row, and not mend ours */
    assert_int_equal(world_put(w, 0, "other", "3"), OK);
    assert_true(world_until(w, reads, &(struct expected){1, "other", "3"}, 10000));
    assert_true(world_noticed_by(w, 1, "event=rows_refused"));
    assert_null(world_get(w, 1, "k"));
    world_cut(w, 1, 2, false);
    assert_true(world_until(w, world_agrees, NULL, 60000));
    assert_string_equal(world_get(w, 1, "k"), "2");
    world_free(w);
}

/* A delta ends at a record that its own replica cannot read. Who lacks what lies behind it
 * asks another node, and then it is the one that the owner can ask. */
static void what_its_owner_cannot_read_comes_by_a_relay(void **state)
{
    struct world *w = cluster(67, 3);
    world_kill(w, 2);
    put_three(w);
    assert_true(world_until(w, has_them, &(int){1}, 10000));
    world_run(w, 10000); /* what was sent to node 1 is no longer at hand */
    world_cut(w, 0, 1, true);
    world_damage(w, 0, "k");
    world_start_alone(w, 2);
    assert_true(world_until(w, has_them, &(int){2}, 20000));
    assert_true(world_counter(w, 0, "sync_chunks_damaged") >= 1);
    assert_true(world_counter(w, 2, "sync_relays_asked") >= 1);
    assert_true(world_noticed_by(w, 0, "event=delta_aborted"));
    assert_true(world_until(w, has_them, &(int){0}, SETTLE_MS));
    assert_int_equal(world_counter(w, 0, "records_repaired"), 1);
    assert_int_equal(world_counter(w, 0, "operations_lost"), 0);
    world_cut(w, 0, 1, false);
    assert_true(world_until(w, world_agrees, NULL, 60000));
    world_free(w);
}

/* So does what a relay cannot read: it stops, and another one that is ahead is asked. */
static void a_relay_that_cannot_read_is_passed_over(void **state)
{
    struct world *w = cluster(68, 4);
    world_kill(w, 2);
    put_three(w);
    assert_true(world_until(w, has_them, &(int){1}, 10000));
    assert_true(world_until(w, has_them, &(int){3}, 10000));
    world_cut(w, 3, 0, true);
    world_cut(w, 3, 1, true);
    assert_int_equal(world_put(w, 0, "last", "4"), OK); /* so node 1 is the first to be asked */
    assert_true(world_until(w, reads, &(struct expected){1, "last", "4"}, 10000));
    world_kill(w, 0);
    world_run(w, 10000);
    world_damage(w, 1, "k");
    world_start_alone(w, 2);
    assert_true(world_until(w, has_them, &(int){2}, 60000));
    assert_true(world_counter(w, 1, "sync_chunks_damaged") >= 1);
    assert_true(world_counter(w, 2, "sync_relays_asked") >= 2);
    assert_true(world_until(w, has_them, &(int){1}, SETTLE_MS));
    assert_int_equal(world_counter(w, 1, "operations_lost"), 0);
    assert_true(world_until(w, reads, &(struct expected){2, "last", "4"}, 60000));
    world_cut(w, 3, 1, false);
    assert_true(world_until(w, world_agrees, NULL, 60000));
    world_free(w);
}

/* What a damaged record held alone, with a damaged row behind it: both are given up, and all
 * else gets through. */
static void a_damaged_row_behind_a_damaged_record_ends(void **state)
{
    struct world *w = cluster(69, 3);
    struct replica_id id;
    uint8_t row[REPLICA_ID_SIZE + 8] = {0};
    struct engine_txn *txn;
    put_all(w, 1, "k", "1");
    cut_off(w, 0, 3, true);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_int_equal(world_put(w, 0, "other", "3"), OK);
    assert_int_equal(world_put(w, 0, "later", "4"), OK);
    world_replica_id(w, 0, &id);
    memcpy(row, id.b, REPLICA_ID_SIZE);
    row[sizeof row - 1] = 2;
    struct engine *engine = world_engine(w, 0);
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_ROWS, bytes_of(row, sizeof row), bytes_str("?")), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
    world_damage(w, 0, "k");
    cut_off(w, 0, 3, false);
    assert_true(world_until(w, reads, &(struct expected){1, "later", "4"}, 4 * SETTLE_MS));
    assert_true(world_until(w, world_agrees, NULL, 60000));
    for (int node = 0; node < 3; node++) {
        assert_string_equal(world_get(w, node, "k"), "1");
        assert_string_equal(world_get(w, node, "other"), "3");
    }
    assert_in_range(world_counter(w, 0, "operations_lost"), 1, 2);
    world_free(w);
}

static void fill_many(struct world *w, int node)
{
    char key[32];
    for (int k = 0; k < 10500; k++) {
        snprintf(key, sizeof key, "k%05d", k);
        assert_int_equal(world_put(w, node, key, "1"), OK);
    }
}

/* A walk that meets a damaged record of the receiver's goes on once it is repaired. */
static void a_damaged_record_in_the_way_of_a_walk(void **state)
{
    struct world *w = cluster(58, 2);
    fill_many(w, 0);
    world_start_alone(w, 2);
    assert_int_equal(world_put(w, 2, "k05000", "2"), OK);
    world_damage(w, 2, "k05000");
    enum err err;
    world_request(w, 2, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 10000);
    world_run(w, 2 * SETTLE_MS);
    assert_true(world_agrees(w, NULL));
    assert_int_equal(world_counter(w, 2, "walks_finished"), 1);
    assert_string_equal(world_get(w, 2, "k05000"), "1");
    assert_int_equal(world_counter(w, 2, "operations_lost"), 1);
    world_free(w);
}

/* The only other node is being filled from the one that cannot read a record: it is asked for
 * its own, once nobody else can be, and the walk goes on. */
static void a_damaged_record_of_the_only_source(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 71});
    world_start_alone(w, 0);
    fill_many(w, 0);
    world_damage(w, 0, "k05000");
    assert_null(world_get(w, 0, "k05000"));
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, SETTLE_MS - 5000);
    assert_int_equal(world_counter(w, 1, "walks_finished"), 0);
    assert_int_equal(world_counter(w, 0, "operations_lost"), 0); /* somebody else might come */
    assert_true(world_until(w, world_agrees, NULL, 2 * SETTLE_MS));
    assert_int_equal(world_counter(w, 1, "walks_finished"), 1);
    assert_int_equal(world_counter(w, 0, "operations_lost"), 1);
    assert_true(world_noticed_by(w, 0, "operations_lost=1"));
    assert_int_equal(world_records(w, 0), 10500); /* the lost put is remembered as one that was removed */
    assert_null(world_get(w, 0, "k05000"));
    assert_string_equal(world_get(w, 1, "k04999"), "1");
    world_free(w);
}

static void damage_many(struct world *w, int node, int count)
{
    char key[32];
    for (int k = 0; k < count; k++) {
        snprintf(key, sizeof key, "k%05d", 100 * k + 50);
        world_damage(w, node, key);
    }
}

/* Unlike world_agrees it reads no record, which would find what is damaged. */
static bool is_filled(struct world *w, const void *arg)
{
    return world_counter(w, *(const int *)arg, "walks_finished") == 1;
}

/* Many of them, which a walk meets one after the other: all wait their minute at the same
 * time, and not each its own. */
static void many_damaged_records_of_the_only_source(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 76});
    world_start_alone(w, 0);
    fill_many(w, 0);
    damage_many(w, 0, 50);
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, SETTLE_MS - 5000);
    assert_int_equal(world_counter(w, 0, "operations_lost"), 0);
    assert_true(world_until(w, is_filled, &(int){1}, 30000));
    assert_int_equal(world_counter(w, 0, "operations_lost"), 50);
    assert_int_equal(world_counter(w, 0, "damage_searches"), 1);
    assert_int_equal(world_counter(w, 1, "damage_searches"), 1); /* its walk stood still */
    world_run(w, SETTLE_MS);
    assert_int_equal(world_counter(w, 0, "damage_searches"), 1); /* what it found started none */
    world_free(w);
}

/* More than are noted at once go in batches. */
static void more_damaged_records_than_are_noted(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 77});
    world_start_alone(w, 0);
    fill_many(w, 0);
    damage_many(w, 0, 100);
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, SETTLE_MS + 20000);
    assert_int_equal(world_counter(w, 0, "operations_lost"), 64);
    assert_true(world_until(w, is_filled, &(int){1}, SETTLE_MS + 20000));
    assert_int_equal(world_counter(w, 0, "operations_lost"), 100);
    world_free(w);
}

/* And those of the one that is to be filled, while its walk stands still. */
static void damaged_records_on_both_sides_of_a_walk(void **state)
{
    enum err err;
    struct world *w = world_new(&(struct world_options){.seed = 78});
    world_start_alone(w, 0);
    fill_many(w, 0);
    world_start_alone(w, 1);
    for (int k = 0; k < 50; k += 10) {
        char key[32];
        snprintf(key, sizeof key, "l%05d", k); /* its own */
        assert_int_equal(world_put(w, 1, key, "2"), OK);
        world_damage(w, 1, key);
    }
    damage_many(w, 0, 10);
    world_request(w, 1, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 10000);
    assert_true(world_until(w, is_filled, &(int){1}, SETTLE_MS + 25000));
    assert_int_equal(world_counter(w, 0, "operations_lost"), 10);
    assert_int_equal(world_counter(w, 1, "operations_lost"), 5);
    world_free(w);
}

static bool has_pruned(struct world *w, const void *arg)
{
    return world_rows(w, *(const int *)arg) == 0;
}

/* One that was forgotten has an older state of it, which is better than nothing; what was
 * written alone there stays. */
static void a_forgotten_node_has_an_older_state_of_it(void **state)
{
    struct world *w = cluster_after(
        &(struct world_options){.seed = 72, .history_ms = 1000, .forget_after_ms = 60000}, 2, FORMED_MS);
    put_all(w, 0, "k", "1");
    put_all(w, 0, "z", "1");
    cut_off(w, 1, 2, true);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_int_equal(world_delete(w, 0, "z"), OK);
    assert_int_equal(world_put(w, 1, "alone", "3"), OK);
    assert_true(world_until(w, has_pruned, &(int){0}, 300000));
    world_damage(w, 0, "k");
    assert_null(world_get(w, 0, "k"));
    cut_off(w, 1, 2, false);
    assert_true(world_until(w, world_agrees, NULL, 4 * SETTLE_MS));
    assert_int_equal(world_counter(w, 1, "walks_finished"), 1);
    assert_true(world_counter(w, 0, "operations_lost") >= 1);
    for (int node = 0; node < 2; node++) {
        assert_string_equal(world_get(w, node, "k"), "1");
        assert_null(world_get(w, node, "z"));
        assert_string_equal(world_get(w, node, "alone"), "3");
    }
    world_free(w);
}

static bool have_pruned(struct world *w, const void *unused)
{
    (void)unused;
    for (int node = 0; node < 3; node++)
        if (world_rows(w, node))
            return false;
    return true;
}

/* Two wait to be filled from one whose record is damaged, and each of them has what the
 * other lacks of it. Together they have it all, and nothing is lost. */
static void what_nobody_has_alone_is_put_together(void **state)
{
    enum err err;
    struct world *w = cluster_after(
        &(struct world_options){.seed = 74, .history_ms = 1000, .forget_after_ms = 60000}, 3, FORMED_MS);
    put_all(w, 0, "k", "1");
    world_request(w, 2, NODE_REQUEST_PAUSE, NULL, &err, 1000); /* it sends, and does not take */
    assert_int_equal(world_put(w, 1, "k", "2"), OK);
    assert_true(world_until(w, reads, &(struct expected){0, "k", "2"}, 10000));
    cut_off(w, 1, 3, true);
    assert_int_equal(world_put(w, 2, "k", "3"), OK);
    assert_true(world_until(w, reads, &(struct expected){0, "k", "3"}, 10000));
    assert_int_equal(world_versions(w, 0, "k"), 2);
    cut_off(w, 2, 3, true);
    assert_true(world_until(w, have_pruned, NULL, 300000));
    world_request(w, 2, NODE_REQUEST_RESUME, NULL, &err, 1000);
    world_damage(w, 0, "k");
    assert_null(world_get(w, 0, "k"));
    world_cut(w, 0, 1, false); /* they do not see each other */
    world_cut(w, 0, 2, false);
    world_run(w, SETTLE_MS - 5000);
    assert_int_equal(world_versions(w, 0, "k"), 0); /* somebody else might come */
    assert_true(world_until(w, world_agrees, NULL, 30000));
    for (int node = 0; node < 3; node++)
        assert_int_equal(world_versions(w, node, "k"), 2);
    assert_int_equal(world_counter(w, 0, "operations_lost"), 0);
    world_free(w);
}

/* Two have it damaged, and a third never had all of it: neither waits for the other. */
static void who_has_it_damaged_too_is_not_waited_for(void **state)
{
    struct world *w = cluster(75, 3);
    put_all(w, 0, "k", "1");
    world_kill(w, 2);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_true(world_until(w, reads, &(struct expected){1, "k", "2"}, 10000));
    world_run(w, 2000); /* no chunk of it is kept any more */
    for (int node = 0; node < 2; node++) {
        world_damage(w, node, "k");
        assert_null(world_get(w, node, "k"));
    }
    world_start_alone(w, 2);
    world_run(w, SETTLE_MS - 5000);
    assert_int_equal(world_counter(w, 0, "operations_lost") + world_counter(w, 1, "operations_lost"), 0);
    assert_true(world_until(w, world_agrees, NULL, 60000));
    for (int node = 0; node < 3; node++)
        assert_string_equal(world_get(w, node, "k"), "1");
    assert_true(world_counter(w, 0, "operations_lost") + world_counter(w, 1, "operations_lost") > 0);
    world_free(w);
}

/* While the only one that has what is lacked cannot be walked from, because somebody is away
 * who may mend its record, nobody walks again and again from one who lacks it too. */
static void a_source_that_refused_is_not_begun_with(void **state)
{
    enum err err;
    struct world *w = cluster_after(
        &(struct world_options){.seed = 73, .history_ms = 1000, .forget_after_ms = 60000}, 4, FORMED_MS);
    put_all(w, 0, "k", "1");
    for (int node = 0; node < 4; node += 3)
        for (int other = 1; other < 3; other++)
            world_cut(w, node, other, true);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_true(world_until(w, has_pruned, &(int){0}, 300000));
    world_run(w, 2000);
    world_kill(w, 3);
    world_damage(w, 0, "k");
    assert_null(world_get(w, 0, "k"));
    world_request(w, 2, NODE_REQUEST_PAUSE, NULL, &err, 1000); /* it serves, and does not walk */
    cut_off(w, 0, 3, false);
    world_run(w, 20000);
    assert_in_range(world_counter(w, 1, "walks_started"), 1, 10);
    world_request(w, 2, NODE_REQUEST_RESUME, NULL, &err, 1000);
    assert_true(world_until(w, world_agrees, NULL, 4 * SETTLE_MS));
    world_free(w);
}

/* A row that is gone: who lacks it is filled in key order, and nothing is lost. */
static void a_missing_row_is_given_up(void **state)
{
    struct world *w = cluster(59, 2);
    struct replica_id id;
    uint8_t row[REPLICA_ID_SIZE + 8] = {0};
    put_all(w, 0, "a", "1");
    cut_off(w, 0, 2, true);
    assert_int_equal(world_put(w, 0, "b", "2"), OK);
    assert_int_equal(world_put(w, 0, "c", "3"), OK);
    world_replica_id(w, 0, &id);
    memcpy(row, id.b, REPLICA_ID_SIZE);
    row[sizeof row - 1] = 2;
    remove_entry(w, 0, TABLE_ROWS, bytes_of(row, sizeof row));
    cut_off(w, 0, 2, false);
    assert_true(world_until(w, world_agrees, NULL, 60000));
    assert_string_equal(world_get(w, 1, "b"), "2");
    assert_string_equal(world_get(w, 1, "c"), "3");
    assert_int_equal(world_counter(w, 0, "rows_given_up"), 1);
    world_free(w);
}

static void damage_row(struct world *w, int node, uint8_t counter)
{
    struct engine *engine = world_engine(w, node);
    struct engine_txn *txn;
    struct replica_id id;
    uint8_t row[REPLICA_ID_SIZE + 8] = {0};
    world_replica_id(w, node, &id);
    memcpy(row, id.b, REPLICA_ID_SIZE);
    row[sizeof row - 1] = counter;
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_ROWS, bytes_of(row, sizeof row), bytes_str("?")), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
}

/* Of two rows that cannot be read a delta meets the first, and the walk that this leads to
 * the second. The floor rises over that one, too, and the walk goes on. */
static void a_damaged_row_in_the_way_of_a_walk(void **state)
{
    struct world *w = cluster(70, 2);
    put_all(w, 0, "a", "1");
    cut_off(w, 0, 2, true);
    assert_int_equal(world_put(w, 0, "b", "2"), OK);
    assert_int_equal(world_put(w, 0, "c", "3"), OK);
    assert_int_equal(world_put(w, 0, "d", "4"), OK);
    damage_row(w, 0, 2);
    damage_row(w, 0, 4);
    cut_off(w, 0, 2, false);
    assert_true(world_until(w, world_agrees, NULL, 60000));
    assert_string_equal(world_get(w, 1, "b"), "2");
    assert_string_equal(world_get(w, 1, "d"), "4");
    assert_int_equal(world_counter(w, 0, "rows_given_up"), 2);
    world_free(w);
}

/* A record that is gone although its row says that it is there. */
static void a_missing_record_is_found_by_its_row(void **state)
{
    struct world *w = cluster(60, 3);
    put_all(w, 0, "k", "1");
    world_kill(w, 2);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_true(world_until(w, reads, &(struct expected){1, "k", "2"}, 10000));
    remove_entry(w, 0, TABLE_RECORDS, bytes_str("k"));
    world_run(w, 10000); /* what was sent to node 1 is no longer at hand */
    world_start_alone(w, 2);
    assert_true(world_until(w, reads, &(struct expected){0, "k", "2"}, 20000)); /* before any digest */
    assert_true(world_until(w, world_agrees, NULL, 60000));
    assert_string_equal(world_get(w, 2, "k"), "2");
    world_free(w);
}

/* A program before protocol 3 is asked nothing that it would not understand. */
static void an_older_peer_is_left_in_peace(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 61});
    world_start_alone(w, 0);
    world_protocol(w, 1, 2);
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, 3000);
    put_all(w, 0, "k", "1");
    world_damage(w, 0, "k");
    assert_null(world_get(w, 0, "k"));
    world_run(w, 3 * REST_MS);
    assert_int_equal(world_counter(w, 0, "records_asked"), 0);
    assert_int_equal(world_counter(w, 0, "digests_asked"), 0);
    assert_int_equal(world_counter(w, 1, "sync_frames_malformed"), 0);
    assert_int_equal(world_counter(w, 1, "sync_links_lost"), 0);
    world_free(w);
}

/* ---- digests --------------------------------------------------------------------------- */

static bool mended(struct world *w, const void *arg)
{
    return world_agrees(w, NULL) && world_get(w, 1, arg) && world_get(w, 0, arg);
}

/* A pass begins a minute after the one before; a small store is one piece of it. */
static void a_difference_is_found_and_mended(void **state)
{
    struct world *w = cluster(62, 2);
    put_all(w, 0, "k", "1");
    put_all(w, 1, "other", "2");
    remove_entry(w, 1, TABLE_RECORDS, bytes_str("k"));
    assert_false(world_agrees(w, NULL));
    assert_true(world_until(w, mended, "k", REST_MS + 2 * PIECE_MS));
    assert_string_equal(world_get(w, 1, "k"), "1");
    /* both may have looked at the same time */
    assert_in_range(world_counter(w, 0, "divergence") + world_counter(w, 1, "divergence"), 1, 2);
    assert_int_equal(world_counter(w, 0, "divergence_mended") + world_counter(w, 1, "divergence_mended"), 1);
    assert_true(world_noticed(w, "event=divergence_mended"));
    world_free(w);
}

/* In a large store: each of several, wherever it lies, and nothing else is touched. */
static void differences_in_a_large_store(void **state)
{
    enum { KEYS = 2 * PIECE_KEYS + 700 };
    static const char *const lost[] = {"k00000", "k00001", "k04095", "k04096", "k05000", "k08891"};
    struct world *w = cluster(63, 2);
    char key[32];
    for (int k = 0; k < KEYS; k++) {
        snprintf(key, sizeof key, "k%05d", k);
        assert_int_equal(world_put(w, k % 2, key, "1"), OK);
    }
    world_run(w, 2000);
    assert_true(world_agrees(w, NULL));
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++)
        remove_entry(w, i % 2, TABLE_RECORDS, bytes_str(lost[i]));
    world_run(w, REST_MS + 6 * PIECE_MS);
    assert_true(world_agrees(w, NULL));
    assert_int_equal(world_records(w, 0), KEYS);
    assert_int_equal(world_records(w, 1), KEYS);
    assert_int_equal(world_counter(w, 0, "divergence_mended") + world_counter(w, 1, "divergence_mended"), 6);
    world_free(w);
}

/* A store that has lost very much of a range: the other side holds more than a piece. */
static void a_hole_is_filled(void **state)
{
    enum { KEYS = 1000 };
    struct world *w = cluster(64, 2);
    char key[32];
    for (int k = 0; k < KEYS; k++) {
        snprintf(key, sizeof key, "k%05d", k);
        assert_int_equal(world_put(w, 0, key, "1"), OK);
    }
    assert_true(world_until(w, world_agrees, NULL, 20000));
    for (int k = 100; k < 900; k++) {
        snprintf(key, sizeof key, "k%05d", k);
        remove_entry(w, 1, TABLE_RECORDS, bytes_str(key));
    }
    world_run(w, 3 * (REST_MS + 2 * PIECE_MS));
    assert_true(world_agrees(w, NULL));
    assert_int_equal(world_records(w, 1), KEYS);
    world_free(w);
}

/* Reading for digests verifies: what nobody reads is found, and fetched. */
static void cold_damage_is_found(void **state)
{
    struct world *w = cluster(65, 2);
    put_all(w, 0, "k", "1");
    world_damage(w, 1, "k");
    world_run(w, REST_MS + 3 * PIECE_MS);
    assert_int_equal(world_counter(w, 1, "records_repaired"), 1);
    assert_string_equal(world_get(w, 1, "k"), "1");
    assert_int_equal(world_counter(w, 0, "divergence") + world_counter(w, 1, "divergence"), 0);
    world_free(w);
}

/* Where nothing is wrong nothing is found, whatever goes on; and it costs little. */
static void nothing_is_found_where_nothing_is_wrong(void **state)
{
    struct world *w = cluster(66, 3);
    char key[32];
    for (int k = 0; k < 3000; k++) {
        snprintf(key, sizeof key, "k%d", k * 7919 % 100);
        enum err err = k % 5 == 0 ? world_delete(w, k % 3, key) : world_put(w, k % 3, key, "1");
        assert_int_equal(err, OK);
        if (k % 100 == 0)
            cut_off(w, k / 100 % 3, 3, k / 100 % 6 < 3);
        world_run(w, k % 10 ? 1 : 500 + k % 7 * 300);
    }
    for (int node = 0; node < 3; node++)
        cut_off(w, node, 3, false);
    assert_true(world_until(w, world_agrees, NULL, 60000));
    world_forget_bytes(w);
    world_run(w, 10 * REST_MS);
    for (int node = 0; node < 3; node++) {
        assert_int_equal(world_counter(w, node, "divergence"), 0);
        assert_int_equal(world_counter(w, node, "divergence_mended"), 0);
        assert_true(world_counter(w, node, "digest_passes") >= 9);
        /* with the heartbeats, one in five seconds and link */
        assert_in_range(world_traffic(w, node).sync_bytes, 1, 600 * 12);
    }
    world_free(w);
}

/* A node whose clock is an hour behind still holds what the others have dropped, as its time
 * was over: no difference, and nothing that they get back, also not when one of them falls
 * behind as well (of the random worlds, 10005113). */
static void what_is_over_is_no_difference(void **state)
{
    struct world *w = cluster(67, 4); /* of two others' clocks the mean would count */
    world_clock_offset(w, 2, -3600000);
    assert_int_equal(world_put_expiring(w, 0, "k", "1", 10000), OK);
    assert_true(world_until(w, world_agrees, NULL, 20000));
    world_run(w, 90000 + 5 * REST_MS);
    for (int node = 0; node < 4; node++) {
        assert_int_equal(world_versions(w, node, "k"), node == 2);
        assert_int_equal(world_counter(w, node, "divergence"), 0);
    }
    world_clock_offset(w, 1, -3600000); /* it has dropped it, and would not know now */
    world_run(w, 10 * REST_MS);
    for (int node = 0; node < 4; node++)
        assert_int_equal(world_counter(w, node, "divergence"), 0);
    assert_int_equal(world_versions(w, 1, "k"), 0);
    world_clock_offset(w, 1, 0);
    world_clock_offset(w, 2, 0);
    world_run(w, 30000 + 2 * REST_MS);
    assert_int_equal(world_versions(w, 2, "k"), 0);
    assert_true(world_counter(w, 0, "digest_passes") > 0);
    world_free(w);
}

/* Two have it damaged, and one of them knows who has it whole and is expected back: so the other one
 * waits, too, which has not heard of that. */
static void who_knows_of_a_whole_one_waits_for_it(void **state)
{
    struct world *w = cluster(79, 4);
    put_all(w, 0, "k", "1");
    world_kill(w, 2);
    world_cut(w, 0, 3, true);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_true(world_until(w, reads, &(struct expected){1, "k", "2"}, 10000));
    assert_true(world_until(w, reads, &(struct expected){3, "k", "2"}, 20000));
    world_run(w, 2000);
    world_kill(w, 3);
    for (int node = 0; node < 2; node++) {
        world_damage(w, node, "k");
        assert_null(world_get(w, node, "k"));
    }
    world_start_alone(w, 2);
    world_run(w, 3 * SETTLE_MS);
    for (int node = 0; node < 2; node++)
        assert_int_equal(world_counter(w, node, "operations_lost"), 0);
    world_cut(w, 0, 3, false);
    world_start_alone(w, 3);
    assert_true(world_until(w, world_agrees, NULL, SETTLE_MS));
    for (int node = 0; node < 4; node++)
        assert_string_equal(world_get(w, node, "k"), "2");
    world_free(w);
}

/* The minute is one in which somebody can be asked. Here all are cut off from one another for longer,
 * and of the two others one has the operation, which nobody knows yet: the other one is met first. */
static void a_minute_alone_is_no_minute(void **state)
{
    struct world *w = cluster(80, 3);
    put_all(w, 0, "k", "1");
    cut_off(w, 1, 3, true);
    assert_int_equal(world_put(w, 0, "before", "1"), OK);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_true(world_until(w, reads, &(struct expected){2, "k", "2"}, 50)); /* before it says so */
    world_cut(w, 0, 2, true);
    world_damage(w, 0, "k");
    assert_null(world_get(w, 0, "k"));
    world_run(w, 2 * SETTLE_MS);
    world_cut(w, 0, 1, false);
    world_run(w, SETTLE_MS / 2);
    assert_int_equal(world_counter(w, 0, "operations_lost"), 0);
    cut_off(w, 2, 3, false);
    assert_true(world_until(w, reads, &(struct expected){0, "k", "2"}, SETTLE_MS));
    assert_true(world_until(w, world_agrees, NULL, SETTLE_MS));
    assert_int_equal(world_counter(w, 0, "operations_lost"), 0);
    world_free(w);
}

/* A replica that cannot send its own rows for long, as who has them whole is away, is asked for
 * them less and less often. */
static void who_cannot_send_is_not_asked_all_the_time(void **state)
{
    enum { LONG_MS = 600000 };
    struct world *w = cluster(80, 3);
    put_all(w, 0, "k", "1");
    world_kill(w, 1);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_true(world_until(w, reads, &(struct expected){2, "k", "2"}, 10000));
    world_run(w, 2000);
    world_kill(w, 2);
    world_damage(w, 0, "k");
    assert_null(world_get(w, 0, "k"));
    world_start_alone(w, 1);
    world_run(w, 60000);
    uint64_t before = world_bytes_sent(w, 1, 0);
    world_run(w, LONG_MS);
    assert_in_range(world_bytes_sent(w, 1, 0) - before, 1, 5500); /* heartbeats and the time of day too */
    assert_int_equal(world_counter(w, 0, "operations_lost"), 0);
    world_start_alone(w, 2);
    assert_true(world_until(w, world_agrees, NULL, SETTLE_MS));
    assert_string_equal(world_get(w, 1, "k"), "2");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_record_is_fetched_from_a_peer),
        cmocka_unit_test(a_write_elsewhere_waits_for_the_repair),
        cmocka_unit_test(with_two_damaged_the_third_helps),
        cmocka_unit_test(a_repaired_delete_stays_one),
        cmocka_unit_test(what_nobody_has_is_given_up_after_a_minute),
        cmocka_unit_test(a_lost_delete_is_not_undone),
        cmocka_unit_test(an_absent_peer_that_has_it_is_waited_for),
        cmocka_unit_test(what_was_put_aside_waits_for_the_repair_alone),
        cmocka_unit_test(what_its_owner_cannot_read_comes_by_a_relay),
        cmocka_unit_test(a_relay_that_cannot_read_is_passed_over),
        cmocka_unit_test(a_damaged_row_behind_a_damaged_record_ends),
        cmocka_unit_test(a_damaged_record_in_the_way_of_a_walk),
        cmocka_unit_test(a_damaged_record_of_the_only_source),
        cmocka_unit_test(many_damaged_records_of_the_only_source),
        cmocka_unit_test(more_damaged_records_than_are_noted),
        cmocka_unit_test(damaged_records_on_both_sides_of_a_walk),
        cmocka_unit_test(a_forgotten_node_has_an_older_state_of_it),
        cmocka_unit_test(what_nobody_has_alone_is_put_together),
        cmocka_unit_test(who_has_it_damaged_too_is_not_waited_for),
        cmocka_unit_test(who_knows_of_a_whole_one_waits_for_it),
        cmocka_unit_test(a_minute_alone_is_no_minute),
        cmocka_unit_test(who_cannot_send_is_not_asked_all_the_time),
        cmocka_unit_test(a_source_that_refused_is_not_begun_with),
        cmocka_unit_test(a_missing_row_is_given_up),
        cmocka_unit_test(a_damaged_row_in_the_way_of_a_walk),
        cmocka_unit_test(a_missing_record_is_found_by_its_row),
        cmocka_unit_test(an_older_peer_is_left_in_peace),
        cmocka_unit_test(a_difference_is_found_and_mended),
        cmocka_unit_test(differences_in_a_large_store),
        cmocka_unit_test(a_hole_is_filled),
        cmocka_unit_test(cold_damage_is_found),
        cmocka_unit_test(nothing_is_found_where_nothing_is_wrong),
        cmocka_unit_test(what_is_over_is_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
