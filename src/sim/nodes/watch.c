/* The oracle's look at a host, after each of its commits and at the end: what it
 * holds, what it claims, and what must never be. */
#include "check.h"
#include "mem.h"
#include "state.h"

#include <stdlib.h>

/* ---- reading a store ------------------------------------------------------------------- */

struct look {
    struct set held[ORACLE_KEYS];
    struct clock clock, floor;
    struct replica_id id;
    bool walking;
};

static bool look_at(struct world *w, struct host *host, struct look *look)
{
    struct snapshot *snapshot;
    struct record record = {0};
    struct identity identity = {0};
    struct walk_state walk = {0};
    enum err err = snapshot_open(host->store, &snapshot);
    if (err != OK) {
        world_fail(w, "n%d cannot be read: %s", host->index, err_text(err));
        return false;
    }
    for (size_t key = 0; key < w->oracle.key_count && err == OK; key++) {
        err = snapshot_record(snapshot, key_bytes(key), &record);
        if (err == ERR_NOT_FOUND)
            err = OK;
        for (size_t i = 0; i < record.count && err == OK; i++) {
            size_t op = value_number(record.versions[i].value);
            if (op == 0 || op > w->oracle.op_count || w->oracle.ops[op].key != key)
                world_fail(w, "n%d holds what nobody wrote under %.*s", host->index, (int)key_bytes(key).len,
                           (const char *)key_bytes(key).data);
            else
                set_add(&look->held[key], op);
        }
    }
    record_done(&record);
    if (err == OK)
        err = snapshot_clock(snapshot, &look->clock, &look->floor);
    if (err == OK)
        err = snapshot_identity(snapshot, &identity);
    if (err == OK)
        err = snapshot_walk(snapshot, &walk);
    look->id = identity.id;
    look->walking = walk.phase != WALK_NONE;
    identity_done(&identity);
    walk_state_done(&walk);
    snapshot_close(snapshot);
    if (err != OK)
        world_fail(w, "n%d: its store is damaged: %s", host->index, err_text(err));
    return err == OK;
}

static void look_done(struct look *look)
{
    clock_done(&look->clock);
    clock_done(&look->floor);
}

/* ---- rules that hold at any time --------------------------------------------------------- */

static bool excused(const struct world *w, size_t op)
{
    return w->oracle.ops[op].may_be_lost || w->oracle.ops[op].put_again;
}

/* 2: what was removed here does not come back. 4: a later write is never beside what it replaced. */
static void check_key(struct world *w, struct host *host, size_t key, const struct set *held)
{
    struct host_view *view = &host->view;
    for (size_t op = 1; op <= w->oracle.op_count; op++) {
        if (!set_has(held, op)) {
            if (set_has(&view->held[key], op))
                set_add(&view->gone, op);
            continue;
        }
        if (set_has(&view->gone, op) && !excused(w, op))
            world_fail(w, "n%d: op %zu is back, which was removed there (promise 3)", host->index, op);
        ptrdiff_t earlier = set_common(held, &w->oracle.ops[op].dead);
        if (earlier >= 0 && !excused(w, op) && !excused(w, (size_t)earlier))
            world_fail(w, "n%d: op %zu stands beside op %td, which it had replaced (promise 4)", host->index,
                       op, earlier);
    }
    view->held[key] = *held;
}

/* 6: clocks claim only what was applied. */
static void check_claims(struct world *w, struct host *host, const struct look *look)
{
    struct host_view *view = &host->view;
    for (size_t i = 1; i <= w->oracle.op_count; i++) {
        const struct op *op = &w->oracle.ops[i];
        if (op->state != OP_DONE || set_has(&view->covered, i) || !clock_covers_dot(&look->clock, &op->dot))
            continue;
        set_add(&view->covered, i);
        if (op->may_be_lost || op->put_again)
            continue;
        for (size_t gone = 1; gone <= w->oracle.op_count; gone++) {
            if (!set_has(&op->removed, gone))
                continue;
            if (set_has(&look->held[op->key], gone) && !excused(w, gone))
                world_fail(w, "n%d claims op %zu, but holds op %zu, which that removed", host->index, i,
                           gone);
            set_add(&view->gone, gone);
        }
        if (!op->put || set_has(&look->held[op->key], i))
            continue;
        if (!oracle_removed_by_any(&w->oracle, i))
            world_fail(w, "n%d claims op %zu, but lacks it, and nobody removed it", host->index, i);
        set_add(&view->gone, i);
    }
}

