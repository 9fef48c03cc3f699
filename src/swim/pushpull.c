/* Push/pull: two nodes tell each other all they know.
 *
 *   06, {Join, Nodes, UserStateLen}, Nodes * {Addr, Incarnation, Meta, Name, Port,
 *   State, Vsn}, UserStateLen bytes (the application's; we send none, and ignore it)
 *
 * A peer's list is news like any other, but hearsay: what it holds for dead or
 * suspect is only suspected here, so that the subject can contradict. */
#include "swim_state.h"

enum {
    NODES_MAX = 1 << 20,        /* memberlist's limit */
    NODE_BYTES_MAX = 64 * 1024, /* nothing special about this value: members stay below 1,000 */
};

/* --- reading --- */

static struct bytes rest_of(struct bytes message, size_t at)
{
    return bytes_of(message.data + at, message.len - at);
}

static enum err scan_header(struct push_pull_reader *r, struct bytes message)
{
    struct wire_message header;
    struct cursor c = cursor_of(message);
    enum err err = wire_read(&c, &header);
    if (err != OK)
        return err;
    if (header.push_pull.nodes > NODES_MAX || header.push_pull.user_state_len > SWIM_USER_BYTES_MAX)
        return ERR_TOO_LARGE;
    r->header = header.push_pull;
    r->nodes_left = header.push_pull.nodes;
    r->has_header = true;
    r->at = (size_t)(c.at - message.data);
    return OK;
}

enum err push_pull_scan(struct push_pull_reader *r, struct bytes message)
{
    enum err err = r->has_header ? OK : scan_header(r, message);
    while (err == OK && r->nodes_left > 0) {
        struct wire_node node;
        struct cursor c = cursor_of(rest_of(message, r->at));
        err = wire_read_node(&c, &node);
        if (err == OK) {
            r->at = (size_t)(c.at - message.data);
            r->nodes_left--;
        }
    }
    if (err == ERR_TRUNCATED && message.len - r->at > NODE_BYTES_MAX)
        err = ERR_TOO_LARGE;
    return err;
}

/* Walks the nodes of a whole message. */
struct walk {
    struct cursor c;
    uint64_t left;
};

static struct walk walk_of(struct bytes message)
{
    struct wire_message header;
    struct walk w = {.c = cursor_of(message)};
    if (wire_read(&w.c, &header) == OK)
        w.left = header.push_pull.nodes;
    return w;
}

static bool next_node(struct walk *w, struct wire_node *ret_node)
{
    if (w->left == 0)
        return false;
    w->left--;
    return wire_read_node(&w->c, ret_node) == OK;
}

/* --- versions: memberlist's check of every exchange --- */

struct range {
    uint8_t min, max;
};

static void narrow(struct range *r, uint8_t min, uint8_t max)
{
    if (min > r->min)
        r->min = min;
    if (max < r->max)
        r->max = max;
}

static bool speaks_within(const uint8_t *vsn, struct range protocol, struct range delegate)
{
    return vsn[2] >= protocol.min && vsn[2] <= protocol.max && vsn[5] >= delegate.min &&
           vsn[5] <= delegate.max;
}

static void say_incompatible(struct buf *why, struct bytes name, const uint8_t *vsn, struct range protocol,
                             struct range delegate)
{
    bool by_protocol = vsn[2] < protocol.min || vsn[2] > protocol.max;
    struct range range = by_protocol ? protocol : delegate;
    buf_put_format(
        why, "incompatible versions: %.*s speaks %s version %u, what all members understand is %u to %u",
        (int)(name.len < SWIM_NAME_MAX ? name.len : SWIM_NAME_MAX), (const char *)name.data,
        by_protocol ? "protocol" : "delegate", by_protocol ? vsn[2] : vsn[5], range.min, range.max);
}

/* What all alive members understand is what every member must speak, dead ones too. */
static bool is_compatible(const struct swim *s, struct bytes message, struct buf *why)
{
    static const uint8_t none[WIRE_VSN_LEN];
    struct range protocol = {0, UINT8_MAX}, delegate = {0, UINT8_MAX};
    struct wire_node node;
    for (struct walk w = walk_of(message); next_node(&w, &node);) {
        if (node.state != MEMBER_ALIVE || node.vsn.len < 5)
            continue;
        narrow(&protocol, node.vsn.data[0], node.vsn.data[1]);
        narrow(&delegate, node.vsn.data[3], node.vsn.data[4]);
    }
    for (size_t i = 0; i < s->members.count; i++) {
        const struct member *member = members_at(&s->members, i);
        if (member->state != MEMBER_ALIVE)
            continue;
        narrow(&protocol, member->vsn[0], member->vsn[1]);
        narrow(&delegate, member->vsn[3], member->vsn[4]);
    }
    for (struct walk w = walk_of(message); next_node(&w, &node);) {
        const uint8_t *vsn = node.vsn.len >= WIRE_VSN_LEN ? node.vsn.data : none;
        if (speaks_within(vsn, protocol, delegate))
            continue;
        say_incompatible(why, node.name, vsn, protocol, delegate);
        return false;
    }
    for (size_t i = 0; i < s->members.count; i++) {
        const struct member *member = members_at(&s->members, i);
        if (speaks_within(member->vsn, protocol, delegate))
            continue;
        say_incompatible(why, member->name, member->vsn, protocol, delegate);
        return false;
    }
    return true;
}

