/* The memory table: order, versions, ranges, and memory that is asked for before. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "memtable.h"
#include "rng.h"

#include <stdio.h>
#include <stdlib.h>

static const unsigned records = 2; /* mem_entries_of(TABLE_RECORDS) */

static void insert(struct memtable *table, uint64_t sequence, unsigned space, struct bytes key,
                   struct bytes value)
{
    assert_int_equal(memtable_reserve(table, 1, key.len + value.len), OK);
    assert_int_equal(memtable_insert(table, sequence, space, key, value), OK);
}

static void put(struct memtable *table, uint64_t sequence, const char *key, const char *value)
{
    insert(table, sequence, records, bytes_str(key), value ? bytes_str(value) : bytes_of(NULL, 0));
}

static bool is_at(const struct memtable *table, uint64_t sequence, const char *key, const char *value)
{
    struct mem_version version;
    return memtable_get(table, records, bytes_str(key), sequence, &version) && version.value.data &&
           bytes_equal(version.value, bytes_str(value));
}

/* ---- versions --------------------------------------------------------------- */

static void each_sequence_sees_its_own_version(void **state)
{
    struct memtable *table = memtable_new(0);
    struct mem_version version;
    put(table, 3, "k", "three");
    put(table, 5, "k", NULL);
    put(table, 9, "k", "");

    assert_false(memtable_get(table, records, bytes_str("k"), 2, &version));
    assert_true(is_at(table, 3, "k", "three"));
    assert_true(is_at(table, 4, "k", "three"));
    assert_true(memtable_get(table, records, bytes_str("k"), 5, &version));
    assert_null(version.value.data);
    assert_true(memtable_get(table, records, bytes_str("k"), 8, &version));
    assert_null(version.value.data);
    assert_true(is_at(table, 9, "k", "")); /* empty is not deleted */
    assert_int_equal(memtable_entries(table), 3);
    memtable_free(table);
}

static void of_one_sequence_the_last_word_counts(void **state)
{
    struct memtable *table = memtable_new(0);
    put(table, 4, "k", "first");
    put(table, 4, "k", "second");
    assert_true(is_at(table, 4, "k", "second"));
    memtable_free(table);
}

static void an_empty_table_has_nothing(void **state)
{
    struct memtable *table = memtable_new(0);
    struct mem_version version;
    for (unsigned space = 0; space < MEM_SPACES; space++) {
        assert_false(memtable_has(table, space));
        assert_null(memtable_seek(table, space, bytes_of("", 0)));
        assert_null(memtable_before(table, space, bytes_str("z")));
        assert_false(memtable_get(table, space, bytes_str("k"), UINT64_MAX, &version));
    }
    memtable_free(table);
}

static void a_cleared_table_starts_anew(void **state)
{
    struct memtable *table = memtable_new(0);
    uint8_t *big = calloc(1, 1 << 20);
    for (int i = 0; i < 3; i++) {
        put(table, 5, "m", "old");
        insert(table, 5, records, bytes_str("n"), bytes_of(big, 1 << 20));
        assert_true(memtable_bytes(table) > 1 << 20);
        memtable_clear(table);
        assert_true(memtable_bytes(table) <= 256 << 10);
        assert_false(memtable_has(table, records));
        put(table, 1, "z", "new"); /* with a lower sequence */
        put(table, 1, "a", "new");
        assert_true(is_at(table, 1, "a", "new"));
        assert_true(is_at(table, 1, "z", "new"));
        assert_false(is_at(table, 5, "m", "old"));
        memtable_clear(table);
    }
    memtable_free(table);
    memtable_free(NULL);
    free(big);
}

/* ---- order -------------------------------------------------------------------- */

enum { N = 400 };

/* Keys of one to twelve bytes, zeros among them, that share prefixes. */
static struct bytes nth_key(size_t n, uint8_t room[16])
{
    struct rng rng;
    rng_init(&rng, n);
    size_t len = 1 + (size_t)rng_below(&rng, 12);
    for (size_t i = 0; i < len; i++)
        room[i] = (uint8_t)(rng_below(&rng, 3) * 127);
    return bytes_of(room, len);
}

static int by_key(const void *a, const void *b)
{
    uint8_t x[16], y[16];
    return bytes_compare(nth_key(*(const size_t *)a, x), nth_key(*(const size_t *)b, y));
}

