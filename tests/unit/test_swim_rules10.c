/* swim: probing (docs/MEMBERSHIP.md, section 10), one rule a test. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "swim_rig.h"

/* The state of the member that this ping, or indirect ping, was for. */
static int state_of(const struct rig *r, char name)
{
    return rig_state(r, (char[]){name, 0});
}

static void nack(struct rig *r, int from, uint32_t seq)
{
    rig_feed(r, from, &(struct wire_message){.type = WIRE_NACK, .nack.seq = seq});
}

static void raise_score(struct rig *r, unsigned by)
{
    for (unsigned i = 0; i < by; i++)
        rig_suspect(r, "self", swim_incarnation(r->s), "a");
}

/* --- the steps of a probe --- */

static void rule_10_1_a_ping_says_who_asks_and_where_to_answer(void **state)
{
    struct rig *r = *state;
    rig_members(r, 1);
    const struct rig_sent *ping = rig_next(r, WIRE_PING);
    assert_true(bytes_equal(ping->m.ping.node, bytes_str("a")));
    assert_true(bytes_equal(ping->m.ping.source_node, bytes_str("self")));
    assert_true(bytes_equal(ping->m.ping.source_addr, bytes_of("\x0a\0\0\1", 4)));
    assert_int_equal(ping->m.ping.source_port, 7946);
    assert_int_equal(ping->to.ip[3], 2);
}

/* Lifeguard's buddy system: with the ping, and before anything else. */
static void rule_10_1_a_suspect_is_told_so_with_the_ping(void **state)
{
    struct rig *r = *state;
    rig_members(r, 1);
    rig_run(r, r->now + 950);
    rig_suspect(r, "a", 1, "kronk");
    size_t packet = rig_next(r, WIRE_PING)->packet;
    size_t told = 0;
    for (size_t i = 0; i < r->sent_count; i++)
        told += r->sent[i].packet == packet && r->sent[i].m.type == WIRE_SUSPECT &&
                bytes_equal(r->sent[i].m.accusation.node, bytes_str("a")) &&
                bytes_equal(r->sent[i].m.accusation.from, bytes_str("self"));
    assert_int_equal(told, 1);
}

static void rule_10_2_an_ack_within_the_timeout_ends_the_probe(void **state)
{
    struct rig *r = *state;
    rig_members(r, 3);
    raise_score(r, 2);
    const struct rig_sent *ping = rig_next(r, WIRE_PING);
    uint32_t seq = ping->m.ping.seq;
    int target = ping->to.ip[3];
    rig_run(r, r->now + 499);
    rig_ack(r, target, seq + 1); /* another's */
    assert_int_equal(swim_health(r->s), 2);
    rig_ack(r, target, seq);
    assert_int_equal(swim_health(r->s), 1);
    rig_run(r, r->now + 400);
    assert_int_equal(rig_count(r, WIRE_INDIRECT_PING), 0);
    assert_int_equal(r->stream_count, 0);
}

/* The timeout is not stretched by the score. */
static void rule_10_3_others_are_asked_at_the_timeout(void **state)
{
    struct rig *r = *state;
    rig_members(r, 6);
    raise_score(r, 3);
    struct rig_sent ping = *rig_next(r, WIRE_PING);
    uint32_t seq = ping.m.ping.seq;
    char target = (char)ping.m.ping.node.data[0];
    uint64_t start = r->now;
    rig_run(r, start + 499);
    assert_int_equal(rig_count(r, WIRE_INDIRECT_PING), 0);
    rig_run(r, start + 500);
    assert_int_equal(rig_count(r, WIRE_INDIRECT_PING), 3);
    for (size_t i = 0, seen[256] = {0}; i < r->sent_count; i++) {
        const struct wire_indirect_ping *ask = &r->sent[i].m.indirect_ping;
        if (r->sent[i].m.type != WIRE_INDIRECT_PING)
            continue;
        assert_int_equal(ask->seq, seq);
        assert_int_equal(ask->node.data[0], target);
        assert_true(ask->nack);
        assert_int_not_equal(r->sent[i].to.ip[3], ping.to.ip[3]);
        assert_int_equal(seen[r->sent[i].to.ip[3]]++, 0);
    }
    assert_int_equal(r->stream_count, 1); /* and the TCP ping, with the same number */
    struct wire_message on_stream;
    rig_stream_opened(r, &r->streams[0]);
    assert_int_equal(wire_decode(buf_bytes(&r->streams[0].sent), &on_stream), OK);
    assert_int_equal(on_stream.type, WIRE_PING);
    assert_int_equal(on_stream.ping.seq, seq);
}

