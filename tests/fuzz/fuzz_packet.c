/* A datagram: label, seal, CRC, compression, compounds, messages. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "envelope.h"
#include "mem.h"
#include "packet.h"

struct seen {
    size_t bytes;
};

/* What decodes is written and decodes again to the same bytes. */
static void on_message(void *ctx, struct bytes message)
{
    struct seen *seen = ctx;
    struct wire_message m, again;
    struct buf first, second;
    seen->bytes += message.len;
    if (message.data[0] == WIRE_USER || wire_decode(message, &m) != OK)
        return;
    buf_init(&first, PACKET_PLAIN_MAX * 2);
    buf_init(&second, PACKET_PLAIN_MAX * 2);
    wire_put(&first, &m);
    CHECK(first.err == OK && wire_decode(buf_bytes(&first), &again) == OK);
    wire_put(&second, &again);
    CHECK(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
    buf_done(&first);
    buf_done(&second);
}

static void open_and_read(const struct envelope *e, struct bytes packet)
{
    struct seen seen = {0};
    struct packet_faults faults = {0};
    struct bytes plain;
    struct buf scratch;
    size_t at;
    buf_init(&scratch, PACKET_MAX);
    if (envelope_open_packet(e, packet, &scratch, &plain, &at) == ENVELOPE_FINE)
        packet_read(plain, on_message, &seen, &faults);
    CHECK(seen.bytes <= (size_t)PACKET_PLAIN_MAX * PACKET_NESTING_MAX + packet.len);
    buf_done(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t random[NONCES_KEY] = {1};
    uint8_t key[32];
    struct keyring *keys = keyring_new(random);
    uint8_t *exact = mem_copy(data, size);
    struct bytes packet = bytes_of(exact, size);
    for (size_t i = 0; i < 32; i++)
        key[i] = (uint8_t)i;
    CHECK(keyring_install(keys, bytes_of(key, 16)) == OK); /* those of the vectors */
    for (size_t i = 0; i < 32; i++)
        key[i] = (uint8_t)(32 + i);
    CHECK(keyring_install(keys, bytes_of(key, 32)) == OK);
    open_and_read(&(struct envelope){.keys = NULL}, packet);
    open_and_read(&(struct envelope){.keys = keys}, packet);
    open_and_read(&(struct envelope){.keys = keys, .label = bytes_str("lab1"), .takes_plain = true}, packet);
    keyring_free(keys);
    free(exact);
    return 0;
}
