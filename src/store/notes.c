/* Notes: small named values that the node keeps in the store. */
#include "txn.h"

enum err notes_do(struct store_txn *txn, const struct note *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].value.err != OK || list[i].name[0] == 0 || !memchr(list[i].name, 0, sizeof list[i].name))
            return ERR_MALFORMED;
    struct buf key;
    buf_init(&key, sizeof META_NOTE_PREFIX + NOTE_NAME_MAX);
    enum err err = OK;
    for (size_t i = 0; i < count && err == OK; i++) {
        buf_reset(&key);
        buf_put_text(&key, META_NOTE_PREFIX);
        buf_put_text(&key, list[i].name);
        if (key.err != OK)
            err = key.err;
        else if (list[i].remove)
            err = txn_del(txn, TABLE_META, buf_bytes(&key));
        else
            err = txn_put(txn, TABLE_META, buf_bytes(&key), buf_bytes(&list[i].value));
    }
    buf_done(&key);
    return err;
}
