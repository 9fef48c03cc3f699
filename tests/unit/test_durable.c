/* The committer over a real store on LMDB: many writers beside many readers, and
 * a store that is full. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "committer.h"
#include "engine_lmdb.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WRITERS = 6, READERS = 3, WRITES = 60, KEY_ROOM = 32 };

struct node {
    char folder[64], path[96];
    struct store *store;
    struct committer *committer;
};

static uint64_t wall_ms(void)
{
    return 1700000000000;
}

static struct store *open_store(const char *path, uint64_t bytes_max)
{
    struct buf identity, why;
    buf_init(&identity, 64);
    buf_init(&why, 512);
    struct engine *engine;
    struct store *store;
    bool reidentified;
    assert_int_equal(
        lmdb_engine_open(path, &(struct lmdb_options){.bytes_max = bytes_max}, &engine, &identity, &why), OK);
    const struct store_options options = {
        .fresh_id = {{1}},
        .file_identity = buf_bytes(&identity),
        .wall_ms = wall_ms(),
        .skew_max_ms = 60000,
        .versions_max = 64,
    };
    assert_int_equal(store_open(engine, &options, &store, &reidentified, &why), OK);
    assert_false(reidentified);
    buf_done(&identity);
    buf_done(&why);
    return store;
}

static struct node *node_start(uint64_t bytes_max)
{
    struct node *node = calloc(1, sizeof *node);
    assert_non_null(node);
    strcpy(node->folder, "/tmp/yzma-durable-XXXXXX");
    assert_non_null(mkdtemp(node->folder));
    snprintf(node->path, sizeof node->path, "%s/yzma.db", node->folder);
    node->store = open_store(node->path, bytes_max);
    node->committer = committer_new(
        node->store,
        &(struct committer_options){.works_max = 1000, .bytes_max = 64 << 20, .wall_ms = wall_ms});
    return node;
}

static void node_remove(struct node *node)
{
    committer_free(node->committer);
    store_close(node->store);
    unlink(node->path);
    char lock_path[104];
    snprintf(lock_path, sizeof lock_path, "%s-lock", node->path);
    unlink(lock_path);
    assert_int_equal(rmdir(node->folder), 0);
    free(node);
}

/* Opens the same file anew, as after a restart. */
static void node_restart(struct node *node)
{
    committer_free(node->committer);
    node->committer = NULL;
    store_close(node->store);
    node->store = open_store(node->path, 0);
}

struct answer {
    pthread_mutex_t lock;
    pthread_cond_t given;
    bool done;
};

static void give_answer(struct store_work *work)
{
    struct answer *answer = work->ctx;
    pthread_mutex_lock(&answer->lock);
    answer->done = true;
    pthread_cond_signal(&answer->given);
    pthread_mutex_unlock(&answer->lock);
}

/* One work, waited for and freed. */
static enum err run(struct node *node, struct store_work *work)
{
    struct answer answer = {.lock = PTHREAD_MUTEX_INITIALIZER, .given = PTHREAD_COND_INITIALIZER};
    work->done = give_answer;
    work->ctx = &answer;
    enum err err = committer_submit(node->committer, work);
    if (err == OK) {
        pthread_mutex_lock(&answer.lock);
        while (!answer.done)
            pthread_cond_wait(&answer.given, &answer.lock);
        pthread_mutex_unlock(&answer.lock);
        err = work->err;
    }
    store_work_free(work);
    return err;
}

/* value.data NULL: a delete. */
static enum err write_one(struct node *node, const char *key, struct bytes value)
{
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write.key = bytes_str(key);
    work->write.value = value;
    work->write.remove = !value.data;
    return run(node, work);
}

/* The number of versions under the key, which must be readable. */
static size_t versions_of(struct store *store, const char *key)
{
    struct snapshot *snapshot;
    struct record record = {0};
    assert_int_equal(snapshot_open(store, &snapshot), OK);
    enum err err = snapshot_record(snapshot, bytes_str(key), &record);
    size_t count = record.count;
    snapshot_close(snapshot);
    record_done(&record);
    assert_true(err == OK || err == ERR_NOT_FOUND);
    return count;
}

static char *name_key(char out[KEY_ROOM], unsigned writer, unsigned n)
{
    snprintf(out, KEY_ROOM, "key-%u-%u", writer, n);
    return out;
}

struct worker {
    pthread_t thread;
    struct node *node;
    unsigned number;
    atomic_bool *stop;
    size_t good, bad;
};

static void *write_in_turn(void *arg)
{
    struct worker *w = arg;
    char key[KEY_ROOM];
    for (unsigned n = 0; n < WRITES; n++) {
        bool ok = write_one(w->node, name_key(key, w->number, n), bytes_str("\"llama\"")) == OK;
        w->good += ok;
        w->bad += !ok;
    }
    return NULL;
}

static size_t count_records(struct snapshot *snapshot)
{
    struct scan *scan;
    struct bytes key, record;
    size_t count = 0;
    if (scan_open(snapshot, bytes_str(""), &scan) != OK)
        return SIZE_MAX;
    while (scan_next(scan, &key, &record) == OK)
        count++;
    scan_close(scan);
    return count;
}

/* A snapshot is one moment: its clock tells how many records it has. */
static void *read_moments(void *arg)
{
    struct worker *w = arg;
    const struct replica_id id = {{1}};
    while (!atomic_load(w->stop)) {
        struct snapshot *snapshot;
        struct clock clock = {0};
        if (snapshot_open(w->node->store, &snapshot) != OK)
            break;
        bool ok = snapshot_clock(snapshot, &clock, NULL) == OK &&
                  clock_get(&clock, &id) == count_records(snapshot);
        snapshot_close(snapshot);
        clock_done(&clock);
        w->good += ok;
        w->bad += !ok;
    }
    return NULL;
}

