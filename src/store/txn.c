/* Transactions: begin, one piece of work after the other, commit; and the ways
 * in which all work reads and writes records and rows. */
#include "txn.h"

#include "check.h"
#include "mem.h"
#include "weaken.h"

#include <stdlib.h>

/* ---- the engine, with its failures noted --------------------------------- */

static enum err noted(struct store_txn *txn, enum err err)
{
    if (err != OK && err != ERR_NOT_FOUND)
        txn->failed = err;
    return err;
}

enum err txn_get(struct store_txn *txn, enum table table, struct bytes key, struct bytes *ret)
{
    return noted(txn, txn->store->engine->ops->get(txn->engine_txn, table, key, ret));
}

enum err txn_put(struct store_txn *txn, enum table table, struct bytes key, struct bytes value)
{
    txn->bytes_written += key.len + value.len;
    return noted(txn, txn->store->engine->ops->put(txn->engine_txn, table, key, value));
}

enum err txn_del(struct store_txn *txn, enum table table, struct bytes key)
{
    return noted(txn, txn->store->engine->ops->del(txn->engine_txn, table, key));
}

enum err txn_del_rows(struct store_txn *txn, const struct dot *below)
{
    uint8_t key[ROW_KEY_SIZE];
    struct bytes end = row_key(below, key);
    return noted(txn, txn->store->engine->ops->del_below(txn->engine_txn, TABLE_ROWS,
                                                         bytes_of(key, REPLICA_ID_SIZE), end));
}

static enum err cursor_of_table(struct store_txn *txn, enum table table, struct engine_cursor **ret)
{
    CHECK(table == TABLE_RECORDS || table == TABLE_ROWS || table == TABLE_META);
    struct engine_cursor **cursor = table == TABLE_RECORDS ? &txn->records
                                    : table == TABLE_ROWS  ? &txn->rows
                                                           : &txn->meta;
    enum err err = OK;
    if (!*cursor)
        err = noted(txn, txn->store->engine->ops->cursor_open(txn->engine_txn, table, cursor));
    if (err == OK)
        *ret = *cursor;
    return err;
}

enum err txn_seek(struct store_txn *txn, enum table table, struct bytes from, struct bytes *ret_key,
                  struct bytes *ret_value)
{
    struct engine_cursor *cursor;
    enum err err = cursor_of_table(txn, table, &cursor);
    if (err != OK)
        return err;
    return noted(txn, txn->store->engine->ops->cursor_seek(cursor, from, ret_key, ret_value));
}

enum err txn_row_before(struct store_txn *txn, struct bytes below, struct bytes *ret_key,
                        struct bytes *ret_value)
{
    struct engine_cursor *cursor;
    enum err err = cursor_of_table(txn, TABLE_ROWS, &cursor);
    if (err != OK)
        return err;
    return noted(txn, txn->store->engine->ops->cursor_before(cursor, below, ret_key, ret_value));
}

/* ---- records and rows ------------------------------------------------------ */

enum err txn_load(struct store_txn *txn, struct bytes key)
{
    record_clear(&txn->local);
    txn->local_bytes = bytes_of(NULL, 0);
    struct bytes bytes;
    enum err err = txn_get(txn, TABLE_RECORDS, key, &bytes);
    if (err == ERR_NOT_FOUND)
        return OK;
    if (err != OK)
        return err;
    if (record_decode(key, bytes, &txn->local) != OK) {
        txn->store->records_damaged++;
        store_note_damage(txn->store, key, NULL);
        return ERR_DAMAGED;
    }
    txn->local_bytes = bytes;
    return OK;
}

enum err txn_put_row(struct store_txn *txn, const struct row *row)
{
    uint8_t key[ROW_KEY_SIZE], value[ROW_VALUE_MAX];
    return txn_put(txn, TABLE_ROWS, row_key(&row->dot, key), row_value(row->kind, row->key, value));
}

