#include "peers.h"

#include "mem.h"

#include <stdlib.h>

/* Of the note: a later layout gets another number and reads this one too. */
enum { PEER_NOTE_FORMAT = 1 };

/* Flags of the note. Who knows only the first takes each for it: not expected back. */
enum { PEER_NOTE_LEFT = 1, PEER_NOTE_FORGOTTEN = 2, PEER_NOTE_DEPARTED = 4 };

/* Of the starts behind them. Who knows only the first takes each for it. */
enum { PEER_NOTE_STARTS = 1, PEER_NOTE_HEARSAY = 2 };

static void peer_free(struct peer *peer)
{
    clock_done(&peer->clock);
    clock_done(&peer->floor);
    free(peer);
}

void peers_done(struct peers *peers)
{
    for (size_t i = 0; i < peers->count; i++)
        peer_free(peers->list[i]);
    free(peers->list);
    *peers = (struct peers){0};
}

struct peer *peers_find(const struct peers *peers, const struct replica_id *id)
{
    for (size_t i = 0; i < peers->count; i++)
        if (replica_id_equal(&peers->list[i]->id, id))
            return peers->list[i];
    return NULL;
}

struct peer *peers_get(struct peers *peers, const struct replica_id *id)
{
    struct peer *peer = peers_find(peers, id);
    if (peer || peers->count == PEERS_MAX)
        return peer;
    if (peers->count == peers->room) {
        peers->room = peers->room ? peers->room * 2 : 8;
        peers->list = mem_grow(peers->list, peers->room * sizeof *peers->list);
    }
    peer = mem_new(sizeof *peer);
    peer->id = *id;
    peers->list[peers->count++] = peer;
    return peer;
}

void peer_encode(const struct peer *peer, struct buf *out)
{
    buf_put_u8(out, PEER_NOTE_FORMAT);
    replica_id_encode(&peer->id, out);
    buf_put_blob(out, bytes_str(peer->name));
    buf_put_blob(out, bytes_str(peer->ingress));
    buf_put_u8(out,
               (uint8_t)((peer->left ? PEER_NOTE_LEFT : 0) | (peer->forgotten ? PEER_NOTE_FORGOTTEN : 0) |
                         (peer->departed ? PEER_NOTE_DEPARTED : 0)));
    buf_put_u64(out, peer->heard_wall_ms);
    buf_put_u8(out, !peer->has_starts ? 0 : peer->hearsay ? PEER_NOTE_HEARSAY : PEER_NOTE_STARTS);
    starts_encode(&peer->starts, out);
    buf_put_varint(out, peer->told);
    clock_encode(&peer->clock, out);
}

enum err peer_decode(struct peers *into, struct bytes note)
{
    struct peer read = {0};
    struct cursor in = cursor_of(note);
    if (cursor_u8(&in) != PEER_NOTE_FORMAT)
        cursor_fail(&in, ERR_MALFORMED);
    read.id = replica_id_decode(&in);
    cursor_text(&in, read.name, sizeof read.name);
    cursor_text(&in, read.ingress, sizeof read.ingress);
    unsigned flags = cursor_u8(&in);
    read.left = flags & PEER_NOTE_LEFT;
    read.forgotten = flags & PEER_NOTE_FORGOTTEN;
    read.departed = flags & PEER_NOTE_DEPARTED;
    read.heard_wall_ms = cursor_u64(&in);
    unsigned starts = cursor_u8(&in);
    read.has_starts = starts != 0;
    read.hearsay = starts == PEER_NOTE_HEARSAY;
    if (in.err == OK && starts_decode(&in, &read.starts) != OK)
        cursor_fail(&in, ERR_MALFORMED);
    read.told = cursor_varint(&in);
    if (in.err == OK && clock_decode(&in, &read.clock) != OK)
        cursor_fail(&in, ERR_MALFORMED);
    struct peer *peer = cursor_finish(&in) == OK ? peers_get(into, &read.id) : NULL;
    if (!peer) {
        clock_done(&read.clock);
        return ERR_DAMAGED;
    }
    clock_done(&peer->clock);
    clock_done(&peer->floor);
    *peer = read;
    return OK;
}

