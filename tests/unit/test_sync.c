/* sync: frames as bytes, what garbage does, peers, watermark, history. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sync.h"
#include "cache.h"
#include "crc.h"
#include "frames.h"
#include "history.h"
#include "link.h"
#include "pace.h"
#include "peers.h"
#include "rng.h"

static struct replica_id id_of(uint8_t n)
{
    return (struct replica_id){.b = {[0] = n, [15] = n}};
}

static struct dot dot_of(uint8_t replica, uint64_t counter)
{
    return (struct dot){.replica = id_of(replica), .counter = counter};
}

static struct clock clock_with(uint8_t a, uint64_t n, uint8_t b, uint64_t m)
{
    struct clock clock = {0};
    clock_raise(&clock, &(struct dot){id_of(a), n});
    if (m)
        clock_raise(&clock, &(struct dot){id_of(b), m});
    return clock;
}

static void put_record(struct buf *out, const char *key, uint64_t counter, const char *value)
{
    struct buf encoded;
    struct record record = {0};
    struct version version = {.dot = dot_of(1, counter), .stamp = counter, .value = bytes_str(value)};
    buf_init(&encoded, 10000);
    record_add(&record, &version);
    clock_raise(&record.context, &version.dot);
    record_encode(bytes_str(key), &record, &encoded);
    buf_put_blob(out, buf_bytes(&encoded));
    record_done(&record);
    buf_done(&encoded);
}

/* ROWS of replica 1 from `from` on: two keys, the first twice. */
static void put_rows(struct buf *out, uint64_t from)
{
    size_t begun = frame_begin(out, FRAME_ROWS);
    struct replica_id origin = id_of(1);
    replica_id_encode(&origin, out);
    buf_put_varint(out, from);
    buf_put_u32(out, 3);
    const char *const keys[] = {"a", "b", "a"};
    for (int i = 0; i < 3; i++) {
        buf_put_varint(out, 1);
        buf_put_u8(out, ROW_PUT);
        buf_put_blob(out, bytes_str(keys[i]));
        if (i < 2)
            put_record(out, keys[i], from + (i == 0 ? 3 : 2), "\"value\"");
        else
            buf_put_blob(out, bytes_of(NULL, 0));
    }
    buf_put_varint(out, from + 3);
    frame_end(out, begun);
}

static void put_piece(struct buf *out)
{
    struct clock clock = clock_with(1, 9, 2, 4), floor = clock_with(1, 5, 0, 0);
    size_t begun = frame_begin(out, FRAME_WALK_PIECE);
    buf_put_varint(out, 7);
    buf_put_blob(out, bytes_str(""));
    buf_put_varint(out, 2);
    clock_encode(&clock, out);
    clock_encode(&floor, out);
    buf_put_u32(out, 1);
    buf_put_blob(out, bytes_str("k"));
    put_record(out, "k", 8, "1");
    buf_put_blob(out, bytes_str("k"));
    buf_put_u8(out, 1);
    frame_end(out, begun);
    clock_done(&clock);
    clock_done(&floor);
}

static struct hello full_hello(void)
{
    struct hello hello = {
        .protocol_min = 1,
        .protocol_max = 3,
        .id = id_of(9),
        .label = "lab",
        .name = "kronk-0900",
        .ingress = "10.0.0.1:7947",
        .gossip = {.ip = {10, 0, 0, 1}, .len = 4, .port = 7946},
        .flags = SYNC_WALKING,
        .predecessors = {id_of(3), id_of(4)},
        .predecessor_count = 2,
    };
    starts_append(&hello.starts, (struct start){0, 11});
    starts_append(&hello.starts, (struct start){5, 12});
    hello.clock = clock_with(1, 100, 9, 5);
    hello.floor = clock_with(1, 50, 0, 0);
    return hello;
}

static struct frame only_frame(const struct buf *bytes)
{
    struct frame frame = {0};
    size_t size = 0;
    assert_int_equal(frame_read(buf_bytes(bytes), FRAME_MAX, &frame, &size), OK);
    assert_int_equal(size, bytes->len);
    return frame;
}

/* A hello is read as it was written, field by field. */
static void a_hello_survives_the_wire(void **state)
{
    struct hello hello = full_hello(), read = {0};
    struct buf bytes;
    buf_init(&bytes, 100000);
    frame_put_hello(&bytes, &hello);
    struct frame frame = only_frame(&bytes);
    assert_int_equal(frame.type, FRAME_HELLO);
    assert_int_equal(frame_get_hello(frame.body, &read), OK);
    assert_int_equal(read.protocol_max, 3);
    assert_true(replica_id_equal(&read.id, &hello.id));
    assert_string_equal(read.label, "lab");
    assert_string_equal(read.name, "kronk-0900");
    assert_string_equal(read.ingress, "10.0.0.1:7947");
    assert_true(addr_equal(&read.gossip, &hello.gossip));
    assert_int_equal(read.starts.total, 2);
    assert_int_equal(read.starts.entries[1].random, 12);
    assert_true(clock_equal(&read.clock, &hello.clock));
    assert_true(clock_equal(&read.floor, &hello.floor));
    assert_int_equal(read.flags, SYNC_WALKING);
    assert_int_equal(read.predecessor_count, 2);
    hello_done(&hello);
    hello_done(&read);
    buf_done(&bytes);
}

