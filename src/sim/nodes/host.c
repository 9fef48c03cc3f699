/* A host: its disk, and while it runs the process on it: log, store, node, committer
 * and applier. */
#include "check.h"
#include "engine_mem.h"
#include "mem.h"
#include "state.h"
#include "txn.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    IO_PAUSE_MS = 1000, /* the committer leaves a disk alone that failed: edge/committer.c */
    GROUP_OPS_MAX = 256,
};
static const uint64_t wall_start_ms = 1800000000000u;

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
    if (host->running)
        host->deadline_ms = host_when(w, host, node_deadline(host->node));
}

/* The wall clock drifts as the other one does. */
uint64_t host_wall(const struct world *w, const struct host *host)
{
    return wall_start_ms + host_now(w, host) + (uint64_t)host->wall_offset_ms;
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
        break;
    case EFFECT_STORE:
        effect->work->ticket = effect->ticket;
        host_submit(w, host, effect->work);
        break;
    case EFFECT_RESOLVE:
        h = world_plan(w, 0, HAPPEN_RESOLVED, node);
        h->event.kind = NODE_RESOLVED;
        h->event.ticket = effect->ticket;
        if (!parse_target(effect->target, &h->addr))
            h->text = "the name is not known";
        break;
    case EFFECT_REPLY: /* a join that reached nobody leaves it where it was */
        if (effect->ticket == host->join_ticket && effect->reply->err == OK)
            host->left = false;
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
    host->deadline_ms = host_when(w, host, node_deadline(host->node));
}

void host_request(struct world *w, struct host *host, enum node_request request, const char *name)
{
    uint64_t ticket = 1u << 30 | ++host->next_request;
    if (request == NODE_REQUEST_JOIN)
        host->join_ticket = ticket;
    host_step(w, host,
              &(struct node_event){.kind = NODE_REQUEST,
                                   .request = request,
                                   .ticket = ticket,
                                   .names = &name,
                                   .name_count = name ? 1 : 0});
}

/* ---- the committer --------------------------------------------------------------------------- */

void host_submit(struct world *w, struct host *host, struct store_work *work)
{
    work->next = NULL;
    *host->works_end = work;
    host->works_end = &work->next;
    if (!host->commit_planned) {
        host->commit_planned = true;
        world_plan(w, 1 + world_pick(w, host->commit_ms_max), HAPPEN_COMMIT, host->index);
    }
}

/* The operations of clients in one transaction. */
struct group_ops {
    size_t ops[GROUP_OPS_MAX];
    struct dot dots[GROUP_OPS_MAX];
    struct set removed[GROUP_OPS_MAX];
    size_t count;
};

/* What the newest state holds under the key of a write, inside the transaction. */
static struct set versions_in(struct store_txn *txn, struct bytes key)
{
    struct set set = {0};
    if (txn_load(txn, key) == OK)
        for (size_t i = 0; i < txn->local.count; i++)
            set_add(&set, value_number(txn->local.versions[i].value));
    return set;
}

static void note_removed(struct group_ops *ops, struct store_work *work, const struct set *before,
                         const struct set *after)
{
    const struct ask *ask = work->ctx;
    CHECK(ops->count < GROUP_OPS_MAX);
    ops->ops[ops->count] = ask->op;
    ops->dots[ops->count] = work->write.dot;
    struct set *removed = &ops->removed[ops->count++];
    *removed = (struct set){0};
    for (size_t i = 0; i < ORACLE_OPS / 64; i++)
        removed->words[i] = before->words[i] & ~after->words[i];
}

static enum err do_work(struct store_txn *txn, struct store_work *work, struct group_ops *ops)
{
    work->err = OK;
    if (work->kind != WORK_WRITE)
        return store_do(txn, work);
    struct set before = versions_in(txn, work->write.key);
    enum err err = store_do(txn, work);
    if (err == OK && work->err == OK && work->write.dot.counter) {
        struct set after = versions_in(txn, work->write.key);
        note_removed(ops, work, &before, &after);
    }
    return err;
}

static void doubts_clear(struct world *w, struct host *host, const struct doubt *found)
{
    for (size_t i = 0; i < host->doubt_count; i++) {
        struct doubt *doubt = &host->doubts[i];
        for (size_t k = 0; k < doubt->count; k++)
            w->oracle.ops[doubt->ops[k]].state = doubt == found ? OP_DONE : OP_VOID;
        free(doubt->ops);
    }
    host->doubt_count = 0;
}

