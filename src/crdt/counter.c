/* What is known of a counter: joined, counted, read and written. */
#include "counter_state.h"

#include "mem.h"

#include <stdlib.h>

enum {
    COUNTER_FORMAT = 1,
    SUM_BYTES_MAX = 19,  /* of 128 bits, seven in each */
    STATE_SIZE_MIN = 16, /* encoded bytes, at least */
    NOTHING_DELETED = 0,
    ALL_DELETED = 1,
    PART_DELETED = 2,
};

__extension__ typedef unsigned __int128 raw_sum;

void counter_done(struct counter_view *c)
{
    free(c->states);
    *c = (struct counter_view){0};
}

/* ---- joining ------------------------------------------------------------------------ */

static int session_compare(const struct session *a, const struct session *b)
{
    if (a->lineage != b->lineage)
        return a->lineage < b->lineage ? -1 : 1;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return (a->random > b->random) - (a->random < b->random);
}

static bool session_equal(const struct session *a, const struct session *b)
{
    return session_compare(a, b) == 0;
}

/* The first that is not below the session. */
static size_t position(const struct counter_view *c, const struct session *session)
{
    size_t low = 0, high = c->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (session_compare(&c->states[middle].session, session) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct counter_state *counter_find(const struct counter_view *c, const struct session *session)
{
    size_t at = position(c, session);
    return at < c->count && session_equal(&c->states[at].session, session) ? &c->states[at] : NULL;
}

/* The later one; of two that should be the same, and are not, either, but the same one on
 * all nodes. */
static void join_state(struct counter_state *to, const struct counter_state *from)
{
    if (from->seq > to->seq || (from->seq == to->seq && from->sum > to->sum)) {
        to->seq = from->seq;
        to->sum = from->sum;
    }
    if (from->base_seq > to->base_seq || (from->base_seq == to->base_seq && from->base_sum > to->base_sum)) {
        to->base_seq = from->base_seq;
        to->base_sum = from->base_sum;
    }
    if (to->base_seq == to->seq)
        to->base_sum = to->sum;
}

enum err counter_put(struct counter_view *c, const struct counter_state *state)
{
    size_t at = position(c, &state->session);
    if (at < c->count && session_equal(&c->states[at].session, &state->session)) {
        join_state(&c->states[at], state);
        return OK;
    }
    if (c->count == COUNTER_SESSIONS_MAX)
        return ERR_TOO_LARGE;
    if (c->count == c->room) {
        c->room = c->room ? 2 * c->room : 8;
        c->states = mem_grow(c->states, c->room * sizeof *c->states);
    }
    memmove(&c->states[at + 1], &c->states[at], (c->count - at) * sizeof *c->states);
    c->states[at] = *state;
    c->count++;
    return OK;
}

/* ---- the number ----------------------------------------------------------------------- */

bool counter_is_absent(const struct counter_view *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->states[i].seq != c->states[i].base_seq)
            return false;
    return true;
}

counter_sum counter_total(const struct counter_view *c)
{
    counter_sum total = 0;
    for (size_t i = 0; i < c->count; i++)
        total += c->states[i].sum - c->states[i].base_sum;
    return total;
}

enum err counter_number(const struct counter_view *c, int64_t *ret)
{
    counter_sum total = counter_total(c);
    if (total < INT64_MIN || total > INT64_MAX)
        return ERR_TOO_LARGE;
    *ret = (int64_t)total;
    return OK;
}

/* ---- bytes ------------------------------------------------------------------------------ */

bool counter_sum_fits(counter_sum sum)
{
    counter_sum limit = (counter_sum)1 << COUNTER_SUM_BITS;
    return sum < limit && sum > -limit;
}

static void put_sum(struct buf *out, counter_sum sum)
{
    raw_sum left = sum < 0 ? ((raw_sum)(-(sum + 1)) << 1 | 1) : (raw_sum)sum << 1;
    do {
        uint8_t byte = left & 0x7f;
        left >>= 7;
        buf_put_u8(out, left ? byte | 0x80 : byte);
    } while (left);
}

static counter_sum read_sum(struct cursor *in)
{
    raw_sum raw = 0;
    for (unsigned i = 0; i < SUM_BYTES_MAX; i++) {
        uint8_t byte = cursor_u8(in);
        if (in->err != OK || (byte == 0 && i > 0) || (i == SUM_BYTES_MAX - 1 && byte > 3))
            break; /* one form only */
        raw |= (raw_sum)(byte & 0x7f) << (7 * i);
        if (byte & 0x80)
            continue;
        counter_sum half = (counter_sum)(raw >> 1), sum = raw & 1 ? -half - 1 : half;
        if (!counter_sum_fits(sum))
            break;
        return sum;
    }
    cursor_fail(in, ERR_MALFORMED);
    return 0;
}

static void put_session(struct buf *out, const struct session *session)
{
    buf_put_u64(out, session->lineage);
    buf_put_varint(out, session->start);
    buf_put_u32(out, session->random);
}

static struct session read_session(struct cursor *in)
{
    struct session session = {.lineage = cursor_u64(in)};
    session.start = cursor_varint(in);
    session.random = cursor_u32(in);
    return session;
}

static void put_state(struct buf *out, const struct counter_state *state)
{
    put_session(out, &state->session);
    buf_put_varint(out, state->seq);
    put_sum(out, state->sum);
    buf_put_varint(out, state->base_seq == 0            ? NOTHING_DELETED
                        : state->base_seq == state->seq ? ALL_DELETED
                                                        : PART_DELETED);
    if (state->base_seq && state->base_seq != state->seq) {
        buf_put_varint(out, state->base_seq);
        put_sum(out, state->base_sum);
    }
}

static struct counter_state read_state(struct cursor *in)
{
    struct counter_state state = {.session = read_session(in)};
    state.seq = cursor_varint(in);
    state.sum = read_sum(in);
    uint64_t deleted = cursor_varint_max(in, PART_DELETED);
    if (deleted == ALL_DELETED) {
        state.base_seq = state.seq;
        state.base_sum = state.sum;
    } else if (deleted == PART_DELETED) {
        state.base_seq = cursor_varint(in);
        state.base_sum = read_sum(in);
        if (state.base_seq == 0 || state.base_seq >= state.seq)
            cursor_fail(in, ERR_MALFORMED);
    }
    if (state.seq == 0)
        cursor_fail(in, ERR_MALFORMED);
    return state;
}

void counter_encode(const struct counter_view *c, struct buf *out)
{
    buf_put_u8(out, COUNTER_FORMAT);
    buf_put_varint(out, c->count);
    for (size_t i = 0; i < c->count; i++)
        put_state(out, &c->states[i]);
}

/* c NULL: only looks whether it can be read. */
static enum err read_value(struct bytes value, struct counter_view *c)
{
    struct cursor in = cursor_of(value);
    if (cursor_u8(&in) != COUNTER_FORMAT)
        cursor_fail(&in, ERR_MALFORMED);
    struct session last = {0};
    size_t count = (size_t)cursor_varint_max(&in, COUNTER_SESSIONS_MAX);
    if (count > cursor_left(&in) / STATE_SIZE_MIN)
        cursor_fail(&in, ERR_TRUNCATED);
    for (size_t i = 0; i < count && in.err == OK; i++) {
        struct counter_state state = read_state(&in);
        if (i && session_compare(&last, &state.session) >= 0)
            cursor_fail(&in, ERR_MALFORMED);
        last = state.session;
        enum err err = c && in.err == OK ? counter_put(c, &state) : OK;
        if (err != OK)
            return err;
    }
    return cursor_finish(&in);
}

enum err counter_join(struct counter_view *c, struct bytes value)
{
    enum err err = read_value(value, NULL);
    return err == OK ? read_value(value, c) : err;
}

enum err counter_of_record(struct counter_view *c, const struct record *record, size_t *ret_malformed)
{
    size_t malformed = 0;
    for (size_t i = 0; i < record->count; i++) {
        enum err err = counter_join(c, record->versions[i].value);
        if (err == ERR_TOO_LARGE)
            return err;
        malformed += err != OK;
    }
    *ret_malformed = malformed;
    return OK;
}
