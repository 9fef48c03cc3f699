#include "keys.h"

#include "mem.h"
#include "node_state.h"

#include <stdio.h>

enum {
    NOTE_FORMAT = 1,
    SUBJECT_KEYS = 1,
    MESSAGE_ASK = 1,
    MESSAGE_STATE = 2,
    MESSAGE_CHANGE = 3,
    MESSAGE_OFFER = 4,
    NOTE_MAX = 1024, /* eight keys and their names take 350 bytes */
};

/* ---- the ring ------------------------------------------------------------------------ */

static struct key_names names_of(const struct keyring *ring)
{
    struct key_names names = {.count = keyring_count(ring)};
    for (size_t i = 0; i < names.count; i++)
        names.list[i] = keyring_name_at(ring, i);
    return names;
}

static bool names_have(const struct key_names *names, uint32_t name)
{
    for (size_t i = 0; i < names->count; i++)
        if (names->list[i] == name)
            return true;
    return false;
}

static void changed(struct node *n)
{
    n->keys.version = rng_next(&n->rng) | 1; /* 0 means none */
    n->keys.unsaved = true;
}

static void install_all(struct keyring *ring, const struct bytes *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)!keyring_install(ring, keys[i]); /* the same twice, or too many: those that are left do */
}

/* Replaces the keys of the old file by those of a new one; others stay behind. */
static void take_file(struct node *n, const struct bytes *keys, size_t count)
{
    struct keyring *ring = n->keys.ring;
    struct key_names old = n->keys.file;
    uint8_t kept[KEYRING_MAX][SEAL_KEY_MAX];
    struct bytes others[KEYRING_MAX];
    size_t other_count = 0;
    for (size_t i = 0; i < keyring_count(ring) && count > 0; i++) {
        struct bytes key = keyring_key_at(ring, i);
        if (names_have(&old, keyring_name_at(ring, i)))
            continue;
        memcpy(kept[other_count], key.data, key.len);
        others[other_count] = bytes_of(kept[other_count], key.len);
        other_count++;
    }
    keyring_clear(ring);
    install_all(ring, keys, count);
    n->keys.file = names_of(ring);
    install_all(ring, others, other_count);
    mem_wipe(kept, sizeof kept);
    changed(n);
}

static bool file_is_the_same(const struct node *n, const struct bytes *keys, size_t count)
{
    static const uint8_t no_random[NONCES_KEY];
    struct keyring *ring = keyring_new(no_random); /* only for the names */
    install_all(ring, keys, count);
    struct key_names names = names_of(ring), old = n->keys.file;
    keyring_free(ring);
    bool same = names.count == old.count;
    for (size_t i = 0; same && i < names.count; i++)
        same = names.list[i] == old.list[i];
    return same;
}

/* u8 format, u64 epoch, u8 n and n names of the file's keys, u8 n and n keys, each
 * with its length before it. */
static enum err read_note(struct node *n, struct bytes note)
{
    struct cursor c = cursor_of(note);
    uint8_t format = cursor_u8(&c);
    uint64_t epoch = cursor_u64(&c);
    struct key_names file = {.count = cursor_u8(&c)};
    if (c.err != OK || format != NOTE_FORMAT || file.count > KEYRING_MAX)
        return ERR_DAMAGED;
    for (size_t i = 0; i < file.count; i++)
        file.list[i] = cursor_u32(&c);
    size_t count = cursor_u8(&c);
    for (size_t i = 0; i < count; i++) {
        struct bytes key = cursor_bytes(&c, cursor_u8(&c));
        if (c.err != OK || keyring_install(n->keys.ring, key) != OK)
            return ERR_DAMAGED;
    }
    if (cursor_finish(&c) != OK)
        return ERR_DAMAGED;
    n->keys.epoch = epoch;
    n->keys.file = file;
    return OK;
}

