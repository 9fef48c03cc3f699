/* What the tests of the log share: opening it on a simulated disk with frames whose
 * body is one entry, and what a replay hands out. */
#ifndef YZMA_TESTS_LOG_RIG_H
#define YZMA_TESTS_LOG_RIG_H

#include "disk_sim.h"
#include "log.h"

enum { RIG_FRAMES_MAX = 64 };

struct log_rig {
    struct disk_sim *sim;
    struct log_mark mark; /* as the tree would have it */
    uint64_t segment_bytes;
    bool keeps_names; /* the disk removes no file */
    struct log *log;  /* NULL: closed */
    struct log_found found;
    struct buf why;
    /* What the last opening replayed: */
    uint64_t sequences[RIG_FRAMES_MAX];
    struct buf values[RIG_FRAMES_MAX];
    size_t count;
};

void rig_init(struct log_rig *rig, uint64_t segment_bytes);
void rig_done(struct log_rig *rig);
/* With the rig's mark; one that is not there yet is there after. */
enum err rig_open(struct log_rig *rig) MUST_USE;
void rig_open_ok(struct log_rig *rig);
void rig_close(struct log_rig *rig); /* the process ends well */
void rig_kill(struct log_rig *rig);
void rig_crash(struct log_rig *rig); /* the power goes */
enum err rig_append(struct log_rig *rig, struct bytes value) MUST_USE;
void rig_append_ok(struct log_rig *rig, const char *text);
/* `text` filled up with dots to a length. */
void rig_append_long(struct log_rig *rig, const char *text, size_t len);
/* The values that the last opening replayed, each cut at its first dot: "a b c". */
const char *rig_replayed(const struct log_rig *rig);
/* The names in the folder: "0000000000000001.log ..", sorted. */
const char *rig_names(struct log_rig *rig);
/* A copy of the rig, closed, on a copy of the disk. */
void rig_clone(struct log_rig *to, const struct log_rig *from);

#endif
