#include "suspicion.h"

#include "check.h"

void suspicion_start(struct suspicion *s, const struct swim_profile *profile, size_t n, uint64_t now,
                     uint64_t accuser)
{
    unsigned k = profile->suspicion_mult > 2 ? profile->suspicion_mult - 2 : 0;
    CHECK(k <= SUSPICION_CONFIRMATIONS_MAX);
    uint64_t scale = log10_milli(n);
    s->start = now;
    s->min_ms = (uint64_t)profile->suspicion_mult * (scale > 1000 ? scale : 1000) *
                profile->probe_interval_ms / 1000;
    s->max_ms = s->min_ms * profile->suspicion_max_timeout_mult;
    s->k = n < k + 2u || profile->no_shrinking_suspicions ? 0 : k;
    s->confirmations = 0;
    s->accusers[0] = accuser;
}

bool suspicion_confirm(struct suspicion *s, uint64_t accuser)
{
    if (s->confirmations >= s->k)
        return false;
    for (unsigned i = 0; i <= s->confirmations; i++)
        if (s->accusers[i] == accuser)
            return false;
    s->accusers[++s->confirmations] = accuser;
    return true;
}

uint64_t suspicion_deadline(const struct suspicion *s)
{
    static const double ln[SUSPICION_CONFIRMATIONS_MAX + 2] = {
        [1] = 0,
        [2] = 0.69314718055994531,
        [3] = 1.09861228866810969,
        [4] = 1.38629436111989062,
        [5] = 1.60943791243410037,
        [6] = 1.79175946922805500,
        [7] = 1.94591014905531331,
    };
    if (s->k < 1)
        return s->start + s->min_ms;
    double shrunk = (double)s->max_ms -
                    (double)(s->max_ms - s->min_ms) * (ln[s->confirmations + 1] / ln[s->k + 1]);
    uint64_t timeout = (uint64_t)shrunk;
    return s->start + (timeout > s->min_ms ? timeout : s->min_ms);
}
