/* The automaton is the grammar of RFC 8259, section by section: a stack of open
 * brackets, and a state that says what may come next. Of our own, and not yajl's,
 * because yajl begins a token that is cut again from its first byte with each
 * piece: a long string in small pieces would cost the square of its length. */
#include "json_valid.h"

enum state {
    AT_START,   /* nothing but white space yet */
    IN_BOM,     /* a first byte EF, */
    IN_BOM_TOO, /* and BB */
    AT_VALUE,
    AT_FIRST_ITEM, /* of an array: a value, or its end */
    AT_FIRST_NAME, /* of an object: a name, or its end */
    AT_NAME,
    AT_COLON,
    AFTER_VALUE,
    IN_LITERAL,
    IN_STRING,
    IN_CHARACTER, /* of more than one byte, in a string */
    IN_ESCAPE,
    IN_HEX_1, /* \u: this digit, and those after it, are to come */
    IN_HEX_2,
    IN_HEX_3,
    IN_HEX_4,
    /* Numbers: those that may end here, */
    IN_ZERO,
    IN_INTEGER,
    IN_FRACTION,
    IN_EXPONENT,
    /* and those that want a digit. */
    AFTER_MINUS,
    AFTER_POINT,
    AFTER_E,
    AFTER_E_SIGN,
};

static const char unexpected[] = "unexpected character";
static const char no_digit[] = "a digit is missing in a number";
static const char not_utf8[] = "not UTF-8";

static enum err fail(struct json_check *c, size_t offset, const char *reason)
{
    c->error = (struct json_error){.offset = offset, .reason = reason};
    return ERR_MALFORMED;
}

static bool is_space(uint8_t b)
{
    return b == ' ' || b == '\n' || b == '\r' || b == '\t';
}

static bool is_digit(uint8_t b)
{
    return b >= '0' && b <= '9';
}

static bool is_hex(uint8_t b)
{
    return is_digit(b) || (b >= 'a' && b <= 'f') || (b >= 'A' && b <= 'F');
}

/* ---- brackets --------------------------------------------------------------- */

static bool in_object(const struct json_check *c)
{
    return c->depth > 0 && (c->objects[(c->depth - 1) / 8] & 1u << (c->depth - 1) % 8);
}

/* Each of the functions below takes one byte: NULL, or what is wrong with it. */

static const char *open_bracket(struct json_check *c, bool object)
{
    if (c->depth == JSON_DEPTH_MAX)
        return "nested deeper than 512";
    uint8_t bit = (uint8_t)(1u << c->depth % 8);
    if (object)
        c->objects[c->depth / 8] |= bit;
    else
        c->objects[c->depth / 8] &= (uint8_t)~bit;
    c->depth++;
    c->state = object ? AT_FIRST_NAME : AT_FIRST_ITEM;
    return NULL;
}

static const char *close_bracket(struct json_check *c, bool object)
{
    if (c->depth == 0 || in_object(c) != object)
        return unexpected;
    c->depth--;
    c->state = AFTER_VALUE;
    return NULL;
}

/* ---- between tokens ------------------------------------------------------------ */

static const char *begin_literal(struct json_check *c, const char *rest)
{
    c->literal = rest;
    c->state = IN_LITERAL;
    return NULL;
}

static const char *begin_string(struct json_check *c, bool name)
{
    c->in_name = name;
    c->state = IN_STRING;
    return NULL;
}

static const char *take_value(struct json_check *c, uint8_t b)
{
    switch (b) {
    case '{':
        return open_bracket(c, true);
    case '[':
        return open_bracket(c, false);
    case '"':
        return begin_string(c, false);
    case 't':
        return begin_literal(c, "rue");
    case 'f':
        return begin_literal(c, "alse");
    case 'n':
        return begin_literal(c, "ull");
    case '-':
        c->state = AFTER_MINUS;
        return NULL;
    case '0':
        c->state = IN_ZERO;
        return NULL;
    default:
        if (!is_digit(b))
            return unexpected;
        c->state = IN_INTEGER;
        return NULL;
    }
}

