/* The small file interface: what the log needs of files, and no more. Behind it
 * stands one folder of a real file system (store/disk), or a simulated one that
 * loses, tears and reorders what was not synced.
 *
 * What is durable: the bytes of a file when `sync` has returned OK after they were
 * written; a name (created, renamed, removed) when `sync_folder` has. After a failed
 * sync nothing is known of what was written since the last good one, and no later
 * sync of that file makes it known: write it elsewhere.
 *
 * Names are plain: no slashes. One thread writes a file at a time; different files
 * may be used by different threads. */
#ifndef YZMA_STORE_DISK_H
#define YZMA_STORE_DISK_H

#include "bytes.h"
#include "err.h"

enum { DISK_NAME_MAX = 64 };

struct disk;
struct disk_file;

struct disk_ops {
    /* Calls each with every name in the folder, in no order. ERR_IO. */
    enum err (*list)(struct disk *disk, void (*each)(void *ctx, const char *name), void *ctx);
    /* A new file of `size` zero bytes that have blocks behind them and were written,
     * so that a later sync has no more to do than the bytes. Takes the place of a
     * file of that name. ERR_FULL, ERR_IO, ERR_GONE (the folder has been
     * removed): there is then no such file. */
    enum err (*create)(struct disk *disk, const char *name, uint64_t size, struct disk_file **ret);
    enum err (*open)(struct disk *disk, const char *name, struct disk_file **ret); /* ERR_NOT_FOUND, ERR_IO */
    enum err (*size)(struct disk_file *file, uint64_t *ret);
    /* *ret_n is less than n at the end of the file only. ERR_IO. */
    enum err (*read)(struct disk_file *file, uint64_t offset, void *out, size_t n, size_t *ret_n);
    /* All of it, within the file's size, or an error: a part may then be written. ERR_GONE:
     * nothing is, as the file has been removed. */
    enum err (*write)(struct disk_file *file, uint64_t offset, struct bytes bytes);
    enum err (*sync)(struct disk_file *file);
    void (*close)(struct disk_file *file);                                   /* takes NULL */
    enum err (*rename)(struct disk *disk, const char *from, const char *to); /* ERR_IO, ERR_GONE */
    enum err (*remove)(struct disk *disk, const char *name);                 /* absent is OK */
    enum err (*sync_folder)(struct disk *disk);
    void (*free)(struct disk *disk);
};

/* The first member of every disk, and of every file of it. */
struct disk {
    const struct disk_ops *ops;
};
struct disk_file {
    const struct disk_ops *ops;
};

#endif
