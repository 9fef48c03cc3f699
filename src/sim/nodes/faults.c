/* What goes wrong, and when: each world draws how often each kind strikes. */
#include "check.h"
#include "state.h"

enum fault {
    FAULT_CUT,      /* one direction, or both, between two hosts */
    FAULT_SPLIT,    /* two sides that do not hear each other */
    FAULT_RING,     /* each hears its neighbours alone */
    FAULT_WIRE,     /* delay, loss, doubles, late packets, a rate */
    FAULT_SLOW,     /* a host reads slowly */
    FAULT_WALL,     /* a wall clock jumps by up to hours */
    FAULT_DRIFT,    /* a clock runs fast or slow */
    FAULT_FREEZE,   /* a process stands still */
    FAULT_KILL,     /* .. dies */
    FAULT_CRASH,    /* a machine does */
    FAULT_CRASH_AT, /* in the middle of a change of the disk */
    FAULT_DISK,     /* a call fails */
    FAULT_FULL,     /* the disk is full */
    FAULT_TREE,     /* a change of the tree behind the log fails, or is cut off */
    FAULT_DAMAGE,   /* a record or a row in it goes bad */
    FAULT_STRANGE,  /* some records come in a format that is not known */
    FAULT_MEMBER,   /* added, leaves, comes back, stays away for long */
    FAULT_STOP,     /* ends with a goodbye */
    FAULT_HOLD,     /* paused by hand, or resumed */
    FAULT_FORGET,   /* somebody is forgotten by hand */
    FAULT_TWIN,     /* a copy is started beside its original */
    FAULT_LOSS,     /* restored, copied, wiped, removed, bits flipped */
    FAULT_RETIRE,   /* an id is ended by hand */
    FAULTS
};
_Static_assert((int)FAULTS <= (int)NODES_FAULTS, "rates and counts are as long");

const char *nodes_fault_name(unsigned kind)
{
    static const char *const names[FAULTS] = {"cut",   "split",  "ring",   "wire",    "slow",     "wall",
                                              "drift", "freeze", "kill",   "crash",   "crash-at", "disk",
                                              "full",  "tree",   "damage", "strange", "member",   "stop",
                                              "pause", "forget", "twin",   "loss",    "retire"};
    return kind < FAULTS ? names[kind] : NULL;
}

void faults_draw(struct world *w)
{
    for (int i = 0; i < FAULTS; i++)
        w->rates.weight[i] = world_chance(w, 500) ? 0 : 1 + (unsigned)world_pick(w, 10);
    if (!w->lossy)
        w->rates.weight[FAULT_LOSS] = w->rates.weight[FAULT_RETIRE] = 0;
    if (!w->trembling)
        w->rates.weight[FAULT_DISK] = w->rates.weight[FAULT_FULL] = w->rates.weight[FAULT_TREE] = 0;
    if (world_chance(w, 800)) /* tokens of worlds with a new id are not looked at */
        w->rates.weight[FAULT_TWIN] = 0;
    if (w->rates.weight[FAULT_TWIN]) /* what a copy cannot read it cannot put again */
        w->rates.weight[FAULT_DAMAGE] = 0;
    w->rates.every_ms = 200 + world_pick(w, 4000);
    if (w->forgetful) {
        w->rates.weight[FAULT_SPLIT] += 5;
        w->rates.weight[FAULT_MEMBER] += 5;
        w->rates.every_ms += 2000;
    }
    world_plan(w, 2000 + world_pick(w, 3000), HAPPEN_FAULT, -1);
}

struct host *fault_host(struct world *w)
{
    return &w->hosts[world_pick(w, (uint64_t)w->host_count)];
}

uint64_t fault_duration(struct world *w)
{
    if (w->calm)
        return world_pick(w, 1000);
    return world_chance(w, w->forgetful ? 600 : 150) ? world_pick(w, 60000) : world_pick(w, 8000);
}

/* ---- the network ------------------------------------------------------------------------ */

/* Whatever ends a fault of the network ends all of its kind: simple, and enough. */
static void mend_later(struct world *w, enum fault fault, int node)
{
    struct happening *h = world_plan(w, fault_duration(w), HAPPEN_MEND, -1);
    h->index = fault;
    h->end = node;
}

static void cut(struct world *w, int from, int to, bool both)
{
    if (from == to)
        return;
    wire_of(w, from, to)->cut = true;
    if (both)
        wire_of(w, to, from)->cut = true;
}

static void strike_cut(struct world *w)
{
    int a = fault_host(w)->index, b = fault_host(w)->index;
    bool both = world_chance(w, 500);
    world_say(w, "n%d %s n%d are cut", a, both ? "and" : "to", b);
    cut(w, a, b, both);
    mend_later(w, FAULT_CUT, -1);
}

static void strike_split(struct world *w)
{
    uint64_t sides = rng_next(&w->rng);
    world_say(w, "the network splits: %llx", (unsigned long long)(sides & ((1u << w->host_count) - 1)));
    for (int a = 0; a < w->host_count; a++)
        for (int b = 0; b < w->host_count; b++)
            if ((sides >> a % 64 & 1) != (sides >> b % 64 & 1))
                cut(w, a, b, false);
    mend_later(w, FAULT_SPLIT, -1);
}

