/* What should be: every operation that clients ever made, by number, and what each
 * removed of what it saw. A version is known by its value, which begins with the
 * operation's number, and where it expires by that moment, whose low bits are the number
 * (a touch leaves the value as it was): so it is the same version under whatever dot. */
#ifndef YZMA_SIM_ORACLE_H
#define YZMA_SIM_ORACLE_H

#include "record.h"

enum { ORACLE_OPS = 1024, ORACLE_KEYS = 16 };

struct set { /* of operations */
    uint64_t words[ORACLE_OPS / 64];
};

static inline bool set_has(const struct set *set, size_t op)
{
    return set->words[op / 64] >> op % 64 & 1;
}
static inline void set_add(struct set *set, size_t op)
{
    set->words[op / 64] |= (uint64_t)1 << op % 64;
}
static inline void set_unite(struct set *set, const struct set *other)
{
    for (size_t i = 0; i < ORACLE_OPS / 64; i++)
        set->words[i] |= other->words[i];
}
static inline size_t set_count(const struct set *set)
{
    size_t count = 0;
    for (size_t i = 0; i < ORACLE_OPS / 64; i++)
        for (uint64_t rest = set->words[i]; rest; rest &= rest - 1)
            count++;
    return count;
}
static inline struct set set_without(const struct set *a, const struct set *b)
{
    struct set rest;
    for (size_t i = 0; i < ORACLE_OPS / 64; i++)
        rest.words[i] = a->words[i] & ~b->words[i];
    return rest;
}
static inline bool set_empty(const struct set *set)
{
    for (size_t i = 0; i < ORACLE_OPS / 64; i++)
        if (set->words[i])
            return false;
    return true;
}
/* The first that both have; -1: none. */
ptrdiff_t set_common(const struct set *a, const struct set *b);
/* The first that a has and b has not; -1: none. */
ptrdiff_t set_beyond(const struct set *a, const struct set *b);

enum op_state {
    OP_ASKED, /* made; no node has done it */
    OP_DOUBT, /* a commit failed or was cut off: it may be found at the next start */
    OP_DONE,  /* acknowledged, or found after a doubt */
    OP_VOID,  /* surely not */
};

struct op {
    enum op_state state;
    size_t key;
    bool put;
    bool dropped; /* by a store, as its time was over: from then on it may be anywhere or nowhere */
    uint64_t expires_ms;
    int host;
    struct dot dot;
    bool twice;               /* its dot was given out to another one, too */
    bool put_again;           /* under another dot: then dots and contexts of others may tell otherwise */
    bool may_be_lost;         /* went with the only disk that surely had it; halves of it may live on */
    struct set removed, dead; /* what it replaced; and what those had replaced, and so on */
};

struct oracle {
    bool strict; /* what has a dot that was given out twice is held to its promises, too */
    size_t key_count, op_count;
    struct op ops[ORACLE_OPS]; /* from 1; 0 is none */
};

/* What has been seen at a host. */
struct host_view {
    struct set held[ORACLE_KEYS];
    bool damaged[ORACLE_KEYS];   /* the record cannot be read; held is what it was */
    uint64_t marks[ORACLE_KEYS]; /* of the records that hold them: length and checksum; 0: none */
    struct set gone;             /* removed here, or known here as removed: none of these comes back */
    struct set covered;          /* operations that the clock claims */
    struct clock clock, floor;
    struct replica_id id;
};

/* The number of the operation that wrote this value; 0: none of ours did. */
size_t value_number(struct bytes value);
/* Of this version: its writer, or who touched it last. */
size_t version_number(const struct version *version);
/* The moment nearest to this one, and not above it, that tells the operation's number. */
uint64_t expiry_of(uint64_t moment_ms, size_t op);
struct bytes key_bytes(size_t key); /* of the number: "k00".. */

void host_view_copy(struct host_view *to, const struct host_view *from);
void host_view_done(struct host_view *view);

/* 0 when there is no room for more. */
size_t oracle_new(struct oracle *o, size_t key, bool put, int host);
void oracle_done(struct oracle *o, size_t op, const struct dot *dot, const struct set *removed, bool doubt);
/* Everything that some operation removed: surely, or perhaps (so what was dropped). */
void oracle_removed(const struct oracle *o, struct set *ret_surely, struct set *ret_perhaps);
bool oracle_removed_by_any(const struct oracle *o, size_t op);
struct set oracle_dropped(const struct oracle *o);
/* .. and what two nodes need not hold alike: what is over each drops in its own time, and
 * of two operations with one dot nothing is promised. */
struct set oracle_not_compared(const struct oracle *o);

#endif
