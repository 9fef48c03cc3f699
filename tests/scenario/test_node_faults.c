/* Whole nodes in virtual time, where something is wrong: damaged records, hanging
 * connections, a peer that asks and does not read. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "engine_mem.h"
#include "frames.h"
#include "squeeze.h"
#include "world.h"

static void put_many(struct world *w, int node, const char *prefix, int count)
{
    char key[64];
    for (int k = 0; k < count; k++) {
        snprintf(key, sizeof key, "%s%05d", prefix, k);
        assert_int_equal(world_put(w, node, key, "\"some value that is not very long\""), OK);
    }
}

/* Many keys on two nodes, too many for a new one to take as rows. */
static struct world *two_full_nodes(uint64_t seed)
{
    /* a walk of some 150 ms */
    struct world *w = world_new(&(struct world_options){.seed = seed, .record_us = 5});
    world_start_alone(w, 0);
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, 2000);
    put_many(w, 0, "k", 10500);
    assert_true(world_until(w, world_agrees, NULL, 20000));
    world_run(w, 2000);
    return w;
}

static bool has_walked(struct world *w, const void *unused)
{
    (void)unused;
    return world_counter(w, 2, "walks_finished") == 1;
}

/* A source that meets a record it cannot read refuses; the walk goes on from
 * another one, and does not begin anew. */
static void a_walk_leaves_a_damaged_source(void **state)
{
    for (int damaged = 0; damaged < 2; damaged++) {
        struct world *w = two_full_nodes(31);
        world_damage(w, damaged, "k05000");
        world_start(w, 2, (int[]){0, 1}, 2);
        assert_true(world_until(w, has_walked, NULL, 10000));
        assert_int_equal(world_counter(w, 2, "walks_started"), 1);
        assert_non_null(world_get(w, 2, "k05000"));
        world_free(w);
    }
}

/* With nobody else to go on from, it waits for the source to be mended, asking
 * now and then. */
static void a_walk_waits_for_its_only_source(void **state)
{
    struct world *w = two_full_nodes(32);
    world_kill(w, 1);
    world_damage(w, 0, "k05000");
    world_start(w, 2, (int[]){0}, 1);
    world_run(w, 30000);
    uint64_t pieces = world_counter(w, 0, "walk_pieces_out");
    world_run(w, 60000);
    assert_int_equal(world_counter(w, 0, "walk_pieces_out"), pieces);
    assert_int_equal(world_counter(w, 2, "walks_started"), 1);
    world_free(w);
}

/* What came before the refusal is stored, however close behind it the refusal came:
 * the next source is asked from there. */
static void a_refusal_takes_nothing_back(void **state)
{
    struct world *w = two_full_nodes(38);
    world_kill(w, 1);
    world_damage(w, 0, "k05500"); /* in the second piece */
    world_start(w, 2, (int[]){0}, 1);
    world_run(w, 1000);
    assert_true(world_noticed(w, "event=walk_refused"));
    assert_int_equal(world_records(w, 2), 5000);
    world_start_alone(w, 1);
    assert_true(world_until(w, has_walked, NULL, 20000));
    assert_true(world_noticed(w, "keys_done=5000"));
    world_free(w);
}

/* A record damaged here holds up the walk, which asks now and then, and not as
 * fast as it is answered. */
static void a_walk_over_a_damaged_record_does_not_spin(void **state)
{
    struct world *w = two_full_nodes(33);
    world_start_alone(w, 2);
    world_damage(w, 2, "k05000");
    enum err err;
    world_request(w, 2, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 10000);
    assert_int_equal(err, OK);
    world_run(w, 5000);
    world_forget_bytes(w);
    world_run(w, 60000);
    assert_in_range(world_bytes_sent(w, 0, 2) + world_bytes_sent(w, 1, 2), 1, 4 * (1 << 20));
    world_free(w);
}

/* A walk whose source dies goes on from the other one, whenever that happens. */
static void a_walk_outlives_its_source(void **state)
{
    for (int victim = 0; victim < 2; victim++) {
        for (uint64_t ms = 5; ms < 160; ms += 37) {
            struct world *w = two_full_nodes(34);
            world_start(w, 2, (int[]){0, 1}, 2);
            world_run(w, ms);
            world_kill(w, victim);
            assert_true(world_until(w, world_agrees, NULL, 15000));
            assert_in_range(world_counter(w, 2, "walks_started"), 0, 1);
            world_free(w);
        }
    }
}

