/* The man pages, made of the tables of commands and of settings, in man(7). */
#include "cli.h"
#include "cli_text.h"
#include "config_table.h"

/* Text as roff takes it: what it would read as a command or an escape is told apart, and
 * a dash is one that can be copied. */
static void put(struct buf *out, const char *text)
{
    for (bool begin = true; *text; text++) {
        if (begin && (*text == '.' || *text == '\''))
            buf_put_text(out, "\\&");
        begin = *text == '\n';
        if (*text == '-')
            buf_put_text(out, "\\-");
        else if (*text == '\\')
            buf_put_text(out, "\\e");
        else if (*text == '~')
            buf_put_text(out, "\\(ti");
        else if (*text == '^')
            buf_put_text(out, "\\(ha");
        else if (*text == '\'')
            buf_put_text(out, "\\(aq");
        else if (*text == '`')
            buf_put_text(out, "\\(ga");
        else
            buf_put_u8(out, (uint8_t)*text);
    }
}

static void put_line(struct buf *out, const char *text)
{
    put(out, text);
    buf_put_u8(out, '\n');
}

static void put_macro(struct buf *out, const char *macro, const char *text)
{
    buf_put_format(out, "%s \"", macro);
    put(out, text);
    buf_put_text(out, "\"\n");
}

static void put_example(struct buf *out, const char *lines)
{
    buf_put_text(out, ".PP\n.nf\n.RS\n");
    put_line(out, lines);
    buf_put_text(out, ".RE\n.fi\n");
}

static void put_head(struct buf *out, const char *name, const char *section, const char *what)
{
    buf_put_format(out, ".TH %s %s \"\" \"YzmaDB " YZMA_VERSION "\" \"YzmaDB\"\n.SH NAME\n", name, section);
    put(out, name);
    buf_put_text(out, " \\- ");
    put_line(out, what);
}

/* ---- yzma(1) ------------------------------------------------------------------------ */

static void put_option_name(struct buf *out, const struct cli_option_spec *spec, bool with_letter)
{
    buf_put_text(out, "\\fB");
    if (with_letter && spec->letter)
        buf_put_format(out, "\\-%c\\fR, \\fB", spec->letter);
    buf_put_text(out, "\\-\\-");
    put(out, spec->name);
    buf_put_text(out, "\\fR");
    if (spec->argument) {
        buf_put_text(out, " \\fI");
        put(out, spec->argument);
        buf_put_text(out, "\\fR");
    }
}

static void put_option_list(struct buf *out, uint64_t options)
{
    bool any = false;
    for (size_t i = 0; i < CLI_OPTIONS; i++) {
        if (!(options & cli_bit((enum cli_option)i)))
            continue;
        buf_put_text(out, any ? ",\n" : "Options:\n");
        put_option_name(out, &cli_options[i], false);
        any = true;
    }
    if (any)
        buf_put_text(out, ".\n");
}

static void put_command(struct buf *out, const struct cli_command_spec *spec)
{
    buf_put_text(out, ".TP\n\\fByzma ");
    put(out, spec->name);
    buf_put_text(out, "\\fR");
    if (spec->arguments[0]) {
        buf_put_text(out, " \\fI");
        put(out, spec->arguments);
        buf_put_text(out, "\\fR");
    }
    buf_put_u8(out, '\n');
    char first = spec->summary[0];
    buf_put_u8(out, (uint8_t)(first >= 'a' && first <= 'z' ? first - 'a' + 'A' : first));
    put(out, spec->summary + 1);
    buf_put_text(out, ".\n");
    if (spec->text)
        put_line(out, spec->text);
    put_option_list(out, spec->options & ~(cli_bit(OPT_SERVER) | cli_bit(OPT_API) | cli_bit(OPT_CONFIG)));
    if (spec->examples) {
        buf_put_text(out, ".RS\n");
        put_example(out, spec->examples);
        buf_put_text(out, ".RE\n");
    }
}

static void put_commands(struct buf *out)
{
    put_macro(out, ".SH", "COMMANDS");
    for (size_t group = GROUP_DATA; group < CLI_GROUPS; group++) {
        put_macro(out, ".SS", cli_group_names[group]);
        for (size_t i = 0; i < CLI_COMMANDS; i++)
            if (cli_commands[i].group == group && cli_commands[i].name[0])
                put_command(out, &cli_commands[i]);
    }
}

static void put_options(struct buf *out)
{
    put_macro(out, ".SH", "OPTIONS");
    for (size_t i = 0; i < CLI_OPTIONS; i++) {
        buf_put_text(out, ".TP\n");
        put_option_name(out, &cli_options[i], true);
        buf_put_u8(out, '\n');
        put_line(out, cli_options[i].text);
    }
}

