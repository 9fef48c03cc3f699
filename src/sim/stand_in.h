/* A member that is not there: it answers pings, and exchanges with one same list of
 * members, so that a few whole nodes can live in a large cluster. */
#ifndef YZMA_SIM_STAND_IN_H
#define YZMA_SIM_STAND_IN_H

#include "vnet.h"

struct stand_in {
    struct addr addr;
    struct bytes table; /* what it answers to push/pull; borrowed */
};

extern const struct vnet_ops stand_in_ops; /* ctx is the stand_in */

#endif
