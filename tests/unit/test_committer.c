/* edge/committer: how works become groups, and what each is told. The store is
 * played by this file: a transaction collects the works' tickets, a commit makes
 * them durable, and a test can hold a commit back or let it fail. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "committer.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SEEN_MAX = 20000 };

/* ---- the played store ---------------------------------------------------- */

struct store {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold;         /* commits wait while it is set */
    bool held;         /* one does */
    size_t hold_at;    /* this one, counted from 1, waits too; 0: none */
    size_t bytes_free; /* a transaction that puts more is ERR_FULL */
    size_t begins, commits;
    size_t fail_from, fail_to;  /* these commits, counted from 1, fail with ERR_IO */
    uint64_t durable[SEEN_MAX]; /* tickets, in order */
    size_t durable_count;
    uint64_t done[SEEN_MAX];
    size_t done_count;
    size_t wakes;       /* calls of on_commit */
    enum err when_full; /* OK: ERR_FULL */
    size_t troubles;
    enum err trouble; /* the last one told */
    struct committer *committer;
    struct store_work *late; /* submitted while bulk is done */
    atomic_bool crowded;
    bool done_too_early;
};

struct store_txn {
    struct store *store;
    uint64_t tickets[SEEN_MAX];
    size_t count, put_bytes;
    uint64_t wall_ms;
} the_txn;

/* Later with each look at it. */
static _Atomic uint64_t clock_ms;

enum err store_begin(struct store *store, uint64_t wall_ms, struct store_txn **ret)
{
    assert_int_equal(wall_ms, clock_ms);
    the_txn.store = store;
    the_txn.wall_ms = wall_ms;
    the_txn.count = the_txn.put_bytes = 0;
    store->begins++;
    *ret = &the_txn;
    return OK;
}

void store_move_on(struct store_txn *txn, uint64_t wall_ms)
{
    assert_true(wall_ms > txn->wall_ms);
    txn->wall_ms = wall_ms;
}

/* A ticket of 0 is refused; a remove takes no room. */
enum err store_do(struct store_txn *txn, struct store_work *work)
{
    if (work->ticket == 0) {
        work->err = ERR_BEHIND;
        return OK;
    }
    if (work->ticket > 1000000 && txn->store->late) {
        struct store_work *late = txn->store->late;
        txn->store->late = NULL;
        assert_int_equal(committer_submit(txn->store->committer, late), OK);
    }
    if (!work->write.remove)
        txn->put_bytes += work->write.value.len;
    work->write.dot.counter = work->write.add ? 0 : work->ticket;
    work->write.stamp = txn->wall_ms;
    txn->tickets[txn->count++] = work->ticket;
    if (txn->put_bytes <= txn->store->bytes_free)
        return OK;
    return txn->store->when_full != OK ? txn->store->when_full : ERR_FULL;
}

enum err store_commit(struct store_txn *txn)
{
    struct store *store = txn->store;
    enum err err = OK;
    pthread_mutex_lock(&store->lock);
    store->held = true;
    pthread_cond_broadcast(&store->changed);
    while (store->hold || store->hold_at == store->commits + 1)
        pthread_cond_wait(&store->changed, &store->lock);
    store->held = false;
    store->commits++;
    if (store->commits >= store->fail_from && store->commits <= store->fail_to) {
        err = ERR_IO;
    } else {
        for (size_t i = 0; i < txn->count; i++)
            store->durable[store->durable_count++] = txn->tickets[i];
    }
    pthread_mutex_unlock(&store->lock);
    return err;
}

void store_undo(struct store_txn *txn)
{
}

/* Tickets above 1,000,000 say their number of records behind it. */
void store_work_cost(const struct store_work *work, size_t *ret_records, size_t *ret_bytes)
{
    *ret_records = work->ticket > 1000000 ? work->ticket - 1000000 : 1;
    *ret_bytes = work->write.value.len;
}

/* ---- helpers ------------------------------------------------------------- */

static uint64_t wall_ms(void)
{
    return atomic_fetch_add(&clock_ms, 1) + 1;
}

static void count_wake(void *ctx)
{
    struct store *store = ctx;
    pthread_mutex_lock(&store->lock);
    store->wakes++;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
}