static void take_over(struct world *w, struct host *host, const struct group_ops *ops, bool doubt)
{
    for (size_t i = 0; i < ops->count; i++)
        oracle_done(&w->oracle, ops->ops[i], &ops->dots[i], &ops->removed[i], doubt);
    if (!doubt)
        return;
    CHECK(host->doubt_count < GROUP_DOUBTS);
    struct doubt *d = &host->doubts[host->doubt_count++];
    d->ops = mem_copy(ops->ops, ops->count * sizeof *ops->ops);
    d->count = ops->count;
    w->result.doubts += (unsigned)ops->count;
}

/* One transaction. Of one that failed in the commit it is not known whether a crash
 * would bring it back: until the next commit succeeds. */
static enum err run(struct world *w, struct host *host, struct store_work *list, const struct store_work *end)
{
    struct group_ops *ops = mem_new(sizeof *ops);
    struct store_txn *txn;
    enum err err = store_begin(host->store, host_wall(w, host), &txn);
    if (err != OK)
        goto out;
    for (struct store_work *work = list; work != end && err == OK; work = work->next)
        err = do_work(txn, work, ops);
    if (err != OK) {
        store_undo(txn);
        goto out;
    }
    err = store_commit(txn);
    if (err == OK)
        doubts_clear(w, host, NULL);
    if (err == OK || ops->count)
        take_over(w, host, ops, err != OK);
    else if (host->doubt_count < GROUP_DOUBTS)
        take_over(w, host, ops, true); /* a frame without operations may be found, too */
out:
    free(ops);
    return err;
}

static void answer_works(struct world *w, struct host *host, struct store_work *list)
{
    for (struct store_work *work = list, *next; work; work = next) {
        next = work->next;
        if (work->done) {
            client_written(w, host, work);
        } else {
            struct node_event event = {.kind = NODE_STORED, .ticket = work->ticket, .work = work};
            host_step(w, host, &event);
        }
        store_work_free(work);
    }
}

/* Nobody answers them any more. */
static void drop_works(struct store_work *list)
{
    for (struct store_work *work = list, *next; work; work = next) {
        next = work->next;
        if (work->done)
            ask_free(work->ctx);
        store_work_free(work);
    }
}

static bool dies_of_it(struct world *w, struct host *host, struct store_work *list)
{
    if (!disk_sim_dead(host->disk))
        return false;
    drop_works(list);
    host_end(w, host, world_chance(w, 300) ? END_KILL : END_CRASH);
    return true;
}

/* As edge/committer.c: all that has queued in one transaction; where that fails, each on its own. */
void host_commit(struct world *w, struct host *host)
{
    struct store_work *list = host->works;
    size_t count = 0, records_sum = 0, bytes_sum = 0;
    host->commit_planned = false;
    struct store_work **cut = &list;
    for (struct store_work *work = list; work; work = work->next) {
        size_t records, bytes;
        store_work_cost(work, &records, &bytes);
        if (count && (records + records_sum > TXN_RECORDS_MAX || bytes + bytes_sum > TXN_BYTES_MAX ||
                      count >= GROUP_OPS_MAX))
            break;
        records_sum += records;
        bytes_sum += bytes;
        count++;
        cut = &work->next;
    }
    host->works = *cut;
    *cut = NULL;
    if (!host->works)
        host->works_end = &host->works;
    else
        host->commit_planned = true,
        world_plan(w, 1 + world_pick(w, host->commit_ms_max), HAPPEN_COMMIT, host->index);

    bool resting = host->io_pause_until_ms > w->now_ms;
    enum err err = resting ? ERR_IO : run(w, host, list, NULL);
    if (dies_of_it(w, host, list))
        return;
    if (err != OK) {
        for (struct store_work *work = list; work; work = work->next) {
            resting = host->io_pause_until_ms > w->now_ms;
            err = resting || host->doubt_count + 1 >= GROUP_DOUBTS ? ERR_IO : run(w, host, work, work->next);
            if (err != OK)
                work->err = err;
            if (err == ERR_IO && !resting)
                host->io_pause_until_ms = w->now_ms + IO_PAUSE_MS;
            if (dies_of_it(w, host, list))
                return;
        }
    }
    watch_host(w, host, false);
    unsigned life = host->life;
    answer_works(w, host, list);
    if (host->running && host->life == life)
        host_step(w, host, &(struct node_event){.kind = NODE_STORE_CHANGED});
    if (!host->apply_planned) {
        host->apply_planned = true;
        world_plan(w, 1 + world_pick(w, 200), HAPPEN_APPLY, host->index);
    }
}

/* As edge/applier.c: a chunk at a time; when nobody has written, what there is. */
void host_apply(struct world *w, struct host *host)
{
    host->apply_planned = false;
    if (world_chance(w, 300))
        log_engine_freeze(host->log_engine);
    enum err err = log_engine_apply(host->log_engine);
    if (err == ERR_NOT_FOUND && world_chance(w, 300))
        err = log_engine_prepare(host->log_engine);
    if (disk_sim_dead(host->disk)) {
        host_end(w, host, world_chance(w, 300) ? END_KILL : END_CRASH);
        return;
    }
    if (err == OK) {
        host->apply_planned = true;
        world_plan(w, 1 + world_pick(w, 50), HAPPEN_APPLY, host->index);
    }
}

