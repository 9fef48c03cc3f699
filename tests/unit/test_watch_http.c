/* GET /watch from the socket down to a real store on LMDB: what tests/system/test_watch.py
 * holds on the whole program is held here part by part, with limits small enough to be met. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "engine_lmdb.h"
#include "feed_cursor.h"
#include "http.h"
#include "storekit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000, LAG_MAX = 60, WATCHERS_MAX = 3, TEXT_MAX = 4 << 20, VALUE = 9000 };

/* ---- the node: a store, and the server over it; this thread is the one that writes -------- */

static struct rig {
    char folder[64], path[96];
    struct store *store;
    struct http *http;
} rig;

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t wall_ms(void *ctx)
{
    return 1000000;
}

/* Where a worker can be held up: the library says a word before it closes a connection. */
static struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool shut, somebody_waits;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false};

static void on_log(void *ctx, enum notice_level level, const char *line)
{
    pthread_mutex_lock(&gate.lock);
    gate.somebody_waits = gate.shut;
    while (gate.shut)
        pthread_cond_wait(&gate.opened, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void shut_gate(bool shut)
{
    pthread_mutex_lock(&gate.lock);
    gate.shut = shut;
    pthread_cond_broadcast(&gate.opened);
    pthread_mutex_unlock(&gate.lock);
}

static bool somebody_waits(void)
{
    pthread_mutex_lock(&gate.lock);
    bool waits = gate.somebody_waits;
    pthread_mutex_unlock(&gate.lock);
    return waits;
}

static int start(void **state)
{
    struct engine *engine;
    struct buf identity, why;
    buf_init(&identity, 64);
    buf_init(&why, 512);
    rig = (struct rig){.folder = "/tmp/yzma-watch-XXXXXX"};
    assert_non_null(mkdtemp(rig.folder));
    snprintf(rig.path, sizeof rig.path, "%s/yzma.db", rig.folder);
    assert_int_equal(lmdb_engine_open(rig.path, &(struct lmdb_options){0}, &engine, &identity, &why), OK);
    rig.store = kit_store_on(engine, 1);
    const struct http_options options = {
        .bind = "127.0.0.1:0",
        .threads = 2,
        .connections_max = 20,
        .value_max = 1 << 20,
        .bodies_max = 4 << 20,
        .request_timeout_ms = PATIENCE_MS,
        .watchers_max = WATCHERS_MAX,
        .watch_lag_max = LAG_MAX,
    };
    struct http_backend backend = {.store = rig.store, .wall_ms = wall_ms, .log = on_log};
    assert_int_equal(http_start(&options, &backend, &rig.http, &why), OK);
    buf_done(&identity);
    buf_done(&why);
    return 0;
}

static int stop(void **state)
{
    char lock_path[104];
    shut_gate(false);
    http_stop(rig.http, 2000);
    http_free(rig.http);
    store_close(rig.store);
    snprintf(lock_path, sizeof lock_path, "%s-lock", rig.path);
    unlink(rig.path);
    unlink(lock_path);
    return rmdir(rig.folder);
}

static void put(const char *key, const char *value)
{
    assert_int_equal(kit_put(rig.store, key, value, NULL, NULL), OK);
    http_on_commit(rig.http);
}

static void forget_all(void)
{
    struct clock clock = {0};
    clock_raise(&clock, &(struct dot){kit_id(1), kit_clock(rig.store, 1)});
    assert_int_equal(kit_prune(rig.store, &clock), OK);
    clock_done(&clock);
    http_on_commit(rig.http);
}

static uint64_t found;
static void find(void *ctx, const char *name, uint64_t value)
{
    if (strcmp(name, ctx) == 0)
        found = value;
}

static uint64_t counter(char *name)
{
    found = UINT64_MAX;
    http_counters(rig.http, find, name);
    assert_true(found != UINT64_MAX);
    return found;
}

static bool reaches(char *name, uint64_t value)
{
    for (uint64_t until = now_ms() + PATIENCE_MS; now_ms() < until;) {
        if (counter(name) == value)
            return true;
        poll(NULL, 0, 1);
    }
    return false;
}

/* ---- clients ----------------------------------------------------------------------------- */

struct client {
    int fd;
    char *text; /* all that came; ends with a NUL */
    size_t length;
    bool ended;
};

static struct client connected(int receive_buffer)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_port(rig.http)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM, 0), .text = calloc(1, TEXT_MAX)};
    assert_true(c.fd >= 0 && c.text);
    if (receive_buffer)
        setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&address, sizeof address), 0);
    return c;
}

