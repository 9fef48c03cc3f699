/* The node: one event in, handed to membership, replication or the requests;
 * what they tell each other is carried across; effects out.
 *
 * Membership finds members and their meta; a meta of ours names a replica and
 * where it is reached, and replication connects to it. Replication's hello proves
 * a replica's id and address, and membership takes that over gossip's word. A
 * member without a meta of ours is a member and nothing more. */
#include "check.h"
#include "mem.h"
#include "node_state.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- what swim and sync ask ---------------------------------------------------------- */

static uint64_t new_stream(void *node)
{
    struct node *n = node;
    return n->next_stream += 2; /* even: opened here; the world names accepted ones with odd numbers */
}

uint64_t node_new_ticket(void *node)
{
    struct node *n = node;
    return ++n->next_ticket;
}

/* By Peering.Block: the full member name, or all of it before the UUID. */
bool node_blocked(const struct node *n, struct bytes name)
{
    size_t uuid = REPLICA_ID_TEXT; /* '-' and 36 characters */
    for (size_t i = 0; i < n->config.block_count; i++) {
        struct bytes block = bytes_str(n->config.block[i]);
        if (bytes_equal(name, block) ||
            (name.len > uuid && bytes_equal(bytes_of(name.data, name.len - uuid), block) &&
             name.data[block.len] == '-'))
            return true;
    }
    return false;
}

static bool swim_blocked(void *node, struct bytes name, struct bytes meta)
{
    (void)meta;
    return node_blocked(node, name);
}

static bool sync_blocked(void *node, const char *name)
{
    return node_blocked(node, bytes_str(name));
}

bool node_has_company(const struct node *n)
{
    for (size_t i = 0; i < swim_count(n->swim); i++) {
        struct swim_member member = swim_at(n->swim, i);
        if (!member.self && (member.state == MEMBER_ALIVE || member.state == MEMBER_SUSPECT))
            return true;
    }
    return false;
}

bool node_is_going(const struct node *n)
{
    return n->left || n->stopping;
}

/* ---- making ------------------------------------------------------------------------------ */

static const char *keep_text(struct node *n, const char *text)
{
    n->texts = mem_grow(n->texts, (n->text_count + 1) * sizeof *n->texts);
    return n->texts[n->text_count++] = mem_text(text ? text : "");
}

