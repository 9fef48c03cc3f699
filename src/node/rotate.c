/* A change of keys over the whole cluster, led by the node that was asked.
 *
 *   LIST      ask ------------------------------------> answer
 *   INSTALL   ask -> install where it is not ---------> answer
 *   USE       ask -> install where it is not -> use --> answer
 *   REMOVE    ask -> remove --------------------------> answer
 *
 * A phase ends when every member has answered or has been silent for KEYS_ANSWER_MS.
 * USE goes on to its last phase only when all that are present hold the key, REMOVE
 * only when nobody seals with it any more and nobody is away who might. With
 * "force" those who are silent, away or not YzmaDB do not count. */
#include "base64.h"
#include "mem.h"
#include "node_state.h"

#include <stdio.h>
#include <stdlib.h>

static bool holds(const struct key_holder *holder, uint32_t name)
{
    for (size_t i = 0; i < holder->told.names.count; i++)
        if (holder->told.names.list[i] == name)
            return true;
    return false;
}

static bool has_told(const struct key_holder *holder)
{
    return holder->told.version != 0;
}

static bool is_present(const struct swim_member *member)
{
    return member->state == MEMBER_ALIVE || member->state == MEMBER_SUSPECT;
}

/* ---- the answer -------------------------------------------------------------------------- */

struct away {
    struct node *n;
    struct json_out *json; /* NULL: only counted */
    size_t count;
};

static void on_expected(void *ctx, const char *name)
{
    struct away *away = ctx;
    struct swim_member member;
    if (swim_find(away->n->swim, bytes_str(name), &member) && is_present(&member))
        return;
    away->count++;
    if (away->json)
        json_text(away->json, name);
}

/* Replicas that are expected back and are not here. */
static size_t each_away(struct node *n, struct json_out *json)
{
    struct away away = {.n = n, .json = json};
    sync_each_expected(n->sync, (struct sync_time){n->now_ms, n->wall_ms}, on_expected, &away);
    return away.count;
}

/* Present members that are not YzmaDB: nobody can ask them. */
static size_t each_foreign(struct node *n, struct json_out *json)
{
    size_t count = 0;
    for (size_t i = 0; i < swim_count(n->swim); i++) {
        struct swim_member member = swim_at(n->swim, i);
        struct meta meta;
        if (member.self || !is_present(&member) || meta_decode(member.meta, &meta) == OK)
            continue;
        count++;
        if (json)
            json_string(json, member.name);
    }
    return count;
}

static size_t each_silent(struct node *n, struct json_out *json)
{
    size_t count = 0;
    for (size_t i = 0; i < n->keys.rotation.holder_count; i++) {
        const struct key_holder *holder = &n->keys.rotation.holders[i];
        if (has_told(holder) && holder->state != HOLDER_SILENT)
            continue;
        count++;
        if (json)
            json_text(json, holder->name);
    }
    return count;
}

static size_t each_failed(struct node *n, struct json_out *json)
{
    size_t count = 0;
    for (size_t i = 0; i < n->keys.rotation.holder_count; i++) {
        const struct key_holder *holder = &n->keys.rotation.holders[i];
        if (!holder->failed)
            continue;
        count++;
        if (!json)
            continue;
        json_object(json);
        json_field_text(json, "Name", holder->name);
        json_field_text(json, "Error",
                        holder->told.err == ERR_BEHIND ? "its keys have just been changed by someone else"
                                                       : err_text(holder->told.err));
        json_object_end(json);
    }
    return count;
}

static void put_list(struct node *n, struct json_out *json, const char *name,
                     size_t (*each)(struct node *n, struct json_out *json))
{
    json_name(json, name);
    json_array(json);
    each(n, json);
    json_array_end(json);
}

static void put_name(struct json_out *json, uint32_t name)
{
    char text[KEYRING_NAME];
    json_text(json, key_name_text(name, text));
}

static void put_member(struct json_out *json, const char *name, const struct key_names *names)
{
    json_object(json);
    json_field_text(json, "Name", name);
    json_name(json, "Keys");
    json_array(json);
    for (size_t i = 0; i < names->count; i++)
        put_name(json, names->list[i]);
    json_array_end(json);
    json_object_end(json);
}

