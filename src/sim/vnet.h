/* A network in virtual time, for whoever takes events and gives effects (effect.h):
 * hosts with addresses, datagrams that are lost, doubled and delayed, streams that
 * keep their order, links that are cut in one direction, hosts that stand still or
 * whose clocks run fast. It jumps from one event to the next. All chance flows from
 * the seed: the same seed is the same run.
 *
 * Not modelled: a bandwidth that streams and hosts share, and packets that are dropped
 * because a socket's buffer is full. Streams have no loss of their own; what is sent
 * into a cut is gone. */
#ifndef YZMA_SIM_VNET_H
#define YZMA_SIM_VNET_H

#include "effect.h"
#include "rng.h"

enum { VNET_HOSTS_MAX = 1 << 16 };

/* What a host does. ctx is the one given to vnet_add; the time is by the host's own
 * clock. Any may be NULL but the first two. */
struct vnet_ops {
    uint64_t (*deadline)(void *ctx);
    void (*tick)(void *ctx, uint64_t now, struct effects *out);
    void (*datagram)(void *ctx, uint64_t now, const struct addr *from, struct bytes packet,
                     struct effects *out);
    void (*accepted)(void *ctx, uint64_t now, uint64_t stream, enum stream_kind kind, const struct addr *from,
                     struct effects *out);
    void (*opened)(void *ctx, uint64_t now, uint64_t stream, struct effects *out);
    void (*data)(void *ctx, uint64_t now, uint64_t stream, struct bytes bytes, struct effects *out);
    void (*closed)(void *ctx, uint64_t now, uint64_t stream, struct effects *out);
    /* Effects that are not the network's (store, reply, resolve, notice); may take what they own. */
    void (*effect)(void *ctx, uint64_t now, struct effect *effect, struct effects *out);
    void (*after)(void *ctx, uint64_t now); /* each step */
};

/* One direction between two hosts. */
struct vnet_link {
    bool cut;               /* datagrams vanish, streams neither open nor move */
    unsigned loss_permille; /* of datagrams */
    uint64_t delay_min, delay_max;
    unsigned double_permille; /* datagrams that arrive twice, each copy with its own delay */
    unsigned late_permille;   /* datagrams that take up to late_max more: others overtake them */
    uint64_t late_max;
    size_t stream_rate; /* bytes of a stream per ms, which come in pieces of that; 0: no limit, all at once */
};

/* What a host has sent, lost packets and all. A stream's bytes count with both ends'. */
struct vnet_sent {
    uint64_t datagrams, datagram_bytes, streams, stream_bytes;
};

struct vnet;

struct vnet *vnet_new(uint64_t seed);
void vnet_free(struct vnet *net);
uint64_t vnet_now(const struct vnet *net);
uint64_t vnet_new_stream(struct vnet *net);

/* A host that takes gossip at one address and, if it has a length, sync streams at
 * the other. Returns its number, which is never given again. */
int vnet_add(struct vnet *net, struct addr gossip, struct addr sync, const struct vnet_ops *ops, void *ctx);
/* Gone without a word: its streams break, what is under way to it vanishes. */
void vnet_remove(struct vnet *net, int host);

/* The process stands still, as if stopped by a signal: what comes waits in its
 * sockets (connections are accepted by its kernel), and no timer of it runs. When
 * it goes on, what is due by its timers comes first, as in libuv, and then, in
 * order, what has waited. One that stands still already, or runs: nothing happens. */
void vnet_pause(struct vnet *net, int host);
void vnet_resume(struct vnet *net, int host);

/* The host's clock, from now on: so many of its ms pass in 1,000,000 of the
 * network's. 1 to 10,000,000; it starts with 1,000,000 and the network's time. */
void vnet_clock_rate(struct vnet *net, int host, uint64_t ppm);
uint64_t vnet_host_now(const struct vnet *net, int host); /* by its own clock */

/* The direction from one to the other; change it at any time. Until one is asked
 * for, it is as vnet_links says, which starts with a delay of 1 ms and no fault. */
struct vnet_link *vnet_link(struct vnet *net, int from, int to);
struct vnet_link *vnet_links(struct vnet *net);
/* Both directions between two hosts, cut or mended. */
void vnet_cut(struct vnet *net, int a, int b, bool cut);

struct vnet_sent vnet_sent(const struct vnet *net, int host);
/* Events so far. */
uint64_t vnet_steps(const struct vnet *net);
/* A digest of all that was delivered, to whom, when and in which order. */
uint64_t vnet_trace(const struct vnet *net);

/* Effects that a test got by calling a host itself: to be given here even when
 * there are none, as the host may have a new deadline. Empties the list. */
void vnet_apply(struct vnet *net, int host, struct effects *effects);
/* Lets everything happen up to and at this time. */
void vnet_run(struct vnet *net, uint64_t until);

#endif
