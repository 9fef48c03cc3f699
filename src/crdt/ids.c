/* The id table of records and tokens. */
#include "ids.h"

#include "check.h"
#include "mem.h"

#include <stdlib.h>

void ids_done(struct ids *ids)
{
    free(ids->many);
    *ids = (struct ids){0};
}

static const struct replica_id *array(const struct ids *ids)
{
    return ids->many ? ids->many : ids->few;
}

/* The first place whose id is not below `id`. */
static size_t position(const struct ids *ids, const struct replica_id *id)
{
    const struct replica_id *all = array(ids);
    size_t low = 0, high = ids->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (replica_id_compare(&all[middle], id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void ids_add(struct ids *ids, const struct replica_id *id)
{
    size_t at = position(ids, id);
    if (at < ids->count && replica_id_equal(&array(ids)[at], id))
        return;
    if (!ids->many && ids->count == IDS_INLINE) {
        ids->room = 4 * IDS_INLINE;
        ids->many = mem_new(ids->room * sizeof *ids->many);
        memcpy(ids->many, ids->few, sizeof ids->few);
    } else if (ids->many && ids->count == ids->room) {
        ids->room *= 2;
        ids->many = mem_grow(ids->many, ids->room * sizeof *ids->many);
    }
    struct replica_id *all = ids->many ? ids->many : ids->few;
    memmove(&all[at + 1], &all[at], (ids->count - at) * sizeof *all);
    all[at] = *id;
    ids->count++;
}

void ids_encode(const struct ids *ids, struct buf *out)
{
    if (ids->count > CLOCK_REPLICAS_MAX) {
        if (out->err == OK)
            out->err = ERR_TOO_LARGE;
        return;
    }
    buf_put_varint(out, ids->count);
    buf_put(out, array(ids), ids->count * sizeof(struct replica_id));
}

void ids_encode_dot(const struct ids *ids, const struct dot *dot, struct buf *out)
{
    size_t at = position(ids, &dot->replica);
    CHECK(at < ids->count && replica_id_equal(&array(ids)[at], &dot->replica));
    buf_put_varint(out, at);
    buf_put_varint(out, dot->counter);
}

void ids_decode(struct cursor *in, struct ids_read *ret)
{
    *ret = (struct ids_read){.count = (size_t)cursor_varint_max(in, CLOCK_REPLICAS_MAX)};
    ret->bytes = cursor_bytes(in, ret->count * REPLICA_ID_SIZE).data;
    if (in->err != OK) {
        ret->count = 0;
        return;
    }
    for (size_t i = 1; i < ret->count; i++) {
        const uint8_t *id = ret->bytes + i * REPLICA_ID_SIZE;
        if (memcmp(id - REPLICA_ID_SIZE, id, REPLICA_ID_SIZE) >= 0)
            cursor_fail(in, ERR_MALFORMED);
    }
}

struct dot ids_decode_dot(struct cursor *in, struct ids_read *ids)
{
    struct dot dot = {0};
    uint64_t index = cursor_varint(in);
    uint64_t counter = cursor_varint(in);
    if (in->err == OK && (index >= ids->count || counter == 0))
        cursor_fail(in, ERR_MALFORMED);
    if (in->err != OK)
        return dot;
    uint64_t bit = (uint64_t)1 << (index % 64);
    ids->used_count += !(ids->used[index / 64] & bit);
    ids->used[index / 64] |= bit;
    memcpy(dot.replica.b, ids->bytes + index * REPLICA_ID_SIZE, REPLICA_ID_SIZE);
    dot.counter = counter;
    return dot;
}
