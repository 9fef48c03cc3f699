/* swim: what is believed about members, one rule a test. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "swim_rig.h"

/* --- alive --- */

/* A new member joins, and the news is passed on to it and others. */
static void news_of_a_new_member_is_passed_on(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 4);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
    assert_int_equal(rig_events(r, SWIM_JOINED), 1);
    rig_run(r, r->now + 200);
    assert_int_equal(rig_count(r, WIRE_ALIVE), 2); /* it, and ourselves */
}

/* The same or older news changes nothing and is not passed on. */
static void stale_alive_is_ignored(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 4);
    rig_quiet_down(r);
    rig_events(r, SWIM_JOINED);

    rig_alive_meta(r, "pacha", 2, 4, "other");
    rig_alive_meta(r, "pacha", 2, 3, "other");

    assert_int_equal(rig_events(r, SWIM_UPDATED), 0);
    rig_run(r, r->now + 1000);
    assert_int_equal(rig_count(r, WIRE_ALIVE), 0);
    rig_alive_meta(r, "pacha", 2, 5, "other");
    assert_int_equal(rig_events(r, SWIM_UPDATED), 1);
}

/* News with a lower or equal incarnation never revives a dead member. */
static void stale_alive_does_not_revive(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 4);
    rig_dead(r, "pacha", 5, "kronk");
    rig_alive(r, "pacha", 2, 4);
    rig_alive(r, "pacha", 2, 5);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_DEAD);
    rig_alive(r, "pacha", 2, 6);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
}

/* A living member's name at another address is a conflict; a dead one's is taken
 * with a newer incarnation, one that left comes back with any. */
static void members_move_only_when_down(void **state)
{
    struct rig *r = *state;
    struct swim_member member;
    rig_alive(r, "pacha", 2, 4);
    rig_alive(r, "pacha", 3, 9);
    assert_int_equal(rig_events(r, SWIM_CONFLICT), 1);
    assert_int_equal(rig_incarnation(r, "pacha"), 4);

    rig_dead(r, "pacha", 4, "kronk");
    rig_alive(r, "pacha", 3, 4);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_DEAD);
    rig_alive(r, "pacha", 3, 5);
    assert_true(swim_find(r->s, bytes_str("pacha"), &member));
    assert_int_equal(member.state, MEMBER_ALIVE);
    assert_int_equal(member.addr.ip[3], 3);

    rig_dead(r, "pacha", 5, "pacha");
    rig_alive(r, "pacha", 4, 1);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
}

/* What cannot be a member is refused and counted. */
static void impossible_members_are_refused(void **state)
{
    struct rig *r = *state;
    char long_name[SWIM_NAME_MAX + 2], long_meta[SWIM_META_MAX + 2];
    snprintf(long_name, sizeof long_name, "%0*d", SWIM_NAME_MAX + 1, 0);
    snprintf(long_meta, sizeof long_meta, "%0*d", SWIM_META_MAX + 1, 0);
    uint8_t vsn[WIRE_VSN_LEN] = {3, 2, 2};
    struct wire_message m = {.type = WIRE_ALIVE,
                             .alive = {.addr = bytes_of("\x7f\0\0\1", 4),
                                       .node = bytes_str("pacha"),
                                       .vsn = bytes_of(vsn, sizeof vsn)}};
    rig_feed(r, 2, &m);
    assert_int_equal(rig_counter(r, "swim_news_bad_version"), 1);
    vsn[0] = 1;
    m.alive.addr.len = 3;
    rig_feed(r, 2, &m);
    assert_int_equal(rig_counter(r, "swim_news_bad_address"), 1);
    rig_alive(r, long_name, 2, 1);
    rig_alive(r, "", 2, 1);
    assert_int_equal(rig_counter(r, "swim_news_bad_name"), 2);
    rig_alive_meta(r, "pacha", 2, 1, long_meta);
    assert_int_equal(rig_counter(r, "swim_news_bad_meta"), 1);
    rig_alive(r, "pacha", 2, UINT32_MAX);
    assert_int_equal(rig_counter(r, "swim_news_bad_incarnation"), 1);
    assert_int_equal(swim_count(r->s), 1);
}

