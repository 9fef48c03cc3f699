/* A search for damage: through all records, in small pieces, reading and verifying.
 *
 * Where one record has gone bad others have, too, as a rule; and who meets them one by
 * one, as a walk does, waits for each of them: for a minute where nobody has it. So a record
 * that was found damaged starts a search, and so does a walk of ours that stands still, of
 * which nobody knows yet what it will meet here. What a search finds waits at the same time.
 *
 * A piece is as large as one of a digest, and ten of them are read a second. Where the
 * store's list of damaged records is full the search stands until some of them are mended.
 * After it nobody searches for as long as it took, ten seconds at the least. */
#include "sync_state.h"

void search_want(struct sync *s)
{
    s->searching.wanted = true;
}

void search_for_walk(struct sync *s)
{
    if (s->searching.walk == s->walk.serial)
        return;
    s->searching.walk = s->walk.serial;
    s->searching.wanted = true;
}

static void begin(struct searching *search, uint64_t now_ms)
{
    *search = (struct searching){.on = true, .began_ms = now_ms, .walk = search->walk};
}

/* What the last piece has found is on the list by now (repair_tick), and starts no other. */
static void end(struct sync *s, uint64_t now_ms)
{
    struct searching *search = &s->searching;
    uint64_t took_ms = now_ms - search->began_ms;
    search->on = search->ended = false;
    search->at_ms = now_ms + (took_ms > SEARCH_REST_MS ? took_ms : SEARCH_REST_MS);
    s->count.damage_searches++;
}

void search_tick(struct sync *s, uint64_t now_ms)
{
    struct searching *search = &s->searching;
    if (now_ms < search->at_ms || (!search->on && (!search->wanted || s->link_count == 0)))
        return; /* nobody to be asked: nothing would come of it */
    if (search->ended) {
        end(s, now_ms);
        return;
    }
    if (!search->on)
        begin(search, now_ms);
    size_t before = search->after_len;
    uint8_t after[KEY_MAX];
    memcpy(after, search->after, before);
    bool fine = store_search_damage(s->store, bytes_of(after, before), DIGEST_RECORDS, DIGEST_BYTES,
                                    search->after, &search->after_len, &search->ended) == OK;
    bool stands = !fine || (!search->ended && search->after_len == before &&
                            memcmp(after, search->after, before) == 0);
    search->at_ms = now_ms + (stands ? SEARCH_STAND_MS : SEARCH_PIECE_MS);
}

uint64_t search_deadline(const struct sync *s)
{
    const struct searching *search = &s->searching;
    return search->on || (search->wanted && s->link_count) ? search->at_ms : UINT64_MAX;
}
