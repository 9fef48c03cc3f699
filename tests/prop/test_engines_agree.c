/* LMDB and the engine in memory, side by side: the same random calls on both give
 * the same answers, in transactions that commit, that are undone, in snapshots that
 * stay open meanwhile, and after the file was closed and opened again. So what the
 * simulations find to hold over the one holds over the other.
 *
 * A failure prints the seed: ENGINES_SEED=n runs it alone. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "engine_lmdb.h"
#include "engine_mem.h"
#include "rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SEEDS = 25,
    STEPS = 120,
    CALLS = 25, /* of one transaction, at most */
    SNAPSHOTS = 4,
    KEY_SIZE_MAX = 511,
    VALUE_SIZE_MAX = 20000, /* several pages */
};

struct side {
    struct engine *engine;
    struct engine_txn *writer, *readers[SNAPSHOTS];
};

struct world {
    struct rng rng;
    char folder[64], path[96];
    struct side mem, lmdb;
    uint8_t key[KEY_SIZE_MAX], value[VALUE_SIZE_MAX];
};

static struct engine *open_file(const char *path)
{
    struct buf identity, why;
    buf_init(&identity, 64);
    buf_init(&why, 512);
    struct engine *engine;
    assert_int_equal(lmdb_engine_open(path, &(struct lmdb_options){0}, &engine, &identity, &why), OK);
    buf_done(&identity);
    buf_done(&why);
    return engine;
}

/* Few different keys, so that calls meet; a common start and any length, up to
 * the limit, so that pages split. */
static struct bytes random_key(struct world *w)
{
    static const size_t lens[] = {1, 2, 3, 8, 16, 100, KEY_SIZE_MAX};
    size_t len = lens[rng_below(&w->rng, 7)];
    memset(w->key, 'k', len);
    w->key[len - 1] = (uint8_t)rng_below(&w->rng, 20);
    if (len > 1)
        w->key[len - 2] = (uint8_t)(250 + rng_below(&w->rng, 3));
    return bytes_of(w->key, len);
}

static struct bytes random_value(struct world *w)
{
    static const size_t lens[] = {0, 1, 30, 30, 200, 200, 3000, VALUE_SIZE_MAX};
    size_t len = lens[rng_below(&w->rng, 8)];
    memset(w->value, (int)rng_below(&w->rng, 256), len);
    return bytes_of(w->value, len);
}

static enum table random_table(struct world *w)
{
    return (enum table)rng_below(&w->rng, TABLES);
}

static void agree(enum err a, enum err b, struct bytes in_a, struct bytes in_b)
{
    assert_int_equal(a, b);
    assert_true(a == OK || a == ERR_NOT_FOUND);
    if (a == OK)
        assert_true(bytes_equal(in_a, in_b));
}

/* The same walk with a cursor on both: from anywhere, some steps on. */
static void compare_cursors(struct world *w, struct engine_txn *mem, struct engine_txn *lmdb)
{
    const struct engine_ops *a = w->mem.engine->ops, *b = w->lmdb.engine->ops;
    enum table table = random_table(w);
    struct engine_cursor *in_a, *in_b;
    assert_int_equal(a->cursor_open(mem, table, &in_a), OK);
    assert_int_equal(b->cursor_open(lmdb, table, &in_b), OK);
    struct bytes from = rng_permille(&w->rng, 300) ? bytes_of("", 0) : random_key(w);
    struct bytes ka = {0}, kb = {0}, va = {0}, vb = {0};
    if (rng_permille(&w->rng, 300)) {
        enum err ea = a->cursor_before(in_a, from, &ka, &va), eb = b->cursor_before(in_b, from, &kb, &vb);
        agree(ea, eb, ka, kb);
        agree(ea, eb, va, vb);
    }
    enum err ea = a->cursor_seek(in_a, from, &ka, &va), eb = b->cursor_seek(in_b, from, &kb, &vb);
    for (uint64_t steps = rng_below(&w->rng, 30);; steps--) {
        agree(ea, eb, ka, kb);
        agree(ea, eb, va, vb);
        if (ea != OK || steps == 0)
            break;
        ea = a->cursor_next(in_a, &ka, &va), eb = b->cursor_next(in_b, &kb, &vb);
    }
    a->cursor_close(in_a);
    b->cursor_close(in_b);
}

