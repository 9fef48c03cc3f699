/* A cluster of many swim nodes on a virtual network, formed from the start: each
 * knows all. Names and metas are as long as a real node's. */
#ifndef YZMA_SIM_CROWD_H
#define YZMA_SIM_CROWD_H

#include "swim.h"
#include "vnet.h"

struct crowd;

struct crowd_config {
    size_t members;
    /* Members from here on only answer pings and exchanges, without a table of their
     * own. 0: all are whole. */
    size_t whole;
    const struct swim_profile *profile;
    uint64_t seed;
    bool no_compression; /* is much faster, and decides nothing but the bytes */
    void *ctx;
    /* What a node tells, by its number; now is by its clock. May be NULL. */
    void (*told)(void *ctx, size_t node, uint64_t now, const struct swim_event *event);
};

struct crowd *crowd_new(const struct crowd_config *config);
void crowd_free(struct crowd *c);

/* Hosts are numbered as the members are. */
struct vnet *crowd_net(const struct crowd *c);
struct swim *crowd_swim(const struct crowd *c, size_t node); /* NULL: killed, or not whole */
struct addr crowd_addr(const struct crowd *c, size_t node);
size_t crowd_number(struct bytes name); /* of the member of this name */

void crowd_run(struct crowd *c, uint64_t ms);
uint64_t crowd_now(const struct crowd *c);
void crowd_kill(struct crowd *c, size_t node);
void crowd_set_meta(struct crowd *c, size_t node, struct bytes meta);
void crowd_join(struct crowd *c, size_t node, size_t to);

uint64_t crowd_counter(const struct crowd *c, size_t node, const char *name);
/* Of all nodes together. */
struct vnet_sent crowd_sent(const struct crowd *c);

#endif
