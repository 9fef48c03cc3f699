/* What the edge has counted, for the status page. */
#include "daemon_state.h"

static void committer_each(struct daemon *d, void (*each)(void *each_ctx, const char *name, uint64_t value),
                           void *each_ctx)
{
    struct committer_counters c;
    committer_counters(d->committer, &c);
    each(each_ctx, "commit_groups", c.groups);
    each(each_ctx, "commit_works", c.works);
    each(each_ctx, "commit_group_works_max", c.group_works_max);
    each(each_ctx, "commit_groups_failed", c.groups_failed);
    each(each_ctx, "commit_works_failed", c.works_failed);
    each(each_ctx, "commit_refused_busy", c.refused_busy);
    each(each_ctx, "commit_us_sum", c.commit_us_sum);
    each(each_ctx, "commit_us_max", c.commit_us_max);
    each(each_ctx, "commit_queued_works", c.queued_works);
    each(each_ctx, "commit_queued_bytes", c.queued_bytes);
    each(each_ctx, "commit_io_failures", c.io_failures);
}

static void log_each(struct daemon *d, void (*each)(void *each_ctx, const char *name, uint64_t value),
                     void *each_ctx)
{
    struct log_engine_counters c;
    log_engine_counters(d->log_engine, &c);
    each(each_ctx, "log_frames", c.log.frames);
    each(each_ctx, "log_bytes", c.log.bytes);
    each(each_ctx, "log_segments", c.log.segments);
    each(each_ctx, "log_segments_reused", c.log.reused);
    each(each_ctx, "log_segment_bytes", c.log.segment_bytes);
    each(each_ctx, "log_failures", c.log.failures);
    each(each_ctx, "memory_table_bytes", c.memory_bytes);
    each(each_ctx, "memory_table_max", c.memory_max);
    each(each_ctx, "memory_table_waits", c.waits);
    each(each_ctx, "memory_table_waits_in_vain", c.given_up);
    each(each_ctx, "memory_table_slowed", c.slowed);
    each(each_ctx, "apply_generations", c.applied);
    each(each_ctx, "apply_entries", c.applied_entries);
    each(each_ctx, "apply_failures", c.apply_failures);
    struct engine_usage usage;
    store_usage(d->store, &usage);
    each(each_ctx, "store_reopened", usage.reopenings);
}

void daemon_counters(void *ctx, void (*each)(void *each_ctx, const char *name, uint64_t value),
                     void *each_ctx)
{
    struct daemon *d = ctx;
    const struct http *http = atomic_load(&d->http);
    if (http)
        http_counters(http, each, each_ctx);
    committer_each(d, each, each_ctx);
    log_each(d, each, each_ctx);
    cluster_counters(d->cluster, each, each_ctx);
}
