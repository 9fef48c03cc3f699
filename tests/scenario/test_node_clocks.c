/* Nodes whose wall clocks differ, and nodes that only seem to: in virtual time. (When what is
 * over is dropped: test_node_by_hand.c.) */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HOUR 3600000

static struct world *three(uint64_t seed)
{
    struct world *w = world_new(&(struct world_options){.seed = seed});
    world_start_alone(w, 0);
    for (int i = 1; i < 3; i++)
        world_start(w, i, (int[]){0}, 1);
    world_run(w, 3000);
    return w;
}

static bool drops(struct world *w, int i)
{
    enum err err;
    const char *status = world_request(w, i, NODE_REQUEST_STATUS, NULL, &err, 1000);
    assert_int_equal(err, OK);
    return strstr(status, "\"DropsExpired\":true");
}

/* One that is paused until as many frames wait as may reads its links no more. What its peers
 * tell of their time meanwhile it reads ten minutes later, all in one go. */
static void what_is_read_late_is_no_wrong_clock(void **state)
{
    enum err err;
    char key[16];
    struct world *w = three(81);
    world_request(w, 1, NODE_REQUEST_PAUSE, NULL, &err, 1000);
    for (int k = 0; k < 100; k++) {
        snprintf(key, sizeof key, "k%d", k);
        assert_int_equal(world_put(w, 0, key, "1"), OK);
        world_run(w, 20);
    }
    world_run(w, 600000);
    world_request(w, 1, NODE_REQUEST_RESUME, NULL, &err, 1000);
    assert_true(world_until(w, world_agrees, NULL, 20000));
    world_run(w, 120000);
    assert_false(world_noticed(w, "event=clock_differs"));
    assert_true(drops(w, 1));
    world_free(w);
}

/* Found out by the second message after, at the latest. */
static void a_clock_that_is_set_back_is_found_out(void **state)
{
    struct world *w = three(82);
    world_run(w, 60000);
    world_clock_offset(w, 2, -HOUR);
    world_run(w, 130000);
    for (int i = 0; i < 3; i++)
        assert_true(world_noticed_by(w, i, "event=clock_differs"));
    assert_false(drops(w, 2));
    world_clock_offset(w, 2, 0);
    world_run(w, 130000);
    for (int i = 0; i < 3; i++) {
        assert_true(world_noticed_by(w, i, "event=clock_agrees"));
        assert_true(drops(w, i));
    }
    world_free(w);
}

/* Of two others one has a wrong clock: nobody can tell which, and nothing is dropped until that
 * one is gone for good. Who is left alone goes on by what was told last. */
static void who_is_gone_counts_no_more(void **state)
{
    enum err err;
    struct world *w = three(83);
    world_clock_offset(w, 2, HOUR);
    world_run(w, 70000);
    for (int i = 0; i < 3; i++)
        assert_false(drops(w, i));
    world_request(w, 2, NODE_REQUEST_LEAVE, NULL, &err, 10000);
    world_run(w, 5000);
    assert_true(drops(w, 0));
    assert_true(drops(w, 1));

    world_clock_offset(w, 0, HOUR);
    world_run(w, 70000);
    assert_false(drops(w, 0));
    world_request(w, 1, NODE_REQUEST_LEAVE, NULL, &err, 10000);
    world_run(w, 70000);
    assert_false(drops(w, 0));
    world_free(w);
}

/* A store whose node knows of nobody yet, as one that was restored from a backup: at its start it
 * may be about to join a cluster, and to learn there that its clock is wrong. What it drops before
 * that may be lost to all of them. */
static void who_knows_nobody_waits_for_whom_it_is_about_to_meet(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 84});
    world_start_alone(w, 0);
    world_start_alone(w, 1);
    assert_int_equal(world_put_expiring(w, 1, "k", "1", HOUR / 2), OK);
    world_kill(w, 1);
    world_clock_offset(w, 1, HOUR);
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, 120000);
    assert_true(world_noticed_by(w, 1, "event=clock_differs"));
    assert_int_equal(world_versions(w, 0, "k"), 1);
    assert_int_equal(world_versions(w, 1, "k"), 1);
    world_free(w);
}

/* It may have been the one that left whose clock was wrong, or ours may have lost time while
 * the whole machine stood still: nobody is there to say so, ever. */
static void who_has_left_is_believed_for_a_while(void **state)
{
    enum err err;
    struct world *w = world_new(&(struct world_options){.seed = 85, .forget_after_ms = 600000});
    world_clock_offset(w, 1, HOUR);
    world_start_alone(w, 0);
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, 3000);
    world_request(w, 1, NODE_REQUEST_LEAVE, NULL, &err, 10000);
    world_run(w, 500000);
    assert_false(drops(w, 0));
    world_run(w, 120000);
    assert_true(drops(w, 0));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_late_is_no_wrong_clock),
        cmocka_unit_test(a_clock_that_is_set_back_is_found_out),
        cmocka_unit_test(who_is_gone_counts_no_more),
        cmocka_unit_test(who_knows_nobody_waits_for_whom_it_is_about_to_meet),
        cmocka_unit_test(who_has_left_is_believed_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
