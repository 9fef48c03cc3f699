/* One random world; see the header. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "world.h"

#include "mem.h"
#include "rng.h"
#include "storekit.h"
#include "weaken.h"

#include <stdio.h>
#include <stdlib.h>

enum { NODES_MAX = 4, KEYS_MAX = 5, OPS_MAX = 256, TOKENS_MAX = 400, SAVED_MAX = 8, TURNS_MAX = 60 };

/* A set of operations, by their number. */
struct set {
    uint64_t words[OPS_MAX / 64];
};

struct op {
    struct dot dot;
    size_t key;
    bool value;
    struct set removed;
};

struct node {
    struct store *store;
    struct engine *engine; /* the store's */
    unsigned id;
    struct engine *saved[SAVED_MAX];
    size_t saved_count;
};

struct held_token {
    size_t key;
    struct token token;
    struct set saw;
};

struct world {
    struct rng rng;
    enum driver_weaken weaken;
    struct node nodes[NODES_MAX];
    size_t node_count, key_count, op_count, token_count;
    unsigned ids; /* given out */
    struct op ops[OPS_MAX];
    struct held_token tokens[TOKENS_MAX];
    bool with_tokens, with_losses, with_doubts;
    struct world_result result;
    size_t step;
};

static const char *const key_names[KEYS_MAX] = {"k0", "k1", "k2", "k3", "k4"};

static bool has(const struct set *set, size_t op)
{
    return set->words[op / 64] >> op % 64 & 1;
}

static void include(struct set *set, size_t op)
{
    set->words[op / 64] |= (uint64_t)1 << op % 64;
}

static void exclude(struct set *set, size_t op)
{
    set->words[op / 64] &= ~((uint64_t)1 << op % 64);
}

static void unite(struct set *set, const struct set *other)
{
    for (size_t i = 0; i < OPS_MAX / 64; i++)
        set->words[i] |= other->words[i];
}

static bool chance(struct world *w, unsigned permille)
{
    return rng_permille(&w->rng, permille);
}

static size_t pick(struct world *w, size_t n)
{
    return (size_t)rng_below(&w->rng, n);
}

static void note(struct world *w, uint64_t what)
{
    w->result.trace = (w->result.trace ^ what) * 0x100000001b3;
}

static void bad(struct world *w, const char *what, unsigned node, size_t detail)
{
    if (!w->result.fine)
        return;
    w->result.fine = false;
    snprintf(w->result.why, sizeof w->result.why, "step %zu: %s (replica %u, %zu)", w->step, what, node,
             detail);
}

/* ---- what a node holds -------------------------------------------------------- */

struct view { /* of one node, or of one key there */
    struct snapshot *snapshot;
    struct record record;
    struct clock clock, floor;
};

static struct view look(struct store *store, const char *key)
{
    struct view view = {0};
    assert_int_equal(snapshot_open(store, &view.snapshot), OK);
    assert_int_equal(snapshot_clock(view.snapshot, &view.clock, &view.floor), OK);
    if (key) {
        enum err err = snapshot_record(view.snapshot, bytes_str(key), &view.record);
        assert_true(err == OK || err == ERR_NOT_FOUND);
    }
    return view;
}

static void look_away(struct view *view)
{
    record_done(&view->record);
    clock_done(&view->clock);
    clock_done(&view->floor);
    snapshot_close(view->snapshot);
}

static ptrdiff_t op_of(const struct world *w, const struct dot *dot)
{
    for (size_t i = 0; i < w->op_count; i++)
        if (dot_compare(&w->ops[i].dot, dot) == 0)
            return (ptrdiff_t)i;
    return -1;
}

static struct set versions_of(struct world *w, const struct record *record, unsigned node)
{
    struct set set = {0};
    for (size_t i = 0; i < record->count; i++) {
        ptrdiff_t op = op_of(w, &record->versions[i].dot);
        if (op < 0)
            bad(w, "a version that nobody wrote", node, (size_t)record->versions[i].dot.counter);
        else
            include(&set, (size_t)op);
    }
    return set;
}

/* What a client that reads this key here has seen: all that the record reflects. */
static struct set sight(struct world *w, const struct view *view, size_t key)
{
    struct set set = {0};
    for (size_t i = 0; i < w->op_count; i++) {
        const struct op *op = &w->ops[i];
        if (op->key == key && op->value &&
            (record_find(&view->record, &op->dot) >= 0 || clock_covers_dot(&view->record.context, &op->dot) ||
             clock_covers_dot(&view->clock, &op->dot)))
            include(&set, i);
    }
    return set;
}

