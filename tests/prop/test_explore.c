/* Small worlds, all of them: three replicas, two keys, a few operations, one replica
 * that is away, is forgotten and returns; every order of writes, of single rows sent,
 * of prunings, of pieces of walks. The real store does each step; what it makes of a
 * replica is kept by its content, so that a step is done once however many worlds
 * take it. It goes on until there is no new state.
 *
 *   test_explore rows|links|one-key OPERATIONS FEWEST  fails under so many worlds
 *   test_explore_weakened links OPERATIONS 0 RULE      must find a world that is wrong
 *
 * "rows": each row is sent by itself. "links": what a peer lacks is sent in one step. "one-key":
 * the same with a single key, which leaves room for one operation more.
 *
 * In each state: a clock claims only what was applied, what it claims as removed is
 * not held, a floor is not above its clock, and something can move unless all is the
 * same. Where all clocks are equal, all hold exactly what nobody removed; and where all
 * floors are too, a deleted key has left nothing.
 *
 * The first operation is at the first replica and the first key: others are the same
 * world under other names. Stamps decide nothing here and are left out. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "crc.h"
#include "mem.h"
#include "storekit.h"
#include "weaken.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPLICAS = 3, KEYS = 2, OPS_MAX = 4, DOTS = REPLICAS * OPS_MAX, NONE = -1 };

static const char *const key_names[KEYS] = {"a", "b"};

/* ---- tables: contents and steps, by number ---------------------------------------- */

struct numbers { /* of entries of one size, each once */
    uint8_t *entries;
    size_t size, count, room;
    uint32_t *slots; /* number + 1; 0 is free */
    size_t slot_count;
};

static uint64_t hash_of(const void *data, size_t len)
{
    uint64_t hash = 0x9e3779b97f4a7c15u;
    const uint8_t *at = data;
    for (; len >= 4; at += 4, len -= 4) {
        uint32_t word;
        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

static void table_rehash(struct numbers *t, size_t slot_count)
{
    free(t->slots);
    t->slot_count = slot_count;
    t->slots = mem_new(slot_count * sizeof *t->slots);
    for (size_t i = 0; i < t->count; i++) {
        size_t slot = hash_of(t->entries + i * t->size, t->size) & (slot_count - 1);
        while (t->slots[slot])
            slot = (slot + 1) & (slot_count - 1);
        t->slots[slot] = (uint32_t)i + 1;
    }
}

/* The number of an entry; a new one is added. */
static uint32_t table_of(struct numbers *t, const void *entry, bool *ret_new)
{
    if (t->count * 2 >= t->slot_count)
        table_rehash(t, t->slot_count ? 2 * t->slot_count : 1024);
    size_t slot = hash_of(entry, t->size) & (t->slot_count - 1);
    for (; t->slots[slot]; slot = (slot + 1) & (t->slot_count - 1)) {
        if (memcmp(t->entries + (t->slots[slot] - 1) * t->size, entry, t->size) == 0) {
            *ret_new = false;
            return t->slots[slot] - 1;
        }
    }
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 1024;
        t->entries = mem_grow(t->entries, t->room * t->size);
    }
    memcpy(t->entries + t->count * t->size, entry, t->size);
    t->slots[slot] = (uint32_t)++t->count;
    *ret_new = true;
    return (uint32_t)t->count - 1;
}

static void table_done(struct numbers *t)
{
    free(t->entries);
    free(t->slots);
    *t = (struct numbers){.size = t->size};
}

/* ---- replicas: one entry for each content ------------------------------------------ */

struct content { /* what a table compares; dots as bits */
    uint32_t who;
    uint32_t held[KEYS], known[KEYS]; /* versions; contexts, as their highest counters */
    uint32_t rows[KEYS];
    uint32_t records;                       /* keys that have one */
    uint32_t clock, floor, low, high, last; /* vectors: a byte a replica */
    uint32_t phase, after, row_after, has_low;
};

struct world { /* what a table compares */
    uint32_t replicas[REPLICAS];
    uint32_t log, away; /* away: 0 nobody yet; 1 to 3: that one; 4: it is back */
};

struct step {
    uint32_t what, a, b, c;
};

/* What was done so far. */
struct log {
    uint32_t count;
    struct {
        uint32_t dot, key, put, removed; /* dot: a bit; removed: bits */
    } ops[OPS_MAX];
};

static struct explorer {
    unsigned op_count;
    struct numbers contents, worlds, steps, logs;
    struct engine **engines; /* of the contents */
    size_t engine_room;
    uint32_t *results; /* of the steps */
    uint32_t *dots;    /* of writes: the bit of their dot, and what they removed */
    uint32_t *removed;
    size_t result_room;
    uint64_t moves;
    size_t at; /* the world that is looked at */
    bool wrong;
    bool no_floor;
    bool one_key;
    bool coarse; /* all that a peer lacks is sent in one step, not row by row */
} x;

static void wrong(const char *what, size_t replica)
{
    if (!x.wrong)
        printf("world %zu, replica %zu: %s\n", x.at, replica, what);
    x.wrong = true;
}

static uint32_t replica_of(const struct replica_id *id)
{
    for (unsigned i = 0; i < REPLICAS; i++) {
        struct replica_id other = kit_id(i + 1);
        if (replica_id_equal(id, &other))
            return i;
    }
    fail();
    return 0;
}

static uint32_t bit_of(const struct dot *dot)
{
    assert_true(dot->counter >= 1 && dot->counter <= OPS_MAX);
    return 1u << (replica_of(&dot->replica) * OPS_MAX + (uint32_t)dot->counter - 1);
}

static uint32_t vector_of(const struct clock *clock)
{
    uint32_t vector = 0;
    for (size_t i = 0; i < clock->count; i++)
        vector |= (uint32_t)clock->entries[i].counter << (8 * replica_of(&clock->entries[i].replica));
    return vector;
}

static uint32_t counter_in(uint32_t vector, unsigned replica)
{
    return vector >> (8 * replica) & 255;
}

static bool covers(uint32_t a, uint32_t b)
{
    for (unsigned i = 0; i < REPLICAS; i++)
        if (counter_in(a, i) < counter_in(b, i))
            return false;
    return true;
}

/* All dots at or below a vector, as bits. */
static uint32_t bits_below(uint32_t vector)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < REPLICAS; i++)
        bits |= ((1u << counter_in(vector, i)) - 1) << (i * OPS_MAX);
    return bits;
}

