/* MessagePack: values of every kind, read as each kind and passed over. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "mem.h"
#include "msgpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = mem_copy(data, size);
    struct bytes all = bytes_of(exact, size);
    struct cursor c = cursor_of(all);
    while (cursor_left(&c) > 0) {
        struct cursor before = c;
        msgpack_skip(&c);
        CHECK(c.err != OK || c.at > before.at);
        struct cursor as_map = before, as_uint = before, as_bool = before, as_raw = before;
        (void)msgpack_map(&as_map);
        CHECK(msgpack_uint(&as_uint, 1000) <= 1000);
        (void)msgpack_bool(&as_bool);
        struct bytes raw = msgpack_raw(&as_raw);
        CHECK(raw.len <= size);
        if (as_raw.err == OK)
            CHECK(c.err == OK && as_raw.at == c.at); /* both agree on where it ends */
    }
    free(exact);
    return 0;
}
