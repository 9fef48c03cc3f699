/* The applier beside a writer, on LMDB and real files: what it drains, how it keeps a
 * writer within the memory table's bound, and how it ends. Run under ThreadSanitizer. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "applier.h"
#include "disk_posix.h"
#include "engine_lmdb.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MEMORY = 2 << 20, ENOUGH_MS = 60000 };

struct rig {
    char folder[32], db[64], log[64];
    struct engine *engine;
    struct applier *applier;
    enum err refused;
};

static void put_between(struct engine *inner);

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct engine *open_engine(struct rig *rig)
{
    struct buf identity, why;
    struct engine *inner, *engine;
    struct log_found found;
    struct log_engine_options options = {.where = "log", .random = 7, .memory_max = MEMORY};
    buf_init(&identity, 64);
    buf_init(&why, 512);
    assert_int_equal(lmdb_engine_open(rig->db, &(struct lmdb_options){0}, &inner, &identity, &why), OK);
    put_between(inner);
    assert_int_equal(disk_posix_open(rig->log, &options.disk, &why), OK);
    assert_int_equal(log_engine_open(inner, &options, &engine, &found, &why), OK);
    buf_done(&identity);
    buf_done(&why);
    return engine;
}

static void start(struct rig *rig)
{
    *rig = (struct rig){.folder = "/tmp/yzma-applier-XXXXXX"};
    assert_non_null(mkdtemp(rig->folder));
    snprintf(rig->db, sizeof rig->db, "%s/yzma.db", rig->folder);
    snprintf(rig->log, sizeof rig->log, "%s/yzma.db-log", rig->folder);
    rig->engine = open_engine(rig);
    rig->applier = applier_new(rig->engine, &(struct applier_options){0});
}

static void end(struct rig *rig)
{
    char command[64];
    applier_free(rig->applier);
    rig->engine->ops->close(rig->engine);
    snprintf(command, sizeof command, "rm -r %s", rig->folder);
    assert_int_equal(system(command), 0);
}

/* The next process, without an applier. */
static void reopen(struct rig *rig)
{
    applier_free(rig->applier);
    rig->applier = NULL;
    rig->engine->ops->close(rig->engine);
    rig->engine = open_engine(rig);
}

static struct bytes key_of(unsigned n, char room[16])
{
    snprintf(room, 16, "key-%08u", n * 2654435761u % 100000000);
    return bytes_of(room, 12);
}

static void put(struct engine *engine, unsigned n, size_t len)
{
    static uint8_t value[1 << 16];
    char room[16];
    struct engine_txn *txn;
    memset(value, (int)(n % 251), len);
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_RECORDS, key_of(n, room), bytes_of(value, len)), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
}

static void check(struct engine *engine, unsigned count, size_t len)
{
    struct engine_txn *txn;
    struct bytes value;
    char room[16];
    assert_int_equal(engine->ops->read_begin(engine, &txn), OK);
    for (unsigned n = 0; n < count; n++) {
        assert_int_equal(engine->ops->get(txn, TABLE_RECORDS, key_of(n, room), &value), OK);
        assert_int_equal(value.len, len);
        assert_int_equal(value.data[len - 1], n % 251);
    }
    engine->ops->end(txn);
}

static struct log_engine_counters counters(const struct rig *rig)
{
    struct log_engine_counters counters;
    log_engine_counters(rig->engine, &counters);
    return counters;
}

/* Ten times as much as memory may hold goes through it, and the log stays short. */
static void memory_and_log_stay_within_their_bounds(void **state)
{
    struct rig rig;
    start(&rig);
    uint64_t most = 0, segments = 0;

    for (unsigned n = 0; n < 10 * MEMORY / 20000; n++) {
        put(rig.engine, n, 20000);
        struct log_engine_counters now = counters(&rig);
        most = now.memory_bytes > most ? now.memory_bytes : most;
        segments = now.log.segments > segments ? now.log.segments : segments;
    }

    assert_true(most <= MEMORY + MEMORY / 2);
    assert_true(segments <= 6);
    assert_true(counters(&rig).applied > 5);
    check(rig.engine, 10 * MEMORY / 20000, 20000);
    end(&rig);
}

