#include "repair_frames.h"

enum { FLAG_END = 1, FLAG_LIST = 2 };

static struct bytes get_key(struct cursor *in)
{
    struct bytes key = cursor_blob(in);
    if (in->err == OK && (key.len == 0 || key.len > KEY_MAX || memchr(key.data, 0, key.len)))
        cursor_fail(in, ERR_MALFORMED);
    return key;
}

/* A key, or nothing. */
static struct bytes get_bound(struct cursor *in)
{
    struct bytes key = cursor_blob(in);
    if (in->err == OK && key.len > KEY_MAX)
        cursor_fail(in, ERR_MALFORMED);
    return key;
}

static void get_clock(struct cursor *in, struct clock *ret)
{
    if (in->err == OK && clock_decode(in, ret) != OK)
        cursor_fail(in, ERR_MALFORMED);
}

static enum err finish(const struct cursor *in)
{
    return cursor_finish(in) == OK ? OK : ERR_MALFORMED;
}

void record_frame_done(struct record_frame *frame)
{
    clock_done(&frame->clock);
    clock_done(&frame->floor);
}

void frame_put_record(struct buf *out, enum frame_type type, const struct record_frame *record)
{
    size_t begun = frame_begin(out, type);
    buf_put_u8(out, (uint8_t)(record->state + (record->answer ? DIVERGED_ANSWER : 0)));
    buf_put_blob(out, record->key);
    clock_encode(&record->clock, out);
    clock_encode(&record->floor, out);
    buf_put_blob(out, record->record);
    frame_end(out, begun);
}

enum err frame_get_record(const struct frame *frame, struct record_frame *ret)
{
    struct cursor in = cursor_of(frame->body);
    uint8_t state = cursor_u8(&in);
    ret->answer = frame->type == FRAME_DIVERGED && (state & DIVERGED_ANSWER);
    if (ret->answer)
        state -= DIVERGED_ANSWER;
    if (in.err == OK && (state < RECORD_PRESENT || state > RECORD_UNREADABLE))
        cursor_fail(&in, ERR_MALFORMED);
    ret->state = (enum record_state)state;
    ret->key = get_key(&in);
    get_clock(&in, &ret->clock);
    get_clock(&in, &ret->floor);
    ret->record = cursor_blob(&in);
    if (in.err == OK && (ret->state == RECORD_PRESENT) != (ret->record.len > 0))
        cursor_fail(&in, ERR_MALFORMED);
    return finish(&in);
}

void frame_put_record_ask(struct buf *out, struct bytes key)
{
    size_t begun = frame_begin(out, FRAME_RECORD_ASK);
    buf_put_blob(out, key);
    frame_end(out, begun);
}

enum err frame_get_record_ask(struct bytes body, struct bytes *ret_key)
{
    struct cursor in = cursor_of(body);
    struct bytes key = get_key(&in);
    enum err err = finish(&in);
    if (err == OK)
        *ret_key = key;
    return err;
}

void frame_put_digest_ask(struct buf *out, const struct digest_ask *ask)
{
    size_t begun = frame_begin(out, FRAME_DIGEST_ASK);
    buf_put_varint(out, ask->run);
    buf_put_u64(out, ask->clock_hash);
    buf_put_u64(out, ask->wall_ms);
    buf_put_u8(out, (uint8_t)((ask->end ? FLAG_END : 0) | (ask->list ? FLAG_LIST : 0)));
    buf_put_blob(out, ask->after);
    buf_put_blob(out, ask->through);
    buf_put_varint(out, ask->digest.keys);
    buf_put_u64(out, ask->digest.hash);
    frame_end(out, begun);
}

enum err frame_get_digest_ask(struct bytes body, struct digest_ask *ret)
{
    struct cursor in = cursor_of(body);
    struct digest_ask ask = {.run = cursor_varint(&in)};
    ask.clock_hash = cursor_u64(&in);
    ask.wall_ms = cursor_u64(&in);
    uint8_t flags = cursor_u8(&in);
    if (in.err == OK && (flags & ~(FLAG_END | FLAG_LIST)))
        cursor_fail(&in, ERR_MALFORMED);
    ask.end = flags & FLAG_END;
    ask.list = flags & FLAG_LIST;
    ask.after = get_bound(&in);
    ask.through = get_bound(&in);
    ask.digest.keys = cursor_varint(&in);
    ask.digest.hash = cursor_u64(&in);
    if (in.err == OK && !ask.end && bytes_compare(ask.through, ask.after) <= 0)
        cursor_fail(&in, ERR_MALFORMED);
    enum err err = finish(&in);
    if (err == OK)
        *ret = ask;
    return err;
}

void frame_put_digest(struct buf *out, const struct digest_answer *answer)
{
    size_t begun = frame_begin(out, FRAME_DIGEST);
    buf_put_varint(out, answer->run);
    buf_put_u8(out, (uint8_t)answer->verdict);
    buf_put_u8(out, answer->end ? FLAG_END : 0);
    buf_put_blob(out, answer->through);
    buf_put_varint(out, answer->count);
    buf_put_bytes(out, answer->list);
    frame_end(out, begun);
}

void digest_list_put(struct buf *out, struct bytes key, uint64_t hash)
{
    buf_put_blob(out, key);
    buf_put_u64(out, hash);
}

static struct bytes get_list_entry(struct cursor *in, uint64_t *ret_hash)
{
    struct bytes key = get_key(in);
    *ret_hash = cursor_u64(in);
    return key;
}

bool digest_list_next(struct bytes *list, struct bytes *ret_key, uint64_t *ret_hash)
{
    struct cursor in = cursor_of(*list);
    if (list->len == 0)
        return false;
    *ret_key = get_list_entry(&in, ret_hash);
    size_t left = cursor_left(&in);
    *list = bytes_of(list->data + (list->len - left), left);
    return in.err == OK;
}

enum err frame_get_digest(struct bytes body, struct digest_answer *ret)
{
    struct cursor in = cursor_of(body);
    struct digest_answer answer = {.run = cursor_varint(&in)};
    uint8_t verdict = cursor_u8(&in), end = cursor_u8(&in);
    if (in.err == OK && (verdict < DIGEST_EQUAL || verdict > DIGEST_BUSY || end > FLAG_END))
        cursor_fail(&in, ERR_MALFORMED);
    answer.verdict = (enum digest_verdict)verdict;
    answer.end = end;
    answer.through = get_bound(&in);
    answer.count = cursor_varint_max(&in, DIGEST_KEYS_MAX);
    const uint8_t *first = in.at;
    struct bytes last = {0};
    for (uint64_t i = 0; i < answer.count && in.err == OK; i++) {
        uint64_t hash;
        struct bytes key = get_list_entry(&in, &hash);
        if (in.err == OK && i && bytes_compare(last, key) >= 0)
            cursor_fail(&in, ERR_MALFORMED);
        last = key;
    }
    if (in.err == OK)
        answer.list = bytes_of(first, (size_t)(in.at - first));
    enum err err = finish(&in);
    if (err == OK)
        *ret = answer;
    return err;
}
