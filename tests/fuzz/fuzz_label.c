/* The label in front of packets and streams. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "envelope.h"
#include "mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = mem_copy(data, size);
    struct bytes all = bytes_of(exact, size), label;
    struct buf out;
    size_t used;
    enum err err = envelope_read_label(all, &label, &used);
    if (err == OK) {
        CHECK(used <= size && (used == 0) == (label.len == 0) && label.len <= LABEL_MAX);
        struct envelope e = {.label = label};
        buf_init(&out, LABEL_HEADER + LABEL_MAX);
        envelope_put_label(&e, &out);
        CHECK(bytes_equal(buf_bytes(&out), bytes_of(exact, used)));
        buf_done(&out);
    }
    free(exact);
    return 0;
}
