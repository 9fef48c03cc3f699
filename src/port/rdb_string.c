#include "rdb.h"

#include <stdio.h>

uint16_t rdb_u16(struct cursor *in)
{
    return __builtin_bswap16(cursor_u16(in));
}

uint32_t rdb_u32(struct cursor *in)
{
    return __builtin_bswap32(cursor_u32(in));
}

uint64_t rdb_u64(struct cursor *in)
{
    return __builtin_bswap64(cursor_u64(in));
}

/* *ret_special: it is no length, but the number of a form. */
static uint64_t length_or_form(struct cursor *in, bool *ret_special)
{
    uint8_t first = cursor_u8(in);
    *ret_special = first >> 6 == 3;
    switch (first >> 6) {
    case 0:
    case 3:
        return first & 63;
    case 1:
        return (uint64_t)(first & 63) << 8 | cursor_u8(in);
    default:
        if (first == 0x80)
            return cursor_u32(in);
        if (first == 0x81)
            return cursor_u64(in);
        cursor_fail(in, ERR_MALFORMED);
        return 0;
    }
}

uint64_t rdb_length(struct cursor *in)
{
    bool special;
    uint64_t length = length_or_form(in, &special);
    if (special)
        cursor_fail(in, ERR_MALFORMED);
    return in->err == OK ? length : 0;
}

enum err lzf_unpack(struct bytes packed, size_t length, struct buf *out)
{
    enum err err = OK;
    size_t start = out->len;
    struct cursor in = cursor_of(packed);
    buf_reserve(out, length);
    while (err == OK && cursor_left(&in)) {
        unsigned control = cursor_u8(&in);
        if (control < 32) { /* so many bytes and one more, as they are */
            struct bytes run = cursor_bytes(&in, control + 1);
            err = run.len > length - (out->len - start) ? ERR_MALFORMED : in.err;
            if (err == OK)
                buf_put_bytes(out, run);
        } else { /* a piece of what was there before */
            size_t n = control >> 5;
            if (n == 7)
                n += cursor_u8(&in);
            size_t back = ((size_t)(control & 31) << 8 | cursor_u8(&in)) + 1, done = out->len - start;
            err = in.err != OK || back > done || n + 2 > length - done ? ERR_MALFORMED : OK;
            for (size_t i = 0; err == OK && i < n + 2; i++)
                buf_put_u8(out, out->data[out->len - back]); /* it may reach into itself */
        }
        if (err == OK)
            err = out->err;
    }
    if (err == ERR_TRUNCATED || (err == OK && out->len - start != length))
        err = ERR_MALFORMED;
    return err;
}

static struct bytes packed_string(struct cursor *in, struct buf *room)
{
    enum { GROWS_MAX = 300 }; /* 3 bytes stand for 264 at most */
    uint64_t packed = rdb_length(in), length = rdb_length(in);
    struct bytes text = cursor_bytes(in, packed), none = {0};
    if (in->err != OK)
        return none;
    if (length > PORT_ENTRY_MAX || length / GROWS_MAX > packed) {
        cursor_fail(in, ERR_MALFORMED);
        return none;
    }
    enum err err = lzf_unpack(text, length, room);
    if (err != OK)
        cursor_fail(in, err);
    return err == OK ? buf_bytes(room) : none;
}

struct bytes rdb_string(struct cursor *in, struct buf *room)
{
    bool special;
    char digits[16];
    uint64_t form = length_or_form(in, &special);
    int32_t number;
    if (!special)
        return cursor_bytes(in, in->err == OK ? form : 0);
    buf_reset(room);
    switch (form) {
    case 0:
        number = (int8_t)cursor_u8(in);
        break;
    case 1:
        number = (int16_t)rdb_u16(in);
        break;
    case 2:
        number = (int32_t)rdb_u32(in);
        break;
    case 3:
        return packed_string(in, room);
    default:
        cursor_fail(in, ERR_MALFORMED);
        return bytes_of(NULL, 0);
    }
    snprintf(digits, sizeof digits, "%d", (int)number);
    buf_put_text(room, digits);
    return buf_bytes(room);
}

void rdb_skip_string(struct cursor *in)
{
    static const uint8_t sizes[] = {1, 2, 4};
    bool special;
    uint64_t form = length_or_form(in, &special);
    if (!special) {
        cursor_bytes(in, in->err == OK ? form : 0);
    } else if (form < sizeof sizes) {
        cursor_bytes(in, sizes[form]);
    } else if (form == 3) {
        uint64_t packed = rdb_length(in);
        rdb_length(in);
        cursor_bytes(in, in->err == OK ? packed : 0);
    } else {
        cursor_fail(in, ERR_MALFORMED);
    }
}
