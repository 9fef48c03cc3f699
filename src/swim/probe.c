/* Failure detection (SWIM 4.1, 4.3; Lifeguard IV-A): one member is probed per probe
 * interval, each once a round.
 *
 *   t = 0              ping (to a suspect: with the suspicion, so that it can refute)
 *   t = probe timeout  no ack: indirect pings through a few others, and a TCP ping
 *   t = interval'      still none: suspect
 *
 * interval' = probe interval * (health score + 1): a node that has reason to think
 * that it is itself the slow one waits longer. The score falls with every probe
 * that is answered; it rises when helpers that should have sent a nack are silent
 * too, and when we must refute something about ourselves. */
#include "swim_state.h"

#include "check.h"
#include "mem.h"

#include <stdlib.h>

static bool pings_on_stream(const struct member *member)
{
    return member->vsn[1] >= 3; /* pmax */
}

static bool sends_nacks(const struct member *member)
{
    return member->vsn[1] >= 4;
}

struct wire_message swim_ping_of(const struct swim *s, struct bytes node, uint32_t seq)
{
    return (struct wire_message){.type = WIRE_PING,
                                 .ping = {.node = node,
                                          .seq = seq,
                                          .source_addr = wire_ip(&s->addr),
                                          .source_node = s->members.self->name,
                                          .source_port = s->addr.port}};
}

/* --- our own probe --- */

static void finish_probe(struct swim *s)
{
    timers_cancel(&s->timers, &s->probe.timer);
    if (s->probe.has_stream)
        swim_stream_abandon(s, s->probe.stream);
    s->probe = (struct probe){0};
}

static void probe_succeeded(struct swim *s)
{
    swim_health_add(s, -1);
    finish_probe(s);
}

static bool is_helper(const void *ctx, const struct member *member)
{
    return member->state == MEMBER_ALIVE && member != ctx;
}

static void ask_others(struct swim *s)
{
    struct probe *probe = &s->probe;
    struct member *target = probe->target, *helpers[SWIM_CHECKS_MAX];
    probe->indirect = true;
    timers_set(&s->timers, &probe->timer, probe->end);
    size_t count = members_pick(&s->members, false, is_helper, target, s->profile->indirect_checks, helpers);
    for (size_t i = 0; i < count; i++) {
        bool nack = sends_nacks(helpers[i]) && !s->profile->no_local_health;
        probe->nacks_wanted += nack;
        struct wire_message request = {.type = WIRE_INDIRECT_PING,
                                       .indirect_ping = {.nack = nack,
                                                         .node = target->name,
                                                         .target = wire_ip(&target->addr),
                                                         .port = target->addr.port,
                                                         .seq = probe->seq,
                                                         .source_addr = wire_ip(&s->addr),
                                                         .source_node = s->members.self->name,
                                                         .source_port = s->addr.port}};
        swim_send(s, &helpers[i]->addr, &request);
    }
    if (pings_on_stream(target))
        swim_stream_open_ping(s, target, probe->seq, probe->end - s->now);
}

static void probe_failed(struct swim *s)
{
    struct member *target = s->probe.target;
    unsigned wanted = s->probe.nacks_wanted, got = s->probe.nacks_got;
    uint32_t incarnation = s->probe.incarnation;
    swim_count_one(s, COUNT_PROBES_FAILED);
    target->error = "did not answer a ping, neither by UDP, nor through others, nor by TCP";
    target->error_at = s->now;
    swim_health_add(s, wanted == 0 ? 1 : got < wanted ? (int)(wanted - got) : 0);
    finish_probe(s);
    swim_news_suspect(s, &(struct wire_accusation){.from = s->members.self->name,
                                                   .node = target->name,
                                                   .incarnation = incarnation});
}

void swim_probe_timeout(struct swim *s)
{
    if (!s->probe.indirect && s->now < s->probe.end) {
        ask_others(s);
    } else if (s->probe.answered_on_stream) { /* UDP is lost on the way, but it lives */
        swim_count_one(s, COUNT_TCP_SAVED);
        swim_path_missed(s, s->probe.target, s->probe.start);
        probe_succeeded(s);
    } else {
        probe_failed(s);
    }
}

