/* Small worlds, all of them: three replicas, two keys, a few operations, one replica
 * that is away, is forgotten and returns; every order of writes, of single rows sent,
 * of prunings, of pieces of walks. The real store does each step; what it makes of a
 * replica is kept by its content, so that a step is done once however many worlds
 * take it. It goes on until there is no new state.
 *
 *   test_explore rows|links|one-key OPERATIONS FEWEST       fails under so many worlds
 *   test_explore reduced|other-key OPERATIONS FEWEST        the same, with the reductions below
 *   test_explore compare OPERATIONS FEWEST                  links and reduced must find the same
 *   test_explore_weakened MODE OPERATIONS 0 RULE            must find a world that is wrong
 *
 * "rows": each row is sent by itself. "links": what a peer lacks is sent in one step. "one-key":
 * the same with a single key, which leaves room for one operation more.
 *
 * In each state: a clock claims only what was applied, what it claims as removed is
 * not held, a floor is not above its clock, and something can move unless all is the
 * same. Where all clocks are equal, all hold exactly what nobody removed; and where all
 * floors are too, a deleted key has left nothing.
 *
 * The first operation is at the first replica: others are the same world under other names. So are
 * worlds in which the other two replicas have changed places: of such twins only one is gone on
 * with (Clarke, Emerson, Jha: "Exploiting symmetry in temporal logic model checking"). The keys are
 * not each other's names, as walks go from the first to the second: the first operation is about
 * the first key, and with "other-key" about the second. A replica goes away together with the
 * first thing that it would have prevented (a pruning past it, a walk begun anew): until then
 * nothing is done that could not be done with it there and silent. Stamps decide nothing here and
 * are left out.
 *
 * The store does each step for twins, too, and they must be twins again. With the reductions it
 * does not unless it needs that replica's content later, and two things more are taken as one:
 * - contents of a walking replica that differ in what can never be looked at (simplify_walk);
 * - sources that would send the same piece of a walk (sender_of_same).
 * Both join states between which no step and no check can tell, so they lose nothing. That this
 * is so is seen by comparing: the worlds in which nobody walks, all that a walk can lead to, must
 * be the same ones. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "keys.h"
#include "mem.h"
#include "memo.h"
#include "numbers.h"
#include "seen.h"
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

/* A replica's content by its number: who it is in the two highest bits. */
enum { NUMBER_BITS = 22, CONTENT_BITS = NUMBER_BITS + 2 };

struct world {
    uint32_t replicas[REPLICAS];
    uint32_t log, away; /* away: 0 nobody yet; 1 to 3: that one; 4: it is back */
};

struct step {
    uint32_t what, a, b;
};

/* Where a walk may be that asks for its next piece: in the records, behind so many keys; in the rows. */
enum { PLACE_ROWS = KEYS + 1, PLACES };

struct piece { /* what a source sends there */
    uint32_t place, key, held, known, rows[KEYS], clock, floor;
};

/* What was done so far. */
struct log {
    uint32_t count;
    struct {
        uint32_t dot, key, put, removed; /* dot: a bit; removed: bits */
    } ops[OPS_MAX];
};

/* Of each content. Its twin has no engine until a step needs one. */
struct kept {
    struct engine *engine;
    struct step from; /* this step made it, or, without an engine, its twin */
    uint32_t twin;
    uint32_t sends[PLACES]; /* who was the first to send the same there; number + 1 */
};

/* How wide a world is in the set, by the number of operations, and how large the set. */
static const struct widths {
    unsigned number, log, slots;
} all_widths[OPS_MAX + 1] = {{0}, {8, 4, 10}, {12, 6, 17}, {17, 9, 23}, {NUMBER_BITS, 12, 29}};

/* Worlds are looked at by the batch: memory is fetched for one while another is looked at. */
enum { BORROWED = 4096, BATCH = 16, SUCCESSORS_MAX = 64 * BATCH };

struct live { /* a store over a copy of a content's engine */
    struct engine *engine;
    struct store *store;
};

