/* Requests of the API: those answered at once, and those that wait. */
#include "mem.h"
#include "node_state.h"

#include <stdlib.h>

/* Takes data, if there is any. */
void request_reply(uint64_t ticket, enum err err, const char *error, struct buf *data, struct effects *out)
{
    struct node_reply *reply = mem_new(sizeof *reply);
    reply->err = err;
    reply->error = error ? mem_text(error) : NULL;
    if (data) {
        if (data->err != OK) {
            reply->err = data->err;
            free(reply->error);
            reply->error = mem_text("the answer does not fit");
            buf_done(data);
        }
        reply->data = *data;
        *data = (struct buf){0};
    }
    struct effect *effect = effects_add(out, EFFECT_REPLY);
    effect->ticket = ticket;
    effect->reply = reply;
}

struct request *request_add(struct node *n, uint64_t ticket, enum request_kind kind, uint64_t within_ms)
{
    if (n->request_count == n->request_room) {
        n->request_room = n->request_room ? n->request_room * 2 : 4;
        n->requests = mem_grow(n->requests, n->request_room * sizeof *n->requests);
    }
    struct request *request = &n->requests[n->request_count++];
    *request = (struct request){.ticket = ticket, .kind = kind, .deadline_ms = n->now_ms + within_ms};
    buf_init(&request->failed, 1 << 20);
    return request;
}

struct request *request_find(struct node *n, uint64_t ticket)
{
    for (size_t i = 0; i < n->request_count; i++)
        if (n->requests[i].ticket == ticket)
            return &n->requests[i];
    return NULL;
}

void request_done(struct request *request)
{
    buf_done(&request->failed);
}

/* ---- answered later ---------------------------------------------------------------- */

static void reply_join(struct node *n, struct request *request, struct effects *out)
{
    struct buf data;
    for (size_t i = 0; i < n->target_count; i++) { /* only when late */
        struct target *target = &n->targets[i];
        if (target->request != request->ticket)
            continue;
        struct json_out json = json_out_to(&request->failed);
        if (request->failed.len)
            buf_put_u8(&request->failed, ',');
        json_object(&json);
        json_field_text(&json, "Peer", target->text);
        json_field_text(&json, "Error", target->why[0] ? target->why : "no answer in time");
        json_object_end(&json);
    }
    buf_init(&data, 2 << 20);
    buf_put_format(&data, "{\"Joined\":%zu,\"Failed\":[", request->joined);
    buf_put_bytes(&data, buf_bytes(&request->failed));
    buf_put_text(&data, "]}");
    bool none = request->joined == 0;
    request_reply(request->ticket, none ? ERR_REFUSED : OK, none ? "no peer could be joined" : NULL, &data,
                  out);
}

static bool is_done(const struct node *n, const struct request *request)
{
    switch (request->kind) {
    case REQUEST_JOIN:
        return request->waiting == 0;
    case REQUEST_LEAVE:
        return request->waiting == 0 && swim_left_done(n->swim);
    case REQUEST_SHUTDOWN:
        return swim_left_done(n->swim);
    case REQUEST_BY_HAND:
        return request->waiting == 0;
    }
    return true;
}

/* Some were joined, and the note of them is due, now or later. */
static bool keeps_joined(const struct request *request)
{
    return request->kind == REQUEST_JOIN && request->joined && !request->kept && !request->note_ticket;
}

/* A join is answered when a restart would find the cluster again. */
static void keep_joined(struct node *n, struct request *request, struct effects *out)
{
    if (!keeps_joined(request) || (request->waiting && n->now_ms + JOIN_KEEP_MS < request->deadline_ms))
        return;
    request->kept = true;
    request->note_ticket = node_is_going(n) ? 0 : remember_members(n, out);
    request->waiting += request->note_ticket != 0;
}

void request_due(struct node *n, struct effects *out)
{
    for (size_t i = n->request_count; i-- > 0;) {
        struct request *request = &n->requests[i];
        bool late = n->now_ms >= request->deadline_ms;
        keep_joined(n, request, out);
        if (!is_done(n, request) && !late)
            continue;
        struct request ended = *request;
        *request = n->requests[--n->request_count];
        bool unstored = ended.kind != REQUEST_SHUTDOWN && ended.note_ticket;
        if (unstored)
            request_reply(ended.ticket, ERR_TIMEOUT, "could not be stored in time", NULL, out);
        else if (ended.kind == REQUEST_JOIN)
            reply_join(n, &ended, out);
        else
            request_reply(ended.ticket, OK, NULL, NULL, out);
        request_done(&ended);
    }
}

void request_noted(struct node *n, uint64_t ticket, enum err err, struct effects *out)
{
    for (size_t i = 0; i < n->request_count; i++) {
        struct request *request = &n->requests[i];
        if (!request->note_ticket || request->note_ticket != ticket)
            continue;
        if (err == OK) {
            request->waiting--;
            request->note_ticket = 0;
            if (request->kind == REQUEST_JOIN)
                n->left_noted = n->left; /* it may have left again meanwhile */
        } else {
            request_reply(request->ticket, err, "it could not be stored", NULL, out);
            request_done(request);
            *request = n->requests[--n->request_count];
        }
        return;
    }
}