/* pmax below 4 sends no nacks, below 3 answers no TCP ping. */
static void rule_10_3_old_members_are_asked_what_they_understand(void **state)
{
    struct rig *r = *state;
    static const uint8_t old[6] = {1, 2, 2};
    for (int i = 0; i < 3; i++)
        rig_feed(
            r, i + 2,
            &(struct wire_message){.type = WIRE_ALIVE,
                                   .alive = {.addr = bytes_of((uint8_t[]){10, 0, 0, (uint8_t)(i + 2)}, 4),
                                             .port = 7946,
                                             .node = bytes_str((const char *[]){"a", "b", "c"}[i]),
                                             .vsn = bytes_of(old, 6),
                                             .incarnation = 1}});
    assert_false(rig_next(r, WIRE_INDIRECT_PING)->m.indirect_ping.nack);
    assert_int_equal(r->stream_count, 0);
}

/* The suspect and the dead help nobody. */
static void rule_10_3_only_the_living_are_asked(void **state)
{
    struct rig *r = *state;
    rig_members(r, 4);
    rig_run(r, r->now + 950);
    rig_suspect(r, "b", 1, "a");
    rig_dead(r, "c", 1, "a");
    rig_next(r, WIRE_INDIRECT_PING);
    for (size_t i = 0; i < r->sent_count; i++)
        if (r->sent[i].m.type == WIRE_INDIRECT_PING)
            assert_true(r->sent[i].to.ip[3] == 2 || r->sent[i].to.ip[3] == 5);
}

static void rule_10_4_a_tcp_ack_keeps_it_alive(void **state)
{
    struct rig *r = *state;
    rig_members(r, 1);
    raise_score(r, 2);
    uint32_t seq = rig_next(r, WIRE_PING)->m.ping.seq;
    uint64_t start = r->now;
    rig_run(r, start + 500);
    rig_stream_opened(r, &r->streams[0]);
    struct buf ack;
    buf_init(&ack, 100);
    wire_put(&ack, &(struct wire_message){.type = WIRE_ACK, .ack.seq = seq});
    rig_stream_data(r, &r->streams[0], buf_bytes(&ack));
    buf_done(&ack);
    rig_run(r, start + 2999); /* until interval', of a score of 2 */
    assert_int_equal(swim_health(r->s), 2);
    rig_run(r, start + 3000);
    assert_int_equal(swim_health(r->s), 1);
    assert_int_equal(rig_state(r, "a"), MEMBER_ALIVE);
    assert_int_equal(rig_counter(r, "swim_probes_saved_by_tcp"), 1);
}

static void rule_10_5_silence_is_a_suspicion_at_the_end(void **state)
{
    struct rig *r = *state;
    rig_members(r, 5);
    struct rig_sent ping = *rig_next(r, WIRE_PING);
    char target = (char)ping.m.ping.node.data[0];
    uint64_t start = r->now;
    rig_run(r, start + 999);
    assert_int_equal(state_of(r, target), MEMBER_ALIVE);
    rig_run(r, start + 1000);
    assert_int_equal(state_of(r, target), MEMBER_SUSPECT);
}

/* The score rises by the nacks that did not come, and by one where none were asked for. */
static void rule_10_5_the_score_counts_missing_nacks(void **state)
{
    for (unsigned nacks = 0; nacks <= 3; nacks++) {
        struct rig *r = rig_new(&swim_profile_lan);
        rig_members(r, 5);
        uint32_t seq = rig_next(r, WIRE_PING)->m.ping.seq;
        uint64_t start = r->now;
        rig_run(r, start + 600);
        for (unsigned i = 0; i < nacks; i++)
            nack(r, 3, seq);
        rig_run(r, start + 1000);
        assert_int_equal(swim_health(r->s), 3 - nacks);
        rig_free(r);
    }
    struct rig *r = *state;
    rig_members(r, 1);
    rig_next(r, WIRE_PING);
    rig_run(r, r->now + 1000);
    assert_int_equal(swim_health(r->s), 1);
}

static void rule_10_6_what_cannot_be_sent_need_not_be_waited_for(void **state)
{
    struct rig *r = *state;
    struct effects out = {0};
    rig_members(r, 3);
    struct addr to = rig_next(r, WIRE_PING)->to, other = {{10, 9, 9, 9}, 4, 7946};
    uint64_t start = r->now;
    swim_unreachable(r->s, r->now, &other, &out);
    assert_int_equal(out.count, 0);
    swim_unreachable(r->s, r->now, &to, &out);
    assert_int_equal(out.count, 3); /* two helpers and a stream, at once */
    effects_done(&out);
    rig_run(r, start + 999);
    assert_int_equal(rig_counter(r, "swim_probes_failed"), 0); /* it ends no sooner */
    rig_run(r, start + 1000);
    assert_int_equal(rig_counter(r, "swim_probes_failed"), 1);
}

