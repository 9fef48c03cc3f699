/* yzma members, and the calls that are made by hand: join, leave, forget, retire, pause,
 * resume. */
#include "cmd.h"

#include "json_out.h"

#include <stdlib.h>

/* ---- members ------------------------------------------------------------------------ */

static enum term_colour colour_of(const char *status)
{
    return strcmp(status, "alive") == 0 ? TERM_GREEN : strcmp(status, "left") == 0 ? TERM_FAINT : TERM_RED;
}

static void put_cell(struct grid *grid, struct bytes object, const char *name)
{
    char *text = read_member_text(object, name);
    grid_put_text(grid, text);
    free(text);
}

static void put_lag(struct grid *grid, struct bytes replication, const char *name)
{
    struct bytes lag = read_member(replication, name);
    if (lag.len)
        grid_put(grid, lag);
    else
        grid_put_text(grid, "-");
}

static void put_member(struct grid *grid, struct bytes member)
{
    struct bytes replication = read_member(member, "Replication");
    bool self = read_is(read_member(member, "Self"), "true");
    char *status = read_member_text(member, "Status"), *blocked = read_member_text(member, "UDPBlocked");
    char *state = read_member_text(replication, "State"), *error = read_member_text(member, "LastError");
    char *broken = read_member_text(replication, "Error"); /* why the last connection ended */
    bool up = self || strcmp(state, "up") == 0;
    struct bytes trip = read_member(member, "RoundTripMs");
    put_cell(grid, member, "Name");
    grid_colour(grid, self ? TERM_BOLD : TERM_PLAIN);
    grid_put_text(grid, status);
    grid_colour(grid, colour_of(status));
    put_cell(grid, member, "Address");
    if (trip.len && !read_is(trip, "null"))
        grid_put(grid, trip);
    else
        grid_put_text(grid, "-");
    grid_put_text(grid, self ? "(this node)" : state[0] ? state : "-");
    put_lag(grid, replication, "LagHere");
    put_lag(grid, replication, "LagThere");
    grid_put_text(grid, blocked[0] ? "no datagrams come through" : error[0] || up ? error : broken);
    free(status);
    free(blocked);
    free(state);
    free(error);
    free(broken);
}

static void show_members(struct bytes data, FILE *out)
{
    static const char *const titles[] = {"NAME",        "STATUS",    "ADDRESS",    "MS",
                                         "REPLICATION", "LAGS HERE", "LAGS THERE", "LAST TROUBLE"};
    struct json_scan s = read_array(read_member(data, "Members"));
    struct bytes member;
    struct grid grid;
    grid_init(&grid, 8, titles);
    while (read_next(&s, &member))
        put_member(&grid, member);
    grid_print(&grid, out);
    grid_done(&grid);
    uint64_t health = read_member_number(data, "Health");
    if (health)
        fprintf(out, "health %llu: probes of this node fail, perhaps for reasons of its own\n",
                (unsigned long long)health);
}

enum err tool_members(const struct cli *cli, FILE *out, struct buf *why)
{
    struct client *client;
    struct client_answer answer;
    struct client_call call = {.target = "/cluster/members"};
    enum err err = cmd_client(cli, &client, why);
    if (err != OK)
        return err;
    err = cmd_call(client, &call, &answer, why);
    if (cmd_has_answer(err)) {
        if (err == OK && cli_has(cli, OPT_JSON))
            cmd_print_text(out, cmd_data(&answer));
        else if (err == OK)
            show_members(cmd_data(&answer), out);
        client_answer_done(&answer);
    }
    client_free(client);
    return err;
}

enum { PROBE_MS = 2000 }; /* of a port; nothing special about this value */

/* ---- by hand ------------------------------------------------------------------------ */

static const struct {
    enum cli_command command;
    const char *target, *done;
} calls[] = {{CLI_JOIN, "/cluster/join", "joined"},        {CLI_LEAVE, "/cluster/leave", "left the cluster"},
             {CLI_FORGET, "/cluster/forget", "forgotten"}, {CLI_RETIRE, "/cluster/retire", "retired"},
             {CLI_PAUSE, "/cluster/pause", "paused"},      {CLI_RESUME, "/cluster/resume", "resumed"}};

