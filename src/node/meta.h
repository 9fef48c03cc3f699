/* A member's meta, as gossip carries it: a JSON object of at most 512 bytes,
 *
 *   {"NodeName":"kronk","APIIngress":"10.0.0.7:7947","Replica":"<uuid>","Yzma":1}
 *
 * that is Peering.Federation and what peers need to reach and tell us apart.
 * "Yzma" is the version of this object. A member whose meta is something else is
 * a member, but no replica. */
#ifndef YZMA_NODE_META_H
#define YZMA_NODE_META_H

#include "dot.h"

enum { META_MAX = 512, META_TEXT_MAX = 255, META_VERSION = 1 };

struct meta {
    char node_name[META_TEXT_MAX + 1];
    char ingress[META_TEXT_MAX + 1];
    struct replica_id replica;
};

/* ERR_TOO_LARGE when the texts do not fit. */
enum err meta_encode(const struct meta *meta, struct buf *out) MUST_USE;
/* ERR_MALFORMED for a meta that is not ours. */
enum err meta_decode(struct bytes json, struct meta *ret) MUST_USE;

#endif
