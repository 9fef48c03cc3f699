/* The calls about the node and its cluster: asked of the node, whose answers come
 * as JSON. */
#include "exchange.h"

#include <stdlib.h>
#include <yajl/yajl_tree.h>

enum { REPLICA_TEXT_MAX = 255 }; /* of a member name */

static void take_reply(struct exchange *x, void *result)
{
    x->reply = result;
}

/* On the cluster thread. */
static void node_done(void *ctx, struct node_reply *reply)
{
    struct exchange *x = ctx;
    if (!parking_resume(x, take_reply, reply))
        node_reply_free(reply);
    workers_wake(x->http);
    exchange_unref(x);
}

static void ask_node(struct exchange *x, enum node_request request, const char *const *names, size_t count)
{
    const struct http_backend *backend = &x->http->backend;
    if (!parking_park(x, PARKED_FOR_NODE, deadlines_now_ms() + NODE_ANSWER_MS)) {
        answer_store_error(x, ERR_CLOSED);
        return;
    }
    x->asked = true;
    atomic_fetch_add(&x->refs, 1);
    enum err err = backend->request(backend->ctx, request, names, count, node_done, x);
    if (err == OK)
        return;
    parking_resume(x, NULL, NULL); /* and is answered as if without a reply */
    workers_wake(x->http);
    exchange_unref(x);
}

static unsigned status_of_error(enum err err)
{
    switch (err) {
    case ERR_REFUSED:
        return MHD_HTTP_BAD_GATEWAY;
    case ERR_MALFORMED:
        return MHD_HTTP_BAD_REQUEST;
    case ERR_NOT_FOUND:
        return MHD_HTTP_NOT_FOUND;
    case ERR_CONFLICT:
    case ERR_EXISTS:
    case ERR_TOO_LARGE:
        return MHD_HTTP_CONFLICT;
    default:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    }
}

/* The node has answered, or will not. */
static void answer_reply(struct exchange *x)
{
    const struct node_reply *reply = x->reply;
    if (!reply) {
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "the node does not answer");
        return;
    }
    if (reply->err == OK && reply->data.err == OK) {
        answer_ok(x, buf_bytes(&reply->data));
        return;
    }
    const char *error = reply->error ? reply->error
                                     : err_text(reply->err != OK ? reply->err : reply->data.err);
    answer_error_data(x, status_of_error(reply->err), bytes_str(error),
                      reply->data.err == OK ? buf_bytes(&reply->data) : bytes_of(NULL, 0));
}

static void simple_request(struct exchange *x, enum node_request request)
{
    if (x->asked)
        answer_reply(x);
    else
        ask_node(x, request, NULL, 0);
}

/* "host:port" or "host" by its looks; whether the host exists, the resolver says. */
static bool is_host_port(const char *text)
{
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    if (!text[0] || colon == text || strlen(text) > 300 || strcspn(text, " \t\r\n/") != strlen(text))
        return false;
    if (!colon || (bracket && bracket > colon))
        return true;
    size_t digits = strspn(colon + 1, "0123456789");
    unsigned long port = strtoul(colon + 1, NULL, 10);
    return digits > 0 && digits <= 5 && colon[1 + digits] == '\0' && port >= 1 && port <= 65535;
}

/* The Peers of {"Peers":["host:port"]}; NULL with *ret_problem for anything else. */
static yajl_val read_peers(yajl_val root, const char **ret_problem)
{
    *ret_problem = "body must be {\"Peers\":[\"host:port\"]} and nothing else";
    if (!YAJL_IS_OBJECT(root) || YAJL_GET_OBJECT(root)->len != 1 ||
        strcmp(YAJL_GET_OBJECT(root)->keys[0], "Peers") != 0)
        return NULL;
    yajl_val peers = YAJL_GET_OBJECT(root)->values[0];
    if (!YAJL_IS_ARRAY(peers) || YAJL_GET_ARRAY(peers)->len == 0)
        return NULL;
    if (YAJL_GET_ARRAY(peers)->len > JOIN_PEERS_MAX) {
        *ret_problem = "more than 256 peers";
        return NULL;
    }
    for (size_t i = 0; i < YAJL_GET_ARRAY(peers)->len; i++) {
        const char *peer = YAJL_GET_STRING(YAJL_GET_ARRAY(peers)->values[i]);
        if (!peer || !is_host_port(peer)) {
            *ret_problem = "each of Peers must be \"host:port\"";
            return NULL;
        }
    }
    return peers;
}

/* NULL when it is no JSON; what is wrong with it the caller says. */
static yajl_val parse_body(struct exchange *x)
{
    char problem[128];
    buf_put_u8(&x->body, '\0');
    return x->body.err == OK ? yajl_tree_parse((const char *)x->body.data, problem, sizeof problem) : NULL;
}

