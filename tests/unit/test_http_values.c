/* The HTTP edge: forms of values, conditions, expiry, w, whole listings and batches. */
#include "http_rig.h"

#include "mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct dot remote_dot = {.replica = {{0x22}}, .counter = 5};

static void start_with_siblings(void)
{
    struct http_options options = usual;
    options.siblings = true;
    start_with(&options);
}

/* "Name: the last answer's header\r\n" */
static const char *sent_back(const char *name, const char *from)
{
    static char line[1000];
    snprintf(line, sizeof line, "%s: %s\r\n", name, header(from));
    return line;
}

/* ---- types -------------------------------------------------------------------- */

static void other_types_are_kept_as_bytes(void **state)
{
    int fd = connect_to();
    const char *type = "Content-Type: image/png; q=\"1\"\r\n";
    assert_int_equal(call(fd, "PUT", "/keys/i", type, "{not json\xff")->status, 200);
    assert_answer(call(fd, "GET", "/keys/i", "", NULL), 200,
                  OK_BODY("{\"Data\":\"e25vdCBqc29u/w==\",\"Type\":\"image/png; q=\\\"1\\\"\"}"));
    assert_string_equal(header("X-Yzma-Type"), "image/png; q=\"1\"");
    assert_string_equal(header("Vary"), "Accept");
    assert_answer(call(fd, "GET", "/keys/i?raw=true", "", NULL), 200, "{not json\xff");
    assert_string_equal(header("Content-Type"), "image/png; q=\"1\"");
    assert_string_equal(header("Content-Security-Policy"), "sandbox");
    assert_string_equal(header("X-Content-Type-Options"), "nosniff");
    assert_answer(call(fd, "GET", "/keys/i", "Accept: image/*\r\n", NULL), 200, "{not json\xff");
    assert_int_equal(call(fd, "GET", "/keys/i", "Accept: */*\r\n", NULL)->body[0], '{');
    assert_string_equal(header("Content-Type"), "application/json");
    /* An empty one is a value too. */
    assert_int_equal(call(fd, "PUT", "/keys/e", "Content-Type: text/plain\r\n", "")->status, 200);
    assert_answer(call(fd, "GET", "/keys/e", "", NULL), 200,
                  OK_BODY("{\"Data\":\"\",\"Type\":\"text/plain\"}"));
    assert_answer(call(fd, "GET", "/keys/e?raw=true", "", NULL), 200, "");
    /* JSON comes raw as well, with its type. */
    call(fd, "PUT", "/keys/j", "", " [1] ");
    assert_answer(call(fd, "GET", "/keys/j", "Accept: text/html\r\n", NULL), 200, " [1] ");
    assert_string_equal(header("Content-Type"), "application/json");
    assert_error(call(fd, "GET", "/keys/none", "Accept: text/html\r\n", NULL), 404, "none");
    assert_answer(call(fd, "GET", "/keys?values=true&prefix=i", "", NULL), 200,
                  OK_BODY("{\"Keys\":[{\"Key\":\"i\",\"Value64\":\"e25vdCBqc29u/w==\",\"Type\":\"image/png; "
                          "q=\\\"1\\\"\"}],\"Next\":\"\"}"));
    close(fd);
}

/* HEAD tells the length of GET's answer, and of the value. */
static void head_describes_the_value(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/i?ttl=1m", "Content-Type: image/png\r\n", "12345");
    size_t length = call(fd, "GET", "/keys/i", "", NULL)->length;
    assert_string_equal(header("X-Yzma-Size"), "");
    assert_int_equal(call(fd, "HEAD", "/keys/i", "", NULL)->length, length);
    assert_string_equal(header("X-Yzma-Size"), "5");
    assert_string_equal(header("X-Yzma-Type"), "image/png");
    assert_string_equal(header("X-Yzma-Expires"), "1970-01-01T00:17:40.000Z");
    assert_true(header("ETag")[0] && header("X-Yzma-Context")[0]);
    assert_int_equal(call(fd, "HEAD", "/keys/i?raw=true", "", NULL)->length, 5);
    call(fd, "PUT", "/keys/j", "", "1");
    call(fd, "HEAD", "/keys/j", "", NULL);
    assert_string_equal(header("X-Yzma-Type"), "application/json");
    assert_string_equal(header("X-Yzma-Expires"), "");
    close(fd);
}

/* ---- conditions ------------------------------------------------------------------ */

