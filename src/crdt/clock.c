/* Version vectors as sorted arrays: a cluster knows few replicas, so that a
 * binary search and a short move beat every cleverer shape. */
#include "clock.h"

#include "check.h"
#include "mem.h"

#include <stdlib.h>

/* Nothing special about this value: most clusters are smaller. */
enum { CLOCK_FIRST = 4 };

void clock_done(struct clock *c)
{
    if (!c)
        return;
    free(c->entries);
    *c = (struct clock){0};
}

void clock_clear(struct clock *c)
{
    c->count = 0;
}

static void reserve(struct clock *c, size_t count)
{
    if (count <= c->room)
        return;
    size_t room = c->room ? c->room : CLOCK_FIRST;
    while (room < count)
        room *= 2;
    c->entries = mem_grow(c->entries, room * sizeof *c->entries);
    c->room = room;
}

void clock_copy(struct clock *to, const struct clock *from)
{
    if (to == from)
        return;
    reserve(to, from->count);
    if (from->count)
        memcpy(to->entries, from->entries, from->count * sizeof *to->entries);
    to->count = from->count;
}

/* The first entry whose id is not below `id`. */
static size_t position(const struct clock *c, const struct replica_id *id)
{
    size_t low = 0, high = c->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (replica_id_compare(&c->entries[middle].replica, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool holds_at(const struct clock *c, size_t at, const struct replica_id *id)
{
    return at < c->count && replica_id_equal(&c->entries[at].replica, id);
}

uint64_t clock_get(const struct clock *c, const struct replica_id *id)
{
    size_t at = position(c, id);
    return holds_at(c, at, id) ? c->entries[at].counter : 0;
}

void clock_set(struct clock *c, const struct replica_id *id, uint64_t counter)
{
    size_t at = position(c, id);
    bool held = holds_at(c, at, id);
    if (held && counter) {
        c->entries[at].counter = counter;
    } else if (held) {
        memmove(&c->entries[at], &c->entries[at + 1], (c->count - at - 1) * sizeof *c->entries);
        c->count--;
    } else if (counter) {
        struct dot entry = {.replica = *id, .counter = counter}; /* id may lie in the array that moves */
        reserve(c, c->count + 1);
        memmove(&c->entries[at + 1], &c->entries[at], (c->count - at) * sizeof *c->entries);
        c->entries[at] = entry;
        c->count++;
    }
}

void clock_raise(struct clock *c, const struct dot *dot)
{
    if (dot->counter > clock_get(c, &dot->replica))
        clock_set(c, &dot->replica, dot->counter);
}

void clock_join(struct clock *to, const struct clock *other)
{
    if (to == other)
        return;
    for (size_t i = 0; i < other->count; i++)
        clock_raise(to, &other->entries[i]);
}

bool clock_join_fits(const struct clock *a, const struct clock *b)
{
    size_t count = a->count;
    for (size_t i = 0; i < b->count; i++)
        count += clock_get(a, &b->entries[i].replica) == 0;
    return count <= CLOCK_REPLICAS_MAX;
}

void clock_meet(struct clock *to, const struct clock *other)
{
    size_t kept = 0;
    for (size_t i = 0; i < to->count; i++) {
        struct dot entry = to->entries[i];
        uint64_t there = clock_get(other, &entry.replica);
        if (there < entry.counter)
            entry.counter = there;
        if (entry.counter)
            to->entries[kept++] = entry;
    }
    to->count = kept;
}

bool clock_covers_dot(const struct clock *c, const struct dot *dot)
{
    return clock_get(c, &dot->replica) >= dot->counter;
}

/* Both are in one order, and most often of the same replicas. */
bool clock_covers(const struct clock *a, const struct clock *b)
{
    enum { FEW = 8 }; /* of which each is looked for by itself */
    bool few = b->count < a->count / FEW;
    for (size_t i = 0, k = 0; i < b->count; i++) {
        const struct dot *dot = &b->entries[i];
        k = few ? position(a, &dot->replica) : k;
        while (k < a->count && replica_id_compare(&a->entries[k].replica, &dot->replica) < 0)
            k++;
        if ((holds_at(a, k, &dot->replica) ? a->entries[k].counter : 0) < dot->counter)
            return false;
    }
    return true;
}

bool clock_equal(const struct clock *a, const struct clock *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (dot_compare(&a->entries[i], &b->entries[i]) != 0)
            return false;
    return true;
}

uint64_t clock_sum(const struct clock *c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (c->entries[i].counter > UINT64_MAX - sum)
            return UINT64_MAX;
        sum += c->entries[i].counter;
    }
    return sum;
}

void clock_encode(const struct clock *c, struct buf *out)
{
    buf_put_varint(out, c->count);
    for (size_t i = 0; i < c->count; i++) {
        replica_id_encode(&c->entries[i].replica, out);
        buf_put_varint(out, c->entries[i].counter);
    }
}

enum err clock_decode(struct cursor *in, struct clock *ret)
{
    /* An entry takes 17 bytes at least, so what is reserved is bounded by the input. */
    uint64_t count = cursor_varint_max(in, CLOCK_REPLICAS_MAX);
    if (in->err == OK && count > cursor_left(in) / (REPLICA_ID_SIZE + 1))
        cursor_fail(in, ERR_TRUNCATED);
    struct clock c = {0};
    if (in->err == OK && count)
        reserve(&c, (size_t)count);
    for (uint64_t i = 0; i < count && in->err == OK; i++) {
        struct dot entry = {.replica = replica_id_decode(in)};
        entry.counter = cursor_varint(in);
        if (in->err != OK)
            break;
        if (entry.counter == 0 ||
            (c.count && replica_id_compare(&c.entries[c.count - 1].replica, &entry.replica) >= 0))
            cursor_fail(in, ERR_MALFORMED);
        c.entries[c.count++] = entry;
    }
    if (in->err != OK) {
        clock_done(&c);
        return in->err;
    }
    clock_done(ret);
    *ret = c;
    return OK;
}
