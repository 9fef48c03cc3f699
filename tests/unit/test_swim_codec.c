/* swim: msgpack, LZW and packets, beyond what the captures show. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "lzw.h"
#include "mem.h"
#include "msgpack.h"
#include "packet.h"
#include "rng.h"
#include "wire.h"

#define BYTES(text) bytes_of(text, sizeof(text) - 1)

/* --- msgpack --- */

/* Every width of integer is one number; what is negative or too large is none. */
static void integers_of_every_width_are_read(void **state)
{
    const struct bytes sevens[] = {BYTES("\x07"),
                                   BYTES("\xcc\x07"),
                                   BYTES("\xcd\x00\x07"),
                                   BYTES("\xce\x00\x00\x00\x07"),
                                   BYTES("\xcf\x00\x00\x00\x00\x00\x00\x00\x07"),
                                   BYTES("\xd0\x07"),
                                   BYTES("\xd1\x00\x07"),
                                   BYTES("\xd2\x00\x00\x00\x07"),
                                   BYTES("\xd3\x00\x00\x00\x00\x00\x00\x00\x07")};
    for (size_t i = 0; i < sizeof sevens / sizeof *sevens; i++) {
        struct cursor c = cursor_of(sevens[i]);
        assert_int_equal(msgpack_uint(&c, 7), 7);
        assert_int_equal(cursor_finish(&c), OK);
        c = cursor_of(sevens[i]);
        msgpack_uint(&c, 6);
        assert_int_equal(c.err, ERR_MALFORMED);
        c = cursor_of(bytes_of(sevens[i].data, sevens[i].len - 1));
        msgpack_uint(&c, 7);
        assert_int_equal(c.err, ERR_TRUNCATED);
    }
    const struct bytes wrong[] = {BYTES("\xff"),  BYTES("\xd0\xff"), BYTES("\xd1\xff\xff"),
                                  BYTES("\xa1x"), BYTES("\xc3"),     BYTES("\x90")};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct cursor c = cursor_of(wrong[i]);
        msgpack_uint(&c, UINT64_MAX);
        assert_int_equal(c.err, ERR_MALFORMED);
    }
}

/* Old raw, str8 and bin are all bytes; nil is told from empty. */
static void bytes_of_every_family_are_read(void **state)
{
    const struct bytes forms[] = {BYTES("\xa2hi"),
                                  BYTES("\xd9\x02hi"),
                                  BYTES("\xda\x00\x02hi"),
                                  BYTES("\xdb\x00\x00\x00\x02hi"),
                                  BYTES("\xc4\x02hi"),
                                  BYTES("\xc5\x00\x02hi"),
                                  BYTES("\xc6\x00\x00\x00\x02hi")};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct cursor c = cursor_of(forms[i]);
        assert_true(bytes_equal(msgpack_raw(&c), bytes_str("hi")));
        assert_int_equal(cursor_finish(&c), OK);
    }
    struct cursor nil = cursor_of(BYTES("\xc0")), empty = cursor_of(BYTES("\xa0"));
    assert_null(msgpack_raw(&nil).data);
    assert_non_null(msgpack_raw(&empty).data);
    assert_int_equal(nil.err, OK);
}

/* A map in any order with strangers in it, nil fields, a field twice, one missing. */
static void maps_are_read_leniently(void **state)
{
    struct wire_message m;
    assert_int_equal(wire_decode(BYTES("\x03\x85"
                                       "\xa4Node\xa3old"
                                       "\xa7Unknown\x92\x81\xa1k\xcb\0\0\0\0\0\0\0\0\xc7\x01\x05x"
                                       "\xa4Node\xd9\x05pacha"
                                       "\xa4"
                                       "From\xc0"
                                       "\xa4Rest\xde\0\x01\xc2\xdc\0\0"
                                       "bytes behind are not looked at"),
                                 &m),
                     OK);
    assert_true(bytes_equal(m.accusation.node, bytes_str("pacha")));
    assert_int_equal(m.accusation.from.len, 0);
    assert_int_equal(m.accusation.incarnation, 0);
    assert_int_equal(wire_decode(BYTES("\x03\xc0"), &m), OK); /* nil for the whole */
}

