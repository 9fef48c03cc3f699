/* swim: what happens on streams. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "lzw.h"
#include "mem.h"
#include "swim_rig.h"

static const uint8_t vsn[WIRE_VSN_LEN] = {1, 5, 2, 0, 0, 0};

static struct wire_node node(const char *name, int host, enum member_state state)
{
    static uint8_t ips[256][4];
    memcpy(ips[host], (uint8_t[]){10, 0, 0, (uint8_t)host}, 4);
    return (struct wire_node){.addr = bytes_of(ips[host], 4),
                              .port = 7946,
                              .name = bytes_str(name),
                              .vsn = bytes_of(vsn, sizeof vsn),
                              .incarnation = 1,
                              .state = (uint8_t)state};
}

static void put_state(struct buf *b, const struct wire_node *nodes, size_t count, size_t user)
{
    buf_init(b, 1 << 24);
    wire_put(b, &(struct wire_message){.type = WIRE_PUSH_PULL,
                                       .push_pull = {.join = true, .nodes = count, .user_state_len = user}});
    for (size_t i = 0; i < count; i++)
        wire_put_node(b, &nodes[i]);
    for (size_t i = 0; i < user; i++)
        buf_put_u8(b, 'u');
}

static struct wire_message answer(const struct rig_stream *stream)
{
    struct wire_message m;
    assert_int_equal(wire_decode(buf_bytes(&stream->sent), &m), OK);
    return m;
}

/* A whole state, in pieces of one byte, is answered with ours and then believed:
 * alive as such, left as left, dead and suspect only as suspect. */
static void an_exchange_is_answered_and_merged(void **state)
{
    struct rig *r = *state;
    rig_alive(r, "kronk", 3, 1);
    rig_alive(r, "yzma", 4, 1);
    const struct wire_node nodes[] = {node("pacha", 2, MEMBER_ALIVE), node("kronk", 3, MEMBER_DEAD),
                                      node("yzma", 4, MEMBER_LEFT)};
    struct buf b;
    put_state(&b, nodes, 3, 10);
    struct rig_stream *stream = rig_accept(r, 2);
    for (size_t i = 0; i + 1 < b.len; i++)
        rig_stream_data(r, stream, bytes_of(b.data + i, 1));
    assert_int_equal(stream->sent.len, 0);

    rig_stream_data(r, stream, bytes_of(b.data + b.len - 1, 1));

    assert_int_equal(answer(stream).type, WIRE_PUSH_PULL);
    assert_true(answer(stream).push_pull.join);
    assert_int_equal(answer(stream).push_pull.nodes, 3); /* what we knew before */
    assert_true(stream->closed);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
    assert_int_equal(rig_state(r, "kronk"), MEMBER_SUSPECT);
    assert_int_equal(rig_state(r, "yzma"), MEMBER_LEFT);
    buf_done(&b);
}

/* The same, compressed. */
static void a_compressed_exchange_is_read(void **state)
{
    struct rig *r = *state;
    const struct wire_node pacha = node("pacha", 2, MEMBER_ALIVE);
    struct buf plain, packed, b;
    put_state(&plain, &pacha, 1, 0);
    buf_init(&packed, 1 << 20);
    buf_init(&b, 1 << 20);
    lzw_encode(buf_bytes(&plain), &packed);
    wire_put(&b, &(struct wire_message){.type = WIRE_COMPRESS, .compress.packed = buf_bytes(&packed)});
    struct rig_stream *stream = rig_accept(r, 2);

    rig_stream_data(r, stream, bytes_of(b.data, b.len / 2));
    assert_int_equal(rig_state(r, "pacha"), -1);
    rig_stream_data(r, stream, bytes_of(b.data + b.len / 2, b.len - b.len / 2));

    assert_int_equal(answer(stream).type, WIRE_PUSH_PULL);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_ALIVE);
    buf_done(&plain);
    buf_done(&packed);
    buf_done(&b);
}

