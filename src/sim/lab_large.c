/* Large tables. Users of memberlist reported push/pulls of 10,000 members that used
 * up to 7 GB: each exchange holds both tables, several times over, and nothing bounds
 * how many go on at once.
 *
 * Here: a cluster of 5,000, some of them whole nodes (in one process, whose memory
 * bounds how many), the others stand-ins that answer pings and exchanges. Measured,
 * with malloc's own accounts: what a node holds; what one exchange adds at its peak,
 * at both ends and on the way; and what it adds when all whole nodes ask one node at
 * the same time, which that node bounds (SWIM_EXCHANGES_MAX at once, and
 * SWIM_STREAMS_BYTES_MAX of what comes in). */
#include "lab.h"

#include "crowd.h"
#include "swim_state.h"

enum {
    MEMBERS = 5000,
    WHOLE = 400,
    SETTLE_MS = 20000,
    RUN_MS = 60000,
    EXCHANGE_MS = 2000,
    MIB = 1 << 20,
};

static uint64_t memory_of(const struct lab_params *params)
{
    return params->memory ? params->memory() : 0;
}

/* What memory rises to, above now, while this much time passes. */
static uint64_t peak(struct crowd *c, const struct lab_params *params, uint64_t before, uint64_t ms)
{
    uint64_t highest = before;
    for (uint64_t i = 0; i < ms; i++) {
        uint64_t memory = memory_of(params);
        highest = memory > highest ? memory : highest;
        crowd_run(c, 1);
    }
    return highest - before;
}

void lab_large(const struct lab_params *params, struct lab_report *r)
{
    size_t members = params->members ? params->members : params->brief ? 1000 : MEMBERS;
    size_t whole = params->runs ? params->runs : params->brief ? 40 : WHOLE;
    if (whole > members)
        whole = members;
    uint64_t empty = memory_of(params);
    struct crowd *c = crowd_new(&(struct crowd_config){
        .members = members, .whole = whole, .profile = &swim_profile_lan, .seed = params->seed});
    uint64_t formed = memory_of(params);
    crowd_run(c, SETTLE_MS);
    struct vnet_sent before = crowd_sent(c);
    crowd_run(c, RUN_MS);
    struct vnet_sent after = crowd_sent(c);
    uint64_t exchanges = 0;
    for (size_t i = 0; i < whole; i++)
        exchanges += crowd_counter(c, i, "swim_exchanges");

    uint64_t rest = memory_of(params);
    uint64_t refused = crowd_counter(c, 0, "swim_streams_refused");
    uint64_t done = crowd_counter(c, 0, "swim_exchanges");
    crowd_join(c, 1, 0);
    uint64_t one = peak(c, params, rest, EXCHANGE_MS);
    for (size_t i = 1; i < whole; i++)
        crowd_join(c, i, 0);
    uint64_t herd = peak(c, params, rest, EXCHANGE_MS);
    refused = crowd_counter(c, 0, "swim_streams_refused") - refused;
    done = crowd_counter(c, 0, "swim_exchanges") - done;

    double per_node = params->memory ? (double)(formed - empty) / (double)whole : 0;
    double tables = (double)(after.stream_bytes - before.stream_bytes);
    lab_print(r,
              "| members | whole | memory per node, at rest | per member known | exchanges in %d s | one "
              "table on the wire | one exchange adds | %zu at once add | of these answered | refused |\n"
              "|---|---|---|---|---|---|---|---|---|---|\n",
              (SETTLE_MS + RUN_MS) / 1000, whole - 1);
    double streams = (double)(after.streams - before.streams);
    lab_print(r, "| %zu | %zu | %.2f MiB | %.0f B | %llu | %.2f MiB | %.2f MiB | %.1f MiB | %llu | %llu |\n",
              members, whole, per_node / MIB, per_node / (double)members, (unsigned long long)exchanges,
              streams > 0 ? tables / streams / 2 / MIB : 0, (double)one / MIB, (double)herd / MIB,
              (unsigned long long)done, (unsigned long long)refused);

    char ours[LAB_TEXT_MAX];
    double bound = (double)SWIM_STREAMS_BYTES_MAX / MIB;
    lab_figures(r);
    if (params->memory) {
        lab_figure(r, "memory of a node", "none", lab_text(ours, per_node / MIB, 2, " MiB"), "at most 4 MiB",
                   per_node / MIB <= 4);
        lab_figure(r, "one exchange adds, both ends", "GBs, all together",
                   lab_text(ours, (double)one / MIB, 2, " MiB"), "at most 16 MiB", (double)one / MIB <= 16);
    }
    lab_figure(r, "exchanges of one node at once", "unbounded", lab_text(ours, (double)done, 0, ""),
               "at most 128, the others refused",
               done <= SWIM_EXCHANGES_MAX + 2 && done + refused >= whole - 1);
    (void)bound;
    lab_ended(r, c, members);
    crowd_free(c);
}
