/* The HTTP edge as a client meets it: raw bytes over a socket to a server on
 * loopback, with a fake store and a fake node behind. */
#include "http_rig.h"

#include "mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- keys ---- */

/* The walk of the predecessor's manual, to the byte. */
static void a_value_is_stored_read_and_deleted(void **state)
{
    int fd = connect_to();
    assert_answer(call(fd, "POST", "/keys/foo", "Content-Type: application/x-www-form-urlencoded\r\n",
                       "{\"foo\":\"bar\"}"),
                  200, OK_BODY("\"added foo\""));
    assert_true(header("X-Yzma-Context")[0] != '\0');
    assert_answer(call(fd, "GET", "/keys/foo", "", NULL), 200, OK_BODY("{\"foo\":\"bar\"}"));
    assert_string_equal(header("Content-Type"), "application/json");
    assert_answer(call(fd, "PUT", "/keys/foo", "", " [1,\n2e999] "), 200, OK_BODY("\"added foo\""));
    assert_answer(call(fd, "GET", "/keys/foo", "", NULL), 200, OK_BODY(" [1,\n2e999] "));
    assert_answer(call(fd, "DELETE", "/keys/foo", "", NULL), 200, OK_BODY("\"deleted foo\""));
    assert_error(call(fd, "GET", "/keys/foo", "", NULL), 404, "foo");
    assert_true(header("X-Yzma-Context")[0] != '\0');
    assert_answer(call(fd, "DELETE", "/keys/foo", "", NULL), 200, OK_BODY("\"deleted foo\""));
    assert_true(header("X-Yzma-Context")[0] != '\0');
    close(fd);
}

/* HEAD is GET without the body, and the next answer comes right behind it. */
static void head_is_get_without_the_body(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/h", "", "123");
    struct answer *a = call(fd, "HEAD", "/keys/h", "", NULL);
    assert_int_equal(a->status, 200);
    assert_int_equal(a->length, strlen(OK_BODY("123")));
    assert_true(header("X-Yzma-Context")[0] != '\0');
    assert_int_equal(call(fd, "HEAD", "/keys/none", "", NULL)->status, 404);
    assert_answer(call(fd, "GET", "/keys/h", "", NULL), 200, OK_BODY("123"));
    close(fd);
}

/* Every escape means the byte; the path is not tidied; the answer is JSON. */
static void odd_keys_are_keys(void **state)
{
    int fd = connect_to();
    assert_answer(call(fd, "PUT", "/keys/a%2F..//%22%0A+b", "", "1"), 200,
                  OK_BODY("\"added a/..//\\\"\\n+b\""));
    assert_answer(call(fd, "GET", "/keys/a/..//%22%0a%2Bb", "", NULL), 200, OK_BODY("1"));
    assert_error(call(fd, "GET", "/keys/a/..//%22%0a%20b", "", NULL), 404, "no such key");
    close(fd);
}

