/* yzma: reads the command line and the configuration, and runs the node, or does what a
 * command says. What cannot start says why in one line, and has touched nothing. */
#include "cmd.h"
#include "daemon.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { WHY_MAX = 64 << 10 };

static enum err run_node(const struct cli *cli, FILE *out, struct buf *why)
{
    struct config config;
    enum err err = cli_config(cli, &config, why);
    if (err == OK) {
        err = daemon_run(cli, &config, why);
        config_done(&config);
    }
    return err == OK ? OK : ERR_REFUSED; /* also where the store is damaged: it did not run */
}

static enum err reidentify(const struct cli *cli, FILE *out, struct buf *why)
{
    struct config config;
    enum err err = cli_config(cli, &config, why);
    if (err == OK) {
        bool there = access(config.server.db_path, F_OK) == 0; /* none is made */
        if (there)
            err = daemon_reidentify(&config, why);
        else
            buf_put_format(why, "%s: %s", config.server.db_path, strerror(errno));
        config_done(&config);
        err = there ? err : ERR_NOT_FOUND;
    }
    return err == OK ? OK : ERR_REFUSED;
}

static tool_run *const runs[CLI_COMMANDS] = {
    [CLI_SERVE] = run_node,
    [CLI_GET] = tool_get,
    [CLI_PUT] = tool_put,
    [CLI_DELETE] = tool_delete,
    [CLI_LIST] = tool_list,
    [CLI_COUNT] = tool_count,
    [CLI_WATCH] = tool_watch,
    [CLI_INCR] = tool_incr,
    [CLI_BATCH] = tool_batch,
    [CLI_SET_ADD] = tool_set_change,
    [CLI_SET_REMOVE] = tool_set_change,
    [CLI_SET_LIST] = tool_set_list,
    [CLI_SET_HAS] = tool_set_ask,
    [CLI_SET_COUNT] = tool_set_ask,
    [CLI_SET_DELETE] = tool_set_delete,
    [CLI_IMPORT] = tool_import,
    [CLI_EXPORT] = tool_export,
    [CLI_CONFLICTS] = tool_list,
    [CLI_RESOLVE] = tool_resolve,
    [CLI_MEMBERS] = tool_members,
    [CLI_STATUS] = tool_status,
    [CLI_JOIN] = tool_by_hand,
    [CLI_LEAVE] = tool_by_hand,
    [CLI_KEYS_LIST] = tool_keys,
    [CLI_KEYS_INSTALL] = tool_keys,
    [CLI_KEYS_USE] = tool_keys,
    [CLI_KEYS_REMOVE] = tool_keys,
    [CLI_FORGET] = tool_by_hand,
    [CLI_RETIRE] = tool_by_hand,
    [CLI_PAUSE] = tool_by_hand,
    [CLI_RESUME] = tool_by_hand,
    [CLI_BACKUP] = tool_backup,
    [CLI_RESTORE] = tool_restore,
    [CLI_REIDENTIFY] = reidentify,
    [CLI_COMPACT] = tool_compact,
    [CLI_DOCTOR] = tool_doctor,
    [CLI_COMPARE] = tool_compare,
    [CLI_BENCH] = tool_bench,
    [CLI_CONFIG_CHECK] = tool_config_check,
    [CLI_VERSION] = tool_version,
    [CLI_HELP] = tool_help,
};

/* One line, whatever somebody else has put into it. */
static void complain(const struct buf *why)
{
    fputs("yzma: ", stderr);
    for (size_t i = 0; i < why->len; i++)
        fputc(why->data[i] < ' ' ? ' ' : why->data[i], stderr);
    fputc('\n', stderr);
}

static int run(const struct cli *cli, struct buf *why)
{
    tool_run *tool = cli_has(cli, OPT_HELP)      ? tool_help
                     : cli_has(cli, OPT_VERSION) ? tool_version
                                                 : runs[cli->command];
    enum err err = tool(cli, stdout, why);
    if (err == OK)
        err = finish_output(stdout, why);
    else
        fflush(stdout); /* what went wrong first is told */
    if (err != OK && why->len == 0)
        buf_put_text(why, err_text(err));
    if (err != OK)
        complain(why);
    if (err == ERR_CLOSED)
        cmd_end_by_signal();
    return err == OK                                ? EXIT_CODE_OK
           : err == ERR_DAMAGED || err == ERR_UNMET ? EXIT_CODE_FOUND
                                                    : EXIT_CODE_REFUSED;
}

int main(int argc, char **argv)
{
    struct buf why;
    struct cli cli;
    int code = EXIT_CODE_USAGE;
    buf_init(&why, WHY_MAX);
    if (cli_parse(argc, argv, &cli, &why) == OK)
        code = run(&cli, &why);
    else
        complain(&why);
    cli_done(&cli);
    buf_done(&why);
    return code;
}
