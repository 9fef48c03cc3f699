/* The feed's thread: one round after the other, at the pace of watch_pace.h.
 *
 *     READY  ----- its step reaches the head ----->  HEAD
 *      ^  ^ \                                         |
 *      |  |  \-- node behind, walking --> WAITING     | its socket takes no more,
 *      |  |            (a commit) <--------/          | or a value is large: READY
 *      |  +--- its socket takes more --- BLOCKED <----+
 */
#include "check.h"
#include "exchange.h"
#include "mem.h"
#include "watch.h"
#include "watch_pace.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 256,
    LOOK_MS = 250,  /* at heartbeats that are due and readers that are stuck */
    RETRY_MS = 100, /* after the store could not be read. Nothing special about these values */
    /* Below the threads that write and answer: where cores are short, readers of changes
     * are the ones to wait. */
    NICE = 5,
    GIVE_WAY_SENDS = 8, /* some 60 us */
};

struct list {
    struct stream *first, *last;
    size_t count;
};

struct watch_feed {
    struct http *http;
    pthread_t thread;
    int wake_fd, epoll_fd;
    atomic_bool dirty; /* something was committed, or has come, since the last round began */
    atomic_bool awake; /* it will look at all that was done before this was set */
    atomic_bool ending;
    atomic_size_t open;
    pthread_mutex_t lock;
    struct stream *incoming; /* under the lock, by next; */
    struct watch_poll *polls;
    size_t polls_of[SPACE_NONE];
    /* The thread's own: */
    struct list streams[STREAM_STATES];
    size_t at_head[WATCH_VARIANTS], at_head_of[SPACE_NONE];
    struct feed_cursor head;
    bool has_head, continues, more;
    struct watch_batch batch;
    size_t pending; /* bytes in all streams' `out` */
    struct watch_pace pace;
    uint64_t looked_ms, retry_ms;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Of this thread. */
static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t wall_ms(const struct watch_feed *f)
{
    return f->http->backend.wall_ms(f->http->backend.ctx);
}

static void count_more(struct watch_feed *f, enum counter counter, uint64_t n)
{
    atomic_fetch_add_explicit(&f->http->counters[counter], n, memory_order_relaxed);
}

static void count_spaces(size_t of[SPACE_NONE], unsigned spaces, bool more)
{
    for (unsigned i = 0; i < SPACE_NONE; i++)
        if (spaces >> i & 1)
            of[i] += more ? 1 : SIZE_MAX; /* one less */
}

/* ---- streams and their states ------------------------------------------------------------ */

static void enlist(struct watch_feed *f, struct stream *s, enum stream_state state)
{
    struct list *list = &f->streams[state];
    s->state = state;
    s->prev = list->last;
    s->next = NULL;
    if (list->last)
        list->last->next = s;
    else
        list->first = s;
    list->last = s;
    list->count++;
    f->pending += s->out.len - s->out_at;
    if (state == STREAM_HEAD) {
        f->at_head[s->variant]++;
        count_spaces(f->at_head_of, s->range.spaces, true);
    }
}

static void delist(struct watch_feed *f, struct stream *s)
{
    struct list *list = &f->streams[s->state];
    if (s->prev)
        s->prev->next = s->next;
    else
        list->first = s->next;
    if (s->next)
        s->next->prev = s->prev;
    else
        list->last = s->prev;
    list->count--;
    if (s->state == STREAM_HEAD) {
        f->at_head[s->variant]--;
        count_spaces(f->at_head_of, s->range.spaces, false);
    }
}

/* Of a stream that is in no list. */
static void close_stream(struct watch_feed *f, struct stream *s)
{
    /* Closing is not enough: as long as the library still has its own descriptor of the
     * socket, epoll would go on telling of this one. */
    (void)!epoll_ctl(f->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    stream_free(s);
    atomic_fetch_sub(&f->open, 1);
}

static void drop(struct watch_feed *f, struct stream *s)
{
    count(f->http, COUNT_WATCHES_DROPPED);
    close_stream(f, s);
}

/* Puts a stream that is in no list where it belongs, after its socket took what it took. */
static void place(struct watch_feed *f, struct stream *s, enum stream_state where)
{
    if (s->out.len > s->out_at)
        where = STREAM_BLOCKED;
    else if (s->ends) {
        close_stream(f, s);
        return;
    }
    if (where == STREAM_BLOCKED && s->was_at_head && f->pending > WATCH_PENDING_MAX) {
        drop(f, s);
        return;
    }
    if (where == STREAM_HEAD) {
        s->was_at_head = true;
        if (s->cursor) {
            clock_join(&f->head.high, &s->cursor->high);
            feed_cursor_done(s->cursor);
            free(s->cursor);
            s->cursor = NULL;
        }
    }
    enlist(f, s, where);
}

static void flush_and_place(struct watch_feed *f, struct stream *s, enum stream_state where)
{
    if (stream_flush(s, now_ms()))
        place(f, s, where);
    else
        close_stream(f, s);
}

/* Off its list, and its bytes off the sum until it is in one again. */
static void pick_up(struct watch_feed *f, struct stream *s)
{
    f->pending -= s->out.len - s->out_at;
    delist(f, s);
}

static void end_with(struct watch_feed *f, struct stream *s, const struct feed_cursor *cursor)
{
    stream_note(s, "gone", "the cursor is older than this node's history: begin with a listing", cursor);
    watch_put_end(&s->out, s->variant);
    s->ends = true;
    count(f->http, COUNT_CURSORS_GONE);
}

/* ---- a round ---------------------------------------------------------------------------------- */

/* Bits of the spaces (feed.h) that somebody at the head reads, or a poll waits for. */
static unsigned spaces_at_head(struct watch_feed *f)
{
    unsigned spaces = 0;
    pthread_mutex_lock(&f->lock);
    for (unsigned i = 0; i < SPACE_NONE; i++)
        spaces |= (unsigned)(f->polls_of[i] || f->at_head_of[i]) << i;
    pthread_mutex_unlock(&f->lock);
    return spaces;
}

static enum err read_head(struct watch_feed *f, struct snapshot *snapshot, enum feed_end *ret_end)
{
    unsigned spaces = spaces_at_head(f);
    if (f->has_head && spaces) {
        enum err err = watch_batch_read(&f->batch, snapshot, wall_ms(f), f->continues, f->at_head, spaces,
                                        &f->head, ret_end);
        f->continues |= err == OK && *ret_end != FEED_WALKING;
        return err;
    }
    f->batch.count = 0;
    enum err err = feed_now(snapshot, &f->head);
    f->has_head = f->continues = err == OK;
    *ret_end = FEED_AT_HEAD;
    return err;
}

static enum err step_one(struct watch_feed *f, struct stream *s, struct snapshot *snapshot,
                         enum feed_end *ret_end)
{
    uint64_t events = 0;
    enum err err = stream_step(s, snapshot, wall_ms(f), ret_end, &events);
    count_more(f, COUNT_WATCH_EVENTS, events);
    if (err == OK && *ret_end == FEED_GONE)
        err = feed_anew(snapshot, s->cursor);
    return err;
}

static const char *why_waiting(enum feed_end end)
{
    return end == FEED_WALKING ? "this node is being filled"
                               : "this node has not seen all that the cursor stands for: it catches up first";
}

static enum stream_state state_after(struct watch_feed *f, struct stream *s, enum feed_end end,
                                     enum feed_end head_end)
{
    switch (end) {
    case FEED_AT_HEAD:
        return head_end == FEED_AT_HEAD ? STREAM_HEAD : STREAM_READY;
    case FEED_MORE:
        return STREAM_READY;
    case FEED_GONE:
        end_with(f, s, s->cursor);
        return STREAM_BLOCKED;
    case FEED_BEHIND:
    case FEED_WALKING:
        break;
    }
    if (!s->told_behind)
        stream_note(s, "behind", why_waiting(end), NULL);
    s->told_behind = true;
    return STREAM_WAITING;
}

/* Those that were READY, stepped and not yet sent to: the state each goes to, in `state`. */
static struct list step_ready(struct watch_feed *f, struct snapshot *snapshot, enum feed_end head_end)
{
    struct list stepped = {0};
    uint64_t until_ms = now_ms() + WATCH_ROUND_MS;
    for (size_t n = f->streams[STREAM_READY].count; n > 0; n--) {
        if (f->pending > WATCH_PENDING_MAX || now_ms() > until_ms)
            break;
        struct stream *s = f->streams[STREAM_READY].first;
        enum feed_end end = FEED_MORE;
        pick_up(f, s);
        enum err err = step_one(f, s, snapshot, &end);
        if (err != OK) { /* of the engine; it is tried again */
            enlist(f, s, STREAM_READY);
            f->retry_ms = now_ms() + RETRY_MS;
            break;
        }
        s->state = state_after(f, s, end, head_end);
        f->pending += s->out.len - s->out_at; /* until it is sent */
        s->next = stepped.first;
        stepped.first = s;
    }
    return stepped;
}

static void send_stepped(struct watch_feed *f, struct list stepped)
{
    for (struct stream *s = stepped.first, *next; s; s = next) {
        next = s->next;
        f->pending -= s->out.len - s->out_at;
        flush_and_place(f, s, s->state);
    }
}

/* A round of a thousand streams is some milliseconds of sends. A thread that is woken may
 * have to wait until this one's slice is over, or the next tick, whatever its priority: so
 * it is given up now and then. */
static void give_way(size_t sent)
{
    if (sent % GIVE_WAY_SENDS == 0)
        sched_yield();
}

static void give_batch(struct watch_feed *f)
{
    uint64_t events = 0, at_ms = now_ms(), spent_us = cpu_us();
    size_t sent = 0;
    if (f->batch.count == 0)
        return;
    for (struct stream *s = f->streams[STREAM_HEAD].first, *next; s; s = next) {
        next = s->next;
        give_way(++sent);
        bool there = stream_give(s, &f->batch, at_ms, &events);
        if (there && !s->cursor)
            continue;
        delist(f, s);
        if (!there) {
            close_stream(f, s);
            continue;
        }
        /* Where nothing is left over its socket may still take more: then it says so. */
        place(f, s, f->batch.has_large ? STREAM_READY : STREAM_BLOCKED);
    }
    watch_pace_sent(&f->pace, now_ms(), cpu_us() - spent_us);
    count_more(f, COUNT_WATCH_EVENTS, events);
}

/* History went away under the feed itself: all that stand at the head list again. */
static void end_head(struct watch_feed *f, const struct feed_cursor *anew)
{
    struct stream *s;
    while ((s = f->streams[STREAM_HEAD].first)) {
        pick_up(f, s);
        s->cursor = mem_new(sizeof *s->cursor);
        feed_cursor_copy(s->cursor, anew);
        end_with(f, s, anew);
        flush_and_place(f, s, STREAM_BLOCKED);
    }
    f->has_head = false;
}

static bool wakes(const struct watch_feed *f, const struct watch_poll *p, enum feed_end head_end)
{
    struct watch_range range = watch_range_of(&p->x->params);
    if (head_end == FEED_WALKING)
        return false;
    if (head_end == FEED_GONE)
        return true;
    if (p->behind)
        return head_end == FEED_AT_HEAD && clock_covers(&f->head.low, &p->cursor.high);
    return (p->fresh && !clock_equal(&p->cursor.low, &f->head.low)) || watch_batch_touches(&f->batch, &range);
}

/* What epoll tells of: a stream, a poll, which has the lowest bit set, or the wake-up: 0. */
enum { EPOLL_POLL = 1 };

static uint64_t tag_of_poll(const struct watch_poll *p)
{
    return (uintptr_t)p | EPOLL_POLL;
}

/* Under the lock, as the next one. */
static void link_poll(struct watch_feed *f, struct watch_poll *p)
{
    struct epoll_event event = {.events = EPOLLRDHUP, .data.u64 = tag_of_poll(p)};
    p->listed = p->fresh = true;
    count_spaces(f->polls_of, params_spaces(&p->x->params), true);
    p->prev = NULL;
    p->next = f->polls;
    if (f->polls)
        f->polls->prev = p;
    f->polls = p;
    (void)!epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, p->fd, &event); /* else it waits to its end */
}

static void unlink_poll(struct watch_feed *f, struct watch_poll *p)
{
    (void)!epoll_ctl(f->epoll_fd, EPOLL_CTL_DEL, p->fd, NULL);
    if (p->prev)
        p->prev->next = p->next;
    else
        f->polls = p->next;
    if (p->next)
        p->next->prev = p->prev;
    p->listed = false;
    count_spaces(f->polls_of, params_spaces(&p->x->params), false);
}

static void wake_polls(struct watch_feed *f, enum feed_end head_end, bool all)
{
    bool woken = false;
    pthread_mutex_lock(&f->lock);
    for (struct watch_poll *p = f->polls, *next; p; p = next) {
        next = p->next;
        if (all || wakes(f, p, head_end)) {
            unlink_poll(f, p);
            woken |= parking_resume(p->x, NULL, NULL);
        }
        p->fresh = false;
    }
    pthread_mutex_unlock(&f->lock);
    if (woken)
        workers_wake(f->http);
}

/* The poll may be gone by now, and another one be where it was: so the socket is asked. */
static void on_hang_up(struct watch_feed *f, uint64_t tag)
{
    bool woken = false;
    pthread_mutex_lock(&f->lock);
    struct watch_poll *p = f->polls;
    while (p && tag_of_poll(p) != tag)
        p = p->next;
    if (p && poll(&(struct pollfd){.fd = p->fd, .events = POLLRDHUP}, 1, 0) > 0) {
        p->hung_up = true;
        unlink_poll(f, p);
        woken = parking_resume(p->x, NULL, NULL);
    }
    pthread_mutex_unlock(&f->lock);
    if (woken)
        workers_wake(f->http);
}

static void move_all(struct watch_feed *f, enum stream_state from, enum stream_state to)
{
    struct stream *s;
    while ((s = f->streams[from].first)) {
        pick_up(f, s);
        enlist(f, s, to);
    }
}

static void run_round(struct watch_feed *f)
{
    struct snapshot *snapshot;
    struct feed_cursor anew = {0};
    enum feed_end head_end = FEED_MORE;
    uint64_t begun_ms = now_ms();
    watch_pace_begin(&f->pace, begun_ms);
    if (atomic_exchange(&f->dirty, false))
        move_all(f, STREAM_WAITING, STREAM_READY);
    enum err err = snapshot_open(f->http->backend.store, &snapshot);
    if (err != OK) {
        atomic_store(&f->dirty, true);
        f->retry_ms = begun_ms + RETRY_MS;
        return;
    }
    err = read_head(f, snapshot, &head_end);
    struct list stepped = {0};
    if (err == OK && head_end == FEED_GONE) {
        feed_cursor_copy(&anew, &f->head);
        err = feed_anew(snapshot, &anew);
    } else if (err == OK) {
        stepped = step_ready(f, snapshot, head_end);
    }
    snapshot_close(snapshot);
    if (err != OK) {
        atomic_store(&f->dirty, true);
        f->retry_ms = begun_ms + RETRY_MS;
    } else if (head_end == FEED_GONE) {
        end_head(f, &anew);
        atomic_store(&f->dirty, true); /* a new head for the polls */
    } else {
        give_batch(f);
        send_stepped(f, stepped);
    }
    if (err == OK)
        wake_polls(f, head_end, false);
    f->more = err == OK && head_end == FEED_MORE;
    feed_cursor_done(&anew);
}

/* ---- heartbeats, and readers that are stuck ---------------------------------------------- */

static uint64_t heartbeat_ms(const struct watch_feed *f)
{
    uint64_t set = f->http->options.watch_heartbeat_ms;
    return set ? set : WATCH_HEARTBEAT_MS;
}

static void beat(struct watch_feed *f, enum stream_state state, uint64_t at_ms)
{
    for (struct stream *s = f->streams[state].first, *next; s; s = next) {
        next = s->next;
        if (at_ms - s->sent_ms < heartbeat_ms(f))
            continue;
        pick_up(f, s);
        bool at_head = !s->cursor;
        stream_note(s, "heartbeat", NULL, at_head ? &f->head : s->cursor);
        if (!stream_flush(s, at_ms)) {
            close_stream(f, s);
            continue;
        }
        if (at_head && s->out.len > s->out_at) {
            s->cursor = mem_new(sizeof *s->cursor);
            feed_cursor_copy(s->cursor, &f->head);
            s->continues = true;
        }
        place(f, s, state);
    }
}

static bool is_stuck(const struct watch_feed *f, const struct stream *s, uint64_t at_ms)
{
    uint64_t lag_max = f->http->options.watch_lag_max;
    if (at_ms - s->blocked_ms > f->http->options.request_timeout_ms)
        return true;
    if (!s->was_at_head || !f->has_head || !lag_max)
        return false;
    uint64_t head = clock_sum(&f->head.low), low = clock_sum(&s->cursor->low);
    return head > low && head - low > lag_max;
}

static void look(struct watch_feed *f)
{
    uint64_t at_ms = now_ms();
    f->looked_ms = at_ms;
    for (struct stream *s = f->streams[STREAM_BLOCKED].first, *next; s; s = next) {
        next = s->next;
        if (!is_stuck(f, s, at_ms))
            continue;
        pick_up(f, s);
        drop(f, s);
    }
    if (f->has_head)
        beat(f, STREAM_HEAD, at_ms);
    beat(f, STREAM_WAITING, at_ms);
}

/* ---- the thread ---------------------------------------------------------------------------------- */

static void on_socket(struct watch_feed *f, struct stream *s, uint32_t events)
{
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        pick_up(f, s);
        close_stream(f, s);
    } else if (events & EPOLLOUT && s->state == STREAM_BLOCKED) {
        pick_up(f, s);
        flush_and_place(f, s, STREAM_READY);
    }
}

