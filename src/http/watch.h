/* GET /watch: the changes, as streams and as long polls.
 *
 *   worker                      the feed's thread
 *   ------                      -----------------
 *   watch.c: head, cursor,  --> watch_feed.c: every 10 ms at most (watch_pace.h) it reads
 *   judged in a snapshot        what is new once, for all (watch_batch.c), and hands the
 *   watch_poll.c: parks    <--  same encoded bytes to each stream at the head; it wakes the
 *                               polls. watch_stream.c: a stream's socket, its place, its step
 *
 * A stream is not the library's: its worker answers nothing, takes a copy of the
 * socket's descriptor, lets the library close its own, and gives the copy to the feed.
 * So an idle stream costs a few hundred bytes and not a connection's pool, an event
 * costs one send and not a resume, a callback and a suspend, and no worker ever waits
 * for a reader. (The library must not shut the socket down when it closes: with
 * MHD_USE_TURBO it does not. The tests of streams would show it at once.)
 *
 * A stream at the head has no place of its own: it is where the feed is. One whose
 * socket takes no more keeps the rest of the one event it broke off in, and a cursor
 * behind it; when the socket takes more, it reads the store itself, from its cursor, in
 * steps of its own, until it is at the head again. So who is slow falls behind in the
 * store and not in memory. A snapshot lives for one round of the feed's thread, and
 * nothing is sent while it does. */
#ifndef YZMA_HTTP_WATCH_H
#define YZMA_HTTP_WATCH_H

#include "feed.h"
#include "json_out.h"

#include <pthread.h>
#include <stdatomic.h>

struct exchange;
struct http;
struct params;
struct watch_feed;

enum {
    WATCH_HEARTBEAT_MS = 15000,        /* where the options say nothing */
    WATCH_STEP_ROWS = 500,             /* of a stream that reads by itself, at a time; */
    WATCH_STEP_BYTES = 64 << 10,       /* of values. Nothing special about these */
    WATCH_ROUND_MS = 5,                /* for such steps, in one round */
    WATCH_SHARED_VALUE_MAX = 48 << 10, /* a larger value each stream reads itself, when it can take it */
    WATCH_BATCH_BYTES = 192 << 10,     /* of values read at once for all streams at the head */
    WATCH_PENDING_MAX = 64 << 20,      /* bytes that wait for blocked streams, together */
    WATCH_SEND_BUFFER = 64 << 10,      /* of a stream's socket, as asked of the kernel, which doubles it */
};

/* Of what a reader wants to be told. */
struct watch_range {
    unsigned spaces;     /* bits, as in feed.h */
    bool exact;          /* the prefix is all of a key */
    struct bytes prefix; /* of the records' keys */
};

/* ---- watch_event.c: events as text ---- */

/* What a text is like: bits. */
enum { WATCH_SSE = 1, WATCH_VALUES = 2, WATCH_CHUNKED = 4, WATCH_VARIANTS = 8 };

/* An event as an object; one_line: without line breaks. cursor may be empty. */
void watch_event_json(struct json_out *j, struct snapshot *snapshot, const struct feed_event *event,
                      bool values, bool one_line, struct bytes cursor);
/* An event in a stream. */
void watch_put_event(struct buf *out, unsigned variant, struct snapshot *snapshot,
                     const struct feed_event *event, struct bytes cursor);
/* What a stream says besides: "heartbeat", "behind", "gone". reason may be NULL, cursor empty. */
void watch_put_note(struct buf *out, unsigned variant, const char *kind, const char *reason,
                    struct bytes cursor);
void watch_put_head(struct buf *out, unsigned variant); /* status line and headers */
void watch_put_end(struct buf *out, unsigned variant);

/* ---- watch_batch.c: what is new, for all streams at the head ---- */

struct batch_event {
    size_t key_at, key_length, cursor_at, cursor_length; /* in keys */
    enum space space;
    bool large; /* no value of it stands in the texts */
    size_t ends[WATCH_VARIANTS];
};

struct watch_batch {
    struct batch_event *events; /* owned; room for FEED_ROWS_MAX + 1 */
    size_t count;
    struct buf keys;                  /* and cursors */
    struct buf texts[WATCH_VARIANTS]; /* of those that somebody wants */
    struct feed_cursor start;         /* before the first event */
    bool has_large;
};

void watch_batch_init(struct watch_batch *b);
void watch_batch_done(struct watch_batch *b);
/* The next step of `head`, into *b, in each variant that `wanted` counts, of these spaces
 * (feed.h). On an error head stands where it stood. */
