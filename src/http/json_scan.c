#include "json_scan.h"

#include "check.h"
#include "units.h"

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void take(struct json_scan *s, size_t n)
{
    s->text.data += n;
    s->text.len -= n;
}

static void skip_space(struct json_scan *s)
{
    while (s->text.len && is_space(s->text.data[0]))
        take(s, 1);
}

static bool take_if(struct json_scan *s, char c)
{
    skip_space(s);
    if (!s->text.len || s->text.data[0] != (uint8_t)c)
        return false;
    take(s, 1);
    return true;
}

/* Length of the string at the start of text, with its quotes. */
static size_t string_length(struct bytes text)
{
    size_t at = 1;
    for (;;) {
        const uint8_t *quote = memchr(text.data + at, '"', text.len - at);
        CHECK(quote); /* it was valid */
        size_t end = (size_t)(quote - text.data), slashes = 0;
        while (text.data[end - 1 - slashes] == '\\')
            slashes++; /* stops at the opening quote at the latest */
        if (slashes % 2 == 0)
            return end + 1;
        at = end + 1;
    }
}

static size_t container_length(struct bytes text)
{
    size_t depth = 0;
    for (size_t i = 0; i < text.len;) {
        uint8_t c = text.data[i];
        if (c == '"') {
            i += string_length(bytes_of(text.data + i, text.len - i));
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        i++;
        if (depth == 0)
            return i;
    }
    CHECK(!"valid JSON closes what it opens");
    return text.len;
}

static size_t value_length(struct bytes text)
{
    if (text.data[0] == '"')
        return string_length(text);
    if (text.data[0] == '{' || text.data[0] == '[')
        return container_length(text);
    size_t n = 0;
    while (n < text.len && !is_space(text.data[n]) && !memchr(",]}", text.data[n], 3))
        n++;
    return n;
}

static struct bytes take_value(struct json_scan *s)
{
    skip_space(s);
    CHECK(s->text.len > 0);
    struct bytes value = bytes_of(s->text.data, value_length(s->text));
    take(s, value.len);
    return value;
}

bool json_scan_open(struct json_scan *s, char bracket)
{
    s->first = take_if(s, bracket);
    return s->first;
}

/* Past the comma before the next part; false where the part's parent ends. */
static bool goes_on(struct json_scan *s, char end)
{
    bool first = s->first;
    s->first = false;
    if (take_if(s, end))
        return false;
    CHECK(first || take_if(s, ','));
    return true;
}

bool json_scan_member(struct json_scan *s, struct bytes *ret_name, struct bytes *ret_value)
{
    if (!goes_on(s, '}'))
        return false;
    *ret_name = take_value(s);
    CHECK(take_if(s, ':'));
    *ret_value = take_value(s);
    return true;
}

bool json_scan_element(struct json_scan *s, struct bytes *ret_value)
{
    if (!goes_on(s, ']'))
        return false;
    *ret_value = take_value(s);
    return true;
}

bool json_scan_is_done(struct json_scan *s)
{
    skip_space(s);
    return s->text.len == 0;
}

static uint32_t hex4(const uint8_t *digits)
{
    uint32_t n = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = digits[i];
        n = n << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return n;
}

static void put_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_put_u8(out, (uint8_t)c);
    } else if (c < 0x800) {
        buf_put_u8(out, (uint8_t)(0xc0 | c >> 6));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 63)));
    } else if (c < 0x10000) {
        buf_put_u8(out, (uint8_t)(0xe0 | c >> 12));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 6 & 63)));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 63)));
    } else {
        buf_put_u8(out, (uint8_t)(0xf0 | c >> 18));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 12 & 63)));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 6 & 63)));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 63)));
    }
}

/* The character of a \u escape whose u is at text[*at]; *at goes to its last digit. */
static enum err unicode_escape(struct bytes text, size_t *at, struct buf *out)
{
    uint32_t c = hex4(text.data + *at + 1);
    *at += 4;
    if (c >= 0xdc00 && c <= 0xdfff)
        return ERR_MALFORMED;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (*at + 6 >= text.len || text.data[*at + 1] != '\\' || text.data[*at + 2] != 'u')
            return ERR_MALFORMED;
        uint32_t low = hex4(text.data + *at + 3);
        if (low < 0xdc00 || low > 0xdfff)
            return ERR_MALFORMED;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        *at += 6;
    }
    put_utf8(out, c);
    return OK;
}

