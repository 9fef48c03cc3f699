/* A host: its clocks, and while it runs the process on it: log, store and node.
 * (Committer and applier: commit.c; what outlives it: backup.c.) */
#include "check.h"
#include "mem.h"
#include "state.h"
#include "twin.h"

#include <stdio.h>
#include <stdlib.h>

#define NOTE_LEFT "node/left" /* of the node: node/remember.c */

static const uint64_t wall_start_ms = 1800000000000u;

uint64_t world_wall(const struct world *w)
{
    return wall_start_ms + w->now_ms;
}

/* ---- clocks ---------------------------------------------------------------------------- */

enum { RATE_ONE = 1000000 };

uint64_t host_now(const struct world *w, const struct host *host)
{
    return host->local_base_ms + (w->now_ms - host->base_ms) * host->ppm / RATE_ONE;
}

uint64_t host_when(const struct world *w, const struct host *host, uint64_t local_ms)
{
    (void)w;
    if (local_ms <= host->local_base_ms)
        return host->base_ms;
    uint64_t wait = local_ms - host->local_base_ms;
    if (wait > UINT64_MAX / RATE_ONE / 2)
        return UINT64_MAX;
    return host->base_ms + (wait * RATE_ONE + host->ppm - 1) / host->ppm;
}

void host_clock_rate(struct world *w, struct host *host, uint64_t ppm)
{
    host->local_base_ms = host_now(w, host);
    host->base_ms = w->now_ms;
    host->ppm = ppm;
    host->deadline_stale = host->running;
}

/* The wall clock drifts as the other one does. */
uint64_t host_wall(const struct world *w, const struct host *host)
{
    return wall_start_ms + host_now(w, host) - host->local_first_ms + (uint64_t)host->wall_offset_ms;
}

/* ---- steps of the node ------------------------------------------------------------------- */

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

static void take_reply(struct world *w, struct host *host, uint64_t ticket, enum err err)
{
    for (int i = 0; i <= NODE_REQUEST_SHUTDOWN; i++) {
        if (host->tickets[i] != ticket)
            continue;
        host->tickets[i] = 0;
        if (i == NODE_REQUEST_JOIN && err == OK) /* one that reached nobody leaves it where it was */
            host->left = false;
        else if (i == NODE_REQUEST_PAUSE && err == OK)
            host->held_surely = host->held && !host->tickets[NODE_REQUEST_RESUME];
        else if (i == NODE_REQUEST_RESUME && err == OK)
            host->held = false;
        else if (i == NODE_REQUEST_SHUTDOWN)
            world_plan(w, 0, HAPPEN_STOPPED, host->index);
        world_mix(w, &err, sizeof err);
        return;
    }
}

static bool is_of_peers(enum work_kind kind)
{
    return kind == WORK_ROWS || kind == WORK_AHEAD || kind == WORK_WALK_START || kind == WORK_WALK_PIECE ||
           kind == WORK_WALK_ROWS || kind == WORK_REPAIR || kind == WORK_MEND;
}

/* What goes to the committer. Some of what comes of peers may be of a later format. */
static void look_at_work(struct world *w, struct host *host, struct store_work *work)
{
    if (is_of_peers(work->kind) && host->held_surely)
        world_fail(w, "n%d applies what others write, and is paused", host->index);
    if (work->kind == WORK_EXPIRE && work->expire.before_ms + w->skew_max_ms > host_wall(w, host))
        world_fail(w, "n%d drops what is over, but not yet for clocks that are behind", host->index);
    if (work->kind != WORK_ROWS || host->strange_until_ms <= w->now_ms)
        return;
    for (size_t i = 0; i < work->rows.count; i++) {
        struct bytes record = work->rows.entries[i].record;
        if (!record.len || !world_chance(w, 300))
            continue;
        ((uint8_t *)record.data)[0] ^= 0x40; /* its format; the bytes are the work's own */
        world_say(w, "n%d gets a record that it cannot read", host->index);
        host->strange = true;
        w->result.quarantined++;
    }
}

