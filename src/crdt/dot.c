/* Replica ids as bytes and as text, and the order of dots. */
#include "dot.h"

bool replica_id_is_zero(const struct replica_id *id)
{
    static const struct replica_id zero;
    return replica_id_equal(id, &zero);
}

int dot_compare(const struct dot *a, const struct dot *b)
{
    int c = replica_id_compare(&a->replica, &b->replica);
    return c ? c : (a->counter > b->counter) - (a->counter < b->counter);
}

/* A dash stands before these bytes. */
static bool dash_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

char *replica_id_text(const struct replica_id *id, char out[REPLICA_ID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *at = out;
    for (size_t i = 0; i < REPLICA_ID_SIZE; i++) {
        if (dash_before(i))
            *at++ = '-';
        *at++ = digits[id->b[i] >> 4];
        *at++ = digits[id->b[i] & 15];
    }
    *at = 0;
    return out;
}

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

enum err replica_id_parse(struct bytes text, struct replica_id *ret)
{
    if (text.len != REPLICA_ID_TEXT - 1)
        return ERR_MALFORMED;
    struct replica_id id;
    const uint8_t *at = text.data;
    for (size_t i = 0; i < REPLICA_ID_SIZE; i++) {
        if (dash_before(i) && *at++ != '-')
            return ERR_MALFORMED;
        int high = digit(at[0]), low = digit(at[1]);
        if (high < 0 || low < 0)
            return ERR_MALFORMED;
        id.b[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    *ret = id;
    return OK;
}

struct replica_id replica_id_of_random(const uint8_t random[REPLICA_ID_SIZE])
{
    struct replica_id id;
    memcpy(id.b, random, REPLICA_ID_SIZE);
    id.b[6] = (uint8_t)((id.b[6] & 0x0f) | 0x40);
    id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80);
    return id;
}

void replica_id_encode(const struct replica_id *id, struct buf *out)
{
    buf_put(out, id->b, REPLICA_ID_SIZE);
}

struct replica_id replica_id_decode(struct cursor *in)
{
    struct replica_id id = {0};
    struct bytes bytes = cursor_bytes(in, REPLICA_ID_SIZE);
    if (bytes.len == REPLICA_ID_SIZE)
        memcpy(id.b, bytes.data, REPLICA_ID_SIZE);
    return id;
}

void dot_encode(const struct dot *dot, struct buf *out)
{
    replica_id_encode(&dot->replica, out);
    buf_put_varint(out, dot->counter);
}

struct dot dot_decode(struct cursor *in)
{
    struct dot dot = {.replica = replica_id_decode(in)};
    dot.counter = cursor_varint(in);
    return dot;
}
