/* Counters: a PN counter from the versions of one record, exact under adds on all
 * nodes, in whatever order and however often they arrive.
 *
 * The idea. A *session* is one start of one replica; its adds are a chain that only the
 * process of that start continues. What is known of a chain is its state after some add,
 * (seq, sum), and up to where it was deleted, (base_seq, base_sum). Two states of the
 * same session are joined by taking the later of each: that is a semilattice, so
 * neither order nor repeats matter, and the counter's number is
 *
 *     the sum over all sessions of (sum - base_sum).
 *
 * A version tells states; those of a record's versions are joined. An add replaces what
 * this replica has put, and puts all that it told, and its own session's next state. A
 * delete replaces all that this node has seen, and puts it with the bases raised to it. So
 * whatever a write removes is in what it puts; concurrent adds survive a delete exactly, and
 * two deletes of the same subtract it once.
 *
 * Why sessions, and not replicas. An old state of a store may be put back, and counts
 * on until it meets somebody who knows better and takes a new id
 * (store/reidentify.c). Then two histories go on from one state of the replica; but the
 * restored one has been started since, and so continues no chain of the other. What
 * both have counts once, as it is the same session up to the same add; what each added after
 * counts as its own. Puts of the same state under a new id are repeats, and no harm.
 *
 * So that starts do not add up without end, a replica sums up its earlier ones, once they lie
 * COUNTER_STARTS_KEPT back, into one more chain: session 0, whose seq is the number of the
 * last start in it. Two histories of one replica sum up the same starts to the same number,
 * as long as they have them in common. Here it is not exact: to a concurrent delete, an
 * add that sums up (one in as many starts) is an add of all that, and it stays; and a
 * restored store that is started so often before it learns what it is, or that is older,
 * may count twice what was summed up.
 *
 * Encoded form, the value of a version:
 *
 *   offset  size    what
 *   0       1       format, 1
 *   1       varint  states, ascending by session, each:
 *                     8 bytes lineage, varint start, 4 bytes random,
 *                     varint seq, sum, then a varint:
 *                     0 nothing deleted, 1 all of it, 2 and varint base_seq, base_sum
 *   a sum: signed, zigzag, LEB128 of up to 128 bits */
#ifndef YZMA_CRDT_COUNTER_H
#define YZMA_CRDT_COUNTER_H

#include "record.h"

__extension__ typedef __int128 counter_sum;

enum {
    COUNTER_STARTS_KEPT = 128,   /* a state has some 20 bytes; nothing special about this value */
    COUNTER_SESSIONS_MAX = 8192, /* of one counter; nothing special about this value */
    COUNTER_SUM_BITS = 100,      /* sums beyond are refused: what is added of them stays within 128 */
};

struct session {
    uint64_t lineage; /* the beginning of the replica's id then, which is random */
    uint64_t start;   /* the number of the start; 0: those that were summed up */
    uint32_t random;  /* .. tells starts of the same number in two histories apart */
};

struct counter_state {
    struct session session;
    uint64_t seq, base_seq; /* base_seq <= seq; 0: nothing deleted */
    counter_sum sum, base_sum;
};

/* What is known of one counter, ascending by session. {0} is nothing. */
struct counter_view {
    struct counter_state *states; /* owned */
    size_t count, room;
};
void counter_done(struct counter_view *c);

/* Joins what a version's value tells. ERR_MALFORMED, ERR_TRUNCATED, ERR_TOO_LARGE
 * (COUNTER_SESSIONS_MAX): then nothing of it is joined, or a part of what is true. */
enum err counter_join(struct counter_view *c, struct bytes value) MUST_USE;
/* All versions of a record; *ret_malformed counts those that cannot be read.
 * ERR_TOO_LARGE. */
enum err counter_of_record(struct counter_view *c, const struct record *record,
                           size_t *ret_malformed) MUST_USE;
void counter_encode(const struct counter_view *c, struct buf *out);

/* NULL without one. */
const struct counter_state *counter_find(const struct counter_view *c, const struct session *session);
/* False: something was added that was not deleted. */
bool counter_is_absent(const struct counter_view *c);
/* The counter's number; ERR_TOO_LARGE where concurrent adds have made more of it than 64
 * bits hold. */
enum err counter_number(const struct counter_view *c, int64_t *ret) MUST_USE;

/* A change by one session; all of it against `local`, which must be the newest state. */
struct counter_change {
    struct session session;
    struct dot dot; /* of the operation; its replica is this store's id */
    int64_t add;
    bool remove; /* a delete: add is unused */
    bool set;    /* adds what is missing to `add`, as this store counts; at it already: nothing */
};

/* What becomes of the record: `replaced[i]` for each version of local, and the value
 * of the new one. ERR_CONFLICT: the number would not fit into 64 bits. ERR_NOT_FOUND: there is
 * nothing to do, a delete of what is absent or a set to what it is. ERR_TOO_LARGE: too many
 * sessions. */
enum err counter_change(const struct record *local, const struct counter_change *change, bool *replaced,
                        struct buf *value, int64_t *ret_number) MUST_USE;

#endif
