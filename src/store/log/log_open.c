/* Opening the log: which segments are there, what of them counts, and whether what
 * does not is the tail that a crash cut off, or damage. */
#include "log.h"

#include "check.h"
#include "cursor.h"
#include "log_state.h"
#include "mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SEGMENTS_MAX = 1 << 20, /* a folder of more is not one of ours */
    FRONT = 64 << 10,       /* bytes read to see a segment's first frame */
};

/* The opening's view of one segment. */
struct scanned {
    struct segment segment;
    struct disk_file *file;
    uint64_t first; /* sequence of its first frame; 0: no valid frame stands there */
};

struct opening {
    const struct log_options *options;
    const struct log_mark *mark;
    enum err (*replay)(void *ctx, const struct log_frame *frame);
    void *replay_ctx;
    struct log *log;
    struct scanned *segments; /* owned, ascending by number */
    size_t count;
    bool list_failed;
    struct buf bytes;  /* the segment that is being read */
    uint64_t expected; /* the sequence that is due */
    /* Where the last frame above the mark stands: */
    size_t last_segment;
    uint64_t last_offset;
    size_t last_size;
    struct log_found found;
    struct buf *why;
};

static const struct disk_ops *ops_of(const struct opening *o)
{
    return o->options->disk->ops;
}

static enum err complain(struct opening *o, enum err err, const struct scanned *s, uint64_t offset,
                         const char *what)
{
    char name[DISK_NAME_MAX];
    segment_name(s->segment.header.number, name);
    buf_put_format(o->why, "%s/%s: offset %" PRIu64 ": %s", o->options->where, name, offset, what);
    return err;
}

/* ---- what is there -------------------------------------------------------------- */

static void on_name(void *ctx, const char *name)
{
    struct opening *o = ctx;
    uint64_t number;
    if (!segment_name_parse(name, &number))
        return;
    if (o->count == SEGMENTS_MAX) {
        o->list_failed = true;
        return;
    }
    o->segments = mem_grow(o->segments, (o->count + 1) * sizeof *o->segments);
    o->segments[o->count++] = (struct scanned){.segment.header.number = number};
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = ((const struct scanned *)a)->segment.header.number;
    uint64_t y = ((const struct scanned *)b)->segment.header.number;
    return (x > y) - (x < y);
}

/* The first bytes of a segment, at most so many, into o->bytes. */
static enum err read_front(struct opening *o, const struct scanned *s, uint64_t most)
{
    size_t got, n = (size_t)(s->segment.size < most ? s->segment.size : most);
    buf_reset(&o->bytes);
    uint8_t *room = buf_extend(&o->bytes, n);
    if (!room)
        return o->bytes.err;
    enum err err = ops_of(o)->read(s->file, 0, room, n, &got);
    if (err == OK)
        o->bytes.len = got;
    return err;
}

static enum err read_segment(struct opening *o, const struct scanned *s)
{
    enum err err = read_front(o, s, UINT64_MAX);
    return err == OK ? OK : complain(o, err, s, 0, "cannot be read");
}

/* The frame at an offset of the segment in o->bytes. */
static enum err frame_at(const struct opening *o, const struct scanned *s, uint64_t offset,
                         struct log_frame *ret)
{
    if (offset > o->bytes.len)
        return ERR_DAMAGED;
    return log_frame_read(bytes_of(o->bytes.data + offset, o->bytes.len - offset), &s->segment.header, ret);
}

/* The first frame is short as a rule, and then found without reading it all. */
static enum err look_for_first(struct opening *o, struct scanned *s)
{
    struct log_frame frame;
    enum err err = OK;
    bool found = frame_at(o, s, SEGMENT_HEADER, &frame) == OK;
    if (!found && (err = read_segment(o, s)) == OK)
        found = frame_at(o, s, SEGMENT_HEADER, &frame) == OK;
    if (found)
        s->first = frame.sequence;
    return err;
}

