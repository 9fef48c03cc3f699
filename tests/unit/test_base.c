/* base: buffers, cursors, checksums, addresses, random numbers. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "addr.h"
#include "base64.h"
#include "buf.h"
#include "crc.h"
#include "crc_tables.h"
#include "cursor.h"
#include "json_out.h"
#include "rng.h"
#include "timers.h"
#include "utf8.h"

/* What a buffer writes, a cursor reads back. */
static void numbers_survive_the_round_trip(void **state)
{
    struct buf b;
    buf_init(&b, 1000);
    const uint64_t varints[] = {0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX};
    buf_put_u8(&b, 0xfe);
    buf_put_u16(&b, 0x1234);
    buf_put_u32(&b, 0xdeadbeef);
    buf_put_u64(&b, 0x0123456789abcdef);
    for (size_t i = 0; i < sizeof varints / sizeof *varints; i++)
        buf_put_varint(&b, varints[i]);
    buf_put_blob(&b, bytes_str("llama"));

    struct cursor c = cursor_of(buf_bytes(&b));
    assert_int_equal(cursor_u8(&c), 0xfe);
    assert_int_equal(cursor_u16(&c), 0x1234);
    assert_int_equal(cursor_u32(&c), 0xdeadbeef);
    assert_int_equal(cursor_u64(&c), 0x0123456789abcdef);
    for (size_t i = 0; i < sizeof varints / sizeof *varints; i++)
        assert_int_equal(cursor_varint(&c), varints[i]);
    assert_true(bytes_equal(cursor_blob(&c), bytes_str("llama")));
    assert_int_equal(cursor_finish(&c), OK);
    buf_done(&b);
}

/* A buffer at its limit keeps what it has and remembers the first error. */
static void a_full_buffer_says_so_once(void **state)
{
    struct buf b;
    buf_init(&b, 4);
    buf_put_u32(&b, 1);
    assert_int_equal(b.err, OK);
    buf_put_u8(&b, 1);
    assert_int_equal(b.err, ERR_TOO_LARGE);
    assert_int_equal(b.len, 4);
    buf_done(&b);
}

/* One byte reserved, two put: half of one is nothing to grow by. */
static void the_smallest_buffer_grows(void **state)
{
    struct buf b;
    buf_init(&b, 100);
    buf_reserve(&b, 1);
    buf_put_text(&b, "ab");
    assert_true(bytes_equal(buf_bytes(&b), bytes_str("ab")));
    buf_done(&b);
}

/* What was reserved is written without another allocation, and not a byte more. */
static void a_reserved_buffer_does_not_move(void **state)
{
    struct buf b;
    buf_init(&b, 4000);
    buf_reserve(&b, 1000);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, 1000);
    uint8_t *data = b.data;
    assert_ptr_equal(buf_extend(&b, 1000), data);
    assert_int_equal(b.cap, 1000);
    buf_reserve(&b, 3001);
    assert_int_equal(b.err, ERR_TOO_LARGE);
    buf_done(&b);
}

/* A cut input gives zeros and the error, never a read past the end. */
static void a_cut_input_is_an_error(void **state)
{
    struct cursor c = cursor_of(bytes_of("\x01\x02", 2));
    assert_int_equal(cursor_u32(&c), 0);
    assert_int_equal(c.err, ERR_TRUNCATED);
    assert_int_equal(cursor_u8(&c), 0);
    assert_int_equal(cursor_finish(&c), ERR_TRUNCATED);

    c = cursor_of(bytes_of("\xff\xff\xff\xff\x0f", 5)); /* a blob of 4 GiB that is not there */
    assert_int_equal(cursor_blob(&c).len, 0);
    assert_int_equal(c.err, ERR_TRUNCATED);
}

/* Only the shortest form of a varint is read: one value, one encoding. */
static void long_varints_are_malformed(void **state)
{
    const char *const bad[] = {"\x80\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
                               "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"};
    const size_t lengths[] = {2, 10, 11};
    for (int i = 0; i < 3; i++) {
        struct cursor c = cursor_of(bytes_of(bad[i], lengths[i]));
        cursor_varint(&c);
        assert_int_equal(c.err, ERR_MALFORMED);
    }
}

/* The published check values, and every entry of the tables. */
static void checksums_are_the_published_ones(void **state)
{
    struct bytes digits = bytes_str("123456789");
    assert_int_equal(crc32_ieee(0, digits), 0xcbf43926);
    assert_int_equal(crc32c(0, digits), 0xe3069283);
    uint8_t text[300];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 7);
    for (size_t cut = 0; cut <= sizeof text; cut += 13) {
        uint32_t head = crc32c(0, bytes_of(text, cut));
        assert_int_equal(crc32c(head, bytes_of(text + cut, sizeof text - cut)),
                         crc32c(0, bytes_of(text, sizeof text)));
    }
    /* The processor's instruction and the table agree, at any start, length and alignment. */
    struct rng rng;
    rng_init(&rng, 21);
    for (int round = 0; round < 2000; round++) {
        size_t from = rng_below(&rng, 16), length = rng_below(&rng, sizeof text - 16);
        uint32_t start = (uint32_t)rng_next(&rng);
        text[rng_below(&rng, sizeof text)] = (uint8_t)rng_next(&rng);
        struct bytes piece = bytes_of(text + from, length);
        assert_int_equal(crc32c(start, piece), crc32c_table(start, piece));
    }
    const uint32_t polynomials[] = {0xedb88320, 0x82f63b78};
    for (int t = 0; t < 2; t++) {
        const uint32_t(*table)[256] = t ? castagnoli_table : ieee_table;
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int bit = 0; bit < 8; bit++)
                c = c >> 1 ^ (c & 1 ? polynomials[t] : 0);
            for (int row = 0; row < 8; row++, c = c >> 8 ^ table[0][c & 255])
                assert_int_equal(table[row][i], c);
        }
    }
}

