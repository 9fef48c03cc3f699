#include "params.h"

#include "target.h"
#include "units.h"
#include "utf8.h"

void params_init(struct params *params)
{
    params->given = 0;
    params->wait_ms = WAIT_DEFAULT_MS;
    params->ttl_ms = params->expires_ms = 0;
    params->siblings = params->values = params->raw = params->touch = params->reverse = params->count = false;
    params->list = params->exact = params->all = params->contexts = false;
    params->row = (struct dot){0};
    params->mode = MODE_OF_CONFLICT;
    params->limit = LIST_LIMIT_DEFAULT;
    params->w = 0;
    params->space = params->from = SPACE_KEYS;
    params->prefix.length = params->after.length = params->end.length = params->delimiter.length = 0;
    params->through.length = 0;
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

static bool read_mode(const struct text *value, enum mode *ret)
{
    *ret = text_is(value, "add") ? MODE_ADD : MODE_REPLACE;
    return *ret == MODE_ADD || text_is(value, "replace");
}

static bool read_number(const struct text *value, unsigned min, unsigned max, unsigned *ret)
{
    uint64_t number;
    if (number_parse(text_bytes(value), &number) != OK || number < min || number > max)
        return false;
    *ret = (unsigned)number;
    return true;
}

static bool read_w(const struct text *value, unsigned *ret)
{
    *ret = text_is(value, "all") ? W_ALL : W_MAJORITY;
    return *ret == W_ALL || text_is(value, "majority") || read_number(value, 1, W_MAX, ret);
}

static bool read_space(const struct text *value, enum space *ret)
{
    *ret = text_is(value, "counters") ? SPACE_COUNTERS : text_is(value, "sets") ? SPACE_SETS : SPACE_KEYS;
    return *ret != SPACE_KEYS || text_is(value, "keys");
}

static bool read_key(const struct text *value, struct param_key *ret)
{
    if (value->length && memchr(value->data, '\0', value->length))
        return false;
    if (utf8_valid_until(text_bytes(value)) < value->length)
        return false;
    memcpy(ret->data, value->data, value->length);
    ret->length = value->length;
    return true;
}

/* A key of any space, where tools ask for it. */
static bool read_place(const struct text *value, bool any_bytes, struct param_key *ret)
{
    if (!any_bytes)
        return read_key(value, ret);
    memcpy(ret->data, value->data, value->length);
    ret->length = value->length;
    return true;
}

static bool read_duration(const struct text *value, uint64_t min_ms, uint64_t max_ms, uint64_t *ret)
{
    uint64_t ms;
    if (duration_parse(text_bytes(value), &ms) != OK || ms < min_ms || ms > max_ms)
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

static bool read_value(struct params *p, unsigned param, const struct text *value, unsigned allowed,
                       uint64_t wait_max_ms)
{
    switch (param) {
    case PARAM_WAIT:
        return read_duration(value, 0, wait_max_ms, &p->wait_ms);
    case PARAM_SIBLINGS:
        return read_bool(value, &p->siblings);
    case PARAM_MODE:
        return read_mode(value, &p->mode);
    case PARAM_PREFIX:
        return read_key(value, &p->prefix);
    case PARAM_AFTER:
        return read_place(value, allowed & PARAM_BYTES, &p->after);
    case PARAM_ROW:
        return read_dot(value, &p->row);
    case PARAM_THROUGH:
        return read_place(value, allowed & PARAM_BYTES, &p->through);
    case PARAM_LIST:
        return read_bool(value, &p->list);
    case PARAM_LIMIT:
        return read_number(value, allowed & PARAM_ALL ? 0 : 1, LIST_LIMIT_MAX, &p->limit);
    case PARAM_RAW:
        return read_bool(value, &p->raw);
    case PARAM_TTL:
        return read_duration(value, 1, TTL_MAX_MS, &p->ttl_ms);
    case PARAM_EXPIRES:
        return instant_parse(text_bytes(value), &p->expires_ms) == OK && p->expires_ms > 0;
    case PARAM_POLL:
        return read_duration(value, 1, POLL_MAX_MS, &p->poll_ms);
    case PARAM_TOUCH:
        return read_bool(value, &p->touch);
    case PARAM_W:
        return read_w(value, &p->w);
    case PARAM_REVERSE:
        return read_bool(value, &p->reverse);
    case PARAM_END:
        return read_key(value, &p->end) && p->end.length > 0;
    case PARAM_CONTEXTS:
        return read_bool(value, &p->contexts);
    case PARAM_COUNT:
        return read_bool(value, &p->count);
    case PARAM_SPACE:
        p->all = text_is(value, "all");
        return p->all || read_space(value, &p->space);
    case PARAM_FROM:
        return read_space(value, &p->from);
    case PARAM_KEY:
        p->exact = true;
        return read_key(value, &p->prefix) && p->prefix.length > 0;
    case PARAM_DELIMITER:
        return read_key(value, &p->delimiter) && p->delimiter.length > 0;
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
    {"limit", PARAM_LIMIT, "1 to 10000"}, /* or 0, where that is allowed */
    {"values", PARAM_VALUES, "true or false"},
    {"row", PARAM_ROW, "48 hexadecimal digits"},
    {"through", PARAM_THROUGH, "at most 480 bytes of UTF-8 without NUL"},
    {"list", PARAM_LIST, "true or false"},
    {"raw", PARAM_RAW, "true or false"},
    {"ttl", PARAM_TTL, "a duration like 90s, from 1ms to 36525d"},
    {"expires", PARAM_EXPIRES, "a moment like 2030-01-31T12:00:00Z (RFC 3339)"},
    {"touch", PARAM_TOUCH, "true or false"},
    {"since", PARAM_SINCE, "a cursor"},
    {"member", PARAM_MEMBER, "an element, as JSON"},
    {"poll", PARAM_POLL, "a duration like 30s, from 1ms to 10m"},
    {"w", PARAM_W, "1 to 1024, majority or all"},
    {"reverse", PARAM_REVERSE, "true or false"},
    {"end", PARAM_END, "1 to 480 bytes of UTF-8 without NUL"},
    {"count", PARAM_COUNT, "true or false"},
    {"contexts", PARAM_CONTEXTS, "true or false"},
    {"delimiter", PARAM_DELIMITER, "1 to 480 bytes of UTF-8 without NUL"},
    {"space", PARAM_SPACE, "keys, counters, sets or all"},
    {"from", PARAM_FROM, "keys, counters or sets"},
    {"key", PARAM_KEY, "1 to 480 bytes of UTF-8 without NUL"},
};

static enum err refuse(struct buf *why, struct bytes raw_name, const char *problem)
{
    buf_put_text(why, "query parameter \"");
    buf_put_bytes(why, raw_name);
    buf_put_text(why, "\" ");
    buf_put_text(why, problem);
    return ERR_MALFORMED;
}

static enum err parse_one(struct bytes name, struct bytes value, unsigned allowed, uint64_t wait_max_ms,
                          struct params *params, struct buf *why)
{
    struct text text;
    if (percent_decode(name, true, text.data, sizeof text.data, &text.length) != OK)
        return refuse(why, name, "is unknown");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!(known[i].param & allowed) || !text_is(&text, known[i].name))
            continue;
        if (params->given & known[i].param)
            return refuse(why, name, "is repeated");
        params->given |= known[i].param;
        if (known[i].param == PARAM_SINCE || known[i].param == PARAM_MEMBER) {
            *(known[i].param == PARAM_SINCE ? &params->since : &params->member) = value;
            return OK;
        }
        if (percent_decode(value, true, text.data, sizeof text.data, &text.length) == OK &&
            read_value(params, known[i].param, &text, allowed, wait_max_ms))
            return OK;
        refuse(why, name, "must be ");
        buf_put_text(why, known[i].range);
        if (known[i].param == PARAM_LIMIT && allowed & PARAM_ALL)
            buf_put_text(why, ", or 0 for all");
        return ERR_MALFORMED;
    }
    return refuse(why, name, "is unknown");
}

/* Pairs of which only one can be meant: a name, and the one that stands against it. */
static enum err check_against(const struct params *p, unsigned allowed, struct buf *why)
{
    bool lists = p->count, names = p->space != SPACE_KEYS, member = p->given & PARAM_MEMBER;
    bool goes_on = allowed & PARAM_SPACE; /* member says where, behind after */
    enum space begin = p->all ? p->from : p->space;
    static const char too_long[] = "must be at most 460 bytes, as a name is";
    static const char of_one[] = "contradicts \"space=all\"";
    const struct {
        bool wrong;
        const char *name, *problem;
    } rules[] = {
        {p->ttl_ms && p->expires_ms, "expires", "contradicts \"ttl\""},
        {p->touch && !p->ttl_ms && !p->expires_ms, "touch", "needs \"ttl\" or \"expires\""},
        {p->touch && p->mode != MODE_OF_CONFLICT, "mode", "contradicts \"touch\""},
        {p->raw && p->siblings, "raw", "contradicts \"siblings\""},
        {names && p->siblings, "siblings", "contradicts \"space\": only keys have them"},
        {names && p->contexts, "contexts", "contradicts \"space\": only keys have them"},
        {p->exact && p->given & PARAM_PREFIX, "prefix", "contradicts \"key\""},
        {p->exact && names && !space_name_valid(param_bytes(&p->prefix)), "key",
         "must have 1 to 460 bytes without NUL and U+0001, as a name has"},
        {names && p->prefix.length > SPACE_NAME_MAX, "prefix", too_long},
        {begin != SPACE_KEYS && p->after.length > SPACE_NAME_MAX, "after", too_long},
        {names && p->end.length > SPACE_NAME_MAX, "end", too_long},
        {lists && p->values, "values", "contradicts \"count\""},
        {lists && p->given & PARAM_LIMIT, "limit", "contradicts \"count\""},
        {lists && p->delimiter.length, "delimiter", "contradicts \"count\""},
        {lists && p->reverse, "reverse", "contradicts \"count\""},
        {member && !goes_on && p->given & PARAM_AFTER, "after", "contradicts \"member\""},
        {member && p->given & PARAM_LIMIT, "limit", "contradicts \"member\""},
        {member && p->count, "count", "contradicts \"member\""},
        {member && goes_on && (begin != SPACE_SETS || !p->after.length), "member",
         "needs \"after\", and that it is a set's name"},
        {p->given & PARAM_FROM && !p->all, "from", "belongs to \"space=all\""},
        {p->all && p->given & PARAM_KEY, "key", of_one},
        {p->all && p->given & PARAM_PREFIX, "prefix", of_one},
        {p->all && p->given & PARAM_END, "end", of_one},
        {p->end.length && p->after.length &&
             (p->reverse ? bytes_compare(param_bytes(&p->end), param_bytes(&p->after)) >= 0
                         : bytes_compare(param_bytes(&p->end), param_bytes(&p->after)) <= 0),
         "end", "does not lie beyond \"after\""},
        {allowed & PARAM_NEEDED && !(p->given & PARAM_PREFIX), "prefix",
         "is missing (\"prefix=\" stands for all keys)"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].wrong)
            return refuse(why, bytes_str(rules[i].name), rules[i].problem);
    return OK;
}

static void put_into_space(enum space space, bool whole_set, struct param_key *key)
{
    uint8_t room[KEY_MAX];
    struct bytes whole = whole_set ? space_set_begin(param_bytes(key), room)
                                   : space_prefix(space, param_bytes(key), room);
    memcpy(key->data, whole.data, key->length = whole.len);
}

static void put_all_into_space(struct params *p)
{
    enum space begin = p->all ? p->from : p->space;
    if (begin != SPACE_KEYS && p->after.length)
        put_into_space(begin, false, &p->after);
    if (p->space == SPACE_KEYS)
        return;
    put_into_space(p->space, p->exact && p->space == SPACE_SETS, &p->prefix);
    p->exact &= p->space != SPACE_SETS; /* its elements lie under what is now a prefix */
    if (p->end.length)
        put_into_space(p->space, false, &p->end);
}

enum err params_parse(struct bytes query, unsigned allowed, uint64_t wait_max_ms, struct params *params,
                      struct buf *why)
{
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
        enum err err = parse_one(bytes_of(from, name_length), value, allowed, wait_max_ms, params, why);
        if (err != OK)
            return err;
    }
    enum err err = check_against(params, allowed, why);
    if (err == OK)
        put_all_into_space(params);
    return err;
}
