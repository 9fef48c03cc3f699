#include "envelope.h"

/* --- packets --- */

size_t envelope_packet_overhead(const struct envelope *e)
{
    size_t overhead = e->label.len ? LABEL_HEADER + e->label.len : 0;
    if (envelope_seals(e))
        overhead += e->seal_version == SEAL_VERSION_PADDED ? SEAL_OVERHEAD_PADDED : SEAL_OVERHEAD;
    return overhead;
}

static struct seal_context context_of(const struct envelope *e, struct bytes header)
{
    return (struct seal_context){.header = header, .label = e->label};
}

void envelope_put_label(const struct envelope *e, struct buf *out)
{
    if (e->label.len == 0)
        return;
    buf_put_u8(out, WIRE_LABEL);
    buf_put_u8(out, (uint8_t)e->label.len);
    buf_put_bytes(out, e->label);
}

void envelope_put_packet(const struct envelope *e, size_t key_at, struct bytes plain, struct buf *out)
{
    envelope_put_label(e, out);
    if (envelope_seals(e))
        keyring_seal(e->keys, key_at, e->seal_version, context_of(e, bytes_of(NULL, 0)), plain, out);
    else
        buf_put_bytes(out, plain);
}

/* A sealed packet has no type byte: it starts with its version, 0 or 1, and is
 * taken for a ping or an indirect ping that does not decode. */
static bool looks_sealed(struct bytes packet)
{
    struct wire_message ignored;
    return packet.len >= SEAL_OVERHEAD && packet.data[0] <= SEAL_VERSION &&
           wire_decode(packet, &ignored) != OK;
}

enum envelope_fault envelope_open_packet(const struct envelope *e, struct bytes packet, struct buf *scratch,
                                         struct bytes *ret_plain, size_t *ret_key_at)
{
    struct bytes label;
    size_t used;
    if (envelope_read_label(packet, &label, &used) != OK || !bytes_equal(label, e->label))
        return ENVELOPE_LABEL;
    struct bytes rest = bytes_of(packet.data + used, packet.len - used);
    bool has_keys = envelope_has_keys(e);
    if (has_keys &&
        keyring_open(e->keys, context_of(e, bytes_of(NULL, 0)), rest, scratch, ret_key_at) == OK) {
        *ret_plain = buf_bytes(scratch);
        return ENVELOPE_FINE;
    }
    if (looks_sealed(rest))
        return has_keys ? ENVELOPE_KEY : ENVELOPE_SEALED;
    if (has_keys && !e->takes_plain)
        return ENVELOPE_PLAIN;
    *ret_plain = rest;
    *ret_key_at = 0;
    return ENVELOPE_FINE;
}

/* --- streams --- */

enum err envelope_read_label(struct bytes stream, struct bytes *ret_label, size_t *ret_used)
{
    *ret_label = bytes_of(NULL, 0);
    *ret_used = 0;
    if (stream.len == 0 || stream.data[0] != WIRE_LABEL)
        return OK;
    struct cursor c = cursor_of(stream);
    cursor_u8(&c);
    size_t len = cursor_u8(&c);
    struct bytes label = cursor_bytes(&c, len);
    if (c.err != OK)
        return c.err;
    if (len == 0)
        return ERR_MALFORMED;
    *ret_label = label;
    *ret_used = LABEL_HEADER + len;
    return OK;
}

void envelope_put_stream(const struct envelope *e, size_t key_at, struct bytes message, struct buf *out)
{
    size_t start = out->len;
    uint8_t header[SEALED_STREAM_HEADER];
    buf_put_u8(out, WIRE_ENCRYPT);
    buf_put_u32(out, (uint32_t)seal_length(e->seal_version, message.len));
    if (out->err != OK)
        return;
    memcpy(header, out->data + start, sizeof header);
    keyring_seal(e->keys, key_at, e->seal_version, context_of(e, bytes_of(header, sizeof header)), message,
                 out);
}

enum err envelope_open_stream(const struct envelope *e, struct bytes stream, struct buf *out,
                              size_t *ret_key_at)
{
    struct cursor c = cursor_of(stream);
    cursor_u8(&c);
    uint32_t len = cursor_u32(&c);
    if (c.err != OK)
        return c.err;
    if (len > SEALED_STREAM_MAX)
        return ERR_TOO_LARGE;
    struct bytes sealed = cursor_bytes(&c, len);
    if (c.err != OK)
        return c.err;
    enum err err = keyring_open(e->keys, context_of(e, bytes_of(stream.data, SEALED_STREAM_HEADER)), sealed,
                                out, ret_key_at);
    return err == ERR_TRUNCATED ? ERR_MALFORMED : err; /* more bytes would not help */
}
