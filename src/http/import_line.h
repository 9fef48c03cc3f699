/* A line of what GET /export gives and POST /import takes:
 *
 *   {"Key":"a","Value":{"x":1}}
 *   {"Key":"b","Value64":"iVBORw==","Type":"image/png","Expires":"2030-01-31T12:00:00.000Z"}
 *   {"Key":"b","Value":2,"Sibling":true}
 *   {"Key":"c","Value":3,"Context":"AQABYoZ_.."}
 *   {"Counter":"visits","Value":17}
 *   {"Set":"tags","Element":"red"}
 *
 *   {"Kind":"put","Key":"a","Value":{"x":1},"Stamp":..,"Node":..,"Cursor":..}
 *   {"Kind":"delete","Space":"sets","Key":"tags","Hash":"9f86d081884c7d659a2feaa0c55ad015",..}
 *
 * The last two are events, as GET /watch shows them in lines. Value is JSON as it was written; Value64 is
 * base64 of bytes of Type, or, without it, of JSON. A Sibling stands beside what the line before it wrote;
 * with a Context a line replaces what was seen with that. A counter's Value is a whole number of 64 bits with
 * a sign; null, where it did not fit, is written and not read. Each member at most once, and nothing else. */
#ifndef YZMA_HTTP_IMPORT_LINE_H
#define YZMA_HTTP_IMPORT_LINE_H

#include "buf.h"
#include "space.h"

enum line_does {
    LINE_PUTS,
    LINE_REMOVES, /* an event: there is nothing under the key; of a set, the element with this hash is not
                     there */
    LINE_PASSES,  /* an event that says nothing of any key */
    LINE_LACKS,   /* an event: who wrote it could not read what there is */
};

struct import_line {
    enum line_does does;
    bool event;
    enum space space;
    struct bytes key;     /* or the name of the counter, or the set */
    struct bytes value;   /* or the element, as JSON */
    struct bytes type;    /* empty: JSON */
    struct bytes hash;    /* as it is spelt, */
    struct bytes context; /* .. as that */
    uint64_t expires_ms;  /* since 1970; 0: never */
    bool sibling;
    bool has_number; /* of a counter: its number fits */
    int64_t number;
};

/* Reads a line, without its end, into what borrows from the line and from room, which is
 * emptied first. ERR_MALFORMED with a sentence in why; ERR_TOO_LARGE (the value is above
 * value_max) likewise; ERR_NOMEM. */
enum err import_line_read(struct bytes line, uint64_t value_max, struct buf *room, struct import_line *ret,
                          struct buf *why) MUST_USE;

/* The line, with its end. */
void import_line_put(struct buf *out, const struct import_line *line);

#endif
