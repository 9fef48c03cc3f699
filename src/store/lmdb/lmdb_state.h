/* The inside of the engine, shared by its files: no one else includes it. */
#ifndef YZMA_STORE_LMDB_STATE_H
#define YZMA_STORE_LMDB_STATE_H

#include "datafile.h"
#include "engine_lmdb.h"

#include <lmdb.h>
#include <pthread.h>

struct engine_cursor {
    MDB_cursor *mdb;
    struct engine_txn *txn;
    bool open;
};

/* A read transaction keeps its reader slot and one cursor for each table when it
 * ends, and waits in the pool: a get then neither allocates nor searches. */
struct engine_txn {
    struct lmdb *lmdb;
    MDB_txn *mdb;
    bool writes;
    size_t open_cursors;
    struct engine_cursor kept[TABLES_ALL]; /* of reads */
    struct engine_txn *next;               /* in the pool */
    /* of writes: */
    bool in_reserve;
    uint64_t used_bytes; /* of the file, when it began */
    uint64_t spent;      /* estimate of what the puts take */
    uint64_t room;       /* what they may take without eating into the reserve */
};

struct lmdb {
    struct engine engine;
    MDB_env *env;
    MDB_dbi tables[TABLES_ALL];
    struct datafile file; /* its `allocated` under room_lock */
    uint64_t page_bytes, limit_bytes;
    bool has_front; /* the table; set before other threads come */
    bool touched;   /* something was written, perhaps */
    struct engine_txn writer;
    /* The writer's: LMDB takes no write until the file is opened anew; and the page that
     * tells the tree, as it is read, may not be on the disk. */
    bool broken, doubtful;
    pthread_mutex_t pool_lock; /* guards what follows, and who uses env without a snapshot */
    pthread_cond_t pool_changed;
    struct engine_txn *pool;
    size_t reading;            /* snapshots that are open */
    bool gated;                /* none may be opened now */
    uint64_t reopenings;       /* since the start */
    pthread_mutex_t room_lock; /* guards the file's promised blocks: see promise */
};

enum err lmdb_err(int rc);
uint64_t lmdb_used_bytes(struct lmdb *lmdb);

/* ---- lmdb_env.c ------------------------------------------------------------ */

/* Opens what the file holds, or makes it. *why gets one line on failure. */
enum err lmdb_env_start(struct lmdb *lmdb, const struct lmdb_options *options, struct buf *identity,
                        struct buf *why) MUST_USE;
void lmdb_env_close(struct lmdb *lmdb);
/* The table of an engine in front, where the store was made before there was one. */
int lmdb_make_front(struct lmdb *lmdb) MUST_USE;

/* Counts a reader, who may have a transaction of the pool (else NULL). *ret_serial:
 * which opening this is. ERR_IO: there is none. */
enum err lmdb_enter(struct lmdb *lmdb, struct engine_txn **ret, uint64_t *ret_serial) MUST_USE;
/* Takes the transaction into the pool; or NULL. */
void lmdb_leave(struct lmdb *lmdb, struct engine_txn *txn);
void lmdb_read_free(struct engine_txn *txn);
/* Waits until the file has been opened anew since that opening. False: it was not, until
 * the time of *until, which is set if it is not. */
bool lmdb_wait_reopened(struct lmdb *lmdb, uint64_t serial, struct timespec *until);

/* By the writer, after a commit that failed. */
void lmdb_look_after(struct lmdb *lmdb);
/* By the writer, before a transaction: opens anew what must be, and makes durable what
 * was found. ERR_IO: it reads, if that, but takes no write. */
enum err lmdb_make_sound(struct lmdb *lmdb) MUST_USE;

#endif
