#include "engine_lmdb.h"

#include "check.h"
#include "datafile.h"
#include "mem.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdlib.h>

enum { LMDB_KEY_MAX = 511, ROW_OVERHEAD = 64 };

/* The map is address space, not memory, and sparse: as much as a process has to
 * spare. Where that is limited (ulimit -v, valgrind) it is halved until it fits;
 * below the least a store is not worth opening. */
static const uint64_t MAP_BYTES_FIRST = 1ull << 40;
static const uint64_t MAP_BYTES_LEAST = 64ull << 20;

static const char *const table_names[TABLES_ALL] = {"meta", "clocks", "records", "rows", "front"};

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
    struct engine_txn writer;
    pthread_mutex_t pool_lock;
    struct engine_txn *pool;
    pthread_mutex_t room_lock; /* guards the file's promised blocks: see promise */
};

static enum err err_of(int rc)
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

static MDB_val val_of(struct bytes bytes)
{
    return (MDB_val){.mv_size = bytes.len, .mv_data = (void *)bytes.data};
}

static struct bytes bytes_of_val(MDB_val val)
{
    return bytes_of(val.mv_data, val.mv_size);
}

static struct lmdb *lmdb_of(struct engine *engine)
{
    return (struct lmdb *)engine; /* its first member */
}

/* ---- transactions -------------------------------------------------------- */

static void read_free(struct engine_txn *txn)
{
    for (size_t i = 0; i < TABLES_ALL; i++)
        if (txn->kept[i].mdb)
            mdb_cursor_close(txn->kept[i].mdb);
    mdb_txn_abort(txn->mdb);
    free(txn);
}

static enum err read_begin(struct engine *engine, struct engine_txn **ret)
{
    struct lmdb *lmdb = lmdb_of(engine);
    pthread_mutex_lock(&lmdb->pool_lock);
    struct engine_txn *txn = lmdb->pool;
    if (txn)
        lmdb->pool = txn->next;
    pthread_mutex_unlock(&lmdb->pool_lock);

    if (txn) {
        int rc = mdb_txn_renew(txn->mdb);
        if (rc != MDB_SUCCESS) {
            read_free(txn);
            return err_of(rc);
        }
    } else {
        MDB_txn *mdb;
        int rc = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &mdb);
        if (rc != MDB_SUCCESS)
            return err_of(rc);
        txn = mem_new(sizeof *txn);
        *txn = (struct engine_txn){.lmdb = lmdb, .mdb = mdb};
    }
    *ret = txn;
    return OK;
}

static void end(struct engine_txn *txn)
{
    struct lmdb *lmdb = txn->lmdb;
    CHECK(txn->open_cursors == 0);
    if (txn->writes) {
        mdb_txn_abort(txn->mdb);
        txn->mdb = NULL;
        return;
    }
    mdb_txn_reset(txn->mdb);
    pthread_mutex_lock(&lmdb->pool_lock);
    txn->next = lmdb->pool;
    lmdb->pool = txn;
    pthread_mutex_unlock(&lmdb->pool_lock);
}

static uint64_t used_bytes(struct lmdb *lmdb)
{
    MDB_envinfo info;
    mdb_env_info(lmdb->env, &info);
    return (info.me_last_pgno + 1) * lmdb->page_bytes;
}

static uint64_t allocated_bytes(struct lmdb *lmdb)
{
    pthread_mutex_lock(&lmdb->room_lock);
    uint64_t bytes = lmdb->file.allocated;
    pthread_mutex_unlock(&lmdb->room_lock);
    return bytes;
}

static enum err write_begin(struct engine *engine, struct engine_txn **ret)
{
    struct lmdb *lmdb = lmdb_of(engine);
    struct engine_txn *txn = &lmdb->writer;
    CHECK(!txn->mdb);
    MDB_txn *mdb;
    int rc = mdb_txn_begin(lmdb->env, NULL, 0, &mdb);
    if (rc != MDB_SUCCESS)
        return err_of(rc);
    uint64_t used = used_bytes(lmdb), kept_back = used + LMDB_RESERVE, allocated = allocated_bytes(lmdb);
    *txn = (struct engine_txn){
        .lmdb = lmdb,
        .mdb = mdb,
        .writes = true,
        .used_bytes = used,
        .room = allocated > kept_back ? allocated - kept_back : 0,
    };
    *ret = txn;
    return OK;
}

/* A failed write beyond the blocks that were promised may report a full disk as
 * EIO (LMDB does so when the disk takes a part of it). */
static bool failed_for_room(struct lmdb *lmdb, int rc)
{
    if (err_of(rc) == ERR_FULL)
        return true;
    return rc == EIO && lmdb->file.cannot_promise && datafile_disk_is_full(&lmdb->file, LMDB_GROW_STEP);
}

