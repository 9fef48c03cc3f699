/* yzma export: what GET /export gives, line by line, into a file or to standard output. Where
 * the stream breaks it goes on behind the last key that came whole, at the next server;
 * with --resume behind the last one that the file has. With --siblings a key has several
 * lines, and only the next key says that it came whole: its first lines may then be there
 * twice, which an import does not mind, as the first of them replaces all. A set's
 * elements go on behind the last one, unless that is too long for a request: then at the set's first. */
#include "cmd.h"

#include "mem.h"
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
    MEMBER_MAX = 2500, /* bytes of an element in a request, which may become three times as many there */
};

/* Behind which line it goes on. */
struct place {
    enum { OF_KEYS, OF_COUNTERS, OF_SETS } of;
    char *name;   /* owned; NULL: nowhere yet */
    char *member; /* owned: an element of the set as JSON, or NULL */
};

struct export_job {
    const struct cli *cli;
    struct client *client;
    FILE *to;
    struct place after; /* the last that was written whole, or where to begin */
    struct place open;  /* with --siblings: that of the last line, if of a key, which may have more */
    uint64_t records;
    struct bar bar;
    bool wrong_line; /* the stream ended with one that is none */
    bool reached;    /* a node has answered */
    struct buf *why;
};

/* ---- places ------------------------------------------------------------------------------------ */

static void place_done(struct place *p)
{
    free(p->name);
    free(p->member);
    *p = (struct place){0};
}

/* *from is moved. */
static void place_move(struct place *to, struct place *from)
{
    place_done(to);
    *to = *from;
    *from = (struct place){0};
}

/* False: it is no line of an export. */
static bool place_of(struct bytes line, struct place *ret)
{
    char *name = cmd_line_name(line);
    if (!name)
        return false;
    struct bytes element = read_member(line, "Element");
    *ret = (struct place){.name = name};
    if (read_member(line, "Counter").len)
        ret->of = OF_COUNTERS;
    else if (read_member(line, "Set").len)
        ret->of = OF_SETS;
    if (ret->of == OF_SETS && element.len <= MEMBER_MAX)
        ret->member = mem_text_of(element);
    return true;
}

/* With --siblings a key's lines have come whole only when another one follows. */
static bool may_have_more(const struct export_job *job, const struct place *place)
{
    return cli_has(job->cli, OPT_SIBLINGS) && place->of == OF_KEYS;
}

static bool is_same(const struct place *a, const struct place *b)
{
    return a->name && b->name && a->of == b->of && strcmp(a->name, b->name) == 0;
}

/* ---- the stream ------------------------------------------------------------------------------ */

/* Behind a line that was written; *place is moved. */
static void note_place(struct export_job *job, struct place *place)
{
    if (!may_have_more(job, place)) {
        place_move(&job->after, place);
        place_done(&job->open);
        return;
    }
    if (job->open.name && !is_same(&job->open, place))
        place_move(&job->after, &job->open);
    place_move(&job->open, place);
}

static enum err take_line(void *ctx, struct bytes line)
{
    struct export_job *job = ctx;
    struct place place;
    if (!place_of(line, &place)) { /* {"Error":".."}, or half a line: the call will have failed too */
        job->wrong_line = true;
        char *error = read_is_json(line) ? read_member_text(line, "Error") : NULL;
        client_put_plain(job->why, bytes_str(error && error[0] ? error : "the stream broke off"));
        free(error);
        return ERR_MALFORMED;
    }
    if (fwrite(line.data, 1, line.len, job->to) != line.len || fputc('\n', job->to) == EOF) {
        buf_put_text(job->why, strerror(errno));
        place_done(&place);
        return ERR_FULL;
    }
    note_place(job, &place);
    bar_at(&job->bar, ++job->records, 0);
    return OK;
}

static bool is_of_all(const struct cli *cli)
{
    return cli_has(cli, OPT_SPACE) && strcmp(cli->values[OPT_SPACE], "all") == 0;
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
    if (cli_has(job->cli, OPT_CONTEXTS))
        client_put_param_text(target, "contexts", "true");
    if (job->after.name && job->after.of != OF_KEYS && is_of_all(job->cli))
        client_put_param_text(target, "from", job->after.of == OF_SETS ? "sets" : "counters");
    if (job->after.name)
        client_put_param_text(target, "after", job->after.name);
    if (job->after.member)
        client_put_param_text(target, "member", job->after.member);
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

/* The place of the line in [from, to). False: it has none, or cannot be read. */
static bool place_at(FILE *file, off_t from, off_t to, struct place *ret)
{
    struct buf line;
    buf_init(&line, CLIENT_LINE_MAX);
    uint8_t *room = buf_extend(&line, (size_t)(to - from));
    bool read = room && fseeko(file, from, SEEK_SET) == 0 && fread(room, 1, line.len, file) == line.len;
    read = read && place_of(buf_bytes(&line), ret);
    buf_done(&line);
    return read;
}

/* Finds the last place that came whole, and where its lines end: 0 where none did. With --siblings
 * that is the last key but one. */
static enum err find_whole(struct export_job *job, off_t size, const char *path, off_t *ret_end)
{
    struct place place, open = {0};
    off_t from, to;
    enum err err = OK;
    *ret_end = 0;
    for (; *ret_end == 0 && err == OK && last_line(job->to, size, &from, &to); size = from) {
        if (!place_at(job->to, from, to, &place)) {
            buf_put_format(job->why, "%s: a line of it has no key: it is no export", path);
            err = ERR_MALFORMED;
        } else if (may_have_more(job, &place) && (!open.name || is_same(&open, &place))) {
            place_move(&open, &place);
        } else {
            place_move(&job->after, &place);
            *ret_end = to + 1;
        }
    }
    place_done(&open);
    return err;
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
    else if (job->records && job->after.name && (job->after.of == OF_KEYS || !is_of_all(job->cli))) {
        buf_put_text(job->why, "interrupted; --after goes on behind the last key, ");
        client_put_plain(job->why, bytes_str(job->after.name));
    } else if (job->records)
        buf_put_text(job->why, "interrupted (an export into a FILE can be gone on with, by --resume)");
    else
        buf_put_text(job->why, "interrupted");
    return ERR_CLOSED;
}

enum err tool_export(const struct cli *cli, FILE *out, struct buf *why)
{
    const char *path = cli_word(cli, 0);
    bool to_file = path && strcmp(path, "-") != 0;
    struct export_job job = {.cli = cli, .to = to_file ? NULL : out, .why = why};
    if (cli_has(cli, OPT_AFTER))
        job.after.name = mem_text(cli->values[OPT_AFTER]);
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
    place_done(&job.after);
    place_done(&job.open);
    return err;
}
