/* Cursors of watches: the input as the text of one, and once more as the bytes of one, with
 * a right checksum behind them, which no fuzzer would find. What decodes is what encoding
 * writes, low is within high, and a copy is the same. */
#include "fuzz.h"

#include <stdlib.h>

#include "base64.h"
#include "check.h"
#include "crc.h"
#include "feed_cursor.h"
#include "mem.h"

static void check_text(const struct feed_cursor *cursor, struct bytes text)
{
    struct buf again;
    buf_init(&again, FEED_CURSOR_TEXT_MAX);
    feed_cursor_encode(cursor, &again);
    CHECK(again.err == OK && bytes_equal(buf_bytes(&again), text));
    buf_done(&again);
}

static void read_text(struct bytes text)
{
    struct feed_cursor cursor = {0}, copy = {0};
    if (feed_cursor_decode(text, &cursor) == OK) {
        CHECK(cursor.phase <= FEED_LIST && cursor.after_len <= KEY_MAX);
        CHECK(clock_covers(&cursor.high, &cursor.low));
        feed_cursor_copy(&copy, &cursor);
        check_text(&cursor, text);
        check_text(&copy, text);
    }
    feed_cursor_done(&cursor);
    feed_cursor_done(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = mem_copy(data, size);
    struct buf text;
    read_text(bytes_of(exact, size));
    if (size <= FEED_CURSOR_TEXT_MAX / 4 * 3 - 4) {
        buf_init(&text, FEED_CURSOR_TEXT_MAX);
        buf_put_bytes(&text, bytes_of(exact, size));
        buf_put_u32(&text, crc32c(0, bytes_of(exact, size)));
        buf_base64url_from(&text, 0);
        CHECK(text.err == OK);
        read_text(buf_bytes(&text));
        buf_done(&text);
    }
    free(exact);
    return 0;
}
