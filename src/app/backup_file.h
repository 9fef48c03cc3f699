/* A backup as a file: what a walk sends (frames.h), one frame after the other.
 *
 *   offset  size  what
 *   0       8     "YZMABKUP"
 *   8       4     format, 1
 *   12      16    replica id of the node that was backed up
 *   28      4     CRC-32C of what stands before
 *   32      ..    WALK_PIECE frames, in key order, the last of them marked as last, then
 *                 WALK_ROWS frames, the last of them marked as last
 *
 * Every frame has its own length and checksum, begins where the one before ended, and
 * the last one says that it is: a file that was cut anywhere is known to be incomplete. */
#ifndef YZMA_APP_BACKUP_FILE_H
#define YZMA_APP_BACKUP_FILE_H

#include "frames.h"

enum { BACKUP_FORMAT = 1, BACKUP_HEAD_SIZE = 32 };

void backup_put_head(struct buf *out, const struct replica_id *id);
/* ERR_MALFORMED: none of ours; ERR_VERSION; ERR_CHECKSUM. */
enum err backup_get_head(struct bytes head, struct replica_id *ret_id) MUST_USE;

/* What the next frame must be about. */
struct backup_place {
    struct walk_place at; /* WALK_NONE: the backup is whole */
    uint64_t records;
};
void backup_begin(struct backup_place *place);
/* Reads one frame at the front of input into work, checks that it follows, and moves on.
 * ERR_TRUNCATED: the input ends in it. */
enum err backup_next(struct backup_place *place, struct bytes input, size_t *ret_size,
                     struct store_work **ret) MUST_USE;

#endif
