#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "crc.h"
#include "engine_mem.h"
#include "json_out.h"
#include "mem.h"

enum { COMMIT_MS = 1, CONNECT_TIMEOUT_MS = 3000, GOSSIP_PORT = 7946, SYNC_PORT = 7947 };
static const uint64_t WALL_START_MS = 1800000000000u;

/* ---- what the world is made of ------------------------------------------------------ */

struct pipe_end {
    int node;
    uint64_t stream;
    bool open;           /* the node still holds it */
    bool paused;         /* reads no more */
    size_t in_flight;    /* bytes sent by this end and not read by the other */
    uint64_t free_at_ms; /* bytes arrive in order */
    struct buf *arrived; /* from this end, not read by the other yet */
    size_t arrived_count;
    bool looked_at_again; /* that is planned */
};

struct pipe {
    struct pipe_end ends[2];
    enum stream_kind kind;
    bool broken;
};

enum happening_kind { HAPPEN_EVENT, HAPPEN_COMMIT, HAPPEN_CONNECT };

/* Something that will happen at a node. */
struct happening {
    uint64_t at_ms, order;
    enum happening_kind kind;
    int node;
    unsigned life; /* of the node: what was meant for an earlier life is dropped */
    struct node_event event;
    struct buf bytes;        /* event.bytes */
    struct store_work *work; /* COMMIT, STORED */
    struct pipe *pipe;       /* of stream events */
    int from_end;            /* DATA: which end sent it */
    struct addr addr;        /* CONNECT */
    struct addr addrs[8];    /* RESOLVED */
    size_t addr_count;
    char text[96];
};

struct host {
    struct engine *disk; /* while down */
    struct engine *saved;
    struct store *store;
    struct node *node;
    struct engine *engine; /* of the running store */
    unsigned life;
    uint64_t busy_until_ms; /* the committer */
    uint16_t protocol;
    uint64_t file; /* what the disk's file is: another after a restore */
    int address;
    int called; /* the number in its name */
    struct world_traffic traffic;
    int64_t clock_offset_ms;
    bool full, was_started;
    uint64_t next_accepted, next_request;
    struct node_reply *reply;
    uint64_t reply_ticket;
    const struct bytes *keys;
    size_t key_count;
    const char *label, *block;
    const uint8_t *vsn;
};

struct world {
    struct world_options options;
    struct rng rng;
    uint64_t now_ms, order;
    struct happening **heap;
    size_t heap_count, heap_room;
    struct host hosts[WORLD_NODES_MAX];
    bool cut[WORLD_NODES_MAX][WORLD_NODES_MAX];
    uint64_t bytes[WORLD_NODES_MAX][WORLD_NODES_MAX];
    struct pipe **pipes;
    size_t pipe_count;
    struct buf transcript;
    uint64_t hash;
    char *value;
};

/* ---- the heap of what will happen ----------------------------------------------------- */

