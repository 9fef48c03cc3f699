#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "usage: load [options] A.B.C.D:PORT TARGET\n"
    "TARGET is a path, or a command of Redis such as \"GET k{n}\".\n"
    "  -P PROTOCOL    http (default) or resp\n"
    "  -m METHOD      GET\n"
    "  -b BODY        body to send. TARGET, BODY and the text of -e may hold {n}, {v}, ..: see pattern.h\n"
    "  -v BYTES       the length of {v} (128)\n"
    "  -s SEED        other seeds give other values for the same numbers (0)\n"
    "  -f             every {v} is that of number 0: for values so large that making them takes long\n"
    "  -c N           connections (64)\n"
    "  -d SECONDS     how long (5), after\n"
    "  -w SECONDS     warming up (0.5)\n"
    "  -n REQUESTS    stop after so many instead, without warming up\n"
    "  -q RATE        so many a second, whether answers come or not; latency counts from when a request\n"
    "                 was due, so a stall of the server is counted for all that it held up\n"
    "  -k KEYS        {n} counts 0 .. KEYS-1 (1)\n"
    "  -N STEP        .. in steps (1)\n"
    "  -r             .. in random order\n"
    "  -p             never sleep: costs this core, and spares the server's the wake-ups\n"
    "  -z PID         measure the CPU time of this process\n"
    "  -e TEXT        each answer must hold it\n";

static _Noreturn void refuse(void)
{
    fputs(usage, stderr);
    exit(2);
}

static void read_option(struct options *o, int letter, const char *text)
{
    switch (letter) {
    case 'P':
        o->request.protocol = protocol_named(text);
        break;
    case 'm':
        o->request.method = text;
        break;
    case 'b':
        o->request.body = text;
        break;
    case 'v':
        o->request.value_len = strtoul(text, NULL, 10);
        break;
    case 's':
        o->request.seed = strtoull(text, NULL, 10);
        break;
    case 'f':
        o->same_value = true;
        break;
    case 'c':
        o->connections = strtoul(text, NULL, 10);
        break;
    case 'd':
        o->seconds = strtod(text, NULL);
        break;
    case 'w':
        o->warm_seconds = strtod(text, NULL);
        break;
    case 'n':
        o->requests = strtoull(text, NULL, 10);
        break;
    case 'q':
        o->rate = strtod(text, NULL);
        break;
    case 'k':
        o->keys = strtoull(text, NULL, 10);
        break;
    case 'N':
        o->step = strtoull(text, NULL, 10);
        break;
    case 'r':
        o->random = true;
        break;
    case 'p':
        o->poll = true;
        break;
    case 'z':
        o->server = (int)strtol(text, NULL, 10);
        break;
    case 'e':
        o->expect = text;
        break;
    default:
        refuse();
    }
}

struct options options_read(int argc, char **argv)
{
    struct options o = {.request = {.protocol = &protocol_http, .method = "GET", .value_len = 128},
                        .connections = 64,
                        .seconds = 5,
                        .warm_seconds = 0.5,
                        .keys = 1,
                        .step = 1};
    for (int letter; (letter = getopt(argc, argv, "P:m:b:v:s:fc:d:w:n:q:k:N:rpz:e:")) != -1;)
        read_option(&o, letter, optarg);
    if (argc - optind != 2 || !o.request.protocol || o.connections == 0 || o.keys == 0 ||
        (o.requests && o.rate > 0))
        refuse();
    if (o.requests)
        o.warm_seconds = 0;
    o.address = argv[optind];
    o.request.target = argv[optind + 1];
    return o;
}
