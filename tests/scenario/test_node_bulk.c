/* Whole nodes in virtual time, where there is much to send: walks that are pieces
 * ahead of the store, what both sides' deaths do to them, slices that leave room
 * for writes, packed frames, frames shared by links, and peers of protocol 1. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "rng.h"
#include "world.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum {
    VALUE_BYTES = 500,
    STEP_MS = SANITIZED ? 580 : 290, /* between two moments of dying: fewer where each world takes long */
};

static void put(struct world *w, int node, const char *prefix, int k, const char *value)
{
    char key[64];
    snprintf(key, sizeof key, "%s%06d", prefix, k);
    assert_int_equal(world_put(w, node, key, value), OK);
}

/* Values that say much in many words. */
static void put_wordy(struct world *w, int node, const char *prefix, int count)
{
    char value[VALUE_BYTES + 1];
    for (int k = 0; k < count; k++) {
        memset(value, 'a' + k % 26, VALUE_BYTES);
        value[VALUE_BYTES] = 0;
        put(w, node, prefix, k, value);
    }
}

/* Values that no packing makes shorter. */
static void put_dense(struct world *w, int node, const char *prefix, int count)
{
    char value[VALUE_BYTES + 1];
    struct rng rng;
    rng_init(&rng, (uint64_t)count);
    for (int k = 0; k < count; k++) {
        for (size_t i = 0; i < VALUE_BYTES; i++)
            value[i] = (char)(1 + rng_below(&rng, 255));
        value[VALUE_BYTES] = 0;
        put(w, node, prefix, k, value);
    }
}

static struct world *world_with(const struct world_options *options, int nodes)
{
    struct world *w = world_new(options);
    world_start_alone(w, 0);
    for (int i = 1; i < nodes; i++)
        world_start(w, i, (int[]){0}, 1);
    world_run(w, 2000);
    return w;
}

static void agree_within(struct world *w, uint64_t ms)
{
    enum { LOOK_MS = 50 }; /* a look at all that all nodes hold takes its time */
    for (uint64_t waited = 0; !world_agrees(w, NULL); waited += LOOK_MS) {
        if (waited >= ms)
            fail_msg("the nodes do not agree after %llu ms", (unsigned long long)ms);
        world_run(w, LOOK_MS);
    }
}

static bool is_walking(struct world *w, const void *node)
{
    enum err err;
    const char *status = world_request(w, *(const int *)node, NODE_REQUEST_STATUS, NULL, &err, 100);
    return strstr(status, "\"Phase\":") != NULL;
}

static bool has_walked(struct world *w, const void *node)
{
    return world_counter(w, *(const int *)node, "walks_finished") > 0;
}

enum { PIECE_KEYS = 1250, AHEAD = 16 }; /* PIECE_ENTRIES and WALK_AHEAD in sync */

/* ---- walks --------------------------------------------------------------------------- */

/* Far apart, a walk takes its bytes' time and a few round trips, not one for each
 * piece; what changes at the source meanwhile arrives too. */
static void a_walk_does_not_wait_for_each_piece(void **state)
{
    enum { DELAY = 100, KEYS = 80000, PIECES = 2 * KEYS / PIECE_KEYS };
    struct world *w = world_with(&(struct world_options){.seed = 41, .delay_ms = DELAY}, 1);
    for (int k = 0; k < KEYS; k++)
        put(w, 0, "k", k, "1");
    world_start(w, 1, (int[]){0}, 1);
    int one = 1;
    assert_true(world_until(w, is_walking, &one, 5000));
    uint64_t began = world_now(w);
    for (int k = 0; k < 20; k++) {
        char key[16];
        put(w, 0, "new", k, "1");
        snprintf(key, sizeof key, "k%06d", k * 4000 + 17);
        assert_int_equal(world_delete(w, 0, key), OK);
        put(w, 0, "k", k * 4000 + 18, "2");
        world_run(w, 50);
    }
    assert_true(world_until(w, has_walked, &one, 30000));
    assert_in_range(world_now(w) - began, DELAY, (PIECES / AHEAD + 4) * 2 * DELAY);
    assert_in_range(world_counter(w, 1, "walk_pieces_in"), PIECES, PIECES + 4);
    agree_within(w, 5000);
    assert_int_equal(world_counter(w, 1, "walks_started"), 1);
    assert_null(world_get(w, 1, "k004017"));
    assert_string_equal(world_get(w, 1, "k004018"), "2");
    world_free(w);
}

