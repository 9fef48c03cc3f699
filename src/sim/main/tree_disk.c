#undef _FILE_OFFSET_BITS /* it would rename what is defined here */
#include "tree_disk.h"

#include "check.h"
#include "mem.h"
#include "sim_file.h"
#include "weaken.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default"), used))

enum { PATH_LEN = 120 };

struct tree_disk {
    struct tree_disk *next;
    char path[PATH_LEN];
    dev_t dev;
    ino_t ino; /* 0: the file was not there yet */
    struct sim_file *image;
    struct rng rng;
    bool dead, failed;
    uint64_t changes, fail_at, crash_at; /* as numbers of changes; 0: never */
    enum err fail_with;
};

static struct tree_disk *disks; /* of this process, which has one thread where it has any */

/* ---- images -------------------------------------------------------------------- */

/* What stands in the file is durable. */
static void load(struct tree_disk *disk, int fd)
{
    uint8_t bytes[SECTOR_SIZE], zeros[SECTOR_SIZE] = {0};
    uint64_t at = 0;
    sim_file_unref(disk->image);
    disk->image = sim_file_new();
    for (ssize_t n; (n = pread(fd, bytes, sizeof bytes, (off_t)at)) > 0; at += (uint64_t)n)
        if (memcmp(bytes, zeros, (size_t)n) != 0)
            sim_file_write(disk->image, at, bytes_of(bytes, (size_t)n));
    sim_file_grow(disk->image, at);
    sim_file_sync(disk->image);
}

/* The file as the image is. */
static void store(const struct tree_disk *disk)
{
    size_t size = (size_t)disk->image->size;
    uint8_t *bytes = mem_new(size);
    sim_file_read(disk->image, 0, bytes, size);
    long fd = syscall(SYS_openat, AT_FDCWD, disk->path, O_WRONLY | O_CLOEXEC, 0);
    bool done = fd >= 0 && syscall(SYS_ftruncate, fd, (off_t)size) == 0 &&
                syscall(SYS_pwrite64, fd, bytes, size, (off_t)0) == (long)size;
    if (fd >= 0)
        syscall(SYS_close, fd);
    free(bytes);
    if (!done) {
        perror(disk->path);
        CHECK(!"the folder of the trees takes what is written");
    }
}

struct tree_disk *tree_disk_new(const char *path, uint64_t seed)
{
    struct tree_disk *disk = mem_new(sizeof *disk);
    *disk = (struct tree_disk){.image = sim_file_new(), .next = disks};
    CHECK(snprintf(disk->path, sizeof disk->path, "%s", path) < PATH_LEN);
    rng_init(&disk->rng, seed);
    return disks = disk;
}

void tree_disk_free(struct tree_disk *disk)
{
    if (!disk)
        return;
    struct tree_disk **at = &disks;
    while (*at != disk)
        at = &(*at)->next;
    *at = disk->next;
    sim_file_unref(disk->image);
    free(disk);
}

