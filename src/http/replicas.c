/* ?w: a write that is durable here waits until other replicas have said that they have
 * it too. What they have is in their reports, which the backend counts; who waits is
 * told of new ones. */
#include "envelope.h"
#include "exchange.h"

/* How many are wanted of so many known ones. "all" is what is known now. */
static unsigned wanted_of(unsigned w, unsigned known)
{
    return w == W_ALL ? known : w == W_MAJORITY ? known / 2 + 1 : w;
}

static bool enough(const struct exchange *x)
{
    const struct http_backend *backend = &x->http->backend;
    unsigned known, having;
    backend->replicas(backend->ctx, &x->write_dot, &known, &having);
    return having >= wanted_of(x->params.w, known);
}

bool waiting_for_replicas(struct exchange *x)
{
    if (!x->params.w || x->write_dot.counter == 0)
        return false;
    uint64_t now_ms = deadlines_now_ms();
    if (!x->is_written) {
        x->is_written = true;
        x->written_until_ms = now_ms + x->params.wait_ms;
    } else if (x->timed_out) {
        return false;
    }
    if (now_ms >= x->written_until_ms || enough(x) ||
        !parking_park(x, PARKED_FOR_REPLICAS, x->written_until_ms))
        return false;
    x->outcome = MHD_YES;
    /* A report between the look and the parking told nobody: look again. */
    if (enough(x)) {
        parking_resume(x, NULL, NULL);
        workers_wake(x->http);
    }
    return true;
}

void http_on_replicas(struct http *http)
{
    if (atomic_load(&http->parking.replica_waiters) > 0)
        parking_replicas_reported(http, enough);
}

void answer_with_replicas(struct exchange *x, struct bytes data)
{
    if (!x->params.w) {
        answer_ok(x, data);
        return;
    }
    const struct http_backend *backend = &x->http->backend;
    unsigned known, having;
    backend->replicas(backend->ctx, &x->write_dot, &known, &having);
    if (x->write_dot.counter == 0)
        having = known; /* nothing was written: all have that */
    unsigned wanted = wanted_of(x->params.w, known);
    bool short_of = having < wanted;
    if (short_of)
        count(x->http, COUNT_REPLICAS_SHORT);
    buf_reset(&x->answer);
    envelope_open(&x->answer);
    struct json_out j = json_out_to(&x->answer);
    json_object(&j);
    json_name(&j, "Result");
    json_raw(&j, data);
    json_field_number(&j, "Replicas", having);
    json_field_number(&j, "Wanted", wanted);
    json_field_number(&j, "Known", known);
    json_object_end(&j);
    envelope_close(&x->answer);
    answer_written(x, short_of ? MHD_HTTP_ACCEPTED : MHD_HTTP_OK);
}
