#include "sim_file.h"

#include "check.h"
#include "mem.h"

#include <stdlib.h>

struct sector {
    size_t refs;
    uint8_t bytes[SECTOR_SIZE];
};

/* ---- sectors -------------------------------------------------------------- */

static struct sector *sector_ref(struct sector *sector)
{
    if (sector)
        sector->refs++;
    return sector;
}

static void sector_unref(struct sector *sector)
{
    if (sector && --sector->refs == 0)
        free(sector);
}

static void sector_set(struct sector **at, struct sector *image)
{
    sector_ref(image);
    sector_unref(*at);
    *at = image;
}

/* An image that nobody else refers to, in the place of the old one. */
static struct sector *sector_own(struct sector **at)
{
    struct sector *own = *at ? mem_copy(*at, sizeof **at) : mem_new(sizeof **at);
    own->refs = 1;
    sector_unref(*at);
    *at = own;
    return own;
}

static size_t sectors_for(uint64_t size)
{
    return (size_t)(size / SECTOR_SIZE + (size % SECTOR_SIZE != 0));
}

static size_t smaller(uint64_t a, uint64_t b)
{
    return (size_t)(a < b ? a : b);
}

/* ---- life ----------------------------------------------------------------- */

struct sim_file *sim_file_new(void)
{
    struct sim_file *file = mem_new(sizeof *file);
    file->refs = 1;
    return file;
}

struct sim_file *sim_file_ref(struct sim_file *file)
{
    file->refs++;
    return file;
}

static void forget_writes(struct sim_file *file)
{
    for (size_t i = 0; i < file->writes_len; i++)
        sector_unref(file->writes[i].image);
    file->writes_len = 0;
}

void sim_file_unref(struct sim_file *file)
{
    if (!file || --file->refs)
        return;
    forget_writes(file);
    for (size_t i = 0; i < file->sectors; i++) {
        sector_unref(file->shown[i]);
        sector_unref(file->durable[i]);
    }
    free(file->writes);
    free(file->shown);
    free(file->durable);
    free(file);
}

static struct sector **sectors_copy(struct sector *const *from, size_t n)
{
    struct sector **to = mem_new(n * sizeof(struct sector *));
    for (size_t i = 0; i < n; i++)
        to[i] = sector_ref(from[i]);
    return to;
}

struct sim_file *sim_file_copy(const struct sim_file *file)
{
    struct sim_file *copy = mem_copy(file, sizeof *file);
    copy->refs = 1;
    copy->copy = NULL;
    copy->shown = sectors_copy(file->shown, file->sectors);
    copy->durable = sectors_copy(file->durable, file->sectors);
    copy->writes = mem_copy(file->writes, file->writes_len * sizeof *file->writes);
    copy->writes_cap = file->writes_len;
    for (size_t i = 0; i < copy->writes_len; i++)
        sector_ref(copy->writes[i].image);
    return copy;
}

/* ---- reading and writing -------------------------------------------------- */

size_t sim_file_read(const struct sim_file *file, uint64_t offset, void *out, size_t n)
{
    size_t done = 0, all = offset < file->size ? smaller(n, file->size - offset) : 0;
    while (done < all) {
        uint64_t at = offset + done;
        size_t within = (size_t)(at % SECTOR_SIZE), part = smaller(all - done, SECTOR_SIZE - within);
        const struct sector *image = file->shown[at / SECTOR_SIZE];
        if (image)
            memcpy((uint8_t *)out + done, image->bytes + within, part);
        else
            memset((uint8_t *)out + done, 0, part);
        done += part;
    }
    return all;
}

static void sectors_resize(struct sector ***sectors, size_t from, size_t to)
{
    for (size_t i = to; i < from; i++)
        sector_unref((*sectors)[i]);
    *sectors = mem_grow(*sectors, to * sizeof(struct sector *));
    for (size_t i = from; i < to; i++)
        (*sectors)[i] = NULL;
}

static void resize(struct sim_file *file, uint64_t size)
{
    size_t sectors = sectors_for(size);
    sectors_resize(&file->shown, file->sectors, sectors);
    sectors_resize(&file->durable, file->sectors, sectors);
    file->sectors = sectors;
    file->size = size;
}

void sim_file_grow(struct sim_file *file, uint64_t size)
{
    if (size > file->size)
        resize(file, size);
    if (size > file->size_unsynced)
        file->size_unsynced = size;
}

