/* The quarantine: records of peers that cannot be read here, kept as they came.
 *
 * A record of a later format, or one whose bytes were bad before its sender put
 * them into a frame, cannot be merged; and what cannot be merged must neither be
 * skipped (the clock would claim it) nor be lost with the peer that sent it. So it
 * is kept under its row's dot, and the clock of its replica stands below that dot
 * until the record has been applied: by a later program, or because a peer sent one
 * under the same dot that can be read. Rows behind it are taken meanwhile as those
 * found early are: merged, without raising the clock. */
#include "txn.h"

#include "check.h"

enum { QUARANTINE_KEY_SIZE = sizeof META_QUARANTINE_PREFIX - 1 + ROW_KEY_SIZE };

static struct bytes entry_key(const struct dot *dot, uint8_t out[QUARANTINE_KEY_SIZE])
{
    size_t n = sizeof META_QUARANTINE_PREFIX - 1;
    memcpy(out, META_QUARANTINE_PREFIX, n);
    (void)row_key(dot, out + n);
    return bytes_of(out, QUARANTINE_KEY_SIZE);
}

static enum err decode(struct bytes entry, struct bytes value, struct row *ret, struct bytes *ret_record)
{
    struct bytes prefix = bytes_str(META_QUARANTINE_PREFIX);
    if (!bytes_starts_with(entry, prefix))
        return ERR_NOT_FOUND;
    struct row row;
    enum err err = row_key_decode(bytes_of(entry.data + prefix.len, entry.len - prefix.len), &row.dot);
    if (err != OK)
        return err;
    struct cursor in = cursor_of(value);
    row.kind = (enum row_kind)cursor_u8(&in);
    row.key = cursor_blob(&in);
    struct bytes record = cursor_bytes(&in, cursor_left(&in));
    if (in.err != OK || !row_kind_valid(row.kind) || !key_valid(row.key))
        return ERR_DAMAGED;
    *ret = row;
    *ret_record = record;
    return OK;
}

/* Every entry. */
static enum err each_entry(struct engine *engine, struct engine_txn *txn,
                           void (*each)(void *ctx, struct bytes entry, struct bytes value), void *ctx)
{
    struct engine_cursor *cursor;
    struct bytes key, value, prefix = bytes_str(META_QUARANTINE_PREFIX);
    enum err err = engine->ops->cursor_open(txn, TABLE_META, &cursor);
    if (err != OK)
        return err;
    err = engine->ops->cursor_seek(cursor, prefix, &key, &value);
    for (; err == OK && bytes_starts_with(key, prefix); err = engine->ops->cursor_next(cursor, &key, &value))
        each(ctx, key, value);
    engine->ops->cursor_close(cursor);
    return err == ERR_NOT_FOUND ? OK : err;
}

struct totals {
    uint64_t count, bytes;
};

static void add_up(void *ctx, struct bytes entry, struct bytes value)
{
    struct totals *totals = ctx;
    totals->count++;
    totals->bytes += entry.len + value.len;
}

enum err quarantine_count(struct engine *engine, struct engine_txn *txn, uint64_t *ret_count,
                          uint64_t *ret_bytes)
{
    struct totals totals = {0};
    enum err err = each_entry(engine, txn, add_up, &totals);
    if (err == OK) {
        *ret_count = totals.count;
        *ret_bytes = totals.bytes;
    }
    return err;
}

