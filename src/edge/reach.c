#include "reach.h"

#include "check.h"
#include "clock.h"
#include "mem.h"

#include <stdlib.h>

enum { PEERS_AT_MOST = CLOCK_REPLICAS_MAX };

void reach_init(struct reach *r)
{
    *r = (struct reach){0};
    CHECK(pthread_mutex_init(&r->lock, NULL) == 0);
    r->counters = mem_new(PEERS_AT_MOST * sizeof *r->counters);
    r->fresh = mem_new(PEERS_AT_MOST * sizeof *r->fresh);
}

void reach_done(struct reach *r)
{
    pthread_mutex_destroy(&r->lock);
    free(r->counters);
    free(r->fresh);
}

bool reach_look(struct reach *r, const struct node *node, bool anyway)
{
    struct replica_id own;
    if (!anyway && node_reports(node) == r->reports)
        return false;
    r->reports = node_reports(node);
    size_t count = node_reported(node, &own, r->fresh);
    CHECK(count <= PEERS_AT_MOST);
    if (count == r->count && replica_id_equal(&own, &r->own) &&
        memcmp(r->fresh, r->counters, count * sizeof *r->fresh) == 0)
        return false; /* nobody else writes them */
    pthread_mutex_lock(&r->lock);
    uint64_t *before = r->counters;
    r->counters = r->fresh;
    r->fresh = before;
    r->count = count;
    r->own = own;
    pthread_mutex_unlock(&r->lock);
    return true;
}

void reach_of(struct reach *r, const struct dot *dot, unsigned *ret_known, unsigned *ret_having)
{
    unsigned having = 1;
    pthread_mutex_lock(&r->lock);
    bool ours = replica_id_equal(&dot->replica, &r->own); /* or this store has a new id since */
    for (size_t i = 0; i < r->count; i++)
        having += ours && r->counters[i] >= dot->counter;
    *ret_known = (unsigned)r->count + 1;
    pthread_mutex_unlock(&r->lock);
    *ret_having = having;
}
