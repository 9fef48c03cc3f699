/* Streams. One side connects, sends one message, and gets at most one back:
 *
 *   push/pull   answered with our own, then merged; or an err message
 *   ping        answered with an ack, if it is for us
 *   user        read to its end and ignored, unless it is another YzmaDB's: data
 *               never rides gossip here
 *
 * From the outside in: a label (written by the side that connects), the seal of a
 * key, compression, the message. Each layer that is whole is taken off, and what it
 * held takes the place of what came; an answer is sealed by the key that the
 * question was sealed by, so that who is behind in a rotation understands it.
 *
 * A join whose answer lists our own name alive at another address, or our id under
 * another name, asks there, by a ping, before it is done: who answers is another node
 * with it, and the join has failed; silence is an entry of our own former life.
 *
 * What comes is buffered until the message is whole, within bounds for one stream
 * and for all; every stream has a deadline. */
#include "swim_state.h"

#include "check.h"
#include "mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { WHY_MAX = 512 }; /* of a reason with a name in it */

static const char blocked_there[] = "%.*s is blocked there (Peering.Block)";

struct stream {
    uint64_t id;
    enum stream_role role;
    struct addr peer;
    struct timer timer;
    struct buf in;
    bool label_read;   /* or none is to come */
    bool opened;       /* `in` is what a key had sealed; no more is to come */
    uint32_t key;      /* its name, when opened; before, the one to seal with, if .. */
    bool keyed;        /* .. it is to be another than the first */
    bool unpacked;     /* `in` is what a compress message held; no more is to come */
    bool discards;     /* all that still comes */
    uint32_t seq;      /* PING */
    uint64_t ticket;   /* JOIN, NAMESAKE */
    size_t others;     /* NAMESAKE: what the join would be answered with */
    struct bytes name; /* NAMESAKE: what it is called there; SYNC: a suspect to hear again; owned */
    struct buf user;   /* USER: the message */
    struct push_pull_reader reader;
    struct stream *next, *previous;
};

static void fail(struct swim *s, struct stream *stream, enum err err);

/* --- the list --- */

static struct stream *find(const struct swim *s, uint64_t id)
{
    struct stream *stream = s->streams;
    while (stream && stream->id != id)
        stream = stream->next;
    return stream;
}

static struct stream *add(struct swim *s, uint64_t id, enum stream_role role, const struct addr *peer,
                          uint64_t lifetime_ms)
{
    struct stream *stream = mem_new(sizeof *stream);
    *stream = (struct stream){
        .id = id, .role = role, .peer = *peer, .timer.kind = TIMER_STREAM, .next = s->streams};
    stream->label_read = role != ROLE_ACCEPTED;
    buf_init(&stream->in, SWIM_STREAM_MAX);
    buf_init(&stream->user, SWIM_USER_MAX);
    if (stream->next)
        stream->next->previous = stream;
    s->streams = stream;
    s->stream_count++;
    timers_set(&s->timers, &stream->timer, s->now + lifetime_ms);
    return stream;
}

static void drop(struct swim *s, struct stream *stream)
{
    timers_cancel(&s->timers, &stream->timer);
    s->stream_bytes -= stream->in.len;
    buf_done(&stream->in);
    mem_wipe(stream->user.data, stream->user.len); /* perhaps a key */
    buf_done(&stream->user);
    free((void *)stream->name.data);
    if (stream->next)
        stream->next->previous = stream->previous;
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        s->streams = stream->next;
    s->stream_count--;
    free(stream);
}

void swim_streams_done(struct swim *s)
{
    while (s->streams)
        drop(s, s->streams);
}

void swim_streams_close(struct swim *s)
{
    while (s->streams)
        fail(s, s->streams, ERR_CLOSED);
}

/* Whoever waits for the stream learns how it went. */
static void tell_end(struct swim *s, const struct stream *stream, enum err err, struct bytes text,
                     size_t others)
{
    char why[WHY_MAX];
    if (stream->role == ROLE_JOIN) {
        swim_tell_join(s, stream->ticket, err, text, others);
    } else if ((stream->role == ROLE_SYNC || stream->role == ROLE_PING) &&
               (err == ERR_REFUSED || err == ERR_VERSION)) {
        snprintf(why, sizeof why, "%.*s", (int)text.len, (const char *)text.data);
        swim_tell_refused(s, &stream->peer, why);
    }
    if (stream->role == ROLE_NAMESAKE) /* nobody of our name is there */
        swim_tell_join(s, stream->ticket, OK, bytes_of(NULL, 0), stream->others);
}

