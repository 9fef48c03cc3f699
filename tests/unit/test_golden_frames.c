/* Frames of the protocol of today as they were when they were released (tests/golden/protocol-3,
 * and what protocol 4 has added):
 * each is still written to the same bytes, and read to the same contents.
 *
 * With YZMA_GOLDEN_WRITE set the files are written instead of compared: for a new protocol,
 * into a folder of its own (protocol_of below). Those of one that was released do not change. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "chunk.h"
#include "repair_frames.h"
#include "squeeze.h"
#include "storekit.h"

/* The protocol that each kind of frame has had its bytes since. */
static int protocol_of(const char *name)
{
    return strncmp(name, "past", 4) == 0 ? 4 : 3;
}

enum { BYTES_MAX = 1 << 20, LINE = 48 };

/* ---- files ------------------------------------------------------------------------------ */

static FILE *open_file(const char *name, const char *mode)
{
    char path[512];
    snprintf(path, sizeof path, "%s/protocol-%d/%s.hex", YZMA_GOLDEN, protocol_of(name), name);
    FILE *file = fopen(path, mode);
    if (!file)
        fail_msg("%s cannot be opened", path);
    return file;
}

static void write_file(const char *name, const struct buf *bytes)
{
    FILE *file = open_file(name, "w");
    fprintf(file, "# A %s frame of protocol %d, as its encoder wrote it.\n", name, protocol_of(name));
    for (size_t i = 0; i < bytes->len; i++)
        fprintf(file, "%02x%s", bytes->data[i], i % LINE == LINE - 1 || i + 1 == bytes->len ? "\n" : "");
    fclose(file);
}

static void read_file(const char *name, struct buf *ret)
{
    char line[4 * LINE];
    unsigned byte;
    FILE *file = open_file(name, "r");
    while (fgets(line, sizeof line, file))
        for (const char *at = line; line[0] != '#' && sscanf(at, "%2x", &byte) == 1; at += 2)
            buf_put_u8(ret, (uint8_t)byte);
    fclose(file);
    assert_true(ret->len >= FRAME_HEADER);
}

static bool writes(void)
{
    return getenv("YZMA_GOLDEN_WRITE") != NULL;
}

/* ---- contents ------------------------------------------------------------------------------ */

static struct clock vector(uint64_t one, uint64_t two)
{
    struct clock clock = {0};
    struct dot a = kit_dot(1, one), b = kit_dot(2, two);
    clock_raise(&clock, &a);
    clock_raise(&clock, &b);
    return clock;
}

static const struct walk_place place = {.phase = WALK_ROWS,
                                        .after = "key",
                                        .after_len = 3,
                                        .row_after = {.replica = {.b = {0, 1, 1}}, .counter = 7}};

static void put_hello(struct buf *out)
{
    struct hello hello = {.protocol_min = 1,
                          .protocol_max = 3,
                          .id = kit_id(1),
                          .label = "lab",
                          .name = "kronk-0001",
                          .ingress = "10.0.0.1:7947",
                          .gossip = {.ip = {10, 0, 0, 1}, .len = 4, .port = 7946},
                          .flags = SYNC_WALKING,
                          .predecessors = {kit_id(3), kit_id(4)},
                          .predecessor_count = 2,
                          .clock = vector(300, 5),
                          .floor = vector(50, 1)};
    starts_append(&hello.starts, (struct start){0, 11});
    starts_append(&hello.starts, (struct start){200, 12});
    frame_put_hello(out, &hello);
    hello_done(&hello);
}

static void hello_again(const struct frame *frame, struct buf *out)
{
    struct hello hello = {0};
    assert_int_equal(frame_get_hello(frame->body, &hello), OK);
    frame_put_hello(out, &hello);
    hello_done(&hello);
}

static void put_refuse(struct buf *out)
{
    struct refusal refusal = {
        .reason = REFUSE_RETIRED, .text = "retired", .counter = 5, .known_count = 2, .known = {7, 300}};
    frame_put_refuse(out, &refusal);
}

