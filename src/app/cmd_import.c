/* yzma import: an export of this or another store, read as it comes, and sent to a node in
 * pieces of some hundred records. The node answers each piece, which is what progress, and
 * going on after a broken connection, are made of; a piece that is sent twice does no harm,
 * as its records replace what is there. */
#include "cmd.h"

#include "check.h"
#include "port.h"
#include "record.h"
#include "term.h"
#include "utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    PIECE_RECORDS = 1000, /* what a node writes in one transaction, */
    PIECE_BYTES = 1 << 20,
    PIECE_ROOM = PIECE_RECORDS + RECORD_VERSIONS_MAX, /* with the siblings of the last */
    PATIENCE_MS = 60000, /* without a record taken; nothing special about this value */
    PAUSE_MS = 500,
    IDLE_MS = 200,    /* of a watch: so long after its last event the piece goes, */
    LATE_MS = 1000,   /* and so long after the first of them whatever comes */
    FIRST_MS = 15000, /* for a thousand records on a slow disk, where another server is to be asked next */
    SHOWN_MAX = 20,   /* entries left out that are named one by one */
};

struct import_job {
    const struct cli *cli;
    struct client *client;
    struct port *port;
    struct buf lines;              /* of the piece */
    size_t starts[PIECE_ROOM + 1]; /* of each line; the last: where the next goes */
    size_t count, sent;            /* lines; how many of them are done */
    uint64_t records, skip;        /* that the export gave; the first so many are passed over */
    uint64_t imported, expired, left_out;
    uint64_t give_up_ms; /* 0: all is well */
    uint64_t begun_ms;   /* when the piece got its first line */
    struct bar bar;
    struct buf *why;
    bool failed;  /* at the node, not in the export */
    bool reached; /* a node has answered */
    bool live;    /* the last record is an event of a watch */
};

/* ---- what is told ------------------------------------------------------------------------ */

/* A key for people: whatever it has in it, it is one line of text. */
static void put_shown(struct buf *out, struct bytes key)
{
    enum { SHOWN_BYTES = 500 };
    size_t end = key.len < SHOWN_BYTES ? key.len : SHOWN_BYTES;
    for (size_t at = 0, n; at < end; at += n) {
        n = utf8_length(bytes_of(key.data + at, key.len - at));
        if (n)
            client_put_plain(out, bytes_of(key.data + at, n));
        else
            buf_put_u8(out, '?'), n = 1;
    }
    if (end < key.len)
        buf_put_text(out, "..");
}

static void leave_out(void *ctx, struct bytes key, const char *reason)
{
    struct import_job *job = ctx;
    struct buf line;
    if (++job->left_out > SHOWN_MAX)
        return;
    bar_end(&job->bar);
    buf_init(&line, SIZE_MAX);
    buf_put_text(&line, "yzma: left out ");
    put_shown(&line, key);
    buf_put_format(&line, ": %s", reason);
    if (job->left_out == SHOWN_MAX)
        buf_put_text(&line, " (more of them are only counted)");
    fprintf(stderr, "%.*s\n", (int)line.len, (const char *)line.data);
    buf_done(&line);
}

static void tell_notes(const struct import_job *job)
{
    for (int i = 0; i < PORT_NOTES; i++)
        if (port_noted(job->port, (enum port_note)i))
            fprintf(stderr, "yzma: %llu %s\n", (unsigned long long)port_noted(job->port, (enum port_note)i),
                    port_note_text((enum port_note)i));
}

static void print_sums(const struct import_job *job, FILE *out)
{
    unsigned long long imported = job->imported, expired = job->expired, left_out = job->left_out;
    if (cli_has(job->cli, OPT_JSON))
        fprintf(out, "{\"Imported\":%llu,\"Expired\":%llu,\"LeftOut\":%llu}\n", imported, expired, left_out);
    else
        fprintf(out, "%llu imported, %llu expired before, %llu left out\n", imported, expired, left_out);
}

/* ---- a piece ------------------------------------------------------------------------------- */

static void forget_piece(struct import_job *job)
{
    buf_reset(&job->lines);
    job->count = job->sent = 0;
    job->starts[0] = 0;
}

static void drop_line(struct import_job *job, size_t index)
{
    size_t from = job->starts[index], to = job->starts[index + 1], length = to - from;
    memmove(job->lines.data + from, job->lines.data + to, job->lines.len - to);
    job->lines.len -= length;
    for (size_t i = index + 1; i < job->count; i++)
        job->starts[i] = job->starts[i + 1] - length;
    job->count--;
}

