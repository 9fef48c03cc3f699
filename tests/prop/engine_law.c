/* An engine against sorted arrays; see the header. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "engine_law.h"

#include "mem.h"
#include "rng.h"

#include <stdlib.h>

/* Few keys, so that they meet; some of the longest, and values from nothing to
 * several pages. */
enum { KEYS = 60, ROW_LIKE = 32, KEY_LONGEST = 511, VALUE_LONGEST = 20000, READERS_MAX = 4, WRITES_MAX = 30 };

struct entry {
    size_t key; /* its number: keys are in the order of their numbers */
    size_t value_len;
    uint8_t fill; /* each byte of the value */
};

struct table_model {
    struct entry entries[KEYS];
    size_t count;
};

struct model {
    struct table_model tables[TABLES];
};

struct reader {
    struct engine_txn *txn;
    struct model model;
};

struct law {
    const struct engine_law *of;
    struct rng rng;
    struct engine *engine;
    struct model committed;
    struct reader readers[READERS_MAX];
    size_t reader_count;
    uint8_t value[VALUE_LONGEST];
};

/* Keys of many lengths whose order is that of their numbers. Those of numbers from
 * ROW_LIKE on are like rows': 24 bytes, eight after each other with one prefix. */
static struct bytes key_of(size_t number, uint8_t room[KEY_LONGEST])
{
    static const size_t lengths[] = {1, 2, 24, 480, KEY_LONGEST};
    size_t len = number < ROW_LIKE ? lengths[number % 5] : 24;
    memset(room, number < ROW_LIKE ? (int)(number % 7) : 0, len);
    room[0] = (uint8_t)(number < ROW_LIKE ? number * 4 : (number & ~(size_t)7) * 4);
    room[len - 1] = (uint8_t)(number < ROW_LIKE ? room[len - 1] : number);
    return bytes_of(room, len);
}

static size_t pick(struct law *law, size_t n)
{
    return (size_t)rng_below(&law->rng, n);
}

/* The place of the first entry at or above a key's number. */
static size_t place(const struct table_model *table, size_t key)
{
    size_t at = 0;
    while (at < table->count && table->entries[at].key < key)
        at++;
    return at;
}

static void model_put(struct table_model *table, struct entry entry)
{
    size_t at = place(table, entry.key);
    if (at == table->count || table->entries[at].key != entry.key) {
        memmove(&table->entries[at + 1], &table->entries[at], (table->count - at) * sizeof entry);
        table->count++;
    }
    table->entries[at] = entry;
}

static void model_del(struct table_model *table, size_t key)
{
    size_t at = place(table, key);
    if (at == table->count || table->entries[at].key != key)
        return;
    table->count--;
    memmove(&table->entries[at], &table->entries[at + 1], (table->count - at) * sizeof *table->entries);
}

static void check_value(const struct entry *entry, struct bytes value)
{
    assert_int_equal(value.len, entry->value_len);
    for (size_t i = 0; i < value.len; i++)
        assert_int_equal(value.data[i], entry->fill);
}

/* What a cursor says, where the model says entry number `at`, or the end. */
static void check_entry(const struct table_model *table, size_t at, enum err err, struct bytes key,
                        struct bytes value)
{
    uint8_t room[KEY_LONGEST];
    if (at >= table->count) {
        assert_int_equal(err, ERR_NOT_FOUND);
        return;
    }
    assert_int_equal(err, OK);
    assert_true(bytes_equal(key, key_of(table->entries[at].key, room)));
    check_value(&table->entries[at], value);
}

static void look_up(struct law *law, struct engine_txn *txn, const struct model *model)
{
    enum table t = (enum table)pick(law, TABLES);
    const struct table_model *table = &model->tables[t];
    size_t number = pick(law, KEYS), at = place(table, number);
    uint8_t room[KEY_LONGEST];
    struct bytes value;
    enum err err = law->engine->ops->get(txn, t, key_of(number, room), &value);
    if (at < table->count && table->entries[at].key == number) {
        assert_int_equal(err, OK);
        check_value(&table->entries[at], value);
    } else {
        assert_int_equal(err, ERR_NOT_FOUND);
    }
}

static void move_cursor(struct law *law, struct engine_txn *txn, const struct model *model)
{
    const struct engine_ops *ops = law->engine->ops;
    enum table t = (enum table)pick(law, TABLES);
    const struct table_model *table = &model->tables[t];
    struct engine_cursor *cursor;
    assert_int_equal(ops->cursor_open(txn, t, &cursor), OK);
    for (size_t n = 1 + pick(law, 3); n > 0; n--) {
        uint8_t room[KEY_LONGEST];
        size_t number = pick(law, KEYS + 1), at = place(table, number);
        struct bytes from = number == KEYS ? bytes_of("\xff\xff", 2) : key_of(number, room), key, value;
        if (pick(law, 4) == 0) {
            enum err before = ops->cursor_before(cursor, from, &key, &value);
            check_entry(table, at == 0 ? table->count : at - 1, before, key, value);
            continue;
        }
        enum err err = ops->cursor_seek(cursor, from, &key, &value);
        check_entry(table, at, err, key, value);
        for (size_t steps = pick(law, KEYS); err == OK && steps > 0; steps--) {
            err = ops->cursor_next(cursor, &key, &value);
            check_entry(table, ++at, err, key, value);
        }
    }
    ops->cursor_close(cursor);
}

