#include "cluster_state.h"

#include "check.h"
#include "mem.h"
#include "sockaddr.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* A name that the system's resolver has not given back by then is left to it. */
enum {
    ABANDON_MS = 1000,
    LONG_STEP_US =
        300,      /* a peer's bulk: after it whoever waits for this core with a client's write goes first */
    LATE_MS = 50, /* of a deadline: longer than a turn of the loop, shorter than any timeout */
};

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- effects ---------------------------------------------------------------- */

/* Gossip is made for losses: what the system has no room for is not queued. */
static void send_datagram(struct cluster *c, const struct effect *effect)
{
    struct sockaddr_storage to;
    uv_buf_t bytes = uv_buf_init((char *)effect->bytes.data, (unsigned)effect->bytes.len);
    int rc = sockaddr_of(&effect->to, c->family, &to)
                 ? uv_udp_try_send(&c->udp, &bytes, 1, (const struct sockaddr *)&to)
                 : UV_EAFNOSUPPORT;
    net_count(c, rc >= 0 ? NET_DATAGRAMS_SENT : NET_DATAGRAMS_UNSENT, 1);
    if (rc >= 0)
        net_count(c, NET_DATAGRAM_BYTES_SENT, effect->bytes.len);
    else if (rc != UV_EAGAIN && rc != UV_ENOBUFS && c->unreachable_count < UNREACHABLE_MAX)
        c->unreachable[c->unreachable_count++] = effect->to;
}

/* A work that is refused comes back like one that has failed. */
static void submit(struct cluster *c, const struct effect *effect)
{
    struct store_work *work = effect->work;
    work->ticket = effect->ticket;
    work->done = inbox_take_work;
    work->ctx = c;
    enum err err = committer_submit(c->committer, work);
    if (err == OK)
        return;
    work->err = err;
    inbox_take_work(work);
}

/* A resolve under way: which of the node's it is. */
struct resolving {
    struct cluster *cluster;
    uint64_t ticket;
};

static void on_resolved(void *ctx, const struct addr *addrs, size_t count, const char *problem)
{
    struct resolving *resolving = ctx;
    cluster_step(resolving->cluster, &(struct node_event){.kind = NODE_RESOLVED,
                                                          .ticket = resolving->ticket,
                                                          .addrs = addrs,
                                                          .addr_count = count,
                                                          .text = problem});
    free(resolving);
}

static void resolve(struct cluster *c, const struct effect *effect)
{
    struct resolving *resolving = mem_new(sizeof *resolving);
    *resolving = (struct resolving){.cluster = c, .ticket = effect->ticket};
    resolve_start(&c->resolves, &c->loop, effect->target, DEFAULT_GOSSIP_PORT,
                  c->family == AF_INET ? AF_INET : AF_UNSPEC, on_resolved, resolving);
}

static void run_effect(struct cluster *c, struct effect *effect)
{
    switch (effect->kind) {
    case EFFECT_DATAGRAM:
        send_datagram(c, effect);
        break;
    case EFFECT_STREAM_OPEN:
        conn_open(c, effect);
        break;
    case EFFECT_STREAM_SEND:
        conn_send(c, effect->stream, &effect->bytes);
        break;
    case EFFECT_STREAM_CLOSE:
        conn_close(c, effect->stream);
        break;
    case EFFECT_STREAM_PAUSE:
    case EFFECT_STREAM_RESUME:
        conn_pause(c, effect->stream, effect->kind == EFFECT_STREAM_PAUSE);
        break;
    case EFFECT_NOTICE:
        c->options.log(effect->level, bytes_str(effect->text));
        break;
    case EFFECT_STORE:
        submit(c, effect);
        break;
    case EFFECT_RESOLVE:
        resolve(c, effect);
        break;
    case EFFECT_REPLY:
        inbox_reply(c, effect->ticket, effect->reply);
        break;
    }
}

/* ---- the step ----------------------------------------------------------------- */

/* After a pause of the process (stopped, swapped out, a busy machine) answers wait in
 * the sockets that libuv would read only after its timers; a deadline that is late gives
 * them one turn of the loop, so that an answer which was in time does not count as
 * silence (cf. Lifeguard IV-A: slow message processing makes false positives). */
