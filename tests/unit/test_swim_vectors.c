/* What real memberlist nodes sent (tests/vectors/memberlist): every packet and
 * stream decodes to its expected fields, and what we write is the same bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_tree.h>

#include "base64.h"
#include "crc.h"
#include "envelope.h"
#include "lzw.h"
#include "mem.h"
#include "packet.h"
#include "vectors.h"
#include "wire.h"

enum { FOLDERS = 2 };
static const char *const folders[FOLDERS] = {"memberlist/head-1b4c746", "memberlist/debian-0.2.2"};

/* What the test looked at: one that looks at nothing must not pass. */
struct tally {
    unsigned packets, streams;
    unsigned sealed, labelled; /* of these */
    unsigned messages, nodes;
    unsigned packed;      /* streams whose LZW form we made again bit for bit */
    unsigned signed_ints; /* messages that we write with unsigned lengths instead */
};

struct reading {
    const char *name; /* of the vector, for failures */
    bool signed_lengths;
    struct tally *tally;
    struct envelope envelope; /* of the one who receives it */
    /* of a packet: the expected messages, and those seen so far */
    yajl_val leaves[COMPOUND_PARTS_MAX];
    struct bytes parts[COMPOUND_PARTS_MAX];
    size_t leaf_count, seen;
};

static yajl_val get(yajl_val object, const char *key)
{
    return yajl_tree_get(object, (const char *[]){key, NULL}, yajl_t_any);
}

static const char *text_of(yajl_val object, const char *key)
{
    yajl_val v = get(object, key);
    return YAJL_IS_STRING(v) ? YAJL_GET_STRING(v) : "";
}

static bool is_true(yajl_val object, const char *key)
{
    yajl_val v = get(object, key);
    return v && YAJL_IS_TRUE(v);
}

static void expect_uint(struct reading *r, yajl_val m, const char *key, uint64_t value)
{
    yajl_val v = get(m, key);
    if (v ? YAJL_GET_INTEGER(v) != (long long)value : value != 0)
        fail_msg("%s: %s is %llu", r->name, key, (unsigned long long)value);
}

/* {"hex": ..}, {"len": .., "crc32": ..}, plain text, or null. */
static void expect_bytes(struct reading *r, yajl_val m, const char *key, struct bytes value)
{
    yajl_val v = get(m, key);
    bool right;
    if (!v || YAJL_IS_NULL(v)) {
        right = value.data == NULL;
    } else if (YAJL_IS_STRING(v)) {
        right = bytes_equal(value, bytes_str(YAJL_GET_STRING(v)));
    } else if (get(v, "hex")) {
        char *hex = calloc(1, value.len * 2 + 1);
        for (size_t i = 0; i < value.len; i++)
            snprintf(hex + 2 * i, 3, "%02x", value.data[i]);
        right = value.data && strcmp(hex, text_of(v, "hex")) == 0;
        free(hex);
    } else {
        char crc[9];
        snprintf(crc, sizeof crc, "%08x", crc32_ieee(0, value));
        right = (uint64_t)YAJL_GET_INTEGER(get(v, "len")) == value.len &&
                strcmp(crc, text_of(v, "crc32")) == 0;
    }
    if (!right)
        fail_msg("%s: %s is not as expected (%zu bytes)", r->name, key, value.len);
}

