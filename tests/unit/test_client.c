/* What the client reads, asks and shows; its calls are tested on the real binary. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "grid.h"
#include "histogram.h"
#include "read.h"

enum { TEXT_MAX = 1 << 16 };

static void assert_text(const struct buf *text, const char *expected)
{
    assert_int_equal(text->len, strlen(expected));
    assert_memory_equal(text->data, expected, text->len);
}

/* Every byte of a key that means something in a target is told apart; "..", "//" and a
 * slash stay, as the key has them. */
static void keys_are_escaped(void **state)
{
    struct buf target;
    buf_init(&target, TEXT_MAX);
    client_put_path(&target, "/keys/", bytes_str("a/../b//c d?e=f&g%h+\xc3\xa9"));
    client_put_param_text(&target, "w", "all");
    client_put_param(&target, "after", bytes_str("x&y=z/+"));
    assert_string_equal(client_target(&target), "/keys/a/../b//c%20d%3Fe%3Df%26g%25h%2B%C3%A9"
                                                "?w=all&after=x%26y%3Dz/%2B");
    buf_done(&target);
}

static void envelopes_are_read(void **state)
{
    struct buf error, why;
    struct bytes data;
    buf_init(&error, TEXT_MAX);
    buf_init(&why, TEXT_MAX);
    struct bytes body = bytes_str(
        " {\"Status\":\"error\",\"Error\":\"no \\u001b key\",\"Data\":{\"a\":1}}\n");
    assert_int_equal(client_envelope(body, &data, &error, &why), OK);
    assert_text(&error, "no ? key"); /* nothing that a terminal obeys */
    assert_int_equal(read_member_number(data, "a"), 1);
    const char *const bad[] = {"", "{}", "[]", "<html>", "{\"Status\":\"ok\"", "{\"Status\":1,\"Data\":2}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(client_envelope(bytes_str(bad[i]), &data, &error, &why), ERR_MALFORMED);
    buf_done(&error);
    buf_done(&why);
}

static void parts_are_read(void **state)
{
    struct bytes object = bytes_str("{\"n\":12,\"t\":\"a\\\"b\",\"l\":[1,[2],{\"x\":\"]\"}],\"e\":[]}"),
                 element;
    assert_true(read_is_json(object));
    assert_int_equal(read_member_number(object, "n"), 12);
    assert_int_equal(read_member_number(object, "none"), 0);
    char *text = read_member_text(object, "t");
    assert_string_equal(text, "a\"b");
    free(text);
    text = read_member_text(object, "l");
    assert_string_equal(text, "");
    free(text);
    struct json_scan s = read_array(read_member(object, "l"));
    assert_true(read_next(&s, &element));
    assert_int_equal(read_number(element), 1);
    assert_int_equal(read_count(read_member(object, "l")), 3);
    assert_int_equal(read_count(read_member(object, "e")), 0);
    assert_int_equal(read_count(read_member(object, "n")), 0);
    text = read_text(bytes_str("\"\\ud800\""));
    assert_string_equal(text, "\\ud800"); /* half a character: as it was written */
    free(text);
}

/* "host:port" and nothing else. */
static void servers_are_judged(void **state)
{
    struct client *client;
    struct buf why;
    buf_init(&why, TEXT_MAX);
    assert_int_equal(client_new(&client, &why), OK);
    assert_int_equal(client_add_servers(client, "a:1,[::1]:2,https://b:3,:4", &why), OK);
    assert_int_equal(client_servers(client), 4);
    assert_string_equal(client_server(client), "a:1");
    client_next_server(client);
    assert_string_equal(client_server(client), "[::1]:2");
    const char *const bad[] = {"",      "a",     "a:",          "a:0",   "a:65536", "a:1,",  "a b:1",
                               "::1:2", "[::1]", "http://a:1/", "u@a:1", "a:1x",    "a/b:1", "ftp:1:2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (client_add_servers(client, bad[i], &why) != ERR_MALFORMED)
            fail_msg("%s is taken", bad[i]);
    client_keep_server(client);
    assert_int_equal(client_servers(client), 1);
    assert_string_equal(client_server(client), "[::1]:2");
    client_free(client);
    client_free(NULL);
    buf_done(&why);
}

/* A server that takes connections, as the system does for a process that is stopped. */
static int listen_at(char *name, size_t room)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(name, room, "127.0.0.1:%u", ntohs(address.sin_port));
    return fd;
}

/* Answers one request. */
static void *answer_one(void *fd)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    char request[4096];
    int connection = accept(*(int *)fd, NULL, NULL);
    if (connection < 0)
        return NULL; /* nobody asks */
    (void)!read(connection, request, sizeof request);
    (void)!write(connection, answer, sizeof answer - 1);
    close(connection);
    return NULL;
}

