/* DELETE /keys?prefix=: the living keys with this beginning, a transaction of them at a
 * time, in byte order. Of a key that is written to meanwhile, all that there is when
 * its turn comes is deleted. What is done stays done when it ends early. */
#include "exchange.h"

#include <stdio.h>

static const char lacks[] = "this node is catching up and lacks keys of this range";

static bool clear_wants(void *ctx)
{
    const struct store_work *work = ctx;
    return work->batch.count < CLEAR_KEYS;
}

static void clear_key(void *ctx, struct bytes key, const struct version *surfaced, size_t living)
{
    struct store_work *work = ctx;
    struct buf *text = &work->batch.text; /* has room for all: nothing moves */
    size_t at = text->len;
    buf_put_bytes(text, key);
    struct write_work *write = store_work_add_write(work);
    write->remove = true;
    write->key = bytes_of(text->data + at, key.len);
}

enum err clear_collect(struct exchange *x)
{
    x->asked = false;
    if (x->timed_out)
        return ERR_TIMEOUT;
    if (x->write_err != OK)
        return x->write_err;
    x->listed += x->batch_deleted;
    if (x->write_dot.counter)
        x->cleared = x->write_dot;
    return OK;
}

void answer_cleared(struct exchange *x, enum err err, const char *lacking)
{
    char text[40];
    snprintf(text, sizeof text, "{\"Deleted\":%llu}", (unsigned long long)x->listed);
    if (x->cleared.counter) {
        struct token *token = &x->worker->reading.token;
        token_of_write(token, bytes_of(NULL, 0), &x->cleared);
        answer_token_after(x, token);
    }
    if (err == OK)
        answer_ok(x, bytes_str(text));
    else
        answer_error_data(x, MHD_HTTP_SERVICE_UNAVAILABLE,
                          bytes_str(err == ERR_WALKING ? lacking
                                    : err == ERR_TIMEOUT
                                        ? "a part is not confirmed to be on disk; it may still get there"
                                        : err_text(err)),
                          bytes_str(text));
}

/* A slice that found nothing is followed by the next one at the library's next round. */
static void clear_slice(struct exchange *x)
{
    struct store_work *work = store_work_new(WORK_BATCH);
    buf_init(&work->batch.text, CLEAR_KEYS * KEY_MAX);
    buf_reserve(&work->batch.text, CLEAR_KEYS * KEY_MAX);
    x->listing->sink = (struct listing_sink){.wants = clear_wants, .key = clear_key, .ctx = work};
    enum err err = work->batch.text.err;
    if (err == OK)
        err = list_read(x, SLICE_SCAN_MAX);
    if (err == OK && work->batch.count > 0) {
        submit_work(x, work);
        return;
    }
    store_work_free(work);
    if (err != OK || x->listing->done)
        answer_cleared(x, err, lacks);
}

void keys_clear(struct exchange *x)
{
    if (waiting_for_clock(x))
        return;
    if (!x->listing)
        list_begin(x);
    if (x->asked) {
        enum err err = clear_collect(x);
        if (err != OK || x->listing->done) {
            answer_cleared(x, err, lacks);
            return;
        }
    }
    clear_slice(x);
}
