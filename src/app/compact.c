/* yzma compact: the store's file is written anew, in key order and without the pages
 * that became free.
 *
 * First all that the log holds is brought into the old file. Then a new file beside it is
 * filled with every entry of it, the log's place among them, so that the log fits
 * either of them. The store knows its file by inode and birth time: the new file is
 * told its own, in the same transaction that makes it whole, before it takes the old one's
 * name. So at any moment the name stands for one whole store, which knows its file, and
 * the other one is unlinked or never had the name: no two of them can be started. The old
 * file stays locked until then. */
#include "tools.h"

#include "engine_lmdb.h"
#include "keys.h"
#include "mem.h"
#include "offline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    COPY_BYTES = 4 << 20, /* in one transaction: its dirty pages are in memory */
    AHEAD = 1 << 20,      /* room that is asked for at a time */
};

struct copy {
    struct engine *from, *to;
    struct engine_txn *read, *write;
    size_t bytes, promised; /* of the transaction */
};

static enum err begin(struct copy *c)
{
    enum err err = c->to->ops->write_begin(c->to, &c->write);
    c->bytes = c->promised = 0;
    if (err == OK)
        c->to->ops->use_reserve(c->write, true);
    return err;
}

/* Room for what is put next. A put that finds its own takes a page for each entry, as keys come in
 * any order elsewhere; in order they fill the pages, half of each at the least. */
static enum err see_to_room(struct copy *c, size_t more)
{
    c->bytes += more;
    if (2 * c->bytes <= c->promised)
        return OK;
    c->promised = 2 * c->bytes + AHEAD;
    return c->to->ops->promise(c->to, c->promised);
}

static enum err commit_some(struct copy *c)
{
    if (c->bytes < COPY_BYTES)
        return OK;
    enum err err = c->to->ops->commit(c->write);
    c->write = NULL;
    return err == OK ? begin(c) : err;
}

static enum err copy_table(struct copy *c, enum table table)
{
    struct engine_cursor *cursor;
    struct bytes key, value;
    enum err err = c->from->ops->cursor_open(c->read, table, &cursor);
    if (err != OK)
        return err;
    err = c->from->ops->cursor_seek(cursor, bytes_of("", 0), &key, &value);
    while (err == OK) {
        err = see_to_room(c, key.len + value.len);
        if (err == OK)
            err = c->to->ops->put(c->write, table, key, value);
        if (err == OK)
            err = commit_some(c);
        if (err == OK)
            err = c->from->ops->cursor_next(cursor, &key, &value);
    }
    c->from->ops->cursor_close(cursor);
    return err == ERR_NOT_FOUND ? OK : err;
}

/* META last: without it the new file is no store. */
static enum err copy_all(struct engine *from, struct engine *to, struct bytes identity)
{
    static const enum table order[] = {TABLE_RECORDS, TABLE_ROWS, TABLE_CLOCKS, TABLE_FRONT, TABLE_META};
    struct copy c = {.from = from, .to = to};
    enum err err = from->ops->read_begin(from, &c.read);
    if (err != OK)
        return err;
    err = begin(&c);
    for (size_t i = 0; i < sizeof order / sizeof *order && err == OK; i++)
        err = copy_table(&c, order[i]);
    if (err == OK)
        err = to->ops->put(c.write, TABLE_META, bytes_str(META_FILE), identity);
    if (err == OK)
        err = to->ops->commit(c.write);
    else if (c.write)
        to->ops->end(c.write);
    from->ops->end(c.read);
    return err;
}

static uint64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

/* Where only the sync fails the name stands for the new file or, after a power cut, for the old
 * one: both are whole, and the log fits either. */
static enum err rename_durably(const char *from, const char *to, struct buf *why)
{
    if (rename(from, to) == 0)
        return offline_sync_folder(to, why);
    buf_put_format(why, "%s: %s", to, strerror(errno));
    return ERR_IO;
}

/* With the old file open, and so locked, until the new one has its name. */
static enum err rewrite(const char *path, const char *making, struct buf *why)
{
    struct lmdb_options options = {0};
    struct engine *from, *to;
    struct buf old_identity, identity;
    buf_init(&old_identity, 256);
    buf_init(&identity, 256);
    enum err err = lmdb_engine_open(path, &options, &from, &old_identity, why);
    if (err == OK) {
        err = lmdb_engine_open(making, &options, &to, &identity, why);
        if (err == OK) {
            err = copy_all(from, to, buf_bytes(&identity));
            to->ops->close(to);
            if (err != OK)
                buf_put_format(why, "%s: %s", making, err_text(err));
        }
        if (err == OK)
            err = rename_durably(making, path, why);
        from->ops->close(from);
    }
    buf_done(&old_identity);
    buf_done(&identity);
    return err;
}

/* Is it the file that the store knows? One that is not takes a new id at its next start,
 * which must not be hidden from it. */
static enum err check_identity(const struct config *config, struct buf *why)
{
    struct lmdb_options options = {0};
    struct engine *engine;
    struct engine_txn *txn;
    struct buf identity;
    struct bytes known;
    buf_init(&identity, 256);
    enum err err = lmdb_engine_open(config->server.db_path, &options, &engine, &identity, why);
    if (err == OK) {
        err = engine->ops->read_begin(engine, &txn);
        if (err == OK) {
            err = engine->ops->get(txn, TABLE_META, bytes_str(META_FILE), &known);
            if (err != OK || !bytes_equal(known, buf_bytes(&identity))) {
                buf_put_format(why,
                               "%s is not the file that it was (copied or restored): start the node first, "
                               "which goes on as a new replica",
                               config->server.db_path);
                err = ERR_REFUSED;
            }
            engine->ops->end(txn);
        }
        engine->ops->close(engine);
    }
    buf_done(&identity);
    return err;
}

enum err tool_compact(const struct cli *cli, FILE *out, struct buf *why)
{
    struct config config;
    struct engine *engine;
    enum err err = cli_config(cli, &config, why);
    if (err != OK)
        return err;
    const char *path = config.server.db_path;
    char *making = mem_new(strlen(path) + sizeof ".compact"),
         *lock = mem_new(strlen(path) + sizeof ".compact-lock");
    sprintf(making, "%s.compact", path);
    sprintf(lock, "%s.compact-lock", path);
    uint64_t before = size_of(path);
    err = offline_open(&config, &engine, why);
    if (err == OK) {
        err = offline_apply(engine, why);
        offline_close(engine);
    }
    if (err == OK)
        err = check_identity(&config, why);
    if (err == OK) {
        unlink(making); /* of a run that was interrupted */
        err = rewrite(path, making, why);
        unlink(making);
        unlink(lock);
    }
    if (err == OK)
        fprintf(out, "%s: %llu bytes, before %llu\n", path, (unsigned long long)size_of(path),
                (unsigned long long)before);
    free(making);
    free(lock);
    config_done(&config);
    return err;
}
