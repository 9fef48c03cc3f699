/* The layers of a gossip datagram, from the outside in:
 *
 *   envelope   label and seal: envelope.h
 *   CRC        0c crc32-ieee(4) rest
 *   compress   09 {Algo: 0, Buf: lzw}
 *   compound   07 count len(2)*count part*count
 *   message    type byte and body: wire.h
 *
 * Compress and compound may hold each other. What is read and built here is what
 * envelope.h has opened or will close. */
#ifndef YZMA_SWIM_PACKET_H
#define YZMA_SWIM_PACKET_H

#include "buf.h"
#include "wire.h"

enum {
    PACKET_MAX = 65536,
    /* What one datagram may become when it is unpacked, all layers together.
     * memberlist allows 40 MiB; no datagram that a member sends comes near this. */
    PACKET_PLAIN_MAX = 256 * 1024,
    PACKET_NESTING_MAX = 8, /* nothing special about this value: members send 2 */
    COMPOUND_PARTS_MAX = 255,
    COMPOUND_HEADER = 2,
    COMPOUND_PER_PART = 2,
    CRC_HEADER = 5, /* not part of the budget of a packet, by memberlist's rules */
    PACKET_BUDGET = 1400,
};

struct packet_faults {
    unsigned bad_crc, truncated_compounds, unknown_compressions, bad_compressions, too_deep;
};

typedef void packet_visit(void *ctx, struct bytes message);

/* Unpacks a datagram and shows each message in it, in order. What is wrong with
 * it is added to the faults; parts that are whole are used all the same. */
void packet_read(struct bytes packet, packet_visit *visit, void *ctx, struct packet_faults *faults);

/* Builds a datagram of one or more messages (at most COMPOUND_PARTS_MAX, each
 * below 64 KiB): a compound when they are several, compressed if that is smaller,
 * with a CRC if asked for. Look at out->err. */
void packet_build(struct buf *out, const struct bytes *messages, size_t count, bool compress, bool crc);

/* The plain form of a compress message, appended to out (whose max bounds it). An
 * unknown algorithm is ERR_VERSION. */
enum err packet_decompress(const struct wire_compress *compress, struct buf *out) MUST_USE;

/* Replaces what stands in b from start to the end, one message, by its compressed
 * form, if that is shorter. */
void packet_compress_from(struct buf *b, size_t start);

#endif
