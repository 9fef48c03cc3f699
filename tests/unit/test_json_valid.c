/* json_valid: exactly RFC 8259. The cases follow the kinds of JSONTestSuite
 * ("Parsing JSON is a minefield", Seriot 2016): y must pass, n must not, and i,
 * where the RFC leaves it to the reader, has our answer written down. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <yajl/yajl_parse.h>

#include "json_valid.h"
#include "rng.h"
#include "utf8.h"

#define TEXT(literal)                                                                                        \
    {                                                                                                        \
        literal, sizeof literal - 1                                                                          \
    }
struct text {
    const char *data;
    size_t length;
};

static const struct text valid[] = {
    /* any value at the top, any white space around */
    TEXT("{}"),
    TEXT("[]"),
    TEXT("null"),
    TEXT("true"),
    TEXT("false"),
    TEXT("0"),
    TEXT("\"\""),
    TEXT("\"asd\""),
    TEXT(" [] "),
    TEXT("[] \n\r\t"),
    TEXT("\n\r\t []"),
    TEXT("[\"a\"]\n"),
    TEXT(" 1"),
    TEXT("-1 "),
    /* arrays */
    TEXT("[[]   ]"),
    TEXT("[\"\"]"),
    TEXT("[false]"),
    TEXT("[null, 1, \"1\", {}]"),
    TEXT("[1\n]"),
    TEXT("[ 1]"),
    TEXT("[1,null,null,null,2]"),
    TEXT("[2] "),
    TEXT("[[[[[[[[[[]]]]]]]]]]"),
    /* numbers of any size */
    TEXT("[123e65]"),
    TEXT("[0e+1]"),
    TEXT("[0e1]"),
    TEXT("[ 4]"),
    TEXT("[-0.000000000000000000000000000001]"),
    TEXT("[20e1]"),
    TEXT("[-0]"),
    TEXT("[-123]"),
    TEXT("[-1]"),
    TEXT("[-0]"),
    TEXT("[1E22]"),
    TEXT("[1E-2]"),
    TEXT("[1E+2]"),
    TEXT("[123e45]"),
    TEXT("[123.456e78]"),
    TEXT("[1e-2]"),
    TEXT("[1e+2]"),
    TEXT("[123]"),
    TEXT("[123.456789]"),
    TEXT("1e400"),
    TEXT("-1e-400"),
    TEXT("[0.4e006699999999999999999999999]"),
    TEXT("[-237462374673276894279832749832423479823246327846]"),
    TEXT("[100000000000000000000]"),
    TEXT("[1.5e+9999]"),
    TEXT("0.0"),
    TEXT("-0.0e-0"),
    /* objects */
    TEXT("{\"asd\":\"sdf\", \"dfg\":\"fgh\"}"),
    TEXT("{\"asd\":\"sdf\"}"),
    TEXT("{\"a\":\"b\",\"a\":\"c\"}"),
    TEXT("{\"a\":\"b\",\"a\":\"b\"}"),
    TEXT("{\"\":0}"),
    TEXT("{\"foo\\u0000bar\": 42}"),
    TEXT("{ \"min\": -1.0e+28, \"max\": 1.0e+28 }"),
    TEXT("{\"a\":[]}"),
    TEXT("{\n\"a\": \"b\"\n}"),
    TEXT("{\"x\":[{\"id\": \"xxxxxxxxxxxxxxxxxxxx\"}]}"),
    TEXT("{\"title\":\"\\u041f\\u043e\\u043b\"}"),
    /* strings and escapes; lone surrogates are only escapes */
    TEXT("[\"\\u0060\\u012a\\u12AB\"]"),
    TEXT("[\"\\uD801\\udc37\"]"),
    TEXT("[\"\\ud83d\\ude39\"]"),
    TEXT("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
    TEXT("[\"\\\\u0000\"]"),
    TEXT("[\"\\\"\"]"),
    TEXT("[\"a/*b*/c/*d//e\"]"),
    TEXT("[\"\\\\a\"]"),
    TEXT("[\"\\\\n\"]"),
    TEXT("[\"\\u0012\"]"),
    TEXT("[\"\\uFFFF\"]"),
    TEXT("[\"\\uD800\"]"),
    TEXT("[\"\\uDd1ea\"]"),
    TEXT("[\"\\uD888\\u1234\"]"),
    TEXT("[\"\\uDFAA\"]"),
    TEXT("[\"\\u0000\"]"),
    TEXT("[\"\\uDBFF\\uDFFE\"]"),
    TEXT("[\"\\u00A0\"]"),
    TEXT("[\"\\u2064\"]"),
    TEXT("[\"\x7f\"]"),
    /* UTF-8 as it is */
    TEXT("[\"\xc3\xa9\"]"),
    TEXT("[\"\xe2\x82\xac\"]"),
    TEXT("[\"\xf0\x9d\x84\x9e\"]"),
    TEXT("[\"\xef\xbf\xbf\"]"),
    TEXT("[\"\xf4\x8f\xbf\xbf\"]"),
    TEXT("[\"\xe2\x80\xa8\"]"),
    TEXT("[\"\xef\xbb\xbf\"]"),
    TEXT("{\"\xe2\x82\xac\":1}"),
};

