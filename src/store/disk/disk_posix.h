/* A folder of the file system as a struct disk (store/log/disk.h). */
#ifndef YZMA_STORE_DISK_POSIX_H
#define YZMA_STORE_DISK_POSIX_H

#include "buf.h"
#include "disk.h"

/* Makes the folder where there is none, and syncs its parent in any case: the names in
 * it are durable then. ERR_FULL, ERR_IO, with one line in why. */
enum err disk_posix_open(const char *path, struct disk **ret, struct buf *why) MUST_USE;

#endif