static void put_fork(struct buf *out)
{
    struct refusal refusal = {.reason = REFUSE_FORK, .text = "another past", .counter = 1000};
    starts_append(&refusal.starts, (struct start){3, 99});
    frame_put_refuse(out, &refusal);
}

static void refuse_again(const struct frame *frame, struct buf *out)
{
    struct refusal refusal = {0};
    assert_int_equal(frame_get_refuse(frame->body, &refusal), OK);
    frame_put_refuse(out, &refusal);
}

static void put_clock(struct buf *out)
{
    struct clock clock = vector(1000000, 2), floor = vector(128, 1);
    frame_put_clock(out, &clock, &floor, SYNC_WALKING);
    clock_done(&clock);
    clock_done(&floor);
}

static void clock_again(const struct frame *frame, struct buf *out)
{
    struct clock clock = {0}, floor = {0};
    uint8_t flags;
    assert_int_equal(frame_get_clock(frame->body, &clock, &floor, &flags), OK);
    frame_put_clock(out, &clock, &floor, flags);
    clock_done(&clock);
    clock_done(&floor);
}

static void put_heartbeat(struct buf *out)
{
    frame_put_empty(out, FRAME_HEARTBEAT);
}

static void put_left(struct buf *out)
{
    frame_put_empty(out, FRAME_LEFT);
}

static void empty_again(const struct frame *frame, struct buf *out)
{
    assert_int_equal(frame->body.len, 0);
    frame_put_empty(out, frame->type);
}

static void put_want(struct buf *out)
{
    struct replica_id id = kit_id(2);
    frame_put_want(out, &id, 12345);
}

static void want_again(const struct frame *frame, struct buf *out)
{
    struct replica_id id;
    uint64_t from;
    assert_int_equal(frame_get_want(frame->body, &id, &from), OK);
    frame_put_want(out, &id, from);
}

static void put_unwant(struct buf *out)
{
    struct replica_id id = kit_id(2);
    frame_put_unwant(out, &id);
}

static void unwant_again(const struct frame *frame, struct buf *out)
{
    struct replica_id id;
    assert_int_equal(frame_get_unwant(frame->body, &id), OK);
    frame_put_unwant(out, &id);
}

static void put_walk_ask(struct buf *out)
{
    struct walk_ask ask = {.run = 9, .place = place, .last = vector(4, 5), .ahead = 4};
    frame_put_walk_ask(out, &ask);
    clock_done(&ask.last);
}

static void walk_ask_again(const struct frame *frame, struct buf *out)
{
    struct walk_ask ask = {0};
    assert_int_equal(frame_get_walk_ask(frame->body, &ask), OK);
    frame_put_walk_ask(out, &ask);
    clock_done(&ask.last);
}

static void put_walk_more(struct buf *out)
{
    frame_put_walk_more(out, 9, 2);
}

static void walk_more_again(const struct frame *frame, struct buf *out)
{
    uint64_t run, pieces;
    assert_int_equal(frame_get_walk_more(frame->body, &run, &pieces), OK);
    frame_put_walk_more(out, run, pieces);
}

static void put_walk_refused(struct buf *out)
{
    frame_put_walk_refused(out, 9, "is being filled itself");
}

static void walk_refused_again(const struct frame *frame, struct buf *out)
{
    uint64_t run;
    struct bytes text;
    char copy[REFUSE_TEXT_MAX + 1] = "";
    assert_int_equal(frame_get_walk_refused(frame->body, &run, &text), OK);
    assert_in_range(text.len, 1, REFUSE_TEXT_MAX);
    memcpy(copy, text.data, text.len);
    frame_put_walk_refused(out, run, copy);
}

static void put_retired(struct buf *out)
{
    const struct retired list[] = {
        {.id = kit_id(1), .raised = true, .viewed = true, .view = {.base = 5, .top = 900, .digest = 77}},
        {.id = kit_id(2)}};
    frame_put_retired(out, list, 2);
}

static void retired_again(const struct frame *frame, struct buf *out)
{
    struct retired *list = NULL;
    size_t count;
    assert_int_equal(frame_get_retired(frame->body, &list, &count), OK);
    frame_put_retired(out, list, count);
    free(list);
}