static void a_value_seen_is_not_sent_again(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/k", "", "1");
    char written[100];
    snprintf(written, sizeof written, "%s", header("ETag"));
    call(fd, "GET", "/keys/k", "", NULL);
    assert_string_equal(header("ETag"), written);
    assert_int_equal(call(fd, "GET", "/keys/k", sent_back("If-None-Match", "ETag"), NULL)->status, 304);
    assert_int_equal(last.length, 0);
    assert_string_equal(header("ETag"), written);
    assert_true(header("X-Yzma-Context")[0]);
    assert_int_equal(call(fd, "GET", "/keys/k", "If-None-Match: *\r\n", NULL)->status, 304);
    /* Another form is another representation. */
    assert_int_equal(call(fd, "GET", "/keys/k?raw=true", sent_back("If-None-Match", "ETag"), NULL)->status,
                     200);
    assert_int_equal(call(fd, "GET", "/keys/k?raw=true", sent_back("If-None-Match", "ETag"), NULL)->status,
                     304);
    assert_int_equal(call(fd, "GET", "/keys/k", sent_back("If-Match", "ETag"), NULL)->status, 412);
    call(fd, "PUT", "/keys/k", "", "1");
    assert_int_equal(call(fd, "GET", "/keys/k", "If-None-Match: \"x\"\r\n", NULL)->status, 200);
    assert_string_not_equal(header("ETag"), written);
    assert_int_equal(call(fd, "GET", "/keys/k", sent_back("If-Match", "ETag"), NULL)->status, 200);
    char weak[100];
    snprintf(weak, sizeof weak, "If-Match: W/%.40s\r\n", header("ETag"));
    assert_error(call(fd, "GET", "/keys/k", weak, NULL), 412, "If-Match");
    snprintf(weak, sizeof weak, "If-None-Match: W/%.40s\r\n", header("ETag"));
    assert_int_equal(call(fd, "GET", "/keys/k", weak, NULL)->status, 304);
    assert_int_equal(call(fd, "GET", "/keys/none", "If-None-Match: *\r\n", NULL)->status, 404);
    assert_int_equal(call(fd, "GET", "/keys/none", "If-Match: *\r\n", NULL)->status, 412);
    close(fd);
}

/* A cache that keeps an image would take over what a 304 says of its type. */
static void a_304_says_nothing_of_types(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/i", "Content-Type: image/png\r\n", "x");
    call(fd, "GET", "/keys/i?raw=true", "", NULL);
    assert_string_equal(header("Content-Type"), "image/png");
    assert_int_equal(call(fd, "GET", "/keys/i?raw=true", sent_back("If-None-Match", "ETag"), NULL)->status,
                     304);
    assert_string_equal(header("Content-Type"), "");
    close(fd);
}

/* Also a write that is refused says how the key is, with the context to try again. */
static void refused_writes_give_the_context(void **state)
{
    int fd = connect_to();
    assert_error(call(fd, "PUT", "/keys/k?touch=true&ttl=1m", "", NULL), 404, "no such key");
    assert_true(header("X-Yzma-Context")[0]);
    assert_string_equal(header("ETag"), "");
    call(fd, "PUT", "/keys/k?mode=add", "", "1");
    call(fd, "PUT", "/keys/k?mode=add", "", "1");
    fake_store_fail(world.store, ERR_CONFLICT);
    assert_error(call(fd, "PUT", "/keys/k?mode=add", "", "1"), 409, "MaxVersions");
    fake_store_fail(world.store, OK);
    assert_true(header("ETag")[0]);
    assert_int_equal(call(fd, "PUT", "/keys/k", sent_back("X-Yzma-Context", "X-Yzma-Context"), "2")->status,
                     200);
    call(fd, "GET", "/keys/k?siblings=true", "", NULL);
    assert_non_null(strstr(last.body, "[{\"Value\":2,"));
    assert_null(strstr(last.body, "\"Value\":1,"));
    close(fd);
}

static void writes_have_conditions(void **state)
{
    int fd = connect_to();
    assert_int_equal(call(fd, "PUT", "/keys/k", "If-None-Match: *\r\n", "1")->status, 200);
    char first[200];
    snprintf(first, sizeof first, "If-Match: %s\r\n", header("ETag"));
    assert_int_equal(call(fd, "PUT", "/keys/k", first, "2")->status, 200);
    char second[100];
    snprintf(second, sizeof second, "%s", header("ETag"));
    assert_error(call(fd, "PUT", "/keys/k", first, "3"), 412, "If-Match does not hold");
    assert_string_equal(header("ETag"), second);
    assert_true(header("X-Yzma-Context")[0]);
    assert_error(call(fd, "PUT", "/keys/k", "If-None-Match: *\r\n", "3"), 412, "If-None-Match does not hold");
    assert_error(call(fd, "DELETE", "/keys/k", first, NULL), 412, "If-Match");
    assert_answer(call(fd, "GET", "/keys/k", "", NULL), 200, OK_BODY("2"));
    /* The tag of another form is the same state. */
    call(fd, "GET", "/keys/k?raw=true", "", NULL);
    assert_int_equal(call(fd, "DELETE", "/keys/k", sent_back("If-Match", "ETag"), NULL)->status, 200);
    assert_string_equal(header("ETag"), "");
    assert_error(call(fd, "PUT", "/keys/k", "If-Match: *\r\n", "3"), 412, "does not exist");
    assert_int_equal(counter("api_conditions_unmet"), 4);
    close(fd);
}

