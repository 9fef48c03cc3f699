/* The law of disks: a folder of a file system and the simulated disk do, call for
 * call, what a plain model does. Random creates, writes, reads, renames, removes
 * and syncs, and on the simulated disk kills, crashes and failed syncs.
 *
 * For crashes the model keeps what may be left: for each byte of a file the values
 * that it has had since it was last durable, the least and the greatest size, and
 * for each name the files that it has led to. What a crash leaves must be among
 * these, so that what was synced is there and nothing is made up. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "disk_posix.h"
#include "disk_sim.h"
#include "mem.h"
#include "rng.h"

#include <stdlib.h>
#include <unistd.h>

/* Few names and small files, so that they meet: some sectors, and a part of one. */
enum {
    NAMES = 4,
    SECTOR = 512,
    SIZE_MOST = 3 * SECTOR + 100,
    STEPS = 300,
    SIM_SEEDS = 1000,
    POSIX_SEEDS = 5
};

static const char *const names[NAMES] = {"a", "log-000000000001", "log-000000000002", "z.tmp"};

struct file_model {
    struct file_model *older; /* all of a run, so that they can be freed */
    uint64_t size;
    uint64_t size_least, size_most; /* after a crash */
    uint64_t size_saved;            /* the least after the next sync */
    uint8_t shown[SIZE_MOST];
    uint8_t may_be[SIZE_MOST][256 / 8]; /* after a crash: a bit for each value */
    bool given_up[SIZE_MOST];           /* a sync of it has failed: the next will leave it */
};

struct name_model {
    struct file_model *shown;             /* NULL: no such file */
    struct file_model *may_be[STEPS + 1]; /* after a crash; the same */
    size_t may_be_len;
};

struct law {
    uint64_t seed;
    size_t step;
    struct rng rng;
    struct disk *disk;
    struct disk_sim *sim; /* NULL for a real folder */
    struct name_model names[NAMES];
    struct file_model *files;
    size_t lost, kept; /* crashes after which an unsynced file was not, or was, as it was shown */
};

static void expect(const struct law *law, bool is, const char *what)
{
    if (!is)
        fail_msg("seed %llu, step %zu: %s", (unsigned long long)law->seed, law->step, what);
}

static size_t pick(struct law *law, size_t n)
{
    return (size_t)rng_below(&law->rng, n);
}

/* ---- the model ------------------------------------------------------------ */

static void allow(struct file_model *file, size_t at, uint8_t value)
{
    file->may_be[at][value / 8] |= (uint8_t)(1u << value % 8);
}

static void allow_only(struct file_model *file, size_t at, uint8_t value)
{
    memset(file->may_be[at], 0, sizeof file->may_be[at]);
    allow(file, at, value);
}

static bool allowed(const struct file_model *file, size_t at, uint8_t value)
{
    return file->may_be[at][value / 8] & 1u << value % 8;
}

static struct file_model *model_new(struct law *law, uint64_t size)
{
    struct file_model *file = mem_new(sizeof *file);
    file->older = law->files;
    law->files = file;
    file->size = file->size_most = file->size_saved = size;
    for (size_t i = 0; i < SIZE_MOST; i++)
        allow(file, i, 0);
    return file;
}

static void model_write(struct file_model *file, size_t offset, struct bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        file->shown[offset + i] = bytes.data[i];
        allow(file, offset + i, bytes.data[i]);
    }
    size_t end = offset + bytes.len, sectors_end = (end + SECTOR - 1) / SECTOR * SECTOR;
    for (size_t i = offset / SECTOR * SECTOR; i < sectors_end && i < SIZE_MOST; i++)
        file->given_up[i] = false;
    if (end > file->size)
        file->size = end;
    if (end > file->size_most)
        file->size_most = end;
    if (end > file->size_saved)
        file->size_saved = end;
}

static void model_sync(struct file_model *file)
{
    for (size_t i = 0; i < SIZE_MOST; i++)
        if (!file->given_up[i])
            allow_only(file, i, file->shown[i]);
    file->size_least = file->size_saved;
}

/* Nothing more is known of what is not durable, whatever syncs follow; of the size
 * too, until there are writes past it. */
static void model_sync_failed(struct file_model *file)
{
    for (size_t i = 0; i < SIZE_MOST; i++)
        file->given_up[i] = true;
    file->size_saved = file->size_least;
}

static void model_name(struct law *law, size_t name, struct file_model *file)
{
    struct name_model *at = &law->names[name];
    at->shown = file;
    at->may_be[at->may_be_len++] = file;
}

