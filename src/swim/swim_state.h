/* What the parts of swim share; for this folder only. swim.c tells the story. */
#ifndef YZMA_SWIM_STATE_H
#define YZMA_SWIM_STATE_H

#include "envelope.h"
#include "members.h"
#include "packet.h"
#include "swim.h"
#include "timers.h"
#include "wire.h"

enum {
    SWIM_RELAYS_MAX = 256, /* pings on behalf of others, and to lost members, at once */
    SWIM_LOST_MAX = 64,    /* dead members that are tried again; the oldest makes room */
    /* One message of a stream, plain or packed: 20 MiB of an application's state or
     * message, which is memberlist's limit, and what members need beside it. */
    SWIM_STREAM_MAX = 24 * 1024 * 1024,
    SWIM_USER_BYTES_MAX = 20 * 1024 * 1024,
    SWIM_TABLES_BYTES_MAX = 32 * 1024 * 1024, /* whole tables handed out in one .. */
    SWIM_TABLES_WINDOW_MS = 10000, /* .. such time, which is how long the world tries to send them */
    SWIM_CHECKS_MAX = 8,           /* of profile.indirect_checks and gossip_nodes */
    SWIM_HEAL_PROBES = 5,          /* a lost member is tried every so many probe intervals */
    SWIM_PATH_MISSES =
        6, /* in a row: then the way is blocked and not just bad. At a loss of 20 % each way 0.2 % */
    SWIM_SAID_MAX = 16,         /* refusals and conflicts that are remembered, not to be .. */
    SWIM_SAID_AGAIN_MS = 60000, /* .. told again so soon */
};

enum swim_timer {
    TIMER_GOSSIP,
    TIMER_PROBE_TICK,
    TIMER_PROBE,
    TIMER_PUSH_PULL,
    TIMER_HEAL,
    TIMER_SUSPICION, /* in a member */
    TIMER_RELAY,     /* in a relay */
    TIMER_STREAM,    /* in a stream */
};

enum swim_count {
    COUNT_PACKETS_IN,
    COUNT_PACKETS_OUT,
    COUNT_LABELLED,
    COUNT_ENCRYPTED,
    COUNT_WRONG_KEY,
    COUNT_UNSEALED,
    COUNT_BAD_CRC,
    COUNT_TRUNCATED_COMPOUND,
    COUNT_BAD_COMPRESSION,
    COUNT_TOO_DEEP,
    COUNT_OVERSIZED,
    COUNT_MALFORMED,
    COUNT_UNKNOWN_TYPE,
    COUNT_USER_MESSAGES,
    COUNT_BAD_NAME,
    COUNT_BAD_ADDRESS,
    COUNT_BAD_META,
    COUNT_BAD_VERSION,
    COUNT_BAD_INCARNATION,
    COUNT_BLOCKED,
    COUNT_TABLE_FULL,
    COUNT_CONFLICTS,
    COUNT_UNREACHABLE,
    COUNT_PATHS_BLOCKED,
    COUNT_REFUTATIONS,
    COUNT_WRONG_PING,
    COUNT_RELAYS_REFUSED,
    COUNT_PROBES,
    COUNT_PROBES_FAILED,
    COUNT_TCP_SAVED,
    COUNT_STREAMS_REFUSED,
    COUNT_STREAMS_MALFORMED,
    COUNT_STREAMS_LABELLED,
    COUNT_STREAMS_SEALED,
    COUNT_STREAMS_WRONG_KEY,
    COUNT_STREAMS_UNSEALED,
    COUNT_STREAMS_UNKNOWN,
    COUNT_STREAMS_TIMEOUT,
    COUNT_STREAMS_OVERSIZED,
    COUNT_INCOMPATIBLE,
    COUNT_PUSH_PULLS,
    COUNT_MAX
};

/* The one probe that is under way. */
struct probe {
    struct member *target; /* NULL: none */
    uint32_t incarnation;  /* the target's at the start: later news of it is not touched by this probe */
    uint32_t seq;
    uint64_t start, end;
    uint64_t start_us;
    bool indirect; /* the direct ping stayed unanswered */
    unsigned nacks_wanted, nacks_got;
    uint64_t stream; /* the TCP ping, when has_stream */
    bool has_stream, answered_on_stream;
    struct timer timer;
};

struct said {
    uint64_t hash, at;
};

