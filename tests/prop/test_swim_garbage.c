/* Nothing that arrives can harm a node: every prefix of every captured packet and
 * stream, thousands with flipped bits, and plain noise go through the readers.
 * What is looked for is a crash or a sanitizer's complaint, and that the work
 * stays in proportion to what came. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "lzw.h"
#include "mem.h"
#include "packet.h"
#include "rng.h"
#include "vectors.h"
#include "wire.h"

static const char *const folders[] = {"memberlist/head-1b4c746", "memberlist/debian-0.2.2"};
enum { FOLDERS = 2, FLIPS_PER_VECTOR = 300, NOISES = 20000 };

struct seen {
    size_t messages, bytes;
};

static void on_message(void *ctx, struct bytes message)
{
    struct seen *seen = ctx;
    struct wire_message m;
    seen->messages++;
    seen->bytes += message.len;
    (void)!wire_decode(message, &m);
}

/* Through every reader, from a block of exactly its size, so that one byte too
 * far is a fault that the sanitizer sees. */
static void feed(struct bytes input)
{
    uint8_t *exact = mem_copy(input.data, input.len);
    struct bytes bytes = bytes_of(exact, input.len);
    struct seen seen = {0};
    struct packet_faults faults = {0};
    packet_read(bytes, on_message, &seen, &faults);
    assert_true(seen.bytes <= (size_t)PACKET_PLAIN_MAX * PACKET_NESTING_MAX + input.len);

    struct cursor c = cursor_of(bytes);
    struct wire_message m;
    if (wire_read(&c, &m) == OK && m.type == WIRE_PUSH_PULL) {
        struct wire_node node;
        size_t nodes = 0;
        for (; nodes < m.push_pull.nodes && wire_read_node(&c, &node) == OK; nodes++)
            ;
        assert_true(nodes <= input.len); /* a node takes a byte at least */
    }
    struct buf plain;
    buf_init(&plain, PACKET_PLAIN_MAX);
    (void)!lzw_decode(bytes, &plain);
    assert_true(plain.len <= PACKET_PLAIN_MAX);
    buf_done(&plain);
    free(exact);
}

static void every_prefix(void **state)
{
    size_t fed = 0;
    for (int f = 0; f < FOLDERS; f++) {
        struct vectors vectors = vectors_load(folders[f]);
        for (size_t i = 0; i < vectors.count; i++)
            for (size_t n = 0; n <= vectors.list[i].len && n <= 2000; n++, fed++)
                feed(bytes_of(vectors.list[i].data, n));
        vectors_done(&vectors);
    }
    assert_true(fed > 10000);
}

static void flipped_bits(void **state)
{
    struct rng rng;
    rng_init(&rng, 1);
    for (int f = 0; f < FOLDERS; f++) {
        struct vectors vectors = vectors_load(folders[f]);
        for (size_t i = 0; i < vectors.count; i++) {
            struct vector *v = &vectors.list[i];
            if (v->len > 2000)
                continue;
            /* behind the CRC, which would catch it all */
            size_t from = v->data[0] == WIRE_CRC ? CRC_HEADER : 0;
            for (int k = 0; k < FLIPS_PER_VECTOR; k++) {
                uint8_t *copy = mem_copy(v->data, v->len);
                for (uint64_t flips = 1 + rng_below(&rng, 4); flips > 0; flips--)
                    copy[from + rng_below(&rng, v->len - from)] ^= (uint8_t)(1u << rng_below(&rng, 8));
                feed(bytes_of(copy + from, v->len - from));
                free(copy);
            }
        }
        vectors_done(&vectors);
    }
}

static void noise(void **state)
{
    struct rng rng;
    rng_init(&rng, 2);
    uint8_t bytes[256];
    for (int k = 0; k < NOISES; k++) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)rng_next(&rng);
        bytes[0] %= WIRE_ERR + 2;
        feed(bytes_of(bytes, rng_below(&rng, sizeof bytes + 1)));
    }
}

/* Compress in compress in compress: the whole packet has one allowance. */
static void a_bomb_fizzles(void **state)
{
    uint8_t *zeros = mem_new(PACKET_PLAIN_MAX - 64);
    struct buf layer, packed;
    buf_init(&layer, 1 << 20);
    buf_put_u8(&layer, WIRE_USER);
    buf_put(&layer, zeros, PACKET_PLAIN_MAX - 64);
    for (int depth = 0; depth < 3; depth++) {
        buf_init(&packed, 1 << 20);
        lzw_encode(buf_bytes(&layer), &packed);
        buf_reset(&layer);
        wire_put(&layer,
                 &(struct wire_message){.type = WIRE_COMPRESS, .compress.packed = buf_bytes(&packed)});
        buf_done(&packed);
    }
    struct bytes parts[40];
    for (int i = 0; i < 40; i++)
        parts[i] = buf_bytes(&layer);
    struct buf packet;
    buf_init(&packet, PACKET_MAX);
    packet_build(&packet, parts, 40, false, false);
    assert_int_equal(packet.err, OK);

    struct seen seen = {0};
    struct packet_faults faults = {0};
    packet_read(buf_bytes(&packet), on_message, &seen, &faults);

    assert_int_equal(seen.messages, 0); /* the layers between used up the allowance */
    assert_int_equal(faults.bad_compressions, 40);
    buf_done(&packet);
    buf_done(&layer);
    free(zeros);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_prefix),
        cmocka_unit_test(flipped_bits),
        cmocka_unit_test(noise),
        cmocka_unit_test(a_bomb_fizzles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
