/* A transport address as gossip carries it: 4 or 16 bytes and a port. Printed
 * and parsed only at the edge: this floor has no resolver. */
#ifndef YZMA_BASE_ADDR_H
#define YZMA_BASE_ADDR_H

#include "bytes.h"

struct addr {
    uint8_t ip[16];
    uint8_t len;   /* 4, 16, or 0 for "none" */
    uint16_t port; /* host byte order */
};

/* The same endpoint, with an IPv4-mapped address (::ffff:a.b.c.d) equal to its
 * four-byte form. */
bool addr_equal(const struct addr *a, const struct addr *b);
/* The four-byte form of a mapped address; others unchanged. */
struct addr addr_unmapped(struct addr a);

enum { ADDR_TEXT_MAX = 56 };
/* "127.0.0.1:7946", "[::1]:7946"; "none" for len 0. out holds ADDR_TEXT_MAX. */
char *addr_text(const struct addr *a, char out[ADDR_TEXT_MAX]);

#endif