static void model_names_durable(struct law *law)
{
    for (size_t i = 0; i < NAMES; i++) {
        law->names[i].may_be[0] = law->names[i].shown;
        law->names[i].may_be_len = 1;
    }
}

/* ---- steps ---------------------------------------------------------------- */

static void step_create(struct law *law, size_t name)
{
    struct disk_file *file;
    uint64_t size = pick(law, SIZE_MOST + 1);
    expect(law, law->disk->ops->create(law->disk, names[name], size, &file) == OK, "create");
    file->ops->close(file);
    model_name(law, name, model_new(law, size));
}

/* The file, or NULL where the model knows of none. */
static struct disk_file *open_file(struct law *law, size_t name)
{
    struct disk_file *file = NULL;
    enum err err = law->disk->ops->open(law->disk, names[name], &file);
    expect(law, err == (law->names[name].shown ? OK : ERR_NOT_FOUND), "open");
    return file;
}

/* Within the file, or now and then past its end. */
static void step_write(struct law *law, size_t name)
{
    struct disk_file *file = open_file(law, name);
    if (!file)
        return;
    uint8_t bytes[SIZE_MOST];
    struct file_model *model = law->names[name].shown;
    size_t limit = pick(law, 10) ? (size_t)model->size : SIZE_MOST;
    size_t offset = pick(law, limit + 1), n = pick(law, limit - offset + 1);
    memset(bytes, (int)pick(law, 256), n);
    expect(law, file->ops->write(file, offset, bytes_of(bytes, n)) == OK, "write");
    if (n)
        model_write(model, offset, bytes_of(bytes, n));
    file->ops->close(file);
}

static void step_read(struct law *law, size_t name)
{
    struct disk_file *file = open_file(law, name);
    if (!file)
        return;
    uint8_t got[2 * SIZE_MOST];
    const struct file_model *model = law->names[name].shown;
    size_t offset = pick(law, SIZE_MOST + 1), n = pick(law, SIZE_MOST), got_n;
    size_t there = offset < model->size ? (size_t)model->size - offset : 0;
    uint64_t size;
    expect(law, file->ops->size(file, &size) == OK && size == model->size, "size");
    expect(law, file->ops->read(file, offset, got, n, &got_n) == OK, "read");
    expect(law, got_n == (n < there ? n : there), "read as much as there is");
    expect(law, memcmp(got, model->shown + (there ? offset : 0), got_n) == 0, "read what was written");
    file->ops->close(file);
}

static void step_sync(struct law *law, size_t name)
{
    struct disk_file *file = open_file(law, name);
    if (!file)
        return;
    bool fails = law->sim && pick(law, 5) == 0;
    if (fails)
        disk_sim_fail(law->sim, 1, ERR_IO);
    expect(law, file->ops->sync(file) == (fails ? ERR_IO : OK), "sync");
    (fails ? model_sync_failed : model_sync)(law->names[name].shown);
    file->ops->close(file);
}

static void step_rename(struct law *law, size_t name)
{
    size_t to = pick(law, NAMES);
    struct file_model *file = law->names[name].shown;
    enum err err = law->disk->ops->rename(law->disk, names[name], names[to]);
    expect(law, err == (file ? OK : ERR_GONE), "rename");
    if (!file || to == name)
        return;
    model_name(law, name, NULL);
    model_name(law, to, file);
}

static void step_remove(struct law *law, size_t name)
{
    expect(law, law->disk->ops->remove(law->disk, names[name]) == OK, "remove");
    model_name(law, name, NULL);
}

static void step_sync_folder(struct law *law, size_t name)
{
    expect(law, law->disk->ops->sync_folder(law->disk) == OK, "sync of the folder");
    model_names_durable(law);
}

static void count_name(void *ctx, const char *name)
{
    size_t *seen = ctx;
    for (size_t i = 0; i < NAMES; i++)
        if (strcmp(name, names[i]) == 0) {
            seen[i]++;
            return;
        }
    fail_msg("a name made up: %s", name);
}

static void step_list(struct law *law, size_t name)
{
    size_t seen[NAMES] = {0};
    expect(law, law->disk->ops->list(law->disk, count_name, seen) == OK, "list");
    for (size_t i = 0; i < NAMES; i++)
        expect(law, seen[i] == (law->names[i].shown ? 1 : 0), "list each name once");
}

/* ---- deaths --------------------------------------------------------------- */

static void remount(struct law *law, void (*death)(struct disk_sim *))
{
    death(law->sim);
    law->disk->ops->free(law->disk);
    law->disk = disk_sim_mount(law->sim);
}

