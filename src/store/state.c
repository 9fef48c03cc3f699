/* Loading, copying and saving the writer's state. */
#include "state.h"

#include "keys.h"
#include "mem.h"
#include "txn.h"

#include <stdlib.h>

enum { META_VALUE_MAX = 1 << 20 }; /* bytes; three full vectors stay far below */

void identity_done(struct identity *identity)
{
    if (!identity)
        return;
    free(identity->predecessors);
    *identity = (struct identity){0};
}

void walk_state_done(struct walk_state *walk)
{
    if (!walk)
        return;
    clock_done(&walk->low);
    clock_done(&walk->high);
    clock_done(&walk->last);
    *walk = (struct walk_state){0};
}

void state_done(struct state *state)
{
    identity_done(&state->identity);
    clock_done(&state->clock);
    clock_done(&state->floor);
    walk_state_done(&state->walk);
    *state = (struct state){0};
}

static void identity_copy(struct identity *to, const struct identity *from)
{
    free(to->predecessors);
    *to = *from;
    to->predecessors = from->predecessor_count ? mem_copy(from->predecessors, from->predecessor_count *
                                                                                  sizeof *from->predecessors)
                                               : NULL;
}

static void walk_copy(struct walk_state *to, const struct walk_state *from)
{
    struct clock low = to->low, high = to->high, last = to->last;
    clock_copy(&low, &from->low);
    clock_copy(&high, &from->high);
    clock_copy(&last, &from->last);
    *to = *from;
    to->low = low, to->high = high, to->last = last;
}

void state_copy(struct state *to, const struct state *from)
{
    identity_copy(&to->identity, &from->identity);
    clock_copy(&to->clock, &from->clock);
    clock_copy(&to->floor, &from->floor);
    to->stamp = from->stamp;
    to->own_known = from->own_known;
    walk_copy(&to->walk, &from->walk);
    to->quarantined = from->quarantined;
    to->quarantined_bytes = from->quarantined_bytes;
}

void identity_start(struct identity *identity, const struct clock *clock, uint64_t random)
{
    starts_append(&identity->starts,
                  (struct start){.counter = clock_get(clock, &identity->id), .random = random});
}

void identity_renew(struct identity *identity, const struct replica_id *id, uint64_t start_random)
{
    size_t count = identity->predecessor_count;
    if (count == PREDECESSORS_MAX) {
        memmove(&identity->predecessors[0], &identity->predecessors[1],
                (count - 1) * sizeof *identity->predecessors);
        count--;
    }
    identity->predecessors = mem_grow(identity->predecessors, (count + 1) * sizeof *identity->predecessors);
    identity->predecessors[count] = identity->id;
    identity->predecessor_count = count + 1;
    identity->id = *id;
    identity->starts = (struct starts){0};
    starts_append(&identity->starts, (struct start){.counter = 0, .random = start_random});
}

/* ---- bytes ----------------------------------------------------------------- */

static void identity_encode(const struct identity *identity, struct buf *out)
{
    replica_id_encode(&identity->id, out);
    starts_encode(&identity->starts, out);
    buf_put_varint(out, identity->predecessor_count);
    for (size_t i = 0; i < identity->predecessor_count; i++)
        replica_id_encode(&identity->predecessors[i], out);
}

static enum err identity_decode(struct bytes bytes, struct identity *ret)
{
    struct cursor in = cursor_of(bytes);
    struct identity identity = {.id = replica_id_decode(&in)};
    enum err err = starts_decode(&in, &identity.starts);
    size_t count = (size_t)cursor_varint_max(&in, PREDECESSORS_MAX);
    if (err == OK && count)
        identity.predecessors = mem_new(count * sizeof *identity.predecessors);
    for (size_t i = 0; err == OK && i < count; i++)
        identity.predecessors[i] = replica_id_decode(&in);
    identity.predecessor_count = count;
    if (cursor_finish(&in) != OK || replica_id_is_zero(&identity.id)) {
        identity_done(&identity);
        return ERR_DAMAGED;
    }
    identity_done(ret);
    *ret = identity;
    return OK;
}

static void walk_encode(const struct walk_state *walk, struct buf *out)
{
    buf_put_u8(out, (uint8_t)walk->phase);
    buf_put_varint(out, walk->serial);
    buf_put_blob(out, bytes_of(walk->after, walk->after_len));
    replica_id_encode(&walk->row_after.replica, out);
    buf_put_u64(out, walk->row_after.counter);
    buf_put_u8(out, walk->has_low);
    clock_encode(&walk->low, out);
    clock_encode(&walk->high, out);
    clock_encode(&walk->last, out);
    buf_put_varint(out, walk->keys_done);
}

