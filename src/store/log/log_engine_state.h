/* The inside of the log engine, shared by its files: no one else includes it. */
#ifndef YZMA_STORE_LOG_ENGINE_STATE_H
#define YZMA_STORE_LOG_ENGINE_STATE_H

#include "log_engine.h"
#include "memtable.h"

#include <pthread.h>
#include <stdatomic.h>

/* One filling of the memory table. Kept while the engine or a snapshot refers to it. */
struct generation {
    struct memtable *table;
    uint64_t last;   /* sequence of its last commit; 0: empty */
    int64_t records; /* how many more TABLE_RECORDS has with it than the inner engine */
    bool replayed;   /* at least in part: then `records` is an estimate */
    uint64_t cost;   /* bytes that the inner engine has promised for it */
    size_t refs;     /* under the engine's lock */
};

enum { GENERATIONS = 2, LAYERS_MAX = GENERATIONS + 1 };

/* What a transaction sees in memory, newest first; behind it the inner engine. */
struct layers {
    struct generation *pinned[GENERATIONS];
    size_t pinned_count;
    const struct memtable *tables[LAYERS_MAX]; /* of a writer its own overlay is the first */
    size_t count;
    uint64_t sequence;
};

struct logged_txn {
    struct logged *engine;
    struct layers layers;
    struct engine_txn *inner; /* a read */
    size_t cursors;
    bool writes;
    struct logged_txn *next; /* in the pool of reads */
};

/* The key that the writer looked for last, and what it found: a put of it then
 * knows whether the record is new. */
struct last_seen {
    uint8_t key[511];
    size_t len; /* 0: nothing */
    bool present;
};

struct chunk_size {
    size_t entries, bytes;
};

/* The one write transaction. */
struct writer {
    struct logged_txn txn;
    bool open, in_reserve;
    bool stuck;               /* the inner engine is full */
    struct memtable *overlay; /* what it has written; kept from one to the next */
    struct buf frame;
    size_t entries, bytes; /* in the overlay */
    int64_t records;
    uint64_t cost, room; /* of the inner engine: needed, known to be there */
    size_t active_bytes; /* of the active generation when it began; it does not grow till it ends */
    uint64_t trims;      /* of the log, when a commit was tried last */
    struct last_seen seen;
};

struct logged {
    struct engine face;
    struct engine *inner;
    struct log *log; /* NULL while it is replayed */
    uint8_t log_id[LOG_ID_SIZE];
    uint64_t memory_max;
    struct writer writer;
    void (*on_work)(void *ctx);
    void (*on_applied)(void *ctx);
    enum err (*wait)(void *ctx, uint64_t most_ms, uint64_t *left_ms);
    void *listener;

    /* The last sequence of the generation that is being applied, set before the inner
     * engine can show anything of it. */
    _Atomic uint64_t applying_to;

    /* The applier's alone: where it stands in the frozen generation. */
    struct place {
        unsigned step; /* which space: see log_apply.c */
        uint8_t after[511];
        size_t after_len;
    } place;

    pthread_mutex_t lock; /* guards what follows */
    struct generation *active, *frozen;
    bool inserting;    /* the writer puts a commit into the active generation */
    bool trimming;     /* a generation has been applied, and the log gives up what was it */
    uint64_t sequence; /* of the last commit that is visible */
    uint64_t promised; /* bytes, by the inner engine, for the generations and beyond */
    uint64_t released; /* of what was promised, used up by generations since the start */
    enum err stuck;    /* why the last chunk could not be applied */
    struct logged_txn *pool;
    uint64_t marked;        /* sequence of the mark; the applier's alone */
    size_t chunk;           /* entries that are applied at a time .. */
    struct chunk_size most; /* .. and what they may be at most, as long as the disk is slow */
    struct chunk_size last; /* of the last one */
    bool brief;             /* short ones only: see log_engine_be_brief */
    size_t applied_entries; /* of the frozen generation */
    uint64_t replayed;      /* operations, by the opening */
    struct log_engine_counters count;
};

