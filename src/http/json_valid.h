/* Is this text JSON? Exactly the grammar of RFC 8259, in UTF-8, without a byte
 * order mark: what is valid is kept byte for byte, so numbers may have any size,
 * names may repeat and escapes may be lone surrogates.
 *
 * The text may come in pieces, cut anywhere: a body is looked at as it arrives,
 * so that the end of a long one is no long pause for everybody else on its
 * worker. A check holds the state of a small automaton, one bit for each open
 * bracket, and no text: memory and the work per byte are bounded. */
#ifndef YZMA_HTTP_JSON_VALID_H
#define YZMA_HTTP_JSON_VALID_H

#include "buf.h"
#include "utf8.h"

/* Nothing special about this value; it keeps hostile nesting from costing
 * memory, and every parser that a client may use can follow. */
enum { JSON_DEPTH_MAX = 512 };

struct json_error {
    size_t offset;      /* of the first byte that no JSON has there; the length where it ends early */
    const char *reason; /* a constant */
};

struct json_check {
    uint8_t state;         /* what may come next */
    bool in_name;          /* the string that is open is a member's name */
    struct utf8_tail tail; /* of the character that is open, and where it began */
    size_t character_at;
    const char *literal; /* what is left of true, false or null */
    size_t offset;       /* of the next byte */
    unsigned depth;
    uint8_t objects[JSON_DEPTH_MAX / 8]; /* a bit for each open bracket: it is a { */
    struct json_error error;             /* reason NULL while there is none */
};

void json_check_init(struct json_check *check);
/* ERR_MALFORMED with check->error filled as soon as no continuation can be JSON;
 * it stays so. */
enum err json_check_feed(struct json_check *check, struct bytes piece) MUST_USE;
/* After the last piece: OK when all together is JSON. */
enum err json_check_end(struct json_check *check) MUST_USE;

/* All of it in one piece. OK, or ERR_MALFORMED with *ret_error filled. */
enum err json_valid(struct bytes text, struct json_error *ret_error) MUST_USE;

#endif