static void note_done(struct store_work *work)
{
    struct store *store = work->ctx;
    pthread_mutex_lock(&store->lock);
    bool durable = false;
    for (size_t i = 0; i < store->durable_count && !durable; i++)
        durable = store->durable[i] == work->ticket;
    store->done_too_early |= work->err == OK && !durable;
    store->done[store->done_count++] = work->ticket;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
}

struct desk {
    struct store store;
    struct committer *committer;
};

static void note_trouble(void *ctx, enum err err)
{
    struct store *store = ctx;
    store->troubles++;
    store->trouble = err;
}

static bool has_room(void *ctx)
{
    return !((struct store *)ctx)->crowded;
}

static struct desk *desk_of(size_t works_max, size_t bytes_max, uint64_t io_pause_ms)
{
    struct desk *desk = calloc(1, sizeof *desk);
    assert_non_null(desk);
    pthread_mutex_init(&desk->store.lock, NULL);
    pthread_cond_init(&desk->store.changed, NULL);
    desk->store.bytes_free = SIZE_MAX;
    const struct committer_options options = {
        .works_max = works_max,
        .bytes_max = bytes_max,
        .io_pause_ms = io_pause_ms,
        .wall_ms = wall_ms,
        .has_room = has_room,
        .on_commit = count_wake,
        .on_trouble = note_trouble,
        .ctx = &desk->store,
    };
    desk->committer = desk->store.committer = committer_new(&desk->store, &options);
    return desk;
}

static struct desk *desk_with(size_t works_max, size_t bytes_max)
{
    return desk_of(works_max, bytes_max, 1000000);
}

static struct desk *desk_with_pause(uint64_t io_pause_ms)
{
    return desk_of(SEEN_MAX, SIZE_MAX, io_pause_ms);
}

static struct desk *desk(void)
{
    return desk_with(SEEN_MAX, SIZE_MAX);
}

static void desk_free(struct desk *desk)
{
    committer_free(desk->committer);
    assert_false(desk->store.done_too_early);
    pthread_cond_destroy(&desk->store.changed);
    pthread_mutex_destroy(&desk->store.lock);
    free(desk);
}

static struct store_work put(uint64_t ticket, size_t bytes)
{
    return (struct store_work){.kind = WORK_WRITE, .ticket = ticket, .write.value.len = bytes};
}

static struct store_work removal(uint64_t ticket)
{
    return (struct store_work){.kind = WORK_WRITE, .ticket = ticket, .write.remove = true};
}

static struct store_work rows(uint64_t ticket)
{
    return (struct store_work){.kind = WORK_ROWS, .ticket = ticket};
}

static enum err submit(struct desk *desk, struct store_work *work)
{
    work->done = note_done;
    work->ctx = &desk->store;
    return committer_submit(desk->committer, work);
}

/* Submits a first work and lets its commit hang, so that what is submitted next
 * queues behind it. */
static void hold_with(struct desk *desk, struct store_work *first)
{
    struct store *store = &desk->store;
    store->hold = true;
    assert_int_equal(submit(desk, first), OK);
    pthread_mutex_lock(&store->lock);
    while (!store->held)
        pthread_cond_wait(&store->changed, &store->lock);
    pthread_mutex_unlock(&store->lock);
}

static void release(struct desk *desk)
{
    pthread_mutex_lock(&desk->store.lock);
    desk->store.hold = false;
    desk->store.hold_at = 0;
    pthread_cond_broadcast(&desk->store.changed);
    pthread_mutex_unlock(&desk->store.lock);
}

static void wait_done(struct desk *desk, size_t count)
{
    pthread_mutex_lock(&desk->store.lock);
    while (desk->store.done_count < count)
        pthread_cond_wait(&desk->store.changed, &desk->store.lock);
    pthread_mutex_unlock(&desk->store.lock);
}

/* Who answers first is told last: wakes come after the works' done. */
static void wait_wakes(struct desk *desk, size_t count)
{
    pthread_mutex_lock(&desk->store.lock);
    while (desk->store.wakes < count)
        pthread_cond_wait(&desk->store.changed, &desk->store.lock);
    assert_int_equal(desk->store.wakes, count);
    pthread_mutex_unlock(&desk->store.lock);
}

static struct committer_counters counters(struct desk *desk)
{
    struct committer_counters n;
    committer_counters(desk->committer, &n);
    return n;
}