static void check_all(struct law *law, struct engine_txn *txn, const struct model *model)
{
    const struct engine_ops *ops = law->engine->ops;
    for (unsigned t = 0; t < TABLES; t++) {
        struct engine_cursor *cursor;
        struct bytes key, value;
        size_t at = 0;
        assert_int_equal(ops->cursor_open(txn, (enum table)t, &cursor), OK);
        enum err err = ops->cursor_seek(cursor, bytes_of("\0", 1), &key, &value);
        for (; err == OK; at++) {
            check_entry(&model->tables[t], at, err, key, value);
            err = ops->cursor_next(cursor, &key, &value);
        }
        check_entry(&model->tables[t], at, err, key, value);
        ops->cursor_close(cursor);
    }
}

/* The rows of one prefix, up to one of them. */
static void delete_range(struct law *law, struct engine_txn *txn, struct model *model)
{
    uint8_t room[KEY_LONGEST];
    size_t number = ROW_LIKE + pick(law, KEYS - ROW_LIKE), first = number & ~(size_t)7;
    struct bytes below = key_of(number, room);
    struct bytes prefix = bytes_of(below.data, RANGE_PREFIX);
    assert_int_equal(law->engine->ops->del_below(txn, TABLE_ROWS, prefix, below), OK);
    for (size_t key = first; key < number; key++)
        model_del(&model->tables[TABLE_ROWS], key);
}

static void write_some(struct law *law, struct engine_txn *txn, struct model *model)
{
    const struct engine_ops *ops = law->engine->ops;
    for (size_t n = pick(law, WRITES_MAX); n > 0; n--) {
        enum table t = (enum table)pick(law, TABLES);
        uint8_t room[KEY_LONGEST];
        size_t number = pick(law, KEYS);
        struct bytes key = key_of(number, room);
        if (pick(law, 10) == 0) {
            delete_range(law, txn, model);
        } else if (pick(law, 3) == 0) {
            assert_int_equal(ops->del(txn, t, key), OK);
            model_del(&model->tables[t], number);
        } else {
            struct entry entry = {.key = number, .fill = (uint8_t)pick(law, 256)};
            entry.value_len = pick(law, 10) ? pick(law, 100) : pick(law, VALUE_LONGEST);
            memset(law->value, entry.fill, entry.value_len);
            assert_int_equal(ops->put(txn, t, key, bytes_of(law->value, entry.value_len)), OK);
            model_put(&model->tables[t], entry);
        }
        if (pick(law, 4) == 0)
            look_up(law, txn, model);
        if (pick(law, 8) == 0)
            move_cursor(law, txn, model);
    }
}

static void transaction(struct law *law)
{
    const struct engine_ops *ops = law->engine->ops;
    struct engine_txn *txn;
    struct model model = law->committed;
    assert_int_equal(ops->write_begin(law->engine, &txn), OK);
    write_some(law, txn, &model);
    check_all(law, txn, &model);
    if (pick(law, 4) == 0) {
        ops->end(txn);
    } else {
        assert_int_equal(ops->commit(txn), OK);
        law->committed = model;
    }
}

static void open_reader(struct law *law)
{
    if (law->reader_count == READERS_MAX)
        return;
    struct reader *reader = &law->readers[law->reader_count++];
    assert_int_equal(law->engine->ops->read_begin(law->engine, &reader->txn), OK);
    reader->model = law->committed;
}

static void close_reader(struct law *law)
{
    if (law->reader_count == 0)
        return;
    size_t at = pick(law, law->reader_count);
    check_all(law, law->readers[at].txn, &law->readers[at].model);
    law->engine->ops->end(law->readers[at].txn);
    law->readers[at] = law->readers[--law->reader_count];
}

static void read_some(struct law *law)
{
    for (size_t i = 0; i < law->reader_count; i++) {
        look_up(law, law->readers[i].txn, &law->readers[i].model);
        move_cursor(law, law->readers[i].txn, &law->readers[i].model);
    }
}

static void check_usage(struct law *law)
{
    struct engine_usage usage;
    law->engine->ops->usage(law->engine, &usage);
    for (size_t t = 0; t < TABLES; t++)
        assert_int_equal(usage.entries[t], law->committed.tables[t].count);
}

void engine_law_run(const struct engine_law *of, uint64_t seed, size_t steps)
{
    struct law *law = mem_new(sizeof *law);
    law->of = of;
    rng_init(&law->rng, seed);
    law->engine = of->open(of->ctx);
    for (size_t step = 0; step < steps; step++) {
        size_t what = pick(law, 100);
        if (what < 50)
            transaction(law);
        else if (what < 65)
            open_reader(law);
        else if (what < 80)
            close_reader(law);
        else if (what < 97)
            read_some(law);
        else if (of->reopens && law->reader_count == 0) {
            law->engine->ops->close(law->engine);
            law->engine = of->open(of->ctx);
        }
        if (of->between)
            of->between(of->ctx, law->engine, &law->rng);
        if (!of->usage_estimated)
            check_usage(law);
    }
    while (law->reader_count)
        close_reader(law);
    law->engine->ops->close(law->engine);
    free(law);
}
