/* Random worlds of whole nodes: writes, deletes, cuts, kills, restarts, moves,
 * fallen-back disks. Afterwards the faults stop, and all must agree within a stated
 * time; what was acknowledged and never overwritten or deleted must be there.
 *
 * test_node_random [worlds] [first seed]; a failure prints its seed. Each tenth
 * seed runs twice, and both runs must be the same. */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "world.h"

enum { KEYS = 30, AGREE_MS = 60000 };

/* What the oracle knows of a key written by one node only: keys "oI-K" belong to
 * node I, so their last acknowledged state is what all must show in the end. */
struct owned {
    char value[32];
    bool exists;
};

struct run {
    struct world *w;
    struct rng rng;
    int nodes;
    bool up[WORLD_NODES_MAX];
    bool fell_back[WORLD_NODES_MAX]; /* lost acknowledged writes with its disk: its keys are not judged */
    bool saved[WORLD_NODES_MAX];
    struct owned owned[WORLD_NODES_MAX][KEYS];
    unsigned writes;
};

static void write_owned(struct run *r, int i)
{
    char key[32], value[32];
    int k = (int)rng_below(&r->rng, KEYS);
    struct owned *owned = &r->owned[i][k];
    snprintf(key, sizeof key, "o%d-%02d", i, k);
    snprintf(value, sizeof value, "%u", ++r->writes);
    bool remove = rng_permille(&r->rng, 300);
    enum err err = remove ? world_delete(r->w, i, key) : world_put(r->w, i, key, value);
    if (err != OK)
        return; /* not acknowledged: a walk hides the key */
    owned->exists = !remove;
    snprintf(owned->value, sizeof owned->value, "%s", value);
}

static void write_shared(struct run *r, int i)
{
    char key[32], value[32];
    snprintf(key, sizeof key, "s%02d", (int)rng_below(&r->rng, KEYS));
    snprintf(value, sizeof value, "%u", ++r->writes);
    enum err err = rng_permille(&r->rng, 300) ? world_delete(r->w, i, key) : world_put(r->w, i, key, value);
    CHECK(err == OK || err == ERR_WALKING || err == ERR_CONFLICT);
}

static void start(struct run *r, int i)
{
    int others[WORLD_NODES_MAX], count = 0;
    for (int k = 0; k < r->nodes; k++)
        if (k != i)
            others[count++] = k;
    world_start(r->w, i, others, count);
    r->up[i] = true;
}

static void fault(struct run *r, bool losses)
{
    int a = (int)rng_below(&r->rng, (uint64_t)r->nodes), b = (int)rng_below(&r->rng, (uint64_t)r->nodes);
    switch (rng_below(&r->rng, 8)) {
    case 0:
    case 1:
        if (a != b)
            world_cut(r->w, a, b, true);
        break;
    case 2:
    case 3:
        world_cut(r->w, a, b, false);
        break;
    case 4:
        if (r->up[a]) {
            world_kill(r->w, a);
            r->up[a] = false;
        }
        break;
    case 5:
        if (!r->up[a])
            start(r, a);
        break;
    case 6:
        if (losses && r->up[a]) {
            world_save(r->w, a);
            r->saved[a] = true;
        }
        break;
    case 7:
        if (losses && r->saved[a] && rng_permille(&r->rng, 300)) {
            if (r->up[a])
                world_kill(r->w, a);
            world_restore(r->w, a, false);
            r->saved[a] = false;
            r->fell_back[a] = true;
            start(r, a);
        }
        break;
    }
}

static const char *judge(struct run *r)
{
    static char why[128];
    for (int i = 0; i < r->nodes; i++) {
        for (int k = 0; k < KEYS && !r->fell_back[i]; k++) {
            char key[32];
            snprintf(key, sizeof key, "o%d-%02d", i, k);
            for (int at = 0; at < r->nodes; at++) {
                const char *value = world_get(r->w, at, key);
                const struct owned *owned = &r->owned[i][k];
                if (owned->exists ? !value || strcmp(value, owned->value) != 0 : value != NULL) {
                    snprintf(why, sizeof why, "%s at node %d is %s, acknowledged was %s", key, at,
                             value ? value : "absent", owned->exists ? owned->value : "absent");
                    return why;
                }
            }
        }
    }
    return NULL;
}

/* NULL when all was well. */
static const char *run_world(uint64_t seed, uint64_t *ret_hash)
{
    struct run r = {0};
    rng_init(&r.rng, seed);
    bool forgets = seed % 3 == 0, losses = seed % 4 == 1;
    r.nodes = 2 + (int)rng_below(&r.rng, 3);
    r.w = world_new(&(struct world_options){
        .seed = seed,
        .delay_ms = 1 + (unsigned)rng_below(&r.rng, 30),
        .loss_permille = rng_permille(&r.rng, 300) ? 100 : 0,
        .history_ms = forgets ? 500 : 0,
        /* pruning past the others and losing a disk are not combined: who alone holds an
         * operation may lose it, and halves of it may stay */
        .forget_after_ms = forgets && !losses ? 5000 : 0,
    });
    for (int i = 0; i < r.nodes; i++)
        start(&r, i);
    unsigned steps = 50 + (unsigned)rng_below(&r.rng, 200);
    for (unsigned step = 0; step < steps; step++) {
        int i = (int)rng_below(&r.rng, (uint64_t)r.nodes);
        if (rng_permille(&r.rng, 600)) {
            if (r.up[i] && rng_permille(&r.rng, 500))
                write_owned(&r, i);
            else if (r.up[i])
                write_shared(&r, i);
        } else if (rng_permille(&r.rng, 400)) {
            fault(&r, losses);
        } else {
            world_run(r.w, rng_below(&r.rng, rng_permille(&r.rng, 100) ? 20000 : 500));
        }
    }
    for (int a = 0; a < r.nodes; a++) { /* faults off */
        for (int b = 0; b < r.nodes; b++)
            world_cut(r.w, a, b, false);
        if (!r.up[a])
            start(&r, a);
    }
    const char *why = NULL;
    world_run(r.w, 2000);
    if (!world_until(r.w, world_agrees, NULL, AGREE_MS))
        why = "the nodes do not agree after 60 s without faults";
    else
        why = judge(&r);
    *ret_hash = world_hash(r.w);
    world_free(r.w);
    return why;
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 200,
             first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + count; seed++) {
        uint64_t hash, again;
        const char *why = run_world(seed, &hash);
        if (!why && seed % 10 == 0) {
            why = run_world(seed, &again);
            if (!why && hash != again)
                why = "two runs of this seed differ";
        }
        if (why) {
            printf("seed %llu: %s\nreplay: WORLD_TRACE=1 %s 1 %llu\n", (unsigned long long)seed, why, argv[0],
                   (unsigned long long)seed);
            return 1;
        }
    }
    printf("%llu worlds agree\n", (unsigned long long)count);
    return count == 0;
}
