/* Adds to counters, and deletes of them: which versions a change replaces, and what the
 * new one tells. */
#include "counter_state.h"

#include "check.h"

/* A record and a change of it. */
struct changing {
    const struct record *local;
    const struct counter_change *change;
    struct counter_view all;  /* owned: what the record tells */
    struct counter_view kept; /* .. the versions that stay */
    struct counter_view put;  /* .. the new version will */
};

static void changing_done(struct changing *c)
{
    counter_done(&c->all);
    counter_done(&c->kept);
    counter_done(&c->put);
}

/* ---- what is let go of ----------------------------------------------------------------- */

static uint64_t last_start_of(const struct counter_view *c, uint64_t lineage)
{
    uint64_t last = 0;
    for (size_t i = 0; i < c->count; i++)
        if (c->states[i].session.lineage == lineage && c->states[i].session.start > last)
            last = c->states[i].session.start;
    return last;
}

static bool is_deleted(const struct counter_state *state)
{
    return state->seq == state->base_seq;
}

/* Tells a version that stays of adds of this session that it does not know to be deleted? */
static bool is_told_elsewhere(const struct changing *c, const struct session *session)
{
    const struct counter_state *kept = counter_find(&c->kept, session);
    return kept && !is_deleted(kept);
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
        bool settled = is_deleted(state) && start > 0 && last > start && last - start > COUNTER_STARTS_KEPT &&
                       !is_told_elsewhere(c, &state->session);
        if (!settled)
            c->put.states[left++] = *state;
    }
    c->put.count = left;
}

/* The last start that is summed up, or 0. In steps, so that few adds do it. */
static uint64_t summed_until(uint64_t start)
{
    enum { STEP = COUNTER_STARTS_KEPT };
    return start > COUNTER_STARTS_KEPT + STEP ? (start - COUNTER_STARTS_KEPT - 1) / STEP * STEP : 0;
}

/* Puts the numbers of the replica's old starts into its session 0. One of which a version
 * tells that stays is left alone, as it would count twice. */
static enum err sum_up(struct changing *c)
{
    uint64_t until = summed_until(c->change->session.start);
    struct counter_state sum = {.session = {.lineage = c->change->session.lineage}};
    const struct counter_state *before = counter_find(&c->all, &sum.session);
    size_t left = 0;
    if (before)
        sum = *before;
    if (until <= sum.seq) /* done; what was left then waits for the next time */
        return OK;
    for (size_t i = 0; i < c->put.count; i++) {
        const struct session *session = &c->put.states[i].session;
        const struct counter_state *known = counter_find(&c->all, session);
        if (known && session->lineage == sum.session.lineage && session->start > 0 &&
            session->start <= until && !is_told_elsewhere(c, session))
            sum.sum += known->sum - known->base_sum;
        else
            c->put.states[left++] = c->put.states[i];
    }
    if (left == c->put.count)
        return OK;
    c->put.count = left;
    sum.seq = until;
    return counter_sum_fits(sum.sum) ? counter_put(&c->put, &sum) : ERR_TOO_LARGE;
}

/* ---- the two changes ----------------------------------------------------------------------- */

static enum err add_own(struct changing *c, counter_sum add)
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
    own.sum += add;
    return counter_sum_fits(own.sum) ? counter_put(&c->put, &own) : ERR_TOO_LARGE;
}

static enum err do_add(struct changing *c, bool *replaced, int64_t *ret_number)
{
    counter_sum before = counter_total(&c->all);
    counter_sum total = c->change->set ? c->change->add : before + c->change->add;
    enum err err = OK;
    if (c->change->set && total == before && !counter_is_absent(&c->all))
        return ERR_NOT_FOUND;
    if (total < INT64_MIN || total > INT64_MAX)
        return ERR_CONFLICT;
    for (size_t i = 0; i < c->local->count && err == OK; i++) {
        const struct version *version = &c->local->versions[i];
        bool own = replica_id_equal(&version->dot.replica, &c->change->dot.replica);
        enum err unread = counter_join(own ? &c->put : &c->kept, version->value);
        replaced[i] = own && unread == OK; /* what cannot be read stays, until a delete */
        err = unread == ERR_TOO_LARGE ? unread : OK;
    }
    if (err == OK)
        err = sum_up(c);
    if (err == OK)
        err = add_own(c, total - before);
    if (err == OK)
        *ret_number = (int64_t)total;
    return err;
}

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
    size_t malformed;
    CHECK(change->session.start > 0 && change->dot.counter > 0);
    enum err err = counter_of_record(&c.all, local, &malformed);
    if (err == OK)
        err = change->remove ? do_delete(&c, replaced, &number) : do_add(&c, replaced, &number);
    if (err == OK) {
        drop_settled(&c);
        counter_encode(&c.put, value);
        err = value->err;
    }
    if (err == OK)
        *ret_number = number;
    changing_done(&c);
    return err;
}
