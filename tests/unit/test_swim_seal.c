/* swim: keys and labels. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "mem.h"
#include "packet.h"
#include "rng.h"
#include "swim_rig.h"

static const uint8_t random_key[NONCES_KEY] = {7};
static const uint8_t key1[16] = {1}, key2[32] = {2}, key3[24] = {3};
#define KEY(k) bytes_of(k, sizeof k)
static const struct seal_context nothing;

static struct keyring *ring(const uint8_t *first, size_t first_len, const uint8_t *second, size_t second_len)
{
    struct keyring *keys = keyring_new(random_key);
    if (first)
        assert_int_equal(keyring_install(keys, bytes_of(first, first_len)), OK);
    if (second)
        assert_int_equal(keyring_install(keys, bytes_of(second, second_len)), OK);
    return keys;
}
#define RING(a)     ring(a, sizeof a, NULL, 0)
#define RING2(a, b) ring(a, sizeof a, b, sizeof b)

static uint32_t name_of(struct bytes key)
{
    struct seal *seal = seal_new(key);
    uint32_t name = seal_fingerprint(seal);
    seal_free(seal);
    return name;
}

/* --- the seal --- */

/* Every length, both versions, every size of key: what is sealed is opened, and is
 * as long as was said. */
static void what_is_sealed_is_opened(void **state)
{
    const struct bytes keys[] = {KEY(key1), KEY(key3), KEY(key2)};
    uint8_t text[70], nonce[SEAL_NONCE] = {9};
    memset(text, 'x', sizeof text);
    for (size_t k = 0; k < 3; k++) {
        struct seal *seal = seal_new(keys[k]);
        for (unsigned version = 0; version <= 1; version++)
            for (size_t n = 0; n <= sizeof text; n++) {
                struct buf sealed, plain;
                buf_init(&sealed, 1000);
                buf_init(&plain, 1000);
                struct seal_context context = {bytes_str("head"), bytes_str("label")};
                nonce[0] = (uint8_t)n;
                seal_put(seal, version, nonce, context, bytes_of(text, n), &sealed);
                assert_int_equal(sealed.len, seal_length(version, n));
                assert_int_equal(seal_open(seal, context, buf_bytes(&sealed), &plain), OK);
                assert_true(bytes_equal(buf_bytes(&plain), bytes_of(text, n)));
                /* each bit counts, of the text and of what is authenticated beside it */
                buf_reset(&plain);
                sealed.data[1 + n % (sealed.len - 1)] ^= 0x10;
                assert_int_equal(seal_open(seal, context, buf_bytes(&sealed), &plain), ERR_CHECKSUM);
                sealed.data[1 + n % (sealed.len - 1)] ^= 0x10;
                assert_int_equal(seal_open(seal, nothing, buf_bytes(&sealed), &plain), ERR_CHECKSUM);
                assert_int_equal(plain.len, 0);
                buf_done(&sealed);
                buf_done(&plain);
            }
        seal_free(seal);
    }
}

/* What is too short, or of another version, is not sealed text. */
static void other_texts_are_refused(void **state)
{
    struct seal *seal = seal_new(KEY(key1));
    struct buf plain;
    buf_init(&plain, 100);
    uint8_t text[SEAL_OVERHEAD] = {1};
    assert_int_equal(seal_open(seal, nothing, bytes_of(text, 0), &plain), ERR_TRUNCATED);
    assert_int_equal(seal_open(seal, nothing, bytes_of(text, SEAL_OVERHEAD - 1), &plain), ERR_TRUNCATED);
    assert_int_equal(seal_open(seal, nothing, bytes_of(text, SEAL_OVERHEAD), &plain), ERR_CHECKSUM);
    text[0] = 2;
    assert_int_equal(seal_open(seal, nothing, bytes_of(text, SEAL_OVERHEAD), &plain), ERR_VERSION);
    /* version 0 with nothing in it has no padding either, though its tag fits */
    struct buf sealed;
    buf_init(&sealed, 100);
    seal_put(seal, 1, text, nothing, bytes_str(""), &sealed);
    sealed.data[0] = 0; /* the version is not authenticated, as memberlist has it */
    assert_int_equal(seal_open(seal, nothing, buf_bytes(&sealed), &plain), ERR_MALFORMED);
    assert_int_equal(plain.len, 0);
    buf_done(&sealed);
    buf_done(&plain);
    seal_free(seal);
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, SEAL_NONCE);
}

