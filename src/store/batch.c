/* Several writes of a client, all or none.
 *
 * Two passes: in the first every write is judged, with nothing changed yet, so a
 * condition that does not hold costs nobody anything. As each is of another key, no
 * write changes what another one is judged by. What is found only while writing (a
 * record too large with its siblings) fails the whole transaction: it is undone,
 * and whoever shared it is tried again. */
#include "txn.h"

#include "check.h"

static struct count_work count_of(const struct write_work *write)
{
    return (struct count_work){
        .key = write->key, .add = write->number, .set = !write->remove, .remove = write->remove};
}

static enum err judge_one(struct store_txn *txn, struct write_work *write)
{
    struct count_work count = count_of(write);
    return write->counts ? count_judge(txn, &count) : write_judge(txn, write);
}

static enum err do_one(struct store_txn *txn, struct write_work *write)
{
    struct count_work count = count_of(write);
    if (!write->counts)
        return write_do(txn, write);
    enum err err = count_do(txn, &count);
    write->dot = count.dot;
    return err;
}

static enum err judge(struct store_txn *txn, struct batch_work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        enum err err = judge_one(txn, &work->writes[i]);
        if (err != OK) {
            work->failed = i;
            return err;
        }
        work->created += !work->writes[i].remove && work->writes[i].tag == 0;
    }
    return OK;
}

enum err batch_do(struct store_txn *txn, struct batch_work *work)
{
    work->failed = work->count;
    work->deleted = work->created = 0;
    work->last = (struct dot){.replica = *txn_own_id(txn)};
    enum err err = judge(txn, work);
    if (err != OK)
        return err;
    for (size_t i = 0; i < work->count; i++) {
        struct write_work *write = &work->writes[i];
        err = do_one(txn, write);
        if (err != OK) {
            work->failed = i;
            txn->failed = err;
            return err;
        }
        if (!write->dot.counter)
            continue;
        work->last = write->dot;
        work->deleted += write->remove;
    }
    return OK;
}
