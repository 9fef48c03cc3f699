#include "condition.h"

#include "crc.h"

uint64_t record_tag(const struct record *r, uint64_t now_ms)
{
    uint32_t castagnoli = 0, ieee = 0;
    bool living = false;
    for (size_t i = 0; i < r->count; i++) {
        const struct version *v = &r->versions[i];
        if (version_expired(v, now_ms))
            continue;
        uint8_t dot[REPLICA_ID_SIZE + 8];
        memcpy(dot, v->dot.replica.b, REPLICA_ID_SIZE);
        for (int k = 0; k < 8; k++)
            dot[REPLICA_ID_SIZE + k] = (uint8_t)(v->dot.counter >> (56 - 8 * k));
        castagnoli = crc32c(castagnoli, bytes_of(dot, sizeof dot));
        ieee = crc32_ieee(ieee, bytes_of(dot, sizeof dot));
        living = true;
    }
    uint64_t tag = (uint64_t)castagnoli << 32 | ieee;
    return living && tag == 0 ? 1 : tag;
}

static bool has(const struct tag_list *list, uint64_t tag)
{
    if (list->any)
        return tag != 0;
    for (size_t i = 0; i < list->count; i++)
        if (tag && list->tags[i] == tag)
            return true;
    return false;
}

bool condition_holds(const struct condition *condition, uint64_t tag)
{
    return (!condition->match.present || has(&condition->match, tag)) &&
           (!condition->none_match.present || !has(&condition->none_match, tag));
}
