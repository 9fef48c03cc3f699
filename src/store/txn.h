/* Inside the store: what the files that do work share. A transaction is the
 * engine's, a working copy of the state (made the store's when the commit has
 * succeeded), and scratch memory that is used again from one piece to the next.
 *
 * Two kinds of errors meet here. A refusal (bad input, a rule, a damaged record)
 * is the work's alone. A failure of the engine ends the transaction: the txn_*
 * calls note it in txn->failed, and everything returns at once. */
#ifndef YZMA_STORE_TXN_H
#define YZMA_STORE_TXN_H

#include "keys.h"
#include "state.h"

#include <stdatomic.h>

/* Bytes of one encoded record: its versions together. */
enum { RECORD_BYTES_MAX = VALUE_MAX + (16 << 20) }; /* it has to fit into one frame of replication */

/* Keys whose conflict has been told of, as hashes: each is told once, unless so many
 * others came after it. */
enum { CONFLICTS_REMEMBERED = 256 };
struct conflict_memory {
    uint64_t hashes[CONFLICTS_REMEMBERED];
    size_t next;
};

/* Keys whose record was found damaged (damage.c). */
struct damage {
    atomic_flag busy;
    size_t count;
    struct damaged_key list[DAMAGED_KEYS_MAX];
};

struct store {
    struct engine *engine;
    uint64_t skew_max_ms;
    size_t versions_max;
    uint64_t quarantine_max; /* bytes */
    struct state state;      /* as committed */
    struct store_txn *txn;
    /* Counted by the writer, read by anybody. */
    /* Counts up before and after a commit that raises the floor: odd while one may be
     * becoming visible (a sequence lock without the lock). */
    _Atomic uint64_t floor_epoch;
    _Atomic uint64_t stamps_ahead, records_merged, records_damaged, rows_pruned;
    _Atomic uint64_t quarantined, quarantined_bytes; /* as committed */
    _Atomic uint64_t versions_expired, records_quarantined, conflicts_refused, replicas_refused;
    struct conflict_memory conflicts; /* of the writer */
    _Atomic uint64_t records_repaired, records_mended;
    struct damage damage;
};

struct store_txn {
    struct store *store;
    struct engine_txn *engine_txn;
    struct engine_cursor *records, *rows, *meta; /* opened when first needed */
    struct state state;
    uint64_t wall_ms;
    enum err failed;                       /* the engine's: the transaction can only be undone */
    size_t records_touched, bytes_written; /* for the limits of long work */
    struct buf scratch;                    /* the record being written */
    struct record local, remote, merged;
    struct bytes local_bytes; /* what local was decoded from; valid until the next write */
};

static inline const struct replica_id *txn_own_id(const struct store_txn *txn)
{
    return &txn->state.identity.id;
}

/* ERR_NOT_FOUND, or the engine failed. */
enum err txn_get(struct store_txn *txn, enum table table, struct bytes key, struct bytes *ret) MUST_USE;
enum err txn_put(struct store_txn *txn, enum table table, struct bytes key, struct bytes value) MUST_USE;
enum err txn_del(struct store_txn *txn, enum table table, struct bytes key) MUST_USE;
/* All rows of below's replica that lie below it. */
enum err txn_del_rows(struct store_txn *txn, const struct dot *below) MUST_USE;
/* The first record, row or entry of TABLE_META at or above from. ERR_NOT_FOUND. */
enum err txn_seek(struct store_txn *txn, enum table table, struct bytes from, struct bytes *ret_key,
                  struct bytes *ret_value) MUST_USE;
/* The last row below. ERR_NOT_FOUND. */
enum err txn_row_before(struct store_txn *txn, struct bytes below, struct bytes *ret_key,
                        struct bytes *ret_value) MUST_USE;

/* Loads the record under key into txn->local; empty where there is none.
 * ERR_DAMAGED (counted) when it does not decode. */
enum err txn_load(struct store_txn *txn, struct bytes key) MUST_USE;

/* Writes `record` in the place of txn->local, which was loaded for this key:
 *   - the context goes, whole, when all of it is at or below the floor; a record
 *     without versions and context is deleted;
 *   - `row`, unless NULL, is written;
 *   - so is a row for each context entry above the clock: an operation found
 *     early, in a record, is offered to those who lack it, as its own replica may
 *     be gone (at or below the clock each has its row already). Its kind is a
 *     guess from the record at hand (a put when that version is there), until
 *     the row itself comes from a peer.
 * ERR_TOO_LARGE and nothing is written. What local, remote and record borrow is
 * gone after. */
enum err txn_store(struct store_txn *txn, struct bytes key, struct record *record,
                   const struct row *row) MUST_USE;

enum err txn_put_row(struct store_txn *txn, const struct row *row) MUST_USE;

/* Above the clock two keys may lay claim to one dot: after a new id a context may name an
 * operation that was of another key (reidentify.c). The one whose record holds the
 * version has more right, else the one that is first in key order, so that all nodes end
 * with the same. `holds`: the record of row->key has that version. */
enum claim { CLAIM_FREE, CLAIM_SAME_KEY, CLAIM_WINS, CLAIM_LOSES };
enum err txn_claim_row(struct store_txn *txn, const struct row *row, bool holds, enum claim *ret) MUST_USE;

/* A long work stops here: a transaction's limit, counted since it began it. */
bool txn_is_full(const struct store_txn *txn, size_t records_before, size_t bytes_before);

