/* Readers of the changes in small random worlds, against an oracle that knows which
 * operations each state shown includes.
 *
 * A few replicas put, delete and add, also to counters and sets, exchange parts of deltas
 * and rows ahead, walk in pieces, prune to arbitrary floors and restart. Readers follow the
 * changes of all keys or of a prefix, of counters, of sets, or of all three: over one connection for a while,
 * step by step with small limits, then from another node; connections break between any two events, and what
 * a step had shown beyond is lost. A reader keeps nothing but the last cursor it was
 * given, as text, and begins with a listing or with the present.
 *
 * No reader may ever be shown a state that lacks an operation which a state shown
 * before had (a key that a listing passed over counts as shown when it ends); and
 * once all replicas agree, every reader must end with what they hold.
 *
 *   test_watch [worlds] [first seed]
 *   test_watch_weakened NAME worlds
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "counter.h"
#include "feed.h"
#include "mem.h"
#include "rng.h"
#include "storekit.h"
#include "weaken.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES_MAX = 4, KEYS_MAX = 9, OPS_MAX = 256, READERS = 3, TURNS_MAX = 60, TWICE_EVERY = 50 };

#define COUNTER "\xf8"
#define ELEMENT "\xf9\x73\x01" /* of the set "s" */
static const char *const key_names[KEYS_MAX] = {
    "a0", "a1", COUNTER "n", "b0", ELEMENT "0123456789abcdef", "a2", COUNTER "m", "b1", "c0"};
enum { KEYS = 1 << SPACE_KEYS, COUNTERS = 1 << SPACE_COUNTERS, SETS = 1 << SPACE_SETS };

struct set { /* of operations, by their number */
    uint64_t words[OPS_MAX / 64];
};

struct op {
    struct dot dot;
    size_t key;
};

struct node {
    struct store *store;
    struct engine *engine; /* the store's */
    unsigned id, starts;
};

/* What a reader knows of a key. */
struct sight {
    struct dot surfaced; /* counter 0: nothing */
    int64_t number;      /* of a counter */
    struct set includes; /* of all states shown so far */
    bool passed;         /* a listing under way has passed it, and it was not there; */
    struct set passed_includes;
};

struct reader {
    const char *prefix; /* of the records' keys */
    unsigned spaces;
    struct buf cursor; /* the last one given, as text */
    struct sight keys[KEYS_MAX];
    bool connected;
    size_t node;
    unsigned node_starts;
    /* On this connection: */
    bool stepped;
    struct feed_cursor at;
    uint8_t passed[KEY_MAX]; /* up to where its listing has passed the keys */
    size_t passed_len;
};

struct world {
    struct rng rng;
    struct node nodes[NODES_MAX];
    size_t node_count, key_count, op_count;
    struct op ops[OPS_MAX];
    struct reader readers[READERS];
    size_t step;
    bool fine;
    char why[300];
    uint64_t trace;
    /* How often the readers' difficult cases happened: a world that has none tests nothing. */
    uint64_t shown, gone, behind, listed, broken;
};

static bool chance(struct world *w, unsigned permille)
{
    return rng_permille(&w->rng, permille);
}

static size_t pick(struct world *w, size_t n)
{
    return (size_t)rng_below(&w->rng, n);
}

static void note(struct world *w, uint64_t what)
{
    w->trace = (w->trace ^ what) * 0x100000001b3;
}

static void bad(struct world *w, const char *what, unsigned node, size_t detail)
{
    if (!w->fine)
        return;
    w->fine = false;
    snprintf(w->why, sizeof w->why, "step %zu: %s (replica %u, %zu)", w->step, what, node, detail);
}

static struct snapshot *snapshot_of(struct node *node)
{
    struct snapshot *snapshot = NULL;
    assert_int_equal(snapshot_open(node->store, &snapshot), OK);
    return snapshot;
}