/* ---- groups -------------------------------------------------------------- */

/* A lone work waits for no other. */
static void a_lone_work_is_committed_at_once(void **state)
{
    struct desk *d = desk();
    struct store_work work = put(1, 10);

    assert_int_equal(submit(d, &work), OK);
    wait_done(d, 1);

    assert_int_equal(work.err, OK);
    assert_int_equal(d->store.durable_count, 1);
    assert_int_equal(counters(d).groups, 1);
    assert_int_equal(counters(d).queued_works, 0);
    desk_free(d);
}

/* What arrives during a commit shares the next one, in order. */
static void works_that_wait_share_a_commit(void **state)
{
    struct desk *d = desk();
    struct store_work works[51];
    for (uint64_t i = 0; i < 51; i++)
        works[i] = put(i + 1, 10);

    hold_with(d, &works[0]);
    for (int i = 1; i < 51; i++)
        assert_int_equal(submit(d, &works[i]), OK);
    release(d);
    wait_done(d, 51);

    for (uint64_t i = 0; i < 51; i++) {
        assert_int_equal(d->store.durable[i], i + 1);
        assert_int_equal(d->store.done[i], i + 1);
    }
    assert_int_equal(counters(d).groups, 2);
    assert_int_equal(counters(d).works, 51);
    assert_int_equal(counters(d).group_works_max, 50);
    wait_wakes(d, 2);
    desk_free(d);
}

/* A group holds what one transaction may: three of 30 MiB are two groups, and so
 * are 10,001 records; a work above the bound goes alone. */
static void a_group_is_bounded(void **state)
{
    struct desk *d = desk();
    struct store_work first = put(1, 0);
    struct store_work large[] = {put(2, 30 << 20), put(3, 30 << 20), put(4, 30 << 20)};
    struct store_work many[] = {put(1005000, 0), put(1005000, 0), put(5, 0), put(1020000, 0), put(6, 0)};

    hold_with(d, &first);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(submit(d, &large[i]), OK);
    release(d);
    wait_done(d, 4);
    assert_int_equal(counters(d).groups, 1 + 2);

    first = put(1, 0);
    hold_with(d, &first);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(submit(d, &many[i]), OK);
    release(d);
    wait_done(d, 10);
    assert_int_equal(counters(d).groups, 3 + 1 + 4); /* (5000, 5000), (1), (20000), (1) */
    desk_free(d);
}

/* Lets what is held go, and the commit after it hang in its place. */
static void hold_the_next(struct desk *desk)
{
    struct store *store = &desk->store;
    pthread_mutex_lock(&store->lock);
    size_t next = store->commits + 2;
    store->hold = false;
    store->hold_at = next;
    pthread_cond_broadcast(&store->changed);
    while (store->commits + 1 < next || !store->held)
        pthread_cond_wait(&store->changed, &store->lock);
    pthread_mutex_unlock(&store->lock);
}

/* A peer's rows of a moment ago share the group of the clients' works. */
static void short_rows_share_a_group(void **state)
{
    struct desk *d = desk();
    struct store_work works[] = {put(1, 0), rows(3), put(2, 0), rows(1000256)};

    hold_with(d, &works[0]);
    for (size_t i = 1; i < 4; i++)
        assert_int_equal(submit(d, &works[i]), OK);
    release(d);
    wait_done(d, 4);

    static const uint64_t order[] = {1, 2, 3, 1000256};
    assert_memory_equal(d->store.durable, order, sizeof order);
    assert_int_equal(counters(d).groups, 2);
    desk_free(d);
}

/* Bulk goes one by one, and clients' works go before it. */
static void bulk_holds_clients_up_once(void **state)
{
    struct desk *d = desk();
    struct store_work works[] = {put(1, 0), rows(1000257), rows(1010000), rows(3), put(2, 0)};
    struct store_work later = put(4, 0);

    hold_with(d, &works[0]);
    for (size_t i = 1; i < 5; i++)
        assert_int_equal(submit(d, &works[i]), OK);
    hold_the_next(d); /* the client's that came behind all */
    assert_int_equal(submit(d, &later), OK);
    release(d);
    wait_done(d, 6);

    static const uint64_t order[] = {1, 2, 1000257, 4, 1010000, 3};
    assert_memory_equal(d->store.durable, order, sizeof order);
    assert_memory_equal(d->store.done, order, sizeof order);
    assert_int_equal(counters(d).groups, 5); /* the one that waited for bulk goes with it */
    desk_free(d);
}

