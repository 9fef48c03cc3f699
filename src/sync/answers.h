/* What several peers answered about the record of one key, folded into one.
 *
 * An answer is a record R with clock P and floor G of one snapshot: R includes every
 * operation on the key up to P, and of what went there tells all that lies above G. Two
 * such are merged as a walk merges a piece, each side covering with its clock what it has
 * seen and does not hold: so the fold includes all up to both clocks joined, and what
 * it does not tell any more lies at or below both floors joined. It is again an answer, of
 * nobody in particular. The order makes no difference. */
#ifndef YZMA_SYNC_ANSWERS_H
#define YZMA_SYNC_ANSWERS_H

#include "repair_frames.h"

struct answers {
    bool any;
    struct buf record; /* owned, encoded; empty: no such record */
    struct clock clock, floor;
};

void answers_clear(struct answers *answers);
/* Folds one in. On an error (the record cannot be read, is too long, or there are too many
 * replicas) nothing is changed. */
enum err answers_fold(struct answers *answers, const struct record_frame *answer) MUST_USE;

#endif
