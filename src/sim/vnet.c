#include "vnet.h"

#include "check.h"
#include "mem.h"
#include "timers.h"

#include <stdlib.h>

enum what { DATAGRAM, OPEN, ACCEPTED, OPENED, DATA, CLOSED };

struct event {
    enum what what;
    enum stream_kind kind;
    int from, to;
    uint64_t stream, far_stream; /* as the receiver and the sender name it */
    struct addr addr;
    struct buf bytes;
    struct event *next; /* of those held for a host, or of the spare ones */
};

/* What is under way, first by time; of two at the same time the one made first. */
struct place {
    uint64_t at, order;
    struct event *event;
};

struct host {
    bool up, paused;
    struct addr gossip, sync;
    const struct vnet_ops *ops;
    void *ctx;
    struct timer timer;             /* its deadline, by the network's clock; not set while paused */
    uint64_t base, local_base, ppm; /* its clock: local_base at base, and on from there */
    struct event *held, **held_end;
    struct vnet_sent sent;
};

/* One end of a stream. */
struct end {
    uint64_t stream, far_stream;
    int host, far;       /* far < 0: not accepted yet */
    uint64_t busy_until; /* what is sent later arrives later */
    struct end *next;    /* in its bucket */
};

struct own_link {
    int from, to;
    struct vnet_link link;
    struct own_link *next;
};

/* Which host is at an address: the first of several. */
struct named {
    struct addr addr;
    enum stream_kind kind;
    int host;
    struct named *next;
};

enum { BUCKETS = 1 << 14 }; /* a power of two, of each table: 5,000 hosts have short chains */

struct vnet {
    uint64_t now, next_order, next_stream, steps, trace;
    struct rng rng;
    struct host **hosts;
    size_t host_count, host_room;
    struct timers deadlines;
    struct vnet_link links;
    struct own_link *own_links[BUCKETS];
    size_t own_link_count;
    struct named *names[BUCKETS];
    struct end *ends[BUCKETS];
    struct place *heap;
    size_t count, room;
    struct event *spare;
};

/* --- the heap of what is under way --- */

static bool earlier(const struct place *a, const struct place *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push_event(struct vnet *net, uint64_t at, struct event *event)
{
    struct place place = {at, net->next_order++, event};
    if (net->count == net->room) {
        net->room = net->room ? net->room * 2 : 64;
        net->heap = mem_grow(net->heap, net->room * sizeof *net->heap);
    }
    size_t i = net->count++;
    for (; i > 0 && earlier(&place, &net->heap[(i - 1) / 2]); i = (i - 1) / 2)
        net->heap[i] = net->heap[(i - 1) / 2];
    net->heap[i] = place;
}

static void push(struct vnet *net, uint64_t at, struct event event)
{
    struct event *e = net->spare;
    if (e)
        net->spare = e->next;
    else
        e = mem_new(sizeof *e);
    *e = event;
    push_event(net, at, e);
}

static struct event *pop(struct vnet *net)
{
    struct event *first = net->heap[0].event;
    struct place last = net->heap[--net->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < net->count && earlier(&net->heap[child + 1], &net->heap[child]))
            child++;
        if (child >= net->count || !earlier(&net->heap[child], &last))
            break;
        net->heap[i] = net->heap[child];
        i = child;
    }
    if (net->count > 0)
        net->heap[i] = last;
    return first;
}

static void end_event(struct vnet *net, struct event *event)
{
    buf_done(&event->bytes);
    event->next = net->spare;
    net->spare = event;
}

/* --- making and freeing --- */

struct vnet *vnet_new(uint64_t seed)
{
    struct vnet *net = mem_new(sizeof *net);
    rng_init(&net->rng, seed);
    net->links = (struct vnet_link){.delay_min = 1, .delay_max = 1};
    return net;
}

static void free_events(struct event *list)
{
    for (struct event *next; list; list = next) {
        next = list->next;
        buf_done(&list->bytes);
        free(list);
    }
}

static void free_host(struct host *host)
{
    free_events(host->held);
    free(host);
}

