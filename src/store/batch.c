/* Several writes of a client, all or none.
 *
 * Two passes: in the first every write is judged, with nothing changed yet, so a
 * condition that does not hold costs nobody anything. As each is of another key, no
 * write changes what another one is judged by. What is found only while writing (a
 * record too large with its siblings) fails the whole transaction: it is undone,
 * and whoever shared it is tried again. */
#include "txn.h"

#include "check.h"

static enum err judge(struct store_txn *txn, struct batch_work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        enum err err = write_judge(txn, &work->writes[i]);
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
        err = write_do(txn, write);
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
