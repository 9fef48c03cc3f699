/* The quarantine. The first byte says: the rest is a peer's record, as it comes, or with a right
 * checksum, which no fuzzer would find; what cannot be read is then kept to the byte, and is
 * there after a start. Or it is an entry as a disk may give it: nothing but an error comes of it. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "crc.h"
#include "engine_mem.h"
#include "keys.h"
#include "mem.h"

enum { WALL_MS = 1000000, CHECKSUM_AT = 1, CHECKED_AT = 5 };

static const struct dot dot = {.replica = {.b = {1}}, .counter = 1};

static struct store *open_on(struct engine *engine)
{
    struct store_options options = {.fresh_id = {.b = {2}},
                                    .start_random = 2,
                                    .wall_ms = WALL_MS,
                                    .skew_max_ms = 60000,
                                    .versions_max = 64};
    struct store *store = NULL;
    struct buf why;
    bool reidentified;
    buf_init(&why, 4096);
    if (store_open(engine, &options, &store, &reidentified, &why) != OK)
        store = NULL;
    buf_done(&why);
    return store;
}

static enum err run(struct store *store, struct store_work *work)
{
    enum err err = store_run(store, WALL_MS, work);
    store_work_free(work);
    return err;
}

static struct store_counters counters_of(struct store *store)
{
    struct store_counters counters;
    store_counters(store, &counters);
    return counters;
}

/* The first row of a replica, with this record. */
static bool is_held(struct store *store, struct bytes record)
{
    struct store_work *work = store_work_new(WORK_ROWS);
    struct rows_work *rows = &work->rows;
    buf_init(&rows->payload, record.len + 1);
    buf_put_bytes(&rows->payload, record);
    rows->entries = mem_new(sizeof *rows->entries);
    rows->entries[0] = (struct work_entry){
        .dot = dot, .kind = ROW_PUT, .key = bytes_str("k"), .record = buf_bytes(&rows->payload)};
    rows->count = 1;
    rows->origin = dot.replica;
    rows->to = 1;
    bool held = store_run(store, WALL_MS, work) == OK && rows->held;
    store_work_free(work);
    return held;
}

static void check_kept(struct engine *engine, struct bytes record)
{
    uint8_t row[ROW_KEY_SIZE], at[sizeof META_QUARANTINE_PREFIX - 1 + ROW_KEY_SIZE];
    struct engine_txn *txn;
    struct bytes value;
    memcpy(at, META_QUARANTINE_PREFIX, sizeof META_QUARANTINE_PREFIX - 1);
    memcpy(at + sizeof META_QUARANTINE_PREFIX - 1, row_key(&dot, row).data, ROW_KEY_SIZE);
    CHECK(engine->ops->read_begin(engine, &txn) == OK);
    CHECK(engine->ops->get(txn, TABLE_META, bytes_of(at, sizeof at), &value) == OK);
    CHECK(value.len > record.len &&
          bytes_equal(bytes_of(value.data + value.len - record.len, record.len), record));
    engine->ops->end(txn);
}

static void from_a_peer(struct bytes record)
{
    struct engine *engine = engine_mem_new();
    struct store *store = open_on(engine);
    CHECK(store != NULL);
    if (is_held(store, record)) {
        uint64_t bytes = counters_of(store).quarantined_bytes;
        check_kept(engine, record);
        CHECK(is_held(store, record)); /* again: once */
        CHECK(run(store, store_work_new(WORK_QUARANTINE)) == OK);
        engine = engine_mem_clone(engine);
        store_close(store);
        store = open_on(engine);
        CHECK(store != NULL);
        CHECK(counters_of(store).quarantined == 1 && counters_of(store).quarantined_bytes == bytes);
        check_kept(engine, record);
    } else {
        CHECK(counters_of(store).quarantined == 0);
    }
    store_close(store);
}

static void add_counter(void *ctx, const struct dot *of)
{
    *(uint64_t *)ctx += of->counter;
}

static void from_the_disk(struct bytes input)
{
    struct engine *engine = engine_mem_new();
    struct store *store = open_on(engine);
    struct snapshot *snapshot;
    struct engine_txn *txn;
    struct buf key;
    uint64_t sum = 0;
    size_t cut = input.len < ROW_KEY_SIZE + 1 ? input.len : ROW_KEY_SIZE;
    buf_init(&key, 4096);
    buf_put_text(&key, META_QUARANTINE_PREFIX);
    buf_put(&key, input.data, cut);
    engine = engine_mem_clone(engine);
    store_close(store);
    CHECK(engine->ops->write_begin(engine, &txn) == OK);
    CHECK(engine->ops->put(txn, TABLE_META, buf_bytes(&key), bytes_of(input.data + cut, input.len - cut)) ==
          OK);
    CHECK(engine->ops->commit(txn) == OK);
    store = open_on(engine);
    CHECK(store != NULL);
    (void)!run(store, store_work_new(WORK_QUARANTINE));
    CHECK(snapshot_open(store, &snapshot) == OK);
    (void)!snapshot_quarantine(snapshot, add_counter, &sum);
    snapshot_close(snapshot);
    store_close(store);
    buf_done(&key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *exact = mem_copy(data + 1, size - 1);
    struct bytes input = bytes_of(exact, size - 1);
    if (data[0] % 3 == 2) {
        from_the_disk(input);
    } else {
        if (data[0] % 3 == 1 && input.len >= CHECKED_AT) {
            uint32_t sum = crc32c(crc32c(0, bytes_str("k")),
                                  bytes_of(exact + CHECKED_AT, input.len - CHECKED_AT));
            for (int i = 0; i < 4; i++)
                exact[CHECKSUM_AT + i] = (uint8_t)(sum >> (24 - 8 * i));
        }
        from_a_peer(input);
    }
    free(exact);
    return 0;
}
