/* The pure parts of the HTTP edge: targets, query parameters, media types,
 * origins, the envelope. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "batch_read.h"
#include "envelope.h"
#include "etag.h"
#include "json_scan.h"
#include "json_valid.h"
#include "listing.h"
#include "media.h"
#include "mem.h"
#include "origin.h"
#include "params.h"
#include "storekit.h"
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
        {"/conflicts", ROUTE_CONFLICTS},
        {"/batch", ROUTE_BATCH},
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

enum { ALL = 0xffff }; /* every parameter, and none of the routes' own bits */

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
    assert_false(p.siblings || p.values || p.mode != MODE_OF_CONFLICT);

    assert_int_equal(
        parse("wait=500ms&siblings=true&mode=add&prefix=a%2Fb+c&after=%2B&limit=10000&values=true", ALL, &p,
              why),
        OK);
    assert_int_equal(p.wait_ms, 500);
    assert_true(p.siblings && p.values && p.mode == MODE_ADD);
    assert_int_equal(p.limit, 10000);
    assert_true(bytes_equal(param_bytes(&p.prefix), bytes_str("a/b c")));
    assert_true(bytes_equal(param_bytes(&p.after), bytes_str("+")));

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
        {"raw=1", "\"raw\"", "true or false"},
        {"ttl=0", "\"ttl\"", "from 1ms"},
        {"ttl=36526d", "\"ttl\"", "36525d"},
        {"ttl=10", "\"ttl\"", "duration"},
        {"expires=2026-11-27", "\"expires\"", "RFC 3339"},
        {"expires=1960-01-01T00:00:00Z", "\"expires\"", "RFC 3339"},
        {"expires=1970-01-01T00:00:00Z", "\"expires\"", "RFC 3339"},
        {"w=0", "\"w\"", "majority or all"},
        {"w=1025", "\"w\"", "majority or all"},
        {"w=most", "\"w\"", "majority or all"},
        {"end=", "\"end\"", "1 to 480"},
        {"delimiter=", "\"delimiter\"", "1 to 480"},
        {"touch=1", "\"touch\"", "true or false"},
        {"reverse=", "\"reverse\"", "true or false"},
        {"count=yes", "\"count\"", "true or false"},
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

/* What each may say, and what stands against another one. */
static void parameters_of_values_are_read(void **state)
{
    struct params p;
    char why[200];
    assert_int_equal(parse("ttl=1d&touch=true&w=majority", ALL, &p, why), OK);
    assert_true(p.touch && p.w == W_MAJORITY && p.ttl_ms == 86400000);
    assert_int_equal(parse("expires=2030-01-01T00:00:00Z&w=all&raw=true", ALL, &p, why), OK);
    assert_true(p.raw && p.w == W_ALL && p.expires_ms == 1893456000000);
    assert_int_equal(parse("w=3&reverse=true&end=a&after=b&delimiter=%2F", ALL, &p, why), OK);
    assert_true(p.reverse && p.w == 3 && p.end.length == 1 && p.delimiter.data[0] == '/');
    assert_int_equal(parse("limit=0", ALL | PARAM_ALL, &p, why), OK);
    assert_int_equal(p.limit, 0);
    assert_int_equal(parse("limit=10001", ALL | PARAM_ALL, &p, why), ERR_MALFORMED);
    assert_non_null(strstr(why, "or 0 for all"));
    assert_int_equal(parse("prefix=", ALL | PARAM_NEEDED, &p, why), OK);
    assert_int_equal(parse("", ALL | PARAM_NEEDED, &p, why), ERR_MALFORMED);
    assert_non_null(strstr(why, "\"prefix\" is missing"));
}