static struct clock clock_of(struct node *node, bool floor)
{
    struct clock clock = {0};
    struct snapshot *snapshot = snapshot_of(node);
    assert_int_equal(snapshot_clock(snapshot, floor ? NULL : &clock, floor ? &clock : NULL), OK);
    snapshot_close(snapshot);
    return clock;
}

static bool covers_floor(struct node *a, struct node *b)
{
    struct clock ours = clock_of(a, false), theirs = clock_of(b, true);
    bool covers = clock_covers(&ours, &theirs);
    clock_done(&ours), clock_done(&theirs);
    return covers;
}

/* ---- what a state includes --------------------------------------------------------- */

struct state {
    struct dot surfaced;
    int64_t number;
    struct set includes;
};

static unsigned space_of(size_t key)
{
    return 1U << space_parse(bytes_str(key_names[key])).space;
}

static void look_at_counter(const struct record *record, struct state *state)
{
    struct counter_view counter = {0};
    size_t malformed;
    assert_int_equal(counter_of_record(&counter, record, &malformed), OK);
    assert_int_equal(malformed, 0);
    assert_int_equal(counter_number(&counter, &state->number), OK);
    if (counter_is_absent(&counter))
        state->surfaced = (struct dot){0};
    counter_done(&counter);
}

static struct state state_of(struct world *w, struct snapshot *snapshot, size_t key)
{
    struct state state = {0};
    struct record record = {0};
    struct clock clock = {0};
    enum err err = snapshot_record(snapshot, bytes_str(key_names[key]), &record);
    assert_true(err == OK || err == ERR_NOT_FOUND);
    assert_int_equal(snapshot_clock(snapshot, &clock, NULL), OK);
    const struct version *version = record_surfaced(&record, 0);
    if (version)
        state.surfaced = version->dot;
    if (space_of(key) == COUNTERS)
        look_at_counter(&record, &state);
    for (size_t i = 0; i < w->op_count; i++)
        if (w->ops[i].key == key &&
            (clock_covers_dot(&clock, &w->ops[i].dot) || clock_covers_dot(&record.context, &w->ops[i].dot) ||
             record_find(&record, &w->ops[i].dot) >= 0))
            state.includes.words[i / 64] |= (uint64_t)1 << i % 64;
    record_done(&record);
    clock_done(&clock);
    return state;
}

static void show(struct world *w, struct reader *r, size_t key, const struct state *state)
{
    struct sight *sight = &r->keys[key];
    for (size_t i = 0; i < OPS_MAX / 64; i++)
        if (sight->includes.words[i] & ~state->includes.words[i])
            bad(w, "a reader is shown a key older than before", w->nodes[r->node].id, key);
    sight->surfaced = state->surfaced;
    sight->number = state->number;
    sight->includes = state->includes;
    sight->passed = false;
    w->shown++;
}

/* ---- a reader ------------------------------------------------------------------------- */

/* A step under way: what the node shows, until the connection breaks. */
struct showing {
    struct world *w;
    struct reader *r;
    struct snapshot *snapshot;
    bool broken;
    unsigned break_permille;
    struct buf text;
};

static size_t key_number(const struct world *w, struct bytes key)
{
    for (size_t i = 0; i < w->key_count; i++)
        if (bytes_equal(key, bytes_str(key_names[i])))
            return i;
    return SIZE_MAX;
}

static bool wants(const struct reader *r, size_t key)
{
    unsigned spaces = r->spaces ? r->spaces : KEYS;
    return spaces & space_of(key) && bytes_starts_with(bytes_str(key_names[key]), bytes_str(r->prefix));
}

static void take_cursor(struct reader *r, const struct feed_cursor *cursor)
{
    buf_reset(&r->cursor);
    feed_cursor_encode(cursor, &r->cursor);
    assert_int_equal(r->cursor.err, OK);
}

