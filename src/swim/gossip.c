/* Datagrams: what comes in is unpacked and handed on message by message; what goes
 * out takes waiting news along (SWIM 4.1), and every gossip interval the news that
 * is left goes to a few random members. */
#include "swim_state.h"

#include "check.h"

/* --- out --- */

struct sending {
    struct swim *s;
    const struct addr *to;
    size_t key_at;
    struct bytes first; /* the message itself; empty when there is only gossip */
    bool crc;
};

/* What the label and the seal leave of a packet. */
static size_t budget_of(const struct swim *s, size_t used)
{
    used += envelope_packet_overhead(&s->envelope);
    return used < PACKET_BUDGET ? PACKET_BUDGET - used : 0;
}

/* Who still seals with an older key of ours is answered with that: it may not have
 * the newer one yet. */
static size_t key_for(const struct swim *s, const struct addr *to)
{
    return s->heard_from && addr_equal(to, s->heard_from) ? s->heard_key : 0;
}

static void send_parts(struct swim *s, const struct addr *to, size_t key_at, const struct bytes *parts,
                       size_t count, bool crc)
{
    struct buf plain, packet;
    buf_init(&plain, PACKET_MAX);
    buf_init(&packet, PACKET_MAX);
    packet_build(&plain, parts, count, s->compress, crc);
    struct addr where = addr_unmapped(*to);
    if (plain.err == OK)
        envelope_put_packet(&s->envelope, key_at, buf_bytes(&plain), &packet);
    if (plain.err == OK && packet.err == OK) {
        swim_count_one(s, COUNT_PACKETS_OUT);
        effects_datagram(s->out, &where, buf_bytes(&packet));
    }
    buf_done(&plain);
    buf_done(&packet);
}

static void send_with(void *ctx, const struct bytes *messages, size_t count)
{
    const struct sending *sending = ctx;
    struct bytes parts[COMPOUND_PARTS_MAX];
    size_t n = 0;
    if (sending->first.len > 0)
        parts[n++] = sending->first;
    for (size_t i = 0; i < count; i++)
        parts[n++] = messages[i];
    send_parts(sending->s, sending->to, sending->key_at, parts, n, sending->crc);
}

static unsigned transmissions(const struct swim *s)
{
    return retransmit_limit(s->profile, s->members.count);
}

void swim_send_by(struct swim *s, const struct addr *to, size_t key_at, const struct wire_message *message)
{
    struct buf b;
    buf_init(&b, PACKET_MAX / 2);
    wire_put(&b, message);
    if (b.err == OK) {
        struct sending sending = {s, to, key_at, buf_bytes(&b), false};
        size_t used = COMPOUND_HEADER + COMPOUND_PER_PART + b.len;
        if (broadcasts_take(&s->broadcasts, budget_of(s, used), COMPOUND_PER_PART, COMPOUND_PARTS_MAX - 1,
                            transmissions(s), send_with, &sending) == 0)
            send_with(&sending, NULL, 0);
    }
    buf_done(&b);
}

void swim_send(struct swim *s, const struct addr *to, const struct wire_message *message)
{
    struct addr where = addr_unmapped(*to);
    swim_send_by(s, to, key_for(s, &where), message);
}

static bool takes_crc(const struct member *to)
{
    return to->vsn[1] >= 5; /* pmax */
}

/* Lifeguard IV-C, the buddy system: who is suspected hears so at once. */
void swim_send_ping_suspect(struct swim *s, const struct member *to, const struct wire_message *ping)
{
    struct buf both;
    buf_init(&both, PACKET_MAX / 2);
    wire_put(&both, ping);
    size_t ping_len = both.len;
    wire_put(&both, &(struct wire_message){.type = WIRE_SUSPECT,
                                           .accusation = {.from = s->members.self->name,
                                                          .node = to->name,
                                                          .incarnation = to->incarnation}});
    if (both.err == OK)
        send_parts(s, &to->addr, 0,
                   (struct bytes[]){bytes_of(both.data, ping_len),
                                    bytes_of(both.data + ping_len, both.len - ping_len)},
                   2, takes_crc(to));
    buf_done(&both);
}

void swim_broadcast(struct swim *s, struct member *about, const struct wire_message *message)
{
    struct buf b;
    buf_init(&b, PACKET_BUDGET);
    wire_put(&b, message);
    if (b.err == OK)
        broadcast_queue(&s->broadcasts, &about->broadcast, &b);
    buf_done(&b);
    if (s->broadcasts.count > 0 && !timer_is_set(&s->gossip_timer)) {
        /* As if it ticked all the time: at the next multiple of the interval. */
        uint64_t interval = s->profile->gossip_interval_ms;
        uint64_t into = (s->now + interval - s->gossip_phase) % interval;
        timers_set(&s->timers, &s->gossip_timer, s->now + interval - into);
    }
}

