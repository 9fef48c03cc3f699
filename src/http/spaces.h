/* Counters and sets, read in order, in slices, as listings of keys are (listing.h):
 * each slice is of a snapshot of its own, and between two nothing is held but the place. */
#ifndef YZMA_HTTP_SPACES_H
#define YZMA_HTTP_SPACES_H

#include "json_out.h"
#include "space.h"
#include "store.h"

struct spaces_sink {
    /* False before anything is taken: it has enough. */
    bool (*wants)(void *ctx);
    /* One record of the space. True: nothing more of its set is looked at. */
    bool (*take)(void *ctx, const struct space_name *name, const struct record *record);
    void *ctx;
};

struct spaces {
    uint8_t prefix[KEY_MAX]; /* of the records' keys */
    size_t prefix_length;
    uint8_t end[KEY_MAX]; /* it ends before this record's key; empty: with the prefix */
    size_t end_length;
    uint8_t at[KEY_MAX + 1]; /* the next slice begins here */
    size_t at_length;
    bool done;            /* nothing is left */
    size_t malformed;     /* records of no form that is known: passed over */
    struct record record; /* owned */
    struct clock seen;    /* owned: what the records looked at reflect */
    /* of whoever reads: */
    struct spaces_sink sink; /* of a stream */
    struct json_out json;
    uint64_t found;
    uint8_t last[KEY_MAX]; /* what was found last, as the next request names it */
    size_t last_length;
};

void spaces_init(struct spaces *s, struct bytes prefix, struct bytes from, struct bytes end);
void spaces_done(struct spaces *s);

/* Reads on until the sink has enough, the end, or scan_max records. ERR_WALKING: a part of
 * what was read is still to come to this node with a walk. ERR_DAMAGED. */
enum err spaces_read(struct spaces *s, struct snapshot *snapshot, const struct spaces_sink *sink,
                     size_t scan_max) MUST_USE;

#endif