static void pass_over(struct showing *s, struct bytes after, struct bytes through, bool to_end)
{
    for (size_t i = 0; i < s->w->key_count; i++) {
        struct bytes key = bytes_str(key_names[i]);
        if (!wants(s->r, i) || bytes_compare(key, after) <= 0 || (!to_end && bytes_compare(key, through) > 0))
            continue;
        struct state state = state_of(s->w, s->snapshot, i);
        if (state.surfaced.counter)
            bad(s->w, "a listing passes a key over that is there", s->w->nodes[s->r->node].id, i);
        s->r->keys[i].passed = true;
        s->r->keys[i].passed_includes = state.includes;
    }
}

static struct bytes below(struct bytes key, uint8_t room[KEY_MAX])
{
    /* Nothing lies between this and the key among the few keys there are. */
    memcpy(room, key.data, key.len);
    room[key.len - 1]--;
    memset(room + key.len, 0xff, KEY_MAX - key.len);
    return bytes_of(room, KEY_MAX);
}

/* Up to where a listing has passed keys without a word, by this event or by the end of
 * a step. */
static void follow_listing(struct showing *s, const struct feed_event *event,
                           const struct feed_cursor *cursor)
{
    struct reader *r = s->r;
    uint8_t room[KEY_MAX];
    struct bytes passed = bytes_of(r->passed, r->passed_len);
    struct bytes now = bytes_of(cursor->after, cursor->after_len);
    if (event && event->kind == FEED_LISTED)
        pass_over(s, passed, passed, true);
    if (cursor->phase != FEED_LIST || bytes_compare(now, passed) <= 0)
        return;
    bool shown = event && bytes_equal(event->key, now);
    pass_over(s, passed, shown ? below(now, room) : now, false);
    memcpy(r->passed, now.data, r->passed_len = now.len);
}

static void end_listing(struct showing *s)
{
    s->w->listed++;
    for (size_t i = 0; i < s->w->key_count; i++) {
        struct sight *sight = &s->r->keys[i];
        if (sight->passed)
            show(s->w, s->r, i, &(struct state){.includes = sight->passed_includes});
    }
}

static void on_event(void *ctx, const struct feed_event *event, const struct feed_cursor *cursor)
{
    struct showing *s = ctx;
    struct world *w = s->w;
    if (s->broken)
        return;
    if (chance(w, s->break_permille)) {
        s->broken = true;
        w->broken++;
        return;
    }
    follow_listing(s, event, cursor);
    take_cursor(s->r, cursor);
    note(w, (uint64_t)event->kind);
    if (event->kind == FEED_LISTED) {
        end_listing(s);
        return;
    }
    size_t key = key_number(w, event->key);
    if (key == SIZE_MAX || !wants(s->r, key) || event->kind == FEED_DAMAGED) {
        bad(w, "an event that nobody should see", w->nodes[s->r->node].id, (size_t)event->kind);
        return;
    }
    struct state state = state_of(w, s->snapshot, key);
    if ((event->kind == FEED_PUT) != (state.surfaced.counter != 0) ||
        (event->version && dot_compare(&event->version->dot, &state.surfaced) != 0) ||
        event->number != state.number ||
        event->has_number != (space_of(key) == COUNTERS && event->kind == FEED_PUT))
        bad(w, "an event shows what is not there", w->nodes[s->r->node].id, key);
    show(w, s->r, key, &state);
}

/* A listing that goes on behind `after`: what an earlier one passed further on was not told. */
static void list_on(struct reader *r, struct bytes after)
{
    if (after.len)
        memcpy(r->passed, after.data, after.len);
    r->passed_len = after.len;
    for (size_t i = 0; i < KEYS_MAX; i++)
        if (bytes_compare(bytes_str(key_names[i]), after) > 0)
            r->keys[i].passed = false;
}

/* A reader that begins with the present knows what is there now, from elsewhere. */
static void begin_now(struct world *w, struct reader *r)
{
    struct snapshot *snapshot = snapshot_of(&w->nodes[r->node]);
    assert_int_equal(feed_now(snapshot, &r->at), OK);
    for (size_t i = 0; i < w->key_count; i++) {
        struct state state = state_of(w, snapshot, i);
        r->keys[i].surfaced = state.surfaced;
        r->keys[i].number = state.number;
    }
    snapshot_close(snapshot);
}

