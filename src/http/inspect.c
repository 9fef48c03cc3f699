/* What tools ask of a running node's store: a backup, piece by piece, and digests of
 * ranges of keys. Each answer is read from one short snapshot, and nothing is kept
 * between two of them, so a client that is slow or gone costs nothing. */
#include "exchange.h"
#include "json_out.h"

#include <stdio.h>

void cluster_backup(struct exchange *x)
{
    const struct params *p = &x->params;
    struct backup_ask ask = {.part = p->given & PARAM_ROW     ? BACKUP_ROWS
                                     : p->given & PARAM_AFTER ? BACKUP_RECORDS
                                                              : BACKUP_HEAD,
                             .after = param_bytes(&p->after),
                             .row_after = p->row};
    enum err err = x->http->backend.backup(x->http->backend.ctx, &ask, &x->answer);
    if (err != OK) {
        buf_reset(&x->answer);
        if (err == ERR_WALKING)
            answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "this node is being filled: back up another one");
        else
            answer_store_error(x, err);
        return;
    }
    snprintf(x->head.body_type, sizeof x->head.body_type, "application/octet-stream");
    answer_written(x, MHD_HTTP_OK);
}

static void put_hex(struct json_out *json, const char *name, struct bytes bytes)
{
    char text[2 * KEY_MAX + 1];
    size_t length = bytes.len < KEY_MAX ? bytes.len : KEY_MAX;
    for (size_t i = 0; i < length; i++) {
        text[2 * i] = "0123456789abcdef"[bytes.data[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[bytes.data[i] & 15];
    }
    text[2 * length] = 0;
    json_field_text(json, name, text);
}

/* What a client calls it; nothing where it is of no form that is known. */
static void put_name(struct json_out *json, struct bytes key)
{
    struct space_name name = space_parse(key);
    if (name.space == SPACE_KEYS)
        json_field_string(json, "Key", name.name);
    else if (name.space != SPACE_NONE)
        json_field_string(json, name.space == SPACE_COUNTERS ? "Counter" : "Set", name.name);
    if (name.space == SPACE_SETS)
        put_hex(json, "Element", name.hash);
}

static void add_key(void *ctx, struct bytes key, uint64_t hash)
{
    struct json_out *json = ctx;
    char text[17];
    for (int i = 0; i < 16; i++)
        text[i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
    text[16] = 0;
    json_object(json);
    put_name(json, key);
    put_hex(json, "At", key);
    json_field_text(json, "Hash", text);
    json_object_end(json);
}

static enum err put_digest(struct exchange *x, struct snapshot *snapshot, struct json_out *json)
{
    const struct params *p = &x->params;
    struct digest_limits limits = {.records = p->limit,
                                   .bytes = LIST_BYTES_MAX,
                                   .expired_ms = x->http->backend.wall_ms(x->http->backend.ctx)};
    struct range_digest digest;
    struct clock clock = {0};
    uint8_t through[KEY_MAX];
    size_t length;
    char text[REPLICA_ID_TEXT], hash[21];
    bool end, settled;
    enum err err = snapshot_clock(snapshot, &clock, NULL);
    if (err == OK)
        err = snapshot_is_settled(snapshot, &settled);
    json_object(json);
    json_name(json, "Keys");
    json_array(json);
    if (err == OK)
        err = snapshot_digest(snapshot, param_bytes(&p->after),
                              p->given & PARAM_THROUGH ? param_bytes(&p->through) : bytes_of(NULL, 0),
                              &limits, &digest, through, &length, &end, p->list ? add_key : NULL, json);
    json_array_end(json);
    if (err == OK) {
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)digest.hash);
        json_field_number(json, "Count", digest.keys);
        json_field_text(json, "Hash", hash);
        json_field_string(json, "Through", space_parse(bytes_of(through, length)).name);
        put_hex(json, "At", bytes_of(through, length));
        json_field_bool(json, "End", end && !(p->given & PARAM_THROUGH));
        json_field_bool(json, "Complete", end);
        json_field_bool(json, "Settled", settled);
        json_name(json, "Clock");
        json_object(json);
        for (size_t i = 0; i < clock.count; i++)
            json_field_number(json, replica_id_text(&clock.entries[i].replica, text),
                              clock.entries[i].counter);
        json_object_end(json);
    }
    json_object_end(json);
    clock_done(&clock);
    return err;
}

void cluster_digest(struct exchange *x)
{
    struct snapshot *snapshot;
    struct buf data;
    enum err err = snapshot_open(x->http->backend.store, &snapshot);
    if (err != OK) {
        answer_store_error(x, err);
        return;
    }
    buf_init(&data, 2 * LIST_BYTES_MAX);
    struct json_out json = json_out_to(&data);
    err = put_digest(x, snapshot, &json);
    snapshot_close(snapshot);
    if (err == OK && data.err == OK)
        answer_ok(x, buf_bytes(&data));
    else
        answer_store_error(x, err != OK ? err : data.err);
    buf_done(&data);
}