static void put_past_list(struct buf *out, const struct past *list, size_t count)
{
    size_t begun = frame_begin(out, FRAME_PAST);
    buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++)
        past_encode(&list[i], out);
    frame_end(out, begun);
}

static void put_past(struct buf *out)
{
    struct past list[] = {{.id = kit_id(1), .told = 1000, .awaited = true}, {.id = kit_id(2)}};
    starts_append(&list[0].starts, (struct start){0, 11});
    starts_append(&list[0].starts, (struct start){200, 12});
    put_past_list(out, list, 2);
}

static void put_past_departed(struct buf *out)
{
    struct past list[] = {{.id = kit_id(1), .told = 1000, .departed = true}};
    starts_append(&list[0].starts, (struct start){0, 11});
    put_past_list(out, list, 1);
}

static void past_again(const struct frame *frame, struct buf *out)
{
    struct past *list = NULL;
    size_t count = 0;
    assert_int_equal(frame_get_past(frame->body, &list, &count), OK);
    put_past_list(out, list, count);
    free(list);
}

static void put_time(struct buf *out)
{
    frame_put_time(out, 1764316800000);
}

static void time_again(const struct frame *frame, struct buf *out)
{
    uint64_t wall_ms;
    assert_int_equal(frame_get_time(frame->body, &wall_ms), OK);
    frame_put_time(out, wall_ms);
}

static void put_forget(struct buf *out)
{
    struct replica_id id = kit_id(7);
    frame_put_forget(out, &id);
}

static void forget_again(const struct frame *frame, struct buf *out)
{
    struct replica_id id;
    assert_int_equal(frame_get_forget(frame->body, &id), OK);
    frame_put_forget(out, &id);
}

static void put_record_ask(struct buf *out)
{
    frame_put_record_ask(out, bytes_str("some/key"));
}

static void record_ask_again(const struct frame *frame, struct buf *out)
{
    struct bytes key;
    assert_int_equal(frame_get_record_ask(frame->body, &key), OK);
    frame_put_record_ask(out, key);
}

static void put_record_as(struct buf *out, enum frame_type type)
{
    struct record_frame record = {.state = RECORD_PRESENT,
                                  .answer = type == FRAME_DIVERGED,
                                  .key = bytes_str("some/key"),
                                  .record = bytes_str("opaque here"),
                                  .clock = vector(3, 4),
                                  .floor = vector(1, 2)};
    frame_put_record(out, type, &record);
    record_frame_done(&record);
}

static void put_record(struct buf *out)
{
    put_record_as(out, FRAME_RECORD);
}

static void put_diverged(struct buf *out)
{
    put_record_as(out, FRAME_DIVERGED);
}

static void record_again(const struct frame *frame, struct buf *out)
{
    struct record_frame record = {0};
    assert_int_equal(frame_get_record(frame, &record), OK);
    frame_put_record(out, frame->type, &record);
    record_frame_done(&record);
}

static void put_digest_ask(struct buf *out)
{
    struct digest_ask ask = {.run = 3,
                             .clock_hash = 0x1122334455667788,
                             .wall_ms = 1764316800000,
                             .list = true,
                             .after = bytes_str("a"),
                             .through = bytes_str("b"),
                             .digest = {.keys = 16, .hash = 99}};
    frame_put_digest_ask(out, &ask);
}

static void digest_ask_again(const struct frame *frame, struct buf *out)
{
    struct digest_ask ask = {0};
    assert_int_equal(frame_get_digest_ask(frame->body, &ask), OK);
    frame_put_digest_ask(out, &ask);
}

static void put_digest(struct buf *out)
{
    struct buf list;
    buf_init(&list, BYTES_MAX);
    digest_list_put(&list, bytes_str("a1"), 5);
    digest_list_put(&list, bytes_str("a2"), 6);
    struct digest_answer answer = {
        .run = 3, .verdict = DIGEST_DIFFERS, .through = bytes_str("b"), .count = 2, .list = buf_bytes(&list)};
    frame_put_digest(out, &answer);
    buf_done(&list);
}

