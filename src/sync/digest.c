/* The net under the rope: nodes whose clocks are equal compare what they hold.
 *
 * A pass goes through all keys with one peer, a piece at a time: we send the digest
 * of our next few thousand keys, and the peer says whether its own is the same. Where
 * it differs, the piece is gone through again in pieces a sixteenth as large, and
 * those in pieces of sixteen keys; of such a one the peer lists its keys with their
 * hashes. Each key that differs is sent over and mended on both sides, if the clocks
 * are still equal then (store/repair.c). While writes go on the clocks are seldom
 * equal, and a pass waits; it is given up when it has waited for a minute.
 *
 *   4096 keys  |------------------------------|  equal: next, 5 s later
 *    256 keys  |---|---|---|                     differs: smaller ones, at once
 *     16 keys          |-|-|                     differs: a list, and mending
 *
 * Each question and answer reads one short snapshot of a bounded piece. Reading for
 * digests also verifies every record: what is damaged is found by it. */
#include "repair_frames.h"
#include "sync_state.h"

enum { LEVELS = DIGEST_LEVELS, PIECE_SPLIT = 16 };

static const struct digest_limits limits_of[LEVELS] = {
    {.records = DIGEST_RECORDS, .bytes = DIGEST_BYTES},
    {.records = DIGEST_RECORDS / PIECE_SPLIT, .bytes = DIGEST_BYTES},
    {.records = DIGEST_RECORDS / PIECE_SPLIT / PIECE_SPLIT, .bytes = DIGEST_BYTES},
};

/* FNV-1a over the encoded clock. */
static uint64_t hash_of(const struct clock *clock)
{
    struct buf encoded;
    uint64_t hash = 0xcbf29ce484222325u;
    buf_init(&encoded, FRAME_FIRST_MAX);
    clock_encode(clock, &encoded);
    for (size_t i = 0; i < encoded.len; i++)
        hash = (hash ^ encoded.data[i]) * 0x100000001b3u;
    buf_done(&encoded);
    return hash;
}

/* Opens a snapshot whose records are what its clock says; NULL where that is not so now. */
static struct snapshot *settled_snapshot(struct sync *s, uint64_t *ret_hash)
{
    struct snapshot *snapshot;
    struct clock clock = {0};
    bool settled = false;
    if (sync_walking(s) || snapshot_open(s->store, &snapshot) != OK)
        return NULL;
    if (snapshot_clock(snapshot, &clock, NULL) != OK || snapshot_is_settled(snapshot, &settled) != OK)
        settled = false;
    if (settled)
        *ret_hash = hash_of(&clock);
    else
        snapshot_close(snapshot);
    clock_done(&clock);
    return settled ? snapshot : NULL;
}

/* A digest leaves out what is over at some moment of the asker's clock. Here more may be
 * gone already, where that clock is behind by as much as nodes wait before they drop it, or
 * where our own is behind the others', and was not yet when we dropped something: nothing
 * can be said then, and what is over must not be brought back as a difference. */
static bool may_have_dropped(const struct sync *s, struct sync_time time, uint64_t moment_ms)
{
    int64_t skew = 0;
    if (expire_skew(s, time, &skew) && skew > (int64_t)s->config.clock_skew_max_ms)
        return true;
    return time.wall_ms > s->config.clock_skew_max_ms &&
           time.wall_ms - s->config.clock_skew_max_ms > moment_ms;
}

/* ---- the place of a pass ------------------------------------------------------------------ */

static void end_pass(struct sync *s, uint64_t now_ms)
{
    struct digesting *d = &s->digesting;
    d->on = d->waiting = false;
    d->level = d->busy = 0;
    d->after_len = 0;
    d->at_ms = now_ms + DIGEST_REST_MS;
}

static void not_now(struct sync *s, uint64_t now_ms)
{
    struct digesting *d = &s->digesting;
    d->waiting = false;
    if (++d->busy == DIGEST_BUSY_MAX)
        end_pass(s, now_ms);
    else
        d->at_ms = now_ms + DIGEST_PIECE_MS;
}

