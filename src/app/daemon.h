/* The running node: its parts put together, and taken apart again. */
#ifndef YZMA_APP_DAEMON_H
#define YZMA_APP_DAEMON_H

#include "config.h"

/* Runs until a signal ends it; returns the exit code. */
int daemon_run(const struct config *config);

#endif
