#include "resolve.h"

#include "mem.h"
#include "sockaddr.h"
#include "units.h"

#include <stdlib.h>

enum { HOST_MAX = 255 };

struct resolve {
    union {
        uv_getaddrinfo_t request;
        uv_timer_t timer; /* of one that failed before it began */
    };
    struct resolve *next, **link; /* in resolves */
    uint16_t port;
    const char *problem;
    resolve_done *done;
    void *ctx;
};

static bool split(const char *text, uint16_t default_port, char host[HOST_MAX + 1], uint16_t *ret_port)
{
    struct bytes name = bytes_str(text), digits = {0};
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    if (colon && (!bracket || bracket < colon)) {
        name.len = (size_t)(colon - text);
        digits = bytes_str(colon + 1);
    }
    if (name.len > 2 && name.data[0] == '[' && name.data[name.len - 1] == ']')
        name = bytes_of(name.data + 1, name.len - 2);
    else if (name.len > 0 && (memchr(name.data, ':', name.len) || memchr(name.data, '[', name.len)))
        return false; /* an IPv6 address without brackets: which part is the port? */
    uint64_t port = default_port;
    if (name.len == 0 || name.len > HOST_MAX || (digits.data && number_parse(digits, &port) != OK) ||
        port == 0 || port > UINT16_MAX)
        return false;
    memcpy(host, name.data, name.len);
    host[name.len] = '\0';
    *ret_port = (uint16_t)port;
    return true;
}

static void finish(struct resolve *r, const struct addr *addrs, size_t count, const char *problem)
{
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    r->done(r->ctx, addrs, count, problem);
    free(r);
}

static void on_closed(uv_handle_t *handle)
{
    struct resolve *r = handle->data;
    finish(r, NULL, 0, r->problem);
}

static void on_time(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, on_closed);
}

/* Told from the loop, like all ends. */
static void fail(struct resolve *r, uv_loop_t *loop, const char *problem)
{
    r->problem = problem;
    uv_timer_init(loop, &r->timer);
    r->timer.data = r;
    uv_timer_start(&r->timer, on_time, 0, 0);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct resolve *r = request->data;
    struct addr addrs[RESOLVED_MAX];
    size_t count = 0;
    for (const struct addrinfo *i = list; i && count < RESOLVED_MAX; i = i->ai_next) {
        addrs[count] = addr_of_sockaddr(i->ai_addr);
        addrs[count].port = r->port;
        count += addrs[count].len > 0;
    }
    uv_freeaddrinfo(list);
    const char *problem = status < 0 ? uv_strerror(status) : "the name has no address";
    finish(r, addrs, count, count ? NULL : problem);
}

void resolve_start(struct resolves *resolves, uv_loop_t *loop, const char *text, uint16_t default_port,
                   int family, resolve_done *done, void *ctx)
{
    char host[HOST_MAX + 1];
    struct resolve *r = mem_new(sizeof *r);
    *r = (struct resolve){.next = resolves->first, .link = &resolves->first, .done = done, .ctx = ctx};
    if (r->next)
        r->next->link = &r->next;
    resolves->first = r;
    if (!split(text, default_port, host, &r->port)) {
        fail(r, loop, "must be host:port");
        return;
    }
    const struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    int rc = uv_getaddrinfo(loop, &r->request, on_resolved, host, NULL, &hints);
    r->request.data = r;
    if (rc < 0)
        fail(r, loop, uv_strerror(rc));
}

void resolve_cancel_all(struct resolves *resolves)
{
    for (struct resolve *r = resolves->first; r; r = r->next)
        if (!r->problem)
            uv_cancel((uv_req_t *)&r->request);
}
