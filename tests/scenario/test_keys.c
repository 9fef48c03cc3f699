/* Keys in whole nodes in virtual time: clusters that are sealed, and how their keys
 * are changed while they run. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "world.h"

/* Sixteen bytes each; with their base64 and the first 8 digits of their SHA-256. */
static const struct bytes key1 = {(const uint8_t *)"key one, 16 byte", 16},
                          key2 = {(const uint8_t *)"key two, 16 byte", 16},
                          key3 = {(const uint8_t *)"key three,16byte", 16};
#define KEY2_BASE64 "a2V5IHR3bywgMTYgYnl0ZQ=="
#define KEY3_BASE64 "a2V5IHRocmVlLDE2Ynl0ZQ=="

static const char *name_of(struct bytes key)
{
    static char texts[4][KEYRING_NAME];
    static size_t at;
    struct seal *seal = seal_new(key);
    char *text = texts[at++ % 4];
    key_name_text(seal_fingerprint(seal), text);
    seal_free(seal);
    return text;
}

/* n nodes with one key. */
static struct world *sealed_cluster(uint64_t seed, int n)
{
    struct world *w = world_new(&(struct world_options){.seed = seed});
    for (int i = 0; i < n; i++) {
        world_keys(w, i, &key1, 1);
        if (i == 0)
            world_start_alone(w, 0);
        else
            world_start(w, i, (int[]){0}, 1);
    }
    world_run(w, 3000);
    for (int i = 0; i < n; i++)
        assert_int_equal(world_members(w, i, "alive"), n);
    return w;
}

static enum err call(struct world *w, int i, enum node_request request, const char *key)
{
    enum err err;
    world_request(w, i, request, key, &err, 15000);
    return err;
}

/* How many members say, asked at node i, that they hold the key; and seal with it. */
static void expect_key(struct world *w, int i, struct bytes key, int held_by, int used_by)
{
    enum err err;
    char expected[100];
    const char *text = world_request(w, i, NODE_REQUEST_KEYS_LIST, NULL, &err, 15000);
    assert_int_equal(err, OK);
    snprintf(expected, sizeof expected, "{\"Key\":\"%s\",\"HeldBy\":%d,\"UsedBy\":%d}", name_of(key), held_by,
             used_by);
    if (held_by > 0 ? !strstr(text, expected) : strstr(text, name_of(key)) != NULL)
        fail_msg("%s is not in %s", expected, text);
}

static void expect_alive(struct world *w, int from, int to, int count)
{
    for (int i = from; i < to; i++)
        assert_int_equal(world_members(w, i, "alive"), count);
}

/* Every packet and exchange is sealed: who has no key, or another, gets nothing in, and
 * both say why. */
static void only_who_has_the_key_comes_in(void **state)
{
    struct world *w = sealed_cluster(1, 2);
    world_keys(w, 2, &key3, 1);
    world_start(w, 2, (int[]){0}, 1);
    world_start(w, 3, (int[]){0}, 1); /* none */
    world_run(w, 10000);
    expect_alive(w, 0, 2, 2);
    expect_alive(w, 2, 4, 1);
    assert_true(world_noticed(w, "event=peer_refused addr=10.0.0.3:"));
    assert_true(world_noticed(w, "reason=\"no installed keys could decrypt the message\" next="));
    assert_true(world_noticed(w, "encryption is configured but remote state is not encrypted"));
    world_free(w);
}

/* Another label is another cluster. */
static void a_label_keeps_clusters_apart(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 2});
    for (int i = 0; i < 4; i++) {
        world_label(w, i, i < 2 ? "lab1" : i == 2 ? "lab2" : "");
        if (i == 0)
            world_start_alone(w, 0);
        else
            world_start(w, i, (int[]){0}, 1);
    }
    world_run(w, 10000);
    expect_alive(w, 0, 2, 2);
    expect_alive(w, 2, 4, 1);
    assert_true(world_noticed(w, "another label than this node's"));
    assert_true(world_noticed(w, "no label, and this node has one"));
    world_free(w);
}

/* Install, use, remove: nobody is lost on the way, and the old key opens nothing in the
 * end. A restart keeps what was done, although the file names the old key. */
static void a_key_is_rotated(void **state)
{
    struct world *w = sealed_cluster(3, 4);
    expect_key(w, 1, key1, 4, 4);
    assert_int_equal(call(w, 1, NODE_REQUEST_KEYS_USE, name_of(key2)), ERR_NOT_FOUND);
    assert_int_equal(call(w, 1, NODE_REQUEST_KEYS_INSTALL, KEY2_BASE64), OK);
    expect_key(w, 2, key2, 4, 0);
    assert_int_equal(call(w, 1, NODE_REQUEST_KEYS_REMOVE, name_of(key1)), ERR_CONFLICT); /* in use */
    assert_int_equal(call(w, 3, NODE_REQUEST_KEYS_USE, name_of(key2)), OK);
    expect_key(w, 0, key2, 4, 4);
    expect_key(w, 0, key1, 4, 0);
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_REMOVE, name_of(key1)), OK);
    expect_key(w, 2, key1, 0, 0);
    world_run(w, 60000);
    expect_alive(w, 0, 4, 4);

    world_kill(w, 3);
    world_run(w, 100);
    world_start_alone(w, 3);
    world_run(w, 5000);
    expect_alive(w, 0, 4, 4);
    expect_key(w, 3, key2, 4, 4);
    assert_false(world_noticed(w, "member_suspect node=n0")); /* nobody was in doubt about the others */
    world_free(w);
}

