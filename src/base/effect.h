/* What the pure code asks of the world.
 *
 * A step function takes the time and one event, and appends effects to a list;
 * the daemon's cluster thread, or a test in virtual time, carries them out in
 * order. Streams are byte pipes in both directions (TCP in the daemon): the pure
 * code names those it opens, the world names those it accepts, and either name
 * stays unique for the life of the process.
 *
 * An effect owns its bytes; effects_done frees what nobody took. */
#ifndef YZMA_BASE_EFFECT_H
#define YZMA_BASE_EFFECT_H

#include "addr.h"
#include "buf.h"

enum effect_kind {
    EFFECT_DATAGRAM,     /* to, bytes: one gossip packet */
    EFFECT_STREAM_OPEN,  /* stream, port_kind, to or (when to.len is 0) target "host:port" */
    EFFECT_STREAM_SEND,  /* stream, bytes: queued behind what was sent before */
    EFFECT_STREAM_CLOSE, /* stream: after what is queued has left. No event follows */
    EFFECT_STREAM_PAUSE, /* stream: read no more of it for now */
    EFFECT_STREAM_RESUME,
    EFFECT_NOTICE,  /* level, text: one log line, "event=member_suspect node=pacha by=kronk" */
    EFFECT_STORE,   /* ticket, work: for the committer, answered by an event */
    EFFECT_RESOLVE, /* ticket, target "host:port": answered by an event with addresses */
    EFFECT_REPLY,   /* ticket, reply: ends a request that came in as an event */
};

enum stream_kind { STREAM_GOSSIP, STREAM_SYNC };
enum notice_level { NOTICE_DEBUG, NOTICE_INFO, NOTICE_WARN, NOTICE_ERROR };

struct store_work;
struct node_reply;

struct effect {
    enum effect_kind kind;
    enum stream_kind stream_kind;
    enum notice_level level;
    uint64_t stream, ticket;
    struct addr to;
    char *target;             /* owned */
    char *text;               /* owned */
    struct buf bytes;         /* owned */
    struct store_work *work;  /* owned: see store.h */
    struct node_reply *reply; /* owned: see node.h */
};

struct effects {
    struct effect *list;
    size_t count, room;
};

/* Appends a zeroed effect of this kind; the pointer holds until the next add. */
struct effect *effects_add(struct effects *out, enum effect_kind kind);
void effects_datagram(struct effects *out, const struct addr *to, struct bytes packet); /* copies */
void effects_stream_send(struct effects *out, uint64_t stream, struct buf *bytes);      /* takes, empties */
void effects_stream_close(struct effects *out, uint64_t stream);
/* Formats as notice.h has it: values are quoted where they need it. */
void effects_notice(struct effects *out, enum notice_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Frees the list and every owned thing left in it except work and reply, whose
 * makers know how: whoever runs effects takes those. */
void effects_done(struct effects *out);

#endif