static void begin_with_listing(struct world *w, struct reader *r)
{
    struct snapshot *snapshot = snapshot_of(&w->nodes[r->node]);
    assert_int_equal(feed_anew(snapshot, &r->at), OK);
    snapshot_close(snapshot);
    list_on(r, bytes_of(NULL, 0));
}

static void disconnect(struct reader *r)
{
    r->connected = false;
    feed_cursor_done(&r->at);
}

static void connect(struct world *w, struct reader *r, size_t node)
{
    r->node = node;
    r->node_starts = w->nodes[node].starts;
    r->connected = true;
    r->stepped = false;
    if (!r->cursor.len) {
        if (chance(w, 500))
            begin_with_listing(w, r);
        else
            begin_now(w, r);
        take_cursor(r, &r->at);
    }
    assert_int_equal(feed_cursor_decode(buf_bytes(&r->cursor), &r->at), OK);
    list_on(r, bytes_of(r->at.after, r->at.phase == FEED_LIST ? r->at.after_len : 0));
}

static enum feed_end one_step_of(struct world *w, struct reader *r, bool whole)
{
    struct showing s = {
        .w = w, .r = r, .snapshot = snapshot_of(&w->nodes[r->node]), .break_permille = whole ? 0 : 100};
    struct feed_reader reader = {.prefix = bytes_str(r->prefix),
                                 .spaces = r->spaces,
                                 .continues = r->stepped,
                                 .rows_max = 1 + pick(w, 6),
                                 .bytes_max = 1 + pick(w, 4),
                                 .each = on_event,
                                 .ctx = &s};
    enum feed_end end = FEED_MORE;
    assert_int_equal(feed_step(s.snapshot, &reader, &r->at, &end), OK);
    r->stepped = end == FEED_MORE || end == FEED_AT_HEAD;
    if (!s.broken && r->stepped)
        follow_listing(&s, NULL, &r->at);
    /* Between events it may be told where it stands. */
    if (!s.broken && r->stepped && chance(w, 300))
        take_cursor(r, &r->at);
    snapshot_close(s.snapshot);
    note(w, (uint64_t)end);
    if (end == FEED_GONE) {
        w->gone++;
        begin_with_listing(w, r);
        take_cursor(r, &r->at);
    }
    w->behind += end == FEED_BEHIND;
    if (s.broken)
        disconnect(r);
    return end;
}

static void read_some(struct world *w, struct reader *r)
{
    if (r->connected && r->node_starts != w->nodes[r->node].starts)
        disconnect(r);
    if (!r->connected)
        connect(w, r, pick(w, w->node_count));
    for (size_t n = 1 + pick(w, 4); n > 0 && r->connected && w->fine; n--)
        one_step_of(w, r, false);
    if (r->connected && chance(w, 500))
        disconnect(r);
}

/* ---- the replicas ----------------------------------------------------------------------- */

static enum err count_one(struct world *w, struct node *node, const char *name, struct dot *ret_dot)
{
    struct store_work *work = store_work_new(WORK_COUNT);
    work->count.key = bytes_str(name);
    work->count.remove = chance(w, 300);
    work->count.set = !work->count.remove && chance(w, 300);
    work->count.add = (int64_t)pick(w, 9) - 4;
    enum err err = kit_run(node->store, work);
    *ret_dot = work->count.dot;
    store_work_free(work);
    return err;
}