/* A line that the node does not take: it is told by its key. */
static void drop_refused(struct import_job *job, size_t index, const struct client_answer *answer)
{
    struct buf reason;
    struct bytes line = bytes_of(job->lines.data + job->starts[index],
                                 job->starts[index + 1] - job->starts[index] - 1);
    char *key = cmd_line_name(line);
    buf_init(&reason, SIZE_MAX);
    client_explain(answer, &reason);
    buf_put_u8(&reason, 0);
    leave_out(job, bytes_str(key ? key : ""), (const char *)reason.data);
    buf_done(&reason);
    free(key);
    drop_line(job, index);
}

/* Takes note of what the node says that it has done, and whether that is anything. */
static void take_answer(struct import_job *job, const struct client_answer *answer)
{
    struct bytes data = cmd_data(answer);
    uint64_t lines = read_member_number(data, "Lines"), line = read_member_number(data, "Line");
    size_t left = job->count - job->sent, begin = job->sent;
    job->reached = true;
    bool refused = answer->status == 400 || answer->status == 409 || answer->status == 413;
    job->imported += read_member_number(data, "Imported");
    job->expired += read_member_number(data, "Expired");
    job->sent += lines < left ? (size_t)lines : left;
    if (refused && line > 0 && line <= left && begin + line > job->sent) {
        drop_refused(job, begin + (size_t)line - 1, answer);
        job->give_up_ms = 0;
    }
    if (lines)
        job->give_up_ms = 0;
}

/* True when it is worth trying again, after a while. */
static bool may_go_on(struct import_job *job, const struct buf *why)
{
    uint64_t now_ms = term_now_ms();
    if (!job->give_up_ms) {
        job->give_up_ms = now_ms + PATIENCE_MS;
        if (job->reached) {
            bar_end(&job->bar);
            fprintf(stderr, "yzma: %.*s: trying again\n", (int)why->len, (const char *)why->data);
        }
    }
    if (!job->reached || now_ms >= job->give_up_ms)
        return false;
    struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    return nanosleep(&pause, NULL) == 0; /* a signal ends it, and all of it */
}

/* Sends what is left of the piece once. OK where that was not in vain; why has a line
 * else. */
static enum err send_lines(struct import_job *job, struct buf *why)
{
    size_t before = job->sent, lines = job->count, from = job->starts[job->sent];
    struct client_call call = {.method = "POST",
                               .target = "/import",
                               .type = "application/x-ndjson",
                               .body = bytes_of(job->lines.data + from, job->lines.len - from),
                               .stop = cmd_interrupted,
                               .repeat = CLIENT_REPEAT_ALWAYS,
                               .first_ms = FIRST_MS};
    struct client_answer answer;
    enum err err = client_call(job->client, &call, &answer, why);
    if (err != OK)
        return err;
    take_answer(job, &answer);
    if (job->sent == before && job->count == lines) {
        client_explain(&answer, why);
        err = answer.status == 503 ? ERR_BUSY : ERR_REFUSED;
    }
    client_answer_done(&answer);
    return err;
}

static bool is_passing(enum err err)
{
    return err == ERR_BUSY || err == ERR_IO || err == ERR_TIMEOUT;
}

/* Records of the export that need not be sent again. */
static uint64_t settled(const struct import_job *job)
{
    return job->records - (job->count - job->sent);
}

static enum err flush(struct import_job *job)
{
    enum err err = OK;
    while (err == OK && job->sent < job->count) {
        struct buf why;
        buf_init(&why, SIZE_MAX);
        err = send_lines(job, &why);
        if (is_passing(err) && may_go_on(job, &why))
            err = OK;
        else if (err != OK)
            buf_put_bytes(job->why, buf_bytes(&why));
        buf_done(&why);
        bar_at(&job->bar, settled(job), 0);
    }
    job->failed = err != OK;
    if (err == OK)
        forget_piece(job);
    return err;
}

static enum err take_record(void *ctx, const struct import_line *record)
{
    struct import_job *job = ctx;
    enum err err = OK;
    bool full = job->count >= PIECE_RECORDS || job->lines.len >= PIECE_BYTES;
    /* A sibling stays with what it stands beside: sent twice alone it would stand there twice. */
    if ((full && !record->sibling) || job->count == PIECE_ROOM)
        err = flush(job);
    if (err != OK)
        return err;
    job->live = record->event; /* no siblings, which must not be parted from the line before */
    job->records++;
    if (job->records <= job->skip)
        return OK;
    if (job->count == 0)
        job->begun_ms = term_now_ms();
    import_line_put(&job->lines, record);
    job->starts[++job->count] = job->lines.len;
    return job->lines.err;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* What stands in the piece is sent off when nothing more comes for a while, or it has waited: where it is
 * read from a yzma watch, somebody waits for it. */
static enum err flush_idle(struct import_job *job, int fd)
{
    if (!job->live || job->sent == job->count)
        return OK;
    bool late = term_now_ms() >= job->begun_ms + LATE_MS;
    bool idle = late || poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, IDLE_MS) == 0;
    return idle ? flush(job) : OK;
}