static void contradictions_are_named(void **state)
{
    static const struct {
        const char *query, *problem;
    } bad[] = {
        {"ttl=1s&expires=2030-01-01T00:00:00Z", "\"expires\" contradicts \"ttl\""},
        {"touch=true", "\"touch\" needs"},
        {"touch=true&ttl=1s&mode=add", "\"mode\" contradicts \"touch\""},
        {"raw=true&siblings=true", "\"raw\" contradicts \"siblings\""},
        {"count=true&values=true", "\"values\" contradicts \"count\""},
        {"count=true&limit=5", "\"limit\" contradicts \"count\""},
        {"count=true&delimiter=a", "\"delimiter\" contradicts \"count\""},
        {"count=true&reverse=true", "\"reverse\" contradicts \"count\""},
        {"after=b&end=b", "\"end\" does not lie beyond \"after\""},
        {"after=c&end=b", "\"end\" does not lie beyond \"after\""},
        {"after=b&end=b&reverse=true", "\"end\" does not lie beyond \"after\""},
        {"after=b&end=c&reverse=true", "\"end\" does not lie beyond \"after\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct params p;
        char why[200];
        if (parse(bad[i].query, ALL, &p, why) != ERR_MALFORMED || !strstr(why, bad[i].problem))
            fail_msg("%s: %s", bad[i].query, why);
    }
}

/* ---- entity tags ---- */

static void etags_are_read_back(void **state)
{
    char text[ETAG_TEXT_MAX];
    struct tag_list list = {0};
    for (int form = ETAG_JSON; form <= ETAG_MIXED; form++) {
        etag_text(0x0123456789abcdef, (enum etag_form)form, text);
        assert_int_equal(etag_list_parse(text, true, &list), OK);
        assert_true(list.present && !list.any && list.count == 1 && list.tags[0] == 0x0123456789abcdef);
        for (int other = ETAG_JSON; other <= ETAG_MIXED; other++)
            assert_int_equal(etag_list_has(text, true, 0x0123456789abcdef, (enum etag_form)other),
                             form == other);
    }
    assert_string_equal(etag_text(1, ETAG_RAW, text), "\"0000000000000001-raw\"");
}

static void lists_of_etags(void **state)
{
    static const char *const bad[] = {"",   "a",       "\"a",    "*,*", "\"a\" \"b\"",
                                      "W/", "w/\"a\"", "\"a\";", "**",  "\"a\",*"};
    static const char many[] = "W/\"0000000000000001\" , \"other\",\"0000000000000002-raw\",";
    struct tag_list list = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (etag_list_parse(bad[i], false, &list) != ERR_MALFORMED || list.present)
            fail_msg("%s", bad[i]);
    assert_int_equal(etag_list_parse(" * ", false, &list), OK);
    assert_true(list.any);
    assert_int_equal(etag_list_parse(many, false, &list), OK);
    assert_true(list.count == 2 && list.tags[0] == 1 && list.tags[1] == 2);
    assert_int_equal(etag_list_parse(many, true, &list), OK); /* a weak one matches nothing */
    assert_true(list.count == 1 && list.tags[0] == 2);
    assert_int_equal(etag_list_parse("\"other\"", true, &list), OK);
    assert_true(list.present && list.count == 0);
    assert_true(etag_list_has("*", true, 5, ETAG_RAW));
    assert_false(etag_list_has("*", true, 0, ETAG_RAW));
    assert_true(etag_list_has(many, false, 1, ETAG_JSON));
    assert_false(etag_list_has(many, true, 1, ETAG_JSON)); /* weak */
    assert_true(etag_list_has(many, true, 2, ETAG_RAW));
    assert_false(etag_list_has(many, false, 2, ETAG_JSON));

    char long_list[CONDITION_TAGS_MAX * 20 + 20] = "";
    for (int i = 0; i <= CONDITION_TAGS_MAX; i++) {
        assert_int_equal(i ? etag_list_parse(long_list, true, &list) : OK, OK);
        strcat(long_list, "\"00000000000000ff\",");
    }
    assert_int_equal(etag_list_parse(long_list, true, &list), ERR_MALFORMED);
}

/* ---- JSON by its parts ---- */

static void json_is_walked_through(void **state)
{
    const char *text = " { \"a\" : [1, \"]\\\"\" , {\"b\":{}}] ,\"\\u0062\":-1e5}  ";
    struct json_scan s = json_scan_of(bytes_str(text));
    struct bytes name, value, part;
    assert_false(json_scan_open(&s, '['));
    assert_true(json_scan_open(&s, '{'));
    assert_true(json_scan_member(&s, &name, &value));
    assert_true(json_string_is(name, "a"));
    struct json_scan inner = json_scan_of(value);
    assert_true(json_scan_open(&inner, '['));
    static const char *const parts[] = {"1", "\"]\\\"\"", "{\"b\":{}}"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(json_scan_element(&inner, &part));
        assert_true(bytes_equal(part, bytes_str(parts[i])));
    }
    assert_false(json_scan_element(&inner, &part));
    assert_true(json_scan_is_done(&inner));
    assert_true(json_scan_member(&s, &name, &value));
    assert_true(json_string_is(name, "b")); /* spelt with an escape */
    assert_false(json_string_is(name, "bb") || json_string_is(name, "") || json_string_is(name, "u0062"));
    assert_true(bytes_equal(value, bytes_str("-1e5")));
    assert_false(json_scan_member(&s, &name, &value));
    assert_true(json_scan_is_done(&s));
    s = json_scan_of(bytes_str("[ ]"));
    assert_true(json_scan_open(&s, '[') && !json_scan_element(&s, &value));
}

static void json_strings_are_decoded(void **state)
{
    static const struct {
        const char *raw, *text;
    } cases[] = {
        {"\"plain\"", "plain"},
        {"\"\"", ""},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00x\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80x"},
        {"\"\\ud800\"", NULL},
        {"\"\\udc00\"", NULL},
        {"\"\\ud800\\u0041\"", NULL},
        {"\"\\ud800x\"", NULL},
    };
    struct buf room;
    buf_init(&room, 1000);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes text = {0};
        enum err err = json_string_read(bytes_str(cases[i].raw), &room, &text);
        if (cases[i].text ? err != OK || !bytes_equal(text, bytes_str(cases[i].text)) : err != ERR_MALFORMED)
            fail_msg("%s: %d", cases[i].raw, (int)err);
    }
    buf_done(&room);
}

