/* Walks: filling others in key order.
 *
 * A source only answers. Each piece is a fresh short snapshot, and it refuses when
 * its clock does not cover those of the pieces before, when it is being filled
 * itself, and when it meets what it cannot read: it never skips. Where it stands
 * is a place in key order and a number of pieces that the receiver has room for;
 * who asks and does not read gets what the link's queue holds, and no more. */
#include "sync_state.h"

static void refuse(struct sync *s, struct sync_time time, struct link *link, const char *why,
                   struct effects *out)
{
    struct buf frame;
    buf_init(&frame, FRAME_HEADER + FRAME_FIRST_MAX);
    frame_put_walk_refused(&frame, link->serving.run, why);
    link->serving.ahead = 0;
    sync_link_send(s, link, time.now_ms, &frame, out);
}

/* Reads the next piece; the reason where that is not possible. *ret_bad_row: as of chunk_walk. */
static const char *read_piece(struct sync *s, struct link *link, struct buf *frame, struct dot *ret_bad_row)
{
    static const struct chunk_limits limits = {.entries = PIECE_ENTRIES, .bytes = PIECE_BYTES},
                                     old_limits = {.entries = OLD_CHUNK_ENTRIES, .bytes = OLD_CHUNK_BYTES};
    struct serving *serving = &link->serving;
    struct snapshot *snapshot;
    struct clock clock = {0};
    const char *problem = NULL;
    if (snapshot_open(s->store, &snapshot) != OK)
        return "the store cannot be read";
    if (snapshot_clock(snapshot, &clock, NULL) != OK)
        problem = "the store cannot be read";
    else if (!clock_covers(&clock, &serving->last))
        problem = "has not seen what the pieces before had seen";
    else if (chunk_walk(snapshot, serving->run, &serving->place, link->protocol >= 2 ? &limits : &old_limits,
                        frame, ret_bad_row) != OK)
        problem = "met a record or row that it cannot read";
    else
        clock_join(&serving->last, &clock);
    snapshot_close(snapshot);
    clock_done(&clock);
    return problem;
}

void serve_pump(struct sync *s, struct sync_time time, struct link *link, struct effects *out)
{
    struct serving *serving = &link->serving;
    while (link->state == LINK_UP && serving->ahead && link->queued < SEND_QUEUE_HIGH) {
        if (sync_walking(s)) {
            refuse(s, time, link, "is being filled itself", out);
            return;
        }
        struct buf frame;
        buf_init(&frame, FRAME_HEADER + FRAME_MAX);
        buf_reserve(&frame, PIECE_BYTES); /* touched as it fills */
        struct dot bad_row = {0};
        const char *problem = read_piece(s, link, &frame, &bad_row);
        if (problem) {
            buf_done(&frame);
            if (bad_row.counter) /* whoever asks again is told of a floor above it */
                forget_row(s, &bad_row, out);
            refuse(s, time, link, problem, out);
            return;
        }
        s->count.pieces_sent++;
        serving->ahead = serving->place.phase == WALK_NONE ? 0 : serving->ahead - 1;
        sync_link_send_bulk(s, link, time.now_ms, TRAFFIC_WALK, &frame, out);
    }
}

void serve_ask(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
               struct effects *out)
{
    struct walk_ask ask = {0};
    if (frame_get_walk_ask(body, &ask) != OK) {
        s->count.frames_malformed++;
        return;
    }
    clock_done(&link->serving.last);
    link->serving = (struct serving){
        .run = ask.run, .place = ask.place, .last = ask.last, .ahead = ask.ahead};
    serve_pump(s, time, link, out);
}

void serve_more(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                struct effects *out)
{
    struct serving *serving = &link->serving;
    uint64_t run, pieces;
    if (frame_get_walk_more(body, &run, &pieces) != OK) {
        s->count.frames_malformed++;
        return;
    }
    if (run != serving->run || serving->place.phase == WALK_NONE)
        return; /* of a run that is over */
    serving->ahead = serving->ahead + pieces < WALK_AHEAD_MAX ? serving->ahead + pieces : WALK_AHEAD_MAX;
    serve_pump(s, time, link, out);
}
