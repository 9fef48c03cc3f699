#include "lmdb_state.h"

#include "check.h"
#include "mem.h"

#include <errno.h>
#include <stdlib.h>

enum { LMDB_KEY_MAX = 511, ROW_OVERHEAD = 64 };

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

static int begin_or_renew(struct lmdb *lmdb, struct engine_txn **txn)
{
    MDB_txn *mdb;
    if (*txn) {
        int rc = mdb_txn_renew((*txn)->mdb);
        if (rc != MDB_SUCCESS)
            lmdb_read_free(*txn);
        return rc;
    }
    int rc = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &mdb);
    if (rc != MDB_SUCCESS)
        return rc;
    *txn = mem_new(sizeof **txn);
    **txn = (struct engine_txn){.lmdb = lmdb, .mdb = mdb};
    return MDB_SUCCESS;
}

static enum err read_begin(struct engine *engine, struct engine_txn **ret)
{
    struct lmdb *lmdb = lmdb_of(engine);
    struct timespec until = {0};
    for (;;) {
        struct engine_txn *txn;
        uint64_t serial;
        enum err err = lmdb_enter(lmdb, &txn, &serial);
        if (err != OK)
            return err;
        int rc = begin_or_renew(lmdb, &txn);
        if (rc == MDB_SUCCESS) {
            *ret = txn;
            return OK;
        }
        lmdb_leave(lmdb, NULL);
        if (rc != MDB_PANIC)
            return lmdb_err(rc);
        if (!lmdb_wait_reopened(lmdb, serial, &until))
            return ERR_IO;
    }
}

static void end(struct engine_txn *txn)
{
    CHECK(txn->open_cursors == 0);
    if (txn->writes) {
        mdb_txn_abort(txn->mdb);
        txn->mdb = NULL;
        return;
    }
    mdb_txn_reset(txn->mdb);
    lmdb_leave(txn->lmdb, txn);
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
    lmdb->touched = true;
    enum err err = lmdb_make_sound(lmdb);
    if (err != OK)
        return err;
    int rc = lmdb->has_front ? MDB_SUCCESS : lmdb_make_front(lmdb);
    if (rc == MDB_SUCCESS)
        rc = mdb_txn_begin(lmdb->env, NULL, 0, &mdb);
    if (rc != MDB_SUCCESS)
        return lmdb_err(rc);
    uint64_t used = lmdb_used_bytes(lmdb), kept_back = used + LMDB_RESERVE, allocated = allocated_bytes(lmdb);
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
    if (lmdb_err(rc) == ERR_FULL)
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
    lmdb_look_after(lmdb);
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
    return lmdb_err(rc);
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
    struct engine_txn *pooled;
    uint64_t room, serial;
    /* Counted as a reader, so that nobody opens anew meanwhile, but without a snapshot:
     * whoever asks may have one, and must not wait with it for what waits for its end. */
    enum err err = lmdb_enter(lmdb, &pooled, &serial);
    if (err != OK)
        return err;
    uint64_t used = lmdb_used_bytes(lmdb);
    lmdb_leave(lmdb, pooled);
    return find_room(lmdb, used, bytes, &room);
}

static enum err stands(struct engine *engine)
{
    return datafile_stands(&lmdb_of(engine)->file);
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
    if (table == TABLE_FRONT && !txn->lmdb->has_front)
        return ERR_NOT_FOUND;
    int rc = mdb_get(txn->mdb, txn->lmdb->tables[table], &k, &v);
    if (rc == MDB_SUCCESS)
        *ret = bytes_of_val(v);
    return lmdb_err(rc);
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
    return lmdb_err(mdb_put(txn->mdb, lmdb->tables[table], &k, &v, 0));
}

static enum err del(struct engine_txn *txn, enum table table, struct bytes key)
{
    CHECK(txn->writes && key.len >= 1 && key.len <= LMDB_KEY_MAX);
    MDB_val k = val_of(key);
    int rc = mdb_del(txn->mdb, txn->lmdb->tables[table], &k, NULL);
    return rc == MDB_NOTFOUND ? OK : lmdb_err(rc);
}

static enum err del_below(struct engine_txn *txn, enum table table, struct bytes prefix, struct bytes below)
{
    CHECK(txn->writes && prefix.len == RANGE_PREFIX && bytes_starts_with(below, prefix));
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn->mdb, txn->lmdb->tables[table], &cursor);
    if (rc != MDB_SUCCESS)
        return lmdb_err(rc);
    MDB_val key = val_of(prefix), value;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == MDB_SUCCESS && bytes_compare(bytes_of_val(key), below) < 0) {
        rc = mdb_cursor_del(cursor, 0);
        if (rc == MDB_SUCCESS)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? OK : lmdb_err(rc);
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
        return lmdb_err(rc);
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
    return lmdb_err(rc);
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
        return lmdb_err(rc);
    return cursor_get(cursor, rc == MDB_SUCCESS ? MDB_PREV : MDB_LAST, (MDB_val){0}, ret_key, ret_value);
}

/* ---- the whole ----------------------------------------------------------- */

static void usage(struct engine *engine, struct engine_usage *ret)
{
    struct lmdb *lmdb = lmdb_of(engine);
    *ret = (struct engine_usage){.bytes_max = lmdb->limit_bytes - LMDB_RESERVE};
    if (datafile_size(&lmdb->file, &ret->file_bytes) != OK)
        ret->file_bytes = 0;
    ret->disk_known = datafile_disk_free(&lmdb->file, &ret->disk_free_bytes) == OK;
    pthread_mutex_lock(&lmdb->pool_lock);
    ret->reopenings = lmdb->reopenings;
    pthread_mutex_unlock(&lmdb->pool_lock);
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

static void lmdb_free(struct lmdb *lmdb)
{
    pthread_cond_destroy(&lmdb->pool_changed);
    pthread_mutex_destroy(&lmdb->pool_lock);
    pthread_mutex_destroy(&lmdb->room_lock);
    free(lmdb);
}

static void close_engine(struct engine *engine)
{
    struct lmdb *lmdb = lmdb_of(engine);
    CHECK(!lmdb->writer.mdb);
    lmdb_env_close(lmdb);
    /* Last: the lock covers LMDB's whole time. */
    if (lmdb->touched)
        datafile_close(&lmdb->file);
    else
        datafile_discard(&lmdb->file);
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
    .stands = stands,
    .close = close_engine,
};

/* ---- opening ------------------------------------------------------------- */

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
    CHECK(pthread_cond_init(&lmdb->pool_changed, NULL) == 0);
    CHECK(pthread_mutex_init(&lmdb->room_lock, NULL) == 0);
    err = lmdb_env_start(lmdb, options, identity, why);
    if (err != OK) {
        lmdb_env_close(lmdb);
        datafile_discard(&lmdb->file);
        lmdb_free(lmdb);
        return err;
    }
    *ret = &lmdb->engine;
    return OK;
}
