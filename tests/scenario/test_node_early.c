/* Whole nodes in virtual time: what was found early of a replica that is gone, in the
 * records of rows before it, and that no clock will ever claim. All get it nevertheless. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "stories.h"

/* Those that are found early are more than one frame takes. */
enum { KEYS = 7, FOUND = 6, VALUE_BYTES = 360000 };

static void put_all(struct world *w, int i, char what)
{
    char *value = malloc(VALUE_BYTES + 1);
    memset(value, what, VALUE_BYTES);
    value[VALUE_BYTES] = 0;
    for (int k = 0; k < KEYS; k++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", k);
        assert_int_equal(world_put(w, i, key, value), OK);
        world_run(w, 10);
    }
    free(value);
}

static char first_of(struct world *w, int i, int k)
{
    char key[8];
    snprintf(key, sizeof key, "k%d", k);
    const char *value = world_get(w, i, key);
    return value ? *value : '-';
}

static size_t new_ones(struct world *w, int i)
{
    size_t count = 0;
    for (int k = 0; k < KEYS; k++)
        count += first_of(w, i, k) == 'b';
    return count;
}

/* Node 2 wrote all keys, twice. Node 1 has all of the first time. Node 0 was away meanwhile
 * and got some of the first rows, with the records as they are now, when node 2 and its
 * disk went for good: of these keys it has what was written last. */
static struct world *half_told(uint64_t seed, struct replica_id *ret_gone)
{
    struct world *w = cluster_after(&(struct world_options){.seed = seed, .record_us = 2000}, 3, FORMED_MS);
    world_replica_id(w, 2, ret_gone);
    world_kill(w, 0);
    put_all(w, 2, 'a');
    world_run(w, 2000);
    assert_int_equal(first_of(w, 1, KEYS - 1), 'a');
    world_kill(w, 1);
    put_all(w, 2, 'b');
    world_start(w, 0, (int[]){2}, 1);
    for (int ms = 0; first_of(w, 0, FOUND - 1) != 'b'; ms++) {
        assert_in_range(ms, 0, 10000);
        world_run(w, 1);
    }
    assert_int_equal(new_ones(w, 0), FOUND);
    world_kill(w, 0);
    world_kill(w, 2);
    world_wipe(w, 2);
    return w;
}

/* Node 1 hears of it from node 0. */
static void meet(struct world *w)
{
    world_start_alone(w, 0);
    world_start(w, 1, (int[]){0}, 1);
}

/* (To compare whole stores at each step takes long.) */
static void assert_told_within(struct world *w, uint64_t ms)
{
    for (uint64_t start = world_now(w); new_ones(w, 1) < FOUND && world_now(w) < start + ms;)
        world_run(w, 1000);
    assert_int_equal(new_ones(w, 1), FOUND);
    assert_true(world_agrees(w, NULL));
}

/* As much as it is: not only what fits one frame. */
static void all_that_was_found_early_is_offered(void **state)
{
    struct replica_id gone;
    struct world *w = half_told(1, &gone);
    meet(w);
    assert_told_within(w, 60000);

    /* An operator sees whose they are, until the id is retired. */
    enum err err;
    const char *text = world_request(w, 1, NODE_REQUEST_STATUS, "", &err, 1000);
    assert_int_equal(err, OK);
    assert_non_null(strstr(text, "\"Incomplete\":[{"));
    assert_non_null(strstr(text, "\"Highest\":13}]"));
    char uuid[REPLICA_ID_TEXT];
    world_request(w, 1, NODE_REQUEST_RETIRE, replica_id_text(&gone, uuid), &err, 1000);
    assert_int_equal(err, OK);
    text = world_request(w, 1, NODE_REQUEST_STATUS, "", &err, 1000);
    assert_non_null(strstr(text, "\"Incomplete\":[]"));
    world_free(w);
}

/* No clock tells of it: who could not take it asks for it again. */
static void what_there_was_no_room_for_is_offered_again(void **state)
{
    struct replica_id gone;
    struct world *w = half_told(2, &gone);
    meet(w);
    world_run(w, 2000);
    world_disk_full(w, 1, true);
    world_run(w, 30000);
    assert_int_equal(new_ones(w, 1), 0);
    world_disk_full(w, 1, false);
    assert_told_within(w, 60000);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_was_found_early_is_offered),
        cmocka_unit_test(what_there_was_no_room_for_is_offered_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
