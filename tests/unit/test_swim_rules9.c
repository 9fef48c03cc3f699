/* swim: what is believed about members (docs/MEMBERSHIP.md, section 9), one rule a test. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "swim_rig.h"

static void leave(struct rig *r)
{
    struct effects out = {0};
    swim_leave(r->s, r->now, &out);
    effects_done(&out);
}

/* Messages of a type about a node, since the last rig_forget. */
static size_t told_of(const struct rig *r, enum wire_type type, const char *node)
{
    size_t count = 0;
    for (size_t i = 0; i < r->sent_count; i++) {
        const struct wire_message *m = &r->sent[i].m;
        struct bytes about = type == WIRE_ALIVE ? m->alive.node : m->accusation.node;
        count += m->type == type && bytes_equal(about, bytes_str(node));
    }
    return count;
}

/* --- alive --- */

static void rule_9_1_alive_about_ourselves_while_leaving_is_ignored(void **state)
{
    struct rig *r = *state;
    leave(r);
    rig_alive(r, "self", 1, 9);
    assert_int_equal(swim_incarnation(r->s), 1);
    assert_int_equal(rig_state(r, "self"), MEMBER_LEFT);
}

static void rule_9_1_versions_that_cannot_be_are_refused(void **state)
{
    struct rig *r = *state;
    static const uint8_t bad[][3] = {{0, 5, 2}, {1, 0, 2}, {3, 2, 2}};
    for (int i = 0; i < 3; i++)
        rig_feed(r, 2,
                 &(struct wire_message){.type = WIRE_ALIVE,
                                        .alive = {.addr = bytes_of("\x0a\0\0\2", 4),
                                                  .port = 7946,
                                                  .node = bytes_str("pacha"),
                                                  .vsn = bytes_of(bad[i], 3),
                                                  .incarnation = 1}});
    assert_int_equal(rig_state(r, "pacha"), -1);
    assert_int_equal(rig_counter(r, "swim_news_bad_version"), 3);
}

static void rule_9_1_the_application_may_refuse(void **state)
{
    struct rig *r = *state;
    r->blocked = "pacha";
    rig_alive(r, "pacha", 2, 1);
    assert_int_equal(rig_state(r, "pacha"), -1);
}

/* It is as if known and dead at incarnation 0, so that 0 is no news. */
static void rule_9_2_an_unknown_member_needs_an_incarnation_above_0(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 0);
    assert_int_equal(rig_state(r, "pacha"), -1);
    rig_alive(r, "pacha", 2, 1);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
    assert_int_equal(rig_events(r, SWIM_JOINED), 1);
}

static void rule_9_3_another_address_of_a_living_member_is_a_conflict(void **state)
{
    struct rig *r = *state;
    struct swim_member member;
    rig_alive(r, "pacha", 2, 4);
    rig_alive(r, "pacha", 3, 9);
    assert_int_equal(rig_events(r, SWIM_CONFLICT), 1);
    rig_alive(r, "pacha", 3, 10); /* counted, not told again */
    assert_int_equal(rig_events(r, SWIM_CONFLICT), 0);
    assert_int_equal(rig_counter(r, "swim_conflicts"), 2);
    assert_true(swim_find(r->s, bytes_str("pacha"), &member));
    assert_int_equal(member.incarnation, 4);
    assert_int_equal(member.addr.ip[3], 2);
}

/* The port counts as well, and the two forms of an IPv4 address do not. */
static void rule_9_3_what_another_address_is(void **state)
{
    struct rig *r = *state;
    static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 2};
    struct wire_message m = {.type = WIRE_ALIVE,
                             .alive = {.addr = bytes_of(mapped, sizeof mapped),
                                       .port = 7946,
                                       .node = bytes_str("pacha"),
                                       .incarnation = 2}};
    rig_alive(r, "pacha", 2, 1);
    rig_feed(r, 2, &m);
    assert_int_equal(rig_incarnation(r, "pacha"), 2);
    m.alive.port = 7947;
    m.alive.incarnation = 3;
    rig_feed(r, 2, &m);
    assert_int_equal(rig_incarnation(r, "pacha"), 2);
    assert_int_equal(rig_events(r, SWIM_CONFLICT), 1);
}

/* About ourselves with an incarnation that we have left behind: a former life of ours,
 * and no other node. */
