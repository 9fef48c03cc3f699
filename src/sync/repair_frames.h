/* The frames by which damaged and differing records are found and mended, as bytes
 * (protocol 3; the framing is frames.h's):
 *
 *   20 RECORD_ASK   blob key: send your record of it
 *   21 RECORD       u8 state, blob key, clock, floor, blob record
 *   22 DIGEST_ASK   varint run, u64 clock hash, u64 wall time (ms), u8 flags,
 *                   blob after, blob through, varint keys, u64 hash
 *   23 DIGEST       varint run, u8 verdict, u8 end, blob through, varint n,
 *                   n x (blob key, u64 hash)
 *   24 DIVERGED     as RECORD: this is ours, which should be equal to yours; state
 *                   plus 16 in the answer to one
 *
 * Clock and floor are of the snapshot that the record was read from. */
#ifndef YZMA_SYNC_REPAIR_FRAMES_H
#define YZMA_SYNC_REPAIR_FRAMES_H

#include "frames.h"

enum {
    DIGEST_KEYS_MAX = 256, /* in a list */
    DIVERGED_ANSWER = 16,
};

enum record_state { RECORD_PRESENT = 1, RECORD_ABSENT, RECORD_UNREADABLE };

/* Bytes borrowed from the frame; the clocks are owned. */
struct record_frame {
    enum record_state state;
    bool answer; /* DIVERGED */
    struct bytes key, record;
    struct clock clock, floor;
};
void record_frame_done(struct record_frame *frame);
void frame_put_record(struct buf *out, enum frame_type type, const struct record_frame *record);
/* ret must be initialised. The record is checked when it is stored. */
enum err frame_get_record(const struct frame *frame, struct record_frame *ret) MUST_USE;

void frame_put_record_ask(struct buf *out, struct bytes key);
enum err frame_get_record_ask(struct bytes body, struct bytes *ret_key) MUST_USE;

struct digest_ask {
    uint64_t run, clock_hash, wall_ms;
    bool end;                    /* through is unused: to the last key of all */
    bool list;                   /* the keys are wanted where the digests differ */
    struct bytes after, through; /* borrowed */
    struct range_digest digest;
};
void frame_put_digest_ask(struct buf *out, const struct digest_ask *ask);
enum err frame_get_digest_ask(struct bytes body, struct digest_ask *ret) MUST_USE;

/* BUSY: the clocks are not equal, or something is on its way or being mended. */
enum digest_verdict { DIGEST_EQUAL = 1, DIGEST_DIFFERS, DIGEST_BUSY };

/* With DIFFERS and a list: the keys of (after, through]. */
struct digest_answer {
    uint64_t run;
    enum digest_verdict verdict;
    bool end;
    struct bytes through; /* borrowed */
    uint64_t count;
    struct bytes list; /* borrowed: the encoded keys and hashes; digest_list_next */
};
void frame_put_digest(struct buf *out, const struct digest_answer *answer);
enum err frame_get_digest(struct bytes body, struct digest_answer *ret) MUST_USE;
void digest_list_put(struct buf *out, struct bytes key, uint64_t hash);
/* Reads one entry off the front; false at the end. The list was checked before. */
bool digest_list_next(struct bytes *list, struct bytes *ret_key, uint64_t *ret_hash);

#endif