static const char *take_after_value(struct json_check *c, uint8_t b)
{
    if (is_space(b))
        return NULL;
    if (c->depth == 0)
        return "more than one value";
    if (b == ',') {
        c->state = in_object(c) ? AT_NAME : AT_VALUE;
        return NULL;
    }
    if (b == '}' || b == ']')
        return close_bracket(c, b == '}');
    return unexpected;
}

static const char *take_between(struct json_check *c, uint8_t b)
{
    if (is_space(b))
        return NULL;
    switch (c->state) {
    case AT_FIRST_ITEM:
        return b == ']' ? close_bracket(c, false) : take_value(c, b);
    case AT_FIRST_NAME:
        if (b == '}')
            return close_bracket(c, true);
        return b == '"' ? begin_string(c, true) : unexpected;
    case AT_NAME:
        return b == '"' ? begin_string(c, true) : unexpected;
    case AT_COLON:
        c->state = AT_VALUE;
        return b == ':' ? NULL : unexpected;
    default:
        return take_value(c, b);
    }
}

/* ---- tokens -------------------------------------------------------------------- */

static const char *take_literal(struct json_check *c, uint8_t b)
{
    if (b != (uint8_t)*c->literal)
        return unexpected;
    if (!*++c->literal)
        c->state = AFTER_VALUE;
    return NULL;
}

static const char *take_in_string(struct json_check *c, uint8_t b, size_t at)
{
    if (b == '"') {
        c->state = c->in_name ? AT_COLON : AFTER_VALUE;
    } else if (b == '\\') {
        c->state = IN_ESCAPE;
    } else if (b < 0x20) {
        return "control character in a string";
    } else if (b >= 0x80) {
        if (!utf8_begin(&c->tail, b))
            return not_utf8;
        c->character_at = at;
        c->state = IN_CHARACTER;
    }
    return NULL;
}

static const char *take_in_character(struct json_check *c, uint8_t b)
{
    if (!utf8_continue(&c->tail, b))
        return not_utf8;
    if (c->tail.left == 0)
        c->state = IN_STRING;
    return NULL;
}

static const char *take_in_escape(struct json_check *c, uint8_t b)
{
    if (c->state == IN_ESCAPE) {
        c->state = b == 'u' ? IN_HEX_1 : IN_STRING;
        return b && strchr("\"\\/bfnrtu", b) ? NULL : "no such escape";
    }
    c->state = c->state == IN_HEX_4 ? IN_STRING : c->state + 1;
    return is_hex(b) ? NULL : "\\u wants four hexadecimal digits";
}

static const char *take_number(struct json_check *c, uint8_t b)
{
    enum state state = c->state;
    if (is_digit(b) && state != IN_ZERO) {
        if (state == AFTER_MINUS)
            c->state = b == '0' ? IN_ZERO : IN_INTEGER;
        else if (state == AFTER_POINT)
            c->state = IN_FRACTION;
        else if (state == AFTER_E || state == AFTER_E_SIGN)
            c->state = IN_EXPONENT;
        return NULL;
    }
    if (state == AFTER_E && (b == '+' || b == '-')) {
        c->state = AFTER_E_SIGN;
        return NULL;
    }
    if (state >= AFTER_MINUS)
        return no_digit;
    if (b == '.' && (state == IN_ZERO || state == IN_INTEGER)) {
        c->state = AFTER_POINT;
        return NULL;
    }
    if ((b == 'e' || b == 'E') && state != IN_EXPONENT) {
        c->state = AFTER_E;
        return NULL;
    }
    c->state = AFTER_VALUE; /* the number ended one byte ago */
    return take_after_value(c, b);
}

static const char *take_at_start(struct json_check *c, uint8_t b, size_t at)
{
    if (b == 0xef && at == 0) {
        c->state = IN_BOM;
        return NULL;
    }
    return take_between(c, b);
}

