/* The store's face: one replica's records, rows, clock and identity.
 *
 * Everything that changes the store is a piece of work (struct store_work): a
 * client's write, a peer's rows, a piece of a walk. The committer begins a
 * transaction, does the work that has queued, in order, against the newest
 * state, and commits: all of it is durable then, or none of it happened. So
 * counters, merges, token and floor checks never rest on a snapshot read
 * elsewhere. Reads are snapshots, from any thread, each short.
 *
 * Behind the face stands an engine (engine.h). Nothing above knows which.
 *
 * One writer: store_begin .. store_commit are called by one thread at a time.
 * snapshot_* may be called by any number of threads; one snapshot by one. */
#ifndef YZMA_STORE_STORE_H
#define YZMA_STORE_STORE_H

#include "condition.h"
#include "engine.h"
#include "merge.h"
#include "stamp.h"
#include "starts.h"
#include "token.h"

enum {
    STORE_FORMAT = 2, /* 1: without a log in front; is taken over */
    STORE_FORMAT_FIRST = 1,
    TXN_RECORDS_MAX = 10000,  /* records that one transaction touches, about */
    TXN_BYTES_MAX = 64 << 20, /* bytes of them; one value at least always fits */
    NOTE_NAME_MAX = 128,
};

enum row_kind { ROW_PUT = 1, ROW_DELETE = 2 };

/* ---- opening ------------------------------------------------------------- */

struct store_options {
    struct replica_id fresh_id; /* taken when the store is new or not the file it was */
    uint64_t start_random;      /* this start's entry in the start list */
    struct bytes file_identity; /* what the file is (inode, birth time); empty: not checked */
    bool log_lost;              /* its log is missing or older than the file: as if it were another file */
    uint64_t wall_ms;
    uint64_t skew_max_ms;    /* Peering.ClockSkewMax */
    size_t versions_max;     /* Server.MaxVersions */
    uint64_t quarantine_max; /* Peering.QuarantineMax; 0: the default, 64 MiB */
};

struct store;

/* Reads only: whether this program knows the store's format, or there is none yet. To be
 * asked before a log is put in front, which writes. ERR_VERSION, ERR_DAMAGED, ERR_IO,
 * with a sentence in why. */
enum err store_check_format(struct engine *engine, struct buf *why) MUST_USE;

/* Takes the engine (closes it with the store, also on failure), reads or makes
 * the identity, appends this start to the start list: durable on return. A store of
 * an older format is taken over: programs of that format then refuse it.
 * ERR_VERSION (newer format), ERR_DAMAGED, ERR_FULL, ERR_IO, with a sentence in
 * why. *ret_reidentified tells that an existing store took a new id. */
enum err store_open(struct engine *engine, const struct store_options *options, struct store **ret,
                    bool *ret_reidentified, struct buf *why) MUST_USE;
void store_close(struct store *store); /* all snapshots closed before */
void store_usage(struct store *store, struct engine_usage *ret);

/* ---- reading ------------------------------------------------------------- */

struct snapshot;

enum err snapshot_open(struct store *store, struct snapshot **ret) MUST_USE;
void snapshot_close(struct snapshot *snapshot);

/* The record under key, borrowing from the snapshot; ERR_NOT_FOUND (ret is then
 * the empty record) or ERR_DAMAGED. ret must be initialised. */
enum err snapshot_record(struct snapshot *snapshot, struct bytes key, struct record *ret) MUST_USE;

/* The record's encoded bytes as they are stored, not verified: record_decode
 * does. ERR_NOT_FOUND. */
enum err snapshot_record_bytes(struct snapshot *snapshot, struct bytes key, struct bytes *ret) MUST_USE;

/* Counts and notes a record that was found damaged by whoever decoded its bytes, or
 * that does not include the operation of a row (`proof`, or NULL). */
void snapshot_met_damage(struct snapshot *snapshot, struct bytes key, const struct dot *proof);

/* Either may be NULL. The results must be initialised. */
enum err snapshot_clock(struct snapshot *snapshot, struct clock *ret_clock, struct clock *ret_floor) MUST_USE;