static struct explorer {
    unsigned op_count;
    struct widths widths;
    struct numbers contents[REPLICAS], logs, pieces;
    uint32_t *senders; /* of the pieces */
    size_t sender_room;
    struct kept *kept[REPLICAS];
    size_t kept_room[REPLICAS];
    struct buf identities[REPLICAS]; /* as each new store has it */
    struct {
        uint32_t number; /* + 1 */
        struct live live;
    } borrowed[BORROWED]; /* open, to be read */
    uint32_t *log_twins;
    size_t log_room;
    struct memo steps;
    struct seen worlds;
    struct world *stack; /* to be looked at; and above each that was, what came of it */
    size_t depth, stack_room;
    struct world next[SUCCESSORS_MAX]; /* come of the batch */
    struct seen_word next_words[SUCCESSORS_MAX];
    size_t next_count;
    bool planning; /* steps are not done, only fetched */
    uint64_t moves, looked, stored;
    uint64_t resting, resting_sum; /* worlds in which nobody walks; of their digests, in any order */
    bool wrong;
    bool no_floor;
    bool one_key;
    bool coarse;  /* all that a peer lacks is sent in one step, not row by row */
    bool reduced; /* steps are not done for twins, too, and walks by what makes a difference only */
    unsigned first_key;
} x;

