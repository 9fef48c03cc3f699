/* store/lmdb: the engine on a real file: what it refuses, what it survives, and
 * what a full disk does to it. The laws that every engine keeps are in
 * tests/prop/engine_law.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "engine_lmdb.h"
#include "rng.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct place {
    char folder[64], path[96], lock_path[104];
};

static int make_place(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->folder, "/tmp/yzma-lmdb-XXXXXX");
    if (!place || !mkdtemp(place->folder))
        return -1;
    snprintf(place->path, sizeof place->path, "%s/yzma.db", place->folder);
    snprintf(place->lock_path, sizeof place->lock_path, "%s-lock", place->path);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;
    umount(place->folder); /* where a test put a small disk on it */
    unlink(place->path);
    unlink(place->lock_path);
    int rc = rmdir(place->folder);
    free(place);
    return rc;
}

static char why_text[512];

/* The engine, or NULL and *ret_err; the reason is in why_text. */
static struct engine *try_open(const char *path, enum err *ret_err)
{
    struct buf identity, why;
    buf_init(&identity, 64);
    buf_init(&why, sizeof why_text - 1);
    struct engine *engine = NULL;
    *ret_err = lmdb_engine_open(path, &(struct lmdb_options){0}, &engine, &identity, &why);
    memcpy(why_text, why.data ? (char *)why.data : "", why.len);
    why_text[why.len] = 0;
    if (*ret_err == OK)
        assert_int_equal(identity.len, 20);
    buf_done(&identity);
    buf_done(&why);
    return engine;
}

static struct engine *must_open(const char *path)
{
    enum err err;
    struct engine *engine = try_open(path, &err);
    if (err != OK)
        fail_msg("%s", why_text);
    return engine;
}

static enum err open_error(const char *path)
{
    enum err err;
    struct engine *engine = try_open(path, &err);
    if (engine)
        engine->ops->close(engine);
    return err;
}

/* One put (or, with reserve, one that may use it) in a transaction of its own. */
static enum err put_one(struct engine *engine, struct bytes key, struct bytes value, bool reserve)
{
    struct engine_txn *txn;
    enum err err = engine->ops->write_begin(engine, &txn);
    if (err != OK)
        return err;
    engine->ops->use_reserve(txn, reserve);
    err = engine->ops->put(txn, TABLE_RECORDS, key, value);
    if (err == OK)
        return engine->ops->commit(txn);
    engine->ops->end(txn);
    return err;
}

static enum err del_one(struct engine *engine, struct bytes key)
{
    struct engine_txn *txn;
    enum err err = engine->ops->write_begin(engine, &txn);
    if (err != OK)
        return err;
    err = engine->ops->del(txn, TABLE_RECORDS, key);
    if (err == OK)
        return engine->ops->commit(txn);
    engine->ops->end(txn);
    return err;
}

static bool holds(struct engine *engine, struct bytes key, struct bytes value)
{
    struct engine_txn *txn;
    struct bytes found;
    assert_int_equal(engine->ops->read_begin(engine, &txn), OK);
    bool same = engine->ops->get(txn, TABLE_RECORDS, key, &found) == OK && bytes_equal(found, value);
    engine->ops->end(txn);
    return same;
}

static void write_file(const char *path, const void *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n), n);
    close(fd);
}