static void on_timer(uv_timer_t *timer)
{
    struct cluster *c = timer->data;
    uint64_t due_ms = node_deadline(c->node);
    if (!c->sockets_first && due_ms < now_ms() && now_ms() - due_ms > LATE_MS) {
        c->sockets_first = true;
        uv_update_time(&c->loop);
        uv_timer_start(timer, on_timer, 1, 0); /* 0 would come before the sockets again */
        return;
    }
    c->sockets_first = false;
    cluster_step(c, &(struct node_event){.kind = NODE_TICK});
}

static void arm_timer(struct cluster *c)
{
    uint64_t at_ms = node_deadline(c->node), now = now_ms();
    if (at_ms == UINT64_MAX) {
        uv_timer_stop(&c->timer);
        return;
    }
    uv_update_time(&c->loop); /* the timer counts from there */
    uv_timer_start(&c->timer, on_timer, at_ms > now ? at_ms - now : 0, 0);
}

static void step(struct cluster *c, struct node_event *event)
{
    CHECK(!c->stepping);
    c->stepping = true;
    struct effects out = {0};
    event->now_us = uv_hrtime() / 1000;
    event->now_ms = event->now_us / 1000;
    event->wall_ms = wall_ms();
    node_step(c->node, event, &out);
    for (size_t i = 0; i < out.count; i++)
        run_effect(c, &out.list[i]);
    effects_done(&out);
    c->stepping = false;
    if (uv_hrtime() / 1000 - event->now_us > LONG_STEP_US)
        sched_yield();
    if (reach_look(&c->reach, c->node, event->kind == NODE_TICK) && c->options.on_replicas)
        c->options.on_replicas(c->options.ctx);
}

void cluster_look_at_store(struct cluster *c)
{
    if (c->deaf || !atomic_exchange(&c->inbox.changed, false))
        return;
    step(c, &(struct node_event){.kind = NODE_STORE_CHANGED});
    arm_timer(c);
}

/* What could not be sent is news for the node too. */
void cluster_step(struct cluster *c, struct node_event *event)
{
    if (c->deaf)
        return;
    if (event->kind != NODE_STORED) /* those are told in order, and what they changed with them */
        cluster_look_at_store(c);
    step(c, event);
    for (size_t i = 0; i < c->unreachable_count; i++)
        step(c, &(struct node_event){.kind = NODE_UNREACHABLE, .from = c->unreachable[i]});
    c->unreachable_count = 0;
    arm_timer(c);
}

/* ---- the loop ------------------------------------------------------------------- */

void cluster_read_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct cluster *c = handle->loop->data;
    *ret = uv_buf_init((char *)c->read_buffer, sizeof c->read_buffer);
}

static void on_datagram(uv_udp_t *udp, ssize_t n, const uv_buf_t *bytes, const struct sockaddr *from,
                        unsigned flags)
{
    struct cluster *c = udp->data;
    if (n <= 0 || !from || (flags & UV_UDP_PARTIAL))
        return; /* an ICMP error of what we sent, nothing more to read, or an empty packet */
    net_count(c, NET_DATAGRAMS_RECEIVED, 1);
    cluster_step(c, &(struct node_event){.kind = NODE_DATAGRAM,
                                         .from = addr_of_sockaddr(from),
                                         .bytes = bytes_of(bytes->base, (size_t)n)});
}

static void close_unless_closing(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void on_abandon(uv_timer_t *timer)
{
    struct cluster *c = timer->data;
    c->abandoned = true;
    uv_stop(&c->loop);
}

/* From here on the node hears nothing any more, and all sockets close. */
static void end(struct cluster *c)
{
    c->deaf = c->ending = true;
    inbox_close(c);
    conn_drop_all(c);
    resolve_cancel_all(&c->resolves);
    uv_handle_t *handles[] = {(uv_handle_t *)&c->udp, (uv_handle_t *)&c->gossip,
                              (uv_handle_t *)&c->replication, (uv_handle_t *)&c->timer,
                              (uv_handle_t *)&c->wake};
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++)
        close_unless_closing(handles[i]);
    uv_timer_start(&c->abandon, on_abandon, ABANDON_MS, 0);
    uv_unref((uv_handle_t *)&c->abandon); /* does not keep the loop alive */
}

static void on_wake(uv_async_t *wake)
{
    struct cluster *c = wake->data;
    inbox_empty(c);
    pthread_mutex_lock(&c->inbox.lock);
    bool stopping = c->inbox.stopping;
    pthread_mutex_unlock(&c->inbox.lock);
    if (stopping && !c->ending)
        end(c);
}

