/* The captured packets of tests/vectors: bytes in hex beside what they mean. */
#ifndef YZMA_TESTS_VECTORS_H
#define YZMA_TESTS_VECTORS_H

#include "bytes.h"

struct vector {
    char *name; /* without folder and ending */
    uint8_t *data;
    size_t len;
    char *json; /* the text of NAME.json */
};

struct vectors {
    struct vector *list;
    size_t count;
};

/* Every NAME.hex of a folder below tests/vectors, sorted by name. A folder that
 * cannot be read fails the running test. */
struct vectors vectors_load(const char *folder);
void vectors_done(struct vectors *v);

#endif
