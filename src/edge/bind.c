/* The sockets of gossip and replication. */
#include "cluster_state.h"

#include "check.h"
#include "sockaddr.h"

#include <arpa/inet.h>

enum {
    BACKLOG = 1024, /* as many as may be accepted: a burst waits, and is not told to come again */
    UDP_BUFFER = 2 * 1024 * 1024,
    UDP_BUFFER_MIN = 64 * 1024, /* any system has that */
    FREE_PORT_TRIES = 16,       /* to find one that is free for TCP and for UDP */
};

static struct sockaddr_storage bound_at(const struct cluster *c, uint16_t port)
{
    struct addr addr = {.len = c->family == AF_INET ? 4 : 16, .port = port};
    struct sockaddr_storage out;
    CHECK(inet_pton(c->family, c->bind_address, addr.ip) == 1);
    CHECK(sockaddr_of(&addr, c->family, &out));
    return out;
}

static void on_unused(uv_handle_t *handle)
{
    *(bool *)handle->data = true;
}

/* Closes a handle and waits until it can be made again. */
static void unmake(struct cluster *c, uv_handle_t *handle)
{
    bool closed = false;
    handle->data = &closed;
    uv_close(handle, on_unused);
    while (!closed)
        uv_run(&c->loop, UV_RUN_NOWAIT);
}

/* A negative number of libuv on failure: the handle is then unmade. */
static int listen_tcp(struct cluster *c, uv_tcp_t *tcp, uint16_t port, uint16_t *ret_port)
{
    struct sockaddr_storage at = bound_at(c, port);
    int len = sizeof at;
    CHECK(uv_tcp_init(&c->loop, tcp) == 0);
    int rc = uv_tcp_bind(tcp, (const struct sockaddr *)&at, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)tcp, BACKLOG, conn_on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(tcp, (struct sockaddr *)&at, &len);
    if (rc < 0) {
        unmake(c, (uv_handle_t *)tcp);
        return rc;
    }
    tcp->data = c;
    *ret_port = addr_of_sockaddr((const struct sockaddr *)&at).port;
    return 0;
}

/* A burst of gossip waits there while the node is at something else: as much as
 * memberlist asks for, or what the system grants. */
static void widen_udp(struct cluster *c)
{
    int size = UDP_BUFFER;
    while (size >= UDP_BUFFER_MIN && uv_recv_buffer_size((uv_handle_t *)&c->udp, &size) < 0)
        size /= 2;
}

static int bind_udp(struct cluster *c, uint16_t port)
{
    struct sockaddr_storage at = bound_at(c, port);
    CHECK(uv_udp_init(&c->loop, &c->udp) == 0);
    int rc = uv_udp_bind(&c->udp, (const struct sockaddr *)&at, 0);
    if (rc < 0)
        unmake(c, (uv_handle_t *)&c->udp);
    else {
        c->udp.data = c;
        widen_udp(c);
    }
    return rc;
}

static int bind_gossip(struct cluster *c)
{
    int rc = UV_EADDRINUSE;
    int tries = c->options.gossip_port ? 1 : FREE_PORT_TRIES;
    while (rc == UV_EADDRINUSE && tries-- > 0) {
        rc = listen_tcp(c, &c->gossip, c->options.gossip_port, &c->gossip_port);
        if (rc < 0)
            continue;
        rc = bind_udp(c, c->gossip_port);
        if (rc < 0)
            unmake(c, (uv_handle_t *)&c->gossip);
    }
    return rc;
}

static enum err refuse(const struct cluster *c, const char *what, uint16_t port, int rc, struct buf *why)
{
    bool v6 = c->family == AF_INET6;
    /* libuv's words for an address in use are not the system's */
    buf_put_format(why, "cannot bind %s to %s%s%s:%u: %s", what, v6 ? "[" : "", c->bind_address,
                   v6 ? "]" : "", port, strerror(-rc));
    return ERR_IO;
}

enum err cluster_bind(struct cluster *c, struct buf *why)
{
    struct in6_addr probe;
    c->family = inet_pton(AF_INET, c->bind_address, &probe) == 1 ? AF_INET : AF_INET6;
    if (c->family == AF_INET6 && inet_pton(AF_INET6, c->bind_address, &probe) != 1) {
        buf_put_format(why, "cannot bind gossip to %s: not an address", c->bind_address);
        return ERR_MALFORMED;
    }
    int rc = bind_gossip(c);
    if (rc < 0)
        return refuse(c, "gossip", c->options.gossip_port, rc, why);
    rc = listen_tcp(c, &c->replication, c->options.replication_port, &c->replication_port);
    if (rc < 0) {
        unmake(c, (uv_handle_t *)&c->gossip);
        unmake(c, (uv_handle_t *)&c->udp);
        return refuse(c, "replication", c->options.replication_port, rc, why);
    }
    return OK;
}
