#include "applier.h"

#include "check.h"
#include "mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    IDLE_MS = 5000,    /* without a commit: then memory is given back */
    AGE_MS = 600000,   /* what has lain in memory so long is applied in any case */
    LOOK_MS = 1000,    /* how often ages are looked at */
    RETRY_MS = 1000,   /* after a failure that a smaller chunk does not cure */
    PAUSE_MAX_MS = 50, /* between chunks */
    NICE = 5,          /* below the threads that somebody waits for */
};

struct applier {
    struct engine *engine;
    struct applier_options options;
    pthread_t thread;
    bool joined;
    enum err trouble;      /* as last told; of the thread */
    uint64_t frozen_at_ms; /* when it froze a generation last; of the thread */
    uint64_t frames;       /* commits when it looked last, .. */
    uint64_t moved_at_ms;  /* .. and when they had become more */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;  /* the thread: there is work, or it must stop */
    pthread_cond_t moved; /* a writer: a chunk has been tried */
    uint64_t chunks;      /* tried; what came of it the engine tells */
    bool work, stopping;
    bool hurry; /* writers are not kept any more */
    uint64_t stop_at_ms;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct timespec time_of_ms(uint64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

/* ---- what the engine tells, from the writer's thread ------------------------------- */

static void on_work(void *ctx)
{
    struct applier *a = ctx;
    pthread_mutex_lock(&a->lock);
    a->work = true;
    pthread_mutex_unlock(&a->lock);
    pthread_cond_signal(&a->wake);
}

/* From the applier's own. */
static void count_chunk(struct applier *a)
{
    pthread_mutex_lock(&a->lock);
    a->chunks++;
    pthread_mutex_unlock(&a->lock);
    pthread_cond_broadcast(&a->moved);
    if (a->options.on_chunk)
        a->options.on_chunk(a->options.ctx);
}

/* Whoever waits for room has it now. */
static void on_applied(void *ctx)
{
    count_chunk(ctx);
}

/* Until a chunk has been tried, or the writer's patience ends. */
static enum err wait_for_chunk(void *ctx, uint64_t most_ms, uint64_t *left_ms)
{
    struct applier *a = ctx;
    uint64_t start = now_ms();
    struct timespec until = time_of_ms(start + (most_ms < *left_ms ? most_ms : *left_ms));
    pthread_mutex_lock(&a->lock);
    uint64_t chunks = a->chunks;
    a->work = true;
    pthread_cond_signal(&a->wake);
    int rc = 0;
    while (a->chunks == chunks && rc == 0 && !a->stopping && !a->hurry)
        rc = pthread_cond_clockwait(&a->moved, &a->lock, CLOCK_MONOTONIC, &until);
    enum err err = a->chunks != chunks ? OK : ERR_BUSY;
    bool ending = a->stopping || a->hurry;
    pthread_mutex_unlock(&a->lock);
    uint64_t waited = now_ms() - start;
    *left_ms = ending || waited >= *left_ms ? 0 : *left_ms - waited;
    return err;
}

/* ---- the thread -------------------------------------------------------------------- */

/* Sleeps until there is work or the time has come. */
static void doze(struct applier *a, uint64_t ms)
{
    struct timespec until = time_of_ms(now_ms() + ms);
    pthread_mutex_lock(&a->lock);
    int rc = 0;
    while (!a->work && !a->stopping && rc == 0)
        rc = pthread_cond_clockwait(&a->wake, &a->lock, CLOCK_MONOTONIC, &until);
    a->work = false;
    pthread_mutex_unlock(&a->lock);
}

static bool must_stop(struct applier *a)
{
    pthread_mutex_lock(&a->lock);
    bool stop = a->stopping && now_ms() >= a->stop_at_ms;
    pthread_mutex_unlock(&a->lock);
    return stop;
}

static bool is_stopping(struct applier *a)
{
    pthread_mutex_lock(&a->lock);
    bool stopping = a->stopping;
    pthread_mutex_unlock(&a->lock);
    return stopping;
}

static void tell(struct applier *a, enum err err)
{
    if (err == a->trouble)
        return;
    a->trouble = err;
    if (a->options.on_trouble)
        a->options.on_trouble(a->options.ctx, err);
}

/* Ahead of the writers it pauses as long as it worked. */
static void pause_after(struct applier *a, uint64_t worked_ms)
{
    if (log_engine_behind(a->engine) || is_stopping(a))
        return;
    uint64_t ms = worked_ms < PAUSE_MAX_MS ? worked_ms : PAUSE_MAX_MS;
    struct timespec pause = time_of_ms(ms ? ms : 1);
    nanosleep(&pause, NULL);
}

/* A full disk is tried again with less, and less, before it is waited for. */
static bool worth_a_smaller_try(struct applier *a, enum err err)
{
    struct log_engine_counters counters;
    log_engine_counters(a->engine, &counters);
    return err == ERR_FULL && counters.chunk > 1;
}

/* All that is frozen; false when it failed and should rest. The log goes on meanwhile and
 * wants its segments. */
static bool drain(struct applier *a)
{
    bool disk_has_room = true;
    while (!must_stop(a)) {
        if (is_stopping(a))
            log_engine_be_brief(a->engine);
        uint64_t start = now_ms();
        enum err err = log_engine_apply(a->engine);
        if (err == ERR_NOT_FOUND)
            return true;
        if (err == OK) {
            uint64_t took = now_ms() - start;
            log_engine_took(a->engine, took);
            tell(a, OK);
            count_chunk(a);
            disk_has_room = disk_has_room && log_engine_prepare(a->engine) == OK;
            pause_after(a, took);
        } else if (!worth_a_smaller_try(a, err)) {
            tell(a, err);
            count_chunk(a);
            return false;
        }
    }
    return true;
}

/* A generation that nobody fills any more, or that is old. */
static bool is_time_to_freeze(struct applier *a)
{
    struct log_engine_counters counters;
    log_engine_counters(a->engine, &counters);
    uint64_t now = now_ms();
    if (counters.log.frames != a->frames) {
        a->frames = counters.log.frames;
        a->moved_at_ms = now;
    }
    return now >= a->moved_at_ms + IDLE_MS || now >= a->frozen_at_ms + AGE_MS;
}

static void *applier_main(void *arg)
{
    struct applier *a = arg;
    /* On Linux a thread has a priority of its own. A failure costs nothing but that. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
    a->frozen_at_ms = a->moved_at_ms = now_ms();
    for (;;) {
        bool stopping = is_stopping(a), went = drain(a);
        (void)!log_engine_prepare(a->engine); /* else the writer makes it */
        if (must_stop(a) || (stopping && !went))
            break;
        if (stopping || is_time_to_freeze(a)) {
            bool frozen = log_engine_freeze(a->engine);
            if (frozen)
                a->frozen_at_ms = now_ms();
            if (stopping && !frozen)
                break; /* all is applied */
            if (frozen)
                continue;
        }
        doze(a, went ? LOOK_MS : RETRY_MS);
    }
    return NULL;
}

struct applier *applier_new(struct engine *engine, const struct applier_options *options)
{
    struct applier *a = mem_new(sizeof *a);
    a->engine = engine;
    a->options = *options;
    CHECK(pthread_mutex_init(&a->lock, NULL) == 0);
    CHECK(pthread_cond_init(&a->wake, NULL) == 0);
    CHECK(pthread_cond_init(&a->moved, NULL) == 0);
    log_engine_listen(engine, on_work, on_applied, wait_for_chunk, a);
    /* The opening's commits have used the segment that was ready. From here on there
     * are two, which take turns when the disk is full. */
    (void)!log_engine_prepare(engine);
    /* Signals are the main thread's. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    CHECK(pthread_create(&a->thread, NULL, applier_main, a) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return a;
}

void applier_hurry(struct applier *a)
{
    pthread_mutex_lock(&a->lock);
    a->hurry = true;
    pthread_mutex_unlock(&a->lock);
    pthread_cond_broadcast(&a->moved);
}

void applier_stop(struct applier *a, uint64_t until_ms)
{
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    a->stop_at_ms = until_ms;
    pthread_mutex_unlock(&a->lock);
    pthread_cond_signal(&a->wake);
    pthread_cond_broadcast(&a->moved);
    if (!a->joined)
        CHECK(pthread_join(a->thread, NULL) == 0);
    a->joined = true;
}

void applier_free(struct applier *a)
{
    if (!a)
        return;
    applier_stop(a, 0);
    log_engine_listen(a->engine, NULL, NULL, NULL, NULL);
    pthread_cond_destroy(&a->moved);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
