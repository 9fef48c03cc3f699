/* The body of POST /batch, read into work for the store:
 *
 *   {"Ops":[{"Op":"put","Key":"a","Value":..},
 *           {"Op":"put","Key":"b","Value64":"..","Type":"image/png","TTL":"90s"},
 *           {"Op":"delete","Key":"c","IfMatch":"\"0123456789abcdef\""}]}
 *
 * A put has Value or Value64, may have Type with Value64, TTL or Expires, Mode; both
 * may have IfMatch and IfNoneMatch, as the headers have them. Each member at most
 * once, nothing else, each key once. */
#ifndef YZMA_HTTP_BATCH_READ_H
#define YZMA_HTTP_BATCH_READ_H

#include "store.h"

struct batch_limits {
    uint64_t wall_ms;   /* TTL counts from there; Expires lies above */
    uint64_t value_max; /* bytes of one value */
    /* Whether a put that does not say adds to what there is. */
    bool (*adds)(void *ctx, unsigned mode, const struct condition *condition);
    void *ctx;
};

/* Adds the writes to a WORK_BATCH, which borrow from the text and from the work. The text
 * is valid JSON. ERR_MALFORMED with a sentence in why, ERR_TOO_LARGE (a value, or more
 * than TXN_RECORDS_MAX) likewise, ERR_NOMEM. */
enum err batch_read(struct bytes text, const struct batch_limits *limits, struct store_work *work,
                    struct buf *why) MUST_USE;

#endif
