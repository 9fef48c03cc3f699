#include "listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Nothing special about this value; the kernel caps it at net.core.somaxconn. */
enum { BACKLOG = 4096 };

static uint16_t port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

static int open_on(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    /* So that a restart need not wait for the last connections to expire; a port
     * that another process listens on is refused all the same. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static enum err split(const char *bind, char *host, size_t host_size, const char **ret_port)
{
    const char *colon = strrchr(bind, ':');
    size_t length = colon ? (size_t)(colon - bind) : 0;
    if (!colon || length >= host_size || colon[1] == '\0')
        return ERR_MALFORMED;
    if (length >= 2 && bind[0] == '[' && bind[length - 1] == ']') {
        bind++;
        length -= 2;
    }
    memcpy(host, bind, length);
    host[length] = '\0';
    *ret_port = colon + 1;
    return OK;
}

enum err listener_open(const char *bind, struct listener *ret, struct buf *why)
{
    char host[256];
    const char *port;
    if (split(bind, host, sizeof host, &port) != OK) {
        buf_put_format(why, "cannot listen on %s: not host:port", bind);
        return ERR_MALFORMED;
    }
    struct addrinfo *addresses, hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    int failure = getaddrinfo(host[0] ? host : NULL, port, &hints, &addresses);
    if (failure != 0) {
        buf_put_format(why, "cannot listen on %s: %s", bind, gai_strerror(failure));
        return ERR_IO;
    }
    int fd = -1;
    for (const struct addrinfo *a = addresses; a && fd < 0; a = a->ai_next)
        fd = open_on(a);
    int error = errno;
    freeaddrinfo(addresses);
    if (fd < 0) {
        buf_put_format(why, "cannot listen on %s: %s", bind, strerror(error));
        return ERR_IO;
    }
    *ret = (struct listener){.fd = fd, .port = port_of(fd)};
    return OK;
}
