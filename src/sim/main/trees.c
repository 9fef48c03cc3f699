/* LMDB's map is never written, and what it writes and syncs goes by its own calls: so a
 * commit here is whole or none, and a power cut loses nothing of it. Torn ones are the
 * business of tests/system/test_power.py. */
#include "trees.h"

#include "buf.h"
#include "engine_lmdb.h"
#include "mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_LEN = 120 };

struct trees {
    char folder[PATH_LEN - 40];
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

static struct engine *open_tree(void *ctx, uint64_t file)
{
    struct lmdb_options options = {0};
    struct buf identity, why;
    struct engine *engine = NULL;
    char path[PATH_LEN];
    buf_init(&identity, 100);
    buf_init(&why, 1000);
    if (lmdb_engine_open(path_of(ctx, file, path), &options, &engine, &identity, &why) != OK) {
        fprintf(stderr, "yzma-sim: %.*s\n", (int)why.len, (const char *)why.data);
        engine = NULL;
    }
    buf_done(&identity);
    buf_done(&why);
    return engine;
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

static void remove_tree(void *ctx, uint64_t file)
{
    char path[PATH_LEN], lock[PATH_LEN + 8];
    unlink(path_of(ctx, file, path));
    snprintf(lock, sizeof lock, "%s-lock", path);
    unlink(lock);
}

struct nodes_trees trees_face(struct trees *trees)
{
    return (struct nodes_trees){.ctx = trees, .open = open_tree, .copy = copy_tree, .remove = remove_tree};
}