/* Header and first frame. */
static enum err look_at(struct opening *o, struct scanned *s)
{
    char name[DISK_NAME_MAX];
    struct segment_header header;
    segment_name(s->segment.header.number, name);
    enum err err = ops_of(o)->open(o->options->disk, name, &s->file);
    if (err == OK)
        err = ops_of(o)->size(s->file, &s->segment.size);
    if (err == OK)
        err = read_front(o, s, FRONT);
    if (err != OK)
        return complain(o, err, s, 0, "cannot be read");
    err = segment_header_decode(buf_bytes(&o->bytes), &header);
    if (err == ERR_VERSION)
        return complain(o, err, s, 0, "a log of a newer format");
    if (err != OK || header.number != s->segment.header.number)
        return complain(o, ERR_DAMAGED, s, 0, "the segment's header is damaged");
    if (!o->mark->present || memcmp(header.log_id, o->mark->id, LOG_ID_SIZE) != 0)
        return complain(o, ERR_REFUSED, s, 0,
                        "the log of another store. Put its store back beside it, or move the folder away");
    s->segment.header = header;
    return look_for_first(o, s);
}

static enum err look(struct opening *o)
{
    enum err err = ops_of(o)->list(o->options->disk, on_name, o);
    if (err != OK || o->list_failed) {
        buf_put_format(o->why, "%s: cannot be listed", o->options->where);
        return err == OK ? ERR_DAMAGED : err;
    }
    if (o->count)
        qsort(o->segments, o->count, sizeof *o->segments, by_number);
    for (size_t i = 0; i < o->count && err == OK; i++)
        err = look_at(o, &o->segments[i]);
    return err;
}

/* ---- damage, or the end ------------------------------------------------------------ */

/* The first sequence at or above `expected` of a frame that stands whole in the
 * segment in o->bytes, from an offset on; 0: none. */
static uint64_t later_frame(const struct opening *o, const struct scanned *s, uint64_t offset,
                            uint64_t expected)
{
    struct log_frame frame;
    for (; offset + LOG_FRAME_HEADER <= o->bytes.len; offset += LOG_FRAME_ALIGN)
        if (frame_at(o, s, offset, &frame) == OK && frame.sequence >= expected)
            return frame.sequence;
    return 0;
}

/* No frame that is due stands at `offset` of segment i, whose bytes are in o->bytes,
 * and no later segment begins with it. Only a tail that nothing follows is an end. */
static enum err judge_end(struct opening *o, size_t i, uint64_t offset, uint64_t expected)
{
    const struct scanned *s = &o->segments[i];
    uint64_t later = later_frame(o, s, offset, expected);
    for (size_t j = i + 1; j < o->count && !later; j++) {
        enum err err = read_segment(o, &o->segments[j]);
        if (err != OK)
            return err;
        later = later_frame(o, &o->segments[j], SEGMENT_HEADER, expected);
    }
    if (!later)
        return OK;
    char what[128];
    snprintf(what, sizeof what, "damaged: no commit stands here, and commit %" PRIu64 " after it is whole",
             later);
    return complain(o, ERR_DAMAGED, s, offset, what);
}

/* A frame of ours was begun here and is not whole: told, as somebody may look for
 * what was in it. (Behind a clean end stands nothing, or an older segment's bytes.) */
static void note_cut(struct opening *o, const struct scanned *s, uint64_t offset)
{
    if (offset > o->bytes.len)
        return;
    struct cursor in = cursor_of(bytes_of(o->bytes.data + offset, o->bytes.len - offset));
    cursor_u64(&in); /* the checksums */
    uint64_t number = cursor_u64(&in);
    if (in.err != OK || number != s->segment.header.number)
        return;
    o->found.cut = true;
    segment_name(number, o->found.cut_name);
    o->found.cut_offset = offset;
}

/* ---- replay ------------------------------------------------------------------------- */

static enum err replay_frame(struct opening *o, size_t i, uint64_t offset, const struct log_frame *frame)
{
    o->expected++;
    o->segments[i].segment.last = frame->sequence;
    if (frame->sequence <= o->mark->sequence)
        return OK;
    enum err err = o->replay(o->replay_ctx, frame);
    if (err == ERR_MALFORMED)
        return complain(o, ERR_DAMAGED, &o->segments[i], offset, "an entry is malformed");
    o->found.frames++;
    o->found.entries += frame->entries;
    o->found.bytes += frame->size;
    o->last_segment = i;
    o->last_offset = offset;
    o->last_size = frame->size;
    return err;
}

