/* The inside of the simulation of whole nodes, shared by its files: no one else
 * includes it. nodes.h tells the idea. */
#ifndef YZMA_SIM_NODES_STATE_H
#define YZMA_SIM_NODES_STATE_H

#include "disk_sim.h"
#include "log_engine.h"
#include "node.h"
#include "nodes.h"
#include "oracle.h"

enum {
    CLIENTS_MAX = 8,
    GOSSIP_PORT = 7946,
    SYNC_PORT = 7947,
    CONNECT_TIMEOUT_MS = 3000,
    VALUE_BYTES_MAX = 40000,
    VERSIONS_MAX = 64,  /* Server.MaxVersions, where a world has no lower one */
    PARTS_MAX = 4,      /* writes of a batch */
    DEAD_MAX = 256,     /* ids that nobody has any more: some worlds come to a hundred */
    GROUP_DOUBTS = 128, /* commits in doubt of one host: with the next success or start they are none */
};

/* ---- what will happen: heap.c ------------------------------------------------------ */

enum happening_kind {
    HAPPEN_EVENT,    /* event, for the node */
    HAPPEN_RESOLVED, /* the same, with addresses */
    HAPPEN_CONNECT,  /* a stream to addr */
    HAPPEN_FLOW,     /* a pipe's direction moves on */
    HAPPEN_COMMIT,   /* the committer takes what has queued */
    HAPPEN_APPLY,    /* the applier has its turn */
    HAPPEN_ASK,      /* a client's request arrives */
    HAPPEN_ANSWER,   /* the answer arrives at the client */
    HAPPEN_ACT,      /* a client begins something, or gives up what it waits for */
    HAPPEN_FAULT,    /* the next fault */
    HAPPEN_START,    /* a host that is down starts */
    HAPPEN_MEND,     /* a fault ends: index names it */
    HAPPEN_STOPPED,  /* a host has said goodbye, and ends */
};

struct pipe;
struct ask;

struct happening {
    uint64_t at_ms, order;
    enum happening_kind kind;
    int node;      /* of these, in its life; -1: nobody's */
    unsigned life; /* what was meant for an earlier life is dropped */
    struct node_event event;
    struct buf bytes; /* event.bytes */
    struct pipe *pipe;
    int end; /* FLOW: which end sends */
    struct addr addr;
    struct ask *ask;
    uint64_t index;
    const char *text;
};

struct heap {
    struct happening **at;
    size_t count, room;
    uint64_t order;
};

struct happening *heap_plan(struct heap *heap, uint64_t at_ms, enum happening_kind kind, int node,
                            unsigned life);
struct happening *heap_pop(struct heap *heap);
/* Puts one back that was taken, for later. */
void heap_push(struct heap *heap, struct happening *h, uint64_t at_ms);
void happening_free(struct happening *h);

/* ---- the network: net.c -------------------------------------------------------------- */

struct wire { /* one direction between two hosts */
    bool cut; /* nothing gets through; streams stall */
    uint64_t delay_min, delay_max;
    unsigned loss_permille, double_permille, late_permille;
    uint64_t late_max;
    size_t rate; /* bytes of streams per ms, all that are open each on its own; 0: no limit */
};

struct piece {
    uint64_t at_ms; /* not before */
    struct buf bytes;
};

struct flow { /* from one end to the other */
    struct piece *pieces;
    size_t count, room, queued;
    uint64_t last_at_ms;
    bool closing, planned;
};

struct pipe {
    enum stream_kind kind;
    struct {
        int node;
        unsigned life;
        uint64_t stream;
        bool open, paused;
    } ends[2];
    struct flow flows[2]; /* by the sending end */
    size_t refs;          /* ends that are open, and happenings */
};

/* ---- hosts ------------------------------------------------------------------------------ */

/* What stands behind the log: an ordered tree in memory, or a file that another engine
 * keeps (nodes.h). Both outlive the process. */
struct tree {
    struct engine *engine; /* in memory: always; else while the process runs */
    uint64_t file;         /* 0: in memory */
};

/* What a backup is: the files, and what the oracle knew of them. */
struct image {
    bool present, left, held;
    struct disk_sim *disk;
    struct tree tree;
    struct host_view view;
};

/* A commit of which it is not known whether it happened. */
struct doubt {
    size_t *ops;
    size_t count;
};

