/* Durations and sizes as people write them, in the configuration file and in
 * query parameters: "500ms", "1s", "72h", "1m30s"; "4096", "10KB", "64MiB". */
#ifndef YZMA_BASE_UNITS_H
#define YZMA_BASE_UNITS_H

#include "bytes.h"
#include "err.h"

/* Whole numbers with a unit each (d, h, m, s, ms), larger units first, each at
 * most once; "0" alone needs none. ERR_MALFORMED, or ERR_TOO_LARGE above 64 bits. */
enum err duration_parse(struct bytes text, uint64_t *ret_ms) MUST_USE;

/* A whole number, alone or with a unit: B; KB, MB, GB, TB (powers of 1,000);
 * KiB, MiB, GiB, TiB (powers of 1,024). Case matters as in the standards.
 * ERR_MALFORMED, or ERR_TOO_LARGE above 64 bits. */
enum err size_parse(struct bytes text, uint64_t *ret_bytes) MUST_USE;

/* A whole decimal number of bytes that are all digits. The same errors. */
enum err number_parse(struct bytes text, uint64_t *ret) MUST_USE;

enum { UNITS_TEXT_MAX = 64 };
/* The form that the parsers read, in the largest units that lose nothing:
 * "1m30s", "64MiB". out holds UNITS_TEXT_MAX. */
char *duration_text(uint64_t ms, char out[UNITS_TEXT_MAX]);
/* A moment of the wall clock, to the second: "2026-11-27T22:54:16Z". */
char *instant_text(uint64_t unix_ms, char out[UNITS_TEXT_MAX]);
/* The same to the millisecond: "2026-11-27T22:54:16.250Z". */
char *instant_text_ms(uint64_t unix_ms, char out[UNITS_TEXT_MAX]);
/* A moment as RFC 3339 writes it, from 1970 on: with any offset, any number of
 * digits below the second (cut to the millisecond), and 60 seconds for a leap second.
 * ERR_MALFORMED; ERR_TOO_LARGE before 1970. */
enum err instant_parse(struct bytes text, uint64_t *ret_unix_ms) MUST_USE;
char *size_text(uint64_t bytes, char out[UNITS_TEXT_MAX]);

#endif
