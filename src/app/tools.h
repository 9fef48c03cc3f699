/* Commands beside the node: of each one line in why where it fails. ERR_DAMAGED tells
 * that a check has found something; out has the report. */
#ifndef YZMA_APP_TOOLS_H
#define YZMA_APP_TOOLS_H

#include "cli.h"

#include <stdio.h>

/* Writes what the running node holds into the new file cli->file. */
enum err tool_backup(const struct cli *cli, FILE *out, struct buf *why) MUST_USE;
/* Checks the backup cli->file and makes a new replica of it. */
enum err tool_restore(const struct cli *cli, FILE *out, struct buf *why) MUST_USE;
/* Rewrites the store's file without its unused pages. */
enum err tool_compact(const struct cli *cli, FILE *out, struct buf *why) MUST_USE;
/* Checks a store; compares two running nodes. */
enum err tool_doctor(const struct cli *cli, FILE *out, struct buf *why) MUST_USE;
enum err tool_compare(const struct cli *cli, FILE *out, struct buf *why) MUST_USE;

#endif