/* A counter says something only of the life that told it: with a memory of other starts
 * (the note of them was not stored, say) it would make the next hello look like a fork. */
void told_encode(const struct peer *peer, struct buf *out)
{
    const struct starts *starts = &peer->starts;
    replica_id_encode(&peer->id, out);
    buf_put_u64(out, peer->told);
    buf_put_u64(out, starts->total);
    buf_put_u64(out, starts->count ? starts->entries[starts->count - 1].random : 0);
}

enum err told_decode(const struct peers *peers, struct bytes note)
{
    struct cursor in = cursor_of(note);
    struct replica_id id = replica_id_decode(&in);
    uint64_t told = cursor_u64(&in);
    bool has_start = cursor_left(&in) > 0; /* notes of before have none */
    uint64_t total = has_start ? cursor_u64(&in) : 0, random = has_start ? cursor_u64(&in) : 0;
    if (cursor_finish(&in) != OK)
        return ERR_DAMAGED;
    struct peer *peer = peers_find(peers, &id);
    const struct starts *starts = peer ? &peer->starts : NULL;
    if (!peer || told <= peer->told || (has_start && total != starts->total) ||
        (has_start && starts->count && starts->entries[starts->count - 1].random != random))
        return OK;
    peer->told = told;
    return OK;
}

bool peers_drop_one(struct peers *peers, uint64_t wall_ms, uint64_t forget_after_ms,
                    struct replica_id *ret_id)
{
    size_t oldest = SIZE_MAX;
    for (size_t i = 0; i < peers->count; i++) {
        const struct peer *peer = peers->list[i];
        if (!peer->link && !peer->dialing && !peer_expected(peer, wall_ms, forget_after_ms) &&
            (oldest == SIZE_MAX || peer->heard_wall_ms < peers->list[oldest]->heard_wall_ms))
            oldest = i;
    }
    if (oldest == SIZE_MAX)
        return false;
    *ret_id = peers->list[oldest]->id;
    peer_free(peers->list[oldest]);
    peers->list[oldest] = peers->list[--peers->count];
    return true;
}

bool peer_has_left(const struct peer *peer)
{
    return peer->left || (peer->departed && !peer->link && !peer->member);
}

bool peer_expected(const struct peer *peer, uint64_t wall_ms, uint64_t forget_after_ms)
{
    if (peer_has_left(peer) || peer->forgotten)
        return false;
    /* a wall clock that was set back makes nobody forgotten */
    return peer->link || peer->member || wall_ms < peer->heard_wall_ms ||
           wall_ms - peer->heard_wall_ms <= forget_after_ms;
}

void peers_look_at_wall(struct peers *peers, uint64_t now_ms, uint64_t wall_ms, uint64_t forget_after_ms)
{
    for (size_t i = 0; i < peers->count; i++) {
        struct peer *peer = peers->list[i];
        if (wall_ms >= peer->heard_wall_ms || peer->link || peer->member)
            peer->early_ms = 0;
        else if (!peer->early_ms)
            peer->early_ms = now_ms ? now_ms : 1;
        else if (now_ms - peer->early_ms > forget_after_ms) {
            peer->heard_wall_ms = wall_ms > forget_after_ms ? wall_ms - forget_after_ms - 1 : 0;
            peer->early_ms = 0;
        }
    }
}

void peers_watermark(const struct peers *peers, const struct clock *own, uint64_t wall_ms,
                     uint64_t forget_after_ms, struct clock *ret)
{
    clock_copy(ret, own);
    for (size_t i = 0; i < peers->count; i++)
        if (peer_expected(peers->list[i], wall_ms, forget_after_ms))
            clock_meet(ret, &peers->list[i]->clock);
}
