/* The timing of a cluster: memberlist's three ready-made sets, and what grows
 * with the number of members. */
#ifndef YZMA_SWIM_PROFILE_H
#define YZMA_SWIM_PROFILE_H

#include "bytes.h"

struct swim_profile {
    const char *name;
    uint32_t tcp_timeout_ms;
    uint32_t indirect_checks; /* helpers asked when a ping stays unanswered */
    uint32_t retransmit_mult;
    uint32_t suspicion_mult; /* suspicion_min = mult * max(1, log10 n) * probe interval */
    uint32_t suspicion_max_timeout_mult;
    uint32_t push_pull_interval_ms;
    uint32_t probe_timeout_ms;
    uint32_t probe_interval_ms;
    uint32_t awareness_max; /* the health score stays below it */
    uint32_t gossip_nodes;
    uint32_t gossip_interval_ms;
    uint32_t gossip_to_the_dead_ms; /* then a dead member is forgotten */
    /* Lifeguard's three parts can be left out, to measure what they are worth: for
     * the simulator only. */
    bool no_local_health;         /* IV-A: the score stays 0, no nacks are asked for */
    bool no_shrinking_suspicions; /* IV-B: every suspicion takes suspicion_min */
    bool no_buddy;                /* IV-C: a suspect is pinged like anyone */
};

extern const struct swim_profile swim_profile_lan, swim_profile_wan, swim_profile_local;

/* "lan", "wan" or "local"; NULL for any other name. */
const struct swim_profile *swim_profile(const char *name);

/* 1000 * log10(n), rounded down; 0 for n below 1. */
uint64_t log10_milli(uint64_t n);
/* How often a broadcast is sent in a cluster of n: mult * ceil(log10(n + 1)). */
unsigned retransmit_limit(const struct swim_profile *profile, size_t n);
/* Push/pull slows down above 32 members: interval * (ceil(log2 n - 5) + 1). */
uint64_t push_pull_interval_ms(const struct swim_profile *profile, size_t n);

#endif
