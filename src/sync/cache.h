/* Frames of rows that were encoded a moment ago, for the next link whose cursor
 * stands where they begin.
 *
 * Peers that keep up all stand at the same place, so the first link's frame is
 * every link's frame. The cache stands in front of the one way to send and is no
 * other way: a frame in it was read from one snapshot like any, and may be sent to
 * whoever's clock is at or above the floor of that snapshot, as if it had spent
 * the time on the wire. Bounded in frames, bytes and time. */
#ifndef YZMA_SYNC_CACHE_H
#define YZMA_SYNC_CACHE_H

#include "squeeze.h"

enum {
    CACHE_FRAMES = 16,
    CACHE_BYTES = 4 << 20,       /* of all frames together */
    CACHE_FRAME_BYTES = 1 << 20, /* a larger one is read again: peers that are far behind are few */
    CACHE_MS = 1000,             /* older ones are not used: their records may be outdated */
};

struct cached {
    struct replica_id origin;
    uint64_t from, to;
    struct clock floor; /* of the snapshot it was read from */
    struct buf frame, packed;
    bool looked; /* packed was tried: empty means that it does not shrink */
    uint64_t made_ms;
};

struct frame_cache {
    struct cached frames[CACHE_FRAMES]; /* oldest first */
    size_t count, bytes;
    uint64_t hits;
};

void cache_clear(struct frame_cache *cache);
void cache_expire(struct frame_cache *cache, uint64_t now_ms);
/* The youngest frame of this origin from exactly `from` on, for a peer with this
 * clock; NULL. Valid until the next put. */
struct cached *cache_find(struct frame_cache *cache, uint64_t now_ms, const struct replica_id *origin,
                          uint64_t from, const struct clock *peer);
/* Copies; what is too large is not kept. */
void cache_put(struct frame_cache *cache, uint64_t now_ms, const struct replica_id *origin, uint64_t from,
               uint64_t to, const struct clock *floor, struct bytes frame);
/* The frame packed, made once; empty when it does not shrink. */
struct bytes cache_packed(struct frame_cache *cache, struct cached *cached, struct squeeze *squeeze);

#endif