/* One member of an incompatible version spoils the whole exchange; it is answered. */
static void incompatible_versions_are_not_merged(void **state)
{
    struct rig *r = *state;
    static const uint8_t serf[WIRE_VSN_LEN] = {1, 5, 2, 2, 5, 5};
    struct wire_node nodes[] = {node("pacha", 2, MEMBER_ALIVE), node("serf", 3, MEMBER_ALIVE)};
    nodes[1].vsn = bytes_of(serf, sizeof serf);
    struct buf b;
    put_state(&b, nodes, 2, 0);
    struct rig_stream *stream = rig_accept(r, 2);

    rig_stream_data(r, stream, buf_bytes(&b));

    assert_int_equal(answer(stream).type, WIRE_PUSH_PULL);
    assert_int_equal(swim_count(r->s), 1);
    assert_int_equal(rig_counter(r, "swim_exchanges_incompatible"), 1);
    buf_done(&b);
}

/* A suspect that answers by TCP alone is exchanged with at once: it hears of the suspicion
 * by the first exchange and contradicts in the second, not in a third. */
static void a_suspect_is_heard_by_stream(void **state)
{
    struct rig *r = *state;
    struct buf ack, pacha;
    rig_alive(r, "pacha", 2, 1);
    uint32_t seq = rig_next(r, WIRE_PING)->m.ping.seq;
    rig_suspect(r, "pacha", 1, "kronk");
    rig_run(r, r->now + 600);
    assert_int_equal(r->stream_count, 1);
    rig_stream_opened(r, &r->streams[0]);
    buf_init(&ack, 100);
    wire_put(&ack, &(struct wire_message){.type = WIRE_ACK, .ack.seq = seq});
    rig_stream_data(r, &r->streams[0], buf_bytes(&ack));
    const struct wire_node still = node("pacha", 2, MEMBER_ALIVE); /* it wrote this before it knew */
    put_state(&pacha, &still, 1, 0);
    for (size_t i = 1; i <= 2; i++) {
        assert_int_equal(r->stream_count, i + 1);
        rig_stream_opened(r, &r->streams[i]);
        assert_int_equal(answer(&r->streams[i]).type, WIRE_PUSH_PULL);
        rig_stream_data(r, &r->streams[i], buf_bytes(&pacha));
    }
    assert_int_equal(r->stream_count, 3);
    assert_int_equal(rig_state(r, "pacha"), MEMBER_SUSPECT);
    buf_done(&ack);
    buf_done(&pacha);
}

/* A TCP ping is answered under its number, and only under our name. */
static void a_stream_ping_is_answered(void **state)
{
    struct rig *r = *state;
    for (int right = 0; right < 2; right++) {
        struct buf b;
        buf_init(&b, 1000);
        wire_put(&b, &(struct wire_message){.type = WIRE_PING,
                                            .ping = {.node = bytes_str(right ? "self" : "other"), .seq = 9}});
        struct rig_stream *stream = rig_accept(r, 2);
        rig_stream_data(r, stream, buf_bytes(&b));
        assert_true(stream->closed);
        assert_int_equal(stream->sent.len > 0, right);
        if (right)
            assert_int_equal(answer(stream).ack.seq, 9);
        buf_done(&b);
    }
}

/* What cannot be read is told to the asker and counted, one counter each. */
static void bad_streams_are_refused(void **state)
{
    struct rig *r = *state;
    const struct {
        const char *bytes;
        size_t len;
        const char *counter;
    } table[] = {
        {"\x0a\0\0\0\x20", 5, "swim_streams_encrypted"},
        {"\xf4\x04lab1", 6, "swim_streams_labelled"},
        {"\x63", 1, "swim_streams_unknown_type"},
        {"\x06\xc3", 2, "swim_streams_malformed"},
        /* a push/pull of 2^31 nodes */
        {"\x06\x81\xa5Nodes\xce\x80\0\0\0", 13, "swim_streams_oversized"},
        {"\x09\x82\xa4"
         "Algo\x07\xa3"
         "Buf\xa1x",
         14, "swim_streams_unknown_type"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint64_t before = rig_counter(r, table[i].counter);
        struct rig_stream *stream = rig_accept(r, 2);
        rig_stream_data(r, stream, bytes_of(table[i].bytes, table[i].len));
        assert_true(stream->closed);
        assert_int_equal(answer(stream).type, WIRE_ERR);
        assert_int_equal(rig_counter(r, table[i].counter), before + 1);
    }
}

/* A stream that stays silent ends at the profile's TCP timeout, not before. */
static void a_silent_stream_ends(void **state)
{
    struct rig *r = *state;
    uint64_t start = r->now;
    struct rig_stream *stream = rig_accept(r, 2);
    rig_stream_data(r, stream, bytes_str("\x06"));
    rig_run(r, start + 9999);
    assert_false(stream->closed);
    rig_run(r, start + 10000);
    assert_true(stream->closed);
}

/* The 129th stream is closed at once; the others stay. */
static void streams_are_bounded(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 128; i++)
        assert_false(rig_accept(r, 2)->closed);
    assert_true(rig_accept(r, 2)->closed);
    assert_int_equal(rig_counter(r, "swim_streams_refused"), 1);
}

