/* One writer, one applier, many readers, on LMDB and real files. Each commit writes its
 * number under all keys, in scattered order and beside other work, so that whatever a
 * snapshot sees is one number everywhere, and never an older one than was seen before. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "disk_posix.h"
#include "engine_lmdb.h"
#include "log_engine.h"
#include "memtable.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KEYS = 26, COMMITS = 1500, READERS = 3, PADDING = 200, LONG = 100 << 10 };

struct rig {
    char folder[32];
    struct engine *engine;
    atomic_uint committed; /* acknowledged */
    atomic_bool done;
    atomic_uint broken; /* the first thing that was wrong, as a line; 0: nothing */
    pthread_mutex_t lock;
    pthread_cond_t applied; /* something was */
    uint64_t turns;
};

/* Other threads must not fail an assertion: cmocka's jump is the main thread's. */
#define EXPECT(condition) expect(rig, condition, __LINE__)
static bool expect(struct rig *rig, bool condition, unsigned line)
{
    unsigned none = 0;
    if (!condition)
        atomic_compare_exchange_strong(&rig->broken, &none, line);
    return condition;
}

static struct engine *open_engine(struct rig *rig)
{
    char path[64];
    struct buf identity, why;
    struct engine *inner, *engine;
    struct log_found found;
    struct log_engine_options options = {
        .where = "log", .random = 1, .memory_max = 1 << 20, .segment_bytes = 64 << 10};
    options.fresh_id[0] = 1;
    buf_init(&identity, 64);
    buf_init(&why, 512);
    snprintf(path, sizeof path, "%s/yzma.db", rig->folder);
    assert_int_equal(lmdb_engine_open(path, &(struct lmdb_options){0}, &inner, &identity, &why), OK);
    snprintf(path, sizeof path, "%s/log", rig->folder);
    assert_int_equal(disk_posix_open(path, &options.disk, &why), OK);
    assert_int_equal(log_engine_open(inner, &options, &engine, &found, &why), OK);
    assert_false(found.lost);
    buf_done(&identity);
    buf_done(&why);
    return engine;
}

static enum err wait_for_applier(void *ctx, uint64_t most_ms, uint64_t *left_ms)
{
    struct rig *rig = ctx;
    pthread_mutex_lock(&rig->lock);
    uint64_t turn = rig->turns;
    while (turn == rig->turns)
        pthread_cond_wait(&rig->applied, &rig->lock);
    pthread_mutex_unlock(&rig->lock);
    return OK;
}

/* The rows of a commit: its number behind a prefix. */
static struct bytes row_key(uint32_t number, uint8_t room[RANGE_PREFIX + 4])
{
    memset(room, 'r', RANGE_PREFIX);
    for (unsigned i = 0; i < 4; i++)
        room[RANGE_PREFIX + i] = (uint8_t)(number >> (24 - 8 * i));
    return bytes_of(room, RANGE_PREFIX + 4);
}

/* Keys a to z; a row each, and the rows before the last ten commits go. Now and then a
 * frame longer than a segment. */
static enum err write_commit(struct rig *rig, uint32_t number, uint8_t *value)
{
    const struct engine_ops *ops = rig->engine->ops;
    struct engine_txn *txn;
    enum err err = ops->write_begin(rig->engine, &txn);
    if (err != OK)
        return err;
    memcpy(value, &number, sizeof number);
    for (unsigned i = 0; i < KEYS && err == OK; i++) {
        uint8_t key = (uint8_t)('a' + (i * 7 + number) % KEYS);
        size_t len = i == 0 && number % 50 == 0 ? LONG : PADDING;
        err = ops->put(txn, TABLE_RECORDS, bytes_of(&key, 1), bytes_of(value, len));
    }
    uint8_t row[RANGE_PREFIX + 4], below[RANGE_PREFIX + 4];
    if (err == OK)
        err = ops->put(txn, TABLE_ROWS, row_key(number, row), bytes_of(value, 4));
    if (err == OK && number > 10)
        err = ops->del_below(txn, TABLE_ROWS, bytes_of(row, RANGE_PREFIX), row_key(number - 9, below));
    if (err == OK)
        return ops->commit(txn);
    ops->end(txn);
    return err;
}

static void *writer(void *ctx)
{
    struct rig *rig = ctx;
    uint8_t *value = calloc(1, LONG);
    for (uint32_t number = 1; number <= COMMITS && !atomic_load(&rig->broken); number++) {
        EXPECT(write_commit(rig, number, value) == OK);
        atomic_store(&rig->committed, number);
    }
    free(value);
    atomic_store(&rig->done, true);
    return NULL;
}

