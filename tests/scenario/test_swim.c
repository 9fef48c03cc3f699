/* Clusters of swim nodes in virtual time: they form, lose members, notice, and heal. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "swim_net.h"

#include <stdio.h>

enum { SEEDS = 20 };
static const uint64_t NEVER = UINT64_MAX;

/* The same scenario under several seeds; the seed is in the failure's text. */
static void with_seeds(void (*scenario)(struct swim_net *net), const struct swim_profile *profile)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct swim_net net;
        swim_net_init(&net, profile, seed);
        scenario(&net);
        swim_net_done(&net);
    }
}

#define ASSERT(net, condition)                                                                               \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            fail_msg("%s (seed %llu, at %llu ms)", #condition, (unsigned long long)(net)->seed,              \
                     (unsigned long long)swim_net_now(net));                                                 \
    } while (0)

/* --- joining --- */

static void three_join(struct swim_net *net)
{
    for (int i = 0; i < 3; i++)
        swim_net_start(net, i);
    swim_net_join(net, 1, 0);
    swim_net_join(net, 2, 1);

    uint64_t at = swim_net_until(net, 7, 7, MEMBER_ALIVE, 10000);

    ASSERT(net, at <= 2000);
    ASSERT(net, net->nodes[1].join.err == OK && net->nodes[1].join.ticket == 7);
    ASSERT(net, net->nodes[1].join.count == 1);
    ASSERT(net, net->nodes[0].told[SWIM_JOINED] == 2);
    swim_net_run(net, 120000);
    for (int i = 0; i < 3; i++) {
        ASSERT(net, net->nodes[i].told[SWIM_SUSPECTED] == 0);
        ASSERT(net, swim_health(net->nodes[i].swim) == 0);
    }
}

/* Three nodes that join in a row all list each other, and then nothing happens. */
static void three_nodes_join(void **state)
{
    with_seeds(three_join, &swim_profile_lan);
}

/* A join that nobody answers ends with an error, at the profile's TCP timeout when
 * the other side is silent, at once when it refuses. */
static void a_join_into_nothing_fails(void **state)
{
    struct swim_net net;
    swim_net_init(&net, &swim_profile_lan, 1);
    swim_net_start(&net, 0);
    swim_net_start(&net, 1);
    swim_net_cut(&net, 0, 1, true);

    swim_net_join(&net, 0, 1);
    swim_net_run(&net, 9999);
    assert_int_equal(net.nodes[0].told[SWIM_JOIN_DONE], 0);
    swim_net_run(&net, 1);
    assert_int_equal(net.nodes[0].join.err, ERR_TIMEOUT);

    swim_net_kill(&net, 1);
    swim_net_join(&net, 0, 1);
    swim_net_run(&net, 2);
    assert_int_equal(net.nodes[0].told[SWIM_JOIN_DONE], 2);
    assert_int_equal(net.nodes[0].join.err, ERR_CLOSED);

    swim_net_join(&net, 0, 0);
    swim_net_run(&net, 1);
    assert_int_equal(net.nodes[0].join.err, ERR_REFUSED);
    swim_net_done(&net);
}

/* --- death --- */

/* A killed node is suspected within a round of probes and dead within the bounds
 * of the suspicion formula. Of 5, k = 2 of 4 left: from 4 s to 24 s. */
static void kill_one_of_five(struct swim_net *net)
{
    swim_net_form(net, 5);
    uint64_t killed = swim_net_now(net);
    swim_net_kill(net, 4);

    uint64_t dead = swim_net_until(net, 15, 16, MEMBER_DEAD, 60000);

    ASSERT(net, dead != NEVER);
    uint64_t first_suspected = NEVER;
    for (int i = 0; i < 4; i++)
        if (net->nodes[i].told_at[SWIM_SUSPECTED] < first_suspected)
            first_suspected = net->nodes[i].told_at[SWIM_SUSPECTED];
    ASSERT(net, first_suspected >= killed + 1000 - 500); /* a probe may have been under way */
    ASSERT(net, first_suspected <= killed + 9000);       /* two rounds of four */
    ASSERT(net, dead >= first_suspected + 4000);
    ASSERT(net, dead <= first_suspected + 24000 + 1000);
    ASSERT(net, swim_net_agree(net, 15, 15, MEMBER_ALIVE));
    swim_net_run(net, 60000);
    ASSERT(net, swim_net_state(net, 0, 4) == -1); /* forgotten */
    ASSERT(net, net->nodes[0].told[SWIM_REAPED] == 1);
}

