/* A growing buffer with a limit. Errors stick: write all, then look once at
 * buf.err. Whole numbers are big-endian; varints are LEB128 (7 bits a byte,
 * least significant first, at most 10 bytes). */
#ifndef YZMA_BASE_BUF_H
#define YZMA_BASE_BUF_H

#include "bytes.h"
#include "err.h"

struct buf {
    uint8_t *data;
    size_t len, cap;
    size_t max;   /* len never passes it: ERR_TOO_LARGE */
    enum err err; /* OK, ERR_TOO_LARGE or ERR_NOMEM: the first one stays */
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);  /* frees; the buffer is then empty and usable again */
void buf_reset(struct buf *b); /* forgets content and error, keeps the memory */

/* Memory for n more bytes, exactly: for a buffer whose final length is known. */
void buf_reserve(struct buf *b, size_t n);
/* Room for n more bytes at the end, counted as written; NULL on error. */
uint8_t *buf_extend(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *data, size_t n);
void buf_put_bytes(struct buf *b, struct bytes bytes); /* without length */
void buf_put_text(struct buf *b, const char *text);    /* without NUL */
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_varint(struct buf *b, uint64_t v);
void buf_put_blob(struct buf *b, struct bytes bytes); /* varint length, then the bytes */
void buf_put_format(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Overwrites 4 bytes written before, for lengths known only at the end. */
void buf_patch_u32(struct buf *b, size_t offset, uint32_t v);
/* Removes n bytes at the front. */
void buf_consume(struct buf *b, size_t n);

static inline struct bytes buf_bytes(const struct buf *b)
{
    return bytes_of(b->data, b->len);
}

#endif
