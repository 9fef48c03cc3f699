/* One table per message says which field stands where, for reading and writing. */
#include "wire.h"

#include "check.h"
#include "msgpack.h"

enum { FIELDS_MAX = 8 }; /* of a message */

enum kind {
    U8,
    U16,
    U32,
    LENGTH, /* a Go int that counts something: uint64_t here */
    BOOL,
    TEXT,  /* empty is "" */
    BYTES, /* data NULL is nil */
};

struct field {
    const char *name;
    enum kind kind;
    size_t offset;
    bool omit_empty;
};

struct layout {
    const struct field *fields;   /* sorted by name, as they are written */
    uint8_t declared[FIELDS_MAX]; /* their places, in the order of the Go struct */
    unsigned count;
};

#define FIELD(type, member, name_, kind_)                                                                    \
    {                                                                                                        \
        .name = name_, .kind = kind_, .offset = offsetof(struct type, member)                                \
    }
#define OPTIONAL(type, member, name_, kind_)                                                                 \
    {                                                                                                        \
        .name = name_, .kind = kind_, .offset = offsetof(struct type, member), .omit_empty = true            \
    }
#define LAYOUT(fields, ...)                                                                                  \
    {                                                                                                        \
        fields, {__VA_ARGS__}, sizeof(fields) / sizeof *(fields)                                             \
    }

static const struct field ping_fields[] = {
    FIELD(wire_ping, node, "Node", TEXT),
    FIELD(wire_ping, seq, "SeqNo", U32),
    OPTIONAL(wire_ping, source_addr, "SourceAddr", BYTES),
    OPTIONAL(wire_ping, source_node, "SourceNode", TEXT),
    OPTIONAL(wire_ping, source_port, "SourcePort", U16),
};
static const struct field indirect_ping_fields[] = {
    FIELD(wire_indirect_ping, nack, "Nack", BOOL),
    FIELD(wire_indirect_ping, node, "Node", TEXT),
    FIELD(wire_indirect_ping, port, "Port", U16),
    FIELD(wire_indirect_ping, seq, "SeqNo", U32),
    OPTIONAL(wire_indirect_ping, source_addr, "SourceAddr", BYTES),
    OPTIONAL(wire_indirect_ping, source_node, "SourceNode", TEXT),
    OPTIONAL(wire_indirect_ping, source_port, "SourcePort", U16),
    FIELD(wire_indirect_ping, target, "Target", BYTES),
};
static const struct field ack_fields[] = {
    FIELD(wire_ack, payload, "Payload", BYTES),
    FIELD(wire_ack, seq, "SeqNo", U32),
};
static const struct field nack_fields[] = {
    FIELD(wire_nack, seq, "SeqNo", U32),
};
static const struct field accusation_fields[] = {
    FIELD(wire_accusation, from, "From", TEXT),
    FIELD(wire_accusation, incarnation, "Incarnation", U32),
    FIELD(wire_accusation, node, "Node", TEXT),
};
static const struct field alive_fields[] = {
    FIELD(wire_alive, addr, "Addr", BYTES), FIELD(wire_alive, incarnation, "Incarnation", U32),
    FIELD(wire_alive, meta, "Meta", BYTES), FIELD(wire_alive, node, "Node", TEXT),
    FIELD(wire_alive, port, "Port", U16),   FIELD(wire_alive, vsn, "Vsn", BYTES),
};
static const struct field push_pull_fields[] = {
    FIELD(wire_push_pull, join, "Join", BOOL),
    FIELD(wire_push_pull, nodes, "Nodes", LENGTH),
    FIELD(wire_push_pull, user_state_len, "UserStateLen", LENGTH),
};
static const struct field node_fields[] = {
    FIELD(wire_node, addr, "Addr", BYTES), FIELD(wire_node, incarnation, "Incarnation", U32),
    FIELD(wire_node, meta, "Meta", BYTES), FIELD(wire_node, name, "Name", TEXT),
    FIELD(wire_node, port, "Port", U16),   FIELD(wire_node, state, "State", U8),
    FIELD(wire_node, vsn, "Vsn", BYTES),
};
static const struct field user_header_fields[] = {
    FIELD(wire_user_header, len, "UserMsgLen", LENGTH),
};
static const struct field compress_fields[] = {
    FIELD(wire_compress, algo, "Algo", U8),
    FIELD(wire_compress, packed, "Buf", BYTES),
};
static const struct field error_fields[] = {
    FIELD(wire_error, text, "Error", TEXT),
};

