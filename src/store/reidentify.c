/* A new replica id, taken when others know a history of the old one that is not
 * ours: a dot that means two operations is silent and permanent damage.
 *
 * Up to the fork both histories are the same, and the old id stays what it is:
 * one more foreign replica. Our operations above it are put again: every version
 * of theirs gets a dot of the new id, and where an operation left no version (a
 * delete, or a put that was replaced), the key gets one delete of the new id, so
 * that its record travels.
 *
 * But the fork is only where somebody may have gone another way. What others have of ours above it stands:
 * put again, it would come back where they have removed it meanwhile; and with the removal merged here, and
 * claimed, what it removed must stay claimed, too. So the fork is taken at the highest counter that what was
 * merged here reflects (state.own_known) or that others have told to have, unless they are known to have
 * written there (parted).
 *
 * Contexts are cut to the last operation of the old id on their key that is still claimed: first the keys
 * with a row there are visited, downwards, so that each is cut to exactly its last one; then the keys
 * of the rows above that are left. What the old id did to these lies at or below
 * the floor, and which counter was its last one on the key nobody can say. The context must
 * still cover it, as an operation that is put again may have removed it: so it is cut to
 * the floor, which claims nothing that is not applied here. To a peer that has not got
 * there yet the entry may look like a row of this key, found early: such a row gives
 * way to the true one (txn_claim_row).
 *
 * Where the floor stood above the fork some of these operations may be forgotten whole: a
 * delete leaves nothing, and what it removed is known by our clock and floor alone. So the new id begins with
 * an operation without a row, below its floor: who has not got to it is walked, and loses what we no longer
 * have.
 *
 * Of an id that was retired others know exactly what they have. It keeps its dots, and all below the highest
 * of it is claimed, as it is by them; what lies between is put again.
 *
 * All of it is one transaction, which may be large: it happens once after a restore. */
#include "txn.h"

#include "check.h"
#include "weaken.h"

struct fork {
    struct replica_id old;
    uint64_t at, claimed;  /* at or above the fork */
    const uint64_t *known; /* above it, ascending: the same operations for all */
    size_t known_count;
};

static bool is_known(const struct fork *fork, uint64_t counter)
{
    size_t low = 0, high = fork->known_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (fork->known[middle] < counter)
            low = middle + 1;
        else
            high = middle;
    }
    return low < fork->known_count && fork->known[low] == counter;
}

static bool above(const struct fork *fork, const struct dot *dot)
{
    return dot->counter > fork->at && replica_id_equal(&dot->replica, &fork->old) &&
           !is_known(fork, dot->counter);
}

/* Has it an operation above the fork that was not put again yet? */
static bool touched(const struct store_txn *txn, const struct fork *fork, const struct record *record)
{
    if (clock_get(&record->context, txn_own_id(txn)))
        return false;
    if (clock_get(&record->context, &fork->old) > fork->at)
        return true;
    for (size_t i = 0; i < record->count; i++)
        if (above(fork, &record->versions[i].dot))
            return true;
    return false;
}

static struct dot next_dot(const struct store_txn *txn)
{
    const struct replica_id *own = txn_own_id(txn);
    return (struct dot){.replica = *own, .counter = clock_get(&txn->state.clock, own) + 1};
}

/* Puts the operations above the fork on one key again; its context says no more than is claimed
 * of the old id after: cut, if it did. Nothing to do where none is above. */
static enum err put_again(struct store_txn *txn, const struct fork *fork, struct bytes key, uint64_t cut)
{
    enum err err = txn_load(txn, key);
    if (err != OK || !touched(txn, fork, &txn->local))
        return err;
    struct record *record = &txn->merged;
    record_clear(record);
    clock_copy(&record->context, &txn->local.context);
    if (clock_get(&record->context, &fork->old) > fork->claimed)
        clock_set(&record->context, &fork->old, cut);

