/* Meeting a node under our own id. Neither can tell which is the older one, and the operations of both above
 * their common past have the same dots: whichever is told to take a new id must put them again, so
 * that past is kept. Whether the other has written above it too is kept as well: while nobody has, what
 * others know there is ours (store/reidentify.c): as far as those told who had taken our hello before. (A
 * hello may be of one who is about to refuse ours, and tell of what another has written.) */
#include "sync_state.h"

static uint64_t read_known(struct snapshot *snapshot, const struct replica_id *own)
{
    struct bytes note;
    if (snapshot_note(snapshot, KNOWN_NOTE, &note) != OK)
        return 0;
    struct cursor in = cursor_of(note);
    struct replica_id id = replica_id_decode(&in);
    uint64_t known = cursor_u64(&in);
    return cursor_finish(&in) == OK && replica_id_equal(&id, own) ? known : 0;
}

void twin_read(struct snapshot *snapshot, const struct replica_id *own, struct twin *ret)
{
    struct bytes note;
    *ret = (struct twin){UINT64_MAX, UINT64_MAX, read_known(snapshot, own)};
    if (snapshot_note(snapshot, TWIN_NOTE, &note) != OK)
        return;
    struct cursor in = cursor_of(note);
    uint64_t fork = cursor_u64(&in);
    uint64_t parted = note.len == 8 ? fork : cursor_u64(&in); /* of before it was kept: perhaps */
    if (cursor_finish(&in) == OK)
        ret->fork = fork, ret->parted = parted;
}

enum err twin_fill(struct snapshot *snapshot, struct reidentify_work *ret)
{
    struct identity identity = {0};
    struct twin twin;
    enum err err = snapshot_identity(snapshot, &identity);
    twin_read(snapshot, &identity.id, &twin);
    ret->old_id = identity.id;
    ret->fork = twin.fork;
    ret->parted = twin.parted;
    ret->told = twin.known;
    ret->ends_note = TWIN_NOTE;
    identity_done(&identity);
    return err;
}

static void save(struct sync *s, const char *name, struct buf *value, struct effects *out)
{
    struct store_work *work = store_work_new(WORK_NOTES);
    store_work_add_note(work, name, buf_bytes(value));
    buf_done(value);
    sync_submit(s, work, (struct pending){.kind = PENDING_NOTES}, out);
}

static void save_twin(struct sync *s, struct effects *out)
{
    struct buf value;
    buf_init(&value, 16);
    buf_put_u64(&value, s->twin.fork);
    buf_put_u64(&value, s->twin.parted);
    save(s, TWIN_NOTE, &value, out);
}

/* Not at each report: what was not kept yet is a matter of a crash and a twin at once. */
void twin_keep_known(struct sync *s, struct effects *out)
{
    struct buf value;
    if (s->twin.known == s->known_kept || s->reidentifying)
        return;
    s->known_kept = s->twin.known;
    buf_init(&value, REPLICA_ID_SIZE + 8);
    replica_id_encode(&s->id, &value);
    buf_put_u64(&value, s->twin.known);
    save(s, KNOWN_NOTE, &value, out);
}

static bool lower(uint64_t *to, uint64_t counter)
{
    bool is_lower = counter < *to;
    if (is_lower)
        *to = counter;
    return is_lower;
}

void twin_met(struct sync *s, const struct hello *hello, struct effects *out)
{
    uint64_t fork = starts_fork(&s->starts, &hello->starts, clock_get(&s->clock, &s->id));
    bool wrote = clock_get(&hello->clock, &hello->id) > fork;
    s->count.twins_met++;
    effects_notice(
        out, NOTICE_ERROR,
        "event=duplicate_replica node=%s ingress=%s fork=%llu next=\"refuses it; stop the newer of the "
        "two nodes and run there: yzma reidentify\"",
        hello->name, hello->ingress, (unsigned long long)fork);
    bool news = lower(&s->twin.fork, fork);
    if (wrote)
        news |= lower(&s->twin.parted, fork);
    if (news)
        save_twin(s, out);
}