static enum err holds_version(struct store_txn *txn, struct bytes key, const struct dot *dot, bool *ret)
{
    struct record record = {0};
    struct bytes bytes;
    enum err err = txn_get(txn, TABLE_RECORDS, key, &bytes);
    *ret = err == OK && record_decode(key, bytes, &record) == OK && record_find(&record, dot) >= 0;
    record_done(&record);
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err txn_claim_row(struct store_txn *txn, const struct row *row, bool holds, enum claim *ret)
{
    uint8_t at[ROW_KEY_SIZE], room[KEY_MAX];
    struct bytes value;
    struct row old;
    bool old_holds;
    *ret = CLAIM_FREE;
    enum err err = txn_get(txn, TABLE_ROWS, row_key(&row->dot, at), &value);
    if (err != OK || row_decode(bytes_of(at, sizeof at), value, &old) != OK)
        return err == ERR_NOT_FOUND ? OK : err;
    *ret = CLAIM_SAME_KEY;
    if (bytes_equal(old.key, row->key))
        return OK;
    memcpy(room, old.key.data, old.key.len);
    old.key = bytes_of(room, old.key.len);
    err = holds_version(txn, old.key, &row->dot, &old_holds);
    bool wins = old_holds == holds ? bytes_compare(row->key, old.key) < 0 : holds;
    *ret = wins ? CLAIM_WINS : CLAIM_LOSES;
    return err;
}

/* An early row stands until its own replica's row comes, or another key's with more right. */
static enum err put_early_row(struct store_txn *txn, const struct row *row)
{
    enum claim claim;
    enum err err = txn_claim_row(txn, row, row->kind == ROW_PUT, &claim);
    return err == OK && (claim == CLAIM_FREE || claim == CLAIM_WINS) ? txn_put_row(txn, row) : err;
}

static enum err put_early_rows(struct store_txn *txn, struct bytes key, const struct record *record,
                               const struct dot *except)
{
    const struct state *state = &txn->state;
    enum err err = OK;
    for (size_t i = 0; i < record->context.count && err == OK; i++) {
        const struct dot *entry = &record->context.entries[i];
        if (clock_covers_dot(&state->clock, entry) || clock_covers_dot(&state->floor, entry) ||
            clock_get(&txn->local.context, &entry->replica) == entry->counter ||
            (except && dot_compare(except, entry) == 0))
            continue;
        enum row_kind kind = record_find(record, entry) >= 0 ? ROW_PUT : ROW_DELETE;
        err = put_early_row(txn, &(struct row){.dot = *entry, .kind = kind, .key = key});
    }
    return err;
}

/* For the property tests: the rows that a weaker rule would have replaced. */
static enum err replace_rows(struct store_txn *txn, const struct record *record)
{
    enum err err = OK;
    for (size_t i = 0; i < txn->local.context.count && err == OK; i++) {
        const struct dot *entry = &txn->local.context.entries[i];
        uint8_t key[ROW_KEY_SIZE];
        if (clock_get(&record->context, &entry->replica) != entry->counter)
            err = txn_del(txn, TABLE_ROWS, row_key(entry, key));
    }
    return err;
}

static void drop_context(const struct clock *floor, struct record *record)
{
    if (clock_covers(floor, &record->context))
        clock_clear(&record->context);
    for (size_t i = 0; WEAKENED(ENTRY) && i < record->context.count;) {
        if (clock_covers_dot(floor, &record->context.entries[i]))
            clock_set(&record->context, &record->context.entries[i].replica, 0);
        else
            i++;
    }
}

enum err txn_store(struct store_txn *txn, struct bytes key, struct record *record, const struct row *row)
{
    txn->records_touched++;
    drop_context(&txn->state.floor, record);
    buf_reset(&txn->scratch);
    bool gone = record_is_empty(record);
    if (!gone)
        record_encode(key, record, &txn->scratch);
    if (txn->scratch.err != OK)
        return txn->scratch.err;
    bool changed = !bytes_equal(buf_bytes(&txn->scratch), txn->local_bytes);

