#include "check.h"
#include "crc.h"
#include "mem.h"
#include "state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SPARES = 3, /* hosts that may be added */
    STEPS_AT_ONCE = 100000,
    AGREE_LOOK_MS = 250,
    LET_GO_MS = 75000,   /* what peers can be had from within a minute has come by then */
    FILES_PERMILLE = 60, /* of the worlds have LMDB behind the log */
    SHORT_HISTORY_PERMILLE = 120,
    SHRINK_MS = 240000, /* an eighth less each ten seconds */
    /* After history and the forgotten have gone, deleted keys cost nothing within it. What clocks
     * said while they ran fast is over by the second time that is told (sync/wall.h): two minutes. */
    TRACES_MS = 130000,
};

/* ---- what the files share ------------------------------------------------------------------ */

void world_say(struct world *w, const char *format, ...)
{
    char line[600];
    va_list args;
    if (!w->options.tell)
        return;
    int n = snprintf(line, sizeof line, "%9.3f ", (double)w->now_ms / 1000);
    va_start(args, format);
    vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    w->options.tell(w->options.tell_ctx, line);
}

void world_mix(struct world *w, const void *data, size_t len)
{
    w->result.trace = w->result.trace * 0x100000001b3u ^
                      crc32c((uint32_t)w->result.trace, bytes_of(data, len));
}

void world_fail(struct world *w, const char *format, ...)
{
    va_list args;
    if (!w->result.fine)
        return;
    w->result.fine = false;
    int n = snprintf(w->result.why, sizeof w->result.why, "at %.3f s: ", (double)w->now_ms / 1000);
    va_start(args, format);
    vsnprintf(w->result.why + n, sizeof w->result.why - (size_t)n, format, args);
    va_end(args);
    world_say(w, "FAILED %s", w->result.why);
}

struct happening *world_plan(struct world *w, uint64_t in_ms, enum happening_kind kind, int node)
{
    return heap_plan(&w->heap, w->now_ms + in_ms, kind, node, node < 0 ? 0 : w->hosts[node].life);
}

/* ---- happenings ------------------------------------------------------------------------------ */

static void give_event(struct world *w, struct host *host, struct happening *h)
{
    h->event.bytes = buf_bytes(&h->bytes);
    h->event.text = h->text;
    if (h->kind == HAPPEN_RESOLVED) {
        h->event.addrs = &h->addr;
        h->event.addr_count = h->text ? 0 : 1;
    }
    if (h->event.kind == NODE_STREAM_CLOSED && !net_closed(w, h))
        return;
    if (h->pipe && h->event.kind != NODE_STREAM_CLOSED && !h->pipe->ends[h->end].open)
        return;
    host_step(w, host, &h->event);
}

/* False when the happening is put off. */
static bool happen_at(struct world *w, struct happening *h)
{
    struct host *host = &w->hosts[h->node];
    if (h->life != host->life)
        return true;
    if (h->kind == HAPPEN_START) {
        if (!host->running && !host->removed)
            host_start(w, host);
        return true;
    }
    if (!host->running)
        return true;
    if (host->paused_until_ms > w->now_ms) {
        heap_push(&w->heap, h, host->paused_until_ms);
        return false;
    }
    switch (h->kind) {
    case HAPPEN_EVENT:
    case HAPPEN_RESOLVED:
        give_event(w, host, h);
        break;
    case HAPPEN_CONNECT:
        net_connect(w, h);
        break;
    case HAPPEN_COMMIT:
        host_commit(w, host);
        break;
    case HAPPEN_APPLY:
        host_apply(w, host);
        break;
    case HAPPEN_STOPPED:
        host_stopped(w, host);
        break;
    default:
        CHECK(!"a happening of nobody's at a host");
    }
    return true;
}

static bool happen(struct world *w, struct happening *h)
{
    struct ask *ask = h->ask;
    if (h->node >= 0)
        return happen_at(w, h);
    h->ask = NULL;
    switch (h->kind) {
    case HAPPEN_FLOW:
        net_flow(w, h->pipe, h->end);
        break;
    case HAPPEN_ASK:
        client_ask(w, ask);
        break;
    case HAPPEN_ANSWER:
        client_answer(w, ask);
        break;
    case HAPPEN_ACT:
        client_act(w, (int)h->index);
        break;
    case HAPPEN_FAULT:
        fault_strike(w);
        break;
    case HAPPEN_MEND:
        fault_mend(w, h);
        break;
    default:
        CHECK(!"a happening of a host's at nobody");
    }
    return true;
}

static uint64_t next_deadline(struct world *w, struct host **ret)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < w->host_count; i++) {
        struct host *host = &w->hosts[i];
        if (!host->running)
            continue;
        if (host->deadline_stale)
            host->deadline_ms = host_when(w, host, node_deadline(host->node));
        host->deadline_stale = false;
        uint64_t at = host->deadline_ms;
        if (at < host->paused_until_ms)
            at = host->paused_until_ms;
        if (at < next) {
            next = at;
            *ret = host;
        }
    }
    return next;
}

