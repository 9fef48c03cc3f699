/* Commands about the program itself: yzma config check, version, help. */
#include "cmd.h"

#include "config_table.h"
#include "machine.h"

#include <stdlib.h>

enum { TEXT_MAX = 1 << 20 };

/* ---- config check ------------------------------------------------------------------- */

/* {"File":..,"Settings":{"API.Bind":..}} */
static void show_json(const char *path, const struct config *config, FILE *out)
{
    struct buf line;
    buf_init(&line, TEXT_MAX);
    struct json_out json = json_out_to(&line);
    json_object(&json);
    json_name(&json, "File");
    if (path)
        json_text(&json, path);
    else
        json_null(&json);
    json_name(&json, "Settings");
    json_object(&json);
    for (size_t i = 0; i < SETTINGS; i++) {
        json_name(&json, settings[i].path);
        setting_put(&settings[i], config, &json);
    }
    json_object_end(&json);
    json_object_end(&json);
    cmd_print_text(out, buf_bytes(&line));
    buf_done(&line);
}

static void show_table(const char *path, const struct config *config, FILE *out)
{
    static const char *const titles[] = {"", "SETTING", "VALUE"};
    struct config standard;
    struct machine machine;
    struct grid grid;
    struct buf unused;
    buf_init(&unused, TEXT_MAX);
    config_init(&standard);
    machine_describe(&machine); /* what is left to it is no choice of somebody's */
    (void)!config_fill_defaults(&standard, &machine, &unused);
    buf_done(&unused);
    grid_init(&grid, 3, titles);
    for (size_t i = 0; i < SETTINGS; i++) {
        struct buf value;
        bool same = setting_equal(&settings[i], config, &standard);
        buf_init(&value, TEXT_MAX);
        struct json_out json = json_out_to(&value);
        setting_put(&settings[i], config, &json);
        grid_put_text(&grid, same ? "" : "*");
        grid_put_text(&grid, settings[i].path);
        grid_colour(&grid, same ? TERM_PLAIN : TERM_BOLD);
        grid_put(&grid, buf_bytes(&value));
        buf_done(&value);
    }
    fprintf(out, "%s\n\n", path ? path : "no file: the defaults");
    grid_print(&grid, out);
    grid_done(&grid);
    config_done(&standard);
}

enum err tool_config_check(const struct cli *cli, FILE *out, struct buf *why)
{
    struct config config;
    char *path = NULL;
    enum err err = cli_config_of(cli, &config, &path, why);
    if (err != OK)
        return err;
    if (cli_has(cli, OPT_JSON))
        show_json(path, &config, out);
    else
        show_table(path, &config, out);
    config_done(&config);
    free(path);
    return OK;
}

/* ---- version, help ------------------------------------------------------------------ */

enum err tool_version(const struct cli *cli, FILE *out, struct buf *why)
{
    fputs(cli_has(cli, OPT_JSON) ? "{\"Version\":\"" YZMA_VERSION "\"}\n" : "yzma " YZMA_VERSION "\n", out);
    return OK;
}

/* What it is wanted of was judged. */
static enum err put_help(const struct cli *cli, struct buf *text)
{
    const char *page = cli->values[OPT_MAN], *shell = cli->values[OPT_COMPLETION];
    enum err err = OK;
    if (page)
        err = cli_man(page, text);
    else if (shell)
        err = cli_completion(shell, text);
    else if (cli->word_count)
        err = cli_help_about(cli->words, cli->word_count, text);
    else
        cli_help(text);
    return err == OK ? text->err : err;
}

enum err tool_help(const struct cli *cli, FILE *out, struct buf *why)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    enum err err = OK;
    if (cli->command == CLI_HELP && !cli_has(cli, OPT_HELP))
        err = put_help(cli, &text);
    else if (cli->command == CLI_SERVE)
        cli_help(&text);
    else
        cli_help_of(cli->command, &text);
    if (err == OK)
        fwrite(text.data, 1, text.len, out);
    buf_done(&text);
    return err;
}
