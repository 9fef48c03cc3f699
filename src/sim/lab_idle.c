/* Idle traffic: what a node of 16 sends when nothing happens, UDP and TCP payload,
 * push/pull included; the mean of five minutes after one that is not counted. Not
 * published by anyone; memberlist's users complain of it. `lan` profile, packets
 * compressed as in the daemon, names and metas as long as there. */
#include "lab.h"

#include "crowd.h"

enum { MEMBERS = 16, SETTLE_MS = 60000, MEASURE_MS = 300000 };

void lab_idle(const struct lab_params *params, struct lab_report *r)
{
    size_t members = params->members ? params->members : MEMBERS;
    struct crowd *c = crowd_new(
        &(struct crowd_config){.members = members, .profile = &swim_profile_lan, .seed = params->seed});
    crowd_run(c, SETTLE_MS);
    struct vnet_sent before = crowd_sent(c);
    crowd_run(c, MEASURE_MS);
    struct vnet_sent after = crowd_sent(c);
    lab_ended(r, c, members);
    crowd_free(c);

    double per_node = (double)members * MEASURE_MS / 8; /* bytes to kbit/s: bits a ms */
    double udp = (double)(after.datagram_bytes - before.datagram_bytes) / per_node;
    double tcp = (double)(after.stream_bytes - before.stream_bytes) / per_node;
    lab_print(
        r,
        "| members | UDP | TCP | datagrams a second | streams opened a minute |\n|---|---|---|---|---|\n"
        "| %zu | %.2f kbit/s | %.2f kbit/s | %.2f | %.2f |\n",
        members, udp, tcp,
        (double)(after.datagrams - before.datagrams) * 1000 / ((double)members * MEASURE_MS),
        (double)(after.streams - before.streams) * 60000 / ((double)members * MEASURE_MS));
    char ours[LAB_TEXT_MAX];
    lab_figures(r);
    lab_figure(r, "payload sent per node", "none", lab_text(ours, udp + tcp, 2, " kbit/s"), "5 kbit/s",
               udp + tcp < 5);
}