/* A store that took a new id has put again what it alone had: under dots of the new id. */
static void follow_identity(struct world *w, struct host *host, const struct look *look)
{
    bool moved = !replica_id_is_zero(&host->view.id) && !replica_id_equal(&host->view.id, &look->id);
    for (size_t i = 1; i <= w->oracle.op_count && moved; i++) {
        struct op *op = &w->oracle.ops[i];
        if (op->state == OP_DONE && op->host == host->index && !clock_covers_dot(&look->clock, &op->dot) &&
            replica_id_equal(&op->dot.replica, &host->view.id))
            op->put_again = true;
    }
    if (moved) {
        w->result.reidentified++;
        clock_clear(&host->view.clock); /* the old id's entry may have fallen */
    }
    host->view.id = look->id;
}

void watch_host(struct world *w, struct host *host, bool opened)
{
    struct look look = {0};
    if (look_at(w, host, &look)) {
        follow_identity(w, host, &look);
        for (size_t i = 0; i < look.clock.count; i++)
            world_mix(w, &look.clock.entries[i].counter, sizeof look.clock.entries[i].counter);
        if (!clock_covers(&look.clock, &host->view.clock))
            world_fail(w, "n%d: its clock has fallen%s (promise 1)", host->index,
                       opened ? " by the restart: acknowledged writes are lost" : "");
        if (!clock_covers(&look.clock, &look.floor))
            world_fail(w, "n%d: its floor stands above its clock", host->index);
        for (size_t key = 0; key < w->oracle.key_count; key++)
            check_key(w, host, key, &look.held[key]);
        check_claims(w, host, &look);
        clock_copy(&host->view.clock, &look.clock);
        clock_copy(&host->view.floor, &look.floor);
    }
    look_done(&look);
}

/* ---- losses --------------------------------------------------------------------------------- */

/* What only this disk surely has may be gone, and halves of it may live on. */
void watch_lost(struct world *w, struct host *host)
{
    struct set elsewhere = {0};
    CHECK(w->lossy);
    for (int i = 0; i < w->host_count; i++)
        if (&w->hosts[i] != host && w->hosts[i].used && !w->hosts[i].removed)
            set_unite(&elsewhere, &w->hosts[i].view.covered);
    for (size_t i = 1; i <= w->oracle.op_count; i++)
        if (w->oracle.ops[i].state == OP_DONE && !set_has(&elsewhere, i))
            w->oracle.ops[i].may_be_lost = true;
}

/* ---- the end ---------------------------------------------------------------------------------- */

bool watch_is_core(const struct host *host)
{
    return host->used && host->running && !host->removed && !host->left;
}

/* Equal clocks and equal versions, by what was seen after each one's last commit. */
bool watch_agree(struct world *w)
{
    const struct host *first = NULL;
    for (int i = 0; i < w->host_count; i++) {
        const struct host *host = &w->hosts[i];
        if (host->used && !host->removed && !host->left && !host->running)
            return false;
        if (!watch_is_core(host))
            continue;
        if (first && (!clock_equal(&first->view.clock, &host->view.clock) ||
                      memcmp(first->view.held, host->view.held, sizeof host->view.held) != 0))
            return false;
        first = first ? first : host;
    }
    return true;
}

struct versions { /* of a store, byte for byte */
    uint64_t digest;
    size_t records, living;
};

static struct versions versions_of(struct host *host)
{
    struct versions v = {.digest = 0xcbf29ce484222325u};
    struct snapshot *snapshot;
    struct scan *scan;
    struct bytes key, bytes;
    struct record record = {0};
    CHECK(snapshot_open(host->store, &snapshot) == OK);
    CHECK(scan_open(snapshot, bytes_of(NULL, 0), &scan) == OK);
    while (scan_next(scan, &key, &bytes) == OK) {
        CHECK(record_decode(key, bytes, &record) == OK);
        v.records++;
        v.living += record.count > 0;
        clock_clear(&record.context); /* dropped at different times */
        struct buf text;
        buf_init(&text, SIZE_MAX);
        if (record.count)
            record_encode(key, &record, &text);
        for (size_t i = 0; i < text.len; i++)
            v.digest = (v.digest ^ text.data[i]) * 0x100000001b3u;
        buf_done(&text);
    }
    record_done(&record);
    scan_close(scan);
    snapshot_close(snapshot);
    return v;
}

static size_t remover_of(const struct world *w, size_t removed)
{
    for (size_t i = 1; i <= w->oracle.op_count; i++)
        if (w->oracle.ops[i].state == OP_DONE && !w->oracle.ops[i].may_be_lost &&
            set_has(&w->oracle.ops[i].removed, removed))
            return i;
    return 0;
}

