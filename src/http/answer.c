/* Answers: the envelope around them, their headers, and what each error of the
 * store means to a client. */
#include "envelope.h"
#include "exchange.h"

#include <stdarg.h>
#include <stdio.h>

enum { MIB = 1 << 20 };

static void count_status(struct http *http, unsigned status)
{
    count(http, status < 300 ? COUNT_2XX : status < 500 ? COUNT_4XX : COUNT_5XX);
}

static bool add_headers(struct exchange *x, struct MHD_Response *response)
{
    bool ok = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                      x->is_binary && x->status == MHD_HTTP_OK ? "application/octet-stream"
                                                                               : "application/json");
    if (x->token_out.len)
        ok = ok && MHD_add_response_header(response, "X-Yzma-Context", (const char *)x->token_out.data);
    if (x->allow && x->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, x->allow);
    if (x->status == MHD_HTTP_SERVICE_UNAVAILABLE)
        ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (x->close || atomic_load_explicit(&x->http->quiesced, memory_order_relaxed))
        ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return ok;
}

void answer_written(struct exchange *x, unsigned status)
{
    static char no_memory[] = "{\"Status\":\"error\",\"Error\":\"out of memory\",\"Data\":null}";
    char *body = (char *)x->answer.data;
    size_t length = x->answer.len;
    if (x->answer.err != OK) {
        status = MHD_HTTP_SERVICE_UNAVAILABLE;
        body = no_memory;
        length = sizeof no_memory - 1;
    }
    /* Persistent: the exchange outlives the sending. */
    struct MHD_Response *response = MHD_create_response_from_buffer(length, body, MHD_RESPMEM_PERSISTENT);
    x->status = status;
    x->outcome = MHD_NO;
    if (!response)
        return;
    if (add_headers(x, response))
        x->outcome = MHD_queue_response(x->connection, status, response);
    MHD_destroy_response(response);
    count_status(x->http, status);
    watch_until(x->watch,
                deadlines_now_ms() + x->http->options.request_timeout_ms + (uint64_t)(length / MIB) * 1000,
                false);
}

void answer_ok(struct exchange *x, struct bytes data)
{
    buf_reset(&x->answer);
    buf_reserve(&x->answer, envelope_overhead() + (data.len ? data.len : 4));
    envelope_ok(&x->answer, data);
    answer_written(x, MHD_HTTP_OK);
}

void answer_error_data(struct exchange *x, unsigned status, struct bytes error, struct bytes data)
{
    buf_reset(&x->answer);
    envelope_error(&x->answer, error, data);
    answer_written(x, status);
}

void answer_error(struct exchange *x, unsigned status, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    answer_error_data(x, status, bytes_str(text), bytes_of(NULL, 0));
}

void answer_store_error(struct exchange *x, enum err err)
{
    switch (err) {
    case ERR_WRONGKEY:
        answer_error(x, MHD_HTTP_BAD_REQUEST, "X-Yzma-Context belongs to another key");
        return;
    case ERR_CONFLICT:
        answer_error(x, MHD_HTTP_CONFLICT,
                     "the key holds as many concurrent versions as it may "
                     "(Server.MaxVersions): write with their X-Yzma-Context");
        return;
    case ERR_TOO_LARGE:
        answer_error(x, MHD_HTTP_CONTENT_TOO_LARGE, "too large for the store");
        return;
    case ERR_DAMAGED:
    case ERR_CHECKSUM:
    case ERR_MALFORMED:
    case ERR_TRUNCATED:
    case ERR_VERSION:
        count(x->http, COUNT_DAMAGED_READS);
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "the stored record cannot be read: %s", err_text(err));
        return;
    case ERR_WALKING:
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE,
                     "this node is catching up and has not reached this key yet");
        return;
    case ERR_CLOSED:
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "this node is shutting down");
        return;
    default:
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "%s", err_text(err));
        return;
    }
}

void answer_token(struct exchange *x, const struct token *token)
{
    buf_reset(&x->token_out);
    token_encode(token, &x->token_out);
    buf_put_u8(&x->token_out, '\0');
    if (x->token_out.err == OK)
        return;
    buf_done(&x->token_out);
    count(x->http, COUNT_TOKENS_LEFT_OUT);
}
