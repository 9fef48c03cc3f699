/* Adds to counters, and deletes of them: which versions a change replaces, and what the
 * new one tells. */
#include "counter_state.h"

#include "check.h"
#include "mem.h"

#include <stdlib.h>

/* A version of the record at hand. */
struct part {
    struct session owner;
    bool readable; /* what is not stays as it is, until a delete */
    bool folded;
};

struct changing {
    const struct record *local;
    const struct counter_change *change;
    struct part *parts;  /* owned; one for each version */
    struct counter_view all;  /* owned: what the record tells */
    struct counter_view kept; /* .. the versions that stay */
    struct counter_view put;  /* .. the new version will */
};

static void changing_done(struct changing *c)
{
    free(c->parts);
    counter_done(&c->all);
    counter_done(&c->kept);
    counter_done(&c->put);
}

static enum err read_parts(struct changing *c)
{
    c->parts = mem_new((c->local->count + 1) * sizeof *c->parts);
    for (size_t i = 0; i < c->local->count; i++) {
        enum err err = counter_join(&c->all, c->local->versions[i].value, &c->parts[i].owner);
        if (err == ERR_TOO_LARGE)
            return err;
        c->parts[i].readable = err == OK;
    }
    return OK;
}

/* ---- what is let go of ----------------------------------------------------------------- */

/* The last start that is folded, or 0. In steps, so that few adds fold. */
static uint64_t folded_until(uint64_t start)
{
    enum { STEP = COUNTER_STARTS_KEPT };
    return start > COUNTER_STARTS_KEPT + STEP ? (start - COUNTER_STARTS_KEPT - 1) / STEP * STEP : 0;
}

static uint64_t last_start_of(const struct counter_view *c, uint64_t lineage)
{
    uint64_t last = 0;
    for (size_t i = 0; i < c->count; i++)
        if (c->states[i].session.lineage == lineage && c->states[i].session.start > last)
            last = c->states[i].session.start;
    return last;
}

/* Tells a version that stays of adds of this session that it does not know to be deleted? */
static bool is_told_elsewhere(const struct changing *c, const struct session *session)
{
    const struct counter_state *kept = counter_find(&c->kept, session);
    return kept && kept->seq != kept->base_seq;
}

/* A session that was deleted whole, and whose replica has been started so often since that
 * no add of it can be under way, needs no mention. The states of a lineage stand together. */
static void drop_settled(struct changing *c)
{
    size_t left = 0;
    uint64_t lineage = 0, last = 0;
    for (size_t i = 0; i < c->put.count; i++) {
        const struct counter_state *state = &c->put.states[i];
        uint64_t start = state->session.start;
        if (i == 0 || state->session.lineage != lineage) {
            lineage = state->session.lineage;
            last = last_start_of(&c->all, lineage);
        }
        bool settled = state->seq == state->base_seq && start > 0 && last > start &&
                       last - start > COUNTER_STARTS_KEPT && !is_told_elsewhere(c, &state->session);
        if (!settled)
            c->put.states[left++] = *state;
    }
    c->put.count = left;
}

/* ---- an add ------------------------------------------------------------------------------ */

/* A version that an earlier start of this replica wrote, long enough ago. */
static bool is_old(const struct changing *c, size_t i, uint64_t until)
{
    const struct session *owner = &c->parts[i].owner, *now = &c->change->session;
    return c->parts[i].readable && owner->lineage == now->lineage && owner->start > 0 &&
           owner->start <= until &&
           replica_id_equal(&c->local->versions[i].dot.replica, &c->change->dot.replica);
}

static bool is_mine(const struct changing *c, size_t i)
{
    return c->parts[i].readable && session_equal(&c->parts[i].owner, &c->change->session);
}

/* What one replaced version tells goes into the new one, but for a session that is folded. */
static enum err carry(struct changing *c, size_t i)
{
    struct counter_view one = {0};
    struct session owner;
    enum err err = counter_join(&one, c->local->versions[i].value, &owner);
    for (size_t k = 0; k < one.count && err == OK; k++)
        if (!c->parts[i].folded || !session_equal(&one.states[k].session, &owner))
            err = counter_put(&c->put, &one.states[k]);
    counter_done(&one);
    return err;
}