static void finish(struct swim *s, struct stream *stream, enum err err, struct bytes text, size_t others)
{
    effects_stream_close(s->out, stream->id);
    tell_end(s, stream, err, text, others);
    drop(s, stream);
}

static void fail(struct swim *s, struct stream *stream, enum err err)
{
    finish(s, stream, err, bytes_str(err_text(err)), 0);
}

/* --- opening --- */

bool swim_stream_open(struct swim *s, enum stream_role role, const struct addr *to, uint64_t ticket,
                      uint64_t *ret_stream)
{
    if (s->stream_count >= 2 * SWIM_EXCHANGES_MAX) { /* as many as may be accepted, and again */
        swim_count_one(s, COUNT_STREAMS_REFUSED);
        return false;
    }
    struct addr where = addr_unmapped(*to);
    struct stream *stream = add(s, s->new_stream(s->ctx), role, &where, s->profile->tcp_timeout_ms);
    stream->ticket = ticket;
    struct effect *effect = effects_add(s->out, EFFECT_STREAM_OPEN);
    effect->stream = stream->id;
    effect->stream_kind = STREAM_GOSSIP;
    effect->to = where;
    if (ret_stream)
        *ret_stream = stream->id;
    return true;
}

void swim_stream_open_ping(struct swim *s, const struct member *to, uint32_t seq, uint64_t lifetime_ms)
{
    uint64_t id;
    if (!swim_stream_open(s, ROLE_PING, &to->addr, 0, &id))
        return;
    struct stream *stream = find(s, id);
    stream->seq = seq;
    timers_set(&s->timers, &stream->timer, s->now + lifetime_ms);
    s->probe.stream = id;
    s->probe.has_stream = true;
}

static void keep_name(struct stream *stream, struct bytes name)
{
    stream->name = bytes_of(mem_copy(name.data, name.len), name.len);
}

void swim_stream_open_convince(struct swim *s, const struct member *suspect)
{
    uint64_t id;
    if (swim_stream_open(s, ROLE_SYNC, &suspect->addr, 0, &id))
        keep_name(find(s, id), suspect->name);
}

void swim_stream_open_by(struct swim *s, const struct addr *to, size_t key_at)
{
    uint64_t id;
    if (!swim_stream_open(s, ROLE_SYNC, to, 0, &id) || !envelope_has_keys(&s->envelope))
        return;
    struct stream *stream = find(s, id);
    stream->key = keyring_name_at(s->envelope.keys, key_at);
    stream->keyed = true;
}

void swim_stream_abandon(struct swim *s, uint64_t id)
{
    struct stream *stream = find(s, id);
    if (stream)
        fail(s, stream, ERR_CLOSED);
}

static bool is_push_pull_target(const void *ctx, const struct member *member)
{
    return member->state == MEMBER_ALIVE;
}

void swim_push_pull_tick(struct swim *s)
{
    struct member *target;
    timers_set(&s->timers, &s->push_pull_timer, s->now + push_pull_interval_ms(s->profile, s->members.count));
    for (const struct stream *stream = s->streams; stream; stream = stream->next)
        if (stream->role == ROLE_SYNC)
            return; /* one at a time */
    if (!s->leaving && members_pick(&s->members, false, is_push_pull_target, NULL, 1, &target) == 1)
        swim_stream_open(s, ROLE_SYNC, &target->addr, 0, NULL);
}

/* --- sending --- */

/* The place of the key to seal with. */
static size_t key_of(const struct swim *s, const struct stream *stream)
{
    bool named = stream->opened || stream->keyed;
    size_t at = named ? keyring_find(s->envelope.keys, stream->key) : 0;
    return at < keyring_count(s->envelope.keys) ? at : 0;
}

/* Sends a whole message, in all its wrapping; empties it. (memberlist compresses
 * always; we, where that makes it shorter.) */
