/* A record that cannot be read is put back from a peer's, and two records that
 * should be equal and are not are made so. Both rest on what the clocks claim;
 * docs/STORAGE.md ("Damage") has the argument at length.
 *
 * Repair. Of the damaged record nothing is known but what our clock C and floor F
 * say: all operations on the key up to C are in it, those above F have a row. So a
 * peer's record R, of a snapshot with clock P and floor G, takes its place when
 *
 *   1. P >= F, and none of our rows in (P, C] is of this key, but for operations
 *      that R's context includes: then R has all that our clock claims of the key.
 *      (In a walk P must also cover the clocks of the pieces so far.)
 *      And C >= G, unless nobody else is left to be asked: what P has forgotten and our clock does
 *      not claim is in R all the same, and neither context nor clock would tell. (In a walk the end tells.)
 *   2. Our floor rises to G, as far as our clock goes: what R's context no longer
 *      tells lies at or below G, so that nobody is sent a delta from here who might
 *      still hold what went there. (In a walk G joins `high`, as a piece's does.)
 *   3. Rows above our clock whose operations R does not include go: they were found
 *      early, in the record that is lost, and come again.
 *
 * Where rows in (P, C] say that the peer lacks operations on the key, others are
 * asked. When nobody who is expected back claims one of them (`others`, and then
 * `settle`), they are lost with our record: they stay in the context, so that
 * nothing waits for them for ever, a put of them without its value, and a delete
 * as one of all that our clock had seen of R, as a delete must not be undone.
 * Where nobody knows whether they were of this key at all (their rows are pruned here, or
 * cannot be read), our floor stands above them, or rises to them: all others are filled
 * by a walk then, which makes them what R makes us. So P need then only cover as much of
 * F as anybody claims.
 *
 * Mending. Two nodes with the same clock C have applied the same operations; if
 * their records of a key differ, one of them is wrong, and clocks cannot tell which.
 * So only the contexts count: a version goes where the other side's context has seen
 * it, and stays otherwise. The rule is the same on both sides, and gives the same. */
#include "txn.h"

#include "check.h"
#include "weaken.h"

/* What is ours to know lies in few rows: a peer that lacks more will be asked again
 * when it lacks less. */
enum {
    REPAIR_ROWS_MAX = 10000,
    REPAIR_SETTLE_ROWS_MAX = 1000000, /* where nobody will ever lack less: some seconds, once */
};

static struct bytes key_of(const struct repair_work *work)
{
    return bytes_of(work->key, work->key_len);
}

/* Is it really damaged, now? A record that decodes is, where a row says that it
 * should include an operation and it does not. */
