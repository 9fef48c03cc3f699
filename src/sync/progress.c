/* How far catching up has come: for the log, /ready and the status page. */
#include "sync_state.h"

enum {
    TELL_MS = 5000, /* between two lines of a walk */
    MARK_MS = 2000, /* rates are of the last two to four seconds */
};

void progress_start(struct sync *s, uint64_t now_ms)
{
    struct progress *p = &s->progress;
    if (p->on)
        return;
    *p = (struct progress){.on = true, .started_ms = now_ms, .told_ms = now_ms, .keys = s->walk.keys_done};
    for (size_t i = 0; i < 2; i++) {
        p->mark[i].at_ms = now_ms;
        p->mark[i].keys = s->walk.keys_done;
    }
}

void progress_piece(struct sync *s, uint64_t now_ms, const struct store_work *work, uint64_t wire)
{
    struct progress *p = &s->progress;
    p->bytes += work->rows.payload.len;
    p->wire += wire;
    if (work->kind == WORK_WALK_ROWS)
        p->rows += work->rows.count;
    if (now_ms >= p->mark[1].at_ms + MARK_MS) {
        p->mark[0] = p->mark[1];
        p->mark[1].at_ms = now_ms;
        p->mark[1].keys = s->walk.keys_done;
        p->mark[1].bytes = p->bytes;
    }
}

static uint64_t per_second(uint64_t n, uint64_t ms)
{
    return n * 1000 / (ms ? ms : 1);
}

struct rates progress_rates(const struct sync *s, uint64_t now_ms)
{
    const struct progress *p = &s->progress;
    struct rates rates = {0};
    uint64_t ms = now_ms - p->mark[0].at_ms;
    if (!p->on)
        return rates;
    rates.keys_per_s = s->walk.keys_done > p->mark[0].keys
                           ? per_second(s->walk.keys_done - p->mark[0].keys, ms)
                           : 0;
    rates.bytes_per_s = per_second(p->bytes - p->mark[0].bytes, ms);
    if (s->walk_keys_total) /* keys of our own count too: there may be more of them */
        rates.percent = s->walk.phase == WALK_ROWS || s->walk.keys_done >= s->walk_keys_total
                            ? 100
                            : s->walk.keys_done * 100 / s->walk_keys_total;
    return rates;
}

void progress_tell(struct sync *s, uint64_t now_ms, struct effects *out)
{
    struct progress *p = &s->progress;
    const struct link *link = sync_link_find(s, s->walk_stream);
    if (!p->on || now_ms < p->told_ms + TELL_MS)
        return;
    struct rates rates = progress_rates(s, now_ms);
    p->told_ms = now_ms;
    effects_notice(out, NOTICE_INFO,
                   "event=walk_progress source=%s phase=%s keys_done=%llu keys_total=%llu percent=%llu "
                   "bytes=%llu keys_per_s=%llu bytes_per_s=%llu",
                   link && link->peer ? link->peer->name : "",
                   s->walk.phase == WALK_RECORDS ? "records" : "rows", (unsigned long long)s->walk.keys_done,
                   (unsigned long long)s->walk_keys_total, (unsigned long long)rates.percent,
                   (unsigned long long)p->bytes, (unsigned long long)rates.keys_per_s,
                   (unsigned long long)rates.bytes_per_s);
}

/* The state of the walk is gone by now: what it had come to is in the last mark. */
void progress_end(struct sync *s, uint64_t now_ms, const char *event, struct effects *out)
{
    struct progress *p = &s->progress;
    uint64_t ms = now_ms - p->started_ms;
    if (p->on)
        effects_notice(out, NOTICE_INFO,
                       "event=%s keys=%llu rows=%llu bytes=%llu wire_bytes=%llu ms=%llu bytes_per_s=%llu",
                       event, (unsigned long long)p->keys, (unsigned long long)p->rows,
                       (unsigned long long)p->bytes, (unsigned long long)p->wire, (unsigned long long)ms,
                       (unsigned long long)per_second(p->bytes, ms));
    else
        effects_notice(out, NOTICE_INFO, "event=%s", event);
    p->on = false;
}

/* ---- deltas ---------------------------------------------------------------------------- */

uint64_t progress_lag(const struct clock *ahead, const struct clock *behind)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < ahead->count; i++) {
        uint64_t has = clock_get(behind, &ahead->entries[i].replica);
        if (ahead->entries[i].counter > has)
            sum += ahead->entries[i].counter - has;
    }
    return sum;
}

void progress_link_up(struct sync *s, struct link *link)
{
    link->lacked_here = progress_lag(&link->target, &s->clock);
    link->lacked_there = progress_lag(&s->clock, &link->target);
    link->caught_up = link->lacked_here == 0;
    link->served = link->lacked_there == 0;
    clock_copy(&link->goal, &s->clock);
}

void progress_look_at(struct sync *s, uint64_t now_ms, struct link *link, struct effects *out)
{
    const struct peer *peer = link->peer;
    unsigned long long ms = now_ms - peer->up_ms;
    if (!link->caught_up && clock_covers(&s->clock, &link->target)) {
        link->caught_up = true;
        effects_notice(out, NOTICE_INFO, "event=caught_up_with peer=%s operations=%llu bytes=%llu ms=%llu",
                       peer->name, (unsigned long long)link->lacked_here,
                       (unsigned long long)(peer->in.delta + peer->in.walk), ms);
    }
    if (!link->served && clock_covers(&peer->clock, &link->goal)) {
        link->served = true;
        effects_notice(out, NOTICE_INFO, "event=caught_up peer=%s operations=%llu bytes=%llu ms=%llu",
                       peer->name, (unsigned long long)link->lacked_there,
                       (unsigned long long)(peer->out.delta + peer->out.walk), ms);
    }
}
