#include "keys_client.h"

#include "check.h"
#include "json_out.h"
#include "mem.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <yajl/yajl_tree.h>

enum {
    ANSWER_MAX = 16 << 20,
    ANSWER_WITHIN_S = 20, /* more than the node takes */
    KEY_TEXT_MAX = 64,
};

/* ---- the connection --------------------------------------------------------------- */

static int connect_to(const struct config_endpoint *endpoint, struct buf *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char port[8];
    /* where it listens on all addresses, this is one of them */
    const char *host = strcmp(endpoint->host, "0.0.0.0") == 0 || !endpoint->host[0] ? "127.0.0.1"
                       : strcmp(endpoint->host, "::") == 0                          ? "::1"
                                                                                    : endpoint->host;
    int fd = -1;
    snprintf(port, sizeof port, "%u", endpoint->port);
    int problem = getaddrinfo(host, port, &hints, &found);
    if (problem != 0) {
        buf_put_format(why, "%s: %s", host, gai_strerror(problem));
        return -1;
    }
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            int error = errno;
            close(fd);
            fd = -1;
            errno = error;
        }
    }
    if (fd < 0)
        buf_put_format(why, "no node answers at %s:%s: %s", host, port, strerror(errno));
    freeaddrinfo(found);
    return fd;
}

static bool send_all(int fd, struct bytes bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes = bytes_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return true;
}

static bool receive_all(int fd, struct buf *answer)
{
    for (;;) {
        uint8_t piece[16384];
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0)
            return n == 0 && answer->err == OK;
        buf_put(answer, piece, (size_t)n);
    }
}

static enum err exchange(const struct config_endpoint *endpoint, const struct buf *request,
                         struct buf *answer, struct buf *why)
{
    int fd = connect_to(endpoint, why);
    if (fd < 0)
        return ERR_IO;
    struct timeval patience = {.tv_sec = ANSWER_WITHIN_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    bool good = send_all(fd, buf_bytes(request)) && receive_all(fd, answer);
    close(fd);
    if (!good)
        buf_put_text(why, "the node gave no whole answer");
    return good ? OK : ERR_IO;
}

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

/* Where the node's API is: as the command line says, or else the configuration. */
static enum err find_endpoint(const struct cli *cli, struct config_endpoint *ret, struct buf *why)
{
    if (cli->api) {
        CHECK(endpoint_parse(bytes_str(cli->api), ret) == OK); /* was parsed */
        return OK;
    }
    struct config config;
    enum err err = cli_config(cli, &config, why);
    if (err == OK) {
        *ret = (struct config_endpoint){mem_text(config.api.bind.host), config.api.bind.port};
        config_done(&config);
    }
    return err;
}

enum err keys_client_run(const struct cli *cli, FILE *in, FILE *out, struct buf *why)
{
    struct config_endpoint endpoint = {0};
    struct buf request, answer;
    buf_init(&request, 4096);
    buf_init(&answer, ANSWER_MAX);
    enum err err = find_endpoint(cli, &endpoint, why);
    if (err == OK)
        err = put_request(cli, in, &request, why);
    if (err == OK)
        err = exchange(&endpoint, &request, &answer, why);
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