static const struct text invalid[] = {
    /* not a value, or not one */
    TEXT(""),
    TEXT(" "),
    TEXT("\n"),
    TEXT("nul"),
    TEXT("tru"),
    TEXT("fals"),
    TEXT("True"),
    TEXT("NULL"),
    TEXT("nan"),
    TEXT("NaN"),
    TEXT("Infinity"),
    TEXT("-Infinity"),
    TEXT("[NaN]"),
    TEXT("[-NaN]"),
    TEXT("[+Inf]"),
    TEXT("undefined"),
    TEXT("[] []"),
    TEXT("{} {}"),
    TEXT("1 2"),
    TEXT("[]x"),
    TEXT("[] tru"),
    TEXT("1 \"a"),
    TEXT("[]-"),
    TEXT("{} n"),
    TEXT("1e5 /"),
    TEXT("\"\"\""),
    TEXT("*"),
    TEXT("\xe2\x81\xa0"),
    TEXT("<.>"),
    TEXT("[<null>]"),
    TEXT("asd"),
    TEXT("null\0"),
    TEXT("[1]\0"),
    TEXT("\0"),
    TEXT("[\0]"),
    TEXT("'a'"),
    /* arrays */
    TEXT("["),
    TEXT("]"),
    TEXT("[[]"),
    TEXT("[]]"),
    TEXT("[,"),
    TEXT("[,1]"),
    TEXT("[1,]"),
    TEXT("[1,,2]"),
    TEXT("[,]"),
    TEXT("[1 true]"),
    TEXT("[\"a\" \"b\"]"),
    TEXT("[\"\": 1]"),
    TEXT("[3[4]]"),
    TEXT("[1:2]"),
    TEXT("[\"x\""),
    TEXT("[1"),
    TEXT("[1,\n1\n,1"),
    TEXT("[{}"),
    TEXT("[*]"),
    TEXT("[1}"),
    TEXT("[\"a\","),
    TEXT("[\v\"a\"\f]"),
    /* numbers */
    TEXT("+1"),
    TEXT("[+1]"),
    TEXT("01"),
    TEXT("-01"),
    TEXT("[012]"),
    TEXT("-"),
    TEXT("[-]"),
    TEXT("[- 1]"),
    TEXT("1."),
    TEXT("[1.]"),
    TEXT(".5"),
    TEXT("[.123]"),
    TEXT("[-.5]"),
    TEXT("[0.e1]"),
    TEXT("[2.e3]"),
    TEXT("1e"),
    TEXT("[1e+]"),
    TEXT("[1E]"),
    TEXT("[0e+-1]"),
    TEXT("[9.e+]"),
    TEXT("0x1"),
    TEXT("[0x42]"),
    TEXT("[1 000.0]"),
    TEXT("[1eE2]"),
    TEXT("[1+2]"),
    TEXT("[--1]"),
    TEXT("[1.2a-3]"),
    TEXT("[\xef\xbc\x91]"),
    TEXT("[0.1.2]"),
    TEXT("1_000"),
    TEXT("1,2"),
    /* objects */
    TEXT("{"),
    TEXT("}"),
    TEXT("{\"a\""),
    TEXT("{\"a\":"),
    TEXT("{\"a\":1"),
    TEXT("{\"a\":1,}"),
    TEXT("{,}"),
    TEXT("{1:1}"),
    TEXT("{a: \"b\"}"),
    TEXT("{'a':0}"),
    TEXT("{\"a\" \"b\"}"),
    TEXT("{\"a\":1 \"b\":2}"),
    TEXT("{\"a\"::1}"),
    TEXT("{\"a\",1}"),
    TEXT("{null:1}"),
    TEXT("{\"a\":1,,\"b\":2}"),
    TEXT("{\"a\":\"a\" 123}"),
    TEXT("{[: \"x\"}"),
    TEXT("{\"a\":1}}"),
    TEXT("{\"a\":1]"),
    TEXT("{\"a\"}"),
    TEXT("{\"a\":1}#"),
    /* comments and other dialects */
    TEXT("{\"a\":/*c*/1}"),
    TEXT("{\"a\":1}//"),
    TEXT("/**/1"),
    TEXT("[1,#2\n]"),
    TEXT("{\"a\":true,}"),
    /* strings */
    TEXT("\""),
    TEXT("[\"a"),
    TEXT("[\"\\\"]"),
    TEXT("[\"\\x00\"]"),
    TEXT("[\"\\a\"]"),
    TEXT("[\"\\u\"]"),
    TEXT("[\"\\u00A\"]"),
    TEXT("[\"\\u00G0\"]"),
    TEXT("[\"\\ud834\\u\"]"),
    TEXT("[\"\\uD800\\\"]"),
    TEXT("[\"new\nline\"]"),
    TEXT("[\"\t\"]"),
    TEXT("[\"a\0a\"]"),
    TEXT("[\"\x1f\"]"),
    TEXT("[\"\\\t\"]"),
    TEXT("[\"\\'\"]"),
    TEXT("[\\u0020\"a\"]"),
    /* bytes that are not UTF-8, a byte order mark, other white space */
    TEXT("[\"\xff\"]"),
    TEXT("[\"\x80\"]"),
    TEXT("[\"\xe9\"]"),
    TEXT("[\"\xc0\xaf\"]"),
    TEXT("[\"\xe0\x80\xaf\"]"),
    TEXT("[\"\xfc\x83\xbf\xbf\xbf\xbf\"]"),
    TEXT("[\"\xed\xa0\x80\"]"),
    TEXT("[\"\xf4\xbf\xbf\xbf\"]"),
    TEXT("[\"\xe6\x97\xa5\xd1\x88\xfa\"]"),
    TEXT("[\"\xf0\x8f\xbf\xbf\"]"),
    TEXT("\xff\xfe[\0\"\0"),
    TEXT("\xef\xbb\xbf{}"),
    TEXT("\xef\xbb\xbf"),
    TEXT("\xc2\xa0[]"),
    TEXT("[]\f"),
    TEXT("\v1"),
    TEXT("[\xe2\x80\xa8]"),
    TEXT("[\"a\v\"]"),
};