/* Each key that anyone told of, once; how many hold it, how many seal with it. */
static void put_keys(struct node *n, struct json_out *json)
{
    const struct rotation *r = &n->keys.rotation;
    struct key_state own = keys_state(n);
    uint32_t shown[4 * KEYRING_MAX]; /* a mess with more is shown in part */
    size_t shown_count = 0;
    json_name(json, "Keys");
    json_array(json);
    for (size_t m = 0; m <= r->holder_count; m++) {
        const struct key_names *names = m == 0 ? &own.names : &r->holders[m - 1].told.names;
        for (size_t i = 0; i < names->count; i++) {
            size_t at = 0, held = 0, first = 0;
            uint32_t name = names->list[i];
            while (at < shown_count && shown[at] != name)
                at++;
            if (at < shown_count || shown_count == sizeof shown / sizeof *shown)
                continue;
            shown[shown_count++] = name;
            held = keyring_find(n->keys.ring, name) < own.names.count;
            first = own.names.count && own.names.list[0] == name;
            for (size_t k = 0; k < r->holder_count; k++) {
                held += holds(&r->holders[k], name);
                first += r->holders[k].told.names.count && r->holders[k].told.names.list[0] == name;
            }
            json_object(json);
            json_name(json, "Key");
            put_name(json, name);
            json_field_number(json, "HeldBy", held);
            json_field_number(json, "UsedBy", first);
            json_object_end(json);
        }
    }
    json_array_end(json);
}

static void put_report(struct node *n, struct buf *out)
{
    struct json_out json = json_out_to(out);
    struct rotation *r = &n->keys.rotation;
    struct key_state own = keys_state(n);
    json_object(&json);
    if (r->request != NODE_REQUEST_KEYS_LIST) {
        json_name(&json, "Key");
        put_name(&json, r->name);
    }
    json_field_number(&json, "Epoch", n->keys.epoch);
    put_keys(n, &json);
    json_name(&json, "Members");
    json_array(&json);
    put_member(&json, n->name, &own.names);
    for (size_t i = 0; i < r->holder_count; i++)
        if (has_told(&r->holders[i]))
            put_member(&json, r->holders[i].name, &r->holders[i].told.names);
    json_array_end(&json);
    put_list(n, &json, "Failed", each_failed);
    put_list(n, &json, "Silent", each_silent);
    put_list(n, &json, "Foreign", each_foreign);
    put_list(n, &json, "Away", each_away);
    json_object_end(&json);
}

void rotate_done(struct node *n)
{
    struct rotation *r = &n->keys.rotation;
    for (size_t i = 0; i < r->holder_count; i++)
        free(r->holders[i].name);
    free(r->holders);
    *r = (struct rotation){.serial = r->serial};
}

static void answer(struct node *n, enum err err, const char *error, struct effects *out)
{
    struct buf data;
    buf_init(&data, 4 << 20);
    put_report(n, &data);
    request_reply(n->keys.rotation.ticket, err, error, &data, out);
    rotate_done(n);
}

/* ---- phases ------------------------------------------------------------------------------- */

static void ask(struct node *n, struct key_holder *holder, struct effects *out)
{
    static const enum key_change changes[] = {
        [PHASE_INSTALL] = KEY_INSTALL, [PHASE_USE] = KEY_USE, [PHASE_REMOVE] = KEY_REMOVE};
    struct rotation *r = &n->keys.rotation;
    holder->state = HOLDER_ASKED;
    if (r->phase == PHASE_ASK)
        keys_send_ask(n, &holder->addr, r->serial, out);
    else
        keys_send_change(n, &holder->addr, r->serial, holder->told.version, changes[r->phase], r->name,
                         r->epoch, out);
}

static size_t count_in(const struct rotation *r, enum holder_state state)
{
    size_t count = 0;
    for (size_t i = 0; i < r->holder_count; i++)
        count += r->holders[i].state == state;
    return count;
}

/* Asks the next ones, as far as the batch has room. */
static void pump(struct node *n, struct effects *out)
{
    struct rotation *r = &n->keys.rotation;
    size_t asked = count_in(r, HOLDER_ASKED);
    for (size_t i = 0; i < r->holder_count && asked < KEYS_BATCH; i++)
        if (r->holders[i].state == HOLDER_WAITS) {
            ask(n, &r->holders[i], out);
            asked++;
        }
}

static bool takes_part(const struct rotation *r, const struct key_holder *holder)
{
    switch (r->phase) {
    case PHASE_ASK:
        return true;
    case PHASE_INSTALL:
        return has_told(holder) && !holds(holder, r->name);
    case PHASE_USE:
    case PHASE_REMOVE:
        return has_told(holder) && holds(holder, r->name);
    }
    return false;
}

static void begin(struct node *n, enum key_phase phase, struct effects *out)
{
    struct rotation *r = &n->keys.rotation;
    r->phase = phase;
    r->serial = rng_next(&n->rng);
    r->deadline_ms = n->now_ms + KEYS_ANSWER_MS;
    for (size_t i = 0; i < r->holder_count; i++) {
        struct key_holder *holder = &r->holders[i];
        holder->failed = false;
        if (holder->state != HOLDER_SILENT)
            holder->state = takes_part(r, holder) ? HOLDER_WAITS : HOLDER_SKIPPED;
    }
    pump(n, out);
}