/* Every acknowledged write is there, at once and after a restart; every snapshot
 * on the way is one moment. */
static void acknowledged_writes_are_there(void **state)
{
    struct node *node = node_start(0);
    atomic_bool stop = false;
    struct worker writers[WRITERS], readers[READERS];
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct worker){.node = node, .stop = &stop};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_moments, &readers[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct worker){.node = node, .number = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_in_turn, &writers[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
        assert_int_equal(writers[i].good, WRITES);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_true(readers[i].good > 0);
        assert_int_equal(readers[i].bad, 0);
    }
    struct committer_counters counters;
    committer_counters(node->committer, &counters);
    assert_int_equal(counters.works, WRITERS * WRITES);
    assert_true(counters.groups < counters.works); /* they did share commits */

    for (int restarted = 0; restarted < 2; restarted++) {
        char key[KEY_ROOM];
        for (unsigned i = 0; i < WRITERS; i++)
            for (unsigned n = 0; n < WRITES; n++)
                assert_int_equal(versions_of(node->store, name_key(key, i, n)), 1);
        if (!restarted)
            node_restart(node);
    }
    node_remove(node);
}

/* A full store refuses puts, answers reads, takes deletes, and takes
 * puts again when deletes have made room. */
static void a_full_store_can_be_emptied(void **state)
{
    struct node *node = node_start(2 << 20);
    char key[KEY_ROOM];
    static uint8_t value[8000] = {'"'};
    struct bytes bytes = bytes_of(value, sizeof value);
    unsigned n = 0;
    enum err err;
    while ((err = write_one(node, name_key(key, 0, n), bytes)) == OK)
        assert_true(++n < 10000);
    assert_int_equal(err, ERR_FULL);
    assert_true(n > 50);
    assert_int_equal(versions_of(node->store, name_key(key, 0, n - 1)), 1);
    assert_int_equal(versions_of(node->store, name_key(key, 0, n)), 0);

    for (unsigned i = 0; i < n; i++)
        assert_int_equal(write_one(node, name_key(key, 0, i), bytes_of(NULL, 0)), OK);
    for (unsigned i = 0; i < n / 2; i++)
        assert_int_equal(write_one(node, name_key(key, 1, i), bytes), OK);
    assert_int_equal(versions_of(node->store, name_key(key, 0, 0)), 0);
    assert_int_equal(versions_of(node->store, name_key(key, 1, 0)), 1);
    node_remove(node);
}

/* Fills the store with versions that expire; their number. */
static unsigned fill_up(struct node *node)
{
    static uint8_t value[50000] = {'"'};
    char key[KEY_ROOM];
    for (unsigned n = 0;; n++) {
        struct store_work *work = store_work_new(WORK_WRITE);
        work->write.key = bytes_str(name_key(key, 0, n));
        work->write.value = bytes_of(value, sizeof value);
        work->write.expires_ms = wall_ms() + 1;
        enum err err = run(node, work);
        if (err != OK) {
            assert_int_equal(err, ERR_FULL);
            return n;
        }
        assert_true(n < 10000);
    }
}

/* To keep something for longer takes room, which a full store has not; to let it expire
 * gives some back. */
static void a_full_store_lets_expire(void **state)
{
    struct node *node = node_start(2 << 20);
    unsigned n = fill_up(node);
    char key[KEY_ROOM];
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write.key = bytes_str(name_key(key, 0, 0));
    work->write.touch = true;
    work->write.expires_ms = wall_ms() + 1000000;
    assert_int_equal(run(node, work), ERR_FULL);
    assert_int_equal(versions_of(node->store, key), 1);
    work = store_work_new(WORK_EXPIRE);
    work->expire.before_ms = wall_ms() + 1;
    assert_int_equal(run(node, work), OK);
    assert_int_equal(versions_of(node->store, name_key(key, 0, n - 1)), 0);
    /* LMDB gives free pages out again with the commit after the next. */
    assert_int_equal(write_one(node, key, bytes_of(NULL, 0)), OK);
    work = store_work_new(WORK_NOTES);
    store_work_add_note(work, "some", bytes_str("note"));
    assert_int_equal(run(node, work), OK);
    assert_int_equal(write_one(node, name_key(key, 1, 0), bytes_str("\"there is room\"")), OK);
    node_remove(node);
}

/* Deletes may come as a batch, as those of a whole prefix do; one put among them is a put. */
static void a_full_store_takes_batches_of_deletes(void **state)
{
    struct node *node = node_start(2 << 20);
    unsigned n = fill_up(node);
    for (int puts = 1; puts >= 0; puts--) {
        static uint8_t value[50000] = {'"'};
        char keys[20][KEY_ROOM];
        struct store_work *work = store_work_new(WORK_BATCH);
        for (unsigned i = 0; i < 20; i++) {
            struct write_work *write = store_work_add_write(work);
            write->remove = i > 0 || !puts;
            write->key = bytes_str(name_key(keys[i], write->remove ? 0 : 1, i));
            if (!write->remove)
                write->value = bytes_of(value, sizeof value);
        }
        assert_int_equal(run(node, work), puts ? ERR_FULL : OK);
        assert_int_equal(versions_of(node->store, keys[19]), puts ? 1 : 0);
    }
    assert_true(n > 20);
    node_remove(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_writes_are_there),
        cmocka_unit_test(a_full_store_can_be_emptied),
        cmocka_unit_test(a_full_store_lets_expire),
        cmocka_unit_test(a_full_store_takes_batches_of_deletes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
