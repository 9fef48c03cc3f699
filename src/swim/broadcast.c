#include "broadcast.h"

#include "check.h"
#include "mem.h"
#include "packet.h"

#include <stdlib.h>

void broadcasts_done(struct broadcasts *q)
{
    free(q->queue);
    *q = (struct broadcasts){0};
}

/* True if a broadcast with these properties stands before b. */
static bool before(unsigned transmits, size_t len, uint64_t age, const struct broadcast *b)
{
    if (transmits != b->transmits)
        return transmits < b->transmits;
    if (len != b->len)
        return len > b->len;
    return age > b->age;
}

/* The first place whose broadcast does not stand before the one described. */
static size_t place_of(const struct broadcasts *q, unsigned transmits, size_t len, uint64_t age)
{
    size_t low = 0, high = q->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct broadcast *b = q->queue[middle];
        if (b->age == age || before(transmits, len, age, b))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void insert(struct broadcasts *q, struct broadcast *b)
{
    if (q->count == q->room) {
        q->room = q->room ? q->room * 2 : 16;
        q->queue = mem_grow(q->queue, q->room * sizeof(struct broadcast *));
    }
    size_t place = place_of(q, b->transmits, b->len, b->age);
    memmove(q->queue + place + 1, q->queue + place, (q->count - place) * sizeof(struct broadcast *));
    q->queue[place] = b;
    q->count++;
}

static void take_out(struct broadcasts *q, size_t place)
{
    q->count--;
    memmove(q->queue + place, q->queue + place + 1, (q->count - place) * sizeof(struct broadcast *));
}

void broadcast_remove(struct broadcasts *q, struct broadcast *b)
{
    if (!broadcast_is_queued(b))
        return;
    size_t place = place_of(q, b->transmits, b->len, b->age);
    CHECK(place < q->count && q->queue[place] == b);
    take_out(q, place);
    free(b->data);
    *b = (struct broadcast){0};
}

void broadcast_queue(struct broadcasts *q, struct broadcast *b, struct buf *message)
{
    CHECK(message->err == OK && message->len > 0);
    broadcast_remove(q, b);
    *b = (struct broadcast){.data = message->data, .len = message->len, .age = ++q->next_age};
    *message = (struct buf){.max = message->max};
    insert(q, b);
}

size_t broadcasts_take(struct broadcasts *q, size_t budget, size_t overhead, size_t max, unsigned limit,
                       broadcast_use *use, void *ctx)
{
    struct broadcast *chosen[COMPOUND_PARTS_MAX];
    struct bytes messages[COMPOUND_PARTS_MAX];
    size_t count = 0, at = 0;
    CHECK(max <= COMPOUND_PARTS_MAX);
    while (count < max && at < q->count && budget > overhead) {
        /* In each tier of transmissions, skip what is too long. */
        unsigned tier = q->queue[at]->transmits;
        at = place_of(q, tier, budget - overhead, UINT64_MAX);
        if (at == q->count || q->queue[at]->transmits != tier)
            continue; /* nothing short enough here: the next tier, or the end */
        struct broadcast *b = q->queue[at];
        take_out(q, at);
        messages[count] = bytes_of(b->data, b->len);
        chosen[count++] = b;
        budget -= b->len + overhead;
    }
    if (count > 0)
        use(ctx, messages, count);
    for (size_t i = 0; i < count; i++) { /* only now, so that none is chosen twice */
        if (++chosen[i]->transmits < limit) {
            insert(q, chosen[i]);
        } else {
            free(chosen[i]->data);
            *chosen[i] = (struct broadcast){0};
        }
    }
    return count;
}
