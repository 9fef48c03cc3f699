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
 * world under other names. So are worlds in which the other two replicas have changed
 * places: of such twins only one is gone on with. The store does each step for both, and they
 * must be twins again. A replica goes away together with the first thing that it would have
 * prevented (a pruning past it, a walk begun anew): until then nothing is done that could
 * not be done with it there and silent. Stamps decide nothing here and are left out. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "keys.h"
#include "mem.h"
#include "numbers.h"
#include "small_vector.h"
#include "storekit.h"
#include "weaken.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPLICAS = 3, KEYS = 2, OPS_MAX = 4, DOTS = REPLICAS * OPS_MAX, NONE = -1 };

static const char *const key_names[KEYS] = {"a", "b"};

/* ---- replicas: one entry for each content ------------------------------------------ */

struct content { /* what a table compares; dots as bits */
    uint32_t who;
    uint32_t held[KEYS], known[KEYS]; /* versions; contexts, as their highest counters */
    uint32_t rows[KEYS];
    uint32_t records;                       /* keys that have one */
    uint32_t clock, floor, low, high, last; /* vectors: a byte a replica */
    uint32_t phase, after, row_after, has_low;
};

struct world {
    uint32_t replicas[REPLICAS];
    uint32_t log, away; /* away: 0 nobody yet; 1 to 3: that one; 4: it is back */
};

/* A world as its table has it: there are very many. */
enum { CONTENT_BITS = 24, LOG_BITS = 21 };
struct packed_world {
    uint32_t words[REPLICAS];
};

