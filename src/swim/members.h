/* The table of members: by name, and in two lists.
 *
 * `live` holds the others thought alive or suspect, in the order in which they are
 * probed (SWIM 4.3: every member once a round, in random order); `gone` holds the
 * dead and the left until they are forgotten. A member is in the list that its
 * state asks for: members_set_state is the one way to change it. This node itself
 * is in neither. */
#ifndef YZMA_SWIM_MEMBERS_H
#define YZMA_SWIM_MEMBERS_H

#include "addr.h"
#include "broadcast.h"
#include "rng.h"
#include "suspicion.h"
#include "swim.h"

/* What is known of the way datagrams take between us and a member: path.c. */
struct path {
    bool to_blocked, from_blocked;
    unsigned missed;       /* probes in a row that only a helper or a stream saved */
    uint64_t missed_since; /* when the first of them that count began */
    uint64_t missed_again; /* .. and the first of the newer half */
    uint64_t heard_at;     /* its own last ping, as a datagram */
};

struct member {
    struct bytes name, meta; /* owned; the meta may be NULL: nil, as it came */
    struct addr addr;        /* as it came: others compare it byte by byte */
    uint8_t vsn[6];
    enum member_state state;
    uint32_t incarnation;
    uint64_t since; /* of the state */
    bool rtt_known;
    uint32_t rtt_us;
    struct path path;
    const char *error; /* a constant; NULL: none yet */
    uint64_t error_at;
    struct suspicion suspicion;
    struct broadcast broadcast;
    size_t place; /* in its list */
    uint64_t hash;
    struct member *next; /* in its bucket */
};

struct member_list {
    struct member **list;
    size_t count, room;
};

struct members {
    struct member *self;
    struct member_list live, gone;
    size_t probed; /* of the live list, this round */
    struct member **buckets;
    size_t bucket_count, count; /* self included */
    uint64_t salt;              /* of the hash: peers choose the names */
    struct rng *rng;
};

/* self: of incarnation 0 and alive, without address or meta. */
void members_init(struct members *m, struct rng *rng, struct bytes self, uint64_t now);
void members_done(struct members *m); /* broadcasts and timers are taken off before */

uint64_t members_hash(const struct members *m, struct bytes name);
struct member *members_find(const struct members *m, struct bytes name); /* NULL: unknown */
/* All of them in no order, ourselves at 0; at < count. */
struct member *members_at(const struct members *m, size_t at);
/* A new member, dead and of incarnation 0. */
struct member *members_add(struct members *m, struct bytes name, uint64_t now);
void members_remove(struct members *m, struct member *member); /* one that is gone */
void members_set_state(struct members *m, struct member *member, enum member_state state, uint64_t now);
void member_set_meta(struct member *member, struct bytes meta);

/* The next one to probe; NULL at the end of a round, which shuffles for the next. */
struct member *members_next_probe(struct members *m);

/* Up to max random members, each once, that the filter accepts; among the live
 * ones, or with gone among all others. */
typedef bool members_filter(const void *ctx, const struct member *member);
size_t members_pick(struct members *m, bool gone, members_filter *filter, const void *ctx, size_t max,
                    struct member **ret_picked);

#endif
