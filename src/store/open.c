/* Opening: the format is looked at before anything is written, the identity is
 * made or read, and this start is made durable.
 *
 * A store whose file is not the one it was (copied, restored), or that lacks a part
 * of its log, takes a new id at once: its original may be alive, its own operations
 * may be known elsewhere, and one dot must never name two operations. */
#include "txn.h"

#include "check.h"
#include "mem.h"

#include <stdlib.h>

/* Peering.QuarantineMax where nobody says otherwise. */
enum { QUARANTINE_MAX = 64 << 20 };

struct found {
    bool fresh; /* nothing in it yet */
    bool moved; /* the file is not the one it was, or lacks its log */
    bool older; /* of a format before ours */
    bool file_unknown;
    struct state state;
};

/* A store without a format must be empty. */
static enum err is_empty(struct engine *engine, struct engine_txn *txn, bool *ret)
{
    for (unsigned table = 0; table < TABLES; table++) {
        struct engine_cursor *cursor;
        struct bytes key, value;
        enum err err = engine->ops->cursor_open(txn, (enum table)table, &cursor);
        if (err != OK)
            return err;
        err = engine->ops->cursor_seek(cursor, bytes_of("", 0), &key, &value);
        engine->ops->cursor_close(cursor);
        if (err != ERR_NOT_FOUND) {
            *ret = false;
            return err;
        }
    }
    *ret = true;
    return OK;
}

static enum err check_format(struct bytes value, bool *ret_older, struct buf *why)
{
    struct cursor in = cursor_of(value);
    uint32_t format = cursor_u32(&in);
    if (cursor_finish(&in) != OK) {
        buf_put_text(why, "the store's format entry is damaged");
        return ERR_DAMAGED;
    }
    *ret_older = format >= STORE_FORMAT_FIRST && format < STORE_FORMAT;
    if (*ret_older || format == STORE_FORMAT)
        return OK;
    buf_put_format(why, "the store has format %u, and this program knows formats %d to %d", (unsigned)format,
                   STORE_FORMAT_FIRST, STORE_FORMAT);
    return ERR_VERSION;
}

enum err store_check_format(struct engine *engine, struct buf *why)
{
    struct engine_txn *txn;
    struct bytes value;
    bool older;
    enum err err = engine->ops->read_begin(engine, &txn);
    if (err == OK) {
        err = engine->ops->get(txn, TABLE_META, bytes_str(META_FORMAT), &value);
        err = err == OK ? check_format(value, &older, why) : err == ERR_NOT_FOUND ? OK : err;
        engine->ops->end(txn);
    }
    if (err != OK && why->len == 0)
        buf_put_format(why, "the store cannot be read: %s", err_text(err));
    return err;
}

static enum err look(struct engine *engine, struct engine_txn *txn, const struct store_options *options,
                     struct found *found, struct buf *why)
{
    struct bytes value;
    enum err err = engine->ops->get(txn, TABLE_META, bytes_str(META_FORMAT), &value);
    if (err == ERR_NOT_FOUND) {
        err = is_empty(engine, txn, &found->fresh);
        if (err == OK && !found->fresh) {
            buf_put_text(why, "the store holds entries but no format");
            err = ERR_DAMAGED;
        }
        return err;
    }
    if (err == OK)
        err = check_format(value, &found->older, why);
    if (err != OK)
        return err;
    err = state_load(engine, txn, &found->state);
    if (err == ERR_DAMAGED)
        buf_put_text(why, "the store's identity, clock or walk is damaged");
    if (err != OK)
        return err;
    err = engine->ops->get(txn, TABLE_META, bytes_str(META_FILE), &value);
    found->file_unknown = err == ERR_NOT_FOUND;
    if (err == OK)
        found->moved = options->file_identity.len && !bytes_equal(value, options->file_identity);
    found->moved = found->moved || options->log_lost;
    return err == ERR_NOT_FOUND ? OK : err;
}

static void start(const struct store_options *options, struct found *found, struct state *state)
{
    state_copy(state, &found->state);
    if (found->fresh) {
        state->identity.id = options->fresh_id;
        starts_append(&state->identity.starts, (struct start){.random = options->start_random});
    } else if (found->moved) {
        identity_renew(&state->identity, &options->fresh_id, options->start_random);
        state->own_known = 0;
    } else {
        identity_start(&state->identity, &state->clock, options->start_random);
    }
}

static enum err save(struct engine *engine, const struct store_options *options, const struct found *found,
                     const struct state *state)
{
    struct engine_txn *txn;
    enum err err = engine->ops->write_begin(engine, &txn);
    if (err != OK)
        return err;
    if (found->fresh || found->older) {
        struct buf format;
        buf_init(&format, 4);
        buf_put_u32(&format, STORE_FORMAT);
        err = format.err == OK ? engine->ops->put(txn, TABLE_META, bytes_str(META_FORMAT), buf_bytes(&format))
                               : format.err;
        buf_done(&format);
    }
    if (err == OK && options->file_identity.len && (found->fresh || found->moved || found->file_unknown))
        err = engine->ops->put(txn, TABLE_META, bytes_str(META_FILE), options->file_identity);
    if (err == OK)
        err = state_save(engine, txn, found->fresh ? NULL : &found->state, state);
    if (err == OK)
        return engine->ops->commit(txn);
    engine->ops->end(txn);
    return err;
}

enum err store_open(struct engine *engine, const struct store_options *options, struct store **ret,
                    bool *ret_reidentified, struct buf *why)
{
    CHECK(!replica_id_is_zero(&options->fresh_id));
    struct found found = {0};
    struct store *store = mem_new(sizeof *store);
    store->engine = engine;
    store->skew_max_ms = options->skew_max_ms;
    store->versions_max = options->versions_max;
    store->quarantine_max = options->quarantine_max ? options->quarantine_max : QUARANTINE_MAX;

    struct engine_txn *txn;
    enum err err = engine->ops->read_begin(engine, &txn);
    if (err == OK) {
        err = look(engine, txn, options, &found, why);
        engine->ops->end(txn);
    }
    if (err == OK) {
        start(options, &found, &store->state);
        err = save(engine, options, &found, &store->state);
        store->quarantined = store->state.quarantined;
        store->quarantined_bytes = store->state.quarantined_bytes;
    }
    /* Where a program looks that knows no log. */
    if (err == OK && (found.fresh || found.older) && engine->ops->flush)
        err = engine->ops->flush(engine);
    state_done(&found.state);
    if (err != OK) {
        if (why->len == 0)
            buf_put_format(why, "the store cannot be read or written: %s", err_text(err));
        store_close(store);
        return err;
    }
    *ret_reidentified = found.moved;
    *ret = store;
    return OK;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    CHECK(!store->txn);
    state_done(&store->state);
    store->engine->ops->close(store->engine);
    free(store);
}

void store_usage(struct store *store, struct engine_usage *ret)
{
    store->engine->ops->usage(store->engine, ret);
}