static bool before(const struct happening *a, const struct happening *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static struct happening *plan(struct world *w, uint64_t at_ms, enum happening_kind kind, int node)
{
    struct happening *h = mem_new(sizeof *h);
    *h = (struct happening){
        .at_ms = at_ms, .order = ++w->order, .kind = kind, .node = node, .life = w->hosts[node].life};
    if (w->heap_count == w->heap_room) {
        w->heap_room = w->heap_room ? w->heap_room * 2 : 64;
        w->heap = mem_grow(w->heap, w->heap_room * sizeof *w->heap);
    }
    size_t i = w->heap_count++;
    for (; i > 0 && before(h, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = h;
    return h;
}

static struct happening *next_happening(struct world *w)
{
    struct happening *first = w->heap[0], *last = w->heap[--w->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->heap_count; i = child) {
        if (child + 1 < w->heap_count && before(w->heap[child + 1], w->heap[child]))
            child++;
        if (!before(w->heap[child], last))
            break;
        w->heap[i] = w->heap[child];
    }
    if (w->heap_count)
        w->heap[i] = last;
    return first;
}

static void free_happening(struct happening *h)
{
    buf_done(&h->bytes);
    store_work_free(h->work);
    free(h);
}

/* ---- the network ------------------------------------------------------------------------ */

static struct addr address_of(int address, uint16_t port)
{
    return (struct addr){.ip = {10, 0, 0, (uint8_t)(address + 1)}, .len = 4, .port = port};
}

static int host_at(const struct world *w, const struct addr *addr)
{
    for (int i = 0; i < WORLD_NODES_MAX; i++) {
        struct addr own = address_of(w->hosts[i].address, addr->port);
        if (w->hosts[i].node && addr_equal(&own, addr))
            return i;
    }
    return -1;
}

static bool parse_target(const char *text, struct addr *ret)
{
    unsigned a, b, c, d, port;
    if (sscanf(text, "%u.%u.%u.%u:%u", &a, &b, &c, &d, &port) != 5 || a > 255 || b > 255 || c > 255 ||
        d > 255 || port > 65535)
        return false;
    *ret = (struct addr){
        .ip = {(uint8_t)a, (uint8_t)b, (uint8_t)c, (uint8_t)d}, .len = 4, .port = (uint16_t)port};
    return true;
}

static struct happening *plan_event(struct world *w, uint64_t at_ms, int node, enum node_event_kind kind)
{
    struct happening *h = plan(w, at_ms, HAPPEN_EVENT, node);
    h->event.kind = kind;
    return h;
}

static struct pipe *find_pipe(struct world *w, int node, uint64_t stream, int *ret_end)
{
    for (size_t i = 0; i < w->pipe_count; i++) {
        for (int end = 0; end < 2; end++) {
            struct pipe_end *e = &w->pipes[i]->ends[end];
            if (e->node == node && e->stream == stream && e->open) {
                *ret_end = end;
                return w->pipes[i];
            }
        }
    }
    return NULL;
}

static void plan_closed(struct world *w, uint64_t at_ms, struct pipe *pipe, int end, const char *why)
{
    if (!pipe->ends[end].open)
        return;
    struct happening *h = plan_event(w, at_ms, pipe->ends[end].node, NODE_STREAM_CLOSED);
    h->event.stream = pipe->ends[end].stream;
    h->pipe = pipe;
    snprintf(h->text, sizeof h->text, "%s", why);
}

static void do_connect(struct world *w, struct happening *h)
{
    int to = host_at(w, &h->addr);
    uint64_t delay = w->options.delay_ms;
    if (to < 0 || w->cut[h->node][to]) {
        struct happening *closed = plan_event(w, w->now_ms + (to < 0 ? delay : CONNECT_TIMEOUT_MS), h->node,
                                              NODE_STREAM_CLOSED);
        closed->event.stream = h->event.stream;
        snprintf(closed->text, sizeof closed->text, "%s", to < 0 ? "connection refused" : "timed out");
        return;
    }
    struct pipe *pipe = mem_new(sizeof *pipe);
    w->hosts[to].next_accepted += 2;
    *pipe = (struct pipe){.kind = h->event.stream_kind,
                          .ends = {{.node = h->node, .stream = h->event.stream, .open = true},
                                   {.node = to, .stream = w->hosts[to].next_accepted - 1, .open = true}}};
    w->pipes = mem_grow(w->pipes, (w->pipe_count + 1) * sizeof *w->pipes);
    w->pipes[w->pipe_count++] = pipe;
    struct happening *accepted = plan_event(w, w->now_ms + delay, to, NODE_STREAM_ACCEPTED);
    accepted->event.stream = pipe->ends[1].stream;
    accepted->event.stream_kind = pipe->kind;
    accepted->event.from = address_of(w->hosts[h->node].address, 40000);
    struct happening *opened = plan_event(w, w->now_ms + 2 * delay, h->node, NODE_STREAM_OPENED);
    opened->event.stream = h->event.stream;
    pipe->ends[0].free_at_ms = w->now_ms + delay;
    pipe->ends[1].free_at_ms = w->now_ms + 2 * delay;
}

static void send_stream(struct world *w, int node, uint64_t stream, struct buf *bytes)
{
    int end;
    struct pipe *pipe = find_pipe(w, node, stream, &end);
    if (!pipe)
        return;
    struct pipe_end *sender = &pipe->ends[end];
    uint64_t at_ms = w->now_ms + w->options.delay_ms;
    if (at_ms < sender->free_at_ms)
        at_ms = sender->free_at_ms;
    sender->free_at_ms = at_ms;
    sender->in_flight += bytes->len;
    if (pipe->kind == STREAM_SYNC)
        w->hosts[node].traffic.sync_bytes += bytes->len;
    else
        w->hosts[node].traffic.gossip_bytes += bytes->len;
    if (pipe->kind == STREAM_SYNC)
        w->bytes[node][pipe->ends[!end].node] += bytes->len;
    struct happening *data = plan_event(w, at_ms, pipe->ends[!end].node, NODE_STREAM_DATA);
    data->event.stream = pipe->ends[!end].stream;
    data->pipe = pipe;
    data->from_end = end;
    data->bytes = *bytes;
    *bytes = (struct buf){0};
}

static void close_stream(struct world *w, int node, uint64_t stream)
{
    int end;
    struct pipe *pipe = find_pipe(w, node, stream, &end);
    if (!pipe)
        return;
    pipe->ends[end].open = false;
    if (w->cut[node][pipe->ends[!end].node])
        return; /* the other end learns nothing */
    uint64_t at_ms = w->now_ms + w->options.delay_ms;
    plan_closed(w, at_ms > pipe->ends[end].free_at_ms ? at_ms : pipe->ends[end].free_at_ms, pipe, !end,
                "closed by peer");
}

/* ---- carrying out effects ---------------------------------------------------------------- */

static void mix(struct world *w, const void *data, size_t len)
{
    w->hash = w->hash * 0x100000001b3u ^ crc32c((uint32_t)w->hash, bytes_of(data, len));
}

static void take_notice(struct world *w, int node, const struct effect *effect)
{
    buf_put_format(&w->transcript, "%8.3f n%d %s\n", (double)w->now_ms / 1000, node, effect->text);
    if (getenv("WORLD_TRACE"))
        fprintf(stderr, "%8.3f n%d %s\n", (double)w->now_ms / 1000, node, effect->text);
}

/* When a work that is handed in now will be done. */
static uint64_t committed_at(const struct world *w, struct host *host, const struct store_work *work)
{
    size_t records, bytes;
    if (w->options.record_us == 0)
        return w->now_ms + COMMIT_MS;
    store_work_cost(work, &records, &bytes);
    if (host->busy_until_ms < w->now_ms)
        host->busy_until_ms = w->now_ms;
    host->busy_until_ms += COMMIT_MS + records * w->options.record_us / 1000;
    return host->busy_until_ms;
}

uint64_t world_backlog_ms(const struct world *w, int i)
{
    uint64_t until = w->hosts[i].busy_until_ms;
    return until > w->now_ms ? until - w->now_ms : 0;
}

static void run_effect(struct world *w, int node, struct effect *effect)
{
    struct host *host = &w->hosts[node];
    struct happening *h;
    int to;
    mix(w, &effect->kind, sizeof effect->kind);
    mix(w, &w->now_ms, sizeof w->now_ms);
    mix(w, &node, sizeof node);
    switch (effect->kind) {
    case EFFECT_DATAGRAM:
        host->traffic.datagrams++;
        host->traffic.datagram_bytes += effect->bytes.len;
        to = host_at(w, &effect->to);
        if (to < 0 || w->cut[node][to] || rng_permille(&w->rng, w->options.loss_permille))
            break;
        h = plan_event(w, w->now_ms + w->options.delay_ms, to, NODE_DATAGRAM);
        h->event.from = address_of(host->address, GOSSIP_PORT);
        h->bytes = effect->bytes;
        effect->bytes = (struct buf){0};
        break;
    case EFFECT_STREAM_OPEN:
        h = plan(w, w->now_ms, HAPPEN_CONNECT, node);
        h->event.stream = effect->stream;
        h->event.stream_kind = effect->stream_kind;
        h->addr = effect->to;
        if (!effect->to.len && !parse_target(effect->target, &h->addr))
            h->addr = address_of(WORLD_NODES_MAX + 1, 1);
        break;
    case EFFECT_STREAM_SEND:
        send_stream(w, node, effect->stream, &effect->bytes);
        break;
    case EFFECT_STREAM_CLOSE:
        close_stream(w, node, effect->stream);
        break;
    case EFFECT_STREAM_PAUSE:
    case EFFECT_STREAM_RESUME: {
        int end;
        struct pipe *pipe = find_pipe(w, node, effect->stream, &end);
        if (pipe)
            pipe->ends[end].paused = effect->kind == EFFECT_STREAM_PAUSE;
        break;
    }
    case EFFECT_NOTICE:
        take_notice(w, node, effect);
        break;
    case EFFECT_STORE:
        h = plan(w, committed_at(w, host, effect->work), HAPPEN_COMMIT, node);
        h->work = effect->work;
        h->event.ticket = effect->ticket;
        break;
    case EFFECT_RESOLVE:
        h = plan_event(w, w->now_ms, node, NODE_RESOLVED);
        h->event.ticket = effect->ticket;
        for (const char *at = effect->target, *comma; h->addr_count < 8; at = comma + 1) {
            h->addr_count += parse_target(at, &h->addrs[h->addr_count]);
            comma = strchr(at, ',');
            if (!comma)
                break;
        }
        if (h->addr_count == 0)
            snprintf(h->text, sizeof h->text, "the name is not known");
        break;
    case EFFECT_REPLY:
        if (effect->ticket == host->reply_ticket) {
            node_reply_free(host->reply);
            host->reply = effect->reply;
        } else {
            node_reply_free(effect->reply);
        }
        break;
    }
}

static void step(struct world *w, int i, struct node_event *event)
{
    struct effects out = {0};
    event->now_ms = w->now_ms;
    event->wall_ms = WALL_START_MS + w->now_ms + (uint64_t)w->hosts[i].clock_offset_ms;
    node_step(w->hosts[i].node, event, &out);
    for (size_t k = 0; k < out.count; k++)
        run_effect(w, i, &out.list[k]);
    effects_done(&out);
}

/* ---- the committer -------------------------------------------------------------------------- */

static uint64_t wall_of(const struct world *w, int i)
{
    return WALL_START_MS + w->now_ms + (uint64_t)w->hosts[i].clock_offset_ms;
}

static enum err commit(struct world *w, int i, struct store_work *work)
{
    struct host *host = &w->hosts[i];
    if (host->full && (work->kind != WORK_WRITE || !work->write.remove))
        return work->err = ERR_FULL;
    return work->err = store_run(host->store, wall_of(w, i), work);
}

static void tell_changed(struct world *w, int i)
{
    plan_event(w, w->now_ms, i, NODE_STORE_CHANGED);
}

/* ---- happenings -------------------------------------------------------------------------------- */

/* What has arrived at an end is read in order, unless it is paused or cut off:
 * then it waits, and is looked at again. */
static void read_arrived(struct world *w, struct pipe *pipe, int from_end)
{
    struct pipe_end *sender = &pipe->ends[from_end], *reader = &pipe->ends[!from_end];
    while (sender->arrived_count && reader->open && !reader->paused && !w->cut[sender->node][reader->node]) {
        struct buf bytes = sender->arrived[0];
        memmove(sender->arrived, sender->arrived + 1, --sender->arrived_count * sizeof bytes);
        sender->in_flight -= bytes.len;
        step(w, reader->node,
             &(struct node_event){
                 .kind = NODE_STREAM_DATA, .stream = reader->stream, .bytes = buf_bytes(&bytes)});
        buf_done(&bytes);
        if (sender->open) {
            struct happening *drained = plan_event(w, w->now_ms, sender->node, NODE_STREAM_DRAINED);
            drained->event.stream = sender->stream;
            drained->event.queued = sender->in_flight;
            drained->pipe = pipe;
        }
    }
    if (sender->arrived_count && reader->open && !sender->looked_at_again) {
        sender->looked_at_again = true;
        struct happening *again = plan_event(w, w->now_ms + 10, reader->node, NODE_STREAM_DATA);
        again->pipe = pipe;
        again->from_end = from_end;
    }
}

static void arrive(struct world *w, struct happening *h)
{
    struct pipe_end *sender = &h->pipe->ends[h->from_end];
    if (h->bytes.len) {
        sender->arrived = mem_grow(sender->arrived, (sender->arrived_count + 1) * sizeof *sender->arrived);
        sender->arrived[sender->arrived_count++] = h->bytes;
        h->bytes = (struct buf){0};
    } else {
        sender->looked_at_again = false;
    }
    read_arrived(w, h->pipe, h->from_end);
}

static void happen(struct world *w, struct happening *h)
{
    struct host *host = &w->hosts[h->node];
    if (!host->node || h->life != host->life)
        return;
    h->event.bytes = buf_bytes(&h->bytes);
    h->event.text = h->text[0] ? h->text : NULL;
    switch (h->kind) {
    case HAPPEN_CONNECT:
        do_connect(w, h);
        return;
    case HAPPEN_COMMIT:
        h->event.kind = NODE_STORED;
        h->event.work = h->work;
        if (commit(w, h->node, h->work) == OK)
            tell_changed(w, h->node);
        step(w, h->node, &h->event);
        return;
    case HAPPEN_EVENT:
        break;
    }
    switch (h->event.kind) {
    case NODE_STREAM_DATA:
        arrive(w, h);
        return;
    case NODE_STREAM_CLOSED:
        if (h->pipe) {
            int end = h->pipe->ends[0].node == h->node && h->pipe->ends[0].stream == h->event.stream ? 0 : 1;
            if (!h->pipe->ends[end].open)
                return;
            h->pipe->ends[end].open = false;
        }
        break;
    case NODE_RESOLVED:
        h->event.addrs = h->addrs;
        h->event.addr_count = h->addr_count;
        break;
    case NODE_DATAGRAM: {
        int from = host_at(w, &h->event.from);
        if (from >= 0 && w->cut[from][h->node])
            return;
        break;
    }
    default:
        break;
    }
    step(w, h->node, &h->event);
}

static uint64_t next_deadline(const struct world *w, int *ret_node)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < WORLD_NODES_MAX; i++) {
        if (!w->hosts[i].node)
            continue;
        uint64_t at = node_deadline(w->hosts[i].node);
        if (at < next) {
            next = at;
            *ret_node = i;
        }
    }
    return next;
}

/* One thing that is due by until_ms; false when there is none. */
static bool one(struct world *w, uint64_t until_ms)
{
    int node = 0;
    uint64_t timer = next_deadline(w, &node), due = w->heap_count ? w->heap[0]->at_ms : UINT64_MAX;
    uint64_t at = timer < due ? timer : due;
    if (at > until_ms)
        return false;
    if (at > w->now_ms)
        w->now_ms = at;
    if (due <= timer) {
        struct happening *h = next_happening(w);
        happen(w, h);
        free_happening(h);
    } else {
        static unsigned spins;
        static uint64_t spin_ms;
        spins = spin_ms == w->now_ms ? spins + 1 : 0;
        spin_ms = w->now_ms;
        CHECK(spins < 100000); /* a deadline that a tick does not move burns a core */
        step(w, node, &(struct node_event){.kind = NODE_TICK});
    }
    return true;
}

void world_run(struct world *w, uint64_t ms)
{
    uint64_t until = w->now_ms + ms;
    while (one(w, until))
        ;
    w->now_ms = until;
}

bool world_until(struct world *w, bool (*condition)(struct world *w, const void *arg), const void *arg,
                 uint64_t ms)
{
    uint64_t until = w->now_ms + ms;
    while (!condition(w, arg)) {
        if (w->now_ms >= until)
            return false;
        uint64_t slice = w->now_ms + 5 < until ? w->now_ms + 5 : until;
        while (one(w, slice))
            ;
        w->now_ms = slice;
    }
    return true;
}

uint64_t world_now(const struct world *w)
{
    return w->now_ms;
}

/* ---- nodes ------------------------------------------------------------------------------------------ */

struct world *world_new(const struct world_options *options)
{
    struct world *w = mem_new(sizeof *w);
    w->options = *options;
    w->now_ms = 1000;
    if (!w->options.delay_ms)
        w->options.delay_ms = 1;
    if (!w->options.history_ms)
        w->options.history_ms = 3600000;
    if (!w->options.forget_after_ms)
        w->options.forget_after_ms = 72 * 3600000u;
    if (!w->options.history_max_bytes)
        w->options.history_max_bytes = 1u << 30;
    rng_init(&w->rng, options->seed);
    buf_init(&w->transcript, 64 << 20);
    for (int i = 0; i < WORLD_NODES_MAX; i++)
        w->hosts[i].address = w->hosts[i].called = i;
    return w;
}

void world_start(struct world *w, int i, const int *join, int join_count)
{
    struct host *host = &w->hosts[i];
    char ingress[64], name[16], joins[WORLD_NODES_MAX][64];
    const char *join_list[WORLD_NODES_MAX];
    CHECK(!host->node);
    uint8_t random[REPLICA_ID_SIZE];
    for (size_t k = 0; k < sizeof random; k++)
        random[k] = (uint8_t)rng_next(&w->rng);
    struct store_options store_options = {.fresh_id = replica_id_of_random(random),
                                          .start_random = rng_next(&w->rng),
                                          .file_identity = bytes_of(&host->file, sizeof host->file),
                                          .wall_ms = wall_of(w, i),
                                          .skew_max_ms = 60000,
                                          .versions_max = 64};
    struct buf why;
    bool reidentified;
    buf_init(&why, 1000);
    host->engine = host->disk ? host->disk : engine_mem_new();
    host->disk = NULL;
    CHECK(store_open(host->engine, &store_options, &host->store, &reidentified, &why) == OK);
    buf_done(&why);
    snprintf(ingress, sizeof ingress, "10.0.0.%d:%d", host->address + 1, SYNC_PORT);
    snprintf(name, sizeof name, "n%d", host->called);
    for (int k = 0; k < join_count; k++) {
        snprintf(joins[k], sizeof joins[k], "10.0.0.%d:%d", w->hosts[join[k]].address + 1, GOSSIP_PORT);
        join_list[k] = joins[k];
    }
    struct node_config config = {.name = name,
                                 .federation_name = name,
                                 .ingress = ingress,
                                 .advertise = address_of(host->address, GOSSIP_PORT),
                                 .profile = &swim_profile_lan,
                                 .join = join_list,
                                 .join_count = (size_t)join_count,
                                 .rejoin = join_count > 0,
                                 .forget_after_ms = w->options.forget_after_ms,
                                 .history_ms = w->options.history_ms,
                                 .history_max_bytes = w->options.history_max_bytes,
                                 .clock_skew_max_ms = 60000,
                                 .keys = host->keys,
                                 .key_count = host->key_count,
                                 .label = host->label,
                                 .block = &host->block,
                                 .block_count = host->block != NULL,
                                 .compression = w->options.uncompressed ? 0 : -1,
                                 .protocol_max = host->protocol};
    if (host->vsn)
        memcpy(config.vsn, host->vsn, sizeof config.vsn);
    rng_init(&config.rng, rng_next(&w->rng));
    host->busy_until_ms = 0;
    host->life++;
    memcpy(config.nonce_key, &host->life, sizeof host->life);
    config.nonce_key[31] = (uint8_t)i;
    CHECK(node_new(&config, host->store, w->now_ms, wall_of(w, i), &host->node) == OK);
}

void world_start_alone(struct world *w, int i)
{
    world_start(w, i, NULL, 0);
}

void world_kill(struct world *w, int i)
{
    struct host *host = &w->hosts[i];
    CHECK(host->node);
    for (size_t k = 0; k < w->pipe_count; k++) {
        struct pipe *pipe = w->pipes[k];
        for (int end = 0; end < 2; end++) {
            if (pipe->ends[end].node == i && pipe->ends[end].open) {
                pipe->ends[end].open = false;
                if (!w->cut[i][pipe->ends[!end].node])
                    plan_closed(w, w->now_ms + w->options.delay_ms, pipe, !end, "connection reset");
            }
        }
    }
    node_free(host->node);
    host->node = NULL;
    node_reply_free(host->reply);
    host->reply = NULL;
    host->disk = engine_mem_clone(host->engine);
    store_close(host->store);
    host->store = NULL;
    host->life++;
}

void world_wipe(struct world *w, int i)
{
    struct host *host = &w->hosts[i];
    CHECK(!host->node && host->disk);
    host->disk->ops->close(host->disk);
    host->disk = NULL;
}

void world_save(struct world *w, int i)
{
    struct host *host = &w->hosts[i];
    if (host->saved)
        host->saved->ops->close(host->saved);
    host->saved = engine_mem_clone(host->node ? host->engine : host->disk);
}

void world_restore(struct world *w, int i, bool same_file)
{
    struct host *host = &w->hosts[i];
    CHECK(!host->node && host->saved);
    if (host->disk)
        host->disk->ops->close(host->disk);
    host->disk = engine_mem_clone(host->saved);
    host->file += !same_file;
}

void world_copy(struct world *w, int from, int to)
{
    CHECK(!w->hosts[to].node && !w->hosts[to].disk && w->hosts[from].saved);
    w->hosts[to].disk = engine_mem_clone(w->hosts[from].saved);
    w->hosts[to].file = w->hosts[from].file;
    w->hosts[to].called = w->hosts[from].called;
}

void world_move(struct world *w, int i, int address)
{
    CHECK(!w->hosts[i].node);
    w->hosts[i].address = address;
}

void world_cut(struct world *w, int a, int b, bool cut)
{
    w->cut[a][b] = w->cut[b][a] = cut;
}

void world_protocol(struct world *w, int i, uint16_t highest)
{
    w->hosts[i].protocol = highest;
}

void world_clock_offset(struct world *w, int i, int64_t ms)
{
    w->hosts[i].clock_offset_ms = ms;
}

void world_damage(struct world *w, int i, const char *key)
{
    struct engine *engine = w->hosts[i].engine;
    struct engine_txn *txn;
    CHECK(engine->ops->write_begin(engine, &txn) == OK);
    CHECK(engine->ops->put(txn, TABLE_RECORDS, bytes_str(key), bytes_str("rubbish")) == OK);
    CHECK(engine->ops->commit(txn) == OK);
}

struct engine *world_engine(struct world *w, int i)
{
    return w->hosts[i].engine;
}

void world_disk_full(struct world *w, int i, bool full)
{
    w->hosts[i].full = full;
}

void world_free(struct world *w)
{
    for (int i = 0; i < WORLD_NODES_MAX; i++) {
        struct host *host = &w->hosts[i];
        if (host->node)
            world_kill(w, i);
        if (host->disk)
            host->disk->ops->close(host->disk);
        if (host->saved)
            host->saved->ops->close(host->saved);
    }
    while (w->heap_count)
        free_happening(next_happening(w));
    free(w->heap);
    for (size_t i = 0; i < w->pipe_count; i++) {
        for (int end = 0; end < 2; end++) {
            struct pipe_end *e = &w->pipes[i]->ends[end];
            for (size_t k = 0; k < e->arrived_count; k++)
                buf_done(&e->arrived[k]);
            free(e->arrived);
        }
        free(w->pipes[i]);
    }
    free(w->pipes);
    buf_done(&w->transcript);
    free(w->value);
    free(w);
}

/* ---- clients ------------------------------------------------------------------------------------------ */

static enum err write_key(struct world *w, int i, const char *key, const char *value,
                          const struct token *token)
{
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write.key = bytes_str(key);
    work->write.remove = value == NULL;
    work->write.token = token;
    if (value)
        work->write.value = bytes_str(value);
    enum err err = commit(w, i, work);
    if (err == OK)
        tell_changed(w, i);
    store_work_free(work);
    return err;
}

enum err world_put_expiring(struct world *w, int i, const char *key, const char *value, uint64_t in_ms)
{
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write = (struct write_work){
        .key = bytes_str(key),
        .value = bytes_str(value),
        .expires_ms = (uint64_t)((int64_t)wall_of(w, i) - w->hosts[i].clock_offset_ms) + in_ms};
    enum err err = commit(w, i, work);
    if (err == OK)
        tell_changed(w, i);
    store_work_free(work);
    return err;
}

enum err world_put(struct world *w, int i, const char *key, const char *value)
{
    return write_key(w, i, key, value, NULL);
}

enum err world_put_with(struct world *w, int i, const char *key, const char *value, const struct token *token)
{
    return write_key(w, i, key, value, token);
}

enum err world_delete(struct world *w, int i, const char *key)
{
    return write_key(w, i, key, NULL, NULL);
}

static size_t read_key(struct world *w, int i, const char *key, struct token *ret_token)
{
    struct snapshot *snapshot;
    struct record record = {0};
    struct clock floor = {0};
    CHECK(snapshot_open(w->hosts[i].store, &snapshot) == OK);
    enum err err = snapshot_record(snapshot, bytes_str(key), &record);
    CHECK(err == OK || err == ERR_NOT_FOUND || err == ERR_DAMAGED);
    CHECK(snapshot_clock(snapshot, NULL, &floor) == OK);
    const struct version *version = record_surfaced(&record, wall_of(w, i));
    free(w->value);
    w->value = version ? mem_text_of(version->value) : NULL;
    size_t versions = record.count;
    if (ret_token)
        token_of_read(ret_token, bytes_str(key), &record, &floor);
    record_done(&record);
    clock_done(&floor);
    snapshot_close(snapshot);
    return versions;
}

const char *world_get(struct world *w, int i, const char *key)
{
    read_key(w, i, key, NULL);
    return w->value;
}

size_t world_versions(struct world *w, int i, const char *key)
{
    return read_key(w, i, key, NULL);
}

void world_read_token(struct world *w, int i, const char *key, struct token *ret)
{
    read_key(w, i, key, ret);
}

static bool replied(struct world *w, const void *host)
{
    (void)w;
    return ((const struct host *)host)->reply != NULL;
}

void world_keys(struct world *w, int i, const struct bytes *keys, size_t count)
{
    struct host *host = &w->hosts[i];
    host->keys = keys;
    host->key_count = count;
    if (host->node)
        step(w, i, &(struct node_event){.kind = NODE_REKEY, .keys = keys, .key_count = count});
}

void world_label(struct world *w, int i, const char *label)
{
    w->hosts[i].label = label;
}

void world_block(struct world *w, int i, const char *name)
{
    struct host *host = &w->hosts[i];
    host->block = name;
    if (host->node)
        step(w, i,
             &(struct node_event){.kind = NODE_CONFIGURE, .names = &host->block, .name_count = name != NULL});
}

void world_vsn(struct world *w, int i, const uint8_t vsn[6])
{
    w->hosts[i].vsn = vsn;
}

void world_rename(struct world *w, int i, int number)
{
    w->hosts[i].called = number;
}

static void ask(struct world *w, int i, enum node_request request, const char *const *names,
                size_t name_count)
{
    struct host *host = &w->hosts[i];
    node_reply_free(host->reply);
    host->reply = NULL;
    host->reply_ticket = 1u << 30 | ++host->next_request;
    step(w, i,
         &(struct node_event){.kind = NODE_REQUEST,
                              .request = request,
                              .ticket = host->reply_ticket,
                              .names = names,
                              .name_count = name_count});
}

void world_ask(struct world *w, int i, enum node_request request, const char *name)
{
    ask(w, i, request, &name, name ? 1 : 0);
}

static const char *request_with(struct world *w, int i, enum node_request request, const char *const *names,
                                size_t name_count, enum err *ret_err, uint64_t within_ms)
{
    struct host *host = &w->hosts[i];
    ask(w, i, request, names, name_count);
    CHECK(world_until(w, replied, host, within_ms));
    *ret_err = host->reply->err;
    free(w->value);
    w->value = mem_text_of(buf_bytes(&host->reply->data));
    return w->value;
}

const char *world_request(struct world *w, int i, enum node_request request, const char *name,
                          enum err *ret_err, uint64_t within_ms)
{
    return request_with(w, i, request, &name, name ? 1 : 0, ret_err, within_ms);
}

const char *world_request_forced(struct world *w, int i, enum node_request request, const char *name,
                                 enum err *ret_err, uint64_t within_ms)
{
    return world_request_two(w, i, request, name, "force", ret_err, within_ms);
}

const char *world_request_two(struct world *w, int i, enum node_request request, const char *name,
                              const char *other, enum err *ret_err, uint64_t within_ms)
{
    return request_with(w, i, request, (const char *[]){name, other}, 2, ret_err, within_ms);
}

/* ---- looking ------------------------------------------------------------------------------------------- */

/* A digest of the clock: cheap, and different for as long as something is missing. */
static uint64_t clock_digest(struct world *w, int i)
{
    struct snapshot *snapshot;
    struct clock clock = {0};
    uint32_t digest = 1;
    CHECK(snapshot_open(w->hosts[i].store, &snapshot) == OK);
    CHECK(snapshot_clock(snapshot, &clock, NULL) == OK);
    snapshot_close(snapshot);
    for (size_t k = 0; k < clock.count; k++)
        digest = crc32c(digest, bytes_of(&clock.entries[k], sizeof clock.entries[k]));
    clock_done(&clock);
    return digest;
}

/* A digest of all (key, versions). Contexts may differ: they are dropped at
 * different times. */
static uint64_t data_digest(struct world *w, int i)
{
    struct snapshot *snapshot;
    struct scan *scan;
    struct bytes key, bytes;
    struct record record = {0};
    uint32_t digest = 1;
    CHECK(snapshot_open(w->hosts[i].store, &snapshot) == OK);
    CHECK(scan_open(snapshot, bytes_of(NULL, 0), &scan) == OK);
    while (scan_next(scan, &key, &bytes) == OK) {
        if (record_decode(key, bytes, &record) != OK)
            digest = crc32c(digest + 1 + (uint32_t)i, key); /* equal to nobody's */
        for (size_t k = 0; k < record.count; k++) {
            const struct version *v = &record.versions[k];
            digest = crc32c(digest, key);
            digest = crc32c(digest, bytes_of(&v->dot, sizeof v->dot));
            digest = crc32c(digest, v->value);
        }
    }
    scan_close(scan);
    snapshot_close(snapshot);
    record_done(&record);
    return digest;
}

static bool all_same(struct world *w, uint64_t (*digest)(struct world *w, int i))
{
    bool first = true;
    uint64_t expected = 0;
    for (int i = 0; i < WORLD_NODES_MAX; i++) {
        if (!w->hosts[i].node)
            continue;
        uint64_t own = digest(w, i);
        if (!first && own != expected)
            return false;
        expected = own;
        first = false;
    }
    return true;
}

bool world_agrees(struct world *w, const void *unused)
{
    (void)unused;
    return all_same(w, clock_digest) && all_same(w, data_digest);
}

int world_members(struct world *w, int i, const char *status)
{
    enum err err;
    char pattern[64];
    const char *text = world_request(w, i, NODE_REQUEST_MEMBERS, NULL, &err, 1000);
    int count = 0;
    snprintf(pattern, sizeof pattern, "\"Status\":\"%s\"", status);
    for (const char *at = text; (at = strstr(at, pattern)); at++)
        count++;
    return count;
}

uint64_t world_counter(struct world *w, int i, const char *name)
{
    enum err err;
    char pattern[96];
    const char *text = world_request(w, i, NODE_REQUEST_STATUS, NULL, &err, 1000);
    snprintf(pattern, sizeof pattern, "\"%s\":", name);
    const char *at = strstr(text, pattern);
    CHECK(at != NULL);
    return strtoull(at + strlen(pattern), NULL, 10);
}

uint64_t world_bytes_sent(struct world *w, int from, int to)
{
    return w->bytes[from][to];
}

struct world_traffic world_traffic(const struct world *w, int i)
{
    return w->hosts[i].traffic;
}

void world_forget_bytes(struct world *w)
{
    memset(w->bytes, 0, sizeof w->bytes);
    for (int i = 0; i < WORLD_NODES_MAX; i++)
        w->hosts[i].traffic = (struct world_traffic){0};
}

bool world_noticed(const struct world *w, const char *text)
{
    return w->transcript.len && memmem(w->transcript.data, w->transcript.len, text, strlen(text)) != NULL;
}

size_t world_notices_by(const struct world *w, int i, const char *text)
{
    char by[16];
    size_t count = 0;
    if (w->transcript.len == 0)
        return 0;
    snprintf(by, sizeof by, " n%d ", i);
    const char *at = (const char *)w->transcript.data, *end = at + w->transcript.len;
    for (const char *line_end; at < end; at = line_end + 1) {
        line_end = memchr(at, '\n', (size_t)(end - at));
        count += strncmp(at + 8, by, strlen(by)) == 0 &&
                 memmem(at, (size_t)(line_end - at), text, strlen(text)) != NULL;
    }
    return count;
}

bool world_noticed_by(const struct world *w, int i, const char *text)
{
    return world_notices_by(w, i, text) > 0;
}

uint64_t world_hash(const struct world *w)
{
    return w->hash;
}

void world_replica_id(struct world *w, int i, struct replica_id *ret)
{
    struct snapshot *snapshot;
    struct identity identity = {0};
    CHECK(snapshot_open(w->hosts[i].store, &snapshot) == OK);
    CHECK(snapshot_identity(snapshot, &identity) == OK);
    *ret = identity.id;
    identity_done(&identity);
    snapshot_close(snapshot);
}

struct store *world_store(struct world *w, int i)
{
    return w->hosts[i].store;
}

size_t world_rows(struct world *w, int i)
{
    struct engine_usage usage;
    store_usage(w->hosts[i].store, &usage);
    return usage.entries[TABLE_ROWS];
}

size_t world_records(struct world *w, int i)
{
    struct engine_usage usage;
    store_usage(w->hosts[i].store, &usage);
    return usage.entries[TABLE_RECORDS];
}
