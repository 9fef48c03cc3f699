/* What outlives the process besides the data: the own incarnation, so that a
 * restart is news at once; the members' addresses, so that it finds its cluster
 * again; that it left for good. All are notes in the store. */
#include "mem.h"
#include "node_state.h"

#include <stdio.h>

static uint64_t put_note(struct node *n, const char *name, struct bytes value, struct effects *out)
{
    struct effect *effect = effects_add(out, EFFECT_STORE);
    effect->work = store_work_new(WORK_NOTES);
    store_work_add_note(effect->work, name, value);
    return effect->ticket = node_new_ticket(n);
}

enum err remember_read(struct node *n, uint32_t *ret_incarnation)
{
    struct snapshot *snapshot;
    struct bytes note;
    uint32_t incarnation = 0;
    enum err err = snapshot_open(n->store, &snapshot);
    if (err != OK)
        return err;
    err = snapshot_note(snapshot, NOTE_INCARNATION, &note);
    if (err == OK) {
        struct cursor in = cursor_of(note);
        incarnation = cursor_u32(&in);
    }
    if (err == OK || err == ERR_NOT_FOUND) {
        err = snapshot_note(snapshot, NOTE_KEYS, &note);
        if (err == OK || err == ERR_NOT_FOUND)
            err = keys_open(n, err == OK ? note : bytes_of(NULL, 0));
    }
    if (err == OK || err == ERR_NOT_FOUND) {
        err = snapshot_note(snapshot, NOTE_LEFT, &note);
        n->left_noted = err == OK;
        n->left = n->left_noted && !n->config.rejoin;
    }
    if (err == OK || err == ERR_NOT_FOUND) {
        err = snapshot_note(snapshot, NOTE_MEMBERS, &note);
        if (err == OK)
            join_remembered(n, note);
    }
    snapshot_close(snapshot);
    if (err != OK && err != ERR_NOT_FOUND)
        return err;
    *ret_incarnation = incarnation;
    return OK;
}

void remember_incarnation(struct node *n, uint32_t incarnation, struct effects *out)
{
    struct buf value;
    buf_init(&value, 4);
    buf_put_u32(&value, incarnation);
    put_note(n, NOTE_INCARNATION, buf_bytes(&value), out);
    buf_done(&value);
}

static void put_addr(struct buf *b, const struct addr *addr)
{
    buf_put_u8(b, addr->len);
    buf_put(b, addr->ip, addr->len);
    buf_put_u16(b, addr->port);
}

struct addr remember_addr(struct cursor *in)
{
    struct addr addr = {.len = cursor_u8(in)};
    struct bytes ip = cursor_bytes(in, addr.len <= sizeof addr.ip ? addr.len : SIZE_MAX);
    addr.port = cursor_u16(in);
    if (in->err == OK && ip.len)
        memcpy(addr.ip, ip.data, ip.len);
    return addr;
}

/* Two lists, each with a varint of its length before it:
 *
 *   u8 length, address bytes, u16 port       each other member that has not left: to join
 *   the same, then the name as a blob        the same ones, and those that were lost: to look for */
uint64_t remember_members(struct node *n, struct effects *out)
{
    struct buf list, names, value;
    uint64_t count = 0, ticket = 0;
    size_t lost = swim_sought_count(n->swim);
    buf_init(&list, REMEMBERED_MAX * 32);
    buf_init(&names, (REMEMBERED_MAX + lost) * (SWIM_NAME_MAX + 32));
    buf_init(&value, SIZE_MAX); /* of the two */
    for (size_t i = 0; i < swim_count(n->swim) && count < REMEMBERED_MAX; i++) {
        struct swim_member member = swim_at(n->swim, i);
        if (member.self || member.state == MEMBER_LEFT || member.addr.len == 0)
            continue;
        put_addr(&list, &member.addr);
        put_addr(&names, &member.addr);
        buf_put_blob(&names, member.name);
        count++;
    }
    for (size_t i = 0; i < lost; i++) {
        struct addr addr;
        struct bytes name = swim_sought_at(n->swim, i, &addr);
        put_addr(&names, &addr);
        buf_put_blob(&names, name);
    }
    buf_put_varint(&value, count);
    buf_put_bytes(&value, buf_bytes(&list));
    buf_put_varint(&value, count + lost);
    buf_put_bytes(&value, buf_bytes(&names));
    if (count > 0) /* alone: the last company is better than none */
        ticket = put_note(n, NOTE_MEMBERS, buf_bytes(&value), out);
    buf_done(&list);
    buf_done(&names);
    buf_done(&value);
    n->remember_at_ms = UINT64_MAX;
    n->remember_after_ms = n->now_ms + REMEMBER_EVERY_MS;
    return ticket;
}

void remember_note(struct node *n, const char *name, struct bytes value, struct effects *out)
{
    put_note(n, name, value, out);
}

void remember_seek(struct node *n)
{
    struct snapshot *snapshot;
    struct bytes note;
    if (snapshot_open(n->store, &snapshot) != OK)
        return;
    if (snapshot_note(snapshot, NOTE_MEMBERS, &note) == OK) {
        struct cursor in = cursor_of(note);
        for (uint64_t i = cursor_varint_max(&in, REMEMBERED_MAX); i > 0 && in.err == OK; i--)
            remember_addr(&in); /* those to join */
        for (uint64_t i = cursor_left(&in) ? cursor_varint_max(&in, SIZE_MAX) : 0; i > 0; i--) {
            struct addr addr = remember_addr(&in);
            struct bytes name = cursor_blob(&in);
            if (in.err != OK)
                break; /* a cut note: what was read serves */
            swim_seek(n->swim, n->now_ms, name, &addr);
        }
    }
    snapshot_close(snapshot);
}

void remember_name(struct node *n, struct effects *out)
{
    char name[NOTE_NAME_MAX], uuid[REPLICA_ID_TEXT];
    snprintf(name, sizeof name, NODE_NOTE_NAME "%s", replica_id_text(sync_id(n->sync), uuid));
    put_note(n, name, bytes_str(n->name), out);
}

uint64_t remember_left(struct node *n, bool left, struct effects *out)
{
    return put_note(n, NOTE_LEFT, left ? bytes_str("1") : bytes_of(NULL, 0), out);
}