static void wrong(const char *what, size_t replica)
{
    if (!x.wrong)
        printf("world %llu, replica %zu: %s\n", (unsigned long long)x.looked, replica, what);
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

/* What of a walk's vectors can make a difference. Each source's clock covers those of the pieces before,
 * so that low stays what it was after the first piece; and it is looked at only for what the own
 * clock does not cover (src/store/walk.c: wants_row, finish). High is looked at only up to the
 * clock at the end, and above the floor. */
static void simplify_walk(struct content *c)
{
    if (!c->has_low)
        return;
    c->low = most_of(c->low, c->clock);
    c->high = least_of(most_of(c->high, c->floor), c->low);
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
    if (x.reduced)
        simplify_walk(&c);
    snapshot_close(snapshot);
    return c;
}

static uint32_t who_of(uint32_t number)
{
    return number >> NUMBER_BITS;
}

static uint32_t index_of(uint32_t number)
{
    return number & ((1u << NUMBER_BITS) - 1);
}

static const struct content *content_at(uint32_t number)
{
    return (const struct content *)x.contents[who_of(number)].entries + index_of(number);
}

static struct kept *kept_at(uint32_t number)
{
    return x.kept[who_of(number)] + index_of(number);
}

static uint32_t number_content(const struct content *content, bool *ret_new)
{
    uint32_t who = content->who, index = numbers_of(&x.contents[who], content, ret_new);
    if (*ret_new) {
        assert_true(index < 1u << x.widths.number);
        if (index >= x.kept_room[who]) {
            x.kept_room[who] = x.kept_room[who] ? 2 * x.kept_room[who] : 64;
            x.kept[who] = mem_grow(x.kept[who], x.kept_room[who] * sizeof(struct kept));
        }
    }
    return who << NUMBER_BITS | index;
}

/* A copy without the list of starts that grows with each opening. */
static struct engine *engine_to_keep(struct engine *engine, uint32_t who)
{
    struct bytes name = bytes_str(META_IDENTITY), bytes;
    struct engine_txn *txn;
    struct engine *kept = engine_mem_clone(engine);
    assert_int_equal(kept->ops->write_begin(kept, &txn), OK);
    assert_int_equal(kept->ops->get(txn, TABLE_META, name, &bytes), OK);
    if (x.identities[who].len == 0)
        buf_put_bytes(&x.identities[who], bytes);
    assert_int_equal(kept->ops->put(txn, TABLE_META, name, buf_bytes(&x.identities[who])), OK);
    assert_int_equal(kept->ops->commit(txn), OK);
    return kept;
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
    return kept_at(number)->twin;
}

/* Takes the store, after a step. A new content is numbered together with its twin. */
static uint32_t intern(struct store *store, struct engine *engine, uint32_t who, const struct step *from)
{
    struct content content = read_content(store, who), twin = twin_content(&content);
    bool new;
    uint32_t number = number_content(&content, &new), other;
    if (new) {
        *kept_at(number) = (struct kept){.from = *from};
        other = number_content(&twin, &new);
        if (new)
            *kept_at(other) = (struct kept){.from = *from};
        kept_at(number)->twin = other;
        kept_at(other)->twin = number;
    }
    if (!kept_at(number)->engine)
        kept_at(number)->engine = engine_to_keep(engine, who);
    store_close(store);
    return number;
}

static uint32_t take(const struct step *step, uint32_t *ret_writes);
static struct step twin_step(const struct step *step);

/* What only a twin's steps have made is made by the store, too, and must be that. */
static struct engine *engine_of(uint32_t number)
{
    if (!kept_at(number)->engine) {
        uint32_t writes;
        struct step step = twin_step(&kept_at(number)->from);
        if (take(&step, &writes) != number) {
            printf("the store makes another thing of replica %u under other names\n", who_of(number));
            exit(EXIT_FAILURE);
        }
    }
    return kept_at(number)->engine;
}

static struct live live(uint32_t number)
{
    struct live l = {.engine = engine_mem_clone(engine_of(number))};
    l.store = kit_store_on(l.engine, who_of(number) + 1);
    return l;
}

/* To be read only; until the next one is borrowed. */
static struct store *borrow(uint32_t number)
{
    size_t at = (number ^ number >> 12) % BORROWED;
    if (x.borrowed[at].number != number + 1) {
        struct live l = live(number);
        if (x.borrowed[at].number)
            store_close(x.borrowed[at].live.store);
        x.borrowed[at].live = l;
        x.borrowed[at].number = number + 1;
    }
    return x.borrowed[at].live.store;
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
        assert_true(x.logs.count <= 1u << x.widths.log);
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

/* The first of the sources that would send the same piece: its store does the step for all of them.
 * A record, or none, or all rows; and the clock and the floor. */
static uint32_t sender_of_same(uint32_t a, uint32_t b)
{
    const struct content *to = content_at(a), *from = content_at(b);
    struct piece piece = {
        .place = to->phase == WALK_ROWS ? PLACE_ROWS : to->after, .clock = from->clock, .floor = from->floor};
    uint32_t *known = kept_at(b)->sends + piece.place;
    bool new;
    if (*known)
        return *known - 1;
    if (piece.place == PLACE_ROWS) {
        memcpy(piece.rows, from->rows, sizeof piece.rows);
    } else {
        for (piece.key = to->after; piece.key < KEYS && !(from->records >> piece.key & 1);)
            piece.key++;
        piece.held = piece.key < KEYS ? from->held[piece.key] : 0;
        piece.known = piece.key < KEYS ? from->known[piece.key] : 0;
    }
    assert_int_equal(to->row_after, 0); /* all rows come at once */
    uint32_t number = numbers_of(&x.pieces, &piece, &new);
    if (number >= x.sender_room) {
        x.sender_room = 2 * number + 64;
        x.senders = mem_grow(x.senders, x.sender_room * sizeof *x.senders);
    }
    if (new)
        x.senders[number] = b;
    *known = x.senders[number] + 1;
    return x.senders[number];
}

static bool reads_another(uint32_t what)
{
    return what < PRUNE && what != WALK_START;
}

static enum err do_step(const struct step *step, struct store *a, struct dot *ret_dot)
{
    struct store *b = reads_another(step->what) ? borrow(step->b) : NULL;
    struct replica_id origin;
    enum err err = OK;
    switch (step->what) {
    case SEND:
    case SEND + 1:
    case SEND + 2:
        origin = kit_id(step->what - SEND + 1);
        return kit_send(b, a, &origin, 1, !x.no_floor);
    case SEND_ALL: /* as a link does that nothing breaks */
        for (unsigned i = 0; i < REPLICAS && err == OK; i++) {
            origin = kit_id(i + 1);
            err = kit_send(b, a, &origin, OPS_MAX, !x.no_floor);
        }
        send_ahead(a, b);
        return err;
    case SEND_AHEAD:
        send_ahead(a, b);
        return OK;
    case WALK_START:
        return kit_walk_start(a);
    case WALK_PIECE:
        return kit_walk_piece(a, b, content_at(step->a)->phase == WALK_ROWS ? DOTS : 1);
    case PRUNE:
        prune(a, step->b);
        return OK;
    case PUT:
    case PUT + 1:
        return kit_put(a, key_names[step->what - PUT], "v", NULL, ret_dot);
    default:
        return kit_delete(a, key_names[step->what - DELETE], NULL, ret_dot);
    }
}

/* What the step makes of replica a; and the bit of the dot that it wrote, above it what that removed. */
static uint32_t take(const struct step *step, uint32_t *ret_writes)
{
    struct live a = live(step->a);
    struct dot dot = {0};
    enum err err = do_step(step, a.store, &dot);
    if (err != OK && err != ERR_FLOOR && err != ERR_WALKING && err != ERR_REFUSED)
        wrong(err_text(err), who_of(step->a));
    uint32_t result = intern(a.store, a.engine, who_of(step->a), step);
    unsigned key = step->what >= DELETE ? step->what - DELETE : step->what - PUT;
    *ret_writes = 0;
    if (dot.counter && err == OK)
        *ret_writes = bit_of(&dot) | (content_at(step->a)->held[key] & ~content_at(result)->held[key])
                                         << DOTS;
    x.stored++;
    return result;
}

static struct step twin_step(const struct step *step)
{
    struct step twin = {.what = step->what, .a = twin_of(step->a), .b = step->b};
    if (step->what < SEND_AHEAD)
        twin.what = SEND + twin_replica(step->what - SEND);
    if (step->what == PRUNE)
        twin.b = twin_vector(step->b);
    else if (reads_another(step->what))
        twin.b = twin_of(step->b);
    return twin;
}

static uint64_t step_key(const struct step *step)
{
    uint32_t b = step->b;
    if (step->what == PRUNE)
        b = counter_in(b, 0) | counter_in(b, 1) << 8 | counter_in(b, 2) << 16;
    assert_true(b < 1u << CONTENT_BITS);
    return (uint64_t)(step->what + 1) << (2 * CONTENT_BITS) | (uint64_t)step->a << CONTENT_BITS | b;
}

static uint32_t step(struct step s, uint32_t *ret_writes)
{
    uint64_t key = step_key(&s);
    if (x.planning) {
        memo_fetch(&x.steps, key);
        if (ret_writes)
            *ret_writes = 0;
        return s.a;
    }
    const struct memo_entry *known = memo_find(&x.steps, key);
    struct memo_entry entry = {.key = key};
    if (known) {
        entry = *known;
    } else {
        entry.result = take(&s, &entry.writes);
        memo_add(&x.steps, entry);
        struct step twin = twin_step(&s);
        if (!x.reduced && step(twin, NULL) != twin_of(entry.result))
            wrong("the store makes another thing of it under other names", who_of(s.a));
    }
    if (ret_writes)
        *ret_writes = entry.writes;
    return entry.result;
}

/* ---- worlds ------------------------------------------------------------------------------ */

static bool present(const struct world *w, unsigned i)
{
    return w->away != i + 1;
}

/* The one of two twins that is gone on with: the first replica's content came first, or the others'. */
static bool is_before(const struct world *a, const struct world *b)
{
    for (unsigned i = 0; i < REPLICAS; i++)
        if (a->replicas[i] != b->replicas[i])
            return a->replicas[i] < b->replicas[i];
    return a->log != b->log ? a->log < b->log : a->away < b->away;
}

static struct world twin_world(const struct world *w)
{
    return (struct world){
        .replicas = {twin_of(w->replicas[0]), twin_of(w->replicas[2]), twin_of(w->replicas[1])},
        .log = x.log_twins[w->log],
        .away = w->away == 2 || w->away == 3 ? 5 - w->away : w->away};
}

static struct seen_word find_world(const struct world *w)
{
    unsigned width = x.widths.number;
    __extension__ unsigned __int128 word = w->away;
    word = word << x.widths.log | w->log;
    for (unsigned i = 0; i < REPLICAS; i++)
        word = word << width | index_of(w->replicas[i]);
    return seen_find(&x.worlds, (uint64_t)(word >> x.worlds.half_bits),
                     (uint64_t)word & (((uint64_t)1 << x.worlds.half_bits) - 1));
}

/* It, or its twin, is to be looked at. */
static void add_world(const struct world *w)
{
    struct world twin = twin_world(w);
    assert_true(x.next_count < SUCCESSORS_MAX);
    x.next[x.next_count] = is_before(&twin, w) ? twin : *w;
    x.next_words[x.next_count] = find_world(x.next + x.next_count);
    if (!seen_lately(&x.worlds, x.next_words[x.next_count]))
        x.next_count++;
}

/* Those that are new go onto the stack. */
static void keep_new_worlds(void)
{
    for (size_t i = 0; i < x.next_count; i++) {
        if (!seen_add(&x.worlds, x.next_words[i]))
            continue;
        if (x.depth == x.stack_room) {
            x.stack_room = x.stack_room ? 2 * x.stack_room : 1024;
            x.stack = mem_grow(x.stack, x.stack_room * sizeof *x.stack);
        }
        x.stack[x.depth++] = x.next[i];
    }
    x.next_count = 0;
}

/* Adds what replica a becomes; true when it became another. */
static bool move_to(const struct world *w, unsigned a, uint32_t number)
{
    if (x.planning)
        return false;
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
        uint32_t writes;
        if ((log.count == 0 || x.one_key) && key != x.first_key)
            continue;
        uint32_t number = step((struct step){.what = what, .a = w->replicas[a]}, &writes);
        uint32_t dot = writes & ((1u << DOTS) - 1);
        if (!dot)
            continue; /* deletes nothing, or a walk hides the key */
        struct log longer = log;
        uint32_t at = longer.count++;
        for (; at > 0 && longer.ops[at - 1].dot > dot; at--) /* by dot: the order of far ones is no news */
            longer.ops[at] = longer.ops[at - 1];
        longer.ops[at].dot = dot;
        longer.ops[at].key = key;
        longer.ops[at].put = what < DELETE;
        longer.ops[at].removed = writes >> DOTS;
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
        if (x.reduced)
            piece.b = sender_of_same(piece.a, piece.b);
        served |= move_to(w, a, step(piece, NULL));
    }
    return served;
}

/* A walk that nobody present can go on with begins again. */
static bool walk_on(const struct world *w, unsigned a)
{
    return fill(w, a) || move_to(w, a, step((struct step){.what = WALK_START, .a = w->replicas[a]}, NULL));
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
                w, a, step((struct step){.what = what, .a = w->replicas[a], .b = w->replicas[b]}, NULL));
    }
    if (needs_walk)
        moved |= move_to(w, a, step((struct step){.what = WALK_START, .a = w->replicas[a]}, NULL));
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
        move_to(w, a, step((struct step){.what = PRUNE, .a = w->replicas[a], .b = target}, NULL));
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