static const char *take_in_bom(struct json_check *c, uint8_t b)
{
    c->character_at = 0;
    if (c->state == IN_BOM && b == 0xbb) {
        c->state = IN_BOM_TOO;
        return NULL;
    }
    return c->state == IN_BOM_TOO && b == 0xbf ? "starts with a byte order mark" : unexpected;
}

static const char *take(struct json_check *c, uint8_t b, size_t at)
{
    switch ((enum state)c->state) {
    case AT_START:
        return take_at_start(c, b, at);
    case IN_BOM:
    case IN_BOM_TOO:
        return take_in_bom(c, b);
    case AT_VALUE:
    case AT_FIRST_ITEM:
    case AT_FIRST_NAME:
    case AT_NAME:
    case AT_COLON:
        return take_between(c, b);
    case AFTER_VALUE:
        return take_after_value(c, b);
    case IN_LITERAL:
        return take_literal(c, b);
    case IN_STRING:
        return take_in_string(c, b, at);
    case IN_CHARACTER:
        return take_in_character(c, b);
    case IN_ESCAPE:
    case IN_HEX_1:
    case IN_HEX_2:
    case IN_HEX_3:
    case IN_HEX_4:
        return take_in_escape(c, b);
    case IN_ZERO:
    case IN_INTEGER:
    case IN_FRACTION:
    case IN_EXPONENT:
    case AFTER_MINUS:
    case AFTER_POINT:
    case AFTER_E:
    case AFTER_E_SIGN:
        return take_number(c, b);
    }
    return unexpected;
}

/* How many bytes from the front are plain text of a string: ASCII, no control
 * character, no quote, no backslash. Eight at a time, because long values are
 * mostly this: a byte of `odd` has its high bit set where the byte is not plain,
 * and perhaps in bytes above such a one, which does no harm. */
static size_t plain_length(const uint8_t *p, size_t length)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    size_t at = 0;
    for (; length - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, p + at, 8);
        uint64_t quotes = word ^ ones * '"', backslashes = word ^ ones * '\\';
        uint64_t odd = (word | (word - ones * 0x20) | (quotes - ones) | (backslashes - ones)) & highs;
        if (odd)
            break;
    }
    while (at < length && p[at] >= 0x20 && p[at] < 0x80 && p[at] != '"' && p[at] != '\\')
        at++;
    return at;
}

void json_check_init(struct json_check *c)
{
    *c = (struct json_check){.state = AT_START};
}

enum err json_check_feed(struct json_check *c, struct bytes piece)
{
    if (c->error.reason)
        return ERR_MALFORMED;
    for (size_t i = 0; i < piece.len; i++) {
        if (c->state == IN_STRING) {
            i += plain_length(piece.data + i, piece.len - i);
            if (i == piece.len)
                break;
        }
        /* What is wrong with a character of several bytes is told of its first. */
        bool inside = c->state == IN_CHARACTER || c->state == IN_BOM || c->state == IN_BOM_TOO;
        const char *problem = take(c, piece.data[i], c->offset + i);
        if (problem)
            return fail(c, inside ? c->character_at : c->offset + i, problem);
    }
    c->offset += piece.len;
    return OK;
}

enum err json_check_end(struct json_check *c)
{
    if (c->error.reason)
        return ERR_MALFORMED;
    if (c->offset == 0)
        return fail(c, 0, "empty");
    bool whole = c->depth == 0 &&
                 (c->state == AFTER_VALUE || (c->state >= IN_ZERO && c->state <= IN_EXPONENT));
    return whole ? OK : fail(c, c->offset, "ends early");
}

enum err json_valid(struct bytes text, struct json_error *ret_error)
{
    struct json_check check;
    json_check_init(&check);
    enum err err = json_check_feed(&check, text);
    if (err == OK)
        err = json_check_end(&check);
    *ret_error = check.error;
    return err;
}
