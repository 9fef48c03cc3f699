/* Whole nodes in virtual time: what a cluster does when it forms, writes, loses
 * nodes and gets them back. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "stories.h"

static struct world *world_of(uint64_t seed)
{
    return world_new(&(struct world_options){.seed = seed});
}

/* n nodes that have found each other. */
static struct world *cluster(const struct world_options *options, int n)
{
    return cluster_after(options, n, FORMED_MS);
}

static void put_many(struct world *w, int node, const char *prefix, int count)
{
    char key[64];
    for (int k = 0; k < count; k++) {
        snprintf(key, sizeof key, "%s%05d", prefix, k);
        assert_int_equal(world_put(w, node, key, "\"some value that is not very long\""), OK);
    }
}

/* A write on one node is read on the other a few milliseconds later. */
static void a_write_is_seen_by_the_others(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 1}, 3);
    assert_int_equal(world_put(w, 0, "foo", "\"bar\""), OK);
    world_run(w, 10);
    assert_string_equal(world_get(w, 1, "foo"), "\"bar\"");
    assert_string_equal(world_get(w, 2, "foo"), "\"bar\"");
    assert_int_equal(world_delete(w, 2, "foo"), OK);
    world_run(w, 10);
    assert_null(world_get(w, 0, "foo"));
    assert_null(world_get(w, 1, "foo"));
    world_free(w);
}

/* Writes made before the nodes met are exchanged both ways when they meet. */
static void two_histories_become_one(void **state)
{
    struct world *w = world_of(2);
    world_start_alone(w, 0);
    world_start_alone(w, 1);
    put_many(w, 0, "a", 300);
    put_many(w, 1, "b", 300);
    enum err err;
    world_run(w, 1000);
    const char *data = world_request(w, 1, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 10000);
    assert_int_equal(err, OK);
    assert_string_equal(data, "{\"Joined\":1,\"Failed\":[]}");
    assert_agree_within(w, 3000);
    assert_non_null(world_get(w, 0, "b00299"));
    assert_non_null(world_get(w, 1, "a00299"));
    world_free(w);
}

/* Of two writes made apart the one with the later stamp is read, on both nodes;
 * the other is kept as a version until someone writes who has seen both. */
static void concurrent_puts_keep_both_versions(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 3}, 2);
    world_cut(w, 0, 1, true);
    assert_int_equal(world_put(w, 0, "k", "\"first\""), OK);
    world_run(w, 50);
    assert_int_equal(world_put(w, 1, "k", "\"second\""), OK);
    world_run(w, 500);
    world_cut(w, 0, 1, false);
    assert_agree_within(w, 5000);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(world_get(w, i, "k"), "\"second\"");
        assert_int_equal(world_versions(w, i, "k"), 2);
    }
    assert_int_equal(world_put(w, 0, "k", "\"third\""), OK);
    world_run(w, 20);
    assert_int_equal(world_versions(w, 1, "k"), 1);
    assert_string_equal(world_get(w, 1, "k"), "\"third\"");
    world_free(w);
}

/* A causally later write wins although its node's clock stands an hour behind. */
static void a_later_write_wins_against_the_clocks(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 4}, 2);
    world_clock_offset(w, 0, 3600 * 1000);
    assert_int_equal(world_put(w, 0, "k", "\"from the future\""), OK);
    world_run(w, 20);
    assert_int_equal(world_put(w, 1, "k", "\"later\""), OK);
    world_run(w, 20);
    assert_string_equal(world_get(w, 0, "k"), "\"later\"");
    assert_string_equal(world_get(w, 1, "k"), "\"later\"");
    assert_int_equal(world_versions(w, 0, "k"), 1);
    world_free(w);
}

/* An add beats a remove that had not seen it; a remove that had wins. */
static void an_add_wins_over_a_concurrent_remove(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 5}, 2);
    assert_int_equal(world_put(w, 0, "k", "1"), OK);
    world_run(w, 20);
    world_cut(w, 0, 1, true);
    assert_int_equal(world_delete(w, 0, "k"), OK);
    assert_int_equal(world_put(w, 1, "k", "2"), OK);
    world_run(w, 500);
    world_cut(w, 0, 1, false);
    assert_agree_within(w, 5000);
    assert_string_equal(world_get(w, 0, "k"), "2");
    assert_int_equal(world_delete(w, 0, "k"), OK);
    world_run(w, 20);
    assert_null(world_get(w, 1, "k"));
    world_free(w);
}

