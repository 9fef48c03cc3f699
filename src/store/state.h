/* The small part of the store that the writer keeps in memory: identity, clock,
 * floor, stamp clock, walk. Snapshots read the same from the tables, as they were
 * when the snapshot began. */
#ifndef YZMA_STORE_STATE_H
#define YZMA_STORE_STATE_H

#include "store.h"

/* Ids a store had before that are still told to peers; the oldest are forgotten. */
enum { PREDECESSORS_MAX = 64 };

struct state {
    struct identity identity;
    struct clock clock, floor;
    struct stamp_clock stamp;
    uint64_t own_known; /* the highest own counter that what was merged here reflects: others have it */
    struct walk_state walk;
    uint64_t quarantined, quarantined_bytes; /* counted when loaded */
};

void state_done(struct state *state);
void state_copy(struct state *to, const struct state *from); /* `to` must be initialised */

/* Loading: ERR_DAMAGED for what does not decode or should be there; engine errors. */
enum err state_load(struct engine *engine, struct engine_txn *txn, struct state *ret) MUST_USE;
enum err clocks_load(struct engine *engine, struct engine_txn *txn, struct clock *ret_clock,
                     struct clock *ret_floor) MUST_USE;
enum err identity_load(struct engine *engine, struct engine_txn *txn, struct identity *ret) MUST_USE;
enum err walk_load(struct engine *engine, struct engine_txn *txn, struct walk_state *ret) MUST_USE;

/* Writes what is not the same in both; before == NULL: all of it. */
enum err state_save(struct engine *engine, struct engine_txn *txn, const struct state *before,
                    const struct state *now) MUST_USE;

/* Begins another life under the same id. */
void identity_start(struct identity *identity, const struct clock *clock, uint64_t random);
/* Takes a new id: the present one becomes a predecessor, and the start list
 * begins anew with this start. */
void identity_renew(struct identity *identity, const struct replica_id *id, uint64_t start_random);

#endif