static void write_one(struct world *w, struct node *node)
{
    if (w->op_count == OPS_MAX)
        return;
    size_t key = pick(w, w->key_count);
    struct dot dot = {0};
    const char *name = key_names[key];
    size_t how = pick(w, 10);
    enum err err = space_of(key) == COUNTERS ? count_one(w, node, name, &dot)
                   : how < 3                 ? kit_delete(node->store, name, NULL, &dot)
                   : how < 5                 ? kit_add(node->store, name, "v", &dot)
                                             : kit_put(node->store, name, "v", NULL, &dot);
    note(w, err);
    if (err != OK && err != ERR_WALKING)
        bad(w, err_text(err), node->id, key);
    if (err == OK && dot.counter)
        w->ops[w->op_count++] = (struct op){.dot = dot, .key = key};
}

struct ahead {
    struct snapshot *snapshot;
    struct store_work *work;
};

static void add_ahead(void *ctx, const struct row *row)
{
    struct ahead *ahead = ctx;
    kit_add_row(ahead->work, ahead->snapshot, row);
}

static void send_ahead(struct world *w, struct node *from, struct node *to, size_t max)
{
    struct ahead ahead = {.work = kit_rows_work(WORK_AHEAD), .snapshot = snapshot_of(from)};
    assert_int_equal(snapshot_rows_ahead(ahead.snapshot, max, add_ahead, &ahead), OK);
    snapshot_close(ahead.snapshot);
    if (kit_do(to->store, ahead.work) != OK)
        bad(w, "rows ahead are refused", to->id, 0);
}

static bool delta(struct world *w, struct node *a, struct node *b, bool part)
{
    if (kit_walking(a->store) || kit_walking(b->store) || !covers_floor(a, b))
        return false;
    if (!part || chance(w, 700))
        send_ahead(w, b, a, part ? pick(w, 10) : 1000);
    struct clock theirs = clock_of(b, false);
    size_t first = theirs.count ? pick(w, theirs.count) : 0;
    for (size_t i = 0; i < theirs.count; i++) {
        if (part && chance(w, 300))
            continue;
        const struct replica_id *origin = &theirs.entries[(first + i) % theirs.count].replica;
        for (size_t n = part && chance(w, 500) ? pick(w, 3) : 100; n > 0; n--) {
            enum err err = kit_send(b->store, a->store, origin, 1 + pick(w, 4), true);
            if (err != OK && err != ERR_FLOOR)
                bad(w, err_text(err), a->id, 1);
        }
    }
    clock_done(&theirs);
    return true;
}

static void walk_piece(struct world *w, struct node *a)
{
    struct node *fit[NODES_MAX];
    size_t fits = 0;
    struct walk_state walk = {0};
    struct snapshot *snapshot = snapshot_of(a);
    assert_int_equal(snapshot_walk(snapshot, &walk), OK);
    snapshot_close(snapshot);
    for (size_t i = 0; i < w->node_count; i++) {
        struct node *b = &w->nodes[i];
        struct clock clock = clock_of(b, false);
        if (b != a && !kit_walking(b->store) && clock_covers(&clock, &walk.last))
            fit[fits++] = b;
        clock_done(&clock);
    }
    walk_state_done(&walk);
    enum err err = fits ? kit_walk_piece(a->store, fit[pick(w, fits)]->store, 1 + pick(w, 3))
                        : kit_walk_start(a->store);
    if (err != OK)
        bad(w, err_text(err), a->id, 2);
}

static void walk_some(struct world *w, struct node *a, struct node *b)
{
    if (kit_walking(a->store))
        walk_piece(w, a);
    else if (!kit_walking(b->store) && (!covers_floor(a, b) || chance(w, 100)))
        assert_int_equal(kit_walk_start(a->store), OK);
}

static void prune(struct world *w, struct node *node)
{
    struct clock clock = clock_of(node, false), floor = clock_of(node, true);
    for (size_t i = 0; i < clock.count; i++) {
        struct dot dot = clock.entries[i];
        uint64_t from = clock_get(&floor, &dot.replica);
        dot.counter = from + pick(w, dot.counter - from + 1);
        clock_raise(&floor, &dot);
    }
    if (kit_prune(node->store, &floor) != OK)
        bad(w, "pruning failed", node->id, 0);
    clock_done(&clock), clock_done(&floor);
}

