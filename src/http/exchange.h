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
#include "etag.h"
#include "http.h"
#include "json_valid.h"
#include "listing.h"
#include "params.h"
#include "parking.h"
#include "space.h"
#include "target.h"
#include "token.h"
#include "units.h"
#include "workers.h"

#include "json_out.h"

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
    SLICE_SCAN_MAX = 2000,     /* .. for one slice of a count or a stream: a few milliseconds */
    STREAM_BYTES = 64 << 10,   /* of a stream's slice; one line at least */
    CLEAR_KEYS = 1000,         /* deleted in one transaction */
    BATCH_BODY_MAX = TXN_BYTES_MAX,
    BATCH_OPS_MAX = TXN_RECORDS_MAX,
    NODE_ANSWER_MS = 15000, /* more than any request to the node takes */
    KEEP_ALIVE_MS = 75000,  /* between requests; nothing special about this value */
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
    COUNT_CONDITIONS_UNMET,
    COUNT_REPLICAS_SHORT, /* w was not reached in time */
    COUNT_STREAMS_BROKEN, /* lists that ended with an error */
    COUNT_WATCHES,        /* begun: streams, and polls that had to wait */
    COUNT_WATCH_EVENTS,
    COUNT_WATCHES_DROPPED, /* that did not take what came */
    COUNT_WATCHES_REFUSED, /* above API.MaxWatchers */
    COUNT_CURSORS_GONE,    /* older than history */
    COUNT_IMPORT_LINES,    /* stored */
    COUNT_IMPORT_LINES_REFUSED,
    COUNT_IMPORT_BATCHES,
    COUNT_SPACES_MALFORMED, /* of counters and sets what nobody can read: passed over */
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
    struct watch_feed *feed; /* owned */
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

/* Headers of an answer, besides those that all have. */
struct answer_head {
    char etag[ETAG_TEXT_MAX];              /* "": none; so all */
    char body_type[CONTENT_TYPE_MAX + 64]; /* "": application/json */
    char value_type[CONTENT_TYPE_MAX + 1]; /* X-Yzma-Type */
    char value_size[UNITS_TEXT_MAX];       /* X-Yzma-Size */
    char expires[UNITS_TEXT_MAX];          /* X-Yzma-Expires */
    bool varies;                           /* Vary: Accept */
    bool is_raw;                           /* the body is a client's, whatever it is */
};

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
    const char *host, *origin, *content_type, *token_text;         /* borrowed from the connection */
    const char *accept, *if_match, *if_none_match, *last_event_id; /* the same */
    bool has_condition;
    unsigned lengths, encodings; /* how many headers of each */
    uint64_t content_length;
    const char *bad_head; /* what is wrong with the head, or NULL */

    /* the body */
    bool head_done;
    bool keep_body, body_is_json;
    bool is_http10;
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
    uint64_t write_tag;
    size_t batch_failed, batch_deleted, batch_created;
    int64_t write_number; /* of a counter */
    char *failed_key;     /* owned; of the write of a batch that failed */
    bool is_written;      /* waits for other replicas, if for anything */
    uint64_t written_until_ms;
    struct listing *listing; /* owned */
    struct spaces *spaces;   /* owned */
    struct import *import;   /* owned; see import.c */
    uint64_t listed;         /* counted, or deleted, so far */
    struct dot cleared;      /* the last operation of the latter; counter 0: none */
    size_t streamed;         /* of what stands in `answer` */
    bool stream_broken;
    struct node_reply *reply; /* owned */
    struct watch_poll *poll;  /* owned; see watch_poll.c */

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
    struct condition condition;
    char type[CONTENT_TYPE_MAX + 1]; /* of the value that is put; "" for JSON */
    struct answer_head head;
};

enum body {
    BODY_IGNORED,
    BODY_JSON,  /* read, checked for media type and grammar, and kept */
    BODY_VALUE, /* the same where it says that it is JSON, else kept as it is */
    BODY_LINES, /* of any length and type: taken as it comes (import.c) */
};

struct handler {
    enum route route;
    unsigned verbs, params;
    enum body body;
    bool takes_token, takes_conditions;
    void (*run)(struct exchange *x);
};

/* Any thread; the last one frees it. */
void exchange_unref(struct exchange *x);
void exchange_free_spare(struct worker *worker);

/* Room for n more bytes of body among all those in flight; given back when the exchange
 * ends. */
