#include "memtable.h"

#include "check.h"
#include "mem.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    HEIGHT_MAX = 12,   /* levels: each holds a quarter of the one below, so 16 M entries */
    BLOCK = 256 << 10, /* bytes taken from the system at a time: above malloc's threshold, so they go back */
    DELETED = -1,
};

struct version {
    uint64_t sequence;
    const struct version *older;
    int64_t len; /* or DELETED */
    uint8_t value[];
};

/* The key stands behind the tower. */
struct mem_node {
    _Atomic(const struct version *) newest;
    uint64_t prefix; /* the key's first 8 bytes as a number: most comparisons need no more */
    uint16_t key_len;
    uint8_t height;
    _Atomic(struct mem_node *) next[];
};

struct list {
    _Atomic(struct mem_node *) head[HEIGHT_MAX];
    _Atomic unsigned height; /* of the highest tower */
    /* The writer's finger: the towers before the last insert's place, itself
     * included. Rows come in ascending order, and so do the entries of a commit. */
    _Atomic(struct mem_node *) *before[HEIGHT_MAX];
    const struct mem_node *last;
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
    struct list lists[MEM_SPACES];
    uint64_t random;
    _Atomic size_t bytes;
    size_t entries;
};

/* ---- memory --------------------------------------------------------------- */

