/* When the feed of GET /watch takes its rounds, in virtual time. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "watch_pace.h"

enum { SEND_US = 8, SECONDS = 20 };

/* The clock begins late, so that 0 is no time of anything. */
static const uint64_t begin_ms = 1000000;

static struct watch_pace after_round(uint64_t ended_ms, uint64_t spent_us)
{
    struct watch_pace pace = {0};
    watch_pace_begin(&pace, begin_ms);
    watch_pace_sent(&pace, ended_ms, spent_us);
    return pace;
}

static uint64_t next_of(const struct watch_pace *pace)
{
    return watch_pace_next(pace, false, false);
}

/* What is new after a while of quiet is sent at once, however many read. */
static void the_first_is_sent_at_once(void **state)
{
    struct watch_pace pace = {0};

    assert_true(next_of(&pace) <= begin_ms);
    pace = after_round(begin_ms + 80, 80000);
    assert_true(next_of(&pace) <= begin_ms + 1000);
}

/* Of few streams nobody waits for more than the pause, which begins with the round. */
static void few_streams_wait_for_the_pause(void **state)
{
    struct watch_pace pace = after_round(begin_ms, 3 * SEND_US);
    assert_int_equal(next_of(&pace), begin_ms + WATCH_PAUSE_MS);

    pace = after_round(begin_ms + 2, 250 * SEND_US);
    assert_int_equal(next_of(&pace), begin_ms + WATCH_PAUSE_MS);
}

/* A round that took 8 ms of a core is followed by 32 ms of rest, from its end on; what
 * others made it wait for does not count. */
static void many_streams_make_a_rest(void **state)
{
    struct watch_pace pace = after_round(begin_ms + 9, 1000 * SEND_US);
    assert_int_equal(next_of(&pace), begin_ms + 9 + 32);

    pace = after_round(begin_ms + 500, 1000 * SEND_US);
    assert_int_equal(next_of(&pace), begin_ms + 500 + 32);
}

static void a_rest_has_an_end(void **state)
{
    struct watch_pace pace = after_round(begin_ms + 100, 10000 * SEND_US);
    assert_int_equal(next_of(&pace), begin_ms + 100 + WATCH_REST_MAX_MS);

    pace = after_round(begin_ms + 100, UINT64_MAX);
    assert_int_equal(next_of(&pace), begin_ms + 100 + WATCH_REST_MAX_MS);
}

/* Resting would put it further behind. */
static void who_is_behind_does_not_rest(void **state)
{
    struct watch_pace pace = after_round(begin_ms + 100, 10000 * SEND_US);

    assert_true(watch_pace_next(&pace, true, false) <= begin_ms + 100);
    assert_true(watch_pace_next(&pace, true, true) <= begin_ms + 100);
}

/* Streams that read by themselves go on at once beside few at the head, and share the
 * rest beside many. */
static void others_skip_the_pause_and_not_the_rest(void **state)
{
    struct watch_pace pace = after_round(begin_ms, 3 * SEND_US);
    assert_int_equal(watch_pace_next(&pace, false, true), begin_ms);

    pace = after_round(begin_ms + 9, 1000 * SEND_US);
    assert_int_equal(watch_pace_next(&pace, false, true), begin_ms + 9 + 32);
}

/* The rest belongs to the round before: one in which nothing was sent has none. */
static void a_round_forgets_the_last_rest(void **state)
{
    struct watch_pace pace = after_round(begin_ms + 100, 10000 * SEND_US);

    watch_pace_begin(&pace, begin_ms + 400);

    assert_int_equal(next_of(&pace), begin_ms + 400 + WATCH_PAUSE_MS);
}

/* ---- a feed with so many streams, and an event in each 10 ms -------------------------------- */

struct played {
    uint64_t rounds, busy_us, waited_ms_max;
};

static struct played play(uint64_t streams)
{
    struct played played = {0};
    struct watch_pace pace = {0};
    uint64_t first_ms = 0; /* of the events not sent yet */
    for (uint64_t at_ms = begin_ms; at_ms < begin_ms + SECONDS * 1000; at_ms++) {
        if (at_ms % 10 == 0 && !first_ms)
            first_ms = at_ms;
        if (!first_ms || at_ms < next_of(&pace))
            continue;
        uint64_t spent_us = streams * SEND_US;
        if (at_ms - first_ms > played.waited_ms_max)
            played.waited_ms_max = at_ms - first_ms;
        watch_pace_begin(&pace, at_ms);
        first_ms = 0;
        at_ms += spent_us / 1000;
        if ((at_ms - spent_us / 1000) / 10 != at_ms / 10)
            first_ms = at_ms / 10 * 10; /* came meanwhile */
        watch_pace_sent(&pace, at_ms, spent_us);
        played.rounds++;
        played.busy_us += spent_us;
    }
    return played;
}

/* Each event has a round of its own. */
static void few_are_told_of_each(void **state)
{
    struct played played = play(10);

    assert_int_equal(played.rounds, SECONDS * 100);
    assert_int_equal(played.waited_ms_max, 0);
}

/* A thousand streams cost no more than the share, and see events within 50 ms. */
static void many_cost_a_share_of_a_core(void **state)
{
    struct played played = play(1000);

    assert_in_range(played.busy_us, SECONDS * 10000 * 15, SECONDS * 10000 * WATCH_SEND_PERCENT);
    assert_in_range(played.waited_ms_max, 20, 50);
}

/* Ten thousand cost more than that: the longest rest counts. */
static void very_many_wait_for_the_longest_rest(void **state)
{
    struct played played = play(10000);

    assert_in_range(played.busy_us, SECONDS * 10000 * WATCH_SEND_PERCENT, SECONDS * 10000 * 30);
    assert_in_range(played.waited_ms_max, WATCH_REST_MAX_MS, WATCH_REST_MAX_MS + 10000 * SEND_US / 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_sent_at_once),
        cmocka_unit_test(few_streams_wait_for_the_pause),
        cmocka_unit_test(many_streams_make_a_rest),
        cmocka_unit_test(a_rest_has_an_end),
        cmocka_unit_test(who_is_behind_does_not_rest),
        cmocka_unit_test(others_skip_the_pause_and_not_the_rest),
        cmocka_unit_test(a_round_forgets_the_last_rest),
        cmocka_unit_test(few_are_told_of_each),
        cmocka_unit_test(many_cost_a_share_of_a_core),
        cmocka_unit_test(very_many_wait_for_the_longest_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