static void put_ends(struct buf *out)
{
    put_macro(out, ".SH", "EXIT STATUS");
    for (size_t i = 0; i < CLI_EXIT_CODES; i++) {
        buf_put_format(out, ".TP\n.B %d\n", cli_exit_codes[i].code);
        put_line(out, cli_exit_codes[i].text);
    }
    put_macro(out, ".SH", "ENVIRONMENT");
    buf_put_text(out,
                 ".TP\n.B YZMA_SERVER\nThe servers to ask where the command line names none: a list with "
                 "commas.\n"
                 ".TP\n.B NO_COLOR\nWithout colours, also on a terminal.\n");
    put_macro(out, ".SH", "FILES");
    buf_put_text(out, ".I ./yzma.json\n.br\n.I \\(ti/.yzma/yzma.json\n.br\n.I /etc/yzma/yzma.json\n.br\n"
                      "The configuration: the first that exists.\n");
    put_macro(out, ".SH", "EXAMPLES");
    buf_put_text(out, "With a node running:\n");
    put_example(out, cli_first_steps);
    put_macro(out, ".SH", "SEE ALSO");
    buf_put_text(out, ".BR yzma.json (5)\n");
}

static void put_yzma(struct buf *out)
{
    put_head(out, "yzma", "1", "a key/value store of which every node holds all and takes writes alone");
    put_macro(out, ".SH", "SYNOPSIS");
    buf_put_text(out,
                 ".B yzma\n[\\fB\\-c\\fR \\fIFILE\\fR] [\\fB\\-j\\fR \\fIHOST\\fR[:\\fIPORT\\fR]]...\n.br\n"
                 ".B yzma\n.I COMMAND\n[\\fIARGUMENT\\fR]... [\\fIOPTION\\fR]...\n");
    put_macro(out, ".SH", "DESCRIPTION");
    buf_put_text(out, "Without a command it starts a node.\n");
    put_line(out, cli_commands[CLI_SERVE].text);
    put_example(out, cli_commands[CLI_SERVE].examples);
    buf_put_text(out, ".PP\n");
    put_line(out, cli_servers);
    put_commands(out);
    put_options(out);
    put_ends(out);
}

/* ---- yzma.json(5) ------------------------------------------------------------------- */

static void put_setting(struct buf *out, const struct setting *setting)
{
    struct buf must;
    buf_init(&must, 4096);
    setting_explain(setting, &must);
    buf_put_u8(&must, 0);
    buf_put_text(out, ".TP\n\\fB");
    put(out, strchr(setting->path, '.') + 1);
    buf_put_text(out, "\\fR");
    if (setting->standard && setting->standard[0]) {
        buf_put_text(out, " (");
        put(out, setting->standard);
        buf_put_u8(out, ')');
    }
    buf_put_u8(out, '\n');
    put_line(out, setting_about(setting));
    buf_put_u8(out, 'M');
    put(out, (const char *)must.data + 1); /* "must be .." */
    buf_put_text(out, ".\n");
    buf_done(&must);
}

static void put_config(struct buf *out)
{
    put_head(out, "yzma.json", "5", "configuration of YzmaDB");
    put_macro(out, ".SH", "DESCRIPTION");
    buf_put_text(
        out,
        "A node needs no configuration: without a file it runs alone, with its API on 127.0.0.1:8080 and its "
        "data in ./yzma.db.\nThe file is JSON, with the sections API, Peering and Server. Names match in any "
        "case; what is unknown, given twice or does not fit stops the start with one line.\n"
        "A name with a dot lies in a section of its own.\n"
        ".PP\nDurations are texts of whole numbers with units, largest first: \"500ms\", \"1m30s\", \"72h\", "
        "\"2d\". Sizes are numbers of bytes or texts: 4096, \"10KB\", \"64MiB\". Addresses with a port are "
        "\"host:port\", IPv6 in brackets.\n"
        ".PP\n\\fByzma config check\\fR reads it and prints what is in effect.\n");
    const char *section = "";
    for (size_t i = 0; i < SETTINGS; i++) {
        size_t n = strcspn(settings[i].path, ".");
        if (strncmp(section, settings[i].path, n) != 0) {
            section = settings[i].path;
            buf_put_format(out, ".SH %.*s\n", (int)n, section);
        }
        put_setting(out, &settings[i]);
    }
    put_macro(out, ".SH", "EXAMPLES");
    put_example(
        out, "{\n  \"API\": { \"Bind\": \"127.0.0.1:8080\" },\n"
             "  \"Peering\": { \"Name\": \"kronk\", \"Join\": [\"10.0.0.7\"] },\n"
             "  \"Server\": { \"DBPath\": \"/var/lib/yzma/yzma.db\", \"Log\": { \"Level\": \"warn\" } }\n}");
    put_macro(out, ".SH", "FILES");
    buf_put_text(out, ".I ./yzma.json\n.br\n.I \\(ti/.yzma/yzma.json\n.br\n.I /etc/yzma/yzma.json\n");
    put_macro(out, ".SH", "SEE ALSO");
    buf_put_text(out, ".BR yzma (1)\n");
}

enum err cli_man(const char *page, struct buf *out)
{
    if (strcmp(page, "yzma") == 0)
        put_yzma(out);
    else if (strcmp(page, "yzma.json") == 0)
        put_config(out);
    else
        return ERR_NOT_FOUND;
    return out->err;
}
