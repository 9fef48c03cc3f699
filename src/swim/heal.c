/* Splits heal by themselves. memberlist forgets a dead member, and two halves of a
 * cluster never meet again unless someone joins them by hand. Here a member that
 * was declared dead stays in a bounded list (the node remembers it over restarts and
 * hands it back through swim_seek), and one of the list is pinged, by name, every few
 * probe intervals. If it answers, both sides exchange all they know.
 *
 * Their keys may have been changed meanwhile, and ours too: the pings are sealed by each
 * key of the ring in turn, and the exchange by the one that was understood.
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

void swim_lost_drop_blocked(struct swim *s)
{
    for (size_t i = s->lost_count; i-- > 0;)
        if (swim_is_blocked(s, s->lost[i].name, bytes_of(NULL, 0)))
            forget(s, i);
}

static void try_later(struct swim *s)
{
    timers_set(&s->timers, &s->heal_timer, s->now + SWIM_HEAL_PROBES * s->profile->probe_interval_ms);
}

void swim_heal_start(struct swim *s)
{
    if (s->lost_count > 0 && !timer_is_set(&s->heal_timer))
        try_later(s);
}

void swim_lost_add(struct swim *s, struct bytes name, const struct addr *addr)
{
    swim_lost_remove(s, name);
    if (s->lost_count == SWIM_LOST_MAX)
        forget(s, 0);
    s->lost[s->lost_count++] = (struct lost){.name = bytes_of(mem_copy(name.data, name.len), name.len),
                                             .addr = *addr};
    swim_heal_start(s);
}

void swim_seek(struct swim *s, uint64_t now_ms, struct bytes name, const struct addr *addr)
{
    s->now = now_ms;
    bool usable = name.len > 0 && name.len <= SWIM_NAME_MAX && (addr->len == 4 || addr->len == 16);
    if (usable && !members_find(&s->members, name) && !swim_is_blocked(s, name, bytes_of(NULL, 0)))
        swim_lost_add(s, name, addr);
}

size_t swim_sought_count(const struct swim *s)
{
    return s->lost_count;
}

struct bytes swim_sought_at(const struct swim *s, size_t at, struct addr *ret_addr)
{
    *ret_addr = s->lost[at].addr;
    return s->lost[at].name;
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
    size_t key_at = envelope_has_keys(&s->envelope) ? s->lost_pings++ % keyring_count(s->envelope.keys) : 0;
    swim_ping_lost(s, &s->lost[rng_below(&s->rng, s->lost_count)], key_at);
    try_later(s);
}

void swim_heal_answered(struct swim *s, const struct addr *at)
{
    swim_stream_open_by(s, at, s->heard_key);
}
