/* GET /keys/{key}: one snapshot, one record, one buffer. Nothing here waits but
 * for a token. */
#include "envelope.h"
#include "exchange.h"
#include "json_out.h"

#include <stdlib.h>

/* Absent here, but possibly only not here yet: a walk has not reached the key. */
static void answer_absent(struct exchange *x, struct snapshot *snapshot)
{
    struct bytes key = target_key(&x->target);
    struct walk_state walk = {0};
    enum err err = snapshot_walk(snapshot, &walk);
    if (err == OK && walk_hides(&walk, key))
        err = ERR_WALKING;
    walk_state_done(&walk);
    if (err != OK)
        answer_store_error(x, err);
    else
        answer_error(x, MHD_HTTP_NOT_FOUND, "no such key: %.*s", (int)key.len, (const char *)key.data);
}

/* The full member name where this node has heard it, else the bare id. */
static void put_node(struct json_out *j, struct snapshot *snapshot, const struct replica_id *replica)
{
    char id[REPLICA_ID_TEXT], note[sizeof NODE_NOTE_NAME + REPLICA_ID_TEXT] = NODE_NOTE_NAME;
    struct bytes name;
    replica_id_text(replica, id);
    memcpy(note + sizeof NODE_NOTE_NAME - 1, id, sizeof id);
    if (snapshot_note(snapshot, note, &name) != OK)
        name = bytes_str(id);
    json_field_string(j, "Node", name);
}

static void put_version(struct json_out *j, struct snapshot *snapshot, const struct version *version)
{
    char stamp[17];
    for (int i = 0; i < 16; i++)
        stamp[i] = "0123456789abcdef"[version->stamp >> (60 - 4 * i) & 15];
    stamp[16] = '\0';
    json_object(j);
    json_name(j, "Value");
    json_raw(j, version->value);
    json_field_text(j, "Stamp", stamp);
    put_node(j, snapshot, &version->dot.replica);
    json_object_end(j);
}

/* The surfaced one first: by (stamp, dot), the largest before the others. */
static int later_first(const void *a, const void *b)
{
    const struct version *va = a, *vb = b;
    if (va->stamp != vb->stamp)
        return va->stamp < vb->stamp ? 1 : -1;
    return dot_compare(&vb->dot, &va->dot);
}

static void answer_siblings(struct exchange *x, struct snapshot *snapshot, struct record *record,
                            const struct token *token, uint64_t wall_ms)
{
    struct buf text;
    buf_init(&text, TOKEN_TEXT_MAX);
    token_encode(token, &text);
    qsort(record->versions, record->count, sizeof *record->versions, later_first);

    envelope_open(&x->answer);
    struct json_out j = json_out_to(&x->answer);
    json_object(&j);
    json_name(&j, "Versions");
    json_array(&j);
    for (size_t i = 0; i < record->count; i++)
        if (!record->versions[i].expires_ms || record->versions[i].expires_ms > wall_ms)
            put_version(&j, snapshot, &record->versions[i]);
    json_array_end(&j);
    json_field_string(&j, "Context", buf_bytes(&text));
    json_object_end(&j);
    envelope_close(&x->answer);
    buf_done(&text);
    answer_written(x, MHD_HTTP_OK);
}

static void read_key(struct exchange *x, struct snapshot *snapshot)
{
    struct bytes key = target_key(&x->target);
    struct reading *r = &x->worker->reading;
    enum err err = snapshot_record(snapshot, key, &r->record);
    if (err == OK || err == ERR_NOT_FOUND)
        err = snapshot_floor(snapshot, &r->floor);
    if (err != OK) {
        answer_store_error(x, err);
        return;
    }
    token_of_read(&r->token, key, &r->record, &r->floor.floor);
    answer_token(x, &r->token);
    uint64_t wall_ms = x->http->backend.wall_ms(x->http->backend.ctx);
    const struct version *surfaced = record_surfaced(&r->record, wall_ms);
    if (!surfaced)
        answer_absent(x, snapshot);
    else if (x->params.siblings)
        answer_siblings(x, snapshot, &r->record, &r->token, wall_ms);
    else
        answer_ok(x, surfaced->value);
}

void keys_get(struct exchange *x)
{
    if (waiting_for_clock(x))
        return;
    struct snapshot *snapshot;
    enum err err = snapshot_open(x->http->backend.store, &snapshot);
    if (err != OK) {
        answer_store_error(x, err);
        return;
    }
    read_key(x, snapshot);
    snapshot_close(snapshot);
}