void swim_unreachable(struct swim *s, uint64_t now_ms, const struct addr *to, struct effects *out)
{
    struct member *target = s->probe.target;
    s->now = now_ms;
    s->out = out;
    swim_count_one(s, COUNT_UNREACHABLE);
    if (!target || s->probe.indirect || s->now >= s->probe.end || !addr_equal(&target->addr, to))
        return;
    target->error = "a datagram to it could not be sent";
    target->error_at = s->now;
    ask_others(s);
}

void swim_probe_forget(struct swim *s, const struct member *member)
{
    if (s->probe.target == member)
        finish_probe(s);
}

void swim_probe_stream_answer(struct swim *s, uint64_t stream)
{
    if (s->probe.target && s->probe.has_stream && s->probe.stream == stream) {
        s->probe.answered_on_stream = true;
        s->probe.has_stream = false;                  /* the stream is closed by its reader */
        if (s->probe.target->state == MEMBER_SUSPECT) /* gossip may not reach it either */
            swim_stream_open_convince(s, s->probe.target);
    }
}

/* It lives, and will have nothing to do with us: its reason is told by the stream. */
void swim_probe_stream_refused(struct swim *s, uint64_t stream)
{
    if (!s->probe.target || !s->probe.has_stream || s->probe.stream != stream)
        return;
    s->probe.has_stream = false;
    s->probe.target->error = "refuses our pings by TCP";
    s->probe.target->error_at = s->now;
}

static void start_probe(struct swim *s, struct member *target)
{
    uint64_t interval = (uint64_t)s->profile->probe_interval_ms * (s->health + 1);
    s->probe = (struct probe){.target = target,
                              .incarnation = target->incarnation,
                              .seq = swim_new_seq(s),
                              .start = s->now,
                              .start_us = swim_now_us(s),
                              .end = s->now + interval,
                              .timer.kind = TIMER_PROBE};
    swim_count_one(s, COUNT_PROBES);
    timers_set(&s->timers, &s->probe.timer, s->now + s->profile->probe_timeout_ms);
    struct wire_message ping = swim_ping_of(s, target->name, s->probe.seq);
    if (target->state == MEMBER_SUSPECT && !s->profile->no_buddy)
        swim_send_ping_suspect(s, target, &ping);
    else
        swim_send(s, &target->addr, &ping);
}

void swim_probe_tick(struct swim *s)
{
    timers_set(&s->timers, &s->probe_tick_timer, s->now + s->profile->probe_interval_ms);
    if (s->probe.target && s->now >= s->probe.end)
        swim_probe_timeout(s); /* both are due: the old probe ends first */
    if (s->probe.target)
        return;
    struct member *target = members_next_probe(&s->members);
    if (!target) {
        swim_reap(s);
        target = members_next_probe(&s->members);
    }
    if (target)
        start_probe(s, target);
}

/* --- pings for others --- */

/* NULL when too many are under way, or this number's place is taken. */
static struct relay *new_relay(struct swim *s)
{
    uint32_t seq = swim_new_seq(s);
    struct relay **place = &s->relays[seq % SWIM_RELAYS_MAX];
    if (*place)
        return NULL;
    struct relay *relay = mem_new(sizeof *relay);
    *relay = (struct relay){.seq = seq, .timer.kind = TIMER_RELAY};
    timers_set(&s->timers, &relay->timer, s->now + s->profile->probe_timeout_ms);
    *place = relay;
    return relay;
}

static void end_relay(struct swim *s, struct relay *relay)
{
    timers_cancel(&s->timers, &relay->timer);
    s->relays[relay->seq % SWIM_RELAYS_MAX] = NULL;
    free(relay);
}

void swim_relays_done(struct swim *s)
{
    for (size_t i = 0; i < SWIM_RELAYS_MAX; i++)
        if (s->relays[i])
            end_relay(s, s->relays[i]);
}

void swim_relay_timeout(struct swim *s, struct relay *relay)
{
    struct wire_message nack = {.type = WIRE_NACK, .nack.seq = relay->requester_seq};
    if (relay->nack)
        swim_send(s, &relay->to, &nack);
    end_relay(s, relay);
}