/* --- merging --- */

static void merge_node(struct swim *s, const struct wire_node *node)
{
    struct wire_accusation accusation = {
        .node = node->name, .from = s->members.self->name, .incarnation = node->incarnation};
    switch ((enum member_state)node->state) {
    case MEMBER_ALIVE:
        swim_news_alive(s, &(struct wire_alive){.addr = node->addr,
                                                .port = node->port,
                                                .meta = node->meta,
                                                .node = node->name,
                                                .vsn = node->vsn,
                                                .incarnation = node->incarnation});
        break;
    case MEMBER_LEFT:
        accusation.from = node->name;
        swim_news_dead(s, &accusation);
        break;
    case MEMBER_DEAD:
    case MEMBER_SUSPECT:
        swim_news_suspect(s, &accusation);
        break;
    default:
        swim_count_one(s, COUNT_MALFORMED);
    }
}

enum err push_pull_merge(struct swim *s, struct bytes message, size_t *ret_others, struct buf *why)
{
    if (!is_compatible(s, message, why)) {
        swim_count_one(s, COUNT_INCOMPATIBLE);
        return ERR_VERSION;
    }
    size_t others = 0;
    struct wire_node node;
    for (struct walk w = walk_of(message); next_node(&w, &node);) {
        others += !bytes_equal(node.name, s->members.self->name);
        merge_node(s, &node);
    }
    *ret_others = others;
    return OK;
}

bool push_pull_first(struct bytes message, struct wire_node *ret_node)
{
    struct walk w = walk_of(message);
    return next_node(&w, ret_node);
}

struct addr push_pull_namesake(const struct swim *s, struct bytes message, struct bytes *ret_name)
{
    const struct member *self = s->members.self;
    struct wire_node node;
    for (struct walk w = walk_of(message); next_node(&w, &node);) {
        struct addr addr;
        if (node.state <= MEMBER_SUSPECT && node.name.len <= SWIM_NAME_MAX &&
            swim_is_namesake(s, node.name) && wire_addr(node.addr, node.port, &addr) == OK &&
            !addr_equal(&addr, &self->addr)) {
            *ret_name = node.name;
            return addr;
        }
    }
    return (struct addr){0};
}

/* The sender is not named. Whom we asked, it is who lives there. Who asks us is among
 * the living at the address that the stream came from; when someone else lives there
 * too, it gets an answer, but a blocked member is not taken from its list in any case. */
struct bytes push_pull_blocked(const struct swim *s, struct bytes message, const struct addr *from,
                               bool asked)
{
    struct bytes blocked = bytes_of(NULL, 0);
    struct wire_node node;
    for (struct walk w = walk_of(message); next_node(&w, &node);) {
        struct addr addr;
        if (node.state != MEMBER_ALIVE || node.name.len > SWIM_NAME_MAX ||
            wire_addr(node.addr, asked && node.port ? node.port : from->port, &addr) != OK ||
            !addr_equal(&addr, from))
            continue;
        if (!swim_is_blocked(s, node.name, node.meta))
            return bytes_of(NULL, 0);
        blocked = node.name;
    }
    return blocked;
}

/* --- writing --- */

void push_pull_put(const struct swim *s, struct buf *b, bool join)
{
    wire_put(b, &(struct wire_message){.type = WIRE_PUSH_PULL,
                                       .push_pull = {.join = join, .nodes = s->members.count}});
    for (size_t i = 0; i < s->members.count; i++) {
        const struct member *member = members_at(&s->members, i);
        wire_put_node(b, &(struct wire_node){.addr = wire_ip(&member->addr),
                                             .port = member->addr.port,
                                             .meta = member->meta,
                                             .name = member->name,
                                             .vsn = bytes_of(member->vsn, sizeof member->vsn),
                                             .incarnation = member->incarnation,
                                             .state = (uint8_t)member->state});
    }
}