/* The first frame's sequence of the next segment that has one; 0: none. */
static uint64_t next_first(const struct opening *o, size_t i)
{
    uint64_t first = 0;
    for (i++; i < o->count && !first; i++)
        first = o->segments[i].first;
    return first;
}

/* One segment: its frames until the next segment's sequence is due, or the end. */
static enum err replay_segment(struct opening *o, size_t i, bool *ret_end)
{
    struct scanned *s = &o->segments[i];
    uint64_t offset = SEGMENT_HEADER, next = next_first(o, i);
    struct log_frame frame;
    enum err err = read_segment(o, s);
    s->segment.first = s->first;
    while (err == OK && o->expected != next) {
        if (frame_at(o, s, offset, &frame) != OK || frame.sequence != o->expected) {
            err = judge_end(o, i, offset, o->expected);
            if (err == OK && read_segment(o, s) == OK)
                note_cut(o, s, offset);
            *ret_end = true;
            return err;
        }
        err = replay_frame(o, i, offset, &frame);
        offset += frame.size;
    }
    return err;
}

/* The segment with the mark, or the first above it. */
static size_t where_to_begin(const struct opening *o)
{
    size_t begin = o->count;
    for (size_t i = 0; i < o->count; i++)
        if (o->segments[i].first && (begin == o->count || o->segments[i].first <= o->mark->sequence + 1))
            begin = i;
    return begin;
}

/* No segment begins with a whole frame. Of a log that was used that is damage, though
 * its only frame may have been cut off. */
static enum err judge_no_begin(struct opening *o)
{
    o->expected = o->mark->sequence + 1;
    if (o->count == 0)
        return OK;
    enum err err = read_segment(o, &o->segments[0]);
    return err == OK ? judge_end(o, 0, SEGMENT_HEADER, 1) : err;
}

static enum err replay_all(struct opening *o)
{
    bool end = false;
    size_t i = where_to_begin(o);
    if (i == o->count)
        return judge_no_begin(o);
    o->expected = o->segments[i].first;
    if (o->expected > o->mark->sequence + 1)
        return complain(o, ERR_DAMAGED, &o->segments[i], SEGMENT_HEADER,
                        "segments before this one are missing");
    enum err err = OK;
    for (; i < o->count && err == OK && !end; i++)
        if (o->segments[i].first)
            err = replay_segment(o, i, &end);
    return err;
}

/* The last frame may stand in memory only: a process that dies loses no page, but
 * had perhaps not synced it, or had seen the sync fail. Written once more and synced
 * it is durable before anybody sees it. */
static enum err make_durable(struct opening *o)
{
    if (!o->found.frames)
        return OK;
    const struct scanned *s = &o->segments[o->last_segment];
    enum err err = read_segment(o, s);
    if (err != OK)
        return err;
    if (o->last_offset + LOG_FRAME_HEADER > o->bytes.len)
        return complain(o, ERR_IO, s, o->last_offset, "cannot be read again");
    size_t left = o->bytes.len - (size_t)o->last_offset; /* the filling may be cut off */
    size_t size = o->last_size < left ? o->last_size : left;
    err = ops_of(o)->write(s->file, o->last_offset, bytes_of(o->bytes.data + o->last_offset, size));
    if (err == OK)
        err = ops_of(o)->sync(s->file);
    return err == OK ? OK : complain(o, err, s, o->last_offset, "cannot be written");
}

/* ---- the whole ------------------------------------------------------------------------ */

static void remove_segment(struct opening *o, struct scanned *s)
{
    char name[DISK_NAME_MAX];
    segment_name(s->segment.header.number, name);
    ops_of(o)->close(s->file);
    s->file = NULL;
    if (ops_of(o)->remove(o->options->disk, name) != OK)
        o->log->count.failures++; /* it goes at the next start */
}

/* Of the segments that hold nothing that counts one may be the next. (A frame that
 * was given up may stand at its start: the next one is written over it.) The others
 * go.
 *
 * All names are durable then: a process may have died between naming a segment and
 * syncing the name, and nothing may be appended under a name that can be lost. Nor may
 * a lost log's segments come back beside the new one's. */