/* Both are done, in one group. */
static struct desk *one_comes_during_bulk(struct store_work *bulk, struct store_work *late)
{
    struct desk *d = desk();
    *bulk = rows(1000300);
    *late = put(2, 0);
    late->done = note_done;
    late->ctx = &d->store;
    d->store.late = late;
    assert_int_equal(submit(d, bulk), OK);
    wait_done(d, 2);

    assert_int_equal(counters(d).groups, 1);
    return d;
}

/* Who comes while bulk is done waits for no sync but the one of its commit. */
static void who_comes_during_bulk_shares_its_commit(void **state)
{
    struct store_work bulk, late;
    struct desk *d = one_comes_during_bulk(&bulk, &late);

    assert_int_equal(counters(d).works, 2);
    assert_int_equal(counters(d).queued_works, 0);
    desk_free(d);
}

/* And is judged at its own time: what ended while bulk was done its client may have seen. */
static void who_comes_during_bulk_has_a_later_time(void **state)
{
    struct store_work bulk, late;
    struct desk *d = one_comes_during_bulk(&bulk, &late);

    assert_true(late.write.stamp > bulk.write.stamp);
    desk_free(d);
}

/* And is tried alone when that fails. */
static void who_shares_the_commit_of_bulk_does_not_fail_with_it(void **state)
{
    struct desk *d = desk_with_pause(1);
    struct store_work bulk = rows(1000300), late = put(2, 0);

    late.done = note_done;
    late.ctx = &d->store;
    d->store.late = &late;
    d->store.fail_from = d->store.fail_to = 1;
    assert_int_equal(submit(d, &bulk), OK);
    wait_done(d, 2);

    assert_int_equal(bulk.err, OK);
    assert_int_equal(late.err, OK);
    assert_int_equal(counters(d).groups_failed, 1);
    assert_int_equal(counters(d).groups, 2);
    desk_free(d);
}

/* Nobody does where bulk fills a transaction as it is. */
static void nobody_joins_what_is_full(void **state)
{
    struct desk *d = desk();
    struct store_work bulk = rows(1000001 + TXN_RECORDS_MAX), late = put(2, 0);

    late.done = note_done;
    late.ctx = &d->store;
    d->store.late = &late;
    assert_int_equal(submit(d, &bulk), OK);
    wait_done(d, 2);

    assert_int_equal(counters(d).groups, 2);
    desk_free(d);
}

/* Bulk that fails is not tried twice for being bulk. */
static void bulk_that_fails_is_told_once(void **state)
{
    struct desk *d = desk();
    struct store_work bulk = rows(1000300);

    d->store.fail_from = d->store.fail_to = 1;
    assert_int_equal(submit(d, &bulk), OK);
    wait_done(d, 1);

    assert_int_equal(bulk.err, ERR_IO);
    assert_int_equal(d->store.begins, 1);
    assert_int_equal(counters(d).works_failed, 1);
    assert_int_equal(counters(d).io_failures, 1);
    desk_free(d);
}

/* Where room is short clients' works go on, and bulk waits for it, with what is behind it. */
static void bulk_waits_for_room(void **state)
{
    struct desk *d = desk();
    struct store_work bulk = rows(1000300), behind = rows(3), writes[] = {put(1, 0), put(2, 0), put(4, 0)};

    d->store.crowded = true;
    assert_int_equal(submit(d, &bulk), OK);
    assert_int_equal(submit(d, &behind), OK);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(submit(d, &writes[i]), OK);
        wait_done(d, i + 1);
        committer_look_again(d->committer); /* still none */
    }
    d->store.crowded = false;
    committer_look_again(d->committer);
    wait_done(d, 4);
    assert_int_equal(submit(d, &writes[2]), OK);
    wait_done(d, 5);

    static const uint64_t order[] = {1, 2, 1000300, 3, 4};
    assert_memory_equal(d->store.done, order, sizeof order);
    desk_free(d);
}

