#include "cli.h"

#include "check.h"
#include "machine.h"

#include <getopt.h>
#include <stdlib.h>

const char cli_help[] = "YzmaDB: a key/value store of which every node holds all and takes writes alone.\n"
                        "\n"
                        "Usage: yzma [-c FILE] [-j HOST:PORT]...\n"
                        "       yzma keys list [-c FILE | -a HOST:PORT]\n"
                        "       yzma keys install|use|remove KEY [-c FILE | -a HOST:PORT] [-f]\n"
                        "       yzma forget|retire REPLICA [-c FILE | -a HOST:PORT]\n"
                        "       yzma pause|resume [-c FILE | -a HOST:PORT]\n"
                        "       yzma reidentify [-c FILE]\n"
                        "       yzma backup FILE [-c FILE | -a HOST:PORT]\n"
                        "       yzma restore FILE [-c FILE]\n"
                        "       yzma compact [-c FILE]\n"
                        "       yzma doctor [-c FILE]\n"
                        "       yzma doctor --compare HOST:PORT HOST:PORT\n"
                        "\n"
                        "  -c, --config FILE     read this configuration; without it the first of\n"
                        "                        ./yzma.json, ~/.yzma/yzma.json, /etc/yzma/yzma.json,\n"
                        "                        or else the defaults: one node, API on 127.0.0.1:8080\n"
                        "  -j, --join HOST:PORT  join the cluster of the node that gossips there (without\n"
                        "                        a port: 7946); tried until it is reached. May be given\n"
                        "                        several times, beside Peering.Join of the file.\n"
                        "                        A node that knew its cluster finds it again without\n"
                        "  -a, --api HOST:PORT   the API of the running node that is meant; without it\n"
                        "                        that of the configuration\n"
                        "  -f, --force           of keys: although members are silent, away or not YzmaDB\n"
                        "      --compare         of doctor: two running nodes, by their APIs\n"
                        "  -V, --version         print the version\n"
                        "  -h, --help            print this text\n"
                        "\n"
                        "Signals: TERM and INT answer what is in flight, tell the cluster and stop; HUP\n"
                        "reads the configuration's log level, Block list and Keys again.\n"
                        "\n"
                        "Keys seal gossip. To change them in a running cluster, at any node of it:\n"
                        "  openssl rand -base64 32 > key     a new key\n"
                        "  yzma keys install - < key         all members can read it (\"-\": from stdin)\n"
                        "  yzma keys list                    names of the keys, and who holds them\n"
                        "  yzma keys use NAME                all seal with it\n"
                        "  yzma keys remove NAME             the old one is read no more\n"
                        "\n"
                        "Done by hand (REPLICA: a UUID, or a member name):\n"
                        "  yzma forget REPLICA               is not waited for; it may come back\n"
                        "  yzma retire REPLICA               its id is ended: it never comes back with it\n"
                        "  yzma reidentify                   a node that does not run takes a new id, as\n"
                        "                                    one must whose store is a copy of another's\n"
                        "  yzma pause, yzma resume           what other nodes write waits, and goes on\n"
                        "\n"
                        "backup writes what a running node holds into a new file; restore makes a new\n"
                        "replica of it where the configuration's Server.DBPath has nothing yet. compact\n"
                        "(smaller file) and doctor (checks it, changes nothing) want the node stopped;\n"
                        "doctor --compare finds keys that two running nodes hold differently.\n"
                        "\n"
                        "Exit codes: 0 stopped as asked, 1 could not start or go on (the reason is one\n"
                        "line on standard error), 2 the command line was wrong, 3 doctor has\n"
                        "found something.\n"
                        "\n"
                        "First steps, with the node running:\n"
                        "  curl -X POST -d '{\"foo\":\"bar\"}' http://localhost:8080/keys/foo\n"
                        "  curl http://localhost:8080/keys/foo\n";

static const struct option long_options[] = {
    {"compare", no_argument, NULL, 'C'},    {"config", required_argument, NULL, 'c'},
    {"join", required_argument, NULL, 'j'}, {"api", required_argument, NULL, 'a'},
    {"force", no_argument, NULL, 'f'},      {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0},
};

static const char compare_misplaced[] = "--compare is for yzma doctor (see --help)";

static enum err check_endpoint(const char *what, const char *text, struct buf *why)
{
    struct config_endpoint endpoint;
    if (endpoint_parse(bytes_str(text), &endpoint) != OK) {
        buf_put_format(why, "%s%s: must be host:port", what, text);
        return ERR_MALFORMED;
    }
    free(endpoint.host);
    return OK;
}

