#include "msgpack.h"

#include "check.h"

enum {
    FIXMAP = 0x80,
    FIXARRAY = 0x90,
    FIXRAW = 0xa0,
    NIL = 0xc0,
    NEVER_USED = 0xc1,
    FALSE = 0xc2,
    TRUE = 0xc3,
    BIN8 = 0xc4,
    BIN16 = 0xc5,
    BIN32 = 0xc6,
    EXT8 = 0xc7,
    EXT16 = 0xc8,
    EXT32 = 0xc9,
    FLOAT32 = 0xca,
    FLOAT64 = 0xcb,
    UINT8 = 0xcc,
    UINT16 = 0xcd,
    UINT32 = 0xce,
    UINT64 = 0xcf,
    INT8 = 0xd0,
    INT16 = 0xd1,
    INT32 = 0xd2,
    INT64 = 0xd3,
    FIXEXT1 = 0xd4,
    FIXEXT16 = 0xd8,
    STR8 = 0xd9,
    RAW16 = 0xda,
    RAW32 = 0xdb,
    ARRAY16 = 0xdc,
    ARRAY32 = 0xdd,
    MAP16 = 0xde,
    MAP32 = 0xdf,
    NEGATIVE_FIXINT = 0xe0,
};

void msgpack_put_map(struct buf *b, unsigned pairs)
{
    CHECK(pairs < 16);
    buf_put_u8(b, (uint8_t)(FIXMAP | pairs));
}

void msgpack_put_uint(struct buf *b, uint64_t v)
{
    if (v < 0x80) {
        buf_put_u8(b, (uint8_t)v);
    } else if (v <= UINT8_MAX) {
        buf_put_u8(b, UINT8);
        buf_put_u8(b, (uint8_t)v);
    } else if (v <= UINT16_MAX) {
        buf_put_u8(b, UINT16);
        buf_put_u16(b, (uint16_t)v);
    } else if (v <= UINT32_MAX) {
        buf_put_u8(b, UINT32);
        buf_put_u32(b, (uint32_t)v);
    } else {
        buf_put_u8(b, UINT64);
        buf_put_u64(b, v);
    }
}

void msgpack_put_bool(struct buf *b, bool v)
{
    buf_put_u8(b, v ? TRUE : FALSE);
}

void msgpack_put_nil(struct buf *b)
{
    buf_put_u8(b, NIL);
}

void msgpack_put_raw(struct buf *b, struct bytes bytes)
{
    if (bytes.len < 32) {
        buf_put_u8(b, (uint8_t)(FIXRAW | bytes.len));
    } else if (bytes.len <= UINT16_MAX) {
        buf_put_u8(b, RAW16);
        buf_put_u16(b, (uint16_t)bytes.len);
    } else {
        CHECK(bytes.len <= UINT32_MAX);
        buf_put_u8(b, RAW32);
        buf_put_u32(b, (uint32_t)bytes.len);
    }
    buf_put_bytes(b, bytes);
}

uint32_t msgpack_map(struct cursor *c)
{
    uint8_t tag = cursor_u8(c);
    if (c->err != OK || tag == NIL)
        return 0;
    if (tag >= FIXMAP && tag < FIXARRAY)
        return tag & 0x0f;
    if (tag == MAP16)
        return cursor_u16(c);
    if (tag == MAP32)
        return cursor_u32(c);
    cursor_fail(c, ERR_MALFORMED);
    return 0;
}

bool msgpack_is_array(const struct cursor *c)
{
    if (c->err != OK || cursor_left(c) == 0)
        return false;
    uint8_t tag = *c->at;
    return (tag >= FIXARRAY && tag < FIXRAW) || tag == ARRAY16 || tag == ARRAY32;
}

uint32_t msgpack_array(struct cursor *c)
{
    uint8_t tag = cursor_u8(c);
    if (c->err != OK)
        return 0;
    if (tag == ARRAY16)
        return cursor_u16(c);
    if (tag == ARRAY32)
        return cursor_u32(c);
    CHECK(tag >= FIXARRAY && tag < FIXRAW);
    return tag & 0x0f;
}

