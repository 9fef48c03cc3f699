/* The command line. Its commands and options stand in one table (cli_table.c), from which
 * come the parser's judgement, the help, the man page and the completion of shells. */
#ifndef YZMA_APP_CLI_H
#define YZMA_APP_CLI_H

#include "config.h"

#include <stdio.h>

/* FOUND: asked and answered, and the answer is the bad one: no such key, a condition that
 * does not hold, replicas that are missing, a problem in a store. */
enum { EXIT_CODE_OK = 0, EXIT_CODE_REFUSED = 1, EXIT_CODE_USAGE = 2, EXIT_CODE_FOUND = 3 };

enum cli_command {
    CLI_SERVE,
    CLI_GET,
    CLI_PUT,
    CLI_DELETE,
    CLI_LIST,
    CLI_COUNT,
    CLI_WATCH,
    CLI_INCR,
    CLI_SET_ADD,
    CLI_SET_REMOVE,
    CLI_SET_LIST,
    CLI_SET_HAS,
    CLI_SET_COUNT,
    CLI_SET_DELETE,
    CLI_BATCH,
    CLI_IMPORT,
    CLI_EXPORT,
    CLI_CONFLICTS,
    CLI_RESOLVE,
    CLI_MEMBERS,
    CLI_STATUS,
    CLI_JOIN,
    CLI_LEAVE,
    CLI_KEYS_LIST,
    CLI_KEYS_INSTALL,
    CLI_KEYS_USE,
    CLI_KEYS_REMOVE,
    CLI_FORGET,
    CLI_RETIRE,
    CLI_PAUSE,
    CLI_RESUME,
    CLI_BACKUP,
    CLI_RESTORE,
    CLI_REIDENTIFY,
    CLI_COMPACT,
    CLI_DOCTOR,
    CLI_COMPARE,
    CLI_BENCH,
    CLI_CONFIG_CHECK,
    CLI_VERSION,
    CLI_HELP,
    CLI_COMMANDS
};

enum cli_option {
    OPT_CONFIG,
    OPT_JOIN,
    OPT_SERVER,
    OPT_API,
    OPT_JSON,
    OPT_RAW,
    OPT_SIBLINGS,
    OPT_CONTEXTS,
    OPT_CONTEXT,
    OPT_WITH,
    OPT_TYPE,
    OPT_FILE,
    OPT_TTL,
    OPT_EXPIRES,
    OPT_TOUCH,
    OPT_IF_MATCH,
    OPT_IF_NONE_MATCH,
    OPT_ADD,
    OPT_W,
    OPT_WAIT,
    OPT_COUNTER,
    OPT_SPACE,
    OPT_TEXT,
    OPT_PREFIX,
    OPT_KEY,
    OPT_AFTER,
    OPT_END,
    OPT_LIMIT,
    OPT_REVERSE,
    OPT_DELIMITER,
    OPT_VALUES,
    OPT_FROM,
    OPT_INTO,
    OPT_SKIP,
    OPT_RESUME,
    OPT_SINCE,
    OPT_TAKE,
    OPT_FORCE,
    OPT_COMPARE,
    OPT_CONNECTIONS,
    OPT_SECONDS,
    OPT_READS,
    OPT_KEYS,
    OPT_SIZE,
    OPT_MAN,
    OPT_COMPLETION,
    OPT_VERSION,
    OPT_HELP,
    CLI_OPTIONS
};

enum cli_kind { CLI_FLAG, CLI_TEXT, CLI_CHOICE, CLI_PATH, CLI_NUMBER, CLI_DURATION, CLI_SERVERS };

struct cli_option_spec {
    char letter;      /* 0: none */
    const char *name; /* without "--" */
    const char *argument;
    const char *text; /* lower case, without a full stop */
    enum cli_kind kind;
    bool many;
    const char *choices;  /* of CLI_CHOICE: words with spaces between */
    uint64_t least, most; /* of CLI_NUMBER; most 0: any */
};

enum cli_group { GROUP_NODE, GROUP_DATA, GROUP_CLUSTER, GROUP_STORE, GROUP_OTHER, CLI_GROUPS };
enum { CLI_WORDS_MANY = 1 << 16 };

struct cli_command_spec {
    const char *name;      /* one or two words; "" of the one that starts a node */
    const char *arguments; /* "KEY [VALUE]" */
    enum cli_group group;
    unsigned words_min, words_max;
    uint64_t options;     /* a bit for each that it takes, besides -h */
    const char *summary;  /* of one line */
    const char *text;     /* paragraphs, an empty line between two; or NULL */
    const char *examples; /* a line each; or NULL */
};

extern const struct cli_option_spec cli_options[CLI_OPTIONS];
extern const struct cli_command_spec cli_commands[CLI_COMMANDS];
extern const char *const cli_group_names[CLI_GROUPS];

static inline uint64_t cli_bit(enum cli_option option)
{
    return UINT64_C(1) << option;
}

struct cli {
    enum cli_command command;
    const char **words; /* behind the command; the array is owned, the texts borrowed from argv */
    size_t word_count;
    const char *values[CLI_OPTIONS]; /* borrowed from argv; "" of a flag; NULL: not given */
    struct config_list join;         /* each a good "host:port" */
    struct config_list servers;      /* of --server and --api, as they were given */
};

static inline bool cli_has(const struct cli *cli, enum cli_option option)
{
    return cli->values[option] != NULL;
}
/* The n-th word behind the command; NULL where there is none. */
static inline const char *cli_word(const struct cli *cli, size_t n)
{
    return n < cli->word_count ? cli->words[n] : NULL;
}
/* Of an option of kind CLI_NUMBER, which has been judged; standard where it was not given. */
uint64_t cli_number(const struct cli *cli, enum cli_option option, uint64_t standard);

/* ERR_MALFORMED with one line in why. ret is to be done either way. */
enum err cli_parse(int argc, char **argv, struct cli *ret, struct buf *why) MUST_USE;
void cli_done(struct cli *cli);

/* The configuration that this command line asks for, read now: of its file or of
 * the first that is found, with the machine's defaults, and its peers joined to
 * those of the file. On failure one line in why, and ret needs no config_done. */
enum err cli_config(const struct cli *cli, struct config *ret, struct buf *why) MUST_USE;
/* The same, and the path of the file that was read, to free; NULL: none. */
enum err cli_config_of(const struct cli *cli, struct config *ret, char **ret_path, struct buf *why) MUST_USE;

/* Whether the options, and the words behind the command, are such as it has: a line in why. */
enum err cli_check(const struct cli *cli, struct buf *why) MUST_USE;
/* "-f", "--raw" */
void cli_put_option(struct buf *out, enum cli_option option);
/* The command that these words name, and how many of them do; CLI_SERVE for none. */
enum cli_command cli_find(const char *const *words, size_t count, size_t *ret_used);

/* The text of yzma help, and of yzma help COMMAND. */
void cli_help(struct buf *out);
void cli_help_of(enum cli_command command, struct buf *out);
/* The same for all that begin with a word, "keys"; ERR_NOT_FOUND: none does. */
enum err cli_help_about(const char *const *words, size_t count, struct buf *out) MUST_USE;
/* In mdoc's older sister, man(7): "yzma" for yzma(1), "yzma.json" for yzma.json(5). */
enum err cli_man(const char *page, struct buf *out) MUST_USE;
/* A script for "bash" or "zsh". */
enum err cli_completion(const char *shell, struct buf *out) MUST_USE;

#endif
