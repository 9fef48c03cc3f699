/* What is behind the log goes bad: a record whose checksum does not fit, a row that nobody
 * can read. Nobody is told; who reads it finds out.
 *
 * Of the damaged record the oracle goes on to believe what it saw last, until a sound one
 * stands in its place. Where others have all that it told, nothing may be lost of it, and
 * so in worlds without losses only such records go bad. Elsewhere what its host alone had
 * may go, and with it what others hold under the key: a delete that is given up without its
 * context takes all versions that it may have seen (docs/STORAGE.md, Damage). */
#include "check.h"
#include "engine.h"
#include "log_engine.h"
#include "mem.h"
#include "state.h"

#include <stdlib.h>

/* ---- the oracle's side --------------------------------------------------------------- */

static struct set ops_on(const struct world *w, size_t key)
{
    struct set ops = {0};
    for (size_t i = 1; i <= w->oracle.op_count; i++)
        if (w->oracle.ops[i].key == key)
            set_add(&ops, i);
    return ops;
}

struct set damage_covered(const struct world *w, const struct host *host)
{
    struct set covered = host->view.covered;
    for (size_t key = 0; key < w->oracle.key_count; key++) {
        if (!host->view.damaged[key])
            continue;
        struct set ops = ops_on(w, key);
        covered = set_without(&covered, &ops);
    }
    return covered;
}

/* All that this host claims of the key, all others that were ever started have whole. */
static bool is_everywhere(const struct world *w, const struct host *host, size_t key)
{
    struct set rest = ops_on(w, key);
    rest = set_without(&rest, &host->view.covered);
    struct set claimed = ops_on(w, key);
    claimed = set_without(&claimed, &rest);
    for (int i = 0; i < w->host_count; i++) {
        const struct host *other = &w->hosts[i];
        if (other == host || !other->used || other->removed)
            continue;
        if (other->view.damaged[key] || other->rotten || set_beyond(&claimed, &other->view.covered) >= 0)
            return false;
    }
    return true;
}

static void lose_key(struct world *w, size_t key)
{
    for (size_t i = 1; i <= w->oracle.op_count; i++)
        if (w->oracle.ops[i].key == key && w->oracle.ops[i].state == OP_DONE)
            w->oracle.ops[i].may_be_lost = true;
}

/* Somebody's disk has gone, or an id: what was to mend a record may be gone with it. */
void damage_lost(struct world *w)
{
    for (int i = 0; i < w->host_count; i++)
        for (size_t key = 0; key < w->oracle.key_count && w->hosts[i].used; key++)
            if (w->hosts[i].view.damaged[key])
                lose_key(w, key);
}

/* What the record that was put back does not have is to come again, but for what the clock claims. */
void damage_mended(struct world *w, struct host *host, size_t key, const struct set *held)
{
    struct host_view *view = &host->view;
    struct set ops = ops_on(w, key);
    world_say(w, "n%d: the record of %.*s is whole again", host->index, (int)key_bytes(key).len,
              (const char *)key_bytes(key).data);
    view->damaged[key] = false;
    view->gone = set_without(&view->gone, &ops);
    for (size_t i = 1; i <= w->oracle.op_count; i++) {
        if (!set_has(&ops, i) || !set_has(&view->covered, i) || excused(w, i))
            continue;
        set_unite(&view->gone, &w->oracle.ops[i].removed);
        if (w->oracle.ops[i].put && !set_has(held, i))
            set_add(&view->gone, i);
    }
    view->held[key] = *held;
    w->result.mended++;
}

/* ---- the damage -------------------------------------------------------------------------- */

/* May this record go bad, in this world? Where it may not be without loss, that is noted. */
static bool may_go(struct world *w, struct host *host, size_t key)
{
    struct snapshot *snapshot;
    struct bytes bytes;
    struct record record = {0};
    CHECK(snapshot_open(host->store, &snapshot) == OK);
    bool sound = snapshot_record_bytes(snapshot, key_bytes(key), &bytes) == OK &&
                 record_decode(key_bytes(key), bytes, &record) == OK;
    record_done(&record);
    snapshot_close(snapshot);
    bool elsewhere = false; /* a record that nobody can read any more nobody can mend */
    for (int i = 0; i < w->host_count; i++)
        elsewhere |= w->hosts[i].used && w->hosts[i].view.damaged[key];
    return sound && !elsewhere && (w->lossy || is_everywhere(w, host, key));
}

static size_t key_number(const struct world *w, struct bytes key)
{
    size_t number = 0;
    while (number < w->oracle.key_count && !bytes_equal(key_bytes(number), key))
        number++;
    return number;
}

/* A copy of an entry at or above a place drawn by chance, with a bit flipped: of a row one
 * of its kind, which has no other that is valid beside it. */
struct victim {
    struct buf key, value;
    size_t number; /* of a record's key */
    uint64_t bit;  /* that is flipped */
};

static void flip(struct victim *victim)
{
    victim->value.data[victim->bit / 8] ^= (uint8_t)(1u << victim->bit % 8);
}

