/* Crashes: the log engine on a simulated disk dies at every change of the disk in turn,
 * and at random, over many lives in a row. What was acknowledged is there afterwards; a
 * commit in doubt is there wholly or not at all; nothing else is; and it goes on.
 *
 * A tree of numbers is the truth: a value follows from its number. The inner engine is
 * as durable as LMDB: what it has committed by the moment of death is there after it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "disk_sim.h"
#include "engine_lmdb.h"
#include "engine_mem.h"
#include "log_engine.h"
#include "mem.h"
#include "rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SHORT = 6, /* keys of a few bytes; behind them groups that share a prefix */
    GROUP = 10,
    KEYS = SHORT + 3 * GROUP,
    KEY_LONGEST = 511,
    VALUE_LONGEST = 6000,
    SEGMENT = 4096, /* so that some frames are longer */
    READERS_MAX = 3,
    DOUBTS_MAX = 8,
};

struct model {
    uint32_t value[TABLES][KEYS]; /* its number; 0: absent */
};

struct reader {
    struct engine_txn *txn;
    struct model model;
};

struct world {
    uint64_t seed;
    struct rng rng;
    struct disk_sim *sim;
    char folder[32];     /* of LMDB; "": the memory engine */
    struct engine *kept; /* of the memory engine, between two lives */
    struct engine *engine, *inner;
    struct model committed;
    struct model doubts[DOUBTS_MAX]; /* commits that failed since the last that did not */
    size_t doubt_count;
    bool acknowledged; /* something was, ever */
    bool faults;       /* planned: any call may fail */
    uint32_t last_value;
    struct reader readers[READERS_MAX];
    size_t reader_count;
    unsigned lives, deaths, errors, resolved;
    uint64_t frames, applied, reused; /* by the engines of all lives */
};

/* ---- keys and values -------------------------------------------------------------- */

/* In the order of their numbers. The last of each group is as long as a key may be. */
static struct bytes key_of(size_t number, uint8_t room[KEY_LONGEST])
{
    if (number < SHORT) {
        memset(room, 0, number + 1);
        room[0] = (uint8_t)(number + 1);
        return bytes_of(room, number + 1);
    }
    size_t at = (number - SHORT) % GROUP, len = at == GROUP - 1 ? KEY_LONGEST : 24;
    memset(room, 0, len);
    room[0] = (uint8_t)(0x10 + (number - SHORT) / GROUP);
    room[23] = (uint8_t)at;
    return bytes_of(room, len);
}

static struct bytes value_of(uint32_t number, uint8_t room[VALUE_LONGEST])
{
    struct rng rng;
    rng_init(&rng, number);
    size_t len = (size_t)(rng_below(&rng, 8) ? rng_below(&rng, 120) : rng_below(&rng, VALUE_LONGEST));
    memset(room, (int)rng_below(&rng, 256), len);
    for (size_t i = 0; i < len && i < 4; i++)
        room[i] = (uint8_t)(number >> (8 * i));
    return bytes_of(room, len);
}

static size_t pick(struct world *w, size_t n)
{
    return (size_t)rng_below(&w->rng, n);
}

/* ---- the inner engine: dies with the process ---------------------------------------- */

/* One world lives at a time. */
static struct engine_ops dying_ops;
static const struct engine_ops *real_ops;
static struct world *living;
static size_t commits_left; /* the process dies at this commit; 0: at none */
static bool died;

static bool is_dead(void)
{
    return died || disk_sim_dead(living->sim);
}

static enum err dying_commit(struct engine_txn *txn)
{
    if (commits_left && --commits_left == 0) {
        if (disk_sim_calls(living->sim) % 2)
            died = true; /* before it happens, or right after */
        else
            disk_sim_crash_at(living->sim, 1);
    }
    if (!is_dead())
        return real_ops->commit(txn);
    real_ops->end(txn);
    return ERR_IO;
}

/* What the memory engine has committed outlives it. */
static void dying_close(struct engine *engine)
{
    if (!living->folder[0])
        living->kept = engine_mem_clone(engine);
    real_ops->close(engine);
}

