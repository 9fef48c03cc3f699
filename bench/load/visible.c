/* How long a write on A takes to be seen on B: writes a number to one key on A, then
 * reads the key on B until it has it; again and again. The time begins before the write
 * is sent and ends when the answer that shows it has arrived, so a durable write is paid
 * for within it. Readings are a short pause apart, which bounds what B is asked for and
 * how fine the result is.
 *
 * usage: visible PROTOCOL A_ADDRESS B_ADDRESS SECONDS
 * prints {"count": .., "reads": .., "seen_us": {..}, "answered_us": {..}} */
#include "histogram.h"
#include "machine.h"
#include "pattern.h"
#include "protocol.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_PAUSE_US = 50,        /* small beside what is measured */
    WRITE_PAUSE_US_MAX = 4000, /* random below it, so that no rhythm of the server is met */
    ANSWER_ROOM = 4096,
    STUCK_US = 60000000,
};

struct side {
    int fd;
    struct pattern request;
    char answer[ANSWER_ROOM];
    size_t got;
};

struct probe {
    const struct protocol *protocol;
    struct side write, read;
    struct pattern wanted;
    uint64_t reads;
    struct histogram seen, answered;
};

static void pause_us(uint64_t us)
{
    struct timespec t = {.tv_nsec = (long)us * 1000};
    nanosleep(&t, NULL);
}

static void side_init(struct side *side, const struct request *request, const char *address)
{
    side->fd = connect_to(address);
    request_lay_out(request, address, &side->request);
}

static void side_send(struct side *side, uint64_t number)
{
    pattern_fill(&side->request, number, side->request.text);
    side->got = 0;
    if (send(side->fd, side->request.text, side->request.len, MSG_NOSIGNAL) != (ssize_t)side->request.len)
        die("send");
}

/* True once the answer is there; with MSG_DONTWAIT it may not be. */
static bool side_answer(struct probe *p, struct side *side, int flags, struct answer *ret_answer)
{
    ssize_t n = recv(side->fd, side->answer + side->got, sizeof side->answer - side->got, flags);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0)
        die("answer");
    side->got += (size_t)n;
    enum answer_state state = p->protocol->answer(side->answer, side->got, ret_answer);
    if (state == ANSWER_BAD) {
        fprintf(stderr, "unexpected answer: %.*s\n", (int)side->got, side->answer);
        exit(1);
    }
    return state == ANSWER_WHOLE;
}

static bool shown_on_b(struct probe *p)
{
    struct answer answer;
    side_send(&p->read, 0);
    while (!side_answer(p, &p->read, 0, &answer))
        ;
    p->reads++;
    return answer.good && memmem(answer.body, answer.body_len, p->wanted.text, p->wanted.len) != NULL;
}

static void write_answered(struct probe *p, uint64_t start, int flags, bool *answered)
{
    struct answer answer;
    while (!*answered && side_answer(p, &p->write, flags, &answer)) {
        if (!answer.good) {
            fprintf(stderr, "write refused: %.*s\n", (int)p->write.got, p->write.answer);
            exit(1);
        }
        *answered = true;
        histogram_add(&p->answered, now_us() - start);
    }
}

static void probe_once(struct probe *p, uint64_t number)
{
    pattern_fill(&p->wanted, number, p->wanted.text);
    uint64_t start = now_us();
    bool answered = false;
    side_send(&p->write, number);
    while (!shown_on_b(p)) {
        write_answered(p, start, MSG_DONTWAIT, &answered);
        if (now_us() - start > STUCK_US) {
            fputs("a write on A was not visible on B within 60 s\n", stderr);
            exit(1);
        }
        pause_us(READ_PAUSE_US);
    }
    histogram_add(&p->seen, now_us() - start);
    while (!answered)
        write_answered(p, start, 0, &answered);
}

static void probe_init(struct probe *p, const char *protocol, const char *a, const char *b)
{
    p->protocol = protocol_named(protocol);
    if (!p->protocol) {
        fprintf(stderr, "no protocol %s\n", protocol);
        exit(2);
    }
    bool http = p->protocol == &protocol_http;
    struct request write = {.protocol = p->protocol,
                            .method = "POST",
                            .target = http ? "/keys/probe" : "SET probe",
                            .body = "\"{n}\""};
    struct request read = {
        .protocol = p->protocol, .method = "GET", .target = http ? "/keys/probe" : "GET probe"};
    side_init(&p->write, &write, a);
    side_init(&p->read, &read, b);
    pattern_init(&p->wanted, "\"{n}\"", 0, 0);
    prctl(PR_SET_TIMERSLACK, 1ul);
}

static void probe_print(const struct probe *p)
{
    printf("{\"count\": %llu, \"reads\": %llu, \"seen_us\": ", (unsigned long long)p->seen.total,
           (unsigned long long)p->reads);
    histogram_print(&p->seen);
    printf(", \"answered_us\": ");
    histogram_print(&p->answered);
    printf("}\n");
}

int main(int argc, char **argv)
{
    static struct probe p; /* the histograms are large */
    if (argc != 5) {
        fputs("usage: visible PROTOCOL A_ADDRESS B_ADDRESS SECONDS\n", stderr);
        return 2;
    }
    probe_init(&p, argv[1], argv[2], argv[3]);
    uint64_t random = now_us() | 1, stop = now_us() + (uint64_t)(strtod(argv[4], NULL) * 1e6);
    for (uint64_t number = now_us() % 100000000; now_us() < stop; number++) {
        probe_once(&p, number);
        pause_us(random_next(&random) % WRITE_PAUSE_US_MAX);
    }
    probe_print(&p);
    return 0;
}