/* Every refusal leaves the connection usable and the value as it was. */
static void refusals_leave_the_connection_usable(void **state)
{
    char long_key[600] = "/keys/";
    memset(long_key + 6, 'k', 481);
    const struct {
        const char *method, *target, *headers, *body;
        int status;
        const char *words;
    } cases[] = {
        {"GET", "/", "", NULL, 404, "no such path"},
        {"POST", "/nowhere", "", "{}", 404, "no such path"},
        {"PATCH", "/keys/foo", "", "{}", 405, "method"},
        {"POST", "/keys", "", "{}", 405, "method"},
        {"DELETE", "/cluster/members", "", NULL, 405, "method"},
        {"GET", "/cluster/join", "", NULL, 405, "method"},
        {"PUT", "/cluster/leave", "", "", 405, "method"},
        {"OPTIONS", "/keys/foo", "", NULL, 405, "method"},
        {"PUT", "/keys/foo", "", "", 400, "empty at line 1, column 1"},
        {"PUT", "/keys/foo", "", "{\"a\":\n x}", 400, "line 2, column 2"},
        {"PUT", "/keys/foo", "", "\"\xff\"", 400, "UTF-8"},
        {"PUT", "/keys/foo", "", "[1,]", 400, "not JSON"},
        {"PUT", "/keys/foo", "Content-Type: text\r\n", "{}", 415, "media type"},
        {"POST", "/batch", "Content-Type: text/plain\r\n", "{}", 415, "JSON"},
        {"PUT", "/keys/", "", "1", 400, "empty"},
        {"PUT", "/keys/%zz", "", "1", 400, "escape"},
        {"PUT", "/keys/a%00b", "", "1", 400, "NUL"},
        {"PUT", "/keys/%ff", "", "1", 400, "UTF-8"},
        {"GET", "/keys/%", "", NULL, 400, "escape"},
        {"PUT", long_key, "", "1", 414, "480"},
        {"GET", long_key, "", NULL, 414, "480"},
        {"GET", "/keys/foo?sibling=true", "", NULL, 400, "sibling"},
        {"GET", "/keys/foo?mode=add", "", NULL, 400, "mode"},
        {"PUT", "/keys/foo?siblings=true", "", "1", 400, "siblings"},
        {"DELETE", "/keys/foo?mode=add", "", NULL, 400, "mode"},
        {"GET", "/keys/foo?wait=1s&wait=1s", "", NULL, 400, "repeated"},
        {"GET", "/keys/foo?wait=31s", "", NULL, 400, "wait"},
        {"GET", "/keys?limit=10001", "", NULL, 400, "1 to 10000"},
        {"DELETE", "/keys", "", NULL, 400, "prefix"},
        {"GET", "/conflicts?limit=0", "", NULL, 400, "1 to 10000"},
        {"GET", "/conflicts?values=true", "", NULL, 400, "values"},
        {"PUT", "/keys/foo?touch=true&ttl=1s", "", "1", 400, "touch"},
        {"PUT", "/keys/foo?expires=1970-01-01T00:00:01Z", "", "1", 400, "expires"},
        {"PUT", "/keys/foo", "If-Match: x\r\n", "1", 400, "If-Match"},
        {"GET", "/keys/foo", "If-None-Match: \"\r\n", NULL, 400, "If-None-Match"},
        {"GET", "/keys/foo", "If-Match: \"0123456789abcdef\"\r\n", NULL, 412, "If-Match"},
        {"PUT", "/keys/foo", "If-Match: \"0123456789abcdef\"\r\n", "1", 412, "ETag is"},
        {"PUT", "/keys/foo", "If-None-Match: *\r\n", "1", 412, "ETag is"},
        {"DELETE", "/keys/none", "If-Match: *\r\n", NULL, 412, "does not exist"},
        {"POST", "/batch", "If-Match: *\r\n", "{\"Ops\":[]}", 400, "If-Match"},
        {"DELETE", "/keys?prefix=f", "If-None-Match: \"x\"\r\n", NULL, 400, "If-None-Match"},
        {"POST", "/counters/c", "If-None-Match: *\r\n", "{\"Add\":1}", 400, "If-None-Match"},
        {"POST", "/sets/s", "If-Match: *\r\n", "{\"Add\":[1]}", 400, "If-Match"},
        {"GET", "/export?space=none", "", NULL, 400, "keys, counters, sets or all"},
        {"GET", "/export?space=all&prefix=f", "", NULL, 400, "space=all"},
        {"GET", "/export?space=sets&siblings=true", "", NULL, 400, "siblings"},
        {"PUT", "/keys/none?touch=true&ttl=1s", "", "", 404, "none"},
        {"POST", "/batch", "", "[]", 400, "Ops"},
        {"POST", "/batch?mode=add", "", "{\"Ops\":[]}", 400, "mode"},
        {"GET", "/health?x", "", NULL, 400, "x"},
        {"GET", "/keys/foo", "X-Yzma-Context: nonsense!\r\n", NULL, 400, "malformed"},
        {"PUT", "/keys/foo", "X-Yzma-Context: AAAA\r\n", "1", 400, "malformed"},
        {"GET", "/keys/foo", "Origin: http://evil.example\r\n", NULL, 403, "Origin"},
        {"PUT", "/keys/foo", "Origin: null\r\n", "1", 403, "Origin"},
        {"POST", "/cluster/join", "", "", 400, "not JSON"},
        {"POST", "/cluster/join", "", "[]", 400, "Peers"},
        {"POST", "/cluster/join", "", "{}", 400, "Peers"},
        {"POST", "/cluster/join", "", "{\"Peers\":[]}", 400, "Peers"},
        {"POST", "/cluster/join", "", "{\"Peers\":[1]}", 400, "host:port"},
        {"POST", "/cluster/join", "", "{\"Peers\":[\"nohost:\"]}", 400, "host:port"},
        {"POST", "/cluster/join", "", "{\"Peers\":[\"a:0\"]}", 400, "host:port"},
        {"POST", "/cluster/join", "", "{\"Peers\":[\"a:70000\"]}", 400, "host:port"},
        {"POST", "/cluster/join", "", "{\"Peers\":[\"a:1\"],\"X\":1}", 400, "nothing else"},
    };
    int fd = connect_to();
    call(fd, "PUT", "/keys/foo", "", "{\"kept\":true}");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_error(call(fd, cases[i].method, cases[i].target, cases[i].headers, cases[i].body),
                     cases[i].status, cases[i].words);
        if (cases[i].status == 405)
            assert_true(header("Allow")[0] != '\0');
        assert_answer(call(fd, "GET", "/keys/foo", "", NULL), 200, OK_BODY("{\"kept\":true}"));
    }
    assert_int_equal(counter("api_answers_4xx"), sizeof cases / sizeof *cases);
    close(fd);
}

/* A page of this node or a listed one may call; programs send no Origin at all. */
static void own_and_listed_origins_pass(void **state)
{
    int fd = connect_to();
    assert_int_equal(call(fd, "PUT", "/keys/o", "Origin: http://127.0.0.1:8080\r\n", "1")->status, 200);
    assert_int_equal(call(fd, "PUT", "/keys/o", "Origin: https://app.example\r\n", "1")->status, 200);
    close(fd);
}

