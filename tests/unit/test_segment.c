/* The log's bytes, as the table in segment.h has them, and bytes that are none. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "crc.h"
#include "cursor.h"
#include "rng.h"
#include "segment.h"

#include <stdlib.h>

static const struct segment_header header = {
    .log_id = "0123456789abcde", .number = 0x0102030405060708, .salt = 0x1112131415161718};

static struct buf frame_with_all_kinds(void)
{
    struct buf frame;
    buf_init(&frame, SIZE_MAX);
    log_frame_begin(&frame);
    log_frame_put(&frame, TABLE_RECORDS, bytes_str("key"), bytes_str("value"));
    log_frame_put(&frame, TABLE_META, bytes_str("m"), bytes_of("", 0));
    log_frame_del(&frame, TABLE_CLOCKS, bytes_str("gone"));
    log_frame_del_below(&frame, TABLE_ROWS, bytes_str("0123456789abcdef"), bytes_str("0123456789abcdefXY"));
    size_t body_len = log_frame_fill(&frame);
    log_frame_seal(&frame, &header, 77, body_len, 4);
    return frame;
}

static void check_bytes(struct bytes found, const void *expected, size_t len)
{
    assert_int_equal(found.len, len);
    assert_memory_equal(found.data, expected, len);
}

static void a_segment_begins_as_the_table_says(void **state)
{
    uint8_t out[SEGMENT_HEADER];
    static const uint8_t front[44] = "YZMALOG\n"
                                     "\0\0\0\1"
                                     "0123456789abcde\0"
                                     "\1\2\3\4\5\6\7\10"
                                     "\x11\x12\x13\x14\x15\x16\x17\x18";
    segment_header_encode(&header, out);
    assert_memory_equal(out, front, sizeof front);
    for (size_t i = 44; i < 60; i++)
        assert_int_equal(out[i], 0);
    uint32_t crc = crc32c(0, bytes_of(out, 60));
    uint8_t crc_bytes[4] = {(uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc};
    assert_memory_equal(out + 60, crc_bytes, 4);

    struct segment_header again;
    assert_int_equal(segment_header_decode(bytes_of(out, sizeof out), &again), OK);
    assert_memory_equal(again.log_id, header.log_id, LOG_ID_SIZE);
    assert_int_equal(again.number, header.number);
    assert_int_equal(again.salt, header.salt);
}

static void a_header_that_is_damaged_or_newer_is_refused(void **state)
{
    uint8_t out[SEGMENT_HEADER];
    struct segment_header again;
    segment_header_encode(&header, out);
    for (size_t bit = 0; bit < SEGMENT_HEADER * 8; bit++) {
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(segment_header_decode(bytes_of(out, sizeof out), &again), ERR_DAMAGED);
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < SEGMENT_HEADER; len++)
        assert_int_equal(segment_header_decode(bytes_of(out, len), &again), ERR_DAMAGED);
    out[11] = 2;
    uint32_t crc = crc32c(0, bytes_of(out, 60));
    for (unsigned i = 0; i < 4; i++)
        out[60 + i] = (uint8_t)(crc >> (24 - 8 * i));
    assert_int_equal(segment_header_decode(bytes_of(out, sizeof out), &again), ERR_VERSION);
}

static void a_frame_is_as_the_table_says(void **state)
{
    struct buf frame = frame_with_all_kinds();
    static const uint8_t from_8[] = "\1\2\3\4\5\6\7\10"
                                    "\0\0\0\0\0\0\0\115"
                                    "\0\0\0\x3a"
                                    "\0\0\0\4"
                                    "\x02\3key\5value"
                                    "\x00\1m\0"
                                    "\x11\4gone"
                                    "\x23\x10"
                                    "0123456789abcdef\x12"
                                    "0123456789abcdefXY"
                                    "\0\0\0\0\0\0";
    check_bytes(bytes_of(frame.data + 8, frame.len - 8), from_8, sizeof from_8 - 1);
    assert_int_equal(frame.len % LOG_FRAME_ALIGN, 0);
    buf_done(&frame);
}

static void what_was_framed_is_read_again(void **state)
{
    struct buf frame = frame_with_all_kinds();
    struct log_frame read;
    struct log_entry entry;
    assert_int_equal(log_frame_read(buf_bytes(&frame), &header, &read), OK);
    assert_int_equal(read.sequence, 77);
    assert_int_equal(read.entries, 4);
    assert_int_equal(read.size, frame.len);
    struct cursor body = cursor_of(read.body);
    log_entry_read(&body, &entry);
    assert_int_equal(entry.kind, LOG_PUT);
    assert_int_equal(entry.table, TABLE_RECORDS);
    check_bytes(entry.key, "key", 3);
    check_bytes(entry.value, "value", 5);
    log_entry_read(&body, &entry);
    assert_non_null(entry.value.data); /* empty is not deleted */
    assert_int_equal(entry.value.len, 0);
    log_entry_read(&body, &entry);
    assert_int_equal(entry.kind, LOG_DEL);
    check_bytes(entry.key, "gone", 4);
    log_entry_read(&body, &entry);
    assert_int_equal(entry.kind, LOG_DEL_BELOW);
    check_bytes(entry.value, "0123456789abcdefXY", 18);
    assert_int_equal(cursor_finish(&body), OK);
    buf_done(&frame);
}

