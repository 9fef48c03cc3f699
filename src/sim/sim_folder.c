#include "sim_folder.h"

#include "check.h"
#include "mem.h"

#include <stdlib.h>

/* ---- names ---------------------------------------------------------------- */

static void set_text(char to[DISK_NAME_MAX + 1], const char *name)
{
    size_t len = strlen(name);
    CHECK(len <= DISK_NAME_MAX && !strchr(name, '/'));
    memcpy(to, name, len + 1);
}

static struct sim_name *names_find(const struct sim_names *names, const char *name)
{
    for (size_t i = 0; i < names->len; i++)
        if (strcmp(names->at[i].text, name) == 0)
            return &names->at[i];
    return NULL;
}

static struct sim_name *names_add(struct sim_names *names, const char *name)
{
    if (names->len == names->cap) {
        names->cap = names->cap ? 2 * names->cap : 8;
        names->at = mem_grow(names->at, names->cap * sizeof *names->at);
    }
    struct sim_name *new = &names->at[names->len++];
    *new = (struct sim_name){0};
    set_text(new->text, name);
    return new;
}

static void names_put(struct sim_names *names, const char *name, struct sim_file *file)
{
    struct sim_name *at = names_find(names, name);
    if (!at)
        at = names_add(names, name);
    sim_file_ref(file);
    sim_file_unref(at->file);
    at->file = file;
}

static void names_remove(struct sim_names *names, const char *name)
{
    struct sim_name *at = names_find(names, name);
    if (!at)
        return;
    sim_file_unref(at->file);
    *at = names->at[--names->len];
}

void sim_names_copy(struct sim_names *to, const struct sim_names *from)
{
    *to = (struct sim_names){.len = from->len, .cap = from->len};
    to->at = mem_copy(from->at, from->len * sizeof *from->at);
    for (size_t i = 0; i < to->len; i++)
        sim_file_ref(to->at[i].file);
}

void sim_names_done(struct sim_names *names)
{
    for (size_t i = 0; i < names->len; i++)
        sim_file_unref(names->at[i].file);
    free(names->at);
    *names = (struct sim_names){0};
}

/* ---- changes -------------------------------------------------------------- */

static void change_apply(const struct folder_change *change, struct sim_names *names)
{
    if (change->gone[0])
        names_remove(names, change->gone);
    if (change->came.text[0])
        names_put(names, change->came.text, change->came.file);
}

/* One name goes and one comes (NULL: none), now for those who look, and for good
 * when the folder has been synced. */
static void folder_change(struct sim_folder *folder, const char *gone, const char *came,
                          struct sim_file *file)
{
    if (folder->changes_len == folder->changes_cap) {
        folder->changes_cap = folder->changes_cap ? 2 * folder->changes_cap : 8;
        folder->changes = mem_grow(folder->changes, folder->changes_cap * sizeof *folder->changes);
    }
    struct folder_change *change = &folder->changes[folder->changes_len++];
    *change = (struct folder_change){0};
    if (gone)
        set_text(change->gone, gone);
    if (came) {
        set_text(change->came.text, came);
        change->came.file = sim_file_ref(file);
    }
    change_apply(change, &folder->shown);
}

static void forget_changes(struct sim_folder *folder)
{
    for (size_t i = 0; i < folder->changes_len; i++)
        sim_file_unref(folder->changes[i].came.file);
    folder->changes_len = 0;
}

static bool change_names(const struct folder_change *change, const char *name)
{
    return name[0] && (strcmp(change->gone, name) == 0 || strcmp(change->came.text, name) == 0);
}

static bool share_a_name(const struct folder_change *a, const struct folder_change *b)
{
    return change_names(a, b->gone) || change_names(a, b->came.text);
}

/* ---- the folder ----------------------------------------------------------- */

void sim_folder_done(struct sim_folder *folder)
{
    forget_changes(folder);
    free(folder->changes);
    sim_names_done(&folder->shown);
    sim_names_done(&folder->durable);
    *folder = (struct sim_folder){0};
}