/* A hundred thousand nonces of each of two processes, all different. */
static void nonces_do_not_repeat(void **state)
{
    enum { EACH = 100000 };
    static uint8_t all[2 * EACH][SEAL_NONCE];
    for (size_t source = 0; source < 2; source++) {
        uint8_t key[NONCES_KEY] = {(uint8_t)source};
        struct nonces *nonces = nonces_new(key);
        for (size_t i = 0; i < EACH; i++)
            nonces_next(nonces, all[source * EACH + i]);
        nonces_free(nonces);
    }
    qsort(all, 2 * EACH, SEAL_NONCE, by_bytes);
    for (size_t i = 1; i < 2 * EACH; i++)
        assert_true(memcmp(all[i - 1], all[i], SEAL_NONCE) < 0);
}

/* --- the ring --- */

/* The first seals, all open; only the others can be removed. */
static void the_ring_keeps_its_rules(void **state)
{
    struct keyring *keys = RING2(key1, key2);
    uint32_t name1 = name_of(KEY(key1)), name2 = name_of(KEY(key2));
    assert_int_equal(keyring_install(keys, KEY(key2)), OK); /* again */
    assert_int_equal(keyring_count(keys), 2);
    assert_int_equal(keyring_install(keys, bytes_str("fifteen bytes..")), ERR_MALFORMED);
    assert_int_equal(keyring_remove(keys, name1), ERR_REFUSED);
    assert_int_equal(keyring_use(keys, 12345), ERR_NOT_FOUND);
    assert_int_equal(keyring_use(keys, name2), OK);
    assert_int_equal(keyring_name_at(keys, 0), name2);
    assert_int_equal(keyring_remove(keys, name1), OK);
    assert_int_equal(keyring_remove(keys, name1), ERR_NOT_FOUND);
    for (uint8_t i = 0; keyring_count(keys) < KEYRING_MAX; i++)
        assert_int_equal(keyring_install(keys, bytes_of((uint8_t[16]){200, i}, 16)), OK);
    assert_int_equal(keyring_install(keys, KEY(key3)), ERR_TOO_LARGE);
    keyring_free(keys);
}

static void names_are_eight_digits(void **state)
{
    char text[KEYRING_NAME];
    uint32_t name;
    assert_string_equal(key_name_text(0x00c0ffee, text), "00c0ffee");
    assert_int_equal(key_name_parse(bytes_str("00C0ffee"), &name), OK);
    assert_int_equal(name, 0x00c0ffee);
    assert_int_equal(key_name_parse(bytes_str("0c0ffee"), &name), ERR_MALFORMED);
    assert_int_equal(key_name_parse(bytes_str("00c0ffeg"), &name), ERR_MALFORMED);
    /* SHA-256 of sixteen zeros starts with 374708ff */
    assert_int_equal(name_of(bytes_of((uint8_t[16]){0}, 16)), 0x374708ff);
}

/* --- a node with keys and a label --- */

static const struct wire_message ping = {.type = WIRE_PING,
                                         .ping = {.node = {(const uint8_t *)"self", 4}, .seq = 5}};

static void feed_sealed(struct rig *r, struct keyring *keys, const char *label, const struct wire_message *m)
{
    struct envelope e = {.keys = keys, .label = bytes_str(label), .seal_version = SEAL_VERSION};
    struct buf plain, packet;
    buf_init(&plain, PACKET_MAX);
    buf_init(&packet, PACKET_MAX);
    wire_put(&plain, m);
    envelope_put_packet(&e, 0, buf_bytes(&plain), &packet);
    rig_feed_raw(r, 2, buf_bytes(&packet));
    buf_done(&plain);
    buf_done(&packet);
}

/* Only what has the label and one of the keys is believed; each other kind has its
 * counter. */
static void packets_are_checked(void **state)
{
    struct keyring *ours = RING2(key1, key2), *second = RING(key2), *other = RING(key3);
    struct rig *r = rig_new_sealed(ours, "lab1");
    feed_sealed(r, second, "lab1", &ping);
    assert_int_equal(rig_count(r, WIRE_ACK), 1);
    feed_sealed(r, other, "lab1", &ping);
    assert_int_equal(rig_counter(r, "swim_packets_wrong_key"), 1);
    feed_sealed(r, NULL, "lab1", &ping);
    assert_int_equal(rig_counter(r, "swim_packets_unsealed"), 1);
    feed_sealed(r, ours, "lab2", &ping);
    feed_sealed(r, ours, "", &ping);
    rig_feed_raw(r, 2, bytes_of("\xf4\0x", 3));
    rig_feed_raw(r, 2, bytes_of("\xf4\4la", 4));
    assert_int_equal(rig_counter(r, "swim_packets_labelled"), 4);
    assert_int_equal(rig_count(r, WIRE_ACK), 1);
    rig_free(r);
    keyring_free(ours);
    keyring_free(second);
    keyring_free(other);
}