static uint64_t digest(uint64_t digest, const void *data, size_t size)
{
    uint32_t word;
    for (const uint8_t *at = data; size >= sizeof word; at += sizeof word, size -= sizeof word) {
        memcpy(&word, at, sizeof word);
        digest = (digest ^ word) * 0xff51afd7ed558ccdu;
        digest ^= digest >> 29;
    }
    return digest;
}

static uint64_t digest_world(const struct world *w)
{
    uint64_t sum = digest(w->away, (const struct log *)x.logs.entries + w->log, sizeof(struct log));
    for (unsigned i = 0; i < REPLICAS; i++)
        sum = digest(sum, content_at(w->replicas[i]), sizeof(struct content));
    return sum;
}

/* What a run with reductions must have found as well as one without. */
static void count_resting(const struct world *w)
{
    struct world twin = twin_world(w);
    uint64_t a = digest_world(w), b = digest_world(&twin);
    x.resting++;
    x.resting_sum += a < b ? a : b;
}

/* Bits of dots; a byte a replica in vectors. */
static void show(const struct world *w)
{
    const struct log *log = (const struct log *)x.logs.entries + w->log;
    printf("away: %u\n", w->away);
    for (uint32_t i = 0; i < log->count; i++)
        printf("operation %03x: %s %s, removed %03x\n", log->ops[i].dot, log->ops[i].put ? "put" : "delete",
               key_names[log->ops[i].key], log->ops[i].removed);
    for (unsigned i = 0; i < REPLICAS; i++) {
        const struct content *c = content_at(w->replicas[i]);
        printf("replica %u: clock %06x floor %06x", i, c->clock, c->floor);
        for (unsigned key = 0; key < KEYS; key++)
            printf(", %s: held %03x known %06x rows %03x", key_names[key], c->held[key], c->known[key],
                   c->rows[key]);
        printf("; walk: phase %u after %u low %06x high %06x last %06x\n", c->phase, c->after, c->low,
               c->high, c->last);
    }
}

