#include "frames.h"

#include "check.h"
#include "crc.h"
#include "mem.h"

#include <stdlib.h>

static const uint8_t magic[4] = {'Y', 'Z', 'M', 'A'};

/* ---- framing --------------------------------------------------------------- */

static uint32_t frame_checksum(struct bytes after_length)
{
    /* bytes 4..7, then the body: the checksum itself lies between them */
    uint32_t crc = crc32c(0, bytes_of(after_length.data, 4));
    return crc32c(crc, bytes_of(after_length.data + 8, after_length.len - 8));
}

enum err frame_read(struct bytes input, size_t body_max, struct frame *ret, size_t *ret_size)
{
    struct cursor in = cursor_of(input);
    uint32_t length = cursor_u32(&in);
    uint8_t type = cursor_u8(&in), flags = cursor_u8(&in);
    uint16_t zero = cursor_u16(&in);
    uint32_t crc = cursor_u32(&in);
    if (in.err != OK)
        return in.err;
    if (type == 0 || type >= FRAME_TYPES || (flags & ~FRAME_PACKED) != 0 || zero != 0)
        return ERR_MALFORMED;
    if (length > body_max)
        return ERR_TOO_LARGE;
    struct bytes body = cursor_bytes(&in, length);
    if (in.err != OK)
        return in.err;
    if (frame_checksum(bytes_of(input.data + 4, 8 + length)) != crc)
        return ERR_CHECKSUM;
    *ret = (struct frame){.type = type, .packed = flags & FRAME_PACKED, .body = body};
    *ret_size = FRAME_HEADER + length;
    return OK;
}

size_t frame_begin(struct buf *out, enum frame_type type)
{
    size_t begun = out->len;
    buf_put_u32(out, 0);
    buf_put_u8(out, (uint8_t)type);
    buf_put_u8(out, 0);
    buf_put_u16(out, 0);
    buf_put_u32(out, 0);
    return begun;
}

void frame_end(struct buf *out, size_t begun)
{
    if (out->err != OK)
        return;
    size_t length = out->len - begun - FRAME_HEADER;
    CHECK(length <= FRAME_MAX);
    buf_patch_u32(out, begun, (uint32_t)length);
    buf_patch_u32(out, begun + 8, frame_checksum(bytes_of(out->data + begun + 4, 8 + length)));
}

/* ---- small things that several frames hold ---------------------------------- */

static void put_id(struct buf *out, const struct replica_id *id)
{
    replica_id_encode(id, out);
}

static struct bytes get_key(struct cursor *in)
{
    struct bytes key = cursor_blob(in);
    if (in->err == OK && (key.len == 0 || key.len > KEY_MAX || memchr(key.data, 0, key.len)))
        cursor_fail(in, ERR_MALFORMED);
    return key;
}

static void get_bounded_key(struct cursor *in, uint8_t key[KEY_MAX], size_t *len)
{
    struct bytes blob = cursor_blob(in);
    if (blob.len > KEY_MAX) {
        cursor_fail(in, ERR_MALFORMED);
        return;
    }
    if (blob.len)
        memcpy(key, blob.data, blob.len);
    *len = blob.len;
}

static void get_clock(struct cursor *in, struct clock *ret)
{
    if (in->err == OK && clock_decode(in, ret) != OK)
        cursor_fail(in, ERR_MALFORMED);
}

/* ---- hello, refuse, clock ---------------------------------------------------- */

void hello_done(struct hello *hello)
{
    clock_done(&hello->clock);
    clock_done(&hello->floor);
}

void frame_put_hello(struct buf *out, const struct hello *hello)
{
    size_t begun = frame_begin(out, FRAME_HELLO);
    buf_put(out, magic, sizeof magic);
    buf_put_u16(out, hello->protocol_min);
    buf_put_u16(out, hello->protocol_max);
    buf_put_blob(out, bytes_str(hello->label));
    put_id(out, &hello->id);
    buf_put_blob(out, bytes_str(hello->name));
    buf_put_blob(out, bytes_str(hello->ingress));
    buf_put_u8(out, hello->gossip.len);
    buf_put(out, hello->gossip.ip, hello->gossip.len);
    buf_put_u16(out, hello->gossip.port);
    starts_encode(&hello->starts, out);
    clock_encode(&hello->clock, out);
    clock_encode(&hello->floor, out);
    buf_put_u8(out, hello->flags);
    buf_put_varint(out, hello->predecessor_count);
    for (size_t i = 0; i < hello->predecessor_count; i++)
        put_id(out, &hello->predecessors[i]);
    frame_end(out, begun);
}

