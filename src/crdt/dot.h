/* Replica ids and dots.
 *
 * A replica is one store on one node; its id is random and kept in the store. A
 * dot (replica, counter) names one operation for ever: counters start at 1, are
 * durable before the operation leaves the node, and are never used twice. */
#ifndef YZMA_CRDT_DOT_H
#define YZMA_CRDT_DOT_H

#include "buf.h"
#include "cursor.h"

#include <endian.h>

enum { REPLICA_ID_SIZE = 16, REPLICA_ID_TEXT = 37 };

struct replica_id {
    uint8_t b[REPLICA_ID_SIZE];
};

struct dot {
    struct replica_id replica;
    uint64_t counter;
};

/* In byte order, as memcmp, without its call: clocks are compared at every step. */
static inline int replica_id_compare(const struct replica_id *a, const struct replica_id *b)
{
    for (size_t i = 0; i < REPLICA_ID_SIZE; i += sizeof(uint64_t)) {
        uint64_t x, y;
        memcpy(&x, a->b + i, sizeof x);
        memcpy(&y, b->b + i, sizeof y);
        if (x != y)
            return be64toh(x) < be64toh(y) ? -1 : 1;
    }
    return 0;
}

static inline bool replica_id_equal(const struct replica_id *a, const struct replica_id *b)
{
    return memcmp(a->b, b->b, REPLICA_ID_SIZE) == 0;
}

bool replica_id_is_zero(const struct replica_id *id);

/* By replica, then counter. */
int dot_compare(const struct dot *a, const struct dot *b);

/* The UUID form, 8-4-4-4-12 lower-case hex digits and a NUL. */
char *replica_id_text(const struct replica_id *id, char out[REPLICA_ID_TEXT]);
/* ERR_MALFORMED for anything but 36 characters of that form. */
enum err replica_id_parse(struct bytes text, struct replica_id *ret) MUST_USE;
/* From 16 random bytes: sets version 4 and the variant (RFC 9562, 5.4). */
struct replica_id replica_id_of_random(const uint8_t random[REPLICA_ID_SIZE]);

/* 16 bytes, varint counter. */
void dot_encode(const struct dot *dot, struct buf *out);
struct dot dot_decode(struct cursor *in);

void replica_id_encode(const struct replica_id *id, struct buf *out); /* 16 bytes */
struct replica_id replica_id_decode(struct cursor *in);

#endif
