/* The log engine, call by call: every inner call and every allocation fails in turn, the
 * inner engine has no room, the log is lost, counts are right. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "disk_sim.h"
#include "engine_mem.h"
#include "log_engine.h"

#include <stdlib.h>

struct rig {
    struct disk_sim *sim;
    struct engine *inner, *engine;
    struct log_found found;
    struct buf why;
};

static enum err open_engine(struct rig *rig, uint64_t memory_max)
{
    struct log_engine_options options = {.disk = disk_sim_mount(rig->sim),
                                         .where = "log",
                                         .random = disk_sim_calls(rig->sim) + 1,
                                         .memory_max = memory_max,
                                         .segment_bytes = 4096};
    options.fresh_id[0] = (uint8_t)(1 + disk_sim_calls(rig->sim) % 255);
    buf_reset(&rig->why);
    return log_engine_open(rig->inner, &options, &rig->engine, &rig->found, &rig->why);
}

static struct rig new_rig(uint64_t memory_max)
{
    struct rig rig = {.sim = disk_sim_new(1), .inner = engine_mem_new()};
    buf_init(&rig.why, 512);
    assert_int_equal(open_engine(&rig, memory_max), OK);
    return rig;
}

/* The next process finds what the inner engine had committed. */
static void reopen(struct rig *rig, uint64_t memory_max)
{
    struct engine *kept = engine_mem_clone(rig->inner);
    rig->engine->ops->close(rig->engine);
    rig->inner = kept;
    assert_int_equal(open_engine(rig, memory_max), OK);
    assert_false(rig->found.lost);
}

static void done(struct rig *rig)
{
    rig->engine->ops->close(rig->engine);
    buf_done(&rig->why);
    disk_sim_free(rig->sim);
}

/* One commit of a value under a key. */
static enum err put_at(struct rig *rig, enum table table, struct bytes key, struct bytes value)
{
    struct engine_txn *txn;
    enum err err = rig->engine->ops->write_begin(rig->engine, &txn);
    if (err != OK)
        return err;
    err = rig->engine->ops->put(txn, table, key, value);
    if (err == OK)
        return rig->engine->ops->commit(txn);
    rig->engine->ops->end(txn);
    return err;
}

static enum err put(struct rig *rig, const char *key, const char *value)
{
    return put_at(rig, TABLE_RECORDS, bytes_str(key), bytes_str(value));
}

static enum err get(struct rig *rig, const char *key, char ret[64])
{
    struct engine_txn *txn;
    struct bytes value;
    enum err err = rig->engine->ops->read_begin(rig->engine, &txn);
    if (err != OK)
        return err;
    err = rig->engine->ops->get(txn, TABLE_RECORDS, bytes_str(key), &value);
    if (err == OK) {
        assert_true(value.len < 64);
        memcpy(ret, value.data, value.len);
        ret[value.len] = 0;
    }
    rig->engine->ops->end(txn);
    return err;
}

static void expect(struct rig *rig, const char *key, const char *value)
{
    char found[64] = "";
    assert_int_equal(get(rig, key, found), value ? OK : ERR_NOT_FOUND);
    assert_string_equal(found, value ? value : "");
}

static uint64_t records(struct rig *rig)
{
    struct engine_usage usage;
    rig->engine->ops->usage(rig->engine, &usage);
    return usage.entries[TABLE_RECORDS];
}

/* ---- faults ------------------------------------------------------------------- */

/* Each call of the inner engine fails in turn, over commits, applies and reads: the
 * caller hears of it, and afterwards everything acknowledged is there and goes on. */
