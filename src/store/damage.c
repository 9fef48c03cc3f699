/* Which records were found damaged: noted by whoever meets one, on any thread,
 * until a sound one stands in its place.
 *
 * A short list under a spin lock that nobody waits for: who finds it taken, or the
 * list full, leaves the note out, as the record will be met again. Who searches goes no
 * further then. */
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

/* False: the list is full, or taken just now. */
static bool is_noted(struct store *store, struct bytes key)
{
    struct damage *damage = &store->damage;
    store_note_damage(store, key, NULL);
    if (!take(damage))
        return false;
    bool noted = find(damage, key) >= 0;
    give_back(damage);
    return noted;
}

enum err store_search_damage(struct store *store, struct bytes after, size_t records, size_t bytes,
                             uint8_t ret_through[KEY_MAX], size_t *ret_through_len, bool *ret_end)
{
    struct record record = {0};
    struct bytes key, encoded = {0};
    struct snapshot *snapshot;
    struct scan *scan;
    size_t len = after.len;
    CHECK(after.len <= KEY_MAX);
    enum err err = snapshot_open(store, &snapshot);
    if (err != OK)
        return err;
    err = scan_open(snapshot, after, &scan);
    if (err != OK) {
        snapshot_close(snapshot);
        return err;
    }
    memmove(ret_through, after.data, after.len);
    for (size_t seen = 0, read = 0; seen < records && (seen == 0 || read < bytes); read += encoded.len) {
        err = scan_next(scan, &key, &encoded);
        if (err != OK)
            break;
        if (!key_valid(key) || bytes_compare(key, bytes_of(ret_through, len)) <= 0)
            continue; /* the scan begins at the last one that was looked at */
        if (record_decode(key, encoded, &record) != OK) {
            if (!is_noted(store, key))
                break;
            store->records_damaged++;
        }
        memcpy(ret_through, key.data, len = key.len);
        seen++;
    }
    scan_close(scan);
    snapshot_close(snapshot);
    record_done(&record);
    *ret_through_len = len;
    *ret_end = err == ERR_NOT_FOUND;
    return *ret_end ? OK : err;
}
