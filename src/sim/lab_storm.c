/* A storm: everything that the network can do at once, and then calm. Not published
 * by anyone; it is what the others leave out.
 *
 * First half, five minutes: every few seconds another loss (up to 30 %), other
 * one-way cuts (a tenth of all directions), another few members that stand still (up
 * to 20 s). A twentieth of the datagrams comes twice, a tenth up to 2 s late, and
 * every clock has a rate of its own, up to a tenth off. Nothing may break: no CHECK
 * fails, and nobody ever believes in an incarnation that its subject did not have.
 *
 * Second half: no faults but the clocks. Within a minute all must hold all for alive. */
#include "lab.h"

#include "crowd.h"
#include "samples.h"

enum {
    MEMBERS = 24,
    STORMS = 50,
    SETTLE_MS = 5000,
    STORM_MS = 300000,
    GUST_MS = 10000, /* at most, between two changes */
    STILL_MS = 20000,
    CALM_MS = 60000,
    LOOK_MS = 100,
    NEVER_MS = 1000000,
};

struct storm {
    struct crowd *crowd;
    size_t members;
    struct rng rng;
    uint64_t wakes[MEMBERS]; /* when it goes on again; 0: it runs */
    uint64_t deaths, impossible;
};

static void on_told(void *ctx, size_t node, uint64_t now, const struct swim_event *event)
{
    struct storm *storm = ctx;
    storm->deaths += event->kind == SWIM_DEAD;
}

static void change_links(struct storm *storm)
{
    struct vnet *net = crowd_net(storm->crowd);
    unsigned loss = (unsigned)rng_below(&storm->rng, 301);
    for (size_t from = 0; from < storm->members; from++)
        for (size_t to = 0; to < storm->members; to++)
            *vnet_link(net, (int)from, (int)to) = (struct vnet_link){.cut = rng_permille(&storm->rng, 100),
                                                                     .loss_permille = loss,
                                                                     .delay_min = 1,
                                                                     .delay_max = 100,
                                                                     .double_permille = 50,
                                                                     .late_permille = 100,
                                                                     .late_max = 2000};
}

static void stop_some(struct storm *storm)
{
    for (size_t left = rng_below(&storm->rng, 4); left > 0; left--) {
        size_t member = rng_below(&storm->rng, storm->members);
        if (storm->wakes[member] > 0)
            continue;
        vnet_pause(crowd_net(storm->crowd), (int)member);
        storm->wakes[member] = crowd_now(storm->crowd) + 1 + rng_below(&storm->rng, STILL_MS);
    }
}

static void wake_some(struct storm *storm, bool all)
{
    for (size_t i = 0; i < storm->members; i++) {
        if (storm->wakes[i] == 0 || (!all && crowd_now(storm->crowd) < storm->wakes[i]))
            continue;
        vnet_resume(crowd_net(storm->crowd), (int)i);
        storm->wakes[i] = 0;
    }
}

/* How many pairs do not agree that the one is alive; counts impossible beliefs. */
static size_t look(struct storm *storm)
{
    size_t doubts = 0;
    for (size_t i = 0; i < storm->members; i++) {
        const struct swim *s = crowd_swim(storm->crowd, i);
        doubts += storm->members - swim_count(s);
        for (size_t at = 1; at < swim_count(s); at++) {
            struct swim_member member = swim_at(s, at);
            const struct swim *subject = crowd_swim(storm->crowd, crowd_number(member.name));
            doubts += member.state != MEMBER_ALIVE;
            storm->impossible += member.incarnation > swim_incarnation(subject);
        }
    }
    return doubts;
}

static void blow(struct storm *storm)
{
    uint64_t end = crowd_now(storm->crowd) + STORM_MS, next = 0;
    while (crowd_now(storm->crowd) < end) {
        if (crowd_now(storm->crowd) >= next) {
            change_links(storm);
            stop_some(storm);
            next = crowd_now(storm->crowd) + 1 + rng_below(&storm->rng, GUST_MS);
        }
        wake_some(storm, false);
        crowd_run(storm->crowd, LOOK_MS);
        look(storm);
    }
}

/* Returns the time until all agree. */
static uint64_t calm(struct storm *storm)
{
    struct vnet *net = crowd_net(storm->crowd);
    uint64_t begun = crowd_now(storm->crowd);
    for (size_t from = 0; from < storm->members; from++)
        for (size_t to = 0; to < storm->members; to++)
            *vnet_link(net, (int)from, (int)to) = (struct vnet_link){.delay_min = 1, .delay_max = 1};
    wake_some(storm, true);
    while (look(storm) > 0) {
        if (crowd_now(storm->crowd) - begun > 3 * CALM_MS)
            return NEVER_MS;
        crowd_run(storm->crowd, LOOK_MS);
    }
    return crowd_now(storm->crowd) - begun;
}

void lab_storm(const struct lab_params *params, struct lab_report *r)
{
    unsigned runs = params->runs ? params->runs : params->brief ? 5 : STORMS;
    struct samples healed = {0};
    uint64_t deaths = 0, impossible = 0, worst_seed = 0, worst = 0;
    for (unsigned i = 0; i < runs; i++) {
        struct storm storm = {.members = MEMBERS};
        if (params->members > 0 && params->members < MEMBERS)
            storm.members = params->members;
        rng_init(&storm.rng, params->seed + i);
        storm.crowd = crowd_new(&(struct crowd_config){.members = storm.members,
                                                       .profile = &swim_profile_lan,
                                                       .seed = params->seed + i,
                                                       .ctx = &storm,
                                                       .told = on_told});
        for (size_t m = 0; m < storm.members; m++)
            vnet_clock_rate(crowd_net(storm.crowd), (int)m, 900000 + rng_below(&storm.rng, 200001));
        crowd_run(storm.crowd, SETTLE_MS);
        blow(&storm);
        uint64_t took = calm(&storm);
        samples_add(&healed, took);
        if (took >= worst) {
            worst = took;
            worst_seed = params->seed + i;
        }
        deaths += storm.deaths;
        impossible += storm.impossible;
        lab_ended(r, storm.crowd, storm.members);
        crowd_free(storm.crowd);
    }
    lab_print(r,
              "| storms | declared dead in them | until all agree again: median | 90 %% | last | its seed |\n"
              "|---|---|---|---|---|---|\n| %u | %llu | %.1f s | %.1f s | %.1f s | %llu |\n",
              runs, (unsigned long long)deaths, (double)samples_at(&healed, 50000) / 1000,
              (double)samples_at(&healed, 90000) / 1000, (double)samples_at(&healed, 100000) / 1000,
              (unsigned long long)worst_seed);
    char ours[LAB_TEXT_MAX];
    lab_figures(r);
    lab_figure(r, "all agree after a storm, the last", "none", lab_text(ours, (double)worst / 1000, 1, " s"),
               "60 s", worst <= CALM_MS);
    lab_figure(r, "beliefs in what never was", "none", lab_text(ours, (double)impossible, 0, ""), "0",
               impossible == 0);
    samples_done(&healed);
}
