#include "buf.h"

#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Nothing special about this value: most packets and records are smaller. */
enum { BUF_FIRST = 256 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
    if (!b)
        return;
    free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->err = OK;
}

static void grow_to(struct buf *b, size_t cap)
{
    uint8_t *data = realloc(b->data, cap);
    if (!data) {
        b->err = ERR_NOMEM;
        return;
    }
    b->data = data;
    b->cap = cap;
}

static bool has_space(struct buf *b, size_t n)
{
    if (b->err == OK && n > b->max - b->len)
        b->err = ERR_TOO_LARGE;
    return b->err == OK;
}

void buf_reserve(struct buf *b, size_t n)
{
    if (has_space(b, n) && b->len + n > b->cap)
        grow_to(b, b->len + n);
}

uint8_t *buf_extend(struct buf *b, size_t n)
{
    if (!has_space(b, n))
        return NULL;
    if (b->len + n > b->cap || !b->data) {
        size_t cap = b->cap > BUF_FIRST ? b->cap : BUF_FIRST; /* one of 1 would not grow by its half */
        while (cap < b->len + n)
            cap += cap / 2;
        if (cap > b->max)
            cap = b->max > 0 ? b->max : 1;
        grow_to(b, cap);
        if (b->err != OK)
            return NULL;
    }
    uint8_t *room = b->data + b->len;
    b->len += n;
    return room;
}

void buf_put(struct buf *b, const void *data, size_t n)
{
    uint8_t *room = buf_extend(b, n);
    if (room && n)
        memcpy(room, data, n);
}

void buf_put_bytes(struct buf *b, struct bytes bytes)
{
    buf_put(b, bytes.data, bytes.len);
}

void buf_put_text(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_put(b, &v, 1);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
    buf_put(b, (uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

static void store_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

void buf_put_u32(struct buf *b, uint32_t v)
{
    uint8_t *p = buf_extend(b, 4);
    if (p)
        store_u32(p, v);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    uint8_t *p = buf_extend(b, 8);
    if (p) {
        store_u32(p, (uint32_t)(v >> 32));
        store_u32(p + 4, (uint32_t)v);
    }
}

void buf_put_varint(struct buf *b, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;
    do {
        bytes[n] = (uint8_t)(v & 0x7f);
        v >>= 7;
        if (v)
            bytes[n] |= 0x80;
        n++;
    } while (v);
    buf_put(b, bytes, n);
}

void buf_put_blob(struct buf *b, struct bytes bytes)
{
    buf_put_varint(b, bytes.len);
    buf_put_bytes(b, bytes);
}

void buf_put_format(struct buf *b, const char *format, ...)
{
    char small[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    CHECK(n >= 0);
    if ((size_t)n < sizeof small) {
        buf_put(b, small, (size_t)n);
        return;
    }
    uint8_t *room = buf_extend(b, (size_t)n + 1); /* vsnprintf writes a NUL too */
    if (!room)
        return;
    va_start(args, format);
    vsnprintf((char *)room, (size_t)n + 1, format, args);
    va_end(args);
    b->len--;
}

void buf_patch_u32(struct buf *b, size_t offset, uint32_t v)
{
    if (b->err != OK)
        return;
    CHECK(offset + 4 <= b->len);
    store_u32(b->data + offset, v);
}

void buf_consume(struct buf *b, size_t n)
{
    CHECK(n <= b->len);
    b->len -= n;
    if (b->len && n)
        memmove(b->data, b->data + n, b->len);
}