static enum err is_damaged(struct store_txn *txn, const struct repair_work *work, bool *ret)
{
    uint8_t at[ROW_KEY_SIZE];
    struct bytes value;
    struct row row;
    enum err err = txn_load(txn, key_of(work));
    if (err != OK) {
        *ret = true;
        return err == ERR_DAMAGED && txn->failed == OK ? OK : err;
    }
    *ret = false;
    if (work->proof.counter == 0 || clock_covers_dot(&txn->local.context, &work->proof) ||
        clock_covers_dot(&txn->state.floor, &work->proof))
        return OK;
    err = txn_get(txn, TABLE_ROWS, row_key(&work->proof, at), &value);
    if (err == OK && row_decode(bytes_of(at, sizeof at), value, &row) == OK)
        *ret = bytes_equal(row.key, key_of(work));
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum err check_source(const struct store_txn *txn, const struct repair_work *work)
{
    const struct replica_id *own = txn_own_id(txn);
    const struct state *state = &txn->state;
    if (clock_get(&work->source_clock, own) > clock_get(&state->clock, own))
        return ERR_REFUSED;
    if (!clock_covers(&work->source_clock, &work->source_floor))
        return ERR_MALFORMED;
    bool walking = state->walk.phase != WALK_NONE;
    if (walking && !clock_covers(&work->source_clock, &state->walk.last))
        return ERR_BEHIND;
    if (!walking && !work->settle && !clock_covers(&state->clock, &work->source_floor))
        return ERR_BEHIND;
    struct clock needed = {0};
    clock_copy(&needed, &state->floor);
    if (work->settle)
        clock_meet(&needed, &work->others);
    bool covers = clock_covers(&work->source_clock, &needed);
    clock_done(&needed);
    return covers ? OK : ERR_BEHIND;
}

static enum err decode_remote(struct store_txn *txn, const struct repair_work *work)
{
    record_clear(&txn->remote);
    if (work->record.len && record_decode(key_of(work), buf_bytes(&work->record), &txn->remote) != OK)
        return ERR_MALFORMED;
    return record_knows_more_of_us(txn, &txn->remote) ? ERR_REFUSED : OK;
}

/* ---- what the peer lacks ------------------------------------------------------------- */

/* Operations on the key that our clock claims, the peer's record does not include, and
 * nobody else claims. */
struct lacking {
    struct clock last;     /* of each replica */
    struct clock given_up; /* up to here rows tell nothing, nor does anybody else */
    bool deletes;          /* one replica's last of them is a delete */
    size_t count, rows_left;
};

static void lacking_done(struct lacking *lacking)
{
    clock_done(&lacking->last);
    clock_done(&lacking->given_up);
}

/* Of which key the operations up to this one were is not known, until the floor has passed
 * them: where nobody claims them, it passes them now. */
static enum err give_up_rows(const struct repair_work *work, const struct dot *dot, struct lacking *lacking)
{
    if (!work->settle || clock_covers_dot(&work->others, dot))
        return ERR_BEHIND;
    clock_raise(&lacking->given_up, dot);
    lacking->count++; /* at least: if it was of this key */
    return OK;
}

static enum err look_at_origin(struct store_txn *txn, const struct repair_work *work, const struct dot *to,
                               uint64_t from, struct lacking *lacking)
{
    struct bytes key = key_of(work);
    bool deletes = false;
    for (struct dot dot = {to->replica, from + 1}; dot.counter <= to->counter; dot.counter++) {
        uint8_t at[ROW_KEY_SIZE];
        struct bytes value;
        struct row row;
        if (lacking->rows_left == 0)
            return give_up_rows(work, to, lacking);
        lacking->rows_left--;
        enum err err = txn_get(txn, TABLE_ROWS, row_key(&dot, at), &value);
        if (err != OK && err != ERR_NOT_FOUND)
            return err;
        if (err == ERR_NOT_FOUND || row_decode(bytes_of(at, sizeof at), value, &row) != OK) {
            if (give_up_rows(work, &dot, lacking) != OK)
                return ERR_BEHIND;
            continue;
        }
        if (!bytes_equal(row.key, key) || clock_covers_dot(&txn->remote.context, &dot))
            continue;
        if (!work->settle || clock_covers_dot(&work->others, &dot))
            return ERR_BEHIND; /* somebody else has it, perhaps */
        clock_set(&lacking->last, &dot.replica, dot.counter);
        deletes = row.kind == ROW_DELETE;
        lacking->count++;
    }
    lacking->deletes |= deletes;
    return OK;
}

static enum err look_for_lacking(struct store_txn *txn, const struct repair_work *work,
                                 struct lacking *lacking)
{
    const struct clock *clock = &txn->state.clock;
    enum err err = OK;
    lacking->rows_left = work->settle ? REPAIR_SETTLE_ROWS_MAX : REPAIR_ROWS_MAX;
    for (size_t i = 0; i < clock->count && err == OK && !WEAKENED(REPAIR_ROWS); i++) {
        const struct dot *to = &clock->entries[i];
        uint64_t from = clock_get(&work->source_clock, &to->replica),
                 floor = clock_get(&txn->state.floor, &to->replica);
        if (from < floor) { /* check_source: nobody claims them */
            err = give_up_rows(work, &(struct dot){to->replica, floor}, lacking);
            from = floor;
        }
        if (from < to->counter && err == OK)
            err = look_at_origin(txn, work, to, from, lacking);
    }
    return err;
}

/* ---- rows found early ---------------------------------------------------------------- */

/* Rows of the key above our clock that the new context does not cover go. */
static enum err drop_early_rows(struct store_txn *txn, struct bytes key, const struct clock *context)
{
    struct dot from = {0};
    for (size_t left = REPAIR_ROWS_MAX;; left--) {
        uint8_t at[ROW_KEY_SIZE];
        struct bytes row_at, value;
        struct row row;
        enum err err = txn_seek(txn, TABLE_ROWS, row_key(&from, at), &row_at, &value);
        if (err == ERR_NOT_FOUND || left == 0)
            return OK;
        if (err == OK)
            err = row_key_decode(row_at, &from);
        if (err != OK)
            return err;
        if (clock_covers_dot(&txn->state.clock, &from)) {
            from.counter = clock_get(&txn->state.clock, &from.replica);
        } else if (row_decode(row_at, value, &row) != OK ||
                   (bytes_equal(row.key, key) && !clock_covers_dot(context, &from))) {
            err = txn_del(txn, TABLE_ROWS, row_key(&from, at));
            if (err != OK)
                return err;
        }
        if (!dot_after(&from))
            return OK;
    }
}

/* ---- repair --------------------------------------------------------------------------- */

/* The peer's record, with what is lost beside it in the context, is in txn->merged after. */
static void replace(struct store_txn *txn, const struct lacking *lacking)
{
    struct record *merged = &txn->merged;
    record_clear(merged);
    clock_copy(&merged->context, &txn->remote.context);
    clock_join(&merged->context, &lacking->last);
    for (size_t i = 0; i < txn->remote.count; i++) {
        const struct version *version = &txn->remote.versions[i];
        clock_raise(&merged->context, &version->dot);
        if (!lacking->deletes || !clock_covers_dot(&txn->state.clock, &version->dot))
            record_add(merged, version);
    }
}

static void raise_floor(struct store_txn *txn, const struct clock *source_floor)
{
    struct state *state = &txn->state;
    struct clock floor = {0};
    clock_copy(&floor, source_floor);
    clock_meet(&floor, &state->clock);
    if (!WEAKENED(REPAIR_FLOOR))
        clock_join(&state->floor, &floor);
    if (state->walk.phase != WALK_NONE)
        clock_join(&state->walk.high, source_floor);
    clock_done(&floor);
}

/* Stores txn->merged in the place of a record that nobody could read. */
static enum err put_back(struct store_txn *txn, const struct repair_work *work, const struct clock *given_up)
{
    struct clock context = {0};
    record_clear(&txn->local);
    enum err err = txn_get(txn, TABLE_RECORDS, key_of(work), &txn->local_bytes);
    if (err == ERR_NOT_FOUND)
        txn->local_bytes = bytes_of(NULL, 0);
    else if (err != OK)
        return err;
    raise_floor(txn, &work->source_floor);
    clock_join(&txn->state.floor, given_up);
    adopt_stamps(txn);
    clock_copy(&context, &txn->merged.context);
    err = txn_store(txn, key_of(work), &txn->merged, NULL);
    if (err == OK)
        err = drop_early_rows(txn, key_of(work), &context);
    if (err == OK) {
        note_own_known(txn, &work->source_clock);
        note_own_known(txn, &txn->remote.context); /* perhaps found early there */
    }
    clock_done(&context);
    return err;
}

enum err repair_do(struct store_txn *txn, struct repair_work *work)
{
    bool damaged;
    struct lacking lacking = {0};
    enum err err = is_damaged(txn, work, &damaged);
    work->changed = false;
    work->lost = 0;
    if (err == OK && !damaged)
        return OK; /* somebody was faster */
    if (err == OK)
        err = check_source(txn, work);
    if (err == OK)
        err = decode_remote(txn, work);
    if (err == OK)
        err = look_for_lacking(txn, work, &lacking);
    if (err == OK) {
        replace(txn, &lacking);
        err = put_back(txn, work, &lacking.given_up);
        work->changed = err == OK;
        work->lost = lacking.count;
    }
    if (err == OK)
        txn->store->records_repaired++;
    lacking_done(&lacking);
    return err;
}

/* ---- mending --------------------------------------------------------------------------- */

/* No part of it is of operations that were found early. */
static bool settled(const struct record *record, const struct clock *clock)
{
    if (!clock_covers(clock, &record->context))
        return false;
    for (size_t i = 0; i < record->count; i++)
        if (!clock_covers_dot(clock, &record->versions[i].dot))
            return false;
    return true;
}

static bool same_versions(const struct record *a, const struct record *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (dot_compare(&a->versions[i].dot, &b->versions[i].dot) != 0)
            return false;
    return true;
}

/* Each operation above the floor has its row: those that came with the peer's record too. */
static enum err put_missing_rows(struct store_txn *txn, struct bytes key, const struct clock *context,
                                 const struct clock *versions)
{
    enum err err = OK;
    for (size_t i = 0; i < context->count && err == OK; i++) {
        const struct dot *dot = &context->entries[i];
        if (clock_covers_dot(&txn->state.floor, dot))
            continue;
        uint8_t at[ROW_KEY_SIZE];
        struct bytes old;
        err = txn_get(txn, TABLE_ROWS, row_key(dot, at), &old);
        if (err != ERR_NOT_FOUND)
            continue;
        bool put = clock_get(versions, &dot->replica) == dot->counter;
        err = txn_put_row(txn, &(struct row){.dot = *dot, .kind = put ? ROW_PUT : ROW_DELETE, .key = key});
    }
    return err;
}

enum err mend_do(struct store_txn *txn, struct repair_work *work)
{
    static const struct clock nothing;
    const struct state *state = &txn->state;
    struct clock context = {0}, versions = {0};
    work->changed = false;
    work->lost = 0;
    if (state->walk.phase != WALK_NONE)
        return ERR_WALKING;
    if (!clock_equal(&work->source_clock, &state->clock))
        return ERR_BEHIND;
    enum err err = check_source(txn, work);
    if (err == OK)
        err = decode_remote(txn, work);
    if (err == OK)
        err = txn_load(txn, key_of(work));
    if (err != OK)
        return err;
    if (!settled(&txn->local, &state->clock) || !settled(&txn->remote, &state->clock))
        return ERR_BEHIND;
    record_merge(&txn->local, &nothing, &txn->remote, NULL, &txn->merged);
    if (same_versions(&txn->merged, &txn->local))
        return OK;
    raise_floor(txn, &work->source_floor);
    adopt_stamps(txn);
    clock_copy(&context, &txn->merged.context);
    for (size_t i = 0; i < txn->merged.count; i++)
        clock_raise(&versions, &txn->merged.versions[i].dot);
    err = txn_store(txn, key_of(work), &txn->merged, NULL);
    if (err == OK)
        err = put_missing_rows(txn, key_of(work), &context, &versions);
    if (err == OK) {
        note_own_known(txn, &work->source_clock);
        work->changed = true;
        txn->store->records_mended++;
    }
    clock_done(&context);
    clock_done(&versions);
    return err;
}
