/* The HTTP edge: exports, and imports as they come: cut anywhere, stopped by a line, by the
 * store or by the client, while others are served. */
#include "http_rig.h"

#include "mem.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const struct dot remote_dot = {.replica = {{0x22}}, .counter = 5};

#define DONE(lines, imported, expired, skipped, key)                                                         \
    "{\"Lines\":" #lines ",\"Imported\":" #imported ",\"Expired\":" #expired ",\"Skipped\":" #skipped        \
    ",\"Key\":\"" key "\"}"

static struct answer *import(int fd, const char *lines)
{
    return call(fd, "POST", "/import", "Content-Type: application/x-ndjson\r\n", lines);
}

static const char *exported(int fd, const char *query)
{
    char target[200];
    snprintf(target, sizeof target, "/export%s", query);
    call(fd, "GET", target, "", NULL);
    assert_int_equal(last.status, 200);
    assert_true(last.whole);
    assert_string_equal(header("Content-Type"), "application/x-ndjson");
    return last.body;
}

/* The error, and with it how far it came. */
static void assert_stopped(struct answer *a, int status, const char *words, const char *data)
{
    assert_error(a, status, words);
    if (!strstr(a->body, data))
        fail_msg("%s has no %s", a->body, data);
}

/* All that was reserved is given back, soon after the answer. */
static void assert_no_bodies(void)
{
    uint64_t until = now_ms() + 20000;
    while (counter("api_body_bytes") > 0 && now_ms() < until)
        sched_yield();
    assert_int_equal(counter("api_body_bytes"), 0);
}

/* ---- there and back -------------------------------------------------------------------------- */

static void what_goes_out_comes_in(void **state)
{
    int fd = connect_to();
    static const char lines[] = "{\"Key\":\"a\",\"Value\":{\"x\": 1}}\n"
                                "{\"Key\":\"b/\\n\\u0001\",\"Value64\":\"WwpdCg==\"}\n"
                                "{\"Key\":\"c\",\"Value64\":\"AAH/\",\"Type\":\"image/"
                                "png\",\"Expires\":\"2030-01-31T12:00:00.000Z\"}\n"
                                "{\"Key\":\"d\",\"Value64\":\"\",\"Type\":\"text/plain\"}\n"
                                "{\"Key\":\"e\",\"Value64\":\"IHt9\"}\n"  /* a space before it */
                                "{\"Key\":\"f\",\"Value64\":\"e30J\"}\n"; /* a tab behind */
    assert_answer(import(fd, lines), 200,
                  OK_BODY("{\"Lines\":6,\"Imported\":6,\"Expired\":0,\"Skipped\":0,\"Key\":\"f\"}"));
    assert_true(header("X-Yzma-Context")[0]);
    assert_string_equal(exported(fd, ""), lines);
    assert_string_equal(exported(fd, "?prefix=b/"), "{\"Key\":\"b/\\n\\u0001\",\"Value64\":\"WwpdCg==\"}\n");
    assert_string_equal(exported(fd, "?after=a&end=c"),
                        "{\"Key\":\"b/\\n\\u0001\",\"Value64\":\"WwpdCg==\"}\n");
    assert_answer(call(fd, "GET", "/keys/c?raw=true", "Accept: image/*\r\n", NULL), 200, "");
    assert_string_equal(header("X-Yzma-Expires"), "2030-01-31T12:00:00.000Z");
    assert_int_equal(call(fd, "HEAD", "/export", "", NULL)->status, 200);
    close(fd);
}

/* Whatever Server.Conflict says; the last of a key counts. */
static void an_import_replaces(void **state)
{
    struct http_options options = usual;
    options.siblings = true;
    start_with(&options);
    int fd = connect_to();
    assert_int_equal(import(fd, "{\"Key\":\"a\",\"Value\":1}\n")->status, 200);
    assert_answer(import(fd, "{\"Key\":\"a\",\"Value\":2}\n{\"Key\":\"a\",\"Value\":3}"), 200,
                  OK_BODY(DONE(2, 2, 0, 0, "a")));
    assert_answer(call(fd, "GET", "/keys/a", "", NULL), 200, OK_BODY("3"));
    close(fd);
}

static void siblings_go_along_when_asked(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/a", "", "1");
    fake_store_put_remote(world.store, "a", "2", &remote_dot, UINT64_MAX / 2, 0);
    assert_string_equal(exported(fd, ""), "{\"Key\":\"a\",\"Value\":2}\n");
    static const char both[] = "{\"Key\":\"a\",\"Value\":1}\n{\"Key\":\"a\",\"Value\":2,\"Sibling\":true}\n";
    assert_string_equal(exported(fd, "?siblings=true"), both);
    call(fd, "DELETE", "/keys/a", "", NULL);
    assert_int_equal(import(fd, both)->status, 200);
    assert_int_equal(import(fd, both)->status, 200); /* once more: no more of them */
    assert_string_equal(exported(fd, "?siblings=true"), both);
    close(fd);
}

