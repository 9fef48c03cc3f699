/* Counters in small random worlds, against an exact oracle.
 *
 * A few replicas add to counters, delete them, exchange parts of deltas or walk, prune,
 * are started again, die, and fall back to older states of themselves, which count on
 * for some starts before they take a new id; or a copy of one runs beside it for a while. The
 * oracle knows of each replica which adds and deletes have come to it, and so, after
 * every step, what each counter must be there: all that was added, less what was deleted
 * by one who had seen it, each once.
 *
 *   test_counters [worlds] [first seed]
 *   test_counters_weakened NAME worlds     some world must miss the rule */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "counter.h"
#include "mem.h"
#include "rng.h"
#include "space.h"
#include "storekit.h"
#include "weaken.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    NODES_MAX = 5,
    COUNTERS = 2,
    ADDS_MAX = 768,
    DELETES_MAX = 96,
    SAVED_MAX = 6,
    STARTS_MAX = 100, /* of one replica, so that none is summed up: see test_spaces.c */
    WALL_MS = 1000000,
    TURNS_MAX = 40,
};

struct known {
    uint64_t adds[COUNTERS][ADDS_MAX / 64];
    uint64_t deletes[COUNTERS][DELETES_MAX / 64 + 1];
};

struct saved {
    struct engine *engine;
    struct known known;
};

struct node {
    struct store *store;
    struct engine *engine; /* the store's */
    struct known known;
    struct saved saved[SAVED_MAX];
    size_t saved_count;
};

struct world {
    struct rng rng;
    struct node nodes[NODES_MAX];
    size_t node_count, add_count, delete_count, step;
    unsigned ids;
    int64_t added[ADDS_MAX];
    uint64_t removed[DELETES_MAX][ADDS_MAX / 64];
    uint64_t reidentified, walked, deleted;
    bool fine;
    char why[200];
};

static bool chance(struct world *w, unsigned permille)
{
    return rng_permille(&w->rng, permille);
}

static size_t pick(struct world *w, size_t n)
{
    return (size_t)rng_below(&w->rng, n);
}

static void bad(struct world *w, const char *what, int64_t is, int64_t wanted)
{
    if (!w->fine)
        return;
    w->fine = false;
    snprintf(w->why, sizeof w->why, "step %zu: %s: %" PRId64 " and not %" PRId64, w->step, what, is, wanted);
}

static void must(struct world *w, enum err err, const char *what)
{
    if (err != OK)
        bad(w, what, (int64_t)err, 0);
}

static void learn(struct known *to, const struct known *from, size_t counter)
{
    for (size_t i = 0; i < ADDS_MAX / 64; i++)
        to->adds[counter][i] |= from->adds[counter][i];
    for (size_t i = 0; i < DELETES_MAX / 64 + 1; i++)
        to->deletes[counter][i] |= from->deletes[counter][i];
}

/* ---- what a counter is, and what it must be ---------------------------------------------- */

static struct bytes name_of(size_t counter, uint8_t room[KEY_MAX])
{
    static const char *const names[COUNTERS] = {"visits", "w\xc3\xb6rter"};
    return space_prefix(SPACE_COUNTERS, bytes_str(names[counter]), room);
}

static size_t counter_of_key(struct bytes key)
{
    return space_parse(key).name.data[0] == 'v' ? 0 : 1;
}

static int64_t wanted_of(const struct world *w, const struct known *known, size_t counter, bool *ret_absent)
{
    int64_t number = 0;
    *ret_absent = true;
    for (size_t i = 0; i < w->add_count; i++) {
        bool stands = known->adds[counter][i / 64] >> i % 64 & 1;
        for (size_t d = 0; d < w->delete_count && stands; d++)
            if (known->deletes[counter][d / 64] >> d % 64 & 1)
                stands = !(w->removed[d][i / 64] >> i % 64 & 1);
        if (stands) {
            number += w->added[i];
            *ret_absent = false;
        }
    }
    return number;
}

static int64_t number_of(struct world *w, struct store *store, size_t counter, bool *ret_absent)
{
    uint8_t room[KEY_MAX];
    struct snapshot *snapshot = NULL;
    struct record record = {0};
    struct counter_view state = {0};
    int64_t number = INT64_MIN;
    size_t malformed = 0;
    assert_int_equal(snapshot_open(store, &snapshot), OK);
    enum err err = snapshot_record(snapshot, name_of(counter, room), &record);
    assert_true(err == OK || err == ERR_NOT_FOUND);
    must(w, counter_of_record(&state, &record, &malformed), "a counter cannot be read");
    must(w, counter_number(&state, &number), "a counter does not fit");
    if (malformed)
        bad(w, "malformed versions", (int64_t)malformed, 0);
    if (record.count > w->ids)
        bad(w, "too many versions", (int64_t)record.count, 0);
    *ret_absent = counter_is_absent(&state);
    counter_done(&state);
    record_done(&record);
    snapshot_close(snapshot);
    return number;
}