void vnet_free(struct vnet *net)
{
    if (!net)
        return;
    for (size_t i = 0; i < net->count; i++)
        end_event(net, net->heap[i].event);
    free_events(net->spare);
    for (size_t i = 0; i < net->host_count; i++)
        free_host(net->hosts[i]);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct own_link *link = net->own_links[i], *next; link; link = next) {
            next = link->next;
            free(link);
        }
        for (struct named *named = net->names[i], *next; named; named = next) {
            next = named->next;
            free(named);
        }
        for (struct end *end = net->ends[i], *next; end; end = next) {
            next = end->next;
            free(end);
        }
    }
    timers_done(&net->deadlines);
    free(net->hosts);
    free(net->heap);
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

struct vnet_sent vnet_sent(const struct vnet *net, int host)
{
    return net->hosts[host]->sent;
}

uint64_t vnet_steps(const struct vnet *net)
{
    return net->steps;
}

uint64_t vnet_trace(const struct vnet *net)
{
    return net->trace;
}

static void mix(struct vnet *net, uint64_t value)
{
    net->trace = (net->trace ^ value) * 0x9e3779b97f4a7c15u;
    net->trace ^= net->trace >> 29;
}

static void mix_bytes(struct vnet *net, struct bytes bytes)
{
    uint64_t word = 0;
    mix(net, bytes.len);
    for (; bytes.len >= sizeof word; bytes = bytes_of(bytes.data + sizeof word, bytes.len - sizeof word)) {
        memcpy(&word, bytes.data, sizeof word);
        mix(net, word);
    }
    word = 0;
    if (bytes.len > 0)
        memcpy(&word, bytes.data, bytes.len);
    mix(net, word);
}

/* --- clocks --- */

enum { RATE_ONE = 1000000 };

uint64_t vnet_host_now(const struct vnet *net, int host)
{
    const struct host *h = net->hosts[host];
    return h->local_base + (net->now - h->base) * h->ppm / RATE_ONE;
}

/* When the host's clock shows this. */
static uint64_t when(const struct host *host, uint64_t local)
{
    if (local <= host->local_base)
        return host->base;
    uint64_t wait = local - host->local_base;
    if (wait > UINT64_MAX / RATE_ONE)
        return UINT64_MAX; /* never, or in 500,000 years */
    return host->base + (wait * RATE_ONE + host->ppm - 1) / host->ppm;
}

static void set_deadline(struct vnet *net, int host)
{
    struct host *h = net->hosts[host];
    uint64_t at = h->up && !h->paused ? when(h, h->ops->deadline(h->ctx)) : UINT64_MAX;
    if (at == UINT64_MAX)
        timers_cancel(&net->deadlines, &h->timer);
    else
        timers_set(&net->deadlines, &h->timer, at);
}

void vnet_clock_rate(struct vnet *net, int host, uint64_t ppm)
{
    struct host *h = net->hosts[host];
    CHECK(ppm >= 1 && ppm <= 10 * RATE_ONE);
    h->local_base = vnet_host_now(net, host);
    h->base = net->now;
    h->ppm = ppm;
    set_deadline(net, host);
}

/* --- hosts --- */

static struct named **bucket_of_addr(struct vnet *net, const struct addr *addr, enum stream_kind kind)
{
    uint64_t hash = addr->port + ((uint64_t)kind << 32);
    for (size_t i = 0; i < addr->len; i++)
        hash = (hash ^ addr->ip[i]) * 0x100000001b3u;
    return &net->names[(hash ^ hash >> 17) & (BUCKETS - 1)];
}

static void add_name(struct vnet *net, struct addr addr, enum stream_kind kind, int host)
{
    addr = addr_unmapped(addr);
    struct named *named = mem_new(sizeof *named), **link = bucket_of_addr(net, &addr, kind);
    *named = (struct named){.addr = addr, .kind = kind, .host = host};
    while (*link)
        link = &(*link)->next;
    *link = named;
}

static int host_at(struct vnet *net, const struct addr *addr, enum stream_kind kind)
{
    struct addr where = addr_unmapped(*addr);
    for (const struct named *named = *bucket_of_addr(net, &where, kind); named; named = named->next)
        if (named->kind == kind && net->hosts[named->host]->up && addr_equal(&named->addr, &where))
            return named->host;
    return -1;
}