static const struct layout node_layout = LAYOUT(node_fields, 3, 0, 4, 2, 1, 5, 6);

/* NULL for a type without a map. */
static const struct layout *layout_of(unsigned type)
{
    static const struct layout layouts[] = {
        [WIRE_PING] = LAYOUT(ping_fields, 1, 0, 2, 4, 3),
        [WIRE_INDIRECT_PING] = LAYOUT(indirect_ping_fields, 3, 7, 2, 1, 0, 4, 6, 5),
        [WIRE_ACK] = LAYOUT(ack_fields, 1, 0),
        [WIRE_SUSPECT] = LAYOUT(accusation_fields, 1, 2, 0),
        [WIRE_ALIVE] = LAYOUT(alive_fields, 1, 3, 0, 4, 2, 5),
        [WIRE_DEAD] = LAYOUT(accusation_fields, 1, 2, 0),
        [WIRE_PUSH_PULL] = LAYOUT(push_pull_fields, 1, 2, 0),
        [WIRE_USER] = LAYOUT(user_header_fields, 0),
        [WIRE_COMPRESS] = LAYOUT(compress_fields, 0, 1),
        [WIRE_NACK] = LAYOUT(nack_fields, 0),
        [WIRE_ERR] = LAYOUT(error_fields, 0),
    };
    if (type >= sizeof layouts / sizeof *layouts || layouts[type].count == 0)
        return NULL;
    return &layouts[type];
}

static void read_field(struct cursor *c, const struct field *field, void *into)
{
    void *at = (char *)into + field->offset;
    switch (field->kind) {
    case U8:
        *(uint8_t *)at = (uint8_t)msgpack_uint(c, UINT8_MAX);
        break;
    case U16:
        *(uint16_t *)at = (uint16_t)msgpack_uint(c, UINT16_MAX);
        break;
    case U32:
        *(uint32_t *)at = (uint32_t)msgpack_uint(c, UINT32_MAX);
        break;
    case LENGTH:
        *(uint64_t *)at = msgpack_uint(c, INT64_MAX);
        break;
    case BOOL:
        *(bool *)at = msgpack_bool(c);
        break;
    case TEXT:
        *(struct bytes *)at = msgpack_raw(c);
        break;
    case BYTES:
        *(struct bytes *)at = msgpack_bytes(c);
        break;
    }
}

/* The values alone, in the order of the Go struct: fewer leave the rest zero, more are
 * passed over. Nobody is known to write it; memberlist reads it. */
static void read_array(struct cursor *c, const struct layout *layout, void *into)
{
    uint32_t values = msgpack_array(c);
    for (uint32_t i = 0; i < values && c->err == OK; i++) {
        if (i < layout->count)
            read_field(c, &layout->fields[layout->declared[i]], into);
        else
            msgpack_skip(c);
    }
}

/* Fields in any order; unknown ones are passed over, missing ones stay zero, of
 * repeated ones the last counts. */
static void read_map(struct cursor *c, const struct layout *layout, void *into)
{
    if (msgpack_is_array(c)) {
        read_array(c, layout, into);
        return;
    }
    uint32_t pairs = msgpack_map(c);
    for (uint32_t i = 0; i < pairs && c->err == OK; i++) {
        struct bytes key = msgpack_raw(c);
        const struct field *field = NULL;
        for (unsigned f = 0; f < layout->count && !field; f++)
            if (bytes_equal(key, bytes_str(layout->fields[f].name)))
                field = &layout->fields[f];
        if (field)
            read_field(c, field, into);
        else
            msgpack_skip(c);
    }
}

