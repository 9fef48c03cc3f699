#include "daemon.h"

#include "check.h"
#include "daemon_state.h"
#include "disk_posix.h"
#include "engine_lmdb.h"
#include "mem.h"
#include "twin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    ENDPOINT_TEXT_MAX = 320,
    /* Works of clients are bounded by the API's connections and bodies, those of
     * peers by the links; beyond these, what is full is the disk's patience. */
    COMMIT_WORKS_MAX = 1 << 16,
    COMMIT_PEER_BYTES_MAX = 256 << 20,
    ACCEPTED_MAX = 1024,
    /* A stop may take five seconds from the signal on: requests in flight, and the goodbye
     * beside them; then, until these times, what was submitted, which is refused after,
     * and what is applied, which is replayed at the next start. The rest is short. */
    HTTP_STOP_MS = 2500,
    GOODBYE_MS = 2500,
    COMMIT_STOP_AT_MS = 3500,
    APPLY_STOP_AT_MS = 4000,
    SPARE_DESCRIPTORS = 64, /* store, log, listeners, event loops: fewer, in truth */
};

/* ---- what the parts need of the system ------------------------------------------ */

static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t monotonic_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void random_bytes(void *out, size_t n)
{
    CHECK(n <= 256); /* so much the system gives whole */
    ssize_t got;
    do
        got = getrandom(out, n, 0);
    while (got < 0 && errno == EINTR);
    CHECK(got == (ssize_t)n);
}

static void on_check_failure(const char *condition, const char *file, int line)
{
    log_error("event=bug check=%s file=%s line=%d next=\"aborts; what was acknowledged is on disk\"",
              condition, file, line);
}