static void rule_9_3_a_former_life_is_no_conflict(void **state)
{
    struct rig *r = *state;
    rig_suspect(r, "self", 1, "pacha");
    assert_int_equal(swim_incarnation(r->s), 2);
    rig_alive(r, "self", 9, 1);
    assert_int_equal(rig_events(r, SWIM_CONFLICT), 0);
    rig_alive(r, "self", 9, 2);
    assert_int_equal(rig_events(r, SWIM_CONFLICT), 1);
}

/* Whatever its incarnation: memberlist's members start again at 1. */
static void rule_9_3_one_that_left_may_come_back_anywhere(void **state)
{
    struct rig *r = *state;
    struct swim_member member;
    rig_alive(r, "pacha", 2, 5);
    rig_dead(r, "pacha", 5, "pacha");
    rig_alive(r, "pacha", 4, 1);
    assert_true(swim_find(r->s, bytes_str("pacha"), &member));
    assert_int_equal(member.state, MEMBER_ALIVE);
    assert_int_equal(member.incarnation, 1);
    assert_int_equal(member.addr.ip[3], 4);
}

/* Our departure: memberlist never gives a dead member's name to another address. */
static void rule_9_3_a_dead_one_comes_back_elsewhere_with_newer_news(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 5);
    rig_dead(r, "pacha", 5, "kronk");
    rig_alive(r, "pacha", 4, 5);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_DEAD);
    rig_alive(r, "pacha", 4, 6);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
}

static void rule_9_4_others_need_a_higher_incarnation(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 4);
    rig_alive_meta(r, "pacha", 2, 4, "same");
    rig_alive_meta(r, "pacha", 2, 3, "lower");
    assert_int_equal(rig_events(r, SWIM_UPDATED), 0);
    rig_alive_meta(r, "pacha", 2, 5, "higher");
    assert_int_equal(rig_events(r, SWIM_UPDATED), 1);
}

static void rule_9_4_we_need_none_below_ours(void **state)
{
    struct rig *r = *state;
    rig_suspect(r, "self", 6, "pacha"); /* we are at 7 now */
    rig_alive_meta(r, "self", 1, 6, "of a former life");
    assert_int_equal(swim_incarnation(r->s), 7);
}

static void rule_9_5_the_suspicion_is_dropped(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_suspect(r, "pacha", 1, "kronk");
    rig_alive(r, "pacha", 2, 2);
    assert_int_equal(rig_events(r, SWIM_CLEARED), 1);
    for (int i = 0; i < 60; i++) { /* its probes are answered meanwhile */
        rig_run(r, r->now + 100);
        if (rig_find(r, WIRE_PING))
            rig_ack(r, 2, rig_find(r, WIRE_PING)->m.ping.seq);
        rig_forget(r);
    }
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
}

static void rule_9_6_our_own_echo_is_ignored_and_all_else_refuted(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "self", 1, 1);
    assert_int_equal(swim_incarnation(r->s), 1);
    rig_alive_meta(r, "self", 1, 1, "another meta");
    assert_int_equal(swim_incarnation(r->s), 2);
    rig_alive(r, "self", 1, 30);
    assert_int_equal(swim_incarnation(r->s), 31);
}

static void rule_9_6_news_of_others_is_taken_over_and_passed_on(void **state)
{
    struct rig *r = *state;
    struct swim_member member;
    static const uint8_t vsn[6] = {1, 4, 3, 2, 9, 5};
    rig_alive(r, "pacha", 2, 1);
    rig_quiet_down(r);
    rig_feed(r, 2,
             &(struct wire_message){.type = WIRE_ALIVE,
                                    .alive = {.addr = bytes_of("\x0a\0\0\2", 4),
                                              .port = 7946,
                                              .meta = bytes_str("new"),
                                              .node = bytes_str("pacha"),
                                              .vsn = bytes_of(vsn, 6),
                                              .incarnation = 2}});
    assert_true(swim_find(r->s, bytes_str("pacha"), &member));
    assert_memory_equal(member.vsn, vsn, 6);
    assert_true(bytes_equal(member.meta, bytes_str("new")));
    assert_int_equal(rig_events(r, SWIM_UPDATED), 1);
    rig_run(r, r->now + 200);
    assert_int_equal(told_of(r, WIRE_ALIVE, "pacha"), 1);
    assert_true(bytes_equal(rig_find(r, WIRE_ALIVE)->m.alive.vsn, bytes_of(vsn, 6)));
}

