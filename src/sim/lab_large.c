/* Large tables. Users of memberlist reported push/pulls of 10,000 members that used
 * up to 7 GB: each exchange holds both tables, several times over, and nothing bounds
 * how many go on at once.
 *
 * Here: a cluster of 5,000, some of them whole nodes (in one process, whose memory
 * bounds how many), the others stand-ins that answer pings and exchanges; streams of
 * 1 Gbit/s each. Measured every ms, with malloc's own accounts: what a node holds;
 * what one exchange adds at its peak, at both ends and on the way; and what it adds
 * when all whole nodes ask one node at the same time. That node bounds its part: by
 * SWIM_EXCHANGES_MAX at once, and SWIM_STREAMS_BYTES_MAX of what comes in. The others'
 * part is one table each, and the answers'. */
#include "lab.h"

#include "crowd.h"

enum {
    MEMBERS = 5000,
    WHOLE = 400,
    SETTLE_MS = 20000,
    RUN_MS = 60000,
    EXCHANGE_MS = 2000,
    GBIT = 125000, /* bytes per ms */
    MIB = 1 << 20,
};

static uint64_t memory_of(const struct lab_params *params)
{
    return params->memory ? params->memory() : 0;
}

struct peak {
    uint64_t memory;    /* of the whole process, above what it was */
    size_t streams, in; /* at node 0: how many at once, and bytes of what came */
};

static struct peak peak_of(struct crowd *c, const struct lab_params *params, uint64_t before)
{
    struct peak peak = {0};
    const struct swim *s = crowd_swim(c, 0);
    for (uint64_t i = 0; i < EXCHANGE_MS; i++) {
        uint64_t memory = memory_of(params);
        if (memory > before + peak.memory)
            peak.memory = memory - before;
        size_t in, streams = swim_streams(s, &in);
        if (streams > peak.streams)
            peak.streams = streams;
        if (in > peak.in)
            peak.in = in;
        crowd_run(c, 1);
    }
    return peak;
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
    vnet_links(crowd_net(c))->stream_rate = GBIT;
    crowd_run(c, SETTLE_MS);
    struct vnet_sent before = crowd_sent(c);
    crowd_run(c, RUN_MS);
    struct vnet_sent after = crowd_sent(c);
    uint64_t exchanges = 0;
    for (size_t i = 0; i < whole; i++)
        exchanges += crowd_counter(c, i, "swim_exchanges");

    uint64_t rest = memory_of(params);
    crowd_join(c, 1, 0);
    struct peak one = peak_of(c, params, rest);
    uint64_t refused = crowd_counter(c, 0, "swim_streams_refused");
    uint64_t done = crowd_counter(c, 0, "swim_exchanges");
    for (size_t i = 1; i < whole; i++)
        crowd_join(c, i, 0);
    struct peak herd = peak_of(c, params, rest);
    refused = crowd_counter(c, 0, "swim_streams_refused") - refused;
    done = crowd_counter(c, 0, "swim_exchanges") - done;

    double per_node = params->memory ? (double)(formed - empty) / (double)whole : 0;
    double tables = (double)(after.stream_bytes - before.stream_bytes);
    double streams = (double)(after.streams - before.streams);
    lab_print(r,
              "| members | of these whole | memory of a node | per member known | exchanges in %d s | a "
              "table on the wire | one exchange adds |\n|---|---|---|---|---|---|---|\n",
              (SETTLE_MS + RUN_MS) / 1000);
    lab_print(r, "| %zu | %zu | %.2f MiB | %.0f B | %llu | %.2f MiB | %.2f MiB |\n\n", members, whole,
              per_node / MIB, per_node / (double)members, (unsigned long long)exchanges,
              streams > 0 ? tables / streams / 2 / MIB : 0, (double)one.memory / MIB);
    lab_print(r, "| ask one node at once | answered | refused | its streams at once | its input | all nodes' "
                 "memory together rises by |\n|---|---|---|---|---|---|\n");
    lab_print(r, "| %zu | %llu | %llu | %zu | %.2f MiB | %.1f MiB |\n", whole - 1, (unsigned long long)done,
              (unsigned long long)refused, herd.streams, (double)herd.in / MIB, (double)herd.memory / MIB);

    char ours[LAB_TEXT_MAX];
    lab_figures(r);
    if (params->memory) {
        lab_figure(r, "memory of a node", "none", lab_text(ours, per_node / MIB, 2, " MiB"), "at most 4 MiB",
                   per_node / MIB <= 4);
        lab_figure(r, "one exchange adds, both ends together", "GBs, unbounded",
                   lab_text(ours, (double)one.memory / MIB, 2, " MiB"), "at most 8 MiB",
                   (double)one.memory / MIB <= 8);
    }
    lab_figure(r, "input of a node that all ask at once", "unbounded",
               lab_text(ours, (double)herd.in / MIB, 2, " MiB"), "at most 64 MiB",
               herd.in <= SWIM_STREAMS_BYTES_MAX);
    lab_figure(r, "exchanges of one node at once", "unbounded", lab_text(ours, (double)herd.streams, 0, ""),
               "at most 128, and its own", herd.streams <= 2 * SWIM_EXCHANGES_MAX);
    lab_ended(r, c, members);
    crowd_free(c);
}
