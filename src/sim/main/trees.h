/* Trees behind the log that LMDB keeps, for a share of the worlds: files in a folder of
 * their own, in memory where the system has such a place, and gone at the end. */
#ifndef YZMA_SIM_TREES_H
#define YZMA_SIM_TREES_H

#include "nodes.h"

struct trees;

struct trees *trees_new(void); /* NULL: no folder can be made */
void trees_free(struct trees *trees);
struct nodes_trees trees_face(struct trees *trees);

#endif
