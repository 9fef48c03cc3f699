/* The log's lines, as text and as JSON. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "log.h"

enum { LINE_MAX_HERE = 1 << 20 };
static const uint64_t A_MORNING_MS = 1795486811123; /* 2026-11-24T02:20:11.123Z */

static void expect_line(enum log_format format, enum notice_level level, const char *line,
                        const char *expected)
{
    struct buf out;
    buf_init(&out, LINE_MAX_HERE);
    log_render(&out, format, A_MORNING_MS, level, bytes_str(line));
    buf_put_u8(&out, '\0');
    assert_int_equal(out.err, OK);
    assert_string_equal(out.data, expected);
    buf_done(&out);
}

/* Time, level, and the pairs as they came. */
static void text_lines_have_time_and_level(void **state)
{
    expect_line(LOG_TEXT, NOTICE_INFO, "event=ready api=127.0.0.1:8080",
                "2026-11-24T02:20:11.123Z info event=ready api=127.0.0.1:8080\n");
    expect_line(LOG_TEXT, NOTICE_ERROR, "event=x why=\"a b\"",
                "2026-11-24T02:20:11.123Z error event=x why=\"a b\"\n");
}

/* Pairs become fields; quotes and escapes of the text form are undone first. */
static void json_lines_have_fields(void **state)
{
    expect_line(LOG_JSON, NOTICE_WARN, "event=refused node=\"a b=\\\"c\\\"\\n\\x1b\\\\\" by=",
                "{\"time\":\"2026-11-24T02:20:11.123Z\",\"level\":\"warn\",\"event\":\"refused\","
                "\"node\":\"a b=\\\"c\\\"\\n\\u001b\\\\\",\"by\":\"\"}\n");
    expect_line(
        LOG_JSON, NOTICE_DEBUG, "hello  world=1",
        "{\"time\":\"2026-11-24T02:20:11.123Z\",\"level\":\"debug\",\"hello\":\"\",\"world\":\"1\"}\n");
}

/* Whatever a line holds, it stays one line. */
static void a_line_stays_one_line(void **state)
{
    expect_line(LOG_TEXT, NOTICE_INFO, "event=x a\nb\x1b", "2026-11-24T02:20:11.123Z info event=x a?b?\n");
    expect_line(LOG_JSON, NOTICE_INFO, "event=\"x\n",
                "{\"time\":\"2026-11-24T02:20:11.123Z\",\"level\":\"info\",\"event\":\"x\\n\"}\n");
    expect_line(LOG_JSON, NOTICE_INFO, "event=\"x\\",
                "{\"time\":\"2026-11-24T02:20:11.123Z\",\"level\":\"info\",\"event\":\"x\\\\\"}\n");
}

/* Levels below the one set are not written, and it can change at any time. */
static void levels_filter(void **state)
{
    int pipes[2], old = dup(STDERR_FILENO);
    assert_int_equal(pipe(pipes), 0);
    dup2(pipes[1], STDERR_FILENO);

    log_set_level(NOTICE_WARN);
    log_info("event=hidden");
    log_warn("event=seen by=%s", "a b");
    log_set_level(NOTICE_DEBUG);
    log_debug("event=later");

    dup2(old, STDERR_FILENO);
    close(old);
    close(pipes[1]);
    char text[512];
    ssize_t n = read(pipes[0], text, sizeof text - 1);
    close(pipes[0]);
    assert_true(n > 0);
    text[n] = '\0';
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, " warn event=seen by=\"a b\"\n"));
    assert_non_null(strstr(text, " debug event=later\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines_have_time_and_level),
        cmocka_unit_test(json_lines_have_fields),
        cmocka_unit_test(a_line_stays_one_line),
        cmocka_unit_test(levels_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
