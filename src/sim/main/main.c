/* yzma-sim: runs the experiments of src/sim/lab.h and prints what came out. */
#include "document.h"
#include "lab.h"
#include "nodes_main.h"
#include "numbers.h"

#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { EXIT_MISSED = 1, EXIT_USAGE = 2, TEXT_MAX = 1 << 20 };

static const char help[] =
    "Runs our membership code on a virtual network, as it was published about others.\n"
    "\n"
    "Usage: yzma-sim swim [OPTION]... [EXPERIMENT...]     (none, or all: each of them)\n"
    "       yzma-sim nodes [OPTION]...                    whole nodes: see yzma-sim nodes --help\n"
    "\n"
    "  load        SWIM: messages per member, first detection\n"
    "  lifeguard   Lifeguard: false positives among members that stand still\n"
    "  serf        Serf: how fast an event spreads\n"
    "  large       memory of large tables and their exchange\n"
    "  idle        traffic of an idle cluster\n"
    "  storm       every fault at once, and whether all agree again after\n"
    "\n"
    "  -m, --members N   instead of as many as published\n"
    "  -r, --runs R      repetitions; load: deaths per size, serf: events, large: whole nodes\n"
    "  -s, --seed S      of all chance; 1 by default. The same seed is the same run\n"
    "  -b, --brief       seconds instead of minutes, with wider bounds\n"
    "  -t, --twice       run each twice, and compare their traces\n"
    "  -w, --write FILE  put the results into this document, between its marks\n"
    "  -h, --help        print this text\n"
    "\n"
    "Exit codes: 0 all figures as they must be, 1 some were missed, 2 the command line\n"
    "was wrong.\n";

static const struct option long_options[] = {
    {"members", required_argument, NULL, 'm'}, {"runs", required_argument, NULL, 'r'},
    {"seed", required_argument, NULL, 's'},    {"brief", no_argument, NULL, 'b'},
    {"twice", no_argument, NULL, 't'},         {"write", required_argument, NULL, 'w'},
    {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
};

struct command {
    struct lab_params params;
    bool twice, help;
    const char *write_path; /* NULL: only print */
    bool chosen[LABS];
};

static uint64_t memory(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool choose(struct command *c, const char *name)
{
    bool found = false;
    for (size_t i = 0; i < LABS; i++) {
        bool is = strcmp(name, "all") == 0 || strcmp(name, lab_all[i].name) == 0;
        c->chosen[i] |= is;
        found |= is;
    }
    return found;
}

static bool parse(int argc, char **argv, struct command *ret)
{
    uint64_t number;
    *ret = (struct command){.params = {.seed = 1, .memory = memory}};
    for (int option; (option = getopt_long(argc, argv, "m:r:s:btw:h", long_options, NULL)) != -1;) {
        bool good = true;
        switch (option) {
        case 'm':
            good = number_within(optarg, 4, 10000, &number);
            ret->params.members = number;
            break;
        case 'r':
            good = number_within(optarg, 1, 1000000, &number);
            ret->params.runs = (unsigned)number;
            break;
        case 's':
            good = number_within(optarg, 0, UINT64_MAX, &ret->params.seed);
            break;
        case 'b':
            ret->params.brief = true;
            break;
        case 't':
            ret->twice = true;
            break;
        case 'w':
            ret->write_path = optarg;
            break;
        case 'h':
            ret->help = true;
            break;
        default:
            return false;
        }
        if (!good) {
            fprintf(stderr, "yzma-sim: %s: not a number that fits\n", optarg);
            return false;
        }
    }
    if (ret->help)
        return true;
    if (optind == argc || strcmp(argv[optind++], "swim") != 0) {
        fprintf(stderr, "yzma-sim: what to simulate: swim (see --help)\n");
        return false;
    }
    if (optind == argc)
        choose(ret, "all");
    for (; optind < argc; optind++) {
        if (!choose(ret, argv[optind])) {
            fprintf(stderr, "yzma-sim: %s: no such experiment (see --help)\n", argv[optind]);
            return false;
        }
    }
    return true;
}

static struct lab_report run(const struct command *c, const struct lab *lab)
{
    struct lab_report report = {0};
    buf_init(&report.text, TEXT_MAX);
    lab->run(&c->params, &report);
    lab_print(
        &report,
        "\n`yzma-sim swim %s --seed %llu`: %.0f s of virtual time, %.1f million datagrams, trace %016llx.\n",
        lab->name, (unsigned long long)c->params.seed, (double)report.simulated_ms / 1000,
        (double)report.packets / 1e6, (unsigned long long)report.trace);
    return report;
}

static bool run_lab(const struct command *c, const struct lab *lab)
{
    double start = seconds();
    printf("## %s\n\n", lab->title);
    fflush(stdout);
    struct lab_report report = run(c, lab);
    bool good = report.missed == 0 && report.met > 0;
    printf("%.*s", (int)report.text.len, (const char *)report.text.data);
    printf("(%.1f s, %u met, %u missed)\n\n", seconds() - start, report.met, report.missed);
    if (c->twice) {
        struct lab_report again = run(c, lab);
        if (again.trace != report.trace) {
            printf("The second run of seed %llu was another one.\n", (unsigned long long)c->params.seed);
            good = false;
        }
        buf_done(&again.text);
    }
    if (c->write_path) {
        enum err err = document_put(c->write_path, lab->name, buf_bytes(&report.text));
        if (err != OK) {
            fprintf(stderr, "yzma-sim: %s: %s\n", c->write_path, err_text(err));
            good = false;
        }
    }
    buf_done(&report.text);
    return good;
}

int main(int argc, char **argv)
{
    struct command c;
    if (argc > 1 && strcmp(argv[1], "nodes") == 0)
        return nodes_main(argc - 1, argv + 1);
    if (!parse(argc, argv, &c))
        return EXIT_USAGE;
    /* Tables are made and freed all the time: memory stays with the process, or a
     * third of the time goes to the kernel. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_TOP_PAD, 64 << 20);
    if (c.help) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    bool good = true;
    for (size_t i = 0; i < LABS; i++)
        if (c.chosen[i])
            good &= run_lab(&c, &lab_all[i]);
    return good ? EXIT_SUCCESS : EXIT_MISSED;
}