/* With time to stop, nothing is left in the log for the next start to replay. */
static void a_stop_applies_everything(void **state)
{
    struct rig rig;
    start(&rig);
    for (unsigned n = 0; n < 100; n++)
        put(rig.engine, n, 100);

    applier_stop(rig.applier, now_ms() + ENOUGH_MS);

    assert_int_equal(counters(&rig).applied_entries, 100);
    check(rig.engine, 100, 100);
    end(&rig);
}

/* Without any, it is all in the log. */
static void a_stop_without_time_leaves_it_in_the_log(void **state)
{
    struct rig rig;
    start(&rig);
    for (unsigned n = 0; n < 100; n++)
        put(rig.engine, n, 100);

    applier_free(rig.applier);
    assert_int_equal(counters(&rig).applied_entries, 0);
    rig.engine->ops->close(rig.engine);
    rig.engine = open_engine(&rig);
    rig.applier = applier_new(rig.engine, &(struct applier_options){0});

    check(rig.engine, 100, 100);
    end(&rig);
}

/* ---- what a start makes durable ---------------------------------------------------------- */

static const char *watched; /* a folder; NULL: none */
static unsigned watched_syncs;

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    struct stat folder, synced;
    if (watched && stat(watched, &folder) == 0 && fstat(fd, &synced) == 0)
        watched_syncs += folder.st_ino == synced.st_ino && folder.st_dev == synced.st_dev;
    return __real_fsync(fd);
}

/* The names of file and log are durable before anything is acknowledged, also when the
 * process that made them died before it had synced them. */
static void each_start_makes_the_names_durable(void **state)
{
    struct rig rig;
    start(&rig);
    watched_syncs = 0;
    watched = rig.folder;
    reopen(&rig);
    watched = NULL;
    assert_true(watched_syncs >= 1);
    end(&rig);
}

/* ---- a disk that fails, or is slow ----------------------------------------------------- */

/* The inner engine's commits, as this disk lets them be. */
static struct engine_ops slow_ops;
static enum err (*inner_commit)(struct engine_txn *txn);
static void (*inner_end)(struct engine_txn *txn);
static enum err (*inner_put)(struct engine_txn *txn, enum table table, struct bytes key, struct bytes value);
static atomic_bool fails, holds;
static atomic_size_t chunk_puts, most_puts;
static atomic_size_t quick_puts; /* a commit of more takes long */

static enum err slow_put(struct engine_txn *txn, enum table table, struct bytes key, struct bytes value)
{
    atomic_fetch_add(&chunk_puts, table != TABLE_FRONT);
    return inner_put(txn, table, key, value);
}

static enum err slow_commit(struct engine_txn *txn)
{
    size_t n = atomic_exchange(&chunk_puts, 0);
    if (n > atomic_load(&most_puts))
        atomic_store(&most_puts, n);
    while (atomic_load(&holds))
        usleep(1000);
    if (n > atomic_load(&quick_puts))
        usleep(LOG_CHUNK_SLOW_MS * 1000);
    if (!atomic_load(&fails))
        return inner_commit(txn);
    inner_end(txn);
    return ERR_IO;
}

static void put_between(struct engine *inner)
{
    inner_commit = inner->ops->commit;
    inner_end = inner->ops->end;
    inner_put = inner->ops->put;
    slow_ops = *inner->ops;
    slow_ops.commit = slow_commit;
    slow_ops.put = slow_put;
    inner->ops = &slow_ops;
    atomic_store(&fails, false);
    atomic_store(&holds, false);
    atomic_store(&chunk_puts, 0);
    atomic_store(&most_puts, 0);
    atomic_store(&quick_puts, SIZE_MAX);
}

/* Until the engine takes no more; so many at a time. */
static enum err fill_with(struct engine *engine, size_t len, unsigned at_a_time)
{
    static uint8_t value[10000];
    struct engine_txn *txn;
    char room[16];
    for (unsigned n = 0;;) {
        enum err err = engine->ops->write_begin(engine, &txn);
        if (err != OK)
            return err;
        for (unsigned i = 0; i < at_a_time; i++, n++)
            assert_int_equal(engine->ops->put(txn, TABLE_RECORDS, key_of(n, room), bytes_of(value, len)), OK);
        assert_int_equal(engine->ops->commit(txn), OK);
    }
}

static enum err fill(struct engine *engine)
{
    return fill_with(engine, 10000, 1);
}

