/* Tokens: made from a record or a dot, written and read as base64url. Making
 * and writing one is on the path of every read. */
#include "token.h"

#include "base64.h"
#include "check.h"
#include "crc.h"
#include "ids.h"
#include "mem.h"

#include <stdlib.h>

enum { TOKEN_FORMAT = 1, TOKEN_BYTES_MAX = TOKEN_TEXT_MAX / 4 * 3, DOT_SIZE_MIN = 2, CHECKSUM_SIZE = 4 };

void token_done(struct token *t)
{
    if (!t)
        return;
    free(t->seen);
    clock_done(&t->after);
    *t = (struct token){0};
}

uint64_t token_key_hash(struct bytes key)
{
    return (uint64_t)crc32c(0, key) << 32 | crc32_ieee(0, key);
}

static void reserve_seen(struct token *t, size_t count)
{
    if (count <= t->seen_room)
        return;
    t->seen = mem_grow(t->seen, count * sizeof *t->seen);
    t->seen_room = count;
}

void token_of_read(struct token *t, struct bytes key, const struct record *record, const struct clock *floor)
{
    t->key_hash = token_key_hash(key);
    reserve_seen(t, record->count);
    t->seen_count = record->count;
    for (size_t i = 0; i < record->count; i++)
        t->seen[i] = record->versions[i].dot;
    clock_copy(&t->after, floor);
    record_reflects(record, &t->after);
}

void token_of_look(struct token *t, struct bytes key, const struct record *record, const struct clock *floor)
{
    token_of_read(t, key, record, floor);
    t->seen_count = 0;
}

void token_of_write(struct token *t, struct bytes key, const struct dot *dot)
{
    t->key_hash = token_key_hash(key);
    t->seen_count = 0;
    clock_clear(&t->after);
    if (!dot->counter)
        return;
    reserve_seen(t, 1);
    t->seen[0] = *dot;
    t->seen_count = 1;
    clock_raise(&t->after, dot);
}

void token_encode(const struct token *t, struct buf *out)
{
    struct ids ids = {0};
    for (size_t i = 0; i < t->after.count; i++)
        ids_add(&ids, &t->after.entries[i].replica);
    for (size_t i = 0; i < t->seen_count; i++)
        ids_add(&ids, &t->seen[i].replica);

    size_t start = out->len;
    buf_put_u8(out, TOKEN_FORMAT);
    buf_put_u64(out, t->key_hash);
    ids_encode(&ids, out);
    buf_put_varint(out, t->seen_count);
    for (size_t i = 0; i < t->seen_count; i++)
        ids_encode_dot(&ids, &t->seen[i], out);
    buf_put_varint(out, t->after.count);
    for (size_t i = 0; i < t->after.count; i++)
        ids_encode_dot(&ids, &t->after.entries[i], out);
    ids_done(&ids);
    if (out->err == OK &&
        (out->len - start > TOKEN_BYTES_MAX - CHECKSUM_SIZE || t->seen_count > TOKEN_SEEN_MAX))
        out->err = ERR_TOO_LARGE; /* what no reader would take is not written */
    if (out->err != OK)
        return;
    buf_put_u32(out, crc32c(0, bytes_of(out->data + start, out->len - start)));
    buf_base64url_from(out, start);
}

static void decode_seen(struct cursor *in, struct ids_read *ids, struct token *t)
{
    size_t count = (size_t)cursor_varint_max(in, TOKEN_SEEN_MAX);
    if (count > cursor_left(in) / DOT_SIZE_MIN)
        cursor_fail(in, ERR_MALFORMED);
    if (in->err != OK || !count)
        return;
    reserve_seen(t, count);
    for (size_t i = 0; i < count && in->err == OK; i++) {
        t->seen[i] = ids_decode_dot(in, ids);
        t->seen_count = i + 1;
        if (i && dot_compare(&t->seen[i - 1], &t->seen[i]) >= 0)
            cursor_fail(in, ERR_MALFORMED);
    }
}

static void decode_after(struct cursor *in, struct ids_read *ids, struct token *t)
{
    size_t count = (size_t)cursor_varint_max(in, ids->count);
    for (size_t i = 0; i < count && in->err == OK; i++) {
        struct dot dot = ids_decode_dot(in, ids);
        if (i && in->err == OK && replica_id_compare(&t->after.entries[i - 1].replica, &dot.replica) >= 0)
            cursor_fail(in, ERR_MALFORMED);
        if (in->err == OK)
            clock_set(&t->after, &dot.replica, dot.counter);
    }
    for (size_t i = 0; i < t->seen_count && in->err == OK; i++)
        if (!clock_covers_dot(&t->after, &t->seen[i]))
            cursor_fail(in, ERR_MALFORMED);
}

static enum err decode(struct bytes bytes, struct token *ret)
{
    if (bytes.len < CHECKSUM_SIZE)
        return ERR_MALFORMED;
    struct bytes body = bytes_of(bytes.data, bytes.len - CHECKSUM_SIZE);
    struct cursor tail = cursor_of(bytes_of(bytes.data + body.len, CHECKSUM_SIZE));
    struct cursor in = cursor_of(body);
    if (crc32c(0, body) != cursor_u32(&tail) || cursor_u8(&in) != TOKEN_FORMAT)
        return ERR_MALFORMED;

    struct token t = {.key_hash = cursor_u64(&in)};
    struct ids_read ids;
    ids_decode(&in, &ids);
    decode_seen(&in, &ids, &t);
    decode_after(&in, &ids, &t);
    if (cursor_finish(&in) != OK || !ids_all_used(&ids)) {
        token_done(&t);
        return ERR_MALFORMED;
    }
    token_done(ret);
    *ret = t;
    return OK;
}

enum err token_decode(struct bytes text, struct token *ret)
{
    if (text.len > TOKEN_TEXT_MAX)
        return ERR_MALFORMED;
    struct buf bytes;
    buf_init(&bytes, TOKEN_BYTES_MAX);
    enum err err = base64url_decode(text, &bytes);
    if (err == OK)
        err = decode(buf_bytes(&bytes), ret);
    buf_done(&bytes);
    return err == OK || err == ERR_NOMEM ? err : ERR_MALFORMED;
}

bool token_saw(const struct token *t, const struct dot *dot)
{
    size_t low = 0, high = t->seen_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = dot_compare(&t->seen[middle], dot);
        if (c == 0)
            return true;
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}
