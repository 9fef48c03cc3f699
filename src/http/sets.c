/* Sets: GET, POST and DELETE /sets/{key}, GET /sets. An element is a record of its own, put
 * and removed as a key's is, so that a put wins over a removal that has not seen it. */
#include "element.h"
#include "envelope.h"
#include "exchange.h"
#include "json_scan.h"
#include "mem.h"
#include "spaces.h"

#include <stdio.h>
#include <stdlib.h>

enum { WHY_MAX = 400 };

static const char lacks[] = "this node is catching up and lacks a part of this";

/* ---- the space in slices, for counters too ------------------------------------------------ */

void spaces_begin(struct exchange *x, struct bytes prefix, struct bytes from, struct bytes end)
{
    x->spaces = mem_new(sizeof *x->spaces);
    spaces_init(x->spaces, prefix, from, end);
}

enum err spaces_read_slice(struct exchange *x, const struct spaces_sink *sink)
{
    struct snapshot *snapshot;
    struct reading *r = &x->worker->reading;
    enum err err = snapshot_open(x->http->backend.store, &snapshot);
    if (err != OK)
        return err;
    err = spaces_read(x->spaces, snapshot, sink, SLICE_SCAN_MAX);
    if (err == OK)
        err = snapshot_floor(snapshot, &r->floor);
    if (err == OK)
        clock_join(&x->spaces->seen, &r->floor.floor);
    snapshot_close(snapshot);
    for (; x->spaces->malformed; x->spaces->malformed--)
        count(x->http, COUNT_SPACES_MALFORMED);
    return err == OK ? x->answer.err : err;
}

static void answer_slice_error(struct exchange *x, enum err err)
{
    if (err == ERR_WALKING)
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "%s", lacks);
    else
        answer_store_error(x, err);
}

static void begin_page(struct exchange *x, const char *member)
{
    struct json_out *json = &x->spaces->json;
    buf_reset(&x->answer);
    envelope_open(&x->answer);
    *json = json_out_to(&x->answer);
    json_object(json);
    json_name(json, member);
    json_array(json);
}

/* True when the page is whole, or (x->status) refused. Else the library asks again in its next round. */
static bool read_page(struct exchange *x, const struct spaces_sink *sink)
{
    struct spaces *s = x->spaces;
    enum err err = spaces_read_slice(x, sink);
    if (err != OK)
        answer_slice_error(x, err);
    return err != OK || s->done || !sink->wants(sink->ctx);
}

static void end_page(struct exchange *x)
{
    struct spaces *s = x->spaces;
    json_array_end(&s->json);
    json_field_string(&s->json, "Next", bytes_of(s->last, s->done ? 0 : s->last_length));
    json_object_end(&s->json);
    envelope_close(&x->answer);
    answer_written(x, MHD_HTTP_OK);
}

void spaces_list(struct exchange *x, enum space space, const char *member, const struct spaces_sink *sink)
{
    const struct params *p = &x->params;
    if (!x->spaces && waiting_for_clock(x))
        return;
    if (!x->spaces) {
        uint8_t prefix[KEY_MAX], after[KEY_MAX];
        if (p->prefix.length > SPACE_NAME_MAX || p->after.length > SPACE_NAME_MAX) {
            answer_error(x, MHD_HTTP_BAD_REQUEST, "query parameter \"%s\" must be at most 460 bytes",
                         p->prefix.length > SPACE_NAME_MAX ? "prefix" : "after");
            return;
        }
        struct bytes from = bytes_of(NULL, 0), name = param_bytes(&p->after);
        if (name.len && space == SPACE_SETS) {
            from = space_set_end(name, after);
        } else if (name.len) {
            from = space_prefix(space, name, after);
            after[from.len++] = 0; /* the first place behind it */
        }
        spaces_begin(x, space_prefix(space, param_bytes(&p->prefix), prefix), from, bytes_of(NULL, 0));
        begin_page(x, member);
    }
    if (read_page(x, sink) && !x->status)
        end_page(x);
}

/* ---- which sets there are ------------------------------------------------------------------- */

static bool lives(struct exchange *x, const struct record *record)
{
    return record_surfaced(record, x->http->backend.wall_ms(x->http->backend.ctx)) != NULL;
}

static bool page_wants(void *ctx)
{
    const struct exchange *x = ctx;
    return x->spaces->found < x->params.limit && x->answer.len < LIST_BYTES_MAX;
}

static bool take_set(void *ctx, const struct space_name *name, const struct record *record)
{
    struct exchange *x = ctx;
    struct spaces *s = x->spaces;
    if (!lives(x, record))
        return false;
    json_object(&s->json);
    json_field_string(&s->json, "Key", name->name);
    json_object_end(&s->json);
    memcpy(s->last, name->name.data, s->last_length = name->name.len);
    s->found++;
    return true;
}

