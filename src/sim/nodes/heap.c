#include "state.h"

#include "mem.h"

#include <stdlib.h>

static bool before(const struct happening *a, const struct happening *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

void heap_push(struct heap *heap, struct happening *h, uint64_t at_ms)
{
    h->at_ms = at_ms;
    h->order = ++heap->order;
    if (heap->count == heap->room) {
        heap->room = heap->room ? heap->room * 2 : 64;
        heap->at = mem_grow(heap->at, heap->room * sizeof *heap->at);
    }
    size_t i = heap->count++;
    for (; i > 0 && before(h, heap->at[(i - 1) / 2]); i = (i - 1) / 2)
        heap->at[i] = heap->at[(i - 1) / 2];
    heap->at[i] = h;
}

struct happening *heap_plan(struct heap *heap, uint64_t at_ms, enum happening_kind kind, int node,
                            unsigned life)
{
    struct happening *h = mem_new(sizeof *h);
    *h = (struct happening){.kind = kind, .node = node, .life = life};
    heap_push(heap, h, at_ms);
    return h;
}

struct happening *heap_pop(struct heap *heap)
{
    struct happening *first = heap->at[0], *last = heap->at[--heap->count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < heap->count; i = child) {
        if (child + 1 < heap->count && before(heap->at[child + 1], heap->at[child]))
            child++;
        if (!before(heap->at[child], last))
            break;
        heap->at[i] = heap->at[child];
    }
    if (heap->count)
        heap->at[i] = last;
    return first;
}

void happening_free(struct happening *h)
{
    buf_done(&h->bytes);
    pipe_unref(h->pipe);
    ask_free(h->ask);
    free(h);
}
