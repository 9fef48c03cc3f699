/* One file of the simulated disk (disk_sim.h): what a read shows, and what of it
 * would be there after a power cut.
 *
 * The unit is the sector, which a disk writes whole or not at all. A write makes a
 * new image of each sector that it touches, as the page cache does; the images
 * since the last sync are kept in order. A power cut keeps or loses each of them
 * on its own, so that the file comes back torn and reordered: every sector holds
 * its durable image or one of those written since. The size of a file that grew
 * is one more thing that may be lost, wholly or in part (Pillai et al., "All File
 * Systems Are Not Created Equal", OSDI 2014: neither appends nor overwrites are
 * atomic, nor are they ordered).
 *
 * A failed sync follows what Linux does ("fsyncgate", 2018; Rebello et al., "Can
 * Applications Recover from fsync Failures?", ATC 2020): the images are marked
 * clean whether or not they arrived. Reads go on showing them, and a later sync
 * has nothing left to write. A new write to a sector makes all of it dirty again. */
#ifndef YZMA_SIM_FILE_H
#define YZMA_SIM_FILE_H

#include "bytes.h"
#include "rng.h"

enum { SECTOR_SIZE = 512 };

struct sector; /* an image; shared between files, never changed once it is shared */

struct sector_write {
    size_t index;
    struct sector *image;
};

struct sim_file {
    size_t refs; /* names, changes of names, and handles */
    uint64_t size;
    uint64_t size_durable;   /* at least this much is there after a power cut */
    uint64_t size_unsynced;  /* what a sync makes durable; never below size_durable */
    struct sector **shown;   /* one for each sector of the file; NULL is zeros */
    struct sector **durable; /* as many */
    size_t sectors;
    struct sector_write *writes; /* since the last sync, in order */
    size_t writes_len, writes_cap;
    struct sim_file *copy; /* while a folder is being copied */
};

struct sim_file *sim_file_new(void); /* empty, with one reference */
struct sim_file *sim_file_ref(struct sim_file *file);
void sim_file_unref(struct sim_file *file); /* takes NULL */
/* Equal in all, with one reference. */
struct sim_file *sim_file_copy(const struct sim_file *file);

size_t sim_file_read(const struct sim_file *file, uint64_t offset, void *out, size_t n);
void sim_file_write(struct sim_file *file, uint64_t offset, struct bytes bytes);
void sim_file_grow(struct sim_file *file, uint64_t size); /* with zeros */
void sim_file_sync(struct sim_file *file);
/* Only of the sectors of this range, and of a size that it needs. */
void sim_file_sync_part(struct sim_file *file, uint64_t offset, uint64_t n);
void sim_file_sync_failed(struct sim_file *file, struct rng *rng);
void sim_file_crash(struct sim_file *file, struct rng *rng);

/* From outside, at once durable: for tests. */
void sim_file_truncate(struct sim_file *file, uint64_t size);
void sim_file_flip(struct sim_file *file, uint64_t bit); /* below 8 * size */

#endif