static void look(struct world w)
{
    bool same = true, walking = false, moved = false;
    x.looked++;
    for (unsigned i = 0; i < REPLICAS; i++) {
        const struct content *c = content_at(w.replicas[i]);
        check_claims(&w, i);
        same &= c->clock == content_at(w.replicas[0])->clock;
        walking |= c->phase != WALK_NONE;
    }
    if (!walking)
        count_resting(&w);
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
    if (x.wrong)
        show(&w);
}

/* ---- the run ----------------------------------------------------------------------------------- */

static void begin(unsigned op_count)
{
    struct world first = {0};
    struct log none = {0};
    x.op_count = op_count;
    x.widths = all_widths[op_count];
    x.logs.size = sizeof(struct log);
    x.pieces.size = sizeof(struct piece);
    seen_init(&x.worlds, (REPLICAS * x.widths.number + x.widths.log + 3 + 1) / 2, x.widths.slots);
    for (unsigned i = 0; i < REPLICAS; i++) {
        x.contents[i].size = sizeof(struct content);
        buf_init(&x.identities[i], 1000);
    }
    for (unsigned i = 0; i < REPLICAS; i++) {
        struct engine *engine = engine_mem_new();
        first.replicas[i] = intern(kit_store_on(engine, i + 1), engine, i, &(struct step){0});
    }
    first.log = number_log(&none);
    add_world(&first);
    keep_new_worlds();
}