static void a_failing_inner_call_is_an_error_and_no_more(void **state)
{
    for (unsigned nth = 1, reached = 1; reached; nth++) {
        struct rig rig = new_rig(16 << 20);
        assert_int_equal(put(&rig, "a", "1"), OK);
        log_engine_freeze(rig.engine);
        uint64_t calls = engine_mem_calls(rig.inner);
        engine_mem_fail(rig.inner, nth, nth % 2 ? ERR_IO : ERR_FULL);
        bool b = put(&rig, "b", "2") == OK;
        char found[64];
        enum err err = get(&rig, "zz", found);
        assert_true(err == ERR_NOT_FOUND || err == ERR_IO || err == ERR_FULL);
        for (int i = 0; i < 3; i++)
            (void)!log_engine_apply(rig.engine);
        bool c = put(&rig, "c", "3") == OK;
        log_engine_freeze(rig.engine);
        (void)!log_engine_apply(rig.engine);
        reached = engine_mem_calls(rig.inner) - calls >= nth;
        engine_mem_fail(rig.inner, 0, OK);
        (void)!log_engine_apply(rig.engine); /* a full inner engine is known to have room again */

        assert_int_equal(put(&rig, "d", "4"), OK);
        for (int i = 0; i < 2; i++) {
            expect(&rig, "a", "1");
            expect(&rig, "b", b ? "2" : NULL);
            expect(&rig, "c", c ? "3" : NULL);
            expect(&rig, "d", "4");
            assert_int_equal(records(&rig), 2u + b + c);
            assert_int_equal(rig.engine->ops->flush(rig.engine), OK);
            expect(&rig, "d", "4");
            reopen(&rig, 16 << 20);
        }
        done(&rig);
    }
}

/* malloc and calloc of the code under test, by the linker's --wrap. */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
static size_t allocations, fail_allocation; /* only large ones: small ones end the program */
enum { LARGE = 100 << 10 };

static bool allocation_fails(size_t size)
{
    return size >= LARGE && ++allocations == fail_allocation;
}

void *__wrap_malloc(size_t size)
{
    return allocation_fails(size) ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return allocation_fails(size) ? NULL : __real_realloc(old, size);
}

/* Memory of a client's size is not to be had. */
static void a_failing_allocation_is_that_commits_error_alone(void **state)
{
    static uint8_t big[400 << 10];
    bool reached = true;
    for (size_t nth = 1; reached; nth++) {
        struct rig rig = new_rig(64 << 20);
        assert_int_equal(put(&rig, "a", "1"), OK);
        allocations = 0;
        fail_allocation = nth;
        enum err err = put_at(&rig, TABLE_RECORDS, bytes_str("big"), bytes_of(big, sizeof big));
        reached = allocations >= nth;
        fail_allocation = 0;
        assert_int_equal(err, reached ? ERR_NOMEM : OK);
        assert_int_equal(put(&rig, "b", "2"), OK);
        reopen(&rig, 64 << 20);
        expect(&rig, "a", "1");
        expect(&rig, "b", "2");
        assert_int_equal(records(&rig), 0); /* an estimate until it is applied */
        assert_int_equal(rig.engine->ops->flush(rig.engine), OK);
        assert_int_equal(records(&rig), err == OK ? 3 : 2);
        done(&rig);
    }
}

/* Replay too: the opening fails, and the next one finds all. */
static void a_failing_allocation_of_a_replay_fails_the_opening(void **state)
{
    static uint8_t big[400 << 10];
    bool failed = true;
    for (size_t nth = 1; failed; nth++) {
        struct rig rig = new_rig(64 << 20);
        assert_int_equal(put_at(&rig, TABLE_RECORDS, bytes_str("big"), bytes_of(big, sizeof big)), OK);
        assert_int_equal(put(&rig, "a", "1"), OK);
        struct engine *kept = engine_mem_clone(rig.inner);
        rig.engine->ops->close(rig.engine);
        rig.inner = engine_mem_clone(kept);
        allocations = 0;
        fail_allocation = nth;
        enum err err = open_engine(&rig, 64 << 20);
        failed = allocations >= nth;
        fail_allocation = 0;
        assert_int_equal(err, failed ? ERR_NOMEM : OK);
        if (failed) {
            assert_true(rig.why.len > 0);
            rig.inner = engine_mem_clone(kept);
            assert_int_equal(open_engine(&rig, 64 << 20), OK);
        }
        kept->ops->close(kept);
        expect(&rig, "a", "1");
        done(&rig);
    }
}

/* ---- memory ---------------------------------------------------------------------- */

