/* yzma help: made of the table, for a terminal of 80 columns. */
#include "cli.h"
#include "cli_text.h"

enum { COLUMNS = 79, NAME_COLUMN = 26, OPTION_COLUMN = 26 };

const char cli_about[] = "YzmaDB: a key/value store of which every node holds all and takes writes alone.";
const char cli_servers[] =
    "Commands ask the node at --server, or of the configuration of -c, or at YZMA_SERVER of the "
    "environment, or else that of the configuration that a node would find here, by default "
    "127.0.0.1:8080. Of several servers the next one is asked where one does not answer, unless what was "
    "sent might be done twice. While there is a next one, connecting may take 2 s, and of calls that do "
    "no harm twice (reads, put, delete, set add, import) the answer must begin within 5 s (import: 15 s; "
    "with --wait longer by that). Others, such as incr, batch, resolve, and put with --add or a "
    "condition, are sent once, and have 60 s.";
const char cli_first_steps[] = "yzma put foo '{\"bar\":1}'\nyzma get foo\nyzma list\nyzma status";
const struct cli_exit_code cli_exit_codes[CLI_EXIT_CODES] = {
    {EXIT_CODE_OK, "done; of a node: stopped as asked"},
    {EXIT_CODE_REFUSED, "could not be done; the reason is one line on standard error"},
    {EXIT_CODE_USAGE, "the command line is wrong"},
    {EXIT_CODE_FOUND,
     "the answer is the bad one: no such key, several versions, a condition that does not hold, fewer "
     "replicas than wanted, a problem that the doctor has found"},
};

/* From this column on, with this indent where it goes on; ends the line. */
static void put_wrapped(struct buf *out, size_t column, size_t indent, const char *text)
{
    for (bool first = true; *text; first = false) {
        size_t n = strcspn(text, " ");
        if (!first && column + 1 + n > COLUMNS) {
            buf_put_format(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            buf_put_u8(out, ' ');
            column++;
        }
        buf_put_bytes(out, bytes_of(text, n));
        column += n;
        text += n;
        text += strspn(text, " ");
    }
    buf_put_u8(out, '\n');
}

/* Two columns: what stands left already, and the text. */
static void put_right(struct buf *out, size_t written, size_t column, const char *text)
{
    if (written + 2 > column) {
        buf_put_u8(out, '\n');
        written = 0;
    }
    buf_put_format(out, "%*s", (int)(column - written), "");
    put_wrapped(out, column, column, text);
}

static void put_option_line(struct buf *out, const struct cli_option_spec *spec)
{
    size_t before = out->len;
    if (spec->letter)
        buf_put_format(out, "  -%c, --%s", spec->letter, spec->name);
    else
        buf_put_format(out, "      --%s", spec->name);
    if (spec->argument)
        buf_put_format(out, " %s", spec->argument);
    put_right(out, out->len - before, OPTION_COLUMN, spec->text);
}

static void put_options(struct buf *out, uint64_t options)
{
    for (size_t i = 0; i < CLI_OPTIONS; i++)
        if (options & cli_bit((enum cli_option)i))
            put_option_line(out, &cli_options[i]);
}

static void put_lines(struct buf *out, const char *lines)
{
    while (*lines) {
        size_t n = strcspn(lines, "\n");
        buf_put_format(out, "  %.*s\n", (int)n, lines);
        lines += n + (lines[n] == '\n');
    }
}

static void put_group(struct buf *out, enum cli_group group)
{
    buf_put_format(out, "\n%s\n", cli_group_names[group]);
    for (size_t i = 0; i < CLI_COMMANDS; i++) {
        const struct cli_command_spec *spec = &cli_commands[i];
        if (spec->group != group || !spec->name[0])
            continue;
        size_t before = out->len;
        buf_put_format(out, "  %s%s%s", spec->name, spec->arguments[0] ? " " : "", spec->arguments);
        put_right(out, out->len - before, NAME_COLUMN, spec->summary);
    }
}

void cli_help(struct buf *out)
{
    put_wrapped(out, 0, 0, cli_about);
    buf_put_text(out, "\nUsage: yzma [-c FILE] [-j HOST[:PORT]]...    starts a node\n"
                      "       yzma COMMAND [ARGUMENT]... [OPTION]...\n"
                      "       yzma help COMMAND                     tells its options\n");
    for (int group = GROUP_DATA; group < CLI_GROUPS; group++)
        put_group(out, (enum cli_group)group);
    buf_put_text(out, "\nOptions of a node, and of most commands\n");
    put_options(out, cli_bit(OPT_CONFIG) | cli_bit(OPT_JOIN) | cli_bit(OPT_SERVER) | cli_bit(OPT_JSON) |
                         cli_bit(OPT_VERSION) | cli_bit(OPT_HELP));
    buf_put_u8(out, '\n');
    put_wrapped(out, 0, 0, cli_servers);
    buf_put_text(out, "\nExit codes\n");
    for (size_t i = 0; i < CLI_EXIT_CODES; i++) {
        buf_put_format(out, "  %d  ", cli_exit_codes[i].code);
        put_wrapped(out, 5, 5, cli_exit_codes[i].text);
    }
    buf_put_text(out, "\nFirst steps, with a node running\n");
    put_lines(out, cli_first_steps);
}

void cli_help_of(enum cli_command command, struct buf *out)
{
    const struct cli_command_spec *spec = &cli_commands[command];
    buf_put_format(out, "Usage: yzma%s%s%s%s [OPTION]...\n\n", spec->name[0] ? " " : "", spec->name,
                   spec->arguments[0] ? " " : "", spec->arguments);
    char first = spec->summary[0];
    struct buf text;
    buf_init(&text, 64 << 10);
    buf_put_format(&text, "%c%s.", first >= 'a' && first <= 'z' ? first - 'a' + 'A' : first,
                   spec->summary + 1);
    if (spec->text)
        buf_put_format(&text, " %s", spec->text);
    buf_put_u8(&text, 0);
    put_wrapped(out, 0, 0, (const char *)text.data);
    buf_done(&text);
    buf_put_u8(out, '\n');
    put_options(out, spec->options | cli_bit(OPT_HELP));
    if (!spec->examples)
        return;
    buf_put_text(out, "\nExamples\n");
    put_lines(out, spec->examples);
}

enum err cli_help_about(const char *const *words, size_t count, struct buf *out)
{
    size_t used, n = strlen(words[0]);
    enum cli_command command = cli_find(words, count, &used);
    enum err err = used == count ? OK : ERR_NOT_FOUND;
    if (err == OK)
        cli_help_of(command, out);
    for (size_t i = 0; count == 1 && i < CLI_COMMANDS; i++) {
        const char *name = cli_commands[i].name;
        if (strncmp(name, words[0], n) != 0 || name[n] != ' ')
            continue;
        if (err == OK)
            buf_put_u8(out, '\n');
        cli_help_of((enum cli_command)i, out);
        err = OK;
    }
    return err;
}
