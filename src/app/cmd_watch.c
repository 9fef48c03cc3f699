/* yzma watch: a stream of lines. The cursor of each is kept: where a stream ends, the next
 * one begins there, at the next server, and nothing is missed. Until interrupted, or as
 * many events as were wanted. */
#include "cmd.h"

#include "mem.h"

#include <stdlib.h>
#include <time.h>

enum { PAUSE_MS_MIN = 100, PAUSE_MS_MAX = 5000, SILENT_MS = 60000 };

struct watching {
    const struct cli *cli;
    FILE *out;
    struct buf *why;
    char *cursor; /* "": none yet */
    uint64_t shown, limit;
    bool as_json, of_all;
    bool began; /* this stream has brought something */
    bool ever;  /* one has */
    char *note; /* said last on standard error: not again and again */
};

/* Something about the stream, for people, where it differs from the last time. */
static void say(struct watching *w, const char *format, const char *detail)
{
    struct buf line;
    buf_init(&line, 64 << 10);
    buf_put_format(&line, "%s", format);
    client_put_plain(&line, bytes_str(detail));
    buf_put_u8(&line, 0);
    if (!w->note || strcmp(w->note, (const char *)line.data) != 0)
        fprintf(stderr, "yzma: %s\n", (const char *)line.data);
    free(w->note);
    w->note = mem_text((const char *)line.data);
    buf_done(&line);
}

/* ---- events ------------------------------------------------------------------------- */

static void show_event(struct watching *w, const char *kind, struct bytes event)
{
    struct buf line;
    char *key = read_member_text(event, "Key"), *type = read_member_text(event, "Type");
    struct bytes value = read_member(event, "Value"), base64 = read_member(event, "Value64");
    struct bytes element = read_member(event, "Element");
    char *space = read_member_text(event, "Space");
    char *hash = read_member_text(event, "Hash"); /* all that is left of a removed element */
    enum term_colour colour = strcmp(kind, "put") == 0      ? TERM_GREEN
                              : strcmp(kind, "delete") == 0 ? TERM_RED
                                                            : TERM_YELLOW;
    bool coloured = term_colours(w->out);
    buf_init(&line, SIZE_MAX);
    if (w->of_all)
        buf_put_format(&line, "%-8s ", strcmp(space, "sets") == 0 ? "set" : space[0] ? "counter" : "key");
    client_put_plain(&line, bytes_str(key));
    if (value.len || element.len) {
        buf_put_u8(&line, ' ');
        client_put_plain(&line, value.len ? value : element);
    } else if (hash[0]) {
        buf_put_text(&line, " (");
        client_put_plain(&line, bytes_str(hash));
        buf_put_u8(&line, ')');
    } else if (base64.len) {
        buf_put_format(&line, " (%s)", type[0] ? type : "JSON of several lines");
    }
    fprintf(w->out, "%s%-6s%s ", coloured ? term_code(w->out, colour) : "", kind,
            coloured ? term_code(w->out, TERM_PLAIN) : "");
    cmd_print_text(w->out, buf_bytes(&line));
    buf_done(&line);
    free(key);
    free(type);
    free(space);
    free(hash);
}

/* What is no change of a key. */
static void show_note(struct watching *w, const char *kind, struct bytes event)
{
    char *reason = read_member_text(event, "Reason");
    if (strcmp(kind, "behind") == 0)
        say(w, "the node is behind the cursor: ", reason);
    else if (strcmp(kind, "gone") == 0)
        say(w, "the cursor is older than the node's history: all that there is follows", "");
    free(reason);
}

static enum err on_line(void *ctx, struct bytes line)
{
    struct watching *w = ctx;
    if (!line.len)
        return OK;
    if (!read_is_json(line))
        return ERR_MALFORMED;
    char *kind = read_member_text(line, "Kind"), *cursor = read_member_text(line, "Cursor");
    bool event = strcmp(kind, "put") == 0 || strcmp(kind, "delete") == 0 || strcmp(kind, "damaged") == 0;
    w->began = w->ever = true;
    if (w->as_json && (event || strcmp(kind, "listed") == 0))
        cmd_print_text(w->out, line);
    else if (event)
        show_event(w, kind, line);
    else
        show_note(w, kind, line);
    if (cursor[0]) {
        free(w->cursor);
        w->cursor = cursor;
        cursor = NULL;
    }
    free(cursor);
    free(kind);
    fflush(w->out);
    if (ferror(w->out))
        return ERR_FULL; /* nobody reads any more */
    return event && ++w->shown == w->limit ? ERR_CLOSED : OK;
}

