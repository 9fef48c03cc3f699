/* The merge of two records: one pass over the versions of both, which are sorted
 * by dot.
 *
 * Why the local clock counts: our record may have dropped its context (whole, as
 * its entries were at or below the floor), so that a version that we had and
 * removed is known to us by the clock alone. Why the remote side's clock does
 * not, but for a walk: it says what the peer applied, which for a record that we
 * got by way of its rows the record's own context says already; only a walk also
 * sends what is absent. */
#include "merge.h"

#include "check.h"

static bool remote_covers(const struct record *remote, const struct clock *also_covers, const struct dot *dot)
{
    return clock_covers_dot(&remote->context, dot) || (also_covers && clock_covers_dot(also_covers, dot));
}

static bool local_covers(const struct record *local, const struct clock *local_clock, const struct dot *dot)
{
    return clock_covers_dot(&local->context, dot) || clock_covers_dot(local_clock, dot);
}

void record_merge(const struct record *local, const struct clock *local_clock, const struct record *remote,
                  const struct clock *also_covers, struct record *out)
{
    CHECK(out != local && out != remote);
    record_clear(out);
    clock_copy(&out->context, &local->context);
    clock_join(&out->context, &remote->context);

    size_t l = 0, r = 0;
    while (l < local->count || r < remote->count) {
        int order = l == local->count    ? 1
                    : r == remote->count ? -1
                                         : dot_compare(&local->versions[l].dot, &remote->versions[r].dot);
        const struct version *version = order <= 0 ? &local->versions[l] : &remote->versions[r];
        bool keep = order == 0 || (order < 0 ? !remote_covers(remote, also_covers, &version->dot)
                                             : !local_covers(local, local_clock, &version->dot));
        if (keep)
            record_add(out, version);
        if (keep || order < 0) /* kept, or ours and removed now */
            clock_raise(&out->context, &version->dot);
        l += order <= 0;
        r += order >= 0;
    }
}
