#include "swim_net.h"

#include <stdio.h>

void swim_net_init(struct swim_net *net, const struct swim_profile *profile, uint64_t seed)
{
    *net = (struct swim_net){.vnet = vnet_new(seed), .profile = profile, .seed = seed};
}

void swim_net_done(struct swim_net *net)
{
    for (int i = 0; i < SWIM_NET_MAX; i++)
        swim_free(net->nodes[i].swim);
    vnet_free(net->vnet);
}

/* --- a swim as a host --- */

static uint64_t on_deadline(void *ctx)
{
    return swim_deadline(((struct swim_node *)ctx)->swim);
}

/* What it sends, as an operator would count it: payload. */
static void count(struct swim_node *node, const struct effects *out)
{
    for (size_t i = 0; i < out->count; i++) {
        const struct effect *effect = &out->list[i];
        node->datagrams += effect->kind == EFFECT_DATAGRAM;
        node->datagram_bytes += effect->kind == EFFECT_DATAGRAM ? effect->bytes.len : 0;
        node->streams += effect->kind == EFFECT_STREAM_OPEN;
        node->stream_bytes += effect->kind == EFFECT_STREAM_SEND ? effect->bytes.len : 0;
    }
}

static void on_tick(void *ctx, uint64_t now, struct effects *out)
{
    swim_tick(((struct swim_node *)ctx)->swim, now, out);
    count(ctx, out);
}

static void on_datagram(void *ctx, uint64_t now, const struct addr *from, struct bytes packet,
                        struct effects *out)
{
    swim_datagram(((struct swim_node *)ctx)->swim, now, from, packet, out);
    count(ctx, out);
}

static void on_accepted(void *ctx, uint64_t now, uint64_t stream, enum stream_kind kind,
                        const struct addr *from, struct effects *out)
{
    swim_stream_accepted(((struct swim_node *)ctx)->swim, now, stream, from, out);
    count(ctx, out);
}

static void on_opened(void *ctx, uint64_t now, uint64_t stream, struct effects *out)
{
    swim_stream_opened(((struct swim_node *)ctx)->swim, now, stream, out);
    count(ctx, out);
}

static void on_data(void *ctx, uint64_t now, uint64_t stream, struct bytes bytes, struct effects *out)
{
    swim_stream_data(((struct swim_node *)ctx)->swim, now, stream, bytes, out);
    count(ctx, out);
}

static void on_closed(void *ctx, uint64_t now, uint64_t stream, struct effects *out)
{
    swim_stream_closed(((struct swim_node *)ctx)->swim, now, stream, "closed", out);
    count(ctx, out);
}

static void on_after(void *ctx, uint64_t now)
{
    struct swim_node *node = ctx;
    for (struct swim_event event; swim_next_event(node->swim, &event); swim_event_done(&event)) {
        node->told[event.kind]++;
        node->told_at[event.kind] = now;
        snprintf(node->about[event.kind], sizeof node->about[event.kind], "%.*s", (int)event.name.len,
                 (const char *)event.name.data);
        if (event.kind == SWIM_REFUTED)
            node->remembered = event.incarnation;
        if (event.kind == SWIM_REFUSED)
            snprintf(node->refused, sizeof node->refused, "%s", event.text);
        if (event.kind == SWIM_JOIN_DONE) {
            node->join = event;
            node->join.memory = NULL;
            snprintf(node->join_text, sizeof node->join_text, "%s", event.text);
        }
    }
}

static const struct vnet_ops ops = {
    .deadline = on_deadline,
    .tick = on_tick,
    .datagram = on_datagram,
    .accepted = on_accepted,
    .opened = on_opened,
    .data = on_data,
    .closed = on_closed,
    .after = on_after,
};

/* --- control --- */

static bool is_blocked(void *ctx, struct bytes name, struct bytes meta)
{
    const struct swim_node *node = ctx;
    return node->blocked && bytes_equal(name, bytes_str(node->blocked));
}

static uint64_t new_stream(void *ctx)
{
    return vnet_new_stream(((struct swim_node *)ctx)->net->vnet);
}

