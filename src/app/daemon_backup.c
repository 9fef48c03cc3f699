/* The running node's side of a backup.
 *
 * A backup is a walk that nobody merges yet: pieces in key order, each from a fresh
 * short snapshot with its clock and floor, then the rows. What was acknowledged before
 * the first piece lies at or below its clock, and the restored replica's clock is the
 * lowest of all pieces': so nothing of it is missing, whether it stood in LMDB, in the
 * memory table or the log. No snapshot is held while a client reads, and nothing is kept here
 * between two pieces. */
#include "daemon_state.h"

#include "backup_file.h"
#include "chunk.h"

static enum err put_head(struct snapshot *snapshot, struct buf *out)
{
    struct identity identity = {0};
    enum err err = snapshot_identity(snapshot, &identity);
    if (err == OK)
        backup_put_head(out, &identity.id);
    identity_done(&identity);
    return err;
}

enum err daemon_backup(void *ctx, const struct backup_ask *ask, struct buf *out)
{
    static const struct chunk_limits limits = {.entries = 5000, .bytes = 4 << 20}; /* as of a walk's piece */
    struct daemon *d = ctx;
    struct snapshot *snapshot;
    struct walk_state walk = {0};
    struct dot bad_row;
    struct walk_place place = {.phase = ask->part == BACKUP_ROWS ? WALK_ROWS : WALK_RECORDS,
                               .after_len = ask->after.len,
                               .row_after = ask->row_after};
    if (ask->after.len)
        memcpy(place.after, ask->after.data, ask->after.len);
    enum err err = snapshot_open(d->store, &snapshot);
    if (err != OK)
        return err;
    out->max = FRAME_HEADER + FRAME_MAX;
    err = snapshot_walk(snapshot, &walk);
    if (err == OK && walk.phase != WALK_NONE)
        err = ERR_WALKING; /* what it holds is not what its clock claims */
    if (err == OK)
        err = ask->part == BACKUP_HEAD ? put_head(snapshot, out)
                                       : chunk_walk(snapshot, 1, &place, &limits, out, &bad_row);
    walk_state_done(&walk);
    snapshot_close(snapshot);
    return err;
}