/* Also to those who died lately: if we are wrong, they hear it and contradict. */
static bool hears_gossip(const void *ctx, const struct member *member)
{
    const struct swim *s = ctx;
    if (member->state == MEMBER_DEAD)
        return s->now - member->since < s->profile->gossip_to_the_dead_ms;
    return member->state != MEMBER_LEFT;
}

void swim_gossip(struct swim *s)
{
    struct member *to[SWIM_CHECKS_MAX];
    size_t count = members_pick(&s->members, true, hears_gossip, s, s->profile->gossip_nodes, to);
    for (size_t i = 0; i < count; i++) {
        struct sending sending = {s, &to[i]->addr, 0, bytes_of(NULL, 0), takes_crc(to[i])};
        broadcasts_take(&s->broadcasts, budget_of(s, COMPOUND_HEADER), COMPOUND_PER_PART, COMPOUND_PARTS_MAX,
                        transmissions(s), send_with, &sending);
    }
    /* Alone, it waits: whoever comes is news, which starts the timer again. */
    if (s->broadcasts.count > 0 && s->members.count > 1)
        timers_set(&s->timers, &s->gossip_timer, s->now + s->profile->gossip_interval_ms);
}

/* --- in --- */

struct receiving {
    struct swim *s;
    const struct addr *from;
};

static void on_message(void *ctx, struct bytes bytes)
{
    struct receiving *r = ctx;
    struct swim *s = r->s;
    struct wire_message message;
    if (bytes.data[0] == WIRE_USER) {
        swim_count_one(s, COUNT_USER_MESSAGES);
        return;
    }
    enum err err = wire_decode(bytes, &message);
    if (err != OK) {
        swim_count_one(s, err == ERR_VERSION ? COUNT_UNKNOWN_TYPE : COUNT_MALFORMED);
        return;
    }
    switch (message.type) {
    case WIRE_PING:
        swim_on_ping(s, r->from, &message.ping);
        break;
    case WIRE_INDIRECT_PING:
        swim_on_indirect_ping(s, r->from, &message.indirect_ping);
        break;
    case WIRE_ACK:
        swim_on_ack(s, r->from, &message.ack);
        break;
    case WIRE_NACK:
        swim_on_nack(s, &message.nack);
        break;
    case WIRE_SUSPECT:
        swim_news_suspect(s, &message.accusation);
        break;
    case WIRE_ALIVE:
        swim_news_alive(s, &message.alive);
        break;
    case WIRE_DEAD:
        swim_news_dead(s, &message.accusation);
        break;
    default: /* push/pull and err belong on streams */
        swim_count_one(s, COUNT_UNKNOWN_TYPE);
    }
}

void swim_datagram(struct swim *s, uint64_t now_ms, const struct addr *from, struct bytes packet,
                   struct effects *out)
{
    struct receiving receiving = {s, from};
    struct packet_faults faults = {0};
    s->now = now_ms;
    s->out = out;
    swim_count_one(s, COUNT_PACKETS_IN);
    if (packet.len > PACKET_MAX) {
        swim_count_one(s, COUNT_OVERSIZED);
        return;
    }
    if (packet.len == 0)
        return;
    struct addr heard_from = addr_unmapped(*from);
    struct bytes plain;
    struct buf scratch;
    buf_init(&scratch, PACKET_MAX);
    enum envelope_fault fault = envelope_open_packet(&s->envelope, packet, &scratch, &plain, &s->heard_key);
    if (fault == ENVELOPE_FINE) {
        s->heard_from = &heard_from;
        packet_read(plain, on_message, &receiving, &faults);
        s->heard_from = NULL;
    } else {
        swim_count_one(s, fault == ENVELOPE_LABEL    ? COUNT_LABELLED
                          : fault == ENVELOPE_SEALED ? COUNT_ENCRYPTED
                          : fault == ENVELOPE_KEY    ? COUNT_WRONG_KEY
                                                     : COUNT_UNSEALED);
    }
    buf_done(&scratch);
    s->counters[COUNT_BAD_CRC] += faults.bad_crc;
    s->counters[COUNT_TRUNCATED_COMPOUND] += faults.truncated_compounds;
    s->counters[COUNT_BAD_COMPRESSION] += faults.bad_compressions + faults.unknown_compressions;
    s->counters[COUNT_TOO_DEEP] += faults.too_deep;
}