/* ---- bodies in pieces -------------------------------------------------------------------------- */

static void send_chunk(int fd, const char *data, size_t length)
{
    char size[20];
    snprintf(size, sizeof size, "%zx\r\n", length);
    send_text(fd, size);
    send_bytes(fd, data, length);
    send_text(fd, "\r\n");
}

static void cuts_change_nothing(void **state)
{
    static const char lines[] =
        "{\"Key\":\"a\",\"Value\":1}\n\n{\"Key\":\"b\",\"Value\":2}\r\n{\"Key\":\"a\",\"Value\":3}";
    static const char head[] = "POST /import HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    int fd = connect_to();
    for (size_t piece = 1; piece < 30; piece += piece < 4 ? 1 : 9) {
        send_text(fd, head);
        for (size_t at = 0; at < sizeof lines - 1; at += piece)
            send_chunk(fd, lines + at, sizeof lines - 1 - at < piece ? sizeof lines - 1 - at : piece);
        send_text(fd, "0\r\n\r\n");
        assert_answer(receive(fd), 200, OK_BODY(DONE(4, 3, 0, 0, "a")));
        assert_string_equal(exported(fd, ""), "{\"Key\":\"a\",\"Value\":3}\n{\"Key\":\"b\",\"Value\":2}\n");
    }
    close(fd);
}

enum { MANY = 5000 };

static char *many_lines(size_t *ret_length)
{
    char *body = mem_new(MANY * 60);
    size_t n = 0;
    for (int i = 0; i < MANY; i++)
        n += (size_t)sprintf(body + n, "{\"Key\":\"m/%05d\",\"Value\":%d}\n", i, i);
    *ret_length = n;
    return body;
}

static void send_head(int fd, size_t length)
{
    char head[100];
    snprintf(head, sizeof head, "POST /import HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", length);
    send_text(fd, head);
}

/* More than a batch: in transactions of their own, while others are served. */
static void a_long_import_is_written_as_it_comes(void **state)
{
    size_t length, half;
    char *body = many_lines(&length);
    int fd = connect_to(), other = connect_to();
    half = length / 2;
    send_head(fd, length);
    send_bytes(fd, body, half);
    uint64_t until = now_ms() + 20000;
    do
        call(other, "GET", "/keys?count=true", "", NULL);
    while (!strstr(last.body, "\"Count\":2000") && now_ms() < until); /* of 2,500, whole batches */
    assert_answer(&last, 200, OK_BODY("{\"Count\":2000}"));
    send_bytes(fd, body + half, length - half);
    assert_answer(receive(fd), 200, OK_BODY(DONE(5000, 5000, 0, 0, "m/04999")));
    assert_string_equal(exported(other, ""), body);
    /* Again, from where it may have stood. */
    send_text(fd, "POST /import?after=m/04989 HTTP/1.1\r\nHost: a\r\n");
    char rest[60];
    snprintf(rest, sizeof rest, "Content-Length: %zu\r\n\r\n", length);
    send_text(fd, rest);
    send_bytes(fd, body, length);
    assert_answer(receive(fd), 200, OK_BODY(DONE(5000, 10, 0, 4990, "m/04999")));
    free(body);
    close(fd);
    close(other);
}

/* A client that goes away: whole batches stay, and nothing is left of the rest. */
static void a_broken_import_keeps_whole_batches(void **state)
{
    size_t length;
    char *body = many_lines(&length);
    int fd = connect_to();
    send_head(fd, length);
    send_bytes(fd, body, length / 2);
    close(fd);
    fd = connect_to();
    uint64_t until = now_ms() + 20000;
    do
        call(fd, "GET", "/keys?count=true", "", NULL);
    while (!strstr(last.body, "\"Count\":2000") && now_ms() < until);
    assert_answer(&last, 200, OK_BODY("{\"Count\":2000}"));
    assert_no_bodies();
    free(body);
    close(fd);
}

/* ---- lines that end it ---------------------------------------------------------------------------- */

