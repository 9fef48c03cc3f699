/* Many readers of one stream: each a connection that asks for it and throws away what
 * comes. Says "ready" once all have their answer's head, and at the end of its input what
 * came.
 *
 * usage: watchers ADDRESS PATH COUNT   prints ready, then {"lines": .., "bytes": .., "closed": ..} */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, READ_LEN = 1 << 16, PATH_LEN_MAX = 512 };

static unsigned long long lines, bytes, closed;

static void allow_files(unsigned long count)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < count + 16)
        die("not enough descriptors");
}

static void ask(int epoll, const char *address, const char *request)
{
    static char head[READ_LEN];
    int fd = connect_to(address);
    if (write(fd, request, strlen(request)) != (ssize_t)strlen(request))
        die("write");
    if (read(fd, head, sizeof head) < 12 || memcmp(head, "HTTP/1.1 200", 12) != 0)
        die("the answer is not 200");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd}) != 0)
        die("epoll_ctl");
}

static void take(int epoll, int fd)
{
    static char text[READ_LEN];
    ssize_t n = read(fd, text, sizeof text);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
        close(fd);
        closed++;
        return;
    }
    bytes += (unsigned long long)n;
    for (const char *at = text; (at = memchr(at, '}', (size_t)(text + n - at))); at++)
        lines += at + 1 < text + n && at[1] == '\n';
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    unsigned long count = strtoul(argv[3], NULL, 10);
    char request[PATH_LEN_MAX];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", argv[2], argv[1]);
    allow_files(count);
    int epoll = epoll_create1(0);
    for (unsigned long i = 0; i < count; i++)
        ask(epoll, argv[1], request);
    printf("ready\n");
    fflush(stdout);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &(struct epoll_event){.events = EPOLLIN, .data.fd = 0}) != 0)
        die("epoll_ctl");
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == 0) {
                printf("{\"lines\": %llu, \"bytes\": %llu, \"closed\": %llu}\n", lines, bytes, closed);
                return 0;
            }
            take(epoll, events[i].data.fd);
        }
    }
}
