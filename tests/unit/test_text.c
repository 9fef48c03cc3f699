/* base's texts: durations and sizes, positions, and lines of key=value pairs. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "effect.h"
#include "notice.h"
#include "units.h"
#include "utf8.h"

/* Durations are read as people write them. */
static void durations_are_read(void **state)
{
    const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"500ms", 500}, {"1s", 1000}, {"72h", 259200000},        {"1m30s", 90000},
                {"0", 0},       {"0s", 0},    {"1d2h3m4s5ms", 93784005}, {"007s", 7000}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t ms = 1;
        assert_int_equal(duration_parse(bytes_str(good[i].text), &ms), OK);
        assert_int_equal(ms, good[i].ms);
    }
}

/* What is no duration is refused, and the result stays as it was. */
static void other_texts_are_no_durations(void **state)
{
    const char *const bad[] = {"",     "1",   "s",  "1S",   "-1s",  "1.5s", " 1s",  "1s ", "1 s", "1s1m",
                               "1s1s", "1s1", "1x", "1mss", "1sms", "00",   "1e3s", "+1s", "1us", "ms"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t ms = 77;
        assert_int_equal(duration_parse(bytes_str(bad[i]), &ms), ERR_MALFORMED);
        assert_int_equal(ms, 77);
    }
}

/* Sizes are bytes, with either family of units. */
static void sizes_are_read(void **state)
{
    const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"4096", 4096},
                {"0", 0},
                {"12B", 12},
                {"10KB", 10000},
                {"64MiB", 64 << 20},
                {"1GiB", 1 << 30},
                {"2TB", 2000000000000},
                {"18446744073709551615", UINT64_MAX}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t bytes = 1;
        assert_int_equal(size_parse(bytes_str(good[i].text), &bytes), OK);
        assert_int_equal(bytes, good[i].bytes);
    }
    const char *const bad[] = {"", "MiB", "1M", "1mib", "1 MiB", "-1", "1.5MiB", "1MiB1", "1MiBx"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t bytes = 77;
        assert_int_equal(size_parse(bytes_str(bad[i]), &bytes), ERR_MALFORMED);
        assert_int_equal(bytes, 77);
    }
}

/* Numbers that 64 bits do not hold are too large, not something else. */
static void overflow_is_too_large(void **state)
{
    uint64_t n = 77;
    assert_int_equal(number_parse(bytes_str("18446744073709551615"), &n), OK);
    assert_true(n == UINT64_MAX);
    n = 77;
    assert_int_equal(number_parse(bytes_str("18446744073709551616"), &n), ERR_TOO_LARGE);
    assert_int_equal(number_parse(bytes_str("12x"), &n), ERR_MALFORMED);
    assert_int_equal(duration_parse(bytes_str("18446744073709551615s"), &n), ERR_TOO_LARGE);
    assert_int_equal(duration_parse(bytes_str("213503982334d14h25m51s616ms"), &n), ERR_TOO_LARGE);
    assert_int_equal(size_parse(bytes_str("18014398509481984KiB"), &n), ERR_TOO_LARGE);
    assert_int_equal(n, 77);
}

/* What is printed is read back as the same, and is what people would write. */
static void units_print_as_they_are_read(void **state)
{
    char text[UNITS_TEXT_MAX];
    assert_string_equal(duration_text(90000, text), "1m30s");
    assert_string_equal(duration_text(0, text), "0s");
    assert_string_equal(size_text(64 << 20, text), "64MiB");
    assert_string_equal(size_text(1000, text), "1000B");
    assert_string_equal(size_text(0, text), "0B");
    const uint64_t values[] = {0, 1, 999, 1000, 86400000, 93784005, UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint64_t back = 1;
        assert_int_equal(duration_parse(bytes_str(duration_text(values[i], text)), &back), OK);
        assert_true(back == values[i]);
        assert_int_equal(size_parse(bytes_str(size_text(values[i], text)), &back), OK);
        assert_true(back == values[i]);
    }
}

/* Lines and columns count from one, and columns count characters. */
static void positions_are_those_of_an_editor(void **state)
{
    struct bytes text = bytes_str("{\n  \"k\xc3\xb6ln\": x\n}");
    struct text_position start = text_position(text, 0);
    assert_int_equal(start.line, 1);
    assert_int_equal(start.column, 1);
    struct text_position x = text_position(
        text, (size_t)(strchr((const char *)text.data, 'x') - (const char *)text.data));
    assert_int_equal(x.line, 2);
    assert_int_equal(x.column, 11);
}