static void lists_come_in_pages(void **state)
{
    int fd = connect_to();
    const char *const targets[] = {"/keys/b",   "/keys/a",    "/keys/a/2",
                                   "/keys/a/1", "/keys/gone", "/keys/c%22"};
    for (size_t i = 0; i < 6; i++)
        call(fd, "PUT", targets[i], "", "7");
    call(fd, "DELETE", "/keys/gone", "", NULL);
    assert_answer(call(fd, "GET", "/keys", "", NULL), 200,
                  OK_BODY("{\"Keys\":[{\"Key\":\"a\"},{\"Key\":\"a/1\"},{\"Key\":\"a/2\"},{\"Key\":\"b\"},"
                          "{\"Key\":\"c\\\"\"}],\"Next\":\"\"}"));
    assert_answer(call(fd, "GET", "/keys?limit=2", "", NULL), 200,
                  OK_BODY("{\"Keys\":[{\"Key\":\"a\"},{\"Key\":\"a/1\"}],\"Next\":\"a/1\"}"));
    assert_answer(
        call(fd, "GET", "/keys?limit=2&after=a%2F1&values=true", "", NULL), 200,
        OK_BODY("{\"Keys\":[{\"Key\":\"a/2\",\"Value\":7},{\"Key\":\"b\",\"Value\":7}],\"Next\":\"b\"}"));
    assert_answer(call(fd, "GET", "/keys?prefix=a/", "", NULL), 200,
                  OK_BODY("{\"Keys\":[{\"Key\":\"a/1\"},{\"Key\":\"a/2\"}],\"Next\":\"\"}"));
    assert_answer(call(fd, "GET", "/keys?prefix=zzz", "", NULL), 200, OK_BODY("{\"Keys\":[],\"Next\":\"\"}"));
    close(fd);
}

/* A backup's pieces are bytes as they are; what tools ask for is checked like the rest. */
static void tools_are_answered(void **state)
{
    char row[200] = "/cluster/backup?row=";
    int fd = connect_to();
    assert_answer(call(fd, "GET", "/cluster/backup", "", NULL), 200, "0,,0");
    assert_string_equal(header("Content-Type"), "application/octet-stream");
    assert_answer(call(fd, "GET", "/cluster/backup?after=", "", NULL), 200, "1,,0");
    assert_answer(call(fd, "GET", "/cluster/backup?after=a%2Fb", "", NULL), 200, "1,a/b,0");
    for (int i = 0; i < 48; i++)
        strcat(row, i == 47 ? "7" : "0");
    assert_answer(call(fd, "GET", row, "", NULL), 200, "2,,7");
    row[30] = 'x';
    assert_error(call(fd, "GET", row, "", NULL), 400, "hexadecimal");
    assert_error(call(fd, "GET", "/cluster/backup?row=00", "", NULL), 400, "hexadecimal");
    assert_error(call(fd, "GET", "/cluster/backup?after=w", "", NULL), 503, "filled");
    assert_string_equal(header("Content-Type"), "application/json");
    assert_error(call(fd, "POST", "/cluster/backup", "", ""), 405, "method");
    const struct answer *digest = call(fd, "GET", "/cluster/digest?after=a&through=b&limit=7&list=true", "",
                                       NULL);
    assert_int_equal(digest->status, 200);
    assert_non_null(strstr(
        digest->body, "{\"Keys\":[{\"Key\":\"k\",\"At\":\"6b\",\"Hash\":\"0000000000000012\"}],\"Count\":7,"
                      "\"Hash\":\"00000000000000ab\",\"Through\":\"ab\",\"At\":\"6162\",\"End\":false,"
                      "\"Complete\":true,\"Settled\":true,\"Clock\":{"));
    assert_error(call(fd, "GET", "/cluster/digest?list=perhaps", "", NULL), 400, "list");
    close(fd);
}

static const struct dot remote_dot = {.replica = {{0x22}}, .counter = 5};

/* Concurrent versions: the latest stamp is shown, the others are listed. */
static void siblings_are_listed_surfaced_first(void **state)
{
    int fd = connect_to();
    fake_store_name(world.store, "kuzco-11111111");
    call(fd, "PUT", "/keys/s", "", "\"mine\"");
    fake_store_put_remote(world.store, "s", "\"theirs\"", &remote_dot, 0xffff000000000001, 0);
    assert_answer(call(fd, "GET", "/keys/s", "", NULL), 200, OK_BODY("\"theirs\""));
    char context[1000];
    snprintf(context, sizeof context, "%s", header("X-Yzma-Context"));
    struct answer *a = call(fd, "GET", "/keys/s?siblings=true", "", NULL);
    assert_int_equal(a->status, 200);
    const char expected[] =
        "{\"Status\":\"ok\",\"Error\":\"\",\"Data\":{\"Versions\":[{\"Value\":\"theirs\",\"Stamp\":"
        "\"ffff000000000001\",\"Node\":\"22000000-0000-0000-0000-000000000000\"},{\"Value\":\"mine\","
        "\"Stamp\":\"0000000000001001\",\"Node\":\"kuzco-11111111\"}],\"Context\":\"";
    assert_memory_equal(a->body, expected, sizeof expected - 1);
    assert_memory_equal(a->body + sizeof expected - 1, context, strlen(context));

    /* A write that has seen both replaces both; mode=add none. */
    char headers[1100];
    snprintf(headers, sizeof headers, "X-Yzma-Context: %s\r\n", context);
    assert_int_equal(call(fd, "PUT", "/keys/s?mode=add", "", "1")->status, 200);
    assert_int_equal(call(fd, "PUT", "/keys/s", headers, "2")->status, 200);
    a = call(fd, "GET", "/keys/s?siblings=true", "", NULL);
    assert_non_null(strstr(a->body, "[{\"Value\":2,"));
    assert_non_null(strstr(a->body, ",{\"Value\":1,"));
    assert_null(strstr(a->body, "mine"));
    close(fd);
}

