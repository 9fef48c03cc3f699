/* yzma bench: a thread for each connection, with one request at a time: a closed loop, in
 * which a slow answer lets the next request wait. It costs about as much processor time
 * as the node itself, so on the node's own machine it shows less than the node can do;
 * bench/load is made for measuring. */
#include "cmd.h"

#include "histogram.h"
#include "json_out.h"
#include "mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { THREAD_STACK = 512 << 10 };

struct bench {
    const struct cli *cli;
    const char *prefix;
    uint64_t connections, seconds, reads, keys, size;
    char *value; /* a JSON text of `size` bytes */
    atomic_bool stop;
    atomic_uint_fast64_t done;
};

struct runner {
    struct bench *bench;
    struct client *client;
    pthread_t thread;
    uint64_t number, random, errors, missing;
    bool filling;
    struct histogram *reads, *writes; /* microseconds */
    struct buf why;                   /* of the first error */
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* xorshift64: any will do. */
static uint64_t draw(struct runner *r, uint64_t below)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return r->random % below;
}

static void request(struct runner *r, uint64_t key, bool read)
{
    const struct bench *bench = r->bench;
    struct client_answer answer;
    struct buf target, why;
    char number[32];
    buf_init(&target, CMD_TARGET_MAX);
    buf_init(&why, 4096);
    snprintf(number, sizeof number, "%llu", (unsigned long long)key);
    client_put_path(&target, "/keys/", bytes_str(bench->prefix));
    buf_put_text(&target, number);
    struct client_call call = {.method = read ? "GET" : "PUT",
                               .target = client_target(&target),
                               .context = "", /* no reading of one's own writes, which may wait */
                               .body = bytes_str(bench->value)};
    uint64_t began_us = now_us();
    enum err err = call.target ? client_call(r->client, &call, &answer, &why) : target.err;
    if (err == OK) {
        bool good = answer.status == 200 || (read && (answer.status == 300 || answer.status == 404));
        histogram_add(read ? r->reads : r->writes, now_us() - began_us);
        r->missing += read && answer.status == 404;
        if (!good)
            client_explain(&answer, &why);
        err = good ? OK : ERR_REFUSED;
        client_answer_done(&answer);
    }
    if (err != OK && r->errors++ == 0)
        buf_put_bytes(&r->why, buf_bytes(&why));
    buf_done(&target);
    buf_done(&why);
}

static void *run(void *ctx)
{
    struct runner *r = ctx;
    struct bench *bench = r->bench;
    for (uint64_t key = r->number; r->filling && key < bench->keys && !r->errors && !cmd_interrupted(NULL);
         key += bench->connections) {
        request(r, key, false);
        atomic_fetch_add(&bench->done, 1);
    }
    while (!r->filling && !atomic_load(&bench->stop) && r->errors < 100) {
        request(r, draw(r, bench->keys), draw(r, 100) < bench->reads);
        atomic_fetch_add(&bench->done, 1);
    }
    return NULL;
}

/* Starts all, waits until they have ended; all of them have a client already. ERR_BUSY: no
 * more threads. */
static enum err run_all(struct bench *bench, struct runner *runners, bool filling, uint64_t *ret_us)
{
    struct bar bar;
    struct timespec tick = {.tv_nsec = 50 * 1000000};
    pthread_attr_t attributes;
    size_t started = 0;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    atomic_store(&bench->stop, false);
    atomic_store(&bench->done, 0);
    bar_begin(&bar, filling ? "filled" : "made", filling ? "keys" : "requests");
    uint64_t began_us = now_us(), end_us = began_us + bench->seconds * 1000000;
    for (; started < bench->connections; started++) {
        runners[started].filling = filling;
        if (pthread_create(&runners[started].thread, &attributes, run, &runners[started]) != 0)
            break;
    }
    while (!filling && !cmd_interrupted(NULL) && now_us() < end_us && started == bench->connections) {
        bar_at(&bar, atomic_load(&bench->done), 0);
        nanosleep(&tick, NULL);
    }
    atomic_store(&bench->stop, true);
    for (size_t i = 0; i < started; i++)
        pthread_join(runners[i].thread, NULL);
    *ret_us = now_us() - began_us;
    bar_end(&bar);
    pthread_attr_destroy(&attributes);
    return started == bench->connections ? OK : ERR_BUSY;
}

/* ---- the result --------------------------------------------------------------------- */

struct sums {
    struct histogram reads, writes;
    uint64_t errors, missing, us;
};

static void add_histogram(struct histogram *to, const struct histogram *from)
{
    for (size_t i = 0; i < sizeof to->counts / sizeof *to->counts; i++)
        to->counts[i] += from->counts[i];
    to->total += from->total;
    if (from->max_us > to->max_us)
        to->max_us = from->max_us;
}

static const struct {
    const char *name;
    double share;
} shares[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};
enum { SHARES = sizeof shares / sizeof *shares };

static void json_histogram(struct json_out *json, const char *name, const struct histogram *h)
{
    json_name(json, name);
    json_object(json);
    json_field_number(json, "Requests", h->total);
    for (size_t i = 0; i < SHARES; i++)
        json_field_number(json, shares[i].name, histogram_at(h, shares[i].share));
    json_field_number(json, "max", h->max_us);
    json_object_end(json);
}

static uint64_t rate_of(uint64_t count, uint64_t us)
{
    return us ? (uint64_t)((double)count * 1e6 / (double)us) : 0;
}

