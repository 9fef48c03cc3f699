/* Whole nodes in virtual time: how they find each other, and what an operator sees. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "stories.h"

static struct world *cluster(uint64_t seed, int n)
{
    return cluster_after(&(struct world_options){.seed = seed}, n, 5000);
}

static const char *join(struct world *w, int i, const char *peer, enum err *ret_err)
{
    return world_request(w, i, NODE_REQUEST_JOIN, peer, ret_err, 11000);
}

static const char *members(struct world *w, int i)
{
    enum err err;
    const char *text = world_request(w, i, NODE_REQUEST_MEMBERS, NULL, &err, 1000);
    assert_int_equal(err, OK);
    return text;
}

static void assert_in(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("%s is not in %s", part, text);
}

/* --- joining --- */

/* Of a name's addresses one after another: one that refuses costs nothing, one that
 * is silent two seconds. */
static void all_addresses_of_a_name_are_tried(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 1});
    enum err err;
    for (int i = 0; i < 3; i++)
        world_start_alone(w, i);
    world_cut(w, 1, 2, true);
    uint64_t start = world_now(w);
    assert_string_equal(join(w, 1, "10.0.0.99:7946,10.0.0.1:7946", &err), "{\"Joined\":1,\"Failed\":[]}");
    assert_in_range(world_now(w) - start, 0, 100);
    world_start_alone(w, 3);
    world_cut(w, 3, 2, true);
    start = world_now(w);
    assert_string_equal(join(w, 3, "10.0.0.3:7946,10.0.0.1:7946", &err), "{\"Joined\":1,\"Failed\":[]}");
    assert_in_range(world_now(w) - start, 2000, 2100);
    world_free(w);
}

/* When all fail, each is named with its reason, in the answer and in the log. */
static void a_failed_join_says_why_for_each_address(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 2});
    enum err err;
    world_start_alone(w, 0);
    const char *data = join(w, 0, "10.0.0.98:7946,10.0.0.99:1", &err);
    assert_int_equal(err, ERR_REFUSED);
    assert_in(data, "\"Error\":\"10.0.0.98:7946: connection refused; 10.0.0.99:1: connection refused\"");
    assert_true(world_noticed(w, "event=join_failed peer=10.0.0.98:7946,10.0.0.99:1 reason="));
    assert_in(join(w, 0, "10.0.0.1:7946", &err), "that is this node itself");
    assert_in(join(w, 0, "nobody", &err), "the name is not known");
    world_free(w);
}

/* A configured peer that is not there yet is tried for ever. */
static void a_configured_peer_is_tried_until_it_comes(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 3});
    world_start(w, 0, (int[]){1}, 1);
    world_run(w, 3600 * 1000);
    assert_int_equal(world_members(w, 0, "alive"), 1);
    world_start_alone(w, 1);
    world_run(w, 40000);
    assert_int_equal(world_members(w, 0, "alive"), 2);
    assert_int_equal(world_members(w, 1, "alive"), 2);
    world_free(w);
}

/* Also by one that has other company meanwhile. */
static void a_configured_peer_is_not_forgotten_in_company(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 4});
    world_start(w, 0, (int[]){2}, 1);
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, 600 * 1000);
    assert_int_equal(world_members(w, 0, "alive"), 2);
    world_start_alone(w, 2);
    world_run(w, 45000);
    assert_int_equal(world_members(w, 1, "alive"), 3);
    world_free(w);
}

/* A restart asks those it remembers at once, and only then the configured name. */
static void a_restart_tries_the_remembered_first(void **state)
{
    struct world *w = cluster(5, 3);
    world_kill(w, 2);
    world_run(w, 1000);
    uint64_t start = world_now(w);
    world_start(w, 2, (int[]){9}, 1); /* a wrong -j */
    world_run(w, 300);
    assert_int_equal(world_members(w, 2, "alive"), 3);
    assert_false(world_noticed(w, "event=join_failed"));
    world_run(w, 1000);
    assert_true(world_noticed(w, "event=join_failed"));
    assert_in_range(world_now(w) - start, 1300, 1310);
    world_free(w);
}

