/* A load generator for HTTP/1.1: N keep-alive connections, one request at a time
 * on each, as fast as the server answers. One thread and one epoll, so that it
 * takes one core and no more, and less of it per request than what it measures.
 *
 * What differs per request is a number: in a path or body template {n} becomes it,
 * in nine digits, and {b64} becomes the base64 of "key" and these digits (etcd's
 * gateway wants its keys so). Prints one JSON object; ends with 1 when an answer
 * was not what was expected. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    ANSWER_MAX = 1 << 20,
    EVENTS_AT_A_TIME = 256,
    DIGITS = 9,
};

struct options {
    const char *host;
    uint16_t port;
    const char *method, *path, *body, *expect; /* templates; expect: must be in the answer */
    size_t connections;
    double seconds, warm_seconds;
    uint64_t requests; /* stop after so many; 0: after the seconds */
    uint64_t keys;     /* numbers are below it */
    bool random;       /* else one after the other */
    bool poll;         /* never sleep: see the usage */
};

/* ---- latencies: 64 steps to each power of two, so within 1.6 % ------------ */

enum { STEP_BITS = 6, STEPS = 1 << STEP_BITS, BUCKETS = 64 * STEPS };

struct histogram {
    uint64_t counts[BUCKETS], total, max_us;
};

static size_t bucket_of(uint64_t us)
{
    if (us < STEPS)
        return us;
    unsigned shift = 63 - (unsigned)__builtin_clzll(us) - STEP_BITS;
    return (size_t)(shift + 1) * STEPS + ((us >> shift) - STEPS);
}

static uint64_t bucket_low(size_t bucket)
{
    return bucket < STEPS ? bucket : (STEPS + bucket % STEPS) << (bucket / STEPS - 1);
}

static void histogram_add(struct histogram *h, uint64_t us)
{
    h->counts[bucket_of(us)]++;
    h->total++;
    if (us > h->max_us)
        h->max_us = us;
}

static uint64_t histogram_at(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)((double)h->total * share), seen = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        if ((seen += h->counts[i]) > wanted)
            return bucket_low(i);
    return h->max_us;
}

/* ---- the run ------------------------------------------------------------- */

struct connection {
    int fd;
    char *request;
    size_t request_len, sent;
    char answer[ANSWER_MAX + 1];
    size_t got;
    uint64_t number, start_us;
};

struct run {
    struct options options;
    int epoll;
    uint64_t next_number, random_state;
    uint64_t started; /* requests */
    uint64_t answers, errors, unexpected, bytes;
    uint64_t count_from_us, stop_us, last_us;
    struct histogram latency;
    char first_unexpected[256];
};

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(2);
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* xorshift64 (Marsaglia 2003): cheap, and good enough to pick keys. */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void base64_of_key(uint64_t number, char out[17])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char key[3 + 20 + 1];
    snprintf(key, sizeof key, "key%0*llu", DIGITS, (unsigned long long)number);
    for (int i = 0; i < 4; i++) {
        uint32_t three = (uint32_t)key[3 * i] << 16 | (uint32_t)key[3 * i + 1] << 8 |
                         (uint32_t)key[3 * i + 2];
        for (int j = 0; j < 4; j++)
            out[4 * i + j] = digits[three >> (18 - 6 * j) & 63];
    }
    out[16] = 0;
}

/* Writes the template with its placeholders filled; returns the length, as snprintf. */
static size_t fill_in(const char *template, uint64_t number, char *out, size_t room)
{
    size_t n = 0;
    for (const char *at = template; *at;) {
        char text[32] = {*at, 0};
        size_t step = 1;
        if (strncmp(at, "{n}", 3) == 0) {
            snprintf(text, sizeof text, "%0*llu", DIGITS, (unsigned long long)number);
            step = 3;
        } else if (strncmp(at, "{b64}", 5) == 0) {
            base64_of_key(number, text);
            step = 5;
        }
        for (const char *c = text; *c; c++, n++)
            if (n + 1 < room)
                out[n] = *c;
        at += step;
    }
    if (room)
        out[n < room ? n : room - 1] = 0;
    return n;
}

static void make_request(struct run *run, struct connection *c)
{
    const struct options *o = &run->options;
    c->number = o->random ? random_next(&run->random_state) % o->keys : run->next_number++ % o->keys;
    char path[2048];
    fill_in(o->path, c->number, path, sizeof path);
    size_t body_len = o->body ? fill_in(o->body, c->number, NULL, 0) : 0;
    size_t room = strlen(path) + body_len + 512;
    c->request = realloc(c->request, room);
    if (!c->request)
        die("memory");
    int n = snprintf(c->request, room, "%s %s HTTP/1.1\r\nHost: %s:%u\r\n", o->method, path, o->host,
                     o->port);
    if (o->body) {
        n += snprintf(c->request + n, room - (size_t)n,
                      "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body_len);
        n += (int)fill_in(o->body, c->number, c->request + n, room - (size_t)n);
    } else {
        n += snprintf(c->request + n, room - (size_t)n, "\r\n");
    }
    c->request_len = (size_t)n;
    c->sent = c->got = 0;
}

static void wait_for(struct run *run, struct connection *c, uint32_t events, int op)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(run->epoll, op, c->fd, &event) != 0)
        die("epoll_ctl");
}

