/* Damaged records, fetched whole from a peer.
 *
 * The store keeps a list of keys whose record nobody could read (damage.c there).
 * One key at a time is asked of one peer: of one whose clock covers ours where there
 * is one, as it has all that our record held, and else of any; an answer goes to the
 * committer, which decides whether it may take the place of ours (store/repair.c).
 * What does not succeed comes up again, later each time. A record that stands alone
 * with operations nobody else claims is given up to what peers have after a minute,
 * as long as somebody is there to be asked; who might have them is anybody expected
 * back, present or not, but for who says that its own record is damaged, too, and that it has
 * asked as long, and knows of nobody else who may have it.
 *
 * From that minute on all in reach are asked in turn, in a round, and what they answer is
 * folded into one (answers.h), until it has what our record had: perhaps nobody has it all
 * alone, as where two wait to be filled from here and each has what the other lacks.
 *
 * Who is being filled can tell of the keys that its walk has not reached: these are as its
 * clock says. It is asked when that minute is over, and no sooner. Were it not asked at
 * all, and nobody else there, a walk from here would wait for ever for the record that is in
 * its way. */
#include "mem.h"
#include "repair_frames.h"
#include "sync_state.h"

#include <stdlib.h>

/* ---- what is known of each ----------------------------------------------------------- */

static bool same_key(const struct damaged_key *a, const struct damaged_key *b)
{
    return bytes_equal(bytes_of(a->key, a->key_len), bytes_of(b->key, b->key_len));
}

static const char *text_of(const uint8_t *key, size_t len, char out[KEY_MAX + 1])
{
    memcpy(out, key, len);
    out[len] = 0;
    return out;
}

static void take_in(struct sync *s, uint64_t now_ms, const struct damaged_key *key, struct effects *out)
{
    struct repairs *r = &s->repairs;
    char text[KEY_MAX + 1];
    for (size_t i = 0; i < r->count; i++) {
        if (same_key(&r->list[i].key, key)) {
            r->list[i].seen = true;
            return;
        }
    }
    if (!r->list)
        r->list = mem_new(DAMAGED_KEYS_MAX * sizeof *r->list);
    if (r->count == DAMAGED_KEYS_MAX)
        return;
    r->list[r->count++] = (struct repair){.key = *key, .seen = true, .since_ms = now_ms, .retry_ms = now_ms};
    if (!s->searching.on) /* else it was found by that, or comes soon enough */
        search_want(s);
    effects_notice(out, NOTICE_ERROR,
                   "event=record_damaged key=%s next=\"is not read, sent or merged; fetched from a peer\"",
                   text_of(key->key, key->key_len, text));
}

/* The store's list, as it is now. */
static void look(struct sync *s, uint64_t now_ms, struct effects *out)
{
    struct repairs *r = &s->repairs;
    struct damaged_key key;
    for (size_t i = 0; i < r->count; i++)
        r->list[i].seen = false;
    for (size_t i = 0; store_damaged_key(s->store, i, &key); i++)
        take_in(s, now_ms, &key, out);
    if (r->busy)
        return; /* the one that is being repaired keeps its place */
    for (size_t i = r->count; i-- > 0;)
        if (!r->list[i].seen)
            r->list[i] = r->list[--r->count];
}

/* ---- asking ---------------------------------------------------------------------------- */

static bool can_help(const struct link *link, uint64_t now_ms, const struct clock *needed, bool settled)
{
    return link->state == LINK_UP && !link->unproven && link->protocol >= 3 &&
           now_ms >= link->repair_avoid_until_ms && (settled || !link->peer->walking) &&
           link->queued < SEND_QUEUE_HIGH && clock_covers(&link->peer->clock, needed);
}

/* The next one in turn that was not asked in this round; every second time it need not have
 * all that we have, and where it comes to giving up, not even what we have forgotten:
 * perhaps nobody has. */
