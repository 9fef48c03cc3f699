/* What the defaults take from the machine that the node runs on. */
#ifndef YZMA_APP_MACHINE_H
#define YZMA_APP_MACHINE_H

#include <stddef.h>

enum { MACHINE_TEXT_MAX = 256 };

struct machine {
    char host_name[MACHINE_TEXT_MAX];
    char address4[MACHINE_TEXT_MAX]; /* the first private one, else the first, else loopback */
    char address6[MACHINE_TEXT_MAX];
    unsigned cores; /* that this process may use */
};

void machine_describe(struct machine *ret);

#endif
