/* What the experiments are made of: samples, and clusters that are formed already. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "crowd.h"
#include "samples.h"

/* Percentiles are of the samples themselves, the smallest that enough do not pass. */
static void percentiles_are_samples(void **state)
{
    struct samples s = {0};
    assert_int_equal(samples_at(&s, 50000), UINT64_MAX);
    for (uint64_t i = 1000; i > 0; i--)
        samples_add(&s, i);

    assert_int_equal(samples_at(&s, 50000), 500);
    assert_int_equal(samples_at(&s, 99900), 999);
    assert_int_equal(samples_at(&s, 99901), 1000);
    assert_int_equal(samples_at(&s, 100000), 1000);
    assert_int_equal(samples_at(&s, 0), 1);
    assert_true(samples_mean(&s) > 500.4 && samples_mean(&s) < 500.6);
    samples_done(&s);
}

struct told {
    size_t bad, deaths;
};

static void on_told(void *ctx, size_t node, uint64_t now, const struct swim_event *event)
{
    struct told *told = ctx;
    told->bad += event->kind != SWIM_DEAD;
    told->deaths += event->kind == SWIM_DEAD && crowd_number(event->name) == 3;
}

/* A cluster is formed at once, and nothing happens in it by itself. */
static void a_crowd_is_formed_and_calm(void **state)
{
    struct told told = {0};
    struct crowd *c = crowd_new(&(struct crowd_config){
        .members = 40, .profile = &swim_profile_lan, .seed = 1, .ctx = &told, .told = on_told});
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(swim_count(crowd_swim(c, i)), 40);

    crowd_run(c, 60000);

    assert_int_equal(told.bad + told.deaths, 0);
    assert_true(crowd_counter(c, 7, "swim_probes") >= 58);
    assert_int_equal(crowd_counter(c, 7, "swim_probes_failed"), 0);
    crowd_free(c);
}

/* A death is found by all, once each. */
static void a_death_is_told_by_all(void **state)
{
    struct told told = {0};
    struct crowd *c = crowd_new(&(struct crowd_config){
        .members = 10, .profile = &swim_profile_lan, .seed = 1, .ctx = &told, .told = on_told});
    crowd_kill(c, 3);
    crowd_run(c, 30000);
    assert_int_equal(told.deaths, 9);
    crowd_free(c);
}

/* Stand-ins pass for members: they are probed and exchanged with, and not suspected. */
static void stand_ins_pass_for_members(void **state)
{
    struct told told = {0};
    struct crowd *c = crowd_new(&(struct crowd_config){
        .members = 30, .whole = 2, .profile = &swim_profile_lan, .seed = 1, .ctx = &told, .told = on_told});
    crowd_run(c, 120000);

    assert_int_equal(told.bad + told.deaths, 0);
    assert_int_equal(crowd_counter(c, 0, "swim_probes_failed"), 0);
    assert_true(crowd_counter(c, 0, "swim_exchanges") >= 2);
    assert_int_equal(crowd_counter(c, 0, "swim_streams_timed_out"), 0);
    crowd_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_samples),
        cmocka_unit_test(a_crowd_is_formed_and_calm),
        cmocka_unit_test(a_death_is_told_by_all),
        cmocka_unit_test(stand_ins_pass_for_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
