/* The oracle's look at a host, after each of its commits and at the end: what it
 * holds, what it claims, and what must never be. */
#include "check.h"
#include "mem.h"
#include "state.h"

#include <stdlib.h>

/* ---- reading a store ------------------------------------------------------------------- */

struct look {
    struct set held[ORACLE_KEYS];
    uint64_t marks[ORACLE_KEYS];
    bool damaged[ORACLE_KEYS];
    struct clock clock, floor;
    struct replica_id id;
    bool walking;
};

/* Its value and its end are those of operations on this key; a touch keeps the value. */
static bool is_written(const struct world *w, size_t key, const struct version *version)
{
    size_t op = version_number(version), value = value_number(version->value);
    if (!op || op > w->oracle.op_count || !value || value > w->oracle.op_count)
        return false;
    return w->oracle.ops[op].key == key && w->oracle.ops[value].key == key &&
           w->oracle.ops[op].expires_ms == version->expires_ms;
}

/* A record's length and its checksum (record.h), which tell whether it is another one. */
static uint64_t mark_of(struct bytes bytes)
{
    struct cursor in = cursor_of(bytes);
    (void)cursor_u8(&in);
    uint32_t crc = cursor_u32(&in);
    return (uint64_t)bytes.len << 32 | crc;
}

/* What is held under a key; of a record that is as it was, unless `anew`, from memory. */
static enum err look_at_key(struct world *w, struct host *host, struct snapshot *snapshot, size_t key,
                            bool anew, struct look *look)
{
    struct record record = {0};
    struct bytes bytes;
    enum err err = snapshot_record_bytes(snapshot, key_bytes(key), &bytes);
    if (err != OK)
        return err == ERR_NOT_FOUND ? OK : err;
    look->marks[key] = mark_of(bytes);
    if (look->marks[key] == host->view.marks[key] && !anew && !host->view.damaged[key]) {
        look->held[key] = host->view.held[key];
        return OK;
    }
    err = record_decode(key_bytes(key), bytes, &record);
    if (err != OK && host->view.damaged[key]) {
        look->held[key] = host->view.held[key];
        look->damaged[key] = true;
        err = OK;
    }
    if (err != OK)
        world_say(w, "n%d: its record of %.*s cannot be read", host->index, (int)key_bytes(key).len,
                  (const char *)key_bytes(key).data);
    for (size_t i = 0; i < record.count && err == OK; i++) {
        if (is_written(w, key, &record.versions[i]))
            set_add(&look->held[key], version_number(&record.versions[i]));
        else
            world_fail(w, "n%d holds what nobody wrote under %.*s", host->index, (int)key_bytes(key).len,
                       (const char *)key_bytes(key).data);
    }
    record_done(&record);
    return err;
}