/* All up to `through` is done, or with `end` all there is. */
static void advance(struct sync *s, uint64_t now_ms, struct bytes through, bool end)
{
    struct digesting *d = &s->digesting;
    d->waiting = false;
    d->busy = 0;
    if (!end)
        memmove(d->after, through.data, d->after_len = through.len);
    while (d->level) {
        const struct digest_piece *whole = &d->pieces[d->level - 1];
        if (!end && (whole->end || bytes_compare(through, bytes_of(whole->through, whole->len)) < 0))
            break;
        d->level--;
    }
    if (end) {
        s->count.digest_passes++;
        end_pass(s, now_ms);
    } else {
        d->at_ms = now_ms + (d->level ? 0 : DIGEST_PIECE_MS);
    }
}

/* ---- asking --------------------------------------------------------------------------------- */

static struct link *choose(struct sync *s)
{
    struct digesting *d = &s->digesting;
    for (size_t i = 0; i < s->link_count; i++) {
        struct link *link = s->links[(d->turn + i) % s->link_count];
        if (link->state == LINK_UP && !link->unproven && link->protocol >= 3 && !link->peer->walking) {
            d->turn = (d->turn + i + 1) % s->link_count;
            return link;
        }
    }
    return NULL;
}

static void ask(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    struct digesting *d = &s->digesting;
    struct digest_piece *piece = &d->pieces[d->level], *whole = d->level ? piece - 1 : NULL;
    struct digest_ask ask = {.run = ++d->run,
                             .wall_ms = time.wall_ms,
                             .list = d->level == LEVELS - 1,
                             .after = bytes_of(d->after, d->after_len)};
    struct digest_limits limits = limits_of[d->level];
    struct bytes until = whole && !whole->end ? bytes_of(whole->through, whole->len) : bytes_of(NULL, 0);
    struct snapshot *snapshot = settled_snapshot(s, &ask.clock_hash);
    bool complete;
    if (!snapshot) {
        not_now(s, time.now_ms);
        return;
    }
    limits.expired_ms = time.wall_ms;
    enum err err = snapshot_digest(snapshot, ask.after, until, &limits, &ask.digest, piece->through,
                                   &piece->len, &complete, NULL, NULL);
    snapshot_close(snapshot);
    if (err != OK) {
        not_now(s, time.now_ms);
        return;
    }
    piece->end = ask.end = complete && !until.data;
    ask.through = ask.end ? bytes_of(NULL, 0) : bytes_of(piece->through, piece->len);
    d->clock_hash = ask.clock_hash;
    d->wall_ms = time.wall_ms;
    d->waiting = true;
    d->asked_ms = time.now_ms;
    s->count.digests_asked++;
    struct buf frame;
    buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
    frame_put_digest_ask(&frame, &ask);
    sync_link_send(s, link, time.now_ms, &frame, out);
}

void digest_tick(struct sync *s, struct sync_time time, struct effects *out)
{
    struct digesting *d = &s->digesting;
    struct link *link = d->on ? sync_link_find(s, d->stream) : NULL;
    if (d->on && (!link || (d->waiting && time.now_ms >= d->asked_ms + DIGEST_ANSWER_MS)))
        end_pass(s, time.now_ms);
    if (d->waiting || time.now_ms < d->at_ms)
        return;
    if (!d->on) {
        link = choose(s);
        d->at_ms = time.now_ms + DIGEST_REST_MS;
        if (!link)
            return;
        d->on = true;
        d->stream = link->stream;
    }
    if (clock_equal(&link->peer->clock, &s->clock) && link->queued < SEND_QUEUE_LOW)
        ask(s, time, link, out);
    else
        not_now(s, time.now_ms);
}

uint64_t digest_deadline(const struct sync *s)
{
    const struct digesting *d = &s->digesting;
    if (s->link_count == 0)
        return UINT64_MAX;
    return d->waiting ? d->asked_ms + DIGEST_ANSWER_MS : d->at_ms;
}

/* ---- answering ------------------------------------------------------------------------------- */

struct list {
    struct buf bytes;
    uint64_t count;
};