static void check_order(const struct memtable *table, const size_t *sorted, size_t n)
{
    uint8_t room[16];
    const struct mem_node *node = memtable_seek(table, records, bytes_of("", 0)), *before = NULL;
    for (size_t i = 0; i < n; i++) {
        struct bytes key = nth_key(sorted[i], room);
        if (i && by_key(&sorted[i - 1], &sorted[i]) == 0)
            continue;
        assert_non_null(node);
        assert_true(bytes_equal(mem_node_key(node), key));
        assert_ptr_equal(memtable_seek(table, records, key), node);
        assert_ptr_equal(memtable_before(table, records, key), before);
        before = node;
        node = mem_node_next(node);
    }
    assert_null(node);
}

static void inserts_in_any_order_come_out_sorted(void **state)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct memtable *table = memtable_new(seed % 2 ? 1 << 14 : 0);
        struct rng rng;
        size_t sorted[N], order[N], n = 1 + (size_t)(seed * 7 % N);
        rng_init(&rng, seed);
        for (size_t i = 0; i < n; i++)
            sorted[i] = order[i] = i;
        qsort(sorted, n, sizeof *sorted, by_key);
        if (seed % 4 < 3) /* ascending, descending, in ascending runs, at random */
            memcpy(order, sorted, n * sizeof *order);
        for (size_t i = 0; i < n; i++) {
            uint8_t room[16];
            size_t at = seed % 4 == 1 ? n - 1 - i : seed % 4 == 2 ? (i * 37 + i / 37) % n : i;
            size_t number = seed % 4 == 3 ? (size_t)rng_below(&rng, n) : order[at];
            insert(table, i, records, nth_key(number, room), bytes_str("v"));
        }
        for (size_t i = 0; i < n; i++) { /* each is there; some came twice */
            uint8_t room[16];
            insert(table, n, records, nth_key(i, room), bytes_str("w"));
        }
        check_order(table, sorted, n);
        memtable_free(table);
    }
}

/* ---- every shape of tree ------------------------------------------------------- */

struct shape {
    struct bytes (*key)(size_t n, uint8_t room[511]);
    size_t keys;
};

/* All bytes at two places, so that inner nodes have up to 256 children. */
static struct bytes wide_key(size_t n, uint8_t room[511])
{
    room[0] = 'w';
    room[1] = (uint8_t)(n * 167);
    room[2] = (uint8_t)(n / 256 * 91);
    return bytes_of(room, 3);
}

/* Each the beginning of the next, so that each inner node has a key that ends there. */
static struct bytes nested_key(size_t n, uint8_t room[511])
{
    memset(room, 0, 511);
    return bytes_of(room, 1 + n % 511);
}

/* Long common beginnings, and ends of any length that part late. */
static struct bytes late_key(size_t n, uint8_t room[511])
{
    memset(room, (int)(n % 3), 400);
    memset(room + 400, (int)(n / 3 % 7 * 36), 111);
    room[400 + n % 90] ^= (uint8_t)(n / 21);
    return bytes_of(room, 400 + n % 111);
}

/* Rows: a prefix, and a number that rises. */
static struct bytes row_key(size_t n, uint8_t room[511])
{
    memset(room, 'r', RANGE_PREFIX);
    for (size_t i = 0; i < 8; i++)
        room[RANGE_PREFIX + i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
    return bytes_of(room, RANGE_PREFIX + 8);
}

static size_t model_place(struct bytes *model, size_t count, struct bytes key)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t at = (low + high) / 2;
        if (bytes_compare(model[at], key) < 0)
            low = at + 1;
        else
            high = at;
    }
    return low;
}

static void check_place(const struct memtable *table, struct bytes *model, size_t count, struct bytes key)
{
    size_t at = model_place(model, count, key);
    const struct mem_node *node = memtable_seek(table, records, key);
    const struct mem_node *before = memtable_before(table, records, key);
    struct mem_version version;
    assert_true(node ? at < count && bytes_equal(mem_node_key(node), model[at]) : at == count);
    assert_true(before ? at > 0 && bytes_equal(mem_node_key(before), model[at - 1]) : at == 0);
    assert_int_equal(memtable_get(table, records, key, 1, &version),
                     at < count && bytes_equal(model[at], key));
}