static size_t rounded(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static size_t node_size(size_t key_len, unsigned height)
{
    return rounded(sizeof(struct mem_node) + height * sizeof(struct mem_node *) + key_len);
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
    size_t need = bytes + entries * (node_size(0, HEIGHT_MAX) + version_size(0) + 16);
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

static void reset(struct memtable *table)
{
    for (size_t i = 0; i < MEM_SPACES; i++) {
        struct list *list = &table->lists[i];
        for (size_t level = 0; level < HEIGHT_MAX; level++)
            atomic_init(&list->head[level], NULL);
        atomic_init(&list->height, 0);
        list->last = NULL;
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
    table->random = 0x9E3779B97F4A7C15u; /* nothing special: heights need a sequence, not a secret */
    reset(table);
    return table;
}

void memtable_clear(struct memtable *table)
{
    struct block *kept = table->blocks;
    if (kept) {
        free_blocks(kept->next);
        kept->next = NULL;
        kept->used = 0;
        if (kept->size > BLOCK) {
            free(kept);
            kept = NULL;
        }
    }
    table->blocks = kept;
    CHECK(!table->filter); /* only what has none is used again */
    atomic_store_explicit(&table->bytes, kept ? sizeof *kept + kept->size : 0, memory_order_relaxed);
    reset(table);
}

void memtable_free(struct memtable *table)
{
    if (!table)
        return;
    free_blocks(table->blocks);
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

/* ---- order ---------------------------------------------------------------- */

static uint64_t prefix_of(struct bytes key)
{
    uint64_t prefix = 0;
    for (size_t i = 0; i < 8; i++)
        prefix = prefix << 8 | (i < key.len ? key.data[i] : 0);
    return prefix;
}

struct bytes mem_node_key(const struct mem_node *node)
{
    return bytes_of(&node->next[node->height], node->key_len);
}

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

static int compare(const struct mem_node *node, uint64_t prefix, struct bytes key)
{
    if (node->prefix != prefix)
        return node->prefix < prefix ? -1 : 1;
    return bytes_compare(mem_node_key(node), key);
}

static struct mem_node *follow(_Atomic(struct mem_node *) *link)
{
    return atomic_load_explicit(link, memory_order_acquire);
}

const struct mem_node *mem_node_next(const struct mem_node *node)
{
    return follow(&((struct mem_node *)node)->next[0]);
}

/* The tower whose next node is the first at or above key. *ret_node is the node
 * that the tower belongs to, NULL for the head. */
static _Atomic(struct mem_node *) *find(const struct list *list, struct bytes key, struct mem_node **ret_node)
{
    _Atomic(struct mem_node *) *tower = (_Atomic(struct mem_node *) *)list->head;
    uint64_t prefix = prefix_of(key);
    struct mem_node *at = NULL;
    for (unsigned level = atomic_load_explicit(&list->height, memory_order_acquire); level-- > 0;) {
        for (struct mem_node *next; (next = follow(&tower[level])) != NULL;) {
            if (compare(next, prefix, key) >= 0)
                break;
            at = next;
            tower = next->next;
        }
    }
    *ret_node = at;
    return tower;
}

const struct mem_node *memtable_seek(const struct memtable *table, unsigned space, struct bytes key)
{
    struct mem_node *before;
    return follow(&find(&table->lists[space], key, &before)[0]);
}

const struct mem_node *memtable_before(const struct memtable *table, unsigned space, struct bytes below)
{
    struct mem_node *before;
    find(&table->lists[space], below, &before);
    return before;
}

bool memtable_has(const struct memtable *table, unsigned space)
{
    return atomic_load_explicit(&table->lists[space].height, memory_order_acquire) > 0;
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
    const struct mem_node *node = memtable_seek(table, space, key);
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

static unsigned random_height(struct memtable *table)
{
    /* xorshift64* (Vigna 2016) */
    table->random ^= table->random >> 12;
    table->random ^= table->random << 25;
    table->random ^= table->random >> 27;
    uint64_t bits = (table->random * 0x2545F4914F6CDD1Du) >> 32;
    unsigned height = 1;
    for (; height < HEIGHT_MAX && (bits & 3) == 0; height++)
        bits >>= 2;
    return height;
}

/* Leaves in list->before, for each level, the tower that key comes after. Begins
 * at the last insert where key lies above it: only as many levels are climbed as
 * lie between the two places. */
static void find_before(struct list *list, uint64_t prefix, struct bytes key)
{
    unsigned height = atomic_load_explicit(&list->height, memory_order_relaxed), level = 0;
    _Atomic(struct mem_node *) *tower = list->head;
    if (list->last && compare(list->last, prefix, key) < 0) {
        for (; level < height; level++) {
            struct mem_node *next = follow(&list->before[level][level]);
            if (!next || compare(next, prefix, key) >= 0)
                break;
        }
        if (level > 0)
            tower = list->before[level - 1];
    } else {
        level = height;
    }
    while (level-- > 0) {
        for (struct mem_node *next; (next = follow(&tower[level])) != NULL; tower = next->next)
            if (compare(next, prefix, key) >= 0)
                break;
        list->before[level] = tower;
    }
}

static void push(struct mem_node *node, struct version *version)
{
    version->older = atomic_load_explicit(&node->newest, memory_order_relaxed);
    CHECK(!version->older || version->older->sequence <= version->sequence);
    atomic_store_explicit(&node->newest, version, memory_order_release);
}

static void link_node(struct list *list, struct mem_node *node)
{
    unsigned height = atomic_load_explicit(&list->height, memory_order_relaxed);
    for (unsigned level = height; level < node->height; level++)
        list->before[level] = list->head;
    for (unsigned level = 0; level < node->height; level++) {
        struct mem_node *next = follow(&list->before[level][level]);
        atomic_init(&node->next[level], next);
        atomic_store_explicit(&list->before[level][level], node, memory_order_release);
    }
    if (node->height > height)
        atomic_store_explicit(&list->height, node->height, memory_order_release);
    for (unsigned level = 0; level < node->height; level++)
        list->before[level] = node->next;
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

static struct mem_node *node_new(struct memtable *table, uint64_t prefix, struct bytes key)
{
    unsigned height = random_height(table);
    struct mem_node *node = take(table, node_size(key.len, height));
    if (!node)
        return NULL;
    atomic_init(&node->newest, NULL);
    node->prefix = prefix;
    node->key_len = (uint16_t)key.len;
    node->height = (uint8_t)height;
    memcpy(&node->next[height], key.data, key.len);
    return node;
}

enum err memtable_insert(struct memtable *table, uint64_t sequence, unsigned space, struct bytes key,
                         struct bytes value)
{
    CHECK(space < MEM_SPACES && key.len >= 1 && key.len <= UINT16_MAX);
    struct list *list = &table->lists[space];
    uint64_t prefix = prefix_of(key);
    struct version *version = version_new(table, sequence, value);
    if (!version)
        return ERR_NOMEM;
    find_before(list, prefix, key);
    struct mem_node *node = atomic_load_explicit(&list->height, memory_order_relaxed)
                                ? follow(&list->before[0][0])
                                : NULL;
    if (!node || compare(node, prefix, key) != 0) {
        node = node_new(table, prefix, key);
        if (!node) {
            list->last = NULL; /* the finger points elsewhere */
            return ERR_NOMEM;
        }
        push(node, version);
        filter_add(table, space, key);
        link_node(list, node);
    } else {
        push(node, version);
    }
    list->last = node;
    table->entries++;
    return OK;
}