/* At the end it is done all the same, or refused by the store. */
static void bulk_that_waits_for_room_is_finished_at_the_end(void **state)
{
    struct desk *d = desk();
    struct store_work bulk = rows(1000300);

    d->store.crowded = true;
    assert_int_equal(submit(d, &bulk), OK);
    committer_stop(d->committer, UINT64_MAX);

    assert_int_equal(d->store.done_count, 1);
    assert_int_equal(bulk.err, OK);
    desk_free(d);
}

/* However many write, bulk has every second group. */
static void bulk_is_not_starved(void **state)
{
    struct desk *d = desk();
    struct store_work first = put(1, 0), bulk[] = {rows(1000300), rows(1000301)};
    struct store_work puts[] = {put(2, 0), put(3, 0), put(4, 0), put(5, 0)};

    hold_with(d, &first);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(submit(d, &bulk[i]), OK);
    for (size_t i = 0; i < 4; i++) { /* one more is there while a group is done */
        assert_int_equal(submit(d, &puts[i]), OK);
        hold_the_next(d);
    }
    release(d);
    wait_done(d, 7);

    static const uint64_t order[] = {1, 2, 1000300, 3, 4, 1000301, 5};
    assert_memory_equal(d->store.durable, order, sizeof order);
    assert_int_equal(d->store.durable_count, 7);
    desk_free(d);
}

/* Nor is what is short, where clients' works alone fill each transaction. */
static void short_works_are_not_starved(void **state)
{
    struct desk *d = desk();
    struct store_work first = put(1, 0), work = rows(3);
    struct store_work large[] = {put(2, TXN_BYTES_MAX), put(4, TXN_BYTES_MAX), put(5, TXN_BYTES_MAX)};

    hold_with(d, &first);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(submit(d, &large[i]), OK);
    assert_int_equal(submit(d, &work), OK);
    release(d);
    wait_done(d, 5);

    static const uint64_t order[] = {1, 2, 3, 4, 5};
    assert_memory_equal(d->store.durable, order, sizeof order);
    assert_int_equal(counters(d).groups, 4);
    desk_free(d);
}

/* A refusal is an answer to one work: the others go on. */
static void a_refusal_is_one_works_own(void **state)
{
    struct desk *d = desk();
    struct store_work works[] = {put(1, 0), put(2, 0), put(0, 0), put(3, 0)};

    hold_with(d, &works[0]);
    for (int i = 1; i < 4; i++)
        assert_int_equal(submit(d, &works[i]), OK);
    release(d);
    wait_done(d, 4);

    assert_int_equal(works[1].err, OK);
    assert_int_equal(works[2].err, ERR_BEHIND);
    assert_int_equal(works[3].err, OK);
    assert_int_equal(counters(d).groups_failed, 0);
    assert_int_equal(d->store.durable_count, 3);
    desk_free(d);
}

/* Where nothing changed nobody is woken. */
static void no_change_wakes_nobody(void **state)
{
    struct desk *d = desk();
    struct store_work nothing = put(1, 0), refused = put(0, 0), change = put(2, 0);
    nothing.write.add = true; /* the played store gives it no dot */

    assert_int_equal(submit(d, &nothing), OK);
    assert_int_equal(submit(d, &refused), OK);
    wait_done(d, 2);
    assert_int_equal(submit(d, &change), OK);
    wait_done(d, 3);
    wait_wakes(d, 1); /* and not three */
    desk_free(d);
}

/* ---- failures ------------------------------------------------------------ */

/* On a full disk each work of the group gets its own answer. */
static void a_full_disk_still_takes_deletes(void **state)
{
    struct desk *d = desk();
    d->store.bytes_free = 100;
    struct store_work works[] = {put(1, 0), removal(2), put(3, 5000), removal(4), put(5, 90)};

    hold_with(d, &works[0]);
    for (int i = 1; i < 5; i++)
        assert_int_equal(submit(d, &works[i]), OK);
    release(d);
    wait_done(d, 5);

    assert_int_equal(works[1].err, OK);
    assert_int_equal(works[2].err, ERR_FULL);
    assert_int_equal(works[3].err, OK);
    assert_int_equal(works[4].err, OK);
    assert_int_equal(counters(d).groups_failed, 1);
    assert_int_equal(counters(d).works_failed, 1);
    assert_int_equal(counters(d).io_failures, 0);
    assert_int_equal(d->store.troubles, 1); /* told once; the small put after it is no news yet */
    assert_int_equal(d->store.trouble, ERR_FULL);
    assert_int_equal(d->store.done_count, 5);
    desk_free(d);
}

