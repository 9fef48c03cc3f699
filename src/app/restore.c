/* yzma restore: a backup becomes a store, by the walk that it is. The new store has a new
 * replica id, with that of the node that was backed up as its predecessor, and is made
 * beside the place where it belongs: it has its name only once it is whole. */
#include "tools.h"

#include "backup_file.h"
#include "engine_lmdb.h"
#include "mem.h"
#include "offline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static enum err map_file(const char *path, struct bytes *ret, struct buf *why)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *data = NULL;
    bool good = fd >= 0 && fstat(fd, &st) == 0;
    if (good && st.st_size > 0) {
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        good = data != MAP_FAILED;
    }
    if (!good)
        buf_put_format(why, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (good)
        *ret = bytes_of(data, (size_t)st.st_size);
    return good ? OK : ERR_IO;
}

/* Each frame whole and following the one before, up to the last: before anything is made. */
static enum err check_file(const char *path, struct bytes file, struct replica_id *ret_id,
                           uint64_t *ret_records, struct buf *why)
{
    struct backup_place place;
    struct bytes rest = file;
    enum err err = backup_get_head(file, ret_id);
    if (err != OK) {
        buf_put_format(why,
                       err == ERR_VERSION ? "%s: a backup of a format that this program does not know"
                                          : "%s: no backup of YzmaDB",
                       path);
        return err;
    }
    rest = bytes_of(file.data + BACKUP_HEAD_SIZE, file.len - BACKUP_HEAD_SIZE);
    backup_begin(&place);
    while (place.at.phase != WALK_NONE && err == OK) {
        struct store_work *work = NULL;
        size_t size;
        err = backup_next(&place, rest, &size, &work);
        store_work_free(work);
        if (err == OK)
            rest = bytes_of(rest.data + size, rest.len - size);
    }
    if (err == OK && rest.len)
        err = ERR_MALFORMED;
    if (err == ERR_TRUNCATED)
        buf_put_format(why, "%s: is incomplete: it ends after %llu records", path,
                       (unsigned long long)place.records);
    else if (err != OK)
        buf_put_format(why, "%s: is damaged at byte %zu: %s", path, file.len - rest.len, err_text(err));
    *ret_records = place.records;
    return err;
}

/* Does one piece of work in a transaction of its own, and frees it. */
static enum err run(struct store *store, struct store_work *work)
{
    enum err err = store_run(store, wall_ms(), work);
    store_work_free(work);
    return err;
}

static enum err take_new_id(struct store *store, const struct replica_id *old_id)
{
    uint8_t random[REPLICA_ID_SIZE];
    struct store_work *work = store_work_new(WORK_REIDENTIFY);
    offline_random(random, sizeof random);
    work->reidentify.old_id = *old_id;
    work->reidentify.new_id = replica_id_of_random(random);
    offline_random(&work->reidentify.start_random, sizeof work->reidentify.start_random);
    return run(store, work);
}

static enum err apply(struct store *store, struct bytes file)
{
    struct backup_place place;
    struct bytes rest = bytes_of(file.data + BACKUP_HEAD_SIZE, file.len - BACKUP_HEAD_SIZE);
    struct snapshot *snapshot;
    struct walk_state walk = {0};
    enum err err = run(store, store_work_new(WORK_WALK_START));
    if (err == OK)
        err = snapshot_open(store, &snapshot);
    if (err != OK)
        return err;
    err = snapshot_walk(snapshot, &walk);
    snapshot_close(snapshot);
    backup_begin(&place);
    while (err == OK && place.at.phase != WALK_NONE) {
        struct store_work *work;
        size_t size;
        err = backup_next(&place, rest, &size, &work);
        if (err != OK)
            break;
        rest = bytes_of(rest.data + size, rest.len - size);
        work->rows.serial = walk.serial;
        err = run(store, work);
    }
    walk_state_done(&walk);
    return err;
}

/* The store at `path`, whole and closed. */
static enum err make(const char *path, struct bytes file, const struct replica_id *id, struct buf *why)
{
    struct lmdb_options lmdb_options = {0};
    struct store_options options = {.fresh_id = *id,
                                    .wall_ms = wall_ms(),
                                    .versions_max = RECORD_VERSIONS_MAX,
                                    .skew_max_ms = UINT32_MAX};
    struct engine *engine;
    struct store *store;
    struct buf identity;
    bool moved;
    buf_init(&identity, 256);
    offline_random(&options.start_random, sizeof options.start_random);
    enum err err = lmdb_engine_open(path, &lmdb_options, &engine, &identity, why);
    options.file_identity = buf_bytes(
        &identity); /* a copy of it is another replica, also before its first start */
    if (err == OK)
        err = store_open(engine, &options, &store, &moved, why);
    buf_done(&identity);
    if (err != OK)
        return err;
    err = take_new_id(store, id);
    if (err == OK)
        err = apply(store, file);
    store_close(store);
    if (err != OK)
        buf_put_format(why, "the store cannot be made: %s", err_text(err));
    return err;
}

static enum err must_be_free(const char *path, const char *suffix, struct buf *why)
{
    char *name = mem_new(strlen(path) + strlen(suffix) + 1);
    sprintf(name, "%s%s", path, suffix);
    bool there = access(name, F_OK) == 0;
    if (there)
        buf_put_format(why, "%s exists: nothing is restored over a store", name);
    free(name);
    return there ? ERR_EXISTS : OK;
}

/* A link, which takes nobody's place. */
static enum err give_name(const char *making, const char *path, struct buf *why)
{
    if (link(making, path) != 0) {
        buf_put_format(why, "%s: %s", path, strerror(errno));
        return ERR_IO;
    }
    enum err err = offline_sync_folder(path, why);
    if (err != OK)
        unlink(path);
    return err;
}

enum err tool_restore(const struct cli *cli, FILE *out, struct buf *why)
{
    struct config config;
    struct bytes file = {0};
    struct replica_id id;
    uint64_t records = 0;
    enum err err = cli_config(cli, &config, why);
    if (err != OK)
        return err;
    const char *path = config.server.db_path;
    char *making = mem_new(strlen(path) + sizeof ".restore"),
         *lock = mem_new(strlen(path) + sizeof ".restore-lock");
    sprintf(making, "%s.restore", path);
    sprintf(lock, "%s.restore-lock", path);
    err = must_be_free(path, "", why);
    if (err == OK)
        err = must_be_free(path, "-log", why);
    if (err == OK)
        err = map_file(cli->words[0], &file, why);
    if (err == OK)
        err = check_file(cli->words[0], file, &id, &records, why);
    if (err == OK) {
        unlink(making); /* of a restore that was interrupted */
        err = make(making, file, &id, why);
        if (err == OK)
            err = give_name(making, path, why);
        unlink(making);
        unlink(lock);
    }
    if (err == OK)
        fprintf(out, "%s: a new replica with %llu records\n", path, (unsigned long long)records);
    if (file.len)
        munmap((void *)(uintptr_t)file.data, file.len);
    free(making);
    free(lock);
    config_done(&config);
    return err;
}