/* A floor at or above the snapshot's (which a token may carry, as it lies within the
 * clock), kept by one reader from one snapshot to the next: it
 * changes every ten seconds at most, and reading it takes a cursor. */
struct floor_cache {
    struct clock floor; /* owned; clock_done */
    bool valid;
    uint64_t epoch;
};
enum err snapshot_floor(struct snapshot *snapshot, struct floor_cache *cache) MUST_USE;

struct identity {
    struct replica_id id;
    struct starts starts;
    struct replica_id *predecessors; /* owned: ids this store had before, oldest first */
    size_t predecessor_count;
};
void identity_done(struct identity *identity);
enum err snapshot_identity(struct snapshot *snapshot, struct identity *ret) MUST_USE;

/* A walk that this store is the receiver of. */
enum walk_phase { WALK_NONE, WALK_RECORDS, WALK_ROWS };
struct walk_state {
    enum walk_phase phase;
    uint64_t serial;        /* names this walk: counts up with each start */
    uint8_t after[KEY_MAX]; /* all keys up to here are done (WALK_RECORDS) */
    size_t after_len;
    struct dot row_after;         /* all rows up to here are done (WALK_ROWS) */
    bool has_low;                 /* false until the first piece */
    struct clock low, high, last; /* see design: minimum of clocks, maximum of floors, maximum of clocks */
    uint64_t keys_done;
};
void walk_state_done(struct walk_state *walk);
enum err snapshot_walk(struct snapshot *snapshot, struct walk_state *ret) MUST_USE;
/* True when a reader must not take the absence of this key for its deletion. */
bool walk_hides(const struct walk_state *walk, struct bytes key);

/* Records in key order from `from` on (inclusive). The bytes are the encoded
 * record; scan_next gives ERR_NOT_FOUND at the end and does not verify: decode
 * does. Keys and bytes are borrowed from the snapshot. */
struct scan;
enum err scan_open(struct snapshot *snapshot, struct bytes from, struct scan **ret) MUST_USE;
enum err scan_next(struct scan *scan, struct bytes *ret_key, struct bytes *ret_record) MUST_USE;
/* The first record at or above key, and scan_next from there. */
enum err scan_seek(struct scan *scan, struct bytes key, struct bytes *ret_key,
                   struct bytes *ret_record) MUST_USE;
/* The last record below key, which need not be one's; after it only a seek or
 * another call of this makes sense. `below` may be the last ret_key. */
enum err scan_before(struct scan *scan, struct bytes below, struct bytes *ret_key,
                     struct bytes *ret_record) MUST_USE;
void scan_close(struct scan *scan);

struct row {
    struct dot dot;
    enum row_kind kind;
    struct bytes key;
};

/* Rows from the first above `after` on, in order of (replica, counter), going on
 * into the next replicas; ERR_NOT_FOUND at the end. ERR_DAMAGED: the row cannot be read, but
 * for its dot where the counter is not 0; the scan goes on behind it. */
struct row_scan;
enum err row_scan_open(struct snapshot *snapshot, const struct dot *after, struct row_scan **ret) MUST_USE;
enum err row_scan_next(struct row_scan *scan, struct row *ret) MUST_USE;
void row_scan_close(struct row_scan *scan);

/* Calls `each` for rows above the snapshot's own clock (found early in another
 * replica's records), at most max; in row order. */
enum err snapshot_rows_ahead(struct snapshot *snapshot, size_t max,
                             void (*each)(void *ctx, const struct row *row), void *ctx) MUST_USE;
/* .. from the first above `after` on. */
enum err snapshot_rows_ahead_after(struct snapshot *snapshot, const struct dot *after, size_t max,
                                   void (*each)(void *ctx, const struct row *row), void *ctx) MUST_USE;

/* The highest counter of a replica that anything here names: its clock entry, or
 * a row found early above it. */
enum err snapshot_highest(struct snapshot *snapshot, const struct replica_id *id, uint64_t *ret) MUST_USE;

/* Small named values that the node keeps (members, incarnation, ..).
 * ERR_NOT_FOUND; bytes borrowed from the snapshot. */