enum err keys_open(struct node *n, struct bytes note)
{
    n->keys.ring = keyring_new(n->config.nonce_key);
    n->keys.version = rng_next(&n->rng) | 1;
    if (note.len > 0) {
        enum err err = read_note(n, note);
        if (err != OK)
            return err;
    }
    if (!file_is_the_same(n, n->config.keys, n->config.key_count))
        take_file(n, n->config.keys, n->config.key_count);
    return OK;
}

void keys_done(struct node *n)
{
    rotate_done(n);
    keyring_free(n->keys.ring);
    n->keys.ring = NULL;
}

void keys_save(struct node *n, struct effects *out)
{
    struct buf note;
    if (!n->keys.unsaved)
        return;
    n->keys.unsaved = false;
    buf_init(&note, NOTE_MAX);
    buf_put_u8(&note, NOTE_FORMAT);
    buf_put_u64(&note, n->keys.epoch);
    buf_put_u8(&note, (uint8_t)n->keys.file.count);
    for (size_t i = 0; i < n->keys.file.count; i++)
        buf_put_u32(&note, n->keys.file.list[i]);
    buf_put_u8(&note, (uint8_t)keyring_count(n->keys.ring));
    for (size_t i = 0; i < keyring_count(n->keys.ring); i++) {
        struct bytes key = keyring_key_at(n->keys.ring, i);
        buf_put_u8(&note, (uint8_t)key.len);
        buf_put_bytes(&note, key);
    }
    remember_note(n, NOTE_KEYS, buf_bytes(&note), out);
    mem_wipe(note.data, note.len);
    buf_done(&note);
}

static void notice_ring(struct node *n, const char *what, struct bytes by, struct effects *out)
{
    char first[KEYRING_NAME] = "none";
    if (keyring_count(n->keys.ring))
        key_name_text(keyring_name_at(n->keys.ring, 0), first);
    effects_notice(out, NOTICE_INFO, "event=%s first=%s keys=%zu by=%.*s", what, first,
                   keyring_count(n->keys.ring), (int)by.len, (const char *)by.data);
}

void keys_configure(struct node *n, const struct bytes *keys, size_t count, struct effects *out)
{
    if (file_is_the_same(n, keys, count))
        return;
    take_file(n, keys, count);
    keys_save(n, out);
    notice_ring(n, "keys_configured", bytes_str("configuration"), out);
}

enum err keys_change(struct node *n, enum key_change change, uint32_t name, struct bytes key, uint64_t epoch,
                     struct effects *out)
{
    struct keyring *ring = n->keys.ring;
    struct key_names before = names_of(ring);
    enum err err = change == KEY_INSTALL ? keyring_install(ring, key)
                   : change == KEY_USE   ? keyring_use(ring, name)
                                         : keyring_remove(ring, name);
    if (err != OK)
        return err;
    struct key_names after = names_of(ring);
    bool moved = memcmp(&before, &after, sizeof before) != 0;
    if (change == KEY_USE && epoch > n->keys.epoch) {
        n->keys.epoch = epoch;
        moved = true;
    }
    if (moved) {
        changed(n);
        keys_save(n, out);
    }
    return OK;
}

struct key_state keys_state(const struct node *n)
{
    return (struct key_state){
        .version = n->keys.version, .epoch = n->keys.epoch, .names = names_of(n->keys.ring)};
}

/* ---- messages ------------------------------------------------------------------------- */

static void begin(struct node *n, struct buf *b, uint8_t kind, uint64_t serial)
{
    buf_init(b, SWIM_USER_MAX);
    buf_put_text(b, SWIM_USER_MAGIC);
    buf_put_u8(b, SUBJECT_KEYS);
    buf_put_u8(b, kind);
    buf_put_u64(b, serial);
    buf_put_blob(b, bytes_str(n->name));
}

static void send(struct node *n, const struct addr *to, uint32_t key, struct buf *b, struct effects *out)
{
    if (b->err == OK && !n->config.sends_unsealed) /* never in the clear */
        swim_send_user(n->swim, n->now_ms, to, buf_bytes(b), key, out);
    mem_wipe(b->data, b->len);
    buf_done(b);
}

