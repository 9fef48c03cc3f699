/* What peers send under counters and sets: the first byte says how many of the input are a
 * record's key, the rest is a counter's value. A state that is read is changed, and what
 * comes of it is read again to the same. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "counter.h"
#include "mem.h"
#include "space.h"

static void change(struct record *record, bool remove)
{
    struct counter_change change = {.session = {.lineage = 1, .start = 300, .random = 2},
                                    .dot = {{.b = {1}}, 9},
                                    .add = -5,
                                    .remove = remove};
    struct counter_view view = {0};
    struct buf value, again;
    bool replaced[1];
    int64_t number;
    buf_init(&value, 1 << 20);
    buf_init(&again, 1 << 20);
    if (counter_change(record, &change, replaced, &value, &number) == OK) {
        CHECK(counter_join(&view, buf_bytes(&value)) == OK);
        counter_encode(&view, &again);
        CHECK(bytes_equal(buf_bytes(&value), buf_bytes(&again)));
        CHECK(!remove || (replaced[0] && counter_is_absent(&view)));
    }
    counter_done(&view);
    buf_done(&value);
    buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *exact = mem_copy(data + 1, size - 1), room[KEY_MAX];
    struct bytes key = bytes_of(exact, data[0] % size);
    struct space_name name = space_parse(key);
    if (name.space == SPACE_COUNTERS)
        CHECK(bytes_equal(space_prefix(SPACE_COUNTERS, name.name, room), key));
    if (name.space == SPACE_SETS)
        CHECK(bytes_equal(space_element(name.name, name.hash.data, room), key));
    struct record record = {0};
    struct version version = {.dot = {{.b = {1}}, 3}, .value = bytes_of(exact + key.len, size - 1 - key.len)};
    struct counter_view view = {0};
    size_t malformed;
    int64_t number;
    record_add(&record, &version);
    (void)!counter_of_record(&view, &record, &malformed);
    (void)!counter_number(&view, &number);
    change(&record, false);
    change(&record, true);
    counter_done(&view);
    record_done(&record);
    free(exact);
    return 0;
}
