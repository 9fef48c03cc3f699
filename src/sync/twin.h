/* Another node under a store's own replica id: two run on copies of one store, or on an
 * older state of it. What it has shown is kept in the store, for yzma reidentify; and so is what
 * peers have told that they have of ours. */
#ifndef YZMA_SYNC_TWIN_H
#define YZMA_SYNC_TWIN_H

#include "store.h"

#define TWIN_NOTE  "sync/twin"  /* 8 bytes fork, 8 bytes parted */
#define KNOWN_NOTE "sync/known" /* 16 bytes own id, 8 bytes known */

struct twin {
    uint64_t fork;   /* the lowest counter up to which one of them is surely the same; UINT64_MAX: none */
    uint64_t parted; /* .. of those that had written above it */
    uint64_t known;  /* up to here others have our operations, as those have told who took our hello */
};

/* Nothing where a note is not there, is of another id, or cannot be read. */
void twin_read(struct snapshot *snapshot, const struct replica_id *own, struct twin *ret);

/* What yzma reidentify asks of the store, but for the new id and the random number. */
enum err twin_fill(struct snapshot *snapshot, struct reidentify_work *ret) MUST_USE;

#endif
