/* yzma set: adds and removes elements, and shows them. An element is a JSON text, or with
 * --text a string as it stands. What is no JSON is told before anything is asked. Up to
 * 10,000 elements are one transaction of the node; more go in several, and a call that is
 * sent twice does no harm. */
#include "cmd.h"

#include "json_out.h"
#include "mem.h"
#include "utf8.h"

#include <stdlib.h>

enum { PIECE_ELEMENTS = 10000, PIECE_BYTES = 32 << 20 /* what a node takes, or half of it */ };

struct set_job {
    const struct cli *cli;
    struct client *client;
    FILE *out;
    struct buf *why;
    struct buf elements; /* one behind the other */
    size_t *ends;        /* of each */
    size_t count, sent;
    uint64_t added, removed;
    struct client_answer last; /* of the piece sent last */
};

/* ---- elements ----------------------------------------------------------------------- */

/* name: as of cmd_check_json, with the line. */
static enum err take_element(struct set_job *job, struct bytes text, const char *name, size_t line)
{
    bool plain = cli_has(job->cli, OPT_TEXT);
    if (plain && utf8_valid_until(text) != text.len) {
        buf_put_format(job->why, "%s: an element is not UTF-8", name ? name : cli_word(job->cli, 0));
        return ERR_MALFORMED;
    }
    enum err err = plain ? OK : cmd_check_json(text, name, line, job->why);
    if (err != OK) {
        buf_put_text(job->why, "; a text is '\"in quotes\"', or wants --text");
        return err;
    }
    struct json_out json = json_out_to(&job->elements);
    if (plain)
        json_string(&json, text);
    else
        buf_put_bytes(&job->elements, text);
    if ((job->count & (job->count - 1)) == 0)
        job->ends = mem_grow(job->ends, (job->count ? 2 * job->count : 1) * sizeof *job->ends);
    job->ends[job->count++] = job->elements.len;
    return job->elements.err;
}

/* One on each line that is not empty. */
static enum err take_lines(struct set_job *job, const char *path)
{
    struct buf text;
    buf_init(&text, CMD_VALUE_MAX);
    enum err err = cmd_read_file(path, &text, job->why);
    struct bytes rest = buf_bytes(&text);
    for (size_t number = 1; rest.len && err == OK; number++) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        struct bytes line = bytes_of(rest.data, end ? (size_t)(end - rest.data) : rest.len);
        size_t taken = line.len + (end != NULL);
        rest = bytes_of(rest.data + taken, rest.len - taken);
        if (line.len && line.data[line.len - 1] == '\r')
            line.len--;
        if (line.len)
            err = take_element(job, line, cmd_file_name(path), number);
    }
    buf_done(&text);
    return err;
}

static enum err take_all(struct set_job *job)
{
    enum err err = OK;
    if (cli_has(job->cli, OPT_FILE))
        err = take_lines(job, job->cli->values[OPT_FILE]);
    for (size_t i = 1; i < job->cli->word_count && err == OK; i++) {
        const char *word = job->cli->words[i];
        err = strcmp(word, "-") == 0 ? take_lines(job, word) : take_element(job, bytes_str(word), NULL, 1);
    }
    return err;
}

/* ---- changes ------------------------------------------------------------------------ */

static void put_target(const struct set_job *job, struct buf *target)
{
    client_put_path(target, "/sets/", bytes_str(job->cli->words[0]));
}

/* {"Add":[..]} of the next elements; how many. */
static size_t put_piece(const struct set_job *job, struct buf *body)
{
    size_t from = job->sent ? job->ends[job->sent - 1] : 0, begin = from, i = job->sent;
    buf_put_text(body, job->cli->command == CLI_SET_ADD ? "{\"Add\":[" : "{\"Remove\":[");
    for (; i < job->count && i - job->sent < PIECE_ELEMENTS; i++) {
        if (i > job->sent && job->ends[i] - begin > PIECE_BYTES)
            break;
        if (i > job->sent)
            buf_put_u8(body, ',');
        buf_put_bytes(body, bytes_of(job->elements.data + from, job->ends[i] - from));
        from = job->ends[i];
    }
    buf_put_text(body, "]}");
    return i - job->sent;
}

/* ERR_UNMET, fewer replicas than wanted, has changed the set too. */
static enum err send_piece(struct set_job *job)
{
    struct buf target, body;
    buf_init(&target, CMD_TARGET_MAX);
    buf_init(&body, CMD_BODY_MAX);
    put_target(job, &target);
    cmd_put_wait(job->cli, &target);
    size_t count = put_piece(job, &body);
    struct client_call call = {.method = "POST",
                               .target = client_target(&target),
                               .context = job->cli->values[OPT_WITH],
                               .body = buf_bytes(&body),
                               .idle_ms = cmd_idle_ms(job->cli),
                               .repeat = CLIENT_REPEAT_ALWAYS};
    client_answer_done(&job->last);
    enum err err = body.err != OK ? body.err : !call.target ? target.err : OK;
    if (err == OK)
        err = cmd_call(job->client, &call, &job->last, job->why);
    bool changed = cmd_has_answer(err) && job->last.status >= 200 && job->last.status <= 299;
    if (changed) {
        struct bytes data = cmd_data(&job->last), result = read_member(data, "Result");
        job->added += read_member_number(result.len ? result : data, "Added");
        job->removed += read_member_number(result.len ? result : data, "Removed");
        job->sent += count;
    }
    buf_done(&target);
    buf_done(&body);
    return err;
}