/* A walk goes on where it stood after the receiver's restart. */
static void a_walk_outlives_a_restart(void **state)
{
    for (uint64_t ms = 5; ms < 160; ms += 37) {
        struct world *w = two_full_nodes(35);
        world_start(w, 2, (int[]){0, 1}, 2);
        world_run(w, ms);
        world_kill(w, 2);
        world_start_alone(w, 2);
        world_start_alone(w, 3); /* and somebody who has nothing to do with it */
        world_kill(w, 3);
        enum err err;
        world_request(w, 2, NODE_REQUEST_JOIN, "10.0.0.2:7946", &err, 10000);
        assert_true(world_until(w, world_agrees, NULL, 15000));
        world_free(w);
    }
}

/* Who leaves in the middle of a walk will not be filled: what it has is served. */
static void leaving_ends_a_walk(void **state)
{
    for (uint64_t ms = 5; ms < 160; ms += 37) {
        struct world *w = two_full_nodes(36);
        enum err err;
        world_start(w, 2, (int[]){0}, 1);
        world_run(w, ms);
        world_request(w, 2, NODE_REQUEST_LEAVE, NULL, &err, 5000);
        world_run(w, 2000);
        assert_int_equal(world_put(w, 2, "zz", "1"), OK);
        world_free(w);
    }
}

/* Silence of 15 s ends a link, and not less. */
static void silence_is_noticed_in_time(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 37});
    world_start_alone(w, 0);
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, 3000);
    world_cut(w, 0, 1, true);
    world_run(w, 9900); /* the last heartbeat is at most 5 s old */
    assert_false(world_noticed(w, "silent for 15 s"));
    world_run(w, 5200);
    assert_true(world_noticed(w, "silent for 15 s"));
    world_free(w);
}

/* ---- one node, and a peer played by hand ------------------------------------------ */

struct rig {
    struct store *store;
    struct node *node;
    uint64_t now_ms;
    uint64_t stream; /* of the events that are fed */
    uint64_t dialed; /* the last that the node has opened; 0: none */
    size_t sent;     /* bytes on `stream` */
    bool closed;     /* `stream`, by the node */
    bool paused;     /* `stream` */
    bool stores;     /* rows, at once; else nothing is ever stored */
    bool renewed;    /* it wants another replica id */
    unsigned forks;  /* met */
};

/* Of the node nobody is told. */
static void rig_write(struct rig *rig, const char *key)
{
    struct store_work *work = store_work_new(WORK_WRITE);
    struct store_txn *txn;
    static const char value[1000];
    work->write.key = bytes_str(key);
    work->write.value = bytes_of(value, sizeof value);
    assert_int_equal(store_begin(rig->store, 1, &txn), OK);
    assert_int_equal(store_do(txn, work), OK);
    assert_int_equal(store_commit(txn), OK);
    store_work_free(work);
}

static void rig_init_with(struct rig *rig, uint64_t quarantine_max)
{
    struct store_options options = {.fresh_id = {.b = {1}},
                                    .start_random = 1,
                                    .skew_max_ms = 60000,
                                    .versions_max = 64,
                                    .quarantine_max = quarantine_max};
    struct node_config config = {.name = "n",
                                 .federation_name = "n",
                                 .ingress = "10.0.0.1:7947",
                                 .profile = &swim_profile_lan,
                                 .forget_after_ms = 1000000,
                                 .history_ms = 1000000,
                                 .history_max_bytes = 1 << 30,
                                 .advertise = {.ip = {10, 0, 0, 1}, .len = 4, .port = 7946}};
    struct buf why;
    bool reidentified;
    buf_init(&why, 1000);
    rng_init(&config.rng, 1);
    *rig = (struct rig){.now_ms = 1000, .stream = 1};
    assert_int_equal(store_open(engine_mem_new(), &options, &rig->store, &reidentified, &why), OK);
    for (int i = 0; i < 2000; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%04d", i);
        rig_write(rig, key);
    }
    assert_int_equal(node_new(&config, rig->store, 1000, 1000, &rig->node), OK);
    buf_done(&why);
}

static void rig_init(struct rig *rig)
{
    rig_init_with(rig, 0);
}