/* An absence costs what was missed: of 2,000 keys 20 changed, and the bytes sent
 * at return are in proportion to the 20. */
static void an_absence_costs_what_was_missed(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 6}, 3);
    put_many(w, 0, "k", 2000);
    assert_agree_within(w, 5000);
    world_kill(w, 2);
    put_many(w, 0, "k", 20);
    assert_int_equal(world_delete(w, 1, "k01000"), OK);
    world_run(w, 30000);
    world_forget_bytes(w);
    world_start_alone(w, 2); /* no -j: it remembers */
    assert_agree_within(w, 10000);
    assert_null(world_get(w, 2, "k01000"));
    uint64_t bytes = world_bytes_sent(w, 0, 2) + world_bytes_sent(w, 1, 2);
    assert_in_range(bytes, 20 * 40, 20 * 200 + 3000); /* records of some 130 bytes, hellos, clocks */
    assert_int_equal(world_counter(w, 2, "walks_started"), 0);
    world_free(w);
}

/* A new node is filled by a walk where there is much; what is written meanwhile
 * arrives too. */
static void a_new_node_walks(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 7}, 2);
    put_many(w, 0, "k", 6000);
    put_many(w, 1, "m", 6000);
    assert_agree_within(w, 20000);
    world_start(w, 2, (int[]){0}, 1);
    world_run(w, 5);
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "new%d", i);
        assert_int_equal(world_put(w, i % 2, key, "1"), OK);
        assert_int_equal(world_delete(w, i % 2, i % 2 ? "m00007" : "k00007"), OK);
        world_run(w, 20);
    }
    assert_agree_within(w, 30000);
    assert_int_equal(world_counter(w, 2, "walks_finished"), 1);
    assert_non_null(world_get(w, 2, "m05999"));
    assert_null(world_get(w, 2, "k00007"));
    world_free(w);
}

static const struct world_options forgetful = {.seed = 8, .history_ms = 2000, .forget_after_ms = 60000};

/* What was deleted while a node was away for longer than the others remember does
 * not come back with it, and what it wrote alone stays. */
static void a_forgotten_node_revives_nothing(void **state)
{
    struct world *w = cluster(&forgetful, 3);
    put_many(w, 0, "k", 500);
    assert_agree_within(w, 5000);
    world_cut(w, 0, 2, true);
    world_cut(w, 1, 2, true);
    assert_int_equal(world_put(w, 2, "alone", "1"), OK);
    assert_int_equal(world_put(w, 2, "k00003", "\"changed alone\""), OK);
    for (int k = 0; k < 100; k++) {
        char key[16];
        snprintf(key, sizeof key, "k%05d", k + 5);
        assert_int_equal(world_delete(w, k % 2, key), OK);
    }
    assert_int_equal(world_delete(w, 0, "k00003"), OK);
    world_run(w, 120000); /* it is forgotten: the floor rises */
    assert_int_equal(world_rows(w, 0), 0);
    assert_int_equal(world_records(w, 0), 399);
    world_cut(w, 0, 2, false);
    world_cut(w, 1, 2, false);
    assert_agree_within(w, 30000);
    for (int i = 0; i < 3; i++) {
        assert_null(world_get(w, i, "k00050"));
        assert_string_equal(world_get(w, i, "alone"), "1");
        assert_string_equal(world_get(w, i, "k00003"), "\"changed alone\"");
    }
    world_free(w);
}

/* A node that is away but expected keeps the rows that it needs from being
 * forgotten; its return is a delta. */
static void an_expected_node_is_waited_for(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 9, .history_ms = 2000}, 3);
    put_many(w, 0, "k", 100);
    world_run(w, 30000);
    world_kill(w, 2);
    assert_int_equal(world_delete(w, 0, "k00001"), OK);
    world_run(w, 60000);
    assert_int_equal(world_rows(w, 0), 1);
    world_start_alone(w, 2);
    assert_agree_within(w, 10000);
    assert_int_equal(world_counter(w, 2, "walks_started"), 0);
    world_run(w, 60000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(world_rows(w, i), 0);
        assert_int_equal(world_records(w, i), 99); /* a deleted key costs nothing */
    }
    world_free(w);
}

/* What a dead node wrote reaches a third one by way of the second. */
static void rows_of_a_dead_node_come_by_way_of_another(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 10}, 3);
    world_kill(w, 2);
    put_many(w, 0, "k", 300);
    world_run(w, 2000);
    world_kill(w, 0);
    world_start(w, 2, (int[]){1}, 1);
    assert_agree_within(w, 10000);
    assert_non_null(world_get(w, 2, "k00299"));
    world_free(w);
}

