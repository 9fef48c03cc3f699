/* Asking a running node over its API, from the command line. */
#ifndef YZMA_APP_API_CLIENT_H
#define YZMA_APP_API_CLIENT_H

#include "cli.h"

/* Where the node's API is: as the command line says, or else the configuration. The
 * host is the caller's to free. */
enum err api_find(const struct cli *cli, struct config_endpoint *ret, struct buf *why) MUST_USE;

/* Sends the request, reads until the node closes. ERR_IO with one line in why. */
enum err api_exchange(const struct config_endpoint *endpoint, const struct buf *request, struct buf *answer,
                      struct buf *why) MUST_USE;

/* GET target: the status and the body, which lies in answer. ERR_IO, ERR_MALFORMED. */
enum err api_get(const struct config_endpoint *endpoint, const char *target, struct buf *answer,
                 unsigned *ret_status, struct bytes *ret_body, struct buf *why) MUST_USE;

#endif