/* ---- siblings --------------------------------------------------------------------- */

static void a_conflict_is_shown_as_one(void **state)
{
    start_with_siblings();
    int fd = connect_to();
    call(fd, "PUT", "/keys/c", "", "\"mine\"");
    assert_answer(call(fd, "GET", "/keys/c", "", NULL), 200, OK_BODY("\"mine\""));
    assert_answer(call(fd, "GET", "/conflicts", "", NULL), 200, OK_BODY("{\"Keys\":[],\"Next\":\"\"}"));
    fake_store_put_remote(world.store, "c", "\"theirs\"", &remote_dot, 0xffff000000000001, 0);
    assert_int_equal(call(fd, "GET", "/keys/c", "", NULL)->status, 300);
    assert_non_null(strstr(last.body, "{\"Versions\":[{\"Value\":\"theirs\",\"Stamp\":"));
    assert_non_null(strstr(last.body, "{\"Value\":\"mine\",\"Stamp\":"));
    assert_true(header("ETag")[0]);
    assert_int_equal(call(fd, "GET", "/keys/c?siblings=true", "", NULL)->status, 200);
    assert_answer(call(fd, "GET", "/conflicts", "", NULL), 200,
                  OK_BODY("{\"Keys\":[{\"Key\":\"c\",\"Versions\":2}],\"Next\":\"\"}"));
    assert_answer(call(fd, "GET", "/conflicts?prefix=d", "", NULL), 200,
                  OK_BODY("{\"Keys\":[],\"Next\":\"\"}"));
    /* One write with their context ends it. */
    call(fd, "GET", "/keys/c", "", NULL);
    assert_int_equal(call(fd, "PUT", "/keys/c", sent_back("X-Yzma-Context", "X-Yzma-Context"), "3")->status,
                     200);
    assert_answer(call(fd, "GET", "/keys/c", "", NULL), 200, OK_BODY("3"));
    assert_answer(call(fd, "GET", "/conflicts", "", NULL), 200, OK_BODY("{\"Keys\":[],\"Next\":\"\"}"));
    close(fd);
    stop(state);
}

/* A write that saw nothing replaces nothing, unless it says so or names what is there;
 * a delete removes what there is. */
static void under_siblings_a_blind_write_stands_beside(void **state)
{
    start_with_siblings();
    int fd = connect_to();
    call(fd, "PUT", "/keys/k", "", "1");
    call(fd, "PUT", "/keys/k", "", "2");
    assert_int_equal(call(fd, "GET", "/keys/k", "", NULL)->status, 300);
    assert_int_equal(call(fd, "PUT", "/keys/k", sent_back("If-Match", "ETag"), "3")->status, 200);
    assert_answer(call(fd, "GET", "/keys/k", "", NULL), 200, OK_BODY("3"));
    call(fd, "PUT", "/keys/k", "If-Match: *\r\n", "4");
    assert_int_equal(call(fd, "GET", "/keys/k", "", NULL)->status, 300);
    call(fd, "PUT", "/keys/k?mode=replace", "", "5");
    assert_answer(call(fd, "GET", "/keys/k", "", NULL), 200, OK_BODY("5"));
    call(fd, "POST", "/batch", "", "{\"Ops\":[{\"Op\":\"put\",\"Key\":\"k\",\"Value\":6}]}");
    assert_int_equal(call(fd, "GET", "/keys/k", "", NULL)->status, 300);
    call(fd, "DELETE", "/keys/k", "", NULL);
    assert_int_equal(call(fd, "GET", "/keys/k", "", NULL)->status, 404);
    close(fd);
    stop(state);
}