/* ---- batches ---- */

static bool adds_as_told(void *ctx, unsigned mode, const struct condition *condition)
{
    return mode == MODE_ADD;
}

static enum err read_batch(const char *text, struct store_work **ret, char why[400])
{
    struct batch_limits limits = {.wall_ms = 1000000, .value_max = 10, .adds = adds_as_told};
    struct buf problem;
    struct json_error error;
    buf_init(&problem, 399);
    assert_int_equal(json_valid(bytes_str(text), &error), OK);
    *ret = store_work_new(WORK_BATCH);
    enum err err = batch_read(bytes_str(text), &limits, *ret, &problem);
    memcpy(why, problem.data ? (char *)problem.data : "", problem.len);
    why[problem.len] = '\0';
    buf_done(&problem);
    return err;
}

static void batches_are_read(void **state)
{
    struct store_work *work;
    char why[400];
    assert_int_equal(
        read_batch(
            "{\"Ops\":[{\"Op\":\"put\",\"Key\":\"a\\n\",\"Value\": {\"x\":1} ,\"Mode\":\"add\"},"
            "{\"Key\":\"b\",\"Op\":\"delete\",\"IfMatch\":\"\\\"0000000000000007\\\"\"},"
            "{\"Op\":\"put\",\"Key\":\"c\",\"Value64\":\"AAEC\",\"Type\":\"image/png\",\"TTL\":\"1s\"},"
            "{\"Op\":\"put\",\"Key\":\"d\",\"Value64\":\"WzFd\",\"IfNoneMatch\":\"*\","
            "\"Expires\":\"1970-01-01T00:20:00Z\"}]}",
            &work, why),
        OK);
    const struct write_work *w = work->batch.writes;
    assert_int_equal(work->batch.count, 4);
    assert_true(bytes_equal(w[0].key, bytes_str("a\n")) && w[0].add && !w[0].remove && !w[0].condition);
    assert_true(bytes_equal(w[0].value, bytes_str("{\"x\":1}")) && w[0].type.len == 0);
    assert_true(w[1].remove && w[1].condition->match.tags[0] == 7 && !w[1].condition->none_match.present);
    assert_true(bytes_equal(w[2].value, bytes_of("\0\1\2", 3)) && w[2].expires_ms == 1001000);
    assert_true(bytes_equal(w[2].type, bytes_str("image/png")));
    assert_true(bytes_equal(w[3].value, bytes_str("[1]")) && w[3].expires_ms == 1200000);
    assert_true(w[3].condition->none_match.any && !w[3].add);
    store_work_free(work);
    assert_int_equal(read_batch("{\"Ops\":[]}", &work, why), OK);
    store_work_free(work);
}