static struct engine *mortal(struct engine *inner)
{
    real_ops = inner->ops;
    dying_ops = *inner->ops;
    dying_ops.commit = dying_commit;
    dying_ops.close = dying_close;
    inner->ops = &dying_ops;
    return inner;
}

static struct engine *open_inner(struct world *w)
{
    if (!w->folder[0]) {
        struct engine *inner = w->kept;
        w->kept = NULL;
        return mortal(inner);
    }
    char path[64];
    struct buf identity, why;
    struct engine *inner;
    buf_init(&identity, 64);
    buf_init(&why, 512);
    snprintf(path, sizeof path, "%s/yzma.db", w->folder);
    assert_int_equal(lmdb_engine_open(path, &(struct lmdb_options){0}, &inner, &identity, &why), OK);
    buf_done(&identity);
    buf_done(&why);
    return mortal(inner);
}

/* ---- comparing ------------------------------------------------------------------------ */

/* The table as a cursor shows it, as numbers. An error is a planned fault. */
static enum err scan(struct world *w, struct engine_txn *txn, enum table table, const struct model *model,
                     bool *ret_equal)
{
    const struct engine_ops *ops = w->engine->ops;
    static uint8_t key_room[KEY_LONGEST], value_room[VALUE_LONGEST];
    struct engine_cursor *cursor;
    struct bytes key, value;
    size_t number = 0;
    *ret_equal = true;
    enum err err = ops->cursor_open(txn, table, &cursor);
    if (err != OK)
        return err;
    err = ops->cursor_seek(cursor, bytes_of("\0", 1), &key, &value);
    while (err == OK && *ret_equal) {
        while (number < KEYS && !model->value[table][number])
            number++;
        *ret_equal = number < KEYS && bytes_equal(key, key_of(number, key_room)) &&
                     bytes_equal(value, value_of(model->value[table][number], value_room));
        number++;
        err = ops->cursor_next(cursor, &key, &value);
    }
    ops->cursor_close(cursor);
    if (err == ERR_NOT_FOUND)
        for (; number < KEYS; number++)
            *ret_equal = *ret_equal && !model->value[table][number];
    return err == OK || err == ERR_NOT_FOUND ? OK : err;
}

/* Of a table of the engine in whatever state: must be what the model says. */
static void check_table(struct world *w, struct engine_txn *txn, enum table table, const struct model *model)
{
    bool equal;
    if (scan(w, txn, table, model, &equal) == OK)
        assert_true(equal);
    else
        assert_true(w->faults || is_dead());
}

static void check_key(struct world *w, struct engine_txn *txn, const struct model *model)
{
    static uint8_t key_room[KEY_LONGEST], value_room[VALUE_LONGEST];
    enum table table = (enum table)pick(w, TABLES);
    size_t number = pick(w, KEYS);
    struct bytes value;
    enum err err = w->engine->ops->get(txn, table, key_of(number, key_room), &value);
    uint32_t expected = model->value[table][number];
    if (err == OK)
        assert_true(expected && bytes_equal(value, value_of(expected, value_room)));
    else if (err == ERR_NOT_FOUND)
        assert_false(expected);
    else
        assert_true(w->faults || is_dead());
}

static void check_before(struct world *w, struct engine_txn *txn, const struct model *model)
{
    static uint8_t key_room[KEY_LONGEST], found_room[KEY_LONGEST];
    const struct engine_ops *ops = w->engine->ops;
    enum table table = (enum table)pick(w, TABLES);
    size_t number = pick(w, KEYS), below = number;
    struct engine_cursor *cursor;
    struct bytes key, value;
    if (ops->cursor_open(txn, table, &cursor) != OK)
        return;
    enum err err = ops->cursor_before(cursor, key_of(number, key_room), &key, &value);
    while (below > 0 && !model->value[table][below - 1])
        below--;
    if (err == OK)
        assert_true(below > 0 && bytes_equal(key, key_of(below - 1, found_room)));
    else if (err == ERR_NOT_FOUND)
        assert_true(below == 0);
    ops->cursor_close(cursor);
}

