/* yzma list, count and conflicts. A list is one stream of lines; where that breaks it goes
 * on at the next server, behind the last key that was shown. */
#include "cmd.h"

#include "base64.h"
#include "mem.h"

#include <stdlib.h>

enum { ROWS_AT_A_TIME = 256 };

struct showing {
    const struct cli *cli;
    FILE *out;
    struct buf *why;
    struct grid grid;
    char *last;            /* the key or folder shown last; NULL: none */
    uint64_t shown, limit; /* 0: all */
    bool as_json, as_table, with_values;
    char *error; /* the last line told why there is no more */
};

static void put_range(const struct cli *cli, const char *after, struct buf *target)
{
    if (cli_word(cli, 0))
        client_put_param_text(target, "prefix", cli_word(cli, 0));
    if (after)
        client_put_param_text(target, "after", after);
    if (cli_has(cli, OPT_END))
        client_put_param_text(target, "end", cli->values[OPT_END]);
    if (cli_has(cli, OPT_REVERSE))
        client_put_param_text(target, "reverse", "true");
    if (cli_has(cli, OPT_DELIMITER))
        client_put_param_text(target, "delimiter", cli->values[OPT_DELIMITER]);
    if (cli_has(cli, OPT_VALUES))
        client_put_param_text(target, "values", "true");
}

/* JSON on one line: line breaks stand between its parts only. */
static void put_json_text(struct buf *out, struct bytes base64)
{
    struct buf decoded;
    char *text = read_text(base64);
    buf_init(&decoded, SIZE_MAX);
    if (base64_decode(bytes_str(text), &decoded) == OK)
        for (size_t i = 0; i < decoded.len; i++)
            buf_put_u8(out, decoded.data[i] < ' ' ? ' ' : decoded.data[i]);
    buf_done(&decoded);
    free(text);
}

/* The value of a line, or "(its type)". */
static void put_value(struct buf *out, struct bytes line)
{
    struct bytes value = read_member(line, "Value"), type = read_member(line, "Type");
    if (value.len) {
        buf_put_bytes(out, value);
    } else if (type.len) {
        char *text = read_text(type);
        buf_put_format(out, "(%s)", text);
        free(text);
    } else {
        put_json_text(out, read_member(line, "Value64"));
    }
}

static void show_row(struct showing *s, struct bytes line, const char *key)
{
    struct buf value;
    bool folder = read_member(line, "Folder").len > 0;
    buf_init(&value, SIZE_MAX);
    if (s->with_values && !folder)
        put_value(&value, line);
    if (s->as_table) {
        char *expires = read_member_text(line, "Expires");
        grid_put_text(&s->grid, key);
        grid_colour(&s->grid, folder ? TERM_BOLD : TERM_PLAIN);
        grid_put_text(&s->grid, expires);
        if (s->with_values)
            grid_put(&s->grid, buf_bytes(&value));
        if (s->grid.count >= ROWS_AT_A_TIME * s->grid.columns)
            grid_print(&s->grid, s->out);
        free(expires);
    } else {
        struct buf text;
        buf_init(&text, SIZE_MAX);
        client_put_plain(&text, bytes_str(key));
        if (s->with_values) {
            buf_put_u8(&text, '\t');
            client_put_plain(&text, buf_bytes(&value));
        }
        cmd_print_text(s->out, buf_bytes(&text));
        buf_done(&text);
    }
    buf_done(&value);
}

static enum err on_line(void *ctx, struct bytes line)
{
    struct showing *s = ctx;
    if (!read_is_json(line))
        return ERR_MALFORMED;
    struct bytes key = read_member(line, "Key"), error = read_member(line, "Error");
    if (!key.len)
        key = read_member(line, "Folder");
    if (!key.len) {
        free(s->error);
        s->error = read_text(error);
        return OK;
    }
    free(s->last);
    s->last = read_text(key);
    if (s->as_json)
        cmd_print_text(s->out, line);
    else
        show_row(s, line, s->last);
    return ++s->shown == s->limit ? ERR_CLOSED : OK;
}

/* One stream, as far as it goes. */
static enum err list_on(struct showing *s, struct client *client)
{
    struct client_answer answer;
    struct buf target;
    buf_init(&target, CMD_TARGET_MAX);
    buf_put_text(&target, "/keys?limit=0");
    put_range(s->cli, s->last ? s->last : s->cli->values[OPT_AFTER], &target);
    struct client_call call = {.target = client_target(&target), .line = on_line, .ctx = s};
    free(s->error);
    s->error = NULL;
    enum err err = call.target ? cmd_call(client, &call, &answer, s->why) : target.err;
    if (cmd_has_answer(err))
        client_answer_done(&answer);
    if (err == OK && s->error)
        err = ERR_IO;
    if (err == ERR_IO && s->error) {
        buf_reset(s->why);
        client_put_plain(s->why, bytes_str(s->error));
    }
    buf_done(&target);
    return err;
}