static enum err read_export(struct import_job *job, int fd, struct buf *problem)
{
    enum err err = OK;
    ssize_t n = 1;
    while (err == OK && n > 0) {
        uint8_t piece[64 << 10];
        err = flush_idle(job, fd);
        if (err != OK)
            return err;
        do
            n = read(fd, piece, sizeof piece);
        while (n < 0 && errno == EINTR && !cmd_interrupted(NULL));
        if (cmd_interrupted(NULL))
            return ERR_CLOSED;
        if (n > 0)
            err = port_feed(job->port, bytes_of(piece, (size_t)n), problem);
    }
    if (n < 0) {
        buf_put_text(problem, strerror(errno));
        return ERR_IO;
    }
    return err == OK ? port_end(job->port, problem) : err;
}

/* The export's own trouble is told with its name; what stands before it is sent all the same. */
static enum err run(struct import_job *job, const char *path, int fd)
{
    struct buf problem;
    buf_init(&problem, SIZE_MAX);
    bar_begin(&job->bar, "imported", "records");
    enum err err = read_export(job, fd, &problem);
    if (cmd_interrupted(NULL)) {
        buf_reset(job->why);
        buf_put_text(job->why, "interrupted");
        err = ERR_CLOSED;
    } else if (!job->failed) {
        if (err != OK)
            buf_put_format(job->why, "%s: %.*s", cmd_file_name(path), (int)problem.len,
                           problem.len ? (const char *)problem.data : "");
        if (err != OK && !problem.len)
            buf_put_text(job->why, err_text(err));
        size_t told = job->why->len;
        enum err last = flush(job);
        if (err == OK)
            err = last;
        else
            job->why->len = told; /* the first thing that went wrong is what is to be told */
    }
    bar_end(&job->bar);
    if (err != OK && job->live) /* another watch may show others, or in another order */
        buf_put_text(job->why,
                     "; what comes of the watch from the start on, or an older cursor, does no harm twice");
    else if (err != OK && settled(job))
        buf_put_format(job->why, "; %llu records are done: --skip %llu goes on behind them",
                       (unsigned long long)settled(job), (unsigned long long)settled(job));
    buf_done(&problem);
    return err;
}

static enum err open_input(const char *path, int *ret, struct buf *why)
{
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        buf_put_format(why, "%s: %s", cmd_file_name(path), strerror(errno));
        return ERR_IO;
    }
    *ret = fd;
    return OK;
}

static const char *option_or(const struct cli *cli, enum cli_option option, const char *standard)
{
    return cli_has(cli, option) ? cli->values[option] : standard;
}

static enum err begin(struct import_job *job, struct buf *why)
{
    const struct cli *cli = job->cli;
    enum port_from from;
    CHECK(port_named(option_or(cli, OPT_FROM, "yzma"), &from) == OK); /* was judged */
    struct port_options options = {.only = bytes_str(option_or(cli, OPT_PREFIX, "")),
                                   .into = bytes_str(option_or(cli, OPT_INTO, "")),
                                   .type = cli->values[OPT_TYPE]};
    job->port = port_new(from, &options, &(struct port_sink){take_record, leave_out, job});
    return cmd_client(cli, &job->client, why);
}

enum err tool_import(const struct cli *cli, FILE *out, struct buf *why)
{
    const char *path = cli_word(cli, 0) ? cli_word(cli, 0) : "-";
    struct import_job *job = calloc(1, sizeof *job);
    int fd = -1;
    if (!job)
        return ERR_NOMEM;
    job->cli = cli;
    job->why = why;
    job->skip = cli_number(cli, OPT_SKIP, 0);
    buf_init(&job->lines, SIZE_MAX);
    enum err err = begin(job, why);
    if (err == OK)
        err = open_input(path, &fd, why);
    if (err == OK) {
        cmd_catch_signals();
        err = run(job, path, fd);
        tell_notes(job);
        if (err == OK)
            print_sums(job, out);
    }
    if (err == OK && job->left_out) {
        buf_put_format(why, "%llu entries were left out", (unsigned long long)job->left_out);
        err = ERR_UNMET;
    }
    if (fd >= 0)
        close(fd);
    client_free(job->client);
    port_free(job->port);
    buf_done(&job->lines);
    free(job);
    return err;
}
