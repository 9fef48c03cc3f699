/* Vectors of at most four replicas in one word, a byte each; and words in groups of bits, one
 * group for each replica. */
#ifndef YZMA_TESTS_SMALL_VECTOR_H
#define YZMA_TESTS_SMALL_VECTOR_H

#include <stdbool.h>
#include <stdint.h>

static inline uint32_t counter_in(uint32_t vector, unsigned replica)
{
    return vector >> (8 * replica) & 255;
}

static inline bool covers(uint32_t a, uint32_t b)
{
    for (unsigned i = 0; i < 4; i++)
        if (counter_in(a, i) < counter_in(b, i))
            return false;
    return true;
}

static inline uint32_t least_of(uint32_t a, uint32_t b)
{
    uint32_t least = 0;
    for (unsigned i = 0; i < 4; i++)
        least |= (counter_in(a, i) < counter_in(b, i) ? counter_in(a, i) : counter_in(b, i)) << (8 * i);
    return least;
}

static inline uint32_t most_of(uint32_t a, uint32_t b)
{
    uint32_t most = 0;
    for (unsigned i = 0; i < 4; i++)
        most |= (counter_in(a, i) > counter_in(b, i) ? counter_in(a, i) : counter_in(b, i)) << (8 * i);
    return most;
}

/* Of three groups: the second and the third change places. */
static inline uint32_t swap_groups(uint32_t v, unsigned width)
{
    uint32_t mask = (1u << width) - 1, second = v >> width & mask, third = v >> (2 * width) & mask;
    return (v & mask) | third << width | second << (2 * width);
}

#endif
