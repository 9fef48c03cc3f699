/* A radix tree over a linked list. The list has the nodes in key order, and is all that a
 * scan needs. The tree finds a place in it: an inner node stands where keys part, and
 * knows at which byte; the bytes that all keys below share are not kept there, but can
 * be read in any of them (Morrison, "PATRICIA", 1968). Inner nodes have room for 4, 16,
 * 48 or 256 children and are replaced by larger ones as they fill (Leis et al., "The
 * Adaptive Radix Tree", ICDE 2013). A random key costs some four cache misses where a
 * skip list costs thirty.
 *
 * Readers take no lock. A child is added behind those that are counted, then counted; a
 * node that is replaced stays as it was, so who is still in it misses only what came
 * after. The list is linked before the tree. What a reader may miss, or meet before it
 * looks for it, is newer than the sequence it stands at. */
#include "memtable.h"

#include "check.h"
#include "mem.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    BLOCK = 256 << 10, /* bytes taken from the system at a time: above malloc's threshold, so they go back */
    INNER_BLOCK = 64 << 10,
    CACHE_LINE = 64,
    DELETED = -1,
    BYTES = 256, /* an inner node of so many children has one for each byte */
    LEVELS_MAX = 512,
};

struct version {
    uint64_t sequence;
    const struct version *older;
    int64_t len; /* or DELETED */
    uint8_t value[];
};

struct mem_node {
    _Atomic(const struct version *) newest;
    _Atomic(struct mem_node *) next;
    uint16_t key_len;
    uint8_t key[];
};

/* A reference: to a node, or, with the lowest bit set, to an inner node; 0: none. */
struct inner {
    uint16_t depth; /* the keys below share so many bytes */
    uint16_t room;  /* 4, 16, 48, BYTES */
    _Atomic uint16_t count;
    _Atomic(struct mem_node *) ends; /* the key that has no more bytes than these */
    /* The next byte of each child, in no order, then references to them in the same order,
     * from a multiple of 8 on. Of BYTES there are only references, by the byte. */
    uint8_t bytes[];
};

struct list {
    _Atomic uintptr_t root;
    _Atomic(struct mem_node *) head;
};

struct block {
    struct block *next;
    size_t used, size;
    uint8_t bytes[];
};

struct memtable {
    /* A Bloom filter (Bloom 1970) with two bits for each key. Set before the key's node
     * is published, so whoever may see the node sees the bits. */
    _Atomic(uint64_t) *filter;
    uint64_t filter_mask;
    struct block *blocks; /* the first has the room, if any has; the second may have some */
    struct block *inner_blocks;
    struct list lists[MEM_SPACES];
    _Atomic size_t bytes;
    size_t entries;
};

/* ---- memory --------------------------------------------------------------- */

