/* A small random world of stores, against an exact oracle.
 *
 * A few replicas put, delete and add, with and without tokens, exchange parts of
 * deltas, walk in pieces from changing sources, prune to arbitrary floors, die
 * for good, and fall back to older states of themselves under new ids, after
 * some writes that have to be put again. In some worlds they take new ids for nothing: with
 * a fork below operations that others have. Records become unreadable and are put
 * back from another replica's, and replicas with equal clocks are compared (in the
 * worlds where no disk dies: what dies while somebody walks from it is the one known
 * difference). All of it runs on the real store over
 * the memory engine, as replication would drive it: each chunk of a delta and
 * each piece of a walk comes from a fresh snapshot.
 *
 * Afterwards, faults off, all replicas must hold exactly: every version added,
 * less every version that some operation removed of what its client saw; equal
 * clocks; and, when all floors are raised, not a byte for deleted keys. In
 * between a clock may claim only what was applied, and a write may remove only
 * what its client saw. (Pruning past what the others have, and losing a disk, are
 * not combined: whoever alone holds an operation may lose it.) */
#ifndef YZMA_TESTS_WORLD_H
#define YZMA_TESTS_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rules that the driver can weaken from outside the store. */
enum driver_weaken {
    DRIVER_SOUND,
    DRIVER_FLOOR,  /* deltas are sent without looking at the floor */
    DRIVER_AHEAD,  /* rows ahead of the sender's clock are not offered */
    DRIVER_REUSE,  /* an older state keeps its id */
    DRIVER_FORGOT, /* tokens do not ask for the floor */
};

struct world_result {
    bool fine;
    char why[300];
    uint64_t repaired, compared;
    uint64_t trace; /* a hash of all that happened */
};

struct world_result world_run(uint64_t seed, enum driver_weaken weaken);

#endif
