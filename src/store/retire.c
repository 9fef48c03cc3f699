/* Ending a dead replica id (sync/retire.c tells when).
 *
 * Its last operations nobody has whole: counters are missing, so that no clock can
 * pass them, and what was found of them early stays for ever. Once all who are
 * expected back hold the same of it, each raises the clock to the highest counter
 * that is known, and the floor with it: its rows have gaps, so that those who have
 * not done so can only be filled by a walk. */
#include "txn.h"

#include "crc.h"
#include "weaken.h"

/* One more row into the view; order matters. */
static void add(struct retire_view *view, const struct row *row)
{
    uint8_t counter[8];
    for (int i = 0; i < 8; i++)
        counter[i] = (uint8_t)(row->dot.counter >> (56 - 8 * i));
    uint32_t low = crc32c(crc32c((uint32_t)view->digest, bytes_of(counter, sizeof counter)), row->key);
    uint32_t high = crc32c(crc32c((uint32_t)(view->digest >> 32) ^ 0x9e3779b9u, row->key),
                           bytes_of(counter, sizeof counter));
    view->digest = (uint64_t)high << 32 | low;
    view->top = row->dot.counter;
}

bool retire_view_equal(const struct retire_view *a, const struct retire_view *b)
{
    return a->base == b->base && a->top == b->top && a->digest == b->digest;
}

enum err snapshot_retire_view(struct snapshot *snapshot, const struct replica_id *id, struct retire_view *ret)
{
    struct clock clock = {0};
    struct row_scan *scan;
    struct row row;
    enum err err = snapshot_clock(snapshot, &clock, NULL);
    struct retire_view view = {.base = clock_get(&clock, id)};
    clock_done(&clock);
    view.top = view.base;
    if (err == OK)
        err = row_scan_open(snapshot, &(struct dot){*id, view.base}, &scan);
    if (err != OK)
        return err;
    while ((err = row_scan_next(scan, &row)) == OK && replica_id_equal(&row.dot.replica, id))
        add(&view, &row);
    row_scan_close(scan);
    if (err != OK && err != ERR_NOT_FOUND)
        return err;
    *ret = view;
    return OK;
}

enum err snapshot_early(struct snapshot *snapshot, const struct replica_id *id, uint64_t *ret_counters,
                        size_t max, size_t *ret_count)
{
    struct clock clock = {0};
    struct row_scan *scan;
    struct row row;
    size_t count = 0;
    enum err err = snapshot_clock(snapshot, &clock, NULL);
    if (err == OK)
        err = row_scan_open(snapshot, &(struct dot){*id, clock_get(&clock, id)}, &scan);
    clock_done(&clock);
    if (err != OK)
        return err;
    while (count < max && (err = row_scan_next(scan, &row)) == OK && replica_id_equal(&row.dot.replica, id))
        ret_counters[count++] = row.dot.counter;
    row_scan_close(scan);
    *ret_count = count;
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum err view_now(struct store_txn *txn, const struct replica_id *id, struct retire_view *ret)
{
    struct retire_view view = {.base = clock_get(&txn->state.clock, id)};
    struct dot from = {.replica = *id, .counter = view.base};
    view.top = view.base;
    while (dot_after(&from)) {
        uint8_t at[ROW_KEY_SIZE];
        struct bytes key, value;
        struct row row;
        enum err err = txn_seek(txn, TABLE_ROWS, row_key(&from, at), &key, &value);
        if (err == OK)
            err = row_decode(key, value, &row);
        if (err == ERR_NOT_FOUND || (err == OK && !replica_id_equal(&row.dot.replica, id)))
            break;
        if (err != OK)
            return err;
        add(&view, &row);
        from = row.dot;
    }
    *ret = view;
    return OK;
}

/* ---- rows found early that cannot be read ------------------------------------------- */

static enum err drop_unread_rows(struct store_txn *txn, const struct replica_id *id, uint64_t base)
{
    struct dot from = {*id, base};
    while (dot_after(&from)) {
        uint8_t at[ROW_KEY_SIZE];
        struct bytes key, value;
        struct row row;
        enum err err = txn_seek(txn, TABLE_ROWS, row_key(&from, at), &key, &value);
        if (err == OK)
            err = row_key_decode(key, &from);
        if (err == ERR_NOT_FOUND || (err == OK && !replica_id_equal(&from.replica, id)))
            return OK;
        if (err == OK && row_decode(key, value, &row) != OK)
            err = txn_del(txn, TABLE_ROWS, row_key(&from, at));
        if (err != OK)
            return err;
    }
    return OK;
}

/* The last operation of the id on a key stands in its context. */
static enum err put_row_of(struct store_txn *txn, const struct replica_id *id, uint64_t base,
                           struct bytes key)
{
    uint8_t at[ROW_KEY_SIZE];
    struct bytes old;
    enum err err = txn_load(txn, key);
    if (err != OK)
        return txn->failed; /* a damaged one is noted, and is repaired */
    struct dot dot = {*id, clock_get(&txn->local.context, id)};
    if (dot.counter <= base)
        return OK;
    err = txn_get(txn, TABLE_ROWS, row_key(&dot, at), &old);
    if (err != ERR_NOT_FOUND)
        return err;
    enum row_kind kind = record_find(&txn->local, &dot) >= 0 ? ROW_PUT : ROW_DELETE;
    return txn_put_row(txn, &(struct row){.dot = dot, .kind = kind, .key = key});
}

/* Such rows are made again from the records; what they alone could tell is of operations
 * that a later one of the id on the same key has taken the place of. */
static enum err mend_early_rows(struct store_txn *txn, const struct replica_id *id)
{
    uint64_t base = clock_get(&txn->state.clock, id);
    uint8_t room[KEY_MAX + 1] = {0};
    size_t len = 0;
    enum err err = drop_unread_rows(txn, id, base);
    while (err == OK) {
        struct bytes key, value;
        err = txn_seek(txn, TABLE_RECORDS, bytes_of(room, len), &key, &value);
        if (err == OK && !key_valid(key))
            err = ERR_DAMAGED;
        if (err != OK)
            break;
        memcpy(room, key.data, len = key.len);
        err = put_row_of(txn, id, base, bytes_of(room, len));
        room[len++] = 0; /* the first key above */
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err retire_do(struct store_txn *txn, const struct replica_id *id, const struct retire_view *agreed)
{
    struct retire_view view;
    if (replica_id_equal(id, txn_own_id(txn)))
        return ERR_REFUSED;
    if (txn->state.walk.phase != WALK_NONE)
        return ERR_WALKING;
    enum err err = view_now(txn, id, &view);
    if (err == ERR_DAMAGED && txn->failed == OK) {
        err = mend_early_rows(txn, id);
        return err == OK ? ERR_CONFLICT : err; /* it is another view now */
    }
    if (err != OK)
        return err;
    if (!retire_view_equal(&view, agreed) && !WEAKENED(RETIRE_ANY))
        return ERR_CONFLICT; /* something of it came meanwhile */
    if (agreed->base == 0 && agreed->top && txn->state.clock.count >= CLOCK_REPLICAS_MAX)
        return ERR_TOO_LARGE;
    if (agreed->top > agreed->base) {
        clock_set(&txn->state.clock, id, agreed->top);
        if (!WEAKENED(RETIRE_FLOOR))
            clock_set(&txn->state.floor, id, agreed->top);
    }
    return quarantine_sweep(txn, false);
}
