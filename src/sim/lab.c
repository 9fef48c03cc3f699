#include "lab.h"

#include "crowd.h"

#include <stdarg.h>
#include <stdio.h>

const struct lab lab_all[] = {
    {"load", "SWIM: load and first detection", lab_swim},
    {"lifeguard", "Lifeguard: false positives and detection", lab_lifeguard},
    {"serf", "Serf: how fast an event spreads", lab_serf},
    {"large", "Large tables", lab_large},
    {"idle", "Idle traffic", lab_idle},
    {"storm", "Storms", lab_storm},
};
_Static_assert(sizeof lab_all / sizeof *lab_all == LABS, "lab.h says how many");

enum { LINE_MAX_HERE = 1024 };

void lab_print(struct lab_report *r, const char *format, ...)
{
    char line[LINE_MAX_HERE];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    buf_put(&r->text, line, len < LINE_MAX_HERE ? (size_t)len : sizeof line - 1);
}

void lab_figures(struct lab_report *r)
{
    lab_print(r, "\n| | published | ours | must be | |\n|---|---|---|---|---|\n");
}

void lab_figure(struct lab_report *r, const char *what, const char *published, const char *ours,
                const char *must, bool met)
{
    lab_print(r, "| %s | %s | %s | %s | %s |\n", what, published, ours, must, met ? "met" : "**missed**");
    if (met)
        r->met++;
    else
        r->missed++;
}

void lab_ended(struct lab_report *r, const struct crowd *c, size_t members)
{
    const struct vnet *net = crowd_net(c);
    r->trace = (r->trace ^ vnet_trace(net)) * 0x9e3779b97f4a7c15u;
    r->simulated_ms += vnet_now(net);
    for (size_t i = 0; i < members; i++)
        r->packets += vnet_sent(net, (int)i).datagrams;
}

char *lab_text(char out[LAB_TEXT_MAX], double value, int decimals, const char *unit)
{
    snprintf(out, LAB_TEXT_MAX, "%.*f%s", decimals, value, unit);
    return out;
}