/* No more pieces are under way than were asked for. */
static void a_walk_stays_in_its_window(void **state)
{
    struct world *w = world_with(&(struct world_options){.seed = 42, .record_us = 100}, 1);
    for (int k = 0; k < 60000; k++)
        put(w, 0, "k", k, "1");
    world_start(w, 1, (int[]){0}, 1);
    int one = 1;
    assert_true(world_until(w, is_walking, &one, 5000));
    uint64_t most = 0;
    for (int i = 0; i < 100; i++) {
        world_run(w, 20);
        enum err err;
        const char *status = world_request(w, 1, NODE_REQUEST_STATUS, NULL, &err, 100);
        const char *done = strstr(status, "\"KeysDone\":");
        if (!done || !strstr(status, "\"Phase\":\"records\""))
            break;
        uint64_t stored = strtoull(done + strlen("\"KeysDone\":"), NULL, 10); /* gone with the next request */
        uint64_t sent = world_counter(w, 0, "walk_pieces_out") * PIECE_KEYS;
        if (sent - stored > most)
            most = sent - stored;
    }
    assert_in_range(most, AHEAD / 2 * PIECE_KEYS, (AHEAD + 1) * PIECE_KEYS); /* and one that is half stored */
    agree_within(w, 60000);
    world_free(w);
}

/* Two nodes with all, and a third that walks, slowly: as long, however many keys there are. */
static struct world *a_slow_walk(uint64_t seed, int keys)
{
    struct world *w = world_with(
        &(struct world_options){.seed = seed, .record_us = (uint64_t)(600000 / keys)}, 2);
    for (int k = 0; k < keys; k++)
        put(w, k % 2, "k", k, "1");
    agree_within(w, 60000);
    world_run(w, 2000);
    world_start(w, 2, (int[]){0, 1}, 2);
    return w;
}

/* All who could go on with a walk leave for good: it ends, and what has come is all there
 * is; when they are back it is done anew. */
static void a_walk_ends_where_nobody_is_left(void **state)
{
    struct world *w = a_slow_walk(48, 12000);
    int two = 2;
    enum err err;
    assert_true(world_until(w, is_walking, &two, 5000));
    for (int i = 0; i < 2; i++)
        world_ask(w, i, NODE_REQUEST_LEAVE, NULL);
    world_run(w, 15000);
    assert_true(is_walking(w, &two));
    world_run(w, 30000);
    assert_false(is_walking(w, &two));
    assert_int_equal(world_counter(w, 2, "walks_finished"), 0);
    assert_true(world_noticed_by(w, 2, "event=walk_stopped"));
    for (int i = 0; i < 2; i++) {
        world_request(w, i, NODE_REQUEST_JOIN, "10.0.0.3:7946", &err, 10000);
        assert_int_equal(err, OK);
    }
    agree_within(w, 60000);
    assert_true(has_walked(w, &two));
    world_free(w);
}

/* The source dies with pieces under way: another one goes on from the last stored. */
static void a_pipelined_walk_outlives_its_source(void **state)
{
    int two = 2;
    for (uint64_t ms = 40; ms < 1200; ms += STEP_MS) {
        for (int victim = 0; victim < 2; victim++) {
            struct world *w = a_slow_walk(43, 12000);
            world_run(w, ms);
            put(w, !victim, "late", 1, "1");
            world_kill(w, victim);
            assert_true(world_until(w, has_walked, &two, 20000));
            agree_within(w, 20000);
            assert_int_equal(world_counter(w, 2, "walks_started"), 1);
            world_free(w);
        }
    }
}

