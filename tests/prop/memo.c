/* Open addressing; see the header. */
#include "memo.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static size_t first_slot(const struct memo *memo, uint64_t key)
{
    uint64_t hash = (key ^ key >> 32) * 0xff51afd7ed558ccdu;
    return (size_t)(hash ^ hash >> 32) & (memo->room - 1);
}

static size_t slot_of(const struct memo *memo, uint64_t key)
{
    size_t slot = first_slot(memo, key);
    while (memo->entries[slot].key && memo->entries[slot].key != key)
        slot = (slot + 1) & (memo->room - 1);
    return slot;
}

static void grow(struct memo *memo)
{
    struct memo old = *memo;
    memo->room = old.room ? 2 * old.room : 1024;
    size_t size = memo->room * sizeof *memo->entries;
    memo->entries = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memo->entries == MAP_FAILED) {
        fprintf(stderr, "the steps: no memory\n");
        exit(EXIT_FAILURE);
    }
    (void)madvise(memo->entries, size, MADV_HUGEPAGE); /* it is only faster */
    for (size_t i = 0; i < old.room; i++)
        if (old.entries[i].key)
            memo->entries[slot_of(memo, old.entries[i].key)] = old.entries[i];
    memo_done(&old);
}

struct memo_entry *memo_find(const struct memo *memo, uint64_t key)
{
    struct memo_entry *entry = memo->room ? memo->entries + slot_of(memo, key) : NULL;
    return entry && entry->key ? entry : NULL;
}

void memo_fetch(const struct memo *memo, uint64_t key)
{
    if (memo->room)
        __builtin_prefetch(memo->entries + first_slot(memo, key));
}

void memo_add(struct memo *memo, struct memo_entry entry)
{
    if (memo->count * 4 >= memo->room * 3)
        grow(memo);
    memo->entries[slot_of(memo, entry.key)] = entry;
    memo->count++;
}

void memo_done(struct memo *memo)
{
    if (memo->entries)
        munmap(memo->entries, memo->room * sizeof *memo->entries);
    *memo = (struct memo){0};
}
