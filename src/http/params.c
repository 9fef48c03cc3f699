#include "params.h"

#include "target.h"
#include "units.h"
#include "utf8.h"

void params_init(struct params *params)
{
    params->wait_ms = WAIT_DEFAULT_MS;
    params->siblings = params->add = params->values = params->list = false;
    params->has_after = params->has_row = params->has_through = false;
    params->through_length = 0;
    params->row = (struct dot){0};
    params->limit = LIST_LIMIT_DEFAULT;
    params->prefix_length = params->after_length = 0;
}

/* The longest value, a key; names are shorter. */
struct text {
    uint8_t data[KEY_MAX];
    size_t length;
};

static struct bytes text_bytes(const struct text *text)
{
    return bytes_of(text->data, text->length);
}

static bool text_is(const struct text *text, const char *word)
{
    return bytes_equal(text_bytes(text), bytes_str(word));
}

static bool read_bool(const struct text *value, bool *ret)
{
    *ret = text_is(value, "true");
    return *ret || text_is(value, "false");
}

static bool read_mode(const struct text *value, bool *ret_add)
{
    *ret_add = text_is(value, "add");
    return *ret_add || text_is(value, "replace");
}

static bool read_limit(const struct text *value, unsigned *ret)
{
    uint64_t number;
    if (number_parse(text_bytes(value), &number) != OK || number < 1 || number > LIST_LIMIT_MAX)
        return false;
    *ret = (unsigned)number;
    return true;
}

static bool read_key(const struct text *value, uint8_t *out, size_t *ret_length)
{
    if (value->length && memchr(value->data, '\0', value->length))
        return false;
    if (utf8_valid_until(text_bytes(value)) < value->length)
        return false;
    memcpy(out, value->data, value->length);
    *ret_length = value->length;
    return true;
}

static bool read_wait(const struct text *value, uint64_t max_ms, uint64_t *ret)
{
    uint64_t ms;
    if (duration_parse(text_bytes(value), &ms) != OK || ms > max_ms)
        return false;
    *ret = ms;
    return true;
}

/* A replica id and a counter, big-endian. */
static bool read_dot(const struct text *value, struct dot *ret)
{
    uint8_t bytes[REPLICA_ID_SIZE + 8] = {0};
    if (value->length != 2 * sizeof bytes)
        return false;
    for (size_t i = 0; i < value->length; i++) {
        uint8_t c = value->data[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | digit);
    }
    struct cursor in = cursor_of(bytes_of(bytes, sizeof bytes));
    ret->replica = replica_id_decode(&in);
    ret->counter = cursor_u64(&in);
    return true;
}

static bool read_value(struct params *p, unsigned param, const struct text *value, uint64_t wait_max_ms)
{
    switch (param) {
    case PARAM_WAIT:
        return read_wait(value, wait_max_ms, &p->wait_ms);
    case PARAM_SIBLINGS:
        return read_bool(value, &p->siblings);
    case PARAM_MODE:
        return read_mode(value, &p->add);
    case PARAM_PREFIX:
        return read_key(value, p->prefix, &p->prefix_length);
    case PARAM_ROW:
        p->has_row = true;
        return read_dot(value, &p->row);
    case PARAM_THROUGH:
        p->has_through = true;
        return read_key(value, p->through, &p->through_length);
    case PARAM_LIST:
        return read_bool(value, &p->list);
    case PARAM_AFTER:
        p->has_after = true;
        return read_key(value, p->after, &p->after_length);
    case PARAM_LIMIT:
        return read_limit(value, &p->limit);
    default:
        return read_bool(value, &p->values);
    }
}

static const struct {
    const char *name;
    unsigned param;
    const char *range;
} known[] = {
    {"wait", PARAM_WAIT, "a duration like 500ms, at most API.RequestTimeout"},
    {"siblings", PARAM_SIBLINGS, "true or false"},
    {"mode", PARAM_MODE, "add or replace"},
    {"prefix", PARAM_PREFIX, "at most 480 bytes of UTF-8 without NUL"},
    {"after", PARAM_AFTER, "at most 480 bytes of UTF-8 without NUL"},
    {"limit", PARAM_LIMIT, "1 to 10000"},
    {"values", PARAM_VALUES, "true or false"},
    {"row", PARAM_ROW, "48 hexadecimal digits"},
    {"through", PARAM_THROUGH, "at most 480 bytes of UTF-8 without NUL"},
    {"list", PARAM_LIST, "true or false"},
};

static enum err refuse(struct buf *why, struct bytes raw_name, const char *problem)
{
    buf_put_text(why, "query parameter \"");
    buf_put_bytes(why, raw_name);
    buf_put_text(why, "\" ");
    buf_put_text(why, problem);
    return ERR_MALFORMED;
}

static enum err parse_one(struct bytes name, struct bytes value, unsigned allowed, unsigned *seen,
                          uint64_t wait_max_ms, struct params *params, struct buf *why)
{
    struct text text;
    if (percent_decode(name, true, text.data, sizeof text.data, &text.length) != OK)
        return refuse(why, name, "is unknown");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!(known[i].param & allowed) || !text_is(&text, known[i].name))
            continue;
        if (*seen & known[i].param)
            return refuse(why, name, "is repeated");
        *seen |= known[i].param;
        if (percent_decode(value, true, text.data, sizeof text.data, &text.length) == OK &&
            read_value(params, known[i].param, &text, wait_max_ms))
            return OK;
        refuse(why, name, "must be ");
        buf_put_text(why, known[i].range);
        return ERR_MALFORMED;
    }
    return refuse(why, name, "is unknown");
}

enum err params_parse(struct bytes query, unsigned allowed, uint64_t wait_max_ms, struct params *params,
                      struct buf *why)
{
    unsigned seen = 0;
    size_t at = 0;
    while (at < query.len) {
        const uint8_t *from = query.data + at;
        const uint8_t *end = memchr(from, '&', query.len - at);
        size_t length = end ? (size_t)(end - from) : query.len - at;
        at += length + 1;
        if (length == 0)
            continue; /* "a=1&&b=2", as forms are read everywhere */
        const uint8_t *equals = memchr(from, '=', length);
        size_t name_length = equals ? (size_t)(equals - from) : length;
        struct bytes value = bytes_of(equals ? equals + 1 : from + length,
                                      equals ? length - name_length - 1 : 0);
        enum err err = parse_one(bytes_of(from, name_length), value, allowed, &seen, wait_max_ms, params,
                                 why);
        if (err != OK)
            return err;
    }
    return OK;
}