static void hang_up(struct client *c)
{
    close(c->fd);
    free(c->text);
}

static void ask(struct client *c, const char *query)
{
    char head[4096];
    int length = snprintf(head, sizeof head, "GET /watch?%s HTTP/1.1\r\nHost: localhost\r\n\r\n", query);
    c->length = 0;
    c->text[0] = '\0';
    assert_int_equal(send(c->fd, head, (size_t)length, MSG_NOSIGNAL), length);
}

static struct client watching(const char *query)
{
    struct client c = connected(0);
    ask(&c, query);
    return c;
}

static void read_some(struct client *c, int wait_ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (c->ended || poll(&p, 1, wait_ms) <= 0)
        return;
    assert_true(c->length < TEXT_MAX - 1);
    ssize_t n = recv(c->fd, c->text + c->length, TEXT_MAX - 1 - c->length, MSG_DONTWAIT);
    c->ended = n <= 0;
    c->length += n > 0 ? (size_t)n : 0;
    c->text[c->length] = '\0';
}

/* True when these words have come, or NULL: when the connection has ended. */
static bool comes(struct client *c, const char *words)
{
    for (uint64_t until = now_ms() + PATIENCE_MS; now_ms() < until;) {
        if (words ? strstr(c->text, words) != NULL : c->ended)
            return true;
        if (c->ended)
            return false;
        read_some(c, 100);
    }
    return false;
}

static int status(const struct client *c)
{
    return c->length > 12 ? atoi(c->text + 9) : 0;
}

/* An answer with a body in the envelope. */
static int answered(struct client *c, const char *query)
{
    ask(c, query);
    for (uint64_t until = now_ms() + PATIENCE_MS; now_ms() < until;) {
        const char *body = strstr(c->text, "\r\n\r\n"), *length = strstr(c->text, "Content-Length: ");
        if (body && length && strlen(body + 4) >= strtoul(length + 16, NULL, 10))
            return status(c);
        assert_false(c->ended);
        read_some(c, 100);
    }
    return 0;
}

/* The last cursor that came, for a query. */
static const char *since(const struct client *c)
{
    static char query[2000];
    const char *at = NULL;
    for (const char *next = c->text; (next = strstr(next, "\"Cursor\":\"")); next++)
        at = next;
    assert_non_null(at);
    at += strlen("\"Cursor\":\"");
    snprintf(query, sizeof query, "since=%.*s", (int)strcspn(at, "\""), at);
    return query;
}

static const char * and (const char *query, const char *more)
{
    static char both[2100];
    snprintf(both, sizeof both, "%s&%s", query, more);
    return both;
}

/* ---- polls ---------------------------------------------------------------------------------- */

static void a_poll_is_woken_by_its_own_keys(void **state)
{
    struct client c = connected(0);
    assert_int_equal(answered(&c, "poll=1ms&prefix=mine/"), 200);
    char begin[2000];
    snprintf(begin, sizeof begin, "%s", since(&c));
    uint64_t asked_ms = now_ms();
    ask(&c, and(begin, "poll=10m&prefix=mine/"));
    assert_true(reaches("api_watchers", 1));
    put("other", "1");
    put("mine/a", "2");
    assert_true(comes(&c, "mine/a"));
    assert_true(now_ms() - asked_ms < PATIENCE_MS);
    assert_int_equal(status(&c), 200);
    assert_null(strstr(c.text, "other"));
    assert_true(reaches("api_watchers", 0));
    assert_int_equal(answered(&c, and(begin, "poll=10m")), 200); /* what is there already: at once */
    assert_non_null(strstr(c.text, "other"));
    assert_non_null(strstr(c.text, "mine/a"));
    hang_up(&c);
}

