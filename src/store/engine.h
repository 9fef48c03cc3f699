/* The engine's face: four ordered tables of byte strings, snapshots, and one
 * writer at a time. LMDB stands behind it (store/lmdb), and an ordered table in
 * memory for tests and simulations (engine_mem.h). The log in front of either
 * (store/log) is one more engine around another: everything above sees only
 * resulting puts and deletes.
 *
 * Keys are 1 to 511 bytes, in byte order. Bytes that a transaction hands out
 * are borrowed and hold until its next write or its end. */
#ifndef YZMA_STORE_ENGINE_H
#define YZMA_STORE_ENGINE_H

#include "bytes.h"
#include "err.h"

enum table {
    TABLE_META,    /* name -> bytes: identity, stamp clock, walk, members */
    TABLE_CLOCKS,  /* replica id -> counter, floor */
    TABLE_RECORDS, /* key -> record */
    TABLE_ROWS,    /* replica id, counter -> kind, key: the history */
    TABLES,
    /* One more, of the engine that stands in front of another one: what that has
     * taken over from it. Nothing above an engine sees it. */
    TABLE_FRONT = TABLES,
    TABLES_ALL
};

/* Ranges are deleted within one prefix of this length: a replica's rows. */
enum { RANGE_PREFIX = 16 };

struct engine;
struct engine_txn;
struct engine_cursor;
struct engine_usage {
    uint64_t entries[TABLES];     /* of rows an estimate is enough */
    uint64_t table_bytes[TABLES]; /* pages in use; an estimate is enough */
    uint64_t file_bytes;
    uint64_t bytes_max;     /* for what is not work that makes room; 0: not known */
    uint64_t pending_bytes; /* that what stands in front will take of bytes_max */
    bool disk_known;
    uint64_t disk_free_bytes; /* when disk_known */
    uint64_t reopenings;      /* of the file, after a failure, since the start */
};

struct engine_ops {
    enum err (*read_begin)(struct engine *engine, struct engine_txn **ret);
    enum err (*write_begin)(struct engine *engine, struct engine_txn **ret);
    /* Of a write transaction: on OK all of it is durable, on an error nothing
     * of it happened (ERR_FULL, ERR_IO). Ends the transaction either way. */
    enum err (*commit)(struct engine_txn *txn);
    /* Ends a read, or undoes a write. Closes nothing: cursors first. */
    void (*end)(struct engine_txn *txn);
    enum err (*get)(struct engine_txn *txn, enum table table, struct bytes key, struct bytes *ret);
    /* ERR_FULL or ERR_IO: the transaction can then only be ended. */
    enum err (*put)(struct engine_txn *txn, enum table table, struct bytes key, struct bytes value);
    enum err (*del)(struct engine_txn *txn, enum table table, struct bytes key); /* absent is OK */
    /* Deletes all entries from prefix (RANGE_PREFIX bytes) on and below `below`, which
     * begins with it: as cheap for many as for one where a log stands in front. */
    enum err (*del_below)(struct engine_txn *txn, enum table table, struct bytes prefix, struct bytes below);
    /* Of a write transaction: the puts that follow, until it is taken back, may
     * use the room kept back for work that makes room (a delete puts a row and
     * a context before it gives anything back). NULL where nothing is kept back. */
    void (*use_reserve)(struct engine_txn *txn, bool on);
    /* A cursor may be used while its transaction writes, after a new seek. */
    enum err (*cursor_open)(struct engine_txn *txn, enum table table, struct engine_cursor **ret);
    void (*cursor_close)(struct engine_cursor *cursor);
    /* The first entry at or above `from`; ERR_NOT_FOUND at the end. */
    enum err (*cursor_seek)(struct engine_cursor *cursor, struct bytes from, struct bytes *ret_key,
                            struct bytes *ret_value);
    enum err (*cursor_next)(struct engine_cursor *cursor, struct bytes *ret_key, struct bytes *ret_value);
    /* The last entry below `below`; ERR_NOT_FOUND when there is none. */
    enum err (*cursor_before)(struct engine_cursor *cursor, struct bytes below, struct bytes *ret_key,
                              struct bytes *ret_value);
    void (*usage)(struct engine *engine, struct engine_usage *ret);
    /* For an engine in front, from any thread: sees to it that transactions to come
     * can put so many bytes (as bytes of keys and values, with what pages waste of
     * them) without meeting a full disk or limit. ERR_FULL. NULL where nothing is
     * ever full. */
    enum err (*promise)(struct engine *engine, uint64_t bytes);
    /* For an engine in front, by the writer's thread: ERR_GONE when the file has been
     * removed under it, and what is written would end with the process. NULL: it cannot be. */
    enum err (*stands)(struct engine *engine);
    /* What was committed is, on OK, where a program that knows no log finds it; by
     * the writer's thread, outside transactions. NULL: it always is. */
    enum err (*flush)(struct engine *engine);
    void (*close)(struct engine *engine);
};

/* The first member of every engine. */
struct engine {
    const struct engine_ops *ops;
};

#endif
