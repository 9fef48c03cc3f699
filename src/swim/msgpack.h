/* MessagePack as memberlist's codec speaks it: the old "raw" family for text and
 * bytes alike (fixraw, raw16, raw32), never str8 or bin, because old releases
 * read nothing else.
 *
 * The reader is bounded by its input: it allocates nothing and borrows. It takes
 * what any release takes: every width of integer, signed or not, bin and str8 for
 * bytes, and nil for everything (the zero value). Failures stick in the cursor:
 * ERR_TRUNCATED where more bytes could help, else ERR_MALFORMED. */
#ifndef YZMA_SWIM_MSGPACK_H
#define YZMA_SWIM_MSGPACK_H

#include "buf.h"
#include "cursor.h"

void msgpack_put_map(struct buf *b, unsigned pairs); /* below 16 */
void msgpack_put_uint(struct buf *b, uint64_t v);    /* the shortest form */
void msgpack_put_bool(struct buf *b, bool v);
void msgpack_put_nil(struct buf *b);
void msgpack_put_raw(struct buf *b, struct bytes bytes);

uint32_t msgpack_map(struct cursor *c);        /* the number of pairs that follow */
bool msgpack_is_array(const struct cursor *c); /* comes next */
uint32_t msgpack_array(struct cursor *c);      /* the number of values that follow */
/* A negative number, or one above max, is malformed. */
uint64_t msgpack_uint(struct cursor *c, uint64_t max);
bool msgpack_bool(struct cursor *c);
/* nil gives data NULL; an empty text gives data that is not NULL. */
struct bytes msgpack_raw(struct cursor *c);
/* The same, or an array of numbers below 128, which stand there as bytes. */
struct bytes msgpack_bytes(struct cursor *c);
/* Passes over one value of any kind, however deep, without recursion. */
void msgpack_skip(struct cursor *c);

#endif
