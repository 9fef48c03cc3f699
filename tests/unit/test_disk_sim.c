/* The simulated disk: what a kill keeps and a crash may lose, and what each fault
 * does. That it reads and writes as a folder does, and that no crash loses what was
 * synced or makes up what was not written, is in tests/prop/test_disk_law.c.
 *
 * What is random is looked at over SEEDS crashes: "may" is seen both ways, "never"
 * not once. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "disk_sim.h"
#include "sim_file.h"

#include <stdlib.h>

enum { SEEDS = 200, SECTOR = SECTOR_SIZE };

/* ---- helpers -------------------------------------------------------------- */

static struct disk_file *must_create(struct disk *disk, const char *name, uint64_t size)
{
    struct disk_file *file = NULL;
    assert_int_equal(disk->ops->create(disk, name, size, &file), OK);
    return file;
}

static struct disk_file *must_open(struct disk *disk, const char *name)
{
    struct disk_file *file = NULL;
    assert_int_equal(disk->ops->open(disk, name, &file), OK);
    return file;
}

static enum err put(struct disk_file *file, uint64_t offset, const char *text)
{
    return file->ops->write(file, offset, bytes_str(text));
}

static void must_put(struct disk_file *file, uint64_t offset, const char *text)
{
    assert_int_equal(put(file, offset, text), OK);
}

static void must_sync(struct disk *disk, struct disk_file *file)
{
    assert_int_equal(file->ops->sync(file), OK);
    assert_int_equal(disk->ops->sync_folder(disk), OK);
}

static bool is_there(const struct disk_sim *sim, const char *name)
{
    struct buf content;
    buf_init(&content, SIZE_MAX);
    enum err err = disk_sim_read_file(sim, name, &content);
    buf_done(&content);
    return err == OK;
}

static size_t size_of(const struct disk_sim *sim, const char *name)
{
    struct buf content;
    buf_init(&content, SIZE_MAX);
    assert_int_equal(disk_sim_read_file(sim, name, &content), OK);
    size_t size = content.len;
    buf_done(&content);
    return size;
}

/* The file has this text at the offset. */
static bool holds(const struct disk_sim *sim, const char *name, uint64_t offset, const char *text)
{
    struct buf content;
    buf_init(&content, SIZE_MAX);
    bool same = disk_sim_read_file(sim, name, &content) == OK && offset + strlen(text) <= content.len &&
                memcmp(content.data + offset, text, strlen(text)) == 0;
    buf_done(&content);
    return same;
}

/* A disk with a durable file "a" of `size` zeros, and a handle on it. */
struct scene {
    struct disk_sim *sim;
    struct disk *disk;
    struct disk_file *a;
};

static struct scene scene_new(uint64_t seed, uint64_t size)
{
    struct scene scene = {.sim = disk_sim_new(seed)};
    scene.disk = disk_sim_mount(scene.sim);
    scene.a = must_create(scene.disk, "a", size);
    must_sync(scene.disk, scene.a);
    return scene;
}

static void scene_done(struct scene *scene)
{
    scene->a->ops->close(scene->a);
    scene->disk->ops->free(scene->disk);
    disk_sim_free(scene->sim);
}

/* What a crash with this seed would leave; the disk itself goes on. */
static struct disk_sim *crashed_copy(const struct disk_sim *sim, uint64_t seed)
{
    struct disk_sim *copy = disk_sim_clone(sim);
    disk_sim_seed(copy, seed);
    disk_sim_crash(copy);
    return copy;
}

/* In how many of SEEDS crashes of this moment something is true. */
static size_t crashes_where(const struct disk_sim *sim, bool (*is)(const struct disk_sim *))
{
    size_t n = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct disk_sim *copy = crashed_copy(sim, seed);
        n += is(copy);
        disk_sim_free(copy);
    }
    return n;
}

static void assert_sometimes(size_t n)
{
    assert_in_range(n, 1, SEEDS - 1);
}

static bool has_a(const struct disk_sim *sim)
{
    return is_there(sim, "a");
}

static bool has_b(const struct disk_sim *sim)
{
    return is_there(sim, "b");
}