static bool covers_floor(struct node *a, struct node *b)
{
    struct view ours = look(a->store, NULL), theirs = look(b->store, NULL);
    bool covers = clock_covers(&ours.clock, &theirs.floor);
    look_away(&ours), look_away(&theirs);
    return covers;
}

/* ---- clients ------------------------------------------------------------------- */

/* Through its text, as a client would bring it back. */
static void keep_token(struct world *w, size_t key, struct token *token, const struct set *saw)
{
    if (w->token_count == TOKENS_MAX) {
        token_done(token);
        return;
    }
    struct held_token *held = &w->tokens[w->token_count++];
    struct buf text;
    buf_init(&text, TOKEN_TEXT_MAX);
    token_encode(token, &text);
    *held = (struct held_token){.key = key, .saw = *saw};
    assert_int_equal(token_decode(buf_bytes(&text), &held->token), OK);
    buf_done(&text);
    token_done(token);
}

static void read_token(struct world *w, struct node *node, size_t key)
{
    static const struct clock nothing;
    struct view view = look(node->store, key_names[key]);
    struct token token = {0};
    struct set saw = sight(w, &view, key);
    token_of_read(&token, bytes_str(key_names[key]), &view.record,
                  w->weaken == DRIVER_FORGOT ? &nothing : &view.floor);
    keep_token(w, key, &token, &saw);
    look_away(&view);
}

static void record_op(struct world *w, struct node *node, size_t key, const struct dot *dot, bool value,
                      const struct set *removed)
{
    if (op_of(w, dot) >= 0) {
        bad(w, "a dot was used twice", node->id, (size_t)dot->counter);
        return;
    }
    assert_true(w->op_count < OPS_MAX);
    w->ops[w->op_count++] = (struct op){.dot = *dot, .key = key, .value = value, .removed = *removed};
    note(w, dot->counter);
}

static void client_writes(struct world *w, struct node *node)
{
    size_t key = pick(w, w->key_count);
    const struct held_token *held = NULL;
    size_t how = pick(w, 10);
    if (w->with_tokens && w->token_count && how < 4) {
        held = &w->tokens[pick(w, w->token_count)];
        if (!WEAKENED(ANY_KEY))
            key = held->key;
    }
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write = (struct write_work){.key = bytes_str(key_names[key]),
                                      .value = bytes_str("v"),
                                      .remove = chance(w, 350),
                                      .add = !held && how == 4,
                                      .token = held ? &held->token : NULL};
    struct view before = look(node->store, key_names[key]);
    struct set saw = held ? held->saw : work->write.add ? (struct set){0} : sight(w, &before, key);
    enum err err = kit_run(node->store, work);
    if (err != OK && err != ERR_BEHIND && err != ERR_WALKING)
        bad(w, err_text(err), node->id, key);
    note(w, err);
    if (err == OK && work->write.dot.counter) {
        struct view after = look(node->store, key_names[key]);
        struct set gone = {0};
        for (size_t i = 0; i < before.record.count; i++) {
            ptrdiff_t op = op_of(w, &before.record.versions[i].dot);
            if (op < 0 || record_find(&after.record, &before.record.versions[i].dot) >= 0)
                continue;
            include(&gone, (size_t)op);
            if (!has(&saw, (size_t)op))
                bad(w, "a write removed what its client never saw", node->id, key);
        }
        /* Held to all that its client saw of this key, not only to what the node happened to hold. */
        struct set removed = gone;
        for (size_t i = 0; i < w->op_count; i++)
            if (has(&saw, i) && w->ops[i].key == key)
                include(&removed, i);
        record_op(w, node, key, &work->write.dot, !work->write.remove, &removed);
        struct token token = {0};
        token_of_write(&token, bytes_str(key_names[key]), &work->write.dot);
        if (!work->write.remove)
            include(&removed, w->op_count - 1);
        keep_token(w, key, &token, &removed);
        look_away(&after);
    }
    look_away(&before);
    store_work_free(work);
    read_token(w, &w->nodes[pick(w, w->node_count)], pick(w, w->key_count));
}

/* ---- replication ---------------------------------------------------------------- */

struct ahead {
    struct snapshot *snapshot;
    struct store_work *work;
    size_t room; /* entries still wanted */
};

