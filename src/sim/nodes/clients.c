/* Clients: each asks one thing after the other, of the node that it likes or, now
 * and then, of another; with a token of its last answer about the key, or without; one
 * key or several; for ever or for a time; on a condition; and some want to be told when
 * other nodes have it, too. */
#include "check.h"
#include "mem.h"
#include "state.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    CLIENT_DELAY_MAX_MS = 10,
    CLIENT_PATIENCE_MS = 4000, /* then it never hears of it */
    TOKEN_WAIT_MS = 1000,      /* ?wait= */
    TOKEN_LOOK_MS = 20,
    CONFIRM_LOOK_MS = 50, /* in the daemon a report wakes it: edge/reach.h */
    CONFIRM_MAX_MS = 3000,
    TTL_MAX_MS = 60000,
};

void ask_free(struct ask *ask)
{
    if (!ask)
        return;
    token_done(&ask->token);
    token_done(&ask->answer);
    for (size_t i = 0; i < ask->part_count; i++)
        buf_done(&ask->parts[i].value);
    free(ask);
}

static struct happening *plan_ask(struct world *w, uint64_t in_ms, struct ask *ask)
{
    struct happening *h = world_plan(w, in_ms, HAPPEN_ASK, -1);
    h->ask = ask;
    return h;
}

static void plan_answer(struct world *w, struct ask *ask, enum err err)
{
    ask->err = err;
    world_plan(w, 1 + world_pick(w, CLIENT_DELAY_MAX_MS), HAPPEN_ANSWER, -1)->ask = ask;
}

/* Through its text, as a client brings it back. */
static void pass_token(struct token *to, const struct token *from)
{
    struct buf text;
    buf_init(&text, TOKEN_TEXT_MAX);
    token_encode(from, &text);
    CHECK(text.err == OK && token_decode(buf_bytes(&text), to) == OK);
    buf_done(&text);
}

static void make_value(struct world *w, struct part *part)
{
    size_t len = world_chance(w, 30) ? (size_t)world_pick(w, VALUE_BYTES_MAX) : (size_t)world_pick(w, 100);
    buf_init(&part->value, VALUE_BYTES_MAX + 16);
    buf_put_format(&part->value, "%zu:", part->op);
    uint8_t *rest = buf_extend(&part->value, len);
    CHECK(rest || !len);
    for (size_t i = 0; i < len; i++)
        rest[i] = (uint8_t)('a' + (part->op + i * i) % 26);
}

static const char *kind_name(enum ask_kind kind)
{
    static const char *const names[ASK_KINDS] = {"get", "put", "delete", "add", "list", "touch", "batch"};
    return names[kind];
}

static enum ask_kind pick_kind(struct world *w)
{
    unsigned sum = 0;
    for (int i = 0; i < ASK_KINDS; i++)
        sum += w->habits.weight[i];
    uint64_t at = world_pick(w, sum);
    for (int i = 0; i < ASK_KINDS; i++) {
        if (at < w->habits.weight[i])
            return (enum ask_kind)i;
        at -= w->habits.weight[i];
    }
    return ASK_GET;
}

/* If-None-Match: *, or If-Match with the tag of the client's last answer. */
static void put_condition(struct world *w, const struct client *client, struct part *part)
{
    part->has_condition = true;
    if (client->keys[part->key].has_tag && client->keys[part->key].tag && world_chance(w, 700)) {
        part->condition.match = (struct tag_list){.present = true, .count = 1};
        part->condition.match.tags[0] = client->keys[part->key].tag;
        part->expects = client->keys[part->key].tagged;
    } else {
        part->condition.none_match = (struct tag_list){.present = true, .any = true};
    }
}

/* False where there is no room for more operations. */
static bool add_part(struct world *w, struct ask *ask, size_t key, enum ask_kind kind)
{
    const struct habits *habits = &w->habits;
    size_t op = oracle_new(&w->oracle, key, kind != ASK_DELETE, ask->node);
    if (!op)
        return false;
    struct part *part = &ask->parts[ask->part_count++];
    *part = (struct part){.key = key,
                          .op = op,
                          .remove = kind == ASK_DELETE,
                          .touch = kind == ASK_TOUCH,
                          .add = kind == ASK_ADD};
    if (kind == ASK_PUT || kind == ASK_ADD)
        make_value(w, part);
    if (kind == ASK_TOUCH || (!part->remove && world_chance(w, habits->ttl_permille)))
        part->ttl_ms = 2000 + world_pick(w, TTL_MAX_MS);
    if (world_chance(w, habits->condition_permille))
        put_condition(w, &w->clients[ask->client], part);
    return true;
}

