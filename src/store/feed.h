/* The changes of a store as a reader follows them, from a cursor that is a clock
 * (feed_cursor.h), and so on any node.
 *
 * A step reads a bounded part from one short snapshot, shows it event by event,
 * and moves the cursor with each; nothing is held between steps. What holds, as
 * long as every step begins with a cursor that an event before was shown with:
 *
 *   - each key's last state is shown at least once. The rows above `low` are gone
 *     through in order, and low rises row by row; a row whose key has a later one
 *     in the same step is left to that one, and low stands below it meanwhile.
 *   - no state is shown after a newer one of the same key. `high` covers all that
 *     the states shown include, and a node serves a cursor only when its clock
 *     covers high: what it holds of any key then includes what was shown of it.
 *     What a record's context has forgotten lies at or below the floor, so below
 *     low, so below high.
 *   - where the rows above low are not all there any more (low is not at or above
 *     the floor) nothing is shown: the reader has to list again. The snapshot is
 *     asked, not the past: the floor may have risen since the last step.
 *
 * A listing goes through the keys in order, from fresh snapshots, and follows the
 * changes of the keys already listed on the way: so low keeps up, and a listing
 * can take any time, be interrupted, and go on at another node. FEED_LISTED ends
 * it: a key under the prefix that was shown neither in the listing nor since it began is
 * not there. (Keys absent count as shown: the snapshot's clock goes into high.)
 *
 * Keys, counters and elements of sets are all records under keys, so one cursor and one
 * argument serve the three: a reader names the spaces it wants. A counter's state is what its
 * versions tell together, and what takes the place of a version tells all that it told.
 *
 * Unlike sync/send.c, which raises a peer's clock with these same rows, a reader
 * is shown states (the surfaced version), and never merges. */
#ifndef YZMA_STORE_FEED_H
#define YZMA_STORE_FEED_H

#include "feed_cursor.h"
#include "space.h"
#include "store.h"

enum { FEED_ROWS_MAX = 1000 }; /* rows or keys looked at in one step, at most */

enum feed_kind {
    FEED_PUT,
    FEED_DELETE,  /* nothing to be seen under the key: deleted, expired, a counter that was taken back */
    FEED_DAMAGED, /* the key's record cannot be read here: what it is now, this node cannot say */
    FEED_LISTED,  /* the listing ends here; no key */
};

struct feed_event {
    enum feed_kind kind;
    struct bytes key;              /* borrowed from the snapshot, as is the version */
    struct space_name name;        /* the same, taken apart */
    const struct version *version; /* FEED_PUT: the one that a read shows; of a counter the latest */
    struct replica_id replica;     /* whose operation: of a put its version's, else the row's */
    bool has_number;               /* FEED_PUT of a counter, unless it does not fit into 64 bits */
    int64_t number;
};

struct feed_reader {
    /* Of the records' keys (space.h); empty for all of these spaces: bits of 1 << enum space,
     * 0 for keys alone. What is of no space is never shown. */
    struct bytes prefix;
    unsigned spaces;
    bool exact;       /* the prefix is all of the one key that is wanted */
    uint64_t wall_ms; /* what has expired by then is not seen */
    /* The last step with this cursor was of this same store, since it was opened:
     * what it holds only grows, also where its clock does not say so yet. */
    bool continues;
    size_t rows_max;  /* at most FEED_ROWS_MAX; where changes take all, a listing gets half as many more */
    size_t bytes_max; /* of values shown; one value at least */
    /* Called for each event, with the cursor that stands behind it. */
    void (*each)(void *ctx, const struct feed_event *event, const struct feed_cursor *cursor);
    void *ctx;
};

enum feed_end {
    FEED_AT_HEAD, /* the cursor's low is the snapshot's clock */
    FEED_MORE,    /* a limit was reached */
    FEED_BEHIND,  /* this node has not seen what the cursor stands for; nothing was shown */
    FEED_WALKING, /* this node is being filled; nothing was shown */
    FEED_GONE,    /* rows above low are gone (pruned, or this store is not what it was); nothing was shown */
};

/* On an error (the engine's) the cursor stands behind the last event shown. */
enum err feed_step(struct snapshot *snapshot, const struct feed_reader *reader, struct feed_cursor *cursor,
                   enum feed_end *ret_end) MUST_USE;

/* What a step would end with before it shows anything: FEED_MORE when it would begin. */
enum err feed_judge(struct snapshot *snapshot, const struct feed_reader *reader, struct feed_cursor *cursor,
                    enum feed_end *ret_end) MUST_USE;

/* A reader without a cursor: from the present on. (Who reads the keys by himself after
 * it may see more than the clock tells, what was found early in a peer's records, and
 * then older states of it at another node: a listing of the feed's own counts that.) */
enum err feed_now(struct snapshot *snapshot, struct feed_cursor *cursor) MUST_USE;

/* What to go on with after FEED_GONE: a listing first, by any node that has seen what
 * was shown so far. */
enum err feed_anew(struct snapshot *snapshot, struct feed_cursor *cursor) MUST_USE;

#endif
