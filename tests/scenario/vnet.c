#include "vnet.h"

#include "check.h"
#include "mem.h"

#include <stdlib.h>

enum what { DATAGRAM, OPEN, OPENED, DATA, CLOSED };

struct event {
    uint64_t at, order; /* of two at the same time, the one made first comes first */
    enum what what;
    int from, to;
    uint64_t stream, far_stream; /* as the receiver and the sender name it */
    enum stream_kind kind;
    struct addr addr;
    struct buf bytes;
};

struct host {
    bool up;
    struct addr gossip, sync;
    const struct vnet_ops *ops;
    void *ctx;
};

/* One end of a stream. */
struct end {
    uint64_t stream, far_stream;
    int host, far;       /* far < 0: not accepted yet */
    uint64_t busy_until; /* what is sent later arrives later */
};

struct vnet {
    uint64_t now, next_order, next_stream;
    struct rng rng;
    struct host hosts[VNET_HOSTS_MAX];
    int host_count;
    struct vnet_link links[VNET_HOSTS_MAX][VNET_HOSTS_MAX];
    struct event **heap;
    size_t count, room;
    struct end *ends;
    size_t end_count, end_room;
};

/* --- the heap of what is under way --- */

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(struct vnet *net, struct event event)
{
    struct event *e = mem_copy(&event, sizeof event);
    e->order = net->next_order++;
    if (net->count == net->room) {
        net->room = net->room ? net->room * 2 : 64;
        net->heap = mem_grow(net->heap, net->room * sizeof *net->heap);
    }
    size_t i = net->count++;
    for (; i > 0 && earlier(e, net->heap[(i - 1) / 2]); i = (i - 1) / 2)
        net->heap[i] = net->heap[(i - 1) / 2];
    net->heap[i] = e;
}

static struct event *pop(struct vnet *net)
{
    struct event *first = net->heap[0], *last = net->heap[--net->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < net->count && earlier(net->heap[child + 1], net->heap[child]))
            child++;
        if (child >= net->count || !earlier(net->heap[child], last))
            break;
        net->heap[i] = net->heap[child];
        i = child;
    }
    if (net->count > 0)
        net->heap[i] = last;
    return first;
}

static void free_event(struct event *event)
{
    buf_done(&event->bytes);
    free(event);
}

/* --- hosts and links --- */

struct vnet *vnet_new(uint64_t seed)
{
    struct vnet *net = mem_new(sizeof *net);
    rng_init(&net->rng, seed);
    for (int a = 0; a < VNET_HOSTS_MAX; a++)
        for (int b = 0; b < VNET_HOSTS_MAX; b++)
            net->links[a][b] = (struct vnet_link){.delay_min = 1, .delay_max = 1};
    return net;
}

void vnet_free(struct vnet *net)
{
    for (size_t i = 0; i < net->count; i++)
        free_event(net->heap[i]);
    free(net->heap);
    free(net->ends);
    free(net);
}

uint64_t vnet_now(const struct vnet *net)
{
    return net->now;
}

uint64_t vnet_new_stream(struct vnet *net)
{
    return ++net->next_stream;
}

int vnet_add(struct vnet *net, struct addr gossip, struct addr sync, const struct vnet_ops *ops, void *ctx)
{
    CHECK(net->host_count < VNET_HOSTS_MAX);
    net->hosts[net->host_count] = (struct host){true, gossip, sync, ops, ctx};
    return net->host_count++;
}

struct vnet_link *vnet_link(struct vnet *net, int from, int to)
{
    return &net->links[from][to];
}

void vnet_cut(struct vnet *net, int a, int b, bool cut)
{
    net->links[a][b].cut = net->links[b][a].cut = cut;
}

static int host_at(const struct vnet *net, const struct addr *addr, enum stream_kind kind)
{
    for (int i = 0; i < net->host_count; i++) {
        const struct host *host = &net->hosts[i];
        if (host->up && addr_equal(kind == STREAM_GOSSIP ? &host->gossip : &host->sync, addr))
            return i;
    }
    return -1;
}

static uint64_t delay(struct vnet *net, int from, int to)
{
    const struct vnet_link *link = &net->links[from][to];
    return link->delay_min + rng_below(&net->rng, link->delay_max - link->delay_min + 1);
}

/* --- streams --- */

static struct end *end_of(struct vnet *net, int host, uint64_t stream)
{
    for (size_t i = 0; i < net->end_count; i++)
        if (net->ends[i].host == host && net->ends[i].stream == stream)
            return &net->ends[i];
    return NULL;
}

static void add_end(struct vnet *net, struct end end)
{
    if (net->end_count == net->end_room) {
        net->end_room = net->end_room ? net->end_room * 2 : 64;
        net->ends = mem_grow(net->ends, net->end_room * sizeof *net->ends);
    }
    net->ends[net->end_count++] = end;
}

static void remove_end(struct vnet *net, struct end *end)
{
    *end = net->ends[--net->end_count];
}

/* To the other end, behind all that was sent before; takes the bytes. */
static void to_far_end(struct vnet *net, struct end *end, enum what what, struct buf bytes)
{
    if (end->far < 0 || net->links[end->host][end->far].cut) {
        buf_done(&bytes);
        return;
    }
    uint64_t at = net->now + delay(net, end->host, end->far);
    if (at < end->busy_until)
        at = end->busy_until;
    end->busy_until = at;
    push(net, (struct event){.at = at,
                             .what = what,
                             .from = end->host,
                             .to = end->far,
                             .stream = end->far_stream,
                             .far_stream = end->stream,
                             .bytes = bytes});
}