static unsigned key_of(struct bytes key)
{
    return bytes_equal(key, bytes_str(key_names[0])) ? 0 : 1;
}

static void read_walk(struct snapshot *snapshot, struct content *c)
{
    struct walk_state walk = {0};
    assert_int_equal(snapshot_walk(snapshot, &walk), OK);
    c->phase = (uint32_t)walk.phase;
    if (walk.phase != WALK_NONE) {
        c->after = walk.after_len ? 1 + key_of(bytes_of(walk.after, walk.after_len)) : 0;
        c->row_after = walk.row_after.counter ? bit_of(&walk.row_after) : 0;
        c->has_low = walk.has_low;
        c->low = vector_of(&walk.low);
        c->high = vector_of(&walk.high);
        c->last = vector_of(&walk.last);
    }
    walk_state_done(&walk);
}

static struct content read_content(struct store *store, uint32_t who)
{
    struct content c = {.who = who};
    struct snapshot *snapshot;
    struct clock clock = {0}, floor = {0};
    struct row_scan *rows;
    struct row row;
    assert_int_equal(snapshot_open(store, &snapshot), OK);
    assert_int_equal(snapshot_clock(snapshot, &clock, &floor), OK);
    c.clock = vector_of(&clock);
    c.floor = vector_of(&floor);
    clock_done(&clock), clock_done(&floor);
    for (unsigned k = 0; k < KEYS; k++) {
        struct record record = {0};
        enum err err = snapshot_record(snapshot, bytes_str(key_names[k]), &record);
        assert_true(err == OK || err == ERR_NOT_FOUND);
        c.records |= (err == OK) << k;
        for (size_t i = 0; i < record.count; i++)
            c.held[k] |= bit_of(&record.versions[i].dot);
        c.known[k] = vector_of(&record.context);
        record_done(&record);
    }
    assert_int_equal(row_scan_open(snapshot, &(struct dot){0}, &rows), OK);
    while (row_scan_next(rows, &row) == OK)
        c.rows[key_of(row.key)] |= bit_of(&row.dot);
    row_scan_close(rows);
    read_walk(snapshot, &c);
    snapshot_close(snapshot);
    return c;
}

