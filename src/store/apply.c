/* What peers send as rows: each row's operation is applied by merging the record
 * that it is about, and the clock rises with it. */
#include "txn.h"

#include "weaken.h"

/* Operations of ours that we do not know: this store is an older state of
 * itself, and would give their dots out again. It needs a new id first. */
bool record_knows_more_of_us(const struct store_txn *txn, const struct record *record)
{
    const struct replica_id *own = txn_own_id(txn);
    uint64_t counter = clock_get(&txn->state.clock, own);
    if (clock_get(&record->context, own) > counter)
        return true;
    for (size_t i = 0; i < record->count; i++)
        if (replica_id_equal(&record->versions[i].dot.replica, own) &&
            record->versions[i].dot.counter > counter)
            return true;
    return false;
}

/* The stamp of each version that came with this merge. */
void adopt_stamps(struct store_txn *txn)
{
    for (size_t i = 0; i < txn->merged.count; i++) {
        const struct version *version = &txn->merged.versions[i];
        if (record_find(&txn->local, &version->dot) >= 0)
            continue;
        if (!stamp_adopt(&txn->state.stamp, txn->wall_ms, txn->store->skew_max_ms, version->stamp))
            txn->store->stamps_ahead++;
    }
}

void raise_own_known(struct store_txn *txn, uint64_t known)
{
    uint64_t counter = clock_get(&txn->state.clock, txn_own_id(txn));
    if (known > counter)
        known = counter;
    if (known > txn->state.own_known)
        txn->state.own_known = known;
}

/* What was merged may have been done by who had seen operations of ours: others have these, as
 * they stand here. */
void note_own_known(struct store_txn *txn, const struct clock *seen)
{
    raise_own_known(txn, clock_get(seen, txn_own_id(txn)));
}

enum err apply_record(struct store_txn *txn, struct bytes key, struct bytes encoded,
                      const struct clock *also_covers, const struct row *row)
{
    static const struct clock nothing;
    record_clear(&txn->remote);
    if (encoded.len) {
        enum err err = record_decode(key, encoded, &txn->remote);
        if (err != OK)
            return ERR_VERSION;
    }
    if (row && !clock_covers_dot(&txn->remote.context, &row->dot))
        return ERR_MALFORMED;
    if (record_knows_more_of_us(txn, &txn->remote))
        return ERR_REFUSED;
    enum err err = txn_load(txn, key);
    if (err != OK)
        return err;
    record_merge(&txn->local, WEAKENED(CLOCK) ? &nothing : &txn->state.clock, &txn->remote, also_covers,
                 &txn->merged);
    if (WEAKENED(FILL_STORED) && also_covers)
        clock_join(&txn->merged.context, also_covers);
    struct stamp_clock before = txn->state.stamp;
    adopt_stamps(txn);
    err = txn_store(txn, key, &txn->merged, row);
    if (err != OK) {
        txn->state.stamp = before;
        return err;
    }
    txn->store->records_merged += encoded.len > 0;
    note_own_known(txn, &txn->remote.context);
    return OK;
}

/* A row whose record came with an entry before: ours includes it by now. */
static enum err apply_row(struct store_txn *txn, const struct row *row)
{
    enum err err = txn_load(txn, row->key);
    if (err != OK)
        return err;
    return clock_covers_dot(&txn->local.context, &row->dot) ? txn_put_row(txn, row) : ERR_MALFORMED;
}

static enum err apply_entry(struct store_txn *txn, const struct work_entry *entry, bool new)
{
    if (!key_valid(entry->key) || !row_kind_valid(entry->kind) || entry->dot.counter == 0)
        return ERR_MALFORMED;
    struct row row = {.dot = entry->dot, .kind = entry->kind, .key = entry->key};
    if (entry->record.len)
        return apply_record(txn, entry->key, entry->record, NULL, new ? &row : NULL);
    return new ? apply_row(txn, &row) : OK;
}

