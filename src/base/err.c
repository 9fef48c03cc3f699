#include "err.h"

static const char *const texts[ERR_MAX] = {
    [OK] = "ok",
    [ERR_NOMEM] = "out of memory",
    [ERR_TRUNCATED] = "ends early",
    [ERR_MALFORMED] = "malformed",
    [ERR_TOO_LARGE] = "too large",
    [ERR_CHECKSUM] = "checksum does not match",
    [ERR_VERSION] = "unknown version",
    [ERR_NOT_FOUND] = "not found",
    [ERR_EXISTS] = "exists already",
    [ERR_BEHIND] = "this node has not seen it yet",
    [ERR_FLOOR] = "history is gone",
    [ERR_WALKING] = "catching up",
    [ERR_WRONGKEY] = "context belongs to another key",
    [ERR_CONFLICT] = "too many versions",
    [ERR_UNMET] = "a condition does not hold",
    [ERR_FULL] = "storage is full",
    [ERR_IO] = "input/output error",
    [ERR_LOCKED] = "locked by another process",
    [ERR_DAMAGED] = "damaged",
    [ERR_REFUSED] = "refused",
    [ERR_BUSY] = "too busy",
    [ERR_TIMEOUT] = "timed out",
    [ERR_CLOSED] = "closed",
    [ERR_GONE] = "the files have been removed",
};

const char *err_text(enum err err)
{
    return (unsigned)err < ERR_MAX && texts[err] ? texts[err] : "unknown error";
}
