/* The engine on LMDB obeys the law of engines, also over closing and opening. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "engine_law.h"
#include "engine_lmdb.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct engine *open_file(void *ctx)
{
    struct buf identity, why;
    buf_init(&identity, 64);
    buf_init(&why, 512);
    struct engine *engine;
    assert_int_equal(lmdb_engine_open(ctx, &(struct lmdb_options){0}, &engine, &identity, &why), OK);
    buf_done(&identity);
    buf_done(&why);
    return engine;
}

/* Eight random histories, each in a file of its own. */
static void it_obeys_the_law(void **state)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        char folder[] = "/tmp/yzma-law-XXXXXX", path[64], lock_path[64];
        assert_non_null(mkdtemp(folder));
        snprintf(path, sizeof path, "%s/yzma.db", folder);
        snprintf(lock_path, sizeof lock_path, "%s/yzma.db-lock", folder);
        struct engine_law law = {.open = open_file, .ctx = path, .reopens = true};
        engine_law_run(&law, seed, 200);
        unlink(path);
        unlink(lock_path);
        assert_int_equal(rmdir(folder), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_obeys_the_law)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
