/* yzma doctor: checks a store that no node has open, and tells what it finds. */
#include "tools.h"

#include "notice.h"
#include "offline.h"
#include "verify.h"

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

enum err tool_doctor(const struct cli *cli, FILE *out, struct buf *why)
{
    struct config config;
    struct engine *engine;
    struct telling telling = {.out = out};
    struct verify_report verify = {.ctx = &telling, .found = tell};
    enum err err = cli_config(cli, &config, why);
    if (err != OK)
        return err;
    err = offline_open(&config, &engine, why);
    if (err == OK) {
        err = store_verify(engine, &verify);
        if (err == OK)
            err = report(config.server.db_path, &verify, &telling, why);
        else
            buf_put_format(why, "%s cannot be read: %s", config.server.db_path, err_text(err));
        offline_close(engine);
    }
    config_done(&config);
    return err;
}
