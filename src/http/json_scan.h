/* Walks through JSON that has been found valid (json_valid.h) and gives out the raw
 * text of its parts: values are stored as they were written, which no parser that
 * builds a tree gives back.
 *
 *     struct json_scan s = json_scan_of(text);
 *     if (json_scan_open(&s, '{'))
 *         while (json_scan_member(&s, &name, &value)) ..
 */
#ifndef YZMA_HTTP_JSON_SCAN_H
#define YZMA_HTTP_JSON_SCAN_H

#include "buf.h"

struct json_scan {
    struct bytes text; /* what is left of it */
    bool first;        /* nothing of the open object or array has been read */
};

static inline struct json_scan json_scan_of(struct bytes text)
{
    return (struct json_scan){.text = text};
}

/* Goes into the value that stands here if it begins with this bracket. */
bool json_scan_open(struct json_scan *s, char bracket);
/* The next member of the object: its name, raw with the quotes, and its value, without
 * white space around it. False at the end of the object. */
bool json_scan_member(struct json_scan *s, struct bytes *ret_name, struct bytes *ret_value);
bool json_scan_element(struct json_scan *s, struct bytes *ret_value);
/* False when anything but white space is left. */
bool json_scan_is_done(struct json_scan *s);

static inline bool json_is_string(struct bytes value)
{
    return value.len > 0 && value.data[0] == '"';
}
/* A raw string that stands for these letters. */
bool json_string_is(struct bytes raw, const char *letters);
/* What a raw string stands for: borrowed from it where it has no escapes, else from
 * what is appended to `room`, which must not move while that is in use. ERR_MALFORMED
 * for a lone surrogate; room->err. */
enum err json_string_read(struct bytes raw, struct buf *room, struct bytes *ret) MUST_USE;

/* A whole number of 64 bits with a sign. */
bool json_integer_read(struct bytes raw, int64_t *ret);

/* The same value in the one form that all its spellings with other white space and other
 * escapes have: no white space, and in strings only the escapes that must be. The order of
 * members and the spelling of numbers stay. Never longer than it was. */
void json_put_canonical(struct bytes value, struct buf *out);

#endif