/* The next server is asked where the first one takes the call and says nothing, long before
 * idle_ms; not with a call that might be done twice, and not where there is no next one. */
static void a_frozen_server_is_passed_over(void **state)
{
    char names[2][32];
    int frozen = listen_at(names[0], sizeof names[0]), sound = listen_at(names[1], sizeof names[1]);
    struct client *client;
    struct client_answer answer;
    struct buf why;
    pthread_t thread;
    buf_init(&why, TEXT_MAX);
    assert_int_equal(pthread_create(&thread, NULL, answer_one, &sound), 0);
    assert_int_equal(client_new(&client, &why), OK);
    assert_int_equal(client_add_servers(client, names[0], &why), OK);

    struct client_call once = {.method = "POST", .target = "/", .idle_ms = 1000, .first_ms = 1};
    assert_int_equal(client_add_servers(client, names[1], &why), OK);
    assert_int_equal(client_call(client, &once, &answer, &why), ERR_TIMEOUT);

    struct client_call call = {.method = "PUT", .target = "/", .first_ms = 1};
    assert_int_equal(client_call(client, &call, &answer, &why), OK);
    assert_string_equal(answer.server, names[1]);
    assert_int_equal(answer.status, 200);
    client_answer_done(&answer);
    shutdown(sound, SHUT_RDWR);
    pthread_join(thread, NULL);

    client_next_server(client); /* the frozen one, */
    client_keep_server(client); /* .. and no other */
    call.idle_ms = 1000;
    assert_int_equal(client_call(client, &call, &answer, &why), ERR_IO);
    client_free(client);
    buf_done(&why);
    close(frozen);
    close(sound);
}

/* Without a terminal nothing is cut and nothing is coloured. */
static void grids_are_aligned(void **state)
{
    static const char *const titles[] = {"KEY", "N", "VALUE"};
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    struct grid grid;
    grid_init(&grid, 3, titles);
    grid_print(&grid, out); /* nothing yet: not even titles */
    grid_put_text(&grid, "\xc3\xa9\n");
    grid_colour(&grid, TERM_RED);
    grid_put_number(&grid, 100);
    grid_put_text(&grid, "x");
    grid_print(&grid, out);
    grid_put_text(&grid, "k");
    grid_put_number(&grid, 1);
    grid_put_text(&grid, "");
    grid_print(&grid, out);
    grid_done(&grid);
    fclose(out);
    assert_string_equal(text, "KEY  N    VALUE\n"
                              "\xc3\xa9?   100  x\n"
                              "k    1    \n");
    free(text);
}

/* Within a step of 1.6 %, and never above the largest. */
static void latencies_are_ranked(void **state)
{
    static struct histogram h;
    assert_int_equal(histogram_at(&h, 0.5), 0);
    for (uint64_t us = 1; us <= 1000; us++)
        histogram_add(&h, us);
    assert_in_range(histogram_at(&h, 0.5), 492, 508);
    assert_in_range(histogram_at(&h, 0.99), 975, 1000);
    assert_int_equal(h.max_us, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_escaped),
        cmocka_unit_test(envelopes_are_read),
        cmocka_unit_test(parts_are_read),
        cmocka_unit_test(servers_are_judged),
        cmocka_unit_test(a_frozen_server_is_passed_over),
        cmocka_unit_test(grids_are_aligned),
        cmocka_unit_test(latencies_are_ranked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