static bool has_both(const struct disk_sim *sim)
{
    return has_a(sim) && has_b(sim);
}

static bool has_neither(const struct disk_sim *sim)
{
    return !has_a(sim) && !has_b(sim);
}

static bool first_sector_new(const struct disk_sim *sim)
{
    return holds(sim, "a", 0, "new");
}

static bool second_sector_new(const struct disk_sim *sim)
{
    return holds(sim, "a", SECTOR, "new");
}

static bool only_second_sector_new(const struct disk_sim *sim)
{
    return !first_sector_new(sim) && second_sector_new(sim);
}

static bool first_sector_old(const struct disk_sim *sim)
{
    return holds(sim, "a", 0, "old");
}

/* ---- bytes ---------------------------------------------------------------- */

/* Unsynced writes outlive the process: the page cache is not its own. */
static void a_kill_keeps_what_was_written(void **state)
{
    struct scene s = scene_new(1, 2 * SECTOR);
    must_put(s.a, 0, "new");
    struct disk_file *b = must_create(s.disk, "b", 0);

    disk_sim_kill(s.sim);

    assert_true(first_sector_new(s.sim) && has_b(s.sim));
    assert_sometimes(crashes_where(s.sim, first_sector_new)); /* and are no more durable for it */
    assert_sometimes(crashes_where(s.sim, has_b));
    b->ops->close(b);
    scene_done(&s);
}

/* Whatever the luck, what was synced is there. */
static void a_crash_keeps_what_was_synced(void **state)
{
    struct scene s = scene_new(1, 2 * SECTOR);
    must_put(s.a, 0, "new");
    must_sync(s.disk, s.a);
    assert_int_equal(crashes_where(s.sim, first_sector_new), SEEDS);
    scene_done(&s);
}

/* One write over two sectors: either may be there without the other. */
static void a_crash_tears_and_reorders_writes(void **state)
{
    struct scene s = scene_new(1, 2 * SECTOR);
    uint8_t both[SECTOR + 3] = "new";
    memcpy(both + SECTOR, "new", 3);
    assert_int_equal(s.a->ops->write(s.a, 0, bytes_of(both, sizeof both)), OK);

    assert_sometimes(crashes_where(s.sim, first_sector_new));
    assert_sometimes(crashes_where(s.sim, second_sector_new));
    assert_sometimes(crashes_where(s.sim, only_second_sector_new));
    scene_done(&s);
}

static bool first_sector_middle(const struct disk_sim *sim)
{
    return holds(sim, "a", 0, "mid");
}

/* A sector written twice may be left as it was in between. */
static void a_crash_leaves_any_image_of_a_sector(void **state)
{
    struct scene s = scene_new(1, SECTOR);
    must_put(s.a, 0, "old");
    must_sync(s.disk, s.a);
    must_put(s.a, 0, "mid");
    must_put(s.a, 0, "new");
    assert_sometimes(crashes_where(s.sim, first_sector_old));
    assert_sometimes(crashes_where(s.sim, first_sector_middle));
    assert_sometimes(crashes_where(s.sim, first_sector_new));
    scene_done(&s);
}

/* What a crash has left stays: the next crash changes nothing. */
static void what_is_left_is_durable(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct scene s = scene_new(seed, SECTOR);
        must_put(s.a, 0, "new");
        disk_sim_crash(s.sim);
        bool left = first_sector_new(s.sim);
        assert_int_equal(crashes_where(s.sim, first_sector_new), left ? SEEDS : 0);
        scene_done(&s);
    }
}

static bool a_is_empty(const struct disk_sim *sim)
{
    return size_of(sim, "a") == 0;
}

static bool a_is_whole(const struct disk_sim *sim)
{
    return size_of(sim, "a") == 4 * SECTOR;
}

static bool a_is_cut(const struct disk_sim *sim)
{
    return !a_is_empty(sim) && !a_is_whole(sim);
}

