/* The engine that keeps a store in LMDB: one file, read by memory map, written by
 * copy on write, so that readers and the writer never wait for each other and a
 * crash at any moment leaves the last commit whole.
 *
 * Every commit is durable: pages are written and synced, then the meta page that
 * makes them the tree is written through a descriptor opened O_DSYNC. None of the
 * flags that weaken this is used (MDB_NOSYNC may leave a torn tree, MDB_NOMETASYNC
 * may lose the last commit).
 *
 * Room. The file is given blocks ahead of its growth, and a reserve beyond: a put
 * that would eat into the reserve, and finds no more on the disk, gives ERR_FULL
 * before anything is written. Deletes, and puts under use_reserve, may use it: so
 * a full store can be emptied. Once there is room on the disk, or in the file,
 * puts go on by themselves.
 *
 * Failure. Of a commit that fails nothing happened, and the next one may be tried: it
 * writes and syncs all of its pages anew, and the tree refers to no page that a failed
 * sync left in doubt (LMDB aborts the transaction, so its pages stay free). Where the
 * meta page itself could not be written, LMDB gives up, for readers too. Then the file is
 * opened anew, in place (lmdb_env.c): readers wait for it, for two seconds at most (ERR_IO),
 * and before the next write the page that was found is written once more and synced.
 *
 * Opening changes nothing in a file that has content. Records carry checksums of
 * their own; LMDB's pages have none, so a file damaged in its inner pages can stop
 * the process that reads it: a disk that lies is beyond this engine. */
#ifndef YZMA_STORE_LMDB_ENGINE_LMDB_H
#define YZMA_STORE_LMDB_ENGINE_LMDB_H

#include "buf.h"
#include "engine.h"

enum {
    LMDB_READERS_MAX = 512,   /* snapshots at a time; 64 bytes of the lock file each */
    LMDB_RESERVE = 4 << 20,   /* a delete dirties some 25 pages of 4 KiB: a hundred fit */
    LMDB_GROW_STEP = 1 << 20, /* blocks asked for at a time, beyond what is needed */
};

struct lmdb_options {
    uint64_t bytes_max; /* Server.MaxStoreBytes; 0: only the disk limits */
};

/* *identity (initialised by the caller) gets what file this is: see
 * datafile_identity. On failure *why gets one line:
 * ERR_LOCKED   another process, or another opening in this one, holds the store
 * ERR_REFUSED  there is a file, and it is none of ours: untouched
 * ERR_VERSION  of an LMDB that this one does not know
 * ERR_DAMAGED  a part of the file is missing
 * ERR_IO       folder or file cannot be used: why says how */
enum err lmdb_engine_open(const char *path, const struct lmdb_options *options, struct engine **ret,
                          struct buf *identity, struct buf *why) MUST_USE;

#endif