enum err snapshot_note(struct snapshot *snapshot, const char *name, struct bytes *ret) MUST_USE;
/* All notes whose name starts with prefix, in name order. */
enum err snapshot_notes(struct snapshot *snapshot, const char *prefix,
                        void (*each)(void *ctx, struct bytes name, struct bytes value), void *ctx) MUST_USE;

/* What a store holds of a replica's operations: all up to base, and above it rows
 * found early, up to top (base where there are none). Two stores with equal views hold
 * the same of it. */
struct retire_view {
    uint64_t base, top, digest;
};
bool retire_view_equal(const struct retire_view *a, const struct retire_view *b);

/* The counters of those found early, ascending, at most max of them. */
enum err snapshot_early(struct snapshot *snapshot, const struct replica_id *id, uint64_t *ret_counters,
                        size_t max, size_t *ret_count) MUST_USE;
enum err snapshot_retire_view(struct snapshot *snapshot, const struct replica_id *id,
                              struct retire_view *ret) MUST_USE;

/* When the first version that is held expires; ERR_NOT_FOUND. */
enum err snapshot_next_expiry(struct snapshot *snapshot, uint64_t *ret_ms) MUST_USE;

/* The dots of what is in quarantine, in order. */
enum err snapshot_quarantine(struct snapshot *snapshot, void (*each)(void *ctx, const struct dot *dot),
                             void *ctx) MUST_USE;
uint64_t snapshot_key_count(struct snapshot *snapshot); /* records, those without versions included */

/* Keys whose record was found damaged, until it is mended (WORK_REPAIR); of more than
 * DAMAGED_KEYS_MAX the others are noted later. From any thread. */
enum { DAMAGED_KEYS_MAX = 64 };
struct damaged_key {
    uint8_t key[KEY_MAX];
    size_t key_len;
    struct dot proof; /* counter 0: its bytes fail their check; else this row's operation is not in it */
};
void store_note_damage(struct store *store, struct bytes key, const struct dot *proof);
bool store_damaged_key(struct store *store, size_t index, struct damaged_key *ret);
void store_damage_mended(struct store *store, struct bytes key);
/* Looks for damaged records above `after`, and notes them: through as many records and bytes
 * (one record at least), or up to where no more can be noted before some are mended.
 * *ret_through: all up to there were looked at; *ret_end: there are no more. */
enum err store_search_damage(struct store *store, struct bytes after, size_t records, size_t bytes,
                             uint8_t ret_through[KEY_MAX], size_t *ret_through_len, bool *ret_end) MUST_USE;

/* A range of keys in short: what two nodes with equal clocks compare (digest.c). */
struct range_digest {
    uint64_t keys; /* with versions */
    uint64_t hash; /* of their names and their versions' dots; in any order */
};
struct digest_limits {
    size_t records, bytes;
    uint64_t expired_ms; /* versions that expired by then do not count */
};
/* Keys in (after, through]; through.data NULL: to the end. It stops early at the
 * limits: *ret_through is then the last key of it, and *ret_end false. `each`, unless
 * NULL, is given every key's own hash. ERR_DAMAGED (noted): nothing can be said. */
enum err snapshot_digest(struct snapshot *snapshot, struct bytes after, struct bytes through,
                         const struct digest_limits *limits, struct range_digest *ret,
                         uint8_t ret_through[KEY_MAX], size_t *ret_through_len, bool *ret_end,
                         void (*each)(void *ctx, struct bytes key, uint64_t hash), void *ctx) MUST_USE;
/* True when nothing here is of operations above the clock, and no walk is under way:
 * records are then what the clock says. */
enum err snapshot_is_settled(struct snapshot *snapshot, bool *ret) MUST_USE;

/* ---- writing ------------------------------------------------------------- */

