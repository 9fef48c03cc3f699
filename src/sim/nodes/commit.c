/* The committer and the applier of a host, as edge/committer.c and edge/applier.c do
 * them, and what the oracle must know of each transaction: what every operation in it
 * removed, read inside it. */
#include "check.h"
#include "mem.h"
#include "state.h"
#include "txn.h"

#include <stdlib.h>

enum {
    IO_PAUSE_MS = 1000,    /* the committer leaves a disk alone that failed: edge/committer.c */
    APPLY_PAUSE_MS = 1000, /* the applier too: edge/applier.c */
    GROUP_WORKS_MAX = 64,
    GROUP_OPS_MAX = GROUP_WORKS_MAX * PARTS_MAX,
};

/* ---- the committer --------------------------------------------------------------------------- */

void host_submit(struct world *w, struct host *host, struct store_work *work)
{
    work->next = NULL;
    *host->works_end = work;
    host->works_end = &work->next;
    if (!host->commit_planned) {
        host->commit_planned = true;
        world_plan(w, 1 + world_pick(w, host->commit_ms_max), HAPPEN_COMMIT, host->index);
    }
}

/* What the operations in one transaction did: of clients, and of time. */
struct group_ops {
    size_t ops[GROUP_OPS_MAX];
    struct dot dots[GROUP_OPS_MAX];
    struct set removed[GROUP_OPS_MAX];
    size_t count;
    struct set dropped; /* as their time was over */
};

/* ---- inside a transaction: what was there, and what is ------------------------------ */

/* What the newest state holds under a key. */
struct held {
    struct set all, living; /* living: at the transaction's time */
};

static struct held held_in(struct store_txn *txn, struct bytes key)
{
    struct held held = {0};
    if (txn_load(txn, key) != OK)
        return held;
    for (size_t i = 0; i < txn->local.count; i++) {
        const struct version *version = &txn->local.versions[i];
        set_add(&held.all, version_number(version));
        if (!version_expired(version, txn->wall_ms))
            set_add(&held.living, version_number(version));
    }
    return held;
}

static bool any_put_again(const struct oracle *o, const struct set *ops)
{
    for (size_t i = 1; i <= o->op_count; i++)
        if (set_has(ops, i) && o->ops[i].put_again)
            return true;
    return false;
}

/* A condition holds just where the living versions are those that it was made for. */
static void check_condition(struct world *w, struct host *host, const struct part *part,
                            const struct held *before, enum err err)
{
    bool same = set_beyond(&part->expects, &before->living) < 0 &&
                set_beyond(&before->living, &part->expects) < 0;
    if (!part->has_condition || (err != OK && err != ERR_UNMET) ||
        any_put_again(&w->oracle, &part->expects) || any_put_again(&w->oracle, &before->living))
        return;
    w->result.conditions++;
    w->result.unmet += err == ERR_UNMET;
    if ((err == OK) != same)
        world_fail(w, "n%d: the condition of op %zu %s, and %s", host->index, part->op,
                   same ? "holds" : "does not hold", err == OK ? "it was done" : "it was refused");
}

/* A write that was done, or was refused. */
static void check_write(struct world *w, struct host *host, const struct part *part,
                        const struct write_work *work, const struct held *before, const struct held *after,
                        enum err err)
{
    check_condition(w, host, part, before, err);
    bool twice = any_put_again(&w->oracle, &before->all); /* one operation may stand there under two dots */
    if (err == ERR_CONFLICT && set_count(&before->all) < w->versions_max && !twice)
        world_fail(w, "n%d refused op %zu for too many versions, and holds %zu", host->index, part->op,
                   set_count(&before->all));
    if (err != OK || !work->dot.counter)
        return;
    struct set removed = set_without(&before->all, &after->all);
    if (!part->remove && set_count(&after->all) > w->versions_max)
        world_fail(w, "n%d: op %zu made more versions than there may be", host->index, part->op);
    if (part->touch && !twice && (set_count(&removed) != 1 || set_common(&removed, &before->living) < 0))
        world_fail(w, "n%d: op %zu touched what is not there, or more than one version", host->index,
                   part->op);
    if (part->add && !set_empty(&removed))
        world_fail(w, "n%d: op %zu stands beside the others, and removed one", host->index, part->op);
}

