/* Reads the command line by the table of cli_table.c. Not getopt: a word such as -5 is a
 * number here and no option, and which options there are depends on no order. */
#include "cli.h"

#include "check.h"
#include "machine.h"
#include "mem.h"
#include "units.h"

#include <stdlib.h>

struct reading {
    struct cli *cli;
    struct buf *why;
    char **at; /* the argument that is looked at; NULL at the end */
};

void cli_put_option(struct buf *out, enum cli_option option)
{
    const struct cli_option_spec *spec = &cli_options[option];
    if (spec->letter)
        buf_put_format(out, "-%c", spec->letter);
    else
        buf_put_format(out, "--%s", spec->name);
}

/* ---- options ------------------------------------------------------------------------ */

static bool find_letter(char letter, enum cli_option *ret)
{
    for (size_t i = 0; i < CLI_OPTIONS; i++)
        if (letter && cli_options[i].letter == letter) {
            *ret = (enum cli_option)i;
            return true;
        }
    return false;
}

static bool find_name(const char *name, size_t n, enum cli_option *ret)
{
    for (size_t i = 0; i < CLI_OPTIONS; i++)
        if (strlen(cli_options[i].name) == n && memcmp(cli_options[i].name, name, n) == 0) {
            *ret = (enum cli_option)i;
            return true;
        }
    return false;
}

static void list_add(struct config_list *list, const char *text)
{
    list->texts = mem_grow(list->texts, (list->count + 1) * sizeof *list->texts);
    list->texts[list->count++] = mem_text(text);
}

/* A list with commas of host:port, each perhaps behind "http://" or "https://". */
static bool are_servers(const char *text)
{
    for (;;) {
        struct config_endpoint endpoint;
        struct bytes item = bytes_of(text, strcspn(text, ",")), rest = item;
        for (size_t i = 0; i < 2; i++) {
            struct bytes scheme = bytes_str(i ? "https://" : "http://");
            if (bytes_starts_with(item, scheme))
                rest = bytes_of(item.data + scheme.len, item.len - scheme.len);
        }
        if (endpoint_parse(rest, &endpoint) != OK)
            return false;
        free(endpoint.host);
        if (!text[item.len])
            return true;
        text += item.len + 1;
    }
}

static bool is_choice(const char *choices, const char *value)
{
    size_t n = strlen(value);
    while (*choices) {
        size_t length = strcspn(choices, " ");
        if (length == n && memcmp(choices, value, n) == 0)
            return true;
        choices += length + (choices[length] == ' ');
    }
    return false;
}

/* "one, two or three" of "one two three" */
static void put_choices(struct buf *out, const char *choices)
{
    for (const char *space; (space = strchr(choices, ' ')); choices = space + 1)
        buf_put_format(out, "%.*s%s", (int)(space - choices), choices,
                       strchr(space + 1, ' ') ? ", " : " or ");
    buf_put_text(out, choices);
}

static bool is_good(const struct cli_option_spec *spec, const char *value)
{
    uint64_t n;
    switch (spec->kind) {
    case CLI_CHOICE:
        return is_choice(spec->choices, value);
    case CLI_NUMBER:
        return number_parse(bytes_str(value), &n) == OK && n >= spec->least &&
               (!spec->most || n <= spec->most);
    case CLI_DURATION:
        return duration_parse(bytes_str(value), &n) == OK;
    case CLI_SERVERS:
        return are_servers(value);
    case CLI_PATH:
        return value[0];
    case CLI_FLAG:
    case CLI_TEXT:
        break;
    }
    return true;
}

/* What its value must be. */
static void put_must(struct buf *out, const struct cli_option_spec *spec)
{
    if (spec->kind == CLI_CHOICE)
        put_choices(out, spec->choices);
    else if (spec->most)
        buf_put_format(out, "%llu to %llu", (unsigned long long)spec->least, (unsigned long long)spec->most);
    else
        buf_put_text(out, spec->kind == CLI_NUMBER     ? "a whole number"
                          : spec->kind == CLI_DURATION ? "a duration such as 500ms or 1m30s"
                          : spec->kind == CLI_PATH     ? "a file's name"
                          : spec->kind == CLI_SERVERS  ? "host:port"
                                                       : "host:port or host");
}

static enum err take_value(struct reading *r, enum cli_option option, const char *value)
{
    const struct cli_option_spec *spec = &cli_options[option];
    struct cli *cli = r->cli;
    bool good = is_good(spec, value);
    if (option == OPT_JOIN)
        good = config_add_peer(&cli->join, bytes_str(value)) == OK;
    if (!good) {
        cli_put_option(r->why, option);
        buf_put_format(r->why, " %s: must be ", value);
        put_must(r->why, spec);
        return ERR_MALFORMED;
    }
    if (cli->values[option] && !spec->many) {
        cli_put_option(r->why, option);
        buf_put_text(r->why, " was given twice");
        return ERR_MALFORMED;
    }
    if (option == OPT_SERVER || option == OPT_API)
        list_add(&cli->servers, value);
    cli->values[option] = value;
    return OK;
}

/* The argument behind the present one becomes the present one. */
static enum err take_next(struct reading *r, enum cli_option option, const char *written)
{
    if (!r->at[1]) {
        buf_put_format(r->why, "%s needs a value (see yzma help)", written);
        return ERR_MALFORMED;
    }
    r->at++;
    return take_value(r, option, *r->at);
}