/* --- order and time --- */

static void rule_10_7_each_is_probed_once_a_round(void **state)
{
    struct rig *r = *state;
    rig_members(r, 6);
    rig_dead(r, "e", 1, "a");
    rig_dead(r, "f", 1, "f");
    for (int round = 0; round < 5; round++) {
        unsigned seen[256] = {0};
        for (int i = 0; i < 4; i++) {
            const struct rig_sent *ping = rig_next(r, WIRE_PING);
            while (ping->m.ping.node.data[0] == 'e') /* a try at a lost one is no probe */
                ping = rig_next(r, WIRE_PING);
            seen[ping->m.ping.node.data[0]]++;
            rig_ack(r, ping->to.ip[3], ping->m.ping.seq);
        }
        for (char name = 'a'; name <= 'd'; name++)
            assert_int_equal(seen[(int)name], 1);
    }
}

/* The first after an interval and a random part of another; then every interval. */
static void rule_10_8_one_probe_an_interval(void **state)
{
    struct rig *r = *state;
    rig_members(r, 3);
    uint64_t start = r->now, last = 0;
    for (int i = 0; i < 10; i++) {
        const struct rig_sent *ping = rig_next(r, WIRE_PING);
        if (i == 0)
            assert_in_range(ping->at, start + 1000, start + 2000);
        else
            assert_int_equal(ping->at, last + 1000);
        last = ping->at;
        rig_ack(r, ping->to.ip[3], ping->m.ping.seq);
    }
}

static void rule_10_8_a_long_probe_makes_ticks_fall_out(void **state)
{
    struct rig *r = *state;
    rig_members(r, 2);
    raise_score(r, 2);
    uint64_t start = rig_next(r, WIRE_PING)->at;
    assert_int_equal(rig_next(r, WIRE_PING)->at, start + 3000);
}

/* --- the score --- */

static void rule_10_9_the_interval_grows_with_the_score(void **state)
{
    struct rig *r = *state;
    rig_members(r, 1);
    raise_score(r, 1);
    rig_next(r, WIRE_PING);
    uint64_t start = r->now;
    rig_run(r, start + 1999);
    assert_int_equal(rig_state(r, "a"), MEMBER_ALIVE);
    rig_run(r, start + 2000);
    assert_int_equal(rig_state(r, "a"), MEMBER_SUSPECT);
}

static void rule_10_9_the_score_stays_from_0_to_7(void **state)
{
    struct rig *r = *state;
    rig_members(r, 1);
    raise_score(r, 20);
    assert_int_equal(swim_health(r->s), 7);
    for (int i = 0; i < 10; i++) {
        const struct rig_sent *ping = rig_next(r, WIRE_PING);
        rig_ack(r, ping->to.ip[3], ping->m.ping.seq);
    }
    assert_int_equal(swim_health(r->s), 0);
}

/* --- the other side --- */

static void rule_10_10_a_ping_is_answered_where_it_says(void **state)
{
    struct rig *r = *state;
    struct wire_message ping = {.type = WIRE_PING, .ping = {.node = bytes_str("self"), .seq = 5}};
    rig_feed(r, 2, &ping);
    assert_int_equal(rig_find(r, WIRE_ACK)->to.ip[3], 2);
    assert_int_equal(rig_find(r, WIRE_ACK)->m.ack.seq, 5);

    rig_forget(r);
    ping.ping.source_addr = bytes_of("\x0a\0\0\x09", 4);
    rig_feed(r, 2, &ping); /* an address without a port is none */
    assert_int_equal(rig_find(r, WIRE_ACK)->to.ip[3], 2);

    rig_forget(r);
    ping.ping.source_port = 1000;
    rig_feed(r, 2, &ping);
    assert_int_equal(rig_find(r, WIRE_ACK)->to.ip[3], 9);
    assert_int_equal(rig_find(r, WIRE_ACK)->to.port, 1000);
}

static void rule_10_10_another_name_is_not_answered_and_none_is(void **state)
{
    struct rig *r = *state;
    struct wire_message ping = {.type = WIRE_PING, .ping = {.node = bytes_str("other"), .seq = 5}};
    rig_feed(r, 2, &ping);
    assert_int_equal(r->sent_count, 0);
    ping.ping.node = bytes_of(NULL, 0);
    rig_feed(r, 2, &ping);
    assert_int_equal(rig_count(r, WIRE_ACK), 1);
}

