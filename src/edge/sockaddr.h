/* Between struct addr and what the system's socket calls take. */
#ifndef YZMA_EDGE_SOCKADDR_H
#define YZMA_EDGE_SOCKADDR_H

#include "addr.h"

#include <sys/socket.h>

/* family: of the socket that it is for. An IPv4 address goes to an IPv6 socket
 * in its mapped form; AF_UNSPEC takes the address's own. False where the socket
 * cannot reach the address. */
bool sockaddr_of(const struct addr *addr, int family, struct sockaddr_storage *ret);
/* len 0 for families other than IPv4 and IPv6. */
struct addr addr_of_sockaddr(const struct sockaddr *in);

#endif
