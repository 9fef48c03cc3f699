/* POST, PUT and DELETE /keys/{key}: the connection is parked, the committer does
 * the work, and the answer leaves once it is durable. */
#include "check.h"
#include "envelope.h"
#include "exchange.h"
#include "json_out.h"
#include "notice.h"

struct write_result {
    enum err err;
    struct dot dot;
};

static void take_result(struct exchange *x, void *result)
{
    const struct write_result *r = result;
    x->write_err = r->err;
    x->write_dot = r->dot;
}

/* Once a key, so far as the store remembers; the others are counted. */
static void tell_conflict(struct exchange *x)
{
    const struct http_backend *backend = &x->http->backend;
    struct buf line;
    if (!backend->log)
        return;
    buf_init(&line, NOTICE_LINE_MAX);
    buf_put_text(&line, "event=too_many_versions key=");
    notice_value(&line, target_key(&x->target));
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
    struct write_result result = {.err = work->err, .dot = work->write.dot};
    bool last = !work->more;
    if (work->err == ERR_CONFLICT && work->write.first_refusal)
        tell_conflict(x);
    store_work_free(work);
    parking_resume(x, take_result, &result); /* too late when it was given up on */
    if (last)
        workers_wake(x->http);
    exchange_unref(x);
}

static void submit(struct exchange *x)
{
    const struct http_backend *backend = &x->http->backend;
    if (!parking_park(x, PARKED_FOR_WRITE, deadlines_now_ms() + x->http->options.request_timeout_ms)) {
        answer_store_error(x, ERR_CLOSED);
        return;
    }
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write.key = target_key(&x->target);
    work->write.value = buf_bytes(&x->body);
    work->write.remove = x->verb == VERB_DELETE;
    work->write.add = x->params.add;
    work->write.token = x->has_token ? &x->token : NULL;
    work->done = write_done;
    work->ctx = x;
    x->asked = true;
    atomic_fetch_add(&x->refs, 1);
    enum err err = backend->submit(backend->ctx, work);
    if (err == OK)
        return;
    work->err = err;
    write_done(work);
}

/* "added foo": words as the predecessor used them. */
static void answer_done(struct exchange *x, const char *word)
{
    struct bytes key = target_key(&x->target);
    struct token *token = &x->worker->reading.token;
    token_of_write(token, key, &x->write_dot);
    answer_token(x, token);

    char text[16 + KEY_MAX];
    size_t length = strlen(word);
    CHECK(length + key.len <= sizeof text);
    memcpy(text, word, length);
    memcpy(text + length, key.data, key.len);
    envelope_open(&x->answer);
    struct json_out j = json_out_to(&x->answer);
    json_string(&j, bytes_of(text, length + key.len));
    envelope_close(&x->answer);
    answer_written(x, MHD_HTTP_OK);
}

static void write_key(struct exchange *x, const char *word)
{
    if (waiting_for_clock(x))
        return;
    if (!x->asked) {
        submit(x);
    } else if (x->timed_out) {
        count(x->http, COUNT_WRITES_UNCONFIRMED);
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE,
                     "the write is not confirmed to be on disk; it may still get there");
    } else if (x->write_err != OK) {
        answer_store_error(x, x->write_err);
    } else {
        answer_done(x, word);
    }
}

void keys_put(struct exchange *x)
{
    write_key(x, "added ");
}

void keys_delete(struct exchange *x)
{
    write_key(x, "deleted ");
}