static void start_join(struct exchange *x)
{
    const char *problem;
    yajl_val root = parse_body(x);
    yajl_val peers = read_peers(root, &problem);
    if (peers) {
        const char *names[JOIN_PEERS_MAX];
        size_t count = YAJL_GET_ARRAY(peers)->len;
        for (size_t i = 0; i < count; i++)
            names[i] = YAJL_GET_STRING(YAJL_GET_ARRAY(peers)->values[i]);
        ask_node(x, NODE_REQUEST_JOIN, names, count);
    } else {
        answer_error(x, MHD_HTTP_BAD_REQUEST, "%s", problem);
    }
    yajl_tree_free(root);
}

void cluster_join(struct exchange *x)
{
    if (x->asked)
        answer_reply(x);
    else
        start_join(x);
}

void cluster_leave(struct exchange *x)
{
    simple_request(x, NODE_REQUEST_LEAVE);
}

void cluster_members(struct exchange *x)
{
    simple_request(x, NODE_REQUEST_MEMBERS);
}

void cluster_status(struct exchange *x)
{
    simple_request(x, NODE_REQUEST_STATUS);
}

void cluster_ready(struct exchange *x)
{
    simple_request(x, NODE_REQUEST_READY);
}

/* ---- keys ----------------------------------------------------------------------- */

void cluster_keys(struct exchange *x)
{
    simple_request(x, NODE_REQUEST_KEYS_LIST);
}

/* {"Key":".."} and perhaps "Force":true; NULL with *ret_problem for anything else. */
static const char *read_key(yajl_val root, bool *ret_force, const char **ret_problem)
{
    const char *key = NULL;
    *ret_problem = "body must be {\"Key\":\"..\"}, perhaps with \"Force\":true, and nothing else";
    *ret_force = false;
    if (!YAJL_IS_OBJECT(root))
        return NULL;
    for (size_t i = 0; i < YAJL_GET_OBJECT(root)->len; i++) {
        const char *name = YAJL_GET_OBJECT(root)->keys[i];
        yajl_val value = YAJL_GET_OBJECT(root)->values[i];
        if (strcmp(name, "Key") == 0 && YAJL_IS_STRING(value) && !key)
            key = YAJL_GET_STRING(value);
        else if (strcmp(name, "Force") == 0 && (YAJL_IS_TRUE(value) || YAJL_IS_FALSE(value)))
            *ret_force = YAJL_IS_TRUE(value);
        else
            return NULL;
    }
    return key;
}

static void change_keys(struct exchange *x, enum node_request request)
{
    if (x->asked) {
        answer_reply(x);
        return;
    }
    const char *problem;
    yajl_val root = parse_body(x);
    bool force;
    const char *names[] = {read_key(root, &force, &problem), "force"};
    if (names[0])
        ask_node(x, request, names, force ? 2 : 1);
    else
        answer_error(x, MHD_HTTP_BAD_REQUEST, "%s", problem);
    yajl_tree_free(root);
}

void cluster_keys_install(struct exchange *x)
{
    change_keys(x, NODE_REQUEST_KEYS_INSTALL);
}

void cluster_keys_use(struct exchange *x)
{
    change_keys(x, NODE_REQUEST_KEYS_USE);
}

void cluster_keys_remove(struct exchange *x)
{
    change_keys(x, NODE_REQUEST_KEYS_REMOVE);
}

/* ---- by hand ---------------------------------------------------------------------- */

/* {"Replica":".."}: a UUID or a member name; NULL for anything else. */
static const char *read_replica(yajl_val root)
{
    if (!YAJL_IS_OBJECT(root) || YAJL_GET_OBJECT(root)->len != 1 ||
        strcmp(YAJL_GET_OBJECT(root)->keys[0], "Replica") != 0)
        return NULL;
    const char *text = YAJL_GET_STRING(YAJL_GET_OBJECT(root)->values[0]);
    return text && text[0] && strlen(text) <= REPLICA_TEXT_MAX ? text : NULL;
}

static void about_replica(struct exchange *x, enum node_request request)
{
    if (x->asked) {
        answer_reply(x);
        return;
    }
    yajl_val root = parse_body(x);
    const char *name = read_replica(root);
    if (name)
        ask_node(x, request, &name, 1);
    else
        answer_error(x, MHD_HTTP_BAD_REQUEST,
                     "body must be {\"Replica\":\"UUID or member name\"} and nothing else");
    yajl_tree_free(root);
}

void cluster_forget(struct exchange *x)
{
    about_replica(x, NODE_REQUEST_FORGET);
}

void cluster_retire(struct exchange *x)
{
    about_replica(x, NODE_REQUEST_RETIRE);
}

void cluster_pause(struct exchange *x)
{
    simple_request(x, NODE_REQUEST_PAUSE);
}

void cluster_resume(struct exchange *x)
{
    simple_request(x, NODE_REQUEST_RESUME);
}

/* A worker that answers is all that this asks for. */
void health(struct exchange *x)
{
    answer_ok(x, bytes_of(NULL, 0));
}
