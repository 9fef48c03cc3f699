/* What an operator sees of replication: the members of GET /cluster/status. */
#include "json_out.h"
#include "sync_state.h"
#include "units.h"

#include <stdio.h>

static void put_clock(struct json_out *out, const char *name, const struct clock *clock)
{
    char uuid[REPLICA_ID_TEXT];
    json_name(out, name);
    json_object(out);
    for (size_t i = 0; i < clock->count; i++)
        json_field_number(out, replica_id_text(&clock->entries[i].replica, uuid), clock->entries[i].counter);
    json_object_end(out);
}

static const char *state_of(const struct sync *s, const struct peer *peer)
{
    if (peer->link)
        return peer->link->held ? "held" : "up";
    if (peer_has_left(peer))
        return "left";
    if (peer->forgotten)
        return retire_find(s, &peer->id) ? "retired" : "forgotten";
    if (s->config.blocked(s->config.ctx, peer->name))
        return "blocked";
    return peer->dialing ? "dialing" : "down";
}

static void put_traffic(struct json_out *out, const struct traffic_count *count)
{
    json_object(out);
    json_field_number(out, "WireBytes", count->wire);
    json_field_number(out, "RawBytes", count->raw);
    json_field_number(out, "DeltaBytes", count->delta);
    json_field_number(out, "WalkBytes", count->walk);
    json_object_end(out);
}

static void put_peer(const struct sync *s, struct sync_time time, const struct peer *peer,
                     struct json_out *out)
{
    char uuid[REPLICA_ID_TEXT];
    json_object(out);
    json_field_text(out, "Peer", peer->name);
    json_field_text(out, "Replica", replica_id_text(&peer->id, uuid));
    json_field_text(out, "Ingress", peer->ingress);
    json_field_text(out, "State", state_of(s, peer));
    json_field_bool(out, "Expected", peer_expected(peer, time.wall_ms, s->config.forget_after_ms));
    json_field_bool(out, "Walking", peer->walking);
    json_field_number(out, "LagHere",
                      progress_lag(&peer->clock, &s->clock)); /* operations it has and we lack */
    json_field_number(out, "LagThere", progress_lag(&s->clock, &peer->clock));
    json_field_number(out, "BytesIn", peer->bytes_in);
    json_field_number(out, "BytesOut", peer->bytes_out);
    json_field_number(out, "RowsIn", peer->rows_in);
    json_field_number(out, "RowsOut", peer->rows_out);
    json_field_number(out, "Queued", peer->link ? peer->link->queued : 0);
    json_field_number(out, "Waiting", peer->link ? peer->link->waiting_bytes : 0);
    json_field_number(out, "Protocol", peer->link ? peer->link->protocol : 0);
    json_field_number(out, "UpMs", peer->link ? time.now_ms - peer->up_ms : 0);
    json_name(out, "In"); /* of this link, or the last one */
    put_traffic(out, &peer->in);
    json_name(out, "Out");
    put_traffic(out, &peer->out);
    json_field_text(out, "Error", peer->error);
    json_object_end(out);
}

bool sync_view_peer(const struct sync *s, const struct replica_id *id, struct sync_peer_view *ret)
{
    const struct peer *peer = peers_find(&s->peers, id);
    if (!peer)
        return false;
    *ret = (struct sync_peer_view){.state = state_of(s, peer),
                                   .lag_here = progress_lag(&peer->clock, &s->clock),
                                   .lag_there = progress_lag(&s->clock, &peer->clock),
                                   .error = peer->error};
    return true;
}

/* Who holds forgetting open. */
static void put_forgetting(const struct sync *s, struct sync_time time, struct json_out *out)
{
    char uuid[REPLICA_ID_TEXT], since[UNITS_TEXT_MAX];
    json_name(out, "HoldsForgetting");
    json_array(out);
    for (size_t i = 0; i < s->peers.count; i++) {
        const struct peer *peer = s->peers.list[i];
        if (!peer->holding_wall_ms)
            continue;
        json_object(out);
        json_field_text(out, "Peer", peer->name);
        json_field_text(out, "Replica", replica_id_text(&peer->id, uuid));
        json_field_text(out, "Since", instant_text(peer->holding_wall_ms, since));
        json_field_number(out, "SinceMs",
                          time.wall_ms > peer->holding_wall_ms ? time.wall_ms - peer->holding_wall_ms : 0);
        json_field_bool(out, "Connected", peer->link != NULL);
        json_field_number(out, "Lacks", progress_lag(&s->clock, &peer->clock));
        json_object_end(out);
    }
    json_array_end(out);
}

static bool somebody_has_more(const struct sync *s, const struct replica_id *id)
{
    for (size_t i = 0; i < s->link_count; i++)
        if (s->links[i]->state == LINK_UP &&
            clock_get(&s->links[i]->peer->clock, id) > clock_get(&s->clock, id))
            return true;
    return false;
}