/* A name that was synced before the file leads to any part of it. */
static void a_crash_cuts_a_file_that_was_not_synced(void **state)
{
    struct disk_sim *sim = disk_sim_new(1);
    struct disk *disk = disk_sim_mount(sim);
    struct disk_file *a = must_create(disk, "a", 4 * SECTOR);
    assert_int_equal(disk->ops->sync_folder(disk), OK);

    assert_int_equal(crashes_where(sim, has_a), SEEDS);
    assert_sometimes(crashes_where(sim, a_is_empty));
    assert_sometimes(crashes_where(sim, a_is_whole));
    assert_sometimes(crashes_where(sim, a_is_cut));
    a->ops->close(a);
    disk->ops->free(disk);
    disk_sim_free(sim);
}

/* Where the end of a file is cut within a sector, growing it again shows zeros. */
static void bytes_past_a_cut_are_gone(void **state)
{
    struct scene s = scene_new(1, SECTOR);
    must_put(s.a, 0, "newer");
    disk_sim_truncate(s.sim, "a", 3);
    must_put(s.a, 8, "x");
    assert_int_equal(size_of(s.sim, "a"), 9);
    uint8_t got[9];
    size_t n;
    assert_int_equal(s.a->ops->read(s.a, 0, got, sizeof got, &n), OK);
    assert_int_equal(n, 9);
    assert_memory_equal(got, "new\0\0\0\0\0x", 9);
    scene_done(&s);
}

/* ---- names ---------------------------------------------------------------- */

/* Synced bytes do not help a name that was not, and a lost remove undoes itself. */
static void a_crash_loses_names(void **state)
{
    struct scene s = scene_new(1, SECTOR);
    struct disk_file *b = must_create(s.disk, "b", SECTOR);
    assert_int_equal(b->ops->sync(b), OK);
    assert_sometimes(crashes_where(s.sim, has_b));

    assert_int_equal(s.disk->ops->remove(s.disk, "a"), OK);
    assert_sometimes(crashes_where(s.sim, has_a));
    assert_sometimes(crashes_where(s.sim, has_both));    /* the create came, the remove did not */
    assert_sometimes(crashes_where(s.sim, has_neither)); /* and the other way about */

    assert_int_equal(s.disk->ops->sync_folder(s.disk), OK);
    assert_int_equal(crashes_where(s.sim, has_a), 0);
    assert_int_equal(crashes_where(s.sim, has_b), SEEDS);
    b->ops->close(b);
    scene_done(&s);
}

/* A rename happens to both names or to neither. */
static void a_rename_is_atomic(void **state)
{
    struct scene s = scene_new(1, SECTOR);
    assert_int_equal(s.disk->ops->rename(s.disk, "a", "b"), OK);
    assert_sometimes(crashes_where(s.sim, has_a));
    assert_sometimes(crashes_where(s.sim, has_b));
    assert_int_equal(crashes_where(s.sim, has_both), 0);
    assert_int_equal(crashes_where(s.sim, has_neither), 0);
    scene_done(&s);
}

/* A second name for the bytes that were written is never made up: where the file
 * has been renamed twice, one of the three names leads to it. */
static void changes_of_one_name_stay_in_order(void **state)
{
    struct scene s = scene_new(1, SECTOR);
    assert_int_equal(s.disk->ops->rename(s.disk, "a", "b"), OK);
    assert_int_equal(s.disk->ops->rename(s.disk, "b", "c"), OK);
    size_t as[3] = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct disk_sim *copy = crashed_copy(s.sim, seed);
        bool a = has_a(copy), b = has_b(copy), c = is_there(copy, "c");
        assert_int_equal(a + b + c, 1);
        as[0] += a, as[1] += b, as[2] += c;
        disk_sim_free(copy);
    }
    for (size_t i = 0; i < 3; i++)
        assert_sometimes(as[i]);
    scene_done(&s);
}

/* A create in the place of a durable file: before the folder is synced a crash
 * shows the old one or the new one, whole if it was synced. */
static void a_replaced_file_is_the_old_or_the_new_one(void **state)
{
    struct scene s = scene_new(1, SECTOR);
    must_put(s.a, 0, "old");
    must_sync(s.disk, s.a);
    struct disk_file *again = must_create(s.disk, "a", SECTOR);
    must_put(again, 0, "new");
    assert_int_equal(again->ops->sync(again), OK);

    size_t old = crashes_where(s.sim, first_sector_old), new = crashes_where(s.sim, first_sector_new);
    assert_sometimes(old);
    assert_int_equal(old + new, SEEDS);
    again->ops->close(again);
    scene_done(&s);
}