/* Rows become work: contiguous counters, records where the frame brought them. */
static void rows_become_work(void **state)
{
    struct buf bytes;
    struct store_work *work;
    buf_init(&bytes, 100000);
    put_rows(&bytes, 10);
    struct frame frame = only_frame(&bytes);
    assert_int_equal(frame_get_rows(&frame, &work, NULL), OK);
    assert_int_equal(work->kind, WORK_ROWS);
    assert_int_equal(work->rows.from, 10);
    assert_int_equal(work->rows.to, 13);
    assert_int_equal(work->rows.count, 3);
    assert_int_equal(work->rows.entries[0].dot.counter, 11);
    assert_int_equal(work->rows.entries[2].dot.counter, 13);
    assert_true(bytes_equal(work->rows.entries[1].key, bytes_str("b")));
    assert_true(work->rows.entries[1].record.len > 0);
    assert_int_equal(work->rows.entries[2].record.len, 0);
    store_work_free(work);
    buf_done(&bytes);
}

static void a_piece_becomes_work(void **state)
{
    struct buf bytes;
    struct store_work *work;
    uint64_t keys_total = 0;
    buf_init(&bytes, 100000);
    put_piece(&bytes);
    struct frame frame = only_frame(&bytes);
    assert_int_equal(frame_get_rows(&frame, &work, &keys_total), OK);
    assert_int_equal(work->kind, WORK_WALK_PIECE);
    assert_int_equal(keys_total, 2);
    assert_int_equal(work->rows.serial, 7);
    assert_true(work->rows.last);
    assert_int_equal(work->rows.through_len, 1);
    struct replica_id two = id_of(2);
    assert_int_equal(clock_get(&work->rows.source_clock, &two), 4);
    store_work_free(work);
    buf_done(&bytes);
}

/* A frame that has not come whole is no error: more must come. */
static void half_a_frame_waits_for_the_rest(void **state)
{
    struct buf bytes;
    struct frame frame;
    size_t size;
    buf_init(&bytes, 100000);
    put_rows(&bytes, 0);
    for (size_t n = 0; n < bytes.len; n++)
        assert_int_equal(frame_read(bytes_of(bytes.data, n), FRAME_MAX, &frame, &size), ERR_TRUNCATED);
    buf_done(&bytes);
}

/* A header that claims more than the limit is refused before a byte of the body
 * has come; unknown types and flags too. */
static void bad_headers_are_refused_at_once(void **state)
{
    struct frame frame;
    size_t size;
    const uint8_t huge[12] = {0xff, 0xff, 0xff, 0xff, FRAME_ROWS}, unknown[12] = {0, 0, 0, 0, 99},
                  flagged[12] = {0, 0, 0, 0, FRAME_HEARTBEAT, 2};
    assert_int_equal(frame_read(bytes_of(huge, 12), FRAME_MAX, &frame, &size), ERR_TOO_LARGE);
    assert_int_equal(frame_read(bytes_of(unknown, 12), FRAME_MAX, &frame, &size), ERR_MALFORMED);
    assert_int_equal(frame_read(bytes_of(flagged, 12), FRAME_MAX, &frame, &size), ERR_MALFORMED);
}

/* Any single flipped bit is seen. */
static void a_flipped_bit_is_seen(void **state)
{
    struct buf bytes;
    buf_init(&bytes, 100000);
    put_piece(&bytes);
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        struct frame frame;
        size_t size;
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(frame_read(buf_bytes(&bytes), FRAME_MAX, &frame, &size), OK);
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_done(&bytes);
}

static void decode_by_hand(const struct frame *frame)
{
    struct retired *list = NULL;
    size_t count = 0;
    uint64_t n;
    struct replica_id id;
    if (frame_get_retired(frame->body, &list, &count) == OK)
        free(list);
    (void)!frame_get_time(frame->body, &n);
    (void)!frame_get_forget(frame->body, &id);
}

static void decode_anything(const struct frame *frame)
{
    decode_by_hand(frame);
    struct hello hello = {0};
    struct refusal refusal;
    struct clock a = {0}, b = {0};
    struct walk_ask ask = {0};
    struct replica_id id;
    struct store_work *work = NULL;
    struct bytes text;
    uint64_t n;
    uint8_t flags;
    (void)!frame_get_hello(frame->body, &hello);
    (void)!frame_get_refuse(frame->body, &refusal);
    (void)!frame_get_clock(frame->body, &a, &b, &flags);
    (void)!frame_get_want(frame->body, &id, &n);
    (void)!frame_get_unwant(frame->body, &id);
    (void)!frame_get_walk_ask(frame->body, &ask);
    (void)!frame_get_walk_refused(frame->body, &n, &text);
    for (int type = FRAME_ROWS; type <= FRAME_WALK_ROWS; type++) {
        struct frame as = {.type = type, .body = frame->body};
        if (type != FRAME_ROWS && type != FRAME_AHEAD && type != FRAME_WALK_PIECE && type != FRAME_WALK_ROWS)
            continue;
        if (frame_get_rows(&as, &work, &n) == OK)
            store_work_free(work);
    }
    hello_done(&hello);
    clock_done(&a);
    clock_done(&b);
    clock_done(&ask.last);
}

