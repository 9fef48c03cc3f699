#include "samples.h"

#include "mem.h"

#include <stdlib.h>

void samples_done(struct samples *s)
{
    free(s->list);
    *s = (struct samples){0};
}

void samples_add(struct samples *s, uint64_t value)
{
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 64;
        s->list = mem_grow(s->list, s->room * sizeof *s->list);
    }
    s->list[s->count++] = value;
    s->sorted = false;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

uint64_t samples_at(struct samples *s, uint64_t per_100000)
{
    if (s->count == 0)
        return UINT64_MAX;
    if (!s->sorted)
        qsort(s->list, s->count, sizeof *s->list, compare);
    s->sorted = true;
    size_t rank = (size_t)(((uint64_t)s->count * per_100000 + 99999) / 100000);
    return s->list[rank > 0 ? rank - 1 : 0];
}

double samples_mean(const struct samples *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->count; i++)
        sum += (double)s->list[i];
    return s->count ? sum / (double)s->count : 0;
}
