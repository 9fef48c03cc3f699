/* Records, as they come from peers and disks: the input behind the key "k", and once more
 * with a right checksum in its place, which no fuzzer would find. What decodes is well
 * formed: encoded again it decodes to the same bytes. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "crc.h"
#include "mem.h"
#include "record.h"

enum { CHECKSUM_AT = 1, CHECKED_AT = 5 };

static void read_record(struct bytes key, struct bytes input)
{
    struct record record = {0}, again = {0};
    struct buf out, twice;
    if (record_decode(key, input, &record) == OK) {
        buf_init(&out, 1 << 20);
        buf_init(&twice, 1 << 20);
        record_encode(key, &record, &out);
        CHECK(out.err == OK);
        CHECK(record_decode(key, buf_bytes(&out), &again) == OK);
        record_encode(key, &again, &twice);
        CHECK(bytes_equal(buf_bytes(&out), buf_bytes(&twice)));
        (void)record_surfaced(&record, 1);
        buf_done(&out);
        buf_done(&twice);
    }
    record_done(&record);
    record_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes key = bytes_str("k");
    uint8_t *exact = mem_copy(data, size);
    read_record(key, bytes_of(exact, size));
    if (size >= CHECKED_AT) {
        uint32_t sum = crc32c(crc32c(0, key), bytes_of(exact + CHECKED_AT, size - CHECKED_AT));
        for (int i = 0; i < 4; i++)
            exact[CHECKSUM_AT + i] = (uint8_t)(sum >> (24 - 8 * i));
        read_record(key, bytes_of(exact, size));
    }
    free(exact);
    return 0;
}