/* One thing that is due by then; false when there is none. */
static bool one(struct world *w, uint64_t until_ms)
{
    struct host *host = NULL;
    uint64_t due = w->heap.count ? w->heap.at[0]->at_ms : UINT64_MAX;
    uint64_t timer = due <= w->now_ms ? UINT64_MAX : next_deadline(w, &host); /* it asks all nodes */
    uint64_t at = timer < due ? timer : due;
    if (at > until_ms || !w->result.fine)
        return false;
    if (at > w->now_ms) {
        w->now_ms = at;
        w->spins = 0;
    }
    if (++w->spins > STEPS_AT_ONCE) {
        world_fail(w, "time stands still: a deadline that a tick does not move burns a core");
        return false;
    }
    if (due <= timer) {
        struct happening *h = heap_pop(&w->heap);
        if (happen(w, h))
            happening_free(h);
    } else {
        host_step(w, host, &(struct node_event){.kind = NODE_TICK});
    }
    return true;
}

static void run_until(struct world *w, uint64_t until_ms)
{
    while (one(w, until_ms))
        ;
    if (w->result.fine)
        w->now_ms = until_ms;
}

/* ---- one world ----------------------------------------------------------------------------------- */

static void draw_habits(struct world *w)
{
    struct habits *habits = &w->habits;
    *habits = (struct habits){
        .weight = {[ASK_GET] = 28, [ASK_PUT] = 38, [ASK_DELETE] = 24, [ASK_ADD] = 6, [ASK_LIST] = 4}};
    habits->weight[ASK_TOUCH] = world_chance(w, 400) ? 1 + (unsigned)world_pick(w, 10) : 0;
    habits->weight[ASK_BATCH] = world_chance(w, 400) ? 1 + (unsigned)world_pick(w, 15) : 0;
    habits->ttl_permille = world_chance(w, 400) ? (unsigned)world_pick(w, 500) : 0;
    habits->condition_permille = world_chance(w, 400) ? (unsigned)world_pick(w, 500) : 0;
    habits->confirm_permille = world_chance(w, 400) ? (unsigned)world_pick(w, 400) : 0;
    habits->siblings = world_chance(w, 150);
    w->versions_max = world_chance(w, 200) ? 1 + (size_t)world_pick(w, 4) : VERSIONS_MAX;
}

/* Server.HistoryMax: where it is small, rows go whoever lacks them. From a chance of its
 * own: the other worlds are what they would be without. */
static void draw_history_max(struct world *w)
{
    struct rng rng;
    rng_init(&rng, w->options.seed ^ 0x68697374);
    w->history_max_bytes = 1 << 30;
    if (rng_permille(&rng, SHORT_HISTORY_PERMILLE))
        w->history_max_bytes = (uint64_t)(w->on_files ? 4096 : 400)
                               << rng_below(&rng, 3); /* pages, or rows */
}

static void set_up(struct world *w)
{
    static const uint64_t skews_ms[] = {1000, 10000, 60000}; /* Peering.ClockSkewMax */
    static const uint64_t histories_ms[] = {500, 5000, 60000}, forgets_ms[] = {6000, 30000, 72 * 3600000};
    unsigned nodes = w->options.nodes ? w->options.nodes : 3 + (unsigned)world_pick(w, 5);
    w->lossy = world_chance(w, 350);
    w->trembling = world_chance(w, 400);
    w->forgetful = world_chance(w, 400);
    w->history_ms = w->forgetful ? 200 : histories_ms[world_pick(w, 3)];
    w->forget_after_ms = w->forgetful ? 2000 + world_pick(w, 4000) : forgets_ms[world_pick(w, 3)];
    w->skew_max_ms = skews_ms[world_pick(w, 3)];
    w->memory_max = world_chance(w, 500) ? 32 << 10 : 1 << 20;
    w->segment_bytes = world_chance(w, 500) ? 8 << 10 : 128 << 10;
    w->delay_ms = 1 + (unsigned)world_pick(w, world_chance(w, 300) ? 80 : 5);
    w->on_files = (world_chance(w, FILES_PERMILLE) || w->options.on_files) && w->options.trees;
    w->result.on_files = w->on_files;
    draw_history_max(w);
    draw_habits(w);
    w->host_count = (int)nodes + SPARES;
    w->hosts = mem_new((size_t)w->host_count * sizeof *w->hosts);
    w->wires = mem_new((size_t)w->host_count * (size_t)w->host_count * sizeof *w->wires);
    w->oracle.key_count = 2 + (size_t)world_pick(w, ORACLE_KEYS - 1);
    w->client_count = 2 + (int)world_pick(w, CLIENTS_MAX - 1);
    w->result.nodes = nodes;
    net_quiet(w, w->delay_ms);
    for (int i = 0; i < w->host_count; i++) {
        struct host *host = &w->hosts[i];
        *host = (struct host){
            .index = i, .address = i, .named_as = i, .file = rng_next(&w->rng), .ppm = 1000000};
        host->local_base_ms = host->local_first_ms = 1000 + world_pick(w, 1000000);
        host->commit_ms_max = 1 + world_pick(w, world_chance(w, 200) ? 40 : 3);
        host->works_end = &host->works;
    }
    for (unsigned i = 0; i < nodes; i++)
        heap_plan(&w->heap, world_pick(w, 300), HAPPEN_START, (int)i, 0);
    for (int i = 0; i < w->client_count; i++) {
        w->clients[i].node = (int)world_pick(w, nodes);
        world_plan(w, 500 + world_pick(w, 3000), HAPPEN_ACT, -1)->index = (uint64_t)i;
    }
    faults_draw(w);
}