static void note_removed(struct group_ops *ops, const struct part *part, const struct write_work *work,
                         const struct held *before, const struct held *after)
{
    if (!work->dot.counter)
        return;
    CHECK(ops->count < GROUP_OPS_MAX);
    ops->ops[ops->count] = part->op;
    ops->dots[ops->count] = work->dot;
    ops->removed[ops->count++] = set_without(&before->all, &after->all);
}

static enum err do_writes(struct world *w, struct host *host, struct store_txn *txn, struct store_work *work,
                          struct group_ops *ops)
{
    struct ask *ask = work->ctx;
    struct write_work *writes = work->kind == WORK_BATCH ? work->batch.writes : &work->write;
    struct held before[PARTS_MAX], after[PARTS_MAX];
    bool batch = work->kind == WORK_BATCH;
    for (size_t i = 0; i < ask->part_count; i++)
        before[i] = held_in(txn, writes[i].key);
    enum err err = store_do(txn, work);
    for (size_t i = 0; i < ask->part_count && err == OK; i++) {
        struct part *part = &ask->parts[i];
        after[i] = held_in(txn, writes[i].key);
        if (work->err == OK)
            note_removed(ops, part, &writes[i], &before[i], &after[i]);
        else if (set_beyond(&before[i].all, &after[i].all) >= 0 ||
                 set_beyond(&after[i].all, &before[i].all) >= 0)
            world_fail(w, "n%d refused op %zu, and did it", host->index, part->op);
        if (work->err == OK || !batch || i == work->batch.failed)
            check_write(w, host, part, &writes[i], &before[i], &after[i], work->err);
    }
    return err;
}

/* Only what is over goes. */
static enum err do_expire(struct world *w, struct host *host, struct store_txn *txn, struct store_work *work,
                          struct group_ops *ops)
{
    struct held before[ORACLE_KEYS];
    for (size_t i = 0; i < w->oracle.key_count; i++)
        before[i] = held_in(txn, key_bytes(i));
    enum err err = store_do(txn, work);
    for (size_t i = 0; i < w->oracle.key_count && err == OK && work->err == OK; i++) {
        struct held after = held_in(txn, key_bytes(i));
        struct set dropped = set_without(&before[i].all, &after.all);
        set_unite(&ops->dropped, &dropped);
    }
    for (size_t i = 1; i <= w->oracle.op_count; i++) {
        const struct op *op = &w->oracle.ops[i];
        if (set_has(&ops->dropped, i) && (!op->expires_ms || op->expires_ms > work->expire.before_ms))
            world_fail(w, "n%d dropped op %zu, whose time is not over", host->index, i);
    }
    return err;
}

static enum err do_work(struct world *w, struct host *host, struct store_txn *txn, struct store_work *work,
                        struct group_ops *ops)
{
    work->err = OK;
    switch (work->kind) {
    case WORK_WRITE:
    case WORK_BATCH:
        return do_writes(w, host, txn, work, ops);
    case WORK_EXPIRE:
        return do_expire(w, host, txn, work, ops);
    default:
        return store_do(txn, work);
    }
}

/* An operation may be in several: tried with others, and by itself. */
static void doubts_clear(struct world *w, struct host *host, const struct doubt *found)
{
    for (size_t i = 0; i < host->doubt_count; i++)
        for (size_t k = 0; k < host->doubts[i].count; k++)
            w->oracle.ops[host->doubts[i].ops[k]].state = OP_VOID;
    for (size_t k = 0; found && k < found->count; k++)
        w->oracle.ops[found->ops[k]].state = OP_DONE;
    for (size_t i = 0; i < host->doubt_count; i++)
        free(host->doubts[i].ops);
    host->doubt_count = 0;
}

