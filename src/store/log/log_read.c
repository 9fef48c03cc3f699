/* Reading through the layers: the writer's overlay, the generations, the inner
 * engine. Of one key the newest layer's word counts. */
#include "check.h"
#include "log_engine_state.h"
#include "mem.h"

#include <stdlib.h>

/* ---- transactions ----------------------------------------------------------------- */

static void pin_generation(struct layers *layers, struct generation *generation)
{
    if (!generation || !generation->last)
        return; /* empty: nothing to see there at this sequence, nor later */
    generation->refs++;
    layers->pinned[layers->pinned_count++] = generation;
    layers->tables[layers->count++] = generation->table;
}

/* The caller's overlay, if any, is in layers->tables already. */
static void pin(struct logged *logged, struct layers *layers)
{
    pthread_mutex_lock(&logged->lock);
    layers->sequence = logged->sequence;
    pin_generation(layers, logged->active);
    pin_generation(layers, logged->frozen);
    pthread_mutex_unlock(&logged->lock);
}

static void unpin(struct logged *logged, struct layers *layers)
{
    struct generation *dead[GENERATIONS];
    if (!layers->pinned_count)
        return;
    pthread_mutex_lock(&logged->lock);
    for (size_t i = 0; i < layers->pinned_count; i++)
        dead[i] = generation_unref_locked(layers->pinned[i]);
    pthread_mutex_unlock(&logged->lock);
    for (size_t i = 0; i < layers->pinned_count; i++)
        generation_free(dead[i]);
    layers->count -= layers->pinned_count;
    layers->pinned_count = 0;
}

enum err logged_pin(struct logged *logged, struct logged_txn *txn)
{
    const struct engine_ops *inner = logged->inner->ops;
    for (;;) {
        pin(logged, &txn->layers);
        enum err err = inner->read_begin(logged->inner, &txn->inner);
        if (err != OK) {
            unpin(logged, &txn->layers);
            return err;
        }
        /* The inner engine's snapshot is taken before this is looked at: a snapshot that
         * has a chunk in it then finds the sequence that was stored before that chunk. */
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load(&logged->applying_to) <= txn->layers.sequence)
            return OK;
        inner->end(txn->inner);
        txn->inner = NULL;
        unpin(logged, &txn->layers);
    }
}

void logged_unpin(struct logged_txn *txn)
{
    CHECK(txn->cursors == 0);
    if (txn->inner)
        txn->engine->inner->ops->end(txn->inner);
    txn->inner = NULL;
    unpin(txn->engine, &txn->layers);
}

enum err logged_read_begin(struct engine *engine, struct engine_txn **ret)
{
    struct logged *logged = logged_of(engine);
    pthread_mutex_lock(&logged->lock);
    struct logged_txn *txn = logged->pool;
    if (txn)
        logged->pool = txn->next;
    pthread_mutex_unlock(&logged->lock);
    if (!txn)
        txn = mem_new(sizeof *txn);
    *txn = (struct logged_txn){.engine = logged};
    enum err err = logged_pin(logged, txn);
    if (err != OK) {
        free(txn);
        return err;
    }
    *ret = (struct engine_txn *)txn;
    return OK;
}

void logged_read_end(struct logged_txn *txn)
{
    struct logged *logged = txn->engine;
    logged_unpin(txn);
    pthread_mutex_lock(&logged->lock);
    txn->next = logged->pool;
    logged->pool = txn;
    pthread_mutex_unlock(&logged->lock);
}

void logged_pool_free(struct logged *logged)
{
    while (logged->pool) {
        struct logged_txn *txn = logged->pool;
        logged->pool = txn->next;
        free(txn);
    }
}

/* ---- one key ----------------------------------------------------------------------- */

/* A range in this layer that hides what is older than `sequence` under the key. */
static bool hides(const struct memtable *layer, enum table table, struct bytes key, uint64_t at,
                  uint64_t sequence, struct bytes *ret_below)
{
    uint64_t range;
    return memtable_has(layer, mem_ranges_of(table)) &&
           memtable_range(layer, table, key, at, &range, ret_below) && range > sequence;
}

static enum err look_up(struct logged_txn *txn, enum table table, struct bytes key, struct bytes *ret)
{
    const struct layers *layers = &txn->layers;
    for (size_t i = 0; i < layers->count; i++) {
        struct mem_version version = {0};
        bool found = memtable_get(layers->tables[i], mem_entries_of(table), key, layers->sequence, &version);
        if (hides(layers->tables[i], table, key, layers->sequence, found ? version.sequence : 0, NULL))
            return ERR_NOT_FOUND;
        if (!found)
            continue;
        if (!version.value.data)
            return ERR_NOT_FOUND;
        *ret = version.value;
        return OK;
    }
    return txn->engine->inner->ops->get(txn->inner, table, key, ret);
}

enum err logged_get(struct engine_txn *face, enum table table, struct bytes key, struct bytes *ret)
{
    struct logged_txn *txn = logged_txn_of(face);
    enum err err = look_up(txn, table, key, ret);
    if (txn->writes && table == TABLE_RECORDS)
        logged_see(&txn->engine->writer, key, err == OK);
    return err;
}