/* What is told of retired ids, clocks and replicas let go of is read as it was written. */
static void what_is_done_by_hand_survives_the_wire(void **state)
{
    struct retired list[2] = {
        {.id = id_of(1), .raised = true, .viewed = true, .view = {.base = 5, .top = 9, .digest = 77}},
        {.id = id_of(2)}};
    struct retired *read = NULL;
    struct refusal refusal = {.reason = REFUSE_RETIRED, .counter = 5, .known_count = 2, .known = {7, 9}},
                   read_refusal;
    struct replica_id id = id_of(3), read_id;
    size_t count = 0;
    uint64_t wall_ms = 0;
    struct buf bytes;
    buf_init(&bytes, 10000);
    frame_put_retired(&bytes, list, 2);
    assert_int_equal(frame_get_retired(only_frame(&bytes).body, &read, &count), OK);
    assert_int_equal(count, 2);
    assert_true(replica_id_equal(&read[0].id, &list[0].id) && read[0].raised && read[0].viewed);
    assert_true(retire_view_equal(&read[0].view, &list[0].view));
    assert_false(read[1].raised || read[1].viewed);
    free(read);
    buf_reset(&bytes);
    list[0].view.top = 4; /* below its base */
    frame_put_retired(&bytes, list, 2);
    assert_int_equal(frame_get_retired(only_frame(&bytes).body, &read, &count), ERR_MALFORMED);
    buf_reset(&bytes);
    frame_put_time(&bytes, 1234567);
    assert_int_equal(frame_get_time(only_frame(&bytes).body, &wall_ms), OK);
    assert_int_equal(wall_ms, 1234567);
    buf_reset(&bytes);
    frame_put_time(&bytes, UINT64_MAX); /* no time: sums of it would run over */
    assert_int_equal(frame_get_time(only_frame(&bytes).body, &wall_ms), ERR_MALFORMED);
    buf_reset(&bytes);
    frame_put_forget(&bytes, &id);
    assert_int_equal(frame_get_forget(only_frame(&bytes).body, &read_id), OK);
    assert_true(replica_id_equal(&id, &read_id));
    buf_reset(&bytes);
    frame_put_refuse(&bytes, &refusal);
    assert_int_equal(frame_get_refuse(only_frame(&bytes).body, &read_refusal), OK);
    assert_int_equal(read_refusal.counter, 5);
    assert_int_equal(read_refusal.known_count, 2);
    assert_int_equal(read_refusal.known[1], 9);
    buf_done(&bytes);
}

/* Low at a tenth of the limit or 256 MiB of the disk, and well again a little above. */
static void little_space_is_noticed(void **state)
{
    struct engine_usage usage = {.bytes_max = 1000, .table_bytes = {[TABLE_RECORDS] = 899}};
    assert_false(sync_space_is_low(&usage, false));
    usage.table_bytes[TABLE_ROWS] = 2;
    assert_true(sync_space_is_low(&usage, false));
    usage.table_bytes[TABLE_RECORDS] = 887;
    assert_true(sync_space_is_low(&usage, true));
    usage.table_bytes[TABLE_RECORDS] = 870;
    assert_false(sync_space_is_low(&usage, true));
    usage.disk_known = true;
    usage.disk_free_bytes = 255u << 20;
    assert_true(sync_space_is_low(&usage, false));
    usage.disk_free_bytes = 257u << 20;
    assert_false(sync_space_is_low(&usage, false));
    assert_true(sync_space_is_low(&usage, true));
    usage = (struct engine_usage){0}; /* nothing is known: nothing is said */
    assert_false(sync_space_is_low(&usage, false));
}

/* Whatever lies in a frame with a right checksum, it is decoded or refused, and
 * nothing is read beyond it (the sanitizers watch). */
static void hostile_bodies_do_no_harm(void **state)
{
    struct rng rng;
    struct buf bytes, body;
    rng_init(&rng, 4711);
    buf_init(&bytes, 1 << 20);
    for (int turn = 0; turn < 20000; turn++) {
        buf_reset(&bytes);
        struct hello hello = full_hello();
        if (turn % 7 == 0)
            frame_put_retired(&bytes, (struct retired[]){{.id = id_of(1)}, {.id = id_of(2)}}, 2);
        else if (turn % 3 == 0)
            put_rows(&bytes, rng_below(&rng, 100));
        else if (turn % 3 == 1)
            put_piece(&bytes);
        else
            frame_put_hello(&bytes, &hello);
        hello_done(&hello);
        struct frame frame = only_frame(&bytes);
        buf_init(&body, frame.body.len);
        buf_put(&body, frame.body.data,
                rng_permille(&rng, 300) ? rng_below(&rng, frame.body.len) : frame.body.len);
        for (uint64_t flips = rng_below(&rng, 6); flips > 0 && body.len; flips--)
            body.data[rng_below(&rng, body.len)] = (uint8_t)rng_next(&rng);
        frame.body = buf_bytes(&body);
        decode_anything(&frame);
        buf_done(&body);
    }
    buf_done(&bytes);
}

