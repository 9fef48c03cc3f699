#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stories.h"

struct world *cluster_after(const struct world_options *options, int n, uint64_t ms)
{
    struct world *w = world_new(options);
    world_start_alone(w, 0);
    for (int i = 1; i < n; i++)
        world_start(w, i, (int[]){0}, 1);
    world_run(w, ms);
    for (int i = 0; i < n; i++)
        assert_int_equal(world_members(w, i, "alive"), n);
    return w;
}

void assert_agree_within(struct world *w, uint64_t ms)
{
    if (!world_until(w, world_agrees, NULL, ms))
        fail_msg("the nodes do not agree after %llu ms", (unsigned long long)ms);
}