static void what_cannot_be_asked_for_is_refused(void **state)
{
    static const char *const bad[] = {
        "since=", "since=x",  "since=AAAA", "since=%zz", "since=0&since=0", "poll=0ms",  "poll=11m",
        "poll=x", "values=2", "prefix=%ff", "limit=3",   "prefix=a%00b",    "nothing=1", "poll=1s&poll=1s"};
    struct client c = connected(0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (answered(&c, bad[i]) != 400)
            fail_msg("%s: %d", bad[i], status(&c));
        assert_non_null(strstr(c.text, "\"Status\":\"error\""));
    }
    assert_int_equal(counter("api_watchers"), 0);
    assert_int_equal(counter("api_watches"), 0);
    hang_up(&c);
}

/* ---- cursors --------------------------------------------------------------------------------- */

static void a_cursor_older_than_history_is_gone(void **state)
{
    struct client c = connected(0), stream = watching("");
    assert_true(comes(&stream, "heartbeat"));
    assert_int_equal(answered(&c, "poll=1ms"), 200);
    char old[2000];
    snprintf(old, sizeof old, "%s", since(&c));
    put("a", "1");
    put("b", "2");
    assert_true(comes(&stream, "\"Key\":\"b\"")); /* it has read all that goes now */
    forget_all();
    assert_int_equal(answered(&c, and(old, "poll=10m")), 410);
    assert_int_equal(answered(&c, old), 410); /* a stream as well */
    assert_int_equal(counter("api_cursors_gone"), 2);

    struct client listing = watching(since(&c));
    assert_true(comes(&listing, "listed"));
    assert_non_null(strstr(listing.text, "\"Key\":\"a\""));
    assert_non_null(strstr(listing.text, "\"Key\":\"b\""));
    put("c", "3");
    assert_true(comes(&listing, "\"Key\":\"c\""));
    assert_true(comes(&stream, "\"Key\":\"c\"")); /* which was at the head all the time */
    hang_up(&c), hang_up(&stream), hang_up(&listing);
}

/* What another node has shown is waited for: a stream says so, a poll at the end of its time. */
static void a_cursor_of_another_node_waits_for_its_operations(void **state)
{
    struct store *peer = kit_store(2);
    struct replica_id id = kit_id(2);
    assert_int_equal(kit_put(peer, "theirs", "1", NULL, NULL), OK);
    struct feed_cursor cursor = {0};
    struct buf text;
    char query[2000];
    clock_raise(&cursor.high, &(struct dot){id, 1});
    buf_init(&text, 1000);
    feed_cursor_encode(&cursor, &text);
    snprintf(query, sizeof query, "since=%.*s", (int)text.len, (const char *)text.data);
    buf_done(&text);
    feed_cursor_done(&cursor);

    struct client c = connected(0), stream = watching(query);
    assert_true(comes(&stream, "behind"));
    assert_int_equal(answered(&c, and(query, "poll=10ms")), 503);
    ask(&c, and(query, "poll=10m"));
    assert_true(reaches("api_watchers", 2));
    assert_int_equal(kit_send(peer, rig.store, &id, 10, true), OK);
    http_on_commit(rig.http);
    assert_true(comes(&c, "theirs"));
    assert_true(comes(&stream, "theirs"));
    assert_int_equal(status(&c), 200);
    hang_up(&c), hang_up(&stream);
    store_close(peer);
}

/* ---- slow readers ------------------------------------------------------------------------------ */

static const char *large_value(void)
{
    static char value[VALUE];
    memset(value, '1', sizeof value - 1);
    return value;
}

static void put_numbered(int n)
{
    char key[16];
    snprintf(key, sizeof key, "k%05d", n);
    put(key, large_value());
}

