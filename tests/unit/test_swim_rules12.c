/* swim: gossip and push/pull (docs/MEMBERSHIP.md, section 12), one rule a test. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "packet.h"
#include "swim_rig.h"

static void quiet_down(struct rig *r)
{
    rig_run(r, r->now + 950);
    rig_forget(r);
}

/* News of a member with a name and a meta of this length. */
static void news(struct rig *r, const char *name, int host, size_t meta_len)
{
    char meta[SWIM_META_MAX + 1];
    snprintf(meta, sizeof meta, "%0*d", (int)meta_len, 0);
    rig_alive_meta(r, name, host, 1, meta_len ? meta : "");
}

static size_t datagrams(const struct rig *r)
{
    size_t count = 0;
    for (size_t i = 0; i < r->sent_count; i++)
        count += i == 0 || r->sent[i].packet != r->sent[i - 1].packet;
    return count;
}

static void rule_12_1_three_hear_of_it_every_interval(void **state)
{
    struct rig *r = *state;
    rig_members(r, 6);
    rig_run(r, r->now + 900); /* 5 or 4 ticks of three each: 8 transmissions of each are over */
    rig_forget(r);
    rig_suspect(r, "a", 1, "b");
    rig_run(r, r->now + 99);
    uint64_t first = rig_next(r, WIRE_SUSPECT)->at;
    assert_int_equal(datagrams(r), 3);
    rig_forget(r);
    rig_run(r, first + 199);
    assert_int_equal(rig_count(r, WIRE_SUSPECT), 0);
    rig_run(r, first + 200);
    assert_true(rig_count(r, WIRE_SUSPECT) > 0);
}

/* The dead for as long as they are listed, and may contradict; the left never. */
static void rule_12_1_who_hears_of_it(void **state)
{
    struct rig *r = *state;
    rig_members(r, 3);
    rig_run(r, r->now + 900);
    uint64_t died = r->now;
    rig_dead(r, "a", 1, "c");
    rig_dead(r, "b", 1, "b");
    rig_forget(r);
    rig_run(r, died + 900);
    size_t to[256] = {0};
    for (size_t i = 0; i < r->sent_count; i++)
        if (r->sent[i].m.type == WIRE_DEAD)
            to[r->sent[i].to.ip[3]]++;
    assert_true(to[2] > 0 && to[4] > 0);
    assert_int_equal(to[3], 0);
}

static void rule_12_2_one_message_goes_bare_more_as_a_compound(void **state)
{
    struct rig *r = *state;
    rig_members(r, 1);
    quiet_down(r);
    rig_suspect(r, "a", 1, "b");
    assert_false(rig_next(r, WIRE_SUSPECT)->compound);
    news(r, "b", 3, 0);
    assert_true(rig_next(r, WIRE_ALIVE)->compound);
}

/* With 2 bytes for the compound and 2 for each message, 1,400 is never passed; the CRC
 * is beyond that. A message that is too long waits for the next packet. */
static void rule_12_3_a_packet_holds_what_fits(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 12; i++)
        news(r, (char[]){(char)('a' + i), 0}, i + 2, 300);
    rig_forget(r);
    rig_run(r, r->now + 200);
    assert_true(r->sent_count > 0);
    for (size_t packet = r->sent[0].packet; packet <= r->sent[r->sent_count - 1].packet; packet++) {
        size_t plain = COMPOUND_HEADER, count = 0;
        for (size_t i = 0; i < r->sent_count; i++) {
            struct buf b;
            if (r->sent[i].packet != packet)
                continue;
            buf_init(&b, PACKET_MAX);
            wire_put(&b, &r->sent[i].m);
            plain += b.len + COMPOUND_PER_PART;
            count++;
            buf_done(&b);
        }
        assert_true(plain <= PACKET_BUDGET);
        assert_true(count >= 3); /* of some 370 bytes each, and our own short news */
    }
}

/* Fewest transmissions first: of more news than fits, none is sent twice before each
 * is sent once. */
static void rule_12_4_the_least_told_goes_first(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 9; i++)
        news(r, (char[]){(char)('a' + i), 0}, i + 2, 300);
    rig_forget(r);
    rig_run(r, r->now + 200); /* three packets of three */
    size_t told[256] = {0}, most = 0;
    for (size_t i = 0; i < r->sent_count; i++)
        if (r->sent[i].m.type == WIRE_ALIVE && r->sent[i].m.alive.meta.len > 0) {
            size_t count = ++told[r->sent[i].m.alive.node.data[0]];
            most = count > most ? count : most;
        }
    assert_int_equal(most, 1);
}