/* What the disk is slow with it is given less of. */
static void chunks_follow_what_the_disk_can_do(void **state)
{
    struct rig rig;
    start(&rig);
    atomic_store(&quick_puts, 32);
    for (unsigned n = 0; n < 250; n++)
        put(rig.engine, n, 100);

    applier_stop(rig.applier, now_ms() + ENOUGH_MS);

    assert_int_equal(counters(&rig).applied_entries, 250);
    assert_in_range(atomic_load(&most_puts), 33, 65);
    check(rig.engine, 250, 100);
    end(&rig);
}

/* Memory is full and the tree takes nothing: writers are told, and a stop waits for
 * neither, whatever time it is given; all is in the log. */
static void a_stop_waits_for_no_tree_that_fails(void **state)
{
    struct rig rig;
    start(&rig);
    atomic_store(&fails, true);
    assert_int_equal(fill(rig.engine), ERR_IO);
    uint64_t begin = now_ms();

    applier_hurry(rig.applier);
    assert_int_equal(fill(rig.engine), ERR_IO);
    applier_stop(rig.applier, now_ms() + ENOUGH_MS);

    assert_true(now_ms() - begin < ENOUGH_MS / 2);
    assert_true(counters(&rig).apply_failures > 0);
    atomic_store(&fails, false);
    reopen(&rig);
    check(rig.engine, 1, 10000);
    end(&rig);
}

/* LMDB writes it through a descriptor of its own, opened O_DSYNC. */
static void break_meta_page(const char *path)
{
    int with = open(path, O_RDONLY), done = 0;
    assert_true(with >= 0);
    for (int fd = 3; fd < 64; fd++) {
        char link[64], target[128] = {0};
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (fd != with && readlink(link, target, sizeof target - 1) > 0 && strcmp(target, path) == 0 &&
            (fcntl(fd, F_GETFL) & O_DSYNC)) {
            assert_int_equal(dup2(with, fd), fd);
            done++;
        }
    }
    assert_int_equal(done, 1);
    close(with);
}

static void *let_go_when_refused(void *arg)
{
    struct rig *rig = arg;
    rig->refused = fill(rig->engine);
    atomic_store(&holds, false);
    return NULL;
}

/* Memory is full and the tree at work on a chunk: a writer who waits is told at once,
 * and the stop ends after that chunk, as its time is over. */
static void a_stop_keeps_no_writer_of_a_full_table(void **state)
{
    struct rig rig;
    pthread_t writer;
    start(&rig);
    atomic_store(&holds, true);
    assert_int_equal(pthread_create(&writer, NULL, let_go_when_refused, &rig), 0);
    while (!counters(&rig).waits)
        usleep(1000);
    uint64_t begin = now_ms(), applied = counters(&rig).applied_entries;

    applier_hurry(rig.applier);
    applier_stop(rig.applier, begin);
    assert_int_equal(pthread_join(writer, NULL), 0);

    assert_int_equal(rig.refused, ERR_BUSY);
    assert_true(counters(&rig).applied_entries - applied <= 256);
    assert_true(counters(&rig).memory_bytes > MEMORY / 2); /* it did not wait for all of it */
    end(&rig);
}

static void *let_go_of_many_when_refused(void *arg)
{
    struct rig *rig = arg;
    rig->refused = fill_with(rig->engine, 100, 100);
    atomic_store(&holds, false);
    return NULL;
}

/* What is then left to do is done in short chunks, however much it is: a stop whose time is
 * over need not wait for a long one. */
static void a_stop_works_in_short_chunks(void **state)
{
    struct rig rig;
    pthread_t writer;
    start(&rig);
    atomic_store(&holds, true);
    assert_int_equal(pthread_create(&writer, NULL, let_go_of_many_when_refused, &rig), 0);
    while (!counters(&rig).waits)
        usleep(1000);

    applier_stop(rig.applier, now_ms() + ENOUGH_MS); /* it refuses the writer, who lets it go */
    assert_int_equal(pthread_join(writer, NULL), 0);

    assert_int_equal(rig.refused, ERR_BUSY);
    assert_true(counters(&rig).applied_entries > 4096);
    assert_in_range(atomic_load(&most_puts), 200, 256);
    end(&rig);
}

