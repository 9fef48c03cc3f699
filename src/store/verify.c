#include "verify.h"

#include "keys.h"
#include "state.h"

struct verifying {
    struct engine *engine;
    struct engine_txn *txn;
    struct verify_report *report;
    struct state state;
    struct record record;
};

const char *verify_problem_text(enum verify_problem problem)
{
    static const char *const texts[VERIFY_PROBLEMS] = {
        [VERIFY_META] =
            "format, identity, clock, floor or walk cannot be read, or a floor stands above its clock",
        [VERIFY_RECORD] = "the record cannot be read",
        [VERIFY_ROW] = "a row cannot be read",
        [VERIFY_ROW_MISSING] = "the row of an operation above the floor is missing",
        [VERIFY_RECORD_MISSING] = "a row says that there is a record, and there is none",
        [VERIFY_RECORD_LACKS] = "the record does not include the operation of its row",
        [VERIFY_EARLY_ROW] = "the record has an operation above the clock without a row",
    };
    return texts[problem];
}

static void found(struct verifying *v, enum verify_problem problem, struct bytes key, const struct dot *dot)
{
    v->report->problems++;
    v->report->found(v->report->ctx, problem, key, dot);
}

static enum err check_meta(struct verifying *v, bool *ret_fine)
{
    struct bytes value;
    enum err err = v->engine->ops->get(v->txn, TABLE_META, bytes_str(META_FORMAT), &value);
    struct cursor in = cursor_of(err == OK ? value : bytes_of("", 0));
    uint32_t format = cursor_u32(&in);
    *ret_fine = err == OK && cursor_finish(&in) == OK && format >= STORE_FORMAT_FIRST &&
                format <= STORE_FORMAT;
    if (*ret_fine) {
        err = state_load(v->engine, v->txn, &v->state);
        *ret_fine = err == OK;
    }
    if (!*ret_fine && (err == OK || err == ERR_NOT_FOUND || err == ERR_DAMAGED)) {
        found(v, VERIFY_META, bytes_of("", 0), NULL);
        return OK;
    }
    return err;
}

/* What was found early is offered by its rows. */
static enum err check_early(struct verifying *v, struct bytes key)
{
    for (size_t i = 0; i < v->record.context.count; i++) {
        const struct dot *dot = &v->record.context.entries[i];
        uint8_t at[ROW_KEY_SIZE];
        struct bytes value;
        if (clock_covers_dot(&v->state.clock, dot))
            continue;
        enum err err = v->engine->ops->get(v->txn, TABLE_ROWS, row_key(dot, at), &value);
        if (err == ERR_NOT_FOUND)
            found(v, VERIFY_EARLY_ROW, key, dot);
        else if (err != OK)
            return err;
    }
    return OK;
}

static enum err check_records(struct verifying *v)
{
    const struct engine_ops *ops = v->engine->ops;
    struct engine_cursor *cursor;
    struct bytes key, value;
    enum err err = ops->cursor_open(v->txn, TABLE_RECORDS, &cursor);
    if (err != OK)
        return err;
    err = ops->cursor_seek(cursor, bytes_of("", 0), &key, &value);
    while (err == OK) {
        v->report->records++;
        if (!key_valid(key) || record_decode(key, value, &v->record) != OK)
            found(v, VERIFY_RECORD, key, NULL);
        else
            err = check_early(v, key);
        if (err == OK)
            err = ops->cursor_next(cursor, &key, &value);
    }
    ops->cursor_close(cursor);
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum err check_row(struct verifying *v, const struct row *row)
{
    struct bytes value;
    enum err err = v->engine->ops->get(v->txn, TABLE_RECORDS, row->key, &value);
    if (err == ERR_NOT_FOUND) {
        found(v, VERIFY_RECORD_MISSING, row->key, &row->dot);
        return OK;
    }
    if (err != OK || record_decode(row->key, value, &v->record) != OK)
        return err; /* a damaged record was told already */
    if (!clock_covers_dot(&v->record.context, &row->dot))
        found(v, VERIFY_RECORD_LACKS, row->key, &row->dot);
    return OK;
}

/* All counters of a replica from its floor to its clock have a row. `last` is the one
 * before, of any replica. */
static void check_gap(struct verifying *v, struct dot *last, const struct dot *dot)
{
    uint64_t clock;
    if (!replica_id_equal(&last->replica, &dot->replica)) {
        clock = clock_get(&v->state.clock, &last->replica);
        if (last->counter < clock)
            found(v, VERIFY_ROW_MISSING, bytes_of("", 0), &(struct dot){last->replica, last->counter + 1});
        *last = (struct dot){dot->replica, clock_get(&v->state.floor, &dot->replica)};
    }
    clock = clock_get(&v->state.clock, &dot->replica);
    if (dot->counter > last->counter + 1 && last->counter < clock)
        found(v, VERIFY_ROW_MISSING, bytes_of("", 0), &(struct dot){dot->replica, last->counter + 1});
    *last = *dot;
}

static enum err check_rows(struct verifying *v)
{
    const struct engine_ops *ops = v->engine->ops;
    struct engine_cursor *cursor;
    struct bytes key, value;
    struct dot last = {0}, end = {0};
    struct clock seen = {0};
    enum err err = ops->cursor_open(v->txn, TABLE_ROWS, &cursor);
    if (err != OK)
        return err;
    err = ops->cursor_seek(cursor, bytes_of("", 0), &key, &value);
    while (err == OK) {
        struct row row;
        struct dot dot;
        v->report->rows++;
        if (row_key_decode(key, &dot) != OK) {
            found(v, VERIFY_ROW, bytes_of("", 0), NULL);
        } else if (clock_covers_dot(&v->state.floor, &dot)) {
            v->report->rows_below_floor++; /* dead, and to be removed */
        } else {
            check_gap(v, &last, &dot);
            clock_raise(&seen, &dot);
            if (row_decode(key, value, &row) != OK)
                found(v, VERIFY_ROW, bytes_of("", 0), &dot);
            else
                err = check_row(v, &row);
        }
        if (err == OK)
            err = ops->cursor_next(cursor, &key, &value);
    }
    ops->cursor_close(cursor);
    if (err == ERR_NOT_FOUND) {
        check_gap(v, &last, &end); /* the last replica's end */
        for (size_t i = 0; i < v->state.clock.count; i++) {
            const struct dot *own = &v->state.clock.entries[i];
            uint64_t floor = clock_get(&v->state.floor, &own->replica);
            if (own->counter > floor && clock_get(&seen, &own->replica) == 0)
                found(v, VERIFY_ROW_MISSING, bytes_of("", 0), &(struct dot){own->replica, floor + 1});
        }
    }
    clock_done(&seen);
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err store_verify(struct engine *engine, struct verify_report *report)
{
    struct verifying v = {.engine = engine, .report = report};
    bool fine = false;
    enum err err = engine->ops->read_begin(engine, &v.txn);
    if (err != OK)
        return err;
    err = check_meta(&v, &fine);
    if (err == OK && fine) {
        report->id = v.state.identity.id;
        report->walking = v.state.walk.phase != WALK_NONE;
        err = check_records(&v);
        if (err == OK)
            err = check_rows(&v);
    }
    engine->ops->end(v.txn);
    state_done(&v.state);
    record_done(&v.record);
    return err;
}
