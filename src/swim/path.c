/* Where datagrams do not pass, but streams do: a firewall that lets TCP through and
 * not UDP, in one direction or in both. The TCP ping keeps such a member alive, and
 * push/pull keeps it informed; what is said here is for the operator.
 *
 * A direct ping without an ack, of a member that then proves to live (through a
 * helper, or by its TCP ping), was lost on the way there or on the way back. Some in
 * a row are no chance. The member probes us too, once a round of its own: if its
 * pings arrive, the way back is open, and so it is the way there that is blocked.
 * If none arrives, the way back is blocked; whether the way there is as well, only
 * the member can tell.
 *
 *            ack by datagram           some missed, pings of it heard
 *   open <----------------------- to blocked <------------------+
 *    ^                                 |                        |
 *    |   ack, or a ping of it          v                        |
 *    +------------------------- from blocked <---- some missed, nothing heard
 */
#include "swim_state.h"

static void set(struct swim *s, struct member *member, bool to_blocked, bool from_blocked)
{
    struct path *path = &member->path;
    if (path->to_blocked == to_blocked && path->from_blocked == from_blocked)
        return;
    path->to_blocked = to_blocked;
    path->from_blocked = from_blocked;
    if (to_blocked || from_blocked) {
        swim_count_one(s, COUNT_PATHS_BLOCKED);
        member->error = to_blocked ? "UDP to it is blocked" : "UDP from it is blocked";
        member->error_at = s->now;
    }
    swim_tell_path(s, member);
}

void swim_path_works(struct swim *s, struct member *member)
{
    member->path.missed = 0;
    set(s, member, false, false);
}

void swim_path_heard(struct swim *s, struct member *member)
{
    member->path.heard_at = s->now;
    set(s, member, member->path.to_blocked, false);
}

void swim_path_missed(struct swim *s, struct member *member, uint64_t sent_at)
{
    struct path *path = &member->path;
    if (path->missed++ == 0)
        path->missed_since = sent_at;
    if (path->missed < SWIM_PATH_MISSES) {
        member->error = "did not answer a ping by UDP, but lives";
        member->error_at = s->now;
        return;
    }
    if (path->missed == SWIM_PATH_MISSES)
        path->missed_again = s->now;
    bool heard = path->heard_at >= path->missed_since;
    set(s, member, heard, !heard);
    if (path->missed == 2 * SWIM_PATH_MISSES) { /* older pings of it say nothing of today */
        path->missed = SWIM_PATH_MISSES;
        path->missed_since = path->missed_again;
        path->missed_again = s->now;
    }
}

void swim_path_reset(struct member *member)
{
    member->path = (struct path){0};
}