/* What clients read at any node is found at once: nobody else may look at it soon. */
static bool is_damaged(struct world *w)
{
    bool damaged = false;
    for (int i = 0; i < w->host_count; i++)
        damaged |= watch_is_core(&w->hosts[i]) && damage_read(w, &w->hosts[i]);
    return damaged;
}

static void agree(struct world *w)
{
    uint64_t start = w->now_ms;
    while (w->result.fine && !(watch_agree(w) && watch_equal(w))) {
        bool damaged = is_damaged(w);
        if (damaged && w->lossy && !w->result.let_go && w->now_ms - start > LET_GO_MS)
            hand_let_go(w);
        if (w->now_ms - start > NODES_AGREE_MS) {
            world_fail(w, "the nodes do not agree %d s after the faults have stopped", NODES_AGREE_MS / 1000);
            return;
        }
        for (int i = 0; i < w->host_count; i++)
            host_resume(w, &w->hosts[i]);
        run_until(w, w->now_ms + AGREE_LOOK_MS);
    }
    w->result.agreed_ms = w->now_ms - start;
    world_say(w, "all agree");
}

/* Of too much history an eighth goes at a time. */
static void shrink(struct world *w)
{
    uint64_t until = w->now_ms + w->history_ms + SHRINK_MS;
    while (w->result.fine && !bounds_end(w)) {
        if (w->now_ms > until) {
            world_fail(w, "more history is kept than Server.HistoryMax allows");
            return;
        }
        run_until(w, w->now_ms + 1000);
    }
}

/* Where all that are expected back are here, history passes, and then a deleted key
 * costs nothing. Operations of a replica that is gone, which nobody has whole, keep
 * theirs: an operator retires it. */
static void vanish(struct world *w)
{
    uint64_t until = w->now_ms + w->history_ms + w->forget_after_ms + TRACES_MS;
    if (w->lossy || w->jumped || w->forget_after_ms > 60000)
        return;
    bool stranded;
    while (w->result.fine && !watch_no_traces(w, &stranded)) {
        if (stranded)
            return;
        if (w->now_ms > until) {
            world_fail(w, "deleted keys still cost space, or history does not end");
            return;
        }
        run_until(w, w->now_ms + 1000);
    }
    w->result.traceless = true;
    watch_end(w, true);
}

static void tear_down(struct world *w)
{
    for (int i = 0; i < w->host_count; i++) {
        struct host *host = &w->hosts[i];
        if (host->running)
            host_end(w, host, END_KILL);
        host_done(w, host);
    }
    while (w->heap.count)
        happening_free(heap_pop(&w->heap));
    free(w->heap.at);
    for (int i = 0; i < w->client_count; i++)
        for (size_t key = 0; key < ORACLE_KEYS; key++)
            token_done(&w->clients[i].keys[key].token);
    free(w->hosts);
    free(w->wires);
    free(w);
}

struct nodes_result nodes_run(const struct nodes_options *options)
{
    CHECK(options->nodes + SPARES <= NODES_MAX);
    struct world *w = mem_new(sizeof *w);
    w->options = *options;
    w->oracle.strict = options->strict;
    w->result.fine = true;
    rng_init(&w->rng, options->seed);
    set_up(w);
    uint64_t steps = options->steps ? options->steps : 60 + world_pick(w, world_chance(w, 100) ? 700 : 200);
    while (w->result.fine && w->result.operations < steps && w->now_ms < 3600000) {
        run_until(w, w->now_ms + 500);
        bounds_look(w);
    }
    faults_end(w);
    if (w->result.fine)
        agree(w);
    if (w->result.fine)
        watch_end(w, true);
    if (w->result.fine)
        shrink(w);
    if (w->result.fine)
        vanish(w);
    w->result.simulated_ms = w->now_ms;
    struct nodes_result result = w->result;
    for (int i = 0; i < w->host_count && !w->result.fine; i++)
        watch_tell(w, &w->hosts[i]);
    w->options.tell = NULL;
    tear_down(w);
    return result;
}