static void tell(const char *when)
{
    printf("%s%u operations: %zu worlds of %zu replica states, %llu moves, %zu steps, %llu of them done by a "
           "store\n",
           when, x.op_count, x.worlds.count, x.contents[0].count + x.contents[1].count + x.contents[2].count,
           (unsigned long long)x.moves, x.steps.count, (unsigned long long)x.stored);
    fflush(stdout);
}

/* Fetches what looking at the world will need. */
static void plan(const struct world *w)
{
    x.planning = true;
    for (unsigned i = 0; i < REPLICAS; i++) {
        operate(w, i);
        (void)receive(w, i);
        forget(w, i);
    }
    x.planning = false;
}

static void explore(void)
{
    struct world batch[BATCH];
    while (x.depth && !x.wrong) {
        size_t count = x.depth < BATCH ? x.depth : BATCH;
        x.depth -= count;
        memcpy(batch, x.stack + x.depth, count * sizeof *batch);
        for (size_t i = 0; i < count; i++) {
            for (unsigned a = 0; a < REPLICAS; a++) {
                __builtin_prefetch(content_at(batch[i].replicas[a]));
                __builtin_prefetch(kept_at(batch[i].replicas[a]));
            }
        }
        for (size_t i = 0; i < count; i++)
            plan(batch + i);
        for (size_t i = 0; i < count && !x.wrong; i++) {
            look(batch[i]);
            if (x.looked % 5000000 == 0)
                tell("so far, ");
        }
        keep_new_worlds();
    }
    tell("");
    printf("nobody walks in %llu of them; digest %016llx\n", (unsigned long long)x.resting,
           (unsigned long long)x.resting_sum);
}

