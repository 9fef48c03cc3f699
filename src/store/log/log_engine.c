#include "log_engine.h"

#include "check.h"
#include "log_engine_state.h"
#include "mem.h"

#include <stdlib.h>

static void end(struct engine_txn *face)
{
    struct logged_txn *txn = logged_txn_of(face);
    if (txn->writes)
        logged_undo(txn);
    else
        logged_read_end(txn);
}

static void usage(struct engine *engine, struct engine_usage *ret)
{
    struct logged *logged = logged_of(engine);
    struct log_counters log;
    logged->inner->ops->usage(logged->inner, ret);
    log_counters(logged->log, &log);
    ret->file_bytes += log.segment_bytes;
    pthread_mutex_lock(&logged->lock);
    ret->pending_bytes = logged->active->cost + (logged->frozen ? logged->frozen->cost : 0);
    int64_t records = logged->active->records + (logged->frozen ? logged->frozen->records : 0);
    pthread_mutex_unlock(&logged->lock);
    uint64_t *entries = &ret->entries[TABLE_RECORDS];
    *entries = records < 0 && (uint64_t)-records > *entries ? 0 : *entries + (uint64_t)records;
}

static void logged_free(struct logged *logged)
{
    logged_writer_done(&logged->writer);
    generation_free(logged->active);
    generation_free(logged->frozen);
    logged_pool_free(logged);
    log_close(logged->log);
    logged->inner->ops->close(logged->inner);
    pthread_mutex_destroy(&logged->lock);
    free(logged);
}

static void close_engine(struct engine *engine)
{
    struct logged *logged = logged_of(engine);
    CHECK(logged->active->refs == 1 && (!logged->frozen || logged->frozen->refs == 1));
    logged_free(logged);
}

static const struct engine_ops ops = {
    .read_begin = logged_read_begin,
    .write_begin = logged_write_begin,
    .commit = logged_commit,
    .end = end,
    .get = logged_get,
    .put = logged_put,
    .del = logged_del,
    .del_below = logged_del_below,
    .use_reserve = logged_use_reserve,
    .cursor_open = logged_cursor_open,
    .cursor_close = logged_cursor_close,
    .cursor_seek = logged_cursor_seek,
    .cursor_next = logged_cursor_next,
    .cursor_before = logged_cursor_before,
    .usage = usage,
    .flush = logged_flush,
    .close = close_engine,
};

/* ---- opening ---------------------------------------------------------------------- */

static struct logged *logged_new(struct engine *inner, const struct log_engine_options *options)
{
    struct logged *logged = mem_new(sizeof *logged);
    logged->face.ops = &ops;
    logged->inner = inner;
    logged->memory_max = options->memory_max;
    logged->active = generation_new(logged->memory_max / 2);
    logged->writer.overlay = memtable_new(0);
    logged_init_chunks(logged);
    buf_init(&logged->writer.frame, SIZE_MAX);
    CHECK(pthread_mutex_init(&logged->lock, NULL) == 0);
    return logged;
}

/* A log that begins now is known to the tree before its first frame. */
static enum err save_mark(struct logged *logged)
{
    struct engine *inner = logged->inner;
    struct log_mark mark = {.present = true, .sequence = log_sequence(logged->log)};
    struct engine_txn *txn;
    log_id(logged->log, mark.id);
    enum err err = inner->ops->write_begin(inner, &txn);
    if (err != OK)
        return err;
    err = log_mark_put(inner, txn, &mark);
    if (err == OK)
        return inner->ops->commit(txn);
    inner->ops->end(txn);
    return err;
}

/* What the tree has already goes, and where that leaves many segments that are hardly
 * used (each start that was killed early leaves one) it takes over the others too. It may
 * fail: then there are some more. */
static void tidy(struct logged *logged)
{
    struct log_counters log;
    log_trim(logged->log, logged->marked);
    log_counters(logged->log, &log);
    if (log.segments > LOG_FAILED_MAX && log.segment_bytes > 2 * logged->memory_max)
        (void)!logged_flush(&logged->face);
}

/* From now on the log is there. On a full disk a segment is to be had when the tree
 * has taken over all of it. */
static enum err prepare_first(struct logged *logged)
{
    enum err err = log_prepare(logged->log);
    if (err != ERR_FULL)
        return err;
    err = logged_flush(&logged->face);
    return err == OK ? log_prepare(logged->log) : err;
}

enum err log_engine_open(struct engine *inner, const struct log_engine_options *options, struct engine **ret,
                         struct log_found *ret_found, struct buf *why)
{
    struct logged *logged = logged_new(inner, options);
    struct log_options log = {
        .disk = options->disk,
        .where = options->where,
        .random = options->random,
        .segment_bytes = options->segment_bytes,
    };
    memcpy(log.fresh_id, options->fresh_id, LOG_ID_SIZE);
    struct log_mark mark;
    struct log_found found;
    enum err err = log_mark_load(inner, &mark);
    if (err == OK) {
        memcpy(logged->log_id, mark.id, LOG_ID_SIZE);
        logged->sequence = logged->marked = mark.sequence;
        err = log_open(&log, &mark, logged_replay, logged, &logged->log, &found, why);
    } else {
        options->disk->ops->free(options->disk);
    }
    if (err == OK) {
        log_id(logged->log, logged->log_id);
        logged->sequence = log_sequence(logged->log);
        if (!mark.present || found.lost)
            err = save_mark(logged);
        if (err == OK) {
            tidy(logged);
            err = prepare_first(logged);
        }
    }
    if (err != OK) {
        if (!why->len)
            buf_put_format(why, "%s: %s", options->where, err_text(err));
        logged_free(logged);
        return err;
    }
    found.operations = logged->replayed;
    *ret = &logged->face;
    *ret_found = found;
    return OK;
}

void log_engine_listen(struct engine *engine, void (*work)(void *ctx), void (*applied)(void *ctx),
                       enum err (*wait)(void *ctx, uint64_t most_ms, uint64_t *left_ms), void *ctx)
{
    struct logged *logged = logged_of(engine);
    logged->on_work = work;
    logged->on_applied = applied;
    logged->wait = wait;
    logged->listener = ctx;
}

enum err log_engine_prepare(struct engine *engine)
{
    return log_prepare(logged_of(engine)->log);
}

void log_engine_counters(struct engine *engine, struct log_engine_counters *ret)
{
    struct logged *logged = logged_of(engine);
    struct log_counters log;
    log_counters(logged->log, &log);
    pthread_mutex_lock(&logged->lock);
    *ret = logged->count;
    ret->active_bytes = memtable_bytes(logged->active->table);
    ret->memory_bytes = ret->active_bytes + (logged->frozen ? memtable_bytes(logged->frozen->table) : 0);
    ret->memory_max = logged->memory_max;
    ret->stuck = logged->stuck;
    ret->chunk = logged->chunk;
    pthread_mutex_unlock(&logged->lock);
    ret->log = log;
}