static void a_killed_node_is_found_dead(void **state)
{
    with_seeds(kill_one_of_five, &swim_profile_lan);
}

/* Of two, nobody can confirm: the suspicion lasts its minimum, and the dead third
 * that is still listed does not prolong it. */
static void kill_one_of_two(struct swim_net *net)
{
    swim_net_form(net, 3);
    swim_net_kill(net, 2);
    ASSERT(net, swim_net_until(net, 3, 4, MEMBER_DEAD, 60000) != NEVER);
    swim_net_kill(net, 1);

    uint64_t dead = swim_net_until(net, 1, 2, MEMBER_DEAD, 60000);

    uint64_t suspected = net->nodes[0].told_at[SWIM_SUSPECTED];
    ASSERT(net, dead >= suspected + 4000 && dead <= suspected + 4010);
}

static void stale_entries_do_not_prolong_a_suspicion(void **state)
{
    with_seeds(kill_one_of_two, &swim_profile_lan);
}

/* --- false alarms --- */

/* A node that is called suspect contradicts with a higher incarnation, and all
 * believe it. */
static void refute(struct swim_net *net)
{
    swim_net_form(net, 4);
    for (int i = 0; i < 3; i++)
        swim_net_link(net, 3, i)->cut = true; /* what it says is not heard */
    ASSERT(net, swim_net_until(net, 7, 8, MEMBER_SUSPECT, 20000) != NEVER);

    for (int i = 0; i < 3; i++)
        swim_net_link(net, 3, i)->cut = false;

    ASSERT(net, swim_net_until(net, 7, 8, MEMBER_ALIVE, 3500) != NEVER);
    ASSERT(net, net->nodes[0].told[SWIM_DEAD] == 0);
    ASSERT(net, swim_net_incarnation(net, 0, 3) > 1);
    ASSERT(net, net->nodes[3].remembered == swim_incarnation(net->nodes[3].swim));
}

static void a_suspect_contradicts(void **state)
{
    with_seeds(refute, &swim_profile_lan);
}

/* Two that do not hear each other vouch for each other through a third. */
static void one_way_cut(struct swim_net *net)
{
    swim_net_form(net, 4);
    swim_net_link(net, 0, 1)->cut = true;
    uint64_t failed = swim_net_counter(net, 0, "swim_probes_failed");

    swim_net_run(net, 60000);

    for (int i = 0; i < 4; i++)
        ASSERT(net, net->nodes[i].told[SWIM_SUSPECTED] == 0);
    ASSERT(net, swim_net_counter(net, 0, "swim_probes_failed") == failed);
}

static void indirect_pings_save_a_node_behind_a_cut(void **state)
{
    with_seeds(one_way_cut, &swim_profile_lan);
}

/* Where datagrams do not pass but streams do, the TCP ping keeps both alive. */
static void udp_lost(struct swim_net *net)
{
    swim_net_form(net, 2);
    swim_net_link(net, 0, 1)->loss_permille = 1000;
    swim_net_link(net, 1, 0)->loss_permille = 1000;

    swim_net_run(net, 60000);

    for (int i = 0; i < 2; i++) {
        ASSERT(net, net->nodes[i].told[SWIM_SUSPECTED] == 0);
        ASSERT(net, swim_net_counter(net, i, "swim_probes_saved_by_tcp") >= 20);
    }
}

static void a_tcp_ping_saves_where_datagrams_are_lost(void **state)
{
    with_seeds(udp_lost, &swim_profile_lan);
}

/* --- datagrams blocked, streams not --- */

static void block(struct swim_net *net, int from, int to, bool blocked)
{
    swim_net_link(net, from, to)->loss_permille = blocked ? 1000 : 0;
}

static struct swim_member view(struct swim_net *net, int i, int of)
{
    char name[16];
    struct swim_member member = {0};
    snprintf(name, sizeof name, "n%d", of);
    ASSERT(net, swim_find(net->nodes[i].swim, bytes_str(name), &member));
    return member;
}