/* Two halves that forgot each other and then restarted, each in its own company,
 * still look for each other. */
static void halves_find_together_after_restarts(void **state)
{
    struct world *w = cluster(6, 4);
    for (int a = 0; a < 2; a++)
        for (int b = 2; b < 4; b++)
            world_cut(w, a, b, true);
    world_run(w, 200 * 1000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(world_members(w, i, "alive") + world_members(w, i, "dead"), 2);
    for (int i = 0; i < 4; i++) { /* one after another: each finds its half again */
        world_kill(w, i);
        world_run(w, 60 * 1000);
        world_start_alone(w, i);
        world_run(w, 60 * 1000);
    }
    for (int a = 0; a < 2; a++)
        for (int b = 2; b < 4; b++)
            world_cut(w, a, b, false);
    world_run(w, 60 * 1000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(world_members(w, i, "alive"), 4);
    world_free(w);
}

/* A copy of a store comes up beside the original: one replica id, one name. Both ends
 * say so, and the copy goes on as another replica. */
static void a_copy_is_told_from_the_original(void **state)
{
    struct world *w = cluster(7, 2);
    assert_int_equal(world_put(w, 1, "k", "1"), OK);
    world_save(w, 1);
    assert_int_equal(world_put(w, 1, "k", "2"), OK);
    world_run(w, 1000);
    world_copy(w, 1, 5);
    world_start(w, 5, (int[]){0}, 1);
    world_run(w, 30000);
    assert_true(world_noticed(w, "event=name_conflict"));
    assert_true(world_noticed(w, "event=reidentified"));
    for (int i = 0; i < 2; i++)
        assert_int_equal(world_members(w, i, "alive"), 3);
    assert_int_equal(world_members(w, 5, "alive"), 3);
    world_free(w);
}

/* Node 1 asks node 0, and the answer, its log and node 0's say why not. `asked`: what node
 * 0 says where it is not the same. */
static void expect_refused(struct world *w, const char *why, const char *asked)
{
    enum err err;
    const char *data = join(w, 1, "10.0.0.1:7946", &err);
    assert_int_equal(err, ERR_REFUSED);
    assert_in(data, why);
    world_run(w, 5000);
    assert_true(world_noticed_by(w, 1, "event=join_failed peer=10.0.0.1:7946 reason="));
    assert_true(world_noticed_by(w, 1, why));
    assert_true(world_noticed_by(w, 0, "event=peer_refused addr=10.0.0.2:"));
    if (!world_noticed_by(w, 0, asked ? asked : why))
        fail_msg("not said by node 0: %s", asked ? asked : why);
    assert_int_equal(world_members(w, 1, "alive"), 1);
    world_free(w);
}

static struct world *two_strangers(uint64_t seed)
{
    struct world *w = world_new(&(struct world_options){.seed = seed});
    world_start_alone(w, 0);
    return w;
}

/* Whoever is refused learns why, in the answer and in its log, and so does who refuses. */
static void a_refusal_says_why_at_both_ends(void **state)
{
    static const struct bytes key1 = {(const uint8_t *)"0123456789abcdef", 16};
    static const struct bytes key2 = {(const uint8_t *)"fedcba9876543210", 16};
    static const uint8_t later[6] = {6, 8, 7};
    struct world *w = two_strangers(21); /* keys */
    world_keys(w, 0, &key1, 1);
    world_keys(w, 1, &key2, 1);
    world_start_alone(w, 1);
    expect_refused(w, "no installed keys could decrypt the message", NULL);

    w = two_strangers(22);
    world_keys(w, 0, &key1, 1);
    world_start_alone(w, 1);
    /* what it is answered with it cannot read, but knows what that means */
    expect_refused(w, "remote state is encrypted and encryption is not configured",
                   "encryption is configured but remote state is not encrypted");

    w = two_strangers(23);
    world_keys(w, 1, &key2, 1);
    world_start_alone(w, 1);
    expect_refused(w, "remote state is encrypted and encryption is not configured", NULL);

    w = two_strangers(24); /* labels */
    world_label(w, 1, "lab2");
    world_start_alone(w, 1);
    expect_refused(w, "another label than this node's", NULL);

    w = two_strangers(25); /* protocol range */
    world_vsn(w, 1, later);
    world_start_alone(w, 1);
    expect_refused(w, "incompatible versions: n", NULL);

    w = two_strangers(26); /* Peering.Block, of who is asked and of who asks */
    world_block(w, 0, "n1");
    world_start_alone(w, 1);
    expect_refused(w, " is blocked there (Peering.Block)", " is blocked here (Peering.Block)");

    w = two_strangers(27);
    world_block(w, 1, "n0");
    world_start_alone(w, 1);
    expect_refused(w, " is blocked here (Peering.Block)", " is blocked there (Peering.Block)");
}

/* Two live nodes of one name, and two of one replica id that are called differently: the
 * newcomer's join fails with where the other one is, and both have it in their logs. */
static void a_double_is_refused_at_both_ends(void **state)
{
    for (int renamed = 0; renamed < 2; renamed++) {
        struct world *w = cluster(28, 2);
        enum err err;
        assert_int_equal(world_put(w, 1, "k", "1"), OK);
        world_save(w, 1);
        world_copy(w, 1, 5);
        if (renamed)
            world_rename(w, 5, 5);
        world_start_alone(w, 5);
        const char *data = join(w, 5, "10.0.0.1:7946", &err);
        assert_int_equal(err, ERR_REFUSED);
        assert_in(data, renamed ? "another node has our replica id and lives at 10.0.0.2:7946"
                                : "another node has our name and lives at 10.0.0.2:7946");
        world_run(w, 1000);
        assert_true(world_noticed_by(w, 5, "event=name_conflict"));
        assert_true(world_noticed_by(w, 1, "event=name_conflict"));
        world_run(w, 30000); /* replication settles it: one of them takes a new id */
        assert_true(world_noticed(w, "event=reidentified"));
        world_free(w);
    }
}

/* Node 1 is an older state of itself again, up to where it says so much. */
static void fall_back(struct world *w, const char *until)
{
    world_save(w, 1);
    assert_int_equal(world_put(w, 1, "k", "1"), OK);
    world_run(w, 1000);
    world_kill(w, 1);
    world_restore(w, 1, true);
    world_start_alone(w, 1);
    for (int ms = 0; ms < 1000 && !world_noticed_by(w, 1, until); ms++)
        world_run(w, 1);
}

/* Who takes a new id begins anew as a member, and knows no member of before: who was one
 * and dies meanwhile is expected back for Peering.ForgetAfter, as by all others. */
static void a_new_id_has_no_members_of_before(void **state)
{
    struct world_options options = {.seed = 41, .history_ms = 2000, .forget_after_ms = 20000};
    struct world *w = cluster_after(&options, 3, FORMED_MS);
    fall_back(w, "event=reidentified");
    assert_true(world_noticed_by(w, 1, "event=member_joined node=n2-"));
    assert_true(world_noticed_by(w, 1, "event=reidentified"));
    world_cut(w, 1, 0, true);
    world_cut(w, 1, 2, true);
    world_kill(w, 2);
    world_run(w, 15000);
    world_cut(w, 1, 0, false);
    assert_int_equal(world_put(w, 0, "k", "2"), OK);
    assert_int_equal(world_delete(w, 0, "k"), OK);
    world_run(w, 60000);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(world_members(w, i, "alive"), 2);
        assert_int_equal(world_rows(w, i), 0);
        assert_int_equal(world_records(w, i), 0);
    }
    world_free(w);
}

/* It leaves, or stops, while its new id is on the way to the store: under that it is no member either. */
static void a_new_id_is_gone_as_well(void **state)
{
    for (int shutdown = 0; shutdown < 2; shutdown++) {
        struct world *w = cluster_after(&(struct world_options){.seed = 42, .record_us = 20}, 3, FORMED_MS);
        enum err err;
        assert_int_equal(world_put(w, 1, "k", "0"), OK);
        fall_back(w, "event=fork ");
        assert_false(world_noticed_by(w, 1, "event=reidentified"));
        world_request(w, 1, shutdown ? NODE_REQUEST_SHUTDOWN : NODE_REQUEST_LEAVE, NULL, &err, 5000);
        assert_int_equal(err, OK);
        assert_true(world_noticed_by(w, 1, "event=reidentified"));
        if (shutdown)
            world_kill(w, 1);
        world_run(w, 20000);
        assert_int_equal(world_members(w, 0, "alive"), 2);
        assert_int_equal(world_members(w, 2, "alive"), 2);
        if (shutdown) {
            world_start_alone(w, 1);
        } else {
            world_request(w, 1, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 10000);
            assert_int_equal(err, OK);
        }
        assert_agree_within(w, 20000);
        assert_int_equal(world_members(w, 0, "alive"), 3);
        world_free(w);
    }
}

/* A member that is blocked is one no more, at once, and no replica either; unblocked it is. */
static void a_block_takes_effect_at_once(void **state)
{
    struct world *w = cluster(29, 3);
    world_block(w, 0, "n2");
    assert_int_equal(world_members(w, 0, "alive"), 2);
    assert_true(world_noticed_by(w, 0, "event=member_blocked node=n2-"));
    assert_int_equal(world_put(w, 2, "k", "1"), OK);
    world_run(w, 60000);
    assert_int_equal(world_members(w, 0, "alive"), 2);
    assert_int_equal(world_members(w, 1, "alive"), 3);
    assert_false(world_noticed(w, "event=member_suspect"));
    world_block(w, 0, NULL);
    world_run(w, 70000);
    assert_int_equal(world_members(w, 0, "alive"), 3);
    world_free(w);
}

/* A join that is under way when a node says goodbye, and has another address to try, does
 * not make it a member again. */
static void a_goodbye_ends_joins(void **state)
{
    for (int shutdown = 0; shutdown < 2; shutdown++) {
        struct world *w = cluster(11, 3);
        enum err err;
        world_start_alone(w, 4);
        world_cut(w, 2, 4, true);
        world_ask(w, 2, NODE_REQUEST_JOIN, "10.0.0.5:7946,10.0.0.1:7946");
        world_run(w, 1000);
        world_request(w, 2, shutdown ? NODE_REQUEST_SHUTDOWN : NODE_REQUEST_LEAVE, NULL, &err, 5000);
        assert_int_equal(err, OK);
        assert_int_equal(world_members(w, 0, "left"), 1);
        world_run(w, 1500);
        if (shutdown)
            world_kill(w, 2);
        world_run(w, 10000);
        assert_int_equal(world_members(w, 0, "left"), 1);
        assert_false(world_noticed(w, "event=member_suspect"));
        world_free(w);
    }
}

/* A configured peer that is due again meanwhile is not tried, either. */
static void a_goodbye_ends_retries(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 12});
    enum err err;
    for (int i = 0; i < 2; i++)
        world_start_alone(w, i);
    world_start(w, 2, (int[]){0, 9}, 2); /* nobody is at the second: tried again all the time */
    for (int round = 0; round < 20; round++) {
        world_run(w, 700);
        world_request(w, 2, NODE_REQUEST_SHUTDOWN, NULL, &err, 5000);
        uint64_t inc = world_counter(w, 2, "swim_refutations");
        world_run(w, 1500);
        assert_int_equal(world_members(w, 0, "left"), 1);
        assert_int_equal(world_counter(w, 2, "swim_refutations"), inc);
        world_kill(w, 2);
        world_start(w, 2, (int[]){0, 9}, 2);
        world_run(w, 100);
        assert_int_equal(world_members(w, 0, "alive"), 2);
    }
    world_free(w);
}