static size_t rounded(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static size_t node_size(size_t key_len)
{
    return rounded(sizeof(struct mem_node) + key_len);
}

static size_t version_size(size_t len)
{
    return rounded(sizeof(struct version) + len);
}

static bool has_room(const struct block *block, size_t need)
{
    return block && block->size - block->used >= need;
}

/* A block that was asked for in vain makes way; behind one of a long value the one
 * before may have room still. True if there is room then. */
static bool look_at_blocks(struct memtable *table, size_t need)
{
    struct block *block = table->blocks;
    if (!block || has_room(block, need))
        return block;
    if (block->used == 0) {
        table->blocks = block->next;
        atomic_fetch_sub_explicit(&table->bytes, sizeof *block + block->size, memory_order_relaxed);
        free(block);
        block = table->blocks;
    } else if (has_room(block->next, need)) {
        table->blocks = block->next;
        block->next = table->blocks->next;
        table->blocks->next = block;
    }
    return has_room(table->blocks, need);
}

enum err memtable_reserve(struct memtable *table, size_t entries, size_t bytes)
{
    size_t need = bytes + entries * (node_size(0) + version_size(0) + 16);
    if (look_at_blocks(table, need))
        return OK;
    size_t size = need > BLOCK - sizeof(struct block) ? need : BLOCK - sizeof(struct block);
    struct block *block = malloc(sizeof *block + size);
    if (!block)
        return ERR_NOMEM;
    *block = (struct block){.next = table->blocks, .size = size};
    table->blocks = block;
    atomic_fetch_add_explicit(&table->bytes, sizeof *block + size, memory_order_relaxed);
    return OK;
}

static void *take(struct memtable *table, size_t n)
{
    struct block *block = table->blocks;
    if (!block || block->size - block->used < n)
        return NULL;
    void *p = block->bytes + block->used;
    block->used += n;
    return p;
}

static void free_blocks(struct block *block)
{
    while (block) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
}

/* Inner nodes are small and of our own size: their memory does not fail (mem.h). The
 * smaller ones fit a cache line, the front of the others does. */
static void *take_inner(struct memtable *table, size_t n)
{
    struct block *block = table->inner_blocks;
    n += CACHE_LINE - 1;
    if (!block || block->size - block->used < n) {
        block = mem_new(INNER_BLOCK);
        *block = (struct block){.next = table->inner_blocks, .size = INNER_BLOCK - sizeof *block};
        table->inner_blocks = block;
        atomic_fetch_add_explicit(&table->bytes, INNER_BLOCK, memory_order_relaxed);
    }
    uint8_t *p = block->bytes + block->used;
    size_t gap = (CACHE_LINE - (uintptr_t)p % CACHE_LINE) % CACHE_LINE;
    n -= CACHE_LINE - 1;
    block->used += gap + n;
    return memset(p + gap, 0, n);
}

static void reset(struct memtable *table)
{
    for (size_t i = 0; i < MEM_SPACES; i++) {
        atomic_init(&table->lists[i].root, 0);
        atomic_init(&table->lists[i].head, NULL);
    }
    table->entries = 0;
}

struct memtable *memtable_new(size_t filter_bits)
{
    CHECK((filter_bits & (filter_bits - 1)) == 0 && (!filter_bits || filter_bits >= 64));
    struct memtable *table = mem_new(sizeof *table);
    if (filter_bits) {
        table->filter = mem_new(filter_bits / 8);
        table->filter_mask = filter_bits - 1;
        atomic_store_explicit(&table->bytes, filter_bits / 8, memory_order_relaxed);
    }
    reset(table);
    return table;
}

/* All but the first, and that one too if it is an oversized one. */
static struct block *keep_one(struct block *blocks)
{
    if (!blocks)
        return NULL;
    free_blocks(blocks->next);
    blocks->next = NULL;
    blocks->used = 0;
    if (blocks->size <= BLOCK)
        return blocks;
    free(blocks);
    return NULL;
}

static size_t block_bytes(const struct block *block)
{
    return block ? sizeof *block + block->size : 0;
}

void memtable_clear(struct memtable *table)
{
    CHECK(!table->filter); /* only what has none is used again */
    table->blocks = keep_one(table->blocks);
    table->inner_blocks = keep_one(table->inner_blocks);
    atomic_store_explicit(&table->bytes, block_bytes(table->blocks) + block_bytes(table->inner_blocks),
                          memory_order_relaxed);
    reset(table);
}

void memtable_free(struct memtable *table)
{
    if (!table)
        return;
    free_blocks(table->blocks);
    free_blocks(table->inner_blocks);
    free(table->filter);
    free(table);
}

size_t memtable_bytes(const struct memtable *table)
{
    return atomic_load_explicit(&table->bytes, memory_order_relaxed);
}

size_t memtable_entries(const struct memtable *table)
{
    return table->entries;
}

/* ---- the filter ---------------------------------------------------------- */

/* FNV-1a (Fowler, Noll, Vo) over words of eight bytes, then mixed as in splitmix64. */
static uint64_t hash_of(unsigned space, struct bytes key)
{
    uint64_t hash = 0xcbf29ce484222325u ^ space;
    size_t at = 0;
    for (; at + 8 <= key.len; at += 8) {
        uint64_t word;
        memcpy(&word, key.data + at, 8);
        hash = (hash ^ word) * 0x100000001b3u;
        hash ^= hash >> 32;
    }
    for (; at < key.len; at++)
        hash = (hash ^ key.data[at]) * 0x100000001b3u;
    hash = (hash ^ hash >> 30) * 0xBF58476D1CE4E5B9u;
    hash = (hash ^ hash >> 27) * 0x94D049BB133111EBu;
    return hash ^ hash >> 31;
}

/* Both bits lie in one word: one look, one cache line. */
static uint64_t filter_bits(uint64_t hash)
{
    return 1ull << (hash >> 58) | 1ull << (hash >> 52 & 63);
}

static void filter_add(struct memtable *table, unsigned space, struct bytes key)
{
    if (!table->filter)
        return;
    uint64_t hash = hash_of(space, key);
    atomic_fetch_or_explicit(&table->filter[(hash & table->filter_mask) / 64], filter_bits(hash),
                             memory_order_relaxed);
}

static bool filter_may_have(const struct memtable *table, unsigned space, struct bytes key)
{
    if (!table->filter)
        return true;
    uint64_t hash = hash_of(space, key), bits = filter_bits(hash);
    return (atomic_load_explicit(&table->filter[(hash & table->filter_mask) / 64], memory_order_relaxed) &
            bits) == bits;
}

/* ---- the tree ------------------------------------------------------------- */

static struct inner *inner_of(uintptr_t ref)
{
    return ref & 1 ? (struct inner *)(ref - 1) : NULL;
}

static struct mem_node *leaf_of(uintptr_t ref)
{
    return (struct mem_node *)ref;
}

static uintptr_t ref_of(const struct inner *inner)
{
    return (uintptr_t)inner + 1;
}

static size_t children_at(unsigned room)
{
    return room == BYTES ? 0 : rounded(room);
}

static _Atomic uintptr_t *children_of(const struct inner *inner)
{
    return (_Atomic uintptr_t *)(inner->bytes + children_at(inner->room));
}

static unsigned count_of(const struct inner *inner)
{
    return atomic_load_explicit(&((struct inner *)inner)->count, memory_order_acquire);
}

static uintptr_t load(const _Atomic uintptr_t *ref)
{
    return atomic_load_explicit((_Atomic uintptr_t *)ref, memory_order_acquire);
}

static struct mem_node *follow(const _Atomic(struct mem_node *) *link)
{
    return atomic_load_explicit((_Atomic(struct mem_node *) *)link, memory_order_acquire);
}

struct bytes mem_node_key(const struct mem_node *node)
{
    return bytes_of(node->key, node->key_len);
}

const struct mem_node *mem_node_next(const struct mem_node *node)
{
    return follow(&node->next);
}

/* The child for a byte; NULL: none. */
static _Atomic uintptr_t *child_at(struct inner *inner, uint8_t byte)
{
    _Atomic uintptr_t *children = children_of(inner);
    if (inner->room == BYTES)
        return load(&children[byte]) ? &children[byte] : NULL;
    const uint8_t *at = memchr(inner->bytes, byte, count_of(inner));
    return at ? &children[at - inner->bytes] : NULL;
}

/* The way of a key at an inner node; NULL where it has none, or ends. */
static _Atomic uintptr_t *way_of(struct inner *inner, struct bytes key)
{
    return inner->depth < key.len ? child_at(inner, key.data[inner->depth]) : NULL;
}

/* The child with the highest byte below `byte`; 0: none. */
static uintptr_t highest_below(const struct inner *inner, unsigned byte)
{
    const _Atomic uintptr_t *children = children_of(inner);
    if (inner->room == BYTES) {
        uintptr_t ref = 0;
        while (!ref && byte-- > 0)
            ref = load(&children[byte]);
        return ref;
    }
    const uint8_t *bytes = inner->bytes;
    unsigned n = count_of(inner), best = n;
    for (unsigned i = 0; i < n; i++)
        if (bytes[i] < byte && (best == n || bytes[i] > bytes[best]))
            best = i;
    return best < n ? load(&children[best]) : 0;
}

/* The last of the keys below; an inner node has a child. */
static struct mem_node *last_leaf(uintptr_t ref)
{
    for (struct inner *inner; (inner = inner_of(ref)) != NULL;)
        ref = highest_below(inner, BYTES);
    return leaf_of(ref);
}

/* Some child where a key has no way: the one before it if there is one, as that will be
 * looked at anyway. */
static uintptr_t nearest_child(const struct inner *inner, struct bytes key)
{
    uintptr_t ref = inner->depth < key.len ? highest_below(inner, key.data[inner->depth]) : 0;
    return ref ? ref : highest_below(inner, BYTES);
}

/* Some node whose key has as many bytes in common with `key` as that of any; NULL where
 * there is none at all. */
static struct mem_node *most_alike(const struct list *list, struct bytes key)
{
    uintptr_t ref = load(&list->root);
    for (struct inner *inner; (inner = inner_of(ref)) != NULL;) {
        const _Atomic uintptr_t *way = way_of(inner, key);
        struct mem_node *ends = way ? NULL : follow(&inner->ends);
        if (ends)
            return ends;
        ref = way ? load(way) : nearest_child(inner, key);
    }
    return leaf_of(ref);
}

static size_t common(struct bytes a, struct bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len, i = 0;
    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

/* Where a key belongs. */
struct place {
    struct mem_node *same; /* it is there; then the rest is not set */
    struct mem_node *like; /* some node that shares `common` bytes with it: the most; NULL: empty */
    size_t common;
    _Atomic uintptr_t *at;   /* what stands where they part: an inner node of that depth, or
                                what shares more bytes with `like` */
    struct mem_node *before; /* the last node below it; NULL: none */
};

static struct mem_node *last_below(const struct inner *inner, struct bytes key)
{
    if (inner->depth >= key.len)
        return NULL;
    uintptr_t ref = highest_below(inner, key.data[inner->depth]);
    return ref ? last_leaf(ref) : follow(&inner->ends);
}

/* Goes down as far as the key has `common` bytes in common with what is there. */
static void find_before(const struct list *list, struct bytes key, struct place *place)
{
    const struct inner *path[LEVELS_MAX];
    size_t levels = 0;
    _Atomic uintptr_t *at = (_Atomic uintptr_t *)&list->root;
    uintptr_t ref = load(at); /* once: what takes its place meanwhile may hold keys above this one */
    struct inner *inner;
    while ((inner = inner_of(ref)) != NULL && inner->depth < place->common) {
        path[levels++] = inner;
        at = way_of(inner, key);
        CHECK(at);
        ref = load(at);
    }
    place->at = at;
    place->before = NULL;
    if (inner && inner->depth == place->common)
        path[levels++] = inner;
    else if (bytes_compare(mem_node_key(place->like), key) < 0)
        place->before = last_leaf(ref);
    while (!place->before && levels > 0)
        place->before = last_below(path[--levels], key);
}

static void find(const struct list *list, struct bytes key, struct place *place)
{
    *place = (struct place){.like = most_alike(list, key)};
    if (!place->like)
        return;
    place->common = common(mem_node_key(place->like), key);
    if (place->common == key.len && place->like->key_len == key.len)
        place->same = place->like;
    else
        find_before(list, key, place);
}

const struct mem_node *memtable_seek(const struct memtable *table, unsigned space, struct bytes key)
{
    const struct list *list = &table->lists[space];
    struct place place;
    if (key.len == 0)
        return follow(&list->head);
    find(list, key, &place);
    if (place.same)
        return place.same;
    /* What was linked meanwhile may stand between. */
    const struct mem_node *node = follow(place.before ? &place.before->next : &list->head);
    while (node && bytes_compare(mem_node_key(node), key) < 0)
        node = mem_node_next(node);
    return node;
}

const struct mem_node *memtable_before(const struct memtable *table, unsigned space, struct bytes below)
{
    const struct list *list = &table->lists[space];
    struct place place;
    find(list, below, &place);
    if (place.same) {
        place.common = below.len;
        find_before(list, below, &place);
    }
    return place.before;
}

bool memtable_has(const struct memtable *table, unsigned space)
{
    return load(&table->lists[space].root) != 0;
}

/* ---- versions ------------------------------------------------------------- */

bool mem_node_at(const struct mem_node *node, uint64_t sequence, struct mem_version *ret)
{
    const struct version *version = atomic_load_explicit(&((struct mem_node *)node)->newest,
                                                         memory_order_acquire);
    while (version && version->sequence > sequence)
        version = version->older;
    if (!version)
        return false;
    ret->sequence = version->sequence;
    ret->value = version->len == DELETED ? bytes_of(NULL, 0) : bytes_of(version->value, (size_t)version->len);
    return true;
}

bool memtable_get(const struct memtable *table, unsigned space, struct bytes key, uint64_t sequence,
                  struct mem_version *ret)
{
    if (!memtable_has(table, space) || !filter_may_have(table, space, key))
        return false;
    const struct mem_node *node = most_alike(&table->lists[space], key);
    return node && bytes_equal(mem_node_key(node), key) && mem_node_at(node, sequence, ret);
}

bool memtable_range(const struct memtable *table, enum table which, struct bytes key, uint64_t sequence,
                    uint64_t *ret_sequence, struct bytes *ret_below)
{
    struct mem_version range;
    if (key.len < RANGE_PREFIX ||
        !memtable_get(table, mem_ranges_of(which), bytes_of(key.data, RANGE_PREFIX), sequence, &range))
        return false;
    if (bytes_compare(key, range.value) >= 0)
        return false;
    *ret_sequence = range.sequence;
    if (ret_below)
        *ret_below = range.value;
    return true;
}

/* ---- inserting ------------------------------------------------------------ */

static struct inner *inner_new(struct memtable *table, size_t depth, unsigned room)
{
    struct inner *inner = take_inner(table, sizeof *inner + children_at(room) + room * sizeof(uintptr_t));
    inner->depth = (uint16_t)depth;
    inner->room = (uint16_t)room;
    return inner;
}

/* There is room, and no child for that byte. */
static void add_child(struct inner *inner, uint8_t byte, uintptr_t ref)
{
    unsigned at = inner->room == BYTES ? byte : count_of(inner);
    if (inner->room != BYTES)
        inner->bytes[at] = byte;
    atomic_store_explicit(&children_of(inner)[at], ref, memory_order_release);
    atomic_store_explicit(&inner->count, (uint16_t)(count_of(inner) + 1), memory_order_release);
}

/* Below an inner node, a node that shares its bytes. */
static void add_leaf(struct inner *inner, struct mem_node *node)
{
    if (node->key_len == inner->depth)
        atomic_store_explicit(&inner->ends, node, memory_order_release);
    else
        add_child(inner, node->key[inner->depth], (uintptr_t)node);
}

/* The same with more room. */
static struct inner *grow(struct memtable *table, const struct inner *inner)
{
    struct inner *larger = inner_new(table, inner->depth,
                                     inner->room == 48  ? BYTES
                                     : inner->room == 4 ? 16
                                                        : 48);
    for (unsigned i = 0; i < inner->room; i++)
        add_child(larger, inner->bytes[i], load(&children_of(inner)[i]));
    atomic_init(&larger->ends, follow(&inner->ends));
    return larger;
}

static void link_in_tree(struct memtable *table, const struct place *place, struct mem_node *node)
{
    uintptr_t ref = load(place->at);
    struct inner *inner = inner_of(ref), *new;
    if (inner && inner->depth == place->common) {
        bool full = inner->room != BYTES && count_of(inner) == inner->room;
        if (!full || node->key_len == inner->depth) {
            add_leaf(inner, node);
            return;
        }
        new = grow(table, inner);
    } else {
        new = inner_new(table, place->common, 4);
        if (inner)
            add_child(new, place->like->key[place->common], ref);
        else
            add_leaf(new, leaf_of(ref));
    }
    add_leaf(new, node);
    atomic_store_explicit(place->at, ref_of(new), memory_order_release);
}

static void link_node(struct memtable *table, struct list *list, const struct place *place,
                      struct mem_node *node)
{
    _Atomic(struct mem_node *) *link = place->before ? &place->before->next : &list->head;
    atomic_init(&node->next, follow(link));
    atomic_store_explicit(link, node, memory_order_release);
    if (place->like)
        link_in_tree(table, place, node);
    else
        atomic_store_explicit(&list->root, (uintptr_t)node, memory_order_release);
}

static void push(struct mem_node *node, struct version *version)
{
    version->older = atomic_load_explicit(&node->newest, memory_order_relaxed);
    CHECK(!version->older || version->older->sequence <= version->sequence);
    atomic_store_explicit(&node->newest, version, memory_order_release);
}

static struct version *version_new(struct memtable *table, uint64_t sequence, struct bytes value)
{
    size_t len = value.data ? value.len : 0;
    struct version *version = take(table, version_size(len));
    if (!version)
        return NULL;
    version->sequence = sequence;
    version->older = NULL;
    version->len = value.data ? (int64_t)len : DELETED;
    if (len)
        memcpy(version->value, value.data, len);
    return version;
}

static struct mem_node *node_new(struct memtable *table, struct bytes key)
{
    struct mem_node *node = take(table, node_size(key.len));
    if (!node)
        return NULL;
    atomic_init(&node->newest, NULL);
    node->key_len = (uint16_t)key.len;
    memcpy(node->key, key.data, key.len);
    return node;
}

enum err memtable_insert(struct memtable *table, uint64_t sequence, unsigned space, struct bytes key,
                         struct bytes value)
{
    CHECK(space < MEM_SPACES && key.len >= 1 && key.len < LEVELS_MAX);
    struct list *list = &table->lists[space];
    struct place place;
    find(list, key, &place);
    struct mem_node *node = place.same ? place.same : node_new(table, key);
    struct version *version = node ? version_new(table, sequence, value) : NULL;
    if (!version)
        return ERR_NOMEM;
    push(node, version);
    if (!place.same) {
        filter_add(table, space, key);
        link_node(table, list, &place, node);
    }
    table->entries++;
    return OK;
}
