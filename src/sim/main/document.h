/* Generated text inside a document written by hand: between the lines
 *
 *   <!-- generated: NAME -->
 *   <!-- end: NAME -->
 *
 * which stay. */
#ifndef YZMA_SIM_DOCUMENT_H
#define YZMA_SIM_DOCUMENT_H

#include "buf.h"

/* Replaces what stands there in the file. ERR_NOT_FOUND: no such file, or no such
 * lines in it; ERR_IO. */
enum err document_put(const char *path, const char *name, struct bytes text) MUST_USE;

#endif
