/* The running node: its parts put together, and taken apart again. */
#ifndef YZMA_APP_DAEMON_H
#define YZMA_APP_DAEMON_H

#include "cli.h"

/* Runs until a signal ends it. On failure one line in why; what refuses to start
 * has touched nothing. cli says from where a SIGHUP reads the configuration again. */
enum err daemon_run(const struct cli *cli, const struct config *config, struct buf *why) MUST_USE;

/* Gives the store of a node that does not run a new replica id, and says so on standard
 * output. Operations that a twin of it may have given the same dots are put again. */
enum err daemon_reidentify(const struct config *config, struct buf *why) MUST_USE;

#endif
