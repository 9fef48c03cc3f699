/* The applier beside a writer, on LMDB and real files: what it drains, how it keeps a
 * writer within the memory table's bound, and how it ends. Run under ThreadSanitizer. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "applier.h"
#include "disk_posix.h"
#include "engine_lmdb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MEMORY = 2 << 20, ENOUGH_MS = 60000 };

struct rig {
    char folder[32], db[64], log[64];
    struct engine *engine;
    struct applier *applier;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct engine *open_engine(struct rig *rig)
{
    struct buf identity, why;
    struct engine *inner, *engine;
    struct log_found found;
    struct log_engine_options options = {.where = "log", .random = 7, .memory_max = MEMORY};
    buf_init(&identity, 64);
    buf_init(&why, 512);
    assert_int_equal(lmdb_engine_open(rig->db, &(struct lmdb_options){0}, &inner, &identity, &why), OK);
    assert_int_equal(disk_posix_open(rig->log, &options.disk, &why), OK);
    assert_int_equal(log_engine_open(inner, &options, &engine, &found, &why), OK);
    buf_done(&identity);
    buf_done(&why);
    return engine;
}

static void start(struct rig *rig)
{
    *rig = (struct rig){.folder = "/tmp/yzma-applier-XXXXXX"};
    assert_non_null(mkdtemp(rig->folder));
    snprintf(rig->db, sizeof rig->db, "%s/yzma.db", rig->folder);
    snprintf(rig->log, sizeof rig->log, "%s/yzma.db-log", rig->folder);
    rig->engine = open_engine(rig);
    rig->applier = applier_new(rig->engine, &(struct applier_options){0});
}

static void end(struct rig *rig)
{
    char command[64];
    applier_free(rig->applier);
    rig->engine->ops->close(rig->engine);
    snprintf(command, sizeof command, "rm -r %s", rig->folder);
    assert_int_equal(system(command), 0);
}

static struct bytes key_of(unsigned n, char room[16])
{
    snprintf(room, 16, "key-%08u", n * 2654435761u % 100000000);
    return bytes_of(room, 12);
}

static void put(struct engine *engine, unsigned n, size_t len)
{
    static uint8_t value[1 << 16];
    char room[16];
    struct engine_txn *txn;
    memset(value, (int)(n % 251), len);
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_RECORDS, key_of(n, room), bytes_of(value, len)), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
}

static void check(struct engine *engine, unsigned count, size_t len)
{
    struct engine_txn *txn;
    struct bytes value;
    char room[16];
    assert_int_equal(engine->ops->read_begin(engine, &txn), OK);
    for (unsigned n = 0; n < count; n++) {
        assert_int_equal(engine->ops->get(txn, TABLE_RECORDS, key_of(n, room), &value), OK);
        assert_int_equal(value.len, len);
        assert_int_equal(value.data[len - 1], n % 251);
    }
    engine->ops->end(txn);
}

static struct log_engine_counters counters(const struct rig *rig)
{
    struct log_engine_counters counters;
    log_engine_counters(rig->engine, &counters);
    return counters;
}

/* Ten times as much as memory may hold goes through it, and the log stays short. */
static void memory_and_log_stay_within_their_bounds(void **state)
{
    struct rig rig;
    start(&rig);
    uint64_t most = 0, segments = 0;

    for (unsigned n = 0; n < 10 * MEMORY / 20000; n++) {
        put(rig.engine, n, 20000);
        struct log_engine_counters now = counters(&rig);
        most = now.memory_bytes > most ? now.memory_bytes : most;
        segments = now.log.segments > segments ? now.log.segments : segments;
    }

    assert_true(most <= MEMORY + MEMORY / 2);
    assert_true(segments <= 6);
    assert_true(counters(&rig).applied > 5);
    check(rig.engine, 10 * MEMORY / 20000, 20000);
    end(&rig);
}

/* With time to stop, nothing is left in the log for the next start to replay. */
static void a_stop_applies_everything(void **state)
{
    struct rig rig;
    start(&rig);
    for (unsigned n = 0; n < 100; n++)
        put(rig.engine, n, 100);

    applier_stop(rig.applier, now_ms() + ENOUGH_MS);

    assert_int_equal(counters(&rig).applied_entries, 100);
    check(rig.engine, 100, 100);
    end(&rig);
}

/* Without any, it is all in the log. */
static void a_stop_without_time_leaves_it_in_the_log(void **state)
{
    struct rig rig;
    start(&rig);
    for (unsigned n = 0; n < 100; n++)
        put(rig.engine, n, 100);

    applier_free(rig.applier);
    assert_int_equal(counters(&rig).applied_entries, 0);
    rig.engine->ops->close(rig.engine);
    rig.engine = open_engine(&rig);
    rig.applier = applier_new(rig.engine, &(struct applier_options){0});

    check(rig.engine, 100, 100);
    end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_and_log_stay_within_their_bounds),
        cmocka_unit_test(a_stop_applies_everything),
        cmocka_unit_test(a_stop_without_time_leaves_it_in_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
