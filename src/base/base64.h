/* base64url without padding (RFC 4648, 5), and base64 with it (RFC 4648, 4). One
 * text for each run of bytes: decoding refuses stray bits, the other kind's letters,
 * and padding where there should be none or none where there should be. */
#ifndef YZMA_BASE_BASE64_H
#define YZMA_BASE_BASE64_H

#include "buf.h"

/* Replaces the bytes of b from offset on by their base64url, in place. */
void buf_base64url_from(struct buf *b, size_t offset);

/* Appends base64 with padding. */
void buf_put_base64(struct buf *b, struct bytes bytes);

/* Appends the bytes that text stands for. ERR_MALFORMED, and out is then as it
 * was; ERR_TOO_LARGE, ERR_NOMEM from out. */
enum err base64url_decode(struct bytes text, struct buf *out) MUST_USE;
enum err base64_decode(struct bytes text, struct buf *out) MUST_USE; /* the same of the other kind */

#endif
