/* News about members: who is believed, and what follows (SWIM 4.2).
 *
 * Every piece of news carries the incarnation that its subject had. Only the
 * subject raises it, so that a higher one is always later news. At the same
 * incarnation, dead overrides suspect overrides alive. News that changes nothing
 * is not passed on; that ends every rumour.
 *
 *            alive(i > known)
 *       +-----------------------+
 *       v     suspect(i >=)     |      expiry, dead(i >=)
 *     alive ----------------> suspect ----------------> dead, or left
 *       |                                                ^  if it says so itself
 *       +------------------------------------------------+
 *       ^                dead(i >=)                      |
 *       +------------------------------------------------+
 *                        alive(i > known)
 */
#include "swim_state.h"

#define LAST_INCARNATION UINT32_MAX

/* No member can contradict news about the last incarnation there is: it would be
 * true for ever. */
static bool is_acceptable(struct swim *s, struct bytes name, uint32_t incarnation)
{
    if (name.len == 0 || name.len > SWIM_NAME_MAX)
        swim_count_one(s, COUNT_BAD_NAME);
    else if (incarnation == LAST_INCARNATION)
        swim_count_one(s, COUNT_BAD_INCARNATION);
    else
        return true;
    return false;
}

static void drop_suspicion(struct swim *s, struct member *member)
{
    timers_cancel(&s->timers, &member->suspicion.timer);
}

static struct bytes vsn_of(const struct member *member)
{
    return bytes_of(member->vsn, sizeof member->vsn);
}

/* Versions that were never told are not told on: all zero, they would be refused. */
static struct wire_alive alive_of(const struct member *member)
{
    static const uint8_t none[WIRE_VSN_LEN];
    bool told = memcmp(member->vsn, none, sizeof none) != 0;
    return (struct wire_alive){.addr = wire_ip(&member->addr),
                               .port = member->addr.port,
                               .meta = member->meta,
                               .node = member->name,
                               .vsn = told ? vsn_of(member) : bytes_of(NULL, 0),
                               .incarnation = member->incarnation};
}

void swim_announce(struct swim *s, struct member *member)
{
    swim_broadcast(s, member, &(struct wire_message){.type = WIRE_ALIVE, .alive = alive_of(member)});
}

void swim_raise_incarnation(struct swim *s, uint32_t above)
{
    struct member *self = s->members.self;
    if (above > self->incarnation)
        self->incarnation = above;
    if (self->incarnation < LAST_INCARNATION)
        self->incarnation++;
    swim_announce(s, self);
}

static void refute(struct swim *s, uint32_t accused, struct bytes by)
{
    swim_count_one(s, COUNT_REFUTATIONS);
    swim_health_add(s, 1);
    swim_raise_incarnation(s, accused);
    swim_tell(s, SWIM_REFUTED, s->members.self, by);
}

/* --- alive --- */

static void alive_about_us(struct swim *s, const struct wire_alive *news)
{
    const struct member *self = s->members.self;
    if (news->incarnation < self->incarnation)
        return;
    if (news->incarnation == self->incarnation && bytes_equal(news->meta, self->meta) &&
        bytes_equal(news->vsn, vsn_of(self)))
        return;
    refute(s, news->incarnation, bytes_of(NULL, 0));
}

static bool is_sane(struct swim *s, const struct wire_alive *news, struct addr *ret_addr)
{
    const uint8_t *vsn = news->vsn.data;
    /* Clusters of version 1 have one port, whatever news says. */
    bool one_port = s->members.self->vsn[2] == 1;
    uint16_t port = news->port && !one_port ? news->port : s->addr.port;
    if (!is_acceptable(s, news->node, news->incarnation))
        return false;
    if (wire_addr(news->addr, port, ret_addr) != OK)
        swim_count_one(s, COUNT_BAD_ADDRESS);
    else if (news->meta.len > SWIM_META_MAX)
        swim_count_one(s, COUNT_BAD_META);
    else if (news->vsn.len >= 3 && (vsn[0] == 0 || vsn[1] == 0 || vsn[0] > vsn[1]))
        swim_count_one(s, COUNT_BAD_VERSION);
    else if (swim_is_blocked(s, news->node, news->meta))
        swim_count_one(s, COUNT_BLOCKED);
    else
        return true;
    return false;
}

/* A known member at another address: believed when it is down, because its name
 * holds its replica's id and its incarnation survives restarts. One that left
 * (memberlist's members start again at 1) may come back with any incarnation. */
static bool may_move(const struct member *member, uint32_t incarnation)
{
    return member->state == MEMBER_LEFT ||
           (member->state == MEMBER_DEAD && incarnation > member->incarnation);
}

static void take_over(struct swim *s, struct member *member, bool is_new, const struct wire_alive *news,
                      const struct addr *addr)
{
    enum member_state was = member->state;
    uint64_t suspected_ms = was == MEMBER_SUSPECT ? s->now - member->since : 0;
    bool changed = !bytes_equal(member->meta, news->meta);
    member->addr = *addr;
    member->incarnation = news->incarnation;
    if (news->vsn.len >= WIRE_VSN_LEN)
        memcpy(member->vsn, news->vsn.data, WIRE_VSN_LEN);
    if (changed || (!member->meta.data && news->meta.data))
        member_set_meta(member, news->meta);
    members_set_state(&s->members, member, MEMBER_ALIVE, s->now);
    swim_announce(s, member);
    swim_lost_remove(s, member->name);
    if (was == MEMBER_DEAD || was == MEMBER_LEFT) {
        swim_tell_change(s, SWIM_JOINED, member, bytes_of(NULL, 0), is_new ? MEMBER_ALIVE : was, 0);
        return;
    }
    if (was == MEMBER_SUSPECT)
        swim_tell_change(s, SWIM_CLEARED, member, bytes_of(NULL, 0), was, suspected_ms);
    if (changed)
        swim_tell(s, SWIM_UPDATED, member, bytes_of(NULL, 0));
}

