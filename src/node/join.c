/* Finding the cluster: -j, Peering.Join, remembered members, POST /cluster/join.
 *
 * A target is a name or an address. Configured ones are tried from the start until
 * they have been reached once, and again whenever the node finds itself alone;
 * remembered ones only while it is alone, and first: they are addresses, and as a
 * rule still right. A request's target is tried once. Of a name with several
 * addresses one after another is tried, the next after two seconds at the latest. */
#include "mem.h"
#include "node_state.h"

#include <stdio.h>
#include <stdlib.h>

static struct target *add(struct node *n)
{
    if (n->target_count == TARGETS_MAX)
        return NULL;
    if (n->target_count == n->target_room) {
        n->target_room = n->target_room ? n->target_room * 2 : 8;
        n->targets = mem_grow(n->targets, n->target_room * sizeof *n->targets);
    }
    struct target *target = &n->targets[n->target_count++];
    *target = (struct target){.at_ms = n->now_ms};
    return target;
}

void join_configured(struct node *n)
{
    uint64_t after = n->target_count > 0 ? JOIN_HEAD_START_MS : 0; /* some are remembered */
    for (size_t i = 0; i < n->config.join_count; i++) {
        struct target *target = add(n);
        if (!target)
            return;
        target->text = mem_text(n->config.join[i]);
        target->standing = true;
        target->at_ms = n->now_ms + after;
    }
}

void join_remembered(struct node *n, struct bytes note)
{
    struct cursor in = cursor_of(note);
    uint64_t count = cursor_varint_max(&in, REMEMBERED_MAX);
    for (uint64_t i = 0; i < count && in.err == OK; i++) {
        struct addr addr = remember_addr(&in);
        struct target *target = in.err == OK ? add(n) : NULL;
        if (!target)
            return; /* a cut note: what was read serves */
        target->standing = true;
        target->addrs[target->addr_count++] = addr;
        target->at_ms = n->now_ms + i * 100; /* one after another: the first that answers knows the rest */
    }
}

/* ---- trying --------------------------------------------------------------------- */

static void tried(struct node *n, struct target *target, const char *error, struct effects *out);

static void try_address(struct node *n, struct target *target, struct effects *out)
{
    if (node_is_going(n)) { /* it has said goodbye while a name was resolved, or another address tried */
        tried(n, target, n->left ? "this node has left" : "this node is stopping", out);
        return;
    }
    target->ticket = node_new_ticket(n);
    target->at_ms = target->addr_at + 1 < target->addr_count ? n->now_ms + JOIN_ADDRESS_MS : UINT64_MAX;
    swim_join(n->swim, n->now_ms, target->ticket, &target->addrs[target->addr_at], out);
}

static void try_target(struct node *n, struct target *target, struct effects *out)
{
    target->addr_at = 0;
    target->why[0] = '\0';
    target->at_ms = UINT64_MAX;
    if (!target->text) {
        try_address(n, target, out);
        return;
    }
    target->ticket = node_new_ticket(n);
    struct effect *resolve = effects_add(out, EFFECT_RESOLVE);
    resolve->ticket = target->ticket;
    resolve->target = mem_text(target->text);
}

static void drop(struct node *n, struct target *target)
{
    free(target->text);
    *target = n->targets[--n->target_count];
}

static void tell_request(struct node *n, const struct target *target, const char *error)
{
    struct request *request = request_find(n, target->request);
    if (!request)
        return; /* answered already: it was late */
    request->waiting--;
    if (!error) {
        request->joined++;
        return;
    }
    struct json_out json = json_out_to(&request->failed);
    if (request->failed.len)
        buf_put_u8(&request->failed, ',');
    json_object(&json);
    json_field_text(&json, "Peer", target->text);
    json_field_text(&json, "Error", error);
    json_object_end(&json);
}

/* error: NULL when it was reached. */
static void tried(struct node *n, struct target *target, const char *error, struct effects *out)
{
    target->ticket = 0;
    if (target->request) {
        tell_request(n, target, error);
        if (error)
            effects_notice(out, NOTICE_WARN, "event=join_failed peer=%s reason=%s", target->text, error);
    }
    if (!target->standing) {
        drop(n, target);
        return;
    }
    if (node_is_going(n)) { /* if it comes back it tries them all */
        target->at_ms = UINT64_MAX;
        return;
    }
    if (!error) {
        target->reached = true;
        target->failures = 0;
        target->at_ms = n->now_ms + JOIN_RETRY_MAX_MS;
        return;
    }
    uint64_t delay = JOIN_RETRY_MIN_MS;
    for (unsigned i = 0; i < target->failures && delay < JOIN_RETRY_MAX_MS; i++)
        delay *= 2;
    delay = delay > JOIN_RETRY_MAX_MS ? JOIN_RETRY_MAX_MS : delay;
    if (target->failures++ == 0) {
        char text[ADDR_TEXT_MAX];
        effects_notice(out, NOTICE_WARN, "event=join_failed peer=%s reason=%s next=\"tries again in %llu s\"",
                       target->text ? target->text : addr_text(&target->addrs[0], text), error,
                       (unsigned long long)(delay / 1000));
    }
    target->at_ms = n->now_ms + delay + rng_below(&n->rng, delay / 4 + 1);
}

