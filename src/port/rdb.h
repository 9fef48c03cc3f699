/* The parts of Redis' RDB format (versions 1 to 11; Redis 7.0 writes 10). Numbers are
 * little-endian but for those in lengths. A read beyond the bytes at hand is
 * ERR_TRUNCATED in the cursor: more of the file is needed.
 *
 *   file    "REDIS" and 4 digits, then entries, each an opcode or a type (1 byte) first:
 *           FA name value    a note of the server        FC 8 bytes  the next key's end, in ms
 *           FB n n           sizes of its tables         FD 4 bytes  .. in s
 *           FE n             the database's number       F8 n, F9 1 byte  its age, for eviction
 *           F7 ..            of a module, F5 string: of functions, F4 n n n: of a slot
 *           type key value   a key; see rdb_types.c
 *           FF 8 bytes       the end, with a CRC-64 (0: none)
 *   n       00xxxxxx; 01xxxxxx x; 80 4 bytes; 81 8 bytes, big-endian; in the place of a
 *           string's length also C0 1 byte, C1 2, C2 4: a number that stands for its
 *           decimal digits, and C3 n n: packed with LZF, its length before and after */
#ifndef YZMA_PORT_RDB_H
#define YZMA_PORT_RDB_H

#include "cursor.h"
#include "port_state.h"

/* ---- rdb_string.c ---- */
uint16_t rdb_u16(struct cursor *in);
uint32_t rdb_u32(struct cursor *in);
uint64_t rdb_u64(struct cursor *in);
uint64_t rdb_length(struct cursor *in);
/* Borrows from the input, or from room, which is emptied first. ERR_NOMEM into the cursor
 * too. */
struct bytes rdb_string(struct cursor *in, struct buf *room);
/* Goes behind one. */
void rdb_skip_string(struct cursor *in);
/* ERR_MALFORMED unless it unpacks into exactly so much, which is appended. */
enum err lzf_unpack(struct bytes packed, size_t length, struct buf *out) MUST_USE;

/* ---- rdb_pack.c: lists inside of one string ---- */
enum pack_kind { PACK_ZIPLIST, PACK_LISTPACK, PACK_INTSET };
struct pack {
    enum pack_kind kind;
    struct cursor in;
    unsigned width; /* of an intset's numbers */
    uint32_t left;  /* of them */
    char digits[24];
};
void pack_open(struct pack *pack, enum pack_kind kind, struct bytes text);
/* False at the end, or when pack->in.err is set. The entry is borrowed until the next call. */
bool pack_next(struct pack *pack, struct bytes *ret);

/* ---- rdb_types.c: what stands under a key ---- */
/* Reads it and gives it out. in->err: ERR_TRUNCATED, ERR_MALFORMED (a sentence in why),
 * ERR_VERSION likewise for types of later Redis; else the sink's error. */
enum err rdb_value(struct port *port, struct cursor *in, uint8_t type, struct bytes key, uint64_t expires_ms,
                   struct buf *why) MUST_USE;
/* Goes behind the rest of what a module wrote, up to its end mark. */
void rdb_skip_module(struct cursor *in);

/* ---- crc64.c ---- */
uint64_t crc64(uint64_t crc, struct bytes bytes); /* Jones'; starts with 0 */

#endif