bool exchange_reserve_body(struct exchange *x, uint64_t n) MUST_USE;

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
/* The same of a response of any kind, which is let go of. NULL: no memory for it. */
void answer_response(struct exchange *x, unsigned status, struct MHD_Response *response);
void answer_ok(struct exchange *x, struct bytes data); /* JSON; empty: null */
void answer_error(struct exchange *x, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void answer_error_data(struct exchange *x, unsigned status, struct bytes error, struct bytes data);
/* The status and text that an error of the store stands for. */
void answer_store_error(struct exchange *x, enum err err);
/* Puts a token into the answer's header. */
void answer_token(struct exchange *x, const struct token *token);
/* The same, of a token that takes on what the request's stood for. */
void answer_token_after(struct exchange *x, struct token *token);

/* ---- value_out.c: values inside JSON ---- */
/* "Value", or "Value64" for what is no JSON, or, where lines are counted, has line
 * breaks in it; "Type" for what is no JSON. */
void value_put(struct json_out *j, const struct version *version, bool one_line);
void value_put_expiry(struct json_out *j, const struct version *version); /* "Expires", if it does */

/* ---- versions.c ---- */
/* The full member name where this node has heard it, else the bare id. Borrowed from
 * the snapshot, or from id. */
struct bytes node_of(struct snapshot *snapshot, const struct replica_id *replica, char id[REPLICA_ID_TEXT]);
/* All living versions of a record, the surfaced one first: as JSON, or, where Accept
 * names it, as multipart/mixed. It sorts the record's versions anew. */
enum etag_form versions_form(const struct exchange *x);
void answer_versions(struct exchange *x, unsigned status, struct snapshot *snapshot, struct record *record,
                     const struct token *token, uint64_t wall_ms);

/* ---- keys_list.c ---- */
/* x->listing, which takes the parameters of the request and reads from their start. */
struct listing *list_begin(struct exchange *x);
/* Its next slice, from a snapshot of its own. */
enum err list_read(struct exchange *x, size_t scan_max) MUST_USE;

/* ---- stream.c ---- */
struct spaces_sink;
/* Answers with lines, which the sink puts into x->answer until that has STREAM_BYTES. */
bool stream_wants(void *ctx);
/* One of them may be NULL; with both the keys come first. x->spaces was begun before. */
void answer_stream(struct exchange *x, const struct listing_sink *keys, const struct spaces_sink *others);

/* ---- sets.c ---- */
/* The key of the element of this set that `member` names; false when it was refused. */
bool member_key(struct exchange *x, struct bytes set, uint8_t room[KEY_MAX], struct bytes *ret_key);
/* x->spaces: the records from `from` on, under the prefix, and before `end` unless that is empty. */
void spaces_begin(struct exchange *x, struct bytes prefix, struct bytes from, struct bytes end);
/* Its next slice, from a snapshot of its own. */
enum err spaces_read_slice(struct exchange *x, const struct spaces_sink *sink) MUST_USE;
/* A page of the counters, or sets, that the parameters ask for: `member` of the answer. */
void spaces_list(struct exchange *x, enum space space, const char *member, const struct spaces_sink *sink);

/* ---- keys_write.c ---- */
/* A delete that found nothing to remove has no dot; what it found is what its client has
 * seen from now on, elsewhere too. */
enum err token_of_idle(struct exchange *x, struct token *token) MUST_USE;
/* What a change of the record will write: the newest state may be another, but seldom by much. */
size_t record_weight(struct exchange *x, struct bytes key);

/* ---- keys_clear.c ---- */
/* What has become of the part of a deletion that was on its way. */
enum err clear_collect(struct exchange *x) MUST_USE;
/* How many were deleted, and a context of no key; `lacking`: what it says where a walk hides some. */
void answer_cleared(struct exchange *x, enum err err, const char *lacking);

/* ---- submit.c ---- */
/* Hands the work to the committer and parks the exchange, which goes on when it is
 * done, with write_err and what belongs to it; or answers, when the server is ending. */
void submit_work(struct exchange *x, struct store_work *work);
/* The same of a parking of any kind, and false where that answers: the work is freed. */
bool submit_parked(struct exchange *x, struct store_work *work, enum parked_for what) MUST_USE;
/* Whether a put without context and mode leaves what is there beside it. */
bool put_adds(const struct exchange *x, enum mode mode, const struct condition *condition, bool has_token);
/* What has become of submitted work other than OK, for all writes alike. */
void answer_unconfirmed(struct exchange *x);
/* The life of a write: waits for the request's context, begins (submits work, or answers),
 * and when that is done and enough replicas have it, answers. */
struct write_steps {
    void (*begin)(struct exchange *x);
    void (*refused)(struct exchange *x); /* of x->write_err */
    void (*done)(struct exchange *x);
};
void write_run(struct exchange *x, const struct write_steps *steps);

/* ---- replicas.c ---- */
/* After a write that is durable here: with ?w, parks the exchange until so many
 * replicas have it, or the time is up; true then, and the handler returns. */
bool waiting_for_replicas(struct exchange *x);
/* Ends a write's answer: 200 with `text` as Data; with ?w, an object that tells how many
 * replicas have it, and 202 when they are too few. */
void answer_with_replicas(struct exchange *x, struct bytes data);

/* ---- waiting.c ---- */
/* With a token whose clock this node has not reached: parks the exchange, or
 * answers 503 when the time is up; true then, and the handler returns. */
bool waiting_for_clock(struct exchange *x);

/* ---- keys_read.c ---- */
/* Reads the target's record into the worker's `reading`, not before the request's context is
 * reached, puts its token into the header, and calls answer; or answers an error. */
void record_get(struct exchange *x, void (*answer)(struct exchange *x, struct snapshot *snapshot));

/* ---- the handlers ---- */
void keys_get(struct exchange *x);
void keys_write(struct exchange *x);
void keys_list(struct exchange *x);
void keys_clear(struct exchange *x);
void conflicts_list(struct exchange *x);
void counter_get(struct exchange *x);
void counter_write(struct exchange *x);
void counters_list(struct exchange *x);
void set_get(struct exchange *x);
void set_change(struct exchange *x);
void set_clear(struct exchange *x);
void sets_list(struct exchange *x);
void batch_post(struct exchange *x);
void export_get(struct exchange *x);
void import_post(struct exchange *x);
void watch_get(struct exchange *x);
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
void cluster_backup(struct exchange *x);
void cluster_digest(struct exchange *x);
void health(struct exchange *x);

#endif
