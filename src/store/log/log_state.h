/* The inside of the log, shared by log.c and log_open.c: no one else includes it. */
#ifndef YZMA_STORE_LOG_STATE_H
#define YZMA_STORE_LOG_STATE_H

#include "log.h"

#include <pthread.h>

struct segment {
    struct segment_header header;
    uint64_t size;
    uint64_t first, last;   /* sequences of its frames; 0: none */
    struct disk_file *file; /* of the current one and the next one */
    bool failed;            /* a write or sync of it has: it is not taken over */
};

struct log {
    struct disk *disk;
    uint8_t id[LOG_ID_SIZE];
    uint64_t random; /* state of the salts' generator */
    uint64_t segment_bytes;

    /* The writer's alone: */
    uint64_t sequence;  /* of the last frame */
    uint64_t offset;    /* in the current segment, where the next frame goes */
    struct segment now; /* current; file == NULL: none. Changed under the lock */
    bool moved_on;      /* to a new segment, since log_moved_on was asked */
    /* Numbers of segments that hold nothing and could not be removed. */
    uint64_t doomed[LOG_FAILED_MAX];
    size_t doomed_count;

    /* Held by who makes a segment: there is one file to make it of. Before `lock`. */
    pthread_mutex_t making;

    pthread_mutex_t lock;     /* guards what follows; not held while the disk works */
    struct segment *segments; /* owned, ascending by number: those before the current one */
    size_t segment_count;
    size_t failed_count; /* of them, that a failure ended: at most LOG_FAILED_MAX */
    /* Ready to be current; file == NULL: none. It cannot be once a segment with a higher
     * number has been: sequences rise with the numbers. */
    struct segment next;
    uint64_t next_number, used_number; /* of the next segment made; of the last current one */
    struct log_counters count;
};

void segment_name(uint64_t number, char out[DISK_NAME_MAX]);
/* False for a name that is none. */
bool segment_name_parse(const char *name, uint64_t *ret_number);
/* Adds at the end; the lock is held, or nobody else is there yet. */
void log_add_segment(struct log *log, const struct segment *segment);

#endif