static void however_small_the_memory_it_works(void **state)
{
    const uint64_t sizes[] = {0, 1, 2, 3, 100, 256 << 10, 512 << 10, 600 << 10};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct rig rig = new_rig(sizes[i]);
        for (char c = 'a'; c <= 'z'; c++)
            assert_int_equal(put(&rig, (char[]){c, 0}, (char[]){c, c, 0}), OK);
        reopen(&rig, sizes[i]);
        for (char c = 'a'; c <= 'z'; c++)
            expect(&rig, (char[]){c, 0}, (char[]){c, c, 0});
        struct log_engine_counters count;
        log_engine_counters(rig.engine, &count);
        assert_true(count.memory_bytes <= sizes[i] + (1 << 20));
        done(&rig);
    }
}

/* The inner engine refuses all: writers go on until both generations are full, then
 * they are told; and go on when it has room again. */
static struct engine_ops full_ops;
static const struct engine_ops *inner_ops;
static bool is_full;
static size_t fits; /* entries that a transaction may have, even so */
static enum err refusal;

static size_t in_txn;
static enum err full_put(struct engine_txn *txn, enum table table, struct bytes key, struct bytes value)
{
    return is_full && table != TABLE_FRONT && ++in_txn > fits ? refusal
                                                              : inner_ops->put(txn, table, key, value);
}

static enum err full_begin(struct engine *engine, struct engine_txn **ret)
{
    in_txn = 0;
    return inner_ops->write_begin(engine, ret);
}

static void make_full(struct rig *rig)
{
    inner_ops = rig->inner->ops;
    full_ops = *inner_ops;
    full_ops.put = full_put;
    full_ops.write_begin = full_begin;
    rig->inner->ops = &full_ops;
    is_full = true;
    fits = 0;
    refusal = ERR_FULL;
}

static void a_full_inner_engine_stops_puts_and_memory(void **state)
{
    static uint8_t value[100 << 10];
    struct rig rig = new_rig(2 << 20);
    make_full(&rig);
    unsigned taken = 0;
    enum err err;
    for (char key[8] = "k0";
         (err = put_at(&rig, TABLE_RECORDS, bytes_str(key), bytes_of(value, sizeof value))) == OK; key[1]++)
        taken++;
    assert_int_equal(err, ERR_FULL);
    assert_true(taken >= 10 && taken <= 40);
    /* What costs nothing is taken for a while longer, not for ever. */
    for (unsigned i = 0; i < 200 && err != OK + 1000; i++)
        if (put_at(&rig, TABLE_META, bytes_str("m"), bytes_of(value, sizeof value)) != OK)
            err = OK + 1000;
    assert_int_equal(err, OK + 1000);
    struct log_engine_counters count;
    log_engine_counters(rig.engine, &count);
    assert_int_equal(count.stuck, ERR_FULL);
    assert_true(count.memory_bytes < 4 * (2 << 20));

    is_full = false;
    while (log_engine_apply(rig.engine) == OK)
        ;
    assert_int_equal(put(&rig, "after", "1"), OK);
    assert_int_equal(rig.engine->ops->flush(rig.engine), OK);
    assert_int_equal(records(&rig), taken + 1);
    done(&rig);
}

/* Where a large chunk finds no room a small one may. */
static void flushing_tries_smaller_chunks(void **state)
{
    struct rig rig = new_rig(16 << 20);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned j = 0; j < 60; j++)
            assert_int_equal(put(&rig, (char[]){(char)('a' + i), (char)('A' + j), 0}, "v"), OK);
        if (i == 1) {
            make_full(&rig);
            fits = 1;
        }
        assert_int_equal(rig.engine->ops->flush(rig.engine), OK);
        is_full = false;
    }
    assert_int_equal(records(&rig), 180);
    done(&rig);
}

/* ---- the length of chunks ------------------------------------------------------------ */