static void expect_fields(struct reading *r, yajl_val expected, const struct wire_message *m)
{
    expect_uint(r, expected, "type", m->type);
    switch (m->type) {
    case WIRE_PING:
        expect_bytes(r, expected, "Node", m->ping.node);
        expect_uint(r, expected, "SeqNo", m->ping.seq);
        expect_bytes(r, expected, "SourceAddr", m->ping.source_addr);
        expect_bytes(r, expected, "SourceNode", m->ping.source_node);
        expect_uint(r, expected, "SourcePort", m->ping.source_port);
        break;
    case WIRE_INDIRECT_PING:
        assert_int_equal(is_true(expected, "Nack"), m->indirect_ping.nack);
        expect_bytes(r, expected, "Node", m->indirect_ping.node);
        expect_uint(r, expected, "SeqNo", m->indirect_ping.seq);
        expect_uint(r, expected, "Port", m->indirect_ping.port);
        expect_bytes(r, expected, "Target", m->indirect_ping.target);
        expect_bytes(r, expected, "SourceAddr", m->indirect_ping.source_addr);
        expect_bytes(r, expected, "SourceNode", m->indirect_ping.source_node);
        expect_uint(r, expected, "SourcePort", m->indirect_ping.source_port);
        break;
    case WIRE_ACK:
        expect_bytes(r, expected, "Payload", m->ack.payload);
        expect_uint(r, expected, "SeqNo", m->ack.seq);
        break;
    case WIRE_SUSPECT:
    case WIRE_DEAD:
        expect_bytes(r, expected, "From", m->accusation.from);
        expect_bytes(r, expected, "Node", m->accusation.node);
        expect_uint(r, expected, "Incarnation", m->accusation.incarnation);
        break;
    case WIRE_ALIVE:
        expect_bytes(r, expected, "Addr", m->alive.addr);
        expect_bytes(r, expected, "Meta", m->alive.meta);
        expect_bytes(r, expected, "Node", m->alive.node);
        expect_bytes(r, expected, "Vsn", m->alive.vsn);
        expect_uint(r, expected, "Incarnation", m->alive.incarnation);
        expect_uint(r, expected, "Port", m->alive.port);
        break;
    case WIRE_NACK:
        expect_uint(r, expected, "SeqNo", m->nack.seq);
        break;
    case WIRE_ERR:
        expect_bytes(r, expected, "Error", m->error.text);
        break;
    case WIRE_PUSH_PULL:
        assert_int_equal(is_true(get(expected, "header"), "Join"), m->push_pull.join);
        expect_uint(r, get(expected, "header"), "Nodes", m->push_pull.nodes);
        expect_uint(r, get(expected, "header"), "UserStateLen", m->push_pull.user_state_len);
        break;
    case WIRE_USER:
        expect_uint(r, get(expected, "header"), "UserMsgLen", m->user_header.len);
        break;
    default:
        fail_msg("%s: no expectation for type %d", r->name, (int)m->type);
    }
    r->tally->messages++;
}

/* Writing what was read gives the bytes that were read. (The newer library writes
 * lengths as signed integers, which older ones do not understand: we do not.) */
static void expect_same_bytes(struct reading *r, const struct wire_message *m, struct bytes original)
{
    struct buf b;
    buf_init(&b, PACKET_MAX);
    wire_put(&b, m);
    bool signed_length = r->signed_lengths &&
                         ((m->type == WIRE_USER && m->user_header.len > 127) ||
                          (m->type == WIRE_PUSH_PULL && m->push_pull.user_state_len > 127));
    if (signed_length)
        r->tally->signed_ints++;
    else if (!bytes_equal(buf_bytes(&b), original))
        fail_msg("%s: a message of type %d is written otherwise", r->name, (int)m->type);
    buf_done(&b);
}

/* --- packets --- */

/* The messages in an expectation, compounds and compression taken apart. */
static void flatten(struct reading *r, yajl_val message)
{
    yajl_val parts = get(message, "parts");
    if (get(message, "inner")) {
        flatten(r, get(message, "inner"));
    } else if (YAJL_IS_ARRAY(parts)) {
        for (size_t i = 0; i < YAJL_GET_ARRAY(parts)->len; i++)
            flatten(r, YAJL_GET_ARRAY(parts)->values[i]);
    } else {
        r->leaves[r->leaf_count++] = message;
    }
}

static void on_message(void *ctx, struct bytes message)
{
    struct reading *r = ctx;
    assert_true(r->seen < r->leaf_count);
    yajl_val expected = r->leaves[r->seen];
    r->parts[r->seen++] = bytes_of(mem_copy(message.data, message.len), message.len);
    if (message.data[0] == WIRE_USER) {
        expect_uint(r, expected, "type", WIRE_USER);
        expect_bytes(r, expected, "payload", bytes_of(message.data + 1, message.len - 1));
        r->tally->messages++;
        return;
    }
    struct wire_message m;
    assert_int_equal(wire_decode(message, &m), OK);
    expect_fields(r, expected, &m);
    expect_same_bytes(r, &m, message);
}

/* Sealed again under its nonce, it is the same text, and under another label it is
 * not opened. */
static void check_seal(struct reading *r, yajl_val encrypted, struct seal_context context,
                       struct bytes sealed, struct bytes plain)
{
    uint8_t nonce[SEAL_NONCE];
    const char *hex = text_of(encrypted, "nonce");
    struct buf again;
    for (size_t i = 0; i < SEAL_NONCE; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        nonce[i] = (uint8_t)byte;
    }
    expect_uint(r, encrypted, "version", sealed.data[0]);
    expect_uint(r, encrypted, "padding", sealed.len - SEAL_OVERHEAD - plain.len);
    buf_init(&again, 1 << 20);
    struct seal *seal = seal_new(keyring_key_at(r->envelope.keys, 0));
    seal_put(seal, sealed.data[0], nonce, context, plain, &again);
    assert_true(bytes_equal(buf_bytes(&again), sealed));
    buf_reset(&again);
    context.label = bytes_str("lab2");
    assert_int_equal(seal_open(seal, context, sealed, &again), ERR_CHECKSUM);
    seal_free(seal);
    buf_done(&again);
    r->tally->sealed++;
}