enum work_kind {
    WORK_WRITE,      /* a client's put or delete */
    WORK_BATCH,      /* several of them, all or none */
    WORK_ROWS,       /* a peer's rows of one replica, in counter order, raising the clock */
    WORK_AHEAD,      /* rows and records that raise no clock */
    WORK_WALK_START, /* forget the pieces so far, begin at the first key */
    WORK_WALK_PIECE, /* records of (after, through] */
    WORK_WALK_ROWS,  /* the rows, after the last piece; with `last`: the end of the walk */
    WORK_WALK_STOP,  /* broken off for good: what was merged stays, the clock does not rise */
    WORK_PRUNE,      /* raise the floor */
    WORK_NOTES,      /* put or remove notes */
    WORK_REIDENTIFY, /* take a new replica id */
    WORK_EXPIRE,     /* drop versions whose time is over */
    WORK_QUARANTINE, /* apply what of the quarantine can be read now */
    WORK_RETIRE,     /* raise the clock of a dead id over the gaps in its rows */
    WORK_REPAIR,     /* a peer's record in the place of a damaged one */
    WORK_MEND,       /* a peer's record that should be equal to ours, and is not */
    WORK_COUNT,      /* an add to a counter, or its delete */
    WORK_START,      /* begin another life under the same id: its start list grows */
};

struct write_work {
    struct bytes key, type, value; /* borrowed until done */
    bool remove;                   /* a delete: type and value unused */
    bool add;                      /* mode=add: replaces nothing */
    bool once;  /* where it replaces nothing, and what it puts stands there, it does nothing */
    bool touch; /* the surfaced version is put again with this expiry, and only it replaced */
    uint64_t expires_ms;
    const struct token *token;         /* or NULL; borrowed until done. Replaces exactly what it saw */
    const struct condition *condition; /* or NULL; the same. Of the newest state */
    size_t weight;                     /* bytes that a touch or a counter will write, about */
    /* In a batch alone: a counter, key being one's, is brought to this number, by an add of
     * what this store finds missing, or, with remove, taken back. All else is unused. Walks
     * hide it as they do a delete's. */
    bool counts;
    int64_t number;
    /* results */
    struct dot dot; /* counter 0: a delete that removed nothing, so no operation */
    uint64_t tag;   /* of what the key holds now; after ERR_UNMET, of what it held */
    uint64_t stamp;
    size_t versions;    /* held now under the key */
    bool first_refusal; /* with ERR_CONFLICT: of this key, so far as is remembered */
};
/* ERR_BEHIND (the clock does not cover token->after), ERR_WRONGKEY, ERR_UNMET (the
 * condition), ERR_NOT_FOUND (nothing to touch), ERR_CONFLICT
 * (versions_max reached), ERR_WALKING (the key is hidden and not held here),
 * ERR_REFUSED (there are as many replicas as there may be, and this would be one more),
 * ERR_DAMAGED; ERR_MALFORMED and ERR_TOO_LARGE for keys, types and values beyond
 * their limits. */

/* One change of a counter (crdt/counter.h), which replaces what it must of the record, and
 * not what was seen. */
struct count_work {
    struct bytes key;          /* borrowed until done: of SPACE_COUNTERS */
    const struct token *token; /* or NULL; borrowed until done: only what to wait for */
    int64_t add;
    bool remove;   /* a delete: add is unused */
    bool set;      /* adds what is missing to `add`; what a walk hides is not known to be missing */
    size_t weight; /* bytes that it will write, about */
    /* results */
    struct dot dot; /* counter 0: a delete of what is absent, a set to what it is: no operation */
    int64_t number; /* the counter's now; after a delete 0 */
};
/* ERR_BEHIND, ERR_WRONGKEY, ERR_WALKING, ERR_REFUSED, ERR_DAMAGED as a write; ERR_CONFLICT:
 * the number would not fit into 64 bits; ERR_TOO_LARGE: more sessions or versions than
 * their limits. */

/* Writes of one transaction, each of another key (that is up to the caller): every one
 * is judged first, and the first that is refused refuses all; they get consecutive counters. */
struct batch_work {
    struct write_work *writes; /* owned array */
    size_t count, room;
    struct condition *conditions; /* owned array that writes may borrow from, or NULL */
    struct buf text;              /* owned: what they may borrow from */
    /* results */
    size_t failed;   /* with an error: the index of the first that was refused; else count */
    size_t deleted;  /* deletes that removed something */
    size_t created;  /* puts of keys that held nothing */
    struct dot last; /* the last operation; counter 0: there was none */
};

