/* swim: how long a suspicion lasts (docs/MEMBERSHIP.md, section 11), one rule a test. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "suspicion.h"
#include "swim_rig.h"

static struct suspicion begun(const struct swim_profile *profile, size_t n)
{
    struct suspicion s = {0};
    suspicion_start(&s, profile, n, 0, 1);
    return s;
}

/* Answers every probe, also the suspect's, so that we suspect nobody ourselves. */
static void run_answering(struct rig *r, uint64_t until)
{
    while (r->now < until) {
        rig_forget(r);
        rig_run(r, r->now + 50 < until ? r->now + 50 : until);
        for (size_t i = 0, count = r->sent_count; i < count; i++)
            if (r->sent[i].m.type == WIRE_PING)
                rig_ack(r, r->sent[i].to.ip[3], r->sent[i].m.ping.seq);
    }
}

static void rule_11_1_confirmations_are_expected_where_somebody_can_give_them(void **state)
{
    assert_int_equal(begun(&swim_profile_lan, 3).k, 0);
    assert_int_equal(begun(&swim_profile_lan, 4).k, 2);
    assert_int_equal(begun(&swim_profile_lan, 1000).k, 2);
    assert_int_equal(begun(&swim_profile_wan, 5).k, 0);
    assert_int_equal(begun(&swim_profile_wan, 6).k, 4);
    assert_int_equal(begun(&swim_profile_local, 2).k, 0);
    assert_int_equal(begun(&swim_profile_local, 3).k, 1);
}

/* The logarithm is cut to three decimals: 4 * 1.477 s for 30. */
static void rule_11_2_the_shortest_time_grows_with_the_logarithm(void **state)
{
    const struct {
        size_t n;
        uint64_t ms;
    } table[] = {{1, 4000}, {10, 4000}, {11, 4164}, {30, 5908}, {100, 8000}, {1000, 12000}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_int_equal(begun(&swim_profile_lan, table[i].n).min_ms, table[i].ms);
    assert_int_equal(begun(&swim_profile_wan, 5).min_ms, 30000);
    assert_int_equal(begun(&swim_profile_local, 5).min_ms, 3000);
}

static void rule_11_3_it_begins_with_the_longest_unless_nobody_can_confirm(void **state)
{
    struct suspicion of_ten = begun(&swim_profile_lan, 10), of_three = begun(&swim_profile_lan, 3);
    struct suspicion far = begun(&swim_profile_wan, 6), near = begun(&swim_profile_local, 3);
    assert_int_equal(suspicion_deadline(&of_ten), 24000);
    assert_int_equal(suspicion_deadline(&of_three), 4000);
    assert_int_equal(suspicion_deadline(&far), 180000);
    assert_int_equal(suspicion_deadline(&near), 18000);
}

static void rule_11_4_each_confirmation_shortens_it(void **state)
{
    struct rig *r = *state;
    rig_members(r, 5);
    uint64_t start = r->now;
    rig_suspect(r, "a", 1, "b");
    run_answering(r, start + 3000);
    rig_suspect(r, "a", 1, "c"); /* 24 - 20 * ln 2 / ln 3 s from the start */
    run_answering(r, start + 11380);
    assert_int_equal(rig_state(r, "a"), MEMBER_SUSPECT);
    run_answering(r, start + 11381);
    assert_int_equal(rig_state(r, "a"), MEMBER_DEAD);
}

/* Four seconds were the time: it is over at once. */
static void rule_11_4_a_late_confirmation_ends_it(void **state)
{
    struct rig *r = *state;
    rig_members(r, 5);
    uint64_t start = r->now;
    rig_suspect(r, "a", 1, "b");
    run_answering(r, start + 900); /* before the first probe: it would confirm */
    rig_suspect(r, "a", 1, "c");
    rig_suspect(r, "a", 1, "d");
    run_answering(r, start + 3999);
    assert_int_equal(rig_state(r, "a"), MEMBER_SUSPECT);
    run_answering(r, start + 4000);
    assert_int_equal(rig_state(r, "a"), MEMBER_DEAD);
}

static void rule_11_5_more_than_enough_are_neither_counted_nor_passed_on(void **state)
{
    struct suspicion s = begun(&swim_profile_lan, 10);
    assert_false(suspicion_confirm(&s, 1)); /* who began it */
    assert_true(suspicion_confirm(&s, 2));
    assert_false(suspicion_confirm(&s, 2));
    assert_true(suspicion_confirm(&s, 3));
    assert_false(suspicion_confirm(&s, 4));

    struct rig *r = *state;
    rig_members(r, 5);
    for (char by = 'b'; by <= 'd'; by++)
        rig_suspect(r, "a", 1, (char[]){by, 0});
    rig_run(r, r->now + 950);
    rig_forget(r);
    rig_suspect(r, "a", 1, "e");
    rig_run(r, r->now + 40);
    assert_int_equal(rig_count(r, WIRE_SUSPECT), 0);
}

/* By ourselves, with the incarnation that was suspected. */
static void rule_11_6_when_it_is_over_the_suspect_is_dead(void **state)
{
    struct rig *r = *state;
    rig_members(r, 1);
    uint64_t start = r->now;
    rig_suspect(r, "a", 1, "kronk");
    rig_run(r, start + 3999);
    rig_forget(r);
    rig_run(r, start + 4200);
    const struct rig_sent *dead = rig_find(r, WIRE_DEAD);
    assert_non_null(dead);
    assert_true(bytes_equal(dead->m.accusation.from, bytes_str("self")));
    assert_int_equal(dead->m.accusation.incarnation, 1);
}

/* A suspicion that was cleared meanwhile and came again has its whole time again. */
static void rule_11_6_only_since_that_moment(void **state)
{
    struct rig *r = *state;
    rig_members(r, 1);
    uint64_t start = r->now;
    rig_suspect(r, "a", 1, "kronk");
    rig_run(r, start + 900);
    rig_alive(r, "a", 2, 2);
    rig_suspect(r, "a", 2, "kronk");
    rig_run(r, start + 4899);
    assert_int_equal(rig_state(r, "a"), MEMBER_SUSPECT);
    rig_run(r, start + 4900);
    assert_int_equal(rig_state(r, "a"), MEMBER_DEAD);
}

/* Our departure: memberlist counts the dead until they are forgotten, and would wait
 * 24 s here for confirmations that nobody is left to give. */
static void rule_11_7_the_dead_do_not_count(void **state)
{
    struct rig *r = *state;
    rig_members(r, 5);
    for (char gone = 'b'; gone <= 'e'; gone++)
        rig_dead(r, (char[]){gone, 0}, 1, "kronk");
    uint64_t start = r->now;
    rig_suspect(r, "a", 1, "kronk");
    rig_run(r, start + 3999);
    assert_int_equal(rig_state(r, "a"), MEMBER_SUSPECT);
    rig_run(r, start + 4000);
    assert_int_equal(rig_state(r, "a"), MEMBER_DEAD);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rule_11_1_confirmations_are_expected_where_somebody_can_give_them),
        TEST(rule_11_2_the_shortest_time_grows_with_the_logarithm),
        TEST(rule_11_3_it_begins_with_the_longest_unless_nobody_can_confirm),
        TEST(rule_11_4_each_confirmation_shortens_it),
        TEST(rule_11_4_a_late_confirmation_ends_it),
        TEST(rule_11_5_more_than_enough_are_neither_counted_nor_passed_on),
        TEST(rule_11_6_when_it_is_over_the_suspect_is_dead),
        TEST(rule_11_6_only_since_that_moment),
        TEST(rule_11_7_the_dead_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