/* The same while nothing stops yet: the committer may end first. */
static void a_hurry_alone_keeps_no_writer(void **state)
{
    struct rig rig;
    pthread_t writer;
    start(&rig);
    atomic_store(&holds, true);
    assert_int_equal(pthread_create(&writer, NULL, let_go_when_refused, &rig), 0);
    while (!counters(&rig).waits)
        usleep(1000);
    uint64_t begin = now_ms();

    applier_hurry(rig.applier);
    assert_int_equal(pthread_join(writer, NULL), 0);

    assert_int_equal(rig.refused, ERR_BUSY);
    assert_true(now_ms() - begin < 3000); /* a writer's patience is 5 s */
    end(&rig);
}

/* While a reader holds up its opening anew, the applier does not wait for itself to open
 * it, and counts what the tree has when it can. */
static void records_are_counted_over_an_opening_anew(void **state)
{
    struct rig rig;
    struct engine_txn *txn;
    struct engine_usage usage;
    start(&rig);
    applier_free(rig.applier);
    rig.applier = NULL;
    for (unsigned n = 0; n < 100; n++)
        put(rig.engine, n, 100);
    assert_true(log_engine_freeze(rig.engine));
    assert_int_equal(log_engine_apply(rig.engine), OK);
    assert_int_equal(rig.engine->ops->read_begin(rig.engine, &txn), OK);
    break_meta_page(rig.db);
    assert_int_equal(log_engine_apply(rig.engine), ERR_IO);
    rig.engine->ops->end(txn);

    assert_int_equal(log_engine_apply(rig.engine), OK);

    assert_int_equal(counters(&rig).applied, 0);
    rig.engine->ops->usage(rig.engine, &usage);
    assert_int_equal(usage.entries[TABLE_RECORDS], 100);
    end(&rig);
}

/* The page that makes a commit LMDB's tree cannot be written, once: the applier goes on
 * by itself, readers and writers notice nothing. */
static void a_failed_meta_page_holds_nobody_up(void **state)
{
    struct rig rig;
    start(&rig);
    for (unsigned n = 0; n < 100; n++)
        put(rig.engine, n, 100);
    break_meta_page(rig.db);
    assert_true(log_engine_freeze(rig.engine));
    while (counters(&rig).applied < 1) {
        put(rig.engine, 100, 100);
        usleep(5000); /* on a quick disk memory would be full before the second try */
    }
    assert_true(counters(&rig).apply_failures > 0);
    check(rig.engine, 101, 100);
    reopen(&rig);
    check(rig.engine, 101, 100);
    end(&rig);
}

/* .. so that nobody is told that what was written is kept, nor that something is not found. */
static void what_is_removed_under_its_writer_has_gone(void **state)
{
    char folder[] = "/tmp/yzma-disk-XXXXXX", path[64];
    struct disk *disk;
    struct disk_file *file;
    struct buf why;
    buf_init(&why, 512);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a", folder);
    assert_int_equal(disk_posix_open(folder, &disk, &why), OK);
    assert_int_equal(disk->ops->create(disk, "a", 10, &file), OK);
    assert_int_equal(disk->ops->write(file, 0, bytes_str("b")), OK);

    assert_int_equal(unlink(path), 0);

    assert_int_equal(disk->ops->write(file, 0, bytes_str("c")), ERR_GONE);
    assert_int_equal(disk->ops->rename(disk, "a", "d"), ERR_GONE);
    disk->ops->close(file);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(disk->ops->create(disk, "e", 10, &file), ERR_GONE);
    disk->ops->free(disk);
    buf_done(&why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_and_log_stay_within_their_bounds),
        cmocka_unit_test(a_stop_applies_everything),
        cmocka_unit_test(a_stop_without_time_leaves_it_in_the_log),
        cmocka_unit_test(each_start_makes_the_names_durable),
        cmocka_unit_test(chunks_follow_what_the_disk_can_do),
        cmocka_unit_test(a_stop_waits_for_no_tree_that_fails),
        cmocka_unit_test(a_stop_keeps_no_writer_of_a_full_table),
        cmocka_unit_test(a_stop_works_in_short_chunks),
        cmocka_unit_test(a_hurry_alone_keeps_no_writer),
        cmocka_unit_test(records_are_counted_over_an_opening_anew),
        cmocka_unit_test(a_failed_meta_page_holds_nobody_up),
        cmocka_unit_test(what_is_removed_under_its_writer_has_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