static enum err commit(struct engine_txn *txn)
{
    struct lmdb *lmdb = txn->lmdb;
    CHECK(txn->writes && txn->open_cursors == 0);
    int rc = mdb_txn_commit(txn->mdb);
    txn->mdb = NULL;
    if (rc == MDB_SUCCESS)
        return OK;
    return failed_for_room(lmdb, rc) ? ERR_FULL : ERR_IO;
}

/* ---- room ---------------------------------------------------------------- */

/* Bytes of the file's own free pages that the next transaction may reuse. LMDB
 * keeps them as lists (count, page numbers ..) in table 0, by the transaction that
 * freed them; those of the last one may still be read. */
static enum err free_bytes(struct lmdb *lmdb, uint64_t *ret)
{
    struct engine_txn *txn;
    enum err err = read_begin(&lmdb->engine, &txn);
    if (err != OK)
        return err;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn->mdb, 0, &cursor);
    if (rc == MDB_SUCCESS) {
        uint64_t pages = 0;
        MDB_val key, list;
        while ((rc = mdb_cursor_get(cursor, &key, &list, MDB_NEXT)) == MDB_SUCCESS) {
            size_t freed_by, count;
            CHECK(key.mv_size == sizeof freed_by && list.mv_size >= sizeof count);
            memcpy(&freed_by, key.mv_data, sizeof freed_by);
            memcpy(&count, list.mv_data, sizeof count);
            if (freed_by < mdb_txn_id(txn->mdb))
                pages += count;
        }
        mdb_cursor_close(cursor);
        if (rc == MDB_NOTFOUND) {
            *ret = pages * lmdb->page_bytes;
            rc = MDB_SUCCESS;
        }
    }
    end(txn);
    return err_of(rc);
}

/* Sees to it that `bytes` beyond those in use, and the reserve, have room: blocks
 * from the disk, and a step ahead if they are to be had; else the file's own free
 * pages. *ret_room is what there is then. */
static enum err find_room(struct lmdb *lmdb, uint64_t used, uint64_t bytes, uint64_t *ret_room)
{
    uint64_t kept_back = used + LMDB_RESERVE, need = kept_back + bytes;
    enum err err = ERR_FULL;
    pthread_mutex_lock(&lmdb->room_lock);
    if (need + LMDB_GROW_STEP <= lmdb->limit_bytes)
        err = datafile_grow(&lmdb->file, need + LMDB_GROW_STEP);
    if (err == ERR_FULL && need <= lmdb->limit_bytes)
        err = datafile_grow(&lmdb->file, need);
    uint64_t allocated = lmdb->file.allocated, own = 0;
    pthread_mutex_unlock(&lmdb->room_lock);
    if (err == OK) {
        *ret_room = allocated - kept_back;
        return OK;
    }
    if (err == ERR_FULL)
        err = free_bytes(lmdb, &own);
    if (err != OK)
        return err;
    uint64_t have = (allocated > used ? allocated - used : 0) + own;
    *ret_room = have > LMDB_RESERVE ? have - LMDB_RESERVE : 0;
    return bytes <= *ret_room ? OK : ERR_FULL;
}

static enum err promise(struct engine *engine, uint64_t bytes)
{
    struct lmdb *lmdb = lmdb_of(engine);
    uint64_t room;
    return find_room(lmdb, used_bytes(lmdb), bytes, &room);
}

static void use_reserve(struct engine_txn *txn, bool on)
{
    CHECK(txn->writes);
    txn->in_reserve = on;
}

/* ---- reading and writing ------------------------------------------------- */

static enum err get(struct engine_txn *txn, enum table table, struct bytes key, struct bytes *ret)
{
    MDB_val k = val_of(key), v;
    int rc = mdb_get(txn->mdb, txn->lmdb->tables[table], &k, &v);
    if (rc == MDB_SUCCESS)
        *ret = bytes_of_val(v);
    return err_of(rc);
}

/* What a put takes, about: the leaf page that it dirties, and what the value
 * fills by itself. Rows come one after the other and share their pages. Meta and
 * clocks stay small and are always let through, so that a store opens on a full
 * disk; what an engine in front notes is one entry. */
static uint64_t cost_of(struct lmdb *lmdb, enum table table, struct bytes value)
{
    switch (table) {
    case TABLE_RECORDS:
        return lmdb->page_bytes + value.len;
    case TABLE_ROWS:
        return 2 * (value.len + ROW_OVERHEAD);
    default:
        return 0;
    }
}