static void run_effect(struct world *w, struct host *host, struct effect *effect)
{
    int node = host->index;
    struct happening *h;
    uint32_t head[4] = {(uint32_t)effect->kind, (uint32_t)node, (uint32_t)w->now_ms,
                        (uint32_t)effect->bytes.len};
    world_mix(w, head, sizeof head);
    switch (effect->kind) {
    case EFFECT_DATAGRAM:
        net_datagram(w, node, effect);
        break;
    case EFFECT_STREAM_OPEN:
        h = world_plan(w, 0, HAPPEN_CONNECT, node);
        h->event.stream = effect->stream;
        h->event.stream_kind = effect->stream_kind;
        h->addr = effect->to;
        if (!effect->to.len && !parse_target(effect->target, &h->addr))
            h->addr = (struct addr){.ip = {10, 9, 9, 9}, .len = 4, .port = 1};
        break;
    case EFFECT_STREAM_SEND:
        net_send(w, node, effect->stream, &effect->bytes);
        break;
    case EFFECT_STREAM_CLOSE:
        net_close(w, node, effect->stream);
        break;
    case EFFECT_STREAM_PAUSE:
    case EFFECT_STREAM_RESUME:
        net_pause(w, node, effect->stream, effect->kind == EFFECT_STREAM_PAUSE);
        break;
    case EFFECT_NOTICE:
        world_mix(w, effect->text, strlen(effect->text));
        world_say(w, "n%d %s", node, effect->text);
        w->result.walks += strstr(effect->text, "event=walk_started") != NULL;
        if (host->returns && strstr(effect->text, "event=link_up"))
            host->returns = host->left = false;
        break;
    case EFFECT_STORE:
        effect->work->ticket = effect->ticket;
        look_at_work(w, host, effect->work);
        host_submit(w, host, effect->work);
        break;
    case EFFECT_RESOLVE:
        h = world_plan(w, 0, HAPPEN_RESOLVED, node);
        h->event.kind = NODE_RESOLVED;
        h->event.ticket = effect->ticket;
        if (!parse_target(effect->target, &h->addr))
            h->text = "the name is not known";
        break;
    case EFFECT_REPLY:
        take_reply(w, host, effect->ticket, effect->reply->err);
        node_reply_free(effect->reply);
        break;
    }
}

void host_step(struct world *w, struct host *host, struct node_event *event)
{
    struct effects out = {0};
    CHECK(host->running);
    event->now_ms = host_now(w, host);
    event->wall_ms = host_wall(w, host);
    w->result.steps++;
    node_step(host->node, event, &out);
    for (size_t i = 0; i < out.count; i++)
        run_effect(w, host, &out.list[i]);
    effects_done(&out);
    host->deadline_stale = true;
}

void host_request(struct world *w, struct host *host, enum node_request request, const char *name)
{
    uint64_t ticket = 1u << 30 | ++host->next_request;
    host->tickets[request] = ticket;
    if (request == NODE_REQUEST_PAUSE)
        host->held = true;
    if (request == NODE_REQUEST_RESUME)
        host->held_surely = false;
    host_step(w, host,
              &(struct node_event){.kind = NODE_REQUEST,
                                   .request = request,
                                   .ticket = ticket,
                                   .names = &name,
                                   .name_count = name ? 1 : 0});
}

/* ---- life ---------------------------------------------------------------------------------------- */

static struct replica_id random_id(struct world *w)
{
    uint8_t random[REPLICA_ID_SIZE];
    for (size_t i = 0; i < sizeof random; i++)
        random[i] = (uint8_t)rng_next(&w->rng);
    return replica_id_of_random(random);
}

static enum err open_store(struct world *w, struct host *host, bool *ret_lost, struct buf *why)
{
    struct log_engine_options log = {
        .disk = disk_sim_mount(host->disk),
        .where = "the log",
        .random = rng_next(&w->rng),
        .memory_max = w->memory_max,
        .segment_bytes = w->segment_bytes,
    };
    struct replica_id id = random_id(w);
    memcpy(log.fresh_id, id.b, sizeof log.fresh_id);
    struct log_found found = {0};
    enum err err = tree_open(w, &host->tree);
    if (err != OK) {
        log.disk->ops->free(log.disk);
        buf_put_text(why, "its tree cannot be opened");
        return err;
    }
    err = log_engine_open(host->tree.engine, &log, &host->log_engine, &found, why);
    if (err != OK)
        return err;
    *ret_lost = found.lost;
    id = random_id(w);
    struct store_options options = {
        .fresh_id = id,
        .start_random = rng_next(&w->rng),
        .file_identity = bytes_of(&host->file, sizeof host->file),
        .log_lost = found.lost,
        .wall_ms = host_wall(w, host),
        .skew_max_ms = w->skew_max_ms,
        .versions_max = w->versions_max,
    };
    bool reidentified = false;
    err = store_open(host->log_engine, &options, &host->store, &reidentified, why);
    w->result.reidentified += err == OK && reidentified;
    return err;
}

