/* A disk that loses power, for a real program: LD_PRELOAD=libpower.so puts it between the
 * program and its files below one folder.
 *
 * The files are always as the program wrote them, so that what it maps and reads is true.
 * Beside them stands what a power cut would take back: for each sector written since the
 * file's last sync what was there before, each file's last synced size, and each creation,
 * renaming and removal that no fsync of the folder has followed. At the cut the program is
 * killed, and then a random part of all this is undone: sectors each for itself (so a write
 * is torn at sectors, and later ones may stay where earlier ones went), changes of folders
 * from the newest backwards. What was synced stays, always.
 *
 * The cut comes at the n-th change or sync, in the midst of it. A child of the process does
 * the undoing, once the process is dead, so that none of its threads reads a file that goes
 * back in time; it ends by making the report.
 *
 * Settings are environment variables:
 *   YZMA_POWER_DIR     the folder (absolute); "-lock" files in it, LMDB's slots, are left out
 *   YZMA_POWER_STASH   a folder outside it on the same file system, for what was removed
 *   YZMA_POWER_REPORT  the file that tells of the cut
 *   YZMA_POWER_CUT     n; 0 or absent: never
 *   YZMA_POWER_SEED    of all choices
 *   YZMA_POWER_KEEP    percent of unsynced sectors that stay; absent: a choice for each cut
 *   YZMA_POWER_LIE     files with this in their path are not synced any more, but said to be,
 *   YZMA_POWER_LIE_AT  from the n-th change or sync on
 *   YZMA_POWER_FAIL    the n-th change or sync fails with EIO, and says so on stderr; nothing of it happens
 *
 * Not modelled, and refused: shared writable mappings of these files. */
#undef _FILE_OFFSET_BITS /* it would rename what is defined here */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { SECTOR = 512, FDS_MAX = 65536, FILES_MAX = 4096, CHANGES_MAX = 4096, PATH_BYTES = 1024 };

struct file {
    dev_t dev;
    ino_t ino;
    int fd;                /* our own; -1 of a folder */
    char path[PATH_BYTES]; /* where it was opened first */
    off_t kept_size;       /* as last synced */
    uint8_t **old;         /* by sector: NULL for one that is synced */
    size_t sectors;        /* room of old */
};

