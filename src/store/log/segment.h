/* The log's bytes. A segment is a file of a fixed size, written ahead with zeros or
 * taken over from an older segment:
 *
 *   offset  size  what
 *   0       8     "YZMALOG" and a line feed
 *   8       4     format, 1
 *   12      16    the log's id: of this store's log, and no other
 *   28      8     the segment's number, from 1
 *   36      8     salt: random, of this segment
 *   44      16    0
 *   60      4     CRC-32C of bytes 0 to 59
 *   64      ..    frames, each at a multiple of 8
 *
 * A frame is one commit:
 *   0       4     CRC-32C of the salt and bytes 8 to 31
 *   4       4     CRC-32C of the salt, bytes 8 to 31 and the body
 *   8       8     the segment's number
 *   16      8     sequence: one more than the frame's before
 *   24      4     length of the body
 *   28      4     number of entries
 *   32      ..    body, filled up with zeros to a multiple of 8
 *
 * The body is a row of entries: what the commit leaves, sorted, each key once.
 *   1 byte        kind in the high half (0 put, 1 deletion, 2 deletion of a range),
 *                 table in the low half
 *   blob          key; of a range its prefix
 *   blob          put: value; range: the key below which all goes; else nothing
 *
 * Numbers are big-endian, a blob is a varint length and its bytes. The salt enters
 * each checksum so that nothing that a client stores, and nothing that an older
 * segment left in the file, can be taken for a frame. The header has one of its own:
 * whoever looks for frames among a client's bytes reads no body that is none. */
#ifndef YZMA_STORE_SEGMENT_H
#define YZMA_STORE_SEGMENT_H

#include "buf.h"
#include "engine.h"

enum {
    LOG_FORMAT = 1,
    LOG_ID_SIZE = 16,
    SEGMENT_HEADER = 64,
    LOG_FRAME_HEADER = 32,
    LOG_FRAME_ALIGN = 8,
    LOG_BODY_MAX = 1 << 30, /* a transaction is bounded far below (store.h) */
};

struct segment_header {
    uint8_t log_id[LOG_ID_SIZE];
    uint64_t number, salt;
};
void segment_header_encode(const struct segment_header *header, uint8_t out[SEGMENT_HEADER]);
/* ERR_DAMAGED (no header of ours), ERR_VERSION. */
enum err segment_header_decode(struct bytes bytes, struct segment_header *ret) MUST_USE;

/* ---- writing a frame ------------------------------------------------------- */

/* Leaves room for the header at the front of an empty buffer. */
void log_frame_begin(struct buf *frame);
void log_frame_put(struct buf *frame, enum table table, struct bytes key, struct bytes value);
void log_frame_del(struct buf *frame, enum table table, struct bytes key);
void log_frame_del_below(struct buf *frame, enum table table, struct bytes prefix, struct bytes below);
/* Fills up to the alignment and writes the header; may be called again, for another
 * segment. body_len as it was before filling up: what log_frame_finish returned. */
size_t log_frame_fill(struct buf *frame);
void log_frame_seal(struct buf *frame, const struct segment_header *segment, uint64_t sequence,
                    size_t body_len, uint32_t entries);

/* ---- reading ---------------------------------------------------------------- */

struct log_frame {
    uint64_t sequence;
    uint32_t entries;
    struct bytes body;
    size_t size; /* header, body and filling, which may lie beyond what there is to read */
};
/* The frame at the front of bytes, which borrow from it. ERR_DAMAGED: none of this
 * segment stands there, whole. */
enum err log_frame_read(struct bytes bytes, const struct segment_header *segment,
                        struct log_frame *ret) MUST_USE;

enum log_entry_kind { LOG_PUT, LOG_DEL, LOG_DEL_BELOW };
struct log_entry {
    enum log_entry_kind kind;
    enum table table;
    struct bytes key, value;
};
struct cursor;
/* The next entry of a body; cursor->err is set when it is malformed. */
void log_entry_read(struct cursor *body, struct log_entry *ret);

#endif