/* What is itself too large says nothing about the disk. */
static void a_work_that_is_too_large_is_no_trouble(void **state)
{
    struct desk *d = desk();
    d->store.bytes_free = 100;
    d->store.when_full = ERR_TOO_LARGE;
    struct store_work large = put(1, 5000);

    assert_int_equal(submit(d, &large), OK);
    wait_done(d, 1);

    assert_int_equal(large.err, ERR_TOO_LARGE);
    assert_int_equal(d->store.troubles, 0);
    desk_free(d);
}

/* A group whose commit failed is tried again, work by work. */
static void a_group_survives_one_failed_commit(void **state)
{
    struct desk *d = desk();
    d->store.fail_from = d->store.fail_to = 2;
    struct store_work works[] = {put(1, 0), put(2, 0), put(3, 0)};

    hold_with(d, &works[0]);
    assert_int_equal(submit(d, &works[1]), OK);
    assert_int_equal(submit(d, &works[2]), OK);
    release(d);
    wait_done(d, 3);

    assert_int_equal(works[1].err, OK);
    assert_int_equal(works[2].err, OK);
    assert_int_equal(counters(d).groups_failed, 1);
    assert_int_equal(counters(d).io_failures, 0);
    assert_int_equal(d->store.durable_count, 3);
    desk_free(d);
}

/* But only once: the first work that fails alone is the last that is tried. */
static void a_group_is_not_tried_for_ever(void **state)
{
    struct desk *d = desk();
    d->store.fail_from = 2, d->store.fail_to = SIZE_MAX;
    struct store_work works[] = {put(1, 0), put(2, 0), put(3, 0)};

    hold_with(d, &works[0]);
    assert_int_equal(submit(d, &works[1]), OK);
    assert_int_equal(submit(d, &works[2]), OK);
    release(d);
    wait_done(d, 3);

    assert_int_equal(works[0].err, OK);
    assert_int_equal(works[1].err, ERR_IO);
    assert_int_equal(works[2].err, ERR_IO);
    assert_int_equal(d->store.begins, 3);
    desk_free(d);
}

/* After a failed commit the store is not asked for a while. */
static void an_io_error_pauses_writing(void **state)
{
    struct desk *d = desk();
    d->store.fail_from = d->store.fail_to = 1;
    struct store_work failed = put(1, 0), later = put(2, 0);

    assert_int_equal(submit(d, &failed), OK);
    wait_done(d, 1);
    assert_int_equal(failed.err, ERR_IO);
    assert_int_equal(counters(d).io_failures, 1);

    assert_int_equal(submit(d, &later), OK);
    wait_done(d, 2);
    assert_int_equal(later.err, ERR_IO);
    assert_int_equal(d->store.begins, 1);
    assert_int_equal(counters(d).io_failures, 1);
    assert_int_equal(d->store.durable_count, 0);
    desk_free(d);
}

/* And then it is asked again. */
static void writing_goes_on_after_a_pause(void **state)
{
    struct desk *d = desk_with_pause(1);
    d->store.fail_from = d->store.fail_to = 1;
    struct store_work failed = put(1, 0), later;

    assert_int_equal(submit(d, &failed), OK);
    wait_done(d, 1);
    assert_int_equal(failed.err, ERR_IO);

    size_t done = 1;
    do {
        later = put(2, 0);
        assert_int_equal(submit(d, &later), OK);
        wait_done(d, ++done);
    } while (later.err == ERR_IO);
    assert_int_equal(later.err, OK);
    assert_int_equal(d->store.durable_count, 1);
    desk_free(d);
}

/* ---- limits -------------------------------------------------------------- */

