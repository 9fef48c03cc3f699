/* One easy handle of libcurl, used for call after call: it keeps the connection. */
#include "client.h"

#include "curl_api.h"
#include "mem.h"
#include "term.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { SERVERS_MAX = 64, SERVER_TEXT_MAX = 300, STATUS_UNAVAILABLE = 503 };

struct server {
    char *name, *url; /* as it was added; with a scheme, without a slash at the end */
};

struct client {
    const struct curl_api *api;
    CURL *curl;
    struct server servers[SERVERS_MAX];
    size_t count, next;
    char *context; /* "": none yet */
};

/* One call at one server. */
struct attempt {
    struct client *client;
    const struct client_call *call;
    struct client_answer answer;
    struct buf line; /* the beginning of one that has not ended */
    enum err err;    /* of a callback, or of what it did not take */
    bool gave, took; /* something to the caller, from its reader */
    bool left;       /* the request may have reached the server */
    bool headed;     /* the answer's headers came to their end */
    char problem[CURL_ERROR_SIZE];
    bool has_next; /* another server is to be asked after this one */
    bool silent;   /* it was given up on */
    uint64_t answer_by_ms;
    curl_off_t sent;
};

/* ---- servers ------------------------------------------------------------------------ */

/* host:port with a scheme, this machine for all addresses; false: not of that form. */
static bool put_url(struct bytes text, struct buf *url)
{
    struct bytes http = bytes_str("http://"), https = bytes_str("https://");
    struct bytes scheme = bytes_starts_with(text, https) ? https : http;
    if (bytes_starts_with(text, scheme))
        text = bytes_of(text.data + scheme.len, text.len - scheme.len);
    const uint8_t *colon = text.len ? memrchr(text.data, ':', text.len) : NULL;
    if (!colon)
        return false;
    struct bytes host = bytes_of(text.data, (size_t)(colon - text.data));
    struct bytes port = bytes_of(colon + 1, text.len - host.len - 1);
    bool bracketed = host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    uint64_t number;
    if (number_parse(port, &number) != OK || number == 0 || number > UINT16_MAX ||
        bracketed != (host.len && memchr(host.data, ':', host.len)))
        return false;
    for (size_t i = 0; i < host.len; i++)
        if (host.data[i] <= ' ' || host.data[i] == 0x7f || strchr("/?#@\\%\"", host.data[i]))
            return false;
    if (host.len == 0 || bytes_equal(host, bytes_str("0.0.0.0")))
        host = bytes_str("127.0.0.1");
    else if (bytes_equal(host, bytes_str("[::]")))
        host = bytes_str("[::1]");
    buf_put_bytes(url, scheme);
    buf_put_bytes(url, host);
    buf_put_format(url, ":%u", (unsigned)number);
    return url->err == OK;
}

static enum err add_server(struct client *client, struct bytes text, struct buf *why)
{
    struct buf url;
    buf_init(&url, SERVER_TEXT_MAX);
    enum err err = put_url(text, &url) ? OK : ERR_MALFORMED;
    if (err != OK)
        buf_put_format(why, "%.*s: must be host:port", (int)text.len, (const char *)text.data);
    else if (client->count == SERVERS_MAX) {
        buf_put_format(why, "more than %d servers", SERVERS_MAX);
        err = ERR_TOO_LARGE;
    } else
        client->servers[client->count++] = (struct server){mem_text_of(text), mem_text_of(buf_bytes(&url))};
    buf_done(&url);
    return err;
}

enum err client_add_servers(struct client *client, const char *list, struct buf *why)
{
    for (;;) {
        size_t n = strcspn(list, ",");
        enum err err = add_server(client, bytes_of(list, n), why);
        if (err != OK || !list[n])
            return err;
        list += n + 1;
    }
}

size_t client_servers(const struct client *client)
{
    return client->count;
}

const char *client_server(const struct client *client)
{
    return client->count ? client->servers[client->next].name : "";
}

static void server_done(struct server *server)
{
    free(server->name);
    free(server->url);
}

