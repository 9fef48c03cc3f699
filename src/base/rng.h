/* Seeded random numbers (xoshiro256**, Blackman and Vigna 2018): the pure core
 * and the simulations draw from a state that is handed to them. Not for keys. */
#ifndef YZMA_BASE_RNG_H
#define YZMA_BASE_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
/* Uniform in [0, n); n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
/* True in about p of 1,000 calls. */
bool rng_permille(struct rng *r, unsigned p);

#endif
