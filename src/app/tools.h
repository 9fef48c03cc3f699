/* What the commands do. Of each one line in why where it fails. ERR_DAMAGED (a check has
 * found something) and ERR_UNMET (no such key, a condition that does not hold, and the
 * like) are answers, bad ones; out has what there is to say. */
#ifndef YZMA_APP_TOOLS_H
#define YZMA_APP_TOOLS_H

#include "cli.h"

#include <stdio.h>

typedef enum err tool_run(const struct cli *cli, FILE *out, struct buf *why);

/* Of the API of running nodes: cmd_*.c. */
tool_run tool_get, tool_put, tool_delete, tool_incr, tool_batch, tool_resolve;
tool_run tool_import, tool_export;
tool_run tool_list, tool_count, tool_watch;
tool_run tool_set_change, tool_set_list, tool_set_ask, tool_set_delete;
tool_run tool_members, tool_status, tool_by_hand, tool_keys;
tool_run tool_bench;
/* Writes what the running node holds into a new file. */
tool_run tool_backup;
/* Checks a backup and makes a new replica of it. */
tool_run tool_restore;
/* Rewrites the store's file without its unused pages. */
tool_run tool_compact;
/* Checks a store; compares two running nodes. */
tool_run tool_doctor, tool_compare;
tool_run tool_config_check, tool_version, tool_help;

#endif
