/* Reading what a peer lacks out of the store, as frames.
 *
 * Every chunk is read from one short snapshot, which the caller opens, uses for
 * its checks (is the peer's clock at or above our floor *here*?) and closes
 * before it waits for anything. A chunk holds at least one value, and no more
 * than the limits otherwise. A record or row that cannot be read ends the chunk
 * with ERR_DAMAGED and nothing is written: a source never skips. */
#ifndef YZMA_SYNC_CHUNK_H
#define YZMA_SYNC_CHUNK_H

#include "frames.h"

struct chunk_limits {
    size_t entries;
    size_t bytes; /* of records */
};

/* ROWS of origin in (from, through], through being at or below the snapshot's
 * clock and from below it. *ret_to is the last counter in the frame. With ERR_DAMAGED
 * *ret_bad_row is the counter of the row that cannot be read, or 0 when it is a record
 * (which the store has noted then). */
enum err chunk_rows(struct snapshot *snapshot, const struct replica_id *origin, uint64_t from,
                    uint64_t through, const struct chunk_limits *limits, struct buf *out, uint64_t *ret_to,
                    uint64_t *ret_bad_row) MUST_USE;

/* AHEAD: rows above the snapshot's clock, from the first above *after on, which then is
 * the last in the frame; *ret_more: there are others. Writes nothing when there are none. */
enum err chunk_ahead(struct snapshot *snapshot, struct dot *after, const struct chunk_limits *limits,
                     struct buf *out, bool *ret_more) MUST_USE;

/* Tells one set of such rows from another: of at most `max` of them. *digest goes on from
 * where it was, and *after is the last one then. */
enum err chunk_look_ahead(struct snapshot *snapshot, struct dot *after, size_t max, uint64_t *digest,
                          bool *ret_more) MUST_USE;

/* A piece of a walk from `place` on: a WALK_PIECE or WALK_ROWS frame. On success
 * place stands behind it; WALK_NONE when that was the last. With ERR_DAMAGED *ret_bad_row
 * is the row that cannot be read, or has the counter 0 when it is a record. (One above the
 * clock is left out: its operation was found early, and comes again.) */
enum err chunk_walk(struct snapshot *snapshot, uint64_t run, struct walk_place *place,
                    const struct chunk_limits *limits, struct buf *out, struct dot *ret_bad_row) MUST_USE;

#endif
