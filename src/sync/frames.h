/* The frames of replication, as bytes.
 *
 * A frame:
 *   offset  size  what
 *   0       4     length of the body
 *   4       1     type
 *   5       1     flags: bit 0, the body is packed (squeeze.h); the others 0
 *   6       2     0
 *   8       4     CRC-32C of bytes 4 to 7 and the body
 *   12      ..    body
 *
 * Numbers are big-endian or varints (buf.h); "blob" is a varint length and its
 * bytes; clocks, dots and start lists are as crdt writes them. The bodies:
 *
 *   1 HELLO         "YZMA", u16 lowest and u16 highest protocol understood,
 *                   blob cluster label, 16 bytes replica id, blob member name,
 *                   blob ingress, u8 length and bytes and u16 port of the gossip address,
 *                   starts, clock, floor, u8 flags (see below), varint n and
 *                   n x 16 bytes: ids that this store had before, newest last
 *   2 REFUSE        u8 reason, blob text, then for FORK: starts as remembered,
 *                   varint counter known; for RETIRED: varint counter known, varint n, n x
 *                   varint step to the next counter known above it. The sender closes
 *   3 CLOCK         clock, floor, u8 flags: what is durable here
 *   4 HEARTBEAT     nothing
 *   5 ROWS          16 bytes origin, varint from, u32 n, n entries (varint counter -
 *                   previous counter, u8 kind, blob key, blob record), varint to
 *   6 AHEAD         u32 n, n entries (dot, u8 kind, blob key, blob record)
 *   7 WANT          16 bytes origin, varint from: send its rows above from, and go on
 *   8 UNWANT        16 bytes origin
 *   9 WALK_ASK      varint run, u8 phase, blob after, dot row_after, clock last, and
 *                   from protocol 2 on varint ahead: how many pieces may follow
 *   10 WALK_PIECE   varint run, blob after, varint keys in all, clock, floor, u32 n,
 *                   n entries (blob key, blob record), blob through, u8 last
 *   11 WALK_ROWS    varint run, dot row_after, clock, floor, u32 n,
 *                   n entries (dot, u8 kind, blob key), u8 last
 *   12 WALK_REFUSED varint run, blob text
 *   13 LEFT         nothing: the sender leaves for good, do not expect it back
 *   14 WALK_MORE    varint run, varint n: n more pieces may follow (protocol 2)
 *   16 RETIRED      varint n, n entries: an id that was retired by hand, and what the sender
 *                   holds of it (16 bytes id, u8 bit 0 raised, bit 1 the rest is known, bit 2 it waits
 *                   for others, varint base, varint top, u64 digest; protocol 3)
 *   17 TIME         u64 ms since 1970: the sender's wall clock (protocol 3)
 *   18 FORGET       16 bytes id: an operator lets go of this replica (protocol 3)
 *   20 to 24        repair_frames.h (protocol 3)
 *   25 PAST         varint n, n entries: what the sender knows of a replica's past (16 bytes id,
 *                   starts, varint told: the highest counter of its own that it showed
 *                   while these were its starts, u8 flags: bit 0, the sender expects it
 *                   back; bit 1, it left for good while these were its starts; protocol 4)
 *
 * A run is a number by which the receiver of a walk tells its questions apart; the
 * source gives it back. A record blob is empty where an entry before it in the frame brought the same
 * key. Nothing is allocated on a length's word: bytes are counted as they come. */
#ifndef YZMA_SYNC_FRAMES_H
#define YZMA_SYNC_FRAMES_H

#include "addr.h"
#include "store.h"

#ifndef YZMA_SYNC_PROTOCOL
#define YZMA_SYNC_PROTOCOL 4 /* another one: tests/programs */
#endif

enum {
    SYNC_PROTOCOL_MIN = 1,              /* 2 has packed bodies, and walks of several pieces ahead */
    SYNC_PROTOCOL = YZMA_SYNC_PROTOCOL, /* 3 has frames from 16 on, 4 PAST */
    FRAME_HEADER = 12,
    FRAME_FLAGS_AT = 5,
    FRAME_PACKED = 1,                   /* flag */
    FRAME_FIRST_MAX = 256 << 10,        /* body before the peer's hello was read */
    FRAME_MAX = VALUE_MAX + (64 << 20), /* body: the longest value and a full chunk beside it */
    FRAME_ENTRIES_MAX = TXN_RECORDS_MAX,
    MEMBER_NAME_MAX = 255,
    INGRESS_MAX = 255,
    WALK_AHEAD_MAX = 64,   /* pieces that a source may be asked for at once */
    PREDECESSORS_MAX = 64, /* of a store's former ids, the newest are told */
    REFUSE_TEXT_MAX = 255,
    RETIRED_MAX = 256,        /* ids that may be retired */
    PASTS_MAX = 128,          /* of replicas, in a frame: it is below FRAME_FIRST_MAX then */
    RETIRED_KNOWN_MAX = 1024, /* operations of one, found early, that are told to the one itself */
};

