/* Replication: who is connected to whom, and who sends what to whom.
 *
 * The idea. There is one way to send: read from the store what the peer lacks. A
 * peer that is one write behind and one that is a year behind differ only in how
 * far its cursor stands from the end of the rows. So nothing is queued for a slow
 * or absent peer, no message is ever "the" carrier of a write, and a lost
 * connection costs the open chunk.
 *
 *   links   one connection per pair (link.h), dialled by either side; after both
 *           hellos the one dialled by the smaller replica id stays
 *   send    each replica sends its own rows to all peers; another's rows only to
 *           a peer that asked for them (send.c)
 *   relay   a replica whose own rows do not come, because it is away or cut off
 *           from us, is asked for at one other peer that is ahead (relay.c)
 *   intake  what comes in is handed to the committer in slices that leave room for
 *           the writes made here (intake.c, pace.h)
 *   walk    a store whose clock is not at or above a peer's floor cannot be given
 *           a delta: it is filled in key order (fill.c; the other side: serve.c)
 *   forget  the floor rises as all that are expected back have the operations
 *           (forget.c)
 *
 * What is safe does not depend on any decision made here. The store refuses rows
 * that leave a gap, pieces out of order, rows while it walks; a source checks the
 * receiver's clock against its own floor inside the snapshot it reads from.
 *
 * Pure: time, random numbers and stream names come in, effects go out. */
#ifndef YZMA_SYNC_SYNC_H
#define YZMA_SYNC_SYNC_H

#include "effect.h"
#include "frames.h"
#include "rng.h"

struct sync_config {
    const char *name, *label, *ingress; /* member name, cluster label, "host:port" */
    struct addr gossip;                 /* as advertised */
    uint64_t forget_after_ms, history_ms, history_max_bytes, clock_skew_max_ms;
    int compression;       /* squeeze.h */
    uint16_t protocol_max; /* 0: the newest; a lower one to be tested against */
    struct rng rng;
    uint64_t (*new_stream)(void *ctx); /* names never given before */
    uint64_t (*new_ticket)(void *ctx);
    bool (*blocked)(void *ctx, const char *name); /* by Peering.Block */
    void *ctx;
};

struct sync;

/* Borrows the store, copies the configuration. Reads the store's clock, identity,
 * walk and peers. */
enum err sync_new(const struct sync_config *config, struct store *store, uint64_t now_ms,
                  struct sync **ret) MUST_USE;
void sync_free(struct sync *sync);

struct sync_time {
    uint64_t now_ms, wall_ms;
};

/* What membership says of a replica: alive (or suspect) at this ingress, or gone. */
void sync_member(struct sync *sync, struct sync_time time, const struct replica_id *id, const char *name,
                 const char *ingress, bool alive, struct effects *out);

/* This node has left, or begins anew under a new id, and knows of nobody any more: who is a
 * member then it is told anew, and who went meanwhile it would never hear of. */
void sync_no_members(struct sync *sync);

void sync_stream_accepted(struct sync *sync, struct sync_time time, uint64_t stream, struct effects *out);
/* These return false for a stream that is not sync's. */
bool sync_stream_opened(struct sync *sync, struct sync_time time, uint64_t stream, struct effects *out);
bool sync_stream_data(struct sync *sync, struct sync_time time, uint64_t stream, struct bytes data,
                      struct effects *out);
bool sync_stream_drained(struct sync *sync, struct sync_time time, uint64_t stream, size_t queued,
                         struct effects *out);
bool sync_stream_closed(struct sync *sync, struct sync_time time, uint64_t stream, const char *why,
                        struct effects *out);
/* False for a ticket that is not sync's. */
bool sync_stored(struct sync *sync, struct sync_time time, uint64_t ticket, const struct store_work *work,
                 struct effects *out);
void sync_store_changed(struct sync *sync, struct sync_time time, struct effects *out);
void sync_tick(struct sync *sync, struct sync_time time, struct effects *out);
uint64_t sync_deadline(const struct sync *sync, uint64_t now_ms);

/* Ends every link with a blocked peer. */
void sync_blocks_changed(struct sync *sync, struct sync_time time, struct effects *out);
/* Leaving for good: peers are told, links end, none is made or accepted until
 * sync_return. A walk that is under way is broken off. */
