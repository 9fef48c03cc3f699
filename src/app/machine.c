#include "machine.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* RFC 1918, and 100.64/10 of RFC 6598, as memberlist counts it. */
static bool is_private4(const struct in_addr *in)
{
    uint32_t a = ntohl(in->s_addr);
    return a >> 24 == 10 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8 || a >> 22 == 0x191;
}

/* Unique local addresses, fc00::/7 (RFC 4193). */
static bool is_private6(const struct in6_addr *in)
{
    return (in->s6_addr[0] & 0xfe) == 0xfc;
}

struct pick {
    char *text;
    bool found, private;
};

/* The first private address wins over any other; among equals the first. */
static void offer(struct pick *pick, int family, const void *in, bool private)
{
    if (pick->found && (pick->private || !private))
        return;
    if (inet_ntop(family, in, pick->text, MACHINE_TEXT_MAX)) {
        pick->found = true;
        pick->private = private;
    }
}

static void find_addresses(struct machine *machine)
{
    struct pick pick4 = {.text = machine->address4}, pick6 = {.text = machine->address6};
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0)
        return;
    for (struct ifaddrs *i = list; i; i = i->ifa_next) {
        if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK))
            continue;
        if (i->ifa_addr->sa_family == AF_INET) {
            struct sockaddr_in in;
            memcpy(&in, i->ifa_addr, sizeof in);
            offer(&pick4, AF_INET, &in.sin_addr, is_private4(&in.sin_addr));
        } else if (i->ifa_addr->sa_family == AF_INET6) {
            struct sockaddr_in6 in;
            memcpy(&in, i->ifa_addr, sizeof in);
            if (!IN6_IS_ADDR_LINKLOCAL(&in.sin6_addr)) /* of no use without a scope */
                offer(&pick6, AF_INET6, &in.sin6_addr, is_private6(&in.sin6_addr));
        }
    }
    freeifaddrs(list);
}

void machine_describe(struct machine *ret)
{
    *ret = (struct machine){.address4 = "127.0.0.1", .address6 = "::1", .cores = 1};
    if (gethostname(ret->host_name, sizeof ret->host_name - 1) != 0 || ret->host_name[0] == '\0')
        snprintf(ret->host_name, sizeof ret->host_name, "yzma");
    find_addresses(ret);
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        ret->cores = (unsigned)CPU_COUNT(&set);
}