enum err frame_get_hello(struct bytes body, struct hello *ret)
{
    struct hello hello = {0};
    struct cursor in = cursor_of(body);
    if (!bytes_equal(cursor_bytes(&in, sizeof magic), bytes_of(magic, sizeof magic)))
        cursor_fail(&in, ERR_MALFORMED);
    hello.protocol_min = cursor_u16(&in);
    hello.protocol_max = cursor_u16(&in);
    cursor_text(&in, hello.label, sizeof hello.label);
    hello.id = replica_id_decode(&in);
    cursor_text(&in, hello.name, sizeof hello.name);
    cursor_text(&in, hello.ingress, sizeof hello.ingress);
    hello.gossip.len = cursor_u8(&in);
    if (hello.gossip.len != 0 && hello.gossip.len != 4 && hello.gossip.len != 16)
        cursor_fail(&in, ERR_MALFORMED);
    struct bytes ip = cursor_bytes(&in, hello.gossip.len);
    if (ip.len)
        memcpy(hello.gossip.ip, ip.data, ip.len);
    hello.gossip.port = cursor_u16(&in);
    if (in.err == OK && starts_decode(&in, &hello.starts) != OK)
        cursor_fail(&in, ERR_MALFORMED);
    get_clock(&in, &hello.clock);
    get_clock(&in, &hello.floor);
    hello.flags = cursor_u8(&in);
    hello.predecessor_count = cursor_varint_max(&in, PREDECESSORS_MAX);
    for (size_t i = 0; i < hello.predecessor_count; i++)
        hello.predecessors[i] = replica_id_decode(&in);
    if (in.err == OK && replica_id_is_zero(&hello.id))
        cursor_fail(&in, ERR_MALFORMED);
    enum err err = cursor_finish(&in);
    if (err != OK) {
        hello_done(&hello);
        return err;
    }
    hello_done(ret);
    *ret = hello;
    return OK;
}

void frame_put_refuse(struct buf *out, const struct refusal *refusal)
{
    size_t begun = frame_begin(out, FRAME_REFUSE);
    buf_put_u8(out, (uint8_t)refusal->reason);
    buf_put_blob(out, bytes_str(refusal->text));
    if (refusal->reason == REFUSE_FORK) {
        starts_encode(&refusal->starts, out);
        buf_put_varint(out, refusal->counter);
    } else if (refusal->reason == REFUSE_RETIRED) {
        buf_put_varint(out, refusal->counter);
        counters_encode(refusal->known, refusal->known_count, out);
    }
    frame_end(out, begun);
}

enum err frame_get_refuse(struct bytes body, struct refusal *ret)
{
    struct refusal refusal = {0};
    struct cursor in = cursor_of(body);
    refusal.reason = cursor_u8(&in);
    cursor_text(&in, refusal.text, sizeof refusal.text);
    if (refusal.reason == REFUSE_FORK) {
        if (in.err == OK && starts_decode(&in, &refusal.starts) != OK)
            cursor_fail(&in, ERR_MALFORMED);
        refusal.counter = cursor_varint(&in);
    } else if (refusal.reason == REFUSE_RETIRED) {
        refusal.counter = cursor_varint(&in);
        refusal.known_count = counters_decode(&in, refusal.known);
    }
    enum err err = cursor_finish(&in);
    if (err == OK)
        *ret = refusal;
    return err;
}

void frame_put_clock(struct buf *out, const struct clock *clock, const struct clock *floor, uint8_t flags)
{
    size_t begun = frame_begin(out, FRAME_CLOCK);
    clock_encode(clock, out);
    clock_encode(floor, out);
    buf_put_u8(out, flags);
    frame_end(out, begun);
}

