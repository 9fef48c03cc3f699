/* base64url in place: the bytes move to the end of their longer room, and the
 * text grows from its start without ever overtaking them. */
#include "base64.h"

#include "check.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void buf_base64url_from(struct buf *b, size_t offset)
{
    if (b->err != OK)
        return;
    CHECK(offset <= b->len);
    size_t n = b->len - offset;
    size_t more = n / 3 + (n % 3 != 0); /* letters above the bytes */
    if (!buf_extend(b, more) || n == 0)
        return;
    uint8_t *to = b->data + offset;
    const uint8_t *from = memmove(to + more, to, n);
    for (; n >= 3; n -= 3, from += 3) {
        uint32_t v = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
        *to++ = (uint8_t)letters[v >> 18];
        *to++ = (uint8_t)letters[v >> 12 & 63];
        *to++ = (uint8_t)letters[v >> 6 & 63];
        *to++ = (uint8_t)letters[v & 63];
    }
    if (n) {
        uint32_t v = (uint32_t)from[0] << 16 | (n == 2 ? (uint32_t)from[1] << 8 : 0);
        *to++ = (uint8_t)letters[v >> 18];
        *to++ = (uint8_t)letters[v >> 12 & 63];
        if (n == 2)
            *to++ = (uint8_t)letters[v >> 6 & 63];
    }
}

void buf_put_base64(struct buf *b, struct bytes bytes)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *from = bytes.data;
    size_t n = bytes.len;
    uint8_t *to = buf_extend(b, (n + 2) / 3 * 4);
    if (!to)
        return;
    for (; n > 0; from += 3, to += 4) {
        uint32_t v = (uint32_t)from[0] << 16 | (n > 1 ? (uint32_t)from[1] << 8 : 0) | (n > 2 ? from[2] : 0);
        to[0] = (uint8_t)plain[v >> 18];
        to[1] = (uint8_t)plain[v >> 12 & 63];
        to[2] = n > 1 ? (uint8_t)plain[v >> 6 & 63] : '=';
        to[3] = n > 2 ? (uint8_t)plain[v & 63] : '=';
        n -= n < 3 ? n : 3;
    }
}

static int digit(uint8_t c, const char *last_two)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == last_two[0] ? 62 : c == last_two[1] ? 63 : -1;
}

static enum err decode(struct bytes text, const char *last_two, struct buf *out)
{
    if (text.len % 4 == 1)
        return ERR_MALFORMED;
    size_t start = out->len;
    uint32_t bits = 0;
    unsigned count = 0;
    uint8_t *to = buf_extend(out, text.len / 4 * 3 + text.len % 4 * 3 / 4);
    if (!to)
        return out->err;
    for (size_t i = 0; i < text.len; i++) {
        int d = digit(text.data[i], last_two);
        if (d < 0) {
            out->len = start;
            return ERR_MALFORMED;
        }
        bits = bits << 6 | (uint32_t)d;
        count += 6;
        if (count >= 8) {
            count -= 8;
            *to++ = (uint8_t)(bits >> count);
            bits &= ((uint32_t)1 << count) - 1;
        }
    }
    if (bits) {
        out->len = start;
        return ERR_MALFORMED;
    }
    return OK;
}

enum err base64url_decode(struct bytes text, struct buf *out)
{
    return decode(text, "-_", out);
}

enum err base64_decode(struct bytes text, struct buf *out)
{
    if (text.len % 4 != 0)
        return ERR_MALFORMED;
    for (int padding = 0; padding < 2 && text.len > 0 && text.data[text.len - 1] == '='; padding++)
        text.len--;
    return decode(text, "+/", out);
}
