/* A simulated disk behind the small file interface (store/log/disk.h): one folder
 * in memory that can lose, tear and reorder what was not synced, run full, fail
 * and rot. All of it follows from the calls and one seed. One thread.
 *
 * The disk outlives those who use it: a process mounts it, and dies by
 * disk_sim_kill (what it wrote stays in the page cache) or by disk_sim_crash (the
 * power goes). What may then happen, and its sources, stands in sim_file.h for
 * bytes and in sim_folder.h for names. It is as mean as the interface allows, and
 * meaner than one file system is: a synced file may lose a name that was not.
 *
 * The life of a mount:
 *
 *   disk_sim_mount --> in use --- disk_sim_crash_at's call ---> dead: ERR_IO
 *                        |                                        |
 *                        +---- disk_sim_kill, disk_sim_crash <----+
 *                        |
 *                        v
 *               left behind: every call of the mount and of its files is ERR_IO
 *
 * A mount and its files stay safe to use in any state, and are given back in any
 * order by ops->free and ops->close, which always work. */
#ifndef YZMA_SIM_DISK_H
#define YZMA_SIM_DISK_H

#include "buf.h"
#include "disk.h"

struct disk_sim;

struct disk_sim *disk_sim_new(uint64_t seed); /* empty */
void disk_sim_free(struct disk_sim *sim);     /* takes NULL; its mounts may go later */

/* What a process works on. Not between the death of a process by disk_sim_crash_at
 * and disk_sim_kill or disk_sim_crash. */
struct disk *disk_sim_mount(struct disk_sim *sim);

/* The process ends: all that it wrote is seen by the next, but is no more durable
 * than before. Mounts are left behind; planned faults are forgotten. */
void disk_sim_kill(struct disk_sim *sim);
/* The power goes: as kill, and of what was not synced a random part is left, which
 * is from then on durable. */
void disk_sim_crash(struct disk_sim *sim);

/* The disk as it is now, unsynced writes and all, without mounts and planned
 * faults: to crash the copy and go on with the original. Both then draw the same
 * random numbers, unless one is given another seed. */
struct disk_sim *disk_sim_clone(const struct disk_sim *sim);
void disk_sim_seed(struct disk_sim *sim, uint64_t seed);

/* ---- faults --------------------------------------------------------------- */

/* The calls so far that could fail: all but close and free. The changes among
 * them: create, write, sync, rename, remove, sync_folder. */
uint64_t disk_sim_calls(const struct disk_sim *sim);
uint64_t disk_sim_changes(const struct disk_sim *sim);

/* The nth call from now (1 is the next) fails with err, once; 0 for none. Of a
 * write a random first part is done. A sync leaves what was unsynced durable at
 * random, and no later sync makes it more so, though reads show it until the power
 * goes; only what is written again can be synced. A create leaves no file,
 * nor one that was there before. Other calls do nothing; names that a sync_folder
 * failed to make durable may still be by the next. */
void disk_sim_fail(struct disk_sim *sim, uint64_t nth, enum err err);

/* The process dies in its nth change from now (1 is the next; 0 for none): that
 * call is done in part, and from then on all calls fail with ERR_IO and do
 * nothing, until disk_sim_kill or disk_sim_crash says how it died. */
void disk_sim_crash_at(struct disk_sim *sim, uint64_t nth);
bool disk_sim_dead(const struct disk_sim *sim); /* it has */

/* The sizes of all files that have names may add up to this much: a create or a
 * write past it is ERR_FULL, the write done as far as there is room. */
void disk_sim_full(struct disk_sim *sim, uint64_t bytes);
uint64_t disk_sim_used(const struct disk_sim *sim);

/* ---- from outside, for tests: no call is counted, no fault applies -------- */

/* The file as a process sees it: appended to ret. ERR_NOT_FOUND. */
enum err disk_sim_read_file(const struct disk_sim *sim, const char *name, struct buf *ret) MUST_USE;
/* A durable file of these bytes, in the place of any of that name; all names are
 * durable after. */
void disk_sim_write_file(struct disk_sim *sim, const char *name, struct bytes bytes);
/* Both need the file, and leave its name as durable as it was. A cut makes all of
 * the file durable; a flip is in what is durable and in what is seen. */
void disk_sim_truncate(struct disk_sim *sim, const char *name, uint64_t size);
void disk_sim_flip(struct disk_sim *sim, const char *name, uint64_t bit);

#endif
