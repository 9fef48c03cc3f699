/* The sweep: through all records, in small pieces, for those that tell nothing any more.
 *
 * Pruning finds a record to let go of by the rows that go. A row that cannot be read, or
 * that names a key which never had its operation, leads nowhere: the record that it
 * should have led to may be one without versions, of a deleted key, and nobody would ever
 * look at it again. So such a row leaves a note, durable with the floor that rose over it,
 * and while the note is there each pruning looks at the next records in key order. The
 * note says how far it came; a further row of that sort begins anew. */
#include "txn.h"

/* Enough for a record without versions, of as many replicas as there may be: one that is
 * longer has some, and is not read. */
enum { EMPTY_RECORD_MAX = 64 << 10 };

enum err sweep_begin(struct store_txn *txn)
{
    return txn_put(txn, TABLE_META, bytes_str(META_SWEEP), bytes_of("", 1));
}

enum err sweep_let_go(struct store_txn *txn, struct bytes key)
{
    enum err err = txn_load(txn, key);
    if (err != OK || record_is_empty(&txn->local) || txn->local.count)
        return err;
    return clock_covers(&txn->state.floor, &txn->local.context) ? txn_del(txn, TABLE_RECORDS, key)
                                                                : rest_note(txn, key, &txn->local.context);
}

/* Where it goes on: at a key, or just behind one. */
struct place {
    uint8_t at[KEY_MAX + 1];
    size_t len;
};

static enum err load_place(struct store_txn *txn, struct place *ret)
{
    struct bytes value;
    enum err err = txn_get(txn, TABLE_META, bytes_str(META_SWEEP), &value);
    if (err == OK && value.len <= sizeof ret->at)
        memcpy(ret->at, value.data, ret->len = value.len);
    return err;
}

/* False: no key of ours. */
static bool go_behind(struct place *place, struct bytes key)
{
    if (key.len > KEY_MAX)
        return false;
    memcpy(place->at, key.data, key.len);
    place->at[key.len] = 0; /* no key has one, so that the next is not below this */
    place->len = key.len + 1;
    return true;
}

enum err sweep_do(struct store_txn *txn, size_t left, bool *ret_more)
{
    struct place place = {.len = 0};
    enum err err = load_place(txn, &place);
    if (err == ERR_NOT_FOUND) {
        *ret_more = false;
        return OK;
    }
    for (; err == OK && left; left--) {
        struct bytes key, value;
        err = txn_seek(txn, TABLE_RECORDS, bytes_of(place.at, place.len), &key, &value);
        if (err == OK && !go_behind(&place, key))
            err = ERR_NOT_FOUND;
        if (err == OK && value.len <= EMPTY_RECORD_MAX)
            err = sweep_let_go(txn, bytes_of(place.at, place.len - 1));
        if (err == ERR_DAMAGED && txn->failed == OK)
            err = OK; /* counted; what takes its place is looked at then */
    }
    *ret_more = err == OK;
    if (err == OK)
        return txn_put(txn, TABLE_META, bytes_str(META_SWEEP), bytes_of(place.at, place.len));
    return err == ERR_NOT_FOUND ? txn_del(txn, TABLE_META, bytes_str(META_SWEEP)) : err;
}
