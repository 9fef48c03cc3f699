/* The Origin rule: which web pages may call this node.
 *
 * A browser lets any page send a form to http://localhost:8080, and says in
 * Origin who asks; bodies of forms are accepted here, so without this rule any
 * page could write. Programs send no Origin and are not concerned.
 *
 * Own host is what the request's Host says, but only if that is an IP address or
 * localhost: a page of evil.example whose name is made to resolve to 127.0.0.1
 * (DNS rebinding) sends Host and Origin alike, both evil.example. A node that
 * serves pages under a name lists that origin in API.AllowedOrigins. */
#ifndef YZMA_HTTP_ORIGIN_H
#define YZMA_HTTP_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

/* host may be NULL. Each of `allowed` is an origin, "https://app.example:8443". */
bool origin_allowed(const char *origin, const char *host, const char *const *allowed, size_t allowed_count);

#endif