struct step {
    uint32_t what, a, b;
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
    uint32_t *twins;         /* of the contents, too: number + 1 */
    size_t engine_room;
    struct buf identities[REPLICAS]; /* as each new store has it */
    uint32_t *log_twins;
    size_t log_room;
    uint32_t *results; /* of the steps */
    uint32_t *writes;  /* of those that write: the bit of their dot, above it what they removed */
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

/* Takes the store; keeps its engine when the content is new, without the list of starts
 * that grows with each opening. */
static uint32_t intern(struct store *store, struct engine *engine, uint32_t who)
{
    struct content content = read_content(store, who);
    struct bytes name = bytes_str(META_IDENTITY), bytes;
    struct engine_txn *txn;
    bool new;
    uint32_t number = numbers_of(&x.contents, &content, &new);
    if (new) {
        assert_true(number < 1u << CONTENT_BITS);
        if (number >= x.engine_room) {
            x.engine_room = x.engine_room ? 2 * x.engine_room : 1024;
            x.engines = mem_grow(x.engines, x.engine_room * sizeof(struct engine *));
            x.twins = mem_grow(x.twins, x.engine_room * sizeof *x.twins);
        }
        x.twins[number] = 0;
        struct engine *kept = x.engines[number] = engine_mem_clone(engine);
        assert_int_equal(kept->ops->write_begin(kept, &txn), OK);
        assert_int_equal(kept->ops->get(txn, TABLE_META, name, &bytes), OK);
        if (x.identities[who].len == 0)
            buf_put_bytes(&x.identities[who], bytes);
        assert_int_equal(kept->ops->put(txn, TABLE_META, name, buf_bytes(&x.identities[who])), OK);
        assert_int_equal(kept->ops->commit(txn), OK);
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

/* ---- twins: the second and the third replica have changed places ----------------------- */

static uint32_t twin_vector(uint32_t vector)
{
    return swap_groups(vector, 8);
}

static uint32_t twin_bits(uint32_t bits)
{
    return swap_groups(bits, OPS_MAX);
}

static uint32_t twin_replica(uint32_t who)
{
    return who ? REPLICAS - who : 0;
}

static struct content twin_content(const struct content *c)
{
    struct content twin = *c;
    twin.who = twin_replica(c->who);
    for (unsigned k = 0; k < KEYS; k++) {
        twin.held[k] = twin_bits(c->held[k]);
        twin.known[k] = twin_vector(c->known[k]);
        twin.rows[k] = twin_bits(c->rows[k]);
    }
    twin.clock = twin_vector(c->clock);
    twin.floor = twin_vector(c->floor);
    twin.low = twin_vector(c->low);
    twin.high = twin_vector(c->high);
    twin.last = twin_vector(c->last);
    twin.row_after = twin_bits(c->row_after);
    return twin;
}

static uint32_t twin_of(uint32_t number)
{
    assert_true(x.twins[number]);
    return x.twins[number] - 1;
}

static void are_twins(uint32_t a, uint32_t b)
{
    struct content twin = twin_content(content_at(a));
    if (memcmp(&twin, content_at(b), sizeof twin) != 0)
        wrong("the store makes another thing of it under other names", content_at(a)->who);
    x.twins[a] = b + 1;
    x.twins[b] = a + 1;
}

static struct log twin_log(const struct log *log)
{
    struct log twin = {.count = log->count};
    for (uint32_t i = 0; i < log->count; i++) {
        uint32_t dot = twin_bits(log->ops[i].dot), at = i;
        for (; at > 0 && twin.ops[at - 1].dot > dot; at--)
            twin.ops[at] = twin.ops[at - 1];
        twin.ops[at] = log->ops[i];
        twin.ops[at].dot = dot;
        twin.ops[at].removed = twin_bits(log->ops[i].removed);
    }
    return twin;
}

/* The number of a log, with its twin's at hand. */
static uint32_t number_log(const struct log *log)
{
    struct log twin = twin_log(log);
    bool new, twin_new;
    uint32_t number = numbers_of(&x.logs, log, &new), other = numbers_of(&x.logs, &twin, &twin_new);
    if (new || twin_new) {
        assert_true(x.logs.count < 1u << LOG_BITS);
        if (x.logs.count > x.log_room) {
            x.log_room = 2 * x.logs.count + 1024;
            x.log_twins = mem_grow(x.log_twins, x.log_room * sizeof *x.log_twins);
        }
        x.log_twins[number] = other;
        x.log_twins[other] = number;
    }
    return number;
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

static uint32_t step(struct step s, uint32_t *ret_dot, uint32_t *ret_removed);

/* The same step among twins is the store's to do, too. */
static void find_twin(const struct step *s, uint32_t result)
{
    if (x.twins[result])
        return;
    struct step twin = {.what = s->what, .a = twin_of(s->a), .b = s->b};
    if (s->what < SEND_AHEAD)
        twin.what = SEND + twin_replica(s->what - SEND);
    if (s->what == PRUNE)
        twin.b = twin_vector(s->b);
    else if (s->what < PRUNE && s->what != WALK_START)
        twin.b = twin_of(s->b);
    uint32_t other = step(twin, NULL, NULL);
    if (!x.twins[result])
        are_twins(result, other);
}

static uint32_t step(struct step s, uint32_t *ret_dot, uint32_t *ret_removed)
{
    bool new;
    const uint32_t packed[] = {s.a | s.what << CONTENT_BITS, s.b};
    uint32_t number = numbers_of(&x.steps, packed, &new), dot, removed;
    if (new) {
        uint32_t result = take(&s, &dot, &removed);
        if (number >= x.result_room) {
            x.result_room = x.result_room ? 2 * x.result_room : 1024;
            x.results = mem_grow(x.results, x.result_room * sizeof *x.results);
            x.writes = mem_grow(x.writes, x.result_room * sizeof *x.writes);
        }
        x.results[number] = result;
        x.writes[number] = dot | removed << DOTS;
        find_twin(&s, result);
    }
    if (ret_dot)
        *ret_dot = x.writes[number] & ((1u << DOTS) - 1);
    if (ret_removed)
        *ret_removed = x.writes[number] >> DOTS;
    return x.results[number];
}

/* ---- worlds ------------------------------------------------------------------------------ */

static bool present(const struct world *w, unsigned i)
{
    return w->away != i + 1;
}

static struct packed_world pack(const struct world *w)
{
    return (struct packed_world){{w->replicas[0] | w->away << 24 | (w->log & 31) << 27,
                                  w->replicas[1] | (w->log >> 5 & 255) << 24,
                                  w->replicas[2] | (w->log >> 13) << 24}};
}

static struct world world_at(size_t number)
{
    const uint32_t *words = ((const struct packed_world *)x.worlds.entries)[number].words;
    struct world w = {.away = words[0] >> 24 & 7,
                      .log = words[0] >> 27 | (words[1] >> 24) << 5 | (words[2] >> 24) << 13};
    for (unsigned i = 0; i < REPLICAS; i++)
        w.replicas[i] = words[i] & ((1u << CONTENT_BITS) - 1);
    return w;
}

/* It, or its twin. */
static void add_world(const struct world *w)
{
    struct world twin = {
        .replicas = {twin_of(w->replicas[0]), twin_of(w->replicas[2]), twin_of(w->replicas[1])},
        .log = x.log_twins[w->log],
        .away = w->away == 2 || w->away == 3 ? 5 - w->away : w->away};
    struct packed_world a = pack(w), b = pack(&twin);
    bool new;
    numbers_of(&x.worlds, memcmp(&a, &b, sizeof a) < 0 ? &a : &b, &new);
}

/* Adds what replica a becomes; true when it became another. */
static bool move_to(const struct world *w, unsigned a, uint32_t number)
{
    x.moves++;
    if (w->replicas[a] == number)
        return false;
    struct world next = *w;
    next.replicas[a] = number;
    add_world(&next);
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
        next.log = number_log(&longer);
        x.moves++;
        add_world(&next);
    }
}

/* A piece of its walk from each that can give one; true when one of them can. */
static bool fill(const struct world *w, unsigned a)
{
    bool served = false;
    for (unsigned b = 0; b < REPLICAS; b++) {
        if (a == b || !present(w, b) || content_at(w->replicas[b])->phase != WALK_NONE)
            continue;
        struct step piece = {.what = WALK_PIECE, .a = w->replicas[a], .b = w->replicas[b]};
        served |= move_to(w, a, step(piece, NULL, NULL));
    }
    return served;
}

/* A walk that nobody present can go on with begins again. */
static bool walk_on(const struct world *w, unsigned a)
{
    return fill(w, a) ||
           move_to(w, a, step((struct step){.what = WALK_START, .a = w->replicas[a]}, NULL, NULL));
}

/* What a may get of the others; true when something of it changes a. */
static bool receive(const struct world *w, unsigned a)
{
    const struct content own = *content_at(w->replicas[a]);
    bool moved = false, needs_walk = false;
    if (!present(w, a))
        return false;
    if (own.phase != WALK_NONE) {
        (void)walk_on(w, a);
        return true;
    }
    for (unsigned b = 0; b < REPLICAS; b++) {
        if (a == b || !present(w, b) || content_at(w->replicas[b])->phase != WALK_NONE)
            continue;
        if (!covers(own.clock, content_at(w->replicas[b])->floor) && !x.no_floor) {
            needs_walk = true;
            continue;
        }
        for (unsigned what = x.coarse ? SEND_ALL : SEND; what <= (x.coarse ? SEND_ALL : SEND_AHEAD); what++)
            moved |= move_to(
                w, a,
                step((struct step){.what = what, .a = w->replicas[a], .b = w->replicas[b]}, NULL, NULL));
    }
    if (needs_walk)
        moved |= move_to(w, a, step((struct step){.what = WALK_START, .a = w->replicas[a]}, NULL, NULL));
    return moved;
}

/* What all that are expected back have: the one that is away is not, and expects nobody. */
static uint32_t watermark(const struct world *w, unsigned a)
{
    uint32_t target = content_at(w->replicas[a])->clock;
    for (unsigned b = 0; b < REPLICAS; b++) {
        uint32_t clock = content_at(w->replicas[b])->clock, met = 0;
        if (a == b || !present(w, a) || !present(w, b))
            continue;
        for (unsigned i = 0; i < REPLICAS; i++) {
            uint32_t least = counter_in(target, i) < counter_in(clock, i) ? counter_in(target, i)
                                                                          : counter_in(clock, i);
            met |= least << (8 * i);
        }
        target = met;
    }
    return target;
}

static void forget(const struct world *w, unsigned a)
{
    uint32_t target = watermark(w, a);
    const struct content *c = content_at(w->replicas[a]);
    if (c->phase == WALK_NONE && !covers(c->floor, target))
        move_to(w, a, step((struct step){.what = PRUNE, .a = w->replicas[a], .b = target}, NULL, NULL));
}

/* Each replica may go away once, with what its absence makes possible. */
static void come_and_go(const struct world *w)
{
    struct world next = *w;
    if (w->away >= 1 && w->away <= REPLICAS) {
        next.away = 4;
        add_world(&next);
    }
    for (next.away = 1; w->away == 0 && next.away <= REPLICAS; next.away++) {
        for (unsigned a = 0; a < REPLICAS; a++) {
            if (watermark(&next, a) != watermark(w, a))
                forget(&next, a);
            if (present(&next, a) && content_at(w->replicas[a])->phase != WALK_NONE)
                (void)walk_on(&next, a);
        }
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
    struct world w = world_at(at);
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
    x.worlds.size = sizeof(struct packed_world);
    x.steps.size = 2 * sizeof(uint32_t);
    x.logs.size = sizeof(struct log);
    struct world first = {0};
    struct log none = {0};
    for (unsigned i = 0; i < REPLICAS; i++) {
        struct engine *engine = engine_mem_new();
        buf_init(&x.identities[i], 1000);
        first.replicas[i] = intern(kit_store_on(engine, i + 1), engine, i);
    }
    are_twins(first.replicas[0], first.replicas[0]);
    are_twins(first.replicas[1], first.replicas[2]);
    first.log = number_log(&none);
    add_world(&first);
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
    numbers_done(&x.contents);
    numbers_done(&x.worlds);
    numbers_done(&x.steps);
    numbers_done(&x.logs);
    for (unsigned i = 0; i < REPLICAS; i++)
        buf_done(&x.identities[i]);
    free(x.engines);
    free(x.twins);
    free(x.log_twins);
    free(x.results);
    free(x.writes);
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
