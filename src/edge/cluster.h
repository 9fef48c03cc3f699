/* The cluster thread: the pure node (node.h) on real sockets and real time.
 *
 * One thread runs a libuv loop. Whatever happens (a datagram, a piece of a
 * stream, a timer, a finished work, a request of the API) becomes one event of
 * the node, and the effects that come back are carried out before the next one.
 * Nobody else touches the node; other threads reach it through an inbox.
 *
 * It listens at two ports: gossip (UDP, and TCP with the same number) and
 * replication (TCP).
 *
 *   cluster_open (binds, so that the ports are known) .. cluster_start (the node
 *   and its thread) .. cluster_stop .. cluster_free */
#ifndef YZMA_EDGE_CLUSTER_H
#define YZMA_EDGE_CLUSTER_H

#include "committer.h"
#include "node.h"

struct cluster;

struct cluster_options {
    const char *bind_address;  /* IPv4 or IPv6; "::" takes both */
    uint16_t gossip_port;      /* 0: one that is free for UDP and TCP */
    uint16_t replication_port; /* 0: any free one */
    size_t accepted_max;       /* connections; beyond it they are closed, and counted */
    void (*log)(enum notice_level level, struct bytes line); /* any thread */
    /* From the cluster thread, when other replicas have said that they have more, or
     * are more or fewer: what cluster_replicas says has changed. May be NULL. */
    void (*on_replicas)(void *ctx);
    void *ctx;
};

/* Listens, but answers nobody yet. ERR_IO with one line in why: "cannot bind
 * gossip to 0.0.0.0:7946: Address already in use". */
enum err cluster_open(const struct cluster_options *options, struct cluster **ret, struct buf *why) MUST_USE;
uint16_t cluster_gossip_port(const struct cluster *cluster);
uint16_t cluster_replication_port(const struct cluster *cluster);

/* Makes the node and starts the thread. Store and committer stay the caller's,
 * and live until cluster_free. The errors of node_new; cluster_free is then all
 * that is left to do. */
enum err cluster_start(struct cluster *cluster, const struct node_config *config, struct store *store,
                       struct committer *committer) MUST_USE;

/* Those below may be called from any thread while the cluster is open. */

/* Asks the node. The names are copied. On OK done is called exactly once, on the
 * cluster thread (or, when it stops, on the one that stops it), and owns the
 * reply; a reply of ERR_CLOSED is no answer of the node. ERR_BUSY: too many
 * wait. ERR_CLOSED: stopping, or not started. */
enum err cluster_request(struct cluster *cluster, enum node_request request, const char *const *names,
                         size_t name_count, void (*done)(void *done_ctx, struct node_reply *reply),
                         void *done_ctx) MUST_USE;
/* The new block list; copied. */
void cluster_configure(struct cluster *cluster, const char *const *blocked, size_t blocked_count);
/* The keys of the configuration, read again; copied. */
void cluster_rekey(struct cluster *cluster, const struct bytes *keys, size_t key_count);
/* Something was committed: from now on whatever the node is asked it answers with it.
 * Cheap; any thread. */
void cluster_store_visible(struct cluster *cluster);
/* .. and it should tell others. */
void cluster_store_changed(struct cluster *cluster);
/* How many replicas are known, with this one, and how many of them are known to have an
 * operation of this one durably, with this one. */
void cluster_replicas(struct cluster *cluster, const struct dot *dot, unsigned *ret_known,
                      unsigned *ret_having);
/* Names like net_datagrams_received, for the status page. */
void cluster_counters(const struct cluster *cluster,
                      void (*each)(void *each_ctx, const char *name, uint64_t value), void *each_ctx);

/* Closes all sockets, answers what waits with ERR_CLOSED and ends the thread.
 * The committer must have stopped, so that every work has come back. False when
 * the system's resolver still held a name after a second: its thread then lives
 * on, and with it the cluster's memory; the process should _exit. */
bool cluster_stop(struct cluster *cluster);
void cluster_free(struct cluster *cluster); /* takes NULL; stops first */

#endif