static void open_stream(struct vnet *net, int host, const struct effect *effect)
{
    int to = host_at(net, &effect->to, effect->stream_kind);
    add_end(net, (struct end){.stream = effect->stream, .host = host, .far = -1});
    if (to >= 0 && net->links[host][to].cut)
        return; /* the answer never comes */
    struct event event = {.what = to < 0 ? CLOSED : OPEN,
                          .from = host,
                          .to = to < 0 ? host : to,
                          .stream = effect->stream,
                          .far_stream = effect->stream,
                          .kind = effect->stream_kind,
                          .addr = net->hosts[host].gossip};
    event.at = net->now + (to < 0 ? 1 : delay(net, host, to));
    push(net, event);
}

void vnet_remove(struct vnet *net, int host)
{
    net->hosts[host].up = false;
    for (size_t i = net->end_count; i > 0; i--) {
        struct end *end = &net->ends[i - 1];
        if (end->host != host)
            continue;
        to_far_end(net, end, CLOSED, (struct buf){0});
        remove_end(net, end);
    }
}

/* --- steps --- */

void vnet_apply(struct vnet *net, int host, struct effects *effects)
{
    struct host *h = &net->hosts[host];
    /* Handling an effect may append further ones. */
    for (size_t i = 0; i < effects->count; i++) {
        struct effect *effect = &effects->list[i];
        struct end *end = end_of(net, host, effect->stream);
        int to;
        switch (effect->kind) {
        case EFFECT_DATAGRAM:
            to = host_at(net, &effect->to, STREAM_GOSSIP);
            if (to < 0 || net->links[host][to].cut ||
                rng_permille(&net->rng, net->links[host][to].loss_permille))
                break;
            push(net, (struct event){.at = net->now + delay(net, host, to),
                                     .what = DATAGRAM,
                                     .from = host,
                                     .to = to,
                                     .addr = h->gossip,
                                     .bytes = effect->bytes});
            effect->bytes = (struct buf){0};
            break;
        case EFFECT_STREAM_OPEN:
            open_stream(net, host, effect);
            break;
        case EFFECT_STREAM_SEND:
            if (end) {
                to_far_end(net, end, DATA, effect->bytes);
                effect->bytes = (struct buf){0};
            }
            break;
        case EFFECT_STREAM_CLOSE:
            if (end) {
                to_far_end(net, end, CLOSED, (struct buf){0});
                remove_end(net, end);
            }
            break;
        default:
            if (h->ops->effect) {
                struct effect own = *effect;
                effect->target = effect->text = NULL;
                effect->bytes = (struct buf){0};
                h->ops->effect(h->ctx, net->now, &own, effects);
                free(own.target);
                free(own.text);
                buf_done(&own.bytes);
            }
        }
    }
    effects_done(effects);
    if (h->up && h->ops->after)
        h->ops->after(h->ctx, net->now);
}

static void accept_stream(struct vnet *net, const struct event *event, struct effects *out)
{
    struct host *host = &net->hosts[event->to];
    struct end *asker = end_of(net, event->from, event->far_stream);
    uint64_t id = vnet_new_stream(net);
    if (!asker)
        return; /* it closed before it was open */
    asker->far = event->to;
    asker->far_stream = id;
    add_end(net, (struct end){
                     .stream = id, .far_stream = event->far_stream, .host = event->to, .far = event->from});
    to_far_end(net, end_of(net, event->to, id), OPENED, (struct buf){0});
    if (host->ops->accepted)
        host->ops->accepted(host->ctx, net->now, id, event->kind, &event->addr, out);
}

static void deliver(struct vnet *net, struct event *event)
{
    struct host *host = &net->hosts[event->to];
    const struct vnet_ops *ops = host->ops;
    struct effects out = {0};
    struct end *end = event->what == DATAGRAM || event->what == OPEN ? NULL
                                                                     : end_of(net, event->to, event->stream);
    if (!host->up)
        return;
    switch (event->what) {
    case DATAGRAM:
        if (ops->datagram)
            ops->datagram(host->ctx, net->now, &event->addr, buf_bytes(&event->bytes), &out);
        break;
    case OPEN:
        accept_stream(net, event, &out);
        break;
    case OPENED:
        if (end && ops->opened)
            ops->opened(host->ctx, net->now, event->stream, &out);
        break;
    case DATA:
        if (end && ops->data)
            ops->data(host->ctx, net->now, event->stream, buf_bytes(&event->bytes), &out);
        break;
    case CLOSED:
        if (!end)
            break;
        remove_end(net, end);
        if (ops->closed)
            ops->closed(host->ctx, net->now, event->stream, &out);
        break;
    }
    vnet_apply(net, event->to, &out);
}

/* The host whose tick is due first; -1: none. */
static int first_deadline(struct vnet *net, uint64_t *ret_at)
{
    int first = -1;
    uint64_t at = UINT64_MAX;
    for (int i = 0; i < net->host_count; i++) {
        if (!net->hosts[i].up)
            continue;
        uint64_t deadline = net->hosts[i].ops->deadline(net->hosts[i].ctx);
        if (deadline < at) {
            at = deadline;
            first = i;
        }
    }
    *ret_at = at;
    return first;
}

void vnet_run(struct vnet *net, uint64_t until)
{
    for (;;) {
        uint64_t tick_at;
        int host = first_deadline(net, &tick_at);
        uint64_t event_at = net->count > 0 ? net->heap[0]->at : UINT64_MAX;
        if (event_at > until && tick_at > until)
            break;
        if (event_at <= tick_at) {
            struct event *event = pop(net);
            net->now = event->at;
            deliver(net, event);
            free_event(event);
        } else {
            struct effects out = {0};
            if (tick_at > net->now)
                net->now = tick_at;
            net->hosts[host].ops->tick(net->hosts[host].ctx, net->now, &out);
            vnet_apply(net, host, &out);
        }
    }
    net->now = until;
}
