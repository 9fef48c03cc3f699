/* Segments of the log, as they lie on disk: the input as a header and frames; as the body
 * of a frame with right checksums; and the frames of a segment whose header is right. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "cursor.h"
#include "mem.h"
#include "segment.h"

static void read_entries(const struct log_frame *frame)
{
    struct cursor body = cursor_of(frame->body);
    struct log_entry entry;
    for (uint32_t i = 0; i < frame->entries && body.err == OK; i++)
        log_entry_read(&body, &entry);
}

static size_t read_frames(struct bytes bytes, const struct segment_header *segment)
{
    struct log_frame frame;
    size_t count = 0;
    while (log_frame_read(bytes, segment, &frame) == OK) {
        CHECK(frame.size >= LOG_FRAME_HEADER && frame.size < bytes.len + LOG_FRAME_ALIGN);
        read_entries(&frame);
        count++;
        if (frame.size > bytes.len)
            break; /* the filling is not all there */
        bytes = bytes_of(bytes.data + frame.size, bytes.len - frame.size);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct segment_header known = {.log_id = {1}, .number = 1, .salt = 1};
    struct segment_header header;
    struct buf frame;
    uint8_t *exact = mem_copy(data, size);
    if (segment_header_decode(bytes_of(exact, size), &header) == OK)
        read_frames(bytes_of(exact + SEGMENT_HEADER, size - SEGMENT_HEADER), &header);
    read_frames(bytes_of(exact, size), &known);

    buf_init(&frame, size + LOG_FRAME_HEADER + LOG_FRAME_ALIGN);
    log_frame_begin(&frame);
    buf_put(&frame, exact, size);
    size_t body = log_frame_fill(&frame);
    log_frame_seal(&frame, &known, 1, body, (uint32_t)size + 1);
    uint8_t *whole = mem_copy(frame.data, frame.len);
    CHECK(read_frames(bytes_of(whole, frame.len), &known) == 1);
    free(whole);
    buf_done(&frame);
    free(exact);
    return 0;
}
