/* Numbers of the command line. */
#ifndef YZMA_SIM_MAIN_NUMBERS_H
#define YZMA_SIM_MAIN_NUMBERS_H

#include "units.h"

#include <stdbool.h>

/* A number in [min, max], and nothing else. */
static inline bool number_within(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    return number_parse(bytes_str(text), ret) == OK && *ret >= min && *ret <= max;
}

#endif
