#include "cli.h"

#include "check.h"
#include "machine.h"

#include <getopt.h>
#include <stdlib.h>

const char cli_help[] = "YzmaDB: a key/value store of which every node holds all and takes writes alone.\n"
                        "\n"
                        "Usage: yzma [-c FILE] [-j HOST:PORT]...\n"
                        "\n"
                        "  -c, --config FILE     read this configuration; without it the first of\n"
                        "                        ./yzma.json, ~/.yzma/yzma.json, /etc/yzma/yzma.json,\n"
                        "                        or else the defaults: one node, API on 127.0.0.1:8080\n"
                        "  -j, --join HOST:PORT  join the cluster of the node that gossips there (without\n"
                        "                        a port: 7946); tried until it is reached. May be given\n"
                        "                        several times, beside Peering.Join of the file.\n"
                        "                        A node that knew its cluster finds it again without\n"
                        "  -V, --version         print the version\n"
                        "  -h, --help            print this text\n"
                        "\n"
                        "Signals: TERM and INT answer what is in flight, tell the cluster and stop; HUP\n"
                        "reads the configuration's log level and Block list again.\n"
                        "\n"
                        "Exit codes: 0 stopped as asked, 1 could not start or go on (the reason is one\n"
                        "line on standard error), 2 the command line was wrong.\n"
                        "\n"
                        "First steps, with the node running:\n"
                        "  curl -X POST -d '{\"foo\":\"bar\"}' http://localhost:8080/keys/foo\n"
                        "  curl http://localhost:8080/keys/foo\n";

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"join", required_argument, NULL, 'j'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

enum err cli_parse(int argc, char **argv, struct cli *ret, struct buf *why)
{
    *ret = (struct cli){0};
    optind = 0; /* GNU: start over, also in a second call */
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":c:j:Vh", long_options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            ret->config_path = optarg;
            break;
        case 'j':
            if (config_add_peer(&ret->join, bytes_str(optarg)) != OK) {
                buf_put_format(why, "-j %s: must be host:port or host", optarg);
                return ERR_MALFORMED;
            }
            break;
        case 'V':
            ret->version = true;
            break;
        case 'h':
            ret->help = true;
            break;
        case ':':
            buf_put_format(why, "%s needs a value (see --help)", argv[optind - 1]);
            return ERR_MALFORMED;
        default:
            buf_put_format(why, "%s: no such option (see --help)", argv[optind - 1]);
            return ERR_MALFORMED;
        }
    }
    if (optind < argc) {
        buf_put_format(why, "%s: options only (see --help)", argv[optind]);
        return ERR_MALFORMED;
    }
    return OK;
}

void cli_done(struct cli *cli)
{
    config_list_done(&cli->join);
}

enum err cli_config(const struct cli *cli, struct config *ret, struct buf *why)
{
    struct config config;
    struct machine machine;
    char *path = NULL;
    enum err err = config_load(&config, cli->config_path, &path, why);
    if (err != OK)
        return err;
    machine_describe(&machine);
    err = config_fill_defaults(&config, &machine, why);
    for (size_t i = 0; err == OK && i < cli->join.count; i++)
        CHECK(config_add_peer(&config.peering.join, bytes_str(cli->join.texts[i])) == OK); /* was parsed */
    if (err == OK)
        *ret = config;
    else
        config_done(&config);
    free(path);
    return err;
}
