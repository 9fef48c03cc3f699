/* One connection to a peer.
 *
 *              stream opened / accepted      the peer's hello is good
 *   DIALING ----------------------> HELLO ----------------------------> UP
 *      |                              |                                 |
 *      +------------------------------+---------------------------------+--> gone
 *           failed, refused, no hello in 5 s, 15 s of silence, closed
 *
 * A link holds no rows: only how far the peer was sent (`sent`), and input that
 * is not a whole frame yet. */
#ifndef YZMA_SYNC_LINK_H
#define YZMA_SYNC_LINK_H

#include "frames.h"

struct peer;

enum link_state { LINK_DIALING, LINK_HELLO, LINK_UP, LINK_STATES };

struct link {
    uint64_t stream;
    enum link_state state;
    bool dialed;       /* by us */
    struct peer *peer; /* DIALING by us: the one meant; UP: the one that said hello; else NULL */
    struct buf in;     /* bytes of the next frame so far */
    size_t queued;     /* bytes handed to the world and not known to have left */
    uint64_t state_ms; /* when the state was entered */
    uint64_t heard_ms, spoke_ms;

    /* sending */
    struct clock sent;         /* per replica: rows up to here were sent, or the peer had them */
    struct replica_id *wanted; /* replicas besides our own whose rows the peer asked for */
    size_t wanted_count;
    bool held;                 /* the peer's clock is not at or above our floor: no delta will do */
    uint64_t damaged_until_ms; /* a chunk of our own rows could not be read: not before */
    struct buf walk_ask;       /* a question that waits until the queue has drained; empty: none */
    uint64_t ahead_digest;     /* the set of rows ahead that was offered last */
    struct clock reported;     /* our clock, as last reported */
    struct clock reported_floor;
    uint8_t reported_flags;
    uint64_t reported_ms;

    /* receiving */
    unsigned works; /* chunks of it at the committer */
    bool paused;
    uint64_t hold_until_ms;    /* paused until then, as our store refuses; 0: not for that */
    unsigned refusals;         /* of our store, in a row */
    uint64_t no_walk_until_ms; /* a piece from it could not be had or not be stored: not before */
    struct clock target;       /* the peer's clock at its hello: once ours covers it, we have caught up */
    bool caught_up;
};

/* Moves to a later state; CHECKs that the move is on the chart. */
void link_move(struct link *link, enum link_state state, uint64_t now_ms);
bool link_wants(const struct link *link, const struct replica_id *origin);
/* False when the peer has asked for more replicas than there can be. */
bool link_want(struct link *link, const struct replica_id *origin);
void link_unwant(struct link *link, const struct replica_id *origin);
void link_free(struct link *link);

#endif