static void digest_again(const struct frame *frame, struct buf *out)
{
    struct digest_answer answer = {0};
    assert_int_equal(frame_get_digest(frame->body, &answer), OK);
    frame_put_digest(out, &answer);
}

/* ---- rows and walks: out of a store and into another --------------------------------------- */

static const struct chunk_limits all = {.entries = 1000, .bytes = BYTES_MAX};
static const char large[] =
    "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"";

/* Replica 1: a put, one that was replaced, a delete, two versions, a type with an end. */
static struct store *full_store(void)
{
    struct store *s = kit_store(1);
    struct store_work *work = store_work_new(WORK_WRITE);
    assert_int_equal(kit_put(s, "plain", "1", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "plain", "2", NULL, NULL), OK);
    assert_int_equal(kit_put(s, "gone", "3", NULL, NULL), OK);
    assert_int_equal(kit_delete(s, "gone", NULL, NULL), OK);
    assert_int_equal(kit_add(s, "two", "4", NULL), OK);
    assert_int_equal(kit_add(s, "two", "5", NULL), OK);
    assert_int_equal(kit_put(s, "large", large, NULL, NULL), OK);
    work->write = (struct write_work){.key = bytes_str("typed"),
                                      .type = bytes_str("text/plain"),
                                      .value = bytes_str("six"),
                                      .expires_ms = 4102444800000};
    assert_int_equal(kit_do(s, work), OK);
    return s;
}

static struct snapshot *snapshot_of(struct store *s)
{
    struct snapshot *snapshot;
    assert_int_equal(snapshot_open(s, &snapshot), OK);
    return snapshot;
}

static void put_rows_of(struct store *s, uint64_t from, uint64_t through, struct buf *out)
{
    struct replica_id id = kit_id(1);
    struct snapshot *snapshot = snapshot_of(s);
    uint64_t to, bad;
    assert_int_equal(chunk_rows(snapshot, &id, from, through, &all, out, &to, &bad), OK);
    assert_int_equal(to, through);
    snapshot_close(snapshot);
}

static void put_rows(struct buf *out)
{
    struct store *s = full_store();
    put_rows_of(s, 0, 8, out);
    store_close(s);
}

/* Of one that has seen the second put of "plain", early, in a record that it was sent whole. */
static void put_ahead(struct buf *out)
{
    struct store *s = full_store(), *b = kit_store(2);
    struct snapshot *snapshot = snapshot_of(s);
    struct store_work *work = kit_rows_work(WORK_AHEAD);
    kit_add_row(work, snapshot,
                &(struct row){.dot = kit_dot(1, 2), .kind = ROW_PUT, .key = bytes_str("plain")});
    assert_int_equal(kit_do(b, work), OK);
    snapshot_close(snapshot);
    snapshot = snapshot_of(b);
    uint64_t digest;
    assert_int_equal(chunk_ahead(snapshot, &all, out, &digest), OK);
    snapshot_close(snapshot);
    store_close(s);
    store_close(b);
}

static void put_walk(struct walk_place at, struct buf *out)
{
    struct store *s = full_store();
    struct snapshot *snapshot = snapshot_of(s);
    struct dot bad_row;
    assert_int_equal(chunk_walk(snapshot, 1, &at, &all, out, &bad_row), OK);
    snapshot_close(snapshot);
    store_close(s);
}

static void put_walk_piece(struct buf *out)
{
    put_walk((struct walk_place){.phase = WALK_RECORDS}, out);
}

static void put_walk_rows(struct buf *out)
{
    put_walk((struct walk_place){.phase = WALK_ROWS}, out);
}

/* Packed by one version of zstd, which another may do otherwise: only read. */
static void put_rows_packed(struct buf *out)
{
    struct squeeze *squeeze = squeeze_new(SQUEEZE_AUTO);
    struct buf plain;
    buf_init(&plain, BYTES_MAX);
    put_rows(&plain);
    assert_true(squeeze_frame(squeeze, buf_bytes(&plain), out));
    buf_done(&plain);
    squeeze_free(squeeze);
}

