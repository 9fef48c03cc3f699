/* Elements of sets: JSON values, kept in one form (json_put_canonical) under a hash of it,
 * 128 bits of SHA-256 (NUL counting as 1: space.h). Two values are the same element when they have the same
 * form. */
#ifndef YZMA_HTTP_ELEMENT_H
#define YZMA_HTTP_ELEMENT_H

#include "json_out.h"
#include "space.h"
#include "store.h"

enum { ELEMENT_MAX = 64 << 10, ELEMENT_HASH_TEXT = 2 * ELEMENT_HASH_SIZE };

void element_hash(struct bytes canonical, uint8_t out[ELEMENT_HASH_SIZE]);
/* 32 lower-case hexadecimal digits, without NUL. */
void element_hash_text(struct bytes hash, char out[ELEMENT_HASH_TEXT]);
enum err element_hash_parse(struct bytes text, uint8_t out[ELEMENT_HASH_SIZE]) MUST_USE;

/* "Element", unless a peer has sent what is none. */
void element_put(struct json_out *j, const struct version *version);
bool element_is_sound(const struct version *version);

/* Reads {"Add":[..],"Remove":[..]}, which is valid JSON, either of which may be missing, into
 * a WORK_BATCH: an element that is told several times counts once. ERR_MALFORMED with a
 * sentence in why (also for one in both), ERR_TOO_LARGE likewise, ERR_NOMEM. */
enum err element_read_change(struct bytes text, struct bytes set, struct store_work *work,
                             struct buf *why) MUST_USE;

#endif
