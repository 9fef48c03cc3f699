/* Streams of the node as TCP connections.
 *
 *             open                 name known            connected
 *   (opened) ------> RESOLVING ------------> CONNECTING -----------> OPEN <--- (accepted)
 *                        |                      | ^                  |  |
 *                        |                      +-+ next address     |  | closed by the node
 *                        |                      |                    |  v
 *                        +---- failed, or closed by the node --------+ LEAVING
 *                                               |                        |
 *                                               v                        |
 *                                             GONE <---------------------+
 *
 * LEAVING: what is queued leaves, then our direction ends, and whatever still
 * comes is read and thrown away until the other side ends too. Closing at once,
 * with bytes unread, would make the kernel send a reset, and that destroys at the
 * other side what it has not read yet: our last frame.
 *
 * GONE: the handles close. Their last callback is from where the node is told,
 * if it did not close the stream itself, so that a failure never comes in the
 * middle of the step that caused it. */
#include "cluster_state.h"

#include "check.h"
#include "mem.h"
#include "sockaddr.h"

#include <stdlib.h>

enum conn_state { CONN_RESOLVING, CONN_CONNECTING, CONN_OPEN, CONN_LEAVING, CONN_GONE };

struct conn {
    struct cluster *cluster;
    uint64_t stream;
    enum conn_state state;
    bool accepted;
    bool tell;           /* the node is to hear that it has closed: */
    const char *problem; /* why; constant */
    uv_tcp_t tcp;
    bool tcp_made;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_shutdown_t shutdown;
    unsigned pending; /* handles to be closed, and the resolver: the last one frees */
    size_t queued;    /* bytes */
    struct addr addrs[RESOLVED_MAX];
    size_t addr_count, addr_at;
    struct conn *next; /* in its bucket */
};

struct conn_write {
    uv_write_t request;
    struct conn *conn;
    struct buf bytes;
};

/* ---- the table ---------------------------------------------------------------- */

static struct conn **bucket_of(struct cluster *c, uint64_t stream)
{
    return &c->conns[stream / 2 % CONN_BUCKETS];
}

static struct conn *find(struct cluster *c, uint64_t stream)
{
    struct conn *conn = *bucket_of(c, stream);
    while (conn && conn->stream != stream)
        conn = conn->next;
    return conn;
}

static void move(struct conn *conn, enum conn_state to)
{
#define TO(state) (1u << (state))
    static const unsigned legal[] = {
        [CONN_RESOLVING] = TO(CONN_CONNECTING) | TO(CONN_GONE),
        [CONN_CONNECTING] = TO(CONN_OPEN) | TO(CONN_GONE),
        [CONN_OPEN] = TO(CONN_LEAVING) | TO(CONN_GONE),
        [CONN_LEAVING] = TO(CONN_GONE),
        [CONN_GONE] = 0,
    };
    CHECK(legal[conn->state] & TO(to));
    conn->state = to;
#undef TO
}

static struct conn *conn_new(struct cluster *c, uint64_t stream, enum conn_state state)
{
    CHECK(!find(c, stream));
    struct conn *conn = mem_new(sizeof *conn);
    struct conn **bucket = bucket_of(c, stream);
    *conn = (struct conn){.cluster = c, .stream = stream, .state = state, .pending = 1, .next = *bucket};
    *bucket = conn;
    atomic_fetch_add(&c->streams, 1);
    CHECK(uv_timer_init(&c->loop, &conn->timer) == 0);
    conn->timer.data = conn;
    return conn;
}

static void make_tcp(struct conn *conn)
{
    CHECK(uv_tcp_init(&conn->cluster->loop, &conn->tcp) == 0);
    conn->tcp.data = conn;
    conn->tcp_made = true;
    conn->pending++;
}

/* One of what was pending has ended. */
static void release(struct conn *conn)
{
    struct cluster *c = conn->cluster;
    if (--conn->pending > 0)
        return;
    CHECK(conn->state == CONN_GONE);
    struct conn **link = bucket_of(c, conn->stream);
    while (*link != conn)
        link = &(*link)->next;
    *link = conn->next;
    c->accepted_count -= conn->accepted;
    atomic_fetch_sub(&c->streams, 1);
    if (conn->tell)
        cluster_step(c, &(struct node_event){
                            .kind = NODE_STREAM_CLOSED, .stream = conn->stream, .text = conn->problem});
    free(conn);
}