enum err quarantine_put(struct store_txn *txn, const struct row *row, struct bytes record)
{
    uint8_t room[QUARANTINE_KEY_SIZE];
    struct bytes entry = entry_key(&row->dot, room), old;
    enum err err = txn_get(txn, TABLE_META, entry, &old);
    if (err == OK) /* as it came first: whatever comes under this dot now is no better */
        return OK;
    if (err != ERR_NOT_FOUND)
        return err;
    buf_reset(&txn->scratch);
    buf_put_u8(&txn->scratch, (uint8_t)row->kind);
    buf_put_blob(&txn->scratch, row->key);
    buf_put_bytes(&txn->scratch, record);
    if (txn->scratch.err != OK)
        return txn->scratch.err;
    uint64_t bytes = entry.len + txn->scratch.len;
    if (bytes > txn->store->quarantine_max - txn->state.quarantined_bytes ||
        txn->state.quarantined_bytes > txn->store->quarantine_max)
        return ERR_VERSION;
    err = txn_put(txn, TABLE_META, entry, buf_bytes(&txn->scratch));
    if (err == OK) {
        txn->state.quarantined++;
        txn->state.quarantined_bytes += bytes;
        txn->store->records_quarantined++;
    }
    return err;
}

enum err quarantine_holds(struct store_txn *txn, const struct replica_id *origin, bool *ret)
{
    struct dot next = {.replica = *origin, .counter = clock_get(&txn->state.clock, origin) + 1};
    uint8_t room[QUARANTINE_KEY_SIZE];
    struct bytes value;
    *ret = false;
    if (!txn->state.quarantined)
        return OK;
    enum err err = txn_get(txn, TABLE_META, entry_key(&next, room), &value);
    *ret = err == OK;
    return err == ERR_NOT_FOUND ? OK : err;
}

/* Applied: as the next row of its replica, or as one found early. */
static enum err apply(struct store_txn *txn, const struct row *row, struct bytes record)
{
    uint64_t have = clock_get(&txn->state.clock, &row->dot.replica);
    enum err err = apply_record(txn, row->key, record, NULL, row);
    if (err == OK && row->dot.counter == have + 1)
        clock_raise(&txn->state.clock, &row->dot);
    return err;
}

enum err quarantine_sweep(struct store_txn *txn, bool try_again)
{
    struct dot from = {0};
    while (txn->state.quarantined) {
        uint8_t room[QUARANTINE_KEY_SIZE], key[KEY_MAX];
        struct bytes entry, value, record;
        struct row row;
        enum err err = txn_seek(txn, TABLE_META, entry_key(&from, room), &entry, &value);
        if (err == OK)
            err = decode(entry, value, &row, &record);
        if (err != OK)
            return err == ERR_NOT_FOUND ? OK : err;
        uint64_t bytes = entry.len + value.len;
        bool done = clock_covers_dot(&txn->state.clock, &row.dot);
        (void)entry_key(&row.dot, room);
        if (!done && try_again && txn->state.walk.phase == WALK_NONE) {
            memcpy(key, row.key.data, row.key.len);
            row.key = bytes_of(key, row.key.len);
            err = record_decode(row.key, record, &txn->remote);
            if (err == OK) { /* what the engine lends is gone with the first write */
                struct buf copy;
                buf_init(&copy, record.len);
                buf_put_bytes(&copy, record);
                err = copy.err == OK ? apply(txn, &row, buf_bytes(&copy)) : copy.err;
                buf_done(&copy);
                done = err == OK;
            }
            if (txn->failed != OK)
                return txn->failed;
        }
        if (done) {
            err = txn_del(txn, TABLE_META, bytes_of(room, sizeof room));
            if (err != OK)
                return err;
            txn->state.quarantined--;
            txn->state.quarantined_bytes -= bytes;
        }
        from = row.dot;
        if (!dot_after(&from))
            return OK;
    }
    return OK;
}

struct teller {
    void (*each)(void *ctx, const struct dot *dot);
    void *ctx;
};

static void tell_dot(void *ctx, struct bytes entry, struct bytes value)
{
    const struct teller *teller = ctx;
    struct row row;
    struct bytes record;
    if (decode(entry, value, &row, &record) == OK)
        teller->each(teller->ctx, &row.dot);
}

enum err snapshot_quarantine_of(struct engine *engine, struct engine_txn *txn,
                                void (*each)(void *ctx, const struct dot *dot), void *ctx)
{
    return each_entry(engine, txn, tell_dot, &(struct teller){each, ctx});
}