static void add_ahead(void *ctx, const struct row *row)
{
    struct ahead *ahead = ctx;
    if (ahead->room == 0)
        return;
    ahead->room--;
    kit_add_row(ahead->work, ahead->snapshot, row);
}

static enum err send_ahead(struct node *from, struct node *to, size_t max)
{
    struct ahead ahead = {.work = kit_rows_work(WORK_AHEAD), .room = max};
    struct view view = look(from->store, NULL);
    ahead.snapshot = view.snapshot;
    assert_int_equal(snapshot_rows_ahead(view.snapshot, 1000, add_ahead, &ahead), OK);
    look_away(&view);
    return kit_do(to->store, ahead.work);
}

/* The ids that b's clock names, in random order. */
static size_t origins(struct world *w, struct node *b, struct replica_id ids[static CLOCK_REPLICAS_MAX])
{
    struct view view = look(b->store, NULL);
    size_t count = view.clock.count;
    for (size_t i = 0; i < count; i++) {
        size_t at = pick(w, i + 1);
        ids[i] = ids[at];
        ids[at] = view.clock.entries[i].replica;
    }
    look_away(&view);
    return count;
}

static void check_sent(struct world *w, struct node *to, enum err err)
{
    note(w, err);
    if (err != OK && err != ERR_FLOOR && err != ERR_WALKING)
        bad(w, err_text(err), to->id, 0);
}

/* a takes rows and records from b, possibly not all; false where only a walk will do. */
static bool delta(struct world *w, struct node *a, struct node *b, bool part)
{
    bool check_floor = w->weaken != DRIVER_FLOOR || !part;
    if (kit_walking(b->store) || kit_walking(a->store) || (check_floor && !covers_floor(a, b)))
        return false;
    struct replica_id ids[CLOCK_REPLICAS_MAX];
    size_t count = origins(w, b, ids);
    if (w->weaken != DRIVER_AHEAD && !(part && chance(w, 300)))
        check_sent(w, a, send_ahead(b, a, part ? pick(w, 10) : 1000));
    for (size_t i = 0; i < count; i++) {
        if (part && chance(w, 300))
            continue;
        size_t chunks = part && chance(w, 500) ? pick(w, 3) : 1000;
        for (uint64_t had = UINT64_MAX; chunks > 0; chunks--) {
            struct view view = look(a->store, NULL);
            uint64_t have = clock_get(&view.clock, &ids[i]);
            look_away(&view);
            if (have == had)
                break;
            had = have;
            check_sent(w, a, kit_send(b->store, a->store, &ids[i], 1 + pick(w, 4), check_floor));
        }
    }
    return true;
}

static void stop_walk(struct world *w, struct node *node)
{
    if (!kit_walking(node->store))
        return;
    struct view view = look(node->store, NULL);
    struct walk_state walk = {0};
    assert_int_equal(snapshot_walk(view.snapshot, &walk), OK);
    struct store_work *work = store_work_new(WORK_WALK_STOP);
    work->rows.serial = walk.serial;
    walk_state_done(&walk);
    look_away(&view);
    if (kit_do(node->store, work) != OK)
        bad(w, "a walk could not be stopped", node->id, 0);
}

/* One piece from any of the sources that has seen what the earlier pieces had
 * seen; where there is none, from the start. */
static void walk_step(struct world *w, struct node *a, struct node **sources, size_t count)
{
    struct node *fit[NODES_MAX];
    size_t fits = 0;
    struct view view = look(a->store, NULL);
    struct walk_state walk = {0};
    assert_int_equal(snapshot_walk(view.snapshot, &walk), OK);
    for (size_t i = 0; i < count; i++) {
        struct view source = look(sources[i]->store, NULL);
        if (clock_covers(&source.clock, &walk.last))
            fit[fits++] = sources[i];
        look_away(&source);
    }
    walk_state_done(&walk);
    look_away(&view);
    enum err err = fits ? kit_walk_piece(a->store, fit[pick(w, fits)]->store, 1 + pick(w, 3))
                        : kit_walk_start(a->store);
    note(w, err);
    if (err != OK)
        bad(w, err_text(err), a->id, 1);
}

static size_t sources_of(struct world *w, struct node *a, bool walking_too, struct node *ret[NODES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < w->node_count; i++)
        if (&w->nodes[i] != a && (walking_too || !kit_walking(w->nodes[i].store)))
            ret[count++] = &w->nodes[i];
    return count;
}

