/* SWIM, as hashicorp/memberlist speaks it: the whole story on a page.
 *
 * Every node keeps a table of all members (members.c). It is filled and kept true
 * by four things that go on at once:
 *
 *  1. Probing (probe.c). Once per probe interval one member is pinged; who does not
 *     answer, neither directly nor through others nor over TCP, is suspected.
 *  2. Suspicion (suspicion.c). A suspect has some time to contradict. The time is
 *     long at first and shrinks with every other member that suspects it too. When
 *     it is over, the member is dead.
 *  3. Gossip (gossip.c, broadcast.c). News that changes a table is passed on: with
 *     every ping and ack, and in packets of its own, a logarithmic number of times.
 *     So all hear of it within a few rounds, whatever is lost.
 *  4. Push/pull (exchange.c, pushpull.c). Now and then, and at a join, two nodes
 *     exchange whole tables over TCP: what gossip missed comes this way.
 *
 * What is believed stands in rules.c. News is ordered by the incarnation of its
 * subject, a number that only the subject raises, and it does so to contradict:
 * "suspect, incarnation 4" is answered by "alive, incarnation 5".
 *
 * Lifeguard's three additions are here: the health score that makes a node patient
 * when it may itself be the slow one (probe.c), suspicions that shrink (suspicion.c),
 * and telling a suspect at once that it is suspected (gossip.c).
 *
 * Where we depart from memberlist, in a way that its members do not mind:
 *
 *  - Members at a new address. memberlist refuses an alive message that moves a
 *    member, until it has been dead for a time that is "for ever" by default. Our
 *    names hold the replica's id, so that the same name is the same replica: one that
 *    is down may come back anywhere (rules.c, may_move), and one that has proven itself
 *    to replication is believed at once (swim_readdress).
 *  - The own incarnation survives restarts: SWIM_REFUTED tells every rise, the node
 *    remembers it and starts above it. So a restart is news at once, where
 *    memberlist's starts again at 1 and must first hear its own obituary.
 *  - Stale entries do not slow down detection: n in the suspicion formulas counts
 *    who is alive or suspect. memberlist counts the dead as well, and then waits for
 *    confirmations that nobody is left to give.
 *  - Splits heal by themselves (heal.c): dead members are pinged at a low rate, also
 *    long after they were forgotten. memberlist leaves that to its users.
 *  - Stale accusations of ourselves are answered with our alive message again
 *    (rules.c, remind), and incarnation 2^32-1 is believed of nobody: it could never be
 *    contradicted.
 *  - News is handled in the order in which it comes; memberlist's queues are last in,
 *    first out.
 *
 * What goes out is sealed by a key and marked by a label, where there are any
 * (envelope.c); what comes in must be, too.
 *
 * No function here knows a clock, a socket or a random source: time comes with every
 * event, effects go out through a list, and randomness flows from the seed. */
#include "swim_state.h"

#include "check.h"
#include "mem.h"

#include <stdlib.h>

static const uint8_t default_vsn[WIRE_VSN_LEN] = {1, 5, 2, 0, 0, 0};

const char *member_state_text(enum member_state state)
{
    static const char *const texts[] = {"alive", "suspect", "dead", "left"};
    return texts[state];
}

/* --- making and freeing --- */

static void start_timers(struct swim *s, uint64_t now)
{
    const struct swim_profile *p = s->profile;
    s->gossip_phase = (now + rng_below(&s->rng, p->gossip_interval_ms)) % p->gossip_interval_ms;
    s->gossip_timer.kind = TIMER_GOSSIP;
    s->probe_tick_timer.kind = TIMER_PROBE_TICK;
    s->push_pull_timer.kind = TIMER_PUSH_PULL;
    s->heal_timer.kind = TIMER_HEAL;
    timers_set(&s->timers, &s->probe_tick_timer,
               now + p->probe_interval_ms + rng_below(&s->rng, p->probe_interval_ms));
    timers_set(&s->timers, &s->push_pull_timer,
               now + p->push_pull_interval_ms + rng_below(&s->rng, p->push_pull_interval_ms));
}

