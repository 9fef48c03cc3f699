#include "cmd.h"

#include "check.h"
#include "json_valid.h"
#include "mem.h"
#include "units.h"
#include "utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- servers ------------------------------------------------------------------------ */

static enum err add_configured(const struct cli *cli, struct client *client, struct buf *why)
{
    struct config config;
    struct buf server;
    enum err err = cli_config(cli, &config, why);
    if (err != OK)
        return err;
    const struct config_endpoint *bind = &config.api.bind;
    bool brackets = strchr(bind->host, ':') != NULL;
    buf_init(&server, 1024);
    buf_put_format(&server, "%s%s%s:%u", brackets ? "[" : "", bind->host, brackets ? "]" : "", bind->port);
    buf_put_u8(&server, 0);
    if (bind->port == 0) {
        buf_put_text(why, "API.Bind has port 0, which is any: --server must tell which one it became");
        err = ERR_MALFORMED;
    } else {
        err = client_add_servers(client, (const char *)server.data, why);
    }
    buf_done(&server);
    config_done(&config);
    return err;
}

static enum err add_servers(const struct cli *cli, struct client *client, struct buf *why)
{
    const char *environment = getenv("YZMA_SERVER");
    enum err err = OK;
    for (size_t i = 0; i < cli->servers.count && err == OK; i++)
        err = client_add_servers(client, cli->servers.texts[i], why);
    if (cli->servers.count)
        return err;
    if (cli_has(cli, OPT_CONFIG) || !environment || !environment[0])
        return add_configured(cli, client, why);
    size_t before = why->len;
    buf_put_text(why, "YZMA_SERVER: ");
    err = client_add_servers(client, environment, why);
    if (err == OK)
        why->len = before;
    return err;
}

enum err cmd_client(const struct cli *cli, struct client **ret, struct buf *why)
{
    struct client *client;
    enum err err = client_new(&client, why);
    if (err != OK)
        return err;
    err = add_servers(cli, client, why);
    if (err == OK)
        *ret = client;
    else
        client_free(client);
    return err;
}

/* ---- calls -------------------------------------------------------------------------- */

void cmd_put_wait(const struct cli *cli, struct buf *target)
{
    if (cli_has(cli, OPT_W))
        client_put_param_text(target, "w", cli->values[OPT_W]);
    if (cli_has(cli, OPT_WAIT))
        client_put_param_text(target, "wait", cli->values[OPT_WAIT]);
}

uint64_t cmd_idle_ms(const struct cli *cli)
{
    uint64_t wait_ms = 0;
    if (cli_has(cli, OPT_WAIT))
        CHECK(duration_parse(bytes_str(cli->values[OPT_WAIT]), &wait_ms) == OK); /* was judged */
    return wait_ms + CLIENT_IDLE_MS;
}

void cmd_headers_init(struct cmd_headers *headers)
{
    *headers = (struct cmd_headers){0};
}

void cmd_header(struct cmd_headers *headers, const char *name, const char *value)
{
    if (!value)
        return;
    struct buf *text = &headers->texts[headers->count];
    buf_init(text, SIZE_MAX);
    buf_put_format(text, "%s: ", name);
    client_put_plain(text, bytes_str(value)); /* it stays one line */
    buf_put_u8(text, 0);
    headers->lines[headers->count++] = (const char *)text->data;
}

void cmd_headers_done(struct cmd_headers *headers)
{
    for (size_t i = 0; i < headers->count; i++)
        buf_done(&headers->texts[i]);
    headers->count = 0;
}

struct bytes cmd_data(const struct client_answer *answer)
{
    struct buf error, unused;
    struct bytes data = {0};
    buf_init(&error, 4096);
    buf_init(&unused, 4096);
    if (client_envelope(buf_bytes(&answer->body), &data, &error, &unused) != OK)
        data = bytes_of(NULL, 0);
    buf_done(&error);
    buf_done(&unused);
    return data;
}

/* {"Result":"added k","Replicas":1,"Wanted":2,"Known":3} */
static void explain_missing(const struct client_answer *answer, struct buf *why)
{
    struct bytes data = cmd_data(answer);
    buf_put_format(why, "on disk at %llu of %llu wanted replicas; it stands, and goes on to the others",
                   (unsigned long long)read_member_number(data, "Replicas"),
                   (unsigned long long)read_member_number(data, "Wanted"));
}

enum err cmd_call(struct client *client, const struct client_call *call, struct client_answer *ret,
                  struct buf *why)
{
    enum err err = client_call(client, call, ret, why);
    if (err != OK)
        return err;
    switch (ret->status) {
    case 202:
        explain_missing(ret, why);
        return ERR_UNMET;
    case 300:
    case 404:
    case 409:
    case 412:
        client_explain(ret, why);
        return ERR_UNMET;
    default:
        if (ret->status >= 200 && ret->status <= 299)
            return OK;
        client_explain(ret, why);
        return ERR_REFUSED;
    }
}

/* ---- lines of exports ---------------------------------------------------------------- */

char *cmd_line_name(struct bytes line)
{
    static const char *const members[] = {"Key", "Counter", "Set"};
    if (read_is_json(line))
        for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
            struct bytes name = read_member(line, members[i]);
            if (json_is_string(name))
                return read_text(name);
        }
    return NULL;
}