/* An expired version is hidden at once, and an older one may surface. */
static void expired_versions_are_hidden(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/e", "", "\"old\"");
    fake_store_put_remote(world.store, "e", "\"brief\"", &remote_dot, 0xffff000000000001, 1000500);
    fake_store_put_remote(world.store, "only", "\"brief\"", &(struct dot){.replica = {{0x22}}, .counter = 6},
                          1, 1000500);
    assert_answer(call(fd, "GET", "/keys/e", "", NULL), 200, OK_BODY("\"brief\""));
    assert_int_equal(call(fd, "GET", "/keys/only", "", NULL)->status, 200);
    atomic_store(&world.wall_ms, 1000501);
    assert_answer(call(fd, "GET", "/keys/e", "", NULL), 200, OK_BODY("\"old\""));
    assert_null(strstr(call(fd, "GET", "/keys/e?siblings=true", "", NULL)->body, "brief"));
    assert_int_equal(call(fd, "GET", "/keys/only", "", NULL)->status, 404);
    assert_null(strstr(call(fd, "GET", "/keys", "", NULL)->body, "only"));
    close(fd);
}

/* What a walk has not reached is not said to be absent. */
static void a_walk_hides_what_it_has_not_reached(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/a", "", "1");
    call(fd, "PUT", "/keys/x", "", "2");
    fake_store_walk(world.store, "m");
    assert_answer(call(fd, "GET", "/keys/x", "", NULL), 200, OK_BODY("2"));
    assert_error(call(fd, "GET", "/keys/y", "", NULL), 503, "catching up");
    assert_true(header("Retry-After")[0] != '\0');
    assert_int_equal(call(fd, "GET", "/keys/b", "", NULL)->status, 404);
    assert_error(call(fd, "GET", "/keys", "", NULL), 503, "catching up");
    assert_error(call(fd, "GET", "/keys?prefix=n", "", NULL), 503, "catching up");
    assert_int_equal(call(fd, "GET", "/keys?prefix=a", "", NULL)->status, 200);
    assert_int_equal(call(fd, "GET", "/keys?limit=1", "", NULL)->status, 200);
    fake_store_walk(world.store, NULL);
    assert_int_equal(call(fd, "GET", "/keys", "", NULL)->status, 200);
    close(fd);
}

/* The store's refusals come as they are, and reads go on. */
static void errors_of_the_store_are_told(void **state)
{
    static const struct {
        enum err err;
        int status;
    } cases[] = {{ERR_FULL, 503},    {ERR_IO, 503},     {ERR_CONFLICT, 409}, {ERR_WRONGKEY, 400},
                 {ERR_WALKING, 503}, {ERR_BEHIND, 503}, {ERR_CLOSED, 503},   {ERR_DAMAGED, 503}};
    int fd = connect_to();
    call(fd, "PUT", "/keys/k", "", "1");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_store_fail(world.store, cases[i].err);
        assert_error(call(fd, "PUT", "/keys/k", "", "2"), cases[i].status, "");
        assert_int_equal(header("Retry-After")[0] != '\0', cases[i].status == 503);
        assert_answer(call(fd, "GET", "/keys/k", "", NULL), 200, OK_BODY("1"));
    }
    fake_store_fail(world.store, OK);
    assert_int_equal(call(fd, "PUT", "/keys/k", "", "2")->status, 200);
    fake_store_damage(world.store, "k");
    assert_error(call(fd, "GET", "/keys/k", "", NULL), 503, "cannot be read");
    assert_error(call(fd, "GET", "/keys", "", NULL), 503, "cannot be read");
    close(fd);
}

/* ---- tokens ---- */

/* The header line of a token for a key that wants `dot` covered. */
static const char *token_header(const char *key, const struct dot *dot)
{
    static char line[400];
    struct token token = {0};
    struct buf text;
    buf_init(&text, 300);
    token_of_write(&token, bytes_str(key), dot);
    token_encode(&token, &text);
    snprintf(line, sizeof line, "X-Yzma-Context: %.*s\r\n", (int)text.len, (char *)text.data);
    token_done(&token);
    buf_done(&text);
    return line;
}

static void *put_remote_later(void *arg)
{
    while (counter("api_waits") == 0)
        sched_yield();
    fake_store_put_remote(world.store, "t", "\"arrived\"", &remote_dot, 0xffff000000000001, 0);
    return NULL;
}

/* A read with a token waits until what its client saw has arrived. */
static void a_read_waits_for_its_token(void **state)
{
    int fd = connect_to();
    pthread_t thread;
    pthread_create(&thread, NULL, put_remote_later, NULL);
    assert_answer(call(fd, "GET", "/keys/t?wait=10s", token_header("t", &remote_dot), NULL), 200,
                  OK_BODY("\"arrived\""));
    pthread_join(thread, NULL);
    assert_int_equal(counter("api_waits_expired"), 0);
    close(fd);
}

/* A write waits too, and then removes exactly what its token saw. */
static void a_write_waits_for_its_token(void **state)
{
    int fd = connect_to();
    pthread_t thread;
    pthread_create(&thread, NULL, put_remote_later, NULL);
    assert_int_equal(call(fd, "PUT", "/keys/t?wait=10s", token_header("t", &remote_dot), "1")->status, 200);
    pthread_join(thread, NULL);
    assert_answer(call(fd, "GET", "/keys/t", "", NULL), 200, OK_BODY("1"));
    close(fd);
}