/* Fewer than six versions leave the known ones; unknown ones are not told on as zeros. */
static void rule_9_6_versions_that_do_not_come(void **state)
{
    struct rig *r = *state;
    struct swim_member member;
    static const uint8_t known[6] = {1, 5, 2}, none[6];
    struct wire_message m = {
        .type = WIRE_ALIVE,
        .alive = {
            .addr = bytes_of("\x0a\0\0\2", 4), .port = 7946, .node = bytes_str("pacha"), .incarnation = 2}};
    rig_alive(r, "pacha", 2, 1);
    rig_feed(r, 2, &m);
    assert_true(swim_find(r->s, bytes_str("pacha"), &member));
    assert_memory_equal(member.vsn, known, 6);
    rig_quiet_down(r);

    m.alive.node = bytes_str("kronk");
    rig_feed(r, 3, &m);
    assert_true(swim_find(r->s, bytes_str("kronk"), &member));
    assert_memory_equal(member.vsn, none, 6);
    rig_run(r, r->now + 200);
    assert_int_equal(rig_find(r, WIRE_ALIVE)->m.alive.vsn.len, 0);
}

static void rule_9_6_back_from_death_is_a_join(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_dead(r, "pacha", 1, "kronk");
    rig_events(r, SWIM_JOINED);
    rig_alive_meta(r, "pacha", 2, 2, "changed too");
    assert_int_equal(rig_events(r, SWIM_JOINED), 1);
}

/* --- suspect --- */

static void rule_9_7_a_suspicion_of_the_unknown_or_of_old_is_ignored(void **state)
{
    struct rig *r = *state;
    rig_suspect(r, "ghost", 1, "kronk");
    assert_int_equal(swim_count(r->s), 1);
    rig_alive(r, "pacha", 2, 4);
    rig_suspect(r, "pacha", 3, "kronk");
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
}

static void rule_9_8_only_a_new_accuser_is_passed_on(void **state)
{
    struct rig *r = *state;
    rig_members(r, 3);
    rig_suspect(r, "a", 1, "b");
    rig_quiet_down(r);
    rig_suspect(r, "a", 1, "b");
    rig_run(r, r->now + 200);
    assert_int_equal(told_of(r, WIRE_SUSPECT, "a"), 0);
    rig_suspect(r, "a", 1, "c");
    rig_run(r, r->now + 200);
    assert_true(told_of(r, WIRE_SUSPECT, "a") > 0);
}

static void rule_9_9_the_dead_and_the_left_are_not_suspected(void **state)
{
    struct rig *r = *state;
    rig_members(r, 2);
    rig_dead(r, "a", 1, "b");
    rig_dead(r, "b", 1, "b");
    rig_suspect(r, "a", 5, "c");
    rig_suspect(r, "b", 5, "c");
    assert_int_equal(rig_state(r, "a"), MEMBER_DEAD);
    assert_int_equal(rig_state(r, "b"), MEMBER_LEFT);
    assert_int_equal(rig_incarnation(r, "a"), 1);
}

static void rule_9_9_we_refute(void **state)
{
    struct rig *r = *state;
    rig_suspect(r, "self", 1, "pacha");
    assert_int_equal(rig_state(r, "self"), MEMBER_ALIVE);
    assert_int_equal(swim_incarnation(r->s), 2);
}

static void rule_9_10_a_suspicion_is_passed_on_and_timed(void **state)
{
    struct rig *r = *state;
    struct swim_member member;
    rig_alive(r, "pacha", 2, 1);
    rig_quiet_down(r);
    uint64_t start = r->now;
    rig_suspect(r, "pacha", 3, "kronk");
    assert_true(swim_find(r->s, bytes_str("pacha"), &member));
    assert_int_equal(member.state, MEMBER_SUSPECT);
    assert_int_equal(member.incarnation, 3);
    assert_int_equal(member.since_ms, start);
    rig_run(r, start + 200);
    assert_int_equal(told_of(r, WIRE_SUSPECT, "pacha"), 1);
    assert_true(bytes_equal(rig_find(r, WIRE_SUSPECT)->m.accusation.from, bytes_str("kronk")));
    rig_run(r, start + 3999);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_SUSPECT);
    rig_run(r, start + 4000);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_DEAD);
}

