/* Query parameters: each named once, known to its route, and in range; anything
 * else is refused by name, so that a misspelt one is never silently ignored. */
#ifndef YZMA_HTTP_PARAMS_H
#define YZMA_HTTP_PARAMS_H

#include "record.h"

enum {
    PARAM_WAIT = 1 << 0,     /* wait=1s: how long for a token's clock */
    PARAM_SIBLINGS = 1 << 1, /* siblings=true */
    PARAM_MODE = 1 << 2,     /* mode=add or mode=replace */
    PARAM_PREFIX = 1 << 3,
    PARAM_AFTER = 1 << 4,
    PARAM_LIMIT = 1 << 5,  /* 1 to LIST_LIMIT_MAX */
    PARAM_VALUES = 1 << 6, /* values=true */
    PARAM_ROW = 1 << 7,    /* row=48 hex digits: a dot */
    PARAM_THROUGH = 1 << 8,
    PARAM_LIST = 1 << 9, /* list=true */
};

enum { WAIT_DEFAULT_MS = 1000, LIST_LIMIT_DEFAULT = 100, LIST_LIMIT_MAX = 10000 };

struct params {
    uint64_t wait_ms;
    bool siblings, add, values, list;
    bool has_after, has_row, has_through;
    struct dot row;
    size_t through_length;
    uint8_t through[KEY_MAX];
    unsigned limit;
    size_t prefix_length, after_length;
    uint8_t prefix[KEY_MAX], after[KEY_MAX];
};

/* Those of an empty query. */
void params_init(struct params *params);

/* ERR_MALFORMED with a sentence in `why` naming the parameter. `allowed` are the
 * PARAM_ bits of the route; a wait above wait_max_ms is out of range. *params
 * must be initialised, and is of no use after an error. */
enum err params_parse(struct bytes query, unsigned allowed, uint64_t wait_max_ms, struct params *params,
                      struct buf *why) MUST_USE;

#endif
