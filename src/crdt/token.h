/* What a client passes on (X-Yzma-Context): the key it is about, the dots of the
 * versions it saw, and a vector that an answer must cover. Opaque to clients:
 * base64url of
 *
 *   offset  size    what
 *   0       1       format, 1
 *   1       8       hash of the key (CRC-32C, CRC-32 of its bytes)
 *   9       varint  ids, then ids x 16 bytes, ascending
 *           varint  seen, each: varint index of its replica, varint counter
 *           varint  after, each: varint index of its replica, varint counter
 *           4       CRC-32C of all before
 */
#ifndef YZMA_CRDT_TOKEN_H
#define YZMA_CRDT_TOKEN_H

#include "record.h"

enum {
    TOKEN_SEEN_MAX = RECORD_VERSIONS_MAX,
    TOKEN_TEXT_MAX = 64 << 10, /* bytes of base64url; above: malformed */
};

struct token {
    uint64_t key_hash;
    struct dot *seen; /* owned, ascending */
    size_t seen_count, seen_room;
    struct clock after;
};

/* {0} is the empty token; the makers below replace what was there, and use its memory. */
void token_done(struct token *t);
uint64_t token_key_hash(struct bytes key);
/* Of a read: the versions held; after = their dots, the context and the floor. */
void token_of_read(struct token *t, struct bytes key, const struct record *record, const struct clock *floor);
/* Of a delete that removed nothing: after as of a read, for its client may not fall behind
 * what it found; and nothing seen, for it was not shown what may be held. */
void token_of_look(struct token *t, struct bytes key, const struct record *record, const struct clock *floor);
/* Of a write: its own dot, for both; of none (counter 0) nothing. */
void token_of_write(struct token *t, struct bytes key, const struct dot *dot);

/* base64url, no padding, no NUL. ERR_TOO_LARGE in out->err above TOKEN_TEXT_MAX. */
void token_encode(const struct token *t, struct buf *out);
/* ERR_MALFORMED for anything that token_encode does not write. */
enum err token_decode(struct bytes text, struct token *ret) MUST_USE;
bool token_saw(const struct token *t, const struct dot *dot);

#endif