    struct row last = {.kind = ROW_DELETE, .key = key};
    uint64_t first = next_dot(txn).counter;
    for (size_t i = 0; i < txn->local.count && err == OK; i++) {
        struct version version = txn->local.versions[i];
        if (above(fork, &version.dot)) {
            version.dot = next_dot(txn);
            clock_raise(&txn->state.clock, &version.dot);
            last.kind = ROW_PUT;
        }
        record_add(record, &version);
    }
    if (last.kind == ROW_DELETE) {
        last.dot = next_dot(txn);
        clock_raise(&txn->state.clock, &last.dot);
    } else {
        last.dot = (struct dot){.replica = *txn_own_id(txn),
                                .counter = clock_get(&txn->state.clock, txn_own_id(txn))};
    }
    clock_raise(&record->context, &last.dot);
    err = txn_store(txn, key, record, &last);
    /* A row for each dot: counters have no gaps. */
    for (uint64_t n = first; n < last.dot.counter && err == OK; n++) {
        struct row row = {.dot = {.replica = *txn_own_id(txn), .counter = n}, .kind = last.kind, .key = key};
        err = txn_put_row(txn, &row);
    }
    return err;
}

/* The record of this key cannot be read, and an operation of the old id above the fork was in
 * it, or may have been. It is made again under a dot of the new id, by its row alone: the
 * repair of the record (repair.c) ends it as any operation that nobody else has. */
static enum err put_unread(struct store_txn *txn, struct bytes key, enum row_kind kind)
{
    struct row row = {.dot = next_dot(txn), .kind = kind, .key = key};
    clock_raise(&txn->state.clock, &row.dot);
    return txn_put_row(txn, &row);
}

/* The next row of the old id after a seek, its key copied. ERR_NOT_FOUND: no more of it.
 * ERR_DAMAGED, with the dot: its key cannot be read. */
static enum err copy_row(const struct fork *fork, struct bytes lent_key, struct bytes lent_value,
                         uint8_t room[KEY_MAX], struct row *ret)
{
    struct row row = {0};
    enum err err = row_key_decode(lent_key, &row.dot);
    if (err != OK)
        return ERR_CHECKSUM; /* not even a row */
    if (!replica_id_equal(&row.dot.replica, &fork->old))
        return ERR_NOT_FOUND;
    err = row_decode(lent_key, lent_value, &row) == OK ? OK : ERR_DAMAGED;
    if (err == OK) {
        memcpy(room, row.key.data, row.key.len);
        row.key = bytes_of(room, row.key.len);
    }
    *ret = row;
    return err;
}

/* What of the old id is forgotten above the fork is forgotten of the new one. */
static void begin_forgotten(struct store_txn *txn)
{
    struct dot first = next_dot(txn);
    clock_raise(&txn->state.clock, &first);
    clock_raise(&txn->state.floor, &first);
}

/* From what is claimed down to the floor: cut each touched key to its last operation. Of which key a
 * row was that cannot be read, nobody knows: it is given up by raising the floor to it. */
static enum err visit_below(struct store_txn *txn, const struct fork *fork, bool *ret_unread)
{
    struct row row = {.dot = {.replica = fork->old, .counter = fork->claimed}};
    bool more = dot_after(&row.dot);
    for (;;) {
        uint8_t below[ROW_KEY_SIZE], room[KEY_MAX];
        struct bytes key, value;
        enum err err = more ? txn_row_before(txn, row_key(&row.dot, below), &key, &value) : ERR_NOT_FOUND;
        if (err == OK && (err = copy_row(fork, key, value, room, &row)) == ERR_DAMAGED) {
            clock_raise(&txn->state.floor, &row.dot);
            txn->store->records_damaged++;
            *ret_unread |= row.dot.counter > fork->at;
            return OK;
        }
        if (err == ERR_NOT_FOUND)
            return OK;
        if (err == OK)
            err = put_again(txn, fork, row.key, row.dot.counter);
        if (err != OK && (err != ERR_DAMAGED || txn->failed != OK))
            return err; /* a damaged record: its rows above the fork tell of it */
    }
}