static void block_host(struct swim_net *net, bool out, bool in, bool blocked)
{
    for (int i = 0; i < 3; i++) {
        if (out)
            block(net, 3, i, blocked);
        if (in)
            block(net, i, 3, blocked);
    }
}

/* Node 3 of four sits behind a firewall that lets no datagram out, in, or either. */
static void firewalled(struct swim_net *net, bool out, bool in)
{
    swim_net_form(net, 4);
    block_host(net, out, in, true);
    swim_net_run(net, 60000);
    for (int i = 0; i < 3; i++) {
        struct swim_member of_3 = view(net, i, 3), of_i = view(net, 3, i);
        ASSERT(net, of_3.from_blocked == out && of_3.to_blocked == !out);
        ASSERT(net, of_i.from_blocked == in && of_i.to_blocked == !in);
        ASSERT(net, of_3.error != NULL && of_3.error_ms > 0);
        ASSERT(net, net->nodes[i].told[SWIM_PATH] == 1);
        ASSERT(net, !view(net, i, (i + 1) % 3).to_blocked);
    }
    ASSERT(net, swim_net_agree(net, 15, 15, MEMBER_ALIVE));
    for (int i = 0; i < 4; i++) {
        ASSERT(net, net->nodes[i].told[SWIM_SUSPECTED] == 0);
        ASSERT(net, swim_health(net->nodes[i].swim) == 0);
    }

    /* It hears of a new member all the same, by push/pull, and is heard of. */
    swim_net_start(net, 4);
    swim_net_join(net, 4, 0);
    ASSERT(net, swim_net_until(net, 010, 020, MEMBER_ALIVE, 61000) != NEVER);

    block_host(net, out, in, false);
    swim_net_run(net, 20000);
    for (int i = 0; i < 3; i++) {
        struct swim_member of_3 = view(net, i, 3), of_i = view(net, 3, i);
        ASSERT(net, !of_3.from_blocked && !of_3.to_blocked && !of_i.from_blocked && !of_i.to_blocked);
    }
}

static void no_way_out(struct swim_net *net)
{
    firewalled(net, true, false);
}

static void no_way_in(struct swim_net *net)
{
    firewalled(net, false, true);
}

static void no_way_at_all(struct swim_net *net)
{
    firewalled(net, true, true);
}

/* It stays a member by its streams, both sides say which way is blocked, and say so no
 * more when it is open again. */
static void a_member_whose_datagrams_do_not_get_out_stays(void **state)
{
    with_seeds(no_way_out, &swim_profile_lan);
}

static void a_member_that_gets_no_datagrams_stays(void **state)
{
    with_seeds(no_way_in, &swim_profile_lan);
}

static void a_member_without_datagrams_stays(void **state)
{
    with_seeds(no_way_at_all, &swim_profile_lan);
}

/* One pair, one direction: helpers answer for them, and both ends say what is wrong. */
static void one_path(struct swim_net *net)
{
    swim_net_form(net, 4);
    block(net, 0, 1, true);
    swim_net_run(net, 60000);
    ASSERT(net, view(net, 0, 1).to_blocked && !view(net, 0, 1).from_blocked);
    ASSERT(net, view(net, 1, 0).from_blocked && !view(net, 1, 0).to_blocked);
    ASSERT(net, net->nodes[2].told[SWIM_PATH] == 0);
    block(net, 0, 1, false);
    swim_net_run(net, 20000);
    ASSERT(net, !view(net, 0, 1).to_blocked && !view(net, 1, 0).from_blocked);
}

/* Its streams fail for a moment as well, and it is suspected: that it hears by a stream,
 * and contradicts, before it is too late. */
static void short_cut(struct swim_net *net, int count)
{
    int last = count - 1;
    swim_net_form(net, count);
    for (int i = 0; i < last; i++) {
        block(net, i, last, true);
        block(net, last, i, true);
    }
    for (int i = 0; i < last; i++)
        swim_net_cut(net, i, last, true);
    swim_net_run(net, 2500);
    for (int i = 0; i < last; i++)
        swim_net_cut(net, i, last, false);
    swim_net_run(net, 60000);
    for (int i = 0; i < count; i++)
        ASSERT(net, net->nodes[i].told[SWIM_DEAD] == 0);
    uint64_t all = ((uint64_t)1 << count) - 1;
    ASSERT(net, swim_net_agree(net, all, all, MEMBER_ALIVE));
    ASSERT(net, net->nodes[0].told[SWIM_SUSPECTED] > 0 || net->nodes[last].told[SWIM_SUSPECTED] > 0);
}