static void copy_dot(void *ctx, const struct row *row)
{
    *(struct dot *)ctx = row->dot;
}

/* Replicas of which some operations are here, those before them are not, and nobody who is connected has
 * them: clocks do not pass such a gap, nothing is compared meanwhile, and some contexts wait for it. */
static void put_incomplete(const struct sync *s, struct json_out *out)
{
    char uuid[REPLICA_ID_TEXT];
    struct snapshot *snapshot;
    json_name(out, "Incomplete");
    json_array(out);
    if (!sync_walking(s) && snapshot_open(s->store, &snapshot) == OK) {
        struct dot at = {0};
        uint64_t highest;
        for (size_t i = 0; i < CLOCK_REPLICAS_MAX; i++, at.counter = UINT64_MAX) {
            struct dot early = at;
            if (snapshot_rows_ahead_after(snapshot, &at, 1, copy_dot, &early) != OK ||
                dot_compare(&early, &at) == 0 || snapshot_highest(snapshot, &early.replica, &highest) != OK)
                break;
            at = early;
            if (somebody_has_more(s, &at.replica) || retire_find(s, &at.replica))
                continue;
            const struct peer *peer = peers_find(&s->peers, &at.replica);
            json_object(out);
            json_field_text(out, "Replica", replica_id_text(&at.replica, uuid));
            json_field_text(out, "Peer", peer ? peer->name : "");
            json_field_number(out, "Whole", clock_get(&s->clock, &at.replica));
            json_field_number(out, "Highest", highest);
            json_object_end(out);
        }
        snapshot_close(snapshot);
    }
    json_array_end(out);
}

static void put_state_of_store(const struct sync *s, struct sync_time time, struct json_out *out)
{
    struct store_counters store;
    int64_t skew;
    store_counters(s->store, &store);
    json_field_number(out, "Replicas", s->clock.count);
    json_field_bool(out, "Paused", s->held_by_hand);
    json_field_bool(out, "LowSpace", s->low_space);
    json_name(out, "Quarantine");
    json_object(out);
    json_field_number(out, "Records", store.quarantined);
    json_field_number(out, "Bytes", store.quarantined_bytes);
    json_object_end(out);
    json_name(out, "ClockSkewMs"); /* the median of the peers' wall clocks less ours */
    if (expire_skew(s, time, &skew)) {
        char text[24];
        snprintf(text, sizeof text, "%lld", (long long)skew);
        json_raw(out, bytes_str(text));
    } else {
        json_null(out);
    }
    json_field_bool(out, "DropsExpired", expire_may_drop(s, time));
}

void sync_report(const struct sync *s, struct sync_time time, struct json_out *out)
{
    char uuid[REPLICA_ID_TEXT];
    json_field_text(out, "Replica", replica_id_text(&s->id, uuid));
    json_field_text(out, "Name", s->name);
    json_field_bool(out, "Left", sync_has_left(s));
    put_clock(out, "Clock", &s->clock);
    put_clock(out, "Floor", &s->floor);
    json_name(out, "Walk");
    if (sync_walking(s)) {
        json_object(out);
        json_field_text(out, "Phase", s->walk.phase == WALK_RECORDS ? "records" : "rows");
        json_field_number(out, "KeysDone", s->walk.keys_done);
        json_field_number(out, "KeysTotal", s->walk_keys_total);
        struct link *source = sync_link_find(s, s->walk_stream);
        struct rates rates = progress_rates(s, time.now_ms);
        json_field_text(out, "Peer", source && source->peer ? source->peer->name : "");
        json_field_number(out, "Rows", s->progress.rows);
        json_field_number(out, "Bytes", s->progress.bytes);
        json_field_number(out, "WireBytes", s->progress.wire);
        json_field_number(out, "Percent", rates.percent);
        json_field_number(out, "KeysPerSecond", rates.keys_per_s);
        json_field_number(out, "BytesPerSecond", rates.bytes_per_s);
        json_object_end(out);
    } else {
        json_null(out);
    }
    put_forgetting(s, time, out);
    retire_report(s, time, out);
    put_incomplete(s, out);
    put_state_of_store(s, time, out);
    json_name(out, "Links");
    json_array(out);
    for (size_t i = 0; i < s->peers.count; i++)
        if (s->peers.list[i]->name[0]) /* of others we know only the past, by hearsay */
            put_peer(s, time, s->peers.list[i], out);
    json_array_end(out);
}

void sync_each_expected(const struct sync *s, struct sync_time time,
                        void (*each)(void *ctx, const char *name), void *ctx)
{
    for (size_t i = 0; i < s->peers.count; i++)
        if (peer_expected(s->peers.list[i], time.wall_ms, s->config.forget_after_ms))
            each(ctx, s->peers.list[i]->name);
}