/* A ping of ours that is no probe: for another member, or to a lost one. */
struct relay {
    uint32_t seq;
    bool heals, nack;
    uint32_t requester_seq;
    struct addr to; /* the requester; or the lost member */
    struct timer timer;
};

struct lost {
    struct bytes name; /* owned */
    struct addr addr;
};

struct stream;

struct swim {
    const struct swim_profile *profile;
    struct addr addr; /* ours */
    bool compress, leaving;
    struct envelope envelope;
    uint8_t label[LABEL_MAX];      /* the envelope's */
    const struct addr *heard_from; /* of the datagram under way, and the place of its key; else NULL */
    size_t heard_key;
    void *ctx;
    bool (*blocked)(void *ctx, struct bytes name, struct bytes meta);
    size_t id_len;
    uint64_t (*new_stream)(void *ctx);

    uint64_t now;        /* of the step under way */
    uint64_t fine_us;    /* the same, as far as it was told */
    struct effects *out; /* of the step under way */
    struct rng rng;
    struct timers timers;
    struct timer gossip_timer, probe_tick_timer, push_pull_timer, heal_timer;
    uint64_t gossip_phase;

    struct members members;
    struct broadcasts broadcasts;
    unsigned health;
    uint32_t next_seq;
    struct probe probe;
    struct relay *relays[SWIM_RELAYS_MAX]; /* at seq % SWIM_RELAYS_MAX */
    struct lost lost[SWIM_LOST_MAX];
    size_t lost_count, lost_pings;
    struct said said[SWIM_SAID_MAX];
    struct stream *streams; /* a list */
    size_t stream_count, stream_bytes;
    uint64_t tables_since; /* the window that is counted, and what left in it */
    size_t tables_bytes;

    struct swim_event *events; /* events_first and on */
    size_t events_first, events_count, events_room;
    uint64_t counters[COUNT_MAX];
};

/* swim.c */
void swim_count_one(struct swim *s, enum swim_count counter);
/* Queues an event about a member; by may be empty. */
void swim_tell(struct swim *s, enum swim_event_kind kind, const struct member *member, struct bytes by);
/* The same of one whose state was another before. */
void swim_tell_change(struct swim *s, enum swim_event_kind kind, const struct member *member, struct bytes by,
                      enum member_state was, uint64_t lasts_ms);
/* Someone at addr claims the name of a member that is elsewhere. Not again so soon. */
void swim_tell_conflict(struct swim *s, const struct member *member, const struct addr *addr,
                        uint32_t incarnation);
/* An exchange with whoever is at that address, or a packet, was refused, here or there,
 * for this reason. Not again so soon of that address: may be called for every packet. */
void swim_tell_refused(struct swim *s, const struct addr *addr, const char *why);
void swim_tell_path(struct swim *s, const struct member *member);
void swim_tell_join(struct swim *s, uint64_t ticket, enum err err, struct bytes text, size_t count);
void swim_tell_user(struct swim *s, struct bytes payload, bool sealed, uint32_t key);
void swim_tell_old_key(struct swim *s, struct bytes name, const struct addr *addr, uint32_t key);
void swim_health_add(struct swim *s, int delta);
bool swim_is_blocked(const struct swim *s, struct bytes name, struct bytes meta);
bool swim_is_namesake(const struct swim *s, struct bytes name); /* says that it is who we are */
uint32_t swim_new_seq(struct swim *s);
uint64_t swim_now_us(const struct swim *s);
size_t swim_live_count(const struct swim *s); /* with ourselves */

/* rules.c: news about members, from wherever it comes (notes of SWIM 4.2) */
void swim_news_alive(struct swim *s, const struct wire_alive *news);
void swim_news_suspect(struct swim *s, const struct wire_accusation *news);
void swim_news_dead(struct swim *s, const struct wire_accusation *news);
void swim_suspicion_expired(struct swim *s, struct member *member);
/* A higher incarnation of our own, above `above`, and the news of it. */
void swim_raise_incarnation(struct swim *s, uint32_t above);
void swim_announce(struct swim *s, struct member *member); /* its alive message, as a broadcast */
void swim_reap(struct swim *s);                            /* forgets who is gone for long */

/* gossip.c: datagrams */
void swim_send(struct swim *s, const struct addr *to,
               const struct wire_message *message); /* with passengers */
/* The same, sealed by the key at this place of the ring. */
void swim_send_by(struct swim *s, const struct addr *to, size_t key_at, const struct wire_message *message);
void swim_send_ping_suspect(struct swim *s, const struct member *to, const struct wire_message *ping);
void swim_broadcast(struct swim *s, struct member *about, const struct wire_message *message);
void swim_gossip(struct swim *s);

