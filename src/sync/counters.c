/* The named counters of replication, as GET /cluster/status shows them. */
#include "sync_state.h"

void sync_counters(const struct sync *s, void (*each)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    const struct sync_count *c = &s->count;
    const struct {
        const char *name;
        uint64_t value;
    } list[] = {
        {"sync_bytes_in", c->in.wire},
        {"sync_bytes_out", c->out.wire},
        {"sync_raw_bytes_in", c->in.raw},
        {"sync_raw_bytes_out", c->out.raw},
        {"sync_delta_bytes_in", c->in.delta},
        {"sync_delta_bytes_out", c->out.delta},
        {"sync_walk_bytes_in", c->in.walk},
        {"sync_walk_bytes_out", c->out.walk},
        {"sync_frames_packed", c->frames_packed},
        {"sync_frames_dull", c->frames_dull},
        {"sync_frames_unpacked", c->frames_unpacked},
        {"sync_frames_unpackable", c->frames_unpackable},
        {"sync_frames_shared", s->cache.hits},
        {"sync_slices", c->slices},
        {"sync_rows_in", c->rows_received},
        {"sync_rows_out", c->rows_sent},
        {"sync_rows_skipped", c->rows_skipped},
        {"sync_ahead_in", c->ahead_received},
        {"sync_frames_malformed", c->frames_malformed},
        {"sync_frames_checksum", c->frames_checksum},
        {"sync_frames_oversized", c->frames_oversized},
        {"sync_links_refused", c->links_refused},
        {"sync_links_lost", c->links_lost},
        {"sync_links_over_limit", c->links_over_limit},
        {"sync_hellos_late", c->hellos_late},
        {"sync_chunks_damaged", c->chunks_damaged},
        {"sync_floor_held", c->floor_held},
        {"sync_relays_asked", c->relays_asked},
        {"sync_store_refused", c->store_refused},
        {"sync_notes_damaged", c->notes_damaged},
        {"sync_forks_met", c->forks_met},
        {"sync_pasts_heard", c->pasts_heard},
        {"sync_pasts_differ", c->pasts_differ},
        {"sync_hellos_overtaken", c->hellos_overtaken},
        {"sync_twins_met", c->twins_met},
        {"sync_reidentified", c->reidentified},
        {"sync_expiries_withheld", c->expiries_withheld},
        {"sync_replicas_retired", c->replicas_retired},
        {"sync_quarantine_full", c->quarantine_full},
        {"store_low_space", c->low_space},
        {"records_asked", c->records_asked},
        {"records_repaired", c->records_repaired},
        {"operations_lost", c->operations_lost},
        {"rows_given_up", c->rows_given_up},
        {"damage_searches", c->damage_searches},
        {"digests_asked", c->digests_asked},
        {"digests_equal", c->digests_equal},
        {"digest_passes", c->digest_passes},
        {"divergence", c->divergence},
        {"divergence_mended", c->divergence_mended},
        {"walk_pieces_in", c->pieces_received},
        {"walk_pieces_out", c->pieces_sent},
        {"walks_started", c->walks_started},
        {"walks_finished", c->walks_finished},
        {"walks_restarted", c->walks_restarted},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        each(ctx, list[i].name, list[i].value);
}
