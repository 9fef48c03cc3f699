/* Whole nodes in one thread and virtual time, from one seed: the pure node
 * (membership and replication), the store, and the real log and memory table on a
 * simulated disk; clients that hop from node to node; and every fault that the
 * promises of docs/RELIABILITY.md speak of. While it runs, an oracle that knows
 * every operation looks at every commit and at every answer; then the faults stop,
 * and all must agree within a stated time.
 *
 * The committer and the applier are done here as the daemon does them, between other
 * things instead of in threads; a request is what src/http makes of one, without its
 * bytes. Behind the log stands an ordered tree in memory that is as durable as LMDB:
 * what it has committed at the moment of death is there after it. In a share of the
 * worlds the world outside gives a tree of its own, and LMDB itself runs, on a disk that
 * loses and tears what was not synced. */
#ifndef YZMA_SIM_NODES_H
#define YZMA_SIM_NODES_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NODES_MAX = 64,
    NODES_AGREE_MS = 120000, /* after the faults stop, all that are up agree within it */
    NODES_FAULTS = 24,       /* kinds, at most */
};

struct engine;

struct tree_fault { /* of the nth change of a file from now on; 0: none */
    uint64_t nth;
    bool dies;    /* the process does, in the midst of it */
    enum err err; /* else: with this */
};

/* Trees behind the log that live in files, named by numbers, on a disk of which a power cut
 * leaves what was synced. */
struct nodes_trees {
    void *ctx;
    /* Made if it is not there. ERR_IO, ERR_FULL: it can be tried again. */
    enum err (*open)(void *ctx, uint64_t file, struct engine **ret);
    void (*copy)(void *ctx, uint64_t to, uint64_t from);
    void (*remove)(void *ctx, uint64_t file);
    void (*fail)(void *ctx, uint64_t file, const struct tree_fault *fault);
    bool (*dead)(void *ctx, uint64_t file);
    void (*die)(void *ctx, uint64_t file);             /* the process is gone, but for its code */
    void (*end)(void *ctx, uint64_t file, bool power); /* .. and that, too */
};

struct nodes_options {
    uint64_t seed;
    unsigned nodes;                            /* 0: 3 to 7, as the seed has it */
    unsigned steps;                            /* operations of clients, about; 0: as the seed has it */
    void (*tell)(void *ctx, const char *line); /* the transcript; NULL: none */
    void *tell_ctx;
    const struct nodes_trees *trees; /* NULL: all in memory */
    bool on_files;                   /* none in memory; else a share of the worlds is on files */
    bool strict;                     /* operations whose dot was given out twice are not left out */
};

struct nodes_result {
    bool fine;
    char why[400];
    uint64_t trace;
    uint64_t simulated_ms, steps;
    unsigned nodes, operations, acknowledged, refused, reads, token_reads, doubts;
    unsigned batches, touches, conditions, unmet, confirmed, dropped, quarantined, twins, retired;
    unsigned records_damaged, rows_damaged, mended, let_go;
    unsigned kills, crashes, stops, starts, faults, walks, reidentified, wiped, damaged, on_files;
    unsigned struck[NODES_FAULTS];    /* faults, by kind */
    uint64_t stream_bytes, agreed_ms; /* how long agreement took */
    bool traceless;                   /* that deleted keys cost nothing was looked at */
};

struct nodes_result nodes_run(const struct nodes_options *options);
const char *nodes_fault_name(unsigned kind); /* NULL: there is none */

#endif