struct host {
    int index;
    bool used;    /* it was ever started */
    bool removed; /* for good: its disk is gone */
    bool left;    /* by POST /cluster/leave */
    bool returns; /* was started with -j after that, and has reached nobody yet */
    bool running;
    bool rotten;   /* bits of its log were flipped: the next start finds damage, or less than there was */
    bool stopping; /* it has been asked to end, and says goodbye */
    bool held;     /* by POST /cluster/pause, perhaps */
    bool held_surely;
    bool tree_dies; /* with the commit of its tree that fails */
    bool strange;   /* records came that it could not read, and it may have kept them */
    unsigned life;
    int address;
    uint64_t file; /* what the store's file is: another after a restore elsewhere */
    /* A copy of a store whose node goes on, with the same id, until it takes a new one;
     * named as that node is, or by itself. */
    bool twin, reidentify;
    struct replica_id twin_id;
    int named_as;

    struct disk_sim *disk;     /* of the log; outlives the process */
    struct tree tree;          /* behind the log */
    struct engine *log_engine; /* while running */
    struct store *store;
    struct node *node;

    uint64_t base_ms, local_base_ms, ppm; /* its monotonic clock */
    uint64_t local_first_ms;
    int64_t wall_offset_ms;
    uint64_t deadline_ms; /* of the node, on the world's clock */
    bool deadline_stale;  /* to be asked for anew */
    uint64_t paused_until_ms, slow_until_ms, strange_until_ms;
    uint64_t commit_ms_max, io_pause_until_ms;

    struct store_work *works, **works_end; /* that wait for the committer */
    bool commit_planned, apply_planned;
    struct pipe **pipes;
    size_t pipe_count, pipe_room;
    uint64_t next_accepted, next_request;
    uint64_t tickets[NODE_REQUEST_SHUTDOWN + 1]; /* of the last request of each kind; 0: answered */

    struct host_view view; /* what the oracle saw here last */
    struct doubt doubts[GROUP_DOUBTS];
    size_t doubt_count;
    struct image saved;
};

/* ---- clients: clients.c ------------------------------------------------------------------ */

enum ask_kind { ASK_GET, ASK_PUT, ASK_DELETE, ASK_ADD, ASK_LIST, ASK_TOUCH, ASK_BATCH, ASK_KINDS };

/* One write of an ask. */
struct part {
    size_t key, op;
    bool remove, add, touch;
    uint64_t ttl_ms; /* 0: for ever; the moment is the operation's, from its arrival on */
    struct buf value;
    bool has_condition;
    struct condition condition;
    struct set expects; /* the living versions for which the condition holds */
};

/* A request, from its making until its answer has arrived. */
struct ask {
    enum ask_kind kind;
    int client, node;
    uint64_t serial; /* the client waits for this one */
    size_t key;
    bool with_token;
    struct token token;
    struct set alive, dead; /* what the token's holder knows */
    uint64_t wait_until_ms; /* for the node to cover the token; 0: it has not arrived yet */
    struct part parts[PARTS_MAX];
    size_t part_count;         /* 0: a read */
    unsigned replicas;         /* w=: how many must have it; 0: not asked for */
    uint64_t confirm_until_ms; /* it is on disk, and waits for these */
    unsigned life;             /* of the node, since then */
    /* the answer */
    enum err err;
    struct set versions, hidden, gone; /* hidden: their time is over, by the node's clock */
    uint64_t tag;
    struct token answer;
    bool has_answer_token;
};

struct client {
    int node; /* its present favourite */
    uint64_t serial, waits_until_ms;
    bool waiting;
    struct {
        bool has_token;
        struct token token;
        struct set alive, dead;
        bool has_tag;
        uint64_t tag;
        struct set tagged; /* what stood there under this tag */
    } keys[ORACLE_KEYS];
};

struct habits { /* of a world's clients */
    unsigned weight[ASK_KINDS];
    unsigned ttl_permille, condition_permille, confirm_permille;
    bool siblings; /* Server.Conflict: a put without a token stands beside */
};

/* ---- the world --------------------------------------------------------------------------- */

struct rates { /* of one world: permille of the faults drawn; see faults.c */
    unsigned weight[NODES_FAULTS];
    uint64_t every_ms; /* mean time between faults */
};

