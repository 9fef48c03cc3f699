#include "http_rig.h"

#include "mem.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- the server under test ---- */

struct http_world world;

static void on_commit(void *ctx)
{
    if (world.http)
        http_on_commit(world.http);
}

static uint64_t wall_ms(void *ctx)
{
    return atomic_load(&world.wall_ms);
}

static void replicas(void *ctx, const struct dot *dot, unsigned *ret_known, unsigned *ret_having)
{
    *ret_known = world.known;
    *ret_having = 1 + world.having;
}

pthread_mutex_t slow_lock = PTHREAD_MUTEX_INITIALIZER;

static void on_log(void *ctx, enum notice_level level, const char *line)
{
    pthread_mutex_lock(&slow_lock);
    if (strstr(line, "event=slow_request method=PUT"))
        snprintf(world.slow_line, sizeof world.slow_line, "%s", line);
    pthread_mutex_unlock(&slow_lock);
}

static enum err submit(void *ctx, struct store_work *work)
{
    return fake_store_submit(world.store, work);
}

/* Answers on another thread, as the cluster thread does. */
struct pending {
    void (*done)(void *done_ctx, struct node_reply *reply);
    void *done_ctx;
};

static void *answer_request(void *arg)
{
    struct pending *p = arg;
    struct node_reply *reply = mem_new(sizeof *reply);
    reply->err = world.node_err;
    reply->error = world.node_error ? mem_text(world.node_error) : NULL;
    buf_init(&reply->data, 1000);
    if (world.node_data)
        buf_put_text(&reply->data, world.node_data);
    p->done(p->done_ctx, reply);
    free(p);
    return NULL;
}

static enum err request(void *ctx, enum node_request request, const char *const *names, size_t count,
                        void (*done)(void *done_ctx, struct node_reply *reply), void *done_ctx)
{
    if (world.node_closed)
        return ERR_CLOSED;
    world.asked = request;
    world.names[0] = '\0';
    for (size_t i = 0; i < count; i++)
        snprintf(world.names + strlen(world.names), sizeof world.names - strlen(world.names), "%s ",
                 names[i]);
    struct pending *p = mem_new(sizeof *p);
    *p = (struct pending){.done = done, .done_ctx = done_ctx};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, answer_request, p), 0);
    pthread_detach(thread);
    return OK;
}

static const char *const allowed[] = {"https://app.example"};
const struct http_options usual = {.bind = "127.0.0.1:0",
                                   .threads = 2,
                                   .connections_max = 100,
                                   .value_max = 16 << 20,
                                   .bodies_max = 64 << 20,
                                   .request_timeout_ms = 30000,
                                   .allowed_origins = allowed,
                                   .allowed_origin_count = 1};

/* What was asked for, as text; a walk for the key "w". */
static enum err backup(void *ctx, const struct backup_ask *ask, struct buf *out)
{
    if (bytes_equal(ask->after, bytes_str("w")))
        return ERR_WALKING;
    buf_put_format(out, "%d,%.*s,%llu", (int)ask->part, (int)ask->after.len, (const char *)ask->after.data,
                   (unsigned long long)ask->row_after.counter);
    return OK;
}

void start_with(const struct http_options *options)
{
    memset(&world, 0, sizeof world);
    atomic_store(&world.wall_ms, 1000000);
    world.store = fake_store_new(on_commit, NULL);
    world.known = 1;
    fake_store_wall(world.store, 1000000);
    struct http_backend backend = {.store = fake_store_face(world.store),
                                   .submit = submit,
                                   .request = request,
                                   .wall_ms = wall_ms,
                                   .replicas = replicas,
                                   .backup = backup,
                                   .log = on_log};
    struct buf why;
    buf_init(&why, 300);
    struct http *http;
    assert_int_equal(http_start(options, &backend, &http, &why), OK);
    world.http = http;
    http_serve(http);
    buf_done(&why);
}

int start(void **state)
{
    start_with(&usual);
    return 0;
}

int stop(void **state)
{
    http_stop(world.http, 2000);
    fake_store_free(world.store);
    http_free(world.http);
    world.http = NULL;
    return 0;
}

uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t counter_value;
static const char *counter_wanted;
static void find_counter(void *ctx, const char *name, uint64_t value)
{
    if (strcmp(name, counter_wanted) == 0)
        counter_value = value;
}

