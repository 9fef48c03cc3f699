/* What a step makes, by the step: tens of millions of them, 16 bytes each. */
#ifndef YZMA_TESTS_MEMO_H
#define YZMA_TESTS_MEMO_H

#include <stddef.h>
#include <stdint.h>

struct memo_entry {
    uint64_t key; /* 0 is free */
    uint32_t result, writes;
};

struct memo { /* all zeros is empty */
    struct memo_entry *entries;
    size_t room, count;
};

/* The key's entry, or NULL. It lives until the next one is added. */
struct memo_entry *memo_find(const struct memo *memo, uint64_t key);
/* Has memory fetch what memo_find will look at first. */
void memo_fetch(const struct memo *memo, uint64_t key);
/* The key is not there yet. */
void memo_add(struct memo *memo, struct memo_entry entry);
void memo_done(struct memo *memo);

#endif
