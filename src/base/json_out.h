/* Writes JSON into a buffer. Commas put themselves; that the calls nest rightly
 * is the caller's part. Errors stick in the buffer: look once at out->err.
 *
 *     struct json_out j = json_out_to(&buf);
 *     json_object(&j);
 *     json_field_text(&j, "Name", "pacha");
 *     json_name(&j, "Keys"), json_array(&j), json_text(&j, "a"), json_array_end(&j);
 *     json_object_end(&j);
 */
#ifndef YZMA_BASE_JSON_OUT_H
#define YZMA_BASE_JSON_OUT_H

#include "buf.h"

struct json_out {
    struct buf *out;
    bool comma; /* a value stands before the next one in this object or array */
};

static inline struct json_out json_out_to(struct buf *out)
{
    return (struct json_out){.out = out};
}

void json_object(struct json_out *j);
void json_object_end(struct json_out *j);
void json_array(struct json_out *j);
void json_array_end(struct json_out *j);
void json_name(struct json_out *j, const char *name); /* of the next value */

/* Escapes; bytes that are not UTF-8 (a peer's name may hold any) become U+FFFD. */
void json_string(struct json_out *j, struct bytes text);
void json_text(struct json_out *j, const char *text);
void json_number(struct json_out *j, uint64_t number);
void json_bool(struct json_out *j, bool value);
void json_null(struct json_out *j);
void json_base64(struct json_out *j, struct bytes bytes); /* a string */
void json_raw(struct json_out *j, struct bytes json);     /* one whole value, as it is */

/* name and value at once */
void json_field_string(struct json_out *j, const char *name, struct bytes text);
void json_field_text(struct json_out *j, const char *name, const char *text);
void json_field_number(struct json_out *j, const char *name, uint64_t number);
void json_field_bool(struct json_out *j, const char *name, bool value);

/* Whether a value comes back byte for byte from a line of JSON that it is a member of: it has
 * no line breaks, and no white space around it, which a reader takes for the line's. */
bool json_keeps_in_line(struct bytes value);

#endif