static bool both_alive(struct world *w, const void *unused)
{
    return world_members(w, 0, "alive") == 2 && world_members(w, 1, "alive") == 2;
}

/* Back by hand, and then dead at once: who was told that it has joined finds it joined after
 * the next start. So does -j, for starts without one. */
static void a_return_is_for_later_starts_too(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 35, .record_us = 1000});
    enum err err;
    world_start_alone(w, 0);
    world_start(w, 1, (int[]){0}, 1);
    assert_true(world_until(w, both_alive, NULL, 20000));
    for (int by_hand = 1; by_hand >= 0; by_hand--) {
        world_request(w, 1, NODE_REQUEST_LEAVE, NULL, &err, 10000);
        assert_int_equal(err, OK);
        if (by_hand) {
            for (int i = 0; i < 100; i++) /* what the store has to do first */
                world_ask(w, 1, NODE_REQUEST_LEAVE, NULL);
            world_request(w, 1, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 10000);
            assert_int_equal(err, OK);
        } else {
            world_kill(w, 1);
            world_start_alone(w, 1);
            world_run(w, 20000);
            assert_false(both_alive(w, NULL)); /* it has left, and remembers it */
            world_kill(w, 1);
            world_start(w, 1, (int[]){0}, 1);
            assert_true(world_until(w, both_alive, NULL, 20000));
            world_run(w, 5000); /* stored; nobody was told */
        }
        world_kill(w, 1);
        world_start_alone(w, 1);
        assert_true(world_until(w, both_alive, NULL, 60000));
        world_run(w, 5000);
        assert_true(both_alive(w, NULL));
    }
    world_free(w);
}

