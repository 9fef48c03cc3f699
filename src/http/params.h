/* Query parameters: each named once, known to its route, in range, and not against
 * another one; anything else is refused by name, so that a misspelt one is never
 * silently ignored. */
#ifndef YZMA_HTTP_PARAMS_H
#define YZMA_HTTP_PARAMS_H

#include "space.h"

enum {
    PARAM_WAIT = 1 << 0,     /* wait=1s: how long for a token's clock, and again for w */
    PARAM_SIBLINGS = 1 << 1, /* siblings=true */
    PARAM_MODE = 1 << 2,     /* mode=add or mode=replace */
    PARAM_PREFIX = 1 << 3,
    PARAM_AFTER = 1 << 4,
    PARAM_LIMIT = 1 << 5,  /* 1 to LIST_LIMIT_MAX */
    PARAM_VALUES = 1 << 6, /* values=true */
    PARAM_RAW = 1 << 7,    /* raw=true: the bytes, without the envelope */
    PARAM_TTL = 1 << 8,    /* ttl=90s, up to TTL_MAX_MS */
    PARAM_EXPIRES = 1 << 9,
    PARAM_TOUCH = 1 << 10,
    PARAM_W = 1 << 11, /* w=1 to W_MAX, majority, all */
    PARAM_REVERSE = 1 << 12,
    PARAM_END = 1 << 13,
    PARAM_COUNT = 1 << 14,
    PARAM_DELIMITER = 1 << 15,
    PARAM_ALL = 1 << 16, /* of the route: limit may be 0, for all in one stream */
    PARAM_ROW = 1 << 18, /* row=48 hex digits: a dot */
    PARAM_THROUGH = 1 << 19,
    PARAM_LIST = 1 << 20,     /* list=true */
    PARAM_SINCE = 1 << 21,    /* a cursor; of any length, and so not decoded */
    PARAM_POLL = 1 << 22,     /* poll=30s, up to POLL_MAX_MS */
    PARAM_MEMBER = 1 << 24,   /* an element, as JSON; of any length, and so not decoded */
    PARAM_BYTES = 1 << 25,    /* of the route: after and through may be any bytes */
    PARAM_SPACE = 1 << 26,    /* space=keys, counters, sets or all */
    PARAM_FROM = 1 << 27,     /* from=keys, counters or sets: in which of all spaces it begins */
    PARAM_KEY = 1 << 28,      /* key=: one key or name, where prefix= means many */
    PARAM_CONTEXTS = 1 << 29, /* contexts=true */
    PARAM_NEEDED = 1 << 17,   /* of the route: prefix must be there, if only as prefix= */
};

enum { WAIT_DEFAULT_MS = 1000, LIST_LIMIT_DEFAULT = 100, LIST_LIMIT_MAX = 10000 };
enum { W_MAX = 1024 /* CLOCK_REPLICAS_MAX */, W_MAJORITY = W_MAX + 1, W_ALL };
enum { POLL_MAX_MS = 600000 };
#define TTL_MAX_MS (UINT64_C(36525) * 86400 * 1000) /* a hundred years */

enum mode { MODE_OF_CONFLICT, MODE_REPLACE, MODE_ADD }; /* the first: as Server.Conflict says */

struct param_key {
    size_t length;
    uint8_t data[KEY_MAX];
};

struct params {
    unsigned given;                       /* PARAM_ bits of those that stand in the query */
    uint64_t wait_ms, ttl_ms, expires_ms; /* the last two: 0 without */
    uint64_t poll_ms;
    struct bytes since, member; /* raw, borrowed from the query */
    bool siblings, values, raw, touch, reverse, count, list, contexts;
    bool exact; /* prefix is the whole of a key */
    bool all;   /* of all spaces; space is then that of keys */
    enum mode mode;
    unsigned limit; /* 0: all */
    unsigned w;     /* 0: without; or a number, W_MAJORITY, W_ALL */
    enum space space, from;
    /* With another space than that of keys the first three are of its records' keys (space.h),
     * and prefix is never empty. With all of them there is none, and after is of `from`. */
    struct param_key prefix, after, end, delimiter, through;
    struct dot row;
};

static inline struct bytes param_bytes(const struct param_key *key)
{
    return bytes_of(key->data, key->length);
}

/* Bits of 1 << enum space. */
static inline unsigned params_spaces(const struct params *p)
{
    return p->all ? 1U << SPACE_KEYS | 1U << SPACE_COUNTERS | 1U << SPACE_SETS : 1U << p->space;
}

/* Those of an empty query. */
void params_init(struct params *params);

/* ERR_MALFORMED with a sentence in `why` naming the parameter. `allowed` are the
 * PARAM_ bits of the route; a wait above wait_max_ms is out of range. *params
 * must be initialised, and is of no use after an error. */
enum err params_parse(struct bytes query, unsigned allowed, uint64_t wait_max_ms, struct params *params,
                      struct buf *why) MUST_USE;

#endif