/* It waits in the store, and is shown all once it reads. */
static void a_slow_reader_misses_nothing(void **state)
{
    struct client slow = connected(4096);
    ask(&slow, "");
    assert_true(comes(&slow, "heartbeat"));
    for (int n = 0; n < LAG_MAX - 1; n++)
        put_numbered(n);
    assert_true(comes(&slow, "k00058"));
    for (int n = 0; n < LAG_MAX - 1; n++) {
        char key[16];
        snprintf(key, sizeof key, "k%05d", n);
        assert_non_null(strstr(slow.text, key));
    }
    assert_int_equal(counter("api_watches_dropped"), 0);
    hang_up(&slow);
}

/* One that falls behind by more than it may is cut off; its cursor holds. */
static void a_reader_that_lags_too_far_is_dropped(void **state)
{
    struct client slow = connected(4096), other = watching("values=false");
    ask(&slow, "");
    assert_true(comes(&slow, "heartbeat"));
    assert_true(comes(&other, "heartbeat"));
    int written = 0;
    for (uint64_t until = now_ms() + PATIENCE_MS; counter("api_watches_dropped") == 0 && now_ms() < until;)
        put_numbered(written++);
    assert_true(written > LAG_MAX);
    assert_true(reaches("api_watchers", 1));
    assert_true(comes(&slow, NULL));
    struct client again = watching(since(&slow));
    char last[32];
    snprintf(last, sizeof last, "k%05d", written - 1);
    assert_true(comes(&again, last));
    assert_int_equal(status(&again), 200);
    assert_true(comes(&other, last)); /* who reads is not held up */
    assert_int_equal(counter("api_watches_dropped"), 1);
    hang_up(&slow), hang_up(&other), hang_up(&again);
}

/* The library keeps its own descriptor of a stream's socket until its worker's round is over:
 * what comes on the socket when the stream has gone already is nobody's. */
static void a_stream_that_has_gone_is_told_of_nothing(void **state)
{
    const struct linger reset = {.l_onoff = 1};
    shut_gate(true);
    struct client stream = watching("");
    assert_true(comes(&stream, "heartbeat"));
    for (uint64_t until = now_ms() + PATIENCE_MS; !somebody_waits() && now_ms() < until;)
        poll(NULL, 0, 1);
    assert_true(somebody_waits());
    shutdown(stream.fd, SHUT_WR);
    assert_true(reaches("api_watchers", 0));
    setsockopt(stream.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    hang_up(&stream);
    struct client other = watching(""); /* which the feed hears of later; the other worker takes it */
    assert_true(comes(&other, "heartbeat"));
    assert_int_equal(counter("api_watchers"), 1);
    shut_gate(false);
    hang_up(&other);
}

static void there_may_be_so_many(void **state)
{
    struct client all[WATCHERS_MAX], more = connected(0);
    for (int i = 0; i < WATCHERS_MAX; i++) {
        all[i] = watching("");
        assert_true(comes(&all[i], "heartbeat"));
    }
    assert_int_equal(answered(&more, "poll=10m"), 503);
    assert_int_equal(answered(&more, ""), 503);
    assert_int_equal(counter("api_watches_refused"), 2);
    hang_up(&all[0]);
    assert_true(reaches("api_watchers", WATCHERS_MAX - 1));
    assert_int_equal(answered(&more, "poll=1ms"), 200);
    for (int i = 1; i < WATCHERS_MAX; i++)
        hang_up(&all[i]);
    hang_up(&more);
}

#define served(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        served(a_poll_is_woken_by_its_own_keys),
        served(what_cannot_be_asked_for_is_refused),
        served(a_cursor_older_than_history_is_gone),
        served(a_cursor_of_another_node_waits_for_its_operations),
        served(a_slow_reader_misses_nothing),
        served(a_reader_that_lags_too_far_is_dropped),
        served(a_stream_that_has_gone_is_told_of_nothing),
        served(there_may_be_so_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
