/* An engine in memory, for tests and simulations: four persistent treaps.
 *
 * A writer copies the nodes on its path that somebody else still sees, so that a
 * snapshot is one reference, a commit swaps four roots, and a copy of the whole
 * store (a backup, a crash) costs nothing. One thread at a time. */
#ifndef YZMA_STORE_ENGINE_MEM_H
#define YZMA_STORE_ENGINE_MEM_H

#include "engine.h"

struct engine *engine_mem_new(void);

/* A new engine with what the other has committed: what a crash would leave of
 * it, or a backup. Later changes of one are not seen in the other. */
struct engine *engine_mem_clone(const struct engine *engine);

/* Faults: the n-th call from now on (1 is the next) that may fail fails with
 * err; 0 for none. engine_mem_calls counts such calls since the engine was made. */
void engine_mem_fail(struct engine *engine, uint64_t nth, enum err err);
/* The n-th commit from now on (0: none) is ERR_IO; it has happened all the same with
 * `happens`, as one of LMDB may have that is cut off or whose last page fails. */
void engine_mem_fail_commit(struct engine *engine, uint64_t nth, bool happens);
bool engine_mem_commit_failed(const struct engine *engine); /* since that was said */

uint64_t engine_mem_calls(const struct engine *engine);

#endif