/* The wait ends with 503 and what is missing, not before its time. */
static void a_wait_has_an_end(void **state)
{
    int fd = connect_to();
    uint64_t before = now_ms();
    assert_error(call(fd, "GET", "/keys/t?wait=100ms", token_header("t", &remote_dot), NULL), 503,
                 "22000000-0000-0000-0000-000000000000 up to 0, not 5");
    assert_true(now_ms() - before >= 90);
    assert_error(call(fd, "PUT", "/keys/t?wait=0", token_header("t", &remote_dot), "1"), 503,
                 "up to 0, not 5");
    assert_error(call(fd, "PUT", "/keys/u", token_header("t", &remote_dot), "1"), 400, "another key");
    assert_int_equal(counter("api_waits_expired"), 2);
    assert_int_equal(call(fd, "GET", "/keys/t", "", NULL)->status, 404);
    close(fd);
}

/* A token made of an answer is taken back by the next request. */
static void tokens_go_round(void **state)
{
    int fd = connect_to();
    fake_store_floor(world.store, &(struct dot){.replica = {{0x11}}, .counter = 0});
    call(fd, "PUT", "/keys/r", "", "1");
    char headers[300];
    for (int i = 0; i < 3; i++) {
        snprintf(headers, sizeof headers, "X-Yzma-Context: %s\r\n", header("X-Yzma-Context"));
        assert_int_equal(call(fd, i % 2 ? "PUT" : "GET", "/keys/r", headers, i % 2 ? "2" : NULL)->status,
                         200);
    }
    close(fd);
}

/* A delete that finds nothing is a look at the key: who goes on with its token does not
 * read what lies behind it, and has not seen what it was not shown. */
static void an_idle_delete_has_looked(void **state)
{
    struct dot floor = {.replica = {{0x11}}, .counter = 7};
    struct token t = {0};
    int fd = connect_to();
    fake_store_put_remote(world.store, "t", "1", &remote_dot, 0xffff000000000001, 0);
    fake_store_floor(world.store, &floor);
    char headers[400];
    snprintf(headers, sizeof headers, "%s", token_header("t", &(struct dot){.replica = {{0x11}}}));

    assert_int_equal(call(fd, "DELETE", "/keys/t", headers, NULL)->status, 200);

    assert_int_equal(token_decode(bytes_str(header("X-Yzma-Context")), &t), OK);
    assert_int_equal(t.seen_count, 0);
    assert_true(clock_covers_dot(&t.after, &remote_dot));
    assert_true(clock_covers_dot(&t.after, &floor));
    assert_int_equal(call(fd, "GET", "/keys/t", "", NULL)->status, 200);
    token_done(&t);
    close(fd);
}

/* ---- bodies ---- */

static void a_value_of_16_mib_goes_both_ways(void **state)
{
    size_t length = 16 << 20;
    char *value = mem_new(length + 1);
    memset(value, 'v', length);
    value[0] = value[length - 1] = '"';
    int fd = connect_to();
    char head[200];
    snprintf(head, sizeof head, "PUT /keys/large HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", length);
    send_text(fd, head);
    send_bytes(fd, value, length);
    assert_answer(receive(fd), 200, OK_BODY("\"added large\""));
    struct answer *a = call(fd, "GET", "/keys/large", "", NULL);
    assert_int_equal(a->length, length + strlen(OK_BODY("")));
    assert_memory_equal(a->body + strlen(OK_BODY("")) - 1, value, length);
    free(value);
    close(fd);
}

static void start_small(uint64_t timeout_ms)
{
    struct http_options options = usual;
    options.value_max = 1000;
    options.bodies_max = 1500;
    options.request_timeout_ms = timeout_ms;
    options.slow_request_ms = 1;
    start_with(&options);
}

