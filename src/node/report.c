/* What an operator sees of the node: GET /cluster/members and /cluster/status. */
#include "node_state.h"
#include "units.h"

#include <stdio.h>

/* Milliseconds with three decimals. */
static void put_round_trip(const struct swim_member *member, struct json_out *json)
{
    char text[24];
    json_name(json, "RoundTripMs");
    if (!member->rtt_known) {
        json_null(json);
        return;
    }
    snprintf(text, sizeof text, "%u.%03u", member->rtt_us / 1000, member->rtt_us % 1000);
    json_raw(json, bytes_str(text));
}

static void put_replication(struct node *n, const struct replica_id *id, struct json_out *json)
{
    struct sync_peer_view view;
    json_name(json, "Replication");
    if (!sync_view_peer(n->sync, id, &view)) {
        json_null(json);
        return;
    }
    json_object(json);
    json_field_text(json, "State", view.state);
    json_field_number(json, "LagHere", view.lag_here);
    json_field_number(json, "LagThere", view.lag_there);
    json_field_text(json, "Error", view.error);
    json_object_end(json);
}

static void put_error(struct node *n, const struct swim_member *member, struct json_out *json)
{
    json_field_text(json, "LastError", member->error ? member->error : "");
    json_name(json, "LastErrorMs");
    if (member->error)
        json_number(json, n->now_ms - member->error_ms);
    else
        json_null(json);
}

static void put_member(struct node *n, const struct swim_member *member, struct json_out *json)
{
    char text[UNITS_TEXT_MAX], address[ADDR_TEXT_MAX], uuid[REPLICA_ID_TEXT];
    struct meta meta;
    uint64_t age = n->now_ms > member->since_ms ? n->now_ms - member->since_ms : 0;
    bool replica = meta_decode(member->meta, &meta) == OK;
    json_object(json);
    json_field_string(json, "Name", member->name);
    json_field_text(json, "Address", addr_text(&member->addr, address));
    json_field_text(json, "Status", member_state_text(member->state));
    json_field_bool(json, "Self", member->self);
    json_field_text(json, "Since", instant_text(n->wall_ms > age ? n->wall_ms - age : 0, text));
    json_field_number(json, "SinceMs", age);
    json_field_number(json, "Incarnation", member->incarnation);
    snprintf(text, sizeof text, "%u-%u/%u", member->vsn[0], member->vsn[1], member->vsn[2]);
    json_field_text(json, "Protocol", text);
    snprintf(text, sizeof text, "%u-%u/%u", member->vsn[3], member->vsn[4], member->vsn[5]);
    json_field_text(json, "DelegateProtocol", text);
    json_field_text(json, "NodeName", replica ? meta.node_name : "");
    json_field_text(json, "APIIngress", replica ? meta.ingress : "");
    json_field_text(json, "Replica", replica ? replica_id_text(&meta.replica, uuid) : "");
    put_round_trip(member, json);
    json_field_text(json, "UDPBlocked", member->to_blocked ? "to" : member->from_blocked ? "from" : "");
    put_error(n, member, json);
    if (replica && !member->self) {
        put_replication(n, &meta.replica, json);
    } else {
        json_name(json, "Replication");
        json_null(json);
    }
    json_object_end(json);
}

void report_members(struct node *n, struct buf *out)
{
    struct json_out json = json_out_to(out);
    json_object(&json);
    json_field_number(&json, "Health", swim_health(n->swim));
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
    json_field_number(&json, "UsedBytes", sync_space_used(&usage));
    json_field_number(&json, "BytesMax", usage.bytes_max);
    json_object_end(&json);
    json_name(&json, "Counters");
    json_object(&json);
    swim_counters(n->swim, put_counter, &json);
    sync_counters(n->sync, put_counter, &json);
    json_field_number(&json, "store_stamps_ahead", store.stamps_ahead);
    json_field_number(&json, "store_records_merged", store.records_merged);
    json_field_number(&json, "store_records_damaged", store.records_damaged);
    json_field_number(&json, "store_rows_pruned", store.rows_pruned);
    json_field_number(&json, "store_versions_expired", store.versions_expired);
    json_field_number(&json, "store_records_quarantined", store.records_quarantined);
    json_field_number(&json, "store_conflicts_refused", store.conflicts_refused);
    json_field_number(&json, "store_replicas_refused", store.replicas_refused);
    json_field_number(&json, "node_notes_refused", n->notes_refused);
    json_field_number(&json, "node_key_messages_refused", n->keys.messages_refused);
    if (n->config.world_counters)
        n->config.world_counters(n->config.world_ctx, put_counter, &json);
    json_object_end(&json);
    json_object_end(&json);
}