uint64_t msgpack_uint(struct cursor *c, uint64_t max)
{
    uint8_t tag = cursor_u8(c);
    uint64_t v = 0;
    bool negative = false;
    if (tag < FIXMAP) { /* also the zero that a failed cursor reads */
        v = tag;
    } else {
        switch (tag) {
        case NIL:
            break;
        case UINT8:
            v = cursor_u8(c);
            break;
        case UINT16:
            v = cursor_u16(c);
            break;
        case UINT32:
            v = cursor_u32(c);
            break;
        case UINT64:
            v = cursor_u64(c);
            break;
        case INT8:
            v = cursor_u8(c);
            negative = v > INT8_MAX;
            break;
        case INT16:
            v = cursor_u16(c);
            negative = v > INT16_MAX;
            break;
        case INT32:
            v = cursor_u32(c);
            negative = v > INT32_MAX;
            break;
        case INT64:
            v = cursor_u64(c);
            negative = v > INT64_MAX;
            break;
        default:
            negative = true; /* a negative fixint, or no number at all */
        }
    }
    if (negative || v > max) {
        cursor_fail(c, ERR_MALFORMED);
        return 0;
    }
    return v;
}

bool msgpack_bool(struct cursor *c)
{
    uint8_t tag = cursor_u8(c);
    if (c->err == OK && tag != TRUE && tag != FALSE && tag != NIL)
        cursor_fail(c, ERR_MALFORMED);
    return tag == TRUE;
}

struct bytes msgpack_raw(struct cursor *c)
{
    uint8_t tag = cursor_u8(c);
    size_t n = 0;
    if (c->err != OK || tag == NIL)
        return bytes_of(NULL, 0);
    if (tag >= FIXRAW && tag < NIL)
        n = tag & 0x1f;
    else if (tag == STR8 || tag == BIN8)
        n = cursor_u8(c);
    else if (tag == RAW16 || tag == BIN16)
        n = cursor_u16(c);
    else if (tag == RAW32 || tag == BIN32)
        n = cursor_u32(c);
    else
        cursor_fail(c, ERR_MALFORMED);
    return cursor_bytes(c, n);
}

struct bytes msgpack_bytes(struct cursor *c)
{
    if (!msgpack_is_array(c))
        return msgpack_raw(c);
    struct bytes numbers = cursor_bytes(c, msgpack_array(c));
    for (size_t i = 0; i < numbers.len; i++)
        if (numbers.data[i] >= FIXMAP)
            cursor_fail(c, ERR_MALFORMED);
    return c->err == OK ? numbers : bytes_of(NULL, 0);
}

/* What stands behind one tag: so many bytes, then so many values. */
static void behind(struct cursor *c, uint8_t tag, uint64_t *ret_bytes, uint64_t *ret_values)
{
    uint64_t bytes = 0, values = 0;
    if (tag < FIXMAP || tag >= NEGATIVE_FIXINT)
        bytes = 0;
    else if (tag < FIXARRAY)
        values = 2 * (tag & 0x0fu);
    else if (tag < FIXRAW)
        values = tag & 0x0f;
    else if (tag < NIL)
        bytes = tag & 0x1f;
    else if (tag == BIN8 || tag == STR8)
        bytes = cursor_u8(c);
    else if (tag == BIN16 || tag == RAW16)
        bytes = cursor_u16(c);
    else if (tag == BIN32 || tag == RAW32)
        bytes = cursor_u32(c);
    else if (tag == EXT8)
        bytes = (uint64_t)cursor_u8(c) + 1;
    else if (tag == EXT16)
        bytes = (uint64_t)cursor_u16(c) + 1;
    else if (tag == EXT32)
        bytes = (uint64_t)cursor_u32(c) + 1;
    else if (tag == FLOAT32)
        bytes = 4;
    else if (tag == FLOAT64)
        bytes = 8;
    else if (tag >= UINT8 && tag <= UINT64)
        bytes = 1u << (tag - UINT8);
    else if (tag >= INT8 && tag <= INT64)
        bytes = 1u << (tag - INT8);
    else if (tag >= FIXEXT1 && tag <= FIXEXT16)
        bytes = (1u << (tag - FIXEXT1)) + 1;
    else if (tag == ARRAY16)
        values = cursor_u16(c);
    else if (tag == ARRAY32)
        values = cursor_u32(c);
    else if (tag == MAP16)
        values = 2 * (uint64_t)cursor_u16(c);
    else if (tag == MAP32)
        values = 2 * (uint64_t)cursor_u32(c);
    else if (tag == NEVER_USED)
        cursor_fail(c, ERR_MALFORMED);
    *ret_bytes = bytes;
    *ret_values = values;
}

void msgpack_skip(struct cursor *c)
{
    for (uint64_t pending = 1; pending > 0 && c->err == OK;) {
        uint64_t bytes, values;
        behind(c, cursor_u8(c), &bytes, &values);
        cursor_bytes(c, (size_t)bytes);
        pending += values - 1;
        if (pending > cursor_left(c)) /* a value takes a byte at least */
            cursor_fail(c, ERR_TRUNCATED);
    }
}