static const char *const *keep_list(const char *const *list, size_t count)
{
    char **copy = mem_new(count * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = mem_text(list[i]);
    return (const char *const *)copy;
}

static void free_list(const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free((char *)list[i]);
    free((char **)list);
}

static enum err make_swim(struct node *n, uint32_t incarnation)
{
    struct meta meta = {.replica = *sync_id(n->sync)};
    struct buf json;
    char uuid[REPLICA_ID_TEXT];
    snprintf(n->name, sizeof n->name, "%s-%s", n->config.name, replica_id_text(&meta.replica, uuid));
    sync_rename(n->sync, n->name);
    snprintf(meta.node_name, sizeof meta.node_name, "%s", n->config.federation_name);
    snprintf(meta.ingress, sizeof meta.ingress, "%s", n->config.ingress);
    buf_init(&json, 2 * META_MAX);
    enum err err = meta_encode(&meta, &json);
    if (err == OK) {
        struct swim_config config = {
            .name = bytes_str(n->name),
            .meta = buf_bytes(&json),
            .self = n->config.advertise,
            .profile = n->config.profile,
            .incarnation = incarnation,
            .seed = rng_next(&n->rng),
            .keys = n->keys.ring,
            .label = bytes_str(n->config.label),
            .takes_unsealed = n->config.takes_unsealed,
            .sends_unsealed = n->config.sends_unsealed,
            .ctx = n,
            .blocked = swim_blocked,
            .id_len = REPLICA_ID_TEXT, /* '-' and 36 characters */
            .new_stream = new_stream,
        };
        memcpy(config.vsn, n->config.vsn, sizeof config.vsn);
        n->swim = swim_new(&config, n->now_ms);
    }
    buf_done(&json);
    return err;
}

static enum err make_sync(struct node *n)
{
    struct sync_config config = {
        .name = "",
        .label = n->config.label,
        .ingress = n->config.ingress,
        .gossip = n->config.advertise,
        .forget_after_ms = n->config.forget_after_ms,
        .history_ms = n->config.history_ms,
        .history_max_bytes = n->config.history_max_bytes,
        .clock_skew_max_ms = n->config.clock_skew_max_ms,
        .compression = n->config.compression,
        .protocol_max = n->config.protocol_max,
        .new_stream = new_stream,
        .new_ticket = node_new_ticket,
        .blocked = sync_blocked,
        .ctx = n,
    };
    for (int i = 0; i < 4; i++)
        config.rng.s[i] = rng_next(&n->rng);
    return sync_new(&config, n->store, n->now_ms, &n->sync);
}

enum err node_new(const struct node_config *config, struct store *store, uint64_t now_ms, uint64_t wall_ms,
                  struct node **ret)
{
    struct node *n = mem_new(sizeof *n);
    uint32_t incarnation = 0;
    *n = (struct node){.config = *config,
                       .store = store,
                       .rng = config->rng,
                       .now_ms = now_ms,
                       .wall_ms = wall_ms,
                       .remember_at_ms = UINT64_MAX};
    n->config.name = keep_text(n, config->name);
    n->config.federation_name = keep_text(n, config->federation_name);
    n->config.ingress = keep_text(n, config->ingress);
    n->config.label = keep_text(n, config->label);
    n->config.join = keep_list(config->join, config->join_count);
    n->config.block = keep_list(config->block, config->block_count);
    enum err err = make_sync(n);
    if (err == OK)
        err = remember_read(n, &incarnation);
    n->config.keys = NULL; /* they are in the ring now */
    n->config.key_count = 0;
    mem_wipe(n->config.nonce_key, sizeof n->config.nonce_key);
    if (err == OK)
        err = make_swim(n, incarnation + 1);
    if (err != OK) {
        node_free(n);
        return err;
    }
    if (!n->left)
        remember_seek(n);
    join_configured(n);
    *ret = n;
    return OK;
}

void node_free(struct node *n)
{
    if (!n)
        return;
    swim_free(n->swim);
    keys_done(n);
    sync_free(n->sync);
    for (size_t i = 0; i < n->target_count; i++)
        free(n->targets[i].text);
    free(n->targets);
    for (size_t i = 0; i < n->request_count; i++)
        request_done(&n->requests[i]);
    free(n->requests);
    free_list(n->config.join, n->config.join_count);
    free_list(n->config.block, n->config.block_count);
    for (size_t i = 0; i < n->text_count; i++)
        free(n->texts[i]);
    free(n->texts);
    free(n);
}

/* ---- what membership tells ------------------------------------------------------------------ */

static void tell_sync(struct node *n, struct bytes name, struct bytes meta_json, bool alive,
                      struct effects *out)
{
    struct meta meta;
    char text[MEMBER_NAME_MAX + 1];
    if (name.len > MEMBER_NAME_MAX || meta_decode(meta_json, &meta) != OK)
        return; /* a member that is not YzmaDB: no replica */
    memcpy(text, name.data, name.len);
    text[name.len] = 0;
    sync_member(n->sync, (struct sync_time){n->now_ms, n->wall_ms}, &meta.replica, text, meta.ingress, alive,
                out);
}

static void tell_sync_gone(struct node *n, struct bytes name, struct effects *out)
{
    struct swim_member member;
    if (swim_find(n->swim, name, &member))
        tell_sync(n, name, member.meta, false, out);
}

static void remember_soon(struct node *n)
{
    if (n->remember_at_ms == UINT64_MAX)
        n->remember_at_ms = n->now_ms > n->remember_after_ms ? n->now_ms : n->remember_after_ms;
}

/* Somebody has our own name, and so our replica id: the hellos of replication show how far
 * both are the same. Its replication port is reckoned by ours. */
static void meet_twin(struct node *n, const struct swim_event *event, struct effects *out)
{
    const char *colon = strrchr(n->config.ingress, ':');
    char address[ADDR_TEXT_MAX], target[INGRESS_MAX + 1];
    if (!bytes_equal(event->name, bytes_str(n->name)) || !colon)
        return;
    struct addr addr = event->addr;
    uint64_t port;
    if (number_parse(bytes_str(colon + 1), &port) != OK)
        return;
    addr.port = (uint16_t)(addr.port + port - n->config.advertise.port);
    snprintf(target, sizeof target, "%s", addr_text(&addr, address));
    sync_meet_twin(n->sync, (struct sync_time){n->now_ms, n->wall_ms}, target, out);
}

static void take_swim_event(struct node *n, const struct swim_event *event, struct effects *out)
{
    tell_change(n, event, out);
    switch (event->kind) {
    case SWIM_JOINED:
    case SWIM_UPDATED:
        tell_sync(n, event->name, event->meta, true, out);
        remember_soon(n);
        break;
    case SWIM_DEAD:
    case SWIM_LEFT:
        tell_sync_gone(n, event->name, out);
        remember_soon(n);
        break;
    case SWIM_JOIN_DONE:
        join_done(n, event, out);
        break;
    case SWIM_REFUTED:
        remember_incarnation(n, event->incarnation, out);
        break;
    case SWIM_SUSPECTED: /* is a member until it is dead */
    case SWIM_CLEARED:
        break;
    case SWIM_BLOCKED:
        tell_sync(n, event->name, event->meta, false, out);
        remember_soon(n);
        break;
    case SWIM_REAPED:
    case SWIM_CONFLICT:
        meet_twin(n, event, out);
        break;
    case SWIM_REFUSED:
    case SWIM_PATH:
        break;
    case SWIM_USER:
        keys_message(n, event, out);
        break;
    case SWIM_OLD_KEY:
        keys_old_key(n, event, out);
        break;
    }
}

/* ---- what replication tells ------------------------------------------------------------------- */

static void take_address(struct node *n, const struct sync_event *event, struct effects *out)
{
    struct swim_member member;
    struct bytes name = bytes_str(event->name);
    if (event->addr.len == 0)
        return;
    if (swim_find(n->swim, name, &member)) {
        bool up = member.state == MEMBER_ALIVE || member.state == MEMBER_SUSPECT;
        if (!up || !addr_equal(&member.addr, &event->addr))
            swim_readdress(n->swim, n->now_ms, name, &event->addr, out);
    } else if (!node_is_going(n)) { /* a replica that gossip does not know: exchange what is known */
        swim_join(n->swim, n->now_ms, node_new_ticket(n), &event->addr, out);
    }
}

/* This store has a new id, so this node a new name: it begins anew as a member;
 * the old name is found dead by the others. */
static void begin_anew(struct node *n, struct effects *out)
{
    struct swim *old = n->swim;
    n->swim = NULL;
    if (make_swim(n, 1) != OK) {
        n->swim = old;
        return;
    }
    swim_free(old);
    sync_no_members(n->sync); /* who is one still is told of anew, and nobody tells of the others */
    effects_notice(out, NOTICE_WARN, "event=reidentified node=%s", n->name);
    remember_name(n, out);
    remember_incarnation(n, 1, out);
    n->resting = false;
    if (node_is_going(n))
        swim_leave(n->swim, n->now_ms, out); /* under this name it never was a member */
    else
        join_all_again(n);
}

/* Until neither has anything to tell the other. */
static void carry_across(struct node *n, struct effects *out)
{
    struct swim_event swim_event;
    struct sync_event sync_event;
    for (bool more = true; more;) {
        more = false;
        while (swim_next_event(n->swim, &swim_event)) {
            take_swim_event(n, &swim_event, out);
            swim_event_done(&swim_event);
            more = true;
        }
        while (sync_next_event(n->sync, &sync_event)) {
            if (sync_event.kind == SYNC_READDRESS)
                take_address(n, &sync_event, out);
            else
                begin_anew(n, out);
            more = true;
        }
    }
}

/* ---- the step ------------------------------------------------------------------------------------ */

static struct sync_time time_of(const struct node *n)
{
    return (struct sync_time){.now_ms = n->now_ms, .wall_ms = n->wall_ms};
}

/* A node that has left answers gossip until its goodbye has spread, no longer. */
static bool is_silent(const struct node *n)
{
    return n->left && n->now_ms >= n->silent_at_ms;
}

static void take_stream(struct node *n, const struct node_event *event, struct effects *out)
{
    struct sync_time time = time_of(n);
    const char *why = event->text ? event->text : "the connection failed or was closed";
    switch (event->kind) {
    case NODE_STREAM_ACCEPTED:
        if (n->left && (event->stream_kind == STREAM_SYNC || is_silent(n)))
            effects_stream_close(out, event->stream);
        else if (event->stream_kind == STREAM_SYNC)
            sync_stream_accepted(n->sync, time, event->stream, out);
        else
            swim_stream_accepted(n->swim, n->now_ms, event->stream, &event->from, out);
        break;
    case NODE_STREAM_OPENED:
        if (!sync_stream_opened(n->sync, time, event->stream, out))
            swim_stream_opened(n->swim, n->now_ms, event->stream, out);
        break;
    case NODE_STREAM_DATA:
        if (!sync_stream_data(n->sync, time, event->stream, event->bytes, out))
            swim_stream_data(n->swim, n->now_ms, event->stream, event->bytes, out);
        break;
    case NODE_STREAM_DRAINED:
        sync_stream_drained(n->sync, time, event->stream, event->queued, out);
        break;
    default:
        CHECK(event->kind == NODE_STREAM_CLOSED);
        if (!sync_stream_closed(n->sync, time, event->stream, why, out))
            swim_stream_closed(n->swim, n->now_ms, event->stream, why, out);
        break;
    }
}

static void configure(struct node *n, const struct node_event *event, struct effects *out)
{
    free_list(n->config.block, n->config.block_count);
    n->config.block = keep_list(event->names, event->name_count);
    n->config.block_count = event->name_count;
    swim_blocks_changed(n->swim, n->now_ms, out);
    sync_blocks_changed(n->sync, time_of(n), out);
}

static void tick(struct node *n, struct effects *out)
{
    if (!n->started) {
        n->started = true;
        remember_name(n, out);
        remember_incarnation(n, swim_incarnation(n->swim), out);
        keys_save(n, out);
        if (n->left) {
            sync_leave(n->sync, time_of(n), out);
            swim_leave(n->swim, n->now_ms, out);
        } else if (n->left_noted) { /* -j ends it, for later starts without one as well */
            (void)remember_left(n, false, out);
        }
    }
    if (is_silent(n) && !n->resting) {
        n->resting = true;
        swim_rest(n->swim, n->now_ms, out);
        sync_no_members(n->sync);
    }
    if (n->remember_at_ms <= n->now_ms)
        remember_members(n, out);
    if (swim_deadline(n->swim) <= n->now_ms)
        swim_tick(n->swim, n->now_ms, out);
    sync_tick(n->sync, time_of(n), out);
    join_due(n, out);
}

void node_step(struct node *n, const struct node_event *event, struct effects *out)
{
    CHECK(event->now_ms >= n->now_ms);
    n->now_ms = event->now_ms;
    n->wall_ms = event->wall_ms;
    swim_fine_time(n->swim, event->now_us);
    switch (event->kind) {
    case NODE_TICK:
        tick(n, out);
        break;
    case NODE_DATAGRAM:
        if (!is_silent(n))
            swim_datagram(n->swim, n->now_ms, &event->from, event->bytes, out);
        break;
    case NODE_UNREACHABLE:
        swim_unreachable(n->swim, n->now_ms, &event->from, out);
        break;
    case NODE_STREAM_ACCEPTED:
    case NODE_STREAM_OPENED:
    case NODE_STREAM_DATA:
    case NODE_STREAM_DRAINED:
    case NODE_STREAM_CLOSED:
        take_stream(n, event, out);
        break;
    case NODE_STORED:
        if (!sync_stored(n->sync, time_of(n), event->ticket, event->work, out))
            request_stored(n, event->ticket, event->work->err, out);
        else
            request_noted(n, event->ticket, event->work->err, out);
        break;
    case NODE_STORE_CHANGED:
        sync_store_changed(n->sync, time_of(n), out);
        break;
    case NODE_RESOLVED:
        join_resolved(n, event, out);
        break;
    case NODE_REQUEST:
        request_take(n, event, out);
        break;
    case NODE_CONFIGURE:
        configure(n, event, out);
        break;
    case NODE_REKEY:
        keys_configure(n, event->keys, event->key_count, out);
        break;
    }
    carry_across(n, out);
    rotate_due(n, out);
    request_due(n, out);
}

uint64_t node_deadline(const struct node *n)
{
    if (!n->started)
        return n->now_ms;
    uint64_t next = n->remember_at_ms;
    if (n->left && !n->resting && n->silent_at_ms < next)
        next = n->silent_at_ms;
    uint64_t others[] = {swim_deadline(n->swim), sync_deadline(n->sync, n->now_ms), join_deadline(n),
                         request_deadline(n), rotate_deadline(n)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i] < next)
            next = others[i];
    return next;
}

size_t node_reported(const struct node *n, struct replica_id *ret_own, uint64_t counters[])
{
    *ret_own = *sync_id(n->sync);
    return sync_reported(n->sync, n->wall_ms, counters);
}

uint64_t node_reports(const struct node *n)
{
    return sync_reports(n->sync);
}
