/* How most stories of nodes begin and end: a cluster that has found itself, and
 * agreement within a time. */
#ifndef YZMA_TEST_STORIES_H
#define YZMA_TEST_STORIES_H

#include "world.h"

enum { FORMED_MS = 3000 };

/* n nodes that all joined the first one, after so long; each must see all. */
struct world *cluster_after(const struct world_options *options, int n, uint64_t ms);
void assert_agree_within(struct world *w, uint64_t ms);

#endif