/* Parts with their own types, and a boundary that no value holds. */
static void versions_come_as_parts(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/m?ttl=1m", "Content-Type: text/plain\r\n", "plain");
    char etag[100], wanted[200];
    fake_store_put_remote(world.store, "m", "[\"json\"]", &remote_dot, 0xffff000000000001, 0);
    call(fd, "GET", "/keys/m", "", NULL);
    snprintf(etag, sizeof etag, "%.16s", header("ETag") + 1);
    const char *accept = "Accept: application/json;q=0.5, multipart/mixed\r\n";
    assert_int_equal(call(fd, "GET", "/keys/m?siblings=true", accept, NULL)->status, 200);
    snprintf(wanted, sizeof wanted, "multipart/mixed; boundary=yzma-%s-0", etag);
    assert_string_equal(header("Content-Type"), wanted);
    snprintf(wanted, sizeof wanted, "\"%s-mixed\"", etag);
    assert_string_equal(header("ETag"), wanted);
    char expected[1000];
    snprintf(expected, sizeof expected,
             "--yzma-%s-0\r\nContent-Type: application/json\r\nContent-Length: 8\r\nX-Yzma-Stamp: "
             "ffff000000000001\r\nX-Yzma-Node: 22000000-0000-0000-0000-000000000000\r\n\r\n[\"json\"]\r\n"
             "--yzma-%s-0\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nX-Yzma-Stamp: "
             "0000000000001001\r\nX-Yzma-Node: 11111111-1111-1111-1111-111111111111\r\n"
             "X-Yzma-Expires: 1970-01-01T00:17:40.000Z\r\n\r\nplain\r\n--yzma-%s-0--\r\n",
             etag, etag, etag);
    assert_string_equal(last.body, expected);

    /* A value with the boundary in it (its own tag is known before: dots are counted). */
    snprintf(expected, sizeof expected, "\"--yzma-%s-0\"", etag);
    int other = connect_to();
    call(other, "DELETE", "/keys/m", "", NULL);
    close(other);
    struct dot next = {.replica = {{0x22}}, .counter = 6};
    struct record record = {0};
    record_add(&record, &(struct version){.dot = next});
    char text[200];
    snprintf(text, sizeof text, "\"yzma-%016llx-0\"", (unsigned long long)record_tag(&record, 0));
    record_done(&record);
    fake_store_put_remote(world.store, "m", text, &next, 1, 0);
    call(fd, "GET", "/keys/m?siblings=true", "Accept: multipart/mixed\r\n", NULL);
    assert_non_null(strstr(header("Content-Type"), "-1"));
    close(fd);
}

/* ---- expiry --------------------------------------------------------------------------- */

static void what_has_expired_is_gone_everywhere(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/t?ttl=1s", "", "1");
    call(fd, "PUT", "/keys/u?expires=1970-01-01T00:16:42Z", "", "2");
    call(fd, "PUT", "/keys/v", "", "3");
    fake_store_put_remote(world.store, "v", "4", &remote_dot, 1, 1001500);
    assert_answer(
        call(fd, "GET", "/keys", "", NULL), 200,
        OK_BODY("{\"Keys\":[{\"Key\":\"t\",\"Expires\":\"1970-01-01T00:16:41.000Z\"},{\"Key\":\"u\","
                "\"Expires\":\"1970-01-01T00:16:42.000Z\"},{\"Key\":\"v\"}],\"Next\":\"\"}"));
    assert_non_null(strstr(call(fd, "GET", "/keys/v?siblings=true", "", NULL)->body,
                           "{\"Value\":4,\"Expires\":\"1970-01-01T00:16:41.500Z\""));
    atomic_store(&world.wall_ms, 1001500);
    assert_int_equal(call(fd, "GET", "/keys/t", "", NULL)->status, 404);
    assert_int_equal(call(fd, "GET", "/keys/u", "", NULL)->status, 200);
    assert_null(strstr(call(fd, "GET", "/keys/v?siblings=true", "", NULL)->body, "\"Value\":4"));
    assert_answer(call(fd, "GET", "/conflicts", "", NULL), 200, OK_BODY("{\"Keys\":[],\"Next\":\"\"}"));
    assert_answer(call(fd, "GET", "/keys?count=true", "", NULL), 200, OK_BODY("{\"Count\":2}"));
    assert_string_equal(call(fd, "GET", "/keys?limit=0", "", NULL)->body,
                        "{\"Key\":\"u\",\"Expires\":\"1970-01-01T00:16:42.000Z\"}\n{\"Key\":\"v\"}\n");
    close(fd);
}

static void a_touch_sends_no_value(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/s?ttl=1s", "Content-Type: text/plain\r\n", "up");
    assert_answer(call(fd, "PUT", "/keys/s?touch=true&ttl=30s", "", ""), 200, OK_BODY("\"touched s\""));
    atomic_store(&world.wall_ms, 1029999);
    assert_answer(call(fd, "GET", "/keys/s?raw=true", "", NULL), 200, "up");
    atomic_store(&world.wall_ms, 1030000);
    assert_int_equal(call(fd, "GET", "/keys/s", "", NULL)->status, 404);
    close(fd);
}

/* ---- w -------------------------------------------------------------------------------- */

static void *report_later(void *arg)
{
    while (counter("api_in_flight") == 0 || fake_store_waiting(world.store) > 0)
        sched_yield();
    for (unsigned i = 1; i <= 2; i++) {
        world.having = i;
        http_on_replicas(world.http);
    }
    return NULL;
}

