/* The objects of one array in a JSON text that comes in pieces and may be of any length:
 * the array is the text itself, or a member of the object that the text is. Several texts
 * may follow each other. What is given out has been found to be JSON (json_valid.h), so
 * that json_scan.h may go through it. */
#ifndef YZMA_PORT_ELEMENTS_H
#define YZMA_PORT_ELEMENTS_H

#include "json_valid.h"

enum { ELEMENTS_NAME_MAX = 16 };

struct elements {
    const char *member; /* of the array; NULL: the text is the array */
    const char *marker; /* another member, that tells such a text where the array may be missing */
    size_t element_max;
    /* Borrowed for the call. */
    enum err (*each)(void *ctx, struct bytes element, struct buf *why);
    void *ctx;

    struct json_check check;
    struct buf element; /* as much of the open one as earlier pieces had */
    uint64_t offset;    /* where the text at hand began */
    unsigned depth;     /* brackets that are open */
    unsigned within;    /* depth of the array that is open; 0: none is */
    bool in_string, escaped, in_element;
    bool between;                 /* no text is open */
    bool known;                   /* the array or the marker was there */
    char name[ELEMENTS_NAME_MAX]; /* of the last member of the text; cut */
    size_t name_length;
};

void elements_init(struct elements *e, const char *member, const char *marker);
void elements_done(struct elements *e);
/* ERR_MALFORMED, ERR_TOO_LARGE with a sentence in why, ERR_NOMEM, or what each gave. */
enum err elements_feed(struct elements *e, struct bytes piece, struct buf *why) MUST_USE;
enum err elements_end(struct elements *e, struct buf *why) MUST_USE;

#endif
