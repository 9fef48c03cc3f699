/* The simulated disk under LMDB's files: what sim_file.h says of a file of the log holds
 * for them, too.
 *
 * LMDB goes to its files by itself: it maps and reads them, and writes and syncs them with
 * the C library's calls. Those of one folder are caught here, as this program's own
 * functions of these names stand before the library's. So the files are always as they
 * were written, and what is read is true; beside each stands its image (sim_file.h), which
 * knows what was synced. When the power goes the image is crashed, and the file is made
 * what is left of it. A descriptor opened O_DSYNC syncs what it writes, and no more.
 *
 * The life of one is that of a mount (disk_sim.h): after a change in whose midst the
 * process died nothing is written any more, until tree_disk_end. Names are not lost. */
#ifndef YZMA_SIM_TREE_DISK_H
#define YZMA_SIM_TREE_DISK_H

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

struct tree_disk;

/* Of the file of that path, which may not be there yet; what it holds is durable. */
struct tree_disk *tree_disk_new(const char *path, uint64_t seed);
void tree_disk_free(struct tree_disk *disk); /* takes NULL; the file stays */

/* The nth change from now on (1 is the next; 0: none): the process dies in it; or it
 * fails, once. Changes are writes, syncs, and what makes the file longer. */
void tree_disk_crash_at(struct tree_disk *disk, uint64_t nth);
void tree_disk_fail(struct tree_disk *disk, uint64_t nth, enum err err);
bool tree_disk_dead(const struct tree_disk *disk);
bool tree_disk_failed(const struct tree_disk *disk); /* since that was said */

/* The process is gone: nothing that its code still does is done. */
void tree_disk_die(struct tree_disk *disk);
/* The file is closed, and the next process may come; the power went, or not. */
void tree_disk_end(struct tree_disk *disk, bool power);

#endif