static void *applier(void *ctx)
{
    struct rig *rig = ctx;
    for (unsigned turn = 0; !atomic_load(&rig->done); turn++) {
        if (turn % 3 == 0)
            log_engine_freeze(rig->engine);
        enum err err = log_engine_apply(rig->engine);
        EXPECT(err == OK || err == ERR_NOT_FOUND);
        EXPECT(log_engine_prepare(rig->engine) == OK);
        pthread_mutex_lock(&rig->lock);
        rig->turns++;
        pthread_cond_broadcast(&rig->applied);
        pthread_mutex_unlock(&rig->lock);
    }
    return NULL;
}

static uint32_t number_of(struct bytes value)
{
    uint32_t number = 0;
    if (value.len >= sizeof number)
        memcpy(&number, value.data, sizeof number);
    return number;
}

/* All keys by get, in another order than they were written. 0: broken. */
static uint32_t read_by_get(struct rig *rig, struct engine_txn *txn)
{
    uint32_t seen = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        uint8_t key = (uint8_t)('a' + i * 11 % KEYS);
        struct bytes value;
        enum err err = rig->engine->ops->get(txn, TABLE_RECORDS, bytes_of(&key, 1), &value);
        if (!EXPECT(err == OK) || !EXPECT(i == 0 || number_of(value) == seen))
            return 0;
        seen = number_of(value);
    }
    return seen;
}

static void read_by_scan(struct rig *rig, struct engine_txn *txn, uint32_t seen)
{
    const struct engine_ops *ops = rig->engine->ops;
    struct engine_cursor *cursor;
    struct bytes key, value;
    if (!EXPECT(ops->cursor_open(txn, TABLE_RECORDS, &cursor) == OK))
        return;
    unsigned count = 0;
    enum err err = ops->cursor_seek(cursor, bytes_of("a", 1), &key, &value);
    for (; err == OK; count++) {
        EXPECT(key.len == 1 && key.data[0] == 'a' + count && number_of(value) == seen);
        err = ops->cursor_next(cursor, &key, &value);
    }
    EXPECT(err == ERR_NOT_FOUND && count == KEYS);
    ops->cursor_close(cursor);
}

/* The rows are those of the last ten commits. */
static void read_rows(struct rig *rig, struct engine_txn *txn, uint32_t seen)
{
    const struct engine_ops *ops = rig->engine->ops;
    struct engine_cursor *cursor;
    struct bytes key, value;
    uint32_t expected = seen > 10 ? seen - 9 : 1;
    if (!EXPECT(ops->cursor_open(txn, TABLE_ROWS, &cursor) == OK))
        return;
    enum err err = ops->cursor_seek(cursor, bytes_of("r", 1), &key, &value);
    for (; err == OK; expected++) {
        uint8_t room[RANGE_PREFIX + 4];
        EXPECT(bytes_equal(key, row_key(expected, room)) && number_of(value) == expected);
        err = ops->cursor_next(cursor, &key, &value);
    }
    EXPECT(err == ERR_NOT_FOUND && expected == seen + 1);
    err = ops->cursor_before(cursor, bytes_of("s", 1), &key, &value);
    EXPECT(err == OK && number_of(value) == seen);
    ops->cursor_close(cursor);
}

static void *reader(void *ctx)
{
    struct rig *rig = ctx;
    uint32_t last = 0;
    while (!atomic_load(&rig->done) && !atomic_load(&rig->broken)) {
        uint32_t committed = atomic_load(&rig->committed);
        struct engine_txn *txn;
        if (!EXPECT(rig->engine->ops->read_begin(rig->engine, &txn) == OK))
            break;
        if (committed > 0) {
            uint32_t seen = read_by_get(rig, txn);
            EXPECT(seen >= committed && seen >= last);
            read_by_scan(rig, txn, seen);
            read_rows(rig, txn, seen);
            EXPECT(read_by_get(rig, txn) == seen);
            last = seen;
        }
        rig->engine->ops->end(txn);
        struct engine_usage usage;
        struct log_engine_counters count;
        rig->engine->ops->usage(rig->engine, &usage);
        log_engine_counters(rig->engine, &count);
    }
    return NULL;
}