static void short_cut_of_a_pair(struct swim_net *net)
{
    short_cut(net, 2);
}

static void short_cut_of_four(struct swim_net *net)
{
    short_cut(net, 4);
}

static void a_suspect_without_datagrams_contradicts(void **state)
{
    with_seeds(short_cut_of_a_pair, &swim_profile_lan);
    with_seeds(short_cut_of_four, &swim_profile_lan);
}

static void a_blocked_path_is_named_at_both_ends(void **state)
{
    with_seeds(one_path, &swim_profile_lan);
}

/* --- refusals --- */

/* Two nodes of one name: the join of the second fails, and all three say why. */
static void a_name_is_given_once(void **state)
{
    struct swim_net net;
    swim_net_init(&net, &swim_profile_lan, 1);
    swim_net_form(&net, 2);
    net.name = "n1";
    swim_net_start(&net, 2);
    swim_net_join(&net, 2, 0);
    swim_net_run(&net, 1500);
    assert_int_equal(net.nodes[2].join.err, ERR_REFUSED);
    assert_string_equal(net.nodes[2].join_text, "another node has our name and lives at 10.0.0.2:7946");
    for (int i = 0; i < 3; i++) {
        assert_true(net.nodes[i].told[SWIM_CONFLICT] > 0);
        assert_string_equal(net.nodes[i].about[SWIM_CONFLICT], "n1");
    }
    swim_net_run(&net, 40000); /* and say it again only after a while */
    assert_true(net.nodes[0].told[SWIM_CONFLICT] <= 2);
    swim_net_done(&net);
}

/* Two nodes of one replica, called differently: the same. */
static void a_replica_id_is_given_once(void **state)
{
    struct swim_net net;
    swim_net_init(&net, &swim_profile_lan, 1);
    net.id_len = 4;
    net.name = "one-id7";
    swim_net_start(&net, 0);
    net.name = "mid-id8";
    swim_net_start(&net, 1);
    swim_net_join(&net, 1, 0);
    swim_net_run(&net, 1000);
    assert_int_equal(net.nodes[1].join.err, OK);
    net.name = "two-id7";
    swim_net_start(&net, 2);
    swim_net_join(&net, 2, 1);
    swim_net_run(&net, 1500);
    assert_int_equal(net.nodes[2].join.err, ERR_REFUSED);
    assert_string_equal(net.nodes[2].join_text, "another node has our replica id and lives at 10.0.0.1:7946");
    assert_string_equal(net.nodes[2].about[SWIM_CONFLICT], "two-id7");
    assert_string_equal(net.nodes[0].about[SWIM_CONFLICT], "one-id7");
    assert_int_equal(net.nodes[1].told[SWIM_CONFLICT], 0);
    swim_net_done(&net);
}

/* The entry of a former life of ours, at another address, is no other node. */
static void a_former_life_is_no_namesake(void **state)
{
    struct swim_net net;
    swim_net_init(&net, &swim_profile_lan, 1);
    swim_net_form(&net, 3);
    swim_net_kill(&net, 2);
    swim_net_start_at(&net, 2, 99, 50);
    swim_net_join(&net, 2, 0);
    swim_net_run(&net, 50);
    assert_int_equal(net.nodes[2].told[SWIM_JOIN_DONE], 1);
    assert_int_equal(net.nodes[2].join.err, OK);
    swim_net_done(&net);
}