static void check(struct world *w, struct node *node)
{
    for (size_t counter = 0; counter < COUNTERS && w->fine; counter++) {
        bool absent, must_be_absent;
        int64_t wanted = wanted_of(w, &node->known, counter, &must_be_absent);
        int64_t number = number_of(w, node->store, counter, &absent);
        if (number != wanted)
            bad(w, "a counter's number", number, wanted);
        if (absent != must_be_absent)
            bad(w, "a counter is absent", absent, must_be_absent);
    }
}

/* ---- clients ------------------------------------------------------------------------------- */

static void note_add(struct world *w, struct node *node, size_t counter, int64_t n)
{
    w->added[w->add_count] = n;
    node->known.adds[counter][w->add_count / 64] |= (uint64_t)1 << w->add_count % 64;
    w->add_count++;
}

/* Sometimes to a number, which is an add of what is missing there. */
static void change(struct world *w, struct node *node, bool remove)
{
    uint8_t room[KEY_MAX];
    size_t counter = pick(w, COUNTERS);
    bool absent;
    int64_t before = wanted_of(w, &node->known, counter, &absent);
    if (remove ? w->delete_count == DELETES_MAX : w->add_count == ADDS_MAX)
        return;
    struct store_work *work = store_work_new(WORK_COUNT);
    work->count.key = name_of(counter, room);
    work->count.remove = remove;
    work->count.add = (int64_t)pick(w, 40) - 12;
    work->count.set = !remove && chance(w, 150);
    must(w, kit_run(node->store, work), "a change is refused");
    if (remove && (work->count.dot.counter == 0) != absent)
        bad(w, "a delete of what is absent", work->count.dot.counter == 0, absent);
    if (remove && !absent) {
        memcpy(w->removed[w->delete_count], node->known.adds[counter], sizeof w->removed[0]);
        node->known.deletes[counter][w->delete_count / 64] |= (uint64_t)1 << w->delete_count % 64;
        w->delete_count++;
        w->deleted++;
    } else if (!remove) {
        int64_t number = work->count.add + (work->count.set ? 0 : before);
        bool there = work->count.set && number == before && !absent;
        if (!there)
            note_add(w, node, counter, number - before);
        if (work->count.number != number || there != (work->count.dot.counter == 0))
            bad(w, "an add's answer", work->count.number, number);
    }
    store_work_free(work);
}

static void add_some(struct world *w, struct node *node, size_t most)
{
    for (size_t n = pick(w, most + 1); n > 0; n--)
        change(w, node, chance(w, 80));
    check(w, node);
}

/* ---- starts ----------------------------------------------------------------------------------- */

static void open_on(struct world *w, struct node *node, struct engine *engine)
{
    struct store_options options = {.fresh_id = kit_id(++w->ids),
                                    .start_random = rng_next(&w->rng),
                                    .wall_ms = WALL_MS,
                                    .skew_max_ms = 60000,
                                    .versions_max = 2};
    bool reidentified;
    struct buf why;
    buf_init(&why, 1000);
    assert_int_equal(store_open(engine, &options, &node->store, &reidentified, &why), OK);
    buf_done(&why);
    node->engine = engine;
}

static struct identity identity_of(const struct node *node)
{
    struct snapshot *snapshot = NULL;
    struct identity identity = {0};
    assert_int_equal(snapshot_open(node->store, &snapshot), OK);
    assert_int_equal(snapshot_identity(snapshot, &identity), OK);
    snapshot_close(snapshot);
    return identity;
}

static struct starts starts_of(const struct node *node)
{
    struct identity identity = identity_of(node);
    struct starts starts = identity.starts;
    identity_done(&identity);
    return starts;
}

static void start_again(struct world *w, struct node *node)
{
    if (starts_of(node).total >= STARTS_MAX)
        return;
    struct engine *same = engine_mem_clone(node->engine);
    store_close(node->store);
    open_on(w, node, same);
}

static uint64_t own_counter(const struct node *node, const struct replica_id *id)
{
    struct snapshot *snapshot = NULL;
    struct clock clock = {0};
    assert_int_equal(snapshot_open(node->store, &snapshot), OK);
    assert_int_equal(snapshot_clock(snapshot, &clock, NULL), OK);
    uint64_t counter = clock_get(&clock, id);
    clock_done(&clock);
    snapshot_close(snapshot);
    return counter;
}

static void forget_saved(struct node *node)
{
    while (node->saved_count) {
        struct engine *engine = node->saved[--node->saved_count].engine;
        engine->ops->close(engine);
    }
}