/* The receiver is killed with pieces under way, and goes on where its store stands. */
static void a_pipelined_walk_outlives_its_receiver(void **state)
{
    int two = 2, died = 0, resumed = 0;
    for (uint64_t ms = 40; ms < 1200; ms += STEP_MS, died++) {
        struct world *w = a_slow_walk(44, 12000);
        world_run(w, ms);
        bool walked_before = is_walking(w, &two);
        world_kill(w, 2);
        world_start_alone(w, 2);
        bool walks = is_walking(w, &two);
        world_run(w, 10);
        if (world_members(w, 2, "alive") == 1) { /* killed before it had noted anybody */
            enum err err;
            world_request(w, 2, NODE_REQUEST_JOIN, "10.0.0.2:7946", &err, 10000);
        }
        agree_within(w, 30000);
        if (walked_before && walks) {
            assert_int_equal(world_counter(w, 2, "walks_started"), 0);
            assert_int_equal(world_counter(w, 2, "walks_finished"), 1);
            resumed++;
        }
        world_free(w);
    }
    assert_in_range(resumed, died - 1, died); /* but for one that had not begun its walk */
}

/* Own keys between the source's do not fit one transaction: the walk asks again
 * from where the store stands, and comes to its end. */
static void a_piece_that_does_not_fit_is_asked_for_again(void **state)
{
    struct world *w = world_with(
        &(struct world_options){.seed = 45, .history_ms = 2000, .forget_after_ms = 30000}, 2);
    agree_within(w, 5000);
    world_cut(w, 0, 1, true);
    put(w, 0, "a", 0, "1");
    put(w, 0, "z", 0, "1");
    for (int k = 0; k < 25000; k++)
        put(w, 1, "k", k, "1");
    world_run(w, 90000); /* both have forgotten how they came to that */
    world_cut(w, 0, 1, false);
    agree_within(w, 60000);
    assert_non_null(world_get(w, 0, "k024999"));
    assert_non_null(world_get(w, 1, "z000000"));
    world_free(w);
}

/* How far it is, on the status page, for /ready and in the log. */
static void a_walk_tells_how_far_it_is(void **state)
{
    struct world *w = a_slow_walk(46, 30000);
    int two = 2;
    enum err err;
    assert_true(world_until(w, is_walking, &two, 5000));
    world_run(w, 300);
    const char *ready = world_request(w, 2, NODE_REQUEST_READY, NULL, &err, 100);
    assert_int_equal(err, ERR_WALKING);
    assert_non_null(strstr(ready, "\"KeysTotal\":30000,"));
    assert_null(strstr(ready, "\"KeysDone\":0,"));
    assert_null(strstr(ready, "\"Bytes\":0,"));
    assert_null(strstr(ready, "\"KeysPerSecond\":0,"));
    assert_null(strstr(ready, "\"Percent\":0,"));
    assert_non_null(strstr(ready, "\"Peer\":\"n"));
    const char *status = world_request(w, 2, NODE_REQUEST_STATUS, NULL, &err, 100);
    assert_non_null(strstr(status, "\"Phase\":\"records\""));
    assert_non_null(strstr(status, "\"BytesPerSecond\":"));
    agree_within(w, 30000);
    assert_true(world_noticed(w, "event=walk_finished keys=30000 rows=30000 "));
    world_free(w);

    w = world_with(&(struct world_options){.seed = 47, .record_us = 1000}, 1);
    for (int k = 0; k < 15000; k++)
        put(w, 0, "k", k, "1");
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, 4900);
    assert_false(world_noticed(w, "event=walk_progress"));
    world_run(w, 10000);
    assert_true(world_noticed(w, "event=walk_progress source=n0-"));
    world_free(w);
}

/* ---- room for writes --------------------------------------------------------------------- */

/* While a client writes at the receiver, a write waits for little; while none does,
 * the walk takes all there is, piece by piece as it comes. */
static void bulk_leaves_room_for_writes(void **state)
{
    uint64_t alone_ms = 0;
    for (int writes = 0; writes < 2; writes++) {
        struct world *w = world_with(&(struct world_options){.seed = 48, .record_us = 20}, 1);
        for (int k = 0; k < 60000; k++)
            put(w, 0, "k", k, "1");
        world_start(w, 1, (int[]){0}, 1);
        int one = 1;
        assert_true(world_until(w, is_walking, &one, 5000));
        uint64_t began = world_now(w), longest = 0;
        for (int i = 0; is_walking(w, &one); i++) {
            if (writes) {
                assert_true(world_put(w, 1, "a", "1") !=
                            ERR_FULL);                           /* hidden until the first piece is there */
                if (i > 100 && world_backlog_ms(w, 1) > longest) /* the first finds large slices queued */
                    longest = world_backlog_ms(w, 1);
            }
            world_run(w, 7);
            assert_in_range(i, 0, 5000);
        }
        uint64_t ms = world_now(w) - began;
        if (writes) {
            assert_in_range(longest, 1, 10);
            assert_in_range(ms, alone_ms, 4 * alone_ms);
            assert_in_range(world_counter(w, 1, "sync_slices"), 150, 100000);
        } else {
            assert_int_equal(world_counter(w, 1, "sync_slices"), 0);
        }
        alone_ms = ms;
        agree_within(w, 20000);
        world_free(w);
    }
}

