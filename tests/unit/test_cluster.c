/* The cluster thread: whole nodes on loopback sockets, in one process, each with a
 * store on LMDB, a committer and a thread of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "check.h"
#include "cluster.h"
#include "engine_lmdb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 20, WHY_MAX = 1000 };

/* Whatever a test waits for is looked at again at each change. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void tell_visible(void *ctx)
{
    struct cluster **cluster = ctx;
    if (cluster)
        cluster_store_visible(*cluster);
}

static void tell_changed(void *ctx)
{
    struct cluster **cluster = ctx;
    if (cluster)
        cluster_store_changed(*cluster);
    pthread_mutex_lock(&lock);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static bool wait_until(bool (*condition)(void *ctx), void *ctx)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += PATIENCE_S;
    int rc = 0;
    pthread_mutex_lock(&lock);
    while (rc == 0 && !condition(ctx))
        rc = pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &end);
    pthread_mutex_unlock(&lock);
    return rc == 0;
}

/* ---- a site: a node with all that it stands on ------------------------------- */

struct site {
    char folder[64], path[96], gossip[64];
    struct store *store;
    struct committer *committer;
    struct cluster *cluster;
};

static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void drop_log(enum notice_level level, struct bytes line)
{
}

static const struct cluster_options usual = {
    .bind_address = "127.0.0.1", .accepted_max = 100, .log = drop_log};

static void open_store(struct site *site)
{
    struct engine *engine;
    struct buf identity, why;
    struct store_options options = {.wall_ms = wall_ms(), .skew_max_ms = 60000, .versions_max = 64};
    uint8_t random[REPLICA_ID_SIZE];
    bool reidentified;
    buf_init(&identity, 256);
    buf_init(&why, WHY_MAX);
    strcpy(site->folder, "/tmp/yzma-cluster-XXXXXX");
    assert_non_null(mkdtemp(site->folder));
    snprintf(site->path, sizeof site->path, "%s/yzma.db", site->folder);
    assert_int_equal(getrandom(random, sizeof random, 0), sizeof random);
    options.fresh_id = replica_id_of_random(random);
    assert_int_equal(lmdb_engine_open(site->path, &(struct lmdb_options){0}, &engine, &identity, &why), OK);
    assert_int_equal(store_open(engine, &options, &site->store, &reidentified, &why), OK);
    buf_done(&identity);
    buf_done(&why);
}

/* Joins the other site, if there is one. */
static void site_start(struct site *site, const char *name, const struct cluster_options *options,
                       const struct site *other)
{
    struct buf why;
    char ingress[64];
    const char *join[] = {other ? other->gossip : NULL};
    buf_init(&why, WHY_MAX);
    open_store(site);
    assert_int_equal(cluster_open(options, &site->cluster, &why), OK);
    struct committer_options committing = {.works_max = 1000,
                                           .bytes_max = 64 << 20,
                                           .wall_ms = wall_ms,
                                           .on_visible = tell_visible,
                                           .on_commit = tell_changed,
                                           .ctx = &site->cluster};
    site->committer = committer_new(site->store, &committing);
    snprintf(site->gossip, sizeof site->gossip, "127.0.0.1:%u", cluster_gossip_port(site->cluster));
    snprintf(ingress, sizeof ingress, "127.0.0.1:%u", cluster_replication_port(site->cluster));
    struct node_config config = {
        .name = name,
        .federation_name = name,
        .ingress = ingress,
        .advertise = {.ip = {127, 0, 0, 1}, .len = 4, .port = cluster_gossip_port(site->cluster)},
        .profile = &swim_profile_local,
        .join = join,
        .join_count = other ? 1 : 0,
        .forget_after_ms = 3600000,
        .history_ms = 3600000,
        .history_max_bytes = 1 << 30,
    };
    rng_init(&config.rng, cluster_gossip_port(site->cluster));
    assert_int_equal(cluster_start(site->cluster, &config, site->store, site->committer), OK);
}