static void compare_reads(struct world *w, struct engine_txn *mem, struct engine_txn *lmdb)
{
    enum table table = random_table(w);
    struct bytes key = random_key(w), a = {0}, b = {0};
    enum err ea = w->mem.engine->ops->get(mem, table, key, &a);
    enum err eb = w->lmdb.engine->ops->get(lmdb, table, key, &b);
    agree(ea, eb, a, b);
    compare_cursors(w, mem, lmdb);
}

static void run_writer(struct world *w)
{
    struct side *a = &w->mem, *b = &w->lmdb;
    assert_int_equal(a->engine->ops->write_begin(a->engine, &a->writer), OK);
    assert_int_equal(b->engine->ops->write_begin(b->engine, &b->writer), OK);
    for (uint64_t calls = rng_below(&w->rng, CALLS + 1); calls > 0; calls--) {
        enum table table = random_table(w);
        struct bytes key = random_key(w);
        if (rng_permille(&w->rng, 600)) {
            struct bytes value = random_value(w);
            assert_int_equal(a->engine->ops->put(a->writer, table, key, value), OK);
            assert_int_equal(b->engine->ops->put(b->writer, table, key, value), OK);
        } else {
            assert_int_equal(a->engine->ops->del(a->writer, table, key), OK);
            assert_int_equal(b->engine->ops->del(b->writer, table, key), OK);
        }
        compare_reads(w, a->writer, b->writer);
    }
    if (rng_permille(&w->rng, 200)) {
        a->engine->ops->end(a->writer);
        b->engine->ops->end(b->writer);
    } else {
        assert_int_equal(a->engine->ops->commit(a->writer), OK);
        assert_int_equal(b->engine->ops->commit(b->writer), OK);
    }
}

static void open_or_close_snapshot(struct world *w)
{
    size_t i = rng_below(&w->rng, SNAPSHOTS);
    struct side *a = &w->mem, *b = &w->lmdb;
    if (!a->readers[i]) {
        assert_int_equal(a->engine->ops->read_begin(a->engine, &a->readers[i]), OK);
        assert_int_equal(b->engine->ops->read_begin(b->engine, &b->readers[i]), OK);
    } else {
        a->engine->ops->end(a->readers[i]);
        b->engine->ops->end(b->readers[i]);
        a->readers[i] = b->readers[i] = NULL;
    }
}

static void close_snapshots(struct world *w)
{
    for (size_t i = 0; i < SNAPSHOTS; i++) {
        if (!w->mem.readers[i])
            continue;
        w->mem.engine->ops->end(w->mem.readers[i]);
        w->lmdb.engine->ops->end(w->lmdb.readers[i]);
        w->mem.readers[i] = w->lmdb.readers[i] = NULL;
    }
}

static void compare_usage(struct world *w)
{
    struct engine_usage a, b;
    w->mem.engine->ops->usage(w->mem.engine, &a);
    w->lmdb.engine->ops->usage(w->lmdb.engine, &b);
    for (size_t i = 0; i < TABLES; i++)
        assert_int_equal(a.entries[i], b.entries[i]);
}

static void run_world(uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    rng_init(&w->rng, seed);
    strcpy(w->folder, "/tmp/yzma-engines-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/yzma.db", w->folder);
    w->mem.engine = engine_mem_new();
    w->lmdb.engine = open_file(w->path);

    for (int step = 0; step < STEPS; step++) {
        if (rng_permille(&w->rng, 400))
            open_or_close_snapshot(w);
        if (rng_permille(&w->rng, 500))
            run_writer(w);
        for (size_t i = 0; i < SNAPSHOTS; i++)
            if (w->mem.readers[i])
                compare_reads(w, w->mem.readers[i], w->lmdb.readers[i]);
        compare_usage(w);
        if (rng_permille(&w->rng, 30)) {
            close_snapshots(w);
            w->lmdb.engine->ops->close(w->lmdb.engine);
            w->lmdb.engine = open_file(w->path);
        }
    }
    close_snapshots(w);
    w->mem.engine->ops->close(w->mem.engine);
    w->lmdb.engine->ops->close(w->lmdb.engine);
    unlink(w->path);
    strcat(w->path, "-lock");
    unlink(w->path);
    rmdir(w->folder);
    free(w);
}

static void engines_agree(void **state)
{
    const char *only = getenv("ENGINES_SEED");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + (only ? 1 : SEEDS); seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run_world(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(engines_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