static bool file_is(const char *path, const void *data, size_t n)
{
    char now[4096];
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t got = read(fd, now, sizeof now);
    close(fd);
    return got == (ssize_t)n && memcmp(now, data, n) == 0;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* ---- opening ------------------------------------------------------------- */

/* What was committed is there after the store was closed and opened. */
static void a_commit_lasts(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    assert_int_equal(put_one(engine, bytes_str("llama"), bytes_str("kuzco"), false), OK);
    engine->ops->close(engine);

    engine = must_open(place->path);
    assert_true(holds(engine, bytes_str("llama"), bytes_str("kuzco")));
    engine->ops->close(engine);
}

/* An empty file is a new store. */
static void an_empty_file_is_a_new_store(void **state)
{
    struct place *place = *state;
    write_file(place->path, "", 0);
    assert_int_equal(open_error(place->path), OK);
}

/* Somebody else's file is refused, whole, with nothing left beside it. */
static void a_foreign_file_is_refused_untouched(void **state)
{
    struct place *place = *state;
    const char text[] = "Dear diary, today I was turned into a llama.";
    write_file(place->path, text, sizeof text);
    assert_int_equal(open_error(place->path), ERR_REFUSED);
    assert_non_null(strstr(why_text, "not a store"));
    assert_true(file_is(place->path, text, sizeof text));
    assert_false(exists(place->lock_path));
}

/* So is one that is too short to tell. */
static void a_scrap_is_refused_untouched(void **state)
{
    struct place *place = *state;
    write_file(place->path, "x", 1);
    assert_int_equal(open_error(place->path), ERR_REFUSED);
    assert_true(file_is(place->path, "x", 1));
    assert_false(exists(place->lock_path));
}

/* A file of a later LMDB is told apart from a foreign one. */
static void a_later_lmdb_is_refused(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    engine->ops->close(engine);
    int fd = open(place->path, O_RDWR);
    uint32_t version = 2;
    assert_int_equal(pwrite(fd, &version, sizeof version, 20), sizeof version);
    close(fd);
    assert_int_equal(open_error(place->path), ERR_VERSION);
}

/* A file that lost its end would kill the process that reads there: refused. */
static void a_cut_file_is_refused_untouched(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    uint8_t value[100000] = {1};
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_of(value, sizeof value), false), OK);
    engine->ops->close(engine);
    assert_int_equal(truncate(place->path, 60000), 0);

    assert_int_equal(open_error(place->path), ERR_DAMAGED);
    struct stat st;
    assert_int_equal(stat(place->path, &st), 0);
    assert_int_equal(st.st_size, 60000);
}

/* Only blocks ahead of the data, or free pages, are missing: nothing is lost. */
static void a_file_without_its_spare_end_is_whole(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    uint8_t value[100000] = {1};
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    assert_int_equal(put_one(engine, bytes_str("b"), bytes_of(value, sizeof value), false), OK);
    assert_int_equal(del_one(engine, bytes_str("b")), OK);
    for (int i = 0; i < 16; i++) /* free pages are taken in turn: the tree comes to the front */
        assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    engine->ops->close(engine);
    assert_int_equal(truncate(place->path, 100000), 0);

    engine = must_open(place->path);
    assert_true(holds(engine, bytes_str("a"), bytes_str("1")));
    assert_int_equal(put_one(engine, bytes_str("c"), bytes_of(value, sizeof value), false), OK);
    assert_true(holds(engine, bytes_str("c"), bytes_of(value, sizeof value)));
    engine->ops->close(engine);
}

static uint8_t *read_file(const char *path, size_t *ret_n)
{
    struct stat st;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &st), 0);
    uint8_t *data = malloc((size_t)st.st_size);
    assert_non_null(data);
    *ret_n = fread(data, 1, (size_t)st.st_size, file);
    assert_int_equal(*ret_n, st.st_size);
    fclose(file);
    return data;
}

/* Renames the front table: the store is then one that was made before there was any. */
static void take_front_away(const char *path)
{
    size_t n;
    uint8_t *data = read_file(path, &n);
    for (size_t i = 0; i + 5 <= n; i++)
        if (memcmp(data + i, "front", 5) == 0)
            data[i + 2] = 'x';
    write_file(path, data, n);
    free(data);
}

/* Whoever only looks (and may then refuse it) leaves every byte as it was, and no file
 * more; the front table is made when something is written. */