    enum err err = WEAKENED(ROWS) ? replace_rows(txn, record) : OK;
    if (err == OK)
        err = put_early_rows(txn, key, record, row ? &row->dot : NULL);
    if (err == OK && row)
        err = txn_put_row(txn, row);
    if (err == OK && changed)
        err = expire_index(txn, key, &txn->local, record);
    if (err == OK && changed)
        err = gone ? txn_del(txn, TABLE_RECORDS, key)
                   : txn_put(txn, TABLE_RECORDS, key, buf_bytes(&txn->scratch));
    if (err == OK && changed && !gone && !record->count && !row)
        err = rest_note(txn, key, &record->context); /* else the row leads to it */
    return err;
}

bool txn_is_full(const struct store_txn *txn, size_t records_before, size_t bytes_before)
{
    return txn->records_touched - records_before >= TXN_RECORDS_MAX ||
           txn->bytes_written - bytes_before >= TXN_BYTES_MAX;
}

/* ---- the transaction ------------------------------------------------------- */

enum err store_begin(struct store *store, uint64_t wall_ms, struct store_txn **ret)
{
    CHECK(!store->txn);
    struct engine_txn *engine_txn;
    enum err err = store->engine->ops->write_begin(store->engine, &engine_txn);
    if (err != OK)
        return err;
    struct store_txn *txn = mem_new(sizeof *txn);
    txn->store = store;
    txn->engine_txn = engine_txn;
    txn->wall_ms = wall_ms;
    buf_init(&txn->scratch, RECORD_BYTES_MAX);
    state_copy(&txn->state, &store->state);
    store->txn = txn;
    *ret = txn;
    return OK;
}

void store_move_on(struct store_txn *txn, uint64_t wall_ms)
{
    if (wall_ms > txn->wall_ms)
        txn->wall_ms = wall_ms;
}

/* The id and what was noted about the old one change together, or neither does. */
static enum err reidentify(struct store_txn *txn, const struct store_work *work)
{
    struct note note = {.remove = true};
    enum err err = reidentify_do(txn, &work->reidentify);
    if (err != OK || !work->reidentify.ends_note)
        return err;
    size_t len = strlen(work->reidentify.ends_note);
    CHECK(len < sizeof note.name);
    memcpy(note.name, work->reidentify.ends_note, len);
    err = notes_do(txn, &note, 1);
    if (err != OK && txn->failed == OK)
        txn->failed = err;
    return err;
}

static enum err dispatch(struct store_txn *txn, struct store_work *work)
{
    switch (work->kind) {
    case WORK_WRITE:
        return write_do(txn, &work->write);
    case WORK_BATCH:
        return batch_do(txn, &work->batch);
    case WORK_ROWS:
        return apply_rows(txn, &work->rows);
    case WORK_AHEAD:
        return apply_ahead(txn, &work->rows);
    case WORK_WALK_START:
        return walk_start(txn, &work->rows);
    case WORK_WALK_PIECE:
        return walk_piece(txn, &work->rows);
    case WORK_WALK_ROWS:
        return walk_rows(txn, &work->rows);
    case WORK_WALK_STOP:
        return walk_stop(txn, &work->rows);
    case WORK_PRUNE:
        return prune_do(txn, &work->prune.floor, &work->prune.more, &work->prune.sweeps);
    case WORK_NOTES:
        return notes_do(txn, work->notes.list, work->notes.count);
    case WORK_REIDENTIFY:
        return reidentify(txn, work);
    case WORK_EXPIRE:
        return expire_do(txn, work->expire.before_ms, &work->expire.more);
    case WORK_QUARANTINE:
        return quarantine_sweep(txn, true);
    case WORK_RETIRE:
        return retire_do(txn, &work->retire.id, &work->retire.view);
    case WORK_REPAIR:
        return repair_do(txn, &work->repair);
    case WORK_MEND:
        return mend_do(txn, &work->repair);
    case WORK_COUNT:
        return count_do(txn, &work->count);
    case WORK_START:
        identity_start(&txn->state.identity, &txn->state.clock, work->start.random);
        return OK;
    }
    CHECK(!"a kind of work");
    return ERR_MALFORMED;
}

static bool only_deletes(const struct batch_work *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (!batch->writes[i].remove)
            return false;
    return true;
}

static bool only_removes(const struct rows_work *rows)
{
    bool removes = rows->count > 0;
    for (size_t i = 0; i < rows->count && removes; i++)
        removes = rows->entries[i].kind == ROW_DELETE;
    for (size_t i = 0; i < rows->count && removes; i++) { /* the key may have been put since */
        struct record record = {0};
        const struct work_entry *entry = &rows->entries[i];
        if (entry->record.len)
            removes = record_decode(entry->key, entry->record, &record) == OK && record.count == 0;
        record_done(&record);
    }
    return removes;
}

/* A delete writes a row and a context before anything is given back. Notes are few and small:
 * what a peer has shown of itself is kept before its deletes are taken, and that an operator
 * lets go of somebody, so that history can go, is a note, too. */
static bool makes_room(const struct store_work *work)
{
    return (work->kind == WORK_WRITE && work->write.remove) ||
           (work->kind == WORK_BATCH && only_deletes(&work->batch)) ||
           (work->kind == WORK_COUNT && work->count.remove) ||
           (work->kind == WORK_ROWS && only_removes(&work->rows)) || work->kind == WORK_PRUNE ||
           work->kind == WORK_EXPIRE || work->kind == WORK_NOTES || work->kind == WORK_START;
}

enum err store_do(struct store_txn *txn, struct store_work *work)
{
    CHECK(txn->failed == OK);
    const struct engine_ops *ops = txn->store->engine->ops;
    if (ops->use_reserve)
        ops->use_reserve(txn->engine_txn, makes_room(work));
    work->err = dispatch(txn, work);
    CHECK(txn->failed == OK || work->err != OK);
    return txn->failed;
}

static void close_cursors(struct store_txn *txn)
{
    const struct engine_ops *ops = txn->store->engine->ops;
    if (txn->records)
        ops->cursor_close(txn->records);
    if (txn->rows)
        ops->cursor_close(txn->rows);
    if (txn->meta)
        ops->cursor_close(txn->meta);
    txn->records = txn->rows = txn->meta = NULL;
}

static void txn_free(struct store_txn *txn)
{
    txn->store->txn = NULL;
    state_done(&txn->state);
    buf_done(&txn->scratch);
    record_done(&txn->local);
    record_done(&txn->remote);
    record_done(&txn->merged);
    free(txn);
}

enum err store_commit(struct store_txn *txn)
{
    CHECK(txn->failed == OK);
    struct store *store = txn->store;
    close_cursors(txn);
    enum err err = state_save(store->engine, txn->engine_txn, &store->state, &txn->state);
    bool raises = !clock_equal(&store->state.floor, &txn->state.floor);
    if (raises)
        store->floor_epoch++;
    if (err != OK)
        store->engine->ops->end(txn->engine_txn);
    else
        err = store->engine->ops->commit(txn->engine_txn);
    if (raises)
        store->floor_epoch++;
    if (err == OK) {
        struct state before = store->state;
        store->state = txn->state;
        txn->state = before;
        store->quarantined = store->state.quarantined;
        store->quarantined_bytes = store->state.quarantined_bytes;
    }
    txn_free(txn);
    return err;
}

void store_undo(struct store_txn *txn)
{
    if (!txn)
        return;
    close_cursors(txn);
    txn->store->engine->ops->end(txn->engine_txn);
    txn_free(txn);
}

enum err store_run(struct store *store, uint64_t wall_ms, struct store_work *work)
{
    struct store_txn *txn;
    enum err err = store_begin(store, wall_ms, &txn);
    if (err != OK)
        return err;
    err = store_do(txn, work);
    if (err != OK) {
        store_undo(txn);
        return err;
    }
    err = store_commit(txn);
    return err == OK ? work->err : err;
}