static void restart(struct node *node)
{
    struct engine *engine = engine_mem_clone(node->engine);
    store_close(node->store);
    node->engine = engine;
    node->store = kit_store_on(engine, node->id);
    node->starts++;
}

static void one_step(struct world *w)
{
    size_t i = pick(w, w->node_count), j = pick(w, w->node_count - 1);
    struct node *a = &w->nodes[i], *b = &w->nodes[j + (j >= i)];
    size_t x = pick(w, 1000);
    note(w, x);
    if (x < 400)
        write_one(w, a);
    else if (x < 750)
        delta(w, a, b, true);
    else if (x < 830)
        prune(w, a);
    else if (x < 950)
        walk_some(w, a, b);
    else
        restart(a);
    for (size_t n = 0; n < READERS; n++)
        if (chance(w, 400))
            read_some(w, &w->readers[n]);
}

/* ---- the run ---------------------------------------------------------------------------------- */

static bool all_equal(struct world *w)
{
    struct clock first = clock_of(&w->nodes[0], false);
    bool equal = true;
    for (size_t i = 0; i < w->node_count; i++) {
        struct clock clock = clock_of(&w->nodes[i], false);
        equal &= clock_equal(&first, &clock) && !kit_walking(w->nodes[i].store);
        clock_done(&clock);
    }
    clock_done(&first);
    return equal;
}

static void settle(struct world *w)
{
    for (size_t turn = 0; turn < TURNS_MAX && w->fine && !all_equal(w); turn++) {
        for (size_t i = 0; i < w->node_count; i++) {
            struct node *a = &w->nodes[i];
            size_t walking = 0;
            for (size_t n = 0; n < w->node_count; n++)
                walking += kit_walking(w->nodes[n].store);
            if (walking == w->node_count) { /* nobody could be a source */
                struct snapshot *snapshot = snapshot_of(a);
                struct walk_state walk = {0};
                assert_int_equal(snapshot_walk(snapshot, &walk), OK);
                struct store_work *work = store_work_new(WORK_WALK_STOP);
                work->rows.serial = walk.serial;
                walk_state_done(&walk);
                snapshot_close(snapshot);
                assert_int_equal(kit_do(a->store, work), OK);
            }
            while (kit_walking(a->store) && w->fine)
                walk_piece(w, a);
        }
        for (size_t n = 0; n < w->node_count * w->node_count; n++) {
            struct node *a = &w->nodes[n / w->node_count], *b = &w->nodes[n % w->node_count];
            if (a != b && !delta(w, a, b, false))
                assert_int_equal(kit_walk(a->store, b->store), OK);
        }
    }
    if (w->fine && !all_equal(w))
        bad(w, "it does not settle", 0, 0);
}

static void finish_reader(struct world *w, struct reader *r)
{
    disconnect(r);
    for (size_t turn = 0; turn < 2; turn++) {
        connect(w, r, pick(w, w->node_count));
        enum feed_end end = FEED_MORE;
        size_t steps = 0;
        while (w->fine && end != FEED_AT_HEAD && steps++ < 2000)
            end = one_step_of(w, r, true);
        if (end != FEED_AT_HEAD)
            bad(w, "a reader does not come to the end", w->nodes[r->node].id, (size_t)end);
        disconnect(r);
    }
    struct snapshot *snapshot = snapshot_of(&w->nodes[0]);
    for (size_t i = 0; i < w->key_count && w->fine; i++) {
        struct state state = state_of(w, snapshot, i);
        if (wants(r, i) &&
            (dot_compare(&r->keys[i].surfaced, &state.surfaced) != 0 || r->keys[i].number != state.number))
            bad(w, "a reader ends with another picture", 0, i);
    }
    snapshot_close(snapshot);
}

