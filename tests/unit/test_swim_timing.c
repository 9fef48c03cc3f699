/* swim: the formulas (suspicion, gossip, push/pull) and the order of broadcasts. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "broadcast.h"
#include "profile.h"
#include "suspicion.h"

/* The table of memberlist's own numbers for small clusters. */
static void suspicions_last_as_in_memberlist(void **state)
{
    const struct {
        const struct swim_profile *profile;
        size_t n;
        unsigned k;
        uint64_t min_ms, first_ms;
    } table[] = {
        {&swim_profile_lan, 3, 0, 4000, 4000},    {&swim_profile_lan, 4, 2, 4000, 24000},
        {&swim_profile_lan, 10, 2, 4000, 24000},  {&swim_profile_lan, 100, 2, 8000, 48000},
        {&swim_profile_lan, 30, 2, 5908, 35448},  {&swim_profile_wan, 5, 0, 30000, 30000},
        {&swim_profile_wan, 6, 4, 30000, 180000}, {&swim_profile_local, 2, 0, 3000, 3000},
        {&swim_profile_local, 3, 1, 3000, 18000},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct suspicion s = {0};
        suspicion_start(&s, table[i].profile, table[i].n, 1000, 1);
        assert_int_equal(s.k, table[i].k);
        assert_int_equal(s.min_ms, table[i].min_ms);
        assert_int_equal(suspicion_deadline(&s), 1000 + table[i].first_ms);
    }
}

/* Each new accuser shortens it: 24 s, 24 - 20 * ln 2 / ln 3 s, 4 s. */
static void confirmations_shorten_a_suspicion(void **state)
{
    struct suspicion s = {0};
    suspicion_start(&s, &swim_profile_lan, 5, 0, 1);
    assert_int_equal(suspicion_deadline(&s), 24000);
    assert_false(suspicion_confirm(&s, 1)); /* who began it does not count again */
    assert_true(suspicion_confirm(&s, 2));
    assert_int_equal(suspicion_deadline(&s), 11381);
    assert_false(suspicion_confirm(&s, 2));
    assert_true(suspicion_confirm(&s, 3));
    assert_int_equal(suspicion_deadline(&s), 4000);
    assert_false(suspicion_confirm(&s, 4)); /* k are enough */
}

static void logarithms_are_those_of_the_textbook(void **state)
{
    const uint64_t table[][2] = {{1, 0},     {2, 301},    {9, 954},     {10, 1000},
                                 {30, 1477}, {100, 2000}, {1000, 3000}, {9999, 3999}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_int_equal(log10_milli(table[i][0]), table[i][1]);
}

static void larger_clusters_talk_longer_and_exchange_less(void **state)
{
    assert_int_equal(retransmit_limit(&swim_profile_lan, 1), 4);
    assert_int_equal(retransmit_limit(&swim_profile_lan, 9), 4);
    assert_int_equal(retransmit_limit(&swim_profile_lan, 10), 8);
    assert_int_equal(retransmit_limit(&swim_profile_lan, 99), 8);
    assert_int_equal(retransmit_limit(&swim_profile_lan, 100), 12);
    assert_int_equal(push_pull_interval_ms(&swim_profile_lan, 32), 30000);
    assert_int_equal(push_pull_interval_ms(&swim_profile_lan, 33), 60000);
    assert_int_equal(push_pull_interval_ms(&swim_profile_lan, 65), 90000);
    assert_int_equal(push_pull_interval_ms(&swim_profile_lan, 129), 120000);
}

static void profiles_have_names(void **state)
{
    assert_ptr_equal(swim_profile("lan"), &swim_profile_lan);
    assert_ptr_equal(swim_profile("wan"), &swim_profile_wan);
    assert_ptr_equal(swim_profile("local"), &swim_profile_local);
    assert_null(swim_profile("lanx"));
}

/* --- broadcasts --- */

enum { BROADCASTS = 4 };

struct desk {
    struct broadcasts queue;
    struct broadcast b[BROADCASTS];
    char took[64]; /* the first letter of each */
};

static void queue(struct desk *d, int i, const char *text)
{
    struct buf b;
    buf_init(&b, 100);
    buf_put_text(&b, text);
    broadcast_queue(&d->queue, &d->b[i], &b);
}

static void on_take(void *ctx, const struct bytes *messages, size_t count)
{
    struct desk *d = ctx;
    for (size_t i = 0; i < count; i++)
        d->took[i] = (char)messages[i].data[0];
    d->took[count] = '\0';
}

static const char *take(struct desk *d, size_t budget, unsigned limit)
{
    d->took[0] = '\0';
    broadcasts_take(&d->queue, budget, 2, 100, limit, on_take, d);
    return d->took;
}

static void clear(struct desk *d)
{
    for (int i = 0; i < BROADCASTS; i++)
        broadcast_remove(&d->queue, &d->b[i]);
    broadcasts_done(&d->queue);
}

/* Fewest transmissions first, then the longest that fits, then the newest. */
static void the_order_of_broadcasts(void **state)
{
    struct desk d = {0};
    queue(&d, 0, "a1");
    queue(&d, 1, "b12345");
    queue(&d, 2, "c1");
    assert_string_equal(take(&d, 100, 10), "bca");
    queue(&d, 3, "d");
    assert_string_equal(take(&d, 9, 10), "dc"); /* 3 of 9; b no longer fits, c (4) does */
    assert_string_equal(take(&d, 8, 10), "b");  /* the rest, sent once: b fits exactly */
    assert_string_equal(take(&d, 7, 10), "ad"); /* a: once; then of those sent twice what fits */
    clear(&d);
}

/* What was sent often enough is gone; new news of the same member starts again. */
static void broadcasts_end(void **state)
{
    struct desk d = {0};
    queue(&d, 0, "a");
    assert_string_equal(take(&d, 100, 2), "a");
    queue(&d, 0, "b");
    assert_int_equal(d.queue.count, 1);
    assert_string_equal(take(&d, 100, 2), "b");
    assert_string_equal(take(&d, 100, 2), "b");
    assert_string_equal(take(&d, 100, 2), "");
    assert_false(broadcast_is_queued(&d.b[0]));
    clear(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suspicions_last_as_in_memberlist),
        cmocka_unit_test(confirmations_shorten_a_suspicion),
        cmocka_unit_test(logarithms_are_those_of_the_textbook),
        cmocka_unit_test(larger_clusters_talk_longer_and_exchange_less),
        cmocka_unit_test(profiles_have_names),
        cmocka_unit_test(the_order_of_broadcasts),
        cmocka_unit_test(broadcasts_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
