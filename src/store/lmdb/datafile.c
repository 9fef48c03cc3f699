#include "datafile.h"

#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The start of an LMDB 0.9 file: a page header of 16 bytes whose flags say
 * "meta page", then the meta page's magic and version, all in the machine's
 * byte order (such a file does not move between byte orders). */
enum {
    FLAGS_OFFSET = 10,
    FLAG_META = 0x08,
    MAGIC_OFFSET = 16,
    VERSION_OFFSET = 20,
    HEADER_SIZE = 24,
    LMDB_DATA_VERSION = 1,
};
static const uint32_t LMDB_MAGIC = 0xBEEFC0DE;

static enum err fail(enum err err, struct buf *why, const char *path, const char *reason)
{
    buf_put_format(why, "%s: %s", path, reason);
    return err;
}

/* The process that holds the flock, from /proc/locks; 0 when it is not told. Each
 * line is "1: FLOCK  ADVISORY  WRITE 4242 fe:00:1234 0 EOF". */
static long lock_holder(int fd)
{
    struct stat st;
    FILE *locks = fopen("/proc/locks", "re");
    if (!locks)
        return 0;
    long holder = 0;
    char line[256];
    if (fstat(fd, &st) == 0) {
        while (!holder && fgets(line, sizeof line, locks)) {
            long pid;
            unsigned dev_major, dev_minor;
            unsigned long inode;
            if (sscanf(line, "%*d: FLOCK %*s %*s %ld %x:%x:%lu", &pid, &dev_major, &dev_minor, &inode) == 4 &&
                inode == st.st_ino && makedev(dev_major, dev_minor) == st.st_dev && pid > 0)
                holder = pid;
        }
    }
    fclose(locks);
    return holder;
}

static enum err take_lock(int fd, const char *path, struct buf *why)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return OK;
    if (errno != EWOULDBLOCK)
        return fail(ERR_IO, why, path, strerror(errno));
    long holder = lock_holder(fd);
    if (holder)
        buf_put_format(why, "%s: in use by process %ld", path, holder);
    else
        buf_put_format(why, "%s: in use by another process", path);
    return ERR_LOCKED;
}

static enum err look_at_header(struct datafile *file, struct buf *why)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0)
        return fail(ERR_IO, why, file->path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fail(ERR_REFUSED, why, file->path, "not a regular file");
    file->fresh = st.st_size == 0;
    file->counts_names = st.st_nlink > 0;
    if (file->fresh)
        return OK;

    uint8_t header[HEADER_SIZE];
    ssize_t n = pread(file->fd, header, sizeof header, 0);
    if (n < 0)
        return fail(ERR_IO, why, file->path, strerror(errno));
    uint16_t flags;
    uint32_t magic, version;
    if (n < HEADER_SIZE)
        return fail(ERR_REFUSED, why, file->path, "not a store");
    memcpy(&flags, header + FLAGS_OFFSET, sizeof flags);
    memcpy(&magic, header + MAGIC_OFFSET, sizeof magic);
    memcpy(&version, header + VERSION_OFFSET, sizeof version);
    if (!(flags & FLAG_META) || magic != LMDB_MAGIC)
        return fail(ERR_REFUSED, why, file->path, "not a store");
    if (version != LMDB_DATA_VERSION)
        return fail(ERR_VERSION, why, file->path, "a store of another version of LMDB");
    return OK;
}

static char *lock_file_path(const char *path)
{
    static const char end[] = "-lock";
    size_t len = strlen(path);
    char *text = mem_new(len + sizeof end);
    memcpy(text, path, len);
    memcpy(text + len, end, sizeof end);
    return text;
}

enum err datafile_open(const char *path, struct datafile *ret, struct buf *why)
{
    struct datafile file = {.path = mem_text(path)};
    char *lock_path = lock_file_path(path);
    file.had_lock_file = access(lock_path, F_OK) == 0;
    free(lock_path);