int vnet_add(struct vnet *net, struct addr gossip, struct addr sync, const struct vnet_ops *ops, void *ctx)
{
    CHECK(net->host_count < VNET_HOSTS_MAX);
    if (net->host_count == net->host_room) {
        net->host_room = net->host_room ? net->host_room * 2 : 64;
        net->hosts = mem_grow(net->hosts, net->host_room * sizeof(struct host *));
    }
    struct host *host = mem_new(sizeof *host);
    int number = (int)net->host_count;
    *host = (struct host){
        .up = true, .gossip = gossip, .sync = sync, .ops = ops, .ctx = ctx, .ppm = RATE_ONE};
    host->held_end = &host->held;
    host->timer.kind = (unsigned)number;
    net->hosts[net->host_count++] = host;
    add_name(net, gossip, STREAM_GOSSIP, number);
    if (sync.len > 0)
        add_name(net, sync, STREAM_SYNC, number);
    set_deadline(net, number);
    return number;
}

/* --- links --- */

struct vnet_link *vnet_links(struct vnet *net)
{
    return &net->links;
}

static struct own_link **bucket_of_link(struct vnet *net, int from, int to)
{
    uint64_t hash = ((uint64_t)from << 32 | (uint64_t)to) * 0x9e3779b97f4a7c15u;
    return &net->own_links[(hash >> 40) & (BUCKETS - 1)];
}

static struct own_link *own_link(struct vnet *net, int from, int to)
{
    struct own_link *link = *bucket_of_link(net, from, to);
    while (link && (link->from != from || link->to != to))
        link = link->next;
    return link;
}

struct vnet_link *vnet_link(struct vnet *net, int from, int to)
{
    struct own_link *link = own_link(net, from, to), **bucket = bucket_of_link(net, from, to);
    if (!link) {
        link = mem_new(sizeof *link);
        *link = (struct own_link){from, to, net->links, *bucket};
        *bucket = link;
        net->own_link_count++;
    }
    return &link->link;
}

static const struct vnet_link *link_of(struct vnet *net, int from, int to)
{
    const struct own_link *own = net->own_link_count > 0 ? own_link(net, from, to) : NULL;
    return own ? &own->link : &net->links;
}

void vnet_cut(struct vnet *net, int a, int b, bool cut)
{
    vnet_link(net, a, b)->cut = vnet_link(net, b, a)->cut = cut;
}

static uint64_t delay(struct vnet *net, const struct vnet_link *link)
{
    return link->delay_min + rng_below(&net->rng, link->delay_max - link->delay_min + 1);
}

/* --- streams --- */

static struct end **link_of_end(struct vnet *net, int host, uint64_t stream)
{
    struct end **link = &net->ends[stream & (BUCKETS - 1)];
    while (*link && ((*link)->host != host || (*link)->stream != stream))
        link = &(*link)->next;
    return link;
}

static struct end *end_of(struct vnet *net, int host, uint64_t stream)
{
    return *link_of_end(net, host, stream);
}

static void add_end(struct vnet *net, struct end end)
{
    struct end **bucket = &net->ends[end.stream & (BUCKETS - 1)];
    end.next = *bucket;
    *bucket = mem_copy(&end, sizeof end);
}

static void remove_end(struct vnet *net, const struct end *end)
{
    struct end **link = link_of_end(net, end->host, end->stream), *gone = *link;
    *link = gone->next;
    free(gone);
}

/* To the other end, behind all that was sent before; takes the bytes. */
static void to_far_end(struct vnet *net, struct end *end, enum what what, struct buf bytes)
{
    if (end->far < 0 || link_of(net, end->host, end->far)->cut) {
        buf_done(&bytes);
        return;
    }
    uint64_t at = net->now + delay(net, link_of(net, end->host, end->far));
    if (at < end->busy_until)
        at = end->busy_until;
    end->busy_until = at;
    push(net, at,
         (struct event){.what = what,
                        .from = end->host,
                        .to = end->far,
                        .stream = end->far_stream,
                        .far_stream = end->stream,
                        .bytes = bytes});
}

/* At the link's rate: a piece every ms. */
static void send_stream(struct vnet *net, struct end *end, struct buf *bytes)
{
    size_t rate = end->far >= 0 ? link_of(net, end->host, end->far)->stream_rate : 0;
    struct bytes left = buf_bytes(bytes);
    while (rate > 0 && left.len > rate) {
        struct buf piece;
        buf_init(&piece, rate);
        buf_put(&piece, left.data, rate);
        to_far_end(net, end, DATA, piece);
        end->busy_until++;
        left = bytes_of(left.data + rate, left.len - rate);
    }
    buf_consume(bytes, bytes->len - left.len);
    to_far_end(net, end, DATA, *bytes);
    *bytes = (struct buf){0};
}