static void strike_ring(struct world *w)
{
    world_say(w, "the network is a ring");
    for (int a = 0; a < w->host_count; a++)
        for (int b = 0; b < w->host_count; b++)
            if ((a + 1) % w->host_count != b && (b + 1) % w->host_count != a)
                cut(w, a, b, false);
    mend_later(w, FAULT_RING, -1);
}

static void strike_wire(struct world *w)
{
    bool all = world_chance(w, 300);
    struct wire wire = {.delay_min = 1 + world_pick(w, 20)};
    wire.loss_permille = world_chance(w, 500) ? (unsigned)world_pick(w, 400) : 0;
    wire.double_permille = world_chance(w, 500) ? (unsigned)world_pick(w, 300) : 0;
    wire.late_permille = world_chance(w, 500) ? (unsigned)world_pick(w, 300) : 0;
    wire.late_max = world_pick(w, 3000);
    wire.rate = world_chance(w, 300) ? 1 + (size_t)world_pick(w, 60) : 0;
    wire.delay_max = wire.delay_min + world_pick(w, world_chance(w, 300) ? 700 : 50);
    int a = fault_host(w)->index, b = fault_host(w)->index;
    world_say(w, "%s: delay %llu..%llu ms, loss %u, doubled %u, late %u permille, %zu bytes/ms",
              all ? "all wires" : "a wire", (unsigned long long)wire.delay_min,
              (unsigned long long)wire.delay_max, wire.loss_permille, wire.double_permille,
              wire.late_permille, wire.rate);
    for (int i = 0; i < w->host_count * w->host_count; i++) {
        if (!all && i != a * w->host_count + b && i != b * w->host_count + a)
            continue;
        wire.cut = w->wires[i].cut;
        w->wires[i] = wire;
    }
    mend_later(w, FAULT_WIRE, -1);
}

/* ---- clocks and processes ------------------------------------------------------------------ */

static void strike_clock(struct world *w, struct host *host, enum fault fault)
{
    if (fault == FAULT_WALL) {
        w->jumped = true;
        uint64_t most = world_chance(w, 500) ? 5 * 3600000 : 30000;
        host->wall_offset_ms = (int64_t)world_pick(w, 2 * most) - (int64_t)most;
        world_say(w, "n%d: the wall clock is off by %lld ms", host->index, (long long)host->wall_offset_ms);
    } else {
        uint64_t ppm = world_chance(w, 200) ? 500000 + world_pick(w, 1500000) : 990000 + world_pick(w, 20000);
        host_clock_rate(w, host, ppm);
        world_say(w, "n%d: its clocks run at %llu ppm", host->index, (unsigned long long)ppm);
    }
}

void fault_down(struct world *w, struct host *host, enum end how, uint64_t for_ms)
{
    host_end(w, host, how);
    world_plan(w, for_ms, HAPPEN_START, host->index);
}

void fault_down_somehow(struct world *w, struct host *host, unsigned kill_permille, uint64_t for_ms)
{
    fault_down(w, host, world_chance(w, kill_permille) ? END_KILL : END_CRASH, for_ms);
}

/* In memory a commit, which has happened, or not; and the process dies of it, or goes on.
 * In a file any of its changes, in part. */
static void strike_tree(struct world *w, struct host *host)
{
    struct tree_fault fault = {.nth = 1 + world_pick(w, host->tree.file ? 12 : 4)};
    fault.dies = world_chance(w, 500);
    fault.err = world_chance(w, 700) ? ERR_IO : ERR_FULL;
    tree_fail(w, host, &fault);
    world_say(w, "n%d: a change of its tree will fail%s", host->index, host->tree_dies ? ", and end it" : "");
}

static void strike_disk(struct world *w, struct host *host)
{
    enum err err = world_chance(w, 700) ? ERR_IO : ERR_FULL;
    disk_sim_fail(host->disk, 1 + world_pick(w, 8), err);
    world_say(w, "n%d: a call of its disk will fail", host->index);
}