static const struct content *content_at(uint32_t number)
{
    return (const struct content *)x.contents.entries + number;
}

/* Takes the store; keeps its engine when the content is new. */
static uint32_t intern(struct store *store, struct engine *engine, uint32_t who)
{
    struct content content = read_content(store, who);
    bool new;
    uint32_t number = table_of(&x.contents, &content, &new);
    if (new) {
        if (number >= x.engine_room) {
            x.engine_room = x.engine_room ? 2 * x.engine_room : 1024;
            x.engines = mem_grow(x.engines, x.engine_room * sizeof(struct engine *));
        }
        x.engines[number] = engine_mem_clone(engine);
    }
    store_close(store);
    return number;
}

struct live { /* a store over a copy of a content's engine */
    struct engine *engine;
    struct store *store;
};

static struct live live(uint32_t number)
{
    struct live l = {.engine = engine_mem_clone(x.engines[number])};
    l.store = kit_store_on(l.engine, content_at(number)->who + 1);
    return l;
}

/* ---- steps, each done once by the real store ------------------------------------------ */

enum what {
    SEND,
    SEND_AHEAD = SEND + REPLICAS,
    SEND_ALL,
    WALK_START,
    WALK_PIECE,
    PRUNE,
    PUT,
    DELETE = PUT + KEYS
};

struct ahead {
    struct store_work *work;
    struct snapshot *snapshot;
};

static void ahead_row(void *ctx, const struct row *row)
{
    struct ahead *ahead = ctx;
    kit_add_row(ahead->work, ahead->snapshot, row);
}

static void send_ahead(struct store *to, struct store *from)
{
    struct ahead ahead = {.work = kit_rows_work(WORK_AHEAD)};
    assert_int_equal(snapshot_open(from, &ahead.snapshot), OK);
    assert_int_equal(snapshot_rows_ahead(ahead.snapshot, 100, ahead_row, &ahead), OK);
    snapshot_close(ahead.snapshot);
    (void)!kit_do(to, ahead.work);
}

static void prune(struct store *store, uint32_t target)
{
    struct clock clock = {0};
    for (unsigned i = 0; i < REPLICAS; i++) {
        struct replica_id id = kit_id(i + 1);
        clock_set(&clock, &id, counter_in(target, i));
    }
    assert_int_equal(kit_prune(store, &clock), OK);
    clock_done(&clock);
}

/* What the step makes of replica a. */
static uint32_t take(const struct step *step, uint32_t *ret_dot, uint32_t *ret_removed)
{
    struct live a = live(step->a), b = {0};
    uint32_t who = content_at(step->a)->who;
    struct replica_id origin;
    struct dot dot = {0};
    enum err err = OK;
    if (step->what < PRUNE && step->what != WALK_START)
        b = live(step->b);
    switch (step->what) {
    case SEND:
    case SEND + 1:
    case SEND + 2:
        origin = kit_id(step->what - SEND + 1);
        err = kit_send(b.store, a.store, &origin, 1, !x.no_floor);
        break;
    case SEND_ALL: /* as a link does that nothing breaks */
        for (unsigned i = 0; i < REPLICAS && err == OK; i++) {
            origin = kit_id(i + 1);
            err = kit_send(b.store, a.store, &origin, OPS_MAX, !x.no_floor);
        }
        send_ahead(a.store, b.store);
        break;
    case SEND_AHEAD:
        send_ahead(a.store, b.store);
        break;
    case WALK_START:
        err = kit_walk_start(a.store);
        break;
    case WALK_PIECE:
        err = kit_walk_piece(a.store, b.store, content_at(step->a)->phase == WALK_ROWS ? DOTS : 1);
        break;
    case PRUNE:
        prune(a.store, step->b);
        break;
    case PUT:
    case PUT + 1:
        err = kit_put(a.store, key_names[step->what - PUT], "v", NULL, &dot);
        break;
    default:
        err = kit_delete(a.store, key_names[step->what - DELETE], NULL, &dot);
    }
    if (err != OK && err != ERR_FLOOR && err != ERR_WALKING && err != ERR_REFUSED)
        wrong(err_text(err), who);
    *ret_dot = dot.counter && err == OK ? bit_of(&dot) : 0;
    if (b.store)
        store_close(b.store);
    uint32_t result = intern(a.store, a.engine, who);
    unsigned key = step->what >= DELETE ? step->what - DELETE : step->what - PUT;
    *ret_removed = *ret_dot ? content_at(step->a)->held[key] & ~content_at(result)->held[key] : 0;
    return result;
}