/* Two nodes that cannot reach each other replicate through a third, for as long as
 * it lasts, and directly again afterwards. */
static void a_cut_between_two_is_bridged_by_a_third(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 11}, 3);
    world_cut(w, 0, 2, true);
    world_run(w, 1000);
    put_many(w, 0, "k", 100);
    assert_agree_within(w, 10000);
    put_many(w, 0, "l", 100); /* the relay stays: no patience is spent again */
    assert_agree_within(w, 500);
    world_cut(w, 0, 2, false);
    world_run(w, 30000);
    put_many(w, 0, "m", 100);
    assert_agree_within(w, 200);
    world_free(w);
}

/* A restart keeps the identity: no ghost is left among the members. */
static void a_restart_leaves_no_ghost(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 12}, 3);
    struct replica_id before, after;
    world_replica_id(w, 1, &before);
    for (int i = 0; i < 3; i++) {
        world_kill(w, 1);
        world_run(w, i * 20000);
        world_start_alone(w, 1);
        world_run(w, 5000);
    }
    world_replica_id(w, 1, &after);
    assert_true(replica_id_equal(&before, &after));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(world_members(w, i, "alive"), 3);
        assert_int_equal(world_members(w, i, "dead"), 0);
    }
    world_free(w);
}

/* All nodes are killed at once and come back without -j. */
static void a_whole_cluster_restarts(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 13}, 4);
    put_many(w, 0, "k", 50);
    world_run(w, 5000);
    for (int i = 0; i < 4; i++)
        world_kill(w, i);
    for (int i = 3; i >= 0; i--)
        world_start_alone(w, i);
    world_run(w, 15000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(world_members(w, i, "alive"), 4);
    assert_int_equal(world_put(w, 3, "after", "1"), OK);
    assert_agree_within(w, 1000);
    world_free(w);
}

/* Whom a node has met it remembers from then on. (The replicas among them it finds
 * in other ways too; this note is all it has of members that are none.) */
static void company_is_remembered_at_once(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 14});
    world_start_alone(w, 0);
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, 100);
    assert_int_equal(world_members(w, 1, "alive"), 2);

    struct snapshot *snapshot;
    struct bytes note;
    assert_int_equal(snapshot_open(world_store(w, 1), &snapshot), OK);
    assert_int_equal(snapshot_note(snapshot, "node/members", &note), OK);
    snapshot_close(snapshot);
    world_free(w);
}

/* A node killed and started at another address is a member there as soon as its
 * hello has proven who it is, long before anyone has suspected the old one. */
static void a_node_comes_back_at_another_address(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 14}, 3);
    world_kill(w, 1);
    world_move(w, 1, 9);
    world_start_alone(w, 1);
    world_run(w, 2500);
    assert_int_equal(world_put(w, 0, "k", "1"), OK);
    world_run(w, 20);
    assert_string_equal(world_get(w, 1, "k"), "1");
    enum err err;
    assert_non_null(strstr(world_request(w, 0, NODE_REQUEST_MEMBERS, NULL, &err, 1000), "10.0.0.10:7946"));
    world_run(w, 30000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(world_members(w, i, "alive"), 3);
    world_free(w);
}

/* A node that leaves for good is told of, stays alone over restarts, keeps its
 * data, and comes back by joining. */
static void leaving_for_good_is_kept(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 15}, 3);
    enum err err;
    put_many(w, 0, "k", 10);
    world_run(w, 1000);
    world_request(w, 2, NODE_REQUEST_LEAVE, NULL, &err, 5000);
    assert_int_equal(err, OK);
    world_run(w, 3000);
    assert_int_equal(world_members(w, 0, "left"), 1);
    assert_int_equal(world_put(w, 0, "after", "1"), OK);
    world_run(w, 40000);
    assert_null(world_get(w, 2, "after"));
    assert_non_null(world_get(w, 2, "k00009"));

    world_kill(w, 2);
    world_start_alone(w, 2);
    world_run(w, 40000);
    assert_null(world_get(w, 2, "after"));
    assert_int_equal(world_members(w, 0, "alive"), 2);

    world_request(w, 2, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 10000);
    assert_int_equal(err, OK);
    assert_agree_within(w, 5000);
    assert_string_equal(world_get(w, 2, "after"), "1");
    world_run(w, 5000);
    assert_int_equal(world_members(w, 1, "alive"), 3);
    world_free(w);
}

