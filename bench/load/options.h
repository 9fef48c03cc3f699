/* What the generator is told on its command line. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "protocol.h"

struct options {
    const char *address;
    struct request request;
    const char *expect; /* a pattern that each answer must hold, or NULL */
    size_t connections;
    double seconds, warm_seconds;
    uint64_t requests; /* stop after so many; 0: after the seconds */
    uint64_t keys;     /* numbers are below it */
    uint64_t step;     /* from one number to the next */
    double rate;       /* requests a second; 0: as fast as answers come */
    int server;        /* the process whose CPU time is measured; 0: none */
    bool random, poll, same_value;
};

/* Ends the program, with the usage, on what it cannot read. */
struct options options_read(int argc, char **argv);

#endif