static void a_write_waits_for_replicas(void **state)
{
    int fd = connect_to();
    world.known = 3;
    assert_answer(call(fd, "PUT", "/keys/k?w=1&wait=10s", "", "1"), 200,
                  OK_BODY("{\"Result\":\"added k\",\"Replicas\":1,\"Wanted\":1,\"Known\":3}"));
    pthread_t thread;
    pthread_create(&thread, NULL, report_later, NULL);
    assert_answer(call(fd, "PUT", "/keys/k?w=all&wait=20s", "", "1"), 200,
                  OK_BODY("{\"Result\":\"added k\",\"Replicas\":3,\"Wanted\":3,\"Known\":3}"));
    pthread_join(thread, NULL);
    world.having = 1;
    assert_answer(call(fd, "DELETE", "/keys/k?w=majority", "", NULL), 200,
                  OK_BODY("{\"Result\":\"deleted k\",\"Replicas\":2,\"Wanted\":2,\"Known\":3}"));
    assert_answer(call(fd, "DELETE", "/keys/k?w=3", "", NULL), 200, /* nothing was written */
                  OK_BODY("{\"Result\":\"deleted k\",\"Replicas\":3,\"Wanted\":3,\"Known\":3}"));
    assert_int_equal(counter("api_replicas_short"), 0);
    assert_answer(call(fd, "DELETE", "/keys/k?w=4&wait=20s", "", NULL), 202, /* .. and no fourth is known */
                  OK_BODY("{\"Result\":\"deleted k\",\"Replicas\":3,\"Wanted\":4,\"Known\":3}"));
    assert_int_equal(counter("api_replicas_short"), 1);
    close(fd);
}

/* The write stands, and the answer says how far it has come, not before its time. */
static void a_write_does_not_wait_for_ever(void **state)
{
    int fd = connect_to();
    uint64_t before = now_ms();
    world.known = 3;
    world.having = 1;
    assert_answer(call(fd, "PUT", "/keys/k?w=3&wait=100ms", "", "1"), 202,
                  OK_BODY("{\"Result\":\"added k\",\"Replicas\":2,\"Wanted\":3,\"Known\":3}"));
    assert_true(now_ms() - before >= 90);
    assert_true(header("X-Yzma-Context")[0] && header("ETag")[0]);
    assert_answer(
        call(fd, "POST", "/batch?w=all&wait=0", "", "{\"Ops\":[{\"Op\":\"delete\",\"Key\":\"k\"}]}"), 202,
        OK_BODY("{\"Result\":{\"Operations\":1,\"Deleted\":1},\"Replicas\":2,\"Wanted\":3,\"Known\":3}"));
    assert_int_equal(counter("api_replicas_short"), 2);
    close(fd);
}

/* ---- listings --------------------------------------------------------------------------- */

static void put_keys(int fd, const char *const *keys)
{
    char target[100];
    for (; *keys; keys++) {
        snprintf(target, sizeof target, "/keys/%s", *keys);
        assert_int_equal(call(fd, "PUT", target, "", "1")->status, 200);
    }
}

/* The names of a page, in their order: "a b c|folders|next". */
static const char *page(int fd, const char *query)
{
    static char text[500];
    char target[200];
    snprintf(target, sizeof target, "/keys?%s", query);
    if (call(fd, "GET", target, "", NULL)->status != 200)
        fail_msg("%s: %s", query, last.body);
    text[0] = '\0';
    for (char *at = last.body; (at = strstr(at, "\"Key\":\""));) {
        at += 7;
        strncat(text, at, strcspn(at, "\""));
        strcat(text, " ");
    }
    char *folders = strstr(last.body, "\"Folders\":["), *next = strstr(last.body, "\"Next\":\"");
    strcat(text, "|");
    if (folders)
        strncat(text, folders + 11, strcspn(folders + 11, "]"));
    strcat(text, "|");
    strncat(text, next + 8, strcspn(next + 8, "\""));
    return text;
}

static void listings_go_both_ways(void **state)
{
    static const char *const keys[] = {"a", "b", "b/1", "b/2", "b0", "c", NULL};
    int fd = connect_to();
    put_keys(fd, keys);
    assert_string_equal(page(fd, "reverse=true"), "c b0 b/2 b/1 b a ||");
    assert_string_equal(page(fd, "reverse=true&limit=2"), "c b0 ||b0");
    assert_string_equal(page(fd, "reverse=true&limit=2&after=b0"), "b/2 b/1 ||b/1");
    assert_string_equal(page(fd, "reverse=true&prefix=b/"), "b/2 b/1 ||");
    assert_string_equal(page(fd, "reverse=true&prefix=b/&after=zz"), "b/2 b/1 ||");
    assert_string_equal(page(fd, "reverse=true&prefix=b&after=b/2&end=b"), "b/1 ||");
    assert_string_equal(page(fd, "end=b/2"), "a b b/1 ||");
    assert_string_equal(page(fd, "after=a&end=b0"), "b b/1 b/2 ||");
    assert_string_equal(page(fd, "prefix=b/&after=a"), "b/1 b/2 ||");
    assert_string_equal(page(fd, "prefix=b/&end=b"), "||");
    assert_answer(call(fd, "GET", "/keys?count=true&prefix=b&end=b0", "", NULL), 200,
                  OK_BODY("{\"Count\":3}"));
    close(fd);
}