/* Puts and deletes of different keys. */
static void fill_batch(struct world *w, struct ask *ask)
{
    size_t want = 1 + (size_t)world_pick(w, PARTS_MAX), first = ask->key;
    for (size_t i = 0; i < want && i < w->oracle.key_count; i++)
        if (!add_part(w, ask, (first + i) % w->oracle.key_count, world_chance(w, 600) ? ASK_PUT : ASK_DELETE))
            break;
}

static void fill(struct world *w, struct ask *ask)
{
    if (ask->kind == ASK_GET || ask->kind == ASK_LIST)
        return;
    if (ask->kind == ASK_BATCH)
        fill_batch(w, ask);
    else
        (void)add_part(w, ask, ask->key, ask->kind);
    if (!ask->part_count)
        ask->kind = ASK_GET;
    else if (world_chance(w, w->habits.confirm_permille))
        ask->replicas = 2 + (unsigned)world_pick(w, (uint64_t)w->host_count);
}

/* A copy of a store beside its original is given no writes before it has an id of its own. */
static bool takes_writes(const struct host *host)
{
    return !host->twin || !replica_id_equal(&host->view.id, &host->twin_id);
}

static void begin(struct world *w, int number)
{
    struct client *client = &w->clients[number];
    if (world_chance(w, 250))
        client->node = (int)world_pick(w, (uint64_t)w->host_count);
    const struct host *host = &w->hosts[client->node];
    if (!host->running) {
        client->node = (int)world_pick(w, (uint64_t)w->host_count);
        return;
    }
    struct ask *ask = mem_new(sizeof *ask);
    *ask = (struct ask){.kind = pick_kind(w), .client = number, .node = client->node, .serial = ++w->asks};
    ask->key = (size_t)world_pick(w, w->oracle.key_count);
    if (!takes_writes(host))
        ask->kind = ASK_GET;
    fill(w, ask);
    if (client->keys[ask->key].has_token && world_chance(w, 500) && ask->kind != ASK_ADD &&
        ask->kind != ASK_BATCH) {
        ask->with_token = true;
        pass_token(&ask->token, &client->keys[ask->key].token);
        ask->alive = client->keys[ask->key].alive;
        ask->dead = client->keys[ask->key].dead;
    }
    client->serial = ask->serial;
    client->waiting = true;
    client->waits_until_ms = w->now_ms + CLIENT_PATIENCE_MS;
    w->result.operations++;
    world_say(w, "c%d asks n%d: %s %.*s%s op %zu", number, client->node, kind_name(ask->kind),
              (int)key_bytes(ask->key).len, (const char *)key_bytes(ask->key).data,
              ask->with_token ? " with a token" : "", ask->parts[0].op);
    for (size_t i = 0; i < ask->part_count; i++) {
        struct part *part = &ask->parts[i];
        if (i || part->has_condition || part->ttl_ms)
            world_say(w, "c%d .. %s %.*s op %zu%s, for %llu ms", number, part->remove ? "delete" : "put",
                      (int)key_bytes(part->key).len, (const char *)key_bytes(part->key).data, part->op,
                      part->condition.match.present ? " if it is as it was"
                      : part->has_condition         ? " if there is none"
                                                    : "",
                      (unsigned long long)part->ttl_ms);
        part->add |= w->habits.siblings && ask->kind == ASK_PUT && !ask->with_token &&
                     !part->condition.match.present;
    }
    plan_ask(w, 1 + world_pick(w, CLIENT_DELAY_MAX_MS), ask);
}

void client_act(struct world *w, int number)
{
    struct client *client = &w->clients[number];
    if (w->calm)
        return;
    if (client->waiting && client->waits_until_ms > w->now_ms) {
        world_plan(w, client->waits_until_ms - w->now_ms, HAPPEN_ACT, -1)->index = (uint64_t)number;
        return;
    }
    client->waiting = false;
    begin(w, number);
    uint64_t next = world_chance(w, 50) ? 3000 : 150;
    world_plan(w, 1 + world_pick(w, next), HAPPEN_ACT, -1)->index = (uint64_t)number;
}