static uint32_t first_key(const struct node *n)
{
    return keyring_name_at(n->keys.ring, 0);
}

void keys_send_ask(struct node *n, const struct addr *to, uint64_t serial, struct effects *out)
{
    struct buf b;
    begin(n, &b, MESSAGE_ASK, serial);
    send(n, to, first_key(n), &b, out);
}

static void send_state(struct node *n, const struct addr *to, uint64_t serial, uint32_t key, enum err err,
                       struct effects *out)
{
    struct buf b;
    struct key_state state = keys_state(n);
    begin(n, &b, MESSAGE_STATE, serial);
    buf_put_u8(&b, (uint8_t)err);
    buf_put_u64(&b, state.version);
    buf_put_u64(&b, state.epoch);
    buf_put_u8(&b, (uint8_t)state.names.count);
    for (size_t i = 0; i < state.names.count; i++)
        buf_put_u32(&b, state.names.list[i]);
    send(n, to, key, &b, out);
}

void keys_send_change(struct node *n, const struct addr *to, uint64_t serial, uint64_t version,
                      enum key_change change, uint32_t name, uint64_t epoch, struct effects *out)
{
    struct buf b;
    size_t at = keyring_find(n->keys.ring, name);
    begin(n, &b, MESSAGE_CHANGE, serial);
    buf_put_u64(&b, version);
    buf_put_u64(&b, epoch);
    buf_put_u8(&b, (uint8_t)change);
    if (change == KEY_INSTALL)
        buf_put_blob(&b, keyring_key_at(n->keys.ring, at));
    else
        buf_put_u32(&b, name);
    send(n, to, first_key(n), &b, out);
}

/* Of one of our own members, at the address that it is known by. */
static bool find_sender(struct node *n, struct bytes name, struct addr *ret_addr)
{
    struct swim_member member;
    struct meta meta;
    if (!swim_find(n->swim, name, &member) || member.self || node_blocked(n, name) ||
        meta_decode(member.meta, &meta) != OK)
        return false;
    *ret_addr = member.addr;
    return true;
}

static enum err take_change(struct node *n, struct cursor *c, struct bytes by, struct effects *out)
{
    static const char *const events[] = {
        [KEY_INSTALL] = "key_installed", [KEY_USE] = "key_used", [KEY_REMOVE] = "key_removed"};
    uint64_t version = cursor_u64(c), epoch = cursor_u64(c);
    uint8_t change = cursor_u8(c);
    struct bytes key = change == KEY_INSTALL ? cursor_blob(c) : bytes_of(NULL, 0);
    uint32_t name = change == KEY_INSTALL ? 0 : cursor_u32(c);
    if (cursor_finish(c) != OK || change < KEY_INSTALL || change > KEY_REMOVE)
        return ERR_MALFORMED;
    if (version != n->keys.version)
        return ERR_BEHIND;
    enum err err = keys_change(n, (enum key_change)change, name, key, epoch, out);
    if (err == OK)
        notice_ring(n, events[change], by, out);
    return err;
}

static enum err read_state(struct cursor *c, struct key_state *ret)
{
    struct key_state state = {0};
    uint8_t err = cursor_u8(c);
    state.version = cursor_u64(c);
    state.epoch = cursor_u64(c);
    state.names.count = cursor_u8(c);
    if (c->err != OK || state.names.count > KEYRING_MAX || err >= ERR_MAX)
        return ERR_MALFORMED;
    state.err = (enum err)err;
    for (size_t i = 0; i < state.names.count; i++)
        state.names.list[i] = cursor_u32(c);
    if (cursor_finish(c) != OK)
        return ERR_MALFORMED;
    *ret = state;
    return OK;
}

static uint32_t name_of(struct bytes key)
{
    struct seal *seal = seal_new(key);
    uint32_t name = seal_fingerprint(seal);
    seal_free(seal);
    return name;
}

