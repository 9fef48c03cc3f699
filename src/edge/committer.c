#include "committer.h"

#include "check.h"
#include "mem.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* A peer's frame of a moment's writes is no larger: see LIVE_ENTRIES_MAX in sync. */
enum { BULK_RECORDS = 256, BULK_BYTES = 256 << 10 };

/* Works in order, linked by their own `next`. */
struct work_queue {
    struct store_work *first, **end;
};

/* Near the limit small puts go and large ones fail: that is told so often at most. */
enum { TROUBLE_EVERY_US = 5000000 };

/* After an I/O error the disk is left alone for so long. */
enum { IO_PAUSE_MS = 1000 };

struct committer {
    struct store *store;
    struct committer_options options;
    pthread_t thread;
    bool joined;
    enum err trouble;         /* as last told; of the committer's thread */
    bool changed;             /* by the group at hand; of the committer's thread */
    uint64_t trouble_us;      /* when; 0: never */
    uint64_t paused_until_us; /* after ERR_IO; of the committer's thread */

    pthread_mutex_t lock; /* guards what follows; held for a few instructions only */
    pthread_cond_t wake;
    struct work_queue submitted;
    bool idle, stopping;
    bool look_again;     /* has_room may tell something else */
    uint64_t stop_at_us; /* UINT64_MAX: no such time */
    struct committer_counters counters;
};

static void queue_init(struct work_queue *queue)
{
    *queue = (struct work_queue){.end = &queue->first};
}

static void queue_push(struct work_queue *queue, struct store_work *work)
{
    work->next = NULL;
    *queue->end = work;
    queue->end = &work->next;
}

/* Moves all of `from` to the end of `to`. */
static void queue_move(struct work_queue *to, struct work_queue *from)
{
    if (!from->first)
        return;
    *to->end = from->first;
    to->end = from->end;
    queue_init(from);
}

/* What waits, of the committer's thread. Order is kept within each of the two, and
 * nothing needs it between them. */
struct waiting_works {
    struct work_queue clients, others;
    bool others_next; /* their turn has come */
    bool held;        /* the first of them must wait for room */
};

static bool is_of_client(const struct store_work *work)
{
    return work->kind == WORK_WRITE || work->kind == WORK_BATCH || work->kind == WORK_COUNT;
}

/* A peer's rows, so many that a client's write should wait for them once at most. */
static bool is_bulk(const struct store_work *work)
{
    size_t records, bytes;
    if (work->kind != WORK_ROWS && work->kind != WORK_AHEAD && work->kind != WORK_WALK_PIECE &&
        work->kind != WORK_WALK_ROWS)
        return false;
    store_work_cost(work, &records, &bytes);
    return records > BULK_RECORDS || bytes > BULK_BYTES;
}

static void sort_in(struct waiting_works *waiting, struct work_queue *submitted)
{
    for (struct store_work *work = submitted->first, *next; work; work = next) {
        next = work->next;
        queue_push(is_of_client(work) ? &waiting->clients : &waiting->others, work);
    }
    queue_init(submitted);
}

static bool may_begin(const struct waiting_works *waiting)
{
    return waiting->clients.first || (waiting->others.first && !waiting->held);
}

/* Some of what waits, for one transaction. */
struct group {
    struct work_queue list;
    size_t works, records, bytes;
    bool open; /* clients' works may join it while it is done */
};

/* Moves the first of the queue; false when it does not fit. What comes first always does. */
static bool group_add(struct group *group, struct work_queue *queue)
{
    size_t records, bytes;
    struct store_work *work = queue->first;
    store_work_cost(work, &records, &bytes);
    bool fits = records <= TXN_RECORDS_MAX - group->records && bytes <= TXN_BYTES_MAX - group->bytes;
    if (group->works && !fits)
        return false;
    queue->first = work->next;
    if (!queue->first)
        queue_init(queue);
    queue_push(&group->list, work);
    group->works++;
    group->records += records;
    group->bytes += bytes;
    return fits;
}

/* What is short, as long as there is room; tells whether there still is. */
static bool add_short(struct group *group, struct work_queue *others)
{
    bool room = true;
    while (room && others->first && !is_bulk(others->first))
        room = group_add(group, others);
    return room;
}

