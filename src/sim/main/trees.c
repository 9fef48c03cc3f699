#include "trees.h"

#include "buf.h"
#include "check.h"
#include "engine_lmdb.h"
#include "mem.h"
#include "tree_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_LEN = 120 };

struct file {
    struct file *next;
    uint64_t number;
    struct tree_disk *disk;
};

struct trees {
    char folder[PATH_LEN - 40];
    struct file *files;
};

struct trees *trees_new(void)
{
    static const char *const places[] = {"/dev/shm", "/tmp"};
    struct trees *trees = mem_new(sizeof *trees);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(trees->folder, sizeof trees->folder, "%s/yzma-sim-XXXXXX", places[i]);
        if (mkdtemp(trees->folder))
            return trees;
    }
    free(trees);
    return NULL;
}

void trees_free(struct trees *trees)
{
    if (!trees)
        return;
    for (struct file *file = trees->files, *next; file; file = next) {
        next = file->next;
        tree_disk_free(file->disk);
        free(file);
    }
    DIR *folder = opendir(trees->folder); /* of a world that was cut off there are files left */
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;)
        (void)!unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
    rmdir(trees->folder);
    free(trees);
}

static const char *path_of(const struct trees *trees, uint64_t file, char out[PATH_LEN])
{
    snprintf(out, PATH_LEN, "%s/%llu", trees->folder, (unsigned long long)file);
    return out;
}

static struct tree_disk *disk_of(struct trees *trees, uint64_t number)
{
    struct file *file = trees->files;
    while (file && file->number != number)
        file = file->next;
    return file ? file->disk : NULL;
}

static void disk_for(struct trees *trees, uint64_t number)
{
    char path[PATH_LEN];
    if (disk_of(trees, number))
        return;
    struct file *file = mem_new(sizeof *file);
    *file = (struct file){trees->files, number, tree_disk_new(path_of(trees, number, path), number)};
    trees->files = file;
}

static enum err open_tree(void *ctx, uint64_t file, struct engine **ret)
{
    struct lmdb_options options = {0};
    struct buf identity, why;
    char path[PATH_LEN];
    buf_init(&identity, 100);
    buf_init(&why, 1000);
    disk_for(ctx, file);
    enum err err = lmdb_engine_open(path_of(ctx, file, path), &options, ret, &identity, &why);
    if (err != OK && err != ERR_IO && err != ERR_FULL)
        fprintf(stderr, "yzma-sim: %.*s\n", (int)why.len, (const char *)why.data);
    buf_done(&identity);
    buf_done(&why);
    return err;
}

/* Between transactions: what LMDB has committed is in the file. */
static void copy_tree(void *ctx, uint64_t to, uint64_t from)
{
    char path[PATH_LEN];
    struct stat st;
    int in = open(path_of(ctx, from, path), O_RDONLY | O_CLOEXEC);
    int out = open(path_of(ctx, to, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool whole = in >= 0 && out >= 0 && fstat(in, &st) == 0;
    for (off_t left = whole ? st.st_size : 0; whole && left > 0;) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, (size_t)left, 0);
        whole = n > 0;
        left -= n;
    }
    if (!whole)
        perror("yzma-sim: a copy of a tree");
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
}

static void remove_tree(void *ctx, uint64_t number)
{
    struct trees *trees = ctx;
    char path[PATH_LEN], lock[PATH_LEN + 8];
    struct file **at = &trees->files, *file;
    while (*at && (*at)->number != number)
        at = &(*at)->next;
    if ((file = *at) != NULL) {
        *at = file->next;
        tree_disk_free(file->disk);
        free(file);
    }
    unlink(path_of(trees, number, path));
    snprintf(lock, sizeof lock, "%s-lock", path);
    unlink(lock);
}

static void disk_fails(void *ctx, uint64_t file, const struct tree_fault *fault)
{
    struct tree_disk *disk = disk_of(ctx, file);
    tree_disk_crash_at(disk, fault->dies ? fault->nth : 0);
    tree_disk_fail(disk, fault->dies ? 0 : fault->nth, fault->err);
}

static bool disk_dead(void *ctx, uint64_t file)
{
    return tree_disk_dead(disk_of(ctx, file));
}

static void disk_die(void *ctx, uint64_t file)
{
    tree_disk_die(disk_of(ctx, file));
}

static void disk_end(void *ctx, uint64_t file, bool power)
{
    tree_disk_end(disk_of(ctx, file), power);
}

struct nodes_trees trees_face(struct trees *trees)
{
    return (struct nodes_trees){.ctx = trees,
                                .open = open_tree,
                                .copy = copy_tree,
                                .remove = remove_tree,
                                .fail = disk_fails,
                                .dead = disk_dead,
                                .die = disk_die,
                                .end = disk_end};
}