/* --- dead --- */

static void rule_9_11_death_of_the_unknown_of_old_or_twice_is_ignored(void **state)
{
    struct rig *r = *state;
    rig_dead(r, "ghost", 1, "kronk");
    assert_int_equal(swim_count(r->s), 1);
    rig_alive(r, "pacha", 2, 4);
    rig_dead(r, "pacha", 3, "kronk");
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
    rig_dead(r, "pacha", 4, "kronk");
    rig_dead(r, "pacha", 9, "pacha");
    assert_int_equal(rig_state(r, "pacha"), MEMBER_DEAD);
    assert_int_equal(rig_incarnation(r, "pacha"), 4);
}

static void rule_9_12_we_refute_our_death(void **state)
{
    struct rig *r = *state;
    rig_dead(r, "self", 1, "pacha");
    assert_int_equal(rig_state(r, "self"), MEMBER_ALIVE);
    assert_int_equal(swim_incarnation(r->s), 2);
}

static void rule_9_13_who_says_it_itself_has_left(void **state)
{
    struct rig *r = *state;
    rig_members(r, 2);
    rig_dead(r, "a", 3, "a");
    rig_dead(r, "b", 4, "a");
    assert_int_equal(rig_state(r, "a"), MEMBER_LEFT);
    assert_int_equal(rig_incarnation(r, "a"), 3);
    assert_int_equal(rig_state(r, "b"), MEMBER_DEAD);
    assert_int_equal(rig_incarnation(r, "b"), 4);
}

/* To the dead one itself, as it died only now: it may contradict. */
static void rule_9_13_a_death_is_passed_on_and_ends_the_suspicion(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_suspect(r, "pacha", 1, "kronk");
    rig_quiet_down(r);
    rig_dead(r, "pacha", 1, "kronk");
    assert_int_equal(rig_events(r, SWIM_DEAD), 1);
    rig_run(r, r->now + 200);
    assert_int_equal(told_of(r, WIRE_DEAD, "pacha"), 1);
    rig_run(r, r->now + 10000);
    assert_int_equal(rig_events(r, SWIM_DEAD), 0);
}

/* --- refuting, restarting --- */

static void rule_9_14_a_refutation_stands_above_the_accusation(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_quiet_down(r);
    rig_suspect(r, "self", 7, "pacha");
    assert_int_equal(swim_incarnation(r->s), 8);
    assert_int_equal(swim_health(r->s), 1);
    assert_int_equal(rig_events(r, SWIM_REFUTED), 1);
    rig_run(r, r->now + 200);
    assert_int_equal(told_of(r, WIRE_ALIVE, "self"), 1);
    assert_int_equal(rig_find(r, WIRE_ALIVE)->m.alive.incarnation, 8);
}

/* What memberlist says after it: its members come back with 1. */
static void rule_9_15_a_node_that_forgot_refutes_its_own_past(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "self", 1, 40);
    assert_int_equal(swim_incarnation(r->s), 41);
    rig_dead(r, "self", 50, "self"); /* it had left */
    assert_int_equal(swim_incarnation(r->s), 51);
    assert_int_equal(rig_state(r, "self"), MEMBER_ALIVE);
}

static void rule_9_16_the_name_is_free_once_its_owner_is_down(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 4);
    rig_suspect(r, "pacha", 4, "kronk");
    rig_alive(r, "pacha", 3, 5);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_SUSPECT);
    rig_run(r, r->now + 4000);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_DEAD);
    rig_alive(r, "pacha", 3, 5);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
}

/* --- leaving --- */

static void rule_9_17_a_leave_is_told_until_it_is_told_enough(void **state)
{
    struct rig *r = *state;
    rig_members(r, 2);
    rig_quiet_down(r);
    leave(r);
    assert_int_equal(rig_state(r, "self"), MEMBER_LEFT);
    assert_false(swim_left_done(r->s));
    rig_run(r, r->now + 400); /* twice to both: the four transmissions of a small cluster */
    assert_int_equal(told_of(r, WIRE_DEAD, "self"), 4);
    assert_true(bytes_equal(rig_find(r, WIRE_DEAD)->m.accusation.from, bytes_str("self")));
    assert_true(swim_left_done(r->s));
}