/* A message as an array of its values, as declared in Go; bytes as an array of numbers. */
static void arrays_are_read(void **state)
{
    struct wire_message m;
    assert_int_equal(wire_decode(BYTES("\x03\x93\x07\xa5pacha\xa5kronk"), &m), OK);
    assert_int_equal(m.accusation.incarnation, 7);
    assert_true(bytes_equal(m.accusation.node, bytes_str("pacha")));
    assert_true(bytes_equal(m.accusation.from, bytes_str("kronk")));
    assert_int_equal(wire_decode(BYTES("\x04\x97\x02\xa5pacha\x94\x0a\0\0\x02\xcd\x1f\x0a\xc0"
                                       "\xdc\0\x06\x01\x05\x02\0\0\0"
                                       "\x81\xa1k\xa5value too many"),
                                 &m),
                     OK);
    assert_int_equal(m.alive.incarnation, 2);
    assert_true(bytes_equal(m.alive.node, bytes_str("pacha")));
    assert_true(bytes_equal(m.alive.addr, bytes_of("\x0a\0\0\x02", 4)));
    assert_int_equal(m.alive.port, 7946);
    assert_null(m.alive.meta.data);
    assert_true(bytes_equal(m.alive.vsn, bytes_of("\x01\x05\x02\0\0\0", 6)));
    assert_int_equal(wire_decode(BYTES("\x01\x95\x09\x94\x0a\0\0\x03\xcd\x1f\x0a\xa1p\xc3"), &m), OK);
    assert_int_equal(m.indirect_ping.seq, 9);
    assert_int_equal(m.indirect_ping.target.data[3], 3);
    assert_int_equal(m.indirect_ping.port, 7946);
    assert_true(m.indirect_ping.nack);
    assert_int_equal(m.indirect_ping.source_port, 0); /* not there */
    assert_int_equal(wire_decode(BYTES("\x00\x95\x05\xa1n\x91\x01\x19\xa1s"), &m), OK);
    assert_int_equal(m.ping.seq, 5);
    assert_int_equal(m.ping.source_port, 25);
    assert_true(bytes_equal(m.ping.source_node, bytes_str("s")));
    assert_int_equal(wire_decode(BYTES("\x02\x92\x05\xc0"), &m), OK);
    assert_int_equal(m.ack.seq, 5);
    assert_int_equal(wire_decode(BYTES("\x06\x93\x02\x03\xc3"), &m), OK);
    assert_int_equal(m.push_pull.nodes, 2);
    assert_int_equal(m.push_pull.user_state_len, 3);
    assert_true(m.push_pull.join);
    struct wire_node node;
    struct cursor c = cursor_of(BYTES("\x97\xa1n\x91\x01\x02\xc0\x03\x01\xc0"));
    assert_int_equal(wire_read_node(&c, &node), OK);
    assert_int_equal(node.port, 2);
    assert_int_equal(node.incarnation, 3);
    assert_int_equal(node.state, 1);
    assert_int_equal(wire_decode(BYTES("\x02\x92\x05\x92\x01\xcc"), &m), ERR_MALFORMED); /* no byte each */
    assert_int_equal(wire_decode(BYTES("\x02\x92\x05\xdd\xff\xff\xff\xff"), &m), ERR_TRUNCATED);
    assert_int_equal(wire_decode(BYTES("\x03\x93\x07\x93\x01\x02\x03\xc0"), &m), ERR_MALFORMED); /* a text */
}

/* Promises of billions of values cost nothing. */
static void false_promises_are_truncated(void **state)
{
    const struct bytes lies[] = {BYTES("\xdf\xff\xff\xff\xff\x01\x02"),
                                 BYTES("\xdd\xff\xff\xff\xff\x91\x91\x91"), BYTES("\xdb\xff\xff\xff\xff"),
                                 BYTES("\xc9\xff\xff\xff\xff\x01")};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct cursor c = cursor_of(lies[i]);
        msgpack_skip(&c);
        assert_int_equal(c.err, ERR_TRUNCATED);
    }
}

/* A hundred thousand nested arrays are passed over without a stack. */
static void deep_nesting_is_flat(void **state)
{
    enum { DEPTH = 100000 };
    uint8_t *deep = mem_new(DEPTH + 1);
    memset(deep, 0x91, DEPTH);
    deep[DEPTH] = 0xc0;
    struct cursor c = cursor_of(bytes_of(deep, DEPTH + 1));
    msgpack_skip(&c);
    assert_int_equal(cursor_finish(&c), OK);
    free(deep);
}

/* --- LZW --- */

static void round_trip(struct bytes plain)
{
    struct buf packed, again;
    buf_init(&packed, 1 << 22);
    buf_init(&again, plain.len);
    lzw_encode(plain, &packed);
    assert_int_equal(lzw_decode(buf_bytes(&packed), &again), OK);
    assert_true(bytes_equal(buf_bytes(&again), plain));

    struct buf cut;
    buf_init(&cut, plain.len);
    assert_int_equal(lzw_decode(bytes_of(packed.data, packed.len - 1), &cut), ERR_TRUNCATED);
    if (plain.len > 0) {
        struct buf tight;
        buf_init(&tight, plain.len - 1);
        assert_int_equal(lzw_decode(buf_bytes(&packed), &tight), ERR_TOO_LARGE);
        buf_done(&tight);
    }
    buf_done(&cut);
    buf_done(&packed);
    buf_done(&again);
}