/* By its Content-Length a large body is refused unread, and the connection ends. */
static void a_large_body_is_refused_at_once(void **state)
{
    start_small(30000);
    int fd = connect_to();
    send_text(fd, "PUT /keys/k HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
    assert_error(receive(fd), 413, "MaxValueBytes");
    assert_true(closed_by_server(fd));
    assert_int_equal(counter("api_bodies_refused"), 1);
    close(fd);
    stop(state);
}

static void send_chunks(int fd, size_t chunks)
{
    char chunk[520];
    int n = snprintf(chunk, sizeof chunk, "1f4\r\n%0500d\r\n", 0);
    send_text(fd, "PUT /keys/k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < chunks; i++)
        send_bytes(fd, chunk, (size_t)n);
}

/* A chunked body over the limit is drained up to twice it, then refused on a
 * connection that goes on; beyond that the connection ends. */
static void a_large_chunked_body_is_drained(void **state)
{
    start_small(30000);
    int fd = connect_to();
    send_chunks(fd, 4);
    send_text(fd, "0\r\n\r\n");
    assert_error(receive(fd), 413, "MaxValueBytes");
    assert_answer(call(fd, "PUT", "/keys/k", "", "1"), 200, OK_BODY("\"added k\""));
    send_chunks(fd, 5);
    assert_int_equal(receive(fd)->status, 0);
    close(fd);
    stop(state);
}

/* The bodies in flight share a budget; what does not fit gets 503. */
static void bodies_share_a_budget(void **state)
{
    start_small(30000);
    fake_store_hold(world.store, true);
    int first = connect_to(), second = connect_to();
    send_text(first, "PUT /keys/a HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n");
    while (counter("api_body_bytes") != 900)
        sched_yield();
    send_text(second, "PUT /keys/b HTTP/1.1\r\nHost: a\r\nContent-Length: 700\r\n\r\n");
    assert_error(receive(second), 503, "MaxBodiesInFlight");
    close(second);
    second = connect_to();
    send_chunks(second, 1); /* 500 fit, 1000 do not */
    send_text(second, "1f4\r\n");
    char piece[501];
    memset(piece, '0', sizeof piece);
    send_bytes(second, piece, 500);
    send_text(second, "\r\n0\r\n\r\n");
    assert_error(receive(second), 503, "MaxBodiesInFlight");
    close(first);
    close(second);
    while (counter("api_body_bytes") != 0)
        sched_yield();
    fake_store_hold(world.store, false);
    stop(state);
}

/* A byte now and then does not keep a request alive; others are served meanwhile. */
static void a_slow_request_is_cut_off(void **state)
{
    start_small(400);
    uint64_t before = now_ms(), sent = before;
    int slow = connect_to(), half = connect_to(), other = connect_to();
    send_text(slow, "PUT /keys/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n");
    send_text(half, "GET /ke");
    size_t served = 0;
    char c;
    while (recv(slow, &c, 1, MSG_DONTWAIT) < 0) {
        if (now_ms() > sent) {
            (void)!send(slow, "1", 1, MSG_NOSIGNAL); /* it may have been cut off since the look */
            sent = now_ms();
        }
        assert_int_equal(call(other, "GET", "/health", "", NULL)->status, 200);
        served++;
        assert_true(now_ms() - before < 5000);
    }
    assert_true(now_ms() - before >= 390);
    assert_true(served > 1);
    assert_true(closed_by_server(half));
    while (counter("api_timeouts") < 2) /* counted a moment after the cut */
        assert_true(now_ms() - before < 5000);
    assert_int_equal(counter("api_timeouts"), 2);
    close(slow);
    close(half);
    close(other);
    stop(state);
}

/* A commit that does not come is not waited for without end, and its late end
 * harms nobody. */
static void a_write_that_hangs_is_answered(void **state)
{
    start_small(400);
    fake_store_hold(world.store, true);
    int fd = connect_to();
    assert_error(call(fd, "PUT", "/keys/k", "", "1"), 503, "may still get there");
    fake_store_hold(world.store, false);
    while (fake_store_waiting(world.store) > 0)
        sched_yield();
    assert_int_equal(call(fd, "GET", "/health", "", NULL)->status, 200);
    assert_int_equal(counter("api_writes_unconfirmed"), 1);
    pthread_mutex_lock(&slow_lock);
    assert_non_null(strstr(world.slow_line, "method=PUT path=/keys/ key=k status=503 ms="));
    pthread_mutex_unlock(&slow_lock);
    close(fd);
    stop(state);
}

/* While a write waits, its worker serves the others, whatever they do: large bodies
 * in pieces, large answers, small requests. */
static void a_write_that_waits_holds_nobody_up(void **state)
{
    struct http_options options = usual;
    options.threads = 1;
    start_with(&options);
    size_t length = 8 << 20;
    char *value = mem_new(length + 1), head[200];
    memset(value, 'v', length);
    value[0] = value[length - 1] = '"';
    int other = connect_to(), writing = connect_to();
    snprintf(head, sizeof head, "PUT /keys/large HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", length);
    send_text(other, head);
    send_bytes(other, value, length);
    assert_int_equal(receive(other)->status, 200);

    fake_store_hold(world.store, true);
    send_text(writing, "PUT /keys/k HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1");
    while (fake_store_waiting(world.store) == 0)
        sched_yield();
    assert_int_equal(call(other, "GET", "/keys/large", "", NULL)->status, 200);
    assert_int_equal(last.length, length + strlen(OK_BODY("")));
    send_text(other, head);
    send_bytes(other, value, length - 1);
    send_text(other, "x"); /* instead of the quote: an answer that needs no store */
    assert_error(receive(other), 400, "ends early");
    assert_int_equal(call(other, "GET", "/health", "", NULL)->status, 200);

    fake_store_hold(world.store, false);
    assert_int_equal(receive(writing)->status, 200);
    free(value);
    close(other);
    close(writing);
    stop(state);
}

/* A client that goes while its write waits leaves at once; the write is done. */
static void a_client_may_go_while_its_write_waits(void **state)
{
    int fd = connect_to(), other = connect_to();
    assert_int_equal(call(fd, "GET", "/health", "", NULL)->status, 200); /* now it is being watched */
    fake_store_hold(world.store, true);
    send_text(fd, "PUT /keys/k HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1");
    while (fake_store_waiting(world.store) == 0)
        sched_yield();
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    while (counter("api_in_flight") > 0)
        sched_yield();
    fake_store_hold(world.store, false);
    while (fake_store_waiting(world.store) > 0)
        sched_yield();
    assert_int_equal(call(other, "PUT", "/keys/next", "", "2")->status, 200);
    assert_answer(call(other, "GET", "/keys/k", "", NULL), 200, OK_BODY("1"));
    close(other);
}

/* More than a worker holds without suspending them; all are answered. */
static void many_writes_may_wait_at_once(void **state)
{
    enum { MANY = 400 };
    struct http_options options = usual;
    options.threads = 1;
    options.connections_max = MANY + 10;
    start_with(&options);
    fake_store_hold(world.store, true);
    int fds[MANY];
    for (int i = 0; i < MANY; i++) {
        fds[i] = connect_to();
        send_text(fds[i], "PUT /keys/k HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1");
    }
    while (fake_store_waiting(world.store) < MANY)
        sched_yield();
    fake_store_hold(world.store, false);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(receive(fds[i])->status, 200);
        close(fds[i]);
    }
    stop(state);
}

/* ---- framing ---- */

/* Where a request ends must not be a matter of opinion. */
static void doubtful_framing_is_refused(void **state)
{
    static const char *const heads[] = {
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length : 1\r\n",
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        int fd = connect_to();
        char text[300];
        snprintf(text, sizeof text, "PUT /keys/k HTTP/1.1\r\nHost: a\r\n%s\r\n1", heads[i]);
        send_text(fd, text);
        /* To the end: some are the library's own words, and not well formed. */
        char all[2000] = "";
        size_t n = 0;
        for (ssize_t got = 1; got > 0 && n < sizeof all - 1; n += (size_t)(got > 0 ? got : 0))
            got = recv(fd, all + n, sizeof all - 1 - n, 0);
        if (strncmp(all, "HTTP/1.1 400 ", 13) != 0 || strstr(all, " 200 "))
            fail_msg("%s: %s", heads[i], all);
        close(fd);
    }
    int fd = connect_to();
    assert_int_equal(call(fd, "GET", "/keys/k", "", NULL)->status, 404);
    close(fd);
}

/* Pipelined requests are answered in their order, writes and reads mixed. */
static void pipelined_requests_keep_their_order(void **state)
{
    int fd = connect_to();
    for (int i = 0; i < 50; i++) {
        char text[300];
        snprintf(text, sizeof text,
                 "PUT /keys/p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%02d"
                 "GET /keys/p HTTP/1.1\r\nHost: a\r\n\r\n",
                 i + 10);
        send_text(fd, text);
    }
    for (int i = 0; i < 50; i++) {
        char expected[60];
        snprintf(expected, sizeof expected, OK_BODY("%02d"), i + 10);
        assert_answer(receive(fd), 200, OK_BODY("\"added p\""));
        assert_answer(receive(fd), 200, expected);
    }
    close(fd);
}

static void expect_continue_is_answered(void **state)
{
    int fd = connect_to();
    send_text(fd, "PUT /keys/c HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    char line[26] = "";
    assert_int_equal(recv(fd, line, 25, MSG_WAITALL), 25);
    assert_string_equal(line, "HTTP/1.1 100 Continue\r\n\r\n");
    send_text(fd, "1");
    assert_answer(receive(fd), 200, OK_BODY("\"added c\""));
    close(fd);
}

/* ---- the cluster's calls ---- */

static void the_nodes_answers_are_passed_on(void **state)
{
    static const struct {
        const char *method, *target, *body;
        enum node_request asked;
    } calls[] = {
        {"POST", "/cluster/join", "{\"Peers\":[\"127.0.0.1:37001\",\"[::1]:1\"]}", NODE_REQUEST_JOIN},
        {"POST", "/cluster/leave", "", NODE_REQUEST_LEAVE},
        {"GET", "/cluster/members", NULL, NODE_REQUEST_MEMBERS},
        {"GET", "/cluster/status", NULL, NODE_REQUEST_STATUS},
        {"GET", "/ready", NULL, NODE_REQUEST_READY}};
    int fd = connect_to();
    world.node_data = "{\"Some\":1}";
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        assert_answer(call(fd, calls[i].method, calls[i].target, "", calls[i].body), 200,
                      OK_BODY("{\"Some\":1}"));
        assert_int_equal(world.asked, calls[i].asked);
        if (i == 0)
            assert_string_equal(world.names, "127.0.0.1:37001 [::1]:1 ");
    }
    world.node_err = ERR_REFUSED;
    world.node_error = "none of the peers was reached";
    assert_answer(call(fd, "POST", "/cluster/join", "", "{\"Peers\":[\"a:1\"]}"), 502,
                  "{\"Status\":\"error\",\"Error\":\"none of the peers was reached\",\"Data\":{\"Some\":1}}");
    world.node_err = ERR_WALKING;
    world.node_error = NULL;
    assert_answer(call(fd, "GET", "/ready", "", NULL), 503,
                  "{\"Status\":\"error\",\"Error\":\"catching up\",\"Data\":{\"Some\":1}}");
    world.node_closed = true;
    assert_error(call(fd, "GET", "/cluster/members", "", NULL), 503, "does not answer");
    assert_answer(call(fd, "GET", "/health", "", NULL), 200, OK_BODY("null"));
    close(fd);
}

/* ---- start and stop ---- */

static void a_port_in_use_is_told_in_one_line(void **state)
{
    char bind[40];
    snprintf(bind, sizeof bind, "127.0.0.1:%u", http_port(world.http));
    assert_string_equal(http_address(world.http), bind);
    struct http_options options = usual;
    options.bind = bind;
    struct http_backend backend = {0};
    struct http *http = NULL;
    struct buf why;
    buf_init(&why, 300);
    assert_int_equal(http_start(&options, &backend, &http, &why), ERR_IO);
    assert_null(http);
    buf_put_u8(&why, 0);
    assert_non_null(strstr((char *)why.data, "Address already in use"));
    assert_non_null(strstr((char *)why.data, bind));
    buf_done(&why);
}

static void *release_later(void *arg)
{
    struct timespec pause = {.tv_nsec = 50000000};
    nanosleep(&pause, NULL);
    fake_store_hold(world.store, false);
    return NULL;
}

/* What is in flight when the stop begins is answered; new connections are not taken. */
static void a_stop_answers_what_is_in_flight(void **state)
{
    start_with(&usual);
    fake_store_hold(world.store, true);
    int writing = connect_to(), idle = connect_to();
    assert_int_equal(call(idle, "GET", "/health", "", NULL)->status, 200);
    send_text(writing, "PUT /keys/k HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1");
    while (fake_store_waiting(world.store) == 0)
        sched_yield();
    pthread_t thread;
    pthread_create(&thread, NULL, release_later, NULL);
    http_stop(world.http, 5000);
    pthread_join(thread, NULL);
    assert_answer(receive(writing), 200, OK_BODY("\"added k\""));
    assert_string_equal(header("Connection"), "close");
    assert_true(closed_by_server(idle));
    fake_store_free(world.store);
    http_free(world.http);
    world.http = NULL;
    close(writing);
    close(idle);
}

/* What does not get done in time is answered 503; the late result harms nobody. */
static void a_stop_has_a_deadline(void **state)
{
    start_with(&usual);
    fake_store_hold(world.store, true);
    int writing = connect_to(), waiting = connect_to(), half = connect_to();
    send_text(writing, "PUT /keys/k HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1");
    char text[500];
    snprintf(text, sizeof text, "GET /keys/t?wait=20s HTTP/1.1\r\nHost: a\r\n%s\r\n",
             token_header("t", &remote_dot));
    send_text(waiting, text);
    send_text(half, "PUT /keys/k HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n1");
    while (fake_store_waiting(world.store) == 0 || counter("api_waits") == 0 || counter("api_in_flight") < 3)
        sched_yield();
    uint64_t before = now_ms();
    http_stop(world.http, 100);
    assert_true(now_ms() - before < 3000);
    assert_error(receive(writing), 503, "may still get there");
    assert_error(receive(waiting), 503, "up to 0, not 5");
    assert_true(closed_by_server(half));
    fake_store_free(world.store);
    http_free(world.http);
    world.http = NULL;
    close(writing);
    close(waiting);
    close(half);
}

/* ---- many at once ---- */

static void *hammer(void *arg)
{
    unsigned id = (unsigned)(uintptr_t)arg;
    int fd = connect_to();
    for (unsigned i = 0; i < 100; i++) {
        char text[300], got[300];
        snprintf(text, sizeof text,
                 "PUT /keys/h%u HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%02u"
                 "GET /keys/h%u HTTP/1.1\r\nHost: a\r\nConnection: %s\r\n\r\n",
                 id, i % 90 + 10, id, i % 10 == 9 ? "close" : "keep-alive");
        send_text(fd, text);
        /* Reads until both answers have been seen, as text. */
        char all[2000] = "";
        snprintf(got, sizeof got, "\"Data\":%02u}", i % 90 + 10);
        for (size_t n = 0; !strstr(all, got) && n < sizeof all - 1;) {
            ssize_t piece = recv(fd, all + n, sizeof all - 1 - n, 0);
            if (piece <= 0)
                return (void *)1;
            n += (size_t)piece;
        }
        if (i % 10 == 9) {
            close(fd);
            fd = connect_to();
        }
    }
    close(fd);
    return NULL;
}

static void many_clients_at_once(void **state)
{
    pthread_t threads[8];
    for (uintptr_t i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, hammer, (void *)i);
    for (int i = 0; i < 8; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(counter("api_answers_2xx"), 1600);
    assert_int_equal(counter("api_answers_5xx"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        served(a_value_is_stored_read_and_deleted),
        served(head_is_get_without_the_body),
        served(odd_keys_are_keys),
        served(refusals_leave_the_connection_usable),
        served(own_and_listed_origins_pass),
        served(lists_come_in_pages),
        served(tools_are_answered),
        served(siblings_are_listed_surfaced_first),
        served(expired_versions_are_hidden),
        served(a_walk_hides_what_it_has_not_reached),
        served(errors_of_the_store_are_told),
        served(a_read_waits_for_its_token),
        served(a_write_waits_for_its_token),
        served(a_wait_has_an_end),
        served(tokens_go_round),
        served(an_idle_delete_has_looked),
        served(a_value_of_16_mib_goes_both_ways),
        cmocka_unit_test(a_large_body_is_refused_at_once),
        cmocka_unit_test(a_large_chunked_body_is_drained),
        cmocka_unit_test(bodies_share_a_budget),
        cmocka_unit_test(a_slow_request_is_cut_off),
        cmocka_unit_test(a_write_that_hangs_is_answered),
        cmocka_unit_test(a_write_that_waits_holds_nobody_up),
        served(a_client_may_go_while_its_write_waits),
        cmocka_unit_test(many_writes_may_wait_at_once),
        served(doubtful_framing_is_refused),
        served(pipelined_requests_keep_their_order),
        served(expect_continue_is_answered),
        served(the_nodes_answers_are_passed_on),
        served(a_port_in_use_is_told_in_one_line),
        cmocka_unit_test(a_stop_answers_what_is_in_flight),
        cmocka_unit_test(a_stop_has_a_deadline),
        served(many_clients_at_once),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(last.body);
    return failed;
}