static void assert_full(struct store *s)
{
    struct snapshot *snapshot = snapshot_of(s);
    struct record record = {0};
    assert_string_equal(kit_value(s, "plain"), "2");
    assert_string_equal(kit_value(s, "gone"), "");
    assert_string_equal(kit_value(s, "two"), "5");
    assert_string_equal(kit_value(s, "large"), large);
    assert_int_equal(kit_versions(s, "two"), 2);
    assert_int_equal(snapshot_record(snapshot, bytes_str("typed"), &record), OK);
    assert_int_equal(record.count, 1);
    assert_true(bytes_equal(record.versions[0].type, bytes_str("text/plain")));
    assert_true(bytes_equal(record.versions[0].value, bytes_str("six")));
    assert_int_equal(record.versions[0].expires_ms, 4102444800000);
    record_done(&record);
    snapshot_close(snapshot);
    assert_int_equal(kit_clock(s, 1), 8);
}

static struct store_work *work_of(const char *name, struct buf *bytes)
{
    struct frame frame;
    struct store_work *work;
    size_t size;
    buf_reset(bytes);
    read_file(name, bytes);
    assert_int_equal(frame_read(buf_bytes(bytes), FRAME_MAX, &frame, &size), OK);
    assert_int_equal(frame_get_rows(&frame, &work, NULL), OK);
    return work;
}

static void rows_are_applied(void **state)
{
    struct store *s = kit_store(2);
    struct buf bytes;
    buf_init(&bytes, BYTES_MAX);
    assert_int_equal(kit_do(s, work_of("ahead", &bytes)), OK);
    assert_string_equal(kit_value(s, "plain"), "2");
    assert_int_equal(kit_clock(s, 1), 0);
    assert_int_equal(kit_do(s, work_of("rows", &bytes)), OK);
    assert_full(s);
    store_close(s);
    buf_done(&bytes);
}

static void packed_rows_are_applied(void **state)
{
    struct squeeze *squeeze = squeeze_new(SQUEEZE_AUTO);
    struct store *s = kit_store(2);
    struct store_work *work;
    struct frame frame;
    struct buf bytes, body;
    size_t size;
    buf_init(&bytes, BYTES_MAX);
    buf_init(&body, BYTES_MAX);
    read_file("rows-packed", &bytes);
    assert_int_equal(frame_read(buf_bytes(&bytes), FRAME_MAX, &frame, &size), OK);
    assert_true(frame.packed);
    assert_int_equal(squeeze_unpack(squeeze, frame.body, &body), OK);
    frame.body = buf_bytes(&body);
    frame.packed = false;
    assert_int_equal(frame_get_rows(&frame, &work, NULL), OK);
    assert_int_equal(kit_do(s, work), OK);
    assert_full(s);
    store_close(s);
    squeeze_free(squeeze);
    buf_done(&bytes);
    buf_done(&body);
}

