/* yzma batch: operations as lines, as an array, or as the node takes them, put into its
 * form. What is no JSON is told by its place in the user's text, before anything is
 * asked. */
#include "cmd.h"

#include <stdlib.h>

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct bytes trimmed(struct bytes text)
{
    while (text.len && is_space(text.data[0]))
        text = bytes_of(text.data + 1, text.len - 1);
    while (text.len && is_space(text.data[text.len - 1]))
        text.len--;
    return text;
}

static void put_wrapped(struct buf *body, struct bytes operations)
{
    buf_put_text(body, "{\"Ops\":");
    buf_put_bytes(body, operations);
    buf_put_u8(body, '}');
}

static size_t first_line_of(struct bytes text)
{
    const uint8_t *end = text.len ? memchr(text.data, '\n', text.len) : NULL;
    return end ? (size_t)(end - text.data) : text.len;
}

/* A JSON text on each line that is not empty. */
static enum err put_lines(struct bytes text, const char *name, struct buf *body, struct buf *why)
{
    enum err err = OK;
    bool any = false;
    buf_put_text(body, "{\"Ops\":[");
    for (size_t number = 1; text.len && err == OK; number++) {
        struct bytes line = bytes_of(text.data, first_line_of(text));
        size_t taken = line.len + (line.len < text.len);
        text = bytes_of(text.data + taken, text.len - taken);
        if (trimmed(line).len == 0)
            continue;
        err = cmd_check_json(line, name, number, why);
        if (any)
            buf_put_u8(body, ',');
        buf_put_bytes(body, line);
        any = true;
    }
    buf_put_text(body, "]}");
    return err;
}

/* The whole is one text, {"Ops":[..]} or [..], or else its lines are. */
static enum err put_body(struct bytes text, const char *name, struct buf *body, struct buf *why)
{
    struct bytes whole = trimmed(text);
    bool array = whole.len && whole.data[0] == '[';
    if (array) {
        enum err err = cmd_check_json(text, name, 1, why);
        put_wrapped(body, whole);
        return err == OK ? body->err : err;
    }
    if (read_is_json(whole) && read_member(whole, "Ops").len) {
        buf_put_bytes(body, whole);
        return body->err;
    }
    /* One value over several lines, for people. */
    if (whole.len && read_is_json(whole)) {
        buf_put_text(body, "{\"Ops\":[");
        buf_put_bytes(body, whole);
        buf_put_text(body, "]}");
        return body->err;
    }
    /* Where not even the first line is JSON, lines are not what was meant. */
    enum err err = read_is_json(bytes_of(whole.data, first_line_of(whole)))
                       ? put_lines(text, name, body, why)
                       : cmd_check_json(text, name, 1, why);
    return err == OK ? body->err : err;
}

/* The node tells the operation that it refused by its index, and of some in
 * {"Index":1,"Key":"c","ETag":".."} the key too. */
static void explain(struct bytes data, struct buf *why)
{
    struct bytes key = read_member(data, "Key");
    if (!bytes_starts_with(buf_bytes(why), bytes_str("operation ")))
        return;
    char *text = read_text(key);
    buf_put_text(why, key.len ? " (counted from 0; its key: " : " (counted from 0");
    client_put_plain(why, bytes_str(text));
    buf_put_u8(why, ')');
    free(text);
}

static enum err send(const struct cli *cli, struct bytes body, FILE *out, struct buf *why)
{
    struct client *client;
    struct client_answer answer;
    struct buf target;
    enum err err = cmd_client(cli, &client, why);
    if (err != OK)
        return err;
    buf_init(&target, CMD_TARGET_MAX);
    buf_put_text(&target, "/batch");
    cmd_put_wait(cli, &target);
    struct client_call call = {
        .method = "POST", .target = client_target(&target), .body = body, .idle_ms = cmd_idle_ms(cli)};
    err = call.target ? cmd_call(client, &call, &answer, why) : target.err;
    if (cmd_has_answer(err)) {
        struct bytes data = cmd_data(&answer);
        if (cli_has(cli, OPT_JSON) && data.len)
            cmd_print_text(out, data);
        else if (err == OK)
            fprintf(out, "%llu operations, %llu deleted\n",
                    (unsigned long long)read_member_number(data, "Operations"),
                    (unsigned long long)read_member_number(data, "Deleted"));
        else
            explain(data, why);
        client_answer_done(&answer);
    }
    buf_done(&target);
    client_free(client);
    return err;
}

enum err tool_batch(const struct cli *cli, FILE *out, struct buf *why)
{
    const char *path = cli->words[0];
    struct buf text, body;
    buf_init(&text, CMD_BODY_MAX);
    buf_init(&body, CMD_BODY_MAX + 64);
    enum err err = cmd_read_file(path, &text, why);
    if (err == OK)
        err = put_body(buf_bytes(&text), cmd_file_name(path), &body, why);
    if (err == OK)
        err = send(cli, buf_bytes(&body), out, why);
    buf_done(&text);
    buf_done(&body);
    return err;
}
