/* Waiting for a token's clock: what the client has seen elsewhere must have
 * arrived here before its read is answered or its write replaces it. */
#include "exchange.h"
#include "watch.h"

static enum err read_clock(struct http *http, struct clock *clock)
{
    struct snapshot *snapshot;
    enum err err = snapshot_open(http->backend.store, &snapshot);
    if (err != OK)
        return err;
    err = snapshot_clock(snapshot, clock, NULL);
    snapshot_close(snapshot);
    return err;
}

static void answer_behind(struct exchange *x, const struct clock *clock)
{
    char id[REPLICA_ID_TEXT];
    size_t missing = 0;
    const struct dot *first = NULL;
    for (size_t i = 0; i < x->token.after.count; i++) {
        const struct dot *wanted = &x->token.after.entries[i];
        if (clock_covers_dot(clock, wanted))
            continue;
        if (!first)
            first = wanted;
        missing++;
    }
    if (!first) { /* it came at the last moment; the client may as well ask again */
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "%s", err_text(ERR_BEHIND));
        return;
    }
    answer_error(
        x, MHD_HTTP_SERVICE_UNAVAILABLE,
        "this node has not seen what X-Yzma-Context stands for: it has operations of replica %s up to "
        "%llu, not %llu (replicas behind: %zu)",
        replica_id_text(&first->replica, id), (unsigned long long)clock_get(clock, &first->replica),
        (unsigned long long)first->counter, missing);
}

static void park_for_clock(struct exchange *x)
{
    count(x->http, COUNT_WAITS);
    if (!parking_park(x, PARKED_FOR_CLOCK, x->wait_until_ms)) {
        answer_store_error(x, ERR_CLOSED);
        return;
    }
    /* A commit between the look and the parking rang for nobody: look again. */
    struct clock clock = {0};
    if (read_clock(x->http, &clock) == OK && clock_covers(&clock, &x->token.after)) {
        parking_resume(x, NULL, NULL);
        workers_wake(x->http);
    }
    clock_done(&clock);
}

bool waiting_for_clock(struct exchange *x)
{
    if (!x->has_token || x->clock_reached)
        return false;
    struct clock clock = {0};
    enum err err = read_clock(x->http, &clock);
    uint64_t now_ms = deadlines_now_ms();
    if (!x->wait_until_ms)
        x->wait_until_ms = now_ms + x->params.wait_ms;
    if (err != OK) {
        answer_store_error(x, err);
    } else if (clock_covers(&clock, &x->token.after)) {
        x->clock_reached = true;
    } else if (x->timed_out || now_ms >= x->wait_until_ms) {
        count(x->http, COUNT_WAITS_EXPIRED);
        answer_behind(x, &clock);
    } else {
        park_for_clock(x);
    }
    clock_done(&clock);
    return !x->clock_reached;
}

void http_on_commit(struct http *http)
{
    watch_feed_on_commit(http);
    if (atomic_load(&http->parking.clock_waiters) == 0)
        return;
    struct clock clock = {0};
    if (read_clock(http, &clock) == OK)
        parking_clock_rose(http, &clock);
    clock_done(&clock);
}