static void prepare_socket(const struct watch_feed *f, int fd)
{
    int on = 1, size = WATCH_SEND_BUFFER;
    unsigned timeout_ms = (unsigned)f->http->options.request_timeout_ms;
    /* Each may fail, and the stream is only less well served. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

static void take_incoming(struct watch_feed *f)
{
    pthread_mutex_lock(&f->lock);
    struct stream *s = f->incoming;
    f->incoming = NULL;
    pthread_mutex_unlock(&f->lock);
    for (struct stream *next; s; s = next) {
        next = s->next;
        /* Edges only: what a client sends is never read, and room is told once. */
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
        prepare_socket(f, s->fd);
        if (epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, s->fd, &event) != 0)
            close_stream(f, s);
        else
            flush_and_place(f, s, STREAM_READY);
    }
}

static bool has_work(const struct watch_feed *f)
{
    return atomic_load(&f->dirty) || f->more ||
           (f->streams[STREAM_READY].count && f->pending <= WATCH_PENDING_MAX);
}

static uint64_t round_at(const struct watch_feed *f)
{
    uint64_t at = watch_pace_next(&f->pace, f->more, f->streams[STREAM_READY].count > 0);
    return at > f->retry_ms ? at : f->retry_ms;
}

static bool has_streams(const struct watch_feed *f)
{
    for (size_t i = 0; i < STREAM_STATES; i++)
        if (f->streams[i].count)
            return true;
    return false;
}

