#include "segment.h"

#include "check.h"
#include "crc.h"
#include "cursor.h"

static const uint8_t segment_magic[8] = "YZMALOG\n";

enum { ENTRY_KEY_MAX = 511, SEGMENT_CRC_AT = 60, FRAME_CRC_AT = 4, FRAME_CRC_FROM = 8 };

static void put_u64(uint8_t *out, uint64_t v)
{
    for (size_t i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (56 - 8 * i));
}

static void put_u32(uint8_t *out, uint32_t v)
{
    for (size_t i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* ---- segments --------------------------------------------------------------- */

void segment_header_encode(const struct segment_header *header, uint8_t out[SEGMENT_HEADER])
{
    memset(out, 0, SEGMENT_HEADER);
    memcpy(out, segment_magic, sizeof segment_magic);
    put_u32(out + 8, LOG_FORMAT);
    memcpy(out + 12, header->log_id, LOG_ID_SIZE);
    put_u64(out + 28, header->number);
    put_u64(out + 36, header->salt);
    put_u32(out + SEGMENT_CRC_AT, crc32c(0, bytes_of(out, SEGMENT_CRC_AT)));
}

enum err segment_header_decode(struct bytes bytes, struct segment_header *ret)
{
    struct segment_header header;
    if (bytes.len < SEGMENT_HEADER || memcmp(bytes.data, segment_magic, sizeof segment_magic) != 0)
        return ERR_DAMAGED;
    struct cursor in = cursor_of(bytes_of(bytes.data + sizeof segment_magic, SEGMENT_HEADER - 8));
    uint32_t format = cursor_u32(&in);
    struct bytes id = cursor_bytes(&in, LOG_ID_SIZE);
    header.number = cursor_u64(&in);
    header.salt = cursor_u64(&in);
    cursor_bytes(&in, 16);
    uint32_t crc = cursor_u32(&in);
    CHECK(cursor_finish(&in) == OK);
    if (crc != crc32c(0, bytes_of(bytes.data, SEGMENT_CRC_AT)))
        return ERR_DAMAGED;
    if (format != LOG_FORMAT)
        return ERR_VERSION;
    memcpy(header.log_id, id.data, LOG_ID_SIZE);
    *ret = header;
    return OK;
}

/* ---- writing ---------------------------------------------------------------- */

void log_frame_begin(struct buf *frame)
{
    CHECK(frame->len == 0);
    uint8_t *room = buf_extend(frame, LOG_FRAME_HEADER);
    if (room)
        memset(room, 0, LOG_FRAME_HEADER);
}

static void put_entry(struct buf *frame, enum log_entry_kind kind, enum table table, struct bytes key)
{
    CHECK(key.len >= 1 && key.len <= ENTRY_KEY_MAX);
    buf_put_u8(frame, (uint8_t)(kind << 4 | table));
    buf_put_blob(frame, key);
}

void log_frame_put(struct buf *frame, enum table table, struct bytes key, struct bytes value)
{
    put_entry(frame, LOG_PUT, table, key);
    buf_put_blob(frame, value);
}

void log_frame_del(struct buf *frame, enum table table, struct bytes key)
{
    put_entry(frame, LOG_DEL, table, key);
}

void log_frame_del_below(struct buf *frame, enum table table, struct bytes prefix, struct bytes below)
{
    put_entry(frame, LOG_DEL_BELOW, table, prefix);
    buf_put_blob(frame, below);
}

static size_t filling(size_t len)
{
    return (LOG_FRAME_ALIGN - len % LOG_FRAME_ALIGN) % LOG_FRAME_ALIGN;
}

size_t log_frame_fill(struct buf *frame)
{
    CHECK(frame->len >= LOG_FRAME_HEADER);
    size_t body_len = frame->len - LOG_FRAME_HEADER;
    static const uint8_t zeros[LOG_FRAME_ALIGN];
    buf_put(frame, zeros, filling(frame->len));
    return body_len;
}

static uint32_t header_crc(const uint8_t *frame, uint64_t salt)
{
    uint8_t salt_bytes[8];
    put_u64(salt_bytes, salt);
    uint32_t crc = crc32c(0, bytes_of(salt_bytes, sizeof salt_bytes));
    return crc32c(crc, bytes_of(frame + FRAME_CRC_FROM, LOG_FRAME_HEADER - FRAME_CRC_FROM));
}

static uint32_t frame_crc(const uint8_t *frame, uint32_t of_header, size_t body_len)
{
    return crc32c(of_header, bytes_of(frame + LOG_FRAME_HEADER, body_len));
}

void log_frame_seal(struct buf *frame, const struct segment_header *segment, uint64_t sequence,
                    size_t body_len, uint32_t entries)
{
    CHECK(frame->err == OK && frame->len >= LOG_FRAME_HEADER + body_len && body_len <= LOG_BODY_MAX);
    uint8_t *at = frame->data;
    put_u64(at + 8, segment->number);
    put_u64(at + 16, sequence);
    put_u32(at + 24, (uint32_t)body_len);
    put_u32(at + 28, entries);
    uint32_t crc = header_crc(at, segment->salt);
    put_u32(at, crc);
    put_u32(at + FRAME_CRC_AT, frame_crc(at, crc, body_len));
}

/* ---- reading ---------------------------------------------------------------- */

enum err log_frame_read(struct bytes bytes, const struct segment_header *segment, struct log_frame *ret)
{
    if (bytes.len < LOG_FRAME_HEADER)
        return ERR_DAMAGED;
    struct cursor in = cursor_of(bytes_of(bytes.data, LOG_FRAME_HEADER));
    uint32_t of_header = cursor_u32(&in), crc = cursor_u32(&in);
    uint64_t number = cursor_u64(&in);
    struct log_frame frame = {.sequence = cursor_u64(&in)};
    size_t body_len = cursor_u32(&in);
    frame.entries = cursor_u32(&in);
    if (number != segment->number || body_len > bytes.len - LOG_FRAME_HEADER ||
        of_header != header_crc(bytes.data, segment->salt) ||
        crc != frame_crc(bytes.data, of_header, body_len))
        return ERR_DAMAGED;
    frame.body = bytes_of(bytes.data + LOG_FRAME_HEADER, body_len);
    frame.size = LOG_FRAME_HEADER + body_len + filling(body_len);
    *ret = frame;
    return OK;
}

void log_entry_read(struct cursor *body, struct log_entry *ret)
{
    unsigned first = cursor_u8(body);
    *ret = (struct log_entry){.kind = (enum log_entry_kind)(first >> 4), .table = (enum table)(first & 15)};
    ret->key = cursor_blob(body);
    if (ret->kind != LOG_DEL)
        ret->value = cursor_blob(body);
    bool range = ret->kind == LOG_DEL_BELOW;
    if (ret->kind > LOG_DEL_BELOW || ret->table >= TABLES || ret->key.len < 1 ||
        ret->key.len > ENTRY_KEY_MAX ||
        (range && (ret->key.len != RANGE_PREFIX || !bytes_starts_with(ret->value, ret->key))))
        cursor_fail(body, ERR_MALFORMED);
}