static void walk_some(struct world *w, struct node *a, struct node *b)
{
    struct node *sources[NODES_MAX];
    if (kit_walking(a->store)) {
        size_t count = sources_of(w, a, false, sources);
        if (count)
            walk_step(w, a, sources, count);
    } else if (!kit_walking(b->store) && (!covers_floor(a, b) || chance(w, 100))) {
        if (kit_walk_start(a->store) != OK)
            bad(w, "a walk could not start", a->id, 0);
    }
}

/* Any floor up to the own clock is safe; what all have only makes it cheap. */
static void prune(struct world *w, struct node *node)
{
    bool far = chance(w, 500) && !w->with_losses;
    struct view view = look(node->store, NULL);
    struct clock limit = {0};
    clock_copy(&limit, &view.clock);
    for (size_t i = 0; i < w->node_count && !far; i++) {
        struct view other = look(w->nodes[i].store, NULL);
        clock_meet(&limit, &other.clock);
        look_away(&other);
    }
    for (size_t i = 0; i < view.clock.count; i++) {
        const struct replica_id *id = &view.clock.entries[i].replica;
        uint64_t low = clock_get(&view.floor, id), high = clock_get(&limit, id);
        clock_set(&limit, id, high > low ? low + pick(w, (size_t)(high - low) + 1) : low);
    }
    look_away(&view);
    if (kit_prune(node->store, &limit) != OK)
        bad(w, "pruning failed", node->id, 0);
    clock_done(&limit);
}

/* ---- damage, and comparing ------------------------------------------------------------ */

static void set_bytes(struct node *node, struct bytes key, struct bytes value)
{
    struct engine *engine = node->engine;
    struct engine_txn *txn;
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_RECORDS, key, value), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
}

static struct store_work *record_of(struct node *from, enum work_kind kind, struct bytes key)
{
    struct store_work *work = store_work_new(kind);
    struct view view = look(from->store, NULL);
    struct bytes bytes = {0};
    enum err err = snapshot_record_bytes(view.snapshot, key, &bytes);
    assert_true(err == OK || err == ERR_NOT_FOUND);
    memcpy(work->repair.key, key.data, work->repair.key_len = key.len);
    buf_init(&work->repair.record, bytes.len);
    if (err == OK)
        buf_put_bytes(&work->repair.record, bytes);
    clock_copy(&work->repair.source_clock, &view.clock);
    clock_copy(&work->repair.source_floor, &view.floor);
    look_away(&view);
    return work;
}

/* A record of a becomes unreadable and is put back from b's; where b lacks
 * operations on it the damage has not happened. */
static void damage_and_repair(struct world *w, struct node *a, struct node *b)
{
    struct bytes key = bytes_str(key_names[pick(w, w->key_count)]), bytes;
    struct buf before;
    if (kit_walking(b->store))
        return;
    struct view view = look(a->store, NULL);
    buf_init(&before, 1 << 20);
    bool there = snapshot_record_bytes(view.snapshot, key, &bytes) == OK;
    if (there)
        buf_put_bytes(&before, bytes);
    look_away(&view);
    if (there) {
        struct store_work *work = record_of(b, WORK_REPAIR, key);
        set_bytes(a, key, bytes_str("nothing that could be read"));
        enum err err = kit_run(a->store, work);
        note(w, err);
        if (err == ERR_BEHIND)
            set_bytes(a, key, buf_bytes(&before));
        else if (err != OK || !work->repair.changed || work->repair.lost)
            bad(w, "a damaged record is not repaired", a->id, err);
        else
            w->result.repaired++;
        store_work_free(work);
    }
    buf_done(&before);
}

static bool is_settled(const struct view *view)
{
    bool settled;
    assert_int_equal(snapshot_is_settled(view->snapshot, &settled), OK);
    return settled;
}

static uint64_t digest_of(const struct view *view)
{
    static const struct digest_limits limits = {.records = 1000, .bytes = 1 << 20};
    struct range_digest digest;
    uint8_t through[KEY_MAX];
    size_t through_len;
    bool end;
    assert_int_equal(snapshot_digest(view->snapshot, bytes_of(NULL, 0), bytes_of(NULL, 0), &limits, &digest,
                                     through, &through_len, &end, NULL, NULL),
                     OK);
    assert_true(end);
    return digest.hash;
}