/* A count that the body cannot hold is refused before room is made for it. */
static void a_count_is_not_believed(void **state)
{
    struct buf bytes;
    struct store_work *work;
    buf_init(&bytes, 1000);
    size_t begun = frame_begin(&bytes, FRAME_AHEAD);
    buf_put_u32(&bytes, 0xffffffff);
    frame_end(&bytes, begun);
    struct frame frame = only_frame(&bytes);
    assert_int_equal(frame_get_rows(&frame, &work, NULL), ERR_MALFORMED);
    buf_done(&bytes);
}

/* ---- packed bodies ---------------------------------------------------------------- */

/* A frame of zeros, `size` bytes of body. */
static void put_zeros(struct buf *out, size_t size)
{
    size_t begun = frame_begin(out, FRAME_ROWS);
    memset(buf_extend(out, size), 0, size);
    frame_end(out, begun);
}

/* A packed frame with this body. */
static struct frame packed_frame(struct buf *out, const void *body, size_t len)
{
    size_t begun = frame_begin(out, FRAME_ROWS);
    out->data[begun + FRAME_FLAGS_AT] = FRAME_PACKED;
    buf_put(out, body, len);
    frame_end(out, begun);
    return only_frame(out);
}

/* What was packed is unpacked to the same bytes, at every level. */
static void a_packed_frame_survives_the_wire(void **state)
{
    for (int level = SQUEEZE_AUTO; level <= 19; level += 5) {
        struct squeeze *squeeze = squeeze_new(level ? level : 1);
        struct buf plain, packed, body = {0};
        buf_init(&plain, 1 << 20);
        buf_init(&packed, 1 << 20);
        put_zeros(&plain, 100000);
        assert_true(squeeze_frame(squeeze, buf_bytes(&plain), &packed));
        assert_true(packed.len < 1000);
        struct frame frame = only_frame(&packed);
        assert_true(frame.packed);
        assert_int_equal(frame.type, FRAME_ROWS);
        assert_int_equal(squeeze_unpack(squeeze, frame.body, &body), OK);
        assert_true(
            bytes_equal(buf_bytes(&body), bytes_of(plain.data + FRAME_HEADER, plain.len - FRAME_HEADER)));
        buf_done(&body);
        buf_done(&plain);
        buf_done(&packed);
        squeeze_free(squeeze);
    }
}

/* Rows of a packed frame take the unpacked body with them, and copy nothing. */
static void unpacked_rows_own_their_body(void **state)
{
    struct buf plain, body = {0};
    struct store_work *work;
    buf_init(&plain, 100000);
    put_rows(&plain, 10);
    struct frame frame = only_frame(&plain);
    buf_init(&body, frame.body.len);
    buf_put_bytes(&body, frame.body);
    const uint8_t *data = body.data;
    frame.body = buf_bytes(&body);
    frame.owned = &body;
    assert_int_equal(frame_get_rows(&frame, &work, NULL), OK);
    assert_ptr_equal(work->rows.payload.data, data);
    assert_null(body.data);
    store_work_free(work);
    buf_done(&plain);
}

/* What does not shrink by an eighth stays as it is, and out too. */
static void dense_bodies_are_left_alone(void **state)
{
    struct squeeze *squeeze = squeeze_new(SQUEEZE_AUTO);
    struct rng rng;
    struct buf plain, packed;
    rng_init(&rng, 5);
    buf_init(&plain, 1 << 20);
    buf_init(&packed, 1 << 20);
    size_t begun = frame_begin(&plain, FRAME_ROWS);
    for (int i = 0; i < 10000; i++)
        buf_put_u64(&plain, rng_next(&rng));
    frame_end(&plain, begun);
    buf_put_text(&packed, "before");
    assert_false(squeeze_frame(squeeze, buf_bytes(&plain), &packed));
    assert_true(bytes_equal(buf_bytes(&packed), bytes_str("before")));
    assert_int_equal(packed.err, OK);
    buf_done(&plain);
    buf_done(&packed);
    squeeze_free(squeeze);
}

/* Lengths that lie, other formats, bodies that are cut, longer or empty: an error
 * each, and no memory for what was only declared. */