static bool send_whole(struct swim *s, struct stream *stream, struct buf *message)
{
    struct buf b;
    buf_init(&b, SIZE_MAX); /* bounded by what is put into it */
    if (message->err == OK && s->compress && message->len < SWIM_STREAM_MAX)
        packet_compress_from(message, 0);
    if (stream->role != ROLE_ACCEPTED)
        envelope_put_label(&s->envelope, &b);
    if (message->err == OK && envelope_seals(&s->envelope))
        envelope_put_stream(&s->envelope, key_of(s, stream), buf_bytes(message), &b);
    else
        buf_put_bytes(&b, buf_bytes(message));
    bool written = message->err == OK && b.err == OK;
    if (written)
        effects_stream_send(s->out, stream->id, &b);
    buf_done(&b);
    buf_done(message);
    return written;
}

static void send_message(struct swim *s, struct stream *stream, const struct wire_message *message)
{
    struct buf b;
    buf_init(&b, SWIM_STREAM_MAX);
    wire_put(&b, message);
    send_whole(s, stream, &b);
}

/* Of a large cluster that asks all at once, some must come again: what is handed out
 * waits in memory until it is taken. */
static bool is_within_window(struct swim *s, size_t bytes)
{
    if (s->now - s->tables_since >= SWIM_TABLES_WINDOW_MS) {
        s->tables_since = s->now;
        s->tables_bytes = 0;
    }
    if (s->tables_bytes + bytes > SWIM_TABLES_BYTES_MAX)
        return false;
    s->tables_bytes += bytes;
    return true;
}

static enum err send_state(struct swim *s, struct stream *stream, bool join)
{
    struct buf b;
    buf_init(&b, SIZE_MAX); /* bounded by SWIM_MEMBERS_MAX */
    push_pull_put(s, &b, join);
    enum err err = b.err;
    if (err == OK && !is_within_window(s, b.len)) {
        swim_count_one(s, COUNT_STREAMS_REFUSED);
        err = ERR_BUSY;
    }
    if (err == OK && !send_whole(s, stream, &b))
        err = ERR_NOMEM;
    buf_done(&b);
    return err;
}

static void send_user(struct swim *s, struct stream *stream)
{
    struct buf b;
    buf_init(&b, 2 * SWIM_USER_MAX);
    wire_put(&b, &(struct wire_message){.type = WIRE_USER, .user_header.len = stream->user.len});
    buf_put_bytes(&b, buf_bytes(&stream->user));
    send_whole(s, stream, &b);
    finish(s, stream, OK, bytes_of(NULL, 0), 0);
}

void swim_send_user(struct swim *s, uint64_t now_ms, const struct addr *to, struct bytes payload,
                    uint32_t key, struct effects *out)
{
    uint64_t id;
    CHECK(bytes_starts_with(payload, bytes_str(SWIM_USER_MAGIC)) && payload.len <= SWIM_USER_MAX);
    s->now = now_ms;
    s->out = out;
    if (!swim_stream_open(s, ROLE_USER, to, 0, &id))
        return;
    struct stream *stream = find(s, id);
    stream->key = key;
    stream->keyed = true;
    buf_put_bytes(&stream->user, payload);
}

static void send_error(struct swim *s, struct stream *stream, const char *text)
{
    send_message(s, stream, &(struct wire_message){.type = WIRE_ERR, .error.text = bytes_str(text)});
}

void swim_stream_opened(struct swim *s, uint64_t now_ms, uint64_t id, struct effects *out)
{
    s->now = now_ms;
    s->out = out;
    struct stream *stream = find(s, id);
    if (!stream || stream->role == ROLE_ACCEPTED)
        return;
    if (stream->role == ROLE_USER) {
        send_user(s, stream);
    } else if (stream->role == ROLE_NAMESAKE) {
        struct wire_message ping = swim_ping_of(s, stream->name, stream->seq);
        send_message(s, stream, &ping);
    } else if (stream->role == ROLE_PING) {
        if (!s->probe.target)
            return;
        struct wire_message ping = swim_ping_of(s, s->probe.target->name, stream->seq);
        send_message(s, stream, &ping);
    } else {
        enum err err = send_state(s, stream, stream->role == ROLE_JOIN);
        if (err != OK)
            fail(s, stream, err);
    }
}

/* --- receiving --- */

