/* The inside of the daemon, shared by its files: no one else includes it. */
#ifndef YZMA_APP_DAEMON_STATE_H
#define YZMA_APP_DAEMON_STATE_H

#include "applier.h"
#include "cli.h"
#include "cluster.h"
#include "http.h"

#include <pthread.h>
#include <stdatomic.h>

/* The cluster has been told that this node goes. */
struct goodbye {
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool done;
};

struct daemon {
    const struct config *config;
    struct listener api; /* until http has it */
    struct cluster *cluster;
    struct store *store;
    struct engine *log_engine; /* the store's */
    struct applier *applier;
    _Atomic(struct committer *) committer; /* the applier runs before it does */
    _Atomic(struct http *) http;           /* the cluster and the committer run before it does */
    struct goodbye goodbye;
};

/* The bytes of Peering.Keys. */
struct daemon_keys {
    struct buf bytes[KEYS_MAX];
    struct bytes list[KEYS_MAX];
    size_t count;
};
void daemon_keys_read(struct daemon_keys *keys, const struct config *config);
void daemon_keys_done(struct daemon_keys *keys); /* wipes */

/* daemon_counters.c: for node_config.world_counters; ctx is the daemon. */
void daemon_counters(void *ctx, void (*each)(void *each_ctx, const char *name, uint64_t value),
                     void *each_ctx);

/* daemon_backup.c: for http_backend.backup; ctx is the daemon. */
enum err daemon_backup(void *ctx, const struct backup_ask *ask, struct buf *out);

/* daemon_reload.c: reads the configuration again; what can change in a running
 * node does, and the log tells what a restart would change. */
void daemon_reload(struct daemon *d, const struct cli *cli);

#endif
