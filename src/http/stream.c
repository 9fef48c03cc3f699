/* Answers of any length, as lines of JSON: keys, or the records of another space, read in
 * slices as the client takes them. Between two slices nothing is held, and the worker
 * serves others. */
#include "exchange.h"
#include "spaces.h"

#include <stdio.h>

static const char stream_lacks[] = "this node is catching up and lacks keys of this range";

bool stream_wants(void *ctx)
{
    const struct exchange *x = ctx;
    return x->answer.len < STREAM_BYTES;
}

/* Where there are both, the keys come first. */
static bool lists(const struct exchange *x)
{
    return x->listing && !x->listing->done;
}

static enum err read_slice(struct exchange *x)
{
    enum err err = lists(x) || !x->spaces ? list_read(x, SLICE_SCAN_MAX)
                                          : spaces_read_slice(x, &x->spaces->sink);
    return err == OK ? x->answer.err : err;
}

static bool is_done(const struct exchange *x)
{
    return !lists(x) && (!x->spaces || x->spaces->done);
}

/* The last line of a stream that does not go on says why; after it the connection ends
 * in the middle of the body, so that nobody takes it for the whole. */
static void break_off(struct exchange *x, const char *why)
{
    count(x->http, COUNT_STREAMS_BROKEN);
    buf_reset(&x->answer);
    struct json_out json = json_out_to(&x->answer);
    json_object(&json);
    json_field_text(&json, "Error", why);
    json_object_end(&json);
    buf_put_u8(&x->answer, '\n');
    x->stream_broken = true;
}

static void next_lines(struct exchange *x)
{
    x->streamed = 0;
    buf_reset(&x->answer);
    if (atomic_load(&x->http->quiesced)) {
        break_off(x, err_text(ERR_CLOSED));
        return;
    }
    enum err err = read_slice(x);
    if (err != OK)
        break_off(x, err == ERR_WALKING ? stream_lacks : err_text(err));
}

/* The library has room for `room` bytes more. 0: asks again in its next round. */
static ssize_t read_stream(void *cls, uint64_t at, char *out, size_t room)
{
    struct exchange *x = cls;
    if (x->streamed == x->answer.len) {
        if (x->stream_broken) {
            x->worker->again = true; /* the library closes the connection in its next run, unasked */
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        if (is_done(x))
            return MHD_CONTENT_READER_END_OF_STREAM;
        next_lines(x);
    }
    size_t n = x->answer.len - x->streamed < room ? x->answer.len - x->streamed : room;
    if (n)
        memcpy(out, x->answer.data + x->streamed, n);
    x->streamed += n;
    /* Each piece is given the time of a whole answer: who takes nothing is cut off. */
    watch_until(x->watch, deadlines_now_ms() + x->http->options.request_timeout_ms, false);
    return (ssize_t)n;
}

/* The first slice decides whether there is a stream at all. */
static void answer_lines(struct exchange *x)
{
    enum err err = read_slice(x);
    if (err == ERR_WALKING) {
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "%s", stream_lacks);
        return;
    }
    if (err != OK) {
        answer_store_error(x, err);
        return;
    }
    /* To HEAD the library (0.9.75) sends the end of a chunked body: nothing must follow. */
    x->close = x->verb == VERB_HEAD;
    snprintf(x->head.body_type, sizeof x->head.body_type, "application/x-ndjson");
    answer_response(x, MHD_HTTP_OK,
                    MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BYTES, read_stream, x, NULL));
    watch_until(x->watch, deadlines_now_ms() + x->http->options.request_timeout_ms, false);
}

void answer_stream(struct exchange *x, const struct listing_sink *keys, const struct spaces_sink *others)
{
    if (keys)
        list_begin(x)->sink = *keys;
    if (others)
        x->spaces->sink = *others;
    answer_lines(x);
}
