/* DELETE /keys?prefix=: the living keys with this beginning, a transaction of them at a
 * time, in byte order. Of a key that is written to meanwhile, all that there is when
 * its turn comes is deleted. What is done stays done when it ends early. */
#include "exchange.h"

#include <stdio.h>

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

static void answer_cleared(struct exchange *x, enum err err)
{
    char text[40];
    snprintf(text, sizeof text, "{\"Deleted\":%llu}", (unsigned long long)x->listed);
    if (err == OK)
        answer_ok(x, bytes_str(text));
    else
        answer_error_data(
            x, MHD_HTTP_SERVICE_UNAVAILABLE,
            bytes_str(err == ERR_WALKING   ? "this node is catching up and lacks keys of this range"
                      : err == ERR_TIMEOUT ? "a part is not confirmed to be on disk; it may still get there"
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
        answer_cleared(x, err);
}

void keys_clear(struct exchange *x)
{
    if (waiting_for_clock(x))
        return;
    if (!x->listing)
        list_begin(x);
    if (x->asked) {
        x->asked = false;
        enum err err = x->timed_out ? ERR_TIMEOUT : x->write_err;
        x->listed += err == OK ? x->batch_deleted : 0;
        if (err != OK || x->listing->done) {
            answer_cleared(x, err);
            return;
        }
    }
    clear_slice(x);
}