/* ---- mounts --------------------------------------------------------------- */

/* A mount from before a crash can be used and given back, and does nothing. */
static void what_is_left_behind_is_safe(void **state)
{
    struct scene s = scene_new(1, SECTOR);
    uint64_t size = 7;
    size_t n = 7;
    uint8_t byte;
    struct disk_file *file = NULL;
    disk_sim_crash(s.sim);
    uint64_t calls = disk_sim_calls(s.sim);

    assert_int_equal(put(s.a, 0, "new"), ERR_IO);
    assert_int_equal(s.a->ops->read(s.a, 0, &byte, 1, &n), ERR_IO);
    assert_int_equal(s.a->ops->size(s.a, &size), ERR_IO);
    assert_int_equal(s.a->ops->sync(s.a), ERR_IO);
    assert_int_equal(s.disk->ops->list(s.disk, NULL, NULL), ERR_IO);
    assert_int_equal(s.disk->ops->create(s.disk, "b", 1, &file), ERR_IO);
    assert_int_equal(s.disk->ops->open(s.disk, "a", &file), ERR_IO);
    assert_int_equal(s.disk->ops->rename(s.disk, "a", "b"), ERR_IO);
    assert_int_equal(s.disk->ops->remove(s.disk, "a"), ERR_IO);
    assert_int_equal(s.disk->ops->sync_folder(s.disk), ERR_IO);
    assert_true(size == 7 && n == 7 && !file);
    assert_true(has_a(s.sim) && !has_b(s.sim) && !first_sector_new(s.sim));
    assert_int_equal(disk_sim_calls(s.sim), calls);

    struct disk *next = disk_sim_mount(s.sim);
    struct disk_file *a = must_open(next, "a");
    must_put(a, 0, "new");
    assert_true(first_sector_new(s.sim));
    s.a->ops->close(NULL);
    a->ops->close(a);
    next->ops->free(next);
    scene_done(&s);
}

/* Disk, mount and handle may go in any order. */
static void the_order_of_leaving_is_free(void **state)
{
    struct scene s = scene_new(1, SECTOR);
    disk_sim_free(s.sim);
    s.disk->ops->free(s.disk);
    must_put(s.a, 0, "new");
    s.a->ops->close(s.a);
}

/* A copy goes its own way; with the same seed, the same way. */
static void a_clone_is_apart(void **state)
{
    struct scene s = scene_new(5, 8 * SECTOR);
    must_put(s.a, 0, "old");
    assert_int_equal(s.disk->ops->rename(s.disk, "a", "b"), OK);
    struct disk_sim *copy = disk_sim_clone(s.sim), *same = disk_sim_clone(s.sim);
    must_put(s.a, 0, "new");

    assert_true(holds(copy, "b", 0, "old"));
    assert_true(holds(s.sim, "b", 0, "new"));
    disk_sim_crash(copy);
    disk_sim_crash(same);
    assert_int_equal(has_b(copy), has_b(same));
    const char *name = has_b(copy) ? "b" : "a";
    assert_int_equal(holds(copy, name, 0, "old"), holds(same, name, 0, "old"));
    assert_true(holds(s.sim, "b", 0, "new"));
    disk_sim_free(copy);
    disk_sim_free(same);
    scene_done(&s);
}

/* A copy is a disk like any other: what is synced on it is there after a crash. */
static void a_clone_can_be_written(void **state)
{
    struct scene s = scene_new(1, SECTOR);
    struct disk_sim *copy = disk_sim_clone(s.sim);
    struct disk *disk = disk_sim_mount(copy);
    struct disk_file *a = must_open(disk, "a");
    must_put(a, 0, "new");
    assert_int_equal(a->ops->sync(a), OK);
    assert_int_equal(crashes_where(copy, first_sector_new), SEEDS);
    a->ops->close(a);
    disk->ops->free(disk);
    disk_sim_free(copy);
    scene_done(&s);
}