void client_keep_server(struct client *client)
{
    for (size_t i = 0; i < client->count; i++)
        if (i != client->next)
            server_done(&client->servers[i]);
    if (client->count) {
        client->servers[0] = client->servers[client->next];
        client->count = 1;
        client->next = 0;
    }
}

void client_next_server(struct client *client)
{
    if (client->count)
        client->next = (client->next + 1) % client->count;
}

enum err client_new(struct client **ret, struct buf *why)
{
    const struct curl_api *api;
    enum err err = curl_api_load(&api, why);
    if (err != OK)
        return err;
    CURL *curl = api->easy_init();
    if (!curl) {
        buf_put_text(why, "libcurl does not start");
        return ERR_IO;
    }
    struct client *client = mem_new(sizeof *client);
    *client = (struct client){.api = api, .curl = curl, .context = mem_text("")};
    *ret = client;
    return OK;
}

void client_free(struct client *client)
{
    if (!client)
        return;
    client->api->easy_cleanup(client->curl);
    for (size_t i = 0; i < client->count; i++)
        server_done(&client->servers[i]);
    free(client->context);
    free(client);
}

/* ---- what comes --------------------------------------------------------------------- */

void client_answer_done(struct client_answer *answer)
{
    buf_done(&answer->body);
    free(answer->content_type);
    free(answer->context);
    free(answer->etag);
    free(answer->value_type);
    free(answer->expires);
    *answer = (struct client_answer){0};
}

static void answer_begin(struct client_answer *answer, const char *server)
{
    *answer = (struct client_answer){.server = server,
                                     .content_type = mem_text(""),
                                     .context = mem_text(""),
                                     .etag = mem_text(""),
                                     .value_type = mem_text(""),
                                     .expires = mem_text("")};
    buf_init(&answer->body, CLIENT_ANSWER_MAX);
}

