/* Answers: the envelope around them, their headers, and what each error of the
 * store means to a client. */
#include "envelope.h"
#include "exchange.h"

#include <stdarg.h>
#include <stdio.h>

enum { MIB = 1 << 20 };

static void count_status(struct http *http, unsigned status)
{
    count(http, status < 400 ? COUNT_2XX : status < 500 ? COUNT_4XX : COUNT_5XX);
}

static bool add(struct MHD_Response *response, const char *name, const char *value)
{
    return !value[0] || MHD_add_response_header(response, name, value);
}

/* Of what is about a key's value. */
static bool add_value_headers(const struct answer_head *head, struct MHD_Response *response)
{
    /* A page that someone has stored here must not call this node as if it were a part
     * of it: no guessing of types, and for what runs an origin of its own. */
    return add(response, MHD_HTTP_HEADER_ETAG, head->etag) &&
           add(response, "X-Yzma-Type", head->value_type) && add(response, "X-Yzma-Size", head->value_size) &&
           add(response, "X-Yzma-Expires", head->expires) &&
           add(response, MHD_HTTP_HEADER_VARY, head->varies ? "Accept" : "") &&
           add(response, "X-Content-Type-Options", head->is_raw ? "nosniff" : "") &&
           add(response, "Content-Security-Policy", head->is_raw ? "sandbox" : "");
}

static bool add_headers(struct exchange *x, struct MHD_Response *response)
{
    const char *type = x->head.body_type[0] ? x->head.body_type : "application/json";
    /* A cache takes over what a 304 says of the form that it has (RFC 9111, 4.3.4). */
    bool ok = add(response, MHD_HTTP_HEADER_CONTENT_TYPE, x->status == MHD_HTTP_NOT_MODIFIED ? "" : type);
    ok = ok && add_value_headers(&x->head, response);
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

void answer_response(struct exchange *x, unsigned status, struct MHD_Response *response)
{
    x->status = status;
    x->outcome = MHD_NO;
    if (!response)
        return;
    if (add_headers(x, response))
        x->outcome = MHD_queue_response(x->connection, status, response);
    MHD_destroy_response(response);
    count_status(x->http, status);
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
        x->head.body_type[0] = '\0';
    }
    /* Persistent: the exchange outlives the sending. */
    answer_response(x, status, MHD_create_response_from_buffer(length, body, MHD_RESPMEM_PERSISTENT));
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
    case ERR_NOT_FOUND:
        answer_error(x, MHD_HTTP_NOT_FOUND, "no such key: %.*s", (int)x->target.name_length,
                     (const char *)target_name(&x->target).data);
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

void answer_token_after(struct exchange *x, struct token *token)
{
    if (x->has_token)
        clock_join(&token->after, &x->token.after);
    answer_token(x, token);
}
