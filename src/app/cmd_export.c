/* yzma export: what GET /export gives, line by line, into a file or to standard output. Where
 * the stream breaks it goes on behind the last key that came whole, at the next server;
 * with --resume behind the last one that the file has. With --siblings a key has several
 * lines, and only the next key says that it came whole: its first lines may then be there
 * twice, which an import does not mind, as the first of them replaces all. A set's
 * elements the node itself begins again. */
#include "cmd.h"

#include "term.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    TRIES_FIRST = 3, /* of a node that has not answered yet: somebody waits; */
    TRIES_MAX = 20,  /* without a line between; nothing special about these values */
    PAUSE_MS = 500,
};

struct export_job {
    const struct cli *cli;
    struct client *client;
    FILE *to;
    char *after; /* the last name that was written whole, or where to begin; owned, or NULL */
    char *open;  /* with --siblings: the name of the last line, which may have more; owned, or NULL */
    uint64_t records;
    struct bar bar;
    bool wrong_line; /* the stream ended with one that is none */
    bool reached;    /* a node has answered */
    struct buf *why;
};

/* ---- the stream ------------------------------------------------------------------------------ */

/* name is taken over. */
static void note_name(struct export_job *job, char *name)
{
    char *whole = name;
    if (cli_has(job->cli, OPT_SIBLINGS)) {
        whole = job->open && strcmp(job->open, name) == 0 ? NULL : job->open;
        if (!whole)
            free(job->open);
        job->open = name;
    }
    if (whole) {
        free(job->after);
        job->after = whole;
    }
}

static enum err take_line(void *ctx, struct bytes line)
{
    struct export_job *job = ctx;
    char *name = cmd_line_name(line);
    if (!name) { /* {"Error":".."}, or half a line: the call will have failed too */
        job->wrong_line = true;
        char *error = read_is_json(line) ? read_member_text(line, "Error") : NULL;
        client_put_plain(job->why, bytes_str(error && error[0] ? error : "the stream broke off"));
        free(error);
        return ERR_MALFORMED;
    }
    if (fwrite(line.data, 1, line.len, job->to) != line.len || fputc('\n', job->to) == EOF) {
        buf_put_text(job->why, strerror(errno));
        free(name);
        return ERR_FULL;
    }
    note_name(job, name);
    bar_at(&job->bar, ++job->records, 0);
    return OK;
}

static void put_target(const struct export_job *job, struct buf *target)
{
    static const struct {
        enum cli_option option;
        const char *name;
    } texts[] = {{OPT_SPACE, "space"}, {OPT_PREFIX, "prefix"}, {OPT_END, "end"}};
    client_put_path(target, "/export", bytes_of(NULL, 0));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (cli_has(job->cli, texts[i].option))
            client_put_param_text(target, texts[i].name, job->cli->values[texts[i].option]);
    if (cli_has(job->cli, OPT_SIBLINGS))
        client_put_param_text(target, "siblings", "true");
    if (job->after)
        client_put_param_text(target, "after", job->after);
}

/* From where it stands to the end, once. ERR_BUSY, ERR_IO, ERR_TIMEOUT, ERR_MALFORMED: worth trying
 * again. */
static enum err stream(struct export_job *job)
{
    struct buf target;
    struct client_answer answer;
    buf_init(&target, CMD_TARGET_MAX);
    put_target(job, &target);
    struct client_call call = {
        .target = client_target(&target), .line = take_line, .stop = cmd_interrupted, .ctx = job};
    job->why->len = 0;
    job->wrong_line = false;
    enum err err = client_call(job->client, &call, &answer, job->why);
    if (err == OK) {
        job->reached = true;
        if (answer.status != 200) {
            client_explain(&answer, job->why);
            err = answer.status == 503 ? ERR_BUSY : ERR_REFUSED;
        }
        client_answer_done(&answer);
    }
    buf_done(&target);
    return err;
}

static bool is_passing(const struct export_job *job, enum err err)
{
    return err == ERR_BUSY || err == ERR_IO || err == ERR_TIMEOUT || job->wrong_line;
}

