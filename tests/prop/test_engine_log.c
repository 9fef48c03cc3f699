/* The log engine obeys the law of engines around another one, whatever of it has been
 * applied: around the memory engine with the log on a simulated disk, and around LMDB
 * with real files, closed and opened again. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "disk_posix.h"
#include "disk_sim.h"
#include "engine_law.h"
#include "engine_lmdb.h"
#include "engine_mem.h"
#include "log_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MEMORY_SMALL = 600 << 10, SEGMENT_SMALL = 64 << 10 };

static struct engine *open_logged(struct engine *inner, struct disk *disk, uint64_t random)
{
    struct log_engine_options options = {.disk = disk,
                                         .where = "log",
                                         .random = random,
                                         .memory_max = MEMORY_SMALL,
                                         .segment_bytes = SEGMENT_SMALL};
    memset(options.fresh_id, (int)random | 1, LOG_ID_SIZE);
    struct engine *engine;
    struct log_found found;
    struct buf why;
    buf_init(&why, 512);
    enum err err = log_engine_open(inner, &options, &engine, &found, &why);
    if (err != OK)
        print_message("%.*s\n", (int)why.len, (const char *)why.data);
    assert_int_equal(err, OK);
    assert_false(found.lost);
    buf_done(&why);
    return engine;
}

/* Freezes now and then, and applies one chunk more or less often. */
static void work_a_little(void *ctx, struct engine *engine, struct rng *rng)
{
    if (rng_below(rng, 4) == 0)
        log_engine_freeze(engine);
    for (uint64_t n = rng_below(rng, 4); n > 0; n--) {
        enum err err = log_engine_apply(engine);
        assert_true(err == OK || err == ERR_NOT_FOUND);
    }
    if (rng_below(rng, 16) == 0)
        assert_int_equal(log_engine_prepare(engine), OK);
}

static struct engine *open_simulated(void *ctx)
{
    return open_logged(engine_mem_new(), disk_sim_mount(ctx), 1);
}

static void around_memory_it_obeys_the_law(void **state)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct disk_sim *sim = disk_sim_new(seed);
        struct engine_law law = {
            .open = open_simulated, .ctx = sim, .usage_estimated = true, .between = work_a_little};
        engine_law_run(&law, seed, 200);
        disk_sim_free(sim);
    }
}

struct files {
    char folder[32], db[64], lock[64], log[64];
    uint64_t opened;
};

static struct engine *open_files(void *ctx)
{
    struct files *files = ctx;
    struct buf identity, why;
    buf_init(&identity, 64);
    buf_init(&why, 512);
    struct engine *inner;
    struct disk *disk;
    assert_int_equal(lmdb_engine_open(files->db, &(struct lmdb_options){0}, &inner, &identity, &why), OK);
    assert_int_equal(disk_posix_open(files->log, &disk, &why), OK);
    buf_done(&identity);
    buf_done(&why);
    return open_logged(inner, disk, ++files->opened);
}

static void around_lmdb_it_obeys_the_law(void **state)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct files files = {.folder = "/tmp/yzma-law-XXXXXX"};
        char command[128];
        assert_non_null(mkdtemp(files.folder));
        snprintf(files.db, sizeof files.db, "%s/yzma.db", files.folder);
        snprintf(files.log, sizeof files.log, "%s/yzma.db-log", files.folder);
        struct engine_law law = {.open = open_files,
                                 .ctx = &files,
                                 .reopens = true,
                                 .usage_estimated = true,
                                 .between = work_a_little};
        engine_law_run(&law, seed, 300);
        snprintf(command, sizeof command, "rm -r %s", files.folder);
        assert_int_equal(system(command), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(around_memory_it_obeys_the_law),
        cmocka_unit_test(around_lmdb_it_obeys_the_law),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