/* It hears of another history of its id, whose starts were these. */
static void take_new_id(struct world *w, struct node *node, const struct starts *theirs)
{
    forget_saved(node); /* of the former id */
    struct identity identity = identity_of(node);
    struct store_work *work = store_work_new(WORK_REIDENTIFY);
    work->reidentify.old_id = identity.id;
    work->reidentify.new_id = kit_id(++w->ids);
    work->reidentify.start_random = rng_next(&w->rng);
    work->reidentify.fork = starts_fork(&identity.starts, theirs, own_counter(node, &identity.id));
    work->reidentify.parted = UINT64_MAX;
    must(w, kit_do(node->store, work), "no new id");
    identity_done(&identity);
    w->reidentified++;
    check(w, node);
}

static void save(struct node *node)
{
    if (node->saved_count < SAVED_MAX)
        node->saved[node->saved_count++] = (struct saved){engine_mem_clone(node->engine), node->known};
}

static void count_on(struct world *w, struct node *node)
{
    add_some(w, node, 5);
    for (size_t n = pick(w, 10); n > 0; n--) {
        start_again(w, node);
        add_some(w, node, 3);
    }
}

/* An older state of itself counts on, and then learns what it is. */
static void fall_back(struct world *w, struct node *node)
{
    const struct saved *old = &node->saved[pick(w, node->saved_count)];
    struct starts lost = starts_of(node);
    struct engine *engine = engine_mem_clone(old->engine);
    node->known = old->known;
    forget_saved(node);
    store_close(node->store);
    open_on(w, node, engine);
    check(w, node);
    count_on(w, node);
    take_new_id(w, node, &lost);
}

/* A copy runs beside it; then one of the two learns of the other. */
static void double_up(struct world *w, struct node *node)
{
    struct node *copy = &w->nodes[w->node_count++];
    *copy = (struct node){.known = node->known};
    open_on(w, copy, engine_mem_clone(node->engine));
    count_on(w, copy);
    add_some(w, node, 5);
    if (chance(w, 300))
        count_on(w, node);
    bool is_copy = chance(w, 500);
    struct starts theirs = starts_of(is_copy ? node : copy);
    forget_saved(node); /* what falls back to it would be told of two histories */
    take_new_id(w, is_copy ? copy : node, &theirs);
}

static void drop(struct world *w, struct node *node)
{
    forget_saved(node);
    store_close(node->store);
    *node = w->nodes[--w->node_count];
}

/* ---- replication ------------------------------------------------------------------------------ */

struct looking {
    struct snapshot *snapshot;
    struct clock clock, floor;
};

static struct looking look(const struct node *node)
{
    struct looking l = {0};
    assert_int_equal(snapshot_open(node->store, &l.snapshot), OK);
    assert_int_equal(snapshot_clock(l.snapshot, &l.clock, &l.floor), OK);
    return l;
}

static void look_away(struct looking *l)
{
    clock_done(&l->clock);
    clock_done(&l->floor);
    snapshot_close(l->snapshot);
}

struct ahead {
    struct snapshot *snapshot;
    struct store_work *work;
    struct node *to;
    const struct node *from;
};

static void add_ahead(void *ctx, const struct row *row)
{
    struct ahead *ahead = ctx;
    kit_add_row(ahead->work, ahead->snapshot, row);
    learn(&ahead->to->known, &ahead->from->known, counter_of_key(row->key));
}

static void send_ahead(struct world *w, const struct node *from, struct node *to)
{
    struct looking l = look(from);
    struct ahead ahead = {l.snapshot, kit_rows_work(WORK_AHEAD), to, from};
    assert_int_equal(snapshot_rows_ahead(l.snapshot, 20, add_ahead, &ahead), OK);
    look_away(&l);
    must(w, kit_do(to->store, ahead.work), "rows ahead are refused");
}

/* The next rows of one replica, with their keys' records. */
static void send_rows(struct world *w, const struct node *from, struct node *to,
                      const struct replica_id *origin, size_t max)
{
    struct looking l = look(from);
    struct dot at = {*origin, own_counter(to, origin)};
    uint64_t top = clock_get(&l.clock, origin);
    struct row_scan *scan = NULL;
    struct row row;
    assert_int_equal(row_scan_open(l.snapshot, &at, &scan), OK);
    for (size_t n = 0; n < max && row_scan_next(scan, &row) == OK; n++) {
        if (!replica_id_equal(&row.dot.replica, origin) || row.dot.counter > top)
            break;
        learn(&to->known, &from->known, counter_of_key(row.key));
    }
    row_scan_close(scan);
    look_away(&l);
    must(w, kit_send(from->store, to->store, origin, max, true), "rows are refused");
}

