/* The committer: the one thread that changes the store.
 *
 * Any thread submits works; the committer takes what has queued, does it in order (that
 * of clients' works and that of all others: nothing depends on any between the two)
 * in one transaction, and commits: group commit (Gray and Reuter 1993, 9.4.7). While
 * one group syncs the next one forms, so the load sets the size of the groups, and
 * a lone write waits for nothing. Local writes and peers' rows share groups. Where a
 * peer sends many rows at once, those of clients go before each such work, but for every
 * second group; it begins with that, and whatever clients have submitted by the time it
 * is done goes with it, at its own time. So a client's write waits for one at most, and for no sync but
 * its own group's.
 *
 * A group that fails is undone and its works are tried again one by one, so that
 * each gets its own answer: on a full disk a delete still goes through where the
 * large put beside it does not. After a work that alone meets ERR_IO all get ERR_IO
 * for a second, then the store is tried again: whether it can go on it knows. */
#ifndef YZMA_EDGE_COMMITTER_H
#define YZMA_EDGE_COMMITTER_H

#include "store.h"

struct committer;

struct committer_options {
    size_t works_max;     /* submitted and not yet done */
    size_t bytes_max;     /* of those, as store_work_cost counts; one work always fits */
    uint64_t io_pause_ms; /* after ERR_IO; 0: a second */
    uint64_t (*wall_ms)(void);
    /* Of each group that may have changed something, from the committer's thread.
     * on_visible: before the works' done, so that who is answered finds everybody
     * knowing; quick, and may be NULL. on_commit: after it, to wake who sends news. */
    void (*on_visible)(void *ctx);
    void (*on_commit)(void *ctx);
    /* From the committer's thread: may a peer's rows be stored now, or would they take the
     * room that clients' writes need? Asked again at each committer_look_again. NULL: always. */
    bool (*has_room)(void *ctx);
    /* From the committer's thread, when the engine begins to refuse puts, with its
     * error, and with OK when it takes one again. May be NULL. */
    void (*on_trouble)(void *ctx, enum err err);
    void *ctx;
};

struct committer_counters {
    uint64_t groups, works; /* committed; tried and done with, whatever came of it */
    uint64_t group_works_max;
    uint64_t groups_failed; /* undone, and tried work by work */
    uint64_t works_failed;  /* which the engine could not take */
    uint64_t refused_busy;
    uint64_t commit_us_sum, commit_us_max; /* of successful groups, begin to durable */
    size_t queued_works, queued_bytes;     /* now */
    uint64_t io_failures;                  /* works that alone met ERR_IO */
};

/* The store stays the caller's, and open until committer_free. */
struct committer *committer_new(struct store *store, const struct committer_options *options);

/* Any thread. OK: work->done will be called once, from the committer's thread, in
 * order of submission (see above), with the result in work->err, and work->more set where the
 * group has another such call. ERR_BUSY (a limit is reached)
 * or ERR_CLOSED (stopping): nothing was taken. */
enum err committer_submit(struct committer *committer, struct store_work *work) MUST_USE;

/* Any thread: has_room may tell something else now. */
void committer_look_again(struct committer *committer);

/* Finishes what was submitted, then ends the thread; may be called again. At `until_ms`
 * (CLOCK_MONOTONIC; UINT64_MAX: whenever) what has not been begun is done with
 * ERR_CLOSED; a commit that the disk is at work on is waited for. */
void committer_stop(struct committer *committer, uint64_t until_ms);
void committer_free(struct committer *committer); /* stops first, without a deadline; takes NULL */

void committer_counters(struct committer *committer, struct committer_counters *ret);

#endif