#define OPS(inner) "{\"Ops\":[{\"Op\":\"delete\",\"Key\":\"0\"}," inner "]}"
#define PUT        "{\"Op\":\"put\",\"Key\":\"a\","

static void bad_batches_are_refused_by_place(void **state)
{
    static const struct {
        const char *text, *problem;
        enum err err;
    } bad[] = {
        {"[]", "{\"Ops\":[..]}", ERR_MALFORMED},
        {"{}", "{\"Ops\":[..]}", ERR_MALFORMED},
        {"{\"Ops\":{}}", "{\"Ops\":[..]}", ERR_MALFORMED},
        {"{\"Ops\":[],\"X\":1}", "{\"Ops\":[..]}", ERR_MALFORMED},
        {OPS("1"), "operation 1: must be an object", ERR_MALFORMED},
        {OPS("{\"Key\":\"a\"}"), "operation 1: \"Op\" is missing", ERR_MALFORMED},
        {OPS("{\"Op\":\"get\",\"Key\":\"a\"}"), "operation 1: \"Op\" must be", ERR_MALFORMED},
        {OPS("{\"Op\":\"delete\"}"), "operation 1: \"Key\" is missing", ERR_MALFORMED},
        {OPS("{\"Op\":\"delete\",\"Key\":1}"), "operation 1: \"Key\" must be a string", ERR_MALFORMED},
        {OPS("{\"Op\":\"delete\",\"Key\":\"\"}"), "1 to 480", ERR_MALFORMED},
        {OPS("{\"Op\":\"delete\",\"Key\":\"a\\u0000\"}"), "without NUL", ERR_MALFORMED},
        {OPS("{\"Op\":\"delete\",\"Key\":\"\\ud800\"}"), "lone surrogate", ERR_MALFORMED},
        {OPS("{\"Op\":\"delete\",\"Key\":\"a\",\"Value\":1}"), "\"Value\" does not belong", ERR_MALFORMED},
        {OPS("{\"Op\":\"delete\",\"Key\":\"\\u0030\"}"), "operation 1: \"Key\" is that of", ERR_MALFORMED},
        {OPS("{\"Op\":\"delete\",\"Key\":\"a\",\"Key\":\"b\"}"), "\"Key\" is repeated", ERR_MALFORMED},
        {OPS("{\"Op\":\"delete\",\"Key\":\"a\",\"Colour\":1}"), "\"Colour\" is unknown", ERR_MALFORMED},
        {OPS(PUT "\"Mode\":\"add\"}"), "either", ERR_MALFORMED},
        {OPS(PUT "\"Value\":1,\"Value64\":\"\"}"), "either", ERR_MALFORMED},
        {OPS(PUT "\"Value\":1,\"Mode\":\"x\"}"), "\"Mode\" must be", ERR_MALFORMED},
        {OPS(PUT "\"Value\":1,\"Type\":\"a/b\"}"), "\"Type\" belongs", ERR_MALFORMED},
        {OPS(PUT "\"Value64\":\"AA==\",\"Type\":\"ab\"}"), "not a media type", ERR_MALFORMED},
        {OPS(PUT "\"Value64\":\"A\",\"Type\":\"a/b\"}"), "not base64", ERR_MALFORMED},
        {OPS(PUT "\"Value64\":\"AA==\"}"), "must be JSON", ERR_MALFORMED},
        {OPS(PUT "\"Value\":\"234567890\"}"), "API.MaxValueBytes", ERR_TOO_LARGE},
        {OPS(PUT "\"Value\":1,\"TTL\":\"0\"}"), "\"TTL\" must be", ERR_MALFORMED},
        {OPS(PUT "\"Value\":1,\"TTL\":\"1s\",\"Expires\":\"x\"}"), "contradicts", ERR_MALFORMED},
        {OPS(PUT "\"Value\":1,\"Expires\":\"1970-01-01T00:01:00Z\"}"), "that is to come", ERR_MALFORMED},
        {OPS(PUT "\"Value\":1,\"IfMatch\":\"x\"}"), "entity tags", ERR_MALFORMED},
        {OPS(PUT "\"Value\":1,\"IfNoneMatch\":\"*\\u0000\"}"), "NUL", ERR_MALFORMED},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct store_work *work;
        char why[400];
        if (read_batch(bad[i].text, &work, why) != bad[i].err || !strstr(why, bad[i].problem))
            fail_msg("%s: %s", bad[i].text, why);
        store_work_free(work);
    }
}

