#include "disk_posix.h"

#include "mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Zeros are written ahead in pieces of this size; nothing special about it. */
enum { ZEROS = 1 << 20 };

struct posix_disk {
    struct disk disk;
    int fd; /* of the folder */
};

struct posix_file {
    struct disk_file file;
    int fd;
    bool counts_names; /* the file system tells how many names it has */
};

static struct posix_disk *disk_of(struct disk *disk)
{
    return (struct posix_disk *)disk; /* its first member */
}

static int fd_of(struct disk_file *file)
{
    return ((struct posix_file *)file)->fd;
}

static enum err err_of(int number)
{
    switch (number) {
    case ENOENT:
        return ERR_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_FULL;
    default:
        return ERR_IO;
    }
}

static enum err list(struct disk *disk, void (*each)(void *ctx, const char *name), void *ctx)
{
    int fd = openat(disk_of(disk)->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return ERR_IO;
    }
    errno = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL; errno = 0)
        if (entry->d_name[0] != '.')
            each(ctx, entry->d_name);
    enum err err = errno ? ERR_IO : OK;
    closedir(dir);
    return err;
}

static struct disk_file *file_of(struct disk *disk, int fd)
{
    struct posix_file *file = mem_new(sizeof *file);
    struct stat st;
    *file = (struct posix_file){
        .file = {disk->ops}, .fd = fd, .counts_names = fstat(fd, &st) == 0 && st.st_nlink > 0};
    return &file->file;
}

static enum err write_all(int fd, uint64_t offset, struct bytes bytes)
{
    while (bytes.len) {
        ssize_t n = pwrite(fd, bytes.data, bytes.len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? err_of(errno) : ERR_IO;
        offset += (uint64_t)n;
        bytes = bytes_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return OK;
}

static enum err fill_with_zeros(int fd, uint64_t size)
{
    uint8_t *zeros = mem_new(ZEROS);
    enum err err = OK;
    for (uint64_t at = 0; at < size && err == OK; at += ZEROS)
        err = write_all(fd, at, bytes_of(zeros, size - at < ZEROS ? (size_t)(size - at) : ZEROS));
    free(zeros);
    return err;
}

static enum err create(struct disk *disk, const char *name, uint64_t size, struct disk_file **ret)
{
    int folder = disk_of(disk)->fd;
    int fd = openat(folder, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return errno == ENOENT ? ERR_GONE : err_of(errno); /* the folder has */
    enum err err = fill_with_zeros(fd, size);
    if (err != OK) {
        close(fd);
        unlinkat(folder, name, 0);
        return err;
    }
    *ret = file_of(disk, fd);
    return OK;
}

static enum err open_file(struct disk *disk, const char *name, struct disk_file **ret)
{
    int fd = openat(disk_of(disk)->fd, name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_of(errno);
    *ret = file_of(disk, fd);
    return OK;
}

static enum err size_of(struct disk_file *file, uint64_t *ret)
{
    struct stat st;
    if (fstat(fd_of(file), &st) != 0)
        return ERR_IO;
    *ret = (uint64_t)st.st_size;
    return OK;
}

static enum err read_file(struct disk_file *file, uint64_t offset, void *out, size_t n, size_t *ret_n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd_of(file), (uint8_t *)out + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ERR_IO;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    *ret_n = done;
    return OK;
}

static enum err write_file(struct disk_file *file, uint64_t offset, struct bytes bytes)
{
    struct stat st;
    if (((struct posix_file *)file)->counts_names && fstat(fd_of(file), &st) == 0 && st.st_nlink == 0)
        return ERR_GONE;
    return write_all(fd_of(file), offset, bytes);
}

static enum err sync_file(struct disk_file *file)
{
    return fdatasync(fd_of(file)) == 0 ? OK : err_of(errno);
}

static void close_file(struct disk_file *file)
{
    if (!file)
        return;
    close(fd_of(file));
    free(file);
}

static enum err rename_file(struct disk *disk, const char *from, const char *to)
{
    int fd = disk_of(disk)->fd;
    if (renameat(fd, from, fd, to) == 0)
        return OK;
    return errno == ENOENT ? ERR_GONE : err_of(errno);
}

static enum err remove_file(struct disk *disk, const char *name)
{
    return unlinkat(disk_of(disk)->fd, name, 0) == 0 || errno == ENOENT ? OK : ERR_IO;
}

static enum err sync_folder(struct disk *disk)
{
    return fsync(disk_of(disk)->fd) == 0 ? OK : err_of(errno);
}

static void disk_free(struct disk *disk)
{
    close(disk_of(disk)->fd);
    free(disk);
}

static const struct disk_ops ops = {
    .list = list,
    .create = create,
    .open = open_file,
    .size = size_of,
    .read = read_file,
    .write = write_file,
    .sync = sync_file,
    .close = close_file,
    .rename = rename_file,
    .remove = remove_file,
    .sync_folder = sync_folder,
    .free = disk_free,
};

static bool sync_parent(const char *path)
{
    char *copy = mem_text(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return synced;
}

enum err disk_posix_open(const char *path, struct disk **ret, struct buf *why)
{
    bool made = mkdir(path, 0750) == 0;
    int fd = made || errno == EEXIST ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    /* Its name, and the data file's beside it: one that was there already may have been
     * made by a process that died before it synced them. */
    if (fd < 0 || (!sync_parent(path) && (made || errno != EACCES))) {
        buf_put_format(why, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
    }
    struct posix_disk *disk = mem_new(sizeof *disk);
    *disk = (struct posix_disk){.disk = {&ops}, .fd = fd};
    *ret = &disk->disk;
    return OK;
}
