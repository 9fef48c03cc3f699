/* Inside the edge: the server, and an exchange, which is one request and its
 * answer.
 *
 *     URI callback        first call          body calls     last call
 *   ---> created ----> head checked, route ---> body ----> run the handler ---> answered
 *                          |  found              kept        |        ^            |
 *                          |                  or drained     v        |            v
 *                          +-- answer and close           parked --> run again    freed
 *
 * The library calls us on the worker of the connection only. Other threads touch
 * an exchange while it is parked, under the parking lock, and never after: who
 * comes late (a write that was given up on) finds it no longer parked, and only
 * drops its reference. So key, body and token, which a write borrows, live as
 * long as both the connection and the write need them. */
#ifndef YZMA_HTTP_EXCHANGE_H
#define YZMA_HTTP_EXCHANGE_H

#include "deadlines.h"
#include "http.h"
#include "json_valid.h"
#include "params.h"
#include "parking.h"
#include "target.h"
#include "token.h"
#include "workers.h"

#include <microhttpd.h>
#include <stdatomic.h>

enum {
    /* Of a connection, kept while it lives; a header line may be about 260 bytes
     * shorter. 16 KiB hold the longest key, escaped, and the tokens of some
     * hundreds of replicas. */
    CONNECTION_MEMORY = 16 << 10,
    /* The longest token sent as a header, with room for the other headers. */
    TOKEN_HEADER_MAX = 12 << 10,
    JOIN_BODY_MAX = 64 << 10,
    JOIN_PEERS_MAX = 256,
    SPARE_MAX = 64,            /* exchanges that a worker keeps for the next requests; */
    SPARE_BYTES_MAX = 4 << 10, /* of each buffer of theirs. Nothing special about these values */
    LIST_BYTES_MAX = 16 << 20, /* of one page; one value at least */
    LIST_SCAN_MAX = 100000,    /* records looked at for one page */
    NODE_ANSWER_MS = 15000,    /* more than any request to the node takes */
    KEEP_ALIVE_MS = 75000,     /* between requests; nothing special about this value */
};

enum verb { VERB_OTHER = 0, VERB_GET = 1, VERB_HEAD = 2, VERB_POST = 4, VERB_PUT = 8, VERB_DELETE = 16 };

enum counter {
    COUNT_REQUESTS,
    COUNT_2XX,
    COUNT_4XX,
    COUNT_5XX,
    COUNT_CONNECTIONS,
    COUNT_BODIES_REFUSED, /* too large, or no room for them */
    COUNT_ORIGINS_REFUSED,
    COUNT_TIMEOUTS, /* requests cut off because they took too long to arrive or to be read */
    COUNT_WAITS,    /* that had to wait for a token's clock */
    COUNT_WAITS_EXPIRED,
    COUNT_WRITES_UNCONFIRMED, /* given up on before the committer answered */
    COUNT_TOKENS_LEFT_OUT,    /* longer than TOKEN_HEADER_MAX */
    COUNT_DAMAGED_READS,
    COUNT_SLOW,
    COUNTERS
};

struct http {
    struct http_options options; /* texts owned */
    struct http_backend backend;
    struct worker *workers;
    unsigned worker_count;
    char *address;
    uint16_t port;
    struct deadlines deadlines;
    struct parking parking;
    atomic_bool quiesced;
    atomic_size_t in_flight; /* requests begun and not yet answered to the last byte */
    atomic_size_t exchanges; /* not yet freed */
    atomic_uint_fast64_t body_bytes;
    atomic_uint_fast64_t counters[COUNTERS];
};

static inline void count(struct http *http, enum counter counter)
{
    atomic_fetch_add_explicit(&http->counters[counter], 1, memory_order_relaxed);
}

struct handler;

struct exchange {
    struct http *http;
    struct worker *worker;
    struct MHD_Connection *connection;
    struct watch *watch;
    atomic_uint refs; /* the connection's, and one for a write or node request under way */
    uint64_t begun_ms;

