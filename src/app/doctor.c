/* yzma doctor: checks a store that no node has open, and tells what it finds.
 *
 * LMDB does not check its pages: where they are damaged, reading them may end the process.
 * So a child looks, and one that ends without a word has found that. */
#include "tools.h"

#include "notice.h"
#include "offline.h"
#include "verify.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TOLD_MAX = 100 }; /* of each kind; the others are counted */

struct telling {
    FILE *out;
    uint64_t counts[VERIFY_PROBLEMS];
};

static void tell(void *ctx, enum verify_problem problem, struct bytes key, const struct dot *dot)
{
    struct telling *telling = ctx;
    char uuid[REPLICA_ID_TEXT];
    if (++telling->counts[problem] > TOLD_MAX)
        return;
    fprintf(telling->out, "%s", verify_problem_text(problem));
    if (key.len) {
        struct buf text;
        buf_init(&text, 4096);
        notice_value(&text, key);
        fprintf(telling->out, ": key=%.*s", (int)text.len, (const char *)text.data);
        buf_done(&text);
    }
    if (dot)
        fprintf(telling->out, " operation=%s:%llu", replica_id_text(&dot->replica, uuid),
                (unsigned long long)dot->counter);
    fputc('\n', telling->out);
    fflush(telling->out); /* what is found next may end the process */
}

static enum err report(const char *path, const struct verify_report *report, const struct telling *telling,
                       struct buf *why)
{
    char uuid[REPLICA_ID_TEXT];
    fprintf(telling->out, "%s: replica %s, %llu records, %llu rows%s\n", path,
            replica_id_text(&report->id, uuid), (unsigned long long)report->records,
            (unsigned long long)report->rows, report->walking ? ", is being filled" : "");
    if (report->problems == 0) {
        fprintf(telling->out, "nothing was found\n");
        return OK;
    }
    for (size_t i = 0; i < VERIFY_PROBLEMS; i++)
        if (telling->counts[i])
            fprintf(telling->out, "%llu times: %s\n", (unsigned long long)telling->counts[i],
                    verify_problem_text((enum verify_problem)i));
    buf_put_format(why, "%s: %llu problems; a running node fetches damaged records from its peers", path,
                   (unsigned long long)report->problems);
    return ERR_DAMAGED;
}

static enum err look(const struct config *config, FILE *out, struct buf *why)
{
    struct engine *engine;
    struct telling telling = {.out = out};
    struct verify_report verify = {.ctx = &telling, .found = tell};
    enum err err = offline_open(config, &engine, why);
    if (err != OK)
        return err;
    err = store_verify(engine, &verify);
    if (err == OK)
        err = report(config->server.db_path, &verify, &telling, why);
    else
        buf_put_format(why, "%s cannot be read: %s", config->server.db_path, err_text(err));
    offline_close(engine);
    return err;
}

/* The child: says one byte, what came of it, and the reason. */
static void look_and_say(const struct config *config, FILE *out, struct buf *why, int fd)
{
    uint8_t err = (uint8_t)look(config, out, why);
    fflush(out);
    if (write(fd, &err, 1) == 1 && why->len && write(fd, why->data, why->len) < 0)
        _exit(1);
    _exit(0);
}

/* To the end of what it says. False: it said nothing. */
static bool hear(int fd, enum err *ret, struct buf *why)
{
    uint8_t text[256];
    bool heard = false;
    ssize_t n;
    while ((n = read(fd, text, sizeof text)) > 0 || (n < 0 && errno == EINTR)) {
        if (n <= 0)
            continue;
        if (!heard)
            *ret = (enum err)text[0];
        buf_put(why, text + !heard, (size_t)n - !heard);
        heard = true;
    }
    return heard;
}

/* Of the child's own doing: what a page that is none leads to. */
static bool is_fault(int signal)
{
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGABRT || signal == SIGFPE || signal == SIGILL;
}

static enum err look_in_child(const struct config *config, FILE *out, struct buf *why)
{
    int fds[2], status = 0;
    enum err err = ERR_DAMAGED;
    fflush(out);
    pid_t child = pipe(fds) == 0 ? fork() : -1;
    if (child < 0) {
        buf_put_format(why, "cannot begin: %s", strerror(errno));
        return ERR_IO;
    }
    if (child == 0)
        look_and_say(config, out, why, fds[1]);
    close(fds[1]);
    bool heard = hear(fds[0], &err, why);
    close(fds[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (heard)
        return err;
    int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (signal && !is_fault(signal)) { /* by somebody, for want of memory, or nobody reads what it says */
        buf_put_format(why, "the check was ended: %s", strsignal(signal));
        return ERR_IO;
    }
    buf_put_format(why,
                   "%s: the file is damaged in its own structure, reading it ended the check (%s); move it "
                   "and its log away, and peers fill the node anew, or restore a backup",
                   config->server.db_path, signal ? strsignal(signal) : "exit");
    return err;
}

enum err tool_doctor(const struct cli *cli, FILE *out, struct buf *why)
{
    struct config config;
    enum err err = cli_config(cli, &config, why);
    if (err != OK)
        return err;
    err = look_in_child(&config, out, why);
    config_done(&config);
    return err;
}