static void print_json(const struct sums *sums, FILE *out)
{
    struct buf line;
    buf_init(&line, SIZE_MAX);
    struct json_out json = json_out_to(&line);
    json_object(&json);
    json_field_number(&json, "PerSecond", rate_of(sums->reads.total + sums->writes.total, sums->us));
    json_field_number(&json, "Micros", sums->us);
    json_field_number(&json, "Errors", sums->errors);
    json_field_number(&json, "Missing", sums->missing);
    json_histogram(&json, "ReadMicros", &sums->reads);
    json_histogram(&json, "WriteMicros", &sums->writes);
    json_object_end(&json);
    cmd_print_text(out, buf_bytes(&line));
    buf_done(&line);
}

static void put_row(struct grid *grid, const char *name, const struct histogram *h, uint64_t us)
{
    if (!h->total)
        return;
    grid_put_text(grid, name);
    grid_put_number(grid, h->total);
    grid_put_number(grid, rate_of(h->total, us));
    for (size_t i = 0; i <= SHARES; i++) {
        char text[32];
        uint64_t at = i < SHARES ? histogram_at(h, shares[i].share) : h->max_us;
        snprintf(text, sizeof text, "%.2f ms", (double)at / 1000);
        grid_put_text(grid, text);
    }
}

static void print_table(const struct sums *sums, FILE *out)
{
    static const char *const titles[] = {"", "REQUESTS", "A SECOND", "P50", "P90", "P99", "P99.9", "MAX"};
    struct grid grid;
    grid_init(&grid, 8, titles);
    put_row(&grid, "reads", &sums->reads, sums->us);
    put_row(&grid, "writes", &sums->writes, sums->us);
    grid_print(&grid, out);
    grid_done(&grid);
    fprintf(out, "%llu requests a second, %llu errors\n",
            (unsigned long long)rate_of(sums->reads.total + sums->writes.total, sums->us),
            (unsigned long long)sums->errors);
}

static enum err report(struct bench *bench, struct runner *runners, uint64_t us, FILE *out, struct buf *why)
{
    struct sums *sums = mem_new(sizeof *sums);
    sums->us = us;
    for (size_t i = 0; i < bench->connections; i++) {
        add_histogram(&sums->reads, runners[i].reads);
        add_histogram(&sums->writes, runners[i].writes);
        sums->missing += runners[i].missing;
        if (runners[i].errors && !sums->errors)
            buf_put_bytes(why, buf_bytes(&runners[i].why));
        sums->errors += runners[i].errors;
    }
    if (cli_has(bench->cli, OPT_JSON))
        print_json(sums, out);
    else if (sums->reads.total + sums->writes.total)
        print_table(sums, out);
    enum err err = sums->errors ? ERR_REFUSED : OK;
    free(sums);
    return err;
}

/* ---- the command -------------------------------------------------------------------- */

static enum err prepare(struct bench *bench, struct runner *runners, struct buf *why)
{
    enum err err = OK;
    for (size_t i = 0; i < bench->connections && err == OK; i++) {
        struct runner *r = &runners[i];
        *r = (struct runner){.bench = bench,
                             .number = i,
                             .random = 88172645463325252u + i * 7919, /* any but 0 */
                             .reads = mem_new(sizeof *r->reads),
                             .writes = mem_new(sizeof *r->writes)};
        buf_init(&r->why, 4096);
        err = cmd_client(bench->cli, &r->client, why);
    }
    return err;
}

static void put_away(struct bench *bench, struct runner *runners)
{
    for (size_t i = 0; i < bench->connections; i++) {
        client_free(runners[i].client);
        free(runners[i].reads);
        free(runners[i].writes);
        buf_done(&runners[i].why);
    }
    free(runners);
}

/* So that reads find something; what it took is not counted. */
static enum err fill(struct bench *bench, struct runner *runners, struct buf *why)
{
    uint64_t us;
    enum err err = run_all(bench, runners, true, &us);
    for (size_t i = 0; i < bench->connections && err == OK; i++) {
        if (runners[i].errors) {
            buf_put_bytes(why, buf_bytes(&runners[i].why));
            err = ERR_REFUSED;
        }
        memset(runners[i].writes, 0, sizeof *runners[i].writes);
    }
    if (err == OK && cmd_interrupted(NULL)) {
        buf_put_text(why, "interrupted while it wrote the keys");
        err = ERR_CLOSED;
    }
    return err;
}

static char *make_value(uint64_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct runner r = {.random = 4711};
    char *value = mem_new(size + 1);
    for (uint64_t i = 0; i < size; i++)
        value[i] = i == 0 || i + 1 == size ? '"' : letters[draw(&r, 64)];
    return value;
}

enum err tool_bench(const struct cli *cli, FILE *out, struct buf *why)
{
    struct bench bench = {.cli = cli,
                          .prefix = cli_has(cli, OPT_PREFIX) ? cli->values[OPT_PREFIX] : "yzma-bench/",
                          .connections = cli_number(cli, OPT_CONNECTIONS, 16),
                          .seconds = cli_number(cli, OPT_SECONDS, 10),
                          .reads = cli_number(cli, OPT_READS, 90),
                          .keys = cli_number(cli, OPT_KEYS, 1000),
                          .size = cli_number(cli, OPT_SIZE, 100)};
    uint64_t us = 0;
    struct runner *runners = mem_new(bench.connections * sizeof *runners);
    bench.value = make_value(bench.size);
    cmd_catch_signals(); /* it then ends early, and shows what there is */
    enum err err = prepare(&bench, runners, why);
    if (err == OK && bench.reads)
        err = fill(&bench, runners, why);
    if (err == OK)
        err = run_all(&bench, runners, false, &us);
    if (err == ERR_BUSY)
        buf_put_text(why, "so many threads are not to be had");
    if (err == OK)
        err = report(&bench, runners, us, out, why);
    put_away(&bench, runners);
    free(bench.value);
    return err;
}
