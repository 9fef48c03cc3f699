/* What operators do, rightly and wrongly: members that are added, leave and come back;
 * disks that are lost and backups that are put back; stops, pauses, ids that are
 * forgotten or ended, and copies of stores that are started beside their originals. */
#include "check.h"
#include "state.h"

#include <stdio.h>

/* ---- members ------------------------------------------------------------------------ */

static bool is_up(const struct host *host)
{
    return host->running && !host->left && !host->stopping;
}

void hand_member(struct world *w, struct host *host)
{
    if (host->removed)
        return;
    if (!host->used) {
        world_say(w, "n%d is added", host->index);
        host_start(w, host);
    } else if (host->running && host->left) {
        char address[ADDR_TEXT_MAX];
        struct host *other = fault_host(w);
        if (other == host || !is_up(other) || host->tickets[NODE_REQUEST_JOIN])
            return;
        host_address(other, GOSSIP_PORT, address);
        world_say(w, "n%d comes back by n%d", host->index, other->index);
        host_request(w, host, NODE_REQUEST_JOIN, address);
    } else if (host->running && world_chance(w, 500)) {
        world_say(w, "n%d leaves for good", host->index);
        host->left = true;
        host_request(w, host, NODE_REQUEST_LEAVE, NULL);
    } else if (host->running) { /* long enough to be forgotten, where that is short */
        fault_down_somehow(w, host, 500, 5000 + world_pick(w, 45000));
    }
}

/* It ends when its goodbye is told, or is killed on the way. */
void hand_stop(struct world *w, struct host *host)
{
    if (!host->running || host->stopping)
        return;
    world_say(w, "n%d is told to stop", host->index);
    host->stopping = true;
    host_request(w, host, NODE_REQUEST_SHUTDOWN, NULL);
}

void hand_hold(struct world *w, struct host *host)
{
    if (!is_up(host) || host->tickets[NODE_REQUEST_PAUSE] || host->tickets[NODE_REQUEST_RESUME])
        return;
    world_say(w, "n%d is %s by hand", host->index, host->held ? "resumed" : "paused");
    host_request(w, host, host->held ? NODE_REQUEST_RESUME : NODE_REQUEST_PAUSE, NULL);
}

/* By one that may see it or not; a node that is connected stays. */
void hand_forget(struct world *w, struct host *host)
{
    struct host *other = fault_host(w);
    char uuid[REPLICA_ID_TEXT];
    if (!is_up(host) || other == host || replica_id_is_zero(&other->view.id))
        return;
    world_say(w, "n%d is asked to forget n%d", host->index, other->index);
    host_request(w, host, NODE_REQUEST_FORGET, replica_id_text(&other->view.id, uuid));
}

static bool is_anybodys(const struct world *w, const struct replica_id *id)
{
    for (int i = 0; i < w->host_count; i++)
        if (w->hosts[i].used && !w->hosts[i].removed && replica_id_equal(&w->hosts[i].view.id, id))
            return true;
    return false;
}

static void let_go_of(struct world *w, const struct replica_id *id)
{
    char uuid[REPLICA_ID_TEXT];
    world_say(w, "all are asked to forget %s", replica_id_text(id, uuid));
    for (int i = 0; i < w->host_count; i++)
        if (watch_is_core(&w->hosts[i]) && !w->hosts[i].stopping)
            host_request(w, &w->hosts[i], NODE_REQUEST_FORGET, uuid);
}

/* A record that cannot be read waits for those who are expected back, and may have it
 * whole: of who will not come back an operator has to tell. Who has left told only those
 * that it could reach. */
void hand_let_go(struct world *w)
{
    w->result.let_go++;
    for (size_t i = 0; i < w->dead_count; i++)
        if (!is_anybodys(w, &w->dead[i].id))
            let_go_of(w, &w->dead[i].id);
    for (int i = 0; i < w->host_count; i++)
        if (w->hosts[i].used && w->hosts[i].left)
            let_go_of(w, &w->hosts[i].view.id);
}

/* ---- ids -------------------------------------------------------------------------------- */

void dead_add(struct world *w, const struct replica_id *id)
{
    if (replica_id_is_zero(id) || w->dead_count == DEAD_MAX)
        return;
    for (size_t i = 0; i < w->dead_count; i++)
        if (replica_id_equal(&w->dead[i].id, id))
            return;
    w->dead[w->dead_count++] = (struct dead){.id = *id};
}

bool dead_retired(const struct world *w, const struct replica_id *id)
{
    for (size_t i = 0; i < w->dead_count; i++)
        if (w->dead[i].retired && replica_id_equal(&w->dead[i].id, id))
            return true;
    return false;
}