struct work_entry {
    struct dot dot; /* of the row; unused in WORK_WALK_PIECE */
    enum row_kind kind;
    struct bytes key;
    struct bytes record; /* encoded; empty where an entry before brought the same key, and in WALK_ROWS */
};

struct rows_work {
    struct buf payload;         /* owned: what the entries borrow from */
    struct work_entry *entries; /* owned array; WORK_ROWS: of one origin, ascending */
    size_t count;
    struct replica_id origin; /* WORK_ROWS: whose */
    uint64_t from, to;        /* WORK_ROWS: these are its rows in (from, to], each counter once */
    /* WORK_WALK_*: */
    uint64_t serial;        /* of the walk; another: ERR_REFUSED. A result of WALK_START */
    uint8_t after[KEY_MAX]; /* WALK_PIECE: must be where the walk stands, else ERR_REFUSED */
    size_t after_len;
    uint8_t through[KEY_MAX]; /* the last key of the piece; unused when last */
    size_t through_len;
    bool last;            /* WALK_PIECE: nothing follows; WALK_ROWS: the walk is over */
    struct dot row_after; /* WALK_ROWS: must be where the walk stands */
    /* Result of WORK_ROWS: the next row of the origin is in quarantine, so that its clock
     * stands there; the rows behind it were taken as those found early. */
    bool held;
    struct clock source_clock, source_floor; /* owned: of the snapshot the piece was read from */
};
/* WORK_ROWS: ERR_BEHIND (own clock[origin] < from), ERR_WALKING, ERR_MALFORMED (a
 * counter missing, a record that does not include its row),
 * ERR_DAMAGED (a record of ours), ERR_TOO_LARGE (more replicas or versions than
 * their limits). Rows before the bad one are applied and the
 * clock stands at the last of them. Rows at or below the clock are skipped.
 * A record that knows operations of ours above our own clock: ERR_REFUSED, as
 * this store needs a new id before it may hear of them.
 * A record that cannot be read is no error as long as the quarantine has room: it is
 * kept there, and the clock of its replica stays below it (`held`). ERR_VERSION: no room.
 * WORK_WALK_PIECE may stop early at a transaction's limit: the walk's `after`
 * then stands before `through`, and the caller asks again from there. So it does
 * after an error in mid-piece.
 * WORK_WALK_*: a source whose clock does not cover those of the pieces before:
 * ERR_REFUSED. Rows are wanted in the order of row_scan, from any source that
 * covers; work->row_after of the first is {0}. */

/* One record of a peer, and the clock and floor of the snapshot it was read from. */
struct repair_work {
    uint8_t key[KEY_MAX];
    size_t key_len;
    struct dot proof;                        /* WORK_REPAIR: as noted */
    struct buf record;                       /* owned, encoded; empty: the peer has none */
    struct clock source_clock, source_floor; /* owned */
    /* owned. WORK_REPAIR: joined of the clocks of all replicas expected back, but for those
     * whose own record is damaged */
    struct clock others;
    bool settle; /* WORK_REPAIR: operations that none of them knows may be given up */
    /* results */
    bool changed;
    size_t lost; /* operations that were */
};
/* WORK_REPAIR: OK also when there is nothing to repair (any more). ERR_BEHIND: the
 * peer lacks operations on the key that our clock claims; another may have them.
 * WORK_MEND: ERR_BEHIND unless the clocks are equal and nothing of either record is
 * above them. Both: ERR_MALFORMED, ERR_REFUSED (the peer knows operations of ours
 * that we do not), ERR_WALKING. See repair.c. */

struct note {
    char name[NOTE_NAME_MAX];
    struct buf value; /* owned */
    bool remove;
};

/* A new id, and what was done under the old one that others may not have, or not as it is here, done again
 * under it: what lies above the fork, but not what others are known to have as ours. */
struct reidentify_work {
    struct replica_id old_id, new_id; /* ERR_REFUSED when old_id is not the present one */
    uint64_t fork;                    /* others may have another history of the old id above it */
    uint64_t parted;                  /* .. and are known to above this; UINT64_MAX: nobody is */
    uint64_t told;                    /* others have told that they have ours up to here */
    /* The old id was retired: others have these above the fork (owned, ascending) and no more. */
    bool retired;
    uint64_t *known;
    size_t known_count;
    uint64_t start_random;
    const char *ends_note; /* or NULL: a note about the old id, which goes with it; lives for ever */
};