static uint64_t look_at(const struct watch_feed *f)
{
    uint64_t every = heartbeat_ms(f) / 4;
    return f->looked_ms + (every < LOOK_MS ? every : f->streams[STREAM_BLOCKED].count ? LOOK_MS : 1000);
}

static int sleep_ms(struct watch_feed *f)
{
    uint64_t until = UINT64_MAX, at = now_ms();
    if (!has_work(f))
        atomic_store(&f->awake, false); /* what comes from here on wakes */
    if (has_work(f) || atomic_load(&f->ending))
        until = atomic_load(&f->ending) ? 0 : round_at(f);
    if (has_streams(f) && look_at(f) < until)
        until = look_at(f);
    if (until == UINT64_MAX)
        return -1;
    return until > at ? (int)(until - at) : 0;
}

static void end_all(struct watch_feed *f)
{
    take_incoming(f);
    for (size_t i = 0; i < STREAM_STATES; i++) {
        struct stream *s;
        while ((s = f->streams[i].first)) {
            pick_up(f, s);
            watch_put_end(&s->out, s->variant);
            (void)!stream_flush(s, 0); /* what the socket takes at once */
            close_stream(f, s);
        }
    }
    wake_polls(f, FEED_AT_HEAD, true);
}

static void *serve(void *arg)
{
    struct watch_feed *f = arg;
    struct epoll_event events[EVENTS_MAX];
    setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    while (!atomic_load(&f->ending)) {
        int count = epoll_wait(f->epoll_fd, events, EVENTS_MAX, sleep_ms(f));
        atomic_store(&f->awake, true);
        for (int i = 0; i < count; i++) {
            eventfd_t times;
            if (events[i].data.u64 & EPOLL_POLL)
                on_hang_up(f, events[i].data.u64);
            else if (events[i].data.ptr)
                on_socket(f, events[i].data.ptr, events[i].events);
            else
                (void)!eventfd_read(f->wake_fd, &times);
        }
        take_incoming(f);
        if (has_work(f) && now_ms() >= round_at(f))
            run_round(f);
        if (has_streams(f) && now_ms() >= look_at(f))
            look(f);
    }
    end_all(f);
    return NULL;
}

