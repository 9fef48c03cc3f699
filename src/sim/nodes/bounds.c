/* The oracle's look at what must stay within its limits: what waits, in streams and for
 * the committer; memory; clocks; and in the store contexts and rows, which is where
 * history is kept, so that they have to be what catching up relies on:
 *
 *   - every operation between a replica's floor and its clock has its row;
 *   - under that row's key stands a record that includes it;
 *   - a context names operations on its own key, and no others. */
#include "check.h"
#include "mem.h"
#include "state.h"

#include <stdlib.h>

enum {
    STREAM_BYTES_MAX = 10 << 20,
    MEMORY_SLACK = 4 << 20, /* of the memory table: what one group may add */
    CLOCK_COUNT_MAX = 64,
    WORKS_PER_HOST = 256, /* the node's own at the committer: an intake's, of links that broke, too */
};

/* ---- a store's records and rows --------------------------------------------------------- */

struct contents {
    struct host *host;
    struct clock clock, floor;
    struct record records[ORACLE_KEYS];
    bool unread[ORACLE_KEYS]; /* what is damaged says nothing */
    uint64_t settled_rows;    /* at or below the clock */
};

static void contents_done(struct contents *c)
{
    for (size_t key = 0; key < ORACLE_KEYS; key++)
        record_done(&c->records[key]);
    clock_done(&c->clock);
    clock_done(&c->floor);
}

static enum err read_records(const struct world *w, struct snapshot *snapshot, struct contents *c)
{
    enum err err = snapshot_clock(snapshot, &c->clock, &c->floor);
    for (size_t key = 0; key < w->oracle.key_count && err == OK; key++) {
        struct bytes bytes;
        err = snapshot_record_bytes(snapshot, key_bytes(key), &bytes);
        if (err == OK)
            c->unread[key] = record_decode(key_bytes(key), bytes, &c->records[key]) != OK;
        else if (err == ERR_NOT_FOUND)
            err = OK;
    }
    return err;
}

/* Dots that were given out twice, or ended by hand, mean other operations elsewhere. */
static bool is_plain(const struct world *w)
{
    return !w->lossy && !w->renamed && !w->result.reidentified;
}

/* All that a context names are operations on its key. */
static void check_contexts(struct world *w, const struct contents *c)
{
    size_t known[ORACLE_KEYS] = {0};
    for (size_t i = 1; i <= w->oracle.op_count; i++) {
        const struct op *op = &w->oracle.ops[i];
        bool done = op->state == OP_DONE || op->state == OP_DOUBT;
        known[op->key] += done && op->dot.counter &&
                          clock_get(&c->records[op->key].context, &op->dot.replica) == op->dot.counter;
    }
    for (size_t key = 0; key < w->oracle.key_count; key++)
        if (!c->unread[key] && c->records[key].context.count > known[key])
            world_fail(w, "n%d: the context of %.*s names %zu operations, and %zu were on it", c->host->index,
                       (int)key_bytes(key).len, (const char *)key_bytes(key).data,
                       c->records[key].context.count, known[key]);
}

static void check_row(struct world *w, const struct contents *c, const struct row *row)
{
    size_t key = 0;
    char id[REPLICA_ID_TEXT];
    while (key < w->oracle.key_count && !bytes_equal(key_bytes(key), row->key))
        key++;
    if (key == w->oracle.key_count)
        world_fail(w, "n%d has a row of a key that nobody wrote", c->host->index);
    else if (!c->unread[key] && !clock_covers_dot(&c->records[key].context, &row->dot))
        world_fail(w, "n%d has row %.8s %llu, and its record does not include it", c->host->index,
                   replica_id_text(&row->dot.replica, id), (unsigned long long)row->dot.counter);
}

/* From `have` on the rows go on to `next`. */
static void check_gap(struct world *w, const struct contents *c, const struct dot *have, uint64_t next)
{
    char id[REPLICA_ID_TEXT];
    if (have->counter + 1 < next)
        world_fail(w, "n%d lacks rows of %.8s between %llu and %llu: its floor is %llu, its clock %llu",
                   c->host->index, replica_id_text(&have->replica, id), (unsigned long long)have->counter,
                   (unsigned long long)next, (unsigned long long)clock_get(&c->floor, &have->replica),
                   (unsigned long long)clock_get(&c->clock, &have->replica));
}