static void snapshots_show_one_commit_while_it_passes_to_the_tree(void **state)
{
    struct rig rig = {.folder = "/tmp/yzma-threads-XXXXXX"};
    assert_non_null(mkdtemp(rig.folder));
    assert_int_equal(pthread_mutex_init(&rig.lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&rig.applied, NULL), 0);
    rig.engine = open_engine(&rig);
    log_engine_listen(rig.engine, NULL, NULL, wait_for_applier, &rig);
    pthread_t threads[2 + READERS];
    assert_int_equal(pthread_create(&threads[0], NULL, writer, &rig), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, applier, &rig), 0);
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[2 + i], NULL, reader, &rig), 0);
    for (size_t i = 0; i < 2 + READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&rig.broken), 0);

    struct log_engine_counters count;
    log_engine_counters(rig.engine, &count);
    assert_true(count.applied > 20);
    rig.engine->ops->close(rig.engine);
    rig.engine = open_engine(&rig);
    struct engine_txn *txn;
    assert_int_equal(rig.engine->ops->read_begin(rig.engine, &txn), OK);
    assert_int_equal(read_by_get(&rig, txn), COMMITS);
    read_by_scan(&rig, txn, COMMITS);
    read_rows(&rig, txn, COMMITS);
    assert_int_equal(atomic_load(&rig.broken), 0);
    rig.engine->ops->end(txn);
    rig.engine->ops->close(rig.engine);
    pthread_cond_destroy(&rig.applied);
    pthread_mutex_destroy(&rig.lock);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", rig.folder);
    assert_int_equal(system(command), 0);
}

/* ---- the memory table alone --------------------------------------------------- */

enum { TABLE_KEYS = 60000 };

struct race {
    struct memtable *table;
    atomic_uint inserted; /* keys, in the order of race_key: all are there */
    atomic_uint broken;
};

/* Scattered, of several lengths, many with a common beginning. */
static struct bytes race_key(uint32_t n, uint8_t room[16])
{
    uint32_t mixed = n * 2654435761u;
    memset(room, 'k', 16);
    memcpy(room + n % 3 * 4, &mixed, sizeof mixed);
    return bytes_of(room, n % 3 * 4 + 4);
}

static void *insert_keys(void *ctx)
{
    struct race *race = ctx;
    for (uint32_t n = 1; n <= TABLE_KEYS; n++) {
        uint8_t room[16];
        struct bytes key = race_key(n, room);
        if (memtable_reserve(race->table, 1, key.len + 4) != OK ||
            memtable_insert(race->table, n, TABLE_RECORDS, key, bytes_of(&n, 4)) != OK)
            atomic_store(&race->broken, 1);
        atomic_store_explicit(&race->inserted, n, memory_order_release);
    }
    return NULL;
}

/* A key that is there is found by all ways, and what comes after it is in order. */
static bool find_key(const struct memtable *table, uint32_t n, uint32_t inserted)
{
    uint8_t room[16], above[17];
    struct bytes key = race_key(n, room);
    struct mem_version version;
    if (!memtable_get(table, TABLE_RECORDS, key, inserted, &version) || version.value.len != 4 ||
        memcmp(version.value.data, &n, 4) != 0)
        return false;
    const struct mem_node *node = memtable_seek(table, TABLE_RECORDS, key);
    if (!node || !bytes_equal(mem_node_key(node), key))
        return false;
    memcpy(above, key.data, key.len);
    above[key.len] = 0;
    const struct mem_node *before = memtable_before(table, TABLE_RECORDS, bytes_of(above, key.len + 1));
    if (before != node)
        return false;
    before = memtable_before(table, TABLE_RECORDS, key);
    if (before && bytes_compare(mem_node_key(before), key) >= 0)
        return false;
    node = memtable_seek(table, TABLE_RECORDS, bytes_of(key.data, key.len / 2));
    for (int i = 0; i < 20 && node; i++) {
        const struct mem_node *next = mem_node_next(node);
        if (next && bytes_compare(mem_node_key(node), mem_node_key(next)) >= 0)
            return false;
        node = next;
    }
    return true;
}

static void *find_keys(void *ctx)
{
    struct race *race = ctx;
    uint32_t inserted = 0;
    for (uint32_t turn = 0; inserted < TABLE_KEYS; turn++) {
        inserted = atomic_load_explicit(&race->inserted, memory_order_acquire);
        if (inserted && (!find_key(race->table, inserted, inserted) ||
                         !find_key(race->table, 1 + turn * 40503u % inserted, inserted)))
            atomic_store(&race->broken, 2);
    }
    return NULL;
}

static void keys_are_found_while_others_are_inserted(void **state)
{
    struct race race = {.table = memtable_new(1 << 15)};
    pthread_t threads[3];
    assert_int_equal(pthread_create(&threads[0], NULL, insert_keys, &race), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, find_keys, &race), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, find_keys, &race), 0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&race.broken), 0);
    memtable_free(race.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_found_while_others_are_inserted),
        cmocka_unit_test(snapshots_show_one_commit_while_it_passes_to_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