static void wake(struct watch_feed *f)
{
    atomic_store(&f->dirty, true);
    if (!atomic_exchange(&f->awake, true))
        (void)!eventfd_write(f->wake_fd, 1);
}

/* ---- for other threads ------------------------------------------------------------------------------ */

void watch_feed_start(struct http *http)
{
    struct watch_feed *f = mem_new(sizeof *f);
    f->http = http;
    http->feed = f;
    pthread_mutex_init(&f->lock, NULL);
    watch_batch_init(&f->batch);
    f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    f->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    CHECK(f->epoll_fd >= 0 && f->wake_fd >= 0);
    CHECK(epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, f->wake_fd, &event) == 0);
    CHECK(pthread_create(&f->thread, NULL, serve, f) == 0);
}

void watch_feed_stop(struct http *http)
{
    struct watch_feed *f = http->feed;
    pthread_mutex_lock(&f->lock);
    atomic_store(&f->ending, true);
    pthread_mutex_unlock(&f->lock);
    wake(f);
    CHECK(pthread_join(f->thread, NULL) == 0);
}

void watch_feed_free(struct http *http)
{
    struct watch_feed *f = http->feed;
    if (!f)
        return;
    close(f->epoll_fd);
    close(f->wake_fd);
    watch_batch_done(&f->batch);
    feed_cursor_done(&f->head);
    pthread_mutex_destroy(&f->lock);
    free(f);
    http->feed = NULL;
}