struct swim_node *swim_net_start_at(struct swim_net *net, int i, int last, uint32_t incarnation)
{
    struct swim_node *node = &net->nodes[i];
    *node = (struct swim_node){.net = net, .addr = {{10, 0, 0, (uint8_t)last}, 4, 7946}};
    snprintf(node->name, sizeof node->name, "n%d", i);
    if (net->name)
        snprintf(node->name, sizeof node->name, "%s", net->name);
    struct swim_config config = {.name = bytes_str(node->name),
                                 .self = node->addr,
                                 .profile = net->profile,
                                 .incarnation = incarnation,
                                 .seed = net->seed * 1000 + (uint64_t)i,
                                 .ctx = node,
                                 .blocked = is_blocked,
                                 .id_len = net->id_len,
                                 .new_stream = new_stream};
    if (net->vsn)
        memcpy(config.vsn, net->vsn, sizeof config.vsn);
    node->swim = swim_new(&config, vnet_now(net->vnet));
    node->remembered = swim_incarnation(node->swim);
    node->host = vnet_add(net->vnet, node->addr, (struct addr){0}, &ops, node);
    return node;
}

struct swim_node *swim_net_start(struct swim_net *net, int i)
{
    return swim_net_start_at(net, i, i + 1, 1);
}

void swim_net_kill(struct swim_net *net, int i)
{
    vnet_remove(net->vnet, net->nodes[i].host);
    swim_free(net->nodes[i].swim);
    net->nodes[i].swim = NULL;
}

void swim_net_join(struct swim_net *net, int i, int to)
{
    struct effects out = {0};
    swim_join(net->nodes[i].swim, swim_net_now(net), 7, &net->nodes[to].addr, &out);
    vnet_apply(net->vnet, net->nodes[i].host, &out);
}

void swim_net_form(struct swim_net *net, int count)
{
    for (int i = 0; i < count; i++) {
        swim_net_start(net, i);
        if (i > 0)
            swim_net_join(net, i, 0);
    }
    uint64_t all = ((uint64_t)1 << count) - 1;
    swim_net_until(net, all, all, MEMBER_ALIVE, 60000);
    swim_net_run(net, 5000); /* the news of it has died down */
}

void swim_net_cut(struct swim_net *net, int a, int b, bool cut)
{
    vnet_cut(net->vnet, net->nodes[a].host, net->nodes[b].host, cut);
}

struct vnet_link *swim_net_link(struct swim_net *net, int from, int to)
{
    return vnet_link(net->vnet, net->nodes[from].host, net->nodes[to].host);
}

void swim_net_run(struct swim_net *net, uint64_t ms)
{
    vnet_run(net->vnet, vnet_now(net->vnet) + ms);
}

uint64_t swim_net_now(const struct swim_net *net)
{
    return vnet_now(net->vnet);
}

/* --- looking --- */

static bool find(const struct swim_net *net, int i, int of, struct swim_member *ret_member)
{
    char name[16];
    snprintf(name, sizeof name, "n%d", of);
    return swim_find(net->nodes[i].swim, bytes_str(name), ret_member);
}

int swim_net_state(const struct swim_net *net, int i, int of)
{
    struct swim_member member;
    return find(net, i, of, &member) ? (int)member.state : -1;
}

uint32_t swim_net_incarnation(const struct swim_net *net, int i, int of)
{
    struct swim_member member;
    return find(net, i, of, &member) ? member.incarnation : 0;
}

uint64_t swim_net_counter(const struct swim_net *net, int i, const char *name)
{
    return swim_counter(net->nodes[i].swim, name);
}

bool swim_net_agree(const struct swim_net *net, uint64_t who, uint64_t of, enum member_state state)
{
    for (int i = 0; i < SWIM_NET_MAX; i++)
        for (int j = 0; j < SWIM_NET_MAX; j++)
            if ((who >> i & 1) && (of >> j & 1) && swim_net_state(net, i, j) != (int)state)
                return false;
    return true;
}

uint64_t swim_net_until(struct swim_net *net, uint64_t who, uint64_t of, enum member_state state, uint64_t ms)
{
    for (uint64_t end = swim_net_now(net) + ms; swim_net_now(net) < end; swim_net_run(net, 10))
        if (swim_net_agree(net, who, of, state))
            return swim_net_now(net);
    return UINT64_MAX;
}
