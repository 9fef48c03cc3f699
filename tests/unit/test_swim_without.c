/* swim as the simulator takes it: without parts of Lifeguard, and with members that
 * are known from the start. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "swim_rig.h"

static struct swim_profile lan_without(bool health, bool shrinking, bool buddy)
{
    struct swim_profile profile = swim_profile_lan;
    profile.no_local_health = health;
    profile.no_shrinking_suspicions = shrinking;
    profile.no_buddy = buddy;
    return profile;
}

static void until_ping(struct rig *r)
{
    rig_forget(r);
    for (uint64_t end = r->now + 30000; !rig_find(r, WIRE_PING) && r->now < end;)
        rig_run(r, swim_deadline(r->s));
    assert_non_null(rig_find(r, WIRE_PING));
}

/* Without local health nobody is patient, and no nack is asked for. */
static void without_health_no_probe_waits_longer(void **state)
{
    struct swim_profile profile = lan_without(true, false, false);
    struct rig *r = rig_new(&profile);
    rig_alive(r, "pacha", 2, 1);
    rig_alive(r, "kronk", 3, 1);
    rig_suspect(r, "self", 1, "pacha");
    assert_int_equal(swim_health(r->s), 0);
    until_ping(r);
    uint64_t start = r->now;
    rig_run(r, start + 999);
    assert_false(rig_find(r, WIRE_INDIRECT_PING)->m.indirect_ping.nack);
    assert_int_equal(rig_counter(r, "swim_probes_failed"), 0);
    rig_run(r, start + 1000);
    assert_int_equal(rig_counter(r, "swim_probes_failed"), 1);
    rig_free(r);
}

/* Without shrinking suspicions all of them take 4 s, and confirmations are no news. */
static void without_shrinking_a_suspicion_is_short(void **state)
{
    struct swim_profile profile = lan_without(false, true, false);
    struct rig *r = rig_new(&profile);
    for (int i = 2; i < 8; i++)
        rig_alive(r, (const char[]){(char)('a' + i), '\0'}, i, 1);
    rig_suspect(r, "c", 1, "d");
    uint64_t start = r->now;
    rig_run(r, start + 100);
    rig_suspect(r, "c", 1, "e");
    rig_run(r, start + 3999);
    assert_int_equal(rig_state(r, "c"), MEMBER_SUSPECT);
    rig_run(r, start + 4000);
    assert_int_equal(rig_state(r, "c"), MEMBER_DEAD);
    rig_free(r);
}

/* Without the buddy a suspect is pinged like anyone: the ping takes what is queued. */
static void without_the_buddy_a_ping_is_a_ping(void **state)
{
    struct swim_profile profile = lan_without(false, false, true);
    struct rig *r = rig_new(&profile);
    rig_alive(r, "pacha", 2, 1);
    rig_run(r, r->now + 950);
    rig_suspect(r, "pacha", 1, "kronk");
    until_ping(r);
    for (size_t i = 0; i < r->sent_count; i++)
        if (r->sent[i].m.type == WIRE_SUSPECT)
            assert_false(bytes_equal(r->sent[i].m.accusation.from, bytes_str("self")));
    rig_free(r);
}

/* Who is known from the start is a member like any other, but no news. */
static void the_known_are_no_news(void **state)
{
    struct rig *r = rig_new(&swim_profile_lan);
    struct swim_member member = {.name = bytes_str("pacha"),
                                 .meta = bytes_str("{}"),
                                 .addr = {{10, 0, 0, 2}, 4, 7946},
                                 .incarnation = 3,
                                 .vsn = {1, 5, 2, 0, 0, 0}};
    swim_know(r->s, &member);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
    assert_int_equal(rig_incarnation(r, "pacha"), 3);
    assert_int_equal(rig_events(r, SWIM_JOINED), 0);
    until_ping(r);
    assert_true(bytes_equal(rig_find(r, WIRE_PING)->m.ping.node, bytes_str("pacha")));
    for (size_t i = 0; i < r->sent_count; i++)
        if (r->sent[i].m.type == WIRE_ALIVE)
            assert_true(bytes_equal(r->sent[i].m.alive.node, bytes_str("self")));
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_health_no_probe_waits_longer),
        cmocka_unit_test(without_shrinking_a_suspicion_is_short),
        cmocka_unit_test(without_the_buddy_a_ping_is_a_ping),
        cmocka_unit_test(the_known_are_no_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
