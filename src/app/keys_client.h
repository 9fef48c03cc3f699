/* yzma keys: the calls about keys, made to a running node over its API. */
#ifndef YZMA_APP_KEYS_CLIENT_H
#define YZMA_APP_KEYS_CLIENT_H

#include "cli.h"

#include <stdio.h>

/* Calls the node at cli->api, or else at the API.Bind of the configuration, and
 * prints what it says, for people. ERR_REFUSED and others with one line in why. */
enum err keys_client_run(const struct cli *cli, FILE *in, FILE *out, struct buf *why) MUST_USE;

/* Prints the answer of a node: its body, after the head. */
enum err keys_client_print(struct bytes body, FILE *out, struct buf *why) MUST_USE;

#endif