/* ---- streams ------------------------------------------------------------------------ */

/* 410 with a cursor from which it goes on. */
static bool take_cursor(struct watching *w, const struct client_answer *answer)
{
    char *cursor = answer->status == 410 ? read_member_text(cmd_data(answer), "Cursor") : mem_text("");
    bool taken = cursor[0];
    if (taken) {
        show_note(w, "gone", bytes_of(NULL, 0));
        free(w->cursor);
        w->cursor = cursor;
        cursor = NULL;
    }
    free(cursor);
    return taken;
}

/* One stream, as long as it lasts. OK: it has ended, and the next one may follow. */
static enum err follow(struct watching *w, struct client *client)
{
    struct client_answer answer;
    struct buf target;
    buf_init(&target, CMD_TARGET_MAX);
    buf_put_text(&target, "/watch");
    if (cli_has(w->cli, OPT_SPACE))
        client_put_param_text(&target, "space", w->cli->values[OPT_SPACE]);
    if (cli_has(w->cli, OPT_KEY))
        client_put_param_text(&target, "key", w->cli->values[OPT_KEY]);
    if (cli_word(w->cli, 0))
        client_put_param_text(&target, "prefix", cli_word(w->cli, 0));
    if (w->cursor[0])
        client_put_param_text(&target, "since", w->cursor);
    struct client_call call = {.target = client_target(&target),
                               .line = on_line,
                               .stop = cmd_interrupted,
                               .ctx = w,
                               .idle_ms = SILENT_MS};
    buf_reset(w->why);
    enum err err = call.target ? client_call(client, &call, &answer, w->why) : target.err;
    if (err == OK) {
        bool ended = answer.status == 200 || take_cursor(w, &answer);
        if (!ended) {
            client_explain(&answer, w->why);
            err = answer.status == 503 ? ERR_BUSY : ERR_REFUSED;
        }
        client_answer_done(&answer);
    }
    buf_done(&target);
    return err;
}

static void pause_ms(uint64_t ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    if (!cmd_interrupted(NULL))
        nanosleep(&t, NULL); /* a signal ends it */
}

/* Goes on for ever, but for what another try would not mend. */
static enum err follow_all(struct watching *w, struct client *client)
{
    for (uint64_t pause = PAUSE_MS_MIN; !cmd_interrupted(NULL);) {
        w->began = false;
        enum err err = follow(w, client);
        if (err == ERR_CLOSED || cmd_interrupted(NULL))
            return OK;
        if (err != OK && err != ERR_IO && err != ERR_TIMEOUT && err != ERR_BUSY)
            return err;
        if (err != OK && !w->ever) /* the first try, which somebody waits for */
            return err;
        buf_put_u8(w->why, 0);
        if (err == OK && w->began)
            say(w, "the stream has ended; going on", "");
        else if (err != OK)
            say(w, "going on where it stood: ", w->why->err == OK ? (const char *)w->why->data : "");
        client_next_server(client);
        if (w->began)
            pause = PAUSE_MS_MIN;
        pause_ms(pause);
        pause = pause * 2 < PAUSE_MS_MAX ? pause * 2 : PAUSE_MS_MAX;
    }
    return OK;
}

enum err tool_watch(const struct cli *cli, FILE *out, struct buf *why)
{
    struct client *client;
    struct watching w = {.cli = cli,
                         .out = out,
                         .why = why,
                         .limit = cli_number(cli, OPT_LIMIT, 0),
                         .as_json = cli_has(cli, OPT_JSON),
                         .of_all = cli_has(cli, OPT_SPACE) && strcmp(cli->values[OPT_SPACE], "all") == 0};
    enum err err = cmd_client(cli, &client, why);
    if (err != OK)
        return err;
    cmd_catch_signals();
    w.cursor = mem_text(cli_has(cli, OPT_SINCE) ? cli->values[OPT_SINCE] : "");
    err = follow_all(&w, client);
    if (err == ERR_MALFORMED)
        buf_put_text(why, "that is no answer of a YzmaDB");
    if (err == OK) {
        buf_reset(why);
        if (w.cursor[0] && !w.as_json)
            fprintf(stderr, "cursor: %s\n", w.cursor);
    }
    client_free(client);
    free(w.cursor);
    free(w.note);
    return err;
}
