/* The log in front of the tree: an append-only row of frames, one a commit, in
 * segments (segment.h). A commit is durable when its frame is: one write and one
 * sync, where the tree would need many scattered pages and two.
 *
 * At most one frame is unsynced at any time. So after a crash all frames are whole
 * but perhaps the last, and opening can tell a tail that was being written (no
 * valid frame of this log follows: it is given up) from damage (one follows: the
 * start stops).
 *
 * What was given up, or is in doubt after a failed sync (or a write that failed for
 * more than want of room: a frame that found none was never synced, and the next one
 * takes its place), is never written over or appended to. The next frame goes to the
 * start of a new segment, under the
 * sequence of the one given up: whoever reads the log goes on with the new segment
 * where its first frame's sequence comes due, and what the old one holds from there
 * on is void. So a failed sync is not trusted later (Rebello et al., "Can
 * applications recover from fsync failures?", ATC 2020), and writing goes on.
 *
 * A segment is removed, or taken over as the next one, when the tree has all of it.
 *
 * Threads: log_append by the committer; log_trim and log_prepare by one other. */
#ifndef YZMA_STORE_LOG_H
#define YZMA_STORE_LOG_H

#include "disk.h"
#include "segment.h"

/* A store has two of them at least; at high rates one lasts some tenths of a second. */
enum { LOG_SEGMENT_BYTES = 4 << 20 };
/* Segments that a failure ended before they were full. So many may wait for the tree to
 * have all of them; nothing special about the number. */
enum { LOG_FAILED_MAX = 16 };

/* What the tree knows of the log: which it is, and up to where it has taken over. */
struct log_mark {
    bool present; /* false: a tree that never had a log */
    uint8_t id[LOG_ID_SIZE];
    uint64_t sequence;
    uint64_t applying; /* above sequence: some of what lies between has been taken over, too */
};

struct log_options {
    struct disk *disk;             /* taken, also on failure */
    const char *where;             /* its name, for messages */
    uint8_t fresh_id[LOG_ID_SIZE]; /* of a log that begins now */
    uint64_t random;               /* salts are made of it */
    uint64_t segment_bytes;        /* 0: LOG_SEGMENT_BYTES */
};

struct log_found {
    uint64_t frames, entries, bytes; /* above the mark, handed to replay */
    uint64_t operations;             /* of these entries, new rows; counted by log_engine_open */
    bool lost;                       /* the log is missing, or older than the tree: operations are gone */
    bool cut;                        /* a frame that was being written was given up .. */
    char cut_name[DISK_NAME_MAX];    /* .. in this segment .. */
    uint64_t cut_offset;             /* .. here */
};

struct log;

/* Hands every frame above the mark to `replay`, in order, then makes what it has
 * found durable. An error of replay ends it.
 * ERR_DAMAGED (file and offset in why; or the log is lost and the tree has a part of
 * it: untouched), ERR_VERSION, ERR_REFUSED (of another store: untouched), ERR_IO,
 * ERR_FULL. */
enum err log_open(const struct log_options *options, const struct log_mark *mark,
                  enum err (*replay)(void *ctx, const struct log_frame *frame), void *ctx, struct log **ret,
                  struct log_found *ret_found, struct buf *why) MUST_USE;
void log_close(struct log *log); /* takes NULL */

/* The id of this log: the mark's, or the fresh one (a new log, or `lost`). */
void log_id(const struct log *log, uint8_t ret[LOG_ID_SIZE]);
uint64_t log_sequence(const struct log *log); /* of the last frame; the mark's where there is none */

/* Appends the next frame (begun with log_frame_begin, `entries` entries); durable
 * on OK. Otherwise it did not happen: ERR_TOO_LARGE, ERR_NOMEM (the frame's own),
 * ERR_BUSY (LOG_FAILED_MAX is reached: the tree must take over first), ERR_GONE (what
 * it would be written to has been removed); or ERR_FULL (no room on the disk), ERR_IO: it may be found after
 * a crash unless a later append succeeds, which voids it. */
enum err log_append(struct log *log, struct buf *frame, uint32_t entries) MUST_USE;

/* The tree has all up to `sequence`: gives up the segments before, and keeps one of
 * them as the next, if no write of it has failed. */
void log_trim(struct log *log, uint64_t sequence);
/* By the writer's thread: true once after each change to a new segment, which is when
 * log_prepare has something to do. */
bool log_moved_on(struct log *log);
/* Makes the next segment ready, unless it is. ERR_FULL, ERR_IO. */
enum err log_prepare(struct log *log) MUST_USE;

struct log_counters {
    uint64_t frames, bytes; /* appended, since the start */
    uint64_t segments;      /* now */
    uint64_t segment_bytes; /* of them */
    uint64_t failures;      /* of writes and syncs */
    uint64_t reused;        /* segments taken over */
};
void log_counters(struct log *log, struct log_counters *ret);

#endif