void sets_list(struct exchange *x)
{
    spaces_list(x, SPACE_SETS, "Sets", &(struct spaces_sink){page_wants, take_set, x});
}

/* ---- what is in one ---------------------------------------------------------------------------- */

/* What was read, for the next reads anywhere: of no key, as a set has many. */
static void answer_seen(struct exchange *x, const struct clock *seen)
{
    struct token token = {.key_hash = token_key_hash(bytes_of(NULL, 0))};
    clock_copy(&token.after, seen);
    answer_token_after(x, &token);
    token_done(&token);
}

static bool take_element(void *ctx, const struct space_name *name, const struct record *record)
{
    struct exchange *x = ctx;
    struct spaces *s = x->spaces;
    const struct version *version = record_surfaced(record, x->http->backend.wall_ms(x->http->backend.ctx));
    if (!version)
        return false;
    json_raw(&s->json, version->value);
    element_hash_text(name->hash, (char *)s->last);
    s->last_length = ELEMENT_HASH_TEXT;
    s->found++;
    return false;
}

static bool always(void *ctx)
{
    return true;
}

static bool count_element(void *ctx, const struct space_name *name, const struct record *record)
{
    struct exchange *x = ctx;
    x->spaces->found += lives(x, record);
    return false;
}

static void answer_elements(struct exchange *x)
{
    if (!read_page(x, &(struct spaces_sink){page_wants, take_element, x}) || x->status)
        return;
    answer_seen(x, &x->spaces->seen);
    end_page(x);
}

static void answer_count(struct exchange *x)
{
    char text[40];
    if (!read_page(x, &(struct spaces_sink){always, count_element, x}) || x->status)
        return;
    answer_seen(x, &x->spaces->seen);
    snprintf(text, sizeof text, "{\"Count\":%llu}", (unsigned long long)x->spaces->found);
    answer_ok(x, bytes_str(text));
}

static void read_member(struct exchange *x, struct snapshot *snapshot, struct bytes key)
{
    struct reading *r = &x->worker->reading;
    struct walk_state walk = {0};
    struct clock seen = {0};
    enum err err = snapshot_record(snapshot, key, &r->record);
    if (err == OK || err == ERR_NOT_FOUND)
        err = snapshot_floor(snapshot, &r->floor);
    bool there = err == OK && lives(x, &r->record);
    if (err == OK && !there)
        err = snapshot_walk(snapshot, &walk);
    if (err == OK && walk_hides(&walk, key))
        err = ERR_WALKING;
    if (err == OK) {
        clock_copy(&seen, &r->floor.floor);
        record_reflects(&r->record, &seen);
        answer_seen(x, &seen);
    }
    if (err != OK)
        answer_slice_error(x, err);
    else if (there)
        answer_ok(x, bytes_str("true"));
    else
        answer_error(x, MHD_HTTP_NOT_FOUND, "no such element in this set");
    clock_done(&seen);
    walk_state_done(&walk);
}

bool member_key(struct exchange *x, struct bytes set, uint8_t room[KEY_MAX], struct bytes *ret_key)
{
    struct bytes raw = x->params.member;
    uint8_t hash[ELEMENT_HASH_SIZE], *text = mem_new(2 * raw.len + 1);
    size_t length = 0;
    struct json_error error = {0};
    struct buf canonical;
    buf_init(&canonical, CONNECTION_MEMORY);
    bool fine = percent_decode(raw, true, text, raw.len, &length) == OK;
    if (!fine)
        error.reason = "a bad percent-escape";
    else
        fine = json_valid(bytes_of(text, length), &error) == OK;
    if (fine) {
        json_put_canonical(bytes_of(text, length), &canonical);
        element_hash(buf_bytes(&canonical), hash);
        *ret_key = space_element(set, hash, room);
    } else {
        answer_error(x, MHD_HTTP_BAD_REQUEST, "query parameter \"member\" must be an element, as JSON: %s",
                     error.reason);
    }
    buf_done(&canonical);
    free(text);
    return fine;
}

static void answer_member(struct exchange *x)
{
    struct snapshot *snapshot;
    uint8_t room[KEY_MAX];
    struct bytes key;
    if (!member_key(x, target_name(&x->target), room, &key))
        return;
    enum err err = snapshot_open(x->http->backend.store, &snapshot);
    if (err != OK) {
        answer_store_error(x, err);
        return;
    }
    read_member(x, snapshot, key);
    snapshot_close(snapshot);
}