static enum err put(struct engine_txn *txn, enum table table, struct bytes key, struct bytes value)
{
    CHECK(txn->writes && key.len >= 1 && key.len <= LMDB_KEY_MAX);
    struct lmdb *lmdb = txn->lmdb;
    txn->spent += cost_of(lmdb, table, value);
    if (txn->spent > txn->room && !txn->in_reserve) {
        enum err err = find_room(lmdb, txn->used_bytes, txn->spent, &txn->room);
        if (err != OK)
            return err;
    }
    MDB_val k = val_of(key), v = val_of(value);
    return err_of(mdb_put(txn->mdb, lmdb->tables[table], &k, &v, 0));
}

static enum err del(struct engine_txn *txn, enum table table, struct bytes key)
{
    CHECK(txn->writes && key.len >= 1 && key.len <= LMDB_KEY_MAX);
    MDB_val k = val_of(key);
    int rc = mdb_del(txn->mdb, txn->lmdb->tables[table], &k, NULL);
    return rc == MDB_NOTFOUND ? OK : err_of(rc);
}

static enum err del_below(struct engine_txn *txn, enum table table, struct bytes prefix, struct bytes below)
{
    CHECK(txn->writes && prefix.len == RANGE_PREFIX && bytes_starts_with(below, prefix));
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn->mdb, txn->lmdb->tables[table], &cursor);
    if (rc != MDB_SUCCESS)
        return err_of(rc);
    MDB_val key = val_of(prefix), value;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == MDB_SUCCESS && bytes_compare(bytes_of_val(key), below) < 0) {
        rc = mdb_cursor_del(cursor, 0);
        if (rc == MDB_SUCCESS)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? OK : err_of(rc);
}

/* ---- cursors ------------------------------------------------------------- */

static enum err cursor_open(struct engine_txn *txn, enum table table, struct engine_cursor **ret)
{
    struct engine_cursor *kept = &txn->kept[table];
    MDB_cursor *mdb = NULL;
    int rc;
    if (!txn->writes && !kept->open && kept->mdb) {
        mdb = kept->mdb;
        rc = mdb_cursor_renew(txn->mdb, mdb);
    } else {
        rc = mdb_cursor_open(txn->mdb, txn->lmdb->tables[table], &mdb);
    }
    if (rc != MDB_SUCCESS)
        return err_of(rc);
    struct engine_cursor *cursor = txn->writes || kept->open ? mem_new(sizeof *cursor) : kept;
    *cursor = (struct engine_cursor){.mdb = mdb, .txn = txn, .open = true};
    txn->open_cursors++;
    *ret = cursor;
    return OK;
}

static void cursor_close(struct engine_cursor *cursor)
{
    struct engine_txn *txn = cursor->txn;
    txn->open_cursors--;
    cursor->open = false;
    if (cursor >= txn->kept && cursor < txn->kept + TABLES_ALL)
        return;
    mdb_cursor_close(cursor->mdb);
    free(cursor);
}

static enum err cursor_get(struct engine_cursor *cursor, MDB_cursor_op op, MDB_val key, struct bytes *ret_key,
                           struct bytes *ret_value)
{
    MDB_val value;
    int rc = mdb_cursor_get(cursor->mdb, &key, &value, op);
    if (rc == MDB_SUCCESS) {
        *ret_key = bytes_of_val(key);
        *ret_value = bytes_of_val(value);
    }
    return err_of(rc);
}

static enum err cursor_seek(struct engine_cursor *cursor, struct bytes from, struct bytes *ret_key,
                            struct bytes *ret_value)
{
    /* LMDB refuses to look for the empty key. */
    return cursor_get(cursor, from.len ? MDB_SET_RANGE : MDB_FIRST, val_of(from), ret_key, ret_value);
}

static enum err cursor_next(struct engine_cursor *cursor, struct bytes *ret_key, struct bytes *ret_value)
{
    return cursor_get(cursor, MDB_NEXT, (MDB_val){0}, ret_key, ret_value);
}

static enum err cursor_before(struct engine_cursor *cursor, struct bytes below, struct bytes *ret_key,
                              struct bytes *ret_value)
{
    if (below.len == 0)
        return ERR_NOT_FOUND;
    MDB_val key = val_of(below), value;
    int rc = mdb_cursor_get(cursor->mdb, &key, &value, MDB_SET_RANGE);
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
        return err_of(rc);
    return cursor_get(cursor, rc == MDB_SUCCESS ? MDB_PREV : MDB_LAST, (MDB_val){0}, ret_key, ret_value);
}

/* ---- the whole ----------------------------------------------------------- */

static void usage(struct engine *engine, struct engine_usage *ret)
{
    struct lmdb *lmdb = lmdb_of(engine);
    *ret = (struct engine_usage){.bytes_max = lmdb->limit_bytes - LMDB_RESERVE};
    if (datafile_size(&lmdb->file, &ret->file_bytes) != OK)
        ret->file_bytes = used_bytes(lmdb);
    ret->disk_known = datafile_disk_free(&lmdb->file, &ret->disk_free_bytes) == OK;
    struct engine_txn *txn;
    if (read_begin(engine, &txn) != OK)
        return;
    for (size_t i = 0; i < TABLES; i++) {
        MDB_stat st;
        if (mdb_stat(txn->mdb, lmdb->tables[i], &st) != MDB_SUCCESS)
            continue;
        ret->entries[i] = st.ms_entries;
        ret->table_bytes[i] = (st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages) *
                              lmdb->page_bytes;
    }
    end(txn);
}

