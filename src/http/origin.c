#include "origin.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

/* A name that no one else's DNS decides: an IP address, localhost. */
static bool is_own_name(const char *host)
{
    char name[INET6_ADDRSTRLEN];
    struct in6_addr address;
    bool bracketed = host[0] == '[';
    size_t length = bracketed ? strcspn(host + 1, "]") : strcspn(host, ":");
    if (length == 0 || length >= sizeof name)
        return false;
    const char *rest = bracketed ? host + 1 + length + 1 : host + length;
    if ((bracketed && host[1 + length] != ']') || (*rest != '\0' && *rest != ':'))
        return false;
    memcpy(name, host + bracketed, length);
    name[length] = '\0';
    if (bracketed)
        return inet_pton(AF_INET6, name, &address) == 1;
    return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &address) == 1;
}

bool origin_allowed(const char *origin, const char *host, const char *const *allowed, size_t allowed_count)
{
    for (size_t i = 0; i < allowed_count; i++)
        if (strcasecmp(origin, allowed[i]) == 0)
            return true;
    static const char scheme[] = "http://";
    if (!host || strncasecmp(origin, scheme, sizeof scheme - 1) != 0)
        return false;
    return strcasecmp(origin + sizeof scheme - 1, host) == 0 && is_own_name(host);
}