static void listings_show_folders(void **state)
{
    static const char *const keys[] = {"a",   "d/",     "d/x/1", "d/x/2", "d/y", "d0",
                                       "e/1", "gone/1", "z/1",   "z/2",   NULL};
    int fd = connect_to();
    put_keys(fd, keys);
    call(fd, "DELETE", "/keys/gone/1", "", NULL);
    assert_string_equal(page(fd, "delimiter=/"), "a d0 |\"d/\",\"e/\",\"z/\"|");
    assert_string_equal(page(fd, "delimiter=/&prefix=d/"), "d/ d/y |\"d/x/\"|");
    assert_string_equal(page(fd, "delimiter=/&prefix=d"), "d0 |\"d/\"|");
    assert_string_equal(page(fd, "delimiter=/&reverse=true&limit=3"), "d0 |\"z/\",\"e/\"|d0");
    assert_string_equal(page(fd, "delimiter=/&reverse=true&after=d0"), "a |\"d/\"|");
    /* Page by page: each once. */
    assert_string_equal(page(fd, "delimiter=/&limit=2"), "a |\"d/\"|d/");
    assert_string_equal(page(fd, "delimiter=/&limit=2&after=d/"), "d0 |\"e/\"|e/");
    assert_string_equal(page(fd, "delimiter=/&limit=2&after=e/"), "|\"z/\"|");
    assert_string_equal(page(fd, "delimiter=x/"), "a d/ d/y d0 e/1 z/1 z/2 |\"d/x/\"|");
    assert_string_equal(call(fd, "GET", "/keys?delimiter=/&limit=0&prefix=d", "", NULL)->body,
                        "{\"Folder\":\"d/\"}\n{\"Key\":\"d0\"}\n");
    close(fd);
}

enum { MANY = 5000 };

static void put_many(int fd)
{
    enum { PER_BATCH = 1000 };
    char *body = mem_new(PER_BATCH * 60 + 20);
    for (int first = 0; first < MANY; first += PER_BATCH) {
        size_t n = (size_t)sprintf(body, "{\"Ops\":[");
        for (int i = first; i < first + PER_BATCH; i++)
            n += (size_t)sprintf(body + n, "%s{\"Op\":\"put\",\"Key\":\"m/%05d\",\"Value\":%d}",
                                 i == first ? "" : ",", i, i);
        sprintf(body + n, "]}");
        send_text(fd, "POST /batch HTTP/1.1\r\nHost: a\r\n");
        char length[60];
        snprintf(length, sizeof length, "Content-Length: %zu\r\n\r\n", strlen(body));
        send_text(fd, length);
        send_text(fd, body);
        assert_int_equal(receive(fd)->status, 200);
    }
    free(body);
}

/* More than a slice of each: counted, streamed in order, deleted. */
static void all_keys_at_once(void **state)
{
    int fd = connect_to();
    put_many(fd);
    call(fd, "PUT", "/keys/n", "", "1");
    assert_answer(call(fd, "GET", "/keys?count=true", "", NULL), 200, OK_BODY("{\"Count\":5001}"));
    assert_int_equal(call(fd, "GET", "/keys?limit=0&values=true&prefix=m/", "", NULL)->status, 200);
    assert_string_equal(header("Content-Type"), "application/x-ndjson");
    assert_true(last.whole);
    char *at = last.body;
    for (int i = 0; i < MANY; i++) {
        char line[60];
        int n = sprintf(line, "{\"Key\":\"m/%05d\",\"Value\":%d}\n", i, i);
        assert_memory_equal(at, line, (size_t)n);
        at += n;
    }
    assert_int_equal(*at, 0);
    assert_int_equal(call(fd, "HEAD", "/keys?limit=0", "", NULL)->status, 200);
    assert_string_equal(header("Connection"), "close");
    close(fd);
    fd = connect_to();
    assert_answer(call(fd, "DELETE", "/keys?prefix=m/0", "", NULL), 200, OK_BODY("{\"Deleted\":5000}"));
    assert_answer(call(fd, "DELETE", "/keys?prefix=m/0", "", NULL), 200, OK_BODY("{\"Deleted\":0}"));
    assert_answer(call(fd, "GET", "/keys?count=true", "", NULL), 200, OK_BODY("{\"Count\":1}"));
    close(fd);
}

/* Values with line breaks would break the lines. */
static void a_line_is_a_line(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/a", "", "[1,\n2]");
    call(fd, "PUT", "/keys/b%0A", "", "\"\\n\"");
    assert_string_equal(call(fd, "GET", "/keys?limit=0&values=true", "", NULL)->body,
                        "{\"Key\":\"a\",\"Value64\":\"WzEsCjJd\"}\n{\"Key\":\"b\\n\",\"Value\":\"\\n\"}\n");
    close(fd);
}