/* Who was away comes back with the old key, and is given the new one. */
static void who_was_away_comes_back(void **state)
{
    struct world *w = sealed_cluster(4, 3);
    enum err err;
    world_run(w, 5000);
    world_kill(w, 2);
    world_run(w, 40000); /* dead, and forgotten by gossip */
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_INSTALL, KEY2_BASE64), OK);
    const char *text = world_request(w, 0, NODE_REQUEST_KEYS_USE, name_of(key2), &err, 15000);
    assert_int_equal(err, OK);
    assert_non_null(strstr(text, "\"Away\":[\"n2-"));
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_REMOVE, name_of(key1)), ERR_CONFLICT); /* it is away */
    world_start_alone(w, 2);
    world_run(w, 5000);
    expect_alive(w, 0, 3, 3);
    expect_key(w, 1, key2, 3, 3);
    assert_true(world_noticed(w, "event=keys_taken"));
    assert_int_equal(call(w, 1, NODE_REQUEST_KEYS_REMOVE, name_of(key1)), OK);
    world_run(w, 40000);
    expect_alive(w, 0, 3, 3);
    world_free(w);
}

/* The same for one that never stopped but was cut off. */
static void who_was_cut_off_comes_back(void **state)
{
    struct world *w = sealed_cluster(5, 4);
    for (int i = 0; i < 3; i++)
        world_cut(w, i, 3, true);
    world_run(w, 60000);
    expect_alive(w, 0, 3, 3);
    assert_int_equal(call(w, 2, NODE_REQUEST_KEYS_INSTALL, KEY2_BASE64), OK);
    assert_int_equal(call(w, 2, NODE_REQUEST_KEYS_USE, name_of(key2)), OK);
    for (int i = 0; i < 3; i++)
        world_cut(w, i, 3, false);
    world_run(w, 90000);
    expect_alive(w, 0, 4, 4);
    expect_key(w, 3, key2, 4, 4);
    world_free(w);
}

/* One that is cut off while the key is used is given it when its exchanges come by:
 * and silent members stop a use that is not forced. */
static void silent_members_stop_a_use(void **state)
{
    struct world *w = sealed_cluster(6, 3);
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_INSTALL, KEY2_BASE64), OK);
    world_cut(w, 0, 2, true); /* node 1 still reaches both: nobody is dead */
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_USE, name_of(key2)), ERR_CONFLICT);
    expect_key(w, 1, key2, 3, 0);
    enum err err;
    world_request_forced(w, 0, NODE_REQUEST_KEYS_USE, name_of(key2), &err, 15000);
    assert_int_equal(err, ERR_CONFLICT); /* done where it could be, and says who was silent */
    world_cut(w, 0, 2, false);
    world_run(w, 90000);
    expect_key(w, 0, key2, 3, 3);
    expect_alive(w, 0, 3, 3);
    world_free(w);
}

/* Both halves of a split rotate, each to a key that the other has never seen. They find
 * together by the key that they still have in common, and agree on one. */
static void halves_that_rotated_agree(void **state)
{
    for (uint64_t seed = 30; seed < 36; seed++) {
        struct world *w = sealed_cluster(seed, 4);
        for (int a = 0; a < 2; a++)
            for (int b = 2; b < 4; b++)
                world_cut(w, a, b, true);
        world_run(w, 60000);
        assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_INSTALL, KEY2_BASE64), OK);
        assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_USE, name_of(key2)), OK);
        assert_int_equal(call(w, 2, NODE_REQUEST_KEYS_INSTALL, KEY3_BASE64), OK);
        assert_int_equal(call(w, 2, NODE_REQUEST_KEYS_USE, name_of(key3)), OK);
        for (int a = 0; a < 2; a++)
            for (int b = 2; b < 4; b++)
                world_cut(w, a, b, false);
        world_run(w, 120000);
        expect_alive(w, 0, 4, 4);
        enum err err;
        const char *text = world_request(w, 0, NODE_REQUEST_KEYS_LIST, NULL, &err, 15000);
        const char *agreed = strstr(text, "\"HeldBy\":4,\"UsedBy\":4}");
        if (!agreed)
            fail_msg("seed %llu: %s", (unsigned long long)seed, text);
        assert_non_null(strstr(text, "\"Silent\":[]"));
        /* nobody loses sight of its own half: who moves takes the others along */
        assert_false(world_noticed_by(w, 0, "event=member_suspect node=n1"));
        assert_false(world_noticed_by(w, 1, "event=member_suspect node=n0"));
        assert_false(world_noticed_by(w, 2, "event=member_suspect node=n3"));
        assert_false(world_noticed_by(w, 3, "event=member_suspect node=n2"));
        world_free(w);
    }
}

