/* Merging a peer's record into ours: the heart of the store, and pure.
 *
 * The idea is the optimised OR-Set (Bieniusa et al., "An optimized conflict-free
 * replicated set", 2012) with the contexts kept per key and the node's clock in
 * place of tombstones (Gonçalves et al., "DottedDB", SRDS 2017): a version that
 * only one side has was either not yet seen by the other side, and is kept, or
 * seen and removed there, and goes. */
#ifndef YZMA_CRDT_MERGE_H
#define YZMA_CRDT_MERGE_H

#include "record.h"

/* out := local merged with remote. Versions in out borrow from both.
 *   local_clock  the clock of the node that holds local
 *   also_covers  in a walk the source's clock, which counts as known to the
 *                source for this merge only and is never stored; NULL otherwise
 * Keeps a version that both have; one that only local has, unless the remote
 * context or also_covers covers its dot; one that only remote has, unless the
 * local context or local_clock covers its dot.
 * The context is the maximum of both, joined with the dots of the versions kept
 * and removed: operations on this key only. out must be initialised and neither
 * of the inputs. */
void record_merge(const struct record *local, const struct clock *local_clock, const struct record *remote,
                  const struct clock *also_covers, struct record *out);

#endif