static enum err hand_over(struct opening *o)
{
    struct log *log = o->log;
    for (size_t i = 0; i < o->count; i++) {
        struct scanned *s = &o->segments[i];
        log->next_number = s->segment.header.number + 1;
        bool counts = s->segment.last > 0 && !o->found.lost;
        if (counts) {
            ops_of(o)->close(s->file);
            s->file = NULL;
            log_add_segment(log, &s->segment);
        } else if (!o->found.lost && !log->next.file && s->segment.size == log->segment_bytes &&
                   i + 1 == o->count && !s->first) {
            log->next = s->segment;
            log->next.file = s->file;
            s->file = NULL;
        } else {
            remove_segment(o, s);
        }
    }
    enum err err = ops_of(o)->sync_folder(o->options->disk);
    if (err != OK)
        buf_put_format(o->why, "%s: cannot be synced", o->options->where);
    return err;
}

/* The last frame that the tree has taken over always stays in the log. A log without
 * a frame has been used for nothing yet: a store flushes its first commits into the tree. */
static bool is_lost(const struct opening *o)
{
    if (!o->mark->present)
        return false;
    bool has_frame = where_to_begin(o) < o->count;
    return o->log->sequence < o->mark->sequence || (!has_frame && o->mark->sequence > 0);
}

/* A tree that has a part of what lay above its mark cannot go on without the rest: frames that it
 * was taking over were durable, so one that is missing at the end was not being written, but is
 * damaged. Said before anything of the folder is taken away. */
static enum err refuse_half_taken_over(struct opening *o)
{
    if (o->mark->applying <= o->mark->sequence)
        return OK;
    if (o->found.lost)
        buf_put_format(o->why,
                       "%s: the log is missing or older than its store, which was taking it over when it "
                       "stopped: put both back, or remove both and let peers fill this node again",
                       o->options->where);
    else if (o->log->sequence < o->mark->applying)
        buf_put_format(
            o->why,
            "%s: the last frames of the log cannot be read, and its store was taking them over when "
            "it stopped: put both back, or remove both and let peers fill this node again",
            o->options->where);
    else
        return OK;
    return ERR_DAMAGED;
}

static struct log *log_new(const struct log_options *options)
{
    struct log *log = mem_new(sizeof *log);
    log->disk = options->disk;
    log->random = options->random;
    log->segment_bytes = options->segment_bytes ? options->segment_bytes : LOG_SEGMENT_BYTES;
    log->next_number = 1;
    CHECK(pthread_mutex_init(&log->lock, NULL) == 0);
    CHECK(pthread_mutex_init(&log->making, NULL) == 0);
    return log;
}

enum err log_open(const struct log_options *options, const struct log_mark *mark,
                  enum err (*replay)(void *ctx, const struct log_frame *frame), void *ctx, struct log **ret,
                  struct log_found *ret_found, struct buf *why)
{
    struct opening o = {.options = options,
                        .mark = mark,
                        .replay = replay,
                        .replay_ctx = ctx,
                        .log = log_new(options),
                        .why = why};
    buf_init(&o.bytes, SIZE_MAX);
    enum err err = look(&o);
    if (err == OK)
        err = replay_all(&o);
    if (err == OK)
        err = make_durable(&o);
    if (err == OK) {
        o.log->sequence = o.expected - 1;
        o.found.lost = is_lost(&o);
        if (o.log->sequence < mark->sequence)
            o.log->sequence = mark->sequence;
        memcpy(o.log->id, mark->present && !o.found.lost ? mark->id : options->fresh_id, LOG_ID_SIZE);
        err = refuse_half_taken_over(&o);
    }
    if (err == OK)
        err = hand_over(&o);
    for (size_t i = 0; i < o.count; i++)
        ops_of(&o)->close(o.segments[i].file);
    free(o.segments);
    buf_done(&o.bytes);
    if (err != OK) {
        log_close(o.log);
        return err;
    }
    *ret = o.log;
    *ret_found = o.found;
    return OK;
}