/* A client that reads nothing costs no worker and no snapshot: others write meanwhile,
 * and what it reads later is as of then. */
static void a_slow_reader_holds_nothing(void **state)
{
    struct http_options options = usual;
    options.threads = 1;
    start_with(&options);
    int fd = connect_to(), slow = connect_to();
    char *value = mem_new(200001);
    memset(value, '1', 200000);
    for (int i = 0; i < 60; i++) {
        char target[40];
        snprintf(target, sizeof target, "/keys/v%02d", i);
        call(fd, "PUT", target, "", value);
    }
    send_text(slow, "GET /keys?limit=0&values=true HTTP/1.1\r\nHost: a\r\n\r\n");
    char first;
    assert_int_equal(recv(slow, &first, 1, MSG_PEEK), 1); /* it has begun */
    assert_int_equal(call(fd, "PUT", "/keys/v59", "", "\"changed\"")->status, 200);
    assert_int_equal(call(fd, "PUT", "/keys/w", "", "\"new\"")->status, 200);
    assert_int_equal(receive(slow)->status, 200);
    assert_true(last.whole);
    assert_non_null(
        strstr(last.body, "{\"Key\":\"v59\",\"Value\":\"changed\"}\n{\"Key\":\"w\",\"Value\":\"new\"}\n"));
    free(value);
    close(fd);
    close(slow);
    stop(state);
}

/* What cannot go on says so in its last line, and has no regular end. */
static void a_broken_stream_is_told(void **state)
{
    int fd = connect_to();
    put_many(fd);
    fake_store_damage(world.store, "m/04999");
    uint64_t before = now_ms();
    assert_int_equal(call(fd, "GET", "/keys?limit=0", "", NULL)->status, 200);
    assert_false(last.whole);
    assert_non_null(strstr(last.body, "{\"Error\":\"checksum does not match\"}\n"));
    assert_int_equal(counter("api_streams_broken"), 1);
    assert_true(closed_by_server(fd));
    assert_true(now_ms() - before < 15000); /* less than the client waits for a byte */
    close(fd);
}

static void a_walk_hides_what_a_listing_has_not_reached(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/a", "", "1");
    call(fd, "PUT", "/keys/m%2F1", "", "1");
    fake_store_walk(world.store, "m");
    assert_error(call(fd, "GET", "/keys?limit=0", "", NULL), 503, "catching up");
    assert_error(call(fd, "GET", "/keys?count=true", "", NULL), 503, "catching up");
    assert_error(call(fd, "GET", "/keys?reverse=true&limit=1", "", NULL), 503, "catching up");
    assert_error(call(fd, "DELETE", "/keys?prefix=m", "", NULL), 503, "catching up");
    assert_non_null(strstr(last.body, "{\"Deleted\":0}"));
    assert_int_equal(call(fd, "GET", "/keys?reverse=true&prefix=a", "", NULL)->status, 200);
    close(fd);
}

/* ---- batches ------------------------------------------------------------------------- */

static void a_batch_is_all_or_nothing(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/old", "", "1");
    assert_answer(call(fd, "POST", "/batch", "",
                       "{\"Ops\":[{\"Op\":\"put\",\"Key\":\"new\",\"Value\":2,\"IfNoneMatch\":\"*\"},"
                       "{\"Op\":\"delete\",\"Key\":\"old\",\"IfMatch\":\"*\"}]}"),
                  200, OK_BODY("{\"Operations\":2,\"Deleted\":1}"));
    assert_true(header("X-Yzma-Context")[0]);
    assert_answer(call(fd, "GET", "/keys/new", sent_back("X-Yzma-Context", "X-Yzma-Context"), NULL), 200,
                  OK_BODY("2"));
    char wanted[200];
    snprintf(wanted, sizeof wanted, "\"Data\":{\"Index\":1,\"Key\":\"new\",\"ETag\":\"\\\"%.16s\\\"\"}}",
             header("ETag") + 1);
    assert_error(call(fd, "POST", "/batch", "",
                      "{\"Ops\":[{\"Op\":\"put\",\"Key\":\"other\",\"Value\":2},"
                      "{\"Op\":\"put\",\"Key\":\"new\",\"Value\":3,\"IfNoneMatch\":\"*\"},"
                      "{\"Op\":\"delete\",\"Key\":\"none\",\"IfMatch\":\"*\"}]}"),
                 409, wanted);
    assert_int_equal(call(fd, "GET", "/keys/other", "", NULL)->status, 404);
    assert_answer(call(fd, "GET", "/keys/new", "", NULL), 200, OK_BODY("2"));
    close(fd);
}