/* {"Peers":[..]} or {"Replica":".."}: names may hold what JSON escapes. */
static void put_body(const struct cli *cli, struct buf *body)
{
    struct json_out json = json_out_to(body);
    if (cli->word_count == 0)
        return;
    json_object(&json);
    if (cli->command == CLI_JOIN) {
        json_name(&json, "Peers");
        json_array(&json);
        for (size_t i = 0; i < cli->word_count; i++)
            json_text(&json, cli->words[i]);
        json_array_end(&json);
    } else {
        json_field_text(&json, "Replica", cli->words[0]);
    }
    json_object_end(&json);
}

/* The address where the node gossips whose API this is, as it tells; false: there is no API. */
static bool find_gossip(const char *peer, struct buf *line)
{
    struct client *client;
    struct client_answer answer;
    struct buf unused;
    bool found = false;
    buf_init(&unused, SIZE_MAX);
    if (client_new(&client, &unused) != OK) {
        buf_done(&unused);
        return false;
    }
    struct client_call call = {.target = "/cluster/members", .idle_ms = PROBE_MS};
    if (client_add_servers(client, peer, &unused) == OK &&
        client_call(client, &call, &answer, &unused) == OK) {
        struct json_scan s = read_array(read_member(cmd_data(&answer), "Members"));
        struct bytes member;
        found = true;
        buf_put_text(line, ": an HTTP server is there, and join wants the address of gossip (port 7946)");
        while (read_next(&s, &member))
            if (read_is(read_member(member, "Self"), "true")) {
                char *address = read_member_text(member, "Address");
                buf_put_text(line, "; as it is the API of a node, that is ");
                client_put_plain(line, bytes_str(address));
                free(address);
            }
        client_answer_done(&answer);
    }
    client_free(client);
    buf_done(&unused);
    return found;
}

/* What somebody was there who does not gossip: nodes have three ports. */
static void put_remedy(const char *peer, const char *error, struct buf *line)
{
    bool closed = strcmp(error, "closed by the other side") == 0,
         garbled = strcmp(error, "malformed message") == 0;
    if ((closed || garbled) && strchr(peer, ':') && !find_gossip(peer, line) && garbled)
        buf_put_text(line, ": what is there does not gossip; join wants the address of gossip (port 7946), "
                           "and not that of replication (7947)");
}

/* Those that were not reached, {"Failed":[{"Peer":"..","Error":".."}]}. */
static void show_failed(struct bytes data, FILE *out)
{
    struct json_scan s = read_array(read_member(data, "Failed"));
    struct bytes failed;
    while (read_next(&s, &failed)) {
        struct buf line;
        char *peer = read_member_text(failed, "Peer"), *error = read_member_text(failed, "Error");
        buf_init(&line, SIZE_MAX);
        buf_put_text(&line, "failed: ");
        client_put_plain(&line, bytes_str(peer));
        buf_put_text(&line, ": ");
        client_put_plain(&line, bytes_str(error));
        put_remedy(peer, error, &line);
        cmd_print_text(out, buf_bytes(&line));
        buf_done(&line);
        free(peer);
        free(error);
    }
}

static void show_done(const struct cli *cli, const char *word, struct bytes data, FILE *out)
{
    show_failed(data, out);
    if (cli->command == CLI_JOIN)
        fprintf(out, "%s %llu of %zu\n", word, (unsigned long long)read_member_number(data, "Joined"),
                cli->word_count);
    else
        fprintf(out, "%s\n", word);
}

enum err tool_by_hand(const struct cli *cli, FILE *out, struct buf *why)
{
    struct client *client;
    struct client_answer answer;
    struct buf body;
    size_t i = 0;
    while (calls[i].command != cli->command)
        i++;
    enum err err = cmd_client(cli, &client, why);
    if (err != OK)
        return err;
    buf_init(&body, CMD_TARGET_MAX);
    put_body(cli, &body);
    struct client_call call = {.method = "POST", .target = calls[i].target, .body = buf_bytes(&body)};
    err = body.err == OK ? cmd_call(client, &call, &answer, why) : body.err;
    if (cmd_has_answer(err)) {
        struct bytes data = cmd_data(&answer);
        if (cli_has(cli, OPT_JSON) && data.len)
            cmd_print_text(out, data);
        else if (err == OK)
            show_done(cli, calls[i].done, data, out);
        else
            show_failed(data, out);
        /* Those that say no, as 409 does, refuse. */
        err = err == OK ? OK : ERR_REFUSED;
        client_answer_done(&answer);
    }
    buf_done(&body);
    client_free(client);
    return err;
}
