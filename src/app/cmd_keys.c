/* yzma keys: the calls about the keys that seal gossip. A key is in no message of ours. */
#include "cmd.h"

#include "mem.h"

#include <stdlib.h>

enum { KEY_TEXT_MAX = 64, ANSWER_MS = 15000 }; /* a node asks all members, for 12 s at most */

static const char *path_of(enum cli_command command)
{
    switch (command) {
    case CLI_KEYS_INSTALL:
        return "/cluster/keys/install";
    case CLI_KEYS_USE:
        return "/cluster/keys/use";
    case CLI_KEYS_REMOVE:
        return "/cluster/keys/remove";
    default:
        return "/cluster/keys";
    }
}

/* The key of the command line, or the first line of the input for "-": an argument can
 * be seen by whoever lists processes. */
static enum err read_key(const char *word, char key[KEY_TEXT_MAX + 2], struct buf *why)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    if (strcmp(word, "-") == 0) {
        if (!fgets(key, KEY_TEXT_MAX + 2, stdin))
            key[0] = '\0';
        key[strcspn(key, "\r\n")] = '\0';
    } else {
        snprintf(key, KEY_TEXT_MAX + 2, "%s", word);
    }
    size_t n = strlen(key);
    if (n > 0 && n <= KEY_TEXT_MAX && strspn(key, letters) == n)
        return OK;
    buf_put_text(why, "KEY must be base64, or the name of a key, 8 hex digits");
    return ERR_MALFORMED;
}

/* ---- the answer --------------------------------------------------------------------- */

static void print_names(struct bytes data, const char *field, const char *what, FILE *out)
{
    struct json_scan s = read_array(read_member(data, field));
    struct bytes item;
    while (read_next(&s, &item)) {
        struct buf line;
        bool plain = json_is_string(item);
        char *name = plain ? read_text(item) : read_member_text(item, "Name");
        char *error = read_member_text(plain ? bytes_of(NULL, 0) : item, "Error");
        buf_init(&line, SIZE_MAX);
        buf_put_format(&line, "%s: ", what);
        client_put_plain(&line, bytes_str(name));
        if (error[0]) {
            buf_put_text(&line, ": ");
            client_put_plain(&line, bytes_str(error));
        }
        cmd_print_text(out, buf_bytes(&line));
        buf_done(&line);
        free(name);
        free(error);
    }
}

static void print_keys(struct bytes data, FILE *out)
{
    struct bytes list = read_member(data, "Keys"), key;
    size_t members = read_count(read_member(data, "Members"));
    struct json_scan s = read_array(list);
    if (list.len && read_count(list) == 0)
        fprintf(out, "no keys: gossip is not sealed\n");
    while (read_next(&s, &key)) {
        char *name = read_member_text(key, "Key");
        fprintf(out, "%s  held by %llu of %zu, used by %llu\n", name,
                (unsigned long long)read_member_number(key, "HeldBy"), members,
                (unsigned long long)read_member_number(key, "UsedBy"));
        free(name);
    }
    print_names(data, "Failed", "failed", out);
    print_names(data, "Silent", "silent", out);
    print_names(data, "Foreign", "not YzmaDB", out);
    print_names(data, "Away", "away", out);
}

/* Also with a refusal come the keys as they are. */
static enum err ask(const struct cli *cli, const struct client_call *call, FILE *out, struct buf *why)
{
    struct client *client;
    struct client_answer answer;
    enum err err = cmd_client(cli, &client, why);
    if (err != OK)
        return err;
    err = cmd_call(client, call, &answer, why);
    if (cmd_has_answer(err)) {
        struct bytes data = cmd_data(&answer);
        if (cli_has(cli, OPT_JSON) && data.len)
            cmd_print_text(out, data);
        else if (data.len)
            print_keys(data, out);
        err = err == OK ? OK : ERR_REFUSED;
        client_answer_done(&answer);
    }
    client_free(client);
    return err;
}

enum err tool_keys(const struct cli *cli, FILE *out, struct buf *why)
{
    char key[KEY_TEXT_MAX + 2], body[KEY_TEXT_MAX + 64] = "";
    struct client_call call = {.target = path_of(cli->command), .first_ms = ANSWER_MS};
    enum err err = OK;
    if (cli->command != CLI_KEYS_LIST) {
        call.method = "POST";
        err = read_key(cli->words[0], key, why);
        if (err == OK)
            snprintf(body, sizeof body, "{\"Key\":\"%.*s\"%s}", KEY_TEXT_MAX, key,
                     cli_has(cli, OPT_FORCE) ? ",\"Force\":true" : "");
        call.body = bytes_str(body);
    }
    if (err == OK)
        err = ask(cli, &call, out, why);
    mem_wipe(key, sizeof key);
    mem_wipe(body, sizeof body);
    return err;
}