static bool equals(struct world *w, const struct model *model)
{
    struct engine_txn *txn;
    bool all = true, equal;
    assert_int_equal(w->engine->ops->read_begin(w->engine, &txn), OK);
    for (unsigned t = 0; t < TABLES; t++) {
        assert_int_equal(scan(w, txn, (enum table)t, model, &equal), OK);
        all = all && equal;
    }
    w->engine->ops->end(txn);
    return all;
}

/* What is found decides which commit in doubt has happened. */
static void check_found(struct world *w)
{
    bool found = equals(w, &w->committed);
    for (size_t i = 0; i < w->doubt_count && !found; i++)
        if ((found = equals(w, &w->doubts[i]))) {
            w->committed = w->doubts[i];
            w->resolved++;
        }
    if (!found)
        print_message("seed %llu, life %u: not what was committed\n", (unsigned long long)w->seed, w->lives);
    assert_true(found);
    w->doubt_count = 0;
}

/* ---- what a process does ---------------------------------------------------------------- */

static enum err change(struct world *w, struct engine_txn *txn, struct model *model)
{
    static uint8_t room[KEY_LONGEST], value_room[VALUE_LONGEST], below_room[KEY_LONGEST];
    const struct engine_ops *ops = w->engine->ops;
    size_t number = pick(w, KEYS), what = pick(w, 10);
    enum table table = (enum table)pick(w, TABLES);
    if (what == 0 && number >= SHORT) {
        size_t first = number - (number - SHORT) % GROUP;
        struct bytes below = key_of(number, below_room);
        if (pick(w, 4) == 0) { /* all of the group */
            number = first + GROUP;
            memset(below_room + RANGE_PREFIX, 0xff, 9);
            below = bytes_of(below_room, RANGE_PREFIX + 9);
        }
        for (size_t i = first; i < number; i++)
            model->value[TABLE_ROWS][i] = 0;
        return ops->del_below(txn, TABLE_ROWS, bytes_of(below.data, RANGE_PREFIX), below);
    }
    if (what < 4) {
        model->value[table][number] = 0;
        return ops->del(txn, table, key_of(number, room));
    }
    uint32_t value = model->value[table][number] = ++w->last_value;
    return ops->put(txn, table, key_of(number, room), value_of(value, value_room));
}

static void transaction(struct world *w)
{
    const struct engine_ops *ops = w->engine->ops;
    struct engine_txn *txn;
    struct model model = w->committed;
    enum err err = ops->write_begin(w->engine, &txn);
    if (err != OK) {
        assert_true(w->faults || is_dead());
        return;
    }
    for (size_t n = 1 + pick(w, 6); n > 0 && err == OK; n--) {
        err = change(w, txn, &model);
        if (err == OK && pick(w, 4) == 0)
            check_key(w, txn, &model);
    }
    if (err == OK && pick(w, 8) == 0)
        check_table(w, txn, (enum table)pick(w, TABLES), &model);
    if (err != OK || pick(w, 10) == 0) {
        ops->end(txn);
        return;
    }
    err = ops->commit(txn);
    if (err == OK) {
        assert_false(is_dead());
        w->committed = model;
        w->acknowledged = true;
        w->doubt_count = 0;
        return;
    }
    assert_true(w->faults || is_dead());
    assert_true(w->doubt_count < DOUBTS_MAX);
    w->doubts[w->doubt_count++] = model;
    w->errors++;
}

static void open_reader(struct world *w)
{
    struct reader *reader = &w->readers[w->reader_count];
    if (w->reader_count == READERS_MAX || w->engine->ops->read_begin(w->engine, &reader->txn) != OK)
        return;
    reader->model = w->committed;
    w->reader_count++;
}

static void use_readers(struct world *w)
{
    for (size_t i = 0; i < w->reader_count; i++) {
        check_key(w, w->readers[i].txn, &w->readers[i].model);
        check_before(w, w->readers[i].txn, &w->readers[i].model);
    }
}