enum err json_string_read(struct bytes raw, struct buf *room, struct bytes *ret)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    CHECK(json_is_string(raw) && raw.len >= 2);
    struct bytes text = bytes_of(raw.data + 1, raw.len - 2);
    if (!text.len || !memchr(text.data, '\\', text.len)) {
        *ret = text;
        return OK;
    }
    size_t start = room->len;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c != '\\') {
            buf_put_u8(room, c);
            continue;
        }
        c = text.data[++i];
        const char *letter = strchr(letters, c);
        if (c == 'u' && unicode_escape(text, &i, room) != OK)
            return ERR_MALFORMED;
        if (c != 'u')
            buf_put_u8(room, letter ? (uint8_t)meanings[letter - letters] : c);
    }
    if (room->err == OK)
        *ret = bytes_of(room->data + start, room->len - start);
    return room->err;
}

bool json_string_is(struct bytes raw, const char *letters)
{
    enum { ESCAPE = 6, LETTERS_MAX = 64 };
    size_t length = strlen(letters);
    CHECK(length <= LETTERS_MAX);
    if (!json_is_string(raw) || raw.len < length + 2 || raw.len > ESCAPE * length + 2)
        return false;
    if (raw.len == length + 2)
        return memcmp(raw.data + 1, letters, length) == 0;
    uint8_t bytes[ESCAPE * LETTERS_MAX];
    struct buf room = {.data = bytes, .cap = sizeof bytes, .max = sizeof bytes};
    struct bytes text;
    return json_string_read(raw, &room, &text) == OK && bytes_equal(text, bytes_str(letters));
}

bool json_integer_read(struct bytes raw, int64_t *ret)
{
    bool negative = raw.len && raw.data[0] == '-';
    uint64_t size;
    struct bytes digits = negative ? bytes_of(raw.data + 1, raw.len - 1) : raw;
    if (number_parse(digits, &size) != OK || size > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = negative ? (int64_t)(0 - size) : (int64_t)size;
    return true;
}

/* ---- one form of many --------------------------------------------------------------- */

static void put_character(struct buf *out, uint32_t c)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    const char *meaning = c < 0x20 && c ? strchr(meanings, (int)c) : NULL;
    if (meaning)
        buf_put_format(out, "\\%c", letters[meaning - meanings]);
    else if (c < 0x20 || (c >= 0xd800 && c <= 0xdfff)) /* a control, or half a pair alone */
        buf_put_format(out, "\\u%04x", (unsigned)c);
    else if (c == '"' || c == '\\')
        buf_put_format(out, "\\%c", (int)c);
    else
        put_utf8(out, c);
}

/* The escape at text[at]; returns how many bytes it has. */
static size_t put_escape(struct bytes text, size_t at, struct buf *out)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    uint8_t kind = text.data[at + 1];
    const char *letter = strchr(letters, kind);
    if (kind != 'u') {
        put_character(out, letter ? (uint32_t)meanings[letter - letters] : kind);
        return 2;
    }
    uint32_t high = hex4(text.data + at + 2), low = 0;
    bool leads = high >= 0xd800 && high <= 0xdbff && at + 12 <= text.len && text.data[at + 6] == '\\' &&
                 text.data[at + 7] == 'u';
    if (leads)
        low = hex4(text.data + at + 8);
    if (low < 0xdc00 || low > 0xdfff) {
        put_character(out, high);
        return 6;
    }
    put_character(out, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
    return 12;
}

void json_put_canonical(struct bytes value, struct buf *out)
{
    bool in_string = false;
    for (size_t i = 0; i < value.len;) {
        uint8_t c = value.data[i];
        if (in_string && c == '\\') {
            i += put_escape(value, i, out);
            continue;
        }
        in_string ^= c == '"';
        if (in_string || !is_space(c))
            buf_put_u8(out, c);
        i++;
    }
}
