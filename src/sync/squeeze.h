/* Packed bodies of frames: zstd, in one piece, bounded on both sides.
 *
 *   offset  size  what
 *   0       4     length of the body when unpacked, at most SQUEEZE_MAX
 *   4       ..    one zstd frame that states the same length
 *
 * A length that a peer declares is room that we make, so it has a limit far below
 * that of a frame; what is longer (a value of some 30 MiB) travels as it is. And
 * no more is written than was declared, whatever the input says.
 *
 * What does not shrink is not worth a second look for a while: see struct dull. */
#ifndef YZMA_SYNC_SQUEEZE_H
#define YZMA_SYNC_SQUEEZE_H

#include "frames.h"

enum {
    SQUEEZE_OFF = 0,   /* Peering.Compression: a level of zstd from 1 to 19, or these */
    SQUEEZE_AUTO = -1, /* the fastest that is still worth it, and not where data does not shrink */
    SQUEEZE_MAX = 32 << 20,
};

/* Contexts of zstd, made when first used and used again. */
struct squeeze;

struct squeeze *squeeze_new(int level);
void squeeze_free(struct squeeze *squeeze); /* takes NULL */
bool squeeze_is_on(const struct squeeze *squeeze);

/* Appends to out the frame (header and all, as frame_end left it) with its body
 * packed; false, and out as it was, when that saves less than an eighth. */
bool squeeze_frame(struct squeeze *squeeze, struct bytes frame, struct buf *out);

/* The body of a packed frame, into ret, which must be initialised and empty.
 * ERR_MALFORMED (not zstd, or another length than declared), ERR_TOO_LARGE,
 * ERR_NOMEM. */
enum err squeeze_unpack(struct squeeze *squeeze, struct bytes body, struct buf *ret) MUST_USE;

/* Of a link, with "auto": after data that did not shrink, so many bytes go as they
 * are before the next try; twice as many each time, up to a bound. */
struct dull {
    size_t left, step;
};

bool dull_skips(struct dull *dull, size_t bytes); /* counts them */
void dull_tell(struct dull *dull, bool shrank);

#endif