/* Who seals with a key that is not our first may not have that one yet. */
static void tell_old_key(struct swim *s, const struct stream *stream, struct bytes message)
{
    struct wire_node first;
    struct addr addr;
    if (stream->opened && keyring_find(s->envelope.keys, stream->key) != 0 &&
        push_pull_first(message, &first) && first.name.len <= SWIM_NAME_MAX &&
        wire_addr(first.addr, first.port, &addr) == OK)
        swim_tell_old_key(s, first.name, &addr, stream->key);
}

/* False when it cannot be asked. */
static bool ask_namesake(struct swim *s, const struct stream *join, const struct addr *at, struct bytes name,
                         size_t others)
{
    uint64_t id, ticket = join->ticket;
    if (!swim_stream_open(s, ROLE_NAMESAKE, at, ticket, &id))
        return false;
    struct stream *stream = find(s, id);
    stream->seq = swim_new_seq(s);
    stream->others = others;
    keep_name(stream, name);
    timers_set(&s->timers, &stream->timer, s->now + s->profile->probe_interval_ms);
    return true;
}

/* Both ends learn why. */
static void refuse_blocked(struct swim *s, struct stream *stream, struct bytes name)
{
    char why[WHY_MAX];
    swim_count_one(s, COUNT_BLOCKED);
    snprintf(why, sizeof why, blocked_there, (int)name.len, (const char *)name.data);
    if (stream->role == ROLE_ACCEPTED)
        send_error(s, stream, why);
    snprintf(why, sizeof why, "%.*s is blocked here (Peering.Block)", (int)name.len, (const char *)name.data);
    if (stream->role == ROLE_ACCEPTED)
        swim_tell_refused(s, &stream->peer, why);
    finish(s, stream, ERR_REFUSED, bytes_str(why), 0);
}

/* What a suspect answered, it wrote before it had read that it is suspected. */
static void hear_again(struct swim *s, struct bytes name)
{
    struct member *member = members_find(&s->members, name);
    if (member && member->state == MEMBER_SUSPECT)
        swim_stream_open(s, ROLE_SYNC, &member->addr, 0, NULL);
}

static void on_push_pull(struct swim *s, struct stream *stream)
{
    struct bytes message = buf_bytes(&stream->in);
    size_t others = 0;
    swim_count_one(s, COUNT_PUSH_PULLS);
    struct bytes blocked = push_pull_blocked(s, message, &stream->peer, stream->role != ROLE_ACCEPTED);
    if (blocked.len > 0) {
        refuse_blocked(s, stream, blocked);
        return;
    }
    if (stream->role == ROLE_ACCEPTED) {
        if (send_state(s, stream, stream->reader.header.join) != OK) {
            send_error(s, stream, "too many exchanges at once: later will do");
            fail(s, stream, ERR_BUSY);
            return;
        }
    }
    struct buf why;
    buf_init(&why, WHY_MAX);
    struct bytes name;
    struct addr namesake = stream->role == ROLE_JOIN ? push_pull_namesake(s, message, &name)
                                                     : (struct addr){0};
    enum err err = s->leaving ? OK : push_pull_merge(s, message, &others, &why);
    if (err == OK && !s->leaving)
        tell_old_key(s, stream, message);
    if (err != OK && stream->role == ROLE_ACCEPTED) {
        struct bytes line = buf_bytes(&why);
        buf_put_u8(&why, '\0');
        swim_tell_refused(s, &stream->peer, why.err == OK ? (const char *)line.data : err_text(err));
        why.len = line.len;
    }
    if (err == OK && namesake.len > 0 && ask_namesake(s, stream, &namesake, name, others))
        stream->role = ROLE_SYNC; /* the join is told of later */
    else if (err == OK && stream->role == ROLE_SYNC && stream->name.len > 0)
        hear_again(s, stream->name);
    finish(s, stream, err, buf_bytes(&why), others);
    buf_done(&why);
}

/* At a former address of ours that still leads here, or where a lost member was that had our
 * address before us, we meet ourselves. */
static bool is_own_question(const struct swim *s, const struct wire_ping *ping)
{
    for (const struct stream *stream = s->streams; stream; stream = stream->next)
        if ((stream->role == ROLE_NAMESAKE || stream->role == ROLE_PING) && stream->seq == ping->seq)
            return true;
    return false;
}