/* The work is done at once, and the node told of it. */
static void rig_store(struct rig *rig, const struct effect *effect)
{
    struct store_txn *txn;
    struct effects out = {0};
    assert_int_equal(store_begin(rig->store, rig->now_ms, &txn), OK);
    assert_int_equal(store_do(txn, effect->work), OK);
    assert_int_equal(store_commit(txn), OK);
    node_step(rig->node,
              &(struct node_event){.kind = NODE_STORED,
                                   .now_ms = rig->now_ms,
                                   .wall_ms = rig->now_ms,
                                   .ticket = effect->ticket,
                                   .work = effect->work},
              &out);
    for (size_t i = 0; i < out.count; i++) {
        rig->closed |= out.list[i].kind == EFFECT_STREAM_CLOSE && out.list[i].stream == rig->stream;
        store_work_free(out.list[i].work);
    }
    effects_done(&out);
}

static void rig_step(struct rig *rig, struct node_event event)
{
    struct effects out = {0};
    event.now_ms = event.wall_ms = rig->now_ms;
    event.stream = rig->stream;
    node_step(rig->node, &event, &out);
    for (size_t i = 0; i < out.count; i++) {
        const struct effect *effect = &out.list[i];
        if (effect->kind == EFFECT_STREAM_SEND && effect->stream == rig->stream)
            rig->sent += effect->bytes.len;
        rig->closed |= effect->kind == EFFECT_STREAM_CLOSE && effect->stream == rig->stream;
        if (effect->kind == EFFECT_STREAM_PAUSE || effect->kind == EFFECT_STREAM_RESUME)
            rig->paused = effect->kind == EFFECT_STREAM_PAUSE;
        if (effect->kind == EFFECT_STREAM_OPEN)
            rig->dialed = effect->stream;
        rig->renewed |= effect->work && effect->work->kind == WORK_REIDENTIFY;
        rig->forks += effect->kind == EFFECT_NOTICE && strstr(effect->text, "event=fork_met") != NULL;
        if (effect->work && rig->stores && effect->work->kind == WORK_ROWS)
            rig_store(rig, effect);
        store_work_free(effect->work); /* else never done here */
    }
    effects_done(&out);
}

static void rig_receive(struct rig *rig, struct buf *frame)
{
    assert_int_equal(frame->err, OK);
    rig_step(rig, (struct node_event){.kind = NODE_STREAM_DATA, .bytes = buf_bytes(frame)});
    buf_reset(frame);
}

static void rig_done(struct rig *rig)
{
    node_free(rig->node);
    store_close(rig->store);
}

/* A peer that asks for pieces and reads none gets a bounded number; the last
 * question is answered when there is room. */
static void questions_without_reading_cost_no_memory(void **state)
{
    struct rig rig;
    struct buf frame;
    struct hello hello = {
        .protocol_min = 1, .protocol_max = 1, .id = {.b = {2}}, .name = "peer", .flags = SYNC_WALKING};
    struct walk_ask ask = {.run = 1, .place = {.phase = WALK_RECORDS}, .ahead = 1};
    rig_init(&rig);
    buf_init(&frame, 100000);
    rig_step(&rig, (struct node_event){.kind = NODE_STREAM_ACCEPTED, .stream_kind = STREAM_SYNC});
    frame_put_hello(&frame, &hello);
    rig_receive(&rig, &frame);

    for (int i = 0; i < 100; i++) {
        frame_put_walk_ask(&frame, &ask);
        rig_receive(&rig, &frame);
    }
    assert_in_range(rig.sent, 4 << 20, 6 << 20);
    size_t before = rig.sent;
    rig_step(&rig, (struct node_event){.kind = NODE_STREAM_DRAINED, .queued = 0});
    assert_in_range(rig.sent - before, 1 << 20, 2 << 20);
    before = rig.sent;
    rig_step(&rig, (struct node_event){.kind = NODE_STREAM_DRAINED, .queued = 0});
    assert_int_equal(rig.sent, before);
    buf_done(&frame);
    rig_done(&rig);
}

