#include "addr.h"

#include <stdio.h>

struct addr addr_unmapped(struct addr a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a.len != 16 || memcmp(a.ip, mapped, 12) != 0)
        return a;
    struct addr v4 = {.len = 4, .port = a.port};
    memcpy(v4.ip, a.ip + 12, 4);
    return v4;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    struct addr x = addr_unmapped(*a), y = addr_unmapped(*b);
    return x.len == y.len && x.port == y.port && memcmp(x.ip, y.ip, x.len) == 0;
}

/* RFC 5952: the longest run of zero groups (two or more) becomes "::". */
static size_t ipv6_text(const uint8_t ip[16], char *out, size_t room)
{
    unsigned group[8];
    int best = -1, best_len = 1;
    for (int i = 0; i < 8; i++)
        group[i] = (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
    for (int i = 0; i < 8; i++) {
        int n = 0;
        while (i + n < 8 && group[i + n] == 0)
            n++;
        if (n > best_len) {
            best = i;
            best_len = n;
        }
    }
    size_t len = 0;
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            len += (size_t)snprintf(out + len, room - len, "::");
            i += best_len - 1;
            continue;
        }
        bool colon = i > 0 && out[len - 1] != ':';
        len += (size_t)snprintf(out + len, room - len, "%s%x", colon ? ":" : "", group[i]);
    }
    return len;
}

char *addr_text(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    struct addr u = addr_unmapped(*a);
    if (u.len == 4) {
        snprintf(out, ADDR_TEXT_MAX, "%u.%u.%u.%u:%u", u.ip[0], u.ip[1], u.ip[2], u.ip[3], u.port);
    } else if (u.len == 16) {
        out[0] = '[';
        size_t n = 1 + ipv6_text(u.ip, out + 1, ADDR_TEXT_MAX - 1);
        snprintf(out + n, ADDR_TEXT_MAX - n, "]:%u", u.port);
    } else {
        snprintf(out, ADDR_TEXT_MAX, "none");
    }
    return out;
}