/* A store that fell back to an older state takes a new id, what it lost comes
 * back from its peers, and what it wrote since is not lost. */
static void an_old_state_takes_a_new_id(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 16}, 3);
    struct replica_id before, after;
    world_replica_id(w, 2, &before);
    put_many(w, 2, "old", 20);
    world_run(w, 500);
    world_save(w, 2);
    put_many(w, 2, "lost", 20);
    assert_int_equal(world_delete(w, 2, "old00001"), OK);
    world_run(w, 500);
    world_kill(w, 2);
    world_restore(w, 2, true);
    for (int i = 0; i < 2; i++)
        world_cut(w, i, 2, true);
    world_start_alone(w, 2);
    put_many(w, 2, "alone", 5); /* dots that its peers know as other operations */
    assert_int_equal(world_put(w, 2, "old00002", "\"changed\""), OK);
    world_run(w, 1000);
    for (int i = 0; i < 2; i++)
        world_cut(w, i, 2, false);
    world_run(w, 15000);
    assert_agree_within(w, 20000);
    world_replica_id(w, 2, &after);
    assert_false(replica_id_equal(&before, &after));
    for (int i = 0; i < 3; i++) {
        assert_non_null(world_get(w, i, "lost00019"));
        assert_non_null(world_get(w, i, "alone00004"));
        assert_string_equal(world_get(w, i, "old00002"), "\"changed\"");
        assert_null(world_get(w, i, "old00001"));
    }
    world_free(w);
}

/* The same where it has counted beyond what was lost before anybody meets it, and its
 * peers were killed within the minute after they had met: neither counters nor lists of
 * starts tell, only what it is kept to have told. (The peers had not heard of it through
 * others, so each has to know by itself.) */
static void an_old_state_is_known_after_a_kill(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 17}, 3);
    struct replica_id before, after;
    world_replica_id(w, 2, &before);
    put_many(w, 2, "old", 20);
    world_run(w, 500);
    world_save(w, 2);
    put_many(w, 2, "lost", 20);
    assert_int_equal(world_delete(w, 2, "old00001"), OK);
    world_run(w, 500);
    for (int i = 0; i < 3; i++)
        world_kill(w, i);
    world_restore(w, 2, true);
    world_start_alone(w, 2);
    put_many(w, 2, "alone", 100);
    world_run(w, 1000);
    for (int i = 0; i < 2; i++)
        world_start_alone(w, i);
    world_run(w, 15000);
    assert_agree_within(w, 20000);
    world_replica_id(w, 2, &after);
    assert_false(replica_id_equal(&before, &after));
    for (int i = 0; i < 3; i++) {
        assert_non_null(world_get(w, i, "lost00000"));
        assert_non_null(world_get(w, i, "lost00019"));
        assert_non_null(world_get(w, i, "alone00000"));
        assert_non_null(world_get(w, i, "alone00099"));
        assert_null(world_get(w, i, "old00001"));
    }
    world_free(w);
}

/* A node without room takes nothing and loses nothing: its peers keep the rows. */
static void a_full_disk_is_caught_up_with_later(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 17}, 2);
    world_disk_full(w, 1, true);
    put_many(w, 0, "k", 3000);
    world_run(w, 10000);
    assert_null(world_get(w, 1, "k00000"));
    world_disk_full(w, 1, false);
    assert_agree_within(w, 10000);
    world_free(w);
}

/* Also where the other one never stops writing: what was refused is a gap, and each new
 * row that comes behind it must not put off that it is asked for. */
static void a_gap_is_filled_under_load(void **state)
{
    enum { EVERY_MS = 20, FULL_MS = 2000, LOAD_MS = 10000 };
    struct world *w = cluster(&(struct world_options){.seed = 18}, 2);
    for (unsigned ms = 0; ms < LOAD_MS; ms += EVERY_MS) {
        char key[16];
        snprintf(key, sizeof key, "k%05u", ms);
        world_disk_full(w, 1, ms < FULL_MS);
        assert_int_equal(world_put(w, 0, key, "1"), OK);
        world_run(w, EVERY_MS);
    }
    assert_non_null(world_get(w, 1, "k00000"));
    assert_non_null(world_get(w, 1, "k09900"));
    world_free(w);
}

/* A token taken on one node is honoured on another: a write that replaces exactly
 * what its client saw leaves a version that it did not see. */