static enum err run(struct export_job *job)
{
    enum err err = OK;
    bar_begin(&job->bar, "exported", "records");
    for (unsigned tries = 0; tries < (job->reached ? TRIES_MAX : TRIES_FIRST); tries++) {
        uint64_t before = job->records;
        err = stream(job);
        job->reached |= job->records > before;
        if (err == OK || !is_passing(job, err) || cmd_interrupted(NULL))
            break;
        if (job->records > before)
            tries = 0;
        if (tries == 0 && job->reached) {
            bar_end(&job->bar);
            fprintf(stderr, "yzma: %.*s: trying again\n", (int)job->why->len, (const char *)job->why->data);
        }
        client_next_server(job->client);
        struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
    bar_end(&job->bar);
    return err;
}

/* ---- the file ---------------------------------------------------------------------------------- */

/* Where the last line that ends lies: [*ret_from, *ret_to), without its end. False: there is none. */
static bool last_line(FILE *file, off_t size, off_t *ret_from, off_t *ret_to)
{
    off_t ends[2], found = 0, at = size;
    while (at > 0 && found < 2) {
        char block[64 << 10];
        off_t n = at < (off_t)sizeof block ? at : (off_t)sizeof block;
        at -= n;
        if (fseeko(file, at, SEEK_SET) != 0 || fread(block, 1, (size_t)n, file) != (size_t)n)
            return false;
        while (n-- > 0 && found < 2)
            if (block[n] == '\n')
                ends[found++] = at + n;
    }
    if (found == 0)
        return false;
    *ret_to = ends[0];
    *ret_from = found == 2 ? ends[1] + 1 : 0;
    return true;
}

/* The name of the line in [from, to), to free; NULL: it has none, or cannot be read. */
static char *name_at(FILE *file, off_t from, off_t to)
{
    struct buf line;
    buf_init(&line, CLIENT_LINE_MAX);
    uint8_t *room = buf_extend(&line, (size_t)(to - from));
    bool read = room && fseeko(file, from, SEEK_SET) == 0 && fread(room, 1, line.len, file) == line.len;
    char *name = read ? cmd_line_name(buf_bytes(&line)) : NULL;
    buf_done(&line);
    return name;
}

/* Finds the last name that came whole, and where its lines end: 0 where none did. With --siblings
 * that is the last but one. */
static enum err find_whole(struct export_job *job, off_t size, const char *path, off_t *ret_end)
{
    char *open = NULL;
    off_t from, to;
    *ret_end = 0;
    for (; last_line(job->to, size, &from, &to); size = from) {
        char *name = name_at(job->to, from, to);
        if (!name) {
            buf_put_format(job->why, "%s: a line of it has no key: it is no export", path);
            free(open);
            return ERR_MALFORMED;
        }
        bool whole = !cli_has(job->cli, OPT_SIBLINGS) || (open && strcmp(open, name) != 0);
        free(whole ? job->after : open);
        if (whole) {
            job->after = name;
            *ret_end = to + 1;
            break;
        }
        open = name;
    }
    free(open);
    return OK;
}

/* Goes on behind the last whole name, and cuts off what stands behind it. */
static enum err resume(struct export_job *job, const char *path)
{
    struct stat stat;
    off_t end;
    if (fstat(fileno(job->to), &stat) != 0)
        return ERR_IO;
    enum err err = find_whole(job, stat.st_size, path, &end);
    if (err != OK)
        return err;
    if (ftruncate(fileno(job->to), end) != 0 || fseeko(job->to, end, SEEK_SET) != 0) {
        buf_put_format(job->why, "%s: %s", path, strerror(errno));
        return ERR_IO;
    }
    return OK;
}

static enum err open_file(struct export_job *job, const char *path)
{
    bool resumes = cli_has(job->cli, OPT_RESUME);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (resumes ? 0 : O_EXCL), 0666);
    job->to = fd < 0 ? NULL : fdopen(fd, "r+");
    if (!job->to) {
        buf_put_format(job->why, "%s: %s%s", path, strerror(errno),
                       errno == EEXIST ? " (--resume goes on with it)" : "");
        if (fd >= 0)
            close(fd);
        return ERR_IO;
    }
    return resumes ? resume(job, path) : OK;
}

static enum err tell_interrupted(struct export_job *job, const char *path, bool to_file)
{
    buf_reset(job->why);
    if (to_file)
        buf_put_format(job->why, "interrupted; --resume goes on behind what %s has", path);
    else if (job->records && job->after) {
        buf_put_text(job->why, "interrupted; --after goes on behind the last key, ");
        client_put_plain(job->why, bytes_str(job->after));
    } else
        buf_put_text(job->why, "interrupted");
    return ERR_CLOSED;
}

enum err tool_export(const struct cli *cli, FILE *out, struct buf *why)
{
    const char *path = cli_word(cli, 0);
    bool to_file = path && strcmp(path, "-") != 0;
    struct export_job job = {.cli = cli, .to = to_file ? NULL : out, .why = why};
    if (cli_has(cli, OPT_AFTER)) {
        job.after = strdup(cli->values[OPT_AFTER]);
        if (!job.after)
            return ERR_NOMEM;
    }
    enum err err = cmd_client(cli, &job.client, why);
    if (err == OK && to_file)
        err = open_file(&job, path);
    cmd_catch_signals();
    if (err == OK)
        err = run(&job);
    if (cmd_interrupted(NULL))
        err = tell_interrupted(&job, path, to_file);
    if (err == OK && to_file) {
        err = finish_output(job.to, why);
        fprintf(out, "%llu exported to %s\n", (unsigned long long)job.records, path);
    }
    if (to_file && job.to)
        fclose(job.to);
    client_free(job.client);
    free(job.after);
    free(job.open);
    return err;
}
