/* A bounded reader over borrowed bytes. Errors stick and reads after one give
 * zero: read all fields, then look once at cursor.err, then use them. */
#ifndef YZMA_BASE_CURSOR_H
#define YZMA_BASE_CURSOR_H

#include "bytes.h"
#include "err.h"

struct cursor {
    const uint8_t *at, *end;
    enum err err; /* OK, ERR_TRUNCATED or ERR_MALFORMED */
};

struct cursor cursor_of(struct bytes bytes);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
uint64_t cursor_varint(struct cursor *c); /* over-long forms are ERR_MALFORMED */
/* A varint of at most max, else ERR_MALFORMED: for counts and lengths. */
uint64_t cursor_varint_max(struct cursor *c, uint64_t max);
struct bytes cursor_bytes(struct cursor *c, size_t n); /* borrows from the input */
struct bytes cursor_blob(struct cursor *c);            /* varint length, then bytes */
/* A blob of less than `size` bytes and without NUL, as a C string; else
 * ERR_MALFORMED, and text is left alone. */
void cursor_text(struct cursor *c, char *text, size_t size);
void cursor_fail(struct cursor *c, enum err err); /* the first error stays */

static inline size_t cursor_left(const struct cursor *c)
{
    return c->err == OK ? (size_t)(c->end - c->at) : 0;
}

/* The whole input was read without an error; else the error (ERR_MALFORMED for
 * bytes left over). */
enum err cursor_finish(const struct cursor *c);

#endif
