/* Configuration files: the input as the text of one. What is taken has usable values;
 * what is refused is refused with one line. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "config.h"
#include "mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    struct buf why;
    uint8_t *exact = mem_copy(data, size);
    buf_init(&why, 4096);
    config_init(&config);
    if (config_read_text(&config, "yzma.json", bytes_of(exact, size), &why) == OK) {
        CHECK(config.api.connections_max > 0 && config.server.memory_table_bytes > 0);
        CHECK(config.server.versions_max >= 1 && config.server.versions_max <= 4096);
        CHECK(config.peering.keys.count <= KEYS_MAX);
    } else {
        CHECK(why.err != OK || (why.len > 0 && !memchr(why.data, '\n', why.len)));
    }
    config_done(&config);
    buf_done(&why);
    free(exact);
    return 0;
}
