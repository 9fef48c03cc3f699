#include "cursor.h"

struct cursor cursor_of(struct bytes bytes)
{
    static const uint8_t nothing[1];
    const uint8_t *at = bytes.data ? bytes.data : nothing;
    return (struct cursor){.at = at, .end = at + bytes.len};
}

void cursor_fail(struct cursor *c, enum err err)
{
    if (c->err == OK)
        c->err = err;
}

struct bytes cursor_bytes(struct cursor *c, size_t n)
{
    if (c->err != OK)
        return bytes_of(NULL, 0);
    if (n > (size_t)(c->end - c->at)) {
        c->err = ERR_TRUNCATED;
        return bytes_of(NULL, 0);
    }
    struct bytes bytes = bytes_of(c->at, n);
    c->at += n;
    return bytes;
}

static uint64_t big_endian(struct cursor *c, size_t n)
{
    struct bytes b = cursor_bytes(c, n);
    uint64_t v = 0;
    for (size_t i = 0; i < b.len; i++)
        v = v << 8 | b.data[i];
    return v;
}

uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)big_endian(c, 1);
}

uint16_t cursor_u16(struct cursor *c)
{
    return (uint16_t)big_endian(c, 2);
}

uint32_t cursor_u32(struct cursor *c)
{
    return (uint32_t)big_endian(c, 4);
}

uint64_t cursor_u64(struct cursor *c)
{
    return big_endian(c, 8);
}

uint64_t cursor_varint(struct cursor *c)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = cursor_u8(c);
        if (c->err != OK)
            return 0;
        if ((shift == 63 && byte > 1) || (byte == 0 && shift > 0))
            break; /* more than 64 bits, or a needless last byte: one form only */
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
    }
    cursor_fail(c, ERR_MALFORMED);
    return 0;
}

uint64_t cursor_varint_max(struct cursor *c, uint64_t max)
{
    uint64_t v = cursor_varint(c);
    if (v > max) {
        cursor_fail(c, ERR_MALFORMED);
        return 0;
    }
    return v;
}

struct bytes cursor_blob(struct cursor *c)
{
    uint64_t n = cursor_varint(c);
    if (n > cursor_left(c)) {
        cursor_fail(c, ERR_TRUNCATED);
        return bytes_of(NULL, 0);
    }
    return cursor_bytes(c, (size_t)n);
}

void cursor_text(struct cursor *c, char *text, size_t size)
{
    struct bytes blob = cursor_blob(c);
    if (c->err != OK)
        return;
    if (blob.len >= size || (blob.len && memchr(blob.data, 0, blob.len))) {
        c->err = ERR_MALFORMED;
        return;
    }
    if (blob.len)
        memcpy(text, blob.data, blob.len);
    text[blob.len] = 0;
}

enum err cursor_finish(const struct cursor *c)
{
    if (c->err != OK)
        return c->err;
    return c->at == c->end ? OK : ERR_MALFORMED;
}