/* False when it was refused. */
static bool begin_elements(struct exchange *x)
{
    uint8_t hash[ELEMENT_HASH_SIZE], room[KEY_MAX];
    struct bytes from = bytes_of(NULL, 0), after = param_bytes(&x->params.after);
    if (after.len && element_hash_parse(after, hash) != OK) {
        answer_error(x, MHD_HTTP_BAD_REQUEST, "query parameter \"after\" must be 32 hexadecimal digits");
        return false;
    }
    if (after.len) {
        from = space_element(target_name(&x->target), hash, room);
        room[from.len++] = 0; /* the first place behind it */
    }
    spaces_begin(x, target_key(&x->target), from, bytes_of(NULL, 0));
    begin_page(x, "Elements");
    return true;
}

void set_get(struct exchange *x)
{
    if (!x->spaces && waiting_for_clock(x))
        return;
    if (x->params.given & PARAM_MEMBER)
        answer_member(x);
    else if ((x->spaces || begin_elements(x)) && x->params.count)
        answer_count(x);
    else if (x->spaces)
        answer_elements(x);
}

/* ---- changing it --------------------------------------------------------------------------------- */

static void begin(struct exchange *x)
{
    struct store_work *work = store_work_new(WORK_BATCH);
    struct buf why;
    buf_init(&why, WHY_MAX);
    enum err err = element_read_change(buf_bytes(&x->body), target_name(&x->target), work, &why);
    if (err == OK) {
        submit_work(x, work);
    } else {
        store_work_free(work);
        unsigned status = err == ERR_TOO_LARGE ? MHD_HTTP_CONTENT_TOO_LARGE
                          : err == ERR_NOMEM   ? MHD_HTTP_SERVICE_UNAVAILABLE
                                               : MHD_HTTP_BAD_REQUEST;
        answer_error_data(x, status, why.len ? buf_bytes(&why) : bytes_str(err_text(err)), bytes_of(NULL, 0));
    }
    buf_done(&why);
}

static void answer_done(struct exchange *x)
{
    struct token *token = &x->worker->reading.token;
    char text[80];
    token_of_write(token, bytes_of(NULL, 0), &x->write_dot);
    answer_token_after(x, token);
    snprintf(text, sizeof text, "{\"Added\":%zu,\"Removed\":%zu}", x->batch_created, x->batch_deleted);
    answer_with_replicas(x, bytes_str(text));
}

static void answer_refused(struct exchange *x)
{
    if (x->write_err == ERR_CONFLICT)
        answer_error(
            x, MHD_HTTP_CONFLICT,
            "an element was added by too many nodes at once (Server.MaxVersions): nothing was changed");
    else
        answer_store_error(x, x->write_err);
}

void set_change(struct exchange *x)
{
    write_run(x, &(struct write_steps){begin, answer_refused, answer_done});
}

/* ---- all of it gone --------------------------------------------------------------------------------- */

struct clearing {
    struct exchange *x;
    struct store_work *work;
};

static bool clear_wants(void *ctx)
{
    const struct clearing *clearing = ctx;
    return clearing->work->batch.count < CLEAR_KEYS;
}

static bool clear_element(void *ctx, const struct space_name *name, const struct record *record)
{
    struct clearing *clearing = ctx;
    struct buf *text = &clearing->work->batch.text; /* has room for all: nothing moves */
    uint8_t room[KEY_MAX];
    size_t at = text->len;
    if (!lives(clearing->x, record))
        return false;
    struct bytes key = space_element(name->name, name->hash.data, room);
    buf_put_bytes(text, key);
    struct write_work *write = store_work_add_write(clearing->work);
    write->remove = true;
    write->key = bytes_of(text->data + at, key.len);
    return false;
}

/* A slice that found nothing is followed by the next one at the library's next round. */
static void clear_slice(struct exchange *x)
{
    struct clearing clearing = {x, store_work_new(WORK_BATCH)};
    struct batch_work *batch = &clearing.work->batch;
    buf_init(&batch->text, CLEAR_KEYS * KEY_MAX);
    buf_reserve(&batch->text, CLEAR_KEYS * KEY_MAX);
    enum err err = batch->text.err;
    if (err == OK)
        err = spaces_read_slice(x, &(struct spaces_sink){clear_wants, clear_element, &clearing});
    if (err == OK && batch->count > 0) {
        submit_work(x, clearing.work);
        return;
    }
    store_work_free(clearing.work);
    if (err != OK || x->spaces->done)
        answer_cleared(x, err, lacks);
}

void set_clear(struct exchange *x)
{
    if (waiting_for_clock(x))
        return;
    if (!x->spaces)
        spaces_begin(x, target_key(&x->target), bytes_of(NULL, 0), bytes_of(NULL, 0));
    if (x->asked) {
        enum err err = clear_collect(x);
        if (err != OK || x->spaces->done) {
            answer_cleared(x, err, lacks);
            return;
        }
    }
    clear_slice(x);
}
