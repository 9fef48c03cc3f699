/* Experiments that were published about membership, done again with our code on a
 * virtual network. Each is told in its file: what was published and how, what is
 * the same here and what is not, and what must come out.
 *
 * An experiment writes Markdown, and is a function of its parameters alone. */
#ifndef YZMA_SIM_LAB_H
#define YZMA_SIM_LAB_H

#include "buf.h"
#include "vnet.h"

struct lab_params {
    bool brief;               /* seconds instead of minutes, with bounds as wide as few samples ask for */
    size_t members;           /* 0: as published */
    unsigned runs;            /* 0: as the experiment thinks right */
    uint64_t seed;            /* of all chance in it */
    uint64_t (*memory)(void); /* bytes allocated now; NULL: not measured */
};

struct lab_report {
    struct buf text;
    unsigned met, missed;
    uint64_t trace;                 /* a digest of all that happened */
    uint64_t simulated_ms, packets; /* of all its networks together */
};

struct lab {
    const char *name, *title;
    void (*run)(const struct lab_params *params, struct lab_report *report);
};

extern const struct lab lab_all[];
enum { LABS = 6 };

/* Appends Markdown. */
void lab_print(struct lab_report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Begins a table of figures: what, published, ours, must, and whether it is. */
void lab_figures(struct lab_report *r);
void lab_figure(struct lab_report *r, const char *what, const char *published, const char *ours,
                const char *must, bool met);
/* Adds to the trace and the sums what a network has seen, before it is freed. */
struct crowd;
void lab_ended(struct lab_report *r, const struct crowd *c, size_t members);

enum { LAB_TEXT_MAX = 64 };
/* "12.34 s", for lab_figure. */
char *lab_text(char out[LAB_TEXT_MAX], double value, int decimals, const char *unit);

void lab_swim(const struct lab_params *params, struct lab_report *report);
void lab_lifeguard(const struct lab_params *params, struct lab_report *report);
void lab_serf(const struct lab_params *params, struct lab_report *report);
void lab_large(const struct lab_params *params, struct lab_report *report);
void lab_idle(const struct lab_params *params, struct lab_report *report);
void lab_storm(const struct lab_params *params, struct lab_report *report);

#endif
