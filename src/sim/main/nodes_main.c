#include "nodes_main.h"

#include "check.h"
#include "nodes.h"
#include "numbers.h"
#include "trees.h"
#include "weaken.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, SEEDS_LINE_MAX = 500 };

static const char help[] =
    "Runs whole nodes on simulated disks and a simulated network, with every fault, and\n"
    "looks whether what docs/RELIABILITY.md promises holds.\n"
    "\n"
    "Usage: yzma-sim nodes [OPTION]...\n"
    "\n"
    "  -s, --seed N      of the first world; 1 by default. The same seed is the same world\n"
    "  -w, --worlds K    so many, one seed after the other; 1 by default\n"
    "  -n, --nodes N     in each, 2 to 50; 3 to 7 as the seed has it\n"
    "  -o, --operations  of clients in each; as the seed has it\n"
    "      --seeds FILE  the worlds of a table, as tests/sim/seeds.txt is one\n"
    "      --seconds S   as many worlds as fit; prints what came of them, by kinds of faults\n"
    "      --counts      prints how often each kind of fault struck\n"
    "      --memory      never LMDB: else it stands behind the log in one world of sixteen\n"
    "      --lmdb        .. in all of them\n"
    "      --trace       tells what happens, on the standard output\n"
    "      --twice       each world twice: both must leave the same trace\n"
    "      --keep-going  past a failure\n"
    "      --break RULE  with one rule switched off: only in a program built for it\n"
    "      --strict      what has a dot that was given out twice is not left out: dots of stores\n"
    "                    that were put back may mix where nobody is there who remembers\n"
    "      --expect      turns it round: success is that a world fails\n"
    "  -h, --help        print this text\n";

enum {
    OPTION_TRACE = 256,
    OPTION_TWICE,
    OPTION_KEEP_GOING,
    OPTION_SECONDS,
    OPTION_SEEDS,
    OPTION_BREAK,
    OPTION_EXPECT,
    OPTION_STRICT,
    OPTION_COUNTS,
    OPTION_MEMORY,
    OPTION_LMDB
};

static const struct option long_options[] = {
    {"seed", required_argument, NULL, 's'},
    {"worlds", required_argument, NULL, 'w'},
    {"nodes", required_argument, NULL, 'n'},
    {"operations", required_argument, NULL, 'o'},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"seeds", required_argument, NULL, OPTION_SEEDS},
    {"trace", no_argument, NULL, OPTION_TRACE},
    {"twice", no_argument, NULL, OPTION_TWICE},
    {"keep-going", no_argument, NULL, OPTION_KEEP_GOING},
    {"break", required_argument, NULL, OPTION_BREAK},
    {"expect", no_argument, NULL, OPTION_EXPECT},
    {"strict", no_argument, NULL, OPTION_STRICT},
    {"counts", no_argument, NULL, OPTION_COUNTS},
    {"memory", no_argument, NULL, OPTION_MEMORY},
    {"lmdb", no_argument, NULL, OPTION_LMDB},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct nodes_command {
    uint64_t seed, worlds, seconds;
    unsigned nodes, operations;
    bool trace, twice, keep_going, expect, counts, memory, lmdb, strict, help;
    const char *broken, *seeds;
    struct nodes_trees trees;
};

static struct {
    uint64_t seed;
    const struct nodes_command *command;
    struct trees *trees;
} present; /* for a CHECK that fails in mid-world */

static volatile sig_atomic_t told_to_end; /* after this world, with the sums */

static void on_signal(int number)
{
    (void)number;
    told_to_end = 1;
}

#ifdef YZMA_WEAKEN
static bool weaken(const char *name)
{
    static const struct {
        const char *name;
        enum weaken rule;
    } rules[] = {{"merge", WEAKEN_CLOCK},
                 {"floor", WEAKEN_FLOOR},
                 {"past", WEAKEN_PAST},
                 {"sync", WEAKEN_SYNC},
                 {"tree-sync", WEAKEN_TREE_SYNC},
                 {"repair-rows", WEAKEN_REPAIR_ROWS},
                 {"repair-floor", WEAKEN_REPAIR_FLOOR}};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (strcmp(name, rules[i].name) == 0) {
            weakened = rules[i].rule;
            return true;
        }
    }
    return false;
}
#else
static bool weaken(const char *name)
{
    (void)name;
    return false;
}
#endif