/* Said at the other end, which may not know yet; here it is what the operator wants. */
static void refuse_ping(struct swim *s, struct stream *stream, struct bytes name)
{
    char why[WHY_MAX];
    swim_count_one(s, COUNT_BLOCKED);
    snprintf(why, sizeof why, blocked_there, (int)name.len, (const char *)name.data);
    send_error(s, stream, why);
}

static void on_stream_ping(struct swim *s, struct stream *stream, const struct wire_ping *ping)
{
    bool of_our_name = swim_is_namesake(s, ping->source_node);
    if (of_our_name && is_own_question(s, ping)) {
        finish(s, stream, OK, bytes_of(NULL, 0), 0);
        return;
    }
    if (of_our_name) /* it asks who has its name */
        swim_tell_conflict(s, s->members.self, &stream->peer, 0);
    if (ping->node.len > 0 && !bytes_equal(ping->node, s->members.self->name))
        swim_count_one(s, COUNT_WRONG_PING);
    else if (swim_is_blocked(s, ping->source_node, bytes_of(NULL, 0)))
        refuse_ping(s, stream, ping->source_node);
    else
        send_message(s, stream, &(struct wire_message){.type = WIRE_ACK, .ack.seq = ping->seq});
    finish(s, stream, OK, bytes_of(NULL, 0), 0);
}

static void on_stream_ack(struct swim *s, struct stream *stream, const struct wire_ack *ack)
{
    if (ack->seq == stream->seq && stream->role == ROLE_NAMESAKE) {
        char where[ADDR_TEXT_MAX], text[ADDR_TEXT_MAX + 64];
        bool same = bytes_equal(stream->name, s->members.self->name);
        snprintf(text, sizeof text, "another node has our %s and lives at %s", same ? "name" : "replica id",
                 addr_text(&stream->peer, where));
        swim_tell_conflict(s, s->members.self, &stream->peer, 0);
        stream->role = ROLE_JOIN;
        finish(s, stream, ERR_REFUSED, bytes_str(text), 0);
        return;
    }
    if (ack->seq == stream->seq)
        swim_probe_stream_answer(s, stream->id);
    finish(s, stream, OK, bytes_of(NULL, 0), 0);
}

/* What came cannot be read: the asker is told, as memberlist does. */
static void on_garbage(struct swim *s, struct stream *stream, enum err err, enum swim_count counter,
                       const char *text)
{
    swim_count_one(s, counter);
    if (stream->role == ROLE_ACCEPTED) {
        send_error(s, stream, text);
        swim_tell_refused(s, &stream->peer, text);
        fail(s, stream, err);
    } else {
        finish(s, stream, err, bytes_str(text), 0);
    }
}

/* Puts what a layer held in the place of what came. */
static void replace_input(struct swim *s, struct stream *stream, struct buf *plain)
{
    s->stream_bytes = s->stream_bytes - stream->in.len + plain->len;
    buf_done(&stream->in);
    stream->in = *plain;
}

/* No more is to come: the outer layer said how long it is. */
static bool is_all_there(const struct stream *stream)
{
    return stream->opened || stream->unpacked;
}

/* Replaces the input by what it holds packed. ERR_TRUNCATED: not all there yet. */
static enum err unpack(struct swim *s, struct stream *stream)
{
    struct wire_message message;
    enum err err = wire_decode(buf_bytes(&stream->in), &message);
    if (err != OK)
        return err;
    if (stream->unpacked)
        return ERR_MALFORMED;
    struct buf plain;
    buf_init(&plain, SWIM_STREAM_MAX);
    err = packet_decompress(&message.compress, &plain);
    if (err != OK) {
        buf_done(&plain);
        return err == ERR_TRUNCATED ? ERR_MALFORMED : err; /* more bytes would not help */
    }
    replace_input(s, stream, &plain);
    stream->unpacked = true;
    return OK;
}

/* ERR_TRUNCATED when the message is not whole yet; else the stream may be gone. */
static enum err read_push_pull(struct swim *s, struct stream *stream)
{
    enum err err = push_pull_scan(&stream->reader, buf_bytes(&stream->in));
    if (err != OK)
        return err;
    if (stream->in.len - stream->reader.at < stream->reader.header.user_state_len)
        return ERR_TRUNCATED;
    on_push_pull(s, stream);
    return OK;
}