/* The same for a delta: a node that was away takes what it missed in slices. */
static void a_long_delta_leaves_room_too(void **state)
{
    struct world *w = world_with(&(struct world_options){.seed = 49, .record_us = 20}, 2);
    put(w, 0, "k", 0, "1");
    agree_within(w, 1000);
    world_kill(w, 1);
    for (int k = 0; k < 40000; k++)
        put(w, 0, "k", k % 100 ? k : 0, "1");
    world_start_alone(w, 1);
    uint64_t longest = 0;
    for (int i = 0; i < 400; i++) {
        put(w, 1, "mine", i % 10, "1");
        if (i > 50 && world_backlog_ms(w, 1) > longest)
            longest = world_backlog_ms(w, 1);
        world_run(w, 7);
    }
    agree_within(w, 20000);
    assert_in_range(longest, 1, 10);
    assert_in_range(world_counter(w, 1, "sync_slices"), 50, 100000);
    assert_int_equal(world_counter(w, 1, "walks_started"), 0);
    world_free(w);
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* What can be packed is, in a walk and in a long delta, and both sides say so. */
static void wordy_values_travel_packed(void **state)
{
    for (int away = 0; away < 2; away++) {
        struct world *w = world_with(&(struct world_options){.seed = 50}, 1 + away);
        if (away) {
            put(w, 0, "k", 0, "1");
            agree_within(w, 1000);
            world_kill(w, 1);
            world_run(w, 10);
        }
        put_wordy(w, 0, "k", 12000);
        world_forget_bytes(w);
        if (away)
            world_start_alone(w, 1);
        else
            world_start(w, 1, (int[]){0}, 1);
        agree_within(w, 30000);
        assert_int_equal(world_counter(w, 1, "walks_finished"), !away);
        assert_in_range(world_bytes_sent(w, 0, 1), 1, 12000 * VALUE_BYTES / 4);
        assert_in_range(world_counter(w, 0, "sync_raw_bytes_out"), 12000 * VALUE_BYTES,
                        12000 * (VALUE_BYTES + 150));
        assert_int_equal(world_counter(w, 0, "sync_frames_packed"),
                         world_counter(w, 1, "sync_frames_unpacked"));
        world_free(w);
    }
}

/* What cannot be packed is not tried for long. */
static void dense_values_are_not_tried_again_and_again(void **state)
{
    struct world *w = world_with(&(struct world_options){.seed = 51}, 1);
    put_dense(w, 0, "k", 60000);
    world_start(w, 1, (int[]){0}, 1);
    agree_within(w, 30000);
    assert_in_range(world_counter(w, 0, "sync_frames_dull"), 1, 6);
    world_free(w);
}

/* With compression off, a return costs no more than 1.2 times the changed keys and
 * values, hellos and clocks included; and the log tells the bytes. */
static void an_absence_costs_its_bytes(void **state)
{
    enum { MISSED = 2000 };
    struct world *w = world_with(&(struct world_options){.seed = 52, .uncompressed = true}, 3);
    put_dense(w, 0, "some/key/", 20000);
    agree_within(w, 20000);
    world_kill(w, 2);
    put_dense(w, 0, "some/key/", MISSED);
    world_run(w, 1000);
    world_forget_bytes(w);
    world_start_alone(w, 2);
    agree_within(w, 10000);
    world_run(w, 200);
    uint64_t bytes = world_bytes_sent(w, 0, 2) + world_bytes_sent(w, 1, 2),
             data = MISSED * (15 + VALUE_BYTES);
    assert_in_range(bytes, data, data * 12 / 10);
    assert_true(world_noticed(w, "event=caught_up peer=n2-"));
    assert_true(world_noticed(w, " operations=2000 bytes="));
    world_free(w);
}

/* Peers at the same place are sent the same frame, encoded once. */
static void links_share_frames(void **state)
{
    struct world *w = world_with(&(struct world_options){.seed = 53}, 5);
    agree_within(w, 5000);
    uint64_t before = world_counter(w, 0, "sync_frames_shared");
    for (int k = 0; k < 100; k++) {
        put(w, 0, "k", k, "1");
        world_run(w, 3);
    }
    agree_within(w, 5000);
    assert_in_range(world_counter(w, 0, "sync_frames_shared") - before, 250, 300); /* three of four links */
    world_free(w);
}

/* Many writers, one disk that takes them all: the others keep up while it lasts. */
static void lag_stays_bounded_under_load(void **state)
{
    struct world *w = world_with(&(struct world_options){.seed = 54, .record_us = 20}, 3);
    uint64_t most = 0;
    for (int group = 0; group < 1000; group++) {
        for (int k = 0; k < 64; k++)
            put(w, 0, "k", (group * 64 + k) % 5000, "1");
        world_run(w, 3);
        if (group % 50 != 49)
            continue;
        for (int i = 1; i < 3; i++) {
            uint64_t sent = (uint64_t)(group + 1) * 64, has = world_counter(w, i, "sync_rows_in");
            most = sent - has > most ? sent - has : most;
        }
    }
    assert_in_range(most, 0, 64 * 10);
    agree_within(w, 100);
    world_free(w);
}

/* ---- an older protocol ------------------------------------------------------------------------ */

/* A peer of protocol 1 fills and is filled, piece by piece and unpacked. */
static void protocol_1_is_spoken(void **state)
{
    for (int old = 0; old < 2; old++) {
        struct world *w = world_new(&(struct world_options){.seed = 55});
        world_protocol(w, old, 1);
        world_start_alone(w, 0);
        put_wordy(w, 0, "k", 12000);
        world_start(w, 1, (int[]){0}, 1);
        agree_within(w, 30000);
        assert_int_equal(world_counter(w, 1, "walks_finished"), 1);
        world_kill(w, 1);
        put_wordy(w, 0, "m", 3000);
        world_start_alone(w, 1);
        agree_within(w, 30000);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(world_counter(w, i, "sync_frames_packed"), 0);
            assert_int_equal(world_counter(w, i, "sync_frames_malformed"), 0);
        }
        enum err err;
        assert_non_null(
            strstr(world_request(w, !old, NODE_REQUEST_STATUS, NULL, &err, 100), "\"Protocol\":1,"));
        world_free(w);
    }
}