static void looking_at_a_store_leaves_no_trace(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    engine->ops->close(engine);
    take_front_away(place->path);
    assert_int_equal(unlink(place->lock_path), 0);
    size_t n, m;
    uint8_t *before = read_file(place->path, &n);

    engine = must_open(place->path);
    struct engine_txn *txn;
    struct bytes value;
    assert_true(holds(engine, bytes_str("a"), bytes_str("1")));
    assert_int_equal(engine->ops->read_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->get(txn, TABLE_FRONT, bytes_str("log"), &value), ERR_NOT_FOUND);
    engine->ops->end(txn);
    engine->ops->close(engine);

    uint8_t *after = read_file(place->path, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    assert_int_equal(access(place->lock_path, F_OK), -1);
    free(before);
    free(after);

    engine = must_open(place->path);
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    assert_int_equal(engine->ops->put(txn, TABLE_FRONT, bytes_str("log"), bytes_str("x")), OK);
    assert_int_equal(engine->ops->commit(txn), OK);
    engine->ops->close(engine);
}

/* A folder that is not there, or not ours to write, gives one line. */
static void an_unusable_folder_is_one_line(void **state)
{
    struct place *place = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/none/yzma.db", place->folder);
    assert_int_equal(open_error(path), ERR_IO);
    assert_non_null(strstr(why_text, "No such file or directory"));
    assert_null(strchr(why_text, '\n'));
    assert_int_equal(open_error(place->folder), ERR_IO);
    assert_non_null(strstr(why_text, "Is a directory"));
    assert_int_equal(open_error("/proc/yzma.db"), ERR_IO); /* not even for root */
}

/* ---- the lock ------------------------------------------------------------ */

/* A second opening in the same process is refused and harms nothing. */
static void the_same_process_is_refused(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    char holder[64];
    snprintf(holder, sizeof holder, "in use by process %ld", (long)getpid());

    assert_int_equal(open_error(place->path), ERR_LOCKED);
    assert_non_null(strstr(why_text, holder));
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    engine->ops->close(engine);
    assert_int_equal(open_error(place->path), OK);
}

/* Another process is refused, and told who holds the store. */
static void another_process_is_refused(void **state)
{
    struct place *place = *state;
    int opened[2], stop[2];
    assert_int_equal(pipe(opened), 0);
    assert_int_equal(pipe(stop), 0);
    pid_t child = fork();
    if (child == 0) {
        enum err err;
        close(stop[1]);
        try_open(place->path, &err);
        char byte = err == OK;
        if (write(opened[1], &byte, 1) != 1 || read(stop[0], &byte, 1) < 0)
            _exit(1);
        _exit(0);
    }
    char byte = 0;
    assert_int_equal(read(opened[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    char holder[64];
    snprintf(holder, sizeof holder, "in use by process %ld", (long)child);

    assert_int_equal(open_error(place->path), ERR_LOCKED);
    assert_non_null(strstr(why_text, holder));

    close(stop[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(stop[0]);
    close(opened[0]);
    close(opened[1]);
    assert_int_equal(open_error(place->path), OK);
}

/* ---- crashes ------------------------------------------------------------- */

/* Commits n = 1, 2, .. into two tables at once and says each n when it is
 * durable, until it is killed. */
static _Noreturn void commit_for_ever(const char *path, int out)
{
    enum err err;
    struct engine *engine = try_open(path, &err);
    for (uint64_t n = 1; err == OK; n++) {
        struct engine_txn *txn;
        struct bytes bytes = bytes_of(&n, sizeof n);
        err = engine->ops->write_begin(engine, &txn);
        if (err == OK)
            err = engine->ops->put(txn, TABLE_CLOCKS, bytes_str("n"), bytes);
        if (err == OK)
            err = engine->ops->put(txn, TABLE_ROWS, bytes, bytes);
        if (err == OK)
            err = engine->ops->commit(txn);
        if (err == OK && write(out, &n, sizeof n) != sizeof n)
            err = ERR_IO;
    }
    _exit(1);
}

/* kill -9 at any moment: what was acknowledged is there, no transaction is there
 * by halves. */
static void a_kill_loses_nothing(void **state)
{
    struct place *place = *state;
    struct rng rng;
    rng_init(&rng, 1);
    uint64_t acked = 0;
    for (int round = 0; round < 10; round++) {
        int out[2];
        assert_int_equal(pipe(out), 0);
        unlink(place->path);
        pid_t child = fork();
        if (child == 0)
            commit_for_ever(place->path, out[1]);
        close(out[1]);
        uint64_t commits = 1 + rng_below(&rng, 60);
        while (commits-- && read(out[0], &acked, sizeof acked) == sizeof acked)
            ;
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(out[0], &acked, sizeof acked) == sizeof acked)
            ;
        close(out[0]);

        struct engine *engine = must_open(place->path);
        struct engine_txn *txn;
        struct bytes found;
        uint64_t n;
        assert_int_equal(engine->ops->read_begin(engine, &txn), OK);
        assert_int_equal(engine->ops->get(txn, TABLE_CLOCKS, bytes_str("n"), &found), OK);
        memcpy(&n, found.data, sizeof n);
        assert_true(n == acked || n == acked + 1);
        for (uint64_t i = 1; i <= n + 1; i++)
            assert_int_equal(engine->ops->get(txn, TABLE_ROWS, bytes_of(&i, sizeof i), &found),
                             i <= n ? OK : ERR_NOT_FOUND);
        engine->ops->end(txn);
        engine->ops->close(engine);
    }
}

/* ---- a failing disk ------------------------------------------------------ */

/* Which descriptors of the data file: LMDB's, which are all but the first; of these the
 * meta page's, which writes through; or the lock's, which is the first. */
enum descriptors { OF_LMDB, OF_META, OF_LOCK };

static bool is_one_of(enum descriptors which, int fd, int nth)
{
    if (which == OF_META)
        return nth > 0 && (fcntl(fd, F_GETFL) & O_DSYNC);
    return which == OF_LOCK ? nth == 0 : nth > 0;
}

/* Puts another file under them. */
static void sabotage_some(const char *path, enum descriptors which, const char *other, int flags)
{
    int with = open(other, flags);
    assert_true(with >= 0);
    int found = 0, done = 0;
    for (int fd = 3; fd < 64; fd++) {
        char link[64], target[128] = {0};
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (fd == with || readlink(link, target, sizeof target - 1) < 0 || strcmp(target, path) != 0)
            continue;
        if (!is_one_of(which, fd, found++))
            continue;
        assert_int_equal(dup2(with, fd), fd);
        done++;
    }
    assert_true(done > 0);
    close(with);
}

static void sabotage(const char *path, const char *other, int flags)
{
    sabotage_some(path, OF_LMDB, other, flags);
}

/* Of a commit that failed nothing happened; the next one is taken as soon as the disk
 * takes it, and all of it is there after the next opening. */
static void a_failed_commit_may_be_followed_by_a_good_one(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    sabotage(place->path, place->path, O_RDONLY); /* a write then fails with EBADF */

    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("2"), false), ERR_IO);
    assert_int_equal(put_one(engine, bytes_str("b"), bytes_str("2"), false), ERR_IO);
    assert_true(holds(engine, bytes_str("a"), bytes_str("1")));
    sabotage(place->path, place->path, O_RDWR); /* and works again */
    assert_int_equal(put_one(engine, bytes_str("c"), bytes_str("3"), false), OK);
    engine->ops->close(engine);

    engine = must_open(place->path);
    assert_true(holds(engine, bytes_str("a"), bytes_str("1")));
    assert_false(holds(engine, bytes_str("b"), bytes_str("2")));
    assert_true(holds(engine, bytes_str("c"), bytes_str("3")));
    engine->ops->close(engine);
}

/* A disk that is full only when the commit writes: refused whole, and no more
 * than that. */
static void a_commit_may_find_the_disk_full(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    sabotage(place->path, "/dev/full", O_RDWR);

    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("2"), false), ERR_FULL);
    assert_true(holds(engine, bytes_str("a"), bytes_str("1")));
    struct engine_txn *txn;
    assert_int_equal(engine->ops->write_begin(engine, &txn), OK);
    engine->ops->end(txn);
    engine->ops->close(engine);
}

static bool a_is_1_or_2(struct engine *engine)
{
    return holds(engine, bytes_str("a"), bytes_str("1")) || holds(engine, bytes_str("a"), bytes_str("2"));
}

/* Where the page could not be written that makes a commit the tree, the file is opened
 * anew in place: what is found is the truth, reads go on, and so do writes. */
static void a_failed_meta_page_is_found_out_by_opening_anew(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    for (int i = 0; i < 3; i++) {
        sabotage_some(place->path, OF_META, place->path, O_RDONLY | O_DSYNC);
        assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("2"), false), ERR_IO);
        assert_true(a_is_1_or_2(engine));
        assert_int_equal(put_one(engine, bytes_str("b"), bytes_str("3"), false), OK);
        assert_true(holds(engine, bytes_str("b"), bytes_str("3")));
    }
    engine->ops->close(engine);

    engine = must_open(place->path);
    assert_true(a_is_1_or_2(engine));
    assert_true(holds(engine, bytes_str("b"), bytes_str("3")));
    engine->ops->close(engine);
}

