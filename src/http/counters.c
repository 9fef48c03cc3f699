/* Counters: GET, POST and DELETE /counters/{key}, GET /counters. */
#include "envelope.h"
#include "exchange.h"
#include "json_scan.h"
#include "mem.h"
#include "spaces.h"

#include "counter.h"

#include <stdio.h>

static const char no_fit[] = "the counter's number does not fit into 64 bits";

static void answer_missing(struct exchange *x)
{
    struct bytes name = target_name(&x->target);
    answer_error(x, MHD_HTTP_NOT_FOUND, "no such counter: %.*s", (int)name.len, (const char *)name.data);
}

/* ---- reading --------------------------------------------------------------------------- */

/* Absent here, but possibly only not here yet. */
static void answer_absent(struct exchange *x, struct snapshot *snapshot)
{
    struct walk_state walk = {0};
    enum err err = snapshot_walk(snapshot, &walk);
    if (err == OK && walk_hides(&walk, target_key(&x->target)))
        err = ERR_WALKING;
    walk_state_done(&walk);
    if (err == OK)
        answer_missing(x);
    else
        answer_store_error(x, err);
}

static void answer_counter(struct exchange *x, struct snapshot *snapshot)
{
    const struct record *record = &x->worker->reading.record;
    struct counter_view counter = {0};
    size_t malformed = 0;
    int64_t number = 0;
    char text[32];
    enum err err = counter_of_record(&counter, record, &malformed);
    for (; malformed; malformed--)
        count(x->http, COUNT_SPACES_MALFORMED);
    if (err == OK && counter_is_absent(&counter)) {
        answer_absent(x, snapshot);
    } else if (err == OK && counter_number(&counter, &number) != OK) {
        answer_error(x, MHD_HTTP_CONFLICT, "%s", no_fit);
    } else if (err == OK) {
        snprintf(text, sizeof text, "%lld", (long long)number);
        answer_ok(x, bytes_str(text));
    } else {
        answer_store_error(x, ERR_DAMAGED);
    }
    counter_done(&counter);
}

void counter_get(struct exchange *x)
{
    record_get(x, answer_counter);
}

/* ---- changing ---------------------------------------------------------------------------- */

/* {"Add":n} and nothing else. */
static bool read_add(struct bytes body, int64_t *ret)
{
    struct json_scan scan = json_scan_of(body);
    struct bytes name, value;
    return json_scan_open(&scan, '{') && json_scan_member(&scan, &name, &value) &&
           json_string_is(name, "Add") && json_integer_read(value, ret) &&
           !json_scan_member(&scan, &name, &value);
}

static void begin(struct exchange *x)
{
    int64_t add = 0;
    bool remove = x->verb == VERB_DELETE;
    if (!remove && !read_add(buf_bytes(&x->body), &add)) {
        answer_error(x, MHD_HTTP_BAD_REQUEST,
                     "body must be {\"Add\":n} and nothing else, n a whole number of 64 bits with a sign");
        return;
    }
    struct store_work *work = store_work_new(WORK_COUNT);
    work->count.key = target_key(&x->target);
    work->count.token = x->has_token ? &x->token : NULL;
    work->count.add = add;
    work->count.remove = remove;
    work->count.weight = record_weight(x, work->count.key);
    submit_work(x, work);
}

static void answer_refused(struct exchange *x)
{
    if (x->write_err == ERR_CONFLICT)
        answer_error(x, MHD_HTTP_CONFLICT, "%s: nothing was added", no_fit);
    else if (x->write_err == ERR_TOO_LARGE)
        answer_error(x, MHD_HTTP_CONFLICT,
                     "the counter was added to in more starts of nodes than it can hold");
    else
        answer_store_error(x, x->write_err);
}

static void answer_done(struct exchange *x)
{
    struct token *token = &x->worker->reading.token;
    char text[32];
    enum err err = OK;
    if (x->write_dot.counter)
        token_of_write(token, target_key(&x->target), &x->write_dot);
    else
        err = token_of_idle(x, token);
    if (err != OK) {
        answer_store_error(x, err);
        return;
    }
    answer_token_after(x, token);
    snprintf(text, sizeof text, "%lld", (long long)x->write_number);
    answer_with_replicas(x, bytes_str(text));
}

void counter_write(struct exchange *x)
{
    write_run(x, &(struct write_steps){begin, answer_refused, answer_done});
}

/* ---- listing -------------------------------------------------------------------------------- */

static bool wants(void *ctx)
{
    const struct exchange *x = ctx;
    return x->spaces->found < x->params.limit && x->answer.len < LIST_BYTES_MAX;
}

static bool take(void *ctx, const struct space_name *name, const struct record *record)
{
    struct exchange *x = ctx;
    struct spaces *s = x->spaces;
    struct counter_view counter = {0};
    size_t malformed = 0;
    int64_t number;
    char text[32] = "null";
    if (counter_of_record(&counter, record, &malformed) == OK && !counter_is_absent(&counter)) {
        if (counter_number(&counter, &number) == OK)
            snprintf(text, sizeof text, "%lld", (long long)number);
        json_object(&s->json);
        json_field_string(&s->json, "Key", name->name);
        json_name(&s->json, "Value");
        json_raw(&s->json, bytes_str(text));
        json_object_end(&s->json);
        memcpy(s->last, name->name.data, s->last_length = name->name.len);
        s->found++;
    }
    s->malformed += malformed;
    counter_done(&counter);
    return false;
}

void counters_list(struct exchange *x)
{
    spaces_list(x, SPACE_COUNTERS, "Counters", &(struct spaces_sink){wants, take, x});
}
