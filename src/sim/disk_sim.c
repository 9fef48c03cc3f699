#include "disk_sim.h"

#include "check.h"
#include "mem.h"
#include "sim_folder.h"

#include <stdlib.h>

struct disk_sim {
    size_t refs; /* its owner and the mounts */
    struct rng rng;
    struct sim_folder folder;
    uint64_t boot; /* counts kills and crashes: a mount of an earlier one is left behind */
    bool dead;
    uint64_t bytes_max;
    uint64_t calls, changes;
    uint64_t fail_at, crash_at; /* as numbers of calls and of changes; 0: never */
    enum err fail_with;
};

struct sim_mount {
    struct disk disk;
    struct disk_sim *sim;
    uint64_t boot;
    size_t refs; /* the user and the handles */
};

struct sim_handle {
    struct disk_file face;
    struct sim_mount *mount;
    struct sim_file *file;
};

/* ---- life ----------------------------------------------------------------- */

struct disk_sim *disk_sim_new(uint64_t seed)
{
    struct disk_sim *sim = mem_new(sizeof *sim);
    *sim = (struct disk_sim){.refs = 1, .bytes_max = UINT64_MAX};
    rng_init(&sim->rng, seed);
    return sim;
}

void disk_sim_free(struct disk_sim *sim)
{
    if (!sim || --sim->refs)
        return;
    sim_folder_done(&sim->folder);
    free(sim);
}

static void mount_unref(struct sim_mount *mount)
{
    if (--mount->refs)
        return;
    disk_sim_free(mount->sim);
    free(mount);
}

static void forget_plans(struct disk_sim *sim)
{
    sim->fail_at = sim->crash_at = 0;
}

void disk_sim_kill(struct disk_sim *sim)
{
    sim->boot++;
    sim->dead = false;
    forget_plans(sim);
}

void disk_sim_crash(struct disk_sim *sim)
{
    disk_sim_kill(sim);
    sim_folder_crash(&sim->folder, &sim->rng);
}

struct disk_sim *disk_sim_clone(const struct disk_sim *sim)
{
    struct disk_sim *copy = mem_copy(sim, sizeof *sim);
    copy->refs = 1;
    sim_folder_copy(&copy->folder, &sim->folder);
    forget_plans(copy);
    return copy;
}

void disk_sim_seed(struct disk_sim *sim, uint64_t seed)
{
    rng_init(&sim->rng, seed);
}

/* ---- faults --------------------------------------------------------------- */

uint64_t disk_sim_calls(const struct disk_sim *sim)
{
    return sim->calls;
}

uint64_t disk_sim_changes(const struct disk_sim *sim)
{
    return sim->changes;
}

void disk_sim_fail(struct disk_sim *sim, uint64_t nth, enum err err)
{
    sim->fail_at = nth ? sim->calls + nth : 0;
    sim->fail_with = err;
}

void disk_sim_crash_at(struct disk_sim *sim, uint64_t nth)
{
    sim->crash_at = nth ? sim->changes + nth : 0;
}

bool disk_sim_dead(const struct disk_sim *sim)
{
    return sim->dead;
}

void disk_sim_full(struct disk_sim *sim, uint64_t bytes)
{
    sim->bytes_max = bytes;
}

uint64_t disk_sim_used(const struct disk_sim *sim)
{
    return sim_folder_bytes(&sim->folder);
}

static uint64_t room(const struct disk_sim *sim)
{
    uint64_t used = disk_sim_used(sim);
    return used < sim->bytes_max ? sim->bytes_max - used : 0;
}

/* What becomes of a call. */
enum fate {
    FATE_DONE,
    FATE_FAILS, /* with sim->fail_with */
    FATE_CUT,   /* the process dies in it */
    FATE_NONE,  /* the process is dead: nothing happens */
};

static enum fate fate_of(struct sim_mount *mount, bool changes)
{
    struct disk_sim *sim = mount->sim;
    if (mount->boot != sim->boot || sim->dead)
        return FATE_NONE;
    sim->calls++;
    sim->changes += changes;
    if (changes && sim->changes == sim->crash_at) {
        sim->dead = true;
        return FATE_CUT;
    }
    return sim->calls == sim->fail_at ? FATE_FAILS : FATE_DONE;
}

static enum err err_of(const struct disk_sim *sim, enum fate fate)
{
    switch (fate) {
    case FATE_DONE:
        return OK;
    case FATE_FAILS:
        return sim->fail_with;
    default:
        return ERR_IO;
    }
}

