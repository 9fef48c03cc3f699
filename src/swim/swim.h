/* Membership: who is in the cluster, at which address, and alive. SWIM with
 * Lifeguard, on the wire of hashicorp/memberlist. The protocol is told at the head
 * of swim.c.
 *
 * Pure: the world hands in the time and one event and carries out the effects that
 * are appended; what the node wants to know is then waiting in a queue:
 *
 *   swim_datagram(s, now, &from, packet, &effects);
 *   while (swim_next_event(s, &event)) { ...; swim_event_done(&event); }
 *
 * The time is in milliseconds of a clock that never goes back. */
#ifndef YZMA_SWIM_SWIM_H
#define YZMA_SWIM_SWIM_H

#include "effect.h"
#include "keyring.h"
#include "profile.h"

enum {
    SWIM_NAME_MAX = 255,
    SWIM_META_MAX = 512,
    SWIM_MEMBERS_MAX = 10000,                  /* beyond: news of further ones is refused and counted */
    SWIM_EXCHANGES_MAX = 128,                  /* streams of others at once, and as many again of our own */
    SWIM_STREAMS_BYTES_MAX = 64 * 1024 * 1024, /* what has come on all streams and is not whole yet */
};

/* Numbered as on the wire. */
enum member_state { MEMBER_ALIVE, MEMBER_SUSPECT, MEMBER_DEAD, MEMBER_LEFT };
const char *member_state_text(enum member_state state); /* "alive", "suspect", "dead", "left" */

struct swim_config {
    struct bytes name;                  /* 1 to SWIM_NAME_MAX bytes; copied */
    struct bytes meta;                  /* up to SWIM_META_MAX; copied */
    struct addr self;                   /* where others reach us, UDP and TCP */
    uint8_t vsn[6];                     /* pmin pmax pcur dmin dmax dcur; all zero means 1,5,2,0,0,0 */
    const struct swim_profile *profile; /* NULL: lan */
    uint32_t incarnation;               /* to start with; 0 means 1. After a restart, above the last one */
    uint64_t seed;                      /* of all random choices */
    bool no_compression;                /* of what is sent; what comes is always understood */
    struct keyring *keys; /* what seals gossip; borrowed, may be empty or change. NULL: nothing does */
    struct bytes label;   /* up to 255 bytes: keeps clusters apart; copied */
    bool takes_unsealed;  /* although there are keys: for a cluster that is about to be sealed */
    bool sends_unsealed;
    void *ctx; /* for the two functions */
    /* True for a member to have nothing to do with. meta is empty where only the
     * name is known (a ping). May be NULL. */
    bool (*blocked)(void *ctx, struct bytes name, struct bytes meta);
    /* So many last bytes of a name say who it is: another name with the same end is the
     * same replica, called something else. 0: the whole name does. */
    size_t id_len;
    /* A name for a stream that is about to be opened (effect.h). */
    uint64_t (*new_stream)(void *ctx);
};

struct swim;
struct swim_member;

struct swim *swim_new(const struct swim_config *config, uint64_t now_ms);
void swim_free(struct swim *s);

/* Believes that a member is alive (name, meta, addr, incarnation, vsn of it count)
 * without telling anyone: a simulation begins with a formed cluster by it. Only for
 * one that is not known yet, and before the first of the calls below. */
void swim_know(struct swim *s, const struct swim_member *member);

/* When swim_tick must be called, at the latest; UINT64_MAX: never. */
uint64_t swim_deadline(const struct swim *s);

/* The same clock in microseconds, to be told before a step: round-trip times are then
 * that exact. Where it is not told, or says another millisecond, those will do. */
void swim_fine_time(struct swim *s, uint64_t now_us);

void swim_tick(struct swim *s, uint64_t now_ms, struct effects *out);
void swim_datagram(struct swim *s, uint64_t now_ms, const struct addr *from, struct bytes packet,
                   struct effects *out);
/* A datagram to this address could not even be sent (no route, refused): whoever is
 * being probed there need not be waited for. */
void swim_unreachable(struct swim *s, uint64_t now_ms, const struct addr *to, struct effects *out);

/* Streams: those accepted at the gossip port, and those opened by us, which are
 * known by their names. Events about other streams are ignored. */
void swim_stream_accepted(struct swim *s, uint64_t now_ms, uint64_t stream, const struct addr *from,
                          struct effects *out);
void swim_stream_opened(struct swim *s, uint64_t now_ms, uint64_t stream, struct effects *out);
void swim_stream_data(struct swim *s, uint64_t now_ms, uint64_t stream, struct bytes data,
                      struct effects *out);
/* The other side closed, or it failed, or it could not be opened: why is told to
 * whoever waits for a join by it. */
void swim_stream_closed(struct swim *s, uint64_t now_ms, uint64_t stream, const char *why,
                        struct effects *out);

/* Exchanges all that is known with the node at an address; ends in SWIM_JOIN_DONE
 * with this ticket, after the profile's tcp_timeout at the latest. After
 * swim_leave it makes this node a member again. */
void swim_join(struct swim *s, uint64_t now_ms, uint64_t ticket, const struct addr *to, struct effects *out);

/* Says goodbye: the others list us as left, and nobody is alarmed. This node goes
 * on answering, so that the goodbye spreads, until it is freed. */
void swim_leave(struct swim *s, uint64_t now_ms, struct effects *out);
/* After swim_leave: the goodbye was sent as often as it should be, or nobody is
 * there to hear it. */
bool swim_left_done(const struct swim *s);
/* After swim_leave, when the goodbye has had its time: forgets everyone, and sends
 * nothing any more until swim_join. */
