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
    each(each_ctx, "commit_stopped_by_io", c.stopped_by_io);
}

void daemon_counters(void *ctx, void (*each)(void *each_ctx, const char *name, uint64_t value),
                     void *each_ctx)
{
    struct daemon *d = ctx;
    const struct http *http = atomic_load(&d->http);
    if (http)
        http_counters(http, each, each_ctx);
    committer_each(d, each, each_ctx);
    cluster_counters(d->cluster, each, each_ctx);
}
