/* A small network in virtual time, for whoever takes events and gives effects
 * (effect.h): hosts with addresses, datagrams that are lost and delayed, streams
 * that keep their order, links that are cut in one direction. All chance flows
 * from the seed: the same seed is the same run. */
#ifndef YZMA_TESTS_VNET_H
#define YZMA_TESTS_VNET_H

#include "effect.h"
#include "rng.h"

enum { VNET_HOSTS_MAX = 64 };

/* What a host does. ctx is the one given to vnet_add. Any may be NULL but the first two. */
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
/* The direction from one to the other; change it at any time. Links start with a
 * delay of 1 ms and no loss. */
struct vnet_link *vnet_link(struct vnet *net, int from, int to);
/* Both directions between two hosts, cut or mended. */
void vnet_cut(struct vnet *net, int a, int b, bool cut);

/* Effects that a test got by calling a host itself. Empties the list. */
void vnet_apply(struct vnet *net, int host, struct effects *effects);
/* Lets everything happen up to and at this time. */
void vnet_run(struct vnet *net, uint64_t until);

#endif