enum frame_type {
    FRAME_HELLO = 1,
    FRAME_REFUSE,
    FRAME_CLOCK,
    FRAME_HEARTBEAT,
    FRAME_ROWS,
    FRAME_AHEAD,
    FRAME_WANT,
    FRAME_UNWANT,
    FRAME_WALK_ASK,
    FRAME_WALK_PIECE,
    FRAME_WALK_ROWS,
    FRAME_WALK_REFUSED,
    FRAME_LEFT,
    FRAME_WALK_MORE,
    FRAME_RETIRED = 16,
    FRAME_TIME,
    FRAME_FORGET,
    FRAME_RECORD_ASK = 20, /* these: repair_frames.h */
    FRAME_RECORD,
    FRAME_DIGEST_ASK,
    FRAME_DIGEST,
    FRAME_DIVERGED,
    FRAME_PAST,
    FRAME_TYPES
};

enum sync_flags {
    SYNC_WALKING = 1, /* the sender is being filled: it takes no rows and gives none */
};

enum refuse_reason {
    REFUSE_PROTOCOL = 1, /* no version in common */
    REFUSE_LABEL,        /* another cluster */
    REFUSE_BLOCKED,
    REFUSE_SELF,      /* the same replica id as the other side's own */
    REFUSE_FORK,      /* the replica's past is not what is remembered of it: take a new id */
    REFUSE_DUPLICATE, /* the other connection of this pair stays */
    REFUSE_LEFT,      /* this node has left its cluster */
    REFUSE_SHUNNED,   /* sent something malformed a moment ago */
    REFUSE_RETIRED,   /* the replica's id was ended by hand: take a new one (protocol 3) */
};

struct frame {
    enum frame_type type;
    bool packed; /* body must be unpacked first */
    struct bytes body;
    struct buf *owned; /* holds the body and may be taken, or NULL: the body is borrowed */
};

/* The next whole frame at the front of input; *ret_size is what it takes of it.
 * ERR_TRUNCATED: more must come. ERR_MALFORMED, ERR_TOO_LARGE, ERR_CHECKSUM: the
 * stream cannot be trusted further. */
enum err frame_read(struct bytes input, size_t body_max, struct frame *ret, size_t *ret_size) MUST_USE;

/* Frames are written between these two; begin returns the offset for end. A flag is
 * set in its place between them. */
size_t frame_begin(struct buf *out, enum frame_type type);
void frame_end(struct buf *out, size_t begun);

struct hello {
    uint16_t protocol_min, protocol_max;
    struct replica_id id;
    char label[MEMBER_NAME_MAX + 1], name[MEMBER_NAME_MAX + 1], ingress[INGRESS_MAX + 1];
    struct addr gossip;
    struct starts starts;
    struct clock clock, floor;
    uint8_t flags;
    struct replica_id predecessors[PREDECESSORS_MAX];
    size_t predecessor_count;
};
void hello_done(struct hello *hello);
void frame_put_hello(struct buf *out, const struct hello *hello);
/* ret must be initialised; a foreign magic is ERR_MALFORMED. A protocol range
 * that we do not share is not an error here. */
enum err frame_get_hello(struct bytes body, struct hello *ret) MUST_USE;

struct refusal {
    enum refuse_reason reason;
    char text[REFUSE_TEXT_MAX + 1];
    struct starts starts; /* REFUSE_FORK */
    uint64_t counter;     /* REFUSE_FORK, REFUSE_RETIRED: up to where its operations are known whole */
    size_t known_count;   /* REFUSE_RETIRED: counters above it that are known, ascending */
    uint64_t known[RETIRED_KNOWN_MAX];
};
void frame_put_refuse(struct buf *out, const struct refusal *refusal);
enum err frame_get_refuse(struct bytes body, struct refusal *ret) MUST_USE;

