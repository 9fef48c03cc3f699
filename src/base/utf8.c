#include "utf8.h"

size_t utf8_length(struct bytes text)
{
    if (text.len == 0)
        return 0;
    const uint8_t *p = text.data;
    if (p[0] < 0x80)
        return 1;
    /* The bounds of the second byte rule out over-long forms, surrogates and
     * what lies above U+10FFFF (RFC 3629, section 4). */
    uint8_t low = 0x80, high = 0xbf;
    size_t length;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        length = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        length = 3;
        if (p[0] == 0xe0)
            low = 0xa0;
        if (p[0] == 0xed)
            high = 0x9f;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        length = 4;
        if (p[0] == 0xf0)
            low = 0x90;
        if (p[0] == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }
    if (text.len < length || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

size_t utf8_valid_until(struct bytes text)
{
    size_t at = 0;
    while (at < text.len) {
        /* Eight bytes of ASCII at a time: nearly all of JSON is that. */
        while (text.len - at >= 8) {
            uint64_t word;
            memcpy(&word, text.data + at, 8);
            if (word & 0x8080808080808080u)
                break;
            at += 8;
        }
        if (at == text.len)
            break;
        size_t length = utf8_length(bytes_of(text.data + at, text.len - at));
        if (length == 0)
            return at;
        at += length;
    }
    return at;
}

struct text_position text_position(struct bytes text, size_t offset)
{
    struct text_position position = {.line = 1, .column = 1};
    for (size_t i = 0; i < offset && i < text.len; i++) {
        if (text.data[i] == '\n') {
            position.line++;
            position.column = 1;
        } else if ((text.data[i] & 0xc0) != 0x80) { /* continuation bytes belong to the one before */
            position.column++;
        }
    }
    return position;
}
