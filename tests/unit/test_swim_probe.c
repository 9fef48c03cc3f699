/* swim: probing, and pings on behalf of others. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "swim_rig.h"

/* Runs until the next ping, and returns it. */
static struct wire_ping next_ping(struct rig *r)
{
    rig_forget(r);
    for (uint64_t end = r->now + 30000; !rig_find(r, WIRE_PING) && r->now < end;)
        rig_run(r, swim_deadline(r->s));
    const struct rig_sent *sent = rig_find(r, WIRE_PING);
    assert_non_null(sent);
    return sent->m.ping;
}

static void ack(struct rig *r, int from, uint32_t seq)
{
    rig_feed(r, from, &(struct wire_message){.type = WIRE_ACK, .ack.seq = seq});
}

/* A ping names its target and its sender, and an ack ends the probe. */
static void an_answered_probe_asks_nobody_else(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_alive(r, "kronk", 3, 1);
    struct wire_ping ping = next_ping(r);
    assert_true(bytes_equal(ping.source_node, bytes_str("self")));
    assert_int_equal(ping.source_port, 7946);
    rig_run(r, r->now + 7);
    ack(r, 2, ping.seq);

    rig_run(r, r->now + 900);

    assert_int_equal(rig_count(r, WIRE_INDIRECT_PING), 0);
    struct swim_member member;
    assert_true(swim_find(r->s, ping.node, &member));
    assert_true(member.rtt_known);
    assert_int_equal(member.rtt_us, 7000);
}

/* Where the world knows the time to the microsecond, the round trip is as exact; where
 * it does not, milliseconds do. */
static void a_round_trip_is_exact(void **state)
{
    struct rig *r = *state;
    struct swim_member member;
    rig_alive(r, "pacha", 2, 1);
    swim_fine_time(r->s, swim_deadline(r->s) * 1000 + 120); /* of some other step: not for the ping */
    struct wire_ping ping = next_ping(r);
    swim_fine_time(r->s, r->now * 1000 + 437);
    ack(r, 2, ping.seq);
    assert_true(swim_find(r->s, bytes_str("pacha"), &member));
    assert_int_equal(member.rtt_us, 437);
}

/* Unanswered: others are asked at 500 ms, it is suspected at 1 s. Neither earlier. */
static void an_unanswered_probe_takes_its_steps(void **state)
{
    struct rig *r = *state;
    for (int i = 2; i <= 6; i++)
        rig_alive(r, (const char *[]){"a", "b", "c", "d", "e"}[i - 2], i, 1);
    struct wire_ping ping = next_ping(r);
    char target[2] = {(char)ping.node.data[0]};
    uint64_t start = r->now, streams = r->stream_count;

    rig_run(r, start + 499);
    assert_int_equal(rig_count(r, WIRE_INDIRECT_PING), 0);
    rig_run(r, start + 500);
    assert_int_equal(rig_count(r, WIRE_INDIRECT_PING), 3);
    assert_true(rig_find(r, WIRE_INDIRECT_PING)->m.indirect_ping.nack);
    assert_int_equal(r->stream_count, streams + 1); /* and the TCP ping */

    rig_run(r, start + 999);
    assert_int_equal(rig_state(r, target), MEMBER_ALIVE);
    rig_run(r, start + 1000);
    assert_int_equal(rig_state(r, target), MEMBER_SUSPECT);
    assert_int_equal(swim_health(r->s), 3); /* three nacks did not come either */
}

/* Nacks show that we are not the deaf one. */
static void nacks_keep_us_healthy(void **state)
{
    struct rig *r = *state;
    for (int i = 2; i <= 6; i++)
        rig_alive(r, (const char *[]){"a", "b", "c", "d", "e"}[i - 2], i, 1);
    struct wire_ping ping = next_ping(r);
    uint64_t start = r->now;
    uint32_t seq = ping.seq;
    rig_run(r, start + 600);
    for (int i = 0; i < 3; i++)
        rig_feed(r, 3, &(struct wire_message){.type = WIRE_NACK, .nack.seq = seq});
    rig_run(r, start + 1000);
    assert_int_equal(rig_events(r, SWIM_SUSPECTED), 1);
    assert_int_equal(swim_health(r->s), 0);
}

/* An ack by way of a helper counts until the end of the interval. */
static void a_late_ack_counts(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    uint32_t seq = next_ping(r).seq;
    uint64_t start = r->now;
    rig_run(r, start + 999);
    ack(r, 2, seq);
    rig_run(r, start + 1000);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
}

/* A node that doubts itself waits longer: score 1, two seconds. */
static void an_unhealthy_node_is_patient(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_suspect(r, "self", 1, "pacha");
    assert_int_equal(swim_health(r->s), 1);
    next_ping(r);
    uint64_t start = r->now;
    rig_run(r, start + 1999);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
    rig_run(r, start + 2000);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_SUSPECT);
}

