/* The file that LMDB keeps a store in, as far as LMDB does not look after it:
 *
 *   - one opener. LMDB lets a second process in, and a second opening in the same
 *     process destroys the first one's lock; so we hold a flock of our own on the
 *     data file from before LMDB sees it.
 *   - refusing a file that is not LMDB's before LMDB leaves a lock file beside it.
 *   - the folder's fsync after creating, without which a power loss may take the
 *     whole new file.
 *   - blocks that are there before they are written to, see datafile_grow.
 *
 * Nothing is written to a file that existed and had content. */
#ifndef YZMA_STORE_LMDB_DATAFILE_H
#define YZMA_STORE_LMDB_DATAFILE_H

#include "buf.h"

struct datafile {
    int fd;              /* holds the lock */
    char *path;          /* owned */
    bool fresh;          /* was made now, or was empty */
    bool created;        /* was made now */
    bool had_lock_file;  /* "path-lock" stood beside it before */
    bool counts_names;   /* the file system tells how many names it has */
    bool cannot_promise; /* the file system cannot promise blocks */
    uint64_t allocated;  /* bytes from the start that surely have blocks, for this run */
};

/* ERR_LOCKED (why names the holder's process where the system tells), ERR_REFUSED
 * (not a file of ours), ERR_VERSION (of another LMDB), ERR_IO. why gets one line. */
enum err datafile_open(const char *path, struct datafile *ret, struct buf *why) MUST_USE;
void datafile_close(struct datafile *file);
/* After a refusal, or where nothing was written: removes what opening has left in the
 * folder, then closes. */
void datafile_discard(struct datafile *file);

/* 20 bytes: inode, then birth seconds and nanoseconds (0 where the file system
 * does not tell). A copy or a restored file differs, also under the same name. */
enum err datafile_identity(const struct datafile *file, struct buf *out) MUST_USE;
/* ERR_REFUSED when fd is not this file: somebody put another one under the name. */
enum err datafile_is(const struct datafile *file, int fd) MUST_USE;
/* ERR_GONE: it has been removed, and ends with the process. */
enum err datafile_stands(const struct datafile *file) MUST_USE;
enum err datafile_sync_folder(const struct datafile *file) MUST_USE;
enum err datafile_size(const struct datafile *file, uint64_t *ret) MUST_USE;
enum err datafile_resize(const struct datafile *file, uint64_t size) MUST_USE;

/* Writes the first `bytes` of the file as they are read, and syncs: what is seen there
 * is then on the disk, though an earlier write or sync of it failed. ERR_IO. */
enum err datafile_rewrite(const struct datafile *file, size_t bytes) MUST_USE;

/* Sees to it that the bytes up to `end` have blocks on the disk: what is written
 * there later cannot meet a full disk. ERR_FULL, ERR_IO. Where the file system
 * has no such call it says OK, and a full disk shows when a commit writes. */
enum err datafile_grow(struct datafile *file, uint64_t end) MUST_USE;
/* What the disk has left for us. ERR_IO. */
enum err datafile_disk_free(const struct datafile *file, uint64_t *ret) MUST_USE;
/* True when the disk has less than `bytes` left. */
bool datafile_disk_is_full(const struct datafile *file, uint64_t bytes);

#endif