static char *notice(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *notice(const char *format, ...)
{
    struct buf line;
    buf_init(&line, NOTICE_LINE_MAX);
    va_list args;
    va_start(args, format);
    notice_format(&line, format, args);
    va_end(args);
    buf_put_u8(&line, 0);
    assert_int_equal(line.err, OK);
    return (char *)line.data;
}

static void expect(char *line, const char *expected)
{
    assert_string_equal(line, expected);
    free(line);
}

static void instants_are_dates(void **state)
{
    char text[UNITS_TEXT_MAX];
    assert_string_equal(instant_text(0, text), "1970-01-01T00:00:00Z");
    assert_string_equal(instant_text(951782399999, text), "2000-02-28T23:59:59Z");
    assert_string_equal(instant_text(951782400000, text), "2000-02-29T00:00:00Z");
    assert_string_equal(instant_text(1709251199000, text), "2024-02-29T23:59:59Z");
    assert_string_equal(instant_text(4107542400000, text), "2100-03-01T00:00:00Z");
    assert_string_equal(instant_text(1798736096000, text), "2026-12-31T16:54:56Z");
}

/* Plain values stay bare, and numbers are what printf would write. */
static void notices_are_formatted(void **state)
{
    expect(notice("event=ready api=%s keys=%zu", "127.0.0.1:8080", (size_t)12),
           "event=ready api=127.0.0.1:8080 keys=12");
    expect(notice("a=%d b=%lld c=%u d=%x e=%08llx f=%lu g=%3u", -7, (long long)INT64_MIN, 5u, 0xbeefu,
                  0xabcull, 18446744073709551615ul, 7u),
           "a=-7 b=-9223372036854775808 c=5 d=beef e=00000abc f=18446744073709551615 g=  7");
    expect(notice("a=%.*s b=%c c=100%%", 3, "llama", 'x'), "a=lla b=x c=100%");
    expect(notice("name=%s", "k\xc3\xb6ln"), "name=k\xc3\xb6ln");
}

/* No value ends its line, opens a pair or hides bytes. */
static void values_cannot_forge_a_line(void **state)
{
    expect(notice("node=%s by=%s", "a b", ""), "node=\"a b\" by=\"\"");
    expect(notice("node=%s", "x\nevent=ready"), "node=\"x\\nevent=ready\"");
    expect(notice("node=%s", "x=\"y\\\""), "node=\"x=\\\"y\\\\\\\"\"");
    expect(notice("node=%s", "\x1b[2J\x7f\xff\r\t"), "node=\"\\x1b[2J\\x7f\\xff\\r\\t\"");
    expect(notice("node=%.*s", 1, "\xc3\xb6"), "node=\"\\xc3\"");
}

/* A long value is cut and says so; no line passes the limit. */
static void long_values_are_cut(void **state)
{
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    char *line = notice("a=%s b=1", text);
    assert_int_equal(strlen(line), strlen("a=... b=1") + NOTICE_VALUE_MAX);
    assert_string_equal(line + strlen(line) - 8, "x... b=1");
    free(line);
}

/* The notices of the pure code are formatted by the same rules. */
static void effects_quote_their_values(void **state)
{
    struct effects effects = {0};
    effects_notice(&effects, NOTICE_WARN, "event=%s node=%s", "refused", "a\nb");
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].level, NOTICE_WARN);
    assert_string_equal(effects.list[0].text, "event=refused node=\"a\\nb\"");
    effects_done(&effects);
}

/* Moments are read as RFC 3339 writes them, and written so that they are read. */
static void moments_are_read(void **state)
{
    const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"1970-01-01T00:00:00Z", 0},
                {"1985-04-12T23:20:50.52Z", 482196050520},
                {"1996-12-19T16:39:57-08:00", 851042397000},
                {"1937-01-01T12:00:27.87+00:20", UINT64_MAX}, /* too early */
                {"2000-02-29t12:00:00z", 951825600000},
                {"2026-11-27 22:54:16.2509Z", 1795820056250},
                {"1969-12-31T23:30:00-01:00", 1800000},
                {"9999-12-31T23:59:60Z", 253402300800000}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t ms = 77;
        enum err err = instant_parse(bytes_str(good[i].text), &ms);
        if (good[i].ms == UINT64_MAX)
            assert_int_equal(err, ERR_TOO_LARGE);
        else if (err != OK || ms != good[i].ms)
            fail_msg("%s: %d, %llu", good[i].text, (int)err, (unsigned long long)ms);
    }
    for (uint64_t ms = 0; ms < 253402300800000; ms += 7777777777777 / 8) {
        char text[UNITS_TEXT_MAX];
        uint64_t back;
        assert_int_equal(instant_parse(bytes_str(instant_text_ms(ms, text)), &back), OK);
        assert_int_equal(back, ms);
        assert_int_equal(instant_parse(bytes_str(instant_text(ms, text)), &back), OK);
        assert_int_equal(back, ms / 1000 * 1000);
    }
}

static void other_texts_are_no_moments(void **state)
{
    const char *const bad[] = {"",
                               "2026-11-27",
                               "2026-11-27T22:54:16",
                               "2026-11-27T22:54Z",
                               "2026-13-01T00:00:00Z",
                               "2026-00-01T00:00:00Z",
                               "2026-04-31T00:00:00Z",
                               "2026-02-29T00:00:00Z",
                               "2100-02-29T00:00:00Z",
                               "2026-01-00T00:00:00Z",
                               "2026-01-01T24:00:00Z",
                               "2026-01-01T00:60:00Z",
                               "2026-01-01T00:00:61Z",
                               "2026-01-01T00:00:00.Z",
                               "2026-01-01T00:00:00+1:00",
                               "2026-01-01T00:00:00+24:00",
                               "2026-01-01T00:00:00Zx",
                               "+026-01-01T00:00:00Z"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t ms = 77;
        if (instant_parse(bytes_str(bad[i]), &ms) != ERR_MALFORMED || ms != 77)
            fail_msg("%s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_read),
        cmocka_unit_test(other_texts_are_no_moments),
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(other_texts_are_no_durations),
        cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(overflow_is_too_large),
        cmocka_unit_test(units_print_as_they_are_read),
        cmocka_unit_test(positions_are_those_of_an_editor),
        cmocka_unit_test(instants_are_dates),
        cmocka_unit_test(notices_are_formatted),
        cmocka_unit_test(values_cannot_forge_a_line),
        cmocka_unit_test(long_values_are_cut),
        cmocka_unit_test(effects_quote_their_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
