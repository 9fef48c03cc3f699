/* Records in memory and as bytes. Decoding is on the path of every read: it
 * copies no value and allocates two small arrays, none in a record used before. */
#include "record.h"

#include "check.h"
#include "crc.h"
#include "ids.h"
#include "mem.h"

#include <stdlib.h>

#ifndef YZMA_RECORD_FORMAT
#define YZMA_RECORD_FORMAT 1 /* another one: tests/programs */
#endif

enum {
    RECORD_FORMAT_MIN = 1,              /* read */
    RECORD_FORMAT = YZMA_RECORD_FORMAT, /* read and written */
    CHECKSUM_AT = 1,
    CHECKED_FROM = 5,      /* the checksum covers all from here on */
    ENTRY_SIZE_MIN = 2,    /* encoded bytes of a context entry, at least */
    VERSION_SIZE_MIN = 13, /* and of a version */
    VERSIONS_FIRST = 1     /* most records hold one version */
};

void record_done(struct record *r)
{
    if (!r)
        return;
    free(r->versions);
    clock_done(&r->context);
    *r = (struct record){0};
}

void record_clear(struct record *r)
{
    r->count = 0;
    clock_clear(&r->context);
}

static void reserve(struct record *r, size_t count)
{
    if (count <= r->room)
        return;
    size_t room = r->room ? r->room : VERSIONS_FIRST;
    while (room < count)
        room *= 2;
    r->versions = mem_grow(r->versions, room * sizeof *r->versions);
    r->room = room;
}