static void strike_process(struct world *w, struct host *host, enum fault fault)
{
    if (!host->running)
        return;
    switch (fault) {
    case FAULT_SLOW:
        host->slow_until_ms = w->now_ms + fault_duration(w);
        world_say(w, "n%d reads slowly", host->index);
        break;
    case FAULT_FREEZE:
        host->paused_until_ms = fault_duration(w);
        host->paused_until_ms /= world_chance(w, 500) ? 10 : 1;
        host->paused_until_ms += w->now_ms;
        world_say(w, "n%d stands still until %.3f", host->index, (double)host->paused_until_ms / 1000);
        break;
    case FAULT_KILL:
        fault_down(w, host, END_KILL, fault_duration(w));
        break;
    case FAULT_CRASH:
        fault_down(w, host, END_CRASH, fault_duration(w));
        break;
    case FAULT_CRASH_AT:
        if (host->tree.file && world_chance(w, 500))
            tree_fail(w, host, &(struct tree_fault){.nth = 1 + world_pick(w, 12), .dies = true});
        else
            disk_sim_crash_at(host->disk, 1 + world_pick(w, 12));
        break;
    case FAULT_DISK:
        strike_disk(w, host);
        break;
    case FAULT_TREE:
        strike_tree(w, host);
        break;
    case FAULT_STRANGE:
        host->strange_until_ms = w->now_ms + fault_duration(w);
        world_say(w, "n%d gets records of a later format", host->index);
        break;
    default:
        CHECK(fault == FAULT_FULL);
        disk_sim_full(host->disk, disk_sim_used(host->disk) + world_pick(w, 20000));
        world_say(w, "n%d: its disk is nearly full", host->index);
        mend_later(w, FAULT_FULL, host->index);
    }
}

/* ---- striking and mending -------------------------------------------------------------------------- */

static enum fault pick_fault(struct world *w)
{
    unsigned sum = 0;
    for (int i = 0; i < FAULTS; i++)
        sum += w->rates.weight[i];
    uint64_t at = sum ? world_pick(w, sum) : 0;
    for (int i = 0; i < FAULTS && sum; i++) {
        if (at < w->rates.weight[i])
            return (enum fault)i;
        at -= w->rates.weight[i];
    }
    return FAULTS;
}

static void strike(struct world *w, enum fault fault, struct host *host)
{
    switch (fault) {
    case FAULT_CUT:
        strike_cut(w);
        break;
    case FAULT_SPLIT:
        strike_split(w);
        break;
    case FAULT_RING:
        strike_ring(w);
        break;
    case FAULT_WIRE:
        strike_wire(w);
        break;
    case FAULT_WALL:
    case FAULT_DRIFT:
        strike_clock(w, host, fault);
        break;
    case FAULT_MEMBER:
        hand_member(w, host);
        break;
    case FAULT_STOP:
        hand_stop(w, host);
        break;
    case FAULT_HOLD:
        hand_hold(w, host);
        break;
    case FAULT_FORGET:
        hand_forget(w, host);
        break;
    case FAULT_TWIN:
        hand_twin(w, host);
        break;
    case FAULT_DAMAGE:
        host_damage(w, host);
        break;
    case FAULT_LOSS:
        hand_loss(w, host);
        break;
    case FAULT_RETIRE:
        hand_retire(w, host);
        break;
    default:
        strike_process(w, host, fault);
    }
}

void fault_strike(struct world *w)
{
    if (w->calm)
        return;
    world_plan(w, 1 + world_pick(w, 2 * w->rates.every_ms), HAPPEN_FAULT, -1);
    enum fault fault = pick_fault(w);
    struct host *host = fault_host(w);
    if (fault == FAULTS)
        return;
    w->result.faults++;
    w->result.struck[fault]++;
    strike(w, fault, host);
}

void fault_mend(struct world *w, const struct happening *h)
{
    if (h->index == FAULT_FULL) {
        if (w->hosts[h->end].disk)
            disk_sim_full(w->hosts[h->end].disk, UINT64_MAX);
        return;
    }
    if (h->index == FAULT_TWIN) {
        hand_twin_ends(w, &w->hosts[h->end]);
        return;
    }
    for (int i = 0; i < w->host_count * w->host_count; i++) {
        bool cut = h->index == FAULT_WIRE && w->wires[i].cut;
        struct wire *wire = &w->wires[i];
        if (h->index == FAULT_WIRE)
            *wire = (struct wire){.cut = cut, .delay_min = w->delay_ms, .delay_max = w->delay_ms};
        else
            wire->cut = false;
    }
    world_say(w, h->index == FAULT_WIRE ? "the wires are as before" : "the cuts are mended");
}

void fault_twin_ends_later(struct world *w, const struct host *host)
{
    mend_later(w, FAULT_TWIN, host->index);
}

void faults_end(struct world *w)
{
    w->calm = true;
    world_say(w, "the faults are over");
    net_quiet(w, w->delay_ms);
    for (int i = 0; i < w->host_count; i++) {
        struct host *host = &w->hosts[i];
        host->paused_until_ms = host->slow_until_ms = host->strange_until_ms = 0;
        host->wall_offset_ms = 0;
        if (host->ppm != 1000000)
            host_clock_rate(w, host, 1000000);
        if (host->disk) {
            disk_sim_full(host->disk, UINT64_MAX);
            disk_sim_fail(host->disk, 0, OK);
            disk_sim_crash_at(host->disk, 0);
        }
        if (host->tree.engine)
            tree_fail(w, host, &(struct tree_fault){.nth = 0});
        hand_twin_ends(w, host);
        if (host->strange && host->running) /* a program that can read what came, and asks again */
            host_end(w, host, END_KILL);
        if (host->used && !host->removed && !host->running)
            world_plan(w, world_pick(w, 1000), HAPPEN_START, i);
    }
}
