/* Persistent treaps with reference counts.
 *
 * A node belongs to whoever refers to it: its parents in every version of the
 * tree, and the roots. Changing a tree takes the writer's reference and gives
 * back one to the changed tree; a node with one reference is changed in place, a
 * shared one is copied first. The priority of a node is a hash of its key, so
 * that equal contents have equal shapes, whatever the order of the changes. */
#include "engine_mem.h"

#include "check.h"
#include "crc.h"
#include "mem.h"

#include <stdlib.h>

struct item { /* an entry's bytes, shared by the copies of its node */
    size_t refs, key_len, value_len;
    uint8_t bytes[];
};

struct node {
    size_t refs;
    uint32_t priority;
    struct item *item;
    struct node *left, *right;
};

struct tree {
    struct node *root;
    uint64_t count, bytes;
};

struct engine_mem {
    struct engine face;
    struct tree trees[TABLES_ALL];
    bool writing;
    size_t readers;
    uint64_t calls, fail_at;
    enum err fail_with;
    uint64_t commits_left; /* until one fails; 0: none will */
    bool commit_happens, commit_failed;
};

struct engine_txn {
    struct engine_mem *engine;
    struct tree trees[TABLES_ALL];
    bool write, broken;
    size_t cursors;
};

struct engine_cursor {
    struct engine_txn *txn;
    enum table table;
    struct item *at; /* a reference, so that its key outlives writes; NULL before the first seek */
};

/* ---- items and nodes ------------------------------------------------------ */

static struct item *item_new(struct bytes key, struct bytes value)
{
    struct item *item = mem_new(sizeof *item + key.len + value.len);
    *item = (struct item){.refs = 1, .key_len = key.len, .value_len = value.len};
    memcpy(item->bytes, key.data, key.len);
    if (value.len)
        memcpy(item->bytes + key.len, value.data, value.len);
    return item;
}

static struct item *item_ref(struct item *item)
{
    item->refs++;
    return item;
}

static void item_unref(struct item *item)
{
    if (item && --item->refs == 0)
        free(item);
}

static struct bytes item_key(const struct item *item)
{
    return bytes_of(item->bytes, item->key_len);
}

static struct bytes item_value(const struct item *item)
{
    return bytes_of(item->bytes + item->key_len, item->value_len);
}

static struct node *node_ref(struct node *node)
{
    if (node)
        node->refs++;
    return node;
}

static void node_unref(struct node *node)
{
    if (!node || --node->refs)
        return;
    node_unref(node->left);
    node_unref(node->right);
    item_unref(node->item);
    free(node);
}

/* Takes a reference, gives one to a node that nobody else sees. */
static struct node *node_own(struct node *node)
{
    if (node->refs == 1)
        return node;
    struct node *copy = mem_copy(node, sizeof *node);
    copy->refs = 1;
    item_ref(copy->item);
    node_ref(copy->left);
    node_ref(copy->right);
    node_unref(node);
    return copy;
}

static int order(struct bytes key, const struct node *node)
{
    return bytes_compare(key, item_key(node->item));
}

/* A total order of priorities, so that the shape depends on the keys alone. */
static bool above(const struct node *a, const struct node *b)
{
    return a->priority != b->priority ? a->priority > b->priority
                                      : bytes_compare(item_key(a->item), item_key(b->item)) < 0;
}

static struct node *rotate_right(struct node *node)
{
    struct node *left = node->left;
    node->left = left->right;
    left->right = node;
    return left;
}

static struct node *rotate_left(struct node *node)
{
    struct node *right = node->right;
    node->right = right->left;
    right->left = node;
    return right;
}

/* The nodes on the path are owned on the way down, so that rotations are safe. */
static struct node *node_put(struct node *node, struct item *item)
{
    if (!node) {
        struct node *leaf = mem_new(sizeof *leaf);
        *leaf = (struct node){.refs = 1, .priority = crc32c(0, item_key(item)), .item = item};
        return leaf;
    }
    node = node_own(node);
    int c = order(item_key(item), node);
    if (c == 0) {
        item_unref(node->item);
        node->item = item;
    } else if (c < 0) {
        node->left = node_put(node->left, item);
        if (above(node->left, node))
            node = rotate_right(node);
    } else {
        node->right = node_put(node->right, item);
        if (above(node->right, node))
            node = rotate_left(node);
    }
    return node;
}

/* Every key in `left` is below every key in `right`. */
static struct node *node_join(struct node *left, struct node *right)
{
    if (!left || !right)
        return left ? left : right;
    if (above(left, right)) {
        left = node_own(left);
        left->right = node_join(left->right, right);
        return left;
    }
    right = node_own(right);
    right->left = node_join(left, right->left);
    return right;
}

/* The key is in the tree. */
static struct node *node_del(struct node *node, struct bytes key)
{
    node = node_own(node);
    int c = order(key, node);
    if (c < 0) {
        node->left = node_del(node->left, key);
    } else if (c > 0) {
        node->right = node_del(node->right, key);
    } else {
        struct node *rest = node_join(node_ref(node->left), node_ref(node->right));
        node_unref(node);
        return rest;
    }
    return node;
}

