/* The listening socket. Ours, not the library's, so that what goes wrong can be
 * said and the real port told. */
#ifndef YZMA_HTTP_LISTENER_H
#define YZMA_HTTP_LISTENER_H

#include "buf.h"

struct listener {
    int fd;
    uint16_t port;
};

/* bind: "host:port", "[::1]:port", ":port" for every address; port 0 takes a free
 * one. On an error `why` has one line; ERR_MALFORMED, ERR_IO. */
enum err listener_open(const char *bind, struct listener *ret, struct buf *why) MUST_USE;

#endif
