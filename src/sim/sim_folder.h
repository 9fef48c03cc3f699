/* The names of the simulated disk (disk_sim.h): which files a process sees, and
 * which of them a power cut would leave.
 *
 * Changes since the last sync of the folder are kept in order. A power cut keeps a
 * prefix of them, as a journal does, or else loses them independently but for
 * those of one name: a change is lost where an earlier one of its names is. A
 * rename is atomic: it touches two names and happens to both or neither. Names
 * know nothing of bytes: a name may arrive before what is in the file, and after
 * (Pillai et al., OSDI 2014). */
#ifndef YZMA_SIM_FOLDER_H
#define YZMA_SIM_FOLDER_H

#include "disk.h"
#include "sim_file.h"

struct sim_name {
    char text[DISK_NAME_MAX + 1];
    struct sim_file *file; /* a reference */
};

struct sim_names {
    struct sim_name *at; /* in no order */
    size_t len, cap;
};

struct folder_change { /* one name goes, one comes; "" where none does */
    char gone[DISK_NAME_MAX + 1];
    struct sim_name came;
};

struct sim_folder {
    struct sim_names shown, durable;
    struct folder_change *changes; /* since the last sync, in order */
    size_t changes_len, changes_cap;
};

/* A folder of zeros is empty. */
void sim_folder_done(struct sim_folder *folder);
/* With files of its own, equal in all. */
void sim_folder_copy(struct sim_folder *to, const struct sim_folder *from);

struct sim_file *sim_folder_find(const struct sim_folder *folder, const char *name); /* NULL: none */
uint64_t sim_folder_bytes(const struct sim_folder *folder); /* of all the files shown */
void sim_folder_put(struct sim_folder *folder, const char *name, struct sim_file *file);
void sim_folder_remove(struct sim_folder *folder, const char *name); /* absent is fine */
/* from is there. What was called `to` is replaced. */
void sim_folder_rename(struct sim_folder *folder, const char *from, const char *to);
void sim_folder_sync(struct sim_folder *folder);
/* A power cut, of the names and of the files behind those that are left. */
void sim_folder_crash(struct sim_folder *folder, struct rng *rng);

void sim_names_copy(struct sim_names *to, const struct sim_names *from); /* the same files */
void sim_names_done(struct sim_names *names);

#endif