static void add_to_list(void *ctx, struct bytes key, uint64_t hash)
{
    struct list *list = ctx;
    if (list->count == DIGEST_KEYS_MAX)
        return;
    list->count++;
    digest_list_put(&list->bytes, key, hash);
}

/* Our side of the piece that was asked about. */
static void compare(struct sync *s, struct sync_time time, const struct digest_ask *ask,
                    struct digest_answer *answer, struct list *list, uint8_t through[KEY_MAX])
{
    /* a range may hold more here than there */
    struct digest_limits limits = {.records = ask->list ? DIGEST_KEYS_MAX : 2 * DIGEST_RECORDS,
                                   .bytes = 2 * DIGEST_BYTES,
                                   .expired_ms = ask->wall_ms};
    struct range_digest digest;
    uint64_t hash;
    size_t len;
    bool complete;
    struct snapshot *snapshot = settled_snapshot(s, &hash);
    answer->verdict = DIGEST_BUSY;
    if (!snapshot)
        return;
    if (hash == ask->clock_hash && !may_have_dropped(s, time, ask->wall_ms) &&
        snapshot_digest(snapshot, ask->after, ask->end ? bytes_of(NULL, 0) : ask->through, &limits, &digest,
                        through, &len, &complete, ask->list ? add_to_list : NULL, list) == OK) {
        bool equal = complete && digest.keys == ask->digest.keys && digest.hash == ask->digest.hash;
        answer->verdict = equal ? DIGEST_EQUAL : DIGEST_DIFFERS;
        answer->end = complete && ask->end;
        if (!answer->end)
            answer->through = bytes_of(through, len);
        if (!equal && ask->list) {
            answer->count = list->count;
            answer->list = buf_bytes(&list->bytes);
        }
    }
    snapshot_close(snapshot);
}

bool digest_asked(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                  struct effects *out)
{
    struct digest_ask ask;
    struct list list = {0};
    uint8_t through[KEY_MAX];
    struct buf frame;
    if (frame_get_digest_ask(body, &ask) != OK)
        return false;
    if (link->queued >= SEND_QUEUE_HIGH)
        return true;
    struct digest_answer answer = {.run = ask.run};
    buf_init(&list.bytes, FRAME_FIRST_MAX);
    buf_init(&frame, FRAME_HEADER + FRAME_MAX);
    compare(s, time, &ask, &answer, &list, through);
    if (list.bytes.err == OK) {
        frame_put_digest(&frame, &answer);
        sync_link_send(s, link, time.now_ms, &frame, out);
    }
    buf_done(&frame);
    buf_done(&list.bytes);
    return true;
}

/* ---- what differs ------------------------------------------------------------------------------ */

static void tell(struct sync *s, struct sync_time time, struct link *link, struct bytes key,
                 struct effects *out)
{
    char text[KEY_MAX + 1];
    memcpy(text, key.data, key.len);
    text[key.len] = 0;
    s->count.divergence++;
    effects_notice(out, NOTICE_ERROR, "event=divergence node=%s key=%s next=\"both merge both records\"",
                   link->peer->name, text);
    (void)repair_send_record(s, time, link, FRAME_DIVERGED, false, key, out);
}

/* Both lists are in key order. */
static void compare_lists(struct sync *s, struct sync_time time, struct link *link, struct bytes ours,
                          struct bytes theirs, struct effects *out)
{
    struct bytes key = {0}, other = {0};
    uint64_t hash = 0, other_hash = 0;
    bool left = digest_list_next(&ours, &key, &hash),
         other_left = digest_list_next(&theirs, &other, &other_hash);
    while (left || other_left) {
        int order = !left ? 1 : !other_left ? -1 : bytes_compare(key, other);
        if (order != 0 || hash != other_hash)
            tell(s, time, link, order <= 0 ? key : other, out);
        if (order <= 0)
            left = digest_list_next(&ours, &key, &hash);
        if (order >= 0)
            other_left = digest_list_next(&theirs, &other, &other_hash);
    }
}