/* One replica's, in order; dead ones at or below the floor go with the next pruning. */
static void check_rows_of(struct world *w, struct snapshot *snapshot, struct contents *c,
                          const struct dot *entry)
{
    struct dot have = {entry->replica, clock_get(&c->floor, &entry->replica)};
    struct row_scan *scan;
    CHECK(row_scan_open(snapshot, &have, &scan) == OK);
    for (;;) {
        struct row row = {.dot = {.counter = 0}};
        enum err err = row_scan_next(scan, &row);
        if ((err != OK && err != ERR_DAMAGED) || !row.dot.counter ||
            !replica_id_equal(&row.dot.replica, &have.replica) || row.dot.counter > entry->counter)
            break;
        check_gap(w, c, &have, row.dot.counter);
        if (err == OK && !w->lossy)
            check_row(w, c, &row);
        have.counter = row.dot.counter;
        c->settled_rows++;
    }
    row_scan_close(scan);
    check_gap(w, c, &have, entry->counter + 1);
}

static uint64_t check_contents(struct world *w, struct host *host)
{
    struct contents *c = mem_new(sizeof *c);
    struct snapshot *snapshot;
    c->host = host;
    CHECK(snapshot_open(host->store, &snapshot) == OK);
    if (read_records(w, snapshot, c) != OK)
        world_fail(w, "n%d cannot be read", host->index);
    for (size_t i = 0; i < c->clock.count && w->result.fine; i++)
        check_rows_of(w, snapshot, c, &c->clock.entries[i]);
    if (is_plain(w))
        check_contexts(w, c);
    snapshot_close(snapshot);
    uint64_t rows = c->settled_rows;
    contents_done(c);
    free(c);
    return rows;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void check_host(struct world *w, const struct host *host)
{
    struct log_engine_counters count;
    size_t works = 0;
    log_engine_counters(host->log_engine, &count);
    if (count.memory_bytes > w->memory_max + MEMORY_SLACK)
        world_fail(w, "n%d: the memory table holds %llu bytes", host->index,
                   (unsigned long long)count.memory_bytes);
    if (host->view.clock.count > CLOCK_COUNT_MAX)
        world_fail(w, "n%d: its clock has %zu replicas", host->index, host->view.clock.count);
    for (const struct store_work *work = host->works; work; work = work->next)
        works += !work->done;
    if (works > (size_t)w->host_count * WORKS_PER_HOST)
        world_fail(w, "n%d: %zu works of the node wait for its committer", host->index, works);
}

void bounds_look(struct world *w)
{
    size_t queued = net_queued_most(w);
    if (queued > STREAM_BYTES_MAX)
        world_fail(w, "%zu bytes wait in one stream", queued);
    for (int i = 0; i < w->host_count; i++)
        if (w->hosts[i].running)
            check_host(w, &w->hosts[i]);
    w->looked_at = (w->looked_at + 1) % w->host_count; /* the store of one at a time: it takes long */
    if (w->hosts[w->looked_at].running)
        (void)check_contents(w, &w->hosts[w->looked_at]);
}

/* It forgets nothing meanwhile, and waits for its source as long as that is expected back. */
static bool is_filled(const struct host *host)
{
    struct snapshot *snapshot;
    struct walk_state walk = {0};
    CHECK(snapshot_open(host->store, &snapshot) == OK);
    CHECK(snapshot_walk(snapshot, &walk) == OK);
    bool filled = walk.phase != WALK_NONE;
    walk_state_done(&walk);
    snapshot_close(snapshot);
    return filled;
}

/* No more history than there may be, and none is missing that there has to be. */
bool bounds_end(struct world *w)
{
    bool within = true;
    for (int i = 0; i < w->host_count && w->result.fine; i++) {
        struct engine_usage usage;
        if (!watch_is_core(&w->hosts[i]))
            continue;
        store_usage(w->hosts[i].store, &usage);
        uint64_t rows = check_contents(w, &w->hosts[i]);
        within &= usage.table_bytes[TABLE_ROWS] <= w->history_max_bytes || !rows || is_filled(&w->hosts[i]);
    }
    return within;
}