/* The table ends at its limit; those in it stay. */
static void the_table_is_bounded(void **state)
{
    struct rig *r = *state;
    char name[16];
    for (int i = 0; i < SWIM_MEMBERS_MAX + 5; i++) {
        snprintf(name, sizeof name, "m%d", i);
        rig_alive(r, name, 2, 1);
    }
    assert_int_equal(swim_count(r->s), SWIM_MEMBERS_MAX);
    assert_int_equal(rig_counter(r, "swim_members_refused"), 6);
}

/* A port of 0 means our own. */
static void port_zero_is_our_port(void **state)
{
    struct rig *r = *state;
    struct swim_member member;
    rig_feed(r, 2,
             &(struct wire_message){
                 .type = WIRE_ALIVE,
                 .alive = {.addr = bytes_of("\x7f\0\0\1", 4), .node = bytes_str("pacha"), .incarnation = 1}});
    assert_true(swim_find(r->s, bytes_str("pacha"), &member));
    assert_int_equal(member.addr.port, 7946);
}

/* --- about ourselves --- */

/* Whatever is said against us, we contradict with a higher incarnation. */
static void we_contradict(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_quiet_down(r);

    rig_suspect(r, "self", 7, "pacha");
    assert_int_equal(swim_incarnation(r->s), 8);
    assert_int_equal(rig_events(r, SWIM_REFUTED), 1);
    assert_int_equal(swim_health(r->s), 1);
    rig_run(r, r->now + 200);
    const struct rig_sent *sent = rig_find(r, WIRE_ALIVE);
    assert_non_null(sent);
    assert_int_equal(sent->m.alive.incarnation, 8);

    rig_dead(r, "self", 8, "pacha");
    assert_int_equal(swim_incarnation(r->s), 9);
    rig_dead(r, "self", 8, "pacha"); /* old: no new incarnation */
    assert_int_equal(swim_incarnation(r->s), 9);
    assert_int_equal(rig_state(r, "self"), MEMBER_ALIVE);
}

/* Old news about us is no accusation, but a sign that somebody missed the newer. */
static void old_accusations_are_answered_with_the_present(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_suspect(r, "self", 7, "pacha");
    rig_quiet_down(r);

    rig_dead(r, "self", 7, "pacha");

    assert_int_equal(swim_incarnation(r->s), 8);
    rig_run(r, r->now + 200);
    assert_non_null(rig_find(r, WIRE_ALIVE));
    assert_int_equal(rig_find(r, WIRE_ALIVE)->m.alive.incarnation, 8);
}

/* Our own news coming back is nothing; a former life's higher incarnation, or the
 * same with other meta, is contradicted. */
static void our_own_echo_is_silent(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "self", 1, 1);
    assert_int_equal(swim_incarnation(r->s), 1);
    rig_alive_meta(r, "self", 1, 1, "not ours");
    assert_int_equal(swim_incarnation(r->s), 2);
    rig_alive(r, "self", 1, 30);
    assert_int_equal(swim_incarnation(r->s), 31);
}

/* The last incarnation is reached but never passed. */
static void the_incarnation_does_not_wrap(void **state)
{
    struct rig *r = *state;
    rig_suspect(r, "self", UINT32_MAX, "evil");
    assert_int_equal(swim_incarnation(r->s), 1);
    rig_suspect(r, "self", UINT32_MAX - 1, "evil");
    assert_int_equal(swim_incarnation(r->s), UINT32_MAX);
    rig_suspect(r, "self", UINT32_MAX - 1, "evil");
    swim_set_meta(r->s, r->now, bytes_str("new"), &(struct effects){0});
    assert_int_equal(swim_incarnation(r->s), UINT32_MAX);
}

/* New meta is news: the incarnation rises and must be remembered. */
static void new_meta_raises_the_incarnation(void **state)
{
    struct rig *r = *state;
    swim_set_meta(r->s, r->now, bytes_str("llama"), &(struct effects){0});
    assert_int_equal(swim_incarnation(r->s), 2);
    assert_int_equal(rig_events(r, SWIM_REFUTED), 1);
    swim_set_meta(r->s, r->now, bytes_str("llama"), &(struct effects){0});
    assert_int_equal(swim_incarnation(r->s), 2);
}

/* --- suspect and dead --- */