static enum err list_all(struct showing *s, struct client *client)
{
    for (size_t failed = 0;;) {
        uint64_t before = s->shown;
        enum err err = list_on(s, client);
        bool broke_off = (err == ERR_IO || err == ERR_TIMEOUT) && (s->shown > before || s->error);
        failed = s->shown > before ? 1 : failed + 1;
        if (err == ERR_CLOSED)
            return OK;
        if (err == ERR_MALFORMED)
            buf_put_text(s->why, "that is no answer of a YzmaDB");
        /* Each server once more behind the last key; where none answers, the client has
         * asked all of them. */
        if (!broke_off || failed > client_servers(client))
            return err;
        buf_reset(s->why);
        client_next_server(client);
    }
}

enum err tool_count(const struct cli *cli, FILE *out, struct buf *why)
{
    struct client *client;
    struct client_answer answer;
    struct buf target;
    enum err err = cmd_client(cli, &client, why);
    if (err != OK)
        return err;
    buf_init(&target, CMD_TARGET_MAX);
    buf_put_text(&target, "/keys?count=true");
    put_range(cli, cli->values[OPT_AFTER], &target);
    /* Many keys take long, and say nothing meanwhile. */
    struct client_call call = {.target = client_target(&target), .idle_ms = CMD_LONG_MS};
    err = call.target ? cmd_call(client, &call, &answer, why) : target.err;
    if (cmd_has_answer(err)) {
        struct bytes data = cmd_data(&answer);
        if (err == OK)
            cmd_print_text(out, cli_has(cli, OPT_JSON) ? data : read_member(data, "Count"));
        client_answer_done(&answer);
    }
    buf_done(&target);
    client_free(client);
    return err;
}

/* ---- counters, sets, conflicts ------------------------------------------------------ */

static void show_entry(void *ctx, struct bytes entry)
{
    struct showing *s = ctx;
    if (s->as_json) {
        cmd_print_text(s->out, entry);
        return;
    }
    char *key = read_member_text(entry, "Key");
    if (s->cli->command == CLI_CONFLICTS) {
        grid_put(&s->grid, read_member(entry, "Versions"));
        grid_put_text(&s->grid, key);
    } else {
        show_row(s, entry, key);
    }
    free(key);
}

static enum err list_pages(struct showing *s, struct client *client, const char *path, const char *member)
{
    struct cmd_pages pages = {
        .cli = s->cli, .after = s->cli->values[OPT_AFTER], .member = member, .entry = show_entry, .ctx = s};
    buf_init(&pages.target, CMD_TARGET_MAX);
    buf_put_text(&pages.target, path);
    if (cli_word(s->cli, 0))
        client_put_param_text(&pages.target, "prefix", cli_word(s->cli, 0));
    enum err err = cmd_pages(client, &pages, s->why);
    buf_done(&pages.target);
    return err;
}

static bool is_space(const struct cli *cli, const char *space)
{
    return cli_has(cli, OPT_SPACE) && strcmp(cli->values[OPT_SPACE], space) == 0;
}

static enum err show_all(struct showing *s, struct client *client)
{
    return s->cli->command == CLI_CONFLICTS ? list_pages(s, client, "/conflicts", "Keys")
           : is_space(s->cli, "counters")   ? list_pages(s, client, "/counters", "Counters")
           : is_space(s->cli, "sets")       ? list_pages(s, client, "/sets", "Sets")
                                            : list_all(s, client);
}

/* list, conflicts */
enum err tool_list(const struct cli *cli, FILE *out, struct buf *why)
{
    static const char *const titles[] = {"KEY", "EXPIRES", "VALUE"}, *const versions[] = {"VERSIONS", "KEY"};
    struct client *client;
    struct showing s = {.cli = cli,
                        .out = out,
                        .why = why,
                        .limit = cli_number(cli, OPT_LIMIT, 0),
                        .as_json = cli_has(cli, OPT_JSON),
                        .as_table = term_is(out),
                        .with_values = cli_has(cli, OPT_VALUES)};
    enum err err = cmd_client(cli, &client, why);
    if (err != OK)
        return err;
    grid_init(&s.grid, s.with_values ? 3 : 2, cli->command == CLI_CONFLICTS ? versions : titles);
    err = show_all(&s, client);
    grid_print(&s.grid, out);
    grid_done(&s.grid);
    client_free(client);
    free(s.last);
    free(s.error);
    return err;
}