static void remember_write(struct sim_file *file, size_t index)
{
    if (file->writes_len == file->writes_cap) {
        file->writes_cap = file->writes_cap ? 2 * file->writes_cap : 8;
        file->writes = mem_grow(file->writes, file->writes_cap * sizeof *file->writes);
    }
    file->writes[file->writes_len++] = (struct sector_write){index, sector_ref(file->shown[index])};
}

void sim_file_write(struct sim_file *file, uint64_t offset, struct bytes bytes)
{
    if (bytes.len == 0)
        return;
    sim_file_grow(file, offset + bytes.len);
    for (size_t done = 0, part; done < bytes.len; done += part) {
        size_t index = (size_t)((offset + done) / SECTOR_SIZE);
        size_t within = (size_t)((offset + done) % SECTOR_SIZE);
        part = smaller(bytes.len - done, SECTOR_SIZE - within);
        memcpy(sector_own(&file->shown[index])->bytes + within, bytes.data + done, part);
        remember_write(file, index);
    }
}

/* ---- what stays ----------------------------------------------------------- */

void sim_file_sync(struct sim_file *file)
{
    for (size_t i = 0; i < file->writes_len; i++) {
        size_t index = file->writes[i].index;
        sector_set(&file->durable[index], file->shown[index]);
    }
    forget_writes(file);
    file->size_durable = file->size_unsynced;
}

void sim_file_sync_part(struct sim_file *file, uint64_t offset, uint64_t n)
{
    size_t first = (size_t)(offset / SECTOR_SIZE), end = sectors_for(offset + n), left = 0;
    for (size_t i = 0; i < file->writes_len; i++) {
        struct sector_write write = file->writes[i];
        if (write.index < first || write.index >= end) {
            file->writes[left++] = write;
            continue;
        }
        sector_set(&file->durable[write.index], file->shown[write.index]);
        sector_unref(write.image);
    }
    file->writes_len = left;
    if (offset + n > file->size_durable)
        file->size_durable = offset + n;
}

/* Nothing, all, or any share of what is unsynced arrives: where the share is drawn
 * anew each time, the ends come up as often as the middle. */
static unsigned draw_share_permille(struct rng *rng)
{
    static const unsigned shares[] = {0, 100, 500, 900, 1000};
    return shares[rng_below(rng, sizeof shares / sizeof *shares)];
}

static uint64_t draw_size(const struct sim_file *file, struct rng *rng)
{
    switch (rng_below(rng, 3)) {
    case 0:
        return file->size_durable;
    case 1:
        return file->size_unsynced;
    default:
        return file->size_durable + rng_below(rng, file->size_unsynced - file->size_durable + 1);
    }
}

/* Of the writes since the last sync some have arrived, and none will any more. */
static void some_arrive(struct sim_file *file, struct rng *rng)
{
    unsigned share = draw_share_permille(rng);
    for (size_t i = 0; i < file->writes_len; i++)
        if (rng_permille(rng, share))
            sector_set(&file->durable[file->writes[i].index], file->writes[i].image);
    forget_writes(file);
    file->size_durable = file->size_unsynced = draw_size(file, rng);
}

void sim_file_sync_failed(struct sim_file *file, struct rng *rng)
{
    some_arrive(file, rng);
}

/* Bytes past the end are zeros, should the file grow again. */
static void clear_past_end(struct sim_file *file)
{
    size_t within = (size_t)(file->size % SECTOR_SIZE);
    struct sector **last = within ? &file->durable[file->sectors - 1] : NULL;
    if (last && *last)
        memset(sector_own(last)->bytes + within, 0, SECTOR_SIZE - within);
}

/* The page cache is gone: what is durable is the file. */
static void show_durable(struct sim_file *file, uint64_t size)
{
    resize(file, size);
    file->size_durable = file->size_unsynced = size;
    clear_past_end(file);
    for (size_t i = 0; i < file->sectors; i++)
        sector_set(&file->shown[i], file->durable[i]);
}

void sim_file_crash(struct sim_file *file, struct rng *rng)
{
    some_arrive(file, rng);
    show_durable(file, file->size_durable);
}

void sim_file_truncate(struct sim_file *file, uint64_t size)
{
    CHECK(size <= file->size);
    sim_file_sync(file);
    show_durable(file, size);
}

static void flip(struct sector **at, uint64_t bit)
{
    sector_own(at)->bytes[bit / 8 % SECTOR_SIZE] ^= (uint8_t)(1u << bit % 8);
}

void sim_file_flip(struct sim_file *file, uint64_t bit)
{
    CHECK(bit / 8 < file->size);
    flip(&file->shown[bit / 8 / SECTOR_SIZE], bit);
    flip(&file->durable[bit / 8 / SECTOR_SIZE], bit);
}