static void everything_valid_passes(void **state)
{
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++) {
        struct json_error error;
        if (json_valid(bytes_of(valid[i].data, valid[i].length), &error) != OK)
            fail_msg("refused: %s (%s at %zu)", valid[i].data, error.reason, error.offset);
    }
}

static void nothing_else_does(void **state)
{
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        struct json_error error;
        if (json_valid(bytes_of(invalid[i].data, invalid[i].length), &error) != ERR_MALFORMED)
            fail_msg("number %zu passed: %s", i, invalid[i].data);
        assert_true(error.offset <= invalid[i].length);
        assert_true(error.reason[0] != '\0');
    }
}

/* A valid text cut anywhere is not valid: no prefix of an object is a value. */
static void a_cut_text_is_never_valid(void **state)
{
    const char text[] = "{\"a\":[1,-2.5e+3,true,null,\"\\u00e9\xc3\xa9\\\\\"],\"b\":{\"c\":false}}";
    struct json_error error;
    for (size_t n = 0; n < sizeof text - 1; n++)
        assert_int_equal(json_valid(bytes_of(text, n), &error), ERR_MALFORMED);
    assert_int_equal(json_valid(bytes_of(text, sizeof text - 1), &error), OK);
}

/* 512 levels pass, 513 do not. */
static void nesting_has_a_limit(void **state)
{
    for (size_t depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        char text[2 * (JSON_DEPTH_MAX + 1)];
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        struct json_error error;
        enum err err = json_valid(bytes_of(text, 2 * depth), &error);
        assert_int_equal(err, depth == JSON_DEPTH_MAX ? OK : ERR_MALFORMED);
        if (err != OK)
            assert_int_equal(error.offset, JSON_DEPTH_MAX);
    }
}

