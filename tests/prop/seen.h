/* A set of words of up to 82 bits, exact, at eight bytes each: hundreds of millions of them.
 *
 * A word is mixed by a function that can be undone (a Feistel network); the lower bits of what
 * comes out are the slot, and only the others are kept there, with how far from its slot the
 * word stands (Cleary, "Compact hash tables using bidirectional linear probing", 1984; here it
 * goes one way only). So two words are never taken for one. The set does not grow. */
#ifndef YZMA_TESTS_SEEN_H
#define YZMA_TESTS_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seen_word {
    uint64_t slot, rest;
};

enum { SEEN_LATELY = 1 << 14 };

struct seen {
    uint64_t *slots;
    unsigned half_bits, slot_bits;
    size_t count, most;
    struct seen_word late[SEEN_LATELY]; /* some of those last asked for */
};

/* Words have twice half_bits bits: at most slot_bits + 53. */
void seen_init(struct seen *seen, unsigned half_bits, unsigned slot_bits);
void seen_done(struct seen *seen);

/* Where a word of two halves is to be. */
struct seen_word seen_find(const struct seen *seen, uint64_t left, uint64_t right);
/* True for some of those that were asked for before. Of others memory is fetched: they are to be added. */
bool seen_lately(struct seen *seen, struct seen_word word);
/* True when it is new. */
bool seen_add(struct seen *seen, struct seen_word word);

#endif