/* Takes the label and the seal off, and checks both. */
static struct bytes open_packet(struct reading *r, const struct vector *v, yajl_val expected,
                                struct buf *scratch)
{
    struct bytes packet = bytes_of(v->data, v->len), plain;
    struct bytes label = r->envelope.label;
    yajl_val encrypted = get(expected, "encrypted");
    size_t at;
    assert_int_equal(envelope_open_packet(&r->envelope, packet, scratch, &plain, &at), ENVELOPE_FINE);
    assert_int_equal(at, 0);
    size_t header = label.len ? LABEL_HEADER + label.len : 0;
    if (encrypted)
        check_seal(r, encrypted, (struct seal_context){.label = label},
                   bytes_of(v->data + header, v->len - header), plain);
    else
        assert_int_equal(plain.len, v->len - header);

    /* Without the key, or with another label, it is not read. */
    struct buf none;
    buf_init(&none, PACKET_MAX);
    struct envelope stranger = {.label = label};
    assert_int_equal(envelope_open_packet(&stranger, packet, &none, &plain, &at),
                     encrypted ? ENVELOPE_SEALED : ENVELOPE_FINE);
    stranger = (struct envelope){.keys = r->envelope.keys, .label = bytes_str("lab2")};
    assert_int_equal(envelope_open_packet(&stranger, packet, &none, &plain, &at), ENVELOPE_LABEL);
    buf_done(&none);
    return encrypted ? buf_bytes(scratch) : bytes_of(v->data + header, v->len - header);
}

static void check_packet(struct reading *r, const struct vector *v, yajl_val expected)
{
    struct packet_faults faults = {0};
    struct buf scratch;
    buf_init(&scratch, PACKET_MAX);
    r->tally->packets++;
    r->tally->labelled += r->envelope.label.len > 0;
    struct bytes plain = open_packet(r, v, expected, &scratch);
    flatten(r, get(expected, "message"));

    packet_read(plain, on_message, r, &faults);

    assert_int_equal(r->seen, r->leaf_count);
    assert_memory_equal(&faults, &(struct packet_faults){0}, sizeof faults);

    /* Built again from its messages it is the same packet. In the scenarios from
     * 30 on the sender compresses where that helps. */
    struct buf again;
    buf_init(&again, PACKET_MAX);
    packet_build(&again, r->parts, r->seen, v->name[0] >= '3', get(expected, "crc32") != NULL);
    assert_int_equal(again.len, plain.len);
    assert_memory_equal(again.data, plain.data, plain.len);
    buf_done(&again);
    for (size_t i = 0; i < r->seen; i++)
        free((void *)r->parts[i].data);
    buf_done(&scratch);
}

/* --- streams --- */

static void check_body(struct reading *r, struct bytes body, yajl_val expected);

static void check_compressed(struct reading *r, const struct wire_message *m, yajl_val expected)
{
    struct buf plain, packed;
    buf_init(&plain, 1 << 20);
    buf_init(&packed, 1 << 20);
    assert_int_equal(packet_decompress(&m->compress, &plain), OK);
    expect_uint(r, expected, "plain_len", plain.len);
    expect_uint(r, expected, "compressed_len", m->compress.packed.len);
    check_body(r, buf_bytes(&plain), get(expected, "inner"));
    assert_true(is_true(expected, "reencodes_identically"));
    lzw_encode(buf_bytes(&plain), &packed);
    assert_true(bytes_equal(buf_bytes(&packed), m->compress.packed));
    r->tally->packed++;
    buf_done(&plain);
    buf_done(&packed);
}

static void check_nodes(struct reading *r, struct cursor *c, yajl_val nodes, uint64_t count)
{
    assert_int_equal(YAJL_GET_ARRAY(nodes)->len, count);
    for (size_t i = 0; i < count; i++) {
        yajl_val expected = YAJL_GET_ARRAY(nodes)->values[i];
        const uint8_t *start = c->at;
        struct wire_node node;
        assert_int_equal(wire_read_node(c, &node), OK);
        expect_bytes(r, expected, "Addr", node.addr);
        expect_bytes(r, expected, "Meta", node.meta);
        expect_bytes(r, expected, "Name", node.name);
        expect_bytes(r, expected, "Vsn", node.vsn);
        expect_uint(r, expected, "Incarnation", node.incarnation);
        expect_uint(r, expected, "Port", node.port);
        expect_uint(r, expected, "State", node.state);
        struct buf b;
        buf_init(&b, PACKET_MAX);
        wire_put_node(&b, &node);
        assert_true(bytes_equal(buf_bytes(&b), bytes_of(start, (size_t)(c->at - start))));
        buf_done(&b);
        r->tally->nodes++;
    }
}

