#include "api_client.h"

#include "check.h"
#include "mem.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ANSWER_WITHIN_S = 20 /* more than the node takes */ };

/* ---- the connection --------------------------------------------------------------- */

static int connect_to(const struct config_endpoint *endpoint, struct buf *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char port[8];
    /* where it listens on all addresses, this is one of them */
    const char *host = strcmp(endpoint->host, "0.0.0.0") == 0 || !endpoint->host[0] ? "127.0.0.1"
                       : strcmp(endpoint->host, "::") == 0                          ? "::1"
                                                                                    : endpoint->host;
    int fd = -1;
    snprintf(port, sizeof port, "%u", endpoint->port);
    int problem = getaddrinfo(host, port, &hints, &found);
    if (problem != 0) {
        buf_put_format(why, "%s: %s", host, gai_strerror(problem));
        return -1;
    }
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            int error = errno;
            close(fd);
            fd = -1;
            errno = error;
        }
    }
    if (fd < 0)
        buf_put_format(why, "no node answers at %s:%s: %s", host, port, strerror(errno));
    freeaddrinfo(found);
    return fd;
}

static bool send_all(int fd, struct bytes bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes = bytes_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return true;
}

static bool receive_all(int fd, struct buf *answer)
{
    for (;;) {
        uint8_t piece[16384];
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0)
            return n == 0 && answer->err == OK;
        buf_put(answer, piece, (size_t)n);
    }
}

enum err api_exchange(const struct config_endpoint *endpoint, const struct buf *request, struct buf *answer,
                      struct buf *why)
{
    int fd = connect_to(endpoint, why);
    if (fd < 0)
        return ERR_IO;
    struct timeval patience = {.tv_sec = ANSWER_WITHIN_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    bool good = send_all(fd, buf_bytes(request)) && receive_all(fd, answer);
    close(fd);
    if (!good)
        buf_put_text(why, "the node gave no whole answer");
    return good ? OK : ERR_IO;
}

/* ---- what is asked -------------------------------------------------------------------- */

/* Where the node's API is: as the command line says, or else the configuration. */
enum err api_find(const struct cli *cli, struct config_endpoint *ret, struct buf *why)
{
    if (cli->api) {
        CHECK(endpoint_parse(bytes_str(cli->api), ret) == OK); /* was parsed */
        return OK;
    }
    struct config config;
    enum err err = cli_config(cli, &config, why);
    if (err == OK) {
        *ret = (struct config_endpoint){mem_text(config.api.bind.host), config.api.bind.port};
        config_done(&config);
    }
    return err;
}

enum err api_get(const struct config_endpoint *endpoint, const char *target, struct buf *answer,
                 unsigned *ret_status, struct bytes *ret_body, struct buf *why)
{
    struct buf request;
    buf_init(&request, 8192);
    buf_put_format(&request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", target);
    buf_reset(answer);
    enum err err = request.err == OK ? api_exchange(endpoint, &request, answer, why) : request.err;
    buf_done(&request);
    if (err != OK)
        return err;
    const uint8_t *end = answer->len ? memmem(answer->data, answer->len, "\r\n\r\n", 4) : NULL;
    if (!end || answer->len < sizeof "HTTP/1.1 200" || memcmp(answer->data, "HTTP/1.1 ", 9) != 0) {
        buf_put_text(why, "that is no answer of a YzmaDB");
        return ERR_MALFORMED;
    }
    *ret_status = (unsigned)strtoul((const char *)answer->data + 9, NULL, 10);
    *ret_body = bytes_of(end + 4, (size_t)(answer->data + answer->len - end - 4));
    return OK;
}
