/* The network. Datagrams are lost, doubled and overtaken; streams are byte pipes
 * that keep their order, stall while a direction is cut, move at a rate, and end
 * when a process does, with or without a word. */
#include "state.h"

#include "check.h"
#include "mem.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    STALL_MS = 40,        /* a stream that cannot move is looked at again */
    SLOW_BYTES = 600,     /* that a slow reader takes at a time .. */
    SLOW_MS = 10,         /* .. and how often */
    READ_BYTES = 64 << 10 /* at most, at a time: as libuv reads */
};

struct wire *wire_of(struct world *w, int from, int to)
{
    return &w->wires[(size_t)from * (size_t)w->host_count + (size_t)to];
}

void net_quiet(struct world *w, uint64_t delay_ms)
{
    for (int i = 0; i < w->host_count * w->host_count; i++)
        w->wires[i] = (struct wire){.delay_min = delay_ms, .delay_max = delay_ms};
}

static uint64_t delay_of(struct world *w, const struct wire *wire)
{
    return wire->delay_min + world_pick(w, wire->delay_max - wire->delay_min + 1);
}

static struct addr address_of(int address, uint16_t port)
{
    return (struct addr){
        .ip = {10, 0, (uint8_t)(address / 250), (uint8_t)(address % 250 + 1)}, .len = 4, .port = port};
}

static int host_at(const struct world *w, const struct addr *addr)
{
    for (int i = 0; i < w->host_count; i++) {
        struct addr own = address_of(w->hosts[i].address, addr->port);
        if (w->hosts[i].running && addr_equal(&own, addr))
            return i;
    }
    return -1;
}

/* ---- datagrams ---------------------------------------------------------------------- */

static void carry(struct world *w, int from, int to, const struct wire *wire, struct buf bytes)
{
    uint64_t delay = delay_of(w, wire);
    if (world_chance(w, wire->late_permille))
        delay += world_pick(w, wire->late_max + 1);
    struct happening *h = world_plan(w, delay, HAPPEN_EVENT, to);
    h->event.kind = NODE_DATAGRAM;
    h->event.from = address_of(w->hosts[from].address, GOSSIP_PORT);
    h->bytes = bytes;
}

void net_datagram(struct world *w, int node, struct effect *effect)
{
    int to = host_at(w, &effect->to);
    if (to < 0)
        return;
    const struct wire *wire = wire_of(w, node, to);
    if (wire->cut || world_chance(w, wire->loss_permille))
        return;
    if (world_chance(w, wire->double_permille)) {
        struct buf copy;
        buf_init(&copy, effect->bytes.len);
        buf_put_bytes(&copy, buf_bytes(&effect->bytes));
        carry(w, node, to, wire, copy);
    }
    carry(w, node, to, wire, effect->bytes);
    effect->bytes = (struct buf){0};
}

/* ---- streams -------------------------------------------------------------------------- */

void pipe_unref(struct pipe *pipe)
{
    if (!pipe || --pipe->refs)
        return;
    for (int end = 0; end < 2; end++) {
        for (size_t i = 0; i < pipe->flows[end].count; i++)
            buf_done(&pipe->flows[end].pieces[i].bytes);
        free(pipe->flows[end].pieces);
    }
    free(pipe);
}

static void hold(struct world *w, struct pipe *pipe, int end)
{
    struct host *host = &w->hosts[pipe->ends[end].node];
    if (host->pipe_count == host->pipe_room) {
        host->pipe_room = host->pipe_room ? host->pipe_room * 2 : 8;
        host->pipes = mem_grow(host->pipes, host->pipe_room * sizeof *host->pipes);
    }
    host->pipes[host->pipe_count++] = pipe;
    pipe->ends[end].open = true;
    pipe->refs++;
}

static void let_go(struct world *w, struct pipe *pipe, int end)
{
    struct host *host = &w->hosts[pipe->ends[end].node];
    pipe->ends[end].open = false;
    for (size_t i = 0; i < host->pipe_count; i++) {
        if (host->pipes[i] == pipe) {
            host->pipes[i] = host->pipes[--host->pipe_count];
            pipe_unref(pipe);
            return;
        }
    }
    CHECK(!"a pipe that its host does not know");
}

static struct pipe *find(struct world *w, int node, uint64_t stream, int *ret_end)
{
    struct host *host = &w->hosts[node];
    for (size_t i = 0; i < host->pipe_count; i++) {
        for (int end = 0; end < 2; end++) {
            struct pipe *pipe = host->pipes[i];
            if (pipe->ends[end].node == node && pipe->ends[end].open && pipe->ends[end].stream == stream) {
                *ret_end = end;
                return pipe;
            }
        }
    }
    return NULL;
}