/* ---- faults --------------------------------------------------------------- */

/* The calls of one small run, in order; how many went well until one did not. */
static size_t small_run(struct disk *disk)
{
    size_t n = 0;
    struct disk_file *b = NULL;
    uint64_t size;
    if (disk->ops->create(disk, "b", 2 * SECTOR, &b) == OK && ++n && put(b, SECTOR - 4, "straddle") == OK &&
        ++n && b->ops->sync(b) == OK && ++n && disk->ops->sync_folder(disk) == OK && ++n &&
        disk->ops->rename(disk, "b", "c") == OK && ++n && b->ops->size(b, &size) == OK && ++n &&
        disk->ops->remove(disk, "a") == OK && ++n && disk->ops->sync_folder(disk) == OK)
        n++;
    if (b)
        b->ops->close(b);
    return n;
}

enum { SMALL_RUN = 8, SMALL_RUN_CHANGES = 7 };

/* Each call in turn fails, once, with the error asked for. */
static void the_nth_call_fails(void **state)
{
    for (size_t nth = 1; nth <= SMALL_RUN + 1; nth++) {
        struct scene s = scene_new(nth, SECTOR);
        uint64_t before = disk_sim_calls(s.sim);
        disk_sim_fail(s.sim, nth, ERR_FULL);
        assert_int_equal(small_run(s.disk), nth - 1);
        assert_int_equal(disk_sim_calls(s.sim) - before, nth <= SMALL_RUN ? nth : SMALL_RUN);
        assert_int_equal(s.disk->ops->sync_folder(s.disk), nth > SMALL_RUN ? ERR_FULL : OK);
        assert_int_equal(s.disk->ops->sync_folder(s.disk), OK);
        scene_done(&s);
    }
}

/* A write that fails is done up to some byte. */
static void a_failed_write_is_done_in_part(void **state)
{
    size_t nothing = 0, something = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct scene s = scene_new(seed, SECTOR);
        disk_sim_fail(s.sim, 1, ERR_IO);
        assert_int_equal(put(s.a, 0, "new"), ERR_IO);
        nothing += !holds(s.sim, "a", 0, "n");
        something += holds(s.sim, "a", 0, "n") && !holds(s.sim, "a", 0, "new");
        scene_done(&s);
    }
    assert_sometimes(nothing);
    assert_sometimes(something);
}

/* A create that fails leaves no file of that name. */
static void a_failed_create_leaves_no_file(void **state)
{
    struct scene s = scene_new(1, SECTOR);
    struct disk_file *file = NULL;
    disk_sim_fail(s.sim, 1, ERR_FULL);
    assert_int_equal(s.disk->ops->create(s.disk, "a", SECTOR, &file), ERR_FULL);
    assert_null(file);
    assert_false(has_a(s.sim));
    assert_sometimes(crashes_where(s.sim, has_a));
    scene_done(&s);
}

/* fsyncgate: after a failed sync reads show the bytes, also to the next process,
 * the next sync says OK, and a crash may lose them all the same. */
static void after_a_failed_sync_no_sync_helps(void **state)
{
    struct scene s = scene_new(3, SECTOR);
    size_t lost = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct disk_sim *copy = disk_sim_clone(s.sim);
        disk_sim_seed(copy, seed);
        struct disk *disk = disk_sim_mount(copy);
        struct disk_file *a = must_open(disk, "a");
        must_put(a, 0, "new");
        disk_sim_fail(copy, 1, ERR_IO);
        assert_int_equal(a->ops->sync(a), ERR_IO);
        assert_true(first_sector_new(copy));
        must_sync(disk, a);
        disk_sim_kill(copy);
        assert_true(first_sector_new(copy));
        disk_sim_crash(copy);
        lost += !first_sector_new(copy);
        a->ops->close(a);
        disk->ops->free(disk);
        disk_sim_free(copy);
    }
    assert_sometimes(lost);
    scene_done(&s);
}

