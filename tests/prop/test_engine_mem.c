/* The memory engine obeys the law of engines, and its faults and clones do what
 * they say. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "engine_law.h"
#include "engine_mem.h"

static struct engine *open_mem(void *ctx)
{
    return engine_mem_new();
}

/* Twenty random histories. */
static void it_obeys_the_law(void **state)
{
    struct engine_law law = {.open = open_mem};
    for (uint64_t seed = 1; seed <= 20; seed++)
        engine_law_run(&law, seed, 200);
}

/* A clone is what a crash would leave: what was committed, and no later change. */
static void a_clone_shares_nothing_that_changes(void **state)
{
    struct engine *engine = engine_mem_new(), *clone;
    struct engine_txn *txn;
    struct bytes value;
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_META, bytes_str("a"), bytes_str("1")), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_META, bytes_str("a"), bytes_str("2")), OK);

    clone = engine_mem_clone(engine); /* in mid-transaction: a crash */

    assert_int_equal(engine->ops->commit(txn), OK);
    assert_int_equal(clone->ops->read_begin(clone, &txn), OK);
    assert_int_equal(clone->ops->get(txn, TABLE_META, bytes_str("a"), &value), OK);
    assert_true(bytes_equal(value, bytes_str("1")));
    clone->ops->end(txn);
    clone->ops->close(clone);
    engine->ops->close(engine);
}

/* The n-th call fails with the error asked for, once, and changes nothing. */
static void the_nth_call_fails(void **state)
{
    struct engine *engine = engine_mem_new();
    struct engine_txn *txn;
    struct bytes value;
    engine_mem_fail(engine, 3, ERR_FULL);
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_META, bytes_str("a"), bytes_str("1")), OK);
    assert_int_equal(engine->ops->commit(txn), ERR_FULL);
    assert_int_equal(engine->ops->read_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->get(txn, TABLE_META, bytes_str("a"), &value), ERR_NOT_FOUND);
    assert_int_equal(engine_mem_calls(engine), 5);
    engine->ops->end(txn);
    engine->ops->close(engine);
}

/* A commit that fails has happened or not, as it was asked for, and later ones are sound. */
static void a_commit_fails(void **state)
{
    for (int happens = 0; happens < 2; happens++) {
        struct engine *engine = engine_mem_new();
        struct engine_txn *txn;
        struct bytes value;
        engine_mem_fail_commit(engine, 2, happens);
        for (int i = 0; i < 3; i++) {
            const char *key = (const char *[]){"a", "b", "c"}[i];
            assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
            assert_int_equal(engine->ops->put(txn, TABLE_META, bytes_str(key), bytes_str("1")), OK);
            assert_int_equal(engine->ops->commit(txn), i == 1 ? ERR_IO : OK);
            assert_int_equal(engine_mem_commit_failed(engine), i >= 1);
        }
        assert_int_equal(engine->ops->read_begin(engine, &txn), OK);
        assert_int_equal(engine->ops->get(txn, TABLE_META, bytes_str("b"), &value),
                         happens ? OK : ERR_NOT_FOUND);
        assert_int_equal(engine->ops->get(txn, TABLE_META, bytes_str("c"), &value), OK);
        engine->ops->end(txn);
        engine->ops->close(engine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_obeys_the_law),
        cmocka_unit_test(a_clone_shares_nothing_that_changes),
        cmocka_unit_test(the_nth_call_fails),
        cmocka_unit_test(a_commit_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
