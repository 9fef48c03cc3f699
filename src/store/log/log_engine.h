/* The engine that writes a log first: struct engine around another engine.
 *
 *            commit                       applied, in key order
 *   writer ---------> log (disk)  . . . . . . . . . . . . . .
 *             |                                              v
 *             +-----> memory table: active -> frozen -----> inner engine (LMDB)
 *                            \         |         /
 *   reader   <----------------+--------+--------+   one ordered whole
 *
 * A commit is one frame in the log, then entries in the active generation of the
 * memory table. A generation that is full is frozen and drained into the inner
 * engine in key order, a chunk after the other, while the next one fills; the last
 * chunk records up to which sequence the inner engine has all. Then the generation
 * and the log's segments behind it go.
 *
 * A snapshot pins the generations and the sequence S of the last commit, then opens
 * a read transaction of the inner engine. If a generation that ends above S has
 * begun to be applied by then, it starts over: else it would see, below its S, what
 * came after. What lies in a pinned generation hides the inner engine's entry, so
 * half-applied generations do no harm, and a crash in mid-generation only means that
 * the log is replayed from the recorded sequence and applied again.
 *
 * Room. What is accepted must fit the inner engine later: the inner engine is asked
 * to promise room before a put is taken (ERR_FULL else). What makes room may use the
 * inner engine's reserve. The memory table's bound makes writers wait.
 *
 * A failed log write is that commit's error alone (log.h). A generation that cannot
 * be applied stays, readable and in the log, and is tried again.
 *
 * No thread and no clock of its own: whoever owns it calls log_engine_apply, in a
 * thread (edge/applier.h) or between other things (simulations). */
#ifndef YZMA_STORE_LOG_ENGINE_H
#define YZMA_STORE_LOG_ENGINE_H

#include "log.h"

struct log_engine_options {
    struct disk *disk;             /* the log's folder; taken, also on failure */
    const char *where;             /* its name, for messages */
    uint8_t fresh_id[LOG_ID_SIZE]; /* random: of a log that begins now */
    uint64_t random;               /* for salts */
    uint64_t memory_max;           /* Server.MemoryTable: bytes of both generations */
    uint64_t segment_bytes;        /* 0: LOG_SEGMENT_BYTES */
};

/* Takes the inner engine (closes it, also on failure) and replays the log. Errors of
 * log_open and of the inner engine, with one line in why. */
enum err log_engine_open(struct engine *inner, const struct log_engine_options *options, struct engine **ret,
                         struct log_found *ret_found, struct buf *why) MUST_USE;

/* ---- applying ------------------------------------------------------------------ */

/* The next chunk of the frozen generation. OK: there may be more. ERR_NOT_FOUND:
 * nothing is frozen. ERR_FULL, ERR_IO, ..: of the inner engine; nothing of the chunk
 * was applied, and a smaller one will be tried next. One thread at a time. */
enum err log_engine_apply(struct engine *engine) MUST_USE;
/* Freezes the active generation, unless it is empty or another one is frozen still.
 * True when it did. */
bool log_engine_freeze(struct engine *engine);
/* True when the active generation fills faster than the frozen one is applied. */
bool log_engine_behind(struct engine *engine);

/* True when what can wait should, so that clients' writes find room: half of the active
 * generation is full, and it is not the inner engine's fault that the frozen one is still
 * there. May change with each chunk. */
bool log_engine_crowded(struct engine *engine);

/* Both by the applying thread. For whoever has a clock: the last chunk took so long. After LOG_CHUNK_SLOW_MS
 * or more the next ones are half as long, or less; they grow again while they are quick. So writers who wait
 * for a chunk do not run out of patience. */
enum { LOG_CHUNK_SLOW_MS = 500 };
void log_engine_took(struct engine *engine, uint64_t ms);
/* Short chunks only, from now on: the process is about to end. */
void log_engine_be_brief(struct engine *engine);

/* The log's next segment, ready before it is needed; by the applying thread. ERR_FULL,
 * ERR_IO: it will be made when it is needed. */
enum err log_engine_prepare(struct engine *engine) MUST_USE;

/* Set before other threads use the engine. Each may be NULL.
 * work: a generation waits to be applied, or a segment to be prepared; from the writer's
 * thread, after a commit.
 * applied: all of the frozen generation is; from the applying thread, before the log gives
 * up what it holds of it, which takes the disk some time.
 * wait: by the writer, when both generations are full, or soon will be, or the log has
 * no room: returns OK when a chunk has been tried, ERR_BUSY when none was for so many
 * milliseconds. *left_ms is what is left of the writer's patience: it waits no longer,
 * takes off what it has waited, and all of it when a writer should be kept no more.
 * Without it the writer applies by itself. */
void log_engine_listen(struct engine *engine, void (*work)(void *ctx), void (*applied)(void *ctx),
                       enum err (*wait)(void *ctx, uint64_t most_ms, uint64_t *left_ms), void *ctx);

struct log_engine_counters {
    struct log_counters log;
    uint64_t memory_bytes, memory_max; /* now, of the generations; the bound */
    uint64_t active_bytes;             /* of these, not frozen yet */
    uint64_t applied;                  /* generations, since the start */
    uint64_t applied_entries;
    uint64_t trims; /* of the log, after generations were applied */
    uint64_t apply_failures;
    uint64_t waits;    /* commits that waited for the memory table's bound */
    uint64_t slowed;   /* commits that waited a little for the applier to keep up */
    size_t chunk;      /* entries that are applied at a time */
    uint64_t given_up; /* of these, in vain */
    enum err stuck;    /* why the last chunk could not be applied */
};
void log_engine_counters(struct engine *engine, struct log_engine_counters *ret);

#endif
