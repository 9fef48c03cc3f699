/* Conditions of writes (If-Match, If-None-Match; RFC 9110, 13.1), and the tag that
 * they compare: a hash of the dots of a key's living versions. Replicas that hold
 * the same versions give the same tag; it says nothing about any clock. */
#ifndef YZMA_CRDT_CONDITION_H
#define YZMA_CRDT_CONDITION_H

#include "record.h"

/* 0: no version that has not expired at now_ms (wall). Else CRC-32C and CRC-32 over
 * the dots, 64 bits: two tags of one version each differ for certain when only the
 * counter differs, in less than 32 bits of its length (a burst, which either sees). */
uint64_t record_tag(const struct record *r, uint64_t now_ms);

enum { CONDITION_TAGS_MAX = 16 };

struct tag_list {
    bool present, any; /* any: "*" */
    uint8_t count;
    uint64_t tags[CONDITION_TAGS_MAX];
};

struct condition {
    struct tag_list match;      /* one of them must be the tag; "*": there must be one */
    struct tag_list none_match; /* none of them may be; "*": there must be none */
};

/* Both parts, where present, of a record with this tag. */
bool condition_holds(const struct condition *condition, uint64_t tag);

#endif