static void print_changed(const struct set_job *job)
{
    bool adds = job->cli->command == CLI_SET_ADD;
    struct bytes data = cmd_data(&job->last);
    struct buf line;
    buf_init(&line, SIZE_MAX);
    if (cli_has(job->cli, OPT_JSON)) {
        struct json_out json = json_out_to(&line);
        json_object(&json);
        json_field_text(&json, "Key", job->cli->words[0]);
        json_field_number(&json, "Added", job->added);
        json_field_number(&json, "Removed", job->removed);
        if (read_member(data, "Result").len) {
            json_field_number(&json, "Replicas", read_member_number(data, "Replicas"));
            json_field_number(&json, "Wanted", read_member_number(data, "Wanted"));
            json_field_number(&json, "Known", read_member_number(data, "Known"));
        }
        json_object_end(&json);
    } else {
        buf_put_format(&line, "%s %llu of %zu", adds ? "added" : "removed",
                       (unsigned long long)(adds ? job->added : job->removed), job->sent);
        cmd_put_replicas(&line, data);
    }
    cmd_print_text(job->out, buf_bytes(&line));
    buf_done(&line);
}

static enum err change(struct set_job *job)
{
    struct bar bar;
    enum err err = OK;
    bar_begin(&bar, "changed", "elements");
    while (err == OK && job->sent < job->count) {
        err = send_piece(job);
        bar_at(&bar, job->sent, job->count);
    }
    bar_end(&bar);
    if (err == OK || (err == ERR_UNMET && job->sent == job->count && cli_has(job->cli, OPT_JSON)))
        print_changed(job);
    else if (job->sent && job->sent < job->count)
        buf_put_format(job->why, "; %zu elements are done", job->sent);
    return err;
}

/* set add, set remove */
enum err tool_set_change(const struct cli *cli, FILE *out, struct buf *why)
{
    struct set_job job = {.cli = cli, .out = out, .why = why};
    buf_init(&job.elements, SIZE_MAX);
    enum err err = take_all(&job);
    if (err == OK)
        err = cmd_client(cli, &job.client, why);
    if (err == OK)
        err = change(&job);
    client_answer_done(&job.last);
    client_free(job.client);
    buf_done(&job.elements);
    free(job.ends);
    return err;
}

/* ---- reads -------------------------------------------------------------------------- */

static void print_element(void *ctx, struct bytes element)
{
    const struct set_job *job = ctx;
    cmd_print_data(job->out, element, cli_has(job->cli, OPT_JSON) || !cli_has(job->cli, OPT_TEXT));
}

enum err tool_set_list(const struct cli *cli, FILE *out, struct buf *why)
{
    struct set_job job = {.cli = cli, .out = out, .why = why};
    enum err err = cmd_client(cli, &job.client, why);
    if (err != OK)
        return err;
    struct cmd_pages pages = {.cli = cli, .member = "Elements", .entry = print_element, .ctx = &job};
    buf_init(&pages.target, CMD_TARGET_MAX);
    put_target(&job, &pages.target);
    err = cmd_pages(job.client, &pages, why);
    buf_done(&pages.target);
    client_free(job.client);
    return err;
}

/* One question about a set, and its answer. */
static enum err ask(struct set_job *job, const char *param, struct bytes value)
{
    struct buf target;
    buf_init(&target, CMD_TARGET_MAX);
    put_target(job, &target);
    client_put_param(&target, param, value);
    if (cli_has(job->cli, OPT_WAIT))
        client_put_param_text(&target, "wait", job->cli->values[OPT_WAIT]);
    struct client_call call = {.target = client_target(&target),
                               .context = job->cli->values[OPT_WITH],
                               .idle_ms = CMD_LONG_MS}; /* large sets are counted for long */
    enum err err = call.target ? cmd_call(job->client, &call, &job->last, job->why) : target.err;
    buf_done(&target);
    return err;
}

/* set has, set count */
enum err tool_set_ask(const struct cli *cli, FILE *out, struct buf *why)
{
    struct set_job job = {.cli = cli, .out = out, .why = why};
    bool has = cli->command == CLI_SET_HAS;
    buf_init(&job.elements, SIZE_MAX);
    enum err err = has ? take_all(&job) : OK;
    if (err == OK)
        err = cmd_client(cli, &job.client, why);
    if (err == OK)
        err = has ? ask(&job, "member", buf_bytes(&job.elements)) : ask(&job, "count", bytes_str("true"));
    if (err == OK) {
        struct bytes data = cmd_data(&job.last);
        cmd_print_text(out, has || cli_has(cli, OPT_JSON) ? data : read_member(data, "Count"));
    }
    client_answer_done(&job.last);
    client_free(job.client);
    buf_done(&job.elements);
    free(job.ends);
    return err;
}

enum err tool_set_delete(const struct cli *cli, FILE *out, struct buf *why)
{
    struct set_job job = {.cli = cli};
    struct buf target;
    enum err err = cmd_client(cli, &job.client, why);
    if (err != OK)
        return err;
    buf_init(&target, CMD_TARGET_MAX);
    put_target(&job, &target);
    err = cmd_delete_all(cli, job.client, &target, out, why);
    buf_done(&target);
    client_free(job.client);
    return err;
}