/* Puts the old sessions' numbers into the lineage's session 0. One of which a version tells
 * that stays is left alone, as it would count twice. */
static enum err fold(struct changing *c, uint64_t until)
{
    struct counter_state into = {.session = {.lineage = c->change->session.lineage}};
    const struct counter_state *before = counter_find(&c->all, &into.session);
    bool any = false;
    if (before)
        into = *before;
    if (until <= into.seq) /* what was left then waits for the next time */
        return OK;
    for (size_t i = 0; i < c->local->count; i++) {
        const struct session *owner = &c->parts[i].owner;
        if (!is_old(c, i, until) || is_told_elsewhere(c, owner))
            continue;
        c->parts[i].folded = any = true;
        const struct counter_state *state = counter_find(&c->all, owner);
        for (size_t k = 0; k < i; k++)
            if (c->parts[k].folded && session_equal(&c->parts[k].owner, owner))
                state = NULL; /* counted with that one */
        if (state)
            into.sum += state->sum - state->base_sum;
    }
    if (!any)
        return OK;
    into.seq = until;
    return counter_sum_fits(into.sum) ? counter_put(&c->put, &into) : ERR_TOO_LARGE;
}

static enum err add_own(struct changing *c)
{
    const struct counter_change *change = c->change;
    const struct counter_state *before = counter_find(&c->all, &change->session);
    struct counter_state own = {.session = change->session};
    if (before)
        own = *before;
    if (own.seq == UINT64_MAX)
        return ERR_TOO_LARGE;
    /* The operation's counter, so that what was lost is never numbered again. */
    own.seq = own.seq < change->dot.counter ? change->dot.counter : own.seq + 1;
    own.sum += change->add;
    return counter_sum_fits(own.sum) ? counter_put(&c->put, &own) : ERR_TOO_LARGE;
}

static enum err do_add(struct changing *c, bool *replaced, int64_t *ret_number)
{
    counter_sum total = counter_total(&c->all) + c->change->add;
    uint64_t until = folded_until(c->change->session.start);
    struct session owner;
    enum err err = OK;
    if (total < INT64_MIN || total > INT64_MAX)
        return ERR_CONFLICT;
    for (size_t i = 0; i < c->local->count && err == OK; i++)
        if (c->parts[i].readable && !is_mine(c, i) && !is_old(c, i, until))
            err = counter_join(&c->kept, c->local->versions[i].value, &owner);
    if (err == OK)
        err = fold(c, until);
    for (size_t i = 0; i < c->local->count && err == OK; i++) {
        replaced[i] = is_mine(c, i) || c->parts[i].folded;
        if (replaced[i])
            err = carry(c, i);
    }
    if (err == OK)
        err = add_own(c);
    if (err == OK)
        *ret_number = (int64_t)total;
    return err;
}

/* ---- a delete ------------------------------------------------------------------------------ */

static enum err do_delete(struct changing *c, bool *replaced, int64_t *ret_number)
{
    enum err err = OK;
    if (counter_is_absent(&c->all))
        return ERR_NOT_FOUND;
    for (size_t i = 0; i < c->all.count && err == OK; i++) {
        struct counter_state state = c->all.states[i];
        state.base_seq = state.seq;
        state.base_sum = state.sum;
        err = counter_put(&c->put, &state);
    }
    for (size_t i = 0; i < c->local->count; i++)
        replaced[i] = true;
    if (err == OK)
        *ret_number = 0;
    return err;
}

enum err counter_change(const struct record *local, const struct counter_change *change, bool *replaced,
                        struct buf *value, int64_t *ret_number)
{
    struct changing c = {.local = local, .change = change};
    int64_t number = 0;
    CHECK(change->session.start > 0 && change->dot.counter > 0);
    enum err err = read_parts(&c);
    if (err == OK)
        err = change->remove ? do_delete(&c, replaced, &number) : do_add(&c, replaced, &number);
    if (err == OK) {
        drop_settled(&c);
        counter_encode(&c.put, &change->session, value);
        err = value->err;
    }
    if (err == OK)
        *ret_number = number;
    changing_done(&c);
    return err;
}
