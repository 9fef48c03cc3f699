#include "oracle.h"

size_t value_number(struct bytes value)
{
    size_t number = 0, i = 0;
    for (; i < value.len && value.data[i] >= '0' && value.data[i] <= '9' && i < 5; i++)
        number = number * 10 + (size_t)(value.data[i] - '0');
    return i && i < value.len && value.data[i] == ':' && number < ORACLE_OPS ? number : 0;
}

size_t version_number(const struct version *version)
{
    return version->expires_ms ? (size_t)(version->expires_ms % ORACLE_OPS) : value_number(version->value);
}

uint64_t expiry_of(uint64_t moment_ms, size_t op)
{
    return moment_ms - moment_ms % ORACLE_OPS - (moment_ms % ORACLE_OPS < op ? ORACLE_OPS : 0) + op;
}

/* Of different lengths, some a prefix of others. */
struct bytes key_bytes(size_t key)
{
    static const char *const names[ORACLE_KEYS] = {"a",   "a/", "a/b",  "a/b/c",    "b",   "ba",
                                                   "bb",  "c",  "cccc", "d/1",      "d/2", "d/20",
                                                   "d/3", "e",  "f",    "zzzzzzzzz"};
    return bytes_str(names[key]);
}

ptrdiff_t set_common(const struct set *a, const struct set *b)
{
    for (size_t i = 0; i < ORACLE_OPS / 64; i++)
        if (a->words[i] & b->words[i])
            return (ptrdiff_t)(i * 64) + __builtin_ctzll(a->words[i] & b->words[i]);
    return -1;
}

ptrdiff_t set_beyond(const struct set *a, const struct set *b)
{
    for (size_t i = 0; i < ORACLE_OPS / 64; i++)
        if (a->words[i] & ~b->words[i])
            return (ptrdiff_t)(i * 64) + __builtin_ctzll(a->words[i] & ~b->words[i]);
    return -1;
}

void host_view_copy(struct host_view *to, const struct host_view *from)
{
    struct clock clock = to->clock, floor = to->floor;
    *to = *from;
    to->clock = clock;
    to->floor = floor;
    clock_copy(&to->clock, &from->clock);
    clock_copy(&to->floor, &from->floor);
}

void host_view_done(struct host_view *view)
{
    clock_done(&view->clock);
    clock_done(&view->floor);
    *view = (struct host_view){0};
}

size_t oracle_new(struct oracle *o, size_t key, bool put, int host)
{
    if (o->op_count + 1 >= ORACLE_OPS)
        return 0;
    size_t op = ++o->op_count;
    o->ops[op] = (struct op){.key = key, .put = put, .host = host};
    return op;
}

void oracle_done(struct oracle *o, size_t number, const struct dot *dot, const struct set *removed,
                 bool doubt)
{
    struct op *op = &o->ops[number];
    op->state = doubt ? OP_DOUBT : OP_DONE;
    op->dot = *dot;
    /* A store that is an older state of itself gives dots out again until a peer tells it. */
    for (size_t i = 1; i <= o->op_count; i++) {
        struct op *other = &o->ops[i];
        if (i != number && (other->state == OP_DONE || other->state == OP_DOUBT) &&
            dot_compare(&other->dot, dot) == 0)
            other->twice |= !doubt, op->twice |= !doubt, other->put_again |= !doubt, op->put_again |= !doubt;
    }
    op->removed = op->dead = *removed;
    for (size_t i = 1; i <= o->op_count; i++)
        if (set_has(removed, i))
            set_unite(&op->dead, &o->ops[i].dead);
}

void oracle_removed(const struct oracle *o, struct set *ret_surely, struct set *ret_perhaps)
{
    *ret_surely = *ret_perhaps = (struct set){0};
    for (size_t i = 1; i <= o->op_count; i++) {
        const struct op *op = &o->ops[i];
        if (op->state == OP_DONE && !op->may_be_lost && (!op->twice || o->strict))
            set_unite(ret_surely, &op->removed);
        if (op->state == OP_DONE || op->state == OP_DOUBT)
            set_unite(ret_perhaps, &op->removed);
        if (op->dropped)
            set_add(ret_perhaps, i);
    }
}

struct set oracle_dropped(const struct oracle *o)
{
    struct set dropped = {0};
    for (size_t i = 1; i <= o->op_count; i++)
        if (o->ops[i].dropped)
            set_add(&dropped, i);
    return dropped;
}

struct set oracle_not_compared(const struct oracle *o)
{
    struct set set = oracle_dropped(o);
    for (size_t i = 1; i <= o->op_count; i++)
        if (o->ops[i].twice && !o->strict)
            set_add(&set, i);
    return set;
}

bool oracle_removed_by_any(const struct oracle *o, size_t op)
{
    struct set surely, perhaps;
    oracle_removed(o, &surely, &perhaps);
    return set_has(&perhaps, op);
}
