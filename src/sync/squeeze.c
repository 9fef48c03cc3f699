#include "squeeze.h"

#include "check.h"
#include "mem.h"

#include <stdlib.h>
#include <zstd.h>

enum {
    LENGTH_SIZE = 4,
    AUTO_LEVEL = 1,
    SCRATCH_KEPT = 6 << 20, /* of a piece; what a long value needed is given back */
    DULL_MIN = 4 << 20,     /* nothing special about these values */
    DULL_MAX = 256 << 20,
};

struct squeeze {
    int level; /* SQUEEZE_OFF: packs nothing, unpacks all the same */
    struct buf scratch;
    ZSTD_CCtx *pack;
    ZSTD_DCtx *unpack;
};

struct squeeze *squeeze_new(int level)
{
    struct squeeze *z = mem_new(sizeof *z);
    z->level = level == SQUEEZE_AUTO ? AUTO_LEVEL : level;
    buf_init(&z->scratch, SQUEEZE_MAX);
    return z;
}

void squeeze_free(struct squeeze *z)
{
    if (!z)
        return;
    buf_done(&z->scratch);
    ZSTD_freeCCtx(z->pack);
    ZSTD_freeDCtx(z->unpack);
    free(z);
}

bool squeeze_is_on(const struct squeeze *z)
{
    return z->level != SQUEEZE_OFF;
}

/* Into the scratch; 0 when it does not fit what an eighth less leaves. */
static size_t pack(struct squeeze *z, struct bytes body)
{
    size_t room = body.len - body.len / 8;
    buf_reset(&z->scratch);
    uint8_t *packed = buf_extend(&z->scratch, room);
    if (!z->pack)
        z->pack = ZSTD_createCCtx();
    if (!z->pack || !packed)
        return 0;
    size_t size = ZSTD_compressCCtx(z->pack, packed, room, body.data, body.len, z->level);
    return ZSTD_isError(size) || size + LENGTH_SIZE > room ? 0 : size;
}

bool squeeze_frame(struct squeeze *z, struct bytes frame, struct buf *out)
{
    CHECK(frame.len >= FRAME_HEADER);
    struct bytes body = bytes_of(frame.data + FRAME_HEADER, frame.len - FRAME_HEADER);
    size_t before = out->len, size = body.len <= SQUEEZE_MAX ? pack(z, body) : 0;
    if (size) { /* and not with the room that it might have taken: frames wait in queues */
        buf_reserve(out, FRAME_HEADER + LENGTH_SIZE + size);
        size_t begun = frame_begin(out, frame.data[4]);
        buf_put_u32(out, (uint32_t)body.len);
        buf_put(out, z->scratch.data, size);
        if (out->err == OK) {
            out->data[begun + FRAME_FLAGS_AT] = FRAME_PACKED;
            frame_end(out, begun);
        }
    }
    if (z->scratch.cap > SCRATCH_KEPT)
        buf_done(&z->scratch);
    if (size && out->err == OK)
        return true;
    out->len = before;
    out->err = OK;
    return false;
}

enum err squeeze_unpack(struct squeeze *z, struct bytes body, struct buf *ret)
{
    struct cursor in = cursor_of(body);
    uint32_t length = cursor_u32(&in);
    struct bytes packed = cursor_bytes(&in, cursor_left(&in));
    if (in.err != OK)
        return ERR_MALFORMED;
    if (length > SQUEEZE_MAX)
        return ERR_TOO_LARGE;
    if (ZSTD_getFrameContentSize(packed.data, packed.len) != length ||
        ZSTD_findFrameCompressedSize(packed.data, packed.len) != packed.len)
        return ERR_MALFORMED;
    if (!z->unpack)
        z->unpack = ZSTD_createDCtx();
    buf_init(ret, length);
    buf_reserve(ret, length);
    uint8_t *room = z->unpack ? buf_extend(ret, length) : NULL;
    if (!room) {
        buf_done(ret);
        return ERR_NOMEM;
    }
    size_t size = ZSTD_decompressDCtx(z->unpack, room, length, packed.data, packed.len);
    if (ZSTD_isError(size) || size != length) {
        buf_done(ret);
        return ERR_MALFORMED;
    }
    return OK;
}

bool dull_skips(struct dull *dull, size_t bytes)
{
    if (dull->left == 0)
        return false;
    dull->left -= bytes < dull->left ? bytes : dull->left;
    return true;
}

void dull_tell(struct dull *dull, bool shrank)
{
    if (shrank)
        dull->step = 0;
    else if (dull->step == 0)
        dull->step = DULL_MIN;
    else if (dull->step < DULL_MAX)
        dull->step *= 2;
    dull->left = dull->step;
}