struct swim *swim_new(const struct swim_config *config, uint64_t now_ms)
{
    CHECK(config->name.len > 0 && config->name.len <= SWIM_NAME_MAX);
    CHECK(config->meta.len <= SWIM_META_MAX);
    CHECK(config->self.len == 4 || config->self.len == 16);
    CHECK(config->new_stream != NULL);
    struct swim *s = mem_new(sizeof *s);
    s->profile = config->profile ? config->profile : &swim_profile_lan;
    CHECK(s->profile->indirect_checks <= SWIM_CHECKS_MAX && s->profile->gossip_nodes <= SWIM_CHECKS_MAX);
    s->addr = config->self;
    s->compress = !config->no_compression;
    CHECK(config->label.len <= LABEL_MAX);
    if (config->label.len)
        memcpy(s->label, config->label.data, config->label.len);
    s->envelope = (struct envelope){.keys = config->keys,
                                    .label = bytes_of(s->label, config->label.len),
                                    .takes_plain = config->takes_unsealed,
                                    .sends_plain = config->sends_unsealed};
    s->ctx = config->ctx;
    s->blocked = config->blocked;
    s->id_len = config->id_len;
    s->new_stream = config->new_stream;
    s->now = now_ms;
    rng_init(&s->rng, config->seed);
    s->next_seq = (uint32_t)rng_next(&s->rng); /* answers to a former life do not fit */
    members_init(&s->members, &s->rng, config->name, now_ms);
    start_timers(s, now_ms);

    static const uint8_t no_vsn[WIRE_VSN_LEN];
    struct member *self = s->members.self;
    bool given = memcmp(config->vsn, no_vsn, sizeof no_vsn) != 0;
    memcpy(self->vsn, given ? config->vsn : default_vsn, sizeof self->vsn);
    /* Who speaks version 1 pads what it seals, as the oldest members expect. */
    s->envelope.seal_version = self->vsn[2] == 1 ? SEAL_VERSION_PADDED : SEAL_VERSION;
    self->addr = config->self;
    self->incarnation = config->incarnation ? config->incarnation : 1;
    member_set_meta(self,
                    bytes_of(config->meta.len ? (const void *)config->meta.data : "", config->meta.len));
    swim_announce(s, self);
    return s;
}

static void remove_broadcasts(struct swim *s, const struct member_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        broadcast_remove(&s->broadcasts, &list->list[i]->broadcast);
}

void swim_free(struct swim *s)
{
    if (!s)
        return;
    swim_streams_done(s);
    swim_relays_done(s);
    swim_lost_done(s);
    remove_broadcasts(s, &s->members.live);
    remove_broadcasts(s, &s->members.gone);
    broadcast_remove(&s->broadcasts, &s->members.self->broadcast);
    broadcasts_done(&s->broadcasts);
    members_done(&s->members);
    timers_done(&s->timers);
    for (struct swim_event event; swim_next_event(s, &event);)
        swim_event_done(&event);
    free(s->events);
    free(s);
}

void swim_know(struct swim *s, const struct swim_member *known)
{
    CHECK(!members_find(&s->members, known->name) && s->members.count < SWIM_MEMBERS_MAX);
    struct member *member = members_add(&s->members, known->name, s->now);
    member->addr = known->addr;
    member->incarnation = known->incarnation;
    memcpy(member->vsn, known->vsn, sizeof member->vsn);
    member_set_meta(member, known->meta);
    members_set_state(&s->members, member, MEMBER_ALIVE, s->now);
}

/* --- time --- */

uint64_t swim_deadline(const struct swim *s)
{
    return timers_deadline(&s->timers);
}

void swim_fine_time(struct swim *s, uint64_t now_us)
{
    s->fine_us = now_us;
}

uint64_t swim_now_us(const struct swim *s)
{
    return s->fine_us / 1000 == s->now ? s->fine_us : s->now * 1000;
}

static void run_timer(struct swim *s, struct timer *timer)
{
    timers_cancel(&s->timers, timer);
    switch ((enum swim_timer)timer->kind) {
    case TIMER_GOSSIP:
        swim_gossip(s);
        break;
    case TIMER_PROBE_TICK:
        swim_probe_tick(s);
        break;
    case TIMER_PROBE:
        swim_probe_timeout(s);
        break;
    case TIMER_PUSH_PULL:
        swim_push_pull_tick(s);
        break;
    case TIMER_HEAL:
        swim_heal_tick(s);
        break;
    case TIMER_SUSPICION:
        swim_suspicion_expired(s, container_of(timer, struct member, suspicion.timer));
        break;
    case TIMER_RELAY:
        swim_relay_timeout(s, container_of(timer, struct relay, timer));
        break;
    case TIMER_STREAM:
        swim_stream_timeout(s, timer);
        break;
    }
}