/* ---- at the node ------------------------------------------------------------------------- */

static void done(struct store_work *work)
{
    (void)work; /* client_written is told by the committer */
}

static void fill_work(struct world *w, const struct host *host, const struct ask *ask,
                      const struct part *part, struct write_work *write)
{
    struct op *op = &w->oracle.ops[part->op];
    if (part->ttl_ms && !op->expires_ms)
        op->expires_ms = expiry_of(host_wall(w, host) + part->ttl_ms, part->op);
    *write = (struct write_work){.key = key_bytes(part->key),
                                 .remove = part->remove,
                                 .add = part->add,
                                 .touch = part->touch,
                                 .expires_ms = op->expires_ms,
                                 .token = ask->with_token ? &ask->token : NULL,
                                 .condition = part->has_condition ? &part->condition : NULL};
    if (!part->remove && !part->touch)
        write->value = buf_bytes(&part->value);
}

static void write(struct world *w, struct host *host, struct ask *ask)
{
    struct store_work *work = store_work_new(ask->kind == ASK_BATCH ? WORK_BATCH : WORK_WRITE);
    if (work->kind == WORK_WRITE)
        fill_work(w, host, ask, &ask->parts[0], &work->write);
    for (size_t i = 0; i < ask->part_count && work->kind == WORK_BATCH; i++)
        fill_work(w, host, ask, &ask->parts[i], store_work_add_write(work));
    work->done = done;
    work->ctx = ask;
    host_submit(w, host, work);
}

static const struct write_work *last_write(const struct store_work *work)
{
    return work->kind == WORK_BATCH ? &work->batch.writes[work->batch.count - 1] : &work->write;
}

static bool is_refusal(enum err err)
{
    switch (err) {
    case ERR_BEHIND:
    case ERR_WALKING:
    case ERR_CONFLICT:
    case ERR_UNMET:
    case ERR_IO:
    case ERR_FULL:
    case ERR_BUSY:
    case ERR_DAMAGED:
        return true;
    default:
        return false;
    }
}

/* Every one of a batch, or none. */
static void take_result(struct world *w, struct host *host, struct ask *ask, const struct store_work *work)
{
    for (size_t i = 0; i < ask->part_count; i++) {
        const struct write_work *write = work->kind == WORK_BATCH ? &work->batch.writes[i] : &work->write;
        struct op *op = &w->oracle.ops[ask->parts[i].op];
        if (work->err == OK && write->dot.counter) {
            w->result.acknowledged++;
            w->result.batches += work->kind == WORK_BATCH;
            w->result.touches += write->touch;
            CHECK(op->state == OP_DONE);
            world_say(w, "n%d op %zu is %.8s../%llu, acknowledged", host->index, ask->parts[i].op,
                      replica_id_text(&write->dot.replica, (char[REPLICA_ID_TEXT]){0}),
                      (unsigned long long)write->dot.counter);
        } else if (op->state == OP_ASKED) {
            op->state = OP_VOID;
        }
    }
    w->result.refused += work->err != OK;
    if (work->err != OK && !is_refusal(work->err) && !(work->err == ERR_NOT_FOUND && ask->kind == ASK_TOUCH))
        world_fail(w, "n%d refused op %zu: %s", host->index, ask->parts[0].op, err_text(work->err));
}

void client_written(struct world *w, struct host *host, struct store_work *work)
{
    struct ask *ask = work->ctx;
    if (work->err == ERR_BEHIND && w->now_ms < ask->wait_until_ms) { /* parked: http/parking.h */
        plan_ask(w, TOKEN_LOOK_MS, ask);
        return;
    }
    take_result(w, host, ask, work);
    const struct write_work *last = last_write(work);
    if (work->err == OK && work->kind == WORK_WRITE && last->dot.counter) {
        token_of_write(&ask->answer, last->key, &last->dot);
        ask->has_answer_token = true;
    }
    if (work->err != OK || !ask->replicas || !last->dot.counter) {
        plan_answer(w, ask, work->err);
        return;
    }
    ask->confirm_until_ms = w->now_ms + 1 + world_pick(w, CONFIRM_MAX_MS);
    ask->life = host->life;
    plan_ask(w, 0, ask);
}