static bool walking(const struct store_txn *txn)
{
    return txn->state.walk.phase != WALK_NONE;
}

/* One entry of a replica's rows. What cannot be read is put aside, and so what
 * depends on it waits for it: *held from then on. */
static enum err take_entry(struct store_txn *txn, const struct work_entry *entry, bool new, bool *held)
{
    enum err err = apply_entry(txn, entry, new);
    if (err == ERR_VERSION) {
        struct row row = {.dot = entry->dot, .kind = entry->kind, .key = entry->key};
        err = new ? quarantine_put(txn, &row, entry->record) : OK;
        *held = *held || new;
    } else if (err == ERR_MALFORMED && *held && txn->failed == OK && entry->record.len == 0) {
        err = OK; /* its record came with the entry that was put aside */
    }
    return err;
}

enum err apply_rows(struct store_txn *txn, struct rows_work *work)
{
    if (walking(txn))
        return ERR_WALKING;
    if (replica_id_equal(&work->origin, txn_own_id(txn)))
        return ERR_REFUSED;
    if (work->to < work->from)
        return ERR_MALFORMED;
    uint64_t have = clock_get(&txn->state.clock, &work->origin);
    enum err err = quarantine_holds(txn, &work->origin, &work->held);
    if (err != OK)
        return err;
    if (have < work->from && !work->held)
        return ERR_BEHIND;
    if (have >= work->to)
        return OK;
    if (have == 0 && txn->state.clock.count >= CLOCK_REPLICAS_MAX) {
        txn->store->replicas_refused++;
        return ERR_TOO_LARGE;
    }
    if (WEAKENED(EARLY))
        clock_set(&txn->state.clock, &work->origin, work->to);
    for (size_t i = 0; i < work->count; i++) {
        const struct work_entry *entry = &work->entries[i];
        if (!replica_id_equal(&entry->dot.replica, &work->origin) || i >= work->to - work->from ||
            entry->dot.counter != work->from + 1 + i)
            return ERR_MALFORMED;
        /* A row that we have may bring the record for one that we have not. */
        bool new = entry->dot.counter > have;
        if (entry->dot.counter == clock_get(&txn->state.clock, &work->origin) + 1)
            work->held = false; /* perhaps it can be read this time */
        err = take_entry(txn, entry, new, &work->held);
        if (err != OK)
            return err;
        if (new && !work->held)
            clock_raise(&txn->state.clock, &entry->dot);
    }
    if (work->count != work->to - work->from)
        return ERR_MALFORMED;
    return quarantine_sweep(txn, false);
}

/* Is a row of another key there that has more right to this dot? */
static enum err outranked(struct store_txn *txn, const struct work_entry *entry, bool *ret)
{
    struct row row = {.dot = entry->dot, .kind = entry->kind, .key = entry->key};
    struct record *record = &txn->remote;
    enum claim claim;
    *ret = false;
    if (!key_valid(row.key))
        return OK; /* is refused */
    record_clear(record);
    if (entry->record.len && record_decode(row.key, entry->record, record) != OK)
        return OK; /* is put aside */
    if (!entry->record.len) {
        if (txn_load(txn, row.key) != OK)
            return txn->failed;
        record = &txn->local;
    }
    enum err err = txn_claim_row(txn, &row, record_find(record, &row.dot) >= 0, &claim);
    *ret = claim == CLAIM_LOSES;
    return err;
}

enum err apply_ahead(struct store_txn *txn, const struct rows_work *work)
{
    if (walking(txn))
        return ERR_WALKING;
    bool held = false;
    for (size_t i = 0; i < work->count; i++) {
        const struct work_entry *entry = &work->entries[i];
        bool new = !clock_covers_dot(&txn->state.clock, &entry->dot), loses = false;
        enum err err = new ? outranked(txn, entry, &loses) : OK;
        if (err == OK)
            err = take_entry(txn, entry, new && !loses, &held);
        if (err != OK)
            return err;
    }
    return OK;
}
