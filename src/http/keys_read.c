/* GET /keys/{key}: one snapshot, one record, one buffer. Nothing here waits but
 * for a token. */
#include "envelope.h"
#include "exchange.h"
#include "media.h"

#include <stdio.h>

/* Absent here, but possibly only not here yet: a walk has not reached the key. */
static void answer_absent(struct exchange *x, struct snapshot *snapshot)
{
    struct bytes key = target_key(&x->target);
    struct walk_state walk = {0};
    enum err err = snapshot_walk(snapshot, &walk);
    if (err == OK && walk_hides(&walk, key))
        err = ERR_WALKING;
    walk_state_done(&walk);
    if (err == OK && x->if_match)
        answer_error(x, MHD_HTTP_PRECONDITION_FAILED, "If-Match does not hold: the key does not exist");
    else
        answer_store_error(x, err == OK ? ERR_NOT_FOUND : err);
}

static void describe(struct exchange *x, const struct version *surfaced)
{
    struct answer_head *head = &x->head;
    if (surfaced->expires_ms)
        instant_text_ms(surfaced->expires_ms, head->expires);
    if (surfaced->type.len || x->verb == VERB_HEAD)
        media_text(surfaced->type, head->value_type);
    if (x->verb == VERB_HEAD)
        snprintf(head->value_size, sizeof head->value_size, "%zu", surfaced->value.len);
}

static void answer_raw(struct exchange *x, const struct version *surfaced)
{
    media_text(surfaced->type, x->head.body_type);
    x->head.is_raw = true;
    buf_reset(&x->answer);
    buf_reserve(&x->answer, surfaced->value.len);
    buf_put_bytes(&x->answer, surfaced->value);
    answer_written(x, MHD_HTTP_OK);
}

/* Bytes that are no JSON, in the envelope. */
static void answer_bytes(struct exchange *x, const struct version *surfaced)
{
    buf_reset(&x->answer);
    buf_reserve(&x->answer, envelope_overhead() + surfaced->value.len / 3 * 4 + 4 + 64 + surfaced->type.len);
    envelope_open(&x->answer);
    struct json_out j = json_out_to(&x->answer);
    json_object(&j);
    json_name(&j, "Data");
    json_base64(&j, surfaced->value);
    json_field_string(&j, "Type", surfaced->type);
    json_object_end(&j);
    envelope_close(&x->answer);
    answer_written(x, MHD_HTTP_OK);
}

/* Which form the answer has: what the client asked for, and what there is. */
struct form {
    bool versions;
    unsigned status;
    enum etag_form etag;
};

static struct form choose_form(const struct exchange *x, const struct record *record, uint64_t wall_ms)
{
    size_t living = 0;
    for (size_t i = 0; i < record->count; i++)
        living += !version_expired(&record->versions[i], wall_ms);
    bool conflict = living > 1 && x->http->options.siblings;
    if (x->params.siblings || conflict)
        return (struct form){.versions = true,
                             .status = x->params.siblings ? MHD_HTTP_OK : MHD_HTTP_MULTIPLE_CHOICES,
                             .etag = versions_form(x)};
    bool raw = x->params.raw || (x->accept && !media_accepted(x->accept, "application/json", true));
    return (struct form){.status = MHD_HTTP_OK, .etag = raw ? ETAG_RAW : ETAG_JSON};
}

/* If-Match and If-None-Match of a read; true when they have answered it. */
static bool answered_by_condition(struct exchange *x, uint64_t tag, enum etag_form form)
{
    if (x->if_match && !etag_list_has(x->if_match, true, tag, form)) {
        answer_error(x, MHD_HTTP_PRECONDITION_FAILED, "If-Match does not hold: the ETag is another");
        return true;
    }
    if (!x->if_none_match || !etag_list_has(x->if_none_match, false, tag, form))
        return false;
    buf_reset(&x->answer);
    answer_written(x, MHD_HTTP_NOT_MODIFIED);
    return true;
}

static void read_key(struct exchange *x, struct snapshot *snapshot)
{
    struct reading *r = &x->worker->reading;
    uint64_t wall_ms = x->http->backend.wall_ms(x->http->backend.ctx);
    const struct version *surfaced = record_surfaced(&r->record, wall_ms);
    x->head.varies = true;
    if (!surfaced) {
        answer_absent(x, snapshot);
        return;
    }
    uint64_t tag = record_tag(&r->record, wall_ms);
    struct form form = choose_form(x, &r->record, wall_ms);
    etag_text(tag, form.etag, x->head.etag);
    describe(x, surfaced);
    if (answered_by_condition(x, tag, form.etag))
        return;
    if (form.versions)
        answer_versions(x, form.status, snapshot, &r->record, &r->token, wall_ms);
    else if (form.etag == ETAG_RAW)
        answer_raw(x, surfaced);
    else if (surfaced->type.len)
        answer_bytes(x, surfaced);
    else
        answer_ok(x, surfaced->value);
}

void record_get(struct exchange *x, void (*answer)(struct exchange *x, struct snapshot *snapshot))
{
    if (waiting_for_clock(x))
        return;
    struct snapshot *snapshot;
    enum err err = snapshot_open(x->http->backend.store, &snapshot);
    if (err != OK) {
        answer_store_error(x, err);
        return;
    }
    struct bytes key = target_key(&x->target);
    struct reading *r = &x->worker->reading;
    err = snapshot_record(snapshot, key, &r->record);
    if (err == OK || err == ERR_NOT_FOUND)
        err = snapshot_floor(snapshot, &r->floor);
    if (err == OK) {
        token_of_read(&r->token, key, &r->record, &r->floor.floor);
        answer_token_after(x, &r->token);
        answer(x, snapshot);
    } else {
        answer_store_error(x, err);
    }
    snapshot_close(snapshot);
}

void keys_get(struct exchange *x)
{
    record_get(x, read_key);
}