/* A suspect is told so with the ping. */
static void a_suspect_hears_of_it(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_run(r, r->now + 950);
    rig_suspect(r, "pacha", 1, "kronk");
    next_ping(r);
    uint64_t pinged = rig_find(r, WIRE_PING)->at;
    size_t told = 0;
    for (size_t i = 0; i < r->sent_count; i++)
        told += r->sent[i].m.type == WIRE_SUSPECT && r->sent[i].at == pinged &&
                bytes_equal(r->sent[i].m.accusation.from, bytes_str("self"));
    assert_int_equal(told, 1);
}

/* An old probe's failure does not touch what came back meanwhile. */
static void an_old_probe_does_not_accuse_the_new_life(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    next_ping(r);
    rig_alive(r, "pacha", 2, 9);
    rig_run(r, r->now + 1000);
    assert_int_equal(rig_counter(r, "swim_probes_failed"), 1);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
}

/* --- the lost --- */

/* A dead member is pinged by name every five intervals, also when it is long
 * forgotten; if it answers, we exchange states. */
static void the_dead_are_tried_again(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_run(r, r->now + 950);
    uint64_t died = r->now;
    rig_dead(r, "pacha", 1, "kronk");
    rig_forget(r);
    rig_run(r, died + 4999);
    assert_int_equal(rig_count(r, WIRE_PING), 0);
    rig_run(r, died + 5000);
    assert_int_equal(rig_count(r, WIRE_PING), 1);
    rig_run(r, died + 60000);
    assert_int_equal(rig_state(r, "pacha"), -1);
    assert_int_equal(rig_count(r, WIRE_PING), 12);

    const struct rig_sent *last = &r->sent[r->sent_count - 1];
    assert_true(bytes_equal(last->m.ping.node, bytes_str("pacha")));
    assert_int_equal(r->stream_count, 0);
    ack(r, 2, last->m.ping.seq);
    assert_int_equal(r->stream_count, 1);
    assert_true(r->streams[0].opened_by_us);
}

/* Who came back is sought no longer, nor who then left. */
static void who_left_is_not_sought(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_dead(r, "pacha", 1, "kronk");
    rig_alive(r, "pacha", 2, 2);
    rig_dead(r, "pacha", 2, "pacha");
    rig_forget(r);
    rig_run(r, r->now + 60000);
    assert_int_equal(rig_count(r, WIRE_PING), 0);
}

/* --- on the other side --- */

/* A ping is answered where it says; one for another name is not. */
static void pings_are_answered(void **state)
{
    struct rig *r = *state;
    struct wire_message ping = {.type = WIRE_PING, .ping = {.node = bytes_str("self"), .seq = 5}};
    rig_feed(r, 2, &ping);
    assert_int_equal(rig_find(r, WIRE_ACK)->m.ack.seq, 5);
    assert_int_equal(rig_find(r, WIRE_ACK)->to.ip[3], 2);
    assert_null(rig_find(r, WIRE_ACK)->m.ack.payload.data);

    rig_forget(r);
    ping.ping.source_addr = bytes_of("\x0a\0\0\x09", 4);
    ping.ping.source_port = 1000;
    rig_feed(r, 2, &ping);
    assert_int_equal(rig_find(r, WIRE_ACK)->to.ip[3], 9);
    assert_int_equal(rig_find(r, WIRE_ACK)->to.port, 1000);

    rig_forget(r);
    ping.ping.node = bytes_str("other");
    rig_feed(r, 2, &ping);
    assert_int_equal(r->sent_count, 0);
    assert_int_equal(rig_counter(r, "swim_pings_for_others"), 1);
}

static void ask_for_help(struct rig *r)
{
    rig_forget(r);
    rig_feed(r, 2,
             &(struct wire_message){.type = WIRE_INDIRECT_PING,
                                    .indirect_ping = {.node = bytes_str("pacha"),
                                                      .target = bytes_of("\x0a\0\0\x07", 4),
                                                      .port = 7946,
                                                      .seq = 1}});
    assert_int_equal(rig_find(r, WIRE_PING)->to.ip[3], 7);
    rig_forget(r);
}

/* Only so many at once. */
static void help_is_bounded(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 256; i++)
        ask_for_help(r);
    struct wire_message one_more = {.type = WIRE_INDIRECT_PING,
                                    .indirect_ping = {.target = bytes_of("\x0a\0\0\x07", 4), .port = 1}};
    rig_feed(r, 2, &one_more);
    assert_int_equal(r->sent_count, 0);
    assert_int_equal(rig_counter(r, "swim_relays_refused"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answered_probe_asks_nobody_else),
        TEST(a_round_trip_is_exact),
        TEST(an_unanswered_probe_takes_its_steps),
        TEST(nacks_keep_us_healthy),
        TEST(a_late_ack_counts),
        TEST(an_unhealthy_node_is_patient),
        TEST(a_suspect_hears_of_it),
        TEST(an_old_probe_does_not_accuse_the_new_life),
        TEST(the_dead_are_tried_again),
        TEST(who_left_is_not_sought),
        TEST(pings_are_answered),
        TEST(help_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