/* A return that cannot be stored is tried each second, and said once. */
static void a_return_waits_for_room(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 36});
    enum err err;
    world_start_alone(w, 0);
    world_start(w, 1, (int[]){0}, 1);
    assert_true(world_until(w, both_alive, NULL, 20000));
    world_request(w, 1, NODE_REQUEST_LEAVE, NULL, &err, 10000);
    assert_int_equal(err, OK);
    world_disk_full(w, 1, true);
    (void)world_request(w, 1, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 11000);
    world_run(w, 30000);
    assert_int_equal(world_notices_by(w, 1, "event=return_waits"), 1);
    assert_int_equal(world_put(w, 0, "k", "1"), OK);
    assert_null(world_get(w, 1, "k"));
    world_disk_full(w, 1, false);
    assert_true(world_until(w, both_alive, NULL, 20000));
    world_run(w, 5000);
    assert_non_null(world_get(w, 1, "k"));
    world_free(w);
}

/* The first join by hand, and dead as soon as it is answered: the next start finds the cluster. */
static void a_first_join_is_remembered_when_answered(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 36, .record_us = 1000});
    enum err err;
    for (int i = 0; i < 2; i++)
        world_start_alone(w, i);
    world_run(w, 5000);
    for (int i = 0; i < 100; i++) /* what the store has to do first */
        world_ask(w, 1, NODE_REQUEST_RESUME, NULL);
    world_request(w, 1, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 10000);
    assert_int_equal(err, OK);
    world_kill(w, 1);
    world_kill(w, 0); /* and nobody is left who would look for it */
    world_wipe(w, 0);
    for (int i = 0; i < 2; i++)
        world_start_alone(w, i);
    assert_true(world_until(w, both_alive, NULL, 5000));
    world_free(w);
}