void swim_tick(struct swim *s, uint64_t now_ms, struct effects *out)
{
    s->now = now_ms;
    s->out = out;
    for (struct timer *timer; (timer = timers_first(&s->timers)) != NULL && timer->at <= now_ms;)
        run_timer(s, timer);
}

/* --- what the node asks for --- */

/* Back from a leave: a member again, with news that overrides the goodbye. */
static void come_back(struct swim *s)
{
    struct member *self = s->members.self;
    s->leaving = false;
    if (!timer_is_set(&s->probe_tick_timer)) /* it was at rest */
        start_timers(s, s->now);
    swim_heal_start(s);
    members_set_state(&s->members, self, MEMBER_ALIVE, s->now);
    swim_raise_incarnation(s, self->incarnation);
    swim_tell(s, SWIM_REFUTED, self, bytes_of(NULL, 0));
}

void swim_join(struct swim *s, uint64_t now_ms, uint64_t ticket, const struct addr *to, struct effects *out)
{
    s->now = now_ms;
    s->out = out;
    if (s->leaving)
        come_back(s);
    if (addr_equal(to, &s->addr))
        swim_tell_join(s, ticket, ERR_REFUSED, bytes_str("that is this node itself"), 0);
    else if (!swim_stream_open(s, ROLE_JOIN, to, ticket, NULL))
        swim_tell_join(s, ticket, ERR_TOO_LARGE, bytes_str("too many connections at once"), 0);
}

void swim_leave(struct swim *s, uint64_t now_ms, struct effects *out)
{
    struct member *self = s->members.self;
    s->now = now_ms;
    s->out = out;
    if (s->leaving)
        return;
    s->leaving = true;
    swim_news_dead(s, &(struct wire_accusation){
                          .from = self->name, .node = self->name, .incarnation = self->incarnation});
}

bool swim_left_done(const struct swim *s)
{
    return s->leaving && (s->members.live.count == 0 || !broadcast_is_queued(&s->members.self->broadcast));
}

void swim_set_meta(struct swim *s, uint64_t now_ms, struct bytes meta, struct effects *out)
{
    struct member *self = s->members.self;
    CHECK(meta.len <= SWIM_META_MAX);
    s->now = now_ms;
    s->out = out;
    if (bytes_equal(meta, self->meta))
        return;
    member_set_meta(self, bytes_of(meta.len ? (const void *)meta.data : "", meta.len));
    if (s->leaving)
        return;
    swim_raise_incarnation(s, self->incarnation);
    swim_tell(s, SWIM_REFUTED, self, bytes_of(NULL, 0));
}

static void take_off(struct swim *s, struct member *member)
{
    swim_probe_forget(s, member);
    timers_cancel(&s->timers, &member->suspicion.timer);
    broadcast_remove(&s->broadcasts, &member->broadcast);
    members_set_state(&s->members, member, MEMBER_DEAD, s->now); /* into the list of those that may go */
    members_remove(&s->members, member);
}

void swim_rest(struct swim *s, uint64_t now_ms, struct effects *out)
{
    s->now = now_ms;
    s->out = out;
    CHECK(s->leaving);
    swim_streams_close(s);
    swim_relays_done(s);
    swim_lost_done(s);
    while (s->members.count > 1)
        take_off(s, members_at(&s->members, s->members.count - 1));
    broadcast_remove(&s->broadcasts, &s->members.self->broadcast);
    timers_cancel(&s->timers, &s->gossip_timer);
    timers_cancel(&s->timers, &s->probe_tick_timer);
    timers_cancel(&s->timers, &s->push_pull_timer);
    timers_cancel(&s->timers, &s->heal_timer);
}

void swim_blocks_changed(struct swim *s, uint64_t now_ms, struct effects *out)
{
    s->now = now_ms;
    s->out = out;
    swim_lost_drop_blocked(s);
    for (size_t i = s->members.count; i-- > 1;) { /* 0 is this node; one that goes changes places */
        struct member *member = members_at(&s->members, i);
        if (swim_is_blocked(s, member->name, member->meta)) {
            swim_tell(s, SWIM_BLOCKED, member, bytes_of(NULL, 0));
            take_off(s, member);
            i = s->members.count;
        }
    }
}

