/* News that waits to be gossiped: sent along with whatever leaves, a number of
 * times that grows with the logarithm of the cluster (SWIM 4.1, memberlist's
 * TransmitLimitedQueue).
 *
 * Order: fewest transmissions first; among those the longest that still fits; of
 * equals the newest. A member has at most one broadcast: news replaces older news
 * about the same member. */
#ifndef YZMA_SWIM_BROADCAST_H
#define YZMA_SWIM_BROADCAST_H

#include "buf.h"

struct broadcast {
    uint8_t *data; /* owned; NULL when not queued */
    size_t len;
    unsigned transmits;
    uint64_t age; /* the higher, the newer */
};

struct broadcasts {
    struct broadcast **queue; /* in order */
    size_t count, room;
    uint64_t next_age;
};

void broadcasts_done(struct broadcasts *q); /* the broadcasts were removed before */

/* Takes the message (not empty) out of the buffer. What the same broadcast held is
 * dropped, its transmissions start at zero. */
void broadcast_queue(struct broadcasts *q, struct broadcast *b, struct buf *message);
void broadcast_remove(struct broadcasts *q, struct broadcast *b); /* one not queued: nothing happens */

static inline bool broadcast_is_queued(const struct broadcast *b)
{
    return b->data != NULL;
}

/* Chooses up to max messages of together at most budget bytes, each costing its
 * length and overhead, and shows them to the callback: they are borrowed for its
 * duration. Each counts as transmitted once and goes when that reaches limit.
 * Returns how many there were; for 0 the callback is not called. */
typedef void broadcast_use(void *ctx, const struct bytes *messages, size_t count);
size_t broadcasts_take(struct broadcasts *q, size_t budget, size_t overhead, size_t max, unsigned limit,
                       broadcast_use *use, void *ctx);

#endif