static bool look_at(struct world *w, struct host *host, bool anew, struct look *look)
{
    struct snapshot *snapshot;
    struct identity identity = {0};
    struct walk_state walk = {0};
    enum err err = snapshot_open(host->store, &snapshot);
    if (err != OK) {
        world_fail(w, "n%d cannot be read: %s", host->index, err_text(err));
        return false;
    }
    for (size_t key = 0; key < w->oracle.key_count && err == OK; key++)
        err = look_at_key(w, host, snapshot, key, anew, look);
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

bool excused(const struct world *w, size_t op)
{
    return w->oracle.ops[op].may_be_lost || w->oracle.ops[op].put_again;
}

/* All who removed it, surely, are of ids that were ended by hand before they were everywhere. */
static bool was_ended(const struct world *w, size_t op)
{
    struct set surely, perhaps;
    if (!w->result.retired)
        return false;
    oracle_removed(&w->oracle, &surely, &perhaps);
    return !set_has(&surely, op);
}

/* By a clock that was ahead: digests find it, and it is put back. */
static bool dropped_early(const struct world *w, size_t op)
{
    return w->oracle.ops[op].dropped && w->oracle.ops[op].expires_ms > world_wall(w);
}

/* 2: what was removed here does not come back. 4: a later write is never beside what it replaced. */
static void check_key(struct world *w, struct host *host, size_t key, const struct set *held)
{
    struct host_view *view = &host->view;
    for (size_t op = 1; op <= w->oracle.op_count; op++) {
        if (!(op % 64) && !held->words[op / 64] && !view->held[key].words[op / 64]) {
            op += 63;
            continue;
        }
        if (!set_has(held, op)) {
            if (set_has(&view->held[key], op))
                set_add(&view->gone, op);
            continue;
        }
        enum op_state state = w->oracle.ops[op].state;
        if ((state == OP_VOID || state == OP_ASKED) && !w->lossy)
            world_fail(w, "n%d: op %zu is there, and was refused", host->index, op);
        if (set_has(&view->gone, op) && !excused(w, op) && !was_ended(w, op) && !dropped_early(w, op))
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

/* Another host has the id that this one had: a copy, or its original. */
static bool shares_id(const struct world *w, const struct host *host)
{
    for (int i = 0; i < w->host_count; i++)
        if (&w->hosts[i] != host && w->hosts[i].used && !w->hosts[i].removed &&
            replica_id_equal(&w->hosts[i].view.id, &host->view.id))
            return true;
    return false;
}

/* A store that took a new id has put again what it alone had: under dots of the new id. */
static void follow_identity(struct world *w, struct host *host, const struct look *look)
{
    bool moved = !replica_id_is_zero(&host->view.id) && !replica_id_equal(&host->view.id, &look->id);
    for (size_t i = 1; i <= w->oracle.op_count && moved; i++) {
        struct op *op = &w->oracle.ops[i];
        if (op->state == OP_DONE && (op->host == host->index || w->result.twins) &&
            !clock_covers_dot(&look->clock, &op->dot) && replica_id_equal(&op->dot.replica, &host->view.id))
            op->put_again = true;
    }
    if (moved) {
        world_say(w, "n%d has a new id", host->index);
        damage_lost(w); /* what it is to put again it cannot read */
        w->result.reidentified++;
        if (!w->lossy && !w->renamed) /* what it puts again others may have removed meanwhile */
            world_fail(w, "n%d takes a new id, and its store is the one that it had", host->index);
        if (!shares_id(w, host))
            dead_add(w, &host->view.id);
        clock_clear(&host->view.clock); /* the old id's entry may have fallen */
    }
    host->view.id = look->id;
}

void watch_host(struct world *w, struct host *host, bool opened)
{
    struct look look = {0};
    if (look_at(w, host, opened || w->calm, &look)) {
        follow_identity(w, host, &look);
        for (size_t i = 0; i < look.clock.count; i++)
            world_mix(w, &look.clock.entries[i].counter, sizeof look.clock.entries[i].counter);
        if (!clock_covers(&look.clock, &host->view.clock))
            world_fail(w, "n%d: its clock has fallen%s (promise 1)", host->index,
                       opened ? " by the restart: acknowledged writes are lost" : "");
        if (!clock_covers(&look.clock, &look.floor))
            world_fail(w, "n%d: its floor stands above its clock", host->index);
        for (size_t key = 0; key < w->oracle.key_count; key++)
            if (host->view.damaged[key] && !look.damaged[key])
                damage_mended(w, host, key, &look.held[key]);
        for (size_t key = 0; key < w->oracle.key_count; key++)
            if (opened || memcmp(&host->view.held[key], &look.held[key], sizeof look.held[key]) != 0)
                check_key(w, host, key, &look.held[key]);
        memcpy(host->view.marks, look.marks, sizeof look.marks);
        check_claims(w, host, &look);
        clock_copy(&host->view.clock, &look.clock);
        clock_copy(&host->view.floor, &look.floor);
    }
    look_done(&look);
}

/* ---- losses --------------------------------------------------------------------------------- */

/* What hosts other than this one claim: any of them, and all. */
static void claimed_by_others(const struct world *w, const struct host *but, struct set *ret_any,
                              struct set *ret_all)
{
    *ret_any = (struct set){0};
    memset(ret_all, 0xff, sizeof *ret_all);
    for (int i = 0; i < w->host_count; i++) {
        const struct host *host = &w->hosts[i];
        if (host == but || !host->used || host->removed || host->rotten)
            continue; /* of a rotten one it is not known what is left */
        struct set covered = damage_covered(w, host);
        set_unite(ret_any, &covered);
        for (size_t k = 0; k < ORACLE_OPS / 64; k++)
            ret_all->words[k] &= covered.words[k];
    }
}

/* What only this disk surely has may be gone, and halves of it may live on. Of an id that
 * was ended everybody but those who are not expected must have it. */
void watch_lost(struct world *w, struct host *host)
{
    struct set any, all;
    CHECK(w->lossy);
    claimed_by_others(w, host, &any, &all);
    for (size_t i = 1; i <= w->oracle.op_count; i++) {
        struct op *op = &w->oracle.ops[i];
        if (op->state == OP_DONE && !set_has(dead_retired(w, &op->dot.replica) ? &all : &any, i))
            op->may_be_lost = true;
    }
    damage_lost(w);
}

/* What all have stays. What its own node alone has it puts again, when it is back. What
 * some have goes with them, if nobody expects them back. */
void watch_retired(struct world *w, const struct replica_id *id)
{
    struct host *owner = NULL;
    struct set any, all;
    for (int i = 0; i < w->host_count; i++)
        if (w->hosts[i].used && !w->hosts[i].removed && replica_id_equal(&w->hosts[i].view.id, id))
            owner = &w->hosts[i];
    claimed_by_others(w, owner, &any, &all);
    for (size_t i = 1; i <= w->oracle.op_count; i++) {
        struct op *op = &w->oracle.ops[i];
        bool owned = owner && set_has(&owner->view.covered, i);
        if (op->state == OP_DONE && replica_id_equal(&op->dot.replica, id) && !set_has(&all, i) &&
            !(owned && !set_has(&any, i)))
            op->may_be_lost = true;
    }
    damage_lost(w);
}

/* Whoever of the two takes a new id puts again what it does not know to be known. */
void watch_twin(struct world *w, const struct host *host)
{
    struct set any, all;
    claimed_by_others(w, host, &any, &all);
    for (size_t i = 1; i <= w->oracle.op_count; i++) {
        struct op *op = &w->oracle.ops[i];
        if (op->state == OP_DONE && replica_id_equal(&op->dot.replica, &host->view.id) && !set_has(&all, i))
            op->put_again = true;
    }
}

/* ---- the end ---------------------------------------------------------------------------------- */

bool watch_is_core(const struct host *host)
{
    return host->used && host->running && !host->removed && !host->left;
}

static bool same_held(const struct host *a, const struct host *b, const struct set *left_out)
{
    for (size_t key = 0; key < ORACLE_KEYS; key++)
        for (size_t i = 0; i < ORACLE_OPS / 64; i++)
            if ((a->view.held[key].words[i] ^ b->view.held[key].words[i]) & ~left_out->words[i])
                return false;
    return true;
}

static size_t core_count(const struct world *w)
{
    size_t count = 0;
    for (int i = 0; i < w->host_count; i++)
        count += watch_is_core(&w->hosts[i]);
    return count;
}

/* Equal clocks and equal versions, by what was seen after each one's last commit. One that all others have
 * left has nobody to ask for what it cannot read. */
bool watch_agree(struct world *w)
{
    const struct host *first = NULL;
    struct set left_out = oracle_not_compared(&w->oracle);
    bool alone = core_count(w) == 1;
    for (int i = 0; i < w->host_count; i++) {
        const struct host *host = &w->hosts[i];
        if (host->used && !host->removed && !host->left && !host->running)
            return false;
        if (!watch_is_core(host))
            continue;
        if (host->held || host->stopping || (damage_read(w, &w->hosts[i]) && !alone))
            return false;
        if (first &&
            (!clock_equal(&first->view.clock, &host->view.clock) || !same_held(first, host, &left_out)))
            return false;
        first = first ? first : host;
    }
    return true;
}

struct versions { /* of a store, byte for byte, but for those that are not compared */
    uint64_t digest;
    size_t records, living;
    size_t over; /* versions that should have been dropped by now */
};

static void leave_out(struct record *record, const struct set *set)
{
    for (size_t i = record->count; i-- > 0;)
        if (set_has(set, version_number(&record->versions[i])))
            record_remove_at(record, i);
}

static struct versions versions_of(struct world *w, struct host *host)
{
    struct set left_out = oracle_not_compared(&w->oracle);
    uint64_t over_ms = host_wall(w, host) - w->skew_max_ms;
    struct versions v = {.digest = 0xcbf29ce484222325u};
    struct snapshot *snapshot;
    struct scan *scan;
    struct bytes key, bytes;
    struct record record = {0};
    CHECK(snapshot_open(host->store, &snapshot) == OK);
    CHECK(scan_open(snapshot, bytes_of(NULL, 0), &scan) == OK);
    while (scan_next(scan, &key, &bytes) == OK) {
        v.records++;
        if (record_decode(key, bytes, &record) != OK) {
            v.digest += (uint64_t)host->index + 1; /* like no other */
            continue;
        }
        v.living += record.count > 0;
        for (size_t i = 0; i < record.count; i++)
            v.over += version_expired(&record.versions[i], over_ms);
        leave_out(&record, &left_out);
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

/* Byte for byte: one operation may stand there under two dots. */
bool watch_equal(struct world *w)
{
    uint64_t digest = 0;
    bool first = true;
    for (int i = 0; i < w->host_count; i++) {
        if (!watch_is_core(&w->hosts[i]))
            continue;
        uint64_t other = versions_of(w, &w->hosts[i]).digest;
        if (!first && other != digest)
            return false;
        digest = other;
        first = false;
    }
    return true;
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
    if (!held && op->state == OP_DONE && !op->may_be_lost && (!op->twice || w->options.strict) &&
        !set_has(perhaps, i))
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

/* No two have one id. */
static void check_ids(struct world *w)
{
    for (int i = 0; i < w->host_count; i++)
        for (int k = 0; k < i; k++)
            if (watch_is_core(&w->hosts[i]) && watch_is_core(&w->hosts[k]) &&
                replica_id_equal(&w->hosts[i].view.id, &w->hosts[k].view.id))
                world_fail(w, "n%d and n%d have one replica id", k, i);
}

void watch_end(struct world *w, bool complete)
{
    struct set surely, perhaps;
    uint64_t digest = 0;
    bool first = true;
    leave_out_the_left(w);
    oracle_removed(&w->oracle, &surely, &perhaps);
    check_ids(w);
    for (int i = 0; i < w->host_count; i++) {
        struct host *host = &w->hosts[i];
        if (!watch_is_core(host))
            continue;
        watch_host(w, host, false);
        for (size_t op = 1; op <= w->oracle.op_count; op++)
            check_final_op(w, host, op, &surely, &perhaps);
        struct versions versions = versions_of(w, host);
        if (complete && !first && digest != versions.digest)
            world_fail(w, "n%d holds other versions than the others (promise 2)", host->index);
        digest = versions.digest;
        first = false;
        world_mix(w, &digest, sizeof digest);
    }
}

/* Records that should have gone, or should go in part. */
static void tell_rests(struct world *w, struct host *host, struct snapshot *snapshot)
{
    uint64_t over_ms = host_wall(w, host) - w->skew_max_ms;
    struct scan *scan;
    struct bytes key, bytes;
    struct record record = {0};
    char id[REPLICA_ID_TEXT];
    CHECK(scan_open(snapshot, bytes_of(NULL, 0), &scan) == OK);
    while (scan_next(scan, &key, &bytes) == OK) {
        if (record_decode(key, bytes, &record) != OK || !record.count)
            world_say(w, "n%d keeps a record of %.*s without versions", host->index, (int)key.len,
                      (const char *)key.data);
        for (size_t i = 0; i < record.context.count && !record.count; i++)
            world_say(w, "n%d .. with %.8s %llu", host->index,
                      replica_id_text(&record.context.entries[i].replica, id),
                      (unsigned long long)record.context.entries[i].counter);
        for (size_t i = 0; i < record.count; i++)
            if (version_expired(&record.versions[i], over_ms))
                world_say(w, "n%d has not dropped op %zu, which is over", host->index,
                          version_number(&record.versions[i]));
    }
    record_done(&record);
    scan_close(scan);
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
    world_say(w, "n%d is %s", host->index, host->left ? "one that has left" : "a member");
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
    tell_rests(w, host, snapshot);
    CHECK(row_scan_open(snapshot, &(struct dot){0}, &scan) == OK);
    for (int left = 20; left > 0 && row_scan_next(scan, &row) == OK; left--)
        world_say(w, "n%d row %.8s %llu %.*s", host->index, replica_id_text(&row.dot.replica, id),
                  (unsigned long long)row.dot.counter, (int)row.key.len, (const char *)row.key.data);
    row_scan_close(scan);
    snapshot_close(snapshot);
}

/* Clocks that ran fast or slow are where that has brought them. Is each so near the others that
 * its node cannot hold it for wrong, by times that are under way for a moment? */
static bool clocks_are_near(const struct world *w)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < w->host_count; i++) {
        if (!watch_is_core(&w->hosts[i]))
            continue;
        uint64_t wall_ms = host_wall(w, &w->hosts[i]);
        least = wall_ms < least ? wall_ms : least;
        most = wall_ms > most ? wall_ms : most;
    }
    return most < least + w->skew_max_ms - 2 * w->delay_ms;
}

bool watch_no_traces(struct world *w, bool *ret_stranded)
{
    bool none = true,
         drops = clocks_are_near(w) && core_count(w) > 1; /* one alone may have heard of no clock */
    *ret_stranded = false;
    for (int i = 0; i < w->host_count; i++) {
        struct host *host = &w->hosts[i];
        /* A join that failed and then reached somebody: it is expected, and not waited for here. */
        *ret_stranded |= host->running && host->left && !host_has_left(host);
        if (!watch_is_core(host))
            continue;
        struct versions versions = versions_of(w, host);
        none &= versions.records == versions.living && (!versions.over || !drops);
        struct snapshot *snapshot;
        struct row_scan *scan;
        struct row row;
        CHECK(snapshot_open(host->store, &snapshot) == OK);
        CHECK(row_scan_open(snapshot, &(struct dot){0}, &scan) == OK);
        enum err err;
        while ((err = row_scan_next(scan, &row)) == OK) {
            none = false;
            *ret_stranded |= !clock_covers_dot(&host->view.clock, &row.dot);
        }
        none &= err == ERR_NOT_FOUND; /* one that is damaged is there, too */
        row_scan_close(scan);
        snapshot_close(snapshot);
    }
    return none;
}
