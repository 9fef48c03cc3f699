/* The inside of the cluster thread, shared by its files: no one else includes it.
 *
 * All but the inbox and the counters belongs to the loop's thread. */
#ifndef YZMA_EDGE_CLUSTER_STATE_H
#define YZMA_EDGE_CLUSTER_STATE_H

#include "cluster.h"
#include "reach.h"
#include "resolve.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    DEFAULT_GOSSIP_PORT = 7946, /* of a "host" without port, as memberlist has it */
    REQUESTS_MAX = 4096,        /* of the API, not answered yet */
    READ_SIZE = 64 << 10,       /* what one read takes; also the largest datagram */
    CONN_BUCKETS = 256,
    CONNECT_TIMEOUT_MS = 5000,
    LEAVE_TIMEOUT_MS = 10000, /* for what is queued to leave a closed stream */
    DISCARD_TIMEOUT_MS = 2000,
    UNREACHABLE_MAX = 16, /* failures to send that one step tells the node of */
};

enum net_counter {
    NET_DATAGRAMS_RECEIVED,
    NET_DATAGRAMS_SENT,
    NET_DATAGRAMS_UNSENT, /* the system refused them, or had no room */
    NET_DATAGRAM_BYTES_SENT,
    NET_BYTES_RECEIVED, /* of streams */
    NET_BYTES_SENT,
    NET_ACCEPTED,
    NET_REFUSED, /* too many at a time */
    NET_ACCEPT_ERRORS,
    NET_CONNECTED,
    NET_CONNECT_FAILURES,
    NET_REQUESTS_REFUSED,
    NET_COUNTERS
};

/* A request of the API that the node has not answered. */
struct waiter {
    uint64_t ticket;
    enum node_request request;
    char **names; /* owned, each too; until the node has seen them */
    size_t name_count;
    void (*done)(void *ctx, struct node_reply *reply);
    void *ctx;
    struct waiter *next;
};

struct name_list {
    char **names;
    size_t count;
};

struct key_list {
    struct bytes *keys; /* owned, with what they point to, in one block each */
    size_t count;
};

/* What other threads have for the loop. */
struct inbox {
    pthread_mutex_t lock;            /* guards all but changed; held for a few instructions only */
    struct store_work *works, **end; /* finished */
    struct waiter *waiters, **waiters_end;
    size_t waiter_count; /* in here, and asked of the node */
    bool configured;
    struct name_list blocked; /* when configured */
    bool rekeyed;
    struct key_list keys; /* when rekeyed */
    bool open;            /* takes requests */
    bool stopping;
    atomic_bool changed; /* the store */
};

struct conn;

struct cluster {
    struct cluster_options options;
    char *bind_address; /* owned */
    int family;         /* of the sockets */
    uint16_t gossip_port, replication_port;
    uv_loop_t loop;
    uv_udp_t udp;
    uv_tcp_t gossip, replication;
    uv_timer_t timer;   /* the node's next deadline */
    bool sockets_first; /* the deadline was late: they are read before it counts */
    uv_timer_t abandon;
    uv_async_t wake; /* something is in the inbox */
    pthread_t thread;
    bool running;   /* the thread is to be joined */
    bool deaf;      /* no event reaches the node: it is not there yet, or no more */
    bool ending;    /* everything closes */
    bool abandoned; /* the loop could not be ended */
    struct node *node;
    struct committer *committer;
    bool stepping;
    struct addr unreachable[UNREACHABLE_MAX];
    size_t unreachable_count;
    struct inbox inbox;
    struct waiter *waiting; /* the node has been asked */
    uint64_t next_request, next_accepted;
    struct conn *conns[CONN_BUCKETS]; /* by stream */
    atomic_size_t streams;            /* in there */
    size_t accepted_count;
    struct resolves resolves;
    struct reach reach;
    uint8_t read_buffer[READ_SIZE]; /* one for all: what is read is used at once */
    _Atomic uint64_t counters[NET_COUNTERS];
};

static inline void net_count(struct cluster *c, enum net_counter counter, uint64_t n)
{
    atomic_fetch_add_explicit(&c->counters[counter], n, memory_order_relaxed);
}

/* cluster.c: one event for the node; the effects are done on return. Never from
 * within an effect. */
void cluster_step(struct cluster *c, struct node_event *event);
/* The event that the store has changed, if it has. Each step begins with it. */
void cluster_look_at_store(struct cluster *c);
void cluster_read_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *ret);

/* bind.c: the handles udp, gossip and replication, bound. */
enum err cluster_bind(struct cluster *c, struct buf *why) MUST_USE;

/* inbox.c */
void inbox_init(struct inbox *inbox);
void inbox_done(struct inbox *inbox);
void inbox_take_work(struct store_work *work); /* store_work.done; ctx is the cluster */
/* Hands all that has come to the node. */
void inbox_empty(struct cluster *c);
/* Ends the waiter with this ticket. */
void inbox_reply(struct cluster *c, uint64_t ticket, struct node_reply *reply);
/* Takes no more requests, and answers those that wait with ERR_CLOSED. */
void inbox_close(struct cluster *c);

/* conn.c */
void conn_on_connection(uv_stream_t *listener, int status);
void conn_open(struct cluster *c, const struct effect *effect);
void conn_send(struct cluster *c, uint64_t stream, struct buf *bytes); /* takes */
void conn_close(struct cluster *c, uint64_t stream);
void conn_pause(struct cluster *c, uint64_t stream, bool paused);
/* Drops all, without telling the node. */
void conn_drop_all(struct cluster *c);

#endif