static void close_reader(struct world *w)
{
    if (!w->reader_count)
        return;
    struct reader *reader = &w->readers[pick(w, w->reader_count)];
    check_table(w, reader->txn, (enum table)pick(w, TABLES), &reader->model);
    w->engine->ops->end(reader->txn);
    *reader = w->readers[--w->reader_count];
}

static void step(struct world *w)
{
    size_t what = pick(w, 100);
    if (what < 45)
        transaction(w);
    else if (what < 52)
        open_reader(w);
    else if (what < 60)
        use_readers(w);
    else if (what < 68)
        close_reader(w);
    else if (what < 78)
        log_engine_freeze(w->engine);
    else if (what < 96)
        for (size_t n = pick(w, 8); n > 0 && !is_dead(); n--)
            (void)!log_engine_apply(w->engine);
    else
        (void)!log_engine_prepare(w->engine);
}

/* ---- lives ---------------------------------------------------------------------------------- */

/* A call of the memory engine fails, some time; 0: none. */
static void plan_inner_fault(struct world *w, size_t within)
{
    if (!w->folder[0])
        engine_mem_fail(w->inner, w->faults && within && pick(w, 2) ? 1 + pick(w, within) : 0,
                        pick(w, 2) ? ERR_IO : ERR_FULL);
}

static enum err try_to_open(struct world *w)
{
    struct log_engine_options options = {.disk = disk_sim_mount(w->sim),
                                         .where = "log",
                                         .random = disk_sim_calls(w->sim) + 1,
                                         .memory_max = pick(w, 4) ? 16 << 20 : 0,
                                         .segment_bytes = SEGMENT};
    struct log_found found;
    struct buf why;
    memset(options.fresh_id, (int)(1 + w->lives % 250), LOG_ID_SIZE);
    buf_init(&why, 512);
    struct engine *inner = open_inner(w);
    w->inner = inner;
    plan_inner_fault(w, 100);
    enum err err = log_engine_open(inner, &options, &w->engine, &found, &why);
    if (err == OK) {
        /* A log that was not there yet when the first process died counts as lost. */
        assert_true(!found.lost || !w->acknowledged);
    } else if (!w->faults && !is_dead()) {
        print_message("seed %llu, life %u: %.*s\n", (unsigned long long)w->seed, w->lives, (int)why.len,
                      (const char *)why.data);
        assert_int_equal(err, OK);
    }
    buf_done(&why);
    return err;
}

static void end_life(struct world *w, bool power)
{
    while (w->reader_count)
        w->engine->ops->end(w->readers[--w->reader_count].txn);
    if (w->engine) {
        struct log_engine_counters count;
        log_engine_counters(w->engine, &count);
        w->frames += count.log.frames;
        w->applied += count.applied;
        w->reused += count.log.reused;
        w->engine->ops->close(w->engine);
    }
    w->engine = NULL;
    w->deaths += is_dead();
    if (power)
        disk_sim_crash(w->sim);
    else
        disk_sim_kill(w->sim);
    died = false;
    commits_left = 0;
}

/* One process: dies at a change of the disk (0: at none), or at a commit of the inner
 * engine, or lives for so many steps. False when it got through. */
static bool live(struct world *w, uint64_t at_change, size_t at_commit, size_t steps)
{
    w->lives++;
    disk_sim_crash_at(w->sim, at_change);
    commits_left = at_commit;
    if (try_to_open(w) != OK)
        return true;
    plan_inner_fault(w, 0);
    check_found(w);
    plan_inner_fault(w, 2000);
    for (; steps > 0 && !is_dead(); steps--)
        step(w);
    return is_dead();
}

/* Nothing fails: all is as it should be, and goes on. */
static void live_well(struct world *w, size_t steps)
{
    w->faults = false;
    w->lives++;
    assert_int_equal(try_to_open(w), OK);
    check_found(w);
    for (; steps > 0; steps--)
        step(w);
    assert_true(equals(w, &w->committed));
    end_life(w, pick(w, 2));
}