struct sim_file *sim_folder_find(const struct sim_folder *folder, const char *name)
{
    const struct sim_name *at = names_find(&folder->shown, name);
    return at ? at->file : NULL;
}

uint64_t sim_folder_bytes(const struct sim_folder *folder)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < folder->shown.len; i++)
        sum += folder->shown.at[i].file->size;
    return sum;
}

void sim_folder_put(struct sim_folder *folder, const char *name, struct sim_file *file)
{
    folder_change(folder, NULL, name, file);
}

void sim_folder_remove(struct sim_folder *folder, const char *name)
{
    if (sim_folder_find(folder, name))
        folder_change(folder, name, NULL, NULL);
}

void sim_folder_rename(struct sim_folder *folder, const char *from, const char *to)
{
    struct sim_file *file = sim_folder_find(folder, from);
    CHECK(file);
    if (strcmp(from, to) != 0)
        folder_change(folder, from, to, file);
}

static void names_replace(struct sim_names *names, const struct sim_names *with)
{
    sim_names_done(names);
    sim_names_copy(names, with);
}

void sim_folder_sync(struct sim_folder *folder)
{
    names_replace(&folder->durable, &folder->shown);
    forget_changes(folder);
}

static bool follows_a_lost_one(const struct sim_folder *folder, const bool *lost, size_t i)
{
    for (size_t earlier = 0; earlier < i; earlier++)
        if (lost[earlier] && share_a_name(&folder->changes[earlier], &folder->changes[i]))
            return true;
    return false;
}

static void some_changes_arrive(struct sim_folder *folder, struct rng *rng)
{
    size_t n = folder->changes_len;
    bool *lost = mem_new(n * sizeof *lost);
    bool in_order = rng_permille(rng, 500);
    size_t prefix = (size_t)rng_below(rng, n + 1);
    for (size_t i = 0; i < n; i++) {
        lost[i] = in_order ? i >= prefix : rng_permille(rng, 500) || follows_a_lost_one(folder, lost, i);
        if (!lost[i])
            change_apply(&folder->changes[i], &folder->durable);
    }
    free(lost);
    forget_changes(folder);
}

void sim_folder_crash(struct sim_folder *folder, struct rng *rng)
{
    some_changes_arrive(folder, rng);
    names_replace(&folder->shown, &folder->durable);
    for (size_t i = 0; i < folder->shown.len; i++)
        sim_file_crash(folder->shown.at[i].file, rng);
}

/* ---- copies --------------------------------------------------------------- */

/* A file has one copy, however many names and changes lead to it. The copy is held
 * by those who refer to it. */
static struct sim_file *copy_of(struct sim_file *file)
{
    if (!file)
        return NULL;
    if (file->copy)
        return sim_file_ref(file->copy);
    return file->copy = sim_file_copy(file);
}

static void names_copy_deep(struct sim_names *to, const struct sim_names *from)
{
    *to = (struct sim_names){
        .at = mem_copy(from->at, from->len * sizeof *from->at), .len = from->len, .cap = from->len};
    for (size_t i = 0; i < to->len; i++)
        to->at[i].file = copy_of(from->at[i].file);
}

static void changes_copy_deep(struct sim_folder *to, const struct sim_folder *from)
{
    to->changes_len = to->changes_cap = from->changes_len;
    to->changes = mem_copy(from->changes, from->changes_len * sizeof *from->changes);
    for (size_t i = 0; i < to->changes_len; i++)
        to->changes[i].came.file = copy_of(from->changes[i].came.file);
}

/* Whatever a folder refers to is durable or came by a change. */
static void forget_copies(const struct sim_folder *folder)
{
    for (size_t i = 0; i < folder->durable.len; i++)
        folder->durable.at[i].file->copy = NULL;
    for (size_t i = 0; i < folder->changes_len; i++)
        if (folder->changes[i].came.file)
            folder->changes[i].came.file->copy = NULL;
}

void sim_folder_copy(struct sim_folder *to, const struct sim_folder *from)
{
    names_copy_deep(&to->shown, &from->shown);
    names_copy_deep(&to->durable, &from->durable);
    changes_copy_deep(to, from);
    forget_copies(from);
}