/* How much of n is done of a call with this fate. */
static uint64_t part_of(struct disk_sim *sim, enum fate fate, uint64_t n)
{
    return fate == FATE_DONE ? n : rng_below(&sim->rng, n + 1);
}

/* Whether a call that cannot be done in part happens; one that fails does not. */
static bool happens(struct disk_sim *sim, enum fate fate)
{
    return fate == FATE_DONE || (fate == FATE_CUT && rng_permille(&sim->rng, 500));
}

/* ---- files ---------------------------------------------------------------- */

static struct sim_handle *handle_of(struct disk_file *file)
{
    return (struct sim_handle *)file; /* its first member */
}

static struct disk_file *handle_new(struct sim_mount *mount, struct sim_file *file)
{
    struct sim_handle *handle = mem_new(sizeof *handle);
    *handle = (struct sim_handle){.face = {mount->disk.ops}, .mount = mount, .file = sim_file_ref(file)};
    mount->refs++;
    return &handle->face;
}

static enum err file_size(struct disk_file *file, uint64_t *ret)
{
    struct sim_handle *handle = handle_of(file);
    enum fate fate = fate_of(handle->mount, false);
    if (fate == FATE_DONE)
        *ret = handle->file->size;
    return err_of(handle->mount->sim, fate);
}

static enum err file_read(struct disk_file *file, uint64_t offset, void *out, size_t n, size_t *ret_n)
{
    struct sim_handle *handle = handle_of(file);
    enum fate fate = fate_of(handle->mount, false);
    if (fate == FATE_DONE)
        *ret_n = sim_file_read(handle->file, offset, out, n);
    return err_of(handle->mount->sim, fate);
}

/* Of n bytes at offset, those that the disk has room for. */
static uint64_t fitting(const struct disk_sim *sim, const struct sim_file *file, uint64_t offset, uint64_t n)
{
    uint64_t size = file->size, left = room(sim);
    if (offset + n <= size || offset + n - size <= left)
        return n;
    return size + left > offset ? size + left - offset : 0;
}

static enum err file_write(struct disk_file *file, uint64_t offset, struct bytes bytes)
{
    struct sim_handle *handle = handle_of(file);
    struct disk_sim *sim = handle->mount->sim;
    enum fate fate = fate_of(handle->mount, true);
    if (fate == FATE_NONE)
        return ERR_IO;
    uint64_t n = part_of(sim, fate, bytes.len), fits = fitting(sim, handle->file, offset, n);
    sim_file_write(handle->file, offset, bytes_of(bytes.data, (size_t)fits));
    return fate == FATE_DONE && fits < n ? ERR_FULL : err_of(sim, fate);
}

static enum err file_sync(struct disk_file *file)
{
    struct sim_handle *handle = handle_of(file);
    struct disk_sim *sim = handle->mount->sim;
    enum fate fate = fate_of(handle->mount, true);
    if (happens(sim, fate))
        sim_file_sync(handle->file);
    else if (fate == FATE_FAILS)
        sim_file_sync_failed(handle->file, &sim->rng);
    return err_of(sim, fate);
}

static void file_close(struct disk_file *file)
{
    if (!file)
        return;
    struct sim_handle *handle = handle_of(file);
    sim_file_unref(handle->file);
    mount_unref(handle->mount);
    free(handle);
}

/* ---- names ---------------------------------------------------------------- */

static struct sim_mount *mount_of(struct disk *disk)
{
    return (struct sim_mount *)disk; /* its first member */
}

static void shuffle(struct sim_names *names, struct rng *rng)
{
    for (size_t n = names->len; n > 1; n--) {
        struct sim_name *other = &names->at[rng_below(rng, n)], last = names->at[n - 1];
        names->at[n - 1] = *other;
        *other = last;
    }
}

/* Of a copy, so that `each` may change the folder. */
static enum err folder_list(struct disk *disk, void (*each)(void *ctx, const char *name), void *ctx)
{
    struct disk_sim *sim = mount_of(disk)->sim;
    enum fate fate = fate_of(mount_of(disk), false);
    if (fate != FATE_DONE)
        return err_of(sim, fate);
    struct sim_names names;
    sim_names_copy(&names, &sim->folder.shown);
    shuffle(&names, &sim->rng);
    for (size_t i = 0; i < names.len; i++)
        each(ctx, names.at[i].text);
    sim_names_done(&names);
    return OK;
}