static enum err find_victim(struct world *w, struct host *host, struct engine_txn *txn, enum table table,
                            struct victim *victim)
{
    const struct engine_ops *ops = host->tree.engine->ops;
    struct engine_cursor *cursor;
    struct bytes key, value;
    uint64_t skip = world_pick(w, table == TABLE_RECORDS ? 3 : 40);
    enum err err = ops->cursor_open(txn, table, &cursor);
    if (err != OK)
        return err;
    err = ops->cursor_seek(cursor, bytes_of(NULL, 0), &key, &value);
    while (err == OK) {
        victim->number = table == TABLE_RECORDS ? key_number(w, key) : 0;
        bool fits = table == TABLE_ROWS ||
                    (victim->number < w->oracle.key_count && may_go(w, host, victim->number));
        if (fits && skip-- == 0)
            break;
        err = ops->cursor_next(cursor, &key, &value);
    }
    if (err == OK) {
        buf_put_bytes(&victim->key, key);
        buf_put_bytes(&victim->value, value);
        victim->bit = world_pick(w, table == TABLE_ROWS ? 8 : 8 * value.len);
        flip(victim);
    }
    ops->cursor_close(cursor);
    return err;
}

static bool put_victim(struct world *w, struct host *host, enum table table, struct victim *victim)
{
    const struct engine_ops *ops = host->tree.engine->ops;
    struct engine_txn *txn;
    if (ops->write_begin(host->tree.engine, &txn) != OK)
        return false;
    enum err err = victim->key.len ? OK : find_victim(w, host, txn, table, victim);
    if (err == OK)
        err = ops->put(txn, table, buf_bytes(&victim->key), buf_bytes(&victim->value));
    if (err != OK) {
        ops->end(txn);
        return false;
    }
    return ops->commit(txn) == OK;
}

/* What the log still hides is as it was again: it may have been applied already, so that
 * nobody could say when the damage comes to light. */
static void take_back(struct world *w, struct host *host, struct victim *victim)
{
    flip(victim);
    if (!put_victim(w, host, TABLE_RECORDS, victim))
        world_fail(w, "n%d: the tree cannot be written", host->index);
}

/* Is what stands in the tree what is read, or does the log have something newer? */
static bool is_seen(struct host *host, size_t key)
{
    struct snapshot *snapshot;
    struct bytes bytes;
    struct record record = {0};
    CHECK(snapshot_open(host->store, &snapshot) == OK);
    bool seen = snapshot_record_bytes(snapshot, key_bytes(key), &bytes) == OK &&
                record_decode(key_bytes(key), bytes, &record) != OK;
    record_done(&record);
    snapshot_close(snapshot);
    return seen;
}

void host_damage(struct world *w, struct host *host)
{
    enum table table = world_chance(w, 300) ? TABLE_ROWS : TABLE_RECORDS;
    struct victim victim;
    if (!host->running || host->stopping || host->doubt_count || host_dead(w, host))
        return;
    tree_fail(w, host, &(struct tree_fault){.nth = 0}); /* this change is none of the node's */
    buf_init(&victim.key, SIZE_MAX);
    buf_init(&victim.value, SIZE_MAX);
    bool done = put_victim(w, host, table, &victim);
    if (done && table == TABLE_ROWS) {
        struct dot dot = {.counter = 0};
        CHECK(victim.key.len == REPLICA_ID_SIZE + 8);
        memcpy(&dot.replica, victim.key.data, REPLICA_ID_SIZE);
        for (size_t i = 0; i < 8; i++)
            dot.counter = dot.counter << 8 | victim.key.data[REPLICA_ID_SIZE + i];
        world_say(w, "n%d: row %.8s %llu goes bad", host->index,
                  replica_id_text(&dot.replica, (char[REPLICA_ID_TEXT]){0}), (unsigned long long)dot.counter);
        w->result.rows_damaged++;
    } else if (done && is_seen(host, victim.number)) {
        struct bytes key = key_bytes(victim.number);
        bool whole = is_everywhere(w, host, victim.number);
        world_say(w, "n%d: the record of %.*s goes bad%s", host->index, (int)key.len, (const char *)key.data,
                  whole ? "" : ", and others may lack of it");
        if (!whole)
            lose_key(w, victim.number);
        host->view.damaged[victim.number] = true;
        w->result.records_damaged++;
    } else if (done) {
        take_back(w, host, &victim);
    }
    buf_done(&victim.key);
    buf_done(&victim.value);
}

/* As a client would who reads all of it. */
bool damage_read(struct world *w, struct host *host)
{
    bool damaged = false;
    for (size_t key = 0; key < w->oracle.key_count && host->running; key++) {
        struct snapshot *snapshot;
        struct record record = {0};
        if (!host->view.damaged[key])
            continue;
        damaged = true;
        CHECK(snapshot_open(host->store, &snapshot) == OK);
        (void)!snapshot_record(snapshot, key_bytes(key), &record);
        record_done(&record);
        snapshot_close(snapshot);
    }
    return damaged;
}
