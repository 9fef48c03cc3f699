#include "sockaddr.h"

#include <netinet/in.h>

bool sockaddr_of(const struct addr *addr, int family, struct sockaddr_storage *ret)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct addr a = family == AF_INET6 ? *addr : addr_unmapped(*addr);
    *ret = (struct sockaddr_storage){0};
    if (a.len == 4 && family != AF_INET6) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret;
        in->sin_family = AF_INET;
        in->sin_port = htons(a.port);
        memcpy(&in->sin_addr, a.ip, 4);
        return true;
    }
    if (family == AF_INET || (a.len != 4 && a.len != 16))
        return false;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(a.port);
    uint8_t *ip = in6->sin6_addr.s6_addr;
    if (a.len == 4) {
        memcpy(ip, mapped, sizeof mapped);
        memcpy(ip + sizeof mapped, a.ip, 4);
    } else {
        memcpy(ip, a.ip, 16);
    }
    return true;
}

struct addr addr_of_sockaddr(const struct sockaddr *in)
{
    struct addr addr = {0};
    if (in->sa_family == AF_INET) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)in;
        addr.len = 4;
        addr.port = ntohs(in4->sin_port);
        memcpy(addr.ip, &in4->sin_addr, 4);
    } else if (in->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)in;
        addr.len = 16;
        addr.port = ntohs(in6->sin6_port);
        memcpy(addr.ip, &in6->sin6_addr, 16);
    }
    return addr;
}
