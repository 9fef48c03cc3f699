/* What a peer tells of its wall clock, and how much of it is to be believed.
 *
 * It tells the time when a link comes up, and every minute, one way. Such a message may
 * come late: a network that stalls, bulk before it in the queue, a process that stood still,
 * a link that was not read for hours because this node was paused. One that was under way
 * for a second makes the peer's clock look a second behind; none makes it look ahead. Hence
 *
 *   - each says how far the peer's clock is ahead of ours at least, and of those of the
 *     last two periods the highest counts (NTP's clock filter prefers the sample with the least
 *     delay, RFC 5905, 10: of these it is that one). So a clock that was set back is found
 *     out a minute later than one that was set forward, and a single late message says nothing;
 *   - the first of a link comes in answer to our hello, and so was under way no longer than
 *     that round trip took (Cristian 1989). Where that was short nothing that was told before
 *     counts; and by so much the clock may be further ahead than it looks, on that link.
 *
 * In between it is reckoned by our monotonic clock, so that a jump of our own wall clock shows
 * at once. */
#ifndef YZMA_SYNC_WALL_H
#define YZMA_SYNC_WALL_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WALL_TELL_MS = 60000,
    WALL_PERIOD_MS = 50000, /* less than that: what comes in time begins one of its own */
};

struct wall {
    unsigned periods;  /* in which something was told, 2 at most; 0: it has told nothing since our start */
    uint64_t began_ms; /* the present one, on the monotonic clock */
    int64_t
        least[2]; /* its wall clock less our monotonic one, at least: in the present one, in the one before */
    uint64_t late_ms_max; /* as long a message may have been under way: the link's first round trip */
};

/* The first message of a link, which came so long after our hello. */
void wall_link(struct wall *wall, uint64_t round_trip_ms, uint64_t skew_max_ms);
void wall_told(struct wall *wall, uint64_t now_ms, uint64_t told_ms);
/* How far it is ahead of ours, at least. Something must have been told. */
int64_t wall_ahead(const struct wall *wall, uint64_t now_ms, uint64_t wall_ms);

enum wall_verdict {
    WALL_UNKNOWN, /* nothing was told; or it looks too far behind, and that may be lateness */
    WALL_AGREES,
    WALL_DIFFERS, /* by more than skew_max_ms */
};

enum wall_verdict wall_judge(const struct wall *wall, uint64_t now_ms, uint64_t wall_ms,
                             uint64_t skew_max_ms);

#endif
