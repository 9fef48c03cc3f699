/* Which records were found damaged: noted by whoever meets one, on any thread,
 * until a sound one stands in its place.
 *
 * A short list under a spin lock that nobody waits for: who finds it taken, or the
 * list full, leaves the note out, as the record will be met again. */
#include "txn.h"

#include "check.h"

static bool take(struct damage *damage)
{
    return !atomic_flag_test_and_set_explicit(&damage->busy, memory_order_acquire);
}

static void give_back(struct damage *damage)
{
    atomic_flag_clear_explicit(&damage->busy, memory_order_release);
}

static ptrdiff_t find(const struct damage *damage, struct bytes key)
{
    for (size_t i = 0; i < damage->count; i++)
        if (bytes_equal(bytes_of(damage->list[i].key, damage->list[i].key_len), key))
            return (ptrdiff_t)i;
    return -1;
}

void store_note_damage(struct store *store, struct bytes key, const struct dot *proof)
{
    struct damage *damage = &store->damage;
    if (!key_valid(key) || !take(damage))
        return;
    if (find(damage, key) < 0 && damage->count < DAMAGED_KEYS_MAX) {
        struct damaged_key *new = &damage->list[damage->count++];
        memcpy(new->key, key.data, key.len);
        new->key_len = key.len;
        new->proof = proof ? *proof : (struct dot){0};
    }
    give_back(damage);
}

bool store_damaged_key(struct store *store, size_t index, struct damaged_key *ret)
{
    struct damage *damage = &store->damage;
    if (!take(damage))
        return false;
    bool found = index < damage->count;
    if (found)
        *ret = damage->list[index];
    give_back(damage);
    return found;
}

void store_damage_mended(struct store *store, struct bytes key)
{
    struct damage *damage = &store->damage;
    if (!take(damage))
        return; /* asked for again, it is found sound */
    ptrdiff_t at = find(damage, key);
    if (at >= 0)
        damage->list[at] = damage->list[--damage->count];
    give_back(damage);
}