uint64_t counter(const char *name)
{
    counter_wanted = name;
    counter_value = UINT64_MAX;
    http_counters(world.http, find_counter, NULL);
    assert_true(counter_value != UINT64_MAX);
    return counter_value;
}

/* ---- the client ---- */

int connect_to(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_port(world.http)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    struct timeval timeout = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

void send_bytes(int fd, const void *data, size_t length)
{
    for (size_t at = 0; at < length;) {
        ssize_t n = send(fd, (const char *)data + at, length - at, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* refused early: the answer tells */
        at += (size_t)n;
    }
}

void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

struct answer last;

/* A chunked body; last.whole tells whether its end came. */
static struct answer *receive_chunks(int fd)
{
    assert_non_null(strcasestr(last.head, "\r\nTransfer-Encoding: chunked"));
    struct buf body;
    buf_init(&body, SIZE_MAX);
    for (;;) {
        char line[40];
        size_t n = 0;
        while (n < sizeof line - 1 && recv(fd, line + n, 1, 0) == 1 && line[n] != '\n')
            n++;
        line[n] = '\0';
        size_t left = strtoul(line, NULL, 16), more = left;
        if (n == 0)
            break;
        uint8_t *to = buf_extend(&body, left);
        while (left > 0) {
            ssize_t got = recv(fd, to, left, 0);
            assert_true(got > 0);
            to += got;
            left -= (size_t)got;
        }
        last.whole = recv(fd, line, 2, MSG_WAITALL) == 2 && more == 0;
        if (more == 0)
            break;
    }
    buf_put_u8(&body, '\0');
    last.body = (char *)body.data;
    last.length = body.len - 1;
    return &last;
}

struct answer *receive_for(int fd, bool head_only)
{
    free(last.body);
    memset(&last, 0, sizeof last);
    size_t n = 0;
    while (n < sizeof last.head - 1 && !(n >= 4 && memcmp(last.head + n - 4, "\r\n\r\n", 4) == 0)) {
        if (recv(fd, last.head + n, 1, 0) != 1)
            return &last;
        n++;
    }
    last.status = atoi(last.head + 9);
    if (last.status == 100)
        return receive_for(fd, head_only);
    const char *length = strcasestr(last.head, "\r\nContent-Length:");
    if (!length)
        return head_only || last.status == 304 ? &last : receive_chunks(fd);
    last.length = strtoul(length + 17, NULL, 10);
    last.body = mem_new(last.length + 1);
    if (head_only)
        return &last;
    for (size_t at = 0; at < last.length;) {
        ssize_t got = recv(fd, last.body + at, last.length - at, 0);
        assert_true(got > 0);
        at += (size_t)got;
    }
    return &last;
}

struct answer *receive(int fd)
{
    return receive_for(fd, false);
}

bool closed_by_server(int fd)
{
    char c;
    return recv(fd, &c, 1, 0) <= 0;
}

const char *header(const char *name)
{
    static char value[32 << 10];
    char wanted[100];
    snprintf(wanted, sizeof wanted, "\r\n%s: ", name);
    const char *at = strcasestr(last.head, wanted);
    value[0] = '\0';
    if (at) {
        at += strlen(wanted);
        size_t n = strcspn(at, "\r");
        memcpy(value, at, n);
        value[n] = '\0';
    }
    return value;
}

struct answer *call(int fd, const char *method, const char *target, const char *headers, const char *body)
{
    char head[24 << 10];
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n%s", method, target,
                     headers);
    if (body)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %zu\r\n", strlen(body));
    n += snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    send_bytes(fd, head, (size_t)n);
    if (body)
        send_text(fd, body);
    return receive_for(fd, strcmp(method, "HEAD") == 0);
}

void assert_answer(const struct answer *a, int status, const char *body)
{
    if (a->status != status || strcmp(a->body ? a->body : "", body) != 0)
        fail_msg("%d %s, not %d %s", a->status, a->body ? a->body : "(none)", status, body);
}

void assert_error(struct answer *a, int status, const char *words)
{
    const char *body = a->body ? a->body : "";
    size_t length = strlen(body);
    if (a->status != status || strncmp(body, "{\"Status\":\"error\",\"Error\":\"", 26) != 0 ||
        !strstr(body, words) || strcmp(body + length - 1, "}") != 0)
        fail_msg("%d %s, not %d with %s", a->status, body, status, words);
    assert_string_equal(header("Content-Type"), "application/json");
}
