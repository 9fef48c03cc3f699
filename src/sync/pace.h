/* How much of a peer's bulk goes to the committer at once.
 *
 * One thread commits, so a client's write waits for whatever stands before it. As
 * long as nobody writes here, bulk comes in large slices, a few ahead. Once there was a
 * write, and for some seconds after each, one slice at a time is handed on, of a
 * size that the committer was seen to take in about PACE_TARGET_MS, and then as
 * long again is left to others: a write waits for a slice at most, and no more
 * than half of the committer's time is the peers'. Small frames, the ones that
 * bring what was written a moment ago, are no bulk and wait for nothing.
 *
 * Times come in; they are those of the node's events, in milliseconds. */
#ifndef YZMA_SYNC_PACE_H
#define YZMA_SYNC_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PACE_TARGET_MS = 4,       /* what a client's write may wait for: a few syncs of a quick disk */
    PACE_BUSY_MS = 5000,      /* after a client's write */
    PACE_ENTRIES_MIN = 32,    /* below it a slice costs about what its commit costs */
    PACE_ENTRIES_FIRST = 256, /* for a start: some milliseconds where a disk is slow */
    PACE_ENTRIES_MAX = 2048,  /* some 15 ms, of which the first write after a while may see one slice; */
    PACE_BYTES_MAX = 2 << 20, /* beside it what a sync costs is little */
    PACE_ENTRY_BYTES = 1024,  /* a slice of n entries has at most n times so many bytes */
    PACE_OUT_MAX = 3,         /* slices at the committer while nobody writes: it is never idle */
    PACE_REST_MAX_MS = 1000,
};

struct pace {
    uint64_t busy_until_ms, rest_until_ms;
    size_t entries; /* of a slice, while clients write; 0: not known yet */
    size_t base_ms; /* what the smallest take: the disk's doing, and nothing that smaller ones mend */
    unsigned out;   /* slices at the committer */
};

void pace_local_write(struct pace *pace, uint64_t now_ms);
bool pace_is_busy(const struct pace *pace, uint64_t now_ms);
/* May a slice go to the committer now? *ret_entries and *ret_bytes bound it. */
bool pace_may(const struct pace *pace, uint64_t now_ms, size_t *ret_entries, size_t *ret_bytes);
void pace_gave(struct pace *pace);
/* A slice of so many entries came back after so long. */
void pace_stored(struct pace *pace, uint64_t now_ms, size_t entries, uint64_t took_ms);
/* When pace_may may change by itself; UINT64_MAX: never. */
uint64_t pace_deadline(const struct pace *pace, uint64_t now_ms);

#endif