/* Beyond the limits a work is refused at once, and taken again when there is room. */
static void a_full_queue_refuses(void **state)
{
    struct desk *d = desk_with(3, 1000);
    struct store_work works[] = {put(1, 0), put(2, 0), put(3, 0), put(4, 0)};

    hold_with(d, &works[0]);
    assert_int_equal(submit(d, &works[1]), OK);
    assert_int_equal(submit(d, &works[2]), OK);
    assert_int_equal(submit(d, &works[3]), ERR_BUSY);
    release(d);
    wait_done(d, 3);

    assert_int_equal(submit(d, &works[3]), OK);
    wait_done(d, 4);
    assert_int_equal(counters(d).refused_busy, 1);
    desk_free(d);
}

/* Bytes count too; a work above the limit is taken when it is the only one. */
static void bytes_are_limited_but_one_work_fits(void **state)
{
    struct desk *d = desk_with(100, 1000);
    struct store_work huge = put(1, 5000), small = put(2, 1);

    hold_with(d, &huge);
    assert_int_equal(submit(d, &small), ERR_BUSY);
    release(d);
    wait_done(d, 1);
    assert_int_equal(huge.err, OK);

    hold_with(d, &small);
    struct store_work just = put(3, 999), over = put(4, 1);
    assert_int_equal(submit(d, &just), OK);
    assert_int_equal(submit(d, &over), ERR_BUSY);
    release(d);
    wait_done(d, 3);
    desk_free(d);
}