static void a_bad_line_ends_it_behind_the_good_ones(void **state)
{
    static const struct {
        const char *line, *words;
    } bad[] = {
        {"{\"Key\":\"x\",\"Value\":}", "line 4: it is not JSON: "},
        {"[]", "must be an object"},
        {"{\"Value\":1}", "\\\"Key\\\" is missing"},
        {"{\"Key\":\"\",\"Value\":1}", "1 to 480 bytes"},
        {"{\"Key\":\"a\\u0000\",\"Value\":1}", "1 to 480 bytes"},
        {"{\"Key\":\"x\"}", "\\\"Value64\\\" must be there"},
        {"{\"Key\":\"x\",\"Value\":1,\"Value64\":\"\"}", "one of them"},
        {"{\"Key\":\"x\",\"Value\":1,\"Value\":1}", "\\\"Value\\\" is repeated"},
        {"{\"Key\":\"x\",\"Value\":1,\"Type\":\"text/plain\"}", "belongs to"},
        {"{\"Key\":\"x\",\"Value64\":\"AA\",\"Type\":\"text/plain\"}", "is not base64"},
        {"{\"Key\":\"x\",\"Value64\":\"AAAA\"}", "must be JSON"},
        {"{\"Key\":\"x\",\"Value64\":\"\",\"Type\":\"text\"}", "is not a media type"},
        {"{\"Key\":\"x\",\"Value\":1,\"Expires\":\"soon\"}", "must be a moment"},
        {"{\"Key\":\"x\",\"Value\":1,\"Sibling\":1}", "true or false"},
        {"{\"Key\":\"x\",\"Value\":1,\"Ttl\":\"1s\"}", "\\\"Ttl\\\" is unknown"},
        {"{\"Error\":\"out of memory\"}", "broken off"},
    };
    int fd = connect_to();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char body[500];
        call(fd, "DELETE", "/keys?prefix=", "", NULL);
        snprintf(
            body, sizeof body,
            "{\"Key\":\"a\",\"Value\":1}\n\n{\"Key\":\"b\",\"Value\":2}\n%s\n{\"Key\":\"c\",\"Value\":3}\n",
            bad[i].line);
        assert_stopped(import(fd, body), 400, bad[i].words,
                       "{\"Lines\":3,\"Imported\":2,\"Expired\":0,\"Skipped\":0,\"Key\":\"b\",\"Line\":4}");
        assert_string_equal(exported(fd, ""), "{\"Key\":\"a\",\"Value\":1}\n{\"Key\":\"b\",\"Value\":2}\n");
    }
    assert_stopped(import(fd, "1\n"), 400, "line 1", "{\"Lines\":0,\"Imported\":0,");
    assert_error(call(fd, "POST", "/import?prefix=a", "", ""), 400, "prefix");
    close(fd);
}

static void a_line_may_have_ended_before(void **state)
{
    int fd = connect_to();
    /* The rig's clock stands a little above 1970. */
    assert_answer(import(fd, "{\"Key\":\"a\",\"Value\":1,\"Expires\":\"1970-01-01T00:00:01Z\"}\n"
                             "{\"Key\":\"b\",\"Value\":1,\"Expires\":\"2030-01-01T00:00:01+01:00\"}\n"),
                  200, OK_BODY(DONE(2, 1, 1, 0, "b")));
    assert_string_equal(exported(fd, ""),
                        "{\"Key\":\"b\",\"Value\":1,\"Expires\":\"2029-12-31T23:00:01.000Z\"}\n");
    assert_answer(import(fd, ""), 200, OK_BODY(DONE(0, 0, 0, 0, "")));
    close(fd);
}

/* What is too long is dropped, not kept, and the connection stays usable. */
static void a_line_has_its_limit(void **state)
{
    struct http_options options = usual;
    options.value_max = 10000;
    start_with(&options);
    int fd = connect_to();
    enum { LENGTH = 200000 };
    char *body = mem_new(LENGTH + 1);
    memset(body, '1', LENGTH);
    memcpy(body, "{\"Key\":\"a\",\"Value\":1}\n{\"Key\":\"b\",\"Value\":", 41);
    assert_stopped(import(fd, body), 413, "line 2: it is too long", "{\"Lines\":1,\"Imported\":1,");
    body[12000] = '}';
    body[12001] = '\n';
    body[12002] = '\0';
    assert_stopped(import(fd, body), 413, "API.MaxValueBytes", "\"Line\":2}");
    assert_string_equal(exported(fd, ""), "{\"Key\":\"a\",\"Value\":1}\n");
    assert_no_bodies();
    free(body);
    close(fd);
}

/* ---- the store's trouble --------------------------------------------------------------------------- */

static void a_store_that_fails_ends_it(void **state)
{
    size_t length;
    char *body = many_lines(&length);
    int fd = connect_to();
    fake_store_fail(world.store, ERR_FULL);
    send_head(fd, length);
    send_bytes(fd, body, length);
    assert_stopped(receive(fd), 503, err_text(ERR_FULL), "{\"Lines\":0,\"Imported\":0,");
    assert_string_equal(header("Retry-After"), "1");
    fake_store_fail(world.store, OK);
    assert_answer(import(fd, body), 200, OK_BODY(DONE(5000, 5000, 0, 0, "m/04999")));
    free(body);
    close(fd);
}

