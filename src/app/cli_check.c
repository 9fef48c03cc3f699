/* Is a command line such as its command has it? What is wrong is said in one line that
 * names the option or the word and the command. */
#include "cli.h"
#include "units.h"

/* Of these only one at a time. */
static const uint64_t contradictions[] = {
    UINT64_C(1) << OPT_RAW | UINT64_C(1) << OPT_SIBLINGS | UINT64_C(1) << OPT_CONTEXT,
    UINT64_C(1) << OPT_RAW | UINT64_C(1) << OPT_JSON,
    UINT64_C(1) << OPT_COUNTER | UINT64_C(1) << OPT_SIBLINGS,
    UINT64_C(1) << OPT_COUNTER | UINT64_C(1) << OPT_RAW,
    UINT64_C(1) << OPT_COUNTER | UINT64_C(1) << OPT_PREFIX,
    UINT64_C(1) << OPT_COUNTER | UINT64_C(1) << OPT_IF_MATCH,
    UINT64_C(1) << OPT_COUNTER | UINT64_C(1) << OPT_IF_NONE_MATCH,
    UINT64_C(1) << OPT_TTL | UINT64_C(1) << OPT_EXPIRES,
    UINT64_C(1) << OPT_TOUCH | UINT64_C(1) << OPT_TYPE,
    UINT64_C(1) << OPT_TOUCH | UINT64_C(1) << OPT_FILE,
    UINT64_C(1) << OPT_TOUCH | UINT64_C(1) << OPT_ADD,
    UINT64_C(1) << OPT_TAKE | UINT64_C(1) << OPT_FILE,
    UINT64_C(1) << OPT_TAKE | UINT64_C(1) << OPT_TYPE,
    UINT64_C(1) << OPT_PREFIX | UINT64_C(1) << OPT_W,
    UINT64_C(1) << OPT_PREFIX | UINT64_C(1) << OPT_WAIT,
    UINT64_C(1) << OPT_PREFIX | UINT64_C(1) << OPT_WITH,
    UINT64_C(1) << OPT_PREFIX | UINT64_C(1) << OPT_IF_MATCH,
    UINT64_C(1) << OPT_PREFIX | UINT64_C(1) << OPT_IF_NONE_MATCH,
    UINT64_C(1) << OPT_MAN | UINT64_C(1) << OPT_COMPLETION,
};

static void see_help(const struct cli *cli, struct buf *why)
{
    const char *name = cli_commands[cli->command].name;
    buf_put_format(why, " (see yzma help%s%s)", name[0] ? " " : "", name);
}

static enum err check_options(const struct cli *cli, struct buf *why)
{
    const struct cli_command_spec *spec = &cli_commands[cli->command];
    for (size_t i = 0; i < CLI_OPTIONS; i++) {
        enum cli_option option = (enum cli_option)i;
        if (!cli_has(cli, option) || option == OPT_HELP || spec->options & cli_bit(option))
            continue;
        cli_put_option(why, option);
        if (spec->name[0])
            buf_put_format(why, " is no option of yzma %s", spec->name);
        else
            buf_put_text(why, " is an option of commands, and not of starting a node");
        see_help(cli, why);
        return ERR_MALFORMED;
    }
    return OK;
}

static enum err check_contradictions(const struct cli *cli, struct buf *why)
{
    for (size_t i = 0; i < sizeof contradictions / sizeof *contradictions; i++) {
        size_t found = 0;
        enum cli_option given[2];
        for (size_t k = 0; k < CLI_OPTIONS && found < 2; k++)
            if (contradictions[i] & cli_bit((enum cli_option)k) && cli_has(cli, (enum cli_option)k))
                given[found++] = (enum cli_option)k;
        if (found < 2)
            continue;
        cli_put_option(why, given[0]);
        buf_put_text(why, " and ");
        cli_put_option(why, given[1]);
        buf_put_text(why, " contradict each other");
        see_help(cli, why);
        return ERR_MALFORMED;
    }
    return OK;
}

/* "keys: must be followed by list, install KEY, .." ; false: no command begins with it. */
static bool put_verbs(const char *word, struct buf *why)
{
    size_t n = strlen(word);
    bool any = false;
    for (size_t i = 0; i < CLI_COMMANDS; i++) {
        const struct cli_command_spec *spec = &cli_commands[i];
        if (strncmp(spec->name, word, n) != 0 || spec->name[n] != ' ' || spec->options & cli_bit(OPT_COMPARE))
            continue;
        if (any)
            buf_put_text(why, ", ");
        else
            buf_put_format(why, "%s: must be followed by ", word);
        buf_put_format(why, "%s%s%s", spec->name + n + 1, spec->arguments[0] ? " " : "", spec->arguments);
        any = true;
    }
    return any;
}

static enum err check_count(const struct cli *cli, struct buf *why)
{
    const struct cli_command_spec *spec = &cli_commands[cli->command];
    if (cli->command == CLI_SERVE && cli->word_count) {
        if (!put_verbs(cli->words[0], why))
            buf_put_format(why, "%s: no such command", cli->words[0]);
        buf_put_text(why, " (see yzma help)");
        return ERR_MALFORMED;
    }
    if (cli->word_count >= spec->words_min && cli->word_count <= spec->words_max)
        return OK;
    buf_put_format(why, "%s: must be followed by %s", spec->name,
                   spec->arguments[0] ? spec->arguments : "nothing more");
    see_help(cli, why);
    return ERR_MALFORMED;
}