/* ---- trees ---------------------------------------------------------------- */

/* The first item at or above key (strictly above with `after`). */
static struct item *tree_from(const struct tree *tree, struct bytes key, bool after)
{
    struct item *found = NULL;
    for (struct node *node = tree->root; node;) {
        int c = order(key, node);
        if (c < 0 || (c == 0 && !after)) {
            found = node->item;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return found;
}

static struct item *tree_before(const struct tree *tree, struct bytes key)
{
    struct item *found = NULL;
    for (struct node *node = tree->root; node;) {
        if (order(key, node) > 0) {
            found = node->item;
            node = node->right;
        } else {
            node = node->left;
        }
    }
    return found;
}

static struct item *tree_find(const struct tree *tree, struct bytes key)
{
    struct item *item = tree_from(tree, key, false);
    return item && bytes_equal(item_key(item), key) ? item : NULL;
}

static void tree_forget(struct tree *tree, const struct item *item)
{
    tree->count--;
    tree->bytes -= item->key_len + item->value_len;
}

static void tree_put(struct tree *tree, struct bytes key, struct bytes value)
{
    struct item *old = tree_find(tree, key);
    if (old)
        tree_forget(tree, old);
    tree->root = node_put(tree->root, item_new(key, value));
    tree->count++;
    tree->bytes += key.len + value.len;
}

static void tree_del(struct tree *tree, struct bytes key)
{
    struct item *old = tree_find(tree, key);
    if (!old)
        return;
    tree_forget(tree, old);
    tree->root = node_del(tree->root, key);
}

static void trees_ref(struct tree to[TABLES_ALL], const struct tree from[TABLES_ALL])
{
    for (size_t t = 0; t < TABLES_ALL; t++) {
        to[t] = from[t];
        node_ref(to[t].root);
    }
}

static void trees_unref(struct tree trees[TABLES_ALL])
{
    for (size_t t = 0; t < TABLES_ALL; t++)
        node_unref(trees[t].root);
}

/* ---- the face ------------------------------------------------------------- */

static struct engine_mem *of(struct engine *engine)
{
    return (struct engine_mem *)engine;
}

static enum err fault(struct engine_mem *e)
{
    e->calls++;
    return e->calls == e->fail_at ? e->fail_with : OK;
}

static enum err txn_fault(struct engine_txn *txn)
{
    CHECK(!txn->broken);
    enum err err = fault(txn->engine);
    txn->broken = err != OK && txn->write;
    return err;
}

static enum err begin(struct engine *engine, bool write, struct engine_txn **ret)
{
    struct engine_mem *e = of(engine);
    CHECK(!write || !e->writing);
    enum err err = fault(e);
    if (err != OK)
        return err;
    struct engine_txn *txn = mem_new(sizeof *txn);
    txn->engine = e;
    txn->write = write;
    trees_ref(txn->trees, e->trees);
    if (write)
        e->writing = true;
    else
        e->readers++;
    *ret = txn;
    return OK;
}

static enum err read_begin(struct engine *engine, struct engine_txn **ret)
{
    return begin(engine, false, ret);
}

static enum err write_begin(struct engine *engine, struct engine_txn **ret)
{
    return begin(engine, true, ret);
}

static void end(struct engine_txn *txn)
{
    CHECK(txn->cursors == 0);
    if (txn->write)
        txn->engine->writing = false;
    else
        txn->engine->readers--;
    trees_unref(txn->trees);
    free(txn);
}

static enum err commit(struct engine_txn *txn)
{
    CHECK(txn->write);
    struct engine_mem *e = txn->engine;
    enum err err = txn_fault(txn);
    bool fails = err == OK && e->commits_left && --e->commits_left == 0;
    e->commit_failed |= fails;
    if (err == OK && (!fails || e->commit_happens)) {
        trees_unref(txn->engine->trees);
        trees_ref(txn->engine->trees, txn->trees);
    }
    end(txn);
    return fails ? ERR_IO : err;
}

static enum err get(struct engine_txn *txn, enum table table, struct bytes key, struct bytes *ret)
{
    enum err err = txn_fault(txn);
    if (err != OK)
        return err;
    struct item *item = tree_find(&txn->trees[table], key);
    if (!item)
        return ERR_NOT_FOUND;
    *ret = item_value(item);
    return OK;
}

static enum err put(struct engine_txn *txn, enum table table, struct bytes key, struct bytes value)
{
    CHECK(txn->write && key.len > 0 && key.len <= 511);
    enum err err = txn_fault(txn);
    if (err == OK)
        tree_put(&txn->trees[table], key, value);
    return err;
}

static enum err del(struct engine_txn *txn, enum table table, struct bytes key)
{
    CHECK(txn->write);
    enum err err = txn_fault(txn);
    if (err == OK)
        tree_del(&txn->trees[table], key);
    return err;
}

static enum err del_below(struct engine_txn *txn, enum table table, struct bytes prefix, struct bytes below)
{
    CHECK(txn->write && prefix.len == RANGE_PREFIX && bytes_starts_with(below, prefix));
    enum err err = txn_fault(txn);
    struct tree *tree = &txn->trees[table];
    for (struct item *item; err == OK && (item = tree_from(tree, prefix, false)) != NULL;) {
        if (bytes_compare(item_key(item), below) >= 0)
            break;
        item_ref(item); /* its key is what is looked for */
        tree_del(tree, item_key(item));
        item_unref(item);
    }
    return err;
}

static enum err cursor_open(struct engine_txn *txn, enum table table, struct engine_cursor **ret)
{
    enum err err = txn_fault(txn);
    if (err != OK)
        return err;
    struct engine_cursor *cursor = mem_new(sizeof *cursor);
    *cursor = (struct engine_cursor){.txn = txn, .table = table};
    txn->cursors++;
    *ret = cursor;
    return OK;
}

static void cursor_close(struct engine_cursor *cursor)
{
    if (!cursor)
        return;
    cursor->txn->cursors--;
    item_unref(cursor->at);
    free(cursor);
}

static enum err cursor_at(struct engine_cursor *cursor, struct item *item, struct bytes *ret_key,
                          struct bytes *ret_value)
{
    if (!item)
        return ERR_NOT_FOUND;
    item_ref(item);
    item_unref(cursor->at);
    cursor->at = item;
    *ret_key = item_key(item);
    *ret_value = item_value(item);
    return OK;
}

static enum err cursor_seek(struct engine_cursor *cursor, struct bytes from, struct bytes *ret_key,
                            struct bytes *ret_value)
{
    enum err err = txn_fault(cursor->txn);
    if (err != OK)
        return err;
    return cursor_at(cursor, tree_from(&cursor->txn->trees[cursor->table], from, false), ret_key, ret_value);
}

static enum err cursor_next(struct engine_cursor *cursor, struct bytes *ret_key, struct bytes *ret_value)
{
    CHECK(cursor->at);
    enum err err = txn_fault(cursor->txn);
    if (err != OK)
        return err;
    const struct tree *tree = &cursor->txn->trees[cursor->table];
    return cursor_at(cursor, tree_from(tree, item_key(cursor->at), true), ret_key, ret_value);
}

static enum err cursor_before(struct engine_cursor *cursor, struct bytes below, struct bytes *ret_key,
                              struct bytes *ret_value)
{
    enum err err = txn_fault(cursor->txn);
    if (err != OK)
        return err;
    return cursor_at(cursor, tree_before(&cursor->txn->trees[cursor->table], below), ret_key, ret_value);
}

static void usage(struct engine *engine, struct engine_usage *ret)
{
    struct engine_mem *e = of(engine);
    *ret = (struct engine_usage){0};
    for (size_t t = 0; t < TABLES; t++) {
        ret->entries[t] = e->trees[t].count;
        ret->table_bytes[t] = e->trees[t].bytes;
        ret->file_bytes += e->trees[t].bytes;
    }
}

static void close_engine(struct engine *engine)
{
    struct engine_mem *e = of(engine);
    CHECK(!e->writing && e->readers == 0);
    trees_unref(e->trees);
    free(e);
}

static const struct engine_ops mem_ops = {
    .read_begin = read_begin,
    .write_begin = write_begin,
    .commit = commit,
    .end = end,
    .get = get,
    .put = put,
    .del = del,
    .del_below = del_below,
    .cursor_open = cursor_open,
    .cursor_close = cursor_close,
    .cursor_seek = cursor_seek,
    .cursor_next = cursor_next,
    .cursor_before = cursor_before,
    .usage = usage,
    .close = close_engine,
};

struct engine *engine_mem_new(void)
{
    struct engine_mem *e = mem_new(sizeof *e);
    e->face.ops = &mem_ops;
    return &e->face;
}

struct engine *engine_mem_clone(const struct engine *engine)
{
    struct engine *copy = engine_mem_new();
    trees_ref(of(copy)->trees, ((const struct engine_mem *)engine)->trees);
    return copy;
}

void engine_mem_fail(struct engine *engine, uint64_t nth, enum err err)
{
    struct engine_mem *e = of(engine);
    e->fail_at = nth ? e->calls + nth : 0;
    e->fail_with = err;
}

void engine_mem_fail_commit(struct engine *engine, uint64_t nth, bool happens)
{
    struct engine_mem *e = of(engine);
    e->commits_left = nth;
    e->commit_happens = happens;
    e->commit_failed = false;
}

bool engine_mem_commit_failed(const struct engine *engine)
{
    return ((const struct engine_mem *)engine)->commit_failed;
}

uint64_t engine_mem_calls(const struct engine *engine)
{
    return ((const struct engine_mem *)engine)->calls;
}
