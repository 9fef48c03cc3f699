#include "swim_rig.h"

#include <stdlib.h>

#include "check.h"
#include "mem.h"
#include "packet.h"

static struct addr host(int last)
{
    return (struct addr){{10, 0, 0, (uint8_t)last}, 4, 7946};
}

uint64_t rig_new_stream(void *ctx)
{
    return ++((struct rig *)ctx)->next_stream;
}

static bool is_blocked(void *ctx, struct bytes name, struct bytes meta)
{
    const struct rig *r = ctx;
    return r->blocked && bytes_equal(name, bytes_str(r->blocked));
}

static struct rig *rig_of(const struct swim_profile *profile, struct keyring *keys, const char *label)
{
    struct rig *r = mem_new(sizeof *r);
    r->envelope = (struct envelope){.keys = keys, .label = bytes_str(label), .seal_version = SEAL_VERSION};
    r->now = 100000;
    struct swim_config config = {.name = bytes_str("self"),
                                 .self = host(1),
                                 .profile = profile,
                                 .seed = 1,
                                 .keys = keys,
                                 .label = bytes_str(label),
                                 .ctx = r,
                                 .blocked = is_blocked,
                                 .new_stream = rig_new_stream};
    r->s = swim_new(&config, r->now);
    return r;
}

struct rig *rig_new(const struct swim_profile *profile)
{
    return rig_of(profile, NULL, "");
}

struct rig *rig_new_sealed(struct keyring *keys, const char *label)
{
    return rig_of(&swim_profile_lan, keys, label);
}

void rig_forget(struct rig *r)
{
    for (size_t i = 0; i < r->sent_count; i++)
        free(r->sent[i].memory);
    r->sent_count = 0;
}

void rig_free(struct rig *r)
{
    rig_forget(r);
    for (size_t i = 0; i < r->stream_count; i++)
        buf_done(&r->streams[i].sent), buf_done(&r->streams[i].raw);
    swim_free(r->s);
    free(r);
}

/* --- what it does --- */

struct keeping {
    struct rig *r;
    const struct addr *to;
    size_t packet_len, first;
};

static void keep(void *ctx, struct bytes message)
{
    struct keeping *k = ctx;
    CHECK(k->r->sent_count < RIG_SENT_MAX);
    struct rig_sent *sent = &k->r->sent[k->r->sent_count++];
    *sent = (struct rig_sent){.at = k->r->now,
                              .to = *k->to,
                              .packet = k->r->packet_count,
                              .packet_len = k->packet_len,
                              .compound = k->r->sent_count - 1 > k->first,
                              .memory = mem_copy(message.data, message.len)};
    if (sent->compound)
        k->r->sent[k->first].compound = true;
    CHECK(wire_decode(bytes_of(sent->memory, message.len), &sent->m) == OK);
}

static void keep_packet(struct keeping *k, struct bytes packet)
{
    struct packet_faults faults = {0};
    struct bytes plain;
    struct buf scratch;
    size_t at;
    buf_init(&scratch, PACKET_MAX);
    if (packet.len > k->r->largest_packet)
        k->r->largest_packet = packet.len;
    CHECK(envelope_open_packet(&k->r->envelope, packet, &scratch, &plain, &at) == ENVELOPE_FINE);
    packet_read(plain, keep, k, &faults);
    buf_done(&scratch);
}

static struct rig_stream *stream_of(struct rig *r, uint64_t id)
{
    for (size_t i = 0; i < r->stream_count; i++)
        if (r->streams[i].id == id)
            return &r->streams[i];
    CHECK(r->stream_count < RIG_STREAMS_MAX);
    struct rig_stream *stream = &r->streams[r->stream_count++];
    stream->id = id;
    buf_init(&stream->sent, SIZE_MAX);
    buf_init(&stream->raw, SIZE_MAX);
    return stream;
}

/* A whole message, as swim sends it. */
static void keep_sent(struct rig *r, struct rig_stream *stream, struct bytes bytes)
{
    struct bytes label;
    struct buf opened;
    struct wire_message m;
    size_t used, at;
    buf_put_bytes(&stream->raw, bytes);
    buf_init(&opened, SIZE_MAX);
    CHECK(envelope_read_label(bytes, &label, &used) == OK);
    bytes = bytes_of(bytes.data + used, bytes.len - used);
    if (bytes.data[0] == WIRE_ENCRYPT) {
        CHECK(envelope_open_stream(&r->envelope, bytes, &opened, &at) == OK);
        bytes = buf_bytes(&opened);
    }
    if (bytes.data[0] != WIRE_COMPRESS)
        buf_put_bytes(&stream->sent, bytes);
    else
        CHECK(wire_decode(bytes, &m) == OK && packet_decompress(&m.compress, &stream->sent) == OK);
    buf_done(&opened);
}

static void take(struct rig *r, struct effects *out)
{
    for (size_t i = 0; i < out->count; i++) {
        const struct effect *effect = &out->list[i];
        struct keeping keeping = {r, &effect->to, effect->bytes.len, r->sent_count};
        if (effect->kind == EFFECT_DATAGRAM)
            keep_packet(&keeping, buf_bytes(&effect->bytes)), r->packet_count++;
        else if (effect->kind == EFFECT_STREAM_OPEN)
            stream_of(r, effect->stream)->opened_by_us = true;
        else if (effect->kind == EFFECT_STREAM_SEND)
            keep_sent(r, stream_of(r, effect->stream), buf_bytes(&effect->bytes));
        else if (effect->kind == EFFECT_STREAM_CLOSE)
            stream_of(r, effect->stream)->closed = true;
    }
    effects_done(out);
}

