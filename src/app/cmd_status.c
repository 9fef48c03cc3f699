/* yzma status: of three answers of a node what an operator wants to know first. */
#include "cmd.h"

#include "json_out.h"

#include <stdlib.h>

struct status {
    const struct cli *cli;
    struct client *client;
    FILE *out;
    struct buf *why;
    struct client_answer status, ready, members;
};

static enum err ask(struct status *s, const char *target, struct client_answer *ret)
{
    struct client_call call = {.target = target};
    return client_call(s->client, &call, ret, s->why);
}

static void put_size(char out[32], uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double n = (double)bytes;
    size_t unit = 0;
    for (; n >= 1024 && unit < 6; unit++)
        n /= 1024;
    snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

/* A line with a name of one width, perhaps in a colour. */
static void show(struct status *s, const char *name, enum term_colour colour, const char *text)
{
    struct buf plain;
    bool coloured = colour != TERM_PLAIN && term_colours(s->out);
    buf_init(&plain, SIZE_MAX);
    client_put_plain(&plain, bytes_str(text));
    fprintf(s->out, "%-9s %s%.*s%s\n", name, coloured ? term_code(s->out, colour) : "", (int)plain.len,
            (const char *)plain.data, coloured ? term_code(s->out, TERM_PLAIN) : "");
    buf_done(&plain);
}

/* ---- what is said ------------------------------------------------------------------- */

static void show_ready(struct status *s)
{
    struct bytes data = cmd_data(&s->ready);
    char *reason = read_member_text(data, "Reason");
    struct buf text;
    buf_init(&text, 4096);
    buf_put_format(&text, "%s", s->ready.status == 200 ? "yes" : "no");
    if (reason[0])
        buf_put_format(&text, ": %s", reason);
    if (s->ready.status != 200 && read_member_number(data, "KeysTotal"))
        buf_put_format(&text, " (%llu %%, %llu a second)",
                       (unsigned long long)read_member_number(data, "Percent"),
                       (unsigned long long)read_member_number(data, "KeysPerSecond"));
    buf_put_u8(&text, 0);
    show(s, "ready", s->ready.status == 200 ? TERM_GREEN : TERM_RED, (const char *)text.data);
    buf_done(&text);
    free(reason);
}

static void show_members(struct status *s)
{
    static const char *const states[] = {"alive", "suspect", "dead", "left"};
    uint64_t counts[4] = {0};
    struct json_scan scan = read_array(read_member(cmd_data(&s->members), "Members"));
    struct bytes member;
    struct buf text;
    buf_init(&text, 4096);
    while (read_next(&scan, &member))
        for (size_t i = 0; i < 4; i++)
            counts[i] += json_string_is(read_member(member, "Status"), states[i]);
    for (size_t i = 0; i < 4; i++)
        if (counts[i] || i == 0)
            buf_put_format(&text, "%s%llu %s", i ? ", " : "", (unsigned long long)counts[i], states[i]);
    buf_put_u8(&text, 0);
    show(s, "members", counts[1] || counts[2] ? TERM_YELLOW : TERM_PLAIN, (const char *)text.data);
    buf_done(&text);
}

static void show_store(struct status *s, struct bytes data)
{
    struct bytes store = read_member(data, "Store");
    uint64_t max = read_member_number(store, "BytesMax");
    char used[32], file[32], text[160], most[32] = "";
    put_size(used, read_member_number(store, "UsedBytes"));
    put_size(file, read_member_number(store, "FileBytes"));
    put_size(most, max);
    snprintf(text, sizeof text, "%llu records, %llu rows of history, %s in a file of %s%s%s",
             (unsigned long long)read_member_number(store, "Records"),
             (unsigned long long)read_member_number(store, "Rows"), used, file, max ? ", at most " : "",
             max ? most : "");
    show(s, "store", TERM_PLAIN, text);
}

static void warn_number(struct status *s, uint64_t number, const char *what)
{
    char text[160];
    snprintf(text, sizeof text, "%llu %s", (unsigned long long)number, what);
    if (number)
        show(s, "ATTENTION", TERM_YELLOW, text);
}

static void warn_clock(struct status *s, struct bytes data)
{
    struct bytes skew = read_member(data, "ClockSkewMs");
    if (!skew.len || read_is(skew, "null") || !read_is(read_member(data, "DropsExpired"), "false"))
        return;
    bool ahead = skew.len && skew.data[0] == '-';
    uint64_t ms = read_number(bytes_of(skew.data + ahead, skew.len - ahead));
    char text[160];
    snprintf(text, sizeof text,
             "the clock is %llu s %s the median of the peers': what has expired is not dropped",
             (unsigned long long)ms / 1000, ahead ? "ahead of" : "behind");
    show(s, "ATTENTION", TERM_YELLOW, text);
}

/* Operations that only a replica has which is not here. */
static void warn_incomplete(struct status *s, struct bytes data)
{
    struct json_scan scan = read_array(read_member(data, "Incomplete"));
    struct bytes entry;
    while (read_next(&scan, &entry)) {
        char *replica = read_member_text(entry, "Replica");
        char text[320];
        snprintf(text, sizeof text,
                 "operations %llu to %llu of %.40s are not all here: they come back with it; is it gone for "
                 "good: yzma retire %.40s",
                 (unsigned long long)read_member_number(entry, "Whole") + 1,
                 (unsigned long long)read_member_number(entry, "Highest"), replica, replica);
        show(s, "ATTENTION", TERM_YELLOW, text);
        free(replica);
    }
}

/* What somebody should look after. */
static void show_attention(struct status *s, struct bytes data)
{
    static const struct {
        const char *name, *text;
    } flags[] = {{"Paused", "paused: what other nodes write waits (yzma resume)"},
                 {"LowSpace", "little space is left for the store"},
                 {"Left", "has left its cluster (yzma join)"}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (read_is(read_member(data, flags[i].name), "true"))
            show(s, "ATTENTION", TERM_YELLOW, flags[i].text);
    warn_clock(s, data);
    struct bytes counters = read_member(data, "Counters");
    warn_number(s, read_member_number(read_member(data, "Quarantine"), "Records"),
                "records of a newer program are kept until this one can read them");
    warn_number(s, read_member_number(counters, "store_records_damaged"), "damaged records were met");
    warn_number(s, read_member_number(counters, "divergence"), "keys differed at equal clocks");
    warn_number(s, read_member_number(counters, "operations_lost"), "operations are lost");
    warn_number(s, read_member_number(counters, "commit_io_failures"), "commits failed at the disk");
    warn_incomplete(s, data);
    struct json_scan scan = read_array(read_member(data, "HoldsForgetting"));
    struct bytes holder;
    while (read_next(&scan, &holder)) {
        if (read_is(read_member(holder, "Connected"), "true"))
            continue;
        char *peer = read_member_text(holder, "Peer"), *since = read_member_text(holder, "Since");
        char text[512];
        snprintf(text, sizeof text, "%.300s is away since %.64s, and history is kept for it", peer, since);
        show(s, "ATTENTION", TERM_YELLOW, text);
        free(peer);
        free(since);
    }
}

static void show_links(struct status *s, struct bytes data)
{
    static const char *const titles[] = {"PEER", "LINK", "LAGS HERE", "LAGS THERE", "LAST TROUBLE"};
    struct json_scan scan = read_array(read_member(data, "Links"));
    struct bytes link;
    struct grid grid;
    grid_init(&grid, 5, titles);
    while (read_next(&scan, &link)) {
        char *peer = read_member_text(link, "Peer"), *state = read_member_text(link, "State");
        char *error = read_member_text(link, "Error");
        bool up = strcmp(state, "up") == 0;
        grid_put_text(&grid, peer);
        grid_put_text(&grid, state);
        grid_colour(&grid, up ? TERM_GREEN : TERM_YELLOW);
        grid_put_number(&grid, read_member_number(link, "LagHere"));
        grid_put_number(&grid, read_member_number(link, "LagThere"));
        grid_put_text(&grid, up ? "" : error);
        free(peer);
        free(state);
        free(error);
    }
    if (grid.count)
        fputc('\n', s->out);
    grid_print(&grid, s->out);
    grid_done(&grid);
}

static void show_all(struct status *s)
{
    struct bytes data = cmd_data(&s->status);
    char *name = read_member_text(data, "Name");
    show(s, "node", TERM_BOLD, name);
    show_ready(s);
    show_members(s);
    show_store(s, data);
    show_attention(s, data);
    show_links(s, data);
    free(name);
}

static void show_json(struct status *s)
{
    struct buf line;
    struct bytes progress = cmd_data(&s->ready);
    buf_init(&line, SIZE_MAX);
    struct json_out json = json_out_to(&line);
    json_object(&json);
    json_field_bool(&json, "Ready", s->ready.status == 200);
    if (progress.len) {
        json_name(&json, "Progress");
        json_raw(&json, progress);
    }
    json_name(&json, "Status");
    json_raw(&json, cmd_data(&s->status));
    json_object_end(&json);
    cmd_print_text(s->out, buf_bytes(&line));
    buf_done(&line);
}

enum err tool_status(const struct cli *cli, FILE *out, struct buf *why)
{
    struct status s = {.cli = cli, .out = out, .why = why};
    enum err err = cmd_client(cli, &s.client, why);
    if (err == OK)
        err = ask(&s, "/cluster/status", &s.status);
    if (err == OK)
        client_keep_server(s.client); /* the other answers are to be of this one too */
    if (err == OK)
        err = ask(&s, "/ready", &s.ready);
    if (err == OK)
        err = ask(&s, "/cluster/members", &s.members);
    if (err == OK && (s.status.status != 200 || !cmd_data(&s.status).len)) {
        client_explain(&s.status, why);
        err = ERR_REFUSED;
    }
    if (err == OK && cli_has(cli, OPT_JSON))
        show_json(&s);
    else if (err == OK)
        show_all(&s);
    client_answer_done(&s.status);
    client_answer_done(&s.ready);
    client_answer_done(&s.members);
    client_free(s.client);
    return err;
}
