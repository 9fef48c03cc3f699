/* LZW: any bytes as packed text, and packed and unpacked again as plain text. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "lzw.h"
#include "mem.h"
#include "wire.h"

enum { PLAIN_MAX = 1 << 20 };

static void unpack(struct bytes packed)
{
    struct buf plain;
    buf_init(&plain, PLAIN_MAX);
    enum err err = lzw_decode(packed, &plain);
    CHECK(plain.len <= PLAIN_MAX);
    CHECK(err == OK || err == ERR_TRUNCATED || err == ERR_MALFORMED || err == ERR_TOO_LARGE);
    buf_done(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = mem_copy(data, size);
    struct bytes all = bytes_of(exact, size);
    struct wire_message m;
    struct buf packed, plain;
    unpack(all);
    if (wire_decode(all, &m) == OK && m.type == WIRE_COMPRESS) /* a vector */
        unpack(m.compress.packed);
    buf_init(&packed, 2 * size + 16);
    buf_init(&plain, size + 1);
    lzw_encode(all, &packed);
    CHECK(packed.err == OK && lzw_decode(buf_bytes(&packed), &plain) == OK);
    CHECK(bytes_equal(buf_bytes(&plain), all));
    buf_done(&packed);
    buf_done(&plain);
    free(exact);
    return 0;
}