static void a_walk_is_applied(void **state)
{
    struct store *s = kit_store(2);
    struct store_work *start = store_work_new(WORK_WALK_START);
    struct buf bytes;
    buf_init(&bytes, BYTES_MAX);
    assert_int_equal(kit_run(s, start), OK);
    for (int i = 0; i < 2; i++) {
        struct store_work *work = work_of(i == 0 ? "walk-piece" : "walk-rows", &bytes);
        work->rows.serial = start->rows.serial;
        assert_int_equal(kit_do(s, work), OK);
    }
    assert_false(kit_walking(s));
    assert_full(s);
    store_work_free(start);
    store_close(s);
    buf_done(&bytes);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static const struct golden {
    const char *name;
    enum frame_type type;
    void (*put)(struct buf *out);
    void (*again)(const struct frame *frame,
                  struct buf *out); /* what was read, written; NULL: applied above */
} golden[] = {
    {"hello", FRAME_HELLO, put_hello, hello_again},
    {"refuse", FRAME_REFUSE, put_refuse, refuse_again},
    {"refuse-fork", FRAME_REFUSE, put_fork, refuse_again},
    {"clock", FRAME_CLOCK, put_clock, clock_again},
    {"heartbeat", FRAME_HEARTBEAT, put_heartbeat, empty_again},
    {"rows", FRAME_ROWS, put_rows, NULL},
    {"ahead", FRAME_AHEAD, put_ahead, NULL},
    {"want", FRAME_WANT, put_want, want_again},
    {"unwant", FRAME_UNWANT, put_unwant, unwant_again},
    {"walk-ask", FRAME_WALK_ASK, put_walk_ask, walk_ask_again},
    {"walk-piece", FRAME_WALK_PIECE, put_walk_piece, NULL},
    {"walk-rows", FRAME_WALK_ROWS, put_walk_rows, NULL},
    {"walk-refused", FRAME_WALK_REFUSED, put_walk_refused, walk_refused_again},
    {"left", FRAME_LEFT, put_left, empty_again},
    {"walk-more", FRAME_WALK_MORE, put_walk_more, walk_more_again},
    {"retired", FRAME_RETIRED, put_retired, retired_again},
    {"time", FRAME_TIME, put_time, time_again},
    {"forget", FRAME_FORGET, put_forget, forget_again},
    {"record-ask", FRAME_RECORD_ASK, put_record_ask, record_ask_again},
    {"record", FRAME_RECORD, put_record, record_again},
    {"digest-ask", FRAME_DIGEST_ASK, put_digest_ask, digest_ask_again},
    {"digest", FRAME_DIGEST, put_digest, digest_again},
    {"diverged", FRAME_DIVERGED, put_diverged, record_again},
    {"past", FRAME_PAST, put_past, past_again},
    {"past-departed", FRAME_PAST, put_past_departed, past_again},
};

static void assert_same(const char *name, const struct buf *a, const struct buf *b)
{
    if (!bytes_equal(buf_bytes(a), buf_bytes(b)))
        fail_msg("%s is written otherwise than tests/golden/protocol-%d has it", name, protocol_of(name));
}

static void frames_are_written_as_they_were(void **state)
{
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        struct buf now, then;
        buf_init(&now, BYTES_MAX);
        buf_init(&then, BYTES_MAX);
        golden[i].put(&now);
        assert_int_equal(now.err, OK);
        if (writes())
            write_file(golden[i].name, &now);
        read_file(golden[i].name, &then);
        assert_same(golden[i].name, &now, &then);
        buf_done(&now);
        buf_done(&then);
    }
    if (writes()) {
        struct buf packed;
        buf_init(&packed, BYTES_MAX);
        put_rows_packed(&packed);
        write_file("rows-packed", &packed);
        buf_done(&packed);
    }
}

static void frames_are_read_as_they_were(void **state)
{
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        struct frame frame;
        struct buf again, then;
        size_t size;
        buf_init(&again, BYTES_MAX);
        buf_init(&then, BYTES_MAX);
        read_file(golden[i].name, &then);
        assert_int_equal(frame_read(buf_bytes(&then), FRAME_MAX, &frame, &size), OK);
        assert_int_equal(size, then.len);
        assert_int_equal(frame.type, golden[i].type);
        if (golden[i].again) {
            golden[i].again(&frame, &again);
            assert_same(golden[i].name, &again, &then);
        }
        buf_done(&again);
        buf_done(&then);
    }
}

/* A kind of frame that is added has to be here too. */
static void every_kind_is_here(void **state)
{
    static const uint8_t free_types[] = {15, 19}; /* no frames */
    size_t kinds = 0, missing = 0;
    for (int type = 1; type < FRAME_TYPES; type++) {
        bool here = false;
        for (size_t i = 0; i < sizeof golden / sizeof *golden; i++)
            here |= golden[i].type == (enum frame_type)type;
        kinds += here;
        if (!here)
            assert_int_equal(type, free_types[missing++]);
    }
    assert_int_equal(kinds, FRAME_TYPES - 1 - sizeof free_types);
    assert_int_equal(SYNC_PROTOCOL, 4); /* a new protocol gets files of its own */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_written_as_they_were),
        cmocka_unit_test(frames_are_read_as_they_were),
        cmocka_unit_test(every_kind_is_here),
        cmocka_unit_test(rows_are_applied),
        cmocka_unit_test(packed_rows_are_applied),
        cmocka_unit_test(a_walk_is_applied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