/* A snapshot that is open stays whole; until it ends there is no writing. */
static void opening_anew_waits_for_readers(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    struct engine_txn *txn;
    struct bytes value;
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    assert_int_equal(engine->ops->read_begin(engine, &txn), OK);
    sabotage_some(place->path, OF_META, place->path, O_RDONLY | O_DSYNC);
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("2"), false), ERR_IO);
    assert_int_equal(put_one(engine, bytes_str("b"), bytes_str("3"), false), ERR_IO);
    assert_int_equal(engine->ops->get(txn, TABLE_RECORDS, bytes_str("a"), &value), OK);
    assert_true(bytes_equal(value, bytes_str("1")));
    engine->ops->end(txn);
    assert_int_equal(put_one(engine, bytes_str("b"), bytes_str("3"), false), OK);
    assert_true(a_is_1_or_2(engine));
    engine->ops->close(engine);
}

/* Who has a snapshot open is promised room all the same: waiting for the file to be opened
 * anew would be waiting for the own snapshot to end. */
static void room_is_promised_to_a_reader_who_holds_up_opening(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    struct engine_txn *txn;
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    assert_int_equal(engine->ops->read_begin(engine, &txn), OK);
    sabotage_some(place->path, OF_META, place->path, O_RDONLY | O_DSYNC);
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("2"), false), ERR_IO);

    assert_int_equal(engine->ops->promise(engine, 1 << 20), OK);

    engine->ops->end(txn);
    assert_int_equal(put_one(engine, bytes_str("b"), bytes_str("3"), false), OK);
    engine->ops->close(engine);
}