void swim_readdress(struct swim *s, uint64_t now_ms, struct bytes name, const struct addr *addr,
                    struct effects *out)
{
    s->now = now_ms;
    s->out = out;
    struct member *member = members_find(&s->members, name);
    if (!member || member == s->members.self || s->leaving)
        return;
    enum member_state was = member->state;
    bool was_gone = was == MEMBER_DEAD || was == MEMBER_LEFT;
    if (addr_equal(&member->addr, addr)) {
        if (was == MEMBER_DEAD) /* it shall hear of that, and contradict */
            swim_stream_open(s, ROLE_SYNC, addr, 0, NULL);
        return;
    }
    timers_cancel(&s->timers, &member->suspicion.timer);
    swim_path_reset(member);
    member->addr = *addr;
    members_set_state(&s->members, member, MEMBER_ALIVE, s->now);
    swim_announce(s, member);
    swim_lost_remove(s, name);
    swim_tell_change(s, was_gone ? SWIM_JOINED : SWIM_UPDATED, member, bytes_of(NULL, 0), was, 0);
    swim_stream_open(s, ROLE_SYNC, addr, 0, NULL); /* for its incarnation, and all else it knows */
}

/* --- what the node is told --- */

static struct bytes place_bytes(uint8_t **at, struct bytes bytes)
{
    struct bytes placed = bytes_of(*at, bytes.len);
    if (bytes.len)
        memcpy(*at, bytes.data, bytes.len);
    *at += bytes.len;
    return placed;
}

/* Copies what the event points to into one block of its own. */
static void queue_event(struct swim *s, struct swim_event event, struct bytes text)
{
    uint8_t *at = mem_new(event.name.len + event.meta.len + event.by.len + event.payload.len + text.len + 1);
    event.memory = at;
    event.name = place_bytes(&at, event.name);
    event.meta = place_bytes(&at, event.meta);
    event.by = place_bytes(&at, event.by);
    event.payload = place_bytes(&at, event.payload);
    event.text = (const char *)place_bytes(&at, text).data; /* the block ends with a NUL */
    if (s->events_first + s->events_count == s->events_room) {
        s->events_room = s->events_room ? s->events_room * 2 : 16;
        s->events = mem_grow(s->events, s->events_room * sizeof *s->events);
    }
    s->events[s->events_first + s->events_count++] = event;
}

void swim_tell_change(struct swim *s, enum swim_event_kind kind, const struct member *member, struct bytes by,
                      enum member_state was, uint64_t lasts_ms)
{
    queue_event(s,
                (struct swim_event){.kind = kind,
                                    .name = member->name,
                                    .meta = member->meta,
                                    .by = by,
                                    .addr = member->addr,
                                    .was = was,
                                    .lasts_ms = lasts_ms,
                                    .error = member->error_at == s->now ? member->error : NULL,
                                    .incarnation = member->incarnation},
                bytes_of(NULL, 0));
}

void swim_tell(struct swim *s, enum swim_event_kind kind, const struct member *member, struct bytes by)
{
    swim_tell_change(s, kind, member, by, member->state, 0);
}

/* False if the same was said a moment ago, or too much altogether: who is there decides
 * how often it comes, and perhaps from which address. */
static bool is_worth_saying(struct swim *s, const struct addr *addr, struct bytes about)
{
    struct addr whose = addr_unmapped(*addr);
    uint64_t hash = members_hash(&s->members, bytes_of(whose.ip, whose.len)) * 31 +
                    members_hash(&s->members, about);
    struct said *old = NULL;
    for (size_t i = 0; i < SWIM_SAID_MAX; i++) {
        struct said *said = &s->said[i];
        if (said->hash == 0 || s->now - said->at >= SWIM_SAID_AGAIN_MS)
            old = said;
        else if (said->hash == hash)
            return false;
    }
    if (old)
        *old = (struct said){.hash = hash, .at = s->now};
    return old != NULL;
}