static void check_final_op(struct world *w, struct host *host, size_t i, const struct set *surely,
                           const struct set *perhaps)
{
    const struct op *op = &w->oracle.ops[i];
    if (!op->put)
        return;
    bool held = set_has(&host->view.held[op->key], i);
    if (held && set_has(surely, i) && !excused(w, i))
        world_fail(w, "n%d: op %zu is there at the end, and was removed by op %zu (promise 3)", host->index,
                   i, remover_of(w, i));
    if (!held && op->state == OP_DONE && !op->may_be_lost && !set_has(perhaps, i))
        world_fail(w, "n%d: op %zu was acknowledged and is lost (promise 1)", host->index, i);
}

/* What only nodes have that have left is not here yet: they bring it when they join again. */
static void leave_out_the_left(struct world *w)
{
    struct set here = {0}, there = {0};
    for (int i = 0; i < w->host_count; i++) {
        if (watch_is_core(&w->hosts[i]))
            set_unite(&here, &w->hosts[i].view.covered);
        else if (w->hosts[i].left)
            set_unite(&there, &w->hosts[i].view.covered);
    }
    for (size_t i = 1; i <= w->oracle.op_count; i++)
        if (!set_has(&here, i) && set_has(&there, i))
            w->oracle.ops[i].may_be_lost = true;
}

void watch_end(struct world *w, bool complete)
{
    struct set surely, perhaps;
    uint64_t digest = 0;
    bool first = true;
    leave_out_the_left(w);
    oracle_removed(&w->oracle, &surely, &perhaps);
    for (int i = 0; i < w->host_count; i++) {
        struct host *host = &w->hosts[i];
        if (!watch_is_core(host))
            continue;
        watch_host(w, host, false);
        for (size_t op = 1; op <= w->oracle.op_count; op++)
            check_final_op(w, host, op, &surely, &perhaps);
        struct versions versions = versions_of(host);
        if (complete && !first && digest != versions.digest)
            world_fail(w, "n%d holds other versions than the others (promise 2)", host->index);
        digest = versions.digest;
        first = false;
        world_mix(w, &digest, sizeof digest);
    }
}

/* What a host holds, for the transcript. */
void watch_tell(struct world *w, struct host *host)
{
    struct snapshot *snapshot;
    struct row_scan *scan;
    struct row row;
    char id[REPLICA_ID_TEXT];
    if (!w->options.tell || !host->running)
        return;
    for (size_t i = 0; i < host->view.clock.count; i++) {
        const struct dot *entry = &host->view.clock.entries[i];
        world_say(w, "n%d clock %.8s %llu, floor %llu", host->index, replica_id_text(&entry->replica, id),
                  (unsigned long long)entry->counter,
                  (unsigned long long)clock_get(&host->view.floor, &entry->replica));
    }
    for (size_t key = 0; key < w->oracle.key_count; key++)
        for (size_t op = 1; op <= w->oracle.op_count; op++)
            if (set_has(&host->view.held[key], op))
                world_say(w, "n%d holds %.*s op %zu", host->index, (int)key_bytes(key).len,
                          (const char *)key_bytes(key).data, op);
    CHECK(snapshot_open(host->store, &snapshot) == OK);
    CHECK(row_scan_open(snapshot, &(struct dot){0}, &scan) == OK);
    for (int left = 20; left > 0 && row_scan_next(scan, &row) == OK; left--)
        world_say(w, "n%d row %.8s %llu %.*s", host->index, replica_id_text(&row.dot.replica, id),
                  (unsigned long long)row.dot.counter, (int)row.key.len, (const char *)row.key.data);
    row_scan_close(scan);
    snapshot_close(snapshot);
}

bool watch_no_traces(struct world *w, bool *ret_stranded)
{
    bool none = true;
    *ret_stranded = false;
    for (int i = 0; i < w->host_count; i++) {
        struct host *host = &w->hosts[i];
        if (!watch_is_core(host))
            continue;
        struct versions versions = versions_of(host);
        none &= versions.records == versions.living;
        struct snapshot *snapshot;
        struct row_scan *scan;
        struct row row;
        CHECK(snapshot_open(host->store, &snapshot) == OK);
        CHECK(row_scan_open(snapshot, &(struct dot){0}, &scan) == OK);
        while (row_scan_next(scan, &row) == OK) {
            none = false;
            *ret_stranded |= !clock_covers_dot(&host->view.clock, &row.dot);
        }
        row_scan_close(scan);
        snapshot_close(snapshot);
    }
    return none;
}