/* probe.c */
void swim_probe_tick(struct swim *s);
void swim_probe_timeout(struct swim *s);
void swim_probe_forget(struct swim *s, const struct member *member); /* before it is freed */
void swim_probe_stream_answer(struct swim *s, uint64_t stream);
void swim_probe_stream_refused(struct swim *s, uint64_t stream);
void swim_on_ping(struct swim *s, const struct addr *from, const struct wire_ping *ping);
void swim_on_indirect_ping(struct swim *s, const struct addr *from, const struct wire_indirect_ping *ping);
void swim_on_ack(struct swim *s, const struct addr *from, const struct wire_ack *ack);
void swim_on_nack(struct swim *s, const struct wire_nack *nack);
void swim_relay_timeout(struct swim *s, struct relay *relay);
struct wire_message swim_ping_of(const struct swim *s, struct bytes node, uint32_t seq);
void swim_relays_done(struct swim *s);

/* False: too many pings are under way. */
bool swim_ping_lost(struct swim *s, const struct lost *lost, size_t key_at);

/* path.c: whether datagrams pass */
void swim_path_works(struct swim *s, struct member *member); /* it answered a datagram with one */
void swim_path_heard(struct swim *s, struct member *member); /* it sent a ping */
/* It lives, but did not answer the datagram that left then. */
void swim_path_missed(struct swim *s, struct member *member, uint64_t sent_at);
void swim_path_reset(struct member *member);

/* heal.c: dead members are tried again */
void swim_lost_add(struct swim *s, struct bytes name, const struct addr *addr);
void swim_lost_remove(struct swim *s, struct bytes name);
void swim_lost_drop_blocked(struct swim *s);
void swim_heal_start(struct swim *s); /* if anyone is lost */
void swim_heal_tick(struct swim *s);
void swim_heal_answered(struct swim *s, const struct addr *at); /* by the datagram under way */
void swim_lost_done(struct swim *s);

/* exchange.c: streams */
enum stream_role { ROLE_ACCEPTED, ROLE_JOIN, ROLE_SYNC, ROLE_PING, ROLE_USER, ROLE_NAMESAKE };
bool swim_stream_open(struct swim *s, enum stream_role role, const struct addr *to, uint64_t ticket,
                      uint64_t *ret_stream);
void swim_stream_open_ping(struct swim *s, const struct member *to, uint32_t seq, uint64_t lifetime_ms);
/* Two exchanges with a suspect: it hears of the suspicion by the first, whose answer was
 * written before, and contradicts in the second. */
void swim_stream_open_convince(struct swim *s, const struct member *suspect);
/* An exchange that is sealed by the key at this place of the ring. */
void swim_stream_open_by(struct swim *s, const struct addr *to, size_t key_at);
void swim_stream_abandon(struct swim *s, uint64_t stream);
void swim_stream_timeout(struct swim *s, struct timer *timer);
void swim_push_pull_tick(struct swim *s);
void swim_streams_close(struct swim *s); /* and says so to the world and to who waits */
void swim_streams_done(struct swim *s);

/* pushpull.c: the message of an exchange */
struct push_pull_reader {
    size_t at; /* read up to here */
    bool has_header;
    struct wire_push_pull header;
    uint64_t nodes_left;
};
/* Goes on through a growing message; OK once all nodes are there, ERR_TRUNCATED
 * while more must come. */
enum err push_pull_scan(struct push_pull_reader *r, struct bytes message) MUST_USE;
void push_pull_put(const struct swim *s, struct buf *b, bool join);
/* Versions that do not go together are ERR_VERSION with a line in why, and nothing is
 * merged then. */
enum err push_pull_merge(struct swim *s, struct bytes message, size_t *ret_others, struct buf *why) MUST_USE;
/* The first node of a whole message: of a YzmaDB the sender itself. */
bool push_pull_first(struct bytes message, struct wire_node *ret_node);
/* Where else the message says that a living member has our own name, or our id in
 * another one; len 0: nowhere. */
struct addr push_pull_namesake(const struct swim *s, struct bytes message, struct bytes *ret_name);
/* The member that we block from which this message comes; empty: none. Of one that we
 * asked the whole address is known. */
struct bytes push_pull_blocked(const struct swim *s, struct bytes message, const struct addr *from,
                               bool asked);

#endif