static void open_stream(struct vnet *net, int host, const struct effect *effect)
{
    int to = host_at(net, &effect->to, effect->stream_kind);
    add_end(net, (struct end){.stream = effect->stream, .host = host, .far = -1});
    net->hosts[host]->sent.streams++;
    if (to >= 0 && link_of(net, host, to)->cut)
        return; /* the answer never comes */
    push(net, net->now + (to < 0 ? 1 : delay(net, link_of(net, host, to))),
         (struct event){.what = to < 0 ? CLOSED : OPEN,
                        .from = host,
                        .to = to < 0 ? host : to,
                        .stream = effect->stream,
                        .far_stream = effect->stream,
                        .kind = effect->stream_kind,
                        .addr = net->hosts[host]->gossip});
}

void vnet_remove(struct vnet *net, int host)
{
    struct host *h = net->hosts[host];
    h->up = false;
    timers_cancel(&net->deadlines, &h->timer);
    free_events(h->held);
    h->held = NULL;
    h->held_end = &h->held;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct end *end = net->ends[i], *next; end; end = next) {
            next = end->next;
            if (end->host != host)
                continue;
            to_far_end(net, end, CLOSED, (struct buf){0});
            remove_end(net, end);
        }
    }
}

/* --- standing still --- */

void vnet_pause(struct vnet *net, int host)
{
    net->hosts[host]->paused = true;
    set_deadline(net, host);
}

void vnet_resume(struct vnet *net, int host)
{
    struct host *h = net->hosts[host];
    if (!h->paused)
        return;
    h->paused = false;
    set_deadline(net, host);
    for (struct event *event = h->held, *next; event; event = next) {
        next = event->next;
        push_event(net, net->now, event);
    }
    h->held = NULL;
    h->held_end = &h->held;
}

static void hold(struct host *host, struct event *event)
{
    event->next = NULL;
    *host->held_end = event;
    host->held_end = &event->next;
}

/* --- effects --- */

static void send_copy(struct vnet *net, int host, int to, struct buf bytes)
{
    const struct vnet_link *link = link_of(net, host, to);
    uint64_t at = net->now + delay(net, link);
    if (link->late_permille && rng_permille(&net->rng, link->late_permille))
        at += rng_below(&net->rng, link->late_max + 1);
    push(net, at,
         (struct event){
             .what = DATAGRAM, .from = host, .to = to, .addr = net->hosts[host]->gossip, .bytes = bytes});
}

static void send_datagram(struct vnet *net, int host, struct effect *effect)
{
    struct vnet_sent *sent = &net->hosts[host]->sent;
    sent->datagrams++;
    sent->datagram_bytes += effect->bytes.len;
    int to = host_at(net, &effect->to, STREAM_GOSSIP);
    const struct vnet_link *link = to >= 0 ? link_of(net, host, to) : NULL;
    if (!link || link->cut || (link->loss_permille && rng_permille(&net->rng, link->loss_permille)))
        return;
    if (link->double_permille && rng_permille(&net->rng, link->double_permille)) {
        struct buf copy;
        buf_init(&copy, effect->bytes.len);
        buf_put_bytes(&copy, buf_bytes(&effect->bytes));
        send_copy(net, host, to, copy);
    }
    send_copy(net, host, to, effect->bytes);
    effect->bytes = (struct buf){0};
}

static void hand_over(struct vnet *net, int host, size_t at, struct effects *effects)
{
    const struct host *h = net->hosts[host];
    struct effect *effect = &effects->list[at], own = *effect;
    effect->target = effect->text = NULL;
    effect->bytes = (struct buf){0};
    h->ops->effect(h->ctx, vnet_host_now(net, host), &own, effects);
    free(own.target);
    free(own.text);
    buf_done(&own.bytes);
}