/* A whole number with a sign perhaps, of 64 bits. */
static bool is_integer(const char *text)
{
    uint64_t n;
    bool negative = text[0] == '-';
    return number_parse(bytes_str(text + negative), &n) == OK &&
           n <= (uint64_t)INT64_MAX + (negative ? 1 : 0);
}

static bool is_of(const struct cli *cli, const char *space)
{
    return strcmp(cli_has(cli, OPT_SPACE) ? cli->values[OPT_SPACE] : "keys", space) == 0;
}

static bool is_of_keys(const struct cli *cli)
{
    return is_of(cli, "keys");
}

/* What the listing of counters and sets does not know. */
static const char *find_foreign(const struct cli *cli)
{
    return is_of(cli, "all") ? "a listing is of one name space: keys, counters or sets"
           : cli_has(cli, OPT_END) || cli_has(cli, OPT_REVERSE) || cli_has(cli, OPT_DELIMITER)
               ? "--end, --reverse and --delimiter are of keys alone"
           : cli_has(cli, OPT_VALUES) && is_of(cli, "sets") ? "sets have elements, which yzma set list shows"
                                                            : NULL;
}

/* Words and options that stand for each other. */
static const char *find_clash(const struct cli *cli)
{
    bool value = cli->word_count > 1;
    switch (cli->command) {
    case CLI_PUT:
        if (value + cli_has(cli, OPT_FILE) + cli_has(cli, OPT_TOUCH) != 1)
            return "must have one of VALUE (-: standard input, @FILE), --file and --touch";
        if (cli_has(cli, OPT_TOUCH) && !cli_has(cli, OPT_TTL) && !cli_has(cli, OPT_EXPIRES))
            return "--touch wants --ttl or --expires";
        return NULL;
    case CLI_RESOLVE:
        return value + cli_has(cli, OPT_FILE) + cli_has(cli, OPT_TAKE) > 1
                   ? "must have only one of VALUE, --file and --take"
                   : NULL;
    case CLI_DELETE:
        return (cli->word_count > 0) == cli_has(cli, OPT_PREFIX) ? "must have keys, or else --prefix"
               : cli->word_count != 1 && cli_has(cli, OPT_WITH)
                   ? "--with is of one key, and must be alone with it"
                   : NULL;
    case CLI_SET_ADD:
    case CLI_SET_REMOVE:
        return value == cli_has(cli, OPT_FILE)
                   ? "must have elements (-: lines of standard input), or else --file"
                   : NULL;
    case CLI_SET_HAS:
        return strcmp(cli->words[1], "-") == 0 ? "ELEMENT must stand in the command line" : NULL;
    case CLI_LIST:
        return is_of_keys(cli) ? NULL : find_foreign(cli);
    case CLI_WATCH:
        return cli->word_count && cli_has(cli, OPT_KEY) ? "must have only one of PREFIX and --key"
               : is_of(cli, "all") && (cli->word_count || cli_has(cli, OPT_KEY))
                   ? "--space all is all there is, and has no PREFIX and no --key"
                   : NULL;
    case CLI_EXPORT:
        return is_of(cli, "all") && (cli_has(cli, OPT_PREFIX) || cli_has(cli, OPT_END))
                   ? "--space all is all there is, and has no --prefix and no --end"
               : (cli_has(cli, OPT_SIBLINGS) || cli_has(cli, OPT_CONTEXTS)) && !is_of_keys(cli) &&
                       !is_of(cli, "all")
                   ? "counters and sets have no --siblings and no --contexts"
               : cli_has(cli, OPT_RESUME) && (!cli->word_count || strcmp(cli->words[0], "-") == 0)
                   ? "--resume wants a FILE to go on with"
                   : NULL;
    case CLI_INCR:
        return cli->word_count > 1 && !is_integer(cli->words[1]) ? "N must be a whole number of 64 bits"
                                                                 : NULL;
    default:
        return NULL;
    }
}

/* That what help is wanted of is there. */
static enum err check_topic(const struct cli *cli, struct buf *why)
{
    if (cli->command != CLI_HELP || !cli->word_count)
        return OK;
    struct buf unused;
    buf_init(&unused, 1 << 20);
    enum err err = cli_help_about(cli->words, cli->word_count, &unused);
    buf_done(&unused);
    if (err == ERR_NOT_FOUND) {
        for (size_t i = 0; i < cli->word_count; i++)
            buf_put_format(why, "%s%s", i ? " " : "", cli->words[i]);
        buf_put_text(why, ": no such command (see yzma help)");
        return ERR_MALFORMED;
    }
    return OK;
}

static enum err check_endpoints(const struct cli *cli, struct buf *why)
{
    for (size_t i = 0; cli->command == CLI_COMPARE && i < cli->word_count; i++)
        if (!strchr(cli->words[i], ':')) {
            buf_put_format(why, "%s: must be host:port", cli->words[i]);
            return ERR_MALFORMED;
        }
    return OK;
}

enum err cli_check(const struct cli *cli, struct buf *why)
{
    if (cli_has(cli, OPT_HELP)) /* it is what is wanted, whatever else is there */
        return OK;
    if (cli->command == CLI_SERVE && cli->word_count)
        return check_count(cli, why);
    enum err err = check_options(cli, why);
    if (err == OK)
        err = check_contradictions(cli, why);
    if (err == OK)
        err = check_count(cli, why);
    if (err == OK)
        err = check_endpoints(cli, why);
    if (err == OK)
        err = check_topic(cli, why);
    const char *clash = err == OK ? find_clash(cli) : NULL;
    if (!clash)
        return err;
    buf_put_format(why, "%s: %s", cli_commands[cli->command].name, clash);
    see_help(cli, why);
    return ERR_MALFORMED;
}