static void prepare_process(const struct config *config)
{
    struct rlimit limit;
    check_on_failure(on_check_failure);
    log_set_level(config->server.log_level);
    log_set_format(config->server.log_format);
    /* Each thread that allocates would have an arena of its own, and memory freed
     * in one is of no use to the others. */
    mallopt(M_ARENA_MAX, 2);
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    uint64_t wanted = config->api.connections_max + config->api.watchers_max + ACCEPTED_MAX +
                      SPARE_DESCRIPTORS;
    if (limit.rlim_cur >= wanted)
        return;
    /* All connections and all watchers at once are rare: most of the room is as good as all of it. */
    (limit.rlim_cur >= wanted / 2 ? log_info : log_warn)(
        "event=few_descriptors limit=%llu wanted=%llu next=\"connections wait at the limit\"",
        (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
}

static char *endpoint_text(const char *host, uint16_t port, char out[ENDPOINT_TEXT_MAX])
{
    bool v6 = strchr(host, ':') != NULL;
    snprintf(out, ENDPOINT_TEXT_MAX, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port);
    return out;
}

/* ---- the store -------------------------------------------------------------------- */

/* What the log says about the last end, in the log of events. */
static void tell_of_log(const char *folder, const struct log_found *found, uint64_t ms)
{
    if (found->frames)
        log_info("event=log_replayed commits=%llu operations=%llu bytes=%llu ms=%llu",
                 (unsigned long long)found->frames, (unsigned long long)found->operations,
                 (unsigned long long)found->bytes, (unsigned long long)ms);
    if (found->cut)
        log_warn(
            "event=log_cut file=%s/%s offset=%llu next=\"a commit that was being written, and that nobody "
            "was told of, is left out\"",
            folder, found->cut_name, (unsigned long long)found->cut_offset);
    if (found->lost)
        log_warn("event=log_lost folder=%s next=\"the newest operations are missing here: goes on as a new "
                 "replica, and peers send what they have of them\"",
                 folder);
}

/* The log in front of LMDB. */
static enum err open_log(struct daemon *d, struct engine *lmdb, bool *ret_lost, struct buf *why)
{
    struct log_engine_options options = {.memory_max = d->config->server.memory_table_bytes};
    char *folder = mem_new(strlen(d->config->server.db_path) + sizeof "-log");
    struct timespec start, end;
    struct log_found found;
    sprintf(folder, "%s-log", d->config->server.db_path);
    options.where = folder;
    random_bytes(options.fresh_id, sizeof options.fresh_id);
    random_bytes(&options.random, sizeof options.random);
    clock_gettime(CLOCK_MONOTONIC, &start);
    enum err err = disk_posix_open(folder, &options.disk, why);
    if (err == OK)
        err = log_engine_open(lmdb, &options, &d->log_engine, &found, why);
    else
        lmdb->ops->close(lmdb);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (err == OK) {
        *ret_lost = found.lost;
        tell_of_log(folder, &found,
                    (uint64_t)((end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000));
    }
    free(folder);
    return err;
}

static void cannot_open(const struct daemon *d, const struct buf *problem, struct buf *why)
{
    buf_put_format(why, "cannot open the store %s: %.*s", d->config->server.db_path, (int)problem->len,
                   (const char *)problem->data);
}

/* Before anything is written to the store or its log. */
static enum err check_format(const struct daemon *d, struct engine *lmdb, struct buf *why)
{
    struct buf problem;
    buf_init(&problem, 4096);
    enum err err = store_check_format(lmdb, &problem);
    if (err != OK) {
        cannot_open(d, &problem, why);
        lmdb->ops->close(lmdb);
    }
    buf_done(&problem);
    return err;
}

static enum err open_store_on(struct daemon *d, struct store_options *options, struct buf *why)
{
    uint8_t id[REPLICA_ID_SIZE];
    bool reidentified;
    random_bytes(id, sizeof id);
    options->fresh_id = replica_id_of_random(id);
    random_bytes(&options->start_random, sizeof options->start_random);
    struct buf problem;
    buf_init(&problem, 4096);
    enum err err = store_open(d->log_engine, options, &d->store, &reidentified, &problem);
    if (err != OK)
        cannot_open(d, &problem, why);
    else if (reidentified)
        log_warn(
            "event=store_reidentified store=%s next=\"goes on as a new replica with the old one's data\"",
            d->config->server.db_path);
    buf_done(&problem);
    return err;
}

static enum err open_store(struct daemon *d, struct buf *why)
{
    const struct config *config = d->config;
    struct lmdb_options lmdb_options = {.bytes_max = config->server.store_bytes_max};
    struct engine *lmdb;
    struct buf identity;
    bool lost = false;
    buf_init(&identity, 256);
    enum err err = lmdb_engine_open(config->server.db_path, &lmdb_options, &lmdb, &identity, why);
    if (err == OK)
        err = check_format(d, lmdb, why);
    if (err == OK)
        err = open_log(d, lmdb, &lost, why);
    if (err == OK) {
        struct store_options options = {.file_identity = buf_bytes(&identity),
                                        .log_lost = lost,
                                        .wall_ms = wall_ms(),
                                        .skew_max_ms = config->peering.clock_skew_max_ms,
                                        .versions_max = config->server.versions_max,
                                        .quarantine_max = config->peering.quarantine_bytes_max};
        err = open_store_on(d, &options, why);
    }
    buf_done(&identity);
    return err;
}

static enum err take_new_id(struct daemon *d, struct replica_id *ret_old, struct replica_id *ret_new)
{
    struct snapshot *snapshot;
    uint8_t random[REPLICA_ID_SIZE];
    struct store_work *work = store_work_new(WORK_REIDENTIFY);
    enum err err = snapshot_open(d->store, &snapshot);
    if (err == OK) {
        err = twin_fill(snapshot, &work->reidentify);
        snapshot_close(snapshot);
    }
    random_bytes(random, sizeof random);
    random_bytes(&work->reidentify.start_random, sizeof work->reidentify.start_random);
    work->reidentify.new_id = replica_id_of_random(random);
    if (err == OK)
        err = store_run(d->store, wall_ms(), work);
    *ret_old = work->reidentify.old_id;
    *ret_new = work->reidentify.new_id;
    store_work_free(work);
    return err;
}

enum err daemon_reidentify(const struct config *config, struct buf *why)
{
    struct daemon d = {.config = config, .api.fd = -1};
    struct replica_id old, new;
    char old_text[REPLICA_ID_TEXT], new_text[REPLICA_ID_TEXT];
    check_on_failure(on_check_failure);
    enum err err = open_store(&d, why);
    if (err == OK) {
        err = take_new_id(&d, &old, &new);
        if (err != OK)
            buf_put_format(why, "cannot change the store %s: %s", config->server.db_path, err_text(err));
    }
    if (d.store)
        store_close(d.store);
    if (err == OK)
        printf("%s was replica %s and is replica %s\n", config->server.db_path,
               replica_id_text(&old, old_text), replica_id_text(&new, new_text));
    return err;
}

/* From the applier's thread. */
static void on_apply_trouble(void *ctx, enum err err)
{
    (void)ctx;
    if (err == OK)
        log_info("event=apply_goes_on");
    else
        log_error(
            "event=apply_failed reason=%s next=\"what was acknowledged is in the log; tries again every "
            "second\"",
            err_text(err));
}

/* From the applier's thread. */
static void on_chunk(void *ctx)
{
    struct daemon *d = ctx;
    struct committer *committer = atomic_load(&d->committer);
    if (committer)
        committer_look_again(committer);
}

static void start_applier(struct daemon *d)
{
    struct applier_options options = {.on_trouble = on_apply_trouble, .on_chunk = on_chunk, .ctx = d};
    d->applier = applier_new(d->log_engine, &options);
}

/* From the committer's thread. */
static bool has_room(void *ctx)
{
    struct daemon *d = ctx;
    return !log_engine_crowded(d->log_engine);
}

/* From the committer's thread, after each commit. */
static void on_visible(void *ctx)
{
    struct daemon *d = ctx;
    cluster_store_visible(d->cluster);
}

static void on_commit(void *ctx)
{
    struct daemon *d = ctx;
    cluster_store_changed(d->cluster);
    struct http *http = atomic_load(&d->http);
    if (http)
        http_on_commit(http);
}

/* From the cluster thread. */
static void on_replicas(void *ctx)
{
    struct daemon *d = ctx;
    struct http *http = atomic_load(&d->http);
    if (http)
        http_on_replicas(http);
}

static void on_trouble(void *ctx, enum err err)
{
    (void)ctx;
    if (err == OK)
        log_info("event=store_takes_writes");
    else if (err == ERR_FULL)
        log_error(
            "event=store_full next=\"writes get 503, reads and deletes go on; goes on by itself with room\"");
    else if (err == ERR_GONE)
        log_error(
            "event=store_removed next=\"writes get 503; what it still holds can be read, backed up and sent "
            "to peers until the node stops\"");
    else
        log_error("event=store_failed reason=%s next=\"writes get 503; tries again every second\"",
                  err_text(err));
}

static void start_committer(struct daemon *d)
{
    struct committer_options options = {.works_max = COMMIT_WORKS_MAX,
                                        .bytes_max = d->config->api.bodies_bytes_max + COMMIT_PEER_BYTES_MAX,
                                        .wall_ms = wall_ms,
                                        .has_room = has_room,
                                        .on_visible = on_visible,
                                        .on_commit = on_commit,
                                        .on_trouble = on_trouble,
                                        .ctx = d};
    d->committer = committer_new(d->store, &options);
}

/* ---- the cluster ------------------------------------------------------------------ */

static enum err bind_cluster(struct daemon *d, struct buf *why)
{
    const struct config *config = d->config;
    struct cluster_options options = {.bind_address = config->peering.bind_address,
                                      .gossip_port = config->peering.bind_port,
                                      .replication_port = (uint16_t)config->peering.replication_port,
                                      .accepted_max = ACCEPTED_MAX,
                                      .log = log_notice,
                                      .on_replicas = on_replicas,
                                      .ctx = d};
    return cluster_open(&options, &d->cluster, why);
}

static struct addr advertised(const struct config *config)
{
    struct addr addr = {.port = config->peering.advertise_port};
    if (inet_pton(AF_INET, config->peering.advertise_address, addr.ip) == 1)
        addr.len = 4;
    else if (inet_pton(AF_INET6, config->peering.advertise_address, addr.ip) == 1)
        addr.len = 16;
    CHECK(addr.len > 0); /* the configuration takes addresses only */
    return addr;
}

static enum err start_cluster(struct daemon *d, bool rejoin, struct buf *why)
{
    static const struct swim_profile *const profiles[] = {
        [PROFILE_LAN] = &swim_profile_lan,
        [PROFILE_WAN] = &swim_profile_wan,
        [PROFILE_LOCAL] = &swim_profile_local,
    };
    const struct config *config = d->config;
    const struct config_endpoint *ingress = &config->peering.federation.api_ingress;
    const uint8_t *delegate = config->peering.delegate_version;
    char ingress_text[ENDPOINT_TEXT_MAX];
    struct node_config node = {
        .name = config->peering.name,
        .federation_name = config->peering.federation.node_name,
        .ingress = endpoint_text(ingress->host,
                                 ingress->port ? ingress->port : cluster_replication_port(d->cluster),
                                 ingress_text),
        .advertise = advertised(config),
        .profile = profiles[config->peering.profile],
        .join = (const char *const *)config->peering.join.texts,
        .join_count = config->peering.join.count,
        .rejoin = rejoin,
        .block = (const char *const *)config->peering.block.texts,
        .block_count = config->peering.block.count,
        .forget_after_ms = config->peering.forget_after_ms,
        .history_ms = config->server.history_ms,
        .history_max_bytes = config->server.history_bytes_max,
        .clock_skew_max_ms = config->peering.clock_skew_max_ms,
        .label = config->peering.label,
        .takes_unsealed = !config->peering.verify_incoming,
        .sends_unsealed = !config->peering.verify_outgoing,
        .vsn = {1, 5, (uint8_t)config->peering.protocol_version, delegate[0], delegate[1], delegate[2]},
        .compression = config->peering.compression,
        .world_counters = daemon_counters,
        .world_ctx = d,
    };
    struct daemon_keys keys;
    daemon_keys_read(&keys, config);
    node.keys = keys.list;
    node.key_count = keys.count;
    random_bytes(node.rng.s, sizeof node.rng.s);
    random_bytes(node.nonce_key, sizeof node.nonce_key);
    enum err err = cluster_start(d->cluster, &node, d->store, d->committer);
    daemon_keys_done(&keys);
    if (err != OK)
        buf_put_format(why, "cannot read the store %s: %s", config->server.db_path, err_text(err));
    return err;
}

/* ---- the API ---------------------------------------------------------------------- */

static enum err submit(void *ctx, struct store_work *work)
{
    struct daemon *d = ctx;
    return committer_submit(d->committer, work);
}

static enum err request(void *ctx, enum node_request request, const char *const *names, size_t name_count,
                        void (*done)(void *done_ctx, struct node_reply *reply), void *done_ctx)
{
    struct daemon *d = ctx;
    return cluster_request(d->cluster, request, names, name_count, done, done_ctx);
}

static uint64_t backend_wall_ms(void *ctx)
{
    return wall_ms();
}

static void backend_replicas(void *ctx, const struct dot *dot, unsigned *ret_known, unsigned *ret_having)
{
    struct daemon *d = ctx;
    cluster_replicas(d->cluster, dot, ret_known, ret_having);
}

static void backend_log(void *ctx, enum notice_level level, const char *line)
{
    log_notice(level, bytes_str(line));
}

static enum err listen_api(struct daemon *d, struct buf *why)
{
    char bind[ENDPOINT_TEXT_MAX];
    const struct config_endpoint *endpoint = &d->config->api.bind;
    return listener_open(endpoint_text(endpoint->host, endpoint->port, bind), &d->api, why);
}

static enum err start_api(struct daemon *d, struct buf *why)
{
    const struct config *config = d->config;
    char bind[ENDPOINT_TEXT_MAX];
    struct http_options options = {
        .bind = endpoint_text(config->api.bind.host, config->api.bind.port, bind),
        .listener = &d->api,
        .threads = (unsigned)config->api.threads,
        .connections_max = (unsigned)config->api.connections_max,
        .value_max = config->api.value_bytes_max,
        .bodies_max = config->api.bodies_bytes_max,
        .request_timeout_ms = config->api.request_timeout_ms,
        .watchers_max = (unsigned)config->api.watchers_max,
        .watch_heartbeat_ms = config->api.watch_heartbeat_ms,
        .watch_lag_max = config->api.watch_lag_max,
        .slow_request_ms = config->server.slow_request_ms,
        .siblings = config->server.conflict == CONFLICT_SIBLINGS,
        .allowed_origins = (const char *const *)config->api.allowed_origins.texts,
        .allowed_origin_count = config->api.allowed_origins.count,
    };
    struct http_backend backend = {.ctx = d,
                                   .store = d->store,
                                   .submit = submit,
                                   .request = request,
                                   .wall_ms = backend_wall_ms,
                                   .backup = daemon_backup,
                                   .replicas = backend_replicas,
                                   .log = backend_log};
    struct http *http;
    enum err err = http_start(&options, &backend, &http, why);
    d->api.fd = -1;
    if (err != OK)
        return err;
    atomic_store(&d->http, http);
    http_serve(http);
    return OK;
}

/* ---- start and stop --------------------------------------------------------------- */

/* All ports first: they are what is most often in the way, and the store is
 * written to by its mere opening. */
static enum err start(struct daemon *d, bool rejoin, struct buf *why)
{
    enum err err = listen_api(d, why);
    if (err == OK)
        err = bind_cluster(d, why);
    if (err == OK)
        err = open_store(d, why);
    if (err != OK)
        return err;
    start_applier(d);
    start_committer(d);
    err = start_cluster(d, rejoin, why);
    if (err == OK)
        err = start_api(d, why);
    return err;
}

static void on_goodbye(void *ctx, struct node_reply *reply)
{
    struct goodbye *goodbye = ctx;
    node_reply_free(reply);
    pthread_mutex_lock(&goodbye->lock);
    goodbye->done = true;
    pthread_cond_signal(&goodbye->told);
    pthread_mutex_unlock(&goodbye->lock);
}

static void wait_goodbye(struct goodbye *goodbye, const struct timespec *until)
{
    pthread_mutex_lock(&goodbye->lock);
    while (!goodbye->done &&
           pthread_cond_clockwait(&goodbye->told, &goodbye->lock, CLOCK_MONOTONIC, until) == 0)
        ;
    pthread_mutex_unlock(&goodbye->lock);
}

/* Answers what is in flight, while the goodbye spreads. */
static void quiesce(struct daemon *d)
{
    struct timespec until;
    struct http *http = atomic_load(&d->http);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += GOODBYE_MS / 1000;
    http_quiesce(http);
    bool asked = cluster_request(d->cluster, NODE_REQUEST_SHUTDOWN, NULL, 0, on_goodbye, &d->goodbye) == OK;
    http_stop(http, HTTP_STOP_MS);
    if (asked)
        wait_goodbye(&d->goodbye, &until);
}

/* Of what has been started, whatever it is; since then it is stopping. True when all of
 * it ended. */
static bool stop(struct daemon *d, uint64_t since_ms)
{
    struct http *http = atomic_load(&d->http);
    if (d->applier)
        applier_hurry(d->applier);
    if (d->committer)
        committer_stop(d->committer, since_ms + COMMIT_STOP_AT_MS);
    if (d->applier)
        applier_stop(d->applier, since_ms + APPLY_STOP_AT_MS);
    bool ended = !d->cluster || cluster_stop(d->cluster);
    http_free(http); /* all that it asked for has come back now */
    cluster_free(d->cluster);
    committer_free(d->committer);
    applier_free(d->applier);
    if (d->store)
        store_close(d->store);
    if (d->api.fd >= 0)
        close(d->api.fd);
    return ended;
}

static void log_ready(struct daemon *d)
{
    const struct config *config = d->config;
    const char *bind = config->peering.bind_address, *api = http_address(atomic_load(&d->http));
    char url[ENDPOINT_TEXT_MAX + 32], gossip[ENDPOINT_TEXT_MAX], replication[ENDPOINT_TEXT_MAX];
    char uuid[REPLICA_ID_TEXT] = "";
    struct snapshot *snapshot;
    struct identity identity = {0};
    if (snapshot_open(d->store, &snapshot) == OK) {
        if (snapshot_identity(snapshot, &identity) == OK) {
            replica_id_text(&identity.id, uuid);
            identity_done(&identity);
        }
        snapshot_close(snapshot);
    }
    char *path = realpath(config->server.db_path, NULL);
    snprintf(url, sizeof url, "http://%s%s", api[0] == ':' ? "0.0.0.0" : "", api);
    log_info("event=ready api=%s store=%s gossip=%s replication=%s name=%s replica=%s version=%s", url,
             path ? path : config->server.db_path,
             endpoint_text(bind, cluster_gossip_port(d->cluster), gossip),
             endpoint_text(bind, cluster_replication_port(d->cluster), replication), config->peering.name,
             uuid, YZMA_VERSION);
    free(path);
}

/* Returns the signal that ends the node. The signals are blocked, in all threads. */
static int serve(struct daemon *d, const struct cli *cli, const sigset_t *signals)
{
    for (;;) {
        int number = sigwaitinfo(signals, NULL);
        if (number == SIGHUP)
            daemon_reload(d, cli);
        else if (number > 0)
            return number;
    }
}

enum err daemon_run(const struct cli *cli, const struct config *config, struct buf *why)
{
    struct daemon d = {.config = config,
                       .api.fd = -1,
                       .goodbye = {.lock = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER}};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    prepare_process(config);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    enum err err = start(&d, cli->join.count > 0, why);
    uint64_t since_ms = monotonic_ms();
    if (err == OK) {
        log_ready(&d);
        int number = serve(&d, cli, &signals);
        since_ms = monotonic_ms();
        log_info("event=stopping signal=%s", number == SIGINT ? "INT" : "TERM");
        quiesce(&d);
    }
    bool ended = stop(&d, since_ms);
    if (err == OK)
        log_info("event=stopped");
    if (err == OK && !ended)
        _exit(EXIT_CODE_OK); /* a thread of the system's resolver lives: exit() would wait for it */
    return err;
}