/* Stopping finishes what was submitted and takes nothing more. */
static void stopping_finishes_the_queue(void **state)
{
    struct desk *d = desk();
    struct store_work works[] = {put(1, 0), put(2, 0), put(3, 0)}, late = put(4, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(submit(d, &works[i]), OK);

    committer_stop(d->committer, UINT64_MAX);

    assert_int_equal(d->store.done_count, 3);
    assert_int_equal(submit(d, &late), ERR_CLOSED);
    desk_free(d);
}

static void *stop_at_once(void *arg)
{
    struct desk *desk = arg;
    committer_stop(desk->committer, 1); /* a time long past */
    return NULL;
}

/* At its deadline a stop waits for the commit that the disk is at, and for no more: each
 * of the others is told that it was not done. */
static void stopping_does_not_outlast_its_deadline(void **state)
{
    struct desk *d = desk_with(4, SIZE_MAX);
    struct store_work works[] = {put(1, 0), put(2, 0), put(3, 0), put(4, 0)}, probe = put(5, 0);
    pthread_t stopper;
    hold_with(d, &works[0]);
    for (int i = 1; i < 4; i++)
        assert_int_equal(submit(d, &works[i]), OK);

    assert_int_equal(pthread_create(&stopper, NULL, stop_at_once, d), 0);
    while (submit(d, &probe) == ERR_BUSY)
        sched_yield();
    release(d);
    assert_int_equal(pthread_join(stopper, NULL), 0);

    assert_int_equal(d->store.done_count, 4);
    assert_int_equal(works[0].err, OK);
    for (int i = 1; i < 4; i++)
        assert_int_equal(works[i].err, ERR_CLOSED);
    assert_int_equal(d->store.durable_count, 1);
    assert_int_equal(counters(d).works_failed, 3);
    desk_free(d);
}

/* Nor when a group has failed at it, and its works would be tried one by one. */
static void a_failed_group_is_not_tried_beyond_the_deadline(void **state)
{
    struct desk *d = desk_with(3, SIZE_MAX);
    struct store *store = &d->store;
    struct store_work works[] = {put(1, 0), put(2, 0), put(3, 0), put(4, 0)}, probe = put(5, 0);
    pthread_t stopper;
    store->fail_from = store->fail_to = 2;
    hold_with(d, &works[0]);
    assert_int_equal(submit(d, &works[1]), OK);
    assert_int_equal(submit(d, &works[2]), OK);
    pthread_mutex_lock(&store->lock);
    store->hold = false;
    store->hold_at = 2;
    pthread_cond_broadcast(&store->changed);
    while (store->commits < 1 || !store->held)
        pthread_cond_wait(&store->changed, &store->lock);
    pthread_mutex_unlock(&store->lock);
    assert_int_equal(submit(d, &works[3]), OK);

    assert_int_equal(pthread_create(&stopper, NULL, stop_at_once, d), 0);
    while (submit(d, &probe) == ERR_BUSY)
        sched_yield();
    release(d);
    assert_int_equal(pthread_join(stopper, NULL), 0);

    assert_int_equal(d->store.begins, 2);
    for (int i = 1; i < 4; i++)
        assert_int_equal(works[i].err, ERR_CLOSED);
    desk_free(d);
}

/* ---- threads ------------------------------------------------------------- */

struct submitter {
    pthread_t thread;
    struct desk *desk;
    uint64_t first_ticket;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    size_t ok;
};

static void tell_submitter(struct store_work *work)
{
    struct submitter *s = work->ctx;
    pthread_mutex_lock(&s->lock);
    s->is_done = true;
    s->ok += work->err == OK;
    pthread_cond_signal(&s->done);
    pthread_mutex_unlock(&s->lock);
}

/* Each work waits for the one before, as a connection does. */
static void *submit_in_turn(void *arg)
{
    struct submitter *s = arg;
    for (uint64_t i = 0; i < 500; i++) {
        struct store_work work = put(s->first_ticket + i, 1);
        work.done = tell_submitter;
        work.ctx = s;
        s->is_done = false;
        if (committer_submit(s->desk->committer, &work) != OK)
            return NULL;
        pthread_mutex_lock(&s->lock);
        while (!s->is_done)
            pthread_cond_wait(&s->done, &s->lock);
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

/* Works of many threads are each done once, those of one thread in order. */
static void many_threads_share_the_committer(void **state)
{
    struct desk *d = desk();
    struct submitter submitters[8];
    for (size_t i = 0; i < 8; i++) {
        submitters[i] = (struct submitter){.desk = d, .first_ticket = 1 + i * 1000};
        pthread_mutex_init(&submitters[i].lock, NULL);
        pthread_cond_init(&submitters[i].done, NULL);
        assert_int_equal(pthread_create(&submitters[i].thread, NULL, submit_in_turn, &submitters[i]), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        pthread_join(submitters[i].thread, NULL);
        assert_int_equal(submitters[i].ok, 500);
        pthread_cond_destroy(&submitters[i].done);
        pthread_mutex_destroy(&submitters[i].lock);
    }
    committer_stop(d->committer, UINT64_MAX);
    assert_int_equal(d->store.durable_count, 4000);
    uint64_t last[8] = {0};
    for (size_t i = 0; i < 4000; i++) {
        uint64_t ticket = d->store.durable[i], *before = &last[ticket / 1000];
        assert_true(ticket > *before);
        *before = ticket;
    }
    assert_int_equal(counters(d).works, 4000);
    desk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_work_is_committed_at_once),
        cmocka_unit_test(works_that_wait_share_a_commit),
        cmocka_unit_test(a_group_is_bounded),
        cmocka_unit_test(short_rows_share_a_group),
        cmocka_unit_test(bulk_holds_clients_up_once),
        cmocka_unit_test(bulk_is_not_starved),
        cmocka_unit_test(who_comes_during_bulk_shares_its_commit),
        cmocka_unit_test(who_comes_during_bulk_has_a_later_time),
        cmocka_unit_test(nobody_joins_what_is_full),
        cmocka_unit_test(who_shares_the_commit_of_bulk_does_not_fail_with_it),
        cmocka_unit_test(bulk_that_fails_is_told_once),
        cmocka_unit_test(bulk_waits_for_room),
        cmocka_unit_test(bulk_that_waits_for_room_is_finished_at_the_end),
        cmocka_unit_test(short_works_are_not_starved),
        cmocka_unit_test(a_refusal_is_one_works_own),
        cmocka_unit_test(no_change_wakes_nobody),
        cmocka_unit_test(a_full_disk_still_takes_deletes),
        cmocka_unit_test(a_work_that_is_too_large_is_no_trouble),
        cmocka_unit_test(a_group_survives_one_failed_commit),
        cmocka_unit_test(a_group_is_not_tried_for_ever),
        cmocka_unit_test(an_io_error_pauses_writing),
        cmocka_unit_test(writing_goes_on_after_a_pause),
        cmocka_unit_test(a_full_queue_refuses),
        cmocka_unit_test(bytes_are_limited_but_one_work_fits),
        cmocka_unit_test(stopping_finishes_the_queue),
        cmocka_unit_test(stopping_does_not_outlast_its_deadline),
        cmocka_unit_test(a_failed_group_is_not_tried_beyond_the_deadline),
        cmocka_unit_test(many_threads_share_the_committer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
