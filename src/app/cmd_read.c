/* yzma get: a value, its versions or its context; also those of a counter. */
#include "cmd.h"

#include "json_out.h"
#include "mem.h"

#include <stdlib.h>
#include <strings.h>

struct getting {
    const struct cli *cli;
    struct client *client;
    const char *key;
    FILE *out;
    struct buf *why;
};

static enum err ask(struct getting *g, struct client_call *call, const char *params,
                    struct client_answer *ret)
{
    const struct cli *cli = g->cli;
    struct buf target;
    buf_init(&target, CMD_TARGET_MAX);
    client_put_path(&target, cli_has(cli, OPT_COUNTER) ? "/counters/" : "/keys/", bytes_str(g->key));
    buf_put_text(&target, params);
    if (cli_has(cli, OPT_WAIT))
        client_put_param_text(&target, "wait", cli->values[OPT_WAIT]);
    call->target = client_target(&target);
    call->context = cli->values[OPT_WITH];
    call->idle_ms = cmd_idle_ms(cli);
    enum err err = call->target ? cmd_call(g->client, call, ret, g->why) : target.err;
    buf_done(&target);
    return err;
}

/* Several versions, of which the cluster is to show all. */
static enum err judge_versions(struct getting *g, const struct client_answer *answer, enum err err)
{
    if (!cmd_has_answer(err) || answer->status != 300)
        return err;
    buf_reset(g->why);
    buf_put_format(g->why, "%s: several versions (see yzma get --siblings, and yzma resolve)", g->key);
    return ERR_UNMET;
}

/* ---- the value alone ---------------------------------------------------------------- */

static enum err write_piece(void *ctx, struct bytes piece)
{
    struct getting *g = ctx;
    return fwrite(piece.data, 1, piece.len, g->out) == piece.len ? OK : ERR_IO;
}

static bool is_json_type(const char *type)
{
    size_t n = strcspn(type, ";");
    return strncasecmp(type, "application/json", n) == 0 ||
           (n > 5 && strncasecmp(type + n - 5, "+json", 5) == 0);
}

/* JSON gets a line end, other text one on a terminal, and bytes go to no terminal. */
static enum err print_value(struct getting *g, const struct client_answer *answer)
{
    struct bytes value = buf_bytes(&answer->body);
    bool json = is_json_type(answer->content_type), terminal = term_is(g->out);
    bool text = strncasecmp(answer->content_type, "text/", 5) == 0;
    if (terminal && !json && !text) {
        buf_put_format(g->why, "%s: %zu bytes of %s are not for a terminal (--raw shows them all the same)",
                       g->key, value.len, answer->content_type);
        return ERR_REFUSED;
    }
    fwrite(value.data, 1, value.len, g->out);
    if (json || (terminal && value.len && value.data[value.len - 1] != '\n'))
        fputc('\n', g->out);
    return OK;
}

static enum err get_value(struct getting *g)
{
    struct client_answer answer;
    struct client_call call = {.ctx = g};
    bool raw = cli_has(g->cli, OPT_RAW);
    if (raw)
        call.piece = write_piece;
    enum err err = ask(g, &call, "?raw=true", &answer);
    if (!cmd_has_answer(err))
        return err;
    if (err == OK && !raw)
        err = print_value(g, &answer);
    err = judge_versions(g, &answer, err);
    client_answer_done(&answer);
    return err;
}

/* ---- with what belongs to it -------------------------------------------------------- */

/* Of what is no JSON, Data is {"Data":"<base64>","Type":".."}. */
static void put_value(struct json_out *json, const struct client_answer *answer)
{
    struct bytes data = cmd_data(answer);
    bool bytes = answer->value_type[0] && !is_json_type(answer->value_type);
    json_name(json, bytes ? "Value64" : "Value");
    json_raw(json, bytes ? read_member(data, "Data") : data);
    if (bytes)
        json_field_text(json, "Type", answer->value_type);
}

