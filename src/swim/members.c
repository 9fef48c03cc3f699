#include "members.h"

#include "check.h"
#include "mem.h"

#include <stdlib.h>

enum {
    FIRST_BUCKETS = 16,
    FEW = 16, /* members to choose from: no more than these are worth listing */
};

uint64_t members_hash(const struct members *m, struct bytes name)
{
    uint64_t hash = 0xcbf29ce484222325u ^ m->salt; /* FNV-1a, salted */
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ name.data[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

static struct member **bucket_of(const struct members *m, uint64_t hash)
{
    return &m->buckets[hash & (m->bucket_count - 1)];
}

static void grow_buckets(struct members *m)
{
    struct member **old = m->buckets;
    size_t old_count = m->bucket_count;
    m->bucket_count = old_count ? old_count * 2 : FIRST_BUCKETS;
    m->buckets = mem_new(m->bucket_count * sizeof(struct member *));
    for (size_t i = 0; i < old_count; i++) {
        for (struct member *member = old[i], *next; member; member = next) {
            struct member **bucket = bucket_of(m, member->hash);
            next = member->next;
            member->next = *bucket;
            *bucket = member;
        }
    }
    free(old);
}

static struct member *new_member(struct members *m, struct bytes name, uint64_t now)
{
    if (m->count == m->bucket_count)
        grow_buckets(m);
    struct member *member = mem_new(sizeof *member);
    member->name = bytes_of(mem_copy(name.data, name.len), name.len);
    member->state = MEMBER_DEAD;
    member->since = now;
    member->hash = members_hash(m, name);
    struct member **bucket = bucket_of(m, member->hash);
    member->next = *bucket;
    *bucket = member;
    m->count++;
    return member;
}

static void free_member(struct member *member)
{
    free((void *)member->name.data);
    free((void *)member->meta.data);
    free(member);
}

void members_init(struct members *m, struct rng *rng, struct bytes self, uint64_t now)
{
    *m = (struct members){.rng = rng, .salt = rng_next(rng)};
    m->self = new_member(m, self, now);
    m->self->state = MEMBER_ALIVE;
}

void members_done(struct members *m)
{
    for (size_t i = 0; i < m->live.count; i++)
        free_member(m->live.list[i]);
    for (size_t i = 0; i < m->gone.count; i++)
        free_member(m->gone.list[i]);
    if (m->self)
        free_member(m->self);
    free(m->live.list);
    free(m->gone.list);
    free(m->buckets);
    *m = (struct members){0};
}

struct member *members_find(const struct members *m, struct bytes name)
{
    uint64_t hash = members_hash(m, name);
    struct member *member = *bucket_of(m, hash);
    while (member && !(member->hash == hash && bytes_equal(member->name, name)))
        member = member->next;
    return member;
}

static struct member *other_at(const struct members *m, size_t at)
{
    return at < m->live.count ? m->live.list[at] : m->gone.list[at - m->live.count];
}

struct member *members_at(const struct members *m, size_t at)
{
    CHECK(at < m->count);
    if (at == 0)
        return m->self;
    return other_at(m, at - 1);
}

/* --- the two lists --- */

static void put(struct member_list *l, size_t place, struct member *member)
{
    l->list[place] = member;
    member->place = place;
}

static void append(struct member_list *l, struct member *member)
{
    if (l->count == l->room) {
        l->room = l->room ? l->room * 2 : 16;
        l->list = mem_grow(l->list, l->room * sizeof(struct member *));
    }
    put(l, l->count++, member);
}

static void swap(struct member_list *l, size_t a, size_t b)
{
    struct member *member = l->list[a];
    put(l, a, l->list[b]);
    put(l, b, member);
}

static void take_out(struct member_list *l, struct member *member)
{
    CHECK(member->place < l->count && l->list[member->place] == member);
    put(l, member->place, l->list[--l->count]);
}

static void enter_live(struct members *m, struct member *member)
{
    append(&m->live, member);
    swap(&m->live, rng_below(m->rng, m->live.count), m->live.count - 1);
}

static void leave_live(struct members *m, struct member *member)
{
    if (member->place < m->probed) { /* or the last one would miss its turn */
        m->probed--;
        swap(&m->live, member->place, m->probed);
    }
    take_out(&m->live, member);
}

struct member *members_add(struct members *m, struct bytes name, uint64_t now)
{
    struct member *member = new_member(m, name, now);
    append(&m->gone, member);
    return member;
}

void members_remove(struct members *m, struct member *member)
{
    struct member **link = bucket_of(m, member->hash);
    while (*link != member)
        link = &(*link)->next;
    *link = member->next;
    take_out(&m->gone, member);
    m->count--;
    free_member(member);
}

static bool is_live(enum member_state state)
{
    return state == MEMBER_ALIVE || state == MEMBER_SUSPECT;
}

void members_set_state(struct members *m, struct member *member, enum member_state state, uint64_t now)
{
    bool was = is_live(member->state), is = is_live(state);
    if (member->state != state)
        member->since = now;
    member->state = state;
    if (member == m->self || was == is)
        return;
    if (is) {
        take_out(&m->gone, member);
        enter_live(m, member);
    } else {
        leave_live(m, member);
        append(&m->gone, member);
    }
}

void member_set_meta(struct member *member, struct bytes meta)
{
    void *copy = meta.data ? mem_copy(meta.data, meta.len) : NULL;
    free((void *)member->meta.data);
    member->meta = bytes_of(copy, meta.len);
}

/* --- choosing --- */

struct member *members_next_probe(struct members *m)
{
    if (m->probed < m->live.count)
        return m->live.list[m->probed++];
    for (size_t i = m->live.count; i > 1; i--) /* Fisher-Yates */
        swap(&m->live, i - 1, rng_below(m->rng, i));
    m->probed = 0;
    return NULL;
}

static bool among(struct member *const *members, size_t count, const struct member *member)
{
    for (size_t i = 0; i < count; i++)
        if (members[i] == member)
            return true;
    return false;
}

size_t members_pick(struct members *m, bool gone, members_filter *filter, const void *ctx, size_t max,
                    struct member **ret_picked)
{
    size_t all = m->live.count + (gone ? m->gone.count : 0), picked = 0;
    /* Few: walk all in random order. Many: draw, as memberlist does, at most three
     * times as often as there are members. */
    if (all <= FEW) {
        size_t order[FEW];
        for (size_t i = 0; i < all; i++)
            order[i] = i;
        for (size_t left = all; left > 0 && picked < max; left--) {
            size_t draw = rng_below(m->rng, left);
            struct member *member = other_at(m, order[draw]);
            order[draw] = order[left - 1];
            if (filter(ctx, member))
                ret_picked[picked++] = member;
        }
        return picked;
    }
    for (size_t draws = 0; draws < 3 * all && picked < max; draws++) {
        struct member *member = other_at(m, rng_below(m->rng, all));
        if (filter(ctx, member) && !among(ret_picked, picked, member))
            ret_picked[picked++] = member;
    }
    return picked;
}
