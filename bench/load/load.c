/* A load generator: N connections that stay open, one request at a time on each.
 * One thread and one epoll, so that it takes one core and no more, and less of it per
 * request than what it measures.
 *
 * Closed loop: each answer is followed by the next request, as fast as the server
 * answers. Open loop (-q): requests are due at a fixed rate and are sent on whatever
 * connection is free; latency then counts from when a request was due.
 *
 * Prints one JSON object, in which what is counted lies between warming up and the
 * end. Ends with 1 when an answer was not what was expected or a connection broke. */
#include "histogram.h"
#include "machine.h"
#include "options.h"
#include "pattern.h"
#include "protocol.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    ANSWER_ROOM = 16 << 10,     /* grows for longer answers .. */
    ANSWER_ROOM_MAX = 64 << 20, /* .. up to the largest value */
    EVENTS_AT_A_TIME = 256,
    EMPTY_POLL_US_MAX = 20, /* what took longer was another process in between */
};

struct connection {
    int fd;
    char *request, *answer;
    size_t sent, got, room;
    uint64_t number, start_us;
};

/* What was spent when the counted time began, and when it ended. */
struct meter {
    uint64_t at_us, own_cpu_us, server_cpu_us, idle_us;
};

struct run {
    struct options options;
    struct pattern request, expect;
    char *wanted; /* p->expect, filled */
    int epoll;
    struct connection *connections, **idle;
    size_t idle_count, in_flight, broken;
    uint64_t next_number, random_state;
    uint64_t started, sent_counted, answers, unexpected, bytes;
    uint64_t start_us, count_from_us, stop_us, last_us;
    uint64_t idle_us; /* spent polling in vain */
    struct meter from, to;
    struct histogram latency;
    char first_unexpected[256];
};

/* ---- requests ------------------------------------------------------------ */

static void wait_for(struct run *run, struct connection *c, uint32_t events, int op)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(run->epoll, op, c->fd, &event) != 0)
        die("epoll_ctl");
}

static void open_connection(struct run *run, struct connection *c)
{
    c->fd = connect_to(run->options.address);
    c->room = ANSWER_ROOM;
    c->answer = malloc(c->room);
    c->request = malloc(run->request.len);
    if (!c->answer || !c->request)
        die("memory");
    memcpy(c->request, run->request.text, run->request.len);
    wait_for(run, c, EPOLLIN, EPOLL_CTL_ADD);
    run->idle[run->idle_count++] = c;
}

