#include "notice.h"

#include "check.h"
#include "utf8.h"

#include <sys/types.h>

static bool is_plain(struct bytes value)
{
    if (value.len == 0 || utf8_valid_until(value) < value.len)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if (c <= ' ' || c == 0x7f || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return true;
}

/* One character, or one byte that is none; returns how many bytes it took. */
static size_t put_escaped(struct buf *out, struct bytes rest)
{
    static const char named[] = "\"\\\n\r\t", names[] = "\"\\nrt";
    uint8_t c = rest.data[0];
    const char *found = c ? strchr(named, c) : NULL;
    size_t n = utf8_length(rest);
    if (found) {
        buf_put_u8(out, '\\');
        buf_put_u8(out, (uint8_t)names[found - named]);
    } else if (n == 0 || c < ' ' || c == 0x7f) {
        buf_put_format(out, "\\x%02x", c);
    } else {
        buf_put(out, rest.data, n);
        return n;
    }
    return 1;
}

void notice_value(struct buf *out, struct bytes value)
{
    bool cut = value.len > NOTICE_VALUE_MAX;
    if (cut)
        value.len = NOTICE_VALUE_MAX;
    if (is_plain(value)) {
        buf_put_bytes(out, value);
    } else {
        buf_put_u8(out, '"');
        for (size_t at = 0; at < value.len;)
            at += put_escaped(out, bytes_of(value.data + at, value.len - at));
        buf_put_u8(out, '"');
    }
    if (cut)
        buf_put_text(out, "...");
}

/* One conversion, as written after its '%'. */
struct conversion {
    bool zeros;     /* 0: pads with zeros */
    unsigned width; /* of numbers */
    bool counted;   /* .*: the length comes before the string */
    unsigned longs; /* l: 1, ll: 2 */
    bool size;      /* z */
    char letter;
};

static struct conversion read_conversion(const char **at)
{
    const char *p = *at;
    struct conversion c = {.zeros = *p == '0'};
    for (; *p >= '0' && *p <= '9'; p++)
        c.width = c.width * 10 + (unsigned)(*p - '0');
    if (p[0] == '.' && p[1] == '*') {
        c.counted = true;
        p += 2;
    }
    for (; *p == 'l'; p++)
        c.longs++;
    if (*p == 'z') {
        c.size = true;
        p++;
    }
    c.letter = *p++;
    *at = p;
    return c;
}

static void put_number(struct buf *out, const struct conversion *c, uint64_t value, bool negative)
{
    enum { DIGITS_MAX = 20 };
    unsigned radix = c->letter == 'x' ? 16 : 10;
    char digits[DIGITS_MAX];
    unsigned n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % radix];
        value /= radix;
    } while (value > 0);
    unsigned used = n + negative;
    for (; !c->zeros && used < c->width; used++)
        buf_put_u8(out, ' ');
    if (negative)
        buf_put_u8(out, '-');
    for (; used < c->width; used++)
        buf_put_u8(out, '0');
    while (n > 0)
        buf_put_u8(out, (uint8_t)digits[--n]);
}

static uint64_t next_unsigned(const struct conversion *c, va_list *args)
{
    if (c->size)
        return va_arg(*args, size_t);
    switch (c->longs) {
    case 0:
        return va_arg(*args, unsigned);
    case 1:
        return va_arg(*args, unsigned long);
    default:
        return va_arg(*args, unsigned long long);
    }
}

static int64_t next_signed(const struct conversion *c, va_list *args)
{
    if (c->size)
        return va_arg(*args, ssize_t);
    switch (c->longs) {
    case 0:
        return va_arg(*args, int);
    case 1:
        return va_arg(*args, long);
    default:
        return va_arg(*args, long long);
    }
}

static struct bytes next_string(const struct conversion *c, va_list *args)
{
    int len = c->counted ? va_arg(*args, int) : -1;
    const char *text = va_arg(*args, const char *);
    CHECK(text != NULL && (!c->counted || len >= 0));
    return c->counted ? bytes_of(text, strnlen(text, (size_t)len)) : bytes_str(text);
}

static void put_conversion(struct buf *out, const struct conversion *c, va_list *args)
{
    switch (c->letter) {
    case 's':
        notice_value(out, next_string(c, args));
        return;
    case 'c': {
        char text = (char)va_arg(*args, int);
        notice_value(out, bytes_of(&text, 1));
        return;
    }
    case 'd':
    case 'i': {
        int64_t value = next_signed(c, args);
        put_number(out, c, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0);
        return;
    }
    case 'u':
    case 'x':
        put_number(out, c, next_unsigned(c, args), false);
        return;
    case '%':
        buf_put_u8(out, '%');
        return;
    }
    CHECK(!"a conversion that notices do not have");
}

void notice_format(struct buf *out, const char *format, va_list args)
{
    va_list rest;
    va_copy(rest, args);
    while (*format) {
        size_t literal = strcspn(format, "%");
        buf_put(out, format, literal);
        format += literal;
        if (*format == '%') {
            format++;
            struct conversion c = read_conversion(&format);
            put_conversion(out, &c, &rest);
        }
    }
    va_end(rest);
}