static enum err walk_decode(struct bytes bytes, struct walk_state *ret)
{
    struct cursor in = cursor_of(bytes);
    struct walk_state walk = {0};
    unsigned phase = cursor_u8(&in);
    walk.phase = (enum walk_phase)phase;
    walk.serial = cursor_varint(&in);
    struct bytes after = cursor_blob(&in);
    walk.row_after.replica = replica_id_decode(&in);
    walk.row_after.counter = cursor_u64(&in);
    walk.has_low = cursor_u8(&in) != 0;
    bool fine = clock_decode(&in, &walk.low) == OK && clock_decode(&in, &walk.high) == OK &&
                clock_decode(&in, &walk.last) == OK;
    walk.keys_done = cursor_varint(&in);
    if (!fine || cursor_finish(&in) != OK || phase > WALK_ROWS || after.len > KEY_MAX) {
        walk_state_done(&walk);
        return ERR_DAMAGED;
    }
    if (after.len)
        memcpy(walk.after, after.data, after.len);
    walk.after_len = after.len;
    walk_state_done(ret);
    *ret = walk;
    return OK;
}

/* ---- loading ----------------------------------------------------------------- */

static enum err meta_get(struct engine *engine, struct engine_txn *txn, const char *name, struct bytes *ret)
{
    return engine->ops->get(txn, TABLE_META, bytes_str(name), ret);
}

enum err clocks_load(struct engine *engine, struct engine_txn *txn, struct clock *ret_clock,
                     struct clock *ret_floor)
{
    struct engine_cursor *cursor = NULL;
    enum err err = engine->ops->cursor_open(txn, TABLE_CLOCKS, &cursor);
    if (err != OK)
        return err;
    struct clock clock = {0}, floor = {0};
    struct bytes key, value;
    err = engine->ops->cursor_seek(cursor, bytes_of("", 0), &key, &value);
    while (err == OK) {
        struct cursor id_in = cursor_of(key), in = cursor_of(value);
        struct replica_id id = replica_id_decode(&id_in);
        uint64_t counter = cursor_u64(&in), low = cursor_u64(&in);
        if (cursor_finish(&id_in) != OK || cursor_finish(&in) != OK || low > counter) {
            err = ERR_DAMAGED;
            break;
        }
        if (ret_clock)
            clock_set(&clock, &id, counter);
        if (ret_floor)
            clock_set(&floor, &id, low);
        err = engine->ops->cursor_next(cursor, &key, &value);
    }
    engine->ops->cursor_close(cursor);
    if (err == ERR_NOT_FOUND)
        err = OK;
    if (err == OK && ret_clock)
        clock_copy(ret_clock, &clock);
    if (err == OK && ret_floor)
        clock_copy(ret_floor, &floor);
    clock_done(&clock);
    clock_done(&floor);
    return err;
}

enum err identity_load(struct engine *engine, struct engine_txn *txn, struct identity *ret)
{
    struct bytes value;
    enum err err = meta_get(engine, txn, META_IDENTITY, &value);
    return err == OK ? identity_decode(value, ret) : err == ERR_NOT_FOUND ? ERR_DAMAGED : err;
}

enum err walk_load(struct engine *engine, struct engine_txn *txn, struct walk_state *ret)
{
    struct bytes value;
    enum err err = meta_get(engine, txn, META_WALK, &value);
    return err == OK ? walk_decode(value, ret) : err == ERR_NOT_FOUND ? ERR_DAMAGED : err;
}