void swim_news_alive(struct swim *s, const struct wire_alive *news)
{
    struct addr addr;
    if (!is_sane(s, news, &addr))
        return;
    struct member *member = members_find(&s->members, news->node);
    if (member == s->members.self && s->leaving)
        return;
    bool is_new = !member, moves = false;
    if (is_new) {
        if (news->incarnation == 0) { /* an unknown member is held for dead at 0, and this is no newer */
            swim_count_one(s, COUNT_BAD_INCARNATION);
            return;
        }
        if (s->members.count >= SWIM_MEMBERS_MAX) {
            swim_count_one(s, COUNT_TABLE_FULL);
            return;
        }
        member = members_add(&s->members, news->node, s->now);
    } else if (!addr_equal(&member->addr, &addr)) {
        if (!may_move(member, news->incarnation)) {
            swim_count_one(s, COUNT_CONFLICTS);
            bool former_life = member == s->members.self && news->incarnation < member->incarnation;
            if (!former_life)
                swim_tell_conflict(s, member, &addr, news->incarnation);
            return;
        }
        moves = true; /* whatever its incarnation */
    }
    if (member == s->members.self) {
        alive_about_us(s, news);
        return;
    }
    if (!is_new && !moves && news->incarnation <= member->incarnation)
        return;
    drop_suspicion(s, member);
    take_over(s, member, is_new, news, &addr);
}

/* --- suspect and dead --- */

/* Old news about us still goes round: our newer incarnation did not reach whoever
 * says this. (memberlist stays silent; but we may be back at a new address, which
 * others accept only once they think the old one dead.) */
static void remind(struct swim *s, const struct member *member)
{
    struct member *self = s->members.self;
    if (member == self && !s->leaving && !broadcast_is_queued(&self->broadcast))
        swim_announce(s, self);
}

/* The member that the news is about, when it counts. */
static struct member *accused(struct swim *s, const struct wire_accusation *news)
{
    if (!is_acceptable(s, news->node, news->incarnation) || news->from.len > SWIM_NAME_MAX)
        return NULL;
    struct member *member = members_find(&s->members, news->node);
    if (member && news->incarnation < member->incarnation) {
        remind(s, member);
        return NULL;
    }
    return member;
}

void swim_news_suspect(struct swim *s, const struct wire_accusation *news)
{
    struct member *member = accused(s, news);
    struct wire_message message = {.type = WIRE_SUSPECT, .accusation = *news};
    if (!member)
        return;
    uint64_t accuser = members_hash(&s->members, news->from);
    struct suspicion *suspicion = &member->suspicion;
    if (timer_is_set(&suspicion->timer)) {
        if (suspicion_confirm(suspicion, accuser)) {
            timers_set(&s->timers, &suspicion->timer, suspicion_deadline(suspicion));
            swim_broadcast(s, member, &message);
        }
        return;
    }
    if (member->state != MEMBER_ALIVE)
        return;
    if (member == s->members.self) {
        refute(s, news->incarnation, news->from);
        return;
    }
    swim_broadcast(s, member, &message);
    member->incarnation = news->incarnation;
    members_set_state(&s->members, member, MEMBER_SUSPECT, s->now);
    suspicion->timer.kind = TIMER_SUSPICION;
    suspicion_start(suspicion, s->profile, swim_live_count(s), s->now, accuser);
    timers_set(&s->timers, &suspicion->timer, suspicion_deadline(suspicion));
    swim_tell_change(s, SWIM_SUSPECTED, member, news->from, MEMBER_ALIVE,
                     suspicion_deadline(suspicion) - s->now);
}

void swim_news_dead(struct swim *s, const struct wire_accusation *news)
{
    struct member *member = accused(s, news);
    if (!member)
        return;
    drop_suspicion(s, member);
    if (member->state == MEMBER_DEAD || member->state == MEMBER_LEFT)
        return;
    if (member == s->members.self && !s->leaving) {
        refute(s, news->incarnation, news->from);
        return;
    }
    swim_broadcast(s, member, &(struct wire_message){.type = WIRE_DEAD, .accusation = *news});
    member->incarnation = news->incarnation;
    bool left = bytes_equal(news->from, news->node);
    enum member_state was = member->state;
    uint64_t suspected_ms = was == MEMBER_SUSPECT ? s->now - member->since : 0;
    members_set_state(&s->members, member, left ? MEMBER_LEFT : MEMBER_DEAD, s->now);
    swim_path_reset(member);
    if (!left)
        swim_lost_add(s, member->name, &member->addr);
    if (member != s->members.self)
        swim_tell_change(s, left ? SWIM_LEFT : SWIM_DEAD, member, news->from, was, suspected_ms);
}

void swim_suspicion_expired(struct swim *s, struct member *member)
{
    drop_suspicion(s, member);
    swim_news_dead(s, &(struct wire_accusation){.node = member->name,
                                                .from = s->members.self->name,
                                                .incarnation = member->incarnation});
}

void swim_reap(struct swim *s)
{
    for (size_t i = s->members.gone.count; i > 0; i--) {
        struct member *member = s->members.gone.list[i - 1];
        if (s->now - member->since <= s->profile->gossip_to_the_dead_ms)
            continue;
        swim_tell(s, SWIM_REAPED, member, bytes_of(NULL, 0));
        broadcast_remove(&s->broadcasts, &member->broadcast);
        swim_probe_forget(s, member);
        members_remove(&s->members, member);
    }
}