static struct target *find_ticket(struct node *n, uint64_t ticket)
{
    for (size_t i = 0; i < n->target_count; i++)
        if (n->targets[i].ticket == ticket)
            return &n->targets[i];
    return NULL;
}

void join_resolved(struct node *n, const struct node_event *event, struct effects *out)
{
    struct target *target = find_ticket(n, event->ticket);
    if (!target)
        return;
    if (event->addr_count == 0) {
        tried(n, target, event->text ? event->text : "the name has no address", out);
        return;
    }
    target->addr_count = event->addr_count < TARGET_ADDRS_MAX ? event->addr_count : TARGET_ADDRS_MAX;
    memcpy(target->addrs, event->addrs, target->addr_count * sizeof *target->addrs);
    try_address(n, target, out);
}

/* Of several addresses, each failure is told with its address. */
static void add_reason(struct target *target, const char *error)
{
    char address[ADDR_TEXT_MAX];
    size_t len = strlen(target->why);
    if (target->addr_count > 1)
        snprintf(target->why + len, sizeof target->why - len, "%s%s: %s", len ? "; " : "",
                 addr_text(&target->addrs[target->addr_at], address), error);
    else
        snprintf(target->why, sizeof target->why, "%s", error);
}

static void address_failed(struct node *n, struct target *target, const char *error, struct effects *out)
{
    char why[JOIN_WHY_MAX];
    add_reason(target, error);
    if (++target->addr_at < target->addr_count) {
        try_address(n, target, out);
        return;
    }
    memcpy(why, target->why, sizeof why); /* the target may go */
    tried(n, target, why, out);
}

void join_done(struct node *n, const struct swim_event *event, struct effects *out)
{
    struct target *target = find_ticket(n, event->ticket);
    if (!target)
        return;
    if (event->err == OK)
        tried(n, target, NULL, out);
    else
        address_failed(n, target, event->text && event->text[0] ? event->text : err_text(event->err), out);
}

void join_due(struct node *n, struct effects *out)
{
    for (size_t i = 0; i < n->target_count; i++) {
        struct target *target = &n->targets[i];
        if (n->now_ms < target->at_ms || node_is_going(n))
            continue;
        if (target->ticket) {
            address_failed(n, target, "no answer in 2 s", out);
            continue;
        }
        bool needed = target->text && !target->reached;
        if (!needed && target->standing && node_has_company(n))
            target->at_ms = n->now_ms + JOIN_RETRY_MAX_MS;
        else
            try_target(n, target, out);
    }
}

void join_all_again(struct node *n)
{
    for (size_t i = 0; i < n->target_count; i++) {
        n->targets[i].at_ms = n->now_ms;
        n->targets[i].ticket = 0;
        n->targets[i].reached = false;
        n->targets[i].failures = 0;
    }
}

uint64_t join_deadline(const struct node *n)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < n->target_count && !node_is_going(n); i++)
        if (n->targets[i].at_ms < next)
            next = n->targets[i].at_ms;
    return next;
}

/* ---- requests ----------------------------------------------------------------------- */

void join_request(struct node *n, const struct node_event *event, struct effects *out)
{
    struct request *request = request_add(n, event->ticket, REQUEST_JOIN, JOIN_REQUEST_MS);
    if (n->left) {
        n->left = n->resting = false;
        sync_return(n->sync, (struct sync_time){n->now_ms, n->wall_ms}, out);
        effects_notice(out, NOTICE_INFO, "event=returns next=\"joins, and is a member again\"");
        join_all_again(n);
    }
    if (n->left_noted) { /* answered when a restart would join again, too */
        request->note_ticket = remember_left(n, false, out);
        request->waiting++;
    }
    for (size_t i = 0; i < event->name_count; i++) {
        struct target *target = add(n);
        if (!target) {
            struct target none = {.text = (char *)event->names[i], .request = event->ticket};
            request->waiting++;
            tell_request(n, &none, "too many joins at once");
            continue;
        }
        target->text = mem_text(event->names[i]);
        target->request = event->ticket;
        request->waiting++;
        try_target(n, target, out);
    }
}