/* No version in common: both ends name the member and the range. */
static void versions_that_do_not_go_together_are_refused(void **state)
{
    static const uint8_t later[6] = {6, 8, 7};
    const char *why =
        "incompatible versions: n1 speaks protocol version 7, what all members understand is 6 to 5";
    struct swim_net net;
    swim_net_init(&net, &swim_profile_lan, 1);
    swim_net_start(&net, 0);
    net.vsn = later;
    swim_net_start(&net, 1);
    swim_net_join(&net, 1, 0);
    swim_net_run(&net, 100);
    assert_int_equal(net.nodes[1].join.err, ERR_VERSION);
    assert_int_equal(net.nodes[0].told[SWIM_REFUSED], 1);
    assert_string_equal(net.nodes[0].refused, why);
    assert_non_null(strstr(net.nodes[1].join_text, "incompatible versions: n"));
    assert_int_equal(swim_net_state(&net, 0, 1), -1);
    swim_net_done(&net);
}

/* --- bad networks --- */

/* A fifth of all datagrams lost, up to 100 ms of delay: nobody is declared dead. */
static void bad_network(struct swim_net *net)
{
    swim_net_form(net, 6);
    for (int a = 0; a < 6; a++)
        for (int b = 0; b < 6; b++)
            *swim_net_link(net, a,
                           b) = (struct vnet_link){.loss_permille = 200, .delay_min = 1, .delay_max = 100};

    swim_net_run(net, 300000);

    for (int i = 0; i < 6; i++)
        ASSERT(net, net->nodes[i].told[SWIM_DEAD] == 0);
    ASSERT(net, swim_net_agree(net, 63, 63, MEMBER_ALIVE));
}

static void loss_kills_nobody(void **state)
{
    with_seeds(bad_network, &swim_profile_lan);
}

/* --- leaving and coming back --- */

static void leave_and_return(struct swim_net *net)
{
    swim_net_form(net, 3);
    struct swim_node *leaver = &net->nodes[2];
    struct effects out = {0};
    swim_leave(leaver->swim, swim_net_now(net), &out);
    ASSERT(net, !swim_left_done(leaver->swim));
    vnet_apply(net->vnet, leaver->host, &out);

    ASSERT(net, swim_net_until(net, 3, 4, MEMBER_LEFT, 3000) != NEVER);
    swim_net_run(net, 2000);
    ASSERT(net, swim_left_done(leaver->swim));
    swim_net_run(net, 20000);
    for (int i = 0; i < 2; i++) {
        ASSERT(net, net->nodes[i].told[SWIM_SUSPECTED] == 0);
        ASSERT(net, net->nodes[i].told[SWIM_DEAD] == 0);
        ASSERT(net, net->nodes[i].told[SWIM_LEFT] == 1);
    }

    swim_net_join(net, 2, 0);
    ASSERT(net, swim_net_until(net, 7, 7, MEMBER_ALIVE, 3000) != NEVER);
}

/* Who leaves is listed as left, never suspected, and may join again. */
static void leaving_alarms_nobody(void **state)
{
    with_seeds(leave_and_return, &swim_profile_lan);
}

/* A node that starts above its last incarnation is believed at once. */
static void restart(struct swim_net *net)
{
    swim_net_form(net, 3);
    uint32_t last = net->nodes[2].remembered;
    swim_net_kill(net, 2);
    ASSERT(net, swim_net_until(net, 3, 4, MEMBER_DEAD, 60000) != NEVER);

    swim_net_start_at(net, 2, 3, last + 10);
    swim_net_join(net, 2, 0);
    swim_net_run(net, 50);

    ASSERT(net, swim_net_state(net, 0, 2) == MEMBER_ALIVE);
    ASSERT(net, swim_net_incarnation(net, 0, 2) == last + 10);
    ASSERT(net, swim_net_until(net, 7, 7, MEMBER_ALIVE, 1500) != NEVER);
}

static void a_restart_is_news_at_once(void **state)
{
    with_seeds(restart, &swim_profile_lan);
}

/* One that lost its incarnation, as a memberlist node does, learns of its old self
 * and contradicts that. */
static void restart_from_one(struct swim_net *net)
{
    swim_net_form(net, 3);
    swim_net_kill(net, 2);
    ASSERT(net, swim_net_until(net, 3, 4, MEMBER_DEAD, 60000) != NEVER);

    swim_net_start(net, 2);
    swim_net_join(net, 2, 0);

    ASSERT(net, swim_net_until(net, 7, 7, MEMBER_ALIVE, 3000) != NEVER);
    ASSERT(net, swim_incarnation(net->nodes[2].swim) == 2);
}