void swim_tell_conflict(struct swim *s, const struct member *member, const struct addr *addr,
                        uint32_t incarnation)
{
    if (is_worth_saying(s, addr, member->name))
        queue_event(s,
                    (struct swim_event){.kind = SWIM_CONFLICT,
                                        .name = member->name,
                                        .meta = member->meta,
                                        .addr = *addr,
                                        .known = member->addr,
                                        .incarnation = incarnation},
                    bytes_of(NULL, 0));
}

void swim_tell_refused(struct swim *s, const struct addr *addr, const char *why)
{
    struct addr whose = *addr;
    whose.port = 0; /* each connection has its own */
    if (is_worth_saying(s, &whose, bytes_of(NULL, 0)))
        queue_event(s, (struct swim_event){.kind = SWIM_REFUSED, .addr = *addr}, bytes_str(why));
}

void swim_tell_path(struct swim *s, const struct member *member)
{
    queue_event(s,
                (struct swim_event){.kind = SWIM_PATH,
                                    .name = member->name,
                                    .addr = member->addr,
                                    .incarnation = member->incarnation,
                                    .to_blocked = member->path.to_blocked,
                                    .from_blocked = member->path.from_blocked},
                bytes_of(NULL, 0));
}

void swim_tell_join(struct swim *s, uint64_t ticket, enum err err, struct bytes text, size_t count)
{
    queue_event(s, (struct swim_event){.kind = SWIM_JOIN_DONE, .ticket = ticket, .err = err, .count = count},
                text);
}

void swim_tell_user(struct swim *s, struct bytes payload, bool sealed, uint32_t key)
{
    queue_event(s, (struct swim_event){.kind = SWIM_USER, .payload = payload, .sealed = sealed, .key = key},
                bytes_of(NULL, 0));
}

void swim_tell_old_key(struct swim *s, struct bytes name, const struct addr *addr, uint32_t key)
{
    queue_event(s, (struct swim_event){.kind = SWIM_OLD_KEY, .name = name, .addr = *addr, .key = key},
                bytes_of(NULL, 0));
}

bool swim_next_event(struct swim *s, struct swim_event *ret_event)
{
    if (s->events_count == 0)
        return false;
    *ret_event = s->events[s->events_first++];
    if (--s->events_count == 0)
        s->events_first = 0;
    return true;
}

void swim_event_done(struct swim_event *event)
{
    free(event->memory);
    *event = (struct swim_event){0};
}

/* --- what the node may look at --- */

size_t swim_count(const struct swim *s)
{
    return s->members.count;
}

static struct swim_member view_of(const struct swim *s, const struct member *member)
{
    struct swim_member view = {.name = member->name,
                               .meta = member->meta,
                               .addr = member->addr,
                               .state = member->state,
                               .incarnation = member->incarnation,
                               .since_ms = member->since,
                               .self = member == s->members.self,
                               .rtt_known = member->rtt_known,
                               .rtt_us = member->rtt_us,
                               .to_blocked = member->path.to_blocked,
                               .from_blocked = member->path.from_blocked,
                               .error = member->error,
                               .error_ms = member->error_at};
    memcpy(view.vsn, member->vsn, sizeof view.vsn);
    return view;
}

struct swim_member swim_at(const struct swim *s, size_t at)
{
    return view_of(s, members_at(&s->members, at));
}

bool swim_find(const struct swim *s, struct bytes name, struct swim_member *ret_member)
{
    const struct member *member = members_find(&s->members, name);
    if (!member)
        return false;
    *ret_member = view_of(s, member);
    return true;
}

uint32_t swim_incarnation(const struct swim *s)
{
    return s->members.self->incarnation;
}

unsigned swim_health(const struct swim *s)
{
    return s->health;
}

size_t swim_streams(const struct swim *s, size_t *ret_bytes)
{
    *ret_bytes = s->stream_bytes;
    return s->stream_count;
}

