/* swim with thousands of members: what the table and the exchange of it cost. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>

#include "packet.h"
#include "swim.h"

enum {
    MEMBERS = 5000,
    ASKERS = 100,
    PER_MEMBER_MAX = 1024,        /* of memory, with name, meta and the news of it */
    EXCHANGES_MAX = 32 << 20,     /* handed out and not yet taken */
    INPUT_MAX = 64 << 20,         /* received and not yet whole */
    MESSAGE_PER_MEMBER_MAX = 300, /* of an exchange */
};

static uint64_t new_stream(void *ctx)
{
    return *(uint64_t *)ctx += 2;
}

static struct swim *swim_of(uint64_t *streams, int host)
{
    char name[64];
    snprintf(name, sizeof name, "node%d-9f3c2d4e-0000-4000-8000-%012d", host, host);
    struct swim_config config = {.name = bytes_str(name),
                                 .self = {{10, 1, 0, (uint8_t)host}, 4, 7946},
                                 .seed = (uint64_t)host,
                                 .ctx = streams,
                                 .new_stream = new_stream};
    return swim_new(&config, 1000);
}

static void drop_events(struct swim *s)
{
    for (struct swim_event event; swim_next_event(s, &event);)
        swim_event_done(&event);
}

/* News of a member as a YzmaDB has it: a name with a UUID, a meta of some 150 bytes. */
static void tell_of(struct swim *s, int i)
{
    static const uint8_t vsn[WIRE_VSN_LEN] = {1, 5, 2, 0, 0, 0};
    char name[64], meta[200];
    uint8_t ip[4] = {10, 2, (uint8_t)(i >> 8), (uint8_t)i};
    struct addr from = {{10, 2, 0, 1}, 4, 7946};
    struct effects out = {0};
    struct buf b;
    snprintf(name, sizeof name, "host%d-9f3c2d4e-0000-4000-8000-%012d", i, i);
    snprintf(meta, sizeof meta,
             "{\"NodeName\":\"host%d\",\"APIIngress\":\"10.2.%d.%d:7947\",\"Replica\":"
             "\"9f3c2d4e-0000-4000-8000-%012d\",\"Yzma\":1}",
             i, i >> 8, i & 255, i);
    buf_init(&b, PACKET_MAX);
    wire_put(&b, &(struct wire_message){.type = WIRE_ALIVE,
                                        .alive = {.addr = bytes_of(ip, 4),
                                                  .port = 7946,
                                                  .meta = bytes_str(meta),
                                                  .node = bytes_str(name),
                                                  .vsn = bytes_of(vsn, sizeof vsn),
                                                  .incarnation = 1}});
    swim_datagram(s, 1000, &from, buf_bytes(&b), &out);
    drop_events(s);
    effects_done(&out);
    buf_done(&b);
}

/* The first message that a step sends on a stream; the caller frees it. */
static struct buf take_sent(struct effects *out, uint64_t *ret_stream)
{
    struct buf sent = {0};
    for (size_t i = 0; i < out->count; i++) {
        struct effect *effect = &out->list[i];
        if (ret_stream && effect->kind == EFFECT_STREAM_OPEN)
            *ret_stream = effect->stream;
        if (effect->kind == EFFECT_STREAM_SEND && !sent.data) {
            sent = effect->bytes;
            effect->bytes = (struct buf){0};
        }
    }
    effects_done(out);
    return sent;
}

static size_t used(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* A newcomer's whole message. */
static struct buf question(uint64_t *streams)
{
    struct swim *newcomer = swim_of(streams, 2);
    struct addr to = {{10, 1, 0, 1}, 4, 7946};
    struct effects out = {0};
    uint64_t stream = 0;
    swim_join(newcomer, 1000, 1, &to, &out);
    struct buf none = take_sent(&out, &stream);
    buf_done(&none);
    swim_stream_opened(newcomer, 1000, stream, &out);
    struct buf message = take_sent(&out, NULL);
    swim_free(newcomer);
    return message;
}

/* The memory of the table, and all exchanges at once: those beyond the bound are told
 * to come again, and come through when the time is over. */
static void a_large_table_is_bounded(void **state)
{
    uint64_t streams = 0, accepted = 1, now = 1000;
    size_t before = used(), answered = 0, bytes = 0, refused = 0;
    struct swim *s = swim_of(&streams, 1);
    for (int i = 0; i < MEMBERS; i++)
        tell_of(s, i);
    size_t table = used() - before;
    assert_int_equal(swim_count(s), MEMBERS + 1);
    print_message("%d members: %zu bytes of memory each\n", MEMBERS, table / MEMBERS);
    assert_true(table / MEMBERS < PER_MEMBER_MAX); /* 0 under sanitizers */

    struct buf ask = question(&streams);
    struct addr from = {{10, 1, 0, 2}, 4, 50000};
    for (int i = 0; i < ASKERS; i++) {
        struct effects out = {0};
        accepted += 2;
        swim_stream_accepted(s, now, accepted, &from, &out);
        swim_stream_data(s, now, accepted, buf_bytes(&ask), &out);
        drop_events(s);
        struct buf answer = take_sent(&out, NULL);
        assert_true(answer.len > 0);
        if (answer.data[0] == WIRE_ERR) {
            refused++;
        } else {
            answered++;
            bytes += answer.len;
        }
        buf_done(&answer);
    }
    print_message("an exchange: %zu bytes; %zu answered at once, %zu told to come later\n", bytes / answered,
                  answered, refused);
    assert_true(bytes / answered < (size_t)MEMBERS * MESSAGE_PER_MEMBER_MAX);
    assert_true(bytes <= EXCHANGES_MAX && refused > 0);

    struct effects out = {0};
    now += 10000;
    swim_stream_accepted(s, now, accepted + 2, &from, &out);
    swim_stream_data(s, now, accepted + 2, buf_bytes(&ask), &out);
    struct buf answer = take_sent(&out, NULL);
    assert_int_not_equal(answer.data[0], WIRE_ERR);
    buf_done(&answer);
    buf_done(&ask);
    swim_free(s);
}

/* What comes and is never whole is bounded over all streams, too. */
static void half_messages_are_bounded(void **state)
{
    enum { PIECE = 1 << 20 };
    static uint8_t piece[PIECE];
    uint64_t streams = 0, accepted = 1;
    size_t before = used(), most = 0;
    struct swim *s = swim_of(&streams, 1);
    struct addr from = {{10, 1, 0, 2}, 4, 50000};
    /* a compressed message whose length is never reached */
    memcpy(piece,
           "\x09\x82\xa4"
           "Algo"
           "\x00\xa3"
           "Buf"
           "\xdb\x7f\xff\xff\xff",
           18);
    for (int i = 0; i < 100; i++) {
        struct effects out = {0};
        accepted += 2;
        swim_stream_accepted(s, 1000, accepted, &from, &out);
        swim_stream_data(s, 1000, accepted, bytes_of(piece, PIECE), &out);
        drop_events(s);
        effects_done(&out);
        most = used() - before > most ? used() - before : most;
    }
    print_message("100 half messages of 1 MiB: %zu bytes held at most\n", most);
    assert_true(most < INPUT_MAX + (16 << 20));
    swim_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_table_is_bounded),
        cmocka_unit_test(half_messages_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