/* For the life of that end, whatever has become of its host by now. */
static struct happening *plan_at(struct world *w, uint64_t in_ms, enum happening_kind kind, struct pipe *pipe,
                                 int end)
{
    struct happening *h = world_plan(w, in_ms, kind, pipe->ends[end].node);
    h->life = pipe->ends[end].life;
    h->pipe = pipe;
    h->end = end;
    h->event.stream = pipe->ends[end].stream;
    pipe->refs++;
    return h;
}

static void plan_closed(struct world *w, uint64_t in_ms, struct pipe *pipe, int end, const char *why)
{
    if (!pipe->ends[end].open)
        return;
    struct happening *h = plan_at(w, in_ms, HAPPEN_EVENT, pipe, end);
    h->event.kind = NODE_STREAM_CLOSED;
    h->text = why;
}

bool net_closed(struct world *w, const struct happening *h)
{
    if (!h->pipe)
        return true;
    if (!h->pipe->ends[h->end].open)
        return false;
    let_go(w, h->pipe, h->end);
    return true;
}

void net_connect(struct world *w, const struct happening *h)
{
    int to = host_at(w, &h->addr);
    const struct wire *there = to < 0 ? NULL : wire_of(w, h->node, to),
                      *back = to < 0 ? NULL : wire_of(w, to, h->node);
    if (to < 0 || there->cut || back->cut) {
        struct happening *closed = world_plan(w, to < 0 ? 1 : CONNECT_TIMEOUT_MS, HAPPEN_EVENT, h->node);
        closed->event.kind = NODE_STREAM_CLOSED;
        closed->event.stream = h->event.stream;
        closed->text = to < 0 ? "connection refused" : "timed out";
        return;
    }
    struct host *host = &w->hosts[to];
    struct pipe *pipe = mem_new(sizeof *pipe);
    host->next_accepted += 2;
    *pipe = (struct pipe){
        .kind = h->event.stream_kind,
        .ends = {{.node = h->node, .life = h->life, .stream = h->event.stream},
                 {.node = to, .life = host->life, .stream = host->next_accepted - 1}},
    };
    hold(w, pipe, 0);
    hold(w, pipe, 1);
    uint64_t delay = delay_of(w, there), round = delay + delay_of(w, back);
    struct happening *accepted = plan_at(w, delay, HAPPEN_EVENT, pipe, 1);
    accepted->event.kind = NODE_STREAM_ACCEPTED;
    accepted->event.stream_kind = pipe->kind;
    accepted->event.from = address_of(w->hosts[h->node].address, 40000);
    struct happening *opened = plan_at(w, round, HAPPEN_EVENT, pipe, 0);
    opened->event.kind = NODE_STREAM_OPENED;
    pipe->flows[0].last_at_ms = w->now_ms + delay;
    pipe->flows[1].last_at_ms = w->now_ms + round;
}

static void plan_flow(struct world *w, struct pipe *pipe, int end, uint64_t at_ms)
{
    if (pipe->flows[end].planned)
        return;
    struct happening *h = world_plan(w, at_ms > w->now_ms ? at_ms - w->now_ms : 0, HAPPEN_FLOW, -1);
    h->pipe = pipe;
    h->end = end;
    pipe->refs++;
    pipe->flows[end].planned = true;
}

static uint64_t arrival(struct world *w, struct pipe *pipe, int end)
{
    const struct wire *wire = wire_of(w, pipe->ends[end].node, pipe->ends[!end].node);
    uint64_t at = w->now_ms + delay_of(w, wire);
    struct flow *flow = &pipe->flows[end];
    if (at < flow->last_at_ms)
        at = flow->last_at_ms;
    return flow->last_at_ms = at;
}

void net_send(struct world *w, int node, uint64_t stream, struct buf *bytes)
{
    int end;
    struct pipe *pipe = find(w, node, stream, &end);
    if (!pipe || !bytes->len)
        return;
    struct flow *flow = &pipe->flows[end];
    if (flow->count == flow->room) {
        flow->room = flow->room ? flow->room * 2 : 4;
        flow->pieces = mem_grow(flow->pieces, flow->room * sizeof *flow->pieces);
    }
    flow->queued += bytes->len;
    w->result.stream_bytes += bytes->len;
    flow->pieces[flow->count++] = (struct piece){.at_ms = arrival(w, pipe, end), .bytes = *bytes};
    *bytes = (struct buf){0};
    plan_flow(w, pipe, end, flow->pieces[0].at_ms);
}