/* Some ten seconds and more, as each address has two. */
#define HANG  "10.0.0.3:7946"
#define HANGS HANG "," HANG "," HANG "," HANG "," HANG "," HANG

/* One of two peers hangs: at the end of its time a join that has reached the other is answered for what is
 * stored, and no sooner. */
static void a_late_join_is_remembered_when_answered(void **state)
{
    for (int slow = 0; slow < 2; slow++) {
        struct world *w = world_new(&(struct world_options){.seed = 37, .record_us = slow ? 1000000 : 1000});
        enum err err;
        for (int i = 0; i < 3; i++)
            world_start_alone(w, i);
        world_cut(w, 1, 2, true);
        world_run(w, 20000);
        for (int i = 0; i < 20; i++) /* what the store has to do first */
            world_ask(w, 1, NODE_REQUEST_RESUME, NULL);
        uint64_t asked = world_now(w);
        const char *answer = world_request_two(w, 1, NODE_REQUEST_JOIN, "10.0.0.1:7946", HANGS, &err, 20000);
        assert_int_equal(err, slow ? ERR_TIMEOUT : OK);
        assert_in_range(world_now(w) - asked, 9000, 10100);
        if (!slow)
            assert_in(answer, "\"Joined\":1,\"Failed\":[{\"Peer\":\"" HANGS "\"");
        world_free(w);
    }
}

