/* A store opened without a node, by commands. */
#ifndef YZMA_APP_OFFLINE_H
#define YZMA_APP_OFFLINE_H

#include "cli.h"
#include "store.h"

/* Opens the file and its log as a node would; what the log holds is seen through the
 * engine. A store that is not there is ERR_NOT_FOUND and not made; ERR_LOCKED where a
 * node has it. A log that is lost is ERR_DAMAGED: only a node's start deals with it. */
enum err offline_open(const struct config *config, struct engine **ret, struct buf *why) MUST_USE;
/* Brings all that the log holds into the file. */
enum err offline_apply(struct engine *engine, struct buf *why) MUST_USE;
void offline_close(struct engine *engine);

void offline_random(void *out, size_t n);
/* Names given or taken in the folder of this file are durable after it. ERR_IO. */
enum err offline_sync_folder(const char *path, struct buf *why) MUST_USE;

#endif