/* The same with protocol 2, where one question asks for many pieces. */
static void a_window_without_reading_costs_no_memory(void **state)
{
    struct rig rig;
    struct buf frame;
    struct hello hello = {
        .protocol_min = 2, .protocol_max = 9, .id = {.b = {2}}, .name = "peer", .flags = SYNC_WALKING};
    struct walk_ask ask = {.run = 7, .place = {.phase = WALK_RECORDS}, .ahead = WALK_AHEAD_MAX};
    rig_init(&rig);
    buf_init(&frame, 100000);
    rig_step(&rig, (struct node_event){.kind = NODE_STREAM_ACCEPTED, .stream_kind = STREAM_SYNC});
    frame_put_hello(&frame, &hello);
    rig_receive(&rig, &frame);

    frame_put_walk_ask(&frame, &ask);
    rig_receive(&rig, &frame);
    size_t whole = rig.sent; /* all keys in one piece, all rows in another, and that is the end */
    assert_in_range(whole, 2000 * 1000, 2000 * 1300);
    frame_put_walk_more(&frame, 7, 5);
    rig_receive(&rig, &frame);
    assert_int_equal(rig.sent, whole);
    for (int i = 0; i < 100; i++) {
        frame_put_walk_ask(&frame, &ask);
        rig_receive(&rig, &frame);
        frame_put_walk_more(&frame, 6, 5); /* of a run that is over */
        rig_receive(&rig, &frame);
    }
    assert_in_range(rig.sent, 4 << 20, 8 << 20);
    buf_done(&frame);
    rig_done(&rig);
}

static uint64_t rig_counter(struct rig *rig, const char *name)
{
    char pattern[64];
    uint64_t value = 0;
    struct effects out = {0};
    struct node_event event = {.kind = NODE_REQUEST, .request = NODE_REQUEST_STATUS, .ticket = 1};
    event.now_ms = event.wall_ms = rig->now_ms;
    node_step(rig->node, &event, &out);
    snprintf(pattern, sizeof pattern, "\"%s\":", name);
    for (size_t i = 0; i < out.count; i++) {
        if (!out.list[i].reply)
            continue;
        const struct buf *data = &out.list[i].reply->data;
        const char *at = memmem(data->data, data->len, pattern, strlen(pattern));
        assert_non_null(at);
        value = strtoull(at + strlen(pattern), NULL, 10);
        node_reply_free(out.list[i].reply);
    }
    effects_done(&out);
    return value;
}

/* ---- other pasts, and what only looks so ----------------------------------------------------- */

static struct refusal fork_told(struct rig *rig, uint64_t counter)
{
    struct refusal refusal = {.reason = REFUSE_FORK, .text = "another past", .counter = counter};
    struct snapshot *snapshot;
    struct identity identity = {0};
    assert_int_equal(snapshot_open(rig->store, &snapshot), OK);
    assert_int_equal(snapshot_identity(snapshot, &identity), OK);
    refusal.starts = identity.starts;
    snapshot_close(snapshot);
    identity_done(&identity);
    return refusal;
}

/* A peer was sent an operation of ours on another link, and says so, before the news of
 * its commit has come to the node: that is no other past. One more than we have made is. */
static void what_the_store_has_is_our_past(void **state)
{
    for (uint64_t beyond = 0; beyond < 2; beyond++) {
        struct rig rig;
        struct buf frame;
        struct hello hello = {.protocol_min = 1, .protocol_max = 3, .id = {.b = {2}}, .name = "peer"};
        rig_init(&rig);
        buf_init(&frame, 100000);
        rig_step(&rig, (struct node_event){.kind = NODE_STREAM_ACCEPTED, .stream_kind = STREAM_SYNC});
        frame_put_hello(&frame, &hello);
        rig_receive(&rig, &frame);
        rig_write(&rig, "k");
        struct refusal refusal = fork_told(&rig, 2001 + beyond);
        frame_put_refuse(&frame, &refusal);
        rig_receive(&rig, &frame);
        assert_true(rig.closed);
        assert_int_equal(rig.renewed, beyond);
        buf_done(&frame);
        rig_done(&rig);
    }
}

static void rig_greeted(struct rig *rig, uint64_t stream, const struct starts *starts, uint64_t counter)
{
    struct hello hello = {
        .protocol_min = 1, .protocol_max = 3, .id = {.b = {2}}, .name = "peer", .starts = *starts};
    struct buf frame;
    buf_init(&frame, 100000);
    clock_set(&hello.clock, &hello.id, counter);
    rig->stream = stream;
    rig->closed = false;
    rig_step(rig, (struct node_event){.kind = NODE_STREAM_ACCEPTED, .stream_kind = STREAM_SYNC});
    frame_put_hello(&frame, &hello);
    rig_receive(rig, &frame);
    clock_done(&hello.clock);
    buf_done(&frame);
}

