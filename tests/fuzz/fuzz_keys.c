/* What members say about keys: the input as a message of the member "n2", in a node that
 * has a ring of keys and a rotation under way. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "engine_mem.h"
#include "envelope.h"
#include "node.h"

static void free_effects(struct effects *out)
{
    for (size_t i = 0; i < out->count; i++) {
        store_work_free(out->list[i].work);
        node_reply_free(out->list[i].reply);
        out->list[i].work = NULL;
        out->list[i].reply = NULL;
    }
    effects_done(out);
    *out = (struct effects){0};
}

static void step(struct node *node, struct node_event event)
{
    struct effects out = {0};
    event.now_ms = 1000;
    event.wall_ms = 1000000;
    node_step(node, &event, &out);
    free_effects(&out);
}

/* The message of someone at 10.0.0.2, on a stream, sealed. */
static void deliver(struct node *node, const struct envelope *e, uint64_t stream, const struct buf *message)
{
    struct buf sealed;
    struct addr from = {{10, 0, 0, 2}, 4, 40000};
    buf_init(&sealed, 1 << 20);
    envelope_put_stream(e, 0, buf_bytes(message), &sealed);
    step(node,
         (struct node_event){
             .kind = NODE_STREAM_ACCEPTED, .stream = stream, .stream_kind = STREAM_GOSSIP, .from = from});
    step(node, (struct node_event){.kind = NODE_STREAM_DATA, .stream = stream, .bytes = buf_bytes(&sealed)});
    buf_done(&sealed);
}

#define N2 "n2-00000000-0000-4000-8000-000000000002"

static void introduce(struct node *node, const struct envelope *e)
{
    static const uint8_t ip[] = {10, 0, 0, 2}, vsn[] = {1, 5, 2, 0, 0, 0};
    struct buf message;
    buf_init(&message, 4096);
    wire_put(&message, &(struct wire_message){.type = WIRE_PUSH_PULL, .push_pull.nodes = 1});
    wire_put_node(&message, &(struct wire_node){
                                .addr = bytes_of(ip, 4),
                                .port = 7946,
                                .meta = bytes_str("{\"NodeName\":\"n2\",\"APIIngress\":\"10.0.0.2:7947\","
                                                  "\"Replica\":\"00000000-0000-4000-8000-000000000002\","
                                                  "\"Yzma\":1}"),
                                .name = bytes_str(N2),
                                .vsn = bytes_of(vsn, 6),
                                .incarnation = 1});
    deliver(node, e, 1, &message);
    buf_done(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t random[NONCES_KEY] = {1}, start[REPLICA_ID_SIZE] = {1};
    struct bytes key = bytes_str("sixteen bytes 16");
    struct store_options options = {.fresh_id = replica_id_of_random(start),
                                    .start_random = 1,
                                    .file_identity = bytes_str("file"),
                                    .wall_ms = 1000000,
                                    .skew_max_ms = 60000,
                                    .versions_max = 64};
    struct store *store;
    struct node *node;
    bool reidentified;
    struct buf why, message;
    if (size > 4096)
        return 0;
    buf_init(&why, 1000);
    buf_init(&message, 1 << 16);
    CHECK(store_open(engine_mem_new(), &options, &store, &reidentified, &why) == OK);
    struct node_config config = {.name = "n1",
                                 .federation_name = "n1",
                                 .ingress = "10.0.0.1:7947",
                                 .advertise = {{10, 0, 0, 1}, 4, 7946},
                                 .profile = &swim_profile_lan,
                                 .forget_after_ms = 1000000,
                                 .history_ms = 1000000,
                                 .history_max_bytes = 1 << 30,
                                 .keys = &key,
                                 .key_count = 1};
    rng_init(&config.rng, 1);
    CHECK(node_new(&config, store, 1000, 1000000, &node) == OK);
    struct keyring *keys = keyring_new(random);
    CHECK(keyring_install(keys, key) == OK);
    struct envelope e = {.keys = keys, .seal_version = SEAL_VERSION};
    introduce(node, &e);
    const char *names[] = {"a2V5IHR3bywgMTYgYnl0ZQ=="};
    step(node, (struct node_event){.kind = NODE_REQUEST,
                                   .request = NODE_REQUEST_KEYS_INSTALL,
                                   .ticket = 1,
                                   .names = names,
                                   .name_count = 1});

    /* the input is what stands behind magic and subject: kind, serial, name and the rest;
     * where the first byte is odd, the name is put in its right place */
    struct buf payload;
    buf_init(&payload, SWIM_USER_MAX);
    buf_put_text(&payload, SWIM_USER_MAGIC);
    buf_put_u8(&payload, 1);
    if (size > 9 && data[0] & 1) {
        buf_put_u8(&payload, data[0] >> 1);
        buf_put(&payload, data + 1, 8);
        buf_put_blob(&payload, bytes_str(N2));
        buf_put(&payload, data + 9, size - 9);
    } else {
        buf_put(&payload, data, size);
    }
    wire_put(&message, &(struct wire_message){.type = WIRE_USER, .user_header.len = payload.len});
    buf_put_bytes(&message, buf_bytes(&payload));
    deliver(node, &e, 3, &message);

    buf_done(&payload);
    buf_done(&message);
    buf_done(&why);
    keyring_free(keys);
    node_free(node);
    store_close(store);
    return 0;
}
