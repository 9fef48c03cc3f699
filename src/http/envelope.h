/* The envelope of every answer: {"Status":"ok","Error":"","Data":..}, its members
 * in this order and without white space, as the predecessor wrote it. */
#ifndef YZMA_HTTP_ENVELOPE_H
#define YZMA_HTTP_ENVELOPE_H

#include "buf.h"

/* Begins an answer whose Data follows, written by the caller. */
void envelope_open(struct buf *out);
void envelope_close(struct buf *out);
/* How many bytes the two add around Data. */
size_t envelope_overhead(void);

/* A whole answer; data is JSON, and null when empty. */
void envelope_ok(struct buf *out, struct bytes data);
void envelope_error(struct buf *out, struct bytes error, struct bytes data);

#endif
