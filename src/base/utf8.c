#include "utf8.h"

bool utf8_begin(struct utf8_tail *tail, uint8_t first)
{
    /* The bounds of the second byte rule out over-long forms, surrogates and
     * what lies above U+10FFFF (RFC 3629, section 4). */
    *tail = (struct utf8_tail){.low = 0x80, .high = 0xbf};
    if (first < 0x80)
        return true;
    if (first >= 0xc2 && first <= 0xdf) {
        tail->left = 1;
    } else if (first >= 0xe0 && first <= 0xef) {
        tail->left = 2;
        if (first == 0xe0)
            tail->low = 0xa0;
        if (first == 0xed)
            tail->high = 0x9f;
    } else if (first >= 0xf0 && first <= 0xf4) {
        tail->left = 3;
        if (first == 0xf0)
            tail->low = 0x90;
        if (first == 0xf4)
            tail->high = 0x8f;
    }
    return tail->left > 0;
}

bool utf8_continue(struct utf8_tail *tail, uint8_t next)
{
    if (tail->left == 0 || next < tail->low || next > tail->high)
        return false;
    *tail = (struct utf8_tail){.left = tail->left - 1, .low = 0x80, .high = 0xbf};
    return true;
}

size_t utf8_length(struct bytes text)
{
    struct utf8_tail tail;
    if (text.len == 0 || !utf8_begin(&tail, text.data[0]))
        return 0;
    size_t length = 1;
    while (tail.left > 0) {
        if (length == text.len || !utf8_continue(&tail, text.data[length]))
            return 0;
        length++;
    }
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
