#include "profile.h"

const struct swim_profile swim_profile_lan = {
    .name = "lan",
    .tcp_timeout_ms = 10000,
    .indirect_checks = 3,
    .retransmit_mult = 4,
    .suspicion_mult = 4,
    .suspicion_max_timeout_mult = 6,
    .push_pull_interval_ms = 30000,
    .probe_timeout_ms = 500,
    .probe_interval_ms = 1000,
    .awareness_max = 8,
    .gossip_nodes = 3,
    .gossip_interval_ms = 200,
    .gossip_to_the_dead_ms = 30000,
};

const struct swim_profile swim_profile_wan = {
    .name = "wan",
    .tcp_timeout_ms = 30000,
    .indirect_checks = 3,
    .retransmit_mult = 4,
    .suspicion_mult = 6,
    .suspicion_max_timeout_mult = 6,
    .push_pull_interval_ms = 60000,
    .probe_timeout_ms = 3000,
    .probe_interval_ms = 5000,
    .awareness_max = 8,
    .gossip_nodes = 4,
    .gossip_interval_ms = 500,
    .gossip_to_the_dead_ms = 60000,
};

const struct swim_profile swim_profile_local = {
    .name = "local",
    .tcp_timeout_ms = 1000,
    .indirect_checks = 1,
    .retransmit_mult = 2,
    .suspicion_mult = 3,
    .suspicion_max_timeout_mult = 6,
    .push_pull_interval_ms = 15000,
    .probe_timeout_ms = 200,
    .probe_interval_ms = 1000,
    .awareness_max = 8,
    .gossip_nodes = 3,
    .gossip_interval_ms = 100,
    .gossip_to_the_dead_ms = 15000,
};

const struct swim_profile *swim_profile(const char *name)
{
    static const struct swim_profile *const all[] = {&swim_profile_lan, &swim_profile_wan,
                                                     &swim_profile_local};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

uint64_t log10_milli(uint64_t n)
{
    /* The decimal digits of log10: the tenth power of the mantissa (in [1, 10))
     * has as many digits in front as the next decimal says. Without libm, so that
     * every machine computes the same. */
    uint64_t whole = 0;
    double mantissa = (double)n;
    for (; mantissa >= 10; mantissa /= 10)
        whole++;
    uint64_t milli = whole;
    for (int decimal = 0; decimal < 3; decimal++) {
        double square = mantissa * mantissa, fourth = square * square;
        mantissa = fourth * fourth * square;
        milli *= 10;
        for (; mantissa >= 10; mantissa /= 10)
            milli++;
    }
    return n ? milli : 0;
}

unsigned retransmit_limit(const struct swim_profile *profile, size_t n)
{
    unsigned digits = 0; /* ceil(log10(n + 1)): the digits of n, and 0 has none */
    for (; n > 0; n /= 10)
        digits++;
    return profile->retransmit_mult * digits;
}

uint64_t push_pull_interval_ms(const struct swim_profile *profile, size_t n)
{
    unsigned factor = 1;
    for (size_t reach = 32; reach < n && factor < 60; reach *= 2)
        factor++;
    return (uint64_t)profile->push_pull_interval_ms * factor;
}