static uint32_t step(struct step s, uint32_t *ret_dot, uint32_t *ret_removed)
{
    bool new;
    uint32_t number = table_of(&x.steps, &s, &new), dot, removed;
    if (new) {
        uint32_t result = take(&s, &dot, &removed);
        if (number >= x.result_room) {
            x.result_room = x.result_room ? 2 * x.result_room : 1024;
            x.results = mem_grow(x.results, x.result_room * sizeof *x.results);
            x.dots = mem_grow(x.dots, x.result_room * sizeof *x.dots);
            x.removed = mem_grow(x.removed, x.result_room * sizeof *x.removed);
        }
        x.results[number] = result;
        x.dots[number] = dot;
        x.removed[number] = removed;
    }
    if (ret_dot)
        *ret_dot = x.dots[number];
    if (ret_removed)
        *ret_removed = x.removed[number];
    return x.results[number];
}

/* ---- worlds ------------------------------------------------------------------------------ */

static bool present(const struct world *w, unsigned i)
{
    return w->away != i + 1;
}

/* Adds what replica a becomes; true when it became another. */
static bool move_to(const struct world *w, unsigned a, uint32_t number)
{
    bool new;
    x.moves++;
    if (w->replicas[a] == number)
        return false;
    struct world next = *w;
    next.replicas[a] = number;
    table_of(&x.worlds, &next, &new);
    return true;
}

static void operate(const struct world *w, unsigned a)
{
    struct log log = ((const struct log *)x.logs.entries)[w->log];
    if (log.count == x.op_count || (log.count == 0 && a != 0))
        return;
    for (unsigned what = PUT; what < DELETE + KEYS; what++) {
        unsigned key = what >= DELETE ? what - DELETE : what - PUT;
        uint32_t dot, removed;
        bool new;
        if ((log.count == 0 || x.one_key) && key != 0)
            continue;
        uint32_t number = step((struct step){.what = what, .a = w->replicas[a]}, &dot, &removed);
        if (!dot)
            continue; /* deletes nothing, or a walk hides the key */
        struct log longer = log;
        uint32_t at = longer.count++;
        for (; at > 0 && longer.ops[at - 1].dot > dot; at--) /* by dot: the order of far ones is no news */
            longer.ops[at] = longer.ops[at - 1];
        longer.ops[at].dot = dot;
        longer.ops[at].key = key;
        longer.ops[at].put = what < DELETE;
        longer.ops[at].removed = removed;
        struct world next = *w;
        next.replicas[a] = number;
        next.log = table_of(&x.logs, &longer, &new);
        x.moves++;
        table_of(&x.worlds, &next, &new);
    }
}

