/* A running node under fire: captured packets and streams, cut, flipped and made
 * up, while time passes. It must go on, stay within its bounds, and still answer. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "mem.h"
#include "packet.h"
#include "rng.h"
#include "swim.h"
#include "vectors.h"

static const char *const folders[] = {"memberlist/head-1b4c746", "memberlist/debian-0.2.2"};
enum { FOLDERS = 2, ROUNDS = 100 };

struct target {
    struct swim *s;
    uint64_t now, next_stream;
    size_t sent;
};

static uint64_t new_stream(void *ctx)
{
    return ++((struct target *)ctx)->next_stream;
}

/* Effects are dropped: nobody else lives here. */
static void after(struct target *t, struct effects *out)
{
    t->sent += out->count;
    effects_done(out);
    for (struct swim_event event; swim_next_event(t->s, &event);)
        swim_event_done(&event);
    assert_true(swim_count(t->s) <= SWIM_MEMBERS_MAX);
}

static void shoot_packet(struct target *t, struct bytes packet)
{
    struct effects out = {0};
    struct addr from = {{10, 0, 0, 9}, 4, 7946};
    swim_datagram(t->s, t->now, &from, packet, &out);
    after(t, &out);
}

static void shoot_stream(struct target *t, struct rng *rng, struct bytes bytes)
{
    struct effects out = {0};
    struct addr from = {{10, 0, 0, 9}, 4, 7946};
    uint64_t id = new_stream(t);
    swim_stream_accepted(t->s, t->now, id, &from, &out);
    for (size_t at = 0; at < bytes.len;) {
        size_t piece = 1 + rng_below(rng, bytes.len - at);
        swim_stream_data(t->s, t->now, id, bytes_of(bytes.data + at, piece), &out);
        at += piece;
    }
    if (rng_permille(rng, 500))
        swim_stream_closed(t->s, t->now, id, "closed", &out);
    after(t, &out);
}

static void pass_time(struct target *t, uint64_t ms)
{
    struct effects out = {0};
    t->now += ms;
    swim_tick(t->s, t->now, &out);
    assert_true(swim_deadline(t->s) > t->now);
    after(t, &out);
}

static void shoot(struct target *t, struct rng *rng, const struct vector *v)
{
    uint8_t *copy = mem_copy(v->data, v->len);
    size_t len = rng_permille(rng, 300) ? rng_below(rng, v->len + 1) : v->len;
    for (uint64_t flips = rng_below(rng, 4); flips > 0; flips--)
        copy[rng_below(rng, v->len)] ^= (uint8_t)(1u << rng_below(rng, 8));
    size_t skip = len > CRC_HEADER && copy[0] == WIRE_CRC ? CRC_HEADER : 0; /* which would catch it all */
    shoot_packet(t, bytes_of(copy + skip, len - skip));
    shoot_stream(t, rng, bytes_of(copy + skip, len - skip));
    free(copy);
}

static void a_node_under_fire_goes_on(void **state)
{
    struct target t = {.now = 1000};
    struct rng rng;
    rng_init(&rng, 5);
    struct swim_config config = {.name = bytes_str("alpha"), /* whom many of the captures are about */
                                 .self = {{127, 0, 0, 1}, 4, 31001},
                                 .seed = 1,
                                 .ctx = &t,
                                 .new_stream = new_stream};
    t.s = swim_new(&config, t.now);
    for (int f = 0; f < FOLDERS; f++) {
        struct vectors vectors = vectors_load(folders[f]);
        for (int round = 0; round < ROUNDS; round++)
            for (size_t i = 0; i < vectors.count; i++) {
                shoot(&t, &rng, &vectors.list[i]);
                pass_time(&t, rng_below(&rng, 50));
            }
        vectors_done(&vectors);
    }

    pass_time(&t, 60000); /* what is under way is over */
    struct buf ping;
    buf_init(&ping, 100);
    wire_put(&ping,
             &(struct wire_message){.type = WIRE_PING, .ping = {.node = bytes_str("alpha"), .seq = 1}});
    t.sent = 0;
    shoot_packet(&t, buf_bytes(&ping));
    assert_int_equal(t.sent, 1);
    buf_done(&ping);
    swim_free(t.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_under_fire_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