/* ---- what LMDB's opening meets ------------------------------------------------ */

static void (*at_opening)(void *ctx); /* before LMDB opens the file; NULL: nothing */
static void *at_opening_ctx;
static uint64_t map_most = UINT64_MAX; /* this system has no more address space */
static int opening_fails;              /* with this error; 0: it does not */

static size_t map_bytes; /* asked for */

int __real_mdb_env_set_mapsize(MDB_env *env, size_t bytes);
int __wrap_mdb_env_set_mapsize(MDB_env *env, size_t bytes);
int __wrap_mdb_env_set_mapsize(MDB_env *env, size_t bytes)
{
    map_bytes = bytes;
    return __real_mdb_env_set_mapsize(env, bytes);
}

int __real_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode)
{
    if (at_opening)
        at_opening(at_opening_ctx);
    if (opening_fails)
        return opening_fails;
    return map_bytes > map_most ? EINVAL : __real_mdb_env_open(env, path, flags, mode);
}

/* Where a map of that size is not to be had, as under valgrind, it is a smaller one. */
static void the_map_is_as_large_as_the_system_lets_it(void **state)
{
    struct place *place = *state;
    map_most = 1ull << 32;
    struct engine *engine = must_open(place->path);
    map_most = UINT64_MAX;
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    struct engine_usage usage;
    engine->ops->usage(engine, &usage);
    assert_true(usage.bytes_max == (1ull << 32) - LMDB_RESERVE);
    engine->ops->close(engine);
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void break_a_commit(struct engine *engine, const char *path)
{
    sabotage_some(path, OF_META, path, O_RDONLY | O_DSYNC);
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("2"), false), ERR_IO);
}

/* While the file cannot be opened anew there is nothing to read or write, at once and
 * without harm; when it can, all goes on, and no descriptor is lost on the way. */
static void opening_anew_may_fail_many_times(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    struct engine_txn *txn;
    struct engine_usage usage;
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    unsigned descriptors = open_descriptors();
    for (int i = 0; i < 5; i++) {
        opening_fails = EIO;
        break_a_commit(engine, place->path);
        for (int j = 0; j < 5; j++) {
            assert_int_equal(engine->ops->read_begin(engine, &txn), ERR_IO);
            assert_int_equal(engine->ops->promise(engine, 1), ERR_IO);
            engine->ops->usage(engine, &usage);
            assert_int_equal(put_one(engine, bytes_str("b"), bytes_str("3"), false), ERR_IO);
        }
        opening_fails = 0;
        assert_int_equal(put_one(engine, bytes_str("b"), bytes_str("3"), false), OK);
        assert_true(a_is_1_or_2(engine));
        assert_int_equal(open_descriptors(), descriptors);
    }
    engine->ops->close(engine);
}