    file.fd = open(path, O_RDWR | O_CLOEXEC);
    if (file.fd < 0 && errno == ENOENT) {
        file.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
        file.created = file.fd >= 0;
    }
    if (file.fd < 0) {
        enum err err = fail(ERR_IO, why, path, strerror(errno));
        free(file.path);
        return err;
    }
    enum err err = take_lock(file.fd, path, why);
    if (err != OK)
        file.created = false; /* whoever holds it has it now */
    else
        err = look_at_header(&file, why);
    if (err != OK) {
        close(file.fd);
        free(file.path);
        return err;
    }
    *ret = file;
    return OK;
}

void datafile_close(struct datafile *file)
{
    if (!file->path)
        return;
    close(file->fd);
    free(file->path);
    *file = (struct datafile){.fd = -1};
}

void datafile_discard(struct datafile *file)
{
    if (!file->path)
        return;
    if (!file->had_lock_file) {
        char *lock_path = lock_file_path(file->path);
        unlink(lock_path);
        free(lock_path);
    }
    if (file->created)
        unlink(file->path);
    datafile_close(file);
}

enum err datafile_identity(const struct datafile *file, struct buf *out)
{
    struct statx st;
    if (statx(file->fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) != 0)
        return ERR_IO;
    bool born = st.stx_mask & STATX_BTIME;
    buf_put_u64(out, st.stx_ino);
    buf_put_u64(out, born ? (uint64_t)st.stx_btime.tv_sec : 0);
    buf_put_u32(out, born ? st.stx_btime.tv_nsec : 0);
    return out->err;
}

enum err datafile_is(const struct datafile *file, int fd)
{
    struct stat ours, theirs;
    if (fstat(file->fd, &ours) != 0 || fstat(fd, &theirs) != 0)
        return ERR_IO;
    return ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev ? OK : ERR_REFUSED;
}

enum err datafile_stands(const struct datafile *file)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0)
        return ERR_IO;
    return file->counts_names && st.st_nlink == 0 ? ERR_GONE : OK;
}

enum err datafile_sync_folder(const struct datafile *file)
{
    char *path = mem_text(file->path);
    int fd = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(path);
    if (fd < 0)
        return ERR_IO;
    enum err err = fsync(fd) == 0 ? OK : ERR_IO;
    close(fd);
    return err;
}

enum err datafile_size(const struct datafile *file, uint64_t *ret)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0)
        return ERR_IO;
    *ret = (uint64_t)st.st_size;
    return OK;
}

enum err datafile_resize(const struct datafile *file, uint64_t size)
{
    return ftruncate(file->fd, (off_t)size) == 0 ? OK : ERR_IO;
}

enum err datafile_rewrite(const struct datafile *file, size_t bytes)
{
    uint8_t *copy = mem_new(bytes);
    bool done = pread(file->fd, copy, bytes, 0) == (ssize_t)bytes &&
                pwrite(file->fd, copy, bytes, 0) == (ssize_t)bytes && fdatasync(file->fd) == 0;
    free(copy);
    return done ? OK : ERR_IO;
}

enum err datafile_grow(struct datafile *file, uint64_t end)
{
    if (end <= file->allocated)
        return OK;
    if (!file->cannot_promise) {
        int rc;
        do
            rc = fallocate(file->fd, 0, (off_t)file->allocated, (off_t)(end - file->allocated));
        while (rc != 0 && errno == EINTR);
        if (rc != 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
            file->cannot_promise = true;
        else if (rc != 0)
            return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_FULL : ERR_IO;
    }
    file->allocated = end;
    return OK;
}

enum err datafile_disk_free(const struct datafile *file, uint64_t *ret)
{
    struct statvfs disk;
    if (fstatvfs(file->fd, &disk) != 0)
        return ERR_IO;
    *ret = (uint64_t)disk.f_bavail * disk.f_frsize;
    return OK;
}

bool datafile_disk_is_full(const struct datafile *file, uint64_t bytes)
{
    struct statvfs st;
    return fstatvfs(file->fd, &st) == 0 && (uint64_t)st.f_bavail * st.f_frsize < bytes;
}