void vnet_apply(struct vnet *net, int host, struct effects *effects)
{
    struct host *h = net->hosts[host];
    /* Handling an effect may append further ones. */
    for (size_t i = 0; i < effects->count; i++) {
        struct effect *effect = &effects->list[i];
        struct end *end = end_of(net, host, effect->stream);
        switch (effect->kind) {
        case EFFECT_DATAGRAM:
            send_datagram(net, host, effect);
            break;
        case EFFECT_STREAM_OPEN:
            open_stream(net, host, effect);
            break;
        case EFFECT_STREAM_SEND:
            if (end) {
                h->sent.stream_bytes += effect->bytes.len;
                send_stream(net, end, &effect->bytes);
            }
            break;
        case EFFECT_STREAM_CLOSE:
            if (end) {
                to_far_end(net, end, CLOSED, (struct buf){0});
                remove_end(net, end);
            }
            break;
        default:
            if (h->ops->effect)
                hand_over(net, host, i, effects);
        }
    }
    effects_done(effects);
    if (h->up && h->ops->after)
        h->ops->after(h->ctx, vnet_host_now(net, host));
    set_deadline(net, host);
    /* What has arrived is read before timers are looked at again. */
    if (timer_is_set(&h->timer) && h->timer.at < net->now)
        timers_set(&net->deadlines, &h->timer, net->now);
}

/* --- steps --- */

/* The kernel's part: the process may stand still. Returns whether there is now a
 * stream, of which the event becomes the news. */
static bool connect_stream(struct vnet *net, struct event *event)
{
    struct end *asker = end_of(net, event->from, event->far_stream);
    uint64_t id = vnet_new_stream(net);
    if (!asker)
        return false; /* it closed before it was open */
    asker->far = event->to;
    asker->far_stream = id;
    add_end(net, (struct end){
                     .stream = id, .far_stream = event->far_stream, .host = event->to, .far = event->from});
    to_far_end(net, end_of(net, event->to, id), OPENED, (struct buf){0});
    event->what = ACCEPTED;
    event->stream = id;
    return true;
}

static void give(struct vnet *net, const struct event *event)
{
    struct host *host = net->hosts[event->to];
    const struct vnet_ops *ops = host->ops;
    struct effects out = {0};
    struct end *end = event->what == DATAGRAM ? NULL : end_of(net, event->to, event->stream);
    uint64_t now = vnet_host_now(net, event->to);
    switch (event->what) {
    case DATAGRAM:
        if (ops->datagram)
            ops->datagram(host->ctx, now, &event->addr, buf_bytes(&event->bytes), &out);
        break;
    case OPEN:
        break; /* connect_stream has made it ACCEPTED */
    case ACCEPTED:
        if (end && ops->accepted)
            ops->accepted(host->ctx, now, event->stream, event->kind, &event->addr, &out);
        break;
    case OPENED:
        if (end && ops->opened)
            ops->opened(host->ctx, now, event->stream, &out);
        break;
    case DATA:
        if (end && ops->data)
            ops->data(host->ctx, now, event->stream, buf_bytes(&event->bytes), &out);
        break;
    case CLOSED:
        if (!end)
            break;
        remove_end(net, end);
        if (ops->closed)
            ops->closed(host->ctx, now, event->stream, &out);
        break;
    }
    vnet_apply(net, event->to, &out);
}

static void deliver(struct vnet *net, struct event *event)
{
    struct host *host = net->hosts[event->to];
    bool taken = false;
    if (host->up && (event->what != OPEN || connect_stream(net, event))) {
        mix(net, net->now);
        mix(net, (uint64_t)event->to << 8 | event->what);
        mix_bytes(net, buf_bytes(&event->bytes));
        if (host->paused) {
            hold(host, event);
            taken = true;
        } else {
            give(net, event);
        }
    }
    if (!taken)
        end_event(net, event);
}

void vnet_run(struct vnet *net, uint64_t until)
{
    for (;;) {
        uint64_t tick_at = timers_deadline(&net->deadlines);
        uint64_t event_at = net->count > 0 ? net->heap[0].at : UINT64_MAX;
        if (event_at > until && tick_at > until)
            break;
        net->steps++;
        if (event_at <= tick_at) {
            net->now = event_at;
            deliver(net, pop(net));
        } else {
            int host = (int)timers_first(&net->deadlines)->kind;
            struct effects out = {0};
            if (tick_at > net->now)
                net->now = tick_at;
            net->hosts[host]->ops->tick(net->hosts[host]->ctx, vnet_host_now(net, host), &out);
            vnet_apply(net, host, &out);
        }
    }
    net->now = until;
}