enum err frame_get_clock(struct bytes body, struct clock *ret_clock, struct clock *ret_floor,
                         uint8_t *ret_flags)
{
    struct clock clock = {0}, floor = {0};
    struct cursor in = cursor_of(body);
    get_clock(&in, &clock);
    get_clock(&in, &floor);
    uint8_t flags = cursor_u8(&in);
    enum err err = cursor_finish(&in);
    if (err != OK) {
        clock_done(&clock);
        clock_done(&floor);
        return err;
    }
    clock_done(ret_clock);
    clock_done(ret_floor);
    *ret_clock = clock;
    *ret_floor = floor;
    *ret_flags = flags;
    return OK;
}

void frame_put_empty(struct buf *out, enum frame_type type)
{
    frame_end(out, frame_begin(out, type));
}

/* ---- want --------------------------------------------------------------------- */

void frame_put_want(struct buf *out, const struct replica_id *origin, uint64_t from)
{
    size_t begun = frame_begin(out, FRAME_WANT);
    put_id(out, origin);
    buf_put_varint(out, from);
    frame_end(out, begun);
}

enum err frame_get_want(struct bytes body, struct replica_id *ret_origin, uint64_t *ret_from)
{
    struct cursor in = cursor_of(body);
    struct dot want = dot_decode(&in);
    enum err err = cursor_finish(&in);
    if (err == OK) {
        *ret_origin = want.replica;
        *ret_from = want.counter;
    }
    return err;
}

void frame_put_unwant(struct buf *out, const struct replica_id *origin)
{
    size_t begun = frame_begin(out, FRAME_UNWANT);
    put_id(out, origin);
    frame_end(out, begun);
}

enum err frame_get_unwant(struct bytes body, struct replica_id *ret_origin)
{
    struct cursor in = cursor_of(body);
    struct replica_id origin = replica_id_decode(&in);
    enum err err = cursor_finish(&in);
    if (err == OK)
        *ret_origin = origin;
    return err;
}

/* ---- by hand, and clocks --------------------------------------------------------- */

enum { RETIRED_RAISED = 1, RETIRED_VIEWED = 2, RETIRED_WAITS = 4 };
enum { RETIRED_SIZE_MIN = REPLICA_ID_SIZE + 1 + 2 + 8 };

void retired_encode(const struct retired *retired, struct buf *out)
{
    replica_id_encode(&retired->id, out);
    buf_put_u8(out, (uint8_t)((retired->raised ? RETIRED_RAISED : 0) |
                              (retired->viewed ? RETIRED_VIEWED : 0) | (retired->waits ? RETIRED_WAITS : 0)));
    buf_put_varint(out, retired->view.base);
    buf_put_varint(out, retired->view.top);
    buf_put_u64(out, retired->view.digest);
}

struct retired retired_decode(struct cursor *in)
{
    struct retired retired = {.id = replica_id_decode(in)};
    unsigned flags = cursor_u8(in);
    retired.raised = flags & RETIRED_RAISED;
    retired.viewed = flags & RETIRED_VIEWED;
    retired.waits = flags & RETIRED_WAITS;
    retired.view.base = cursor_varint(in);
    retired.view.top = cursor_varint(in);
    retired.view.digest = cursor_u64(in);
    if (in->err == OK && (replica_id_is_zero(&retired.id) || retired.view.top < retired.view.base))
        cursor_fail(in, ERR_MALFORMED);
    return retired;
}

void counters_encode(const uint64_t *counters, size_t count, struct buf *out)
{
    uint64_t last = 0;
    buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++) {
        buf_put_varint(out, counters[i] - last);
        last = counters[i];
    }
}

size_t counters_decode(struct cursor *in, uint64_t counters[RETIRED_KNOWN_MAX])
{
    size_t count = (size_t)cursor_varint_max(in, RETIRED_KNOWN_MAX);
    uint64_t last = 0;
    for (size_t i = 0; i < count && in->err == OK; i++) {
        uint64_t step = cursor_varint(in);
        if (step == 0 || step > UINT64_MAX - last)
            cursor_fail(in, ERR_MALFORMED);
        counters[i] = last += step;
    }
    return in->err == OK ? count : 0;
}