static void send_offer(struct node *n, const struct addr *to, uint32_t key, struct effects *out)
{
    struct buf b;
    begin(n, &b, MESSAGE_OFFER, 0);
    buf_put_u64(&b, n->keys.epoch);
    buf_put_u8(&b, (uint8_t)keyring_count(n->keys.ring));
    for (size_t i = 0; i < keyring_count(n->keys.ring); i++)
        buf_put_blob(&b, keyring_key_at(n->keys.ring, i));
    send(n, to, key, &b, out);
}

/* To the members of our kind, under the key that they know us to seal with. Beyond a
 * batch they get it when they come by. */
static void hand_on(struct node *n, uint32_t key, struct effects *out)
{
    size_t sent = 0;
    for (size_t i = 0; i < swim_count(n->swim) && sent < KEYS_BATCH; i++) {
        struct swim_member member = swim_at(n->swim, i);
        struct addr addr;
        if (member.state != MEMBER_ALIVE || !find_sender(n, member.name, &addr))
            continue;
        send_offer(n, &addr, key, out);
        sent++;
    }
}

/* A ring of a later epoch, whole and its first key first. */
static enum err take_offer(struct node *n, struct cursor *c, struct bytes by, struct effects *out)
{
    uint64_t epoch = cursor_u64(c);
    size_t count = cursor_u8(c);
    struct bytes keys[KEYRING_MAX];
    if (c->err != OK || count == 0 || count > KEYRING_MAX)
        return ERR_MALFORMED;
    for (size_t i = 0; i < count; i++) {
        keys[i] = cursor_blob(c);
        if (!seal_is_key(keys[i]))
            return ERR_MALFORMED;
    }
    if (cursor_finish(c) != OK)
        return ERR_MALFORMED;
    if (keyring_count(n->keys.ring) == 0)
        return ERR_REFUSED;
    uint32_t first = name_of(keys[0]), old = first_key(n);
    if (epoch < n->keys.epoch || (epoch == n->keys.epoch && first <= old))
        return OK; /* ours is right: it is offered that */
    enum err err = keyring_install(n->keys.ring, keys[0]);
    if (err != OK)
        return err;
    install_all(n->keys.ring, keys, count);
    err = keyring_use(n->keys.ring, first);
    n->keys.epoch = epoch;
    changed(n);
    keys_save(n, out);
    notice_ring(n, "keys_taken", by, out);
    if (first != old)
        hand_on(n, old, out);
    return err;
}

static enum err read_message(struct node *n, const struct swim_event *event, struct effects *out)
{
    struct cursor c = cursor_of(event->payload);
    struct key_state state;
    struct addr from;
    cursor_bytes(&c, strlen(SWIM_USER_MAGIC));
    uint8_t subject = cursor_u8(&c), kind = cursor_u8(&c);
    uint64_t serial = cursor_u64(&c);
    struct bytes name = cursor_blob(&c);
    if (c.err != OK || subject != SUBJECT_KEYS)
        return ERR_MALFORMED;
    if (!find_sender(n, name, &from))
        return ERR_NOT_FOUND;
    enum err err = OK;
    switch (kind) {
    case MESSAGE_ASK:
        send_state(n, &from, serial, event->key, OK, out);
        return OK;
    case MESSAGE_CHANGE:
        err = take_change(n, &c, name, out);
        send_state(n, &from, serial, event->key, err, out);
        return OK;
    case MESSAGE_STATE:
        err = read_state(&c, &state);
        if (err == OK)
            rotate_told(n, name, serial, &state, out);
        return err;
    case MESSAGE_OFFER:
        return take_offer(n, &c, name, out);
    default:
        return ERR_VERSION;
    }
}

void keys_message(struct node *n, const struct swim_event *event, struct effects *out)
{
    if (!event->sealed || read_message(n, event, out) != OK)
        n->keys.messages_refused++;
}

void keys_old_key(struct node *n, const struct swim_event *event, struct effects *out)
{
    struct addr addr;
    if (n->keys.epoch == 0 || keyring_count(n->keys.ring) == 0 || !find_sender(n, event->name, &addr))
        return; /* without a rotation, the files differ: that is the operator's to mend */
    send_offer(n, &addr, event->key, out);
}