static bool is_empty(const struct field *field, const void *at)
{
    switch (field->kind) {
    case U8:
        return *(const uint8_t *)at == 0;
    case U16:
        return *(const uint16_t *)at == 0;
    case U32:
        return *(const uint32_t *)at == 0;
    case LENGTH:
        return *(const uint64_t *)at == 0;
    case BOOL:
        return !*(const bool *)at;
    case TEXT:
    case BYTES:
        return ((const struct bytes *)at)->len == 0;
    }
    return false;
}

static void put_field(struct buf *b, const struct field *field, const void *at)
{
    switch (field->kind) {
    case U8:
        msgpack_put_uint(b, *(const uint8_t *)at);
        break;
    case U16:
        msgpack_put_uint(b, *(const uint16_t *)at);
        break;
    case U32:
        msgpack_put_uint(b, *(const uint32_t *)at);
        break;
    case LENGTH:
        msgpack_put_uint(b, *(const uint64_t *)at);
        break;
    case BOOL:
        msgpack_put_bool(b, *(const bool *)at);
        break;
    case BYTES:
        if (!((const struct bytes *)at)->data) {
            msgpack_put_nil(b);
            break;
        }
        /* fall through */
    case TEXT:
        msgpack_put_raw(b, *(const struct bytes *)at);
        break;
    }
}

static void put_map(struct buf *b, const struct layout *layout, const void *from)
{
    unsigned pairs = 0;
    for (unsigned i = 0; i < layout->count; i++) {
        const struct field *field = &layout->fields[i];
        pairs += !field->omit_empty || !is_empty(field, (const char *)from + field->offset);
    }
    msgpack_put_map(b, pairs);
    for (unsigned i = 0; i < layout->count; i++) {
        const struct field *field = &layout->fields[i];
        const void *at = (const char *)from + field->offset;
        if (field->omit_empty && is_empty(field, at))
            continue;
        msgpack_put_raw(b, bytes_str(field->name));
        put_field(b, field, at);
    }
}

enum err wire_read(struct cursor *c, struct wire_message *ret_message)
{
    uint8_t type = cursor_u8(c);
    if (c->err != OK)
        return c->err;
    const struct layout *layout = layout_of(type);
    if (!layout)
        return ERR_VERSION;
    struct wire_message message = {.type = (enum wire_type)type};
    read_map(c, layout, &message.ping); /* every member of the union starts there */
    if (c->err != OK)
        return c->err;
    *ret_message = message;
    return OK;
}

enum err wire_decode(struct bytes message, struct wire_message *ret_message)
{
    struct cursor c = cursor_of(message);
    return wire_read(&c, ret_message);
}

void wire_put(struct buf *b, const struct wire_message *message)
{
    const struct layout *layout = layout_of(message->type);
    CHECK(layout != NULL);
    buf_put_u8(b, (uint8_t)message->type);
    put_map(b, layout, &message->ping);
}

enum err wire_read_node(struct cursor *c, struct wire_node *ret_node)
{
    struct wire_node node = {0};
    read_map(c, &node_layout, &node);
    if (c->err == OK)
        *ret_node = node;
    return c->err;
}

void wire_put_node(struct buf *b, const struct wire_node *node)
{
    put_map(b, &node_layout, node);
}

enum err wire_addr(struct bytes ip, uint16_t port, struct addr *ret_addr)
{
    if (ip.len != 4 && ip.len != 16)
        return ERR_MALFORMED;
    struct addr addr = {.len = (uint8_t)ip.len, .port = port};
    memcpy(addr.ip, ip.data, ip.len);
    *ret_addr = addr;
    return OK;
}