/* No stream may grow for ever, whatever it promises. */
static void a_stream_has_a_limit(void **state)
{
    struct rig *r = *state;
    struct rig_stream *stream = rig_accept(r, 2);
    rig_stream_data(r, stream,
                    bytes_of("\x09\x82\xa4"
                             "Algo\x00\xa3"
                             "Buf\xdb\x7f\xff\xff\xff",
                             17));
    enum { PIECE = 1 << 20 };
    uint8_t *piece = mem_new(PIECE);
    for (int i = 0; i < 24 && !stream->closed; i++)
        rig_stream_data(r, stream, bytes_of(piece, PIECE));
    free(piece);
    assert_true(stream->closed);
    assert_int_equal(rig_counter(r, "swim_streams_oversized"), 1);
}

/* A user message is read to its end and ignored. */
static void user_messages_are_ignored(void **state)
{
    struct rig *r = *state;
    struct rig_stream *stream = rig_accept(r, 2);
    rig_stream_data(r, stream, bytes_of("\x08\x81\xaaUserMsgLen\x08reli", 18));
    rig_stream_data(r, stream, bytes_str("able"));
    assert_int_equal(stream->sent.len, 0);
    assert_false(stream->closed); /* the sender closes */
    assert_int_equal(rig_counter(r, "swim_user_messages_ignored"), 1);
}

/* The asker hears the text of an err message. */
static void a_refused_join_tells_why(void **state)
{
    struct rig *r = *state;
    struct effects out = {0};
    swim_join(r->s, r->now, 3, &(struct addr){{10, 0, 0, 2}, 4, 7946}, &out);
    uint64_t id = out.list[0].stream;
    assert_int_equal(out.list[0].kind, EFFECT_STREAM_OPEN);
    effects_done(&out);
    swim_stream_opened(r->s, r->now, id, &out);
    assert_int_equal(out.list[0].kind, EFFECT_STREAM_SEND);
    effects_done(&out);
    struct buf b;
    buf_init(&b, 1000);
    wire_put(&b, &(struct wire_message){.type = WIRE_ERR, .error.text = bytes_str("no way")});
    swim_stream_data(r->s, r->now, id, buf_bytes(&b), &out);
    buf_done(&b);
    effects_done(&out);

    struct swim_event event;
    assert_true(swim_next_event(r->s, &event));
    assert_int_equal(event.kind, SWIM_JOIN_DONE);
    assert_int_equal(event.ticket, 3);
    assert_int_equal(event.err, ERR_REFUSED);
    assert_string_equal(event.text, "no way");
    swim_event_done(&event);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_exchange_is_answered_and_merged),
        TEST(a_compressed_exchange_is_read),
        TEST(incompatible_versions_are_not_merged),
        TEST(a_suspect_is_heard_by_stream),
        TEST(a_stream_ping_is_answered),
        TEST(bad_streams_are_refused),
        TEST(a_silent_stream_ends),
        TEST(streams_are_bounded),
        TEST(a_stream_has_a_limit),
        TEST(user_messages_are_ignored),
        TEST(a_refused_join_tells_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