struct store_work {
    enum work_kind kind;
    enum err err; /* the result, when done */
    union {
        struct write_work write;
        struct batch_work batch;
        struct count_work count;
        struct rows_work rows; /* WORK_ROWS, WORK_AHEAD, WORK_WALK_* */
        struct {
            struct clock floor; /* owned: the target; cut to the own clock */
            /* Result: a transaction's limit was reached before it. (The floor
             * itself, as target, removes what the end of a walk left.) */
            bool more;
            /* Result: records are looked through for what bad rows should have led to, and
             * not all have been yet: the next prunings go on with it. */
            bool sweeps;
        } prune;
        struct {
            struct note *list; /* owned */
            size_t count;
        } notes;
        struct reidentify_work reidentify;
        struct {
            uint64_t random; /* of the start */
        } start;
        struct {
            uint64_t before_ms; /* versions that expire at or before this wall time */
            bool more;          /* result: a transaction's limit was reached before all */
        } expire;
        struct {
            /* ERR_REFUSED: the own one. ERR_CONFLICT: the view is another now, perhaps
             * because rows that could not be read were made again. */
            struct replica_id id;
            struct retire_view view;
        } retire;
        struct repair_work repair; /* WORK_REPAIR, WORK_MEND */
    };
    /* For whoever runs the work: called once, after the commit or the failure. */
    void (*done)(struct store_work *work);
    /* Set for that call: another work's done, which is the same function, follows
     * at once, so that whom all of them wake need be woken only by the last. */
    bool more;
    void *ctx;
    uint64_t ticket;
    struct store_work *next;
};

struct store_work *store_work_new(enum work_kind kind);
/* Adds a write to a WORK_BATCH: to be filled in, and moved by the next call. */
struct write_work *store_work_add_write(struct store_work *work);
/* Adds a note to a WORK_NOTES (copies name and value); removes it when value.data
 * is NULL. A name too long is a CHECK. */
void store_work_add_note(struct store_work *work, const char *name, struct bytes value);
void store_work_free(struct store_work *work); /* and what it owns; takes NULL */
/* What it adds to a transaction, to stay within TXN_RECORDS_MAX and TXN_BYTES_MAX. */
void store_work_cost(const struct store_work *work, size_t *ret_records, size_t *ret_bytes);

struct store_txn;
enum err store_begin(struct store *store, uint64_t wall_ms, struct store_txn **ret) MUST_USE;
/* The time of what is done from here on; an earlier one than before changes nothing. */
void store_move_on(struct store_txn *txn, uint64_t wall_ms);
/* Does one piece and sets work->err. A refusal leaves the transaction as it was
 * or consistently part-done (see above) and the transaction goes on. Returns an
 * error only when the engine failed: the transaction can then only be undone. */
enum err store_do(struct store_txn *txn, struct store_work *work) MUST_USE;
enum err store_commit(struct store_txn *txn) MUST_USE; /* ends txn either way */
void store_undo(struct store_txn *txn);
/* One piece of work in a transaction of its own, where no committer runs; what it came to,
 * or what the engine failed with. */
enum err store_run(struct store *store, uint64_t wall_ms, struct store_work *work) MUST_USE;

struct store_counters {
    uint64_t stamps_ahead;    /* remote stamps too far in the future to adopt */
    uint64_t records_merged;  /* of peers */
    uint64_t records_damaged; /* met while working */
    uint64_t rows_pruned;
    uint64_t versions_expired;               /* dropped */
    uint64_t records_quarantined;            /* that came and could not be read */
    uint64_t quarantined, quarantined_bytes; /* now in there */
    uint64_t conflicts_refused;              /* writes: as many versions as there may be */
    uint64_t replicas_refused;               /* rows: as many replicas as there may be */
    uint64_t records_repaired;               /* damaged ones that a peer's took the place of */
    uint64_t records_mended;                 /* that differed from a peer's at equal clocks */
};
void store_counters(const struct store *store, struct store_counters *ret);

#endif
