/* Checking a whole store: that every record and row can be read, and that they, the
 * clock and the floor say the same. Reads one snapshot of the engine, changes nothing. */
#ifndef YZMA_STORE_VERIFY_H
#define YZMA_STORE_VERIFY_H

#include "store.h"

enum verify_problem {
    VERIFY_META,           /* format, identity, clocks or walk cannot be read, or a floor stands above its
                              clock; nothing else is looked at */
    VERIFY_RECORD,         /* a record that cannot be read */
    VERIFY_ROW,            /* a row that cannot be read */
    VERIFY_ROW_MISSING,    /* of an operation above the floor (dot) */
    VERIFY_RECORD_MISSING, /* a row above the floor whose record is not there */
    VERIFY_RECORD_LACKS,   /* .. or does not include the row's operation */
    VERIFY_EARLY_ROW,      /* a record has an operation above the clock, and there is no row of it */
    VERIFY_PROBLEMS
};

struct verify_report {
    void *ctx;
    /* key and dot may be empty. Borrowed for the call. */
    void (*found)(void *ctx, enum verify_problem problem, struct bytes key, const struct dot *dot);
    /* results */
    uint64_t records, rows, rows_below_floor, problems;
    struct replica_id id;
    bool walking; /* it was being filled */
};

const char *verify_problem_text(enum verify_problem problem);

/* An error of the engine; what is found is no error. */
enum err store_verify(struct engine *engine, struct verify_report *report) MUST_USE;

#endif