static enum err no_such_option(struct reading *r, const char *written)
{
    buf_put_format(r->why, "%s: no such option; a word that begins so stands behind -- (see yzma help)",
                   written);
    return ERR_MALFORMED;
}

/* "--name", "--name=value" */
static enum err take_long(struct reading *r, const char *written)
{
    const char *name = written + 2, *equals = strchr(name, '=');
    enum cli_option option;
    if (!find_name(name, equals ? (size_t)(equals - name) : strlen(name), &option))
        return no_such_option(r, written);
    if (cli_options[option].kind != CLI_FLAG)
        return equals ? take_value(r, option, equals + 1) : take_next(r, option, written);
    if (!equals)
        return take_value(r, option, "");
    buf_put_format(r->why, "--%s takes no value", cli_options[option].name);
    return ERR_MALFORMED;
}

/* "-f", "-fV", "-c FILE", "-cFILE" */
static enum err take_letters(struct reading *r, const char *written)
{
    enum err err = OK;
    for (const char *at = written + 1; *at && err == OK; at++) {
        enum cli_option option;
        if (!find_letter(*at, &option))
            return no_such_option(r, written);
        if (cli_options[option].kind != CLI_FLAG)
            return at[1] ? take_value(r, option, at + 1) : take_next(r, option, written);
        err = take_value(r, option, "");
    }
    return err;
}

/* "-" is standard input, and "-5" a number. */
static bool is_option(const char *text)
{
    return text[0] == '-' && text[1] && !(text[1] >= '0' && text[1] <= '9');
}

/* ---- the whole line ----------------------------------------------------------------- */

static size_t words_in(const char *name)
{
    return name[0] ? (strchr(name, ' ') ? 2 : 1) : 0;
}

enum cli_command cli_find(const char *const *words, size_t count, size_t *ret_used)
{
    for (size_t used = count < 2 ? count : 2; used > 0; used--)
        for (size_t i = 0; i < CLI_COMMANDS; i++) {
            const char *name = cli_commands[i].name;
            size_t n = strlen(words[0]);
            bool same = words_in(name) == used && strncmp(name, words[0], n) == 0 &&
                        (used == 1 ? !name[n] : name[n] == ' ' && strcmp(name + n + 1, words[1]) == 0);
            if (same) {
                *ret_used = used;
                return (enum cli_command)i;
            }
        }
    *ret_used = 0;
    return CLI_SERVE;
}

static enum err read_all(struct reading *r)
{
    struct cli *cli = r->cli;
    enum err err = OK;
    for (bool literal = false; *r->at && err == OK; r->at++) {
        const char *text = *r->at;
        if (!literal && strcmp(text, "--") == 0)
            literal = true;
        else if (literal || !is_option(text))
            cli->words[cli->word_count++] = text;
        else
            err = text[1] == '-' ? take_long(r, text) : take_letters(r, text);
    }
    return err;
}

/* The words of the command are taken from those of the line. */
static enum err name_command(struct cli *cli, struct buf *why)
{
    size_t used;
    cli->command = cli_find(cli->words, cli->word_count, &used);
    if (cli->command == CLI_DOCTOR && cli_has(cli, OPT_COMPARE))
        cli->command = CLI_COMPARE;
    for (size_t i = used; i < cli->word_count; i++)
        cli->words[i - used] = cli->words[i];
    cli->word_count -= used;
    return cli_check(cli, why);
}

enum err cli_parse(int argc, char **argv, struct cli *ret, struct buf *why)
{
    *ret = (struct cli){.words = mem_new(((size_t)argc + 1) * sizeof *ret->words)};
    if (argc < 1)
        return OK;
    struct reading r = {.cli = ret, .why = why, .at = argv + 1};
    enum err err = read_all(&r);
    return err == OK ? name_command(ret, why) : err;
}

void cli_done(struct cli *cli)
{
    config_list_done(&cli->join);
    config_list_done(&cli->servers);
    free(cli->words);
    *cli = (struct cli){0};
}

uint64_t cli_number(const struct cli *cli, enum cli_option option, uint64_t standard)
{
    uint64_t n = standard;
    if (cli->values[option])
        CHECK(number_parse(bytes_str(cli->values[option]), &n) == OK); /* was judged */
    return n;
}

/* ---- the configuration -------------------------------------------------------------- */

enum err cli_config_of(const struct cli *cli, struct config *ret, char **ret_path, struct buf *why)
{
    struct config config;
    struct machine machine;
    char *path = NULL;
    enum err err = config_load(&config, cli->values[OPT_CONFIG], &path, why);
    if (err != OK)
        return err;
    machine_describe(&machine);
    err = config_fill_defaults(&config, &machine, why);
    for (size_t i = 0; err == OK && i < cli->join.count; i++)
        CHECK(config_add_peer(&config.peering.join, bytes_str(cli->join.texts[i])) == OK); /* was parsed */
    if (err == OK) {
        *ret = config;
        *ret_path = path;
    } else {
        config_done(&config);
        free(path);
    }
    return err;
}

enum err cli_config(const struct cli *cli, struct config *ret, struct buf *why)
{
    char *path;
    enum err err = cli_config_of(cli, ret, &path, why);
    if (err == OK)
        free(path);
    return err;
}
