/* yzma: reads the command line and the configuration, and runs the node. What
 * cannot start says why in one line, and has touched nothing. */
#include "cli.h"
#include "daemon.h"
#include "keys_client.h"
#include "tools.h"

#include <stdio.h>

enum { WHY_MAX = 64 << 10 };

static int refuse(int code, struct buf *why)
{
    fprintf(stderr, "yzma: %.*s\n", (int)why->len, why->data);
    buf_done(why);
    return code;
}

static int run(const struct cli *cli, struct buf *why)
{
    struct config config;
    enum err err = cli_config(cli, &config, why);
    if (err == OK) {
        err = daemon_run(cli, &config, why);
        config_done(&config);
    }
    return err == OK ? EXIT_CODE_OK : refuse(EXIT_CODE_REFUSED, why);
}

static int reidentify(const struct cli *cli, struct buf *why)
{
    struct config config;
    enum err err = cli_config(cli, &config, why);
    if (err == OK) {
        err = daemon_reidentify(&config, why);
        config_done(&config);
    }
    return err == OK ? EXIT_CODE_OK : refuse(EXIT_CODE_REFUSED, why);
}

static int tool(const struct cli *cli, struct buf *why)
{
    enum err err = cli->command == CLI_BACKUP    ? tool_backup(cli, stdout, why)
                   : cli->command == CLI_RESTORE ? tool_restore(cli, stdout, why)
                   : cli->command == CLI_COMPACT ? tool_compact(cli, stdout, why)
                   : cli->command == CLI_DOCTOR  ? tool_doctor(cli, stdout, why)
                                                 : tool_compare(cli, stdout, why);
    return err == OK ? EXIT_CODE_OK : refuse(err == ERR_DAMAGED ? EXIT_CODE_FOUND : EXIT_CODE_REFUSED, why);
}

int main(int argc, char **argv)
{
    struct buf why;
    buf_init(&why, WHY_MAX);
    struct cli cli;
    int code = EXIT_CODE_OK;
    if (cli_parse(argc, argv, &cli, &why) != OK)
        code = refuse(EXIT_CODE_USAGE, &why);
    else if (cli.help)
        fputs(cli_help, stdout);
    else if (cli.version)
        puts("yzma " YZMA_VERSION);
    else if (cli.command == CLI_SERVE)
        code = run(&cli, &why);
    else if (cli.command == CLI_REIDENTIFY)
        code = reidentify(&cli, &why);
    else if (cli.command >= CLI_BACKUP)
        code = tool(&cli, &why);
    else if (keys_client_run(&cli, stdin, stdout, &why) != OK)
        code = refuse(EXIT_CODE_REFUSED, &why);
    cli_done(&cli);
    buf_done(&why);
    return code;
}