static void notice(struct node *n, const char *what, struct effects *out)
{
    char name[KEYRING_NAME];
    effects_notice(out, NOTICE_INFO, "event=%s key=%s by=%s", what,
                   key_name_text(n->keys.rotation.name, name), "call");
}

static void begin_use(struct node *n, struct effects *out)
{
    struct rotation *r = &n->keys.rotation;
    r->epoch = n->keys.epoch;
    for (size_t i = 0; i < r->holder_count; i++)
        if (r->holders[i].told.epoch > r->epoch)
            r->epoch = r->holders[i].told.epoch;
    r->epoch++;
    (void)!keys_change(n, KEY_USE, r->name, bytes_of(NULL, 0), r->epoch, out); /* it is in the ring */
    notice(n, "key_used", out);
    begin(n, PHASE_USE, out);
}

static bool someone_seals_with(const struct rotation *r)
{
    for (size_t i = 0; i < r->holder_count; i++)
        if (r->holders[i].told.names.count && r->holders[i].told.names.list[0] == r->name)
            return true;
    return false;
}

/* All have told, or are silent. */
static void after_ask(struct node *n, struct effects *out)
{
    struct rotation *r = &n->keys.rotation;
    bool unsure = !r->force && (each_silent(n, NULL) > 0 || each_foreign(n, NULL) > 0);
    switch (r->request) {
    case NODE_REQUEST_KEYS_LIST:
        answer(n, OK, NULL, out);
        break;
    case NODE_REQUEST_KEYS_USE:
        if (unsure)
            answer(n, ERR_CONFLICT,
                   "nothing was changed: not every present member says that it holds the key (\"Force\" does "
                   "it)",
                   out);
        else
            begin(n, PHASE_INSTALL, out);
        break;
    case NODE_REQUEST_KEYS_REMOVE:
        if (someone_seals_with(r))
            answer(n, ERR_CONFLICT, "nothing was changed: a member still seals with this key", out);
        else if (unsure || (!r->force && each_away(n, NULL) > 0))
            answer(n, ERR_CONFLICT,
                   "nothing was changed: members that are away, silent or not YzmaDB may know no other key "
                   "(\"Force\" does it)",
                   out);
        else if (keys_change(n, KEY_REMOVE, r->name, bytes_of(NULL, 0), 0, out) != OK)
            answer(n, ERR_CONFLICT, "nothing was changed: this node seals with this key", out);
        else {
            notice(n, "key_removed", out);
            begin(n, PHASE_REMOVE, out);
        }
        break;
    default:
        begin(n, PHASE_INSTALL, out);
    }
}

static void phase_over(struct node *n, struct effects *out)
{
    struct rotation *r = &n->keys.rotation;
    bool complete = each_silent(n, NULL) == 0 && each_failed(n, NULL) == 0;
    if (r->phase == PHASE_ASK)
        after_ask(n, out);
    else if (r->phase == PHASE_INSTALL && r->request == NODE_REQUEST_KEYS_USE && (complete || r->force))
        begin_use(n, out);
    else
        answer(n, complete ? OK : ERR_CONFLICT, complete ? NULL : "not every present member has done it",
               out);
}

/* Goes on for as long as phases have nothing to wait for. */
static void advance(struct node *n, struct effects *out)
{
    struct rotation *r = &n->keys.rotation;
    while (r->busy) {
        pump(n, out);
        if (count_in(r, HOLDER_WAITS) + count_in(r, HOLDER_ASKED) > 0)
            return;
        phase_over(n, out);
    }
}

void rotate_told(struct node *n, struct bytes name, uint64_t serial, const struct key_state *state,
                 struct effects *out)
{
    struct rotation *r = &n->keys.rotation;
    if (!r->busy || serial != r->serial)
        return;
    for (size_t i = 0; i < r->holder_count; i++) {
        struct key_holder *holder = &r->holders[i];
        if (holder->state != HOLDER_ASKED || !bytes_equal(bytes_str(holder->name), name))
            continue;
        holder->told = *state;
        holder->state = HOLDER_TOLD;
        holder->failed = state->err != OK;
        r->deadline_ms = n->now_ms + KEYS_ANSWER_MS;
    }
    advance(n, out);
}

