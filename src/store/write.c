/* A client's put or delete: one operation with one dot, decided against the
 * newest state. It removes what its writer has seen (the token's versions;
 * without a token, all that this node holds), and nothing else. */
#include "txn.h"

#include "weaken.h"

static bool replaces(const struct write_work *work, const struct dot *held)
{
    if (work->add)
        return false;
    if (!work->token)
        return true;
    return WEAKENED(ANY_KEY) ? clock_covers_dot(&work->token->after, held) : token_saw(work->token, held);
}

enum err write_check_token(const struct store_txn *txn, struct bytes key, const struct token *token)
{
    if (!token)
        return OK;
    if (token->key_hash != token_key_hash(key) && !WEAKENED(ANY_KEY))
        return ERR_WRONGKEY;
    if (!clock_covers(&txn->state.clock, &token->after) && !WEAKENED(HELD))
        return ERR_BEHIND;
    return OK;
}

enum err write_check_replica(struct store_txn *txn)
{
    if (clock_get(&txn->state.clock, txn_own_id(txn)) || txn->state.clock.count < CLOCK_REPLICAS_MAX)
        return OK;
    txn->store->replicas_refused++;
    return ERR_REFUSED;
}

static enum err check(const struct store_txn *txn, const struct write_work *work)
{
    if (work->key.len == 0)
        return ERR_MALFORMED;
    if (!key_valid(work->key) || work->type.len > CONTENT_TYPE_MAX || work->value.len > VALUE_MAX)
        return ERR_TOO_LARGE;
    return write_check_token(txn, work->key, work->token);
}

/* What stays is in txn->merged after; returns how many versions went. */
static size_t replace(struct store_txn *txn, const struct write_work *work, const struct version *touched)
{
    size_t removed = 0;
    record_clear(&txn->merged);
    clock_copy(&txn->merged.context, &txn->local.context);
    for (size_t i = 0; i < txn->local.count; i++) {
        const struct version *version = &txn->local.versions[i];
        if (work->touch ? version == touched : replaces(work, &version->dot)) {
            clock_raise(&txn->merged.context, &version->dot);
            removed++;
        } else {
            record_add(&txn->merged, version);
        }
    }
    return removed;
}

/* Is it the first time that this key is told of, so far as is remembered? */
static bool conflict_is_news(struct conflict_memory *memory, struct bytes key)
{
    uint64_t hash = token_key_hash(key);
    for (size_t i = 0; i < CONFLICTS_REMEMBERED; i++)
        if (memory->hashes[i] == hash)
            return false;
    memory->hashes[memory->next++ % CONFLICTS_REMEMBERED] = hash;
    return true;
}

/* What a walk has not reached yet is not known to be absent: nothing may be said about it.
 * A put says nothing: it stands beside what comes, as a put of any node does that has not
 * heard of the others', so that a node that is being filled takes writes. */
static bool looks_at_what_is_there(const struct write_work *work)
{
    return work->remove || work->touch || work->condition;
}

/* Of what its writer has seen, where that is told, the version that a read shows. */
static const struct version *touchable(const struct store_txn *txn, const struct write_work *work)
{
    const struct version *best = NULL;
    for (size_t i = 0; i < txn->local.count; i++) {
        const struct version *v = &txn->local.versions[i];
        if (version_expired(v, txn->wall_ms) || (work->token && !token_saw(work->token, &v->dot)))
            continue;
        if (!best || v->stamp >= best->stamp) /* at equal stamps the later one has the larger dot */
            best = v;
    }
    return best;
}

/* Does a version say just what this write would? */
static bool stands_there(const struct store_txn *txn, const struct write_work *work)
{
    for (size_t i = 0; i < txn->local.count; i++) {
        const struct version *v = &txn->local.versions[i];
        if (v->expires_ms == work->expires_ms && bytes_equal(v->type, work->type) &&
            bytes_equal(v->value, work->value))
            return true;
    }
    return false;
}

/* What a write has come to before it is carried out: txn->local and txn->merged
 * are what was and what stays. */
struct judged {
    const struct version *touched; /* in txn->local */
    bool nothing;                  /* a delete that removes nothing, or a put `once` of what is there */
};

static enum err judge(struct store_txn *txn, struct write_work *work, struct judged *ret)
{
    *ret = (struct judged){0};
    enum err err = check(txn, work);
    if (err == OK)
        err = txn_load(txn, work->key);
    if (err != OK)
        return err;
    if (txn->local.count == 0 && walk_hides(&txn->state.walk, work->key) && looks_at_what_is_there(work))
        return ERR_WALKING;
    work->tag = record_tag(&txn->local, txn->wall_ms);
    if (work->condition && !condition_holds(work->condition, work->tag))
        return ERR_UNMET;
    if (work->touch) {
        ret->touched = touchable(txn, work);
        if (!ret->touched)
            return work->tag ? ERR_UNMET : ERR_NOT_FOUND;
    }
    err = write_check_replica(txn);
    if (err != OK)
        return err;
    size_t removed = replace(txn, work, ret->touched);
    ret->nothing = removed == 0 && (work->remove || (work->once && stands_there(txn, work)));
    if (!work->remove && !ret->nothing && txn->merged.count >= txn->store->versions_max) {
        txn->store->conflicts_refused++;
        work->first_refusal = conflict_is_news(&txn->store->conflicts, work->key);
        return ERR_CONFLICT;
    }
    return OK;
}

enum err write_judge(struct store_txn *txn, struct write_work *work)
{
    struct judged judged;
    return judge(txn, work, &judged);
}

enum err write_do(struct store_txn *txn, struct write_work *work)
{
    struct judged judged;
    enum err err = judge(txn, work, &judged);
    if (err != OK)
        return err;
    if (judged.nothing) {
        work->dot = (struct dot){.replica = *txn_own_id(txn)};
        work->stamp = 0;
        work->versions = txn->local.count;
        return OK;
    }
    struct stamp_clock stamps = txn->state.stamp;
    struct version version = {
        .dot = {.replica = *txn_own_id(txn), .counter = clock_get(&txn->state.clock, txn_own_id(txn)) + 1},
        .stamp = stamp_next(&stamps, txn->wall_ms, txn->store->skew_max_ms, record_last_stamp(&txn->local)),
        .expires_ms = work->expires_ms,
        .type = judged.touched ? judged.touched->type : work->type,
        .value = judged.touched ? judged.touched->value : work->value,
    };
    if (!work->remove)
        record_add(&txn->merged, &version);
    clock_raise(&txn->merged.context, &version.dot);
    size_t versions = txn->merged.count;
    uint64_t tag = record_tag(&txn->merged, txn->wall_ms);

    struct row row = {.dot = version.dot, .kind = work->remove ? ROW_DELETE : ROW_PUT, .key = work->key};
    err = txn_store(txn, work->key, &txn->merged, &row);
    if (err != OK)
        return err;
    clock_raise(&txn->state.clock, &version.dot);
    txn->state.stamp = stamps;
    work->dot = version.dot;
    work->stamp = version.stamp;
    work->versions = versions;
    work->tag = tag;
    return OK;
}