struct world {
    struct nodes_options options;
    struct nodes_result result;
    struct rng rng;
    uint64_t now_ms;
    struct heap heap;
    int host_count;
    struct host *hosts;
    struct wire *wires; /* host_count * host_count, from * host_count + to */
    struct client clients[CLIENTS_MAX];
    int client_count;
    struct oracle oracle;
    struct rates rates;
    uint64_t history_ms, forget_after_ms, history_max_bytes;
    uint64_t memory_max, segment_bytes, skew_max_ms;
    unsigned delay_ms;
    size_t versions_max;
    struct habits habits;
    bool lossy;     /* disks may be lost: what only they held is gone */
    bool forgetful; /* who is away for seconds is forgotten, and walks when it is back */
    bool jumped;    /* a wall clock did: who was heard of in its future is expected until then */
    bool renamed;   /* somebody had to take a new id, or one was ended: tokens may speak of the old one */
    bool calm;      /* the faults are over */
    bool trembling; /* disks fail at single calls */
    uint64_t asks;  /* serials */
    struct dead {   /* ids that nobody has any more, or that an operator takes for such */
        struct replica_id id;
        bool retired;
    } dead[DEAD_MAX];
    size_t dead_count;
    const struct engine_ops *tree_ops;
    struct engine_ops kept_ops; /* the same, but for a close that keeps */
    bool on_files;              /* the trees are */
    uint64_t next_file;
    int looked_at; /* host: bounds.c */
    unsigned spins;
    uint64_t spin_ms;
};