/* Of one life, a hello that tells less than is known was overtaken on its way. After
 * another start it tells of another past. Refused are both: they see what they are. */
static void an_overtaken_hello_is_no_fork(void **state)
{
    struct rig rig;
    struct starts starts = {0};
    rig_init(&rig);
    starts_append(&starts, (struct start){0, 77});
    rig_greeted(&rig, 1, &starts, 10);
    assert_false(rig.closed);
    rig_greeted(&rig, 2, &starts, 9);
    assert_true(rig.closed);
    assert_int_equal(rig_counter(&rig, "sync_hellos_overtaken"), 1);
    assert_int_equal(rig_counter(&rig, "sync_forks_met"), 0);
    starts_append(&starts, (struct start){9, 78});
    rig_greeted(&rig, 3, &starts, 9);
    assert_true(rig.closed);
    assert_int_equal(rig_counter(&rig, "sync_forks_met"), 1);
    rig_done(&rig);
}

/* ---- packed frames that a peer should not have sent ---------------------------------------- */

/* Not zstd, another length than declared, more than is allowed, a type that is never
 * packed, or a link that has not agreed on it: the link ends, and it is counted. */
static void hostile_packed_frames_end_the_link(void **state)
{
    static const struct {
        uint16_t protocol;
        enum frame_type type;
        uint32_t length;
        const char *body;
    } cases[] = {
        {2, FRAME_ROWS, 10, "not zstd"},
        {2, FRAME_ROWS, UINT32_MAX, "not zstd"},
        {2, FRAME_WALK_PIECE, 3, "\x28\xb5\x2f\xfd\x20\x05"},
        {2, FRAME_CLOCK, 10, "never packed"},
        {1, FRAME_ROWS, 10, "not agreed on"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig rig;
        struct buf frame;
        struct hello hello = {
            .protocol_min = 1, .protocol_max = cases[i].protocol, .id = {.b = {2}}, .name = "peer"};
        rig_init(&rig);
        buf_init(&frame, 100000);
        rig_step(&rig, (struct node_event){.kind = NODE_STREAM_ACCEPTED, .stream_kind = STREAM_SYNC});
        frame_put_hello(&frame, &hello);
        rig_receive(&rig, &frame);
        size_t begun = frame_begin(&frame, cases[i].type);
        frame.data[begun + FRAME_FLAGS_AT] = FRAME_PACKED;
        buf_put_u32(&frame, cases[i].length);
        buf_put_text(&frame, cases[i].body);
        frame_end(&frame, begun);
        assert_false(rig.closed);
        rig_receive(&rig, &frame);
        assert_true(rig.closed);
        assert_int_equal(rig_counter(&rig, "sync_frames_unpackable"), 1);
        buf_done(&frame);
        rig_done(&rig);
    }
}

/* A row with a long value of nothing, packed to a few hundred bytes. */
static void put_bomb(struct buf *out, struct squeeze *squeeze, uint64_t counter)
{
    enum { BYTES = 16 << 20 };
    static const uint8_t nothing[BYTES];
    struct replica_id origin = {.b = {2}};
    struct record record = {0};
    struct version version = {.dot = {origin, counter}, .stamp = 1, .value = bytes_of(nothing, BYTES)};
    struct buf plain, encoded;
    buf_init(&plain, BYTES + 1000);
    buf_init(&encoded, BYTES + 1000);
    record_add(&record, &version);
    clock_raise(&record.context, &version.dot);
    record_encode(bytes_str("k"), &record, &encoded);
    size_t begun = frame_begin(&plain, FRAME_ROWS);
    replica_id_encode(&origin, &plain);
    buf_put_varint(&plain, counter - 1);
    buf_put_u32(&plain, 1);
    buf_put_varint(&plain, 1);
    buf_put_u8(&plain, ROW_PUT);
    buf_put_blob(&plain, bytes_str("k"));
    buf_put_blob(&plain, buf_bytes(&encoded));
    buf_put_varint(&plain, counter);
    frame_end(&plain, begun);
    assert_true(squeeze_frame(squeeze, buf_bytes(&plain), out));
    record_done(&record);
    buf_done(&plain);
    buf_done(&encoded);
}

/* Many frames that unpack to a thousand times their size come in one piece of the
 * stream: a few are unpacked, the others wait as they are. */
static void bombs_wait_packed(void **state)
{
    enum { BOMBS = 12 };
    struct rig rig;
    struct buf frames;
    struct squeeze *squeeze = squeeze_new(1);
    struct hello hello = {.protocol_min = 1, .protocol_max = 2, .id = {.b = {2}}, .name = "peer"};
    rig_init(&rig);
    buf_init(&frames, 1 << 20);
    rig_step(&rig, (struct node_event){.kind = NODE_STREAM_ACCEPTED, .stream_kind = STREAM_SYNC});
    frame_put_hello(&frames, &hello);
    rig_receive(&rig, &frames);
    for (uint64_t i = 1; i <= BOMBS; i++)
        put_bomb(&frames, squeeze, i);
    assert_in_range(frames.len, 1, 200000);
    rig_receive(&rig, &frames);
    assert_true(rig.paused);
    assert_false(rig.closed);
    assert_in_range(rig_counter(&rig, "sync_frames_unpacked"), 1, 6);
    buf_done(&frames);
    squeeze_free(squeeze);
    rig_done(&rig);
}

/* How often it dials in a second, when this is what it hears each time. */
static unsigned rig_dials(struct rig *rig, struct bytes answer)
{
    unsigned dials = 0;
    for (int ms = 0; ms < 1000; ms++, rig->now_ms++) {
        rig->dialed = 0;
        rig_step(rig, (struct node_event){.kind = NODE_TICK});
        if (!rig->dialed)
            continue;
        dials++;
        rig->stream = rig->dialed;
        rig_step(rig, (struct node_event){.kind = NODE_STREAM_OPENED});
        rig_step(rig, (struct node_event){.kind = NODE_STREAM_DATA, .bytes = answer});
    }
    return dials;
}

/* A peer that still holds a connection which is dead here refuses a second one for
 * up to 15 s: it is not dialled as fast as it refuses. */
static void a_refused_duplicate_is_not_dialed_again_at_once(void **state)
{
    struct rig rig;
    struct buf frame;
    struct hello hello = {.protocol_min = 1,
                          .protocol_max = 1,
                          .id = {.b = {2}},
                          .name = "peer",
                          .ingress = "10.0.0.2:7947",
                          .flags = SYNC_WALKING};
    struct refusal refusal = {.reason = REFUSE_DUPLICATE, .text = "another connection of this pair stays"};
    rig_init(&rig);
    buf_init(&frame, 100000);
    rig_step(&rig, (struct node_event){.kind = NODE_STREAM_ACCEPTED, .stream_kind = STREAM_SYNC});
    frame_put_hello(&frame, &hello);
    rig_receive(&rig, &frame);
    rig_step(&rig, (struct node_event){.kind = NODE_STREAM_CLOSED});

    frame_put_refuse(&frame, &refusal);
    assert_in_range(rig_dials(&rig, buf_bytes(&frame)), 1, 5);
    buf_done(&frame);
    rig_done(&rig);
}

/* A replica that has gone, and one that is connected, at one address: whoever dials the
 * first one meets the other, and does not dial again and again. */
static void who_answers_for_another_is_not_dialed_on_and_on(void **state)
{
    struct rig rig;
    struct buf frame;
    struct hello here = {.protocol_min = 1,
                         .protocol_max = 1,
                         .id = {.b = {0, 1}}, /* smaller than ours: the connection that it dialled stays */
                         .name = "here",
                         .ingress = "10.0.0.2:7947",
                         .flags = SYNC_WALKING};
    struct hello gone = here;
    rig_init(&rig);
    buf_init(&frame, 100000);
    gone.id.b[0] = 2;
    memcpy(gone.name, "gone", sizeof "gone");
    rig_step(&rig, (struct node_event){.kind = NODE_STREAM_ACCEPTED, .stream_kind = STREAM_SYNC});
    frame_put_hello(&frame, &here);
    rig_receive(&rig, &frame);
    rig.stream = 2;
    rig_step(&rig, (struct node_event){.kind = NODE_STREAM_ACCEPTED, .stream_kind = STREAM_SYNC});
    frame_put_hello(&frame, &gone);
    rig_receive(&rig, &frame);
    rig_step(&rig, (struct node_event){.kind = NODE_STREAM_CLOSED});

    frame_put_hello(&frame, &here);
    assert_int_equal(rig_dials(&rig, buf_bytes(&frame)), 1);
    buf_done(&frame);
    rig_done(&rig);
}

/* A node whose disk was lost is another replica at the same address. Where others tell it of the
 * one that was there it meets itself, and says so once: it is no copy of anybody. */
static void who_was_at_our_address_is_no_twin(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 71});
    world_start_alone(w, 0);
    world_start(w, 1, (int[]){0}, 1);
    world_run(w, 2000);
    assert_int_equal(world_put(w, 1, "k", "1"), OK);
    assert_true(world_until(w, world_agrees, NULL, 20000));
    world_kill(w, 1);
    world_wipe(w, 1);
    world_start(w, 1, (int[]){0}, 1);
    assert_true(world_until(w, world_agrees, NULL, 60000));
    world_run(w, 120000);
    assert_true(world_noticed_by(w, 1, "event=own_address"));
    for (int i = 0; i < 2; i++) {
        assert_false(world_noticed_by(w, i, "event=link_refused"));
        assert_false(world_noticed_by(w, i, "event=name_conflict"));
        assert_false(world_noticed_by(w, i, "event=duplicate_replica"));
    }
    world_free(w);
}

