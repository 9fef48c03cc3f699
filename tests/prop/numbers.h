/* Numbers for entries of one size, each once, in the order in which they came: hundreds of
 * millions of them, in little more memory than they take. */
#ifndef YZMA_TESTS_NUMBERS_H
#define YZMA_TESTS_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct numbers { /* {.size = a multiple of 4} is empty */
    uint8_t *entries;
    size_t size, count, room;
    uint32_t *slots; /* number + 1; 0 is free */
    size_t slot_count;
};

/* The number of an entry; a new one is added. */
uint32_t numbers_of(struct numbers *t, const void *entry, bool *ret_new);
void numbers_done(struct numbers *t);

#endif
