/* One connection to a peer.
 *
 *              stream opened / accepted      the peer's hello is good
 *   DIALING ----------------------> HELLO ----------------------------> UP
 *      |                              |                                 |
 *      +------------------------------+---------------------------------+--> gone
 *           failed, refused, no hello in 5 s, 15 s of silence, closed
 *
 * For sending a link holds no rows: only how far the peer was sent (`sent`), and
 * where a walk that it is served stands. Of what came in it holds a frame that is
 * not whole yet, and a bounded number that wait for the committer (intake.c). */
#ifndef YZMA_SYNC_LINK_H
#define YZMA_SYNC_LINK_H

#include "squeeze.h"

struct peer;

/* A frame's rows that wait for the committer; slices of it may be there already. */
struct waiting {
    struct store_work *work;
    size_t given; /* entries */
    size_t bytes; /* of its payload */
    uint64_t run; /* of a walk's pieces; 0: rows */
    struct waiting *next;
};

/* A walk that the peer is served. */
struct serving {
    uint64_t run;
    struct walk_place place;
    struct clock last; /* joined of the clocks of all pieces before */
    uint64_t ahead;    /* pieces that it may be sent without asking again; 0: it must ask */
};

enum link_state { LINK_DIALING, LINK_HELLO, LINK_UP, LINK_STATES };

struct link {
    uint64_t stream;
    enum link_state state;
    uint16_t protocol; /* UP: the highest that both speak */
    uint64_t life;     /* UP: the peer's starts, in all, as its hello had them */
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
    uint64_t rows_at_ms;       /* no rows before */
    uint64_t damaged_until_ms; /* a chunk of our own rows could not be read: not before */
    struct serving serving;
    struct dull dull;
    uint64_t ahead_digest;   /* the set of rows ahead that is offered .. */
    struct dot ahead_after;  /* .. up to here .. */
    bool ahead_offered;      /* .. or whole */
    uint64_t ahead_again_ms; /* we did not store what it offered: it is asked then, 0 for never */
    struct clock reported;   /* our clock, as last reported */
    struct clock reported_floor;
    uint8_t reported_flags;
    uint64_t reported_ms;
    uint64_t time_told_ms;   /* 0: not yet */
    uint64_t hello_ms;       /* when ours was sent */
    bool time_heard;         /* the peer has told its wall clock, on this link */
    struct retired *retired; /* owned: of the peer, as it told last */
    size_t retired_count;

    /* past.c */
    bool past_told; /* the peer has told what it knows of others' pasts */
    bool unproven;  /* its own past is asked for first: what it sends waits */

    /* repair.c: rounds */
    uint64_t repair_asked;          /* the last one in which it was asked */
    uint64_t repair_heard;          /* .. in which it told what it has */
    uint64_t repair_damaged;        /* .. in which its record was past mending */
    uint64_t repair_avoid_until_ms; /* it did not answer: not asked before */

    /* receiving */
    struct waiting *waiting, **waiting_end; /* for the committer, in order */
    size_t waiting_count, waiting_bytes;
    unsigned works; /* of it at the committer */
    bool paused;
    uint64_t hold_until_ms;    /* paused until then, as our store refuses; 0: not for that */
    unsigned refusals;         /* of our store, in a row */
    uint64_t no_walk_until_ms; /* a piece from it could not be had or not be stored: not before */
    struct clock target;       /* the peer's clock at its hello: once ours covers it, we have caught up */
    bool caught_up;
    uint64_t lacked_here;  /* operations, when it came up */
    uint64_t lacked_there; /* .. that the peer lacked */
    struct clock goal;     /* our clock at its hello: once the peer's covers it, it has caught up */
    bool served;
};

/* Moves to a later state; CHECKs that the move is on the chart. */
void link_move(struct link *link, enum link_state state, uint64_t now_ms);
bool link_wants(const struct link *link, const struct replica_id *origin);
/* False when the peer has asked for more replicas than there can be. */
bool link_want(struct link *link, const struct replica_id *origin);
void link_unwant(struct link *link, const struct replica_id *origin);
void link_free(struct link *link);

#endif