/* ---- ending --------------------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static void on_tcp_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    conn->tcp_made = false;
    release(conn);
}

static void drop(struct conn *conn)
{
    if (conn->state == CONN_GONE)
        return;
    move(conn, CONN_GONE);
    uv_close((uv_handle_t *)&conn->timer, on_timer_closed);
    if (conn->tcp_made && !uv_is_closing((uv_handle_t *)&conn->tcp))
        uv_close((uv_handle_t *)&conn->tcp, on_tcp_closed);
}

/* Ended by the other side, by the network or by time; the node is told, unless it
 * has closed the stream. */
static void fail(struct conn *conn, const char *problem)
{
    if (conn->state == CONN_GONE)
        return;
    if (conn->state == CONN_RESOLVING || conn->state == CONN_CONNECTING)
        net_count(conn->cluster, NET_CONNECT_FAILURES, 1);
    conn->tell = conn->state != CONN_LEAVING;
    conn->problem = problem;
    drop(conn);
}

static void on_time(uv_timer_t *timer)
{
    fail(timer->data, uv_strerror(UV_ETIMEDOUT));
}

/* ---- reading and writing ---------------------------------------------------------- */

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    struct conn *conn = stream->data;
    if (n < 0) {
        fail(conn, n == UV_EOF ? "closed by the other side" : uv_strerror((int)n));
    } else if (n > 0 && conn->state == CONN_OPEN) {
        net_count(conn->cluster, NET_BYTES_RECEIVED, (uint64_t)n);
        cluster_step(conn->cluster, &(struct node_event){.kind = NODE_STREAM_DATA,
                                                         .stream = conn->stream,
                                                         .bytes = bytes_of(bytes->base, (size_t)n)});
    }
}

static void start_reading(struct conn *conn)
{
    int rc = uv_read_start((uv_stream_t *)&conn->tcp, cluster_read_buffer, on_read);
    if (rc < 0 && rc != UV_EALREADY)
        fail(conn, uv_strerror(rc));
}

static void on_written(uv_write_t *request, int status)
{
    struct conn_write *write = request->data;
    struct conn *conn = write->conn;
    conn->queued -= write->bytes.len;
    if (status == 0)
        net_count(conn->cluster, NET_BYTES_SENT, write->bytes.len);
    buf_done(&write->bytes);
    free(write);
    if (status < 0)
        fail(conn, uv_strerror(status));
    else if (conn->state == CONN_OPEN)
        cluster_step(conn->cluster, &(struct node_event){.kind = NODE_STREAM_DRAINED,
                                                         .stream = conn->stream,
                                                         .queued = conn->queued});
}

void conn_send(struct cluster *c, uint64_t stream, struct buf *bytes)
{
    struct conn *conn = find(c, stream);
    if (!conn || conn->state == CONN_GONE || bytes->len == 0)
        return; /* it has failed, and the node is about to hear of it */
    CHECK(conn->state == CONN_OPEN);
    struct conn_write *write = mem_new(sizeof *write);
    *write = (struct conn_write){.conn = conn, .bytes = *bytes};
    *bytes = (struct buf){0};
    write->request.data = write;
    conn->queued += write->bytes.len;
    uv_buf_t out = uv_buf_init((char *)write->bytes.data, (unsigned)write->bytes.len);
    int rc = uv_write(&write->request, (uv_stream_t *)&conn->tcp, &out, 1, on_written);
    if (rc == 0)
        return;
    conn->queued -= write->bytes.len;
    buf_done(&write->bytes);
    free(write);
    fail(conn, uv_strerror(rc));
}

void conn_pause(struct cluster *c, uint64_t stream, bool paused)
{
    struct conn *conn = find(c, stream);
    if (!conn || conn->state != CONN_OPEN)
        return;
    if (paused)
        uv_read_stop((uv_stream_t *)&conn->tcp);
    else
        start_reading(conn);
}

/* ---- opening ------------------------------------------------------------------------ */

static void connect_next(struct conn *conn);

/* One address did not answer. */
static void on_attempt_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    conn->tcp_made = false;
    if (conn->state == CONN_CONNECTING)
        connect_next(conn);
    release(conn);
}

static void attempt_failed(struct conn *conn, int rc)
{
    conn->problem = uv_strerror(rc);
    uv_close((uv_handle_t *)&conn->tcp, on_attempt_closed);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct conn *conn = request->handle->data;
    if (conn->state != CONN_CONNECTING || uv_is_closing((uv_handle_t *)request->handle))
        return;
    if (status < 0) {
        attempt_failed(conn, status);
        return;
    }
    move(conn, CONN_OPEN);
    net_count(conn->cluster, NET_CONNECTED, 1);
    uv_timer_stop(&conn->timer);
    uv_tcp_nodelay(&conn->tcp, 1);
    start_reading(conn);
    if (conn->state == CONN_OPEN)
        cluster_step(conn->cluster, &(struct node_event){.kind = NODE_STREAM_OPENED, .stream = conn->stream});
}

