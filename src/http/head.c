/* The head of a request: framing first, because two readers of one connection
 * that disagree where a request ends are a hole (request smuggling); then who
 * asks, what for, and whether its body is worth reading. */
#include "exchange.h"
#include "media.h"
#include "origin.h"
#include "units.h"

#include <strings.h>

/* Every call there is. GET and HEAD share a handler: the library leaves the body
 * of an answer to HEAD out. */
static const struct handler handlers[] = {
    {ROUTE_KEY, VERB_GET | VERB_HEAD, PARAM_WAIT | PARAM_SIBLINGS | PARAM_RAW, .takes_token = true,
     .takes_conditions = true, .run = keys_get},
    {ROUTE_KEY, VERB_POST | VERB_PUT,
     PARAM_WAIT | PARAM_MODE | PARAM_TTL | PARAM_EXPIRES | PARAM_TOUCH | PARAM_W, .body = BODY_VALUE,
     .takes_token = true, .takes_conditions = true, .run = keys_write},
    {ROUTE_KEY, VERB_DELETE, PARAM_WAIT | PARAM_W, .takes_token = true, .takes_conditions = true,
     .run = keys_write},
    {ROUTE_KEYS, VERB_GET | VERB_HEAD,
     PARAM_WAIT | PARAM_PREFIX | PARAM_AFTER | PARAM_LIMIT | PARAM_VALUES | PARAM_REVERSE | PARAM_END |
         PARAM_COUNT | PARAM_DELIMITER | PARAM_ALL,
     .takes_token = true, .run = keys_list},
    {ROUTE_KEYS, VERB_DELETE, PARAM_WAIT | PARAM_PREFIX | PARAM_NEEDED, .takes_token = true,
     .run = keys_clear},
    {ROUTE_COUNTER, VERB_GET | VERB_HEAD, PARAM_WAIT, .takes_token = true, .run = counter_get},
    {ROUTE_COUNTER, VERB_POST, PARAM_WAIT | PARAM_W, .body = BODY_JSON, .takes_token = true,
     .run = counter_write},
    {ROUTE_COUNTER, VERB_DELETE, PARAM_WAIT | PARAM_W, .takes_token = true, .run = counter_write},
    {ROUTE_COUNTERS, VERB_GET | VERB_HEAD, PARAM_WAIT | PARAM_PREFIX | PARAM_AFTER | PARAM_LIMIT,
     .takes_token = true, .run = counters_list},
    {ROUTE_SET, VERB_GET | VERB_HEAD, PARAM_WAIT | PARAM_MEMBER | PARAM_AFTER | PARAM_LIMIT | PARAM_COUNT,
     .takes_token = true, .run = set_get},
    {ROUTE_SET, VERB_POST, PARAM_WAIT | PARAM_W, .body = BODY_JSON, .takes_token = true, .run = set_change},
    {ROUTE_SET, VERB_DELETE, PARAM_WAIT, .takes_token = true, .run = set_clear},
    {ROUTE_SETS, VERB_GET | VERB_HEAD, PARAM_WAIT | PARAM_PREFIX | PARAM_AFTER | PARAM_LIMIT,
     .takes_token = true, .run = sets_list},
    {ROUTE_CONFLICTS, VERB_GET | VERB_HEAD, PARAM_WAIT | PARAM_PREFIX | PARAM_AFTER | PARAM_LIMIT,
     .takes_token = true, .run = conflicts_list},
    {ROUTE_BATCH, VERB_POST, PARAM_WAIT | PARAM_W, .body = BODY_JSON, .takes_token = true, .run = batch_post},
    {ROUTE_IMPORT, VERB_POST, PARAM_AFTER, .body = BODY_LINES, .run = import_post},
    {ROUTE_EXPORT, VERB_GET | VERB_HEAD,
     PARAM_WAIT | PARAM_SPACE | PARAM_PREFIX | PARAM_FROM | PARAM_AFTER | PARAM_MEMBER | PARAM_END |
         PARAM_SIBLINGS | PARAM_CONTEXTS,
     .takes_token = true, .run = export_get},
    {ROUTE_WATCH, VERB_GET,
     PARAM_WAIT | PARAM_SPACE | PARAM_PREFIX | PARAM_KEY | PARAM_SINCE | PARAM_VALUES | PARAM_POLL,
     .takes_token = true, .run = watch_get},
    {ROUTE_JOIN, VERB_POST, 0, .body = BODY_JSON, .run = cluster_join},
    {ROUTE_LEAVE, VERB_POST, 0, .run = cluster_leave},
    {ROUTE_MEMBERS, VERB_GET | VERB_HEAD, 0, .run = cluster_members},
    {ROUTE_STATUS, VERB_GET | VERB_HEAD, 0, .run = cluster_status},
    {ROUTE_CLUSTER_KEYS, VERB_GET | VERB_HEAD, 0, .run = cluster_keys},
    {ROUTE_KEYS_INSTALL, VERB_POST, 0, .body = BODY_JSON, .run = cluster_keys_install},
    {ROUTE_KEYS_USE, VERB_POST, 0, .body = BODY_JSON, .run = cluster_keys_use},
    {ROUTE_KEYS_REMOVE, VERB_POST, 0, .body = BODY_JSON, .run = cluster_keys_remove},
    {ROUTE_FORGET, VERB_POST, 0, .body = BODY_JSON, .run = cluster_forget},
    {ROUTE_RETIRE, VERB_POST, 0, .body = BODY_JSON, .run = cluster_retire},
    {ROUTE_PAUSE, VERB_POST, 0, .run = cluster_pause},
    {ROUTE_RESUME, VERB_POST, 0, .run = cluster_resume},
    {ROUTE_BACKUP, VERB_GET, PARAM_AFTER | PARAM_ROW | PARAM_BYTES, .run = cluster_backup},
    {ROUTE_DIGEST, VERB_GET | VERB_HEAD, PARAM_AFTER | PARAM_THROUGH | PARAM_LIMIT | PARAM_LIST | PARAM_BYTES,
     .run = cluster_digest},
    {ROUTE_HEALTH, VERB_GET | VERB_HEAD, 0, .run = health},
    {ROUTE_READY, VERB_GET | VERB_HEAD, 0, .run = cluster_ready},
};