static void a_batch_has_a_limit(void **state)
{
    struct store_work *work;
    char why[400], *text = mem_new(10002 * 40);
    for (size_t count = 10000; count <= 10001; count++) {
        size_t n = (size_t)sprintf(text, "{\"Ops\":[");
        for (size_t i = 0; i < count; i++)
            n += (size_t)sprintf(text + n, "%s{\"Op\":\"delete\",\"Key\":\"%zu\"}", i ? "," : "", i);
        sprintf(text + n, "]}");
        assert_int_equal(read_batch(text, &work, why), count == 10000 ? OK : ERR_TOO_LARGE);
        assert_int_equal(work->batch.count, 10000);
        store_work_free(work);
    }
    assert_non_null(strstr(why, "10000"));
    free(text);
}

/* ---- media types ---- */

static void other_media_types_are_kept(void **state)
{
    static const char *const bad[] = {
        "", "text", "text/", "/plain", "text/plain\x7f", "text/pl\xc3\xa9n", "text plain/x", "text/plain,x"};
    char longest[CONTENT_TYPE_MAX + 2] = "text/";
    assert_true(media_is_type("image/png"));
    assert_true(media_is_type("text/plain; charset=\"utf-8\""));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (media_is_type(bad[i]))
            fail_msg("%s", bad[i]);
    memset(longest + 5, 'x', CONTENT_TYPE_MAX - 5);
    assert_true(media_is_type(longest));
    longest[CONTENT_TYPE_MAX] = 'x';
    assert_false(media_is_type(longest));
    assert_string_equal(media_text(bytes_str("a/b\r\nX: y"), longest), "a/b??X: y");
    assert_string_equal(media_text(bytes_str(""), longest), "application/json");
}