/* Another store at its place is not taken for it, nor written to. */
static void another_file_is_not_opened_anew(void **state)
{
    struct place *place = *state;
    char kept[128], other[128];
    struct engine_txn *txn;
    snprintf(kept, sizeof kept, "%s/kept", place->folder);
    snprintf(other, sizeof other, "%s/other", place->folder);
    struct engine *engine = must_open(other);
    assert_int_equal(put_one(engine, bytes_str("other"), bytes_str("1"), false), OK);
    engine->ops->close(engine);
    engine = must_open(place->path);
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    sabotage_some(place->path, OF_META, place->path, O_RDONLY | O_DSYNC);
    assert_int_equal(rename(place->path, kept), 0);
    assert_int_equal(rename(other, place->path), 0);

    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("2"), false), ERR_IO);
    assert_int_equal(put_one(engine, bytes_str("b"), bytes_str("3"), false), ERR_IO);
    assert_int_equal(engine->ops->read_begin(engine, &txn), ERR_IO);

    assert_int_equal(rename(place->path, other), 0);
    assert_int_equal(rename(kept, place->path), 0);
    assert_int_equal(put_one(engine, bytes_str("b"), bytes_str("3"), false), OK);
    assert_true(a_is_1_or_2(engine));
    engine->ops->close(engine);
    engine = must_open(other);
    assert_false(holds(engine, bytes_str("b"), bytes_str("3")));
    engine->ops->close(engine);
    assert_int_equal(unlink(other), 0);
    strcat(other, "-lock");
    assert_int_equal(unlink(other), 0);
}

struct comer {
    struct engine *engine;
    pthread_t thread;
    atomic_bool comes;
    enum err err;
    bool came;
};

static void *come(void *arg)
{
    struct comer *comer = arg;
    struct engine_txn *txn;
    atomic_store(&comer->comes, true);
    comer->err = comer->engine->ops->read_begin(comer->engine, &txn);
    if (comer->err == OK)
        comer->engine->ops->end(txn);
    return NULL;
}

static void let_one_come(void *arg)
{
    struct comer *comer = arg;
    at_opening = NULL;
    assert_int_equal(pthread_create(&comer->thread, NULL, come, comer), 0);
    while (!atomic_load(&comer->comes))
        usleep(1000);
    usleep(50000); /* so that one who is let in is in; who is not has time enough later */
    comer->came = true;
}

/* A reader who comes while it is closed waits until it is open. */
static void a_reader_who_comes_meanwhile_waits(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    struct comer comer = {.engine = engine, .err = ERR_IO};
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    at_opening = let_one_come;
    at_opening_ctx = &comer;
    break_a_commit(engine, place->path);
    assert_true(comer.came);
    assert_int_equal(pthread_join(comer.thread, NULL), 0);
    assert_int_equal(comer.err, OK);
    engine->ops->close(engine);
}

/* While the page that was found cannot be made durable nothing is built on it. */
static void what_is_found_is_made_durable_first(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("1"), false), OK);
    sabotage_some(place->path, OF_META, place->path, O_RDONLY | O_DSYNC);
    sabotage_some(place->path, OF_LOCK, place->path, O_RDONLY);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("2"), false), ERR_IO);
        assert_true(a_is_1_or_2(engine));
    }
    sabotage_some(place->path, OF_LOCK, place->path, O_RDWR);
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_str("2"), false), OK);
    assert_true(holds(engine, bytes_str("a"), bytes_str("2")));
    engine->ops->close(engine);
}

/* ---- readers beside the writer ------------------------------------------- */

struct reader {
    pthread_t thread;
    struct engine *engine;
    atomic_bool *stop;
    size_t reads, torn;
    bool failed; /* to begin one */
};

/* Both keys are written together, so a snapshot shows them equal. */
static void *read_pairs(void *arg)
{
    struct reader *r = arg;
    const struct engine_ops *ops = r->engine->ops;
    while (!atomic_load(r->stop)) {
        struct engine_txn *txn;
        struct engine_cursor *cursor;
        struct bytes key, a = {0}, b = {0};
        r->failed = ops->read_begin(r->engine, &txn) != OK;
        if (r->failed)
            break;
        if (ops->cursor_open(txn, TABLE_RECORDS, &cursor) == OK) {
            if (ops->cursor_seek(cursor, bytes_of("", 0), &key, &a) == OK)
                r->torn += ops->cursor_next(cursor, &key, &b) != OK || !bytes_equal(a, b);
            ops->cursor_close(cursor);
        }
        ops->end(txn);
        r->reads++;
    }
    return NULL;
}

