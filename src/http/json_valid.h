/* Is this text JSON? Exactly the grammar of RFC 8259, in UTF-8, without a byte
 * order mark: what is valid is kept byte for byte, so numbers may have any size,
 * names may repeat and escapes may be lone surrogates.
 *
 * yajl does the grammar; what it lets pass (over-long UTF-8, encoded surrogates,
 * form feed and vertical tab as white space, a token without
 * end behind the value) is looked for beside it. */
#ifndef YZMA_HTTP_JSON_VALID_H
#define YZMA_HTTP_JSON_VALID_H

#include "buf.h"

/* Nothing special about this value; it keeps hostile nesting from costing
 * memory, and every parser that a client may use can follow. */
enum { JSON_DEPTH_MAX = 512 };

struct json_error {
    size_t offset; /* of the byte where it goes wrong; the length where it ends early */
    char reason[96];
};

/* OK, or ERR_MALFORMED with *ret_error filled; ERR_NOMEM. */
enum err json_valid(struct bytes text, struct json_error *ret_error) MUST_USE;

#endif