/* ---- cursors ------------------------------------------------------------------------ */

/* One layer's place. */
struct source {
    const struct mem_node *node; /* NULL: at its end */
    struct mem_version version;
};

struct logged_cursor {
    struct logged_txn *txn;
    enum table table;
    struct source sources[LAYERS_MAX];
    struct engine_cursor *inner;
    bool inner_valid;
    struct bytes inner_key, inner_value;
};

static struct logged_cursor *cursor_of_face(struct engine_cursor *cursor)
{
    return (struct logged_cursor *)cursor;
}

enum err logged_cursor_open(struct engine_txn *face, enum table table, struct engine_cursor **ret)
{
    struct logged_txn *txn = logged_txn_of(face);
    struct engine_cursor *inner;
    enum err err = txn->engine->inner->ops->cursor_open(txn->inner, table, &inner);
    if (err != OK)
        return err;
    struct logged_cursor *cursor = mem_new(sizeof *cursor);
    *cursor = (struct logged_cursor){.txn = txn, .table = table, .inner = inner};
    txn->cursors++;
    *ret = (struct engine_cursor *)cursor;
    return OK;
}

void logged_cursor_close(struct engine_cursor *face)
{
    struct logged_cursor *cursor = cursor_of_face(face);
    cursor->txn->engine->inner->ops->cursor_close(cursor->inner);
    cursor->txn->cursors--;
    free(cursor);
}

/* Moves a source on to the first node that has something to say at our sequence. */
static void settle_source(struct source *source, uint64_t sequence)
{
    while (source->node && !mem_node_at(source->node, sequence, &source->version))
        source->node = mem_node_next(source->node);
}

