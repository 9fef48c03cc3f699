/* A version vector: replica -> counter, "all of that replica's operations up to
 * here". Also used for floors, contexts and watermarks, which have the same
 * shape. An absent replica counts as 0; entries of 0 are not kept, so equal
 * vectors have equal entries. Sorted by id. */
#ifndef YZMA_CRDT_CLOCK_H
#define YZMA_CRDT_CLOCK_H

#include "dot.h"

/* Ids ever known to one cluster; decoding refuses more. */
enum { CLOCK_REPLICAS_MAX = 1024 };

struct clock {
    struct dot *entries; /* owned; by ascending replica id */
    size_t count, room;
};

/* {0} is the empty vector. */
void clock_done(struct clock *c);
void clock_clear(struct clock *c);
void clock_copy(struct clock *to, const struct clock *from); /* `to` must be initialised */

uint64_t clock_get(const struct clock *c, const struct replica_id *id);
void clock_set(struct clock *c, const struct replica_id *id, uint64_t counter); /* 0 removes */
void clock_raise(struct clock *c, const struct dot *dot);                       /* pointwise maximum */

void clock_join(struct clock *to, const struct clock *other); /* pointwise maximum */
/* True when the join of both would still decode (CLOCK_REPLICAS_MAX). */
bool clock_join_fits(const struct clock *a, const struct clock *b);
void clock_meet(struct clock *to, const struct clock *other); /* pointwise minimum, absent = 0 */

bool clock_covers_dot(const struct clock *c, const struct dot *dot);
bool clock_covers(const struct clock *a, const struct clock *b); /* a >= b in every entry */
bool clock_equal(const struct clock *a, const struct clock *b);
uint64_t clock_sum(const struct clock *c); /* operations in all; saturates */

/* varint count, then (16 bytes id, varint counter) in ascending order. */
void clock_encode(const struct clock *c, struct buf *out);
/* ERR_MALFORMED for unsorted, repeated, zero or too many entries: sets in->err
 * and leaves *ret untouched. ret must be initialised; its old content is freed. */
enum err clock_decode(struct cursor *in, struct clock *ret) MUST_USE;

#endif
