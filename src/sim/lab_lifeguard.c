/* Lifeguard: A. Dadgar, J. Phillips, J. Currey, "Lifeguard: Local Health Awareness
 * for More Accurate Failure Detection", arXiv 1707.00788.
 *
 * Published: 128 agents on one machine; blocks of C members stand still for D, again
 * and again with pauses of I between; C 1 to 32, D 0.128 to 32.8 s, I 1 ms to 16.4 s;
 * ten runs of each. A false positive is an event that declares someone dead who was
 * not one of the C; "at healthy members" are those told by who was not one either.
 *
 * Here the same with our code, and with our code without any of the three parts,
 * which is SWIM: 15 s of peace, 120 s of such cycles, 30 s to see what is still to
 * come. A member that stands still is a stopped process (vnet.h): when it goes on,
 * its timers act before it has read what waits for it. That is the harder of the two
 * orders, and near the paper's, where timers ran on while sends and receives hung.
 *
 * Detection is a run of its own: the C stand still once, for 32.768 s; of each the
 * time until the first healthy member, and until all of them, hold it for dead. */
#include "lab.h"

#include "check.h"
#include "crowd.h"
#include "samples.h"

#include <stdio.h>

enum {
    MEMBERS = 128,
    SETTLE_MS = 15000,
    CYCLES_MS = 120000,
    AFTER_MS = 30000,
    LONG_MS = 32768,
    SIZES = 6,
    LENGTHS = 6,
    GAPS = 8,
    VARIANTS = 6,
};

static const size_t sizes[SIZES] = {1, 4, 8, 16, 24, 32};
static const uint64_t lengths[LENGTHS] = {128, 512, 2048, 8192, 16384, 32768};
static const uint64_t gaps[GAPS] = {1, 4, 16, 64, 256, 1024, 4096, 16384};

struct variant {
    const char *name;
    unsigned alpha;
    bool no_health, no_shrinking, no_buddy;
    bool in_brief;
    const char *published, *published_healthy, *published_median;
};

static const struct variant variants[VARIANTS] = {
    {"SWIM", 5, true, true, true, true, "100", "100", "12.44 s"},
    {"Lifeguard", 5, false, false, false, true, "1.53", "1.89", "12.45 s"},
    {"Lifeguard, alpha 4 (shipped)", 4, false, false, false, true, "3.18", "4.83", "83.1 %"},
    {"+ LHA-Probe", 5, false, true, true, false, "67.72", "32.88", "12.42 s"},
    {"+ LHA-Suspicion", 5, true, false, true, false, "3.00", "6.71", "12.42 s"},
    {"+ Buddy", 5, true, true, false, false, "94.08", "44.57", "12.45 s"},
};

struct result {
    uint64_t false_positives, healthy;
    uint64_t runs;
    double datagrams, bytes;
    struct samples first, everywhere;
};

/* --- one run --- */

struct run {
    struct crowd *crowd;
    size_t members;
    bool blocked[MEMBERS]; /* one of the C */
    uint64_t since;        /* of the pause whose detection is timed; 0: none */
    size_t seen[MEMBERS];  /* healthy members that hold it for dead */
    size_t healthy;
    struct result *result;
};

static void on_told(void *ctx, size_t node, uint64_t now, const struct swim_event *event)
{
    struct run *run = ctx;
    if (event->kind != SWIM_DEAD)
        return;
    size_t about = crowd_number(event->name);
    if (!run->blocked[about]) {
        run->result->false_positives++;
        run->result->healthy += !run->blocked[node];
    } else if (run->since > 0 && !run->blocked[node]) {
        run->seen[about]++;
        if (run->seen[about] == 1)
            samples_add(&run->result->first, now - run->since);
        if (run->seen[about] == run->healthy)
            samples_add(&run->result->everywhere, now - run->since);
    }
}

static void choose_blocked(struct run *run, size_t count, struct rng *rng)
{
    for (size_t chosen = 0; chosen < count;) {
        size_t member = rng_below(rng, run->members);
        chosen += !run->blocked[member];
        run->blocked[member] = true;
    }
    run->healthy = run->members - count;
}

static void begin(struct run *run, const struct variant *v, struct swim_profile *profile, size_t members,
                  size_t count, uint64_t seed, struct result *result)
{
    struct rng rng;
    rng_init(&rng, seed);
    *profile = swim_profile_lan;
    profile->suspicion_mult = v->alpha;
    profile->suspicion_max_timeout_mult = 6;
    profile->no_local_health = v->no_health;
    profile->no_shrinking_suspicions = v->no_shrinking;
    profile->no_buddy = v->no_buddy;
    *run = (struct run){.members = members, .result = result};
    choose_blocked(run, count, &rng);
    run->crowd = crowd_new(&(struct crowd_config){.members = members,
                                                  .profile = profile,
                                                  .seed = seed,
                                                  .no_compression = true,
                                                  .ctx = run,
                                                  .told = on_told});
    crowd_run(run->crowd, SETTLE_MS + rng_below(&rng, 1000));
}

static void block(struct run *run, bool blocked)
{
    for (size_t i = 0; i < run->members; i++) {
        if (!run->blocked[i])
            continue;
        if (blocked)
            vnet_pause(crowd_net(run->crowd), (int)i);
        else
            vnet_resume(crowd_net(run->crowd), (int)i);
    }
}

static void finish(struct run *run, struct lab_report *r)
{
    struct vnet_sent sent = crowd_sent(run->crowd);
    run->result->datagrams += (double)sent.datagrams;
    run->result->bytes += (double)(sent.datagram_bytes + sent.stream_bytes);
    run->result->runs++;
    lab_ended(r, run->crowd, run->members);
    crowd_free(run->crowd);
}