void watch_feed_on_commit(struct http *http)
{
    if (atomic_load(&http->feed->open) > 0)
        wake(http->feed);
}

size_t watch_feed_open(const struct http *http)
{
    return atomic_load(&http->feed->open);
}

bool watch_feed_enter(struct http *http)
{
    struct watch_feed *f = http->feed;
    if (atomic_fetch_add(&f->open, 1) < http->options.watchers_max && !atomic_load(&f->ending))
        return true;
    atomic_fetch_sub(&f->open, 1);
    return false;
}

void watch_feed_leave(struct http *http)
{
    atomic_fetch_sub(&http->feed->open, 1);
}

void watch_feed_add(struct http *http, struct stream *stream)
{
    struct watch_feed *f = http->feed;
    pthread_mutex_lock(&f->lock);
    bool ending = atomic_load(&f->ending);
    if (!ending) {
        stream->next = f->incoming;
        f->incoming = stream;
    }
    pthread_mutex_unlock(&f->lock);
    if (ending)
        close_stream(f, stream);
    else
        wake(f);
}

void watch_feed_list(struct http *http, struct watch_poll *poll)
{
    struct watch_feed *f = http->feed;
    pthread_mutex_lock(&f->lock);
    bool ending = atomic_load(&f->ending);
    if (!ending)
        link_poll(f, poll);
    pthread_mutex_unlock(&f->lock);
    if (!ending) {
        wake(f);
    } else if (parking_resume(poll->x, NULL, NULL)) {
        workers_wake(http);
    }
}

void watch_feed_unlist(struct http *http, struct watch_poll *poll)
{
    struct watch_feed *f = http->feed;
    pthread_mutex_lock(&f->lock);
    if (poll->listed)
        unlink_poll(f, poll);
    pthread_mutex_unlock(&f->lock);
}
