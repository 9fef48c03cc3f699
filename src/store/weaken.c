/* The switch of the property tests' own build; empty in every other. */
#include "weaken.h"

#ifdef YZMA_WEAKEN
enum weaken weakened = WEAKEN_NOTHING;
#endif
