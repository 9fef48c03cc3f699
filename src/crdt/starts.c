/* Start lists: kept, compared, and the point where two histories part. */
#include "starts.h"

void starts_append(struct starts *list, struct start start)
{
    if (list->count == STARTS_KEPT) {
        memmove(&list->entries[0], &list->entries[1], (STARTS_KEPT - 1) * sizeof *list->entries);
        list->count--;
    }
    list->entries[list->count++] = start;
    list->total++;
}

/* varint total, varint count, then (varint counter, 8 bytes random). */
void starts_encode(const struct starts *list, struct buf *out)
{
    buf_put_varint(out, list->total);
    buf_put_varint(out, list->count);
    for (size_t i = 0; i < list->count; i++) {
        buf_put_varint(out, list->entries[i].counter);
        buf_put_u64(out, list->entries[i].random);
    }
}

enum err starts_decode(struct cursor *in, struct starts *ret)
{
    struct starts list = {.total = cursor_varint(in)};
    list.count = (size_t)cursor_varint_max(in, STARTS_KEPT);
    if (in->err == OK && list.count != (list.total < STARTS_KEPT ? list.total : STARTS_KEPT))
        cursor_fail(in, ERR_MALFORMED);
    for (size_t i = 0; i < list.count && in->err == OK; i++) {
        list.entries[i].counter = cursor_varint(in);
        list.entries[i].random = cursor_u64(in);
        if (i && list.entries[i].counter < list.entries[i - 1].counter)
            cursor_fail(in, ERR_MALFORMED);
    }
    if (in->err != OK)
        return in->err;
    *ret = list;
    return OK;
}

static uint64_t first_kept(const struct starts *list)
{
    return list->total - list->count;
}

static const struct start *number(const struct starts *list, uint64_t n)
{
    return &list->entries[n - first_kept(list)];
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The number of the first start that is not the same in both, among those that
 * both still show; where there is none, the lower of the totals. */
static uint64_t first_difference(const struct starts *a, const struct starts *b)
{
    uint64_t n = first_kept(a) > first_kept(b) ? first_kept(a) : first_kept(b);
    for (; n < a->total && n < b->total; n++) {
        const struct start *x = number(a, n), *y = number(b, n);
        if (x->counter != y->counter || x->random != y->random)
            return n;
    }
    return lower(a->total, b->total);
}

bool starts_extend(const struct starts *newer, const struct starts *older)
{
    return newer->total >= older->total && first_difference(newer, older) == older->total;
}

bool starts_same(const struct starts *a, const struct starts *b)
{
    return a->total == b->total && starts_extend(a, b);
}

static bool shows(const struct starts *list, uint64_t n)
{
    return n >= first_kept(list) && n < list->total;
}

bool starts_older(const struct starts *a, const struct starts *b)
{
    uint64_t n = first_difference(a, b);
    if (!shows(a, n) || !shows(b, n))
        return a->total < b->total;
    const struct start *x = number(a, n), *y = number(b, n);
    return x->random != y->random ? x->random < y->random : x->counter < y->counter;
}

bool starts_follow(const struct starts *now, uint64_t counter_now, const struct starts *remembered,
                   uint64_t told)
{
    if (counter_now < told || !starts_extend(now, remembered))
        return false;
    /* an entry that has fallen off the list lies before those that are kept */
    uint64_t next = remembered->total > first_kept(now) ? remembered->total : first_kept(now);
    return next == now->total || number(now, next)->counter >= told;
}

uint64_t starts_fork(const struct starts *mine, const struct starts *theirs, uint64_t counter_now)
{
    uint64_t oldest = first_kept(mine) > first_kept(theirs) ? first_kept(mine) : first_kept(theirs);
    uint64_t parted = first_difference(mine, theirs);
    /* Without one start in common that both still show, nothing is sure. (Number
     * 0 has nothing before it, so there the counters decide.) */
    if (parted < oldest || (parted == oldest && oldest > 0))
        return 0;
    /* A copy agrees with its original up to the copying. The first start that
     * differs happened after it, on either side. */
    uint64_t fork = counter_now;
    if (parted < mine->total)
        fork = lower(fork, number(mine, parted)->counter);
    if (parted < theirs->total)
        fork = lower(fork, number(theirs, parted)->counter);
    /* The same list on both sides: what was before the last start is shared. */
    if (parted == mine->total && parted == theirs->total)
        fork = parted ? lower(fork, number(mine, parted - 1)->counter) : 0;
    return fork;
}
