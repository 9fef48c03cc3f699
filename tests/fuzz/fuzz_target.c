/* Request targets, with their query's parameters: the input as the raw target. */
#include "fuzz.h"

#include <stdlib.h>

#include "check.h"
#include "mem.h"
#include "params.h"
#include "target.h"
#include "token.h"

enum { ALL_PARAMS = (1 << 23) - 1, WAIT_MAX_MS = 30000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct target target;
    struct params params;
    struct token token = {0};
    struct buf why;
    uint8_t *exact = mem_copy(data, size);
    buf_init(&why, 4096);
    target_parse(bytes_of(exact, size), &target);
    CHECK(target.route < ROUTES);
    if (target.error_status == 0 && target.route == ROUTE_KEY)
        CHECK(target.key_length >= 1 && target.key_length <= KEY_MAX);
    CHECK(target.query.len <= size);
    params_init(&params);
    if (params_parse(target.query, ALL_PARAMS, WAIT_MAX_MS, &params, &why) == OK) {
        CHECK(params.limit <= LIST_LIMIT_MAX && params.wait_ms <= WAIT_MAX_MS);
        CHECK(params.prefix.length <= KEY_MAX && params.after.length <= KEY_MAX &&
              params.end.length <= KEY_MAX);
    }
    (void)!token_decode(bytes_of(exact, size), &token);
    token_done(&token);
    buf_done(&why);
    free(exact);
    return 0;
}
