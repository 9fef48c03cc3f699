/* Linear probing over remainders; see the header. */
#include "seen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { DISTANCE_BITS = 10, DISTANCE_MAX = (1 << DISTANCE_BITS) - 1, ROUNDS = 4 };

/* A failure here ends the program: what it would find is no longer all. */
static _Noreturn void give_up(const char *why)
{
    fprintf(stderr, "the set of worlds: %s\n", why);
    exit(EXIT_FAILURE);
}

void seen_init(struct seen *seen, unsigned half_bits, unsigned slot_bits)
{
    size_t size = sizeof(uint64_t) << slot_bits;
    *seen = (struct seen){.half_bits = half_bits, .slot_bits = slot_bits};
    memset(seen->late, 255, sizeof seen->late); /* no word: rests are shorter */
    seen->most = ((size_t)1 << slot_bits) / 16 * 15;
    if (slot_bits > half_bits || 2 * half_bits - slot_bits + DISTANCE_BITS + 1 > 64)
        give_up("words are too long");
    seen->slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                       0);
    if (seen->slots == MAP_FAILED)
        give_up("no memory");
    (void)madvise(seen->slots, size, MADV_HUGEPAGE); /* it is only faster */
}

void seen_done(struct seen *seen)
{
    if (seen->slots)
        munmap(seen->slots, sizeof(uint64_t) << seen->slot_bits);
    *seen = (struct seen){0};
}

static uint64_t mix(uint64_t half)
{
    half = (half + 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
    half ^= half >> 32;
    half *= 0xc4ceb9fe1a85ec53u;
    return half ^ half >> 29;
}

struct seen_word seen_find(const struct seen *seen, uint64_t left, uint64_t right)
{
    const uint64_t mask = ((uint64_t)1 << seen->half_bits) - 1;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t next = left ^ (mix(right + i) & mask);
        left = right;
        right = next;
    }
    struct seen_word word = {.slot = left & (((uint64_t)1 << seen->slot_bits) - 1),
                             .rest = left >> seen->slot_bits << seen->half_bits | right};
    return word;
}

bool seen_lately(struct seen *seen, struct seen_word word)
{
    struct seen_word *late = seen->late + (word.slot & (SEEN_LATELY - 1));
    if (late->slot == word.slot && late->rest == word.rest)
        return true;
    *late = word;
    __builtin_prefetch(seen->slots + word.slot);
    return false;
}

/* A slot: the rest, above it the distance, above that a bit that says that it is taken. */
bool seen_add(struct seen *seen, struct seen_word word)
{
    const uint64_t slot_mask = ((uint64_t)1 << seen->slot_bits) - 1;
    for (uint64_t distance = 0; distance <= DISTANCE_MAX; distance++) {
        uint64_t *slot = seen->slots + ((word.slot + distance) & slot_mask);
        uint64_t taken = word.rest | (distance | (uint64_t)1 << DISTANCE_BITS) << (63 - DISTANCE_BITS);
        if (*slot == taken)
            return false;
        if (*slot == 0) {
            if (seen->count == seen->most)
                give_up("full");
            *slot = taken;
            seen->count++;
            return true;
        }
    }
    give_up("too crowded");
}