static void walk(struct world *w, const struct node *from, struct node *to)
{
    must(w, kit_walk(to->store, from->store), "a walk is refused");
    for (size_t counter = 0; counter < COUNTERS; counter++)
        learn(&to->known, &from->known, counter);
    w->walked++;
}

static void exchange(struct world *w, const struct node *from, struct node *to, bool all)
{
    struct looking source = look(from), target = look(to);
    bool covers = clock_covers(&target.clock, &source.floor);
    if (!covers || (!all && chance(w, 30))) {
        walk(w, from, to);
    } else {
        if (all || chance(w, 300))
            send_ahead(w, from, to);
        for (size_t i = 0; i < source.clock.count && w->fine; i++)
            if (all || chance(w, 600))
                send_rows(w, from, to, &source.clock.entries[i].replica, all ? 60 : 1 + pick(w, 4));
    }
    look_away(&source), look_away(&target);
    check(w, to);
}

/* Up to what all have: some replicas die. */
static void prune(struct world *w, struct node *node)
{
    struct clock floor = {0};
    for (size_t i = 0; i < w->node_count; i++) {
        struct looking l = look(&w->nodes[i]);
        if (i == 0)
            clock_copy(&floor, &l.clock);
        else
            clock_meet(&floor, &l.clock);
        look_away(&l);
    }
    must(w, kit_prune(node->store, &floor), "pruning failed");
    clock_done(&floor);
}

static void settle(struct world *w)
{
    for (size_t turn = 0; turn < TURNS_MAX && w->fine; turn++) {
        for (size_t n = 0; n < w->node_count * w->node_count && w->fine; n++)
            if (n / w->node_count != n % w->node_count)
                exchange(w, &w->nodes[n / w->node_count], &w->nodes[n % w->node_count], true);
        bool equal = true;
        for (size_t i = 1; i < w->node_count; i++)
            equal = equal && memcmp(&w->nodes[i].known, &w->nodes[0].known, sizeof w->nodes[0].known) == 0;
        if (equal && turn > 1)
            return;
    }
    bad(w, "it does not settle", 0, 1);
}

/* ---- the run -------------------------------------------------------------------------------------- */

static void one_step(struct world *w)
{
    size_t i = pick(w, w->node_count), k = pick(w, w->node_count - 1), x = pick(w, 1000);
    struct node *a = &w->nodes[i], *b = &w->nodes[k + (k >= i)];
    if (x < 400)
        change(w, a, chance(w, 120));
    else if (x < 700)
        exchange(w, a, b, false);
    else if (x < 850)
        start_again(w, a);
    else if (x < 900)
        prune(w, a);
    else if (x < 950)
        save(a);
    else if (x < 970 && a->saved_count)
        fall_back(w, a);
    else if (x < 980 && w->node_count < NODES_MAX)
        double_up(w, a);
    else if (x < 985 && w->node_count > 3)
        drop(w, a);
    for (size_t n = 0; n < w->node_count; n++)
        check(w, &w->nodes[n]);
}

static void run(struct world *w, uint64_t seed)
{
    *w = (struct world){.fine = true};
    rng_init(&w->rng, seed);
    w->node_count = 2 + pick(w, 2);
    for (size_t i = 0; i < w->node_count; i++)
        open_on(w, &w->nodes[i], engine_mem_new());
    size_t steps = 50 + pick(w, 250);
    for (w->step = 0; w->step < steps && w->fine; w->step++)
        one_step(w);
    if (w->fine)
        settle(w);
    while (w->node_count)
        drop(w, &w->nodes[w->node_count - 1]);
}

#ifndef YZMA_WEAKEN

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 300;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t reidentified = 0, walked = 0, deleted = 0;
    struct world *w = mem_new(sizeof *w);
    for (uint64_t seed = first; seed < first + count; seed++) {
        run(w, seed);
        if (!w->fine) {
            printf("seed %" PRIu64 ": %s\nreplay: test_counters 1 %" PRIu64 "\n", seed, w->why, seed);
            free(w);
            return 1;
        }
        reidentified += w->reidentified, walked += w->walked, deleted += w->deleted;
    }
    free(w);
    printf("%" PRIu64 " worlds agree with the oracle: %" PRIu64 " new ids, %" PRIu64 " walks, %" PRIu64
           " deletes\n",
           count, reidentified, walked, deleted);
    return count == 0 || (count >= 100 && (!reidentified || !walked || !deleted));
}

#else

int main(int argc, char **argv)
{
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 300;
    struct world *w = mem_new(sizeof *w);
    weakened = WEAKEN_SESSIONS;
    bool missed = false;
    for (uint64_t seed = 1; seed <= count && !missed; seed++) {
        run(w, seed);
        missed = !w->fine;
        if (missed)
            printf("without the rule, seed %" PRIu64 ": %s\n", seed, w->why);
    }
    free(w);
    return !missed;
}

#endif
