/* What comes on gossip streams and datagrams, as a whole swim takes it, with and without
 * keys and a label. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "mem.h"
#include "swim.h"

static uint64_t new_stream(void *ctx)
{
    return *(uint64_t *)ctx += 2;
}

static void forget(struct swim *s, struct effects *out)
{
    struct swim_event event;
    effects_done(out);
    *out = (struct effects){0};
    while (swim_next_event(s, &event))
        swim_event_done(&event);
}

static void run(struct bytes input, bool with_keys, const char *label)
{
    static const uint8_t random[NONCES_KEY] = {1};
    uint64_t next = 0, now = 1000;
    uint8_t key[16];
    struct keyring *keys = keyring_new(random);
    struct effects out = {0};
    struct addr from = {{10, 0, 0, 2}, 4, 7946};
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    if (with_keys)
        CHECK(keyring_install(keys, bytes_of(key, sizeof key)) == OK);
    struct swim_config config = {.name = bytes_str("beta"),
                                 .self = {{10, 0, 0, 1}, 4, 7946},
                                 .keys = keys,
                                 .label = bytes_str(label),
                                 .seed = 1,
                                 .ctx = &next,
                                 .new_stream = new_stream};
    struct swim *s = swim_new(&config, now);

    /* accepted, and as the answer to a join */
    swim_stream_accepted(s, now, 1, &from, &out);
    swim_join(s, now, 7, &from, &out);
    swim_stream_opened(s, now, next, &out);
    uint64_t streams[] = {1, next};
    size_t piece = input.len % 7 ? input.len : 1 + input.len % 50;
    for (size_t i = 0; i < 2; i++)
        for (size_t at = 0; at < input.len; at += piece) {
            size_t n = input.len - at < piece ? input.len - at : piece;
            uint8_t *exact = mem_copy(input.data + at, n);
            swim_stream_data(s, now, streams[i], bytes_of(exact, n), &out);
            free(exact);
        }
    uint8_t *packet = mem_copy(input.data, input.len);
    swim_datagram(s, now, &from, bytes_of(packet, input.len), &out);
    free(packet);
    forget(s, &out);
    for (int i = 0; i < 10; i++) {
        now = swim_deadline(s) > now ? swim_deadline(s) : now;
        swim_tick(s, now, &out);
        forget(s, &out);
    }
    swim_free(s);
    keyring_free(keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int i = 0; i < 4; i++)
        run(bytes_of(data, size), i & 1, i & 2 ? "lab1" : "");
    return 0;
}
