/* crdt: ids, clocks, stamps, records, tokens, cursors, start lists. (merge: test_crdt_merge.c) */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base64.h"
#include "clock.h"
#include "crc.h"
#include "feed_cursor.h"
#include "record.h"
#include "stamp.h"
#include "starts.h"
#include "token.h"

static struct replica_id id_of(uint8_t n)
{
    return (struct replica_id){.b = {n}};
}

static struct dot dot_of(uint8_t replica, uint64_t counter)
{
    return (struct dot){.replica = id_of(replica), .counter = counter};
}

static struct version version_of(uint8_t replica, uint64_t counter, uint64_t stamp, const char *value)
{
    return (struct version){.dot = dot_of(replica, counter), .stamp = stamp, .value = bytes_str(value)};
}

static struct clock clock_of(const struct dot *dots, size_t count)
{
    struct clock c = {0};
    for (size_t i = 0; i < count; i++)
        clock_raise(&c, &dots[i]);
    return c;
}
#define CLOCK(...)                                                                                           \
    clock_of((struct dot[]){__VA_ARGS__}, sizeof((struct dot[]){__VA_ARGS__}) / sizeof(struct dot))

static const struct bytes KEY = {(const uint8_t *)"llama", 5};

/* ---- ids ----------------------------------------------------------------- */