void net_close(struct world *w, int node, uint64_t stream)
{
    int end;
    struct pipe *pipe = find(w, node, stream, &end);
    if (!pipe)
        return;
    struct flow *flow = &pipe->flows[end];
    flow->closing = true;
    uint64_t at = arrival(w, pipe, end);
    plan_flow(w, pipe, end, flow->count ? flow->pieces[0].at_ms : at);
    let_go(w, pipe, end);
}

void net_pause(struct world *w, int node, uint64_t stream, bool paused)
{
    int end;
    struct pipe *pipe = find(w, node, stream, &end);
    if (pipe)
        pipe->ends[end].paused = paused;
}

/* How many bytes may move now; 0 with a time when to look again. */
static size_t allowance(struct world *w, const struct pipe *pipe, int end, uint64_t *ret_again_ms)
{
    int to = pipe->ends[!end].node;
    const struct host *reader = &w->hosts[to];
    const struct wire *wire = wire_of(w, pipe->ends[end].node, to);
    *ret_again_ms = STALL_MS;
    if (wire->cut || pipe->ends[!end].paused || reader->paused_until_ms > w->now_ms)
        return 0;
    *ret_again_ms = SLOW_MS;
    if (reader->slow_until_ms > w->now_ms)
        return SLOW_BYTES;
    if (wire->rate)
        return wire->rate * SLOW_MS;
    *ret_again_ms = 0;
    return READ_BYTES;
}

void net_flow(struct world *w, struct pipe *pipe, int end)
{
    struct flow *flow = &pipe->flows[end];
    uint64_t again;
    flow->planned = false;
    if (!pipe->ends[!end].open)
        return;
    size_t may = allowance(w, pipe, end, &again);
    struct host *reader = &w->hosts[pipe->ends[!end].node];
    if (flow->count && flow->pieces[0].at_ms <= w->now_ms && may) {
        struct buf *bytes = &flow->pieces[0].bytes;
        size_t n = bytes->len < may ? bytes->len : may;
        struct buf part = {0};
        if (n == bytes->len) {
            part = *bytes;
            memmove(flow->pieces, flow->pieces + 1, --flow->count * sizeof *flow->pieces);
        } else {
            buf_init(&part, n);
            buf_put(&part, bytes->data, n);
            buf_consume(bytes, n);
        }
        flow->queued -= n;
        world_mix(w, part.data, part.len);
        pipe->refs++; /* the step may close it */
        host_step(w, reader,
                  &(struct node_event){.kind = NODE_STREAM_DATA,
                                       .stream = pipe->ends[!end].stream,
                                       .bytes = buf_bytes(&part)});
        buf_done(&part);
        if (pipe->ends[end].open) {
            struct happening *drained = plan_at(w, 0, HAPPEN_EVENT, pipe, end);
            drained->event.kind = NODE_STREAM_DRAINED;
            drained->event.queued = flow->queued;
        }
        pipe_unref(pipe);
    } else if (!flow->count && flow->closing && may) {
        plan_closed(w, 0, pipe, !end, "closed by peer");
        return;
    }
    if (!pipe->ends[!end].open || (!flow->count && !flow->closing))
        return;
    uint64_t at = flow->count ? flow->pieces[0].at_ms : flow->last_at_ms;
    plan_flow(w, pipe, end, at > w->now_ms + again ? at : w->now_ms + again);
}

void net_drop(struct world *w, int node, bool with_reset)
{
    struct host *host = &w->hosts[node];
    while (host->pipe_count) {
        struct pipe *pipe = host->pipes[host->pipe_count - 1];
        int end = pipe->ends[0].node == node && pipe->ends[0].open && pipe->ends[0].life == host->life ? 0
                                                                                                       : 1;
        int far = pipe->ends[!end].node;
        pipe->refs++;
        let_go(w, pipe, end);
        if (with_reset && !wire_of(w, node, far)->cut)
            plan_closed(w, delay_of(w, wire_of(w, node, far)), pipe, !end, "connection reset");
        else /* found out when something is sent, or by silence */
            plan_closed(w, 20000 + world_pick(w, 40000), pipe, !end, "timed out");
        pipe_unref(pipe);
    }
}

size_t net_queued_most(const struct world *w)
{
    size_t most = 0;
    for (int i = 0; i < w->host_count; i++)
        for (size_t k = 0; k < w->hosts[i].pipe_count; k++)
            for (int end = 0; end < 2; end++)
                if (w->hosts[i].pipes[k]->ends[end].node == i &&
                    most < w->hosts[i].pipes[k]->flows[end].queued)
                    most = w->hosts[i].pipes[k]->flows[end].queued;
    return most;
}

void host_address(const struct host *host, uint16_t port, char out[ADDR_TEXT_MAX])
{
    struct addr addr = address_of(host->address, port);
    addr_text(&addr, out);
}