void frame_put_retired(struct buf *out, const struct retired *list, size_t count)
{
    size_t begun = frame_begin(out, FRAME_RETIRED);
    buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++)
        retired_encode(&list[i], out);
    frame_end(out, begun);
}

enum err frame_get_retired(struct bytes body, struct retired **ret_list, size_t *ret_count)
{
    struct cursor in = cursor_of(body);
    size_t count = (size_t)cursor_varint_max(&in, RETIRED_MAX);
    if (in.err == OK && count > cursor_left(&in) / RETIRED_SIZE_MIN)
        cursor_fail(&in, ERR_MALFORMED);
    struct retired *list = in.err == OK && count ? mem_new(count * sizeof *list) : NULL;
    for (size_t i = 0; i < count && in.err == OK; i++)
        list[i] = retired_decode(&in);
    enum err err = cursor_finish(&in);
    if (err != OK) {
        free(list);
        return err;
    }
    *ret_list = list;
    *ret_count = count;
    return OK;
}

enum { PAST_AWAITED = 1, PAST_DEPARTED = 2 };

void past_encode(const struct past *past, struct buf *out)
{
    put_id(out, &past->id);
    starts_encode(&past->starts, out);
    buf_put_varint(out, past->told);
    buf_put_u8(out, (uint8_t)((past->awaited ? PAST_AWAITED : 0) | (past->departed ? PAST_DEPARTED : 0)));
}

enum err frame_get_past(struct bytes body, struct past **ret_list, size_t *ret_count)
{
    enum { PAST_SIZE_MIN = REPLICA_ID_SIZE + 4 };
    struct cursor in = cursor_of(body);
    size_t count = (size_t)cursor_varint_max(&in, PASTS_MAX);
    if (in.err == OK && count > cursor_left(&in) / PAST_SIZE_MIN)
        cursor_fail(&in, ERR_MALFORMED);
    struct past *list = in.err == OK && count ? mem_new(count * sizeof *list) : NULL;
    for (size_t i = 0; i < count && in.err == OK; i++) {
        list[i].id = replica_id_decode(&in);
        if (in.err == OK && (replica_id_is_zero(&list[i].id) || starts_decode(&in, &list[i].starts) != OK))
            cursor_fail(&in, ERR_MALFORMED);
        list[i].told = cursor_varint(&in);
        unsigned flags = cursor_u8(&in); /* further ones: later protocols */
        list[i].awaited = flags & PAST_AWAITED;
        list[i].departed = flags & PAST_DEPARTED;
    }
    enum err err = cursor_finish(&in);
    if (err != OK) {
        free(list);
        return err;
    }
    *ret_list = list;
    *ret_count = count;
    return OK;
}

void frame_put_time(struct buf *out, uint64_t wall_ms)
{
    size_t begun = frame_begin(out, FRAME_TIME);
    buf_put_u64(out, wall_ms);
    frame_end(out, begun);
}

enum err frame_get_time(struct bytes body, uint64_t *ret_wall_ms)
{
    struct cursor in = cursor_of(body);
    uint64_t wall_ms = cursor_u64(&in);
    if (in.err == OK && wall_ms > INT64_MAX)
        cursor_fail(&in, ERR_MALFORMED);
    enum err err = cursor_finish(&in);
    if (err == OK)
        *ret_wall_ms = wall_ms;
    return err;
}

void frame_put_forget(struct buf *out, const struct replica_id *id)
{
    size_t begun = frame_begin(out, FRAME_FORGET);
    put_id(out, id);
    frame_end(out, begun);
}

enum err frame_get_forget(struct bytes body, struct replica_id *ret_id)
{
    struct cursor in = cursor_of(body);
    struct replica_id id = replica_id_decode(&in);
    enum err err = cursor_finish(&in);
    if (err == OK)
        *ret_id = id;
    return err;
}

/* ---- walk: the questions --------------------------------------------------------- */