/* At equal clocks two nodes hold equal versions, and there is nothing to mend. */
static void compare(struct world *w, struct node *a, struct node *b)
{
    struct view ours = look(a->store, NULL), theirs = look(b->store, NULL);
    bool equal = clock_equal(&ours.clock, &theirs.clock) && is_settled(&ours) && is_settled(&theirs);
    if (equal && digest_of(&ours) != digest_of(&theirs))
        bad(w, "equal clocks and different versions", a->id, b->id);
    w->result.compared += equal;
    look_away(&ours), look_away(&theirs);
    if (!equal)
        return;
    struct bytes key = bytes_str(key_names[pick(w, w->key_count)]);
    struct store_work *work = record_of(b, WORK_MEND, key);
    enum err err = kit_run(a->store, work);
    if (err != OK || work->repair.changed)
        bad(w, "mended what was whole", a->id, err);
    store_work_free(work);
}

/* ---- deaths and old states -------------------------------------------------------- */

static void save(struct world *w, struct node *node)
{
    if (node->saved_count == SAVED_MAX)
        return;
    node->saved[node->saved_count++] = engine_mem_clone(node->engine);
}

static void forget_saved(struct node *node)
{
    while (node->saved_count) {
        struct engine *engine = node->saved[--node->saved_count];
        engine->ops->close(engine);
    }
}

/* What was put again under the new id is operations of the new id: one a key, as
 * each write replaced all that the node held. */
static void put_again(struct world *w, struct node *node, const struct set sights[KEYS_MAX])
{
    struct view view = look(node->store, NULL);
    struct dot after = {.replica = kit_id(node->id)};
    struct row_scan *scan = NULL;
    struct row row;
    assert_int_equal(row_scan_open(view.snapshot, &after, &scan), OK);
    while (row_scan_next(scan, &row) == OK && replica_id_equal(&row.dot.replica, &after.replica)) {
        size_t key = (size_t)(row.key.data[1] - '0');
        assert_int_equal(snapshot_record(view.snapshot, row.key, &view.record), OK);
        record_op(w, node, key, &row.dot, record_find(&view.record, &row.dot) >= 0, &sights[key]);
    }
    row_scan_close(scan);
    look_away(&view);
}

/* Deletes above the fork that are forgotten, row and record: all of them stand below the first
 * operation of the new id, which has no row (store/reidentify.c). */
static void forgotten_again(struct world *w, struct node *node, const struct set sights[KEYS_MAX],
                            const bool deleted[KEYS_MAX])
{
    struct view view = look(node->store, NULL);
    struct dot first = {.replica = kit_id(node->id), .counter = 1};
    for (size_t key = 0; key < w->key_count && clock_covers_dot(&view.floor, &first); key++) {
        if (!deleted[key] || snapshot_record(view.snapshot, bytes_str(key_names[key]), &view.record) == OK)
            continue;
        assert_true(w->op_count < OPS_MAX);
        w->ops[w->op_count++] = (struct op){.dot = first, .key = key, .removed = sights[key]};
    }
    look_away(&view);
}

/* An older state of itself: acknowledged operations are lost, or others have
 * them already. It writes a little before it learns that it is old. */
static void fall_back(struct world *w, struct node *node)
{
    struct engine *old = engine_mem_clone(node->saved[pick(w, node->saved_count)]);
    forget_saved(node);
    store_close(node->store);
    node->engine = old;
    node->store = kit_store_on(old, ++w->ids);
    struct view view = look(node->store, NULL);
    struct identity identity = {0};
    assert_int_equal(snapshot_identity(view.snapshot, &identity), OK);
    struct replica_id old_id = identity.id;
    uint64_t fork = clock_get(&view.clock, &old_id);
    identity_done(&identity);
    look_away(&view);
    stop_walk(w, node);
    if (w->weaken == DRIVER_REUSE)
        return;

    struct set sights[KEYS_MAX];
    for (size_t key = 0; key < w->key_count; key++) {
        view = look(node->store, key_names[key]);
        sights[key] = sight(w, &view, key);
        look_away(&view);
    }
    bool deleted[KEYS_MAX] = {false};
    for (size_t n = pick(w, 4); n > 0; n--) {
        size_t key = pick(w, w->key_count);
        deleted[key] = chance(w, 300);
        enum err err = deleted[key] ? kit_delete(node->store, key_names[key], NULL, NULL)
                                    : kit_put(node->store, key_names[key], "again", NULL, NULL);
        if (err != OK)
            bad(w, err_text(err), node->id, 2);
    }
    if (chance(w, 300)) { /* all is forgotten before it has heard that it is old */
        view = look(node->store, NULL);
        if (kit_prune(node->store, &view.clock) != OK)
            bad(w, "pruning failed", node->id, 1);
        look_away(&view);
    }
    struct store_work *work = store_work_new(WORK_REIDENTIFY);
    work->reidentify.old_id = old_id;
    work->reidentify.new_id = kit_id(w->ids);
    work->reidentify.fork = fork;
    work->reidentify.parted = UINT64_MAX;
    if (kit_do(node->store, work) != OK)
        bad(w, "no new identity", node->id, 0);
    node->id = w->ids;
    put_again(w, node, sights);
    forgotten_again(w, node, sights, deleted);
}

