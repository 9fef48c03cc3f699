/* LZW as GIF and Go's compress/lzw have it: least significant bit first, literals
 * of 8 bits, clear code 256, end code 257, codes of 9 to 12 bits. memberlist
 * compresses its packets and streams with it.
 *
 * The encoder makes the same bytes as Go's for the same input, so that captured
 * packets can be compared bit for bit. */
#ifndef YZMA_SWIM_LZW_H
#define YZMA_SWIM_LZW_H

#include "buf.h"

/* Appends the packed form. Look at out->err. */
void lzw_encode(struct bytes plain, struct buf *out);
/* Appends the plain form. A missing end code is ERR_TRUNCATED, a code that does
 * not exist yet ERR_MALFORMED, more than out->max bytes ERR_TOO_LARGE. */
enum err lzw_decode(struct bytes packed, struct buf *out) MUST_USE;

#endif