enum err watch_batch_read(struct watch_batch *b, struct snapshot *snapshot, uint64_t wall_ms, bool continues,
                          const size_t wanted[WATCH_VARIANTS], unsigned spaces, struct feed_cursor *head,
                          enum feed_end *ret_end) MUST_USE;
bool watch_batch_wants(const struct watch_batch *b, size_t i, const struct watch_range *range);
bool watch_batch_touches(const struct watch_batch *b, const struct watch_range *range);
/* The cursor behind the first n events. */
void watch_batch_cursor(const struct watch_batch *b, size_t n, struct feed_cursor *ret);

/* ---- watch_stream.c: one stream ---- */

enum stream_state {
    STREAM_HEAD,    /* is given what the feed reads */
    STREAM_READY,   /* has a cursor, and the next step is its own */
    STREAM_WAITING, /* the node is behind its cursor, or being filled */
    STREAM_BLOCKED, /* its socket takes no more for now */
    STREAM_STATES
};

struct stream {
    struct stream *prev, *next; /* of its state's list */
    enum stream_state state;
    int fd;
    unsigned variant;
    struct watch_range range;   /* its prefix is the stream's own */
    struct feed_cursor *cursor; /* owned; NULL at the head */
    bool continues;             /* has been shown something by this store since it came */
    bool was_at_head;
    bool told_behind;
    bool ends;      /* closed when all of `out` has gone */
    struct buf out; /* what the socket did not take yet, from out_at on */
    size_t out_at;
    uint64_t sent_ms;    /* when it was last given something; */
    uint64_t blocked_ms; /* when its socket last took anything */
    uint8_t prefix[];
};

/* Takes the descriptor and the cursor. Head and first heartbeat wait in `out`. */
struct stream *stream_new(int fd, unsigned variant, const struct watch_range *range,
                          struct feed_cursor *cursor, uint64_t now_ms);
void stream_free(struct stream *s); /* closes; takes NULL */
/* Sends from `out` what the socket takes. False when the client has gone. */
bool stream_flush(struct stream *s, uint64_t now_ms) MUST_USE;
/* Adds a note to `out`. */
void stream_note(struct stream *s, const char *kind, const char *reason, const struct feed_cursor *cursor);
/* Hands a batch to a stream at the head, which has nothing in `out`. Where not all of it
 * went, the stream has a cursor after. False when the client has gone. */
bool stream_give(struct stream *s, const struct watch_batch *batch, uint64_t now_ms,
                 uint64_t *ret_events) MUST_USE;
/* Its own next step, into `out`. */
enum err stream_step(struct stream *s, struct snapshot *snapshot, uint64_t wall_ms, enum feed_end *ret_end,
                     uint64_t *ret_events) MUST_USE;

/* ---- watch_feed.c ---- */

void watch_feed_start(struct http *http);
/* Ends all streams, and wakes all polls for good; no new ones after. */
void watch_feed_stop(struct http *http);
void watch_feed_free(struct http *http);
void watch_feed_on_commit(struct http *http);
size_t watch_feed_open(const struct http *http); /* streams and polls */
/* One more: false at API.MaxWatchers, or when the server is ending. */
bool watch_feed_enter(struct http *http);
void watch_feed_leave(struct http *http);
/* A stream that has entered: the feed's from here on. */
void watch_feed_add(struct http *http, struct stream *stream);

/* ---- watch_poll.c ---- */

struct watch_poll {
    struct exchange *x;
    struct feed_cursor cursor;
    uint64_t until_ms;
    bool continues;
    const char *behind; /* what it waits for other than events, or NULL */
    int fd;             /* of its connection, the library's */
    /* Under the feed's lock: */
    bool listed, fresh;
    bool hung_up; /* its client has gone */
    struct watch_poll *prev, *next;
};

/* Begins one, or goes on with one that waited; ends the exchange's run. Takes the cursor. */
void watch_poll_run(struct exchange *x, struct feed_cursor *cursor);
void watch_poll_free(struct watch_poll *poll); /* takes NULL */
/* Lets the feed wake it: it is parked, and the library does not look at its connection
 * meanwhile, so the feed does. And takes it back. */
void watch_feed_list(struct http *http, struct watch_poll *poll);
void watch_feed_unlist(struct http *http, struct watch_poll *poll);

/* ---- watch.c ---- */

/* What the parameters ask for; it borrows from them. */
struct watch_range watch_range_of(const struct params *params);

/* 410, with a cursor that begins with a listing. */
void answer_gone(struct exchange *x, struct snapshot *snapshot, struct feed_cursor *cursor);

#endif