/* Whoever is killed, at whatever moment of a rotation, and started again: in the end all
 * are members and seal with one key. */
static void a_rotation_outlives_restarts(void **state)
{
    for (uint64_t at = 0; at < 24; at++) {
        for (int victim = 0; victim < 2; victim++) { /* who leads it, and another */
            struct world *w = sealed_cluster(40 + at, 3);
            assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_INSTALL, KEY2_BASE64), OK);
            world_ask(w, 0, NODE_REQUEST_KEYS_USE, name_of(key2));
            world_run(w, at / 2);
            world_kill(w, victim);
            world_run(w, at % 2 ? 100 : 40000); /* back before it is missed, or after */
            world_start_alone(w, victim);
            world_run(w, 90000);
            expect_alive(w, 0, 3, 3);
            assert_int_equal(call(w, 2, NODE_REQUEST_KEYS_USE, name_of(key2)), OK);
            expect_key(w, 1, key2, 3, 3);
            assert_int_equal(call(w, 1, NODE_REQUEST_KEYS_REMOVE, name_of(key1)), OK);
            world_run(w, 40000);
            expect_alive(w, 0, 3, 3);
            world_free(w);
        }
    }
}

/* Without its key a member stays outside, until its file is changed. */
static void a_forced_removal_shuts_out(void **state)
{
    struct world *w = sealed_cluster(7, 3);
    enum err err;
    world_kill(w, 2);
    world_run(w, 40000);
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_INSTALL, KEY2_BASE64), OK);
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_USE, name_of(key2)), OK);
    world_request_forced(w, 0, NODE_REQUEST_KEYS_REMOVE, name_of(key1), &err, 15000);
    assert_int_equal(err, OK);
    world_start_alone(w, 2);
    world_run(w, 30000);
    expect_alive(w, 2, 3, 1);
    world_keys(w, 2, &key2, 1);
    world_run(w, 60000);
    expect_alive(w, 0, 3, 3);
    world_free(w);
}

/* Files that are changed one after another, each node told to read its own again: the
 * new key behind the old one everywhere, then before it, then alone. */
static void files_can_rotate_too(void **state)
{
    struct world *w = sealed_cluster(8, 3);
    static struct bytes behind[2], before[2];
    behind[0] = before[1] = key1;
    behind[1] = before[0] = key2;
    for (int stage = 0; stage < 3; stage++)
        for (int i = 0; i < 3; i++) {
            world_keys(w, i, stage == 0 ? behind : before, stage < 2 ? 2 : 1);
            world_run(w, 40000);
            expect_alive(w, 0, 3, 3);
        }
    expect_key(w, 0, key2, 3, 3);
    expect_key(w, 0, key1, 0, 0);
    world_free(w);
}

/* A file without keys ends it: nothing is sealed any more, whatever was installed. */
static void a_file_without_keys_ends_it(void **state)
{
    struct world *w = sealed_cluster(9, 1);
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_INSTALL, KEY2_BASE64), OK);
    world_keys(w, 0, NULL, 0);
    expect_key(w, 0, key1, 0, 0);
    expect_key(w, 0, key2, 0, 0);
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_INSTALL, KEY2_BASE64), ERR_CONFLICT);
    world_free(w);
}

static void bad_calls_are_refused(void **state)
{
    struct world *w = sealed_cluster(10, 1);
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_INSTALL, "c2VjcmV0"), ERR_MALFORMED);
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_INSTALL, name_of(key1)), ERR_MALFORMED);
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_USE, "what"), ERR_MALFORMED);
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_USE, KEY2_BASE64), ERR_NOT_FOUND);
    assert_int_equal(call(w, 0, NODE_REQUEST_KEYS_REMOVE, "00000000"), ERR_NOT_FOUND);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_who_has_the_key_comes_in),
        cmocka_unit_test(a_label_keeps_clusters_apart),
        cmocka_unit_test(a_key_is_rotated),
        cmocka_unit_test(who_was_away_comes_back),
        cmocka_unit_test(who_was_cut_off_comes_back),
        cmocka_unit_test(silent_members_stop_a_use),
        cmocka_unit_test(halves_that_rotated_agree),
        cmocka_unit_test(a_rotation_outlives_restarts),
        cmocka_unit_test(a_forced_removal_shuts_out),
        cmocka_unit_test(files_can_rotate_too),
        cmocka_unit_test(a_file_without_keys_ends_it),
        cmocka_unit_test(bad_calls_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
