/* The applier: the thread that drains the memory table into the tree behind the log
 * (store/log/log_engine.h), so that commits need not wait for the tree.
 *
 * It works when a generation is full, or when nobody has written for some seconds, and
 * keeps out of the way: at low priority, and with pauses as long as its work while it
 * is ahead of the writers. Writers that fill memory faster than it drains are slowed
 * in small steps, a chunk at a time, long before they would have to stop. */
#ifndef YZMA_EDGE_APPLIER_H
#define YZMA_EDGE_APPLIER_H

#include "log_engine.h"

struct applier;

struct applier_options {
    /* From the applier's thread: when applying begins to fail, with its error, and
     * with OK when it goes on. May be NULL. */
    void (*on_trouble)(void *ctx, enum err err);
    void (*on_chunk)(void *ctx); /* from there too, of each that was tried. May be NULL */
    void *ctx;
};

/* The engine is one of log_engine_open, and stays the caller's. */
struct applier *applier_new(struct engine *engine, const struct applier_options *options);
/* From now on a writer that meets a full memory table is refused at once (ERR_BUSY):
 * the process is about to end. */
void applier_hurry(struct applier *applier);
/* No one writes any more: applies what there is, in short chunks, until that time of
 * CLOCK_MONOTONIC in ms at most (what remains is in the log), then ends the thread. May
 * be called again. */
void applier_stop(struct applier *applier, uint64_t until_ms);
void applier_free(struct applier *applier); /* stops at once; takes NULL */

#endif