/* Nor does it help the size of a new file. */
static void after_a_failed_sync_no_sync_saves_the_size(void **state)
{
    size_t cut = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct disk_sim *sim = disk_sim_new(seed);
        struct disk *disk = disk_sim_mount(sim);
        struct disk_file *a = must_create(disk, "a", 4 * SECTOR);
        disk_sim_fail(sim, 1, ERR_IO);
        assert_int_equal(a->ops->sync(a), ERR_IO);
        must_sync(disk, a);
        assert_true(a_is_whole(sim));
        disk_sim_crash(sim);
        cut += !a_is_whole(sim);
        a->ops->close(a);
        disk->ops->free(disk);
        disk_sim_free(sim);
    }
    assert_sometimes(cut);
}

/* But what is written again after a failed sync can be synced. */
static void what_is_written_again_can_be_synced(void **state)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct scene s = scene_new(seed, SECTOR);
        must_put(s.a, 0, "new");
        disk_sim_fail(s.sim, 1, ERR_IO);
        assert_int_equal(s.a->ops->sync(s.a), ERR_IO);
        must_put(s.a, 0, "new");
        must_sync(s.disk, s.a);
        disk_sim_crash(s.sim);
        assert_true(first_sector_new(s.sim));
        scene_done(&s);
    }
}

/* A crash in each change in turn: later calls do nothing, and the next boot finds
 * the changes before it, and its own at most. */
static void the_process_dies_in_its_nth_change(void **state)
{
    for (size_t nth = 1; nth <= SMALL_RUN_CHANGES; nth++) {
        struct scene s = scene_new(nth, SECTOR);
        uint64_t before = disk_sim_changes(s.sim);
        disk_sim_crash_at(s.sim, nth);
        size_t calls = nth <= 5 ? nth - 1 : nth; /* the sixth call changes nothing */
        assert_int_equal(small_run(s.disk), calls);
        assert_true(disk_sim_dead(s.sim));
        assert_int_equal(small_run(s.disk), 0);
        assert_int_equal(disk_sim_changes(s.sim) - before, nth);
        if (nth < 6)
            assert_int_equal(crashes_where(s.sim, has_a), SEEDS);

        disk_sim_crash(s.sim);

        assert_false(disk_sim_dead(s.sim));
        if (nth > 4) /* "b" was synced, and is now called so or "c" */
            assert_true(holds(s.sim, has_b(s.sim) ? "b" : "c", SECTOR - 4, "straddle"));
        struct disk *next = disk_sim_mount(s.sim);
        assert_int_equal(small_run(next), SMALL_RUN);
        next->ops->free(next);
        scene_done(&s);
    }
}

/* A process that is killed within a write leaves any part of it to be seen. */
static void a_kill_cuts_the_write_it_falls_in(void **state)
{
    size_t whole = 0, part = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct scene s = scene_new(seed, SECTOR);
        disk_sim_crash_at(s.sim, 1);
        assert_int_equal(put(s.a, 0, "new"), ERR_IO);
        disk_sim_kill(s.sim);
        whole += first_sector_new(s.sim);
        part += holds(s.sim, "a", 0, "n") && !first_sector_new(s.sim);
        scene_done(&s);
    }
    assert_sometimes(whole);
    assert_sometimes(part);
}

/* On a full disk a create and growth fail, overwrites do not, and removing helps. */
static void a_full_disk_takes_no_more(void **state)
{
    struct scene s = scene_new(1, SECTOR);
    struct disk_file *file = NULL;
    disk_sim_full(s.sim, 2 * SECTOR);
    assert_int_equal(disk_sim_used(s.sim), SECTOR);
    assert_int_equal(s.disk->ops->create(s.disk, "b", SECTOR + 1, &file), ERR_FULL);
    assert_false(has_b(s.sim));
    file = must_create(s.disk, "b", SECTOR - 2);

    assert_int_equal(put(s.a, SECTOR - 1, "123456"), ERR_FULL);
    assert_int_equal(size_of(s.sim, "a"), SECTOR + 2); /* as far as there was room */
    assert_true(holds(s.sim, "a", SECTOR - 1, "123"));
    must_put(s.a, 0, "new");

    assert_int_equal(s.disk->ops->remove(s.disk, "b"), OK);
    must_put(s.a, SECTOR - 1, "123456");
    file->ops->close(file);
    scene_done(&s);
}

