/* The compact lists that Redis keeps small collections in, each inside of one string.
 *
 *   ziplist   4 bytes size, 4 bytes place of the last entry, 2 bytes entries, then each:
 *               size of the one before: 1 byte, or FE and 4
 *               00xxxxxx, 01xxxxxx x, 80 and 4 bytes big-endian: a length, and the text; or
 *               C0 2 bytes, F0 3, D0 4, E0 8, FE 1: a number; or F1 to FD: 0 to 12
 *             and FF
 *   listpack  4 bytes size, 2 bytes entries, then each:
 *               0xxxxxxx: a number; 110xxxxx x: one of 13 bits; F1 2 bytes, F2 3, F3 4, F4 8; or
 *               10xxxxxx, 1110xxxx x, F0 4 bytes: a length, and the text
 *               and its own size once more, 7 bits a byte
 *             and FF
 *   intset    4 bytes width (2, 4, 8), 4 bytes count, then the numbers
 *
 * Numbers are signed. */
#include "rdb.h"

#include <stdio.h>

void pack_open(struct pack *p, enum pack_kind kind, struct bytes text)
{
    memset(p, 0, sizeof *p);
    p->kind = kind;
    p->in = cursor_of(text);
    switch (kind) {
    case PACK_ZIPLIST:
        cursor_bytes(&p->in, 10);
        break;
    case PACK_LISTPACK:
        cursor_bytes(&p->in, 6);
        break;
    case PACK_INTSET:
        p->width = rdb_u32(&p->in);
        p->left = rdb_u32(&p->in);
        if (p->width != 2 && p->width != 4 && p->width != 8)
            cursor_fail(&p->in, ERR_MALFORMED);
        break;
    }
}

/* A signed number of so many bytes. */
static int64_t number_of(struct cursor *in, unsigned width)
{
    struct bytes raw = cursor_bytes(in, width);
    uint64_t n = 0;
    for (size_t i = 0; i < raw.len; i++)
        n |= (uint64_t)raw.data[i] << 8 * i;
    unsigned unused = 64 - 8 * width;
    return (int64_t)(n << unused) >> unused;
}

static struct bytes number_text(struct pack *p, int64_t number)
{
    int n = snprintf(p->digits, sizeof p->digits, "%lld", (long long)number);
    return bytes_of(p->digits, (size_t)n);
}

static struct bytes ziplist_entry(struct pack *p, uint8_t first)
{
    struct cursor *in = &p->in;
    switch (first >> 6) {
    case 0:
        return cursor_bytes(in, first & 63);
    case 1:
        return cursor_bytes(in, (size_t)(first & 63) << 8 | cursor_u8(in));
    case 2:
        return cursor_bytes(in, cursor_u32(in));
    default:
        break;
    }
    switch (first) {
    case 0xc0:
        return number_text(p, number_of(in, 2));
    case 0xd0:
        return number_text(p, number_of(in, 4));
    case 0xe0:
        return number_text(p, number_of(in, 8));
    case 0xf0:
        return number_text(p, number_of(in, 3));
    case 0xfe:
        return number_text(p, number_of(in, 1));
    default:
        if (first < 0xf1 || first > 0xfd)
            cursor_fail(in, ERR_MALFORMED);
        return number_text(p, (first & 15) - 1);
    }
}

static bool ziplist_next(struct pack *p, struct bytes *ret)
{
    struct cursor *in = &p->in;
    uint8_t before = cursor_u8(in);
    if (in->err != OK || before == 0xff)
        return false;
    if (before == 0xfe)
        cursor_bytes(in, 4);
    uint8_t first = cursor_u8(in);
    *ret = ziplist_entry(p, first);
    return in->err == OK;
}

static struct bytes listpack_entry(struct pack *p, uint8_t first)
{
    struct cursor *in = &p->in;
    if (first < 0x80)
        return number_text(p, first);
    if (first < 0xc0)
        return cursor_bytes(in, first & 63);
    if (first < 0xe0) {
        int64_t n = (int64_t)(first & 31) << 8 | cursor_u8(in);
        return number_text(p, n < 4096 ? n : n - 8192);
    }
    if (first < 0xf0)
        return cursor_bytes(in, (size_t)(first & 15) << 8 | cursor_u8(in));
    switch (first) {
    case 0xf0:
        return cursor_bytes(in, rdb_u32(in));
    case 0xf1:
        return number_text(p, number_of(in, 2));
    case 0xf2:
        return number_text(p, number_of(in, 3));
    case 0xf3:
        return number_text(p, number_of(in, 4));
    case 0xf4:
        return number_text(p, number_of(in, 8));
    default:
        cursor_fail(in, ERR_MALFORMED);
        return bytes_of(NULL, 0);
    }
}

static bool listpack_next(struct pack *p, struct bytes *ret)
{
    struct cursor *in = &p->in;
    const uint8_t *start = in->at;
    uint8_t first = cursor_u8(in);
    if (in->err != OK || first == 0xff)
        return false;
    *ret = listpack_entry(p, first);
    if (in->err != OK)
        return false;
    /* As Redis counts: its bounds are one below those that 7 bits a byte have. */
    size_t size = (size_t)(in->at - start);
    cursor_bytes(in, size <= 127 ? 1 : size < 16383 ? 2 : size < 2097151 ? 3 : size < 268435455 ? 4 : 5);
    return in->err == OK;
}

bool pack_next(struct pack *p, struct bytes *ret)
{
    if (p->in.err != OK)
        return false;
    if (p->kind == PACK_ZIPLIST)
        return ziplist_next(p, ret);
    if (p->kind == PACK_LISTPACK)
        return listpack_next(p, ret);
    if (p->left == 0)
        return false;
    p->left--;
    *ret = number_text(p, number_of(&p->in, p->width));
    return p->in.err == OK;
}