static bool may_be_left(const struct file_model *file, struct bytes found)
{
    if (found.len < file->size_least || found.len > file->size_most)
        return false;
    for (size_t i = 0; i < found.len; i++)
        if (!allowed(file, i, found.data[i]))
            return false;
    return true;
}

/* One of the files that the name has led to; or none, where it may have led to none. */
static void check_left(const struct law *law, size_t name, bool is_there, struct bytes found)
{
    const struct name_model *at = &law->names[name];
    for (size_t i = 0; i < at->may_be_len; i++)
        if (at->may_be[i] ? is_there && may_be_left(at->may_be[i], found) : !is_there)
            return;
    expect(law, false,
           is_there ? "a crash left what was not written, or lost what was synced"
                    : "a crash lost a name that was synced");
}

static void count_left(struct law *law, size_t name, bool is_there, struct bytes found)
{
    const struct file_model *shown = law->names[name].shown;
    bool same = shown ? is_there && bytes_equal(found, bytes_of(shown->shown, (size_t)shown->size))
                      : !is_there;
    bool sure = law->names[name].may_be_len == 1 && (!shown || shown->size_least == shown->size_most);
    law->lost += !same;
    law->kept += same && !sure;
}

/* The model goes on from what was found, which is durable. */
static void adopt(struct law *law, size_t name, bool is_there, struct bytes found)
{
    struct file_model *file = is_there ? model_new(law, found.len) : NULL;
    if (file) {
        model_write(file, 0, found);
        model_sync(file);
    }
    law->names[name].shown = file;
}

static void step_crash(struct law *law, size_t name)
{
    remount(law, disk_sim_crash);
    struct buf found;
    buf_init(&found, SIZE_MOST);
    for (size_t i = 0; i < NAMES; i++) {
        buf_reset(&found);
        bool is_there = disk_sim_read_file(law->sim, names[i], &found) == OK;
        check_left(law, i, is_there, buf_bytes(&found));
        count_left(law, i, is_there, buf_bytes(&found));
        adopt(law, i, is_there, buf_bytes(&found));
    }
    buf_done(&found);
    model_names_durable(law);
}

static void step_kill(struct law *law, size_t name)
{
    remount(law, disk_sim_kill);
}

/* ---- runs ----------------------------------------------------------------- */

static void run(struct law *law, uint64_t seed)
{
    static void (*const steps[])(struct law *, size_t) = {
        step_write,  step_write, step_write,  step_read,   step_read,        step_sync, step_sync,
        step_create, step_list,  step_rename, step_remove, step_sync_folder, step_kill, step_crash};
    size_t kinds = sizeof steps / sizeof *steps - (law->sim ? 0 : 2);
    law->seed = seed;
    rng_init(&law->rng, seed);
    model_names_durable(law); /* none is there */
    for (law->step = 0; law->step < STEPS; law->step++)
        steps[pick(law, kinds)](law, pick(law, NAMES));
}

static void forget(struct law *law)
{
    law->disk->ops->free(law->disk);
    disk_sim_free(law->sim);
    for (struct file_model *file = law->files, *older; file; file = older) {
        older = file->older;
        free(file);
    }
}

static void a_folder_obeys_the_law(void **state)
{
    for (uint64_t seed = 1; seed <= POSIX_SEEDS; seed++) {
        char folder[] = "/tmp/yzma-disk-XXXXXX";
        struct law law = {0};
        struct buf why;
        buf_init(&why, 512);
        assert_non_null(mkdtemp(folder));
        assert_int_equal(disk_posix_open(folder, &law.disk, &why), OK);
        run(&law, seed);
        for (size_t i = 0; i < NAMES; i++)
            assert_int_equal(law.disk->ops->remove(law.disk, names[i]), OK);
        forget(&law);
        assert_int_equal(rmdir(folder), 0); /* nothing else was in it */
        buf_done(&why);
    }
}

static void a_simulated_disk_obeys_the_law(void **state)
{
    size_t lost = 0, kept = 0;
    for (uint64_t seed = 1; seed <= SIM_SEEDS; seed++) {
        struct law law = {.sim = disk_sim_new(seed)};
        law.disk = disk_sim_mount(law.sim);
        run(&law, seed);
        lost += law.lost;
        kept += law.kept;
        forget(&law);
    }
    assert_true(lost > SIM_SEEDS && kept > SIM_SEEDS); /* the crashes were worth the name */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_obeys_the_law),
        cmocka_unit_test(a_simulated_disk_obeys_the_law),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
