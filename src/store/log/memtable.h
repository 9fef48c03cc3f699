/* The memory table: what the log holds and the tree behind it does not yet, in
 * key order, each entry with all its versions by sequence, so that a reader who
 * stands at sequence S keeps seeing S while later commits arrive.
 *
 * For each table a linked list in key order and a radix tree that finds places in it
 * (memtable.c). One thread inserts; any number read at the same time without locks: a
 * node is complete before the pointer to it is published, and nothing is freed before
 * the whole table is (as in LevelDB's memtable). Memory comes from blocks that belong
 * to the table.
 *
 * Three kinds of entries: a value, a deletion (which hides what lies behind the
 * table), and the deletion of a range: all entries of one prefix below a key, by
 * which history is cut off at its old end without an entry for each row. */
#ifndef YZMA_STORE_MEMTABLE_H
#define YZMA_STORE_MEMTABLE_H

#include "engine.h"

struct memtable;
struct mem_node; /* one key */

/* The spaces of one table: its entries by key, and its ranges by prefix. */
enum { MEM_SPACES = 2 * TABLES };
static inline unsigned mem_entries_of(enum table table)
{
    return table;
}
static inline unsigned mem_ranges_of(enum table table)
{
    return (unsigned)TABLES + table;
}

/* filter_bits: of a Bloom filter over the keys, so that most lookups of absent keys
 * need no search; a power of two, some ten for each key expected, or 0 for none. */
struct memtable *memtable_new(size_t filter_bits);
void memtable_free(struct memtable *table);  /* takes NULL */
void memtable_clear(struct memtable *table); /* nobody reads it */

/* Memory for inserts of `bytes` of keys and values in `entries` entries, so that
 * they cannot fail: ERR_NOMEM. Takes the place of what was asked for before. */
enum err memtable_reserve(struct memtable *table, size_t entries, size_t bytes) MUST_USE;

/* The newest version of key, at or above all sequences before. value.data == NULL:
 * a deletion. Of what was reserved; else ERR_NOMEM, and nothing is changed.
 * In a space of ranges: key is the prefix, value the key below which all goes. */
enum err memtable_insert(struct memtable *table, uint64_t sequence, unsigned space, struct bytes key,
                         struct bytes value) MUST_USE;

size_t memtable_bytes(const struct memtable *table);   /* of memory, all blocks */
size_t memtable_entries(const struct memtable *table); /* versions */
bool memtable_has(const struct memtable *table, unsigned space);

/* ---- reading: any thread ------------------------------------------------- */

/* The first node at or above key, the last one below it, the next one; NULL. */
const struct mem_node *memtable_seek(const struct memtable *table, unsigned space, struct bytes key);
const struct mem_node *memtable_before(const struct memtable *table, unsigned space, struct bytes below);
const struct mem_node *mem_node_next(const struct mem_node *node);
struct bytes mem_node_key(const struct mem_node *node);

struct mem_version {
    uint64_t sequence;
    struct bytes value; /* data == NULL: deleted */
};
/* The newest version at or below the sequence; false where there is none. */
bool mem_node_at(const struct mem_node *node, uint64_t sequence, struct mem_version *ret);
/* The version under just this key. */
bool memtable_get(const struct memtable *table, unsigned space, struct bytes key, uint64_t sequence,
                  struct mem_version *ret);
/* The newest range of `table` that covers key; false where there is none. *ret_below
 * may be NULL. */
bool memtable_range(const struct memtable *table, enum table which, struct bytes key, uint64_t sequence,
                    uint64_t *ret_sequence, struct bytes *ret_below);

#endif