static bool parse(int argc, char **argv, struct nodes_command *ret)
{
    uint64_t number = 0;
    *ret = (struct nodes_command){.seed = 1, .worlds = 1};
    optind = 1;
    for (int option; (option = getopt_long(argc, argv, "s:w:n:o:h", long_options, NULL)) != -1;) {
        bool good = true;
        switch (option) {
        case 's':
            good = number_within(optarg, 0, UINT64_MAX, &ret->seed);
            break;
        case 'w':
            good = number_within(optarg, 1, UINT64_MAX, &ret->worlds);
            break;
        case 'n':
            good = number_within(optarg, 2, 50, &number);
            ret->nodes = (unsigned)number;
            break;
        case 'o':
            good = number_within(optarg, 1, 900, &number);
            ret->operations = (unsigned)number;
            break;
        case OPTION_SECONDS:
            good = number_within(optarg, 1, 1000000000, &ret->seconds);
            ret->worlds = UINT64_MAX;
            ret->counts = true;
            break;
        case OPTION_SEEDS:
            ret->seeds = optarg;
            break;
        case OPTION_COUNTS:
            ret->counts = true;
            break;
        case OPTION_MEMORY:
            ret->memory = true;
            break;
        case OPTION_LMDB:
            ret->lmdb = true;
            break;
        case OPTION_TRACE:
            ret->trace = true;
            break;
        case OPTION_TWICE:
            ret->twice = true;
            break;
        case OPTION_KEEP_GOING:
            ret->keep_going = true;
            break;
        case OPTION_BREAK:
            ret->broken = optarg;
            good = weaken(optarg);
            break;
        case OPTION_STRICT:
            ret->strict = true;
            break;
        case OPTION_EXPECT:
            ret->expect = true;
            break;
        case 'h':
            ret->help = true;
            break;
        default:
            return false;
        }
        if (!good) {
            fprintf(stderr, "yzma-sim: %s: not a value that fits\n", optarg);
            return false;
        }
    }
    return optind == argc;
}

static void tell(void *ctx, const char *line)
{
    (void)ctx;
    puts(line);
}

static void print_replay(const struct nodes_command *c, uint64_t seed)
{
    printf("replay: yzma-sim nodes --seed %llu", (unsigned long long)seed);
    if (c->nodes)
        printf(" --nodes %u", c->nodes);
    if (c->operations)
        printf(" --operations %u", c->operations);
    if (c->broken)
        printf(" --break %s", c->broken);
    if (c->memory)
        printf(" --memory");
    if (c->lmdb)
        printf(" --lmdb");
    if (c->strict)
        printf(" --strict");
    printf(" --trace\n");
}

static void on_check_failure(const char *condition, const char *file, int line)
{
    printf("seed %llu: CHECK(%s) failed at %s:%d\n", (unsigned long long)present.seed, condition, file, line);
    print_replay(present.command, present.seed);
    fflush(stdout);
    trees_free(present.trees);
}

static uint64_t seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

static void add(struct nodes_result *sum, const struct nodes_result *r)
{
    sum->trace = (sum->trace ^ r->trace) * 0x100000001b3u;
    sum->simulated_ms += r->simulated_ms;
    sum->steps += r->steps;
    sum->operations += r->operations;
    sum->acknowledged += r->acknowledged;
    sum->reads += r->reads;
    sum->token_reads += r->token_reads;
    sum->doubts += r->doubts;
    sum->kills += r->kills;
    sum->crashes += r->crashes;
    sum->faults += r->faults;
    sum->walks += r->walks;
    sum->reidentified += r->reidentified;
    sum->wiped += r->wiped;
    sum->damaged += r->damaged;
    sum->traceless += r->traceless;
    sum->starts += r->starts;
    sum->stops += r->stops;
    sum->refused += r->refused;
    sum->batches += r->batches;
    sum->touches += r->touches;
    sum->conditions += r->conditions;
    sum->unmet += r->unmet;
    sum->confirmed += r->confirmed;
    sum->dropped += r->dropped;
    sum->quarantined += r->quarantined;
    sum->twins += r->twins;
    sum->retired += r->retired;
    sum->on_files += r->on_files;
    sum->records_damaged += r->records_damaged;
    sum->rows_damaged += r->rows_damaged;
    sum->mended += r->mended;
    sum->let_go += r->let_go;
    for (unsigned i = 0; i < NODES_FAULTS; i++)
        sum->struck[i] += r->struck[i];
    if (sum->agreed_ms < r->agreed_ms)
        sum->agreed_ms = r->agreed_ms;
}

static bool run_world(const struct nodes_command *c, uint64_t seed, struct nodes_result *sum,
                      unsigned *traceless)
{
    struct nodes_options options = {.seed = seed,
                                    .nodes = c->nodes,
                                    .steps = c->operations,
                                    .trees = c->trees.open ? &c->trees : NULL,
                                    .on_files = c->lmdb,
                                    .strict = c->strict};
    if (c->trace)
        options.tell = tell;
    present.seed = seed;
    struct nodes_result r = nodes_run(&options);
    *traceless += r.traceless;
    add(sum, &r);
    if (r.fine && c->twice) {
        options.tell = NULL;
        struct nodes_result again = nodes_run(&options);
        if (again.trace != r.trace || again.steps != r.steps) {
            r.fine = false;
            snprintf(r.why, sizeof r.why, "the second run of this seed was another one");
        }
    }
    if (!r.fine) {
        printf("seed %llu: %s\n", (unsigned long long)seed, r.why);
        print_replay(c, seed);
        fflush(stdout);
    }
    return r.fine;
}

