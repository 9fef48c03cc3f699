/* The seal: any bytes as sealed text, as a packet and as a stream; and sealed and opened
 * again as plain text. The keys are those of the vectors. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "envelope.h"
#include "mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t random[NONCES_KEY] = {1};
    uint8_t bytes[32];
    uint8_t *exact = mem_copy(data, size);
    struct bytes all = bytes_of(exact, size);
    struct keyring *keys = keyring_new(random);
    struct buf out, again;
    size_t at = 0;
    for (size_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(32 + i);
    CHECK(keyring_install(keys, bytes_of(bytes, 32)) == OK);
    for (size_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    CHECK(keyring_install(keys, bytes_of(bytes, 16)) == OK);
    buf_init(&out, size + 64);
    buf_init(&again, size + 64);
    for (unsigned version = 0; version <= SEAL_VERSION; version++) {
        struct envelope e = {
            .keys = keys, .label = bytes_str(size % 2 ? "lab1" : ""), .seal_version = version};
        buf_reset(&out);
        if (envelope_open_stream(&e, all, &out, &at) == OK)
            CHECK(at < 2 && out.len < size);
        buf_reset(&out);
        (void)!keyring_open(keys, (struct seal_context){.label = e.label}, all, &out, &at);
        buf_reset(&out);
        buf_reset(&again);
        envelope_put_stream(&e, 1, all, &out);
        CHECK(envelope_open_stream(&e, buf_bytes(&out), &again, &at) == OK && at == 1);
        CHECK(bytes_equal(buf_bytes(&again), all));
        if (out.len > SEALED_STREAM_HEADER + 1) { /* any bit of it counts */
            buf_reset(&again);
            out.data[SEALED_STREAM_HEADER + 1 + size % (out.len - SEALED_STREAM_HEADER - 1)] ^= 1;
            CHECK(envelope_open_stream(&e, buf_bytes(&out), &again, &at) == ERR_CHECKSUM);
        }
    }
    buf_done(&out);
    buf_done(&again);
    keyring_free(keys);
    free(exact);
    return 0;
}