static void check_body(struct reading *r, struct bytes body, yajl_val expected)
{
    struct cursor c = cursor_of(body);
    struct wire_message m;
    assert_int_equal(wire_read(&c, &m), OK);
    if (m.type == WIRE_COMPRESS) {
        check_compressed(r, &m, expected);
        return;
    }
    expect_fields(r, expected, &m);
    expect_same_bytes(r, &m, bytes_of(body.data, (size_t)(c.at - body.data)));
    if (m.type == WIRE_PUSH_PULL)
        check_nodes(r, &c, get(expected, "nodes"), m.push_pull.nodes);
    if (m.type == WIRE_PUSH_PULL || m.type == WIRE_USER) {
        struct bytes user = cursor_bytes(&c, cursor_left(&c));
        assert_int_equal(user.len, m.type == WIRE_USER ? m.user_header.len : m.push_pull.user_state_len);
        if (get(expected, "user"))
            expect_bytes(r, expected, "user", user);
    }
    assert_int_equal(cursor_finish(&c), OK);
}

static void check_stream(struct reading *r, const struct vector *v, yajl_val expected)
{
    struct bytes stream = bytes_of(v->data, v->len), label;
    yajl_val encrypted = get(expected, "encrypted");
    size_t used, at;
    r->tally->streams++;
    assert_int_equal(envelope_read_label(stream, &label, &used), OK);
    if (get(expected, "label")) { /* the side that connects */
        assert_true(bytes_equal(label, r->envelope.label));
        assert_true(used > 0);
        r->tally->labelled++;
    } else {
        assert_int_equal(used, 0);
    }
    stream = bytes_of(stream.data + used, stream.len - used);
    if (!encrypted) {
        check_body(r, stream, get(expected, "message"));
        return;
    }
    struct buf plain;
    buf_init(&plain, 1 << 20);
    assert_int_equal(envelope_open_stream(&r->envelope, stream, &plain, &at), OK);
    expect_uint(r, encrypted, "length", stream.len - SEALED_STREAM_HEADER);
    struct seal_context context = {.header = bytes_of(stream.data, SEALED_STREAM_HEADER),
                                   .label = r->envelope.label};
    check_seal(r, encrypted, context,
               bytes_of(stream.data + SEALED_STREAM_HEADER, stream.len - SEALED_STREAM_HEADER),
               buf_bytes(&plain));
    check_body(r, buf_bytes(&plain), get(expected, "message"));
    buf_done(&plain);
}

static struct keyring *keys_of(yajl_val info)
{
    static const uint8_t random[NONCES_KEY] = {1};
    struct keyring *keys = keyring_new(random);
    yajl_val list = get(info, "keys_base64");
    for (size_t i = 0; i < YAJL_GET_ARRAY(list)->len; i++) {
        struct buf key;
        buf_init(&key, SEAL_KEY_MAX);
        assert_int_equal(base64_decode(bytes_str(YAJL_GET_STRING(YAJL_GET_ARRAY(list)->values[i])), &key),
                         OK);
        assert_int_equal(keyring_install(keys, buf_bytes(&key)), OK);
        buf_done(&key);
    }
    return keys;
}

static struct tally check_folder(const char *folder)
{
    struct tally tally = {0};
    struct vectors vectors = vectors_load(folder);
    for (size_t i = 0; i < vectors.count; i++) {
        const struct vector *v = &vectors.list[i];
        char why[256];
        yajl_val info = yajl_tree_parse(v->json, why, sizeof why);
        assert_non_null(info);
        struct reading r = {
            .name = v->name, .tally = &tally, .signed_lengths = strstr(folder, "head") != NULL};
        r.envelope = (struct envelope){.keys = keys_of(info), .label = bytes_str(text_of(info, "label"))};
        expect_uint(&r, info, "bytes", v->len);
        if (strcmp(text_of(info, "transport"), "udp") == 0)
            check_packet(&r, v, get(info, "expect"));
        else
            check_stream(&r, v, get(info, "expect"));
        keyring_free(r.envelope.keys);
        yajl_tree_free(info);
    }
    vectors_done(&vectors);
    return tally;
}

/* Every capture reads as the README of the vectors says, and is sealed again to the
 * same bytes. The counts are those of the folders. */
static void captured_traffic_reads_as_expected(void **state)
{
    struct tally head = check_folder(folders[0]);
    struct tally debian = check_folder(folders[1]);

    assert_memory_equal(&head, &((struct tally){29, 32, 18, 4, 69, 31, 13, 4}), sizeof head);
    assert_memory_equal(&debian, &((struct tally){27, 27, 15, 0, 62, 25, 11, 0}), sizeof debian);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captured_traffic_reads_as_expected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
