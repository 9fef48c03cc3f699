/* Exports of other stores: the first byte says of which, and where the rest is cut in two.
 * However it is cut, the same comes out; and what comes out is a line that can be read. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "json_scan.h"
#include "mem.h"
#include "port.h"

struct seen {
    struct buf lines, room, why;
};

/* An element may be told in another form. */
static bool same_value(enum space space, struct bytes a, struct bytes b)
{
    struct buf forms[2];
    if (space != SPACE_SETS)
        return bytes_equal(a, b);
    for (size_t i = 0; i < 2; i++) {
        buf_init(&forms[i], SIZE_MAX);
        json_put_canonical(i ? b : a, &forms[i]);
    }
    bool same = bytes_equal(buf_bytes(&forms[0]), buf_bytes(&forms[1]));
    buf_done(&forms[0]);
    buf_done(&forms[1]);
    return same;
}

static enum err take(void *ctx, const struct import_line *record)
{
    struct seen *seen = ctx;
    struct import_line again;
    size_t at = seen->lines.len;
    import_line_put(&seen->lines, record);
    CHECK(seen->lines.err == OK);
    struct bytes line = bytes_of(seen->lines.data + at, seen->lines.len - at - 1);
    CHECK(!memchr(line.data, '\n', line.len));
    CHECK(import_line_read(line, UINT64_MAX, &seen->room, &again, &seen->why) == OK);
    CHECK(bytes_equal(again.key, record->key) && same_value(record->space, again.value, record->value));
    CHECK(again.space == record->space && again.number == record->number);
    CHECK(bytes_equal(again.type, record->type) && again.expires_ms == record->expires_ms);
    CHECK(seen->why.len == 0);
    return OK;
}

static void left_out(void *ctx, struct bytes key, const char *why)
{
    struct seen *seen = ctx;
    buf_put_bytes(&seen->lines, key);
    buf_put_text(&seen->lines, why);
}

static enum err read_in(enum port_from from, struct bytes first, struct bytes second, struct seen *seen)
{
    struct buf why;
    buf_init(&seen->lines, SIZE_MAX);
    buf_init(&seen->room, SIZE_MAX);
    buf_init(&seen->why, SIZE_MAX);
    buf_init(&why, SIZE_MAX);
    struct port *port = port_new(from, &(struct port_options){0}, &(struct port_sink){take, left_out, seen});
    enum err err = port_feed(port, first, &why);
    if (err == OK)
        err = port_feed(port, second, &why);
    if (err == OK)
        err = port_end(port, &why);
    CHECK(err == OK || err == ERR_NOMEM || why.len > 0);
    port_free(port);
    buf_done(&why);
    buf_done(&seen->room);
    buf_done(&seen->why);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum port_from from = (enum port_from)(data[0] % PORTS);
    struct bytes text = bytes_of(data + 1, size - 1);
    size_t cut = data[0] / PORTS % (text.len + 1);
    uint8_t *whole = mem_copy(text.data, text.len);
    uint8_t *first = mem_copy(text.data, cut), *second = mem_copy(text.data + cut, text.len - cut);
    struct seen at_once, in_two;
    enum err err = read_in(from, bytes_of(whole, text.len), bytes_of(NULL, 0), &at_once);
    enum err err_in_two = read_in(from, bytes_of(first, cut), bytes_of(second, text.len - cut), &in_two);
    CHECK(err == err_in_two);
    CHECK(err != OK || bytes_equal(buf_bytes(&at_once.lines), buf_bytes(&in_two.lines)));
    buf_done(&at_once.lines);
    buf_done(&in_two.lines);
    free(whole);
    free(first);
    free(second);
    return 0;
}