static void hostile_packed_bodies_are_refused(void **state)
{
    struct squeeze *squeeze = squeeze_new(1);
    struct buf plain, packed, twisted, body = {0};
    buf_init(&plain, 1 << 20);
    buf_init(&packed, 1 << 20);
    buf_init(&twisted, 1 << 20);
    put_zeros(&plain, 50000);
    assert_true(squeeze_frame(squeeze, buf_bytes(&plain), &packed));
    struct bytes good = only_frame(&packed).body;

    for (size_t n = 0; n < good.len; n++)
        assert_int_equal(squeeze_unpack(squeeze, bytes_of(good.data, n), &body), ERR_MALFORMED);
    static const uint32_t lengths[] = {0, 1, 49999, 50001, SQUEEZE_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        buf_reset(&twisted);
        buf_put_bytes(&twisted, good);
        buf_patch_u32(&twisted, 0, lengths[i]);
        assert_int_equal(squeeze_unpack(squeeze, buf_bytes(&twisted), &body), ERR_MALFORMED);
    }
    buf_patch_u32(&twisted, 0, SQUEEZE_MAX + 1);
    assert_int_equal(squeeze_unpack(squeeze, buf_bytes(&twisted), &body), ERR_TOO_LARGE);
    buf_patch_u32(&twisted, 0, UINT32_MAX);
    assert_int_equal(squeeze_unpack(squeeze, buf_bytes(&twisted), &body), ERR_TOO_LARGE);
    buf_reset(&twisted);
    buf_put_bytes(&twisted, good);
    buf_put_u8(&twisted, 0); /* something behind it */
    assert_int_equal(squeeze_unpack(squeeze, buf_bytes(&twisted), &body), ERR_MALFORMED);
    buf_reset(&twisted);
    buf_put_u32(&twisted, 5);
    buf_put_text(&twisted, "plain");
    assert_int_equal(squeeze_unpack(squeeze, buf_bytes(&twisted), &body), ERR_MALFORMED);
    assert_null(body.data);

    struct rng rng;
    rng_init(&rng, 11);
    for (int turn = 0; turn < 20000; turn++) { /* the sanitizers watch */
        buf_reset(&twisted);
        buf_put_bytes(&twisted, good);
        for (uint64_t flips = 1 + rng_below(&rng, 4); flips > 0; flips--)
            twisted.data[4 + rng_below(&rng, twisted.len - 4)] = (uint8_t)rng_next(&rng);
        if (squeeze_unpack(squeeze, buf_bytes(&twisted), &body) == OK)
            assert_int_equal(body.len, 50000);
        buf_done(&body);
    }
    buf_done(&plain);
    buf_done(&packed);
    buf_done(&twisted);
    squeeze_free(squeeze);
}

/* The flag is seen, and covered by the checksum. */
static void the_packed_flag_is_checked(void **state)
{
    struct buf bytes;
    struct frame frame;
    size_t size;
    buf_init(&bytes, 1000);
    frame = packed_frame(&bytes, "1234", 4);
    assert_true(frame.packed);
    bytes.data[FRAME_FLAGS_AT] = 0;
    assert_int_equal(frame_read(buf_bytes(&bytes), FRAME_MAX, &frame, &size), ERR_CHECKSUM);
    buf_done(&bytes);
}

/* What did not shrink is not tried for a while, longer each time; once it shrinks
 * all is tried again. */
static void dull_data_is_skipped_for_longer_each_time(void **state)
{
    struct dull dull = {0};
    size_t before = 0;
    for (int i = 0; i < 3; i++) {
        size_t skipped = 0;
        assert_false(dull_skips(&dull, 1 << 20));
        dull_tell(&dull, false);
        while (dull_skips(&dull, 1 << 20))
            skipped++;
        assert_true(skipped > before);
        before = skipped;
    }
    dull_tell(&dull, true);
    assert_false(dull_skips(&dull, 1 << 20));
    for (int i = 0; i < 100; i++)
        dull_tell(&dull, false);
    assert_in_range(dull.left, 1, 512 << 20);
}

/* ---- the cache of frames ---------------------------------------------------------------- */

/* A frame is found by its origin and its beginning, by peers that are at or above
 * the floor it was read at, for a moment. */
static void a_cached_frame_is_found_by_whom_it_suits(void **state)
{
    struct frame_cache cache = {0};
    struct replica_id one = id_of(1), two = id_of(2);
    struct clock floor = clock_with(1, 5, 0, 0), above = clock_with(1, 9, 2, 3),
                 below = clock_with(1, 4, 2, 9);
    cache_put(&cache, 1000, &one, 9, 12, &floor, bytes_str("a frame"));

    struct cached *found = cache_find(&cache, 1500, &one, 9, &above);
    assert_non_null(found);
    assert_int_equal(found->to, 12);
    assert_true(bytes_equal(buf_bytes(&found->frame), bytes_str("a frame")));
    assert_null(cache_find(&cache, 1500, &two, 9, &above));
    assert_null(cache_find(&cache, 1500, &one, 8, &above));
    assert_null(cache_find(&cache, 1500, &one, 9, &below));
    assert_non_null(cache_find(&cache, 1999, &one, 9, &above));
    assert_null(cache_find(&cache, 2000, &one, 9, &above));
    assert_int_equal(cache.count, 0);
    clock_done(&floor);
    clock_done(&above);
    clock_done(&below);
}

/* However much is put into it, it holds a bounded number of frames and bytes; the
 * oldest go, and what is too large never comes. */
static void the_cache_is_bounded(void **state)
{
    struct frame_cache cache = {0};
    struct replica_id one = id_of(1);
    struct clock none = {0};
    static uint8_t bytes[CACHE_FRAME_BYTES + 1];
    for (uint64_t i = 0; i < 100; i++) {
        cache_put(&cache, 1000, &one, i, i + 1, &none, bytes_of(bytes, i % 2 ? 100 : CACHE_FRAME_BYTES));
        assert_in_range(cache.count, 1, CACHE_FRAMES);
        assert_in_range(cache.bytes, 1, CACHE_BYTES);
    }
    assert_non_null(cache_find(&cache, 1000, &one, 99, &none));
    assert_null(cache_find(&cache, 1000, &one, 0, &none));
    cache_clear(&cache);
    assert_int_equal(cache.bytes, 0);
    cache_put(&cache, 1000, &one, 1, 2, &none, bytes_of(bytes, sizeof bytes));
    assert_int_equal(cache.count, 0);
}

