/* The start list: each start of a store appends (own counter then, 64 random
 * bits). Peers remember the list of every replica they met; a replica whose list
 * does not extend what a peer remembers was restored or cloned, and its dots
 * would be used twice. Only the newest STARTS_KEPT entries are kept, with the
 * number of all: two lists are compared where they overlap. */
#ifndef YZMA_CRDT_STARTS_H
#define YZMA_CRDT_STARTS_H

#include "dot.h"

enum { STARTS_KEPT = 64 };

struct start {
    uint64_t counter; /* the replica's own counter when it started */
    uint64_t random;
};

struct starts {
    uint64_t total; /* starts ever; entry i of the array is number total - count + i */
    size_t count;
    struct start entries[STARTS_KEPT];
};

void starts_append(struct starts *list, struct start start);
void starts_encode(const struct starts *list, struct buf *out);
enum err starts_decode(struct cursor *in, struct starts *ret) MUST_USE;

/* True when `newer` is `older` with nothing or something appended, as far as
 * both still show it. */
bool starts_extend(const struct starts *newer, const struct starts *older);

bool starts_same(const struct starts *a, const struct starts *b);

/* Of two lists that have parted: the one that all take for the original where nothing
 * else tells. Who has not started since is it; else chance decides, for all alike. */
bool starts_older(const struct starts *a, const struct starts *b);

/* May a replica that shows this list and this own counter be the one that is
 * remembered, later? Its list must extend the remembered one, and whatever it told
 * while that list was its own (told: the highest counter seen from itself) must lie
 * before its next start. Counters alone do not show it: an old state may have
 * counted up to the same number again. */
bool starts_follow(const struct starts *now, uint64_t counter_now, const struct starts *remembered,
                   uint64_t told);

/* The highest own counter up to which `mine` and `theirs` (a peer's memory of
 * this replica) surely tell of the same history: operations above it have to be
 * put again under a new id. counter_now is this replica's own counter. */
uint64_t starts_fork(const struct starts *mine, const struct starts *theirs, uint64_t counter_now);

#endif
