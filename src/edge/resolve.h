/* Names to addresses, by the system's resolver, without waiting for it. */
#ifndef YZMA_EDGE_RESOLVE_H
#define YZMA_EDGE_RESOLVE_H

#include "addr.h"

#include <uv.h>

enum { RESOLVED_MAX = 8 }; /* addresses of one name; the rest is left out */

/* Those under way in one loop. {0} is none. */
struct resolves {
    struct resolve *first;
};

/* addrs: in the order in which they should be tried. Where there are none,
 * problem says why. */
typedef void resolve_done(void *ctx, const struct addr *addrs, size_t count, const char *problem);

/* text: "host:port", "host" (then default_port), with IPv6 addresses in brackets.
 * family: AF_INET, or AF_UNSPEC for both. done is called exactly once, from the
 * loop, never from within this call. */
void resolve_start(struct resolves *resolves, uv_loop_t *loop, const char *text, uint16_t default_port,
                   int family, resolve_done *done, void *ctx);
/* Those not yet begun end at once; one that the system works on, when it has. */
void resolve_cancel_all(struct resolves *resolves);

#endif