void frame_put_clock(struct buf *out, const struct clock *clock, const struct clock *floor, uint8_t flags);
enum err frame_get_clock(struct bytes body, struct clock *ret_clock, struct clock *ret_floor,
                         uint8_t *ret_flags) MUST_USE;

void frame_put_empty(struct buf *out, enum frame_type type);

void frame_put_want(struct buf *out, const struct replica_id *origin, uint64_t from);
enum err frame_get_want(struct bytes body, struct replica_id *ret_origin, uint64_t *ret_from) MUST_USE;
void frame_put_unwant(struct buf *out, const struct replica_id *origin);
enum err frame_get_unwant(struct bytes body, struct replica_id *ret_origin) MUST_USE;

/* Where a walk stands: all keys, then all rows up to here are done. */
struct walk_place {
    enum walk_phase phase; /* WALK_NONE: nothing is left */
    uint8_t after[KEY_MAX];
    size_t after_len;
    struct dot row_after;
};

struct walk_ask {
    uint64_t run;
    struct walk_place place;
    struct clock last;
    uint64_t ahead; /* 1: one piece, the question that protocol 1 knows */
};
void frame_put_walk_ask(struct buf *out, const struct walk_ask *ask);
enum err frame_get_walk_ask(struct bytes body, struct walk_ask *ret) MUST_USE; /* ret->last initialised */

void frame_put_walk_more(struct buf *out, uint64_t run, uint64_t pieces);
enum err frame_get_walk_more(struct bytes body, uint64_t *ret_run, uint64_t *ret_pieces) MUST_USE;

void frame_put_walk_refused(struct buf *out, uint64_t run, const char *text);
enum err frame_get_walk_refused(struct bytes body, uint64_t *ret_run, struct bytes *ret_text) MUST_USE;

/* An id that was retired, and what of it is held by who tells (retire.c). */
struct retired {
    struct replica_id id;
    bool raised; /* the clock, on this view */
    bool viewed; /* view is known */
    bool waits;  /* the view has a gap, and somebody may hold something else */
    struct retire_view view;
    /* The operations above view.base that were found early, when it was raised: owned,
     * ascending. For the store itself, should it return. Not told in RETIRED. */
    uint64_t *known;
    size_t known_count;
    uint64_t floor_seen_ms; /* of this process; not told */
    bool untold;            /* the same: a look at the view had news */
};
void retired_encode(const struct retired *retired, struct buf *out);
struct retired retired_decode(struct cursor *in);
void counters_encode(const uint64_t *counters, size_t count, struct buf *out);
/* At most RETIRED_KNOWN_MAX, ascending; else in->err. */
size_t counters_decode(struct cursor *in, uint64_t counters[RETIRED_KNOWN_MAX]);
void frame_put_retired(struct buf *out, const struct retired *list, size_t count);
enum err frame_get_retired(struct bytes body, struct retired **ret_list,
                           size_t *ret_count) MUST_USE; /* *ret_list is the caller's to free */
void frame_put_time(struct buf *out, uint64_t wall_ms);
enum err frame_get_time(struct bytes body, uint64_t *ret_wall_ms) MUST_USE;
void frame_put_forget(struct buf *out, const struct replica_id *id);
enum err frame_get_forget(struct bytes body, struct replica_id *ret_id) MUST_USE;

/* What a replica has shown of itself: true whoever hears of it (past.c). */
struct past {
    struct replica_id id;
    struct starts starts;
    uint64_t told;
    bool awaited;  /* the teller expects it back */
    bool departed; /* it left for good */
};
void past_encode(const struct past *past, struct buf *out);
/* Between frame_begin and frame_end: varint n, then n times past_encode. */
enum err frame_get_past(struct bytes body, struct past **ret_list,
                        size_t *ret_count) MUST_USE; /* *ret_list is the caller's to free */

/* ROWS, AHEAD, WALK_PIECE and WALK_ROWS are written by chunk.c; read into work
 * for the store. The work owns the body where the frame did, else a copy of it; its
 * serial is the run. *ret_keys_total only for WALK_PIECE. Every key is checked (1 to KEY_MAX bytes, no NUL)
 * and every record of a walk decodes; else ERR_MALFORMED, ERR_CHECKSUM, ERR_VERSION. What
 * cannot be read among rows the store puts aside. */
enum err frame_get_rows(const struct frame *frame, struct store_work **ret,
                        uint64_t *ret_keys_total) MUST_USE;

#endif
