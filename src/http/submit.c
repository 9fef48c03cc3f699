/* Work for the committer: the connection is parked, the committer does the work, and
 * the answer leaves once it is durable. */
#include "exchange.h"
#include "mem.h"
#include "notice.h"

struct write_result {
    struct store_work *work;
};

/* Under the parking lock. */
static void take_result(struct exchange *x, void *result)
{
    struct store_work *work = ((struct write_result *)result)->work;
    x->write_err = work->err;
    if (work->kind == WORK_WRITE) {
        x->write_dot = work->write.dot;
        x->write_tag = work->write.tag;
        return;
    }
    if (work->kind == WORK_COUNT) {
        x->write_dot = work->count.dot;
        x->write_number = work->count.number;
        return;
    }
    const struct batch_work *batch = &work->batch;
    x->write_dot = batch->last;
    x->batch_failed = batch->failed;
    x->batch_deleted = batch->deleted;
    x->batch_created = batch->created;
    if (work->err != OK && batch->failed < batch->count) {
        x->write_tag = batch->writes[batch->failed].tag;
        x->failed_key = mem_text_of(batch->writes[batch->failed].key);
    }
}

/* Once a key, so far as the store remembers; the others are counted. */
static void tell_conflict(struct exchange *x, struct bytes key)
{
    const struct http_backend *backend = &x->http->backend;
    struct buf line;
    if (!backend->log)
        return;
    buf_init(&line, NOTICE_LINE_MAX);
    buf_put_text(&line, "event=too_many_versions key=");
    notice_value(&line, key);
    buf_put_text(&line, " next=\"writes that would add one get 409 until the conflict is resolved\"");
    buf_put_u8(&line, '\0');
    if (line.err == OK)
        backend->log(backend->ctx, NOTICE_WARN, (const char *)line.data);
    buf_done(&line);
}

/* On the committer's thread. */
static void write_done(struct store_work *work)
{
    struct exchange *x = work->ctx;
    bool last = !work->more;
    const struct write_work *refused = work->kind == WORK_WRITE ? &work->write : NULL;
    if (work->kind == WORK_BATCH && work->batch.failed < work->batch.count)
        refused = &work->batch.writes[work->batch.failed];
    if (work->err == ERR_CONFLICT && refused && refused->first_refusal)
        tell_conflict(x, refused->key);
    parking_resume(x, take_result, &(struct write_result){work}); /* too late when it was given up on */
    store_work_free(work);
    if (last)
        workers_wake(x->http);
    exchange_unref(x);
}

bool submit_parked(struct exchange *x, struct store_work *work, enum parked_for what)
{
    const struct http_backend *backend = &x->http->backend;
    if (!parking_park(x, what, deadlines_now_ms() + x->http->options.request_timeout_ms)) {
        store_work_free(work);
        return false;
    }
    work->done = write_done;
    work->ctx = x;
    x->asked = true;
    x->outcome = MHD_YES;
    atomic_fetch_add(&x->refs, 1);
    enum err err = backend->submit(backend->ctx, work);
    if (err == OK)
        return true;
    work->err = err;
    if (work->kind == WORK_BATCH)
        work->batch.failed = work->batch.count;
    write_done(work);
    return true;
}

void submit_work(struct exchange *x, struct store_work *work)
{
    if (!submit_parked(x, work, PARKED_FOR_WRITE))
        answer_store_error(x, ERR_CLOSED);
}

bool put_adds(const struct exchange *x, enum mode mode, const struct condition *condition, bool has_token)
{
    if (mode != MODE_OF_CONFLICT)
        return mode == MODE_ADD;
    /* If-Match with tags names exactly what is there. */
    bool names = condition && condition->match.present && !condition->match.any;
    return x->http->options.siblings && !has_token && !names;
}

void answer_unconfirmed(struct exchange *x)
{
    count(x->http, COUNT_WRITES_UNCONFIRMED);
    answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE,
                 "the write is not confirmed to be on disk; it may still get there");
}

void write_run(struct exchange *x, const struct write_steps *steps)
{
    if (!x->is_written && !x->asked) {
        if (!waiting_for_clock(x))
            steps->begin(x);
    } else if (!x->is_written && x->timed_out) {
        answer_unconfirmed(x);
    } else if (!x->is_written && x->write_err != OK) {
        steps->refused(x);
    } else if (!waiting_for_replicas(x)) {
        steps->done(x);
    }
}