static enum err put_pair(struct engine *engine, uint64_t n)
{
    const struct engine_ops *ops = engine->ops;
    struct engine_txn *txn;
    enum err err = ops->write_begin(engine, &txn);
    if (err != OK)
        return err;
    assert_int_equal(ops->put(txn, TABLE_RECORDS, bytes_str("a"), bytes_of(&n, sizeof n)), OK);
    assert_int_equal(ops->put(txn, TABLE_RECORDS, bytes_str("b"), bytes_of(&n, sizeof n)), OK);
    return ops->commit(txn);
}

enum { READERS = 8 };

static void start_readers(struct reader readers[READERS], struct engine *engine, atomic_bool *stop)
{
    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.engine = engine, .stop = stop};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_pairs, &readers[i]), 0);
    }
}

static void end_readers(struct reader readers[READERS], atomic_bool *stop)
{
    atomic_store(stop, true);
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_false(readers[i].failed);
        assert_true(readers[i].reads > 0);
        assert_int_equal(readers[i].torn, 0);
    }
}

/* Readers in many threads see whole commits while a writer goes on. */
static void readers_see_whole_commits(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    atomic_bool stop = false;
    struct reader readers[READERS];
    start_readers(readers, engine, &stop);
    for (uint64_t n = 0; n < 200; n++)
        assert_int_equal(put_pair(engine, n), OK);
    end_readers(readers, &stop);
    engine->ops->close(engine);
}

/* Also while commits fail for good and the file is opened anew beneath them. */
static void readers_go_on_while_it_is_opened_anew(void **state)
{
    struct place *place = *state;
    struct engine *engine = must_open(place->path);
    atomic_bool stop = false;
    struct reader readers[READERS];
    assert_int_equal(put_pair(engine, 0), OK);
    start_readers(readers, engine, &stop);
    for (uint64_t n = 1; n < 60; n++) {
        if (n % 3 == 0) {
            sabotage_some(place->path, OF_META, place->path, O_RDONLY | O_DSYNC);
            assert_int_equal(put_pair(engine, n), ERR_IO);
        }
        while (put_pair(engine, n) != OK)
            ;
    }
    end_readers(readers, &stop);
    engine->ops->close(engine);
}

/* ---- a full disk --------------------------------------------------------- */

static void put_on_small_disk(const struct place *place)
{
    if (mount("none", place->folder, "tmpfs", 0, "size=12m") == 0)
        return;
    print_message("skipped: no permission to mount a small tmpfs\n");
    skip();
}

static struct bytes numbered(char out[32], unsigned n)
{
    return bytes_of(out, (size_t)snprintf(out, 32, "key%06u", n));
}

/* On a disk that is full: puts are refused and harm nothing, deletes work, from
 * the reserve, one after the other; the room they give back is used again. */
static void fill_and_empty(const char *path)
{
    struct engine *engine = must_open(path);
    char key[32];
    uint8_t value[3000];
    memset(value, 7, sizeof value);
    struct bytes bytes = bytes_of(value, sizeof value);
    unsigned n = 0;
    enum err err;
    while ((err = put_one(engine, numbered(key, n), bytes, false)) == OK)
        n++;
    assert_int_equal(err, ERR_FULL);
    assert_true(n > 100);
    assert_int_equal(put_one(engine, numbered(key, n), bytes, false), ERR_FULL);
    assert_true(holds(engine, numbered(key, 0), bytes));
    assert_true(holds(engine, numbered(key, n - 1), bytes));

    /* As the store deletes: what is left of the record, then a row. */
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(put_one(engine, numbered(key, i), bytes_str("gone"), true), OK);
        assert_int_equal(put_one(engine, numbered(key, n + i), bytes_str("row"), true), OK);
    }
    unsigned again = 0;
    while (again < n && put_one(engine, numbered(key, again), bytes, false) == OK)
        again++;
    assert_true(again > n / 2);
    assert_true(holds(engine, numbered(key, 0), bytes));
    engine->ops->close(engine);

    engine = must_open(path); /* also a full disk lets a store open */
    assert_true(holds(engine, numbered(key, 0), bytes));
    engine->ops->close(engine);
}

static void a_full_disk_can_be_emptied(void **state)
{
    struct place *place = *state;
    put_on_small_disk(place);
    fill_and_empty(place->path);
}

