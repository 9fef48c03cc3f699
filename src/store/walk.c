/* The receiver's side of a walk: all records of a source in key order, piece by
 * piece, then the rows.
 *
 *       start           last piece            last rows
 * NONE ------> RECORDS -----------> ROWS -----------------> NONE, clock and floor raised
 *                 |                  |
 *                 +------ stop ------+--> NONE, nothing raised
 *
 * A key of ours inside a completed piece that the source did not send counts as
 * sent with no versions: what was deleted meanwhile goes, what only we wrote
 * stays. Pieces come from different snapshots, so at the end only the lowest of
 * their clocks is true of all keys, and only what is above the highest of their
 * floors has its rows. */
#include "txn.h"

#include "check.h"
#include "weaken.h"

bool walk_hides(const struct walk_state *walk, struct bytes key)
{
    return walk->phase == WALK_RECORDS && bytes_compare(key, bytes_of(walk->after, walk->after_len)) > 0;
}

static void reset(struct walk_state *walk, enum walk_phase phase)
{
    uint64_t serial = walk->serial;
    walk_state_done(walk);
    walk->serial = serial;
    walk->phase = phase;
}

enum err walk_start(struct store_txn *txn, struct rows_work *work)
{
    reset(&txn->state.walk, WALK_RECORDS);
    work->serial = ++txn->state.walk.serial;
    return OK;
}

enum err walk_stop(struct store_txn *txn, const struct rows_work *work)
{
    struct walk_state *walk = &txn->state.walk;
    if (walk->phase == WALK_NONE || work->serial != walk->serial)
        return ERR_REFUSED;
    reset(walk, WALK_NONE);
    return OK;
}

/* Each snapshot must have seen what those before it had seen, and must not know
 * operations of ours that we do not (see apply.c). */
static enum err check_source(const struct store_txn *txn, const struct rows_work *work, enum walk_phase phase)
{
    const struct walk_state *walk = &txn->state.walk;
    const struct replica_id *own = txn_own_id(txn);
    if (walk->phase != phase || work->serial != walk->serial ||
        !clock_covers(&work->source_clock, &walk->last) ||
        clock_get(&work->source_clock, own) > clock_get(&txn->state.clock, own))
        return ERR_REFUSED;
    if (!clock_covers(&work->source_clock, &work->source_floor))
        return ERR_MALFORMED;
    if (!clock_join_fits(&walk->last, &work->source_clock) ||
        !clock_join_fits(&txn->state.clock, &work->source_clock))
        return ERR_TOO_LARGE;
    return OK;
}

static void count_source(struct walk_state *walk, const struct rows_work *work)
{
    if (!walk->has_low)
        clock_copy(&walk->low, &work->source_clock);
    else if (WEAKENED(WALK_CLOCK))
        clock_join(&walk->low, &work->source_clock);
    else
        clock_meet(&walk->low, &work->source_clock);
    walk->has_low = true;
    clock_join(&walk->high, &work->source_floor);
    clock_join(&walk->last, &work->source_clock);
}

static struct bytes done_until(const struct walk_state *walk)
{
    return bytes_of(walk->after, walk->after_len);
}

static void done_with(struct walk_state *walk, struct bytes key)
{
    memmove(walk->after, key.data, key.len);
    walk->after_len = key.len;
}

/* Our first key above what is done, copied: what the engine lends is gone with
 * the next write. */
static enum err next_own(struct store_txn *txn, uint8_t room[KEY_MAX + 1], struct bytes *ret)
{
    uint8_t from[KEY_MAX + 1];
    struct bytes after = done_until(&txn->state.walk), key, value;
    memcpy(from, after.data, after.len);
    from[after.len] = 0; /* the first key above */
    enum err err = txn_seek(txn, TABLE_RECORDS, bytes_of(from, after.len + 1), &key, &value);
    if (err != OK)
        return err;
    if (!key_valid(key))
        return ERR_DAMAGED;
    memcpy(room, key.data, key.len);
    *ret = bytes_of(room, key.len);
    return OK;
}

/* Merges what was sent with what we hold, both in key order; walk->after tells
 * how far it came. */