/* How many have it, by what they told; and by what the oracle has seen there. */
static void confirm(struct world *w, struct host *host, struct ask *ask)
{
    const size_t number = ask->parts[ask->part_count - 1].op;
    const struct op *op = &w->oracle.ops[number];
    uint64_t counters[CLOCK_REPLICAS_MAX];
    struct replica_id own;
    unsigned having = 1, seen = 0;
    size_t count = node_reported(host->node, &own, counters);
    for (size_t i = 0; i < count && replica_id_equal(&own, &op->dot.replica); i++)
        having += counters[i] >= op->dot.counter;
    for (int i = 0; i < w->host_count; i++)
        seen += w->hosts[i].used && set_has(&w->hosts[i].view.covered, number);
    if (having > seen && !w->lossy && !w->renamed)
        world_fail(w, "n%d says that %u have op %zu, and %u do", host->index, having, number, seen);
    if (having < ask->replicas && w->now_ms < ask->confirm_until_ms) {
        plan_ask(w, CONFIRM_LOOK_MS, ask);
        return;
    }
    w->result.confirmed += having >= ask->replicas;
    plan_answer(w, ask, OK);
}

static void read(struct world *w, struct host *host, struct ask *ask, struct snapshot *snapshot)
{
    struct record record = {0};
    struct clock floor = {0};
    struct walk_state walk = {0};
    enum err err = snapshot_record(snapshot, key_bytes(ask->key), &record);
    if (err == OK || err == ERR_NOT_FOUND)
        err = snapshot_clock(snapshot, NULL, &floor);
    if (err == OK)
        err = snapshot_walk(snapshot, &walk);
    if (err == OK && !record.count && walk_hides(&walk, key_bytes(ask->key)))
        err = ERR_WALKING;
    if (err == OK) {
        for (size_t i = 0; i < record.count; i++)
            set_add(version_expired(&record.versions[i], host_wall(w, host)) ? &ask->hidden : &ask->versions,
                    version_number(&record.versions[i]));
        ask->tag = record_tag(&record, host_wall(w, host));
        token_of_read(&ask->answer, key_bytes(ask->key), &record, &floor);
        ask->has_answer_token = true;
        ask->gone = host->view.gone;
    }
    record_done(&record);
    clock_done(&floor);
    walk_state_done(&walk);
    plan_answer(w, ask, err);
}

/* All keys, in order, in pages: each is held, and none that is held is left out. */
static void list(struct world *w, struct host *host, struct ask *ask, struct snapshot *snapshot)
{
    struct set seen = {0};
    struct bytes key, bytes, last = {0};
    struct record record = {0};
    struct scan *scan;
    enum err err = scan_open(snapshot, bytes_of(NULL, 0), &scan);
    while (err == OK && (err = scan_next(scan, &key, &bytes)) == OK) {
        if (last.data && bytes_compare(last, key) >= 0)
            world_fail(w, "n%d lists %.*s out of order", host->index, (int)key.len, (const char *)key.data);
        last = key;
        err = record_decode(key, bytes, &record);
        for (size_t i = 0; err == OK && i < record.count; i++)
            set_add(&seen, version_number(&record.versions[i]));
    }
    scan_close(scan);
    record_done(&record);
    if (err == ERR_NOT_FOUND)
        err = OK;
    for (size_t i = 0; i < w->oracle.key_count && err == OK; i++)
        if (set_beyond(&host->view.held[i], &seen) >= 0)
            world_fail(w, "n%d does not list op %td", host->index, set_beyond(&host->view.held[i], &seen));
    plan_answer(w, ask, err);
}

static bool is_behind(struct snapshot *snapshot, const struct token *token)
{
    struct clock clock = {0};
    bool behind = snapshot_clock(snapshot, &clock, NULL) != OK || !clock_covers(&clock, &token->after);
    clock_done(&clock);
    return behind;
}

