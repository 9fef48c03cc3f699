/* What is stored under a key: its versions (usually one) and its context, the
 * version vector of the operations *on this key* that the record includes.
 *
 * Encoded form, the same on disk and on the wire:
 *
 *   offset  size    what
 *   0       1       format, 1
 *   1       4       CRC-32C of the key and of all that follows
 *   5       varint  ids, then ids x 16 bytes, ascending, each used below
 *           varint  context entries, each: varint index of its id, varint counter
 *           varint  versions, ascending by dot, each:
 *                     varint index of its replica, varint counter,
 *                     8 bytes stamp, varint expiry (ms since 1970; 0 never),
 *                     varint length and bytes of the content type (empty: JSON),
 *                     varint length and bytes of the value
 *
 * A record without versions and without context does not exist. */
#ifndef YZMA_CRDT_RECORD_H
#define YZMA_CRDT_RECORD_H

#include "clock.h"

enum {
    KEY_MAX = 480,             /* bytes; LMDB's own limit is 511 */
    CONTENT_TYPE_MAX = 255,    /* bytes */
    VALUE_MAX = 256 << 20,     /* bytes: above every setting of API.MaxValueBytes */
    RECORD_VERSIONS_MAX = 4096 /* decoding refuses more; writes stop at Server.MaxVersions */
};

struct version {
    struct dot dot;
    uint64_t stamp;      /* see stamp.h */
    uint64_t expires_ms; /* wall time since 1970, 0 for never */
    struct bytes type;   /* content type; empty means JSON */
    struct bytes value;
};

/* Versions are sorted by dot. Type and value are borrowed: from the bytes that
 * were decoded, or from the records that were merged. */
struct record {
    struct version *versions; /* owned array */
    size_t count, room;
    struct clock context;
};

/* {0} is the record of a key that was never written. */
void record_done(struct record *r);
void record_clear(struct record *r);
static inline bool record_is_empty(const struct record *r)
{
    return r->count == 0 && r->context.count == 0;
}

/* Adds a version in its place; a CHECK holds that its dot is new. */
void record_add(struct record *r, const struct version *version);
void record_remove_at(struct record *r, size_t index);
/* The index of a dot, or -1. */
ptrdiff_t record_find(const struct record *r, const struct dot *dot);
/* The highest stamp among the versions, 0 without any. */
uint64_t record_last_stamp(const struct record *r);

static inline bool version_expired(const struct version *v, uint64_t now_ms)
{
    return v->expires_ms && v->expires_ms <= now_ms;
}

/* What a read shows: of the versions not expired at now_ms (wall), the one with
 * the largest (stamp, dot); NULL without any. */
const struct version *record_surfaced(const struct record *r, uint64_t now_ms);

/* Appends. ERR_TOO_LARGE in out->err for more versions or replicas than decoding
 * takes; canonical: equal records give equal bytes. */
void record_encode(struct bytes key, const struct record *r, struct buf *out);
/* Borrows from bytes. ERR_CHECKSUM, ERR_VERSION, ERR_MALFORMED, ERR_TRUNCATED;
 * ret is then empty. ret must be initialised ({0} or used before). */
enum err record_decode(struct bytes key, struct bytes bytes, struct record *ret) MUST_USE;

/* The context's dots and the versions' dots, joined: all that the record reflects. */
void record_reflects(const struct record *r, struct clock *join_into);

#endif