/* One bit rots, for readers now and after a crash. */
static void a_bit_flips(void **state)
{
    struct scene s = scene_new(1, 2 * SECTOR);
    must_put(s.a, SECTOR, "new");
    must_sync(s.disk, s.a);
    disk_sim_flip(s.sim, "a", 8 * (SECTOR + 1)); /* 'e' ^ 1 */
    assert_true(holds(s.sim, "a", SECTOR, "ndw"));
    disk_sim_crash(s.sim);
    assert_true(holds(s.sim, "a", SECTOR, "ndw"));
    scene_done(&s);
}

/* A file put there from outside is durable, to its last byte and no further. */
static void files_from_outside_are_durable(void **state)
{
    struct disk_sim *sim = disk_sim_new(1);
    disk_sim_write_file(sim, "a", bytes_str("a longer text"));
    disk_sim_write_file(sim, "a", bytes_str("new text"));
    disk_sim_truncate(sim, "a", 3);
    assert_int_equal(crashes_where(sim, first_sector_new), SEEDS);
    disk_sim_crash(sim);
    assert_int_equal(size_of(sim, "a"), 3);
    disk_sim_free(sim);
}

/* As a write through a descriptor that syncs does: its own sectors stay, others may go. */
static void a_part_that_is_synced_stays(void **state)
{
    static const uint8_t ones[2 * SECTOR] = {1, [SECTOR] = 1};
    bool lost = false, kept = false;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim_file *file = sim_file_new();
        struct rng rng;
        uint8_t first = 0, second = 0;
        rng_init(&rng, seed);
        sim_file_grow(file, 4 * SECTOR);
        sim_file_sync(file);
        sim_file_write(file, SECTOR, bytes_of(ones, sizeof ones));
        sim_file_sync_part(file, SECTOR, SECTOR);
        sim_file_crash(file, &rng);
        sim_file_read(file, SECTOR, &first, 1);
        sim_file_read(file, 2 * SECTOR, &second, 1);
        assert_int_equal(first, 1);
        lost |= second == 0;
        kept |= second == 1;
        sim_file_unref(file);
    }
    assert_true(lost && kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_keeps_what_was_written),
        cmocka_unit_test(a_crash_keeps_what_was_synced),
        cmocka_unit_test(a_part_that_is_synced_stays),
        cmocka_unit_test(a_crash_tears_and_reorders_writes),
        cmocka_unit_test(a_crash_leaves_any_image_of_a_sector),
        cmocka_unit_test(what_is_left_is_durable),
        cmocka_unit_test(a_crash_cuts_a_file_that_was_not_synced),
        cmocka_unit_test(bytes_past_a_cut_are_gone),
        cmocka_unit_test(a_crash_loses_names),
        cmocka_unit_test(a_rename_is_atomic),
        cmocka_unit_test(changes_of_one_name_stay_in_order),
        cmocka_unit_test(a_replaced_file_is_the_old_or_the_new_one),
        cmocka_unit_test(what_is_left_behind_is_safe),
        cmocka_unit_test(the_order_of_leaving_is_free),
        cmocka_unit_test(a_clone_is_apart),
        cmocka_unit_test(a_clone_can_be_written),
        cmocka_unit_test(the_nth_call_fails),
        cmocka_unit_test(a_failed_write_is_done_in_part),
        cmocka_unit_test(a_failed_create_leaves_no_file),
        cmocka_unit_test(after_a_failed_sync_no_sync_helps),
        cmocka_unit_test(after_a_failed_sync_no_sync_saves_the_size),
        cmocka_unit_test(what_is_written_again_can_be_synced),
        cmocka_unit_test(the_process_dies_in_its_nth_change),
        cmocka_unit_test(a_kill_cuts_the_write_it_falls_in),
        cmocka_unit_test(a_full_disk_takes_no_more),
        cmocka_unit_test(a_bit_flips),
        cmocka_unit_test(files_from_outside_are_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