static void rule_10_10_an_ack_takes_news_along(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "pacha", 2, 1);
    rig_feed(r, 2, &(struct wire_message){.type = WIRE_PING, .ping = {.seq = 5}});
    assert_int_equal(rig_count(r, WIRE_ACK), 1);
    assert_int_equal(rig_count(r, WIRE_ALIVE), 2);
    assert_true(rig_find(r, WIRE_ACK)->compound);
}

static uint32_t ask_for_help(struct rig *r, uint32_t seq, bool wants_nack)
{
    rig_forget(r);
    rig_feed(r, 2,
             &(struct wire_message){.type = WIRE_INDIRECT_PING,
                                    .indirect_ping = {.nack = wants_nack,
                                                      .node = bytes_str("pacha"),
                                                      .target = bytes_of("\x0a\0\0\x07", 4),
                                                      .port = 7946,
                                                      .seq = seq}});
    const struct rig_sent *ping = rig_find(r, WIRE_PING);
    assert_int_equal(ping->to.ip[3], 7);
    assert_true(bytes_equal(ping->m.ping.node, bytes_str("pacha")));
    assert_int_not_equal(ping->m.ping.seq, seq);
    uint32_t own = ping->m.ping.seq;
    rig_forget(r);
    return own;
}

static void rule_10_11_a_helper_passes_the_ack_on(void **state)
{
    struct rig *r = *state;
    uint32_t own = ask_for_help(r, 77, true);
    rig_run(r, r->now + 499);
    rig_ack(r, 7, own);
    const struct rig_sent *ack = rig_find(r, WIRE_ACK);
    assert_int_equal(ack->m.ack.seq, 77);
    assert_null(ack->m.ack.payload.data);
    assert_int_equal(ack->to.ip[3], 2);
    rig_run(r, r->now + 1000);
    assert_int_equal(rig_count(r, WIRE_NACK), 0);
}

static void rule_10_11_a_helper_reports_silence_to_those_who_asked(void **state)
{
    struct rig *r = *state;
    uint64_t start = r->now;
    ask_for_help(r, 77, true);
    rig_run(r, start + 499);
    assert_int_equal(rig_count(r, WIRE_NACK), 0);
    rig_run(r, start + 500);
    assert_int_equal(rig_find(r, WIRE_NACK)->m.nack.seq, 77);
    assert_int_equal(rig_find(r, WIRE_NACK)->to.ip[3], 2);
    ask_for_help(r, 78, false);
    rig_run(r, r->now + 1000);
    assert_int_equal(rig_count(r, WIRE_NACK), 0);
}

static void rule_10_12_how_long_an_ack_is_waited_for(void **state)
{
    struct rig *r = *state;
    uint32_t own = ask_for_help(r, 77, false);
    rig_run(r, r->now + 500);
    rig_ack(r, 7, own); /* the helper's time is over */
    assert_int_equal(r->sent_count, 0);

    rig_members(r, 1);
    uint32_t seq = rig_next(r, WIRE_PING)->m.ping.seq;
    rig_run(r, r->now + 999);
    rig_ack(r, 2, seq); /* the prober's is not */
    rig_run(r, r->now + 1);
    assert_int_equal(rig_state(r, "a"), MEMBER_ALIVE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rule_10_1_a_ping_says_who_asks_and_where_to_answer),
        TEST(rule_10_1_a_suspect_is_told_so_with_the_ping),
        TEST(rule_10_2_an_ack_within_the_timeout_ends_the_probe),
        TEST(rule_10_3_others_are_asked_at_the_timeout),
        TEST(rule_10_3_old_members_are_asked_what_they_understand),
        TEST(rule_10_3_only_the_living_are_asked),
        TEST(rule_10_4_a_tcp_ack_keeps_it_alive),
        TEST(rule_10_5_silence_is_a_suspicion_at_the_end),
        TEST(rule_10_5_the_score_counts_missing_nacks),
        TEST(rule_10_6_what_cannot_be_sent_need_not_be_waited_for),
        TEST(rule_10_7_each_is_probed_once_a_round),
        TEST(rule_10_8_one_probe_an_interval),
        TEST(rule_10_8_a_long_probe_makes_ticks_fall_out),
        TEST(rule_10_9_the_interval_grows_with_the_score),
        TEST(rule_10_9_the_score_stays_from_0_to_7),
        TEST(rule_10_10_a_ping_is_answered_where_it_says),
        TEST(rule_10_10_another_name_is_not_answered_and_none_is),
        TEST(rule_10_10_an_ack_takes_news_along),
        TEST(rule_10_11_a_helper_passes_the_ack_on),
        TEST(rule_10_11_a_helper_reports_silence_to_those_who_asked),
        TEST(rule_10_12_how_long_an_ack_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
