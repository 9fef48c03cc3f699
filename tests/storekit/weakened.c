/* The switch of the property tests: which rule of the store is off. */
#include "weaken.h"

enum weaken weakened = WEAKEN_NOTHING;