static struct bytes trimmed(struct bytes text)
{
    while (text.len && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = bytes_of(text.data + 1, text.len - 1);
    while (text.len && strchr(" \t\r\n", text.data[text.len - 1]))
        text.len--;
    return text;
}

static void take_header(struct client_answer *answer, struct bytes line)
{
    const struct {
        const char *name;
        char **value;
    } wanted[] = {{"Content-Type:", &answer->content_type},
                  {"X-Yzma-Context:", &answer->context},
                  {"ETag:", &answer->etag},
                  {"X-Yzma-Type:", &answer->value_type},
                  {"X-Yzma-Expires:", &answer->expires}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        size_t n = strlen(wanted[i].name);
        if (line.len < n || strncasecmp((const char *)line.data, wanted[i].name, n) != 0)
            continue;
        free(*wanted[i].value);
        *wanted[i].value = mem_text_of(trimmed(bytes_of(line.data + n, line.len - n)));
    }
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
    struct attempt *a = ctx;
    struct bytes line = bytes_of(data, size * count);
    const uint8_t *space = memchr(line.data, ' ', line.len);
    if (bytes_starts_with(line, bytes_str("HTTP/")) && space) {
        const char *server = a->answer.server; /* the one before was 100 */
        client_answer_done(&a->answer);
        answer_begin(&a->answer, server);
        char digits[4] = "";
        struct bytes rest = trimmed(bytes_of(space, (size_t)(line.data + line.len - space)));
        memcpy(digits, rest.data, rest.len < 3 ? rest.len : 3);
        a->answer.status = (unsigned)strtoul(digits, NULL, 10);
        a->headed = false;
    } else if (trimmed(line).len == 0) {
        a->headed = true;
    } else {
        take_header(&a->answer, line);
    }
    return line.len;
}

static enum err give_line(struct attempt *a, struct bytes line)
{
    if (line.len && line.data[line.len - 1] == '\r')
        line.len--;
    a->gave = true;
    return a->call->line(a->call->ctx, line);
}

/* Whole lines go out as they lie there; only the ends of pieces are kept. */
static enum err give_lines(struct attempt *a, struct bytes piece)
{
    const uint8_t *end;
    enum err err = OK;
    while (err == OK && piece.len && (end = memchr(piece.data, '\n', piece.len))) {
        size_t n = (size_t)(end - piece.data);
        if (a->line.len) {
            buf_put(&a->line, piece.data, n);
            err = a->line.err == OK ? give_line(a, buf_bytes(&a->line)) : a->line.err;
            buf_reset(&a->line);
        } else {
            err = give_line(a, bytes_of(piece.data, n));
        }
        piece = bytes_of(end + 1, piece.len - n - 1);
    }
    if (err == OK && piece.len) {
        buf_put_bytes(&a->line, piece);
        err = a->line.err;
    }
    return err;
}

static bool is_success(unsigned status)
{
    return status >= 200 && status <= 299;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct attempt *a = ctx;
    struct bytes piece = bytes_of(data, size * count);
    if (is_success(a->answer.status) && a->call->line) {
        a->err = give_lines(a, piece);
    } else if (is_success(a->answer.status) && a->call->piece) {
        a->gave = true;
        a->err = a->call->piece(a->call->ctx, piece);
    } else {
        buf_put_bytes(&a->answer.body, piece);
        a->err = a->answer.body.err;
    }
    return a->err == OK ? piece.len : 0;
}

static size_t on_read(char *into, size_t size, size_t count, void *ctx)
{
    struct attempt *a = ctx;
    size_t got = 0;
    a->took = true;
    a->err = a->call->read(a->call->ctx, (uint8_t *)into, size * count, &got);
    return a->err == OK ? got : CURL_READFUNC_ABORT;
}

static bool is_method(const struct client_call *call, const char *method)
{
    return strcmp(call->method ? call->method : "GET", method) == 0;
}

static bool is_read(const struct client_call *call)
{
    return is_method(call, "GET") || is_method(call, "HEAD");
}

static bool may_repeat(const struct client_call *call)
{
    return call->repeat == CLIENT_REPEAT_AS_METHOD ? !is_method(call, "POST")
                                                   : call->repeat == CLIENT_REPEAT_ALWAYS;
}

static uint64_t first_ms(const struct client_call *call)
{
    uint64_t more = call->idle_ms > CLIENT_IDLE_MS ? call->idle_ms - CLIENT_IDLE_MS : 0;
    return call->first_ms ? call->first_ms : CLIENT_FIRST_MS + more;
}

/* As long as the body goes out nobody waits for an answer. */
static bool is_silent(struct attempt *a, curl_off_t sent)
{
    uint64_t now_ms = term_now_ms();
    if (!a->has_next || a->answer.status || !may_repeat(a->call) || a->took)
        return false;
    if (a->answer_by_ms == 0 || sent != a->sent) {
        a->answer_by_ms = now_ms + first_ms(a->call);
        a->sent = sent;
    }
    return now_ms > a->answer_by_ms;
}

static int on_progress(void *ctx, curl_off_t d_all, curl_off_t d_now, curl_off_t u_all, curl_off_t u_now)
{
    struct attempt *a = ctx;
    if (a->call->stop && a->call->stop(a->call->ctx))
        a->err = ERR_CLOSED;
    else if (is_silent(a, u_now))
        a->silent = true;
    else
        return 0;
    return 1;
}

/* ---- one attempt -------------------------------------------------------------------- */

static struct curl_slist *add_header(const struct client *client, struct curl_slist *list, const char *name,
                                     const char *value)
{
    struct buf line;
    buf_init(&line, SIZE_MAX);
    buf_put_format(&line, "%s: %s", name, value);
    buf_put_u8(&line, 0);
    list = client->api->slist_append(list, (const char *)line.data);
    buf_done(&line);
    return list;
}

static struct curl_slist *headers_of(const struct client *client, const struct client_call *call, bool body)
{
    struct curl_slist *list = NULL;
    const char *context = call->context ? call->context : is_read(call) ? client->context : "";
    if (context[0])
        list = add_header(client, list, "X-Yzma-Context", context);
    if (body)
        list = add_header(client, list, "Content-Type", call->type ? call->type : "application/json");
    if (body && call->read)
        list = add_header(client, list, "Transfer-Encoding", "chunked");
    for (size_t i = 0; call->headers && call->headers[i]; i++)
        list = client->api->slist_append(list, call->headers[i]);
    return list;
}

static void set_limits(const struct curl_api *api, CURL *curl, const struct client_call *call, bool has_next)
{
    uint64_t idle_s = ((call->idle_ms ? call->idle_ms : CLIENT_IDLE_MS) + 999) / 1000;
    api->easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(has_next ? CLIENT_CONNECT_NEXT_MS : CLIENT_CONNECT_MS));
    api->easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    api->easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)idle_s);
}

