/* The pure node: membership (swim), replication (sync) and forgetting behind one
 * step function.
 *
 * The world hands in the time and one event, and carries out the effects that
 * come back (effect.h). Nothing here waits, draws random numbers of its own,
 * knows a socket or reads a clock: the daemon drives a node from libuv and the
 * committer, a test from a heap of events in virtual time, and both see the same
 * behaviour. What must be durable goes out as EFFECT_STORE and comes back as
 * NODE_STORED; reads are short snapshots of the store. */
#ifndef YZMA_NODE_NODE_H
#define YZMA_NODE_NODE_H

#include "effect.h"
#include "node_request.h"
#include "rng.h"
#include "store.h"
#include "swim.h"

enum node_event_kind {
    NODE_TICK,            /* the deadline has come */
    NODE_DATAGRAM,        /* from, bytes */
    NODE_UNREACHABLE,     /* from: where a datagram could not be sent to */
    NODE_STREAM_ACCEPTED, /* stream, stream_kind, from */
    NODE_STREAM_OPENED,   /* stream */
    NODE_STREAM_DATA,     /* stream, bytes: a piece of any size above 0 */
    NODE_STREAM_DRAINED,  /* stream, queued: bytes sent that still wait in the world's queue */
    NODE_STREAM_CLOSED,   /* stream, text: the other side, or a failure; also a failed open */
    NODE_STORED,          /* ticket, work: done, its result in work->err. The world frees it after the step */
    NODE_STORE_CHANGED,   /* something was committed, here or by a client */
    NODE_RESOLVED,        /* ticket, addrs, addr_count; text when there are none */
    NODE_REQUEST,         /* ticket, request: answered by EFFECT_REPLY with the same ticket */
    NODE_CONFIGURE,       /* names: the new block list */
    NODE_REKEY,           /* keys: of the configuration, read again */
};

struct node_event {
    enum node_event_kind kind;
    uint64_t now_ms;  /* monotonic; never below that of an earlier event */
    uint64_t now_us;  /* the same clock, for round-trip times; 0: not known so exactly */
    uint64_t wall_ms; /* since 1970; may jump */
    enum stream_kind stream_kind;
    enum node_request request;
    uint64_t stream, ticket;
    size_t queued;
    struct addr from;
    struct bytes bytes; /* borrowed for the step */
    const char *text;   /* borrowed */
    const struct addr *addrs;
    size_t addr_count;
    struct store_work *work;
    const char *const *names;
    size_t name_count;
    const struct bytes *keys;
    size_t key_count;
};

struct node_config {
    const char *name;            /* Peering.Name; the member name is this, '-', the replica's UUID */
    const char *federation_name; /* Peering.Federation.NodeName */
    const char *ingress;         /* Federation.APIIngress: "host:port" where peers reach replication */
    struct addr advertise;       /* of gossip */
    const struct swim_profile *profile;
    const char *const *join; /* -j and Peering.Join: tried again for ever */
    size_t join_count;
    bool rejoin;              /* -j was given: joins even where the node had left for good */
    const char *const *block; /* Peering.Block: Name or full member name */
    size_t block_count;
    uint64_t forget_after_ms, history_ms, history_max_bytes, clock_skew_max_ms;
    const char *label;        /* Peering.Label; NULL or "": none */
    const struct bytes *keys; /* Peering.Keys: the first one seals; borrowed for node_new */
    size_t key_count;
    bool takes_unsealed, sends_unsealed; /* Peering.VerifyIncoming, VerifyOutgoing are off */
    uint8_t vsn[6];                      /* swim.h; all zero: the default */
    uint8_t nonce_key[32];               /* from the system's random source, new for each process */
    int compression;                     /* of replication: 0 off, -1 auto, or a level of zstd from 1 to 19 */
    uint16_t protocol_max;               /* of replication; 0: the newest. A lower one to be tested against */
    struct rng rng;                      /* seeded by the world, with 256 random bits in the daemon */
    /* Counters of the world (API, committer, sockets) for the status page; may be NULL. */
    void (*world_counters)(void *ctx, void (*each)(void *each_ctx, const char *name, uint64_t value),
                           void *each_ctx);
    void *world_ctx;
};

struct node;

/* Borrows the store; copies the configuration. The first effects (joining the
 * configured and the remembered members) come with the first tick, which is due
 * at once. ERR_DAMAGED or ERR_IO when the store's notes cannot be read. */
enum err node_new(const struct node_config *config, struct store *store, uint64_t now_ms, uint64_t wall_ms,
                  struct node **ret) MUST_USE;
void node_free(struct node *node);

void node_step(struct node *node, const struct node_event *event, struct effects *out);
/* When a NODE_TICK is next wanted, on the clock of now_ms. */
uint64_t node_deadline(const struct node *node);

/* What the others have of this replica's operations: sync_reported. */
size_t node_reported(const struct node *node, struct replica_id *ret_own, uint64_t counters[]);
uint64_t node_reports(const struct node *node);

#endif
