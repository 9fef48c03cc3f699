/* Fuzz targets: each file is one, and gives libFuzzer its function. Without libFuzzer
 * replay.c runs it over the corpus, as a normal test.
 *
 * A target puts its input into a block of its exact size, so that one byte too far is
 * a fault that a sanitizer sees. */
#ifndef YZMA_TESTS_FUZZ_H
#define YZMA_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
