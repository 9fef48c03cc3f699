/* Splits heal by themselves. memberlist forgets a dead member, and two halves of a
 * cluster never meet again unless someone joins them by hand. Here a member that
 * was declared dead stays in a bounded list, and one of the list is pinged, by
 * name, every few probe intervals. If it answers, both sides exchange all they know.
 *
 * One exchange is enough: those whom the other side has forgotten are new to it;
 * those whom it holds for dead hear so, contradict, and gossip that to the dead. */
#include "swim_state.h"

#include "mem.h"

#include <stdlib.h>

static void forget(struct swim *s, size_t at)
{
    free((void *)s->lost[at].name.data);
    s->lost_count--;
    memmove(s->lost + at, s->lost + at + 1, (s->lost_count - at) * sizeof *s->lost);
}

void swim_lost_remove(struct swim *s, struct bytes name)
{
    for (size_t i = 0; i < s->lost_count; i++) {
        if (bytes_equal(s->lost[i].name, name)) {
            forget(s, i);
            return;
        }
    }
}

static void try_later(struct swim *s)
{
    timers_set(&s->timers, &s->heal_timer, s->now + SWIM_HEAL_PROBES * s->profile->probe_interval_ms);
}

void swim_lost_add(struct swim *s, const struct member *member)
{
    swim_lost_remove(s, member->name);
    if (s->lost_count == SWIM_LOST_MAX)
        forget(s, 0);
    s->lost[s->lost_count++] = (struct lost){
        .name = bytes_of(mem_copy(member->name.data, member->name.len), member->name.len),
        .addr = member->addr};
    if (!timer_is_set(&s->heal_timer))
        try_later(s);
}

void swim_lost_done(struct swim *s)
{
    while (s->lost_count > 0)
        forget(s, s->lost_count - 1);
}

void swim_heal_tick(struct swim *s)
{
    if (s->lost_count == 0 || s->leaving)
        return;
    swim_ping_lost(s, &s->lost[rng_below(&s->rng, s->lost_count)]);
    try_later(s);
}

void swim_heal_answered(struct swim *s, const struct addr *at)
{
    swim_stream_open(s, ROLE_SYNC, at, 0, NULL);
}