/* What a may get of the others; true when something of it changes a. */
static bool receive(const struct world *w, unsigned a)
{
    const struct content own = *content_at(w->replicas[a]);
    bool moved = false, needs_walk = false, served = false;
    for (unsigned b = 0; b < REPLICAS; b++) {
        if (a == b || !present(w, a) || !present(w, b) || content_at(w->replicas[b])->phase != WALK_NONE)
            continue;
        uint32_t floor = content_at(w->replicas[b])->floor;
        if (own.phase != WALK_NONE) {
            served |= move_to(
                w, a,
                step((struct step){.what = WALK_PIECE, .a = w->replicas[a], .b = w->replicas[b]}, NULL,
                     NULL));
            continue;
        }
        if (!covers(own.clock, floor) && !x.no_floor) {
            needs_walk = true;
            continue;
        }
        for (unsigned what = x.coarse ? SEND_ALL : SEND; what <= (x.coarse ? SEND_ALL : SEND_AHEAD); what++)
            moved |= move_to(
                w, a,
                step((struct step){.what = what, .a = w->replicas[a], .b = w->replicas[b]}, NULL, NULL));
    }
    bool starts_over = own.phase != WALK_NONE && !served && present(w, a);
    if (needs_walk || starts_over)
        moved |= move_to(w, a, step((struct step){.what = WALK_START, .a = w->replicas[a]}, NULL, NULL));
    return moved || served || starts_over;
}

/* To what all that are expected back have: the one that is away is not. */
static void forget(const struct world *w, unsigned a)
{
    uint32_t target = content_at(w->replicas[a])->clock;
    if (content_at(w->replicas[a])->phase != WALK_NONE)
        return;
    for (unsigned b = 0; b < REPLICAS; b++) {
        uint32_t clock = content_at(w->replicas[b])->clock, met = 0;
        if (a == b || !present(w, a) || !present(w, b))
            continue; /* the one away expects nobody */
        for (unsigned i = 0; i < REPLICAS; i++) {
            uint32_t least = counter_in(target, i) < counter_in(clock, i) ? counter_in(target, i)
                                                                          : counter_in(clock, i);
            met |= least << (8 * i);
        }
        target = met;
    }
    if (!covers(content_at(w->replicas[a])->floor, target))
        move_to(w, a, step((struct step){.what = PRUNE, .a = w->replicas[a], .b = target}, NULL, NULL));
}

static void come_and_go(const struct world *w)
{
    bool new;
    for (uint32_t i = 1; i <= REPLICAS && w->away == 0; i++) {
        struct world next = *w;
        next.away = i;
        table_of(&x.worlds, &next, &new);
    }
    if (w->away >= 1 && w->away <= REPLICAS) {
        struct world next = *w;
        next.away = 4;
        table_of(&x.worlds, &next, &new);
    }
}

/* ---- what must hold ------------------------------------------------------------------------ */

static void check_claims(const struct world *w, unsigned i)
{
    const struct content *c = content_at(w->replicas[i]);
    const struct log *log = (const struct log *)x.logs.entries + w->log;
    uint32_t claimed = bits_below(c->clock), puts[KEYS] = {0}, removed = 0;
    if (!covers(c->clock, c->floor))
        wrong("its floor stands above its clock", i);
    for (uint32_t k = 0; k < log->count; k++)
        removed |= log->ops[k].removed;
    for (uint32_t k = 0; k < log->count; k++) {
        puts[log->ops[k].key] |= log->ops[k].put ? log->ops[k].dot : 0;
        if (!(claimed & log->ops[k].dot))
            continue;
        if (c->held[log->ops[k].key] & log->ops[k].removed)
            wrong("claims an operation, but holds what it removed", i);
        if (log->ops[k].put && !(c->held[log->ops[k].key] & log->ops[k].dot) && !(removed & log->ops[k].dot))
            wrong("claims a put, but lacks its version, which nobody removed", i);
    }
    for (unsigned key = 0; key < KEYS; key++)
        if (c->held[key] & ~puts[key])
            wrong("holds what nobody wrote", i);
}

static void check_same(const struct world *w)
{
    const struct log *log = (const struct log *)x.logs.entries + w->log;
    uint32_t puts[KEYS] = {0}, removed = 0;
    bool forgotten = true;
    for (uint32_t k = 0; k < log->count; k++) {
        puts[log->ops[k].key] |= log->ops[k].put ? log->ops[k].dot : 0;
        removed |= log->ops[k].removed;
    }
    for (unsigned i = 0; i < REPLICAS; i++)
        forgotten &= content_at(w->replicas[i])->floor == content_at(w->replicas[i])->clock;
    for (unsigned i = 0; i < REPLICAS; i++) {
        const struct content *c = content_at(w->replicas[i]);
        for (unsigned key = 0; key < KEYS; key++) {
            if (c->held[key] != (puts[key] & ~removed))
                wrong("all clocks are equal, but it does not hold what nobody removed", i);
            if (forgotten && (c->rows[key] || (!c->held[key] && (c->records >> key & 1))))
                wrong("all is forgotten, but a deleted key costs space", i);
        }
    }
}