static void *cluster_main(void *arg)
{
    struct cluster *c = arg;
    arm_timer(c);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------- */

enum err cluster_open(const struct cluster_options *options, struct cluster **ret, struct buf *why)
{
    struct cluster *c = mem_new(sizeof *c);
    c->options = *options;
    c->deaf = true;
    c->bind_address = mem_text(options->bind_address);
    c->next_accepted = 1; /* odd: the node names those it opens with even numbers */
    inbox_init(&c->inbox);
    reach_init(&c->reach);
    CHECK(uv_loop_init(&c->loop) == 0);
    c->loop.data = c;
    enum err err = cluster_bind(c, why);
    if (err != OK) {
        uv_run(&c->loop, UV_RUN_DEFAULT); /* connections that came meanwhile, to be closed */
        CHECK(uv_loop_close(&c->loop) == 0);
        inbox_done(&c->inbox);
        reach_done(&c->reach);
        free(c->bind_address);
        free(c);
        return err;
    }
    CHECK(uv_timer_init(&c->loop, &c->timer) == 0);
    CHECK(uv_timer_init(&c->loop, &c->abandon) == 0);
    CHECK(uv_async_init(&c->loop, &c->wake, on_wake) == 0);
    c->timer.data = c->abandon.data = c->wake.data = c;
    *ret = c;
    return OK;
}

uint16_t cluster_gossip_port(const struct cluster *c)
{
    return c->gossip_port;
}

uint16_t cluster_replication_port(const struct cluster *c)
{
    return c->replication_port;
}

enum err cluster_start(struct cluster *c, const struct node_config *config, struct store *store,
                       struct committer *committer)
{
    CHECK(!c->node);
    enum err err = node_new(config, store, now_ms(), wall_ms(), &c->node);
    if (err != OK)
        return err;
    c->committer = committer;
    c->deaf = false;
    c->inbox.open = true;
    CHECK(uv_udp_recv_start(&c->udp, cluster_read_buffer, on_datagram) == 0);
    /* Signals are the main thread's; the resolver's threads inherit this too. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    CHECK(pthread_create(&c->thread, NULL, cluster_main, c) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    c->running = true;
    return OK;
}

bool cluster_stop(struct cluster *c)
{
    if (c->running) {
        pthread_mutex_lock(&c->inbox.lock);
        c->inbox.stopping = true;
        pthread_mutex_unlock(&c->inbox.lock);
        uv_async_send(&c->wake);
        CHECK(pthread_join(c->thread, NULL) == 0);
        c->running = false;
    } else if (!c->ending) {
        end(c);
        uv_run(&c->loop, UV_RUN_DEFAULT);
    }
    return !c->abandoned;
}

void cluster_free(struct cluster *c)
{
    if (!c || !cluster_stop(c))
        return;
    uv_close((uv_handle_t *)&c->abandon, NULL);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&c->loop) == 0);
    node_free(c->node);
    inbox_done(&c->inbox);
    reach_done(&c->reach);
    free(c->bind_address);
    free(c);
}

void cluster_replicas(struct cluster *c, const struct dot *dot, unsigned *ret_known, unsigned *ret_having)
{
    reach_of(&c->reach, dot, ret_known, ret_having);
}

void cluster_counters(const struct cluster *c, void (*each)(void *each_ctx, const char *name, uint64_t value),
                      void *each_ctx)
{
    static const char *const names[NET_COUNTERS] = {
        [NET_DATAGRAMS_RECEIVED] = "net_datagrams_received",
        [NET_DATAGRAMS_SENT] = "net_datagrams_sent",
        [NET_DATAGRAMS_UNSENT] = "net_datagrams_unsent",
        [NET_DATAGRAM_BYTES_SENT] = "net_datagram_bytes_sent",
        [NET_BYTES_RECEIVED] = "net_stream_bytes_received",
        [NET_BYTES_SENT] = "net_stream_bytes_sent",
        [NET_ACCEPTED] = "net_connections_accepted",
        [NET_REFUSED] = "net_connections_refused",
        [NET_ACCEPT_ERRORS] = "net_accept_errors",
        [NET_CONNECTED] = "net_connections_opened",
        [NET_CONNECT_FAILURES] = "net_connect_failures",
        [NET_REQUESTS_REFUSED] = "net_requests_refused",
    };
    for (size_t i = 0; i < NET_COUNTERS; i++)
        each(each_ctx, names[i], atomic_load_explicit(&c->counters[i], memory_order_relaxed));
}
