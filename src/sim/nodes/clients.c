/* Clients: each asks one thing after the other, of the node that it likes or, now
 * and then, of another; with a token of its last answer about the key, or without. */
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
};

void ask_free(struct ask *ask)
{
    if (!ask)
        return;
    token_done(&ask->token);
    token_done(&ask->answer);
    buf_done(&ask->value);
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

static void make_value(struct world *w, struct ask *ask)
{
    size_t len = world_chance(w, 30) ? (size_t)world_pick(w, VALUE_BYTES_MAX) : (size_t)world_pick(w, 100);
    buf_init(&ask->value, VALUE_BYTES_MAX + 16);
    buf_put_format(&ask->value, "%zu:", ask->op);
    uint8_t *rest = buf_extend(&ask->value, len);
    CHECK(rest || !len);
    for (size_t i = 0; i < len; i++)
        rest[i] = (uint8_t)('a' + (ask->op + i * i) % 26);
}

static const char *kind_name(enum ask_kind kind)
{
    static const char *const names[] = {"get", "put", "delete", "add", "list"};
    return names[kind];
}

static enum ask_kind pick_kind(struct world *w)
{
    uint64_t x = world_pick(w, 100);
    return x < 38 ? ASK_PUT : x < 62 ? ASK_DELETE : x < 68 ? ASK_ADD : x < 96 ? ASK_GET : ASK_LIST;
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
    *ask = (struct ask){.kind = pick_kind(w),
                        .client = number,
                        .node = client->node,
                        .serial = ++w->asks,
                        .key = (size_t)world_pick(w, w->oracle.key_count)};
    if (ask->kind != ASK_GET && ask->kind != ASK_LIST) {
        ask->op = oracle_new(&w->oracle, ask->key, ask->kind != ASK_DELETE, client->node);
        if (!ask->op)
            ask->kind = ASK_GET;
        else
            make_value(w, ask);
    }
    if (client->keys[ask->key].has_token && world_chance(w, 500) && ask->kind != ASK_ADD) {
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
              ask->with_token ? " with a token" : "", ask->op);
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

static void write(struct world *w, struct host *host, struct ask *ask)
{
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write = (struct write_work){.key = key_bytes(ask->key),
                                      .value = buf_bytes(&ask->value),
                                      .remove = ask->kind == ASK_DELETE,
                                      .add = ask->kind == ASK_ADD,
                                      .token = ask->with_token ? &ask->token : NULL};
    if (work->write.remove)
        work->write.value = bytes_of(NULL, 0);
    work->done = done;
    work->ctx = ask;
    host_submit(w, host, work);
}

void client_written(struct world *w, struct host *host, struct store_work *work)
{
    struct ask *ask = work->ctx;
    struct op *op = &w->oracle.ops[ask->op];
    if (work->err == ERR_BEHIND && w->now_ms < ask->wait_until_ms) { /* parked: http/parking.h */
        plan_ask(w, TOKEN_LOOK_MS, ask);
        return;
    }
    if (work->err == OK && work->write.dot.counter) {
        token_of_write(&ask->answer, work->write.key, &work->write.dot);
        ask->has_answer_token = true;
        w->result.acknowledged++;
        CHECK(op->state == OP_DONE);
        world_say(w, "n%d op %zu is %.8s../%llu, acknowledged", host->index, ask->op,
                  replica_id_text(&work->write.dot.replica, (char[REPLICA_ID_TEXT]){0}),
                  (unsigned long long)work->write.dot.counter);
    } else if (op->state == OP_ASKED) {
        op->state = OP_VOID;
    }
    w->result.refused += work->err != OK;
    enum err err = work->err;
    if (err != OK && err != ERR_BEHIND && err != ERR_WALKING && err != ERR_CONFLICT && err != ERR_IO &&
        err != ERR_FULL && err != ERR_BUSY)
        world_fail(w, "n%d refused op %zu: %s", host->index, ask->op, err_text(err));
    plan_answer(w, ask, err);
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
            set_add(&ask->versions, value_number(record.versions[i].value));
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
            set_add(&seen, value_number(record.versions[i].value));
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
    if (!host->running) {
        ask_free(ask); /* nobody answers */
        return;
    }
    if (host->paused_until_ms > w->now_ms) {
        plan_ask(w, host->paused_until_ms - w->now_ms, ask);
        return;
    }
    if (ask->kind != ASK_GET && ask->kind != ASK_LIST) {
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
 * there, and what it knew is there or was removed by somebody. */
static void check_read(struct world *w, const struct ask *ask)
{
    struct set surely, perhaps, missing = {0};
    ptrdiff_t back = set_common(&ask->versions, &ask->dead);
    if (back >= 0)
        world_fail(w, "c%d reads op %td at n%d, which it knew as replaced (a token reads backwards)",
                   ask->client, back, ask->node);
    oracle_removed(&w->oracle, &surely, &perhaps);
    for (size_t i = 0; i < ORACLE_OPS / 64; i++)
        missing.words[i] = ask->alive.words[i] & ~ask->versions.words[i];
    ptrdiff_t lost = set_beyond(&missing, &perhaps);
    if (lost >= 0)
        world_fail(w, "c%d does not read op %td at n%d, which it had read (a token reads backwards)",
                   ask->client, lost, ask->node);
    w->result.token_reads++;
}

static void learn(struct world *w, const struct ask *ask, struct client *client)
{
    struct set alive = ask->versions, dead = {0};
    bool write = ask->op != 0;
    if (write && w->oracle.ops[ask->op].put)
        set_add(&alive, ask->op);
    if (write)
        dead = w->oracle.ops[ask->op].dead;
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
        if (ask->with_token && !w->lossy)
            check_read(w, ask);
    }
    if (ask->err == OK && ask->has_answer_token && client->serial == ask->serial) {
        /* As a client does that passes on what it is given, and no more. */
        client->keys[ask->key].has_token = true;
        pass_token(&client->keys[ask->key].token, &ask->answer);
        learn(w, ask, client);
    }
    ask_free(ask);
}