static void a_node_that_forgot_contradicts_its_obituary(void **state)
{
    with_seeds(restart_from_one, &swim_profile_lan);
}

/* Back at another address: a conflict while the old one is thought alive, accepted
 * at once where replication has proven who it is, and by all once the old is dead. */
static void move(struct swim_net *net)
{
    swim_net_form(net, 3);
    swim_net_kill(net, 2);
    swim_net_start_at(net, 2, 99, 50);
    swim_net_join(net, 2, 0);
    swim_net_run(net, 50);
    ASSERT(net, net->nodes[0].told[SWIM_CONFLICT] > 0);
    ASSERT(net, swim_net_incarnation(net, 0, 2) == 1);

    struct effects out = {0};
    swim_readdress(net->nodes[0].swim, swim_net_now(net), bytes_str("n2"), &net->nodes[2].addr, &out);
    vnet_apply(net->vnet, net->nodes[0].host, &out);
    swim_net_run(net, 50);

    struct swim_member member;
    ASSERT(net, swim_find(net->nodes[0].swim, bytes_str("n2"), &member));
    ASSERT(net, member.state == MEMBER_ALIVE && addr_equal(&member.addr, &net->nodes[2].addr));
    ASSERT(net, member.incarnation == 50);
    swim_net_run(net, 60000); /* node 1 had no proof: it waits for the old one's death */
    ASSERT(net, swim_find(net->nodes[1].swim, bytes_str("n2"), &member));
    ASSERT(net, member.state == MEMBER_ALIVE && addr_equal(&member.addr, &net->nodes[2].addr));
    ASSERT(net, swim_net_agree(net, 7, 7, MEMBER_ALIVE));
}

static void a_member_may_come_back_at_a_new_address(void **state)
{
    with_seeds(move, &swim_profile_lan);
}

/* --- splits --- */

static void split(struct swim_net *net)
{
    swim_net_form(net, 6);
    for (int a = 0; a < 3; a++)
        for (int b = 3; b < 6; b++)
            swim_net_cut(net, a, b, true);
    ASSERT(net, swim_net_until(net, 7, 070, MEMBER_DEAD, 120000) != NEVER);
    swim_net_run(net, 300000); /* long enough to be forgotten */
    ASSERT(net, swim_net_state(net, 0, 3) == -1);
    ASSERT(net, swim_net_agree(net, 7, 7, MEMBER_ALIVE));

    for (int a = 0; a < 3; a++)
        for (int b = 3; b < 6; b++)
            swim_net_cut(net, a, b, false);

    ASSERT(net, swim_net_until(net, 63, 63, MEMBER_ALIVE, 30000) != NEVER);
}

/* Two halves that forgot each other long ago find together by themselves. */
static void a_split_heals(void **state)
{
    with_seeds(split, &swim_profile_lan);
}

/* The same, before either half forgot the other. */
static void short_split(struct swim_net *net)
{
    swim_net_form(net, 6);
    for (int a = 0; a < 3; a++)
        for (int b = 3; b < 6; b++)
            swim_net_cut(net, a, b, true);
    ASSERT(net, swim_net_until(net, 7, 070, MEMBER_DEAD, 120000) != NEVER);
    ASSERT(net, swim_net_until(net, 070, 7, MEMBER_DEAD, 120000) != NEVER);

    for (int a = 0; a < 3; a++)
        for (int b = 3; b < 6; b++)
            swim_net_cut(net, a, b, false);

    ASSERT(net, swim_net_until(net, 63, 63, MEMBER_ALIVE, 30000) != NEVER);
}

static void a_short_split_heals(void **state)
{
    with_seeds(short_split, &swim_profile_lan);
}

/* Of two, each is the other's only hope: a ping within 5 s, and one exchange that both
 * contradict. */
static void pair_split(struct swim_net *net)
{
    swim_net_form(net, 2);
    swim_net_cut(net, 0, 1, true);
    ASSERT(net, swim_net_until(net, 1, 2, MEMBER_DEAD, 60000) != NEVER);
    ASSERT(net, swim_net_until(net, 2, 1, MEMBER_DEAD, 60000) != NEVER);
    swim_net_run(net, 15000); /* neither has forgotten the other: its death is on record */

    swim_net_cut(net, 0, 1, false);

    ASSERT(net, swim_net_until(net, 3, 3, MEMBER_ALIVE, 6100) != NEVER);
}