static const char *const allow_of_route[ROUTES] = {
    [ROUTE_KEYS] = "GET, HEAD, DELETE",
    [ROUTE_KEY] = "GET, HEAD, POST, PUT, DELETE",
    [ROUTE_COUNTERS] = "GET, HEAD",
    [ROUTE_COUNTER] = "GET, HEAD, POST, DELETE",
    [ROUTE_SETS] = "GET, HEAD",
    [ROUTE_SET] = "GET, HEAD, POST, DELETE",
    [ROUTE_CONFLICTS] = "GET, HEAD",
    [ROUTE_BATCH] = "POST",
    [ROUTE_IMPORT] = "POST",
    [ROUTE_EXPORT] = "GET, HEAD",
    [ROUTE_WATCH] = "GET",
    [ROUTE_JOIN] = "POST",
    [ROUTE_LEAVE] = "POST",
    [ROUTE_MEMBERS] = "GET, HEAD",
    [ROUTE_STATUS] = "GET, HEAD",
    [ROUTE_CLUSTER_KEYS] = "GET, HEAD",
    [ROUTE_KEYS_INSTALL] = "POST",
    [ROUTE_KEYS_USE] = "POST",
    [ROUTE_KEYS_REMOVE] = "POST",
    [ROUTE_FORGET] = "POST",
    [ROUTE_RETIRE] = "POST",
    [ROUTE_PAUSE] = "POST",
    [ROUTE_RESUME] = "POST",
    [ROUTE_BACKUP] = "GET",
    [ROUTE_DIGEST] = "GET, HEAD",
    [ROUTE_HEALTH] = "GET, HEAD",
    [ROUTE_READY] = "GET, HEAD",
};

static enum verb verb_of(const char *method)
{
    static const struct {
        const char *name;
        enum verb verb;
    } verbs[] = {{MHD_HTTP_METHOD_GET, VERB_GET},
                 {MHD_HTTP_METHOD_POST, VERB_POST},
                 {MHD_HTTP_METHOD_PUT, VERB_PUT},
                 {MHD_HTTP_METHOD_DELETE, VERB_DELETE},
                 {MHD_HTTP_METHOD_HEAD, VERB_HEAD}};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(method, verbs[i].name) == 0)
            return verbs[i].verb;
    return VERB_OTHER;
}

static void take_once(struct exchange *x, const char **slot, const char *value, const char *complaint)
{
    if (*slot)
        x->bad_head = complaint;
    *slot = value;
}

static void take_length(struct exchange *x, struct bytes value)
{
    x->lengths++;
    if (number_parse(value, &x->content_length) != OK)
        x->bad_head = "Content-Length is not a number";
}

static enum MHD_Result take_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_length,
                                   const char *value, size_t length)
{
    struct exchange *x = cls;
    if (!value || strlen(value) != length || name_length == 0 || strcspn(name, " \t") != name_length) {
        x->bad_head = "a header is malformed";
        return MHD_NO;
    }
    switch (name_length) {
    case 4:
        if (strcasecmp(name, "Host") == 0)
            take_once(x, &x->host, value, "Host is repeated");
        break;
    case 6:
        if (strcasecmp(name, "Origin") == 0)
            take_once(x, &x->origin, value, "Origin is repeated");
        else if (strcasecmp(name, "Accept") == 0)
            take_once(x, &x->accept, value, "Accept is repeated");
        break;
    case 8:
        if (strcasecmp(name, "If-Match") == 0)
            take_once(x, &x->if_match, value, "If-Match is repeated");
        break;
    case 13:
        if (strcasecmp(name, "If-None-Match") == 0)
            take_once(x, &x->if_none_match, value, "If-None-Match is repeated");
        else if (strcasecmp(name, "Last-Event-ID") == 0)
            take_once(x, &x->last_event_id, value, "Last-Event-ID is repeated");
        break;
    case 12:
        if (strcasecmp(name, "Content-Type") == 0)
            take_once(x, &x->content_type, value, "Content-Type is repeated");
        break;
    case 14:
        if (strcasecmp(name, "Content-Length") == 0)
            take_length(x, bytes_of(value, length));
        else if (strcasecmp(name, "X-Yzma-Context") == 0)
            take_once(x, &x->token_text, value, "X-Yzma-Context is repeated");
        break;
    case 17:
        if (strcasecmp(name, "Transfer-Encoding") == 0) {
            x->encodings++;
            if (strcasecmp(value, "chunked") != 0)
                x->bad_head = "Transfer-Encoding other than chunked";
        }
        break;
    default:
        break;
    }
    return MHD_YES;
}

