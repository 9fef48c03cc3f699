/* Rows as bytes. */
#include "keys.h"

#include "check.h"

struct bytes row_key(const struct dot *dot, uint8_t out[ROW_KEY_SIZE])
{
    memcpy(out, dot->replica.b, REPLICA_ID_SIZE);
    for (size_t i = 0; i < 8; i++)
        out[REPLICA_ID_SIZE + i] = (uint8_t)(dot->counter >> (56 - 8 * i));
    return bytes_of(out, ROW_KEY_SIZE);
}

struct bytes row_value(enum row_kind kind, struct bytes key, uint8_t out[ROW_VALUE_MAX])
{
    CHECK(key_valid(key) && row_kind_valid(kind));
    out[0] = (uint8_t)kind;
    memcpy(out + 1, key.data, key.len);
    return bytes_of(out, 1 + key.len);
}

enum err row_key_decode(struct bytes key, struct dot *ret)
{
    struct cursor in = cursor_of(key);
    struct dot dot = {.replica = replica_id_decode(&in)};
    dot.counter = cursor_u64(&in);
    if (cursor_finish(&in) != OK || dot.counter == 0)
        return ERR_DAMAGED;
    *ret = dot;
    return OK;
}

enum err row_decode(struct bytes key, struct bytes value, struct row *ret)
{
    struct row row = {0};
    enum err err = row_key_decode(key, &row.dot);
    if (err != OK)
        return err;
    struct cursor in = cursor_of(value);
    row.kind = (enum row_kind)cursor_u8(&in);
    row.key = cursor_bytes(&in, cursor_left(&in));
    if (in.err != OK || !row_kind_valid(row.kind) || !key_valid(row.key))
        return ERR_DAMAGED;
    *ret = row;
    return OK;
}

bool dot_after(struct dot *dot)
{
    if (dot->counter < UINT64_MAX) {
        dot->counter++;
        return true;
    }
    dot->counter = 0;
    for (size_t i = REPLICA_ID_SIZE; i-- > 0;)
        if (++dot->replica.b[i])
            return true;
    return false;
}

bool key_valid(struct bytes key)
{
    return key.len >= 1 && key.len <= KEY_MAX;
}

bool row_kind_valid(enum row_kind kind)
{
    return kind == ROW_PUT || kind == ROW_DELETE;
}