void rotate_due(struct node *n, struct effects *out)
{
    struct rotation *r = &n->keys.rotation;
    if (!r->busy || (n->now_ms < r->deadline_ms && n->now_ms < r->give_up_at_ms))
        return;
    bool give_up = n->now_ms >= r->give_up_at_ms;
    for (size_t i = 0; i < r->holder_count; i++)
        if (r->holders[i].state == HOLDER_ASKED || (give_up && r->holders[i].state == HOLDER_WAITS))
            r->holders[i].state = HOLDER_SILENT;
    r->deadline_ms = n->now_ms + KEYS_ANSWER_MS;
    advance(n, out);
}

uint64_t rotate_deadline(const struct node *n)
{
    const struct rotation *r = &n->keys.rotation;
    if (!r->busy)
        return UINT64_MAX;
    return r->deadline_ms < r->give_up_at_ms ? r->deadline_ms : r->give_up_at_ms;
}

/* ---- the request --------------------------------------------------------------------------- */

static void find_holders(struct node *n)
{
    struct rotation *r = &n->keys.rotation;
    r->holders = mem_new(swim_count(n->swim) * sizeof *r->holders);
    for (size_t i = 0; i < swim_count(n->swim); i++) {
        struct swim_member member = swim_at(n->swim, i);
        struct meta meta;
        if (member.self || !is_present(&member) || meta_decode(member.meta, &meta) != OK)
            continue;
        r->holders[r->holder_count++] = (struct key_holder){.name = mem_text_of(member.name),
                                                            .addr = member.addr};
    }
}

/* A key by its name or in base64; where it is to be installed, only the latter. */
static enum err read_key(struct node *n, bool install, struct bytes text, uint32_t *ret_name,
                         struct effects *out)
{
    struct buf key;
    if (!install && key_name_parse(text, ret_name) == OK)
        return OK;
    buf_init(&key, SEAL_KEY_MAX);
    enum err err = base64_decode(text, &key);
    if (err == OK && !seal_is_key(buf_bytes(&key)))
        err = ERR_MALFORMED;
    if (err != OK)
        err = ERR_MALFORMED;
    if (err == OK) {
        struct seal *seal = seal_new(buf_bytes(&key));
        *ret_name = seal_fingerprint(seal);
        seal_free(seal);
    }
    if (err == OK && install)
        err = keys_change(n, KEY_INSTALL, 0, buf_bytes(&key), 0, out);
    mem_wipe(key.data, key.len);
    buf_done(&key);
    return err;
}

static void refuse(const struct node_event *event, enum err err, const char *error, struct effects *out)
{
    request_reply(event->ticket, err, error, NULL, out);
}

void rotate_request(struct node *n, const struct node_event *event, struct effects *out)
{
    struct rotation *r = &n->keys.rotation;
    bool list = event->request == NODE_REQUEST_KEYS_LIST,
         install = event->request == NODE_REQUEST_KEYS_INSTALL;
    uint32_t name = 0;
    if (r->busy) {
        refuse(event, ERR_BUSY, "another call about keys is under way here", out);
        return;
    }
    if (keyring_count(n->keys.ring) == 0 && !list) {
        refuse(event, ERR_CONFLICT,
               "gossip is not sealed, so a key would travel in the clear: put keys into Peering.Keys first",
               out);
        return;
    }
    if (n->config.sends_unsealed && !list) {
        refuse(event, ERR_CONFLICT, "Peering.VerifyOutgoing is off, so a key would travel in the clear", out);
        return;
    }
    if (!list) {
        enum err err = read_key(n, install, bytes_str(event->names[0]), &name, out);
        if (err != OK) {
            refuse(event, err,
                   err == ERR_MALFORMED
                       ? install ? "Key must be 16, 24 or 32 bytes in base64"
                                 : "Key must be the name of a key, 8 hex digits, or the key in base64"
                   : err == ERR_TOO_LARGE ? "this node holds as many keys as it can: remove one first"
                                          : "this node cannot take the key: another one has its name",
                   out);
            return;
        }
        if (keyring_find(n->keys.ring, name) == keyring_count(n->keys.ring)) {
            refuse(event, ERR_NOT_FOUND, "this node holds no such key: install it first", out);
            return;
        }
        if (event->request == NODE_REQUEST_KEYS_REMOVE && keyring_find(n->keys.ring, name) == 0) {
            refuse(event, ERR_CONFLICT, "this node seals with this key: use another one first", out);
            return;
        }
    }
    *r = (struct rotation){.busy = true,
                           .request = event->request,
                           .ticket = event->ticket,
                           .name = name,
                           .force = event->name_count > 1,
                           .give_up_at_ms = n->now_ms + KEYS_REQUEST_MS};
    if (keyring_count(n->keys.ring) > 0 && !n->config.sends_unsealed)
        find_holders(n);
    if (install)
        notice(n, "key_installed", out);
    begin(n, PHASE_ASK, out);
    advance(n, out);
}