static enum err get_json(struct getting *g)
{
    struct client_answer answer;
    struct client_call call = {0};
    enum err err = ask(g, &call, "", &answer);
    if (!cmd_has_answer(err))
        return err;
    if (err == OK && cmd_data(&answer).len) {
        struct buf line;
        buf_init(&line, SIZE_MAX);
        struct json_out json = json_out_to(&line);
        json_object(&json);
        json_field_text(&json, "Key", g->key);
        put_value(&json, &answer);
        if (answer.expires[0])
            json_field_text(&json, "Expires", answer.expires);
        if (answer.etag[0])
            json_field_text(&json, "ETag", answer.etag);
        if (answer.context[0])
            json_field_text(&json, "Context", answer.context);
        json_object_end(&json);
        cmd_print_text(g->out, buf_bytes(&line));
        buf_done(&line);
    }
    err = judge_versions(g, &answer, err);
    client_answer_done(&answer);
    return err;
}

static enum err get_counter(struct getting *g)
{
    struct client_answer answer;
    struct client_call call = {0};
    enum err err = ask(g, &call, "", &answer);
    if (!cmd_has_answer(err))
        return err;
    if (err == OK)
        cmd_print_text(g->out, cmd_data(&answer));
    client_answer_done(&answer);
    return err;
}

/* Also of a key that is not there: what was seen is then that. */
static enum err get_context(struct getting *g)
{
    struct client_answer answer;
    struct client_call call = {.method = "HEAD"};
    enum err err = ask(g, &call, "", &answer);
    if (!cmd_has_answer(err))
        return err;
    if (answer.context[0] && (answer.status == 200 || answer.status == 300 || answer.status == 404)) {
        buf_reset(g->why);
        cmd_print_text(g->out, bytes_str(answer.context));
        err = OK;
    }
    client_answer_done(&answer);
    return err;
}

/* ---- all versions ------------------------------------------------------------------- */

void cmd_print_versions(struct bytes versions, FILE *out)
{
    static const char *const titles[] = {"", "STAMP", "NODE", "EXPIRES", "VALUE"};
    struct json_scan s = read_array(versions);
    struct bytes version;
    struct grid grid;
    grid_init(&grid, 5, titles);
    for (uint64_t n = 1; read_next(&s, &version); n++) {
        char *stamp = read_member_text(version, "Stamp"), *node = read_member_text(version, "Node");
        char *expires = read_member_text(version, "Expires"), *type = read_member_text(version, "Type");
        struct bytes value = read_member(version, "Value");
        grid_put_number(&grid, n);
        grid_put_text(&grid, stamp);
        grid_put_text(&grid, node);
        grid_put_text(&grid, expires[0] ? expires : "-");
        if (value.len)
            grid_put(&grid, value);
        else
            grid_put_text(&grid, type);
        free(stamp);
        free(node);
        free(expires);
        free(type);
    }
    grid_print(&grid, out);
    grid_done(&grid);
}

static enum err get_versions(struct getting *g)
{
    struct client_answer answer;
    struct client_call call = {0};
    enum err err = ask(g, &call, "?siblings=true", &answer);
    if (!cmd_has_answer(err))
        return err;
    struct bytes data = err == OK ? cmd_data(&answer) : bytes_of(NULL, 0);
    if (err == OK && cli_has(g->cli, OPT_JSON))
        cmd_print_text(g->out, data);
    else if (err == OK)
        cmd_print_versions(read_member(data, "Versions"), g->out);
    client_answer_done(&answer);
    return err;
}

enum err tool_get(const struct cli *cli, FILE *out, struct buf *why)
{
    struct getting g = {.cli = cli, .key = cli->words[0], .out = out, .why = why};
    enum err err = cmd_client(cli, &g.client, why);
    if (err != OK)
        return err;
    if (cli_has(cli, OPT_COUNTER) && !cli_has(cli, OPT_JSON))
        err = get_counter(&g);
    else if (cli_has(cli, OPT_SIBLINGS))
        err = get_versions(&g);
    else if (cli_has(cli, OPT_CONTEXT))
        err = get_context(&g);
    else
        err = cli_has(cli, OPT_JSON) ? get_json(&g) : get_value(&g);
    client_free(g.client);
    return err;
}
