#include "keys_client.h"

#include "check.h"
#include "json_out.h"
#include "api_client.h"
#include "mem.h"

#include <stdlib.h>

#include <yajl/yajl_tree.h>

enum {
    ANSWER_MAX = 16 << 20,
    KEY_TEXT_MAX = 64,
};

/* ---- the request -------------------------------------------------------------------- */

static const char *path_of(enum cli_command command)
{
    switch (command) {
    case CLI_KEYS_INSTALL:
        return "/cluster/keys/install";
    case CLI_KEYS_USE:
        return "/cluster/keys/use";
    case CLI_KEYS_REMOVE:
        return "/cluster/keys/remove";
    case CLI_FORGET:
        return "/cluster/forget";
    case CLI_RETIRE:
        return "/cluster/retire";
    case CLI_PAUSE:
        return "/cluster/pause";
    case CLI_RESUME:
        return "/cluster/resume";
    default:
        return "/cluster/keys";
    }
}

/* The key of the command line, or the first line of the input for "-": an argument can
 * be seen by whoever lists processes. */
static enum err read_key(const struct cli *cli, FILE *in, char key[KEY_TEXT_MAX + 2], struct buf *why)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    if (strcmp(cli->key, "-") == 0) {
        if (!fgets(key, KEY_TEXT_MAX + 2, in))
            key[0] = '\0';
        key[strcspn(key, "\r\n")] = '\0';
    } else {
        snprintf(key, KEY_TEXT_MAX + 2, "%s", cli->key);
    }
    size_t n = strlen(key);
    if (n > 0 && n <= KEY_TEXT_MAX && strspn(key, letters) == n)
        return OK;
    buf_put_text(why, "KEY must be base64, or the name of a key, 8 hex digits");
    return ERR_MALFORMED;
}

/* The replica as a JSON text: member names may hold what JSON escapes. */
static void put_replica_request(const struct cli *cli, struct buf *request)
{
    struct buf body;
    buf_init(&body, 4096);
    if (cli->replica) {
        struct json_out json = json_out_to(&body);
        json_object(&json);
        json_field_text(&json, "Replica", cli->replica);
        json_object_end(&json);
    }
    buf_put_format(request,
                   "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: "
                   "application/json\r\nContent-Length: %zu\r\n\r\n",
                   path_of(cli->command), body.len);
    buf_put_bytes(request, buf_bytes(&body));
    buf_done(&body);
}

static enum err put_request(const struct cli *cli, FILE *in, struct buf *request, struct buf *why)
{
    if (cli->command >= CLI_FORGET && cli->command <= CLI_RESUME) {
        put_replica_request(cli, request);
        return request->err;
    }
    char key[KEY_TEXT_MAX + 2], body[KEY_TEXT_MAX + 64] = "";
    bool list = cli->command == CLI_KEYS_LIST;
    if (!list) {
        enum err err = read_key(cli, in, key, why);
        if (err != OK)
            return err;
        snprintf(body, sizeof body, "{\"Key\":\"%.*s\"%s}", KEY_TEXT_MAX, key,
                 cli->force ? ",\"Force\":true" : "");
    }
    buf_put_format(request, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
                   list ? "GET" : "POST", path_of(cli->command));
    if (!list)
        buf_put_format(request, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    buf_put_text(request, "\r\n");
    buf_put_text(request, body);
    mem_wipe(key, sizeof key);
    mem_wipe(body, sizeof body);
    return OK;
}

/* ---- the answer --------------------------------------------------------------------- */

static yajl_val get(yajl_val object, const char *name)
{
    return yajl_tree_get(object, (const char *[]){name, NULL}, yajl_t_any);
}

static const char *text_of(yajl_val value)
{
    return YAJL_IS_STRING(value) ? YAJL_GET_STRING(value) : "";
}

static long long number_of(yajl_val value)
{
    return YAJL_IS_INTEGER(value) ? YAJL_GET_INTEGER(value) : 0;
}

static void print_names(yajl_val data, const char *field, const char *what, FILE *out)
{
    yajl_val list = get(data, field);
    if (!YAJL_IS_ARRAY(list))
        return;
    for (size_t i = 0; i < YAJL_GET_ARRAY(list)->len; i++) {
        yajl_val item = YAJL_GET_ARRAY(list)->values[i];
        if (YAJL_IS_STRING(item))
            fprintf(out, "%s: %s\n", what, YAJL_GET_STRING(item));
        else
            fprintf(out, "%s: %s: %s\n", what, text_of(get(item, "Name")), text_of(get(item, "Error")));
    }
}

static void print_data(yajl_val data, FILE *out)
{
    yajl_val keys = get(data, "Keys"), members = get(data, "Members");
    size_t count = YAJL_IS_ARRAY(members) ? YAJL_GET_ARRAY(members)->len : 0;
    if (YAJL_IS_ARRAY(keys) && YAJL_GET_ARRAY(keys)->len == 0)
        fprintf(out, "no keys: gossip is not sealed\n");
    for (size_t i = 0; YAJL_IS_ARRAY(keys) && i < YAJL_GET_ARRAY(keys)->len; i++) {
        yajl_val key = YAJL_GET_ARRAY(keys)->values[i];
        fprintf(out, "%s  held by %lld of %zu, used by %lld\n", text_of(get(key, "Key")),
                number_of(get(key, "HeldBy")), count, number_of(get(key, "UsedBy")));
    }
    print_names(data, "Failed", "failed", out);
    print_names(data, "Silent", "silent", out);
    print_names(data, "Foreign", "not YzmaDB", out);
    print_names(data, "Away", "away", out);
}

enum err keys_client_print(struct bytes body, FILE *out, struct buf *why)
{
    char *text = mem_text_of(body), problem[128];
    yajl_val root = yajl_tree_parse(text, problem, sizeof problem);
    enum err err = OK;
    const char *status = text_of(get(root, "Status"));
    if (strcmp(status, "ok") != 0 && strcmp(status, "error") != 0) {
        buf_put_text(why, "that is no answer of a YzmaDB");
        err = ERR_MALFORMED;
    } else {
        print_data(get(root, "Data"), out);
        if (status[0] == 'e') {
            buf_put_text(why, text_of(get(root, "Error")));
            err = ERR_REFUSED;
        }
    }
    yajl_tree_free(root);
    free(text);
    return err;
}

enum err keys_client_run(const struct cli *cli, FILE *in, FILE *out, struct buf *why)
{
    struct config_endpoint endpoint = {0};
    struct buf request, answer;
    buf_init(&request, 4096);
    buf_init(&answer, ANSWER_MAX);
    enum err err = api_find(cli, &endpoint, why);
    if (err == OK)
        err = put_request(cli, in, &request, why);
    if (err == OK)
        err = api_exchange(&endpoint, &request, &answer, why);
    mem_wipe(request.data, request.len);
    if (err == OK) {
        const uint8_t *end = memmem(answer.data, answer.len, "\r\n\r\n", 4);
        struct bytes body = end ? bytes_of(end + 4, (size_t)(answer.data + answer.len - end - 4))
                                : bytes_of("", 0);
        err = keys_client_print(body, out, why);
    }
    buf_done(&request);
    buf_done(&answer);
    free(endpoint.host);
    return err;
}
