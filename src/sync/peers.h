/* The other replicas that this one knows, and what is known of them.
 *
 * A peer enters the table when membership tells of it or when it says hello, and
 * is kept in the store (note "peer/" + UUID): after a restart its last reported
 * clock still holds the watermark, its start list still proves its identity.
 *
 * Expected back are those that did not leave for good and were heard of within
 * Peering.ForgetAfter. They alone decide what may be forgotten cheaply; what may
 * be forgotten *safely* does not depend on them (store.h, the floor). */
#ifndef YZMA_SYNC_PEERS_H
#define YZMA_SYNC_PEERS_H

#include "frames.h"
#include "wall.h"

enum { PEERS_MAX = CLOCK_REPLICAS_MAX, PEER_ERROR_MAX = 160 };

#define PEER_NOTE      "peer/"
#define PEER_NAME_NOTE "name/" /* its member name alone: NODE_NOTE_NAME to the node */
#define TOLD_NOTE      "told/" /* peer.told, kept more often than the rest */

struct link;

/* What bytes were for; those of rows and walks are told apart. */
enum traffic { TRAFFIC_OTHER, TRAFFIC_DELTA, TRAFFIC_WALK };

struct traffic_count {
    uint64_t wire, raw;   /* all frames: as they travelled, and before they were packed */
    uint64_t delta, walk; /* of wire */
};

static inline void traffic_add(struct traffic_count *count, enum traffic traffic, size_t wire, size_t raw)
{
    count->wire += wire;
    count->raw += raw;
    count->delta += traffic == TRAFFIC_DELTA ? wire : 0;
    count->walk += traffic == TRAFFIC_WALK ? wire : 0;
}

struct peer {
    struct replica_id id;
    char name[MEMBER_NAME_MAX + 1]; /* full member name */
    char ingress[INGRESS_MAX + 1];
    bool member;         /* membership holds it for alive or suspect */
    bool left;           /* known by hearsay alone, or has taken another id: not waited for */
    bool departed;       /* left for good while its starts were these: it, or others, have told */
    bool forgotten;      /* an operator has let go of it; until its next hello */
    bool walking;        /* is being filled: takes and gives no rows */
    uint64_t met_ms;     /* first, while its past was not known; 0: it was */
    bool differs;        /* that others know another past of it, and neither gives way, was said */
    bool awaited;        /* others have told that they expect it back, and we have not met it */
    uint64_t doubted_ms; /* since when its hellos claim less than is known of it here; 0: they do not */
    bool has_starts;
    bool hearsay;              /* .. from others alone: it was not met, or its past not asked for yet */
    struct starts starts;      /* as at its last hello, or as others have told */
    uint64_t told;             /* the highest counter of its own that it has shown itself since */
    uint64_t told_kept;        /* of that, what this process has put into the store */
    struct clock clock, floor; /* as last reported: what it has durably, what it has forgotten */
    uint64_t heard_wall_ms;    /* when a link or membership last showed it alive */
    uint64_t early_ms;      /* since when, on the monotonic clock, the wall clock is below that; 0: is not */
    struct link *link;      /* the one that is up, or NULL */
    unsigned dialing;       /* connections of ours that are not up yet: 0 or 1 */
    unsigned dial_failures; /* in a row */
    uint64_t dial_at_ms;    /* not before */
    uint64_t shunned_until_ms;  /* after a malformed frame: no link before */
    char error[PEER_ERROR_MAX]; /* why the last connection failed or ended; "" after a good one */
    uint64_t bytes_in, bytes_out, rows_in, rows_out; /* of all its links since the start */
    struct traffic_count in, out;                    /* of the present link, or the last one */
    uint64_t up_ms;                                  /* since when */
    struct wall wall;                                /* its wall clock, as it told */
    bool clock_differs;                              /* .. by more than it should, and that was told */
    uint64_t holding_wall_ms;                        /* since when it holds forgetting open; 0: it does not */
};

struct peers {
    struct peer **list;
    size_t count, room;
};

void peers_done(struct peers *peers);
struct peer *peers_find(const struct peers *peers, const struct replica_id *id);
/* Finds or adds; NULL when PEERS_MAX is reached. */
struct peer *peers_get(struct peers *peers, const struct replica_id *id);

/* Drops the peer unheard of for the longest time, of those that are neither
 * connected nor expected back; false when there is none. */
bool peers_drop_one(struct peers *peers, uint64_t wall_ms, uint64_t forget_after_ms,
                    struct replica_id *ret_id);

/* The note that keeps a peer, and back. Unreadable notes are ERR_DAMAGED. */
void peer_encode(const struct peer *peer, struct buf *out);
enum err peer_decode(struct peers *into, struct bytes note) MUST_USE;
/* The note of peer.told. Decoding passes over what was told in another life than the one
 * that is remembered; ERR_DAMAGED for what is no such note. */
void told_encode(const struct peer *peer, struct buf *out);
enum err told_decode(const struct peers *peers, struct bytes note) MUST_USE;

/* For good: it would have to say hello, or to be a member, to be waited for. */
bool peer_has_left(const struct peer *peer);

/* Heard of within forget_after_ms, and not gone for good. A wall clock below the
 * time at which it was heard of (it was set back) forgets nobody by itself. */
bool peer_expected(const struct peer *peer, uint64_t wall_ms, uint64_t forget_after_ms);

/* Who was heard of while the wall clock stood ahead would stay expected until it gets
 * there. So who is not heard of for forget_after_ms of the monotonic clock, all with the
 * wall clock below the time it was last heard, was away as long: that time is put back.
 * It is not put back at once, as a wall clock may also stand wrong for a moment now
 * (a machine that starts before it has asked for the time). */
void peers_look_at_wall(struct peers *peers, uint64_t now_ms, uint64_t wall_ms, uint64_t forget_after_ms);

/* The pointwise minimum of our clock and of those of all peers expected back:
 * what every one of them is known to have durably. */
void peers_watermark(const struct peers *peers, const struct clock *own, uint64_t wall_ms,
                     uint64_t forget_after_ms, struct clock *ret);

#endif