/* What is put again removes what the node had removed: not what it still holds, nor operations of
 * the old id that it claims no more, and others may have. */
static void unsee(struct world *w, struct node *node, const struct replica_id *old_id,
                  struct set sights[KEYS_MAX])
{
    for (size_t i = 0; i < w->op_count; i++) {
        const struct op *op = &w->ops[i];
        struct view view = look(node->store, key_names[op->key]);
        bool given_up = replica_id_equal(&op->dot.replica, old_id) &&
                        !clock_covers_dot(&view.clock, &op->dot);
        if (given_up || record_find(&view.record, &op->dot) >= 0)
            exclude(&sights[op->key], i);
        look_away(&view);
    }
}

/* What the others' clocks tell of the id: the highest of them. */
static uint64_t told_of(struct world *w, const struct node *node, const struct replica_id *id)
{
    uint64_t told = 0;
    for (size_t i = 0; i < w->node_count; i++) {
        struct view view = look(w->nodes[i].store, NULL);
        uint64_t theirs = &w->nodes[i] == node ? 0 : clock_get(&view.clock, id);
        told = theirs > told ? theirs : told;
        look_away(&view);
    }
    return told;
}

/* A copy of it is said to have parted from it at an earlier operation than it did, or has not
 * written at all: all above is put again under a new id, and others have it under the old one too. */
static void doubt(struct world *w, struct node *node)
{
    struct replica_id old_id = kit_id(node->id);
    struct set sights[KEYS_MAX];
    bool deleted[KEYS_MAX] = {false};
    struct view view = look(node->store, NULL);
    uint64_t counter = clock_get(&view.clock, &old_id);
    uint64_t fork = counter - pick(w, (size_t)(counter < 5 ? counter : 5) + 1);
    look_away(&view);
    if (kit_walking(node->store))
        return;
    for (size_t key = 0; key < w->key_count; key++) {
        view = look(node->store, key_names[key]);
        sights[key] = sight(w, &view, key);
        look_away(&view);
    }
    for (size_t i = 0; i < w->op_count; i++)
        deleted[w->ops[i].key] |= !w->ops[i].value && w->ops[i].dot.counter > fork &&
                                  replica_id_equal(&w->ops[i].dot.replica, &old_id);
    struct store_work *work = store_work_new(WORK_REIDENTIFY);
    work->reidentify.old_id = old_id;
    work->reidentify.new_id = kit_id(++w->ids);
    work->reidentify.fork = fork;
    work->reidentify.parted = UINT64_MAX;
    work->reidentify.told = chance(w, 500) ? told_of(w, node, &old_id) : 0;
    if (fork < counter && chance(w, 300)) { /* it was retired, and of one of these others know */
        uint64_t known = fork + 1 + pick(w, (size_t)(counter - fork));
        work->reidentify.known = mem_copy(&known, sizeof known);
        work->reidentify.known_count = 1;
    }
    if (kit_do(node->store, work) != OK)
        bad(w, "no new identity", node->id, 0);
    node->id = w->ids;
    unsee(w, node, &old_id, sights);
    put_again(w, node, sights);
    forgotten_again(w, node, sights, deleted);
}

static void drop_node(struct world *w, size_t index)
{
    forget_saved(&w->nodes[index]);
    store_close(w->nodes[index].store);
    w->nodes[index] = w->nodes[--w->node_count];
}

/* ---- the oracle --------------------------------------------------------------------- */