/* Each bit but the filling's counts, and so do segment, salt and length. */
static void a_frame_that_is_not_whole_or_not_ours_is_none(void **state)
{
    struct buf frame = frame_with_all_kinds();
    struct log_frame read;
    size_t whole = LOG_FRAME_HEADER + 0x3a;
    for (size_t bit = 0; bit < frame.len * 8; bit++) {
        frame.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum err err = log_frame_read(buf_bytes(&frame), &header, &read);
        assert_int_equal(err, bit < whole * 8 ? ERR_DAMAGED : OK);
        frame.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < whole; len++) {
        uint8_t *copy = malloc(len + 1); /* of just this size, for the address sanitizer */
        memcpy(copy, frame.data, len);
        assert_int_equal(log_frame_read(bytes_of(copy, len), &header, &read), ERR_DAMAGED);
        free(copy);
    }
    struct segment_header other = header;
    other.salt++;
    assert_int_equal(log_frame_read(buf_bytes(&frame), &other, &read), ERR_DAMAGED);
    other = header;
    other.number++;
    assert_int_equal(log_frame_read(buf_bytes(&frame), &other, &read), ERR_DAMAGED);
    buf_done(&frame);
}

static bool is_body(const void *data, size_t len)
{
    uint8_t *copy = malloc(len + 1);
    memcpy(copy, data, len);
    struct cursor body = cursor_of(bytes_of(copy, len));
    struct log_entry entry;
    while (body.err == OK && cursor_left(&body))
        log_entry_read(&body, &entry);
    free(copy);
    return body.err == OK;
}

static void malformed_entries_are_told(void **state)
{
    uint8_t long_key[600] = {0x12, 0x80, 0x04}; /* deletes a key of 512 bytes */
    assert_true(is_body("\x12\1k", 3));
    assert_false(is_body("\x12\0", 2));                                          /* no key */
    assert_false(is_body(long_key, 3 + 512));                                    /* too long a key */
    assert_false(is_body("\x14\1k", 3));                                         /* no such table */
    assert_false(is_body("\x32\1k\0", 4));                                       /* no such kind */
    assert_false(is_body("\xff\1k\0", 4));                                       /* nor this */
    assert_false(is_body("\x02\1k", 3));                                         /* no value */
    assert_false(is_body("\x02\1k\5v", 5));                                      /* half a value */
    assert_false(is_body("\x02\1k\xff\xff\xff\xff\xff\xff\xff\xff\xff\1v", 14)); /* a huge one */
    assert_false(is_body("\x23\x0f"
                         "0123456789abcde"
                         "\x10"
                         "0123456789abcdeX",
                         34)); /* a short prefix */
    assert_false(is_body("\x23\x10"
                         "0123456789abcdef"
                         "\x10"
                         "0123456789abcdeX",
                         35)); /* beyond it */
    assert_true(is_body("\x23\x10"
                        "0123456789abcdef"
                        "\x10"
                        "0123456789abcdef",
                        35));
}

static void random_bodies_are_read_within_their_bounds(void **state)
{
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[40];
        size_t len = (size_t)rng_below(&rng, sizeof bytes);
        for (size_t j = 0; j < len; j++)
            bytes[j] = (uint8_t)(rng_below(&rng, 3) ? rng_below(&rng, 36) : rng_below(&rng, 256));
        (void)is_body(bytes, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_segment_begins_as_the_table_says),
        cmocka_unit_test(a_header_that_is_damaged_or_newer_is_refused),
        cmocka_unit_test(a_frame_is_as_the_table_says),
        cmocka_unit_test(what_was_framed_is_read_again),
        cmocka_unit_test(a_frame_that_is_not_whole_or_not_ours_is_none),
        cmocka_unit_test(malformed_entries_are_told),
        cmocka_unit_test(random_bodies_are_read_within_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