static void set_body(const struct curl_api *api, CURL *curl, struct attempt *a)
{
    const struct client_call *call = a->call;
    api->easy_setopt(curl, CURLOPT_POST, 1L);
    if (call->read) {
        api->easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
        api->easy_setopt(curl, CURLOPT_READDATA, a);
    } else {
        api->easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
        api->easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.len ? (const char *)call->body.data : "");
    }
    if (!is_method(call, "POST"))
        api->easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
}

static void set_up(struct attempt *a, const char *url, struct curl_slist *headers, bool body)
{
    const struct curl_api *api = a->client->api;
    const struct client_call *call = a->call;
    CURL *curl = a->client->curl;
    api->easy_reset(curl); /* the connection stays */
    api->easy_setopt(curl, CURLOPT_URL, url);
    api->easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* ".." is a part of a key */
    api->easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    api->easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    api->easy_setopt(curl, CURLOPT_PROXY, ""); /* those of the environment are for the Web */
    api->easy_setopt(curl, CURLOPT_USERAGENT, "yzma/" YZMA_VERSION);
    api->easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    api->easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L); /* a machine that is gone, in long waits */
    api->easy_setopt(curl, CURLOPT_ERRORBUFFER, a->problem);
    api->easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    api->easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    api->easy_setopt(curl, CURLOPT_HEADERDATA, a);
    api->easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    api->easy_setopt(curl, CURLOPT_WRITEDATA, a);
    if (call->stop || a->has_next) {
        api->easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        api->easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        api->easy_setopt(curl, CURLOPT_XFERINFODATA, a);
    }
    /* On a connection that was used before, libcurl itself sends again what brought nothing. */
    if (!may_repeat(call))
        api->easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    set_limits(api, curl, call, a->has_next);
    if (body)
        set_body(api, curl, a);
    else if (is_method(call, "HEAD"))
        api->easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (!is_method(call, "GET"))
        api->easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
}

static CURLcode perform(struct attempt *a, const struct server *server)
{
    const struct client *client = a->client;
    bool body = is_method(a->call, "POST") || is_method(a->call, "PUT");
    char *url = mem_new(strlen(server->url) + strlen(a->call->target) + 1);
    strcat(strcat(url, server->url), a->call->target);
    struct curl_slist *headers = headers_of(client, a->call, body);
    answer_begin(&a->answer, server->name);
    buf_init(&a->line, CLIENT_LINE_MAX);
    set_up(a, url, headers, body);
    CURLcode code = client->api->easy_perform(client->curl);
    curl_off_t sent_at = 0;
    client->api->easy_getinfo(client->curl, CURLINFO_PRETRANSFER_TIME_T, &sent_at);
    a->left = sent_at > 0;
    if (code == CURLE_OK && !a->headed) /* of which libcurl makes an answer without a body */
        code = CURLE_PARTIAL_FILE;
    if (code == CURLE_OK && a->line.len && a->call->line &&
        (a->err = give_line(a, buf_bytes(&a->line))) != OK)
        code = CURLE_WRITE_ERROR;
    buf_done(&a->line);
    client->api->slist_free_all(headers);
    free(url);
    return code;
}