void rig_run(struct rig *r, uint64_t until)
{
    while (swim_deadline(r->s) <= until) {
        struct effects out = {0};
        if (swim_deadline(r->s) > r->now)
            r->now = swim_deadline(r->s);
        swim_tick(r->s, r->now, &out);
        take(r, &out);
    }
    r->now = until;
}

void rig_feed_raw(struct rig *r, int from, struct bytes packet)
{
    struct effects out = {0};
    struct addr addr = host(from);
    swim_datagram(r->s, r->now, &addr, packet, &out);
    take(r, &out);
}

void rig_feed(struct rig *r, int from, const struct wire_message *m)
{
    struct buf b;
    buf_init(&b, PACKET_MAX);
    wire_put(&b, m);
    rig_feed_raw(r, from, buf_bytes(&b));
    buf_done(&b);
}

void rig_alive_meta(struct rig *r, const char *name, int last, uint32_t incarnation, const char *meta)
{
    static const uint8_t vsn[WIRE_VSN_LEN] = {1, 5, 2, 0, 0, 0};
    struct addr addr = host(last);
    struct wire_message m = {.type = WIRE_ALIVE,
                             .alive = {.addr = wire_ip(&addr),
                                       .port = addr.port,
                                       .meta = bytes_str(meta),
                                       .node = bytes_str(name),
                                       .vsn = bytes_of(vsn, sizeof vsn),
                                       .incarnation = incarnation}};
    rig_feed(r, last, &m);
}

void rig_alive(struct rig *r, const char *name, int last, uint32_t incarnation)
{
    rig_alive_meta(r, name, last, incarnation, "");
}

static void accuse(struct rig *r, enum wire_type type, const char *name, uint32_t incarnation,
                   const char *from)
{
    struct wire_message m = {
        .type = type,
        .accusation = {.node = bytes_str(name), .from = bytes_str(from), .incarnation = incarnation}};
    rig_feed(r, 200, &m);
}

void rig_suspect(struct rig *r, const char *name, uint32_t incarnation, const char *from)
{
    accuse(r, WIRE_SUSPECT, name, incarnation, from);
}

void rig_dead(struct rig *r, const char *name, uint32_t incarnation, const char *from)
{
    accuse(r, WIRE_DEAD, name, incarnation, from);
}

struct rig_stream *rig_accept(struct rig *r, int from)
{
    struct effects out = {0};
    struct addr addr = host(from);
    struct rig_stream *stream = stream_of(r, ++r->next_stream);
    swim_stream_accepted(r->s, r->now, stream->id, &addr, &out);
    take(r, &out);
    return stream;
}

void rig_stream_data(struct rig *r, struct rig_stream *stream, struct bytes bytes)
{
    struct effects out = {0};
    swim_stream_data(r->s, r->now, stream->id, bytes, &out);
    take(r, &out);
}

void rig_stream_opened(struct rig *r, struct rig_stream *stream)
{
    struct effects out = {0};
    swim_stream_opened(r->s, r->now, stream->id, &out);
    take(r, &out);
}

void rig_stream_closed(struct rig *r, struct rig_stream *stream)
{
    struct effects out = {0};
    swim_stream_closed(r->s, r->now, stream->id, "closed", &out);
    take(r, &out);
}

const struct rig_sent *rig_next(struct rig *r, enum wire_type type)
{
    rig_forget(r);
    for (uint64_t end = r->now + 30000; !rig_find(r, type) && r->now < end;)
        rig_run(r, swim_deadline(r->s));
    CHECK(rig_find(r, type) != NULL);
    return rig_find(r, type);
}

void rig_ack(struct rig *r, int from, uint32_t seq)
{
    rig_feed(r, from, &(struct wire_message){.type = WIRE_ACK, .ack.seq = seq});
}

void rig_members(struct rig *r, int count)
{
    for (int i = 0; i < count; i++)
        rig_alive(r, (char[]){(char)('a' + i), 0}, i + 2, 1);
}

/* --- looking --- */

int rig_state(const struct rig *r, const char *name)
{
    struct swim_member member;
    return swim_find(r->s, bytes_str(name), &member) ? (int)member.state : -1;
}

uint32_t rig_incarnation(const struct rig *r, const char *name)
{
    struct swim_member member;
    return swim_find(r->s, bytes_str(name), &member) ? member.incarnation : 0;
}

uint64_t rig_counter(const struct rig *r, const char *name)
{
    return swim_counter(r->s, name);
}

const struct rig_sent *rig_find(const struct rig *r, enum wire_type type)
{
    for (size_t i = 0; i < r->sent_count; i++)
        if (r->sent[i].m.type == type)
            return &r->sent[i];
    return NULL;
}

size_t rig_count(const struct rig *r, enum wire_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < r->sent_count; i++)
        count += r->sent[i].m.type == type;
    return count;
}

size_t rig_events(struct rig *r, enum swim_event_kind kind)
{
    size_t count = 0;
    for (struct swim_event event; swim_next_event(r->s, &event); swim_event_done(&event))
        count += event.kind == kind;
    return count;
}

int rig_set_up(void **state)
{
    *state = rig_new(&swim_profile_lan);
    return 0;
}

int rig_tear_down(void **state)
{
    rig_free(*state);
    return 0;
}

void rig_quiet_down(struct rig *r)
{
    rig_run(r, r->now + 950);
    rig_forget(r);
}