static enum err inner_result(struct logged_cursor *cursor, enum err err)
{
    cursor->inner_valid = err == OK;
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum err seek_all(struct logged_cursor *cursor, struct bytes from)
{
    const struct layers *layers = &cursor->txn->layers;
    for (size_t i = 0; i < layers->count; i++) {
        cursor->sources[i].node = memtable_seek(layers->tables[i], mem_entries_of(cursor->table), from);
        settle_source(&cursor->sources[i], layers->sequence);
    }
    return inner_result(cursor, cursor->txn->engine->inner->ops->cursor_seek(
                                    cursor->inner, from, &cursor->inner_key, &cursor->inner_value));
}

/* The layer with the lowest key, of several the newest; `count` is the inner engine,
 * and above that there is none. */
static size_t lowest(const struct logged_cursor *cursor, struct bytes *ret_key)
{
    size_t count = cursor->txn->layers.count, best = count + 1;
    struct bytes key = {0};
    for (size_t i = 0; i < count; i++) {
        const struct mem_node *node = cursor->sources[i].node;
        if (node && (best > count || bytes_compare(mem_node_key(node), key) < 0)) {
            best = i;
            key = mem_node_key(node);
        }
    }
    if (cursor->inner_valid && (best > count || bytes_compare(cursor->inner_key, key) < 0)) {
        best = count;
        key = cursor->inner_key;
    }
    *ret_key = key;
    return best;
}

/* Moves all that stand on this key to their next. */
static enum err pass(struct logged_cursor *cursor, struct bytes key)
{
    const struct layers *layers = &cursor->txn->layers;
    bool inner = cursor->inner_valid && bytes_equal(cursor->inner_key, key);
    for (size_t i = 0; i < layers->count; i++) {
        struct source *source = &cursor->sources[i];
        if (source->node && bytes_equal(mem_node_key(source->node), key)) {
            source->node = mem_node_next(source->node);
            settle_source(source, layers->sequence);
        }
    }
    return inner ? inner_result(cursor, cursor->txn->engine->inner->ops->cursor_next(
                                            cursor->inner, &cursor->inner_key, &cursor->inner_value))
                 : OK;
}

/* Whether a range, of this layer or a newer one, hides what layer `at` says. Tells
 * the layer of the range, and where the range ends. */
static bool hidden_by_range(const struct logged_cursor *cursor, size_t at, struct bytes key,
                            size_t *ret_layer, struct bytes *ret_below)
{
    const struct layers *layers = &cursor->txn->layers;
    for (size_t i = 0; i < layers->count && i <= at; i++) {
        uint64_t sequence = i == at ? cursor->sources[i].version.sequence : 0;
        *ret_layer = i;
        if (hides(layers->tables[i], cursor->table, key, layers->sequence, sequence, ret_below))
            return true;
    }
    return false;
}

/* What is older than layer `range` is hidden up to `below`. (Entries of the newer
 * layers, and of that one, may have come after the range.) */
static enum err skip_range(struct logged_cursor *cursor, size_t range, struct bytes below)
{
    const struct layers *layers = &cursor->txn->layers;
    for (size_t i = range + 1; i < layers->count; i++) {
        struct source *source = &cursor->sources[i];
        if (!source->node || bytes_compare(mem_node_key(source->node), below) >= 0)
            continue;
        source->node = memtable_seek(layers->tables[i], mem_entries_of(cursor->table), below);
        settle_source(source, layers->sequence);
    }
    if (!cursor->inner_valid || bytes_compare(cursor->inner_key, below) >= 0)
        return OK;
    return inner_result(cursor, cursor->txn->engine->inner->ops->cursor_seek(
                                    cursor->inner, below, &cursor->inner_key, &cursor->inner_value));
}

/* From where the sources stand: the first key that is there. The sources stay on it. */
static enum err settle(struct logged_cursor *cursor, struct bytes *ret_key, struct bytes *ret_value)
{
    size_t count = cursor->txn->layers.count;
    for (;;) {
        struct bytes key, below;
        size_t at = lowest(cursor, &key), range;
        if (at > count)
            return ERR_NOT_FOUND;
        struct bytes value = at == count ? cursor->inner_value : cursor->sources[at].version.value;
        bool hidden = hidden_by_range(cursor, at, key, &range, &below);
        if (!hidden && value.data) {
            *ret_key = key;
            *ret_value = value;
            return OK;
        }
        bool inner = at == count; /* its key is gone when it moves */
        enum err err = hidden && range < at ? skip_range(cursor, range, below) : pass(cursor, key);
        CHECK(!inner || hidden);
        if (err != OK)
            return err;
    }
}

enum err logged_cursor_seek(struct engine_cursor *face, struct bytes from, struct bytes *ret_key,
                            struct bytes *ret_value)
{
    struct logged_cursor *cursor = cursor_of_face(face);
    enum err err = seek_all(cursor, from);
    return err == OK ? settle(cursor, ret_key, ret_value) : err;
}

enum err logged_cursor_next(struct engine_cursor *face, struct bytes *ret_key, struct bytes *ret_value)
{
    struct logged_cursor *cursor = cursor_of_face(face);
    struct bytes key;
    if (lowest(cursor, &key) > cursor->txn->layers.count)
        return ERR_NOT_FOUND;
    enum err err = pass(cursor, key);
    return err == OK ? settle(cursor, ret_key, ret_value) : err;
}

/* ---- backwards ---------------------------------------------------------------------- */

/* The last node below that has something to say at our sequence. */
static const struct mem_node *node_before(const struct memtable *table, unsigned space, struct bytes below,
                                          uint64_t sequence, struct mem_version *ret)
{
    const struct mem_node *node = memtable_before(table, space, below);
    while (node && !mem_node_at(node, sequence, ret))
        node = memtable_before(table, space, mem_node_key(node));
    return node;
}

/* The layer with the highest key below its bound, of several the newest; as lowest. */
static enum err highest(struct logged_cursor *cursor, const struct bytes bounds[], size_t *ret_layer,
                        struct bytes *ret_key)
{
    const struct layers *layers = &cursor->txn->layers;
    size_t best = layers->count + 1;
    struct bytes key = {0};
    for (size_t i = 0; i < layers->count; i++) {
        struct source *source = &cursor->sources[i];
        source->node = node_before(layers->tables[i], mem_entries_of(cursor->table), bounds[i],
                                   layers->sequence, &source->version);
        if (source->node && (best > layers->count || bytes_compare(mem_node_key(source->node), key) > 0)) {
            best = i;
            key = mem_node_key(source->node);
        }
    }
    enum err err = inner_result(
        cursor, cursor->txn->engine->inner->ops->cursor_before(cursor->inner, bounds[layers->count],
                                                               &cursor->inner_key, &cursor->inner_value));
    if (cursor->inner_valid && (best > layers->count || bytes_compare(cursor->inner_key, key) > 0)) {
        best = layers->count;
        key = cursor->inner_key;
    }
    *ret_layer = best;
    *ret_key = key;
    return err;
}

/* As seek and settle, backwards; afterwards only a seek makes sense. */
enum err logged_cursor_before(struct engine_cursor *face, struct bytes below, struct bytes *ret_key,
                              struct bytes *ret_value)
{
    struct logged_cursor *cursor = cursor_of_face(face);
    size_t count = cursor->txn->layers.count;
    struct bytes bounds[LAYERS_MAX + 1]; /* where each layer is looked at from, the inner engine last */
    uint8_t room[511];
    for (size_t i = 0; i <= count; i++)
        bounds[i] = below;
    for (;;) {
        struct bytes key, range_below;
        size_t at, range;
        enum err err = highest(cursor, bounds, &at, &key);
        if (err != OK)
            return err;
        if (at > count)
            return ERR_NOT_FOUND;
        struct bytes value = at == count ? cursor->inner_value : cursor->sources[at].version.value;
        bool hidden = hidden_by_range(cursor, at, key, &range, &range_below);
        if (!hidden && value.data) {
            *ret_key = key;
            *ret_value = value;
            return OK;
        }
        CHECK(key.len <= sizeof room);
        memcpy(room, key.data, key.len);
        for (size_t i = 0; i <= count; i++)
            bounds[i] = bytes_of(room, hidden && i > range ? RANGE_PREFIX : key.len);
    }
}