static void take_list(struct sync *s, struct sync_time time, struct link *link,
                      const struct digest_answer *answer, struct effects *out)
{
    struct digesting *d = &s->digesting;
    struct list list = {0};
    struct digest_limits limits = {
        .records = 2 * DIGEST_KEYS_MAX, .bytes = 2 * DIGEST_BYTES, .expired_ms = d->wall_ms};
    struct range_digest digest;
    uint8_t through[KEY_MAX];
    uint64_t hash;
    size_t len;
    bool complete = false;
    struct snapshot *snapshot = settled_snapshot(s, &hash);
    if (!snapshot) {
        not_now(s, time.now_ms);
        return;
    }
    buf_init(&list.bytes, FRAME_FIRST_MAX);
    enum err err = hash == d->clock_hash && !may_have_dropped(s, time, d->wall_ms)
                       ? snapshot_digest(snapshot, bytes_of(d->after, d->after_len),
                                         answer->end ? bytes_of(NULL, 0) : answer->through, &limits, &digest,
                                         through, &len, &complete, add_to_list, &list)
                       : ERR_BEHIND;
    snapshot_close(snapshot);
    if (err == OK && complete && list.bytes.err == OK) {
        compare_lists(s, time, link, buf_bytes(&list.bytes), answer->list, out);
        advance(s, time.now_ms, answer->through, answer->end);
    } else {
        not_now(s, time.now_ms);
    }
    buf_done(&list.bytes);
}

bool digest_answered(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                     struct effects *out)
{
    struct digesting *d = &s->digesting;
    struct digest_answer answer;
    if (frame_get_digest(body, &answer) != OK)
        return false;
    if (!d->waiting || d->stream != link->stream || answer.run != d->run)
        return true; /* of a pass that was given up */
    struct digest_piece *piece = &d->pieces[d->level];
    switch (answer.verdict) {
    case DIGEST_BUSY:
        not_now(s, time.now_ms);
        return true;
    case DIGEST_EQUAL:
        s->count.digests_equal++;
        advance(s, time.now_ms, bytes_of(piece->through, piece->len), piece->end);
        break;
    case DIGEST_DIFFERS:
        d->waiting = false;
        if (d->level < LEVELS - 1) {
            d->level++;
            d->at_ms = time.now_ms;
        } else if (!answer.end && bytes_compare(answer.through, bytes_of(d->after, d->after_len)) <= 0) {
            return false; /* leads nowhere */
        } else {
            take_list(s, time, link, &answer, out);
        }
        break;
    }
    digest_tick(s, time, out);
    return true;
}

/* A record that should be equal to ours: ours goes back, if it was not asked for, and
 * both are merged. */
bool digest_diverged(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                     struct effects *out)
{
    struct digesting *d = &s->digesting;
    struct record_frame record = {0};
    bool fine = frame_get_record(frame, &record) == OK && record.state != RECORD_UNREADABLE;
    if (fine && !link->unproven && d->mends < DIGEST_MENDS_MAX &&
        (record.answer || repair_send_record(s, time, link, FRAME_DIVERGED, true, record.key, out))) {
        struct store_work *work = repair_work_of(WORK_MEND, &record);
        if (work) {
            d->mends++;
            sync_submit(
                s, work,
                (struct pending){.kind = PENDING_MEND, .stream = link->stream, .peer = link->peer->id}, out);
        }
    }
    record_frame_done(&record);
    return fine;
}

void digest_stored(struct sync *s, const struct pending *pending, const struct store_work *work,
                   struct effects *out)
{
    const struct peer *peer = peers_find(&s->peers, &pending->peer);
    const struct repair_work *mend = &work->repair;
    char text[KEY_MAX + 1];
    s->digesting.mends--;
    if (work->err != OK || !mend->changed)
        return; /* a pass to come finds it again */
    memcpy(text, mend->key, mend->key_len);
    text[mend->key_len] = 0;
    s->rows_below_floor = true;
    s->count.divergence_mended++;
    effects_notice(out, NOTICE_WARN, "event=divergence_mended node=%s key=%s", peer ? peer->name : "gone",
                   text);
}
