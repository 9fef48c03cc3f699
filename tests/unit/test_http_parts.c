/* The pure parts of the HTTP edge: targets, query parameters, media types,
 * origins, the envelope. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "envelope.h"
#include "media.h"
#include "origin.h"
#include "params.h"
#include "target.h"

/* ---- targets ---- */

/* Each path leads to its route, and only in exactly its form. */
static void paths_lead_to_their_routes(void **state)
{
    static const struct {
        const char *raw;
        enum route route;
    } cases[] = {
        {"/keys", ROUTE_KEYS},
        {"/keys?limit=1", ROUTE_KEYS},
        {"/keys/a", ROUTE_KEY},
        {"/cluster/join", ROUTE_JOIN},
        {"/cluster/leave", ROUTE_LEAVE},
        {"/cluster/members", ROUTE_MEMBERS},
        {"/cluster/status", ROUTE_STATUS},
        {"/health", ROUTE_HEALTH},
        {"/ready", ROUTE_READY},
        {"http://127.0.0.1:8080/health", ROUTE_HEALTH},
        {"http://127.0.0.1:8080", ROUTE_NONE},
        {"", ROUTE_NONE},
        {"/", ROUTE_NONE},
        {"*", ROUTE_NONE},
        {"/Keys", ROUTE_NONE},
        {"/keysx", ROUTE_NONE},
        {"//keys/a", ROUTE_NONE},
        {"/cluster", ROUTE_NONE},
        {"/cluster/join/", ROUTE_NONE},
        {"/health/", ROUTE_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct target t;
        target_parse(bytes_str(cases[i].raw), &t);
        if (t.route != cases[i].route || t.error_status != 0)
            fail_msg("%s: route %d, status %u", cases[i].raw, (int)t.route, t.error_status);
    }
}

/* The key is the rest of the raw path, decoded once and not tidied. */
static void keys_are_taken_as_they_stand(void **state)
{
    static const struct {
        const char *raw, *key;
    } cases[] = {
        {"/keys/foo", "foo"},
        {"/keys/a/b", "a/b"},
        {"/keys/a%2Fb", "a/b"},
        {"/keys/a%2fb", "a/b"},
        {"/keys//a", "/a"},
        {"/keys/a//b/", "a//b/"},
        {"/keys/../x", "../x"},
        {"/keys/./x", "./x"},
        {"/keys/%2e%2e/x", "../x"},
        {"/keys/a+b", "a+b"},
        {"/keys/a%20b", "a b"},
        {"/keys/a%2Bb", "a+b"},
        {"/keys/%2525", "%25"},
        {"/keys/%C3%A9", "\xc3\xa9"},
        {"/keys/\xc3\xa9", "\xc3\xa9"},
        {"/keys/a?siblings=true", "a"},
        {"/keys/a%3Fb", "a?b"},
        {"/keys/a&b=c", "a&b=c"},
        {"http://[::1]:8080/keys/a", "a"},
        {"/keys/%0A%01", "\n\x01"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct target t;
        target_parse(bytes_str(cases[i].raw), &t);
        if (t.error_status || t.route != ROUTE_KEY || !bytes_equal(target_key(&t), bytes_str(cases[i].key)))
            fail_msg("%s: %u %s", cases[i].raw, t.error_status, t.error ? t.error : "another key");
    }
}

static void bad_keys_are_refused(void **state)
{
    static const char *const bad[] = {
        "/keys/",          "/keys/?limit=1",     "/keys/%",      "/keys/%4",        "/keys/%zz",
        "/keys/a%",        "/keys/%4g",          "/keys/%-1",    "/keys/%00",       "/keys/a%00b",
        "/keys/%FF",       "/keys/\xff",         "/keys/%C0%AF", "/keys/%ED%A0%80", "/keys/%E2%82",
        "/keys/%C3?a=%A9", "/keys/%F4%90%80%80", "/keys/% 1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct target t;
        target_parse(bytes_str(bad[i]), &t);
        if (t.error_status != 400 || !t.error)
            fail_msg("%s: %u", bad[i], t.error_status);
    }
}

/* 480 bytes after decoding are a key, 481 are 414; a bad escape stays 400. */
static void keys_have_a_length(void **state)
{
    char raw[3 * KEY_MAX + 32];
    for (size_t n = KEY_MAX; n <= KEY_MAX + 1; n++) {
        size_t at = (size_t)sprintf(raw, "/keys/");
        for (size_t i = 0; i < n; i++)
            at += (size_t)sprintf(raw + at, "%%61");
        struct target t;
        target_parse(bytes_of(raw, at), &t);
        assert_int_equal(t.error_status, n == KEY_MAX ? 0 : 414);
        strcpy(raw + at, "%z");
        target_parse(bytes_of(raw, at + 2), &t);
        assert_int_equal(t.error_status, 400);
    }
}

/* ---- parameters ---- */

enum {
    ALL = PARAM_WAIT | PARAM_SIBLINGS | PARAM_MODE | PARAM_PREFIX | PARAM_AFTER | PARAM_LIMIT | PARAM_VALUES
};

static enum err parse(const char *query, unsigned allowed, struct params *params, char why[200])
{
    struct buf text;
    buf_init(&text, 199);
    params_init(params);
    enum err err = params_parse(bytes_str(query), allowed, 30000, params, &text);
    if (text.len)
        memcpy(why, text.data, text.len);
    why[text.len] = '\0';
    buf_done(&text);
    return err;
}

static void parameters_are_read(void **state)
{
    struct params p;
    char why[200];
    assert_int_equal(parse("", ALL, &p, why), OK);
    assert_int_equal(p.wait_ms, 1000);
    assert_int_equal(p.limit, 100);
    assert_false(p.siblings || p.values || p.add);

    assert_int_equal(
        parse("wait=500ms&siblings=true&mode=add&prefix=a%2Fb+c&after=%2B&limit=10000&values=true", ALL, &p,
              why),
        OK);
    assert_int_equal(p.wait_ms, 500);
    assert_true(p.siblings && p.values && p.add);
    assert_int_equal(p.limit, 10000);
    assert_true(bytes_equal(bytes_of(p.prefix, p.prefix_length), bytes_str("a/b c")));
    assert_true(bytes_equal(bytes_of(p.after, p.after_length), bytes_str("+")));

    assert_int_equal(parse("siblings=false&mode=replace&prefix=&%6cimit=1&wait=30s&", ALL, &p, why), OK);
    assert_int_equal(p.limit, 1);
    assert_int_equal(p.wait_ms, 30000);
}

/* What is unknown, repeated or out of range is named. */
static void bad_parameters_are_named(void **state)
{
    static const struct {
        const char *query, *name, *problem;
    } bad[] = {
        {"x=1", "\"x\"", "unknown"},
        {"limit", "\"limit\"", "1 to 10000"},
        {"limit=", "\"limit\"", "1 to 10000"},
        {"limit=0", "\"limit\"", "1 to 10000"},
        {"limit=10001", "\"limit\"", "1 to 10000"},
        {"limit=-1", "\"limit\"", "1 to 10000"},
        {"limit=1x", "\"limit\"", "1 to 10000"},
        {"limit=99999999999999999999", "\"limit\"", "1 to 10000"},
        {"limit=5&limit=5", "\"limit\"", "repeated"},
        {"limit=5&%6cimit=5", "\"%6cimit\"", "repeated"},
        {"Limit=5", "\"Limit\"", "unknown"},
        {"values=yes", "\"values\"", "true or false"},
        {"siblings=TRUE", "\"siblings\"", "true or false"},
        {"siblings=%zz", "\"siblings\"", "true or false"},
        {"mode=merge", "\"mode\"", "add or replace"},
        {"wait=1", "\"wait\"", "duration"},
        {"wait=31s", "\"wait\"", "duration"},
        {"wait=-1s", "\"wait\"", "duration"},
        {"prefix=%00", "\"prefix\"", "UTF-8 without NUL"},
        {"prefix=%FF", "\"prefix\"", "UTF-8 without NUL"},
        {"after=%4", "\"after\"", "UTF-8 without NUL"},
        {"=1", "\"\"", "unknown"},
        {"%zz=1", "\"%zz\"", "unknown"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct params p;
        char why[200];
        if (parse(bad[i].query, ALL, &p, why) != ERR_MALFORMED || !strstr(why, bad[i].name) ||
            !strstr(why, bad[i].problem))
            fail_msg("%s: %s", bad[i].query, why);
    }
    struct params p;
    char why[200];
    assert_int_equal(parse("limit=5", PARAM_WAIT, &p, why), ERR_MALFORMED); /* known, but not here */
}

/* ---- media types ---- */

static void media_types_that_are_json(void **state)
{
    static const char *const json[] = {
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=latin1",
        " application/json ",
        "application/problem+json",
        "application/vnd.api+JSON ; v=1",
        "text/x+json",
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
    };
    static const char *const other[] = {
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/json-seq",
        "json",
        "application/",
        "/json",
        "",
        "application/json, text/plain",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "+json",
        "application/x+jsonp",
        "application /json",
    };
    assert_true(media_is_json(NULL));
    for (size_t i = 0; i < sizeof json / sizeof *json; i++)
        if (!media_is_json(json[i]))
            fail_msg("refused: %s", json[i]);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (media_is_json(other[i]))
            fail_msg("taken: %s", other[i]);
}

/* ---- origins ---- */

static void pages_of_other_hosts_are_refused(void **state)
{
    static const char *const allowed[] = {"https://app.example", "http://db.example:8080"};
    static const struct {
        const char *origin, *host;
        bool expected;
    } cases[] = {
        {"http://127.0.0.1:8080", "127.0.0.1:8080", true},
        {"http://localhost:8080", "localhost:8080", true},
        {"HTTP://LOCALHOST:8080", "localhost:8080", true},
        {"http://[::1]:8080", "[::1]:8080", true},
        {"http://127.0.0.1", "127.0.0.1", true},
        {"https://app.example", "127.0.0.1:8080", true},
        {"http://db.example:8080", "db.example:8080", true},
        {"http://127.0.0.1:9999", "127.0.0.1:8080", false},
        {"http://localhost:8080", "127.0.0.1:8080", false},
        {"https://127.0.0.1:8080", "127.0.0.1:8080", false},
        {"http://evil.example", "127.0.0.1:8080", false},
        {"http://evil.example:8080", "evil.example:8080", false}, /* rebinding */
        {"http://127.0.0.1.evil.example", "127.0.0.1.evil.example", false},
        {"http://[::1].evil", "[::1].evil", false},
        {"http://localhost.evil", "localhost.evil", false},
        {"null", "127.0.0.1:8080", false},
        {"", "127.0.0.1:8080", false},
        {"http://", "", false},
        {"http://127.0.0.1:8080", NULL, false},
        {"https://app.example.evil", "127.0.0.1:8080", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (origin_allowed(cases[i].origin, cases[i].host, allowed, 2) != cases[i].expected)
            fail_msg("%s at %s", cases[i].origin, cases[i].host ? cases[i].host : "(none)");
}

/* ---- envelope ---- */

static void the_envelope_is_the_predecessors(void **state)
{
    struct buf b;
    buf_init(&b, 1000);
    envelope_ok(&b, bytes_str("{\"foo\":\"bar\"}"));
    assert_int_equal(b.len, envelope_overhead() + 13);
    buf_put_u8(&b, 0);
    assert_string_equal((char *)b.data, "{\"Status\":\"ok\",\"Error\":\"\",\"Data\":{\"foo\":\"bar\"}}");

    buf_reset(&b);
    envelope_error(&b, bytes_str("no \"x\""), bytes_of(NULL, 0));
    buf_put_u8(&b, 0);
    assert_string_equal((char *)b.data, "{\"Status\":\"error\",\"Error\":\"no \\\"x\\\"\",\"Data\":null}");
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_lead_to_their_routes),
        cmocka_unit_test(keys_are_taken_as_they_stand),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(keys_have_a_length),
        cmocka_unit_test(parameters_are_read),
        cmocka_unit_test(bad_parameters_are_named),
        cmocka_unit_test(media_types_that_are_json),
        cmocka_unit_test(pages_of_other_hosts_are_refused),
        cmocka_unit_test(the_envelope_is_the_predecessors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