/* backup, restore, compact, doctor. ERR_NOT_FOUND: none of them. */
static enum err parse_tool(int count, char **words, struct cli *ret, struct buf *why)
{
    static const struct {
        const char *word;
        enum cli_command command;
        int words;
    } tools[] = {{"backup", CLI_BACKUP, 2},
                 {"restore", CLI_RESTORE, 2},
                 {"compact", CLI_COMPACT, 1},
                 {"doctor", CLI_DOCTOR, 1}};
    bool compares = ret->command == CLI_COMPARE;
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
        if (strcmp(words[0], tools[i].word) != 0)
            continue;
        if (compares && tools[i].command != CLI_DOCTOR) {
            buf_put_text(why, compare_misplaced);
            return ERR_MALFORMED;
        }
        if (count != (compares ? 3 : tools[i].words)) {
            buf_put_format(why, "%s: must be followed by %s (see --help)",
                           compares ? "doctor --compare" : words[0],
                           compares              ? "HOST:PORT HOST:PORT"
                           : tools[i].words == 2 ? "FILE"
                                                 : "nothing more");
            return ERR_MALFORMED;
        }
        if (compares) {
            ret->nodes[0] = words[1];
            ret->nodes[1] = words[2];
            return OK;
        }
        ret->command = tools[i].command;
        ret->file = count == 2 ? words[1] : NULL;
        return OK;
    }
    return ERR_NOT_FOUND;
}

/* Are the options such that the command has? */
static enum err check_options(const struct cli *cli, struct buf *why)
{
    enum cli_command command = cli->command;
    bool keys = command >= CLI_KEYS_LIST && command <= CLI_KEYS_REMOVE;
    bool asks_node = keys || (command >= CLI_FORGET && command <= CLI_RESUME) || command == CLI_BACKUP;
    enum err err = OK;
    if (cli->force && !keys)
        buf_put_text(why, "-f is for yzma keys (see --help)");
    else if (cli->api && !asks_node)
        buf_put_text(why, "-a is for yzma keys, forget, retire, pause, resume and backup (see --help)");
    else if (cli->join.count > 0 && command != CLI_SERVE)
        buf_put_text(why, "-j is for starting a node, without a command (see --help)");
    if (why->len > 0)
        return ERR_MALFORMED;
    if (cli->api)
        err = check_endpoint("-a ", cli->api, why);
    for (int i = 0; err == OK && i < 2 && cli->nodes[i]; i++)
        err = check_endpoint("", cli->nodes[i], why);
    return err;
}

/* "keys list", "keys use KEY" and so on, or nothing. */
static enum err parse_command(int count, char **words, struct cli *ret, struct buf *why)
{
    static const char *const verbs[] = {[CLI_KEYS_LIST] = "list",
                                        [CLI_KEYS_INSTALL] = "install",
                                        [CLI_KEYS_USE] = "use",
                                        [CLI_KEYS_REMOVE] = "remove"};
    if (count == 0) {
        if (ret->command != CLI_COMPARE)
            return OK;
        buf_put_text(why, compare_misplaced);
        return ERR_MALFORMED;
    }
    static const struct {
        const char *word;
        enum cli_command command;
        bool replica;
    } others[] = {{"forget", CLI_FORGET, true},
                  {"retire", CLI_RETIRE, true},
                  {"pause", CLI_PAUSE, false},
                  {"resume", CLI_RESUME, false},
                  {"reidentify", CLI_REIDENTIFY, false}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strcmp(words[0], others[i].word) != 0)
            continue;
        if (ret->command == CLI_COMPARE) {
            buf_put_text(why, compare_misplaced);
            return ERR_MALFORMED;
        }
        if (count != (others[i].replica ? 2 : 1)) {
            buf_put_format(why, "%s: must be followed by %s (see --help)", words[0],
                           others[i].replica ? "REPLICA" : "nothing more");
            return ERR_MALFORMED;
        }
        ret->command = others[i].command;
        ret->replica = others[i].replica ? words[1] : NULL;
        return OK;
    }
    enum err err = parse_tool(count, words, ret, why);
    if (err != ERR_NOT_FOUND)
        return err;
    if (strcmp(words[0], "keys") != 0) {
        buf_put_format(why, "%s: no such command (see --help)", words[0]);
        return ERR_MALFORMED;
    }
    if (ret->command == CLI_COMPARE) {
        buf_put_text(why, compare_misplaced);
        return ERR_MALFORMED;
    }
    for (size_t i = CLI_KEYS_LIST; count > 1 && i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(words[1], verbs[i]) == 0)
            ret->command = (enum cli_command)i;
    bool list = ret->command == CLI_KEYS_LIST;
    if (ret->command == CLI_SERVE || count != (list ? 2 : 3)) {
        buf_put_text(why, "keys: must be followed by list, install KEY, use KEY or remove KEY (see --help)");
        return ERR_MALFORMED;
    }
    ret->key = list ? NULL : words[2];
    return OK;
}

enum err cli_parse(int argc, char **argv, struct cli *ret, struct buf *why)
{
    *ret = (struct cli){0};
    optind = 0; /* GNU: start over, also in a second call */
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":c:j:a:fVh", long_options, NULL)) != -1;) {
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
        case 'a':
            ret->api = optarg;
            break;
        case 'C':
            ret->command = CLI_COMPARE;
            break;
        case 'f':
            ret->force = true;
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
    enum err err = parse_command(argc - optind, argv + optind, ret, why);
    return err == OK ? check_options(ret, why) : err;
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