/* 4 * ceil(log10(n + 1)): four times up to 9 members, eight times from 10. */
static void rule_12_5_news_is_told_so_often(void **state)
{
    for (int others = 3; others <= 9; others += 6) {
        struct rig *r = rig_new(&swim_profile_lan);
        rig_members(r, others);
        for (int i = 0; i < 200; i++) { /* in peace: all probes are answered */
            rig_run(r, r->now + 10);
            for (size_t at = 0, count = r->sent_count; at < count; at++)
                if (r->sent[at].m.type == WIRE_PING)
                    rig_ack(r, r->sent[at].to.ip[3], r->sent[at].m.ping.seq);
            rig_forget(r);
        }
        rig_dead(r, "a", 1, "a");
        size_t told = 0;
        for (int i = 0; i < 500; i++) {
            rig_run(r, r->now + 10);
            for (size_t at = 0, count = r->sent_count; at < count; at++)
                if (r->sent[at].m.type == WIRE_PING)
                    rig_ack(r, r->sent[at].to.ip[3], r->sent[at].m.ping.seq);
            told += rig_count(r, WIRE_DEAD);
            rig_forget(r);
        }
        assert_int_equal(told, others == 3 ? 4 : 8);
        rig_free(r);
    }
    (void)state;
}

static void rule_12_6_newer_news_of_a_member_replaces_older(void **state)
{
    struct rig *r = *state;
    rig_members(r, 1);
    rig_forget(r);
    rig_suspect(r, "a", 1, "b");
    rig_alive(r, "a", 2, 2);
    rig_run(r, r->now + 900);
    assert_int_equal(rig_count(r, WIRE_SUSPECT), 0);
    assert_true(rig_count(r, WIRE_ALIVE) > 0);
}

/* Our departure: memberlist's queues are last in, first out. */
static void rule_12_7_news_is_taken_in_the_order_in_which_it_comes(void **state)
{
    struct rig *r = *state;
    rig_members(r, 1);
    rig_suspect(r, "a", 1, "b");
    rig_alive(r, "a", 2, 2);
    rig_suspect(r, "a", 2, "b");
    assert_int_equal(rig_state(r, "a"), MEMBER_SUSPECT);
    assert_int_equal(rig_events(r, SWIM_SUSPECTED), 2);
}

/* With one that is thought alive. */
static void rule_12_8_push_pull_every_interval_the_first_a_random_part_later(void **state)
{
    struct rig *r = *state;
    rig_members(r, 2);
    rig_dead(r, "b", 1, "b");
    uint64_t start = r->now, at[3];
    size_t streams = 0;
    for (int i = 0; i < 3; i++) {
        at[i] = 0;
        while (at[i] == 0) {
            rig_run(r, r->now + 10);
            for (size_t k = 0, count = r->sent_count; k < count; k++)
                if (r->sent[k].m.type == WIRE_PING)
                    rig_ack(r, r->sent[k].to.ip[3], r->sent[k].m.ping.seq);
            rig_forget(r);
            if (r->stream_count > streams)
                at[i] = r->now;
        }
        streams = r->stream_count;
        rig_stream_closed(r, &r->streams[streams - 1]);
    }
    assert_in_range(at[0], start + 30000, start + 60010);
    assert_in_range(at[1], at[0] + 29990, at[0] + 30010);
    assert_in_range(at[2], at[1] + 29990, at[1] + 30010);
}

static void rule_12_8_large_clusters_exchange_less_often(void **state)
{
    assert_int_equal(push_pull_interval_ms(&swim_profile_lan, 32), 30000);
    assert_int_equal(push_pull_interval_ms(&swim_profile_lan, 33), 60000);
    assert_int_equal(push_pull_interval_ms(&swim_profile_lan, 64), 60000);
    assert_int_equal(push_pull_interval_ms(&swim_profile_lan, 65), 90000);
    assert_int_equal(push_pull_interval_ms(&swim_profile_lan, 129), 120000);
    (void)state;
}

/* Of many, each at most once at a time. */
static void rule_12_9_the_random_choice(void **state)
{
    struct rig *r = *state;
    rig_members(r, 26);
    quiet_down(r);
    for (uint32_t round = 0; round < 20; round++) {
        rig_alive(r, "a", 2, round + 2);
        rig_forget(r);
        rig_run(r, r->now + 200);
        size_t to[256] = {0}, packets = 0;
        for (size_t i = 0; i < r->sent_count; i++) {
            bool begins = i == 0 || r->sent[i].packet != r->sent[i - 1].packet;
            if (!begins || (r->sent[i].m.type != WIRE_ALIVE && r->sent[i].m.type != WIRE_SUSPECT))
                continue; /* a ping that takes it along */
            packets++;
            assert_int_equal(to[r->sent[i].to.ip[3]]++, 0);
        }
        assert_int_equal(packets, 3);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rule_12_1_three_hear_of_it_every_interval),
        TEST(rule_12_1_who_hears_of_it),
        TEST(rule_12_2_one_message_goes_bare_more_as_a_compound),
        TEST(rule_12_3_a_packet_holds_what_fits),
        TEST(rule_12_4_the_least_told_goes_first),
        TEST(rule_12_5_news_is_told_so_often),
        TEST(rule_12_6_newer_news_of_a_member_replaces_older),
        TEST(rule_12_7_news_is_taken_in_the_order_in_which_it_comes),
        TEST(rule_12_8_push_pull_every_interval_the_first_a_random_part_later),
        TEST(rule_12_8_large_clusters_exchange_less_often),
        TEST(rule_12_9_the_random_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
