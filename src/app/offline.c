#include "offline.h"

#include "check.h"
#include "disk_posix.h"
#include "engine_lmdb.h"
#include "log_engine.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

void offline_random(void *out, size_t n)
{
    CHECK(n <= 256); /* so much the system gives whole */
    ssize_t got;
    do
        got = getrandom(out, n, 0);
    while (got < 0 && errno == EINTR);
    CHECK(got == (ssize_t)n);
}

enum err offline_open(const struct config *config, struct engine **ret, struct buf *why)
{
    const char *path = config->server.db_path;
    struct lmdb_options lmdb_options = {.bytes_max = config->server.store_bytes_max};
    struct log_engine_options options = {.memory_max = config->server.memory_table_bytes};
    struct engine *lmdb, *engine = NULL;
    struct log_found found;
    struct buf identity;
    if (access(path, F_OK) != 0) {
        buf_put_format(why, "%s: %s", path, strerror(errno));
        return ERR_NOT_FOUND;
    }
    char *folder = mem_new(strlen(path) + sizeof "-log");
    sprintf(folder, "%s-log", path);
    options.where = folder;
    offline_random(options.fresh_id, sizeof options.fresh_id);
    offline_random(&options.random, sizeof options.random);
    buf_init(&identity, 256);
    enum err err = lmdb_engine_open(path, &lmdb_options, &lmdb, &identity, why);
    if (err == OK) {
        err = disk_posix_open(folder, &options.disk, why);
        if (err == OK)
            err = log_engine_open(lmdb, &options, &engine, &found, why);
        else
            lmdb->ops->close(lmdb);
    }
    if (err == OK && found.lost) {
        buf_put_format(why,
                       "%s: the log is missing or older than the store; start the node, which goes on as "
                       "a new replica",
                       folder);
        engine->ops->close(engine);
        err = ERR_DAMAGED;
    }
    buf_done(&identity);
    free(folder);
    if (err == OK)
        *ret = engine;
    return err;
}

enum err offline_apply(struct engine *engine, struct buf *why)
{
    for (;;) {
        enum err err = log_engine_apply(engine);
        if (err == ERR_NOT_FOUND && !log_engine_freeze(engine))
            return OK;
        if (err != OK && err != ERR_NOT_FOUND) {
            buf_put_format(why, "the log cannot be applied: %s", err_text(err));
            return err;
        }
    }
}

void offline_close(struct engine *engine)
{
    if (engine)
        engine->ops->close(engine);
}

enum err offline_sync_folder(const char *path, struct buf *why)
{
    char *folder = mem_text(path), *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (!good)
        buf_put_format(why, "%s: its name may not outlast a power cut: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    free(folder);
    return good ? OK : ERR_IO;
}