/* "host:port (reason)" */
static void put_reason(const struct attempt *a, CURLcode code, struct buf *why)
{
    const struct client *client = a->client;
    long error = 0;
    client->api->easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &error);
    buf_put_format(why, "%s (", a->answer.server);
    if (code == CURLE_COULDNT_CONNECT && error)
        buf_put_text(why, strerror((int)error));
    else if (a->silent)
        buf_put_text(why, "no answer in time");
    else if (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_PARTIAL_FILE)
        buf_put_text(why, "the connection broke before the whole answer had come");
    else
        client_put_plain(why, bytes_str(a->problem[0] ? a->problem : client->api->easy_strerror(code)));
    buf_put_u8(why, ')');
}

static void keep_context(struct client *client, const struct client_answer *answer)
{
    if (answer->context[0]) {
        free(client->context);
        client->context = mem_text(answer->context);
    }
}

/* ---- a call ------------------------------------------------------------------------- */

/* What became of an attempt that libcurl could not end well: the call's end, or OK to try
 * the next server. reasons has a text of each that failed. */
static enum err judge_failure(const struct attempt *a, CURLcode code, struct buf *reasons, struct buf *why)
{
    if (a->err != OK) {
        if (a->err == ERR_TOO_LARGE || a->err == ERR_NOMEM)
            buf_put_format(why, "%s: the answer is too large", a->answer.server);
        return a->err;
    }
    if (reasons->len)
        buf_put_text(reasons, ", ");
    put_reason(a, code, reasons);
    bool again = !a->left || (may_repeat(a->call) && !a->gave && !a->took);
    if (again)
        return OK;
    buf_put_text(why, is_read(a->call) ? "no whole answer of " : "no answer of ");
    buf_put_bytes(why, buf_bytes(reasons));
    if (!is_read(a->call))
        buf_put_text(why, "; what was asked may have been done");
    return code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_IO;
}

/* One after the other, from the one that answered last. A 503 that may not be repeated,
 * or of the last one, is the answer. */
static enum err try_all(struct client *client, const struct client_call *call, struct client_answer *kept,
                        struct buf *reasons, struct buf *why)
{
    size_t first = client->next;
    for (size_t i = 0; i < client->count; i++) {
        size_t at = (first + i) % client->count;
        struct attempt a = {.client = client, .call = call, .has_next = i + 1 < client->count};
        CURLcode code = perform(&a, &client->servers[at]);
        if (a.answer.status) /* it was there */
            client->next = at;
        if (code == CURLE_OK) {
            bool last = i + 1 == client->count;
            bool unavailable = a.answer.status == STATUS_UNAVAILABLE && may_repeat(call) && !a.took;
            client_answer_done(kept);
            *kept = a.answer;
            if (!unavailable || last)
                return OK;
            continue;
        }
        enum err err = judge_failure(&a, code, reasons, why);
        client_answer_done(&a.answer);
        if (err != OK)
            return err;
    }
    return OK;
}

enum err client_call(struct client *client, const struct client_call *call, struct client_answer *ret,
                     struct buf *why)
{
    struct client_answer kept = {0};
    struct buf reasons;
    buf_init(&reasons, 64 << 10);
    enum err err = try_all(client, call, &kept, &reasons, why);
    if (err == OK && !kept.server) {
        buf_put_text(why, client->count ? "no node answers at " : "no server is known");
        buf_put_bytes(why, buf_bytes(&reasons));
        err = ERR_IO;
    }
    buf_done(&reasons);
    if (err == OK) {
        keep_context(client, &kept);
        *ret = kept;
    } else {
        client_answer_done(&kept);
    }
    return err;
}

enum err client_ask(struct client *client, const struct client_call *call, struct client_answer *ret,
                    struct bytes *ret_data, struct buf *why)
{
    struct client_answer answer;
    struct bytes data = {0};
    enum err err = client_call(client, call, &answer, why);
    if (err != OK)
        return err;
    if (!is_success(answer.status)) {
        client_explain(&answer, why);
        err = ERR_REFUSED;
    } else {
        struct buf error;
        buf_init(&error, 4096);
        err = client_envelope(buf_bytes(&answer.body), &data, &error, why);
        buf_done(&error);
    }
    if (err == OK) {
        *ret = answer;
        *ret_data = data;
    } else {
        client_answer_done(&answer);
    }
    return err;
}