/* Rows of the peer itself, each with a record of a format that nobody knows. */
static void put_unreadable_rows(struct buf *out, uint64_t from, size_t count, size_t size)
{
    char rubbish[2000];
    memset(rubbish, 0x63, sizeof rubbish);
    size_t begun = frame_begin(out, FRAME_ROWS);
    replica_id_encode(&(struct replica_id){.b = {2}}, out);
    buf_put_varint(out, from);
    buf_put_u32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        buf_put_varint(out, 1);
        buf_put_u8(out, ROW_PUT);
        buf_put_blob(out, bytes_str(i % 2 ? "odd" : "even"));
        buf_put_blob(out, bytes_of(rubbish, size));
    }
    buf_put_varint(out, from + count);
    frame_end(out, begun);
}

/* A record that a peer sends and this program cannot read ends no link: it is kept, and
 * the clock stands below it. With no room for more the link ends, and says why. */
static void an_unreadable_record_is_kept(void **state)
{
    struct hello hello = {.protocol_min = 1, .protocol_max = 3, .id = {.b = {2}}, .name = "peer"};
    struct store_counters counters;
    struct rig rig;
    struct buf frame;
    buf_init(&frame, 1 << 20);
    rig_init_with(&rig, 2500);
    rig.stores = true;
    rig_step(&rig, (struct node_event){.kind = NODE_STREAM_ACCEPTED, .stream_kind = STREAM_SYNC});
    frame_put_hello(&frame, &hello);
    rig_receive(&rig, &frame);
    put_unreadable_rows(&frame, 0, 2, 1000);
    rig_receive(&rig, &frame);
    store_counters(rig.store, &counters);
    assert_int_equal(counters.quarantined, 2);
    assert_false(rig.closed);
    put_unreadable_rows(&frame, 2, 1, 1000);
    rig_receive(&rig, &frame);
    store_counters(rig.store, &counters);
    assert_int_equal(counters.quarantined, 2);
    assert_true(rig.closed);
    buf_done(&frame);
    rig_done(&rig);
}

