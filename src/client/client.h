/* Calls to the API of running nodes, over libcurl: the first of a list of servers that
 * answers, and the next one where it does not.
 *
 * What is repeated. A call that never left (no connection) goes to the next server in
 * any case. One that left and brought no answer, or 503, goes there only if doing it twice
 * is the same as doing it once: that is so of GET, HEAD, PUT and DELETE unless the
 * call says otherwise, and not of POST unless it says so. It is tried once at each
 * server, beginning with the one that answered last. Where a line or a piece was already
 * given out, or the caller's reader has been read from, nothing is repeated: the caller
 * alone knows where to go on.
 *
 * A machine that does not answer at all, and a process that is stopped, are given up on soon
 * where there is a next server: connecting has CLIENT_CONNECT_NEXT_MS then, and of a call
 * that may be repeated the answer must have begun in time (first_ms). The last one that is
 * asked has idle_ms.
 *
 * X-Yzma-Context of each answer is kept and goes with the next GET or HEAD, at whichever
 * server: a client never reads an older state than it has seen. A write takes the context
 * of its own key only, so there the caller names it.
 *
 * One thread at a time. libcurl and the thirty libraries behind it are loaded when the
 * first client is made, not with the program: a node has no use for them. */
#ifndef YZMA_CLIENT_CLIENT_H
#define YZMA_CLIENT_CLIENT_H

#include "buf.h"

/* ERR_IO with a line in why where libcurl cannot be loaded. client_free takes NULL. */
struct client;
enum err client_new(struct client **ret, struct buf *why) MUST_USE;
void client_free(struct client *client);

/* Adds servers of a list with commas: "host:port", or with "http://" or "https://" before
 * it. The host may be empty, or all addresses: this machine then. ERR_MALFORMED, a line
 * in why. */
enum err client_add_servers(struct client *client, const char *list, struct buf *why) MUST_USE;
size_t client_servers(const struct client *client);
/* The server that is asked next, as it was added: for messages. Valid until client_free. */
const char *client_server(const struct client *client);
/* All further calls go to the server that answered last, and to no other: for what is put
 * together of several answers. */
void client_keep_server(struct client *client);
/* Begins with the server after it next time: for who has lost a stream. */
void client_next_server(struct client *client);

enum client_repeat { CLIENT_REPEAT_AS_METHOD, CLIENT_REPEAT_NEVER, CLIENT_REPEAT_ALWAYS };

enum {
    CLIENT_LINE_MAX = 128 << 20,   /* the largest value in base64, and what is around it */
    CLIENT_ANSWER_MAX = 512 << 20, /* bytes of a body that is kept */
    CLIENT_IDLE_MS = 60000,        /* the standard: more than a node takes to answer */
    CLIENT_CONNECT_MS = 5000,
    CLIENT_CONNECT_NEXT_MS = 2000, /* where there is a next server; nothing special about these values */
    CLIENT_FIRST_MS = 5000,
};

/* Everything is borrowed until client_call returns; zero is a good standard. */
struct client_call {
    const char *method;         /* NULL: GET */
    const char *target;         /* path and query, percent-encoded, from '/' on */
    const char *context;        /* X-Yzma-Context to send; NULL: the kept one with GET and HEAD */
    const char *const *headers; /* more lines "Name: value", NULL at the end; or NULL */

    /* POST and PUT have a body, which may be empty. */
    const char *type;  /* of the body; NULL: application/json */
    struct bytes body; /* where read is NULL */
    /* Gives out up to room bytes of the body, 0 at its end; any err but OK ends the call
     * with it. The body goes in chunks. */
    enum err (*read)(void *ctx, uint8_t *into, size_t room, size_t *ret_count);

    /* Of an answer 200 to 299. Either takes the body as it comes, and client_answer.body
     * stays empty: each line without its end (a last one without an end too), or
     * pieces as they are. Any err but OK ends the call with it. */
    enum err (*line)(void *ctx, struct bytes line);
    enum err (*piece)(void *ctx, struct bytes piece);
    /* Looked at about once a second, and when a signal came: true ends the call with
     * ERR_CLOSED. */
    bool (*stop)(void *ctx);
    void *ctx; /* of the four */

    enum client_repeat repeat;
    /* The call ends when so long nothing came and nothing went; 0: CLIENT_IDLE_MS. What comes
     * slowly may come for ever. */
    uint64_t idle_ms;
    /* Where there is a next server, the answer must have begun so long after all was sent; 0:
     * CLIENT_FIRST_MS, and what idle_ms has above its standard. */
    uint64_t first_ms;
};

struct client_answer {
    unsigned status;
    const char *server; /* that gave it; the client's */
    struct buf body;
    /* Headers; "" where they were not sent. */
    char *content_type, *context, *etag, *value_type, *expires;
};

/* OK with whatever status a node answered; what is in *ret is to be freed by
 * client_answer_done. ERR_IO when none answered, ERR_TIMEOUT, ERR_CLOSED (stopped),
 * ERR_TOO_LARGE, or the error of a callback; a line in why, but for ERR_CLOSED and
 * the errors of callbacks. *ret is then empty, and needs no client_answer_done. */
enum err client_call(struct client *client, const struct client_call *call, struct client_answer *ret,
                     struct buf *why) MUST_USE;
void client_answer_done(struct client_answer *answer);

/* What the envelope {"Status","Error","Data"} of a body holds: Data as it was written, and
 * the error's text (what a node answers is shown without control characters).
 * ERR_MALFORMED, a line in why, for anything else. data is borrowed from body; error is
 * appended to. */
enum err client_envelope(struct bytes body, struct bytes *ret_data, struct buf *error,
                         struct buf *why) MUST_USE;

/* One line about an answer that is no success: what the node says, or its status. */
void client_explain(const struct client_answer *answer, struct buf *why);
/* Appends text with a '?' in the place of each control character: for terminals. */
void client_put_plain(struct buf *out, struct bytes text);

/* client_call, and ERR_REFUSED (client_explain) unless the status is 200 to 299; then the
 * Data of the envelope is in *ret_data, borrowed from *ret. */
enum err client_ask(struct client *client, const struct client_call *call, struct client_answer *ret,
                    struct bytes *ret_data, struct buf *why) MUST_USE;

/* Targets: a path such as "/keys/" with the key percent-encoded behind it, and
 * parameters, the first with '?'. */
void client_put_path(struct buf *target, const char *path, struct bytes key);
void client_put_param(struct buf *target, const char *name, struct bytes value);
void client_put_param_text(struct buf *target, const char *name, const char *value);
/* Ends the text; NULL when target->err. */
const char *client_target(struct buf *target);

#endif