/* Who has left for good troubles nobody: it neither accuses those whom it no longer hears,
 * nor sends them anything. */
static void who_has_left_is_silent(void **state)
{
    struct world *w = cluster(13, 3);
    enum err err;
    world_request(w, 2, NODE_REQUEST_LEAVE, NULL, &err, 5000);
    world_run(w, 10000);
    world_forget_bytes(w);
    world_run(w, 120000);
    struct world_traffic sent = world_traffic(w, 2);
    assert_int_equal(sent.datagrams, 0);
    assert_int_equal(sent.gossip_bytes, 0);
    assert_false(world_noticed(w, "event=member_suspect"));
    assert_false(world_noticed(w, "event=refuted"));
    assert_int_equal(world_members(w, 2, "left"), 1); /* itself */
    assert_int_equal(world_members(w, 2, "alive"), 0);
    world_kill(w, 2);
    world_start_alone(w, 2);
    world_run(w, 10000);
    assert_int_equal(world_members(w, 2, "left"), 1);
    world_request(w, 2, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 10000);
    assert_int_equal(err, OK);
    world_run(w, 5000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(world_members(w, i, "alive"), 3);
    world_kill(w, 0); /* and it takes part in everything again */
    world_run(w, 40000);
    assert_true(world_noticed_by(w, 2, "event=member_dead node=n0"));
    world_free(w);
}

/* --- what an operator sees --- */

static void members_are_described(void **state)
{
    struct world *w = cluster(8, 2);
    world_run(w, 10000);
    const char *text = members(w, 0);
    const char *other = strstr(text, "\"Self\":false");
    assert_non_null(other);
    assert_in(text, "{\"Health\":0,\"Members\":[{\"Name\":\"");
    assert_in(text, "\"Self\":true");
    assert_in(other, "\"Since\":\"20");
    assert_in(other, "\"SinceMs\":");
    assert_in(other, "\"Incarnation\":");
    assert_in(other, "\"Protocol\":\"1-5/2\",\"DelegateProtocol\":\"0-0/0\"");
    assert_in(other, "\"RoundTripMs\":2.000"); /* 1 ms each way */
    assert_in(other, "\"UDPBlocked\":\"\",\"LastError\":\"\",\"LastErrorMs\":null");
    assert_in(other, "\"Replication\":{\"State\":\"up\",\"LagHere\":0,\"LagThere\":0,\"Error\":\"\"}");
    world_free(w);
}

/* What a cut-off member lacks is seen, and what it is suspected for. */
static void a_lost_member_is_described(void **state)
{
    struct world *w = cluster(9, 3);
    world_cut(w, 0, 2, true);
    world_cut(w, 1, 2, true);
    for (int i = 0; i < 7; i++)
        assert_int_equal(world_put(w, 0, "k", "1"), OK);
    world_run(w, 20000);
    const char *text = members(w, 0);
    assert_in(text, "\"Status\":\"dead\"");
    assert_in(text,
              "\"LastError\":\"did not answer a ping, neither by UDP, nor through others, nor by TCP\"");
    assert_in(text, "\"LagHere\":0,\"LagThere\":7,");
    world_free(w);
}

/* One line for each change, with its cause and what happens next. */
static void changes_are_logged_with_cause_and_consequence(void **state)
{
    struct world *w = cluster(10, 3);
    assert_true(world_noticed(w, "event=member_joined node="));
    assert_true(world_noticed(w, "cause=new next=\"replication connects to it\""));
    world_kill(w, 2);
    world_run(w, 90000);
    assert_true(
        world_noticed(w, "cause=\"did not answer a ping, neither by UDP, nor through others, nor by TCP\" "
                         "next=\"dead in 4 s at the latest, unless it contradicts\""));
    assert_true(world_noticed(w, "cause=\"did not contradict for 4 s\" "
                                 "next=\"is pinged now and then; its replica is expected back\""));
    assert_true(world_noticed(w, "event=member_forgotten node="));
    world_start_alone(w, 2);
    world_run(w, 5000);
    enum err err;
    world_request(w, 2, NODE_REQUEST_LEAVE, NULL, &err, 5000);
    world_run(w, 3000);
    assert_true(world_noticed(w, "event=member_left node="));
    assert_true(world_noticed(w, "cause=\"said goodbye\" next=\"is sent nothing until it joins again\""));
    world_free(w);
}

/* --- what it costs --- */

/* Sixteen nodes with nothing to do, profile lan: what each sends, in five minutes. */
static void sixteen_idle_nodes_are_quiet(void **state)
{
    enum { NODES = 16, SECONDS = 300, BITS_PER_SECOND_MAX = 5000 };
    struct world *w = cluster(11, NODES);
    uint64_t sum = 0;
    world_run(w, 60000);
    world_forget_bytes(w);
    world_run(w, SECONDS * 1000);
    for (int i = 0; i < NODES; i++) {
        struct world_traffic sent = world_traffic(w, i);
        uint64_t bytes = sent.datagram_bytes + sent.gossip_bytes + sent.sync_bytes;
        print_message(
            "node %2d: %4llu datagrams of %6llu bytes, push/pull %6llu, replication %6llu: %llu bit/s\n", i,
            (unsigned long long)sent.datagrams, (unsigned long long)sent.datagram_bytes,
            (unsigned long long)sent.gossip_bytes, (unsigned long long)sent.sync_bytes,
            (unsigned long long)(bytes * 8 / SECONDS));
        sum += bytes;
    }
    assert_in_range(sum * 8 / SECONDS / NODES, 1, BITS_PER_SECOND_MAX);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_addresses_of_a_name_are_tried),
        cmocka_unit_test(a_failed_join_says_why_for_each_address),
        cmocka_unit_test(a_configured_peer_is_tried_until_it_comes),
        cmocka_unit_test(a_configured_peer_is_not_forgotten_in_company),
        cmocka_unit_test(a_restart_tries_the_remembered_first),
        cmocka_unit_test(halves_find_together_after_restarts),
        cmocka_unit_test(a_copy_is_told_from_the_original),
        cmocka_unit_test(a_refusal_says_why_at_both_ends),
        cmocka_unit_test(a_double_is_refused_at_both_ends),
        cmocka_unit_test(a_new_id_has_no_members_of_before),
        cmocka_unit_test(a_new_id_is_gone_as_well),
        cmocka_unit_test(a_block_takes_effect_at_once),
        cmocka_unit_test(a_goodbye_ends_joins),
        cmocka_unit_test(a_goodbye_ends_retries),
        cmocka_unit_test(who_has_left_is_silent),
        cmocka_unit_test(a_return_is_for_later_starts_too),
        cmocka_unit_test(a_return_waits_for_room),
        cmocka_unit_test(a_first_join_is_remembered_when_answered),
        cmocka_unit_test(a_late_join_is_remembered_when_answered),
        cmocka_unit_test(members_are_described),
        cmocka_unit_test(a_lost_member_is_described),
        cmocka_unit_test(changes_are_logged_with_cause_and_consequence),
        cmocka_unit_test(sixteen_idle_nodes_are_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