/* Who comes new to what such a walk has left is given that, too: all of it was found early. */
static void who_is_new_after_a_walk_that_ended_early(void **state)
{
    struct world *w = a_slow_walk(49, 12000);
    int two = 2;
    assert_true(world_until(w, is_walking, &two, 5000));
    for (int i = 0; i < 2; i++)
        world_ask(w, i, NODE_REQUEST_LEAVE, NULL);
    world_run(w, 45000);
    assert_false(is_walking(w, &two));
    for (int i = 0; i < 2; i++)
        world_kill(w, i);
    put(w, 2, "own", 0, "1");
    world_start(w, 3, &two, 1);
    agree_within(w, 60000);
    assert_true(world_records(w, 3) > 1);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_walk_does_not_wait_for_each_piece),
        cmocka_unit_test(a_walk_stays_in_its_window),
        cmocka_unit_test(a_pipelined_walk_outlives_its_source),
        cmocka_unit_test(a_pipelined_walk_outlives_its_receiver),
        cmocka_unit_test(a_piece_that_does_not_fit_is_asked_for_again),
        cmocka_unit_test(a_walk_ends_where_nobody_is_left),
        cmocka_unit_test(who_is_new_after_a_walk_that_ended_early),
        cmocka_unit_test(a_walk_tells_how_far_it_is),
        cmocka_unit_test(bulk_leaves_room_for_writes),
        cmocka_unit_test(a_long_delta_leaves_room_too),
        cmocka_unit_test(wordy_values_travel_packed),
        cmocka_unit_test(dense_values_are_not_tried_again_and_again),
        cmocka_unit_test(an_absence_costs_its_bytes),
        cmocka_unit_test(links_share_frames),
        cmocka_unit_test(lag_stays_bounded_under_load),
        cmocka_unit_test(protocol_1_is_spoken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