static enum err open_node(struct world *w, struct host *host)
{
    char ingress[ADDR_TEXT_MAX], name[16], joins[NODES_MAX][ADDR_TEXT_MAX];
    const char *list[NODES_MAX];
    size_t count = 0;
    host_address(host, SYNC_PORT, ingress);
    snprintf(name, sizeof name, "n%d", host->named_as);
    for (int i = 0; i < w->host_count && count < 3; i++) {
        int other = (host->index + 1 + i) % w->host_count;
        if (other == host->index || !w->hosts[other].used || w->hosts[other].removed || w->hosts[other].left)
            continue; /* who has left lets nobody in */
        host_address(&w->hosts[other], GOSSIP_PORT, joins[count]);
        list[count] = joins[count];
        count++;
    }
    host->returns = host->left && count && !w->calm && world_chance(w, 400);
    if (host->returns)
        world_say(w, "n%d was started to join again", host->index);
    struct node_config config = {.name = name,
                                 .federation_name = name,
                                 .ingress = ingress,
                                 .rejoin = host->returns,
                                 .profile = &swim_profile_lan,
                                 .join = list,
                                 .join_count = count,
                                 .forget_after_ms = w->forget_after_ms,
                                 .history_ms = w->history_ms,
                                 .history_max_bytes = w->history_max_bytes,
                                 .clock_skew_max_ms = w->skew_max_ms,
                                 .compression = -1};
    char gossip[ADDR_TEXT_MAX];
    host_address(host, GOSSIP_PORT, gossip);
    CHECK(parse_target(gossip, &config.advertise));
    rng_init(&config.rng, rng_next(&w->rng));
    memcpy(config.nonce_key, &host->life, sizeof host->life);
    config.nonce_key[31] = (uint8_t)host->index;
    host->deadline_ms = w->now_ms; /* its first tick is due at once */
    host->deadline_stale = false;
    return node_new(&config, host->store, host_now(w, host), host_wall(w, host), &host->node);
}

/* As its store has it: the answer to a leave or a join may have been lost with its life. */
bool host_has_left(const struct host *host)
{
    struct snapshot *snapshot;
    struct bytes note;
    CHECK(snapshot_open(host->store, &snapshot) == OK);
    bool left = snapshot_note(snapshot, NOTE_LEFT, &note) == OK;
    snapshot_close(snapshot);
    return left;
}

/* As yzma reidentify does, before the node is started. */
static void take_new_id(struct world *w, struct host *host)
{
    struct store_work *work = store_work_new(WORK_REIDENTIFY);
    struct snapshot *snapshot;
    work->reidentify.new_id = random_id(w);
    work->reidentify.start_random = rng_next(&w->rng);
    CHECK(snapshot_open(host->store, &snapshot) == OK);
    CHECK(twin_fill(snapshot, &work->reidentify) == OK);
    snapshot_close(snapshot);
    enum err err = store_run(host->store, host_wall(w, host), work);
    host->reidentify = err != OK; /* a disk that fails: at the next start */
    world_say(w, "n%d takes a new id, by hand: %s", host->index, err_text(err));
    store_work_free(work);
}

static void start_again(struct world *w, struct host *host, uint64_t in_ms)
{
    struct happening *h = world_plan(w, in_ms, HAPPEN_START, host->index);
    h->life = host->life;
}

/* The operator's answer to a store that does not open: away with it, and let the
 * peers fill it again. */
static void throw_away(struct world *w, struct host *host)
{
    w->result.damaged++;
    watch_lost(w, host);
    dead_add(w, &host->view.id);
    host_wipe(w, host);
    start_again(w, host, 1000);
}

