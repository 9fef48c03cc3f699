/* What is under a host and outlives its process: the disk of its log and the tree
 * behind it; copied, put back, and going bad. */
#include "check.h"
#include "engine_mem.h"
#include "state.h"

#include <stdio.h>

/* ---- trees --------------------------------------------------------------------------- */

/* One in memory stays when it is closed: what it has committed stays. */
static void keep(struct engine *tree)
{
    (void)tree;
}

static struct engine *kept(struct world *w, struct engine *engine)
{
    w->tree_ops = engine->ops;
    w->kept_ops = *engine->ops;
    w->kept_ops.close = keep;
    engine->ops = &w->kept_ops;
    return engine;
}

enum err tree_open(struct world *w, struct tree *tree)
{
    const struct nodes_trees *trees = w->options.trees;
    if (w->on_files && !tree->file)
        tree->file = ++w->next_file;
    if (w->on_files)
        return trees->open(trees->ctx, tree->file, &tree->engine);
    if (!tree->engine)
        tree->engine = kept(w, engine_mem_new());
    return OK;
}

/* One in memory dies with its commit that fails. */
bool tree_dead(const struct world *w, const struct host *host)
{
    const struct nodes_trees *trees = w->options.trees;
    if (!host->tree.file)
        return host->tree_dies && engine_mem_commit_failed(host->tree.engine);
    return trees->dead(trees->ctx, host->tree.file);
}

void tree_fail(struct world *w, struct host *host, const struct tree_fault *fault)
{
    const struct nodes_trees *trees = w->options.trees;
    if (host->tree.file)
        trees->fail(trees->ctx, host->tree.file, fault);
    else if (host->tree.engine)
        engine_mem_fail_commit(host->tree.engine, fault->nth, world_chance(w, 500));
    host->tree_dies = fault->nth && fault->dies;
}

/* The process is dead, and its code is still to be left. */
void tree_die(struct world *w, struct host *host)
{
    if (host->tree.file)
        w->options.trees->die(w->options.trees->ctx, host->tree.file);
}

void tree_end(struct world *w, struct host *host, bool power)
{
    host->tree_dies = false;
    if (!host->tree.file)
        return;
    host->tree.engine = NULL; /* it was closed with the store */
    w->options.trees->end(w->options.trees->ctx, host->tree.file, power);
}

void tree_copy(struct world *w, struct tree *to, const struct tree *from)
{
    *to = (struct tree){0};
    if (from->file) {
        to->file = ++w->next_file;
        w->options.trees->copy(w->options.trees->ctx, to->file, from->file);
    } else if (from->engine) {
        to->engine = kept(w, engine_mem_clone(from->engine));
    }
}

void tree_done(struct world *w, struct tree *tree)
{
    if (tree->file)
        w->options.trees->remove(w->options.trees->ctx, tree->file);
    else if (tree->engine)
        w->tree_ops->close(tree->engine);
    *tree = (struct tree){0};
}

/* ---- rot ---------------------------------------------------------------------------- */

struct names {
    char list[64][DISK_NAME_MAX + 1];
    size_t count;
};

static void keep_name(void *ctx, const char *name)
{
    struct names *names = ctx;
    if (names->count < sizeof names->list / sizeof *names->list)
        snprintf(names->list[names->count++], sizeof *names->list, "%s", name);
}

/* Where something was written, if it can be. */
void host_rot(struct world *w, struct host *host)
{
    struct names names = {.count = 0};
    struct disk *disk = disk_sim_mount(host->disk);
    struct buf bytes;
    buf_init(&bytes, SIZE_MAX);
    enum err err = disk->ops->list(disk, keep_name, &names);
    disk->ops->free(disk);
    if (err == OK && names.count) {
        const char *name = names.list[world_pick(w, names.count)];
        err = disk_sim_read_file(host->disk, name, &bytes);
        size_t end = bytes.len;
        while (end > 0 && bytes.data[end - 1] == 0)
            end--;
        if (err == OK && end > 0) {
            uint64_t bit = world_pick(w, 8 * end);
            world_say(w, "n%d: bit %llu of %s flips", host->index, (unsigned long long)bit, name);
            watch_lost(w, host);
            disk_sim_flip(host->disk, name, bit);
            host->rotten = true;
        }
    }
    buf_done(&bytes);
}

/* ---- backups ---------------------------------------------------------------------------------------- */

void image_done(struct world *w, struct image *image)
{
    if (!image->present)
        return;
    disk_sim_free(image->disk);
    tree_done(w, &image->tree);
    host_view_done(&image->view);
    image->present = false;
}

/* A snapshot of the whole disk at one moment, unsynced writes and all. */
void image_take(struct world *w, struct host *host, struct image *image)
{
    image_done(w, image);
    *image = (struct image){
        .present = true, .left = host->left, .held = host->held, .disk = disk_sim_clone(host->disk)};
    tree_copy(w, &image->tree, &host->tree);
    disk_sim_kill(image->disk);
    host_view_copy(&image->view, &host->view);
}

void host_restore(struct world *w, struct host *host, const struct image *image, bool same_file)
{
    CHECK(!host->running && image->present);
    host_wipe(w, host);
    host->disk = disk_sim_clone(image->disk);
    disk_sim_seed(host->disk, rng_next(&w->rng));
    tree_copy(w, &host->tree, &image->tree);
    host_view_copy(&host->view, &image->view);
    host->used = true;
    host->left = image->left; /* these are kept in the store */
    host->held = image->held;
    if (!same_file)
        host->file = rng_next(&w->rng);
}
