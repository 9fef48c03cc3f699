#include "crowd.h"

#include "check.h"
#include "mem.h"
#include "stand_in.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAME_MAX_HERE = 48, META_MAX_HERE = 128 };

struct node {
    struct crowd *crowd;
    size_t number;
    struct swim *swim;
    struct stand_in stand_in;
};

struct crowd {
    struct crowd_config config;
    struct vnet *net;
    struct node *nodes;
    struct buf table; /* as push/pull has it, for the stand-ins */
};

/* --- who they are --- */

static struct bytes name_of(size_t number, char out[NAME_MAX_HERE])
{
    int len = snprintf(out, NAME_MAX_HERE, "n%05zu-00000000-0000-4000-8000-%012zu", number, number);
    return bytes_of(out, (size_t)len);
}

static struct bytes meta_of(size_t number, char out[META_MAX_HERE])
{
    int len = snprintf(out, META_MAX_HERE,
                       "{\"NodeName\":\"n%05zu\",\"APIIngress\":\"10.1.%zu.%zu:7947\","
                       "\"Replica\":\"00000000-0000-4000-8000-%012zu\",\"Yzma\":1}",
                       number, number / 250, number % 250, number);
    return bytes_of(out, (size_t)len);
}

struct addr crowd_addr(const struct crowd *c, size_t node)
{
    return (struct addr){{10, 1, (uint8_t)(node / 250), (uint8_t)(node % 250)}, 4, 7946};
}

size_t crowd_number(struct bytes name)
{
    size_t number = 0;
    for (size_t i = 1; i < 6 && i < name.len; i++)
        number = number * 10 + (size_t)(name.data[i] - '0');
    return number;
}

static const uint8_t vsn[6] = {1, 5, 2, 0, 0, 0};

/* --- a swim as a host --- */

static uint64_t on_deadline(void *ctx)
{
    return swim_deadline(((struct node *)ctx)->swim);
}

static void on_tick(void *ctx, uint64_t now, struct effects *out)
{
    swim_tick(((struct node *)ctx)->swim, now, out);
}

static void on_datagram(void *ctx, uint64_t now, const struct addr *from, struct bytes packet,
                        struct effects *out)
{
    swim_datagram(((struct node *)ctx)->swim, now, from, packet, out);
}

static void on_accepted(void *ctx, uint64_t now, uint64_t stream, enum stream_kind kind,
                        const struct addr *from, struct effects *out)
{
    swim_stream_accepted(((struct node *)ctx)->swim, now, stream, from, out);
}

static void on_opened(void *ctx, uint64_t now, uint64_t stream, struct effects *out)
{
    swim_stream_opened(((struct node *)ctx)->swim, now, stream, out);
}

static void on_data(void *ctx, uint64_t now, uint64_t stream, struct bytes bytes, struct effects *out)
{
    swim_stream_data(((struct node *)ctx)->swim, now, stream, bytes, out);
}

static void on_closed(void *ctx, uint64_t now, uint64_t stream, struct effects *out)
{
    swim_stream_closed(((struct node *)ctx)->swim, now, stream, "closed", out);
}

