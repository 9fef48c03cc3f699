/* Media types of bodies (RFC 9110, 8.3). */
#ifndef YZMA_HTTP_MEDIA_H
#define YZMA_HTTP_MEDIA_H

#include "bytes.h"

/* True for what is read as JSON: nothing at all (NULL), application/json, any
 * type that ends in +json, and application/x-www-form-urlencoded, which is what
 * `curl -d` says of everything it sends. Case and parameters do not matter. */
bool media_is_json(const char *content_type);

#endif