static void a_token_replaces_what_was_seen(void **state)
{
    struct world *w = cluster(&(struct world_options){.seed = 18}, 2);
    struct token token = {0};
    assert_int_equal(world_put(w, 0, "k", "1"), OK);
    world_read_token(w, 0, "k", &token);
    assert_int_equal(world_put_with(w, 1, "k", "2", &token), ERR_BEHIND); /* not there yet */
    world_run(w, 20);
    assert_int_equal(world_put(w, 0, "k", "3"), OK);
    world_run(w, 20);
    assert_int_equal(world_put_with(w, 1, "k", "4", &token), OK);
    assert_int_equal(world_versions(w, 1, "k"), 2);
    assert_int_equal(world_put_with(w, 1, "other", "4", &token), ERR_WRONGKEY);
    token_done(&token);
    world_free(w);
}

/* A node is ready once it has what its peers had when they met; alone after 5 s. */
static void readiness_means_caught_up(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 19, .record_us = 10});
    enum err err;
    world_start_alone(w, 0);
    world_run(w, 100);
    world_request(w, 0, NODE_REQUEST_READY, NULL, &err, 100);
    assert_int_equal(err, OK); /* it knows of no peer */
    put_many(w, 0, "k", 12000);
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, 30);
    const char *data = world_request(w, 1, NODE_REQUEST_READY, NULL, &err, 100);
    assert_int_equal(err, ERR_WALKING);
    assert_non_null(strstr(data, "\"Reason\":\"being filled in key order\""));
    assert_agree_within(w, 20000);
    world_run(w, 500);
    world_request(w, 1, NODE_REQUEST_READY, NULL, &err, 100);
    assert_int_equal(err, OK);

    world_kill(w, 0);
    world_kill(w, 1);
    world_start_alone(w, 1);
    world_run(w, 4900);
    world_request(w, 1, NODE_REQUEST_READY, NULL, &err, 100);
    assert_int_equal(err, ERR_WALKING);
    world_run(w, 200);
    world_request(w, 1, NODE_REQUEST_READY, NULL, &err, 100);
    assert_int_equal(err, OK);
    world_free(w);
}

/* A join that reaches nobody says why, within its time. */
static void a_join_that_fails_says_why(void **state)
{
    struct world *w = world_of(20);
    enum err err;
    world_start_alone(w, 0);
    world_run(w, 100);
    const char *data = world_request(w, 0, NODE_REQUEST_JOIN, "10.0.0.9:7946", &err, 10100);
    assert_int_equal(err, ERR_REFUSED);
    assert_non_null(strstr(data, "\"Joined\":0"));
    assert_non_null(strstr(data, "\"Peer\":\"10.0.0.9:7946\""));
    data = world_request(w, 0, NODE_REQUEST_JOIN, "no such name", &err, 10100);
    assert_int_equal(err, ERR_REFUSED);
    assert_non_null(strstr(data, "the name is not known"));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_is_seen_by_the_others),
        cmocka_unit_test(two_histories_become_one),
        cmocka_unit_test(concurrent_puts_keep_both_versions),
        cmocka_unit_test(a_later_write_wins_against_the_clocks),
        cmocka_unit_test(an_add_wins_over_a_concurrent_remove),
        cmocka_unit_test(an_absence_costs_what_was_missed),
        cmocka_unit_test(a_new_node_walks),
        cmocka_unit_test(a_forgotten_node_revives_nothing),
        cmocka_unit_test(an_expected_node_is_waited_for),
        cmocka_unit_test(rows_of_a_dead_node_come_by_way_of_another),
        cmocka_unit_test(a_cut_between_two_is_bridged_by_a_third),
        cmocka_unit_test(a_restart_leaves_no_ghost),
        cmocka_unit_test(a_whole_cluster_restarts),
        cmocka_unit_test(company_is_remembered_at_once),
        cmocka_unit_test(a_node_comes_back_at_another_address),
        cmocka_unit_test(leaving_for_good_is_kept),
        cmocka_unit_test(an_old_state_takes_a_new_id),
        cmocka_unit_test(an_old_state_is_known_after_a_kill),
        cmocka_unit_test(a_full_disk_is_caught_up_with_later),
        cmocka_unit_test(a_gap_is_filled_under_load),
        cmocka_unit_test(a_token_replaces_what_was_seen),
        cmocka_unit_test(readiness_means_caught_up),
        cmocka_unit_test(a_join_that_fails_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