static void take_over(struct world *w, struct host *host, const struct group_ops *ops, bool doubt)
{
    for (size_t i = 0; i < ops->count; i++)
        oracle_done(&w->oracle, ops->ops[i], &ops->dots[i], &ops->removed[i], doubt);
    for (size_t i = 1; i <= w->oracle.op_count && !set_empty(&ops->dropped); i++) {
        if (!set_has(&ops->dropped, i) || w->oracle.ops[i].dropped)
            continue;
        world_say(w, "n%d op %zu is over, and dropped", host->index, i);
        w->oracle.ops[i].dropped = true;
        w->result.dropped++;
    }
    if (!doubt)
        return;
    CHECK(host->doubt_count < GROUP_DOUBTS);
    struct doubt *d = &host->doubts[host->doubt_count++];
    d->ops = mem_copy(ops->ops, ops->count * sizeof *ops->ops);
    d->count = ops->count;
    w->result.doubts += (unsigned)ops->count;
}

/* The last one in doubt has no operations: one such is as good as many, and a node on a full disk
 * is told of rows all the time. */
static bool doubts_nothing(const struct host *host)
{
    return host->doubt_count && host->doubts[host->doubt_count - 1].count == 0;
}

static uint64_t frames_of(const struct host *host)
{
    struct log_engine_counters counters;
    log_engine_counters(host->log_engine, &counters);
    return counters.log.frames;
}

/* One transaction. Of one that failed in the commit it is not known whether a crash
 * would bring it back: until the next frame is written. (One that changes nothing writes none.) */
static enum err run(struct world *w, struct host *host, struct store_work *list, const struct store_work *end)
{
    struct group_ops *ops = mem_new(sizeof *ops);
    struct store_txn *txn;
    enum err err = store_begin(host->store, host_wall(w, host), &txn);
    if (err != OK)
        goto out;
    for (struct store_work *work = list; work != end && err == OK; work = work->next)
        err = do_work(w, host, txn, work, ops);
    if (err != OK) {
        store_undo(txn);
        goto out;
    }
    uint64_t frames = frames_of(host);
    err = store_commit(txn);
    if (err == OK && frames_of(host) != frames)
        doubts_clear(w, host, NULL);
    if (err == OK || ops->count)
        take_over(w, host, ops, err != OK);
    else if (host->doubt_count < GROUP_DOUBTS && !doubts_nothing(host))
        take_over(w, host, ops, true); /* a frame without operations may be found, too */
out:
    free(ops);
    return err;
}

static void answer_works(struct world *w, struct host *host, struct store_work *list)
{
    for (struct store_work *work = list, *next; work; work = next) {
        next = work->next;
        if (work->done) {
            client_written(w, host, work);
        } else {
            struct node_event event = {.kind = NODE_STORED, .ticket = work->ticket, .work = work};
            host_step(w, host, &event);
        }
        store_work_free(work);
    }
}

void works_drop(struct store_work *list)
{
    for (struct store_work *work = list, *next; work; work = next) {
        next = work->next;
        if (work->done)
            ask_free(work->ctx);
        store_work_free(work);
    }
}

static bool dies_of_it(struct world *w, struct host *host, struct store_work *list)
{
    if (!host_dead(w, host))
        return false;
    works_drop(list);
    fault_down_somehow(w, host, 300, fault_duration(w));
    return true;
}

/* As edge/committer.c: all that has queued in one transaction; where that fails, each on its own. */
void host_commit(struct world *w, struct host *host)
{
    struct store_work *list = host->works;
    size_t count = 0, records_sum = 0, bytes_sum = 0;
    host->commit_planned = false;
    struct store_work **cut = &list;
    for (struct store_work *work = list; work; work = work->next) {
        size_t records, bytes;
        store_work_cost(work, &records, &bytes);
        if (count && (records + records_sum > TXN_RECORDS_MAX || bytes + bytes_sum > TXN_BYTES_MAX ||
                      count >= GROUP_WORKS_MAX))
            break;
        records_sum += records;
        bytes_sum += bytes;
        count++;
        cut = &work->next;
    }
    host->works = *cut;
    *cut = NULL;
    if (!host->works)
        host->works_end = &host->works;
    else
        host->commit_planned = true,
        world_plan(w, 1 + world_pick(w, host->commit_ms_max), HAPPEN_COMMIT, host->index);

    bool resting = host->io_pause_until_ms > w->now_ms;
    enum err err = resting || host->doubt_count + 1 >= GROUP_DOUBTS ? ERR_IO : run(w, host, list, NULL);
    if (dies_of_it(w, host, list))
        return;
    if (err != OK) {
        for (struct store_work *work = list; work; work = work->next) {
            resting = host->io_pause_until_ms > w->now_ms;
            err = resting || host->doubt_count + 1 >= GROUP_DOUBTS ? ERR_IO : run(w, host, work, work->next);
            if (err != OK)
                work->err = err;
            if (err == ERR_IO && !resting)
                host->io_pause_until_ms = w->now_ms + IO_PAUSE_MS;
            if (dies_of_it(w, host, list))
                return;
        }
    }
    watch_host(w, host, false);
    unsigned life = host->life;
    answer_works(w, host, list);
    if (host->running && host->life == life)
        host_step(w, host, &(struct node_event){.kind = NODE_STORE_CHANGED});
    if (!host->apply_planned) {
        host->apply_planned = true;
        world_plan(w, 1 + world_pick(w, 200), HAPPEN_APPLY, host->index);
    }
}