static void print_sum(const struct nodes_result *sum, uint64_t done, uint64_t failed, unsigned traceless)
{
    printf(
        "%llu worlds, %llu failed: %.0f s of virtual time, %llu steps, %u operations (%u acknowledged, %u in "
        "doubt), %u reads (%u by token), %u faults, %u kills, %u power cuts, %u walks, %u new ids, %u disks "
        "lost, %u thrown away, %u without a trace; agreed within %.1f s; trace %016llx\n",
        (unsigned long long)done, (unsigned long long)failed, (double)sum->simulated_ms / 1000,
        (unsigned long long)sum->steps, sum->operations, sum->acknowledged, sum->doubts, sum->reads,
        sum->token_reads, sum->faults, sum->kills, sum->crashes, sum->walks, sum->reidentified, sum->wiped,
        sum->damaged, traceless, (double)sum->agreed_ms / 1000, (unsigned long long)sum->trace);
}

static void print_counts(const struct nodes_result *sum)
{
    printf("faults:");
    for (unsigned i = 0; nodes_fault_name(i); i++)
        printf(" %s %u%s", nodes_fault_name(i), sum->struck[i], nodes_fault_name(i + 1) ? "," : "\n");
    printf("of them: %u stops, %u starts, %u records not read, %u copies beside their originals, %u "
           "retirements, %u records gone bad (%u mended by peers or writes, in %u worlds "
           "after the dead were forgotten by hand), %u rows; %u worlds on LMDB\n"
           "writes: %u refused, %u in batches, %u touches, %u conditions (%u unmet), %u confirmed by others, "
           "%u versions whose time was over\n",
           sum->stops, sum->starts, sum->quarantined, sum->twins, sum->retired, sum->records_damaged,
           sum->mended, sum->let_go, sum->rows_damaged, sum->on_files, sum->refused, sum->batches,
           sum->touches, sum->conditions, sum->unmet, sum->confirmed, sum->dropped);
}

/* Returns how many failed. */
static uint64_t run_worlds(const struct nodes_command *c)
{
    struct nodes_result sum = {0};
    uint64_t failed = 0, done = 0, until = c->seconds ? seconds_now() + c->seconds : 0;
    unsigned traceless = 0;
    while (done < c->worlds && (!until || seconds_now() < until) && (!failed || c->keep_going) &&
           !told_to_end)
        failed += !run_world(c, c->seed + done++, &sum, &traceless);
    if (c->counts)
        print_counts(&sum);
    print_sum(&sum, done, failed, traceless);
    return failed;
}

/* One row: "SEED | options | what it found". False where it is none. */
static bool read_row(char *line, struct nodes_command *c, const char **ret_found)
{
    char *field = strsep(&line, "|"), *options = strsep(&line, "|"), *found = strsep(&line, "\n");
    const char *seed = strtok(field, " ");
    if (!seed || !options || !found || !number_within(seed, 0, UINT64_MAX, &c->seed))
        return false;
    c->lmdb = false;
    *ret_found = found;
    for (char *option = strtok(options, " "); option; option = strtok(NULL, " ")) {
        if (strcmp(option, "--lmdb") != 0)
            return false;
        c->lmdb = true;
    }
    return true;
}

/* Returns how many failed; what is no table has. */
static uint64_t run_table(struct nodes_command *c)
{
    struct nodes_result sum = {0};
    uint64_t failed = 0, done = 0;
    unsigned traceless = 0;
    char line[SEEDS_LINE_MAX];
    FILE *file = fopen(c->seeds, "r");
    bool good = file != NULL;
    while (good && !told_to_end && fgets(line, sizeof line, file)) {
        const char *found;
        if (line[0] == '#' || line[0] == '\n')
            continue;
        good = read_row(line, c, &found);
        if (good && !run_world(c, c->seed, &sum, &traceless)) {
            printf("it once found:%s\n", found);
            failed++;
        }
        done += good;
    }
    if (!good || !done)
        fprintf(stderr, "yzma-sim: %s: not a table of seeds, from world %llu on\n", c->seeds,
                (unsigned long long)done + 1);
    if (file)
        fclose(file);
    print_sum(&sum, done, failed, traceless);
    return failed + (!good || !done);
}

/* LMDB trusts its pages: one that was torn, and that no sync stood behind, may be the end
 * of the process. Where the syncs were switched off to see that, it was seen. */
static void on_crash(int signal)
{
    static const char text[] = "LMDB ended the process over a torn page\n";
    (void)signal;
    (void)!write(STDOUT_FILENO, text, sizeof text - 1);
    _exit(EXIT_SUCCESS);
}

static void take_crashes_for_failed_worlds(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], on_crash);
}

int nodes_main(int argc, char **argv)
{
    struct nodes_command c;
    if (!parse(argc, argv, &c)) {
        fprintf(stderr, "yzma-sim: see yzma-sim nodes --help\n");
        return EXIT_USAGE;
    }
    if (c.help) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    present.command = &c;
    if (c.expect && c.lmdb)
        take_crashes_for_failed_worlds();
    check_on_failure(on_check_failure);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    present.trees = c.memory ? NULL : trees_new();
    if (present.trees)
        c.trees = trees_face(present.trees);
    uint64_t failed = c.seeds ? run_table(&c) : run_worlds(&c);
    trees_free(present.trees);
    return (failed > 0) == c.expect ? EXIT_SUCCESS : EXIT_FAILED;
}
