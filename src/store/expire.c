/* Expiry: versions whose time is over are dropped from the store, here alone and
 * without an operation: every store does the same by itself, at about the same time.
 *
 * What was dropped does not come back: its dot is in the record's context, and, once
 * that is dropped, at or below the floor, so that a merge takes it for seen and
 * removed (merge.c). Whether the wall clock may be believed is not decided here
 * (sync/expire.c).
 *
 * An index by time tells which keys to look at, so that a store without expiring
 * versions pays nothing, and one with many pays for what expires. It follows the
 * records in every transaction; an entry without its version does no harm. */
#include "txn.h"

#include "check.h"

enum { EXPIRY_KEY_MAX = sizeof META_EXPIRY_PREFIX - 1 + 8 + KEY_MAX };

static struct bytes index_key(uint64_t expires_ms, struct bytes key, uint8_t out[EXPIRY_KEY_MAX])
{
    size_t n = sizeof META_EXPIRY_PREFIX - 1;
    CHECK(key.len <= KEY_MAX);
    memcpy(out, META_EXPIRY_PREFIX, n);
    for (int shift = 56; shift >= 0; shift -= 8)
        out[n++] = (uint8_t)(expires_ms >> shift);
    memcpy(out + n, key.data, key.len);
    return bytes_of(out, n + key.len);
}

/* ERR_NOT_FOUND for what is no entry of the index. */
static enum err index_decode(struct bytes entry, uint64_t *ret_expires_ms, struct bytes *ret_key)
{
    struct bytes prefix = bytes_str(META_EXPIRY_PREFIX);
    if (!bytes_starts_with(entry, prefix))
        return ERR_NOT_FOUND;
    struct cursor in = cursor_of(bytes_of(entry.data + prefix.len, entry.len - prefix.len));
    uint64_t expires_ms = cursor_u64(&in);
    struct bytes key = cursor_bytes(&in, cursor_left(&in));
    if (in.err != OK || !key_valid(key))
        return ERR_DAMAGED;
    *ret_expires_ms = expires_ms;
    *ret_key = key;
    return OK;
}

static bool expires_at(const struct record *record, uint64_t expires_ms)
{
    for (size_t i = 0; i < record->count; i++)
        if (record->versions[i].expires_ms == expires_ms)
            return true;
    return false;
}

enum err expire_index(struct store_txn *txn, struct bytes key, const struct record *before,
                      const struct record *after)
{
    uint8_t room[EXPIRY_KEY_MAX];
    enum err err = OK;
    for (size_t i = 0; i < before->count && err == OK; i++) {
        uint64_t ms = before->versions[i].expires_ms;
        if (ms && !expires_at(after, ms))
            err = txn_del(txn, TABLE_META, index_key(ms, key, room));
    }
    for (size_t i = 0; i < after->count && err == OK; i++) {
        uint64_t ms = after->versions[i].expires_ms;
        if (ms && !expires_at(before, ms))
            err = txn_put(txn, TABLE_META, index_key(ms, key, room), bytes_str("1"));
    }
    return err;
}

/* A record that cannot be read is left as it is; mended, it is in the index again. */
static enum err drop(struct store_txn *txn, struct bytes key, uint64_t before_ms)
{
    size_t dropped = 0;
    enum err err = txn_load(txn, key);
    if (err != OK)
        return err == ERR_DAMAGED && txn->failed == OK ? OK : err;
    record_clear(&txn->merged);
    clock_copy(&txn->merged.context, &txn->local.context);
    for (size_t i = 0; i < txn->local.count; i++) {
        const struct version *version = &txn->local.versions[i];
        if (version->expires_ms && version->expires_ms <= before_ms) {
            clock_raise(&txn->merged.context, &version->dot);
            dropped++;
        } else {
            record_add(&txn->merged, version);
        }
    }
    if (!dropped)
        return OK;
    err = txn_store(txn, key, &txn->merged, NULL);
    if (err == OK)
        txn->store->versions_expired += dropped;
    return err;
}

enum err expire_do(struct store_txn *txn, uint64_t before_ms, bool *ret_more)
{
    for (size_t left = EXPIRE_KEYS_MAX;; left--) {
        uint8_t room[EXPIRY_KEY_MAX];
        struct bytes entry, value, key;
        uint64_t expires_ms = 0;
        enum err err = txn_seek(txn, TABLE_META, bytes_str(META_EXPIRY_PREFIX), &entry, &value);
        if (err == OK)
            err = index_decode(entry, &expires_ms, &key);
        if (err == ERR_NOT_FOUND || (err == OK && expires_ms > before_ms)) {
            *ret_more = false;
            return OK;
        }
        if (err == OK && left == 0) {
            *ret_more = true;
            return OK;
        }
        if (err == OK) {
            entry = index_key(expires_ms, key, room);
            err = drop(txn, bytes_of(room + entry.len - key.len, key.len), before_ms);
        }
        if (err == OK)
            err = txn_del(txn, TABLE_META, entry);
        if (err != OK)
            return err;
    }
}

enum err expire_first(struct engine *engine, struct engine_txn *txn, uint64_t *ret_ms)
{
    struct engine_cursor *cursor;
    struct bytes entry, value, key;
    enum err err = engine->ops->cursor_open(txn, TABLE_META, &cursor);
    if (err != OK)
        return err;
    err = engine->ops->cursor_seek(cursor, bytes_str(META_EXPIRY_PREFIX), &entry, &value);
    if (err == OK)
        err = index_decode(entry, ret_ms, &key);
    engine->ops->cursor_close(cursor);
    return err;
}
