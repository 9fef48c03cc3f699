/* Parts of JSON that has been found valid (client_envelope, read_is_json), by name. */
#ifndef YZMA_CLIENT_READ_H
#define YZMA_CLIENT_READ_H

#include "json_scan.h"

/* All that a parser takes; nested as deep as it likes. */
bool read_is_json(struct bytes text);
/* The member's value as it was written; empty when object is none, or has no such member. */
struct bytes read_member(struct bytes object, const char *name);
/* What a string stands for, to free; "" for what is none. A lone surrogate stays an escape. */
char *read_text(struct bytes raw);
/* read_text of a member */
char *read_member_text(struct bytes object, const char *name);
/* A whole number from 0 on; 0 for what is none. */
uint64_t read_number(struct bytes raw);
uint64_t read_member_number(struct bytes object, const char *name);
bool read_is(struct bytes raw, const char *literal); /* true, false, null */
/* An array's elements, or none for what is no array:
 *     struct json_scan s = read_array(raw);
 *     while (read_next(&s, &element)) .. */
struct json_scan read_array(struct bytes raw);
bool read_next(struct json_scan *s, struct bytes *ret_element);
size_t read_count(struct bytes array);

#endif
