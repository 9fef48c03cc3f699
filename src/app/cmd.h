/* What the commands that ask a node have in common. */
#ifndef YZMA_APP_CMD_H
#define YZMA_APP_CMD_H

#include "client.h"
#include "read.h"
#include "grid.h"
#include "tools.h"

enum { CMD_TARGET_MAX = 64 << 10, CMD_VALUE_MAX = 64 << 20, CMD_BODY_MAX = 96 << 20 };
/* For what may work for long without a word. */
enum { CMD_LONG_MS = 24 * 3600 * 1000 };

/* A client of the servers that the command line, the environment or the configuration
 * names. ERR_MALFORMED and others with a line in why. To free. */
enum err cmd_client(const struct cli *cli, struct client **ret, struct buf *why) MUST_USE;

/* Adds the parameters w and wait, as far as they were given. */
void cmd_put_wait(const struct cli *cli, struct buf *target);
/* How long a node may say nothing: as long as --wait lets it wait, and the standard. */
uint64_t cmd_idle_ms(const struct cli *cli);

/* Room for header lines of a call. */
struct cmd_headers {
    const char *lines[4];
    struct buf texts[3];
    size_t count;
};
void cmd_headers_init(struct cmd_headers *headers);
void cmd_header(struct cmd_headers *headers, const char *name, const char *value); /* NULL: none */
void cmd_headers_done(struct cmd_headers *headers);

/* Makes the call and judges its status: OK for 200 to 299, ERR_UNMET for 202, 300, 404, 409
 * and 412, else ERR_REFUSED, with the node's words in why. *ret is to be done in all
 * three cases; else there is none. 202 is told as replicas that are missing. */
enum err cmd_call(struct client *client, const struct client_call *call, struct client_answer *ret,
                  struct buf *why) MUST_USE;
static inline bool cmd_has_answer(enum err err)
{
    return err == OK || err == ERR_UNMET || err == ERR_REFUSED;
}
/* Data of an answer that cmd_call has given; empty where the body is no envelope. */
struct bytes cmd_data(const struct client_answer *answer);

/* What a line of an export is of, to free: the name of a key, a counter or a set; NULL: it is none. */
char *cmd_line_name(struct bytes line);

/* Page after page of a listing, at most as many entries as --limit says. */
struct cmd_pages {
    const struct cli *cli;
    struct buf target;  /* path and parameters, but for after, limit and wait */
    const char *after;  /* where to begin; NULL: at the beginning */
    const char *member; /* of Data, that has the entries */
    void (*entry)(void *ctx, struct bytes entry);
    void *ctx;
};
enum err cmd_pages(struct client *client, const struct cmd_pages *pages, struct buf *why) MUST_USE;

/* DELETE of a target that may end early, with how far it came: again until all is done, and
 * what was deleted is printed. */
enum err cmd_delete_all(const struct cli *cli, struct client *client, struct buf *target, FILE *out,
                        struct buf *why) MUST_USE;

/* From now on INT and TERM only make cmd_interrupted true, which is of the form of
 * client_call's stop. Who then has told where to go on ends with ERR_CLOSED, and the program with
 * the signal, as a shell in a loop wants it. */
void cmd_catch_signals(void);
bool cmd_interrupted(void *unused);
void cmd_end_by_signal(void);

/* ", on disk at 2 of 3 replicas" where the Data has it. */
void cmd_put_replicas(struct buf *line, struct bytes data);

/* A line: text, or JSON as it is. */
void cmd_print_text(FILE *out, struct bytes text);
/* The string's text and a line end, or the JSON as it is. */
void cmd_print_data(FILE *out, struct bytes data, bool json);

/* All of a file, or of standard input for "-". name is what messages call it. ERR_IO,
 * ERR_TOO_LARGE with a line in why. */
enum err cmd_read_file(const char *path, struct buf *into, struct buf *why) MUST_USE;
const char *cmd_file_name(const char *path);
/* The value that the command line has: the n-th word (-, @FILE), or --file. *ret_name is
 * what messages call it; NULL: it stands in the command line. */
enum err cmd_read_value(const struct cli *cli, size_t n, struct buf *into, const char **ret_name,
                        struct buf *why) MUST_USE;
/* cmd_read_value, and cmd_check_json unless it has a type, with the advice to give one. */
enum err cmd_value(const struct cli *cli, size_t n, struct buf *value, struct buf *why) MUST_USE;
/* A table of the Versions of an answer, numbered. */
void cmd_print_versions(struct bytes versions, FILE *out);
/* ERR_MALFORMED, and in why where it is no JSON: a line and a column of the file, or a
 * column of the value; line counts from `line`. */
enum err cmd_check_json(struct bytes text, const char *name, size_t line, struct buf *why) MUST_USE;

#endif
