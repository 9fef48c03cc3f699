/* Pruning: rows go from the old end, by range, and the floor rises as far as they
 * went, never above the clock. Each row that goes is a chance to let go of its key: a
 * record without versions whose whole context lies at or below the floor tells
 * nothing that the floor does not, and is deleted. (A record with versions drops
 * its context when it is next written.)
 *
 * Each context entry above the floor has its row, so the last of them to go
 * finds the record; where a row cannot tell of it, a sweep does (sweep.c), and where
 * an entry has none, a note (rest.c). */
#include "txn.h"

#include "check.h"

/* A row whose record does not include its operation names a wrong key. (What a walk left
 * below the floor may have lost its context.) */
static bool misleads(const struct store_txn *txn, const struct dot *dot, bool was_dead)
{
    return !was_dead && !clock_covers_dot(&txn->local.context, dot);
}

/* The row itself goes with its range, later. */
static enum err leave_row(struct store_txn *txn, const struct dot *dot, struct bytes lent_key,
                          struct bytes lent_value)
{
    uint8_t room[KEY_MAX];
    struct row row;
    bool was_dead = clock_covers_dot(&txn->state.floor, dot);
    enum err err = row_decode(lent_key, lent_value, &row);
    txn->store->rows_pruned++;
    clock_raise(&txn->state.floor, dot);
    if (err != OK) {
        txn->store->records_damaged++; /* a row that tells nothing can only go */
        return sweep_begin(txn);
    }
    memcpy(room, row.key.data, row.key.len);
    err = sweep_let_go(txn, bytes_of(room, row.key.len));
    if (err == ERR_DAMAGED && txn->failed == OK)
        return OK; /* left as it is, and counted; what takes its place is looked at then */
    return err == OK && misleads(txn, dot, was_dead) ? sweep_begin(txn) : err;
}

/* Is there an operation between the floor and this counter? Above it each has its row. */
static bool is_gap(const struct store_txn *txn, const struct dot *below)
{
    return clock_get(&txn->state.floor, &below->replica) + 1 < below->counter;
}

/* No row is left up to there. */
static enum err leave_rest(struct store_txn *txn, const struct dot *to)
{
    bool gap = is_gap(txn, &(struct dot){to->replica, to->counter + 1});
    clock_raise(&txn->state.floor, to);
    return gap ? sweep_begin(txn) : OK;
}

/* Rows of `first`'s replica from it on, up to `to`, as many as *left counts down;
 * first ends above the last of them. */
static enum err leave_rows(struct store_txn *txn, struct dot *first, const struct dot *to, size_t *left,
                           bool *ret_more)
{
    for (;;) {
        struct dot dot;
        uint8_t from[ROW_KEY_SIZE];
        struct bytes key, value;
        enum err err = txn_seek(txn, TABLE_ROWS, row_key(first, from), &key, &value);
        if (err != OK && err != ERR_NOT_FOUND)
            return err;
        if (err == OK && row_key_decode(key, &dot) != OK)
            return ERR_DAMAGED;
        if (err == ERR_NOT_FOUND || !replica_id_equal(&dot.replica, &to->replica) ||
            dot.counter > to->counter)
            return leave_rest(txn, to);
        if (*left == 0) {
            *ret_more = true;
            return OK;
        }
        (*left)--;
        bool gap = is_gap(txn, &dot);
        err = leave_row(txn, &dot, key, value);
        if (err == OK && gap)
            err = sweep_begin(txn);
        if (err != OK)
            return err;
        first->counter = dot.counter + 1; /* a clock's counter is below the highest there is */
    }
}

/* All rows of one replica up to `to`; *left counts down. */
static enum err prune_replica(struct store_txn *txn, const struct dot *to, size_t *left, bool *ret_more)
{
    struct dot first = {.replica = to->replica};
    enum err err = leave_rows(txn, &first, to, left, ret_more);
    if (first.counter == 0 || txn->failed != OK)
        return err;
    enum err gone = txn_del_rows(txn, &first);
    return err == OK ? gone : err;
}

enum err prune_do(struct store_txn *txn, const struct clock *target, bool *ret_more, bool *ret_sweeps)
{
    const struct state *state = &txn->state;
    size_t left = PRUNE_ROWS_MAX;
    bool more = false;
    enum err err = OK;
    for (size_t i = 0; i < state->clock.count && err == OK && !more; i++) {
        struct dot to = state->clock.entries[i];
        uint64_t wanted = clock_get(target, &to.replica), floor = clock_get(&state->floor, &to.replica);
        /* At or below the floor rows are dead: what a walk's end left of them goes too. */
        if (wanted < floor)
            wanted = floor;
        if (to.counter > wanted)
            to.counter = wanted;
        if (to.counter)
            err = prune_replica(txn, &to, &left, &more);
    }
    if (err == OK && !more)
        err = rest_do(txn, &left, &more);
    if (err == OK)
        *ret_more = more;
    return err == OK && !more ? sweep_do(txn, left, ret_sweeps) : err;
}