/* The tree behind the log outlives the process: what it has committed stays. */
static void keep(struct engine *tree)
{
    (void)tree;
}

static struct engine *tree_kept(struct world *w, struct engine *tree)
{
    w->tree_ops = tree->ops;
    w->kept_ops = *tree->ops;
    w->kept_ops.close = keep;
    tree->ops = &w->kept_ops;
    return tree;
}

static void tree_free(struct world *w, struct engine *tree)
{
    if (tree)
        w->tree_ops->close(tree);
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
    if (!host->tree)
        host->tree = tree_kept(w, engine_mem_new());
    enum err err = log_engine_open(host->tree, &log, &host->log_engine, &found, why);
    if (err != OK)
        return err;
    *ret_lost = found.lost;
    struct store_options options = {
        .fresh_id = random_id(w),
        .start_random = rng_next(&w->rng),
        .file_identity = bytes_of(&host->file, sizeof host->file),
        .log_lost = found.lost,
        .wall_ms = host_wall(w, host),
        .skew_max_ms = SKEW_MAX_MS,
        .versions_max = VERSIONS_MAX,
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
    snprintf(name, sizeof name, "n%d", host->index);
    for (int i = 0; i < w->host_count && count < 3; i++) {
        int other = (host->index + 1 + i) % w->host_count;
        if (other == host->index || !w->hosts[other].used || w->hosts[other].removed || w->hosts[other].left)
            continue; /* who has left lets nobody in */
        host_address(&w->hosts[other], GOSSIP_PORT, joins[count]);
        list[count] = joins[count];
        count++;
    }
    struct node_config config = {.name = name,
                                 .federation_name = name,
                                 .ingress = ingress,
                                 .profile = &swim_profile_lan,
                                 .join = list,
                                 .join_count = count,
                                 .forget_after_ms = w->forget_after_ms,
                                 .history_ms = w->history_ms,
                                 .history_max_bytes = w->history_max_bytes,
                                 .clock_skew_max_ms = SKEW_MAX_MS,
                                 .compression = -1};
    char gossip[ADDR_TEXT_MAX];
    host_address(host, GOSSIP_PORT, gossip);
    CHECK(parse_target(gossip, &config.advertise));
    rng_init(&config.rng, rng_next(&w->rng));
    memcpy(config.nonce_key, &host->life, sizeof host->life);
    config.nonce_key[31] = (uint8_t)host->index;
    host->deadline_ms = w->now_ms; /* its first tick is due at once */
    return node_new(&config, host->store, host_now(w, host), host_wall(w, host), &host->node);
}

/* Which of the commits in doubt is there, if any: all of its rows, and the values of
 * its last puts. */
static bool doubt_is_there(struct world *w, struct host *host, struct snapshot *snapshot,
                           const struct doubt *doubt)
{
    bool there = doubt->count > 0;
    for (size_t i = 0; i < doubt->count && there; i++) {
        const struct op *op = &w->oracle.ops[doubt->ops[i]];
        struct dot before = {op->dot.replica, op->dot.counter - 1};
        struct row_scan *scan;
        struct row row;
        if (row_scan_open(snapshot, &before, &scan) != OK)
            return false;
        there = row_scan_next(scan, &row) == OK && dot_compare(&row.dot, &op->dot) == 0 &&
                (row.kind == ROW_PUT) == op->put && bytes_equal(row.key, key_bytes(op->key));
        row_scan_close(scan);
        struct record record = {0};
        if (there && op->put && snapshot_record(snapshot, row.key, &record) == OK) {
            ptrdiff_t at = record_find(&record, &op->dot);
            there = at < 0 || value_number(record.versions[at].value) == doubt->ops[i];
        }
        record_done(&record);
    }
    (void)host;
    return there;
}

static void resolve_doubts(struct world *w, struct host *host)
{
    struct snapshot *snapshot;
    const struct doubt *found = NULL;
    if (host->doubt_count == 0)
        return;
    CHECK(snapshot_open(host->store, &snapshot) == OK);
    for (size_t i = 0; i < host->doubt_count && !found; i++)
        if (doubt_is_there(w, host, snapshot, &host->doubts[i]))
            found = &host->doubts[i];
    snapshot_close(snapshot);
    for (size_t i = 0; found && i < found->count; i++)
        world_say(w, "n%d op %zu was in doubt and is there", host->index, found->ops[i]);
    doubts_clear(w, host, found);
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
    host->commit_planned = host->apply_planned = false;
    host->io_pause_until_ms = 0;
    host->next_accepted = 0;
    buf_init(&why, 1000);
    enum err err = open_store(w, host, &lost, &why);
    if (err != OK) {
        world_say(w, "n%d does not start: %s: %.*s", host->index, err_text(err), (int)why.len,
                  (const char *)why.data);
        host->log_engine = NULL;
        if (disk_sim_dead(host->disk))
            disk_sim_crash(host->disk);
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
    resolve_doubts(w, host);
    if (host->rotten) { /* a last frame that does not check counts as one that was being written */
        host_view_done(&host->view);
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
    if (disk_sim_dead(host->disk))
        host_end(w, host, END_CRASH);
}

void host_end(struct world *w, struct host *host, enum end how)
{
    CHECK(host->running);
    world_say(w, "n%d %s", host->index, how == END_KILL ? "is killed" : "loses its power");
    w->result.kills += how == END_KILL;
    w->result.crashes += how == END_CRASH;
    net_drop(w, host->index, how == END_KILL);
    host->life++;
    host->running = false;
    host->paused_until_ms = host->slow_until_ms = 0;
    drop_works(host->works);
    host->works = NULL;
    if (how == END_KILL)
        disk_sim_kill(host->disk);
    else
        disk_sim_crash(host->disk);
    node_free(host->node);
    store_close(host->store);
    host->node = NULL;
    host->store = NULL;
    host->log_engine = NULL;
}

void host_wipe(struct world *w, struct host *host)
{
    CHECK(!host->running);
    disk_sim_free(host->disk);
    tree_free(w, host->tree);
    host->disk = NULL;
    host->tree = NULL;
    host->rotten = false;
    host_view_done(&host->view);
    for (size_t i = 0; i < host->doubt_count; i++)
        free(host->doubts[i].ops);
    host->doubt_count = 0;
}

/* ---- rot ---------------------------------------------------------------------------- */

struct names {
    char list[64][DISK_NAME_MAX + 1];
    size_t count;
};

static void keep_name(void *ctx, const char *name)
{
    struct names *names = ctx;
    if (names->count < sizeof names->list / sizeof *names->list)
        snprintf(names->list[names->count++], sizeof *names->list, "%s", name);
}

/* Where something was written, if it can be. */
void host_rot(struct world *w, struct host *host)
{
    struct names names = {.count = 0};
    struct disk *disk = disk_sim_mount(host->disk);
    struct buf bytes;
    buf_init(&bytes, SIZE_MAX);
    enum err err = disk->ops->list(disk, keep_name, &names);
    disk->ops->free(disk);
    if (err == OK && names.count) {
        const char *name = names.list[world_pick(w, names.count)];
        err = disk_sim_read_file(host->disk, name, &bytes);
        size_t end = bytes.len;
        while (end > 0 && bytes.data[end - 1] == 0)
            end--;
        if (err == OK && end > 0) {
            uint64_t bit = world_pick(w, 8 * end);
            world_say(w, "n%d: bit %llu of %s flips", host->index, (unsigned long long)bit, name);
            watch_lost(w, host);
            disk_sim_flip(host->disk, name, bit);
            host->rotten = true;
        }
    }
    buf_done(&bytes);
}

/* ---- backups ---------------------------------------------------------------------------------------- */

void image_done(struct world *w, struct image *image)
{
    if (!image->present)
        return;
    disk_sim_free(image->disk);
    tree_free(w, image->tree);
    host_view_done(&image->view);
    image->present = false;
}

/* A snapshot of the whole disk at one moment, unsynced writes and all. */
void host_save(struct world *w, struct host *host)
{
    image_done(w, &host->saved);
    world_say(w, "n%d is saved", host->index);
    host->saved = (struct image){.present = true,
                                 .left = host->left,
                                 .disk = disk_sim_clone(host->disk),
                                 .tree = tree_kept(w, engine_mem_clone(host->tree))};
    disk_sim_kill(host->saved.disk);
    host_view_copy(&host->saved.view, &host->view);
}

void host_restore(struct world *w, struct host *host, const struct image *image, bool same_file)
{
    CHECK(!host->running && image->present);
    host_wipe(w, host);
    host->disk = disk_sim_clone(image->disk);
    disk_sim_seed(host->disk, rng_next(&w->rng));
    host->tree = tree_kept(w, engine_mem_clone(image->tree));
    host_view_copy(&host->view, &image->view);
    host->used = true;
    host->left = image->left; /* which is kept in the store */
    if (!same_file)
        host->file = rng_next(&w->rng);
}

void host_done(struct world *w, struct host *host)
{
    host_wipe(w, host);
    image_done(w, &host->saved);
    free(host->pipes);
}
