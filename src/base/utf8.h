/* UTF-8 as RFC 3629 has it: no over-long forms, no surrogates, nothing above
 * U+10FFFF. And where in a text a byte stands, as an editor counts it. */
#ifndef YZMA_BASE_UTF8_H
#define YZMA_BASE_UTF8_H

#include "bytes.h"

/* A character byte by byte, for text that comes in pieces: the first byte says
 * how many are left, and between which bounds the next one lies. */
struct utf8_tail {
    uint8_t left, low, high;
};
/* False: no character begins, or goes on, with this byte. */
bool utf8_begin(struct utf8_tail *tail, uint8_t first);
bool utf8_continue(struct utf8_tail *tail, uint8_t next);

/* The length, 1 to 4, of the sequence at the front; 0 when it is not UTF-8 (or
 * nothing is left). */
size_t utf8_length(struct bytes text);

/* How many bytes from the front are UTF-8: text.len when all are. */
size_t utf8_valid_until(struct bytes text);

/* Both from 1; the column counts characters, and lines end at '\n'. */
struct text_position {
    size_t line, column;
};
struct text_position text_position(struct bytes text, size_t offset);

#endif