/* Where the answer goes: the address that the message names, else where it came from. */
static struct addr answer_to(const struct addr *from, struct bytes ip, uint16_t port)
{
    struct addr named;
    return port != 0 && wire_addr(ip, port, &named) == OK ? named : *from;
}

void swim_on_indirect_ping(struct swim *s, const struct addr *from, const struct wire_indirect_ping *ping)
{
    struct addr target;
    if (swim_is_blocked(s, ping->source_node, bytes_of(NULL, 0)) ||
        swim_is_blocked(s, ping->node, bytes_of(NULL, 0))) {
        swim_count_one(s, COUNT_BLOCKED);
        return;
    }
    if (ping->node.len > SWIM_NAME_MAX ||
        wire_addr(ping->target, ping->port ? ping->port : s->addr.port, &target) != OK) {
        swim_count_one(s, COUNT_BAD_ADDRESS);
        return;
    }
    struct relay *relay = new_relay(s);
    if (!relay) {
        swim_count_one(s, COUNT_RELAYS_REFUSED);
        return;
    }
    relay->to = answer_to(from, ping->source_addr, ping->source_port);
    relay->requester_seq = ping->seq;
    relay->nack = ping->nack;
    struct wire_message own = swim_ping_of(s, ping->node, relay->seq);
    swim_send(s, &target, &own);
}

bool swim_ping_lost(struct swim *s, const struct lost *lost, size_t key_at)
{
    struct relay *relay = new_relay(s);
    if (!relay)
        return false;
    relay->heals = true;
    relay->to = lost->addr;
    struct wire_message ping = swim_ping_of(s, lost->name, relay->seq);
    swim_send_by(s, &lost->addr, key_at, &ping);
    return true;
}

/* --- answers --- */

void swim_on_ping(struct swim *s, const struct addr *from, const struct wire_ping *ping)
{
    if (ping->node.len > 0 && !bytes_equal(ping->node, s->members.self->name)) {
        swim_count_one(s, COUNT_WRONG_PING);
        return;
    }
    if (swim_is_blocked(s, ping->source_node, bytes_of(NULL, 0))) {
        swim_count_one(s, COUNT_BLOCKED);
        return;
    }
    struct member *pinger = members_find(&s->members, ping->source_node);
    if (pinger && pinger != s->members.self)
        swim_path_heard(s, pinger);
    struct addr to = answer_to(from, ping->source_addr, ping->source_port);
    swim_send(s, &to, &(struct wire_message){.type = WIRE_ACK, .ack.seq = ping->seq});
}

/* As TCP does (RFC 6298), each counts for an eighth. */
static void take_round_trip(struct member *member, uint64_t took_us)
{
    int64_t us = (int64_t)took_us;
    member->rtt_us = member->rtt_known ? (uint32_t)(member->rtt_us + (us - member->rtt_us) / 8)
                                       : (uint32_t)us;
    member->rtt_known = true;
}

static void probe_answered(struct swim *s, const struct addr *from)
{
    struct member *target = s->probe.target;
    bool direct = !s->probe.indirect || addr_equal(from, &target->addr); /* or else a helper's */
    if (direct) {
        take_round_trip(target, swim_now_us(s) - s->probe.start_us);
        swim_path_works(s, target);
    } else {
        swim_path_missed(s, target, s->probe.start);
    }
    probe_succeeded(s);
}

void swim_on_ack(struct swim *s, const struct addr *from, const struct wire_ack *ack)
{
    if (s->probe.target && s->probe.seq == ack->seq) {
        probe_answered(s, from);
        return;
    }
    struct relay *relay = s->relays[ack->seq % SWIM_RELAYS_MAX];
    if (!relay || relay->seq != ack->seq)
        return; /* too late, or not for us */
    struct addr to = relay->to;
    struct wire_message answer = {.type = WIRE_ACK, .ack.seq = relay->requester_seq};
    bool heals = relay->heals;
    end_relay(s, relay);
    if (heals)
        swim_heal_answered(s, &to);
    else
        swim_send(s, &to, &answer);
}

void swim_on_nack(struct swim *s, const struct wire_nack *nack)
{
    if (s->probe.target && s->probe.seq == nack->seq)
        s->probe.nacks_got++;
}