static void a_pair_finds_together(void **state)
{
    with_seeds(pair_split, &swim_profile_lan);
}

/* --- blocking --- */

/* A blocked member is neither taken nor answered, whoever speaks of it. */
static void a_blocked_member_stays_out(void **state)
{
    struct swim_net net;
    swim_net_init(&net, &swim_profile_lan, 1);
    for (int i = 0; i < 3; i++)
        swim_net_start(&net, i);
    net.nodes[0].blocked = "n2";
    swim_net_join(&net, 1, 0);
    swim_net_run(&net, 1000);
    swim_net_join(&net, 2, 0);
    swim_net_run(&net, 1000);
    assert_int_equal(net.nodes[2].join.err, ERR_REFUSED);
    assert_string_equal(net.nodes[2].join_text, "n2 is blocked there (Peering.Block)");
    assert_string_equal(net.nodes[0].refused, "n2 is blocked here (Peering.Block)");
    assert_int_equal(swim_net_state(&net, 2, 0), -1);

    swim_net_join(&net, 2, 1); /* by the back door */
    swim_net_run(&net, 60000);

    assert_int_equal(swim_net_state(&net, 0, 2), -1);
    assert_int_equal(swim_net_state(&net, 0, 1), MEMBER_ALIVE);
    assert_true(swim_net_counter(&net, 0, "swim_blocked") > 0);
    swim_net_done(&net);
}

/* The other way round it is the answer that is refused, and the first probe that says
 * so over there. */
static void a_blocked_member_is_not_joined(void **state)
{
    struct swim_net net;
    swim_net_init(&net, &swim_profile_lan, 1);
    for (int i = 0; i < 2; i++)
        swim_net_start(&net, i);
    net.nodes[0].blocked = "n1";
    swim_net_join(&net, 0, 1);
    swim_net_run(&net, 100);
    assert_int_equal(net.nodes[0].join.err, ERR_REFUSED);
    assert_string_equal(net.nodes[0].join_text, "n1 is blocked here (Peering.Block)");
    assert_int_equal(swim_net_state(&net, 0, 1), -1);
    swim_net_run(&net, 5000);
    assert_string_equal(net.nodes[1].refused, "n1 is blocked there (Peering.Block)");
    swim_net_done(&net);
}

/* Blocked while it was a member: forgotten at once, whoever speaks of it, and nobody else
 * is alarmed. Unblocked, it comes back by itself. */
static void block_at_runtime(struct swim_net *net)
{
    struct effects out = {0};
    swim_net_form(net, 3);
    net->nodes[0].blocked = "n2";
    swim_blocks_changed(net->nodes[0].swim, swim_net_now(net), &out);
    vnet_apply(net->vnet, net->nodes[0].host, &out);
    ASSERT(net, swim_net_state(net, 0, 2) == -1);
    swim_net_run(net, 60000);
    ASSERT(net, swim_net_state(net, 0, 2) == -1);
    ASSERT(net, net->nodes[0].told[SWIM_BLOCKED] == 1);
    ASSERT(net, net->nodes[1].told[SWIM_SUSPECTED] == 0 && net->nodes[1].told[SWIM_DEAD] == 0);
    for (int s = 0; s < 300 && !net->nodes[2].refused[0]; s++) /* by its next exchange, or a ping */
        swim_net_run(net, 1000);
    ASSERT(net, strcmp(net->nodes[2].refused, "n2 is blocked there (Peering.Block)") == 0);
    net->nodes[0].blocked = NULL;
    ASSERT(net, swim_net_until(net, 7, 7, MEMBER_ALIVE, 70000) != NEVER);
}

static void a_member_can_be_blocked(void **state)
{
    with_seeds(block_at_runtime, &swim_profile_lan);
}

