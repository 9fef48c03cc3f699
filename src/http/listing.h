/* A listing of keys in byte order, forwards or backwards, that is read in slices: each
 * is of a snapshot of its own, and between two nothing is held but the place. Pages,
 * streams, counts and the deletion of a prefix are all made of it; who looks at what
 * is found is a listing_sink. */
#ifndef YZMA_HTTP_LISTING_H
#define YZMA_HTTP_LISTING_H

#include "params.h"
#include "store.h"

struct listing_sink {
    /* False before anything is taken: it has enough for now. */
    bool (*wants)(void *ctx);
    /* A key with a living version: the surfaced one, and how many there are. */
    void (*key)(void *ctx, struct bytes key, const struct version *surfaced, size_t living);
    /* All keys that begin so, the delimiter included: at least one lives. */
    void (*folder)(void *ctx, struct bytes folder);
    void *ctx;
};

struct listing {
    const struct params *params; /* prefix, after, end, delimiter, reverse */
    struct listing_sink sink;
    uint64_t wall_ms;  /* what has expired by then is not there */
    size_t living_min; /* keys with fewer living versions are passed over */
    bool done;         /* nothing is left */
    /* The last key looked at, or the folder: the next slice goes on behind it, and a
     * page that stopped names it. */
    struct param_key last;
    bool in_folder; /* last is a folder: all of it is done */
    struct record record;
};

void listing_init(struct listing *listing, const struct params *params, uint64_t wall_ms);
void listing_done(struct listing *listing);

/* Reads on until the sink has enough, the end, or scan_max records. ERR_WALKING: keys of
 * the range are still to come to this node with a walk. ERR_DAMAGED, .. of the store. */
enum err listing_read(struct listing *listing, struct snapshot *snapshot, size_t scan_max) MUST_USE;

#endif
