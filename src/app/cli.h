/* The command line: what it says, and the words for people. */
#ifndef YZMA_APP_CLI_H
#define YZMA_APP_CLI_H

#include "config.h"

enum { EXIT_CODE_OK = 0, EXIT_CODE_REFUSED = 1, EXIT_CODE_USAGE = 2, EXIT_CODE_FOUND = 3 };

enum cli_command {
    CLI_SERVE,
    CLI_KEYS_LIST,
    CLI_KEYS_INSTALL,
    CLI_KEYS_USE,
    CLI_KEYS_REMOVE,
    CLI_FORGET,
    CLI_RETIRE,
    CLI_PAUSE,
    CLI_RESUME,
    CLI_REIDENTIFY,
    CLI_BACKUP,
    CLI_RESTORE,
    CLI_COMPACT,
    CLI_DOCTOR,
    CLI_COMPARE
};

struct cli {
    bool help, version;
    enum cli_command command;
    const char *api, *key; /* of the commands about keys; borrowed from argv, NULL: none */
    const char *replica;   /* of forget and retire */
    const char *file;      /* of backup and restore; borrowed from argv */
    const char *nodes[2];  /* of doctor --compare: "host:port", borrowed from argv */
    bool force;
    const char *config_path; /* borrowed from argv; NULL: search */
    struct config_list join; /* each a good "host:port" */
};

/* ERR_MALFORMED with one line in why. ret is to be done either way. */
enum err cli_parse(int argc, char **argv, struct cli *ret, struct buf *why) MUST_USE;
void cli_done(struct cli *cli);

/* The configuration that this command line asks for, read now: of its file or of
 * the first that is found, with the machine's defaults, and its peers joined to
 * those of the file. On failure one line in why, and ret needs no config_done. */
enum err cli_config(const struct cli *cli, struct config *ret, struct buf *why) MUST_USE;

extern const char cli_help[];

#endif