static void site_stop(struct site *site)
{
    char lock_path[128];
    committer_stop(site->committer, UINT64_MAX);
    assert_true(cluster_stop(site->cluster));
    cluster_free(site->cluster);
    committer_free(site->committer);
    store_close(site->store);
    snprintf(lock_path, sizeof lock_path, "%s-lock", site->path);
    unlink(site->path);
    unlink(lock_path);
    rmdir(site->folder);
}

/* ---- writing and reading --------------------------------------------------------- */

static void on_written(struct store_work *work)
{
    pthread_mutex_lock(&lock);
    *(bool *)work->ctx = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static bool is_set(void *ctx)
{
    return *(bool *)ctx;
}

static void put(struct site *site, const char *key, struct bytes value)
{
    bool written = false;
    struct store_work *work = store_work_new(WORK_WRITE);
    work->write.key = bytes_str(key);
    work->write.value = value;
    work->done = on_written;
    work->ctx = &written;
    assert_int_equal(committer_submit(site->committer, work), OK);
    assert_true(wait_until(is_set, &written));
    assert_int_equal(work->err, OK);
    store_work_free(work);
}

struct held {
    struct site *site;
    const char *key;
    struct bytes value;
};

static bool is_held(void *ctx)
{
    const struct held *held = ctx;
    struct snapshot *snapshot;
    struct record record = {0};
    CHECK(snapshot_open(held->site->store, &snapshot) == OK);
    bool equal = snapshot_record(snapshot, bytes_str(held->key), &record) == OK && record.count == 1 &&
                 bytes_equal(record.versions[0].value, held->value);
    record_done(&record);
    snapshot_close(snapshot);
    return equal;
}

/* ---- requests ----------------------------------------------------------------------- */

struct answer {
    bool done;
    struct node_reply *reply;
};

static void on_reply(void *ctx, struct node_reply *reply)
{
    struct answer *answer = ctx;
    pthread_mutex_lock(&lock);
    answer->done = true;
    answer->reply = reply;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static bool is_answered(void *ctx)
{
    return ((struct answer *)ctx)->done;
}

static struct node_reply *ask(struct site *site, enum node_request request)
{
    struct answer answer = {0};
    assert_int_equal(cluster_request(site->cluster, request, NULL, 0, on_reply, &answer), OK);
    assert_true(wait_until(is_answered, &answer));
    return answer.reply;
}

struct wanted {
    const char *name;
    uint64_t value;
};

static void look_for(void *ctx, const char *name, uint64_t value)
{
    struct wanted *wanted = ctx;
    if (strcmp(name, wanted->name) == 0)
        wanted->value = value;
}

static uint64_t net_counter(const struct site *site, const char *name)
{
    struct wanted wanted = {.name = name, .value = UINT64_MAX};
    cluster_counters(site->cluster, look_for, &wanted);
    assert_true(wanted.value != UINT64_MAX); /* there is one of that name */
    return wanted.value;
}

/* A counter of the node's, from its status. */
static uint64_t node_counter(struct site *site, const char *name)
{
    char field[64];
    struct node_reply *reply = ask(site, NODE_REQUEST_STATUS);
    snprintf(field, sizeof field, "\"%s\":", name);
    const uint8_t *at = memmem(reply->data.data, reply->data.len, field, strlen(field));
    assert_non_null(at);
    uint64_t value = strtoull((const char *)at + strlen(field), NULL, 10);
    node_reply_free(reply);
    return value;
}

/* ---- plain sockets that are no peers -------------------------------------------------- */

static int connect_to(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Reads to the end of the stream: 0 for a proper end, else the errno. */
static int read_to_end(int fd)
{
    char bytes[4096];
    ssize_t n;
    do
        n = recv(fd, bytes, sizeof bytes, 0);
    while (n > 0);
    return n == 0 ? 0 : errno;
}

static void send_datagram(uint16_t port, struct bytes bytes)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    assert_int_equal(sendto(fd, bytes.data, bytes.len, 0, (struct sockaddr *)&to, sizeof to), bytes.len);
    close(fd);
}

/* ---- tests ------------------------------------------------------------------------------ */

/* Two nodes find each other by -j, and each gets what the other writes. */
static void two_nodes_replicate(void **state)
{
    struct site pacha, kronk;
    site_start(&pacha, "pacha", &usual, NULL);
    site_start(&kronk, "kronk", &usual, &pacha);

    put(&pacha, "of-pacha", bytes_str("1"));
    put(&kronk, "of-kronk", bytes_str("2"));

    assert_true(wait_until(is_held, &(struct held){&kronk, "of-pacha", bytes_str("1")}));
    assert_true(wait_until(is_held, &(struct held){&pacha, "of-kronk", bytes_str("2")}));
    site_stop(&kronk);
    site_stop(&pacha);
}

/* A value larger than all buffers on the way arrives whole. */
static void large_values_replicate(void **state)
{
    enum { LARGE = 8 << 20 };
    struct site pacha, kronk;
    struct rng rng;
    uint64_t *value = malloc(LARGE);
    rng_init(&rng, 1);
    for (size_t i = 0; i < LARGE / sizeof *value; i++)
        value[i] = rng_next(&rng);
    site_start(&pacha, "pacha", &usual, NULL);
    site_start(&kronk, "kronk", &usual, &pacha);

    put(&pacha, "large", bytes_of(value, LARGE));

    assert_true(wait_until(is_held, &(struct held){&kronk, "large", bytes_of(value, LARGE)}));
    site_stop(&kronk);
    site_stop(&pacha);
    free(value);
}

/* What is no gossip and no frame is counted, its stream ends properly (not by a
 * reset, whatever was left unread), and the node goes on. */
static void garbage_is_dropped_and_counted(void **state)
{
    enum { MUCH = 1 << 20 };
    struct site pacha;
    char *much = malloc(MUCH);
    memset(much, 0xee, MUCH);
    site_start(&pacha, "pacha", &usual, NULL);

    const uint16_t ports[] = {cluster_gossip_port(pacha.cluster), cluster_replication_port(pacha.cluster)};
    for (size_t i = 0; i < 2; i++) {
        int fd = connect_to(ports[i]);
        assert_int_equal(send(fd, much, MUCH, MSG_NOSIGNAL), MUCH);
        assert_int_equal(read_to_end(fd), 0);
        close(fd);
    }
    send_datagram(ports[0], bytes_of(much, 1000));
    send_datagram(ports[0], bytes_of(much, 60000));
    send_datagram(ports[0], bytes_of(much, 1));

    while (net_counter(&pacha, "net_datagrams_received") < 3)
        node_reply_free(ask(&pacha, NODE_REQUEST_READY)); /* a turn of its loop */
    assert_int_equal(node_counter(&pacha, "swim_messages_unknown_type"), 3);
    assert_int_equal(node_counter(&pacha, "swim_streams_unknown_type"), 1);
    assert_int_equal(net_counter(&pacha, "net_connections_accepted"), 2);
    put(&pacha, "k", bytes_str("1"));
    site_stop(&pacha);
    free(much);
}

/* Connections beyond the limit are closed at once; those below it stay. */
static void connections_are_bounded(void **state)
{
    struct cluster_options options = usual;
    options.accepted_max = 2;
    struct site pacha;
    site_start(&pacha, "pacha", &options, NULL);

    int kept[2], over;
    for (size_t i = 0; i < 2; i++)
        kept[i] = connect_to(cluster_gossip_port(pacha.cluster));
    over = connect_to(cluster_gossip_port(pacha.cluster));

    assert_int_equal(read_to_end(over), 0);
    assert_int_equal(net_counter(&pacha, "net_connections_refused"), 1);
    assert_int_equal(net_counter(&pacha, "net_connections_accepted"), 2);
    char byte;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(recv(kept[i], &byte, 1, MSG_DONTWAIT), -1);
        assert_int_equal(errno, EAGAIN);
        close(kept[i]);
    }
    close(over);
    site_stop(&pacha);
}

static void is_refused(const struct cluster_options *options, const char *reason)
{
    struct cluster *cluster;
    struct buf why;
    buf_init(&why, WHY_MAX);
    assert_int_equal(cluster_open(options, &cluster, &why), ERR_IO);
    buf_put_u8(&why, '\0');
    assert_string_equal((const char *)why.data, reason);
    buf_done(&why);
}

/* A port that is taken is told in one line, for either of the two. */
static void ports_in_use_are_told(void **state)
{
    struct cluster *first;
    struct buf why;
    char reason[200];
    buf_init(&why, WHY_MAX);
    assert_int_equal(cluster_open(&usual, &first, &why), OK);

    struct cluster_options options = usual;
    options.gossip_port = cluster_gossip_port(first);
    snprintf(reason, sizeof reason, "cannot bind gossip to 127.0.0.1:%u: Address already in use",
             options.gossip_port);
    is_refused(&options, reason);

    options = usual;
    options.replication_port = cluster_replication_port(first);
    snprintf(reason, sizeof reason, "cannot bind replication to 127.0.0.1:%u: Address already in use",
             options.replication_port);
    is_refused(&options, reason);

    options = usual;
    options.bind_address = "192.0.2.1"; /* RFC 5737: nobody's */
    is_refused(&options, "cannot bind gossip to 192.0.2.1:0: Cannot assign requested address");
    cluster_free(first);
}

/* A join waits for a peer that takes the connection and says nothing; the stop
 * does not wait for it, and later requests are refused. */
static void stop_answers_what_waits(void **state)
{
    struct site pacha;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(silent, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(silent, 1), 0);
    getsockname(silent, (struct sockaddr *)&at, &length);
    char peer[64];
    snprintf(peer, sizeof peer, "127.0.0.1:%u", ntohs(at.sin_port));
    const char *peers[] = {peer};
    struct answer answer = {0}, late = {0};
    site_start(&pacha, "pacha", &usual, NULL);

    assert_int_equal(cluster_request(pacha.cluster, NODE_REQUEST_JOIN, peers, 1, on_reply, &answer), OK);
    int taken = accept(silent, NULL, NULL);
    assert_true(taken >= 0);
    committer_stop(pacha.committer, UINT64_MAX);
    assert_true(cluster_stop(pacha.cluster));

    assert_true(answer.done);
    assert_int_equal(answer.reply->err, ERR_CLOSED);
    node_reply_free(answer.reply);
    assert_int_equal(cluster_request(pacha.cluster, NODE_REQUEST_STATUS, NULL, 0, on_reply, &late),
                     ERR_CLOSED);
    assert_false(late.done);
    close(taken);
    close(silent);
    site_stop(&pacha);
}

/* Blocked by name in the running node: its goodbye is no longer listened to, nor
 * does what it writes arrive. */
static void block_list_takes_effect(void **state)
{
    struct site pacha, kronk;
    const char *blocked[] = {"kronk"};
    site_start(&pacha, "pacha", &usual, NULL);
    site_start(&kronk, "kronk", &usual, &pacha);
    put(&kronk, "before", bytes_str("1"));
    assert_true(wait_until(is_held, &(struct held){&pacha, "before", bytes_str("1")}));

    cluster_configure(pacha.cluster, blocked, 1);
    node_reply_free(ask(&pacha, NODE_REQUEST_READY)); /* comes after it */
    put(&kronk, "after", bytes_str("2"));

    while (node_counter(&kronk, "sync_links_lost") == 0)
        ;
    assert_false(is_held(&(struct held){&pacha, "after", bytes_str("2")}));
    site_stop(&kronk);
    site_stop(&pacha);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_nodes_replicate),
        cmocka_unit_test(large_values_replicate),
        cmocka_unit_test(garbage_is_dropped_and_counted),
        cmocka_unit_test(connections_are_bounded),
        cmocka_unit_test(ports_in_use_are_told),
        cmocka_unit_test(stop_answers_what_waits),
        cmocka_unit_test(block_list_takes_effect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