/* One row of that replica, its first: a delete. */
static void put_delete(struct buf *out, const struct replica_id *id)
{
    struct record record = {0};
    struct buf bytes;
    buf_init(&bytes, 1000);
    clock_set(&record.context, id, 1);
    record_encode(bytes_str("k"), &record, &bytes);
    size_t begun = frame_begin(out, FRAME_ROWS);
    replica_id_encode(id, out);
    buf_put_varint(out, 0);
    buf_put_u32(out, 1);
    buf_put_varint(out, 1);
    buf_put_u8(out, ROW_DELETE);
    buf_put_blob(out, bytes_str("k"));
    buf_put_blob(out, buf_bytes(&bytes));
    buf_put_varint(out, 1);
    frame_end(out, begun);
    record_done(&record);
    buf_done(&bytes);
}

static void accept_hello(struct rig *rig, uint64_t stream, const struct hello *hello)
{
    struct buf frame;
    buf_init(&frame, 100000);
    rig->stream = stream;
    rig->closed = false;
    rig_step(rig, (struct node_event){.kind = NODE_STREAM_ACCEPTED, .stream_kind = STREAM_SYNC});
    frame_put_hello(&frame, hello);
    rig_receive(rig, &frame);
    buf_done(&frame);
}

/* A hello that claims less than others have told of its sender may be one that lay about:
 * for a moment the next one is waited for. Then it is an older state of that store. */
