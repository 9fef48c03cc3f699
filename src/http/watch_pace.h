/* When the feed takes its next round (watch_feed.c). Pure: times come in.
 *
 * To a few streams what is new is sent at once; rounds begin 10 ms apart, at least. But a
 * round over a thousand is a thousand sends, some 8 ms of a core, and one in each 10 ms
 * takes that core from those who write. So sends have a share of a core, a fifth: after a
 * round that cost more the feed rests, and what is committed meanwhile goes with the next
 * one, for the same number of sends.
 *
 * The rest puts events off and loses no ground: a feed that is behind, with more to read
 * than one round gives, does not rest. */
#ifndef YZMA_HTTP_WATCH_PACE_H
#define YZMA_HTTP_WATCH_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WATCH_PAUSE_MS = 10,     /* events within it may come together */
    WATCH_SEND_PERCENT = 20, /* of a core, for sends. At 100 p99 of writes beside 1,000 streams was 1.2 to
                              * 1.6 times what it is without, at 30 0.87 and 1.13, at 20 and 10 about 1 */
    WATCH_REST_MAX_MS = 250, /* reached with some 8,000 streams */
};

/* Zeroed: nothing was done yet. */
struct watch_pace {
    uint64_t begun_ms, rest_until_ms;
};

/* A round begins. */
void watch_pace_begin(struct watch_pace *pace, uint64_t at_ms);
/* What was new has been sent, at the cost of so much CPU time. */
void watch_pace_sent(struct watch_pace *pace, uint64_t at_ms, uint64_t spent_us);
/* The earliest time of the next round. behind: more is new than the last one gave.
 * others: streams wait that read by themselves. */
uint64_t watch_pace_next(const struct watch_pace *pace, bool behind, bool others);

#endif