/* Without keys and label, what has them is dropped. */
static void a_plain_node_drops_what_is_sealed(void **state)
{
    struct keyring *keys = RING(key1);
    struct rig *r = rig_new_sealed(NULL, "");
    feed_sealed(r, keys, "", &ping);
    assert_int_equal(rig_counter(r, "swim_packets_encrypted"), 1);
    feed_sealed(r, NULL, "lab1", &ping);
    assert_int_equal(rig_counter(r, "swim_packets_labelled"), 1);
    assert_int_equal(rig_count(r, WIRE_ACK), 0);
    rig_free(r);
    keyring_free(keys);
}

/* Who still seals with an older key gets its answer under that key. */
static void an_answer_is_sealed_as_the_question_was(void **state)
{
    struct keyring *ours = RING2(key1, key2), *old = RING(key2);
    struct rig *r = rig_new_sealed(ours, "");
    r->envelope.keys = old; /* reads what is sent as one who has only the older key */
    feed_sealed(r, old, "", &ping);
    assert_int_equal(rig_count(r, WIRE_ACK), 1);
    rig_free(r);
    keyring_free(ours);
    keyring_free(old);
}

/* Whatever the news, no packet grows beyond 1,400 bytes (and the CRC's five). */
static void packets_stay_within_the_budget(void **state)
{
    struct keyring *ours = RING(key1);
    struct rig *r = rig_new_sealed(ours, "a label of some length");
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 60; i++) {
        char name[32];
        snprintf(name, sizeof name, "member-%d", i);
        uint8_t vsn[WIRE_VSN_LEN] = {1, 5, 2};
        uint8_t ip[4] = {10, 0, 1, (uint8_t)i}, meta[40]; /* noise, so that nothing is compressed */
        for (size_t k = 0; k < sizeof meta; k++)
            meta[k] = (uint8_t)(rng_next(&rng));
        struct wire_message alive = {.type = WIRE_ALIVE,
                                     .alive = {.addr = bytes_of(ip, 4),
                                               .port = 7946,
                                               .meta = bytes_of(meta, sizeof meta),
                                               .node = bytes_str(name),
                                               .vsn = bytes_of(vsn, sizeof vsn),
                                               .incarnation = 1}};
        feed_sealed(r, ours, "a label of some length", &alive);
    }
    rig_run(r, r->now + 5000);
    assert_true(r->largest_packet > 1000);
    assert_true(r->largest_packet <= PACKET_BUDGET + CRC_HEADER);
    rig_free(r);
    keyring_free(ours);
}

/* --- streams --- */

static void put_stream(struct buf *out, struct keyring *keys, const char *label, const struct wire_message *m)
{
    struct envelope e = {.keys = keys, .label = bytes_str(label), .seal_version = SEAL_VERSION};
    struct buf message;
    buf_init(out, 1 << 20);
    buf_init(&message, 1 << 20);
    wire_put(&message, m);
    envelope_put_label(&e, out);
    if (keys)
        envelope_put_stream(&e, 0, buf_bytes(&message), out);
    else
        buf_put_bytes(out, buf_bytes(&message));
    buf_done(&message);
}

/* A sealed ping in pieces of one byte is answered under the same key, without a
 * label: that is the connecting side's. */
static void a_sealed_stream_is_answered_sealed(void **state)
{
    struct keyring *ours = RING2(key1, key2), *old = RING(key2);
    struct rig *r = rig_new_sealed(ours, "lab1");
    r->envelope.keys = old;
    struct buf b;
    put_stream(&b, old, "lab1", &ping);
    struct rig_stream *stream = rig_accept(r, 2);
    for (size_t i = 0; i < b.len; i++) {
        assert_false(stream->closed);
        rig_stream_data(r, stream, bytes_of(b.data + i, 1));
    }
    assert_true(stream->closed);
    assert_int_equal(stream->raw.data[0], WIRE_ENCRYPT);
    struct wire_message m;
    assert_int_equal(wire_decode(buf_bytes(&stream->sent), &m), OK);
    assert_int_equal(m.type, WIRE_ACK);
    assert_int_equal(m.ack.seq, 5);
    buf_done(&b);
    rig_free(r);
    keyring_free(ours);
    keyring_free(old);
}