static void an_old_hello_is_no_fork(void **state)
{
    struct hello relay = {.protocol_min = 1, .protocol_max = 3, .id = {.b = {3}}, .name = "relay"};
    struct hello hello = {.protocol_min = 1, .protocol_max = 3, .id = {.b = {2}}, .name = "peer"};
    struct rig rig;
    struct buf frame;
    rig_init(&rig);
    rig.stores = true;
    starts_append(&hello.starts, (struct start){.random = 7});
    buf_init(&frame, 100000);
    accept_hello(&rig, 1, &relay);
    put_delete(&frame, &hello.id);
    rig_receive(&rig, &frame);
    assert_false(rig.closed);

    accept_hello(&rig, 2, &hello);
    assert_true(rig.closed);
    rig.now_ms += 2999;
    accept_hello(&rig, 3, &hello);
    assert_true(rig.closed);
    assert_int_equal(rig.forks, 0);
    rig.now_ms += 2;
    accept_hello(&rig, 4, &hello);
    assert_true(rig.closed);
    assert_int_equal(rig.forks, 1);
    clock_set(&hello.clock, &hello.id, 1);
    accept_hello(&rig, 5, &hello);
    assert_false(rig.closed);
    clock_done(&hello.clock);
    buf_done(&frame);
    rig_done(&rig);
}

/* Rows do not come from their replica for a while, and are asked for from another one; then the
 * disk is full, and what comes from both is refused. The other one leaves: with room again the
 * replica itself is asked, to which they count as sent. */
static void what_was_refused_comes_without_the_relay(void **state)
{
    struct world *w = world_new(&(struct world_options){.seed = 70});
    enum err err;
    world_start_alone(w, 0);
    for (int i = 1; i < 3; i++)
        world_start(w, i, (int[]){0}, 1);
    world_run(w, 5000);
    world_cut(w, 0, 2, true);
    put_many(w, 0, "a", 3);
    world_run(w, 5000);
    assert_true(world_counter(w, 2, "sync_relays_asked") > 0);
    world_disk_full(w, 2, true);
    put_many(w, 0, "b", 3);
    world_run(w, 500);
    world_cut(w, 0, 2, false);
    world_run(w, 100);
    put_many(w, 0, "c", 3);
    world_run(w, 2000);
    world_request(w, 1, NODE_REQUEST_LEAVE, NULL, &err, 5000);
    assert_int_equal(err, OK);
    world_disk_full(w, 2, false);
    world_kill(w, 1);
    assert_true(world_until(w, world_agrees, NULL, 20000));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_refused_comes_without_the_relay),
        cmocka_unit_test(a_walk_leaves_a_damaged_source),
        cmocka_unit_test(a_walk_waits_for_its_only_source),
        cmocka_unit_test(a_refusal_takes_nothing_back),
        cmocka_unit_test(a_walk_over_a_damaged_record_does_not_spin),
        cmocka_unit_test(a_walk_outlives_its_source),
        cmocka_unit_test(a_walk_outlives_a_restart),
        cmocka_unit_test(leaving_ends_a_walk),
        cmocka_unit_test(silence_is_noticed_in_time),
        cmocka_unit_test(questions_without_reading_cost_no_memory),
        cmocka_unit_test(a_window_without_reading_costs_no_memory),
        cmocka_unit_test(what_the_store_has_is_our_past),
        cmocka_unit_test(an_overtaken_hello_is_no_fork),
        cmocka_unit_test(hostile_packed_frames_end_the_link),
        cmocka_unit_test(bombs_wait_packed),
        cmocka_unit_test(a_refused_duplicate_is_not_dialed_again_at_once),
        cmocka_unit_test(who_answers_for_another_is_not_dialed_on_and_on),
        cmocka_unit_test(who_was_at_our_address_is_no_twin),
        cmocka_unit_test(an_unreadable_record_is_kept),
        cmocka_unit_test(an_old_hello_is_no_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
