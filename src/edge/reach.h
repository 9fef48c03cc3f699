/* What other replicas have of this one's operations, where any thread can ask: copied
 * from the node whenever it has heard something new. Only counters of this replica are
 * kept, a number for each peer. */
#ifndef YZMA_EDGE_REACH_H
#define YZMA_EDGE_REACH_H

#include "node.h"

#include <pthread.h>

struct reach {
    pthread_mutex_t lock; /* guards own, counters and count; held for a few instructions */
    struct replica_id own;
    uint64_t *counters, *fresh; /* owned; fresh is the loop's */
    size_t count;
    uint64_t reports; /* of the node, at the last look; the loop's */
};

void reach_init(struct reach *reach);
void reach_done(struct reach *reach);
/* On the loop's thread: true when something has changed. `anyway`: also where the node has
 * heard nothing new, as time passes for those who are expected. */
bool reach_look(struct reach *reach, const struct node *node, bool anyway);
/* This replica counts as one that has it: the operation is its own, and durable. */
void reach_of(struct reach *reach, const struct dot *dot, unsigned *ret_known, unsigned *ret_having);

#endif