/* A commit that does not come: the import gives up, and its late end harms nobody. */
static void a_commit_that_hangs_ends_it(void **state)
{
    struct http_options options = usual;
    options.request_timeout_ms = 300;
    start_with(&options);
    int fd = connect_to();
    fake_store_hold(world.store, true);
    assert_stopped(import(fd, "{\"Key\":\"a\",\"Value\":1}\n"), 503, "not confirmed",
                   "{\"Lines\":0,\"Imported\":0,");
    fake_store_hold(world.store, false);
    uint64_t until = now_ms() + 20000;
    while (strcmp(exported(fd, ""), "{\"Key\":\"a\",\"Value\":1}\n") != 0 && now_ms() < until)
        sched_yield();
    assert_string_equal(exported(fd, ""), "{\"Key\":\"a\",\"Value\":1}\n");
    close(fd);
}

static void spend_until(uint64_t at_ms)
{
    const struct timespec step = {.tv_nsec = 5000000};
    while (now_ms() < at_ms)
        nanosleep(&step, NULL);
}

/* The time that the disk takes for a batch in the midst of the body is not the client's: the
 * connection lives on beyond its own time. */
static void a_slow_commit_is_not_charged(void **state)
{
    struct http_options options = usual;
    options.request_timeout_ms = 1000;
    start_with(&options);
    static const char first[] = "{\"Key\":\"a\",\"Value\":1}\n{\"Key\":\"a\",\"Value\":2}\n",
                      second[] = "{\"Key\":\"b\",\"Value\":3}\n";
    int fd = connect_to();
    fake_store_hold(world.store, true);
    uint64_t begun = now_ms();
    send_head(fd, strlen(first) + strlen(second));
    spend_until(begun + 600);
    send_text(fd, first); /* its second line wants the first on disk */
    while (fake_store_waiting(world.store) == 0 && now_ms() < begun + 20000)
        sched_yield();
    spend_until(begun + 1250); /* which it is before that has its own 1000 ms */
    fake_store_hold(world.store, false);
    send_text(fd, second);
    assert_answer(receive(fd), 200, OK_BODY(DONE(3, 3, 0, 0, "b")));
    assert_int_equal(counter("api_import_batches"), 2);
    assert_int_equal(counter("api_import_lines"), 3);
    close(fd);
}

/* One who sends nothing more is cut off, in the middle of a line and behind a batch. */
static void who_stops_sending_is_cut_off(void **state)
{
    struct http_options options = usual;
    options.request_timeout_ms = 200;
    start_with(&options);
    size_t length;
    char *body = many_lines(&length);
    int fd = connect_to(), other = connect_to();
    send_head(fd, 100);
    send_text(fd, "{\"Key\":\"a\"");
    send_head(other, length);
    send_bytes(other, body, length / 2);
    assert_true(closed_by_server(fd));
    assert_true(closed_by_server(other));
    free(body);
    close(fd);
    close(other);
}

/* There is no room for it among all bodies. */
static void bodies_have_their_limit(void **state)
{
    struct http_options options = usual;
    options.bodies_max = 100000;
    start_with(&options);
    size_t length;
    char *body = many_lines(&length);
    int fd = connect_to();
    send_head(fd, length);
    assert_error(receive(fd), 503, "API.MaxBodiesInFlight");
    close(fd);
    fd = connect_to();
    assert_int_equal(import(fd, "{\"Key\":\"a\",\"Value\":1}\n")->status, 200);
    free(body);
    close(fd);
}

static void an_export_of_what_is_not_here_yet_is_refused(void **state)
{
    int fd = connect_to();
    call(fd, "PUT", "/keys/a", "", "1");
    call(fd, "PUT", "/keys/z", "", "1");
    fake_store_walk(world.store, "m");
    assert_error(call(fd, "GET", "/export", "", NULL), 503, "catching up");
    assert_string_equal(exported(fd, "?end=b"), "{\"Key\":\"a\",\"Value\":1}\n");
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        served(what_goes_out_comes_in),
        cmocka_unit_test_teardown(an_import_replaces, stop),
        served(siblings_go_along_when_asked),
        served(cuts_change_nothing),
        served(a_long_import_is_written_as_it_comes),
        served(a_broken_import_keeps_whole_batches),
        served(a_bad_line_ends_it_behind_the_good_ones),
        served(a_line_may_have_ended_before),
        cmocka_unit_test_teardown(a_line_has_its_limit, stop),
        served(a_store_that_fails_ends_it),
        cmocka_unit_test_teardown(a_commit_that_hangs_ends_it, stop),
        cmocka_unit_test_teardown(a_slow_commit_is_not_charged, stop),
        cmocka_unit_test_teardown(who_stops_sending_is_cut_off, stop),
        cmocka_unit_test_teardown(bodies_have_their_limit, stop),
        served(an_export_of_what_is_not_here_yet_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