/* Takes the ask. */
void client_ask(struct world *w, struct ask *ask)
{
    struct host *host = &w->hosts[ask->node];
    struct snapshot *snapshot;
    if (!ask->wait_until_ms)
        ask->wait_until_ms = w->now_ms + TOKEN_WAIT_MS;
    if (!host->running || host->stopping || (ask->confirm_until_ms && ask->life != host->life)) {
        ask_free(ask); /* nobody answers */
        return;
    }
    if (host->paused_until_ms > w->now_ms) {
        plan_ask(w, host->paused_until_ms - w->now_ms, ask);
        return;
    }
    if (ask->part_count) {
        if (ask->confirm_until_ms)
            confirm(w, host, ask);
        else
            write(w, host, ask);
        return;
    }
    if (snapshot_open(host->store, &snapshot) != OK) {
        plan_answer(w, ask, ERR_IO);
        return;
    }
    if (ask->kind == ASK_GET && ask->with_token && is_behind(snapshot, &ask->token)) {
        if (w->now_ms < ask->wait_until_ms)
            plan_ask(w, TOKEN_LOOK_MS, ask);
        else
            plan_answer(w, ask, ERR_BEHIND);
    } else if (ask->kind == ASK_GET) {
        read(w, host, ask, snapshot);
    } else {
        list(w, host, ask, snapshot);
    }
    snapshot_close(snapshot);
}

/* ---- the answer ------------------------------------------------------------------------------- */

/* 5: with a token nothing reads backwards. What its holder knew as removed is not
 * there, and what it knew is there or was removed by somebody. What is over is hidden or
 * not by each node's own clock, and promised to nobody. */
static void check_read(struct world *w, const struct ask *ask)
{
    struct set surely, perhaps, missing = {0}, dropped = oracle_dropped(&w->oracle);
    struct set dead = set_without(&ask->dead, &dropped);
    ptrdiff_t back = set_common(&ask->versions, &dead);
    if (back >= 0)
        world_fail(w, "c%d reads op %td at n%d, which it knew as replaced (a token reads backwards)",
                   ask->client, back, ask->node);
    oracle_removed(&w->oracle, &surely, &perhaps);
    for (size_t i = 0; i < ORACLE_OPS / 64; i++)
        missing.words[i] = ask->alive.words[i] & ~ask->versions.words[i] & ~ask->hidden.words[i];
    ptrdiff_t lost = set_beyond(&missing, &perhaps);
    if (lost >= 0)
        world_fail(w, "c%d does not read op %td at n%d, which it had read (a token reads backwards)",
                   ask->client, lost, ask->node);
    w->result.token_reads++;
}

static void learn(struct world *w, const struct ask *ask, struct client *client)
{
    struct set alive = ask->versions, dead = {0};
    size_t op = ask->part_count ? ask->parts[0].op : 0;
    if (op && w->oracle.ops[op].put)
        set_add(&alive, op);
    if (op)
        dead = w->oracle.ops[op].dead;
    for (size_t i = 1; i <= w->oracle.op_count; i++) {
        if (set_has(&alive, i))
            set_unite(&dead, &w->oracle.ops[i].dead);
        else if (w->oracle.ops[i].key == ask->key && set_has(&ask->gone, i))
            set_add(&dead, i); /* what the node knew as removed, the token knows */
    }
    /* The token is the whole of what is known: an older one is given up for it. */
    client->keys[ask->key].alive = alive;
    client->keys[ask->key].dead = dead;
}

/* Takes the ask. */
void client_answer(struct world *w, struct ask *ask)
{
    struct client *client = &w->clients[ask->client];
    uint64_t head[3] = {ask->serial, ask->err, ask->versions.words[0]};
    world_mix(w, head, sizeof head);
    if (client->serial == ask->serial)
        client->waiting = false;
    if (ask->err != OK)
        world_say(w, "c%d is told: %s", ask->client, err_text(ask->err));
    if (ask->kind == ASK_GET && ask->err == OK) {
        w->result.reads++;
        if (ask->with_token && !w->lossy && !w->renamed)
            check_read(w, ask);
    }
    if (ask->err == OK && ask->has_answer_token && client->serial == ask->serial) {
        /* As a client does that passes on what it is given, and no more. */
        client->keys[ask->key].has_token = true;
        pass_token(&client->keys[ask->key].token, &ask->answer);
        learn(w, ask, client);
        client->keys[ask->key].has_tag = ask->kind == ASK_GET;
        client->keys[ask->key].tag = ask->tag;
        client->keys[ask->key].tagged = ask->versions;
    }
    ask_free(ask);
}