    /* the request */
    char *query; /* owned copy, or NULL */
    enum verb verb;
    const struct handler *handler;
    struct token token;
    bool has_token;
    const char *host, *origin, *content_type, *token_text; /* borrowed from the connection */
    unsigned lengths, encodings;                           /* how many headers of each */
    uint64_t content_length;
    const char *bad_head; /* what is wrong with the head, or NULL */

    /* the body */
    bool head_done;
    bool keep_body;
    struct buf body;
    uint64_t body_seen, body_limit, body_reserved;

    /* refused: answered once the body has been drained */
    unsigned refused_status;
    struct buf refusal;

    /* parked, and what came of it: all under the parking lock */
    _Atomic(enum parked_for) parked_for;
    bool held; /* rather than suspended */
    struct exchange *parked_prev, *parked_next;
    uint64_t wake_at_ms;
    bool timed_out;

    /* results of what it was parked for */
    bool asked; /* the write or the node's request has been handed over */
    bool clock_reached;
    uint64_t wait_until_ms;
    enum err write_err;
    struct dot write_dot;
    struct node_reply *reply; /* owned */

    /* the answer */
    struct buf answer;    /* the body of it, which the library sends from here */
    struct buf token_out; /* header text, with NUL; empty for none */
    const char *allow;
    bool close;
    unsigned status;
    enum MHD_Result outcome; /* MHD_NO drops the connection */

    struct exchange *next_spare;
    /* Large, and each filled before it is read: not cleared for each request. */
    struct target target;
    struct params params;
    struct json_check check; /* while keep_body */
};

struct handler {
    enum route route;
    unsigned verbs, params;
    bool body_is_json; /* read, checked for media type and grammar, and kept */
    bool takes_token;
    void (*run)(struct exchange *x);
};

/* Any thread; the last one frees it. */
void exchange_unref(struct exchange *x);
void exchange_free_spare(struct worker *worker);

/* The library's callbacks. */
void *exchange_on_uri(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result exchange_on_call(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data, size_t *size,
                                 void **context);
void exchange_on_completed(void *cls, struct MHD_Connection *connection, void **context,
                           enum MHD_RequestTerminationCode code);

/* ---- head.c: what the request line and the headers say ---- */
/* Reads the headers, finds the handler, checks what can be checked before the
 * body. Sets refused_status and refusal, or bad_head for framing on which no
 * next request can be trusted to begin where it seems to. */
void head_read(struct exchange *x, const char *method);

/* ---- answer.c: each ends the exchange's run ---- */
void answer_written(struct exchange *x, unsigned status); /* what stands in x->answer */
void answer_ok(struct exchange *x, struct bytes data);    /* JSON; empty: null */
void answer_error(struct exchange *x, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void answer_error_data(struct exchange *x, unsigned status, struct bytes error, struct bytes data);
/* The status and text that an error of the store stands for. */
void answer_store_error(struct exchange *x, enum err err);
/* Puts a token into the answer's header. */
void answer_token(struct exchange *x, const struct token *token);

/* ---- waiting.c ---- */
/* With a token whose clock this node has not reached: parks the exchange, or
 * answers 503 when the time is up; true then, and the handler returns. */
bool waiting_for_clock(struct exchange *x);

/* ---- the handlers ---- */
void keys_get(struct exchange *x);
void keys_put(struct exchange *x);
void keys_delete(struct exchange *x);
void keys_list(struct exchange *x);
void cluster_join(struct exchange *x);
void cluster_leave(struct exchange *x);
void cluster_members(struct exchange *x);
void cluster_keys(struct exchange *x);
void cluster_keys_install(struct exchange *x);
void cluster_keys_use(struct exchange *x);
void cluster_keys_remove(struct exchange *x);
void cluster_forget(struct exchange *x);
void cluster_retire(struct exchange *x);
void cluster_pause(struct exchange *x);
void cluster_resume(struct exchange *x);
void cluster_status(struct exchange *x);
void cluster_ready(struct exchange *x);
void health(struct exchange *x);

#endif