/* A frame is packed once, for all links. */
static void a_cached_frame_is_packed_once(void **state)
{
    struct frame_cache cache = {0};
    struct squeeze *squeeze = squeeze_new(1);
    struct replica_id one = id_of(1);
    struct clock none = {0};
    struct buf plain;
    buf_init(&plain, 1 << 20);
    put_zeros(&plain, 100000);
    cache_put(&cache, 0, &one, 0, 1, &none, buf_bytes(&plain));
    struct cached *cached = cache_find(&cache, 0, &one, 0, &none);
    struct bytes packed = cache_packed(&cache, cached, squeeze);
    assert_in_range(packed.len, 1, 1000);
    assert_ptr_equal(cache_packed(&cache, cached, squeeze).data, packed.data);
    cache_clear(&cache);
    buf_done(&plain);
    squeeze_free(squeeze);
}

/* ---- the pace -------------------------------------------------------------------------- */

/* While nobody writes, bulk goes in large slices and a few at a time. */
static void an_idle_committer_is_fed(void **state)
{
    struct pace pace = {0};
    size_t entries, bytes;
    for (int i = 0; i < PACE_OUT_MAX; i++) {
        assert_true(pace_may(&pace, 1000, &entries, &bytes));
        assert_int_equal(entries, PACE_ENTRIES_MAX);
        pace_gave(&pace);
    }
    assert_false(pace_may(&pace, 1000, &entries, &bytes));
    pace_stored(&pace, 1100, PACE_ENTRIES_MAX, 100);
    assert_true(pace_may(&pace, 1100, &entries, &bytes));
}

/* A committer whose works take a fixed time and some for each record: slices come
 * to about the target, and it rests as long as it works. */
static void slices_find_their_size(void **state)
{
    static const struct {
        unsigned base_us, record_us, low_ms, high_ms;
    } disks[] = {{500, 10, 3, 5}, {500, 100, 3, 10}, {3000, 20, 3, 10}, {20000, 10, 20, 60}};
    for (size_t d = 0; d < sizeof disks / sizeof *disks; d++) {
        struct pace pace = {0};
        uint64_t now = 1000, worked = 0, began = 0;
        size_t entries, bytes;
        for (int turn = 0; turn < 300; turn++) {
            pace_local_write(&pace, now);
            assert_true(pace_may(&pace, now, &entries, &bytes));
            pace_gave(&pace);
            assert_false(pace_may(&pace, now, &entries, &bytes)); /* one at a time */
            uint64_t took = (disks[d].base_us + entries * disks[d].record_us + 999) / 1000;
            if (turn == 100)
                began = now;
            if (turn >= 100) {
                assert_in_range(took, disks[d].low_ms, disks[d].high_ms);
                worked += took;
            }
            now += took;
            pace_stored(&pace, now, entries, took);
            assert_false(pace_may(&pace, now + took - 1, &entries, &bytes));
            assert_int_equal(pace_deadline(&pace, now), now + took);
            now += took;
        }
        assert_in_range((now - began) * 10 / worked, 19, 21);
    }
}

/* Some seconds after the last write bulk has all again, and not before. */
static void a_write_is_remembered_for_a_while(void **state)
{
    struct pace pace = {0};
    size_t entries, bytes;
    pace_local_write(&pace, 1000);
    assert_true(pace_may(&pace, 1000 + PACE_BUSY_MS - 1, &entries, &bytes));
    assert_int_equal(entries, PACE_ENTRIES_FIRST);
    assert_true(pace_may(&pace, 1000 + PACE_BUSY_MS, &entries, &bytes));
    assert_int_equal(entries, PACE_ENTRIES_MAX);
    assert_int_equal(pace_deadline(&pace, 1000 + PACE_BUSY_MS), UINT64_MAX);
}

/* The questions of a walk, with and without pieces ahead. */
static void a_question_survives_the_wire(void **state)
{
    for (uint64_t ahead = 1; ahead <= WALK_AHEAD_MAX + 1; ahead += WALK_AHEAD_MAX / 2) {
        struct walk_ask ask = {.run = 300,
                               .place = {.phase = WALK_RECORDS, .after = "abc", .after_len = 3},
                               .ahead = ahead},
                        read = {0};
        struct buf bytes;
        buf_init(&bytes, 10000);
        ask.last = clock_with(1, 7, 2, 9);
        frame_put_walk_ask(&bytes, &ask);
        struct frame frame = only_frame(&bytes);
        if (ahead > WALK_AHEAD_MAX) {
            assert_int_equal(frame_get_walk_ask(frame.body, &read), ERR_MALFORMED);
        } else {
            assert_int_equal(frame_get_walk_ask(frame.body, &read), OK);
            assert_int_equal(read.run, 300);
            assert_int_equal(read.ahead, ahead);
            assert_int_equal(read.place.after_len, 3);
            assert_true(clock_equal(&read.last, &ask.last));
        }
        clock_done(&ask.last);
        clock_done(&read.last);
        buf_done(&bytes);
    }
}