/* The old file of that name gives its room to the new one. */
static enum err folder_create(struct disk *disk, const char *name, uint64_t size, struct disk_file **ret)
{
    struct disk_sim *sim = mount_of(disk)->sim;
    enum fate fate = fate_of(mount_of(disk), true);
    if (fate == FATE_NONE)
        return ERR_IO;
    struct sim_file *file = sim_file_new();
    sim_folder_put(&sim->folder, name, file);
    uint64_t n = part_of(sim, fate, size), left = room(sim);
    sim_file_grow(file, n < left ? n : left);
    enum err err = fate == FATE_DONE && n > left ? ERR_FULL : err_of(sim, fate);
    if (err == OK)
        *ret = handle_new(mount_of(disk), file);
    else if (fate != FATE_CUT)
        sim_folder_remove(&sim->folder, name);
    sim_file_unref(file);
    return err;
}

static enum err folder_open(struct disk *disk, const char *name, struct disk_file **ret)
{
    struct disk_sim *sim = mount_of(disk)->sim;
    enum fate fate = fate_of(mount_of(disk), false);
    if (fate != FATE_DONE)
        return err_of(sim, fate);
    struct sim_file *file = sim_folder_find(&sim->folder, name);
    if (!file)
        return ERR_NOT_FOUND;
    *ret = handle_new(mount_of(disk), file);
    return OK;
}

static enum err folder_rename(struct disk *disk, const char *from, const char *to)
{
    struct disk_sim *sim = mount_of(disk)->sim;
    enum fate fate = fate_of(mount_of(disk), true);
    bool found = sim_folder_find(&sim->folder, from) != NULL;
    if (happens(sim, fate) && found)
        sim_folder_rename(&sim->folder, from, to);
    return fate == FATE_DONE && !found ? ERR_GONE : err_of(sim, fate);
}

static enum err folder_remove(struct disk *disk, const char *name)
{
    struct disk_sim *sim = mount_of(disk)->sim;
    enum fate fate = fate_of(mount_of(disk), true);
    if (happens(sim, fate))
        sim_folder_remove(&sim->folder, name);
    return err_of(sim, fate);
}

static enum err folder_sync(struct disk *disk)
{
    struct disk_sim *sim = mount_of(disk)->sim;
    enum fate fate = fate_of(mount_of(disk), true);
    if (happens(sim, fate))
        sim_folder_sync(&sim->folder);
    return err_of(sim, fate);
}

static void unmount(struct disk *disk)
{
    mount_unref(mount_of(disk));
}

static const struct disk_ops sim_ops = {
    .list = folder_list,
    .create = folder_create,
    .open = folder_open,
    .size = file_size,
    .read = file_read,
    .write = file_write,
    .sync = file_sync,
    .close = file_close,
    .rename = folder_rename,
    .remove = folder_remove,
    .sync_folder = folder_sync,
    .free = unmount,
};

struct disk *disk_sim_mount(struct disk_sim *sim)
{
    CHECK(!sim->dead);
    struct sim_mount *mount = mem_new(sizeof *mount);
    *mount = (struct sim_mount){.disk = {&sim_ops}, .sim = sim, .boot = sim->boot, .refs = 1};
    sim->refs++;
    return &mount->disk;
}

/* ---- from outside --------------------------------------------------------- */

enum err disk_sim_read_file(const struct disk_sim *sim, const char *name, struct buf *ret)
{
    const struct sim_file *file = sim_folder_find(&sim->folder, name);
    if (!file)
        return ERR_NOT_FOUND;
    uint8_t *out = buf_extend(ret, (size_t)file->size);
    if (out)
        sim_file_read(file, 0, out, (size_t)file->size);
    return ret->err;
}

void disk_sim_write_file(struct disk_sim *sim, const char *name, struct bytes bytes)
{
    struct sim_file *file = sim_file_new();
    sim_file_write(file, 0, bytes);
    sim_file_sync(file);
    sim_folder_put(&sim->folder, name, file);
    sim_folder_sync(&sim->folder);
    sim_file_unref(file);
}

static struct sim_file *must_find(struct disk_sim *sim, const char *name)
{
    struct sim_file *file = sim_folder_find(&sim->folder, name);
    CHECK(file);
    return file;
}

void disk_sim_truncate(struct disk_sim *sim, const char *name, uint64_t size)
{
    sim_file_truncate(must_find(sim, name), size);
}

void disk_sim_flip(struct disk_sim *sim, const char *name, uint64_t bit)
{
    sim_file_flip(must_find(sim, name), bit);
}