static struct link *choose(struct sync *s, uint64_t now_ms, struct repair *repair)
{
    static const struct clock nothing;
    const struct clock *needed[] = {&s->clock, &s->floor, &nothing};
    struct repairs *r = &s->repairs;
    for (size_t pass = r->first_pass; pass < (r->settle ? 3 : 2); pass++) {
        for (size_t i = 0; i < s->link_count; i++) {
            struct link *link = s->links[(repair->turn + i) % s->link_count];
            if (link->repair_asked != r->round && can_help(link, now_ms, needed[pass], pass == 2)) {
                repair->turn = (repair->turn + i + 1) % s->link_count;
                return link;
            }
        }
    }
    return NULL;
}

static void later(struct repair *repair, uint64_t now_ms)
{
    uint64_t delay = (uint64_t)REPAIR_RETRY_MS << (repair->tries < 4 ? repair->tries : 4);
    uint64_t settle_ms = repair->since_ms + REPAIR_SETTLE_MS;
    repair->tries++;
    repair->retry_ms = now_ms + delay;
    if (now_ms < settle_ms && repair->retry_ms > settle_ms)
        repair->retry_ms = settle_ms;
}

/* The first link after a time without any: that time is no part of the minute in which somebody
 * could be asked. */
void repair_met_somebody(struct sync *s, uint64_t now_ms)
{
    for (size_t i = 0; i < s->repairs.count; i++) {
        struct repair *repair = &s->repairs.list[i];
        uint64_t alone_ms = s->alone_since_ms > repair->since_ms ? s->alone_since_ms : repair->since_ms;
        repair->since_ms += now_ms - alone_ms;
    }
}

static void end_round(struct repairs *r)
{
    r->busy = r->storing = false;
    answers_clear(&r->answers);
}

static bool ask_next(struct sync *s, struct sync_time time, struct repair *repair, struct effects *out)
{
    struct repairs *r = &s->repairs;
    struct link *link = choose(s, time.now_ms, repair);
    struct buf frame;
    if (!link)
        return false;
    buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
    frame_put_record_ask(&frame, bytes_of(repair->key.key, repair->key.key_len));
    link->repair_asked = r->round;
    r->stream = link->stream;
    r->asked_ms = time.now_ms;
    s->count.records_asked++;
    sync_link_send(s, link, time.now_ms, &frame, out);
    return true;
}

/* False: there is nobody to be asked now. */
static bool begin_round(struct sync *s, struct sync_time time, struct repair *repair, struct effects *out)
{
    struct repairs *r = &s->repairs;
    r->round++;
    r->first_pass = repair->tries % 2;
    r->settle = time.now_ms >= repair->since_ms + REPAIR_SETTLE_MS;
    r->untried = false;
    r->current = repair->key;
    later(repair, time.now_ms);
    r->busy = ask_next(s, time, repair, out);
    return r->busy;
}

static struct repair *current(struct sync *s)
{
    for (size_t i = 0; i < s->repairs.count; i++)
        if (same_key(&s->repairs.list[i].key, &s->repairs.current))
            return &s->repairs.list[i];
    return NULL;
}

/* What all others that are expected back, or here, have said that they have: all but
 * those whose own record is damaged, as they have just said. */
static void join_others(const struct sync *s, struct sync_time time, struct clock *ret)
{
    for (size_t i = 0; i < s->peers.count; i++) {
        const struct peer *peer = s->peers.list[i];
        if (peer->link && peer->link->repair_damaged == s->repairs.round)
            continue;
        if (peer->link || peer_expected(peer, time.wall_ms, s->config.forget_after_ms))
            clock_join(ret, &peer->clock);
    }
}

