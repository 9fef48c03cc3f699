#include "log.h"

#include "check.h"
#include "log_state.h"
#include "mem.h"
#include "weaken.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MAKING "next.tmp" /* a segment that is not ready yet */

void segment_name(uint64_t number, char out[DISK_NAME_MAX])
{
    snprintf(out, DISK_NAME_MAX, "%016" PRIx64 ".log", number);
}

bool segment_name_parse(const char *name, uint64_t *ret_number)
{
    char again[DISK_NAME_MAX];
    uint64_t number = 0;
    for (size_t i = 0; i < 16; i++) {
        char c = name[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        number = number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    segment_name(number, again);
    if (number == 0 || strcmp(name, again) != 0)
        return false;
    *ret_number = number;
    return true;
}

/* ---- segments ----------------------------------------------------------------- */

void log_add_segment(struct log *log, const struct segment *segment)
{
    log->segments = mem_grow(log->segments, (log->segment_count + 1) * sizeof *segment);
    log->segments[log->segment_count++] = *segment;
}

/* splitmix64 (Steele et al. 2014): one salt after the other from the random seed. */
static uint64_t new_salt(struct log *log)
{
    uint64_t z = log->random += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void name_it(struct log *log, struct segment *segment)
{
    pthread_mutex_lock(&log->lock);
    segment->header.number = log->next_number++;
    segment->header.salt = new_salt(log);
    pthread_mutex_unlock(&log->lock);
    memcpy(segment->header.log_id, log->id, LOG_ID_SIZE);
}

static void count_failure(struct log *log)
{
    pthread_mutex_lock(&log->lock);
    log->count.failures++;
    pthread_mutex_unlock(&log->lock);
}

/* Turns the file MAKING into a segment: header, sync, name, sync of the name. A
 * segment's name thus never stands without a whole header. */
static enum err finish_segment(struct log *log, struct segment *segment)
{
    const struct disk_ops *ops = log->disk->ops;
    uint8_t header[SEGMENT_HEADER];
    char name[DISK_NAME_MAX];
    name_it(log, segment);
    segment_header_encode(&segment->header, header);
    segment_name(segment->header.number, name);
    enum err err = ops->write(segment->file, 0, bytes_of(header, sizeof header));
    if (err == OK)
        err = ops->sync(segment->file);
    if (err == OK)
        err = ops->rename(log->disk, MAKING, name);
    if (err == OK)
        err = ops->sync_folder(log->disk);
    if (err != OK) {
        ops->close(segment->file);
        segment->file = NULL;
        /* Under either name: else each failure would leave a file. */
        if (ops->remove(log->disk, name) != OK || ops->remove(log->disk, MAKING) != OK)
            count_failure(log); /* they go at the next start */
    }
    return err;
}

static enum err make_segment(struct log *log, uint64_t size, struct segment *ret)
{
    struct segment segment = {.size = size};
    enum err err = log->disk->ops->create(log->disk, MAKING, size, &segment.file);
    if (err == OK)
        err = finish_segment(log, &segment);
    if (err == OK)
        *ret = segment;
    return err;
}

/* The old name goes for good before the file gets a new header: a file under a
 * name that is not its header's would be a riddle. */
static enum err take_over(struct log *log, const struct segment *old, struct segment *ret)
{
    const struct disk_ops *ops = log->disk->ops;
    char name[DISK_NAME_MAX];
    segment_name(old->header.number, name);
    struct segment segment = {.size = old->size};
    enum err err = ops->rename(log->disk, name, MAKING);
    if (err == OK)
        err = ops->sync_folder(log->disk);
    if (err == OK)
        err = ops->open(log->disk, MAKING, &segment.file);
    if (err == OK)
        err = finish_segment(log, &segment);
    else if (ops->remove(log->disk, MAKING) != OK)
        count_failure(log);
    if (err == OK)
        *ret = segment;
    return err;
}

/* The next segment as one that is ready, or as one that is too late. */
static struct segment look_at_next(struct log *log, bool *ret_ready)
{
    pthread_mutex_lock(&log->lock);
    struct segment next = log->next;
    *ret_ready = next.file && next.header.number > log->used_number;
    pthread_mutex_unlock(&log->lock);
    return next;
}

static bool has_next(struct log *log)
{
    bool ready;
    return look_at_next(log, &ready).file != NULL;
}

static void set_next(struct log *log, const struct segment *segment)
{
    pthread_mutex_lock(&log->lock);
    CHECK(!log->next.file);
    log->next = *segment;
    pthread_mutex_unlock(&log->lock);
}

/* A segment that an oversized one has overtaken gets a new number. */
static enum err renumber_next(struct log *log, struct segment *late)
{
    struct segment segment;
    pthread_mutex_lock(&log->lock);
    log->next = (struct segment){0};
    pthread_mutex_unlock(&log->lock);
    log->disk->ops->close(late->file);
    enum err err = take_over(log, late, &segment);
    if (err == OK)
        set_next(log, &segment);
    return err;
}

enum err log_prepare(struct log *log)
{
    struct segment segment;
    bool ready;
    enum err err = OK;
    pthread_mutex_lock(&log->making);
    struct segment next = look_at_next(log, &ready);
    if (next.file && !ready)
        err = renumber_next(log, &next);
    else if (!ready && (err = make_segment(log, log->segment_bytes, &segment)) == OK)
        set_next(log, &segment);
    pthread_mutex_unlock(&log->making);
    return err;
}

/* ---- appending ---------------------------------------------------------------- */

/* Tries to remove the segments that hold nothing; what stays is tried again. */
static void remove_doomed(struct log *log)
{
    size_t stay = 0;
    for (size_t i = 0; i < log->doomed_count; i++) {
        char name[DISK_NAME_MAX];
        segment_name(log->doomed[i], name);
        if (log->disk->ops->remove(log->disk, name) != OK) {
            log->doomed[stay++] = log->doomed[i];
            count_failure(log);
        }
    }
    log->doomed_count = stay;
}

/* Nothing is appended to the current segment any more. If it holds no frame it goes at
 * once, else when the tree has them. (A crash may bring its name back, and a frame in
 * doubt with it: that is void once a segment with a higher number begins with its
 * sequence, and else it may be found.) */
static void leave_current(struct log *log)
{
    struct segment left = log->now;
    if (!left.file)
        return;
    log->disk->ops->close(left.file);
    left.file = NULL;
    pthread_mutex_lock(&log->lock);
    if (left.first) {
        log_add_segment(log, &left);
        log->failed_count += left.failed;
    }
    log->now = (struct segment){0};
    pthread_mutex_unlock(&log->lock);
    if (left.first)
        return;
    CHECK(log->doomed_count < LOG_FAILED_MAX);
    log->doomed[log->doomed_count++] = left.header.number;
    remove_doomed(log);
}

/* Whether one more segment may be left: a disk that fails for hours must not be filled,
 * nor may memory. */
static enum err may_leave_one_more(struct log *log)
{
    remove_doomed(log);
    /* Two may come to it: the empty one that a longer one follows, and that one. */
    bool leaves_empty = log->now.file && !log->now.first;
    if (log->doomed_count + leaves_empty >= LOG_FAILED_MAX)
        return ERR_IO;
    pthread_mutex_lock(&log->lock);
    bool too_many = !log->now.file && log->failed_count >= LOG_FAILED_MAX;
    pthread_mutex_unlock(&log->lock);
    return too_many ? ERR_BUSY : OK;
}

static bool take_next(struct log *log, uint64_t size, struct segment *ret)
{
    pthread_mutex_lock(&log->lock);
    bool taken = log->next.file && log->next.size >= size && log->next.header.number > log->used_number;
    if (taken) {
        *ret = log->next;
        log->next = (struct segment){0};
    }
    pthread_mutex_unlock(&log->lock);
    return taken;
}

/* A current segment with room for a frame of so many bytes. A frame longer than a
 * segment gets one of its own. */
static enum err find_room(struct log *log, size_t frame)
{
    if (log->now.file && log->now.size - log->offset >= frame)
        return OK;
    struct segment segment;
    uint64_t size = SEGMENT_HEADER + frame;
    if (size < log->segment_bytes)
        size = log->segment_bytes;
    enum err err = may_leave_one_more(log);
    if (err != OK)
        return err;
    if (!take_next(log, size, &segment)) {
        pthread_mutex_lock(&log->making);
        bool taken = take_next(log, size, &segment); /* which may have been in the making */
        err = taken ? OK : make_segment(log, size, &segment);
        pthread_mutex_unlock(&log->making);
        if (err != OK)
            return err;
    }
    leave_current(log);
    pthread_mutex_lock(&log->lock);
    log->now = segment;
    log->used_number = segment.header.number;
    pthread_mutex_unlock(&log->lock);
    log->offset = SEGMENT_HEADER;
    log->moved_on = true;
    return OK;
}

bool log_moved_on(struct log *log)
{
    bool moved_on = log->moved_on;
    log->moved_on = false;
    return moved_on;
}

static void count_frame(struct log *log, size_t size)
{
    pthread_mutex_lock(&log->lock);
    log->now.last = ++log->sequence;
    if (!log->now.first)
        log->now.first = log->now.last;
    log->count.frames++;
    log->count.bytes += size;
    pthread_mutex_unlock(&log->lock);
    log->offset += size;
}

enum err log_append(struct log *log, struct buf *frame, uint32_t entries)
{
    const struct disk_ops *ops = log->disk->ops;
    size_t body_len = log_frame_fill(frame);
    if (frame->err != OK)
        return frame->err;
    if (body_len > LOG_BODY_MAX)
        return ERR_TOO_LARGE;
    enum err err = find_room(log, frame->len);
    if (err != OK)
        return err;
    log_frame_seal(frame, &log->now.header, log->sequence + 1, body_len, entries);
    err = ops->write(log->now.file, log->offset, buf_bytes(frame));
    if (err == ERR_FULL) { /* where writing needs room even so: the next frame is written over it */
        count_failure(log);
        return err;
    }
    if (err == OK && !WEAKENED(SYNC))
        err = ops->sync(log->now.file);
    if (err == OK) {
        count_frame(log, frame->len);
        return OK;
    }
    count_failure(log);
    log->now.failed = true;
    leave_current(log);
    return err == ERR_FULL || err == ERR_GONE ? err : ERR_IO;
}

/* ---- trimming ----------------------------------------------------------------- */

/* The oldest segment, out of the list, if the tree has all of it. The one with the
 * last frame stays: it is what proves that the log is as new as the tree. */
static bool take_oldest(struct log *log, uint64_t sequence, struct segment *ret)
{
    pthread_mutex_lock(&log->lock);
    bool taken = log->segment_count && log->segments[0].last <= sequence &&
                 (log->segment_count > 1 || log->now.first);
    if (taken) {
        *ret = log->segments[0];
        log->segment_count--;
        log->failed_count -= ret->failed;
        memmove(&log->segments[0], &log->segments[1], log->segment_count * sizeof *ret);
    }
    pthread_mutex_unlock(&log->lock);
    return taken;
}

static bool keep_as_next(struct log *log, const struct segment *old)
{
    struct segment next;
    pthread_mutex_lock(&log->making);
    bool kept = !has_next(log) && old->size == log->segment_bytes && !old->failed &&
                take_over(log, old, &next) == OK;
    if (kept)
        set_next(log, &next);
    pthread_mutex_unlock(&log->making);
    if (kept) {
        pthread_mutex_lock(&log->lock);
        log->count.reused++;
        pthread_mutex_unlock(&log->lock);
    }
    return kept;
}

void log_trim(struct log *log, uint64_t sequence)
{
    struct segment old;
    while (take_oldest(log, sequence, &old)) {
        char name[DISK_NAME_MAX];
        if (keep_as_next(log, &old))
            continue;
        segment_name(old.header.number, name);
        if (log->disk->ops->remove(log->disk, name) != OK)
            count_failure(log); /* it goes at the next start */
    }
}

/* ---- the whole ---------------------------------------------------------------- */

void log_close(struct log *log)
{
    if (!log)
        return;
    log->disk->ops->close(log->now.file);
    log->disk->ops->close(log->next.file);
    log->disk->ops->free(log->disk);
    pthread_mutex_destroy(&log->lock);
    pthread_mutex_destroy(&log->making);
    free(log->segments);
    free(log);
}

void log_id(const struct log *log, uint8_t ret[LOG_ID_SIZE])
{
    memcpy(ret, log->id, LOG_ID_SIZE);
}

uint64_t log_sequence(const struct log *log)
{
    return log->sequence;
}

void log_counters(struct log *log, struct log_counters *ret)
{
    pthread_mutex_lock(&log->lock);
    *ret = log->count;
    ret->segments = log->segment_count + (log->now.file ? 1 : 0) + (log->next.file ? 1 : 0);
    ret->segment_bytes = log->now.size + log->next.size;
    for (size_t i = 0; i < log->segment_count; i++)
        ret->segment_bytes += log->segments[i].size;
    pthread_mutex_unlock(&log->lock);
}