/* The offset leads to where it goes wrong. */
static void errors_say_where(void **state)
{
    static const struct {
        const char *text;
        size_t offset;
    } cases[] = {
        {"{\"a\":x}", 5},
        {"{\"a\":1,\n \"b\" 2}", 13},
        {"[1,2", 4},
        {"", 0},
        {"[\"\xff\"]", 2},
        {"[1]x", 3},
        {"{\"a\":1", 6},
        {"nul!", 3},
        {"[01]", 2},
        {"[1.]", 3},
        {"[1.5e+]", 6},
        {"[-]", 2},
        {"[1 true]", 3},
        {"{\"a\" 1}", 5},
        {"[\"\\x\"]", 3},
        {"[\"\\u12g4\"]", 6},
        {"[\"a\nb\"]", 3},
        {"[}", 1},
        {"[1,]", 3},
        {"[\"ab\xe2\x82z\"]", 4},
        {"\xef\xbb\xbf{}", 0},
        {"\xef\xbc\x81", 0},
        {"1 2", 2},
        {" ", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_error error;
        assert_int_equal(json_valid(bytes_str(cases[i].text), &error), ERR_MALFORMED);
        if (error.offset != cases[i].offset)
            fail_msg("%s: %zu, not %zu (%s)", cases[i].text, error.offset, cases[i].offset, error.reason);
    }
}

/* ---- pieces ---- */

/* A text of at most `room` bytes that often is JSON, and often nearly. */
static size_t make_text(struct rng *rng, char *out, size_t room)
{
    static const char *const parts[] = {"{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        "\"",
                                        "\"a\"",
                                        "\"a\":",
                                        "true",
                                        "false",
                                        "null",
                                        "0",
                                        "-1.5e+3",
                                        " ",
                                        "\n",
                                        "\\",
                                        "\\u00e9",
                                        "\xc3\xa9",
                                        "\xf0\x9d\x84\x9e",
                                        "\xff",
                                        "\xed\xa0",
                                        "\"abcdefghijklmnop\\\"qrs\"",
                                        "1",
                                        "e",
                                        ".",
                                        "\f"};
    size_t length = 0;
    if (rng_below(rng, 4) > 0) { /* begin from something valid, and spoil it below */
        const struct text *from = &valid[rng_below(rng, sizeof valid / sizeof *valid)];
        memcpy(out, from->data, from->length);
        length = from->length;
    }
    for (uint64_t n = rng_below(rng, length ? 3 : 12); n > 0; n--) {
        const char *part = parts[rng_below(rng, sizeof parts / sizeof *parts)];
        size_t size = strlen(part), at = rng_below(rng, length + 1);
        if (length + size > room)
            break;
        memmove(out + at + size, out + at, length - at);
        memcpy(out + at, part, size);
        length += size;
    }
    return length;
}

/* The same parser that reads the configuration, with what it wrongly lets pass. */
static bool yajl_takes(struct bytes text)
{
    if (utf8_valid_until(text) < text.len || memchr(text.data, '\v', text.len) ||
        memchr(text.data, '\f', text.len))
        return false;
    yajl_handle parser = yajl_alloc(NULL, NULL, NULL);
    assert_non_null(parser);
    /* The line end breaks off a token without end behind the value. */
    bool takes = yajl_parse(parser, text.data, text.len) == yajl_status_ok &&
                 yajl_parse(parser, (const unsigned char *)"\n", 1) == yajl_status_ok &&
                 yajl_complete_parse(parser) == yajl_status_ok;
    yajl_free(parser);
    return takes;
}

/* However a text is cut, the answer is that of the whole, and another parser's. */
static void pieces_are_judged_like_the_whole(void **state)
{
    struct rng rng;
    rng_init(&rng, 20); /* nothing special about this seed */
    char text[512];
    size_t good = 0, bad = 0;
    for (int round = 0; round < 20000; round++) {
        size_t length = make_text(&rng, text, sizeof text);
        struct json_error whole;
        enum err err = json_valid(bytes_of(text, length), &whole);
        assert_int_equal(err == OK, length > 0 && yajl_takes(bytes_of(text, length)));

        struct json_check check;
        json_check_init(&check);
        enum err in_pieces = OK;
        for (size_t at = 0, size; at < length && in_pieces == OK; at += size) {
            size = 1 + rng_below(&rng, rng_below(&rng, 2) ? 3 : 40);
            if (size > length - at)
                size = length - at;
            in_pieces = json_check_feed(&check, bytes_of(text + at, size));
        }
        if (in_pieces == OK)
            in_pieces = json_check_end(&check);
        assert_int_equal(in_pieces, err);
        if (err != OK) {
            assert_int_equal(check.error.offset, whole.offset);
            assert_ptr_equal(check.error.reason, whole.reason);
        }
        *(err == OK ? &good : &bad) += 1;
    }
    assert_true(good > 2000 && bad > 2000); /* the texts are worth judging */
}

/* What a piece refused, no later one makes good. */
static void an_error_stays(void **state)
{
    struct json_check check;
    json_check_init(&check);
    assert_int_equal(json_check_feed(&check, bytes_str("[1,]")), ERR_MALFORMED);
    assert_int_equal(json_check_feed(&check, bytes_str("2]")), ERR_MALFORMED);
    assert_int_equal(json_check_end(&check), ERR_MALFORMED);
    assert_int_equal(check.error.offset, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_valid_passes),
        cmocka_unit_test(nothing_else_does),
        cmocka_unit_test(a_cut_text_is_never_valid),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(pieces_are_judged_like_the_whole),
        cmocka_unit_test(an_error_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
