/* Swim nodes on a virtual network, by number, and what they were told. */
#ifndef YZMA_TESTS_SWIM_NET_H
#define YZMA_TESTS_SWIM_NET_H

#include "swim.h"
#include "vnet.h"

enum { SWIM_NET_MAX = 40, SWIM_KINDS = SWIM_PATH + 1 };

struct swim_node {
    struct swim_net *net;
    struct swim *swim;
    int host;
    char name[16];
    struct addr addr;
    const char *blocked;                       /* a name, or NULL */
    uint64_t told[SWIM_KINDS];                 /* how often */
    uint64_t told_at[SWIM_KINDS];              /* the last time */
    char about[SWIM_KINDS][SWIM_NAME_MAX + 1]; /* the last name */
    char refused[256];                         /* the last refusal's reason */
    uint64_t datagrams, datagram_bytes;        /* sent */
    uint64_t streams, stream_bytes;            /* opened, sent */
    struct swim_event join;                    /* of the last JOIN_DONE: ticket, err, count */
    char join_text[128];
    uint32_t remembered; /* the incarnation, as the node's store would keep it */
};

struct swim_net {
    struct vnet *vnet;
    const struct swim_profile *profile;
    uint64_t seed;
    const char *name;   /* of the next node that starts; NULL: "n<i>" */
    const uint8_t *vsn; /* its versions; NULL: memberlist's */
    size_t id_len;      /* of its name */
    struct swim_node nodes[SWIM_NET_MAX];
};

void swim_net_init(struct swim_net *net, const struct swim_profile *profile, uint64_t seed);
void swim_net_done(struct swim_net *net);

/* Node i, called "n<i>", at 10.0.0.<i + 1>:7946. */
struct swim_node *swim_net_start(struct swim_net *net, int i);
/* The same at 10.0.0.<last>, with an incarnation to start from. */
struct swim_node *swim_net_start_at(struct swim_net *net, int i, int last, uint32_t incarnation);
void swim_net_kill(struct swim_net *net, int i);
void swim_net_join(struct swim_net *net, int i, int to);
/* Nodes 0 to count - 1, joined to node 0, and time until all know all. */
void swim_net_form(struct swim_net *net, int count);
void swim_net_cut(struct swim_net *net, int a, int b, bool cut); /* both directions */
struct vnet_link *swim_net_link(struct swim_net *net, int from, int to);
void swim_net_run(struct swim_net *net, uint64_t ms);
uint64_t swim_net_now(const struct swim_net *net);

/* What node i thinks of node `of`; -1 for unknown. */
int swim_net_state(const struct swim_net *net, int i, int of);
uint32_t swim_net_incarnation(const struct swim_net *net, int i, int of);
uint64_t swim_net_counter(const struct swim_net *net, int i, const char *name);
/* True if each of the nodes of `who` (a bit each) thinks this of all those of `of`. */
bool swim_net_agree(const struct swim_net *net, uint64_t who, uint64_t of, enum member_state state);
/* Runs until they agree; returns when, or UINT64_MAX if not within so many ms. */
uint64_t swim_net_until(struct swim_net *net, uint64_t who, uint64_t of, enum member_state state,
                        uint64_t ms);

#endif
