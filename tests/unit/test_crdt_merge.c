/* crdt: the merge, rule by rule. tests/prop/test_world.c holds the whole of it
 * against an oracle. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "merge.h"

/* "A5 B2" -> versions or entries of one-letter replicas. */
static struct dot dot_of(const char *text)
{
    return (struct dot){.replica = {.b = {(uint8_t)text[0]}}, .counter = (uint64_t)(text[1] - '0')};
}

static struct clock clock_of(const char *text)
{
    struct clock c = {0};
    for (; *text; text += text[2] ? 3 : 2) {
        struct dot dot = dot_of(text);
        clock_raise(&c, &dot);
    }
    return c;
}

static struct record record_of(const char *versions, const char *context)
{
    struct record r = {.context = clock_of(context)};
    for (; *versions; versions += versions[2] ? 3 : 2)
        record_add(&r, &(struct version){.dot = dot_of(versions), .value = bytes_str("v")});
    return r;
}

struct merge_case {
    const char *local, *local_context, *local_clock;
    const char *remote, *remote_context;
    const char *also_covers; /* NULL: not in a walk */
    const char *versions, *context;
};

static void expect(struct merge_case c)
{
    struct record local = record_of(c.local, c.local_context), remote = record_of(c.remote, c.remote_context);
    struct record expected = record_of(c.versions, c.context), out = {0};
    struct clock clock = clock_of(c.local_clock), also = clock_of(c.also_covers ? c.also_covers : "");

    record_merge(&local, &clock, &remote, c.also_covers ? &also : NULL, &out);

    assert_int_equal(out.count, expected.count);
    for (size_t i = 0; i < out.count; i++)
        assert_int_equal(dot_compare(&out.versions[i].dot, &expected.versions[i].dot), 0);
    assert_true(clock_equal(&out.context, &expected.context));
    record_done(&local), record_done(&remote), record_done(&expected), record_done(&out);
    clock_done(&clock), clock_done(&also);
}

/* What neither side has seen of the other is kept beside each other. */
static void concurrent_versions_are_both_kept(void **state)
{
    expect((struct merge_case){"A1", "A1", "A1", "B1", "B1", NULL, "A1 B1", "A1 B1"});
}

/* A version that the peer has seen and no longer has was removed there, and goes. */
static void a_version_removed_there_goes(void **state)
{
    expect((struct merge_case){"A1", "A1", "A1", "B1", "A1 B1", NULL, "B1", "A1 B1"});
    expect((struct merge_case){"A1", "A1", "A1", "", "A1 B1", NULL, "", "A1 B1"});
}

/* A version that we have seen and no longer have does not come back with a stale record. */
static void a_version_removed_here_stays_away(void **state)
{
    expect((struct merge_case){"A2", "A2", "A2", "A1", "A1", NULL, "A2", "A2"});
}

/* Also when our context was dropped: then the clock knows it. */
static void the_clock_stands_for_a_dropped_context(void **state)
{
    expect((struct merge_case){"", "", "A1", "A1", "A1", NULL, "", "A1"});
}

/* What both hold stays, whatever the contexts cover. */
static void what_both_have_stays(void **state)
{
    expect((struct merge_case){"A1", "A1", "A1", "A1", "A1", "A9", "A1", "A1"});
}

/* In a walk the source's clock covers too, and is not stored; the removed dots are. */
static void a_walk_covers_with_the_clock_of_its_source(void **state)
{
    expect((struct merge_case){"A1", "", "A1", "", "", "A5 B5", "", "A1"});
    expect((struct merge_case){"A1", "", "A1", "", "", NULL, "A1", "A1"});
    expect((struct merge_case){"C1", "C1", "C1", "B2", "B2", "A5 B5", "B2 C1", "B2 C1"});
}

/* Merging a record with itself, or twice, changes nothing. */
static void merging_again_changes_nothing(void **state)
{
    expect((struct merge_case){"A1 B2", "A1 B2", "A1 B2", "A1 B2", "A1 B2", NULL, "A1 B2", "A1 B2"});
    expect((struct merge_case){"", "", "", "", "", NULL, "", ""});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(concurrent_versions_are_both_kept),
        cmocka_unit_test(a_version_removed_there_goes),
        cmocka_unit_test(a_version_removed_here_stays_away),
        cmocka_unit_test(the_clock_stands_for_a_dropped_context),
        cmocka_unit_test(what_both_have_stays),
        cmocka_unit_test(a_walk_covers_with_the_clock_of_its_source),
        cmocka_unit_test(merging_again_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