/* What the answers have so far may be enough: the committer decides. False: no memory. */
static bool try_answers(struct sync *s, struct sync_time time, const struct repair *repair,
                        const struct replica_id *peer, struct effects *out)
{
    struct repairs *r = &s->repairs;
    struct store_work *work = store_work_new(WORK_REPAIR);
    struct repair_work *to = &work->repair;
    memcpy(to->key, repair->key.key, to->key_len = repair->key.key_len);
    buf_init(&to->record, r->answers.record.len);
    buf_put_bytes(&to->record, buf_bytes(&r->answers.record));
    if (to->record.err != OK) {
        store_work_free(work);
        return false;
    }
    clock_copy(&to->source_clock, &r->answers.clock);
    clock_copy(&to->source_floor, &r->answers.floor);
    to->proof = repair->key.proof;
    to->settle = r->settle;
    join_others(s, time, &to->others);
    r->untried = false;
    r->storing = true;
    sync_submit(s, work, (struct pending){.kind = PENDING_REPAIR, .stream = r->stream, .peer = *peer}, out);
    return true;
}

/* May anybody have it whole whom the round that ends has not heard of it? */
static bool is_somebody_left(const struct sync *s, struct sync_time time)
{
    const struct repairs *r = &s->repairs;
    for (size_t i = 0; i < s->peers.count; i++) {
        const struct peer *peer = s->peers.list[i];
        bool counts = peer->link ? peer->link->repair_heard != r->round
                                 : peer_expected(peer, time.wall_ms, s->config.forget_after_ms);
        if (counts && !clock_covers(&r->answers.clock, &peer->clock))
            return true;
    }
    return false;
}

/* All were asked, and it is not enough. Who has the same on its hands is told so, and may have
 * waited for just that. */
static void end_in_vain(struct sync *s, struct sync_time time, struct repair *repair)
{
    bool before = repair->past_mending;
    repair->past_mending = !is_somebody_left(s, time);
    if (repair->past_mending && !before)
        repair->retry_ms = time.now_ms + REPAIR_RETRY_MS;
    end_round(&s->repairs);
}

/* That was not enough: another one, where there is still somebody to be asked. */
static void go_round(struct sync *s, struct sync_time time, struct effects *out)
{
    static const struct replica_id nobody;
    struct repairs *r = &s->repairs;
    struct repair *repair = current(s);
    r->storing = false;
    if (!repair || !r->settle || s->left) {
        end_round(r);
        return;
    }
    if (ask_next(s, time, repair, out))
        return;
    /* somebody's claims do not count any more, since the answers were tried */
    if (!r->untried || !r->answers.any || !try_answers(s, time, repair, &nobody, out))
        end_in_vain(s, time, repair);
}

void repair_tick(struct sync *s, struct sync_time time, struct effects *out)
{
    struct repairs *r = &s->repairs;
    look(s, time.now_ms, out);
    struct link *link = r->busy && !r->storing ? sync_link_find(s, r->stream) : NULL;
    if (link && time.now_ms >= r->asked_ms + REPAIR_ANSWER_MS) {
        link->repair_avoid_until_ms = time.now_ms + DAMAGE_RETRY_MS; /* other records would wait as long */
        link = NULL;
    }
    if (r->busy && !r->storing && !link)
        go_round(s, time, out);
    for (size_t i = 0; i < r->count && !r->busy && !s->left; i++)
        if (time.now_ms >= r->list[i].retry_ms && begin_round(s, time, &r->list[i], out))
            return;
}

uint64_t repair_deadline(const struct sync *s)
{
    const struct repairs *r = &s->repairs;
    uint64_t next = UINT64_MAX;
    if (s->link_count == 0)
        return next;
    if (r->busy)
        return r->storing ? next : r->asked_ms + REPAIR_ANSWER_MS;
    for (size_t i = 0; i < r->count; i++)
        if (r->list[i].retry_ms < next)
            next = r->list[i].retry_ms;
    return next;
}

void repairs_done(struct repairs *repairs)
{
    free(repairs->list);
    repairs->list = NULL;
    repairs->count = 0;
    answers_clear(&repairs->answers);
}

/* ---- answering --------------------------------------------------------------------------- */

/* A walk merges up to where it stands, with what its source has seen; behind it all is as it
 * was before, and as the clock says: good enough for who has nothing. */
