/* yzma resolve: reads all versions of a key with their context, and puts one with it. What
 * came meanwhile stands beside it: nothing is replaced that was not seen. */
#include "cmd.h"

#include "base64.h"
#include "mem.h"

#include <stdlib.h>

struct resolving {
    const struct cli *cli;
    struct client *client;
    struct buf *why;
    struct buf value;
    char *context, *type, *expires; /* type "": JSON; expires "": never */
};

static enum err take_version(struct resolving *r, struct bytes version)
{
    struct bytes value = read_member(version, "Value");
    free(r->type);
    free(r->expires);
    r->type = read_member_text(version, "Type");
    r->expires = read_member_text(version, "Expires");
    if (value.len) {
        buf_put_bytes(&r->value, value);
        return r->value.err;
    }
    char *base64 = read_member_text(version, "Value64");
    enum err err = base64_decode(bytes_str(base64), &r->value);
    free(base64);
    if (err != OK)
        buf_put_text(r->why, "the node gave no such value as there is");
    return err;
}

/* The version that --take names. */
static enum err take(struct resolving *r, struct bytes versions)
{
    uint64_t wanted = cli_number(r->cli, OPT_TAKE, 0), n = 0;
    struct json_scan s = read_array(versions);
    struct bytes version;
    while (read_next(&s, &version))
        if (++n == wanted)
            return take_version(r, version);
    buf_put_format(r->why, n == 1 ? "--take %s: there is %llu version" : "--take %s: there are %llu versions",
                   r->cli->values[OPT_TAKE], (unsigned long long)n);
    return ERR_REFUSED;
}

/* All versions: shown, or one of them taken. */
static enum err look(struct resolving *r, bool show, FILE *out)
{
    struct client_answer answer;
    struct buf target;
    buf_init(&target, CMD_TARGET_MAX);
    client_put_path(&target, "/keys/", bytes_str(r->cli->words[0]));
    buf_put_text(&target, "?siblings=true");
    struct client_call call = {.target = client_target(&target)};
    enum err err = call.target ? cmd_call(r->client, &call, &answer, r->why) : target.err;
    if (cmd_has_answer(err)) {
        struct bytes data = err == OK ? cmd_data(&answer) : bytes_of(NULL, 0);
        struct bytes versions = read_member(data, "Versions");
        r->context = read_member_text(data, "Context");
        if (err == OK && show && cli_has(r->cli, OPT_JSON))
            cmd_print_text(out, data);
        else if (err == OK && show)
            cmd_print_versions(versions, out);
        else if (err == OK && cli_has(r->cli, OPT_TAKE))
            err = take(r, versions);
        client_answer_done(&answer);
    }
    buf_done(&target);
    return err;
}

static enum err put(struct resolving *r, FILE *out)
{
    struct client_answer answer;
    struct buf target;
    buf_init(&target, CMD_TARGET_MAX);
    client_put_path(&target, "/keys/", bytes_str(r->cli->words[0]));
    if (r->expires[0])
        client_put_param_text(&target, "expires", r->expires);
    cmd_put_wait(r->cli, &target);
    struct client_call call = {.method = "PUT",
                               .target = client_target(&target),
                               .type = r->type[0] ? r->type : NULL,
                               .body = buf_bytes(&r->value),
                               .context = r->context,
                               .idle_ms = cmd_idle_ms(r->cli),
                               .repeat = CLIENT_REPEAT_NEVER};
    enum err err = call.target ? cmd_call(r->client, &call, &answer, r->why) : target.err;
    if (cmd_has_answer(err)) {
        if (err == OK)
            cmd_print_data(out, cmd_data(&answer), cli_has(r->cli, OPT_JSON));
        client_answer_done(&answer);
    }
    buf_done(&target);
    return err;
}

enum err tool_resolve(const struct cli *cli, FILE *out, struct buf *why)
{
    bool value = cli->word_count > 1 || cli_has(cli, OPT_FILE);
    bool show = !value && !cli_has(cli, OPT_TAKE);
    struct resolving r = {.cli = cli, .why = why};
    buf_init(&r.value, CMD_VALUE_MAX);
    r.type = mem_text(cli_has(cli, OPT_TYPE) ? cli->values[OPT_TYPE] : "");
    r.expires = mem_text("");
    enum err err = value ? cmd_value(cli, 1, &r.value, why) : OK;
    if (err == OK)
        err = cmd_client(cli, &r.client, why);
    if (err == OK)
        err = look(&r, show, out);
    if (err == OK && !show)
        err = put(&r, out);
    client_free(r.client);
    buf_done(&r.value);
    free(r.context);
    free(r.type);
    free(r.expires);
    return err;
}