static void rule_9_17_alone_it_is_told_at_once(void **state)
{
    struct rig *r = *state;
    leave(r);
    assert_true(swim_left_done(r->s));
}

static void rule_9_17_one_that_leaves_goes_on_probing_and_answering(void **state)
{
    struct rig *r = *state;
    rig_members(r, 1);
    leave(r);
    rig_feed(r, 2, &(struct wire_message){.type = WIRE_PING, .ping = {.node = bytes_str("self"), .seq = 3}});
    assert_int_equal(rig_find(r, WIRE_ACK)->m.ack.seq, 3);
    assert_int_equal(rig_next(r, WIRE_PING)->to.ip[3], 2);
}

static void rule_9_17_nobody_gossips_to_one_that_left(void **state)
{
    struct rig *r = *state;
    rig_members(r, 2);
    rig_dead(r, "a", 1, "a");
    rig_forget(r);
    rig_run(r, r->now + 900);
    assert_true(r->sent_count > 0);
    for (size_t i = 0; i < r->sent_count; i++)
        assert_int_equal(r->sent[i].to.ip[3], 3);
}

/* --- reaping --- */

/* Of the dead and of the left, at the end of a round: with nobody to probe, of each tick. */
static void rule_9_18_the_gone_are_forgotten_after_their_time(void **state)
{
    struct rig *r = *state;
    rig_members(r, 2);
    uint64_t gone = r->now;
    rig_dead(r, "a", 1, "c");
    rig_dead(r, "b", 1, "b");
    rig_run(r, gone + 30000);
    assert_int_equal(rig_state(r, "a"), MEMBER_DEAD);
    assert_int_equal(rig_state(r, "b"), MEMBER_LEFT);
    rig_run(r, gone + 31001);
    assert_int_equal(rig_state(r, "a"), -1);
    assert_int_equal(rig_state(r, "b"), -1);
    assert_int_equal(rig_events(r, SWIM_REAPED), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rule_9_1_alive_about_ourselves_while_leaving_is_ignored),
        TEST(rule_9_1_versions_that_cannot_be_are_refused),
        TEST(rule_9_1_the_application_may_refuse),
        TEST(rule_9_2_an_unknown_member_needs_an_incarnation_above_0),
        TEST(rule_9_3_another_address_of_a_living_member_is_a_conflict),
        TEST(rule_9_3_what_another_address_is),
        TEST(rule_9_3_a_former_life_is_no_conflict),
        TEST(rule_9_3_one_that_left_may_come_back_anywhere),
        TEST(rule_9_3_a_dead_one_comes_back_elsewhere_with_newer_news),
        TEST(rule_9_4_others_need_a_higher_incarnation),
        TEST(rule_9_4_we_need_none_below_ours),
        TEST(rule_9_5_the_suspicion_is_dropped),
        TEST(rule_9_6_our_own_echo_is_ignored_and_all_else_refuted),
        TEST(rule_9_6_news_of_others_is_taken_over_and_passed_on),
        TEST(rule_9_6_versions_that_do_not_come),
        TEST(rule_9_6_back_from_death_is_a_join),
        TEST(rule_9_7_a_suspicion_of_the_unknown_or_of_old_is_ignored),
        TEST(rule_9_8_only_a_new_accuser_is_passed_on),
        TEST(rule_9_9_the_dead_and_the_left_are_not_suspected),
        TEST(rule_9_9_we_refute),
        TEST(rule_9_10_a_suspicion_is_passed_on_and_timed),
        TEST(rule_9_11_death_of_the_unknown_of_old_or_twice_is_ignored),
        TEST(rule_9_12_we_refute_our_death),
        TEST(rule_9_13_who_says_it_itself_has_left),
        TEST(rule_9_13_a_death_is_passed_on_and_ends_the_suspicion),
        TEST(rule_9_14_a_refutation_stands_above_the_accusation),
        TEST(rule_9_15_a_node_that_forgot_refutes_its_own_past),
        TEST(rule_9_16_the_name_is_free_once_its_owner_is_down),
        TEST(rule_9_17_a_leave_is_told_until_it_is_told_enough),
        TEST(rule_9_17_alone_it_is_told_at_once),
        TEST(rule_9_17_one_that_leaves_goes_on_probing_and_answering),
        TEST(rule_9_17_nobody_gossips_to_one_that_left),
        TEST(rule_9_18_the_gone_are_forgotten_after_their_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
