/* The table of replica ids at the head of records and tokens: each id stands
 * there once, and dots name it by its index.
 *
 *   varint count, then count x 16 bytes, ascending; every id is used below.
 *   a dot: varint index, varint counter (not 0)
 */
#ifndef YZMA_CRDT_IDS_H
#define YZMA_CRDT_IDS_H

#include "clock.h"

enum { IDS_INLINE = 8 }; /* most records name fewer, and then nothing is allocated */

struct ids {
    struct replica_id few[IDS_INLINE];
    struct replica_id *many; /* owned; NULL while few is enough */
    size_t count, room;
};

/* {0} is the empty table. */
void ids_done(struct ids *ids);
void ids_add(struct ids *ids, const struct replica_id *id);
/* ERR_TOO_LARGE in out->err above CLOCK_REPLICAS_MAX: what no reader would take
 * is not written. */
void ids_encode(const struct ids *ids, struct buf *out);
void ids_encode_dot(const struct ids *ids, const struct dot *dot, struct buf *out);

/* The same table, read: borrows from the input. */
struct ids_read {
    const uint8_t *bytes;
    size_t count, used_count;
    uint64_t used[CLOCK_REPLICAS_MAX / 64];
};

/* Errors go to in->err. */
void ids_decode(struct cursor *in, struct ids_read *ret);
struct dot ids_decode_dot(struct cursor *in, struct ids_read *ids);
static inline bool ids_all_used(const struct ids_read *ids)
{
    return ids->used_count == ids->count;
}

#endif