static void read_headers(struct exchange *x)
{
    MHD_get_connection_values_n(x->connection, MHD_HEADER_KIND, take_header, x);
    if (x->lengths > 1)
        x->bad_head = "Content-Length is repeated";
    else if (x->encodings > 1)
        x->bad_head = "Transfer-Encoding is repeated";
    else if (x->lengths && x->encodings)
        x->bad_head = "both Content-Length and Transfer-Encoding";
}

static void refuse(struct exchange *x, unsigned status, const char *reason)
{
    x->refused_status = status;
    buf_put_text(&x->refusal, reason);
}

static const struct handler *find_handler(struct exchange *x)
{
    if (x->target.route == ROUTE_NONE) {
        refuse(x, MHD_HTTP_NOT_FOUND, "no such path");
        return NULL;
    }
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++)
        if (handlers[i].route == x->target.route && (handlers[i].verbs & (unsigned)x->verb))
            return &handlers[i];
    x->allow = allow_of_route[x->target.route];
    refuse(x, MHD_HTTP_METHOD_NOT_ALLOWED, "method not allowed here");
    return NULL;
}

static void read_params(struct exchange *x)
{
    struct bytes query = x->query ? bytes_str(x->query) : bytes_of(NULL, 0);
    if (params_parse(query, x->handler->params, x->http->options.request_timeout_ms, &x->params,
                     &x->refusal) != OK)
        x->refused_status = MHD_HTTP_BAD_REQUEST;
}

static void read_token(struct exchange *x)
{
    if (!x->token_text || !x->handler->takes_token)
        return;
    if (token_decode(bytes_str(x->token_text), &x->token) != OK) {
        refuse(x, MHD_HTTP_BAD_REQUEST, "X-Yzma-Context is malformed");
        return;
    }
    bool replaces = x->target.route == ROUTE_KEY && x->verb & (VERB_POST | VERB_PUT | VERB_DELETE);
    if (replaces && x->token.key_hash != token_key_hash(target_key(&x->target)))
        refuse(x, MHD_HTTP_BAD_REQUEST, "X-Yzma-Context belongs to another key");
    x->has_token = true;
}

static void read_conditions(struct exchange *x)
{
    if (!x->handler->takes_conditions) {
        bool writes = x->verb & (VERB_POST | VERB_PUT | VERB_DELETE);
        if (writes && (x->if_match || x->if_none_match))
            refuse(x, MHD_HTTP_BAD_REQUEST,
                   x->if_match ? "If-Match is not judged here" : "If-None-Match is not judged here");
        return;
    }
    if (x->if_match && etag_list_parse(x->if_match, true, &x->condition.match) != OK)
        refuse(x, MHD_HTTP_BAD_REQUEST, "If-Match must be \"*\" or at most 16 entity tags");
    else if (x->if_none_match && etag_list_parse(x->if_none_match, false, &x->condition.none_match) != OK)
        refuse(x, MHD_HTTP_BAD_REQUEST, "If-None-Match must be \"*\" or at most 16 entity tags");
    x->has_condition = x->if_match || x->if_none_match;
}

static void read_type(struct exchange *x)
{
    if (x->handler->body == BODY_IGNORED || x->handler->body == BODY_LINES)
        return;
    x->body_is_json = media_is_json(x->content_type);
    if (x->body_is_json)
        return;
    if (x->handler->body == BODY_JSON)
        refuse(x, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "only JSON is supported");
    else if (!media_is_type(x->content_type))
        refuse(x, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "Content-Type is not a media type of at most 255 bytes");
    else
        memcpy(x->type, x->content_type, strlen(x->content_type) + 1);
}

static void check_request(struct exchange *x)
{
    const struct http_options *options = &x->http->options;
    if (x->origin &&
        !origin_allowed(x->origin, x->host, options->allowed_origins, options->allowed_origin_count)) {
        count(x->http, COUNT_ORIGINS_REFUSED);
        refuse(x, MHD_HTTP_FORBIDDEN, "pages of this Origin may not call this node (API.AllowedOrigins)");
        return;
    }
    x->handler = find_handler(x);
    if (!x->handler)
        return;
    if (x->target.error_status) {
        refuse(x, x->target.error_status, x->target.error);
        return;
    }
    read_params(x);
    if (!x->refused_status)
        read_token(x);
    if (!x->refused_status)
        read_conditions(x);
    if (!x->refused_status && !x->params.touch)
        read_type(x);
}

void head_read(struct exchange *x, const char *method)
{
    x->verb = verb_of(method);
    read_headers(x);
    if (!x->bad_head)
        check_request(x);
}