void frame_put_walk_ask(struct buf *out, const struct walk_ask *ask)
{
    size_t begun = frame_begin(out, FRAME_WALK_ASK);
    buf_put_varint(out, ask->run);
    buf_put_u8(out, (uint8_t)ask->place.phase);
    buf_put_blob(out, bytes_of(ask->place.after, ask->place.after_len));
    dot_encode(&ask->place.row_after, out);
    clock_encode(&ask->last, out);
    if (ask->ahead > 1)
        buf_put_varint(out, ask->ahead);
    frame_end(out, begun);
}

enum err frame_get_walk_ask(struct bytes body, struct walk_ask *ret)
{
    struct walk_ask ask = {.ahead = 1};
    struct cursor in = cursor_of(body);
    ask.run = cursor_varint(&in);
    ask.place.phase = cursor_u8(&in);
    get_bounded_key(&in, ask.place.after, &ask.place.after_len);
    ask.place.row_after = dot_decode(&in);
    get_clock(&in, &ask.last);
    if (cursor_left(&in))
        ask.ahead = cursor_varint_max(&in, WALK_AHEAD_MAX);
    if (in.err == OK && ((ask.place.phase != WALK_RECORDS && ask.place.phase != WALK_ROWS) || !ask.ahead))
        cursor_fail(&in, ERR_MALFORMED);
    enum err err = cursor_finish(&in);
    if (err != OK) {
        clock_done(&ask.last);
        return err;
    }
    clock_done(&ret->last);
    *ret = ask;
    return OK;
}

void frame_put_walk_more(struct buf *out, uint64_t run, uint64_t pieces)
{
    size_t begun = frame_begin(out, FRAME_WALK_MORE);
    buf_put_varint(out, run);
    buf_put_varint(out, pieces);
    frame_end(out, begun);
}

enum err frame_get_walk_more(struct bytes body, uint64_t *ret_run, uint64_t *ret_pieces)
{
    struct cursor in = cursor_of(body);
    uint64_t run = cursor_varint(&in), pieces = cursor_varint_max(&in, WALK_AHEAD_MAX);
    enum err err = cursor_finish(&in);
    if (err == OK) {
        *ret_run = run;
        *ret_pieces = pieces;
    }
    return err;
}

void frame_put_walk_refused(struct buf *out, uint64_t run, const char *text)
{
    size_t begun = frame_begin(out, FRAME_WALK_REFUSED);
    buf_put_varint(out, run);
    buf_put_blob(out, bytes_str(text));
    frame_end(out, begun);
}

enum err frame_get_walk_refused(struct bytes body, uint64_t *ret_run, struct bytes *ret_text)
{
    struct cursor in = cursor_of(body);
    uint64_t run = cursor_varint(&in);
    struct bytes text = cursor_blob(&in);
    enum err err = cursor_finish(&in);
    if (err == OK) {
        *ret_run = run;
        *ret_text = text;
    }
    return err;
}

/* ---- rows and pieces: into work ---------------------------------------------------- */

static uint8_t get_kind(struct cursor *in)
{
    uint8_t kind = cursor_u8(in);
    if (in->err == OK && kind != ROW_PUT && kind != ROW_DELETE)
        cursor_fail(in, ERR_MALFORMED);
    return kind;
}

/* A record that does not decode is refused here, before anything is stored. */
static struct bytes get_record(struct cursor *in, struct bytes key, struct record *scratch)
{
    struct bytes bytes = cursor_blob(in);
    if (in->err == OK && bytes.len) {
        enum err err = record_decode(key, bytes, scratch);
        if (err != OK)
            cursor_fail(in, err == ERR_TRUNCATED ? ERR_MALFORMED : err);
    }
    return bytes;
}

