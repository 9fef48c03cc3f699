/* Ranges of keys in short. A key counts with its name and the dots of its versions,
 * not with its context: contexts are dropped at each node's own time. The hash of a
 * range is the sum of its keys' hashes, so that it can be taken in pieces. It need not
 * stand up to somebody who seeks collisions: who may write may write the same value. */
#include "txn.h"

static uint64_t mix(uint64_t hash)
{
    /* the end of splitmix64 */
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
    return hash ^ hash >> 31;
}

static uint64_t add(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++) /* FNV-1a */
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

/* 0 where no version counts. */
static uint64_t hash_of(struct bytes key, const struct record *record, uint64_t expired_ms)
{
    uint64_t hash = mix(add(0xcbf29ce484222325u, key.data, key.len));
    bool any = false;
    for (size_t i = 0; i < record->count; i++) {
        const struct version *version = &record->versions[i];
        if (version->expires_ms && version->expires_ms <= expired_ms)
            continue;
        hash = mix(add(hash, version->dot.replica.b, REPLICA_ID_SIZE) + version->dot.counter);
        any = true;
    }
    return !any ? 0 : hash ? hash : 1;
}

enum err snapshot_digest(struct snapshot *snapshot, struct bytes after, struct bytes through,
                         const struct digest_limits *limits, struct range_digest *ret,
                         uint8_t ret_through[KEY_MAX], size_t *ret_through_len, bool *ret_end,
                         void (*each)(void *ctx, struct bytes key, uint64_t hash), void *ctx)
{
    struct range_digest sum = {0};
    struct record record = {0};
    struct scan *scan;
    size_t records = 0, bytes = 0, last_len = 0;
    uint8_t last[KEY_MAX];
    bool end = true;
    enum err err = scan_open(snapshot, after, &scan);
    if (err != OK)
        return err;
    for (;;) {
        struct bytes key, encoded;
        err = scan_next(scan, &key, &encoded);
        if (err != OK || (through.data && bytes_compare(key, through) > 0))
            break;
        if (after.len && bytes_compare(key, after) <= 0)
            continue;
        if (records == limits->records || bytes >= limits->bytes) {
            end = false;
            break;
        }
        if (!key_valid(key) || record_decode(key, encoded, &record) != OK) {
            snapshot_met_damage(snapshot, key, NULL);
            err = ERR_DAMAGED;
            break;
        }
        uint64_t hash = hash_of(key, &record, limits->expired_ms);
        sum.keys += hash != 0;
        sum.hash += hash;
        if (hash && each)
            each(ctx, key, hash);
        memcpy(last, key.data, last_len = key.len);
        records++;
        bytes += encoded.len;
    }
    scan_close(scan);
    record_done(&record);
    if (err != OK && err != ERR_NOT_FOUND)
        return err;
    *ret = sum;
    if (end && through.data)
        memmove(last, through.data, last_len = through.len);
    memcpy(ret_through, last, last_len);
    *ret_through_len = last_len;
    *ret_end = end;
    return OK;
}

static void count_row(void *ctx, const struct row *row)
{
    (void)row;
    ++*(size_t *)ctx;
}

enum err snapshot_is_settled(struct snapshot *snapshot, bool *ret)
{
    struct walk_state walk = {0};
    size_t ahead = 0;
    enum err err = snapshot_walk(snapshot, &walk);
    if (err == OK)
        err = snapshot_rows_ahead(snapshot, 1, count_row, &ahead);
    if (err == OK)
        *ret = walk.phase == WALK_NONE && ahead == 0;
    walk_state_done(&walk);
    return err;
}
