#include "cache.h"

static void drop(struct frame_cache *cache, size_t i)
{
    struct cached *c = &cache->frames[i];
    cache->bytes -= c->frame.len + c->packed.len;
    clock_done(&c->floor);
    buf_done(&c->frame);
    buf_done(&c->packed);
    memmove(c, c + 1, (--cache->count - i) * sizeof *c);
}

void cache_clear(struct frame_cache *cache)
{
    while (cache->count)
        drop(cache, cache->count - 1);
}

void cache_expire(struct frame_cache *cache, uint64_t now_ms)
{
    while (cache->count && now_ms >= cache->frames[0].made_ms + CACHE_MS)
        drop(cache, 0);
}

struct cached *cache_find(struct frame_cache *cache, uint64_t now_ms, const struct replica_id *origin,
                          uint64_t from, const struct clock *peer)
{
    cache_expire(cache, now_ms);
    for (size_t i = cache->count; i-- > 0;) {
        struct cached *c = &cache->frames[i];
        if (c->from == from && replica_id_equal(&c->origin, origin) && clock_covers(peer, &c->floor)) {
            cache->hits++;
            return c;
        }
    }
    return NULL;
}

void cache_put(struct frame_cache *cache, uint64_t now_ms, const struct replica_id *origin, uint64_t from,
               uint64_t to, const struct clock *floor, struct bytes frame)
{
    if (frame.len > CACHE_FRAME_BYTES)
        return;
    while (cache->count == CACHE_FRAMES || (cache->count && cache->bytes + frame.len > CACHE_BYTES))
        drop(cache, 0);
    struct cached *c = &cache->frames[cache->count];
    *c = (struct cached){.origin = *origin, .from = from, .to = to, .made_ms = now_ms};
    buf_init(&c->frame, frame.len);
    buf_init(&c->packed, frame.len + FRAME_HEADER);
    buf_reserve(&c->frame, frame.len);
    buf_put_bytes(&c->frame, frame);
    if (c->frame.err != OK) { /* it is a cache */
        buf_done(&c->frame);
        return;
    }
    clock_copy(&c->floor, floor);
    cache->count++;
    cache->bytes += frame.len;
}

struct bytes cache_packed(struct frame_cache *cache, struct cached *c, struct squeeze *squeeze)
{
    if (!c->looked && squeeze_frame(squeeze, buf_bytes(&c->frame), &c->packed))
        cache->bytes += c->packed.len; /* at most as much again: the next put makes room */
    c->looked = true;
    return buf_bytes(&c->packed);
}