static void tidy(void)
{
    for (size_t i = 0; i < BORROWED; i++)
        if (x.borrowed[i].number)
            store_close(x.borrowed[i].live.store);
    for (unsigned i = 0; i < REPLICAS; i++) {
        for (size_t k = 0; k < x.contents[i].count; k++)
            if (x.kept[i][k].engine)
                x.kept[i][k].engine->ops->close(x.kept[i][k].engine);
        numbers_done(&x.contents[i]);
        buf_done(&x.identities[i]);
        free(x.kept[i]);
    }
    numbers_done(&x.logs);
    numbers_done(&x.pieces);
    free(x.senders);
    memo_done(&x.steps);
    seen_done(&x.worlds);
    free(x.log_twins);
    free(x.stack);
}

static bool parse_rule(const char *rule, bool *ret_no_floor)
{
#ifdef YZMA_WEAKEN
    static const struct {
        const char *name;
        enum weaken rule;
    } rules[] = {{"merge", WEAKEN_CLOCK}, {"early", WEAKEN_EARLY},
                 {"entry", WEAKEN_ENTRY}, {"fillstored", WEAKEN_FILL_STORED},
                 {"rows", WEAKEN_ROWS},   {"floor", WEAKEN_NOTHING}};
    *ret_no_floor = strcmp(rule, "floor") == 0;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (strcmp(rule, rules[i].name) == 0) {
            weakened = rules[i].rule;
            return true;
        }
    }
#endif
    (void)rule, (void)ret_no_floor;
    return false;
}

struct found {
    uint64_t worlds, resting, digest;
    bool wrong;
};

static struct found run(const char *mode, unsigned ops, bool no_floor)
{
    x = (struct explorer){.no_floor = no_floor};
    x.one_key = strcmp(mode, "one-key") == 0;
    x.coarse = strcmp(mode, "rows") != 0;
    x.reduced = strcmp(mode, "reduced") == 0 || strcmp(mode, "other-key") == 0;
    x.first_key = strcmp(mode, "other-key") == 0;
    begin(ops);
    explore();
    struct found found = {x.worlds.count, x.resting, x.resting_sum, x.wrong};
    tidy();
    return found;
}

int main(int argc, char **argv)
{
    unsigned ops = argc > 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    uint64_t fewest = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    bool expect = argc > 4, no_floor = false;
    if (ops < 1 || ops > OPS_MAX || (expect && !parse_rule(argv[4], &no_floor))) {
        printf("usage: test_explore rows|links|one-key|reduced|other-key|compare operations fewest-worlds "
               "[rule that is off]\n");
        return 2;
    }
    bool compare = strcmp(argv[1], "compare") == 0;
    struct found found = run(compare ? "links" : argv[1], ops, no_floor);
    bool good = found.wrong == expect && found.worlds >= fewest;
    if (found.worlds < fewest)
        printf("fewer than %llu: something is not looked at any more\n", (unsigned long long)fewest);
    if (compare) {
        struct found reduced = run("reduced", ops, no_floor);
        if (reduced.wrong != found.wrong || reduced.resting != found.resting ||
            reduced.digest != found.digest) {
            printf("with reductions it finds others\n");
            good = false;
        }
    }
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
