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
        n->left = err == OK && !n->config.rejoin;
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

/* u8 length, address bytes, u16 port, for each other member that has not left. */
void remember_members(struct node *n, struct effects *out)
{
    struct buf list, value;
    uint64_t count = 0;
    buf_init(&list, REMEMBERED_MAX * 32);
    buf_init(&value, REMEMBERED_MAX * 32 + 16);
    for (size_t i = 0; i < swim_count(n->swim) && count < REMEMBERED_MAX; i++) {
        struct swim_member member = swim_at(n->swim, i);
        if (member.self || member.state == MEMBER_LEFT || member.addr.len == 0)
            continue;
        buf_put_u8(&list, member.addr.len);
        buf_put(&list, member.addr.ip, member.addr.len);
        buf_put_u16(&list, member.addr.port);
        count++;
    }
    buf_put_varint(&value, count);
    buf_put_bytes(&value, buf_bytes(&list));
    if (count > 0) /* alone: the last company is better than none */
        put_note(n, NOTE_MEMBERS, buf_bytes(&value), out);
    buf_done(&list);
    buf_done(&value);
    n->remember_at_ms = UINT64_MAX;
    n->remember_after_ms = n->now_ms + REMEMBER_EVERY_MS;
}

void remember_note(struct node *n, const char *name, struct bytes value, struct effects *out)
{
    put_note(n, name, value, out);
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