static void on_after(void *ctx, uint64_t now)
{
    const struct node *node = ctx;
    const struct crowd_config *config = &node->crowd->config;
    for (struct swim_event event; swim_next_event(node->swim, &event); swim_event_done(&event))
        if (config->told)
            config->told(config->ctx, node->number, now, &event);
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

/* --- making and freeing --- */

static uint64_t new_stream(void *ctx)
{
    return vnet_new_stream(((struct node *)ctx)->crowd->net);
}

static void make_table(struct crowd *c)
{
    char name[NAME_MAX_HERE], meta[META_MAX_HERE];
    buf_init(&c->table, SIZE_MAX);
    wire_put(&c->table, &(struct wire_message){.type = WIRE_PUSH_PULL, .push_pull.nodes = c->config.members});
    for (size_t i = 0; i < c->config.members; i++) {
        struct addr addr = crowd_addr(c, i);
        wire_put_node(&c->table, &(struct wire_node){.addr = wire_ip(&addr),
                                                     .port = addr.port,
                                                     .meta = meta_of(i, meta),
                                                     .name = name_of(i, name),
                                                     .vsn = bytes_of(vsn, sizeof vsn),
                                                     .incarnation = 1,
                                                     .state = MEMBER_ALIVE});
    }
    CHECK(c->table.err == OK);
}

static void make_swim(struct crowd *c, struct node *node)
{
    char name[NAME_MAX_HERE], meta[META_MAX_HERE];
    struct swim_config config = {.name = name_of(node->number, name),
                                 .meta = meta_of(node->number, meta),
                                 .self = crowd_addr(c, node->number),
                                 .profile = c->config.profile,
                                 .seed = c->config.seed * 1000003 + node->number,
                                 .no_compression = c->config.no_compression,
                                 .ctx = node,
                                 .new_stream = new_stream};
    node->swim = swim_new(&config, 0);
    for (size_t i = 0; i < c->config.members; i++) {
        if (i == node->number)
            continue;
        struct swim_member member = {
            .name = name_of(i, name), .meta = meta_of(i, meta), .addr = crowd_addr(c, i), .incarnation = 1};
        memcpy(member.vsn, vsn, sizeof vsn);
        swim_know(node->swim, &member);
    }
}

struct crowd *crowd_new(const struct crowd_config *config)
{
    struct crowd *c = mem_new(sizeof *c);
    CHECK(config->members > 0 && config->members <= SWIM_MEMBERS_MAX);
    c->config = *config;
    if (c->config.whole == 0)
        c->config.whole = config->members;
    c->net = vnet_new(config->seed);
    c->nodes = mem_new(config->members * sizeof *c->nodes);
    if (c->config.whole < config->members)
        make_table(c);
    for (size_t i = 0; i < config->members; i++) {
        struct node *node = &c->nodes[i];
        *node = (struct node){.crowd = c, .number = i};
        node->stand_in = (struct stand_in){crowd_addr(c, i), buf_bytes(&c->table)};
        bool whole = i < c->config.whole;
        if (whole)
            make_swim(c, node);
        int host = vnet_add(c->net, crowd_addr(c, i), (struct addr){0}, whole ? &ops : &stand_in_ops,
                            whole ? (void *)node : &node->stand_in);
        CHECK(host == (int)i);
    }
    return c;
}

void crowd_free(struct crowd *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->config.members; i++)
        swim_free(c->nodes[i].swim);
    vnet_free(c->net);
    buf_done(&c->table);
    free(c->nodes);
    free(c);
}

/* --- control --- */

struct vnet *crowd_net(const struct crowd *c)
{
    return c->net;
}

struct swim *crowd_swim(const struct crowd *c, size_t node)
{
    return c->nodes[node].swim;
}

void crowd_run(struct crowd *c, uint64_t ms)
{
    vnet_run(c->net, vnet_now(c->net) + ms);
}

uint64_t crowd_now(const struct crowd *c)
{
    return vnet_now(c->net);
}

void crowd_kill(struct crowd *c, size_t node)
{
    vnet_remove(c->net, (int)node);
    swim_free(c->nodes[node].swim);
    c->nodes[node].swim = NULL;
}

void crowd_set_meta(struct crowd *c, size_t node, struct bytes meta)
{
    struct effects out = {0};
    swim_set_meta(c->nodes[node].swim, vnet_host_now(c->net, (int)node), meta, &out);
    vnet_apply(c->net, (int)node, &out);
}

void crowd_join(struct crowd *c, size_t node, size_t to)
{
    struct effects out = {0};
    struct addr addr = crowd_addr(c, to);
    swim_join(c->nodes[node].swim, vnet_host_now(c->net, (int)node), 1, &addr, &out);
    vnet_apply(c->net, (int)node, &out);
}

/* --- looking --- */

uint64_t crowd_counter(const struct crowd *c, size_t node, const char *name)
{
    return swim_counter(c->nodes[node].swim, name);
}

struct vnet_sent crowd_sent(const struct crowd *c)
{
    struct vnet_sent sum = {0};
    for (size_t i = 0; i < c->config.members; i++) {
        struct vnet_sent one = vnet_sent(c->net, (int)i);
        sum.datagrams += one.datagrams;
        sum.datagram_bytes += one.datagram_bytes;
        sum.streams += one.streams;
        sum.stream_bytes += one.stream_bytes;
    }
    return sum;
}
