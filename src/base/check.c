#include "check.h"

#include <stdlib.h>

static check_handler *on_failure;

void check_on_failure(check_handler *handler)
{
    on_failure = handler;
}

_Noreturn void check_failed(const char *condition, const char *file, int line)
{
    if (on_failure)
        on_failure(condition, file, line);
    abort();
}
