/* Serf's convergence model, from its documentation: with a fanout of 3 and gossip
 * every 200 ms, 99.99 % of 1,000 members know an event after 2.15 s without loss,
 * and after 2.87 s when 25 % of the packets are lost. (A logistic curve, whose
 * constants the page gives; nobody says that it was measured.)
 *
 * Here: one cluster, `lan` profile (that fanout and interval), links of 1 ms. A
 * random member changes its meta at a random time, which is an event to all others;
 * then the next, when this one has died down. All members' waits of all runs go into
 * one pile, and its 99.99th percentile is the figure. Who has not heard of an event
 * when the next begins counts as never. Probes go on meanwhile and carry news, as
 * they do in a real cluster; push/pull, which the model does not know and which could
 * only help, is put off: at 25 % loss about e^-12 of all miss an event (16 copies per
 * member, of which 12 arrive), and would have it from the next exchange. */
#include "lab.h"

#include "crowd.h"
#include "mem.h"
#include "samples.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MEMBERS = 1000,
    RUNS = 100,
    SETTLE_MS = 20000,
    EVENT_MS = 4000, /* a rumour is over after some 3 s */
    NEVER_MS = 1000000,
    NO_PUSH_PULL_MS = 1000 * 1000 * 1000,
};

struct watch {
    size_t origin;
    uint64_t begun;
    bool running;
    size_t heard;
    struct samples *waits;
};

static void on_told(void *ctx, size_t node, uint64_t now, const struct swim_event *event)
{
    struct watch *w = ctx;
    if (!w->running || event->kind != SWIM_UPDATED || crowd_number(event->name) != w->origin)
        return;
    samples_add(w->waits, now - w->begun);
    w->heard++;
}

static void spread(const struct lab_params *params, struct lab_report *r, unsigned loss_permille,
                   struct samples *waits)
{
    size_t members = params->members ? params->members : MEMBERS;
    unsigned runs = params->runs ? params->runs : params->brief ? 8 : RUNS;
    struct watch watch = {.waits = waits};
    struct rng rng;
    struct swim_profile profile = swim_profile_lan;
    profile.push_pull_interval_ms = NO_PUSH_PULL_MS;
    rng_init(&rng, params->seed + loss_permille);
    struct crowd *c = crowd_new(&(struct crowd_config){.members = members,
                                                       .profile = &profile,
                                                       .seed = params->seed,
                                                       .no_compression = true,
                                                       .ctx = &watch,
                                                       .told = on_told});
    crowd_run(c, SETTLE_MS);
    vnet_links(crowd_net(c))->loss_permille = loss_permille;
    for (unsigned i = 0; i < runs; i++) {
        char meta[LAB_TEXT_MAX];
        crowd_run(c, rng_below(&rng, 1000));
        snprintf(meta, sizeof meta, "{\"Yzma\":1,\"Event\":%u}", i);
        watch.origin = rng_below(&rng, members);
        watch.begun = crowd_now(c);
        watch.heard = 0;
        watch.running = true;
        crowd_set_meta(c, watch.origin, bytes_str(meta));
        crowd_run(c, EVENT_MS);
        watch.running = false;
        for (; watch.heard < members - 1; watch.heard++)
            samples_add(waits, NEVER_MS);
    }
    lab_ended(r, c, members);
    crowd_free(c);
}

static char *wait_text(char out[LAB_TEXT_MAX], struct samples *waits, uint64_t per_100000)
{
    uint64_t wait = samples_at(waits, per_100000);
    if (wait < NEVER_MS)
        return lab_text(out, (double)wait / 1000, 3, " s");
    snprintf(out, LAB_TEXT_MAX, "never");
    return out;
}

void lab_serf(const struct lab_params *params, struct lab_report *r)
{
    static const struct {
        unsigned loss_permille;
        const char *what, *published, *must;
        uint64_t must_ms;
    } rows[] = {
        {0, "99.99 % know, without loss", "2.15 s", "1.3 s", 1300},
        {250, "99.99 % know, at 25 % loss", "2.87 s", "1.7 s", 1700},
    };
    static const uint64_t percentiles[] = {50000, 90000, 99000, 99900, 99990, 100000};
    struct samples waits[2] = {{0}, {0}};
    lab_print(r, "| loss | waits | median | 90 %% | 99 %% | 99.9 %% | 99.99 %% | last |\n"
                 "|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < 2; i++) {
        struct samples *w = &waits[i];
        spread(params, r, rows[i].loss_permille, w);
        lab_print(r, "| %u %% | %zu |", rows[i].loss_permille / 10, w->count);
        for (size_t p = 0; p < sizeof percentiles / sizeof *percentiles; p++) {
            char text[LAB_TEXT_MAX];
            lab_print(r, " %s |", wait_text(text, w, percentiles[p]));
        }
        lab_print(r, "\n");
    }
    lab_figures(r);
    for (size_t i = 0; i < 2; i++) {
        char ours[LAB_TEXT_MAX];
        uint64_t at = samples_at(&waits[i], 99990);
        lab_figure(r, rows[i].what, rows[i].published, lab_text(ours, (double)at / 1000, 2, " s"),
                   rows[i].must, at <= rows[i].must_ms);
        samples_done(&waits[i]);
    }
}
