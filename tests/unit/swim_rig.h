/* One swim under a test's hand: messages go in, and what it sends is kept, taken
 * apart into single messages. */
#ifndef YZMA_TESTS_SWIM_RIG_H
#define YZMA_TESTS_SWIM_RIG_H

#include "envelope.h"
#include "swim.h"
#include "wire.h"

enum { RIG_SENT_MAX = 4096, RIG_STREAMS_MAX = 300 };

struct rig_sent {
    uint64_t at;
    struct addr to;
    size_t packet, packet_len; /* which datagram it came in, counted from 0, and its bytes */
    bool compound;             /* that one held more than one message */
    struct wire_message m;
    void *memory;
};

struct rig_stream {
    uint64_t id;
    struct buf sent; /* without label, seal and compression */
    struct buf raw;
    bool opened_by_us, closed;
};

struct rig {
    struct swim *s;
    uint64_t now, next_stream;
    const char *blocked;
    struct envelope envelope; /* of what it sends */
    struct rig_sent sent[RIG_SENT_MAX];
    size_t sent_count, packet_count;
    struct rig_stream streams[RIG_STREAMS_MAX];
    size_t stream_count;
    size_t largest_packet;
};

/* A node "self" at 10.0.0.1:7946 that starts at 100,000 ms. */
struct rig *rig_new(const struct swim_profile *profile);
/* The same with keys, which stay the caller's, or a label. */
struct rig *rig_new_sealed(struct keyring *keys, const char *label);
void rig_free(struct rig *r);
uint64_t rig_new_stream(void *rig);
/* Lets time pass, every tick at its deadline. */
void rig_run(struct rig *r, uint64_t until);
/* Forgets what was sent so far. */
void rig_forget(struct rig *r);

/* A message from 10.0.0.<from>. */
void rig_feed(struct rig *r, int from, const struct wire_message *m);
void rig_feed_raw(struct rig *r, int from, struct bytes packet);
/* News: the member `name` at 10.0.0.<host>:7946, with all versions of memberlist. */
void rig_alive(struct rig *r, const char *name, int host, uint32_t incarnation);
void rig_alive_meta(struct rig *r, const char *name, int host, uint32_t incarnation, const char *meta);
void rig_suspect(struct rig *r, const char *name, uint32_t incarnation, const char *from);
void rig_dead(struct rig *r, const char *name, uint32_t incarnation, const char *from);

int rig_state(const struct rig *r, const char *name); /* -1: unknown */
uint32_t rig_incarnation(const struct rig *r, const char *name);
uint64_t rig_counter(const struct rig *r, const char *name);
/* The first message of this type sent since the last rig_forget; NULL: none. */
const struct rig_sent *rig_find(const struct rig *r, enum wire_type type);
size_t rig_count(const struct rig *r, enum wire_type type);
/* Runs until something of this type is sent, forgetting what came before; within 30 s. */
const struct rig_sent *rig_next(struct rig *r, enum wire_type type);
void rig_ack(struct rig *r, int from, uint32_t seq);
/* Members named "a", "b", .. at 10.0.0.2, .3, ..: as many as given, of incarnation 1. */
void rig_members(struct rig *r, int count);
/* Takes all events that wait; how many were of this kind. */
size_t rig_events(struct rig *r, enum swim_event_kind kind);

/* A stream that comes from 10.0.0.<from>, and its bytes. */
struct rig_stream *rig_accept(struct rig *r, int from);
void rig_stream_data(struct rig *r, struct rig_stream *stream, struct bytes bytes);
void rig_stream_opened(struct rig *r, struct rig_stream *stream);
void rig_stream_closed(struct rig *r, struct rig_stream *stream);

/* For cmocka: a rig of a lone node with the profile of a LAN, and its end. */
int rig_set_up(void **state);
int rig_tear_down(void **state);
/* Until all news is sent, and before the first probe, which begins after a second. */
void rig_quiet_down(struct rig *r);

#endif
