/* Frames of replication: the input as a stream of frames, and as the body of a frame of
 * the type that its first byte says (whose checksum no fuzzer would find). */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "repair_frames.h"
#include "mem.h"
#include "squeeze.h"

static void read_body(const struct frame *frame)
{
    struct hello hello = {0};
    struct refusal refusal = {0};
    struct clock clock = {0}, floor = {0};
    struct walk_ask ask = {0};
    struct store_work *work = NULL;
    struct replica_id origin;
    struct bytes text;
    struct record_frame record = {0};
    struct digest_ask digest_ask;
    struct digest_answer digest;
    uint8_t flags;
    uint64_t number;
    switch (frame->type) {
    case FRAME_HELLO:
        (void)!frame_get_hello(frame->body, &hello);
        hello_done(&hello);
        break;
    case FRAME_REFUSE:
        (void)!frame_get_refuse(frame->body, &refusal);
        break;
    case FRAME_CLOCK:
        (void)!frame_get_clock(frame->body, &clock, &floor, &flags);
        break;
    case FRAME_ROWS:
    case FRAME_AHEAD:
    case FRAME_WALK_PIECE:
    case FRAME_WALK_ROWS:
        if (frame_get_rows(frame, &work, &number) == OK)
            store_work_free(work);
        break;
    case FRAME_WANT:
        (void)!frame_get_want(frame->body, &origin, &number);
        break;
    case FRAME_UNWANT:
        (void)!frame_get_unwant(frame->body, &origin);
        break;
    case FRAME_PAST: {
        struct past *list;
        size_t count;
        if (frame_get_past(frame->body, &list, &count) == OK)
            free(list);
        break;
    }
    case FRAME_RETIRED: {
        struct retired *list;
        size_t count;
        if (frame_get_retired(frame->body, &list, &count) == OK)
            free(list);
        break;
    }
    case FRAME_TIME:
        (void)!frame_get_time(frame->body, &number);
        break;
    case FRAME_FORGET:
        (void)!frame_get_forget(frame->body, &origin);
        break;
    case FRAME_WALK_ASK:
        (void)!frame_get_walk_ask(frame->body, &ask);
        clock_done(&ask.last);
        break;
    case FRAME_WALK_MORE:
        (void)!frame_get_walk_more(frame->body, &number, &number);
        break;
    case FRAME_RECORD:
    case FRAME_DIVERGED:
        (void)!frame_get_record(frame, &record);
        record_frame_done(&record);
        break;
    case FRAME_RECORD_ASK:
        (void)!frame_get_record_ask(frame->body, &text);
        break;
    case FRAME_DIGEST_ASK:
        (void)!frame_get_digest_ask(frame->body, &digest_ask);
        break;
    case FRAME_DIGEST:
        if (frame_get_digest(frame->body, &digest) == OK)
            for (uint64_t count = digest.count; digest_list_next(&digest.list, &text, &number); count--)
                CHECK(count > 0);
        break;
    case FRAME_WALK_REFUSED:
        (void)!frame_get_walk_refused(frame->body, &number, &text);
        break;
    default:
        break;
    }
    clock_done(&clock);
    clock_done(&floor);
}

static void read_frame(struct frame *frame)
{
    struct buf body;
    struct squeeze *squeeze = squeeze_new(SQUEEZE_AUTO);
    buf_init(&body, SQUEEZE_MAX);
    if (frame->packed && squeeze_unpack(squeeze, frame->body, &body) == OK) {
        frame->body = buf_bytes(&body);
        frame->packed = false;
    }
    if (!frame->packed)
        read_body(frame);
    buf_done(&body);
    squeeze_free(squeeze);
}

static void read_stream(struct bytes input)
{
    struct frame frame;
    size_t used;
    while (input.len > 0 && frame_read(input, FRAME_FIRST_MAX, &frame, &used) == OK) {
        CHECK(used >= FRAME_HEADER && used <= input.len);
        read_frame(&frame);
        input = bytes_of(input.data + used, input.len - used);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = mem_copy(data, size);
    struct buf stream;
    read_stream(bytes_of(exact, size));
    if (size > 0) {
        buf_init(&stream, size + FRAME_HEADER);
        size_t begun = frame_begin(&stream, (enum frame_type)(1 + data[0] % (FRAME_TYPES - 1)));
        buf_put(&stream, data + 1, size - 1);
        if (data[0] >= 128) /* a packed body, or what is to pass for one */
            stream.data[begun + FRAME_FLAGS_AT] = FRAME_PACKED;
        frame_end(&stream, begun);
        uint8_t *whole = mem_copy(stream.data, stream.len);
        read_stream(bytes_of(whole, stream.len));
        free(whole);
        buf_done(&stream);
    }
    free(exact);
    return 0;
}