/* A clock may claim only what was applied. */
static void check_claims(struct world *w, const struct set *dead)
{
    for (size_t n = 0; n < w->node_count; n++) {
        struct set held[KEYS_MAX];
        struct view view;
        for (size_t key = 0; key < w->key_count; key++) {
            view = look(w->nodes[n].store, key_names[key]);
            held[key] = versions_of(w, &view.record, w->nodes[n].id);
            look_away(&view);
        }
        view = look(w->nodes[n].store, NULL);
        for (size_t i = 0; i < w->op_count; i++) {
            const struct op *op = &w->ops[i];
            if (!clock_covers_dot(&view.clock, &op->dot))
                continue;
            for (size_t g = 0; g < w->op_count; g++)
                if (has(&op->removed, g) && has(&held[op->key], g))
                    bad(w, "claims an operation but has what it removed", w->nodes[n].id, i);
            if (op->value && !has(&held[op->key], i) && !has(dead, i))
                bad(w, "claims an operation but lacks its version", w->nodes[n].id, i);
        }
        look_away(&view);
    }
}

static struct set all_removed(const struct world *w)
{
    struct set set = {0};
    for (size_t i = 0; i < w->op_count; i++)
        unite(&set, &w->ops[i].removed);
    return set;
}

static bool known_to_some_clock(struct world *w, const struct dot *dot)
{
    bool known = false;
    for (size_t n = 0; n < w->node_count; n++) {
        struct view view = look(w->nodes[n].store, NULL);
        known |= clock_covers_dot(&view.clock, dot);
        look_away(&view);
    }
    return known;
}

static void check_node_at_end(struct world *w, struct node *node, const struct set *lost)
{
    struct node *first = &w->nodes[0];
    struct set removed = all_removed(w), surely = {0};
    for (size_t i = 0; i < w->op_count; i++)
        if (!has(lost, i))
            unite(&surely, &w->ops[i].removed);
    for (size_t key = 0; key < w->key_count; key++) {
        struct view view = look(node->store, key_names[key]), other = look(first->store, key_names[key]);
        struct set held = versions_of(w, &view.record, node->id),
                   there = versions_of(w, &other.record, first->id);
        for (size_t i = 0; i < w->op_count; i++) {
            const struct op *op = &w->ops[i];
            if (op->key != key || !op->value)
                continue;
            if (has(&held, i) != has(&there, i))
                bad(w, "two replicas hold different versions", node->id, i);
            if (!has(&held, i) && !has(&removed, i) && !has(lost, i))
                bad(w, "a version is gone that nobody removed", node->id, i);
            if (has(&held, i) && has(&surely, i))
                bad(w, "a removed version is back", node->id, i);
        }
        if (!clock_equal(&view.clock, &other.clock))
            bad(w, "clocks differ", node->id, 0);
        if (!clock_covers(&view.clock, &view.floor))
            bad(w, "a floor stands above its clock", node->id, 0);
        look_away(&view), look_away(&other);
    }
}

static void count_row(void *ctx, const struct row *row)
{
    (*(size_t *)ctx)++;
}

/* With all floors raised a deleted key costs nothing, unless operations of a
 * replica that is gone are stranded above the clocks: an operator retires it. */
static void check_no_traces(struct world *w)
{
    size_t stranded = 0;
    for (size_t n = 0; n < w->node_count; n++) {
        struct view view = look(w->nodes[n].store, NULL);
        assert_int_equal(snapshot_rows_ahead(view.snapshot, 1000, count_row, &stranded), OK);
        look_away(&view);
    }
    for (size_t n = 0; n < w->node_count; n++) {
        struct node *node = &w->nodes[n];
        struct view view = look(node->store, NULL);
        if (kit_prune(node->store, &view.clock) != OK)
            bad(w, "pruning failed", node->id, 0);
        look_away(&view);
        size_t living = 0;
        for (size_t key = 0; key < w->key_count; key++)
            living += kit_versions(node->store, key_names[key]) > 0;
        if (!stranded && (kit_rows(node->store) || kit_keys(node->store) != living))
            bad(w, "deleted keys still cost space", node->id, kit_keys(node->store) - living);
    }
}

/* ---- the run -------------------------------------------------------------------------- */

