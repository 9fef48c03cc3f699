/* What is made of the times that a peer tells. */
#include "wall.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MOST = 60000, MINUTE = 60000 };
static const uint64_t start = 1800000000000;

/* Both clocks as one: what our wall clock says at a moment of the monotonic one. */
static uint64_t wall_at(uint64_t now_ms)
{
    return start + now_ms;
}

/* Told at `sent_ms` by a clock that is ahead of ours, and read at `now_ms`. */
static void tell(struct wall *wall, uint64_t now_ms, uint64_t sent_ms, int64_t ahead_ms)
{
    wall_told(wall, now_ms, wall_at(sent_ms) + (uint64_t)ahead_ms);
}

static enum wall_verdict judge(const struct wall *wall, uint64_t now_ms)
{
    return wall_judge(wall, now_ms, wall_at(now_ms), MOST);
}

static struct wall told_at_once(uint64_t now_ms, int64_t ahead_ms)
{
    struct wall wall = {0};
    wall_link(&wall, 1, MOST);
    tell(&wall, now_ms, now_ms, ahead_ms);
    return wall;
}

static void nothing_told_says_nothing(void **state)
{
    struct wall wall = {0};
    assert_int_equal(judge(&wall, 1000), WALL_UNKNOWN);
}

static void it_differs_by_more_than_the_most(void **state)
{
    struct wall ahead = told_at_once(1000, MOST), behind = told_at_once(1000, -MOST);
    assert_int_equal(judge(&ahead, 1000), WALL_AGREES);
    assert_int_equal(judge(&behind, 1000), WALL_AGREES);
    ahead = told_at_once(1000, MOST + 1);
    behind = told_at_once(1000, -MOST - 2); /* the round trip took one */
    assert_int_equal(judge(&ahead, 1000), WALL_DIFFERS);
    assert_int_equal(judge(&behind, 1000), WALL_DIFFERS);
}

/* Between two messages it is reckoned on: a jump of our own clock shows at once. */
static void it_is_reckoned_on(void **state)
{
    struct wall wall = told_at_once(1000, 5);
    assert_int_equal(wall_ahead(&wall, 41000, wall_at(41000)), 5);
    assert_int_equal(wall_judge(&wall, 41000, wall_at(41000) + MOST + 6, MOST),
                     WALL_UNKNOWN); /* or late: 1 ms */
    assert_int_equal(wall_judge(&wall, 41000, wall_at(41000) + MOST + 7, MOST), WALL_DIFFERS);
}

/* Read an hour after it was told, because the link was not read. */
static void a_late_one_says_nothing(void **state)
{
    struct wall wall = told_at_once(1000, 0);
    tell(&wall, 60 * MINUTE, MINUTE, 0);
    assert_int_equal(judge(&wall, 60 * MINUTE), WALL_AGREES);
    assert_int_equal(wall_ahead(&wall, 60 * MINUTE, wall_at(60 * MINUTE)), 0);
}

/* Nor do many, which are read one behind the other. */
static void late_ones_in_one_go_say_nothing(void **state)
{
    struct wall wall = told_at_once(1000, 0);
    for (uint64_t minute = 1; minute < 60; minute++)
        tell(&wall, 60 * MINUTE, minute * MINUTE, 0);
    assert_int_equal(judge(&wall, 60 * MINUTE), WALL_AGREES);
    tell(&wall, 60 * MINUTE + 50000, 60 * MINUTE + 50000, 0); /* the best of them was a minute late */
    assert_int_equal(wall_ahead(&wall, 60 * MINUTE + 50000, wall_at(60 * MINUTE + 50000)), 0);
}

/* Set forward it is known by the next message, set back by the one after that. */
static void a_clock_that_is_set_is_found_out(void **state)
{
    struct wall forward = told_at_once(0, 0), back = told_at_once(0, 0);
    tell(&forward, MINUTE, MINUTE, 2 * MOST);
    tell(&back, MINUTE, MINUTE, -2 * MOST);
    assert_int_equal(judge(&forward, MINUTE), WALL_DIFFERS);
    assert_int_equal(judge(&back, MINUTE), WALL_AGREES);
    tell(&back, 2 * MINUTE, 2 * MINUTE, -2 * MOST);
    assert_int_equal(judge(&back, 2 * MINUTE), WALL_DIFFERS);
}

/* On a new link it is known by the first message that came quickly. */
static void a_short_round_trip_ends_what_was_told(void **state)
{
    struct wall wall = told_at_once(0, 2 * MOST);
    wall_link(&wall, MOST / 2, MOST);
    tell(&wall, 1000, 1000, 0);
    assert_int_equal(judge(&wall, 1000), WALL_AGREES);

    wall = told_at_once(0, 2 * MOST);
    wall_link(&wall, MOST / 2 + 1, MOST);
    tell(&wall, 1000, 1000, 0);
    assert_int_equal(judge(&wall, 1000), WALL_DIFFERS); /* as it was told when there was less doubt */
}

/* Where the first message was long under way the clock may be right, as far as anybody knows. */
static void a_long_round_trip_is_a_doubt(void **state)
{
    struct wall wall = {0};
    wall_link(&wall, 70000, MOST);
    tell(&wall, 100000, 35000, 0); /* looks 65 s behind */
    assert_int_equal(judge(&wall, 100000), WALL_UNKNOWN);
    tell(&wall, 100000 + MINUTE, 100000 + MINUTE, 0);
    assert_int_equal(judge(&wall, 100000 + MINUTE), WALL_AGREES);

    wall = (struct wall){0};
    wall_link(&wall, 70000, MOST);
    tell(&wall, 100000, 100000, -MOST - 70000);
    assert_int_equal(judge(&wall, 100000), WALL_UNKNOWN);
    wall = (struct wall){0};
    wall_link(&wall, 70000, MOST);
    tell(&wall, 100000, 100000, -MOST - 70001);
    assert_int_equal(judge(&wall, 100000), WALL_DIFFERS);
}

static void any_number_may_be_told(void **state)
{
    static const uint64_t numbers[] = {0, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct wall wall = {0};
        wall_link(&wall, UINT64_MAX, 1);
        wall_told(&wall, 1000, numbers[i]);
        wall_told(&wall, 1000 + MINUTE, numbers[i]);
        assert_int_equal(judge(&wall, 1000 + MINUTE), i ? WALL_DIFFERS : WALL_UNKNOWN);
        assert_int_not_equal(wall_judge(&wall, UINT64_MAX, UINT64_MAX, UINT64_MAX), WALL_DIFFERS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_told_says_nothing),
        cmocka_unit_test(it_differs_by_more_than_the_most),
        cmocka_unit_test(it_is_reckoned_on),
        cmocka_unit_test(a_late_one_says_nothing),
        cmocka_unit_test(late_ones_in_one_go_say_nothing),
        cmocka_unit_test(a_clock_that_is_set_is_found_out),
        cmocka_unit_test(a_short_round_trip_ends_what_was_told),
        cmocka_unit_test(a_long_round_trip_is_a_doubt),
        cmocka_unit_test(any_number_may_be_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