static void connect_next(struct conn *conn)
{
    struct sockaddr_storage to;
    while (conn->addr_at < conn->addr_count) {
        if (!sockaddr_of(&conn->addrs[conn->addr_at++], AF_UNSPEC, &to))
            continue;
        make_tcp(conn);
        int rc = uv_tcp_connect(&conn->connect, &conn->tcp, (const struct sockaddr *)&to, on_connected);
        if (rc < 0)
            attempt_failed(conn, rc);
        return;
    }
    fail(conn, conn->problem ? conn->problem : "no address to connect to");
}

static void on_resolved(void *ctx, const struct addr *addrs, size_t count, const char *problem)
{
    struct conn *conn = ctx;
    if (conn->state == CONN_RESOLVING && count == 0) {
        fail(conn, problem);
    } else if (conn->state == CONN_RESOLVING) {
        memcpy(conn->addrs, addrs, count * sizeof *addrs);
        conn->addr_count = count;
        move(conn, CONN_CONNECTING);
        connect_next(conn);
    }
    release(conn);
}

void conn_open(struct cluster *c, const struct effect *effect)
{
    struct conn *conn = conn_new(c, effect->stream, CONN_RESOLVING);
    uv_timer_start(&conn->timer, on_time, CONNECT_TIMEOUT_MS, 0);
    if (effect->to.len) {
        conn->addrs[conn->addr_count++] = effect->to;
        move(conn, CONN_CONNECTING);
        connect_next(conn);
    } else {
        conn->pending++;
        resolve_start(&c->resolves, &c->loop, effect->target, DEFAULT_GOSSIP_PORT,
                      c->family == AF_INET ? AF_INET : AF_UNSPEC, on_resolved, conn);
    }
}

/* libuv keeps one descriptor in reserve: when there are no more, it uses that to
 * take the connections that wait, and closes them. */
void conn_on_connection(uv_stream_t *listener, int status)
{
    struct cluster *c = listener->data;
    struct sockaddr_storage from;
    int len = sizeof from;
    if (status < 0) {
        net_count(c, NET_ACCEPT_ERRORS, 1);
        return;
    }
    enum stream_kind kind = listener == (uv_stream_t *)&c->gossip ? STREAM_GOSSIP : STREAM_SYNC;
    struct conn *conn = conn_new(c, c->next_accepted, CONN_OPEN);
    c->next_accepted += 2;
    conn->accepted = true;
    c->accepted_count++;
    make_tcp(conn);
    if (uv_accept(listener, (uv_stream_t *)&conn->tcp) < 0 ||
        uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&from, &len) < 0) {
        net_count(c, NET_ACCEPT_ERRORS, 1);
        drop(conn);
        return;
    }
    if (c->deaf || c->accepted_count > c->options.accepted_max) {
        net_count(c, NET_REFUSED, 1);
        drop(conn);
        return;
    }
    net_count(c, NET_ACCEPTED, 1);
    uv_tcp_nodelay(&conn->tcp, 1);
    start_reading(conn);
    if (conn->state == CONN_OPEN)
        cluster_step(c, &(struct node_event){.kind = NODE_STREAM_ACCEPTED,
                                             .stream = conn->stream,
                                             .stream_kind = kind,
                                             .from = addr_of_sockaddr((const struct sockaddr *)&from)});
}

/* ---- closed by the node --------------------------------------------------------------- */

static void on_shut_down(uv_shutdown_t *request, int status)
{
    struct conn *conn = request->handle->data;
    if (conn->state != CONN_LEAVING)
        return;
    if (status < 0)
        drop(conn);
    else
        uv_timer_start(&conn->timer, on_time, DISCARD_TIMEOUT_MS, 0);
}

void conn_close(struct cluster *c, uint64_t stream)
{
    struct conn *conn = find(c, stream);
    if (!conn || conn->state == CONN_LEAVING)
        return;
    conn->tell = false;
    if (conn->state != CONN_OPEN) {
        drop(conn);
        return;
    }
    move(conn, CONN_LEAVING);
    uv_timer_start(&conn->timer, on_time, LEAVE_TIMEOUT_MS, 0);
    if (uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, on_shut_down) < 0)
        drop(conn);
    else
        start_reading(conn);
}

void conn_drop_all(struct cluster *c)
{
    for (size_t i = 0; i < CONN_BUCKETS; i++) {
        for (struct conn *conn = c->conns[i]; conn; conn = conn->next) {
            conn->tell = false;
            drop(conn);
        }
    }
}