/* Of a connection that was idle or in use. */
static void break_off(struct run *run, struct connection *c)
{
    epoll_ctl(run->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    run->broken++;
    for (size_t i = 0; i < run->idle_count; i++) {
        if (run->idle[i] == c) {
            run->idle[i] = run->idle[--run->idle_count];
            return;
        }
    }
    run->in_flight--;
}

static uint64_t choose_number(struct run *run)
{
    if (run->options.random)
        return random_next(&run->random_state) % run->options.keys;
    uint64_t number = run->next_number % run->options.keys;
    run->next_number += run->options.step;
    return number;
}

static bool send_rest(struct run *run, struct connection *c)
{
    while (c->sent < run->request.len) {
        ssize_t n = send(c->fd, c->request + c->sent, run->request.len - c->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            wait_for(run, c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            return true;
        }
        if (n < 0)
            return false;
        c->sent += (size_t)n;
        if (c->sent == run->request.len && (size_t)n != run->request.len)
            wait_for(run, c, EPOLLIN, EPOLL_CTL_MOD);
    }
    return true;
}

/* On an idle connection. */
static void start_request(struct run *run, uint64_t due_us)
{
    struct connection *c = run->idle[--run->idle_count];
    run->in_flight++;
    run->started++;
    run->sent_counted += due_us >= run->count_from_us;
    c->number = choose_number(run);
    if (!run->options.same_value || run->started == 1)
        pattern_fill(&run->request, c->number, c->request);
    c->start_us = due_us;
    c->sent = c->got = 0;
    if (!send_rest(run, c))
        break_off(run, c);
}

/* When the next request is due; UINT64_MAX after the last. */
static uint64_t next_due(const struct run *run, uint64_t now)
{
    const struct options *o = &run->options;
    if (o->requests)
        return run->started < o->requests ? now : UINT64_MAX;
    uint64_t due = o->rate > 0 ? run->start_us + (uint64_t)((double)run->started * 1e6 / o->rate) : now;
    return due < run->stop_us ? due : UINT64_MAX;
}

static void start_what_is_due(struct run *run, uint64_t now)
{
    uint64_t due;
    while (run->idle_count > 0 && (due = next_due(run, now)) <= now)
        start_request(run, due);
}

/* ---- answers ------------------------------------------------------------- */

static bool is_expected(struct run *run, const struct connection *c, const struct answer *answer)
{
    if (!answer->good || !run->options.expect)
        return answer->good;
    pattern_fill(&run->expect, c->number, run->wanted);
    return memmem(answer->body, answer->body_len, run->wanted, run->expect.len) != NULL;
}

static void judge(struct run *run, struct connection *c, const struct answer *answer, uint64_t now)
{
    if (!is_expected(run, c, answer) && run->unexpected++ == 0)
        snprintf(run->first_unexpected, sizeof run->first_unexpected, "%.*s", (int)c->got, c->answer);
    /* In an open loop what was due in time counts, however late its answer is. */
    uint64_t counted_us = run->options.rate > 0 ? c->start_us : now;
    if (counted_us >= run->count_from_us && (run->options.requests || counted_us <= run->stop_us)) {
        run->answers++;
        run->bytes += c->got;
        histogram_add(&run->latency, now - c->start_us);
        run->last_us = now;
    }
}

static bool make_room(struct connection *c)
{
    if (c->got < c->room)
        return true;
    char *more = c->room < ANSWER_ROOM_MAX ? realloc(c->answer, c->room * 2) : NULL;
    if (!more)
        return false;
    c->answer = more;
    c->room *= 2;
    return true;
}

/* False when the connection can no longer be used. */
static bool on_readable(struct run *run, struct connection *c)
{
    if (!make_room(c))
        return false;
    ssize_t n = recv(c->fd, c->answer + c->got, c->room - c->got, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return true;
    if (n <= 0)
        return false;
    c->got += (size_t)n;
    struct answer answer;
    enum answer_state state = run->options.request.protocol->answer(c->answer, c->got, &answer);
    if (state != ANSWER_WHOLE)
        return state == ANSWER_PART;
    uint64_t now = now_us();
    judge(run, c, &answer, now);
    run->idle[run->idle_count++] = c;
    run->in_flight--;
    start_what_is_due(run, now);
    return true;
}

/* ---- the loop ------------------------------------------------------------ */

static void read_meter(const struct run *run, struct meter *ret_meter)
{
    *ret_meter = (struct meter){.at_us = now_us(), .own_cpu_us = cpu_us_own(), .idle_us = run->idle_us};
    if (run->options.server)
        ret_meter->server_cpu_us = cpu_us_of(run->options.server);
}

static void read_meters_in_time(struct run *run, uint64_t now)
{
    if (!run->from.at_us && now >= run->count_from_us)
        read_meter(run, &run->from);
    if (!run->to.at_us && !run->options.requests && now >= run->stop_us)
        read_meter(run, &run->to);
}

/* Until an event, the next request that is due, or the next reading of the meters. */
static int wait_for_events(struct run *run, struct epoll_event *events, uint64_t now)
{
    uint64_t wake = run->options.poll ? now : UINT64_MAX;
    if (run->idle_count > 0 && next_due(run, now) < wake)
        wake = next_due(run, now);
    if (!run->from.at_us && run->count_from_us < wake)
        wake = run->count_from_us;
    if (!run->to.at_us && !run->options.requests && run->stop_us < wake)
        wake = run->stop_us;
    uint64_t us = wake > now ? wake - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    return epoll_pwait2(run->epoll, events, EVENTS_AT_A_TIME, wake == UINT64_MAX ? NULL : &timeout, NULL);
}

static void handle_event(struct run *run, const struct epoll_event *event)
{
    struct connection *c = event->data.ptr;
    bool usable = true;
    if (event->events & EPOLLOUT)
        usable = send_rest(run, c);
    if (usable && event->events & ~(uint32_t)EPOLLOUT)
        usable = on_readable(run, c);
    if (!usable)
        break_off(run, c);
}

static bool has_more_to_do(const struct run *run, uint64_t now)
{
    if (run->in_flight > 0)
        return true;
    return next_due(run, now) != UINT64_MAX && run->broken < run->options.connections;
}

static void run_load(struct run *run)
{
    const struct options *o = &run->options;
    for (size_t i = 0; i < o->connections; i++)
        open_connection(run, &run->connections[i]);
    uint64_t now = run->start_us = now_us();
    run->count_from_us = now + (uint64_t)(o->warm_seconds * 1e6);
    run->stop_us = run->count_from_us + (uint64_t)(o->seconds * 1e6);
    while (has_more_to_do(run, now)) {
        read_meters_in_time(run, now);
        start_what_is_due(run, now);
        struct epoll_event events[EVENTS_AT_A_TIME];
        int n = wait_for_events(run, events, now);
        for (int i = 0; i < n; i++)
            handle_event(run, &events[i]);
        uint64_t then = now;
        now = now_us();
        if (n <= 0 && o->poll)
            run->idle_us += now - then < EMPTY_POLL_US_MAX ? now - then : EMPTY_POLL_US_MAX;
    }
    if (!run->to.at_us)
        read_meter(run, &run->to);
}

static void run_init(struct run *run)
{
    const struct options *o = &run->options;
    request_lay_out(&o->request, o->address, &run->request);
    if (o->expect) {
        pattern_init(&run->expect, o->expect, o->request.value_len, o->request.seed);
        run->wanted = strdup(run->expect.text);
    }
    run->connections = calloc(o->connections, sizeof *run->connections);
    run->idle = calloc(o->connections, sizeof(struct connection *));
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!run->connections || !run->idle || run->epoll < 0)
        die("start");
    run->random_state = 88172645463325252ull + o->request.seed; /* any but 0: the same keys in each run */
    prctl(PR_SET_TIMERSLACK, 1ul);                              /* ns: requests leave when they are due */
}

static void run_done(struct run *run)
{
    for (size_t i = 0; i < run->options.connections; i++) {
        close(run->connections[i].fd);
        free(run->connections[i].request);
        free(run->connections[i].answer);
    }
    close(run->epoll);
    free(run->connections);
    free(run->idle);
    free(run->wanted);
    pattern_done(&run->request);
    pattern_done(&run->expect);
}

/* Requests that were due and found no connection free. */
static uint64_t missed(const struct run *run)
{
    double due = run->options.rate * (run->options.seconds + run->options.warm_seconds);
    return due > (double)run->started ? (uint64_t)due - run->started : 0;
}

static void print_result(const struct run *run)
{
    uint64_t end = run->options.requests ? run->last_us : run->stop_us;
    double seconds = (double)(end - run->count_from_us) / 1e6;
    double metered = (double)(run->to.at_us - run->from.at_us);
    double own = (double)(run->to.own_cpu_us - run->from.own_cpu_us);
    double idle = (double)(run->to.idle_us - run->from.idle_us);
    printf("{\"requests\": %llu, \"sent\": %llu, \"broken\": %zu, \"unexpected\": %llu, \"missed\": %llu, "
           "\"seconds\": %.3f, \"per_second\": %.1f, \"bytes\": %llu, \"server_cpu_us\": %llu, "
           "\"server_busy\": %.4f, \"client_busy\": %.4f, \"us\": ",
           (unsigned long long)run->answers, (unsigned long long)run->started, run->broken,
           (unsigned long long)run->unexpected, (unsigned long long)missed(run), seconds,
           seconds > 0 ? (double)run->answers / seconds : 0.0, (unsigned long long)run->bytes,
           (unsigned long long)(run->to.server_cpu_us - run->from.server_cpu_us),
           metered > 0 ? (double)(run->to.server_cpu_us - run->from.server_cpu_us) / metered : 0.0,
           metered > 0 ? (own - idle) / metered : 0.0);
    histogram_print(&run->latency);
    printf("}\n");
    if (run->unexpected)
        fprintf(stderr, "unexpected answer: %s\n", run->first_unexpected);
}

int main(int argc, char **argv)
{
    static struct run run; /* the histogram is large */
    run.options = options_read(argc, argv);
    run_init(&run);
    run_load(&run);
    print_result(&run);
    run_done(&run);
    return run.broken || run.unexpected ? 1 : 0;
}