/* What stands before the entries, by type. */
static void get_rows_head(struct cursor *in, enum frame_type type, struct rows_work *rows,
                          uint64_t *keys_total)
{
    switch (type) {
    case FRAME_ROWS:
        rows->origin = replica_id_decode(in);
        rows->from = cursor_varint(in);
        break;
    case FRAME_WALK_PIECE:
        rows->serial = cursor_varint(in);
        get_bounded_key(in, rows->after, &rows->after_len);
        *keys_total = cursor_varint(in);
        get_clock(in, &rows->source_clock);
        get_clock(in, &rows->source_floor);
        break;
    case FRAME_WALK_ROWS:
        rows->serial = cursor_varint(in);
        rows->row_after = dot_decode(in);
        get_clock(in, &rows->source_clock);
        get_clock(in, &rows->source_floor);
        break;
    default:
        break;
    }
}

/* What stands behind them. */
static void get_rows_tail(struct cursor *in, enum frame_type type, struct rows_work *rows)
{
    if (type == FRAME_ROWS)
        rows->to = cursor_varint(in);
    if (type == FRAME_WALK_PIECE)
        get_bounded_key(in, rows->through, &rows->through_len);
    if (type == FRAME_WALK_PIECE || type == FRAME_WALK_ROWS)
        rows->last = cursor_u8(in) != 0;
}

static struct work_entry get_entry(struct cursor *in, enum frame_type type, const struct rows_work *rows,
                                   uint64_t *counter, struct record *scratch)
{
    struct work_entry entry = {0};
    if (type == FRAME_ROWS) {
        uint64_t step = cursor_varint(in);
        if (step == 0 || step > UINT64_MAX - *counter)
            cursor_fail(in, ERR_MALFORMED);
        entry.dot = (struct dot){.replica = rows->origin, .counter = *counter += step};
    } else if (type != FRAME_WALK_PIECE) {
        entry.dot = dot_decode(in);
    }
    if (type != FRAME_WALK_PIECE)
        entry.kind = get_kind(in);
    entry.key = get_key(in);
    if (type != FRAME_WALK_ROWS)
        entry.record = type == FRAME_WALK_PIECE ? get_record(in, entry.key, scratch) : cursor_blob(in);
    return entry;
}

static enum work_kind work_kind_of(enum frame_type type)
{
    switch (type) {
    case FRAME_ROWS:
        return WORK_ROWS;
    case FRAME_AHEAD:
        return WORK_AHEAD;
    case FRAME_WALK_PIECE:
        return WORK_WALK_PIECE;
    default:
        CHECK(type == FRAME_WALK_ROWS);
        return WORK_WALK_ROWS;
    }
}

enum err frame_get_rows(const struct frame *frame, struct store_work **ret, uint64_t *ret_keys_total)
{
    struct store_work *work = store_work_new(work_kind_of(frame->type));
    struct rows_work *rows = &work->rows;
    struct record scratch = {0};
    uint64_t keys_total = 0;

    if (frame->owned) {
        rows->payload = *frame->owned;
        *frame->owned = (struct buf){0};
    } else {
        buf_init(&rows->payload, frame->body.len);
        buf_reserve(&rows->payload, frame->body.len);
        buf_put_bytes(&rows->payload, frame->body);
    }
    enum err err = rows->payload.err;
    if (err != OK)
        goto out;
    struct cursor in = cursor_of(buf_bytes(&rows->payload));
    get_rows_head(&in, frame->type, rows, &keys_total);
    uint32_t count = cursor_u32(&in);
    /* every entry takes at least a byte of key length and one of key */
    if (in.err == OK && (count > FRAME_ENTRIES_MAX || count > cursor_left(&in) / 2))
        cursor_fail(&in, ERR_MALFORMED);
    if (in.err == OK) {
        uint64_t counter = rows->from;
        rows->entries = mem_new((size_t)count * sizeof *rows->entries);
        for (rows->count = 0; rows->count < count && in.err == OK; rows->count++)
            rows->entries[rows->count] = get_entry(&in, frame->type, rows, &counter, &scratch);
        get_rows_tail(&in, frame->type, rows);
    }
    err = cursor_finish(&in);
    if (err == ERR_TRUNCATED)
        err = ERR_MALFORMED; /* the frame was whole: it is its inside that is cut */
out:
    record_done(&scratch);
    if (err != OK) {
        store_work_free(work);
        return err;
    }
    *ret = work;
    if (ret_keys_total)
        *ret_keys_total = keys_total;
    return OK;
}
