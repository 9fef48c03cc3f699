/* The rest of a deleted key that no row will lead to.
 *
 * A record without versions goes when the floor tells all that its context does, and the
 * last of its rows to go finds it then (prune.c), as each operation above the floor has
 * one. But a context may name more than operations on its key: a store that takes a new
 * id cuts it to its own floor (reidentify.c), and the operation of that counter may be
 * any key's. Where the floor stands below there is another key's row, then, or will be; if
 * it is the last to go, nobody looks at this key again. So an entry like that is noted
 * with the key, and the note leads to the record once the floor has passed the entry. */
#include "txn.h"

#include "check.h"

enum { REST_KEY_MAX = sizeof META_REST_PREFIX - 1 + ROW_KEY_SIZE + KEY_MAX };

static struct bytes note_key(const struct dot *dot, struct bytes key, uint8_t out[REST_KEY_MAX])
{
    uint8_t at[ROW_KEY_SIZE];
    size_t n = sizeof META_REST_PREFIX - 1;
    CHECK(key.len <= KEY_MAX);
    memcpy(out, META_REST_PREFIX, n);
    memcpy(out + n, row_key(dot, at).data, ROW_KEY_SIZE);
    if (key.len)
        memcpy(out + n + ROW_KEY_SIZE, key.data, key.len);
    return bytes_of(out, n + ROW_KEY_SIZE + key.len);
}

/* The key is copied. ERR_NOT_FOUND for what is no such note. */
static enum err note_decode(struct bytes note, struct dot *ret, uint8_t room[KEY_MAX], struct bytes *ret_key)
{
    struct bytes prefix = bytes_str(META_REST_PREFIX);
    if (!bytes_starts_with(note, prefix))
        return ERR_NOT_FOUND;
    struct cursor in = cursor_of(bytes_of(note.data + prefix.len, note.len - prefix.len));
    struct bytes at = cursor_bytes(&in, ROW_KEY_SIZE), key = cursor_bytes(&in, cursor_left(&in));
    if (in.err != OK || !key_valid(key) || row_key_decode(at, ret) != OK)
        return ERR_DAMAGED;
    memcpy(room, key.data, key.len);
    *ret_key = bytes_of(room, key.len);
    return OK;
}

/* Is there a row that leads to this key, and will stay as long as the entry counts? Above
 * the clock another key's may still take its place; in a walk the true ones are to come. */
static enum err is_led_to(struct store_txn *txn, struct bytes key, const struct dot *dot, bool *ret)
{
    uint8_t at[ROW_KEY_SIZE];
    struct bytes value;
    struct row row;
    *ret = false;
    if (!clock_covers_dot(&txn->state.clock, dot) && txn->state.walk.phase == WALK_NONE)
        return OK;
    enum err err = txn_get(txn, TABLE_ROWS, row_key(dot, at), &value);
    if (err == OK)
        *ret = row_decode(bytes_of(at, sizeof at), value, &row) == OK && bytes_equal(row.key, key);
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err rest_note(struct store_txn *txn, struct bytes key, const struct clock *context)
{
    enum err err = OK;
    for (size_t i = 0; i < context->count && err == OK; i++) {
        const struct dot *entry = &context->entries[i];
        uint8_t room[REST_KEY_MAX];
        bool led_to = clock_covers_dot(&txn->state.floor, entry);
        if (!led_to)
            err = is_led_to(txn, key, entry, &led_to);
        if (err == OK && !led_to)
            err = txn_put(txn, TABLE_META, note_key(entry, key, room), bytes_str("1"));
    }
    return err;
}

enum err rest_do(struct store_txn *txn, size_t *left, bool *ret_more)
{
    struct dot from = {0};
    for (;;) {
        uint8_t at[REST_KEY_MAX], room[KEY_MAX];
        struct bytes note, value, key;
        struct dot dot;
        enum err err = txn_seek(txn, TABLE_META, note_key(&from, bytes_of(NULL, 0), at), &note, &value);
        if (err == OK)
            err = note_decode(note, &dot, room, &key);
        if (err != OK)
            return err == ERR_NOT_FOUND ? OK : err;
        if (!clock_covers_dot(&txn->state.floor, &dot)) {
            from = (struct dot){dot.replica, UINT64_MAX}; /* the next replica's */
            if (!dot_after(&from))
                return OK;
            continue;
        }
        if (*left == 0) {
            *ret_more = true;
            return OK;
        }
        (*left)--;
        err = sweep_let_go(txn, key);
        if (err == ERR_DAMAGED && txn->failed == OK)
            err = OK; /* counted; what takes its place is looked at then */
        if (err == OK)
            err = txn_del(txn, TABLE_META, note_key(&dot, key, at));
        if (err != OK)
            return err;
    }
}