/* An id that is gone; now and then one of a host that is only down. */
void hand_retire(struct world *w, struct host *host)
{
    struct host *other = fault_host(w);
    char uuid[REPLICA_ID_TEXT];
    if (!is_up(host))
        return;
    if (world_chance(w, 200) && other->used && !other->running && !other->twin)
        dead_add(w, &other->view.id);
    if (!w->dead_count)
        return;
    struct dead *dead = &w->dead[world_pick(w, w->dead_count)];
    watch_retired(w, &dead->id);
    dead->retired = true;
    w->renamed = true;
    w->result.retired++;
    world_say(w, "n%d is asked to retire %s", host->index, replica_id_text(&dead->id, uuid));
    host_request(w, host, NODE_REQUEST_RETIRE, uuid);
}

/* ---- twins ------------------------------------------------------------------------------- */

static struct host *spare_of(struct world *w)
{
    for (int i = 0; i < w->host_count; i++)
        if (!w->hosts[i].used)
            return &w->hosts[i];
    return NULL;
}

/* The copy has the id of its original, and is known to nobody as another one: whoever of
 * the two is met second is refused, and takes a new id; or an operator sees to it. */
void hand_twin(struct world *w, struct host *host)
{
    struct host *spare = spare_of(w);
    struct image image = {.present = false};
    if (!is_up(host) || host->twin || !spare || host->doubt_count || replica_id_is_zero(&host->view.id))
        return;
    world_say(w, "n%d is a copy of n%d, which lives", spare->index, host->index);
    watch_twin(w, host);
    image_take(w, host, &image);
    host_restore(w, spare, &image, true);
    image_done(w, &image);
    spare->file = host->file;
    spare->twin = true;
    spare->twin_id = host->view.id;
    spare->named_as = world_chance(w, 500) ? host->named_as : spare->index;
    w->renamed = true;
    w->result.twins++;
    world_plan(w, 0, HAPPEN_START, spare->index);
    fault_twin_ends_later(w, spare);
}

void hand_twin_ends(struct world *w, struct host *host)
{
    bool same = replica_id_equal(&host->view.id, &host->twin_id);
    if (!host->twin || host->removed)
        return;
    host->twin = false;
    if (!same)
        return;
    if (host->running)
        fault_down(w, host, END_KILL, world_pick(w, 2000));
    host->reidentify = true;
}

/* ---- losses ----------------------------------------------------------------------------- */

static int count_used(const struct world *w)
{
    int used = 0;
    for (int i = 0; i < w->host_count; i++)
        used += w->hosts[i].used && !w->hosts[i].removed;
    return used;
}

static void restore(struct world *w, struct host *host)
{
    if (!host->saved.present) {
        if (host->running && !host->twin) {
            world_say(w, "n%d is saved", host->index);
            image_take(w, host, &host->saved);
        }
        return;
    }
    bool same_file = world_chance(w, 500);
    if (host->running)
        host_end(w, host, END_KILL);
    world_say(w, "n%d is restored from its backup, %s file", host->index,
              same_file ? "over the same" : "as another");
    watch_lost(w, host);
    if (!replica_id_equal(&host->view.id, &host->saved.view.id))
        dead_add(w, &host->view.id); /* it had a new one since */
    host_restore(w, host, &host->saved, same_file);
    world_plan(w, fault_duration(w), HAPPEN_START, host->index);
}

static void copy(struct world *w, struct host *from)
{
    struct host *to = spare_of(w);
    if (!to || !from->saved.present)
        return;
    world_say(w, "n%d is a copy of n%d's backup", to->index, from->index);
    host_restore(w, to, &from->saved, false);
    world_plan(w, 0, HAPPEN_START, to->index);
}

static void lose(struct world *w, struct host *host, bool for_good)
{
    if (host->running)
        host_end(w, host, END_CRASH);
    watch_lost(w, host);
    dead_add(w, &host->view.id);
    host_wipe(w, host);
    host->left = host->twin = host->reidentify = false;
    w->result.wiped++;
    world_say(w, "n%d %s", host->index, for_good ? "is gone for good" : "loses its disk");
    host->removed = for_good;
    if (!for_good)
        world_plan(w, fault_duration(w), HAPPEN_START, host->index);
}

void hand_loss(struct world *w, struct host *host)
{
    uint64_t how = world_pick(w, 12);
    if (!host->used || host->removed)
        return;
    if (how < 5) {
        restore(w, host);
    } else if (how < 7) {
        copy(w, host);
    } else if (how >= 10) {
        if (host->running)
            fault_down(w, host, END_CRASH, fault_duration(w));
        if (host->disk)
            host_rot(w, host);
    } else if (count_used(w) >= 3) {
        lose(w, host, how == 9);
    }
}
