/* Another node under a store's own replica id: two run on copies of one store, or on an
 * older state of it. What it has shown is kept in the store, for yzma reidentify. */
#ifndef YZMA_SYNC_TWIN_H
#define YZMA_SYNC_TWIN_H

#include "store.h"

#define TWIN_NOTE "sync/twin" /* 8 bytes fork, 8 bytes parted */

struct twin {
    uint64_t fork;   /* the lowest counter up to which one of them is surely the same */
    uint64_t parted; /* .. of those that had written above it */
};                   /* UINT64_MAX: none */

/* None where the note is not there, or cannot be read. */
void twin_read(struct snapshot *snapshot, struct twin *ret);

#endif
