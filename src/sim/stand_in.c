#include "stand_in.h"

#include "packet.h"

static uint64_t never(void *ctx)
{
    return UINT64_MAX;
}

static void nothing(void *ctx, uint64_t now, struct effects *out)
{
}

static void put_ack(struct buf *b, uint32_t seq)
{
    wire_put(b, &(struct wire_message){.type = WIRE_ACK, .ack.seq = seq});
}

struct answering {
    const struct addr *from;
    struct effects *out;
};

static void on_message(void *ctx, struct bytes message)
{
    const struct answering *a = ctx;
    struct wire_message ping;
    struct buf ack;
    if (message.data[0] != WIRE_PING || wire_decode(message, &ping) != OK)
        return;
    buf_init(&ack, PACKET_MAX);
    put_ack(&ack, ping.ping.seq);
    effects_datagram(a->out, a->from, buf_bytes(&ack));
    buf_done(&ack);
}

static void on_datagram(void *ctx, uint64_t now, const struct addr *from, struct bytes packet,
                        struct effects *out)
{
    struct packet_faults faults = {0};
    packet_read(packet, on_message, &(struct answering){from, out}, &faults);
}

/* What comes first on a stream says what it is about. Only tables are worth packing. */
static void on_data(void *ctx, uint64_t now, uint64_t stream, struct bytes data, struct effects *out)
{
    const struct stand_in *self = ctx;
    struct wire_message message;
    struct buf answer;
    buf_init(&answer, SIZE_MAX);
    if (data.data[0] == WIRE_PUSH_PULL || data.data[0] == WIRE_COMPRESS)
        buf_put_bytes(&answer, self->table);
    else if (wire_decode(data, &message) == OK && message.type == WIRE_PING)
        put_ack(&answer, message.ping.seq);
    if (answer.len > 0)
        effects_stream_send(out, stream, &answer);
    buf_done(&answer);
    effects_stream_close(out, stream);
}

const struct vnet_ops stand_in_ops = {
    .deadline = never, .tick = nothing, .datagram = on_datagram, .data = on_data};