/* After each insert, places at and beside keys that are there and that are not. */
static void places_are_those_of_a_sorted_array(void **state)
{
    const struct shape shapes[] = {{wide_key, 600}, {nested_key, 511}, {late_key, 600}, {row_key, 700}};
    for (size_t shape = 0; shape < 4; shape++) {
        for (uint64_t seed = 0; seed < 3; seed++) {
            struct memtable *table = memtable_new(0);
            struct bytes model[700];
            size_t count = 0;
            struct rng rng;
            rng_init(&rng, seed);
            for (size_t i = 0; i < shapes[shape].keys; i++) {
                uint8_t room[511 + 1];
                size_t n = seed ? (size_t)rng_below(&rng, shapes[shape].keys) : i;
                struct bytes key = shapes[shape].key(n, room);
                insert(table, 1, records, key, bytes_str("v"));
                size_t at = model_place(model, count, key);
                if (at == count || !bytes_equal(model[at], key)) {
                    memmove(&model[at + 1], &model[at], (count++ - at) * sizeof *model);
                    model[at] = mem_node_key(memtable_seek(table, records, key));
                }
                for (int j = 0; j < 12; j++) {
                    key = shapes[shape].key((size_t)rng_below(&rng, shapes[shape].keys), room);
                    key.len = 1 + (size_t)rng_below(&rng, key.len);
                    if (j % 3)
                        room[rng_below(&rng, key.len)] ^= (uint8_t)(1u << rng_below(&rng, 8));
                    check_place(table, model, count, key);
                }
            }
            const struct mem_node *node = memtable_seek(table, records, bytes_of("", 0));
            for (size_t i = 0; i < count; i++, node = mem_node_next(node))
                assert_true(bytes_equal(mem_node_key(node), model[i]));
            assert_null(node);
            memtable_free(table);
        }
    }
}

static void the_spaces_are_apart(void **state)
{
    struct memtable *table = memtable_new(0);
    for (unsigned space = 0; space < MEM_SPACES; space++)
        insert(table, 1, space, bytes_str("0123456789abcdef"), bytes_of(&"ABCDEFGH"[space], 1));
    for (unsigned space = 0; space < MEM_SPACES; space++) {
        struct mem_version version;
        const struct mem_node *node = memtable_seek(table, space, bytes_of("", 0));
        assert_true(mem_node_at(node, 1, &version));
        assert_int_equal(version.value.data[0], 'A' + space);
        assert_null(mem_node_next(node));
    }
    memtable_free(table);
}

/* ---- ranges ----------------------------------------------------------------------- */

static bool is_covered(const struct memtable *table, const char *key, uint64_t at, uint64_t *sequence)
{
    return memtable_range(table, TABLE_ROWS, bytes_str(key), at, sequence, NULL);
}

static void a_range_covers_its_prefix_below_its_end(void **state)
{
    struct memtable *table = memtable_new(0);
    uint64_t sequence;
    struct bytes below;
    insert(table, 4, mem_ranges_of(TABLE_ROWS), bytes_str("0123456789abcdef"),
           bytes_str("0123456789abcdefM"));
    insert(table, 8, mem_ranges_of(TABLE_ROWS), bytes_str("0123456789abcdef"),
           bytes_str("0123456789abcdefQ"));

    assert_false(is_covered(table, "0123456789abcdefA", 3, &sequence));
    assert_true(is_covered(table, "0123456789abcdefA", 4, &sequence));
    assert_int_equal(sequence, 4);
    assert_true(is_covered(table, "0123456789abcdef", 4, &sequence)); /* the prefix itself */
    assert_true(is_covered(table, "0123456789abcdefL\xff\xff", 7, &sequence));
    assert_false(is_covered(table, "0123456789abcdefM", 7, &sequence));
    assert_true(is_covered(table, "0123456789abcdefM", 8, &sequence));
    assert_int_equal(sequence, 8);
    assert_false(is_covered(table, "0123456789abcdefQ", 9, &sequence));
    assert_false(is_covered(table, "0123456789abcdeeA", 9, &sequence));
    assert_false(is_covered(table, "0123456789abcde", 9, &sequence)); /* too short */
    assert_false(memtable_range(table, TABLE_META, bytes_str("0123456789abcdefA"), 9, &sequence, &below));
    assert_true(memtable_range(table, TABLE_ROWS, bytes_str("0123456789abcdefA"), 9, &sequence, &below));
    assert_true(bytes_equal(below, bytes_str("0123456789abcdefQ")));
    memtable_free(table);
}

/* ---- memory ------------------------------------------------------------------------- */

/* Without room an insert changes nothing, whether it was the version or the node that
 * there was no room for. */
