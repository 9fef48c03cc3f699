/* Bodies: the input as JSON, whole and in two pieces cut where its first byte says. However
 * it is cut, the verdict and the place of the first error are the same. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "json_valid.h"
#include "mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_error error = {0};
    struct json_check check;
    uint8_t *exact = mem_copy(data, size);
    enum err whole = json_valid(bytes_of(exact, size), &error);
    CHECK(whole == OK || (error.reason && error.offset <= size));

    size_t cut = size ? exact[0] % (size + 1) : 0;
    uint8_t *first = mem_copy(exact, cut), *second = mem_copy(exact + cut, size - cut);
    json_check_init(&check);
    enum err pieces = json_check_feed(&check, bytes_of(first, cut));
    if (pieces == OK)
        pieces = json_check_feed(&check, bytes_of(second, size - cut));
    if (pieces == OK)
        pieces = json_check_end(&check);
    CHECK(pieces == whole);
    CHECK(whole == OK || check.error.offset == error.offset);
    free(first);
    free(second);
    free(exact);
    return 0;
}
