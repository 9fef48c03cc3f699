/* POST, PUT and DELETE /keys/{key}. */
#include "check.h"
#include "exchange.h"

size_t record_weight(struct exchange *x, struct bytes key)
{
    struct snapshot *snapshot;
    struct bytes record = {0};
    if (snapshot_open(x->http->backend.store, &snapshot) != OK)
        return 0;
    (void)!snapshot_record_bytes(snapshot, key, &record);
    snapshot_close(snapshot);
    return record.len;
}

static void submit_write(struct exchange *x, uint64_t expires_ms)
{
    const struct params *p = &x->params;
    struct store_work *work = store_work_new(WORK_WRITE);
    struct write_work *write = &work->write;
    write->key = target_key(&x->target);
    write->token = x->has_token ? &x->token : NULL;
    write->condition = x->has_condition ? &x->condition : NULL;
    write->remove = x->verb == VERB_DELETE;
    write->expires_ms = expires_ms;
    if (p->touch) {
        write->touch = true;
        write->weight = record_weight(x, write->key);
    } else if (!write->remove) {
        write->value = buf_bytes(&x->body);
        write->type = bytes_str(x->type);
        write->add = put_adds(x, p->mode, write->condition, x->has_token);
    }
    submit_work(x, work);
}

/* Refuses what the parameters alone do not show to be wrong; else hands it on. */
static void begin(struct exchange *x)
{
    const struct params *p = &x->params;
    uint64_t wall_ms = x->http->backend.wall_ms(x->http->backend.ctx);
    if (p->expires_ms && p->expires_ms <= wall_ms)
        answer_error(x, MHD_HTTP_BAD_REQUEST, "query parameter \"expires\" does not lie in the future");
    else if (p->touch && x->body.len)
        answer_error(x, MHD_HTTP_BAD_REQUEST, "query parameter \"touch\" contradicts a body");
    else
        submit_write(x, p->ttl_ms ? wall_ms + p->ttl_ms : p->expires_ms);
}

/* The key as it is now: context and ETag of one moment, to try again with. */
static void add_present_state(struct exchange *x)
{
    struct bytes key = target_key(&x->target);
    struct reading *r = &x->worker->reading;
    struct snapshot *snapshot;
    if (snapshot_open(x->http->backend.store, &snapshot) != OK)
        return;
    enum err err = snapshot_record(snapshot, key, &r->record);
    if ((err == OK || err == ERR_NOT_FOUND) && snapshot_floor(snapshot, &r->floor) == OK) {
        token_of_read(&r->token, key, &r->record, &r->floor.floor);
        if (x->has_token)
            clock_join(&r->token.after, &x->token.after);
        answer_token(x, &r->token);
        uint64_t tag = record_tag(&r->record, x->http->backend.wall_ms(x->http->backend.ctx));
        if (tag)
            etag_text(tag, ETAG_JSON, x->head.etag);
    }
    snapshot_close(snapshot);
}

static void answer_unmet(struct exchange *x)
{
    count(x->http, COUNT_CONDITIONS_UNMET);
    add_present_state(x);
    const char *which = !x->has_condition   ? "what X-Yzma-Context has seen is no longer there"
                        : !x->if_none_match ? "If-Match does not hold"
                        : !x->if_match      ? "If-None-Match does not hold"
                                            : "If-Match or If-None-Match does not hold";
    if (x->head.etag[0])
        answer_error(x, MHD_HTTP_PRECONDITION_FAILED, "%s: the key's ETag is %s", which, x->head.etag);
    else
        answer_error(x, MHD_HTTP_PRECONDITION_FAILED, "%s: the key does not exist", which);
}

enum err token_of_idle(struct exchange *x, struct token *token)
{
    struct reading *r = &x->worker->reading;
    struct snapshot *snapshot;
    enum err err = snapshot_open(x->http->backend.store, &snapshot);
    if (err != OK)
        return err;
    err = snapshot_record(snapshot, target_key(&x->target), &r->record);
    if (err == OK || err == ERR_NOT_FOUND)
        err = snapshot_floor(snapshot, &r->floor);
    if (err == OK)
        token_of_look(token, target_key(&x->target), &r->record, &r->floor.floor);
    snapshot_close(snapshot);
    return err;
}

/* "added foo": words as the predecessor used them. */
static void answer_done(struct exchange *x)
{
    const char *word = x->verb == VERB_DELETE ? "deleted " : x->params.touch ? "touched " : "added ";
    struct bytes key = target_key(&x->target);
    struct token *token = &x->worker->reading.token;
    enum err err = OK;
    if (x->write_dot.counter)
        token_of_write(token, key, &x->write_dot);
    else
        err = token_of_idle(x, token);
    if (err != OK) {
        answer_store_error(x, err);
        return;
    }
    answer_token_after(x, token);
    if (x->write_tag)
        etag_text(x->write_tag, ETAG_JSON, x->head.etag);

    char text[16 + KEY_MAX];
    uint8_t room[2 + 6 * (16 + KEY_MAX)]; /* each byte an escape */
    size_t length = strlen(word);
    CHECK(length + key.len <= sizeof text);
    memcpy(text, word, length);
    memcpy(text + length, key.data, key.len);
    struct buf data = {.data = room, .cap = sizeof room, .max = sizeof room};
    struct json_out j = json_out_to(&data);
    json_string(&j, bytes_of(text, length + key.len));
    answer_with_replicas(x, buf_bytes(&data));
}

static void answer_refused(struct exchange *x)
{
    if (x->write_err == ERR_UNMET) {
        answer_unmet(x);
        return;
    }
    if (x->write_err == ERR_CONFLICT || x->write_err == ERR_NOT_FOUND)
        add_present_state(x);
    answer_store_error(x, x->write_err);
}

void keys_write(struct exchange *x)
{
    write_run(x, &(struct write_steps){begin, answer_refused, answer_done});
}
