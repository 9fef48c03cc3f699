/* The request target, read from its raw bytes: which resource, which key, and
 * where the query begins.
 *
 * The library hands out a decoded path in which %00 ends the text and bad escapes
 * pass, so nothing here uses it. A key is the percent-decoded rest of the path
 * after /keys/: slashes belong to it, written plainly or as %2F, "//" and ".."
 * are not touched, and '+' is a plus. */
#ifndef YZMA_HTTP_TARGET_H
#define YZMA_HTTP_TARGET_H

#include "record.h"

enum route {
    ROUTE_NONE, /* no such path: 404 */
    ROUTE_KEYS,
    ROUTE_KEY,
    ROUTE_CONFLICTS,
    ROUTE_BATCH,
    ROUTE_IMPORT,
    ROUTE_EXPORT,
    ROUTE_WATCH,
    ROUTE_JOIN,
    ROUTE_LEAVE,
    ROUTE_MEMBERS,
    ROUTE_STATUS,
    ROUTE_CLUSTER_KEYS,
    ROUTE_KEYS_INSTALL,
    ROUTE_KEYS_USE,
    ROUTE_KEYS_REMOVE,
    ROUTE_FORGET,
    ROUTE_RETIRE,
    ROUTE_PAUSE,
    ROUTE_RESUME,
    ROUTE_BACKUP,
    ROUTE_DIGEST,
    ROUTE_HEALTH,
    ROUTE_READY,
    ROUTES
};

struct target {
    enum route route;
    unsigned error_status; /* 0, or the status with which to refuse it: 400, 414 */
    const char *error;     /* a constant text beside it */
    size_t key_length;     /* ROUTE_KEY */
    uint8_t key[KEY_MAX];
    struct bytes query; /* raw, borrowed; empty without one */
};

/* Fills all of *ret. */
void target_parse(struct bytes raw, struct target *ret);

static inline struct bytes target_key(const struct target *target)
{
    return bytes_of(target->key, target->key_length);
}

/* Decodes %XX, and '+' to a space where plus_is_space. ERR_MALFORMED for a bad
 * escape; ERR_TOO_LARGE when the result is longer than room. */
enum err percent_decode(struct bytes text, bool plus_is_space, uint8_t *out, size_t room,
                        size_t *ret_length) MUST_USE;

#endif
