/* What an operator sees of the node: GET /cluster/members and /cluster/status. */
#include "node_state.h"

#include <stdio.h>

static void put_member(struct node *n, const struct swim_member *member, struct json_out *json)
{
    char address[ADDR_TEXT_MAX], version[16];
    struct meta meta;
    json_object(json);
    json_field_string(json, "Name", member->name);
    json_field_text(json, "Address", addr_text(&member->addr, address));
    json_field_text(json, "Status", member_state_text(member->state));
    json_field_bool(json, "Self", member->self);
    json_field_number(json, "Incarnation", member->incarnation);
    json_field_number(json, "SinceMs", n->now_ms > member->since_ms ? n->now_ms - member->since_ms : 0);
    if (meta_decode(member->meta, &meta) == OK) {
        char uuid[REPLICA_ID_TEXT];
        json_field_text(json, "NodeName", meta.node_name);
        json_field_text(json, "APIIngress", meta.ingress);
        json_field_text(json, "Replica", replica_id_text(&meta.replica, uuid));
    }
    snprintf(version, sizeof version, "%u-%u/%u", member->vsn[0], member->vsn[1], member->vsn[2]);
    json_field_text(json, "Protocol", version);
    json_name(json, "RoundTripMs");
    if (member->rtt_known)
        json_number(json, member->rtt_us / 1000);
    else
        json_null(json);
    json_object_end(json);
}

void report_members(struct node *n, struct buf *out)
{
    struct json_out json = json_out_to(out);
    json_object(&json);
    json_name(&json, "Members");
    json_array(&json);
    for (size_t i = 0; i < swim_count(n->swim); i++) {
        struct swim_member member = swim_at(n->swim, i);
        put_member(n, &member, &json);
    }
    json_array_end(&json);
    json_object_end(&json);
}

static void put_counter(void *ctx, const char *name, uint64_t value)
{
    json_field_number(ctx, name, value);
}

void report_status(struct node *n, struct buf *out)
{
    struct json_out json = json_out_to(out);
    struct store_counters store;
    struct engine_usage usage;
    store_counters(n->store, &store);
    store_usage(n->store, &usage);
    json_object(&json);
    sync_report(n->sync, (struct sync_time){n->now_ms, n->wall_ms}, &json);
    json_field_number(&json, "Health", swim_health(n->swim));
    json_name(&json, "Store");
    json_object(&json);
    json_field_number(&json, "Records", usage.entries[TABLE_RECORDS]);
    json_field_number(&json, "Rows", usage.entries[TABLE_ROWS]);
    json_field_number(&json, "FileBytes", usage.file_bytes);
    json_object_end(&json);
    json_name(&json, "Counters");
    json_object(&json);
    swim_counters(n->swim, put_counter, &json);
    sync_counters(n->sync, put_counter, &json);
    json_field_number(&json, "store_stamps_ahead", store.stamps_ahead);
    json_field_number(&json, "store_records_merged", store.records_merged);
    json_field_number(&json, "store_records_damaged", store.records_damaged);
    json_field_number(&json, "store_rows_pruned", store.rows_pruned);
    json_field_number(&json, "node_notes_refused", n->notes_refused);
    if (n->config.world_counters)
        n->config.world_counters(n->config.world_ctx, put_counter, &json);
    json_object_end(&json);
    json_object_end(&json);
}
