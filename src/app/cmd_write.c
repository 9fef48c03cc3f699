/* yzma put, delete, incr. */
#include "cmd.h"

#include "json_out.h"

#include <stdlib.h>

void cmd_put_replicas(struct buf *line, struct bytes data)
{
    if (read_member(data, "Result").len)
        buf_put_format(line, ", on disk at %llu of %llu replicas",
                       (unsigned long long)read_member_number(data, "Replicas"),
                       (unsigned long long)read_member_number(data, "Known"));
}

/* "added k", or {"Result":"added k","Replicas":2,..} where w was given. What is deleted of a
 * counter answers its number. */
static void print_done(const struct client_answer *answer, const char *key, FILE *out)
{
    struct bytes data = cmd_data(answer), result = read_member(data, "Result");
    struct bytes said = result.len ? result : data;
    struct buf line;
    buf_init(&line, SIZE_MAX);
    char *text = read_text(said);
    if (!json_is_string(said))
        buf_put_text(&line, "deleted ");
    client_put_plain(&line, bytes_str(json_is_string(said) ? text : key));
    cmd_put_replicas(&line, data);
    cmd_print_text(out, buf_bytes(&line));
    buf_done(&line);
    free(text);
}

static void print_json(const char *key, const struct client_answer *answer, FILE *out)
{
    struct bytes data = cmd_data(answer);
    struct buf line;
    buf_init(&line, SIZE_MAX);
    struct json_out json = json_out_to(&line);
    json_object(&json);
    json_field_text(&json, "Key", key);
    if (data.len) {
        json_name(&json, "Data");
        json_raw(&json, data);
    }
    if (answer->etag[0])
        json_field_text(&json, "ETag", answer->etag);
    if (answer->context[0])
        json_field_text(&json, "Context", answer->context);
    json_object_end(&json);
    cmd_print_text(out, buf_bytes(&line));
    buf_done(&line);
}

/* Makes the call about a key and says what came of it; 202 wrote too. */
static enum err write_key(const struct cli *cli, struct client *client, struct client_call *call,
                          const char *key, FILE *out, struct buf *why)
{
    struct client_answer answer;
    enum err err = cmd_call(client, call, &answer, why);
    if (!cmd_has_answer(err))
        return err;
    bool written = answer.status >= 200 && answer.status <= 299;
    if (written && cli_has(cli, OPT_JSON))
        print_json(key, &answer, out);
    else if (err == OK)
        print_done(&answer, key, out);
    client_answer_done(&answer);
    return err;
}

/* Twice would be something else than once: a second version, or a condition that the first
 * time has ended. */
static enum client_repeat repeat_of(const struct cli *cli)
{
    bool once = cli_has(cli, OPT_IF_MATCH) || cli_has(cli, OPT_IF_NONE_MATCH) || cli_has(cli, OPT_ADD) ||
                cli_has(cli, OPT_WITH);
    return once ? CLIENT_REPEAT_NEVER : CLIENT_REPEAT_AS_METHOD;
}

static void put_conditions(const struct cli *cli, struct cmd_headers *headers)
{
    cmd_headers_init(headers);
    cmd_header(headers, "If-Match", cli->values[OPT_IF_MATCH]);
    cmd_header(headers, "If-None-Match", cli->values[OPT_IF_NONE_MATCH]);
}

/* ---- put ---------------------------------------------------------------------------- */

static void put_target(const struct cli *cli, struct buf *target)
{
    client_put_path(target, "/keys/", bytes_str(cli->words[0]));
    if (cli_has(cli, OPT_TTL))
        client_put_param_text(target, "ttl", cli->values[OPT_TTL]);
    if (cli_has(cli, OPT_EXPIRES))
        client_put_param_text(target, "expires", cli->values[OPT_EXPIRES]);
    if (cli_has(cli, OPT_TOUCH))
        client_put_param_text(target, "touch", "true");
    if (cli_has(cli, OPT_ADD))
        client_put_param_text(target, "mode", "add");
    cmd_put_wait(cli, target);
}

enum err cmd_value(const struct cli *cli, size_t word, struct buf *value, struct buf *why)
{
    const char *name;
    enum err err = cmd_read_value(cli, word, value, &name, why);
    if (err != OK || cli_has(cli, OPT_TYPE))
        return err;
    err = cmd_check_json(buf_bytes(value), name, 1, why);
    if (err != OK)
        buf_put_text(why, "; a text is '\"in quotes\"', and anything else wants --type");
    return err;
}