static bool send_rest(struct run *run, struct connection *c)
{
    while (c->sent < c->request_len) {
        ssize_t n = send(c->fd, c->request + c->sent, c->request_len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            wait_for(run, c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            return true;
        }
        if (n < 0)
            return false;
        c->sent += (size_t)n;
        if (c->sent == c->request_len && (size_t)n != c->request_len)
            wait_for(run, c, EPOLLIN, EPOLL_CTL_MOD);
    }
    return true;
}

static bool may_start(const struct run *run, uint64_t now)
{
    return run->options.requests ? run->started < run->options.requests : now < run->stop_us;
}

/* False when there is nothing left to do on this connection. */
static bool start_request(struct run *run, struct connection *c, uint64_t now)
{
    if (!may_start(run, now))
        return false;
    run->started++;
    make_request(run, c);
    c->start_us = now;
    if (!send_rest(run, c)) {
        run->errors++;
        return false;
    }
    return true;
}

static void connect_to(struct run *run, struct connection *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(run->options.port)};
    if (inet_pton(AF_INET, run->options.host, &to.sin_addr) != 1) {
        fprintf(stderr, "not an IPv4 address: %s\n", run->options.host);
        exit(2);
    }
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    wait_for(run, c, EPOLLIN, EPOLL_CTL_ADD);
}

/* ---- answers ------------------------------------------------------------- */

enum answer_state { ANSWER_PART, ANSWER_WHOLE, ANSWER_BAD };

/* The answer has a Content-Length, or ends with the last chunk. */
static enum answer_state look_at_answer(struct connection *c, const char **ret_body)
{
    c->answer[c->got] = 0;
    char *end = strstr(c->answer, "\r\n\r\n");
    if (!end)
        return c->got == ANSWER_MAX ? ANSWER_BAD : ANSWER_PART;
    *ret_body = end + 4;
    size_t head = (size_t)(end + 4 - c->answer);
    const char *length = strcasestr(c->answer, "\r\nContent-Length:");
    if (length && length < end) {
        size_t whole = head + strtoull(length + 17, NULL, 10);
        return whole > ANSWER_MAX || c->got > whole ? ANSWER_BAD
               : c->got == whole                    ? ANSWER_WHOLE
                                                    : ANSWER_PART;
    }
    const char *chunked = strcasestr(c->answer, "\r\nTransfer-Encoding: chunked");
    if (!chunked || chunked > end)
        return ANSWER_BAD;
    bool last = c->got >= head + 5 && memcmp(c->answer + c->got - 5, "0\r\n\r\n", 5) == 0;
    return last ? ANSWER_WHOLE : ANSWER_PART;
}

static void judge(struct run *run, struct connection *c, const char *body, uint64_t now)
{
    char wanted[2048];
    bool good = c->got > 12 && memcmp(c->answer + 8, " 200", 4) == 0;
    if (good && run->options.expect) {
        fill_in(run->options.expect, c->number, wanted, sizeof wanted);
        good = strstr(body, wanted) != NULL;
    }
    if (!good && run->unexpected++ == 0)
        snprintf(run->first_unexpected, sizeof run->first_unexpected, "%.*s", 200, c->answer);
    if (now >= run->count_from_us && (run->options.requests || now <= run->stop_us)) {
        run->answers++;
        run->bytes += c->got;
        histogram_add(&run->latency, now - c->start_us);
        run->last_us = now;
    }
}