/* Among the lost, too: it is not looked for. */
static void a_blocked_member_is_not_looked_for(void **state)
{
    struct swim_net net;
    struct effects out = {0};
    swim_net_init(&net, &swim_profile_lan, 1);
    swim_net_form(&net, 2);
    swim_net_kill(&net, 1);
    assert_true(swim_net_until(&net, 1, 2, MEMBER_DEAD, 30000) != NEVER);
    net.nodes[0].blocked = "n1";
    swim_blocks_changed(net.nodes[0].swim, swim_net_now(&net), &out);
    effects_done(&out);
    swim_seek(net.nodes[0].swim, swim_net_now(&net), bytes_str("n1"), &net.nodes[1].addr);
    assert_int_equal(swim_sought_count(net.nodes[0].swim), 0);
    swim_net_done(&net);
}

/* Who left and joined again goes on looking for those it had lost. */
static void the_lost_are_looked_for_after_a_return(void **state)
{
    struct swim_net net;
    struct effects out = {0};
    swim_net_init(&net, &swim_profile_lan, 1);
    swim_net_form(&net, 2);
    swim_net_kill(&net, 1);
    assert_true(swim_net_until(&net, 1, 2, MEMBER_DEAD, 30000) != NEVER);
    swim_leave(net.nodes[0].swim, swim_net_now(&net), &out);
    vnet_apply(net.vnet, net.nodes[0].host, &out);
    swim_net_run(&net, 60000);
    swim_net_start(&net, 2);
    swim_net_join(&net, 0, 2);
    swim_net_run(&net, 1000);
    swim_net_start_at(&net, 1, 2, 50);
    assert_true(swim_net_until(&net, 7, 7, MEMBER_ALIVE, 20000) != NEVER);
    swim_net_done(&net);
}

/* The same seed is the same run, to the last counter. */
static void a_seed_repeats_its_run(void **state)
{
    uint64_t seen[2][3];
    for (int run = 0; run < 2; run++) {
        struct swim_net net;
        swim_net_init(&net, &swim_profile_lan, 99);
        swim_net_form(&net, 5);
        swim_net_link(&net, 0, 1)->loss_permille = 300;
        swim_net_kill(&net, 4);
        seen[run][0] = swim_net_until(&net, 15, 16, MEMBER_DEAD, 60000);
        seen[run][1] = swim_net_counter(&net, 0, "swim_packets_in");
        seen[run][2] = swim_net_counter(&net, 3, "swim_packets_out");
        swim_net_done(&net);
    }
    assert_memory_equal(seen[0], seen[1], sizeof seen[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_nodes_join),
        cmocka_unit_test(a_join_into_nothing_fails),
        cmocka_unit_test(a_killed_node_is_found_dead),
        cmocka_unit_test(stale_entries_do_not_prolong_a_suspicion),
        cmocka_unit_test(a_suspect_contradicts),
        cmocka_unit_test(indirect_pings_save_a_node_behind_a_cut),
        cmocka_unit_test(a_tcp_ping_saves_where_datagrams_are_lost),
        cmocka_unit_test(a_member_whose_datagrams_do_not_get_out_stays),
        cmocka_unit_test(a_member_that_gets_no_datagrams_stays),
        cmocka_unit_test(a_member_without_datagrams_stays),
        cmocka_unit_test(a_suspect_without_datagrams_contradicts),
        cmocka_unit_test(a_blocked_path_is_named_at_both_ends),
        cmocka_unit_test(a_name_is_given_once),
        cmocka_unit_test(a_replica_id_is_given_once),
        cmocka_unit_test(a_former_life_is_no_namesake),
        cmocka_unit_test(versions_that_do_not_go_together_are_refused),
        cmocka_unit_test(loss_kills_nobody),
        cmocka_unit_test(leaving_alarms_nobody),
        cmocka_unit_test(a_restart_is_news_at_once),
        cmocka_unit_test(a_node_that_forgot_contradicts_its_obituary),
        cmocka_unit_test(a_member_may_come_back_at_a_new_address),
        cmocka_unit_test(a_split_heals),
        cmocka_unit_test(a_short_split_heals),
        cmocka_unit_test(a_pair_finds_together),
        cmocka_unit_test(a_blocked_member_stays_out),
        cmocka_unit_test(a_blocked_member_is_not_joined),
        cmocka_unit_test(a_member_can_be_blocked),
        cmocka_unit_test(a_blocked_member_is_not_looked_for),
        cmocka_unit_test(the_lost_are_looked_for_after_a_return),
        cmocka_unit_test(a_seed_repeats_its_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