/* Each way to be wrong: counted, told to the asker in an err message, and to the node. */
static void wrong_streams_are_refused(void **state)
{
    struct keyring *ours = RING(key1), *other = RING(key3);
    const struct {
        struct keyring *keys;
        const char *label, *counter, *why;
    } table[] = {
        {other, "lab1", "swim_streams_wrong_key", "no installed keys could decrypt the message"},
        {NULL, "lab1", "swim_streams_unsealed", "encryption is configured but remote state is not encrypted"},
        {ours, "lab2", "swim_streams_labelled", "another label than this node's"},
        {ours, "", "swim_streams_labelled", "no label, and this node has one"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct rig *r = rig_new_sealed(ours, "lab1");
        struct buf b;
        put_stream(&b, table[i].keys, table[i].label, &ping);
        struct rig_stream *stream = rig_accept(r, 2);
        rig_stream_data(r, stream, buf_bytes(&b));
        assert_true(stream->closed);
        assert_int_equal(rig_counter(r, table[i].counter), 1);
        struct wire_message m;
        assert_int_equal(wire_decode(buf_bytes(&stream->sent), &m), OK);
        assert_int_equal(m.type, WIRE_ERR);
        assert_true(bytes_equal(m.error.text, bytes_str(table[i].why)));
        assert_int_equal(rig_events(r, SWIM_REFUSED), 1);
        buf_done(&b);
        rig_free(r);
    }
    keyring_free(ours);
    keyring_free(other);
}

/* While a cluster is about to be sealed, both are taken. */
static void verifying_can_be_off(void **state)
{
    struct keyring *ours = RING(key1);
    struct swim_config config = {.name = bytes_str("self"),
                                 .self = {{10, 0, 0, 1}, 4, 7946},
                                 .keys = ours,
                                 .takes_unsealed = true,
                                 .sends_unsealed = true,
                                 .new_stream = NULL};
    struct rig *r = rig_new_sealed(NULL, "");
    config.new_stream = rig_new_stream;
    config.ctx = r;
    swim_free(r->s);
    r->s = swim_new(&config, r->now);
    rig_feed(r, 2, &ping);
    assert_int_equal(rig_count(r, WIRE_ACK), 1); /* and it went unsealed: the rig has no keys */
    feed_sealed(r, ours, "", &ping);
    assert_int_equal(rig_count(r, WIRE_ACK), 2);
    struct buf b;
    put_stream(&b, NULL, "", &ping);
    struct rig_stream *stream = rig_accept(r, 2);
    rig_stream_data(r, stream, buf_bytes(&b));
    assert_int_equal(stream->raw.data[0], WIRE_ACK);
    buf_done(&b);
    rig_free(r);
    keyring_free(ours);
}

/* An exchange under an older key names who may lack the newer one. */
static void an_older_key_is_told(void **state)
{
    struct keyring *ours = RING2(key1, key2), *old = RING(key2);
    struct rig *r = rig_new_sealed(ours, "");
    r->envelope.keys = old;
    struct buf message, b;
    struct envelope e = {.keys = old, .seal_version = SEAL_VERSION};
    static const uint8_t ip[] = {10, 0, 0, 2}, vsn[] = {1, 5, 2, 0, 0, 0};
    buf_init(&message, 1000);
    buf_init(&b, 1000);
    wire_put(&message, &(struct wire_message){.type = WIRE_PUSH_PULL, .push_pull.nodes = 1});
    wire_put_node(&message, &(struct wire_node){.addr = bytes_of(ip, 4),
                                                .port = 7946,
                                                .name = bytes_str("pacha"),
                                                .vsn = bytes_of(vsn, 6),
                                                .incarnation = 1});
    envelope_put_stream(&e, 0, buf_bytes(&message), &b);
    rig_events(r, SWIM_OLD_KEY);
    rig_stream_data(r, rig_accept(r, 2), buf_bytes(&b));
    struct swim_event event;
    bool told = false;
    for (; swim_next_event(r->s, &event); swim_event_done(&event))
        if (event.kind == SWIM_OLD_KEY) {
            told = true;
            assert_true(bytes_equal(event.name, bytes_str("pacha")));
            assert_int_equal(event.key, name_of(KEY(key2)));
        }
    assert_true(told);
    buf_done(&message);
    buf_done(&b);
    rig_free(r);
    keyring_free(ours);
    keyring_free(old);
}

/* A message of ours arrives whole, with the key that it came by. */
static void a_user_message_of_ours_arrives(void **state)
{
    struct keyring *ours = RING2(key1, key2);
    struct rig *r = rig_new_sealed(ours, "lab1");
    struct effects out = {0};
    swim_send_user(r->s, r->now, &(struct addr){{10, 0, 0, 2}, 4, 7946}, bytes_str("YZMA hello"),
                   name_of(KEY(key2)), &out);
    uint64_t id = out.list[0].stream;
    effects_done(&out);
    swim_stream_opened(r->s, r->now, id, &out);
    assert_int_equal(out.list[0].kind, EFFECT_STREAM_SEND);
    assert_int_equal(out.list[1].kind, EFFECT_STREAM_CLOSE);
    struct rig_stream *stream = rig_accept(r, 2);
    struct buf sent = out.list[0].bytes;
    for (size_t i = 0; i < sent.len; i++) {
        assert_int_equal(rig_events(r, SWIM_USER), 0);
        rig_stream_data(r, stream, bytes_of(sent.data + i, 1));
    }
    effects_done(&out);
    struct swim_event event = {0};
    assert_true(swim_next_event(r->s, &event));
    assert_int_equal(event.kind, SWIM_USER);
    assert_true(event.sealed);
    assert_int_equal(event.key, name_of(KEY(key2)));
    assert_true(bytes_equal(event.payload, bytes_str("YZMA hello")));
    swim_event_done(&event);
    rig_free(r);
    keyring_free(ours);
}

/* Who speaks version 1 pads what it seals, and takes its own port for everyone's. */
static void version_1_pads_and_has_one_port(void **state)
{
    struct keyring *ours = RING(key1);
    struct rig *r = rig_new_sealed(ours, "");
    struct swim_config config = {.name = bytes_str("self"),
                                 .self = {{10, 0, 0, 1}, 4, 7000},
                                 .vsn = {1, 5, 1, 0, 0, 0},
                                 .keys = ours,
                                 .ctx = r,
                                 .new_stream = rig_new_stream};
    swim_free(r->s);
    r->s = swim_new(&config, r->now);
    struct buf b;
    put_stream(&b, ours, "", &ping);
    struct rig_stream *stream = rig_accept(r, 2);
    rig_stream_data(r, stream, buf_bytes(&b));
    assert_int_equal(stream->raw.data[SEALED_STREAM_HEADER], SEAL_VERSION_PADDED);
    assert_int_equal((stream->raw.len - SEALED_STREAM_HEADER - SEAL_OVERHEAD) % SEAL_BLOCK, 0);
    buf_done(&b);

    static const uint8_t ip[] = {10, 0, 0, 9}, vsn[] = {1, 5, 1, 0, 0, 0};
    struct wire_message alive = {.type = WIRE_ALIVE,
                                 .alive = {.addr = bytes_of(ip, 4),
                                           .port = 7946,
                                           .meta = bytes_str(""),
                                           .node = bytes_str("pacha"),
                                           .vsn = bytes_of(vsn, sizeof vsn),
                                           .incarnation = 1}};
    feed_sealed(r, ours, "", &alive);
    struct swim_member member;
    assert_true(swim_find(r->s, bytes_str("pacha"), &member));
    assert_int_equal(member.addr.port, 7000);
    rig_free(r);
    keyring_free(ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_is_opened),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(nonces_do_not_repeat),
        cmocka_unit_test(the_ring_keeps_its_rules),
        cmocka_unit_test(names_are_eight_digits),
        cmocka_unit_test(packets_are_checked),
        cmocka_unit_test(a_plain_node_drops_what_is_sealed),
        cmocka_unit_test(an_answer_is_sealed_as_the_question_was),
        cmocka_unit_test(packets_stay_within_the_budget),
        cmocka_unit_test(a_sealed_stream_is_answered_sealed),
        cmocka_unit_test(wrong_streams_are_refused),
        cmocka_unit_test(verifying_can_be_off),
        cmocka_unit_test(an_older_key_is_told),
        cmocka_unit_test(a_user_message_of_ours_arrives),
        cmocka_unit_test(version_1_pads_and_has_one_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