/* ERR_TRUNCATED when it is not whole yet. Those of other programs are not kept. */
static enum err read_user(struct swim *s, struct stream *stream)
{
    struct wire_message message;
    struct cursor c = cursor_of(buf_bytes(&stream->in));
    enum err err = wire_read(&c, &message);
    if (err != OK)
        return err;
    uint64_t len = message.user_header.len;
    struct bytes magic = bytes_str(SWIM_USER_MAGIC);
    if (len > SWIM_USER_BYTES_MAX)
        return ERR_TOO_LARGE;
    if (len >= magic.len && len <= SWIM_USER_MAX) {
        struct bytes so_far = bytes_of(c.at, cursor_left(&c));
        if (so_far.len < magic.len && bytes_starts_with(magic, so_far))
            return ERR_TRUNCATED;
        if (bytes_starts_with(so_far, magic)) {
            struct bytes payload = cursor_bytes(&c, (size_t)len);
            if (c.err != OK)
                return c.err;
            swim_tell_user(s, payload, stream->opened, stream->key);
            finish(s, stream, OK, bytes_of(NULL, 0), 0);
            return OK;
        }
    }
    swim_count_one(s, COUNT_USER_MESSAGES);
    stream->discards = true; /* until the sender closes, or the deadline */
    return OK;
}

static enum err read_small(struct swim *s, struct stream *stream)
{
    struct wire_message message;
    enum err err = wire_decode(buf_bytes(&stream->in), &message);
    if (err != OK)
        return err;
    bool accepted = stream->role == ROLE_ACCEPTED;
    if (message.type == WIRE_PING && accepted) {
        on_stream_ping(s, stream, &message.ping);
    } else if (message.type == WIRE_ACK && (stream->role == ROLE_PING || stream->role == ROLE_NAMESAKE)) {
        on_stream_ack(s, stream, &message.ack);
    } else if (message.type == WIRE_ERR && !accepted) {
        if (stream->role == ROLE_PING)
            swim_probe_stream_refused(s, stream->id);
        finish(s, stream, ERR_REFUSED, message.error.text, 0);
    } else {
        swim_count_one(s, COUNT_STREAMS_UNKNOWN);
        fail(s, stream, ERR_MALFORMED);
    }
    return OK;
}

static enum err read_message(struct swim *s, struct stream *stream)
{
    uint8_t type = stream->in.data[0];
    if (type == WIRE_COMPRESS) {
        enum err err = unpack(s, stream);
        if (err != OK)
            return err;
        return stream->in.len > 0 ? read_message(s, stream) : ERR_MALFORMED;
    }
    if (type == WIRE_PUSH_PULL && stream->role != ROLE_PING && stream->role != ROLE_USER &&
        stream->role != ROLE_NAMESAKE)
        return read_push_pull(s, stream);
    if (type == WIRE_USER && stream->role == ROLE_ACCEPTED)
        return read_user(s, stream);
    return read_small(s, stream);
}

/* OK once the label is right and gone. ERR_REFUSED: the stream is gone. */
static enum err read_label(struct swim *s, struct stream *stream)
{
    struct bytes label;
    size_t used;
    if (stream->label_read)
        return OK;
    enum err err = envelope_read_label(buf_bytes(&stream->in), &label, &used);
    if (err == ERR_TRUNCATED)
        return err;
    if (err != OK || !bytes_equal(label, s->envelope.label)) {
        swim_count_one(s, COUNT_STREAMS_LABELLED);
        /* In the clear: who has another label may have other keys, too. */
        struct buf b;
        buf_init(&b, SWIM_STREAM_MAX);
        const char *why = label.len ? "another label than this node's" : "no label, and this node has one";
        wire_put(&b, &(struct wire_message){.type = WIRE_ERR, .error.text = bytes_str(why)});
        effects_stream_send(s->out, stream->id, &b);
        swim_tell_refused(s, &stream->peer, why);
        fail(s, stream, ERR_REFUSED);
        return ERR_REFUSED;
    }
    buf_consume(&stream->in, used);
    s->stream_bytes -= used;
    stream->label_read = true;
    return OK;
}