static void run_cycles(struct lab_report *r, const struct variant *v, size_t members, size_t count,
                       uint64_t length, uint64_t gap, uint64_t seed, struct result *result)
{
    struct run run;
    struct swim_profile profile;
    begin(&run, v, &profile, members, count, seed, result);
    for (uint64_t end = crowd_now(run.crowd) + CYCLES_MS; crowd_now(run.crowd) < end;) {
        block(&run, true);
        crowd_run(run.crowd, length);
        block(&run, false);
        crowd_run(run.crowd, gap);
    }
    crowd_run(run.crowd, AFTER_MS);
    finish(&run, r);
}

static void run_detection(struct lab_report *r, const struct variant *v, size_t members, size_t count,
                          uint64_t seed, struct result *result)
{
    struct run run;
    struct swim_profile profile;
    struct result own = {.first = result->first, .everywhere = result->everywhere};
    begin(&run, v, &profile, members, count, seed, &own);
    run.since = crowd_now(run.crowd);
    block(&run, true);
    crowd_run(run.crowd, LONG_MS);
    finish(&run, r);
    result->first = own.first;
    result->everywhere = own.everywhere;
}

/* --- all runs of a variant --- */

static void run_variant(const struct lab_params *params, struct lab_report *r, const struct variant *v,
                        size_t members, struct result *result)
{
    unsigned runs = params->runs ? params->runs : 1;
    size_t size_step = params->brief ? 5 : 1, gap_step = params->brief ? 7 : 1;
    size_t first_length = params->brief ? LENGTHS - 1 : 0;
    uint64_t seed = params->seed * 1000;
    for (unsigned n = 0; n < runs; n++)
        for (size_t c = 0; c < SIZES; c += size_step)
            for (size_t d = first_length; d < LENGTHS; d++)
                for (size_t i = 0; i < GAPS; i += gap_step)
                    if (sizes[c] < members)
                        run_cycles(r, v, members, sizes[c], lengths[d], gaps[i], seed++, result);
    for (unsigned n = 0; n < (params->brief ? 1 : 4 * runs); n++)
        for (size_t c = 0; c < SIZES; c += size_step)
            if (sizes[c] < members)
                run_detection(r, v, members, sizes[c], seed++, result);
}

static double percent(double part, double whole)
{
    return whole > 0 ? part * 100 / whole : 0;
}

static void print_variant(struct lab_report *r, const struct variant *v, struct result *own,
                          const struct result *swim)
{
    lab_print(r, "| %s | %llu | %llu | %.2f | %s | %.2f | %s | %.2f / %.2f / %.2f | %.2f / %.2f | %.2f |\n",
              v->name, (unsigned long long)own->false_positives, (unsigned long long)own->healthy,
              percent((double)own->false_positives, (double)swim->false_positives), v->published,
              percent((double)own->healthy, (double)swim->healthy), v->published_healthy,
              (double)samples_at(&own->first, 50000) / 1000, (double)samples_at(&own->first, 99000) / 1000,
              (double)samples_at(&own->first, 99900) / 1000,
              (double)samples_at(&own->everywhere, 50000) / 1000,
              (double)samples_at(&own->everywhere, 99000) / 1000, own->datagrams / 1e6);
}

static void print_figures(struct lab_report *r, struct result *results)
{
    char ours[LAB_TEXT_MAX];
    struct result *swim = &results[0], *five = &results[1], *four = &results[2];
    double all = percent((double)five->false_positives, (double)swim->false_positives);
    double healthy = percent((double)five->healthy, (double)swim->healthy);
    double median = (double)samples_at(&swim->first, 50000);
    double detection = percent((double)samples_at(&five->first, 50000), median);
    double shipped = percent((double)four->false_positives, (double)swim->false_positives);
    double shipped_detection = percent((double)samples_at(&four->first, 50000), median);
    lab_figures(r);
    lab_figure(r, "false positives, alpha 5, of SWIM's", "1.53 %", lab_text(ours, all, 2, " %"),
               "at most 2 %", swim->false_positives > 0 && all <= 2);
    lab_figure(r, "the same at healthy members", "1.89 %", lab_text(ours, healthy, 2, " %"), "at most 2 %",
               healthy <= 2);
    lab_figure(r, "median of first detection, alpha 5, of SWIM's", "100 %",
               lab_text(ours, detection, 1, " %"), "95 to 105 %", detection >= 95 && detection <= 105);
    lab_figure(r, "false positives, alpha 4, of SWIM's", "3.18 %", lab_text(ours, shipped, 2, " %"),
               "at most 4 %", shipped <= 4);
    lab_figure(r, "median of first detection, alpha 4, of SWIM's", "83.1 %",
               lab_text(ours, shipped_detection, 1, " %"), "78 to 88 %",
               shipped_detection >= 78 && shipped_detection <= 88);
}

void lab_lifeguard(const struct lab_params *params, struct lab_report *r)
{
    struct result results[VARIANTS] = {{0}};
    size_t members = params->members ? params->members : MEMBERS;
    CHECK(members <= MEMBERS);
    lab_print(r, "| | false positives | at healthy members | of SWIM, %% | published | healthy, of SWIM, %% "
                 "| published | first detection, s: median / 99 %% / 99.9 %% | everywhere: median / 99 %% "
                 "| datagrams, M |\n|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < VARIANTS; i++) {
        if (params->brief && !variants[i].in_brief)
            continue;
        run_variant(params, r, &variants[i], members, &results[i]);
        print_variant(r, &variants[i], &results[i], &results[0]);
    }
    print_figures(r, results);
    for (size_t i = 0; i < VARIANTS; i++) {
        samples_done(&results[i].first);
        samples_done(&results[i].everywhere);
    }
}
