/* Meeting a node under our own id. Neither can tell which is the older one, and the operations of both above
 * their common past have the same dots: whichever is told to take a new id must put them again, so
 * that past is kept. Whether the other has written above it too is kept as well: while nobody has, what
 * others know there is ours (store/reidentify.c). */
#include "sync_state.h"

void twin_read(struct snapshot *snapshot, struct twin *ret)
{
    struct bytes note;
    *ret = (struct twin){UINT64_MAX, UINT64_MAX};
    if (snapshot_note(snapshot, TWIN_NOTE, &note) != OK)
        return;
    struct cursor in = cursor_of(note);
    struct twin twin = {.fork = cursor_u64(&in)};
    twin.parted = note.len == 8 ? twin.fork : cursor_u64(&in); /* of before it was kept: perhaps */
    if (cursor_finish(&in) == OK)
        *ret = twin;
}

static void save(struct sync *s, struct effects *out)
{
    struct store_work *work = store_work_new(WORK_NOTES);
    struct buf value;
    buf_init(&value, 16);
    buf_put_u64(&value, s->twin.fork);
    buf_put_u64(&value, s->twin.parted);
    store_work_add_note(work, TWIN_NOTE, buf_bytes(&value));
    buf_done(&value);
    sync_submit(s, work, (struct pending){.kind = PENDING_NOTES}, out);
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
        save(s, out);
}