/* An id's text reads back as the id, and nothing but that form is read. */
static void ids_have_one_text(void **state)
{
    struct replica_id id = replica_id_of_random((const uint8_t *)"0123456789abcdef"), back;
    char text[REPLICA_ID_TEXT];

    assert_string_equal(replica_id_text(&id, text), "30313233-3435-4637-b839-616263646566");
    assert_int_equal(replica_id_parse(bytes_str(text), &back), OK);
    assert_true(replica_id_equal(&id, &back));

    const char *const wrong[] = {"",
                                 "30313233-3435-4637-b839-61626364656",
                                 "30313233-3435-4637-b839-6162636465666",
                                 "30313233-3435-4637-b839-61626364656G",
                                 "30313233-3435-4637-b839-61626364656A",
                                 "3031323303435-4637-b839-616263646566"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(replica_id_parse(bytes_str(wrong[i]), &back), ERR_MALFORMED);
}

/* ---- clocks -------------------------------------------------------------- */

/* Joining takes the higher, meeting the lower counter of each replica; absent is 0. */
static void join_and_meet_are_pointwise(void **state)
{
    struct clock a = CLOCK(dot_of(1, 5), dot_of(2, 1)), b = CLOCK(dot_of(2, 7), dot_of(3, 2)), c = {0};

    clock_copy(&c, &a);
    clock_join(&c, &b);
    assert_int_equal(c.count, 3);
    assert_int_equal(clock_sum(&c), 14);
    assert_true(clock_covers(&c, &a) && clock_covers(&c, &b));
    assert_false(clock_covers(&a, &b));

    clock_copy(&c, &a);
    clock_meet(&c, &b);
    assert_int_equal(c.count, 1);
    assert_int_equal(clock_get(&c, &(struct replica_id){.b = {2}}), 1);
    clock_done(&a), clock_done(&b), clock_done(&c);
}

/* Setting 0 removes the entry, so that equal vectors have equal entries. */
static void an_entry_of_zero_is_not_kept(void **state)
{
    struct clock a = CLOCK(dot_of(1, 5), dot_of(2, 1)), b = CLOCK(dot_of(2, 1));
    struct replica_id one = id_of(1), nine = id_of(9);

    clock_set(&a, &one, 0);
    clock_set(&a, &nine, 0);

    assert_true(clock_equal(&a, &b));
    clock_done(&a), clock_done(&b);
}

/* A vector decodes to itself; unsorted, repeated, zero, cut or endless ones are refused. */
static void clocks_decode_in_one_form_only(void **state)
{
    struct clock a = CLOCK(dot_of(1, 5), dot_of(2, 300)), back = {0};
    struct buf b;
    buf_init(&b, 10000);
    clock_encode(&a, &b);
    struct cursor in = cursor_of(buf_bytes(&b));
    assert_int_equal(clock_decode(&in, &back), OK);
    assert_true(clock_equal(&a, &back));
    assert_int_equal(cursor_finish(&in), OK);

    for (size_t n = 0; n < b.len; n++) {
        in = cursor_of(bytes_of(b.data, n));
        assert_int_equal(clock_decode(&in, &back), ERR_TRUNCATED);
        assert_true(clock_equal(&a, &back));
    }
    const struct dot wrong[][2] = {
        {dot_of(2, 1), dot_of(1, 1)}, {dot_of(1, 1), dot_of(1, 2)}, {dot_of(1, 0), dot_of(2, 1)}};
    for (size_t i = 0; i < 3; i++) {
        clock_encode(&(struct clock){.entries = (struct dot *)wrong[i], .count = 2}, (buf_reset(&b), &b));
        in = cursor_of(buf_bytes(&b));
        assert_int_equal(clock_decode(&in, &back), ERR_MALFORMED);
    }
    in = cursor_of(bytes_of("\xff\xff\xff\x7f", 4));
    assert_int_equal(clock_decode(&in, &back), ERR_MALFORMED);
    clock_done(&a), clock_done(&back), buf_done(&b);
}

/* ---- stamps -------------------------------------------------------------- */

/* Each stamp is later than the one before, also when the wall stands still or goes back. */
static void stamps_rise_whatever_the_wall_does(void **state)
{
    struct stamp_clock clock = {0};
    uint64_t last = 0;
    const uint64_t walls[] = {1000, 1000, 999, 2000, 1500};
    for (size_t i = 0; i < 5; i++) {
        uint64_t stamp = stamp_next(&clock, walls[i], 60000, 0);
        assert_true(stamp > last);
        assert_true(stamp >= stamp_of_ms(walls[i]));
        last = stamp;
    }
}

/* 65,536 stamps in one millisecond run into the next. */
static void a_full_counter_runs_into_the_next_millisecond(void **state)
{
    struct stamp_clock clock = {.last = stamp_of_ms(1000) | 0xffff};
    assert_int_equal(stamp_next(&clock, 1000, 60000, 0), stamp_of_ms(1001));
}

/* A remote stamp at the limit is adopted, one just above it is not. */
static void stamps_from_the_future_are_not_adopted(void **state)
{
    struct stamp_clock clock = {0};
    uint64_t most = stamp_of_ms(1000 + 60001) - 1;

    assert_false(stamp_adopt(&clock, 1000, 60000, most + 1));
    assert_int_equal(clock.last, 0);
    assert_true(stamp_adopt(&clock, 1000, 60000, most));
    assert_int_equal(clock.last, most);
    assert_true(stamp_next(&clock, 1000, 60000, 0) > most);
}

/* A put wins over a version from the far future, but that future does not become our time. */
static void a_put_is_later_than_a_version_from_the_future(void **state)
{
    struct stamp_clock clock = {0};
    uint64_t far = stamp_of_ms(1000 + 3600000);

    assert_int_equal(stamp_next(&clock, 1000, 60000, far), far + 1);
    assert_int_equal(stamp_next(&clock, 1000, 60000, 0), stamp_of_ms(1000) + 1);
    assert_int_equal(stamp_next(&clock, 1000, 60000, UINT64_MAX), UINT64_MAX);
}

/* After a wall clock is corrected backwards by more than the limit, stamps follow it. */
static void a_stamp_clock_far_above_the_wall_is_set_back(void **state)
{
    struct stamp_clock clock = {.last = stamp_of_ms(100000000)};
    assert_int_equal(stamp_next(&clock, 1000, 60000, 0), stamp_of_ms(1000));
}

/* ---- records ------------------------------------------------------------- */

static struct record sample(void)
{
    struct record r = {0};
    struct version a = version_of(3, 7, 100, "{\"b\":2}"), b = version_of(1, 9, 100, "1");
    b.type = bytes_str("text/plain");
    b.expires_ms = 5000;
    record_add(&r, &a);
    record_add(&r, &b);
    r.context = CLOCK(dot_of(1, 9), dot_of(2, 400), dot_of(3, 7));
    return r;
}

/* A record decodes to itself, and encoding that gives the same bytes. */
static void records_survive_the_round_trip(void **state)
{
    struct record r = sample(), back = {0};
    struct buf once, twice;
    buf_init(&once, 10000), buf_init(&twice, 10000);

    record_encode(KEY, &r, &once);
    assert_int_equal(record_decode(KEY, buf_bytes(&once), &back), OK);
    record_encode(KEY, &back, &twice);

    assert_true(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
    assert_int_equal(back.count, 2);
    assert_true(clock_equal(&back.context, &r.context));
    assert_int_equal(back.versions[0].dot.counter, 9);
    assert_int_equal(back.versions[0].expires_ms, 5000);
    assert_true(bytes_equal(back.versions[0].type, bytes_str("text/plain")));
    assert_true(bytes_equal(back.versions[1].value, bytes_str("{\"b\":2}")));
    record_done(&r), record_done(&back), buf_done(&once), buf_done(&twice);
}

/* Every cut and every flipped bit of a record is an error, as is another key. */
static void a_damaged_record_is_seen(void **state)
{
    struct record r = sample(), back = {0};
    struct buf b;
    buf_init(&b, 10000);
    record_encode(KEY, &r, &b);

    for (size_t n = 0; n < b.len; n++) {
        assert_int_not_equal(record_decode(KEY, bytes_of(b.data, n), &back), OK);
        assert_true(record_is_empty(&back));
    }
    for (size_t i = 0; i < b.len * 8; i++) {
        b.data[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_not_equal(record_decode(KEY, buf_bytes(&b), &back), OK);
        b.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_int_equal(record_decode(bytes_str("alpaca"), buf_bytes(&b), &back), ERR_CHECKSUM);
    b.data[0] = 2;
    assert_int_equal(record_decode(KEY, buf_bytes(&b), &back), ERR_VERSION);
    record_done(&r), record_done(&back), buf_done(&b);
}

/* A record of these bytes behind a checksum that fits, so that they are looked at. */
static struct bytes with_checksum(struct buf *b, struct bytes body)
{
    buf_reset(b);
    buf_put_u8(b, 1);
    buf_put_u32(b, crc32c(crc32c(0, KEY), body));
    buf_put_bytes(b, body);
    return buf_bytes(b);
}

/* With a checksum that fits, every mutation is refused or is a canonical record: it encodes to the same
 * bytes. */
static void what_decodes_is_canonical(void **state)
{
    struct record r = sample(), back = {0};
    struct buf good, bad, again;
    buf_init(&good, 10000), buf_init(&bad, 10000), buf_init(&again, 10000);
    record_encode(KEY, &r, &good);
    size_t taken = 0, refused = 0;

    for (size_t at = 5; at < good.len; at++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t old = good.data[at];
            good.data[at] = (uint8_t)value;
            with_checksum(&bad, bytes_of(good.data + 5, good.len - 5));
            good.data[at] = old;
            if (record_decode(KEY, buf_bytes(&bad), &back) != OK) {
                refused++;
                continue;
            }
            taken++;
            buf_reset(&again);
            record_encode(KEY, &back, &again);
            assert_true(bytes_equal(buf_bytes(&again), buf_bytes(&bad)));
        }
    }
    assert_true(taken > 0 && refused > 0);
    record_done(&r), record_done(&back), buf_done(&good), buf_done(&bad), buf_done(&again);
}

/* A few bytes that claim thousands of versions or ids allocate nothing for them. */
static void counts_are_not_believed(void **state)
{
    const char *const bodies[] = {"\x00\x00\x80\x20", "\xff\x07", "\x00\x00\x00", "\x00\x05"};
    const size_t lengths[] = {4, 2, 3, 2};
    struct buf b;
    buf_init(&b, 1000);
    struct record back = {0};
    for (size_t i = 0; i < 4; i++) {
        with_checksum(&b, bytes_of(bodies[i], lengths[i]));
        assert_int_not_equal(record_decode(KEY, buf_bytes(&b), &back), OK);
        assert_int_equal(back.room, 0);
    }
    record_done(&back), buf_done(&b);
}

/* A record that no reader would take is not written. */
static void too_many_replicas_are_not_encoded(void **state)
{
    struct record r = {0};
    for (unsigned i = 0; i <= CLOCK_REPLICAS_MAX; i++)
        clock_set(&r.context, &(struct replica_id){.b = {(uint8_t)(i >> 8), (uint8_t)i, 1}}, 1);
    struct buf b;
    buf_init(&b, 1 << 20);

    record_encode(KEY, &r, &b);

    assert_int_equal(b.err, ERR_TOO_LARGE);
    record_done(&r), buf_done(&b);
}

/* What a read shows is the latest version by (stamp, dot) that is not expired. */
static void the_latest_living_version_surfaces(void **state)
{
    struct record r = {0};
    struct version a = version_of(1, 1, 10, "a"), b = version_of(2, 1, 30, "b"),
                   c = version_of(3, 1, 10, "c");
    b.expires_ms = 1000;
    record_add(&r, &c), record_add(&r, &a), record_add(&r, &b);

    assert_true(bytes_equal(record_surfaced(&r, 999)->value, bytes_str("b")));
    assert_true(bytes_equal(record_surfaced(&r, 1000)->value, bytes_str("c")));
    assert_int_equal(record_last_stamp(&r), 30);
    record_remove_at(&r, (size_t)record_find(&r, &c.dot));
    assert_true(bytes_equal(record_surfaced(&r, 1000)->value, bytes_str("a")));
    assert_int_equal(record_find(&r, &c.dot), -1);
    record_clear(&r);
    assert_null(record_surfaced(&r, 0));
    record_done(&r);
}

/* ---- tokens -------------------------------------------------------------- */

/* A read's token names the versions held, and asks for them, the context and the floor. */
static void a_token_of_a_read_survives_the_round_trip(void **state)
{
    struct record r = sample();
    struct clock floor = CLOCK(dot_of(2, 500), dot_of(4, 1));
    struct token t = {0}, back = {0};
    struct buf b;
    buf_init(&b, TOKEN_TEXT_MAX);

    token_of_read(&t, KEY, &r, &floor);
    token_encode(&t, &b);
    assert_int_equal(token_decode(buf_bytes(&b), &back), OK);

    assert_int_equal(back.key_hash, token_key_hash(KEY));
    assert_int_equal(back.seen_count, 2);
    assert_true(token_saw(&back, &(struct dot){.replica = id_of(3), .counter = 7}));
    assert_false(token_saw(&back, &(struct dot){.replica = id_of(3), .counter = 6}));
    assert_true(clock_equal(&back.after, &t.after));
    assert_int_equal(clock_sum(&back.after), 9 + 500 + 7 + 1);
    record_done(&r), clock_done(&floor), token_done(&t), token_done(&back), buf_done(&b);
}

/* Every cut, every other letter and every addition to a token is refused. */
static void a_changed_token_is_refused(void **state)
{
    struct token t = {0}, back = {0};
    struct buf b;
    buf_init(&b, TOKEN_TEXT_MAX);
    struct dot dot = dot_of(5, 1000);
    token_of_write(&t, KEY, &dot);
    token_encode(&t, &b);
    assert_int_equal(token_decode(buf_bytes(&b), &back), OK);

    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(token_decode(bytes_of(b.data, n), &back), ERR_MALFORMED);
    for (size_t i = 0; i < b.len; i++) {
        uint8_t old = b.data[i];
        for (unsigned v = 0; v < 256; v++) {
            b.data[i] = (uint8_t)v;
            if (v != old)
                assert_int_equal(token_decode(buf_bytes(&b), &back), ERR_MALFORMED);
        }
        b.data[i] = old;
    }
    buf_put_u8(&b, '=');
    assert_int_equal(token_decode(buf_bytes(&b), &back), ERR_MALFORMED);
    assert_true(token_saw(&back, &dot)); /* untouched by the failures */
    token_done(&t), token_done(&back), buf_done(&b);
}

/* A delete that removed nothing made no operation: its token has seen nothing. */
static void a_token_of_no_operation_saw_nothing(void **state)
{
    struct token t = {0}, back = {0};
    struct buf b;
    buf_init(&b, TOKEN_TEXT_MAX);

    token_of_write(&t, KEY, &(struct dot){.replica = id_of(1)});
    token_encode(&t, &b);

    assert_int_equal(token_decode(buf_bytes(&b), &back), OK);
    assert_int_equal(back.seen_count, 0);
    assert_int_equal(back.after.count, 0);
    token_done(&t), token_done(&back), buf_done(&b);
}

/* ---- cursors of readers -------------------------------------------------- */

static struct feed_cursor listing_cursor(void)
{
    struct feed_cursor c = {.phase = FEED_LIST,
                            .low = CLOCK(dot_of(1, 300), dot_of(3, 7)),
                            .high = CLOCK(dot_of(1, 300), dot_of(2, 9), dot_of(3, 8))};
    memcpy(c.after, "some key", c.after_len = 8);
    c.prefix_len = 5;
    return c;
}

/* Both vectors and the place in a listing come back. */
static void a_cursor_survives_the_round_trip(void **state)
{
    struct feed_cursor c = listing_cursor(), back = {0};
    struct buf b;
    buf_init(&b, FEED_CURSOR_TEXT_MAX);

    feed_cursor_encode(&c, &b);
    assert_int_equal(feed_cursor_decode(buf_bytes(&b), &back), OK);

    assert_int_equal(back.phase, FEED_LIST);
    assert_true(clock_equal(&back.low, &c.low));
    assert_true(clock_equal(&back.high, &c.high));
    assert_true(bytes_equal(bytes_of(back.after, back.after_len), bytes_str("some key")));
    assert_int_equal(back.prefix_len, 5);
    feed_cursor_done(&c), feed_cursor_done(&back), buf_done(&b);
}

/* A listing goes on for the keys that it began with and for no others; from anything else
 * than the middle of one, any reader may go on. */
static void a_listing_is_of_its_prefix(void **state)
{
    struct feed_cursor c = listing_cursor();
    assert_true(feed_cursor_serves(&c, bytes_str("some ")));
    assert_false(feed_cursor_serves(&c, bytes_str("some")));
    assert_false(feed_cursor_serves(&c, bytes_str("some k")));
    assert_false(feed_cursor_serves(&c, bytes_str("other")));
    assert_false(feed_cursor_serves(&c, bytes_of(NULL, 0)));

    c.after_len = c.prefix_len = 0; /* nothing of it has been listed */
    assert_true(feed_cursor_serves(&c, bytes_str("other")));
    c.phase = FEED_CHANGES;
    assert_true(feed_cursor_serves(&c, bytes_str("other")));
    feed_cursor_done(&c);
}

/* Every cut and every other letter of a cursor is refused, and changes nothing. */
static void a_changed_cursor_is_refused(void **state)
{
    struct feed_cursor c = listing_cursor(), back = {0};
    struct buf b;
    buf_init(&b, FEED_CURSOR_TEXT_MAX);
    feed_cursor_encode(&c, &b);
    assert_int_equal(feed_cursor_decode(buf_bytes(&b), &back), OK);

    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(feed_cursor_decode(bytes_of(b.data, n), &back), ERR_MALFORMED);
    for (size_t i = 0; i < b.len; i++) {
        uint8_t old = b.data[i];
        for (unsigned v = 0; v < 256; v++) {
            b.data[i] = (uint8_t)v;
            if (v != old)
                assert_int_equal(feed_cursor_decode(buf_bytes(&b), &back), ERR_MALFORMED);
        }
        b.data[i] = old;
    }
    assert_true(clock_equal(&back.high, &c.high));
    feed_cursor_done(&c), feed_cursor_done(&back), buf_done(&b);
}

/* A cursor of these bytes, its checksum put right. */
static enum err decode_cursor_of(struct bytes body)
{
    struct feed_cursor c = {0};
    struct buf b;
    buf_init(&b, FEED_CURSOR_TEXT_MAX);
    buf_put_bytes(&b, body);
    buf_put_u32(&b, crc32c(0, body));
    buf_base64url_from(&b, 0);
    enum err err = feed_cursor_decode(buf_bytes(&b), &c);
    feed_cursor_done(&c), buf_done(&b);
    return err;
}

/* One text for each cursor: what says the same twice, or nothing, is refused. */
static void only_the_written_form_of_a_cursor_is_read(void **state)
{
    static const uint8_t empty[] = {1, 0, 0, 0, 0}, phase[] = {1, 3, 0, 0, 0};
    uint8_t id[1 + 1 + 1 + 16 + 6] = {1, 0, 1};
    memset(id + 3, 7, 16);
    struct bytes with_id = bytes_of(id, 3 + 16 + 4);

    assert_int_equal(decode_cursor_of(bytes_of(empty, sizeof empty)), OK);
    assert_int_equal(decode_cursor_of(bytes_of(phase, sizeof phase)), ERR_MALFORMED);
    /* low 5, high nothing more */
    memcpy(id + 19, (uint8_t[]){1, 0, 5, 0}, 4);
    assert_int_equal(decode_cursor_of(with_id), OK);
    id[1] = FEED_LIST_BEGIN; /* has no low */
    assert_int_equal(decode_cursor_of(with_id), ERR_MALFORMED);
    id[1] = FEED_CHANGES;
    /* high 5 too, which low says already */
    memcpy(id + 19, (uint8_t[]){1, 0, 5, 1, 0, 5}, 6);
    assert_int_equal(decode_cursor_of(bytes_of(id, sizeof id)), ERR_MALFORMED);
    id[24] = 6;
    assert_int_equal(decode_cursor_of(bytes_of(id, sizeof id)), OK);
    /* an id that nothing names */
    memcpy(id + 19, (uint8_t[]){0, 0}, 2);
    assert_int_equal(decode_cursor_of(bytes_of(id, 3 + 16 + 2)), ERR_MALFORMED);
}

/* ---- start lists --------------------------------------------------------- */

static struct starts starts_of(const struct start *all, size_t count)
{
    struct starts list = {0};
    for (size_t i = 0; i < count; i++)
        starts_append(&list, all[i]);
    return list;
}
#define STARTS(...)                                                                                          \
    starts_of((struct start[]){__VA_ARGS__}, sizeof((struct start[]){__VA_ARGS__}) / sizeof(struct start))

/* A list extends each earlier state of itself, and no other list. */
static void a_list_extends_its_past(void **state)
{
    struct starts past = STARTS({0, 11}, {5, 12}), now = STARTS({0, 11}, {5, 12}, {9, 13}),
                  other = STARTS({0, 11}, {5, 99}, {9, 13});
    assert_true(starts_extend(&now, &past));
    assert_true(starts_extend(&now, &now));
    assert_false(starts_extend(&past, &now));
    assert_false(starts_extend(&now, &other));
    assert_true(starts_extend(&past, &(struct starts){0}));
}

/* Only the newest entries are kept; lists are compared where both still show them. */
static void old_starts_are_forgotten(void **state)
{
    struct starts list = {0}, past = {0}, other = {0};
    for (uint64_t i = 0; i < 100; i++) {
        starts_append(&list, (struct start){i, i * 7});
        if (i < 50)
            starts_append(&past, (struct start){i, i * 7});
        if (i < 50)
            starts_append(&other, (struct start){i, i * 8});
    }
    assert_int_equal(list.count, STARTS_KEPT);
    assert_int_equal(list.total, 100);
    assert_true(starts_extend(&list, &past));
    assert_false(starts_extend(&list, &other));
    assert_int_equal(starts_fork(&list, &other, 1000), 0);
}

/* A restored store and its former self agree up to the state that was saved. */
static void the_fork_lies_at_the_first_start_that_differs(void **state)
{
    struct starts restored = STARTS({0, 11}, {5, 12}, {50, 13}), former = STARTS({0, 11}, {5, 12}, {60, 14}),
                  running = STARTS({0, 11}, {5, 12}), stranger = STARTS({0, 21});

    assert_int_equal(starts_fork(&restored, &former, 70), 50);
    assert_int_equal(starts_fork(&former, &restored, 70), 50);
    assert_int_equal(starts_fork(&restored, &running, 70), 50); /* copied while it ran on */
    assert_int_equal(starts_fork(&running, &restored, 40), 40);
    assert_int_equal(starts_fork(&running, &running, 70), 5);
    assert_int_equal(starts_fork(&restored, &stranger, 70), 0);
    assert_int_equal(starts_fork(&restored, &(struct starts){0}, 70), 0);
}

/* A list decodes to itself; cut, over-long and falling ones are refused. */
static void starts_survive_the_round_trip(void **state)
{
    struct starts list = {0}, back;
    for (uint64_t i = 0; i < 70; i++)
        starts_append(&list, (struct start){i * 3, i});
    struct buf b;
    buf_init(&b, 10000);
    starts_encode(&list, &b);
    struct cursor in = cursor_of(buf_bytes(&b));
    assert_int_equal(starts_decode(&in, &back), OK);
    assert_int_equal(back.total, 70);
    assert_true(starts_extend(&back, &list) && starts_extend(&list, &back));
    for (size_t n = 0; n < b.len; n++) {
        in = cursor_of(bytes_of(b.data, n));
        assert_int_equal(starts_decode(&in, &back), ERR_TRUNCATED);
    }
    struct starts falling = STARTS({5, 1}, {4, 1});
    buf_reset(&b);
    starts_encode(&falling, &b);
    in = cursor_of(buf_bytes(&b));
    assert_int_equal(starts_decode(&in, &back), ERR_MALFORMED);
    in = cursor_of(bytes_of("\x50\x02", 2)); /* 80 starts, but only 2 of them kept */
    assert_int_equal(starts_decode(&in, &back), ERR_MALFORMED);
    buf_done(&b);
}

/* An old state that has counted up to the same number again is not the replica
 * that is remembered: what that one told lies beyond the start of this one. */
static void an_old_state_does_not_follow(void **state)
{
    struct starts remembered = {0}, later = {0};
    starts_append(&remembered, (struct start){.counter = 0, .random = 1});
    later = remembered;
    assert_true(starts_follow(&later, 6, &remembered, 6));
    assert_false(starts_follow(&later, 5, &remembered, 6)); /* counters do not go back */

    starts_append(&later, (struct start){.counter = 6, .random = 2});
    assert_true(starts_follow(&later, 6, &remembered, 6));
    assert_true(starts_follow(&later, 9, &remembered, 6));
    later.entries[1].counter = 5; /* it began anew before it had told the sixth */
    assert_false(starts_follow(&later, 9, &remembered, 6));

    remembered.entries[0].random = 7;
    assert_false(starts_follow(&later, 9, &remembered, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_old_state_does_not_follow),
        cmocka_unit_test(ids_have_one_text),
        cmocka_unit_test(join_and_meet_are_pointwise),
        cmocka_unit_test(an_entry_of_zero_is_not_kept),
        cmocka_unit_test(clocks_decode_in_one_form_only),
        cmocka_unit_test(stamps_rise_whatever_the_wall_does),
        cmocka_unit_test(a_full_counter_runs_into_the_next_millisecond),
        cmocka_unit_test(stamps_from_the_future_are_not_adopted),
        cmocka_unit_test(a_put_is_later_than_a_version_from_the_future),
        cmocka_unit_test(a_stamp_clock_far_above_the_wall_is_set_back),
        cmocka_unit_test(records_survive_the_round_trip),
        cmocka_unit_test(a_damaged_record_is_seen),
        cmocka_unit_test(what_decodes_is_canonical),
        cmocka_unit_test(counts_are_not_believed),
        cmocka_unit_test(too_many_replicas_are_not_encoded),
        cmocka_unit_test(the_latest_living_version_surfaces),
        cmocka_unit_test(a_token_of_a_read_survives_the_round_trip),
        cmocka_unit_test(a_changed_token_is_refused),
        cmocka_unit_test(a_token_of_no_operation_saw_nothing),
        cmocka_unit_test(a_cursor_survives_the_round_trip),
        cmocka_unit_test(a_listing_is_of_its_prefix),
        cmocka_unit_test(a_changed_cursor_is_refused),
        cmocka_unit_test(only_the_written_form_of_a_cursor_is_read),
        cmocka_unit_test(a_list_extends_its_past),
        cmocka_unit_test(old_starts_are_forgotten),
        cmocka_unit_test(the_fork_lies_at_the_first_start_that_differs),
        cmocka_unit_test(starts_survive_the_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