enum err state_load(struct engine *engine, struct engine_txn *txn, struct state *ret)
{
    struct state state = {0};
    enum err err = identity_load(engine, txn, &state.identity);
    if (err == OK)
        err = clocks_load(engine, txn, &state.clock, &state.floor);
    if (err == OK)
        err = walk_load(engine, txn, &state.walk);
    if (err == OK)
        err = quarantine_count(engine, txn, &state.quarantined, &state.quarantined_bytes);
    struct bytes value;
    if (err == OK) {
        err = meta_get(engine, txn, META_STAMP, &value);
        struct cursor in = err == OK ? cursor_of(value) : cursor_of(bytes_of("", 0));
        state.stamp.last = cursor_u64(&in);
        if (err == ERR_NOT_FOUND || (err == OK && cursor_finish(&in) != OK))
            err = ERR_DAMAGED;
    }
    if (err == OK && (err = meta_get(engine, txn, META_KNOWN, &value)) == OK) {
        struct cursor in = cursor_of(value);
        struct replica_id id = replica_id_decode(&in);
        uint64_t known = cursor_u64(&in);
        err = cursor_finish(&in) == OK ? OK : ERR_DAMAGED;
        if (err == OK && replica_id_equal(&id, &state.identity.id))
            state.own_known = known;
    } else if (err == ERR_NOT_FOUND) {
        err = OK;
    }
    if (err != OK) {
        state_done(&state);
        return err;
    }
    state_done(ret);
    *ret = state;
    return OK;
}

/* ---- saving ------------------------------------------------------------------- */

static enum err save_entry(struct engine *engine, struct engine_txn *txn, const struct replica_id *id,
                           uint64_t counter, uint64_t floor)
{
    struct bytes key = bytes_of(id->b, REPLICA_ID_SIZE);
    if (!counter)
        return engine->ops->del(txn, TABLE_CLOCKS, key);
    struct buf value;
    buf_init(&value, 16);
    buf_put_u64(&value, counter);
    buf_put_u64(&value, floor);
    enum err err = value.err == OK ? engine->ops->put(txn, TABLE_CLOCKS, key, buf_bytes(&value)) : value.err;
    buf_done(&value);
    return err;
}

static enum err save_clocks(struct engine *engine, struct engine_txn *txn, const struct state *before,
                            const struct state *now)
{
    enum err err = OK;
    for (size_t i = 0; i < now->clock.count && err == OK; i++) {
        const struct dot *entry = &now->clock.entries[i];
        uint64_t floor = clock_get(&now->floor, &entry->replica);
        if (!before || clock_get(&before->clock, &entry->replica) != entry->counter ||
            clock_get(&before->floor, &entry->replica) != floor)
            err = save_entry(engine, txn, &entry->replica, entry->counter, floor);
    }
    for (size_t i = 0; before && i < before->clock.count && err == OK; i++)
        if (!clock_get(&now->clock, &before->clock.entries[i].replica))
            err = save_entry(engine, txn, &before->clock.entries[i].replica, 0, 0);
    return err;
}

static enum err save_meta(struct engine *engine, struct engine_txn *txn, const char *name,
                          const struct buf *value)
{
    return value->err != OK ? value->err
                            : engine->ops->put(txn, TABLE_META, bytes_str(name), buf_bytes(value));
}

static bool walk_same(const struct walk_state *a, const struct walk_state *b)
{
    return a->phase == b->phase && a->serial == b->serial && a->keys_done == b->keys_done &&
           a->has_low == b->has_low && dot_compare(&a->row_after, &b->row_after) == 0 &&
           bytes_equal(bytes_of(a->after, a->after_len), bytes_of(b->after, b->after_len)) &&
           clock_equal(&a->low, &b->low) && clock_equal(&a->high, &b->high) &&
           clock_equal(&a->last, &b->last);
}

static bool identity_same(const struct identity *a, const struct identity *b)
{
    return replica_id_equal(&a->id, &b->id) && a->starts.total == b->starts.total;
}

enum err state_save(struct engine *engine, struct engine_txn *txn, const struct state *before,
                    const struct state *now)
{
    struct buf value;
    buf_init(&value, META_VALUE_MAX);
    enum err err = save_clocks(engine, txn, before, now);
    if (err == OK && (!before || !identity_same(&before->identity, &now->identity))) {
        identity_encode(&now->identity, &value);
        err = save_meta(engine, txn, META_IDENTITY, &value);
    }
    if (err == OK && (!before || before->stamp.last != now->stamp.last)) {
        buf_reset(&value);
        buf_put_u64(&value, now->stamp.last);
        err = save_meta(engine, txn, META_STAMP, &value);
    }
    if (err == OK && before && before->own_known != now->own_known) {
        buf_reset(&value);
        replica_id_encode(&now->identity.id, &value);
        buf_put_u64(&value, now->own_known);
        err = save_meta(engine, txn, META_KNOWN, &value);
    }
    if (err == OK && (!before || !walk_same(&before->walk, &now->walk))) {
        buf_reset(&value);
        walk_encode(&now->walk, &value);
        err = save_meta(engine, txn, META_WALK, &value);
    }
    buf_done(&value);
    return err;
}
