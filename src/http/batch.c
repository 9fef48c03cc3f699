/* POST /batch: read here, judged and written by the committer in one transaction. */
#include "batch_read.h"
#include "exchange.h"

#include <stdio.h>

enum { WHY_MAX = 400 };

static bool adds(void *ctx, unsigned mode, const struct condition *condition)
{
    return put_adds(ctx, (enum mode)mode, condition, false);
}

static void begin(struct exchange *x)
{
    struct batch_limits limits = {.wall_ms = x->http->backend.wall_ms(x->http->backend.ctx),
                                  .value_max = x->http->options.value_max,
                                  .adds = adds,
                                  .ctx = x};
    struct store_work *work = store_work_new(WORK_BATCH);
    struct buf why;
    buf_init(&why, WHY_MAX);
    enum err err = batch_read(buf_bytes(&x->body), &limits, work, &why);
    if (err == OK) {
        submit_work(x, work);
    } else {
        store_work_free(work);
        unsigned status = err == ERR_TOO_LARGE ? MHD_HTTP_CONTENT_TOO_LARGE
                          : err == ERR_NOMEM   ? MHD_HTTP_SERVICE_UNAVAILABLE
                                               : MHD_HTTP_BAD_REQUEST;
        answer_error_data(x, status, err == ERR_NOMEM ? bytes_str(err_text(err)) : buf_bytes(&why),
                          bytes_of(NULL, 0));
    }
    buf_done(&why);
}

/* 409 with the operation that was refused; what fails for a reason of the store's own
 * has the status that it has for a single write. */
static void answer_refused(struct exchange *x)
{
    if (x->write_err != ERR_UNMET && x->write_err != ERR_CONFLICT) {
        answer_store_error(x, x->write_err);
        return;
    }
    char etag[ETAG_TEXT_MAX], index[80];
    if (x->write_err == ERR_UNMET)
        count(x->http, COUNT_CONDITIONS_UNMET);
    struct buf data;
    buf_init(&data, SIZE_MAX);
    struct json_out j = json_out_to(&data);
    json_object(&j);
    json_field_number(&j, "Index", x->batch_failed);
    json_field_text(&j, "Key", x->failed_key ? x->failed_key : "");
    json_field_text(&j, "ETag", x->write_tag ? etag_text(x->write_tag, ETAG_JSON, etag) : "");
    json_object_end(&j);
    snprintf(index, sizeof index, "operation %zu: %s", x->batch_failed,
             x->write_err == ERR_UNMET ? "IfMatch or IfNoneMatch does not hold"
                                       : "too many concurrent versions (Server.MaxVersions)");
    answer_error_data(x, MHD_HTTP_CONFLICT, bytes_str(index), buf_bytes(&data));
    buf_done(&data);
}

/* The token is of no key: good for reads of any, on any node. */
static void answer_done(struct exchange *x)
{
    struct token *token = &x->worker->reading.token;
    token_of_write(token, bytes_of(NULL, 0), &x->write_dot);
    answer_token_after(x, token);
    char text[80];
    snprintf(text, sizeof text, "{\"Operations\":%zu,\"Deleted\":%zu}", x->batch_failed, x->batch_deleted);
    answer_with_replicas(x, bytes_str(text));
}

void batch_post(struct exchange *x)
{
    write_run(x, &(struct write_steps){begin, answer_refused, answer_done});
}
