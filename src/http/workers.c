#include "workers.h"

#include "check.h"
#include "exchange.h"
#include "mem.h"
#include "notice.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- what the library asks ------------------------------------------------------ */

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = cls;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        deadlines_remove(&http->deadlines, *context);
        *context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection,
                                                                   MHD_CONNECTION_INFO_CONNECTION_FD);
    count(http, COUNT_CONNECTIONS);
    *context = deadlines_add(&http->deadlines, info->connect_fd,
                             deadlines_now_ms() + http->options.request_timeout_ms);
}

/* The library's own complaints are about single connections: debug. */
__attribute__((format(printf, 2, 0))) static void on_library_log(void *cls, const char *format, va_list args)
{
    const struct http *http = cls;
    char text[256];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    struct buf line;
    buf_init(&line, NOTICE_LINE_MAX);
    buf_put_text(&line, "event=http_library text=");
    notice_value(&line, bytes_str(text));
    buf_put_u8(&line, '\0');
    if (line.err == OK)
        http->backend.log(http->backend.ctx, NOTICE_DEBUG, (const char *)line.data);
    buf_done(&line);
}

/* Asked for every connection that was accepted; MHD_NO closes it at once. */
static enum MHD_Result admit(void *cls, const struct sockaddr *address, socklen_t length)
{
    const struct http *http = cls;
    return atomic_load(&http->quiesced) ? MHD_NO : MHD_YES;
}

static struct MHD_Daemon *daemon_new(struct worker *worker, int fd, unsigned connections_max)
{
    struct http *http = worker->http;
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO | MHD_USE_ERROR_LOG, 0, admit, http,
        exchange_on_call, http, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, http, MHD_OPTION_LISTEN_SOCKET,
        fd, MHD_OPTION_CONNECTION_LIMIT, connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_URI_LOG_CALLBACK, exchange_on_uri, worker, MHD_OPTION_NOTIFY_COMPLETED,
        exchange_on_completed, http, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
}

/* ---- the thread -------------------------------------------------------------------- */

/* Until the library has something to do, or somebody wakes. */
static void wait_for_work(struct worker *worker, int epoll_fd)
{
    /* With a held exchange the library always has something to do. What it has
     * besides shows in its progress; where that misses something (the rest of a
     * head above 8 KiB), it goes on when the write that is waited for is done. */
    MHD_UNSIGNED_LONG_LONG left_ms;
    int timeout_ms = -1;
    if (!worker->held && MHD_get_timeout(worker->daemon, &left_ms) == MHD_YES)
        timeout_ms = (int)left_ms;
    struct pollfd fds[] = {{.fd = epoll_fd, .events = POLLIN}, {.fd = worker->wake_fd, .events = POLLIN}};
    if (poll(fds, sizeof fds / sizeof *fds, timeout_ms) <= 0 || !fds[1].revents)
        return;
    eventfd_t times;
    (void)!eventfd_read(worker->wake_fd, &times);
    /* Before the library looks: what is marked from here on wakes anew. */
    atomic_store(&worker->awake, false);
}

/* At its limit, or where there are no descriptors left, the library takes the listening
 * socket out of its epoll set, and puts it back only at the beginning of a run: after
 * connections have gone it must run once more, or those who wait to be accepted wake
 * nobody. */
static bool has_room_again(struct worker *worker)
{
    unsigned before = worker->connections;
    worker->connections =
        MHD_get_daemon_info(worker->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
    return worker->connections < before;
}

static void *serve(void *arg)
{
    struct worker *worker = arg;
    int epoll_fd = MHD_get_daemon_info(worker->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    while (!atomic_load(&worker->ending)) {
        worker->progressed = worker->again = false;
        MHD_run(worker->daemon);
        if (has_room_again(worker) || worker->again)
            continue;
        if (!worker->held || !worker->progressed)
            wait_for_work(worker, epoll_fd);
    }
    return NULL;
}

static void wake(struct worker *worker)
{
    if (!atomic_exchange(&worker->awake, true))
        (void)!eventfd_write(worker->wake_fd, 1);
}

void workers_wake(struct http *http)
{
    for (unsigned i = 0; i < http->worker_count; i++)
        if (atomic_exchange(&http->workers[i].resumed, false))
            wake(&http->workers[i]);
}

/* ---- start and stop ----------------------------------------------------------------- */

static bool prepare(struct worker *worker, int listen_fd, unsigned connections_max)
{
    int fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return false;
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (worker->wake_fd >= 0)
        worker->daemon = daemon_new(worker, fd, connections_max);
    if (worker->daemon)
        return true;
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    close(fd);
    return false;
}

static void stop_daemons(struct http *http)
{
    for (unsigned i = 0; i < http->worker_count; i++) {
        MHD_stop_daemon(http->workers[i].daemon); /* and closes its listening descriptor */
        http->workers[i].daemon = NULL;
    }
}

enum err workers_prepare(struct http *http, int fd)
{
    unsigned threads = http->options.threads, limit = http->options.connections_max;
    http->workers = mem_new(threads * sizeof *http->workers);
    for (; http->worker_count < threads; http->worker_count++) {
        struct worker *worker = &http->workers[http->worker_count];
        worker->http = http;
        if (prepare(worker, fd, limit / threads + (http->worker_count < limit % threads)))
            continue;
        stop_daemons(http);
        workers_free(http);
        return ERR_IO;
    }
    return OK;
}

void workers_start(struct http *http)
{
    /* Signals are the main thread's. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < http->worker_count; i++)
        CHECK(pthread_create(&http->workers[i].thread, NULL, serve, &http->workers[i]) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void workers_stop(struct http *http)
{
    for (unsigned i = 0; i < http->worker_count; i++) {
        struct worker *worker = &http->workers[i];
        atomic_store(&worker->ending, true);
        wake(worker);
        CHECK(pthread_join(worker->thread, NULL) == 0);
    }
    stop_daemons(http);
}

void workers_free(struct http *http)
{
    for (unsigned i = 0; i < http->worker_count; i++) {
        CHECK(!http->workers[i].daemon);
        close(http->workers[i].wake_fd); /* not before: a late result still wakes */
        exchange_free_spare(&http->workers[i]);
        record_done(&http->workers[i].reading.record);
        clock_done(&http->workers[i].reading.floor.floor);
        token_done(&http->workers[i].reading.token);
    }
    free(http->workers);
    http->workers = NULL;
    http->worker_count = 0;
}
