/* The random worlds of world.h: thousands of seeds on the store as it is, or
 * (built over the store whose rules can be switched off) one weakened rule,
 * which some seed must show.
 *
 *   test_world [worlds] [first seed]
 *   test_world_weakened NAME worlds
 */
#include "world.h"

#include "weaken.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TWICE_EVERY = 50 }; /* seeds: these run twice, and must do the same */

#ifndef YZMA_WEAKEN

static int fail(uint64_t seed, const char *why)
{
    printf("seed %" PRIu64 ": %s\nreplay: test_world 1 %" PRIu64 "\n", seed, why, seed);
    return 1;
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 3000;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t repaired = 0, compared = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_result result = world_run(seed, DRIVER_SOUND);
        repaired += result.repaired;
        compared += result.compared;
        if (!result.fine)
            return fail(seed, result.why);
        if (seed % TWICE_EVERY == 0 && world_run(seed, DRIVER_SOUND).trace != result.trace)
            return fail(seed, "two runs of it differ");
    }
    printf("%" PRIu64 " worlds agree with the oracle; %" PRIu64 " records repaired, %" PRIu64
           " pairs compared\n",
           count, repaired, compared);
    return count == 0 || (count >= 1000 && (repaired < count / 10 || compared < count / 10));
}

#else

static const struct {
    const char *name;
    enum weaken rule;
    enum driver_weaken driver;
} variants[] = {
    {"early", WEAKEN_EARLY, DRIVER_SOUND},
    {"entry", WEAKEN_ENTRY, DRIVER_SOUND},
    {"clock", WEAKEN_CLOCK, DRIVER_SOUND},
    {"fillstored", WEAKEN_FILL_STORED, DRIVER_SOUND},
    {"walkclock", WEAKEN_WALK_CLOCK, DRIVER_SOUND},
    {"rows", WEAKEN_ROWS, DRIVER_SOUND},
    {"held", WEAKEN_HELD, DRIVER_SOUND},
    {"anykey", WEAKEN_ANY_KEY, DRIVER_SOUND},
    {"claims", WEAKEN_CLAIMS, DRIVER_SOUND},
    {"repairrows", WEAKEN_REPAIR_ROWS, DRIVER_SOUND},
    {"repairfloor", WEAKEN_REPAIR_FLOOR, DRIVER_SOUND},
    {"floor", WEAKEN_NOTHING, DRIVER_FLOOR},
    {"ahead", WEAKEN_NOTHING, DRIVER_AHEAD},
    {"reuse", WEAKEN_NOTHING, DRIVER_REUSE},
    {"forgot", WEAKEN_NOTHING, DRIVER_FORGOT},
};

int main(int argc, char **argv)
{
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 3000;
    for (size_t i = 0; argc > 1 && i < sizeof variants / sizeof *variants; i++) {
        if (strcmp(argv[1], variants[i].name) != 0)
            continue;
        weakened = variants[i].rule;
        for (uint64_t seed = 1; seed <= count; seed++) {
            struct world_result result = world_run(seed, variants[i].driver);
            if (result.fine)
                continue;
            printf("without the rule '%s', seed %" PRIu64 ": %s\n", variants[i].name, seed, result.why);
            return 0;
        }
        printf("%" PRIu64 " worlds do not miss the rule '%s'\n", count, variants[i].name);
        return 1;
    }
    printf("usage: test_world_weakened NAME [worlds]\n");
    return 2;
}

#endif