/* As edge/applier.c: a chunk at a time; when nobody has written, what there is. */
void host_apply(struct world *w, struct host *host)
{
    host->apply_planned = false;
    if (world_chance(w, 300))
        log_engine_freeze(host->log_engine);
    enum err err = log_engine_apply(host->log_engine);
    if (err == ERR_NOT_FOUND && world_chance(w, 300))
        err = log_engine_prepare(host->log_engine);
    if (host_dead(w, host)) {
        fault_down_somehow(w, host, 300, fault_duration(w));
    } else if (err == OK) {
        host->apply_planned = true;
        world_plan(w, 1 + world_pick(w, 50), HAPPEN_APPLY, host->index);
    } else if (err != ERR_NOT_FOUND) {
        host->apply_planned = true;
        world_plan(w, APPLY_PAUSE_MS, HAPPEN_APPLY, host->index);
    }
}

void host_drain(struct world *w, struct host *host)
{
    enum { ROUNDS_MAX = 1000 };
    unsigned life = host->life;
    for (int i = 0; i < ROUNDS_MAX && host->running && host->life == life; i++) {
        if (host->works)
            host_commit(w, host);
        else if (log_engine_apply(host->log_engine) != OK && !log_engine_freeze(host->log_engine))
            break;
    }
    if (host->running && host->life == life && host_dead(w, host))
        fault_down(w, host, END_CRASH, fault_duration(w));
}

/* ---- commits in doubt ---------------------------------------------------------------------- */

/* Which of the commits in doubt is there, if any: all of its rows, and the values of
 * its last puts. */
static bool doubt_is_there(struct world *w, struct host *host, struct snapshot *snapshot,
                           const struct doubt *doubt)
{
    bool there = doubt->count > 0;
    for (size_t i = 0; i < doubt->count && there; i++) {
        const struct op *op = &w->oracle.ops[doubt->ops[i]];
        struct dot before = {op->dot.replica, op->dot.counter - 1};
        struct row_scan *scan;
        struct row row;
        if (row_scan_open(snapshot, &before, &scan) != OK)
            return false;
        there = row_scan_next(scan, &row) == OK && dot_compare(&row.dot, &op->dot) == 0 &&
                (row.kind == ROW_PUT) == op->put && bytes_equal(row.key, key_bytes(op->key));
        row_scan_close(scan);
        struct record record = {0};
        if (there && op->put && snapshot_record(snapshot, row.key, &record) == OK) {
            ptrdiff_t at = record_find(&record, &op->dot);
            there = at < 0 || version_number(&record.versions[at]) == doubt->ops[i];
        }
        record_done(&record);
    }
    (void)host;
    return there;
}

void doubts_resolve(struct world *w, struct host *host)
{
    struct snapshot *snapshot;
    const struct doubt *found = NULL;
    if (host->doubt_count == 0)
        return;
    CHECK(snapshot_open(host->store, &snapshot) == OK);
    for (size_t i = 0; i < host->doubt_count && !found; i++)
        if (doubt_is_there(w, host, snapshot, &host->doubts[i]))
            found = &host->doubts[i];
    snapshot_close(snapshot);
    for (size_t i = 0; found && i < found->count; i++)
        world_say(w, "n%d op %zu was in doubt and is there", host->index, found->ops[i]);
    doubts_clear(w, host, found);
}