/* The first version whose dot is not below `dot`. */
static size_t position(const struct record *r, const struct dot *dot)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (dot_compare(&r->versions[middle].dot, dot) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void record_add(struct record *r, const struct version *version)
{
    size_t at = position(r, &version->dot);
    CHECK(at == r->count || dot_compare(&r->versions[at].dot, &version->dot) != 0);
    reserve(r, r->count + 1);
    memmove(&r->versions[at + 1], &r->versions[at], (r->count - at) * sizeof *r->versions);
    r->versions[at] = *version;
    r->count++;
}

void record_remove_at(struct record *r, size_t index)
{
    CHECK(index < r->count);
    memmove(&r->versions[index], &r->versions[index + 1], (r->count - index - 1) * sizeof *r->versions);
    r->count--;
}

ptrdiff_t record_find(const struct record *r, const struct dot *dot)
{
    size_t at = position(r, dot);
    return at < r->count && dot_compare(&r->versions[at].dot, dot) == 0 ? (ptrdiff_t)at : -1;
}

uint64_t record_last_stamp(const struct record *r)
{
    uint64_t last = 0;
    for (size_t i = 0; i < r->count; i++)
        if (r->versions[i].stamp > last)
            last = r->versions[i].stamp;
    return last;
}

const struct version *record_surfaced(const struct record *r, uint64_t now_ms)
{
    const struct version *best = NULL;
    for (size_t i = 0; i < r->count; i++) {
        const struct version *v = &r->versions[i];
        if (version_expired(v, now_ms))
            continue;
        if (!best || v->stamp >= best->stamp) /* at equal stamps the later one has the larger dot */
            best = v;
    }
    return best;
}

static uint32_t checksum(struct bytes key, struct bytes rest)
{
    return crc32c(crc32c(0, key), rest);
}

void record_encode(struct bytes key, const struct record *r, struct buf *out)
{
    if (r->count > RECORD_VERSIONS_MAX) { /* what no reader would take is not written */
        if (out->err == OK)
            out->err = ERR_TOO_LARGE;
        return;
    }
    struct ids ids = {0};
    for (size_t i = 0; i < r->context.count; i++)
        ids_add(&ids, &r->context.entries[i].replica);
    for (size_t i = 0; i < r->count; i++)
        ids_add(&ids, &r->versions[i].dot.replica);

    size_t start = out->len;
    buf_put_u8(out, RECORD_FORMAT);
    buf_put_u32(out, 0);
    ids_encode(&ids, out);
    buf_put_varint(out, r->context.count);
    for (size_t i = 0; i < r->context.count; i++)
        ids_encode_dot(&ids, &r->context.entries[i], out);
    buf_put_varint(out, r->count);
    for (size_t i = 0; i < r->count; i++) {
        const struct version *v = &r->versions[i];
        ids_encode_dot(&ids, &v->dot, out);
        buf_put_u64(out, v->stamp);
        buf_put_varint(out, v->expires_ms);
        buf_put_blob(out, v->type);
        buf_put_blob(out, v->value);
    }
    ids_done(&ids);
    if (out->err == OK)
        buf_patch_u32(
            out, start + CHECKSUM_AT,
            checksum(key, bytes_of(out->data + start + CHECKED_FROM, out->len - start - CHECKED_FROM)));
}

static void decode_context(struct cursor *in, struct ids_read *ids, struct clock *context)
{
    size_t count = (size_t)cursor_varint_max(in, ids->count);
    if (count > cursor_left(in) / ENTRY_SIZE_MIN)
        cursor_fail(in, ERR_TRUNCATED);
    for (size_t i = 0; i < count && in->err == OK; i++) {
        struct dot dot = ids_decode_dot(in, ids);
        if (in->err != OK)
            return;
        if (i && replica_id_compare(&context->entries[i - 1].replica, &dot.replica) >= 0)
            cursor_fail(in, ERR_MALFORMED);
        else
            clock_set(context, &dot.replica, dot.counter);
    }
}

static struct bytes decode_blob_max(struct cursor *in, size_t max)
{
    struct bytes blob = cursor_blob(in);
    if (blob.len > max)
        cursor_fail(in, ERR_MALFORMED);
    return blob;
}

static void decode_versions(struct cursor *in, struct ids_read *ids, struct record *r)
{
    size_t count = (size_t)cursor_varint_max(in, RECORD_VERSIONS_MAX);
    if (count > cursor_left(in) / VERSION_SIZE_MIN)
        cursor_fail(in, ERR_TRUNCATED);
    if (in->err != OK)
        return;
    reserve(r, count);
    for (size_t i = 0; i < count && in->err == OK; i++) {
        struct version v = {.dot = ids_decode_dot(in, ids)};
        v.stamp = cursor_u64(in);
        v.expires_ms = cursor_varint(in);
        v.type = decode_blob_max(in, CONTENT_TYPE_MAX);
        v.value = decode_blob_max(in, VALUE_MAX);
        if (i && dot_compare(&r->versions[i - 1].dot, &v.dot) >= 0)
            cursor_fail(in, ERR_MALFORMED);
        r->versions[i] = v;
        r->count = i + 1;
    }
}

enum err record_decode(struct bytes key, struct bytes bytes, struct record *ret)
{
    record_clear(ret);
    struct cursor in = cursor_of(bytes);
    uint8_t format = cursor_u8(&in);
    if (in.err == OK && (format < RECORD_FORMAT_MIN || format > RECORD_FORMAT))
        return ERR_VERSION;
    uint32_t expected = cursor_u32(&in);
    if (in.err != OK)
        return in.err;
    if (checksum(key, bytes_of(in.at, cursor_left(&in))) != expected)
        return ERR_CHECKSUM;

    struct ids_read ids;
    ids_decode(&in, &ids);
    decode_context(&in, &ids, &ret->context);
    decode_versions(&in, &ids, ret);
    if (in.err == OK && (!ids_all_used(&ids) || record_is_empty(ret)))
        cursor_fail(&in, ERR_MALFORMED);
    enum err err = cursor_finish(&in);
    if (err != OK)
        record_clear(ret);
    return err;
}

void record_reflects(const struct record *r, struct clock *join_into)
{
    clock_join(join_into, &r->context);
    for (size_t i = 0; i < r->count; i++)
        clock_raise(join_into, &r->versions[i].dot);
}