static uint64_t signature(struct world *w)
{
    uint64_t sum = 0;
    for (size_t n = 0; n < w->node_count; n++) {
        struct view view = look(w->nodes[n].store, NULL);
        struct scan *scan = NULL;
        struct bytes key, record;
        assert_int_equal(scan_open(view.snapshot, bytes_of("", 0), &scan), OK);
        while (scan_next(scan, &key, &record) == OK)
            for (size_t i = 0; i < record.len; i++)
                sum = (sum ^ record.data[i]) * 0x100000001b3;
        sum = (sum ^ clock_sum(&view.clock)) * 0x100000001b3;
        scan_close(scan);
        look_away(&view);
    }
    return sum;
}

/* Faults off: all must agree once nothing moves any more. */
static void settle(struct world *w)
{
    uint64_t before = 0, now = signature(w);
    for (size_t turn = 0; turn < TURNS_MAX && (before != now || turn < 2) && w->result.fine; turn++) {
        struct node *sources[NODES_MAX];
        for (size_t n = 0; n < w->node_count; n++) {
            struct node *a = &w->nodes[n];
            while (kit_walking(a->store) && w->result.fine) {
                size_t count = sources_of(w, a, false, sources);
                walk_step(w, a, sources, count ? count : sources_of(w, a, true, sources));
            }
        }
        for (size_t n = 0; n < w->node_count * w->node_count; n++) {
            struct node *a = &w->nodes[n / w->node_count], *b = &w->nodes[n % w->node_count];
            if (a == b || delta(w, a, b, false))
                continue;
            assert_int_equal(kit_walk_start(a->store), OK);
            while (kit_walking(a->store) && w->result.fine)
                walk_step(w, a, &b, 1);
        }
        before = now;
        now = signature(w);
    }
    if (before != now)
        bad(w, "it does not settle", 0, TURNS_MAX);
    note(w, now);
}

static void one_step(struct world *w)
{
    size_t i = pick(w, w->node_count), j = pick(w, w->node_count - 1);
    struct node *a = &w->nodes[i], *b = &w->nodes[j + (j >= i)];
    size_t x = pick(w, 1000);
    if (w->with_losses && chance(w, 100))
        save(w, a);
    note(w, x);
    if (w->with_doubts && w->op_count < OPS_MAX / 2 && chance(w, 80))
        doubt(w, a);
    if (!w->with_losses && chance(w, 100))
        damage_and_repair(w, a, b);
    if (!w->with_losses && chance(w, 200))
        compare(w, a, b);
    if (x < 350)
        client_writes(w, a);
    else if (x < 700)
        delta(w, a, b, true);
    else if (x < 820)
        prune(w, a);
    else if (x < 920)
        walk_some(w, a, b);
    else if (x < 940)
        stop_walk(w, a);
    else if (x < 960 && w->with_losses && a->saved_count)
        fall_back(w, a);
    else if (x < 965 && x >= 960 && w->with_losses && w->node_count > 2)
        drop_node(w, i);
}

struct world_result world_run(uint64_t seed, enum driver_weaken weaken)
{
    struct world *w = mem_new(sizeof *w);
    rng_init(&w->rng, seed);
    w->weaken = weaken;
    w->result.fine = true;
    w->with_tokens = seed % 2 == 0;
    w->with_losses = seed % 3 == 0;
    w->with_doubts = seed % 4 == 1;
    w->key_count = 1 + pick(w, KEYS_MAX);
    w->node_count = 2 + pick(w, NODES_MAX - 1);
    for (size_t n = 0; n < w->node_count; n++) {
        struct engine *engine = engine_mem_new();
        w->nodes[n] = (struct node){.engine = engine, .id = ++w->ids};
        w->nodes[n].store = kit_store_on(engine, w->ids);
    }
    size_t steps = 10 + pick(w, 111);
    for (w->step = 0; w->step < steps && w->result.fine; w->step++) {
        one_step(w);
        struct set dead = all_removed(w);
        check_claims(w, &dead);
    }
    settle(w);

    struct set lost = {0}; /* died with a disk; parts of them may live on */
    for (size_t i = 0; i < w->op_count; i++)
        if (!known_to_some_clock(w, &w->ops[i].dot))
            include(&lost, i);
    for (size_t n = 0; n < w->node_count && w->result.fine; n++)
        check_node_at_end(w, &w->nodes[n], &lost);
    if (w->result.fine)
        check_no_traces(w);

    struct world_result result = w->result;
    for (size_t i = 0; i < w->token_count; i++)
        token_done(&w->tokens[i].token);
    while (w->node_count)
        drop_node(w, w->node_count - 1);
    free(w);
    return result;
}