void host_start(struct world *w, struct host *host)
{
    struct buf why;
    bool lost = false;
    CHECK(!host->running && !host->removed);
    host->life++;
    host->used = true;
    if (!host->disk)
        host->disk = disk_sim_new(rng_next(&w->rng));
    host->works = NULL;
    host->works_end = &host->works;
    host->commit_planned = host->apply_planned = host->stopping = false;
    host->io_pause_until_ms = 0;
    memset(host->tickets, 0, sizeof host->tickets);
    host->next_accepted = 0;
    buf_init(&why, 1000);
    enum err err = open_store(w, host, &lost, &why);
    if (err != OK) {
        world_say(w, "n%d does not start: %s: %.*s", host->index, err_text(err), (int)why.len,
                  (const char *)why.data);
        host->log_engine = NULL;
        bool dead = host_dead(w, host);
        if (dead)
            disk_sim_crash(host->disk);
        tree_end(w, host, dead);
        if (err == ERR_IO || err == ERR_FULL || err == ERR_NOMEM)
            start_again(w, host, 1000 + world_pick(w, 2000));
        else if (w->lossy)
            throw_away(w, host);
        else
            world_fail(w, "n%d does not start: %s: %.*s", host->index, err_text(err), (int)why.len,
                       (const char *)why.data);
        buf_done(&why);
        return;
    }
    buf_done(&why);
    host->running = true;
    w->result.starts++;
    world_say(w, "n%d starts%s", host->index, lost ? ", without its log" : "");
    doubts_resolve(w, host);
    host->left = host_has_left(host);
    if (host->rotten || lost)
        host->held_surely = false;
    if (host->reidentify)
        take_new_id(w, host);
    if (host->rotten) {            /* a last frame that does not check counts as one that was being written */
        bool damaged[ORACLE_KEYS]; /* the tree is as it was */
        memcpy(damaged, host->view.damaged, sizeof damaged);
        host_view_done(&host->view);
        memcpy(host->view.damaged, damaged, sizeof damaged);
        host->rotten = false;
    }
    if (lost && w->lossy)
        watch_lost(w, host);
    watch_host(w, host, true);
    err = open_node(w, host);
    if (err != OK) {
        world_fail(w, "n%d: the node cannot be made: %s", host->index, err_text(err));
        host->running = false;
        store_close(host->store);
        host->store = NULL;
        host->log_engine = NULL;
        return;
    }
    if (host_dead(w, host))
        fault_down(w, host, END_CRASH, fault_duration(w));
}

bool host_dead(const struct world *w, const struct host *host)
{
    return disk_sim_dead(host->disk) || tree_dead(w, host);
}

void host_end(struct world *w, struct host *host, enum end how)
{
    CHECK(host->running);
    static const char *const ends[] = {"is killed", "loses its power", "has stopped"};
    world_say(w, "n%d %s", host->index, ends[how]);
    w->result.kills += how == END_KILL;
    w->result.crashes += how == END_CRASH;
    w->result.stops += how == END_STOP;
    net_drop(w, host->index, how != END_CRASH);
    host->life++;
    host->running = host->returns = false;
    host->paused_until_ms = host->slow_until_ms = 0;
    works_drop(host->works);
    host->works = NULL;
    if (host->left) /* perhaps not: what its store has of a return is seen when it starts */
        host->left = host_has_left(host);
    tree_die(w, host);
    if (how == END_CRASH)
        disk_sim_crash(host->disk);
    else
        disk_sim_kill(host->disk);
    node_free(host->node);
    store_close(host->store);
    tree_end(w, host, how == END_CRASH);
    host->node = NULL;
    host->store = NULL;
    host->log_engine = NULL;
}

void host_stopped(struct world *w, struct host *host)
{
    unsigned life = host->life;
    host_drain(w, host);
    if (host->running && host->life == life)
        fault_down(w, host, END_STOP, fault_duration(w));
}

/* A node whose operator lets it go on, and can read what it could not. */
void host_resume(struct world *w, struct host *host)
{
    if (host->running && host->held && !host->tickets[NODE_REQUEST_RESUME])
        host_request(w, host, NODE_REQUEST_RESUME, NULL);
}

void host_wipe(struct world *w, struct host *host)
{
    CHECK(!host->running);
    disk_sim_free(host->disk);
    tree_done(w, &host->tree);
    host->disk = NULL;
    host->rotten = host->held = host->held_surely = host->strange = false;
    host_view_done(&host->view);
    for (size_t i = 0; i < host->doubt_count; i++)
        free(host->doubts[i].ops);
    host->doubt_count = 0;
}

void host_done(struct world *w, struct host *host)
{
    host_wipe(w, host);
    image_done(w, &host->saved);
    free(host->pipes);
}