enum change_kind { CREATED, MADE_FOLDER, RENAMED, REMOVED };
struct change {
    enum change_kind kind;
    dev_t dev; /* of the folder */
    ino_t ino;
    char path[PATH_BYTES], to[PATH_BYTES];
    char stash[PATH_BYTES]; /* what was removed or replaced; "" for nothing */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *dir, *stash_dir, *report, *lie;
static uint64_t cut_at, fail_at, lie_at, seed, operations, syncs, stashed;
static int keep_percent = -1;
static struct file files[FILES_MAX];
static size_t file_count;
static struct file *of_fd[FDS_MAX];
static struct change changes[CHANGES_MAX]; /* unsynced, oldest first */
static size_t change_count;
static uint8_t zeros[SECTOR];

static void __attribute__((noreturn, format(printf, 1, 2))) give_up(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("libpower: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

static uint64_t chance(uint64_t below)
{
    uint64_t z = (seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void __attribute__((constructor)) begin(void)
{
    dir = getenv("YZMA_POWER_DIR");
    stash_dir = getenv("YZMA_POWER_STASH");
    report = getenv("YZMA_POWER_REPORT");
    lie = getenv("YZMA_POWER_LIE");
    if (dir && (!stash_dir || !report))
        give_up("YZMA_POWER_STASH and YZMA_POWER_REPORT are missing");
    cut_at = number_of("YZMA_POWER_CUT", 0);
    fail_at = number_of("YZMA_POWER_FAIL", 0);
    lie_at = number_of("YZMA_POWER_LIE_AT", 0);
    seed = number_of("YZMA_POWER_SEED", 1);
    keep_percent = (int)number_of("YZMA_POWER_KEEP", (uint64_t)-1);
}

/* ---- paths ------------------------------------------------------------------- */

static bool absolute(int at, const char *path, char out[PATH_BYTES])
{
    char base[PATH_BYTES] = "";
    if (path[0] != '/') {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t n = readlink(at == AT_FDCWD ? "/proc/self/cwd" : link, base, sizeof base - 2);
        if (n < 0)
            return false;
        base[n] = '/';
        base[n + 1] = 0;
    }
    return snprintf(out, PATH_BYTES, "%s%s", base, path) < PATH_BYTES;
}

static bool is_ours(const char *path)
{
    size_t n = strlen(path), m = dir ? strlen(dir) : 0;
    if (!dir || strncmp(path, dir, m) != 0 || (path[m] != '/' && path[m] != 0))
        return false;
    return n < 5 || strcmp(path + n - 5, "-lock") != 0;
}

static bool ours_at(int at, const char *path, char out[PATH_BYTES])
{
    return dir && absolute(at, path, out) && is_ours(out);
}

/* ---- files --------------------------------------------------------------------- */

static off_t size_of(const struct file *file)
{
    struct stat st;
    return fstat(file->fd, &st) == 0 ? st.st_size : 0;
}

static void forget_old(struct file *file, size_t from, size_t to)
{
    for (size_t i = from; i < to && i < file->sectors; i++) {
        if (file->old[i] != zeros)
            free(file->old[i]);
        file->old[i] = NULL;
    }
}

static bool is_folder(const struct file *file)
{
    return file->fd < 0;
}

/* The file behind a descriptor of the program, which was just opened. */
static struct file *file_of(int fd, const char *path, bool fresh)
{
    struct stat st;
    struct file *file = NULL;
    if (fstat(fd, &st) != 0)
        give_up("%s: %s", path, strerror(errno));
    for (size_t i = 0; i < file_count && !file; i++)
        if (files[i].dev == st.st_dev && files[i].ino == st.st_ino)
            file = &files[i];
    if (!file) {
        if (file_count == FILES_MAX)
            give_up("more than %d files", FILES_MAX);
        file = &files[file_count++];
        *file = (struct file){.dev = st.st_dev, .ino = st.st_ino, .fd = -1, .kept_size = st.st_size};
        fresh = true;
    } else if (fresh) { /* the number of one that has gone */
        forget_old(file, 0, file->sectors);
        file->kept_size = 0;
    }
    if (fresh) {
        snprintf(file->path, sizeof file->path, "%s", path);
        if (file->fd >= 0)
            syscall(SYS_close, file->fd);
        file->fd = -1;
        if (!S_ISDIR(st.st_mode)) {
            int own = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
            file->fd = own < 0 ? -1 : fcntl(own, F_DUPFD_CLOEXEC, 900);
            if (file->fd < 0)
                give_up("%s: %s", path, strerror(errno));
            syscall(SYS_close, own);
        }
    }
    return file;
}

static struct file *tracked(int fd)
{
    return fd >= 0 && fd < FDS_MAX ? of_fd[fd] : NULL;
}

static bool is_lied_about(const struct file *file)
{
    return lie && operations >= lie_at && strstr(file->path, lie) != NULL;
}

/* Remembers what stands in [from, to), unless something older is remembered. */
static void remember(struct file *file, off_t from, off_t to)
{
    size_t last = (size_t)((to + SECTOR - 1) / SECTOR);
    if (last > file->sectors) {
        size_t room = last * 2;
        file->old = realloc(file->old, room * sizeof *file->old);
        if (!file->old)
            give_up("no memory");
        memset(file->old + file->sectors, 0, (room - file->sectors) * sizeof *file->old);
        file->sectors = room;
    }
    for (size_t i = (size_t)(from / SECTOR); i < last; i++) {
        uint8_t bytes[SECTOR] = {0};
        if (file->old[i])
            continue;
        ssize_t n = pread(file->fd, bytes, SECTOR, (off_t)i * SECTOR);
        if (n < 0)
            give_up("%s: %s", file->path, strerror(errno));
        file->old[i] = memcmp(bytes, zeros, SECTOR) == 0 ? zeros : malloc(SECTOR);
        if (file->old[i] != zeros)
            memcpy(file->old[i], bytes, SECTOR);
    }
}

static void synced(struct file *file)
{
    forget_old(file, 0, file->sectors);
    file->kept_size = size_of(file);
}

/* ---- folders ------------------------------------------------------------------- */

static struct change *change_of(enum change_kind kind, const char *path)
{
    char folder[PATH_BYTES];
    struct stat st;
    if (change_count == CHANGES_MAX)
        give_up("more than %d changes of folders without a sync", CHANGES_MAX);
    struct change *change = &changes[change_count++];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    if (stat(folder, &st) != 0)
        give_up("%s: %s", folder, strerror(errno));
    *change = (struct change){.kind = kind, .dev = st.st_dev, .ino = st.st_ino};
    snprintf(change->path, sizeof change->path, "%s", path);
    return change;
}

static void stash_name(char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s/%d-%llu", stash_dir, getpid(), (unsigned long long)stashed++);
}

/* What is about to lose its name gets another one, outside. */
static void put_aside(const char *path, char out[PATH_BYTES])
{
    stash_name(out);
    if (linkat(AT_FDCWD, path, AT_FDCWD, out, 0) != 0)
        *out = 0;
}

static void folder_synced(const struct file *folder)
{
    size_t left = 0;
    for (size_t i = 0; i < change_count; i++) {
        if (changes[i].dev != folder->dev || changes[i].ino != folder->ino)
            changes[left++] = changes[i];
        else if (changes[i].stash[0])
            syscall(SYS_unlinkat, AT_FDCWD, changes[i].stash, 0);
    }
    change_count = left;
}

static void undo_change(struct change *change)
{
    switch (change->kind) {
    case CREATED:
        syscall(SYS_unlinkat, AT_FDCWD, change->path, 0);
        break;
    case MADE_FOLDER:
        stash_name(change->stash);
        syscall(SYS_renameat2, AT_FDCWD, change->path, AT_FDCWD, change->stash, 0);
        break;
    case RENAMED:
        syscall(SYS_renameat2, AT_FDCWD, change->to, AT_FDCWD, change->path, 0);
        if (change->stash[0])
            syscall(SYS_renameat2, AT_FDCWD, change->stash, AT_FDCWD, change->to, 0);
        break;
    case REMOVED:
        syscall(SYS_renameat2, AT_FDCWD, change->stash, AT_FDCWD, change->path, 0);
        break;
    }
}

/* ---- the cut -------------------------------------------------------------------- */

struct toll {
    size_t sectors, sectors_kept, changes, changes_kept, sizes, sizes_kept;
};

static void undo_file(struct file *file, int keep, struct toll *toll)
{
    off_t size = size_of(file), becomes = size;
    if (size != file->kept_size) {
        bool stays = chance(100) < (uint64_t)keep;
        toll->sizes++;
        toll->sizes_kept += stays;
        becomes = stays ? size : file->kept_size;
        if (syscall(SYS_ftruncate, file->fd, becomes) != 0)
            give_up("%s: %s", file->path, strerror(errno));
    }
    for (size_t i = 0; i < file->sectors; i++) {
        off_t at = (off_t)i * SECTOR;
        if (!file->old[i])
            continue;
        toll->sectors++;
        if (at < size && chance(100) < (uint64_t)keep) {
            toll->sectors_kept++;
            continue;
        }
        off_t n = becomes - at < SECTOR ? becomes - at : SECTOR;
        if (n > 0 && syscall(SYS_pwrite64, file->fd, file->old[i], (size_t)n, at) != n)
            give_up("%s: %s", file->path, strerror(errno));
    }
}

static void tell(const char *in, const char *path, int keep, const struct toll *toll)
{
    char made[PATH_BYTES + 8];
    snprintf(made, sizeof made, "%s.new", report);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, made, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dprintf(fd,
            "operation=%llu in=%s path=%s keep=%d sectors=%zu kept=%zu sizes=%zu sizes_kept=%zu changes=%zu "
            "changes_kept=%zu syncs=%llu\n",
            (unsigned long long)operations, in, path, keep, toll->sectors, toll->sectors_kept, toll->sizes,
            toll->sizes_kept, toll->changes, toll->changes_kept, (unsigned long long)syncs);
    syscall(SYS_close, fd);
    syscall(SYS_renameat2, AT_FDCWD, made, AT_FDCWD, report, 0);
}

static void close_all_but_ours(void)
{
    for (int fd = 3; fd < FDS_MAX; fd++) {
        bool own = false;
        for (size_t i = 0; i < file_count && !own; i++)
            own = files[i].fd == fd;
        if (!own)
            syscall(SYS_close, fd);
    }
}

static void undo(const char *in, const char *path)
{
    static const int percents[] = {0, 10, 50, 90, 100};
    int keep = keep_percent >= 0 ? keep_percent : percents[chance(5)];
    struct toll toll = {.changes = change_count};
    toll.changes_kept = keep_percent == 0 ? 0 : chance(change_count + 1);
    for (size_t i = 0; i < file_count; i++)
        if (!is_folder(&files[i]))
            undo_file(&files[i], keep, &toll);
    for (size_t i = change_count; i > toll.changes_kept; i--)
        undo_change(&changes[i - 1]);
    tell(in, path, keep, &toll);
}

static void __attribute__((noreturn)) cut(const char *in, const char *path)
{
    pid_t victim = getpid();
    pid_t child = fork();
    if (child == 0) {
        struct timespec moment = {.tv_nsec = 1000000};
        kill(victim, SIGKILL);
        close_all_but_ours(); /* its ports and locks go with it */
        while (getppid() == victim)
            nanosleep(&moment, NULL);
        undo(in, path);
        _exit(0);
    }
    if (child < 0)
        give_up("fork: %s", strerror(errno));
    for (;;)
        pause();
}

/* Each change and sync passes here, under the lock. True for the last one. */
static bool step(void)
{
    return ++operations == cut_at;
}

/* Is the step just taken the one that fails? Then the lock is given back. */
static bool fails(const char *what, const char *path)
{
    if (operations != fail_at)
        return false;
    dprintf(STDERR_FILENO, "libpower: %s of %s fails\n", what, path);
    pthread_mutex_unlock(&lock);
    errno = EIO;
    return true;
}

/* ---- what is interposed: writing ---------------------------------------------------- */

static off_t place_of(int fd, struct file *file)
{
    int flags = fcntl(fd, F_GETFL);
    return flags & O_APPEND ? size_of(file) : lseek(fd, 0, SEEK_CUR);
}

/* at < 0: at the descriptor's place. */
static ssize_t write_tracked(int fd, const struct iovec *parts, int count, off_t at, const char *what)
{
    ssize_t done = -1;
    size_t n = 0;
    for (int i = 0; i < count; i++)
        n += parts[i].iov_len;
    pthread_mutex_lock(&lock);
    struct file *file = tracked(fd);
    bool last = step();
    if (fails(what, file->path))
        return -1;
    off_t from = at < 0 ? place_of(fd, file) : at;
    remember(file, from, from + (off_t)n);
    done = at < 0 ? syscall(SYS_writev, fd, parts, count)
                  : syscall(SYS_pwritev, fd, parts, count, (long)at, (long)0);
    int error = errno;
    if (last)
        cut(what, file->path);
    if (done > 0 && fcntl(fd, F_GETFL) & (O_DSYNC | O_SYNC) && !is_lied_about(file)) {
        syncs++;
        forget_old(file, (size_t)(from / SECTOR), (size_t)((from + done + SECTOR - 1) / SECTOR));
        if (from + done > file->kept_size)
            file->kept_size = from + done;
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    struct iovec part = {(void *)(uintptr_t)data, n};
    return tracked(fd) ? write_tracked(fd, &part, 1, at, "pwrite") : syscall(SYS_pwrite64, fd, data, n, at);
}

EXPORT ssize_t write(int fd, const void *data, size_t n)
{
    struct iovec part = {(void *)(uintptr_t)data, n};
    return tracked(fd) ? write_tracked(fd, &part, 1, -1, "write") : syscall(SYS_write, fd, data, n);
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return tracked(fd) ? write_tracked(fd, parts, count, -1, "writev")
                       : syscall(SYS_writev, fd, parts, count);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    return tracked(fd) ? write_tracked(fd, parts, count, at, "pwritev")
                       : syscall(SYS_pwritev, fd, parts, count, (long)at, (long)0);
}

EXPORT int ftruncate(int fd, off_t size)
{
    pthread_mutex_lock(&lock);
    struct file *file = tracked(fd);
    bool last = file && step();
    if (file && fails("ftruncate", file->path))
        return -1;
    off_t before = file ? size_of(file) : 0;
    if (file && size < before)
        remember(file, size, before);
    int rc = (int)syscall(SYS_ftruncate, fd, size);
    int error = errno;
    if (last)
        cut("ftruncate", file->path);
    pthread_mutex_unlock(&lock);
    errno = error;
    return rc;
}

EXPORT int fallocate(int fd, int mode, off_t at, off_t n)
{
    pthread_mutex_lock(&lock);
    struct file *file = tracked(fd);
    bool last = file && step();
    if (file && fails("fallocate", file->path))
        return -1;
    if (file && mode & ~FALLOC_FL_KEEP_SIZE)
        remember(file, at, at + n); /* holes, zeros */
    int rc = (int)syscall(SYS_fallocate, fd, mode, at, n);
    int error = errno;
    if (last)
        cut("fallocate", file->path);
    pthread_mutex_unlock(&lock);
    errno = error;
    return rc;
}

EXPORT int posix_fallocate(int fd, off_t at, off_t n)
{
    return fallocate(fd, 0, at, n) == 0 ? 0 : errno;
}

EXPORT void *mmap(void *address, size_t n, int protection, int flags, int fd, off_t at)
{
    if (tracked(fd) && flags & MAP_SHARED && protection & PROT_WRITE)
        give_up("a shared writable mapping of %s", tracked(fd)->path);
    return (void *)(uintptr_t)syscall(SYS_mmap, address, n, protection, flags, fd, at);
}

/* ---- syncing ---------------------------------------------------------------------- */

static int sync_tracked(int fd, long number, const char *what)
{
    struct file *file = tracked(fd);
    if (!file)
        return (int)syscall(number, fd);
    pthread_mutex_lock(&lock);
    file = tracked(fd);
    if (step())
        cut(what, file->path);
    if (fails(what, file->path))
        return -1;
    if (!is_lied_about(file)) {
        syncs++;
        if (is_folder(file))
            folder_synced(file);
        else
            synced(file);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

EXPORT int fdatasync(int fd)
{
    return sync_tracked(fd, SYS_fdatasync, "fdatasync");
}

EXPORT int fsync(int fd)
{
    return sync_tracked(fd, SYS_fsync, "fsync");
}

/* ---- names ------------------------------------------------------------------------- */

static int open_any(int at, const char *path, int flags, mode_t mode)
{
    char full[PATH_BYTES];
    struct stat st;
    if (!ours_at(at, path, full) || flags & O_PATH)
        return (int)syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&lock);
    bool fresh = flags & O_CREAT && fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) != 0;
    bool last = fresh && step();
    if (fresh && fails("open", full))
        return -1;
    int fd = (int)syscall(SYS_openat, at, path, flags & ~O_TRUNC, mode);
    int error = errno;
    if (fd >= FDS_MAX)
        give_up("a descriptor of %d", fd);
    if (fd >= 0)
        of_fd[fd] = NULL;
    if (fd >= 0 && fstat(fd, &st) == 0 && (S_ISDIR(st.st_mode) || (flags & O_ACCMODE) != O_RDONLY)) {
        of_fd[fd] = file_of(fd, full, fresh);
        if (fresh)
            change_of(CREATED, full);
    }
    if (last)
        cut("open", full);
    pthread_mutex_unlock(&lock);
    if (fd >= 0 && flags & O_TRUNC && ftruncate(fd, 0) != 0)
        give_up("%s: %s", full, strerror(errno));
    errno = error;
    return fd;
}

static mode_t mode_of(int flags, va_list args)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

EXPORT int openat(int at, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_any(at, path, flags, mode);
}

EXPORT int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int close(int fd)
{
    if (!tracked(fd))
        return (int)syscall(SYS_close, fd);
    pthread_mutex_lock(&lock);
    of_fd[fd] = NULL;
    int rc = (int)syscall(SYS_close, fd);
    pthread_mutex_unlock(&lock);
    return rc;
}

/* Takes the descriptor, and closedir closes it where we do not see that. */
EXPORT DIR *fdopendir(int fd)
{
    DIR *(*real)(int);
    *(void **)&real = dlsym(RTLD_NEXT, "fdopendir");
    if (tracked(fd))
        of_fd[fd] = NULL;
    return real(fd);
}

EXPORT int renameat2(int at, const char *path, int to_at, const char *to, unsigned flags)
{
    char from_full[PATH_BYTES], to_full[PATH_BYTES], aside[PATH_BYTES];
    if (!ours_at(at, path, from_full) || !ours_at(to_at, to, to_full))
        return (int)syscall(SYS_renameat2, at, path, to_at, to, flags);
    pthread_mutex_lock(&lock);
    bool last = step();
    if (fails("rename", from_full))
        return -1;
    put_aside(to_full, aside);
    int rc = (int)syscall(SYS_renameat2, at, path, to_at, to, flags);
    int error = errno;
    if (rc == 0) {
        struct change *change = change_of(RENAMED, from_full);
        snprintf(change->to, sizeof change->to, "%s", to_full);
        snprintf(change->stash, sizeof change->stash, "%s", aside);
    } else if (aside[0]) {
        syscall(SYS_unlinkat, AT_FDCWD, aside, 0);
    }
    if (last)
        cut("rename", from_full);
    pthread_mutex_unlock(&lock);
    errno = error;
    return rc;
}

EXPORT int renameat(int at, const char *path, int to_at, const char *to)
{
    return renameat2(at, path, to_at, to, 0);
}

EXPORT int rename(const char *path, const char *to)
{
    return renameat2(AT_FDCWD, path, AT_FDCWD, to, 0);
}

EXPORT int unlinkat(int at, const char *path, int flags)
{
    char full[PATH_BYTES], aside[PATH_BYTES];
    if (flags & AT_REMOVEDIR || !ours_at(at, path, full))
        return (int)syscall(SYS_unlinkat, at, path, flags);
    pthread_mutex_lock(&lock);
    bool last = step();
    if (fails("unlink", full))
        return -1;
    put_aside(full, aside);
    int rc = (int)syscall(SYS_unlinkat, at, path, flags);
    int error = errno;
    if (rc == 0 && aside[0])
        snprintf(change_of(REMOVED, full)->stash, PATH_BYTES, "%s", aside);
    if (last)
        cut("unlink", full);
    pthread_mutex_unlock(&lock);
    errno = error;
    return rc;
}

EXPORT int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

/* Of a file that stays under its other name: undone, the new name goes. */
EXPORT int link(const char *path, const char *to)
{
    char full[PATH_BYTES];
    if (!ours_at(AT_FDCWD, to, full))
        return (int)syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, to, 0);
    pthread_mutex_lock(&lock);
    bool last = step();
    if (fails("link", full))
        return -1;
    int rc = (int)syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, to, 0);
    int error = errno;
    if (rc == 0)
        change_of(CREATED, full);
    if (last)
        cut("link", full);
    pthread_mutex_unlock(&lock);
    errno = error;
    return rc;
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    char full[PATH_BYTES];
    if (!ours_at(AT_FDCWD, path, full))
        return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    pthread_mutex_lock(&lock);
    bool last = step();
    if (fails("mkdir", full))
        return -1;
    int rc = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    int error = errno;
    if (rc == 0)
        change_of(MADE_FOLDER, full);
    if (last)
        cut("mkdir", full);
    pthread_mutex_unlock(&lock);
    errno = error;
    return rc;
}

/* ---- the same under the names of large files ------------------------------------------ */

#define SAME(name, as) EXPORT extern __typeof__(name) as __attribute__((alias(#name)))
SAME(open, open64);
SAME(openat, openat64);
SAME(pwrite, pwrite64);
SAME(pwritev, pwritev64);
SAME(ftruncate, ftruncate64);
SAME(fallocate, fallocate64);
SAME(posix_fallocate, posix_fallocate64);
SAME(mmap, mmap64);
