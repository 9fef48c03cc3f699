/* What surrounds packets and streams: a label in the clear, which keeps clusters
 * apart that reach each other by mistake, and the seal of a key.
 *
 *   packet   [f4 len label] sealed                       or plain
 *   stream   [f4 len label] 0a u32-length sealed         or plain, by the side that connects
 *                           0a u32-length sealed         or plain, by the side that accepts
 *
 * The label is 1 to 255 bytes, and bound into the seal as associated data; on a
 * stream the five bytes before the sealed text come first in it. */
#ifndef YZMA_SWIM_ENVELOPE_H
#define YZMA_SWIM_ENVELOPE_H

#include "keyring.h"
#include "wire.h"

enum {
    LABEL_MAX = 255,
    LABEL_HEADER = 2,
    SEALED_STREAM_HEADER = 5,
    SEALED_STREAM_MAX = 20 * 1024 * 1024, /* memberlist's limit of the length field */
};

struct envelope {
    struct keyring *keys; /* borrowed; NULL or empty: nothing is sealed */
    struct bytes label;   /* borrowed; empty: none */
    unsigned seal_version;
    bool takes_plain; /* also while there are keys: verify incoming off */
    bool sends_plain; /* verify outgoing off */
};

enum envelope_fault {
    ENVELOPE_FINE,
    ENVELOPE_LABEL,  /* none, another one, or one where none is expected */
    ENVELOPE_SEALED, /* sealed, and we have no key at all */
    ENVELOPE_KEY,    /* sealed by no key of ours, or altered */
    ENVELOPE_PLAIN,  /* not sealed, and we want it to be */
};

static inline bool envelope_has_keys(const struct envelope *e)
{
    return e->keys && keyring_count(e->keys) > 0;
}

static inline bool envelope_seals(const struct envelope *e)
{
    return envelope_has_keys(e) && !e->sends_plain;
}

/* --- packets --- */

/* What this adds to a packet, at most. */
size_t envelope_packet_overhead(const struct envelope *e);
/* Sealed, if it is, by the key at a place of the ring. */
void envelope_put_packet(const struct envelope *e, size_t key_at, struct bytes plain, struct buf *out);
/* The plain packet: borrowed from the packet itself, or from scratch where it had
 * to be opened; and the place of the key that fitted, 0 for none. */
enum envelope_fault envelope_open_packet(const struct envelope *e, struct bytes packet, struct buf *scratch,
                                         struct bytes *ret_plain, size_t *ret_key_at);

/* --- streams --- */

void envelope_put_label(const struct envelope *e, struct buf *out); /* nothing without a label */
/* Reads a label at the front, if there is one: at the front of a stream from the
 * side that connects. ERR_TRUNCATED when it is not all there, ERR_MALFORMED when it
 * is empty. *ret_used is 0 without a label. */
enum err envelope_read_label(struct bytes stream, struct bytes *ret_label, size_t *ret_used) MUST_USE;

/* Seals a whole message with the key at a place of the ring. */
void envelope_put_stream(const struct envelope *e, size_t key_at, struct bytes message, struct buf *out);
/* Opens what starts with WIRE_ENCRYPT. ERR_TRUNCATED: not all there yet.
 * ERR_TOO_LARGE, and what keyring_open gives. */
enum err envelope_open_stream(const struct envelope *e, struct bytes stream, struct buf *out,
                              size_t *ret_key_at) MUST_USE;

#endif