void swim_rest(struct swim *s, uint64_t now_ms, struct effects *out);

/* Sends a message of ours to another YzmaDB: a memberlist user message over a
 * stream, sealed by a key of the ring (by the first one, if this one is gone). It
 * starts with SWIM_USER_MAGIC; those that do not are the applications' of other
 * programs, counted and ignored. Nothing tells whether it arrived. */
#define SWIM_USER_MAGIC "YZMA"
enum { SWIM_USER_MAX = 64 * 1024 };
void swim_send_user(struct swim *s, uint64_t now_ms, const struct addr *to, struct bytes payload,
                    uint32_t key, struct effects *out);

/* New meta for this node, up to SWIM_META_MAX bytes: raises the incarnation. */
void swim_set_meta(struct swim *s, uint64_t now_ms, struct bytes meta, struct effects *out);

/* The answers of config.blocked have changed: who is blocked now is forgotten, without
 * telling anyone; who is not any more is news when it is heard of. */
void swim_blocks_changed(struct swim *s, uint64_t now_ms, struct effects *out);

/* A member of former times, whose fate is not known: it is looked for at a low rate,
 * as one that was lost (heal.c), until it is heard of. */
void swim_seek(struct swim *s, uint64_t now_ms, struct bytes name, const struct addr *addr);

/* A member has proven to be at this address (replication's hello): it is alive
 * there, whatever gossip said. An unknown name is ignored: the address can be joined. */
void swim_readdress(struct swim *s, uint64_t now_ms, struct bytes name, const struct addr *addr,
                    struct effects *out);

enum swim_event_kind {
    SWIM_JOINED,    /* name, meta, addr, incarnation: a member became alive, new or back again */
    SWIM_UPDATED,   /* the same: its meta or address changed */
    SWIM_SUSPECTED, /* name, by, incarnation */
    SWIM_CLEARED,   /* name, incarnation: suspected no longer */
    SWIM_DEAD,      /* name, by, incarnation */
    SWIM_LEFT,      /* name, incarnation */
    SWIM_REAPED,    /* name: dead or left for long, now forgotten */
    SWIM_JOIN_DONE, /* ticket, err, text when it failed, count: other members in the answer */
    SWIM_REFUTED,   /* incarnation: our own rose, and must be remembered over restarts; by: whom we
                       contradict, empty when the rise was our own wish */
    SWIM_CONFLICT,  /* name, meta, addr, incarnation: someone claims a living member's name there;
                       known: where that member is. May be about ourselves */
    SWIM_USER,      /* payload, sealed, key: a message of another YzmaDB, see swim_send_user */
    SWIM_OLD_KEY,   /* name, addr, key: an exchange came sealed by a key that is not our first */
    SWIM_REFUSED,   /* addr, text: an exchange with whoever is there was refused, by it or by us */
    SWIM_BLOCKED,   /* name, meta, addr: a member was forgotten by swim_blocks_changed */
    SWIM_PATH,      /* name, addr, to_blocked, from_blocked: whether datagrams pass has changed */
};

/* Owns what its pointers point to. */
struct swim_event {
    enum swim_event_kind kind;
    struct bytes name, meta, by;
    struct bytes payload;
    bool sealed;
    uint32_t key; /* the name of the key in the ring */
    struct addr addr, known;
    enum member_state was; /* before a JOINED (alive: it was unknown), CLEARED, DEAD or LEFT */
    uint32_t incarnation;
    uint64_t lasts_ms; /* SUSPECTED: until it is dead at the latest; CLEARED, DEAD: since it was suspected */
    const char *error; /* SUSPECTED: what we found ourselves, just now; NULL: hearsay. A constant */
    bool to_blocked, from_blocked;
    uint64_t ticket;
    enum err err;
    const char *text; /* "" when there is none */
    size_t count;
    void *memory;
};

/* Must be emptied after every call above: the queue grows until then. */
bool swim_next_event(struct swim *s, struct swim_event *ret_event);
void swim_event_done(struct swim_event *event);

/* A look at one member; the bytes are borrowed until the next call above. */
struct swim_member {
    struct bytes name, meta;
    struct addr addr;
    enum member_state state;
    uint32_t incarnation;
    uint64_t since_ms; /* of the state */
    uint8_t vsn[6];
    bool self, rtt_known;
    uint32_t rtt_us;               /* of the direct probes that were answered, smoothed */
    bool to_blocked, from_blocked; /* datagrams do not pass, but streams do (path.c) */
    const char *error;             /* the last thing that went wrong with it; NULL: nothing did */
    uint64_t error_ms;             /* when */
};

/* The members in no order, this node first; at from 0 to swim_count - 1. */
size_t swim_count(const struct swim *s);
struct swim_member swim_at(const struct swim *s, size_t at);
bool swim_find(const struct swim *s, struct bytes name, struct swim_member *ret_member);
/* Those that are looked for, at from 0 to swim_sought_count - 1; the name is borrowed. */
size_t swim_sought_count(const struct swim *s);
struct bytes swim_sought_at(const struct swim *s, size_t at, struct addr *ret_addr);

uint32_t swim_incarnation(const struct swim *s);
unsigned swim_health(const struct swim *s); /* Lifeguard's score: 0 is healthy */
/* How many streams there are, and how much of what came on them waits to be whole. */
size_t swim_streams(const struct swim *s, size_t *ret_bytes);
/* Everything dropped, refused or odd is one of these; the names are constants. */
void swim_counters(const struct swim *s, void (*each)(void *ctx, const char *name, uint64_t value),
                   void *ctx);
uint64_t swim_counter(const struct swim *s, const char *name); /* there is one of this name */

#endif
