/* yzma: reads the command line and the configuration, and runs the node. What
 * cannot start says why in one line, and has touched nothing. */
#include "check.h"
#include "cli.h"
#include "daemon.h"
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>

enum { WHY_MAX = 64 << 10 };

static int refuse(int code, struct buf *why)
{
    fprintf(stderr, "yzma: %.*s\n", (int)why->len, why->data);
    buf_done(why);
    return code;
}

/* Those of the command line are joined beside those of the file. */
static void add_peers(struct config *config, const struct cli *cli)
{
    for (size_t i = 0; i < cli->join.count; i++) {
        enum err err = config_add_peer(&config->peering.join, bytes_str(cli->join.texts[i]));
        CHECK(err == OK); /* the command line was checked */
    }
}

static int run(const struct cli *cli, struct buf *why)
{
    struct config config;
    char *path = NULL;
    if (config_load(&config, cli->config_path, &path, why) != OK)
        return refuse(EXIT_CODE_REFUSED, why);
    struct machine machine;
    machine_describe(&machine);
    int code;
    if (config_fill_defaults(&config, &machine, why) != OK) {
        code = refuse(EXIT_CODE_REFUSED, why);
    } else {
        add_peers(&config, cli);
        log_set_level(config.server.log_level);
        log_set_format(config.server.log_format);
        code = daemon_run(&config);
    }
    config_done(&config);
    free(path);
    return code;
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
    else
        code = run(&cli, &why);
    cli_done(&cli);
    buf_done(&why);
    return code;
}
