#include "json_valid.h"

#include "utf8.h"

#include <stdio.h>
#include <yajl/yajl_parse.h>

static int enter(void *ctx)
{
    unsigned *depth = ctx;
    return ++*depth <= JSON_DEPTH_MAX;
}

static int leave(void *ctx)
{
    unsigned *depth = ctx;
    --*depth;
    return 1;
}

static const yajl_callbacks count_depth = {
    .yajl_start_map = enter, .yajl_end_map = leave, .yajl_start_array = enter, .yajl_end_array = leave};

static enum err fail(struct json_error *ret, size_t offset, const char *reason)
{
    ret->offset = offset;
    snprintf(ret->reason, sizeof ret->reason, "%s", reason);
    return ERR_MALFORMED;
}

/* yajl's own words, "lexical error: invalid char in json text.\n", trimmed. */
static enum err fail_in_yajl(struct json_error *ret, size_t offset, yajl_handle parser)
{
    unsigned char *text = yajl_get_error(parser, 0, NULL, 0);
    if (!text)
        return ERR_NOMEM;
    char *end = strpbrk((char *)text, ".\n");
    if (end)
        *end = '\0';
    fail(ret, offset, (char *)text);
    yajl_free_error(parser, text);
    return ERR_MALFORMED;
}

static enum err check_grammar(struct bytes text, struct json_error *ret)
{
    unsigned depth = 0;
    yajl_handle parser = yajl_alloc(&count_depth, NULL, &depth);
    if (!parser)
        return ERR_NOMEM;
    yajl_config(parser, yajl_dont_validate_strings, 1); /* done before, and strictly */
    enum err err = OK;
    yajl_status status = yajl_parse(parser, text.data, text.len);
    size_t read = yajl_get_bytes_consumed(parser);
    if (status == yajl_status_client_canceled) {
        err = fail(ret, read - 1, "nested deeper than 512");
    } else if (status == yajl_status_error) {
        err = fail_in_yajl(ret, read > 0 ? read - 1 : 0, parser);
    } else if (yajl_parse(parser, (const unsigned char *)"\n", 1) != yajl_status_ok ||
               yajl_complete_parse(parser) != yajl_status_ok) {
        /* The line end breaks off a token that has no end: after a whole value
         * yajl would let one pass ([] "a). */
        err = fail_in_yajl(ret, text.len, parser);
        if (err == ERR_MALFORMED && strcmp(ret->reason, "parse error: trailing garbage") != 0)
            err = fail(ret, text.len, "ends early");
    }
    yajl_free(parser);
    return err;
}

enum err json_valid(struct bytes text, struct json_error *ret_error)
{
    if (text.len == 0)
        return fail(ret_error, 0, "empty");
    size_t valid = utf8_valid_until(text);
    if (valid < text.len)
        return fail(ret_error, valid, "not UTF-8");
    if (bytes_starts_with(text, bytes_str("\xef\xbb\xbf")))
        return fail(ret_error, 0, "starts with a byte order mark");
    /* Raw, neither is allowed anywhere, and yajl takes both for white space. */
    const uint8_t *bad = memchr(text.data, '\v', text.len);
    if (!bad)
        bad = memchr(text.data, '\f', text.len);
    if (bad)
        return fail(ret_error, (size_t)(bad - text.data), "control character");
    return check_grammar(text, ret_error);
}
