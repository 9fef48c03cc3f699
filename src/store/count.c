/* Adds to counters, and their deletes (crdt/counter.h): one operation with one dot, as a
 * write, but what it replaces and what it puts follows from the newest state. */
#include "txn.h"

#include "check.h"
#include "counter.h"
#include "mem.h"
#include "space.h"
#include "weaken.h"

#include <stdlib.h>

/* This start of this replica. */
static struct session session_of(const struct identity *identity)
{
    const struct starts *starts = &identity->starts;
    CHECK(starts->count > 0);
    struct session session = {.start = starts->total,
                              .random = (uint32_t)starts->entries[starts->count - 1].random};
    for (size_t i = 0; i < sizeof session.lineage; i++)
        session.lineage = session.lineage << 8 | identity->id.b[i];
    if (WEAKENED(SESSIONS))
        session.start = 1, session.random = 0;
    return session;
}

static enum err judge(struct store_txn *txn, const struct count_work *work)
{
    if (work->key.len == 0 || work->key.len > KEY_MAX || space_parse(work->key).space != SPACE_COUNTERS)
        return ERR_MALFORMED;
    enum err err = write_check_token(txn, work->key, work->token);
    if (err == OK)
        err = txn_load(txn, work->key);
    /* What a walk has not reached yet is not known to be absent. An add needs not know. */
    bool looks = work->set || (work->remove && txn->local.count == 0);
    if (err == OK && looks && walk_hides(&txn->state.walk, work->key))
        err = ERR_WALKING;
    return err == OK ? write_check_replica(txn) : err;
}

/* What stays is in txn->merged after. */
static void let_go(struct store_txn *txn, const bool *replaced)
{
    record_clear(&txn->merged);
    clock_copy(&txn->merged.context, &txn->local.context);
    for (size_t i = 0; i < txn->local.count; i++) {
        const struct version *version = &txn->local.versions[i];
        if (replaced[i])
            clock_raise(&txn->merged.context, &version->dot);
        else
            record_add(&txn->merged, version);
    }
}

static enum err store_change(struct store_txn *txn, const struct count_work *work, const struct dot *dot,
                             struct bytes value)
{
    struct stamp_clock stamps = txn->state.stamp;
    struct version version = {
        .dot = *dot,
        .stamp = stamp_next(&stamps, txn->wall_ms, txn->store->skew_max_ms, record_last_stamp(&txn->local)),
        .value = value};
    record_add(&txn->merged, &version);
    clock_raise(&txn->merged.context, dot);
    struct row row = {.dot = *dot, .kind = work->remove ? ROW_DELETE : ROW_PUT, .key = work->key};
    enum err err = txn_store(txn, work->key, &txn->merged, &row);
    if (err != OK)
        return err;
    clock_raise(&txn->state.clock, dot);
    txn->state.stamp = stamps;
    return OK;
}

/* What a change comes to, before it is carried out. */
struct counting {
    struct dot dot; /* counter 0: there is nothing to do */
    int64_t number;
    bool *replaced;   /* owned; of the versions in txn->local */
    struct buf value; /* owned */
};

static void counting_done(struct counting *c)
{
    free(c->replaced);
    buf_done(&c->value);
}

/* *ret is to be let go of, whatever came of it. */
static enum err plan(struct store_txn *txn, const struct count_work *work, struct counting *ret)
{
    *ret = (struct counting){0};
    buf_init(&ret->value, VALUE_MAX);
    enum err err = judge(txn, work);
    if (err != OK)
        return err;
    const struct replica_id *own = txn_own_id(txn);
    struct counter_change change = {.session = session_of(&txn->state.identity),
                                    .dot = {*own, clock_get(&txn->state.clock, own) + 1},
                                    .add = work->add,
                                    .remove = work->remove,
                                    .set = work->set};
    ret->dot = change.dot;
    ret->replaced = mem_new((txn->local.count + 1) * sizeof *ret->replaced);
    err = counter_change(&txn->local, &change, ret->replaced, &ret->value, &ret->number);
    if (err != ERR_NOT_FOUND)
        return err;
    ret->dot.counter = 0;
    ret->number = work->set ? work->add : 0;
    return OK;
}

enum err count_judge(struct store_txn *txn, const struct count_work *work)
{
    struct counting counting;
    enum err err = plan(txn, work, &counting);
    counting_done(&counting);
    return err;
}

enum err count_do(struct store_txn *txn, struct count_work *work)
{
    struct counting counting;
    enum err err = plan(txn, work, &counting);
    if (err == OK && counting.dot.counter) {
        let_go(txn, counting.replaced);
        err = store_change(txn, work, &counting.dot, buf_bytes(&counting.value));
    }
    if (err == OK) {
        work->dot = counting.dot;
        work->number = counting.number;
    }
    counting_done(&counting);
    return err;
}
