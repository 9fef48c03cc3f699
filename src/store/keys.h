/* How the store's tables are laid out. Whole numbers are big-endian, so that the
 * order of keys is the order of counters; the rest is as in record.h, clock.h
 * and starts.h.
 *
 * TABLE_META         name (text)          value
 *   "format"                              4 bytes, STORE_FORMAT
 *   "identity"                            16 bytes replica id, the start list, varint count
 *                                         of predecessors, each 16 bytes, oldest first
 *   "file"                                what the file was, as the opener told it
 *   "stamp"                               8 bytes, the stamp clock
 *   "walk"                                1 byte phase, varint serial,
 *                                         varint length and bytes of the last key done,
 *                                         16 + 8 bytes the last row done, 1 byte has_low,
 *                                         the vectors low, high, last, varint keys done
 *   "known"                               16 bytes own id, 8 bytes the highest own counter that what
 *                                         was merged here reflects (reidentify.c); absent, or of
 *                                         another id: none
 *   "sweep"                               records below it have been looked at (sweep.c); only
 *                                         while there is something to look for
 *   "note/" name                          the note's bytes
 *   "expiry/" 8 bytes ms since 1970, key  1 byte: a version of the key expires then
 *   "quarantine/" 16 bytes replica id,    1 byte kind, varint length and bytes of the key,
 *                 8 bytes counter         the record as it came (quarantine.c)
 *   "rest/" 16 bytes replica id,          1 byte: once the floor has passed this counter the
 *           8 bytes counter, key          key may have a record to let go of (rest.c)
 *
 * TABLE_CLOCKS       16 bytes replica id  8 bytes counter, 8 bytes floor
 *
 * TABLE_RECORDS      the key (space.h)    the record (record.h)
 *
 * TABLE_ROWS         16 bytes replica id, 1 byte kind (1 put, 2 delete), then the key
 *                    8 bytes counter
 */
#ifndef YZMA_STORE_KEYS_H
#define YZMA_STORE_KEYS_H

#include "store.h"

enum { ROW_KEY_SIZE = REPLICA_ID_SIZE + 8, ROW_VALUE_MAX = 1 + KEY_MAX };

#define META_FORMAT            "format"
#define META_IDENTITY          "identity"
#define META_FILE              "file"
#define META_STAMP             "stamp"
#define META_WALK              "walk"
#define META_KNOWN             "known"
#define META_SWEEP             "sweep"
#define META_NOTE_PREFIX       "note/"
#define META_EXPIRY_PREFIX     "expiry/"
#define META_QUARANTINE_PREFIX "quarantine/"
#define META_REST_PREFIX       "rest/"

/* Returns the key's bytes, in `out`. */
struct bytes row_key(const struct dot *dot, uint8_t out[ROW_KEY_SIZE]);
/* The length of key was checked before. */
struct bytes row_value(enum row_kind kind, struct bytes key, uint8_t out[ROW_VALUE_MAX]);
/* Borrows. ERR_DAMAGED. */
enum err row_decode(struct bytes key, struct bytes value, struct row *ret) MUST_USE;
/* The dot alone: ERR_DAMAGED when the key is not one of a row. */
enum err row_key_decode(struct bytes key, struct dot *ret) MUST_USE;
/* The dot that follows every dot up to this one; false when there is none. */
bool dot_after(struct dot *dot);

bool key_valid(struct bytes key);
bool row_kind_valid(enum row_kind kind);

#endif