/* Alone with the suspect, its time is the minimum: not yet just before, yes then. */
static void a_suspicion_ends_in_death(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    uint64_t start = r->now;
    rig_suspect(r, "pacha", 1, "kronk");
    assert_int_equal(rig_events(r, SWIM_SUSPECTED), 1);

    rig_run(r, start + 3999);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_SUSPECT);
    rig_run(r, start + 4000);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_DEAD);
    assert_int_equal(rig_events(r, SWIM_DEAD), 1);
}

/* A newer alive ends the suspicion, and its timer with it. */
static void a_newer_alive_clears(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_suspect(r, "pacha", 1, "kronk");
    rig_alive(r, "pacha", 2, 1);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_SUSPECT);
    rig_alive(r, "pacha", 2, 2);
    assert_int_equal(rig_events(r, SWIM_CLEARED), 1);
    rig_suspect(r, "pacha", 1, "kronk"); /* old */
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
}

/* A further accuser is worth passing on, a repetition is not. */
static void only_new_accusers_are_passed_on(void **state)
{
    struct rig *r = *state;
    for (int i = 2; i <= 4; i++)
        rig_alive(r, (const char *[]){"pacha", "kronk", "chicha"}[i - 2], i, 1);
    rig_suspect(r, "pacha", 1, "kronk");
    rig_quiet_down(r);

    rig_suspect(r, "pacha", 1, "kronk");
    rig_run(r, r->now + 200);
    assert_int_equal(rig_count(r, WIRE_SUSPECT), 0);
    rig_suspect(r, "pacha", 1, "chicha");
    rig_run(r, r->now + 200);
    assert_true(rig_count(r, WIRE_SUSPECT) > 0);
}

/* Whoever says so itself has left: no alarm, and no gossip to it. */
static void leaving_is_not_dying(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_dead(r, "pacha", 1, "pacha");
    assert_int_equal(rig_state(r, "pacha"), MEMBER_LEFT);
    assert_int_equal(rig_events(r, SWIM_LEFT), 1);
    rig_forget(r);
    rig_run(r, r->now + 1000);
    assert_int_equal(r->sent_count, 0);
}

/* News of unknown members, but for alive, is nothing. */
static void the_unknown_cannot_die(void **state)
{
    struct rig *r = *state;
    rig_suspect(r, "ghost", 1, "kronk");
    rig_dead(r, "ghost", 1, "kronk");
    assert_int_equal(swim_count(r->s), 1);
}

/* The dead are forgotten 30 s after: never before. */
static void the_dead_are_forgotten_in_time(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    uint64_t died = r->now;
    rig_dead(r, "pacha", 1, "kronk");
    rig_run(r, died + 30000);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_DEAD);
    rig_run(r, died + 30000 + 1001); /* at the next probe */
    assert_int_equal(rig_state(r, "pacha"), -1);
}

/* A blocked member is not taken, and its pings stay unanswered. */
static void a_blocked_member_is_air(void **state)
{
    struct rig *r = *state;
    r->blocked = "pacha";
    rig_alive(r, "pacha", 2, 1);
    assert_int_equal(swim_count(r->s), 1);
    rig_feed(r, 2,
             &(struct wire_message){
                 .type = WIRE_PING,
                 .ping = {.seq = 1, .node = bytes_str("self"), .source_node = bytes_str("pacha")}});
    assert_int_equal(r->sent_count, 0);
    assert_int_equal(rig_counter(r, "swim_blocked"), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(news_of_a_new_member_is_passed_on),
        TEST(stale_alive_is_ignored),
        TEST(stale_alive_does_not_revive),
        TEST(members_move_only_when_down),
        TEST(impossible_members_are_refused),
        TEST(the_table_is_bounded),
        TEST(port_zero_is_our_port),
        TEST(we_contradict),
        TEST(old_accusations_are_answered_with_the_present),
        TEST(our_own_echo_is_silent),
        TEST(the_incarnation_does_not_wrap),
        TEST(new_meta_raises_the_incarnation),
        TEST(a_suspicion_ends_in_death),
        TEST(a_newer_alive_clears),
        TEST(only_new_accusers_are_passed_on),
        TEST(leaving_is_not_dying),
        TEST(the_unknown_cannot_die),
        TEST(the_dead_are_forgotten_in_time),
        TEST(a_blocked_member_is_air),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