void sync_leave(struct sync *sync, struct sync_time time, struct effects *out);
void sync_return(struct sync *sync, struct sync_time time, struct effects *out);

/* Another node under our own id is said to be at this ingress: one hello is exchanged with
 * it, which shows how far both are the same (twin.h). Once a minute at most. */
void sync_meet_twin(struct sync *sync, struct sync_time time, const char *ingress, struct effects *out);

/* By an operator. Each gives the ticket of the work that makes it durable, which
 * sync_stored takes as its own (0: nothing to store), or the error and why. */
/* Remote writes are taken and not applied; kept over restarts. */
uint64_t sync_pause(struct sync *sync, struct sync_time time, bool on, struct effects *out);
bool sync_is_paused(const struct sync *sync);
/* A UUID or a member name. False: neither. */
bool sync_find_replica(const struct sync *sync, const char *text, struct replica_id *ret);
/* Not expected back until it says hello; connected peers are told. ERR_NOT_FOUND, ERR_CONFLICT. */
enum err sync_forget(struct sync *sync, struct sync_time time, const struct replica_id *id,
                     const char **ret_why, uint64_t *ret_ticket, struct effects *out) MUST_USE;
/* Ended: retire.c. ERR_NOT_FOUND, ERR_CONFLICT, ERR_TOO_LARGE. */
enum err sync_retire(struct sync *sync, struct sync_time time, const struct replica_id *id,
                     const char **ret_why, uint64_t *ret_ticket, struct effects *out) MUST_USE;

/* The process is about to end: no new links, and their ends are no news. */
void sync_stop(struct sync *sync);

/* Is less than a tenth of Server.MaxStoreBytes left, or less than 256 MiB of the disk? Once
 * low it is so until there is a fifth more than that. */
uint64_t sync_space_used(const struct engine_usage *usage);
bool sync_space_is_low(const struct engine_usage *usage, bool was_low);

/* What the node must know; false when there is nothing more. */
enum sync_event_kind {
    SYNC_READDRESS,    /* name, addr: a replica proved its id and has this gossip address */
    SYNC_REIDENTIFIED, /* this store has a new replica id */
};
struct sync_event {
    enum sync_event_kind kind;
    char name[MEMBER_NAME_MAX + 1];
    struct addr addr;
};
bool sync_next_event(struct sync *sync, struct sync_event *ret);

/* After SYNC_REIDENTIFIED the member name is another. */
void sync_rename(struct sync *sync, const char *name);

const struct replica_id *sync_id(const struct sync *sync);

/* Of each other replica that is expected back, the highest of this one's counters that it
 * has durably, as last reported: at most PEERS_MAX. How many there are. They change with
 * sync_reports, and with time. */
size_t sync_reported(const struct sync *sync, uint64_t wall_ms, uint64_t counters[]);
uint64_t sync_reports(const struct sync *sync);

/* For GET /ready. */
struct sync_readiness {
    bool ready;
    const char *reason;             /* static text; "" when ready */
    const char *peer;               /* member name, or ""; borrowed until the next step */
    uint64_t keys_done, keys_total; /* of a delta: operations */
    uint64_t bytes, percent, keys_per_s, bytes_per_s;
};
void sync_readiness(const struct sync *sync, uint64_t now_ms, struct sync_readiness *ret);

void sync_counters(const struct sync *sync, void (*each)(void *ctx, const char *name, uint64_t value),
                   void *ctx);

/* The member names of the replicas that are expected back, present or not. */
void sync_each_expected(const struct sync *sync, struct sync_time time,
                        void (*each)(void *ctx, const char *name), void *ctx);

/* Replication with one peer, for the list of members. False: it is not known here. */
struct sync_peer_view {
    const char *state;            /* "up", "held", "dialing", "down", "left", "blocked" */
    uint64_t lag_here, lag_there; /* operations that it has and we lack, and the other way round */
    const char *error;            /* why the last connection failed or ended; borrowed until the next step */
};
bool sync_view_peer(const struct sync *sync, const struct replica_id *id, struct sync_peer_view *ret);

struct json_out;
/* Writes "Replica", "Clock", "Floor", "Walk" and "Links" as members of an open object. */
void sync_report(const struct sync *sync, struct sync_time time, struct json_out *out);

#endif
