#include "fake_store.h"

#include "feed.h"

#include "check.h"
#include "mem.h"

#include <pthread.h>
#include <stdlib.h>

struct entry {
    uint8_t key[KEY_MAX];
    size_t key_length;
    struct buf record;
};

/* All under the lock; a snapshot holds it. */
struct store {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct entry *entries; /* by key */
    size_t count, room;
    struct clock clock, floor;
    struct replica_id id;
    const char *walk_after, *name;
    enum err fail;
    uint64_t stamp, wall_ms;
    struct store_work *first, **last;
    size_t waiting;
    bool hold, ending;
};

struct fake_store {
    struct store store;
    pthread_t committer;
    void (*on_commit)(void *ctx);
    void *ctx;
};

struct snapshot {
    struct store *store;
};

struct scan {
    struct store *store;
    size_t at;
};

static struct bytes key_of(const struct entry *e)
{
    return bytes_of(e->key, e->key_length);
}

static size_t place_of(const struct store *s, struct bytes key)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(key_of(&s->entries[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct entry *find(const struct store *s, struct bytes key)
{
    size_t at = place_of(s, key);
    return at < s->count && bytes_equal(key_of(&s->entries[at]), key) ? &s->entries[at] : NULL;
}

static void keep(struct store *s, struct bytes key, const struct record *record)
{
    struct entry *e = find(s, key);
    if (!e) {
        size_t at = place_of(s, key);
        if (s->count == s->room) {
            s->room = s->room ? 2 * s->room : 16;
            s->entries = mem_grow(s->entries, s->room * sizeof *s->entries);
        }
        memmove(&s->entries[at + 1], &s->entries[at], (s->count - at) * sizeof *s->entries);
        s->count++;
        e = &s->entries[at];
        *e = (struct entry){.key_length = key.len};
        memcpy(e->key, key.data, key.len);
        buf_init(&e->record, SIZE_MAX);
    }
    struct buf encoded;
    buf_init(&encoded, SIZE_MAX);
    record_encode(key, record, &encoded);
    buf_done(&e->record);
    e->record = encoded;
}

/* ---- the face ---- */

enum err snapshot_open(struct store *store, struct snapshot **ret)
{
    *ret = mem_new(sizeof **ret);
    (*ret)->store = store;
    pthread_mutex_lock(&store->lock);
    return OK;
}

void snapshot_close(struct snapshot *snapshot)
{
    pthread_mutex_unlock(&snapshot->store->lock);
    free(snapshot);
}

enum err snapshot_digest(struct snapshot *snapshot, struct bytes after, struct bytes through,
                         const struct digest_limits *limits, struct range_digest *ret,
                         uint8_t ret_through[KEY_MAX], size_t *ret_through_len, bool *ret_end,
                         void (*each)(void *ctx, struct bytes key, uint64_t hash), void *ctx)
{
    *ret = (struct range_digest){.keys = limits->records, .hash = 0xab};
    *ret_through_len = after.len + through.len;
    memcpy(ret_through, after.data, after.len);
    if (through.len)
        memcpy(ret_through + after.len, through.data, through.len);
    *ret_end = through.len > 0;
    if (each)
        each(ctx, bytes_str("k"), 0x12);
    return OK;
}

enum err snapshot_is_settled(struct snapshot *snapshot, bool *ret)
{
    *ret = true;
    return OK;
}

void snapshot_met_damage(struct snapshot *snapshot, struct bytes key, const struct dot *proof)
{
}

enum err snapshot_record(struct snapshot *snapshot, struct bytes key, struct record *ret)
{
    struct entry *e = find(snapshot->store, key);
    if (!e) {
        record_clear(ret);
        return ERR_NOT_FOUND;
    }
    return record_decode(key, buf_bytes(&e->record), ret) == OK ? OK : ERR_DAMAGED;
}

enum err snapshot_clock(struct snapshot *snapshot, struct clock *ret_clock, struct clock *ret_floor)
{
    if (ret_clock)
        clock_copy(ret_clock, &snapshot->store->clock);
    if (ret_floor)
        clock_copy(ret_floor, &snapshot->store->floor);
    return OK;
}

enum err snapshot_floor(struct snapshot *snapshot, struct floor_cache *cache)
{
    return snapshot_clock(snapshot, NULL, &cache->floor);
}

enum err snapshot_walk(struct snapshot *snapshot, struct walk_state *ret)
{
    const char *after = snapshot->store->walk_after;
    ret->phase = after ? WALK_RECORDS : WALK_NONE;
    if (after) {
        ret->after_len = strlen(after);
        memcpy(ret->after, after, ret->after_len);
    }
    return OK;
}

bool walk_hides(const struct walk_state *walk, struct bytes key)
{
    return walk->phase == WALK_RECORDS && bytes_compare(key, bytes_of(walk->after, walk->after_len)) > 0;
}

void walk_state_done(struct walk_state *walk)
{
}

enum err snapshot_note(struct snapshot *snapshot, const char *name, struct bytes *ret)
{
    char wanted[64] = "name/";
    replica_id_text(&snapshot->store->id, wanted + 5);
    if (!snapshot->store->name || strcmp(name, wanted) != 0)
        return ERR_NOT_FOUND;
    *ret = bytes_str(snapshot->store->name);
    return OK;
}

enum err scan_open(struct snapshot *snapshot, struct bytes from, struct scan **ret)
{
    *ret = mem_new(sizeof **ret);
    **ret = (struct scan){.store = snapshot->store, .at = place_of(snapshot->store, from)};
    return OK;
}

enum err snapshot_record_bytes(struct snapshot *snapshot, struct bytes key, struct bytes *ret)
{
    struct entry *e = find(snapshot->store, key);
    if (!e)
        return ERR_NOT_FOUND;
    *ret = buf_bytes(&e->record);
    return OK;
}

enum err scan_seek(struct scan *scan, struct bytes key, struct bytes *ret_key, struct bytes *ret_record)
{
    scan->at = place_of(scan->store, key);
    return scan_next(scan, ret_key, ret_record);
}

enum err scan_before(struct scan *scan, struct bytes below, struct bytes *ret_key, struct bytes *ret_record)
{
    size_t at = place_of(scan->store, below);
    if (at == 0)
        return ERR_NOT_FOUND;
    scan->at = at - 1;
    return scan_next(scan, ret_key, ret_record);
}

enum err scan_next(struct scan *scan, struct bytes *ret_key, struct bytes *ret_record)
{
    if (scan->at == scan->store->count)
        return ERR_NOT_FOUND;
    const struct entry *e = &scan->store->entries[scan->at++];
    *ret_key = key_of(e);
    *ret_record = buf_bytes(&e->record);
    return OK;
}

void scan_close(struct scan *scan)
{
    free(scan);
}

struct store_work *store_work_new(enum work_kind kind)
{
    struct store_work *work = mem_new(sizeof *work);
    work->kind = kind;
    return work;
}

void store_work_free(struct store_work *work)
{
    if (work && work->kind == WORK_BATCH) {
        free(work->batch.writes);
        free(work->batch.conditions);
        buf_done(&work->batch.text);
    }
    free(work);
}

struct write_work *store_work_add_write(struct store_work *work)
{
    struct batch_work *batch = &work->batch;
    if (batch->count == batch->room) {
        batch->room = batch->room ? 2 * batch->room : 16;
        batch->writes = mem_grow(batch->writes, batch->room * sizeof *batch->writes);
    }
    memset(&batch->writes[batch->count], 0, sizeof *batch->writes);
    return &batch->writes[batch->count++];
}

/* ---- the committer ---- */

/* With the record as it stands in *record. */
static enum err judge(struct store *s, struct write_work *w, struct record *record)
{
    if (s->fail != OK)
        return s->fail;
    if (w->token && !clock_covers(&s->clock, &w->token->after))
        return ERR_BEHIND;
    struct entry *e = find(s, w->key);
    if (e && record_decode(w->key, buf_bytes(&e->record), record) != OK)
        return ERR_DAMAGED;
    w->tag = record_tag(record, s->wall_ms);
    if (w->condition && !condition_holds(w->condition, w->tag))
        return ERR_UNMET;
    return w->touch && !record_surfaced(record, s->wall_ms) ? ERR_NOT_FOUND : OK;
}

static enum err write_one(struct store *s, struct write_work *w)
{
    struct record record = {0};
    enum err err = judge(s, w, &record);
    if (err != OK) {
        record_done(&record);
        return err;
    }
    struct version version = {.value = w->value, .type = w->type, .expires_ms = w->expires_ms};
    const struct version *touched = w->touch ? record_surfaced(&record, s->wall_ms) : NULL;
    if (touched) {
        version.value = touched->value;
        version.type = touched->type;
    }
    size_t before = record.count;
    size_t touched_at = touched ? (size_t)(touched - record.versions) : 0;
    for (size_t i = record.count; i-- > 0;)
        if (touched ? i == touched_at
                    : !w->add && (!w->token || token_saw(w->token, &record.versions[i].dot)))
            record_remove_at(&record, i);
    if (!w->remove || record.count < before) {
        w->dot = (struct dot){.replica = s->id, .counter = clock_get(&s->clock, &s->id) + 1};
        version.dot = w->dot;
        version.stamp = ++s->stamp;
        if (!w->remove)
            record_add(&record, &version);
        clock_raise(&record.context, &w->dot);
        clock_raise(&s->clock, &w->dot);
        w->tag = record_tag(&record, s->wall_ms);
        keep(s, w->key, &record);
    }
    record_done(&record);
    return OK;
}

/* What the real store leaves to its caller: each write is of another key. */
static void check_keys_differ(const struct batch_work *batch)
{
    for (size_t i = 1; i < batch->count; i++)
        for (size_t j = 0; j < i; j++)
            CHECK(!bytes_equal(batch->writes[i].key, batch->writes[j].key));
}

static enum err write_batch(struct store *s, struct batch_work *batch)
{
    check_keys_differ(batch);
    batch->failed = batch->count;
    for (size_t i = 0; i < batch->count; i++) {
        struct record record = {0};
        enum err err = judge(s, &batch->writes[i], &record);
        record_done(&record);
        if (err != OK) {
            batch->failed = i;
            return err;
        }
    }
    for (size_t i = 0; i < batch->count; i++) {
        enum err err = write_one(s, &batch->writes[i]);
        CHECK(err == OK);
        if (batch->writes[i].dot.counter) {
            batch->last = batch->writes[i].dot;
            batch->deleted += batch->writes[i].remove;
        }
    }
    return OK;
}

static void *commit(void *ctx)
{
    struct fake_store *fake = ctx;
    struct store *s = &fake->store;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while ((!s->first || s->hold) && !s->ending)
            pthread_cond_wait(&s->changed, &s->lock);
        struct store_work *work = s->first;
        if (!work)
            break;
        s->first = work->next;
        if (!s->first)
            s->last = &s->first;
        s->waiting--;
        work->err = work->kind == WORK_BATCH ? write_batch(s, &work->batch) : write_one(s, &work->write);
        pthread_mutex_unlock(&s->lock);
        work->done(work);
        fake->on_commit(fake->ctx);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- the test's side ---- */

struct fake_store *fake_store_new(void (*on_commit)(void *ctx), void *ctx)
{
    struct fake_store *fake = mem_new(sizeof *fake);
    struct store *s = &fake->store;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    memset(s->id.b, 0x11, sizeof s->id.b);
    s->stamp = 0x1000;
    s->last = &s->first;
    fake->on_commit = on_commit;
    fake->ctx = ctx;
    CHECK(pthread_create(&fake->committer, NULL, commit, fake) == 0);
    return fake;
}

void fake_store_free(struct fake_store *fake)
{
    struct store *s = &fake->store;
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(fake->committer, NULL);
    for (size_t i = 0; i < s->count; i++)
        buf_done(&s->entries[i].record);
    free(s->entries);
    clock_done(&s->clock);
    clock_done(&s->floor);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(fake);
}

struct store *fake_store_face(struct fake_store *fake)
{
    return &fake->store;
}

enum err fake_store_submit(void *ctx, struct store_work *work)
{
    struct store *s = &((struct fake_store *)ctx)->store;
    pthread_mutex_lock(&s->lock);
    *s->last = work;
    s->last = &work->next;
    s->waiting++;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return OK;
}

void fake_store_hold(struct fake_store *fake, bool hold)
{
    pthread_mutex_lock(&fake->store.lock);
    fake->store.hold = hold;
    pthread_cond_signal(&fake->store.changed);
    pthread_mutex_unlock(&fake->store.lock);
}

size_t fake_store_waiting(struct fake_store *fake)
{
    pthread_mutex_lock(&fake->store.lock);
    size_t waiting = fake->store.waiting;
    pthread_mutex_unlock(&fake->store.lock);
    return waiting;
}

void fake_store_fail(struct fake_store *fake, enum err err)
{
    pthread_mutex_lock(&fake->store.lock);
    fake->store.fail = err;
    pthread_mutex_unlock(&fake->store.lock);
}

void fake_store_wall(struct fake_store *fake, uint64_t wall_ms)
{
    pthread_mutex_lock(&fake->store.lock);
    fake->store.wall_ms = wall_ms;
    pthread_mutex_unlock(&fake->store.lock);
}

void fake_store_damage(struct fake_store *fake, const char *key)
{
    pthread_mutex_lock(&fake->store.lock);
    struct entry *e = find(&fake->store, bytes_str(key));
    CHECK(e);
    e->record.data[e->record.len - 1] ^= 1;
    pthread_mutex_unlock(&fake->store.lock);
}

void fake_store_walk(struct fake_store *fake, const char *after)
{
    pthread_mutex_lock(&fake->store.lock);
    fake->store.walk_after = after;
    pthread_mutex_unlock(&fake->store.lock);
}

void fake_store_name(struct fake_store *fake, const char *name)
{
    pthread_mutex_lock(&fake->store.lock);
    fake->store.name = name;
    pthread_mutex_unlock(&fake->store.lock);
}

void fake_store_floor(struct fake_store *fake, const struct dot *dot)
{
    pthread_mutex_lock(&fake->store.lock);
    clock_raise(&fake->store.floor, dot);
    pthread_mutex_unlock(&fake->store.lock);
}

void fake_store_put_remote(struct fake_store *fake, const char *key, const char *value, const struct dot *dot,
                           uint64_t stamp, uint64_t expires_ms)
{
    struct store *s = &fake->store;
    struct record record = {0};
    pthread_mutex_lock(&s->lock);
    struct entry *e = find(s, bytes_str(key));
    if (e)
        CHECK(record_decode(bytes_str(key), buf_bytes(&e->record), &record) == OK);
    struct version version = {
        .dot = *dot, .stamp = stamp, .expires_ms = expires_ms, .value = bytes_str(value)};
    record_add(&record, &version);
    clock_raise(&record.context, dot);
    clock_raise(&s->clock, dot);
    keep(s, bytes_str(key), &record);
    record_done(&record);
    pthread_mutex_unlock(&s->lock);
    fake->on_commit(fake->ctx);
}

/* ---- the changes: test_http_watch.c has a real store -------------------------------- */

enum err feed_step(struct snapshot *snapshot, const struct feed_reader *reader, struct feed_cursor *cursor,
                   enum feed_end *ret_end)
{
    return ERR_IO;
}

enum err feed_judge(struct snapshot *snapshot, const struct feed_reader *reader, struct feed_cursor *cursor,
                    enum feed_end *ret_end)
{
    return ERR_IO;
}

enum err feed_now(struct snapshot *snapshot, struct feed_cursor *cursor)
{
    return ERR_IO;
}

enum err feed_anew(struct snapshot *snapshot, struct feed_cursor *cursor)
{
    return ERR_IO;
}
