/* LMDB's environment: opening it, and what is read from it or refused then; opening it
 * anew, in place, when LMDB has given it up.
 *
 * LMDB takes no transaction any more, not even to read, once the meta page of a commit
 * could not be written. What the file then holds is the truth, old tree or new; so it is
 * closed and opened, which needs all snapshots to have ended: a gate holds up those who
 * come until those who are there have left, for a moment, and else it is tried again. */
#include "lmdb_state.h"

#include "check.h"
#include "mem.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

enum {
    /* Opening anew waits so long for the readers to end, and holds up those who come,
     * before it gives up for now. A reader who meets what must be opened anew waits
     * longer than that. */
    READERS_END_MS = 200,
    REOPENED_MS = 2000,
};

/* The map is address space, not memory, and sparse: as much as a process has to
 * spare. Where that is limited (ulimit -v gives ENOMEM, valgrind EINVAL) it is halved
 * until it fits; below the least a store is not worth opening. */
static const uint64_t MAP_BYTES_FIRST = 1ull << 40;
static const uint64_t MAP_BYTES_LEAST = 64ull << 20;

static const char *const table_names[TABLES_ALL] = {"meta", "clocks", "records", "rows", "front"};

enum err lmdb_err(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return OK;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_FULL;
    case ENOMEM:
        return ERR_NOMEM;
    case MDB_READERS_FULL:
        return ERR_BUSY;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
        return ERR_DAMAGED;
    case MDB_VERSION_MISMATCH:
        return ERR_VERSION;
    case MDB_INVALID:
        return ERR_REFUSED;
    default:
        return ERR_IO;
    }
}

uint64_t lmdb_used_bytes(struct lmdb *lmdb)
{
    MDB_envinfo info;
    mdb_env_info(lmdb->env, &info);
    return (info.me_last_pgno + 1) * lmdb->page_bytes;
}

/* ---- readers -------------------------------------------------------------- */

void lmdb_read_free(struct engine_txn *txn)
{
    for (size_t i = 0; i < TABLES_ALL; i++)
        if (txn->kept[i].mdb)
            mdb_cursor_close(txn->kept[i].mdb);
    mdb_txn_abort(txn->mdb);
    free(txn);
}

static struct timespec from_now(uint64_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    t.tv_sec += (time_t)(ms / 1000) + t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

enum err lmdb_enter(struct lmdb *lmdb, struct engine_txn **ret, uint64_t *ret_serial)
{
    pthread_mutex_lock(&lmdb->pool_lock);
    while (lmdb->gated)
        pthread_cond_wait(&lmdb->pool_changed, &lmdb->pool_lock);
    enum err err = lmdb->env ? OK : ERR_IO;
    *ret_serial = lmdb->reopenings;
    if (err == OK) {
        lmdb->reading++;
        *ret = lmdb->pool;
        if (lmdb->pool)
            lmdb->pool = lmdb->pool->next;
    }
    pthread_mutex_unlock(&lmdb->pool_lock);
    return err;
}

void lmdb_leave(struct lmdb *lmdb, struct engine_txn *txn)
{
    pthread_mutex_lock(&lmdb->pool_lock);
    if (txn) {
        txn->next = lmdb->pool;
        lmdb->pool = txn;
    }
    lmdb->reading--;
    bool tell = lmdb->gated && lmdb->reading == 0;
    pthread_mutex_unlock(&lmdb->pool_lock);
    if (tell)
        pthread_cond_broadcast(&lmdb->pool_changed);
}

bool lmdb_wait_reopened(struct lmdb *lmdb, uint64_t serial, struct timespec *until)
{
    int rc = 0;
    if (!until->tv_sec)
        *until = from_now(REOPENED_MS);
    pthread_mutex_lock(&lmdb->pool_lock);
    while (lmdb->reopenings == serial && rc == 0)
        rc = pthread_cond_clockwait(&lmdb->pool_changed, &lmdb->pool_lock, CLOCK_MONOTONIC, until);
    bool reopened = lmdb->reopenings != serial;
    pthread_mutex_unlock(&lmdb->pool_lock);
    return reopened;
}

/* ---- the environment -------------------------------------------------------- */

void lmdb_env_close(struct lmdb *lmdb)
{
    while (lmdb->pool) {
        struct engine_txn *txn = lmdb->pool;
        lmdb->pool = txn->next;
        lmdb_read_free(txn);
    }
    if (lmdb->env)
        mdb_env_close(lmdb->env);
    lmdb->env = NULL;
}

static int env_open_with_map(struct lmdb *lmdb, uint64_t map_bytes)
{
    int rc = mdb_env_create(&lmdb->env);
    if (rc != MDB_SUCCESS)
        return rc;
    if ((rc = mdb_env_set_mapsize(lmdb->env, map_bytes)) == MDB_SUCCESS &&
        (rc = mdb_env_set_maxdbs(lmdb->env, TABLES_ALL)) == MDB_SUCCESS &&
        (rc = mdb_env_set_maxreaders(lmdb->env, LMDB_READERS_MAX)) == MDB_SUCCESS)
        /* NOTLS: a reader slot belongs to a transaction, not to a thread. */
        rc = mdb_env_open(lmdb->env, lmdb->file.path, MDB_NOSUBDIR | MDB_NOTLS, 0640);
    if (rc != MDB_SUCCESS) {
        mdb_env_close(lmdb->env); /* as LMDB wants it after a failed opening */
        lmdb->env = NULL;
    }
    return rc;
}

static int env_open(struct lmdb *lmdb)
{
    int rc = ENOMEM;
    for (uint64_t bytes = MAP_BYTES_FIRST; (rc == ENOMEM || rc == EINVAL) && bytes >= MAP_BYTES_LEAST;
         bytes /= 2)
        rc = env_open_with_map(lmdb, bytes);
    return rc;
}

/* Opens the tables; makes them where there is nothing at all yet, and the front table
 * when something is written to a store that was made before there was one. */
static int open_tables_in(struct lmdb *lmdb, bool empty, bool with_front, bool write)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(lmdb->env, NULL, write ? 0 : MDB_RDONLY, &txn);
    if (rc != MDB_SUCCESS)
        return rc;
    for (size_t i = 0; i < TABLES && rc == MDB_SUCCESS; i++)
        rc = mdb_dbi_open(txn, table_names[i], empty ? MDB_CREATE : 0, &lmdb->tables[i]);
    if (rc == MDB_SUCCESS && with_front)
        rc = mdb_dbi_open(txn, table_names[TABLE_FRONT], write ? MDB_CREATE : 0, &lmdb->tables[TABLE_FRONT]);
    if (rc == MDB_SUCCESS) {
        rc = mdb_txn_commit(txn); /* of a read too: it makes the handles lasting */
        lmdb->has_front = rc == MDB_SUCCESS && with_front;
        return rc;
    }
    mdb_txn_abort(txn);
    return rc;
}