static void an_insert_without_room_changes_nothing(void **state)
{
    for (size_t offset = 0; offset < 200; offset += 8) {
        struct memtable *table = memtable_new(0);
        static uint8_t value[200];
        char key[16] = "a";
        assert_int_equal(memtable_insert(table, 1, records, bytes_str("a"), bytes_str("v")), ERR_NOMEM);
        assert_null(memtable_seek(table, records, bytes_of("", 0)));
        insert(table, 1, records, bytes_str(key), bytes_of(value, offset));
        assert_int_equal(memtable_insert(table, 1, records, bytes_str("m"), bytes_of(value, 0)), OK);
        unsigned n = 0;
        do
            snprintf(key, sizeof key, "k%05u", ++n);
        while (memtable_insert(table, 1, records, bytes_str(key), bytes_of(value, 0)) == OK);

        (void)!memtable_insert(table, 1, records, bytes_str("n"), bytes_of(value, 0)); /* no room either */
        snprintf(key, sizeof key, "k%05u+", n - 1); /* between the last one and those that failed */
        put(table, 1, key, "v");
        put(table, 1, "z", "v");

        size_t count = 1;
        const struct mem_node *node = memtable_seek(table, records, bytes_of("", 0));
        for (const struct mem_node *next; (next = mem_node_next(node)) != NULL; node = next, count++)
            assert_true(bytes_compare(mem_node_key(node), mem_node_key(next)) < 0);
        assert_int_equal(count, n + 3);
        assert_true(is_at(table, 1, key, "v"));
        memtable_free(table);
    }
}

static void what_is_reserved_is_enough(void **state)
{
    static uint8_t bytes[3000];
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct memtable *table = memtable_new(0);
        struct rng rng;
        rng_init(&rng, seed);
        for (int round = 0; round < 10; round++) {
            size_t sizes[100], n = 1 + (size_t)rng_below(&rng, 100), sum = 0;
            for (size_t i = 0; i < n; i++)
                sum += sizes[i] = (size_t)rng_below(&rng, rng_below(&rng, 3) ? 40 : 3000);
            assert_int_equal(memtable_reserve(table, n, sum + n * 9), OK);
            for (size_t i = 0; i < n; i++) {
                uint64_t random[2] = {rng_next(&rng), rng_next(&rng)};
                assert_int_equal(
                    memtable_insert(table, 1, records, bytes_of(random, 9), bytes_of(bytes, sizes[i])), OK);
            }
        }
        memtable_free(table);
    }
}

/* A commit whose frame cannot be written has reserved in vain: again and again, with
 * sizes that differ, costs no more than the largest. */
static void reserving_in_vain_does_not_add_up(void **state)
{
    struct memtable *table = memtable_new(0);
    put(table, 1, "a", "v");
    for (size_t i = 1; i <= 64; i++)
        assert_int_equal(memtable_reserve(table, 1, i << 16), OK);
    assert_true(memtable_bytes(table) <= (64 << 16) + (512 << 10));
    memtable_free(table);
}

/* Long values between short ones do not each give up a block that is nearly empty. */
static void long_and_short_values_share_memory_well(void **state)
{
    static uint8_t big[300 << 10];
    struct memtable *table = memtable_new(0);
    size_t stored = 0;
    for (unsigned i = 0; i < 100; i++) {
        char key[4] = {'k', (char)('a' + i / 26), (char)('a' + i % 26)};
        size_t len = i % 2 ? sizeof big : 100;
        insert(table, 1, records, bytes_str(key), bytes_of(big, len));
        stored += len;
    }
    assert_true(memtable_bytes(table) < stored + stored / 8);
    memtable_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sequence_sees_its_own_version),
        cmocka_unit_test(of_one_sequence_the_last_word_counts),
        cmocka_unit_test(an_empty_table_has_nothing),
        cmocka_unit_test(a_cleared_table_starts_anew),
        cmocka_unit_test(inserts_in_any_order_come_out_sorted),
        cmocka_unit_test(places_are_those_of_a_sorted_array),
        cmocka_unit_test(the_spaces_are_apart),
        cmocka_unit_test(a_range_covers_its_prefix_below_its_end),
        cmocka_unit_test(an_insert_without_room_changes_nothing),
        cmocka_unit_test(what_is_reserved_is_enough),
        cmocka_unit_test(reserving_in_vain_does_not_add_up),
        cmocka_unit_test(long_and_short_values_share_memory_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
