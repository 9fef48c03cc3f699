/* How long a suspicion lasts (Lifeguard IV-B): it starts long, and every further
 * member that suspects the same shortens it.
 *
 *   k   = suspicion_mult - 2, but 0 if n - 2 < k: confirmations worth waiting for
 *   min = suspicion_mult * max(1, log10 n) * probe interval
 *   max = suspicion_max_timeout_mult * min
 *   after c confirmations: max - (max - min) * ln(c + 1) / ln(k + 1), but min if k is 0
 *
 * n counts this node and the members thought alive or suspect. (memberlist counts
 * dead ones too until it forgets them, and so waits for confirmations that nobody
 * is left to give.) */
#ifndef YZMA_SWIM_SUSPICION_H
#define YZMA_SWIM_SUSPICION_H

#include "profile.h"
#include "timers.h"

enum { SUSPICION_CONFIRMATIONS_MAX = 6 };

struct suspicion {
    struct timer timer; /* set while the suspicion runs */
    uint64_t start, min_ms, max_ms;
    unsigned k, confirmations;
    uint64_t accusers[SUSPICION_CONFIRMATIONS_MAX + 1]; /* hashes of their names; the first one began it */
};

/* Fills everything but the timer, which the caller sets to suspicion_deadline. */
void suspicion_start(struct suspicion *s, const struct swim_profile *profile, size_t n, uint64_t now,
                     uint64_t accuser);
/* True if this accuser is new and still counts: the deadline is then nearer. */
bool suspicion_confirm(struct suspicion *s, uint64_t accuser);
uint64_t suspicion_deadline(const struct suspicion *s);

#endif
