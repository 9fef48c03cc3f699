#include "packet.h"

#include "check.h"
#include "crc.h"
#include "lzw.h"

enum { ALGO_LZW = 0 };

/* --- reading --- */

struct unpacking {
    packet_visit *visit;
    void *ctx;
    struct packet_faults *faults;
    size_t plain_left;
};

static void unpack(struct unpacking *u, struct bytes message, unsigned depth);

static void unpack_compound(struct unpacking *u, struct bytes body, unsigned depth)
{
    struct cursor lengths = cursor_of(body);
    size_t count = cursor_u8(&lengths);
    struct cursor parts = lengths;
    cursor_bytes(&parts, count * 2);
    if (parts.err != OK) {
        u->faults->truncated_compounds++;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct bytes part = cursor_bytes(&parts, cursor_u16(&lengths));
        if (parts.err != OK) {
            u->faults->truncated_compounds++;
            return;
        }
        unpack(u, part, depth + 1);
    }
}

enum err packet_decompress(const struct wire_compress *compress, struct buf *out)
{
    return compress->algo == ALGO_LZW ? lzw_decode(compress->packed, out) : ERR_VERSION;
}

static void unpack_compressed(struct unpacking *u, struct bytes message, unsigned depth)
{
    struct wire_message compress;
    struct buf plain;
    buf_init(&plain, u->plain_left);
    enum err err = wire_decode(message, &compress);
    if (err == OK)
        err = packet_decompress(&compress.compress, &plain);
    u->plain_left -= plain.len;
    if (err == OK)
        unpack(u, buf_bytes(&plain), depth + 1);
    else if (err == ERR_VERSION)
        u->faults->unknown_compressions++;
    else
        u->faults->bad_compressions++;
    buf_done(&plain);
}

static void unpack(struct unpacking *u, struct bytes message, unsigned depth)
{
    if (message.len == 0)
        return;
    bool wraps = message.data[0] == WIRE_COMPOUND || message.data[0] == WIRE_COMPRESS;
    if (!wraps)
        u->visit(u->ctx, message);
    else if (depth == PACKET_NESTING_MAX)
        u->faults->too_deep++;
    else if (message.data[0] == WIRE_COMPOUND)
        unpack_compound(u, bytes_of(message.data + 1, message.len - 1), depth);
    else
        unpack_compressed(u, message, depth);
}

void packet_read(struct bytes packet, packet_visit *visit, void *ctx, struct packet_faults *faults)
{
    struct unpacking u = {visit, ctx, faults, PACKET_PLAIN_MAX};
    if (packet.len == 0)
        return;
    if (packet.data[0] == WIRE_CRC && packet.len >= CRC_HEADER) {
        struct cursor c = cursor_of(bytes_of(packet.data + 1, packet.len - 1));
        uint32_t crc = cursor_u32(&c);
        struct bytes rest = cursor_bytes(&c, cursor_left(&c));
        if (crc == crc32_ieee(0, rest))
            unpack(&u, rest, 0);
        else
            faults->bad_crc++;
    } else {
        unpack(&u, packet, 0);
    }
}

/* --- building --- */

static void put_messages(struct buf *b, const struct bytes *messages, size_t count)
{
    if (count > 1) {
        buf_put_u8(b, WIRE_COMPOUND);
        buf_put_u8(b, (uint8_t)count);
        for (size_t i = 0; i < count; i++)
            buf_put_u16(b, (uint16_t)messages[i].len);
    }
    for (size_t i = 0; i < count; i++)
        buf_put_bytes(b, messages[i]);
}

void packet_compress_from(struct buf *b, size_t start)
{
    struct bytes plain = bytes_of(b->data + start, b->len - start);
    struct buf packed, whole;
    buf_init(&packed, plain.len); /* one byte more than useful is already useless */
    buf_init(&whole, plain.len);
    lzw_encode(plain, &packed);
    if (packed.err == OK)
        wire_put(&whole,
                 &(struct wire_message){.type = WIRE_COMPRESS,
                                        .compress = {.algo = ALGO_LZW, .packed = buf_bytes(&packed)}});
    if (packed.err == OK && whole.err == OK && whole.len < plain.len) {
        b->len = start;
        buf_put_bytes(b, buf_bytes(&whole));
    }
    buf_done(&packed);
    buf_done(&whole);
}

void packet_build(struct buf *out, const struct bytes *messages, size_t count, bool compress, bool crc)
{
    CHECK(count >= 1 && count <= COMPOUND_PARTS_MAX);
    size_t start = out->len;
    if (crc) {
        buf_put_u8(out, WIRE_CRC);
        buf_put_u32(out, 0);
    }
    size_t body = out->len;
    put_messages(out, messages, count);
    if (out->err != OK)
        return;
    if (compress)
        packet_compress_from(out, body);
    if (crc)
        buf_patch_u32(out, start + 1, crc32_ieee(0, bytes_of(out->data + body, out->len - body)));
}
