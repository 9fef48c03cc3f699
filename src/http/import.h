/* The state of a POST /import between the pieces of its body (import.c). */
#ifndef YZMA_HTTP_IMPORT_H
#define YZMA_HTTP_IMPORT_H

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct import;

/* Before the first piece. False, and the exchange is refused: no room among all bodies. */
bool import_begin(struct exchange *x);
/* Takes what it can of a piece; returns how much it has left. The exchange is then parked,
 * and is given the rest again. */
size_t import_feed(struct exchange *x, const char *data, size_t size);
void import_free(struct import *import); /* takes NULL */

#endif
