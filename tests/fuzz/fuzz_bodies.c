/* What clients send as JSON of a form: the first byte says whether the rest is the body of
 * a batch or of a change of a set, or a line to import. What is refused says why; what is read
 * lies within its limits, and a line that is read is written as one that reads the same. */
#include "fuzz.h"

#include <stdlib.h>

#include "batch_read.h"
#include "check.h"
#include "element.h"
#include "import_line.h"
#include "json_valid.h"
#include "mem.h"

enum { VALUE_FEW = 1000, WALL_MS = 1000000 };

static bool adds_as_told(void *ctx, unsigned mode, const struct condition *condition)
{
    return mode != 0;
}

static void check_verdict(enum err err, const struct buf *why)
{
    CHECK(err == OK || err == ERR_MALFORMED || err == ERR_TOO_LARGE);
    CHECK((err == OK) == (why->len == 0));
}

static void read_work(struct bytes text, bool batch, struct buf *why)
{
    struct batch_limits limits = {.wall_ms = WALL_MS, .value_max = VALUE_FEW, .adds = adds_as_told};
    struct json_error error;
    if (json_valid(text, &error) != OK)
        return;
    struct store_work *work = store_work_new(WORK_BATCH);
    enum err err = batch ? batch_read(text, &limits, work, why)
                         : element_read_change(text, bytes_str("set"), work, why);
    check_verdict(err, why);
    for (size_t i = 0; i < work->batch.count && err == OK; i++) {
        const struct write_work *write = &work->batch.writes[i];
        CHECK(write->key.len >= 1 && write->key.len <= KEY_MAX &&
              !memchr(write->key.data, 0, write->key.len));
        CHECK(write->value.len <= (batch ? VALUE_FEW : ELEMENT_MAX));
    }
    store_work_free(work);
}

static void read_line(struct bytes text, struct buf *why)
{
    struct import_line line, again;
    struct buf room, out, room_again;
    buf_init(&room, SIZE_MAX);
    buf_init(&room_again, SIZE_MAX);
    buf_init(&out, SIZE_MAX);
    enum err err = import_line_read(text, VALUE_FEW, &room, &line, why);
    check_verdict(err, why);
    if (err == OK) {
        import_line_put(&out, &line);
        CHECK(out.err == OK && out.data[out.len - 1] == '\n');
        CHECK(import_line_read(bytes_of(out.data, out.len - 1), VALUE_FEW, &room_again, &again, why) == OK);
        CHECK(bytes_equal(line.key, again.key) && bytes_equal(line.value, again.value));
        CHECK(bytes_equal(line.type, again.type) && line.expires_ms == again.expires_ms &&
              line.sibling == again.sibling);
        CHECK(line.does == again.does && line.event == again.event && line.space == again.space);
        CHECK(bytes_equal(line.hash, again.hash) && bytes_equal(line.context, again.context));
    }
    buf_done(&room);
    buf_done(&room_again);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf why;
    if (size == 0)
        return 0;
    uint8_t *exact = mem_copy(data + 1, size - 1);
    struct bytes text = bytes_of(exact, size - 1);
    buf_init(&why, 4096);
    if (data[0] % 3 == 2)
        read_line(text, &why);
    else
        read_work(text, data[0] % 3 == 0, &why);
    buf_done(&why);
    free(exact);
    return 0;
}