static bool can_tell(const struct walk_state *walk, enum frame_type type, struct bytes key)
{
    return walk->phase == WALK_NONE || (type == FRAME_RECORD && walk->phase == WALK_RECORDS &&
                                        bytes_compare(key, bytes_of(walk->after, walk->after_len)) > 0);
}

/* Damaged, whoever could be asked has been, and who is away has no more of it: nobody need wait
 * for us to mend it. */
static bool is_past_mending(const struct sync *s, struct bytes key)
{
    for (size_t i = 0; i < s->repairs.count; i++) {
        const struct repair *repair = &s->repairs.list[i];
        if (bytes_equal(key, bytes_of(repair->key.key, repair->key.key_len)))
            return repair->past_mending;
    }
    return false;
}

/* Reads the record under key with clock and floor of one snapshot. What cannot be
 * said for certain is unreadable. The frame's bytes are the snapshot's. */
static enum err read_record(const struct sync *s, struct snapshot *snapshot, enum frame_type type,
                            struct bytes key, struct record_frame *ret)
{
    struct record record = {0};
    struct walk_state walk = {0};
    enum err err = snapshot_clock(snapshot, &ret->clock, &ret->floor);
    if (err == OK)
        err = snapshot_walk(snapshot, &walk);
    if (err != OK)
        return err;
    enum err found = can_tell(&walk, type, key) ? snapshot_record(snapshot, key, &record) : ERR_WALKING;
    ret->key = key;
    ret->state = found == OK ? RECORD_PRESENT : found == ERR_NOT_FOUND ? RECORD_ABSENT : RECORD_UNREADABLE;
    if (found == ERR_DAMAGED && is_past_mending(s, key)) { /* told by an empty clock */
        clock_done(&ret->clock);
        clock_done(&ret->floor);
    } else if (ret->state == RECORD_UNREADABLE) { /* by one that is not, where there is any */
        clock_join(&ret->clock, &walk.last);
        err = found == ERR_DAMAGED || found == ERR_WALKING ? OK : found;
    }
    if (found == OK)
        err = snapshot_record_bytes(snapshot, key, &ret->record);
    record_done(&record);
    walk_state_done(&walk);
    return err;
}

bool repair_send_record(struct sync *s, struct sync_time time, struct link *link, enum frame_type type,
                        bool answer, struct bytes key, struct effects *out)
{
    struct record_frame record = {.answer = answer};
    struct snapshot *snapshot;
    struct buf frame;
    if (link->queued >= SEND_QUEUE_HIGH || snapshot_open(s->store, &snapshot) != OK)
        return false;
    buf_init(&frame, FRAME_HEADER + FRAME_MAX);
    bool sound = read_record(s, snapshot, type, key, &record) == OK;
    if (sound)
        frame_put_record(&frame, type, &record);
    sound = sound && (type == FRAME_RECORD || record.state != RECORD_UNREADABLE);
    snapshot_close(snapshot);
    record_frame_done(&record);
    if (sound)
        sync_link_send(s, link, time.now_ms, &frame, out);
    buf_done(&frame);
    return sound;
}

bool repair_asked(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                  struct effects *out)
{
    struct bytes key;
    if (frame_get_record_ask(body, &key) != OK)
        return false;
    (void)repair_send_record(s, time, link, FRAME_RECORD, false, key, out);
    return true;
}

/* ---- what came ------------------------------------------------------------------------------ */

struct store_work *repair_work_of(enum work_kind kind, struct record_frame *record)
{
    struct store_work *work = store_work_new(kind);
    struct repair_work *to = &work->repair;
    memcpy(to->key, record->key.data, to->key_len = record->key.len);
    buf_init(&to->record, record->record.len);
    buf_put_bytes(&to->record, record->record);
    if (to->record.err != OK) {
        store_work_free(work);
        return NULL;
    }
    to->source_clock = record->clock;
    to->source_floor = record->floor;
    record->clock = record->floor = (struct clock){0};
    return work;
}