/* The kinds of work, a file each: see store.h. */
enum err write_do(struct store_txn *txn, struct write_work *work) MUST_USE;
/* All that may refuse it, but for what the record then weighs; changes nothing. */
enum err write_judge(struct store_txn *txn, struct write_work *work) MUST_USE;
enum err batch_do(struct store_txn *txn, struct batch_work *work) MUST_USE;
enum err count_do(struct store_txn *txn, struct count_work *work) MUST_USE;
enum err count_judge(struct store_txn *txn, const struct count_work *work) MUST_USE; /* as write_judge */
/* Of any client's operation. ERR_BEHIND, ERR_WRONGKEY. */
enum err write_check_token(const struct store_txn *txn, struct bytes key, const struct token *token) MUST_USE;
/* ERR_REFUSED: it would be this store's first, and there are as many replicas as there may be. */
enum err write_check_replica(struct store_txn *txn) MUST_USE;
enum err apply_rows(struct store_txn *txn, struct rows_work *work) MUST_USE;
enum err apply_ahead(struct store_txn *txn, const struct rows_work *work) MUST_USE;
enum err walk_start(struct store_txn *txn, struct rows_work *work) MUST_USE;
enum err walk_piece(struct store_txn *txn, const struct rows_work *work) MUST_USE;
enum err walk_rows(struct store_txn *txn, const struct rows_work *work) MUST_USE;
enum err walk_stop(struct store_txn *txn, const struct rows_work *work) MUST_USE;
enum err notes_do(struct store_txn *txn, const struct note *list, size_t count) MUST_USE;
enum err reidentify_do(struct store_txn *txn, const struct reidentify_work *work) MUST_USE;
/* Rows removed in one go: each may touch a record anywhere. What a sweep looks at counts, too. */
enum { PRUNE_ROWS_MAX = 1000 };
enum err prune_do(struct store_txn *txn, const struct clock *target, bool *ret_more,
                  bool *ret_sweeps) MUST_USE;

/* sweep.c. */
enum err sweep_begin(struct store_txn *txn) MUST_USE; /* at the first record, durably */
/* If it has begun: the next records, `left` of them; *ret_more: not all yet. */
enum err sweep_do(struct store_txn *txn, size_t left, bool *ret_more) MUST_USE;
/* Deletes the record, loaded into txn->local, if it has no versions and the floor tells
 * all that its context does; one without versions that stays is noted, where it must be
 * (rest_note). ERR_DAMAGED: it cannot be read, and stays. */
enum err sweep_let_go(struct store_txn *txn, struct bytes key) MUST_USE;

/* rest.c. The record of this key has no versions, and stays for what of its context is
 * above the floor: notes what no row will lead to. */
enum err rest_note(struct store_txn *txn, struct bytes key, const struct clock *context) MUST_USE;
/* Follows the notes that the floor has passed; *left counts down. */
enum err rest_do(struct store_txn *txn, size_t *left, bool *ret_more) MUST_USE;

enum { EXPIRE_KEYS_MAX = 500 }; /* looked at in one go */
enum err expire_do(struct store_txn *txn, uint64_t before_ms, bool *ret_more) MUST_USE;
enum err retire_do(struct store_txn *txn, const struct replica_id *id,
                   const struct retire_view *agreed) MUST_USE;

enum err expire_first(struct engine *engine, struct engine_txn *txn, uint64_t *ret_ms) MUST_USE;
/* expire.c: brings the index from the one record of a key to the other. */
enum err expire_index(struct store_txn *txn, struct bytes key, const struct record *before,
                      const struct record *after) MUST_USE;

/* quarantine.c. Keeps a record that cannot be read, once; ERR_VERSION: no room for it
 * (Peering.QuarantineMax). */
enum err quarantine_put(struct store_txn *txn, const struct row *row, struct bytes record) MUST_USE;
/* Is the next row of this replica in there? */
enum err quarantine_holds(struct store_txn *txn, const struct replica_id *origin, bool *ret) MUST_USE;
/* Removes what the clock covers by now; try_again: applies what can be read now. */
enum err quarantine_sweep(struct store_txn *txn, bool try_again) MUST_USE;
enum err quarantine_count(struct engine *engine, struct engine_txn *txn, uint64_t *ret_count,
                          uint64_t *ret_bytes) MUST_USE;
enum err snapshot_quarantine_of(struct engine *engine, struct engine_txn *txn,
                                void (*each)(void *ctx, const struct dot *dot), void *ctx) MUST_USE;

/* Merges an encoded record of a peer (empty: none) into ours under key, and
 * writes row, unless NULL. ERR_VERSION (it cannot be read), ERR_MALFORMED, ERR_REFUSED (it knows operations
 * of ours that we do not), ERR_DAMAGED, ERR_TOO_LARGE: nothing is changed. */
enum err apply_record(struct store_txn *txn, struct bytes key, struct bytes encoded,
                      const struct clock *also_covers, const struct row *row) MUST_USE;

/* It knows operations of ours that we do not: this store is an older state of itself. */
bool record_knows_more_of_us(const struct store_txn *txn, const struct record *record);
/* The stamp of each version of txn->merged that txn->local has not. */
void adopt_stamps(struct store_txn *txn);
/* Others have our operations up to here, as far as there are any. */
void raise_own_known(struct store_txn *txn, uint64_t known);
/* Of a merged record's context, or a source's clock. */
void note_own_known(struct store_txn *txn, const struct clock *seen);

enum err repair_do(struct store_txn *txn, struct repair_work *work) MUST_USE;
enum err mend_do(struct store_txn *txn, struct repair_work *work) MUST_USE;

#endif