/* ---- after a failed meta page --------------------------------------------- */

/* LMDB takes no transaction any more where the meta page of a commit could not be
 * written. */
static bool is_broken(struct lmdb *lmdb)
{
    MDB_txn *probe;
    int rc = mdb_txn_begin(lmdb->env, NULL, 0, &probe);
    if (rc == MDB_SUCCESS)
        mdb_txn_abort(probe);
    return rc == MDB_PANIC;
}

/* No snapshot is open, and none can be until open_gate. */
static bool close_gate(struct lmdb *lmdb)
{
    struct timespec until = from_now(READERS_END_MS);
    int rc = 0;
    pthread_mutex_lock(&lmdb->pool_lock);
    lmdb->gated = true;
    while (lmdb->reading && rc == 0)
        rc = pthread_cond_clockwait(&lmdb->pool_changed, &lmdb->pool_lock, CLOCK_MONOTONIC, &until);
    lmdb->gated = lmdb->reading == 0;
    bool closed = lmdb->gated;
    pthread_mutex_unlock(&lmdb->pool_lock);
    if (!closed)
        pthread_cond_broadcast(&lmdb->pool_changed);
    return closed;
}

static void open_gate(struct lmdb *lmdb)
{
    pthread_mutex_lock(&lmdb->pool_lock);
    lmdb->gated = false;
    lmdb->reopenings++;
    pthread_mutex_unlock(&lmdb->pool_lock);
    pthread_cond_broadcast(&lmdb->pool_changed);
}

/* By the writer, outside its transactions. The file's lock, which is ours, is held all
 * the while. Where opening fails there is nothing to read until it succeeds. */
static enum err reopen(struct lmdb *lmdb)
{
    int fd;
    if (!close_gate(lmdb))
        return ERR_BUSY; /* somebody reads for long: next time */
    lmdb_env_close(lmdb);
    enum err err = lmdb_err(env_open(lmdb));
    if (err == OK) {
        mdb_env_get_fd(lmdb->env, &fd);
        err = datafile_is(&lmdb->file, fd);
    }
    if (err == OK)
        err = lmdb_err(open_tables_in(lmdb, false, lmdb->has_front, false));
    if (err != OK)
        lmdb_env_close(lmdb);
    lmdb->broken = err != OK;
    open_gate(lmdb);
    return err;
}

/* What is found is the truth; made durable before anything is built on it. */
enum err lmdb_make_sound(struct lmdb *lmdb)
{
    enum err err = lmdb->broken ? reopen(lmdb) : OK;
    if (err == OK && lmdb->doubtful) {
        err = datafile_rewrite(&lmdb->file, 2 * lmdb->page_bytes); /* LMDB's meta pages */
        lmdb->doubtful = err != OK;
    }
    return err == OK ? OK : ERR_IO;
}

