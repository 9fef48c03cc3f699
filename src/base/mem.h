/* Memory for small things whose size is ours, not a peer's: it does not fail,
 * because nothing sane can go on where a hundred bytes are not to be had (the
 * program stops as if by a CHECK; what was acknowledged is on disk). Sizes that
 * a client or a peer decides go through struct buf, which fails with ERR_NOMEM. */
#ifndef YZMA_BASE_MEM_H
#define YZMA_BASE_MEM_H

#include "bytes.h"

void *mem_new(size_t size);                 /* zeroed */
void *mem_grow(void *old, size_t size);     /* as realloc */
void *mem_copy(const void *data, size_t n); /* n may be 0 */
char *mem_text(const char *text);
char *mem_text_of(struct bytes bytes); /* adds the final NUL */
void mem_wipe(void *data, size_t n);   /* zeroes, also what nobody reads again: for keys */

#endif