static enum err merge_piece(struct store_txn *txn, const struct rows_work *work, bool *ret_complete)
{
    struct walk_state *walk = &txn->state.walk;
    struct bytes through = bytes_of(work->through, work->through_len), own = {0};
    uint8_t own_room[KEY_MAX + 1];
    size_t records = txn->records_touched, bytes = txn->bytes_written, sent = 0;
    bool own_known = false, own_left = true;
    for (;;) {
        if (own_left && !own_known) {
            enum err err = next_own(txn, own_room, &own);
            if (err != OK && err != ERR_NOT_FOUND)
                return err;
            own_known = err == OK;
            own_left = err == OK && (work->last || bytes_compare(own, through) <= 0);
        }
        if (!own_left && sent == work->count)
            break;
        if (txn_is_full(txn, records, bytes)) {
            *ret_complete = false;
            return OK;
        }
        const struct work_entry *entry = sent < work->count ? &work->entries[sent] : NULL;
        if (entry && (!key_valid(entry->key) || bytes_compare(entry->key, done_until(walk)) <= 0 ||
                      (!work->last && bytes_compare(entry->key, through) > 0) || entry->record.len == 0))
            return ERR_MALFORMED;
        int order = !entry ? 1 : !own_left ? -1 : bytes_compare(entry->key, own);
        struct bytes key = order <= 0 ? entry->key : own;
        struct bytes record = order <= 0 ? entry->record : bytes_of(NULL, 0);
        enum err err = apply_record(txn, key, record, &work->source_clock, NULL);
        if (err != OK) /* what cannot be read stays at the source: nothing behind it is taken */
            return err == ERR_VERSION ? ERR_MALFORMED : err;
        sent += order <= 0;
        own_known = own_known && order < 0;
        walk->keys_done++;
        done_with(walk, key);
    }
    if (!work->last)
        done_with(walk, through);
    *ret_complete = true;
    return OK;
}

enum err walk_piece(struct store_txn *txn, const struct rows_work *work)
{
    struct walk_state *walk = &txn->state.walk;
    enum err err = check_source(txn, work, WALK_RECORDS);
    if (err != OK)
        return err;
    CHECK(work->after_len <= KEY_MAX && work->through_len <= KEY_MAX);
    if (!bytes_equal(bytes_of(work->after, work->after_len), done_until(walk)))
        return ERR_REFUSED;
    if (!work->last && bytes_compare(bytes_of(work->through, work->through_len), done_until(walk)) <= 0)
        return ERR_MALFORMED;
    bool complete = false;
    err = merge_piece(txn, work, &complete);
    /* What was merged before an error came from this snapshot too. */
    if (txn->failed == OK) {
        count_source(walk, work);
        note_own_known(txn, &work->source_clock);
    }
    if (err == OK && complete && work->last)
        walk->phase = WALK_ROWS;
    return err;
}

/* Rows at or below our clock we have; above low we may not claim them; at or
 * below high they go at the end. */
static bool wants_row(const struct store_txn *txn, const struct dot *dot)
{
    const struct walk_state *walk = &txn->state.walk;
    return clock_covers_dot(&walk->low, dot) && !clock_covers_dot(&txn->state.clock, dot) &&
           !clock_covers_dot(&walk->high, dot);
}

/* The end: the clock rises to what is true of all keys, and with it the floor,
 * as the rows below the sources' floors are not here. */
static enum err finish(struct store_txn *txn)
{
    struct state *state = &txn->state;
    clock_join(&state->clock, &state->walk.low);
    clock_meet(&state->walk.high, &state->clock);
    clock_join(&state->floor, &state->walk.high);
    reset(&state->walk, WALK_NONE);
    bool more, sweeps; /* what is left goes with later prunings */
    enum err err = prune_do(txn, &state->floor, &more, &sweeps);
    return err == OK ? quarantine_sweep(txn, false) : err;
}

enum err walk_rows(struct store_txn *txn, const struct rows_work *work)
{
    struct walk_state *walk = &txn->state.walk;
    enum err err = check_source(txn, work, WALK_ROWS);
    if (err != OK)
        return err;
    if (dot_compare(&work->row_after, &walk->row_after) != 0)
        return ERR_REFUSED;
    if (work->count == 0 && !work->last)
        return ERR_MALFORMED; /* leads nowhere, for ever */
    clock_join(&walk->high, &work->source_floor);
    clock_join(&walk->last, &work->source_clock);
    note_own_known(txn, &work->source_clock);
    for (size_t i = 0; i < work->count; i++) {
        const struct work_entry *entry = &work->entries[i];
        struct row row = {.dot = entry->dot, .kind = entry->kind, .key = entry->key};
        if (!key_valid(row.key) || !row_kind_valid(row.kind) ||
            dot_compare(&row.dot, &walk->row_after) <= 0 || row.dot.counter == 0)
            return ERR_MALFORMED;
        if (wants_row(txn, &row.dot) && (err = txn_put_row(txn, &row)) != OK)
            return err;
        walk->row_after = row.dot;
    }
    return work->last ? finish(txn) : OK;
}