static void env_close(struct lmdb *lmdb)
{
    while (lmdb->pool) {
        struct engine_txn *txn = lmdb->pool;
        lmdb->pool = txn->next;
        read_free(txn);
    }
    if (lmdb->env)
        mdb_env_close(lmdb->env);
    lmdb->env = NULL;
}

static void lmdb_free(struct lmdb *lmdb)
{
    pthread_mutex_destroy(&lmdb->pool_lock);
    pthread_mutex_destroy(&lmdb->room_lock);
    free(lmdb);
}

static void close_engine(struct engine *engine)
{
    struct lmdb *lmdb = lmdb_of(engine);
    CHECK(!lmdb->writer.mdb);
    env_close(lmdb);
    datafile_close(&lmdb->file); /* last: the lock covers LMDB's whole time */
    lmdb_free(lmdb);
}

static const struct engine_ops ops = {
    .read_begin = read_begin,
    .write_begin = write_begin,
    .commit = commit,
    .end = end,
    .get = get,
    .put = put,
    .del = del,
    .del_below = del_below,
    .use_reserve = use_reserve,
    .cursor_open = cursor_open,
    .cursor_close = cursor_close,
    .cursor_seek = cursor_seek,
    .cursor_next = cursor_next,
    .cursor_before = cursor_before,
    .usage = usage,
    .promise = promise,
    .close = close_engine,
};

/* ---- opening ------------------------------------------------------------- */

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
    for (uint64_t bytes = MAP_BYTES_FIRST; rc == ENOMEM && bytes >= MAP_BYTES_LEAST; bytes /= 2)
        rc = env_open_with_map(lmdb, bytes);
    return rc;
}

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
    uint64_t size, used = used_bytes(lmdb), missing_free = 0;
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

/* Opens the tables; makes them where there is nothing at all yet, and the front
 * table in a store that was made before there was one. A file of LMDB that holds
 * something else is not ours. */
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
    if (rc == MDB_SUCCESS)
        return mdb_txn_commit(txn); /* of a read too: it makes the handles lasting */
    mdb_txn_abort(txn);
    return rc;
}

static int open_tables(struct lmdb *lmdb)
{
    MDB_stat st;
    mdb_env_stat(lmdb->env, &st);
    bool empty = st.ms_entries == 0;
    int rc = open_tables_in(lmdb, empty, true, empty);
    if (rc == MDB_NOTFOUND && (rc = open_tables_in(lmdb, false, false, false)) == MDB_SUCCESS)
        rc = open_tables_in(lmdb, false, true, true);
    return rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE ? MDB_INVALID : rc;
}

static void fill_why(struct buf *why, const char *path, enum err err, int rc)
{
    if (err == ERR_REFUSED)
        buf_put_format(why, "%s: not a store", path);
    else
        buf_put_format(why, "%s: %s", path, rc != MDB_SUCCESS ? mdb_strerror(rc) : err_text(err));
}

static enum err lmdb_start(struct lmdb *lmdb, const struct lmdb_options *options, struct buf *identity,
                           struct buf *why)
{
    int rc = env_open(lmdb);
    enum err err = err_of(rc);
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
    if ((err = err_of(rc)) != OK)
        goto out;
    if (lmdb->file.fresh && (err = datafile_sync_folder(&lmdb->file)) != OK)
        goto out;
    err = datafile_identity(&lmdb->file, identity);
out:
    if (err != OK && why->len == 0)
        fill_why(why, lmdb->file.path, err, rc);
    return err;
}

enum err lmdb_engine_open(const char *path, const struct lmdb_options *options, struct engine **ret,
                          struct buf *identity, struct buf *why)
{
    struct datafile file;
    enum err err = datafile_open(path, &file, why);
    if (err != OK)
        return err;
    struct lmdb *lmdb = mem_new(sizeof *lmdb);
    lmdb->engine.ops = &ops;
    lmdb->file = file;
    CHECK(pthread_mutex_init(&lmdb->pool_lock, NULL) == 0);
    CHECK(pthread_mutex_init(&lmdb->room_lock, NULL) == 0);
    err = lmdb_start(lmdb, options, identity, why);
    if (err != OK) {
        env_close(lmdb);
        datafile_discard(&lmdb->file);
        lmdb_free(lmdb);
        return err;
    }
    *ret = &lmdb->engine;
    return OK;
}