static void put_many(struct rig *rig, unsigned from, unsigned n)
{
    struct engine_txn *txn;
    assert_int_equal(rig->engine->ops->write_begin(rig->engine, &txn), OK);
    for (unsigned i = from; i < from + n; i++) {
        uint8_t key[4] = {(uint8_t)(i >> 24), (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        assert_int_equal(rig->engine->ops->put(txn, TABLE_RECORDS, bytes_of(key, sizeof key), bytes_str("v")),
                         OK);
    }
    assert_int_equal(rig->engine->ops->commit(txn), OK);
}

/* Both generations nearly full: the applier is behind, and long chunks are in order. */
static struct rig rig_that_is_behind(void)
{
    struct rig rig = new_rig(24 << 20);
    put_many(&rig, 0, 40000);
    assert_true(log_engine_freeze(rig.engine));
    put_many(&rig, 40000, 40000);
    assert_true(log_engine_behind(rig.engine));
    return rig;
}

static struct log_engine_counters counters(struct rig *rig)
{
    struct log_engine_counters count;
    log_engine_counters(rig->engine, &count);
    return count;
}

/* However far behind: a chunk that took long is followed by shorter ones, until they
 * are quick; and those grow again. */
static void slow_chunks_get_shorter_and_quick_ones_grow(void **state)
{
    struct rig rig = rig_that_is_behind();
    while (counters(&rig).chunk < 1024)
        assert_int_equal(log_engine_apply(rig.engine), OK);
    for (size_t before = 1024, now; before > 32; before = now) {
        uint64_t applied = counters(&rig).applied_entries;
        assert_int_equal(log_engine_apply(rig.engine), OK);
        assert_true(counters(&rig).applied_entries - applied <= before);
        log_engine_took(rig.engine, LOG_CHUNK_SLOW_MS);
        now = counters(&rig).chunk;
        assert_true(now == 32 || now <= before / 2);
    }
    for (int i = 0; i < 3; i++) { /* as slow as may be */
        assert_int_equal(log_engine_apply(rig.engine), OK);
        log_engine_took(rig.engine, LOG_CHUNK_SLOW_MS / 2);
        assert_int_equal(counters(&rig).chunk, 32);
    }
    for (int i = 0; i < 6; i++) {
        assert_int_equal(log_engine_apply(rig.engine), OK);
        log_engine_took(rig.engine, 1);
    }
    assert_true(counters(&rig).chunk >= 512);
    done(&rig);
}

/* Few entries may be many bytes. */
static void slow_chunks_of_long_values_get_shorter(void **state)
{
    static uint8_t value[1 << 20];
    struct rig rig = new_rig(128 << 20);
    for (int i = 0; i < 40; i++)
        assert_int_equal(
            put_at(&rig, TABLE_RECORDS, bytes_of((char[]){(char)i}, 1), bytes_of(value, sizeof value)), OK);
    assert_true(log_engine_freeze(rig.engine));
    for (int i = 0; i < 5; i++)
        assert_int_equal(log_engine_apply(rig.engine), OK);
    log_engine_took(rig.engine, LOG_CHUNK_SLOW_MS); /* of 16 MiB */
    uint64_t before = counters(&rig).applied_entries;
    assert_int_equal(log_engine_apply(rig.engine), OK);
    assert_int_equal(counters(&rig).applied_entries - before, 8);
    done(&rig);
}

/* At the end of the process they are short, however far behind. */
static void brief_chunks_are_short_at_once(void **state)
{
    struct rig rig = rig_that_is_behind();
    while (counters(&rig).chunk < 4096)
        assert_int_equal(log_engine_apply(rig.engine), OK);
    log_engine_be_brief(rig.engine);
    for (int i = 0; i < 5; i++) {
        uint64_t before = counters(&rig).applied_entries;
        assert_int_equal(log_engine_apply(rig.engine), OK);
        assert_int_equal(counters(&rig).applied_entries - before, 256);
    }
    done(&rig);
}

/* ---- who is told, who waits --------------------------------------------------------------- */

struct listener {
    struct rig *rig;
    size_t works, applied, waits;
    uint64_t segments; /* of the log, when all was applied */
};

static void count_work(void *ctx)
{
    ((struct listener *)ctx)->works++;
}

static void look_at_segments(void *ctx)
{
    struct listener *l = ctx;
    l->applied++;
    l->segments = counters(l->rig).log.segments;
}

static enum err count_wait(void *ctx, uint64_t most_ms, uint64_t *left_ms)
{
    ((struct listener *)ctx)->waits++;
    return OK;
}

static void listen_to(struct rig *rig, struct listener *l)
{
    l->rig = rig;
    log_engine_listen(rig->engine, count_work, look_at_segments, count_wait, l);
}

/* Whoever prepares segments is told as soon as the log has used one. */
static void each_new_segment_is_told_of(void **state)
{
    static uint8_t value[3000];
    struct rig rig = new_rig(8 << 20);
    struct listener l = {0};
    listen_to(&rig, &l);
    for (size_t i = 1; i <= 5; i++) {
        assert_int_equal(put(&rig, "a", "v"), OK);
        size_t before = l.works;
        assert_int_equal(put_at(&rig, TABLE_RECORDS, bytes_str("b"), bytes_of(value, sizeof value)), OK);
        assert_int_equal(l.works - before, i > 1); /* the first segment has room for it */
    }
    done(&rig);
}

/* Who waits for memory does not wait for the disk to give up the log's segments. */
static void room_is_told_of_before_the_log_is_trimmed(void **state)
{
    static uint8_t value[3000];
    struct rig rig = new_rig(8 << 20);
    struct listener l = {0};
    for (char c = 'a'; c < 'a' + 8; c++)
        assert_int_equal(put_at(&rig, TABLE_RECORDS, bytes_of(&c, 1), bytes_of(value, sizeof value)), OK);
    uint64_t before = counters(&rig).log.segments;
    listen_to(&rig, &l);
    assert_true(log_engine_freeze(rig.engine));
    while (log_engine_apply(rig.engine) == OK)
        continue;
    assert_int_equal(l.applied, 1);
    assert_int_equal(l.segments, before);
    assert_true(counters(&rig).log.segments <= 3);
    done(&rig);
}

static double filled(struct rig *rig)
{
    struct log_engine_counters count = counters(rig);
    return (double)count.active_bytes / (double)(count.memory_max / 2);
}

/* Fills the active generation up to this share, from this key on. */
static unsigned fill(struct rig *rig, unsigned key, double share)
{
    for (; filled(rig) < share; key += 500)
        put_many(rig, key, 500);
    return key;
}

/* Once memory is three quarters full what can wait should, a while before anybody must. */
static void bulk_is_to_wait_before_writers_do(void **state)
{
    struct rig rig = new_rig(24 << 20);
    struct listener l = {0};
    put_many(&rig, 0, 40000);
    assert_true(log_engine_freeze(rig.engine));
    listen_to(&rig, &l);
    unsigned next = fill(&rig, 40000, 0.45);
    assert_false(log_engine_crowded(rig.engine)); /* though nothing has been applied */
    while (counters(&rig).applied_entries < 16000)
        assert_int_equal(log_engine_apply(rig.engine), OK);
    assert_true(counters(&rig).applied_entries < 20000);
    next = fill(&rig, next, 0.6); /* more than has been applied, and not yet half of the rest */
    assert_true(log_engine_crowded(rig.engine));
    assert_int_equal(l.waits, 0);
    next = fill(&rig, next, 0.85);
    put_many(&rig, next, 500);
    assert_true(l.waits > 0);
    while (log_engine_apply(rig.engine) == OK)
        continue;
    assert_false(log_engine_crowded(rig.engine));
    done(&rig);
}

/* ---- a log without room ---------------------------------------------------------------- */

struct waiter {
    struct rig *rig;
    bool applies;
    unsigned waits;
};

/* A chunk has been tried after a tenth of a second. */
static enum err wait_a_tenth(void *ctx, uint64_t most_ms, uint64_t *left_ms)
{
    struct waiter *w = ctx;
    w->waits++;
    assert_true(most_ms >= 100 && w->waits < 1000);
    *left_ms = *left_ms > 100 ? *left_ms - 100 : 0;
    if (w->applies)
        (void)!log_engine_apply(w->rig->engine);
    return OK;
}

/* The log's last segment is full, and so is the disk. */
static struct rig rig_without_log_room(struct waiter *waiter)
{
    static uint8_t value[3000];
    struct rig rig = new_rig(8 << 20);
    make_full(&rig);
    is_full = false;
    assert_int_equal(put_at(&rig, TABLE_RECORDS, bytes_str("a"), bytes_of(value, sizeof value)), OK);
    assert_int_equal(log_engine_prepare(rig.engine), OK);
    disk_sim_full(rig.sim, disk_sim_used(rig.sim));
    assert_int_equal(put_at(&rig, TABLE_RECORDS, bytes_str("b"), bytes_of(value, sizeof value)), OK);
    *waiter = (struct waiter){.rig = NULL};
    return rig;
}

static enum err put_long(struct rig *rig, struct waiter *waiter)
{
    static uint8_t value[3000];
    waiter->rig = rig;
    log_engine_listen(rig->engine, NULL, NULL, wait_a_tenth, waiter);
    return put_at(rig, TABLE_RECORDS, bytes_str("d"), bytes_of(value, sizeof value));
}

/* Chunks come and come, and no segment becomes free: the writer waits for so long and no
 * longer, and asks the disk but once. */
static void a_writer_waits_for_the_log_to_have_room_for_so_long(void **state)
{
    struct waiter waiter;
    struct rig rig = rig_without_log_room(&waiter);
    uint64_t calls = disk_sim_calls(rig.sim);
    assert_int_equal(put_long(&rig, &waiter), ERR_FULL);
    assert_int_equal(waiter.waits, 50);
    assert_true(disk_sim_calls(rig.sim) - calls <= 3);
    done(&rig);
}

/* It goes on as soon as one is. */
static void a_writer_goes_on_when_the_log_has_room(void **state)
{
    struct waiter waiter;
    struct rig rig = rig_without_log_room(&waiter);
    waiter.applies = true;
    assert_int_equal(put_long(&rig, &waiter), OK);
    assert_true(waiter.waits >= 1 && waiter.waits < 10);
    done(&rig);
}

/* An inner engine that fails frees nothing: there is nothing to wait for. */
static void a_writer_waits_for_no_inner_engine_that_fails(void **state)
{
    struct waiter waiter;
    struct rig rig = rig_without_log_room(&waiter);
    waiter.applies = is_full = true;
    refusal = ERR_IO;
    assert_int_equal(put_long(&rig, &waiter), ERR_FULL);
    assert_int_equal(waiter.waits, 1);
    is_full = false;
    done(&rig);
}

/* A process that is killed soon after each start leaves a segment each time: they do not
 * pile up, and nothing is lost. (Of memory there is enough for what they hold.) */
static void starts_that_are_killed_early_do_not_fill_the_disk(void **state)
{
    struct rig rig = new_rig(32 << 10);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(put(&rig, (char[]){(char)('!' + i % 90), 0}, "v"), OK);
        reopen(&rig, 32 << 10);
        assert_true(counters(&rig).log.segments <= LOG_FAILED_MAX + 2);
    }
    assert_int_equal(records(&rig), 90);
    done(&rig);
}

/* What the opening itself has given the tree, of a log longer than memory may be, goes from
 * the log with it. */
static void what_the_opening_applies_leaves_the_log(void **state)
{
    static uint8_t value[1000];
    struct rig rig = new_rig(8 << 20);
    for (char c = 'a'; c < 'a' + 26; c++)
        assert_int_equal(put_at(&rig, TABLE_RECORDS, bytes_of(&c, 1), bytes_of(value, sizeof value)), OK);
    uint64_t segments = counters(&rig).log.segments;
    assert_in_range(segments, 8, LOG_FAILED_MAX); /* so few are left alone by what tidies up many */
    reopen(&rig, 4096);
    assert_true(counters(&rig).applied > 0);
    assert_true(counters(&rig).log.segments <= 4);
    struct engine_txn *txn;
    struct bytes found;
    assert_int_equal(rig.engine->ops->read_begin(rig.engine, &txn), OK);
    for (char c = 'a'; c < 'a' + 26; c++)
        assert_int_equal(rig.engine->ops->get(txn, TABLE_RECORDS, bytes_of(&c, 1), &found), OK);
    rig.engine->ops->end(txn);
    done(&rig);
}

/* ---- counts, keys ------------------------------------------------------------------- */

static void records_are_counted_while_they_pass(void **state)
{
    struct rig rig = new_rig(16 << 20);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(put(&rig, (char[]){'k', (char)('A' + i), 0}, "v"), OK);
        assert_int_equal(put(&rig, (char[]){'k', (char)('A' + i / 2), 0}, "again"), OK);
        assert_int_equal(records(&rig), i + 1);
    }
    log_engine_freeze(rig.engine);
    assert_int_equal(put(&rig, "new", "v"), OK);
    while (log_engine_apply(rig.engine) == OK)
        assert_int_equal(records(&rig), 51);
    assert_int_equal(records(&rig), 51);
    done(&rig);
}

