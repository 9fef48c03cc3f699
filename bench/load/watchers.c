/* Many readers of one stream: each a connection that asks for it and throws away what
 * comes. Says "ready" once all have their answer's head, and at the end of its input what
 * came, and how old it was, by the stamps of the events: milliseconds of this machine's
 * clock from when a write was stamped, before it was durable.
 *
 * It gives its core up every few reads. Else, where the scheduler has once chosen it before
 * a generator that was woken, that one waits for the next tick, up to 4 ms, whatever the
 * priorities, and what is measured is this program.
 *
 * usage: watchers ADDRESS PATH COUNT   prints ready, then {"lines": .., "bytes": .., "closed": .., "age_us":
 * {..}} */
#include "histogram.h"
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, READ_LEN = 1 << 16, PATH_LEN_MAX = 512, GIVE_WAY_READS = 4, STAMP_DIGITS = 16 };

static unsigned long long lines, bytes, closed;
static struct histogram ages;

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

static unsigned long long wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (unsigned long long)t.tv_sec * 1000 + (unsigned long long)t.tv_nsec / 1000000;
}

/* "Stamp":"0123456789abcdef", the upper 48 bits of it. One that a read cuts through is left out. */
static void look_at_stamps(const char *text, size_t length)
{
    static const char name[] = "\"Stamp\":\"";
    unsigned long long now = wall_ms();
    const char *end = text + length;
    for (const char *at = text; (at = memmem(at, (size_t)(end - at), name, sizeof name - 1));) {
        at += sizeof name - 1;
        if (end - at < STAMP_DIGITS)
            return;
        char digits[STAMP_DIGITS + 1] = "";
        memcpy(digits, at, STAMP_DIGITS);
        unsigned long long stamped = strtoull(digits, NULL, 16) >> 16;
        histogram_add(&ages, now > stamped ? (now - stamped) * 1000 : 0);
    }
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
    look_at_stamps(text, (size_t)n);
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
                printf("{\"lines\": %llu, \"bytes\": %llu, \"closed\": %llu, \"age_us\": ", lines, bytes,
                       closed);
                histogram_print(&ages);
                printf("}\n");
                return 0;
            }
            take(epoll, events[i].data.fd);
            if (i % GIVE_WAY_READS == 0)
                sched_yield();
        }
    }
}
