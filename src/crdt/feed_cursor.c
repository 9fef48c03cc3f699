#include "feed_cursor.h"

#include "base64.h"
#include "check.h"
#include "crc.h"
#include "ids.h"

enum { CURSOR_FORMAT = 1, CURSOR_BYTES_MAX = FEED_CURSOR_TEXT_MAX / 4 * 3, CHECKSUM_SIZE = 4 };

void feed_cursor_done(struct feed_cursor *c)
{
    if (!c)
        return;
    clock_done(&c->low);
    clock_done(&c->high);
    c->phase = FEED_CHANGES;
    c->after_len = c->prefix_len = 0;
}

void feed_cursor_copy(struct feed_cursor *to, const struct feed_cursor *from)
{
    to->phase = from->phase;
    clock_copy(&to->low, &from->low);
    clock_copy(&to->high, &from->high);
    memcpy(to->after, from->after, to->after_len = from->after_len);
    to->prefix_len = from->prefix_len;
}

bool feed_cursor_serves(const struct feed_cursor *c, struct bytes prefix)
{
    bool has_begun = c->phase == FEED_LIST && c->after_len;
    return !has_begun || bytes_equal(bytes_of(c->after, c->prefix_len), prefix);
}

static bool above_low(const struct feed_cursor *c, const struct dot *entry)
{
    return !clock_covers_dot(&c->low, entry);
}

static void encode_high(const struct feed_cursor *c, const struct ids *ids, struct buf *out)
{
    size_t count = 0;
    for (size_t i = 0; i < c->high.count; i++)
        count += above_low(c, &c->high.entries[i]);
    buf_put_varint(out, count);
    for (size_t i = 0; i < c->high.count; i++)
        if (above_low(c, &c->high.entries[i]))
            ids_encode_dot(ids, &c->high.entries[i], out);
}

void feed_cursor_encode(const struct feed_cursor *c, struct buf *out)
{
    struct ids ids = {0};
    for (size_t i = 0; i < c->low.count; i++)
        ids_add(&ids, &c->low.entries[i].replica);
    for (size_t i = 0; i < c->high.count; i++)
        if (above_low(c, &c->high.entries[i]))
            ids_add(&ids, &c->high.entries[i].replica);

    size_t start = out->len;
    buf_put_u8(out, CURSOR_FORMAT);
    buf_put_u8(out, (uint8_t)c->phase);
    ids_encode(&ids, out);
    buf_put_varint(out, c->low.count);
    for (size_t i = 0; i < c->low.count; i++)
        ids_encode_dot(&ids, &c->low.entries[i], out);
    encode_high(c, &ids, out);
    if (c->phase == FEED_LIST) {
        buf_put_blob(out, bytes_of(c->after, c->after_len));
        buf_put_varint(out, c->prefix_len);
    }
    ids_done(&ids);
    if (out->err != OK)
        return;
    CHECK(out->len - start <= CURSOR_BYTES_MAX - CHECKSUM_SIZE);
    buf_put_u32(out, crc32c(0, bytes_of(out->data + start, out->len - start)));
    buf_base64url_from(out, start);
}

/* A vector's entries, ascending. Those of high must lie above low, which is there by then. */
static void decode_entries(struct cursor *in, struct ids_read *ids, const struct clock *above,
                           struct clock *ret)
{
    struct dot last = {0};
    size_t count = (size_t)cursor_varint_max(in, ids->count);
    for (size_t i = 0; i < count && in->err == OK; i++) {
        struct dot dot = ids_decode_dot(in, ids);
        if ((i && replica_id_compare(&last.replica, &dot.replica) >= 0) ||
            (above && clock_covers_dot(above, &dot)))
            cursor_fail(in, ERR_MALFORMED);
        if (in->err == OK)
            clock_set(ret, &dot.replica, dot.counter);
        last = dot;
    }
}

static void decode_after(struct cursor *in, struct feed_cursor *c)
{
    struct bytes after = cursor_blob(in);
    if (after.len > sizeof c->after)
        cursor_fail(in, ERR_MALFORMED);
    if (in->err == OK && after.len)
        memcpy(c->after, after.data, c->after_len = after.len);
    c->prefix_len = (size_t)cursor_varint_max(in, c->after_len);
}

static enum err decode(struct bytes bytes, struct feed_cursor *ret)
{
    if (bytes.len < CHECKSUM_SIZE)
        return ERR_MALFORMED;
    struct bytes body = bytes_of(bytes.data, bytes.len - CHECKSUM_SIZE);
    struct cursor tail = cursor_of(bytes_of(bytes.data + body.len, CHECKSUM_SIZE));
    struct cursor in = cursor_of(body);
    if (crc32c(0, body) != cursor_u32(&tail) || cursor_u8(&in) != CURSOR_FORMAT)
        return ERR_MALFORMED;

    struct feed_cursor c = {.phase = cursor_u8(&in)};
    struct ids_read ids;
    ids_decode(&in, &ids);
    decode_entries(&in, &ids, NULL, &c.low);
    clock_copy(&c.high, &c.low);
    decode_entries(&in, &ids, &c.low, &c.high);
    if (c.phase == FEED_LIST)
        decode_after(&in, &c);
    if (cursor_finish(&in) != OK || !ids_all_used(&ids) || c.phase > FEED_LIST ||
        (c.phase == FEED_LIST_BEGIN && c.low.count)) {
        feed_cursor_done(&c);
        return ERR_MALFORMED;
    }
    feed_cursor_done(ret);
    *ret = c;
    return OK;
}

enum err feed_cursor_decode(struct bytes text, struct feed_cursor *ret)
{
    if (text.len > FEED_CURSOR_TEXT_MAX)
        return ERR_MALFORMED;
    struct buf bytes;
    buf_init(&bytes, CURSOR_BYTES_MAX);
    enum err err = base64url_decode(text, &bytes);
    if (err == OK)
        err = decode(buf_bytes(&bytes), ret);
    buf_done(&bytes);
    return err == OK || err == ERR_NOMEM ? err : ERR_MALFORMED;
}