/* ---- pages -------------------------------------------------------------------------- */

enum { PAGE = 1000 }; /* nothing special about this value */

/* Gives out the entries, as far as they are wanted, and has where the next page begins, "" at the end. */
static void take_page(const struct cmd_pages *pages, struct bytes data, uint64_t *left, char **after)
{
    struct json_scan s = read_array(read_member(data, pages->member));
    struct bytes entry;
    while (*left && read_next(&s, &entry)) {
        pages->entry(pages->ctx, entry);
        --*left;
    }
    free(*after);
    *after = read_member_text(data, "Next");
}

static enum err ask_page(struct client *client, const struct cmd_pages *pages, const char *context,
                         uint64_t *left, char **after, struct buf *why)
{
    struct client_answer answer;
    struct buf target;
    char limit[32];
    buf_init(&target, CMD_TARGET_MAX);
    buf_put_bytes(&target, buf_bytes(&pages->target));
    snprintf(limit, sizeof limit, "%llu", (unsigned long long)(*left < PAGE ? *left : PAGE));
    client_put_param_text(&target, "limit", limit);
    if ((*after)[0])
        client_put_param_text(&target, "after", *after);
    if (cli_has(pages->cli, OPT_WAIT))
        client_put_param_text(&target, "wait", pages->cli->values[OPT_WAIT]);
    struct client_call call = {
        .target = client_target(&target), .context = context, .idle_ms = cmd_idle_ms(pages->cli)};
    enum err err = call.target ? cmd_call(client, &call, &answer, why) : target.err;
    if (cmd_has_answer(err)) {
        if (err == OK)
            take_page(pages, cmd_data(&answer), left, after);
        client_answer_done(&answer);
    }
    buf_done(&target);
    return err;
}

enum err cmd_pages(struct client *client, const struct cmd_pages *pages, struct buf *why)
{
    const char *context = pages->cli->values[OPT_WITH]; /* then the answer's, which has taken it on */
    uint64_t limit = cli_number(pages->cli, OPT_LIMIT, 0), left = limit ? limit : UINT64_MAX;
    char *after = mem_text(pages->after ? pages->after : "");
    enum err err;
    do {
        err = ask_page(client, pages, context, &left, &after, why);
        context = NULL;
    } while (err == OK && after[0] && left);
    free(after);
    return err;
}

/* ---- signals ------------------------------------------------------------------------ */

static volatile sig_atomic_t caught; /* 0: none */

static void on_signal(int number)
{
    caught = number;
}

void cmd_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cmd_interrupted(void *unused)
{
    return caught;
}

void cmd_end_by_signal(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    if (!caught)
        return;
    sigaction(caught, &action, NULL);
    raise(caught);
}

/* ---- output ------------------------------------------------------------------------- */

void cmd_print_text(FILE *out, struct bytes text)
{
    fwrite(text.data, 1, text.len, out);
    fputc('\n', out);
}

void cmd_print_data(FILE *out, struct bytes data, bool json)
{
    if (json || !json_is_string(data)) {
        cmd_print_text(out, data);
        return;
    }
    struct buf plain;
    char *text = read_text(data);
    buf_init(&plain, SIZE_MAX);
    client_put_plain(&plain, bytes_str(text));
    cmd_print_text(out, buf_bytes(&plain));
    buf_done(&plain);
    free(text);
}

/* ---- input -------------------------------------------------------------------------- */

const char *cmd_file_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

enum err cmd_read_file(const char *path, struct buf *into, struct buf *why)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0 && into->err == OK) {
        uint8_t piece[64 << 10];
        do
            n = read(fd, piece, sizeof piece);
        while (n < 0 && errno == EINTR);
        if (n > 0)
            buf_put(into, piece, (size_t)n);
    }
    enum err err = n < 0 ? ERR_IO : into->err;
    if (n < 0)
        buf_put_format(why, "%s: %s", cmd_file_name(path), strerror(errno));
    else if (err != OK)
        buf_put_format(why, "%s: larger than what a node takes (%zu bytes)", cmd_file_name(path), into->max);
    if (fd >= 0 && !standard)
        close(fd);
    return err;
}

enum err cmd_read_value(const struct cli *cli, size_t n, struct buf *into, const char **ret_name,
                        struct buf *why)
{
    const char *word = cli_word(cli, n);
    const char *path = !word                ? cli->values[OPT_FILE]
                       : word[0] == '@'     ? word + 1
                       : !strcmp(word, "-") ? word
                                            : NULL;
    *ret_name = path ? cmd_file_name(path) : NULL;
    if (path)
        return cmd_read_file(path, into, why);
    buf_put_text(into, word);
    return into->err;
}

enum err cmd_check_json(struct bytes text, const char *name, size_t line, struct buf *why)
{
    struct json_error error;
    if (json_valid(text, &error) == OK)
        return OK;
    struct text_position at = text_position(text, error.offset);
    if (name)
        buf_put_format(why, "%s:%zu:%zu: no JSON: %s", name, at.line + line - 1, at.column, error.reason);
    else
        buf_put_format(why, "the value is no JSON, at line %zu, column %zu: %s", at.line, at.column,
                       error.reason);
    return ERR_MALFORMED;
}
