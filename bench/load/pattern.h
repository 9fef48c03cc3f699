/* Texts with holes. What differs from one request to the next is a number, and
 * whatever is made from it has always the same length. So a request is laid out
 * once for each connection, and then only its holes are filled.
 *
 *   {n}    the number, nine digits
 *   {b64}  base64 of "key" and these digits (etcd's gateway wants its keys so)
 *   {v}    a value of so many bytes: printable ASCII that a JSON text may hold as it
 *          is, so 6.5 bits to a byte; the same for the same number and seed
 *   {v64}  the same out of base64's letters
 *
 * Each may name a later number: {n+1} is the next one's. */
#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

#include <stddef.h>
#include <stdint.h>

enum hole_kind { HOLE_NUMBER, HOLE_KEY64, HOLE_VALUE, HOLE_VALUE64 };

struct hole {
    enum hole_kind kind;
    size_t offset;
    uint64_t add;
};

struct pattern {
    char *text; /* owned; terminated */
    size_t len;
    struct hole *holes; /* owned */
    size_t holes_count;
    size_t value_len;
    uint64_t seed;
};

/* A brace that begins none of the above is text. */
void pattern_init(struct pattern *p, const char *text, size_t value_len, uint64_t seed);
void pattern_done(struct pattern *p);

/* The length of `text` with its holes filled. */
size_t pattern_len(const char *text, size_t value_len);

/* Writes the holes for this number into `out`, a copy of p->text. */
void pattern_fill(const struct pattern *p, uint64_t number, char *out);

/* A number's place in a random order; good enough to pick keys. */
uint64_t random_next(uint64_t *state);

#endif