static const char *const counter_names[COUNT_MAX] = {
    [COUNT_PACKETS_IN] = "swim_packets_in",
    [COUNT_PACKETS_OUT] = "swim_packets_out",
    [COUNT_LABELLED] = "swim_packets_labelled",
    [COUNT_ENCRYPTED] = "swim_packets_encrypted",
    [COUNT_WRONG_KEY] = "swim_packets_wrong_key",
    [COUNT_UNSEALED] = "swim_packets_unsealed",
    [COUNT_BAD_CRC] = "swim_packets_bad_crc",
    [COUNT_TRUNCATED_COMPOUND] = "swim_compounds_truncated",
    [COUNT_BAD_COMPRESSION] = "swim_compressions_bad",
    [COUNT_TOO_DEEP] = "swim_packets_too_deep",
    [COUNT_OVERSIZED] = "swim_packets_oversized",
    [COUNT_MALFORMED] = "swim_messages_malformed",
    [COUNT_UNKNOWN_TYPE] = "swim_messages_unknown_type",
    [COUNT_USER_MESSAGES] = "swim_user_messages_ignored",
    [COUNT_BAD_NAME] = "swim_news_bad_name",
    [COUNT_BAD_ADDRESS] = "swim_news_bad_address",
    [COUNT_BAD_META] = "swim_news_bad_meta",
    [COUNT_BAD_VERSION] = "swim_news_bad_version",
    [COUNT_BAD_INCARNATION] = "swim_news_bad_incarnation",
    [COUNT_BLOCKED] = "swim_blocked",
    [COUNT_TABLE_FULL] = "swim_members_refused",
    [COUNT_CONFLICTS] = "swim_conflicts",
    [COUNT_UNREACHABLE] = "swim_datagrams_unreachable",
    [COUNT_PATHS_BLOCKED] = "swim_paths_blocked",
    [COUNT_REFUTATIONS] = "swim_refutations",
    [COUNT_WRONG_PING] = "swim_pings_for_others",
    [COUNT_RELAYS_REFUSED] = "swim_relays_refused",
    [COUNT_PROBES] = "swim_probes",
    [COUNT_PROBES_FAILED] = "swim_probes_failed",
    [COUNT_TCP_SAVED] = "swim_probes_saved_by_tcp",
    [COUNT_STREAMS_REFUSED] = "swim_streams_refused",
    [COUNT_STREAMS_MALFORMED] = "swim_streams_malformed",
    [COUNT_STREAMS_LABELLED] = "swim_streams_labelled",
    [COUNT_STREAMS_SEALED] = "swim_streams_encrypted",
    [COUNT_STREAMS_WRONG_KEY] = "swim_streams_wrong_key",
    [COUNT_STREAMS_UNSEALED] = "swim_streams_unsealed",
    [COUNT_STREAMS_UNKNOWN] = "swim_streams_unknown_type",
    [COUNT_STREAMS_TIMEOUT] = "swim_streams_timed_out",
    [COUNT_STREAMS_OVERSIZED] = "swim_streams_oversized",
    [COUNT_INCOMPATIBLE] = "swim_exchanges_incompatible",
    [COUNT_PUSH_PULLS] = "swim_exchanges",
};

void swim_counters(const struct swim *s, void (*each)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    for (size_t i = 0; i < COUNT_MAX; i++)
        each(ctx, counter_names[i], s->counters[i]);
}

uint64_t swim_counter(const struct swim *s, const char *name)
{
    size_t i = 0;
    while (i < COUNT_MAX && strcmp(counter_names[i], name) != 0)
        i++;
    CHECK(i < COUNT_MAX);
    return s->counters[i];
}

/* --- shared by the parts --- */

void swim_count_one(struct swim *s, enum swim_count counter)
{
    s->counters[counter]++;
}

void swim_health_add(struct swim *s, int delta)
{
    int health = (int)s->health + delta, max = (int)s->profile->awareness_max - 1;
    if (s->profile->no_local_health)
        return;
    s->health = (unsigned)(health < 0 ? 0 : health > max ? max : health);
}

bool swim_is_blocked(const struct swim *s, struct bytes name, struct bytes meta)
{
    return s->blocked && s->blocked(s->ctx, name, meta);
}

bool swim_is_namesake(const struct swim *s, struct bytes name)
{
    struct bytes self = s->members.self->name;
    size_t len = s->id_len;
    if (len == 0 || len > self.len || len > name.len)
        return bytes_equal(name, self);
    return memcmp(name.data + name.len - len, self.data + self.len - len, len) == 0;
}

uint32_t swim_new_seq(struct swim *s)
{
    return s->next_seq++;
}

size_t swim_live_count(const struct swim *s)
{
    return s->members.live.count + 1;
}
