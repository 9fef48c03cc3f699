/* The law of engines: whatever stands behind engine.h must do, call for call,
 * what four sorted arrays do. Random transactions are committed or undone, read
 * transactions keep showing the moment they began in, cursors go on after
 * writes, and an engine that is closed and opened again holds what was committed
 * and nothing else. Breaking it fails the cmocka test that runs it. */
#ifndef YZMA_TESTS_ENGINE_LAW_H
#define YZMA_TESTS_ENGINE_LAW_H

#include "engine.h"

#include "rng.h"

struct engine_law {
    /* Makes an engine, empty the first time. With reopens, it is called again after a
     * close, and finds what was committed then. */
    struct engine *(*open)(void *ctx);
    void *ctx;
    bool reopens;
    bool usage_estimated; /* its counts of entries are not looked at */
    /* Called between the steps, outside transactions but with readers open: what an
     * engine does by itself. May be NULL. */
    void (*between)(void *ctx, struct engine *engine, struct rng *rng);
};
void engine_law_run(const struct engine_law *of, uint64_t seed, size_t steps);

#endif