void lmdb_look_after(struct lmdb *lmdb)
{
    if (!is_broken(lmdb))
        return;
    lmdb->broken = lmdb->doubtful = true;
    (void)!reopen(lmdb); /* at once, for the readers */
}

/* ---- opening ---------------------------------------------------------------- */

/* Counts the free pages at or above first. A page never written may lie behind
 * the end of a sound file only if the tree does not use it. */
static int count_free_from(struct lmdb *lmdb, uint64_t first, uint64_t *ret)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    int rc = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &txn);
    if (rc != MDB_SUCCESS)
        return rc;
    if ((rc = mdb_cursor_open(txn, 0, &cursor)) == MDB_SUCCESS) {
        MDB_val key, list;
        *ret = 0;
        while ((rc = mdb_cursor_get(cursor, &key, &list, MDB_NEXT)) == MDB_SUCCESS) {
            for (size_t at = sizeof(size_t); at + sizeof(size_t) <= list.mv_size; at += sizeof(size_t)) {
                size_t page;
                memcpy(&page, (uint8_t *)list.mv_data + at, sizeof page);
                *ret += page >= first;
            }
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

/* A map that reaches beyond the end of its file kills the process that reads
 * there. So a file that was cut is found here, and refused as it is. */
static enum err look_for_cut(struct lmdb *lmdb, struct buf *why)
{
    uint64_t size, used = lmdb_used_bytes(lmdb), missing_free = 0;
    enum err err = datafile_size(&lmdb->file, &size);
    if (err != OK || size >= used)
        return err;
    err = datafile_resize(&lmdb->file, used); /* zeros: never a page of a tree */
    if (err != OK)
        return err;
    uint64_t whole_pages = size / lmdb->page_bytes;
    int rc = count_free_from(lmdb, whole_pages, &missing_free);
    if (rc == MDB_SUCCESS && missing_free == used / lmdb->page_bytes - whole_pages)
        return OK;
    buf_put_format(why, "%s: cut to %llu of %llu bytes", lmdb->file.path, (unsigned long long)size,
                   (unsigned long long)used);
    if (datafile_resize(&lmdb->file, size) != OK)
        buf_put_text(why, ", and filled up with zeros");
    return ERR_DAMAGED;
}

/* A file of LMDB that holds something else is not ours. */
static int open_tables(struct lmdb *lmdb)
{
    MDB_stat st;
    mdb_env_stat(lmdb->env, &st);
    bool empty = st.ms_entries == 0;
    lmdb->touched = empty;
    int rc = open_tables_in(lmdb, empty, true, empty);
    if (rc == MDB_NOTFOUND)
        rc = open_tables_in(lmdb, false, false, false);
    return rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE ? MDB_INVALID : rc;
}

int lmdb_make_front(struct lmdb *lmdb)
{
    return open_tables_in(lmdb, false, true, true);
}

static void fill_why(struct buf *why, const char *path, enum err err, int rc)
{
    if (err == ERR_REFUSED)
        buf_put_format(why, "%s: not a store", path);
    else
        buf_put_format(why, "%s: %s", path, rc != MDB_SUCCESS ? mdb_strerror(rc) : err_text(err));
}

enum err lmdb_env_start(struct lmdb *lmdb, const struct lmdb_options *options, struct buf *identity,
                        struct buf *why)
{
    int rc = env_open(lmdb);
    enum err err = lmdb_err(rc);
    if (err != OK)
        goto out;

    MDB_stat st;
    MDB_envinfo info;
    int fd;
    mdb_env_stat(lmdb->env, &st);
    mdb_env_info(lmdb->env, &info);
    mdb_env_get_fd(lmdb->env, &fd);
    lmdb->page_bytes = st.ms_psize;
    lmdb->limit_bytes = info.me_mapsize;
    if (options->bytes_max && options->bytes_max < lmdb->limit_bytes - LMDB_RESERVE)
        lmdb->limit_bytes = options->bytes_max + LMDB_RESERVE;

    if ((err = datafile_is(&lmdb->file, fd)) != OK || (err = look_for_cut(lmdb, why)) != OK)
        goto out;
    rc = open_tables(lmdb);
    if ((err = lmdb_err(rc)) != OK)
        goto out;
    if (lmdb->file.fresh && (err = datafile_sync_folder(&lmdb->file)) != OK)
        goto out;
    err = datafile_identity(&lmdb->file, identity);
out:
    if (err != OK && why->len == 0)
        fill_why(why, lmdb->file.path, err, rc);
    return err;
}