/* The disk of an open file; NULL: it is none of ours. */
static struct tree_disk *disk_of(int fd)
{
    struct stat st, named;
    if (!disks || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return NULL;
    for (struct tree_disk *disk = disks; disk; disk = disk->next)
        if (disk->ino == st.st_ino && disk->dev == st.st_dev)
            return disk;
    for (struct tree_disk *disk = disks; disk; disk = disk->next) {
        if (stat(disk->path, &named) != 0 || named.st_ino != st.st_ino || named.st_dev != st.st_dev)
            continue;
        disk->ino = st.st_ino;
        disk->dev = st.st_dev;
        load(disk, fd);
        return disk;
    }
    return NULL;
}

/* ---- life ------------------------------------------------------------------------ */

void tree_disk_crash_at(struct tree_disk *disk, uint64_t nth)
{
    disk->crash_at = nth ? disk->changes + nth : 0;
}

void tree_disk_fail(struct tree_disk *disk, uint64_t nth, enum err err)
{
    disk->fail_at = nth ? disk->changes + nth : 0;
    disk->fail_with = err;
    disk->failed = false;
}

bool tree_disk_dead(const struct tree_disk *disk)
{
    return disk->dead;
}

bool tree_disk_failed(const struct tree_disk *disk)
{
    return disk->failed;
}

void tree_disk_die(struct tree_disk *disk)
{
    disk->dead = true;
}

void tree_disk_end(struct tree_disk *disk, bool power)
{
    struct stat st;
    disk->dead = false;
    disk->fail_at = disk->crash_at = 0;
    if (disk->ino == 0 || stat(disk->path, &st) != 0 || st.st_ino != disk->ino) {
        disk->ino = 0; /* it was made, and has been removed */
        return;
    }
    if (!power)
        return;
    sim_file_crash(disk->image, &disk->rng);
    store(disk);
}

/* What becomes of a change. */
enum fate { FATE_DONE, FATE_FAILS, FATE_CUT, FATE_NONE };

static enum fate fate_of(struct tree_disk *disk)
{
    if (disk->dead)
        return FATE_NONE;
    disk->changes++;
    if (disk->changes == disk->crash_at) {
        disk->dead = true;
        return FATE_CUT;
    }
    if (disk->changes != disk->fail_at)
        return FATE_DONE;
    disk->failed = true;
    return FATE_FAILS;
}

/* Sets errno for what is not done; -1. */
static int fail(const struct tree_disk *disk, enum fate fate)
{
    errno = fate == FATE_FAILS && disk->fail_with == ERR_FULL ? ENOSPC : EIO;
    return -1;
}

/* ---- what is interposed: writing ------------------------------------------------------ */

/* The first n bytes of the parts. */
static uint8_t *join(const struct iovec *parts, int count, size_t n)
{
    uint8_t *bytes = mem_new(n);
    for (size_t done = 0, i = 0; i < (size_t)count && done < n; i++) {
        size_t part = parts[i].iov_len < n - done ? parts[i].iov_len : n - done;
        memcpy(bytes + done, parts[i].iov_base, part);
        done += part;
    }
    return bytes;
}

static ssize_t write_at(struct tree_disk *disk, int fd, const struct iovec *parts, int count, off_t at)
{
    enum fate fate = fate_of(disk);
    bool durable = fcntl(fd, F_GETFL) & O_DSYNC;
    size_t n = 0;
    for (int i = 0; i < count; i++)
        n += parts[i].iov_len;
    if (fate == FATE_NONE || (fate == FATE_FAILS && disk->fail_with == ERR_FULL))
        return fail(disk, fate);
    if (fate != FATE_DONE)
        n = (size_t)rng_below(&disk->rng, n + 1);
    uint8_t *bytes = join(parts, count, n);
    CHECK(syscall(SYS_pwrite64, fd, bytes, n, at) == (long)n);
    sim_file_write(disk->image, (uint64_t)at, bytes_of(bytes, n));
    free(bytes);
    if (durable && fate == FATE_DONE)
        sim_file_sync_part(disk->image, (uint64_t)at, n);
    else if (durable && fate == FATE_FAILS)
        sim_file_sync_failed(disk->image, &disk->rng);
    return fate == FATE_DONE ? (ssize_t)n : fail(disk, fate);
}

/* At the descriptor's place, which moves on. */
static ssize_t write_here(struct tree_disk *disk, int fd, const struct iovec *parts, int count)
{
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t n = write_at(disk, fd, parts, count, at);
    if (n > 0)
        lseek(fd, at + n, SEEK_SET);
    return n;
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    struct tree_disk *disk = disk_of(fd);
    struct iovec part = {(void *)(uintptr_t)data, n};
    return disk ? write_at(disk, fd, &part, 1, at) : syscall(SYS_pwrite64, fd, data, n, at);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    struct tree_disk *disk = disk_of(fd);
    return disk ? write_at(disk, fd, parts, count, at)
                : syscall(SYS_pwritev, fd, parts, count, (long)at, (long)0);
}

EXPORT ssize_t write(int fd, const void *data, size_t n)
{
    struct tree_disk *disk = disk_of(fd);
    struct iovec part = {(void *)(uintptr_t)data, n};
    return disk ? write_here(disk, fd, &part, 1) : syscall(SYS_write, fd, data, n);
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    struct tree_disk *disk = disk_of(fd);
    return disk ? write_here(disk, fd, parts, count) : syscall(SYS_writev, fd, parts, count);
}

/* ---- sizes ---------------------------------------------------------------------------- */

EXPORT int ftruncate(int fd, off_t size)
{
    struct tree_disk *disk = disk_of(fd);
    enum fate fate = disk ? fate_of(disk) : FATE_DONE;
    if (fate != FATE_DONE)
        return fail(disk, fate);
    int rc = (int)syscall(SYS_ftruncate, fd, size);
    if (!disk || rc != 0)
        return rc;
    if ((uint64_t)size < disk->image->size)
        sim_file_truncate(disk->image, (uint64_t)size);
    else
        sim_file_grow(disk->image, (uint64_t)size);
    return rc;
}

EXPORT int fallocate(int fd, int mode, off_t at, off_t n)
{
    struct tree_disk *disk = disk_of(fd);
    enum fate fate = disk ? fate_of(disk) : FATE_DONE;
    CHECK(!disk || mode == 0);
    if (fate != FATE_DONE)
        return fail(disk, fate);
    int rc = (int)syscall(SYS_fallocate, fd, mode, at, n);
    if (disk && rc == 0)
        sim_file_grow(disk->image, (uint64_t)at + (uint64_t)n);
    return rc;
}

/* ---- syncing --------------------------------------------------------------------------- */

static int sync_file(int fd, long number)
{
    struct tree_disk *disk = disk_of(fd);
    if (!disk)
        return (int)syscall(number, fd);
    enum fate fate = fate_of(disk);
    if (WEAKENED(TREE_SYNC))
        return fate == FATE_DONE ? 0 : fail(disk, fate);
    if (fate == FATE_DONE || (fate == FATE_CUT && rng_permille(&disk->rng, 500)))
        sim_file_sync(disk->image);
    else if (fate == FATE_FAILS)
        sim_file_sync_failed(disk->image, &disk->rng);
    return fate == FATE_DONE ? 0 : fail(disk, fate);
}

EXPORT int fdatasync(int fd)
{
    return sync_file(fd, SYS_fdatasync);
}

EXPORT int fsync(int fd)
{
    return sync_file(fd, SYS_fsync);
}

/* ---- the same under the names of large files ------------------------------------------- */

#define SAME(name, as) EXPORT extern __typeof__(name) as __attribute__((alias(#name)))
SAME(pwrite, pwrite64);
SAME(pwritev, pwritev64);
SAME(ftruncate, ftruncate64);
SAME(fallocate, fallocate64);