/* The rows above what is claimed: their keys, then the rows themselves go. */
static enum err visit_above(struct store_txn *txn, const struct fork *fork, uint64_t cut, bool *ret_unread)
{
    struct dot from = {.replica = fork->old, .counter = fork->claimed};
    while (dot_after(&from)) {
        uint8_t at[ROW_KEY_SIZE], room[KEY_MAX];
        struct bytes key, value;
        struct row row;
        enum err err = txn_seek(txn, TABLE_ROWS, row_key(&from, at), &key, &value);
        if (err == OK && (err = copy_row(fork, key, value, room, &row)) == ERR_DAMAGED) {
            *ret_unread = true;
            err = OK;
        } else if (err == OK && (err = put_again(txn, fork, row.key, cut)) == ERR_DAMAGED &&
                   txn->failed == OK) {
            err = is_known(fork, row.dot.counter) ? OK : put_unread(txn, row.key, row.kind);
        }
        if (err == ERR_NOT_FOUND)
            return OK;
        if (err == OK)
            err = txn_del(txn, TABLE_ROWS, row_key(&row.dot, at));
        if (err != OK)
            return err;
        from = row.dot;
    }
    return OK;
}

/* Where rows above the fork are pruned already, or cannot be read, only the records tell; of
 * one that cannot be read either it is taken that an operation was in it. */
static enum err visit_all(struct store_txn *txn, const struct fork *fork, uint64_t cut)
{
    uint8_t room[KEY_MAX + 1] = {0};
    size_t len = 0;
    for (;;) {
        struct bytes key, value;
        enum err err = txn_seek(txn, TABLE_RECORDS, bytes_of(room, len), &key, &value);
        if (err == ERR_NOT_FOUND)
            return OK;
        if (err == OK && !key_valid(key))
            err = ERR_DAMAGED;
        if (err != OK)
            return err;
        memcpy(room, key.data, key.len);
        len = key.len;
        err = put_again(txn, fork, bytes_of(room, len), cut);
        if (err == ERR_DAMAGED && txn->failed == OK)
            err = put_unread(txn, bytes_of(room, len), ROW_PUT);
        if (err != OK)
            return err;
        room[len++] = 0; /* the first key above */
    }
}

static struct fork fork_of(struct store_txn *txn, const struct reidentify_work *work, uint64_t counter)
{
    struct fork fork = {.old = work->old_id,
                        .at = work->fork < counter ? work->fork : counter,
                        .known = work->known,
                        .known_count = work->known_count};
    raise_own_known(txn, work->told);
    if (work->known_count)
        raise_own_known(txn, work->known[work->known_count - 1]);
    uint64_t ours = txn->state.own_known < work->parted ? txn->state.own_known : work->parted;
    fork.claimed = ours > fork.at && !WEAKENED(CLAIMS) ? ours : fork.at;
    if (!work->retired)
        fork.at = fork.claimed;
    return fork;
}

/* All that can be refused comes before the first change; what fails later fails the whole
 * transaction, as half of it must not stay. */
enum err reidentify_do(struct store_txn *txn, const struct reidentify_work *work)
{
    const struct replica_id *old_id = &work->old_id, *new_id = &work->new_id;
    struct state *state = &txn->state;
    if (!replica_id_equal(old_id, txn_own_id(txn)) || replica_id_is_zero(new_id) ||
        replica_id_equal(old_id, new_id) || clock_get(&state->clock, new_id))
        return ERR_REFUSED;
    if (state->clock.count >= CLOCK_REPLICAS_MAX) /* what is put again would be one replica more */
        return ERR_TOO_LARGE;
    uint64_t floor = clock_get(&state->floor, old_id), counter = clock_get(&state->clock, old_id);
    struct fork fork = fork_of(txn, work, counter);
    identity_renew(&state->identity, new_id, work->start_random);
    state->own_known = 0;
    if (floor > fork.claimed)
        clock_set(&state->floor, old_id, fork.claimed);
    clock_set(&state->clock, old_id, fork.claimed);
    if (fork.at == counter)
        return OK;

    bool unread = floor > fork.at;
    if (floor > fork.at)
        begin_forgotten(txn);
    enum err err = visit_below(txn, &fork, &unread);
    uint64_t cut = clock_get(&state->floor, old_id); /* never above what is claimed */
    if (err == OK)
        err = visit_above(txn, &fork, cut, &unread);
    if (err == OK && unread)
        err = visit_all(txn, &fork, cut);
    if (err != OK && txn->failed == OK)
        txn->failed = err;
    return err;
}
