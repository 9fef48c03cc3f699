/* SWIM: A. Das, I. Gupta, A. Motivala, "SWIM: Scalable Weakly-consistent
 * Infection-style Process Group Membership Protocol", DSN 2002.
 *
 * Published: about 2 messages per member and protocol period, flat in the size of the
 * group (measured up to 55 PCs), and a first detection after e/(e-1) = 1.58 periods
 * on average, whatever the size.
 *
 * Here: the `lan` profile, a period of 1 s, no loss, links of 1 ms.
 *  - Load: datagrams that an idle cluster sends. What goes over streams (push/pull
 *    is no part of SWIM) is a column of its own.
 *  - Detection: members are killed one after another, push/pull put off. The paper
 *    counts in whole periods, the one in which the first ping stays unanswered
 *    included; so do we. Its probe and ours fail at the end of that period, so that
 *    the first suspicion comes one period after that ping: the time from the death to
 *    it is a column of its own. */
#include "lab.h"

#include "crowd.h"
#include "samples.h"

#include <stdio.h>

enum {
    SETTLE_MS = 20000, /* every node's first news, its own, has died down */
    SIZES = 8,         /* of clusters */
    KILL_EVERY = 20,   /* one member of so many, at most, in one cluster */
    NO_PUSH_PULL_MS = 1000 * 1000 * 1000,
    SUSPECTED_MS = 200, /* after the last suspicion: nothing special about this value */
};

static const size_t sizes[SIZES] = {8, 16, 32, 64, 128, 256, 512, 1000};

struct watch {
    size_t victim; /* SIZE_MAX: none */
    uint64_t suspected_at;
};

static void on_told(void *ctx, size_t node, uint64_t now, const struct swim_event *event)
{
    struct watch *w = ctx;
    if (event->kind != SWIM_SUSPECTED || w->victim == SIZE_MAX || w->suspected_at != 0)
        return;
    if (crowd_number(event->name) == w->victim)
        w->suspected_at = now;
}

static struct crowd *settled(const struct swim_profile *profile, size_t members, uint64_t seed,
                             struct watch *watch)
{
    struct crowd *c = crowd_new(&(struct crowd_config){.members = members,
                                                       .profile = profile,
                                                       .seed = seed,
                                                       .no_compression = true,
                                                       .ctx = watch,
                                                       .told = on_told});
    watch->victim = SIZE_MAX;
    crowd_run(c, SETTLE_MS);
    return c;
}

/* Datagrams, and streams opened in thousandths, per member and period. */
static void measure_load(struct lab_report *r, size_t members, uint64_t seed, uint64_t periods,
                         double *ret_datagrams, double *ret_streams)
{
    struct watch watch;
    struct crowd *c = settled(&swim_profile_lan, members, seed, &watch);
    struct vnet_sent before = crowd_sent(c);
    crowd_run(c, periods * swim_profile_lan.probe_interval_ms);
    struct vnet_sent after = crowd_sent(c);
    double shares = (double)members * (double)periods;
    *ret_datagrams = (double)(after.datagrams - before.datagrams) / shares;
    *ret_streams = (double)(after.streams - before.streams) / shares;
    lab_ended(r, c, members);
    crowd_free(c);
}

static void kill_some(struct crowd *c, size_t members, size_t deaths, struct rng *rng, struct watch *watch,
                      struct samples *waits)
{
    const uint64_t period = swim_profile_lan.probe_interval_ms;
    for (size_t i = 0; i < deaths; i++) {
        crowd_run(c, rng_below(rng, period));
        do
            watch->victim = rng_below(rng, members);
        while (!crowd_swim(c, watch->victim));
        watch->suspected_at = 0;
        crowd_kill(c, watch->victim);
        uint64_t died = crowd_now(c);
        while (watch->suspected_at == 0)
            crowd_run(c, SUSPECTED_MS);
        samples_add(waits, watch->suspected_at - died);
    }
}

/* Waits until the first suspicion, in ms. */
static void measure_detection(struct lab_report *r, size_t members, uint64_t seed, size_t deaths,
                              struct samples *waits)
{
    struct rng rng;
    struct swim_profile profile = swim_profile_lan;
    profile.push_pull_interval_ms = NO_PUSH_PULL_MS;
    rng_init(&rng, seed);
    size_t at_once = members / KILL_EVERY + 1;
    for (size_t done = 0; done < deaths; done += at_once) {
        struct watch watch;
        struct crowd *c = settled(&profile, members, seed + done, &watch);
        kill_some(c, members, at_once, &rng, &watch, waits);
        lab_ended(r, c, members);
        crowd_free(c);
    }
}

/* In whole periods, the one of the unanswered ping included. */
static double mean_periods(const struct samples *waits)
{
    const uint64_t period = swim_profile_lan.probe_interval_ms;
    uint64_t sum = 0;
    for (size_t i = 0; i < waits->count; i++) {
        uint64_t until_ping = waits->list[i] > period ? waits->list[i] - period : 0;
        sum += until_ping / period + 1;
    }
    return (double)sum / (double)waits->count;
}

void lab_swim(const struct lab_params *params, struct lab_report *r)
{
    size_t largest = params->members ? params->members : params->brief ? 64 : 1000;
    size_t deaths = params->runs ? params->runs : params->brief ? 40 : 400;
    double least = 1e9, most = 0, fastest = 1e9, slowest = 0;
    lab_print(r, "| members | datagrams | streams opened | periods until a ping is unanswered | seconds "
                 "until the first suspicion: mean | 99 %% |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < SIZES && sizes[i] <= largest; i++) {
        struct samples waits = {0};
        double datagrams, streams;
        measure_load(r, sizes[i], params->seed + i, params->brief ? 30 : 60, &datagrams, &streams);
        measure_detection(r, sizes[i], params->seed + 1000 * i, deaths, &waits);
        double periods = mean_periods(&waits);
        lab_print(r, "| %zu | %.3f | %.4f | %.2f | %.2f | %.2f |\n", sizes[i], datagrams, streams, periods,
                  samples_mean(&waits) / 1000, (double)samples_at(&waits, 99000) / 1000);
        least = datagrams < least ? datagrams : least;
        most = datagrams > most ? datagrams : most;
        fastest = periods < fastest ? periods : fastest;
        slowest = periods > slowest ? periods : slowest;
        samples_done(&waits);
    }
    /* The standard error of a mean of n such waits is about 1 / sqrt(n). */
    double wide = params->brief ? 0.6 : 0.15;
    char a[LAB_TEXT_MAX], b[LAB_TEXT_MAX], text[2 * LAB_TEXT_MAX];
    lab_figures(r);
    snprintf(text, sizeof text, "%s to %s", lab_text(a, least, 3, ""), lab_text(b, most, 3, ""));
    lab_figure(r, "messages per member and period", "about 2, flat", text, "1.9 to 2.1",
               least > 1.9 && most < 2.1);
    snprintf(text, sizeof text, "%s to %s", lab_text(a, fastest, 2, ""), lab_text(b, slowest, 2, ""));
    lab_figure(r, "mean first detection, in periods", "1.58", text,
               params->brief ? "1.58 ± 0.6" : "1.58 ± 0.15", fastest > 1.58 - wide && slowest < 1.58 + wide);
}