/* False when the connection is done with. */
static bool on_readable(struct run *run, struct connection *c)
{
    ssize_t n = recv(c->fd, c->answer + c->got, ANSWER_MAX - c->got, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return true;
    if (n <= 0) {
        run->errors++;
        return false;
    }
    c->got += (size_t)n;
    const char *body;
    switch (look_at_answer(c, &body)) {
    case ANSWER_PART:
        return true;
    case ANSWER_BAD:
        run->errors++;
        return false;
    case ANSWER_WHOLE:
        break;
    }
    uint64_t now = now_us();
    judge(run, c, body, now);
    return start_request(run, c, now);
}

static void run_load(struct run *run)
{
    size_t open = run->options.connections;
    struct connection *connections = calloc(open, sizeof *connections);
    if (!connections)
        die("memory");
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < open; i++)
        connect_to(run, &connections[i]);
    uint64_t now = now_us();
    run->count_from_us = now + (uint64_t)(run->options.warm_seconds * 1e6);
    run->stop_us = run->count_from_us + (uint64_t)(run->options.seconds * 1e6);
    size_t running = 0;
    for (size_t i = 0; i < open; i++)
        running += start_request(run, &connections[i], now);

    while (running > 0) {
        struct epoll_event events[EVENTS_AT_A_TIME];
        int n = epoll_wait(run->epoll, events, EVENTS_AT_A_TIME, run->options.poll ? 0 : -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            bool alive = true;
            if (events[i].events & EPOLLOUT)
                alive = send_rest(run, c);
            if (alive && events[i].events & ~(uint32_t)EPOLLOUT)
                alive = on_readable(run, c);
            if (!alive) {
                epoll_ctl(run->epoll, EPOLL_CTL_DEL, c->fd, NULL);
                running--;
            }
        }
    }
    for (size_t i = 0; i < open; i++) {
        close(connections[i].fd);
        free(connections[i].request);
    }
    close(run->epoll);
    free(connections);
}

static void print_result(const struct run *run)
{
    uint64_t end = run->options.requests ? run->last_us : run->stop_us;
    double seconds = (double)(end - run->count_from_us) / 1e6;
    const struct histogram *h = &run->latency;
    printf("{\"requests\": %llu, \"sent\": %llu, \"errors\": %llu, \"unexpected\": %llu, \"seconds\": %.3f, "
           "\"per_second\": "
           "%.1f, "
           "\"bytes\": %llu, \"us\": {\"p50\": %llu, \"p90\": %llu, \"p99\": %llu, \"p99.9\": %llu, \"max\": "
           "%llu}}\n",
           (unsigned long long)run->answers, (unsigned long long)run->started,
           (unsigned long long)run->errors, (unsigned long long)run->unexpected, seconds,
           seconds > 0 ? (double)run->answers / seconds : 0.0, (unsigned long long)run->bytes,
           (unsigned long long)histogram_at(h, 0.5), (unsigned long long)histogram_at(h, 0.9),
           (unsigned long long)histogram_at(h, 0.99), (unsigned long long)histogram_at(h, 0.999),
           (unsigned long long)h->max_us);
    if (run->unexpected)
        fprintf(stderr, "unexpected answer: %s\n", run->first_unexpected);
}

static const char usage[] =
    "usage: load [options] HOST:PORT PATH\n"
    "  -m METHOD      GET\n"
    "  -b BODY        body to send; PATH, BODY and the text of -e may hold {n} and {b64}\n"
    "  -c N           connections (64)\n"
    "  -d SECONDS     how long (5), after\n"
    "  -w SECONDS     warming up (0.5)\n"
    "  -n REQUESTS    stop after so many instead, without warming up\n"
    "  -k KEYS        {n} counts 0 .. KEYS-1 (1)\n"
    "  -r             .. in random order\n"
    "  -e TEXT        each answer must hold it\n";

static struct options read_options(int argc, char **argv)
{
    struct options o = {.method = "GET", .connections = 64, .seconds = 5, .warm_seconds = 0.5, .keys = 1};
    for (int c; (c = getopt(argc, argv, "m:b:c:d:w:n:k:e:pr")) != -1;) {
        switch (c) {
        case 'm':
            o.method = optarg;
            break;
        case 'b':
            o.body = optarg;
            break;
        case 'c':
            o.connections = strtoul(optarg, NULL, 10);
            break;
        case 'd':
            o.seconds = strtod(optarg, NULL);
            break;
        case 'w':
            o.warm_seconds = strtod(optarg, NULL);
            break;
        case 'n':
            o.requests = strtoull(optarg, NULL, 10);
            o.warm_seconds = 0;
            break;
        case 'k':
            o.keys = strtoull(optarg, NULL, 10);
            break;
        case 'e':
            o.expect = optarg;
            break;
        case 'p':
            o.poll = true;
            break;
        case 'r':
            o.random = true;
            break;
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    char *colon = argc - optind == 2 ? strchr(argv[optind], ':') : NULL;
    if (!colon || o.connections == 0 || o.keys == 0) {
        fputs(usage, stderr);
        exit(2);
    }
    *colon = 0;
    o.host = argv[optind];
    o.port = (uint16_t)strtoul(colon + 1, NULL, 10);
    o.path = argv[optind + 1];
    return o;
}

int main(int argc, char **argv)
{
    static struct run run; /* the histogram is large */
    run.options = read_options(argc, argv);
    run.random_state = 88172645463325252ull; /* any but 0: the same keys in each run */
    run_load(&run);
    print_result(&run);
    return run.errors || run.unexpected ? 1 : 0;
}