/* Clients' works and what else is short share a group. Bulk begins groups of its own, and
 * where others wait too, every second one: so it holds a client up once at most. What
 * found no room behind clients' works comes first in the next group. */
static void group_take(struct waiting_works *waiting, struct group *group)
{
    struct work_queue *others = &waiting->others;
    const struct store_work *waited = others->first;
    bool turn = waited && !waiting->held && (waiting->others_next || !waiting->clients.first);
    *group = (struct group){0};
    queue_init(&group->list);
    waiting->others_next = false;
    if (turn && is_bulk(waited)) {
        group->open = group_add(group, others);
        return;
    }
    bool room = turn ? add_short(group, others) : true;
    while (room && waiting->clients.first)
        room = group_add(group, &waiting->clients);
    if (room)
        (void)add_short(group, others);
    waiting->others_next = waited && others->first == waited;
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- one group ----------------------------------------------------------- */

/* What clients have submitted while bulk was done shares its commit. Whoever still waits
 * for this core to submit something gets it first. */
static void join_late(struct committer *c, struct waiting_works *waiting, struct group *group)
{
    struct work_queue submitted;
    queue_init(&submitted);
    sched_yield();
    pthread_mutex_lock(&c->lock);
    queue_move(&submitted, &c->submitted);
    pthread_mutex_unlock(&c->lock);
    sort_in(waiting, &submitted);
    bool room = true;
    while (room && waiting->clients.first)
        room = group_add(group, &waiting->clients);
}

/* One transaction over the list; on an error nothing of it happened. `late`: who may
 * join at its end, or NULL. */
static enum err run(struct committer *c, struct group *group, struct waiting_works *late)
{
    struct store_txn *txn;
    enum err err = store_begin(c->store, c->options.wall_ms(), &txn);
    if (err != OK)
        return err;
    for (struct store_work *work = group->list.first; work && err == OK; work = work->next) {
        work->err = OK;
        err = store_do(txn, work);
        if (!work->next && late && err == OK) {
            join_late(c, late, group);
            store_move_on(txn, c->options.wall_ms()); /* they may know of what ended since it began */
            late = NULL;
        }
    }
    if (err != OK) {
        store_undo(txn);
        return err;
    }
    return store_commit(txn);
}

/* Refusals leave the store as it was, except of a peer's rows: those before the
 * bad one are applied. */
static bool may_have_changed(const struct store_work *work)
{
    if (work->kind == WORK_WRITE)
        return work->err == OK && work->write.dot.counter != 0;
    if (work->kind == WORK_COUNT)
        return work->err == OK && work->count.dot.counter != 0;
    return work->err == OK || work->kind == WORK_ROWS || work->kind == WORK_AHEAD;
}

static void count_commit(struct committer *c, size_t works, uint64_t us)
{
    struct committer_counters *n = &c->counters;
    pthread_mutex_lock(&c->lock);
    n->groups++;
    n->commit_us_sum += us;
    if (n->commit_us_max < us)
        n->commit_us_max = us;
    if (n->group_works_max < works)
        n->group_works_max = works;
    pthread_mutex_unlock(&c->lock);
}

/* Runs a group as one transaction and notes what came of it. */
static enum err run_and_count(struct committer *c, struct group *group, struct waiting_works *late)
{
    uint64_t start = now_us();
    enum err err = run(c, group, late);
    if (err != OK)
        return err;
    count_commit(c, group->works, now_us() - start);
    for (const struct store_work *work = group->list.first; work && !c->changed; work = work->next)
        c->changed = may_have_changed(work);
    return OK;
}

/* Tells when puts begin to fail, and when they are taken again; what frees room
 * is taken all the while and says nothing. */
static void watch_trouble(struct committer *c, const struct store_work *list, enum err err)
{
    bool puts = false;
    for (const struct store_work *work = list; work && !puts; work = work->next)
        puts = work->kind == WORK_ROWS || work->kind == WORK_BATCH ||
               (work->kind == WORK_WRITE && !work->write.remove && (err != OK || work->err == OK)) ||
               (work->kind == WORK_COUNT && !work->count.remove && (err != OK || work->err == OK));
    uint64_t now = now_us();
    if (!puts || err == ERR_TOO_LARGE || err == c->trouble ||
        (c->trouble_us && now < c->trouble_us + TROUBLE_EVERY_US))
        return;
    c->trouble = err;
    c->trouble_us = now;
    if (c->options.on_trouble)
        c->options.on_trouble(c->options.ctx, err);
}

/* What came of a work in a transaction of its own; paused: which was not tried. */
static void note_alone(struct committer *c, struct store_work *work, enum err err, bool paused)
{
    watch_trouble(c, work, err);
    if (err == OK)
        return;
    work->err = err;
    pthread_mutex_lock(&c->lock);
    c->counters.works_failed++;
    c->counters.io_failures += err == ERR_IO && !paused;
    pthread_mutex_unlock(&c->lock);
    if (err == ERR_IO && !paused)
        c->paused_until_us = now_us() + 1000 * c->options.io_pause_ms;
}

static void run_alone(struct committer *c, struct store_work *work)
{
    bool paused = now_us() < c->paused_until_us;
    struct group alone = {.list.first = work, .works = 1};
    note_alone(c, work, paused ? ERR_IO : run_and_count(c, &alone, NULL), paused);
}

static void fail_group(struct committer *c, const struct group *group, enum err err)
{
    for (struct store_work *work = group->list.first; work; work = work->next)
        work->err = err;
    pthread_mutex_lock(&c->lock);
    c->counters.works_failed += group->works;
    pthread_mutex_unlock(&c->lock);
}

static bool is_too_late(struct committer *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t stop_at_us = c->stop_at_us;
    pthread_mutex_unlock(&c->lock);
    return stop_at_us != UINT64_MAX && now_us() >= stop_at_us;
}

static void run_group(struct committer *c, struct waiting_works *waiting, struct group *group)
{
    if (is_too_late(c)) {
        fail_group(c, group, ERR_CLOSED);
        goto done;
    }
    if ((group->works > 1 || group->open) && now_us() >= c->paused_until_us) {
        enum err err = run_and_count(c, group, group->open ? waiting : NULL);
        if (err == OK) {
            watch_trouble(c, group->list.first, OK);
            goto done;
        }
        if (group->works == 1) {
            note_alone(c, group->list.first, err, false);
            goto done;
        }
        if (err == ERR_BUSY || err == ERR_CLOSED) { /* the store has waited already, for all of them */
            fail_group(c, group, err);
            goto done;
        }
        pthread_mutex_lock(&c->lock);
        c->counters.groups_failed++;
        pthread_mutex_unlock(&c->lock);
    }
    for (struct store_work *work = group->list.first; work;) {
        struct store_work *next = work->next;
        work->next = NULL; /* run() goes on to the end of the list */
        if (is_too_late(c))
            fail_group(c, &(struct group){.list.first = work, .works = 1}, ERR_CLOSED);
        else
            run_alone(c, work);
        work->next = next;
        work = next;
    }
done:
    if (c->changed && c->options.on_visible)
        c->options.on_visible(c->options.ctx);
    pthread_mutex_lock(&c->lock);
    c->counters.works += group->works;
    c->counters.queued_works -= group->works;
    c->counters.queued_bytes -= group->bytes;
    pthread_mutex_unlock(&c->lock);
    for (struct store_work *work = group->list.first; work;) {
        struct store_work *next = work->next; /* done may free the work */
        work->next = NULL;
        work->more = next && next->done == work->done;
        work->done(work);
        work = next;
    }
    /* Who waits for an answer goes first. */
    if (c->changed && c->options.on_commit)
        c->options.on_commit(c->options.ctx);
    c->changed = false;
}

/* ---- the thread ---------------------------------------------------------- */

/* Sorts in what was submitted, and waits for it when there is nothing to do. False
 * when there is nothing and never will be. */
static bool take_submitted(struct committer *c, struct waiting_works *waiting)
{
    struct work_queue submitted;
    queue_init(&submitted);
    pthread_mutex_lock(&c->lock);
    while (!may_begin(waiting) && !c->submitted.first && !c->stopping && !c->look_again) {
        c->idle = true;
        pthread_cond_wait(&c->wake, &c->lock);
    }
    c->idle = c->look_again = false;
    bool stopping = c->stopping;
    queue_move(&submitted, &c->submitted);
    pthread_mutex_unlock(&c->lock);
    sort_in(waiting, &submitted);
    const struct store_work *first = waiting->others.first;
    waiting->held = first && !stopping && c->options.has_room && is_bulk(first) &&
                    !c->options.has_room(c->options.ctx);
    return first || waiting->clients.first || !stopping;
}

/* Whoever was waiting for this core while the last group was done has more works
 * already: one turn for them makes groups twice as large, and a group costs what its
 * sync costs. Where nobody waits for the core this returns at once. */
static void let_others_submit(struct committer *c, struct waiting_works *waiting)
{
    sched_yield();
    (void)take_submitted(c, waiting); /* there is something: it does not wait */
}

static void *committer_main(void *arg)
{
    struct committer *c = arg;
    struct waiting_works waiting = {0};
    struct group group;
    queue_init(&waiting.clients);
    queue_init(&waiting.others);
    while (take_submitted(c, &waiting)) {
        if (may_begin(&waiting))
            let_others_submit(c, &waiting);
        if (!may_begin(&waiting))
            continue;
        group_take(&waiting, &group);
        run_group(c, &waiting, &group);
    }
    return NULL;
}

struct committer *committer_new(struct store *store, const struct committer_options *options)
{
    CHECK(options->works_max > 0 && options->wall_ms);
    struct committer *c = mem_new(sizeof *c);
    c->store = store;
    c->options = *options;
    if (!c->options.io_pause_ms)
        c->options.io_pause_ms = IO_PAUSE_MS;
    c->stop_at_us = UINT64_MAX;
    queue_init(&c->submitted);
    CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
    CHECK(pthread_cond_init(&c->wake, NULL) == 0);
    /* Signals are the main thread's. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    CHECK(pthread_create(&c->thread, NULL, committer_main, c) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return c;
}

enum err committer_submit(struct committer *c, struct store_work *work)
{
    CHECK(work->done);
    size_t records, bytes;
    store_work_cost(work, &records, &bytes);
    enum err err = OK;
    bool wake = false;
    struct committer_counters *n = &c->counters;
    pthread_mutex_lock(&c->lock);
    bool fits = n->queued_works < c->options.works_max && n->queued_bytes < c->options.bytes_max &&
                bytes <= c->options.bytes_max - n->queued_bytes;
    if (c->stopping) {
        err = ERR_CLOSED;
    } else if (n->queued_works > 0 && !fits) {
        err = ERR_BUSY;
        n->refused_busy++;
    } else {
        queue_push(&c->submitted, work);
        n->queued_works++;
        n->queued_bytes += bytes;
        wake = c->idle;
        c->idle = false; /* one signal is enough */
    }
    pthread_mutex_unlock(&c->lock);
    if (wake)
        pthread_cond_signal(&c->wake);
    return err;
}

void committer_look_again(struct committer *c)
{
    pthread_mutex_lock(&c->lock);
    c->look_again = true;
    pthread_mutex_unlock(&c->lock);
    pthread_cond_signal(&c->wake);
}

void committer_stop(struct committer *c, uint64_t until_ms)
{
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    c->stop_at_us = until_ms < UINT64_MAX / 1000 ? until_ms * 1000 : UINT64_MAX;
    pthread_mutex_unlock(&c->lock);
    pthread_cond_signal(&c->wake);
    if (!c->joined)
        CHECK(pthread_join(c->thread, NULL) == 0);
    c->joined = true;
}

void committer_free(struct committer *c)
{
    if (!c)
        return;
    committer_stop(c, UINT64_MAX);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void committer_counters(struct committer *c, struct committer_counters *ret)
{
    pthread_mutex_lock(&c->lock);
    *ret = c->counters;
    pthread_mutex_unlock(&c->lock);
}