/* ---- peers, watermark, history -------------------------------------------------- */

static void a_peer_survives_its_note(void **state)
{
    struct peers peers = {0}, read = {0};
    struct replica_id id = id_of(5);
    struct peer *peer = peers_get(&peers, &id);
    struct buf note;
    buf_init(&note, 10000);
    strcpy(peer->name, "kuzco");
    strcpy(peer->ingress, "h:1");
    peer->has_starts = peer->hearsay = true;
    peer->departed = true;
    peer->told = 41;
    peer->heard_wall_ms = 123456789;
    starts_append(&peer->starts, (struct start){3, 4});
    peer->clock = clock_with(5, 42, 6, 7);
    peer_encode(peer, &note);
    assert_int_equal(peer_decode(&read, buf_bytes(&note)), OK);
    struct peer *back = peers_find(&read, &id);
    assert_non_null(back);
    assert_string_equal(back->name, "kuzco");
    assert_int_equal(back->told, 41);
    assert_true(back->has_starts && back->hearsay && back->departed && !back->left && !back->forgotten);
    assert_int_equal(back->heard_wall_ms, 123456789);
    assert_true(clock_equal(&back->clock, &peer->clock));
    for (size_t n = 0; n < note.len; n++) {
        struct peers none = {0};
        assert_int_equal(peer_decode(&none, bytes_of(note.data, n)), ERR_DAMAGED);
        peers_done(&none);
    }
    peers_done(&peers);
    peers_done(&read);
    buf_done(&note);
}

/* The note of the peer's last start was not stored, and the one of what it told since was:
 * held against the older starts, that would make its next hello a fork. */
static void what_was_told_in_another_life_says_nothing(void **state)
{
    struct peers peers = {0};
    struct replica_id id = id_of(5);
    struct peer *peer = peers_get(&peers, &id);
    struct buf note, former;
    buf_init(&note, 100);
    buf_init(&former, 100);
    peer->has_starts = true;
    starts_append(&peer->starts, (struct start){0, 4});
    peer->told = 41;
    told_encode(peer, &note);
    peer->told = 3;
    assert_int_equal(told_decode(&peers, buf_bytes(&note)), OK);
    assert_int_equal(peer->told, 41);
    peer->told = 50;
    assert_int_equal(told_decode(&peers, buf_bytes(&note)), OK);
    assert_int_equal(peer->told, 50); /* never less */

    peer->told = 3;
    starts_append(&peer->starts, (struct start){3, 5});
    assert_int_equal(told_decode(&peers, buf_bytes(&note)), OK);
    assert_int_equal(peer->told, 3);
    peer->starts = (struct starts){0};
    starts_append(&peer->starts, (struct start){0, 6});
    assert_int_equal(told_decode(&peers, buf_bytes(&note)), OK);
    assert_int_equal(peer->told, 3);

    replica_id_encode(&id, &former); /* as notes were before they told of the start */
    buf_put_u64(&former, 41);
    assert_int_equal(told_decode(&peers, buf_bytes(&former)), OK);
    assert_int_equal(peer->told, 41);
    for (size_t n = 0; n < note.len; n++)
        if (n != former.len)
            assert_int_equal(told_decode(&peers, bytes_of(note.data, n)), ERR_DAMAGED);
    peers_done(&peers);
    buf_done(&note);
    buf_done(&former);
}

/* The watermark is what every replica expected back has; who left or was away too
 * long does not hold it. */
/* Left for good: it counts while it is a member or connected, as it may be on its way back. */
static void who_departed_is_expected_while_it_is_there(void **state)
{
    struct link link = {0};
    struct peer peer = {.departed = true, .heard_wall_ms = 1000};
    assert_false(peer_expected(&peer, 1001, 5000));
    assert_true(peer_has_left(&peer));
    peer.member = true;
    assert_true(peer_expected(&peer, 1001, 5000));
    peer.member = false;
    peer.link = &link;
    assert_true(peer_expected(&peer, 1001, 5000));
    peer.left = true; /* its id was given up */
    assert_false(peer_expected(&peer, 1001, 5000));
}

static void the_watermark_waits_for_the_expected(void **state)
{
    enum { FORGET = 1000 };
    struct peers peers = {0};
    struct clock own = clock_with(1, 100, 2, 50), mark = {0};
    struct replica_id a = id_of(2), b = id_of(3);
    struct peer *near = peers_get(&peers, &a), *away = peers_get(&peers, &b);
    near->clock = clock_with(1, 90, 2, 50);
    near->heard_wall_ms = 5000;
    away->clock = clock_with(1, 10, 0, 0);
    away->heard_wall_ms = 4000;

    peers_watermark(&peers, &own, 5000, FORGET, &mark);
    assert_int_equal(clock_get(&mark, &(struct replica_id){.b = {[0] = 1, [15] = 1}}), 10);
    assert_int_equal(clock_get(&mark, &a), 0);
    peers_watermark(&peers, &own, 5001, FORGET, &mark); /* a moment later it is forgotten */
    assert_int_equal(clock_get(&mark, &(struct replica_id){.b = {[0] = 1, [15] = 1}}), 90);
    assert_int_equal(clock_get(&mark, &a), 50);
    peers_watermark(&peers, &own, 1000, FORGET, &mark); /* a clock set back forgets nobody */
    assert_int_equal(clock_get(&mark, &(struct replica_id){.b = {[0] = 1, [15] = 1}}), 10);
    away->left = true;
    peers_watermark(&peers, &own, 5000, FORGET, &mark);
    assert_int_equal(clock_get(&mark, &(struct replica_id){.b = {[0] = 1, [15] = 1}}), 90);
    clock_done(&own);
    clock_done(&mark);
    peers_done(&peers);
}