static struct addr v6(const char *hex16, uint16_t port)
{
    struct addr a = {.len = 16, .port = port};
    memcpy(a.ip, hex16, 16);
    return a;
}

static void addresses_print_as_people_write_them(void **state)
{
    char text[ADDR_TEXT_MAX];
    struct addr v4 = {.ip = {127, 0, 0, 1}, .len = 4, .port = 7946};
    assert_string_equal(addr_text(&v4, text), "127.0.0.1:7946");
    struct addr mapped = v6("\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01", 7946);
    assert_string_equal(addr_text(&mapped, text), "127.0.0.1:7946");
    assert_true(addr_equal(&v4, &mapped));
    struct addr one = v6("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 1);
    assert_string_equal(addr_text(&one, text), "[::1]:1");
    struct addr doc = v6("\x20\x01\x0d\xb8\0\0\0\0\0\x01\0\0\0\0\0\0", 80);
    assert_string_equal(addr_text(&doc, text), "[2001:db8:0:0:1::]:80");
    struct addr any = v6("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 0);
    assert_string_equal(addr_text(&any, text), "[::]:0");
}

/* The same seed, the same numbers: simulations rest on it. */
static void random_numbers_follow_their_seed(void **state)
{
    struct rng a, b;
    rng_init(&a, 7);
    rng_init(&b, 7);
    for (int i = 0; i < 100; i++)
        assert_int_equal(rng_next(&a), rng_next(&b));
    unsigned seen[6] = {0};
    for (int i = 0; i < 6000; i++)
        seen[rng_below(&a, 6)]++;
    for (int i = 0; i < 6; i++)
        assert_in_range(seen[i], 800, 1200);
}

/* Only the shortest form of a code point is UTF-8, and no surrogate is. */
static void utf8_is_read_strictly(void **state)
{
    const char *const good[] = {"",
                                "ascii only, and more than eight",
                                "\x7f",
                                "\xc2\x80",
                                "\xdf\xbf",
                                "\xe0\xa0\x80",
                                "\xed\x9f\xbf",
                                "\xee\x80\x80",
                                "\xf0\x90\x80\x80",
                                "\xf4\x8f\xbf\xbf"};
    const char *const bad[] = {"\x80",
                               "\xc1\xbf",
                               "\xc2",
                               "\xe0\x9f\xbf",
                               "\xed\xa0\x80",
                               "\xe1\x80",
                               "\xf0\x8f\xbf\xbf",
                               "\xf4\x90\x80\x80",
                               "\xf5\x80\x80\x80",
                               "\xff"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(utf8_valid_until(bytes_str(good[i])), strlen(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(utf8_valid_until(bytes_str(bad[i])), 0);
    assert_int_equal(utf8_valid_until(bytes_str("0123456789\xff"
                                                "0")),
                     10);
}

/* What comes out is JSON, whatever bytes a name holds. */
static void json_is_written_with_commas_and_escapes(void **state)
{
    struct buf b;
    buf_init(&b, 1000);
    struct json_out j = json_out_to(&b);
    json_object(&j);
    json_field_text(&j, "text", "a\"\\\n\x01\xc3\xa9\xff.");
    json_name(&j, "list");
    json_array(&j);
    json_number(&j, UINT64_MAX);
    json_array(&j);
    json_array_end(&j);
    json_null(&j);
    json_array_end(&j);
    json_field_bool(&j, "yes", true);
    json_name(&j, "raw");
    json_raw(&j, bytes_str("[1]"));
    json_field_number(&j, "n", 7);
    json_object_end(&j);

    buf_put_u8(&b, 0);
    assert_int_equal(b.err, OK);
    assert_string_equal((char *)b.data,
                        "{\"text\":\"a\\\"\\\\\\n\\u0001\xc3\xa9\xef\xbf\xbd.\","
                        "\"list\":[18446744073709551615,[],null],\"yes\":true,\"raw\":[1],\"n\":7}");
    buf_done(&b);
}

/* Whatever was set, moved and cancelled in between: the first timer is the one
 * with the smallest time, as a look at all of them says. */
static void the_first_timer_is_the_earliest(void **state)
{
    enum { TIMERS = 50 };
    struct timer all[TIMERS] = {0};
    struct timers timers = {0};
    struct rng rng;
    rng_init(&rng, 7);
    for (int step = 0; step < 5000; step++) {
        struct timer *timer = &all[rng_below(&rng, TIMERS)];
        if (rng_permille(&rng, 400))
            timers_cancel(&timers, timer);
        else
            timers_set(&timers, timer, rng_below(&rng, 1000));

        uint64_t earliest = UINT64_MAX;
        for (int i = 0; i < TIMERS; i++)
            if (timer_is_set(&all[i]) && all[i].at < earliest)
                earliest = all[i].at;
        assert_int_equal(timers_deadline(&timers), earliest);
        assert_int_equal(timers_first(&timers) ? timers_first(&timers)->at : UINT64_MAX, earliest);
    }
    timers_done(&timers);
}

/* base64url as RFC 4648 has it (10), for every length, and back. */
static void base64url_is_the_one_of_the_rfc(void **state)
{
    const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar", "\xff\xef\xfe"};
    const char *const coded[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy", "_-_-"};
    struct buf text, back;
    buf_init(&text, 100), buf_init(&back, 100);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        buf_reset(&text), buf_reset(&back);
        buf_put_text(&text, "kept:");
        buf_put_text(&text, plain[i]);
        buf_base64url_from(&text, 5);
        buf_put_u8(&text, 0);
        assert_string_equal((char *)text.data + 5, coded[i]);
        assert_memory_equal(text.data, "kept:", 5);
        assert_int_equal(base64url_decode(bytes_str(coded[i]), &back), OK);
        assert_true(bytes_equal(buf_bytes(&back), bytes_str(plain[i])));
    }
    buf_done(&text), buf_done(&back);
}

/* Padding, other letters, a lone letter and stray bits are refused. */
static void base64url_reads_one_form_only(void **state)
{
    const char *const wrong[] = {"Zg==", "Z", "Zm9vY", "Zh", "Zm9", "Z+8v", "Zm 9", "Zg\n"};
    struct buf out;
    buf_init(&out, 100);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(base64url_decode(bytes_str(wrong[i]), &out), ERR_MALFORMED);
        assert_int_equal(out.len, 0);
    }
    buf_done(&out);
}

/* The vectors of RFC 4648, 10, and every byte. */
static void base64_is_the_one_of_the_rfc(void **state)
{
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    struct buf text, back;
    buf_init(&text, 1000), buf_init(&back, 1000);
    for (size_t i = 0; i < 7; i++) {
        buf_reset(&text);
        buf_put_base64(&text, bytes_str(plain[i]));
        assert_true(bytes_equal(buf_bytes(&text), bytes_str(coded[i])));
    }
    uint8_t all[256];
    for (size_t i = 0; i < 256; i++)
        all[i] = (uint8_t)(i * 7);
    buf_reset(&text);
    buf_put_base64(&text, bytes_of(all, 256));
    assert_int_equal(base64_decode(buf_bytes(&text), &back), OK);
    assert_true(bytes_equal(buf_bytes(&back), bytes_of(all, 256)));
    buf_done(&text), buf_done(&back);
}

/* A node of an earlier version reads them in the answers about keys. */
static void errors_keep_their_numbers(void **state)
{
    static const enum err as_ever[] = {
        OK,           ERR_NOMEM,     ERR_TRUNCATED, ERR_MALFORMED, ERR_TOO_LARGE, ERR_CHECKSUM,
        ERR_VERSION,  ERR_NOT_FOUND, ERR_EXISTS,    ERR_BEHIND,    ERR_FLOOR,     ERR_WALKING,
        ERR_WRONGKEY, ERR_CONFLICT,  ERR_UNMET,     ERR_FULL,      ERR_IO,        ERR_LOCKED,
        ERR_DAMAGED,  ERR_REFUSED,   ERR_BUSY,      ERR_TIMEOUT,   ERR_CLOSED,    ERR_GONE,
    };
    for (size_t i = 0; i < sizeof as_ever / sizeof *as_ever; i++)
        assert_int_equal(as_ever[i], i);
    assert_int_equal(sizeof as_ever / sizeof *as_ever, ERR_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64url_is_the_one_of_the_rfc),
        cmocka_unit_test(base64url_reads_one_form_only),
        cmocka_unit_test(base64_is_the_one_of_the_rfc),
        cmocka_unit_test(numbers_survive_the_round_trip),
        cmocka_unit_test(a_full_buffer_says_so_once),
        cmocka_unit_test(the_smallest_buffer_grows),
        cmocka_unit_test(a_reserved_buffer_does_not_move),
        cmocka_unit_test(a_cut_input_is_an_error),
        cmocka_unit_test(long_varints_are_malformed),
        cmocka_unit_test(checksums_are_the_published_ones),
        cmocka_unit_test(addresses_print_as_people_write_them),
        cmocka_unit_test(random_numbers_follow_their_seed),
        cmocka_unit_test(utf8_is_read_strictly),
        cmocka_unit_test(json_is_written_with_commas_and_escapes),
        cmocka_unit_test(the_first_timer_is_the_earliest),
        cmocka_unit_test(errors_keep_their_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