/* nodes.c */
void world_say(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_mix(struct world *w, const void *data, size_t len);
void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Draws are statements of their own, or nested: in which order a call's arguments and an
 * initializer's values are found is the compiler's, and a seed names one world. */
static inline uint64_t world_pick(struct world *w, uint64_t n)
{
    return rng_below(&w->rng, n);
}
static inline bool world_chance(struct world *w, unsigned permille)
{
    return rng_permille(&w->rng, permille);
}
struct happening *world_plan(struct world *w, uint64_t in_ms, enum happening_kind kind, int node);

/* net.c */
struct wire *wire_of(struct world *w, int from, int to);
void net_quiet(struct world *w, uint64_t delay_ms); /* all wires as new */
void net_datagram(struct world *w, int node, struct effect *effect);
void net_connect(struct world *w, const struct happening *h);
void net_send(struct world *w, int node, uint64_t stream, struct buf *bytes);
void net_close(struct world *w, int node, uint64_t stream);
void net_pause(struct world *w, int node, uint64_t stream, bool paused);
void net_flow(struct world *w, struct pipe *pipe, int end);
/* The host's process is gone; with a word to the others, or without. */
void net_drop(struct world *w, int node, bool with_reset);
void pipe_unref(struct pipe *pipe);
bool net_closed(struct world *w, const struct happening *h); /* false: it was closed already */
size_t net_queued_most(const struct world *w); /* bytes that wait in one direction of one stream */

/* host.c */
uint64_t host_now(const struct world *w, const struct host *host);
uint64_t host_when(const struct world *w, const struct host *host, uint64_t local_ms);
uint64_t host_wall(const struct world *w, const struct host *host);
uint64_t world_wall(const struct world *w); /* the right time */
void host_clock_rate(struct world *w, struct host *host, uint64_t ppm);
/* Starts the process; on an error that time may heal it is tried again, and on
 * damage the operator throws the disk away. */
void host_start(struct world *w, struct host *host);
enum end { END_KILL, END_CRASH, END_STOP };
void host_end(struct world *w, struct host *host, enum end how);
bool host_has_left(const struct host *host);                    /* by its store; it runs */
bool host_dead(const struct world *w, const struct host *host); /* its process died in a change of a disk */
void host_wipe(struct world *w, struct host *host);             /* down: nothing is left of its disk */
void host_stopped(struct world *w, struct host *host);          /* its goodbye is told: it ends */
void host_done(struct world *w, struct host *host);
void host_step(struct world *w, struct host *host, struct node_event *event);
void host_request(struct world *w, struct host *host, enum node_request request, const char *name);
/* So that nothing stands between it and the others any more. */
void host_resume(struct world *w, struct host *host);
void host_address(const struct host *host, uint16_t port, char out[ADDR_TEXT_MAX]);

/* commit.c: the committer and the applier */
void host_submit(struct world *w, struct host *host, struct store_work *work);
void host_commit(struct world *w, struct host *host);
void host_apply(struct world *w, struct host *host);
void host_drain(struct world *w, struct host *host);     /* all that waits, in both; it may die of it */
void works_drop(struct store_work *list);                /* nobody answers them any more */
void doubts_resolve(struct world *w, struct host *host); /* after a start */

/* backup.c: disks that are copied, put back, and go bad */
enum err tree_open(struct world *w, struct tree *tree);
bool tree_dead(const struct world *w, const struct host *host); /* the process died in a change of it */
void tree_fail(struct world *w, struct host *host, const struct tree_fault *fault);
void tree_die(struct world *w, struct host *host);
void tree_end(struct world *w, struct host *host, bool power);
void tree_copy(struct world *w, struct tree *to, const struct tree *from);
void tree_done(struct world *w, struct tree *tree);
/* Of a running host, or one that is down. */
void image_take(struct world *w, struct host *host, struct image *image);
void image_done(struct world *w, struct image *image);
void host_restore(struct world *w, struct host *host, const struct image *image, bool same_file);
void host_rot(struct world *w, struct host *host); /* a bit of its log flips */

/* damage.c: what goes bad behind the log */
void host_damage(struct world *w, struct host *host);
/* What a host claims and can still give to others. */
struct set damage_covered(const struct world *w, const struct host *host);
void damage_lost(struct world *w);
void damage_mended(struct world *w, struct host *host, size_t key, const struct set *held);
bool damage_read(struct world *w, struct host *host); /* all of it; false: there is none */

/* bounds.c: what has a limit */
void bounds_look(struct world *w);
bool bounds_end(struct world *w); /* no more history is kept than there may be */

/* clients.c */
void client_act(struct world *w, int client);
void client_ask(struct world *w, struct ask *ask); /* at the node */
void client_answer(struct world *w, struct ask *ask);
void client_written(struct world *w, struct host *host, struct store_work *work);
void ask_free(struct ask *ask);

/* hand.c: what operators do, rightly and wrongly */
void hand_member(struct world *w, struct host *host); /* added, leaves, comes back, is away for long */
void hand_loss(struct world *w, struct host *host);   /* restored, copied, wiped, removed */
void hand_stop(struct world *w, struct host *host);   /* as by SIGTERM; it is started again */
void hand_hold(struct world *w, struct host *host);   /* POST /cluster/pause, or resume */
void hand_forget(struct world *w, struct host *host);
void hand_let_go(struct world *w); /* of all ids that nobody here has any more */
void hand_retire(struct world *w, struct host *host);
void hand_twin(struct world *w, struct host *host);      /* a copy of it is started beside it */
void hand_twin_ends(struct world *w, struct host *host); /* yzma reidentify at the copy */
void dead_add(struct world *w, const struct replica_id *id);
bool dead_retired(const struct world *w, const struct replica_id *id);

/* faults.c */
void fault_down(struct world *w, struct host *host, enum end how, uint64_t for_ms);
/* By a kill, so likely, or by a power cut. */
void fault_down_somehow(struct world *w, struct host *host, unsigned kill_permille, uint64_t for_ms);
uint64_t fault_duration(struct world *w);
struct host *fault_host(struct world *w);
void faults_draw(struct world *w);
void fault_strike(struct world *w);
void fault_mend(struct world *w, const struct happening *h);
void faults_end(struct world *w);
/* hand_twin_ends at that host, in a while. */
void fault_twin_ends_later(struct world *w, const struct host *host);

/* watch.c: the oracle's look at a host */
/* `opened`: the store has just been opened. */
void watch_host(struct world *w, struct host *host, bool opened);
void watch_lost(struct world *w, struct host *host);              /* before its disk goes */
void watch_retired(struct world *w, const struct replica_id *id); /* before the id is ended */
void watch_twin(struct world *w, const struct host *host);        /* before it has one */
void watch_end(struct world *w, bool complete);
bool watch_agree(struct world *w);
bool watch_equal(struct world *w);
/* Deleted keys cost nothing, and history has ended. *ret_stranded: there are rows of
 * operations that no clock here claims; their replica has gone, and these cost. */
bool watch_no_traces(struct world *w, bool *ret_stranded);
void watch_tell(struct world *w, struct host *host);
bool excused(const struct world *w, size_t op); /* it may be anywhere, or nowhere */
bool watch_is_core(const struct host *host);

#endif