/* The longest key, in a range that is deleted entry by entry. */
static void a_short_range_after_a_long_one_deletes_the_longest_key(void **state)
{
    struct rig rig = new_rig(16 << 20);
    uint8_t key[511];
    struct engine_txn *txn;
    const struct engine_ops *ops = rig.engine->ops;
    memset(key, 'k', sizeof key);
    struct bytes prefix = bytes_of(key, RANGE_PREFIX), found;
    uint8_t below[RANGE_PREFIX + 1], far[RANGE_PREFIX + 1];
    memset(below, 'k', sizeof below);
    memset(far, 'k', sizeof far);
    below[RANGE_PREFIX] = 'l';
    far[RANGE_PREFIX] = 'z';
    assert_int_equal(ops->write_begin(rig.engine, &txn), OK);
    assert_int_equal(ops->del_below(txn, TABLE_ROWS, prefix, bytes_of(far, sizeof far)), OK);
    assert_int_equal(ops->put(txn, TABLE_ROWS, bytes_of(key, sizeof key), bytes_str("v")), OK);
    assert_int_equal(ops->put(txn, TABLE_ROWS, bytes_of(far, sizeof far), bytes_str("stays")), OK);
    assert_int_equal(ops->commit(txn), OK);
    assert_int_equal(ops->write_begin(rig.engine, &txn), OK);
    assert_int_equal(ops->del_below(txn, TABLE_ROWS, prefix, bytes_of(below, sizeof below)), OK);
    assert_int_equal(ops->commit(txn), OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ops->read_begin(rig.engine, &txn), OK);
        assert_int_equal(ops->get(txn, TABLE_ROWS, bytes_of(key, sizeof key), &found), ERR_NOT_FOUND);
        assert_int_equal(ops->get(txn, TABLE_ROWS, bytes_of(far, sizeof far), &found), OK);
        ops->end(txn);
        reopen(&rig, 16 << 20);
    }
    done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_inner_call_is_an_error_and_no_more),
        cmocka_unit_test(a_failing_allocation_is_that_commits_error_alone),
        cmocka_unit_test(a_failing_allocation_of_a_replay_fails_the_opening),
        cmocka_unit_test(however_small_the_memory_it_works),
        cmocka_unit_test(a_full_inner_engine_stops_puts_and_memory),
        cmocka_unit_test(flushing_tries_smaller_chunks),
        cmocka_unit_test(slow_chunks_get_shorter_and_quick_ones_grow),
        cmocka_unit_test(slow_chunks_of_long_values_get_shorter),
        cmocka_unit_test(each_new_segment_is_told_of),
        cmocka_unit_test(room_is_told_of_before_the_log_is_trimmed),
        cmocka_unit_test(bulk_is_to_wait_before_writers_do),
        cmocka_unit_test(brief_chunks_are_short_at_once),
        cmocka_unit_test(starts_that_are_killed_early_do_not_fill_the_disk),
        cmocka_unit_test(what_the_opening_applies_leaves_the_log),
        cmocka_unit_test(a_writer_waits_for_the_log_to_have_room_for_so_long),
        cmocka_unit_test(a_writer_goes_on_when_the_log_has_room),
        cmocka_unit_test(a_writer_waits_for_no_inner_engine_that_fails),
        cmocka_unit_test(records_are_counted_while_they_pass),
        cmocka_unit_test(a_short_range_after_a_long_one_deletes_the_longest_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