/* Heard of while the wall clock stood hours ahead: it is waited for as long as others
 * are, not for those hours too. A clock that is wrong for a moment only changes nothing. */
static void a_clock_that_stood_ahead_holds_nobody(void **state)
{
    enum { FORGET = 1000, HOURS = 5 * 3600000, NOW = 100000000 };
    struct peers peers = {0};
    struct replica_id id = id_of(2);
    struct peer *away = peers_get(&peers, &id);
    away->heard_wall_ms = NOW + HOURS;

    peers_look_at_wall(&peers, 5000, NOW, FORGET);
    peers_look_at_wall(&peers, 5000 + FORGET, NOW + FORGET, FORGET);
    assert_true(peer_expected(away, NOW + FORGET, FORGET));
    peers_look_at_wall(&peers, 5001 + FORGET, NOW + FORGET + 1, FORGET);
    assert_false(peer_expected(away, NOW + FORGET + 1, FORGET));

    away->heard_wall_ms = NOW;
    peers_look_at_wall(&peers, 10000, 7, FORGET); /* as a machine starts that has no clock */
    peers_look_at_wall(&peers, 10500, NOW + 500, FORGET);
    assert_true(peer_expected(away, NOW + 500, FORGET));
    peers_look_at_wall(&peers, 20000, 7, FORGET); /* again: the first time does not count */
    assert_int_equal(away->heard_wall_ms, NOW);

    away->link = (struct link *)&peers; /* who is here was not away */
    peers_look_at_wall(&peers, 30000, 7, FORGET);
    away->link = NULL;
    peers_look_at_wall(&peers, 30001, 7, FORGET);
    assert_int_equal(away->heard_wall_ms, NOW);
    peers_done(&peers);
}

static void look_at_history(uint64_t span, uint64_t step)
{
    struct history history = {0};
    struct clock clock = {0};
    struct dot dot = dot_of(1, 0);
    for (uint64_t now = 0; now <= 10000; now += step) {
        dot.counter = now + 1;
        clock_raise(&clock, &dot);
        history_sample(&history, now, span, &clock);
        const struct clock *old = history_older_than(&history, now, span);
        if (now < span)
            assert_null(old);
        else if (now >= span + step)
            assert_in_range(now + 1 - clock_get(old, &dot.replica), span,
                            span + 2 * span / HISTORY_SAMPLES + 2 * step);
    }
    clock_done(&clock);
    history_done(&history);
}

/* Rows are kept for the promised time, and not much longer: also where that is no multiple
 * of the samples, and each of these is taken as soon as it may be. */
static void history_tells_what_is_old_enough(void **state)
{
    look_at_history(3200, 10);
    look_at_history(200, 2);
    look_at_history(1009, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hello_survives_the_wire),
        cmocka_unit_test(rows_become_work),
        cmocka_unit_test(a_piece_becomes_work),
        cmocka_unit_test(half_a_frame_waits_for_the_rest),
        cmocka_unit_test(bad_headers_are_refused_at_once),
        cmocka_unit_test(a_flipped_bit_is_seen),
        cmocka_unit_test(what_is_done_by_hand_survives_the_wire),
        cmocka_unit_test(little_space_is_noticed),
        cmocka_unit_test(hostile_bodies_do_no_harm),
        cmocka_unit_test(a_count_is_not_believed),
        cmocka_unit_test(a_packed_frame_survives_the_wire),
        cmocka_unit_test(unpacked_rows_own_their_body),
        cmocka_unit_test(dense_bodies_are_left_alone),
        cmocka_unit_test(hostile_packed_bodies_are_refused),
        cmocka_unit_test(the_packed_flag_is_checked),
        cmocka_unit_test(dull_data_is_skipped_for_longer_each_time),
        cmocka_unit_test(a_cached_frame_is_found_by_whom_it_suits),
        cmocka_unit_test(the_cache_is_bounded),
        cmocka_unit_test(a_cached_frame_is_packed_once),
        cmocka_unit_test(an_idle_committer_is_fed),
        cmocka_unit_test(slices_find_their_size),
        cmocka_unit_test(a_write_is_remembered_for_a_while),
        cmocka_unit_test(a_question_survives_the_wire),
        cmocka_unit_test(a_peer_survives_its_note),
        cmocka_unit_test(what_was_told_in_another_life_says_nothing),
        cmocka_unit_test(who_departed_is_expected_while_it_is_there),
        cmocka_unit_test(the_watermark_waits_for_the_expected),
        cmocka_unit_test(a_clock_that_stood_ahead_holds_nobody),
        cmocka_unit_test(history_tells_what_is_old_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