enum err tool_put(const struct cli *cli, FILE *out, struct buf *why)
{
    struct client *client = NULL;
    struct cmd_headers headers;
    struct buf value, target;
    buf_init(&value, CMD_VALUE_MAX);
    buf_init(&target, CMD_TARGET_MAX);
    put_target(cli, &target);
    put_conditions(cli, &headers);
    struct client_call call = {.method = "PUT",
                               .target = client_target(&target),
                               .type = cli->values[OPT_TYPE],
                               .context = cli->values[OPT_WITH],
                               .headers = headers.lines,
                               .idle_ms = cmd_idle_ms(cli),
                               .repeat = repeat_of(cli)};
    enum err err = call.target ? OK : target.err;
    if (err == OK && !cli_has(cli, OPT_TOUCH))
        err = cmd_value(cli, 1, &value, why);
    call.body = buf_bytes(&value);
    if (err == OK)
        err = cmd_client(cli, &client, why);
    if (err == OK)
        err = write_key(cli, client, &call, cli->words[0], out, why);
    client_free(client);
    cmd_headers_done(&headers);
    buf_done(&target);
    buf_done(&value);
    return err;
}

/* ---- delete ------------------------------------------------------------------------- */

static enum err delete_key(const struct cli *cli, struct client *client, const char *key, FILE *out,
                           struct buf *why)
{
    struct cmd_headers headers;
    struct buf target;
    buf_init(&target, CMD_TARGET_MAX);
    client_put_path(&target, cli_has(cli, OPT_COUNTER) ? "/counters/" : "/keys/", bytes_str(key));
    cmd_put_wait(cli, &target);
    put_conditions(cli, &headers);
    struct client_call call = {.method = "DELETE",
                               .target = client_target(&target),
                               .context = cli->values[OPT_WITH],
                               .headers = headers.lines,
                               .idle_ms = cmd_idle_ms(cli),
                               .repeat = repeat_of(cli)};
    enum err err = call.target ? write_key(cli, client, &call, key, out, why) : target.err;
    cmd_headers_done(&headers);
    buf_done(&target);
    return err;
}

/* A node that ends early says how far it came, and goes on when it is asked again. */
enum err cmd_delete_all(const struct cli *cli, struct client *client, struct buf *target, FILE *out,
                        struct buf *why)
{
    uint64_t deleted = 0;
    struct client_call call = {.method = "DELETE",
                               .target = client_target(target),
                               .context = cli->values[OPT_WITH],
                               .idle_ms = CMD_LONG_MS};
    enum err err = call.target ? OK : target->err;
    for (bool again = true; again && call.target;) {
        struct client_answer answer;
        buf_reset(why);
        err = cmd_call(client, &call, &answer, why);
        again = false;
        if (!cmd_has_answer(err))
            break;
        uint64_t now = read_member_number(cmd_data(&answer), "Deleted");
        deleted += now;
        again = answer.status == 503 && now > 0;
        client_answer_done(&answer);
    }
    if (deleted || err == OK)
        fprintf(out, cli_has(cli, OPT_JSON) ? "{\"Deleted\":%llu}\n" : "deleted %llu\n",
                (unsigned long long)deleted);
    return err;
}

static enum err delete_prefix(const struct cli *cli, struct client *client, FILE *out, struct buf *why)
{
    struct buf target;
    buf_init(&target, CMD_TARGET_MAX);
    buf_put_text(&target, "/keys");
    client_put_param_text(&target, "prefix", cli->values[OPT_PREFIX]);
    enum err err = cmd_delete_all(cli, client, &target, out, why);
    buf_done(&target);
    return err;
}

enum err tool_delete(const struct cli *cli, FILE *out, struct buf *why)
{
    struct client *client;
    enum err err = cmd_client(cli, &client, why);
    if (err != OK)
        return err;
    if (cli_has(cli, OPT_PREFIX))
        err = delete_prefix(cli, client, out, why);
    for (size_t i = 0; i < cli->word_count && err == OK; i++)
        err = delete_key(cli, client, cli->words[i], out, why);
    client_free(client);
    return err;
}

/* ---- incr --------------------------------------------------------------------------- */

enum err tool_incr(const struct cli *cli, FILE *out, struct buf *why)
{
    struct client *client;
    struct client_answer answer;
    struct buf target;
    char body[64];
    enum err err = cmd_client(cli, &client, why);
    if (err != OK)
        return err;
    buf_init(&target, CMD_TARGET_MAX);
    client_put_path(&target, "/counters/", bytes_str(cli->words[0]));
    cmd_put_wait(cli, &target);
    const char *n = cli_word(cli, 1); /* was judged */
    snprintf(body, sizeof body, "{\"Add\":%s}", n ? n : "1");
    struct client_call call = {.method = "POST",
                               .target = client_target(&target),
                               .body = bytes_str(body),
                               .idle_ms = cmd_idle_ms(cli)};
    err = call.target ? cmd_call(client, &call, &answer, why) : target.err;
    if (cmd_has_answer(err)) {
        struct bytes data = cmd_data(&answer), result = read_member(data, "Result");
        if (answer.status >= 200 && answer.status <= 299) /* 202 added too */
            cmd_print_text(out, result.len && !cli_has(cli, OPT_JSON) ? result : data);
        client_answer_done(&answer);
    }
    buf_done(&target);
    client_free(client);
    return err;
}