static void look(size_t at)
{
    struct world w = ((const struct world *)x.worlds.entries)[at];
    bool same = true, walking = false, moved = false;
    x.at = at;
    for (unsigned i = 0; i < REPLICAS; i++) {
        const struct content *c = content_at(w.replicas[i]);
        check_claims(&w, i);
        same &= c->clock == content_at(w.replicas[0])->clock;
        walking |= c->phase != WALK_NONE;
    }
    if (same && !walking)
        check_same(&w);
    for (unsigned i = 0; i < REPLICAS; i++) {
        operate(&w, i);
        moved |= receive(&w, i);
        forget(&w, i);
    }
    come_and_go(&w);
    if (!moved && (!same || walking) && (w.away == 0 || w.away > REPLICAS))
        wrong("nothing moves any more, and all is not the same", 0);
}

/* ---- the run ----------------------------------------------------------------------------------- */

static void explore(unsigned op_count)
{
    x.op_count = op_count;
    x.contents.size = sizeof(struct content);
    x.worlds.size = sizeof(struct world);
    x.steps.size = sizeof(struct step);
    x.logs.size = sizeof(struct log);
    struct world first = {0};
    struct log none = {0};
    bool new;
    for (unsigned i = 0; i < REPLICAS; i++) {
        struct engine *engine = engine_mem_new();
        first.replicas[i] = intern(kit_store_on(engine, i + 1), engine, i);
    }
    table_of(&x.logs, &none, &new);
    table_of(&x.worlds, &first, &new);
    for (size_t at = 0; at < x.worlds.count && !x.wrong; at++) {
        look(at);
        if (at % 5000000 == 4999999) {
            printf("%zu of %zu worlds so far\n", at + 1, x.worlds.count);
            fflush(stdout);
        }
    }
    printf("%u operations: %zu worlds of %zu replica states, %llu moves, %zu of them done by a store\n",
           op_count, x.worlds.count, x.contents.count, (unsigned long long)x.moves, x.steps.count);
}

static void tidy(void)
{
    for (size_t i = 0; i < x.contents.count; i++)
        x.engines[i]->ops->close(x.engines[i]);
    table_done(&x.contents);
    table_done(&x.worlds);
    table_done(&x.steps);
    table_done(&x.logs);
    free(x.engines);
    free(x.results);
    free(x.dots);
    free(x.removed);
}

static bool parse_rule(const char *rule)
{
#ifdef YZMA_WEAKEN
    static const struct {
        const char *name;
        enum weaken rule;
    } rules[] = {{"merge", WEAKEN_CLOCK}, {"early", WEAKEN_EARLY},
                 {"entry", WEAKEN_ENTRY}, {"fillstored", WEAKEN_FILL_STORED},
                 {"rows", WEAKEN_ROWS},   {"floor", WEAKEN_NOTHING}};
    x.no_floor = strcmp(rule, "floor") == 0;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (strcmp(rule, rules[i].name) == 0) {
            weakened = rules[i].rule;
            return true;
        }
    }
#endif
    (void)rule;
    return false;
}

int main(int argc, char **argv)
{
    unsigned ops = argc > 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    uint64_t fewest = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    bool expect = argc > 4;
    if (ops < 1 || ops > OPS_MAX || (expect && !parse_rule(argv[4]))) {
        printf("usage: test_explore rows|links|one-key operations fewest-worlds [rule that is off]\n");
        return 2;
    }
    x.one_key = strcmp(argv[1], "one-key") == 0;
    x.coarse = x.one_key || strcmp(argv[1], "links") == 0;
    explore(ops);
    bool good = x.wrong == expect && x.worlds.count >= fewest;
    if (x.worlds.count < fewest)
        printf("fewer than %llu: something is not looked at any more\n", (unsigned long long)fewest);
    tidy();
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