/* Noise, repetition and nothing, over the widths of codes and full tables. */
static void lzw_returns_what_it_was_given(void **state)
{
    enum { MOST = 100000 };
    uint8_t *bytes = mem_new(MOST);
    struct rng rng;
    rng_init(&rng, 3);
    round_trip(bytes_of(bytes, 0));
    for (unsigned letters = 1; letters <= 256; letters *= 2) {
        for (size_t i = 0; i < MOST; i++)
            bytes[i] = (uint8_t)rng_below(&rng, letters);
        for (size_t len = 1; len <= MOST; len = len * 3 + 1)
            round_trip(bytes_of(bytes, len));
    }
    free(bytes);
}

/* A code that nothing has defined yet. */
static void undefined_codes_are_malformed(void **state)
{
    struct buf out;
    buf_init(&out, 100);
    /* clear (256), then 300, nine bits each, least significant first */
    assert_int_equal(lzw_decode(BYTES("\x00\x59\x02\x00"), &out), ERR_MALFORMED);
    buf_done(&out);
}

/* --- packets --- */

struct tray {
    char text[64];
};

static void on_message(void *ctx, struct bytes message)
{
    struct tray *tray = ctx;
    strncat(tray->text, (const char *)message.data + 1, message.len - 1);
    strcat(tray->text, ";");
}

static struct packet_faults read_packet(struct bytes packet, struct tray *tray)
{
    struct packet_faults faults = {0};
    *tray = (struct tray){0};
    packet_read(packet, on_message, tray, &faults);
    return faults;
}

/* The whole parts of a cut compound are used, a cut table of lengths spoils all. */
static void cut_compounds_give_what_is_whole(void **state)
{
    struct tray tray;
    struct bytes whole = BYTES("\x07\x02\x00\x02\x00\x02\x08"
                               "a\x08"
                               "b");
    assert_int_equal(read_packet(whole, &tray).truncated_compounds, 0);
    assert_string_equal(tray.text, "a;b;");
    assert_int_equal(read_packet(bytes_of(whole.data, whole.len - 1), &tray).truncated_compounds, 1);
    assert_string_equal(tray.text, "a;");
    assert_int_equal(read_packet(bytes_of(whole.data, 5), &tray).truncated_compounds, 1);
    assert_string_equal(tray.text, "");
}

/* A wrong CRC drops all; a packet too short to have one is read as it is. */
static void the_crc_is_checked(void **state)
{
    struct tray tray;
    struct buf b;
    buf_init(&b, 100);
    const struct bytes message = BYTES("\x08"
                                       "a");
    packet_build(&b, &message, 1, false, true);
    assert_int_equal(read_packet(buf_bytes(&b), &tray).bad_crc, 0);
    assert_string_equal(tray.text, "a;");
    b.data[b.len - 1] ^= 1;
    assert_int_equal(read_packet(buf_bytes(&b), &tray).bad_crc, 1);
    assert_string_equal(tray.text, "");
    buf_done(&b);
}

/* Compounds in compounds are read, to a depth. */
static void nesting_has_an_end(void **state)
{
    struct tray tray;
    uint8_t packet[200] = "\x08"
                          "a";
    size_t len = 2;
    for (int depth = 1; depth <= PACKET_NESTING_MAX + 1; depth++) {
        memmove(packet + 4, packet, len);
        memcpy(packet, (uint8_t[]){7, 1, 0, (uint8_t)len}, 4);
        len += 4;
        struct packet_faults faults = read_packet(bytes_of(packet, len), &tray);
        assert_int_equal(faults.too_deep, depth > PACKET_NESTING_MAX);
        assert_string_equal(tray.text, depth > PACKET_NESTING_MAX ? "" : "a;");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_width_are_read),
        cmocka_unit_test(bytes_of_every_family_are_read),
        cmocka_unit_test(maps_are_read_leniently),
        cmocka_unit_test(arrays_are_read),
        cmocka_unit_test(false_promises_are_truncated),
        cmocka_unit_test(deep_nesting_is_flat),
        cmocka_unit_test(lzw_returns_what_it_was_given),
        cmocka_unit_test(undefined_codes_are_malformed),
        cmocka_unit_test(cut_compounds_give_what_is_whole),
        cmocka_unit_test(the_crc_is_checked),
        cmocka_unit_test(nesting_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