/* OK once what stands in the input may be believed. ERR_REFUSED: the stream is gone. */
static enum err read_seal(struct swim *s, struct stream *stream)
{
    uint8_t type = stream->in.data[0];
    bool has_keys = envelope_has_keys(&s->envelope);
    if (stream->opened)
        return OK;
    if (type != WIRE_ENCRYPT) {
        /* A refusal is read in any case: it changes nothing but the reason that is told. */
        bool is_refusal = type == WIRE_ERR && stream->role != ROLE_ACCEPTED;
        if (!has_keys || s->envelope.takes_plain || is_refusal)
            return OK;
        on_garbage(s, stream, ERR_REFUSED, COUNT_STREAMS_UNSEALED,
                   "encryption is configured but remote state is not encrypted");
        return ERR_REFUSED;
    }
    if (!has_keys) {
        on_garbage(s, stream, ERR_REFUSED, COUNT_STREAMS_SEALED,
                   "remote state is encrypted and encryption is not configured");
        return ERR_REFUSED;
    }
    struct buf plain;
    size_t at = 0;
    buf_init(&plain, SWIM_STREAM_MAX);
    enum err err = envelope_open_stream(&s->envelope, buf_bytes(&stream->in), &plain, &at);
    if (err == OK) {
        replace_input(s, stream, &plain);
        stream->opened = true;
        stream->key = keyring_name_at(s->envelope.keys, at);
        return stream->in.len > 0 ? OK : ERR_MALFORMED;
    }
    buf_done(&plain);
    if (err != ERR_CHECKSUM)
        return err;
    on_garbage(s, stream, ERR_REFUSED, COUNT_STREAMS_WRONG_KEY,
               "no installed keys could decrypt the message");
    return ERR_REFUSED;
}

static void read_input(struct swim *s, struct stream *stream)
{
    enum err err = read_label(s, stream);
    if (err == OK && stream->in.len == 0)
        return;
    if (err == OK)
        err = read_seal(s, stream);
    if (err == ERR_REFUSED)
        return;
    if (err == OK)
        err = read_message(s, stream);
    if (err == OK || (err == ERR_TRUNCATED && !is_all_there(stream)))
        return;
    if (err == ERR_VERSION)
        on_garbage(s, stream, err, COUNT_STREAMS_UNKNOWN, "unknown message type");
    else if (err == ERR_TOO_LARGE)
        on_garbage(s, stream, err, COUNT_STREAMS_OVERSIZED, "message too large");
    else
        on_garbage(s, stream, err, COUNT_STREAMS_MALFORMED, "malformed message");
}

void swim_stream_accepted(struct swim *s, uint64_t now_ms, uint64_t id, const struct addr *from,
                          struct effects *out)
{
    s->now = now_ms;
    s->out = out;
    if (s->stream_count >= SWIM_EXCHANGES_MAX) {
        swim_count_one(s, COUNT_STREAMS_REFUSED);
        effects_stream_close(out, id);
        return;
    }
    add(s, id, ROLE_ACCEPTED, from, s->profile->tcp_timeout_ms);
}

void swim_stream_data(struct swim *s, uint64_t now_ms, uint64_t id, struct bytes data, struct effects *out)
{
    s->now = now_ms;
    s->out = out;
    struct stream *stream = find(s, id);
    if (!stream || stream->discards || is_all_there(stream) || data.len == 0)
        return;
    if (s->stream_bytes + data.len > SWIM_STREAMS_BYTES_MAX) {
        swim_count_one(s, COUNT_STREAMS_OVERSIZED);
        fail(s, stream, ERR_TOO_LARGE);
        return;
    }
    size_t before = stream->in.len;
    buf_put_bytes(&stream->in, data);
    s->stream_bytes += stream->in.len - before;
    if (stream->in.err != OK) {
        swim_count_one(s, COUNT_STREAMS_OVERSIZED);
        fail(s, stream, stream->in.err);
        return;
    }
    read_input(s, stream);
}

void swim_stream_closed(struct swim *s, uint64_t now_ms, uint64_t id, const char *why, struct effects *out)
{
    s->now = now_ms;
    s->out = out;
    struct stream *stream = find(s, id);
    if (!stream)
        return;
    tell_end(s, stream, ERR_CLOSED, bytes_str(why), 0);
    drop(s, stream);
}

void swim_stream_timeout(struct swim *s, struct timer *timer)
{
    struct stream *stream = container_of(timer, struct stream, timer);
    swim_count_one(s, COUNT_STREAMS_TIMEOUT);
    fail(s, stream, ERR_TIMEOUT);
}