static void accept_is_read(void **state)
{
    static const struct {
        const char *accept;
        bool json, mixed;
    } cases[] = {
        {NULL, true, false},
        {"*/*", true, false},
        {"application/json", true, false},
        {"text/html, Application/* ; q=0.1", true, false},
        {"image/png", false, false},
        {"application/jsonx,application/jso", false, false},
        {"image/*,*/*;q=0.8", true, false},
        {"image/png, application/json;q=0", false, false},
        {"image/png, application/json; Q=0.000", false, false},
        {"application/json;q=0.001", true, false},
        {"multipart/mixed", false, true},
        {"application/json, multipart/mixed;q=0.5", true, true},
        {"multipart/*", false, false},
        {"", false, false},
        /* The closest range decides, wherever it stands. */
        {"application/json;q=0, */*", false, false},
        {"*/*, application/json;q=0", false, false},
        {"application/*;q=0, */*", false, false},
        {"application/*;q=0, application/json", true, false},
        {"*/*;q=0, application/*", true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool mixed = media_accepted(cases[i].accept, "multipart/mixed", false);
        if (media_accepted(cases[i].accept, "application/json", true) != cases[i].json ||
            (cases[i].accept && mixed != cases[i].mixed))
            fail_msg("%s", cases[i].accept ? cases[i].accept : "(none)");
    }
}

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
        "application/json, text/plain",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "+json",
        "application/x+jsonp",
        "application /json",
    };
    assert_true(media_is_json(NULL) && media_is_json("") && media_is_json(" "));
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

/* ---- listings ---- */

static bool always(void *ctx)
{
    return true;
}

static void add_key(void *ctx, struct bytes key, const struct version *surfaced, size_t living)
{
    buf_put_bytes(ctx, key);
    buf_put_u8(ctx, ' ');
}

static void add_folder(void *ctx, struct bytes folder)
{
    add_key(ctx, folder, NULL, 0);
}

/* Page by page of so many records, each from where the one before says. */
static void list_pages(struct store *s, const char *query, size_t scan_max, struct buf *out)
{
    struct params params;
    char why[200];
    assert_int_equal(parse(query, PARAM_DELIMITER | PARAM_REVERSE, &params, why), OK);
    bool done = false;
    while (!done) {
        struct listing l;
        struct snapshot *snapshot;
        listing_init(&l, &params, 1000000);
        l.sink = (struct listing_sink){.wants = always, .key = add_key, .folder = add_folder, .ctx = out};
        assert_int_equal(snapshot_open(s, &snapshot), OK);
        assert_int_equal(listing_read(&l, snapshot, scan_max), OK);
        snapshot_close(snapshot);
        params.after = l.last;
        done = l.done;
        listing_done(&l);
    }
    buf_put_u8(out, '\0');
}

/* Wherever a page stops, also at a deleted key that is called as a folder, the next one
 * shows what is left. */
static void pages_of_folders_leave_nothing_out(void **state)
{
    static const char *const keys[] = {"a", "d/", "d/1", "d/2", "e"};
    struct store *s = kit_store(1);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(kit_put(s, keys[i], "1", NULL, NULL), OK);
    assert_int_equal(kit_delete(s, "d/", NULL, NULL), OK);
    for (size_t scan_max = 1; scan_max < 6; scan_max++) {
        struct buf forwards, backwards;
        buf_init(&forwards, 1000), buf_init(&backwards, 1000);
        list_pages(s, "delimiter=/", scan_max, &forwards);
        list_pages(s, "delimiter=/&reverse=true", scan_max, &backwards);
        assert_string_equal((char *)forwards.data, "a d/ e ");
        assert_string_equal((char *)backwards.data, "e d/ a ");
        buf_done(&forwards), buf_done(&backwards);
    }
    store_close(s);
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
        cmocka_unit_test(parameters_of_values_are_read),
        cmocka_unit_test(contradictions_are_named),
        cmocka_unit_test(etags_are_read_back),
        cmocka_unit_test(lists_of_etags),
        cmocka_unit_test(json_is_walked_through),
        cmocka_unit_test(json_strings_are_decoded),
        cmocka_unit_test(batches_are_read),
        cmocka_unit_test(bad_batches_are_refused_by_place),
        cmocka_unit_test(a_batch_has_a_limit),
        cmocka_unit_test(other_media_types_are_kept),
        cmocka_unit_test(accept_is_read),
        cmocka_unit_test(media_types_that_are_json),
        cmocka_unit_test(pages_of_other_hosts_are_refused),
        cmocka_unit_test(the_envelope_is_the_predecessors),
        cmocka_unit_test(pages_of_folders_leave_nothing_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