void request_stored(struct node *n, uint64_t ticket, enum err err, struct effects *out)
{
    if (err != OK)
        n->notes_refused++;
    request_noted(n, ticket, err, out);
}

uint64_t request_deadline(const struct node *n)
{
    /* whether a goodbye has spread is not an event: looked at so often */
    enum { LOOK_MS = 50 };
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < n->request_count; i++) {
        const struct request *request = &n->requests[i];
        uint64_t at = request->kind == REQUEST_JOIN ? request->deadline_ms : n->now_ms + LOOK_MS;
        if (keeps_joined(request))
            at -= JOIN_KEEP_MS;
        if (at < next)
            next = at;
    }
    return next;
}

/* ---- taken -------------------------------------------------------------------------- */

static void leave(struct node *n, const struct node_event *event, struct effects *out)
{
    struct request *request = request_add(n, event->ticket, REQUEST_LEAVE, LEAVE_MS);
    request->waiting = 1;
    request->note_ticket = remember_left(n, true, out);
    n->left = n->left_noted = true;
    n->silent_at_ms = n->now_ms + LEAVE_MS;
    sync_leave(n->sync, (struct sync_time){n->now_ms, n->wall_ms}, out);
    swim_leave(n->swim, n->now_ms, out);
    effects_notice(out, NOTICE_INFO, "event=left next=\"goes on alone with its data, until it joins again\"");
}

/* What an operator does to replication: answered when it is durable. */
static void by_hand(struct node *n, const struct node_event *event, struct effects *out)
{
    struct sync_time time = {n->now_ms, n->wall_ms};
    const char *why = NULL;
    uint64_t ticket = 0;
    struct replica_id id;
    enum err err = OK;
    bool pauses = event->request == NODE_REQUEST_PAUSE || event->request == NODE_REQUEST_RESUME;
    if (pauses) {
        ticket = sync_pause(n->sync, time, event->request == NODE_REQUEST_PAUSE, out);
    } else if (event->name_count != 1 || !sync_find_replica(n->sync, event->names[0], &id)) {
        err = ERR_NOT_FOUND;
        why = "no such replica is known here: its UUID or member name is wanted";
    } else if (event->request == NODE_REQUEST_FORGET) {
        err = sync_forget(n->sync, time, &id, &why, &ticket, out);
    } else {
        err = sync_retire(n->sync, time, &id, &why, &ticket, out);
    }
    if (err != OK || !ticket) {
        request_reply(event->ticket, err, why, NULL, out);
        return;
    }
    struct request *request = request_add(n, event->ticket, REQUEST_BY_HAND, BY_HAND_MS);
    request->waiting = 1;
    request->note_ticket = ticket;
}

static void ready(struct node *n, uint64_t ticket, struct effects *out)
{
    struct sync_readiness ready;
    struct buf data;
    sync_readiness(n->sync, n->now_ms, &ready);
    buf_init(&data, 4096);
    struct json_out json = json_out_to(&data);
    json_object(&json);
    json_field_text(&json, "Reason", ready.reason);
    json_field_text(&json, "Peer", ready.peer);
    json_field_number(&json, "KeysDone", ready.keys_done);
    json_field_number(&json, "KeysTotal", ready.keys_total);
    json_field_number(&json, "Bytes", ready.bytes);
    json_field_number(&json, "Percent", ready.percent);
    json_field_number(&json, "KeysPerSecond", ready.keys_per_s);
    json_field_number(&json, "BytesPerSecond", ready.bytes_per_s);
    json_object_end(&json);
    request_reply(ticket, ready.ready ? OK : ERR_WALKING, ready.ready ? NULL : ready.reason, &data, out);
}

void request_take(struct node *n, const struct node_event *event, struct effects *out)
{
    /* members and counters: of thousands of nodes, some MiB */
    enum { REPORT_MAX = 16 << 20 };
    struct buf data;
    buf_init(&data, REPORT_MAX);
    switch (event->request) {
    case NODE_REQUEST_JOIN:
        join_request(n, event, out);
        break;
    case NODE_REQUEST_LEAVE:
        leave(n, event, out);
        break;
    case NODE_REQUEST_MEMBERS:
        report_members(n, &data);
        request_reply(event->ticket, OK, NULL, &data, out);
        break;
    case NODE_REQUEST_STATUS:
        report_status(n, &data);
        request_reply(event->ticket, OK, NULL, &data, out);
        break;
    case NODE_REQUEST_READY:
        ready(n, event->ticket, out);
        break;
    case NODE_REQUEST_KEYS_LIST:
    case NODE_REQUEST_KEYS_INSTALL:
    case NODE_REQUEST_KEYS_USE:
    case NODE_REQUEST_KEYS_REMOVE:
        rotate_request(n, event, out);
        break;
    case NODE_REQUEST_FORGET:
    case NODE_REQUEST_RETIRE:
    case NODE_REQUEST_PAUSE:
    case NODE_REQUEST_RESUME:
        by_hand(n, event, out);
        break;
    case NODE_REQUEST_SHUTDOWN:
        n->stopping = true;
        if (n->remember_at_ms != UINT64_MAX)
            remember_members(n, out);
        request_add(n, event->ticket, REQUEST_SHUTDOWN, SHUTDOWN_MS);
        sync_stop(n->sync);
        swim_leave(n->swim, n->now_ms, out);
        break;
    }
    request_due(n, out);
}