/* Room that somebody else gives back is found without a restart. */
static void a_full_disk_recovers_by_itself(void **state)
{
    struct place *place = *state;
    put_on_small_disk(place);
    struct engine *engine = must_open(place->path);
    char other[96], key[32];
    snprintf(other, sizeof other, "%s/other", place->folder);
    int fd = open(other, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(posix_fallocate(fd, 0, 3 << 20), 0);
    close(fd);
    uint8_t value[3000] = {7};
    struct bytes bytes = bytes_of(value, sizeof value);
    unsigned n = 0;
    while (put_one(engine, numbered(key, n), bytes, false) == OK)
        n++;
    unlink(other);
    assert_int_equal(put_one(engine, numbered(key, n), bytes, false), OK);
    engine->ops->close(engine);
}

/* A put larger than what is left is refused before anything is written; a small
 * one after it succeeds. */
static void a_large_put_leaves_room_for_small_ones(void **state)
{
    struct place *place = *state;
    put_on_small_disk(place);
    struct engine *engine = must_open(place->path);
    uint8_t *large = calloc(1, 16 << 20);
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_of(large, 16 << 20), false), ERR_FULL);
    assert_int_equal(put_one(engine, bytes_str("a"), bytes_of(large, 3000), false), OK);
    free(large);
    engine->ops->close(engine);
}

/* Server.MaxStoreBytes is a full disk of its own. */
static void the_own_limit_is_kept(void **state)
{
    struct place *place = *state;
    struct buf identity, why;
    buf_init(&identity, 64);
    buf_init(&why, 512);
    struct engine *engine;
    const struct lmdb_options options = {.bytes_max = 4 << 20};
    assert_int_equal(lmdb_engine_open(place->path, &options, &engine, &identity, &why), OK);
    char key[32];
    uint8_t value[3000] = {7};
    unsigned n = 0;
    while (n < 10000 && put_one(engine, numbered(key, n), bytes_of(value, sizeof value), false) == OK)
        n++;
    assert_in_range(n, 500, 1400);
    struct engine_usage usage;
    engine->ops->usage(engine, &usage);
    assert_int_equal(usage.entries[TABLE_RECORDS], n);
    assert_in_range(usage.file_bytes, 4 << 20, (4 << 20) + LMDB_RESERVE);
    assert_int_equal(put_one(engine, numbered(key, 0), bytes_str("gone"), true), OK);
    engine->ops->close(engine);
    buf_done(&identity);
    buf_done(&why);
}

int main(void)
{
#define AT_A_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        AT_A_PLACE(a_commit_lasts),
        AT_A_PLACE(an_empty_file_is_a_new_store),
        AT_A_PLACE(a_foreign_file_is_refused_untouched),
        AT_A_PLACE(a_scrap_is_refused_untouched),
        AT_A_PLACE(a_later_lmdb_is_refused),
        AT_A_PLACE(a_cut_file_is_refused_untouched),
        AT_A_PLACE(a_file_without_its_spare_end_is_whole),
        AT_A_PLACE(looking_at_a_store_leaves_no_trace),
        AT_A_PLACE(an_unusable_folder_is_one_line),
        AT_A_PLACE(the_same_process_is_refused),
        AT_A_PLACE(another_process_is_refused),
        AT_A_PLACE(a_kill_loses_nothing),
        AT_A_PLACE(a_failed_commit_may_be_followed_by_a_good_one),
        AT_A_PLACE(a_commit_may_find_the_disk_full),
        AT_A_PLACE(a_failed_meta_page_is_found_out_by_opening_anew),
        AT_A_PLACE(opening_anew_waits_for_readers),
        AT_A_PLACE(room_is_promised_to_a_reader_who_holds_up_opening),
        AT_A_PLACE(the_map_is_as_large_as_the_system_lets_it),
        AT_A_PLACE(opening_anew_may_fail_many_times),
        AT_A_PLACE(another_file_is_not_opened_anew),
        AT_A_PLACE(a_reader_who_comes_meanwhile_waits),
        AT_A_PLACE(what_is_found_is_made_durable_first),
        AT_A_PLACE(readers_go_on_while_it_is_opened_anew),
        AT_A_PLACE(readers_see_whole_commits),
        AT_A_PLACE(a_full_disk_can_be_emptied),
        AT_A_PLACE(a_full_disk_recovers_by_itself),
        AT_A_PLACE(a_large_put_leaves_room_for_small_ones),
        AT_A_PLACE(the_own_limit_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
