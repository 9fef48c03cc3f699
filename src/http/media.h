/* Media types of bodies (RFC 9110, 8.3). */
#ifndef YZMA_HTTP_MEDIA_H
#define YZMA_HTTP_MEDIA_H

#include "bytes.h"

/* True for what is read as JSON: nothing at all (NULL, or empty), application/json, any
 * type that ends in +json, and application/x-www-form-urlencoded, which is what
 * `curl -d` says of everything it sends. Case and parameters do not matter. */
bool media_is_json(const char *content_type);

/* True for a media type with or without parameters, of printable ASCII and at most
 * CONTENT_TYPE_MAX bytes. */
bool media_is_type(const char *content_type);

/* A stored type as a header may carry it: JSON's for an empty one, and '?' for bytes that
 * no client could have sent, but a peer has. out holds CONTENT_TYPE_MAX + 1. */
char *media_text(struct bytes stored, char *out);

/* Whether an Accept header (RFC 9110, 12.5.1) lists the type, other than with q=0; in
 * wildcard ranges too, where that is asked for. NULL is a range of everything. */
bool media_accepted(const char *accept, const char *type, bool by_wildcards);

#endif