static void world_init(struct world *w, uint64_t seed, bool lmdb)
{
    *w = (struct world){.seed = seed, .sim = disk_sim_new(seed)};
    rng_init(&w->rng, seed);
    living = w;
    if (lmdb) {
        strcpy(w->folder, "/tmp/yzma-crash-XXXXXX");
        assert_non_null(mkdtemp(w->folder));
    } else {
        w->kept = engine_mem_new();
    }
}

static void world_done(struct world *w)
{
    if (w->folder[0]) {
        char command[64];
        snprintf(command, sizeof command, "rm -r %s", w->folder);
        assert_int_equal(system(command), 0);
    } else {
        w->kept->ops->close(w->kept);
    }
    disk_sim_free(w->sim);
}

/* ---- the tests -------------------------------------------------------------------------------- */

/* One life is lived again and again, and dies one change later each time, both ways. */
static void dying_at_any_change_loses_nothing(void **state)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        bool died_at_all = true;
        for (uint64_t at = 1; died_at_all; at++) {
            for (int power = 0; power < 2; power++) {
                struct world *w = mem_new(sizeof *w);
                world_init(w, seed, false);
                died_at_all = live(w, at, 0, 40);
                end_life(w, power);
                live_well(w, 10);
                live_well(w, 0);
                world_done(w);
                free(w);
            }
        }
    }
}

static void lead_lives(uint64_t seed, bool lmdb, size_t lives, bool faults, struct world *sum)
{
    struct world *w = mem_new(sizeof *w);
    world_init(w, seed, lmdb);
    for (size_t i = 0; i < lives; i++) {
        w->faults = faults && pick(w, 2);
        if (w->faults)
            disk_sim_fail(w->sim, 1 + pick(w, 80), pick(w, 2) ? ERR_IO : ERR_FULL);
        size_t how = pick(w, 4);
        live(w, how < 2 ? 1 + pick(w, 80) : 0, how == 2 ? 1 + pick(w, 8) : 0, 10 + pick(w, 60));
        end_life(w, pick(w, 2));
        if (pick(w, 3) == 0)
            live_well(w, pick(w, 30));
    }
    live_well(w, 0);
    sum->deaths += w->deaths;
    sum->errors += w->errors;
    sum->resolved += w->resolved;
    sum->frames += w->frames;
    sum->applied += w->applied;
    sum->reused += w->reused;
    world_done(w);
    free(w);
}

/* All that may happen has happened, often enough. */
static void assert_eventful(const struct world *sum)
{
    enum { N = WORLDS / 100 };
    assert_true(sum->deaths > 333 * N && sum->errors > 166 * N && sum->resolved > 16 * N);
    assert_true(sum->applied > 666 * N && sum->applied < sum->frames / 2 && sum->reused > 333 * N);
}

static void many_lives_in_a_row_lose_nothing(void **state)
{
    struct world sum = {0};
    for (uint64_t seed = 1; seed <= WORLDS; seed++)
        lead_lives(seed, false, 12, false, &sum);
    assert_eventful(&sum);
}

static void failing_calls_and_deaths_lose_nothing(void **state)
{
    struct world sum = {0};
    for (uint64_t seed = 1001; seed <= 1000 + WORLDS; seed++)
        lead_lives(seed, false, 12, true, &sum);
    assert_eventful(&sum);
}

static void in_front_of_lmdb_nothing_is_lost_either(void **state)
{
    struct world sum = {0};
    for (uint64_t seed = 2001; seed <= 2004; seed++)
        lead_lives(seed, true, 6, false, &sum);
    assert_true(sum.deaths > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dying_at_any_change_loses_nothing),
        cmocka_unit_test(many_lives_in_a_row_lose_nothing),
        cmocka_unit_test(failing_calls_and_deaths_lose_nothing),
        cmocka_unit_test(in_front_of_lmdb_nothing_is_lost_either),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
