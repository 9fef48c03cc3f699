/* Open addressing; see the header. */
#include "numbers.h"

#include "mem.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const void *data, size_t len)
{
    uint64_t hash = 0x9e3779b97f4a7c15u;
    const uint8_t *at = data;
    for (; len >= 4; at += 4, len -= 4) {
        uint32_t word;
        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

static void rehash(struct numbers *t, size_t slot_count)
{
    free(t->slots);
    t->slot_count = slot_count;
    t->slots = mem_new(slot_count * sizeof *t->slots);
    for (size_t i = 0; i < t->count; i++) {
        size_t slot = hash_of(t->entries + i * t->size, t->size) & (slot_count - 1);
        while (t->slots[slot])
            slot = (slot + 1) & (slot_count - 1);
        t->slots[slot] = (uint32_t)i + 1;
    }
}

uint32_t numbers_of(struct numbers *t, const void *entry, bool *ret_new)
{
    if (t->count * 10 >= t->slot_count * 6)
        rehash(t, t->slot_count ? 2 * t->slot_count : 1024);
    size_t slot = hash_of(entry, t->size) & (t->slot_count - 1);
    for (; t->slots[slot]; slot = (slot + 1) & (t->slot_count - 1)) {
        if (memcmp(t->entries + (t->slots[slot] - 1) * t->size, entry, t->size) == 0) {
            *ret_new = false;
            return t->slots[slot] - 1;
        }
    }
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 1024;
        t->entries = mem_grow(t->entries, t->room * t->size);
    }
    memcpy(t->entries + t->count * t->size, entry, t->size);
    t->slots[slot] = (uint32_t)++t->count;
    *ret_new = true;
    return (uint32_t)t->count - 1;
}

void numbers_done(struct numbers *t)
{
    free(t->entries);
    free(t->slots);
    *t = (struct numbers){.size = t->size};
}
