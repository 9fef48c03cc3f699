/* Where a reader of the changes stands: a clock, not a place in some node's
 * history, so it holds on every node and after restarts. Opaque to clients:
 * base64url of
 *
 *   offset  size    what
 *   0       1       format, 1
 *   1       1       phase: 0 changes, 1 a listing not begun, 2 in a listing
 *   2       varint  ids, then ids x 16 bytes, ascending, each used below
 *           varint  low, each: varint index of its replica, varint counter; none in phase 1
 *           varint  high, only the entries above low, each likewise
 *           varint  in phase 2 alone: length and bytes of the last key listed
 *           varint  in phase 2 alone: how much of it is the listing's prefix; 0 without a key
 *           4       CRC-32C of all before
 */
#ifndef YZMA_CRDT_FEED_CURSOR_H
#define YZMA_CRDT_FEED_CURSOR_H

#include "record.h"

/* Bytes of base64url, enough for two vectors of CLOCK_REPLICAS_MAX and a key; above:
 * malformed. */
enum { FEED_CURSOR_TEXT_MAX = 64 << 10 };

enum feed_phase { FEED_CHANGES, FEED_LIST_BEGIN, FEED_LIST };

struct feed_cursor {
    enum feed_phase phase;
    struct clock low; /* all operations up to here were delivered (in a listing: of the keys up to `after`) */
    struct clock high;      /* low, joined with all that the states shown include: at or above low */
    uint8_t after[KEY_MAX]; /* FEED_LIST: the keys up to here have been listed */
    size_t after_len;
    size_t prefix_len; /* of `after`: the prefix of the keys that are listed */
};

/* {0} is the beginning of all history, which hardly any node still has. */
void feed_cursor_done(struct feed_cursor *c);
void feed_cursor_copy(struct feed_cursor *to, const struct feed_cursor *from); /* `to` must be initialised */

/* May a reader of the keys under this prefix go on from here? In a listing only who began
 * it: of another prefix it would be told that keys are not there which nobody looked for. */
bool feed_cursor_serves(const struct feed_cursor *c, struct bytes prefix);

/* Appends base64url, no padding, no NUL. ERR_TOO_LARGE in out->err above
 * CLOCK_REPLICAS_MAX replicas. */
void feed_cursor_encode(const struct feed_cursor *c, struct buf *out);
/* ERR_MALFORMED for anything that feed_cursor_encode does not write. ret must be
 * initialised; its old content is freed. */
enum err feed_cursor_decode(struct bytes text, struct feed_cursor *ret) MUST_USE;

#endif
