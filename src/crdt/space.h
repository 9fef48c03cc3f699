/* The three name spaces of a store: keys, counters, sets. All are records under keys
 * of one table, so that replication, walks, digests, damage and backup know nothing
 * of them. A client's key is UTF-8, which no byte from 0xf8 on is part of: what begins
 * with one belongs to another space, and lies behind all keys.
 *
 *   key          as it is
 *   counter      0xf8, name
 *   set element  0xf9, name, 0x01, 16 bytes of hash, none of them NUL
 *
 * Names are UTF-8 without NUL and U+0001, so that sets lie in the order of their names and
 * each one's elements beside each other. No key has a NUL in it: nodes refuse one from
 * their peers. What peers send under 0xf8 to 0xff and is not of
 * these forms is kept and passed on like any record, and never shown. */
#ifndef YZMA_CRDT_SPACE_H
#define YZMA_CRDT_SPACE_H

#include "record.h"

enum {
    SPACE_NAME_MAX = 460, /* bytes of a counter's or set's name: with the rest below KEY_MAX */
    ELEMENT_HASH_SIZE = 16,
    SPACE_BOUND = 0xf8, /* a first byte below it: a key */
};

enum space { SPACE_KEYS, SPACE_COUNTERS, SPACE_SETS, SPACE_NONE };

struct space_name {
    enum space space;  /* SPACE_NONE: of no form that is known */
    struct bytes name; /* borrowed */
    struct bytes hash; /* of an element */
};

static inline bool space_has_key(struct bytes key)
{
    return key.len == 0 || key.data[0] < SPACE_BOUND;
}

bool space_name_valid(struct bytes name);
struct space_name space_parse(struct bytes key);

/* The part of these keys before the name's own bytes, and the name: with the rest still to
 * come, of a whole set. A name may be cut short: the beginning of names. */
struct bytes space_prefix(enum space space, struct bytes name, uint8_t room[KEY_MAX]);
/* Where the elements of a set begin, and the first place behind them. */
struct bytes space_set_begin(struct bytes name, uint8_t room[KEY_MAX]);
struct bytes space_set_end(struct bytes name, uint8_t room[KEY_MAX]);
/* The hash has no NUL. */
struct bytes space_element(struct bytes name, const uint8_t hash[ELEMENT_HASH_SIZE], uint8_t room[KEY_MAX]);

#endif