static inline struct logged *logged_of(struct engine *engine)
{
    return (struct logged *)engine; /* its first member */
}

/* A transaction of ours goes through the face as the face's own type. */
static inline struct logged_txn *logged_txn_of(struct engine_txn *txn)
{
    return (struct logged_txn *)txn;
}

/* ---- log_read.c ------------------------------------------------------------------ */

enum err logged_read_begin(struct engine *engine, struct engine_txn **ret) MUST_USE;
/* Pins the layers and opens the inner read of a transaction. */
enum err logged_pin(struct logged *logged, struct logged_txn *txn) MUST_USE;
void logged_unpin(struct logged_txn *txn);
void logged_read_end(struct logged_txn *txn);
void logged_pool_free(struct logged *logged);
enum err logged_get(struct engine_txn *txn, enum table table, struct bytes key, struct bytes *ret) MUST_USE;
enum err logged_cursor_open(struct engine_txn *txn, enum table table, struct engine_cursor **ret) MUST_USE;
void logged_cursor_close(struct engine_cursor *cursor);
enum err logged_cursor_seek(struct engine_cursor *cursor, struct bytes from, struct bytes *ret_key,
                            struct bytes *ret_value) MUST_USE;
enum err logged_cursor_next(struct engine_cursor *cursor, struct bytes *ret_key,
                            struct bytes *ret_value) MUST_USE;
enum err logged_cursor_before(struct engine_cursor *cursor, struct bytes below, struct bytes *ret_key,
                              struct bytes *ret_value) MUST_USE;

/* ---- log_write.c ----------------------------------------------------------------- */

enum err logged_write_begin(struct engine *engine, struct engine_txn **ret) MUST_USE;
enum err logged_commit(struct engine_txn *txn) MUST_USE;
void logged_undo(struct logged_txn *txn);
enum err logged_put(struct engine_txn *txn, enum table table, struct bytes key, struct bytes value) MUST_USE;
enum err logged_del(struct engine_txn *txn, enum table table, struct bytes key) MUST_USE;
enum err logged_del_below(struct engine_txn *txn, enum table table, struct bytes prefix,
                          struct bytes below) MUST_USE;
void logged_use_reserve(struct engine_txn *txn, bool on);
void logged_writer_done(struct writer *writer);
/* Remembers whether the key has a record: see struct last_seen. */
void logged_see(struct writer *writer, struct bytes key, bool present);
/* One frame of the log into the active generation: replay. */
enum err logged_replay(void *logged, const struct log_frame *frame) MUST_USE;

/* ---- log_apply.c ------------------------------------------------------------------ */

struct generation *generation_new(uint64_t bytes);
/* The generation when nobody refers to it any more, else NULL. To be freed without the
 * lock: it is many blocks. Takes NULL. */
struct generation *generation_unref_locked(struct generation *generation) MUST_USE;
void generation_free(struct generation *generation); /* takes NULL */
/* The lock is held. False when it cannot be frozen now. */
bool logged_freeze_locked(struct logged *logged);
/* The same; see log_engine_behind. */
bool logged_behind_locked(const struct logged *logged);
/* So far that a writer should wait a little. */
bool logged_far_behind_locked(const struct logged *logged);
void logged_init_chunks(struct logged *logged);
/* As log_engine_apply, and goes on with smaller chunks where room is short. */
enum err logged_apply_what_fits(struct logged *logged) MUST_USE;
enum err logged_flush(struct engine *engine) MUST_USE;

/* What the inner engine holds of the log, in TABLE_FRONT. */
enum err log_mark_load(struct engine *inner, struct log_mark *ret) MUST_USE;
enum err log_mark_put(struct engine *inner, struct engine_txn *txn, const struct log_mark *mark) MUST_USE;

#endif