static struct world *world_run(uint64_t seed)
{
    static const struct {
        const char *prefix;
        unsigned spaces;
    } wanted[] = {{"", 0},
                  {"", 0},
                  {"a", KEYS},
                  {"b", KEYS},
                  {"\xf8", COUNTERS},
                  {"\xf9", SETS},
                  {"", KEYS | COUNTERS | SETS}};
    struct world *w = mem_new(sizeof *w);
    rng_init(&w->rng, seed);
    w->fine = true;
    w->key_count = 1 + pick(w, KEYS_MAX);
    w->node_count = 2 + pick(w, NODES_MAX - 1);
    for (size_t n = 0; n < w->node_count; n++) {
        w->nodes[n] = (struct node){.engine = engine_mem_new(), .id = (unsigned)n + 1};
        w->nodes[n].store = kit_store_on(w->nodes[n].engine, w->nodes[n].id);
    }
    for (size_t n = 0; n < READERS; n++) {
        size_t which = pick(w, sizeof wanted / sizeof *wanted);
        w->readers[n].prefix = wanted[which].prefix;
        w->readers[n].spaces = wanted[which].spaces;
        buf_init(&w->readers[n].cursor, FEED_CURSOR_TEXT_MAX);
    }
    size_t steps = 10 + pick(w, 111);
    for (w->step = 0; w->step < steps && w->fine; w->step++)
        one_step(w);
    settle(w);
    for (size_t n = 0; n < READERS && w->fine; n++)
        finish_reader(w, &w->readers[n]);
    for (size_t n = 0; n < READERS; n++) {
        disconnect(&w->readers[n]);
        buf_done(&w->readers[n].cursor);
    }
    for (size_t n = 0; n < w->node_count; n++)
        store_close(w->nodes[n].store);
    return w;
}

#ifndef YZMA_WEAKEN

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 800;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t shown = 0, gone = 0, behind = 0, listed = 0, broken = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world *w = world_run(seed);
        bool fine = w->fine;
        if (!fine)
            printf("seed %" PRIu64 ": %s\nreplay: test_watch 1 %" PRIu64 "\n", seed, w->why, seed);
        if (fine && seed % TWICE_EVERY == 0) {
            struct world *again = world_run(seed);
            fine = again->trace == w->trace;
            if (!fine)
                printf("seed %" PRIu64 ": two runs of it differ\n", seed);
            free(again);
        }
        shown += w->shown, gone += w->gone, behind += w->behind, listed += w->listed, broken += w->broken;
        free(w);
        if (!fine)
            return 1;
    }
    printf("%" PRIu64 " worlds: %" PRIu64 " states shown, %" PRIu64 " cursors too old, %" PRIu64
           " nodes behind, %" PRIu64 " listings, %" PRIu64 " connections broken\n",
           count, shown, gone, behind, listed, broken);
    return count < 10 ? 0 : !(shown && gone && behind && listed && broken);
}

#else

static const struct {
    const char *name;
    enum weaken rule;
} variants[] = {
    {"watchlow", WEAKEN_WATCH_LOW},       {"watchhigh", WEAKEN_WATCH_HIGH},
    {"watchshown", WEAKEN_WATCH_SHOWN},   {"watchgone", WEAKEN_WATCH_GONE},
    {"watchlisted", WEAKEN_WATCH_LISTED},
};

int main(int argc, char **argv)
{
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 3000;
    for (size_t i = 0; argc > 1 && i < sizeof variants / sizeof *variants; i++) {
        if (strcmp(argv[1], variants[i].name) != 0)
            continue;
        weakened = variants[i].rule;
        for (uint64_t seed = 1; seed <= count; seed++) {
            struct world *w = world_run(seed);
            bool fine = w->fine;
            if (!fine)
                printf("without the rule '%s', seed %" PRIu64 ": %s\n", variants[i].name, seed, w->why);
            free(w);
            if (!fine)
                return 0;
        }
        printf("%" PRIu64 " worlds do not miss the rule '%s'\n", count, variants[i].name);
        return 1;
    }
    printf("usage: test_watch_weakened NAME [worlds]\n");
    return 2;
}

#endif