/* Its members may be spelt in any way that JSON has, and its type be said by an empty one. */
static void a_batch_may_be_spelt_otherwise(void **state)
{
    int fd = connect_to();
    assert_answer(call(fd, "POST", "/batch", "Content-Type:\r\n",
                       "{\"\\u004fps\":[{\"O\\u0070\":\"p\\u0075t\",\"Key\":\"a\",\"Value\":2}]}"),
                  200, OK_BODY("{\"Operations\":1,\"Deleted\":0}"));
    assert_error(call(fd, "POST", "/batch", "",
                      "{\"Ops\":[{\"Op\":\"put\",\"O\\u0070\":\"put\",\"Key\":\"a\",\"Value\":2}]}"),
                 400, "repeated");
    close(fd);
}

static struct answer *batch_of(int fd, size_t count)
{
    char *body = mem_new(100 + count * 40);
    size_t n = (size_t)sprintf(body, "{\"Ops\":[");
    for (size_t i = 0; i < count; i++)
        n += (size_t)sprintf(body + n, "%s{\"Op\":\"delete\",\"Key\":\"%zu\"}", i ? "," : "", i);
    memcpy(body + n, "]}", 3);
    struct answer *a = call(fd, "POST", "/batch", "", body);
    free(body);
    return a;
}

/* By how many it has; by its length, where that is told, and by its bytes, where it is not. */
static void a_batch_has_its_limits(void **state)
{
    enum { PIECE = 1 << 20, PIECES = 64 };
    int fd = connect_to();
    assert_answer(batch_of(fd, 10000), 200, OK_BODY("{\"Operations\":10000,\"Deleted\":0}"));
    assert_error(batch_of(fd, 10001), 413, "10000");
    char *piece = mem_new(PIECE + 3), head[40];
    memset(piece, ' ', PIECE);
    memcpy(piece + PIECE, "\r\n", 2);
    send_text(fd, "POST /batch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < PIECES; i++) {
        snprintf(head, sizeof head, "%x\r\n", PIECE);
        send_text(fd, head);
        send_bytes(fd, piece, PIECE + 2);
    }
    send_text(fd, "1\r\n \r\n0\r\n\r\n"); /* one too many */
    assert_error(receive(fd), 413, "64 MiB");
    assert_int_equal(call(fd, "GET", "/health", "", NULL)->status, 200);
    send_text(fd, "POST /batch HTTP/1.1\r\nHost: a\r\nContent-Length: 67108865\r\n\r\n");
    assert_error(receive(fd), 413, "64 MiB");
    assert_true(closed_by_server(fd));
    free(piece);
    close(fd);
}

/* ---- contexts ------------------------------------------------------------------------- */

/* A context takes on what the request's had, so that one header is passed on through a
 * session over several keys. */
static void a_context_keeps_what_it_stood_for(void **state)
{
    int fd = connect_to();
    fake_store_put_remote(world.store, "theirs", "1", &remote_dot, 1, 0);
    call(fd, "GET", "/keys/theirs", "", NULL);
    call(fd, "GET", "/keys/other", sent_back("X-Yzma-Context", "X-Yzma-Context"), NULL);
    for (int i = 0; i < 2; i++) {
        struct token token = {0};
        assert_int_equal(token_decode(bytes_str(header("X-Yzma-Context")), &token), OK);
        assert_true(clock_covers_dot(&token.after, &remote_dot));
        assert_false(token_saw(&token, &remote_dot));
        token_done(&token);
        if (i == 0)
            assert_int_equal(
                call(fd, "PUT", "/keys/other", sent_back("X-Yzma-Context", "X-Yzma-Context"), "1")->status,
                200);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        served(other_types_are_kept_as_bytes),
        served(head_describes_the_value),
        served(a_value_seen_is_not_sent_again),
        served(a_304_says_nothing_of_types),
        served(refused_writes_give_the_context),
        served(writes_have_conditions),
        cmocka_unit_test(a_conflict_is_shown_as_one),
        cmocka_unit_test(under_siblings_a_blind_write_stands_beside),
        served(versions_come_as_parts),
        served(what_has_expired_is_gone_everywhere),
        served(a_touch_sends_no_value),
        served(a_write_waits_for_replicas),
        served(a_write_does_not_wait_for_ever),
        served(listings_go_both_ways),
        served(listings_show_folders),
        served(all_keys_at_once),
        served(a_line_is_a_line),
        cmocka_unit_test(a_slow_reader_holds_nothing),
        served(a_broken_stream_is_told),
        served(a_walk_hides_what_a_listing_has_not_reached),
        served(a_batch_is_all_or_nothing),
        served(a_batch_may_be_spelt_otherwise),
        served(a_batch_has_its_limits),
        served(a_context_keeps_what_it_stood_for),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(last.body);
    return failed;
}