bool repair_answered(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                     struct effects *out)
{
    struct repairs *r = &s->repairs;
    struct record_frame record = {0};
    struct repair *repair = r->busy ? current(s) : NULL;
    bool fine = frame_get_record(frame, &record) == OK;
    if (!fine || !repair || r->storing || r->stream != link->stream ||
        !bytes_equal(record.key, bytes_of(r->current.key, r->current.key_len))) {
        record_frame_done(&record);
        return fine;
    }
    bool tried = false;
    /* who is being filled says of what it cannot tell now that it cannot be read */
    if (record.state != RECORD_UNREADABLE || record.clock.count == 0 || !link->peer->walking)
        link->repair_heard = r->round;
    if (record.state != RECORD_UNREADABLE) {
        tried = answers_fold(&r->answers, &record) == OK &&
                try_answers(s, time, repair, &link->peer->id, out);
    } else if (record.clock.count == 0) { /* damaged, there too, and past mending */
        link->repair_damaged = r->round;
        r->untried = true;
    }
    record_frame_done(&record);
    if (!tried)
        go_round(s, time, out);
    return true;
}

/* What waited for the record goes on. */
static void go_on(struct sync *s, struct sync_time time, struct effects *out)
{
    for (size_t i = 0; i < s->origin_count; i++)
        if (s->origins[i].retry_at_ms)
            s->origins[i].retry_at_ms = time.now_ms ? time.now_ms : 1;
    for (size_t i = 0; i < s->link_count; i++) {
        s->links[i]->damaged_until_ms = 0;
        s->links[i]->no_walk_until_ms = 0;
    }
    s->think_at_ms = time.now_ms;
    s->walk_retry_ms = 0;
    (void)sync_look(s);
    send_pump_all(s, time, out);
}

/* Whom a record waits for that could be given up by now, an operator should know: perhaps
 * it will not come back. */
static void tell_who_is_waited_for(struct sync *s, struct sync_time time, const struct repair_work *work,
                                   struct effects *out)
{
    struct repair *repair = current(s);
    char text[KEY_MAX + 1];
    for (size_t i = 0; i < s->peers.count && repair && !repair->told; i++) {
        const struct peer *peer = s->peers.list[i];
        if (peer->link || !peer_expected(peer, time.wall_ms, s->config.forget_after_ms) ||
            clock_covers(&work->source_clock, &peer->clock))
            continue;
        repair->told = true;
        effects_notice(out, NOTICE_ERROR,
                       "event=record_waits key=%s for=%s next=\"may have it whole, and is expected back; "
                       "let go of who will not come: yzma forget\"",
                       text_of(work->key, work->key_len, text), peer->name);
    }
}

void repair_stored(struct sync *s, struct sync_time time, const struct pending *pending,
                   const struct store_work *work, struct effects *out)
{
    struct repairs *r = &s->repairs;
    const struct repair_work *repair = &work->repair;
    const struct peer *peer = peers_find(&s->peers, &pending->peer);
    char text[KEY_MAX + 1];
    if (work->err != OK) {
        if (work->err != ERR_BEHIND) /* with what it has no others will do either */
            answers_clear(&r->answers);
        go_round(s, time, out);
        if (!r->busy && work->err == ERR_BEHIND && repair->settle)
            tell_who_is_waited_for(s, time, repair, out);
        return;
    }
    end_round(r);
    store_damage_mended(s->store, bytes_of(repair->key, repair->key_len));
    s->rows_below_floor = true; /* perhaps: the floor may have risen */
    if (repair->changed) {
        s->count.records_repaired++;
        s->count.operations_lost += repair->lost;
        effects_notice(out, repair->lost ? NOTICE_ERROR : NOTICE_WARN,
                       "event=record_repaired key=%s node=%s operations_lost=%zu",
                       text_of(repair->key, repair->key_len, text), peer ? peer->name : "gone", repair->lost);
    }
    go_on(s, time, out);
    repair_tick(s, time, out);
}
